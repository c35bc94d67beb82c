// SPDX-License-Identifier: GPL-2.0
/*
 * Take MMU notifier calls away, and stop a KVM fault between its lookup and
 * mmu_lock, or as soon as it has looked at the VMA, or the refresh of a pfn cache
 * behind its lookup: for tests that must see what happens without the one and in
 * the window of the others. Not for production kernels.
 *
 * In debugfs, directory mmu_notifier_inject:
 *
 * mute		the name of a function that from now on returns 0 at once; an empty
 *		line lets all of them run again
 * fault_gfn	the guest frame whose next fault stops; all ones: none
 * fault_stopped	1 once a fault has stopped; reading waits for that, at most
 *		WAIT_SECONDS, after which it reads 0
 * fault_go	writing anything lets the fault go on
 * fault_lookups	writing a guest frame counts the lookups of its page by faults,
 *		which reading tells
 * vma_gfn, vma_stopped, vma_go	the same for a fault that has looked at the VMA and
 *		drops mmap_lock; on arm64, whose KVM does that
 */
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/error-injection.h>
#include <linux/init.h>
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#ifdef CONFIG_ARM64
#include <asm/kvm_emulate.h>
#endif

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
 * struct stop - stops one lookup, behind it
 * @where: what it looks up, NOWHERE if none shall stop
 * @inside: the thread that is in the function that is probed, or on its way there
 * @stopped: a lookup has stopped
 * @go: it may go on
 */
struct stop {
	u64 where;
	struct task_struct *inside;
	struct completion stopped;
	struct completion go;
};

static struct stop stops[MMU_NOTIFIER_INJECT_VMA + 1];

/* Lookups of one guest frame by faults. */
static u64 counted_gfn = NOWHERE;
static atomic_t lookups;

/* How often faults have tried to map a page. */
static atomic_t attempts;

static bool is_inside(struct stop *stop)
{
	return READ_ONCE(stop->inside) == current;
}
NOKPROBE_SYMBOL(is_inside);

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
	if (is_inside(stop) || where != READ_ONCE(stop->where))
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

/* Whoever goes round behind a stop is seen here, also without another lookup. */
int mmu_notifier_inject_attempts(void)
{
	return atomic_read(&attempts);
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
	struct stop *stop = &stops[MMU_NOTIFIER_INJECT_FAULT];
	gfn_t gfn = regs_get_kernel_argument(regs, 1);

	if (!is_inside(stop) && gfn == READ_ONCE(counted_gfn))
		atomic_inc(&lookups);
	if (!is_stop(stop, gfn))
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

#ifdef CONFIG_X86
static int attempt_handler(struct kprobe *probe, struct pt_regs *regs)
{
	atomic_inc(&attempts);
	return 0;
}
NOKPROBE_SYMBOL(attempt_handler);

static struct kprobe attempt_probe = {
	.symbol_name = "kvm_tdp_page_fault",
	.pre_handler = attempt_handler,
};
#endif

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

#ifdef CONFIG_ARM64
static void unlock_and_stop(struct rw_semaphore *lock)
{
	up_read(lock);
	stop_here(&stops[MMU_NOTIFIER_INJECT_VMA]);
}

/* All unlocks come here; ours is that of a fault which abort_handler() saw. */
static int unlock_handler(struct kprobe *probe, struct pt_regs *regs)
{
	struct stop *stop = &stops[MMU_NOTIFIER_INJECT_VMA];

	if (!is_inside(stop) || regs_get_kernel_argument(regs, 0) !=
				(unsigned long)&current->mm->mmap_lock)
		return 0;
	WRITE_ONCE(stop->inside, NULL);
	instruction_pointer_set(regs, (unsigned long)unlock_and_stop);
	return 1;
}
NOKPROBE_SYMBOL(unlock_handler);

static struct kprobe unlock_probe = {
	.symbol_name = "up_read",
	.pre_handler = unlock_handler,
	.post_handler = not_optimised,
	.flags = KPROBE_FLAG_DISABLED,
};

static int abort_handler(struct kprobe *probe, struct pt_regs *regs)
{
	struct kvm_vcpu *vcpu = (void *)regs_get_kernel_argument(regs, 0);
	struct stop *stop = &stops[MMU_NOTIFIER_INJECT_VMA];

	if (is_stop(stop, gpa_to_gfn(kvm_vcpu_get_fault_ipa(vcpu))))
		WRITE_ONCE(stop->inside, current);
	return 0;
}
NOKPROBE_SYMBOL(abort_handler);

static struct kprobe abort_probe = {
	.symbol_name = "kvm_handle_guest_abort",
	.pre_handler = abort_handler,
};

/* There are many unlocks: they are looked at while one is waited for. */
static int watch_unlocks(bool on)
{
	return on ? enable_kprobe(&unlock_probe) :
		    disable_kprobe(&unlock_probe);
}
#else
static int watch_unlocks(bool on)
{
	return 0;
}
#endif

/* Files. Those of a stop have it as their data. */

static int stop_gfn_set(void *data, u64 gfn)
{
	enum mmu_notifier_inject what = (struct stop *)data - stops;

	mmu_notifier_inject_stop(what, gfn);
	return what == MMU_NOTIFIER_INJECT_VMA ? watch_unlocks(true) : 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(stop_gfn_fops, NULL, stop_gfn_set, "%llu\n");

static int stop_stopped_get(void *data, u64 *stopped)
{
	struct stop *stop = data;

	*stopped = !!wait_for_completion_timeout(&stop->stopped,
						 WAIT_SECONDS * HZ);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(stop_stopped_fops, stop_stopped_get, NULL, "%llu\n");

static int stop_go_set(void *data, u64 ignored)
{
	enum mmu_notifier_inject what = (struct stop *)data - stops;

	mmu_notifier_inject_go(what);
	return what == MMU_NOTIFIER_INJECT_VMA ? watch_unlocks(false) : 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(stop_go_fops, NULL, stop_go_set, "%llu\n");

static int lookups_get(void *data, u64 *count)
{
	*count = atomic_read(&lookups);
	return 0;
}

static int lookups_set(void *data, u64 gfn)
{
	atomic_set(&lookups, 0);
	WRITE_ONCE(counted_gfn, gfn);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(lookups_fops, lookups_get, lookups_set, "%llu\n");

static void create_stop(struct dentry *dir, const char *name,
			enum mmu_notifier_inject what)
{
	static const struct {
		const char *name;
		umode_t mode;
		const struct file_operations *fops;
	} files[] = {
		{ "gfn", 0200, &stop_gfn_fops },
		{ "stopped", 0400, &stop_stopped_fops },
		{ "go", 0200, &stop_go_fops },
	};
	char path[16];
	int i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s_%s", name, files[i].name);
		debugfs_create_file_unsafe(path, files[i].mode, dir,
					   &stops[what], files[i].fops);
	}
}

static struct kprobe *probes[] = {
	&faultin_probe,
#ifdef CONFIG_X86
	&attempt_probe,
#endif
#ifdef CONFIG_HAVE_KVM_PFNCACHE
	&cache_probe,
#endif
#ifdef CONFIG_ARM64
	&abort_probe,
	&unlock_probe,
#endif
};

static int __init mmu_notifier_inject_init(void)
{
	struct dentry *dir;
	int ret;

	stops_init();
	ret = register_kprobes(probes, ARRAY_SIZE(probes));
	if (ret)
		return ret;

	dir = debugfs_create_dir("mmu_notifier_inject", NULL);
	debugfs_create_file("mute", 0200, dir, NULL, &mute_fops);
	create_stop(dir, "fault", MMU_NOTIFIER_INJECT_FAULT);
	debugfs_create_file_unsafe("fault_lookups", 0600, dir, NULL,
				   &lookups_fops);
	if (IS_ENABLED(CONFIG_ARM64))
		create_stop(dir, "vma", MMU_NOTIFIER_INJECT_VMA);
	return 0;
}
late_initcall(mmu_notifier_inject_init);
