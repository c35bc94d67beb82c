// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of the MMU notifiers: get, put and synchronize. */

#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/slab.h>

#include "mmu_notifier_kunit.h"

/*
 * alloc_notifier has no room for an argument and free_notifier takes the
 * subscription away: what the tests look at afterwards is here.
 */
static struct get_state {
	struct mmu_notifier *alloc_ret;
	struct mnk_sub *newest;
	unsigned int allocs;
	atomic_t frees;
	struct mm_struct *alloc_mm;
	struct mnk_sub *freed;
	unsigned int freed_calls[MNK_NR_KINDS];
	atomic_t released;
	struct mnk_gate *free_gate;
} get;

static struct mmu_notifier *get_alloc(struct mm_struct *mm)
{
	struct mnk_sub *sub;

	mmap_assert_write_locked(mm);
	get.allocs++;
	get.alloc_mm = mm;
	if (get.alloc_ret)
		return IS_ERR(get.alloc_ret) ? get.alloc_ret : NULL;
	sub = kzalloc_obj(*sub);
	if (!sub)
		return ERR_PTR(-ENOMEM);
	mnk_sub_init(sub, NULL);
	get.newest = sub;
	return &sub->mn;
}

static void get_free(struct mmu_notifier *mn)
{
	struct mnk_sub *sub = container_of(mn, struct mnk_sub, mn);
	int kind;

	if (get.free_gate && !atomic_xchg(&get.free_gate->used, 1)) {
		complete(&get.free_gate->entered);
		wait_for_completion_timeout(&get.free_gate->leave, MNK_TIMEOUT);
	}
	for (kind = 0; kind < MNK_NR_KINDS; kind++)
		get.freed_calls[kind] = mnk_count(sub, kind);
	atomic_add(get.freed_calls[MNK_RELEASE], &get.released);
	get.freed = sub;
	kfree(sub);
	atomic_inc(&get.frees);
}

static struct mmu_notifier_ops get_ops, other_ops;

static int get_init(struct kunit *test)
{
	memset(&get, 0, sizeof(get));
	get_ops = mnk_range_ops;
	get_ops.alloc_notifier = get_alloc;
	get_ops.free_notifier = get_free;
	other_ops = get_ops;
	return 0;
}

static unsigned int frees(void)
{
	return atomic_read(&get.frees);
}

/* No test leaves a free behind to the next one. */
static void get_exit(struct kunit *test)
{
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, frees(), get.allocs - !!get.alloc_ret);
}

static struct mnk_sub *get_sub(struct kunit *test, struct mm_struct *mm,
			       const struct mmu_notifier_ops *ops)
{
	struct mmu_notifier *mn = mmu_notifier_get(ops, mm);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mn);
	return container_of(mn, struct mnk_sub, mn);
}

static void synchronize_thread(void *unused)
{
	mmu_notifier_synchronize();
}

static struct mnk_gate *stop_at_free(struct kunit *test)
{
	struct mnk_gate *gate = kunit_kzalloc(test, sizeof(*gate), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, gate);
	mnk_gate_init(gate);
	get.free_gate = gate;
	return gate;
}

/* One subscription for an mm and a table, counted. */
static void get_same_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test), *mm2 = mnk_mm(test);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops);
	struct mnk_sub *ops2, *other;

	KUNIT_EXPECT_PTR_EQ(test, get.alloc_mm, mm);
	KUNIT_EXPECT_PTR_EQ(test, sub->mn.mm, mm);
	KUNIT_EXPECT_PTR_EQ(test, sub->mn.ops, &get_ops);
	KUNIT_EXPECT_PTR_EQ(test, sub, get_sub(test, mm, &get_ops));
	KUNIT_EXPECT_EQ(test, 1, get.allocs);

	ops2 = get_sub(test, mm, &other_ops);
	other = get_sub(test, mm2, &get_ops);
	KUNIT_EXPECT_EQ(test, 3, get.allocs);
	KUNIT_EXPECT_PTR_NE(test, sub, ops2);
	KUNIT_EXPECT_PTR_NE(test, sub, other);

	mmu_notifier_put(&ops2->mn);
	mmu_notifier_put(&other->mn);
	mmu_notifier_put(&sub->mn);
	mmu_notifier_put(&sub->mn);
}

static void put_counts_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	int count = atomic_read(&mm->mm_count);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops);

	get_sub(test, mm, &get_ops);
	KUNIT_EXPECT_EQ(test, count + 1, atomic_read(&mm->mm_count));
	mmu_notifier_put(&sub->mn);
	mmu_notifier_synchronize();
	KUNIT_ASSERT_EQ(test, 0, frees());
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));

	mmu_notifier_put(&sub->mn);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, 1, frees());
	KUNIT_EXPECT_PTR_EQ(test, get.freed, sub);
	KUNIT_EXPECT_EQ(test, count, atomic_read(&mm->mm_count));
	/* The put is the end: nobody calls release any more. */
	KUNIT_EXPECT_EQ(test, 0, get.freed_calls[MNK_RELEASE]);
}

/* What is put hears nothing that starts later, also before it is freed. */
static void put_silences_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops);
	struct mnk_gate *gate = stop_at_free(test);

	mmu_notifier_put(&sub->mn);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_test_young(mm, MNK_ADDR(0));
	mnk_gate_wait(test, gate);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_test_young(mm, MNK_ADDR(0));
	mnk_expect_silence(test, sub);
	mnk_gate_open(gate);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, 1, frees());
}

/* Nothing is freed while a callback runs. */
static void put_waits_for_callback_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, sub, MNK_START);
	struct mnk_thread *section, *sync;

	section = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, gate);
	mmu_notifier_put(&sub->mn);
	sync = mnk_thread_run(test, synchronize_thread, NULL);
	mnk_expect_blocked(test, sync);
	KUNIT_EXPECT_EQ(test, 0, frees());

	mnk_gate_open(gate);
	mnk_thread_join(test, sync);
	KUNIT_EXPECT_EQ(test, 1, frees());
	mnk_thread_join(test, section);
	KUNIT_EXPECT_EQ(test, 1, get.freed_calls[MNK_START]);
	KUNIT_EXPECT_EQ(test, 0, get.freed_calls[MNK_END]);
}

static void put_waits_for_atomic_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, sub, MNK_TEST_YOUNG);
	struct mnk_thread *young, *sync;

	if (num_online_cpus() < 2) {
		mmu_notifier_put(&sub->mn);
		kunit_skip(test, "needs two CPUs");
	}

	young = mnk_thread_run(test, mnk_test_young_thread, mm);
	mnk_gate_wait(test, gate);
	mmu_notifier_put(&sub->mn);
	sync = mnk_thread_run(test, synchronize_thread, NULL);
	mnk_expect_resting(test, sync);
	KUNIT_EXPECT_EQ(test, 0, frees());
	mnk_gate_open(gate);
	mnk_thread_join(test, sync);
	mnk_thread_join(test, young);
	KUNIT_EXPECT_EQ(test, 1, frees());
	KUNIT_EXPECT_EQ(test, 1, get.freed_calls[MNK_TEST_YOUNG]);
}

/* ... and synchronize returns when the free callback has. */
static void synchronize_waits_for_free_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops);
	struct mnk_gate *gate = stop_at_free(test);
	struct mnk_thread *sync;

	mmu_notifier_put(&sub->mn);
	mnk_gate_wait(test, gate);
	sync = mnk_thread_run(test, synchronize_thread, NULL);
	mnk_expect_blocked(test, sync);
	KUNIT_EXPECT_EQ(test, 0, frees());
	mnk_gate_open(gate);
	mnk_thread_join(test, sync);
	KUNIT_EXPECT_EQ(test, 1, frees());
}

/* One that is given up is not found again, although it is still listed. */
static void get_after_put_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops), *new;
	struct mnk_gate *gate = mnk_gate_arm(test, sub, MNK_START);
	struct mnk_thread *section;

	section = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, gate);
	mmu_notifier_put(&sub->mn);
	new = get_sub(test, mm, &get_ops);
	KUNIT_EXPECT_PTR_NE(test, sub, new);
	KUNIT_EXPECT_EQ(test, 2, get.allocs);
	mnk_gate_open(gate);
	mnk_thread_join(test, section);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, 1, frees());
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	KUNIT_EXPECT_EQ(test, 2, new->nr);
	mmu_notifier_put(&new->mn);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, 2, frees());
	KUNIT_EXPECT_PTR_EQ(test, get.freed, new);
}

static void get_alloc_error_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	int count = atomic_read(&mm->mm_count);

	get.alloc_ret = ERR_PTR(-EXDEV);
	KUNIT_EXPECT_PTR_EQ(test, mmu_notifier_get(&get_ops, mm),
			    ERR_PTR(-EXDEV));
	KUNIT_EXPECT_EQ(test, count, atomic_read(&mm->mm_count));
	KUNIT_EXPECT_EQ(test, 1, get.allocs);
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&mm->mmap_lock));
}

static void get_incomplete_ops_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);

	KUNIT_EXPECT_PTR_EQ(test, mmu_notifier_get(&mnk_range_ops, mm),
			    ERR_PTR(-EINVAL));
	get_ops.free_notifier = NULL;
	KUNIT_EXPECT_PTR_EQ(test, mmu_notifier_get(&get_ops, mm),
			    ERR_PTR(-EINVAL));
	KUNIT_EXPECT_EQ(test, 0, get.allocs);
}

/* Registration fails behind alloc: what was allocated is freed, once. */
static void get_register_error_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	int count = atomic_read(&mm->mm_count);

	get_ops.arch_invalidate_secondary_tlbs =
		mnk_arch_ops.arch_invalidate_secondary_tlbs;
	KUNIT_EXPECT_PTR_EQ(test, mmu_notifier_get(&get_ops, mm),
			    ERR_PTR(-EINVAL));
	KUNIT_EXPECT_EQ(test, 1, get.allocs);
	KUNIT_EXPECT_EQ(test, 1, frees());
	KUNIT_EXPECT_EQ(test, count, atomic_read(&mm->mm_count));
}

static void get_exited_mm_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);

	mmgrab(mm);
	mnk_mm_exit(test, mm);
	KUNIT_EXPECT_PTR_EQ(test, mmu_notifier_get(&get_ops, mm),
			    ERR_PTR(-ESRCH));
	KUNIT_EXPECT_EQ(test, frees(), get.allocs);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_count));
	mmdrop(mm);
}

static void get_overflow_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops);

	sub->mn.users = UINT_MAX;
	KUNIT_EXPECT_PTR_EQ(test, mmu_notifier_get(&get_ops, mm),
			    ERR_PTR(-EOVERFLOW));
	KUNIT_EXPECT_EQ(test, UINT_MAX, sub->mn.users);
	KUNIT_EXPECT_EQ(test, 1, get.allocs);
	sub->mn.users = 1;
	mmu_notifier_put(&sub->mn);
}

static void get_locked_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mmu_notifier *a, *b;

	mmap_write_lock(mm);
	a = mmu_notifier_get_locked(&get_ops, mm);
	b = mmu_notifier_get_locked(&get_ops, mm);
	mmap_write_unlock(mm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, a);
	KUNIT_EXPECT_PTR_EQ(test, a, b);
	mmu_notifier_put(a);
	mmu_notifier_put(b);
}

/* What was registered can be put as well: it has one reference. */
static void put_registered_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mmu_notifier *mn;

	mmap_write_lock(mm);
	mn = get_alloc(mm);
	mmap_write_unlock(mm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mn);
	mn->ops = &get_ops;
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(mn, mm));
	mmu_notifier_put(mn);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, 1, frees());
	KUNIT_EXPECT_EQ(test, 0, get.freed_calls[MNK_RELEASE]);
}

static void put_in_release(struct mnk_sub *sub, const struct mnk_call *call)
{
	if (call->kind == MNK_RELEASE)
		mmu_notifier_put(&sub->mn);
}

/* Exit calls release, release gives the last reference back. */
static void put_in_release_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops);

	mmgrab(mm);
	sub->hook = put_in_release;
	mnk_mm_exit(test, mm);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, 1, frees());
	KUNIT_EXPECT_EQ(test, 1, get.freed_calls[MNK_RELEASE]);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_count));
	mmdrop(mm);
}

static void put_both_in_release(struct mnk_sub *sub, const struct mnk_call *call)
{
	struct mnk_sub *next = sub->data;

	if (call->kind != MNK_RELEASE)
		return;
	mmu_notifier_put(&sub->mn);
	mmu_notifier_put(&next->mn);
}

/*
 * Exit stands on one that is put, and then the one behind it is. It still comes by
 * there, and has nothing to call any more.
 */
static void put_next_in_release_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *next = get_sub(test, mm, &get_ops);
	struct mnk_sub *sub = get_sub(test, mm, &other_ops);

	sub->hook = put_both_in_release;
	sub->data = next;
	mnk_mm_exit(test, mm);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, 2, frees());
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&get.released));
}

/* The subscription outlives the mm, if nobody puts it at release. */
static void put_after_exit_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops);

	mnk_mm_exit(test, mm);
	MNK_EXPECT(test, sub, CALL_RELEASE);
	KUNIT_EXPECT_PTR_EQ(test, sub->mn.mm, mm);
	KUNIT_EXPECT_FALSE(test, mmget_not_zero(sub->mn.mm));
	/* The last mm_count goes with it, from the workqueue. */
	mmu_notifier_put(&sub->mn);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, 1, frees());
}

/* Exit neither calls release of what is put, nor waits for its free. */
static void exit_after_put_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = get_sub(test, mm, &get_ops);
	struct mnk_gate *gate = stop_at_free(test);

	mmu_notifier_put(&sub->mn);
	mnk_gate_wait(test, gate);
	mnk_mm_exit(test, mm);
	KUNIT_EXPECT_EQ(test, 0, frees());
	mnk_gate_open(gate);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, 1, frees());
	KUNIT_EXPECT_EQ(test, 0, get.freed_calls[MNK_RELEASE]);
}

static struct kunit_case get_cases[] = {
	KUNIT_CASE(get_same_test),
	KUNIT_CASE(put_counts_test),
	KUNIT_CASE(put_silences_test),
	KUNIT_CASE(put_waits_for_callback_test),
	KUNIT_CASE(put_waits_for_atomic_test),
	KUNIT_CASE(synchronize_waits_for_free_test),
	KUNIT_CASE(get_after_put_test),
	KUNIT_CASE(get_alloc_error_test),
	KUNIT_CASE(get_incomplete_ops_test),
	KUNIT_CASE(get_register_error_test),
	KUNIT_CASE(get_exited_mm_test),
	KUNIT_CASE(get_overflow_test),
	KUNIT_CASE(get_locked_test),
	KUNIT_CASE(put_registered_test),
	KUNIT_CASE(put_in_release_test),
	KUNIT_CASE(put_next_in_release_test),
	KUNIT_CASE(put_after_exit_test),
	KUNIT_CASE(exit_after_put_test),
	{ }
};

static struct kunit_suite get_suite = {
	.name = "mmu_notifier_get",
	.init = get_init,
	.exit = get_exit,
	.test_cases = get_cases,
};

kunit_test_suite(get_suite);
