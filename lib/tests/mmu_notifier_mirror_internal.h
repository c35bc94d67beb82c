/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the mirror know of each other.
 */
#ifndef MMU_NOTIFIER_MIRROR_INTERNAL_H
#define MMU_NOTIFIER_MIRROR_INTERNAL_H

#include <linux/atomic.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>

#include "mmu_notifier_mirror.h"

/* Pages that share a count. */
#define MIRROR_CHUNK		16

/* A translation: the page frame above these bits. */
#define MIRROR_PRESENT		BIT(0)
#define MIRROR_WRITE		BIT(1)
#define MIRROR_PFN_SHIFT	2

/**
 * struct mirror_chunk - MIRROR_CHUNK pages of one mirror
 * @seq: moved when an invalidation is over: faults that began before retry
 * @drops: moved when translations are dropped: audits that began before are void
 * @open: sections that are open; no translation is established meanwhile
 * @nr: translations
 *
 * Under mirror::lock; @seq is read without.
 */
struct mirror_chunk {
	unsigned int seq;
	unsigned int drops;
	unsigned int open;
	unsigned int nr;
};

/* One of the intervals of MIRROR_INTERVAL. */
struct mirror_interval {
	struct mmu_interval_notifier mni;
	struct mirror *mirror;
};

/**
 * struct mirror - one subscriber and its translations
 * @space: what it mirrors
 * @kind: how it subscribes
 * @life: held for reading by faults, for writing when @subscribed changes
 * @subscribed: callbacks may come
 * @mn: the subscription
 * @intervals: or one for each 2 MB
 * @device: the lock of a driver that sleeps with it; taken before @lock
 * @lock: protects what follows; innermost
 * @table: translations, one for each page of @space
 * @chunks: state of each MIRROR_CHUNK pages
 * @tlb: what left @table without a flush, and is used until there is one; or the
 *	mark of what stays in @table until then, see mirror_leaves()
 * @unflushed: where in @tlb the former is
 * @nr_unflushed: how many
 * @left: where in @tlb the latter is
 * @nr_left: how many
 * @hits: invalidations that hit a translation
 * @dozes: callbacks that could have slept
 * @stats: what the mirror counted
 */
struct mirror {
	struct mirror_space *space;
	enum mirror_kind kind;
	struct rw_semaphore life;
	bool subscribed;
	struct mmu_notifier mn;
	struct mirror_interval *intervals;
	struct mutex device;	/* as a driver that sleeps has one */
	spinlock_t lock;	/* innermost: the table, the chunks and the counters */
	unsigned long *table;
	struct mirror_chunk *chunks;
	unsigned long *tlb;
	unsigned long *unflushed;
	unsigned long nr_unflushed;
	unsigned long *left;
	unsigned long nr_left;
	unsigned long hits;
	unsigned long dozes;
	struct {
		u64 established;
		u64 retried;
		u64 page_calls;
		u64 range_calls;
		u64 dropped;
		u64 deferred;
		u64 ignored;
	} stats;
};

/**
 * struct mirror_space - what is mirrored of a process
 * @mm: the process; mm_count is held
 * @setup: as it was asked for
 * @nr_pages: of the range
 * @mirrors: one of each kind
 * @nr_pfns: size of @held
 * @held: for each page frame, how many translations to it there are
 * @freed: pages that were compared with @held when they were freed
 * @compared: translations that were compared with the page tables
 * @stale: faults found
 */
struct mirror_space {
	struct mm_struct *mm;
	struct mirror_setup setup;
	unsigned long nr_pages;
	struct mirror mirrors[MIRROR_KINDS];
	unsigned long nr_pfns;
	atomic_t *held;
	unsigned long __percpu *freed;
	atomic64_t compared;
	atomic64_t stale[MIRROR_FAULTS];
};

static inline unsigned long mirror_index(const struct mirror_space *space,
					 unsigned long address)
{
	return (address - space->setup.start) / PAGE_SIZE;
}

static inline unsigned long mirror_address(const struct mirror_space *space,
					   unsigned long index)
{
	return space->setup.start + index * PAGE_SIZE;
}

static inline struct mirror_chunk *mirror_chunk(struct mirror *m, unsigned long address)
{
	return &m->chunks[mirror_index(m->space, address) / MIRROR_CHUNK];
}

/*
 * What to do with a page of a batch: drop the translation and flush later, or leave
 * it in the table until then, as KVM does? Half of them each.
 */
static inline bool mirror_leaves(unsigned long index)
{
	return index / MIRROR_CHUNK % 2;
}

/* Is [start, start + pages) in the range? */
static inline bool mirror_covers(const struct mirror_space *space, u64 start, u64 pages)
{
	return start >= space->setup.start && !(start % PAGE_SIZE) && pages <= space->nr_pages &&
	       mirror_index(space, start) <= space->nr_pages - pages;
}

/* mmu_notifier_mirror_table.c */
int mirror_tables_alloc(struct mirror_space *space);
void mirror_tables_free(struct mirror_space *space);
void mirror_establish(struct mirror *m, unsigned long address, unsigned long pfn, bool writable);
void mirror_drop(struct mirror *m, unsigned long start, unsigned long end);
void mirror_page(struct mirror *m, unsigned long start, unsigned long end, bool batched);
void mirror_flush(struct mirror *m);
void mirror_open(struct mirror *m, unsigned long start, unsigned long end);
void mirror_close(struct mirror *m, unsigned long start, unsigned long end);
void mirror_clear(struct mirror *m);
void mirror_reset(struct mirror *m);
void mirror_stale(struct mirror_space *space, const struct mirror *m, enum mirror_fault fault,
		  unsigned long address, unsigned long entry);

/* mmu_notifier_mirror_subscribe.c */
int mirror_subscribe(struct mirror *m);
void mirror_unsubscribe(struct mirror *m);
int mirror_fill(struct mirror_space *space, const struct mirror_fill *fill);

/* mmu_notifier_mirror_audit.c */
int mirror_watch_free(struct mirror_space *space);
void mirror_unwatch_free(struct mirror_space *space);
void mirror_audit(struct mirror_space *space, unsigned long start, unsigned long pages);

#endif
