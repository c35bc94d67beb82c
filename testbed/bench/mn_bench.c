// SPDX-License-Identifier: GPL-2.0
/*
 * Subscribes the process that asks, with callbacks that do nothing: what remains
 * is the cost of the subsystem. Uses what mainline and ours have in common, so
 * that the same source is built against either.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>

#include <trace/events/kmem.h>

#include "mn_bench.h"

#define MAX_SUBSCRIPTIONS 8

struct mnb {
	struct mutex lock;		/* of all that follows */
	struct mm_struct *mm;
	unsigned int subscribed;
	struct mmu_notifier *subscription[MAX_SUBSCRIPTIONS];
	unsigned long intervals;
	struct mmu_interval_notifier *interval;		/* an array */
	struct mmu_interval_notifier extra;
	bool has_extra;
};

static int empty_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	return 0;
}

static void empty_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
}

static int sleepy_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	if (mmu_notifier_range_blockable(range))
		msleep(MSEC_PER_SEC);
	return 0;
}

static const struct mmu_notifier_ops empty_ops = {
	.invalidate_range_start = empty_start,
	.invalidate_range_end = empty_end,
};

static const struct mmu_notifier_ops sleepy_ops = {
	.invalidate_range_start = sleepy_start,
	.invalidate_range_end = empty_end,
};

static bool interval_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range, unsigned long seq)
{
	mmu_interval_set_seq(mni, seq);
	return true;
}

static const struct mmu_interval_notifier_ops interval_ops = {
	.invalidate = interval_invalidate,
};

static int subscribe(struct mnb *b, const struct mmu_notifier_ops *ops)
{
	struct mmu_notifier *new;
	int ret;

	if (b->subscribed == MAX_SUBSCRIPTIONS)
		return -ENOSPC;
	new = kzalloc_obj(*new);
	if (!new)
		return -ENOMEM;
	new->ops = ops;
	ret = mmu_notifier_register(new, b->mm);
	if (ret) {
		kfree(new);
		return ret;
	}
	b->subscription[b->subscribed++] = new;
	return 0;
}

static void unsubscribe(struct mnb *b)
{
	while (b->subscribed) {
		struct mmu_notifier *old = b->subscription[--b->subscribed];

		mmu_notifier_unregister(old, b->mm);
		kfree(old);
	}
}

static void clear_intervals(struct mnb *b)
{
	while (b->intervals)
		mmu_interval_notifier_remove(&b->interval[--b->intervals]);
	kvfree(b->interval);
	b->interval = NULL;
}

static int make_intervals(struct mnb *b, unsigned long arg)
{
	struct mnb_intervals want;
	int ret = 0;

	if (copy_from_user(&want, (void __user *)arg, sizeof(want)))
		return -EFAULT;
	if (b->intervals || !want.count || want.count > 1000000)
		return -EINVAL;
	b->interval = kvcalloc(want.count, sizeof(*b->interval), GFP_KERNEL);
	if (!b->interval)
		return -ENOMEM;
	while (!ret && b->intervals < want.count) {
		ret = mmu_interval_notifier_insert(&b->interval[b->intervals], b->mm,
						   want.start + 2 * b->intervals * PAGE_SIZE,
						   PAGE_SIZE, &interval_ops);
		b->intervals += !ret;
	}
	if (ret)
		clear_intervals(b);
	return ret;
}

static int insert_extra(struct mnb *b, unsigned long address)
{
	int ret;

	if (b->has_extra)
		return -EBUSY;
	ret = mmu_interval_notifier_insert(&b->extra, b->mm, address & PAGE_MASK, PAGE_SIZE,
					   &interval_ops);
	b->has_extra = !ret;
	return ret;
}

static int remove_extra(struct mnb *b)
{
	if (!b->has_extra)
		return -ENOENT;
	mmu_interval_notifier_remove(&b->extra);
	b->has_extra = false;
	return 0;
}

/* What mm/ calls. Modules are not meant to. */

#ifdef MMU_NOTIFIER_RANGE_SPAN
#define SECTION_START	"__mmu_notifier_range_start"
#define SECTION_END	"__mmu_notifier_range_end"
#define SECTION_FLAGS	(MMU_NOTIFIER_RANGE_BLOCKABLE | MMU_NOTIFIER_RANGE_SPAN)
#else
#define SECTION_START	"__mmu_notifier_invalidate_range_start"
#define SECTION_END	"__mmu_notifier_invalidate_range_end"
#define SECTION_FLAGS	MMU_NOTIFIER_RANGE_BLOCKABLE
#endif

static int (*section_start)(struct mmu_notifier_range *range);
static void (*section_end)(struct mmu_notifier_range *range);

static void *find_function(const char *name)
{
	struct kprobe probe = { .symbol_name = name };
	int ret = register_kprobe(&probe);

	if (ret)
		return NULL;
	unregister_kprobe(&probe);
	return probe.addr;
}

static void one_section(struct mm_struct *mm, unsigned long address)
{
	struct mmu_notifier_range range = {
		.mm = mm,
		.start = address,
		.end = address + PAGE_SIZE,
		.flags = SECTION_FLAGS,
		.event = MMU_NOTIFY_CLEAR,
	};

	if (!section_start(&range))
		section_end(&range);
}

static int make_sections(struct mnb *b, unsigned long arg)
{
	struct mnb_sections want;
	u64 state, page;

	if (copy_from_user(&want, (void __user *)arg, sizeof(want)))
		return -EFAULT;
	if (want.count < 2 || want.times > 1000000)
		return -EINVAL;
	for (state = want.first; want.times; want.times--) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		page = want.first + (state >> 33) % (want.count / 2) * 2;
		page = page / 2 * 2 + !!want.odd;
		if (!want.idle)
			one_section(b->mm, want.start + page * PAGE_SIZE);
		if (want.times % 64 == 0)
			cond_resched();
	}
	return 0;
}

/* What one task allocates. */
struct scales {
	struct task_struct *task;
	u64 bytes;
};

static void weigh_kmalloc(void *data, unsigned long from, const void *object, size_t asked,
			  size_t given, gfp_t gfp, int node)
{
	struct scales *scales = data;

	if (scales->task == current)
		scales->bytes += given;
}

static void weigh_cache(void *data, unsigned long from, const void *object,
			struct kmem_cache *cache, gfp_t gfp, int node)
{
	struct scales *scales = data;

	if (scales->task == current)
		scales->bytes += kmem_cache_size(cache);
}

static int weigh(struct mnb *b, unsigned long arg)
{
	struct mnb_weighed __user *weighed = (void __user *)arg;
	struct scales scales = { .task = current };
	struct mnb_weighed want;
	int ret;

	if (copy_from_user(&want, weighed, sizeof(want)))
		return -EFAULT;
	if (want.command != MNB_SUBSCRIBE && want.command != MNB_INSERT)
		return -EINVAL;
	ret = register_trace_kmalloc(weigh_kmalloc, &scales);
	if (ret)
		return ret;
	ret = register_trace_kmem_cache_alloc(weigh_cache, &scales);
	if (!ret) {
		scales.bytes = 0;
		ret = want.command == MNB_INSERT ? insert_extra(b, want.argument) :
						   subscribe(b, &empty_ops);
		want.bytes = scales.bytes;
		unregister_trace_kmem_cache_alloc(weigh_cache, &scales);
	}
	unregister_trace_kmalloc(weigh_kmalloc, &scales);
	tracepoint_synchronize_unregister();
	if (!ret && copy_to_user(weighed, &want, sizeof(want)))
		ret = -EFAULT;
	return ret;
}

static int tell_sizes(unsigned long arg)
{
	struct mnb_sizes sizes = {
		.mm = sizeof(struct mm_struct),
		.subscription = sizeof(struct mmu_notifier),
		.interval = sizeof(struct mmu_interval_notifier),
	};

	return copy_to_user((void __user *)arg, &sizes, sizeof(sizes)) ? -EFAULT : 0;
}

static long mnb_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	struct mnb *b = file->private_data;

	if (command == MNB_NOTHING)
		return 0;
	if (command == MNB_SIZES)
		return tell_sizes(arg);
	if (b->mm != current->mm)
		return -EPERM;
	/* From several threads at once. */
	if (command == MNB_SECTIONS)
		return make_sections(b, arg);

	guard(mutex)(&b->lock);

	switch (command) {
	case MNB_SUBSCRIBE:
		return subscribe(b, &empty_ops);
	case MNB_SLEEPY:
		return subscribe(b, &sleepy_ops);
	case MNB_UNSUBSCRIBE:
		unsubscribe(b);
		return 0;
	case MNB_INTERVALS:
		return make_intervals(b, arg);
	case MNB_INSERT:
		return insert_extra(b, arg);
	case MNB_REMOVE:
		return remove_extra(b);
	case MNB_WEIGH:
		return weigh(b, arg);
	case MNB_CLEAR:
		clear_intervals(b);
		return 0;
	}
	return -ENOTTY;
}

static int mnb_open(struct inode *inode, struct file *file)
{
	struct mnb *b = kzalloc_obj(*b);

	if (!b)
		return -ENOMEM;
	mutex_init(&b->lock);
	b->mm = current->mm;
	mmgrab(b->mm);
	file->private_data = b;
	return 0;
}

static int mnb_release(struct inode *inode, struct file *file)
{
	struct mnb *b = file->private_data;

	remove_extra(b);
	clear_intervals(b);
	unsubscribe(b);
	mmdrop(b->mm);
	kfree(b);
	return 0;
}

static const struct file_operations mnb_fops = {
	.owner = THIS_MODULE,
	.open = mnb_open,
	.release = mnb_release,
	.unlocked_ioctl = mnb_ioctl,
};

static struct miscdevice mnb_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mn_bench",
	.fops = &mnb_fops,
};

static int __init mnb_init(void)
{
	section_start = find_function(SECTION_START);
	section_end = find_function(SECTION_END);
	if (!section_start || !section_end)
		return -ENOENT;
	return misc_register(&mnb_device);
}
module_init(mnb_init);

static void __exit mnb_exit(void)
{
	misc_deregister(&mnb_device);
}
module_exit(mnb_exit);

MODULE_DESCRIPTION("MMU notifiers with nothing behind them, to be measured");
MODULE_LICENSE("GPL");
