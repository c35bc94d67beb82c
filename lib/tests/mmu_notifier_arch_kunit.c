// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: a device that walks the page tables of the
 * CPU hears of the flushes of its TLB. Where they are differs between
 * architectures; this is for x86.
 */

#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/rmap.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	4
#define LEN		(NR_PAGES * PAGE_SIZE)

static unsigned long map_pages(struct kunit *test, unsigned long flags)
{
	unsigned long addr = mnk_map(test, NULL, LEN, flags | MAP_ANONYMOUS);
	int i;

	for (i = 0; i < NR_PAGES; i++)
		mnk_write(test, addr + i * PAGE_SIZE);
	lru_add_drain_all();
	return addr;
}

static struct mnk_sub *watch(struct kunit *test)
{
	return mnk_subscribe(test, current->mm, &mnk_arch_ops);
}

static void munmap_test(struct kunit *test)
{
	unsigned long addr = map_pages(test, MAP_PRIVATE);
	struct mnk_sub *sub = watch(test);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, LEN));
	KUNIT_ASSERT_EQ(test, sub->nr, 1);
	KUNIT_EXPECT_EQ(test, sub->calls[0].kind, MNK_ARCH);
	KUNIT_EXPECT_LE(test, sub->calls[0].start, addr);
	KUNIT_EXPECT_GE(test, sub->calls[0].end, addr + LEN);
}

static void mprotect_test(struct kunit *test)
{
	unsigned long addr = map_pages(test, MAP_PRIVATE);
	struct mnk_sub *sub = watch(test);

	KUNIT_ASSERT_EQ(test, 0, mnk_sys(mprotect, addr, LEN, PROT_READ));
	MNK_EXPECT(test, sub, CALL_PLAIN(MNK_ARCH, addr, addr + LEN));
}

static void cow_test(struct kunit *test)
{
	unsigned long addr = map_pages(test, MAP_PRIVATE);
	struct mnk_sub *sub;

	mnk_fork(test);
	sub = watch(test);
	mnk_write(test, addr);
	MNK_EXPECT(test, sub, CALL_PLAIN(MNK_ARCH, addr, addr + PAGE_SIZE));
}

/**
 * struct runner - a thread on another CPU, in the mm of the test
 * @mm: the mm
 * @cpu: the CPU
 * @runs: it does
 * @leave: it may go
 */
struct runner {
	struct mm_struct *mm;
	unsigned int cpu;
	struct completion runs;
	struct completion leave;
};

static void run_in_mm(void *data)
{
	struct runner *r = data;

	set_cpus_allowed_ptr(current, cpumask_of(r->cpu));
	kthread_use_mm(r->mm);
	complete(&r->runs);
	wait_for_completion_timeout(&r->leave, MNK_TIMEOUT);
	kthread_unuse_mm(r->mm);
}

static struct runner *run_elsewhere(struct kunit *test)
{
	struct runner *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, r);
	r->mm = current->mm;
	r->cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	if (r->cpu >= nr_cpu_ids)
		kunit_skip(test, "needs another CPU");
	init_completion(&r->runs);
	init_completion(&r->leave);
	return r;
}

/*
 * Reclaim gathers the flushes that other CPUs have to make, and does them when
 * it has unmapped a few pages. A device is not told later than at once.
 */
static void reclaim_test(struct kunit *test)
{
	unsigned long addr = map_pages(test, MAP_DROPPABLE);
	struct runner *r = run_elsewhere(test);
	struct mnk_thread *thread = mnk_thread_run(test, run_in_mm, r);
	struct mnk_sub *sub;
	struct mnk_call want[NR_PAGES];
	int i;

	KUNIT_ASSERT_TRUE(test, wait_for_completion_timeout(&r->runs,
							    MNK_TIMEOUT));
	sub = watch(test);
	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, addr, LEN,
					    MADV_PAGEOUT));
	complete(&r->leave);
	mnk_thread_join(test, thread);
	for (i = 0; i < NR_PAGES; i++)
		want[i] = CALL_PLAIN(MNK_ARCH, 0, -1UL);
	mnk_expect_calls(test, sub, want, NR_PAGES);
}

static struct kunit_case arch_cases[] = {
	KUNIT_CASE(munmap_test),
	KUNIT_CASE(mprotect_test),
	KUNIT_CASE(cow_test),
	KUNIT_CASE(reclaim_test),
	{ }
};

static struct kunit_suite arch_suite = {
	.name = "mmu_notifier_arch",
	.test_cases = arch_cases,
};

kunit_test_suite(arch_suite);
