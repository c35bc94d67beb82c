// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: a userfaultfd write-protects pages, takes
 * all access to them away, and moves them.
 */

#include <linux/delay.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/rmap.h>
#include <linux/userfaultfd_k.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	4
#define LEN		(NR_PAGES * PAGE_SIZE)

static struct file *uffd_open(struct kunit *test, u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct file *uffd;

	KUNIT_ASSERT_EQ(test, 0, kunit_attach_mm());
	uffd = mnk_fd(test, mnk_sys(userfaultfd, O_CLOEXEC));
	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, uffd, UFFDIO_API, &api));
	return uffd;
}

static struct file *uffd_watch(struct kunit *test, unsigned long addr,
			       unsigned long len, u64 features, u64 mode)
{
	struct file *uffd = uffd_open(test, features);
	struct uffdio_register reg = {
		.range = { .start = addr, .len = len },
		.mode = mode,
	};

	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, uffd, UFFDIO_REGISTER, &reg));
	return uffd;
}

static void fill(struct kunit *test, unsigned long addr)
{
	int i;

	for (i = 0; i < NR_PAGES; i++)
		mnk_write(test, addr + i * PAGE_SIZE);
}

/* Protection. */

static void protect(struct kunit *test, struct file *uffd, unsigned long addr,
		    unsigned long len, u64 mode)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = addr, .len = len },
		.mode = mode,
	};

	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, uffd, UFFDIO_WRITEPROTECT, &wp));
}

static void expect_protection(struct kunit *test, struct mnk_pair *p,
			      enum mnk_entry before, enum mnk_entry after)
{
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_VMA);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_START], before);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_END], after);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START], before);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], after);
}

/* Two of four pages, and back: what is reported is what was asked for. */
static void write_protect_test(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, LEN);
	struct mnk_pair *p;
	struct file *uffd;

	fill(test, addr);
	uffd = uffd_watch(test, addr, LEN, 0, UFFDIO_REGISTER_MODE_WP);
	p = mnk_watch_pair(test, addr + PAGE_SIZE, 2 * PAGE_SIZE);
	protect(test, uffd, p->addr, 2 * PAGE_SIZE,
		UFFDIO_WRITEPROTECT_MODE_WP);
	expect_protection(test, p, MNK_WRITABLE, MNK_READONLY);
	protect(test, uffd, p->addr, 2 * PAGE_SIZE, 0);
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_VMA);
}

/* Nobody handles the fault, the write gets its right back without a copy. */
static void write_protect_async_test(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, LEN);
	struct mnk_pair *p;
	struct file *uffd;

	fill(test, addr);
	uffd = uffd_watch(test, addr, LEN, UFFD_FEATURE_WP_ASYNC,
			  UFFDIO_REGISTER_MODE_WP);
	p = mnk_watch_pair(test, addr, LEN);
	protect(test, uffd, addr, LEN, UFFDIO_WRITEPROTECT_MODE_WP);
	expect_protection(test, p, MNK_WRITABLE, MNK_READONLY);
	mnk_write(test, addr);
	mnk_pair_expect_silence(test, p);
}

/* What is not watched any more has all its rights back. */
static void unregister_test(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, LEN);
	struct uffdio_range range = { .start = addr, .len = LEN };
	struct mnk_pair *p;
	struct file *uffd;

	fill(test, addr);
	uffd = uffd_watch(test, addr, LEN, 0, UFFDIO_REGISTER_MODE_WP);
	p = mnk_watch_pair(test, addr, LEN);
	protect(test, uffd, addr, LEN, UFFDIO_WRITEPROTECT_MODE_WP);
	mnk_pair_reset(p);
	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, uffd, UFFDIO_UNREGISTER,
					   &range));
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_VMA);
}

/* Reads fault, too, for whom looks the page up by way of the CPU's table. */
static void access_protect_test(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, LEN);
	struct uffdio_rwprotect rwp = {
		.range = { .start = addr, .len = LEN },
		.mode = UFFDIO_RWPROTECT_MODE_RWP,
	};
	struct mnk_pair *p;
	struct file *uffd;

	if (!IS_ENABLED(CONFIG_USERFAULTFD_RWP))
		kunit_skip(test, "no protection against reads");

	fill(test, addr);
	uffd = uffd_watch(test, addr, LEN, UFFD_FEATURE_RWP,
			  UFFDIO_REGISTER_MODE_RWP);
	p = mnk_watch_pair(test, addr, LEN);
	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, uffd, UFFDIO_RWPROTECT, &rwp));
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_VMA);
	KUNIT_EXPECT_NE(test, mnk_view(p->range)->entry[MNK_END], MNK_WRITABLE);
	rwp.mode = 0;
	KUNIT_ASSERT_EQ(test, 0, mnk_ioctl(test, uffd, UFFDIO_RWPROTECT, &rwp));
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_VMA);
}

/* Moving. */

/**
 * struct move - from one mapping to another
 * @uffd: watches the second
 * @src: where pages are
 * @dst: where none are
 */
struct move {
	struct file *uffd;
	unsigned long src, dst;
};

/* Both ranges are @len long, and begin with the same address below a PMD. */
static struct move move_prepare(struct kunit *test, unsigned long len)
{
	struct move m;

	m.src = ALIGN(mnk_map_anon(test, len + PMD_SIZE), PMD_SIZE);
	/* Does not merge with the first for what is registered to it. */
	m.dst = ALIGN(mnk_map_anon(test, len + PMD_SIZE), PMD_SIZE);
	m.uffd = uffd_watch(test, m.dst, len, UFFD_FEATURE_MOVE,
			    UFFDIO_REGISTER_MODE_MISSING);
	return m;
}

static long move(struct kunit *test, struct move *m, unsigned long len,
		 u64 mode)
{
	struct uffdio_move arg = {
		.src = m->src,
		.dst = m->dst,
		.len = len,
		.mode = mode,
	};
	long ret = mnk_ioctl(test, m->uffd, UFFDIO_MOVE, &arg);

	return ret ? ret : arg.move;
}

static void expect_moved(struct kunit *test, struct mnk_pair *p,
			 enum mnk_entry before)
{
	mnk_pair_expect_range(test, p, p->addr, p->end, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_START], before);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_END], MNK_ABSENT);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START], before);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], MNK_ABSENT);
}

/* The source is named, where pages go away. */
static void move_test(struct kunit *test)
{
	struct move m = move_prepare(test, LEN);
	struct mnk_pair *p;

	fill(test, m.src);
	p = mnk_watch_pair(test, m.src, LEN);
	KUNIT_ASSERT_EQ(test, LEN, move(test, &m, LEN, 0));
	expect_moved(test, p, MNK_WRITABLE);
}

static void move_zero_page_test(struct kunit *test)
{
	struct move m = move_prepare(test, LEN);
	struct mnk_pair *p;

	mnk_read(test, m.src);
	p = mnk_watch_pair(test, m.src, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, PAGE_SIZE, move(test, &m, PAGE_SIZE, 0));
	expect_moved(test, p, MNK_READONLY);
}

/*
 * A range is reported as far as a table reaches, so that pages further on are
 * not taken away from anybody each time that one is moved.
 */
static void move_two_tables_test(struct kunit *test)
{
	struct move m = move_prepare(test, 2 * PMD_SIZE);
	unsigned long last, edge;
	struct mnk_sub *sub;

	edge = m.src + PMD_SIZE;
	last = edge + PAGE_SIZE;
	m.src = edge - PAGE_SIZE;
	m.dst += PMD_SIZE - PAGE_SIZE;
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, m.src, 2 * PAGE_SIZE,
					    MADV_NOHUGEPAGE));
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, m.dst, 2 * PAGE_SIZE,
					    MADV_NOHUGEPAGE));
	mnk_write(test, m.src);
	mnk_write(test, edge);
	sub = mnk_subscribe(test, current->mm, &mnk_page_ops);
	KUNIT_ASSERT_EQ(test, 2 * PAGE_SIZE, move(test, &m, 2 * PAGE_SIZE, 0));
	MNK_EXPECT(test, sub, CALL_START(m.src, edge, MMU_NOTIFY_CLEAR),
		   CALL_END(m.src, edge, MMU_NOTIFY_CLEAR),
		   CALL_START(edge, last, MMU_NOTIFY_CLEAR),
		   CALL_END(edge, last, MMU_NOTIFY_CLEAR));
}

/* A move that fails has told of the change that did not come, and of its end. */
static void move_hole_test(struct kunit *test)
{
	struct move m = move_prepare(test, LEN);
	unsigned long hole = m.src + PAGE_SIZE, end = m.src + LEN;
	struct mnk_sub *sub;

	mnk_write(test, m.src);
	sub = mnk_subscribe(test, current->mm, &mnk_page_ops);
	/* The first page is moved, of the second it is said that it is not. */
	KUNIT_ASSERT_EQ(test, -EAGAIN, move(test, &m, LEN, 0));
	MNK_EXPECT(test, sub, CALL_START(m.src, end, MMU_NOTIFY_CLEAR),
		   CALL_END(m.src, end, MMU_NOTIFY_CLEAR),
		   CALL_START(hole, end, MMU_NOTIFY_CLEAR),
		   CALL_END(hole, end, MMU_NOTIFY_CLEAR));
}

static struct move move_huge_prepare(struct kunit *test)
{
	struct move m;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		kunit_skip(test, "no huge pages");

	m = move_prepare(test, PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, m.src, PMD_SIZE,
					    MADV_HUGEPAGE));
	return m;
}

static void move_huge_test(struct kunit *test)
{
	struct move m = move_huge_prepare(test);
	struct mnk_pair *p;

	mnk_write(test, m.src);
	p = mnk_watch_pair(test, m.src, PMD_SIZE);
	KUNIT_ASSERT_EQ(test, PMD_SIZE, move(test, &m, PMD_SIZE, 0));
	expect_moved(test, p, MNK_WRITABLE);
}

static void move_huge_zero_page_test(struct kunit *test)
{
	struct move m = move_huge_prepare(test);
	struct mnk_pair *p;

	mnk_read(test, m.src);
	p = mnk_watch_pair(test, m.src, PMD_SIZE);
	KUNIT_ASSERT_EQ(test, PMD_SIZE, move(test, &m, PMD_SIZE, 0));
	expect_moved(test, p, MNK_READONLY);
}

/* Pages that reclaim takes away. */

/**
 * struct registration - of a userfaultfd, by another thread
 * @mm: the address space
 * @uffd: the file
 * @arg: address of the argument
 * @ret: what came of it
 */
struct registration {
	struct mm_struct *mm;
	struct file *uffd;
	unsigned long arg;
	long ret;
};

static void register_thread(void *data)
{
	struct registration *r = data;

	kthread_use_mm(r->mm);
	r->ret = r->uffd->f_op->unlocked_ioctl(r->uffd, UFFDIO_REGISTER, r->arg);
	kthread_unuse_mm(r->mm);
}

static void register_late(struct kunit *test, struct file *file,
			  unsigned long addr)
{
	struct uffdio_register reg = {
		.range = { .start = addr, .len = PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct registration r = {
		.mm = current->mm,
		.uffd = uffd_open(test, 0),
		.arg = mnk_user(test, &reg, sizeof(reg)),
	};
	struct mnk_thread *thread;

	i_mmap_lock_read(file->f_mapping);
	thread = mnk_thread_run(test, register_thread, &r);
	mnk_expect_blocked(test, thread);
	i_mmap_unlock_read(file->f_mapping);
	mnk_thread_join(test, thread);
	KUNIT_ASSERT_EQ(test, r.ret, 0);
}

/*
 * Who fills an empty entry does not wait for the page that was there. Reclaim may
 * have emptied it before it saw that, under the rmap lock, and not flushed yet.
 */
static void register_flushes_test(struct kunit *test)
{
	struct file *file = mnk_file(test, PAGE_SIZE);
	unsigned long addr = mnk_map(test, file, PAGE_SIZE, MAP_SHARED);
	struct folio *folio;
	struct mnk_sub *sub;

	mnk_write(test, addr);
	sub = mnk_subscribe(test, current->mm, &mnk_batch_ops);
	register_late(test, file, addr);
	MNK_EXPECT(test, sub, CALL_FLUSH_BATCH);

	/* From now on nothing is left for later. */
	folio = mnk_lock_folio(test, addr);
	mnk_batch_begin(test);
	try_to_unmap(folio, TTU_BATCH_NOTIFY);
	KUNIT_EXPECT_FALSE(test, mmu_notifier_batch_pending());
	MNK_EXPECT(test, sub, CALL_PAGE(addr, 1, MMU_NOTIFY_CLEAR));
	mmu_notifier_batch_end();
	folio_unlock(folio);
	folio_put(folio);
}

static struct kunit_case uffd_cases[] = {
	KUNIT_CASE(write_protect_test),
	KUNIT_CASE(write_protect_async_test),
	KUNIT_CASE(unregister_test),
	KUNIT_CASE(access_protect_test),
	KUNIT_CASE(register_flushes_test),
	KUNIT_CASE(move_test),
	KUNIT_CASE(move_zero_page_test),
	KUNIT_CASE(move_two_tables_test),
	KUNIT_CASE(move_hole_test),
	KUNIT_CASE(move_huge_test),
	KUNIT_CASE(move_huge_zero_page_test),
	{ }
};

static struct kunit_suite uffd_suite = {
	.name = "mmu_notifier_uffd",
	.test_cases = uffd_cases,
};

kunit_test_suite(uffd_suite);
