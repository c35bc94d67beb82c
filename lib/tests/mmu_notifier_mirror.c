// SPDX-License-Identifier: GPL-2.0
/*
 * A secondary MMU that has no hardware: /dev/mmu_notifier_mirror keeps translations
 * of the process that opened it, faults more of them in when it is asked to, and
 * tells whether one was there that may not be. mmu_notifier_mirror.h has its
 * calls. A program fills it from some threads while others change the same memory
 * in every way there is. Not for production kernels.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mmu_notifier_mirror_internal.h"

/* Held by SETUP; file::private_data does not change any more once it is set. */
static DEFINE_MUTEX(setup_lock);

static void init_mirror(struct mirror_space *space, enum mirror_kind kind)
{
	struct mirror *m = &space->mirrors[kind];

	m->space = space;
	m->kind = kind;
	init_rwsem(&m->life);
	mutex_init(&m->device);
	spin_lock_init(&m->lock);
}

static void destroy(struct mirror_space *space)
{
	mirror_tables_free(space);
	mmdrop(space->mm);
	kfree(space);
}

static void unsubscribe_all(struct mirror_space *space)
{
	int kind;

	for (kind = 0; kind < MIRROR_KINDS; kind++)
		mirror_unsubscribe(&space->mirrors[kind]);
}

static int subscribe_all(struct mirror_space *space)
{
	int kind, ret = 0;

	for (kind = 0; !ret && kind < MIRROR_KINDS; kind++)
		ret = mirror_subscribe(&space->mirrors[kind]);
	if (ret)
		unsubscribe_all(space);
	return ret;
}

static int start(struct mirror_space *space)
{
	int ret;

	ret = mirror_tables_alloc(space);
	if (ret)
		return ret;
	ret = mirror_watch_free(space);
	if (ret)
		return ret;
	ret = subscribe_all(space);
	if (ret)
		mirror_unwatch_free(space);
	return ret;
}

static struct mirror_space *create(const struct mirror_setup *setup)
{
	struct mirror_space *space;
	int kind, ret;

	if (!setup->length || setup->start % SZ_2M || setup->length % SZ_2M ||
	    setup->start >= TASK_SIZE || setup->length > TASK_SIZE - setup->start ||
	    setup->kinds >= BIT(MIRROR_KINDS) || setup->unused)
		return ERR_PTR(-EINVAL);

	space = kzalloc_obj(*space);
	if (!space)
		return ERR_PTR(-ENOMEM);
	space->setup = *setup;
	space->nr_pages = setup->length / PAGE_SIZE;
	space->mm = current->mm;
	mmgrab(space->mm);
	for (kind = 0; kind < MIRROR_KINDS; kind++)
		init_mirror(space, kind);

	ret = start(space);
	if (ret) {
		destroy(space);
		return ERR_PTR(ret);
	}
	return space;
}

static int set_up(struct file *file, void __user *arg)
{
	struct mirror_space *space;
	struct mirror_setup setup;

	if (copy_from_user(&setup, arg, sizeof(setup)))
		return -EFAULT;

	guard(mutex)(&setup_lock);

	if (file->private_data)
		return -EBUSY;
	space = create(&setup);
	if (IS_ERR(space))
		return PTR_ERR(space);
	/* Pairs with the acquire in mirror_ioctl(). */
	smp_store_release(&file->private_data, space);
	return 0;
}

static int fill(struct mirror_space *space, void __user *arg)
{
	struct mirror_fill fill;

	if (copy_from_user(&fill, arg, sizeof(fill)))
		return -EFAULT;
	if (fill.kind >= MIRROR_KINDS || !mirror_covers(space, fill.start, fill.pages))
		return -EINVAL;
	return mirror_fill(space, &fill);
}

static int audit(struct mirror_space *space, void __user *arg)
{
	struct mirror_audit audit;

	if (copy_from_user(&audit, arg, sizeof(audit)))
		return -EFAULT;
	if (!mirror_covers(space, audit.start, audit.pages))
		return -EINVAL;
	mirror_audit(space, audit.start, audit.pages);
	return 0;
}

/* Unsubscribes and subscribes again, in the middle of whatever runs. */
static int cycle(struct mirror_space *space, unsigned long kind)
{
	struct mirror *m;

	if (kind >= MIRROR_KINDS)
		return -EINVAL;
	m = &space->mirrors[kind];

	guard(rwsem_write)(&m->life);

	mirror_unsubscribe(m);
	return mirror_subscribe(m);
}

static void add_stats(struct mirror_stats *stats, struct mirror *m)
{
	unsigned long i;

	guard(spinlock)(&m->lock);

	stats->established[m->kind] = m->stats.established;
	stats->retried[m->kind] = m->stats.retried;
	stats->page_calls[m->kind] = m->stats.page_calls;
	stats->range_calls[m->kind] = m->stats.range_calls;
	stats->dropped[m->kind] = m->stats.dropped;
	stats->deferred[m->kind] = m->stats.deferred;
	stats->ignored[m->kind] = m->stats.ignored;
	for (i = 0; i < m->space->nr_pages / MIRROR_CHUNK; i++)
		stats->open += m->chunks[i].open;
}

static int tell_stats(struct mirror_space *space, void __user *arg)
{
	struct mirror_stats stats = { .compared = atomic64_read(&space->compared) };
	int i;

	for (i = 0; i < MIRROR_KINDS; i++)
		add_stats(&stats, &space->mirrors[i]);
	/* Pages are freed meanwhile. */
	for_each_possible_cpu(i)
		stats.freed += READ_ONCE(*per_cpu_ptr(space->freed, i));
	for (i = 0; i < MIRROR_FAULTS; i++)
		stats.stale[i] = atomic64_read(&space->stale[i]);
	return copy_to_user(arg, &stats, sizeof(stats)) ? -EFAULT : 0;
}

static long mirror_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	/* Pairs with the release in set_up(). */
	struct mirror_space *space = smp_load_acquire(&file->private_data);
	void __user *where = (void __user *)arg;

	if (command == MIRROR_IOC_SETUP)
		return set_up(file, where);
	if (!space)
		return -EINVAL;
	if (space->mm != current->mm)
		return -EPERM;

	switch (command) {
	case MIRROR_IOC_FILL:
		return fill(space, where);
	case MIRROR_IOC_AUDIT:
		return audit(space, where);
	case MIRROR_IOC_CYCLE:
		return cycle(space, arg);
	case MIRROR_IOC_STATS:
		return tell_stats(space, where);
	}
	return -ENOTTY;
}

/* misc_open() leaves the device in private_data. */
static int mirror_dev_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return 0;
}

static int mirror_dev_release(struct inode *inode, struct file *file)
{
	struct mirror_space *space = file->private_data;

	if (space) {
		unsubscribe_all(space);
		mirror_unwatch_free(space);
		destroy(space);
	}
	return 0;
}

static const struct file_operations mirror_fops = {
	.owner = THIS_MODULE,
	.open = mirror_dev_open,
	.release = mirror_dev_release,
	.unlocked_ioctl = mirror_ioctl,
};

static struct miscdevice mirror_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mmu_notifier_mirror",
	.fops = &mirror_fops,
};

builtin_misc_device(mirror_device);
