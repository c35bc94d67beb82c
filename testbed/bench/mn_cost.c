// SPDX-License-Identifier: GPL-2.0
/*
 * What the notifiers take with the callbacks behind them: files of
 * /sys/kernel/debug/mn_cost with the calls from mm/ to each function, and
 * nanoseconds of all of them. Probes what mm/ calls on mainline and on ours; what a
 * probe takes itself is measured, too, and left out. For one CPU, callbacks that
 * do not sleep, and probes that are not optimized.
 */
#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/kprobes.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched/clock.h>

#define TRIES	1000

struct mnc {
	struct kretprobe probe;
	atomic64_t count, total;
};

/* Preemption stays off for the call, or the time of other tasks would be in it. */
static int keep_time(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	__preempt_count_add(1);
	*(u64 *)instance->data = local_clock();
	return 0;
}
NOKPROBE_SYMBOL(keep_time);

static int add_time(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	u64 time = local_clock() - *(u64 *)instance->data;
	struct mnc *cost =
		container_of(get_kretprobe(instance), struct mnc, probe);

	atomic64_inc(&cost->count);
	atomic64_add(time, &cost->total);
	__preempt_count_sub(1);
	return 0;
}
NOKPROBE_SYMBOL(add_time);

/* To find out what a probe takes; an instruction for it that is not emulated. */
static noinline void mn_cost_nothing(void)
{
	asm volatile("xorl %%eax, %%eax" : : : "eax");
}

#define COST_OF(name)							\
	{ .probe = { .kp.symbol_name = (name), .entry_handler = keep_time, \
		     .handler = add_time, .data_size = sizeof(u64),	\
		     .maxactive = 256 } }

/* Of either kernel or of both; what one does not have is not probed. */
static struct mnc costs[] = {
	COST_OF("__mmu_notifier_invalidate_range_start"),
	COST_OF("__mmu_notifier_invalidate_range_end"),
	COST_OF("__mmu_notifier_arch_invalidate_secondary_tlbs"),
	COST_OF("__mmu_notifier_range_start"),
	COST_OF("__mmu_notifier_range_end"),
	COST_OF("__mmu_notifier_invalidate_page"),
	COST_OF("__mmu_notifier_invalidate_page_batched"),
	COST_OF("__mmu_notifier_flush_batch"),
	COST_OF("__mmu_notifier_clear_flush_young"),
	COST_OF("__mmu_notifier_clear_young"),
	COST_OF("__mmu_notifier_test_young"),
	COST_OF("__mmu_notifier_test_young_pages"),
	COST_OF("__mmu_notifier_clear_young_pages"),
	COST_OF("__mmu_notifier_clear_young_list"),
};

static struct mnc nothing = COST_OF("mn_cost_nothing");

static int count_get(void *data, u64 *value)
{
	*value = atomic64_read(&((struct mnc *)data)->count);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(count_fops, count_get, NULL, "%llu\n");

static int total_get(void *data, u64 *value)
{
	struct mnc *cost = data;
	u64 count = atomic64_read(&cost->count), probed;

	for (int i = 0; i < TRIES; i++)
		mn_cost_nothing();
	probed = div64_u64(atomic64_read(&nothing.total) * count,
			   atomic64_read(&nothing.count));
	*value = atomic64_read(&cost->total) - probed;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(total_fops, total_get, NULL, "%llu\n");

/* Calls that found no room to keep their time. */
static int missed_get(void *unused, u64 *value)
{
	*value = 0;
	for (int i = 0; i < ARRAY_SIZE(costs); i++)
		*value += costs[i].probe.nmissed;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(missed_fops, missed_get, NULL, "%llu\n");

static int register_probes(void)
{
	for (int i = 0; i < ARRAY_SIZE(costs); i++) {
		int ret = register_kretprobe(&costs[i].probe);

		if (!ret || ret == -ENOENT)
			continue;
		while (i--)
			unregister_kretprobe(&costs[i].probe);
		return ret;
	}
	return 0;
}

static void create_files(struct dentry *dir, struct mnc *cost)
{
	const char *function = cost->probe.kp.symbol_name;
	char name[64];

	snprintf(name, sizeof(name), "%s.count", function);
	debugfs_create_file_unsafe(name, 0400, dir, cost, &count_fops);
	snprintf(name, sizeof(name), "%s.total_ns", function);
	debugfs_create_file_unsafe(name, 0400, dir, cost, &total_fops);
}

static int __init mn_cost_init(void)
{
	struct dentry *dir;
	int ret;

	ret = register_kretprobe(&nothing.probe);
	if (ret)
		return ret;
	ret = register_probes();
	if (ret) {
		unregister_kretprobe(&nothing.probe);
		return ret;
	}
	dir = debugfs_create_dir("mn_cost", NULL);
	for (int i = 0; i < ARRAY_SIZE(costs); i++)
		create_files(dir, &costs[i]);
	debugfs_create_file_unsafe("missed", 0400, dir, NULL, &missed_fops);
	return 0;
}
/* Stays until the machine ends: there is no exit. */
module_init(mn_cost_init);

MODULE_DESCRIPTION("What the notifiers take with the callbacks behind them");
MODULE_LICENSE("GPL");
