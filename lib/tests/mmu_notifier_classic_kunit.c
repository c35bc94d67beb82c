// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: reclaim asks for one folio after the other
 * which was accessed, and secondary MMUs for neighbours at once.
 */

#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

/* Pages that are asked for at once, and those of each that are mapped. */
#define WINDOW		(BITS_PER_LONG * PAGE_SIZE)
#define NR_PAGES	6

/**
 * struct classic - two windows of pages that no CPU has accessed any more
 * @sub: a subscriber that answers for many pages
 * @start: of the first window
 * @state: reclaim of the test's thread
 */
struct classic {
	struct mnk_sub *sub;
	unsigned long start;
	struct reclaim_state state;
};

static int classic_init(struct kunit *test)
{
#ifdef CONFIG_LRU_GEN
	mnk_set(test, "kernel/mm/lru_gen/enabled", "n");
#endif
	return 0;
}

static unsigned long page_at(const struct classic *c, int window, int page)
{
	return c->start + window * WINDOW + page * PAGE_SIZE;
}

/* Is the page young? As for reclaim. */
static int age_folio(struct folio *folio)
{
	vma_flags_t flags;

	return folio_referenced(folio, 1, NULL, &flags);
}

static int age(struct kunit *test, const struct classic *c, int window, int page)
{
	struct folio *folio = mnk_lock_folio(test, page_at(c, window, page));
	int young = age_folio(folio);

	mnk_unlock_folio(folio);
	return young;
}

/* A call for one page, or for all of a window. */
static struct mnk_call alone(const struct classic *c, int window, int page)
{
	return CALL_PLAIN(MNK_CLEAR_YOUNG, page_at(c, window, page),
			  page_at(c, window, page + 1));
}

static struct mnk_call alone_and_flushed(const struct classic *c, int window,
					 int page)
{
	return CALL_PLAIN(MNK_CLEAR_FLUSH_YOUNG, page_at(c, window, page),
			  page_at(c, window, page + 1));
}

static struct mnk_call asked(const struct classic *c, int window)
{
	return CALL_PLAIN(MNK_TEST_YOUNG_PAGES, page_at(c, window, 0),
			  page_at(c, window + 1, 0));
}

static struct mnk_call cleared(const struct classic *c, int window)
{
	return CALL_PLAIN(MNK_CLEAR_YOUNG_PAGES, page_at(c, window, 0),
			  page_at(c, window + 1, 0));
}

static struct classic *classic_prepare(struct kunit *test)
{
	struct classic *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	unsigned long start;
	int window, page;

	KUNIT_ASSERT_NOT_NULL(test, c);
	start = mnk_map_anon(test, 3 * WINDOW);
	c->start = round_up(start, WINDOW);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, start, 3 * WINDOW,
					    MADV_NOHUGEPAGE));
	for (window = 0; window < 2; window++)
		for (page = 0; page < NR_PAGES; page++)
			mnk_write(test, page_at(c, window, page));
	lru_add_drain_all();
	for (window = 0; window < 2; window++)
		for (page = 0; page < NR_PAGES; page++)
			age(test, c, window, page);
	c->sub = mnk_subscribe(test, current->mm, &mnk_young_ops);
	current->reclaim_state = &c->state;
	return c;
}

static void classic_exit(struct kunit *test)
{
	secondary_window_end();
	current->reclaim_state = NULL;
}

/*
 * The second page asks for all of the window, the first page of the next window
 * too. What is young is cleared once, and nothing else.
 */
static void neighbours_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);

	c->sub->young = true;
	c->sub->young_pages = BIT(1) | BIT(3) | BIT(5);
	KUNIT_EXPECT_EQ(test, 1, age(test, c, 0, 0));
	KUNIT_EXPECT_EQ(test, 1, age(test, c, 0, 1));
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 0, 2));
	KUNIT_EXPECT_EQ(test, 1, age(test, c, 0, 3));
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 0, 3));
	MNK_EXPECT(test, c->sub, alone(c, 0, 0), asked(c, 0));

	c->sub->young_pages = BIT(2);
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 0, 4));
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 1, 0));
	KUNIT_EXPECT_EQ(test, c->sub->cleared_pages, BIT(1) | BIT(3));
	KUNIT_EXPECT_EQ(test, 1, age(test, c, 1, 2));
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 1, 5));
	MNK_EXPECT(test, c->sub, cleared(c, 0), asked(c, 1));
	secondary_window_end();
	KUNIT_EXPECT_EQ(test, c->sub->cleared_pages, BIT(2));
	MNK_EXPECT(test, c->sub, cleared(c, 1));
	classic_exit(test);
	mnk_expect_silence(test, c->sub);
}

/* Pages that are far from each other are asked for one by one. */
static void apart_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	int page;

	c->sub->young = true;
	for (page = 0; page < 2; page++) {
		KUNIT_EXPECT_EQ(test, 1, age(test, c, 0, page));
		KUNIT_EXPECT_EQ(test, 1, age(test, c, 1, page));
	}
	MNK_EXPECT(test, c->sub, alone(c, 0, 0), alone(c, 1, 0), alone(c, 0, 1),
		   alone(c, 1, 1));
	/* So is the first page behind a window of which one page was looked at. */
	age(test, c, 1, 2);
	age(test, c, 0, 2);
	age(test, c, 1, 3);
	MNK_EXPECT(test, c->sub, asked(c, 1), asked(c, 0), alone(c, 1, 3));
	classic_exit(test);
}

/* Pages of two processes are no neighbours, whatever their addresses. */
static void processes_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	struct mnk_process *child = mnk_fork(test);
	struct mnk_sub *sub = mnk_subscribe(test, child->mm, &mnk_young_ops);

	c->sub->nr = 0;
	age(test, c, 0, 0);
	age(test, c, 0, 1);
	MNK_EXPECT(test, c->sub, alone(c, 0, 0), alone(c, 0, 1));
	MNK_EXPECT(test, sub, alone(c, 0, 0), alone(c, 0, 1));
	classic_exit(test);
}

/**
 * struct heir - a process that alone maps the pages of the second window
 * @process: a child of the test
 * @sub: a subscriber to it
 * @folios: the first of these pages
 */
struct heir {
	struct mnk_process *process;
	struct mnk_sub *sub;
	struct folio *folios[2];
};

static void put_folio(void *folio)
{
	folio_put(folio);
}

static void heir_prepare(struct kunit *test, const struct classic *c,
			 struct heir *heir)
{
	int page;

	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, page_at(c, 0, 0), WINDOW,
					    MADV_DONTFORK));
	for (page = 0; page < 2; page++) {
		heir->folios[page] = mnk_lock_folio(test, page_at(c, 1, page));
		folio_unlock(heir->folios[page]);
		KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_folio,
								   heir->folios[page]));
	}
	heir->process = mnk_fork(test);
	heir->sub = mnk_subscribe(test, heir->process->mm, &mnk_young_ops);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(page_at(c, 1, 0), WINDOW));
	c->sub->nr = 0;
}

static int age_of_heir(const struct heir *heir, int page)
{
	int young;

	folio_lock(heir->folios[page]);
	young = age_folio(heir->folios[page]);
	folio_unlock(heir->folios[page]);
	return young;
}

/* What is young in a second process of a batch is cleared page by page. */
static void second_process_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	struct heir heir;

	heir_prepare(test, c, &heir);
	c->sub->young_pages = BIT(1);
	heir.sub->young_pages = BIT(0) | BIT(1);
	heir.sub->young = true;
	age(test, c, 0, 0);
	KUNIT_EXPECT_EQ(test, 1, age(test, c, 0, 1));
	MNK_EXPECT(test, c->sub, alone(c, 0, 0), asked(c, 0));
	KUNIT_EXPECT_EQ(test, 1, age_of_heir(&heir, 0));
	KUNIT_EXPECT_EQ(test, 1, age_of_heir(&heir, 1));
	classic_exit(test);
	MNK_EXPECT(test, c->sub, cleared(c, 0));
	MNK_EXPECT(test, heir.sub, asked(c, 1), alone(c, 1, 0), alone(c, 1, 1));
}

/* A process that exits before the batch ends is not told of it any more. */
static void exit_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	struct heir heir;

	heir_prepare(test, c, &heir);
	heir.sub->young_pages = BIT(1);
	age_of_heir(&heir, 0);
	KUNIT_EXPECT_EQ(test, 1, age_of_heir(&heir, 1));
	mnk_end(test, heir.process);
	/* Release is called before the subscription leaves the list. */
	mnk_wait_for(test, hlist_unhashed_lockless(&heir.sub->mn.hlist));
	classic_exit(test);
	MNK_EXPECT(test, heir.sub, alone(c, 1, 0), asked(c, 1), CALL_RELEASE);
}

/* It is held as often as it is dropped; CPUs that it ran on may hold it, too. */
static void hold_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	int turns = 16 * num_possible_cpus();
	int held, now, turn;
	struct heir heir;

	heir_prepare(test, c, &heir);
	heir.sub->young_pages = BIT(0) | BIT(1);
	held = atomic_read(&heir.process->mm->mm_count);
	for (turn = 0; turn < turns; turn++) {
		age_of_heir(&heir, 0);
		age_of_heir(&heir, 1);
		secondary_window_end();
		heir.sub->nr = 0;
	}
	now = atomic_read(&heir.process->mm->mm_count);
	KUNIT_EXPECT_LT(test, abs(now - held), turns / 2);
	classic_exit(test);
}

static struct mnk_call listed(unsigned long start, unsigned long end)
{
	return CALL_PLAIN(MNK_CLEAR_YOUNG_LIST, start, end);
}

/*
 * If nothing depends on the answer nobody is asked, and what reclaim came by is
 * cleared when the batch ends. The next batch asks again.
 */
static void unasked_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	const unsigned long pages[] = {
		page_at(c, 0, 0), page_at(c, 1, 3), page_at(c, 0, 1), page_at(c, 1, 4),
	};
	struct secondary_list list;

	c->sub->young = true;
	c->sub->young_pages = ULONG_MAX;
	secondary_list_begin(&list);
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 0, 0));
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 1, 3));
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 0, 1));
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 1, 4));
	mnk_expect_silence(test, c->sub);
	secondary_window_end();
	MNK_EXPECT(test, c->sub, listed(pages[0], pages[3] + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, c->sub->nr_listed, ARRAY_SIZE(pages));
	KUNIT_EXPECT_MEMEQ(test, c->sub->listed, pages, sizeof(pages));

	KUNIT_EXPECT_EQ(test, 1, age(test, c, 0, 2));
	MNK_EXPECT(test, c->sub, alone(c, 0, 2));
	classic_exit(test);
	mnk_expect_silence(test, c->sub);
}

/* Nothing that is looked at is nothing to clear. */
static void unasked_none_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	struct secondary_list list;

	secondary_list_begin(&list);
	classic_exit(test);
	mnk_expect_silence(test, c->sub);
}

/* More pages than a batch has folios: folios that several processes map. */
static void unasked_many_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	struct secondary_list list;
	int i;

	secondary_list_begin(&list);
	for (i = 0; i <= SWAP_CLUSTER_MAX; i++)
		age(test, c, 0, i % NR_PAGES);
	KUNIT_EXPECT_EQ(test, c->sub->nr_listed, SWAP_CLUSTER_MAX);
	MNK_EXPECT(test, c->sub, listed(page_at(c, 0, 0), page_at(c, 0, 2)));
	classic_exit(test);
	KUNIT_EXPECT_EQ(test, c->sub->nr_listed, 1);
	MNK_EXPECT(test, c->sub, listed(page_at(c, 0, 2), page_at(c, 0, 3)));
}

/* One process is held for its list. Another one is asked as ever. */
static void unasked_second_process_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	struct secondary_list list;
	struct heir heir;

	heir_prepare(test, c, &heir);
	heir.sub->young = true;
	secondary_list_begin(&list);
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 0, 0));
	KUNIT_EXPECT_EQ(test, 1, age_of_heir(&heir, 0));
	KUNIT_EXPECT_EQ(test, 0, age(test, c, 0, 1));
	MNK_EXPECT(test, heir.sub, alone(c, 1, 0));
	mnk_expect_silence(test, c->sub);
	classic_exit(test);
	MNK_EXPECT(test, c->sub, listed(page_at(c, 0, 0), page_at(c, 0, 2)));
	mnk_expect_silence(test, heir.sub);
}

/* A process that exits before the batch ends is not told of it any more. */
static void unasked_exit_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	struct secondary_list list;
	struct heir heir;

	heir_prepare(test, c, &heir);
	secondary_list_begin(&list);
	KUNIT_EXPECT_EQ(test, 0, age_of_heir(&heir, 0));
	mnk_end(test, heir.process);
	mnk_wait_for(test, hlist_unhashed_lockless(&heir.sub->mn.hlist));
	classic_exit(test);
	MNK_EXPECT(test, heir.sub, CALL_RELEASE);
}

/* Who answers for one page at a time is not asked for pages nobody looks at. */
static void by_page_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	struct mnk_sub *sub = mnk_subscribe(test, current->mm, &mnk_page_ops);

	sub->young = true;
	KUNIT_EXPECT_EQ(test, 1, age(test, c, 0, 0));
	KUNIT_EXPECT_EQ(test, 1, age(test, c, 0, 1));
	MNK_EXPECT(test, c->sub, alone_and_flushed(c, 0, 0),
		   alone_and_flushed(c, 0, 1));
	MNK_EXPECT(test, sub, alone_and_flushed(c, 0, 0),
		   alone_and_flushed(c, 0, 1));
	classic_exit(test);
}

/* Outside of reclaim nobody says when an answer is old. */
static void outside_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);

	classic_exit(test);
	age(test, c, 0, 0);
	age(test, c, 0, 1);
	MNK_EXPECT(test, c->sub, alone_and_flushed(c, 0, 0),
		   alone_and_flushed(c, 0, 1));
}

/* The next folios that reclaim takes from the list get answers of their own. */
static void next_batch_test(struct kunit *test)
{
	struct classic *c = classic_prepare(test);
	struct folio *folio = mnk_lock_folio(test, page_at(c, 1, 0));
	LIST_HEAD(folios);

	KUNIT_ASSERT_TRUE(test, folio_isolate_lru(folio));
	list_add(&folio->lru, &folios);
	mnk_unlock_folio(folio);

	age(test, c, 0, 0);
	age(test, c, 0, 1);
	MNK_EXPECT(test, c->sub, alone(c, 0, 0), asked(c, 0));
	reclaim_pages(&folios);
	c->sub->nr = 0;
	age(test, c, 0, 2);
	MNK_EXPECT(test, c->sub, asked(c, 0));
	classic_exit(test);
}

static struct kunit_case classic_cases[] = {
	KUNIT_CASE(neighbours_test),
	KUNIT_CASE(apart_test),
	KUNIT_CASE(processes_test),
	KUNIT_CASE(second_process_test),
	KUNIT_CASE(exit_test),
	KUNIT_CASE(hold_test),
	KUNIT_CASE(unasked_test),
	KUNIT_CASE(unasked_none_test),
	KUNIT_CASE(unasked_many_test),
	KUNIT_CASE(unasked_second_process_test),
	KUNIT_CASE(unasked_exit_test),
	KUNIT_CASE(by_page_test),
	KUNIT_CASE(outside_test),
	KUNIT_CASE(next_batch_test),
	{ }
};

static struct kunit_suite classic_suite = {
	.name = "mmu_notifier_classic",
	.init = classic_init,
	.test_cases = classic_cases,
};

kunit_test_suite(classic_suite);
