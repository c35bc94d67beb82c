// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: one side is stopped where an order matters,
 * the other one comes by, and what both have done must fit.
 */

#include <linux/sched/mm.h>

#include "../../mm/mmu_notifier_internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"
#include "mmu_notifier_kunit_trap.h"

#define START	CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR)
#define END	CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR)

static void open_section(struct mmu_notifier_section *section,
			 struct mm_struct *mm)
{
	mmu_notifier_invalidate_range_start(section, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(0), MNK_ADDR(1));
}

/**
 * struct order - what a thread needs that stops
 * @trap: where
 * @mm: the address space
 * @sub: a subscriber, registered or about to be
 * @itv: an interval
 * @begin: a second thread may begin; nobody could start it while one is stopped
 * @later: what that thread does
 * @ret: what the thread was told
 */
struct order {
	struct mnk_trap *trap;
	struct mm_struct *mm;
	struct mnk_sub *sub;
	struct mmu_interval_notifier itv;
	struct completion begin;
	void (*later)(struct order *o);
	unsigned long ret;
};

/* Of tests with a trap. */
static struct order *order_setup(struct kunit *test)
{
	struct order *o;

	mnk_trap_require(test);
	o = kunit_kzalloc(test, sizeof(*o), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, o);
	o->mm = mnk_mm(test);
	init_completion(&o->begin);
	return o;
}

static void later_thread(void *data)
{
	struct order *o = data;

	wait_for_completion(&o->begin);
	o->later(o);
}

static void begin_later(void *data)
{
	struct order *o = data;

	complete_all(&o->begin);
}

/* The cleanup lets it run in any case, and waits for it. */
static struct mnk_thread *later_run(struct kunit *test, struct order *o,
				    void (*later)(struct order *o))
{
	struct mnk_thread *thread;

	o->later = later;
	thread = mnk_thread_run(test, later_thread, o);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, begin_later, o));
	return thread;
}

static void section_thread(void *data)
{
	struct order *o = data;

	mnk_trap_me(o->trap);
	mnk_section_thread(o->mm);
}

/* Registration. */

static void register_thread(void *data)
{
	struct order *o = data;

	mnk_trap_me(o->trap);
	o->ret = mmu_notifier_register(&o->sub->mn, o->mm);
}

static void unregister(void *data)
{
	struct mnk_sub *sub = data;

	mmu_notifier_unregister(&sub->mn, sub->mn.mm);
}

/*
 * Registration stops when the number of the subscription is published. A section
 * that sees it calls the newcomer, at its start as at its end, which comes when
 * registration is over.
 */
static void publish_test(struct kunit *test)
{
	struct order *o = order_setup(test);
	struct mnk_thread *thread;
	DEFINE_MMU_NOTIFIER_SECTION(section);

	/* There is a list, and nobody on it hears sections. */
	mnk_subscribe(test, o->mm, &mnk_arch_ops);
	o->sub = mnk_alloc(test, &mnk_range_ops);
	o->trap = mnk_trap_set(test, &o->mm->notifier_subscriptions->stamp,
			       sizeof(long), HW_BREAKPOINT_W);
	thread = mnk_thread_run(test, register_thread, o);
	mnk_trap_wait(test, o->trap, thread);
	open_section(&section, o->mm);
	mnk_trap_go(test, o->trap);
	mnk_thread_join(test, thread);
	KUNIT_ASSERT_EQ(test, o->ret, 0);
	mmu_notifier_invalidate_range_end(&section);
	MNK_EXPECT(test, o->sub, START, END);
	unregister(o->sub);
}

/* A section that is calling those who were there before does not call it. */
static void newcomer_in_start_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *old = mnk_subscribe(test, mm, &mnk_range_ops), *new;
	struct mnk_gate *gate = mnk_gate_arm(test, old, MNK_START);
	struct mnk_thread *thread;

	thread = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, gate);
	new = mnk_subscribe(test, mm, &mnk_range_ops);
	mnk_gate_open(gate);
	mnk_thread_join(test, thread);
	MNK_EXPECT(test, old, START, END);
	mnk_expect_silence(test, new);
}

/* Release. */

static struct mnk_thread *unregister_run(struct kunit *test, struct mnk_sub *sub)
{
	mnk_forget(test, sub);
	return mnk_thread_run(test, mnk_unregister_thread, sub);
}

static void expect_heard_in_release(struct kunit *test, struct mnk_sub *sub,
				    struct mnk_gate *gate,
				    struct mnk_thread *thread)
{
	mnk_gate_wait(test, gate);
	mnk_section_thread(sub->mn.mm);
	mnk_gate_open(gate);
	mnk_thread_join(test, thread);
	MNK_EXPECT(test, sub, CALL_RELEASE, START, END);
}

/* Until release returns there are translations, and who has some is called. */
static void heard_until_unregistered_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, sub, MNK_RELEASE);

	expect_heard_in_release(test, sub, gate, unregister_run(test, sub));
}

static void heard_until_exit_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, sub, MNK_RELEASE);

	expect_heard_in_release(test, sub, gate, mnk_exit_run(test, mm));
}

/* Who waits for walks, and walks. */

/* A walk stands at the gate in the start callback of @sub: that cannot leave. */
static void expect_waits(struct kunit *test, struct mnk_sub *sub,
			 struct mnk_gate *gate, struct mnk_thread *walk)
{
	struct mnk_thread *leave;

	leave = unregister_run(test, sub);
	mnk_expect_blocked(test, leave);
	mnk_gate_open(gate);
	mnk_thread_join(test, leave);
	mnk_thread_join(test, walk);
}

static void unregister_later(struct order *o)
{
	unregister(o->sub);
}

/*
 * A walk stops between reading which counter is the current one and counting
 * itself. Meanwhile another one becomes that, and the walk must not stay on the
 * old counter: who leaves next waits for the new one.
 */
static void walk_looks_again_test(struct kunit *test)
{
	struct order *o = order_setup(test);
	struct mnk_sub *next = mnk_subscribe(test, o->mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, next, MNK_START);
	struct mmu_notifier_subscriptions *subs = o->mm->notifier_subscriptions;
	struct mnk_thread *walk, *leave;
	atomic_t *old = subs->count;

	o->sub = mnk_subscribe(test, o->mm, &mnk_range_ops);
	o->trap = mnk_trap_set(test, &subs->count, sizeof(long), HW_BREAKPOINT_RW);
	mnk_forget(test, o->sub);
	leave = later_run(test, o, unregister_later);
	walk = mnk_thread_run(test, section_thread, o);
	mnk_trap_wait(test, o->trap, walk);
	begin_later(o);
	mnk_wait_for(test, READ_ONCE(subs->count) != old);
	mnk_trap_go(test, o->trap);
	mnk_gate_wait(test, gate);
	mnk_thread_join(test, leave);
	expect_waits(test, next, gate, walk);
}

/* There are two counters: who leaves while another one waits for a walk waits, too. */
static void two_leave_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *first = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *second = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *busy = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, busy, MNK_START);
	struct mmu_notifier_subscriptions *subs = mm->notifier_subscriptions;
	struct mnk_thread *walk, *leave[2];
	atomic_t *old = subs->count;

	walk = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, gate);
	leave[0] = unregister_run(test, first);
	mnk_wait_for(test, READ_ONCE(subs->count) != old);
	leave[1] = unregister_run(test, second);
	mnk_expect_blocked(test, leave[1]);
	mnk_expect_blocked(test, leave[0]);
	mnk_gate_open(gate);
	mnk_thread_join(test, leave[0]);
	mnk_thread_join(test, leave[1]);
	mnk_thread_join(test, walk);
}

static void section_later(struct order *o)
{
	mnk_section_thread(o->mm);
}

static void stopped_unregister_thread(void *data)
{
	struct order *o = data;

	mnk_trap_me(o->trap);
	unregister(o->sub);
}

/*
 * Who waits stops when it has looked at the old counter. A walk that begins then
 * is on the new one already.
 */
static void switch_before_look_test(struct kunit *test)
{
	struct order *o = order_setup(test);
	struct mnk_sub *next = mnk_subscribe(test, o->mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, next, MNK_START);
	struct mmu_notifier_subscriptions *subs;
	struct mnk_thread *walk, *leave;

	o->sub = mnk_subscribe(test, o->mm, &mnk_range_ops);
	subs = o->mm->notifier_subscriptions;
	o->trap = mnk_trap_set(test, subs->count, sizeof(atomic_t),
			       HW_BREAKPOINT_RW);
	mnk_forget(test, o->sub);
	walk = later_run(test, o, section_later);
	leave = mnk_thread_run(test, stopped_unregister_thread, o);
	mnk_trap_wait(test, o->trap, leave);
	begin_later(o);
	mnk_gate_wait(test, gate);
	mnk_trap_go(test, o->trap);
	mnk_thread_join(test, leave);
	expect_waits(test, next, gate, walk);
}

/* Intervals. */

static bool invalidate(struct mmu_interval_notifier *itv,
		       const struct mmu_notifier_range *range,
		       unsigned long seq)
{
	mmu_interval_set_seq(itv, seq);
	return true;
}

static const struct mmu_interval_notifier_ops interval_ops = {
	.invalidate = invalidate,
};

static void remove(void *data)
{
	mmu_interval_notifier_remove(data);
}

static void insert(struct kunit *test, struct order *o)
{
	KUNIT_ASSERT_EQ(test, 0,
			mmu_interval_notifier_insert(&o->itv, o->mm,
						     MNK_ADDR(0), PAGE_SIZE,
						     &interval_ops));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, remove, &o->itv));
}

/* The list of a lane, as the only section on it knows it. */
static void *lane_of_test(struct order *o)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);

	open_section(&section, o->mm);
	return section_range.lane_node.pprev;
}

static void read_thread(void *data)
{
	struct order *o = data;

	mnk_trap_me(o->trap);
	o->ret = mmu_interval_read_begin(&o->itv);
}

/*
 * A reader stops when it has found a lane empty. The section that starts there
 * meanwhile is one that it collides with: it must not have its number.
 */
static void read_before_look_test(struct kunit *test)
{
	struct order *o = order_setup(test);
	struct mnk_thread *thread;
	DEFINE_MMU_NOTIFIER_SECTION(section);

	insert(test, o);
	set_cpus_allowed_ptr(current, cpumask_of(cpumask_first(cpu_online_mask)));
	o->trap = mnk_trap_set(test, lane_of_test(o), sizeof(long),
			       HW_BREAKPOINT_RW);
	thread = mnk_thread_run(test, read_thread, o);
	mnk_trap_wait(test, o->trap, thread);
	open_section(&section, o->mm);
	mnk_trap_go(test, o->trap);
	mnk_thread_join(test, thread);
	KUNIT_EXPECT_TRUE(test, mmu_interval_read_retry(&o->itv, o->ret));
	mmu_notifier_invalidate_range_end(&section);
}

static struct kunit_case order_cases[] = {
	KUNIT_CASE(publish_test),
	KUNIT_CASE(newcomer_in_start_test),
	KUNIT_CASE(heard_until_unregistered_test),
	KUNIT_CASE(heard_until_exit_test),
	KUNIT_CASE(walk_looks_again_test),
	KUNIT_CASE(two_leave_test),
	KUNIT_CASE(switch_before_look_test),
	KUNIT_CASE(read_before_look_test),
	{ }
};

static struct kunit_suite order_suite = {
	.name = "mmu_notifier_order",
	.test_cases = order_cases,
};

kunit_test_suite(order_suite);
