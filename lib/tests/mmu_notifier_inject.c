// SPDX-License-Identifier: GPL-2.0
/*
 * Take MMU notifier calls away, and stop a KVM fault between its lookup and
 * mmu_lock, or the refresh of a pfn cache likewise: for tests that must see what
 * happens without the one and in the window of the others. Not for production
 * kernels.
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

#include "../../virt/kvm/kvm_mm.h"
#include "mmu_notifier_inject.h"

#define WAIT_SECONDS	30
#define NOWHERE		(~0ULL)

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

/* Lookups that stop. */

/**
 * struct stop - stops one lookup of a page, behind it
 * @where: what it looks up, NOWHERE if none shall stop
 * @inside: the thread that is in the function that is probed
 * @stopped: a lookup has stopped
 * @go: it may go on
 */
struct stop {
	u64 where;
	struct task_struct *inside;
	struct completion stopped;
	struct completion go;
};

static struct stop stops[MMU_NOTIFIER_INJECT_CACHE + 1];

static void stops_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(stops); i++) {
		stops[i].where = NOWHERE;
		init_completion(&stops[i].stopped);
		init_completion(&stops[i].go);
	}
}

/* Is this the lookup that is to stop? One only. */
static bool is_stop(struct stop *stop, u64 where)
{
	if (READ_ONCE(stop->inside) == current ||
	    where != READ_ONCE(stop->where))
		return false;
	WRITE_ONCE(stop->where, NOWHERE);
	return true;
}
NOKPROBE_SYMBOL(is_stop);

static void stop_here(struct stop *stop)
{
	complete(&stop->stopped);
	wait_for_completion_timeout(&stop->go, WAIT_SECONDS * HZ);
}

/**
 * mmu_notifier_inject_stop - stop the next lookup of a page
 * @what: of a fault, or of a cache
 * @where: the guest frame; of a cache: the address in the process
 *
 * May be called while one is stopped, which mmu_notifier_inject_go() lets go on
 * before the next.
 */
void mmu_notifier_inject_stop(enum mmu_notifier_inject what, u64 where)
{
	reinit_completion(&stops[what].stopped);
	reinit_completion(&stops[what].go);
	WRITE_ONCE(stops[what].where, where);
}

bool mmu_notifier_inject_stopped(enum mmu_notifier_inject what)
{
	return completion_done(&stops[what].stopped);
}

void mmu_notifier_inject_go(enum mmu_notifier_inject what)
{
	complete(&stops[what].go);
}

/* Run in the place of the functions that are probed, as their callers see it. */

static kvm_pfn_t faultin_and_stop(const struct kvm_memory_slot *slot, gfn_t gfn,
				  unsigned int foll, bool *writable,
				  struct page **refcounted_page)
{
	struct stop *stop = &stops[MMU_NOTIFIER_INJECT_FAULT];
	kvm_pfn_t pfn;

	WRITE_ONCE(stop->inside, current);
	pfn = __kvm_faultin_pfn(slot, gfn, foll, writable, refcounted_page);
	WRITE_ONCE(stop->inside, NULL);
	stop_here(stop);
	return pfn;
}

static int faultin_handler(struct kprobe *probe, struct pt_regs *regs)
{
	if (!is_stop(&stops[MMU_NOTIFIER_INJECT_FAULT],
		     regs_get_kernel_argument(regs, 1)))
		return 0;
	instruction_pointer_set(regs, (unsigned long)faultin_and_stop);
	return 1;
}
NOKPROBE_SYMBOL(faultin_handler);

static struct kprobe faultin_probe = {
	.symbol_name = "__kvm_faultin_pfn",
	.pre_handler = faultin_handler,
	.post_handler = not_optimised,
};

#ifdef CONFIG_HAVE_KVM_PFNCACHE
static kvm_pfn_t cache_and_stop(struct kvm_follow_pfn *kfp)
{
	struct stop *stop = &stops[MMU_NOTIFIER_INJECT_CACHE];
	kvm_pfn_t pfn;

	WRITE_ONCE(stop->inside, current);
	pfn = hva_to_pfn(kfp);
	WRITE_ONCE(stop->inside, NULL);
	stop_here(stop);
	return pfn;
}

static int cache_handler(struct kprobe *probe, struct pt_regs *regs)
{
	struct kvm_follow_pfn *kfp = (void *)regs_get_kernel_argument(regs, 0);

	if (!is_stop(&stops[MMU_NOTIFIER_INJECT_CACHE], kfp->hva))
		return 0;
	instruction_pointer_set(regs, (unsigned long)cache_and_stop);
	return 1;
}
NOKPROBE_SYMBOL(cache_handler);

static struct kprobe cache_probe = {
	.symbol_name = "hva_to_pfn",
	.pre_handler = cache_handler,
	.post_handler = not_optimised,
};
#endif

/* Files. */

static int fault_gfn_set(void *data, u64 gfn)
{
	mmu_notifier_inject_stop(MMU_NOTIFIER_INJECT_FAULT, gfn);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(fault_gfn_fops, NULL, fault_gfn_set, "%llu\n");

static int fault_stopped_get(void *data, u64 *stopped)
{
	struct stop *stop = &stops[MMU_NOTIFIER_INJECT_FAULT];

	*stopped = !!wait_for_completion_timeout(&stop->stopped,
						 WAIT_SECONDS * HZ);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(fault_stopped_fops, fault_stopped_get, NULL, "%llu\n");

static int fault_go_set(void *data, u64 ignored)
{
	mmu_notifier_inject_go(MMU_NOTIFIER_INJECT_FAULT);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(fault_go_fops, NULL, fault_go_set, "%llu\n");

static int __init mmu_notifier_inject_init(void)
{
	struct dentry *dir;
	int ret;

	stops_init();
	ret = register_kprobe(&faultin_probe);
	if (ret)
		return ret;
#ifdef CONFIG_HAVE_KVM_PFNCACHE
	ret = register_kprobe(&cache_probe);
	if (ret) {
		unregister_kprobe(&faultin_probe);
		return ret;
	}
#endif

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
