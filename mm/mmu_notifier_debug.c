// SPDX-License-Identifier: GPL-2.0-only
/*
 * MMU notifiers: who is subscribed to whom, what the callbacks cost, and a
 * warning when one takes too long.
 *
 * While somebody wants to know, the core calls mn_watch_ops in place of the ops
 * of a subscription. A callback of that table calls the one of the subscription
 * and measures it; it runs where the other one would, most often under a page
 * table lock. Otherwise there is a no-op instruction per callback.
 *
 * Counts belong to an mm and an ops table. They are made at the first callback,
 * or the first look at them, and live as long as the mm_struct: a subscription
 * that goes takes nothing away that is still in use. Only what is subscribed is
 * shown.
 */

#define pr_fmt(fmt) "mmu_notifier: " fmt

#include <linux/debugfs.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/moduleparam.h>
#include <linux/ratelimit.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <trace/events/mmu_notifier.h>

#include "mmu_notifier_internal.h"

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "mmu_notifier."

DEFINE_STATIC_KEY_FALSE(mmu_notifier_watched);

/* Columns, in this order. */
enum mn_kind {
	MN_START,
	MN_END,
	MN_PAGE,
	MN_YOUNG,
	MN_FLUSH,
	MN_RELEASE,
	MN_INTERVAL,
	MN_FINISH,
	MN_NR_KINDS,
};

static const char * const mn_kind_names[MN_NR_KINDS] = {
	[MN_START] = "start",
	[MN_END] = "end",
	[MN_PAGE] = "page",
	[MN_YOUNG] = "young",
	[MN_FLUSH] = "flush",
	[MN_RELEASE] = "release",
	[MN_INTERVAL] = "interval",
	[MN_FINISH] = "finish",
};

static const char * const mn_event_names[] = {
	[MMU_NOTIFY_UNMAP] = "unmap",
	[MMU_NOTIFY_CLEAR] = "clear",
	[MMU_NOTIFY_PROTECTION_VMA] = "protection-vma",
	[MMU_NOTIFY_PROTECTION_PAGE] = "protection-page",
	[MMU_NOTIFY_SOFT_DIRTY] = "soft-dirty",
	[MMU_NOTIFY_RELEASE] = "release",
	[MMU_NOTIFY_MIGRATE] = "migrate",
	[MMU_NOTIFY_EXCLUSIVE] = "exclusive",
};

/**
 * struct mn_counts - callbacks that have returned
 * @calls: by kind
 * @refused: how many of them refused a section
 * @slow: how many took longer than slow_us
 * @total_ns: time spent in all of them
 * @longest_ns: time spent in the longest
 * @longest: kind of the longest
 */
struct mn_counts {
	unsigned long calls[MN_NR_KINDS];
	unsigned long refused;
	unsigned long slow;
	u64 total_ns;
	u64 longest_ns;
	enum mn_kind longest;
};

/**
 * struct mn_stat - one ops table of one mm
 * @node: link in mmu_notifier_debug::stats
 * @ops: the table; may belong to a module that is gone if nobody is subscribed
 * @symbol: what names it
 * @subscribed: how many are, while the line is shown; under mn_mutex
 * @counts: under mmu_notifier_debug::lock
 */
struct mn_stat {
	struct hlist_node node;
	const void *ops;
	const void *symbol;
	unsigned long subscribed;
	struct mn_counts counts;
};

/* The switches; one reader or writer of the files at a time. */
static DEFINE_MUTEX(mn_mutex);
static bool mn_enabled;
static unsigned int mn_slow_us;

/* Every mm with a subscription list; the last mmdrop() may be in an interrupt. */
static LIST_HEAD(mn_mms);
static DEFINE_SPINLOCK(mn_mms_lock);

/* Counting. */

static struct mn_stat *mn_stat_get(struct mmu_notifier_debug *debug,
				   const void *ops)
{
	struct mn_stat *stat;

	lockdep_assert_held(&debug->lock);

	hlist_for_each_entry(stat, &debug->stats, node)
		if (stat->ops == ops)
			return stat;

	/* Under a page table lock, or in the middle of reclaim. */
	stat = kzalloc_obj(*stat, GFP_ATOMIC | __GFP_NOWARN);
	if (!stat) {
		pr_warn_once("no memory for statistics, calls are missing\n");
		return NULL;
	}
	stat->ops = ops;
	/* Readers go through the list without the lock. */
	hlist_add_head_rcu(&stat->node, &debug->stats);
	return stat;
}

/**
 * struct mn_call - a callback that runs now
 * @subs: the subscriptions of the mm; the subscription itself, or the callback,
 *	may be gone once it has returned
 * @ops: the table
 * @callback: the function
 * @kind: which one it is
 * @why: event or occasion
 * @start: first address
 * @end: first address behind
 * @since: when it was called
 */
struct mn_call {
	struct mmu_notifier_subscriptions *subs;
	const void *ops;
	const void *callback;
	enum mn_kind kind;
	const char *why;
	unsigned long start, end;
	u64 since;
};

static void mn_count(const struct mn_call *call, u64 ns, bool refused,
		     bool slow)
{
	struct mmu_notifier_debug *debug = &call->subs->debug;
	struct mn_counts *counts;
	struct mn_stat *stat;

	guard(spinlock_irqsave)(&debug->lock);

	stat = mn_stat_get(debug, call->ops);
	if (!stat)
		return;
	counts = &stat->counts;
	counts->calls[call->kind]++;
	counts->refused += refused;
	counts->slow += slow;
	counts->total_ns += ns;
	if (ns > counts->longest_ns) {
		counts->longest_ns = ns;
		counts->longest = call->kind;
	}
}

static void mn_called(const struct mn_call *call, bool refused)
{
	const struct mmu_notifier_debug *debug = &call->subs->debug;
	u64 ns = ktime_get_ns() - call->since;
	unsigned int slow_us = READ_ONCE(mn_slow_us);
	bool slow = slow_us && ns > (u64)slow_us * NSEC_PER_USEC;

	if (READ_ONCE(mn_enabled))
		mn_count(call, ns, refused, slow);
	if (unlikely(slow))
		pr_warn_ratelimited("%ps took %llu us in %s (mm of %s/%d, [%#lx, %#lx), %s)\n",
				    call->callback, div_u64(ns, NSEC_PER_USEC),
				    mn_kind_names[call->kind], debug->comm,
				    debug->tgid, call->start, call->end,
				    call->why);
}

/* The callbacks. */

#define MN_CALL(sub, _callback, _kind, _start, _end, _why)		\
	struct mn_call call = {						\
		.subs = (sub)->mm->notifier_subscriptions,		\
		.ops = (sub)->ops,					\
		.callback = (_callback),				\
		.kind = (_kind),					\
		.why = (_why),						\
		.start = (_start),					\
		.end = (_end),						\
		.since = ktime_get_ns(),				\
	}

static int mn_watch_start(struct mmu_notifier *sub,
			  const struct mmu_notifier_range *range)
{
	MN_CALL(sub, sub->ops->invalidate_range_start, MN_START, range->start,
		range->end, mn_event_names[range->event]);
	int ret = sub->ops->invalidate_range_start(sub, range);

	mn_called(&call, ret);
	return ret;
}

static void mn_watch_end(struct mmu_notifier *sub,
			 const struct mmu_notifier_range *range)
{
	MN_CALL(sub, sub->ops->invalidate_range_end, MN_END, range->start,
		range->end, mn_event_names[range->event]);

	sub->ops->invalidate_range_end(sub, range);
	mn_called(&call, false);
}

static void mn_watch_page(struct mmu_notifier *sub, struct mm_struct *mm,
			  unsigned long address, unsigned long nr_pages,
			  enum mmu_notifier_event event)
{
	MN_CALL(sub, sub->ops->invalidate_page, MN_PAGE, address,
		address + nr_pages * PAGE_SIZE, mn_event_names[event]);

	sub->ops->invalidate_page(sub, mm, address, nr_pages, event);
	mn_called(&call, false);
}

static void mn_watch_page_batched(struct mmu_notifier *sub,
				  struct mm_struct *mm, unsigned long address,
				  unsigned long nr_pages,
				  enum mmu_notifier_event event)
{
	MN_CALL(sub, sub->ops->invalidate_page_batched, MN_PAGE, address,
		address + nr_pages * PAGE_SIZE, mn_event_names[event]);

	sub->ops->invalidate_page_batched(sub, mm, address, nr_pages, event);
	mn_called(&call, false);
}

static void mn_watch_flush_batch(struct mmu_notifier *sub, struct mm_struct *mm)
{
	MN_CALL(sub, sub->ops->flush_batch, MN_FLUSH, 0, ULONG_MAX, "batch");

	sub->ops->flush_batch(sub, mm);
	mn_called(&call, false);
}

static bool mn_watch_clear_flush_young(struct mmu_notifier *sub,
				       struct mm_struct *mm,
				       unsigned long start, unsigned long end)
{
	MN_CALL(sub, sub->ops->clear_flush_young, MN_YOUNG, start, end,
		"clear-flush");
	bool young = sub->ops->clear_flush_young(sub, mm, start, end);

	mn_called(&call, false);
	return young;
}

static bool mn_watch_clear_young(struct mmu_notifier *sub, struct mm_struct *mm,
				 unsigned long start, unsigned long end)
{
	MN_CALL(sub, sub->ops->clear_young, MN_YOUNG, start, end, "clear");
	bool young = sub->ops->clear_young(sub, mm, start, end);

	mn_called(&call, false);
	return young;
}

static bool mn_watch_test_young(struct mmu_notifier *sub, struct mm_struct *mm,
				unsigned long address)
{
	MN_CALL(sub, sub->ops->test_young, MN_YOUNG, address,
		address + PAGE_SIZE, "test");
	bool young = sub->ops->test_young(sub, mm, address);

	mn_called(&call, false);
	return young;
}

static void mn_watch_test_young_pages(struct mmu_notifier *sub,
				      struct mm_struct *mm, unsigned long start,
				      unsigned int nr_pages,
				      unsigned long *young)
{
	MN_CALL(sub, sub->ops->test_young_pages, MN_YOUNG, start,
		start + nr_pages * PAGE_SIZE, "test-pages");

	sub->ops->test_young_pages(sub, mm, start, nr_pages, young);
	mn_called(&call, false);
}

static void mn_watch_clear_young_pages(struct mmu_notifier *sub,
				       struct mm_struct *mm,
				       unsigned long start,
				       unsigned int nr_pages,
				       const unsigned long *pages)
{
	MN_CALL(sub, sub->ops->clear_young_pages, MN_YOUNG, start,
		start + nr_pages * PAGE_SIZE, "clear-pages");

	sub->ops->clear_young_pages(sub, mm, start, nr_pages, pages);
	mn_called(&call, false);
}

static void mn_watch_clear_young_list(struct mmu_notifier *sub,
				      struct mm_struct *mm,
				      const unsigned long *addresses,
				      unsigned int nr_pages)
{
	MN_CALL(sub, sub->ops->clear_young_list, MN_YOUNG, addresses[0],
		addresses[0] + PAGE_SIZE, "clear-list");

	sub->ops->clear_young_list(sub, mm, addresses, nr_pages);
	mn_called(&call, false);
}

static void mn_watch_flush(struct mmu_notifier *sub, struct mm_struct *mm,
			   unsigned long start, unsigned long end)
{
	MN_CALL(sub, sub->ops->arch_invalidate_secondary_tlbs, MN_FLUSH, start,
		end, "flush");

	sub->ops->arch_invalidate_secondary_tlbs(sub, mm, start, end);
	mn_called(&call, false);
}

static void mn_watch_release(struct mmu_notifier *sub, struct mm_struct *mm)
{
	MN_CALL(sub, sub->ops->release, MN_RELEASE, 0, ULONG_MAX, "release");

	sub->ops->release(sub, mm);
	mn_called(&call, false);
}

static const struct mmu_notifier_ops mn_watch_ops = {
	.release = mn_watch_release,
	.clear_flush_young = mn_watch_clear_flush_young,
	.clear_young = mn_watch_clear_young,
	.test_young = mn_watch_test_young,
	.test_young_pages = mn_watch_test_young_pages,
	.clear_young_pages = mn_watch_clear_young_pages,
	.clear_young_list = mn_watch_clear_young_list,
	.invalidate_page = mn_watch_page,
	.invalidate_page_batched = mn_watch_page_batched,
	.flush_batch = mn_watch_flush_batch,
	.invalidate_range_start = mn_watch_start,
	.invalidate_range_end = mn_watch_end,
	.arch_invalidate_secondary_tlbs = mn_watch_flush,
};

static bool mi_watch_once(struct mmu_interval_notifier *sub,
			  const struct mmu_notifier_range *range,
			  unsigned long seq)
{
	MN_CALL(sub, sub->ops->invalidate, MN_INTERVAL, range->start,
		range->end, mn_event_names[range->event]);
	bool agreed = sub->ops->invalidate(sub, range, seq);

	mn_called(&call, !agreed);
	return agreed;
}

static bool mi_watch_start(struct mmu_interval_notifier *sub,
			   const struct mmu_notifier_range *range,
			   unsigned long seq,
			   struct mmu_interval_notifier_finish **finish)
{
	MN_CALL(sub, sub->ops->invalidate_start, MN_INTERVAL, range->start,
		range->end, mn_event_names[range->event]);
	bool agreed = sub->ops->invalidate_start(sub, range, seq, finish);

	mn_called(&call, !agreed);
	return agreed;
}

/* It is not told of the section. */
static void mi_watch_finish(struct mmu_interval_notifier_finish *finish)
{
	struct mmu_interval_notifier *sub = finish->notifier;

	MN_CALL(sub, sub->ops->invalidate_finish, MN_FINISH,
		sub->interval_tree.start, sub->interval_tree.last + 1,
		"finish");

	sub->ops->invalidate_finish(finish);
	mn_called(&call, false);
}

static const struct mmu_interval_notifier_ops mi_watch_ops = {
	.invalidate = mi_watch_once,
	.invalidate_start = mi_watch_start,
	.invalidate_finish = mi_watch_finish,
};

/*
 * Functions, so that the compiler has nothing to keep in a register around the
 * loops that call them.
 */
const struct mmu_notifier_ops *mmu_notifier_watch_ops(void)
{
	return &mn_watch_ops;
}

const struct mmu_interval_notifier_ops *mmu_interval_watch_ops(void)
{
	return &mi_watch_ops;
}

/* Every mm that was subscribed to. */

void mmu_notifier_debug_init(struct mmu_notifier_subscriptions *subs)
{
	struct mmu_notifier_debug *debug = &subs->debug;

	spin_lock_init(&debug->lock);
	INIT_HLIST_HEAD(&debug->stats);
	debug->tgid = task_tgid_nr(current);
	get_task_comm(debug->comm, current->group_leader);

	guard(spinlock_irqsave)(&mn_mms_lock);

	list_add_tail(&debug->mms, &mn_mms);
}

void mmu_notifier_debug_destroy(struct mmu_notifier_subscriptions *subs)
{
	struct mmu_notifier_debug *debug = &subs->debug;
	struct hlist_node *next;
	struct mn_stat *stat;

	scoped_guard(spinlock_irqsave, &mn_mms_lock)
		list_del(&debug->mms);

	/* mm_count is 0: no callback runs, no reader has it pinned. */
	hlist_for_each_entry_safe(stat, next, &debug->stats, node)
		kfree(stat);
}

/* The first one behind @pos; its mm_count is held. */
static struct mmu_notifier_subscriptions *mn_pin_after(struct list_head *pos)
{
	struct mmu_notifier_subscriptions *subs;

	guard(spinlock_irqsave)(&mn_mms_lock);

	for (pos = pos->next; pos != &mn_mms; pos = pos->next) {
		subs = list_entry(pos, struct mmu_notifier_subscriptions,
				  debug.mms);
		/* On its way out: mmu_notifier_debug_destroy() is to come. */
		if (atomic_inc_not_zero(&subs->mm->mm_count))
			return subs;
	}
	return NULL;
}

/* The next one behind @subs, which is let go. */
static struct mmu_notifier_subscriptions *
mn_pin_next(struct mmu_notifier_subscriptions *subs)
{
	struct mmu_notifier_subscriptions *next =
		mn_pin_after(&subs->debug.mms);

	mmdrop(subs->mm);
	return next;
}

static void mn_reset(void)
{
	struct mmu_notifier_subscriptions *subs;
	struct mn_stat *stat;

	guard(mutex)(&mn_mutex);

	for (subs = mn_pin_after(&mn_mms); subs; subs = mn_pin_next(subs)) {
		guard(spinlock_irqsave)(&subs->debug.lock);

		hlist_for_each_entry(stat, &subs->debug.stats, node)
			memset(&stat->counts, 0, sizeof(stat->counts));
	}
}

/* The file of subscribers. */

/* Names of data are there only if all symbols are. */
static const void *mn_symbol(const void *ops, const void *callback)
{
	return IS_ENABLED(CONFIG_KALLSYMS_ALL) || !callback ? ops : callback;
}

static struct mn_stat *mn_found(struct mmu_notifier_debug *debug,
				const void *ops, const void *symbol)
{
	struct mn_stat *stat;

	lockdep_assert_held(&mn_mutex);
	guard(spinlock_irqsave)(&debug->lock);

	stat = mn_stat_get(debug, ops);
	if (!stat)
		return NULL;
	stat->symbol = symbol;
	stat->subscribed++;
	return stat;
}

/**
 * struct mn_intervals - a walk over the intervals of an mm
 * @debug: what is known of the mm
 * @ops: the table of the interval before, most often that of the next, too
 * @stat: its line, or NULL
 */
struct mn_intervals {
	struct mmu_notifier_debug *debug;
	const struct mmu_interval_notifier_ops *ops;
	struct mn_stat *stat;
};

/* Sections wait for the lock of the walk: nothing is done twice. */
static void mn_found_interval(const struct mmu_interval_notifier *sub,
			      void *arg)
{
	const struct mmu_interval_notifier_ops *ops = sub->ops;
	struct mn_intervals *walk = arg;

	if (ops != walk->ops) {
		walk->ops = ops;
		walk->stat = mn_found(walk->debug, ops,
				      mn_symbol(ops, ops->invalidate ?:
						(void *)ops->invalidate_start));
	} else if (walk->stat) {
		walk->stat->subscribed++;
	}
}

static void mn_find_subscribed(struct mmu_notifier_subscriptions *subs)
{
	struct mmu_interval_subscriptions *itv = READ_ONCE(subs->intervals);
	struct mn_intervals walk = { .debug = &subs->debug };
	struct mmu_notifier *sub;
	struct mn_stat *stat;

	lockdep_assert_held(&mn_mutex);

	hlist_for_each_entry_rcu(stat, &subs->debug.stats, node, true)
		stat->subscribed = 0;

	scoped_guard(spinlock, &subs->lock)
		hlist_for_each_entry(sub, &subs->list, hlist)
			mn_found(&subs->debug, sub->ops,
				 mn_symbol(sub->ops, sub->ops->release));
	if (itv)
		mmu_interval_for_each(itv, mn_found_interval, &walk);
}

static void mn_show_header(struct seq_file *m)
{
	int kind;

	seq_printf(m, "%7s %-32s %10s", "pid", "subscriber", "subscribed");
	for (kind = 0; kind < MN_NR_KINDS; kind++)
		seq_printf(m, " %10s", mn_kind_names[kind]);
	seq_printf(m, " %10s %10s %12s %10s %10s %s\n", "refused", "slow",
		   "total_us", "longest_us", "longest_in", "comm");
}

static void mn_show(struct seq_file *m, const struct mmu_notifier_debug *debug,
		    const struct mn_stat *stat, const struct mn_counts *counts)
{
	int kind;

	seq_printf(m, "%7d %-32ps %10lu", debug->tgid, stat->symbol,
		   stat->subscribed);
	for (kind = 0; kind < MN_NR_KINDS; kind++)
		seq_printf(m, " %10lu", counts->calls[kind]);
	seq_printf(m, " %10lu %10lu %12llu %10llu %10s ", counts->refused,
		   counts->slow, div_u64(counts->total_ns, NSEC_PER_USEC),
		   div_u64(counts->longest_ns, NSEC_PER_USEC),
		   counts->longest_ns ? mn_kind_names[counts->longest] : "-");
	seq_escape(m, debug->comm, "\n\\");
	seq_putc(m, '\n');
}

static int mn_seq_show(struct seq_file *m, void *v)
{
	struct mmu_notifier_subscriptions *subs = v;
	struct mn_counts counts;
	struct mn_stat *stat;

	if (v == SEQ_START_TOKEN) {
		mn_show_header(m);
		return 0;
	}

	mn_find_subscribed(subs);
	/* None of them goes as long as the mm is pinned. */
	hlist_for_each_entry_rcu(stat, &subs->debug.stats, node, true) {
		if (!stat->subscribed)
			continue;
		scoped_guard(spinlock_irqsave, &subs->debug.lock)
			counts = stat->counts;
		mn_show(m, &subs->debug, stat, &counts);
	}
	return 0;
}

static void *mn_seq_start(struct seq_file *m, loff_t *pos)
	__acquires(&mn_mutex)
{
	struct mmu_notifier_subscriptions *subs;
	loff_t n;

	mutex_lock(&mn_mutex);
	if (!*pos)
		return SEQ_START_TOKEN;
	subs = mn_pin_after(&mn_mms);
	for (n = 1; subs && n < *pos; n++)
		subs = mn_pin_next(subs);
	return subs;
}

static void *mn_seq_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return v == SEQ_START_TOKEN ? mn_pin_after(&mn_mms) : mn_pin_next(v);
}

static void mn_seq_stop(struct seq_file *m, void *v)
	__releases(&mn_mutex)
{
	struct mmu_notifier_subscriptions *subs = v;

	if (v && v != SEQ_START_TOKEN)
		mmdrop(subs->mm);
	mutex_unlock(&mn_mutex);
}

static const struct seq_operations mn_subscribers_sops = {
	.start = mn_seq_start,
	.next = mn_seq_next,
	.stop = mn_seq_stop,
	.show = mn_seq_show,
};

static int mn_subscribers_open(struct inode *inode, struct file *file)
{
	return seq_open(file, &mn_subscribers_sops);
}

/* Like that of /proc/lock_stat: 0 begins anew. */
static ssize_t mn_subscribers_write(struct file *file, const char __user *buf,
				    size_t count, loff_t *ppos)
{
	unsigned int value;
	int ret;

	ret = kstrtouint_from_user(buf, count, 0, &value);
	if (ret)
		return ret;
	if (value)
		return -EINVAL;
	mn_reset();
	return count;
}

static const struct file_operations mn_subscribers_fops = {
	.owner = THIS_MODULE,
	.open = mn_subscribers_open,
	.read = seq_read,
	.write = mn_subscribers_write,
	.llseek = seq_lseek,
	.release = seq_release,
};

/* The switches. */

static void mn_switch(void)
{
	bool watch = mn_enabled || mn_slow_us;

	lockdep_assert_held(&mn_mutex);

	if (watch == static_key_enabled(&mmu_notifier_watched))
		return;
	if (watch) {
		static_branch_enable(&mmu_notifier_watched);
		mmu_notifier_observe();
	} else {
		mmu_notifier_unobserve();
		static_branch_disable(&mmu_notifier_watched);
	}
}

static int mn_enabled_get(void *data, u64 *value)
{
	*value = READ_ONCE(mn_enabled);
	return 0;
}

static int mn_enabled_set(void *data, u64 value)
{
	if (value > 1)
		return -EINVAL;

	guard(mutex)(&mn_mutex);

	WRITE_ONCE(mn_enabled, value);
	mn_switch();
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(mn_enabled_fops, mn_enabled_get, mn_enabled_set,
			 "%llu\n");

static int mn_slow_set(const char *value, const struct kernel_param *kp)
{
	int ret;

	guard(mutex)(&mn_mutex);

	ret = param_set_uint(value, kp);
	if (!ret)
		mn_switch();
	return ret;
}

static const struct kernel_param_ops mn_slow_ops = {
	.set = mn_slow_set,
	.get = param_get_uint,
};

module_param_cb(slow_us, &mn_slow_ops, &mn_slow_us, 0644);
MODULE_PARM_DESC(slow_us, "name callbacks in the log that take longer, 0: none");

static int __init mmu_notifier_debug_init_files(void)
{
	struct dentry *dir = debugfs_create_dir("mmu_notifier", NULL);

	debugfs_create_file_unsafe("enabled", 0600, dir, NULL,
				   &mn_enabled_fops);
	debugfs_create_file("subscribers", 0600, dir, NULL,
			    &mn_subscribers_fops);
	return 0;
}
late_initcall(mmu_notifier_debug_init_files);
