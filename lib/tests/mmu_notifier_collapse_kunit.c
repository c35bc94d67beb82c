// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: small pages are collapsed into a huge one,
 * by advice and by khugepaged. The table of small entries goes away as a whole.
 */

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/khugepaged.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	4
#define KHUGEPAGED	"kernel/mm/transparent_hugepage/khugepaged/"

static int collapse_init(struct kunit *test)
{
	if (!has_transparent_hugepage())
		kunit_skip(test, "no transparent huge pages");
	return 0;
}

static bool is_huge(unsigned long addr)
{
	pmd_t *pmd = mm_find_pmd(current->mm, addr);

	return pmd && pmd_trans_huge(pmdp_get_lockless(pmd));
}

static int advise(unsigned long addr, int advice)
{
	return do_madvise(current->mm, addr, HPAGE_PMD_SIZE, advice);
}

static void fill(struct kunit *test, unsigned long addr)
{
	int i;

	for (i = 0; i < NR_PAGES; i++)
		mnk_write(test, addr + i * PAGE_SIZE);
	KUNIT_ASSERT_FALSE(test, is_huge(addr));
}

/* A few small pages where there could be a huge one. */
static unsigned long map_anon(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, 2 * HPAGE_PMD_SIZE);

	addr = ALIGN(addr, HPAGE_PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, advise(addr, MADV_NOHUGEPAGE));
	fill(test, addr);
	return addr;
}

static unsigned long map_file(struct kunit *test, struct file *file,
			      unsigned long flags)
{
	unsigned long hole = mnk_hole(test, HPAGE_PMD_SIZE, HPAGE_PMD_SIZE);
	unsigned long addr = kunit_vm_mmap(test, file, hole, HPAGE_PMD_SIZE,
					   PROT_READ | PROT_WRITE,
					   flags | MAP_FIXED, 0);

	KUNIT_ASSERT_EQ(test, addr, hole);
	return addr;
}

/* The last section: small entries before, none after. */
static void expect_collapsed(struct kunit *test, struct mnk_pair *p,
			     enum mnk_entry before)
{
	KUNIT_EXPECT_TRUE(test, is_huge(p->addr));
	mnk_pair_expect_range(test, p, p->addr, p->end, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_START], before);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_END], MNK_ABSENT);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START], before);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_ABSENT);
}

static void anon_test(struct kunit *test)
{
	unsigned long addr = map_anon(test);
	struct mnk_pair *p = mnk_watch_pair(test, addr, HPAGE_PMD_SIZE);

	KUNIT_ASSERT_EQ(test, 0, advise(addr, MADV_HUGEPAGE));
	KUNIT_ASSERT_EQ(test, 0, advise(addr, MADV_COLLAPSE));
	expect_collapsed(test, p, MNK_WRITABLE);
}

/*
 * The pages of a file are unmapped one by one. Then their table is taken away
 * under the i_mmap lock alone.
 */
static void file_test(struct kunit *test)
{
	struct file *file = mnk_file(test, HPAGE_PMD_SIZE);
	struct mnk_call page[NR_PAGES + 2], range[2 * NR_PAGES + 2];
	unsigned long addr = map_file(test, file, MAP_SHARED), end;
	struct mnk_pair *p;
	int i;

	fill(test, addr);
	end = addr + HPAGE_PMD_SIZE;
	for (i = 0; i < NR_PAGES; i++) {
		unsigned long start = addr + i * PAGE_SIZE;

		page[i] = CALL_PAGE(start, 1, MMU_NOTIFY_CLEAR);
		range[2 * i] = CALL_START(start, start + PAGE_SIZE,
					  MMU_NOTIFY_CLEAR);
		range[2 * i + 1] = CALL_END(start, start + PAGE_SIZE,
					    MMU_NOTIFY_CLEAR);
	}
	page[i] = CALL_START(addr, end, MMU_NOTIFY_CLEAR);
	page[i + 1] = CALL_END(addr, end, MMU_NOTIFY_CLEAR);
	range[2 * i] = page[i];
	range[2 * i + 1] = page[i + 1];

	p = mnk_watch_pair(test, addr, HPAGE_PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, advise(addr, MADV_COLLAPSE));
	KUNIT_EXPECT_TRUE(test, is_huge(addr));
	mnk_expect_calls(test, p->page, page, ARRAY_SIZE(page));
	mnk_expect_calls(test, p->range, range, ARRAY_SIZE(range));
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_PAGE], MNK_ABSENT);
}

static void count_locked(struct mnk_sub *sub, const struct mnk_call *call)
{
	struct address_space *mapping = sub->data;

	if (call->kind <= MNK_END && !rwsem_is_locked(&mapping->i_mmap_rwsem))
		atomic_inc(&sub->violations);
}

/* Another process has the file mapped, too, and nobody locks its mmap_lock. */
static void file_of_others_test(struct kunit *test)
{
	struct file *file = mnk_file(test, HPAGE_PMD_SIZE);
	unsigned long addr = map_file(test, file, MAP_SHARED);
	unsigned long end = addr + HPAGE_PMD_SIZE;
	struct mnk_process *child;
	struct mnk_sub *sub;

	mnk_write(test, addr);
	child = mnk_fork(test);
	/* Its entries are not copied, but found in the file. */
	mmap_read_lock(child->mm);
	KUNIT_EXPECT_EQ(test, 0, fixup_user_fault(child->mm, addr,
						  FAULT_FLAG_WRITE, NULL));
	mmap_read_unlock(child->mm);
	sub = mnk_alloc(test, &mnk_page_ops);
	sub->hook = count_locked;
	sub->data = file->f_mapping;
	KUNIT_ASSERT_EQ(test, 0, mnk_register(test, sub, child->mm));
	KUNIT_ASSERT_EQ(test, 0, advise(addr, MADV_COLLAPSE));
	MNK_EXPECT(test, sub, CALL_PAGE(addr, 1, MMU_NOTIFY_CLEAR),
		   CALL_START(addr, end, MMU_NOTIFY_CLEAR),
		   CALL_END(addr, end, MMU_NOTIFY_CLEAR));
}

/*
 * The file has its huge page already, and a mapping of it small entries. It has
 * kept its table, in which there was a copy once.
 */
static unsigned long map_small_entries(struct kunit *test)
{
	struct file *file = mnk_file(test, HPAGE_PMD_SIZE);
	unsigned long shared = map_file(test, file, MAP_SHARED);
	unsigned long addr = map_file(test, file, MAP_PRIVATE);

	fill(test, shared);
	mnk_write(test, addr);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE,
					    MADV_DONTNEED));
	KUNIT_ASSERT_EQ(test, 0, advise(shared, MADV_COLLAPSE));
	KUNIT_ASSERT_TRUE(test, is_huge(shared));
	mnk_read(test, addr);
	KUNIT_ASSERT_FALSE(test, is_huge(addr));
	return addr;
}

static void small_entries_test(struct kunit *test)
{
	unsigned long addr = map_small_entries(test);
	struct mnk_pair *p = mnk_watch_pair(test, addr, HPAGE_PMD_SIZE);

	KUNIT_ASSERT_EQ(test, 0, advise(addr, MADV_COLLAPSE));
	expect_collapsed(test, p, MNK_READONLY);
}

/**
 * struct collapse - MADV_COLLAPSE in a thread
 * @mm: the address space
 * @addr: of the pages
 * @ret: what it returned
 */
struct collapse {
	struct mm_struct *mm;
	unsigned long addr;
	int ret;
};

static void collapse_thread(void *data)
{
	struct collapse *c = data;

	kthread_use_mm(c->mm);
	c->ret = advise(c->addr, MADV_COLLAPSE);
	kthread_unuse_mm(c->mm);
}

/* Before it has the locks, one of the pages is copied: it gives up, and ends. */
static void small_entries_copied_test(struct kunit *test)
{
	struct collapse *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	struct mnk_sub *sub = mnk_alloc(test, &mnk_page_ops);
	struct mnk_thread *thread;
	struct mnk_gate *gate;
	unsigned long end;

	KUNIT_ASSERT_NOT_NULL(test, c);
	c->addr = map_small_entries(test);
	c->mm = current->mm;
	end = c->addr + HPAGE_PMD_SIZE;
	KUNIT_ASSERT_EQ(test, 0, mnk_register(test, sub, c->mm));
	gate = mnk_gate_arm(test, sub, MNK_START);
	thread = mnk_thread_run(test, collapse_thread, c);
	mnk_gate_wait(test, gate);
	mnk_write(test, c->addr);
	mnk_gate_open(gate);
	mnk_thread_join(test, thread);

	KUNIT_EXPECT_NE(test, 0, c->ret);
	KUNIT_EXPECT_FALSE(test, is_huge(c->addr));
	MNK_EXPECT(test, sub,
		   CALL_START(c->addr, end, MMU_NOTIFY_CLEAR),
		   CALL_PAGE(c->addr, 1, MMU_NOTIFY_CLEAR),
		   CALL_END(c->addr, end, MMU_NOTIFY_CLEAR));
}

/* khugepaged. */

static void make_old(struct kunit *test, unsigned long addr)
{
	vma_flags_t flags;
	int i;

	for (i = 0; i < NR_PAGES; i++) {
		struct folio *folio = mnk_lock_folio(test, addr + i * PAGE_SIZE);

		folio_referenced(folio, 1, NULL, &flags);
		folio_clear_referenced(folio);
		mnk_unlock_folio(folio);
	}
}

/*
 * It leaves alone what nobody uses. That the CPU does not use it is not enough,
 * the others are asked.
 */
static void khugepaged_test(struct kunit *test)
{
	unsigned long addr = map_anon(test), i;
	struct mnk_sub *sub;

	lru_add_drain_all();
	make_old(test, addr);
	sub = mnk_subscribe(test, current->mm, &mnk_page_ops);
	mnk_set(test, KHUGEPAGED "scan_sleep_millisecs", "1");
	KUNIT_ASSERT_EQ(test, 0, advise(addr, MADV_HUGEPAGE));
	/* Each page in each of two passes. */
	mnk_wait_for(test, mnk_count(sub, MNK_TEST_YOUNG) >= 2 * NR_PAGES);
	KUNIT_EXPECT_FALSE(test, is_huge(addr));
	KUNIT_EXPECT_EQ(test, 0, mnk_count(sub, MNK_START));
	for (i = 0; i < 2 * NR_PAGES; i++)
		KUNIT_EXPECT_EQ(test, sub->calls[i].start,
				addr + i % NR_PAGES * PAGE_SIZE);

	WRITE_ONCE(sub->young, true);
	mnk_wait_for(test, is_huge(addr));
}

static struct kunit_case collapse_cases[] = {
	KUNIT_CASE(anon_test),
	KUNIT_CASE(file_test),
	KUNIT_CASE(file_of_others_test),
	KUNIT_CASE(small_entries_test),
	KUNIT_CASE(small_entries_copied_test),
	KUNIT_CASE(khugepaged_test),
	{ }
};

static struct kunit_suite collapse_suite = {
	.name = "mmu_notifier_collapse",
	.init = collapse_init,
	.test_cases = collapse_cases,
};

kunit_test_suite(collapse_suite);
