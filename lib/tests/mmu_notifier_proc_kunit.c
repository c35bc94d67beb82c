// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: files in /proc that restart the tracking of
 * writes.
 */

#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/userfaultfd_k.h>

#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	4
#define LEN		(NR_PAGES * PAGE_SIZE)
/* More than a scan keeps before it writes them back, see PAGEMAP_WALK_SIZE. */
#define NR_REGIONS	(PMD_SIZE / PAGE_SIZE + 88)

static void fill(struct kunit *test, unsigned long addr, int nr, int step)
{
	int i;

	for (i = 0; i < nr; i++)
		mnk_write(test, addr + i * step * PAGE_SIZE);
}

/* Sections in here last as long as the lock does. */

static void count_unlocked(struct mnk_sub *sub, const struct mnk_call *call)
{
	if (call->kind <= MNK_END && !rwsem_is_locked(&sub->mn.mm->mmap_lock))
		atomic_inc(&sub->violations);
}

static struct mnk_sub *watch_lock(struct kunit *test)
{
	struct mnk_sub *sub = mnk_subscribe(test, current->mm, &mnk_page_ops);

	sub->hook = count_unlocked;
	return sub;
}

/* Soft-dirty. */

static struct mnk_pair *clear_refs(struct kunit *test, const char *what)
{
	struct mnk_process *process;
	struct mnk_pair *p;
	unsigned long addr;
	struct file *file;

	addr = mnk_map_anon(test, LEN);
	fill(test, addr, NR_PAGES, 1);
	process = mnk_share(test);
	file = mnk_open_proc(test, process, "clear_refs", O_WRONLY);
	p = mnk_watch_pair(test, addr, LEN);
	mnk_write_user(test, file, what);
	return p;
}

static void soft_dirty_test(struct kunit *test)
{
	struct mnk_pair *p;

	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		kunit_skip(test, "no soft-dirty bits");

	p = clear_refs(test, "4");
	mnk_pair_expect_range(test, p, 0, -1UL, MMU_NOTIFY_SOFT_DIRTY);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_START], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_END], MNK_READONLY);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_READONLY);
}

/* Which pages were accessed by the CPU is all that the others ask for. */
static void referenced_test(struct kunit *test)
{
	mnk_pair_expect_silence(test, clear_refs(test, "1"));
}

static void soft_dirty_lock_test(struct kunit *test)
{
	struct mnk_sub *sub;
	struct file *file;

	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		kunit_skip(test, "no soft-dirty bits");

	file = mnk_open_proc(test, mnk_share(test), "clear_refs", O_WRONLY);
	sub = watch_lock(test);
	mnk_write_user(test, file, "4");
	MNK_EXPECT(test, sub, CALL_START(0, -1UL, MMU_NOTIFY_SOFT_DIRTY),
		   CALL_END(0, -1UL, MMU_NOTIFY_SOFT_DIRTY));
}

/* PAGEMAP_SCAN, of what a userfaultfd that needs no handler write-protects. */

static void watch_writes(struct kunit *test, unsigned long addr,
			 unsigned long len)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC,
	};
	struct uffdio_register reg = {
		.range = { .start = addr, .len = len },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct file *uffd = mnk_fd(test, mnk_sys(userfaultfd, 0));

	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, uffd, UFFDIO_API, &api));
	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, uffd, UFFDIO_REGISTER, &reg));
}

static unsigned long map_watched(struct kunit *test, unsigned long len)
{
	unsigned long addr = mnk_map_anon(test, len);

	if (!IS_ENABLED(CONFIG_USERFAULTFD))
		kunit_skip(test, "no userfaultfd");
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, len,
					    MADV_NOHUGEPAGE));
	watch_writes(test, addr, len);
	return addr;
}

static struct file *open_pagemap(struct kunit *test)
{
	return mnk_open_proc(test, mnk_share(test), "pagemap", O_RDONLY);
}

static struct pm_scan_arg scan_written(unsigned long start, unsigned long len)
{
	return (struct pm_scan_arg) {
		.size = sizeof(struct pm_scan_arg),
		.start = start,
		.end = start + len,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
}

static void scan_test(struct kunit *test)
{
	unsigned long addr = map_watched(test, LEN);
	struct pm_scan_arg arg = scan_written(addr, LEN);
	struct file *file = open_pagemap(test);
	struct mnk_pair *p;

	fill(test, addr, NR_PAGES, 1);
	p = mnk_watch_pair(test, addr, LEN);
	KUNIT_ASSERT_GE(test, mnk_ioctl(test, file, PAGEMAP_SCAN, &arg), 0);
	/* Who only looks, disturbs nobody. */
	mnk_pair_expect_silence(test, p);

	arg.flags = PM_SCAN_WP_MATCHING;
	KUNIT_ASSERT_GE(test, mnk_ioctl(test, file, PAGEMAP_SCAN, &arg), 0);
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_VMA);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_START], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_END], MNK_READONLY);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START], MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_READONLY);
}

/*
 * A scan that finds more than it can keep gives the lock up in the middle, and
 * its section with it. The next begins where it was left.
 */
static void scan_in_pieces_test(struct kunit *test)
{
	unsigned long len = 2 * NR_REGIONS * PAGE_SIZE, walk_end, end;
	unsigned long addr = map_watched(test, len);
	struct pm_scan_arg arg = scan_written(addr, len);
	struct file *file = open_pagemap(test);
	struct mnk_sub *sub;

	/* Every second one, for pages that touch are one region. */
	arg.flags = PM_SCAN_WP_MATCHING;
	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, file, PAGEMAP_SCAN, &arg));
	fill(test, addr, NR_REGIONS, 2);
	arg.vec_len = NR_REGIONS;
	arg.vec = mnk_map(test, mnk_file(test, LEN * NR_PAGES),
			  LEN * NR_PAGES, MAP_SHARED);
	sub = watch_lock(test);
	KUNIT_ASSERT_EQ(test, NR_REGIONS, mnk_ioctl(test, file, PAGEMAP_SCAN,
						    &arg));
	KUNIT_ASSERT_EQ(test, sub->nr, 4);
	walk_end = sub->calls[2].start;
	end = addr + len;
	KUNIT_EXPECT_GT(test, walk_end, addr);
	KUNIT_EXPECT_LT(test, walk_end, end);
	MNK_EXPECT(test, sub,
		   CALL_START(addr, end, MMU_NOTIFY_PROTECTION_VMA),
		   CALL_END(addr, end, MMU_NOTIFY_PROTECTION_VMA),
		   CALL_START(walk_end, end, MMU_NOTIFY_PROTECTION_VMA),
		   CALL_END(walk_end, end, MMU_NOTIFY_PROTECTION_VMA));
}

static struct kunit_case proc_cases[] = {
	KUNIT_CASE(soft_dirty_test),
	KUNIT_CASE(soft_dirty_lock_test),
	KUNIT_CASE(referenced_test),
	KUNIT_CASE(scan_test),
	KUNIT_CASE(scan_in_pieces_test),
	{ }
};

static struct kunit_suite proc_suite = {
	.name = "mmu_notifier_proc",
	.test_cases = proc_cases,
};

kunit_test_suite(proc_suite);
