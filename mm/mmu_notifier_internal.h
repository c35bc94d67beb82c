/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What mm/mmu_notifier.c and mm/mmu_interval_notifier.c know of each other.
 */
#ifndef _MM_MMU_NOTIFIER_INTERNAL_H
#define _MM_MMU_NOTIFIER_INTERNAL_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct mm_struct;
struct mmu_interval_subscriptions;
struct mmu_notifier_range;

/**
 * struct mmu_notifier_subscriptions - everybody who subscribed to one mm
 * @list: the subscriptions; changed under @lock, walked under RCU
 * @lock: protects changes of @list, @stamp, and mmu_notifier::users
 * @stamp: number of the youngest registration
 * @mm: the address space that points here
 * @put_work: frees what mmu_notifier_put() gave up; holds mm_count while queued
 * @intervals: NULL until the first interval; written under mmap_lock, read
 *	without a lock
 *
 * Allocated by the first registration, freed with the mm_struct.
 */
struct mmu_notifier_subscriptions {
	struct hlist_head list;
	spinlock_t lock;	/* changes of list, stamp, mmu_notifier::users */
	unsigned long stamp;
	struct mm_struct *mm;
	struct work_struct put_work;
	struct mmu_interval_subscriptions *intervals;
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
