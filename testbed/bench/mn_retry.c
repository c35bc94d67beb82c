// SPDX-License-Identifier: GPL-2.0
/*
 * Why KVM repeats a fault of a guest: files of /sys/kernel/debug/mn_retry, which
 * count faults that look a page up, and those that are repeated
 *
 *  - section: in a section that is open;
 *  - own: because looking the page up has itself replaced it;
 *  - page: because somebody else has taken this page away;
 *  - unrelated: because other memory of the process went away;
 *  - other: for none of these.
 *
 * Probes functions of KVM that both kernels have, and those of the core by which
 * either tells that memory goes away.
 */
#include <linux/debugfs.h>
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/spinlock.h>

#include "mmu.h"
#include "mmu/mmu_internal.h"

#define EVENTS	4096
#define VCPUS	64

/* What moves a sequence count of KVM: the end of a section, or a page. */
struct event {
	struct task_struct *task;
	struct mm_struct *mm;
	unsigned long start, end;
};

static DEFINE_RAW_SPINLOCK(lock);
static struct event events[EVENTS];
static unsigned long next;		/* event, counted from the beginning */
static unsigned long since[VCPUS];	/* the first of a vCPU's fault */

enum cause { SECTION, OWN, PAGE, UNRELATED, OTHER, CAUSES };

static const char * const names[] = {
	[SECTION] = "section", [OWN] = "own", [PAGE] = "page",
	[UNRELATED] = "unrelated", [OTHER] = "other",
};

static unsigned long faults, missed, repeated[CAUSES];

static void add_event(struct mm_struct *mm, unsigned long start,
		      unsigned long end)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&lock, flags);
	events[next++ % EVENTS] = (struct event){ current, mm, start, end };
	raw_spin_unlock_irqrestore(&lock, flags);
}
NOKPROBE_SYMBOL(add_event);

static int range_ends(struct kprobe *probe, struct pt_regs *regs)
{
	struct mmu_notifier_range *range =
		(void *)regs_get_kernel_argument(regs, 0);

	add_event(range->mm, range->start, range->end);
	return 0;
}
NOKPROBE_SYMBOL(range_ends);

/* Arguments are the range that the pages are of, their address and number. */
static int pages_go(struct kprobe *probe, struct pt_regs *regs)
{
	const struct mmu_notifier_range *range =
		(void *)regs_get_kernel_argument(regs, 0);
	unsigned long start = regs_get_kernel_argument(regs, 1);
	unsigned long nr_pages = regs_get_kernel_argument(regs, 2);

	add_event(range->mm, start, start + (nr_pages << PAGE_SHIFT));
	return 0;
}
NOKPROBE_SYMBOL(pages_go);

static bool in_section(struct kvm *kvm, gfn_t gfn)
{
	return READ_ONCE(kvm->mmu_invalidate_in_progress) &&
	       gfn >= kvm->mmu_invalidate_range_start &&
	       gfn < kvm->mmu_invalidate_range_end;
}
NOKPROBE_SYMBOL(in_section);

static enum cause find_cause(struct kvm_vcpu *vcpu,
			     const struct kvm_page_fault *fault)
{
	enum cause cause = OTHER;
	unsigned long hva, i;

	if (!fault->slot)
		return OTHER;
	if (in_section(vcpu->kvm, fault->gfn))
		return SECTION;
	hva = __gfn_to_hva_memslot(fault->slot, fault->gfn);
	for (i = since[vcpu->vcpu_idx % VCPUS]; i < next; i++) {
		const struct event *event = &events[i % EVENTS];

		if (event->mm != vcpu->kvm->mm)
			continue;
		if (hva < event->start || hva >= event->end)
			cause = min(cause, UNRELATED);
		else if (event->task != current)
			cause = min(cause, PAGE);
		else
			cause = OWN;
	}
	return cause;
}
NOKPROBE_SYMBOL(find_cause);

static void count_repeated(struct kvm_vcpu *vcpu,
			   const struct kvm_page_fault *fault)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&lock, flags);
	if (next - since[vcpu->vcpu_idx % VCPUS] > EVENTS)
		missed++;
	else
		repeated[find_cause(vcpu, fault)]++;
	raw_spin_unlock_irqrestore(&lock, flags);
}
NOKPROBE_SYMBOL(count_repeated);

/* For the return. */
struct call {
	struct kvm_vcpu *vcpu;
	struct kvm_page_fault *fault;
};

static int keep_call(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(struct call *)instance->data = (struct call){
		(void *)regs_get_kernel_argument(regs, 0),
		(void *)regs_get_kernel_argument(regs, 1),
	};
	return 0;
}
NOKPROBE_SYMBOL(keep_call);

static int lookup_begins(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kvm_vcpu *vcpu = (void *)regs_get_kernel_argument(regs, 0);
	unsigned long flags;

	raw_spin_lock_irqsave(&lock, flags);
	since[vcpu->vcpu_idx % VCPUS] = next;
	faults++;
	raw_spin_unlock_irqrestore(&lock, flags);
	return keep_call(instance, regs);
}
NOKPROBE_SYMBOL(lookup_begins);

static int lookup_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	const struct call *call = (void *)instance->data;

	if ((int)regs_return_value(regs) == RET_PF_RETRY)
		count_repeated(call->vcpu, call->fault);
	return 0;
}
NOKPROBE_SYMBOL(lookup_returns);

/* With mmu_lock held. A bool is one byte of the register. */
static int stale_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	const struct call *call = (void *)instance->data;

	if ((u8)regs_return_value(regs))
		count_repeated(call->vcpu, call->fault);
	return 0;
}
NOKPROBE_SYMBOL(stale_returns);

static struct kretprobe lookup_probe = {
	.kp.symbol_name = "kvm_mmu_faultin_pfn",
	.entry_handler = lookup_begins,
	.handler = lookup_returns,
	.data_size = sizeof(struct call),
	.maxactive = 2 * VCPUS,
};

static struct kretprobe stale_probe = {
	.kp.symbol_name = "is_page_fault_stale",
	.entry_handler = keep_call,
	.handler = stale_returns,
	.data_size = sizeof(struct call),
	.maxactive = 2 * VCPUS,
};

static struct kretprobe *returns[] = { &lookup_probe, &stale_probe };

/* Of one kernel or the other. */
static struct kprobe event_probes[] = {
	{ .symbol_name = "__mmu_notifier_invalidate_range_end",
	  .pre_handler = range_ends },
	{ .symbol_name = "__mmu_notifier_range_end", .pre_handler = range_ends },
	{ .symbol_name = "__mmu_notifier_invalidate_page",
	  .pre_handler = pages_go },
	{ .symbol_name = "__mmu_notifier_invalidate_page_batched",
	  .pre_handler = pages_go },
};

/* Calls that were not probed, and faults of too many events. */
static int missed_get(void *unused, u64 *value)
{
	*value = missed + lookup_probe.nmissed + stale_probe.nmissed;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(missed_fops, missed_get, NULL, "%llu\n");

/* Those that the kernel has. */
static int __init register_events(void)
{
	int i, ret, found = 0;

	for (i = 0; i < ARRAY_SIZE(event_probes); i++) {
		ret = register_kprobe(&event_probes[i]);
		if (!ret)
			found++;
		else if (ret != -ENOENT)
			return ret;
	}
	return found ? 0 : -ENOENT;
}

static void __init unregister_events(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(event_probes); i++)
		if (event_probes[i].addr)
			unregister_kprobe(&event_probes[i]);
}

static int __init mn_retry_init(void)
{
	struct dentry *dir;
	int i, ret;

	ret = register_kretprobes(returns, ARRAY_SIZE(returns));
	if (ret)
		return ret;
	ret = register_events();
	if (ret) {
		unregister_events();
		unregister_kretprobes(returns, ARRAY_SIZE(returns));
		return ret;
	}
	dir = debugfs_create_dir("mn_retry", NULL);
	debugfs_create_ulong("faults", 0400, dir, &faults);
	for (i = 0; i < CAUSES; i++)
		debugfs_create_ulong(names[i], 0400, dir, &repeated[i]);
	debugfs_create_file_unsafe("missed", 0400, dir, NULL, &missed_fops);
	return 0;
}
/* Stays until the machine ends: there is no exit. */
module_init(mn_retry_init);

MODULE_DESCRIPTION("Why KVM repeats a fault of a guest");
MODULE_LICENSE("GPL");
