/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What mm/mmu_notifier.c and mm/mmu_interval_notifier.c know of each other.
 */
#ifndef _MM_MMU_NOTIFIER_INTERNAL_H
#define _MM_MMU_NOTIFIER_INTERNAL_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct mm_struct;
struct mmu_interval_subscriptions;
struct mmu_notifier_range;

/**
 * struct mmu_notifier_subscriptions - everybody who subscribed to one mm
 * @list: the subscriptions, the youngest first; changed under @lock, walked
 *	under RCU or with a walk counted
 * @intervals: NULL until the first interval; written under mmap_lock, read
 *	without a lock
 * @stamp: number of the youngest registration
 * @heard: MMU_NOTIFIER_RANGE_SPAN and _FOLIO, if there has ever been a subscription
 *	that hears such sections
 * @counts: walks that call callbacks that may sleep; the one for new walks is one
 *	higher
 * @count: the one for new walks; changed under @count_lock
 * @count_lock: one wait for walks at a time
 * @lock: protects changes of @list, @stamp, @heard, and mmu_notifier::users
 * @mm: the address space that points here
 * @put: what mmu_notifier_put() gave up
 * @put_work: frees @put; holds mm_count while queued
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
	struct mutex count_lock;	/* changes of count */
	struct mm_struct *mm;
	struct llist_head put;
	struct work_struct put_work;
};

/* The subscription list, for mm/mmu_interval_notifier.c. */
void mmu_notifier_enable(void);
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

#endif /* _MM_MMU_NOTIFIER_INTERNAL_H */
