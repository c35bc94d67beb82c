/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What /dev/mmu_notifier_mirror can be asked to do. Included by the kernel and
 * by the program that uses it.
 */
#ifndef MMU_NOTIFIER_MIRROR_H
#define MMU_NOTIFIER_MIRROR_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* How a mirror subscribes. All of them are on one mm together. */
enum mirror_kind {
	MIRROR_PAGE,		/* invalidate_page and ranges */
	MIRROR_RANGE,		/* ranges only */
	MIRROR_SLEEPY,		/* ranges only, sleeps in its callbacks */
	MIRROR_INTERVAL,	/* interval notifiers, one for each 2 MB */
	MIRROR_KINDS,
};

/* What a translation was found to be that it may not be. */
enum mirror_fault {
	MIRROR_FREED,		/* its page was freed */
	MIRROR_UNMAPPED,	/* the page table has no such entry */
	MIRROR_OTHER_PAGE,	/* the page table has another page there */
	MIRROR_READ_ONLY,	/* writable, the entry of the page table is not */
	MIRROR_LEFT,		/* there after the subscription ended */
	MIRROR_UNBALANCED,	/* no translation: an end without a start */
	MIRROR_UNFLUSHED,	/* replaced before the flush that reclaim owes */
	MIRROR_FAULTS,
};

/* Subscribe the calling process. */
struct mirror_setup {
	__u64 start;		/* of what is mirrored, 2 MB aligned */
	__u64 length;		/* as well */
	__u64 seed;		/* of the mirrors' own choices */
	__u32 broken;		/* ignore one in so many invalidations; 0: none */
	__u32 blind;		/* do not look at the count when faulting in */
	__u32 kinds;		/* bits of those that subscribe; 0: all */
	__u32 unused;
};

/* Fault translations in. */
struct mirror_fill {
	__u64 start;
	__u32 pages;
	__u32 kind;
	__u32 write;		/* writable ones */
	__u32 stall;		/* microseconds from the lookup to the lock */
};

/* Compare the translations of all mirrors with the page tables. */
struct mirror_audit {
	__u64 start;
	__u64 pages;
};

struct mirror_stats {
	__u64 established[MIRROR_KINDS];
	__u64 retried[MIRROR_KINDS];	/* faults, because of an invalidation */
	__u64 page_calls[MIRROR_KINDS];
	__u64 range_calls[MIRROR_KINDS];
	__u64 dropped[MIRROR_KINDS];	/* translations */
	__u64 deferred[MIRROR_KINDS];	/* of these, those that waited for a flush */
	__u64 ignored[MIRROR_KINDS];	/* invalidations, when broken */
	__u64 compared;			/* translations with the page tables */
	__u64 freed;			/* pages with what the mirrors hold */
	__u64 open;			/* sections, in pieces of 16 pages */
	__u64 stale[MIRROR_FAULTS];
};

#define MIRROR_IOC_SETUP	_IOW('M', 0, struct mirror_setup)
#define MIRROR_IOC_FILL		_IOW('M', 1, struct mirror_fill)
#define MIRROR_IOC_AUDIT	_IOW('M', 2, struct mirror_audit)
#define MIRROR_IOC_CYCLE	_IO('M', 3)	/* a kind: unsubscribe, subscribe */
#define MIRROR_IOC_STATS	_IOR('M', 4, struct mirror_stats)

#endif
