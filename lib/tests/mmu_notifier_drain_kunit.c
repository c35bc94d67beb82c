// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: registration in the middle of sections that
 * run under a lock, as those of the VM do.
 */

#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/rmap.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"

#define MAP_LEN	(4 * PAGE_SIZE)

/* An address space with one VMA for each kind of lock. */
struct drain {
	struct mm_struct *mm;
	unsigned long anon, first, last;
	struct file *first_file, *last_file;
	struct anon_vma *anon_vma;
	struct vm_area_struct *locked_vma;
};

static struct drain *drain_setup(struct kunit *test)
{
	struct drain *d = kunit_kzalloc(test, sizeof(*d), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, d);
	d->first_file = mnk_file(test, MAP_LEN);
	d->last_file = mnk_file(test, MAP_LEN);
	d->first = mnk_map(test, d->first_file, MAP_LEN, MAP_SHARED);
	d->anon = mnk_map_anon(test, MAP_LEN);
	d->last = mnk_map(test, d->last_file, MAP_LEN, MAP_SHARED);
	if (d->last < d->first) {
		swap(d->first, d->last);
		swap(d->first_file, d->last_file);
	}
	d->mm = current->mm;

	/* A page brings the anon_vma. */
	mnk_write(test, d->anon);
	d->anon_vma = mnk_vma(test, d->anon)->anon_vma;
	KUNIT_ASSERT_NOT_NULL(test, d->anon_vma);
	return d;
}

/* The locks under which sections run. */

static void lock_first_mapping(struct drain *d)
{
	i_mmap_lock_read(d->first_file->f_mapping);
}

static void unlock_first_mapping(struct drain *d)
{
	i_mmap_unlock_read(d->first_file->f_mapping);
}

static void lock_last_mapping(struct drain *d)
{
	i_mmap_lock_write(d->last_file->f_mapping);
}

static void unlock_last_mapping(struct drain *d)
{
	i_mmap_unlock_write(d->last_file->f_mapping);
}

static void lock_anon_vma(struct drain *d)
{
	anon_vma_lock_read(d->anon_vma);
}

static void unlock_anon_vma(struct drain *d)
{
	anon_vma_unlock_read(d->anon_vma);
}

static void lock_vma(struct drain *d)
{
	d->locked_vma = lock_vma_under_rcu(d->mm, d->anon);
}

static void unlock_vma(struct drain *d)
{
	vma_end_read(d->locked_vma);
}

static void lock_mmap(struct drain *d)
{
	mmap_read_lock(d->mm);
}

static void unlock_mmap(struct drain *d)
{
	mmap_read_unlock(d->mm);
}

/* Under mmap_lock nothing can be published; under the others it is at once. */
static const struct drain_lock {
	const char *name;
	void (*lock)(struct drain *d);
	void (*unlock)(struct drain *d);
	bool published;
} drain_locks[] = {
	{ "i_mmap_rwsem of the first VMA", lock_first_mapping, unlock_first_mapping, true },
	{ "i_mmap_rwsem of the last VMA", lock_last_mapping, unlock_last_mapping, true },
	{ "anon_vma", lock_anon_vma, unlock_anon_vma, true },
	{ "VMA", lock_vma, unlock_vma, true },
	{ "mmap_lock", lock_mmap, unlock_mmap, false },
};

KUNIT_ARRAY_PARAM_DESC(drain_locks, drain_locks, name);

struct registration {
	struct mnk_sub *sub;
	struct mm_struct *mm;
	int ret;
};

static void register_thread(void *data)
{
	struct registration *r = data;

	r->ret = mmu_notifier_register(&r->sub->mn, r->mm);
}

static void unregister_sub(void *data)
{
	struct mnk_sub *sub = data;

	mmu_notifier_unregister(&sub->mn, sub->mn.mm);
}

static struct registration *registration(struct kunit *test,
					 struct mm_struct *mm)
{
	struct registration *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, r);
	r->sub = mnk_alloc(test, &mnk_range_ops);
	r->mm = mm;
	r->ret = -EINPROGRESS;
	return r;
}

/*
 * A section that began before registration does not know the newcomer and goes
 * on changing entries until it drops its lock. Registration returns after that.
 */
static void drain_test(struct kunit *test)
{
	const struct drain_lock *lock = test->param_value;
	struct drain *d = drain_setup(test);
	struct registration *r = registration(test, d->mm);
	struct mnk_thread *thread;
	DEFINE_MMU_NOTIFIER_SECTION(section);

	if (!IS_ENABLED(CONFIG_PER_VMA_LOCK) && lock->lock == lock_vma)
		kunit_skip(test, "no per-VMA locks");

	lock->lock(d);
	if (lock->lock == lock_vma)
		KUNIT_ASSERT_NOT_NULL(test, d->locked_vma);
	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR, d->mm,
					    MNK_ADDR(0), MNK_ADDR(1));
	thread = mnk_thread_run(test, register_thread, r);
	mnk_expect_blocked(test, thread);

	/* The other sections that this thread might start are heard already. */
	mnk_section(d->mm, MNK_ADDR(2), MNK_ADDR(3));
	KUNIT_EXPECT_EQ(test, r->sub->nr, lock->published ? 2 : 0);
	KUNIT_EXPECT_EQ(test, r->ret, -EINPROGRESS);
	r->sub->nr = 0;

	mmu_notifier_invalidate_range_end(&section);
	mnk_expect_silence(test, r->sub);
	mnk_expect_running(test, thread);
	lock->unlock(d);
	mnk_thread_join(test, thread);
	KUNIT_ASSERT_EQ(test, r->ret, 0);

	mnk_section(d->mm, MNK_ADDR(2), MNK_ADDR(3));
	KUNIT_EXPECT_EQ(test, r->sub->nr, 2);
	unregister_sub(r->sub);
}

/* While it waits for one lock, registration holds no lock of another file. */
static void one_lock_at_a_time_test(struct kunit *test)
{
	struct drain *d = drain_setup(test);
	struct registration *r = registration(test, d->mm);
	struct mnk_thread *thread;
	struct address_space *first = d->first_file->f_mapping;
	struct address_space *last = d->last_file->f_mapping;
	bool free;

	i_mmap_lock_write(last);
	thread = mnk_thread_run(test, register_thread, r);
	mnk_expect_blocked(test, thread);

	free = i_mmap_trylock_write(first);
	KUNIT_EXPECT_TRUE(test, free);
	if (free)
		i_mmap_unlock_write(first);
	free = anon_vma_trylock_write(d->anon_vma);
	KUNIT_EXPECT_TRUE(test, free);
	if (free)
		anon_vma_unlock_write(d->anon_vma);

	i_mmap_unlock_write(last);
	mnk_thread_join(test, thread);
	KUNIT_ASSERT_EQ(test, r->ret, 0);
	unregister_sub(r->sub);
}

/* Nothing stays locked behind a registration. */
static void nothing_locked_test(struct kunit *test)
{
	struct drain *d = drain_setup(test);
	struct mnk_sub *sub = mnk_subscribe(test, d->mm, &mnk_range_ops);
	int i;

	for (i = 0; i < ARRAY_SIZE(drain_locks); i++) {
		if (drain_locks[i].lock == lock_vma)
			continue;
		drain_locks[i].lock(d);
		drain_locks[i].unlock(d);
	}
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&d->mm->mmap_lock));
	mnk_unsubscribe(test, sub);
}

static struct kunit_case drain_cases[] = {
	KUNIT_CASE_PARAM(drain_test, drain_locks_gen_params),
	KUNIT_CASE(one_lock_at_a_time_test),
	KUNIT_CASE(nothing_locked_test),
	{ }
};

static struct kunit_suite drain_suite = {
	.name = "mmu_notifier_drain",
	.test_cases = drain_cases,
};

kunit_test_suite(drain_suite);
