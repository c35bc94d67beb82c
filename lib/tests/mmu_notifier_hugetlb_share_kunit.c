// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: page tables that two mappings of a hugetlb
 * file share. To give such a table up takes everything below it away from a
 * mapping, so that is what is named.
 */

#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/hugetlb.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/userfaultfd_k.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

/* As many pages as any test touches. */
#define NR_HUGE		4

static unsigned long huge_size(void)
{
	return huge_page_size(&default_hstate);
}

/**
 * struct sharing - two mappings of a file
 * @file: the file
 * @other: address of one mapping
 * @p: watches the other
 */
struct sharing {
	struct file *file;
	unsigned long other;
	struct mnk_pair *p;
};

static unsigned long map_pud(struct kunit *test, struct file *file)
{
	unsigned long hole = mnk_hole(test, PUD_SIZE, PUD_SIZE);
	unsigned long addr = kunit_vm_mmap(test, file, hole, PUD_SIZE,
					   PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_FIXED |
					   MAP_NORESERVE, 0);

	KUNIT_ASSERT_EQ(test, addr, hole);
	return addr;
}

static bool is_shared(struct sharing *s)
{
	pmd_t *pmd = mm_find_pmd(current->mm, s->p->addr);

	return pmd && pmd == mm_find_pmd(current->mm, s->other);
}

/* The table is no longer reached by way of the mapping that is watched. */
static bool is_cut(struct sharing *s)
{
	bool locked;

	return mnk_look(current->mm, s->p->addr, &locked) == MNK_ABSENT &&
	       mnk_look(current->mm, s->other, &locked) == MNK_WRITABLE;
}

static struct sharing *share(struct kunit *test)
{
	struct sharing *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	unsigned long addr;

	if (huge_size() != PMD_SIZE)
		kunit_skip(test, "hugetlb pages are not below PMDs");
	KUNIT_ASSERT_NOT_NULL(test, s);
	s->file = mnk_hugetlb_file(test, PUD_SIZE, NR_HUGE);
	s->other = map_pud(test, s->file);
	addr = map_pud(test, s->file);
	mnk_write(test, s->other);
	mnk_write(test, addr);
	s->p = mnk_watch_pair(test, addr, PUD_SIZE);
	KUNIT_ASSERT_TRUE(test, is_shared(s));
	return s;
}

static void expect_range(struct kunit *test, struct mnk_pair *p,
			 enum mmu_notifier_event event, enum mnk_entry after)
{
	mnk_pair_expect_range(test, p, p->addr, p->end, event);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_START], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_END], after);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], after);
}

/* Two sections over all of it, one after the other. */
static void expect_two(struct kunit *test, struct mnk_pair *p,
		       enum mmu_notifier_event first,
		       enum mmu_notifier_event second)
{
	struct mnk_call want[] = {
		CALL_START(p->addr, p->end, first),
		CALL_END(p->addr, p->end, first),
		CALL_START(p->addr, p->end, second),
		CALL_END(p->addr, p->end, second),
	};

	mnk_expect_calls(test, p->page, want, ARRAY_SIZE(want));
	mnk_expect_calls(test, p->range, want, ARRAY_SIZE(want));
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_ABSENT);
}

/* Another page below the table comes into both mappings at once. */
static void fault_test(struct kunit *test)
{
	struct sharing *s = share(test);

	mnk_write(test, s->other + huge_size());
	mnk_write(test, s->p->addr + 2 * huge_size());
	mnk_pair_expect_silence(test, s->p);
}

static void mprotect_test(struct kunit *test)
{
	struct sharing *s = share(test);

	KUNIT_ASSERT_EQ(test, 0, mnk_sys(mprotect, s->p->addr, PUD_SIZE,
					 PROT_READ));
	expect_range(test, s->p, MMU_NOTIFY_PROTECTION_VMA, MNK_ABSENT);
	KUNIT_EXPECT_TRUE(test, is_cut(s));
}

/* A mapping that is split cannot share; its first page changes after that. */
static void split_test(struct kunit *test)
{
	struct sharing *s = share(test);
	unsigned long cut = s->p->addr + huge_size();
	struct mnk_call want[] = {
		CALL_START(s->p->addr, s->p->end, MMU_NOTIFY_CLEAR),
		CALL_END(s->p->addr, s->p->end, MMU_NOTIFY_CLEAR),
		CALL_START(s->p->addr, cut, MMU_NOTIFY_PROTECTION_VMA),
		CALL_END(s->p->addr, cut, MMU_NOTIFY_PROTECTION_VMA),
	};

	KUNIT_ASSERT_EQ(test, 0, mnk_sys(mprotect, s->p->addr, huge_size(),
					 PROT_READ));
	mnk_expect_calls(test, s->p->page, want, ARRAY_SIZE(want));
	mnk_expect_calls(test, s->p->range, want, ARRAY_SIZE(want));
	KUNIT_EXPECT_TRUE(test, is_cut(s));
}

static void mremap_test(struct kunit *test)
{
	struct sharing *s = share(test);
	unsigned long to = mnk_hole(test, PUD_SIZE, PUD_SIZE);

	mnk_pair_reset(s->p);
	KUNIT_ASSERT_EQ(test, to, mnk_sys(mremap, s->p->addr, PUD_SIZE, PUD_SIZE,
					  MREMAP_MAYMOVE | MREMAP_FIXED, to));
	expect_two(test, s->p, MMU_NOTIFY_CLEAR, MMU_NOTIFY_UNMAP);
	KUNIT_EXPECT_TRUE(test, is_cut(s));
}

static void munmap_test(struct kunit *test)
{
	struct sharing *s = share(test);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(s->p->addr, PUD_SIZE));
	expect_range(test, s->p, MMU_NOTIFY_UNMAP, MNK_ABSENT);
	KUNIT_EXPECT_TRUE(test, is_cut(s));
}

/* One page is not needed any more: all lose the table. */
static void dontneed_test(struct kunit *test)
{
	struct sharing *s = share(test);

	mnk_write(test, s->p->addr + huge_size());
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm,
					    s->p->addr + huge_size(),
					    huge_size(), MADV_DONTNEED));
	expect_range(test, s->p, MMU_NOTIFY_CLEAR, MNK_ABSENT);
	KUNIT_EXPECT_TRUE(test, is_cut(s));
}

/* A userfaultfd asks for a table of its own. */
static void uffd_test(struct kunit *test)
{
	struct sharing *s = share(test);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = s->p->addr, .len = PUD_SIZE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct file *uffd;

	if (!IS_ENABLED(CONFIG_USERFAULTFD))
		kunit_skip(test, "no userfaultfd");
	uffd = mnk_fd(test, mnk_sys(userfaultfd, 0));
	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, uffd, UFFDIO_API, &api));
	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, uffd, UFFDIO_REGISTER, &reg));
	expect_range(test, s->p, MMU_NOTIFY_CLEAR, MNK_ABSENT);
	KUNIT_EXPECT_TRUE(test, is_cut(s));
}

/* Both mappings, in the order of the tree of the file. */
static void expect_both(struct kunit *test, struct sharing *s,
			struct mnk_sub *sub)
{
	unsigned long a = sub->calls[0].start, b = s->p->addr + s->other - a;

	KUNIT_EXPECT_EQ(test, min(a, b), min(s->p->addr, s->other));
	MNK_EXPECT(test, sub, CALL_START(a, a + PUD_SIZE, MMU_NOTIFY_CLEAR),
		   CALL_END(a, a + PUD_SIZE, MMU_NOTIFY_CLEAR),
		   CALL_START(b, b + PUD_SIZE, MMU_NOTIFY_CLEAR),
		   CALL_END(b, b + PUD_SIZE, MMU_NOTIFY_CLEAR));
}

static void punch_hole_test(struct kunit *test)
{
	struct sharing *s = share(test);

	KUNIT_ASSERT_EQ(test, 0, vfs_fallocate(s->file, FALLOC_FL_PUNCH_HOLE |
					       FALLOC_FL_KEEP_SIZE, 0,
					       huge_size()));
	expect_both(test, s, s->p->page);
	expect_both(test, s, s->p->range);
}

static struct folio *lock_mapping(struct kunit *test, struct sharing *s)
{
	struct folio *folio = mnk_lock_folio(test, s->p->addr);

	KUNIT_ASSERT_PTR_EQ(test, s->file->f_mapping,
			    hugetlb_folio_mapping_lock_write(folio));
	return folio;
}

static void unlock_mapping(struct sharing *s, struct folio *folio)
{
	i_mmap_unlock_write(s->file->f_mapping);
	mnk_unlock_folio(folio);
}

static void migrate_test(struct kunit *test)
{
	struct sharing *s = share(test);
	struct folio *folio;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		kunit_skip(test, "no migration");

	folio = lock_mapping(test, s);
	try_to_migrate(folio, TTU_RMAP_LOCKED);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	expect_both(test, s, s->p->page);
	expect_both(test, s, s->p->range);
	remove_migration_ptes(folio, folio, TTU_RMAP_LOCKED);
	unlock_mapping(s, folio);
	mnk_pair_expect_silence(test, s->p);
}

static void poisoned_test(struct kunit *test)
{
	struct sharing *s = share(test);
	struct folio *folio;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "no poisoned pages");
	folio = lock_mapping(test, s);
	folio_set_hwpoison(folio);
	try_to_unmap(folio, TTU_HWPOISON | TTU_RMAP_LOCKED);
	folio_clear_hwpoison(folio);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	unlock_mapping(s, folio);
	expect_both(test, s, s->p->page);
	expect_both(test, s, s->p->range);
}

static struct kunit_case share_cases[] = {
	KUNIT_CASE(fault_test),
	KUNIT_CASE(mprotect_test),
	KUNIT_CASE(split_test),
	KUNIT_CASE(mremap_test),
	KUNIT_CASE(munmap_test),
	KUNIT_CASE(dontneed_test),
	KUNIT_CASE(uffd_test),
	KUNIT_CASE(punch_hole_test),
	KUNIT_CASE(migrate_test),
	KUNIT_CASE(poisoned_test),
	{ }
};

static struct kunit_suite share_suite = {
	.name = "mmu_notifier_hugetlb_share",
	.test_cases = share_cases,
};

kunit_test_suite(share_suite);
