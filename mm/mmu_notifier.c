// SPDX-License-Identifier: GPL-2.0-only
/*
 * MMU notifiers: the subscription list of an mm, registration and dispatch.
 *
 * How a walk of the list and a subscription that leaves it get along
 * -----------------------------------------------------------------
 * The list is changed under mmu_notifier_subscriptions::lock and walked under
 * RCU by callbacks that must not sleep.
 *
 * A walk whose callbacks may sleep counts itself instead, in the one of two
 * counters of the mm that subs->count points to. Who has unlinked a subscription
 * makes the other counter the current one and waits until the old one is zero:
 * mn_wait_walks(). The walk looks at the pointer once more when it has counted
 * itself, and begins anew if that has changed. There is a full barrier between
 * the two on either side, so:
 *
 *  - If the walk sees the old pointer, the waiter sees the walk in the counter,
 *    and waits for it.
 *  - If the walk sees a pointer that was written after the subscription was
 *    unlinked, it does not come by. It does not matter then whether its counter
 *    is in use for the second time and a waiter missed it the first time.
 *
 * The counter that is current is one too high. So zero is what a waiter waits
 * for, and nobody else who leaves the counter has anything to do.
 *
 * An entry that is unlinked while a walk stands on it keeps its successor, and
 * who was on the list then cannot be freed before that walk has ended.
 *
 * The counters belong to the mm, so nobody waits for callbacks of another one,
 * but for those that must not sleep: RCU does not tell processes apart. A walk
 * costs two atomic operations, however many subscriptions it calls.
 *
 * Registration in the middle of sections
 * --------------------------------------
 * Every section runs under mmap_lock, the lock of a VMA, or an rmap lock
 * (i_mmap_rwsem or anon_vma) of a VMA of the mm, from before its start until
 * after its end. Registration publishes the subscription first and then, with
 * mmap_lock held for writing, takes and drops each of the other locks, one at a
 * time, or sees that nobody has it: mmu_notifier_drain().
 *
 *  - A section that takes its lock after the drain dropped it sees the
 *    subscription: the publication happened before the unlock, the walk of the
 *    list happens after the lock.
 *  - A section that held its lock before has finished when the drain gets it.
 *    Whether it saw the subscription does not matter.
 *
 * So no section that missed the subscription is left when registration returns.
 * A section that saw it neither at the start nor at the end, or at the start
 * and so at the end too, is what remains to be shown: the list cannot decide
 * that, the subscription may appear between the two walks. The stamp does. A
 * registration links the subscription and then publishes its number; a section
 * reads the number first and then walks, and both of its walks call exactly the
 * subscriptions with that number or a lower one. All of these are linked by the
 * time the number is seen. The youngest stands first in the list, so a walk
 * leaves out the head of the list and compares no further.
 */

#include <linux/bitmap.h>
#include <linux/cpu.h>
#include <linux/export.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rculist.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include "internal.h"
#include "mmu_notifier_internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/mmu_notifier.h>

DEFINE_STATIC_KEY_FALSE(mmu_notifier_used);
EXPORT_SYMBOL_GPL(mmu_notifier_used);

/*
 * Somebody looks at ranges and pages: their trace events are on, or callbacks
 * are counted. One no-op instruction for both.
 */
DEFINE_STATIC_KEY_FALSE(mmu_notifier_observed);

int mmu_notifier_observe(void)
{
	static_branch_inc(&mmu_notifier_observed);
	return 0;
}

void mmu_notifier_unobserve(void)
{
	static_branch_dec(&mmu_notifier_observed);
}

#ifdef CONFIG_LOCKDEP
struct lockdep_map __mmu_notifier_invalidate_range_start_map = {
	.name = "mmu_notifier_invalidate_range_start"
};
EXPORT_SYMBOL_GPL(__mmu_notifier_invalidate_range_start_map);
#endif

/* Bits of mmu_notifier::flags. */
enum {
	MN_REGISTERED,		/* until unregister or the last put */
	MN_RELEASE_PENDING,	/* cleared when release has returned */
	MN_RELEASE_CLAIMED,	/* somebody calls release, or it shall not run */
};

/* mmu_notifier_put() frees from here, mmu_notifier_synchronize() flushes it. */
static struct workqueue_struct *mn_put_wq;

/* Walks. */

static void mn_walk_end(atomic_t *count)
{
	/* Fully ordered, as wake_up_var() wants it. */
	if (unlikely(atomic_dec_and_test(count)))
		wake_up_var(count);
}

/* A walk that may sleep. The result goes to mn_walk_end(). */
static __always_inline atomic_t *
mn_walk_begin(struct mmu_notifier_subscriptions *subs)
{
	atomic_t *count;

	for (;;) {
		count = READ_ONCE(subs->count);
		atomic_inc(count);
		/* Pairs with the atomic_dec_and_test() in mn_wait_walks(). */
		smp_mb__after_atomic();
		/* Pairs with the release in mn_wait_walks(). */
		if (likely(smp_load_acquire(&subs->count) == count))
			return count;
		mn_walk_end(count);
	}
}

/* For one who waits at a time, or both counters were in use. */
static void mn_claim_counters(struct mmu_notifier_subscriptions *subs)
{
	guard(spinlock)(&subs->lock);

	wait_var_event_spinlock(&subs->heard,
				!(subs->heard & MN_WAITS_FOR_WALKS), &subs->lock);
	WRITE_ONCE(subs->heard, subs->heard | MN_WAITS_FOR_WALKS);
}

static void mn_release_counters(struct mmu_notifier_subscriptions *subs)
{
	guard(spinlock)(&subs->lock);

	WRITE_ONCE(subs->heard, subs->heard & ~MN_WAITS_FOR_WALKS);
	wake_up_var_locked(&subs->heard, &subs->lock);
}

/*
 * Wait for the walks that may stand on what the caller has unlinked. When nobody
 * else waits all walks are on the current counter. Those that begin after that
 * has changed do not delay it, but for a moment the ones that had read the old
 * pointer.
 */
static void mn_wait_walks(struct mmu_notifier_subscriptions *subs)
{
	atomic_t *old, *new;

	might_sleep();
	mn_claim_counters(subs);

	old = subs->count;
	new = &subs->counts[old == subs->counts];
	atomic_inc(new);
	/*
	 * What is unlinked before the new pointer; pairs with the acquire in
	 * mn_walk_begin().
	 */
	smp_store_release(&subs->count, new);
	/*
	 * The new pointer before the look at the old counter. Pairs with the
	 * barrier in mn_walk_begin(), and with the decrement in mn_walk_end().
	 */
	if (!atomic_dec_and_test(old)) {
		wait_var_event(old, !atomic_read(old));
		smp_acquire__after_ctrl_dep();
	}
	mn_release_counters(subs);
}

static struct mmu_notifier *mn_entry(const struct hlist_node *node)
{
	return hlist_entry_safe(node, struct mmu_notifier, hlist);
}

/* @count: of the walk. */
static struct mmu_notifier *mn_first(struct mmu_notifier_subscriptions *subs,
				     const atomic_t *count)
{
	return mn_entry(rcu_dereference_check(hlist_first_rcu(&subs->list),
					      atomic_read(count)));
}

static struct mmu_notifier *mn_next(struct mmu_notifier *sub,
				    const atomic_t *count)
{
	return mn_entry(rcu_dereference_check(hlist_next_rcu(&sub->hlist),
					      atomic_read(count)));
}

/* Was @sub registered after the registration with the number @stamp? */
static bool mn_is_younger(const struct mmu_notifier *sub, unsigned long stamp)
{
	/* A difference, for numbers that wrap. */
	return (long)(stamp - sub->stamp) < 0;
}

/* The first that the section @range may concern; so may all behind it. */
static struct mmu_notifier *
mn_first_stamped(struct mmu_notifier_subscriptions *subs,
		 const struct mmu_notifier_range *range, const atomic_t *count)
{
	struct mmu_notifier *sub = mn_first(subs, count);

	while (sub && unlikely(mn_is_younger(sub, range->stamp)))
		sub = mn_next(sub, count);
	return sub;
}

/* Sections. */

/* Does a section concern @sub, which is old enough? mn_heard_flags() agrees. */
static bool mn_hears(const struct mmu_notifier *sub, bool folio)
{
	return !folio || !sub->ops->invalidate_page;
}

static bool mn_is_folio(const struct mmu_notifier_range *range)
{
	return range->flags & MMU_NOTIFIER_RANGE_FOLIO;
}

/* Flags of the sections that a subscription with @ops hears, and MN_*. */
static unsigned int mn_heard_flags(const struct mmu_notifier_ops *ops)
{
	unsigned int flags = 0;

	if (!ops->test_young_pages &&
	    (ops->test_young || ops->clear_young || ops->clear_flush_young))
		flags |= MN_YOUNG_BY_PAGE;
	if (ops->arch_invalidate_secondary_tlbs)
		flags |= MN_HEARS_CPU_TLB;
	if (!ops->invalidate_range_start && !ops->invalidate_range_end)
		return flags;
	flags |= MMU_NOTIFIER_RANGE_SPAN;
	if (!ops->invalidate_page)
		flags |= MMU_NOTIFIER_RANGE_FOLIO;
	return flags;
}

/*
 * May there be anybody who hears the section? These are never taken back, so the
 * end does not miss whom the start called; one that is new since then is
 * younger than the section.
 */
static bool mn_is_heard(const struct mmu_notifier_subscriptions *subs,
			const struct mmu_notifier_range *range)
{
	return range->flags & READ_ONCE(subs->heard);
}

static noinline void mn_observed_end(struct mmu_notifier *sub,
				     const struct mmu_notifier_range *range)
{
	trace_mmu_notifier_range_end(sub, range);
	mn_ops(sub)->invalidate_range_end(sub, range);
}

static __always_inline void
mn_call_end(struct mmu_notifier *sub, const struct mmu_notifier_range *range)
{
	bool blockable = mmu_notifier_range_blockable(range);
	const struct mmu_notifier_ops *ops = sub->ops;

	if (!ops->invalidate_range_end)
		return;

	if (!blockable)
		non_block_start();
	if (static_branch_unlikely(&mmu_notifier_observed))
		mn_observed_end(sub, range);
	else
		ops->invalidate_range_end(sub, range);
	if (!blockable)
		non_block_end();
}

static noinline int mn_observed_start(struct mmu_notifier *sub,
				      const struct mmu_notifier_range *range)
{
	trace_mmu_notifier_range_start(sub, range);
	return mn_ops(sub)->invalidate_range_start(sub, range);
}

static __always_inline int
mn_call_start(struct mmu_notifier *sub, const struct mmu_notifier_range *range)
{
	bool blockable = mmu_notifier_range_blockable(range);
	const struct mmu_notifier_ops *ops = sub->ops;
	int ret;

	if (!ops->invalidate_range_start)
		return 0;

	if (!blockable)
		non_block_start();
	if (static_branch_unlikely(&mmu_notifier_observed))
		ret = mn_observed_start(sub, range);
	else
		ret = ops->invalidate_range_start(sub, range);
	if (!blockable)
		non_block_end();
	return ret;
}

static __always_inline void mn_intervals_end(struct mmu_notifier_range *range)
{
	if (range->lane)
		mmu_interval_section_end(range);
}

/*
 * Subscriber @refused returned @ret: end the section for those whom the walk
 * called before. They are younger; @refused itself may be off the list by now.
 *
 * Return: 0 if the section goes on, as it was not to be refused.
 */
static noinline int mn_refused(struct mmu_notifier_subscriptions *subs,
			       const struct mmu_notifier *refused,
			       struct mmu_notifier_range *range,
			       const atomic_t *count, int ret)
{
	bool blockable = mmu_notifier_range_blockable(range);
	struct mmu_notifier *sub;

	/* Only -EAGAIN, and only when asked not to sleep. */
	if (WARN_ON_ONCE(blockable || ret != -EAGAIN))
		pr_warn("%ps: error %d from a%s section\n",
			refused->ops->invalidate_range_start, ret,
			blockable ? " blockable" : "");
	if (blockable)
		return 0;

	for (sub = mn_first_stamped(subs, range, count);
	     sub && mn_is_younger(sub, refused->stamp);
	     sub = mn_next(sub, count))
		if (mn_hears(sub, mn_is_folio(range)))
			mn_call_end(sub, range);
	mn_intervals_end(range);
	return ret;
}

/* Inlined with a constant @folio. */
static __always_inline int mn_walk_start(struct mmu_notifier_subscriptions *subs,
					 struct mmu_notifier_range *range,
					 bool folio)
{
	atomic_t *count = mn_walk_begin(subs);
	struct mmu_notifier *sub;
	int ret = 0;

	for (sub = mn_first_stamped(subs, range, count); sub;
	     sub = mn_next(sub, count)) {
		if (!mn_hears(sub, folio))
			continue;
		ret = mn_call_start(sub, range);
		if (unlikely(ret)) {
			ret = mn_refused(subs, sub, range, count, ret);
			if (ret)
				break;
		}
	}
	mn_walk_end(count);
	return ret;
}

static noinline int mn_folio_start(struct mmu_notifier_subscriptions *subs,
				   struct mmu_notifier_range *range)
{
	return mn_walk_start(subs, range, true);
}

/* Without intervals the end has nothing to leave. */
static __always_inline int mn_intervals_start(struct mmu_interval_subscriptions *itv,
					      struct mmu_notifier_range *range)
{
	if (itv)
		return mmu_interval_section_start(itv, range);
	range->lane = NULL;
	return 0;
}

/*
 * Of a section that somebody may hear, see mn_range_end(). All agree, or nobody
 * who did has the section open on return.
 */
static noinline int mn_range_start(struct mmu_notifier_range *range,
				   struct mmu_notifier_subscriptions *subs,
				   struct mmu_interval_subscriptions *itv)
{
	int ret = mn_intervals_start(itv, range);

	if (unlikely(ret))
		return ret;
	if (unlikely(mn_is_folio(range)))
		return mn_folio_start(subs, range);
	return mn_walk_start(subs, range, false);
}

static __always_inline void mn_walk_close(struct mmu_notifier_subscriptions *subs,
					  const struct mmu_notifier_range *range,
					  bool folio)
{
	atomic_t *count = mn_walk_begin(subs);
	struct mmu_notifier *sub;

	for (sub = mn_first_stamped(subs, range, count); sub;
	     sub = mn_next(sub, count))
		if (mn_hears(sub, folio))
			mn_call_end(sub, range);
	mn_walk_end(count);
}

static noinline void mn_folio_end(struct mmu_notifier_subscriptions *subs,
				  const struct mmu_notifier_range *range)
{
	mn_walk_close(subs, range, true);
}

/*
 * Of a section that somebody may hear; apart from the rest, or a section that
 * nobody hears would save the registers that a walk needs.
 */
static noinline void mn_range_end(struct mmu_notifier_range *range,
				  struct mmu_notifier_subscriptions *subs)
{
	mn_intervals_end(range);
	if (unlikely(mn_is_folio(range)))
		mn_folio_end(subs, range);
	else
		mn_walk_close(subs, range, false);
}

/**
 * __mmu_notifier_range_start - call the subscribers that a new section concerns
 * @range: the section; the stamp and the lane are set here
 *
 * Context: May sleep if @range is blockable.
 *
 * Return: 0, or what the subscriber returned who refused. Nobody has the
 * section open then.
 */
int __mmu_notifier_range_start(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(range->mm->notifier_subscriptions);
	struct mmu_interval_subscriptions *itv = READ_ONCE(subs->intervals);
	int ret;

	/*
	 * Pairs with the release in mn_publish(): every subscription with this
	 * number or a lower one is seen by the walks that follow, and so are
	 * the flags of the sections that it hears.
	 */
	range->stamp = smp_load_acquire(&subs->stamp);

	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	if (mn_is_heard(subs, range))
		ret = mn_range_start(range, subs, itv);
	else
		ret = mn_intervals_start(itv, range);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
	return ret;
}

/**
 * __mmu_notifier_range_end - call the subscribers that heard the start
 * @range: the section, as __mmu_notifier_range_start() left it
 *
 * Context: May sleep if @range is blockable.
 */
void __mmu_notifier_range_end(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(range->mm->notifier_subscriptions);

	if (mmu_notifier_range_blockable(range))
		might_sleep();

	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	if (mn_is_heard(subs, range))
		mn_range_end(range, subs);
	else
		mn_intervals_end(range);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
}

/* Callbacks that do not sleep. */

/* Of a subscriber with one of the callbacks at least. Return: it was @batched. */
static noinline bool mn_observed_page(struct mmu_notifier *sub,
				      const struct mmu_notifier_range *range,
				      unsigned long address,
				      unsigned long nr_pages, bool batched)
{
	const struct mmu_notifier_ops *ops = mn_ops(sub);

	batched = batched && sub->ops->invalidate_page_batched;
	trace_mmu_notifier_invalidate_page(sub, range, address, nr_pages);
	if (batched)
		ops->invalidate_page_batched(sub, range->mm, address, nr_pages,
					     range->event);
	else
		ops->invalidate_page(sub, range->mm, address, nr_pages,
				     range->event);
	return batched;
}

static __always_inline bool
mn_call_page(struct mmu_notifier *sub, const struct mmu_notifier_range *range,
	     unsigned long address, unsigned long nr_pages, bool batched)
{
	const struct mmu_notifier_ops *ops = sub->ops;

	if (!ops->invalidate_page)
		return false;
	if (static_branch_unlikely(&mmu_notifier_observed))
		return mn_observed_page(sub, range, address, nr_pages, batched);
	if (batched && ops->invalidate_page_batched) {
		ops->invalidate_page_batched(sub, range->mm, address, nr_pages,
					     range->event);
		return true;
	}
	ops->invalidate_page(sub, range->mm, address, nr_pages, range->event);
	return false;
}

/* Inlined with a constant @batched. Return: true if anybody is to be flushed. */
static __always_inline bool
mn_walk_page(const struct mmu_notifier_range *range, unsigned long address,
	     unsigned long nr_pages, bool batched)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(range->mm->notifier_subscriptions);
	struct mmu_notifier *sub;
	bool flush = false;

	rcu_read_lock();
	hlist_for_each_entry_rcu(sub, &subs->list, hlist)
		flush |= mn_call_page(sub, range, address, nr_pages, batched);
	rcu_read_unlock();
	return flush;
}

/**
 * __mmu_notifier_invalidate_page - an entry of one folio has been cleared
 * @range: the section, opened by mmu_notifier_folio_start()
 * @address: first address that the entry maps
 * @nr_pages: number of pages that the entry maps
 *
 * Context: page table lock held. Does not sleep.
 */
void __mmu_notifier_invalidate_page(const struct mmu_notifier_range *range,
				    unsigned long address,
				    unsigned long nr_pages)
{
	mn_walk_page(range, address, nr_pages, false);
}

static bool mn_batch_owes(const struct mmu_notifier_batch *batch,
			  const struct mm_struct *mm)
{
	unsigned int i;

	for (i = 0; i < batch->nr; i++)
		if (batch->mms[i] == mm)
			return true;
	return false;
}

/**
 * __mmu_notifier_invalidate_page_batched - one of many entries has been cleared
 * @range: the section, opened by mmu_notifier_folio_start()
 * @address: first address that the entry maps
 * @nr_pages: number of pages that the entry maps
 *
 * Context: page table lock held. Does not sleep.
 */
void __mmu_notifier_invalidate_page_batched(const struct mmu_notifier_range *range,
					    unsigned long address,
					    unsigned long nr_pages)
{
	struct mmu_notifier_batch *batch = current->mmu_notifier_batch;
	struct mm_struct *mm = range->mm;
	bool owes = batch && mn_batch_owes(batch, mm);
	bool takes = owes || (batch && batch->nr < MMU_NOTIFIER_BATCH_MMS);

	if (mn_walk_page(range, address, nr_pages, takes) && !owes) {
		/* Keeps the list for the flush, the process may exit. */
		mmgrab(mm);
		batch->mms[batch->nr++] = mm;
	}
}

/**
 * __mmu_notifier_may_wait - does somebody wait in the section of a small folio?
 * @mm: the address space, somebody has been subscribed
 *
 * Who subscribes meanwhile has established nothing before the rmap lock of the
 * caller is dropped, and so has nothing to wait for.
 *
 * Context: any.
 *
 * Return: false if it is known that nobody does.
 */
bool __mmu_notifier_may_wait(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(mm->notifier_subscriptions);

	if (READ_ONCE(subs->heard) & MMU_NOTIFIER_RANGE_FOLIO)
		return true;
	return READ_ONCE(subs->intervals);
}

/**
 * __mmu_notifier_flush_pending - take from secondary MMUs what was left for later
 * @mm: the address space, somebody has been subscribed
 *
 * Who is off the list by now was told to release everything, or has given its
 * subscription up without translations: in both cases nothing is left.
 *
 * Context: any. Does not sleep.
 */
void __mmu_notifier_flush_pending(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(mm->notifier_subscriptions);
	struct mmu_notifier *sub;

	rcu_read_lock();
	hlist_for_each_entry_rcu(sub, &subs->list, hlist) {
		if (!sub->ops->flush_batch)
			continue;
		trace_mmu_notifier_flush_batch(sub, mm);
		mn_ops(sub)->flush_batch(sub, mm);
	}
	rcu_read_unlock();
}

/**
 * __mmu_notifier_flush_batch - flush for the processes of this task's batch
 *
 * Context: in a batch, no page table lock held. Does not sleep.
 */
void __mmu_notifier_flush_batch(void)
{
	struct mmu_notifier_batch *batch = current->mmu_notifier_batch;

	while (batch->nr) {
		struct mm_struct *mm = batch->mms[--batch->nr];

		__mmu_notifier_flush_pending(mm);
		mmdrop(mm);
	}
}

enum mn_young_op {
	MN_TEST_YOUNG,
	MN_CLEAR_YOUNG,
	MN_CLEAR_FLUSH_YOUNG,
	MN_TEST_YOUNG_PAGES,
	MN_CLEAR_YOUNG_PAGES,
	MN_CLEAR_YOUNG_LIST,
};

static bool mn_call_young(struct mmu_notifier *sub, struct mm_struct *mm,
			  unsigned long start, unsigned long end,
			  enum mn_young_op op)
{
	const struct mmu_notifier_ops *ops = sub->ops;

	switch (op) {
	case MN_TEST_YOUNG:
		return ops->test_young &&
		       mn_ops(sub)->test_young(sub, mm, start);
	case MN_CLEAR_YOUNG:
		return ops->clear_young &&
		       mn_ops(sub)->clear_young(sub, mm, start, end);
	case MN_CLEAR_FLUSH_YOUNG:
		return ops->clear_flush_young &&
		       mn_ops(sub)->clear_flush_young(sub, mm, start, end);
	default:
		return false;
	}
}

/* A subscriber that cannot be asked without clearing is asked like that. */
static void mn_test_young_pages(struct mmu_notifier *sub, struct mm_struct *mm,
				unsigned long start, unsigned int nr_pages,
				unsigned long *young)
{
	const struct mmu_notifier_ops *ops = sub->ops;
	enum mn_young_op op = ops->test_young ? MN_TEST_YOUNG : MN_CLEAR_YOUNG;
	unsigned long address = start;
	unsigned int i;

	if (ops->test_young_pages) {
		mn_ops(sub)->test_young_pages(sub, mm, start, nr_pages, young);
		return;
	}
	if (!ops->test_young && !ops->clear_young)
		return;
	for (i = 0; i < nr_pages; i++, address += PAGE_SIZE)
		if (mn_call_young(sub, mm, address, address + PAGE_SIZE, op))
			__set_bit(i, young);
}

static void mn_clear_young_pages(struct mmu_notifier *sub, struct mm_struct *mm,
				 unsigned long start, unsigned int nr_pages,
				 const unsigned long *pages)
{
	const struct mmu_notifier_ops *ops = sub->ops;
	unsigned long address;
	unsigned int i;

	if (ops->clear_young_pages) {
		mn_ops(sub)->clear_young_pages(sub, mm, start, nr_pages, pages);
		return;
	}
	if (!ops->clear_young)
		return;
	for_each_set_bit(i, pages, nr_pages) {
		address = start + i * PAGE_SIZE;
		mn_ops(sub)->clear_young(sub, mm, address, address + PAGE_SIZE);
	}
}

/* Without clear_young_list: a call for those that follow each other in one window. */
static void mn_clear_young_list(struct mmu_notifier *sub, struct mm_struct *mm,
				const unsigned long *addresses,
				unsigned int nr_pages)
{
	const unsigned long size = BITS_PER_LONG * PAGE_SIZE;
	unsigned long start, pages;
	unsigned int i = 0;

	if (sub->ops->clear_young_list) {
		mn_ops(sub)->clear_young_list(sub, mm, addresses, nr_pages);
		return;
	}
	while (i < nr_pages) {
		start = round_down(addresses[i], size);
		for (pages = 0; i < nr_pages && addresses[i] - start < size; i++)
			pages |= BIT((addresses[i] - start) >> PAGE_SHIFT);
		mn_clear_young_pages(sub, mm, start, BITS_PER_LONG, &pages);
	}
}

/* Inlined with a constant @op: one loop in the source, three in the object. */
static __always_inline bool mn_young(struct mm_struct *mm, unsigned long start,
				     unsigned long end, enum mn_young_op op)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(mm->notifier_subscriptions);
	struct mmu_notifier *sub;
	bool young = false;

	rcu_read_lock();
	hlist_for_each_entry_rcu(sub, &subs->list, hlist) {
		young |= mn_call_young(sub, mm, start, end, op);
		/* Nothing to clear: one answer is enough. */
		if (op == MN_TEST_YOUNG && young)
			break;
	}
	rcu_read_unlock();
	trace_mmu_notifier_young(mm, start, end, op, young);
	return young;
}

/**
 * __mmu_notifier_clear_flush_young - ask every subscriber, clear and flush
 * @mm: the address space
 * @start: first address
 * @end: first address behind the range
 *
 * Context: any. Does not sleep.
 *
 * Return: true if any secondary MMU had accessed the range.
 */
bool __mmu_notifier_clear_flush_young(struct mm_struct *mm,
				      unsigned long start, unsigned long end)
{
	return mn_young(mm, start, end, MN_CLEAR_FLUSH_YOUNG);
}

/**
 * __mmu_notifier_clear_young - ask every subscriber and clear
 * @mm: the address space
 * @start: first address
 * @end: first address behind the range
 *
 * Context: any. Does not sleep.
 *
 * Return: true if any secondary MMU had accessed the range.
 */
bool __mmu_notifier_clear_young(struct mm_struct *mm,
				unsigned long start, unsigned long end)
{
	return mn_young(mm, start, end, MN_CLEAR_YOUNG);
}

/**
 * __mmu_notifier_test_young - ask subscribers until one says yes
 * @mm: the address space
 * @address: address of the page
 *
 * Context: any. Does not sleep.
 *
 * Return: true if any has accessed the page.
 */
bool __mmu_notifier_test_young(struct mm_struct *mm, unsigned long address)
{
	return mn_young(mm, address, address + PAGE_SIZE, MN_TEST_YOUNG);
}

/**
 * __mmu_notifier_batches_young - do all subscribers answer for many pages?
 * @mm: the address space, somebody has been subscribed
 *
 * Context: any.
 *
 * Return: true if nobody has to be asked page by page.
 */
bool __mmu_notifier_batches_young(struct mm_struct *mm)
{
	return !(READ_ONCE(READ_ONCE(mm->notifier_subscriptions)->heard) &
		 MN_YOUNG_BY_PAGE);
}

/**
 * __mmu_notifier_test_young_pages - ask every subscriber about some pages
 * @mm: the address space
 * @start: address of the first page
 * @nr_pages: number of pages, of one page table
 * @young: bitmap; the bits of pages that were accessed are set
 *
 * Context: any. Does not sleep.
 */
void __mmu_notifier_test_young_pages(struct mm_struct *mm, unsigned long start,
				     unsigned int nr_pages,
				     unsigned long *young)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(mm->notifier_subscriptions);
	struct mmu_notifier *sub;

	rcu_read_lock();
	hlist_for_each_entry_rcu(sub, &subs->list, hlist)
		mn_test_young_pages(sub, mm, start, nr_pages, young);
	rcu_read_unlock();
	trace_mmu_notifier_young(mm, start, start + nr_pages * PAGE_SIZE,
				 MN_TEST_YOUNG_PAGES,
				 !bitmap_empty(young, nr_pages));
}

/**
 * __mmu_notifier_clear_young_pages - tell every subscriber what to clear
 * @mm: the address space
 * @start: address of the first page
 * @nr_pages: number of pages, of one page table
 * @pages: bitmap of the pages
 *
 * Context: any. Does not sleep.
 */
void __mmu_notifier_clear_young_pages(struct mm_struct *mm, unsigned long start,
				      unsigned int nr_pages,
				      const unsigned long *pages)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(mm->notifier_subscriptions);
	struct mmu_notifier *sub;

	rcu_read_lock();
	hlist_for_each_entry_rcu(sub, &subs->list, hlist)
		mn_clear_young_pages(sub, mm, start, nr_pages, pages);
	rcu_read_unlock();
	trace_mmu_notifier_young(mm, start, start + nr_pages * PAGE_SIZE,
				 MN_CLEAR_YOUNG_PAGES, true);
}

/**
 * __mmu_notifier_clear_young_list - tell every subscriber what to clear
 * @mm: the address space
 * @addresses: of the pages, in any order
 * @nr_pages: number of pages, not 0
 *
 * Context: any. Does not sleep.
 */
void __mmu_notifier_clear_young_list(struct mm_struct *mm,
				     const unsigned long *addresses,
				     unsigned int nr_pages)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(mm->notifier_subscriptions);
	struct mmu_notifier *sub;

	rcu_read_lock();
	hlist_for_each_entry_rcu(sub, &subs->list, hlist)
		mn_clear_young_list(sub, mm, addresses, nr_pages);
	rcu_read_unlock();
	/* One event: the first of the pages. */
	trace_mmu_notifier_young(mm, addresses[0], addresses[0] + PAGE_SIZE,
				 MN_CLEAR_YOUNG_LIST, true);
}

/* Clear what was taken for accessed, all at once. */
static void secondary_window_clear_taken(struct secondary_window *window)
{
	if (window->taken)
		mmu_notifier_clear_young_pages(window->mm, window->start,
					       BITS_PER_LONG, &window->taken);
	window->taken = 0;
}

static void secondary_window_clear_listed(struct secondary_window *window)
{
	struct secondary_list *list = window->list;

	if (list->nr)
		mmu_notifier_clear_young_list(window->held, list->addresses,
					      list->nr);
	list->nr = 0;
}

/*
 * The process may exit before the batch ends. One is held, the first: it cannot
 * be dropped for another under a page table lock, and folios that reclaim takes
 * together are of one group, so most often of one process that has a guest.
 */
static bool secondary_window_hold(struct secondary_window *window,
				  struct mm_struct *mm)
{
	if (!window->held) {
		mmgrab(mm);
		window->held = mm;
	}
	return window->held == mm;
}

/* Nobody wants to know: it is enough to clear later. */
static bool secondary_window_clear_unasked(struct secondary_window *window,
					   struct mm_struct *mm,
					   unsigned long addr)
{
	struct secondary_list *list = window->list;

	if (!secondary_window_hold(window, mm))
		return false;
	if (list->nr == ARRAY_SIZE(list->addresses))
		secondary_window_clear_listed(window);
	list->addresses[list->nr++] = addr;
	return true;
}

/**
 * __secondary_window_clear_young - has a secondary MMU accessed this page?
 * @window: what they said of its neighbours while this batch of folios was
 *	looked at
 * @mm: the address space; all subscribers answer for many pages
 * @addr: address of the page
 *
 * The first page of a window may be the only one, and is asked for alone unless
 * the window before had several. Else they are asked for the whole window, and
 * nothing is cleared: a page that is not looked at in this batch stays as young
 * as it is. Those that are, and are young, are cleared together when another
 * window is looked at or the batch ends. An access before that counts as the one
 * that was found; later ones are found by the next batch.
 *
 * In a batch of secondary_list_begin() nobody is asked: the page is not young, and
 * cleared with the others that the batch comes by.
 *
 * Context: page table lock held, secondary_window_end() follows.
 *
 * Return: true if it has; its accessed state is clear now, or is going to be.
 */
bool __secondary_window_clear_young(struct secondary_window *window,
				    struct mm_struct *mm, unsigned long addr)
{
	unsigned long start = round_down(addr, BITS_PER_LONG * PAGE_SIZE);
	unsigned long page = BIT((addr - start) >> PAGE_SHIFT);
	bool alone = false;

	if (window->list && secondary_window_clear_unasked(window, mm, addr))
		return false;

	if (window->mm == mm && window->start == start) {
		window->several = true;
	} else {
		secondary_window_clear_taken(window);
		alone = !window->several;
		window->mm = mm;
		window->start = start;
		window->young = 0;
		window->asked = false;
		window->several = false;
	}
	if (alone)
		return mmu_notifier_clear_young(mm, addr, addr + PAGE_SIZE);

	if (!window->asked) {
		mmu_notifier_test_young_pages(mm, start, BITS_PER_LONG,
					      &window->young);
		window->asked = true;
	}
	if (!(window->young & page))
		return false;

	/* Whoever looks at it once more in this batch does not find it young. */
	window->young &= ~page;
	if (!secondary_window_hold(window, mm))
		return mmu_notifier_clear_young(mm, addr, addr + PAGE_SIZE);
	window->taken |= page;
	return true;
}

/**
 * __secondary_window_end - the folios of a batch have been looked at
 * @window: what secondary MMUs said; nothing of it is good for the next batch
 *
 * Context: no page table lock, for a process that has exited is freed here.
 */
void __secondary_window_end(struct secondary_window *window)
{
	secondary_window_clear_taken(window);
	if (window->list)
		secondary_window_clear_listed(window);
	window->list = NULL;
	window->mm = NULL;
	if (window->held)
		mmdrop(window->held);
	window->held = NULL;
}

/**
 * __mmu_notifier_arch_invalidate_secondary_tlbs - the CPU flushes its TLB
 * @mm: the address space
 * @start: first address
 * @end: first address behind the range, or -1UL for all
 *
 * Context: any. Does not sleep.
 */
void __mmu_notifier_arch_invalidate_secondary_tlbs(struct mm_struct *mm,
						   unsigned long start,
						   unsigned long end)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(mm->notifier_subscriptions);
	struct mmu_notifier *sub;

	/* Hardly anybody, and the CPU flushes often. */
	if (!(READ_ONCE(subs->heard) & MN_HEARS_CPU_TLB))
		return;

	rcu_read_lock();
	hlist_for_each_entry_rcu(sub, &subs->list, hlist) {
		if (sub->ops->arch_invalidate_secondary_tlbs)
			mn_ops(sub)->arch_invalidate_secondary_tlbs(sub, mm,
								    start, end);
	}
	rcu_read_unlock();
}

/* Release. */

/* No new walk finds @sub; exit has been here before perhaps. */
static void mn_unlink(struct mmu_notifier_subscriptions *subs,
		      struct mmu_notifier *sub)
{
	guard(spinlock)(&subs->lock);

	hlist_del_init_rcu(&sub->hlist);
}

/*
 * Wait for callbacks of what the caller has unlinked, and of other processes for
 * those that must not sleep.
 */
static void mn_wait_callbacks(struct mmu_notifier_subscriptions *subs)
{
	mn_wait_walks(subs);
	/* Those that do not sleep. */
	synchronize_rcu();
}

/*
 * Exit and unregister can both come here. One calls release, the other waits
 * until it has returned; clear_and_wake_up_bit() pairs with wait_on_bit(), which
 * has acquire ordering.
 */
static void mn_release(struct mmu_notifier *sub, struct mm_struct *mm)
{
	if (test_and_set_bit(MN_RELEASE_CLAIMED, &sub->flags)) {
		wait_on_bit(&sub->flags, MN_RELEASE_PENDING,
			    TASK_UNINTERRUPTIBLE);
		return;
	}
	if (sub->ops->release) {
		trace_mmu_notifier_release(sub, mm);
		mn_ops(sub)->release(sub, mm);
	}
	clear_and_wake_up_bit(MN_RELEASE_PENDING, &sub->flags);
}

/**
 * __mmu_notifier_release - release every subscription of an mm that exits
 * @mm: the address space, mm_users is 0
 *
 * The subscriptions are off the list then, but belong to it until their owners
 * unregister or put them. Registration cannot come in between, it needs
 * mm_users.
 *
 * Context: May sleep.
 */
void __mmu_notifier_release(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(mm->notifier_subscriptions);
	struct mmu_notifier *sub;
	atomic_t *count;

	if (subs->intervals)
		mmu_interval_release(subs->intervals, mm);

	count = mn_walk_begin(subs);
	for (sub = mn_first(subs, count); sub; sub = mn_next(sub, count)) {
		mn_release(sub, mm);
		mn_unlink(subs, sub);
	}
	mn_walk_end(count);
}

void __mmu_notifier_subscriptions_destroy(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs = mm->notifier_subscriptions;

	/* Every subscription holds mm_count. */
	WARN_ON_ONCE(!hlist_empty(&subs->list));
	mmu_notifier_debug_destroy(subs);
	mmu_interval_destroy(subs->intervals);
	mm->notifier_subscriptions = NULL;
	kfree(subs);
}

/* Registration. */

static void mn_drain_mapping(struct address_space *mapping)
{
	i_mmap_lock_write(mapping);
	i_mmap_unlock_write(mapping);
}

/*
 * Who takes the lock of a VMA to read it counts himself, by an acquire, in the
 * word that is read and written here. Either he is found there, and waited for, or
 * he takes up the value that is left here, and with it what was published before.
 * Most VMAs have no reader. Lockdep is to know what waits for what.
 */
static void mn_drain_vma(struct vm_area_struct *vma)
{
#ifdef CONFIG_PER_VMA_LOCK
	if (!IS_ENABLED(CONFIG_DEBUG_LOCK_ALLOC) &&
	    atomic_fetch_add(0, &vma->vm_refcnt.refs) == 1)
		return;
#endif
	vma_start_write(vma);
}

/*
 * Wait for the sections that began before what the caller has published. Each
 * lock is dropped before the next is taken, so none of them needs an order.
 * Neighbours often share a file or an anon_vma.
 *
 * Nothing is missed: mmap_lock keeps VMAs from coming and going. A munmap() that
 * runs with mmap_lock downgraded holds it for reading until its VMAs are off the
 * rmap. All anon_vmas on the chain of a VMA have one root, whose lock is the
 * lock of all of them.
 */
void mmu_notifier_drain(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct address_space *mapping, *last_mapping = NULL;
	struct anon_vma *root, *last_root = NULL;
	struct vm_area_struct *vma;

	mmap_assert_write_locked(mm);

	for_each_vma(vmi, vma) {
		mn_drain_vma(vma);

		mapping = vma->vm_file ? vma->vm_file->f_mapping : NULL;
		if (mapping && mapping != last_mapping) {
			mn_drain_mapping(mapping);
			last_mapping = mapping;
		}

		root = vma->anon_vma ? vma->anon_vma->root : NULL;
		if (root && root != last_root) {
			anon_vma_lock_write(root);
			anon_vma_unlock_write(root);
			last_root = root;
		}
		cond_resched();
	}
}

static int mn_check(const struct mmu_notifier *sub, const struct mm_struct *mm)
{
	const struct mmu_notifier_ops *ops = sub ? sub->ops : NULL;
	bool ranges;

	if (!ops)
		return -EINVAL;
	ranges = ops->invalidate_range_start || ops->invalidate_range_end;

	/* It follows the CPU's page tables and would hear everything twice. */
	if (ops->arch_invalidate_secondary_tlbs &&
	    (ranges || ops->invalidate_page))
		return -EINVAL;

	/* What one of them finds young, the other has to clear. */
	if (!ops->test_young_pages != !ops->clear_young_pages)
		return -EINVAL;
	if (ops->clear_young_list && !ops->clear_young_pages)
		return -EINVAL;

	/* What one of them leaves in the hardware, the other has to flush. */
	if (!ops->invalidate_page_batched != !ops->flush_batch ||
	    (ops->flush_batch && !ops->invalidate_page))
		return -EINVAL;

	/* Without ranges it would keep translations of what is unmapped. */
	if (ops->invalidate_page && !ops->invalidate_range_start)
		return -EINVAL;

	return atomic_read(&mm->mm_users) ? 0 : -ESRCH;
}

static void mn_put_work(struct work_struct *work);

/* The list of @mm, allocated if there is none. NULL: no memory. */
struct mmu_notifier_subscriptions *
mmu_notifier_subscriptions_get(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs = mm->notifier_subscriptions;

	mmap_assert_write_locked(mm);

	if (subs)
		return subs;

	subs = kzalloc_obj(*subs, GFP_KERNEL_ACCOUNT);
	if (!subs)
		return NULL;
	INIT_HLIST_HEAD(&subs->list);
	spin_lock_init(&subs->lock);
	subs->count = subs->counts;
	atomic_set(subs->count, 1);
	INIT_WORK(&subs->put_work, mn_put_work);
	subs->mm = mm;
	mmu_notifier_debug_init(subs);

	/*
	 * Pairs with the address dependency of whoever finds the list through
	 * mm_has_notifiers().
	 */
	smp_store_release(&mm->notifier_subscriptions, subs);
	return subs;
}

static int mn_publish(struct mmu_notifier_subscriptions *subs,
		      struct mmu_notifier *new)
{
	struct mmu_notifier *sub;

	guard(spinlock)(&subs->lock);

	hlist_for_each_entry(sub, &subs->list, hlist)
		if (sub == new)
			return -EEXIST;

	new->mm = subs->mm;
	new->flags = BIT(MN_REGISTERED) | BIT(MN_RELEASE_PENDING);
	new->users = 1;
	new->stamp = subs->stamp + 1;
	WRITE_ONCE(subs->heard, subs->heard | mn_heard_flags(new->ops));
	hlist_add_head_rcu(&new->hlist, &subs->list);
	/* Pairs with the acquire in __mmu_notifier_range_start(). */
	smp_store_release(&subs->stamp, new->stamp);
	return 0;
}

/*
 * The hooks are on, every one of them. static_key_enabled() does not tell: it is
 * true while another task still patches the hooks, and a section that comes by
 * one of the rest would be missed.
 */
static bool mn_enabled;

/*
 * Turns the hooks on. That takes the CPU hotplug lock, under which others (a
 * cpuset that moves) take mmap_lock: not to be called with that held.
 */
void mmu_notifier_enable(void)
{
	/* Pairs with the releases below. */
	if (smp_load_acquire(&mn_enabled))
		return;
	static_branch_enable(&mmu_notifier_used);
	/* Pairs with the acquires above and below. */
	smp_store_release(&mn_enabled, true);
}

/*
 * The same with mmap_lock held, for the first subscriber of all. Fails while a
 * CPU comes or goes: whoever changes that may wait for mmap_lock.
 */
int mmu_notifier_enable_locked(void)
{
	/* Pairs with the releases below and above. */
	if (smp_load_acquire(&mn_enabled))
		return 0;
	if (!cpus_read_trylock())
		return -EAGAIN;
	static_branch_enable_cpuslocked(&mmu_notifier_used);
	/* Pairs with the acquires above. */
	smp_store_release(&mn_enabled, true);
	cpus_read_unlock();
	return 0;
}

/**
 * __mmu_notifier_register - subscribe with mmap_lock held
 * @subscription: the subscription, zeroed but for its ops
 * @mm: the address space
 *
 * mmu_notifier_register() for callers that hold mmap_lock of @mm for writing.
 *
 * Context: mmap_lock held for writing, and no lock of the VM beside it. May
 * sleep.
 *
 * Return: as mmu_notifier_register(); -EAGAIN if nobody has subscribed since the
 * machine started and a CPU is coming or going.
 */
int __mmu_notifier_register(struct mmu_notifier *subscription,
			    struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs;
	int ret;

	might_sleep();

	ret = mn_check(subscription, mm);
	if (ret)
		return ret;

	ret = mmu_notifier_enable_locked();
	if (ret)
		return ret;
	subs = mmu_notifier_subscriptions_get(mm);
	if (!subs)
		return -ENOMEM;
	ret = mn_publish(subs, subscription);
	if (ret)
		return ret;

	/* Dropped when the subscription is off the list for good. */
	mmgrab(mm);
	mmu_notifier_drain(mm);
	trace_mmu_notifier_register(subscription, mm);
	return 0;
}
EXPORT_SYMBOL_GPL(__mmu_notifier_register);

/**
 * mmu_notifier_register - subscribe to the page table changes of an mm
 * @subscription: the subscription, zeroed but for its ops
 * @mm: the address space; the caller makes sure that mm_users stays above 0, it
 *	is current->mm or was pinned with mmget()
 *
 * Legal at any moment. When it returns 0, no change that is not reported to
 * @subscription can still be under way, and callbacks may have run already. The
 * subscription ends with mmu_notifier_unregister() or mmu_notifier_put(), also
 * if the address space went away before.
 *
 * Context: Neither mmap_lock nor any other lock of the VM may be held. May
 * sleep; is not interrupted by signals.
 *
 * Return: 0; -EINVAL if there is no ops table or the table combines callbacks
 * that exclude each other; -EEXIST if @subscription is registered on @mm
 * already; -ESRCH if @mm is exiting; -ENOMEM. After an error nothing is left of
 * the attempt.
 */
int mmu_notifier_register(struct mmu_notifier *subscription,
			  struct mm_struct *mm)
{
	int ret;

	ret = mn_check(subscription, mm);
	if (ret)
		return ret;

	mmu_notifier_enable();
	mmap_write_lock(mm);
	ret = __mmu_notifier_register(subscription, mm);
	mmap_write_unlock(mm);
	return ret;
}
EXPORT_SYMBOL_GPL(mmu_notifier_register);

/**
 * mmu_notifier_unregister - end a subscription
 * @subscription: the subscription
 * @mm: the address space it was registered on
 *
 * Calls release unless exit has done so, and waits for it if exit is about to.
 * No callback of @subscription runs or can run on return; the caller may free
 * it. Waits for callbacks of @mm that may sleep, and for none of any other.
 *
 * A wrong @mm or a subscription that is not registered gets a warning and is
 * left alone.
 *
 * Context: No lock may be held that a callback of any subscription to @mm
 * takes, and none of them, release included, may wait for the caller. Not to be
 * called from a callback. May sleep.
 */
void mmu_notifier_unregister(struct mmu_notifier *subscription,
			     struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs = mm->notifier_subscriptions;

	might_sleep();
	/* To lockdep, who waits for callbacks is as good as who calls them. */
	mmu_notifier_might_start();
	if (WARN_ON_ONCE(subscription->mm != mm || !subs ||
			 !test_and_clear_bit(MN_REGISTERED,
					     &subscription->flags)))
		return;

	mn_release(subscription, mm);
	mn_unlink(subs, subscription);
	mn_wait_callbacks(subs);
	trace_mmu_notifier_unregister(subscription, mm);
	mmdrop(mm);
}
EXPORT_SYMBOL_GPL(mmu_notifier_unregister);

/* Get and put. */

/* An extra reference to the subscription of @ops, NULL if there is none. */
static struct mmu_notifier *mn_find_get(struct mm_struct *mm,
					const struct mmu_notifier_ops *ops)
{
	struct mmu_notifier_subscriptions *subs = mm->notifier_subscriptions;
	struct mmu_notifier *sub;

	if (!subs)
		return NULL;

	guard(spinlock)(&subs->lock);

	hlist_for_each_entry(sub, &subs->list, hlist) {
		if (sub->ops != ops)
			continue;
		if (sub->users == UINT_MAX)
			return ERR_PTR(-EOVERFLOW);
		sub->users++;
		return sub;
	}
	return NULL;
}

/**
 * mmu_notifier_get_locked - mmu_notifier_get() with mmap_lock held
 * @ops: the callbacks
 * @mm: the address space
 *
 * Context: mmap_lock of @mm held for writing. May sleep.
 *
 * Return: as mmu_notifier_get(); ERR_PTR(-EAGAIN) as __mmu_notifier_register().
 */
struct mmu_notifier *mmu_notifier_get_locked(const struct mmu_notifier_ops *ops,
					     struct mm_struct *mm)
{
	struct mmu_notifier *sub;
	int ret;

	mmap_assert_write_locked(mm);

	if (!ops || !ops->alloc_notifier || !ops->free_notifier)
		return ERR_PTR(-EINVAL);

	sub = mn_find_get(mm, ops);
	if (sub)
		return sub;

	sub = ops->alloc_notifier(mm);
	if (IS_ERR(sub))
		return sub;
	if (!sub)
		return ERR_PTR(-ENOMEM);
	sub->ops = ops;
	ret = __mmu_notifier_register(sub, mm);
	if (ret) {
		ops->free_notifier(sub);
		return ERR_PTR(ret);
	}
	return sub;
}
EXPORT_SYMBOL_GPL(mmu_notifier_get_locked);

/**
 * mmu_notifier_get - the one subscription of an ops table to an mm
 * @ops: the callbacks, among them alloc_notifier and free_notifier
 * @mm: the address space, mm_users above 0
 *
 * Finds the subscription with @ops on @mm and takes a reference, or allocates
 * and registers one. Every reference is given back with mmu_notifier_put().
 * While it is held, mmu_notifier::mm points to an mm_struct, which
 * mmget_not_zero() can turn into a usable address space.
 *
 * Context: mmap_lock not held. May sleep.
 *
 * Return: the subscription, or an ERR_PTR(): what alloc_notifier or
 * mmu_notifier_register() returned, -EOVERFLOW if there are too many
 * references, -EINVAL if a callback is missing.
 */
struct mmu_notifier *mmu_notifier_get(const struct mmu_notifier_ops *ops,
				      struct mm_struct *mm)
{
	struct mmu_notifier *sub;

	mmu_notifier_enable();
	mmap_write_lock(mm);
	sub = mmu_notifier_get_locked(ops, mm);
	mmap_write_unlock(mm);
	return sub;
}
EXPORT_SYMBOL_GPL(mmu_notifier_get);

static void mn_put_work(struct work_struct *work)
{
	struct mmu_notifier_subscriptions *subs =
		container_of(work, struct mmu_notifier_subscriptions, put_work);
	struct llist_node *put = llist_del_all(&subs->put);
	struct mm_struct *mm = subs->mm;
	struct mmu_notifier *sub, *next;

	if (put)
		mn_wait_callbacks(subs);
	llist_for_each_entry_safe(sub, next, put, put) {
		trace_mmu_notifier_unregister(sub, mm);
		sub->ops->free_notifier(sub);
		mmdrop(mm);
	}
	/* The reference of the queued work; @subs may be gone after it. */
	mmdrop(mm);
}

/**
 * mmu_notifier_put - give a reference to a subscription back
 * @subscription: from mmu_notifier_get() or mmu_notifier_register()
 *
 * With the last reference the subscription ends: free_notifier is called
 * later, from a workqueue, when no callback runs any more. release is not
 * called if exit has not got there first: the subscriber must have dropped its
 * translations and must not establish new ones.
 *
 * A module calls mmu_notifier_synchronize() before it is unloaded.
 *
 * Context: Any in which a spinlock may be taken with bottom halves enabled; may
 * be called from release.
 */
void mmu_notifier_put(struct mmu_notifier *subscription)
{
	struct mm_struct *mm = subscription->mm;
	struct mmu_notifier_subscriptions *subs = mm->notifier_subscriptions;
	bool last;

	spin_lock(&subs->lock);
	last = !WARN_ON_ONCE(!test_bit(MN_REGISTERED, &subscription->flags)) &&
	       !--subscription->users;
	if (last) {
		clear_bit(MN_REGISTERED, &subscription->flags);
		hlist_del_init_rcu(&subscription->hlist);
	}
	spin_unlock(&subs->lock);
	if (!last)
		return;

	/* Nobody shall call release any more, nor wait for it. */
	if (!test_and_set_bit(MN_RELEASE_CLAIMED, &subscription->flags))
		clear_and_wake_up_bit(MN_RELEASE_PENDING, &subscription->flags);

	/*
	 * For the work. One that runs already can free the subscription and its
	 * hold on @mm as soon as that is on the list.
	 */
	mmgrab(mm);
	llist_add(&subscription->put, &subs->put);
	if (!queue_work(mn_put_wq, &subs->put_work))
		mmdrop(mm);
}
EXPORT_SYMBOL_GPL(mmu_notifier_put);

/**
 * mmu_notifier_synchronize - wait for the effect of mmu_notifier_put()
 *
 * On return every free_notifier has run whose mmu_notifier_put() came before
 * the call.
 *
 * Context: May sleep. No lock may be held that a callback or free_notifier
 * takes. Not to be called from a callback.
 */
void mmu_notifier_synchronize(void)
{
	flush_workqueue(mn_put_wq);
}
EXPORT_SYMBOL_GPL(mmu_notifier_synchronize);

static int __init mmu_notifier_init(void)
{
	mn_put_wq = alloc_workqueue("mmu_notifier", WQ_UNBOUND | WQ_MEM_RECLAIM,
				    0);
	return mn_put_wq ? 0 : -ENOMEM;
}
subsys_initcall(mmu_notifier_init);
