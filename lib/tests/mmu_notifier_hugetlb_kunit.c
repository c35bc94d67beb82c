// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of the MMU notifiers: hugetlb pages. */

#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/hugetlb.h>
#include <linux/mman.h>

#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

/* As many pages as any test touches. */
#define NR_HUGE		4

static unsigned long huge_size(void)
{
	return huge_page_size(&default_hstate);
}

/* Two pages, of which the first is there. */
static struct mnk_pair *watch_huge(struct kunit *test, struct file *file,
				   unsigned long flags)
{
	unsigned long len = 2 * huge_size();
	unsigned long addr = mnk_map(test, file, len, flags);

	mnk_write(test, addr);
	return mnk_watch_pair(test, addr, len);
}

static struct mnk_pair *watch_private(struct kunit *test)
{
	struct file *file = mnk_hugetlb_file(test, 2 * huge_size(), NR_HUGE);

	return watch_huge(test, file, MAP_PRIVATE);
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

static void fault_test(struct kunit *test)
{
	struct mnk_pair *p = watch_private(test);

	mnk_write(test, p->addr + huge_size());
	mnk_pair_expect_silence(test, p);
}

static void fork_test(struct kunit *test)
{
	struct mnk_pair *p = watch_private(test);

	mnk_fork(test);
	expect_range(test, p, MMU_NOTIFY_CLEAR, MNK_READONLY);
}

static void fork_shared_test(struct kunit *test)
{
	struct file *file = mnk_hugetlb_file(test, 2 * huge_size(), NR_HUGE);
	struct mnk_pair *p = watch_huge(test, file, MAP_SHARED);

	mnk_fork(test);
	mnk_pair_expect_silence(test, p);
}

/* One call with the number of all pages below the entry. */
static void cow_test(struct kunit *test)
{
	struct mnk_pair *p = watch_private(test);

	mnk_fork(test);
	mnk_pair_reset(p);
	/* Not at its beginning. */
	mnk_write(test, p->addr + PAGE_SIZE);
	mnk_pair_expect_page(test, p, p->addr, huge_size() / PAGE_SIZE,
			     MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_PAGE], MNK_ABSENT);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START],
			MNK_READONLY);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_WRITABLE);
}

static void mprotect_test(struct kunit *test)
{
	struct mnk_pair *p = watch_private(test);

	KUNIT_ASSERT_EQ(test, 0, mnk_sys(mprotect, p->addr, p->end - p->addr,
					 PROT_READ));
	expect_range(test, p, MMU_NOTIFY_PROTECTION_VMA, MNK_READONLY);
}

static void dontneed_test(struct kunit *test)
{
	struct mnk_pair *p = watch_private(test);

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, p->addr,
					    p->end - p->addr, MADV_DONTNEED));
	expect_range(test, p, MMU_NOTIFY_CLEAR, MNK_ABSENT);
}

static void munmap_test(struct kunit *test)
{
	struct mnk_pair *p = watch_private(test);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(p->addr, p->end - p->addr));
	expect_range(test, p, MMU_NOTIFY_UNMAP, MNK_ABSENT);
}

/* Entries move in one section, what they leave is unmapped in another. */
static void mremap_test(struct kunit *test)
{
	unsigned long len = 2 * huge_size();
	struct mnk_pair *p = watch_private(test);
	unsigned long to = mnk_hole(test, len, huge_size());

	mnk_pair_reset(p);
	KUNIT_ASSERT_EQ(test, to, mnk_sys(mremap, p->addr, len, len,
					  MREMAP_MAYMOVE | MREMAP_FIXED, to));
	expect_two(test, p, MMU_NOTIFY_CLEAR, MMU_NOTIFY_UNMAP);
}

/* The file ends in the middle of what is mapped. */
static void truncate_test(struct kunit *test)
{
	struct file *file = mnk_hugetlb_file(test, 2 * huge_size(), NR_HUGE);
	struct mnk_pair *p = watch_huge(test, file, MAP_SHARED);
	unsigned long second = p->addr + huge_size();

	mnk_write(test, second);
	mnk_pair_reset(p);
	KUNIT_ASSERT_EQ(test, 0, vfs_truncate(&file->f_path, huge_size()));
	mnk_pair_expect_range(test, p, second, p->end, MMU_NOTIFY_CLEAR);
	KUNIT_ASSERT_EQ(test, 0, vfs_truncate(&file->f_path, 0));
	expect_range(test, p, MMU_NOTIFY_CLEAR, MNK_ABSENT);
}

static void punch_hole_test(struct kunit *test)
{
	struct file *file = mnk_hugetlb_file(test, 2 * huge_size(), NR_HUGE);
	struct mnk_pair *p = watch_huge(test, file, MAP_SHARED);

	KUNIT_ASSERT_EQ(test, 0, vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE |
					       FALLOC_FL_KEEP_SIZE, 0,
					       huge_size()));
	mnk_pair_expect_range(test, p, p->addr, p->addr + huge_size(),
			      MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_ABSENT);
}

static struct kunit_case hugetlb_cases[] = {
	KUNIT_CASE(fault_test),
	KUNIT_CASE(fork_test),
	KUNIT_CASE(fork_shared_test),
	KUNIT_CASE(cow_test),
	KUNIT_CASE(mprotect_test),
	KUNIT_CASE(dontneed_test),
	KUNIT_CASE(munmap_test),
	KUNIT_CASE(mremap_test),
	KUNIT_CASE(truncate_test),
	KUNIT_CASE(punch_hole_test),
	{ }
};

static struct kunit_suite hugetlb_suite = {
	.name = "mmu_notifier_hugetlb",
	.test_cases = hugetlb_cases,
};

kunit_test_suite(hugetlb_suite);
