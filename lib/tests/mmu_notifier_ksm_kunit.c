// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: pages of the same content are merged by
 * ksmd, and come apart again.
 */

#include <linux/delay.h>
#include <linux/mman.h>
#include <linux/rmap.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	3
#define RUN		"kernel/mm/ksm/run"

/* Content that no other page in the system has. */
static void fill(struct kunit *test, unsigned long addr)
{
	static const char text[] = "the same content, three times";

	KUNIT_ASSERT_EQ(test, 0, copy_to_user((void __user *)addr, text,
					      sizeof(text)));
}

static struct folio *folio_at(unsigned long addr)
{
	struct vm_area_struct *vma;
	struct folio_walk walk;
	struct folio *folio = NULL;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	if (vma)
		folio = folio_walk_start(&walk, vma, addr, 0);
	if (folio)
		folio_walk_end(&walk, vma);
	mmap_read_unlock(current->mm);
	return folio;
}

static bool merged(unsigned long a, unsigned long b)
{
	return folio_at(a) && folio_at(a) == folio_at(b);
}

/* Room for three pages, of which the first two have their content. */
static struct mnk_pair *two_alike(struct kunit *test)
{
	unsigned long len = NR_PAGES * PAGE_SIZE;
	unsigned long addr = mnk_map_anon(test, len);

	fill(test, addr);
	fill(test, addr + PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, len,
					    MADV_MERGEABLE));
	lru_add_drain_all();
	return mnk_watch_pair(test, addr, len);
}

/* ksmd runs until @a and @b are one. */
static void merge(struct kunit *test, unsigned long a, unsigned long b)
{
	mnk_set(test, "kernel/mm/ksm/sleep_millisecs", "1");
	mnk_set(test, RUN, "1");
	mnk_wait_for(test, merged(a, b));
	/* Returns when ksmd is done with its page. */
	mnk_set(test, RUN, "0");
}

static void expect_pages(struct kunit *test, struct mnk_pair *p,
			 const unsigned long *addrs, int nr)
{
	struct mnk_call page[4], range[8];
	int i;

	for (i = 0; i < nr; i++) {
		unsigned long end = addrs[i] + PAGE_SIZE;

		page[i] = CALL_PAGE(addrs[i], 1, MMU_NOTIFY_CLEAR);
		range[2 * i] = CALL_START(addrs[i], end, MMU_NOTIFY_CLEAR);
		range[2 * i + 1] = CALL_END(addrs[i], end, MMU_NOTIFY_CLEAR);
	}
	mnk_expect_calls(test, p->page, page, nr);
	mnk_expect_calls(test, p->range, range, 2 * nr);
}

/*
 * The page that is found last is the one that stays, write-protected. The
 * other is write-protected to be compared, and replaced.
 */
static void merge_test(struct kunit *test)
{
	struct mnk_pair *p = two_alike(test);
	unsigned long b = p->addr + PAGE_SIZE;
	unsigned long want[] = { b, p->addr, p->addr };

	merge(test, p->addr, b);
	expect_pages(test, p, want, ARRAY_SIZE(want));
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_PAGE], MNK_ABSENT);
	mnk_expect_locked(test, p->page, MNK_PAGE, true);
	/* Before the first section, and after the last. */
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START],
			MNK_READONLY);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_READONLY);
	mnk_expect_locked(test, p->range, MNK_START, false);
	mnk_expect_locked(test, p->range, MNK_END, false);
}

/* A third one comes to a page that is shared already. */
static void merge_into_shared_test(struct kunit *test)
{
	struct mnk_pair *p = two_alike(test);
	unsigned long c = p->addr + 2 * PAGE_SIZE;
	unsigned long want[] = { c, c };

	merge(test, p->addr, p->addr + PAGE_SIZE);
	fill(test, c);
	lru_add_drain_all();
	mnk_pair_reset(p);
	merge(test, p->addr, c);
	expect_pages(test, p, want, ARRAY_SIZE(want));
}

/* Somebody writes. */
static void write_test(struct kunit *test)
{
	struct mnk_pair *p = two_alike(test);

	merge(test, p->addr, p->addr + PAGE_SIZE);
	mnk_pair_reset(p);
	mnk_write(test, p->addr);
	KUNIT_EXPECT_FALSE(test, merged(p->addr, p->addr + PAGE_SIZE));
	mnk_pair_expect_page(test, p, p->addr, 1, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_WRITABLE);
}

static void expect_unmerged(struct kunit *test, struct mnk_pair *p)
{
	unsigned long b = p->addr + PAGE_SIZE;
	unsigned long want[] = { p->addr, b };

	KUNIT_EXPECT_FALSE(test, merged(p->addr, b));
	expect_pages(test, p, want, ARRAY_SIZE(want));
}

/* The process, or the administrator, does not want it any more. */
static void unmerge_test(struct kunit *test)
{
	struct mnk_pair *p = two_alike(test);

	merge(test, p->addr, p->addr + PAGE_SIZE);
	mnk_pair_reset(p);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, p->addr,
					    NR_PAGES * PAGE_SIZE,
					    MADV_UNMERGEABLE));
	expect_unmerged(test, p);
}

static void unmerge_all_test(struct kunit *test)
{
	struct mnk_pair *p = two_alike(test);

	merge(test, p->addr, p->addr + PAGE_SIZE);
	mnk_pair_reset(p);
	mnk_set(test, RUN, "2");
	expect_unmerged(test, p);
}

static struct kunit_case ksm_cases[] = {
	KUNIT_CASE(merge_test),
	KUNIT_CASE(merge_into_shared_test),
	KUNIT_CASE(write_test),
	KUNIT_CASE(unmerge_test),
	KUNIT_CASE(unmerge_all_test),
	{ }
};

static struct kunit_suite ksm_suite = {
	.name = "mmu_notifier_ksm",
	.test_cases = ksm_cases,
};

kunit_test_suite(ksm_suite);
