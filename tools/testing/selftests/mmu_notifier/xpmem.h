/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls of XPMEM, as programs know them, for /dev/soft_xpmem. They return -1
 * with errno set (xpmem_attach: MAP_FAILED) if they fail.
 *
 * A process has its own device, a child begins with none. What was made, got and
 * attached ends with the process, or with exec.
 */
#ifndef _XPMEM_H
#define _XPMEM_H

#include <stddef.h>
#include <stdint.h>

#include "soft_xpmem.h"

typedef int64_t xpmem_segid_t;
typedef int64_t xpmem_apid_t;

#define XPMEM_RDONLY		SOFT_XPMEM_RDONLY
#define XPMEM_RDWR		SOFT_XPMEM_RDWR
#define XPMEM_PERMIT_MODE	1

struct xpmem_addr {
	xpmem_apid_t apid;
	size_t offset;
};

/* The permit is the mode of a file, cast to a pointer. */
xpmem_segid_t xpmem_make(void *address, size_t size, int permit_type, void *permit);
int xpmem_remove(xpmem_segid_t segid);
xpmem_apid_t xpmem_get(xpmem_segid_t segid, int flags, int permit_type, void *permit);
int xpmem_release(xpmem_apid_t apid);
void *xpmem_attach(struct xpmem_addr from, size_t size, void *where);
int xpmem_detach(void *address);

/* Beyond XPMEM: answer messages about what goes away oneself. */
int xpmem_listen(void);
int xpmem_next_message(struct soft_xpmem_message *message);
int xpmem_answer(const struct soft_xpmem_message *message);
int xpmem_stats(struct soft_xpmem_stats *stats);

#endif /* _XPMEM_H */
