// SPDX-License-Identifier: GPL-2.0
/*
 * RDMA as one more subscriber of a small guest's process: all of the guest's memory is
 * open for remote access, and none of it is pinned.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "link.h"
#include "report.h"
#include "subscribers.h"

static struct device device;
static struct link connection;
static struct ibv_mr *region;

void rdma_open(unsigned char *start, size_t size)
{
	/* What it says is no result. */
	if (system("{ " SETUP "; } >&2"))
		fail("RDMA: no device could be made");
	if (device_open(&device) || link_open(&connection, &device, PAGE))
		fail("RDMA: no connection: %s", strerror(errno));
	region = on_demand(&device, start, size);
	if (!region)
		fail("RDMA: the guest's memory is not registered: %s", strerror(errno));
}

/* A page at a time: soft-RoCE forgets offsets within pages. */
int rdma_load(uint64_t *address, uint64_t *value)
{
	size_t offset = (uintptr_t)address % PAGE;
	int status = remote_read(&connection, region, (char *)address - offset, PAGE);

	if (status)
		fail("RDMA: a remote read ended with status %d", status);
	*value = connection.buffer[offset / sizeof(*value)];
	return 0;
}
