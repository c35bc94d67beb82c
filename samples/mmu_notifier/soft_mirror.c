// SPDX-License-Identifier: GPL-2.0
/*
 * The shortest subscriber to MMU notifiers that is right, to copy from. It reads
 * the memory of the process that opened it as a device would, through
 * translations of its own:
 *
 *	fd = open("/dev/soft_mirror", O_RDONLY);
 *	pread(fd, buffer, size, address);
 *
 * No reference is held to a page that is translated, so the process is swapped
 * as if nobody looked. Documentation/mm/mmu_notifier.rst explains the protocol.
 */
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
#include <linux/xarray.h>

/**
 * struct mirror - the secondary MMU of one process
 * @subscription: to the process
 * @pages: the translations, page number to page; its lock protects what follows
 * @seq: moves when a lookup that is under way may have found a stale page
 * @sections: open sections; no translation is established in any
 * @no_section: faults wait here for the end of sections, which may be long
 */
struct mirror {
	struct mmu_notifier subscription;
	struct xarray pages;
	unsigned long seq;
	unsigned int sections;
	wait_queue_head_t no_section;
};

static struct mirror *to_mirror(struct mmu_notifier *subscription)
{
	return container_of(subscription, struct mirror, subscription);
}

/* The invalidate side. What it costs depends on the translations, not the range. */

static void mirror_drop(struct mirror *mirror, unsigned long first, unsigned long last)
{
	XA_STATE(xas, &mirror->pages, first);
	void *page;

	lockdep_assert_held(&mirror->pages.xa_lock);
	xas_for_each(&xas, page, last)
		xas_store(&xas, NULL);
}

static void mirror_move_seq(struct mirror *mirror)
{
	lockdep_assert_held(&mirror->pages.xa_lock);
	/* Pairs with smp_rmb() in mirror_fault(): new count, new page tables. */
	smp_wmb();
	WRITE_ONCE(mirror->seq, mirror->seq + 1);
}

static void mirror_page_changed(struct mmu_notifier *subscription, struct mm_struct *mm,
				unsigned long address, unsigned long nr_pages,
				enum mmu_notifier_event event)
{
	struct mirror *mirror = to_mirror(subscription);
	unsigned long first = address >> PAGE_SHIFT;

	xa_lock(&mirror->pages);
	mirror_move_seq(mirror);
	mirror_drop(mirror, first, first + nr_pages - 1);
	xa_unlock(&mirror->pages);
}

static int mirror_range_start(struct mmu_notifier *subscription,
			      const struct mmu_notifier_range *range)
{
	struct mirror *mirror = to_mirror(subscription);

	xa_lock(&mirror->pages);
	WRITE_ONCE(mirror->sections, mirror->sections + 1);
	mirror_drop(mirror, range->start >> PAGE_SHIFT, (range->end - 1) >> PAGE_SHIFT);
	xa_unlock(&mirror->pages);
	return 0;
}

static void mirror_range_end(struct mmu_notifier *subscription,
			     const struct mmu_notifier_range *range)
{
	struct mirror *mirror = to_mirror(subscription);

	xa_lock(&mirror->pages);
	mirror_move_seq(mirror);
	WRITE_ONCE(mirror->sections, mirror->sections - 1);
	xa_unlock(&mirror->pages);
	wake_up_all(&mirror->no_section);
}

/* No read is under way: it would be by a thread of the process. */
static void mirror_release_mm(struct mmu_notifier *subscription, struct mm_struct *mm)
{
	xa_destroy(&to_mirror(subscription)->pages);
}

static const struct mmu_notifier_ops mirror_ops = {
	.release = mirror_release_mm,
	.invalidate_page = mirror_page_changed,
	.invalidate_range_start = mirror_range_start,
	.invalidate_range_end = mirror_range_end,
};

/* The fault side. */

/* Look a page up and keep its translation, or return 0 without it: the caller tries again. */
static int mirror_fault(struct mirror *mirror, unsigned long address)
{
	struct page *page;
	unsigned long seq;
	int ret;

	if (wait_event_killable(mirror->no_section, !READ_ONCE(mirror->sections)))
		return -EINTR;
	seq = READ_ONCE(mirror->seq);
	/* Pairs with smp_wmb() in mirror_move_seq(). */
	smp_rmb();
	ret = get_user_pages_fast(address & PAGE_MASK, 1, 0, &page);
	if (ret < 0)
		return ret;

	ret = 0;
	xa_lock(&mirror->pages);
	if (!mirror->sections && mirror->seq == seq)
		ret = xa_err(__xa_store(&mirror->pages, address >> PAGE_SHIFT, page, GFP_ATOMIC));
	xa_unlock(&mirror->pages);
	put_page(page);

	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : ret;
}

/* The page is not freed while the lock is held, for who frees it has to call us first. */
static int mirror_copy(struct mirror *mirror, char *to, unsigned long address, size_t size)
{
	struct page *page;
	int ret;

	xa_lock(&mirror->pages);
	while (!(page = xa_load(&mirror->pages, address >> PAGE_SHIFT))) {
		xa_unlock(&mirror->pages);
		ret = mirror_fault(mirror, address);
		if (ret)
			return ret;
		xa_lock(&mirror->pages);
	}
	memcpy_from_page(to, page, offset_in_page(address), size);
	xa_unlock(&mirror->pages);
	return 0;
}

/* The device. */

static ssize_t mirror_read(struct file *file, char __user *buffer, size_t size, loff_t *position)
{
	struct mirror *mirror = file->private_data;
	unsigned long address = *position;
	char bounce[64];
	int ret;

	if (current->mm != mirror->subscription.mm)
		return -EPERM;

	size = min3(size, sizeof(bounce), PAGE_SIZE - offset_in_page(address));
	ret = mirror_copy(mirror, bounce, address, size);
	if (ret)
		return ret;
	if (copy_to_user(buffer, bounce, size))
		return -EFAULT;
	*position += size;
	return size;
}

static int mirror_open(struct inode *inode, struct file *file)
{
	struct mirror *mirror = kzalloc_obj(*mirror);
	int ret;

	if (!mirror)
		return -ENOMEM;
	xa_init(&mirror->pages);
	init_waitqueue_head(&mirror->no_section);
	mirror->subscription.ops = &mirror_ops;
	ret = mmu_notifier_register(&mirror->subscription, current->mm);
	if (ret)
		kfree(mirror);
	else
		file->private_data = mirror;
	return ret;
}

static int mirror_close(struct inode *inode, struct file *file)
{
	struct mirror *mirror = file->private_data;

	mmu_notifier_unregister(&mirror->subscription, mirror->subscription.mm);
	kfree(mirror);
	return 0;
}

static const struct file_operations mirror_fops = {
	.owner = THIS_MODULE,
	.open = mirror_open,
	.release = mirror_close,
	.read = mirror_read,
};

static struct miscdevice mirror_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "soft_mirror",
	.fops = &mirror_fops,
};
module_misc_device(mirror_device);

MODULE_DESCRIPTION("The shortest subscriber to MMU notifiers");
MODULE_LICENSE("GPL");
