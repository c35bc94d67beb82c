// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: system calls that move, advise on or cut
 * off ranges of addresses, or all of them. Base pages.
 */

#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/mman.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	4
#define LEN		(NR_PAGES * PAGE_SIZE)

static void fill(struct kunit *test, unsigned long addr)
{
	int i;

	for (i = 0; i < NR_PAGES; i++)
		mnk_write(test, addr + i * PAGE_SIZE);
}

static struct mnk_pair *watch_anon(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, LEN);

	fill(test, addr);
	return mnk_watch_pair(test, addr, LEN);
}

static struct mnk_pair *watch_file(struct kunit *test, struct file *file,
				   unsigned long flags)
{
	unsigned long addr = mnk_map(test, file, LEN, flags);

	fill(test, addr);
	return mnk_watch_pair(test, addr, LEN);
}

/* The entry @p looks at when its last section began, and when it was over. */
static void expect_seen(struct kunit *test, struct mnk_pair *p,
			enum mnk_entry before, enum mnk_entry after)
{
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_START], before);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_END], after);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START], before);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], after);
}

/* As many sections, one after the other, over all of it. */
static void expect_sections(struct kunit *test, struct mnk_pair *p, int nr,
			    enum mmu_notifier_event event)
{
	struct mnk_call want[8];
	int i;

	KUNIT_ASSERT_LE(test, nr, ARRAY_SIZE(want) / 2);
	for (i = 0; i < nr; i++) {
		want[2 * i] = CALL_START(p->addr, p->end, event);
		want[2 * i + 1] = CALL_END(p->addr, p->end, event);
	}
	mnk_expect_calls(test, p->page, want, 2 * nr);
	mnk_expect_calls(test, p->range, want, 2 * nr);
}

/* Moving. */

/* What stays mapped at the old addresses is empty. */
static void mremap_keep_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);
	unsigned long to = mnk_hole(test, LEN, PMD_SIZE);
	bool locked;

	mnk_pair_reset(p);
	KUNIT_ASSERT_EQ(test, to,
			mnk_sys(mremap, p->addr, LEN, LEN,
				MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
				to));
	mnk_pair_expect_range(test, p, p->addr, p->end, MMU_NOTIFY_UNMAP);
	expect_seen(test, p, MNK_WRITABLE, MNK_ABSENT);
	KUNIT_EXPECT_EQ(test, mnk_look(current->mm, to, &locked), MNK_WRITABLE);
}

/* The entries go in one section, what they leave behind is unmapped in another. */
static void mremap_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);
	unsigned long to = mnk_hole(test, LEN, PMD_SIZE);

	mnk_pair_reset(p);
	KUNIT_ASSERT_EQ(test, to, mnk_sys(mremap, p->addr, LEN, LEN,
					  MREMAP_MAYMOVE | MREMAP_FIXED, to));
	expect_sections(test, p, 2, MMU_NOTIFY_UNMAP);
	expect_seen(test, p, MNK_ABSENT, MNK_ABSENT);
}

/* A whole table moves, which nobody can tell from its entries. */
static void mremap_table_test(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, 2 * PMD_SIZE);
	unsigned long to = mnk_hole(test, PMD_SIZE, PMD_SIZE);
	struct mnk_pair *p;

	addr = ALIGN(addr, PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PMD_SIZE,
					    MADV_NOHUGEPAGE));
	fill(test, addr);
	p = mnk_watch_pair(test, addr, PMD_SIZE);
	KUNIT_ASSERT_EQ(test, to,
			mnk_sys(mremap, p->addr, PMD_SIZE, PMD_SIZE,
				MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
				to));
	mnk_pair_expect_range(test, p, p->addr, p->end, MMU_NOTIFY_UNMAP);
	expect_seen(test, p, MNK_WRITABLE, MNK_ABSENT);
}

/* What is cut off is unmapped, what stays is not touched. */
static void mremap_shrink_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);
	unsigned long cut = p->addr + PAGE_SIZE;

	KUNIT_ASSERT_EQ(test, p->addr, mnk_sys(mremap, p->addr, LEN, PAGE_SIZE,
					       0, 0));
	mnk_pair_expect_range(test, p, cut, p->end, MMU_NOTIFY_UNMAP);
	expect_seen(test, p, MNK_WRITABLE, MNK_WRITABLE);
}

/* Rights. */

static void mprotect_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);

	KUNIT_ASSERT_EQ(test, 0, mnk_sys(mprotect, p->addr, LEN, PROT_READ));
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_VMA);
	expect_seen(test, p, MNK_WRITABLE, MNK_READONLY);
}

/* A right that comes back is told as well: entries change for it. */
static void mprotect_widen_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);

	KUNIT_ASSERT_EQ(test, 0, mnk_sys(mprotect, p->addr, LEN, PROT_READ));
	mnk_pair_reset(p);
	KUNIT_ASSERT_EQ(test, 0, mnk_sys(mprotect, p->addr, LEN,
					 PROT_READ | PROT_WRITE));
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_VMA);
}

/* Only from where there are tables on. */
static void mprotect_from_table_test(struct kunit *test)
{
	unsigned long hole = mnk_hole(test, PUD_SIZE + LEN, PUD_SIZE);
	unsigned long addr = kunit_vm_mmap(test, NULL, hole, PUD_SIZE + LEN,
					   PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS |
					   MAP_FIXED | MAP_NORESERVE, 0);
	struct mnk_pair *p;

	KUNIT_ASSERT_EQ(test, addr, hole);
	fill(test, addr + PUD_SIZE);
	p = mnk_watch_pair(test, addr + PUD_SIZE, LEN);
	KUNIT_ASSERT_EQ(test, 0, mnk_sys(mprotect, addr, PUD_SIZE + LEN,
					 PROT_READ));
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_VMA);
}

/* Entries stay, but accesses of the CPU fault to tell which node they are from. */
static void numa_hint_test(struct kunit *test)
{
#ifdef CONFIG_NUMA_BALANCING
	struct mnk_pair *p = watch_anon(test);
	struct vm_area_struct *vma = mnk_vma(test, p->addr);

	mmap_read_lock(current->mm);
	change_prot_numa(vma, p->addr, p->end);
	mmap_read_unlock(current->mm);
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_VMA);
#else
	kunit_skip(test, "no NUMA balancing");
#endif
}

/* Advice. */

/* The pages stay until somebody needs them, the next write is to be seen. */
static void free_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);

	lru_add_drain_all();
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, p->addr, LEN,
					    MADV_FREE));
	mnk_pair_expect_range(test, p, p->addr, p->end, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_NE(test, mnk_view(p->range)->entry[MNK_END], MNK_ABSENT);
}

/* Guards come where pages were, and go where there are none. */
static void guard_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, p->addr, LEN,
					    MADV_GUARD_INSTALL));
	mnk_pair_expect_range(test, p, p->addr, p->end, MMU_NOTIFY_CLEAR);
	expect_seen(test, p, MNK_WRITABLE, MNK_ABSENT);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, p->addr, LEN,
					    MADV_GUARD_REMOVE));
	mnk_pair_expect_silence(test, p);
}

/* Entries get old, translations stay what they are. */
static void cold_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, p->addr, LEN,
					    MADV_COLD));
	mnk_pair_expect_silence(test, p);
}

/* Each page is told of, when it goes. */
static void pageout_test(struct kunit *test)
{
	unsigned long addr = mnk_map(test, NULL, LEN,
				     MAP_DROPPABLE | MAP_ANONYMOUS);
	struct mnk_sub *sub;
	int i;

	fill(test, addr);
	lru_add_drain_all();
	sub = mnk_watch(test, addr, &mnk_page_ops);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, LEN,
					    MADV_PAGEOUT));
	KUNIT_EXPECT_EQ(test, sub->nr, NR_PAGES);
	for (i = 0; i < NR_PAGES; i++) {
		unsigned long start = sub->calls[i].start;

		KUNIT_EXPECT_EQ(test, sub->calls[i].kind, MNK_PAGE);
		KUNIT_EXPECT_EQ(test, sub->calls[i].end, start + PAGE_SIZE);
		KUNIT_EXPECT_GE(test, start, addr);
		KUNIT_EXPECT_LT(test, start, addr + LEN);
	}
	KUNIT_EXPECT_EQ(test, atomic_read(&sub->violations), 0);
}

/* Files lose pages; nobody holds mmap_lock. */

static void truncate(struct kunit *test, struct file *file, unsigned long flags)
{
	struct mnk_pair *p = watch_file(test, file, flags);

	KUNIT_ASSERT_EQ(test, 0, vfs_truncate(&file->f_path, 0));
	/* Before the pages go, and behind those that were copied meanwhile. */
	expect_sections(test, p, 2, MMU_NOTIFY_CLEAR);
	expect_seen(test, p, MNK_ABSENT, MNK_ABSENT);
}

static void truncate_shmem_test(struct kunit *test)
{
	truncate(test, mnk_file(test, LEN), MAP_SHARED);
}

/* Copies that a process made for itself go, too. */
static void truncate_private_test(struct kunit *test)
{
	truncate(test, mnk_file(test, LEN), MAP_PRIVATE);
}

/* A file whose pages are in the page cache and nowhere else. */
static void truncate_file_test(struct kunit *test)
{
	struct file *file = mnk_open(test, "ramfs", "mnk", O_RDWR | O_CREAT);

	KUNIT_ASSERT_EQ(test, 0, vfs_truncate(&file->f_path, LEN));
	truncate(test, file, MAP_SHARED);
}

static void punch_hole_test(struct kunit *test)
{
	struct file *file = mnk_file(test, LEN);
	struct mnk_pair *p = watch_file(test, file, MAP_SHARED);

	KUNIT_ASSERT_EQ(test, 0, vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE |
					       FALLOC_FL_KEEP_SIZE,
					       PAGE_SIZE, PAGE_SIZE));
	mnk_pair_expect_range(test, p, p->addr + PAGE_SIZE,
			      p->addr + 2 * PAGE_SIZE, MMU_NOTIFY_CLEAR);
	expect_seen(test, p, MNK_WRITABLE, MNK_WRITABLE);
}

/* A driver wants to see the next writes to its file. */

static void write_protect_mapping_test(struct kunit *test)
{
	struct file *file = mnk_file(test, LEN);
	struct mnk_pair *p = watch_file(test, file, MAP_SHARED);

	KUNIT_EXPECT_EQ(test, NR_PAGES, wp_shared_mapping_range(file->f_mapping,
								0, NR_PAGES));
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_PAGE);
	expect_seen(test, p, MNK_WRITABLE, MNK_READONLY);
}

static void clean_mapping_test(struct kunit *test)
{
	struct file *file = mnk_file(test, LEN);
	unsigned long bitmap[1] = {};
	pgoff_t first = NR_PAGES, last = 0;
	struct mnk_pair *p = watch_file(test, file, MAP_SHARED);

	wp_shared_mapping_range(file->f_mapping, 0, NR_PAGES);
	mnk_pair_reset(p);
	KUNIT_EXPECT_EQ(test, 2, clean_record_shared_mapping_range(file->f_mapping,
								   1, 2, 0,
								   bitmap,
								   &first,
								   &last));
	mnk_pair_expect_range(test, p, p->addr + PAGE_SIZE,
			      p->addr + 3 * PAGE_SIZE,
			      MMU_NOTIFY_PROTECTION_PAGE);
}

/* Who has no right to write, or a copy, loses none. */
static void write_protect_private_test(struct kunit *test)
{
	struct file *file = mnk_file(test, LEN);
	struct mnk_pair *p = watch_file(test, file, MAP_PRIVATE);

	KUNIT_EXPECT_EQ(test, 0, wp_shared_mapping_range(file->f_mapping, 0,
							 NR_PAGES));
	mnk_pair_expect_silence(test, p);
}

/* Processes. */

/* What is shared with the child in any case keeps its rights. */
static void fork_shared_test(struct kunit *test)
{
	struct mnk_pair *p = watch_file(test, mnk_file(test, LEN), MAP_SHARED);

	mnk_fork(test);
	mnk_pair_expect_silence(test, p);
}

static void fork_test(struct kunit *test)
{
	struct mnk_pair *p = watch_anon(test);
	struct mnk_process *child = mnk_fork(test);

	KUNIT_EXPECT_PTR_NE(test, child->mm, current->mm);
	mnk_pair_expect_range(test, p, p->addr, p->end,
			      MMU_NOTIFY_PROTECTION_PAGE);
	expect_seen(test, p, MNK_WRITABLE, MNK_READONLY);
}

/**
 * struct victim - a process that is killed, and its memory
 * @process: the process
 * @pidfd: for it
 * @low: address of its memory
 * @high: of more of it
 * @sub: a subscriber of it
 */
struct victim {
	struct mnk_process *process;
	long pidfd;
	unsigned long low, high;
	struct mnk_sub *sub;
};

static void close_victim(void *victim)
{
	fput(file_close_fd(((struct victim *)victim)->pidfd));
}

static struct victim *kill(struct kunit *test)
{
	struct victim *v = kunit_kzalloc(test, sizeof(*v), GFP_KERNEL);
	unsigned long a = mnk_map_anon(test, LEN);
	/* No neighbours of one kind: the mappings would be one. */
	unsigned long shared = mnk_map(test, mnk_file(test, LEN), LEN, MAP_SHARED);
	unsigned long b = mnk_map_anon(test, LEN);

	KUNIT_ASSERT_NOT_NULL(test, v);
	v->low = min(a, b);
	v->high = max(a, b);
	fill(test, a);
	fill(test, b);
	fill(test, shared);
	v->process = mnk_fork(test);
	v->pidfd = mnk_sys(pidfd_open, task_pid_nr(v->process->task), 0);
	KUNIT_ASSERT_GE(test, v->pidfd, 0);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, close_victim, v));
	v->sub = mnk_subscribe(test, v->process->mm, &mnk_range_ops);
	send_sig(SIGKILL, v->process->task, 1);
	return v;
}

/* As the OOM killer reaps: from above, without sleeping, what is anonymous. */
static void reap_test(struct kunit *test)
{
	struct victim *v = kill(test);

	KUNIT_EXPECT_EQ(test, 0, mnk_sys(process_mrelease, v->pidfd, 0));
	KUNIT_EXPECT_EQ(test, 0, get_mm_counter_sum(v->process->mm,
						    MM_ANONPAGES));
	MNK_EXPECT(test, v->sub,
		   CALL_START_NONBLOCK(v->high, v->high + LEN, MMU_NOTIFY_CLEAR),
		   CALL_END_NONBLOCK(v->high, v->high + LEN, MMU_NOTIFY_CLEAR),
		   CALL_START_NONBLOCK(v->low, v->low + LEN, MMU_NOTIFY_CLEAR),
		   CALL_END_NONBLOCK(v->low, v->low + LEN, MMU_NOTIFY_CLEAR));
}

/* Somebody would have to sleep: that memory stays, and is asked for again. */
static void reap_refused_test(struct kunit *test)
{
	struct victim *v = kill(test);

	v->sub->start_ret = -EAGAIN;
	KUNIT_EXPECT_EQ(test, -EAGAIN, mnk_sys(process_mrelease, v->pidfd, 0));
	KUNIT_EXPECT_EQ(test, 2 * NR_PAGES,
			get_mm_counter_sum(v->process->mm, MM_ANONPAGES));
	MNK_EXPECT(test, v->sub,
		   CALL_START_NONBLOCK(v->high, v->high + LEN, MMU_NOTIFY_CLEAR),
		   CALL_START_NONBLOCK(v->low, v->low + LEN, MMU_NOTIFY_CLEAR));

	v->sub->start_ret = 0;
	KUNIT_EXPECT_EQ(test, 0, mnk_sys(process_mrelease, v->pidfd, 0));
	KUNIT_EXPECT_EQ(test, 0, get_mm_counter_sum(v->process->mm,
						    MM_ANONPAGES));
	KUNIT_EXPECT_EQ(test, 2, mnk_count(v->sub, MNK_END));
}

/* A process that ends tells it once, and nothing of what it takes apart then. */
static void exit_test(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, LEN);
	struct mnk_process *process;
	struct mnk_gate *gate;
	struct mnk_sub *sub;

	fill(test, addr);
	process = mnk_fork(test);
	sub = mnk_subscribe(test, process->mm, &mnk_page_ops);
	gate = mnk_gate_arm(test, sub, MNK_RELEASE);
	mmgrab(process->mm);
	mnk_end(test, process);
	mnk_gate_wait(test, gate);
	KUNIT_EXPECT_EQ(test, NR_PAGES, get_mm_counter_sum(sub->mn.mm,
							   MM_ANONPAGES));
	mnk_gate_open(gate);
	mnk_wait_for(test, !get_mm_counter_sum(sub->mn.mm, MM_ANONPAGES));
	mmdrop(sub->mn.mm);
	MNK_EXPECT(test, sub, CALL_RELEASE);
}

static struct kunit_case vma_cases[] = {
	KUNIT_CASE(mremap_keep_test),
	KUNIT_CASE(mremap_test),
	KUNIT_CASE(mremap_table_test),
	KUNIT_CASE(mremap_shrink_test),
	KUNIT_CASE(mprotect_test),
	KUNIT_CASE(mprotect_widen_test),
	KUNIT_CASE(mprotect_from_table_test),
	KUNIT_CASE(numa_hint_test),
	KUNIT_CASE(free_test),
	KUNIT_CASE(guard_test),
	KUNIT_CASE(cold_test),
	KUNIT_CASE(pageout_test),
	KUNIT_CASE(truncate_shmem_test),
	KUNIT_CASE(truncate_private_test),
	KUNIT_CASE(truncate_file_test),
	KUNIT_CASE(punch_hole_test),
	KUNIT_CASE(write_protect_mapping_test),
	KUNIT_CASE(clean_mapping_test),
	KUNIT_CASE(write_protect_private_test),
	KUNIT_CASE(fork_test),
	KUNIT_CASE(fork_shared_test),
	KUNIT_CASE(reap_test),
	KUNIT_CASE(reap_refused_test),
	KUNIT_CASE(exit_test),
	{ }
};

static struct kunit_suite vma_suite = {
	.name = "mmu_notifier_vma",
	.test_cases = vma_cases,
};

kunit_test_suite(vma_suite);
