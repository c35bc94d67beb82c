// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: the multi-generational LRU walks the page
 * tables of processes to find what was accessed.
 */

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/memcontrol.h>
#include <linux/mman.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	4
#define LEN		(NR_PAGES * PAGE_SIZE)

#define ENABLED		"kernel/mm/lru_gen/enabled"

/*
 * A page that is new to generations comes into an old one, which it leaves only
 * as accessed: so there shall be none until it is mapped, whatever LRU the machine
 * uses.
 */
static int lru_gen_init(struct kunit *test)
{
	mnk_set(test, ENABLED, "n");
	return 0;
}

/* Below one page table. */
static unsigned long map_pages(struct kunit *test)
{
	unsigned long start = mnk_map_anon(test, 2 * LEN);
	unsigned long addr = ALIGN(start, LEN);
	int i;

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, start, 2 * LEN,
					    MADV_NOHUGEPAGE));
	for (i = 0; i < NR_PAGES; i++)
		mnk_write(test, addr + i * PAGE_SIZE);
	lru_add_drain_all();
	return addr;
}

/**
 * struct walk - the walk of the page tables of a process
 * @process: a child of the test; the CPU accesses none of its memory
 * @sub: a subscriber to it
 * @folio: one of its pages
 * @start: first address of the mapping in the page table of @folio
 * @end: first address behind that
 * @pages: those that are mapped, as bits from @start on
 * @command: starts a walk, but for its last word
 */
struct walk {
	struct mnk_process *process;
	struct mnk_sub *sub;
	struct folio *folio;
	unsigned long start;
	unsigned long end;
	unsigned long pages;
	char command[64];
};

static struct walk *walk_prepare(struct kunit *test, unsigned long addr)
{
	struct walk *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	struct vm_area_struct *vma = mnk_vma(test, addr);

	KUNIT_ASSERT_NOT_NULL(test, w);
	if (!IS_ENABLED(CONFIG_DEBUG_FS))
		kunit_skip(test, "no debugfs to start a walk");
	mnk_set(test, ENABLED, "y");
	w->process = mnk_fork(test);
	w->sub = mnk_subscribe(test, w->process->mm, &mnk_young_ops);
	w->start = max(addr & PMD_MASK, vma->vm_start);
	w->end = min((addr & PMD_MASK) + PMD_SIZE, vma->vm_end);
	w->pages = (BIT(NR_PAGES) - 1) << ((addr - w->start) >> PAGE_SHIFT);
	w->folio = mnk_lock_folio(test, addr);
	rcu_read_lock();
	snprintf(w->command, sizeof(w->command), "+ %llu %d 0 60",
		 mem_cgroup_id(folio_memcg(w->folio)), folio_nid(w->folio));
	rcu_read_unlock();
	mnk_unlock_folio(w->folio);
	return w;
}

/* Begins a generation; @force looks at tables that were not of use before. */
static void walk(struct kunit *test, struct walk *w, bool force)
{
	char line[80];

	/* As when it is scheduled: else there would be nothing to look for. */
	lru_gen_use_mm(w->process->mm);
	snprintf(line, sizeof(line), "%s %d\n", w->command, force);
	mnk_write_user(test, mnk_open(test, "debugfs", "lru_gen", O_WRONLY), line);
}

/* Asked for all at once, and told at once what was taken for accessed. */
static void expect_pages(struct kunit *test, struct walk *w)
{
	const struct mnk_call want[] = {
		CALL_PLAIN(MNK_TEST_YOUNG_PAGES, w->start, w->end),
		CALL_PLAIN(MNK_CLEAR_YOUNG_PAGES, w->start, w->end),
	};
	bool young = w->sub->young_pages;

	mnk_expect_calls(test, w->sub, want, 1 + young);
	if (young)
		KUNIT_EXPECT_EQ(test, w->sub->cleared_pages, w->pages);
}

/*
 * All entries of the CPU are old, and every page is asked for. One that has no
 * entry is not told to be cleared.
 */
static void page_test(struct kunit *test)
{
	unsigned long addr = map_pages(test);
	struct walk *w = walk_prepare(test, addr);
	int gen, i;

	walk(test, w, true);
	expect_pages(test, w);
	gen = folio_lru_gen(w->folio);
	walk(test, w, true);
	expect_pages(test, w);
	KUNIT_EXPECT_EQ(test, gen, folio_lru_gen(w->folio));
	/* What was accessed twice comes into the youngest generation. */
	w->sub->young_pages = w->pages | (w->pages << 1);
	for (i = 0; i < 2; i++) {
		walk(test, w, true);
		expect_pages(test, w);
	}
	KUNIT_EXPECT_NE(test, gen, folio_lru_gen(w->folio));
}

static void make_table_old(struct kunit *test, struct walk *w)
{
	struct mm_struct *mm = w->process->mm;
	struct vm_area_struct *vma;
	pmd_t *pmd;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, w->start);
	pmd = mm_find_pmd(mm, w->start);
	if (vma && pmd && IS_ENABLED(CONFIG_ARCH_HAS_NONLEAF_PMD_YOUNG)) {
		guard(spinlock)(pmd_lockptr(mm, pmd));
		pmdp_test_and_clear_young(vma, w->start, pmd);
	}
	mmap_read_unlock(mm);
	KUNIT_ASSERT_NOT_NULL(test, vma);
	KUNIT_ASSERT_NOT_NULL(test, pmd);
}

/*
 * The CPU does not mark a table as accessed by which only others look pages up.
 * It is not passed over for that.
 */
static void table_test(struct kunit *test)
{
	unsigned long addr = map_pages(test);
	struct walk *w = walk_prepare(test, addr);
	int i;

	w->sub->young_pages = w->pages;
	walk(test, w, true);
	expect_pages(test, w);
	for (i = 0; i < 3; i++) {
		make_table_old(test, w);
		walk(test, w, false);
		expect_pages(test, w);
	}
}

static void huge_test(struct kunit *test)
{
	unsigned long addr = mnk_map_huge(test, 1);
	struct walk *w;
	int gen, i;

	lru_add_drain_all();
	w = walk_prepare(test, addr);
	gen = folio_lru_gen(w->folio);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, gen, folio_lru_gen(w->folio));
		w->sub->young = i > 0;
		walk(test, w, true);
		MNK_EXPECT(test, w->sub,
			   CALL_PLAIN(MNK_CLEAR_YOUNG, addr, addr + PMD_SIZE));
	}
	KUNIT_EXPECT_NE(test, gen, folio_lru_gen(w->folio));
}

static struct kunit_case lru_gen_cases[] = {
	KUNIT_CASE(page_test),
	KUNIT_CASE(table_test),
	KUNIT_CASE(huge_test),
	{ }
};

static struct kunit_suite lru_gen_suite = {
	.name = "mmu_notifier_lru_gen",
	.init = lru_gen_init,
	.test_cases = lru_gen_cases,
};

kunit_test_suite(lru_gen_suite);
