// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: operations that reach a page through its
 * reverse map and meet an entry which is not present but maps it all the same,
 * a poisoned hugetlb page, or neighbours worth a look.
 */

#include <linux/hugetlb.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"

#define LEN	(4 * PAGE_SIZE)

/* Its address is the owner of what becomes exclusive. */
static int device;

static struct mnk_call by_device(struct mnk_call call)
{
	call.owner = &device;
	return call;
}

/* One page of memory, there, that reclaim may drop without writing it. */
static struct mnk_pair *watch_anon(struct kunit *test)
{
	unsigned long addr;

	if (!IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		kunit_skip(test, "no device-exclusive entries");

	addr = mnk_map(test, NULL, LEN, MAP_DROPPABLE | MAP_ANONYMOUS);
	mnk_write(test, addr);
	return mnk_watch_pair(test, addr, PAGE_SIZE);
}

/* A page for the device alone, locked and referenced. */
static struct folio *make_exclusive(struct kunit *test, struct mnk_pair *p)
{
	struct folio *folio;
	struct page *page;

	mmap_read_lock(current->mm);
	page = make_device_exclusive(current->mm, p->addr, &device, &folio);
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_FALSE(test, IS_ERR(page));
	/* Reclaim counts the references. */
	lru_add_drain_all();
	return folio;
}

/* Every device hears of it, the one that asked too: that knows its own name. */
static void exclusive_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);

	mnk_unlock_folio(make_exclusive(test, p));
	MNK_EXPECT(test, p->page,
		   by_device(CALL_START(p->addr, p->end, MMU_NOTIFY_EXCLUSIVE)),
		   by_device(CALL_END(p->addr, p->end, MMU_NOTIFY_EXCLUSIVE)));
	MNK_EXPECT(test, p->range,
		   by_device(CALL_START(p->addr, p->end, MMU_NOTIFY_EXCLUSIVE)),
		   by_device(CALL_END(p->addr, p->end, MMU_NOTIFY_EXCLUSIVE)));
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_ABSENT);
	mnk_expect_locked(test, p->range, MNK_START, false);
	mnk_expect_locked(test, p->range, MNK_END, false);
}

/* The CPU wants the page back: nobody owns that section, all must listen. */
static void exclusive_fault_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);

	mnk_unlock_folio(make_exclusive(test, p));
	mnk_pair_reset(p);
	mnk_write(test, p->addr);
	mnk_pair_expect_range(test, p, p->addr, p->end, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START], MNK_ABSENT);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_WRITABLE);
}

struct claim {
	struct mm_struct *mm;
	unsigned long addr;
	struct page *page;
};

static void claim_thread(void *data)
{
	struct claim *c = data;
	struct folio *folio;

	mmap_read_lock(c->mm);
	c->page = make_device_exclusive(c->mm, c->addr, &device, &folio);
	mmap_read_unlock(c->mm);
	if (!IS_ERR(c->page))
		mnk_unlock_folio(folio);
}

/*
 * The page goes away between the lookup and the second one. The section that
 * was open for it is closed before the next is opened.
 */
static void exclusive_retry_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);
	struct mnk_gate *gate = mnk_gate_arm(test, p->range, MNK_START);
	struct claim *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	struct mnk_thread *thread;

	KUNIT_ASSERT_NOT_NULL(test, c);
	c->mm = current->mm;
	c->addr = p->addr;
	thread = mnk_thread_run(test, claim_thread, c);
	mnk_gate_wait(test, gate);
	KUNIT_EXPECT_EQ(test, 0, do_madvise(c->mm, p->addr, PAGE_SIZE,
					    MADV_DONTNEED));
	mnk_gate_open(gate);
	mnk_thread_join(test, thread);

	KUNIT_EXPECT_FALSE(test, IS_ERR(c->page));
	MNK_EXPECT(test, p->range,
		   by_device(CALL_START(p->addr, p->end, MMU_NOTIFY_EXCLUSIVE)),
		   CALL_START(p->addr, p->end, MMU_NOTIFY_CLEAR),
		   CALL_END(p->addr, p->end, MMU_NOTIFY_CLEAR),
		   by_device(CALL_END(p->addr, p->end, MMU_NOTIFY_EXCLUSIVE)),
		   by_device(CALL_START(p->addr, p->end, MMU_NOTIFY_EXCLUSIVE)),
		   by_device(CALL_END(p->addr, p->end, MMU_NOTIFY_EXCLUSIVE)));
}

/*
 * What a device has exclusively is not present, but it is mapped there, and
 * taken away from there.
 */

static void unmap_exclusive_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);
	struct folio *folio = make_exclusive(test, p);

	mnk_pair_reset(p);
	try_to_unmap(folio, 0);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	mnk_unlock_folio(folio);
	mnk_pair_expect_page(test, p, p->addr, 1, MMU_NOTIFY_CLEAR);
}

static void migrate_exclusive_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);
	struct folio *folio = make_exclusive(test, p);

	mnk_pair_reset(p);
	try_to_migrate(folio, 0);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	mnk_pair_expect_page(test, p, p->addr, 1, MMU_NOTIFY_CLEAR);

	remove_migration_ptes(folio, folio, 0);
	KUNIT_EXPECT_TRUE(test, folio_mapped(folio));
	mnk_unlock_folio(folio);
	mnk_pair_expect_silence(test, p);
}

/* Exchanges the entry at @addr, which maps the same page before and after. */
static pte_t exchange_entry(struct kunit *test, unsigned long addr,
			    pte_t new)
{
	pmd_t *pmd = mm_find_pmd(current->mm, addr);
	struct vm_area_struct *vma = mnk_vma(test, addr);
	spinlock_t *ptl;	/* of the table */
	pte_t *ptep, old;

	KUNIT_ASSERT_NOT_NULL(test, pmd);
	ptep = pte_offset_map_lock(current->mm, pmd, addr, &ptl);
	KUNIT_ASSERT_NOT_NULL(test, ptep);
	old = ptep_get_and_clear(current->mm, addr, ptep);
	flush_tlb_page(vma, addr);
	set_pte_at(current->mm, addr, ptep, new);
	pte_unmap_unlock(ptep, ptl);
	return old;
}

/*
 * What is cleaned belongs to a file, what becomes exclusive is anonymous: no
 * operation of today brings the two together. The entry is put in by hand.
 */
static void mkclean_exclusive_test(struct kunit *test)
{
	struct file *file = mnk_file(test, LEN);
	struct folio *folio;
	struct mnk_pair *p;
	pte_t old, new;

	if (!IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		kunit_skip(test, "no device-exclusive entries");

	p = mnk_watch_pair(test, mnk_map(test, file, LEN, MAP_SHARED), PAGE_SIZE);
	mnk_write(test, p->addr);
	folio = mnk_lock_folio(test, p->addr);
	new = swp_entry_to_pte(make_device_exclusive_entry(folio_pfn(folio)));
	old = exchange_entry(test, p->addr, new);
	/* For the CPU it is clean already. */
	KUNIT_EXPECT_EQ(test, 0, folio_mkclean(folio));
	exchange_entry(test, p->addr, old);
	mnk_unlock_folio(folio);
	mnk_pair_expect_page(test, p, p->addr, 1, MMU_NOTIFY_PROTECTION_PAGE);
}

#if defined(CONFIG_HUGETLB_PAGE) && defined(CONFIG_MEMORY_FAILURE)

/* Private memory of one hugetlb page, which is there. */
static unsigned long map_hugetlb(struct kunit *test)
{
	unsigned long size, addr;

	if (!hugepages_supported())
		kunit_skip(test, "no huge pages");

	size = huge_page_size(&default_hstate);
	addr = mnk_map(test, mnk_hugetlb_file(test, size, 1), size, MAP_PRIVATE);
	mnk_write(test, addr);
	return addr;
}

/* One range for everybody: the entry is replaced by one that says poisoned. */
static void poisoned_hugetlb_test(struct kunit *test)
{
	unsigned long addr = map_hugetlb(test);
	struct mnk_pair *p = mnk_watch_pair(test, addr,
					    huge_page_size(&default_hstate));
	struct folio *folio = mnk_lock_folio(test, addr);

	KUNIT_ASSERT_TRUE(test, folio_test_hugetlb(folio));
	folio_set_hwpoison(folio);
	try_to_unmap(folio, TTU_HWPOISON);
	folio_clear_hwpoison(folio);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	mnk_unlock_folio(folio);

	mnk_pair_expect_range(test, p, p->addr, p->end, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_END], MNK_ABSENT);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_ABSENT);
}

#else

static void poisoned_hugetlb_test(struct kunit *test)
{
	kunit_skip(test, "no poisoned hugetlb pages");
}

#endif

#ifdef CONFIG_LRU_GEN

/* Off its list, for there are no pages of a generation on it. */
static struct folio *isolate(struct kunit *test, unsigned long addr)
{
	struct folio *folio = mnk_lock_folio(test, addr);

	KUNIT_ASSERT_TRUE(test, folio_isolate_lru(folio));
	return folio;
}

static void set_generation(struct folio *folio, unsigned long bits)
{
	set_mask_bits(&folio->flags.f, LRU_GEN_MASK, bits << LRU_GEN_PGOFF);
}

static void put_back(struct folio *folio)
{
	set_generation(folio, 0);
	folio_putback_lru(folio);
	mnk_unlock_folio(folio);
}

static bool look_around(struct folio *folio, struct vm_area_struct *vma,
			unsigned long addr)
{
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, addr, 0);
	bool young;

	if (!page_vma_mapped_walk(&pvmw))
		return false;
	young = lru_gen_look_around(&pvmw, 1);
	page_vma_mapped_walk_done(&pvmw);
	return young;
}

/*
 * Secondary MMUs are asked about a page and, if that was accessed, about all of
 * its neighbours at once, whatever the entries of the CPU say. What they are told
 * to clear is what was taken for accessed: not the page without an entry.
 */
static void look_around_test(struct kunit *test)
{
	/* Below one PMD: nothing, the page, its neighbour, nothing. */
	unsigned long start = ALIGN(mnk_map_anon(test, 2 * LEN), LEN);
	unsigned long addr = start + PAGE_SIZE, next = addr + PAGE_SIZE;
	struct vm_area_struct *vma = mnk_vma(test, addr);
	struct folio *folio, *neighbour;
	unsigned long end, bit;
	struct mnk_sub *sub;

	start = max(addr & PMD_MASK, vma->vm_start);
	end = min((addr & PMD_MASK) + PMD_SIZE, vma->vm_end);
	bit = BIT((next - start) >> PAGE_SHIFT);
	mnk_write(test, addr);
	mnk_write(test, next);
	lru_add_drain_all();
	sub = mnk_subscribe(test, current->mm, &mnk_young_ops);
	folio = isolate(test, addr);
	neighbour = isolate(test, next);
	set_generation(neighbour, 1);

	/* The CPU has accessed both, the secondary MMU neither. */
	KUNIT_EXPECT_TRUE(test, look_around(folio, vma, addr));
	MNK_EXPECT(test, sub, CALL_PLAIN(MNK_CLEAR_YOUNG, addr, next),
		   CALL_PLAIN(MNK_TEST_YOUNG_PAGES, start, end));
	KUNIT_EXPECT_FALSE(test, look_around(folio, vma, addr));
	MNK_EXPECT(test, sub, CALL_PLAIN(MNK_CLEAR_YOUNG, addr, next));

	/* The secondary MMU both, and one more page. */
	sub->young = true;
	sub->young_pages = bit | bit << 1;
	KUNIT_EXPECT_TRUE(test, look_around(folio, vma, addr));
	MNK_EXPECT(test, sub, CALL_PLAIN(MNK_CLEAR_YOUNG, addr, next),
		   CALL_PLAIN(MNK_TEST_YOUNG_PAGES, start, end),
		   CALL_PLAIN(MNK_CLEAR_YOUNG_PAGES, start, end));
	KUNIT_EXPECT_EQ(test, sub->cleared_pages, bit);

	put_back(neighbour);
	put_back(folio);
}

/* Reclaim looks at one page after the other: the second asks for a window. */
static void look_at_both_test(struct kunit *test)
{
	unsigned long addr = ALIGN(mnk_map_anon(test, 2 * LEN), LEN);
	unsigned long window = round_down(addr, BITS_PER_LONG * PAGE_SIZE);
	struct vm_area_struct *vma = mnk_vma(test, addr);
	struct reclaim_state state = { };
	struct folio *folios[2];
	struct mnk_sub *sub;
	int i;

	for (i = 0; i < 2; i++) {
		mnk_write(test, addr + i * PAGE_SIZE);
		lru_add_drain_all();
		folios[i] = isolate(test, addr + i * PAGE_SIZE);
		KUNIT_EXPECT_TRUE(test, look_around(folios[i], vma,
						    addr + i * PAGE_SIZE));
	}
	sub = mnk_subscribe(test, current->mm, &mnk_young_ops);
	current->reclaim_state = &state;
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_FALSE(test, look_around(folios[i], vma,
						     addr + i * PAGE_SIZE));
	secondary_window_end();
	current->reclaim_state = NULL;
	MNK_EXPECT(test, sub,
		   CALL_PLAIN(MNK_CLEAR_YOUNG, addr, addr + PAGE_SIZE),
		   CALL_PLAIN(MNK_TEST_YOUNG_PAGES, window,
			      window + BITS_PER_LONG * PAGE_SIZE));
	for (i = 0; i < 2; i++)
		put_back(folios[i]);
}

#else

static void look_around_test(struct kunit *test)
{
	kunit_skip(test, "no generations");
}

static void look_at_both_test(struct kunit *test)
{
	kunit_skip(test, "no generations");
}

#endif

static struct kunit_case rmap_cases[] = {
	KUNIT_CASE(exclusive_test),
	KUNIT_CASE(exclusive_fault_test),
	KUNIT_CASE(exclusive_retry_test),
	KUNIT_CASE(unmap_exclusive_test),
	KUNIT_CASE(migrate_exclusive_test),
	KUNIT_CASE(mkclean_exclusive_test),
	KUNIT_CASE(poisoned_hugetlb_test),
	KUNIT_CASE(look_around_test),
	KUNIT_CASE(look_at_both_test),
	{ }
};

static struct kunit_suite rmap_suite = {
	.name = "mmu_notifier_rmap",
	.test_cases = rmap_cases,
};

kunit_test_suite(rmap_suite);
