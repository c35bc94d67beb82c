/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the MMU notifiers in mm/ know of each other.
 */
#ifndef _MM_MMU_NOTIFIER_INTERNAL_H
#define _MM_MMU_NOTIFIER_INTERNAL_H

#include <linux/atomic.h>
#include <linux/jump_label.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct mm_struct;
struct mmu_interval_subscriptions;

/*
 * In mmu_notifier_subscriptions::heard: somebody waits for walks; there has ever
 * been a subscription that follows the TLB of the CPU, or one that tells accessed
 * bits for one page at a time only.
 */
#define MN_WAITS_FOR_WALKS	BIT(29)
#define MN_HEARS_CPU_TLB	BIT(30)
#define MN_YOUNG_BY_PAGE	BIT(31)

#ifdef CONFIG_MMU_NOTIFIER_DEBUG
/**
 * struct mmu_notifier_debug - what mm/mmu_notifier_debug.c knows of one mm
 * @mms: link in the list of all that were ever subscribed to
 * @stats: counts, by ops table; grows under @lock, until the mm is freed
 * @lock: protects changes of @stats and of the counts
 * @tgid: the process that subscribed first
 * @comm: its name at that time
 */
struct mmu_notifier_debug {
	struct list_head mms;
	struct hlist_head stats;
	spinlock_t lock;	/* stats, counts */
	pid_t tgid;
	char comm[TASK_COMM_LEN];
};
#endif

/**
 * struct mmu_notifier_subscriptions - everybody who subscribed to one mm
 * @list: the subscriptions, the youngest first; changed under @lock, walked
 *	under RCU or with a walk counted
 * @intervals: NULL until the first interval; written under mmap_lock, read
 *	without a lock
 * @stamp: number of the youngest registration
 * @heard: MMU_NOTIFIER_RANGE_SPAN and _FOLIO, if there has ever been a subscription
 *	that hears such sections, and MN_*
 * @counts: walks that call callbacks that may sleep; the one for new walks is one
 *	higher
 * @count: the one for new walks; changed by who has set %MN_WAITS_FOR_WALKS
 * @lock: protects changes of @list, @stamp, @heard, and mmu_notifier::users
 * @mm: the address space that points here
 * @put: what mmu_notifier_put() gave up
 * @put_work: frees @put; holds mm_count while queued
 * @debug: for debugfs
 *
 * Allocated by the first registration, freed with the mm_struct.
 */
struct mmu_notifier_subscriptions {
	struct hlist_head list;
	struct mmu_interval_subscriptions *intervals;
	unsigned long stamp;
	atomic_t *count;
	atomic_t counts[2];
	unsigned int heard;
	spinlock_t lock;	/* changes of list, stamp, heard, users */
	struct mm_struct *mm;
	struct llist_head put;
	struct work_struct put_work;
#ifdef CONFIG_MMU_NOTIFIER_DEBUG
	struct mmu_notifier_debug debug;
#endif
};

/* The subscription list, for mm/mmu_interval_notifier.c. */
void mmu_notifier_enable(void);
int mmu_notifier_enable_locked(void);
struct mmu_notifier_subscriptions *
mmu_notifier_subscriptions_get(struct mm_struct *mm);
void mmu_notifier_drain(struct mm_struct *mm);

/* The intervals, for mm/mmu_notifier.c. */
int mmu_interval_section_start(struct mmu_interval_subscriptions *itv,
			       struct mmu_notifier_range *range);
void mmu_interval_section_end(struct mmu_notifier_range *range);
void mmu_interval_release(struct mmu_interval_subscriptions *itv,
			  struct mm_struct *mm);
void mmu_interval_destroy(struct mmu_interval_subscriptions *itv);
#if IS_ENABLED(CONFIG_KUNIT)
void mmu_interval_widen(struct mm_struct *mm);
#endif

/* Callbacks take a way round that tells of them. */
DECLARE_STATIC_KEY_FALSE(mmu_notifier_observed);

/* Counting and timing, see mm/mmu_notifier_debug.c. */
#ifdef CONFIG_MMU_NOTIFIER_DEBUG

/* Somebody wants to know how often callbacks run, or how long they take. */
DECLARE_STATIC_KEY_FALSE(mmu_notifier_watched);

/* Callbacks that measure those of the subscription they are called for. */
const struct mmu_notifier_ops *mmu_notifier_watch_ops(void);
const struct mmu_interval_notifier_ops *mmu_interval_watch_ops(void);

void mmu_notifier_debug_init(struct mmu_notifier_subscriptions *subs);
void mmu_notifier_debug_destroy(struct mmu_notifier_subscriptions *subs);
void mmu_interval_for_each(struct mmu_interval_subscriptions *itv,
			   void (*fn)(const struct mmu_interval_notifier *sub,
				      void *arg),
			   void *arg);

/* To call what @sub has; whether it has it is for its own ops to say. */
static __always_inline const struct mmu_notifier_ops *
mn_ops(const struct mmu_notifier *sub)
{
	return static_branch_unlikely(&mmu_notifier_watched) ?
		       mmu_notifier_watch_ops() : sub->ops;
}

static __always_inline const struct mmu_interval_notifier_ops *
mi_ops(const struct mmu_interval_notifier *sub)
{
	return static_branch_unlikely(&mmu_notifier_watched) ?
		       mmu_interval_watch_ops() : sub->ops;
}

#else /* !CONFIG_MMU_NOTIFIER_DEBUG */

static inline void
mmu_notifier_debug_init(struct mmu_notifier_subscriptions *subs)
{
}

static inline void
mmu_notifier_debug_destroy(struct mmu_notifier_subscriptions *subs)
{
}

static inline const struct mmu_notifier_ops *
mn_ops(const struct mmu_notifier *sub)
{
	return sub->ops;
}

static inline const struct mmu_interval_notifier_ops *
mi_ops(const struct mmu_interval_notifier *sub)
{
	return sub->ops;
}

#endif /* CONFIG_MMU_NOTIFIER_DEBUG */

#endif /* _MM_MMU_NOTIFIER_INTERNAL_H */
