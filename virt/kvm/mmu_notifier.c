// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's subscription to the MMU notifiers of the process that runs a guest.
 *
 * KVM holds no reference to the pages it maps. It drops the sptes of a page
 * under mmu_lock when told, and keeps faults from putting stale ones back with a
 * sequence count:
 *
 *	fault				invalidation
 *
 *	seq = mmu_invalidate_gfn_seq()	the core VM clears the entry
 *	smp_rmb()			mmu_lock
 *	look the page up		smp_wmb()
 *	mmu_lock			move the count
 *	seq changed? retry		drop the sptes
 *	establish the spte		unlock
 *	unlock
 *
 * If the fault takes mmu_lock first, the invalidation drops the new spte. If it
 * takes it second, it sees that the count moved, unless it read the new count:
 * then the two barriers pair, and its lookup finds the entry cleared.
 *
 * That is all there is for a single page. invalidate_page comes after the clear,
 * and leaves nothing open. A range is announced *before* its entries change, so
 * faults in it are held off until its end by mmu_invalidate_in_progress, and the
 * count is moved at the end for those that looked a page up in between.
 *
 * With KVM_INVALIDATE_BY_GFN a fault is retried for its own guest frame, not for
 * one that reclaim takes elsewhere: an invalidation moves the counts of the frames
 * it is of. All that a fault found and that does not hold for its frame alone, it
 * looks up under mmu_lock:
 *
 *  - It maps as much at once as the entry does that maps its frame then. Such an
 *    entry is replaced as a whole, in a section that has the frame, or by a call
 *    of invalidate_page that has it, under the lock of the page table: the entry
 *    that is there holds what the fault has found, or the count has moved. One
 *    that was cleared and whose call waits for mmu_lock is none. (guest_memfd
 *    tells the size with the page, but has single pages only.)
 *  - What it prefetches around.
 *
 * Reclaim takes many pages away, and their sptes are dropped once for all of them,
 * in flush_batch: mn_batch has the pages until then. What that leaves behind for
 * a while is harmless, because until flush_batch has returned the folio is locked
 * and its entry stays empty:
 *
 *  - A fault that looked the page up before may establish an spte after the entry
 *    is cleared. It is dropped with the others, or the fault comes to mmu_lock
 *    after that and sees that the count moved.
 *  - A fault that finds the entry empty waits for the lock of the folio, and so
 *    establishes nothing beside the old translation. An entry that comes back as
 *    it was is announced before (try_to_unmap_one()).
 *  - Whoever fills the entry without that lock announces it first, or calls
 *    flush_batch. So a range or a page that is announced need not look into
 *    mn_batch: the sptes that it has to drop are there.
 *  - The old translation may write: the folio was marked dirty with its spte,
 *    under mmu_lock, and is not written out before flush_batch.
 */

#include <linux/kvm_host.h>
#include <linux/mmu_notifier.h>
#include <linux/rcuwait.h>

#include <trace/events/kvm.h>

#include "kvm_mm.h"

static struct kvm *mn_to_kvm(struct mmu_notifier *mn)
{
	return container_of(mn, struct kvm, mmu_notifier);
}

/* The sequence count. */

/* Of more the blocks are counted: no range is more work than this. */
#define KVM_INVALIDATE_FEW_FRAMES	64

#ifdef CONFIG_KVM_INVALIDATE_BY_GFN
static void kvm_mn_count(unsigned int *seq)
{
	WRITE_ONCE(*seq, *seq + 1);
}

/* Neighbours have neighbouring counts: one remainder for all of them. */
static __always_inline void kvm_mn_count_frames(struct kvm *kvm, gfn_t start,
						unsigned int nr)
{
	struct kvm_invalidate_frame *frames = kvm->mmu_invalidate_seqs->frames;
	struct kvm_invalidate_frame *frame = kvm_invalidate_frame(kvm, start);
	unsigned int round = kvm_invalidate_round(start);

	while (nr--) {
		kvm_mn_count(&frame->seq);
		WRITE_ONCE(frame->round, round);
		if (++frame == frames + KVM_INVALIDATE_FRAMES) {
			frame = frames;
			round++;
		}
	}
}

static void kvm_mmu_invalidate_move(struct kvm *kvm, gfn_t start, gfn_t end)
{
	gfn_t block = start >> KVM_INVALIDATE_BLOCK_SHIFT;
	gfn_t last = (end - 1) >> KVM_INVALIDATE_BLOCK_SHIFT;

	if (end - start <= KVM_INVALIDATE_FEW_FRAMES) {
		kvm_mn_count_frames(kvm, start, end - start);
	} else if (last - block < KVM_INVALIDATE_BLOCKS) {
		for (; block <= last; block++)
			kvm_mn_count(kvm_invalidate_block(kvm, block));
	} else {
		kvm_mn_count(&kvm->mmu_invalidate_seqs->all);
	}
}

static int kvm_mn_alloc_seqs(struct kvm *kvm)
{
	kvm->mmu_invalidate_seqs = kvzalloc_obj(*kvm->mmu_invalidate_seqs,
						GFP_KERNEL_ACCOUNT);
	return kvm->mmu_invalidate_seqs ? 0 : -ENOMEM;
}

static void kvm_mn_free_seqs(struct kvm *kvm)
{
	kvfree(kvm->mmu_invalidate_seqs);
}
#else
static void kvm_mmu_invalidate_move(struct kvm *kvm, gfn_t start, gfn_t end)
{
	WRITE_ONCE(kvm->mmu_invalidate_seq, kvm->mmu_invalidate_seq + 1);
}

static int kvm_mn_alloc_seqs(struct kvm *kvm)
{
	return 0;
}

static void kvm_mn_free_seqs(struct kvm *kvm)
{
}
#endif

/* For the guest frames from @start to @end. */
static void kvm_mmu_invalidate_bump(struct kvm *kvm, gfn_t start, gfn_t end)
{
	lockdep_assert_held_write(&kvm->mmu_lock);

	/*
	 * Pairs with the smp_rmb() between a fault's read of the count and its
	 * lookup of the page: who reads the new count finds the new state of
	 * the page tables.
	 */
	smp_wmb();
	kvm_mmu_invalidate_move(kvm, start, end);
}

/**
 * kvm_mmu_invalidate_start - hold faults off
 * @kvm: the VM
 *
 * kvm_mmu_invalidate_range_add() tells for which guest frames, before mmu_lock
 * is dropped. The end is kvm_mmu_invalidate_end().
 *
 * Context: mmu_lock held for writing.
 */
void kvm_mmu_invalidate_start(struct kvm *kvm)
{
	lockdep_assert_held_write(&kvm->mmu_lock);

	if (!kvm->mmu_invalidate_in_progress) {
		kvm->mmu_invalidate_range_start = INVALID_GPA;
		kvm->mmu_invalidate_range_end = INVALID_GPA;
	}
	WRITE_ONCE(kvm->mmu_invalidate_in_progress,
		   kvm->mmu_invalidate_in_progress + 1);
}

/**
 * kvm_mmu_invalidate_range_add - name guest frames that faults must not map
 * @kvm: the VM
 * @start: first guest frame
 * @end: first guest frame behind the range
 *
 * The ranges of all open sections are merged into one.
 *
 * Context: mmu_lock held for writing, after kvm_mmu_invalidate_start().
 */
void kvm_mmu_invalidate_range_add(struct kvm *kvm, gfn_t start, gfn_t end)
{
	lockdep_assert_held_write(&kvm->mmu_lock);
	WARN_ON_ONCE(!kvm->mmu_invalidate_in_progress);

	if (kvm->mmu_invalidate_range_start == INVALID_GPA) {
		kvm->mmu_invalidate_range_start = start;
		kvm->mmu_invalidate_range_end = end;
		return;
	}
	kvm->mmu_invalidate_range_start =
		min(kvm->mmu_invalidate_range_start, start);
	kvm->mmu_invalidate_range_end =
		max(kvm->mmu_invalidate_range_end, end);
}

/**
 * kvm_mmu_invalidate_end - let faults in again
 * @kvm: the VM
 *
 * Context: mmu_lock held for writing.
 */
void kvm_mmu_invalidate_end(struct kvm *kvm)
{
	/* Of all that are open, and were in the meantime. */
	kvm_mmu_invalidate_bump(kvm, kvm->mmu_invalidate_range_start,
				kvm->mmu_invalidate_range_end);

	/*
	 * The new count before the end of the section: pairs with the smp_rmb()
	 * in mmu_invalidate_retry(), whose caller need not hold mmu_lock. It
	 * sees the section open or the count moved.
	 */
	smp_wmb();
	WRITE_ONCE(kvm->mmu_invalidate_in_progress,
		   kvm->mmu_invalidate_in_progress - 1);
	KVM_BUG_ON(kvm->mmu_invalidate_in_progress < 0, kvm);

	/* A section without a range holds nobody off. */
	WARN_ON_ONCE(kvm->mmu_invalidate_range_start == INVALID_GPA);
}

/**
 * kvm_mmu_unmap_gfn_range - add a range to the open section and drop its sptes
 * @kvm: the VM
 * @range: the guest frames
 *
 * Context: mmu_lock held for writing, after kvm_mmu_invalidate_start().
 *
 * Return: true if the TLBs must be flushed.
 */
bool kvm_mmu_unmap_gfn_range(struct kvm *kvm, struct kvm_gfn_range *range)
{
	kvm_mmu_invalidate_range_add(kvm, range->start, range->end);
	return kvm_unmap_gfn_range(kvm, range);
}

/* From host addresses to guest frames. */

/**
 * struct kvm_hva_walk - what to do with the guest frames of a host range
 * @on_lock: called once under mmu_lock, if any memslot is in the range
 * @handler: called for the part of each memslot that is in the range
 * @flush: flush the guest's TLBs if a handler returned true
 * @may_block: the handler may sleep
 * @lockless: do not take mmu_lock
 * @counted: the handler moves the sequence count itself
 * @young: bitmap of pages for the handler
 * @young_start: address of the page of its first bit
 *
 * Given as a constant to always-inlined functions, so that only what is used
 * remains in the object.
 */
struct kvm_hva_walk {
	void (*on_lock)(struct kvm *kvm);
	bool (*handler)(struct kvm *kvm, struct kvm_gfn_range *range);
	bool flush;
	bool may_block;
	bool lockless;
	bool counted;
	unsigned long *young;
	unsigned long young_start;
};

/*
 * The guest frames of @slot that lie in [@start, @end). All members are set one by
 * one, for each page that reclaim takes; @arg is for attributes.
 */
static __always_inline void
kvm_slot_gfn_range(struct kvm_gfn_range *range, struct kvm_memory_slot *slot,
		   unsigned long start, unsigned long end,
		   const struct kvm_hva_walk *walk)
{
	unsigned long slot_end = slot->userspace_addr +
				 (slot->npages << PAGE_SHIFT);

	start = max(start, slot->userspace_addr);
	end = min(end, slot_end);

	range->slot = slot;
	range->arg.attributes = 0;
	range->start = hva_to_gfn_memslot(start, slot);
	range->end = hva_to_gfn_memslot(end + PAGE_SIZE - 1, slot);
	/* Private memory has no host address. */
	range->attr_filter = KVM_FILTER_SHARED;
	range->may_block = walk->may_block;
	range->lockless = walk->lockless;
	range->counted = walk->counted;
	range->young = walk->young;
	range->young_first = (start - walk->young_start) >> PAGE_SHIFT;
}

struct kvm_hva_result {
	bool found;	/* a memslot is in the range */
	bool ret;	/* a handler returned true */
};

static __always_inline void
kvm_walk_hva_slots(struct kvm *kvm, struct kvm_memslots *slots,
		   unsigned long start, unsigned long end,
		   const struct kvm_hva_walk *walk, struct kvm_hva_result *res)
{
	struct interval_tree_node *node;

	/* Of two address spaces, one is often empty. */
	if (RB_EMPTY_ROOT(&slots->hva_tree.rb_root))
		return;

	for (node = interval_tree_iter_first(&slots->hva_tree, start, end - 1);
	     node; node = interval_tree_iter_next(node, start, end - 1)) {
		struct kvm_memory_slot *slot =
			container_of(node, struct kvm_memory_slot,
				     hva_node[slots->node_idx]);
		struct kvm_gfn_range range __uninitialized;

		if (!res->found && !walk->lockless) {
			KVM_MMU_LOCK(kvm);
			if (walk->on_lock)
				walk->on_lock(kvm);
		}
		res->found = true;
		if (!walk->handler)
			return;

		kvm_slot_gfn_range(&range, slot, start, end, walk);
		res->ret |= walk->handler(kvm, &range);
	}
}

static __always_inline void
kvm_walk_hva_spaces(struct kvm *kvm, unsigned long start, unsigned long end,
		    const struct kvm_hva_walk *walk, struct kvm_hva_result *res)
{
	int i, nr_as_ids = kvm_arch_nr_memslot_as_ids(kvm);

	for (i = 0; i < nr_as_ids; i++) {
		kvm_walk_hva_slots(kvm, __kvm_memslots(kvm, i), start, end,
				   walk, res);
		if (res->found && !walk->handler)
			break;
	}
}

static __always_inline void kvm_walk_hva_end(struct kvm *kvm,
					     const struct kvm_hva_walk *walk,
					     const struct kvm_hva_result *res)
{
	if (!res->found)
		return;
	if (walk->flush && res->ret)
		kvm_flush_remote_tlbs(kvm);
	if (!walk->lockless)
		KVM_MMU_UNLOCK(kvm);
}

/*
 * mmu_lock is not taken for a range without a memslot.
 *
 * For pages, which do not keep the memslots from changing: the full barrier in
 * srcu_read_lock() orders the clear of the entry before the read of the memslots.
 * If a memslot is missing from what is found here, faults that know it look the
 * page up later than that; a full barrier has to be in between if the CPU is not
 * multicopy atomic and they take no lock for it.
 */
static __always_inline struct kvm_hva_result
kvm_walk_hva(struct kvm *kvm, unsigned long start, unsigned long end,
	     const struct kvm_hva_walk *walk)
{
	struct kvm_hva_result res = { };
	int idx;

	if (WARN_ON_ONCE(end <= start))
		return res;

	idx = srcu_read_lock(&kvm->srcu);
	kvm_walk_hva_spaces(kvm, start, end, walk, &res);
	kvm_walk_hva_end(kvm, walk, &res);
	srcu_read_unlock(&kvm->srcu, idx);

	return res;
}

/* Pfn caches. Most VMs have none, and take no lock for them. */

#ifdef CONFIG_HAVE_KVM_PFNCACHE
/*
 * Orders what the caller did before the look at the list; pairs with the smp_mb()
 * in __kvm_gpc_activate(). A cache that is not on the list yet looks its page up
 * later than that: after the clear of an entry, or with the range counted.
 */
static bool kvm_mn_has_gpcs(struct kvm *kvm)
{
	smp_mb();	/* see above */
	return !list_empty(&kvm->gpc_list);
}

static void kvm_mn_range_gpcs(struct kvm *kvm, unsigned long start,
			      unsigned long end)
{
	if (kvm_mn_has_gpcs(kvm))
		gfn_to_pfn_cache_invalidate_start(kvm, start, end);
}

static void kvm_mn_page_gpcs(struct kvm *kvm, unsigned long start,
			     unsigned long end)
{
	if (!kvm_mn_has_gpcs(kvm))
		return;

	/*
	 * The count before the caches. A refresh that checks the count, under
	 * the lock of its cache, before this walk gets there leaves a valid
	 * cache for it to find; one that checks after it sees the count moved.
	 */
	spin_lock(&kvm->mn_invalidate_lock);
	kvm->gpc_invalidate_seq++;
	spin_unlock(&kvm->mn_invalidate_lock);

	gfn_to_pfn_cache_invalidate_start(kvm, start, end);
}
#else
static void kvm_mn_range_gpcs(struct kvm *kvm, unsigned long start,
			      unsigned long end)
{
}

static void kvm_mn_page_gpcs(struct kvm *kvm, unsigned long start,
			     unsigned long end)
{
}
#endif

/* Ranges. */

/*
 * Memslots do not change while a range is open, kvm_swap_active_memslots() waits
 * for the count to drop: start and end find the same memslots and so agree on
 * whether a section of the MMU is open. The pfn caches take the count for the
 * sign of an open range.
 */
static void kvm_mn_range_open(struct kvm *kvm)
{
	spin_lock(&kvm->mn_invalidate_lock);
	kvm->mn_active_invalidate_count++;
	spin_unlock(&kvm->mn_invalidate_lock);
}

static void kvm_mn_range_close(struct kvm *kvm)
{
	bool wake;

	spin_lock(&kvm->mn_invalidate_lock);
	kvm->gpc_invalidate_seq++;
	/*
	 * The new count before the end of the range, as in
	 * kvm_mmu_invalidate_end(). Pairs with the smp_rmb() in
	 * gpc_invalidate_retry().
	 */
	smp_wmb();
	if (!WARN_ON_ONCE(!kvm->mn_active_invalidate_count))
		kvm->mn_active_invalidate_count--;
	/* Whoever waits for that has become the waiter under this lock. */
	wake = !kvm->mn_active_invalidate_count &&
	       rcuwait_active(&kvm->mn_memslots_update_rcuwait);
	spin_unlock(&kvm->mn_invalidate_lock);

	/* One waiter at most, it holds slots_lock. */
	if (wake)
		rcuwait_wake_up(&kvm->mn_memslots_update_rcuwait);
}

/* Make @slots the active memslots, between two ranges. */
void kvm_mmu_notifier_set_memslots(struct kvm *kvm, int as_id,
				   struct kvm_memslots *slots)
{
	lockdep_assert_held(&kvm->slots_lock);

	spin_lock(&kvm->mn_invalidate_lock);
	prepare_to_rcuwait(&kvm->mn_memslots_update_rcuwait);
	while (kvm->mn_active_invalidate_count) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		spin_unlock(&kvm->mn_invalidate_lock);
		schedule();
		spin_lock(&kvm->mn_invalidate_lock);
	}
	finish_rcuwait(&kvm->mn_memslots_update_rcuwait);
	rcu_assign_pointer(kvm->memslots[as_id], slots);
	spin_unlock(&kvm->mn_invalidate_lock);
}

static int kvm_mn_invalidate_range_start(struct mmu_notifier *mn,
					 const struct mmu_notifier_range *range)
{
	struct kvm *kvm = mn_to_kvm(mn);
	const struct kvm_hva_walk walk = {
		.on_lock = kvm_mmu_invalidate_start,
		.handler = kvm_mmu_unmap_gfn_range,
		.flush = true,
		.may_block = mmu_notifier_range_blockable(range),
	};

	trace_kvm_unmap_hva_range(range->start, range->end);

	kvm_mn_range_open(kvm);
	/* Before mmu_lock, under which the locks of the caches are not taken. */
	kvm_mn_range_gpcs(kvm, range->start, range->end);

	/* After mmu_lock, it can be slow. */
	if (kvm_walk_hva(kvm, range->start, range->end, &walk).found)
		kvm_arch_guest_memory_reclaimed(kvm);
	return 0;
}

static void kvm_mn_invalidate_range_end(struct mmu_notifier *mn,
					const struct mmu_notifier_range *range)
{
	struct kvm *kvm = mn_to_kvm(mn);
	const struct kvm_hva_walk walk = {
		.on_lock = kvm_mmu_invalidate_end,
	};

	/*
	 * What this task counted at the start, if it found a memslot, is counted
	 * still. If nothing is, there is nothing to end.
	 */
	if (READ_ONCE(kvm->mmu_invalidate_in_progress))
		kvm_walk_hva(kvm, range->start, range->end, &walk);
	kvm_mn_range_close(kvm);
}

/* Pages. */

static bool kvm_mn_unmap_page(struct kvm *kvm, struct kvm_gfn_range *range)
{
	kvm_mmu_invalidate_bump(kvm, range->start, range->end);
	return kvm_unmap_gfn_range(kvm, range);
}

static const struct kvm_hva_walk kvm_mn_page_walk = {
	.handler = kvm_mn_unmap_page,
	.flush = true,
	.counted = true,
};

static void kvm_mn_drop_page(struct kvm *kvm, unsigned long start,
			     unsigned long end)
{
	kvm_walk_hva(kvm, start, end, &kvm_mn_page_walk);
}

static void kvm_mn_invalidate_page(struct mmu_notifier *mn,
				   struct mm_struct *mm, unsigned long address,
				   unsigned long nr_pages,
				   enum mmu_notifier_event event)
{
	unsigned long end = address + nr_pages * PAGE_SIZE;
	struct kvm *kvm = mn_to_kvm(mn);

	trace_kvm_unmap_hva_range(address, end);

	kvm_mn_page_gpcs(kvm, address, end);
	kvm_mn_drop_page(kvm, address, end);
}

/* Pages that reclaim takes together. */

/* Is [@start, @end) behind @last, and are they few pages together? */
static bool kvm_mn_extends(const struct kvm_mn_pages *last, unsigned long start,
			   unsigned long end)
{
	return last->end == start &&
	       end - last->start <= KVM_INVALIDATE_FEW_FRAMES * PAGE_SIZE;
}

/* Return: false if there is no room. */
static bool kvm_mn_batch_add(struct kvm_mn_batch *batch, unsigned long start,
			     unsigned long end)
{
	struct kvm_mn_pages *pages = batch->pages;
	unsigned int nr;

	guard(spinlock)(&batch->lock);

	nr = batch->nr;
	/* What is being dropped stays as it is. */
	if (nr > batch->nr_dropping && kvm_mn_extends(&pages[nr - 1], start, end)) {
		pages[nr - 1].end = end;
		return true;
	}
	if (nr == KVM_MN_BATCH)
		return false;
	pages[nr] = (struct kvm_mn_pages){ start, end };
	WRITE_ONCE(batch->nr, nr + 1);
	return true;
}

/* Drop the sptes of what the batch has now. */
static void kvm_mn_batch_drop(struct kvm *kvm, struct kvm_mn_batch *batch)
{
	struct kvm_hva_result res = { };
	unsigned int i, nr;
	int idx;

	/* Who finds its pages in the hands of another task waits for that. */
	guard(spinlock)(&batch->drop_lock);

	scoped_guard(spinlock, &batch->lock) {
		nr = batch->nr;
		batch->nr_dropping = nr;
	}

	idx = srcu_read_lock(&kvm->srcu);
	for (i = 0; i < nr; i++)
		kvm_walk_hva_spaces(kvm, batch->pages[i].start,
				    batch->pages[i].end, &kvm_mn_page_walk, &res);
	kvm_walk_hva_end(kvm, &kvm_mn_page_walk, &res);
	srcu_read_unlock(&kvm->srcu, idx);

	guard(spinlock)(&batch->lock);

	memmove(batch->pages, batch->pages + nr,
		(batch->nr - nr) * sizeof(*batch->pages));
	batch->nr_dropping = 0;
	/* Pairs with the acquire in kvm_mn_flush_batch(). */
	smp_store_release(&batch->nr, batch->nr - nr);
}

static void kvm_mn_invalidate_page_batched(struct mmu_notifier *mn,
					   struct mm_struct *mm,
					   unsigned long address,
					   unsigned long nr_pages,
					   enum mmu_notifier_event event)
{
	unsigned long end = address + nr_pages * PAGE_SIZE;
	struct kvm *kvm = mn_to_kvm(mn);

	trace_kvm_unmap_hva_range(address, end);

	kvm_mn_page_gpcs(kvm, address, end);
	/* The end of the section prepares the page for its next user. */
	if (READ_ONCE(kvm->mmu_reclaim_notifier.ops)) {
		kvm_mn_drop_page(kvm, address, end);
		return;
	}
	while (!kvm_mn_batch_add(&kvm->mn_batch, address, end))
		kvm_mn_batch_drop(kvm, &kvm->mn_batch);
}

static void kvm_mn_flush_batch(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct kvm *kvm = mn_to_kvm(mn);

	/*
	 * Pages are in the batch until no TLB has them. Pairs with the release in
	 * kvm_mn_batch_drop().
	 */
	if (smp_load_acquire(&kvm->mn_batch.nr))
		kvm_mn_batch_drop(kvm, &kvm->mn_batch);
}

/* Aging. */

static __always_inline bool
kvm_mn_age(struct mmu_notifier *mn, unsigned long start, unsigned long end,
	   bool (*handler)(struct kvm *kvm, struct kvm_gfn_range *range),
	   bool flush)
{
	const struct kvm_hva_walk walk = {
		.handler = handler,
		.flush = flush,
		.lockless = IS_ENABLED(CONFIG_KVM_MMU_LOCKLESS_AGING),
	};

	return kvm_walk_hva(mn_to_kvm(mn), start, end, &walk).ret;
}

static bool kvm_mn_clear_flush_young(struct mmu_notifier *mn,
				     struct mm_struct *mm,
				     unsigned long start, unsigned long end)
{
	trace_kvm_age_hva(start, end);
	return kvm_mn_age(mn, start, end, kvm_age_gfn,
			  !IS_ENABLED(CONFIG_KVM_ELIDE_TLB_FLUSH_IF_YOUNG));
}

static bool kvm_mn_clear_young(struct mmu_notifier *mn, struct mm_struct *mm,
			       unsigned long start, unsigned long end)
{
	trace_kvm_age_hva(start, end);
	return kvm_mn_age(mn, start, end, kvm_age_gfn, false);
}

static bool kvm_mn_test_young(struct mmu_notifier *mn, struct mm_struct *mm,
			      unsigned long address)
{
	trace_kvm_test_age_hva(address);
	return kvm_mn_age(mn, address, address + PAGE_SIZE, kvm_test_age_gfn,
			  false);
}

#ifdef CONFIG_KVM_YOUNG_GFNS
static __always_inline void
kvm_mn_young_pages(struct mmu_notifier *mn, unsigned long start,
		   unsigned int nr_pages, unsigned long *young,
		   bool (*handler)(struct kvm *kvm, struct kvm_gfn_range *range))
{
	const struct kvm_hva_walk walk = {
		.handler = handler,
		.lockless = IS_ENABLED(CONFIG_KVM_MMU_LOCKLESS_AGING),
		.young = young,
		.young_start = start,
	};

	kvm_walk_hva(mn_to_kvm(mn), start, start + nr_pages * PAGE_SIZE, &walk);
}

static void kvm_mn_test_young_pages(struct mmu_notifier *mn,
				    struct mm_struct *mm, unsigned long start,
				    unsigned int nr_pages, unsigned long *young)
{
	trace_kvm_test_age_hva(start);
	kvm_mn_young_pages(mn, start, nr_pages, young, kvm_test_young_gfns);
}

static void kvm_mn_clear_young_pages(struct mmu_notifier *mn,
				     struct mm_struct *mm, unsigned long start,
				     unsigned int nr_pages,
				     const unsigned long *pages)
{
	trace_kvm_age_hva(start, start + nr_pages * PAGE_SIZE);
	/* Only read. */
	kvm_mn_young_pages(mn, start, nr_pages, (unsigned long *)pages,
			   kvm_clear_young_gfns);
}

/* Guest frames of one address space whose accessed state is to be cleared. */
struct kvm_mn_gfns {
	unsigned int nr;
	gfn_t gfns[32];		/* as many as reclaim takes together */
};

static void kvm_mn_clear_gfns(struct kvm *kvm, int as_id,
			      struct kvm_mn_gfns *list)
{
	if (list->nr)
		kvm_clear_young_gfn_list(kvm, as_id, list->gfns, list->nr);
	list->nr = 0;
}

/* A page may be in several memslots. */
static void kvm_mn_add_gfns(struct kvm *kvm, int as_id,
			    struct kvm_memslots *slots, unsigned long address,
			    struct kvm_mn_gfns *list)
{
	struct interval_tree_node *node;

	for (node = interval_tree_iter_first(&slots->hva_tree, address, address);
	     node; node = interval_tree_iter_next(node, address, address)) {
		struct kvm_memory_slot *slot =
			container_of(node, struct kvm_memory_slot,
				     hva_node[slots->node_idx]);

		if (list->nr == ARRAY_SIZE(list->gfns))
			kvm_mn_clear_gfns(kvm, as_id, list);
		list->gfns[list->nr++] = hva_to_gfn_memslot(address, slot);
	}
}

static void kvm_mn_clear_young_list(struct mmu_notifier *mn,
				    struct mm_struct *mm,
				    const unsigned long *addresses,
				    unsigned int nr_pages)
{
	struct kvm *kvm = mn_to_kvm(mn);
	struct kvm_mn_gfns list;
	unsigned int i;
	int as_id;

	for (i = 0; trace_kvm_age_hva_enabled() && i < nr_pages; i++)
		trace_kvm_age_hva(addresses[i], addresses[i] + PAGE_SIZE);

	list.nr = 0;
	guard(srcu)(&kvm->srcu);

	for (as_id = 0; as_id < kvm_arch_nr_memslot_as_ids(kvm); as_id++) {
		struct kvm_memslots *slots = __kvm_memslots(kvm, as_id);

		/* Of two address spaces, one is often empty. */
		if (RB_EMPTY_ROOT(&slots->hva_tree.rb_root))
			continue;
		for (i = 0; i < nr_pages; i++)
			kvm_mn_add_gfns(kvm, as_id, slots, addresses[i], &list);
		kvm_mn_clear_gfns(kvm, as_id, &list);
	}
}
#endif

/* Life cycle. */

static void kvm_mn_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct kvm *kvm = mn_to_kvm(mn);
	int idx;

	idx = srcu_read_lock(&kvm->srcu);
	kvm_arch_flush_shadow_all(kvm);
	kvm_arch_guest_memory_reclaimed(kvm);
	srcu_read_unlock(&kvm->srcu, idx);
}

/*
 * An architecture that asks the entry of the host when it unmaps a page has to be
 * told while the entry is there. s390 does, under the page table lock, to see
 * whether the guest has given the page up.
 */
#define kvm_mn_by_page(fn)	(IS_ENABLED(CONFIG_KVM_INVALIDATE_BY_RANGE) ? NULL : (fn))

static const struct mmu_notifier_ops kvm_mn_ops = {
	.invalidate_page	= kvm_mn_by_page(kvm_mn_invalidate_page),
	.invalidate_page_batched = kvm_mn_by_page(kvm_mn_invalidate_page_batched),
	.flush_batch		= kvm_mn_by_page(kvm_mn_flush_batch),
	.invalidate_range_start	= kvm_mn_invalidate_range_start,
	.invalidate_range_end	= kvm_mn_invalidate_range_end,
	.clear_flush_young	= kvm_mn_clear_flush_young,
	.clear_young		= kvm_mn_clear_young,
	.test_young		= kvm_mn_test_young,
#ifdef CONFIG_KVM_YOUNG_GFNS
	.test_young_pages	= kvm_mn_test_young_pages,
	.clear_young_pages	= kvm_mn_clear_young_pages,
	.clear_young_list	= kvm_mn_clear_young_list,
#endif
	.release		= kvm_mn_release,
};

/* Before anything else that could fail: teardown looks at these in any case. */
int kvm_mmu_notifier_init(struct kvm *kvm)
{
	spin_lock_init(&kvm->mn_invalidate_lock);
	rcuwait_init(&kvm->mn_memslots_update_rcuwait);
	spin_lock_init(&kvm->mn_batch.lock);
	spin_lock_init(&kvm->mn_batch.drop_lock);
	return kvm_mn_alloc_seqs(kvm);
}

/* With the VM: sptes are dropped until then. */
void kvm_mmu_notifier_destroy(struct kvm *kvm)
{
	kvm_mn_free_seqs(kvm);
}

int kvm_mmu_notifier_register(struct kvm *kvm)
{
	kvm->mmu_notifier.ops = &kvm_mn_ops;
	return mmu_notifier_register(&kvm->mmu_notifier, kvm->mm);
}

void kvm_mmu_notifier_unregister(struct kvm *kvm)
{
	if (kvm->mmu_reclaim_notifier.ops)
		mmu_notifier_unregister(&kvm->mmu_reclaim_notifier, kvm->mm);
	mmu_notifier_unregister(&kvm->mmu_notifier, kvm->mm);

	/*
	 * A range that was open has no end any more. Nobody can wait for it
	 * with the last reference to the VM gone, but the memslots are about to
	 * be freed, which does look at the count.
	 */
	WARN_ON(rcuwait_active(&kvm->mn_memslots_update_rcuwait));
	if (kvm->mn_active_invalidate_count)
		kvm->mn_active_invalidate_count = 0;
	else
		WARN_ON(kvm->mmu_invalidate_in_progress);
}

/* Guests whose memory must be prepared for its next user. */

static void kvm_mn_folio_end(struct mmu_notifier *mn,
			     const struct mmu_notifier_range *range)
{
	struct kvm *kvm = container_of(mn, struct kvm, mmu_reclaim_notifier);
	static const struct kvm_hva_walk find = {
		.lockless = true,
	};

	/* Every other range has been seen to by its start. */
	if (!(range->flags & MMU_NOTIFIER_RANGE_FOLIO))
		return;

	if (kvm_walk_hva(kvm, range->start, range->end, &find).found)
		kvm_arch_guest_memory_reclaimed(kvm);
}

static const struct mmu_notifier_ops kvm_mn_reclaim_ops = {
	.invalidate_range_end = kvm_mn_folio_end,
};

/**
 * kvm_mmu_notifier_track_reclaim - see to memory that invalidate_page takes away
 * @kvm: the VM, which is about to become such a guest
 *
 * kvm_arch_guest_memory_reclaimed() can be slow (SEV writes back the caches of
 * every CPU) and must not run with a page table lock held. This subscribes once
 * more, without invalidate_page, and so hears the end of operations on single
 * folios: the sptes are gone by then, the lock is dropped, and the folio is
 * still held by whoever takes it away.
 *
 * Context: kvm->lock held, mmap_lock not held. May sleep.
 *
 * Return: 0, or an error of mmu_notifier_register(), after which calling again
 * is allowed.
 */
int kvm_mmu_notifier_track_reclaim(struct kvm *kvm)
{
	int ret;

	lockdep_assert_held(&kvm->lock);

	if (kvm->mmu_reclaim_notifier.ops)
		return 0;

	WRITE_ONCE(kvm->mmu_reclaim_notifier.ops, &kvm_mn_reclaim_ops);
	ret = mmu_notifier_register(&kvm->mmu_reclaim_notifier, kvm->mm);
	if (ret)
		WRITE_ONCE(kvm->mmu_reclaim_notifier.ops, NULL);
	return ret;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_mmu_notifier_track_reclaim);

#ifdef CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES
/*
 * Memory attributes change as if the core VM had cleared the range: faults are
 * held off while guest frames are neither private nor shared.
 */
static bool kvm_mmu_pre_set_attributes(struct kvm *kvm,
				       struct kvm_gfn_range *range)
{
	/* Also where the architecture has nothing to drop. */
	kvm_mmu_invalidate_range_add(kvm, range->start, range->end);
	return kvm_arch_pre_set_memory_attributes(kvm, range);
}

static void kvm_walk_gfn(struct kvm *kvm, gfn_t start, gfn_t end,
			 unsigned long attributes,
			 const struct kvm_hva_walk *walk)
{
	bool found = false, flush = false;
	struct kvm_memslot_iter iter;
	int i;

	lockdep_assert_held(&kvm->slots_lock);

	for (i = 0; i < kvm_arch_nr_memslot_as_ids(kvm); i++) {
		kvm_for_each_memslot_in_gfn_range(&iter, __kvm_memslots(kvm, i),
						  start, end) {
			struct kvm_memory_slot *slot = iter.slot;
			struct kvm_gfn_range range = {
				.slot = slot,
				.start = max(start, slot->base_gfn),
				.end = min(end, slot->base_gfn + slot->npages),
				.arg.attributes = attributes,
				.may_block = walk->may_block,
			};

			if (range.start >= range.end)
				continue;
			if (!found) {
				found = true;
				KVM_MMU_LOCK(kvm);
				walk->on_lock(kvm);
			}
			flush |= walk->handler(kvm, &range);
		}
	}
	if (found) {
		if (walk->flush && flush)
			kvm_flush_remote_tlbs(kvm);
		KVM_MMU_UNLOCK(kvm);
	}
}

void kvm_mmu_attributes_start(struct kvm *kvm, gfn_t start, gfn_t end,
			      unsigned long attributes)
{
	const struct kvm_hva_walk walk = {
		.on_lock = kvm_mmu_invalidate_start,
		.handler = kvm_mmu_pre_set_attributes,
		.flush = true,
		.may_block = true,
	};

	kvm_walk_gfn(kvm, start, end, attributes, &walk);
}

void kvm_mmu_attributes_end(struct kvm *kvm, gfn_t start, gfn_t end,
			    unsigned long attributes)
{
	const struct kvm_hva_walk walk = {
		.on_lock = kvm_mmu_invalidate_end,
		.handler = kvm_arch_post_set_memory_attributes,
		.may_block = true,
	};

	kvm_walk_gfn(kvm, start, end, attributes, &walk);
}
#endif
