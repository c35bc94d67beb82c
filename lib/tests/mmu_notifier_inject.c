// SPDX-License-Identifier: GPL-2.0
/*
 * Take MMU notifier calls away, and stop a KVM fault between its lookup and
 * mmu_lock: for tests that must see what happens without the one and in the
 * window of the other. Not for production kernels.
 *
 * In debugfs, directory mmu_notifier_inject:
 *
 * mute		the name of a function that from now on returns 0 at once; an empty
 *		line lets all of them run again
 * fault_gfn	the guest frame whose next fault stops; all ones: none
 * fault_stopped	1 once a fault has stopped; reading waits for that, at most
 *		WAIT_SECONDS, after which it reads 0
 * fault_go	writing anything lets the fault go on
 */
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/error-injection.h>
#include <linux/init.h>
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define WAIT_SECONDS	30
#define NO_GFN		(~0ULL)

/* Keeps the probe from being optimised: its handler changes where to go on. */
static void not_optimised(struct kprobe *probe, struct pt_regs *regs,
			  unsigned long flags)
{
}

/* Muted functions. */

struct mute {
	struct list_head list;
	struct kprobe probe;
	char name[KSYM_NAME_LEN];
};

static LIST_HEAD(mutes);
static DEFINE_MUTEX(mutes_lock);

static int return_at_once(struct kprobe *probe, struct pt_regs *regs)
{
	regs_set_return_value(regs, 0);
	override_function_with_return(regs);
	return 1;
}
NOKPROBE_SYMBOL(return_at_once);

static int mute(const char *name)
{
	struct mute *mute = kzalloc_obj(*mute, GFP_KERNEL);
	int ret;

	if (!mute)
		return -ENOMEM;
	strscpy(mute->name, name);
	mute->probe.symbol_name = mute->name;
	mute->probe.pre_handler = return_at_once;
	mute->probe.post_handler = not_optimised;
	ret = register_kprobe(&mute->probe);
	if (ret) {
		kfree(mute);
		return ret;
	}
	list_add(&mute->list, &mutes);
	return 0;
}

static void unmute_all(void)
{
	struct mute *mute, *next;

	list_for_each_entry_safe(mute, next, &mutes, list) {
		unregister_kprobe(&mute->probe);
		list_del(&mute->list);
		kfree(mute);
	}
}

static ssize_t mute_write(struct file *file, const char __user *buf,
			  size_t count, loff_t *pos)
{
	char name[KSYM_NAME_LEN];
	ssize_t len;
	int ret = 0;

	len = simple_write_to_buffer(name, sizeof(name) - 1, pos, buf, count);
	if (len < 0)
		return len;
	name[len] = '\0';

	guard(mutex)(&mutes_lock);
	if (*strim(name))
		ret = mute(strim(name));
	else
		unmute_all();
	return ret ?: count;
}

static const struct file_operations mute_fops = {
	.owner = THIS_MODULE,
	.write = mute_write,
};

/* The fault that stops. */

static u64 fault_gfn = NO_GFN;
static struct task_struct *looking_up;
static DECLARE_COMPLETION(fault_stopped);
static DECLARE_COMPLETION(fault_go);

/* Runs in the place of the function that is probed, as its caller sees it. */
static kvm_pfn_t faultin_and_stop(const struct kvm_memory_slot *slot, gfn_t gfn,
				  unsigned int foll, bool *writable,
				  struct page **refcounted_page)
{
	kvm_pfn_t pfn;

	WRITE_ONCE(looking_up, current);
	pfn = __kvm_faultin_pfn(slot, gfn, foll, writable, refcounted_page);
	WRITE_ONCE(looking_up, NULL);

	complete(&fault_stopped);
	wait_for_completion_timeout(&fault_go, WAIT_SECONDS * HZ);
	return pfn;
}

static int faultin_handler(struct kprobe *probe, struct pt_regs *regs)
{
	if (READ_ONCE(looking_up) == current)
		return 0;
	if (regs_get_kernel_argument(regs, 1) != READ_ONCE(fault_gfn))
		return 0;

	/* One fault only. */
	WRITE_ONCE(fault_gfn, NO_GFN);
	instruction_pointer_set(regs, (unsigned long)faultin_and_stop);
	return 1;
}
NOKPROBE_SYMBOL(faultin_handler);

static struct kprobe faultin_probe = {
	.symbol_name = "__kvm_faultin_pfn",
	.pre_handler = faultin_handler,
	.post_handler = not_optimised,
};

static int fault_gfn_set(void *data, u64 gfn)
{
	reinit_completion(&fault_stopped);
	reinit_completion(&fault_go);
	WRITE_ONCE(fault_gfn, gfn);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(fault_gfn_fops, NULL, fault_gfn_set, "%llu\n");

static int fault_stopped_get(void *data, u64 *stopped)
{
	*stopped = !!wait_for_completion_timeout(&fault_stopped,
						 WAIT_SECONDS * HZ);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(fault_stopped_fops, fault_stopped_get, NULL, "%llu\n");

static int fault_go_set(void *data, u64 ignored)
{
	complete(&fault_go);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(fault_go_fops, NULL, fault_go_set, "%llu\n");

static int __init mmu_notifier_inject_init(void)
{
	struct dentry *dir;
	int ret;

	ret = register_kprobe(&faultin_probe);
	if (ret)
		return ret;

	dir = debugfs_create_dir("mmu_notifier_inject", NULL);
	debugfs_create_file("mute", 0200, dir, NULL, &mute_fops);
	debugfs_create_file_unsafe("fault_gfn", 0200, dir, NULL,
				   &fault_gfn_fops);
	debugfs_create_file_unsafe("fault_stopped", 0400, dir, NULL,
				   &fault_stopped_fops);
	debugfs_create_file_unsafe("fault_go", 0200, dir, NULL, &fault_go_fops);
	return 0;
}
late_initcall(mmu_notifier_inject_init);
