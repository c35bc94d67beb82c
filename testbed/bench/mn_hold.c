// SPDX-License-Identifier: GPL-2.0
/*
 * How long reclaim holds the lock of a page table: from where a walk of the
 * reverse mapping returns with it, or aging has got it by trying, to where it is
 * dropped. Files of /sys/kernel/debug/mn_hold: how often, nanoseconds of all, of
 * the longest. Probes functions that mainline and ours have in common.
 *
 * An emulator that runs the CPUs by turns may run another one while the lock is
 * held. That takes longer than anything reclaim does, and is counted apart.
 */
#include <linux/debugfs.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rmap.h>
#include <linux/sched/clock.h>
#include <linux/sizes.h>
#include <linux/time64.h>

#define LONGEST_NS	NSEC_PER_MSEC

/* A CPU in reclaim holds one such lock at a time; its interrupts take none. */
struct mnh {
	spinlock_t *lock;
	u64 since;
	u64 count, total, longest, interrupted;
};

static DEFINE_PER_CPU(struct mnh, holds);

static void begin_hold(spinlock_t *lock)
{
	struct mnh *hold = this_cpu_ptr(&holds);

	hold->lock = lock;
	hold->since = local_clock();
}
NOKPROBE_SYMBOL(begin_hold);

static int end_hold(struct kprobe *probe, struct pt_regs *regs)
{
	struct mnh *hold = this_cpu_ptr(&holds);
	u64 time;

	if (!hold->lock ||
	    hold->lock != (void *)regs_get_kernel_argument(regs, 0))
		return 0;
	time = local_clock() - hold->since;
	hold->lock = NULL;
	if (time > LONGEST_NS) {
		hold->interrupted++;
		return 0;
	}
	hold->count++;
	hold->total += time;
	hold->longest = max(hold->longest, time);
	return 0;
}
NOKPROBE_SYMBOL(end_hold);

/* For the return: the argument, and the lock that a walk holds already. */
struct call {
	void *argument;
	spinlock_t *held;
};

static int keep_walk(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct page_vma_mapped_walk *walk = (void *)regs_get_kernel_argument(regs, 0);
	struct call *call = (void *)instance->data;

	*call = (struct call){ walk, walk->ptl };
	return 0;
}
NOKPROBE_SYMBOL(keep_walk);

static int walk_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct call *call = (void *)instance->data;
	struct page_vma_mapped_walk *walk = call->argument;

	if (!(u8)regs_return_value(regs) || !walk->ptl)
		return 0;
	/* One that goes on may have dropped the lock, and taken that of the next table. */
	if (walk->ptl != call->held || !this_cpu_read(holds.lock))
		begin_hold(walk->ptl);
	return 0;
}
NOKPROBE_SYMBOL(walk_returns);

static int keep_lock(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct call *call = (void *)instance->data;

	call->argument = (void *)regs_get_kernel_argument(regs, 0);
	return 0;
}
NOKPROBE_SYMBOL(keep_lock);

/* Locks within a struct page are those of page tables. */
static int trylock_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	spinlock_t *lock = ((struct call *)instance->data)->argument;

	if ((bool)regs_return_value(regs) && (unsigned long)lock >= VMEMMAP_START &&
	    (unsigned long)lock < VMEMMAP_START + SZ_1T)
		begin_hold(lock);
	return 0;
}
NOKPROBE_SYMBOL(trylock_returns);

static struct kretprobe walk_probe = {
	.kp.symbol_name = "page_vma_mapped_walk",
	.entry_handler = keep_walk,
	.handler = walk_returns,
	.data_size = sizeof(struct call),
};

static struct kretprobe trylock_probe = {
	.kp.symbol_name = "_raw_spin_trylock",
	.entry_handler = keep_lock,
	.handler = trylock_returns,
	.data_size = sizeof(struct call),
};

static struct kprobe unlock_probe = {
	.symbol_name = "_raw_spin_unlock",
	.pre_handler = end_hold,
};

static struct kretprobe *returns[] = { &walk_probe, &trylock_probe };

/* Of a field of all CPUs. */
static int sum_get(void *data, u64 *value)
{
	u64 __percpu *field = (u64 __percpu __force *)data;
	int cpu;

	*value = 0;
	for_each_possible_cpu(cpu)
		*value += *per_cpu_ptr(field, cpu);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(sum_fops, sum_get, NULL, "%llu\n");

static int longest_get(void *unused, u64 *value)
{
	int cpu;

	*value = 0;
	for_each_possible_cpu(cpu)
		*value = max(*value, per_cpu(holds, cpu).longest);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(longest_fops, longest_get, NULL, "%llu\n");

/* Calls that found no room to keep their argument. */
static int missed_get(void *unused, u64 *value)
{
	*value = walk_probe.nmissed + trylock_probe.nmissed;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(missed_fops, missed_get, NULL, "%llu\n");

static void create_sum(struct dentry *dir, const char *name, u64 __percpu *field)
{
	debugfs_create_file_unsafe(name, 0400, dir, (void __force *)field, &sum_fops);
}

static int __init mn_hold_init(void)
{
	struct dentry *dir;
	int ret;

	ret = register_kprobe(&unlock_probe);
	if (ret)
		return ret;
	ret = register_kretprobes(returns, ARRAY_SIZE(returns));
	if (ret) {
		unregister_kprobe(&unlock_probe);
		return ret;
	}
	dir = debugfs_create_dir("mn_hold", NULL);
	create_sum(dir, "count", &holds.count);
	create_sum(dir, "total_ns", &holds.total);
	create_sum(dir, "interrupted", &holds.interrupted);
	debugfs_create_file_unsafe("longest_ns", 0400, dir, NULL, &longest_fops);
	debugfs_create_file_unsafe("missed", 0400, dir, NULL, &missed_fops);
	return 0;
}
/* Stays until the machine ends: there is no exit. */
module_init(mn_hold_init);

MODULE_DESCRIPTION("How long reclaim holds the lock of a page table");
MODULE_LICENSE("GPL");
