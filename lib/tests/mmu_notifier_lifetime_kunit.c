// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of the MMU notifiers: release, and who waits for whom. */

#include <linux/cpumask.h>
#include <linux/kprobes.h>

#include "mmu_notifier_kunit.h"

/* Release. */

KUNIT_DEFINE_ACTION_WRAPPER(do_mmdrop, mmdrop, struct mm_struct *);

/* The mm_struct outlives its exit, for a look at what is left. */
static struct mm_struct *kept_mm(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);

	mmgrab(mm);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, do_mmdrop, mm));
	return mm;
}

static void release_at_exit_test(struct kunit *test)
{
	struct mm_struct *mm = kept_mm(test);
	struct mnk_sub *a = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *b = mnk_subscribe(test, mm, &mnk_page_ops);

	mnk_mm_exit(test, mm);
	MNK_EXPECT(test, a, CALL_RELEASE);
	MNK_EXPECT(test, b, CALL_RELEASE);
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&mm->mm_count));

	/* The owner still has to unregister; that is quiet now. */
	mnk_unsubscribe(test, a);
	mnk_unsubscribe(test, b);
	mnk_expect_silence(test, a);
	mnk_expect_silence(test, b);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_count));
}

/* After release nothing is left to tell, not even by a hook that comes late. */
static void dead_after_release_test(struct kunit *test)
{
	struct mm_struct *mm = kept_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_page_ops);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mnk_mm_exit(test, mm);
	MNK_EXPECT(test, sub, CALL_RELEASE);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_folio_start(&section, MMU_NOTIFY_CLEAR, mm, MNK_ADDR(0),
				 MNK_ADDR(1));
	mmu_notifier_invalidate_page(&section, MNK_ADDR(0), 1);
	mmu_notifier_invalidate_range_end(&section);
	mmu_notifier_clear_young(mm, MNK_ADDR(0), MNK_ADDR(1));
	mnk_expect_silence(test, sub);
}

#ifdef CONFIG_KPROBES
/**
 * struct watched_mm - an mm whose list of subscriptions is about to be freed
 * @probe: on the function that does it
 * @mm: the mm
 * @freed: how often that has happened to it
 */
struct watched_mm {
	struct kprobe probe;
	struct mm_struct *mm;
	int freed;
};

static int count_freed(struct kprobe *probe, struct pt_regs *regs)
{
	struct watched_mm *w = container_of(probe, struct watched_mm, probe);

	w->freed += regs_get_kernel_argument(regs, 0) == (unsigned long)w->mm;
	return 0;
}
NOKPROBE_SYMBOL(count_freed);

KUNIT_DEFINE_ACTION_WRAPPER(do_unregister_kprobe, unregister_kprobe,
			    struct kprobe *);

/* Not with the last subscription: the next one need not allocate it. */
static void list_lives_as_mm_test(struct kunit *test)
{
	struct watched_mm *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	struct mnk_sub *sub;

	KUNIT_ASSERT_NOT_NULL(test, w);
	w->mm = mnk_mm(test);
	w->probe.symbol_name = "__mmu_notifier_subscriptions_destroy";
	w->probe.pre_handler = count_freed;
	KUNIT_ASSERT_EQ(test, 0, register_kprobe(&w->probe));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, do_unregister_kprobe,
						  &w->probe));

	sub = mnk_subscribe(test, w->mm, &mnk_range_ops);
	mnk_unsubscribe(test, sub);
	KUNIT_EXPECT_EQ(test, 0, w->freed);
	mnk_mm_exit(test, w->mm);
	KUNIT_EXPECT_EQ(test, 1, w->freed);
}
#else
static void list_lives_as_mm_test(struct kunit *test)
{
	kunit_skip(test, "no kprobes");
}
#endif

static void release_at_unregister_test(struct kunit *test)
{
	struct mm_struct *mm = kept_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);

	mnk_unsubscribe(test, sub);
	MNK_EXPECT(test, sub, CALL_RELEASE);
	mnk_mm_exit(test, mm);
	mnk_expect_silence(test, sub);
}

static void no_release_callback_test(struct kunit *test)
{
	static const struct mmu_notifier_ops ops = { };
	struct mm_struct *mm = kept_mm(test);
	struct mnk_sub *a = mnk_subscribe(test, mm, &ops);
	struct mnk_sub *b = mnk_subscribe(test, mm, &ops);

	mnk_unsubscribe(test, a);
	mnk_mm_exit(test, mm);
	mnk_unsubscribe(test, b);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_count));
}

/* Exit calls release; unregister comes meanwhile, waits and does not repeat. */
static void unregister_waits_for_exit_test(struct kunit *test)
{
	struct mm_struct *mm = kept_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, sub, MNK_RELEASE);
	struct mnk_thread *exit, *unregister;

	exit = mnk_exit_run(test, mm);
	mnk_gate_wait(test, gate);
	mnk_forget(test, sub);
	unregister = mnk_thread_run(test, mnk_unregister_thread, sub);
	mnk_expect_blocked(test, unregister);
	mnk_expect_running(test, exit);

	mnk_gate_open(gate);
	mnk_thread_join(test, unregister);
	mnk_thread_join(test, exit);
	MNK_EXPECT(test, sub, CALL_RELEASE);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_count));
}

/* The other way round: exit must not free pages before release has returned. */
static void exit_waits_for_unregister_test(struct kunit *test)
{
	struct mm_struct *mm = kept_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, sub, MNK_RELEASE);
	struct mnk_thread *exit, *unregister;

	mnk_forget(test, sub);
	unregister = mnk_thread_run(test, mnk_unregister_thread, sub);
	mnk_gate_wait(test, gate);
	exit = mnk_exit_run(test, mm);
	mnk_expect_blocked(test, exit);
	mnk_expect_running(test, unregister);

	mnk_gate_open(gate);
	mnk_thread_join(test, exit);
	mnk_thread_join(test, unregister);
	MNK_EXPECT(test, sub, CALL_RELEASE);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_count));
}

/* The other subscriptions of the mm are released, and leave, meanwhile. */
static void release_blocks_nobody_test(struct kunit *test)
{
	struct mm_struct *mm = kept_mm(test);
	struct mnk_sub *free = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *stuck = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, stuck, MNK_RELEASE);
	struct mnk_thread *unregister, *other;

	mnk_forget(test, stuck);
	unregister = mnk_thread_run(test, mnk_unregister_thread, stuck);
	mnk_gate_wait(test, gate);
	mnk_forget(test, free);
	other = mnk_thread_run(test, mnk_unregister_thread, free);
	mnk_thread_join(test, other);
	mnk_expect_running(test, unregister);
	MNK_EXPECT(test, free, CALL_RELEASE);
	mnk_gate_open(gate);
	mnk_thread_join(test, unregister);
}

/* Unregister and callbacks that sleep. */

static const struct sleeper {
	const char *name;
	enum mnk_kind kind;
} sleepers[] = { { "start", MNK_START }, { "end", MNK_END } };

KUNIT_ARRAY_PARAM_DESC(sleepers, sleepers, name);

static void unregister_waits_test(struct kunit *test)
{
	const struct sleeper *sleeper = test->param_value;
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, sub, sleeper->kind);
	struct mnk_thread *section, *unregister;
	unsigned int nr;

	section = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, gate);
	mnk_forget(test, sub);
	unregister = mnk_thread_run(test, mnk_unregister_thread, sub);
	mnk_expect_blocked(test, unregister);

	mnk_gate_open(gate);
	mnk_thread_join(test, unregister);
	nr = sub->nr;
	mnk_thread_join(test, section);
	KUNIT_EXPECT_EQ(test, nr, sub->nr);
	KUNIT_EXPECT_EQ(test, 1, mnk_count(sub, MNK_RELEASE));
	KUNIT_EXPECT_EQ(test, 1, mnk_count(sub, MNK_START));
}

/*
 * Others on the same mm leave while one callback sleeps, wherever they stand:
 * not before the walk has ended, which may have them before it.
 */
static void unregister_same_mm_test(struct kunit *test)
{
	const struct sleeper *sleeper = test->param_value;
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *before = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *stuck = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *behind = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, stuck, sleeper->kind);
	struct mnk_thread *section, *a, *b;
	unsigned int nr[2];

	section = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, gate);
	mnk_forget(test, before);
	mnk_forget(test, behind);
	a = mnk_thread_run(test, mnk_unregister_thread, before);
	b = mnk_thread_run(test, mnk_unregister_thread, behind);
	mnk_expect_blocked(test, a);
	mnk_expect_blocked(test, b);
	nr[0] = before->nr;
	nr[1] = behind->nr;
	mnk_expect_running(test, section);

	/* The walk goes on from the sleeper and misses them. */
	mnk_gate_open(gate);
	mnk_thread_join(test, a);
	mnk_thread_join(test, b);
	mnk_thread_join(test, section);
	KUNIT_EXPECT_EQ(test, nr[0], before->nr);
	KUNIT_EXPECT_EQ(test, nr[1], behind->nr);
	MNK_EXPECT(test, stuck,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));
}

/* Walks that begin later do not delay who leaves, however long they take. */
static void unregister_ignores_later_walk_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *stuck = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *start = mnk_gate_arm(test, stuck, MNK_START);
	struct mnk_gate *end = mnk_gate_arm(test, stuck, MNK_END);
	struct mnk_thread *first, *second, *unregister;

	first = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, start);
	mnk_forget(test, sub);
	unregister = mnk_thread_run(test, mnk_unregister_thread, sub);
	mnk_expect_blocked(test, unregister);
	second = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, end);

	mnk_gate_open(start);
	mnk_thread_join(test, unregister);
	mnk_thread_join(test, first);
	mnk_expect_running(test, second);
	MNK_EXPECT(test, sub, CALL_RELEASE);
	mnk_gate_open(end);
	mnk_thread_join(test, second);
}

static void unregister_ignores_other_mm_test(struct kunit *test)
{
	const struct sleeper *sleeper = test->param_value;
	struct mm_struct *mm = mnk_mm(test), *other = mnk_mm(test);
	struct mnk_sub *stuck = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *sub = mnk_subscribe(test, other, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, stuck, sleeper->kind);
	struct mnk_thread *section, *unregister;

	section = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, gate);
	mnk_forget(test, sub);
	unregister = mnk_thread_run(test, mnk_unregister_thread, sub);
	mnk_thread_join(test, unregister);
	mnk_expect_running(test, section);
	MNK_EXPECT(test, sub, CALL_RELEASE);
	mnk_gate_open(gate);
	mnk_thread_join(test, section);
}

/* Those who stay hear the section that the sleeper holds up, to its end. */
static void walk_goes_on_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *subs[5];
	struct mnk_thread *section, *leave[2];
	struct mnk_gate *gate;
	int i;

	for (i = 0; i < ARRAY_SIZE(subs); i++)
		subs[i] = mnk_subscribe(test, mm, &mnk_range_ops);
	gate = mnk_gate_arm(test, subs[2], MNK_START);
	section = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, gate);
	for (i = 0; i < ARRAY_SIZE(leave); i++) {
		mnk_forget(test, subs[2 * i + 1]);
		leave[i] = mnk_thread_run(test, mnk_unregister_thread,
					  subs[2 * i + 1]);
		mnk_expect_blocked(test, leave[i]);
	}
	mnk_subscribe(test, mm, &mnk_range_ops);
	mnk_gate_open(gate);
	mnk_thread_join(test, section);
	for (i = 0; i < ARRAY_SIZE(leave); i++)
		mnk_thread_join(test, leave[i]);

	for (i = 0; i < ARRAY_SIZE(subs); i += 2)
		MNK_EXPECT(test, subs[i],
			   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
			   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));
}

/* Unregister and callbacks that do not sleep. */

static void unregister_waits_for_atomic_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, sub, MNK_TEST_YOUNG);
	struct mnk_thread *young, *unregister;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");

	young = mnk_thread_run(test, mnk_test_young_thread, mm);
	mnk_gate_wait(test, gate);
	mnk_forget(test, sub);
	unregister = mnk_thread_run(test, mnk_unregister_thread, sub);
	mnk_expect_resting(test, unregister);
	mnk_expect_running(test, young);
	mnk_gate_open(gate);
	mnk_thread_join(test, unregister);
	mnk_thread_join(test, young);
	MNK_EXPECT(test, sub,
		   CALL_PLAIN(MNK_TEST_YOUNG, MNK_ADDR(0), MNK_ADDR(1)),
		   CALL_RELEASE);
}

static struct kunit_case lifetime_cases[] = {
	KUNIT_CASE(release_at_exit_test),
	KUNIT_CASE(dead_after_release_test),
	KUNIT_CASE(list_lives_as_mm_test),
	KUNIT_CASE(release_at_unregister_test),
	KUNIT_CASE(no_release_callback_test),
	KUNIT_CASE(unregister_waits_for_exit_test),
	KUNIT_CASE(exit_waits_for_unregister_test),
	KUNIT_CASE(release_blocks_nobody_test),
	KUNIT_CASE_PARAM(unregister_waits_test, sleepers_gen_params),
	KUNIT_CASE_PARAM(unregister_same_mm_test, sleepers_gen_params),
	KUNIT_CASE(unregister_ignores_later_walk_test),
	KUNIT_CASE_PARAM(unregister_ignores_other_mm_test, sleepers_gen_params),
	KUNIT_CASE(walk_goes_on_test),
	KUNIT_CASE(unregister_waits_for_atomic_test),
	{ }
};

static struct kunit_suite lifetime_suite = {
	.name = "mmu_notifier_lifetime",
	.test_cases = lifetime_cases,
};

kunit_test_suite(lifetime_suite);
