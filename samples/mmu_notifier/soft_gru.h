/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/soft_gru: loads and stores of a process through a TLB of its own. An open
 * file belongs to the process that opened it; its threads may share it.
 */
#ifndef _SOFT_GRU_H
#define _SOFT_GRU_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* TLBs of an open file, and entries of each. */
#define SOFT_GRU_TLBS		2
#define SOFT_GRU_ENTRIES	512

enum soft_gru_opcode {
	SOFT_GRU_LOAD,		/* value = *address */
	SOFT_GRU_STORE,		/* *address = value */
	SOFT_GRU_ADD,		/* *address += value, value = *address, atomically */
};

/**
 * struct soft_gru_op - access to one word
 * @address: of the word, a multiple of 8
 * @value: what goes in and what comes out
 * @opcode: enum soft_gru_opcode
 * @error: 0, or a negative error number, -EFAULT as a rule
 */
struct soft_gru_op {
	__u64 address;
	__u64 value;
	__u32 opcode;
	__s32 error;
};

/**
 * struct soft_gru_run - accesses, one after the other
 * @ops: address of an array of struct soft_gru_op
 * @count: its length
 */
struct soft_gru_run {
	__u64 ops;
	__u64 count;
};

/**
 * struct soft_gru_stats - what an open file has seen
 * @hits: accesses
 * @misses: lookups of pages
 * @retries: lookups in vain, because an invalidation came in between
 * @pages: calls for single pages
 * @ranges: calls for ranges
 * @visited: entries that invalidations looked at
 * @dropped: entries that they dropped
 */
struct soft_gru_stats {
	__u64 hits;
	__u64 misses;
	__u64 retries;
	__u64 pages;
	__u64 ranges;
	__u64 visited;
	__u64 dropped;
};

#define SOFT_GRU_RUN	_IOW('G', 1, struct soft_gru_run)
#define SOFT_GRU_STATS	_IOR('G', 2, struct soft_gru_stats)

#endif /* _SOFT_GRU_H */
