/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What reclaim leaves for later, sptes and the flush of TLBs: kvm_mn_batch_add(),
 * kvm_mn_batch_drop() and kvm_mn_flush_batch() of virt/kvm/mmu_notifier.c, and
 * next_unmapped_folio() of mm/vmscan.c.
 *
 * A TLB has what an spte told it once. Each task reclaims a page and flushes, but the
 * batch is that of all of them, and what one finds there it drops for all. Reclaim
 * writes no page out, and no section begins, that an spte or a TLB still has; no
 * fault establishes an spte beside an old translation. A flush takes the pages out
 * one after the other. A page that could not be unmapped may be used again.
 *
 * right: USES=2 SECTIONS=1
 * right: USES=2 SECTIONS=2
 * right: USES=3 SECTIONS=1
 *
 * wrong: SECTION_BLIND		a section looks into the batch, not at the spte
 * wrong: NOT_DROPPED		sptes of the batch are not dropped
 * wrong: NOT_FLUSHED		mmu_lock is dropped before the flush
 * wrong: EMPTY_EARLY		the batch is empty while its sptes are dropped
 * wrong: EMPTY_ALL		what came while they were dropped is forgotten, too
 * wrong: UNLOCKED		the folio is unlocked before the flush
 */
#define PAGES 2

bool mmu_lock;
bool folio_lock[PAGES];
bool spte[PAGES] = true;
bool tlb[PAGES];
bool back[PAGES];		/* a lookup finds the entry, the folio is in use */

/* struct kvm_mn_batch; what is done under its lock is one step */
bool drop_lock;
bool batch[PAGES];

inline lock(what)	{ atomic { !what; what = true } }
inline unlock(what)	{ what = false }

inline kvm_flush_remote_tlbs()
{
	tlb[0] = false;
	tlb[1] = false
}

inline kvm_mn_batch_drop()
{
	lock(drop_lock);
	d_step {
		first = batch[0];
		second = batch[1];
#ifdef EMPTY_EARLY
		batch[0] = false;
		batch[1] = false
#endif
	};
	lock(mmu_lock);
	ret = (first && spte[0]) || (second && spte[1]);
#ifndef NOT_DROPPED
	if
	:: first -> spte[0] = false
	:: else
	fi;
	if
	:: second -> spte[1] = false
	:: else
	fi;
#endif
#ifdef NOT_FLUSHED
	unlock(mmu_lock);
#endif
	if
	:: ret -> kvm_flush_remote_tlbs()
	:: else
	fi;
#ifndef NOT_FLUSHED
	unlock(mmu_lock);
#endif
	d_step {
#ifdef EMPTY_ALL
		batch[0] = false;
		batch[1] = false
#else
		batch[0] = batch[0] && !first;
		batch[1] = batch[1] && !second
#endif
	};
	unlock(drop_lock)
}

inline kvm_mn_flush_batch()
{
	if
	:: batch[0] || batch[1] -> kvm_mn_batch_drop()
	:: else
	fi
}

/* One for each page. */
proctype reclaim(byte page)
{
	bool first, second, ret;

	lock(folio_lock[page]);
	batch[page] = true;
	if
	:: true
	:: page == 0 -> back[page] = true
	fi;
#ifdef UNLOCKED
	unlock(folio_lock[page]);
#endif
	kvm_mn_flush_batch();
	assert(back[page] || (!spte[page] && !tlb[page]));
#ifndef UNLOCKED
	unlock(folio_lock[page])
#endif
}

proctype section(byte page)
{
	bool ret;

	lock(mmu_lock);
#ifdef SECTION_BLIND
	ret = batch[page] && spte[page];
	spte[page] = spte[page] && !ret;
#else
	ret = spte[page];
	spte[page] = false;
#endif
	if
	:: ret -> kvm_flush_remote_tlbs()
	:: else
	fi;
	assert(!spte[page] && !tlb[page]);
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
