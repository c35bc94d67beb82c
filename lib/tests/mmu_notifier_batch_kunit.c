// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: reclaim takes many pages away and has the
 * secondary MMUs flushed once. Until then the folios stay locked, in their cache,
 * and are not written out.
 */

#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/uaccess.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define NR_PAGES	(SWAP_CLUSTER_MAX + 8)
#define LEN		(NR_PAGES * PAGE_SIZE)

/* The hooks themselves. */

static void take(struct mm_struct *mm, unsigned long page)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_folio_start(&section, MMU_NOTIFY_CLEAR, mm, MNK_ADDR(page),
				 MNK_ADDR(page + 1));
	mmu_notifier_invalidate_page_batched(&section, MNK_ADDR(page), 1);
	mmu_notifier_invalidate_range_end(&section);
}

static struct mnk_call taken(unsigned long page)
{
	return CALL_BATCHED(MNK_ADDR(page), 1, MMU_NOTIFY_CLEAR);
}

/* However many pages, one flush; and none without a page. */
static void flush_once_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_batch_ops);

	mnk_batch_begin(test);
	mmu_notifier_flush_batch();
	mnk_expect_silence(test, sub);
	take(mm, 0);
	take(mm, 1);
	KUNIT_EXPECT_TRUE(test, mmu_notifier_batch_pending());
	mmu_notifier_flush_batch();
	KUNIT_EXPECT_FALSE(test, mmu_notifier_batch_pending());
	MNK_EXPECT(test, sub, taken(0), taken(1), CALL_FLUSH_BATCH);
	mmu_notifier_batch_end();
	mnk_expect_silence(test, sub);
}

/* The end flushes; who has not begun gets everything done at once. */
static void end_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_batch_ops);

	mnk_batch_begin(test);
	take(mm, 0);
	mmu_notifier_batch_end();
	MNK_EXPECT(test, sub, taken(0), CALL_FLUSH_BATCH);
	take(mm, 0);
	MNK_EXPECT(test, sub, CALL_PAGE(MNK_ADDR(0), 1, MMU_NOTIFY_CLEAR));
}

/* A subscriber that does not know of batches has nothing to be flushed. */
static void page_subscriber_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *page = mnk_subscribe(test, mm, &mnk_page_ops);
	struct mnk_sub *range = mnk_subscribe(test, mm, &mnk_range_ops);

	mnk_batch_begin(test);
	take(mm, 0);
	KUNIT_EXPECT_FALSE(test, mmu_notifier_batch_pending());
	mmu_notifier_batch_end();
	MNK_EXPECT(test, page, CALL_PAGE(MNK_ADDR(0), 1, MMU_NOTIFY_CLEAR));
	MNK_EXPECT(test, range,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(1), MMU_NOTIFY_CLEAR));
}

/* Both kinds on one process: each gets what it knows. */
static void mixed_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *page = mnk_subscribe(test, mm, &mnk_page_ops);
	struct mnk_sub *batch = mnk_subscribe(test, mm, &mnk_batch_ops);

	mnk_batch_begin(test);
	take(mm, 0);
	mmu_notifier_batch_end();
	MNK_EXPECT(test, page, CALL_PAGE(MNK_ADDR(0), 1, MMU_NOTIFY_CLEAR));
	MNK_EXPECT(test, batch, taken(0), CALL_FLUSH_BATCH);
}

/* Several processes, each flushed once; those that are too many, at each page. */
static void many_mms_test(struct kunit *test)
{
	struct mnk_sub *subs[MMU_NOTIFIER_BATCH_MMS + 1];
	unsigned int i, last = MMU_NOTIFIER_BATCH_MMS;

	for (i = 0; i <= last; i++)
		subs[i] = mnk_subscribe(test, mnk_mm(test), &mnk_batch_ops);
	mnk_batch_begin(test);
	for (i = 0; i <= last; i++)
		take(subs[i]->mn.mm, 0);
	for (i = 0; i <= last; i++)
		take(subs[i]->mn.mm, 1);
	MNK_EXPECT(test, subs[last], CALL_PAGE(MNK_ADDR(0), 1, MMU_NOTIFY_CLEAR),
		   CALL_PAGE(MNK_ADDR(1), 1, MMU_NOTIFY_CLEAR));
	mmu_notifier_flush_batch();
	for (i = 0; i < last; i++)
		MNK_EXPECT(test, subs[i], taken(0), taken(1), CALL_FLUSH_BATCH);
	mnk_expect_silence(test, subs[last]);
	/* There is room again. */
	take(subs[last]->mn.mm, 1);
	mmu_notifier_batch_end();
	MNK_EXPECT(test, subs[last], taken(1), CALL_FLUSH_BATCH);
}

/* Who has left has released everything, and is not called. */
static void unregister_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_batch_ops);

	mnk_batch_begin(test);
	take(mm, 0);
	mnk_unsubscribe(test, sub);
	mmu_notifier_batch_end();
	MNK_EXPECT(test, sub, taken(0), CALL_RELEASE);
}

/* The list is there for the flush although the process is not. */
static void exit_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_batch_ops);

	mnk_batch_begin(test);
	take(mm, 0);
	mnk_mm_exit(test, mm);
	mnk_unsubscribe(test, sub);
	mmu_notifier_batch_end();
	MNK_EXPECT(test, sub, taken(0), CALL_RELEASE);
}

/* A section that everybody hears has no pages to tell of. */
static void range_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_batch_ops);
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mnk_batch_begin(test);
	mmu_notifier_invalidate_range_start(&section, MMU_NOTIFY_CLEAR, mm,
					    MNK_ADDR(0), MNK_ADDR(2));
	mmu_notifier_invalidate_page_batched(&section, MNK_ADDR(0), 1);
	mmu_notifier_invalidate_range_end(&section);
	mmu_notifier_batch_end();
	MNK_EXPECT(test, sub,
		   CALL_START(MNK_ADDR(0), MNK_ADDR(2), MMU_NOTIFY_CLEAR),
		   CALL_END(MNK_ADDR(0), MNK_ADDR(2), MMU_NOTIFY_CLEAR));
}

static void refused_test(struct kunit *test)
{
	static const struct {
		bool page, batched, flush;
	} wrong[] = {
		{ .page = true, .batched = true },
		{ .page = true, .flush = true },
		{ .batched = true, .flush = true },
	};
	struct mm_struct *mm = mnk_mm(test);
	int i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct mmu_notifier_ops ops = mnk_batch_ops;
		struct mmu_notifier mn = { .ops = &ops };

		if (!wrong[i].page)
			ops.invalidate_page = NULL;
		if (!wrong[i].batched)
			ops.invalidate_page_batched = NULL;
		if (!wrong[i].flush)
			ops.flush_batch = NULL;
		KUNIT_EXPECT_EQ_MSG(test, mmu_notifier_register(&mn, mm),
				    -EINVAL, "table %d", i);
	}
	KUNIT_EXPECT_NULL(test, mm->notifier_subscriptions);
}

/* Reclaim. */

/**
 * struct reclaimed - pages of a file that reclaim takes away
 * @sub: the subscriber
 * @start: address of the first
 * @folios: the pages, referenced, so that nobody frees them
 * @waiting: those that were taken away since the last flush
 * @nr: how many
 * @nr_flushed: how many before that
 * @unlocked: pages that were not locked when they were taken, or flushed
 * @written: pages that were not dirty any more
 * @held: others that were locked while somebody was called who may wait
 */
struct reclaimed {
	struct mnk_sub *sub;
	unsigned long start;
	struct folio *folios[NR_PAGES];
	struct folio *waiting[NR_PAGES];
	unsigned int nr, nr_flushed;
	unsigned int unlocked, written, held;
};

static void look_at_folio(struct reclaimed *r, const struct folio *folio)
{
	r->unlocked += !folio_test_locked(folio);
	r->written += !folio_test_dirty(folio);
}

static void reclaim_hook(struct mnk_sub *sub, const struct mnk_call *call)
{
	struct reclaimed *r = sub->data;
	struct folio *folio;

	switch (call->kind) {
	case MNK_PAGE_BATCHED:
		if (call->end > r->start + LEN)
			break;
		folio = r->folios[(call->start - r->start) / PAGE_SIZE];
		look_at_folio(r, folio);
		r->waiting[r->nr++] = folio;
		break;
	case MNK_FLUSH_BATCH:
		/* Their translations may still be used. */
		while (r->nr) {
			look_at_folio(r, r->waiting[--r->nr]);
			r->nr_flushed++;
		}
		break;
	default:
		break;
	}
}

static void put_folios(void *data)
{
	struct reclaimed *r = data;
	int i;

	for (i = 0; i < NR_PAGES && r->folios[i]; i++)
		folio_put(r->folios[i]);
}

static struct reclaimed *map_pages(struct kunit *test, struct file *file)
{
	struct reclaimed *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);
	unsigned long addr;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, r);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, put_folios, r));
	r->start = mnk_map(test, file, LEN, MAP_SHARED);
	for (i = 0; i < NR_PAGES; i++) {
		addr = r->start + i * PAGE_SIZE;
		mnk_write(test, addr);
		r->folios[i] = mnk_lock_folio(test, addr);
		/* The page table knows, and reclaim would tell the folio. */
		folio_mark_dirty(r->folios[i]);
		folio_unlock(r->folios[i]);
	}
	lru_add_drain_all();
	r->sub = mnk_alloc(test, &mnk_batch_ops);
	r->sub->hook = reclaim_hook;
	r->sub->data = r;
	KUNIT_ASSERT_EQ(test, 0, mnk_register(test, r->sub, current->mm));
	return r;
}

static void expect_kept(struct kunit *test, const struct reclaimed *r)
{
	KUNIT_EXPECT_EQ(test, r->unlocked, 0);
	KUNIT_EXPECT_EQ(test, r->written, 0);
	KUNIT_EXPECT_EQ(test, r->nr, 0);
	KUNIT_EXPECT_NULL(test, current->mmu_notifier_batch);
}

/* Memory of a file in memory, which reclaim writes to swap: a flush for many. */
static void reclaim_test(struct kunit *test)
{
	struct reclaimed *r = map_pages(test, mnk_file(test, LEN));
	bool locked;
	int i;

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, r->start, LEN,
					    MADV_PAGEOUT));
	expect_kept(test, r);
	KUNIT_EXPECT_EQ(test, r->nr_flushed, NR_PAGES);
	/* As many at once as there may be, and the rest. */
	KUNIT_EXPECT_EQ(test, mnk_count(r->sub, MNK_FLUSH_BATCH), 2);
	KUNIT_EXPECT_EQ(test, r->sub->calls[SWAP_CLUSTER_MAX].kind,
			MNK_FLUSH_BATCH);
	KUNIT_EXPECT_EQ(test, mnk_count(r->sub, MNK_PAGE), 0);
	for (i = 0; i < NR_PAGES; i++) {
		KUNIT_EXPECT_EQ(test, MNK_ABSENT,
				mnk_look(current->mm, r->start + i * PAGE_SIZE,
					 &locked));
		KUNIT_EXPECT_FALSE(test, folio_test_locked(r->folios[i]));
	}
}

/* A page that could not be taken away completely is flushed all the same. */
static void unmap_failed_test(struct kunit *test)
{
	struct file *file = mnk_file(test, LEN);
	struct reclaimed *r = map_pages(test, file);
	struct vm_area_struct *vma;
	unsigned long other;
	LIST_HEAD(folios);

	/* A later one in the file, so that it comes second. */
	other = kunit_vm_mmap(test, file, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
			      MAP_SHARED, PAGE_SIZE);
	KUNIT_ASSERT_NE(test, other, 0);
	mnk_write(test, other);
	vma = mnk_vma(test, other);
	mmap_write_lock(current->mm);
	vm_flags_set(vma, VM_LOCKED);
	mmap_write_unlock(current->mm);

	/* MADV_PAGEOUT leaves alone what is mapped twice. */
	KUNIT_ASSERT_TRUE(test, folio_isolate_lru(r->folios[1]));
	list_add(&r->folios[1]->lru, &folios);
	reclaim_pages(&folios);
	KUNIT_EXPECT_TRUE(test, folio_mapped(r->folios[1]));
	expect_kept(test, r);
	MNK_EXPECT(test, r->sub,
		   CALL_BATCHED(r->start + PAGE_SIZE, 1, MMU_NOTIFY_CLEAR),
		   CALL_FLUSH_BATCH);
}

/* Whoever faults does not wait for the lock of what is dropped unwritten. */
static void lazyfree_test(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, PAGE_SIZE);
	struct mnk_sub *sub;

	mnk_write(test, addr);
	lru_add_drain_all();
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE,
					    MADV_FREE));
	lru_add_drain_all();
	sub = mnk_subscribe(test, current->mm, &mnk_batch_ops);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE,
					    MADV_PAGEOUT));
	MNK_EXPECT(test, sub, CALL_PAGE(addr, 1, MMU_NOTIFY_CLEAR));
}

static void count_held(struct reclaimed *r, unsigned long start)
{
	int i;

	for (i = 0; i < NR_PAGES; i++)
		if (r->start + i * PAGE_SIZE != start)
			r->held += folio_test_locked(r->folios[i]);
}

static void waiting_hook(struct mnk_sub *sub, const struct mnk_call *call)
{
	if (call->kind == MNK_START)
		count_held(sub->data, call->start);
}

/* Somebody else, who maps the pages as well. */

/**
 * struct reader - a process that reads the pages
 * @process: the process
 * @start: address of the first page
 */
struct reader {
	struct mnk_process *process;
	unsigned long start;
};

static void read_thread(void *data)
{
	struct reader *reader = data;
	char __user *start = (char __user *)reader->start;
	unsigned long offset;
	char c;

	kthread_use_mm(reader->process->mm);
	for (offset = 0; offset < LEN; offset += PAGE_SIZE)
		if (get_user(c, start + offset))
			break;
	(void)c;
	kthread_unuse_mm(reader->process->mm);
}

static struct mm_struct *read_elsewhere(struct kunit *test, const struct reclaimed *r)
{
	struct reader *reader = kunit_kzalloc(test, sizeof(*reader), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, reader);
	reader->process = mnk_fork(test);
	reader->start = r->start;
	mnk_thread_join(test, mnk_thread_run(test, read_thread, reader));
	for (i = 0; i < NR_PAGES; i++)
		KUNIT_ASSERT_EQ(test, 2, folio_mapcount(r->folios[i]));
	return reader->process->mm;
}

static void expect_unmapped(struct kunit *test, const struct reclaimed *r)
{
	int i;

	for (i = 0; i < NR_PAGES; i++)
		KUNIT_EXPECT_FALSE(test, folio_mapped(r->folios[i]));
}

/*
 * Who may wait for a process that faults is called while no other page is locked:
 * what the other process had to be flushed for goes on before.
 */
static void reclaim_for_waiting(struct kunit *test, struct reclaimed *r)
{
	LIST_HEAD(folios);
	int i;

	/* MADV_PAGEOUT leaves alone what is mapped twice. */
	lru_add_drain_all();
	for (i = 0; i < NR_PAGES; i++) {
		KUNIT_ASSERT_TRUE(test, folio_isolate_lru(r->folios[i]));
		list_add(&r->folios[i]->lru, &folios);
	}
	reclaim_pages(&folios);
	KUNIT_EXPECT_EQ(test, r->held, 0);
	KUNIT_EXPECT_EQ(test, r->nr_flushed, NR_PAGES);
	expect_kept(test, r);
	expect_unmapped(test, r);
}

static void waiting_test(struct kunit *test)
{
	struct reclaimed *r = map_pages(test, mnk_file(test, LEN));
	struct mnk_sub *sub = mnk_alloc(test, &mnk_range_ops);
	struct mm_struct *mm = read_elsewhere(test, r);

	sub->hook = waiting_hook;
	sub->data = r;
	KUNIT_ASSERT_EQ(test, 0, mnk_register(test, sub, mm));
	reclaim_for_waiting(test, r);
	KUNIT_EXPECT_GE(test, sub->nr, 2 * NR_PAGES);
}

/**
 * struct waiting_interval - the same, subscribed to an interval
 * @mni: the interval
 * @r: the pages
 * @calls: how often it was called
 */
struct waiting_interval {
	struct mmu_interval_notifier mni;
	struct reclaimed *r;
	unsigned int calls;
};

static bool waiting_invalidate(struct mmu_interval_notifier *mni,
			       const struct mmu_notifier_range *range,
			       unsigned long cur_seq)
{
	struct waiting_interval *itv = container_of(mni, struct waiting_interval, mni);

	mmu_interval_set_seq(mni, cur_seq);
	itv->calls++;
	count_held(itv->r, range->start);
	return true;
}

static const struct mmu_interval_notifier_ops waiting_ops = {
	.invalidate = waiting_invalidate,
};

static void waiting_interval_test(struct kunit *test)
{
	struct waiting_interval *itv = kunit_kzalloc(test, sizeof(*itv), GFP_KERNEL);
	struct mm_struct *mm;

	KUNIT_ASSERT_NOT_NULL(test, itv);
	itv->r = map_pages(test, mnk_file(test, LEN));
	mm = read_elsewhere(test, itv->r);
	KUNIT_ASSERT_EQ(test, 0, mmu_interval_notifier_insert(&itv->mni, mm, itv->r->start,
							      LEN, &waiting_ops));
	reclaim_for_waiting(test, itv->r);
	mmu_interval_notifier_remove(&itv->mni);
	KUNIT_EXPECT_GE(test, itv->calls, NR_PAGES);
}

/* On one process with who may wait nothing is left for later, or tried twice. */
static void waiting_together_test(struct kunit *test)
{
	struct reclaimed *r = map_pages(test, mnk_file(test, LEN));
	struct mnk_sub *sub = mnk_alloc(test, &mnk_range_ops);

	sub->hook = waiting_hook;
	sub->data = r;
	KUNIT_ASSERT_EQ(test, 0, mnk_register(test, sub, current->mm));
	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, r->start, LEN,
					    MADV_PAGEOUT));
	KUNIT_EXPECT_EQ(test, r->held, 0);
	expect_kept(test, r);
	expect_unmapped(test, r);
	KUNIT_EXPECT_EQ(test, mnk_count(r->sub, MNK_PAGE), NR_PAGES);
	KUNIT_EXPECT_EQ(test, mnk_count(r->sub, MNK_PAGE_BATCHED), 0);
	KUNIT_EXPECT_EQ(test, sub->nr, 2 * NR_PAGES);
}

/* Nobody waits where an invalidate_page is called instead of a section. */
static void page_together_test(struct kunit *test)
{
	struct reclaimed *r = map_pages(test, mnk_file(test, LEN));
	struct mnk_sub *sub = mnk_subscribe(test, current->mm, &mnk_page_ops);

	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, r->start, LEN,
					    MADV_PAGEOUT));
	expect_kept(test, r);
	expect_unmapped(test, r);
	KUNIT_EXPECT_EQ(test, r->nr_flushed, NR_PAGES);
	KUNIT_EXPECT_EQ(test, mnk_count(r->sub, MNK_FLUSH_BATCH), 2);
	KUNIT_EXPECT_EQ(test, mnk_count(sub, MNK_PAGE), NR_PAGES);
}

static void reclaim_thread(void *folios)
{
	reclaim_pages(folios);
}

/* Who has the rmap lock may wait for a process that faults on a page. */
static void contended_test(struct kunit *test)
{
	struct reclaimed *r = map_pages(test, mnk_file(test, LEN));
	struct file *file = mnk_file(test, PAGE_SIZE);
	unsigned long addr = mnk_map(test, file, PAGE_SIZE, MAP_SHARED);
	struct mnk_thread *thread;
	struct folio *second;
	LIST_HEAD(folios);
	bool locked;

	mnk_write(test, addr);
	second = mnk_lock_folio(test, addr);
	folio_unlock(second);
	lru_add_drain_all();
	KUNIT_ASSERT_TRUE(test, folio_isolate_lru(r->folios[0]));
	list_add(&r->folios[0]->lru, &folios);
	KUNIT_ASSERT_TRUE(test, folio_isolate_lru(second));
	list_add(&second->lru, &folios);

	i_mmap_lock_write(file->f_mapping);
	thread = mnk_thread_run(test, reclaim_thread, &folios);
	mnk_expect_blocked(test, thread);
	KUNIT_EXPECT_EQ(test, mnk_count(r->sub, MNK_FLUSH_BATCH), 1);
	KUNIT_EXPECT_FALSE(test, folio_test_locked(r->folios[0]));
	i_mmap_unlock_write(file->f_mapping);
	mnk_thread_join(test, thread);

	expect_kept(test, r);
	KUNIT_EXPECT_EQ(test, MNK_ABSENT, mnk_look(current->mm, addr, &locked));
	folio_put(second);
}

/* An entry that comes back is found without the lock of its page. */
static void restored_test(struct kunit *test)
{
	unsigned long addr = mnk_map_anon(test, PAGE_SIZE);
	struct mnk_sub *sub;
	struct folio *folio;
	bool locked;

	mnk_write(test, addr);
	lru_add_drain_all();
	/* What somebody else refers to cannot be dropped, and keeps its entry. */
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE,
					    MADV_FREE));
	lru_add_drain_all();
	folio = mnk_lock_folio(test, addr);
	folio_get(folio);
	sub = mnk_subscribe(test, current->mm, &mnk_batch_ops);
	mnk_batch_begin(test);
	try_to_unmap(folio, TTU_BATCH_NOTIFY);
	KUNIT_EXPECT_EQ(test, MNK_WRITABLE, mnk_look(current->mm, addr, &locked));
	MNK_EXPECT(test, sub, CALL_BATCHED(addr, 1, MMU_NOTIFY_CLEAR),
		   CALL_PAGE(addr, 1, MMU_NOTIFY_CLEAR));
	mmu_notifier_batch_end();
	folio_unlock(folio);
	folio_put_refs(folio, 2);
}

/* userfaultfd puts a page into an empty entry, and asks nobody for the old one. */
static void userfaultfd_test(struct kunit *test)
{
	unsigned long addr = mnk_map(test, mnk_file(test, PAGE_SIZE), PAGE_SIZE,
				     MAP_SHARED);
	struct vm_area_struct *vma = mnk_vma(test, addr);
	struct mnk_sub *sub;

	mnk_write(test, addr);
	lru_add_drain_all();
	mmap_write_lock(current->mm);
	vm_flags_set(vma, VM_UFFD_MISSING);
	mmap_write_unlock(current->mm);
	sub = mnk_subscribe(test, current->mm, &mnk_batch_ops);
	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE,
					    MADV_PAGEOUT));
	mmap_write_lock(current->mm);
	vm_flags_clear(vma, VM_UFFD_MISSING);
	mmap_write_unlock(current->mm);
	MNK_EXPECT(test, sub, CALL_PAGE(addr, 1, MMU_NOTIFY_CLEAR));
}

/* A page that reclaim has taken away in a batch, locked; the entry is empty. */
static struct folio *take_away(struct kunit *test, unsigned long addr)
{
	struct folio *folio = mnk_lock_folio(test, addr);
	bool locked;

	mnk_batch_begin(test);
	try_to_unmap(folio, TTU_BATCH_NOTIFY);
	KUNIT_ASSERT_EQ(test, MNK_ABSENT, mnk_look(current->mm, addr, &locked));
	KUNIT_ASSERT_TRUE(test, mmu_notifier_batch_pending());
	return folio;
}

/* So does a guard: nobody gets by it with the old translation. */
static void guard_test(struct kunit *test)
{
	unsigned long addr = mnk_map(test, mnk_file(test, PAGE_SIZE), PAGE_SIZE,
				     MAP_SHARED);
	struct folio *folio;
	struct mnk_sub *sub;

	mnk_write(test, addr);
	sub = mnk_subscribe(test, current->mm, &mnk_batch_ops);
	folio = take_away(test, addr);
	KUNIT_EXPECT_EQ(test, 0, do_madvise(current->mm, addr, PAGE_SIZE,
					    MADV_GUARD_INSTALL));
	MNK_EXPECT(test, sub, CALL_BATCHED(addr, 1, MMU_NOTIFY_CLEAR),
		   CALL_FLUSH_BATCH);
	mmu_notifier_batch_end();
	folio_unlock(folio);
	folio_put(folio);
}

/* What is poisoned goes in its own way: nobody is kept locked meanwhile. */
static void poisoned_test(struct kunit *test)
{
	struct reclaimed *r = map_pages(test, mnk_file(test, LEN));
	LIST_HEAD(folios);
	int i;

	for (i = 0; i < 3; i++) {
		KUNIT_ASSERT_TRUE(test, folio_isolate_lru(r->folios[i]));
		list_add(&r->folios[i]->lru, &folios);
	}
	folio_set_hwpoison(r->folios[1]);
	reclaim_pages(&folios);
	folio_clear_hwpoison(r->folios[1]);
	expect_kept(test, r);
	MNK_EXPECT(test, r->sub,
		   CALL_BATCHED(r->start, 1, MMU_NOTIFY_CLEAR), CALL_FLUSH_BATCH,
		   CALL_PAGE(r->start + PAGE_SIZE, 1, MMU_NOTIFY_CLEAR),
		   CALL_BATCHED(r->start + 2 * PAGE_SIZE, 1, MMU_NOTIFY_CLEAR),
		   CALL_FLUSH_BATCH);
}

/* Batches nest. */
static void nested_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_batch_ops);

	mnk_batch_begin(test);
	take(mm, 0);
	mnk_batch_begin(test);
	KUNIT_EXPECT_FALSE(test, mmu_notifier_batch_pending());
	mmu_notifier_batch_end();
	KUNIT_EXPECT_TRUE(test, mmu_notifier_batch_pending());
	mmu_notifier_batch_end();
	MNK_EXPECT(test, sub, taken(0), CALL_FLUSH_BATCH);
}

static struct kunit_case batch_cases[] = {
	KUNIT_CASE(flush_once_test),
	KUNIT_CASE(end_test),
	KUNIT_CASE(page_subscriber_test),
	KUNIT_CASE(mixed_test),
	KUNIT_CASE(many_mms_test),
	KUNIT_CASE(unregister_test),
	KUNIT_CASE(exit_test),
	KUNIT_CASE(range_test),
	KUNIT_CASE(refused_test),
	KUNIT_CASE(reclaim_test),
	KUNIT_CASE(unmap_failed_test),
	KUNIT_CASE(lazyfree_test),
	KUNIT_CASE(waiting_test),
	KUNIT_CASE(waiting_interval_test),
	KUNIT_CASE(waiting_together_test),
	KUNIT_CASE(page_together_test),
	KUNIT_CASE(contended_test),
	KUNIT_CASE(restored_test),
	KUNIT_CASE(userfaultfd_test),
	KUNIT_CASE(guard_test),
	KUNIT_CASE(poisoned_test),
	KUNIT_CASE(nested_test),
	{ }
};

static struct kunit_suite batch_suite = {
	.name = "mmu_notifier_batch",
	.test_cases = batch_cases,
};

kunit_test_suite(batch_suite);
