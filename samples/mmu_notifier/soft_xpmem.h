/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/soft_xpmem: memory of one process in the address space of another. An
 * open file belongs to the process that opened it, and what was made or got
 * through it ends with it.
 *
 * The exporter makes a segment of its memory. Others get access to it, and map
 * the device at the offset that is the number of the access.
 */
#ifndef _SOFT_XPMEM_H
#define _SOFT_XPMEM_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct soft_xpmem_make - export memory
 * @address: page aligned; need not be mapped yet
 * @size: in bytes, page aligned
 * @mode: who may get it, as of a file
 * @segid: number of the segment, goes out
 */
struct soft_xpmem_make {
	__u64 address;
	__u64 size;
	__u64 mode;
	__s64 segid;
};

#define SOFT_XPMEM_RDONLY	1
#define SOFT_XPMEM_RDWR		2

/**
 * struct soft_xpmem_get - get access to a segment
 * @segid: its number
 * @flags: SOFT_XPMEM_RDONLY or SOFT_XPMEM_RDWR
 * @apid: number of the access, goes out
 */
struct soft_xpmem_get {
	__s64 segid;
	__u64 flags;
	__s64 apid;
};

/**
 * struct soft_xpmem_message - part of a segment is going away
 * @apid: access to it, from which the part has been unmapped already
 * @ticket: number of the message
 * @offset: in the segment
 * @size: in bytes
 *
 * Who listens (SOFT_XPMEM_LISTEN) reads messages from the file, and answers
 * them by SOFT_XPMEM_ANSWER with the same @apid and @ticket. The exporter waits.
 */
struct soft_xpmem_message {
	__s64 apid;
	__u64 ticket;
	__u64 offset;
	__u64 size;
};

/**
 * struct soft_xpmem_stats - what became of the segments of a process
 * @faults: pages mapped by others
 * @messages: sent
 * @answers: received
 * @silent: given up, because there was no answer in time
 */
struct soft_xpmem_stats {
	__u64 faults;
	__u64 messages;
	__u64 answers;
	__u64 silent;
};

#define SOFT_XPMEM_MAKE		_IOWR('X', 1, struct soft_xpmem_make)
#define SOFT_XPMEM_REMOVE	_IOW('X', 2, __s64)
#define SOFT_XPMEM_GET		_IOWR('X', 3, struct soft_xpmem_get)
#define SOFT_XPMEM_RELEASE	_IOW('X', 4, __s64)
#define SOFT_XPMEM_DETACH	_IOW('X', 5, __u64)
#define SOFT_XPMEM_LISTEN	_IO('X', 6)
#define SOFT_XPMEM_ANSWER	_IOW('X', 7, struct soft_xpmem_message)
#define SOFT_XPMEM_STATS	_IOR('X', 8, struct soft_xpmem_stats)

#endif /* _SOFT_XPMEM_H */
