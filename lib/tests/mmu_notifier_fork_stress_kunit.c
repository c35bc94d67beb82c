// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: a process forks, and its children exit, while
 * others subscribe to all of them in each way there is and sections run.
 *
 * Whoever subscribes knows which sections it has heard the start of, so that an
 * end too many shows at once. Its memory is freed behind the last callback: one
 * that comes too late shows with KASAN.
 */

#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_CHILDREN	40
#define NR_STEPS	200	/* in the life of a child */
#define NR_PAGES	8
#define MAX_OPEN	32

/**
 * struct family - a process and the child it has at the moment
 * @lock: protects @child
 * @parent: the mm of the test
 * @child: that of the child, NULL if there is none
 * @start: address of memory that all of them have
 * @stop: the threads shall end
 * @violations: broken promises
 * @steps: what all threads have done so far
 * @allocs: subscriptions of mmu_notifier_get()
 * @frees: of them, those that were freed
 * @releases: calls of release
 * @ends: sections that somebody heard from start to end
 * @invalidations: sections that an interval heard
 */
static struct family {
	spinlock_t lock;	/* child */
	struct mm_struct *parent, *child;
	unsigned long start;
	bool stop;
	atomic_t violations, steps, allocs, frees, releases, ends, invalidations;
} family;

static void require(bool holds)
{
	if (!holds)
		atomic_inc(&family.violations);
}

/* The parent for odd turns, else the child; or NULL. The caller has mm_users. */
static struct mm_struct *get_mm(unsigned int turn)
{
	struct mm_struct *mm;

	guard(spinlock)(&family.lock);

	mm = turn & 1 ? family.parent : family.child;
	return mm && mmget_not_zero(mm) ? mm : NULL;
}

/* Subscribers. */

/**
 * struct member - a subscriber
 * @mn: the subscription
 * @lock: protects @open
 * @open: sections whose start it has heard
 * @alive: callbacks may come
 * @released: release has come
 */
struct member {
	struct mmu_notifier mn;
	spinlock_t lock;	/* open */
	const struct mmu_notifier_range *open[MAX_OPEN];
	bool alive;
	atomic_t released;
};

static struct member *to_member(struct mmu_notifier *mn)
{
	return container_of(mn, struct member, mn);
}

/* Replaces one entry of the open sections. Was it there? */
static bool replace_open(struct member *m, const struct mmu_notifier_range *old,
			 const struct mmu_notifier_range *new)
{
	int i;

	guard(spinlock)(&m->lock);

	for (i = 0; i < MAX_OPEN; i++) {
		if (m->open[i] != old)
			continue;
		m->open[i] = new;
		return true;
	}
	return false;
}

static int member_start(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	struct member *m = to_member(mn);

	require(READ_ONCE(m->alive) && range->mm == mn->mm);
	require(replace_open(m, NULL, range));
	return 0;
}

static void member_end(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	require(READ_ONCE(to_member(mn)->alive));
	require(replace_open(to_member(mn), range, NULL));
	atomic_inc(&family.ends);
}

static void member_page(struct mmu_notifier *mn, struct mm_struct *mm,
			unsigned long address, unsigned long nr_pages,
			enum mmu_notifier_event event)
{
	require(READ_ONCE(to_member(mn)->alive) && mm == mn->mm);
}

static void member_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct member *m = to_member(mn);

	require(READ_ONCE(m->alive) && atomic_inc_return(&m->released) == 1);
	atomic_inc(&family.releases);
}

static struct member *member_alloc(void)
{
	struct member *m = kzalloc_obj(*m);

	if (!m)
		return NULL;
	spin_lock_init(&m->lock);
	m->alive = true;
	return m;
}

static struct mmu_notifier *get_alloc(struct mm_struct *mm)
{
	struct member *m = member_alloc();

	if (!m)
		return ERR_PTR(-ENOMEM);
	atomic_inc(&family.allocs);
	return &m->mn;
}

static void get_free(struct mmu_notifier *mn)
{
	WRITE_ONCE(to_member(mn)->alive, false);
	kfree(to_member(mn));
	atomic_inc(&family.frees);
}

static const struct mmu_notifier_ops member_range_ops = {
	.release = member_release,
	.invalidate_range_start = member_start,
	.invalidate_range_end = member_end,
};

static const struct mmu_notifier_ops member_page_ops = {
	.release = member_release,
	.invalidate_page = member_page,
	.invalidate_range_start = member_start,
	.invalidate_range_end = member_end,
};

static const struct mmu_notifier_ops member_get_ops = {
	.release = member_release,
	.invalidate_range_start = member_start,
	.invalidate_range_end = member_end,
	.alloc_notifier = get_alloc,
	.free_notifier = get_free,
};

static void register_once(unsigned int turn, struct mm_struct *mm)
{
	struct member *m = member_alloc();
	int ret;

	if (!m)
		return;
	m->mn.ops = turn & 2 ? &member_page_ops : &member_range_ops;
	ret = mmu_notifier_register(&m->mn, mm);
	require(!ret);
	/* The child may exit from here on. */
	mmput(mm);
	cond_resched();
	if (!ret) {
		mmu_notifier_unregister(&m->mn, m->mn.mm);
		require(atomic_read(&m->released) == 1);
	}
	WRITE_ONCE(m->alive, false);
	kfree(m);
}

/* Two threads that do this share what they get. */
static void get_once(unsigned int turn, struct mm_struct *mm)
{
	struct mmu_notifier *mn = mmu_notifier_get(&member_get_ops, mm);

	require(!IS_ERR(mn));
	mmput(mm);
	cond_resched();
	if (!IS_ERR(mn))
		mmu_notifier_put(mn);
}

/* Intervals. */

struct spell {
	struct mmu_interval_notifier itv;
	bool alive;
};

static bool spell_invalidate(struct mmu_interval_notifier *itv,
			     const struct mmu_notifier_range *range,
			     unsigned long seq)
{
	require(READ_ONCE(container_of(itv, struct spell, itv)->alive));
	mmu_interval_set_seq(itv, seq);
	atomic_inc(&family.invalidations);
	return true;
}

static const struct mmu_interval_notifier_ops spell_ops = {
	.invalidate = spell_invalidate,
};

static void interval_once(unsigned int turn, struct mm_struct *mm)
{
	struct spell *s = kzalloc_obj(*s);
	int ret;

	if (!s)
		return;
	s->alive = true;
	ret = mmu_interval_notifier_insert(&s->itv, mm, family.start,
					   NR_PAGES * PAGE_SIZE, &spell_ops);
	require(!ret);
	mmput(mm);
	if (!ret) {
		mmu_interval_read_begin(&s->itv);
		mmu_interval_notifier_remove(&s->itv);
	}
	WRITE_ONCE(s->alive, false);
	kfree(s);
}

/* Sections: of the VM in the parent, of our own in the child. */

static void section_once(unsigned int turn, struct mm_struct *mm)
{
	unsigned long addr = family.start + turn % NR_PAGES * PAGE_SIZE;

	if (mm == family.parent) {
		kthread_use_mm(mm);
		/* Copies what a child shares. */
		require(!put_user(1, (char __user *)addr));
		require(!do_madvise(mm, addr, PAGE_SIZE, MADV_DONTNEED));
		kthread_unuse_mm(mm);
	} else {
		mmap_read_lock(mm);
		mnk_section(mm, addr, addr + PAGE_SIZE);
		mmap_read_unlock(mm);
	}
	mmput(mm);
}

/* Threads. */

static void (*const jobs[])(unsigned int turn, struct mm_struct *mm) = {
	register_once, register_once, get_once, get_once, interval_once,
	section_once, section_once,
};

static void job_thread(void *data)
{
	void (*const *job)(unsigned int turn, struct mm_struct *mm) = data;
	unsigned int turn = 0;
	struct mm_struct *mm;

	while (!READ_ONCE(family.stop)) {
		mm = get_mm(++turn);
		if (mm) {
			(*job)(turn, mm);
			atomic_inc(&family.steps);
		}
		cond_resched();
	}
}

static void stop_threads(void *unused)
{
	WRITE_ONCE(family.stop, true);
}

static void set_child(struct mm_struct *mm)
{
	guard(spinlock)(&family.lock);
	family.child = mm;
}

/* It goes away while somebody holds it, or with a subscriber, or with the last. */
static void raise_child(struct kunit *test)
{
	struct mnk_process *process = mnk_fork(test);
	int steps = atomic_read(&family.steps);

	set_child(process->mm);
	mnk_wait_for(test, atomic_read(&family.steps) - steps > NR_STEPS);
	set_child(NULL);
	mnk_end(test, process);
}

static void family_test(struct kunit *test)
{
	struct mnk_thread *threads[ARRAY_SIZE(jobs)];
	int i;

	memset(&family, 0, sizeof(family));
	spin_lock_init(&family.lock);
	family.start = mnk_map_anon(test, NR_PAGES * PAGE_SIZE);
	family.parent = current->mm;
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		threads[i] = mnk_thread_run(test, job_thread, (void *)&jobs[i]);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, stop_threads,
							   NULL));
	for (i = 0; i < NR_CHILDREN; i++)
		raise_child(test);
	kunit_release_action(test, stop_threads, NULL);
	for (i = 0; i < ARRAY_SIZE(jobs); i++)
		mnk_thread_join(test, threads[i]);
	mmu_notifier_synchronize();

	KUNIT_EXPECT_EQ(test, atomic_read(&family.violations), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&family.allocs),
			atomic_read(&family.frees));
	KUNIT_EXPECT_GT(test, atomic_read(&family.allocs), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&family.releases), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&family.ends), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&family.invalidations), 0);
	kunit_info(test, "%d steps, %d releases, %d sections\n",
		   atomic_read(&family.steps), atomic_read(&family.releases),
		   atomic_read(&family.ends));
}

static struct kunit_case fork_stress_cases[] = {
	KUNIT_CASE_SLOW(family_test),
	{ }
};

static struct kunit_suite fork_stress_suite = {
	.name = "mmu_notifier_fork_stress",
	.test_cases = fork_stress_cases,
};

kunit_test_suite(fork_stress_suite);
