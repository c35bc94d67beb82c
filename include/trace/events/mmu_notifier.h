/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM mmu_notifier

#if !defined(_TRACE_MMU_NOTIFIER_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_MMU_NOTIFIER_H

#include <linux/mmu_notifier.h>
#include <linux/tracepoint.h>

/* Once for all events of callbacks that come often. */
int mmu_notifier_observe(void);
void mmu_notifier_unobserve(void);

#define MMU_NOTIFIER_EVENTS					\
	EM(MMU_NOTIFY_UNMAP,		"unmap")		\
	EM(MMU_NOTIFY_CLEAR,		"clear")		\
	EM(MMU_NOTIFY_PROTECTION_VMA,	"protection-vma")	\
	EM(MMU_NOTIFY_PROTECTION_PAGE,	"protection-page")	\
	EM(MMU_NOTIFY_SOFT_DIRTY,	"soft-dirty")		\
	EM(MMU_NOTIFY_RELEASE,		"release")		\
	EM(MMU_NOTIFY_MIGRATE,		"migrate")		\
	EMe(MMU_NOTIFY_EXCLUSIVE,	"exclusive")

#undef EM
#undef EMe
#define EM(a, b)	TRACE_DEFINE_ENUM(a);
#define EMe(a, b)	TRACE_DEFINE_ENUM(a);

MMU_NOTIFIER_EVENTS

#undef EM
#undef EMe
#define EM(a, b)	{ a, b },
#define EMe(a, b)	{ a, b }

DECLARE_EVENT_CLASS(mmu_notifier_subscription,

	TP_PROTO(struct mmu_notifier *subscription, struct mm_struct *mm),

	TP_ARGS(subscription, mm),

	TP_STRUCT__entry(
		__field(struct mm_struct *,			mm)
		__field(const struct mmu_notifier_ops *,	ops)
	),

	TP_fast_assign(
		__entry->mm = mm;
		__entry->ops = subscription->ops;
	),

	TP_printk("mm=%p ops=%ps", __entry->mm, __entry->ops)
);

/* A subscription is complete: every later change is reported to it. */
DEFINE_EVENT(mmu_notifier_subscription, mmu_notifier_register,
	TP_PROTO(struct mmu_notifier *subscription, struct mm_struct *mm),
	TP_ARGS(subscription, mm)
);

/* A subscription is off the list, its last callback has returned. */
DEFINE_EVENT(mmu_notifier_subscription, mmu_notifier_unregister,
	TP_PROTO(struct mmu_notifier *subscription, struct mm_struct *mm),
	TP_ARGS(subscription, mm)
);

/* The release callback is about to run. */
DEFINE_EVENT(mmu_notifier_subscription, mmu_notifier_release,
	TP_PROTO(struct mmu_notifier *subscription, struct mm_struct *mm),
	TP_ARGS(subscription, mm)
);

/* Once for each subscriber whose flush_batch is called. */
DEFINE_EVENT(mmu_notifier_subscription, mmu_notifier_flush_batch,
	TP_PROTO(struct mmu_notifier *subscription, struct mm_struct *mm),
	TP_ARGS(subscription, mm)
);

DECLARE_EVENT_CLASS(mmu_notifier_section,

	TP_PROTO(const struct mmu_notifier *subscription,
		 const struct mmu_notifier_range *range),

	TP_ARGS(subscription, range),

	TP_STRUCT__entry(
		__field(struct mm_struct *,			mm)
		__field(const struct mmu_notifier_ops *,	ops)
		__field(unsigned long,				start)
		__field(unsigned long,				end)
		__field(unsigned int,				event)
		__field(bool,					blockable)
		__field(bool,					folio)
	),

	TP_fast_assign(
		__entry->mm = range->mm;
		__entry->ops = subscription->ops;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->event = range->event;
		__entry->blockable = mmu_notifier_range_blockable(range);
		__entry->folio = range->flags & MMU_NOTIFIER_RANGE_FOLIO;
	),

	TP_printk("mm=%p ops=%ps start=0x%lx end=0x%lx event=%s%s%s",
		  __entry->mm, __entry->ops, __entry->start, __entry->end,
		  __print_symbolic(__entry->event, MMU_NOTIFIER_EVENTS),
		  __entry->blockable ? "" : " nonblock",
		  __entry->folio ? " folio" : "")
);

/* Once for each subscriber that a section calls. */
DEFINE_EVENT_FN(mmu_notifier_section, mmu_notifier_range_start,
	TP_PROTO(const struct mmu_notifier *subscription,
		 const struct mmu_notifier_range *range),
	TP_ARGS(subscription, range),
	mmu_notifier_observe, mmu_notifier_unobserve
);

DEFINE_EVENT_FN(mmu_notifier_section, mmu_notifier_range_end,
	TP_PROTO(const struct mmu_notifier *subscription,
		 const struct mmu_notifier_range *range),
	TP_ARGS(subscription, range),
	mmu_notifier_observe, mmu_notifier_unobserve
);

/* Once for each subscriber whose invalidate_page, or the batched one, is called. */
TRACE_EVENT_FN(mmu_notifier_invalidate_page,

	TP_PROTO(const struct mmu_notifier *subscription,
		 const struct mmu_notifier_range *range, unsigned long address,
		 unsigned long nr_pages),

	TP_ARGS(subscription, range, address, nr_pages),

	TP_STRUCT__entry(
		__field(struct mm_struct *,			mm)
		__field(const struct mmu_notifier_ops *,	ops)
		__field(unsigned long,				address)
		__field(unsigned long,				nr_pages)
		__field(unsigned int,				event)
	),

	TP_fast_assign(
		__entry->mm = range->mm;
		__entry->ops = subscription->ops;
		__entry->address = address;
		__entry->nr_pages = nr_pages;
		__entry->event = range->event;
	),

	TP_printk("mm=%p ops=%ps address=0x%lx nr_pages=%lu event=%s",
		  __entry->mm, __entry->ops, __entry->address, __entry->nr_pages,
		  __print_symbolic(__entry->event, MMU_NOTIFIER_EVENTS)),

	mmu_notifier_observe, mmu_notifier_unobserve
);

#define MMU_NOTIFIER_YOUNG_OPS					\
	{ 0, "test" }, { 1, "clear" }, { 2, "clear-flush" },	\
	{ 3, "test-pages" }, { 4, "clear-pages" },		\
	{ 5, "clear-list" }

/* Once for each aging question, however many subscribers it goes to. */
TRACE_EVENT(mmu_notifier_young,

	TP_PROTO(struct mm_struct *mm, unsigned long start, unsigned long end,
		 int op, bool young),

	TP_ARGS(mm, start, end, op, young),

	TP_STRUCT__entry(
		__field(struct mm_struct *,	mm)
		__field(unsigned long,		start)
		__field(unsigned long,		end)
		__field(int,			op)
		__field(bool,			young)
	),

	TP_fast_assign(
		__entry->mm = mm;
		__entry->start = start;
		__entry->end = end;
		__entry->op = op;
		__entry->young = young;
	),

	TP_printk("mm=%p start=0x%lx end=0x%lx op=%s young=%d",
		  __entry->mm, __entry->start, __entry->end,
		  __print_symbolic(__entry->op, MMU_NOTIFIER_YOUNG_OPS),
		  __entry->young)
);

DECLARE_EVENT_CLASS(mmu_interval_subscription,

	TP_PROTO(const struct mmu_interval_notifier *interval_sub),

	TP_ARGS(interval_sub),

	TP_STRUCT__entry(
		__field(struct mm_struct *,				mm)
		__field(const struct mmu_interval_notifier_ops *,	ops)
		__field(unsigned long,					first)
		__field(unsigned long,					last)
	),

	TP_fast_assign(
		__entry->mm = interval_sub->mm;
		__entry->ops = interval_sub->ops;
		__entry->first = interval_sub->interval_tree.start;
		__entry->last = interval_sub->interval_tree.last;
	),

	TP_printk("mm=%p ops=%ps first=0x%lx last=0x%lx",
		  __entry->mm, __entry->ops, __entry->first, __entry->last)
);

/* An interval is in the tree, sections that start now call it. */
DEFINE_EVENT(mmu_interval_subscription, mmu_interval_insert,
	TP_PROTO(const struct mmu_interval_notifier *interval_sub),
	TP_ARGS(interval_sub)
);

/* An interval is out of the tree, its last callback has returned. */
DEFINE_EVENT(mmu_interval_subscription, mmu_interval_remove,
	TP_PROTO(const struct mmu_interval_notifier *interval_sub),
	TP_ARGS(interval_sub)
);

/* Once for each interval that a section hits. */
TRACE_EVENT(mmu_interval_invalidate,

	TP_PROTO(const struct mmu_interval_notifier *interval_sub,
		 const struct mmu_notifier_range *range),

	TP_ARGS(interval_sub, range),

	TP_STRUCT__entry(
		__field(struct mm_struct *,				mm)
		__field(const struct mmu_interval_notifier_ops *,	ops)
		__field(unsigned long,					first)
		__field(unsigned long,					last)
		__field(unsigned long,					start)
		__field(unsigned long,					end)
		__field(unsigned int,					event)
		__field(bool,						blockable)
	),

	TP_fast_assign(
		__entry->mm = range->mm;
		__entry->ops = interval_sub->ops;
		__entry->first = interval_sub->interval_tree.start;
		__entry->last = interval_sub->interval_tree.last;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->event = range->event;
		__entry->blockable = mmu_notifier_range_blockable(range);
	),

	TP_printk("mm=%p ops=%ps first=0x%lx last=0x%lx start=0x%lx end=0x%lx event=%s%s",
		  __entry->mm, __entry->ops, __entry->first, __entry->last,
		  __entry->start, __entry->end,
		  __print_symbolic(__entry->event, MMU_NOTIFIER_EVENTS),
		  __entry->blockable ? "" : " nonblock")
);

#undef EM
#undef EMe

#endif /* _TRACE_MMU_NOTIFIER_H */

#include <trace/define_trace.h>
