// SPDX-License-Identifier: GPL-2.0
/*
 * The translations of a mirror, and its count: what a driver has in its device.
 * mirror::lock is taken here; nothing sleeps.
 */
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "mmu_notifier_mirror_internal.h"

/* That many faults are told in full. */
#define MIRROR_TOLD	16

static const char * const fault_names[] = {
	[MIRROR_FREED] = "page freed",
	[MIRROR_UNMAPPED] = "not in the page table",
	[MIRROR_OTHER_PAGE] = "other page in the page table",
	[MIRROR_READ_ONLY] = "read-only in the page table",
	[MIRROR_LEFT] = "left by release",
	[MIRROR_UNBALANCED] = "end without start",
	[MIRROR_UNFLUSHED] = "replaced before the flush",
};

static const char * const kind_names[] = {
	[MIRROR_PAGE] = "page",
	[MIRROR_RANGE] = "range",
	[MIRROR_SLEEPY] = "sleepy",
	[MIRROR_INTERVAL] = "interval",
};

/**
 * mirror_stale - a translation is there that may not be
 * @space: of the mirror
 * @m: whose; NULL if nobody has it any more
 * @fault: why it may not
 * @address: where
 * @entry: the translation
 *
 * Context: any.
 */
void mirror_stale(struct mirror_space *space, const struct mirror *m, enum mirror_fault fault,
		  unsigned long address, unsigned long entry)
{
	if (atomic64_inc_return(&space->stale[fault]) <= MIRROR_TOLD)
		pr_err("mirror: stale: %s: %s, address %lx, pfn %lx%s, by %s[%d]\n",
		       m ? kind_names[m->kind] : "dropped meanwhile", fault_names[fault],
		       address, entry >> MIRROR_PFN_SHIFT,
		       entry & MIRROR_WRITE ? ", writable" : "", current->comm,
		       task_pid_nr(current));
}

/* The part of [*start, *end) that is mirrored, as page numbers. False: none. */
static bool clamp_range(const struct mirror_space *space, unsigned long *start,
			unsigned long *end)
{
	unsigned long last = mirror_address(space, space->nr_pages);

	*start = max_t(unsigned long, *start, space->setup.start);
	*end = min(*end, last);
	if (*start >= *end)
		return false;
	*start = mirror_index(space, *start);
	*end = mirror_index(space, *end - 1) + 1;
	return true;
}

/* Out of the table, which is what the hardware caches. */
static unsigned long take(struct mirror *m, unsigned long index)
{
	unsigned long entry = m->table[index];

	m->table[index] = 0;
	m->chunks[index / MIRROR_CHUNK].nr--;
	m->stats.dropped++;
	return entry;
}

static void forget(struct mirror *m, unsigned long index)
{
	atomic_dec(&m->space->held[take(m, index) >> MIRROR_PFN_SHIFT]);
}

/* The page counts as held until flush_tlb(). */
static void defer(struct mirror *m, unsigned long index)
{
	m->tlb[index] = take(m, index);
	m->unflushed[m->nr_unflushed++] = index;
	m->stats.deferred++;
}

/* Nothing is used any more that is not in the table. */
static void flush_tlb(struct mirror *m)
{
	unsigned long index;

	while (m->nr_unflushed) {
		index = m->unflushed[--m->nr_unflushed];
		atomic_dec(&m->space->held[m->tlb[index] >> MIRROR_PFN_SHIFT]);
		m->tlb[index] = 0;
	}
}

/* Faults that looked up before this retry. */
static void move_seq(struct mirror *m, unsigned long index, unsigned long end)
{
	/* Who sees the count moved sees the page tables changed: in try_gup(). */
	smp_wmb();
	for (index /= MIRROR_CHUNK; index * MIRROR_CHUNK < end; index++)
		WRITE_ONCE(m->chunks[index].seq, m->chunks[index].seq + 1);
}

/* Nor what was left there. Faults may have put it back, and new ones. */
static void drop_left(struct mirror *m)
{
	unsigned long index;

	while (m->nr_left) {
		index = m->left[--m->nr_left];
		m->tlb[index] = 0;
		move_seq(m, index, index + 1);
		m->chunks[index / MIRROR_CHUNK].drops++;
		if (m->table[index]) {
			forget(m, index);
			m->stats.deferred++;
		}
	}
}

/**
 * mirror_flush - nothing is used any more that was left for later
 * @m: the mirror
 *
 * Context: mirror::lock held.
 */
void mirror_flush(struct mirror *m)
{
	lockdep_assert_held(&m->lock);

	flush_tlb(m);
	drop_left(m);
}

/**
 * mirror_establish - put a translation into the table
 * @m: the mirror
 * @address: where
 * @pfn: the page frame
 * @writable: may the device write to it?
 *
 * The caller has found the count unmoved since before it looked the page up. If
 * there is a translation already, then its lookup was in the same state of the
 * page tables: it has the same page.
 *
 * Context: mirror::lock held.
 */
void mirror_establish(struct mirror *m, unsigned long address, unsigned long pfn, bool writable)
{
	unsigned long index = mirror_index(m->space, address);
	unsigned long entry = m->table[index];

	lockdep_assert_held(&m->lock);

	if (m->nr_unflushed && m->tlb[index] && !mirror_leaves(index)) {
		mirror_stale(m->space, m, MIRROR_UNFLUSHED, address, m->tlb[index]);
		flush_tlb(m);
	}
	if (entry && entry >> MIRROR_PFN_SHIFT != pfn) {
		mirror_stale(m->space, m, MIRROR_OTHER_PAGE, address, entry);
		forget(m, index);
		entry = 0;
	}
	if (!entry) {
		atomic_inc(&m->space->held[pfn]);
		m->chunks[index / MIRROR_CHUNK].nr++;
	}
	m->table[index] = pfn << MIRROR_PFN_SHIFT | MIRROR_PRESENT |
			  (entry & MIRROR_WRITE) | (writable ? MIRROR_WRITE : 0);
	m->stats.established++;
}

static bool has_any(const struct mirror *m, unsigned long index, unsigned long end)
{
	for (; index < end; index++)
		if (m->table[index])
			return true;
	return false;
}

/* A mirror that is broken on purpose leaves translations now and then. */
static bool ignores(struct mirror *m, unsigned long index, unsigned long end)
{
	if (likely(!m->space->setup.broken))
		return false;
	if (!has_any(m, index, end) || ++m->hits % m->space->setup.broken)
		return false;
	m->stats.ignored++;
	return true;
}

static void drop_pages(struct mirror *m, unsigned long index, unsigned long end,
		       void (*drop)(struct mirror *m, unsigned long index))
{
	unsigned long next;

	if (ignores(m, index, end))
		return;
	/* Also what is in the range no more. */
	if (drop == forget)
		flush_tlb(m);
	for (; index < end; index = next) {
		struct mirror_chunk *chunk = &m->chunks[index / MIRROR_CHUNK];

		next = min(end, round_down(index, MIRROR_CHUNK) + MIRROR_CHUNK);
		chunk->drops++;
		for (; chunk->nr && index < next; index++)
			if (m->table[index])
				drop(m, index);
	}
}

/* For drop_left(), also where there is nothing yet. */
static void leave_pages(struct mirror *m, unsigned long index, unsigned long end)
{
	if (ignores(m, index, end))
		return;
	for (; index < end; index++) {
		if (m->tlb[index])
			continue;
		m->tlb[index] = MIRROR_PRESENT;
		m->left[m->nr_left++] = index;
	}
}

/**
 * mirror_drop - drop the translations of a range
 * @m: the mirror
 * @start: first address
 * @end: first address behind the range
 */
void mirror_drop(struct mirror *m, unsigned long start, unsigned long end)
{
	guard(spinlock)(&m->lock);

	m->stats.range_calls++;
	if (clamp_range(m->space, &start, &end))
		drop_pages(m, start, end, forget);
}

/**
 * mirror_page - an entry of the page tables has been cleared
 * @m: the mirror
 * @start: first address
 * @end: first address behind the entry
 * @batched: mirror_flush() follows
 */
void mirror_page(struct mirror *m, unsigned long start, unsigned long end, bool batched)
{
	unsigned long next;

	guard(spinlock)(&m->lock);

	m->stats.page_calls++;
	if (!clamp_range(m->space, &start, &end))
		return;
	for (; start < end; start = next) {
		next = min(end, round_down(start, MIRROR_CHUNK) + MIRROR_CHUNK);
		if (batched && mirror_leaves(start)) {
			leave_pages(m, start, next);
		} else {
			move_seq(m, start, next);
			drop_pages(m, start, next, batched ? defer : forget);
		}
	}
}

/**
 * mirror_open - a section begins
 * @m: the mirror
 * @start: first address
 * @end: first address behind the section
 */
void mirror_open(struct mirror *m, unsigned long start, unsigned long end)
{
	unsigned long i;

	guard(spinlock)(&m->lock);

	m->stats.range_calls++;
	if (!clamp_range(m->space, &start, &end))
		return;
	for (i = start / MIRROR_CHUNK; i * MIRROR_CHUNK < end; i++)
		m->chunks[i].open++;
	drop_pages(m, start, end, forget);
}

/**
 * mirror_close - a section ends
 * @m: the mirror
 * @start: first address
 * @end: first address behind the section
 */
void mirror_close(struct mirror *m, unsigned long start, unsigned long end)
{
	unsigned long i;

	guard(spinlock)(&m->lock);

	if (!clamp_range(m->space, &start, &end))
		return;
	move_seq(m, start, end);
	for (i = start / MIRROR_CHUNK; i * MIRROR_CHUNK < end; i++) {
		if (m->chunks[i].open)
			m->chunks[i].open--;
		else
			mirror_stale(m->space, m, MIRROR_UNBALANCED,
				     mirror_address(m->space, i * MIRROR_CHUNK), 0);
	}
}

/**
 * mirror_clear - drop every translation, also if the mirror is broken
 * @m: the mirror
 */
void mirror_clear(struct mirror *m)
{
	unsigned long i;

	guard(spinlock)(&m->lock);

	mirror_flush(m);
	for (i = 0; i < m->space->nr_pages; i++) {
		m->chunks[i / MIRROR_CHUNK].drops++;
		if (m->table[i])
			forget(m, i);
	}
}

/**
 * mirror_reset - forget the sections that will not be ended
 * @m: the mirror, not subscribed any more
 *
 * Translations that are still there are stale.
 */
void mirror_reset(struct mirror *m)
{
	unsigned long i;

	guard(spinlock)(&m->lock);

	if (m->nr_unflushed) {
		i = m->unflushed[0];
		mirror_stale(m->space, m, MIRROR_LEFT, mirror_address(m->space, i), m->tlb[i]);
		flush_tlb(m);
	}
	for (i = 0; i < m->space->nr_pages; i++) {
		m->chunks[i / MIRROR_CHUNK].open = 0;
		if (!m->table[i])
			continue;
		mirror_stale(m->space, m, MIRROR_LEFT, mirror_address(m->space, i),
			     m->table[i]);
		forget(m, i);
	}
	/* What reclaim took after release. */
	drop_left(m);
}

static int table_alloc(struct mirror *m)
{
	unsigned long nr = m->space->nr_pages;

	m->table = kvcalloc(nr, sizeof(*m->table), GFP_KERNEL);
	m->chunks = kvcalloc(nr / MIRROR_CHUNK, sizeof(*m->chunks), GFP_KERNEL);
	m->tlb = kvcalloc(nr, sizeof(*m->tlb), GFP_KERNEL);
	m->unflushed = kvcalloc(nr, sizeof(*m->unflushed), GFP_KERNEL);
	m->left = kvcalloc(nr, sizeof(*m->left), GFP_KERNEL);
	return m->table && m->chunks && m->tlb && m->unflushed && m->left ? 0 : -ENOMEM;
}

/**
 * mirror_tables_alloc - make what the mirrors keep
 * @space: with its size and mirrors set
 *
 * Return: 0 or -ENOMEM; mirror_tables_free() is to be called in both cases.
 */
int mirror_tables_alloc(struct mirror_space *space)
{
	struct mirror *m;
	int ret = 0;

	space->nr_pfns = max_pfn;
	space->held = kvcalloc(space->nr_pfns, sizeof(*space->held), GFP_KERNEL);
	space->freed = alloc_percpu(unsigned long);
	if (!space->held || !space->freed)
		return -ENOMEM;
	for (m = space->mirrors; !ret && m < space->mirrors + MIRROR_KINDS; m++)
		ret = table_alloc(m);
	return ret;
}

/**
 * mirror_tables_free - undo mirror_tables_alloc()
 * @space: nothing is subscribed any more
 */
void mirror_tables_free(struct mirror_space *space)
{
	struct mirror *m;

	for (m = space->mirrors; m < space->mirrors + MIRROR_KINDS; m++) {
		kvfree(m->table);
		kvfree(m->chunks);
		kvfree(m->tlb);
		kvfree(m->unflushed);
		kvfree(m->left);
	}
	free_percpu(space->freed);
	kvfree(space->held);
}
