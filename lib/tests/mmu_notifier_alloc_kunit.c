// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: each allocation of a registration fails in
 * turn, and nothing is left of the attempt.
 */

#include <linux/error-injection.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/slab.h>

#include "mmu_notifier_kunit.h"

/* More than there are. */
#define MAX_ALLOCS	20

/* The allocation of a task that fails: it counts down to it. */
static struct {
	struct task_struct *task;
	unsigned int left;
} fail;

/* Only of those that may sleep: an interrupt may allocate in between. */
static int should_failslab_handler(struct kprobe *probe, struct pt_regs *regs)
{
	gfp_t gfp = (__force gfp_t)regs_get_kernel_argument(regs, 1);

	if (READ_ONCE(fail.task) != current || gfp & __GFP_NOFAIL ||
	    !(gfp & __GFP_DIRECT_RECLAIM) || --fail.left)
		return 0;
	WRITE_ONCE(fail.task, NULL);
	regs_set_return_value(regs, -ENOMEM);
	override_function_with_return(regs);
	return 1;
}
NOKPROBE_SYMBOL(should_failslab_handler);

/* Keeps the probe from being optimised: its handler changes where to go on. */
static void not_optimised(struct kprobe *probe, struct pt_regs *regs,
			  unsigned long flags)
{
}

static struct kprobe fail_probe;

/**
 * struct attempt - to register
 * @mm: without any subscription
 * @mn: of mmu_notifier_register(), or what mmu_notifier_get() returned
 * @interval: of mmu_interval_notifier_insert()
 */
struct attempt {
	struct mm_struct *mm;
	struct mmu_notifier *mn;
	struct mmu_interval_notifier interval;
};

/* A way to register; how many allocations it has at least. */
struct way {
	int (*start)(struct attempt *a);
	void (*end)(struct attempt *a);
	unsigned int allocs;
};

static int register_start(struct attempt *a)
{
	return mmu_notifier_register(a->mn, a->mm);
}

static void register_end(struct attempt *a)
{
	mmu_notifier_unregister(a->mn, a->mm);
}

static atomic_t allocated;

static struct mmu_notifier *alloc_notifier(struct mm_struct *mm)
{
	struct mmu_notifier *mn = kzalloc_obj(*mn);

	if (!mn)
		return ERR_PTR(-ENOMEM);
	atomic_inc(&allocated);
	return mn;
}

static void free_notifier(struct mmu_notifier *mn)
{
	atomic_dec(&allocated);
	kfree(mn);
}

static const struct mmu_notifier_ops alloc_ops = {
	.alloc_notifier = alloc_notifier,
	.free_notifier = free_notifier,
};

static int get_start(struct attempt *a)
{
	a->mn = mmu_notifier_get(&alloc_ops, a->mm);
	return PTR_ERR_OR_ZERO(a->mn);
}

static void get_end(struct attempt *a)
{
	mmu_notifier_put(a->mn);
	mmu_notifier_synchronize();
}

static bool invalidate(struct mmu_interval_notifier *mni,
		       const struct mmu_notifier_range *range, unsigned long seq)
{
	mmu_interval_set_seq(mni, seq);
	return true;
}

static const struct mmu_interval_notifier_ops interval_ops = {
	.invalidate = invalidate,
};

static int insert_start(struct attempt *a)
{
	return mmu_interval_notifier_insert(&a->interval, a->mm, 0, PAGE_SIZE,
					    &interval_ops);
}

static void insert_end(struct attempt *a)
{
	mmu_interval_notifier_remove(&a->interval);
}

static void attempt_init(struct kunit *test, struct attempt *a)
{
	memset(a, 0, sizeof(*a));
	a->mm = mnk_mm(test);
	a->mn = &mnk_alloc(test, &mnk_range_ops)->mn;
}

/* Allocation number @nth of the attempt fails. False: there are less of them. */
static bool fail_nth(struct kunit *test, const struct way *way, unsigned int nth)
{
	struct attempt *a = kunit_kzalloc(test, sizeof(*a), GFP_KERNEL);
	int count, ret;
	bool failed;

	KUNIT_ASSERT_NOT_NULL(test, a);
	attempt_init(test, a);
	count = atomic_read(&a->mm->mm_count);

	fail.left = nth;
	WRITE_ONCE(fail.task, current);
	ret = way->start(a);
	failed = !READ_ONCE(fail.task);
	WRITE_ONCE(fail.task, NULL);

	KUNIT_EXPECT_EQ(test, ret, failed ? -ENOMEM : 0);
	if (ret) {
		KUNIT_EXPECT_FALSE(test, mm_has_notifiers(a->mm));
		KUNIT_EXPECT_EQ(test, count, atomic_read(&a->mm->mm_count));
		KUNIT_EXPECT_EQ(test, 0, atomic_read(&allocated));
		/* Once there is memory it works. */
		attempt_init(test, a);
		count = atomic_read(&a->mm->mm_count);
		KUNIT_ASSERT_EQ(test, 0, way->start(a));
	}
	mnk_section(a->mm, 0, PAGE_SIZE);
	way->end(a);
	KUNIT_EXPECT_EQ(test, count, atomic_read(&a->mm->mm_count));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&allocated));
	return failed;
}

static void fail_each(struct kunit *test, const struct way *way)
{
	unsigned int nth = 1;

	while (nth < MAX_ALLOCS && fail_nth(test, way, nth))
		nth++;
	KUNIT_EXPECT_GT(test, nth, way->allocs);
	KUNIT_EXPECT_LT(test, nth, MAX_ALLOCS);
}

/* The list of the mm. */
static void register_alloc_test(struct kunit *test)
{
	static const struct way way = { register_start, register_end, 1 };

	fail_each(test, &way);
}

/* The subscription, and the list. */
static void get_alloc_test(struct kunit *test)
{
	static const struct way way = { get_start, get_end, 2 };

	fail_each(test, &way);
}

/* The list, and what holds the intervals. */
static void insert_alloc_test(struct kunit *test)
{
	static const struct way way = { insert_start, insert_end, 2 };

	fail_each(test, &way);
}

KUNIT_DEFINE_ACTION_WRAPPER(remove_probe, unregister_kprobe, struct kprobe *);

static int alloc_init(struct kunit *test)
{
	int ret;

	memset(&fail_probe, 0, sizeof(fail_probe));
	fail_probe.symbol_name = "should_failslab";
	fail_probe.pre_handler = should_failslab_handler;
	fail_probe.post_handler = not_optimised;
	ret = register_kprobe(&fail_probe);
	return ret ?: kunit_add_action_or_reset(test, remove_probe, &fail_probe);
}

static struct kunit_case alloc_cases[] = {
	KUNIT_CASE(register_alloc_test),
	KUNIT_CASE(get_alloc_test),
	KUNIT_CASE(insert_alloc_test),
	{ }
};

static struct kunit_suite alloc_suite = {
	.name = "mmu_notifier_alloc",
	.init = alloc_init,
	.test_cases = alloc_cases,
};

kunit_test_suite(alloc_suite);
