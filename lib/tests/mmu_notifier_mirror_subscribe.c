// SPDX-License-Identifier: GPL-2.0
/*
 * The four subscribers, and how each of them faults a translation in: as
 * Documentation/mm/mmu_notifier.rst tells a driver to.
 */
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "../../mm/mmu_notifier_internal.h"
#include "mmu_notifier_mirror_internal.h"

#define MIRROR_INTERVAL_SIZE	SZ_2M
/* Times that a fault is tried; the device would fault again. */
#define MIRROR_TRIES		8

static struct mirror *mirror_of(struct mmu_notifier *mn)
{
	return container_of(mn, struct mirror, mn);
}

static void mirror_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	mirror_clear(mirror_of(mn));
}

/* MIRROR_PAGE and MIRROR_RANGE. */

static void mirror_invalidate_page(struct mmu_notifier *mn, struct mm_struct *mm,
				   unsigned long address, unsigned long nr_pages,
				   enum mmu_notifier_event event)
{
	mirror_page(mirror_of(mn), address, address + nr_pages * PAGE_SIZE, false);
}

static void mirror_invalidate_page_batched(struct mmu_notifier *mn, struct mm_struct *mm,
					   unsigned long address, unsigned long nr_pages,
					   enum mmu_notifier_event event)
{
	mirror_page(mirror_of(mn), address, address + nr_pages * PAGE_SIZE, true);
}

static void mirror_flush_batch(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct mirror *m = mirror_of(mn);

	guard(spinlock)(&m->lock);

	mirror_flush(m);
}

static int mirror_range_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	mirror_open(mirror_of(mn), range->start, range->end);
	return 0;
}

static void mirror_range_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	mirror_close(mirror_of(mn), range->start, range->end);
}

static const struct mmu_notifier_ops page_ops = {
	.release = mirror_release,
	.invalidate_page = mirror_invalidate_page,
	.invalidate_page_batched = mirror_invalidate_page_batched,
	.flush_batch = mirror_flush_batch,
	.invalidate_range_start = mirror_range_start,
	.invalidate_range_end = mirror_range_end,
};

static const struct mmu_notifier_ops range_ops = {
	.release = mirror_release,
	.invalidate_range_start = mirror_range_start,
	.invalidate_range_end = mirror_range_end,
};

/* MIRROR_SLEEPY. */

/* Sleeps in one of 32 calls, so that others go on while a section is open. */
static void doze(struct mirror *m, unsigned long address)
{
	u64 call = READ_ONCE(m->dozes);

	WRITE_ONCE(m->dozes, call + 1);
	if (hash_64(address ^ m->space->setup.seed ^ call << 32, 5))
		cond_resched();
	else
		usleep_range(20, 100);
}

static int sleepy_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct mirror *m = mirror_of(mn);

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&m->device);
	else if (!mutex_trylock(&m->device))
		return -EAGAIN;

	if (mmu_notifier_range_blockable(range))
		doze(m, range->start);
	mirror_open(m, range->start, range->end);
	mutex_unlock(&m->device);
	return 0;
}

static void sleepy_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct mirror *m = mirror_of(mn);

	if (mmu_notifier_range_blockable(range))
		doze(m, range->end);
	mirror_close(m, range->start, range->end);
}

static const struct mmu_notifier_ops sleepy_ops = {
	.release = mirror_release,
	.invalidate_range_start = sleepy_start,
	.invalidate_range_end = sleepy_end,
};

/* MIRROR_INTERVAL: every other interval does it in two passes. */

struct mirror_finish {
	struct mmu_interval_notifier_finish finish;
	unsigned long start;
	unsigned long end;
};

static struct mirror *mirror_of_interval(struct mmu_interval_notifier *mni)
{
	return container_of(mni, struct mirror_interval, mni)->mirror;
}

static bool lock_interval(struct mirror *m, struct mmu_interval_notifier *mni,
			  const struct mmu_notifier_range *range, unsigned long seq)
{
	if (mmu_notifier_range_blockable(range))
		mutex_lock(&m->device);
	else if (!mutex_trylock(&m->device))
		return false;
	mmu_interval_set_seq(mni, seq);
	return true;
}

/* What of @range is in the interval. */
static void drop_interval(struct mirror *m, struct mmu_interval_notifier *mni,
			  unsigned long start, unsigned long end)
{
	mirror_drop(m, max(start, mni->interval_tree.start),
		    min(end, mni->interval_tree.last + 1));
}

static bool interval_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *m = mirror_of_interval(mni);

	if (!lock_interval(m, mni, range, seq))
		return false;
	drop_interval(m, mni, range->start, range->end);
	mutex_unlock(&m->device);
	return true;
}

static bool interval_start(struct mmu_interval_notifier *mni,
			   const struct mmu_notifier_range *range, unsigned long seq,
			   struct mmu_interval_notifier_finish **finish)
{
	struct mirror *m = mirror_of_interval(mni);
	struct mirror_finish *second;

	if (!lock_interval(m, mni, range, seq))
		return false;
	second = kmalloc_obj(*second, GFP_ATOMIC | __GFP_NOWARN);
	if (second) {
		second->start = range->start;
		second->end = range->end;
		*finish = &second->finish;
	} else {
		drop_interval(m, mni, range->start, range->end);
	}
	mutex_unlock(&m->device);
	return true;
}

static void interval_finish(struct mmu_interval_notifier_finish *finish)
{
	struct mirror_finish *second = container_of(finish, struct mirror_finish, finish);

	drop_interval(mirror_of_interval(finish->notifier), finish->notifier, second->start,
		      second->end);
	kfree(second);
}

static const struct mmu_interval_notifier_ops interval_ops[] = {
	{ .invalidate = interval_invalidate },
	{ .invalidate_start = interval_start, .invalidate_finish = interval_finish },
};

/* Of an interval that is removed nothing is told: its translations go first. */
static void remove_intervals(struct mirror *m, unsigned long nr)
{
	mirror_clear(m);
	while (nr--)
		mmu_interval_notifier_remove(&m->intervals[nr].mni);
	kvfree(m->intervals);
}

/* Every other process is as if its sections had waited for each other. */
static void widen_lanes(struct mm_struct *mm)
{
#if IS_ENABLED(CONFIG_KUNIT)
	if (get_random_u32_below(2))
		mmu_interval_widen(mm);
#endif
}

static int insert_intervals(struct mirror *m)
{
	unsigned long i, nr = m->space->setup.length / MIRROR_INTERVAL_SIZE;
	int ret;

	m->intervals = kvcalloc(nr, sizeof(*m->intervals), GFP_KERNEL);
	if (!m->intervals)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		m->intervals[i].mirror = m;
		ret = mmu_interval_notifier_insert(&m->intervals[i].mni, m->space->mm,
						   m->space->setup.start + i * MIRROR_INTERVAL_SIZE,
						   MIRROR_INTERVAL_SIZE, &interval_ops[i % 2]);
		if (ret) {
			remove_intervals(m, i);
			return ret;
		}
	}
	widen_lanes(m->space->mm);
	return 0;
}

/* Subscribing. */

/**
 * mirror_subscribe - subscribe a mirror to its mm
 * @m: not subscribed
 *
 * A kind that was not asked for stays as it is.
 *
 * Context: mirror::life held for writing, or nobody else has @m.
 *
 * Return: 0 or an error.
 */
int mirror_subscribe(struct mirror *m)
{
	static const struct mmu_notifier_ops * const ops[] = {
		[MIRROR_PAGE] = &page_ops,
		[MIRROR_RANGE] = &range_ops,
		[MIRROR_SLEEPY] = &sleepy_ops,
	};
	u32 kinds = m->space->setup.kinds;
	int ret;

	if (kinds && !(kinds & BIT(m->kind)))
		return 0;
	if (m->kind == MIRROR_INTERVAL) {
		ret = insert_intervals(m);
	} else {
		memset(&m->mn, 0, sizeof(m->mn));
		m->mn.ops = ops[m->kind];
		ret = mmu_notifier_register(&m->mn, m->space->mm);
	}
	m->subscribed = !ret;
	return ret;
}

/**
 * mirror_unsubscribe - end the subscription of a mirror
 * @m: subscribed or not
 *
 * Translations that release did not drop are stale.
 *
 * Context: as mirror_subscribe().
 */
void mirror_unsubscribe(struct mirror *m)
{
	if (!m->subscribed)
		return;
	if (m->kind == MIRROR_INTERVAL)
		remove_intervals(m, m->space->setup.length / MIRROR_INTERVAL_SIZE);
	else
		mmu_notifier_unregister(&m->mn, m->space->mm);
	m->subscribed = false;
	mirror_reset(m);
}

/* Faults. Return 0, -EAGAIN to retry, or why there is no translation. */

/*
 * Once, in the first fault: the window in which the count has to move. Mirrors
 * that do not look at it leave it open always.
 */
static void stall(const struct mirror *m, const struct mirror_fill *fill, unsigned long address)
{
	if (m->space->setup.blind)
		usleep_range(100, 200);
	else if (fill->stall && address == fill->start)
		usleep_range(fill->stall, 2 * fill->stall);
}

static int lookup(const struct mirror *m, unsigned long address, bool write, struct page **page)
{
	unsigned int flags = write ? FOLL_WRITE : 0;
	long ret;

	if (m->kind == MIRROR_PAGE)
		ret = get_user_pages_fast(address, 1, flags, page);
	else
		ret = get_user_pages_unlocked(address, 1, page, flags);
	return ret == 1 ? 0 : -EFAULT;
}

static bool unmoved(const struct mirror *m, const struct mirror_chunk *chunk, unsigned int seq)
{
	return !chunk->open && (chunk->seq == seq || m->space->setup.blind);
}

static int try_gup(struct mirror *m, const struct mirror_fill *fill, unsigned long address)
{
	struct mirror_chunk *chunk = mirror_chunk(m, address);
	unsigned int seq = READ_ONCE(chunk->seq);
	struct page *page;
	int ret;

	/* The lookup comes after the count. Pairs with smp_wmb() in move_seq(). */
	smp_rmb();
	ret = lookup(m, address, fill->write, &page);
	if (ret)
		return ret;
	stall(m, fill, address);

	if (m->kind == MIRROR_SLEEPY)
		mutex_lock(&m->device);
	spin_lock(&m->lock);
	if (unmoved(m, chunk, seq)) {
		mirror_establish(m, address, page_to_pfn(page), fill->write);
	} else {
		m->stats.retried++;
		ret = -EAGAIN;
	}
	spin_unlock(&m->lock);
	if (m->kind == MIRROR_SLEEPY)
		mutex_unlock(&m->device);

	/* The translation keeps no reference. */
	put_page(page);
	return ret;
}

static int try_hmm(struct mirror *m, const struct mirror_fill *fill, unsigned long address)
{
	unsigned long nr = (address - m->space->setup.start) / MIRROR_INTERVAL_SIZE;
	struct mmu_interval_notifier *mni = &m->intervals[nr].mni;
	unsigned long pfn = 0;
	struct hmm_range range = {
		.notifier = mni,
		.notifier_seq = mmu_interval_read_begin(mni),
		.start = address,
		.end = address + PAGE_SIZE,
		.hmm_pfns = &pfn,
		.default_flags = HMM_PFN_REQ_FAULT | (fill->write ? HMM_PFN_REQ_WRITE : 0),
	};
	int ret;

	mmap_read_lock(m->space->mm);
	ret = hmm_range_fault(&range);
	mmap_read_unlock(m->space->mm);
	if (ret)
		return ret == -EBUSY ? -EAGAIN : ret;
	stall(m, fill, address);

	guard(mutex)(&m->device);
	guard(spinlock)(&m->lock);

	if (mmu_interval_read_retry(mni, range.notifier_seq) && !m->space->setup.blind) {
		m->stats.retried++;
		return -EAGAIN;
	}
	mirror_establish(m, address, page_to_pfn(hmm_pfn_to_page(pfn)), pfn & HMM_PFN_WRITE);
	return 0;
}

static int fault_in(struct mirror *m, const struct mirror_fill *fill, unsigned long address)
{
	int ret = -EAGAIN, tries = 0;

	while (ret == -EAGAIN && tries++ < MIRROR_TRIES) {
		cond_resched();
		ret = m->kind == MIRROR_INTERVAL ? try_hmm(m, fill, address) :
						   try_gup(m, fill, address);
	}
	return ret;
}

/**
 * mirror_fill - fault translations in
 * @space: of the calling process
 * @fill: which; pages that are not mapped are skipped
 *
 * Return: how many are there now.
 */
int mirror_fill(struct mirror_space *space, const struct mirror_fill *fill)
{
	struct mirror *m = &space->mirrors[fill->kind];
	unsigned long address = fill->start, i;
	int done = 0;

	guard(rwsem_read)(&m->life);

	for (i = 0; m->subscribed && i < fill->pages; i++, address += PAGE_SIZE)
		done += !fault_in(m, fill, address);
	return done;
}
