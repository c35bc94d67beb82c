// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: many intervals, intervals that come and go
 * under sections, and readers that collide with them.
 */

#include <linux/delay.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "../../mm/mmu_notifier_internal.h"
#include "mmu_notifier_kunit.h"

/* Many intervals. */

#define NR_MANY		100000
#define MANY_GAP	4	/* pages from one interval to the next */

struct many {
	struct mmu_interval_notifier mni;
	unsigned int calls;
};

static atomic_t many_calls;

static bool many_invalidate(struct mmu_interval_notifier *mni,
			    const struct mmu_notifier_range *range,
			    unsigned long seq)
{
	struct many *m = container_of(mni, struct many, mni);

	m->calls++;
	atomic_inc(&many_calls);
	return true;
}

static const struct mmu_interval_notifier_ops many_ops = {
	.invalidate = many_invalidate,
};

static void many_section(struct mm_struct *mm, unsigned int from,
			 unsigned int to)
{
	mnk_section(mm, MNK_ADDR((unsigned long)from * MANY_GAP),
		    MNK_ADDR((unsigned long)to * MANY_GAP));
}

/* Inserts in an order without pattern: 1009 and NR_MANY have no divisor. */
static unsigned int shuffled(unsigned int i)
{
	return (unsigned long)i * 1009 % NR_MANY;
}

static void many_check(struct kunit *test, struct mm_struct *mm,
		       struct many *many)
{
	/* Nobody, one in the middle, the two ends, a hundred. */
	mnk_section(mm, MNK_ADDR(1), MNK_ADDR(MANY_GAP));
	KUNIT_EXPECT_EQ(test, atomic_xchg(&many_calls, 0), 0);
	many_section(mm, 777, 778);
	KUNIT_EXPECT_EQ(test, atomic_xchg(&many_calls, 0), 1);
	KUNIT_EXPECT_EQ(test, many[777].calls, 1);
	many_section(mm, 0, 1);
	many_section(mm, NR_MANY - 1, NR_MANY);
	KUNIT_EXPECT_EQ(test, many[0].calls, 1);
	KUNIT_EXPECT_EQ(test, many[NR_MANY - 1].calls, 1);
	many_section(mm, 5000, 5100);
	KUNIT_EXPECT_EQ(test, atomic_xchg(&many_calls, 0), 102);
}

/* Only those that are hit are called, and all of them at exit. */
static void many_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct many *many = vcalloc(NR_MANY, sizeof(*many));
	unsigned int i, where;
	int ret = 0;

	KUNIT_ASSERT_NOT_NULL(test, many);
	atomic_set(&many_calls, 0);
	for (i = 0; !ret && i < NR_MANY; i++) {
		where = shuffled(i);
		ret = mmu_interval_notifier_insert(&many[where].mni, mm,
						   MNK_ADDR((unsigned long)where *
							    MANY_GAP),
						   PAGE_SIZE, &many_ops);
	}
	KUNIT_EXPECT_EQ(test, ret, 0);
	many_check(test, mm, many);
	mnk_mm_exit(test, mm);
	KUNIT_EXPECT_EQ(test, atomic_xchg(&many_calls, 0), NR_MANY);

	while (i--)
		mmu_interval_notifier_remove(&many[shuffled(i)].mni);
	vfree(many);
}

/* Removal against invalidation. */

#define NR_CHURNS	1000

struct churn;

/* Freed behind the removal: a call that comes too late shows with KASAN. */
struct churn_itv {
	struct mmu_interval_notifier mni;
	struct mmu_interval_notifier_finish finish;
	struct churn *churn;
	bool alive, busy, called;
};

/**
 * struct churn - what the threads share
 * @mm: the address space
 * @stop: the section threads shall end
 * @churned: intervals that have come and gone
 * @late: calls of intervals that were removed
 * @calls: all calls
 * @errors: insertions that failed, intervals that nobody called
 */
struct churn {
	struct mm_struct *mm;
	bool stop;
	atomic_t churned, late, calls, errors;
};

static void churn_called(struct churn_itv *itv)
{
	atomic_inc(&itv->churn->calls);
	if (!READ_ONCE(itv->alive))
		atomic_inc(&itv->churn->late);
	/* Whoever waits for a call removes the interval in the middle of it. */
	WRITE_ONCE(itv->called, true);
	usleep_range(20, 50);
	if (!READ_ONCE(itv->alive))
		atomic_inc(&itv->churn->late);
}

static bool churn_once(struct mmu_interval_notifier *mni,
		       const struct mmu_notifier_range *range,
		       unsigned long seq)
{
	churn_called(container_of(mni, struct churn_itv, mni));
	return true;
}

static bool churn_first(struct mmu_interval_notifier *mni,
			const struct mmu_notifier_range *range,
			unsigned long seq,
			struct mmu_interval_notifier_finish **finish)
{
	struct churn_itv *itv = container_of(mni, struct churn_itv, mni);

	churn_called(itv);
	/* One storage: another section may be between the passes. */
	if (!xchg(&itv->busy, true))
		*finish = &itv->finish;
	return true;
}

static void churn_second(struct mmu_interval_notifier_finish *finish)
{
	struct churn_itv *itv = container_of(finish, struct churn_itv, finish);

	churn_called(itv);
	/* Pairs with xchg(): the storage is free. */
	smp_store_release(&itv->busy, false);
}

static const struct mmu_interval_notifier_ops churn_ops[] = {
	{ .invalidate = churn_once },
	{ .invalidate_start = churn_first, .invalidate_finish = churn_second },
};

static void churn_sections(void *data)
{
	struct churn *c = data;
	unsigned long i = 0;

	while (!READ_ONCE(c->stop)) {
		i++;
		mnk_section(c->mm, MNK_ADDR(i % 7), MNK_ADDR(i % 7 + i % 5 + 1));
		cond_resched();
	}
}

static void churn_await_call(struct churn_itv *itv)
{
	unsigned long limit = jiffies + MNK_TIMEOUT / 2;

	while (!READ_ONCE(itv->called)) {
		if (time_after(jiffies, limit)) {
			atomic_inc(&itv->churn->errors);
			return;
		}
		cond_resched();
	}
}

static bool churn_one(struct churn *c, unsigned int i)
{
	struct churn_itv *itv = kzalloc_obj(*itv);

	if (!itv)
		return false;
	itv->churn = c;
	itv->alive = true;
	if (mmu_interval_notifier_insert(&itv->mni, c->mm, MNK_ADDR(i % 9),
					 (i % 4 + 1) * PAGE_SIZE,
					 &churn_ops[i & 1])) {
		kfree(itv);
		return false;
	}
	mmu_interval_read_begin(&itv->mni);
	if (i % 4 == 0)
		churn_await_call(itv);
	mmu_interval_notifier_remove(&itv->mni);
	WRITE_ONCE(itv->alive, false);
	kfree(itv);
	return true;
}

static void churn_intervals(void *data)
{
	struct churn *c = data;
	int i;

	for (i = 0; i < NR_CHURNS; i++) {
		if (!churn_one(c, i))
			atomic_inc(&c->errors);
		atomic_inc(&c->churned);
	}
}

/* However long it takes, as long as it goes on. */
static void wait_for_churns(struct kunit *test, struct churn *c,
			    struct mnk_thread *thread)
{
	int before;

	do {
		before = atomic_read(&c->churned);
		if (wait_for_completion_timeout(&thread->done, MNK_TIMEOUT))
			return;
	} while (atomic_read(&c->churned) != before);
	KUNIT_FAIL_AND_ABORT(test, "no progress");
}

/* For a test that ends early as well: its threads are waited for. */
static void stop_threads(void *stop)
{
	WRITE_ONCE(*(bool *)stop, true);
}

/* From the first half on there is a lane for each CPU, in the midst of it. */
static void churn_widen(struct kunit *test, struct churn *c)
{
	unsigned long limit = jiffies + MNK_TIMEOUT;

	while (atomic_read(&c->churned) < NR_CHURNS) {
		KUNIT_ASSERT_TRUE(test, time_before(jiffies, limit));
		msleep(20);
	}
	mmu_interval_widen(c->mm);
}

static void churn_test(struct kunit *test)
{
	struct churn *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	struct mnk_thread *threads[4];
	int i;

	KUNIT_ASSERT_NOT_NULL(test, c);
	c->mm = mnk_mm(test);
	for (i = 0; i < 4; i++)
		threads[i] = mnk_thread_run(test, i & 1 ? churn_intervals :
					    churn_sections, c);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, stop_threads,
							   &c->stop));
	churn_widen(test, c);
	wait_for_churns(test, c, threads[1]);
	wait_for_churns(test, c, threads[3]);
	kunit_release_action(test, stop_threads, &c->stop);
	mnk_thread_join(test, threads[0]);
	mnk_thread_join(test, threads[2]);
	KUNIT_EXPECT_EQ(test, atomic_read(&c->late), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&c->errors), 0);
	KUNIT_EXPECT_GE(test, atomic_read(&c->calls), NR_CHURNS / 4);
}

/* Readers against sections. */

#define NR_CHANGES	20000

/**
 * struct mirror - a device that mirrors one entry of a page table
 * @mni: the interval
 * @lock: protects @spte
 * @pte: the entry: its value changes in sections only
 * @spte: the mirror; 0 is none
 * @stop: the readers shall end
 * @stale: the mirror had a value while a section had the entry
 * @established: faults that succeeded
 * @retried: faults that had to begin again
 */
struct mirror {
	struct mmu_interval_notifier mni;
	spinlock_t lock;	/* spte */
	unsigned long pte, spte;
	bool stop;
	atomic_t stale, established, retried;
};

static bool mirror_invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *range,
			      unsigned long seq)
{
	struct mirror *m = container_of(mni, struct mirror, mni);

	guard(spinlock)(&m->lock);
	mmu_interval_set_seq(mni, seq);
	WRITE_ONCE(m->spte, 0);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = {
	.invalidate = mirror_invalidate,
};

static void mirror_fault(struct mirror *m)
{
	unsigned long seq = mmu_interval_read_begin(&m->mni);
	unsigned long pte = READ_ONCE(m->pte);

	cond_resched();
	guard(spinlock)(&m->lock);
	if (mmu_interval_read_retry(&m->mni, seq)) {
		atomic_inc(&m->retried);
		return;
	}
	WRITE_ONCE(m->spte, pte);
	atomic_inc(&m->established);
}

static void mirror_reader(void *data)
{
	struct mirror *m = data;

	while (!READ_ONCE(m->stop)) {
		mirror_fault(m);
		cond_resched();
	}
}

/* A section: no mirror from start to end, and none of the old value later. */
static void mirror_change(struct mirror *m)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);
	int i;

	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR,
					    m->mni.mm, MNK_ADDR(0), MNK_ADDR(1));
	for (i = 0; i < 20; i++) {
		if (READ_ONCE(m->spte))
			atomic_inc(&m->stale);
		if (i == 10)
			WRITE_ONCE(m->pte, m->pte + 1);
		cpu_relax();
	}
	mmu_notifier_invalidate_range_end(&section);

	scoped_guard(spinlock, &m->lock)
		if (m->spte && m->spte != m->pte)
			atomic_inc(&m->stale);
}

static void mirror_test(struct kunit *test)
{
	struct mirror *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_thread *threads[2];
	int i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	spin_lock_init(&m->lock);
	m->pte = 1;
	KUNIT_ASSERT_EQ(test, 0,
			mmu_interval_notifier_insert(&m->mni, mm, MNK_ADDR(0),
						     PAGE_SIZE, &mirror_ops));
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		threads[i] = mnk_thread_run(test, mirror_reader, m);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, stop_threads,
							   &m->stop));
	for (i = 0; i < NR_CHANGES; i++) {
		if (i == NR_CHANGES / 2)
			mmu_interval_widen(mm);
		mirror_change(m);
		cond_resched();
	}
	kunit_release_action(test, stop_threads, &m->stop);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		mnk_thread_join(test, threads[i]);
	mmu_interval_notifier_remove(&m->mni);

	KUNIT_EXPECT_EQ(test, atomic_read(&m->stale), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&m->established), 0);
	kunit_info(test, "%d established, %d retried\n",
		   atomic_read(&m->established), atomic_read(&m->retried));
}

static struct kunit_case interval_stress_cases[] = {
	KUNIT_CASE_SLOW(many_test),
	KUNIT_CASE_SLOW(churn_test),
	KUNIT_CASE_SLOW(mirror_test),
	{ }
};

static struct kunit_suite interval_stress_suite = {
	.name = "mmu_notifier_interval_stress",
	.test_cases = interval_stress_cases,
};

kunit_test_suite(interval_stress_suite);
