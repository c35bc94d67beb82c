// SPDX-License-Identifier: GPL-2.0
/* What the KUnit suites of the MMU notifiers share; see the header. */

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sched/task.h>

#include "mmu_notifier_kunit.h"

static atomic_t mnk_clock;

/* Recording. */

static struct mnk_sub *to_mnk(struct mmu_notifier *mn)
{
	return container_of(mn, struct mnk_sub, mn);
}

static void mnk_pass_gate(struct mnk_sub *sub, enum mnk_kind kind)
{
	struct mnk_gate *gate = READ_ONCE(sub->gates[kind]);

	if (!gate || atomic_xchg(&gate->used, 1))
		return;
	complete(&gate->entered);
	if (!wait_for_completion_timeout(&gate->leave, MNK_TIMEOUT))
		atomic_inc(&sub->violations);
}

/* The same where sleeping is not allowed: needs a second CPU. */
static void mnk_spin_at_gate(struct mnk_sub *sub, enum mnk_kind kind)
{
	struct mnk_gate *gate = READ_ONCE(sub->gates[kind]);
	unsigned long limit = jiffies + MNK_TIMEOUT / 2;

	if (!gate || atomic_xchg(&gate->used, 1))
		return;
	complete(&gate->entered);
	while (!completion_done(&gate->leave)) {
		if (time_after(jiffies, limit)) {
			atomic_inc(&sub->violations);
			return;
		}
		cpu_relax();
	}
}

void mnk_record(struct mnk_sub *sub, struct mnk_call call)
{
	unsigned long flags;

	call.order = atomic_inc_return(&mnk_clock);

	spin_lock_irqsave(&sub->lock, flags);
	if (sub->nr < MNK_MAX_CALLS)
		sub->calls[sub->nr] = call;
	sub->nr++;
	spin_unlock_irqrestore(&sub->lock, flags);

	if (sub->hook)
		sub->hook(sub, &call);
}

static void mnk_require(struct mnk_sub *sub, bool holds)
{
	if (!holds)
		atomic_inc(&sub->violations);
}

static bool mnk_must_not_block(void)
{
#ifdef CONFIG_DEBUG_ATOMIC_SLEEP
	return current->non_block_count;
#else
	return true;
#endif
}

static void mnk_record_range(struct mmu_notifier *mn, enum mnk_kind kind,
			     const struct mmu_notifier_range *range)
{
	struct mnk_sub *sub = to_mnk(mn);
	struct mnk_call call = {
		.kind = kind,
		.start = range->start,
		.end = range->end,
		.event = range->event,
		.blockable = mmu_notifier_range_blockable(range),
		.owner = range->owner,
	};

	mnk_require(sub, range->mm == mn->mm);
	mnk_record(sub, call);
	if (call.blockable) {
		might_sleep();
		mnk_pass_gate(sub, kind);
	} else {
		mnk_require(sub, mnk_must_not_block());
	}
}

static int mnk_start(struct mmu_notifier *mn,
		     const struct mmu_notifier_range *range)
{
	mnk_record_range(mn, MNK_START, range);
	return mmu_notifier_range_blockable(range) ? 0 : to_mnk(mn)->start_ret;
}

static void mnk_end(struct mmu_notifier *mn,
		    const struct mmu_notifier_range *range)
{
	mnk_record_range(mn, MNK_END, range);
}

static void mnk_record_atomic(struct mmu_notifier *mn, struct mm_struct *mm,
			      struct mnk_call call)
{
	struct mnk_sub *sub = to_mnk(mn);

	mnk_require(sub, mm == mn->mm);
	mnk_require(sub, rcu_read_lock_held());
	mnk_record(sub, call);
	mnk_spin_at_gate(sub, call.kind);
}

static void mnk_page(struct mmu_notifier *mn, struct mm_struct *mm,
		     unsigned long address, unsigned long nr_pages,
		     enum mmu_notifier_event event)
{
	mnk_record_atomic(mn, mm, CALL_PAGE(address, nr_pages, event));
}

static void mnk_page_batched(struct mmu_notifier *mn, struct mm_struct *mm,
			     unsigned long address, unsigned long nr_pages,
			     enum mmu_notifier_event event)
{
	mnk_record_atomic(mn, mm, CALL_BATCHED(address, nr_pages, event));
}

static void mnk_flush_batch(struct mmu_notifier *mn, struct mm_struct *mm)
{
	mnk_record_atomic(mn, mm, CALL_FLUSH_BATCH);
}

static bool mnk_clear_flush_young(struct mmu_notifier *mn, struct mm_struct *mm,
				  unsigned long start, unsigned long end)
{
	mnk_record_atomic(mn, mm,
			  CALL_PLAIN(MNK_CLEAR_FLUSH_YOUNG, start, end));
	return to_mnk(mn)->young;
}

static bool mnk_clear_young(struct mmu_notifier *mn, struct mm_struct *mm,
			    unsigned long start, unsigned long end)
{
	mnk_record_atomic(mn, mm, CALL_PLAIN(MNK_CLEAR_YOUNG, start, end));
	return to_mnk(mn)->young;
}

static bool mnk_test_young(struct mmu_notifier *mn, struct mm_struct *mm,
			   unsigned long address)
{
	mnk_record_atomic(mn, mm, CALL_PLAIN(MNK_TEST_YOUNG, address,
					     address + PAGE_SIZE));
	return to_mnk(mn)->young;
}

static void mnk_test_young_pages(struct mmu_notifier *mn, struct mm_struct *mm,
				 unsigned long start, unsigned int nr_pages,
				 unsigned long *young)
{
	struct mnk_sub *sub = to_mnk(mn);
	unsigned int nr = min_t(unsigned int, nr_pages, BITS_PER_LONG);

	mnk_record_atomic(mn, mm,
			  CALL_PLAIN(MNK_TEST_YOUNG_PAGES, start,
				     start + nr_pages * PAGE_SIZE));
	bitmap_or(young, young, &sub->young_pages, nr);
}

static void mnk_clear_young_pages(struct mmu_notifier *mn, struct mm_struct *mm,
				  unsigned long start, unsigned int nr_pages,
				  const unsigned long *pages)
{
	unsigned int nr = min_t(unsigned int, nr_pages, BITS_PER_LONG);

	mnk_record_atomic(mn, mm,
			  CALL_PLAIN(MNK_CLEAR_YOUNG_PAGES, start,
				     start + nr_pages * PAGE_SIZE));
	to_mnk(mn)->cleared_pages = bitmap_read(pages, 0, nr);
}

/* The end is that of the page that comes last. */
static void mnk_clear_young_list(struct mmu_notifier *mn, struct mm_struct *mm,
				 const unsigned long *addresses,
				 unsigned int nr_pages)
{
	struct mnk_sub *sub = to_mnk(mn);
	unsigned int i;

	mnk_record_atomic(mn, mm,
			  CALL_PLAIN(MNK_CLEAR_YOUNG_LIST, addresses[0],
				     addresses[nr_pages - 1] + PAGE_SIZE));
	mnk_require(sub, nr_pages <= ARRAY_SIZE(sub->listed));
	sub->nr_listed = nr_pages;
	for (i = 0; i < min(nr_pages, ARRAY_SIZE(sub->listed)); i++)
		sub->listed[i] = addresses[i];
}

static void mnk_arch(struct mmu_notifier *mn, struct mm_struct *mm,
		     unsigned long start, unsigned long end)
{
	mnk_record_atomic(mn, mm, CALL_PLAIN(MNK_ARCH, start, end));
}

static void mnk_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct mnk_sub *sub = to_mnk(mn);

	might_sleep();
	mnk_require(sub, mm == mn->mm);
	mnk_record(sub, CALL_RELEASE);
	mnk_pass_gate(sub, MNK_RELEASE);
}

const struct mmu_notifier_ops mnk_range_ops = {
	.release = mnk_release,
	.clear_flush_young = mnk_clear_flush_young,
	.clear_young = mnk_clear_young,
	.test_young = mnk_test_young,
	.invalidate_range_start = mnk_start,
	.invalidate_range_end = mnk_end,
};

const struct mmu_notifier_ops mnk_page_ops = {
	.release = mnk_release,
	.clear_flush_young = mnk_clear_flush_young,
	.clear_young = mnk_clear_young,
	.test_young = mnk_test_young,
	.invalidate_page = mnk_page,
	.invalidate_range_start = mnk_start,
	.invalidate_range_end = mnk_end,
};

const struct mmu_notifier_ops mnk_batch_ops = {
	.release = mnk_release,
	.invalidate_page = mnk_page,
	.invalidate_page_batched = mnk_page_batched,
	.flush_batch = mnk_flush_batch,
	.invalidate_range_start = mnk_start,
	.invalidate_range_end = mnk_end,
};

const struct mmu_notifier_ops mnk_young_ops = {
	.release = mnk_release,
	.clear_flush_young = mnk_clear_flush_young,
	.clear_young = mnk_clear_young,
	.test_young = mnk_test_young,
	.test_young_pages = mnk_test_young_pages,
	.clear_young_pages = mnk_clear_young_pages,
	.clear_young_list = mnk_clear_young_list,
	.invalidate_page = mnk_page,
	.invalidate_range_start = mnk_start,
	.invalidate_range_end = mnk_end,
};

const struct mmu_notifier_ops mnk_arch_ops = {
	.release = mnk_release,
	.arch_invalidate_secondary_tlbs = mnk_arch,
};

/* Comparing. */

unsigned int mnk_count(struct mnk_sub *sub, enum mnk_kind kind)
{
	unsigned int i, count = 0;

	guard(spinlock_irqsave)(&sub->lock);

	for (i = 0; i < min(sub->nr, MNK_MAX_CALLS); i++)
		count += sub->calls[i].kind == kind;
	return count;
}

static bool mnk_same(const struct mnk_call *a, const struct mnk_call *b)
{
	return a->kind == b->kind && a->start == b->start && a->end == b->end &&
	       a->event == b->event && a->blockable == b->blockable &&
	       a->owner == b->owner;
}

static void mnk_print(struct kunit *test, const char *what, unsigned int i,
		      const struct mnk_call *call)
{
	kunit_err(test, "%s %u: kind %d [%lx, %lx) event %d blockable %d owner %p\n",
		  what, i, call->kind, call->start, call->end, call->event,
		  call->blockable, call->owner);
}

void mnk_expect_calls(struct kunit *test, struct mnk_sub *sub,
		      const struct mnk_call *want, unsigned int nr)
{
	unsigned int i, have = min(sub->nr, MNK_MAX_CALLS);
	bool same = sub->nr == nr;

	for (i = 0; same && i < nr; i++)
		same = mnk_same(&sub->calls[i], &want[i]);
	KUNIT_EXPECT_TRUE_MSG(test, same, "other callbacks than expected");
	for (i = 0; !same && i < have; i++)
		mnk_print(test, "call", i, &sub->calls[i]);
	for (i = 0; !same && i < nr; i++)
		mnk_print(test, "want", i, &want[i]);

	KUNIT_EXPECT_EQ(test, atomic_read(&sub->violations), 0);
	sub->nr = 0;
}

void mnk_expect_silence(struct kunit *test, struct mnk_sub *sub)
{
	mnk_expect_calls(test, sub, NULL, 0);
}

/* Address spaces and subscriptions. */

KUNIT_DEFINE_ACTION_WRAPPER(mnk_mmput, mmput, struct mm_struct *);

/* An mm of our own, without a VMA, used once. */
struct mm_struct *mnk_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, mnk_mmput, mm));
	return mm;
}

/* Gives the only use back; the mm exits. The caller has an mm_count. */
void mnk_mm_exit(struct kunit *test, struct mm_struct *mm)
{
	KUNIT_ASSERT_EQ(test, 1, atomic_read(&mm->mm_users));
	kunit_release_action(test, mnk_mmput, mm);
}

void mnk_sub_init(struct mnk_sub *sub, const struct mmu_notifier_ops *ops)
{
	sub->mn.ops = ops;
	spin_lock_init(&sub->lock);
}

struct mnk_sub *mnk_alloc(struct kunit *test, const struct mmu_notifier_ops *ops)
{
	struct mnk_sub *sub = kunit_kzalloc(test, sizeof(*sub), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, sub);
	mnk_sub_init(sub, ops);
	return sub;
}

static void mnk_unregister(void *data)
{
	struct mnk_sub *sub = data;

	mmu_notifier_unregister(&sub->mn, sub->mn.mm);
}

int mnk_register(struct kunit *test, struct mnk_sub *sub, struct mm_struct *mm)
{
	int ret = mmu_notifier_register(&sub->mn, mm);

	if (!ret)
		KUNIT_ASSERT_EQ(test, 0,
				kunit_add_action_or_reset(test, mnk_unregister,
							  sub));
	return ret;
}

struct mnk_sub *mnk_subscribe(struct kunit *test, struct mm_struct *mm,
			      const struct mmu_notifier_ops *ops)
{
	struct mnk_sub *sub = mnk_alloc(test, ops);

	KUNIT_ASSERT_EQ(test, 0, mnk_register(test, sub, mm));
	return sub;
}

/* Several with ranges only, the last is the first of the list. */
void mnk_subscribe_all(struct kunit *test, struct mm_struct *mm,
		       struct mnk_sub **subs, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		subs[i] = mnk_subscribe(test, mm, &mnk_range_ops);
}

void mnk_unsubscribe(struct kunit *test, struct mnk_sub *sub)
{
	kunit_release_action(test, mnk_unregister, sub);
}

/* Somebody else ends this subscription. */
void mnk_forget(struct kunit *test, struct mnk_sub *sub)
{
	kunit_remove_action(test, mnk_unregister, sub);
}

/* Gates. */

void mnk_gate_init(struct mnk_gate *gate)
{
	init_completion(&gate->entered);
	init_completion(&gate->leave);
	atomic_set(&gate->used, 0);
}

struct mnk_gate *mnk_gate_arm(struct kunit *test, struct mnk_sub *sub,
			      enum mnk_kind kind)
{
	struct mnk_gate *gate = kunit_kzalloc(test, sizeof(*gate), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, gate);
	mnk_gate_init(gate);
	WRITE_ONCE(sub->gates[kind], gate);
	return gate;
}

void mnk_gate_wait(struct kunit *test, struct mnk_gate *gate)
{
	KUNIT_ASSERT_TRUE(test, wait_for_completion_timeout(&gate->entered,
							    MNK_TIMEOUT));
}

void mnk_gate_open(struct mnk_gate *gate)
{
	complete_all(&gate->leave);
}

/* Threads. */

static int mnk_thread_fn(void *data)
{
	struct mnk_thread *thread = data;

	WRITE_ONCE(thread->started, true);
	thread->fn(thread->data);
	complete_all(&thread->done);
	return 0;
}

static void mnk_thread_reap(void *data)
{
	struct mnk_thread *thread = data;

	wait_for_completion(&thread->done);
	put_task_struct(thread->task);
}

struct mnk_thread *mnk_thread_run(struct kunit *test, void (*fn)(void *data),
				  void *data)
{
	struct mnk_thread *thread = kunit_kzalloc(test, sizeof(*thread),
						  GFP_KERNEL);
	struct task_struct *task;

	KUNIT_ASSERT_NOT_NULL(test, thread);
	thread->fn = fn;
	thread->data = data;
	init_completion(&thread->done);
	task = kthread_create(mnk_thread_fn, thread, "mnk");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	thread->task = get_task_struct(task);
	/* A test that is bound to a CPU keeps its threads there. */
	if (current->nr_cpus_allowed == 1)
		set_cpus_allowed_ptr(task, current->cpus_ptr);
	wake_up_process(task);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, mnk_thread_reap,
						  thread));
	return thread;
}

void mnk_thread_join(struct kunit *test, struct mnk_thread *thread)
{
	KUNIT_ASSERT_TRUE(test, wait_for_completion_timeout(&thread->done,
							    MNK_TIMEOUT));
}

/* As mnk_thread_join(), but the test goes on, to let go what the thread waits for. */
void mnk_expect_done(struct kunit *test, struct mnk_thread *thread)
{
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&thread->done,
							    MNK_TIMEOUT / 2));
}

void mnk_expect_running(struct kunit *test, struct mnk_thread *thread)
{
	KUNIT_EXPECT_FALSE(test, completion_done(&thread->done));
}

/* Off its run queue: neither woken already, nor on its way to sleep. */
static bool mnk_sleeps(const struct task_struct *task)
{
	unsigned int state = READ_ONCE(task->__state);

	return state != TASK_RUNNING && state != TASK_WAKING &&
	       (!READ_ONCE(task->on_rq) || task->se.sched_delayed);
}

static bool mnk_rests(struct mnk_thread *thread)
{
	return completion_done(&thread->done) ||
	       (READ_ONCE(thread->started) && mnk_sleeps(thread->task));
}

static void mnk_wait_rest(struct kunit *test, struct mnk_thread *thread)
{
	unsigned long limit = jiffies + MNK_TIMEOUT;

	while (!mnk_rests(thread)) {
		KUNIT_ASSERT_TRUE(test, time_before(jiffies, limit));
		fsleep(1000);
	}
}

/* The thread sleeps, for whatever reason. */
void mnk_expect_resting(struct kunit *test, struct mnk_thread *thread)
{
	mnk_wait_rest(test, thread);
	mnk_expect_running(test, thread);
}

/*
 * The thread sleeps, and not only for an RCU grace period: the grace periods
 * here end after one that it waits for, and it rests again after each of them.
 */
void mnk_expect_blocked(struct kunit *test, struct mnk_thread *thread)
{
	int i;

	for (i = 0; i < 3; i++) {
		mnk_wait_rest(test, thread);
		synchronize_rcu();
	}
	mnk_expect_resting(test, thread);
}

void mnk_batch_begin(struct kunit *test)
{
	struct mmu_notifier_batch *batch = kunit_kzalloc(test, sizeof(*batch),
							 GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, batch);
	mmu_notifier_batch_begin(batch);
}

/* Bodies for threads. */

void mnk_section(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR, mm,
					    start, end);
	mmu_notifier_invalidate_range_end(&section);
}

void mnk_section_thread(void *mm)
{
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
}

void mnk_unregister_thread(void *sub)
{
	mnk_unregister(sub);
}

static void mnk_mmput_thread(void *mm)
{
	mmput(mm);
}

void mnk_test_young_thread(void *mm)
{
	mmu_notifier_test_young(mm, MNK_ADDR(0));
}

/* mnk_mm_exit() in a thread. */
struct mnk_thread *mnk_exit_run(struct kunit *test, struct mm_struct *mm)
{
	KUNIT_ASSERT_EQ(test, 1, atomic_read(&mm->mm_users));
	kunit_remove_action(test, mnk_mmput, mm);
	return mnk_thread_run(test, mnk_mmput_thread, mm);
}
