/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KVM's sequence counts: virt/kvm/mmu_notifier.c, and mmu_invalidate_retry_gfn()
 * of include/linux/kvm_host.h. Each guest frame has its own here.
 *
 * A page is a number that grows, 0 is none. Operations replace the page of a
 * guest frame, in a section or with a call of invalidate_page, and free the old
 * one. Reclaim clears the entry, drops the spte later, in flush_batch, and frees the
 * page then; until then its entry is filled in sections alone. Faults look a page up
 * and establish an spte. No spte may have a page that is freed.
 *
 * Spin's memory is sequentially consistent. The variants without a barrier swap
 * what it keeps apart.
 *
 * right: OPS=2 FAULTS=1
 * right: OPS=1 FAULTS=2
 *
 * wrong: NO_RETRY		the fault establishes whatever it looked up
 * wrong: CHECK_EARLY		it checks the count, then takes mmu_lock
 * wrong: NO_RMB		it looks up before it reads the count
 * wrong: NO_WMB		the new count is seen before the cleared entry
 * wrong: NO_BUMP		invalidate_page does not move the count
 * wrong: NO_DROP		invalidate_page does not drop the spte
 * wrong: NO_BATCH		nor does flush_batch, nothing moves the count
 * wrong: BATCH_LATE		flush_batch comes after the page is freed
 * wrong: CALL_EARLY		it comes before the entry is cleared
 * wrong: CALL_LATE		it comes after the page table lock is dropped
 * wrong: NO_IN_PROGRESS	a section holds no fault off
 * wrong: NO_END_BUMP		the end of a section does not move the count
 * wrong: END_FIRST		it moves that of one frame of the open sections only
 * wrong: RANGE_RESET		a start forgets the ranges of open sections
 */
#define GFNS	2
#define NONE	255

/* The page tables, and their lock. */
byte pte[GFNS] = 1;
byte newest[GFNS] = 1;
bool ptl[GFNS];
byte freed[GFNS];		/* this page and those before */

/* struct kvm */
bool mmu_lock;
byte mmu_invalidate_seq[GFNS];
byte mmu_invalidate_in_progress;
byte mmu_invalidate_range_start, mmu_invalidate_range_end;
byte spte[GFNS];

inline spin_lock(lock)		{ atomic { !lock; lock = true } }
inline spin_unlock(lock)	{ lock = false }

inline free_page()
{
	d_step {
		assert(!page || spte[gfn] != page);
		if
		:: freed[gfn] < page -> freed[gfn] = page
		:: else
		fi
	}
}

/* Invalidation. */

inline kvm_mmu_invalidate_bump(start, end)
{
	frame = start;
	do
	:: frame < end -> mmu_invalidate_seq[frame]++; frame++
	:: else -> break
	od
}

inline kvm_mmu_invalidate_start()
{
	d_step {
		if
#ifdef RANGE_RESET
		:: true ->
#else
		:: !mmu_invalidate_in_progress ->
#endif
			mmu_invalidate_range_start = NONE;
			mmu_invalidate_range_end = NONE
		:: else
		fi;
#ifndef NO_IN_PROGRESS
		mmu_invalidate_in_progress++
#endif
	}
}

inline kvm_mmu_invalidate_range_add(start, end)
{
	d_step {
		if
		:: mmu_invalidate_range_start == NONE ->
			mmu_invalidate_range_start = start;
			mmu_invalidate_range_end = end
		:: else ->
			mmu_invalidate_range_start = (mmu_invalidate_range_start < start ->
						      mmu_invalidate_range_start : start);
			mmu_invalidate_range_end = (mmu_invalidate_range_end > end ->
						    mmu_invalidate_range_end : end)
		fi
	}
}

inline kvm_mmu_invalidate_end()
{
#ifdef END_FIRST
	kvm_mmu_invalidate_bump(mmu_invalidate_range_start,
				mmu_invalidate_range_start + 1);
#elif !defined(NO_END_BUMP)
	kvm_mmu_invalidate_bump(mmu_invalidate_range_start, mmu_invalidate_range_end);
#endif
#ifndef NO_IN_PROGRESS
	mmu_invalidate_in_progress--
#endif
}

inline kvm_mn_invalidate_range_start()
{
	spin_lock(mmu_lock);
	kvm_mmu_invalidate_start();
	kvm_mmu_invalidate_range_add(gfn, gfn + 1);
	spte[gfn] = 0;
	spin_unlock(mmu_lock)
}

inline kvm_mn_invalidate_range_end()
{
	spin_lock(mmu_lock);
	kvm_mmu_invalidate_end();
	spin_unlock(mmu_lock)
}

inline kvm_mn_invalidate_page()
{
	spin_lock(mmu_lock);
#ifndef NO_BUMP
	kvm_mmu_invalidate_bump(gfn, gfn + 1);
#endif
#ifdef NO_WMB
	pte[gfn] = 0;
#endif
#ifndef NO_DROP
	spte[gfn] = 0;
#endif
	spin_unlock(mmu_lock)
}

/* Operations of the VM. */

inline new_page()
{
	newest[gfn]++;
	pte[gfn] = newest[gfn]
}

inline range_operation()
{
	kvm_mn_invalidate_range_start();
	spin_lock(ptl[gfn]);
	page = pte[gfn];
	new_page();
	spin_unlock(ptl[gfn]);
	free_page();
	kvm_mn_invalidate_range_end()
}

inline page_operation()
{
	spin_lock(ptl[gfn]);
	page = pte[gfn];
#ifdef CALL_EARLY
	kvm_mn_invalidate_page();
#endif
#ifndef NO_WMB
	pte[gfn] = 0;
#endif
#if !defined(CALL_EARLY) && !defined(CALL_LATE)
	kvm_mn_invalidate_page();
#endif
	new_page();
	spin_unlock(ptl[gfn]);
	free_page()
#ifdef CALL_LATE
	; kvm_mn_invalidate_page()
#endif
}

/* The lock of its folio is what a fault that finds no page waits for. */
inline reclaim_operation()
{
	spin_lock(ptl[gfn]);
	page = pte[gfn];
	pte[gfn] = 0;
	spin_unlock(ptl[gfn]);
#if !defined(NO_BATCH) && !defined(BATCH_LATE)
	kvm_mn_invalidate_page();
#endif
	free_page();
#ifdef BATCH_LATE
	kvm_mn_invalidate_page();
#endif
	spin_lock(ptl[gfn]);
	if
	:: !pte[gfn] -> new_page()
	:: else
	fi;
	spin_unlock(ptl[gfn])
}

proctype operation()
{
	byte gfn, page, frame;

	if
	:: gfn = 0
	:: gfn = 1
	fi;
	if
	:: range_operation()
	:: page_operation()
	:: reclaim_operation()
	fi
}

/* Faults. */

#define mmu_invalidate_covers_gfn	(mmu_invalidate_in_progress &&		\
					 gfn >= mmu_invalidate_range_start &&	\
					 gfn < mmu_invalidate_range_end)
#define mmu_invalidate_retry_gfn	(mmu_invalidate_covers_gfn ||		\
					 mmu_invalidate_seq[gfn] != mmu_seq)

inline lookup()
{
	page = pte[gfn]
}

proctype fault()
{
	byte gfn, page, mmu_seq;
	bool retry;

	if
	:: gfn = 0
	:: gfn = 1
	fi;
	do
	:: /* or a signal came */ break
	::
#ifdef NO_RMB
	   lookup();
#endif
	   mmu_seq = mmu_invalidate_seq[gfn];
#ifndef NO_RMB
	   lookup();
#endif
#ifdef CHECK_EARLY
	   retry = mmu_invalidate_retry_gfn;
	   spin_lock(mmu_lock);
#else
	   spin_lock(mmu_lock);
	   retry = mmu_invalidate_retry_gfn;
#endif
	   if
#ifndef NO_RETRY
	   :: retry
#endif
	   :: else ->
		d_step {
			assert(!page || page > freed[gfn]);
			spte[gfn] = page
		}
	   fi;
	   spin_unlock(mmu_lock)
	od
}

init {
	byte i;

	atomic {
		for (i : 1 .. OPS) {
			run operation()
		}
		for (i : 1 .. FAULTS) {
			run fault()
		}
	}
}
