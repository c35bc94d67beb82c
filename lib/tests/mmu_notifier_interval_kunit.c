// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: interval subscriptions and their
 * collision-retry count.
 */

#include <linux/fs.h>
#include <linux/mman.h>

#include "../../mm/mmu_notifier_internal.h"
#include "mmu_notifier_kunit.h"

/* What is called for an interval. */
enum call { CALLED_ONCE, CALLED_FIRST, CALLED_SECOND, NR_CALLED };

/**
 * struct interval - an interval that counts
 * @mni: the interval
 * @lock: the driver's lock
 * @finish: storage for one second pass at a time
 * @test: for the cleanup
 * @calls: callbacks, by kind
 * @order: position of the last callback, by kind, among those of all intervals
 * @event: of the last section
 * @start: of the last section
 * @end: of the last section
 * @seq: number of the last section
 * @gates: where to stop, by kind
 * @refuses: says no where it may not sleep
 * @no_finish: does not ask for a second pass
 * @blind: does not set the count
 */
struct interval {
	struct mmu_interval_notifier mni;
	spinlock_t lock;	/* of the driver */
	struct mmu_interval_notifier_finish finish;
	struct kunit *test;
	unsigned int calls[NR_CALLED];
	int order[NR_CALLED];
	enum mmu_notifier_event event;
	unsigned long start, end, seq;
	struct mnk_gate gates[NR_CALLED];
	bool refuses, no_finish, blind;
};

static atomic_t clock;

static void called(struct interval *itv, enum call call)
{
	struct mnk_gate *gate = &itv->gates[call];

	itv->calls[call]++;
	itv->order[call] = atomic_inc_return(&clock);
	/* Open from the start, unless the test has armed it. */
	if (completion_done(&gate->leave))
		return;
	complete(&gate->entered);
	if (!wait_for_completion_timeout(&gate->leave, MNK_TIMEOUT))
		KUNIT_FAIL(itv->test, "nobody opened the gate\n");
}

static bool hear(struct interval *itv, const struct mmu_notifier_range *range,
		 unsigned long seq, enum call call)
{
	if (mmu_notifier_range_blockable(range))
		might_sleep();
	called(itv, call);
	if (!mmu_notifier_range_blockable(range) && itv->refuses)
		return false;

	itv->event = range->event;
	itv->start = range->start;
	itv->end = range->end;
	itv->seq = seq;
	guard(spinlock)(&itv->lock);
	if (!itv->blind)
		mmu_interval_set_seq(&itv->mni, seq);
	return true;
}

static bool once(struct mmu_interval_notifier *mni,
		 const struct mmu_notifier_range *range, unsigned long seq)
{
	return hear(container_of(mni, struct interval, mni), range, seq,
		    CALLED_ONCE);
}

static bool first(struct mmu_interval_notifier *mni,
		  const struct mmu_notifier_range *range, unsigned long seq,
		  struct mmu_interval_notifier_finish **finish)
{
	struct interval *itv = container_of(mni, struct interval, mni);

	KUNIT_EXPECT_NULL(itv->test, *finish);
	if (!hear(itv, range, seq, CALLED_FIRST))
		return false;
	if (!itv->no_finish)
		*finish = &itv->finish;
	return true;
}

static void second(struct mmu_interval_notifier_finish *finish)
{
	struct interval *itv = container_of(finish, struct interval, finish);

	KUNIT_EXPECT_PTR_EQ(itv->test, finish->notifier, &itv->mni);
	called(itv, CALLED_SECOND);
}

static const struct mmu_interval_notifier_ops once_ops = {
	.invalidate = once,
};

static const struct mmu_interval_notifier_ops twice_ops = {
	.invalidate_start = first,
	.invalidate_finish = second,
};

static struct interval *alloc(struct kunit *test)
{
	struct interval *itv = kunit_kzalloc(test, sizeof(*itv), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, itv);
	itv->test = test;
	spin_lock_init(&itv->lock);
	for (i = 0; i < NR_CALLED; i++) {
		mnk_gate_init(&itv->gates[i]);
		mnk_gate_open(&itv->gates[i]);
	}
	return itv;
}

static void drop(void *itv)
{
	mmu_interval_notifier_remove(&((struct interval *)itv)->mni);
}

/* Every mm has as many lanes as contention would lead to. */
static bool all_lanes;

static int insert_itv(struct kunit *test, struct interval *itv,
		      struct mm_struct *mm, unsigned long from,
		      unsigned long to, const struct mmu_interval_notifier_ops *ops)
{
	int ret = mmu_interval_notifier_insert(&itv->mni, mm, MNK_ADDR(from),
					       (to - from) * PAGE_SIZE, ops);

	if (ret)
		return ret;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, drop, itv));
	if (all_lanes)
		mmu_interval_widen(mm);
	return 0;
}

/* Pages @from to @to of @mm. */
static struct interval *insert(struct kunit *test, struct mm_struct *mm,
			       unsigned long from, unsigned long to,
			       const struct mmu_interval_notifier_ops *ops)
{
	struct interval *itv = alloc(test);

	KUNIT_ASSERT_EQ(test, 0, insert_itv(test, itv, mm, from, to, ops));
	return itv;
}

static void remove_itv(struct kunit *test, struct interval *itv)
{
	kunit_release_action(test, drop, itv);
}

static void arm(struct interval *itv, enum call call)
{
	mnk_gate_init(&itv->gates[call]);
}

/* Calls since the last look, of one kind, and none of another. */
static void expect(struct kunit *test, struct interval *itv, enum call call,
		   unsigned int nr)
{
	int i;

	for (i = 0; i < NR_CALLED; i++) {
		KUNIT_EXPECT_EQ_MSG(test, itv->calls[i], i == call ? nr : 0,
				    "callback %d", i);
		itv->calls[i] = 0;
	}
}

static void open_section(struct mmu_notifier_section *section,
			 struct mm_struct *mm, unsigned long from,
			 unsigned long to)
{
	mmu_notifier_invalidate_range_start(section, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(from), MNK_ADDR(to));
}

static int try_section(struct mmu_notifier_section *section,
		       struct mm_struct *mm, unsigned long from,
		       unsigned long to)
{
	return mmu_notifier_invalidate_range_start_nonblock(section,
							    MMU_NOTIFY_CLEAR, mm,
							    MNK_ADDR(from),
							    MNK_ADDR(to));
}

static void section(struct mm_struct *mm, unsigned long from, unsigned long to)
{
	mnk_section(mm, MNK_ADDR(from), MNK_ADDR(to));
}

static bool retry(struct interval *itv, unsigned long seq)
{
	guard(spinlock)(&itv->lock);
	return mmu_interval_read_retry(&itv->mni, seq);
}

/* Threads. */

struct section_thread {
	struct mm_struct *mm;
	unsigned long from, to;
};

static void run_section(void *data)
{
	struct section_thread *s = data;

	section(s->mm, s->from, s->to);
}

static struct mnk_thread *section_thread(struct kunit *test,
					 struct mm_struct *mm,
					 unsigned long from, unsigned long to)
{
	struct section_thread *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, s);
	*s = (struct section_thread) { .mm = mm, .from = from, .to = to };
	return mnk_thread_run(test, run_section, s);
}

struct reader {
	struct interval *itv;
	unsigned long seq;
};

static void run_read(void *data)
{
	struct reader *r = data;

	r->seq = mmu_interval_read_begin(&r->itv->mni);
}

/* Removal in a thread; the cleanup will not do it again. */
static struct mnk_thread *remove_thread(struct kunit *test, struct interval *itv)
{
	kunit_remove_action(test, drop, itv);
	return mnk_thread_run(test, drop, itv);
}

/* Insertion. */

static bool once_too(struct mmu_interval_notifier *mni,
		     const struct mmu_notifier_range *range, unsigned long seq)
{
	return true;
}

static const struct mmu_interval_notifier_ops bad_ops[] = {
	{ },
	{ .invalidate_start = first },
	{ .invalidate_finish = second },
	{ .invalidate = once_too, .invalidate_finish = second },
	{ .invalidate = once_too, .invalidate_start = first },
	{ .invalidate = once_too, .invalidate_start = first,
	  .invalidate_finish = second },
};

static const struct bad_insert {
	const char *name;
	const struct mmu_interval_notifier_ops *ops;
	unsigned long start, length;
	int ret;
} bad_inserts[] = {
	{ "no ops", NULL, 0, PAGE_SIZE, -EINVAL },
	{ "no callback", &bad_ops[0], 0, PAGE_SIZE, -EINVAL },
	{ "start alone", &bad_ops[1], 0, PAGE_SIZE, -EINVAL },
	{ "finish alone", &bad_ops[2], 0, PAGE_SIZE, -EINVAL },
	{ "invalidate, finish", &bad_ops[3], 0, PAGE_SIZE, -EINVAL },
	{ "invalidate, start", &bad_ops[4], 0, PAGE_SIZE, -EINVAL },
	{ "all", &bad_ops[5], 0, PAGE_SIZE, -EINVAL },
	{ "empty", &once_ops, PAGE_SIZE, 0, -EOVERFLOW },
	{ "beyond the end", &once_ops, -PAGE_SIZE, PAGE_SIZE + 1, -EOVERFLOW },
	{ "everything and one", &once_ops, 1, ULONG_MAX, 0 },
	{ "around the end", &once_ops, PAGE_SIZE, ULONG_MAX, -EOVERFLOW },
	{ "last page", &once_ops, -PAGE_SIZE, PAGE_SIZE, 0 },
};

KUNIT_ARRAY_PARAM_DESC(bad_inserts, bad_inserts, name);

/* The errno, with either function, and nothing left of the attempt. */
static void insert_errors_test(struct kunit *test)
{
	const struct bad_insert *bad = test->param_value;
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = alloc(test), *before = alloc(test);
	int count = atomic_read(&mm->mm_count);

	KUNIT_EXPECT_EQ(test, bad->ret,
			mmu_interval_notifier_insert(&itv->mni, mm, bad->start,
						     bad->length, bad->ops));
	if (!bad->ret)
		mmu_interval_notifier_remove(&itv->mni);
	else
		KUNIT_EXPECT_MEMEQ(test, &itv->mni, &before->mni,
				   sizeof(itv->mni));
	KUNIT_EXPECT_EQ(test, count, atomic_read(&mm->mm_count));

	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, bad->ret,
			mmu_interval_notifier_insert_locked(&before->mni, mm,
							    bad->start,
							    bad->length,
							    bad->ops));
	mmap_write_unlock(mm);
	if (!bad->ret)
		mmu_interval_notifier_remove(&before->mni);
	KUNIT_EXPECT_EQ(test, count, atomic_read(&mm->mm_count));
	section(mm, 0, 1000);
	expect(test, itv, CALLED_ONCE, 0);
}

/* Insertion sets everything, whatever was there. */
static void insert_garbage_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = alloc(test);

	memset(&itv->mni, 0xff, sizeof(itv->mni));
	KUNIT_ASSERT_EQ(test, 0, insert_itv(test, itv, mm, 0, 1, &once_ops));
	/* No number of a section, those are odd. */
	KUNIT_EXPECT_EQ(test, itv->mni.invalidate_seq & 1, 0);
	section(mm, 0, 1);
	expect(test, itv, CALLED_ONCE, 1);
}

static void insert_null_test(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, -EINVAL,
			mmu_interval_notifier_insert(NULL, mnk_mm(test), 0,
						     PAGE_SIZE, &once_ops));
}

static void insert_exiting_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = alloc(test), *old;

	old = insert(test, mm, 0, 1, &once_ops);
	mnk_mm_exit(test, mm);
	KUNIT_EXPECT_EQ(test, -ESRCH,
			insert_itv(test, itv, mm, 0, 1, &once_ops));
	KUNIT_EXPECT_NULL(test, itv->mni.mm);
	remove_itv(test, old);
}

static int insert_locked(struct interval *itv, struct mm_struct *mm,
			 unsigned long page)
{
	return mmu_interval_notifier_insert_locked(&itv->mni, mm, MNK_ADDR(page),
						   PAGE_SIZE, &once_ops);
}

static void insert_locked_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *a = alloc(test), *b = alloc(test);

	mmap_write_lock(mm);
	KUNIT_EXPECT_EQ(test, 0, insert_locked(a, mm, 0));
	KUNIT_EXPECT_EQ(test, 0, insert_locked(b, mm, 1));
	mmap_write_unlock(mm);

	section(mm, 0, 1);
	expect(test, a, CALLED_ONCE, 1);
	expect(test, b, CALLED_ONCE, 0);
	drop(a);
	drop(b);
}

/* The interval holds mm_count, and no more after its removal. */
static void mm_count_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	int count = atomic_read(&mm->mm_count);
	struct interval *itv = insert(test, mm, 0, 1, &once_ops);

	KUNIT_EXPECT_EQ(test, count + 1, atomic_read(&mm->mm_count));
	KUNIT_EXPECT_PTR_EQ(test, itv->mni.mm, mm);
	remove_itv(test, itv);
	KUNIT_EXPECT_EQ(test, count, atomic_read(&mm->mm_count));
}

static void insert_again_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 0, 1, &once_ops);

	remove_itv(test, itv);
	section(mm, 0, 9);
	expect(test, itv, CALLED_ONCE, 0);
	KUNIT_ASSERT_EQ(test, 0, insert_itv(test, itv, mm, 4, 5, &twice_ops));
	section(mm, 0, 1);
	expect(test, itv, CALLED_ONCE, 0);
	itv->no_finish = true;
	section(mm, 4, 5);
	expect(test, itv, CALLED_FIRST, 1);
}

static void remove_twice_test(struct kunit *test)
{
	struct interval *itv = insert(test, mnk_mm(test), 0, 1, &once_ops);
	struct interval *never = alloc(test);

	remove_itv(test, itv);
	kunit_warning_suppress(test) {
		mmu_interval_notifier_remove(&itv->mni);
		mmu_interval_notifier_remove(&never->mni);
		KUNIT_EXPECT_GE(test, KUNIT_SUPPRESSED_WARNING_COUNT(), 1);
	}
}

/* Hit or miss. */

static const struct hit {
	const char *name;
	unsigned long from, to;
	bool hits;
} hits[] = {
	{ "before", 0, 3, false }, { "up to it", 0, 4, false },
	{ "first page", 0, 5, true }, { "left part", 4, 5, true },
	{ "inside", 5, 7, true }, { "itself", 4, 8, true },
	{ "last page", 7, 8, true }, { "right part", 7, 9, true },
	{ "all around", 0, 20, true }, { "behind it", 8, 9, false },
	{ "far behind", 10, 20, false },
};

KUNIT_ARRAY_PARAM_DESC(hits, hits, name);

static void hit_test(struct kunit *test)
{
	const struct hit *hit = test->param_value;
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 4, 8, &once_ops);

	section(mm, hit->from, hit->to);
	expect(test, itv, CALLED_ONCE, hit->hits);
	if (!hit->hits)
		return;
	KUNIT_EXPECT_EQ(test, itv->start, MNK_ADDR(hit->from));
	KUNIT_EXPECT_EQ(test, itv->end, MNK_ADDR(hit->to));
	KUNIT_EXPECT_EQ(test, itv->event, MMU_NOTIFY_CLEAR);
}

/* Same, nested and overlapping intervals: each is called once. */
static void several_hits_test(struct kunit *test)
{
	static const struct { unsigned long from, to; } where[] = {
		{ 0, 10 }, { 2, 4 }, { 2, 4 }, { 3, 6 }, { 4, 5 }, { 9, 12 },
	};
	struct interval *itvs[ARRAY_SIZE(where)];
	struct mm_struct *mm = mnk_mm(test);
	int i;

	for (i = 0; i < ARRAY_SIZE(where); i++)
		itvs[i] = insert(test, mm, where[i].from, where[i].to, &once_ops);
	section(mm, 3, 4);
	for (i = 0; i < ARRAY_SIZE(where); i++)
		expect(test, itvs[i], CALLED_ONCE,
		       where[i].from < 4 && where[i].to > 3);
}

/* One folio: intervals hear the section, and nothing of the page in it. */
static void folio_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 0, 4, &once_ops);
	struct mnk_sub *page = mnk_subscribe(test, mm, &mnk_page_ops);
	DEFINE_MMU_NOTIFIER_SECTION(s);

	mmu_notifier_folio_start(&s, MMU_NOTIFY_CLEAR, mm, MNK_ADDR(0),
				 MNK_ADDR(1));
	expect(test, itv, CALLED_ONCE, 1);
	mmu_notifier_invalidate_page(&s, MNK_ADDR(0), 1);
	mmu_notifier_invalidate_range_end(&s);
	expect(test, itv, CALLED_ONCE, 0);
	MNK_EXPECT(test, page, CALL_PAGE(MNK_ADDR(0), 1, MMU_NOTIFY_CLEAR));
}

static void release_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *a = insert(test, mm, 0, 1, &once_ops);
	struct interval *b = insert(test, mm, 5000, 5001, &twice_ops);

	b->no_finish = true;
	mnk_mm_exit(test, mm);
	KUNIT_EXPECT_EQ(test, a->event, MMU_NOTIFY_RELEASE);
	KUNIT_EXPECT_EQ(test, b->event, MMU_NOTIFY_RELEASE);
	expect(test, a, CALLED_ONCE, 1);
	expect(test, b, CALLED_FIRST, 1);

	/* The section of the exit is over. */
	KUNIT_EXPECT_FALSE(test, retry(a, mmu_interval_read_begin(&a->mni)));
}

/* The count. */

static void retry_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 4, 8, &once_ops);
	unsigned long seq = mmu_interval_read_begin(&itv->mni);

	section(mm, 0, 4);
	KUNIT_EXPECT_FALSE(test, mmu_interval_check_retry(&itv->mni, seq));
	KUNIT_EXPECT_FALSE(test, retry(itv, seq));
	section(mm, 4, 5);
	KUNIT_EXPECT_TRUE(test, mmu_interval_check_retry(&itv->mni, seq));
	KUNIT_EXPECT_TRUE(test, retry(itv, seq));

	seq = mmu_interval_read_begin(&itv->mni);
	KUNIT_EXPECT_FALSE(test, retry(itv, seq));
	section(mm, 0, 9);
	KUNIT_EXPECT_TRUE(test, retry(itv, seq));
}

/* A section that ends before the retry check collides as one that does not. */
static void retry_open_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 4, 8, &once_ops);
	unsigned long seq = mmu_interval_read_begin(&itv->mni);
	DEFINE_MMU_NOTIFIER_SECTION(s);

	open_section(&s, mm, 7, 9);
	KUNIT_EXPECT_TRUE(test, retry(itv, seq));
	mmu_notifier_invalidate_range_end(&s);
	KUNIT_EXPECT_TRUE(test, retry(itv, seq));
}

/* Odd, and no two sections have the same, whatever CPU they run on. */
static void unique_seq_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 0, 1, &once_ops);
	unsigned long seen[32];
	int i, j, cpu = 0;

	for (i = 0; i < ARRAY_SIZE(seen); i++) {
		cpu = cpumask_next_wrap(cpu, cpu_online_mask);
		set_cpus_allowed_ptr(current, cpumask_of(cpu));
		section(mm, 0, 1);
		seen[i] = itv->seq;
		KUNIT_EXPECT_EQ(test, seen[i] & 1, 1);
		for (j = 0; j < i; j++)
			KUNIT_EXPECT_NE(test, seen[i], seen[j]);
	}
	set_cpus_allowed_ptr(current, cpu_possible_mask);
}

/* A section of the driver's own that it does not count makes nobody retry. */
static void blind_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 0, 1, &once_ops);
	unsigned long seq = mmu_interval_read_begin(&itv->mni);

	itv->blind = true;
	section(mm, 0, 1);
	expect(test, itv, CALLED_ONCE, 1);
	KUNIT_EXPECT_FALSE(test, retry(itv, seq));
}

static void begin_waits_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 4, 8, &once_ops);
	struct reader r = { .itv = itv };
	struct mnk_thread *thread;
	DEFINE_MMU_NOTIFIER_SECTION(s);
	DEFINE_MMU_NOTIFIER_SECTION(elsewhere);

	mmu_interval_read_begin(&itv->mni);
	open_section(&s, mm, 5, 6);
	open_section(&elsewhere, mm, 8, 9);
	thread = mnk_thread_run(test, run_read, &r);
	mnk_expect_blocked(test, thread);
	mmu_notifier_invalidate_range_end(&elsewhere);
	mnk_expect_blocked(test, thread);
	mmu_notifier_invalidate_range_end(&s);
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_FALSE(test, retry(itv, r.seq));
}

/* Also for one whose callback has not set the count yet: no retry follows. */
static void begin_waits_for_callback_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 4, 8, &once_ops);
	struct reader r = { .itv = itv };
	struct mnk_thread *changer, *thread;

	arm(itv, CALLED_ONCE);
	changer = section_thread(test, mm, 4, 5);
	mnk_gate_wait(test, &itv->gates[CALLED_ONCE]);
	thread = mnk_thread_run(test, run_read, &r);
	mnk_expect_blocked(test, thread);
	mnk_gate_open(&itv->gates[CALLED_ONCE]);
	mnk_thread_join(test, changer);
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_FALSE(test, retry(itv, r.seq));
}

/* Sections elsewhere hold nobody who has read before. */
static void begin_ignores_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 4, 8, &once_ops);
	struct interval *lower = insert(test, mm, 0, 4, &once_ops);
	struct interval *upper = insert(test, mm, 8, 9, &once_ops);
	DEFINE_MMU_NOTIFIER_SECTION(before);
	DEFINE_MMU_NOTIFIER_SECTION(behind);
	struct reader r = { .itv = itv };
	struct mnk_thread *thread;

	mmu_interval_read_begin(&itv->mni);
	open_section(&before, mm, 0, 4);
	open_section(&behind, mm, 8, 9);
	thread = mnk_thread_run(test, run_read, &r);
	mnk_expect_done(test, thread);
	mmu_notifier_invalidate_range_end(&before);
	mmu_notifier_invalidate_range_end(&behind);
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_FALSE(test, retry(itv, r.seq));
	expect(test, itv, CALLED_ONCE, 0);
	expect(test, lower, CALLED_ONCE, 1);
	expect(test, upper, CALLED_ONCE, 1);
}

/* Sections without a gap in between do not keep a reader for ever. */
static void begin_bounded_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 4, 8, &once_ops);
	struct reader r = { .itv = itv };
	struct mmu_notifier_section s[2];
	struct mmu_notifier_range ranges[2];
	struct mnk_thread *thread;
	int i = 0;

	mmu_notifier_section_init(&s[0], &ranges[0]);
	mmu_notifier_section_init(&s[1], &ranges[1]);
	open_section(&s[0], mm, 4, 8);
	thread = mnk_thread_run(test, run_read, &r);
	do {
		mnk_expect_resting(test, thread);
		open_section(&s[!(i & 1)], mm, 4, 8);
		mmu_notifier_invalidate_range_end(&s[i & 1]);
		i++;
	} while (!wait_for_completion_timeout(&thread->done, HZ / 10) && i < 5);
	KUNIT_EXPECT_TRUE(test, completion_done(&thread->done));
	KUNIT_EXPECT_TRUE(test, retry(itv, r.seq));
	mmu_notifier_invalidate_range_end(&s[i & 1]);
	mnk_thread_join(test, thread);
}

/* A section from each CPU that is online, one behind the other. */
static struct mmu_notifier_section *open_everywhere(struct kunit *test,
						    struct mm_struct *mm,
						    unsigned long from,
						    unsigned long to)
{
	struct mmu_notifier_range *ranges;
	struct mmu_notifier_section *s;
	int cpu, i = 0;

	s = kunit_kcalloc(test, nr_cpu_ids, sizeof(*s), GFP_KERNEL);
	ranges = kunit_kcalloc(test, nr_cpu_ids, sizeof(*ranges), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s);
	KUNIT_ASSERT_NOT_NULL(test, ranges);
	for_each_online_cpu(cpu) {
		set_cpus_allowed_ptr(current, cpumask_of(cpu));
		mmu_notifier_section_init(&s[i], &ranges[i]);
		open_section(&s[i++], mm, from, to);
	}
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	return s;
}

/*
 * A reader waits for the last of @nr open sections. The ends come on this CPU,
 * whatever it is.
 */
static void expect_waits(struct kunit *test, struct interval *itv,
			 struct mmu_notifier_section *s, unsigned int nr)
{
	struct reader r = { .itv = itv };
	struct mnk_thread *thread = mnk_thread_run(test, run_read, &r);
	unsigned int i;

	for (i = 0; i < nr; i++) {
		mnk_expect_blocked(test, thread);
		mmu_notifier_invalidate_range_end(&s[i]);
	}
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_FALSE(test, retry(itv, r.seq));
}

static void begin_waits_all_cpus_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 0, 1, &once_ops);

	expect_waits(test, itv, open_everywhere(test, mm, 0, 2),
		     num_online_cpus());
}

/* Intervals that come in the middle of sections. */

static void insert_in_section_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *old = insert(test, mm, 0, 1, &once_ops), *new;
	DEFINE_MMU_NOTIFIER_SECTION(s);

	open_section(&s, mm, 0, 9);
	new = insert(test, mm, 4, 5, &once_ops);
	expect(test, new, CALLED_ONCE, 0);
	section(mm, 4, 5);
	expect(test, new, CALLED_ONCE, 1);

	expect_waits(test, new, &s, 1);
	expect(test, new, CALLED_ONCE, 0);
	expect(test, old, CALLED_ONCE, 1);
}

/* In the middle of callbacks: both ways, before and behind the walk. */
static void insert_in_callback_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 4, 5, &once_ops);
	struct interval *before, *behind;
	struct mnk_thread *thread;

	arm(itv, CALLED_ONCE);
	thread = section_thread(test, mm, 0, 9);
	mnk_gate_wait(test, &itv->gates[CALLED_ONCE]);
	before = insert(test, mm, 0, 1, &once_ops);
	behind = insert(test, mm, 7, 8, &once_ops);
	mnk_expect_running(test, thread);
	mnk_gate_open(&itv->gates[CALLED_ONCE]);
	mnk_thread_join(test, thread);

	expect(test, before, CALLED_ONCE, 0);
	section(mm, 0, 9);
	expect(test, before, CALLED_ONCE, 1);
	KUNIT_EXPECT_GE(test, behind->calls[CALLED_ONCE], 1);
}

/*
 * A section that hit nothing when it looked is waited for by the first reader of
 * an interval that came later, and by no other.
 */
static void insert_behind_look_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *old = insert(test, mm, 0, 1, &once_ops), *new;
	struct reader r = { };
	DEFINE_MMU_NOTIFIER_SECTION(s);

	mmu_interval_read_begin(&old->mni);
	open_section(&s, mm, 4, 9);
	new = insert(test, mm, 4, 5, &once_ops);
	r.itv = old;
	mnk_thread_join(test, mnk_thread_run(test, run_read, &r));

	expect_waits(test, new, &s, 1);
	expect(test, new, CALLED_ONCE, 0);

	r.itv = new;
	open_section(&s, mm, 5, 9);
	mnk_thread_join(test, mnk_thread_run(test, run_read, &r));

	/* Counted in the other phase. */
	expect_waits(test, insert(test, mm, 5, 6, &once_ops), &s, 1);
}

static void insert_behind_looks_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mmu_notifier_section *s;

	insert(test, mm, 0, 1, &once_ops);
	s = open_everywhere(test, mm, 4, 5);
	expect_waits(test, insert(test, mm, 4, 5, &once_ops), s,
		     num_online_cpus());
}

/*
 * Two readers, one section each that began before their interval was there. The
 * second reader waits for both, but not for what begins then.
 */
static void insert_behind_two_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct reader a = { }, b = { };
	struct mnk_thread *first_thread, *next_thread;
	DEFINE_MMU_NOTIFIER_SECTION(s);
	DEFINE_MMU_NOTIFIER_SECTION(next);
	DEFINE_MMU_NOTIFIER_SECTION(last);

	insert(test, mm, 0, 1, &once_ops);
	open_section(&s, mm, 4, 5);
	a.itv = insert(test, mm, 4, 5, &once_ops);
	first_thread = mnk_thread_run(test, run_read, &a);
	mnk_expect_blocked(test, first_thread);

	open_section(&next, mm, 6, 7);
	b.itv = insert(test, mm, 6, 7, &once_ops);
	next_thread = mnk_thread_run(test, run_read, &b);
	mnk_expect_blocked(test, next_thread);

	mmu_notifier_invalidate_range_end(&s);
	mnk_expect_done(test, first_thread);
	mnk_expect_blocked(test, next_thread);
	open_section(&last, mm, 8, 9);
	mmu_notifier_invalidate_range_end(&next);
	mnk_expect_done(test, next_thread);
	mmu_notifier_invalidate_range_end(&last);
}

struct inserter {
	struct interval *itv;
	struct mm_struct *mm;
	int ret;
};

static void run_insert(void *data)
{
	struct inserter *i = data;

	i->ret = mmu_interval_notifier_insert(&i->itv->mni, i->mm, MNK_ADDR(0),
					      PAGE_SIZE, &once_ops);
}

/*
 * A section that began before the first interval of the mm is on no lane, and
 * nobody would wait for it: the insertion does, and so does the next one that
 * comes in the meantime.
 */
static void first_insert_waits_test(struct kunit *test)
{
	struct file *file = mnk_file(test, PAGE_SIZE);
	struct inserter a = { .itv = alloc(test) }, b = { .itv = alloc(test) };
	struct mnk_thread *first_thread, *next_thread;
	DEFINE_MMU_NOTIFIER_SECTION(s);

	mnk_map(test, file, PAGE_SIZE, MAP_SHARED);
	a.mm = current->mm;
	b.mm = current->mm;
	a.ret = -EINPROGRESS;
	b.ret = -EINPROGRESS;
	mnk_subscribe(test, current->mm, &mnk_range_ops);

	i_mmap_lock_read(file->f_mapping);
	open_section(&s, current->mm, 0, 1);
	first_thread = mnk_thread_run(test, run_insert, &a);
	mnk_expect_blocked(test, first_thread);
	next_thread = mnk_thread_run(test, run_insert, &b);
	mnk_expect_blocked(test, next_thread);
	mmu_notifier_invalidate_range_end(&s);
	mnk_expect_blocked(test, first_thread);
	mnk_expect_running(test, next_thread);
	i_mmap_unlock_read(file->f_mapping);
	mnk_thread_join(test, first_thread);
	mnk_thread_join(test, next_thread);

	KUNIT_EXPECT_EQ(test, a.ret, 0);
	KUNIT_EXPECT_EQ(test, b.ret, 0);
	expect(test, a.itv, CALLED_ONCE, 0);
	section(current->mm, 0, 1);
	expect(test, a.itv, CALLED_ONCE, 1);
	expect(test, b.itv, CALLED_ONCE, 1);
	drop(a.itv);
	drop(b.itv);
}

/*
 * The insertion has drained the lock of one file and waits for that of another. A
 * section that begins under the first one now is not waited for, but on a lane.
 */
static void first_insert_publishes_test(struct kunit *test)
{
	struct file *files[] = { mnk_file(test, PAGE_SIZE), mnk_file(test, PAGE_SIZE) };
	struct inserter i = { .itv = alloc(test), .ret = -EINPROGRESS };
	struct reader r = { .itv = i.itv };
	struct mnk_thread *inserter, *reader;
	unsigned long addr[2], first, n;
	DEFINE_MMU_NOTIFIER_SECTION(s);

	for (n = 0; n < 2; n++)
		addr[n] = mnk_map(test, files[n], PAGE_SIZE, MAP_SHARED);
	i.mm = current->mm;
	mnk_subscribe(test, current->mm, &mnk_range_ops);
	/* VMAs are drained in the order of their addresses. */
	first = addr[1] < addr[0];

	i_mmap_lock_read(files[!first]->f_mapping);
	inserter = mnk_thread_run(test, run_insert, &i);
	mnk_expect_blocked(test, inserter);
	down_read_nested(&files[first]->f_mapping->i_mmap_rwsem,
			 SINGLE_DEPTH_NESTING);
	open_section(&s, current->mm, 0, 1);
	i_mmap_unlock_read(files[!first]->f_mapping);
	mnk_thread_join(test, inserter);
	KUNIT_EXPECT_EQ(test, i.ret, 0);

	reader = mnk_thread_run(test, run_read, &r);
	mnk_expect_blocked(test, reader);
	mmu_notifier_invalidate_range_end(&s);
	i_mmap_unlock_read(files[first]->f_mapping);
	mnk_thread_join(test, reader);
	drop(i.itv);
}

/* Intervals that leave in the middle of sections. */

static void remove_in_section_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *stays = insert(test, mm, 0, 9, &once_ops);
	struct interval *leaves = insert(test, mm, 0, 9, &once_ops);
	DEFINE_MMU_NOTIFIER_SECTION(s);

	open_section(&s, mm, 0, 9);
	expect(test, leaves, CALLED_ONCE, 1);
	remove_itv(test, leaves);
	section(mm, 0, 9);
	mmu_notifier_invalidate_range_end(&s);
	expect(test, leaves, CALLED_ONCE, 0);
	expect(test, stays, CALLED_ONCE, 2);
}

static const struct waits {
	const char *name;
	const struct mmu_interval_notifier_ops *ops;
	enum call call;
} waits[] = {
	{ "invalidate", &once_ops, CALLED_ONCE },
	{ "invalidate_start", &twice_ops, CALLED_FIRST },
	{ "invalidate_finish", &twice_ops, CALLED_SECOND },
};

KUNIT_ARRAY_PARAM_DESC(waits, waits, name);

/* Removal waits for its own callback, and lets no other one begin. */
static void remove_waits_test(struct kunit *test)
{
	const struct waits *waits = test->param_value;
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 0, 1, waits->ops);
	struct mnk_thread *changer, *remover;
	unsigned int calls;

	arm(itv, waits->call);
	changer = section_thread(test, mm, 0, 1);
	mnk_gate_wait(test, &itv->gates[waits->call]);
	remover = remove_thread(test, itv);
	mnk_expect_blocked(test, remover);

	calls = itv->calls[CALLED_ONCE] + itv->calls[CALLED_FIRST];
	section(mm, 0, 1);
	KUNIT_EXPECT_EQ(test, calls,
			itv->calls[CALLED_ONCE] + itv->calls[CALLED_FIRST]);

	mnk_gate_open(&itv->gates[waits->call]);
	mnk_thread_join(test, remover);
	mnk_thread_join(test, changer);
	section(mm, 0, 1);
	KUNIT_EXPECT_EQ(test, calls,
			itv->calls[CALLED_ONCE] + itv->calls[CALLED_FIRST]);
}

/* Between its two passes the interval is not gone either. */
static void remove_between_passes_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 0, 4, &twice_ops);
	struct interval *next = insert(test, mm, 1, 2, &once_ops);
	struct mnk_thread *changer, *remover;

	arm(next, CALLED_ONCE);
	changer = section_thread(test, mm, 0, 4);
	mnk_gate_wait(test, &next->gates[CALLED_ONCE]);
	remover = remove_thread(test, itv);
	mnk_expect_blocked(test, remover);
	KUNIT_EXPECT_EQ(test, itv->calls[CALLED_SECOND], 0);
	mnk_gate_open(&next->gates[CALLED_ONCE]);
	mnk_thread_join(test, remover);
	KUNIT_EXPECT_EQ(test, itv->calls[CALLED_SECOND], 1);
	mnk_thread_join(test, changer);
}

/*
 * The callbacks of others delay nobody, and the walk goes on behind an interval
 * that left, whether it was called already or was to be next.
 */
static void remove_ignores_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itvs[5];
	struct mnk_thread *changer;
	int i;

	for (i = 0; i < ARRAY_SIZE(itvs); i++)
		itvs[i] = insert(test, mm, i, i + 1, &once_ops);
	arm(itvs[2], CALLED_ONCE);
	changer = section_thread(test, mm, 0, 9);
	mnk_gate_wait(test, &itvs[2]->gates[CALLED_ONCE]);
	mnk_thread_join(test, remove_thread(test, itvs[1]));
	mnk_thread_join(test, remove_thread(test, itvs[3]));
	mnk_expect_running(test, changer);
	mnk_gate_open(&itvs[2]->gates[CALLED_ONCE]);
	mnk_thread_join(test, changer);

	for (i = 0; i < ARRAY_SIZE(itvs); i++)
		expect(test, itvs[i], CALLED_ONCE, i != 3);
}

/*
 * An interval waits for the callback of another section: it is called no more, be
 * it all that a section hits, the first, or one in between.
 */
static void dying_not_called_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *before = insert(test, mm, 0, 1, &once_ops);
	struct interval *dying = insert(test, mm, 1, 2, &once_ops);
	struct interval *next = insert(test, mm, 2, 3, &once_ops);
	struct mnk_thread *changer, *remover;

	arm(dying, CALLED_ONCE);
	changer = section_thread(test, mm, 1, 2);
	mnk_gate_wait(test, &dying->gates[CALLED_ONCE]);
	remover = remove_thread(test, dying);
	mnk_expect_blocked(test, remover);
	section(mm, 1, 2);
	section(mm, 1, 3);
	section(mm, 0, 3);
	expect(test, before, CALLED_ONCE, 1);
	expect(test, dying, CALLED_ONCE, 1);
	expect(test, next, CALLED_ONCE, 2);
	mnk_gate_open(&dying->gates[CALLED_ONCE]);
	mnk_thread_join(test, remover);
	mnk_thread_join(test, changer);
}

/* Sections that must not block. */

static void nonblock_agreed_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 0, 1, &once_ops);
	struct reader r = { .itv = itv };
	struct mnk_thread *thread;
	DEFINE_MMU_NOTIFIER_SECTION(s);

	KUNIT_EXPECT_EQ(test, 0, try_section(&s, mm, 0, 1));
	expect(test, itv, CALLED_ONCE, 1);
	thread = mnk_thread_run(test, run_read, &r);
	mnk_expect_blocked(test, thread);
	mmu_notifier_invalidate_range_end(&s);
	mnk_thread_join(test, thread);
}

/* A reader finds no section: what was refused is not open. */
static void expect_closed(struct kunit *test, struct interval *itv,
			  const struct mmu_notifier_range *range)
{
	struct reader r = { .itv = itv };

	/* Nobody would let a reader go on. */
	KUNIT_ASSERT_PTR_NE_MSG(test, *range->lane_node.pprev, &range->lane_node,
				"the section is still on its lane");
	mnk_thread_join(test, mnk_thread_run(test, run_read, &r));
	KUNIT_EXPECT_FALSE(test, retry(itv, r.seq));
}

static void nonblock_refused_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *agrees = insert(test, mm, 0, 4, &once_ops);
	struct interval *refuses = insert(test, mm, 1, 4, &once_ops);
	struct interval *behind = insert(test, mm, 2, 4, &once_ops);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	DEFINE_MMU_NOTIFIER_SECTION(s);

	refuses->refuses = true;
	KUNIT_EXPECT_EQ(test, -EAGAIN, try_section(&s, mm, 0, 4));
	KUNIT_EXPECT_EQ(test, s.state, MMU_SECTION_CLOSED);
	expect(test, agrees, CALLED_ONCE, 1);
	expect(test, refuses, CALLED_ONCE, 1);
	expect(test, behind, CALLED_ONCE, 0);
	expect_closed(test, agrees, &s_range);
	expect_closed(test, refuses, &s_range);

	/* What has a start has its end, and the other way round. */
	KUNIT_EXPECT_EQ(test, mnk_count(sub, MNK_START), mnk_count(sub, MNK_END));
	sub->nr = 0;

	refuses->refuses = false;
	KUNIT_EXPECT_EQ(test, 0, try_section(&s, mm, 0, 4));
	mmu_notifier_invalidate_range_end(&s);
	KUNIT_EXPECT_EQ(test, sub->nr, 2);
	expect(test, behind, CALLED_ONCE, 1);
}

/* A plain subscriber refuses: the other one hears the end, intervals close. */
static void nonblock_refused_by_plain_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 0, 4, &once_ops);
	struct interval *two = insert(test, mm, 0, 4, &twice_ops);
	struct mnk_sub *agrees = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *refuses = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *late = mnk_subscribe(test, mm, &mnk_range_ops);
	DEFINE_MMU_NOTIFIER_SECTION(s);

	refuses->start_ret = -EAGAIN;
	KUNIT_EXPECT_EQ(test, -EAGAIN, try_section(&s, mm, 0, 4));
	KUNIT_EXPECT_EQ(test, mnk_count(refuses, MNK_START), 1);
	KUNIT_EXPECT_EQ(test, mnk_count(refuses, MNK_END), 0);
	KUNIT_EXPECT_EQ(test, mnk_count(agrees, MNK_START),
			mnk_count(agrees, MNK_END));
	KUNIT_EXPECT_EQ(test, mnk_count(late, MNK_START),
			mnk_count(late, MNK_END));
	KUNIT_EXPECT_EQ(test, 1, mnk_count(agrees, MNK_START) +
			mnk_count(late, MNK_START));
	KUNIT_EXPECT_EQ(test, two->calls[CALLED_SECOND], 1);
	expect_closed(test, itv, &s_range);
	expect_closed(test, two, &s_range);
}

/* Who may sleep has no reason to refuse: a warning, and the section is open. */
static bool no(struct mmu_interval_notifier *mni,
	       const struct mmu_notifier_range *range, unsigned long seq)
{
	return false;
}

static void blockable_refused_test(struct kunit *test)
{
	static const struct mmu_interval_notifier_ops no_ops = {
		.invalidate = no,
	};
	struct mm_struct *mm = mnk_mm(test);
	struct interval *bad = insert(test, mm, 0, 1, &no_ops);
	struct interval *good = insert(test, mm, 1, 2, &once_ops);
	DEFINE_MMU_NOTIFIER_SECTION(s);

	kunit_warning_suppress(test) {
		open_section(&s, mm, 0, 2);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	KUNIT_EXPECT_NE(test, s.state, MMU_SECTION_CLOSED);
	mmu_notifier_invalidate_range_end(&s);
	expect(test, good, CALLED_ONCE, 1);
	expect(test, bad, CALLED_ONCE, 0);
}

/* Two passes. */

static void two_pass_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *a = insert(test, mm, 0, 9, &twice_ops);
	struct interval *b = insert(test, mm, 1, 2, &once_ops);
	struct interval *c = insert(test, mm, 2, 3, &twice_ops);
	struct interval *d = insert(test, mm, 3, 4, &twice_ops);

	c->no_finish = true;
	section(mm, 0, 9);

	/* First passes in the order of the addresses, then the second ones. */
	KUNIT_EXPECT_LT(test, a->order[CALLED_FIRST], b->order[CALLED_ONCE]);
	KUNIT_EXPECT_LT(test, b->order[CALLED_ONCE], c->order[CALLED_FIRST]);
	KUNIT_EXPECT_LT(test, c->order[CALLED_FIRST], d->order[CALLED_FIRST]);
	KUNIT_EXPECT_LT(test, d->order[CALLED_FIRST], a->order[CALLED_SECOND]);
	KUNIT_EXPECT_LT(test, a->order[CALLED_SECOND], d->order[CALLED_SECOND]);
	KUNIT_EXPECT_EQ(test, a->calls[CALLED_FIRST], 1);
	KUNIT_EXPECT_EQ(test, a->calls[CALLED_SECOND], 1);
	expect(test, b, CALLED_ONCE, 1);
	expect(test, c, CALLED_FIRST, 1);
	KUNIT_EXPECT_EQ(test, d->calls[CALLED_SECOND], 1);
}

/* Both passes come before the core VM changes anything. */
static void two_pass_in_start_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *itv = insert(test, mm, 0, 9, &twice_ops);
	DEFINE_MMU_NOTIFIER_SECTION(s);

	open_section(&s, mm, 0, 1);
	KUNIT_EXPECT_EQ(test, itv->calls[CALLED_SECOND], 1);
	mmu_notifier_invalidate_range_end(&s);
	KUNIT_EXPECT_EQ(test, itv->calls[CALLED_SECOND], 1);
}

/* Who began is finished, also when the section fails. */
static void two_pass_refused_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *a = insert(test, mm, 0, 9, &twice_ops);
	struct interval *b = insert(test, mm, 1, 9, &twice_ops);
	struct interval *c = insert(test, mm, 2, 9, &twice_ops);
	DEFINE_MMU_NOTIFIER_SECTION(s);

	b->refuses = true;
	KUNIT_EXPECT_EQ(test, -EAGAIN, try_section(&s, mm, 0, 9));
	KUNIT_EXPECT_EQ(test, a->calls[CALLED_FIRST], 1);
	KUNIT_EXPECT_EQ(test, a->calls[CALLED_SECOND], 1);
	/* Or removal would wait for it for ever. */
	if (!a->calls[CALLED_SECOND])
		atomic_dec(&a->mni.active);
	expect(test, b, CALLED_FIRST, 1);
	expect(test, c, CALLED_FIRST, 0);
	expect_closed(test, a, &s_range);
}

/*
 * There are more lanes while sections are open: those that began before are waited
 * for, whether they hit an interval or none.
 */
static void widen_in_sections_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct reader old = { .itv = insert(test, mm, 0, 1, &once_ops) }, new = { };
	struct mnk_thread *old_reader, *new_reader;
	DEFINE_MMU_NOTIFIER_SECTION(misses);
	DEFINE_MMU_NOTIFIER_SECTION(hits);

	mmu_interval_read_begin(&old.itv->mni);
	open_section(&hits, mm, 0, 1);
	open_section(&misses, mm, 5, 6);
	mmu_interval_widen(mm);
	new.itv = insert(test, mm, 2, 3, &once_ops);
	old_reader = mnk_thread_run(test, run_read, &old);
	new_reader = mnk_thread_run(test, run_read, &new);
	mnk_expect_blocked(test, old_reader);
	mnk_expect_blocked(test, new_reader);
	mmu_notifier_invalidate_range_end(&misses);
	mnk_expect_done(test, new_reader);
	mnk_expect_blocked(test, old_reader);
	mmu_notifier_invalidate_range_end(&hits);
	mnk_thread_join(test, old_reader);
}

static struct kunit_case interval_cases[] = {
	KUNIT_CASE_PARAM(insert_errors_test, bad_inserts_gen_params),
	KUNIT_CASE(insert_garbage_test),
	KUNIT_CASE(insert_null_test),
	KUNIT_CASE(insert_exiting_test),
	KUNIT_CASE(insert_locked_test),
	KUNIT_CASE(mm_count_test),
	KUNIT_CASE(insert_again_test),
	KUNIT_CASE(remove_twice_test),
	KUNIT_CASE_PARAM(hit_test, hits_gen_params),
	KUNIT_CASE(several_hits_test),
	KUNIT_CASE(folio_test),
	KUNIT_CASE(release_test),
	KUNIT_CASE(retry_test),
	KUNIT_CASE(retry_open_test),
	KUNIT_CASE(unique_seq_test),
	KUNIT_CASE(blind_test),
	KUNIT_CASE(begin_waits_test),
	KUNIT_CASE(begin_waits_for_callback_test),
	KUNIT_CASE(begin_ignores_test),
	KUNIT_CASE(begin_bounded_test),
	KUNIT_CASE(begin_waits_all_cpus_test),
	KUNIT_CASE(insert_in_section_test),
	KUNIT_CASE(insert_in_callback_test),
	KUNIT_CASE(insert_behind_look_test),
	KUNIT_CASE(insert_behind_looks_test),
	KUNIT_CASE(insert_behind_two_test),
	KUNIT_CASE(first_insert_waits_test),
	KUNIT_CASE(first_insert_publishes_test),
	KUNIT_CASE(remove_in_section_test),
	KUNIT_CASE_PARAM(remove_waits_test, waits_gen_params),
	KUNIT_CASE(remove_between_passes_test),
	KUNIT_CASE(remove_ignores_test),
	KUNIT_CASE(dying_not_called_test),
	KUNIT_CASE(nonblock_agreed_test),
	KUNIT_CASE(nonblock_refused_test),
	KUNIT_CASE(nonblock_refused_by_plain_test),
	KUNIT_CASE(blockable_refused_test),
	KUNIT_CASE(two_pass_test),
	KUNIT_CASE(two_pass_in_start_test),
	KUNIT_CASE(two_pass_refused_test),
	KUNIT_CASE(widen_in_sections_test),
	{ }
};

static struct kunit_suite interval_suite = {
	.name = "mmu_notifier_interval",
	.test_cases = interval_cases,
};

/* The same once more, where a section enters the lane of its CPU. */

static int lanes_init(struct kunit_suite *suite)
{
	all_lanes = true;
	return 0;
}

static void lanes_exit(struct kunit_suite *suite)
{
	all_lanes = false;
}

/* KUnit writes to cases: each suite has its own. */
static struct kunit_case lanes_cases[ARRAY_SIZE(interval_cases)];

static int __init copy_cases(void)
{
	memcpy(lanes_cases, interval_cases, sizeof(lanes_cases));
	return 0;
}
core_initcall(copy_cases);

static struct kunit_suite lanes_suite = {
	.name = "mmu_notifier_interval_lanes",
	.suite_init = lanes_init,
	.suite_exit = lanes_exit,
	.test_cases = lanes_cases,
};

kunit_test_suites(&interval_suite, &lanes_suite);
