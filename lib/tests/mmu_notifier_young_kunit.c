// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of the MMU notifiers: aging, and the TLB flushes of the CPU. */

#include "mmu_notifier_kunit.h"

#define NR_SUBS	3

static bool clear_flush_young(struct mm_struct *mm)
{
	return mmu_notifier_clear_flush_young(mm, MNK_ADDR(1), MNK_ADDR(4));
}

static bool clear_young(struct mm_struct *mm)
{
	return mmu_notifier_clear_young(mm, MNK_ADDR(2), MNK_ADDR(3));
}

/* Everybody is asked, whoever has answered yes: no young bit stays behind. */
static void clear_young_asks_all_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *subs[NR_SUBS];
	int i, yes;

	mnk_subscribe_all(test, mm, subs, NR_SUBS);
	for (yes = 0; yes < NR_SUBS; yes++) {
		subs[yes]->young = true;
		KUNIT_EXPECT_TRUE(test, clear_flush_young(mm));
		KUNIT_EXPECT_TRUE(test, clear_young(mm));
		for (i = 0; i < NR_SUBS; i++)
			MNK_EXPECT(test, subs[i],
				   CALL_PLAIN(MNK_CLEAR_FLUSH_YOUNG,
					      MNK_ADDR(1), MNK_ADDR(4)),
				   CALL_PLAIN(MNK_CLEAR_YOUNG,
					      MNK_ADDR(2), MNK_ADDR(3)));
		subs[yes]->young = false;
	}
	KUNIT_EXPECT_FALSE(test, clear_flush_young(mm));
	KUNIT_EXPECT_FALSE(test, clear_young(mm));
}

/* One yes is enough, wherever it comes from, and nothing is cleared for it. */
static void test_young_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *subs[NR_SUBS];
	int i, yes;

	mnk_subscribe_all(test, mm, subs, NR_SUBS);
	KUNIT_EXPECT_FALSE(test, mmu_notifier_test_young(mm, MNK_ADDR(1)));
	for (i = 0; i < NR_SUBS; i++)
		MNK_EXPECT(test, subs[i], CALL_PLAIN(MNK_TEST_YOUNG, MNK_ADDR(1),
						     MNK_ADDR(2)));

	for (yes = 0; yes < NR_SUBS; yes++) {
		subs[yes]->young = true;
		KUNIT_EXPECT_TRUE(test, mmu_notifier_test_young(mm, MNK_ADDR(1)));
		MNK_EXPECT(test, subs[yes], CALL_PLAIN(MNK_TEST_YOUNG,
						       MNK_ADDR(1), MNK_ADDR(2)));
		subs[yes]->young = false;
		for (i = 0; i < NR_SUBS; i++) {
			KUNIT_EXPECT_EQ(test, subs[i]->nr,
					mnk_count(subs[i], MNK_TEST_YOUNG));
			subs[i]->nr = 0;
		}
	}
}

/*
 * Many pages at once: those who can are asked once and told once, of the others
 * test_young is called for each page and clear_young for those that were named.
 */
static void young_pages_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *many = mnk_subscribe(test, mm, &mnk_young_ops);
	struct mnk_sub *single = mnk_subscribe(test, mm, &mnk_page_ops);
	DECLARE_BITMAP(pages, 4) = { 0x8 };

	many->young_pages = 0x2;
	mmu_notifier_test_young_pages(mm, MNK_ADDR(1), 3, pages);
	KUNIT_EXPECT_EQ(test, pages[0], 0xaUL);
	MNK_EXPECT(test, many, CALL_PLAIN(MNK_TEST_YOUNG_PAGES, MNK_ADDR(1),
					  MNK_ADDR(4)));
	MNK_EXPECT(test, single,
		   CALL_PLAIN(MNK_TEST_YOUNG, MNK_ADDR(1), MNK_ADDR(2)),
		   CALL_PLAIN(MNK_TEST_YOUNG, MNK_ADDR(2), MNK_ADDR(3)),
		   CALL_PLAIN(MNK_TEST_YOUNG, MNK_ADDR(3), MNK_ADDR(4)));

	single->young = true;
	pages[0] = 0;
	mmu_notifier_test_young_pages(mm, MNK_ADDR(1), 3, pages);
	KUNIT_EXPECT_EQ(test, pages[0], 0x7UL);
	many->nr = 0;
	single->nr = 0;

	pages[0] = 0x5;
	mmu_notifier_clear_young_pages(mm, MNK_ADDR(1), 3, pages);
	KUNIT_EXPECT_EQ(test, many->cleared_pages, 0x5UL);
	MNK_EXPECT(test, many, CALL_PLAIN(MNK_CLEAR_YOUNG_PAGES, MNK_ADDR(1),
					  MNK_ADDR(4)));
	MNK_EXPECT(test, single,
		   CALL_PLAIN(MNK_CLEAR_YOUNG, MNK_ADDR(1), MNK_ADDR(2)),
		   CALL_PLAIN(MNK_CLEAR_YOUNG, MNK_ADDR(3), MNK_ADDR(4)));
}

static struct mnk_call clear_of(int page)
{
	return CALL_PLAIN(MNK_CLEAR_YOUNG, MNK_ADDR(page), MNK_ADDR(page + 1));
}

/*
 * Scattered pages: one call for all. Without clear_young_list there is one for those
 * of a window that follow each other in the list, or one for each.
 */
static void young_list_test(struct kunit *test)
{
	const unsigned long addresses[] = {
		MNK_ADDR(3), MNK_ADDR(1), MNK_ADDR(BITS_PER_LONG + 2),
		MNK_ADDR(BITS_PER_LONG), MNK_ADDR(2),
	};
	struct mm_struct *mm = mnk_mm(test);
	struct mmu_notifier_ops *ops = kunit_kzalloc(test, sizeof(*ops), GFP_KERNEL);
	struct mnk_sub *list = mnk_subscribe(test, mm, &mnk_young_ops);
	struct mnk_sub *single = mnk_subscribe(test, mm, &mnk_page_ops);
	struct mnk_sub *windows;

	KUNIT_ASSERT_NOT_NULL(test, ops);
	*ops = mnk_young_ops;
	ops->clear_young_list = NULL;
	windows = mnk_subscribe(test, mm, ops);

	mmu_notifier_clear_young_list(mm, addresses, ARRAY_SIZE(addresses));
	MNK_EXPECT(test, list, CALL_PLAIN(MNK_CLEAR_YOUNG_LIST, MNK_ADDR(3),
					  MNK_ADDR(3)));
	KUNIT_EXPECT_EQ(test, list->nr_listed, ARRAY_SIZE(addresses));
	KUNIT_EXPECT_MEMEQ(test, list->listed, addresses, sizeof(addresses));
	MNK_EXPECT(test, windows,
		   CALL_PLAIN(MNK_CLEAR_YOUNG_PAGES, MNK_ADDR(0),
			      MNK_ADDR(BITS_PER_LONG)),
		   CALL_PLAIN(MNK_CLEAR_YOUNG_PAGES, MNK_ADDR(BITS_PER_LONG),
			      MNK_ADDR(2 * BITS_PER_LONG)),
		   CALL_PLAIN(MNK_CLEAR_YOUNG_PAGES, MNK_ADDR(0),
			      MNK_ADDR(BITS_PER_LONG)));
	KUNIT_EXPECT_EQ(test, windows->cleared_pages, BIT(2));
	MNK_EXPECT(test, single, clear_of(1), clear_of(3), clear_of(BITS_PER_LONG),
		   clear_of(BITS_PER_LONG + 2), clear_of(2));
}

/* Whoever cannot be asked without clearing is asked like that. */
static void young_pages_clear_only_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mmu_notifier_ops *ops =
		kunit_kzalloc(test, sizeof(*ops), GFP_KERNEL);
	DECLARE_BITMAP(pages, 2) = { };
	struct mnk_sub *sub;

	KUNIT_ASSERT_NOT_NULL(test, ops);
	*ops = mnk_range_ops;
	ops->test_young = NULL;
	sub = mnk_subscribe(test, mm, ops);
	sub->young = true;
	mmu_notifier_test_young_pages(mm, MNK_ADDR(1), 2, pages);
	KUNIT_EXPECT_EQ(test, pages[0], 0x3UL);
	MNK_EXPECT(test, sub,
		   CALL_PLAIN(MNK_CLEAR_YOUNG, MNK_ADDR(1), MNK_ADDR(2)),
		   CALL_PLAIN(MNK_CLEAR_YOUNG, MNK_ADDR(2), MNK_ADDR(3)));
}

/* The flushes of the CPU reach those who asked for them, and nobody else. */
static void arch_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *range = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *arch = mnk_subscribe(test, mm, &mnk_arch_ops);
	struct mnk_sub *page = mnk_subscribe(test, mm, &mnk_page_ops);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_arch_invalidate_secondary_tlbs(mm, MNK_ADDR(1), MNK_ADDR(2));
	mmu_notifier_arch_invalidate_secondary_tlbs(mm, 0, -1UL);
	mnk_expect_silence(test, range);
	mnk_expect_silence(test, page);
	MNK_EXPECT(test, arch, CALL_PLAIN(MNK_ARCH, MNK_ADDR(1), MNK_ADDR(2)),
		   CALL_PLAIN(MNK_ARCH, 0, -1UL));

	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_folio_start(&section, MMU_NOTIFY_CLEAR, mm, MNK_ADDR(0),
				 MNK_ADDR(1));
	mmu_notifier_invalidate_page(&section, MNK_ADDR(0), 1);
	mmu_notifier_invalidate_range_end(&section);
	KUNIT_EXPECT_FALSE(test, clear_flush_young(mm));
	mnk_expect_silence(test, arch);
}

static struct kunit_case young_cases[] = {
	KUNIT_CASE(clear_young_asks_all_test),
	KUNIT_CASE(test_young_test),
	KUNIT_CASE(young_pages_test),
	KUNIT_CASE(young_pages_clear_only_test),
	KUNIT_CASE(young_list_test),
	KUNIT_CASE(arch_test),
	{ }
};

static struct kunit_suite young_suite = {
	.name = "mmu_notifier_young",
	.test_cases = young_cases,
};

kunit_test_suite(young_suite);
