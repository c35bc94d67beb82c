// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: DAMON samples pages, by the addresses of a
 * process and by their own. What an access of a secondary MMU has set is asked
 * for, and cleared, for the page that is sampled and for no other.
 */

#include <linux/damon.h>
#include <linux/hugetlb.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/sched/task.h>

#include <asm/tlbflush.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

/* Samples are taken at random: as many as make a wrong address show. */
#define NR_SAMPLES	8

/**
 * struct damon_watch - monitoring of one region
 * @ctx: the context
 * @region: its only one
 * @sub: a subscriber to the process
 * @start: first address of what is sampled as one
 * @end: first behind it
 */
struct damon_watch {
	struct damon_ctx *ctx;
	struct damon_region *region;
	struct mnk_sub *sub;
	unsigned long start, end;
};

static void stop(void *ctx)
{
	damon_destroy_ctx(ctx);
}

/* @pid: of the process, or NULL for the pages of all. */
static struct damon_ctx *monitor(struct kunit *test, enum damon_ops_id id,
				 struct pid *pid, unsigned long start,
				 unsigned long end)
{
	struct damon_addr_range range = { .start = start, .end = end };
	struct damon_ctx *ctx = damon_new_ctx();
	struct damon_target *target;

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, stop, ctx));
	KUNIT_ASSERT_EQ(test, 0, damon_select_ops(ctx, id));
	target = damon_new_target();
	KUNIT_ASSERT_NOT_NULL(test, target);
	target->pid = pid;
	damon_add_target(ctx, target);
	KUNIT_ASSERT_EQ(test, 0, damon_set_regions(target, &range, 1,
						   DAMON_MIN_REGION_SZ));
	return ctx;
}

static struct damon_target *target_of(struct damon_ctx *ctx)
{
	return list_first_entry(&ctx->adaptive_targets, struct damon_target, list);
}

static struct damon_watch *watch(struct kunit *test, struct damon_ctx *ctx,
				 unsigned long start, unsigned long end)
{
	struct damon_watch *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, w);
	lru_add_drain_all();
	w->ctx = ctx;
	w->region = damon_first_region(target_of(ctx));
	w->start = start;
	w->end = end;
	w->sub = mnk_subscribe(test, current->mm, &mnk_page_ops);
	return w;
}

static struct damon_watch *watch_process(struct kunit *test, unsigned long start,
					 unsigned long end)
{
	struct pid *pid = get_task_pid(mnk_share(test)->task, PIDTYPE_PID);
	struct damon_ctx *ctx = monitor(test, DAMON_OPS_FVADDR, pid, start, end);

	return watch(test, ctx, start, end);
}

/* The page at @addr, by its own address. */
static struct damon_watch *watch_page(struct kunit *test, unsigned long addr,
				      unsigned long end)
{
	struct folio *folio = mnk_lock_folio(test, addr);
	unsigned long phys = PFN_PHYS(folio_pfn(folio));

	mnk_unlock_folio(folio);
	if (!IS_ENABLED(CONFIG_DAMON_PADDR))
		kunit_skip(test, "pages are not monitored by their own address");
	return watch(test, monitor(test, DAMON_OPS_PADDR, NULL, phys,
				   phys + PAGE_SIZE), addr, end);
}

/* Was it accessed since the last sample was prepared? */
static bool accessed(struct damon_watch *w)
{
	unsigned int before = w->region->nr_accesses;

	w->ctx->ops.check_accesses(w->ctx);
	return w->region->nr_accesses != before;
}

/* One call about one page, somewhere in what is sampled as one. */
static void expect_test_young(struct kunit *test, struct damon_watch *w)
{
	unsigned long addr = w->sub->calls[0].start;

	KUNIT_EXPECT_GE(test, addr, w->start);
	KUNIT_EXPECT_LT(test, addr, w->end);
	KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(addr));
	MNK_EXPECT(test, w->sub, CALL_PLAIN(MNK_TEST_YOUNG, addr,
					    addr + PAGE_SIZE));
}

static void expect_sample(struct kunit *test, struct damon_watch *w)
{
	w->ctx->ops.prepare_access_checks(w->ctx);
	MNK_EXPECT(test, w->sub, CALL_PLAIN(MNK_CLEAR_YOUNG, w->start, w->end));

	w->sub->young = false;
	KUNIT_EXPECT_FALSE(test, accessed(w));
	expect_test_young(test, w);
	w->sub->young = true;
	KUNIT_EXPECT_TRUE(test, accessed(w));
	expect_test_young(test, w);
}

static void expect_samples(struct kunit *test, struct damon_watch *w)
{
	int i;

	for (i = 0; i < NR_SAMPLES; i++)
		expect_sample(test, w);
}

/* Pages with neighbours. */

static unsigned long map_page(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, 3 * PAGE_SIZE);
	int i;

	for (i = 0; i < 3; i++)
		mnk_write(test, addr + i * PAGE_SIZE);
	return addr + PAGE_SIZE;
}

static void page_test(struct kunit *test)
{
	unsigned long addr = map_page(test);

	expect_samples(test, watch_process(test, addr, addr + PAGE_SIZE));
}

static void huge_test(struct kunit *test)
{
	unsigned long addr = mnk_map_huge(test, 2);

	expect_samples(test, watch_process(test, addr, addr + PMD_SIZE));
}

static void hugetlb_test(struct kunit *test)
{
#ifdef CONFIG_HUGETLB_PAGE
	unsigned long size = huge_page_size(&default_hstate);
	struct file *file = mnk_hugetlb_file(test, 2 * size, 2);
	unsigned long addr = mnk_map(test, file, 2 * size, MAP_PRIVATE);

	mnk_write(test, addr);
	mnk_write(test, addr + size);
	expect_samples(test, watch_process(test, addr, addr + size));
#else
	kunit_skip(test, "no hugetlb pages");
#endif
}

/* The accessed bit of the CPU is enough, nobody else is asked then. */
static void page_of_cpu_test(struct kunit *test)
{
	unsigned long addr = map_page(test);
	struct damon_watch *w = watch_process(test, addr, addr + PAGE_SIZE);

	w->ctx->ops.prepare_access_checks(w->ctx);
	w->sub->nr = 0;
	/* An entry in its TLB would do for the CPU. */
	flush_tlb_mm(current->mm);
	mnk_read(test, addr);
	KUNIT_EXPECT_TRUE(test, accessed(w));
	mnk_expect_silence(test, w->sub);
}

static void paddr_page_test(struct kunit *test)
{
	unsigned long addr = map_page(test);

	expect_samples(test, watch_page(test, addr, addr + PAGE_SIZE));
}

static void paddr_huge_test(struct kunit *test)
{
	unsigned long addr = mnk_map_huge(test, 2);

	expect_samples(test, watch_page(test, addr, addr + PMD_SIZE));
}

/* Schemes that are for pages of some age only. */

static void free_scheme(void *scheme)
{
	damon_destroy_scheme(scheme);
}

/* Does nothing, and not to pages that were accessed. */
static struct damos *old_only(struct kunit *test)
{
	struct damos_access_pattern any = {
		.max_sz_region = ULONG_MAX,
		.max_nr_accesses = UINT_MAX,
		.max_age_region = UINT_MAX,
	};
	struct damos_quota quota = {};
	struct damos_watermarks wmarks = {};
	struct damos_filter *filter;
	struct damos *scheme;

	scheme = damon_new_scheme(&any, DAMOS_STAT, 0, &quota, &wmarks,
				  NUMA_NO_NODE);
	KUNIT_ASSERT_NOT_NULL(test, scheme);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_scheme,
							   scheme));
	filter = damos_new_filter(DAMOS_FILTER_TYPE_YOUNG, true, false);
	KUNIT_ASSERT_NOT_NULL(test, filter);
	damos_add_filter(scheme, filter);
	return scheme;
}

static unsigned long passes(struct damon_watch *w, struct damos *scheme)
{
	unsigned long passed = 0;

	/* What kdamond finds out before it applies a scheme. */
	scheme->last_applied = NULL;
	scheme->core_filters_allowed = false;
	scheme->ops_filters_default_reject = false;
	w->ctx->ops.apply_scheme(w->ctx, target_of(w->ctx), w->region, scheme,
				 &passed);
	return passed;
}

/* A page that was accessed is made old for the next time. */
static void expect_filter(struct kunit *test, struct damon_watch *w)
{
	struct damos *scheme = old_only(test);

	w->ctx->ops.prepare_access_checks(w->ctx);
	w->sub->nr = 0;
	KUNIT_EXPECT_EQ(test, passes(w, scheme), w->end - w->start);
	expect_test_young(test, w);

	w->sub->young = true;
	KUNIT_EXPECT_EQ(test, passes(w, scheme), 0);
	MNK_EXPECT(test, w->sub,
		   CALL_PLAIN(MNK_TEST_YOUNG, w->start, w->start + PAGE_SIZE),
		   CALL_PLAIN(MNK_CLEAR_YOUNG, w->start, w->end));
}

static void filter_page_test(struct kunit *test)
{
	unsigned long addr = map_page(test);

	expect_filter(test, watch_process(test, addr, addr + PAGE_SIZE));
}

static void filter_huge_test(struct kunit *test)
{
	unsigned long addr = mnk_map_huge(test, 2);

	expect_filter(test, watch_process(test, addr, addr + PMD_SIZE));
}

static void filter_paddr_test(struct kunit *test)
{
	unsigned long addr = map_page(test);

	expect_filter(test, watch_page(test, addr, addr + PAGE_SIZE));
}

static struct kunit_case damon_cases[] = {
	KUNIT_CASE(page_test),
	KUNIT_CASE(huge_test),
	KUNIT_CASE(hugetlb_test),
	KUNIT_CASE(page_of_cpu_test),
	KUNIT_CASE(paddr_page_test),
	KUNIT_CASE(paddr_huge_test),
	KUNIT_CASE(filter_page_test),
	KUNIT_CASE(filter_huge_test),
	KUNIT_CASE(filter_paddr_test),
	{ }
};

static struct kunit_suite damon_suite = {
	.name = "mmu_notifier_damon",
	.test_cases = damon_cases,
};

kunit_test_suite(damon_suite);
