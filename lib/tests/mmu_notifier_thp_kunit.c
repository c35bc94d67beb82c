// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: operations on large folios and huge page
 * table entries. A folio costs one call with the number of its pages, or one
 * range, however many entries map it.
 */

#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/memblock.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define LARGE_PAGES	4
#define LARGE_ORDER	ilog2(LARGE_PAGES)
#define LARGE_SIZE	(LARGE_PAGES * PAGE_SIZE)

static int thp_init(struct kunit *test)
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

/* One anonymous huge page, mapped by a PMD. */
static struct mnk_pair *thp_anon(struct kunit *test)
{
	return mnk_watch_pair(test, mnk_map_huge(test, 1), HPAGE_PMD_SIZE);
}

static void advise(struct kunit *test, unsigned long addr, unsigned long len,
		   int advice)
{
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, len, advice));
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
	advise(test, addr, LARGE_SIZE, MADV_HUGEPAGE);
	mnk_write(test, addr);
	advise(test, addr, LARGE_SIZE, MADV_NOHUGEPAGE);
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
	unsigned long addr = mnk_map_anon(test, 2 * HPAGE_PMD_SIZE);
	struct mnk_pair *t;

	addr = ALIGN(addr, HPAGE_PMD_SIZE);
	advise(test, addr, HPAGE_PMD_SIZE, MADV_HUGEPAGE);
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

/* Entries above a table of PMDs, which are for memory of devices only. */

#if defined(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD) && \
	defined(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP)

static vm_fault_t fault_pud(struct vm_fault *vmf, unsigned int order)
{
	if (order != PUD_ORDER)
		return VM_FAULT_FALLBACK;
	/* Behind all memory, which has users that the kernel keeps count of. */
	return vmf_insert_pfn_pud(vmf, ALIGN(max_pfn, 1UL << PUD_ORDER), false);
}

static vm_fault_t no_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct pud_vm_ops = {
	.fault = no_fault,
	.huge_fault = fault_pud,
};

static int map_pud_file(struct file *file, struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP |
		     VM_HUGEPAGE);
	vma->vm_ops = &pud_vm_ops;
	return 0;
}

static const struct file_operations pud_file_ops = {
	.mmap = map_pud_file,
};

KUNIT_DEFINE_ACTION_WRAPPER(put_file, fput, struct file *);

static unsigned long map_pud(struct kunit *test)
{
	struct file *file = anon_inode_getfile("mnk", &pud_file_ops, NULL, O_RDWR);
	unsigned long hole, addr;
	int ret;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_file, file));
	hole = mnk_hole(test, PUD_SIZE, PUD_SIZE);
	addr = kunit_vm_mmap(test, file, hole, PUD_SIZE, PROT_READ,
			     MAP_SHARED | MAP_FIXED, 0);
	KUNIT_ASSERT_EQ(test, addr, hole);
	mmap_read_lock(current->mm);
	ret = fixup_user_fault(current->mm, addr, 0, NULL);
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_EQ(test, 0, ret);
	return addr;
}

static bool is_pud(unsigned long addr)
{
	pud_t *pud = pud_offset(p4d_offset(pgd_offset(current->mm, addr), addr),
				addr);

	return pud_leaf(*pud);
}

/* A driver takes a part away: the entry goes for as long as nobody wants it. */
static void split_pud_test(struct kunit *test)
{
	unsigned long addr, end, part;
	struct mnk_sub *sub;

	if (!has_transparent_pud_hugepage())
		kunit_skip(test, "no huge entries above PMDs");
	addr = map_pud(test);
	end = addr + PUD_SIZE;
	part = addr + PMD_SIZE;
	KUNIT_ASSERT_TRUE(test, is_pud(addr));
	sub = mnk_subscribe(test, current->mm, &mnk_page_ops);
	mmap_read_lock(current->mm);
	zap_special_vma_range(vma_lookup(current->mm, addr), addr, PMD_SIZE);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_FALSE(test, is_pud(addr));
	MNK_EXPECT(test, sub,
		   CALL_START(addr, part, MMU_NOTIFY_CLEAR),
		   CALL_START(addr, end, MMU_NOTIFY_CLEAR),
		   CALL_END(addr, end, MMU_NOTIFY_CLEAR),
		   CALL_END(addr, part, MMU_NOTIFY_CLEAR));
}

#else

static void split_pud_test(struct kunit *test)
{
	kunit_skip(test, "no huge entries above PMDs");
}

#endif

static struct kunit_case thp_cases[] = {
	KUNIT_CASE(split_pmd_test),
	KUNIT_CASE(zap_part_test),
	KUNIT_CASE(zap_pmd_test),
	KUNIT_CASE(cow_huge_zero_test),
	KUNIT_CASE(migrate_pmd_test),
	KUNIT_CASE(age_pmd_test),
	KUNIT_CASE(reclaim_large_test),
	KUNIT_CASE(migrate_large_test),
	KUNIT_CASE(split_pud_test),
	{ }
};

static struct kunit_suite thp_suite = {
	.name = "mmu_notifier_thp",
	.init = thp_init,
	.test_cases = thp_cases,
};

kunit_test_suite(thp_suite);
