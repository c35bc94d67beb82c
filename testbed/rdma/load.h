/* SPDX-License-Identifier: GPL-2.0 */
/* Several threads work on a region, remotely and not, while the VM takes its pages. */
#ifndef MN_LOAD_H
#define MN_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link.h"

/* Each has a block of its own pinned. */
#define WORKERS		3

/**
 * struct load - a region in blocks
 * @block: what each contains
 * @stamps: given out so far
 * @written: pages, remotely
 * @read: likewise
 * @forks: children that had all of it for a while
 * @pinned: kilobytes of this process, while the region is registered
 */
struct load {
	struct device *device;
	struct ibv_mr *mr;
	uint64_t *memory;
	size_t blocks;
	struct block *block;
	atomic_uint stamps;
	atomic_bool stop;
	atomic_ulong written;
	atomic_ulong read;
	atomic_ulong forks;
	uint64_t pinned;
};

/* Returns NULL, or what went wrong; once only. */
const char *load_run(struct load *load, struct device *device, size_t size);

#endif
