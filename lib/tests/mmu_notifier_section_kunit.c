// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of the MMU notifiers: sections and the single pages in them. */

#include "mmu_notifier_kunit.h"

#define NR_SUBS	3

static void order_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *subs[NR_SUBS];
	int i, last_start = 0, first_end = INT_MAX;

	mnk_subscribe_all(test, mm, subs, NR_SUBS);
	mnk_section(mm, MNK_ADDR(3), MNK_ADDR(7));

	/* Every start comes before the changes, every end behind them. */
	for (i = 0; i < NR_SUBS; i++) {
		last_start = max(last_start, subs[i]->calls[0].order);
		first_end = min(first_end, subs[i]->calls[1].order);
	}
	KUNIT_EXPECT_LT(test, last_start, first_end);
	for (i = 0; i < NR_SUBS; i++)
		MNK_EXPECT(test, subs[i],
			   CALL_START(MNK_ADDR(3), MNK_ADDR(7), MMU_NOTIFY_CLEAR),
			   CALL_END(MNK_ADDR(3), MNK_ADDR(7), MMU_NOTIFY_CLEAR));
}

/* Start and end tell the event, the owner and the range, unchanged. */
static void range_fields_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	DEFINE_MMU_NOTIFIER_SECTION(section);
	enum mmu_notifier_event event;

	for (event = MMU_NOTIFY_UNMAP; event <= MMU_NOTIFY_EXCLUSIVE; event++) {
		struct mnk_call want[] = {
			CALL_START(MNK_ADDR(event), MNK_ADDR(9), event),
			CALL_END(MNK_ADDR(event), MNK_ADDR(9), event),
		};

		want[0].owner = test;
		want[1].owner = test;
		mmu_notifier_invalidate_range_start_owner(&section, event, mm,
							  MNK_ADDR(event),
							  MNK_ADDR(9), test);
		mmu_notifier_invalidate_range_end(&section);
		mnk_expect_calls(test, sub, want, 2);
	}
}

/* The end comes once, at the first of the calls for it. */
static void end_twice_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_invalidate_range_end(&section);
	mnk_expect_silence(test, sub);
	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_invalidate_range_end(&section);
	mmu_notifier_invalidate_range_end(&section);
	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));
}

static void leave_open(struct mm_struct *mm)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_UNMAP, mm,
					    MNK_ADDR(0), MNK_ADDR(1));
}

/* A section cannot be left open by returning from the middle of it. */
static void scope_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);

	leave_open(mm);
	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_UNMAP),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_UNMAP));
}

/* Start and end in different functions: no cleanup, the owner closes. */
static void separate_storage_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mmu_notifier_range range;
	struct mmu_notifier_section section;

	mmu_notifier_section_init(&section, &range);
	mmu_notifier_invalidate_range_end(&section);
	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_UNMAP, mm,
					    MNK_ADDR(0), MNK_ADDR(1));
	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_UNMAP));
	mmu_notifier_invalidate_range_end(&section);
	MNK_EXPECT(test, sub,
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_UNMAP));
}

/* Nested, then overlapping: each end names the range of its own start. */
static void nest_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	DEFINE_MMU_NOTIFIER_SECTION(a);
	DEFINE_MMU_NOTIFIER_SECTION(b);

	mmu_notifier_invalidate_range_start(&a, MMU_NOTIFY_UNMAP, mm,
					    MNK_ADDR(0), MNK_ADDR(8));
	mmu_notifier_invalidate_range_start(&b, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(2), MNK_ADDR(4));
	mmu_notifier_invalidate_range_end(&b);
	mmu_notifier_invalidate_range_start(&b, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(6), MNK_ADDR(10));
	mmu_notifier_invalidate_range_end(&a);
	mmu_notifier_invalidate_range_end(&b);

	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(8), MMU_NOTIFY_UNMAP),
		   CALL_START(MNK_ADDR(2), MNK_ADDR(4), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(2), MNK_ADDR(4), MMU_NOTIFY_CLEAR),
		   CALL_START(MNK_ADDR(6), MNK_ADDR(10), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(8), MMU_NOTIFY_UNMAP),
		   CALL_END(MNK_ADDR(6), MNK_ADDR(10), MMU_NOTIFY_CLEAR));
}

/* A section whose start callback sleeps does not hold up another one. */
static void parallel_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, sub, MNK_START);
	struct mnk_thread *thread;

	thread = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, gate);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(2));
	mnk_expect_running(test, thread);
	mnk_gate_open(gate);
	mnk_thread_join(test, thread);

	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_START(MNK_ADDR(0), MNK_ADDR(2), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(2), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));
}

/* Folio sections: who hears what. */

static void folio_mixed_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *page = mnk_subscribe(test, mm, &mnk_page_ops);
	struct mnk_sub *range = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *page2 = mnk_subscribe(test, mm, &mnk_page_ops);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_folio_start(&section, MMU_NOTIFY_PROTECTION_PAGE, mm,
				 MNK_ADDR(0), MNK_ADDR(16));
	mnk_expect_silence(test, page);
	mnk_expect_silence(test, page2);
	MNK_EXPECT(test, range, CALL_START(MNK_ADDR(0), MNK_ADDR(16),
					   MMU_NOTIFY_PROTECTION_PAGE));

	/* A large folio is one call with the number of its pages. */
	mmu_notifier_invalidate_page(&section, MNK_ADDR(4), 8);
	MNK_EXPECT(test, page,
		   CALL_PAGE(MNK_ADDR(4), 8, MMU_NOTIFY_PROTECTION_PAGE));
	MNK_EXPECT(test, page2,
		   CALL_PAGE(MNK_ADDR(4), 8, MMU_NOTIFY_PROTECTION_PAGE));
	mnk_expect_silence(test, range);

	mmu_notifier_invalidate_range_end(&section);
	mnk_expect_silence(test, page);
	mnk_expect_silence(test, page2);
	MNK_EXPECT(test, range, CALL_END(MNK_ADDR(0), MNK_ADDR(16),
					 MMU_NOTIFY_PROTECTION_PAGE));
}

/* A folio section that found nothing to do costs a page subscriber nothing. */
static void folio_nothing_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *page = mnk_subscribe(test, mm, &mnk_page_ops);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_folio_start(&section, MMU_NOTIFY_CLEAR, mm, MNK_ADDR(0),
				 MNK_ADDR(1));
	mmu_notifier_invalidate_range_end(&section);
	mnk_expect_silence(test, page);
}

/* Under a range, and outside of a section, page calls are not passed on. */
static void page_call_in_range_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *page = mnk_subscribe(test, mm, &mnk_page_ops);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_invalidate_page(&section, MNK_ADDR(0), 1);
	mnk_expect_silence(test, page);

	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(0), MNK_ADDR(2));
	mmu_notifier_invalidate_page(&section, MNK_ADDR(0), 1);
	mmu_notifier_invalidate_range_end(&section);
	mmu_notifier_invalidate_page(&section, MNK_ADDR(1), 1);
	MNK_EXPECT(test, page,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(2), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(2), MMU_NOTIFY_CLEAR));
}

/* Sections that must not block. */

static int start_nonblock(struct mmu_notifier_section *section,
			  struct mm_struct *mm)
{
	return mmu_notifier_invalidate_range_start_nonblock(section,
							    MMU_NOTIFY_CLEAR, mm,
							    MNK_ADDR(0),
							    MNK_ADDR(1));
}

#define NONBLOCK_START	\
	CALL_START_NONBLOCK(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR)
#define NONBLOCK_END	\
	CALL_END_NONBLOCK(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR)

static void nonblock_agreed_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *subs[NR_SUBS];
	DEFINE_MMU_NOTIFIER_SECTION(section);
	int i;

	mnk_subscribe_all(test, mm, subs, NR_SUBS);
	KUNIT_EXPECT_EQ(test, 0, start_nonblock(&section, mm));
	for (i = 0; i < NR_SUBS; i++)
		MNK_EXPECT(test, subs[i], NONBLOCK_START);
	mmu_notifier_invalidate_range_end(&section);
	for (i = 0; i < NR_SUBS; i++)
		MNK_EXPECT(test, subs[i], NONBLOCK_END);
}

/* Who is called first is the core's business: find out. */
static void sort_by_turn(struct kunit *test, struct mm_struct *mm,
			 struct mnk_sub **subs)
{
	int i, j;

	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	for (i = 0; i < NR_SUBS; i++)
		for (j = i; j > 0; j--)
			if (subs[j - 1]->calls[0].order > subs[j]->calls[0].order)
				swap(subs[j - 1], subs[j]);
	for (i = 0; i < NR_SUBS; i++)
		subs[i]->nr = 0;
}

static const struct refusal {
	const char *name;
	int turn;
} refusals[] = { { "first", 0 }, { "middle", 1 }, { "last", 2 } };

KUNIT_ARRAY_PARAM_DESC(refusals, refusals, name);

/* One refuses: those who had agreed hear one end, nobody else hears any. */
static void nonblock_refused_test(struct kunit *test)
{
	const struct refusal *refusal = test->param_value;
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *subs[NR_SUBS];
	DEFINE_MMU_NOTIFIER_SECTION(section);
	int i;

	mnk_subscribe_all(test, mm, subs, NR_SUBS);
	sort_by_turn(test, mm, subs);
	subs[refusal->turn]->start_ret = -EAGAIN;

	KUNIT_EXPECT_EQ(test, -EAGAIN, start_nonblock(&section, mm));
	KUNIT_EXPECT_EQ(test, section.state, MMU_SECTION_CLOSED);
	mmu_notifier_invalidate_range_end(&section);

	for (i = 0; i < refusal->turn; i++)
		MNK_EXPECT(test, subs[i], NONBLOCK_START, NONBLOCK_END);
	MNK_EXPECT(test, subs[i], NONBLOCK_START);
	for (i++; i < NR_SUBS; i++)
		mnk_expect_silence(test, subs[i]);

	/* The refusal has no consequences for the next section. */
	subs[refusal->turn]->start_ret = 0;
	KUNIT_EXPECT_EQ(test, 0, start_nonblock(&section, mm));
	mmu_notifier_invalidate_range_end(&section);
	for (i = 0; i < NR_SUBS; i++)
		MNK_EXPECT(test, subs[i], NONBLOCK_START, NONBLOCK_END);
}

/* An error that the contract does not know is reported, and unwound as well. */
static void nonblock_bad_error_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *subs[NR_SUBS];
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mnk_subscribe_all(test, mm, subs, NR_SUBS);
	sort_by_turn(test, mm, subs);
	subs[1]->start_ret = -EBUSY;

	kunit_warning_suppress(test) {
		KUNIT_EXPECT_NE(test, 0, start_nonblock(&section, mm));
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	MNK_EXPECT(test, subs[0], NONBLOCK_START, NONBLOCK_END);
	MNK_EXPECT(test, subs[1], NONBLOCK_START);
	mnk_expect_silence(test, subs[2]);
	KUNIT_EXPECT_EQ(test, section.state, MMU_SECTION_CLOSED);
}

/* Subscribers that come and go in the middle of a section. */

static void newcomer_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *old = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *new;
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(0), MNK_ADDR(1));
	new = mnk_subscribe(test, mm, &mnk_range_ops);
	mnk_section(mm, MNK_ADDR(2), MNK_ADDR(3));
	MNK_EXPECT(test, new,
		   CALL_START(MNK_ADDR(2), MNK_ADDR(3), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(2), MNK_ADDR(3), MMU_NOTIFY_CLEAR));
	mmu_notifier_invalidate_range_end(&section);

	mnk_expect_silence(test, new);
	MNK_EXPECT(test, old,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_START(MNK_ADDR(2), MNK_ADDR(3), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(2), MNK_ADDR(3), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));
}

/* The first subscription of an mm, in the middle of a section that saw none. */
static void first_newcomer_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub;
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(0), MNK_ADDR(1));
	sub = mnk_subscribe(test, mm, &mnk_range_ops);
	mmu_notifier_invalidate_range_end(&section);
	mnk_expect_silence(test, sub);
}

/* A newcomer on the place of one that heard the start is still a newcomer. */
static void reregister_in_section_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(0), MNK_ADDR(1));
	mnk_unsubscribe(test, sub);
	KUNIT_ASSERT_EQ(test, 0, mnk_register(test, sub, mm));
	mmu_notifier_invalidate_range_end(&section);
	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_RELEASE);
}

/* An open section holds nobody: the subscriber leaves, and hears no end. */
static void leave_in_section_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *stays = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *leaves = mnk_subscribe(test, mm, &mnk_range_ops);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(0), MNK_ADDR(1));
	mnk_unsubscribe(test, leaves);
	MNK_EXPECT(test, leaves,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_RELEASE);
	mmu_notifier_invalidate_range_end(&section);
	mnk_expect_silence(test, leaves);
	MNK_EXPECT(test, stays,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));
}

static struct kunit_case section_cases[] = {
	KUNIT_CASE(order_test),
	KUNIT_CASE(range_fields_test),
	KUNIT_CASE(end_twice_test),
	KUNIT_CASE(scope_test),
	KUNIT_CASE(separate_storage_test),
	KUNIT_CASE(nest_test),
	KUNIT_CASE(parallel_test),
	KUNIT_CASE(folio_mixed_test),
	KUNIT_CASE(folio_nothing_test),
	KUNIT_CASE(page_call_in_range_test),
	KUNIT_CASE(nonblock_agreed_test),
	KUNIT_CASE_PARAM(nonblock_refused_test, refusals_gen_params),
	KUNIT_CASE(nonblock_bad_error_test),
	KUNIT_CASE(newcomer_test),
	KUNIT_CASE(first_newcomer_test),
	KUNIT_CASE(reregister_in_section_test),
	KUNIT_CASE(leave_in_section_test),
	{ }
};

static struct kunit_suite section_suite = {
	.name = "mmu_notifier_section",
	.test_cases = section_cases,
};

kunit_test_suite(section_suite);
