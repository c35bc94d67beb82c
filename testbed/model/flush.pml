/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The flush that reclaim leaves for later: kvm_mn_after_walk(), kvm_mn_flush_tlbs()
 * and kvm_mmu_notifier_flush() of virt/kvm/mmu_notifier.c, and next_unmapped_folio()
 * of mm/vmscan.c.
 *
 * A TLB has what an spte told it once. Reclaim writes no page out, and no section
 * begins, that a TLB still has; no fault maps a page beside an old translation. A
 * flush takes the pages out one after the other.
 *
 * Spin's memory is sequentially consistent. The variants that swap what a release or
 * an acquire keeps apart stand for their absence.
 *
 * right: USES=2 SECTIONS=1
 * right: USES=2 SECTIONS=2
 * right: USES=3 SECTIONS=1
 *
 * wrong: SECTION_BLIND		a section that drops no spte does not flush
 * wrong: COUNT_AFTER		a flush counts for what came in its midst
 * wrong: COUNT_FIRST		mn_zapped is seen moved before the spte is seen gone
 * wrong: FLUSHED_FIRST		mn_flushed is seen moved before the flush is over
 * wrong: UNLOCKED		the folio is unlocked before the flush
 * wrong: RESTORED		an entry that comes back leaves its flush for later
 */
#define PAGES 2

bool mmu_lock;
bool folio_lock[PAGES];
bool spte[PAGES] = true;
bool tlb[PAGES];
bool back[PAGES];		/* could not be unmapped: a lookup finds the entry */

/* struct kvm */
byte mn_zapped, mn_flushed;

inline lock(what)	{ atomic { !what; what = true } }
inline unlock(what)	{ what = false }

inline kvm_flush_remote_tlbs()
{
	tlb[0] = false;
	tlb[1] = false
}

inline kvm_mn_flush_tlbs()
{
#ifdef COUNT_AFTER
	kvm_flush_remote_tlbs();
	zapped = mn_zapped;
	mn_flushed = zapped
#elif defined(FLUSHED_FIRST)
	zapped = mn_zapped;
	mn_flushed = zapped;
	kvm_flush_remote_tlbs()
#else
	zapped = mn_zapped;
	kvm_flush_remote_tlbs();
	mn_flushed = zapped
#endif
}

inline kvm_mmu_notifier_flush()
{
	flushed = mn_flushed;
	if
	:: flushed != mn_zapped -> kvm_mn_flush_tlbs()
	:: else
	fi
}

/* The page of an entry that comes back is announced once more. */
inline kvm_mn_invalidate_page()
{
	lock(mmu_lock);
	flushed = mn_flushed;
	if
	:: spte[page] || flushed != mn_zapped ->
		spte[page] = false;
		kvm_mn_flush_tlbs()
	:: else
	fi;
	unlock(mmu_lock)
}

/* One for each page. */
proctype reclaim(byte page)
{
	byte zapped, flushed;

	lock(folio_lock[page]);
	lock(mmu_lock);
	if
	:: spte[page] ->
#ifdef COUNT_FIRST
		mn_zapped++;
		spte[page] = false
#else
		spte[page] = false;
		mn_zapped++
#endif
	:: else
	fi;
	unlock(mmu_lock);
	if
	:: true
	:: page == 0 ->
#ifndef RESTORED
		kvm_mn_invalidate_page();
#endif
		back[page] = true
	fi;
#ifdef UNLOCKED
	unlock(folio_lock[page]);
	kvm_mmu_notifier_flush()
#else
	kvm_mmu_notifier_flush();
	assert(back[page] || !tlb[page]);
	unlock(folio_lock[page])
#endif
}

proctype section(byte page)
{
	byte zapped, flushed;
	bool ret;

	lock(mmu_lock);
	ret = spte[page];
	spte[page] = false;
	flushed = mn_flushed;
	if
#ifdef SECTION_BLIND
	:: ret -> kvm_mn_flush_tlbs()
#else
	:: ret || flushed != mn_zapped -> kvm_mn_flush_tlbs()
#endif
	:: else
	fi;
	assert(!tlb[page]);
	unlock(mmu_lock)
}

/* Uses a translation, or faults: that waits for the folio, not for the flush. */
active [PAGES] proctype vcpu()
{
	byte page = _pid, n;
	bool held;

	do
	:: n == USES -> break
	:: n < USES ->
		n++;
		if
		:: atomic { spte[page] -> tlb[page] = true }
		:: !spte[page] ->
			if
			:: back[page] -> held = false
			:: atomic { !folio_lock[page] -> folio_lock[page] = true }; held = true
			fi;
			lock(mmu_lock);
			if
			:: !spte[page] ->
				assert(!tlb[page]);
				spte[page] = true
			:: else
			fi;
			unlock(mmu_lock);
			if
			:: held -> unlock(folio_lock[page])
			:: else
			fi
		fi
	od
}

init {
	byte i;

	atomic {
		run reclaim(0);
		run reclaim(1);
		for (i : 1 .. SECTIONS) {
			run section(0)
		}
	}
}
