// SPDX-License-Identifier: GPL-2.0
/*
 * A TLB outside of the CPU, like that of SGI's GRU, in software. The process
 * loads and stores through it; the translations come from its page tables by a
 * lookup in software, and no reference outlives the lookup.
 *
 * There are several TLBs, as there are several GRUs in a machine, each with a
 * lock of its own. Single pages and ranges are dropped alike: the entry of each
 * page if the range is smaller than the TLB, and else all entries are looked at
 * once. A range costs no more than what can be cached, however large it is.
 */
#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "soft_gru.h"

/* A translation, if there is a page. */
struct gru_entry {
	unsigned long number;
	struct page *page;
	bool writable;
};

/**
 * struct gru_tlb - a direct mapped TLB
 * @lock: protects what follows, and is held during an access: who has dropped an
 *	entry knows that nobody uses its page any more
 * @seq: moves when a lookup that is under way may have found a stale page
 * @sections: open sections; no translation is established in any
 * @stats: since the file was opened
 * @entry: that of a page is at its number, modulo the size
 */
struct gru_tlb {
	spinlock_t lock;		/* of all that follows */
	unsigned long seq;
	unsigned int sections;
	struct soft_gru_stats stats;
	struct gru_entry entry[SOFT_GRU_ENTRIES];
};

/**
 * struct gru - the GRU of one process
 * @subscription: to the process
 * @no_section: misses wait here for the end of sections
 * @tlb: a thread uses that of its CPU; all have to be invalidated
 */
struct gru {
	struct mmu_notifier subscription;
	wait_queue_head_t no_section;
	struct gru_tlb tlb[SOFT_GRU_TLBS];
};

#define for_each_tlb(tlb, gru) \
	for ((tlb) = (gru)->tlb; (tlb) < (gru)->tlb + SOFT_GRU_TLBS; (tlb)++)

static struct gru *to_gru(struct mmu_notifier *subscription)
{
	return container_of(subscription, struct gru, subscription);
}

static struct gru_entry *gru_slot(struct gru_tlb *tlb, unsigned long number)
{
	return &tlb->entry[number % SOFT_GRU_ENTRIES];
}

/* Invalidation. */

static unsigned long gru_drop(struct gru_tlb *tlb, unsigned long first, unsigned long nr_pages)
{
	unsigned long i, dropped = 0, visits = min(nr_pages, SOFT_GRU_ENTRIES);

	lockdep_assert_held(&tlb->lock);
	for (i = 0; i < visits; i++) {
		struct gru_entry *entry = gru_slot(tlb, first + i);

		if (!entry->page || entry->number - first >= nr_pages)
			continue;
		entry->page = NULL;
		dropped++;
	}
	tlb->stats.visited += visits;
	tlb->stats.dropped += dropped;
	return dropped;
}

static void gru_move_seq(struct gru_tlb *tlb)
{
	lockdep_assert_held(&tlb->lock);
	/* Pairs with smp_rmb() in gru_miss(): new count, new page tables. */
	smp_wmb();
	WRITE_ONCE(tlb->seq, tlb->seq + 1);
}

static void gru_invalidate_page(struct mmu_notifier *subscription, struct mm_struct *mm,
				unsigned long address, unsigned long nr_pages,
				enum mmu_notifier_event event)
{
	struct gru_tlb *tlb;

	for_each_tlb(tlb, to_gru(subscription)) {
		spin_lock(&tlb->lock);
		tlb->stats.pages++;
		gru_move_seq(tlb);
		gru_drop(tlb, address >> PAGE_SHIFT, nr_pages);
		spin_unlock(&tlb->lock);
	}
}

static int gru_range_start(struct mmu_notifier *subscription,
			   const struct mmu_notifier_range *range)
{
	unsigned long nr_pages = (range->end - range->start) >> PAGE_SHIFT;
	struct gru_tlb *tlb;

	for_each_tlb(tlb, to_gru(subscription)) {
		spin_lock(&tlb->lock);
		tlb->stats.ranges++;
		WRITE_ONCE(tlb->sections, tlb->sections + 1);
		gru_drop(tlb, range->start >> PAGE_SHIFT, nr_pages);
		spin_unlock(&tlb->lock);
	}
	return 0;
}

static void gru_range_end(struct mmu_notifier *subscription,
			  const struct mmu_notifier_range *range)
{
	struct gru *gru = to_gru(subscription);
	struct gru_tlb *tlb;

	for_each_tlb(tlb, gru) {
		spin_lock(&tlb->lock);
		gru_move_seq(tlb);
		WRITE_ONCE(tlb->sections, tlb->sections - 1);
		spin_unlock(&tlb->lock);
	}
	wake_up_all(&gru->no_section);
}

static void gru_release_mm(struct mmu_notifier *subscription, struct mm_struct *mm)
{
	struct gru_tlb *tlb;

	for_each_tlb(tlb, to_gru(subscription)) {
		spin_lock(&tlb->lock);
		gru_drop(tlb, 0, ULONG_MAX >> PAGE_SHIFT);
		spin_unlock(&tlb->lock);
	}
}

/* Aging: there are no accessed bits, so what is cached has been accessed. */

static bool gru_clear_young(struct mmu_notifier *subscription, struct mm_struct *mm,
			    unsigned long start, unsigned long end)
{
	struct gru_tlb *tlb;
	bool young = false;

	for_each_tlb(tlb, to_gru(subscription)) {
		spin_lock(&tlb->lock);
		young |= gru_drop(tlb, start >> PAGE_SHIFT, (end - start) >> PAGE_SHIFT);
		spin_unlock(&tlb->lock);
	}
	return young;
}

static bool gru_test_young(struct mmu_notifier *subscription, struct mm_struct *mm,
			   unsigned long address)
{
	unsigned long number = address >> PAGE_SHIFT;
	struct gru_tlb *tlb;
	bool young = false;

	for_each_tlb(tlb, to_gru(subscription)) {
		struct gru_entry *entry = gru_slot(tlb, number);

		spin_lock(&tlb->lock);
		young |= entry->page && entry->number == number;
		spin_unlock(&tlb->lock);
	}
	return young;
}

static const struct mmu_notifier_ops gru_ops = {
	.release = gru_release_mm,
	.clear_flush_young = gru_clear_young,
	.clear_young = gru_clear_young,
	.test_young = gru_test_young,
	.invalidate_page = gru_invalidate_page,
	.invalidate_range_start = gru_range_start,
	.invalidate_range_end = gru_range_end,
};

/* Accesses. */

static void gru_access(struct page *page, struct soft_gru_op *op)
{
	u64 *map = kmap_local_page(page);
	u64 *word = map + offset_in_page(op->address) / sizeof(*word);

	switch (op->opcode) {
	case SOFT_GRU_LOAD:
		op->value = READ_ONCE(*word);
		break;
	case SOFT_GRU_STORE:
		WRITE_ONCE(*word, op->value);
		break;
	case SOFT_GRU_ADD:
		op->value = atomic64_add_return(op->value, (atomic64_t *)word);
		break;
	}
	kunmap_local(map);
}

/* Returns false if there is no translation that serves. */
static bool gru_hit(struct gru_tlb *tlb, struct soft_gru_op *op)
{
	unsigned long number = op->address >> PAGE_SHIFT;
	struct gru_entry *entry = gru_slot(tlb, number);
	bool hit;

	spin_lock(&tlb->lock);
	hit = entry->page && entry->number == number &&
	      (entry->writable || op->opcode == SOFT_GRU_LOAD);
	if (hit) {
		gru_access(entry->page, op);
		tlb->stats.hits++;
	}
	spin_unlock(&tlb->lock);
	return hit;
}

/* Does not establish anything if the page may have gone since it was looked up. */
static void gru_establish(struct gru_tlb *tlb, unsigned long seq, struct gru_entry entry)
{
	spin_lock(&tlb->lock);
	tlb->stats.misses++;
	if (tlb->sections || tlb->seq != seq)
		tlb->stats.retries++;
	else
		*gru_slot(tlb, entry.number) = entry;
	spin_unlock(&tlb->lock);
}

static int gru_miss(struct gru *gru, struct gru_tlb *tlb, unsigned long address, bool write)
{
	struct gru_entry entry = { .number = address >> PAGE_SHIFT, .writable = write };
	unsigned long seq = READ_ONCE(tlb->seq);
	int ret;

	/* Pairs with smp_wmb() in gru_move_seq(). */
	smp_rmb();
	ret = get_user_pages_fast(address & PAGE_MASK, 1, write ? FOLL_WRITE : 0, &entry.page);
	if (ret < 0)
		return ret;
	/* What makes it clean again tells us, now or once it is established. */
	if (write)
		set_page_dirty_lock(entry.page);
	gru_establish(tlb, seq, entry);
	put_page(entry.page);

	cond_resched();
	if (fatal_signal_pending(current))
		return -EINTR;
	return wait_event_killable(gru->no_section, !READ_ONCE(tlb->sections));
}

static int gru_execute(struct gru *gru, struct soft_gru_op *op)
{
	struct gru_tlb *tlb;
	int ret = 0;

	if (op->opcode > SOFT_GRU_ADD || op->address % sizeof(u64))
		return -EINVAL;
	do {
		tlb = &gru->tlb[raw_smp_processor_id() % SOFT_GRU_TLBS];
	} while (!gru_hit(tlb, op) &&
		 !(ret = gru_miss(gru, tlb, op->address, op->opcode != SOFT_GRU_LOAD)));
	return ret;
}

static long gru_run(struct gru *gru, struct soft_gru_run __user *argument)
{
	struct soft_gru_op __user *ops;
	struct soft_gru_run run;
	struct soft_gru_op op;

	if (copy_from_user(&run, argument, sizeof(run)))
		return -EFAULT;
	for (ops = u64_to_user_ptr(run.ops); run.count; run.count--, ops++) {
		if (copy_from_user(&op, ops, sizeof(op)))
			return -EFAULT;
		op.error = gru_execute(gru, &op);
		if (copy_to_user(ops, &op, sizeof(op)))
			return -EFAULT;
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

static long gru_tell_stats(struct gru *gru, struct soft_gru_stats __user *argument)
{
	struct soft_gru_stats sum = { };
	struct gru_tlb *tlb;

	for_each_tlb(tlb, gru) {
		spin_lock(&tlb->lock);
		sum.hits += tlb->stats.hits;
		sum.misses += tlb->stats.misses;
		sum.retries += tlb->stats.retries;
		sum.pages += tlb->stats.pages;
		sum.ranges += tlb->stats.ranges;
		sum.visited += tlb->stats.visited;
		sum.dropped += tlb->stats.dropped;
		spin_unlock(&tlb->lock);
	}
	return copy_to_user(argument, &sum, sizeof(sum)) ? -EFAULT : 0;
}

/* The device. */

static long gru_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct gru *gru = file->private_data;

	if (current->mm != gru->subscription.mm)
		return -EPERM;
	switch (command) {
	case SOFT_GRU_RUN:
		return gru_run(gru, (void __user *)argument);
	case SOFT_GRU_STATS:
		return gru_tell_stats(gru, (void __user *)argument);
	}
	return -ENOTTY;
}

static int gru_open(struct inode *inode, struct file *file)
{
	struct gru *gru = kvzalloc_obj(*gru);
	struct gru_tlb *tlb;
	int ret;

	if (!gru)
		return -ENOMEM;
	init_waitqueue_head(&gru->no_section);
	for_each_tlb(tlb, gru)
		spin_lock_init(&tlb->lock);
	gru->subscription.ops = &gru_ops;
	ret = mmu_notifier_register(&gru->subscription, current->mm);
	if (ret)
		kvfree(gru);
	else
		file->private_data = gru;
	return ret;
}

static int gru_close(struct inode *inode, struct file *file)
{
	struct gru *gru = file->private_data;

	mmu_notifier_unregister(&gru->subscription, gru->subscription.mm);
	kvfree(gru);
	return 0;
}

static const struct file_operations gru_fops = {
	.owner = THIS_MODULE,
	.open = gru_open,
	.release = gru_close,
	.unlocked_ioctl = gru_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice gru_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "soft_gru",
	.fops = &gru_fops,
};
module_misc_device(gru_device);

MODULE_DESCRIPTION("A TLB outside of the CPU, in software");
MODULE_LICENSE("GPL");
