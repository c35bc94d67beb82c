/* SPDX-License-Identifier: GPL-2.0 */
/*
 * MMU notifiers: the core VM tells secondary MMUs (KVM, GPUs, RDMA NICs, the
 * GRU, XPMEM) that the page tables of a process change under them.
 *
 * The first half of this file is for subscribers, the second half for mm/.
 * Documentation/mm/mmu_notifier.rst explains how to write a subscriber.
 */
#ifndef _LINUX_MMU_NOTIFIER_H
#define _LINUX_MMU_NOTIFIER_H

#include <linux/atomic.h>
#include <linux/interval_tree.h>
#include <linux/jump_label.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mm_types.h>
#include <linux/mmap_lock.h>
#include <linux/mmdebug.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>

struct mmu_interval_lane;
struct mmu_interval_notifier;
struct mmu_notifier;
struct mmu_notifier_range;
struct mmu_notifier_subscriptions;

/**
 * enum mmu_notifier_event - why the core VM calls
 * @MMU_NOTIFY_UNMAP: munmap() takes the range away, or mremap() moves it
 * @MMU_NOTIFY_CLEAR: entries are cleared or replaced for any other reason
 * @MMU_NOTIFY_PROTECTION_VMA: the protection of entries in the range changes; the
 *	page tables tell which, not vm_page_prot alone
 * @MMU_NOTIFY_PROTECTION_PAGE: single entries lose write permission; the page
 *	tables tell which
 * @MMU_NOTIFY_SOFT_DIRTY: soft-dirty tracking restarts; pages and permissions
 *	stay, writes through the secondary MMU must fault again
 * @MMU_NOTIFY_RELEASE: the address space is going away
 * @MMU_NOTIFY_MIGRATE: migrate_vma_setup() collects the range; the driver named
 *	by the owner asked for it and may ignore the event
 * @MMU_NOTIFY_EXCLUSIVE: an entry becomes exclusive to the device named by the
 *	owner, which may ignore the event; when it ends, %MMU_NOTIFY_CLEAR is sent
 */
enum mmu_notifier_event {
	MMU_NOTIFY_UNMAP,
	MMU_NOTIFY_CLEAR,
	MMU_NOTIFY_PROTECTION_VMA,
	MMU_NOTIFY_PROTECTION_PAGE,
	MMU_NOTIFY_SOFT_DIRTY,
	MMU_NOTIFY_RELEASE,
	MMU_NOTIFY_MIGRATE,
	MMU_NOTIFY_EXCLUSIVE,
};

/* The callbacks of this section may sleep. */
#define MMU_NOTIFIER_RANGE_BLOCKABLE	BIT(0)
/* Of one folio: subscribers with invalidate_page do not hear this section. */
#define MMU_NOTIFIER_RANGE_FOLIO	BIT(1)
/* Of more than that: every subscriber with ranges hears it. */
#define MMU_NOTIFIER_RANGE_SPAN		BIT(2)

/**
 * struct mmu_notifier_ops - callbacks of a subscriber
 *
 * Every callback is optional. Those that must not sleep run in an RCU read-side
 * critical section, most often with a page table lock held on top: while a lock
 * that they take is held, no page table lock or folio lock may be acquired and no
 * reclaim entered.
 */
struct mmu_notifier_ops {
	/**
	 * @release: The address space is going away, or the subscriber
	 * unregisters. All translations must be gone, and none may come back,
	 * when it returns. Runs exactly once in the life of a subscription,
	 * before exit frees the first page; not at all when the subscription
	 * ends by mmu_notifier_put() first. May sleep. Other callbacks can run
	 * at the same time.
	 */
	void (*release)(struct mmu_notifier *subscription,
			struct mm_struct *mm);

	/**
	 * @clear_flush_young: Test and clear the accessed state of
	 * [@start, @end), and make sure that the next access sets it again
	 * (flush). Returns whether any of it had been accessed. A secondary
	 * MMU without an accessed bit drops the translation instead and
	 * returns whether there was one. Must not sleep.
	 */
	bool (*clear_flush_young)(struct mmu_notifier *subscription,
				  struct mm_struct *mm,
				  unsigned long start, unsigned long end);

	/**
	 * @clear_young: The same without the promise to flush. Must not sleep.
	 */
	bool (*clear_young)(struct mmu_notifier *subscription,
			    struct mm_struct *mm,
			    unsigned long start, unsigned long end);

	/**
	 * @test_young: Tell the accessed state of the page at @address and
	 * change nothing. Must not sleep.
	 */
	bool (*test_young)(struct mmu_notifier *subscription,
			   struct mm_struct *mm, unsigned long address);

	/**
	 * @test_young_pages: @test_young for @nr_pages pages of one page table:
	 * set the bit of each page that has been accessed in @young, where bit
	 * 0 is the page at @start; leave the others alone. Must not sleep.
	 *
	 * This and @clear_young_pages are for subscribers that answer for many
	 * pages at less than the cost of as many calls. They come together or
	 * not at all; without them @test_young and @clear_young are called for
	 * each page. With them reclaim, too, asks for small folios without the
	 * promise to flush: @clear_flush_young is left for large ones.
	 */
	void (*test_young_pages)(struct mmu_notifier *subscription,
				 struct mm_struct *mm, unsigned long start,
				 unsigned int nr_pages, unsigned long *young);

	/**
	 * @clear_young_pages: Clear the accessed state of the pages whose bits
	 * are set in @pages, and of no other, without the promise to flush.
	 * Reclaim calls it when it has looked at some folios, without the page
	 * table lock: the pages may have gone since. Must not sleep.
	 */
	void (*clear_young_pages)(struct mmu_notifier *subscription,
				  struct mm_struct *mm, unsigned long start,
				  unsigned int nr_pages,
				  const unsigned long *pages);

	/**
	 * @clear_young_list: The same for the @nr_pages pages at @addresses,
	 * in any order and not necessarily of one page table. For subscribers
	 * with @clear_young_pages, which is called instead if this is missing.
	 * Must not sleep.
	 */
	void (*clear_young_list)(struct mmu_notifier *subscription,
				 struct mm_struct *mm,
				 const unsigned long *addresses,
				 unsigned int nr_pages);

	/**
	 * @invalidate_page: The entry that maps @nr_pages pages of one folio at
	 * @address has just been cleared or, for %MMU_NOTIFY_PROTECTION_PAGE,
	 * is about to come back without write permission. The page table lock
	 * is held and the folio cannot be freed or reused before it is dropped:
	 * translations of these pages must be gone on return. Faults need not
	 * be held off beyond that, a lookup finds the new state of the page
	 * tables; but one that began earlier must be made to retry.
	 *
	 * With this callback a subscriber does not get the ranges that the core
	 * VM would open around such single entries. Ranges with more entries or
	 * with holes still come by @invalidate_range_start, which is therefore
	 * mandatory beside it. Must not sleep.
	 */
	void (*invalidate_page)(struct mmu_notifier *subscription,
				struct mm_struct *mm, unsigned long address,
				unsigned long nr_pages,
				enum mmu_notifier_event event);

	/**
	 * @invalidate_page_batched: @invalidate_page for reclaim, which takes
	 * many pages away and then calls @flush_batch once for all of them.
	 * Nothing needs to be done before that, or before the next
	 * @invalidate_page, @invalidate_range_start or @release that has the
	 * pages: translations may stay and be used, and faults that looked the
	 * pages up may establish new ones. What takes a translation out of the
	 * tables of the secondary MMU makes such faults retry from then on. If
	 * hardware may still use one that is not in the tables any more, each of
	 * these callbacks waits for that, at whatever address it is.
	 *
	 * Until @flush_batch has returned the folio is locked, and neither
	 * written out nor freed: a fault that finds the new entry waits for it.
	 * So a subscriber with this callback waits in none of its others for
	 * somebody who may fault.
	 *
	 * Comes with @flush_batch and @invalidate_page or not at all; without it
	 * @invalidate_page is called. Must not sleep.
	 */
	void (*invalidate_page_batched)(struct mmu_notifier *subscription,
					struct mm_struct *mm,
					unsigned long address,
					unsigned long nr_pages,
					enum mmu_notifier_event event);

	/**
	 * @flush_batch: On return there are no translations of what
	 * @invalidate_page_batched was called for before, neither in the tables
	 * nor in the hardware. Can come without such a call, and in parallel
	 * with others: what another task has begun to drop or to flush counts
	 * only once that is complete. Must not sleep.
	 */
	void (*flush_batch)(struct mmu_notifier *subscription,
			    struct mm_struct *mm);

	/**
	 * @invalidate_range_start: Entries in the range are going to change. On
	 * return translations of it must be gone, and none may be established
	 * before the matching @invalidate_range_end. Sections nest, overlap and
	 * run in parallel.
	 *
	 * May sleep if mmu_notifier_range_blockable(). Otherwise it returns
	 * -EAGAIN, having changed nothing, when it would have to: then nothing
	 * in the range changes and no end follows. 0 in all other cases.
	 */
	int (*invalidate_range_start)(struct mmu_notifier *subscription,
				      const struct mmu_notifier_range *range);

	/**
	 * @invalidate_range_end: The changes are made; the pages may have been
	 * freed already. Runs once for each start that returned 0, unless the
	 * subscription has ended. May sleep if mmu_notifier_range_blockable().
	 */
	void (*invalidate_range_end)(struct mmu_notifier *subscription,
				     const struct mmu_notifier_range *range);

	/**
	 * @arch_invalidate_secondary_tlbs: The CPU flushes its TLB for the
	 * range, also when a permission widens. For devices that walk the
	 * page tables of the CPU; such a device needs no other notification,
	 * and a table that has this one beside invalidate_page or
	 * invalidate_range_start/end is refused. Must not sleep.
	 */
	void (*arch_invalidate_secondary_tlbs)(struct mmu_notifier *subscription,
					       struct mm_struct *mm,
					       unsigned long start,
					       unsigned long end);

	/**
	 * @alloc_notifier: For mmu_notifier_get(): allocate a subscription for
	 * @mm. Returns it or an ERR_PTR(). Runs under mmap_lock for writing and
	 * may sleep.
	 */
	struct mmu_notifier *(*alloc_notifier)(struct mm_struct *mm);

	/**
	 * @free_notifier: For mmu_notifier_put(): free the subscription. No
	 * callback of it runs or can run any more. Should not sleep for long.
	 */
	void (*free_notifier)(struct mmu_notifier *subscription);
};

/**
 * struct mmu_notifier - one subscription to one mm
 * @hlist: link in the subscription list; off it, still registered, once release
 *	has been called by exit
 * @ops: the callbacks; constant while registered
 * @mm: the address space, its mm_count is held while registered
 * @stamp: number of this registration on @mm; sections that started before it
 *	are not reported, neither their start nor their end
 * @flags: progress of release and teardown, bits are private to
 *	mm/mmu_notifier.c
 * @users: references by mmu_notifier_get(), under the list's lock
 * @put: link among those that mmu_notifier_put() gave up, in place of @users
 *
 * Zero-initialised by the subscriber, who sets @ops; the rest belongs to the
 * core.
 */
struct mmu_notifier {
	struct hlist_node hlist;
	const struct mmu_notifier_ops *ops;
	struct mm_struct *mm;
	unsigned long stamp;
	unsigned long flags;
	union {
		unsigned int users;
		struct llist_node put;
	};
};

/**
 * struct mmu_notifier_range - what a section is about
 * @mm: the address space
 * @start: first address, page aligned
 * @end: first address after the range, page aligned, or ULONG_MAX for the whole
 *	address space
 * @flags: MMU_NOTIFIER_RANGE_*
 * @event: why the entries change
 * @owner: for %MMU_NOTIFY_MIGRATE and %MMU_NOTIFY_EXCLUSIVE, who asked for it
 * @stamp: youngest registration that heard the start; private to the core
 * @lane: where the intervals of @mm keep the section while it is open; private
 *	to the core, as is what follows. NULL if @mm had none at the start
 * @lane_node: link in the open sections of @lane that hit an interval, under its
 *	lock
 * @seq: number of the section, unique in @mm; set if it hit one
 * @phase: where @lane counts the section if it hit none; set if there is a @lane
 */
struct mmu_notifier_range {
	struct mm_struct *mm;
	unsigned long start;
	unsigned long end;
	unsigned int flags;
	enum mmu_notifier_event event;
	void *owner;
	unsigned long stamp;
	struct mmu_interval_lane *lane;
	struct hlist_node lane_node;
	unsigned long seq;
	unsigned int phase;
};

/**
 * struct mmu_interval_notifier_finish - the second pass of an invalidation
 * @link: list of the second passes of a section; the core's between the passes
 * @notifier: the interval that invalidate_start was called for; set by the core
 *
 * Storage that invalidate_start provides for one call of invalidate_finish, most
 * often embedded in what the two share. Sections run in parallel: each call
 * needs one of its own.
 */
struct mmu_interval_notifier_finish {
	struct llist_node link;
	struct mmu_interval_notifier *notifier;
};

/**
 * struct mmu_interval_notifier_ops - callbacks of an interval
 *
 * Either @invalidate, or the other two.
 */
struct mmu_interval_notifier_ops {
	/**
	 * @invalidate: Entries in @range, which overlaps the interval, are going
	 * to change. Takes the driver's lock, passes @cur_seq to
	 * mmu_interval_set_seq(), and drops the translations. None may be
	 * established before mmu_interval_read_begin() has come and gone again.
	 *
	 * May sleep if mmu_notifier_range_blockable(). Otherwise it returns
	 * false, having changed nothing, when it would have to; then nothing in
	 * the range changes. true in all other cases.
	 *
	 * An mm that exits sends %MMU_NOTIFY_RELEASE for all addresses, before
	 * the first page is freed.
	 */
	bool (*invalidate)(struct mmu_interval_notifier *interval_sub,
			   const struct mmu_notifier_range *range,
			   unsigned long cur_seq);

	/**
	 * @invalidate_start: The same in two passes: begin to drop the
	 * translations, and leave the wait for the hardware to
	 * @invalidate_finish, which comes after every interval of the range has
	 * begun. Asks for it by pointing @finish, NULL so far, to storage; does
	 * everything itself otherwise. Does not ask when it returns false.
	 */
	bool (*invalidate_start)(struct mmu_interval_notifier *interval_sub,
				 const struct mmu_notifier_range *range,
				 unsigned long cur_seq,
				 struct mmu_interval_notifier_finish **finish);

	/**
	 * @invalidate_finish: Runs once for each invalidate_start that asked for
	 * it, in the same order; also if another interval refused after that.
	 * Translations must be gone on return. May free @finish. May sleep if
	 * the start could.
	 */
	void (*invalidate_finish)(struct mmu_interval_notifier_finish *finish);
};

/**
 * struct mmu_interval_notifier - a subscription to an interval of one mm
 * @interval_tree: the interval, its last address included, and the link in the
 *	tree of the mm
 * @ops: the callbacks; constant while inserted
 * @mm: the address space, its mm_count is held while inserted
 * @invalidate_seq: number of the section that was reported last; written and
 *	compared under the driver's lock
 * @active: one for the insertion and one for each callback that runs now, until
 *	the end of its second pass
 * @dead: being removed, is not called any more
 * @settled: the sections that started before the insertion have ended
 *
 * mmu_interval_notifier_insert() sets everything.
 */
struct mmu_interval_notifier {
	struct interval_tree_node interval_tree;
	const struct mmu_interval_notifier_ops *ops;
	struct mm_struct *mm;
	unsigned long invalidate_seq;
	atomic_t active;
	bool dead;
	bool settled;
};

#ifdef CONFIG_MMU_NOTIFIER

#ifdef CONFIG_LOCKDEP
/* Held across every start: reclaim may open a section, so may not be entered. */
extern struct lockdep_map __mmu_notifier_invalidate_range_start_map;
#endif

/**
 * mmu_notifier_range_blockable - may the callback sleep?
 * @range: the range given to invalidate_range_start() or _end()
 *
 * Return: true if it may.
 */
static inline bool
mmu_notifier_range_blockable(const struct mmu_notifier_range *range)
{
	return range->flags & MMU_NOTIFIER_RANGE_BLOCKABLE;
}

int mmu_notifier_register(struct mmu_notifier *subscription,
			  struct mm_struct *mm);
int __mmu_notifier_register(struct mmu_notifier *subscription,
			    struct mm_struct *mm);
void mmu_notifier_unregister(struct mmu_notifier *subscription,
			     struct mm_struct *mm);
struct mmu_notifier *mmu_notifier_get(const struct mmu_notifier_ops *ops,
				      struct mm_struct *mm);
struct mmu_notifier *mmu_notifier_get_locked(const struct mmu_notifier_ops *ops,
					     struct mm_struct *mm);
void mmu_notifier_put(struct mmu_notifier *subscription);
void mmu_notifier_synchronize(void);

int mmu_interval_notifier_insert(struct mmu_interval_notifier *interval_sub,
				 struct mm_struct *mm, unsigned long start,
				 unsigned long length,
				 const struct mmu_interval_notifier_ops *ops);
int mmu_interval_notifier_insert_locked(struct mmu_interval_notifier *interval_sub,
					struct mm_struct *mm,
					unsigned long start,
					unsigned long length,
					const struct mmu_interval_notifier_ops *ops);
void mmu_interval_notifier_remove(struct mmu_interval_notifier *interval_sub);
unsigned long
mmu_interval_read_begin(struct mmu_interval_notifier *interval_sub);

/**
 * mmu_interval_set_seq - note that an invalidation has reached the interval
 * @interval_sub: the interval that is called
 * @cur_seq: the number that the callback was given
 *
 * Each callback that does not refuse calls this before it drops translations,
 * unless nobody reads the interval with mmu_interval_read_begin(), or the
 * driver itself has caused the section and its readers may ignore it.
 *
 * Context: The driver's lock is held, the one of mmu_interval_read_retry().
 */
static inline void
mmu_interval_set_seq(struct mmu_interval_notifier *interval_sub,
		     unsigned long cur_seq)
{
	/* Pairs with the acquire in mmu_interval_read_begin(). */
	smp_store_release(&interval_sub->invalidate_seq, cur_seq);
}

/**
 * mmu_interval_read_retry - may what was read be used?
 * @interval_sub: the interval
 * @seq: the count that mmu_interval_read_begin() returned
 *
 * Context: The driver's lock is held, the one of mmu_interval_set_seq(), and
 * stays held until the translations are established.
 *
 * Return: true if an invalidation came in between: drop what was read, and
 * begin again.
 */
static inline bool
mmu_interval_read_retry(struct mmu_interval_notifier *interval_sub,
			unsigned long seq)
{
	return READ_ONCE(interval_sub->invalidate_seq) != seq;
}

/**
 * mmu_interval_check_retry - is it clear already that it may not?
 * @interval_sub: the interval
 * @seq: the count that mmu_interval_read_begin() returned
 *
 * To leave a long read early, as often as one likes.
 *
 * Context: Any; the driver's lock need not be held.
 *
 * Return: true if mmu_interval_read_retry() is going to be true; false says
 * nothing.
 */
static inline bool
mmu_interval_check_retry(struct mmu_interval_notifier *interval_sub,
			 unsigned long seq)
{
	return READ_ONCE(interval_sub->invalidate_seq) != seq;
}

/*
 * What follows is called by mm/, fs/, kernel/ and arch/ only.
 */

/* On from the first registration since boot; never off again. */
DECLARE_STATIC_KEY_FALSE(mmu_notifier_used);

int __mmu_notifier_range_start(struct mmu_notifier_range *range);
void __mmu_notifier_range_end(struct mmu_notifier_range *range);
void __mmu_notifier_invalidate_page(const struct mmu_notifier_range *range,
				    unsigned long address,
				    unsigned long nr_pages);
void __mmu_notifier_invalidate_page_batched(const struct mmu_notifier_range *range,
					    unsigned long address,
					    unsigned long nr_pages);
bool __mmu_notifier_may_wait(struct mm_struct *mm);
void __mmu_notifier_flush_batch(void);
void __mmu_notifier_flush_pending(struct mm_struct *mm);
bool __mmu_notifier_clear_flush_young(struct mm_struct *mm,
				      unsigned long start, unsigned long end);
bool __mmu_notifier_clear_young(struct mm_struct *mm,
				unsigned long start, unsigned long end);
bool __mmu_notifier_test_young(struct mm_struct *mm, unsigned long address);
bool __mmu_notifier_batches_young(struct mm_struct *mm);
void __mmu_notifier_test_young_pages(struct mm_struct *mm, unsigned long start,
				     unsigned int nr_pages,
				     unsigned long *young);
void __mmu_notifier_clear_young_pages(struct mm_struct *mm, unsigned long start,
				      unsigned int nr_pages,
				      const unsigned long *pages);
void __mmu_notifier_clear_young_list(struct mm_struct *mm,
				     const unsigned long *addresses,
				     unsigned int nr_pages);
void __mmu_notifier_arch_invalidate_secondary_tlbs(struct mm_struct *mm,
						   unsigned long start,
						   unsigned long end);
void __mmu_notifier_release(struct mm_struct *mm);
void __mmu_notifier_subscriptions_destroy(struct mm_struct *mm);

/**
 * mm_has_notifiers - did anybody ever subscribe to this mm?
 * @mm: the address space
 *
 * One no-op instruction until the first registration on this machine, one load
 * and a not-taken branch after it.
 *
 * Return: true if there is a subscription list, which may be empty.
 */
static __always_inline bool mm_has_notifiers(struct mm_struct *mm)
{
	return static_branch_unlikely(&mmu_notifier_used) &&
	       unlikely(READ_ONCE(mm->notifier_subscriptions));
}

/* What a section has open, and so what its end and its pages have to call. */
enum mmu_notifier_section_state {
	MMU_SECTION_CLOSED,	/* nothing: nobody subscribed at the start */
	MMU_SECTION_RANGE,	/* a range, every subscriber heard the start */
	MMU_SECTION_FOLIO,	/* one folio, see mmu_notifier_folio_start() */
};

/**
 * struct mmu_notifier_section - a place in the code that changes page tables
 * @range: storage, filled at the start and only if somebody is subscribed
 * @state: what is open
 *
 * Defined with DEFINE_MMU_NOTIFIER_SECTION() where start and end are in one
 * function. The two fields then live in registers, and a section that is still
 * open where its scope ends is closed there.
 */
struct mmu_notifier_section {
	struct mmu_notifier_range *range;
	enum mmu_notifier_section_state state;
};

static __always_inline void
mmu_notifier_section_init(struct mmu_notifier_section *section,
			  struct mmu_notifier_range *range)
{
	section->range = range;
	section->state = MMU_SECTION_CLOSED;
}

#define DEFINE_MMU_NOTIFIER_SECTION(name)				\
	struct mmu_notifier_range name##_range __uninitialized;		\
	struct mmu_notifier_section name				\
		__cleanup(mmu_notifier_invalidate_range_end) = {	\
		.range = &name##_range,					\
		.state = MMU_SECTION_CLOSED,				\
	}

/* The slow part of a start: fills the range and calls the subscribers. */
static inline int
mmu_notifier_section_open(struct mmu_notifier_section *section,
			  enum mmu_notifier_section_state state,
			  unsigned int flags, enum mmu_notifier_event event,
			  struct mm_struct *mm, unsigned long start,
			  unsigned long end, void *owner)
{
	struct mmu_notifier_range *range = section->range;
	int ret;

	/* The end of what is open would be lost. */
	VM_WARN_ON_ONCE(section->state != MMU_SECTION_CLOSED);

	/* The core sets the rest, as far as it is needed. */
	range->mm = mm;
	range->start = start;
	range->end = end;
	range->flags = flags;
	range->event = event;
	range->owner = owner;
	ret = __mmu_notifier_range_start(range);
	if (!ret)
		section->state = state;
	return ret;
}

/*
 * Tells lockdep that a section may be opened here, so that callbacks which lead
 * back here are found without a subscriber: reclaim is one such place.
 */
static __always_inline void mmu_notifier_might_start(void)
{
	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
}

/**
 * mmu_notifier_invalidate_range_start_owner - open a section
 * @section: the section, closed
 * @event: why the entries change
 * @mm: the address space
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 * @owner: who asked for %MMU_NOTIFY_MIGRATE or %MMU_NOTIFY_EXCLUSIVE
 *
 * Context: mmap_lock, the lock of the VMA or the rmap lock of the range is
 * held from before the start until after the end, which is what registration
 * relies on. May sleep.
 */
static __always_inline void
mmu_notifier_invalidate_range_start_owner(struct mmu_notifier_section *section,
					  enum mmu_notifier_event event,
					  struct mm_struct *mm,
					  unsigned long start,
					  unsigned long end, void *owner)
{
	might_sleep();
	mmu_notifier_might_start();
	if (mm_has_notifiers(mm))
		mmu_notifier_section_open(section, MMU_SECTION_RANGE,
					  MMU_NOTIFIER_RANGE_BLOCKABLE |
					  MMU_NOTIFIER_RANGE_SPAN, event,
					  mm, start, end, owner);
}

/**
 * mmu_notifier_invalidate_range_start - open a section
 * @section: the section, closed
 * @event: why the entries change
 * @mm: the address space
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 *
 * Context: as mmu_notifier_invalidate_range_start_owner(). May sleep.
 */
static __always_inline void
mmu_notifier_invalidate_range_start(struct mmu_notifier_section *section,
				    enum mmu_notifier_event event,
				    struct mm_struct *mm,
				    unsigned long start, unsigned long end)
{
	mmu_notifier_invalidate_range_start_owner(section, event, mm,
						  start, end, NULL);
}

/**
 * mmu_notifier_invalidate_range_start_nonblock - open a section without sleeping
 * @section: the section, closed
 * @event: why the entries change
 * @mm: the address space
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 *
 * Context: as mmu_notifier_invalidate_range_start_owner(), but does not sleep.
 *
 * Return: 0, or -EAGAIN if a subscriber would have to sleep. In that case the
 * section is not open, nothing in the range may be changed, and every
 * subscriber that had agreed before has heard the end already.
 */
static __always_inline int __must_check
mmu_notifier_invalidate_range_start_nonblock(struct mmu_notifier_section *section,
					     enum mmu_notifier_event event,
					     struct mm_struct *mm,
					     unsigned long start,
					     unsigned long end)
{
	mmu_notifier_might_start();
	if (mm_has_notifiers(mm))
		return mmu_notifier_section_open(section, MMU_SECTION_RANGE,
						 MMU_NOTIFIER_RANGE_SPAN, event,
						 mm, start, end, NULL);
	return 0;
}

/**
 * mmu_notifier_folio_start - announce a change to entries of one folio
 * @section: the section, closed
 * @event: why the entries change
 * @mm: the address space
 * @start: first address, page aligned
 * @end: first address behind the range, page aligned
 *
 * For operations that clear or write-protect at most one entry (a PTE or a PMD)
 * and leave no hole. Subscribers with an invalidate_page callback hear nothing
 * yet, mmu_notifier_invalidate_page() calls them; for the others this is
 * mmu_notifier_invalidate_range_start().
 *
 * Context: as mmu_notifier_invalidate_range_start_owner(), before the page table
 * lock is taken. May sleep.
 */
static __always_inline void
mmu_notifier_folio_start(struct mmu_notifier_section *section,
			 enum mmu_notifier_event event, struct mm_struct *mm,
			 unsigned long start, unsigned long end)
{
	might_sleep();
	mmu_notifier_might_start();
	if (mm_has_notifiers(mm))
		mmu_notifier_section_open(section, MMU_SECTION_FOLIO,
					  MMU_NOTIFIER_RANGE_BLOCKABLE |
					  MMU_NOTIFIER_RANGE_FOLIO, event,
					  mm, start, end, NULL);
}

/**
 * mmu_notifier_invalidate_page - an entry has just been cleared
 * @section: a section opened by mmu_notifier_folio_start(); for any other it
 *	does nothing, those have announced the change already
 * @address: first address that the entry maps
 * @nr_pages: number of pages that the entry maps
 *
 * Comes right after the entry is cleared, before its dirty bit is passed on,
 * before anybody counts references, and before a new entry is written.
 *
 * Context: page table lock held, folio pinned. Does not sleep.
 */
static __always_inline void
mmu_notifier_invalidate_page(struct mmu_notifier_section *section,
			     unsigned long address, unsigned long nr_pages)
{
	if (unlikely(section->state == MMU_SECTION_FOLIO))
		__mmu_notifier_invalidate_page(section->range, address,
					       nr_pages);
}

/* Processes that one batch can flush; those of others are flushed page by page. */
#define MMU_NOTIFIER_BATCH_MMS	8

/**
 * struct mmu_notifier_batch - whose secondary MMUs a task has to flush
 * @outer: the batch that the task had begun before
 * @nr: number of processes, 0: there is nothing to flush
 * @mms: the processes, referenced by mm_count
 */
struct mmu_notifier_batch {
	struct mmu_notifier_batch *outer;
	unsigned int nr;
	struct mm_struct *mms[MMU_NOTIFIER_BATCH_MMS];
};

/**
 * mmu_notifier_batch_begin - this task can leave flushes for later
 * @batch: to note them in, until mmu_notifier_batch_end()
 */
static __always_inline void
mmu_notifier_batch_begin(struct mmu_notifier_batch *batch)
{
	batch->outer = current->mmu_notifier_batch;
	batch->nr = 0;
	current->mmu_notifier_batch = batch;
}

/**
 * mmu_notifier_invalidate_page_batched - an entry is cleared, one of many
 * @section: as for mmu_notifier_invalidate_page()
 * @address: first address that the entry maps
 * @nr_pages: number of pages that the entry maps
 *
 * mmu_notifier_invalidate_page() that leaves the work to mmu_notifier_flush_batch()
 * of the same task, if the task has begun a batch: until then secondary MMUs use
 * the page. The caller keeps the folio locked and in its cache, so that nobody can
 * map it or what takes its place, does not write it out, and does not free it.
 *
 * Context: page table lock and folio lock held, the folio is in the page cache
 * or in the swap cache. Does not sleep.
 */
static __always_inline void
mmu_notifier_invalidate_page_batched(struct mmu_notifier_section *section,
				     unsigned long address,
				     unsigned long nr_pages)
{
	if (unlikely(section->state == MMU_SECTION_FOLIO))
		__mmu_notifier_invalidate_page_batched(section->range, address,
						       nr_pages);
}

/**
 * mmu_notifier_batch_pending - is there anything to flush?
 *
 * Context: any.
 *
 * Return: true if this task owes a mmu_notifier_flush_batch().
 */
static __always_inline bool mmu_notifier_batch_pending(void)
{
	return static_branch_unlikely(&mmu_notifier_used) &&
	       current->mmu_notifier_batch &&
	       unlikely(current->mmu_notifier_batch->nr);
}

/**
 * mmu_notifier_may_wait - does somebody wait in the section of a small folio?
 * @mm: the address space
 *
 * A subscriber without invalidate_page may wait in its callbacks for processes
 * that fault. Who keeps folios locked until mmu_notifier_flush_batch() cannot call
 * it: they may fault on one of these. It leaves no flush of such an mm for later,
 * either: the next section of the same mm could not be opened before the flush.
 * In a section of anything else somebody may always wait: reclaim opens none while
 * it keeps other folios locked.
 *
 * Context: as that of the section, before it.
 *
 * Return: true if somebody of @mm may wait.
 */
static __always_inline bool mmu_notifier_may_wait(struct mm_struct *mm)
{
	return mm_has_notifiers(mm) && __mmu_notifier_may_wait(mm);
}

/**
 * mmu_notifier_flush_batch - take from secondary MMUs what was left for later
 *
 * On return none of them uses a translation of what this task has taken away with
 * mmu_notifier_invalidate_page_batched(), neither by its tables nor by its hardware.
 *
 * Context: process context, no page table lock held. Does not sleep.
 */
static __always_inline void mmu_notifier_flush_batch(void)
{
	if (mmu_notifier_batch_pending())
		__mmu_notifier_flush_batch();
}

/**
 * mmu_notifier_flush_pending - take away what other tasks have left for later
 * @mm: the address space
 *
 * For those who fill an entry that they found empty without the lock of the folio
 * that was there: on return no secondary MMU uses a translation any more that
 * reclaim took away before, in whatever task.
 *
 * Context: any. Does not sleep.
 */
static __always_inline void mmu_notifier_flush_pending(struct mm_struct *mm)
{
	if (mm_has_notifiers(mm))
		__mmu_notifier_flush_pending(mm);
}

/**
 * mmu_notifier_batch_end - flush, and leave nothing for later any more
 *
 * Context: as mmu_notifier_flush_batch().
 */
static __always_inline void mmu_notifier_batch_end(void)
{
	mmu_notifier_flush_batch();
	current->mmu_notifier_batch = current->mmu_notifier_batch->outer;
}

/**
 * mmu_notifier_invalidate_range_end - close a section
 * @section: the section; may be closed already
 *
 * Calls exactly the subscribers that heard the start.
 *
 * Context: page table lock dropped. May sleep if the start could.
 */
static __always_inline void
mmu_notifier_invalidate_range_end(struct mmu_notifier_section *section)
{
	if (unlikely(section->state != MMU_SECTION_CLOSED)) {
		section->state = MMU_SECTION_CLOSED;
		__mmu_notifier_range_end(section->range);
	}
}

/**
 * mmu_notifier_clear_flush_young - test and clear the accessed state, and flush
 * @mm: the address space
 * @start: first address
 * @end: first address behind the range
 *
 * Every subscriber is asked, whatever the others and the page table said, so
 * that no accessed bit stays behind to keep the page for another scan: callers
 * combine the result with ``|``, not with ``||``.
 *
 * Context: any; most often under the page table lock. Does not sleep.
 *
 * Return: true if any secondary MMU had accessed the range.
 */
static __always_inline bool
mmu_notifier_clear_flush_young(struct mm_struct *mm, unsigned long start,
			       unsigned long end)
{
	return mm_has_notifiers(mm) &&
	       __mmu_notifier_clear_flush_young(mm, start, end);
}

/**
 * mmu_notifier_clear_young - test and clear the accessed state
 * @mm: the address space
 * @start: first address
 * @end: first address behind the range
 *
 * Like mmu_notifier_clear_flush_young(), but a subscriber need not flush.
 *
 * Context: any. Does not sleep.
 *
 * Return: true if any secondary MMU had accessed the range.
 */
static __always_inline bool
mmu_notifier_clear_young(struct mm_struct *mm, unsigned long start,
			 unsigned long end)
{
	return mm_has_notifiers(mm) &&
	       __mmu_notifier_clear_young(mm, start, end);
}

/**
 * mmu_notifier_test_young - has a secondary MMU accessed the page?
 * @mm: the address space
 * @address: address of the page
 *
 * Context: any. Does not sleep.
 *
 * Return: true if any has.
 */
static __always_inline bool
mmu_notifier_test_young(struct mm_struct *mm, unsigned long address)
{
	return mm_has_notifiers(mm) && __mmu_notifier_test_young(mm, address);
}

/**
 * mmu_notifier_batches_young - does one call for many pages cost one call?
 * @mm: the address space
 *
 * Context: any.
 *
 * Return: true if somebody has been subscribed to @mm, and nobody who has to be
 * asked for accessed bits page by page.
 */
static __always_inline bool mmu_notifier_batches_young(struct mm_struct *mm)
{
	return mm_has_notifiers(mm) && __mmu_notifier_batches_young(mm);
}

/**
 * mmu_notifier_test_young_pages - which pages has a secondary MMU accessed?
 * @mm: the address space
 * @start: address of the first page
 * @nr_pages: number of pages, of one page table
 * @young: bitmap; the bits of pages that were accessed are set, bit 0 is the
 *	page at @start
 *
 * Context: any; most often under the page table lock. Does not sleep.
 */
static __always_inline void
mmu_notifier_test_young_pages(struct mm_struct *mm, unsigned long start,
			      unsigned int nr_pages, unsigned long *young)
{
	if (mm_has_notifiers(mm))
		__mmu_notifier_test_young_pages(mm, start, nr_pages, young);
}

/**
 * mmu_notifier_clear_young_pages - clear the accessed state of some pages
 * @mm: the address space
 * @start: address of the first page
 * @nr_pages: number of pages, of one page table
 * @pages: bitmap of the pages, bit 0 is the one at @start
 *
 * A subscriber need not flush. Says nothing about what it clears: to lose no
 * access, ask before and name pages that are treated as accessed anyway.
 *
 * Context: any; most often under the page table lock. Does not sleep.
 */
static __always_inline void
mmu_notifier_clear_young_pages(struct mm_struct *mm, unsigned long start,
			       unsigned int nr_pages,
			       const unsigned long *pages)
{
	if (mm_has_notifiers(mm))
		__mmu_notifier_clear_young_pages(mm, start, nr_pages, pages);
}

/**
 * mmu_notifier_clear_young_list - clear the accessed state of scattered pages
 * @mm: the address space
 * @addresses: of the pages, in any order
 * @nr_pages: number of pages
 *
 * Like mmu_notifier_clear_young_pages(), for callers that treat the pages alike
 * whether they were accessed or not.
 *
 * Context: any; most often under no page table lock. Does not sleep.
 */
static __always_inline void
mmu_notifier_clear_young_list(struct mm_struct *mm,
			      const unsigned long *addresses,
			      unsigned int nr_pages)
{
	if (mm_has_notifiers(mm))
		__mmu_notifier_clear_young_list(mm, addresses, nr_pages);
}

/**
 * mmu_notifier_arch_invalidate_secondary_tlbs - the CPU flushes its TLB
 * @mm: the address space
 * @start: first address
 * @end: first address behind the range, or -1UL for all
 *
 * Context: any; often under the page table lock. Does not sleep.
 */
static __always_inline void
mmu_notifier_arch_invalidate_secondary_tlbs(struct mm_struct *mm,
					    unsigned long start,
					    unsigned long end)
{
	if (mm_has_notifiers(mm))
		__mmu_notifier_arch_invalidate_secondary_tlbs(mm, start, end);
}

/**
 * mmu_notifier_release - the address space is going away
 * @mm: the address space, mm_users is 0
 *
 * Returns when every release callback has returned, whoever called it.
 *
 * Context: exit_mmap(), before the first page is freed. May sleep.
 */
static inline void mmu_notifier_release(struct mm_struct *mm)
{
	if (mm_has_notifiers(mm))
		__mmu_notifier_release(mm);
}

static inline void mmu_notifier_subscriptions_init(struct mm_struct *mm)
{
	mm->notifier_subscriptions = NULL;
}

static inline void mmu_notifier_subscriptions_destroy(struct mm_struct *mm)
{
	if (mm_has_notifiers(mm))
		__mmu_notifier_subscriptions_destroy(mm);
}

#else /* !CONFIG_MMU_NOTIFIER */

struct mmu_notifier_section { };

static inline void
mmu_notifier_section_init(struct mmu_notifier_section *section,
			  struct mmu_notifier_range *range)
{
}

#define DEFINE_MMU_NOTIFIER_SECTION(name)				\
	struct mmu_notifier_section name __maybe_unused

static inline bool
mmu_notifier_range_blockable(const struct mmu_notifier_range *range)
{
	return true;
}

static inline bool mm_has_notifiers(struct mm_struct *mm)
{
	return false;
}

static inline void mmu_notifier_might_start(void)
{
}

static inline void
mmu_notifier_invalidate_range_start_owner(struct mmu_notifier_section *section,
					  enum mmu_notifier_event event,
					  struct mm_struct *mm,
					  unsigned long start,
					  unsigned long end, void *owner)
{
}

static inline void
mmu_notifier_invalidate_range_start(struct mmu_notifier_section *section,
				    enum mmu_notifier_event event,
				    struct mm_struct *mm,
				    unsigned long start, unsigned long end)
{
}

static inline int
mmu_notifier_invalidate_range_start_nonblock(struct mmu_notifier_section *section,
					     enum mmu_notifier_event event,
					     struct mm_struct *mm,
					     unsigned long start,
					     unsigned long end)
{
	return 0;
}

static inline void
mmu_notifier_folio_start(struct mmu_notifier_section *section,
			 enum mmu_notifier_event event, struct mm_struct *mm,
			 unsigned long start, unsigned long end)
{
}

static inline void
mmu_notifier_invalidate_page(struct mmu_notifier_section *section,
			     unsigned long address, unsigned long nr_pages)
{
}

static inline void
mmu_notifier_invalidate_page_batched(struct mmu_notifier_section *section,
				     unsigned long address,
				     unsigned long nr_pages)
{
}

struct mmu_notifier_batch { };

static inline void mmu_notifier_batch_begin(struct mmu_notifier_batch *batch)
{
}

static inline bool mmu_notifier_batch_pending(void)
{
	return false;
}

static inline bool mmu_notifier_may_wait(struct mm_struct *mm)
{
	return false;
}

static inline void mmu_notifier_flush_batch(void)
{
}

static inline void mmu_notifier_flush_pending(struct mm_struct *mm)
{
}

static inline void mmu_notifier_batch_end(void)
{
}

static inline void
mmu_notifier_invalidate_range_end(struct mmu_notifier_section *section)
{
}

static inline bool
mmu_notifier_clear_flush_young(struct mm_struct *mm, unsigned long start,
			       unsigned long end)
{
	return false;
}

static inline bool
mmu_notifier_clear_young(struct mm_struct *mm, unsigned long start,
			 unsigned long end)
{
	return false;
}

static inline bool
mmu_notifier_test_young(struct mm_struct *mm, unsigned long address)
{
	return false;
}

static inline bool mmu_notifier_batches_young(struct mm_struct *mm)
{
	return false;
}

static inline void
mmu_notifier_test_young_pages(struct mm_struct *mm, unsigned long start,
			      unsigned int nr_pages, unsigned long *young)
{
}

static inline void
mmu_notifier_clear_young_pages(struct mm_struct *mm, unsigned long start,
			       unsigned int nr_pages,
			       const unsigned long *pages)
{
}

static inline void
mmu_notifier_clear_young_list(struct mm_struct *mm,
			      const unsigned long *addresses,
			      unsigned int nr_pages)
{
}

static inline void
mmu_notifier_arch_invalidate_secondary_tlbs(struct mm_struct *mm,
					    unsigned long start,
					    unsigned long end)
{
}

static inline void mmu_notifier_release(struct mm_struct *mm)
{
}

static inline void mmu_notifier_subscriptions_init(struct mm_struct *mm)
{
}

static inline void mmu_notifier_subscriptions_destroy(struct mm_struct *mm)
{
}

static inline void mmu_notifier_synchronize(void)
{
}

static inline int
mmu_interval_notifier_insert(struct mmu_interval_notifier *interval_sub,
			     struct mm_struct *mm, unsigned long start,
			     unsigned long length,
			     const struct mmu_interval_notifier_ops *ops)
{
	return -EOPNOTSUPP;
}

static inline int
mmu_interval_notifier_insert_locked(struct mmu_interval_notifier *interval_sub,
				    struct mm_struct *mm, unsigned long start,
				    unsigned long length,
				    const struct mmu_interval_notifier_ops *ops)
{
	return -EOPNOTSUPP;
}

static inline void
mmu_interval_notifier_remove(struct mmu_interval_notifier *interval_sub)
{
}

static inline unsigned long
mmu_interval_read_begin(struct mmu_interval_notifier *interval_sub)
{
	return 0;
}

static inline void
mmu_interval_set_seq(struct mmu_interval_notifier *interval_sub,
		     unsigned long cur_seq)
{
}

static inline bool
mmu_interval_read_retry(struct mmu_interval_notifier *interval_sub,
			unsigned long seq)
{
	return false;
}

static inline bool
mmu_interval_check_retry(struct mmu_interval_notifier *interval_sub,
			 unsigned long seq)
{
	return false;
}

#endif /* CONFIG_MMU_NOTIFIER */

#endif /* _LINUX_MMU_NOTIFIER_H */
