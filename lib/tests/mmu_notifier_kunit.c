// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of the MMU notifiers: registration and what it refuses. */

#include <linux/sched/signal.h>

#include "mmu_notifier_kunit.h"

static int mn_mm_count(struct mm_struct *mm)
{
	return atomic_read(&mm->mm_count);
}

/* Tables that exclude themselves, and some that look strange but are legal. */

struct ops_case {
	const char *name;
	bool start, end, page, arch, test_pages, clear_pages, clear_list;
	int ret;
};

static const struct ops_case ops_cases[] = {
	{ .name = "arch+start",		.arch = 1, .start = 1,	.ret = -EINVAL },
	{ .name = "arch+end",		.arch = 1, .end = 1,	.ret = -EINVAL },
	{ .name = "arch+page",		.arch = 1, .page = 1,	.ret = -EINVAL },
	{ .name = "arch+start+page",	.arch = 1, .start = 1, .page = 1, .ret = -EINVAL },
	{ .name = "page",		.page = 1,		.ret = -EINVAL },
	{ .name = "page+end",		.page = 1, .end = 1,	.ret = -EINVAL },
	{ .name = "test pages",		.test_pages = 1,	.ret = -EINVAL },
	{ .name = "clear pages",	.clear_pages = 1,	.ret = -EINVAL },
	{ .name = "clear list",		.clear_list = 1,	.ret = -EINVAL },
	{ .name = "test+clear pages",	.test_pages = 1, .clear_pages = 1 },
	{ .name = "test+clear pages+clear list", .test_pages = 1, .clear_pages = 1,
	  .clear_list = 1 },
	{ .name = "nothing" },
	{ .name = "start",		.start = 1 },
	{ .name = "end",		.end = 1 },
	{ .name = "page+start",		.page = 1, .start = 1 },
	{ .name = "arch",		.arch = 1 },
};

KUNIT_ARRAY_PARAM_DESC(ops_cases, ops_cases, name);

/* Outlives the test's stack, whatever stays registered. */
static const struct mmu_notifier_ops *make_ops(struct kunit *test,
					       const struct ops_case *c)
{
	struct mmu_notifier_ops *ops = kunit_kzalloc(test, sizeof(*ops),
						     GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ops);
	if (c->start)
		ops->invalidate_range_start = mnk_page_ops.invalidate_range_start;
	if (c->end)
		ops->invalidate_range_end = mnk_page_ops.invalidate_range_end;
	if (c->page)
		ops->invalidate_page = mnk_page_ops.invalidate_page;
	if (c->test_pages)
		ops->test_young_pages = mnk_young_ops.test_young_pages;
	if (c->clear_pages)
		ops->clear_young_pages = mnk_young_ops.clear_young_pages;
	if (c->clear_list)
		ops->clear_young_list = mnk_young_ops.clear_young_list;
	if (c->arch)
		ops->arch_invalidate_secondary_tlbs =
			mnk_arch_ops.arch_invalidate_secondary_tlbs;
	return ops;
}

static void run_every_hook(struct mm_struct *mm)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_folio_start(&section, MMU_NOTIFY_CLEAR, mm,
				 MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_invalidate_page(&section, MNK_ADDR(0), 1);
	mmu_notifier_invalidate_range_end(&section);
	mmu_notifier_clear_flush_young(mm, MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_clear_young(mm, MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_test_young(mm, MNK_ADDR(0));
	mmu_notifier_arch_invalidate_secondary_tlbs(mm, MNK_ADDR(0),
						    MNK_ADDR(1));
}

static void register_ops_test(struct kunit *test)
{
	const struct ops_case *c = test->param_value;
	const struct mmu_notifier_ops *ops = make_ops(test, c);
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_alloc(test, ops);
	int count = mn_mm_count(mm);

	KUNIT_EXPECT_EQ(test, c->ret, mnk_register(test, sub, mm));
	run_every_hook(mm);
	if (c->ret) {
		mnk_expect_silence(test, sub);
		KUNIT_EXPECT_EQ(test, count, mn_mm_count(mm));
		return;
	}
	KUNIT_EXPECT_EQ(test, count + 1, mn_mm_count(mm));
	KUNIT_EXPECT_EQ(test, mnk_count(sub, MNK_START), c->start * (2 - c->page));
	KUNIT_EXPECT_EQ(test, mnk_count(sub, MNK_END), c->end * (2 - c->page));
	KUNIT_EXPECT_EQ(test, mnk_count(sub, MNK_PAGE), c->page);
	KUNIT_EXPECT_EQ(test, mnk_count(sub, MNK_ARCH), c->arch);
	mnk_unsubscribe(test, sub);
	KUNIT_EXPECT_EQ(test, count, mn_mm_count(mm));
}

static void register_null_ops_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_alloc(test, NULL);
	int count = mn_mm_count(mm);

	KUNIT_EXPECT_EQ(test, -EINVAL, mnk_register(test, sub, mm));
	KUNIT_EXPECT_EQ(test, count, mn_mm_count(mm));
}

/* What was refused once can be registered once the reason is gone. */
static void register_after_error_test(struct kunit *test)
{
	const struct ops_case bad = { .page = 1 };
	const struct mmu_notifier_ops *ops = make_ops(test, &bad);
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_alloc(test, ops);

	KUNIT_EXPECT_EQ(test, -EINVAL, mnk_register(test, sub, mm));
	sub->mn.ops = &mnk_range_ops;
	KUNIT_EXPECT_EQ(test, 0, mnk_register(test, sub, mm));
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));
}

static void register_twice_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *other = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *last = mnk_subscribe(test, mm, &mnk_range_ops);
	int count = mn_mm_count(mm);

	KUNIT_EXPECT_EQ(test, -EEXIST, mmu_notifier_register(&sub->mn, mm));
	KUNIT_EXPECT_EQ(test, -EEXIST, mmu_notifier_register(&other->mn, mm));
	KUNIT_EXPECT_EQ(test, -EEXIST, mmu_notifier_register(&last->mn, mm));
	KUNIT_EXPECT_EQ(test, count, mn_mm_count(mm));

	/* The first registration does not suffer, and counts once. */
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));
	mnk_unsubscribe(test, sub);
	KUNIT_EXPECT_EQ(test, count - 1, mn_mm_count(mm));
	MNK_EXPECT(test, sub, CALL_RELEASE);
}

KUNIT_DEFINE_ACTION_WRAPPER(do_mmdrop, mmdrop, struct mm_struct *);

static struct mm_struct *exited_mm(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);

	mmgrab(mm);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, do_mmdrop, mm));
	mnk_mm_exit(test, mm);
	return mm;
}

static void register_exited_mm_test(struct kunit *test)
{
	struct mm_struct *mm = exited_mm(test);
	struct mnk_sub *sub = mnk_alloc(test, &mnk_range_ops);

	KUNIT_EXPECT_EQ(test, -ESRCH, mnk_register(test, sub, mm));
	KUNIT_EXPECT_EQ(test, 1, mn_mm_count(mm));
	run_every_hook(mm);
	mnk_expect_silence(test, sub);
}

/* The caller's mmap_lock stays as it was. */
static void register_locked_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_alloc(test, &mnk_range_ops);
	int ret;

	mmap_write_lock(mm);
	ret = __mmu_notifier_register(&sub->mn, mm);
	KUNIT_EXPECT_FALSE(test, mmap_read_trylock(mm));
	mmap_write_unlock(mm);
	KUNIT_ASSERT_EQ(test, 0, ret);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	KUNIT_EXPECT_EQ(test, 2, sub->nr);
	mmu_notifier_unregister(&sub->mn, mm);
}

/* A pending signal, also a fatal one, does not make registration fail. */
static void register_signal_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_alloc(test, &mnk_range_ops);
	bool fatal;
	int ret;

	spin_lock_irq(&current->sighand->siglock);
	sigaddset(&current->pending.signal, SIGKILL);
	set_tsk_thread_flag(current, TIF_SIGPENDING);
	spin_unlock_irq(&current->sighand->siglock);

	fatal = fatal_signal_pending(current);
	ret = mnk_register(test, sub, mm);

	spin_lock_irq(&current->sighand->siglock);
	sigdelset(&current->pending.signal, SIGKILL);
	recalc_sigpending();
	spin_unlock_irq(&current->sighand->siglock);

	KUNIT_EXPECT_TRUE(test, fatal);
	KUNIT_EXPECT_EQ(test, 0, ret);
}

/* One mm_count for each registration, given back by its end. */
static void mm_count_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	int count = mn_mm_count(mm);
	int users = atomic_read(&mm->mm_users);
	struct mnk_sub *a = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *b = mnk_subscribe(test, mm, &mnk_page_ops);

	KUNIT_EXPECT_EQ(test, count + 2, mn_mm_count(mm));
	mnk_unsubscribe(test, a);
	KUNIT_EXPECT_EQ(test, count + 1, mn_mm_count(mm));
	mnk_unsubscribe(test, b);
	KUNIT_EXPECT_EQ(test, count, mn_mm_count(mm));
	KUNIT_EXPECT_EQ(test, users, atomic_read(&mm->mm_users));
}

/* A subscription can be used again: here, on another mm, with other ops. */
static void register_again_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test), *other = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);

	mnk_unsubscribe(test, sub);
	MNK_EXPECT(test, sub, CALL_RELEASE);

	KUNIT_ASSERT_EQ(test, 0, mnk_register(test, sub, mm));
	mnk_unsubscribe(test, sub);
	MNK_EXPECT(test, sub, CALL_RELEASE);

	sub->mn.ops = &mnk_page_ops;
	KUNIT_ASSERT_EQ(test, 0, mnk_register(test, sub, other));
	run_every_hook(mm);
	mnk_expect_silence(test, sub);
	run_every_hook(other);
	KUNIT_EXPECT_EQ(test, 1, mnk_count(sub, MNK_PAGE));
}

static void unregister_wrong_mm_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test), *other = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	int count, other_count;

	/* The other mm has a list as well: only the subscription can tell. */
	mnk_subscribe(test, other, &mnk_range_ops);
	count = mn_mm_count(mm);
	other_count = mn_mm_count(other);
	kunit_warning_suppress(test) {
		mmu_notifier_unregister(&sub->mn, other);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	mnk_expect_silence(test, sub);
	KUNIT_EXPECT_EQ(test, count, mn_mm_count(mm));
	KUNIT_EXPECT_EQ(test, other_count, mn_mm_count(other));
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));
}

static void unregister_twice_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *other = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	int count;

	mnk_unsubscribe(test, sub);
	MNK_EXPECT(test, sub, CALL_RELEASE);
	count = mn_mm_count(mm);
	kunit_warning_suppress(test) {
		mmu_notifier_unregister(&sub->mn, mm);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	KUNIT_EXPECT_EQ(test, count, mn_mm_count(mm));
	mnk_expect_silence(test, sub);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	KUNIT_EXPECT_EQ(test, 2, other->nr);
}

static void unregister_never_registered_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_alloc(test, &mnk_range_ops);
	int count = mn_mm_count(mm);

	kunit_warning_suppress(test) {
		mmu_notifier_unregister(&sub->mn, mm);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	KUNIT_EXPECT_EQ(test, count, mn_mm_count(mm));
	mnk_expect_silence(test, sub);
}

/*
 * On an mm that nobody subscribed to a section stores nothing, not even into
 * its own storage, also when the hooks are switched on.
 */
static void unsubscribed_mm_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test), *other = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, other, &mnk_page_ops);
	struct mmu_notifier_range poison;
	DEFINE_MMU_NOTIFIER_SECTION(section);
	int ret;

	memset(&poison, 0xa5, sizeof(poison));
	section_range = poison;

	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_UNMAP, mm,
					    MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_invalidate_range_end(&section);
	mmu_notifier_folio_start(&section, MMU_NOTIFY_CLEAR, mm, MNK_ADDR(0),
				 MNK_ADDR(1));
	mmu_notifier_invalidate_page(&section, MNK_ADDR(0), 1);
	mmu_notifier_invalidate_range_end(&section);
	ret = mmu_notifier_invalidate_range_start_nonblock(&section,
							   MMU_NOTIFY_CLEAR, mm,
							   MNK_ADDR(0),
							   MNK_ADDR(1));
	KUNIT_EXPECT_EQ(test, 0, ret);
	mmu_notifier_invalidate_range_end(&section);

	KUNIT_EXPECT_MEMEQ(test, &section_range, &poison, sizeof(poison));
	KUNIT_EXPECT_TRUE(test, static_key_enabled(&mmu_notifier_used));
	KUNIT_EXPECT_FALSE(test, mm_has_notifiers(mm));
	KUNIT_EXPECT_NULL(test, mm->notifier_subscriptions);
	KUNIT_EXPECT_TRUE(test, mm_has_notifiers(other));
	mnk_expect_silence(test, sub);
}

static struct kunit_case mmu_notifier_cases[] = {
	KUNIT_CASE_PARAM(register_ops_test, ops_cases_gen_params),
	KUNIT_CASE(register_null_ops_test),
	KUNIT_CASE(register_after_error_test),
	KUNIT_CASE(register_twice_test),
	KUNIT_CASE(register_exited_mm_test),
	KUNIT_CASE(register_locked_test),
	KUNIT_CASE(register_signal_test),
	KUNIT_CASE(mm_count_test),
	KUNIT_CASE(register_again_test),
	KUNIT_CASE(unregister_wrong_mm_test),
	KUNIT_CASE(unregister_twice_test),
	KUNIT_CASE(unregister_never_registered_test),
	KUNIT_CASE(unsubscribed_mm_test),
	{ }
};

static struct kunit_suite mmu_notifier_suite = {
	.name = "mmu_notifier",
	.test_cases = mmu_notifier_cases,
};

kunit_test_suite(mmu_notifier_suite);

MODULE_DESCRIPTION("KUnit tests of the MMU notifiers");
MODULE_LICENSE("GPL");
