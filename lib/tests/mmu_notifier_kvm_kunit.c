// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: KVM's sequence counts. A fault, or the
 * refresh of a pfn cache, is stopped between the lookup of its page and the lock
 * under which it uses what it found. Then the page goes away: it must be looked up
 * again. No guest runs, its memory is faulted in for it.
 */

#include <linux/cpumask.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/kvm_host.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/rcuwait.h>

#include "../../mm/internal.h"
#include "../../virt/kvm/kvm_mm.h"
#ifdef CONFIG_X86
#include "../../arch/x86/kvm/mmu.h"
#include "../../arch/x86/kvm/mmu/mmu_internal.h"
#include "../../arch/x86/kvm/mmu/spte.h"
#include "../../arch/x86/kvm/mmu/tdp_mmu.h"
#endif
#include "mmu_notifier_inject.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	4
#define LEN		(NR_PAGES * PAGE_SIZE)
/* The memory of the guest begins with the fourth block of frames that has a count. */
#define BLOCK		512UL
#define BASE		(3 * BLOCK)
#define PAGE		1	/* of the memory, that is faulted in */
#define GFN		(BASE + PAGE)
#define FAULT		MMU_NOTIFIER_INJECT_FAULT
#define CACHE		MMU_NOTIFIER_INJECT_CACHE

/**
 * struct vm - a VM without guest
 * @kvm: the VM
 * @vcpu: its only vCPU
 * @vm_file: for ioctls
 * @vcpu_file: for ioctls
 * @mm: whose memory it has
 * @start: address of its memory
 * @addr: address of PAGE
 * @arg: address of the argument of an ioctl
 * @cpu: where a thread of the test runs, -1: anywhere
 * @attempts: of faults to map a page, when one of this VM stopped
 * @ret: what the thread was told
 * @cache: where the kernel reads and writes memory of the guest
 */
struct vm {
	struct kvm *kvm;
	struct kvm_vcpu *vcpu;
	struct file *vm_file, *vcpu_file;
	struct mm_struct *mm;
	unsigned long start, addr;
	unsigned long arg;
	int cpu;
	int attempts;
	long ret;
#ifdef CONFIG_HAVE_KVM_PFNCACHE
	struct gfn_to_pfn_cache cache;
#endif
};

KUNIT_DEFINE_ACTION_WRAPPER(put_file, fput, struct file *);
KUNIT_DEFINE_ACTION_WRAPPER(unmount, kern_unmount, struct vfsmount *);

static struct file *open_kvm(struct kunit *test)
{
	struct file_system_type *type = get_fs_type("devtmpfs");
	struct vfsmount *mnt;
	struct file *file;

	if (!type)
		kunit_skip(test, "no devtmpfs");
	mnt = kern_mount(type);
	put_filesystem(type);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mnt);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unmount, mnt));
	file = file_open_root_mnt(mnt, "kvm", O_RDWR, 0);
	if (IS_ERR(file))
		kunit_skip(test, "no /dev/kvm");
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_file, file));
	return file;
}

/* For those whose argument is a number. */
static long do_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return file->f_op->unlocked_ioctl(file, cmd, arg);
}

static long set_memory(struct vm *vm, unsigned long arg)
{
	return do_ioctl(vm->vm_file, KVM_SET_USER_MEMORY_REGION, arg);
}

static void write_pages(struct kunit *test, unsigned long addr)
{
	int i;

	for (i = 0; i < NR_PAGES; i++)
		mnk_write(test, addr + i * PAGE_SIZE);
}

/* Its memory is at @start here, and from @gfn on there. */
static struct vm *create_vm_at(struct kunit *test, gfn_t gfn,
			       unsigned long start, unsigned long len)
{
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = gfn * PAGE_SIZE,
		.memory_size = len,
		.userspace_addr = start,
	};
	struct vm *vm = kunit_kzalloc(test, sizeof(*vm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, vm);
	vm->start = start;
	vm->addr = start + PAGE * PAGE_SIZE;
	vm->mm = current->mm;
	vm->cpu = -1;
	vm->vm_file = mnk_fd(test, do_ioctl(open_kvm(test), KVM_CREATE_VM, 0));
	vm->vcpu_file = mnk_fd(test, do_ioctl(vm->vm_file, KVM_CREATE_VCPU, 0));
	vm->kvm = vm->vm_file->private_data;
	vm->vcpu = vm->vcpu_file->private_data;
	KUNIT_ASSERT_EQ(test, 0, set_memory(vm, mnk_user(test, &region,
							 sizeof(region))));
	return vm;
}

static unsigned long map_written(struct kunit *test)
{
	unsigned long start = mnk_map_anon(test, LEN);

	write_pages(test, start);
	return start;
}

static struct vm *create_vm(struct kunit *test)
{
	return create_vm_at(test, BASE, map_written(test), LEN);
}

static void use_vm(struct vm *vm)
{
	if (vm->cpu >= 0)
		set_cpus_allowed_ptr(current, cpumask_of(vm->cpu));
	kthread_use_mm(vm->mm);
}

/* Faults that stop. */

static void fault_thread(void *data)
{
	struct vm *vm = data;

	use_vm(vm);
	vm->ret = do_ioctl(vm->vcpu_file, KVM_PRE_FAULT_MEMORY, vm->arg);
	kthread_unuse_mm(vm->mm);
}

/* The lookup of @what stops, or the thread comes to its end. */
static bool stops(struct kunit *test, enum mmu_notifier_inject what,
		  struct mnk_thread *thread)
{
	mnk_wait_for(test, mmu_notifier_inject_stopped(what) ||
		     completion_done(&thread->done));
	return mmu_notifier_inject_stopped(what);
}

/* For the ioctl that faults @len bytes in, from @gfn on. */
static unsigned long fault_arg(struct kunit *test, gfn_t gfn, unsigned long len)
{
	struct kvm_pre_fault_memory fault = {
		.gpa = gfn * PAGE_SIZE,
		.size = len,
	};

	if (!IS_ENABLED(CONFIG_KVM_GENERIC_PRE_FAULT_MEMORY))
		kunit_skip(test, "no faults without a guest");
	return mnk_user(test, &fault, sizeof(fault));
}

static struct mnk_thread *stop_fault(struct kunit *test, struct vm *vm)
{
	struct mnk_thread *thread;

	vm->arg = fault_arg(test, GFN, PAGE_SIZE);
	mmu_notifier_inject_stop(FAULT, GFN);
	thread = mnk_thread_run(test, fault_thread, vm);
	KUNIT_ASSERT_TRUE_MSG(test, stops(test, FAULT, thread), "error %ld",
			      vm->ret);
	vm->attempts = mmu_notifier_inject_attempts();
	return thread;
}

/* It goes on to its end, and looks its page up once more on the way if @again. */
static void expect_end(struct kunit *test, enum mmu_notifier_inject what,
		       struct vm *vm, struct mnk_thread *thread, u64 where,
		       bool again)
{
	mmu_notifier_inject_stop(what, where);
	mmu_notifier_inject_go(what);
	KUNIT_EXPECT_EQ(test, stops(test, what, thread), again);
	/* Nobody stops any more. */
	mmu_notifier_inject_stop(what, -1ULL);
	mmu_notifier_inject_go(what);
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_EQ(test, vm->ret, 0);
}

static void expect_again(struct kunit *test, enum mmu_notifier_inject what,
			 struct vm *vm, struct mnk_thread *thread, u64 where)
{
	expect_end(test, what, vm, thread, where, true);
}

#ifdef CONFIG_KVM_INVALIDATE_BY_GFN
/* It maps what it has found. */
static void expect_mapped(struct kunit *test, struct vm *vm,
			  struct mnk_thread *thread)
{
	expect_end(test, FAULT, vm, thread, GFN, false);
	KUNIT_EXPECT_EQ(test, mmu_notifier_inject_attempts(), vm->attempts);
}
#endif

/* Another page at the address: of one that is shared, a copy. */
static void replace_page(struct kunit *test, unsigned long addr)
{
	struct folio *old = mnk_lock_folio(test, addr), *new;

	folio_unlock(old);
	mnk_write(test, addr);
	new = mnk_lock_folio(test, addr);
	KUNIT_EXPECT_PTR_NE(test, old, new);
	mnk_unlock_folio(new);
	folio_put(old);
}

static void zap_page(struct kunit *test, unsigned long addr)
{
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE,
					    MADV_DONTNEED));
}

static void open_section(struct mmu_notifier_section *section, struct vm *vm,
			 unsigned long page)
{
	unsigned long addr = vm->start + page * PAGE_SIZE;

	mmu_notifier_invalidate_range_start(section, MMU_NOTIFY_CLEAR, vm->mm,
					    addr, addr + PAGE_SIZE);
}

/* invalidate_page moves the count. */
static void fault_page_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread;

	mnk_fork(test);
	thread = stop_fault(test, vm);
	replace_page(test, vm->addr);
	expect_again(test, FAULT, vm, thread, GFN);
}

/* The entry of @nr pages of the memory, from @page on, is cleared. */
static void clear_entry(struct vm *vm, unsigned long page, unsigned long nr,
			bool batched)
{
	unsigned long addr = vm->start + page * PAGE_SIZE;
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_folio_start(&section, MMU_NOTIFY_CLEAR, vm->mm, addr,
				 addr + nr * PAGE_SIZE);
	if (batched)
		mmu_notifier_invalidate_page_batched(&section, addr, nr);
	else
		mmu_notifier_invalidate_page(&section, addr, nr);
	mmu_notifier_invalidate_range_end(&section);
}

/* These pages go away at once. */
static void take_pages(struct vm *vm, unsigned long page, unsigned long nr)
{
	clear_entry(vm, page, nr, false);
}

/* Reclaim takes a page: it goes when the batch is flushed. */
static void batch_page(struct vm *vm, unsigned long page)
{
	clear_entry(vm, page, 1, true);
}

/* For each of the pages that go away at once. */
static void fault_pages_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault(test, vm);

	take_pages(vm, 0, NR_PAGES);
	expect_again(test, FAULT, vm, thread, GFN);
}

/* The end of a range moves the count. */
static void fault_range_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault(test, vm);

	zap_page(test, vm->addr);
	expect_again(test, FAULT, vm, thread, GFN);
}

#ifdef CONFIG_KVM_INVALIDATE_BY_GFN
/* What goes away elsewhere is none of its business. */
static void fault_beside_page_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread;

	mnk_fork(test);
	thread = stop_fault(test, vm);
	replace_page(test, vm->addr + PAGE_SIZE);
	expect_mapped(test, vm, thread);
}

static void fault_beside_range_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault(test, vm);

	zap_page(test, vm->addr + PAGE_SIZE);
	expect_mapped(test, vm, thread);
}

/* Whatever the size of a section, the counts of its frames move, and no others. */

#define MANY			(KVM_INVALIDATE_BLOCKS * BLOCK)
#define FRAMES(first, nr)	{ (first), (first) + (nr) }

struct frames {
	gfn_t start, end;
};

static const struct frames frames_with_gfn[] = {
	FRAMES(GFN, 1), FRAMES(GFN - 1, 2), FRAMES(GFN - 63, 64), FRAMES(GFN, 64),
	FRAMES(GFN, 65), FRAMES(GFN - 64, 65), FRAMES(BASE, BLOCK),
	FRAMES(0, GFN + 1), FRAMES(GFN, MANY - BLOCK), FRAMES(0, MANY),
	FRAMES(GFN, MANY), FRAMES(0, 1UL << 30),
};

static const struct frames frames_without_gfn[] = {
	FRAMES(GFN - 1, 1), FRAMES(GFN + 1, 1), FRAMES(GFN - 64, 64),
	FRAMES(GFN + 1, 64), FRAMES(0, BASE), FRAMES(BASE + BLOCK, BLOCK),
	FRAMES(BASE + BLOCK, MANY - BLOCK), FRAMES(GFN + KVM_INVALIDATE_FRAMES, 1),
	FRAMES(GFN + KVM_INVALIDATE_FRAMES - 63, 64),
};

static void describe_frames(const struct frames *frames, char *name)
{
	snprintf(name, KUNIT_PARAM_DESC_SIZE, "%lld frames from %lld",
		 frames->end - frames->start, frames->start - GFN);
}

KUNIT_ARRAY_PARAM(with_gfn, frames_with_gfn, describe_frames);
KUNIT_ARRAY_PARAM(without_gfn, frames_without_gfn, describe_frames);

static void pass_section(struct vm *vm, const struct frames *frames)
{
	struct kvm *kvm = vm->kvm;

	KVM_MMU_LOCK(kvm);
	kvm_mmu_invalidate_start(kvm);
	kvm_mmu_invalidate_range_add(kvm, frames->start, frames->end);
	kvm_mmu_invalidate_end(kvm);
	KVM_MMU_UNLOCK(kvm);
}

static void fault_section_with_gfn_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault(test, vm);

	pass_section(vm, test->param_value);
	expect_again(test, FAULT, vm, thread, GFN);
}

static void fault_section_without_gfn_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault(test, vm);

	pass_section(vm, test->param_value);
	expect_mapped(test, vm, thread);
}

/* The count says more than once, of whichever frames that share it. */
static void fault_shared_count_test(struct kunit *test)
{
	const struct frames own = FRAMES(GFN, 1);
	const struct frames other = FRAMES(GFN + KVM_INVALIDATE_FRAMES, 1);
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault(test, vm);

	pass_section(vm, &own);
	pass_section(vm, &other);
	expect_again(test, FAULT, vm, thread, GFN);
}

/* Behind the frame with the last count comes one with the first. */
static void last_count_test(struct kunit *test)
{
	const struct frames frames = FRAMES(KVM_INVALIDATE_FRAMES - 1, 2);
	struct vm *vm = create_vm(test);
	struct kvm *kvm = vm->kvm;
	unsigned long last = mmu_invalidate_gfn_seq(kvm, frames.start);
	unsigned long first = mmu_invalidate_gfn_seq(kvm, frames.start + 1);
	unsigned long second = mmu_invalidate_gfn_seq(kvm, frames.end);

	pass_section(vm, &frames);
	KUNIT_EXPECT_NE(test, mmu_invalidate_gfn_seq(kvm, frames.start), last);
	KUNIT_EXPECT_NE(test, mmu_invalidate_gfn_seq(kvm, frames.start + 1), first);
	KUNIT_EXPECT_EQ(test, mmu_invalidate_gfn_seq(kvm, frames.end), second);
	KUNIT_EXPECT_TRUE(test, mmu_invalidate_moved(kvm, last, frames.start));
	KUNIT_EXPECT_TRUE(test, mmu_invalidate_moved(kvm, first, frames.start + 1));
}
#endif

#ifdef CONFIG_X86
/* How often the fault that was stopped has begun once more. */
static int nr_held_off(struct vm *vm)
{
	return mmu_notifier_inject_attempts() - vm->attempts;
}

static void expect_held_off(struct kunit *test, struct vm *vm,
			    struct mnk_thread *thread)
{
	mnk_wait_for(test, nr_held_off(vm) || completion_done(&thread->done));
	KUNIT_EXPECT_GT(test, nr_held_off(vm), 0);
	mnk_expect_running(test, thread);
}

/* Nothing is mapped as long as a section is open. */
static void fault_in_section_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault(test, vm);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	open_section(&section, vm, PAGE);
	mmu_notifier_inject_go(FAULT);
	expect_held_off(test, vm, thread);
	mmu_notifier_invalidate_range_end(&section);
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_EQ(test, vm->ret, 0);
}

/* Who has passed the looks without lock finds out with the lock. */

/* The fault waits for mmu_lock, which the caller has. */
static void wait_contended(struct vm *vm, struct mnk_thread *thread)
{
	unsigned long spins = 0;

	while (!rwlock_is_contended(&vm->kvm->mmu_lock) &&
	       !completion_done(&thread->done) && ++spins < 1UL << 30)
		cpu_relax();
}

/* The test stays on its CPU, the fault on another one. */
static struct mnk_thread *stop_fault_elsewhere(struct kunit *test, struct vm *vm)
{
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	set_cpus_allowed_ptr(current, cpumask_of(cpumask_first(cpu_online_mask)));
	vm->cpu = cpumask_next(cpumask_first(cpu_online_mask), cpu_online_mask);
	return stop_fault(test, vm);
}

static void fault_in_section_locked_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault_elsewhere(test, vm);
	struct kvm *kvm = vm->kvm;

	KVM_MMU_LOCK(kvm);
	mmu_notifier_inject_go(FAULT);
	wait_contended(vm, thread);
	kvm_mmu_invalidate_start(kvm);
	kvm_mmu_invalidate_range_add(kvm, GFN, GFN + 1);
	KVM_MMU_UNLOCK(kvm);
	expect_held_off(test, vm, thread);

	KVM_MMU_LOCK(kvm);
	kvm_mmu_invalidate_end(kvm);
	KVM_MMU_UNLOCK(kvm);
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_EQ(test, vm->ret, 0);
}

static void fault_range_locked_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault_elsewhere(test, vm);
	struct kvm *kvm = vm->kvm;

	KVM_MMU_LOCK(kvm);
	mmu_notifier_inject_go(FAULT);
	wait_contended(vm, thread);
	kvm_mmu_invalidate_start(kvm);
	kvm_mmu_invalidate_range_add(kvm, GFN, GFN + 1);
	kvm_mmu_invalidate_end(kvm);
	mmu_notifier_inject_stop(FAULT, GFN);
	KVM_MMU_UNLOCK(kvm);
	KUNIT_EXPECT_TRUE(test, stops(test, FAULT, thread));
	mmu_notifier_inject_stop(FAULT, -1ULL);
	mmu_notifier_inject_go(FAULT);
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_EQ(test, vm->ret, 0);
}
#endif

/* A section elsewhere is none of its business. */
static void fault_beside_section_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault(test, vm);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	open_section(&section, vm, PAGE + 1);
	mmu_notifier_inject_go(FAULT);
	mnk_expect_done(test, thread);
	mmu_notifier_invalidate_range_end(&section);
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_EQ(test, vm->ret, 0);
}

#ifdef CONFIG_X86
static void fault_in(struct kunit *test, struct vm *vm, gfn_t gfn,
		     unsigned long len)
{
	KUNIT_ASSERT_EQ(test, 0, do_ioctl(vm->vcpu_file, KVM_PRE_FAULT_MEMORY,
					  fault_arg(test, gfn, len)));
}

/* What a few frames lose. */

static void expect_sptes(struct kunit *test, struct vm *vm, long small, long huge)
{
	KUNIT_EXPECT_EQ(test, atomic64_read(&vm->kvm->stat.pages_4k), small);
	KUNIT_EXPECT_EQ(test, atomic64_read(&vm->kvm->stat.pages_2m), huge);
}

/* Two frames in each of two tables. */
static void drop_sptes_test(struct kunit *test)
{
	struct vm *vm = create_vm_at(test, BASE - 2, map_written(test), LEN);

	fault_in(test, vm, BASE - 2, LEN);
	expect_sptes(test, vm, 4, 0);

	take_pages(vm, 1, 2);
	expect_sptes(test, vm, 2, 0);
	take_pages(vm, 0, 2);
	expect_sptes(test, vm, 1, 0);
	take_pages(vm, 3, 1);
	expect_sptes(test, vm, 0, 0);
}

/* The last frame of a huge page, which goes as a whole, and the first of a table. */
static void drop_huge_spte_test(struct kunit *test)
{
	unsigned long start = mnk_map_huge(test, 2), table = start + PMD_SIZE;
	struct vm *vm;

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, table, PMD_SIZE,
					    MADV_DONTNEED));
	write_pages(test, table);
	vm = create_vm_at(test, BASE, start, PMD_SIZE + LEN);
	fault_in(test, vm, BASE, PMD_SIZE + LEN);
	expect_sptes(test, vm, NR_PAGES, 1);

	take_pages(vm, BLOCK - 1, 2);
	expect_sptes(test, vm, NR_PAGES - 1, 0);
}

/* What was accessed. */

/* As the guest does; what is faulted in for it is not accessed by that. */
static void access_gfn(struct kunit *test, struct vm *vm, gfn_t gfn)
{
	u64 spte, *sptep;

	scoped_guard(rcu) {
		sptep = kvm_tdp_mmu_fast_pf_get_last_sptep(vm->vcpu, gfn, &spte);
		if (sptep)
			WRITE_ONCE(*sptep, spte | shadow_accessed_mask);
	}
	KUNIT_ASSERT_NOT_NULL(test, sptep);
}

/* Bit 0 of @pages and what is returned is @page. */
static unsigned long young_of(struct vm *vm, unsigned long page,
			      unsigned int nr)
{
	DECLARE_BITMAP(young, NR_PAGES) = { };

	mmu_notifier_test_young_pages(vm->mm, vm->start + page * PAGE_SIZE, nr,
				      young);
	return young[0];
}

static void clear_young(struct vm *vm, unsigned long page, unsigned long pages)
{
	mmu_notifier_clear_young_pages(vm->mm, vm->start + page * PAGE_SIZE,
				       NR_PAGES, &pages);
}

static bool clear_young_page(struct vm *vm, unsigned long page)
{
	unsigned long addr = vm->start + page * PAGE_SIZE;

	return mmu_notifier_clear_young(vm->mm, addr, addr + PAGE_SIZE);
}

/* Two frames in each of two tables: each is told of for itself. */
static void young_pages_test(struct kunit *test)
{
	struct vm *vm = create_vm_at(test, BASE - 2, map_written(test), LEN);

	fault_in(test, vm, BASE - 2, LEN);
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), 0);
	access_gfn(test, vm, BASE - 2);
	access_gfn(test, vm, BASE - 1);
	access_gfn(test, vm, BASE + 1);
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), BIT(0) | BIT(1) | BIT(3));
	KUNIT_EXPECT_EQ(test, young_of(vm, 1, 2), BIT(0));
	KUNIT_EXPECT_EQ(test, young_of(vm, 2, 2), BIT(1));

	clear_young(vm, 0, BIT(1) | BIT(2));
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), BIT(0) | BIT(3));
	clear_young(vm, 0, BIT(3));
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), BIT(0));

	KUNIT_EXPECT_FALSE(test, clear_young_page(vm, 1));
	KUNIT_EXPECT_TRUE(test, clear_young_page(vm, 0));
	KUNIT_EXPECT_FALSE(test, clear_young_page(vm, 0));
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), 0);
}

/* What is not mapped is not young, and nobody stumbles over it. */
static void young_hole_test(struct kunit *test)
{
	struct vm *vm = create_vm_at(test, 0, map_written(test), LEN);

	clear_young(vm, 0, BIT(0) | BIT(3));
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), 0);

	fault_in(test, vm, 2, PAGE_SIZE);
	access_gfn(test, vm, 2);
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), BIT(2));
	KUNIT_EXPECT_FALSE(test, clear_young_page(vm, 1));
	clear_young(vm, 0, BIT(1) | BIT(3));
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), BIT(2));
	clear_young(vm, 0, BIT(0) | BIT(2));
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), 0);
}

/* All frames of a huge page are accessed, or none. */
static void young_huge_test(struct kunit *test)
{
	unsigned long start = mnk_map_huge(test, 1);
	struct vm *vm = create_vm_at(test, BASE, start, PMD_SIZE);

	fault_in(test, vm, BASE, PMD_SIZE);
	expect_sptes(test, vm, 0, 1);
	KUNIT_EXPECT_EQ(test, young_of(vm, BLOCK - 4, 4), 0);

	access_gfn(test, vm, BASE);
	KUNIT_EXPECT_EQ(test, young_of(vm, BLOCK - 4, 4), GENMASK(3, 0));
	KUNIT_EXPECT_EQ(test, young_of(vm, 1, 3), GENMASK(2, 0));
	clear_young(vm, BLOCK - 4, 0);
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 1), BIT(0));
	clear_young(vm, BLOCK - 4, BIT(2));
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), 0);
}

/* The pages of the memory in any order, also such as the VM does not have. */
static void young_list_test(struct kunit *test)
{
	unsigned long start = mnk_map_anon(test, 2 * LEN);
	struct vm *vm = create_vm_at(test, BASE - 2, start, LEN);
	const unsigned long addresses[] = {
		start + 3 * PAGE_SIZE, start + LEN, start, start + PAGE_SIZE,
	};
	int page;

	write_pages(test, start);
	fault_in(test, vm, BASE - 2, PAGE_SIZE);
	fault_in(test, vm, BASE, 2 * PAGE_SIZE);
	for (page = 0; page < NR_PAGES; page++)
		if (page != 1)
			access_gfn(test, vm, BASE - 2 + page);
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), BIT(0) | BIT(2) | BIT(3));
	mmu_notifier_clear_young_list(vm->mm, addresses, ARRAY_SIZE(addresses));
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), BIT(2));
}

/* A page that the guest has twice, and more frames than one call takes. */
static void young_list_twice_test(struct kunit *test)
{
	struct vm *vm = create_vm_at(test, BASE, map_written(test), LEN);
	struct kvm_userspace_memory_region region = {
		.slot = 1,
		.guest_phys_addr = (BASE + BLOCK) * PAGE_SIZE,
		.memory_size = LEN,
		.userspace_addr = vm->start,
	};
	unsigned long addresses[SWAP_CLUSTER_MAX];
	int i;

	KUNIT_ASSERT_EQ(test, 0, set_memory(vm, mnk_user(test, &region,
							 sizeof(region))));
	fault_in(test, vm, BASE, LEN);
	fault_in(test, vm, BASE + BLOCK, LEN);
	for (i = 0; i < NR_PAGES; i++) {
		access_gfn(test, vm, BASE + i);
		access_gfn(test, vm, BASE + BLOCK + i);
	}
	for (i = 0; i < SWAP_CLUSTER_MAX; i++)
		addresses[i] = vm->start +
			       (i < SWAP_CLUSTER_MAX / 2 ? 0 : 1 + i % 3) * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), GENMASK(3, 0));
	mmu_notifier_clear_young_list(vm->mm, addresses, SWAP_CLUSTER_MAX);
	KUNIT_EXPECT_EQ(test, young_of(vm, 0, 4), 0);
}

/* What reclaim leaves for later. */

static u64 nr_flushes(struct vm *vm)
{
	return READ_ONCE(vm->kvm->stat.generic.remote_tlb_flush_requests);
}

/* A VM with all of its memory mapped. @flushes: those until then. */
static struct vm *create_mapped(struct kunit *test, u64 *flushes)
{
	struct vm *vm = create_vm(test);

	fault_in(test, vm, BASE, LEN);
	expect_sptes(test, vm, NR_PAGES, 0);
	*flushes = nr_flushes(vm);
	mnk_batch_begin(test);
	return vm;
}

static void expect_batch(struct kunit *test, struct vm *vm, unsigned int nr)
{
	KUNIT_EXPECT_EQ(test, vm->kvm->mn_batch.nr, nr);
}

/* @nr pages somewhere else, no two of them neighbours. */
static void batch_scattered(struct vm *vm, unsigned int nr)
{
	while (nr--)
		batch_page(vm, 2 * (NR_PAGES + nr));
}

/* Those that were taken go, once for all of them, and no others. */
static void batch_flush_test(struct kunit *test)
{
	u64 flushes;
	struct vm *vm = create_mapped(test, &flushes);

	batch_page(vm, 0);
	batch_page(vm, 1);
	batch_page(vm, 3);
	expect_batch(test, vm, 2);
	expect_sptes(test, vm, NR_PAGES, 0);
	KUNIT_EXPECT_EQ(test, nr_flushes(vm), flushes);
	mmu_notifier_flush_batch();
	expect_batch(test, vm, 0);
	expect_sptes(test, vm, 1, 0);
	KUNIT_EXPECT_EQ(test, nr_flushes(vm), flushes + 1);

	/* There is nothing to drop. */
	batch_page(vm, 0);
	batch_page(vm, 1);
	expect_batch(test, vm, 1);
	mmu_notifier_batch_end();
	expect_sptes(test, vm, 1, 0);
	KUNIT_EXPECT_EQ(test, nr_flushes(vm), flushes + 1);
}

/* Neighbours, but for those that are being dropped, and not too many. */
static void batch_neighbours_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	unsigned long page;

	mnk_batch_begin(test);
	batch_page(vm, 0);
	vm->kvm->mn_batch.nr_dropping = 1;
	batch_page(vm, 1);
	expect_batch(test, vm, 2);
	vm->kvm->mn_batch.nr_dropping = 0;
	for (page = 2; page <= 64; page++)
		batch_page(vm, page);
	expect_batch(test, vm, 2);
	batch_page(vm, page);
	expect_batch(test, vm, 3);
	mmu_notifier_batch_end();
	expect_batch(test, vm, 0);
}

/* One that is full goes at once, to make room. */
static void batch_full_test(struct kunit *test)
{
	u64 flushes;
	struct vm *vm = create_mapped(test, &flushes);

	batch_page(vm, PAGE);
	batch_scattered(vm, KVM_MN_BATCH - 1);
	expect_batch(test, vm, KVM_MN_BATCH);
	expect_sptes(test, vm, NR_PAGES, 0);
	batch_page(vm, PAGE + 1);
	expect_batch(test, vm, 1);
	expect_sptes(test, vm, NR_PAGES - 1, 0);
	mmu_notifier_batch_end();
	expect_sptes(test, vm, NR_PAGES - 2, 0);
	KUNIT_EXPECT_EQ(test, nr_flushes(vm), flushes + 2);
}

/* A section, or another call for the page, does not wait for the batch. */
static void batch_section_test(struct kunit *test)
{
	u64 flushes;
	struct vm *vm = create_mapped(test, &flushes);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	batch_page(vm, PAGE);
	open_section(&section, vm, PAGE);
	expect_sptes(test, vm, NR_PAGES - 1, 0);
	KUNIT_EXPECT_EQ(test, nr_flushes(vm), flushes + 1);
	mmu_notifier_invalidate_range_end(&section);

	batch_page(vm, PAGE + 1);
	take_pages(vm, PAGE + 1, 1);
	expect_sptes(test, vm, NR_PAGES - 2, 0);
	KUNIT_EXPECT_EQ(test, nr_flushes(vm), flushes + 2);
	mmu_notifier_batch_end();
	KUNIT_EXPECT_EQ(test, nr_flushes(vm), flushes + 2);
}

/* A fault that looked the page up before establishes it, until the flush. */
static void batch_fault_before_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault(test, vm);

	mnk_batch_begin(test);
	batch_page(vm, PAGE);
	expect_mapped(test, vm, thread);
	expect_sptes(test, vm, 1, 0);
	mmu_notifier_batch_end();
	expect_sptes(test, vm, 0, 0);
}

/* One that comes later does not. */
static void batch_fault_after_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_fault(test, vm);

	mnk_batch_begin(test);
	batch_page(vm, PAGE);
	mmu_notifier_batch_end();
	expect_again(test, FAULT, vm, thread, GFN);
}

/* Who fills an entry without the lock of the folio has it flushed. */
static void batch_pending_test(struct kunit *test)
{
	u64 flushes;
	struct vm *vm = create_mapped(test, &flushes);

	batch_page(vm, PAGE);
	mmu_notifier_flush_pending(vm->mm);
	expect_sptes(test, vm, NR_PAGES - 1, 0);
	KUNIT_EXPECT_EQ(test, nr_flushes(vm), flushes + 1);
	mmu_notifier_batch_end();
}

/* Who prepares a page for its next user has to know that it is not used. */
static void batch_tracked_test(struct kunit *test)
{
	u64 flushes;
	struct vm *vm = create_mapped(test, &flushes);

	scoped_guard(mutex, &vm->kvm->lock)
		KUNIT_ASSERT_EQ(test, 0,
				kvm_mmu_notifier_track_reclaim(vm->kvm));
	batch_page(vm, PAGE);
	expect_sptes(test, vm, NR_PAGES - 1, 0);
	KUNIT_EXPECT_EQ(test, nr_flushes(vm), flushes + 1);
	mmu_notifier_batch_end();
}

#endif

/* Memslots. */

static void delete_thread(void *data)
{
	struct vm *vm = data;

	use_vm(vm);
	vm->ret = set_memory(vm, vm->arg);
	kthread_unuse_mm(vm->mm);
}

/* Start and end of a section find the same memslots. */
static void memslots_wait_test(struct kunit *test)
{
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = BASE * PAGE_SIZE,
	};
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread;
	DEFINE_MMU_NOTIFIER_SECTION(section);

	region.userspace_addr = vm->start;
	vm->arg = mnk_user(test, &region, sizeof(region));
	open_section(&section, vm, PAGE);
	thread = mnk_thread_run(test, delete_thread, vm);
	mnk_wait_for(test, rcuwait_active(&vm->kvm->mn_memslots_update_rcuwait) ||
		     completion_done(&thread->done));
	mnk_expect_running(test, thread);
	mmu_notifier_invalidate_range_end(&section);
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_EQ(test, vm->ret, 0);
}

/* Pfn caches. */

#ifdef CONFIG_HAVE_KVM_PFNCACHE
static void deactivate(void *data)
{
	struct vm *vm = data;

	kvm_gpc_deactivate(&vm->cache);
}

static void cache_thread(void *data)
{
	struct vm *vm = data;

	use_vm(vm);
	scoped_guard(srcu, &vm->kvm->srcu)
		vm->ret = kvm_gpc_activate(&vm->cache, GFN * PAGE_SIZE, PAGE_SIZE);
	kthread_unuse_mm(vm->mm);
}

static struct mnk_thread *stop_cache(struct kunit *test, struct vm *vm)
{
	struct mnk_thread *thread;

	kvm_gpc_init(&vm->cache, vm->kvm);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, deactivate, vm));
	mmu_notifier_inject_stop(CACHE, vm->addr);
	thread = mnk_thread_run(test, cache_thread, vm);
	KUNIT_ASSERT_TRUE(test, stops(test, CACHE, thread));
	return thread;
}

/* What the cache has is what is mapped. */
static void expect_cached(struct kunit *test, struct vm *vm)
{
	struct folio *folio = mnk_lock_folio(test, vm->addr);

	KUNIT_EXPECT_TRUE(test, vm->cache.valid);
	KUNIT_EXPECT_EQ(test, vm->cache.pfn, folio_pfn(folio));
	mnk_unlock_folio(folio);
}

static void cache_page_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_cache(test, vm);

	take_pages(vm, PAGE, 1);
	expect_again(test, CACHE, vm, thread, vm->addr);
	expect_cached(test, vm);
}

/* Caches do not wait for the flush. */
static void cache_batch_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_cache(test, vm);

	mnk_batch_begin(test);
	batch_page(vm, PAGE);
	expect_again(test, CACHE, vm, thread, vm->addr);
	expect_cached(test, vm);
	batch_page(vm, PAGE);
	KUNIT_EXPECT_FALSE(test, vm->cache.valid);
	mmu_notifier_batch_end();
}

static void cache_range_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_cache(test, vm);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	open_section(&section, vm, PAGE);
	mmu_notifier_invalidate_range_end(&section);
	expect_again(test, CACHE, vm, thread, vm->addr);
	expect_cached(test, vm);
}

/* The cache is not valid as long as a section is open. */
static void cache_in_section_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_cache(test, vm);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	open_section(&section, vm, PAGE);
	mmu_notifier_inject_stop(CACHE, vm->addr);
	mmu_notifier_inject_go(CACHE);
	KUNIT_EXPECT_TRUE(test, stops(test, CACHE, thread));
	KUNIT_EXPECT_FALSE(test, vm->cache.valid);
	mmu_notifier_invalidate_range_end(&section);
	expect_again(test, CACHE, vm, thread, vm->addr);
	expect_cached(test, vm);
}

/* One that is there already. */
static void cache_invalid_test(struct kunit *test)
{
	struct vm *vm = create_vm(test);
	struct mnk_thread *thread = stop_cache(test, vm);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_inject_go(CACHE);
	mnk_thread_join(test, thread);
	expect_cached(test, vm);
	open_section(&section, vm, PAGE);
	KUNIT_EXPECT_FALSE(test, vm->cache.valid);
	mmu_notifier_invalidate_range_end(&section);
}
#endif

/* The CPU that a test has chosen is not that of the next one. */
static void vm_exit(struct kunit *test)
{
	set_cpus_allowed_ptr(current, cpu_possible_mask);
}

static struct kunit_case kvm_cases[] = {
	KUNIT_CASE(fault_page_test),
	KUNIT_CASE(fault_pages_test),
	KUNIT_CASE(fault_range_test),
#ifdef CONFIG_KVM_INVALIDATE_BY_GFN
	KUNIT_CASE(fault_beside_page_test),
	KUNIT_CASE(fault_beside_range_test),
	KUNIT_CASE_PARAM(fault_section_with_gfn_test, with_gfn_gen_params),
	KUNIT_CASE_PARAM(fault_section_without_gfn_test, without_gfn_gen_params),
	KUNIT_CASE(fault_shared_count_test),
	KUNIT_CASE(last_count_test),
#endif
#ifdef CONFIG_X86
	KUNIT_CASE(fault_in_section_test),
	KUNIT_CASE(fault_in_section_locked_test),
	KUNIT_CASE(fault_range_locked_test),
#endif
	KUNIT_CASE(fault_beside_section_test),
#ifdef CONFIG_X86
	KUNIT_CASE(drop_sptes_test),
	KUNIT_CASE(drop_huge_spte_test),
	KUNIT_CASE(young_pages_test),
	KUNIT_CASE(young_hole_test),
	KUNIT_CASE(young_huge_test),
	KUNIT_CASE(young_list_test),
	KUNIT_CASE(young_list_twice_test),
	KUNIT_CASE(batch_flush_test),
	KUNIT_CASE(batch_neighbours_test),
	KUNIT_CASE(batch_full_test),
	KUNIT_CASE(batch_section_test),
	KUNIT_CASE(batch_fault_before_test),
	KUNIT_CASE(batch_fault_after_test),
	KUNIT_CASE(batch_pending_test),
	KUNIT_CASE(batch_tracked_test),
#endif
	KUNIT_CASE(memslots_wait_test),
#ifdef CONFIG_HAVE_KVM_PFNCACHE
	KUNIT_CASE(cache_page_test),
	KUNIT_CASE(cache_batch_test),
	KUNIT_CASE(cache_range_test),
	KUNIT_CASE(cache_in_section_test),
	KUNIT_CASE(cache_invalid_test),
#endif
	{ }
};

static struct kunit_suite kvm_suite = {
	.name = "mmu_notifier_kvm",
	.exit = vm_exit,
	.test_cases = kvm_cases,
};

kunit_test_suite(kvm_suite);
