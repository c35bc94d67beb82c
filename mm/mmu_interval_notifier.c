// SPDX-License-Identifier: GPL-2.0-only
/*
 * MMU notifiers: interval subscriptions and their collision-retry count.
 *
 * Lanes
 * -----
 * An mm with intervals keeps its open sections on lanes. A section enters the
 * lane of the CPU that it starts on, and leaves that lane at its end. The tree
 * of intervals is read under the lock of any one lane and changed under the
 * locks of all of them: sections on different lanes share nothing unless they
 * call the same interval.
 *
 * That makes changes of the tree dearer, so there is one lane until sections
 * have waited for each other on it, and then as many more as there are CPUs, up
 * to a limit, for good: mi_widen(). New sections use these from then on. Those on
 * the first lane stay there, and its lock is held by whoever adds the lanes or
 * changes the tree. A section that saw no other lane is on the first, of which
 * everybody knows. One that saw them came behind that change: who had changed the
 * tree before is seen by it, and who changes the tree later locks its lane. A
 * reader that does not look at its lane has not seen the change either, so it
 * looks before the section enters.
 *
 * A section that hits an interval is on the list of its lane, under the lock. One
 * that hits none is counted only: it takes the lock once, which hardly anybody
 * else wants, and none at its end.
 *
 * Callbacks
 * ---------
 * Callbacks run without a lock and with the interval pinned
 * (mmu_interval_notifier::active). A pinned interval stays in the tree, so the
 * walk goes on from it however long its callback slept. Pins are taken under
 * the lock of a lane. Removal takes an interval that is not pinned out of the
 * tree. Otherwise it sets @dead under the locks of all, after which the pins only
 * become fewer, and waits for the last. It waits for callbacks of that interval
 * and for nothing else.
 *
 * Insertion takes effect at once. A section that looked the tree up before does
 * not call the new interval, which has nothing to be told of yet. It may have hit
 * none, and then nobody knows its range: the first mmu_interval_read_begin() of
 * an interval waits for all that were counted before, see mi_settle(). Sections
 * that start later are not waited for, however many they are.
 *
 * The collision-retry count
 * -------------------------
 *	reader					section S
 *
 *	1. seq = invalidate_seq			a. enter a lane, look up the tree
 *	2. wait for sections on the lanes	b. callback, under the driver's
 *	   that overlap the interval		   lock: invalidate_seq = number
 *	3. read the page tables			   of S
 *	4. under the driver's lock:		c. change the page tables
 *	   if invalidate_seq == seq,		d. leave the lane
 *	   establish what 3 found
 *
 * Say that 3 did not see the change c. If S looked the tree up before the
 * interval was in it, S was on a list or counted by then, under the lock of its
 * lane, which insertion takes: 2 would have waited for d, and seen all that came
 * before. So S found the interval and went on the list of its lane. It had not
 * left that list when 2 looked there, and was not on it either, for the same
 * reason. So S entered behind the look, b comes behind 1, and seq is not the
 * number of S, which no other section has. If b gets the driver's lock before 4
 * does, 4 sees another number and retries; if b gets it later, it finds what 4
 * has established and drops it.
 *
 * Sections that started before an mm had its first interval are on no lane.
 * Inserting the first one publishes the lanes and then waits for these sections,
 * as registration does (see mm/mmu_notifier.c).
 */

#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/compiler.h>
#include <linux/cpumask.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/interval_tree.h>
#include <linux/jump_label.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/overflow.h>
#include <linux/rbtree.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/wait.h>
#include <linux/wait_bit.h>

#include <kunit/visibility.h>

#include "mmu_notifier_internal.h"

#include <trace/events/mmu_notifier.h>

/*
 * Behind the first lane. Changing the tree takes as many locks, in their order, the
 * number of each its subclass. A power of two.
 */
#define MI_MAX_MORE	8
static_assert(MI_MAX_MORE <= MAX_LOCKDEP_SUBCLASSES);

/* mmu_notifier_range::phase of a section that is not counted, but on the list. */
#define MI_LISTED	2

/* As soon as others waited for so many sections of so many, there are more lanes. */
#define MI_CONTENDED	32
#define MI_CONTENDED_OF	1024

/* Numbers of one lane are odd, and differ from those of every other lane. */
#define MI_SEQ_FIRST(lane)	(2 * (lane) + 1)
#define MI_SEQ_STEP		(4 * MI_MAX_MORE)

/**
 * struct mmu_interval_lane - open sections that started on the same CPUs
 * @lock: protects what follows, but for @mask; keeps the tree of intervals as it is
 * @phase: which of two counts is for new sections that hit no interval; changed
 *	with mmu_interval_subscriptions::settling set, too
 * @mask: of the lane that mmu_interval_subscriptions::lanes points at: which bits
 *	of a CPU's number tell its lane, counted from there
 * @started: such sections; also read without the lock
 * @ended: those of @started that have ended; changed without the lock
 * @seq: number of the youngest section that hit one, also read without the lock
 * @open: the open ones of these, also tested for being empty without the lock
 * @readers: those in mmu_interval_read_begin() that wait for one of all these
 */
struct mmu_interval_lane {
	spinlock_t lock;	/* phase to open; any lane's: reads of the tree */
	u16 phase;
	u16 mask;
	unsigned int started[2];
	atomic_t ended[2];
	unsigned long seq;
	struct hlist_head open;
	wait_queue_head_t readers;
};

/* Each in cache lines of its own: its CPUs write it. */
#define MI_LANE_SIZE	SMP_CACHE_ALIGN(sizeof(struct mmu_interval_lane))

/**
 * struct mmu_interval_subscriptions - the intervals of one mm
 * @tree: the intervals; changed with all lanes locked, read with one locked
 * @lanes: those for new sections: the first alone, or all others, MI_LANE_SIZE
 *	bytes each; changes once, under the lock of the first lane
 * @settling: somebody waits for counted sections, one at a time
 * @contended: sections that others have waited for, of those since @contended_from
 * @drained: every section that started without a lane has ended; set once,
 *	under mmap_lock
 * @contended_from: how many sections there were when @contended was 0; both under
 *	the lock of the first lane
 * @first: the first lane
 */
struct mmu_interval_subscriptions {
	struct rb_root_cached tree;
	struct mmu_interval_lane *lanes;
	u8 settling;
	u8 contended;
	bool drained;
	u32 contended_from;
	struct mmu_interval_lane first;
};

/* There is more than one CPU, and so there may be more than one lane. */
static DEFINE_STATIC_KEY_TRUE(mi_many_lanes);

/* Lanes. */

static __always_inline struct mmu_interval_lane *
mi_lane_at(struct mmu_interval_lane *lanes, unsigned int i)
{
	return (void *)lanes + i * MI_LANE_SIZE;
}

/* That of the CPU. */
static __always_inline struct mmu_interval_lane *
mi_this_lane(struct mmu_interval_subscriptions *itv)
{
	struct mmu_interval_lane *lanes;

	if (!static_branch_likely(&mi_many_lanes))
		return &itv->first;
	/* Pairs with the release in mi_widen(). */
	lanes = smp_load_acquire(&itv->lanes);
	return mi_lane_at(lanes, raw_smp_processor_id() & lanes->mask);
}

/* The first, and all behind it. */
static unsigned int mi_nr_lanes(const struct mmu_interval_subscriptions *itv)
{
	/* Pairs with the release in mi_widen(). */
	struct mmu_interval_lane *lanes = smp_load_acquire(&itv->lanes);

	return lanes == &itv->first ? 1 : lanes->mask + 2;
}

static struct mmu_interval_lane *mi_lane(struct mmu_interval_subscriptions *itv,
					 unsigned int i)
{
	return i ? mi_lane_at(itv->lanes, i - 1) : &itv->first;
}

static unsigned int mi_max_more(void)
{
	return min(roundup_pow_of_two(num_possible_cpus()), MI_MAX_MORE);
}

static void mi_init_lane(struct mmu_interval_lane *lane, unsigned int i)
{
	lane->seq = MI_SEQ_FIRST(i);
	INIT_HLIST_HEAD(&lane->open);
	init_waitqueue_head(&lane->readers);
}

/* As many lanes as there may be. Without the memory it stays with one. */
static void mi_widen(struct mmu_interval_subscriptions *itv)
{
	unsigned int i, nr = mi_max_more();
	struct mmu_interval_lane *lanes, *lane;

	lockdep_assert_held(&itv->first.lock);

	if (nr == 1 || itv->lanes != &itv->first)
		return;
	/* For an mm that need not be ours, and maybe in reclaim. */
	lanes = kcalloc(nr, MI_LANE_SIZE,
			GFP_NOWAIT | __GFP_NOMEMALLOC | __GFP_NOWARN);
	if (!lanes)
		return;
	for (i = 0; i < nr; i++) {
		lane = mi_lane_at(lanes, i);
		/* Not the class of the first lane, which is held around it. */
		spin_lock_init(&lane->lock);
		mi_init_lane(lane, i + 1);
	}
	lanes->mask = nr - 1;
	/*
	 * The lanes, and the tree as it was changed under the lock of the first
	 * one alone. Pairs with the acquires of those who look for lanes.
	 */
	smp_store_release(&itv->lanes, lanes);
}

/* Sections that were on the first lane so far. */
static u32 mi_count_first(const struct mmu_interval_subscriptions *itv)
{
	const struct mmu_interval_lane *lane = &itv->first;

	return lane->started[0] + lane->started[1] + lane->seq / MI_SEQ_STEP;
}

/* Others wait for the lock of the lane of @range, which the caller holds. */
static noinline void mi_contended(const struct mmu_notifier_range *range)
{
	struct mmu_interval_subscriptions *itv =
		range->mm->notifier_subscriptions->intervals;
	u32 nr;

	/* If there is one lane, it is the first, and there may be more. */
	if (itv->lanes != &itv->first)
		return;
	nr = mi_count_first(itv);
	if (nr - itv->contended_from > MI_CONTENDED_OF) {
		itv->contended_from = nr;
		itv->contended = 0;
	}
	if (++itv->contended == MI_CONTENDED)
		mi_widen(itv);
}

/* At the start of a section. */
static __always_inline void mi_unlock_lane(const struct mmu_notifier_range *range,
					   struct mmu_interval_lane *lane)
	__releases(&lane->lock)
{
	if (static_branch_likely(&mi_many_lanes) &&
	    unlikely(spin_is_contended(&lane->lock)))
		mi_contended(range);
	spin_unlock(&lane->lock);
}

/* The tree. */

static struct mmu_interval_notifier *mi_entry(struct interval_tree_node *node)
{
	return container_of(node, struct mmu_interval_notifier, interval_tree);
}

/* Behind the first one, if there are. */
static void mi_lock_rest(struct mmu_interval_subscriptions *itv)
{
	unsigned int i, nr = mi_nr_lanes(itv);

	for (i = 1; i < nr; i++)
		spin_lock_nested(&mi_lane(itv, i)->lock, i - 1);
}

static void mi_unlock_rest(struct mmu_interval_subscriptions *itv)
{
	unsigned int i = mi_nr_lanes(itv);

	while (--i)
		spin_unlock(&mi_lane(itv, i)->lock);
}

/*
 * The first lane's lock keeps others who change the tree out of the rest, and
 * the lanes as they are.
 */
static void mi_lock_tree(struct mmu_interval_subscriptions *itv)
{
	spin_lock(&itv->first.lock);
	mi_lock_rest(itv);
}

static void mi_unlock_tree(struct mmu_interval_subscriptions *itv)
{
	mi_unlock_rest(itv);
	spin_unlock(&itv->first.lock);
}

/* Is the first lane's lock, which is held, that of the tree? */
static __always_inline bool mi_is_one_lane(struct mmu_interval_subscriptions *itv)
{
	lockdep_assert_held(&itv->first.lock);

	return !static_branch_likely(&mi_many_lanes) ||
	       likely(itv->lanes == &itv->first);
}

/* Pins. */

/* @sub may be gone: it is an address only. */
static noinline void mi_wake_removal(struct mmu_interval_notifier *sub)
{
	wake_up_var(&sub->active);
}

/*
 * The decrement is a full barrier. It pairs with the acquire in mi_wait_pins():
 * what the callback did happens before what follows the end of the wait; and with
 * the barrier of wait_var_event(), queue first, then look.
 */
static __always_inline void mi_unpin(struct mmu_interval_notifier *sub)
{
	if (unlikely(atomic_dec_and_test(&sub->active)))
		mi_wake_removal(sub);
}

/* Waits for the last pin of @sub, which is dead: there are no more to come. */
static void mi_wait_pins(struct mmu_interval_notifier *sub)
{
	wait_var_event(&sub->active, !atomic_read(&sub->active));
	/* Pairs with the decrement in mi_unpin(). */
	smp_acquire__after_ctrl_dep();
}

/*
 * Pins the first interval that @range hits, from @node on. @more tells whether
 * another one is behind it; one that is inserted later need not be called.
 */
static __always_inline struct mmu_interval_notifier *
mi_pin_from(struct interval_tree_node *node,
	    const struct mmu_notifier_range *range, bool *more)
{
	struct mmu_interval_notifier *sub;

	lockdep_assert_held(&range->lane->lock);

	while (node) {
		sub = mi_entry(node);
		node = interval_tree_iter_next(node, range->start,
					       range->end - 1);
		if (sub->dead)
			continue;
		atomic_inc(&sub->active);
		*more = node;
		return sub;
	}
	return NULL;
}

/* The next one behind @prev, which is pinned and so in the tree. */
static struct mmu_interval_notifier *
mi_pin_next(struct mmu_interval_notifier *prev,
	    const struct mmu_notifier_range *range, bool *more)
{
	struct interval_tree_node *node;

	if (!*more)
		return NULL;

	guard(spinlock)(&range->lane->lock);

	node = interval_tree_iter_next(&prev->interval_tree, range->start,
				       range->end - 1);
	return mi_pin_from(node, range, more);
}

/* Sections. */

/* Who may sleep has no reason to refuse, and is taken to have agreed. */
static __always_inline bool mi_agrees(bool agreed, bool blockable)
{
	return likely(agreed) || WARN_ON_ONCE(blockable);
}

static __always_inline bool mi_call(struct mmu_interval_notifier *sub,
				    const struct mmu_notifier_range *range)
{
	bool agreed, blockable;

	trace_mmu_interval_invalidate(sub, range);
	blockable = mmu_notifier_range_blockable(range);
	if (!blockable)
		non_block_start();
	agreed = mi_ops(sub)->invalidate(sub, range, range->seq);
	if (!blockable)
		non_block_end();
	return mi_agrees(agreed, blockable);
}

/* The first of two passes. @finish is what the second is to be called with. */
static bool mi_call_start(struct mmu_interval_notifier *sub,
			  const struct mmu_notifier_range *range,
			  struct mmu_interval_notifier_finish **finish)
{
	bool blockable = mmu_notifier_range_blockable(range);
	struct mmu_interval_notifier_finish *asked = NULL;
	bool agreed;

	trace_mmu_interval_invalidate(sub, range);
	if (!blockable)
		non_block_start();
	agreed = mi_ops(sub)->invalidate_start(sub, range, range->seq, &asked);
	if (!blockable)
		non_block_end();
	*finish = agreed ? asked : NULL;
	return mi_agrees(agreed, blockable);
}

/* The second pass, in the order of the first; drops the pins kept for it. */
static void mi_finish(struct llist_node *first,
		      const struct mmu_notifier_range *range)
{
	struct mmu_interval_notifier_finish *finish, *next;
	struct mmu_interval_notifier *sub;
	bool blockable = mmu_notifier_range_blockable(range);

	if (!blockable)
		non_block_start();
	llist_for_each_entry_safe(finish, next, first, link) {
		/* @finish is the driver's again once it is called. */
		sub = finish->notifier;
		mi_ops(sub)->invalidate_finish(finish);
		mi_unpin(sub);
	}
	if (!blockable)
		non_block_end();
}

/* A section that was refused is over. */
static noinline int mi_refuse(struct mmu_notifier_range *range)
{
	mmu_interval_section_end(range);
	return -EAGAIN;
}

/* Both passes, from @sub on. Who agreed before another refused is finished. */
static noinline int mi_invalidate(struct mmu_interval_notifier *sub,
				  struct mmu_notifier_range *range,
				  bool more)
{
	struct mmu_interval_notifier_finish *finish;
	struct llist_node *first = NULL, **last = &first;
	struct mmu_interval_notifier *prev;
	bool agreed = true;

	while (sub && agreed) {
		finish = NULL;
		agreed = sub->ops->invalidate_start ?
			 mi_call_start(sub, range, &finish) :
			 mi_call(sub, range);
		prev = sub;
		sub = agreed ? mi_pin_next(prev, range, &more) : NULL;
		if (!agreed || !finish) {
			mi_unpin(prev);
			continue;
		}
		finish->notifier = prev;
		finish->link.next = NULL;
		*last = &finish->link;
		last = &finish->link.next;
	}
	if (first)
		mi_finish(first, range);
	return agreed ? 0 : mi_refuse(range);
}

/*
 * Calls the intervals that @range hits: that of @node, unless it is dead, and those
 * from @next on. Unlocks the lane.
 */
static noinline int mi_hit_several(struct interval_tree_node *node,
				   struct interval_tree_node *next,
				   struct mmu_notifier_range *range)
	__releases(&range->lane->lock)
{
	struct mmu_interval_notifier *sub = mi_entry(node);
	bool more = next;

	if (sub->dead)
		sub = mi_pin_from(next, range, &more);
	else
		atomic_inc(&sub->active);
	mi_unlock_lane(range, range->lane);
	return sub ? mi_invalidate(sub, range, more) : 0;
}

/* The same from @node on, most often that of one interval, which has one pass. */
static __always_inline int mi_hit(struct interval_tree_node *node,
				  struct mmu_notifier_range *range,
				  struct mmu_interval_lane *lane)
	__releases(&lane->lock)
{
	struct mmu_interval_notifier *sub = mi_entry(node);
	struct interval_tree_node *next;

	range->phase = MI_LISTED;
	range->seq = lane->seq + MI_SEQ_STEP;
	WRITE_ONCE(lane->seq, range->seq);
	hlist_add_head(&range->lane_node, &lane->open);

	next = interval_tree_iter_next(node, range->start, range->end - 1);
	if (unlikely(next || sub->dead || sub->ops->invalidate_start))
		return mi_hit_several(node, next, range);

	atomic_inc(&sub->active);
	mi_unlock_lane(range, lane);
	if (likely(mi_call(sub, range))) {
		mi_unpin(sub);
		return 0;
	}
	mi_unpin(sub);
	return mi_refuse(range);
}

/**
 * mmu_interval_section_start - call the intervals that a new section hits
 * @itv: the intervals of the mm
 * @range: the section; it is put on a lane here
 *
 * Context: May sleep if @range is blockable.
 *
 * Return: 0, or -EAGAIN if an interval refused. Then the section is off its
 * lane again.
 */
int mmu_interval_section_start(struct mmu_interval_subscriptions *itv,
			       struct mmu_notifier_range *range)
{
	struct mmu_interval_lane *lane = mi_this_lane(itv);
	struct interval_tree_node *node;
	unsigned int phase;

	/* Or each of its members is found from @itv again. */
	OPTIMIZER_HIDE_VAR(lane);
	spin_lock(&lane->lock);

	range->lane = lane;
	node = interval_tree_iter_first(&itv->tree, range->start,
					range->end - 1);
	if (unlikely(node))
		return mi_hit(node, range, lane);

	phase = lane->phase;
	range->phase = phase;
	WRITE_ONCE(lane->started[phase], lane->started[phase] + 1);
	mi_unlock_lane(range, lane);
	return 0;
}

/* A section that hit no interval has ended. */
static __always_inline void mi_leave(struct mmu_interval_lane *lane, unsigned int phase)
{
	/*
	 * The changes of the page tables come before the section is counted as
	 * ended. Pairs with the acquire in mi_is_idle().
	 */
	smp_mb__before_atomic();
	atomic_inc(&lane->ended[phase]);
	/* Pairs with that of wait_event(). */
	smp_mb__after_atomic();
	/* Who is not seen here queued first and looks at the count now. */
	if (waitqueue_active(&lane->readers))
		wake_up_all(&lane->readers);
}

/* A section that hit one has ended. */
static noinline void mi_leave_list(struct mmu_notifier_range *range)
{
	struct mmu_interval_lane *lane = range->lane;
	bool wake;

	spin_lock(&lane->lock);
	/*
	 * The changes of the page tables come before the lane is seen empty.
	 * Pairs with the acquire in mi_wait().
	 */
	smp_wmb();
	__hlist_del(&range->lane_node);
	/*
	 * Nobody is missed: who queues behind this looks at the lane once more,
	 * and that takes the lock.
	 */
	wake = waitqueue_active(&lane->readers);
	spin_unlock(&lane->lock);

	if (wake)
		wake_up_all(&lane->readers);
}

/**
 * mmu_interval_section_end - let the readers of a section's range go on
 * @range: a section on a lane
 *
 * Context: Any in which a spinlock may be taken; does not sleep.
 */
void mmu_interval_section_end(struct mmu_notifier_range *range)
{
	if (likely(range->phase != MI_LISTED))
		mi_leave(range->lane, range->phase);
	else
		mi_leave_list(range);
}

/**
 * mmu_interval_release - call every interval of an mm that exits
 * @itv: the intervals of the mm
 * @mm: the address space, mm_users is 0
 *
 * The intervals stay in the tree until their owners remove them.
 *
 * Context: May sleep.
 */
void mmu_interval_release(struct mmu_interval_subscriptions *itv,
			  struct mm_struct *mm)
{
	struct mmu_notifier_range range = {
		.mm = mm,
		.start = 0,
		.end = ULONG_MAX,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_RELEASE,
	};

	mmu_interval_section_start(itv, &range);
	mmu_interval_section_end(&range);
}

#ifdef CONFIG_MMU_NOTIFIER_DEBUG
/**
 * mmu_interval_for_each - call a function for each interval
 * @itv: the intervals of an mm whose mm_count is held
 * @fn: the function; runs under a spinlock
 * @arg: its argument
 */
void mmu_interval_for_each(struct mmu_interval_subscriptions *itv,
			   void (*fn)(const struct mmu_interval_notifier *sub,
				      void *arg),
			   void *arg)
{
	struct interval_tree_node *node;

	guard(spinlock)(&itv->first.lock);

	for (node = interval_tree_iter_first(&itv->tree, 0, ULONG_MAX); node;
	     node = interval_tree_iter_next(node, 0, ULONG_MAX))
		if (!mi_entry(node)->dead)
			fn(mi_entry(node), arg);
}
#endif

/* Readers. */

/*
 * Has every section ended that hit no interval, of those in @phase? The ends are
 * read first: whatever they count, the starts count too, and so an open section
 * makes the difference.
 */
static bool mi_is_idle(struct mmu_interval_lane *lane, unsigned int phase)
{
	/* Pairs with the barrier in mi_leave(). */
	unsigned int ended = atomic_read_acquire(&lane->ended[phase]);

	return ended == READ_ONCE(lane->started[phase]);
}

static bool mi_is_all_idle(struct mmu_interval_subscriptions *itv)
{
	unsigned int i, nr = mi_nr_lanes(itv);

	for (i = 0; i < nr; i++)
		if (!mi_is_idle(mi_lane(itv, i), 0) ||
		    !mi_is_idle(mi_lane(itv, i), 1))
			return false;
	return true;
}

/*
 * Waits for the sections that hit no interval and are open now. They are all
 * counted in one phase of their lane: the other is idle since it was waited for.
 */
static void mi_wait_idle(struct mmu_interval_subscriptions *itv)
{
	unsigned int i, nr = mi_nr_lanes(itv);
	struct mmu_interval_lane *lane;

	/* One at a time, or both counts were in use. */
	wait_var_event(&itv->settling, !cmpxchg_acquire(&itv->settling, 0, 1));

	for (i = 0; i < nr; i++) {
		lane = mi_lane(itv, i);
		guard(spinlock)(&lane->lock);
		lane->phase = !lane->phase;
	}
	for (i = 0; i < nr; i++) {
		lane = mi_lane(itv, i);
		wait_event(lane->readers, mi_is_idle(lane, !lane->phase));
	}
	store_release_wake_up(&itv->settling, 0);
}

/*
 * Waits for the sections that looked for @sub before it was in the tree. Those
 * that hit another interval are on a list, like all others to wait for.
 */
static void mi_settle(struct mmu_interval_subscriptions *itv,
		      struct mmu_interval_notifier *sub)
{
	if (!mi_is_all_idle(itv))
		mi_wait_idle(itv);
	/* Pairs with the acquire in mmu_interval_read_begin(). */
	smp_store_release(&sub->settled, true);
}

/* Is a section on @lane that @sub overlaps, of those up to number @last? */
static bool mi_is_open(struct mmu_interval_lane *lane, unsigned long last,
		       const struct mmu_interval_notifier *sub)
{
	const struct mmu_notifier_range *range;

	guard(spinlock)(&lane->lock);

	hlist_for_each_entry(range, &lane->open, lane_node) {
		/* A difference, for numbers that wrap. */
		if ((long)(last - range->seq) >= 0 &&
		    range->start <= sub->interval_tree.last &&
		    range->end - 1 >= sub->interval_tree.start)
			return true;
	}
	return false;
}

/* Waits for the sections on @lane now that @sub overlaps. Were there any? */
static bool mi_wait(struct mmu_interval_lane *lane,
		    const struct mmu_interval_notifier *sub)
{
	unsigned long last;

	/* Pairs with smp_wmb() in mi_leave_list(). */
	if (!smp_load_acquire(&lane->open.first))
		return false;

	last = READ_ONCE(lane->seq);
	if (!mi_is_open(lane, last, sub))
		return false;
	wait_event(lane->readers, !mi_is_open(lane, last, sub));
	return true;
}

static bool mi_wait_all(struct mmu_interval_subscriptions *itv,
			const struct mmu_interval_notifier *sub)
{
	unsigned int i, nr = mi_nr_lanes(itv);
	bool waited = false;

	for (i = 0; i < nr; i++)
		waited |= mi_wait(mi_lane(itv, i), sub);
	return waited;
}

/**
 * mmu_interval_read_begin - begin to read the page tables of an interval
 * @interval_sub: the interval
 *
 * Waits for the sections that overlap the interval and are open now; the first
 * time, also for those elsewhere that hit no interval. Those that open later
 * collide: mmu_interval_read_retry() tells, which is to be called,
 * under the driver's lock, before anything that was read is used.
 *
 * The wait is bounded also if sections follow each other without a gap; the
 * collision may then have happened already on return.
 *
 * Context: No lock may be held that a callback takes. May sleep.
 *
 * Return: the count, for mmu_interval_read_retry().
 */
unsigned long
mmu_interval_read_begin(struct mmu_interval_notifier *interval_sub)
{
	struct mmu_interval_subscriptions *itv =
		interval_sub->mm->notifier_subscriptions->intervals;
	unsigned long seq;

	might_sleep();
	mmu_notifier_might_start();

	/* Pairs with the release in mi_settle(). */
	if (unlikely(!smp_load_acquire(&interval_sub->settled)))
		mi_settle(itv, interval_sub);

	/*
	 * Pairs with the release in mmu_interval_set_seq(): who reads the number
	 * of a section finds that section on its lane, or finds its changes.
	 */
	seq = smp_load_acquire(&interval_sub->invalidate_seq);
	if (!mi_wait_all(itv, interval_sub))
		return seq;

	/* A section that was starting has set its number meanwhile. */
	seq = smp_load_acquire(&interval_sub->invalidate_seq);
	mi_wait_all(itv, interval_sub);
	return seq;
}
EXPORT_SYMBOL_GPL(mmu_interval_read_begin);

/* Insertion and removal. */

static __always_inline int
mi_check(const struct mmu_interval_notifier *sub, const struct mm_struct *mm,
	 unsigned long start, unsigned long length,
	 const struct mmu_interval_notifier_ops *ops)
{
	unsigned long last;

	if (!sub || !ops)
		return -EINVAL;
	/* One of the two ways, or nobody could say which is called. */
	if (ops->invalidate ? ops->invalidate_start || ops->invalidate_finish :
	    !ops->invalidate_start || !ops->invalidate_finish)
		return -EINVAL;
	if (!length || check_add_overflow(start, length - 1, &last))
		return -EOVERFLOW;
	return atomic_read(&mm->mm_users) ? 0 : -ESRCH;
}

static int __init mi_init(void)
{
	if (mi_max_more() == 1)
		static_branch_disable(&mi_many_lanes);
	return 0;
}
core_initcall(mi_init);

static struct mmu_interval_subscriptions *mi_alloc(void)
{
	struct mmu_interval_subscriptions *itv;

	itv = kzalloc_obj(*itv, GFP_KERNEL_ACCOUNT);
	if (!itv)
		return NULL;
	itv->tree = RB_ROOT_CACHED;
	itv->lanes = &itv->first;
	spin_lock_init(&itv->first.lock);
	mi_init_lane(&itv->first, 0);
	return itv;
}

void mmu_interval_destroy(struct mmu_interval_subscriptions *itv)
{
	if (!itv)
		return;
	/* Every interval holds mm_count. */
	WARN_ON_ONCE(!RB_EMPTY_ROOT(&itv->tree.rb_root));
	if (itv->lanes != &itv->first)
		kfree(itv->lanes);
	kfree(itv);
}

#if IS_ENABLED(CONFIG_KUNIT)
/**
 * mmu_interval_widen - use as many lanes as contention would lead to
 * @mm: an address space with intervals
 *
 * For tests, which cannot bring contention about when they want it.
 *
 * Context: Any in which a spinlock may be taken.
 */
void mmu_interval_widen(struct mm_struct *mm)
{
	struct mmu_interval_subscriptions *itv =
		mm->notifier_subscriptions->intervals;

	guard(spinlock)(&itv->first.lock);

	mi_widen(itv);
}
EXPORT_SYMBOL_IF_KUNIT(mmu_interval_widen);
#endif

/* The intervals of @mm, once no section is left that is on no lane. */
static struct mmu_interval_subscriptions *mi_ready(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs =
		READ_ONCE(mm->notifier_subscriptions);
	struct mmu_interval_subscriptions *itv;

	itv = subs ? READ_ONCE(subs->intervals) : NULL;
	/* Pairs with the release in mi_prepare(). */
	return itv && smp_load_acquire(&itv->drained) ? itv : NULL;
}

/* Makes the intervals of @mm ready, the first time. */
static struct mmu_interval_subscriptions *mi_prepare(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs;
	struct mmu_interval_subscriptions *itv;

	mmap_assert_write_locked(mm);

	itv = mi_ready(mm);
	if (itv)
		return itv;

	itv = mi_alloc();
	subs = itv ? mmu_notifier_subscriptions_get(mm) : NULL;
	if (!subs) {
		kfree(itv);
		return NULL;
	}

	/* Pairs with the address dependency in __mmu_notifier_range_start(). */
	smp_store_release(&subs->intervals, itv);
	mmu_notifier_drain(mm);
	/* Pairs with the acquire in mi_ready(). */
	smp_store_release(&itv->drained, true);
	return itv;
}

static noinline void mi_insert_locked(struct mmu_interval_subscriptions *itv,
				      struct mmu_interval_notifier *sub)
	__must_hold(&itv->first.lock)
{
	mi_lock_rest(itv);
	interval_tree_insert(&sub->interval_tree, &itv->tree);
	mi_unlock_rest(itv);
}

static __always_inline void
mi_insert(struct mmu_interval_subscriptions *itv,
	  struct mmu_interval_notifier *sub, struct mm_struct *mm,
	  unsigned long start, unsigned long length,
	  const struct mmu_interval_notifier_ops *ops)
{
	sub->interval_tree.start = start;
	sub->interval_tree.last = start + length - 1;
	sub->ops = ops;
	sub->mm = mm;
	/* Even: no section has this number. */
	sub->invalidate_seq = 0;
	sub->dead = false;
	sub->settled = false;
	atomic_set(&sub->active, 1);
	/* Dropped when the interval is out of the tree. */
	mmgrab(mm);

	spin_lock(&itv->first.lock);
	if (likely(mi_is_one_lane(itv)))
		interval_tree_insert(&sub->interval_tree, &itv->tree);
	else
		mi_insert_locked(itv, sub);
	spin_unlock(&itv->first.lock);
	trace_mmu_interval_insert(sub);
}

/**
 * mmu_interval_notifier_insert_locked - insert an interval under mmap_lock
 * @interval_sub: the interval
 * @mm: the address space
 * @start: first address
 * @length: length in bytes
 * @ops: the callbacks
 *
 * mmu_interval_notifier_insert() for callers that hold mmap_lock of @mm for
 * writing.
 *
 * Context: mmap_lock held for writing, and no lock of the VM beside it. May
 * sleep.
 *
 * Return: as mmu_interval_notifier_insert(); -EAGAIN as __mmu_notifier_register().
 */
int mmu_interval_notifier_insert_locked(struct mmu_interval_notifier *interval_sub,
					struct mm_struct *mm,
					unsigned long start,
					unsigned long length,
					const struct mmu_interval_notifier_ops *ops)
{
	struct mmu_interval_subscriptions *itv;
	int ret;

	mmap_assert_write_locked(mm);

	ret = mi_check(interval_sub, mm, start, length, ops);
	if (!ret)
		ret = mmu_notifier_enable_locked();
	if (ret)
		return ret;
	itv = mi_prepare(mm);
	if (!itv)
		return -ENOMEM;
	mi_insert(itv, interval_sub, mm, start, length, ops);
	return 0;
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_insert_locked);

static noinline int mi_insert_first(struct mmu_interval_notifier *sub,
				    struct mm_struct *mm, unsigned long start,
				    unsigned long length,
				    const struct mmu_interval_notifier_ops *ops)
{
	int ret;

	mmu_notifier_enable();
	mmap_write_lock(mm);
	ret = mmu_interval_notifier_insert_locked(sub, mm, start, length, ops);
	mmap_write_unlock(mm);
	return ret;
}

/**
 * mmu_interval_notifier_insert - subscribe to the changes of an interval
 * @interval_sub: the interval
 * @mm: the address space; the caller makes sure that mm_users stays above 0
 * @start: first address
 * @length: length in bytes
 * @ops: the callbacks: invalidate, or invalidate_start and invalidate_finish
 *
 * Legal at any moment, also while sections of @mm run. Sections that started
 * before may not call the interval any more; mmu_interval_read_begin() waits
 * for them. Ends with mmu_interval_notifier_remove(), also if the address space
 * went away before.
 *
 * Context: mmap_lock not held; the first interval of @mm takes it for writing.
 * May sleep; is not interrupted by signals.
 *
 * Return: 0; -EINVAL without a callback or with ones that exclude each other;
 * -EOVERFLOW if the interval is empty or goes beyond the last address; -ESRCH
 * if @mm is exiting; -ENOMEM. After an error @interval_sub is as it was.
 */
int mmu_interval_notifier_insert(struct mmu_interval_notifier *interval_sub,
				 struct mm_struct *mm, unsigned long start,
				 unsigned long length,
				 const struct mmu_interval_notifier_ops *ops)
{
	struct mmu_interval_subscriptions *itv;
	int ret;

	might_lock(&mm->mmap_lock);

	ret = mi_check(interval_sub, mm, start, length, ops);
	if (ret)
		return ret;
	itv = mi_ready(mm);
	if (unlikely(!itv))
		return mi_insert_first(interval_sub, mm, start, length, ops);
	mi_insert(itv, interval_sub, mm, start, length, ops);
	return 0;
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_insert);

/*
 * Waits for the callbacks of @sub, which is to be removed; no new ones begin. The
 * tree is unlocked meanwhile.
 */
static void mi_wait_callbacks(struct mmu_interval_subscriptions *itv,
			      struct mmu_interval_notifier *sub)
	__must_hold(&itv->first.lock)
{
	sub->dead = true;
	mi_unlock_tree(itv);

	/* What the insertion holds. */
	mi_unpin(sub);
	mi_wait_pins(sub);

	mi_lock_tree(itv);
}

static noinline void mi_erase_locked(struct mmu_interval_subscriptions *itv,
				     struct mmu_interval_notifier *sub)
	__must_hold(&itv->first.lock)
{
	mi_lock_rest(itv);
	/* Pairs with the decrement in mi_unpin(). */
	if (atomic_read_acquire(&sub->active) != 1)
		mi_wait_callbacks(itv, sub);
	interval_tree_remove(&sub->interval_tree, &itv->tree);
	mi_unlock_rest(itv);
}

/**
 * mmu_interval_notifier_remove - end the subscription of an interval
 * @interval_sub: the interval
 *
 * No callback of @interval_sub runs or can run on return, and the caller may
 * free it. Waits for callbacks of this interval, up to its invalidate_finish,
 * and for none of any other; not for the sections that called them.
 *
 * An interval that is not inserted gets a warning and is left alone.
 *
 * Context: No lock may be held that a callback takes. Not to be called from a
 * callback. May sleep.
 */
void mmu_interval_notifier_remove(struct mmu_interval_notifier *interval_sub)
{
	struct mm_struct *mm = interval_sub->mm;
	struct mmu_interval_subscriptions *itv;

	might_sleep();
	mmu_notifier_might_start();
	/* Callbacks come and go; that of the insertion is dropped by us only. */
	if (WARN_ON_ONCE(!atomic_read(&interval_sub->active)))
		return;

	itv = mm->notifier_subscriptions->intervals;
	spin_lock(&itv->first.lock);
	/* Pairs with the decrement in mi_unpin(). */
	if (likely(mi_is_one_lane(itv) &&
		   atomic_read_acquire(&interval_sub->active) == 1))
		interval_tree_remove(&interval_sub->interval_tree, &itv->tree);
	else
		mi_erase_locked(itv, interval_sub);
	atomic_set(&interval_sub->active, 0);
	spin_unlock(&itv->first.lock);
	trace_mmu_interval_remove(interval_sub);
	mmdrop(mm);
}
EXPORT_SYMBOL_GPL(mmu_interval_notifier_remove);
