// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: which callbacks the operations of the VM
 * cause, and what the page tables look like then. Base pages; the large ones
 * have a suite of their own.
 */

#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include <asm/tlb.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"

#define NR_PAGES	4
#define LEN		(NR_PAGES * PAGE_SIZE)

/* Anonymous memory with every page there. */
static struct mnk_pair *ops_anon(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, LEN);
	int i;

	for (i = 0; i < NR_PAGES; i++)
		mnk_write(test, addr + i * PAGE_SIZE);
	return mnk_watch_pair(test, addr, LEN);
}

static struct mnk_pair *ops_file(struct kunit *test, struct file *file,
				 unsigned long flags)
{
	return mnk_watch_pair(test, mnk_map(test, file, LEN, flags), LEN);
}

/* One range for everybody; the entry is there at the start. */
static void expect_range(struct kunit *test, struct mnk_pair *o,
			 unsigned long start, unsigned long end,
			 enum mmu_notifier_event event)
{
	mnk_pair_expect_range(test, o, start, end, event);
	KUNIT_EXPECT_NE(test, mnk_view(o->page)->entry[MNK_START], MNK_ABSENT);
	KUNIT_EXPECT_NE(test, mnk_view(o->range)->entry[MNK_START], MNK_ABSENT);
}

/* One page; the entry is there at the start. */
static void expect_page(struct kunit *test, struct mnk_pair *o,
			unsigned long addr, enum mmu_notifier_event event)
{
	mnk_pair_expect_page(test, o, addr, 1, event);
	KUNIT_EXPECT_NE(test, mnk_view(o->range)->entry[MNK_START], MNK_ABSENT);
}

/* ... and the entry is gone when the page call comes. */
static void expect_page_cleared(struct kunit *test, struct mnk_pair *o,
				unsigned long addr)
{
	expect_page(test, o, addr, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(o->page)->entry[MNK_PAGE], MNK_ABSENT);
}

/* Filling holes, and getting rights that the VMA grants, tells nobody. */
static void fault_test(struct kunit *test)
{
	struct mnk_pair *o = mnk_watch_pair(test, mnk_map_anon(test, LEN), LEN);

	mnk_read(test, o->addr);
	mnk_write(test, o->addr + PAGE_SIZE);
	mnk_write(test, o->addr + PAGE_SIZE);
	mnk_pair_expect_silence(test, o);
}

static void munmap_test(struct kunit *test)
{
	struct mnk_pair *o = ops_anon(test);

	KUNIT_EXPECT_EQ(test, 0, vm_munmap(o->addr, LEN));
	expect_range(test, o, o->addr, o->end, MMU_NOTIFY_UNMAP);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_END], MNK_ABSENT);
	KUNIT_EXPECT_EQ(test, mnk_view(o->page)->entry[MNK_END], MNK_ABSENT);
}

/* Only what is unmapped is named. */
static void munmap_part_test(struct kunit *test)
{
	struct mnk_pair *o = ops_anon(test);

	KUNIT_EXPECT_EQ(test, 0, vm_munmap(o->addr, PAGE_SIZE));
	expect_range(test, o, o->addr, o->addr + PAGE_SIZE, MMU_NOTIFY_UNMAP);
}

static void dontneed_test(struct kunit *test)
{
	struct mnk_pair *o = ops_anon(test);

	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, o->addr, LEN,
					    MADV_DONTNEED));
	expect_range(test, o, o->addr, o->end, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_END], MNK_ABSENT);
}

/* Another task takes pages away from a file; no mmap_lock is held. */
static void truncate_test(struct kunit *test)
{
	struct file *file = mnk_file(test, LEN);
	struct mnk_pair *o = ops_file(test, file, MAP_SHARED);

	mnk_write(test, o->addr);
	unmap_mapping_range(file->f_mapping, 0, 0, 1);
	expect_range(test, o, o->addr, o->end, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_END], MNK_ABSENT);
}

static int set_rights(struct mm_struct *mm, unsigned long addr,
		      unsigned long end, bool writable)
{
	VMA_ITERATOR(vmi, mm, addr);
	struct vm_area_struct *vma, *prev;
	struct mmu_gather tlb;
	vm_flags_t flags;
	int ret;

	mmap_write_lock(mm);
	vma = vma_find(&vmi, end);
	prev = vma_prev(&vmi);
	/* mprotect_fixup() wants the iterator on the VMA. */
	vma = vma_find(&vmi, end);
	if (addr > vma->vm_start)
		prev = vma;
	flags = writable ? vma->vm_flags | VM_WRITE : vma->vm_flags & ~VM_WRITE;
	tlb_gather_mmu(&tlb, mm);
	ret = mprotect_fixup(&vmi, &tlb, vma, &prev, addr, end, flags);
	tlb_finish_mmu(&tlb);
	mmap_write_unlock(mm);
	return ret;
}

static void mprotect_test(struct kunit *test)
{
	struct mnk_pair *o = ops_anon(test);

	KUNIT_ASSERT_EQ(test, 0, set_rights(current->mm, o->addr, o->end, false));
	expect_range(test, o, o->addr, o->end, MMU_NOTIFY_PROTECTION_VMA);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_START], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_END], MNK_READONLY);
}

/* Where nothing is mapped no right changes. */
static void mprotect_empty_test(struct kunit *test)
{
	struct mnk_pair *o = mnk_watch_pair(test, mnk_map_anon(test, LEN), LEN);

	KUNIT_ASSERT_EQ(test, 0, set_rights(current->mm, o->addr, o->end, false));
	mnk_pair_expect_silence(test, o);
}

/* Copy on write: of the zero page, of the page cache, of a page shared by fork. */

static void cow_zero_page_test(struct kunit *test)
{
	struct mnk_pair *o = mnk_watch_pair(test, mnk_map_anon(test, LEN), LEN);

	mnk_read(test, o->addr);
	mnk_pair_expect_silence(test, o);
	mnk_write(test, o->addr);
	expect_page_cleared(test, o, o->addr);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_END], MNK_WRITABLE);
}

static void cow_page_cache_test(struct kunit *test)
{
	struct mnk_pair *o = ops_file(test, mnk_file(test, LEN), MAP_PRIVATE);

	mnk_read(test, o->addr);
	mnk_pair_expect_silence(test, o);
	mnk_write(test, o->addr);
	expect_page_cleared(test, o, o->addr);
}

static void fork_test(struct kunit *test)
{
	struct mnk_pair *o = ops_anon(test);
	struct mm_struct *child = mnk_mm(test);

	KUNIT_ASSERT_EQ(test, 0, dup_mmap(child, current->mm));
	expect_range(test, o, o->addr, o->end, MMU_NOTIFY_PROTECTION_PAGE);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_START], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_END], MNK_READONLY);
	KUNIT_EXPECT_FALSE(test, mm_has_notifiers(child));

	mnk_write(test, o->addr);
	expect_page_cleared(test, o, o->addr);
}

/* A page that has become ours alone gets its right back without a copy. */
static void reuse_test(struct kunit *test)
{
	struct mnk_pair *o = ops_anon(test);
	struct mm_struct *child = mnk_mm(test);

	KUNIT_ASSERT_EQ(test, 0, dup_mmap(child, current->mm));
	mnk_mm_exit(test, child);
	mnk_pair_reset(o);
	lru_add_drain_all();
	mnk_write(test, o->addr);
	mnk_pair_expect_silence(test, o);
}

/* Reclaim, migration, cleaning: what happens to one folio. */

static void reclaim_test(struct kunit *test)
{
	struct mnk_pair *o = ops_anon(test);
	struct mm_struct *mm = current->mm;
	bool locked;

	lru_add_drain_all();
	/* Clean and not swap-backed: reclaim needs no swap. */
	KUNIT_ASSERT_EQ(test, 0, do_madvise(mm, o->addr, LEN, MADV_FREE));
	expect_range(test, o, o->addr, o->end, MMU_NOTIFY_CLEAR);
	lru_add_drain_all();
	KUNIT_ASSERT_EQ(test, 0, do_madvise(mm, o->addr, PAGE_SIZE,
					    MADV_PAGEOUT));
	KUNIT_EXPECT_EQ(test, mnk_look(mm, o->addr, &locked), MNK_ABSENT);
	expect_page_cleared(test, o, o->addr);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_END], MNK_ABSENT);
}

/* Mapped twice, unmapped twice: each mapping is named. */
static void unmap_folio_test(struct kunit *test)
{
	struct file *file = mnk_file(test, LEN);
	struct mnk_pair *o = ops_file(test, file, MAP_SHARED);
	unsigned long other = mnk_map(test, file, LEN, MAP_SHARED);
	unsigned long lo = min(o->addr, other), hi = max(o->addr, other);
	struct folio *folio;

	mnk_write(test, lo);
	mnk_write(test, hi);
	folio = mnk_lock_folio(test, lo);
	try_to_unmap(folio, 0);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	mnk_unlock_folio(folio);

	KUNIT_EXPECT_EQ(test, o->page->nr, 2);
	KUNIT_EXPECT_EQ(test, mnk_count(o->page, MNK_PAGE), 2);
	KUNIT_EXPECT_EQ(test, lo, min(o->page->calls[0].start,
				      o->page->calls[1].start));
	KUNIT_EXPECT_EQ(test, hi, max(o->page->calls[0].start,
				      o->page->calls[1].start));
	KUNIT_EXPECT_EQ(test, o->range->nr, 4);
	KUNIT_EXPECT_EQ(test, mnk_count(o->range, MNK_START), 2);
	KUNIT_EXPECT_EQ(test, mnk_view(o->page)->entry[MNK_PAGE], MNK_ABSENT);
	mnk_expect_locked(test, o->page, MNK_PAGE, true);
}

static void migrate_test(struct kunit *test)
{
	struct mnk_pair *o = ops_anon(test);
	struct folio *folio;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "no migration");

	folio = mnk_lock_folio(test, o->addr);
	try_to_migrate(folio, 0);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	expect_page_cleared(test, o, o->addr);

	/* Back in, or at a new place: nobody has anything to drop. */
	remove_migration_ptes(folio, folio, 0);
	KUNIT_EXPECT_TRUE(test, folio_mapped(folio));
	mnk_unlock_folio(folio);
	mnk_pair_expect_silence(test, o);
}

static void mkclean_test(struct kunit *test)
{
	struct mnk_pair *o = ops_file(test, mnk_file(test, LEN), MAP_SHARED);
	struct folio *folio;
	int cleaned;

	mnk_write(test, o->addr);
	folio = mnk_lock_folio(test, o->addr);
	cleaned = folio_mkclean(folio);
	mnk_unlock_folio(folio);
	KUNIT_EXPECT_EQ(test, 1, cleaned);

	expect_page(test, o, o->addr, MMU_NOTIFY_PROTECTION_PAGE);
	KUNIT_EXPECT_NE(test, mnk_view(o->page)->entry[MNK_PAGE], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_START], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_END], MNK_READONLY);
}

/* What is clean already costs a page subscriber nothing. */
static void mkclean_clean_test(struct kunit *test)
{
	struct mnk_pair *o = ops_file(test, mnk_file(test, LEN), MAP_SHARED);
	struct folio *folio;

	mnk_write(test, o->addr);
	folio = mnk_lock_folio(test, o->addr);
	folio_mkclean(folio);
	o->page->nr = 0;
	KUNIT_EXPECT_EQ(test, 0, folio_mkclean(folio));
	mnk_unlock_folio(folio);
	mnk_expect_silence(test, o->page);
}

/* Aging: the entry of the CPU is young, and still everybody is asked. */
static void aging_test(struct kunit *test)
{
	struct mnk_pair *o = ops_anon(test);
	struct folio *folio = mnk_lock_folio(test, o->addr);
	struct mnk_call want = CALL_PLAIN(MNK_CLEAR_FLUSH_YOUNG, o->addr,
					  o->addr + PAGE_SIZE);
	vma_flags_t flags;

	KUNIT_EXPECT_EQ(test, 1, folio_referenced(folio, 1, NULL, &flags));
	mnk_expect_calls(test, o->page, &want, 1);
	mnk_expect_calls(test, o->range, &want, 1);

	/* The entry is old now; what is left is what the subscribers say. */
	KUNIT_EXPECT_EQ(test, 0, folio_referenced(folio, 1, NULL, &flags));
	o->range->young = true;
	KUNIT_EXPECT_EQ(test, 1, folio_referenced(folio, 1, NULL, &flags));
	KUNIT_EXPECT_EQ(test, mnk_count(o->page, MNK_CLEAR_FLUSH_YOUNG), 2);
	KUNIT_EXPECT_EQ(test, mnk_count(o->range, MNK_CLEAR_FLUSH_YOUNG), 2);
	mnk_unlock_folio(folio);
}

/* The OOM reaper must not sleep: who would have to, keeps the memory. */
static void reap_test(struct kunit *test)
{
	struct mnk_pair *o = ops_anon(test);
	struct vm_area_struct *vma = mnk_vma(test, o->addr);
	bool locked;
	int ret;

	o->range->start_ret = -EAGAIN;
	mmap_read_lock(current->mm);
	ret = zap_vma_for_reaping(vma);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	KUNIT_EXPECT_EQ(test, mnk_look(current->mm, o->addr, &locked),
			MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_count(o->page, MNK_START),
			mnk_count(o->page, MNK_END));
	KUNIT_EXPECT_EQ(test, mnk_count(o->range, MNK_END), 0);

	o->range->start_ret = 0;
	o->range->nr = 0;
	mmap_read_lock(current->mm);
	ret = zap_vma_for_reaping(vma);
	mmap_read_unlock(current->mm);
	KUNIT_EXPECT_EQ(test, ret, 0);
	MNK_EXPECT(test, o->range,
		   CALL_START_NONBLOCK(o->addr, o->end, MMU_NOTIFY_CLEAR),
		   CALL_END_NONBLOCK(o->addr, o->end, MMU_NOTIFY_CLEAR));
	KUNIT_EXPECT_EQ(test, mnk_view(o->range)->entry[MNK_END], MNK_ABSENT);
}

/* Exit: release comes while every page is still there, and is the last call. */

struct dying {
	struct mnk_sub *sub;
	unsigned long addr;
	unsigned long anon_pages;
	int ret;
};

static void count_at_release(struct mnk_sub *sub, const struct mnk_call *call)
{
	struct dying *d = sub->data;

	if (call->kind == MNK_RELEASE)
		d->anon_pages = get_mm_counter_sum(sub->mn.mm, MM_ANONPAGES);
}

static void dying_thread(void *data)
{
	struct dying *d = data;
	int i;

	d->ret = kunit_attach_mm();
	if (d->ret)
		return;
	d->addr = vm_mmap(NULL, 0, LEN, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, 0);
	for (i = 0; !d->ret && i < NR_PAGES; i++)
		d->ret = put_user(1, (char __user *)d->addr + i * PAGE_SIZE);
	if (!d->ret)
		d->ret = mmu_notifier_register(&d->sub->mn, current->mm);
}

static void exit_test(struct kunit *test)
{
	struct dying *d = kunit_kzalloc(test, sizeof(*d), GFP_KERNEL);
	struct mnk_gate *gate;

	KUNIT_ASSERT_NOT_NULL(test, d);
	d->sub = mnk_alloc(test, &mnk_range_ops);
	d->sub->hook = count_at_release;
	d->sub->data = d;
	gate = mnk_gate_arm(test, d->sub, MNK_RELEASE);
	mnk_thread_join(test, mnk_thread_run(test, dying_thread, d));
	KUNIT_ASSERT_EQ(test, 0, d->ret);

	/* The thread is done, its exit is not. */
	mnk_gate_wait(test, gate);
	KUNIT_EXPECT_EQ(test, NR_PAGES, d->anon_pages);
	KUNIT_EXPECT_EQ(test, NR_PAGES,
			get_mm_counter_sum(d->sub->mn.mm, MM_ANONPAGES));
	mnk_gate_open(gate);
	mmu_notifier_unregister(&d->sub->mn, d->sub->mn.mm);
	MNK_EXPECT(test, d->sub, CALL_RELEASE);
}

static struct kunit_case ops_cases[] = {
	KUNIT_CASE(fault_test),
	KUNIT_CASE(munmap_test),
	KUNIT_CASE(munmap_part_test),
	KUNIT_CASE(dontneed_test),
	KUNIT_CASE(truncate_test),
	KUNIT_CASE(mprotect_test),
	KUNIT_CASE(mprotect_empty_test),
	KUNIT_CASE(cow_zero_page_test),
	KUNIT_CASE(cow_page_cache_test),
	KUNIT_CASE(fork_test),
	KUNIT_CASE(reuse_test),
	KUNIT_CASE(reclaim_test),
	KUNIT_CASE(unmap_folio_test),
	KUNIT_CASE(migrate_test),
	KUNIT_CASE(mkclean_test),
	KUNIT_CASE(mkclean_clean_test),
	KUNIT_CASE(aging_test),
	KUNIT_CASE(reap_test),
	KUNIT_CASE(exit_test),
	{ }
};

static struct kunit_suite ops_suite = {
	.name = "mmu_notifier_ops",
	.test_cases = ops_cases,
};

kunit_test_suite(ops_suite);
