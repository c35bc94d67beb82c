// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: pages get old apart from the reverse map
 * walk of the classic lists, by idle page tracking and by the walk of page
 * tables of the multi-generational LRU.
 */

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/memblock.h>
#include <linux/memcontrol.h>
#include <linux/mman.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	4
#define LEN		(NR_PAGES * PAGE_SIZE)

static unsigned long map_pages(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, LEN);
	int i;

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, LEN,
					    MADV_NOHUGEPAGE));
	for (i = 0; i < NR_PAGES; i++)
		mnk_write(test, addr + i * PAGE_SIZE);
	lru_add_drain_all();
	return addr;
}

static unsigned long map_huge(struct kunit *test)
{
	unsigned long addr = ALIGN(mnk_map_anon(test, 2 * PMD_SIZE), PMD_SIZE);

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		kunit_skip(test, "no huge pages");
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PMD_SIZE,
					    MADV_HUGEPAGE));
	mnk_write(test, addr);
	lru_add_drain_all();
	return addr;
}

/* Idle pages. */

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

	if (!IS_ENABLED(CONFIG_IDLE_PAGE_TRACKING))
		kunit_skip(test, "idle pages are not tracked");
	idle.file = mnk_open(test, "sysfs", "kernel/mm/page_idle/bitmap", O_RDWR);
	idle.pos = pfn / 64 * sizeof(idle.bit);
	idle.bit = BIT_ULL(pfn % 64);
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
static unsigned long map_idle(struct kunit *test, struct file *file,
			      unsigned long flags)
{
	unsigned long addr = mnk_map(test, file, 2 * 64 * PAGE_SIZE, flags);
	int i;

	for (i = 0; i < 2 * 64; i++) {
		mnk_write(test, addr + i * PAGE_SIZE);
		if ((pfn_at(test, addr + i * PAGE_SIZE) | 63) < max_pfn)
			break;
	}
	lru_add_drain_all();
	return addr + i * PAGE_SIZE;
}

static void idle_page_test(struct kunit *test)
{
	unsigned long addr = map_idle(test, NULL, MAP_PRIVATE | MAP_ANONYMOUS);

	expect_idle(test, addr, PAGE_SIZE);
}

static void idle_huge_test(struct kunit *test)
{
	expect_idle(test, map_huge(test), PMD_SIZE);
}

/* Mapped twice, asked for twice. */
static void idle_shared_test(struct kunit *test)
{
	struct file *file = mnk_file(test, LEN);
	unsigned long a = mnk_map(test, file, LEN, MAP_SHARED);
	unsigned long b = mnk_map(test, file, LEN, MAP_SHARED);
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

/* Generations. */

#if defined(CONFIG_LRU_GEN_WALKS_MMU) && defined(CONFIG_DEBUG_FS)

/**
 * struct walk - the walk of the page tables of a process
 * @process: a child of the test; the CPU accesses none of its memory
 * @sub: a subscriber to it
 * @folio: one of its pages
 * @command: starts a walk, but for its last word
 */
struct walk {
	struct mnk_process *process;
	struct mnk_sub *sub;
	struct folio *folio;
	char command[64];
};

static struct walk *walk_prepare(struct kunit *test, unsigned long addr)
{
	struct walk *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, w);
	mnk_set(test, "kernel/mm/lru_gen/enabled", "y");
	w->process = mnk_fork(test);
	w->sub = mnk_subscribe(test, w->process->mm, &mnk_page_ops);
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

static void expect_pages(struct kunit *test, struct walk *w, unsigned long addr)
{
	struct mnk_call want[NR_PAGES];
	int i;

	for (i = 0; i < NR_PAGES; i++)
		want[i] = CALL_PLAIN(MNK_CLEAR_YOUNG, addr + i * PAGE_SIZE,
				     addr + (i + 1) * PAGE_SIZE);
	mnk_expect_calls(test, w->sub, want, NR_PAGES);
}

/* All entries of the CPU are old, and every page is asked for. */
static void walk_test(struct kunit *test)
{
	unsigned long addr = map_pages(test);
	struct walk *w = walk_prepare(test, addr);
	int gen, i;

	walk(test, w, true);
	expect_pages(test, w, addr);
	gen = folio_lru_gen(w->folio);
	walk(test, w, true);
	expect_pages(test, w, addr);
	KUNIT_EXPECT_EQ(test, gen, folio_lru_gen(w->folio));
	/* What was accessed twice comes into the youngest generation. */
	w->sub->young = true;
	for (i = 0; i < 2; i++) {
		walk(test, w, true);
		expect_pages(test, w, addr);
	}
	KUNIT_EXPECT_NE(test, gen, folio_lru_gen(w->folio));
}

/*
 * The CPU does not mark a table as accessed by which only others look pages up.
 * It is not passed over for that.
 */
static void walk_table_test(struct kunit *test)
{
	unsigned long addr = map_pages(test);
	struct walk *w = walk_prepare(test, addr);
	int i;

	w->sub->young = true;
	walk(test, w, true);
	expect_pages(test, w, addr);
	for (i = 0; i < 3; i++) {
		walk(test, w, false);
		expect_pages(test, w, addr);
	}
}

static void walk_huge_test(struct kunit *test)
{
	unsigned long addr = map_huge(test);
	struct walk *w = walk_prepare(test, addr);
	int gen = folio_lru_gen(w->folio), i;

	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, gen, folio_lru_gen(w->folio));
		w->sub->young = i > 0;
		walk(test, w, true);
		MNK_EXPECT(test, w->sub,
			   CALL_PLAIN(MNK_CLEAR_YOUNG, addr, addr + PMD_SIZE));
	}
	KUNIT_EXPECT_NE(test, gen, folio_lru_gen(w->folio));
}

#define WALK_CASES							\
	KUNIT_CASE(walk_test),						\
	KUNIT_CASE(walk_table_test),					\
	KUNIT_CASE(walk_huge_test)

#else

static void walk_test(struct kunit *test)
{
	kunit_skip(test, "page tables are not walked for generations");
}

#define WALK_CASES	KUNIT_CASE(walk_test)

#endif

static struct kunit_case aging_cases[] = {
	KUNIT_CASE(idle_page_test),
	KUNIT_CASE(idle_huge_test),
	KUNIT_CASE(idle_shared_test),
	WALK_CASES,
	{ }
};

static struct kunit_suite aging_suite = {
	.name = "mmu_notifier_aging",
	.test_cases = aging_cases,
};

kunit_test_suite(aging_suite);
