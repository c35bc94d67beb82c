/*
 * The interface of callers that are not converted yet: they fill in a range of
 * their own. Goes away with the last of them.
 */
#include <linux/args.h>

/* In mmu_notifier_range::flags: somebody was subscribed at the start. */
#define MMU_NOTIFIER_RANGE_OPEN		BIT(31)

static inline void
mmu_notifier_range_init_owner(struct mmu_notifier_range *range,
			      enum mmu_notifier_event event, unsigned int flags,
			      struct mm_struct *mm, unsigned long start,
			      unsigned long end, void *owner)
{
	range->mm = mm;
	range->start = start;
	range->end = end;
	range->flags = 0;
	range->event = event;
	range->owner = owner;
}

static inline void
mmu_notifier_range_init(struct mmu_notifier_range *range,
			enum mmu_notifier_event event, unsigned int flags,
			struct mm_struct *mm, unsigned long start,
			unsigned long end)
{
	mmu_notifier_range_init_owner(range, event, flags, mm, start, end, NULL);
}

#ifdef CONFIG_MMU_NOTIFIER

static inline int __mmu_notifier_range_open(struct mmu_notifier_range *range,
					    unsigned int flags)
{
	int ret;

	mmu_notifier_might_start();
	range->flags = flags | MMU_NOTIFIER_RANGE_SPAN;
	if (!mm_has_notifiers(range->mm))
		return 0;

	ret = __mmu_notifier_range_start(range);
	if (!ret)
		range->flags |= MMU_NOTIFIER_RANGE_OPEN;
	return ret;
}

static inline void mmu_notifier_range_close(struct mmu_notifier_range *range)
{
	if (unlikely(range->flags & MMU_NOTIFIER_RANGE_OPEN))
		__mmu_notifier_range_end(range);
}

#else

static inline int __mmu_notifier_range_open(struct mmu_notifier_range *range,
					    unsigned int flags)
{
	return 0;
}

static inline void mmu_notifier_range_close(struct mmu_notifier_range *range)
{
}

#endif /* CONFIG_MMU_NOTIFIER */

static inline void mmu_notifier_range_open(struct mmu_notifier_range *range)
{
	might_sleep();
	__mmu_notifier_range_open(range, MMU_NOTIFIER_RANGE_BLOCKABLE);
}

static inline int __must_check
mmu_notifier_range_open_nonblock(struct mmu_notifier_range *range)
{
	return __mmu_notifier_range_open(range, 0);
}

/* One argument is a range, five are a section and what it is about. */
#define mmu_notifier_start_1	mmu_notifier_range_open
#define mmu_notifier_start_5	mmu_notifier_invalidate_range_start
#define mmu_notifier_invalidate_range_start(...) \
	CONCATENATE(mmu_notifier_start_, COUNT_ARGS(__VA_ARGS__))(__VA_ARGS__)

#define mmu_notifier_start_nonblock_1	mmu_notifier_range_open_nonblock
#define mmu_notifier_start_nonblock_5	\
	mmu_notifier_invalidate_range_start_nonblock
#define mmu_notifier_invalidate_range_start_nonblock(...) \
	CONCATENATE(mmu_notifier_start_nonblock_, \
		    COUNT_ARGS(__VA_ARGS__))(__VA_ARGS__)

#define mmu_notifier_invalidate_range_end(open)				\
	__builtin_choose_expr(__same_type(*(open), struct mmu_notifier_range), \
			      mmu_notifier_range_close,			\
			      mmu_notifier_invalidate_range_end)(open)
