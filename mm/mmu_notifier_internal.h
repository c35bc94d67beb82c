/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What mm/mmu_notifier.c and mm/mmu_interval_notifier.c know of each other.
 */
#ifndef _MM_MMU_NOTIFIER_INTERNAL_H
#define _MM_MMU_NOTIFIER_INTERNAL_H

#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait_bit.h>
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

/* Pins: one for the registration, one for each callback that runs. */

/*
 * The release ordering of the decrement pairs with the acquire in
 * mmu_notifier_wait_pins(): what the callback did happens before what follows
 * the end of the wait. Whatever has the pins may be gone when wake_up_var() runs,
 * it is an address only.
 */
static inline void mmu_notifier_unpin(refcount_t *pins)
{
	if (refcount_dec_and_test(pins)) {
		/* Pairs with that of wait_var_event(), queue first, then look. */
		smp_mb();
		wake_up_var(pins);
	}
}

/* Waits for the last pin; the caller makes sure that no more are taken. */
static inline void mmu_notifier_wait_pins(refcount_t *pins)
{
	wait_var_event(pins, !refcount_read(pins));
	/* Pairs with the release in mmu_notifier_unpin(). */
	smp_acquire__after_ctrl_dep();
}

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
