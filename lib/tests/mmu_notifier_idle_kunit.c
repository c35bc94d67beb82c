// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of the MMU notifiers: pages that are tracked as idle. */

#include <linux/fs.h>
#include <linux/memblock.h>
#include <linux/mman.h>
#include <linux/swap.h>

#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

/* The bitmap is read and written in words of 64 bits. */
#define WORD_PAGES	64

/**
 * struct idle - the bit of a page in the bitmap of idle pages
 * @file: the bitmap
 * @pos: where its word is
 * @bit: the bit in it
 */
struct idle {
	struct file *file;
	loff_t pos;
	u64 bit;
};

static unsigned long pfn_at(struct kunit *test, unsigned long addr)
{
	struct folio *folio = mnk_lock_folio(test, addr);
	unsigned long pfn = folio_pfn(folio);

	mnk_unlock_folio(folio);
	return pfn;
}

static struct idle idle_open(struct kunit *test, unsigned long addr)
{
	unsigned long pfn = pfn_at(test, addr);
	struct idle idle;

	idle.file = mnk_open(test, "sysfs", "kernel/mm/page_idle/bitmap", O_RDWR);
	idle.pos = pfn / WORD_PAGES * sizeof(idle.bit);
	idle.bit = BIT_ULL(pfn % WORD_PAGES);
	return idle;
}

/* Says that the page is idle. */
static void idle_set(struct kunit *test, const struct idle *idle)
{
	loff_t pos = idle->pos;

	KUNIT_ASSERT_GE(test, kernel_write(idle->file, &idle->bit,
					   sizeof(idle->bit), &pos), 0);
}

/* Asks whether it still is. */
static bool idle_get(struct kunit *test, const struct idle *idle)
{
	loff_t pos = idle->pos;
	u64 word;

	KUNIT_ASSERT_EQ(test, sizeof(word),
			kernel_read(idle->file, &word, sizeof(word), &pos));
	return word & idle->bit;
}

static void expect_idle(struct kunit *test, unsigned long addr,
			unsigned long len)
{
	struct mnk_call want = CALL_PLAIN(MNK_CLEAR_YOUNG, addr, addr + len);
	struct idle idle = idle_open(test, addr);
	struct mnk_pair *p = mnk_watch_pair(test, addr, len);

	/* The entry of the CPU is young, and still everybody is asked. */
	idle_set(test, &idle);
	mnk_expect_calls(test, p->page, &want, 1);
	mnk_expect_calls(test, p->range, &want, 1);

	KUNIT_EXPECT_TRUE(test, idle_get(test, &idle));
	mnk_expect_calls(test, p->page, &want, 1);
	mnk_expect_calls(test, p->range, &want, 1);

	/* One who has accessed it is enough. */
	p->range->young = true;
	KUNIT_EXPECT_FALSE(test, idle_get(test, &idle));
	mnk_expect_calls(test, p->page, &want, 1);
	mnk_expect_calls(test, p->range, &want, 1);

	/* It is not idle any more, there is nothing to ask for. */
	KUNIT_EXPECT_FALSE(test, idle_get(test, &idle));
	mnk_pair_expect_silence(test, p);
}

/* The last word of the bitmap is not reported if memory ends in it. */
static unsigned long map_page(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, 2 * WORD_PAGES * PAGE_SIZE);
	int i;

	for (i = 0; i < 2 * WORD_PAGES; i++, addr += PAGE_SIZE) {
		mnk_write(test, addr);
		if ((pfn_at(test, addr) | (WORD_PAGES - 1)) < max_pfn)
			break;
	}
	lru_add_drain_all();
	return addr;
}

static void page_test(struct kunit *test)
{
	expect_idle(test, map_page(test), PAGE_SIZE);
}

static void huge_test(struct kunit *test)
{
	unsigned long addr = mnk_map_huge(test, 1);

	lru_add_drain_all();
	expect_idle(test, addr, PMD_SIZE);
}

/* Mapped twice, asked for twice. */
static void shared_test(struct kunit *test)
{
	struct file *file = mnk_file(test, PAGE_SIZE);
	unsigned long a = mnk_map(test, file, PAGE_SIZE, MAP_SHARED);
	unsigned long b = mnk_map(test, file, PAGE_SIZE, MAP_SHARED);
	unsigned long first, second;
	struct mnk_sub *sub;
	struct idle idle;

	mnk_write(test, a);
	mnk_write(test, b);
	lru_add_drain_all();
	idle = idle_open(test, a);
	sub = mnk_subscribe(test, current->mm, &mnk_page_ops);
	idle_set(test, &idle);
	first = sub->calls[0].start;
	second = a + b - first;
	KUNIT_EXPECT_EQ(test, min(a, b), min(first, second));
	MNK_EXPECT(test, sub,
		   CALL_PLAIN(MNK_CLEAR_YOUNG, first, first + PAGE_SIZE),
		   CALL_PLAIN(MNK_CLEAR_YOUNG, second, second + PAGE_SIZE));
}

static struct kunit_case idle_cases[] = {
	KUNIT_CASE(page_test),
	KUNIT_CASE(huge_test),
	KUNIT_CASE(shared_test),
	{ }
};

static struct kunit_suite idle_suite = {
	.name = "mmu_notifier_idle",
	.test_cases = idle_cases,
};

kunit_test_suite(idle_suite);
