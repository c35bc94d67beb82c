/* SPDX-License-Identifier: GPL-2.0 */
/* What mn_bench.ko can be asked to do for the calling process. */
#ifndef MN_BENCH_H
#define MN_BENCH_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct mnb_intervals {
	__u64 start;		/* address of the first page */
	__u64 count;		/* every other page from there on is an interval */
};

struct mnb_sections {
	__u64 start;		/* as above */
	__u64 first, count;	/* pages to choose from, of those behind it */
	__u64 odd;		/* pages without interval */
	__u64 times;
	__u64 idle;		/* everything but the sections */
};

struct mnb_sizes {
	__u64 mm, subscription, interval;
};

struct mnb_weighed {
	__u64 command, argument;	/* MNB_SUBSCRIBE or MNB_INSERT */
	__u64 bytes;		/* that were allocated to carry it out */
};

#define MNB_NOTHING	_IO('m', 0)
#define MNB_SUBSCRIBE	_IO('m', 1)		/* one more, with empty callbacks */
#define MNB_SLEEPY	_IO('m', 2)		/* one more, that sleeps a second */
#define MNB_UNSUBSCRIBE	_IO('m', 3)		/* all that this file made */
#define MNB_INTERVALS	_IOW('m', 4, struct mnb_intervals)
#define MNB_INSERT	_IO('m', 5)		/* one more page, by address */
#define MNB_REMOVE	_IO('m', 6)		/* that page */
#define MNB_CLEAR	_IO('m', 7)		/* all of MNB_INTERVALS */
#define MNB_SIZES	_IOR('m', 8, struct mnb_sizes)
#define MNB_SECTIONS	_IOW('m', 9, struct mnb_sections)	/* of random pages */
#define MNB_WEIGH	_IOWR('m', 10, struct mnb_weighed)

#endif
