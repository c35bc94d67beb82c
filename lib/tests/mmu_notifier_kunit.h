/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suites of the MMU notifiers share: a subscriber that records
 * its callbacks, gates that stop it in the middle of one, and threads.
 *
 * No test passes because time went by: every wait is for a state, and a wait
 * that takes longer than MNK_TIMEOUT is a failure.
 */
#ifndef _MMU_NOTIFIER_KUNIT_H
#define _MMU_NOTIFIER_KUNIT_H

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>
#include <linux/swap.h>

#define MNK_TIMEOUT	(30 * HZ)
#define MNK_MAX_CALLS	64

/* Page tables do not exist below the addresses of most tests. */
#define MNK_ADDR(page)	(0x100000UL + (page) * PAGE_SIZE)

enum mnk_kind {
	MNK_START,
	MNK_END,
	MNK_PAGE,
	MNK_PAGE_BATCHED,
	MNK_FLUSH_BATCH,
	MNK_CLEAR_FLUSH_YOUNG,
	MNK_CLEAR_YOUNG,
	MNK_TEST_YOUNG,
	MNK_TEST_YOUNG_PAGES,
	MNK_CLEAR_YOUNG_PAGES,
	MNK_CLEAR_YOUNG_LIST,
	MNK_ARCH,
	MNK_RELEASE,
	MNK_FREE,
	MNK_NR_KINDS,
};

/**
 * struct mnk_call - one callback
 * @kind: which
 * @start: first address, 0 for release and free
 * @end: first address behind; of pages: behind the last
 * @event: start, end and pages only
 * @blockable: start and end only
 * @owner: start and end only
 * @order: position among the calls of all subscribers; not compared
 */
struct mnk_call {
	enum mnk_kind kind;
	unsigned long start;
	unsigned long end;
	enum mmu_notifier_event event;
	bool blockable;
	void *owner;
	int order;
};

#define MNK_CALL(_kind, _start, _end, _event, _blockable)		\
	((struct mnk_call) {						\
		.kind = (_kind), .start = (_start), .end = (_end),	\
		.event = (_event), .blockable = (_blockable),		\
	})

#define CALL_START(start, end, event)	\
	MNK_CALL(MNK_START, start, end, event, true)
#define CALL_END(start, end, event)	\
	MNK_CALL(MNK_END, start, end, event, true)
#define CALL_START_NONBLOCK(start, end, event)	\
	MNK_CALL(MNK_START, start, end, event, false)
#define CALL_END_NONBLOCK(start, end, event)	\
	MNK_CALL(MNK_END, start, end, event, false)
#define CALL_PLAIN(kind, start, end)	\
	MNK_CALL(kind, start, end, 0, 0)
#define CALL_RELEASE	CALL_PLAIN(MNK_RELEASE, 0, 0)
#define CALL_FREE	CALL_PLAIN(MNK_FREE, 0, 0)

static inline struct mnk_call CALL_PAGE(unsigned long address,
					unsigned long nr_pages,
					enum mmu_notifier_event event)
{
	return MNK_CALL(MNK_PAGE, address, address + nr_pages * PAGE_SIZE,
			event, false);
}

static inline struct mnk_call CALL_BATCHED(unsigned long address,
					   unsigned long nr_pages,
					   enum mmu_notifier_event event)
{
	struct mnk_call call = CALL_PAGE(address, nr_pages, event);

	call.kind = MNK_PAGE_BATCHED;
	return call;
}

#define CALL_FLUSH_BATCH	CALL_PLAIN(MNK_FLUSH_BATCH, 0, 0)

/**
 * struct mnk_gate - stops one callback, which spins if it may not sleep
 * @entered: the callback is there
 * @leave: and may go on
 * @used: only the first callback stops
 */
struct mnk_gate {
	struct completion entered;
	struct completion leave;
	atomic_t used;
};

/**
 * struct mnk_sub - a subscriber that records
 * @mn: the subscription
 * @lock: protects @nr and @calls
 * @nr: recorded calls, also those that found no room
 * @calls: their record
 * @violations: calls in a context, or with an mm, that the contract excludes
 * @start_ret: what invalidate_range_start returns if it must not block
 * @young: what the aging callbacks return
 * @young_pages: what test_young_pages adds for the first pages it is asked of
 * @cleared_pages: what clear_young_pages was given last
 * @nr_listed: number of pages that clear_young_list was given last
 * @listed: their addresses
 * @gates: where to stop, by kind
 * @hook: runs inside of every callback, may be NULL
 * @data: for @hook
 */
struct mnk_sub {
	struct mmu_notifier mn;
	spinlock_t lock;	/* nr, calls */
	unsigned int nr;
	struct mnk_call calls[MNK_MAX_CALLS];
	atomic_t violations;
	int start_ret;
	bool young;
	unsigned long young_pages;
	unsigned long cleared_pages;
	unsigned int nr_listed;
	unsigned long listed[SWAP_CLUSTER_MAX];
	struct mnk_gate *gates[MNK_NR_KINDS];
	void (*hook)(struct mnk_sub *sub, const struct mnk_call *call);
	void *data;
};

/*
 * Everything by ranges; everything and single pages; that and many of them; and
 * the aging of many pages; the CPU's flushes.
 */
extern const struct mmu_notifier_ops mnk_range_ops;
extern const struct mmu_notifier_ops mnk_page_ops;
extern const struct mmu_notifier_ops mnk_batch_ops;
extern const struct mmu_notifier_ops mnk_young_ops;
extern const struct mmu_notifier_ops mnk_arch_ops;

struct mm_struct *mnk_mm(struct kunit *test);
void mnk_mm_exit(struct kunit *test, struct mm_struct *mm);

void mnk_record(struct mnk_sub *sub, struct mnk_call call);
void mnk_sub_init(struct mnk_sub *sub, const struct mmu_notifier_ops *ops);
struct mnk_sub *mnk_alloc(struct kunit *test, const struct mmu_notifier_ops *ops);
int mnk_register(struct kunit *test, struct mnk_sub *sub, struct mm_struct *mm);
struct mnk_sub *mnk_subscribe(struct kunit *test, struct mm_struct *mm,
			      const struct mmu_notifier_ops *ops);
void mnk_subscribe_all(struct kunit *test, struct mm_struct *mm,
		       struct mnk_sub **subs, int nr);
void mnk_unsubscribe(struct kunit *test, struct mnk_sub *sub);
void mnk_forget(struct kunit *test, struct mnk_sub *sub);

unsigned int mnk_count(struct mnk_sub *sub, enum mnk_kind kind);
void mnk_expect_calls(struct kunit *test, struct mnk_sub *sub,
		      const struct mnk_call *want, unsigned int nr);
void mnk_expect_silence(struct kunit *test, struct mnk_sub *sub);

/* Compares with what was recorded since the last comparison. */
#define MNK_EXPECT(test, sub, ...)					\
do {									\
	const struct mnk_call __want[] = { __VA_ARGS__ };		\
									\
	mnk_expect_calls(test, sub, __want, ARRAY_SIZE(__want));	\
} while (0)

void mnk_gate_init(struct mnk_gate *gate);
struct mnk_gate *mnk_gate_arm(struct kunit *test, struct mnk_sub *sub,
			      enum mnk_kind kind);
void mnk_gate_wait(struct kunit *test, struct mnk_gate *gate);
void mnk_gate_open(struct mnk_gate *gate);

/**
 * struct mnk_thread - a thread that runs one function
 * @task: the thread, referenced
 * @fn: the function
 * @data: its argument
 * @started: @fn is about to run
 * @done: @fn has returned
 */
struct mnk_thread {
	struct task_struct *task;
	void (*fn)(void *data);
	void *data;
	bool started;
	struct completion done;
};

struct mnk_thread *mnk_thread_run(struct kunit *test, void (*fn)(void *data),
				  void *data);
void mnk_thread_join(struct kunit *test, struct mnk_thread *thread);
void mnk_expect_done(struct kunit *test, struct mnk_thread *thread);
void mnk_expect_running(struct kunit *test, struct mnk_thread *thread);
void mnk_expect_resting(struct kunit *test, struct mnk_thread *thread);
void mnk_expect_blocked(struct kunit *test, struct mnk_thread *thread);

/* Ends with mmu_notifier_batch_end(), or with the test's thread. */
void mnk_batch_begin(struct kunit *test);

/* One whole section; for threads too. */
void mnk_section(struct mm_struct *mm, unsigned long start, unsigned long end);
void mnk_section_thread(void *mm);
void mnk_unregister_thread(void *sub);
void mnk_test_young_thread(void *mm);
struct mnk_thread *mnk_exit_run(struct kunit *test, struct mm_struct *mm);

/* User memory, in the mm of the test's thread; see kunit_attach_mm(). */

struct file;

enum mnk_entry {
	MNK_UNSEEN,
	MNK_ABSENT,
	MNK_READONLY,
	MNK_WRITABLE,
};

/**
 * struct mnk_view - what a subscriber saw in the page tables
 * @addr: where it looks
 * @entry: the entry, by kind of callback, when that was called last
 * @locked: somebody held the lock of the entry
 */
struct mnk_view {
	unsigned long addr;
	enum mnk_entry entry[MNK_NR_KINDS];
	bool locked[MNK_NR_KINDS];
};

unsigned long mnk_map(struct kunit *test, struct file *file, unsigned long len,
		      unsigned long flags);
unsigned long mnk_map_anon(struct kunit *test, unsigned long len);
unsigned long mnk_map_huge(struct kunit *test, unsigned int nr);
unsigned long mnk_hole(struct kunit *test, unsigned long len,
		       unsigned long align);
struct file *mnk_file(struct kunit *test, unsigned long len);
struct file *mnk_hugetlb_file(struct kunit *test, unsigned long len,
			      unsigned long nr_huge);
void mnk_read(struct kunit *test, unsigned long addr);
void mnk_write(struct kunit *test, unsigned long addr);
struct vm_area_struct *mnk_vma(struct kunit *test, unsigned long addr);
struct folio *mnk_lock_folio(struct kunit *test, unsigned long addr);
void mnk_unlock_folio(struct folio *folio);
enum mnk_entry mnk_look(struct mm_struct *mm, unsigned long addr, bool *locked);
struct mnk_sub *mnk_watch(struct kunit *test, unsigned long addr,
			  const struct mmu_notifier_ops *ops);
struct mnk_view *mnk_view(struct mnk_sub *sub);
void mnk_expect_locked(struct kunit *test, struct mnk_sub *sub,
		       enum mnk_kind kind, bool locked);

/**
 * struct mnk_pair - two subscribers, one of each kind
 * @addr: where both look
 * @end: first address behind what the test is about
 * @page: takes single pages
 * @range: takes ranges only
 */
struct mnk_pair {
	unsigned long addr, end;
	struct mnk_sub *page, *range;
};

struct mnk_pair *mnk_watch_pair(struct kunit *test, unsigned long addr,
				unsigned long len);
void mnk_pair_reset(struct mnk_pair *pair);
void mnk_pair_expect_silence(struct kunit *test, struct mnk_pair *pair);
void mnk_pair_expect_range(struct kunit *test, struct mnk_pair *pair,
			   unsigned long start, unsigned long end,
			   enum mmu_notifier_event event);
void mnk_pair_expect_page(struct kunit *test, struct mnk_pair *pair,
			  unsigned long addr, unsigned long nr_pages,
			  enum mmu_notifier_event event);

#endif /* _MMU_NOTIFIER_KUNIT_H */
