// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: sections, aging and exit against
 * subscribers that come and go.
 *
 * Each subscriber knows for each of the threads that open sections whether its
 * section is open, so a start or an end too many shows at once. Its memory is
 * freed behind unregister, so a call that comes too late shows with KASAN.
 */

#include <linux/slab.h>

#include "mmu_notifier_kunit.h"

#define NR_SECTION_THREADS	3
#define NR_CHURN_THREADS	2
#define NR_CHURNS		100

struct stress;

struct stress_sub {
	struct mmu_notifier mn;
	struct stress *stress;
	bool alive;
	bool refuses;
	bool open[NR_SECTION_THREADS];
	atomic_t released;
	atomic_t starts, pages;
};

/**
 * struct stress - what the threads share
 * @mm: the address space
 * @stop: the section threads shall end
 * @violations: broken promises
 * @changing: for each section thread, odd while it changes entries
 * @churned: registrations so far
 * @turn: gives each section thread its number
 */
struct stress {
	struct mm_struct *mm;
	bool stop;
	atomic_t violations;
	unsigned int changing[NR_SECTION_THREADS];
	atomic_t churned;
	atomic_t turn;
};

static struct stress_sub *to_stress(struct mmu_notifier *mn)
{
	return container_of(mn, struct stress_sub, mn);
}

static void stress_require(struct stress_sub *sub, bool holds)
{
	if (!holds || !READ_ONCE(sub->alive))
		atomic_inc(&sub->stress->violations);
}

/* The range tells the thread. */
static int thread_of(unsigned long start)
{
	return (start - MNK_ADDR(0)) / PAGE_SIZE;
}

static int stress_start(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	struct stress_sub *sub = to_stress(mn);
	int thread = thread_of(range->start);

	stress_require(sub, !READ_ONCE(sub->open[thread]));
	atomic_inc(&sub->starts);
	if (!mmu_notifier_range_blockable(range) && sub->refuses)
		return -EAGAIN;
	WRITE_ONCE(sub->open[thread], true);
	return 0;
}

static void stress_end(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	struct stress_sub *sub = to_stress(mn);
	int thread = thread_of(range->start);

	stress_require(sub, READ_ONCE(sub->open[thread]));
	/* Pairs with the acquire in check_all_heard(). */
	smp_store_release(&sub->open[thread], false);
}

static void stress_page(struct mmu_notifier *mn, struct mm_struct *mm,
			unsigned long address, unsigned long nr_pages,
			enum mmu_notifier_event event)
{
	struct stress_sub *sub = to_stress(mn);

	stress_require(sub, !READ_ONCE(sub->open[thread_of(address)]));
	atomic_inc(&sub->pages);
}

static bool stress_young(struct mmu_notifier *mn, struct mm_struct *mm,
			 unsigned long start, unsigned long end)
{
	stress_require(to_stress(mn), true);
	return false;
}

static void stress_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct stress_sub *sub = to_stress(mn);

	stress_require(sub, atomic_inc_return(&sub->released) == 1);
}

static const struct mmu_notifier_ops stress_range_ops = {
	.release = stress_release,
	.clear_flush_young = stress_young,
	.clear_young = stress_young,
	.invalidate_range_start = stress_start,
	.invalidate_range_end = stress_end,
};

static const struct mmu_notifier_ops stress_page_ops = {
	.release = stress_release,
	.clear_flush_young = stress_young,
	.clear_young = stress_young,
	.invalidate_page = stress_page,
	.invalidate_range_start = stress_start,
	.invalidate_range_end = stress_end,
};

/* What a section does between start and end. */
static void change(struct stress *s, int thread)
{
	/* What the start callbacks wrote is seen with the odd number. */
	smp_store_release(&s->changing[thread], s->changing[thread] + 1);
	cond_resched();
	/* The even number is seen with what the end callbacks write. */
	WRITE_ONCE(s->changing[thread], s->changing[thread] + 1);
}

static void one_range(struct stress *s, int thread)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR, s->mm,
					    MNK_ADDR(thread), MNK_ADDR(thread + 1));
	change(s, thread);
}

static void one_nonblock(struct stress *s, int thread)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);
	int ret;

	ret = mmu_notifier_invalidate_range_start_nonblock(&section,
							   MMU_NOTIFY_CLEAR,
							   s->mm,
							   MNK_ADDR(thread),
							   MNK_ADDR(thread + 1));
	if (!ret)
		change(s, thread);
}

static void one_folio(struct stress *s, int thread)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_folio_start(&section, MMU_NOTIFY_CLEAR, s->mm,
				 MNK_ADDR(thread), MNK_ADDR(thread + 1));
	mmu_notifier_invalidate_page(&section, MNK_ADDR(thread), 1);
}

static void section_thread(void *data)
{
	struct stress *s = data;
	int thread = atomic_fetch_inc(&s->turn);

	while (!READ_ONCE(s->stop)) {
		mmap_read_lock(s->mm);
		one_range(s, thread);
		mmap_read_unlock(s->mm);

		mmap_read_lock(s->mm);
		one_folio(s, thread);
		one_nonblock(s, thread);
		mmap_read_unlock(s->mm);

		mmu_notifier_clear_young(s->mm, MNK_ADDR(0), MNK_ADDR(1));
		cond_resched();
	}
}

/*
 * When registration has returned, entries change only in sections that are open
 * for the new subscriber: open is set before changing gets odd, and is reset
 * after it gets even again.
 */
static void check_all_heard(struct stress *s, struct stress_sub *sub)
{
	unsigned int before, i;
	bool open;

	for (i = 0; i < NR_SECTION_THREADS; i++) {
		/* Pairs with the release in change(). */
		before = smp_load_acquire(&s->changing[i]);
		/* Pairs with the release in stress_end(). */
		open = smp_load_acquire(&sub->open[i]);
		if (before & 1 && before == READ_ONCE(s->changing[i]))
			stress_require(sub, open);
	}
}

static struct stress_sub *stress_alloc(struct stress *s, int i)
{
	struct stress_sub *sub = kzalloc_obj(*sub);

	if (!sub)
		return NULL;
	sub->stress = s;
	sub->alive = true;
	sub->refuses = i % 3 == 0;
	sub->mn.ops = i % 2 ? &stress_range_ops : &stress_page_ops;
	return sub;
}

static void churn_once(struct stress *s, int i)
{
	struct stress_sub *sub = stress_alloc(s, i);

	if (!sub || mmu_notifier_register(&sub->mn, s->mm)) {
		atomic_inc(&s->violations);
		kfree(sub);
		return;
	}
	check_all_heard(s, sub);
	cond_resched();
	check_all_heard(s, sub);
	mmu_notifier_unregister(&sub->mn, s->mm);
	stress_require(sub, atomic_read(&sub->released) == 1);
	WRITE_ONCE(sub->alive, false);
	kfree(sub);
}

static void churn_thread(void *data)
{
	struct stress *s = data;
	int i;

	for (i = 0; i < NR_CHURNS; i++) {
		churn_once(s, i);
		atomic_inc(&s->churned);
	}
}

static struct stress *stress_setup(struct kunit *test, struct mm_struct *mm)
{
	struct stress *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->mm = mm;
	return s;
}

static struct stress_sub *stress_subscribe(struct kunit *test, struct stress *s,
					   int i)
{
	struct stress_sub *sub = stress_alloc(s, i);

	KUNIT_ASSERT_NOT_NULL(test, sub);
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(&sub->mn, s->mm));
	return sub;
}

static void stress_check_end(struct kunit *test, struct stress_sub *sub)
{
	int i;

	for (i = 0; i < NR_SECTION_THREADS; i++)
		KUNIT_EXPECT_FALSE(test, sub->open[i]);
	KUNIT_EXPECT_GT(test, atomic_read(&sub->starts), 0);
	KUNIT_EXPECT_EQ(test, !!atomic_read(&sub->pages),
			!!sub->mn.ops->invalidate_page);
	mmu_notifier_unregister(&sub->mn, sub->stress->mm);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&sub->released));
	kfree(sub);
}

/* However long it takes, as long as it goes on. */
static void wait_for_churns(struct kunit *test, struct stress *s,
			    struct mnk_thread *thread)
{
	int before;

	do {
		before = atomic_read(&s->churned);
		if (wait_for_completion_timeout(&thread->done, MNK_TIMEOUT))
			return;
	} while (atomic_read(&s->churned) != before);
	KUNIT_FAIL_AND_ABORT(test, "no progress");
}

static void churn_test(struct kunit *test)
{
	struct stress *s = stress_setup(test, mnk_mm(test));
	struct stress_sub *page = stress_subscribe(test, s, 2);
	struct stress_sub *range = stress_subscribe(test, s, 1);
	struct mnk_thread *sections[NR_SECTION_THREADS];
	struct mnk_thread *churns[NR_CHURN_THREADS];
	int i;

	for (i = 0; i < NR_SECTION_THREADS; i++)
		sections[i] = mnk_thread_run(test, section_thread, s);
	for (i = 0; i < NR_CHURN_THREADS; i++)
		churns[i] = mnk_thread_run(test, churn_thread, s);
	for (i = 0; i < NR_CHURN_THREADS; i++)
		wait_for_churns(test, s, churns[i]);
	WRITE_ONCE(s->stop, true);
	for (i = 0; i < NR_SECTION_THREADS; i++)
		mnk_thread_join(test, sections[i]);

	KUNIT_EXPECT_EQ(test, 0, atomic_read(&s->violations));
	stress_check_end(test, page);
	stress_check_end(test, range);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&s->mm->mm_count));
}

/* Exit against unregister, with nothing to order them: one release each time. */

static void unregister_stress_thread(void *data)
{
	struct stress_sub *sub = data;

	mmu_notifier_unregister(&sub->mn, sub->mn.mm);
	stress_require(sub, atomic_read(&sub->released) == 1);
	WRITE_ONCE(sub->alive, false);
}

static void exit_once(struct kunit *test, int i)
{
	struct mm_struct *mm = mnk_mm(test);
	struct stress *s = stress_setup(test, mm);
	struct stress_sub *a = stress_subscribe(test, s, i);
	struct stress_sub *b = stress_subscribe(test, s, i + 1);
	struct mnk_thread *threads[2];

	mmgrab(mm);
	threads[0] = mnk_thread_run(test, unregister_stress_thread, a);
	threads[1] = mnk_thread_run(test, unregister_stress_thread, b);
	mnk_mm_exit(test, mm);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&a->released));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&b->released));
	mnk_thread_join(test, threads[0]);
	mnk_thread_join(test, threads[1]);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&s->violations));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_count));
	mmdrop(mm);
	kfree(a);
	kfree(b);
}

static void exit_test(struct kunit *test)
{
	int i;

	for (i = 0; i < NR_CHURNS; i++)
		exit_once(test, i);
}

static struct kunit_case stress_cases[] = {
	KUNIT_CASE_SLOW(churn_test),
	KUNIT_CASE_SLOW(exit_test),
	{ }
};

static struct kunit_suite stress_suite = {
	.name = "mmu_notifier_stress",
	.test_cases = stress_cases,
};

kunit_test_suite(stress_suite);
