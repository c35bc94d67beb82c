// SPDX-License-Identifier: GPL-2.0
/*
 * Is a translation stale? Two questions are asked, and both are exact: what they
 * report is wrong in every case, whatever else runs.
 *
 * When a page is freed, does a mirror hold it?
 * -------------------------------------------
 * Each page frame has the number of its translations (mirror_space::held), and
 * the tracepoint of the page allocator looks at it before the page can be used
 * again. A translation is established under mirror::lock with the count found
 * unmoved, so its page is mapped then, and the mapping has a reference. Whoever
 * takes the mapping away calls the mirror before it gives that reference up, and
 * the mirror drops the translation under the same lock. The count that the last
 * reference sees is therefore 0. There is no window to hit: every page that is
 * freed is asked about.
 *
 * Does a translation say what the page table says?
 * ------------------------------------------------
 * Write-protection frees nothing. An audit takes a copy of the translations of a
 * chunk, reads the page tables, and looks at the translations again. Each drop
 * moves mirror_chunk::drops; where that has not moved, the translations of the
 * copy were there all the time, and so when the page table was read.
 *
 * The page table is read with the lock of the page or the table held, so all
 * changes of an entry are seen with the calls of invalidate_page that belong to
 * them: these are made under the same lock. For the changes of a section the
 * start comes before, and it drops the translation; no other can be established
 * before the end. So a translation that was there when the entry was read was
 * looked up after the last reported change of that entry. What has changed since
 * was not reported, and only this is allowed without a report: an entry that was
 * not present becomes so, and a read-only one becomes writable.
 *
 * What is left until the end of a batch (mirror_leaves()) may differ until then.
 *
 * Where there is no VMA the tables cannot be read, and an munmap() that goes on
 * under mmap_lock for reading may be about to open its section. With mmap_lock
 * held for writing it is over, and nothing may be mapped.
 */
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/tracepoint.h>
#include <trace/events/kmem.h>

#include "mmu_notifier_mirror_internal.h"

/* Times that an audit of a chunk is tried while translations are dropped. */
#define MIRROR_AUDITS	4

/* Pages that are freed. */

static bool is_of(struct mirror *m, unsigned long pfn)
{
	unsigned long i, entry;
	bool found = false;

	for (i = 0; i < m->space->nr_pages; i++) {
		entry = READ_ONCE(m->table[i]);
		if (!entry || entry >> MIRROR_PFN_SHIFT != pfn)
			continue;
		mirror_stale(m->space, m, MIRROR_FREED, mirror_address(m->space, i), entry);
		found = true;
	}
	return found;
}

/* Counts it also if it is dropped by now. */
static void held_and_freed(struct mirror_space *space, unsigned long pfn)
{
	bool found = false;
	int kind;

	for (kind = 0; kind < MIRROR_KINDS; kind++)
		found |= is_of(&space->mirrors[kind], pfn);
	if (!found)
		mirror_stale(space, NULL, MIRROR_FREED, 0, pfn << MIRROR_PFN_SHIFT);
}

static void page_freed(void *data, struct page *page, unsigned int order)
{
	struct mirror_space *space = data;
	unsigned long pfn = page_to_pfn(page), end = pfn + (1UL << order);

	this_cpu_add(*space->freed, 1UL << order);
	for (; pfn < min(end, space->nr_pfns); pfn++)
		if (unlikely(atomic_read(&space->held[pfn])))
			held_and_freed(space, pfn);
}

/**
 * mirror_watch_free - from now on look at every page that is freed
 * @space: with its tables
 *
 * Return: 0 or an error.
 */
int mirror_watch_free(struct mirror_space *space)
{
	return register_trace_mm_page_free(page_freed, space);
}

/**
 * mirror_unwatch_free - undo mirror_watch_free()
 * @space: nobody looks at it any more on return
 */
void mirror_unwatch_free(struct mirror_space *space)
{
	unregister_trace_mm_page_free(page_freed, space);
	tracepoint_synchronize_unregister();
}

/* The page table. */

struct mirror_seen {
	bool known;
	bool present;
	bool writable;
	unsigned long pfn;
};

static struct mirror_seen seen_pmd(pmd_t pmd, unsigned long address)
{
	struct mirror_seen seen = { .known = true, .present = pmd_present(pmd) };

	if (seen.present) {
		seen.writable = pmd_write(pmd);
		seen.pfn = pmd_pfn(pmd) + (address & ~PMD_MASK) / PAGE_SIZE;
	}
	return seen;
}

static struct mirror_seen seen_pte(pte_t pte)
{
	struct mirror_seen seen = { .known = true, .present = pte_present(pte) };

	if (seen.present) {
		seen.writable = pte_write(pte);
		seen.pfn = pte_pfn(pte);
	}
	return seen;
}

/* The entry that has @address, NULL if there is no table for it. */
static pmd_t *find_pmd(struct mm_struct *mm, unsigned long address)
{
	pgd_t *pgd = pgd_offset(mm, address);
	p4d_t *p4d;
	pud_t *pud;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, address);
	if (p4d_none(*p4d))
		return NULL;
	pud = pud_offset(p4d, address);
	if (pud_none(*pud) || WARN_ON_ONCE(pud_leaf(*pud)))
		return NULL;
	return pmd_offset(pud, address);
}

static struct mirror_seen see_mapped(struct mm_struct *mm, unsigned long address)
{
	struct mirror_seen seen = { .known = true };
	pmd_t *pmd = find_pmd(mm, address), entry;
	spinlock_t *ptl;	/* of the entry, or of its table */
	pte_t *pte;

	if (!pmd)
		return seen;
again:
	ptl = pmd_lock(mm, pmd);
	entry = pmdp_get(pmd);
	spin_unlock(ptl);
	if (!pmd_present(entry) || pmd_leaf(entry))
		return seen_pmd(entry, address);

	/* NULL: the table went away meanwhile. */
	pte = pte_offset_map_lock(mm, pmd, address, &ptl);
	if (!pte)
		goto again;
	seen = seen_pte(ptep_get(pte));
	pte_unmap_unlock(pte, ptl);
	return seen;
}

static struct mirror_seen see(struct mm_struct *mm, unsigned long address, bool exclusive)
{
	struct mirror_seen none = { .known = exclusive };

	return vma_lookup(mm, address) ? see_mapped(mm, address) : none;
}

/* The audit. */

struct mirror_view {
	unsigned int drops[MIRROR_KINDS];
	unsigned long entry[MIRROR_KINDS][MIRROR_CHUNK];
};

/* Copies the translations from @index on. Are there any? */
static bool view(struct mirror_space *space, unsigned long index, struct mirror_view *copy)
{
	bool any = false;
	int kind;

	for (kind = 0; kind < MIRROR_KINDS; kind++) {
		struct mirror *m = &space->mirrors[kind];
		struct mirror_chunk *chunk = &m->chunks[index / MIRROR_CHUNK];

		guard(spinlock)(&m->lock);
		copy->drops[kind] = chunk->drops;
		memcpy(copy->entry[kind], &m->table[index], sizeof(copy->entry[kind]));
		any |= chunk->nr;
	}
	return any;
}

static void see_chunk(struct mirror_space *space, unsigned long index, bool exclusive,
		      struct mirror_seen seen[MIRROR_CHUNK])
{
	int i;

	if (exclusive)
		mmap_write_lock(space->mm);
	else
		mmap_read_lock(space->mm);

	for (i = 0; i < MIRROR_CHUNK; i++)
		seen[i] = see(space->mm, mirror_address(space, index + i), exclusive);

	if (exclusive)
		mmap_write_unlock(space->mm);
	else
		mmap_read_unlock(space->mm);
}

static void judge(struct mirror *m, unsigned long address, unsigned long entry,
		  const struct mirror_seen *seen)
{
	if (!seen->present)
		mirror_stale(m->space, m, MIRROR_UNMAPPED, address, entry);
	else if (seen->pfn != entry >> MIRROR_PFN_SHIFT)
		mirror_stale(m->space, m, MIRROR_OTHER_PAGE, address, entry);
	else if (entry & MIRROR_WRITE && !seen->writable)
		mirror_stale(m->space, m, MIRROR_READ_ONLY, address, entry);
}

/* Reclaim has the page, and the translation goes with the batch. */
static bool is_left(const struct mirror *m, unsigned long index)
{
	return mirror_leaves(index) && m->tlb[index];
}

/* True if all that was in the copy could be compared. */
static bool compare(struct mirror *m, unsigned long index, const struct mirror_view *copy,
		    const struct mirror_seen seen[MIRROR_CHUNK])
{
	unsigned int compared = 0, unknown = 0;
	int i;

	scoped_guard(spinlock, &m->lock) {
		if (m->chunks[index / MIRROR_CHUNK].drops != copy->drops[m->kind])
			return false;
		for (i = 0; i < MIRROR_CHUNK; i++) {
			unsigned long entry = copy->entry[m->kind][i];

			if (!entry || is_left(m, index + i))
				continue;
			if (seen[i].known)
				judge(m, mirror_address(m->space, index + i), entry, &seen[i]);
			compared += seen[i].known;
			unknown += !seen[i].known;
		}
	}
	atomic64_add(compared, &m->space->compared);
	return !unknown;
}

static void audit_chunk(struct mirror_space *space, unsigned long index)
{
	struct mirror_seen seen[MIRROR_CHUNK];
	struct mirror_view copy;
	int tries, kind;
	bool done;

	for (tries = 0; tries < MIRROR_AUDITS; tries++) {
		if (!view(space, index, &copy))
			return;
		see_chunk(space, index, tries, seen);
		done = true;
		for (kind = 0; kind < MIRROR_KINDS; kind++)
			done &= compare(&space->mirrors[kind], index, &copy, seen);
		if (done)
			return;
		cond_resched();
	}
}

/**
 * mirror_audit - compare translations with the page tables
 * @space: the mirrors
 * @start: first address
 * @pages: number of pages, widened to whole chunks
 *
 * Context: mmap_lock not held. May sleep.
 */
void mirror_audit(struct mirror_space *space, unsigned long start, unsigned long pages)
{
	unsigned long index = mirror_index(space, start), end = index + pages;

	for (index = round_down(index, MIRROR_CHUNK); index < end; index += MIRROR_CHUNK)
		audit_chunk(space, index);
}
