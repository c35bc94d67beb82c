// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: pages migrate to the memory of a device,
 * and back when the CPU wants them. The driver that asks is named as the owner.
 */

#include <linux/ioport.h>
#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	4
#define LEN		(NR_PAGES * PAGE_SIZE)
#define DEVICE_SIZE	(PAGES_PER_SUBSECTION * PAGE_SIZE)

/**
 * struct device_memory - memory that only a device can address
 * @pgmap: its pages
 * @used: number of those that were handed out, which do not come again
 */
struct device_memory {
	struct dev_pagemap pgmap;
	unsigned long used;
};

static void device_folio_free(struct folio *folio)
{
}

static void fill_dst(struct migrate_vma *args, unsigned long i, struct page *page)
{
	args->dst[i] = migrate_pfn(page_to_pfn(page));
	if (args->src[i] & MIGRATE_PFN_WRITE)
		args->dst[i] |= MIGRATE_PFN_WRITE;
}

/* The device remembers nothing: pages come back with zeroes. */
static vm_fault_t device_to_ram(struct vm_fault *vmf)
{
	unsigned long addr = vmf->address & PAGE_MASK, src = 0, dst = 0;
	struct migrate_vma args = {
		.vma = vmf->vma,
		.src = &src,
		.dst = &dst,
		.start = addr,
		.end = addr + PAGE_SIZE,
		.pgmap_owner = page_pgmap(vmf->page)->owner,
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
		.fault_page = vmf->page,
	};
	struct page *page;

	if (migrate_vma_setup(&args))
		return VM_FAULT_SIGBUS;
	page = alloc_page_vma(GFP_HIGHUSER_MOVABLE | __GFP_ZERO, vmf->vma, addr);
	if (page && (src & MIGRATE_PFN_MIGRATE)) {
		lock_page(page);
		fill_dst(&args, 0, page);
	}
	migrate_vma_pages(&args);
	migrate_vma_finalize(&args);
	return page ? 0 : VM_FAULT_OOM;
}

static const struct dev_pagemap_ops device_ops = {
	.folio_free = device_folio_free,
	.migrate_to_ram = device_to_ram,
};

/* All pages are free again: they went with the mm of the test. */
static void take_out(void *data)
{
	struct device_memory *dev = data;

	memunmap_pages(&dev->pgmap);
	release_mem_region(dev->pgmap.range.start, range_len(&dev->pgmap.range));
}

static struct device_memory *plug_in(struct kunit *test)
{
	struct device_memory *dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);
	struct resource *res;

	KUNIT_ASSERT_NOT_NULL(test, dev);
	res = request_free_mem_region(&iomem_resource, DEVICE_SIZE, "mnk");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, res);
	dev->pgmap.range.start = res->start;
	dev->pgmap.range.end = res->end;
	dev->pgmap.nr_range = 1;
	dev->pgmap.type = MEMORY_DEVICE_PRIVATE;
	dev->pgmap.ops = &device_ops;
	dev->pgmap.owner = dev;
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, memremap_pages(&dev->pgmap,
							  numa_node_id()));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, take_out,
							   dev));
	return dev;
}

static struct page *device_page(struct device_memory *dev, unsigned long i)
{
	return pfn_to_page(PHYS_PFN(dev->pgmap.range.start) + i);
}

/**
 * struct migration - of one mapping to a device
 * @dev: the device
 * @p: watches the mapping
 * @args: of the migration
 * @src: where pages were
 * @dst: where they go
 */
struct migration {
	struct device_memory *dev;
	struct mnk_pair *p;
	struct migrate_vma args;
	unsigned long src[NR_PAGES];
	unsigned long dst[NR_PAGES];
};

static struct migration *prepare(struct kunit *test, unsigned long addr)
{
	struct migration *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->dev = plug_in(test);
	m->args.vma = mnk_vma(test, addr);
	m->args.start = addr;
	m->args.end = addr + LEN;
	m->args.src = m->src;
	m->args.dst = m->dst;
	m->args.pgmap_owner = m->dev;
	m->args.flags = MIGRATE_VMA_SELECT_SYSTEM;
	m->p = mnk_watch_pair(test, addr, LEN);
	return m;
}

/* A mapping with those pages there whose bits are set. */
static struct migration *prepare_pages(struct kunit *test, unsigned long there)
{
	unsigned long addr = mnk_map_anon(test, LEN);
	int i;

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, LEN,
					    MADV_NOHUGEPAGE));
	for_each_set_bit(i, &there, NR_PAGES)
		mnk_write(test, addr + i * PAGE_SIZE);
	return prepare(test, addr);
}

#define ALL_PAGES	(BIT(NR_PAGES) - 1)

/* As far as the device gives pages, which is @room. */
static void migrate(struct kunit *test, struct migration *m, unsigned long room)
{
	unsigned long i;

	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, 0, migrate_vma_setup(&m->args));
	for (i = 0; i < m->args.npages && i < room; i++) {
		struct page *page = device_page(m->dev, m->dev->used);

		if (!(m->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		m->dev->used++;
		zone_device_page_init(page, &m->dev->pgmap, 0);
		fill_dst(&m->args, i, page);
	}
	migrate_vma_pages(&m->args);
	migrate_vma_finalize(&m->args);
	mmap_read_unlock(current->mm);
}

static struct mnk_call by_owner(struct migration *m, struct mnk_call call)
{
	call.owner = m->dev;
	return call;
}

static void expect_sections(struct kunit *test, struct migration *m,
			    const struct range *want, int nr)
{
	struct mnk_call calls[4];
	int i;

	for (i = 0; i < nr; i++) {
		calls[2 * i] = by_owner(m, CALL_START(want[i].start, want[i].end,
						      MMU_NOTIFY_MIGRATE));
		calls[2 * i + 1] = by_owner(m, CALL_END(want[i].start,
							want[i].end,
							MMU_NOTIFY_MIGRATE));
	}
	mnk_expect_calls(test, m->p->page, calls, 2 * nr);
	mnk_expect_calls(test, m->p->range, calls, 2 * nr);
	mnk_expect_locked(test, m->p->range, MNK_START, false);
	mnk_expect_locked(test, m->p->range, MNK_END, false);
}

/* The one of all migrations: entries are there before, and not after. */
static void expect_collected(struct kunit *test, struct migration *m)
{
	struct range all = { m->p->addr, m->p->end };

	expect_sections(test, m, &all, 1);
	KUNIT_EXPECT_EQ(test, mnk_view(m->p->range)->entry[MNK_START],
			MNK_WRITABLE);
	KUNIT_EXPECT_EQ(test, mnk_view(m->p->range)->entry[MNK_END], MNK_ABSENT);
}

static bool on_device(struct kunit *test, unsigned long addr)
{
	pmd_t *pmd = mm_find_pmd(current->mm, addr);
	pte_t *ptep, pte;

	KUNIT_ASSERT_NOT_NULL(test, pmd);
	ptep = pte_offset_map(pmd, addr);
	KUNIT_ASSERT_NOT_NULL(test, ptep);
	pte = ptep_get(ptep);
	pte_unmap(ptep);
	return !pte_present(pte) &&
	       softleaf_is_device_private(softleaf_from_pte(pte));
}

static void to_device_test(struct kunit *test)
{
	struct migration *m = prepare_pages(test, ALL_PAGES);

	migrate(test, m, NR_PAGES);
	expect_collected(test, m);
	KUNIT_EXPECT_TRUE(test, on_device(test, m->p->addr));
}

/* The device has no room: pages come back to where they were, in silence. */
static void give_up_test(struct kunit *test)
{
	struct migration *m = prepare_pages(test, ALL_PAGES);
	bool locked;

	migrate(test, m, 0);
	expect_collected(test, m);
	KUNIT_EXPECT_NE(test, mnk_look(current->mm, m->p->addr, &locked),
			MNK_ABSENT);
}

/* Holes are filled as well, which is told from the first one on. */
static void holes_test(struct kunit *test)
{
	struct migration *m = prepare_pages(test, BIT(0) | BIT(2));
	struct range want[] = {
		{ m->p->addr, m->p->end },
		{ m->p->addr + PAGE_SIZE, m->p->end },
	};

	migrate(test, m, NR_PAGES);
	expect_sections(test, m, want, ARRAY_SIZE(want));
	KUNIT_EXPECT_TRUE(test, on_device(test, m->p->addr + PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, on_device(test, m->p->addr + 3 * PAGE_SIZE));
}

/* The zero page is a hole with an entry, that others may read by. */
static void zero_page_test(struct kunit *test)
{
	struct migration *m = prepare_pages(test, 0);
	struct range want[] = {
		{ m->p->addr, m->p->end },
		{ m->p->addr, m->p->end },
	};

	mnk_read(test, m->p->addr);
	migrate(test, m, 1);
	expect_sections(test, m, want, ARRAY_SIZE(want));
	KUNIT_EXPECT_EQ(test, mnk_view(m->p->range)->entry[MNK_START],
			MNK_READONLY);
	KUNIT_EXPECT_EQ(test, mnk_view(m->p->range)->entry[MNK_END], MNK_ABSENT);
	KUNIT_EXPECT_TRUE(test, on_device(test, m->p->addr));
}

/* Only a few go: what stays has been announced, too. */
static void part_test(struct kunit *test)
{
	struct migration *m = prepare_pages(test, ALL_PAGES);

	migrate(test, m, 1);
	expect_collected(test, m);
	KUNIT_EXPECT_TRUE(test, on_device(test, m->p->addr));
	KUNIT_EXPECT_FALSE(test, on_device(test, m->p->addr + PAGE_SIZE));
}

/* The CPU wants one back. */
static void fault_test(struct kunit *test)
{
	struct migration *m = prepare_pages(test, ALL_PAGES);
	struct range page = { m->p->addr, m->p->addr + PAGE_SIZE };

	migrate(test, m, NR_PAGES);
	mnk_pair_reset(m->p);
	mnk_write(test, m->p->addr);
	expect_sections(test, m, &page, 1);
	KUNIT_EXPECT_EQ(test, mnk_view(m->p->range)->entry[MNK_START],
			MNK_ABSENT);
	KUNIT_EXPECT_FALSE(test, on_device(test, m->p->addr));
	KUNIT_EXPECT_TRUE(test, on_device(test, m->p->addr + PAGE_SIZE));
}

/* A page of the device is not present, and is taken away all the same. */
static void unmap_test(struct kunit *test)
{
	struct migration *m = prepare_pages(test, ALL_PAGES);
	struct folio *folio;

	migrate(test, m, NR_PAGES);
	mnk_pair_reset(m->p);
	folio = page_folio(device_page(m->dev, 0));
	folio_get(folio);
	folio_lock(folio);
	try_to_migrate(folio, 0);
	KUNIT_EXPECT_FALSE(test, folio_mapped(folio));
	mnk_pair_expect_page(test, m->p, m->p->addr, 1, MMU_NOTIFY_CLEAR);
	remove_migration_ptes(folio, folio, 0);
	KUNIT_EXPECT_TRUE(test, folio_mapped(folio));
	mnk_unlock_folio(folio);
	mnk_pair_expect_silence(test, m->p);
}

static void fork_test(struct kunit *test)
{
	struct migration *m = prepare_pages(test, ALL_PAGES);
	struct mnk_process *child;

	migrate(test, m, NR_PAGES);
	mnk_pair_reset(m->p);
	child = mnk_fork(test);
	mnk_pair_expect_range(test, m->p, m->p->addr, m->p->end,
			      MMU_NOTIFY_PROTECTION_PAGE);
	/* Its pages are the device's. */
	mnk_end(test, child);
}

static void munmap_test(struct kunit *test)
{
	struct migration *m = prepare_pages(test, ALL_PAGES);

	migrate(test, m, NR_PAGES);
	mnk_pair_reset(m->p);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(m->p->addr, LEN));
	mnk_pair_expect_range(test, m->p, m->p->addr, m->p->end,
			      MMU_NOTIFY_UNMAP);
}

/*
 * Some pages of a huge one: it is split in the middle of it. Those that were
 * never written to become the zero page then, a hole for the device.
 */
static void huge_part_test(struct kunit *test)
{
	unsigned long addr = mnk_map_huge(test, 1), end = addr + PMD_SIZE, hole;
	struct migration *m;

	lru_add_drain_all();
	m = prepare(test, addr);
	migrate(test, m, NR_PAGES);
	hole = addr + PAGE_SIZE;
	MNK_EXPECT(test, m->p->page,
		   by_owner(m, CALL_START(addr, addr + LEN, MMU_NOTIFY_MIGRATE)),
		   CALL_START(addr, end, MMU_NOTIFY_CLEAR),
		   CALL_END(addr, end, MMU_NOTIFY_CLEAR),
		   by_owner(m, CALL_END(addr, addr + LEN, MMU_NOTIFY_MIGRATE)),
		   by_owner(m, CALL_START(hole, addr + LEN, MMU_NOTIFY_MIGRATE)),
		   by_owner(m, CALL_END(hole, addr + LEN, MMU_NOTIFY_MIGRATE)));
	KUNIT_EXPECT_TRUE(test, on_device(test, addr));
}

static struct kunit_case device_cases[] = {
	KUNIT_CASE(to_device_test),
	KUNIT_CASE(give_up_test),
	KUNIT_CASE(holes_test),
	KUNIT_CASE(zero_page_test),
	KUNIT_CASE(part_test),
	KUNIT_CASE(fault_test),
	KUNIT_CASE(unmap_test),
	KUNIT_CASE(fork_test),
	KUNIT_CASE(munmap_test),
	KUNIT_CASE(huge_part_test),
	{ }
};

static struct kunit_suite device_suite = {
	.name = "mmu_notifier_device",
	.test_cases = device_cases,
};

kunit_test_suite(device_suite);
