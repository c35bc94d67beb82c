// SPDX-License-Identifier: GPL-2.0
/*
 * What the notifiers take with the callbacks behind them: files of
 * /sys/kernel/debug/mn_cost with the number of calls from mm/, and nanoseconds of
 * all. Probes the functions that mm/ calls on mainline and on ours; what a probe
 * takes itself is measured before, and left out.
 */
#include <linux/debugfs.h>
#include <linux/kprobes.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/sched/clock.h>

#define TRIES	1024

struct mnc {
	u64 count, total;
};

static DEFINE_PER_CPU(struct mnc, costs);
static u64 probe_ns;		/* what a probe takes of a call, times TRIES */

static int keep_time(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(u64 *)instance->data = local_clock();
	return 0;
}
NOKPROBE_SYMBOL(keep_time);

static int add_time(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	u64 time = local_clock() - *(u64 *)instance->data;
	struct mnc *cost = this_cpu_ptr(&costs);

	cost->count++;
	cost->total += time;
	return 0;
}
NOKPROBE_SYMBOL(add_time);

/* Nothing, to find out what a probe takes. */
static noinline void mn_cost_nothing(void)
{
	barrier();
}

#define RETURN_PROBE(name)						\
	{ .kp.symbol_name = (name), .entry_handler = keep_time,		\
	  .handler = add_time, .data_size = sizeof(u64), .maxactive = 256 }

/* Of either kernel or of both; what one does not have is not probed. */
static struct kretprobe probes[] = {
	RETURN_PROBE("__mmu_notifier_invalidate_range_start"),
	RETURN_PROBE("__mmu_notifier_invalidate_range_end"),
	RETURN_PROBE("__mmu_notifier_arch_invalidate_secondary_tlbs"),
	RETURN_PROBE("__mmu_notifier_range_start"),
	RETURN_PROBE("__mmu_notifier_range_end"),
	RETURN_PROBE("__mmu_notifier_invalidate_page"),
	RETURN_PROBE("__mmu_notifier_invalidate_page_batched"),
	RETURN_PROBE("__mmu_notifier_flush_batch"),
	RETURN_PROBE("__mmu_notifier_clear_flush_young"),
	RETURN_PROBE("__mmu_notifier_clear_young"),
	RETURN_PROBE("__mmu_notifier_test_young"),
	RETURN_PROBE("__mmu_notifier_test_young_pages"),
	RETURN_PROBE("__mmu_notifier_clear_young_pages"),
};

static struct kretprobe nothing = RETURN_PROBE("mn_cost_nothing");

static u64 sum_of(u64 __percpu *field)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += *per_cpu_ptr(field, cpu);
	return sum;
}

static int count_get(void *unused, u64 *value)
{
	*value = sum_of(&costs.count);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(count_fops, count_get, NULL, "%llu\n");

static int total_get(void *unused, u64 *value)
{
	u64 probed = div_u64(sum_of(&costs.count) * probe_ns, TRIES);
	u64 total = sum_of(&costs.total);

	*value = total > probed ? total - probed : 0;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(total_fops, total_get, NULL, "%llu\n");

/* Calls that found no room to keep their time. */
static int missed_get(void *unused, u64 *value)
{
	*value = 0;
	for (int i = 0; i < ARRAY_SIZE(probes); i++)
		*value += probes[i].nmissed;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(missed_fops, missed_get, NULL, "%llu\n");

/* Leaves the counts as if nothing had been called. */
static int measure_probe(void)
{
	int cpu, ret = register_kretprobe(&nothing);

	if (ret)
		return ret;
	for (int i = 0; i < TRIES; i++)
		mn_cost_nothing();
	unregister_kretprobe(&nothing);
	probe_ns = sum_of(&costs.total);
	for_each_possible_cpu(cpu)
		per_cpu(costs, cpu) = (struct mnc){ };
	return 0;
}

static int register_probes(void)
{
	for (int i = 0; i < ARRAY_SIZE(probes); i++) {
		int ret = register_kretprobe(&probes[i]);

		if (!ret || ret == -ENOENT)
			continue;
		while (i--)
			unregister_kretprobe(&probes[i]);
		return ret;
	}
	return 0;
}

static int __init mn_cost_init(void)
{
	struct dentry *dir;
	int ret;

	ret = measure_probe();
	if (!ret)
		ret = register_probes();
	if (ret)
		return ret;
	dir = debugfs_create_dir("mn_cost", NULL);
	debugfs_create_file_unsafe("count", 0400, dir, NULL, &count_fops);
	debugfs_create_file_unsafe("total_ns", 0400, dir, NULL, &total_fops);
	debugfs_create_file_unsafe("missed", 0400, dir, NULL, &missed_fops);
	return 0;
}
/* Stays until the machine ends: there is no exit. */
module_init(mn_cost_init);

MODULE_DESCRIPTION("What the notifiers take with the callbacks behind them");
MODULE_LICENSE("GPL");
