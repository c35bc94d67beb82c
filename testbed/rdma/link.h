/* SPDX-License-Identifier: GPL-2.0 */
/* Two connected queue pairs of one RDMA device: remote access within one process. */
#ifndef MN_LINK_H
#define MN_LINK_H

#include <infiniband/verbs.h>
#include <stddef.h>
#include <stdint.h>

struct device {
	struct ibv_context *context;
	struct ibv_pd *pd;
	union ibv_gid gid;
	int gid_index;
};

/**
 * struct link - what remote accesses go through
 * @qp: the one that asks and the one that answers
 * @buffer: what is written from and read to; pinned
 */
struct link {
	struct device *device;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	struct ibv_qp *qp[2];
	struct ibv_mr *mr;
	uint64_t *buffer;
	size_t size;
};

/* All return 0, or -1 with errno. */
int device_open(struct device *device);
int link_open(struct link *link, struct device *device, size_t size);
int link_connect(struct link *link);

/* Memory that is not pinned, open for all remote accesses; NULL with errno. */
struct ibv_mr *on_demand(struct device *device, void *memory, size_t size);

/* Return a status of the completion, or -1 with errno. */
int remote_write(struct link *link, struct ibv_mr *mr, void *address, size_t size);
int remote_read(struct link *link, struct ibv_mr *mr, void *address, size_t size);
int remote_add(struct link *link, struct ibv_mr *mr, void *address, uint64_t value);

#endif
