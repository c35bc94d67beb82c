// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: operations on large folios and huge page
 * table entries. A folio costs one call with the number of its pages, or one
 * range, however many entries map it.
 */

#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"

#define LARGE_PAGES	4
#define LARGE_ORDER	ilog2(LARGE_PAGES)
#define LARGE_SIZE	(LARGE_PAGES * PAGE_SIZE)

static int thp_init(struct kunit *test)
{
	if (!has_transparent_hugepage())
		kunit_skip(test, "no transparent huge pages");
	return 0;
}

/* Room for one huge page, aligned, with @advice on it. */
static unsigned long map_huge(struct kunit *test, struct file *file,
			      unsigned long flags, int advice)
{
	unsigned long addr = mnk_map(test, file, 2 * HPAGE_PMD_SIZE, flags);

	addr = ALIGN(addr, HPAGE_PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, HPAGE_PMD_SIZE,
					    advice));
	return addr;
}

static unsigned long map_huge_anon(struct kunit *test, int advice)
{
	return map_huge(test, NULL, MAP_PRIVATE | MAP_ANONYMOUS, advice);
}

static bool is_huge(unsigned long addr)
{
	pmd_t *pmd = mm_find_pmd(current->mm, addr);

	return pmd && pmd_trans_huge(pmdp_get_lockless(pmd));
}

/* One anonymous huge page, mapped by a PMD. */
static struct mnk_pair *thp_anon(struct kunit *test)
{
	unsigned long addr = map_huge_anon(test, MADV_HUGEPAGE);

	mnk_write(test, addr);
	KUNIT_ASSERT_TRUE(test, is_huge(addr));
	return mnk_watch_pair(test, addr, HPAGE_PMD_SIZE);
}

/* The switch for sizes between a page and a PMD, as sysfs would set it. */
static void restore_orders(void *orders)
{
	WRITE_ONCE(huge_anon_orders_always, (unsigned long)orders);
}

static void allow_large(struct kunit *test)
{
	unsigned long orders = READ_ONCE(huge_anon_orders_always);

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, restore_orders,
						  (void *)orders));
	WRITE_ONCE(huge_anon_orders_always, orders | BIT(LARGE_ORDER));
}

/* One anonymous folio of LARGE_PAGES, mapped by as many PTEs. */
static struct mnk_pair *large_anon(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, 2 * LARGE_SIZE);
	struct folio *folio;

	addr = ALIGN(addr, LARGE_SIZE);
	allow_large(test);
	mnk_write(test, addr);
	folio = mnk_lock_folio(test, addr);
	KUNIT_ASSERT_EQ(test, LARGE_PAGES, folio_nr_pages(folio));
	mnk_unlock_folio(folio);
	return mnk_watch_pair(test, addr, LARGE_SIZE);
}

/* As for a base page, with the number of pages. */
static void expect_page(struct kunit *test, struct mnk_pair *t,
			enum mmu_notifier_event event)
{
	mnk_pair_expect_page(test, t, t->addr, (t->end - t->addr) / PAGE_SIZE,
			     event);
	KUNIT_EXPECT_NE(test, mnk_view(t->range)->entry[MNK_START], MNK_ABSENT);
}

static void expect_page_cleared(struct kunit *test, struct mnk_pair *t)
{
	expect_page(test, t, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(t->page)->entry[MNK_PAGE], MNK_ABSENT);
}

/* A range for both kinds: the entry is there at the start. */
static void expect_ranges(struct kunit *test, struct mnk_pair *t)
{
	mnk_pair_expect_range(test, t, t->addr, t->end, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_NE(test, mnk_view(t->page)->entry[MNK_START], MNK_ABSENT);
	KUNIT_EXPECT_NE(test, mnk_view(t->range)->entry[MNK_START], MNK_ABSENT);
}

/* Either way is right, for the price of one. */
static void expect_cleared_once(struct kunit *test, struct mnk_pair *t)
{
	if (mnk_count(t->page, MNK_PAGE))
		expect_page_cleared(test, t);
	else
		expect_ranges(test, t);
}

/* Huge entries. */

static void split_pmd_test(struct kunit *test)
{
	struct mnk_pair *t = thp_anon(test);
	struct vm_area_struct *vma = mnk_vma(test, t->addr);

	mmap_read_lock(current->mm);
	split_huge_pmd(vma, mm_find_pmd(current->mm, t->addr), t->addr);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_FALSE(test, is_huge(t->addr));
	expect_cleared_once(test, t);
	KUNIT_EXPECT_EQ(test, mnk_view(t->range)->entry[MNK_END], MNK_WRITABLE);
}

/* A hole in the middle: the range, and in it the split as a nested section. */
static void zap_part_test(struct kunit *test)
{
	struct mnk_pair *t = thp_anon(test);
	unsigned long hole = t->addr + PAGE_SIZE;

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, hole, PAGE_SIZE,
					    MADV_DONTNEED));
	KUNIT_EXPECT_EQ(test, t->page->nr, 4 - mnk_count(t->page, MNK_PAGE));
	MNK_EXPECT(test, t->range,
		   CALL_START(hole, hole + PAGE_SIZE, MMU_NOTIFY_CLEAR),
		   CALL_START(t->addr, t->end, MMU_NOTIFY_CLEAR),
		   CALL_END(t->addr, t->end, MMU_NOTIFY_CLEAR),
		   CALL_END(hole, hole + PAGE_SIZE, MMU_NOTIFY_CLEAR));
}

static void zap_pmd_test(struct kunit *test)
{
	struct mnk_pair *t = thp_anon(test);

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, t->addr,
					    HPAGE_PMD_SIZE, MADV_DONTNEED));
	expect_ranges(test, t);
	KUNIT_EXPECT_EQ(test, mnk_view(t->range)->entry[MNK_END], MNK_ABSENT);
}

static void cow_huge_zero_test(struct kunit *test)
{
	unsigned long addr = map_huge_anon(test, MADV_HUGEPAGE);
	struct mnk_pair *t;

	mnk_read(test, addr);
	if (!is_huge(addr))
		kunit_skip(test, "no huge zero page");
	t = mnk_watch_pair(test, addr, HPAGE_PMD_SIZE);
	mnk_write(test, addr);
	KUNIT_EXPECT_TRUE(test, is_huge(addr));
	expect_page_cleared(test, t);
	KUNIT_EXPECT_EQ(test, mnk_view(t->range)->entry[MNK_END], MNK_WRITABLE);
}

static void migrate_pmd_test(struct kunit *test)
{
	struct mnk_pair *t = thp_anon(test);
	struct folio *folio;

	if (!thp_migration_supported())
		kunit_skip(test, "no huge migration entries");

	folio = mnk_lock_folio(test, t->addr);
	try_to_migrate(folio, 0);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	expect_cleared_once(test, t);
	remove_migration_ptes(folio, folio, 0);
	mnk_unlock_folio(folio);
	mnk_pair_expect_silence(test, t);
}

static void age_pmd_test(struct kunit *test)
{
	struct mnk_pair *t = thp_anon(test);
	struct folio *folio = mnk_lock_folio(test, t->addr);
	struct mnk_call want = CALL_PLAIN(MNK_CLEAR_FLUSH_YOUNG, t->addr, t->end);
	vma_flags_t flags;

	KUNIT_EXPECT_EQ(test, 1, folio_referenced(folio, 1, NULL, &flags));
	mnk_unlock_folio(folio);
	mnk_expect_calls(test, t->page, &want, 1);
	mnk_expect_calls(test, t->range, &want, 1);
}

/* Large folios behind small entries. */

static void reclaim_large_test(struct kunit *test)
{
	struct mnk_pair *t = large_anon(test);
	struct mm_struct *mm = current->mm;

	lru_add_drain_all();
	KUNIT_ASSERT_EQ(test, 0, do_madvise(mm, t->addr, LARGE_SIZE, MADV_FREE));
	mnk_pair_reset(t);
	lru_add_drain_all();
	KUNIT_ASSERT_EQ(test, 0, do_madvise(mm, t->addr, LARGE_SIZE,
					    MADV_PAGEOUT));
	expect_cleared_once(test, t);
}

/* Its entries are cleared one at a time. */
static void migrate_large_test(struct kunit *test)
{
	struct mnk_pair *t = large_anon(test);
	struct folio *folio = mnk_lock_folio(test, t->addr);

	try_to_migrate(folio, 0);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	expect_cleared_once(test, t);
	remove_migration_ptes(folio, folio, 0);
	mnk_unlock_folio(folio);
	mnk_expect_silence(test, t->page);
}

/* Collapse: the table of small entries goes away as a whole. */

static void collapse_anon_test(struct kunit *test)
{
	unsigned long addr = map_huge_anon(test, MADV_NOHUGEPAGE);
	struct mnk_pair *t;

	mnk_write(test, addr);
	mnk_write(test, addr + PAGE_SIZE);
	KUNIT_ASSERT_FALSE(test, is_huge(addr));
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, HPAGE_PMD_SIZE,
					    MADV_HUGEPAGE));
	t = mnk_watch_pair(test, addr, HPAGE_PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, HPAGE_PMD_SIZE,
					    MADV_COLLAPSE));
	KUNIT_EXPECT_TRUE(test, is_huge(addr));
	expect_ranges(test, t);
	KUNIT_EXPECT_EQ(test, mnk_view(t->range)->entry[MNK_END], MNK_ABSENT);
}

/* One section announced all of it. */
static bool covered(struct mnk_sub *sub, unsigned long start, unsigned long end)
{
	unsigned int i;

	for (i = 0; i < min(sub->nr, MNK_MAX_CALLS); i++)
		if (sub->calls[i].kind == MNK_START &&
		    sub->calls[i].start <= start && sub->calls[i].end >= end)
			return true;
	return false;
}

/*
 * A file: its pages are unmapped and the table is taken away from under the
 * i_mmap lock alone. Both are announced, to both kinds of subscribers.
 */
static void collapse_file_test(struct kunit *test)
{
	struct file *file = mnk_file(test, HPAGE_PMD_SIZE);
	unsigned long addr = map_huge_anon(test, MADV_HUGEPAGE);
	struct mnk_pair *t;
	bool locked;
	int i;

	/* Over the room that is aligned. */
	addr = kunit_vm_mmap(test, file, addr, HPAGE_PMD_SIZE,
			     PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, 0);
	KUNIT_ASSERT_EQ(test, addr & ~HPAGE_PMD_MASK, 0);
	for (i = 0; i < 4; i++)
		mnk_write(test, addr + i * PAGE_SIZE);
	KUNIT_ASSERT_FALSE(test, is_huge(addr));
	t = mnk_watch_pair(test, addr, HPAGE_PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, HPAGE_PMD_SIZE,
					    MADV_COLLAPSE));

	KUNIT_EXPECT_TRUE(test, covered(t->page, t->addr, t->end));
	KUNIT_EXPECT_TRUE(test, covered(t->range, t->addr, t->end));
	KUNIT_EXPECT_EQ(test, mnk_count(t->page, MNK_START),
			mnk_count(t->page, MNK_END));
	KUNIT_EXPECT_EQ(test, mnk_count(t->range, MNK_START),
			mnk_count(t->range, MNK_END));
	KUNIT_EXPECT_TRUE(test, is_huge(addr) ||
			  mnk_look(current->mm, addr, &locked) == MNK_ABSENT);
}

static struct kunit_case thp_cases[] = {
	KUNIT_CASE(split_pmd_test),
	KUNIT_CASE(zap_part_test),
	KUNIT_CASE(zap_pmd_test),
	KUNIT_CASE(cow_huge_zero_test),
	KUNIT_CASE(migrate_pmd_test),
	KUNIT_CASE(age_pmd_test),
	KUNIT_CASE(reclaim_large_test),
	KUNIT_CASE(migrate_large_test),
	KUNIT_CASE(collapse_anon_test),
	KUNIT_CASE(collapse_file_test),
	{ }
};

static struct kunit_suite thp_suite = {
	.name = "mmu_notifier_thp",
	.init = thp_init,
	.test_cases = thp_cases,
};

kunit_test_suite(thp_suite);
