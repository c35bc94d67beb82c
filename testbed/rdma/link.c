// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link.h"

#define PORT	1
#define ACCESS	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
		 IBV_ACCESS_REMOTE_ATOMIC)
/* 4.3 s: whoever answers may have to wait for swap. */
#define TIMEOUT	20
#define RETRIES	7

static int find_gid(struct device *device)
{
	struct ibv_gid_entry entry;

	for (int i = 0; !ibv_query_gid_ex(device->context, PORT, i, &entry, 0); i++) {
		if (entry.gid_type == IBV_GID_TYPE_ROCE_V2) {
			device->gid = entry.gid;
			device->gid_index = entry.gid_index;
			return 0;
		}
	}
	errno = ENODEV;
	return -1;
}

int device_open(struct device *device)
{
	struct ibv_device **list = ibv_get_device_list(NULL);

	if (!list || !*list) {
		errno = ENODEV;
		return -1;
	}
	device->context = ibv_open_device(*list);
	ibv_free_device_list(list);
	if (!device->context)
		return -1;
	device->pd = ibv_alloc_pd(device->context);
	return device->pd ? find_gid(device) : -1;
}

struct ibv_mr *on_demand(struct device *device, void *memory, size_t size)
{
	return ibv_reg_mr(device->pd, memory, size, ACCESS | IBV_ACCESS_ON_DEMAND);
}

static struct ibv_qp *create_qp(struct link *link)
{
	struct ibv_qp_init_attr attr = {
		.send_cq = link->cq, .recv_cq = link->cq, .qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};

	return ibv_create_qp(link->device->pd, &attr);
}

static int move(struct ibv_qp *qp, struct ibv_qp_attr attr, int mask)
{
	int error = ibv_modify_qp(qp, &attr, mask | IBV_QP_STATE);

	if (!error)
		return 0;
	errno = error;
	return -1;
}

/*
 * Packets are pages: soft-RoCE of 7.3 forgets the offset within the page when it copies
 * to or from memory that is paged on demand.
 */
static int connect_to(struct link *link, struct ibv_qp *qp, uint32_t other)
{
	struct ibv_qp_attr init = {
		.qp_state = IBV_QPS_INIT, .port_num = PORT, .qp_access_flags = ACCESS,
	}, receive = {
		.qp_state = IBV_QPS_RTR, .path_mtu = IBV_MTU_4096, .dest_qp_num = other,
		.max_dest_rd_atomic = 1, .min_rnr_timer = 1,
		.ah_attr = { .is_global = 1, .port_num = PORT, .grh = {
			.dgid = link->device->gid, .sgid_index = link->device->gid_index,
			.hop_limit = 1 } },
	}, send = {
		.qp_state = IBV_QPS_RTS, .timeout = TIMEOUT, .retry_cnt = RETRIES,
		.rnr_retry = RETRIES, .max_rd_atomic = 1,
	};

	if (move(qp, init, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) ||
	    move(qp, receive, IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
		 IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER))
		return -1;
	return move(qp, send, IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
		    IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

/* Once more after an access was refused: that ends a connection. */
int link_connect(struct link *link)
{
	for (int i = 0; i < 2; i++)
		if (link->qp[i])
			ibv_destroy_qp(link->qp[i]);
	for (int i = 0; i < 2; i++) {
		link->qp[i] = create_qp(link);
		if (!link->qp[i])
			return -1;
	}
	if (connect_to(link, link->qp[0], link->qp[1]->qp_num))
		return -1;
	return connect_to(link, link->qp[1], link->qp[0]->qp_num);
}

int link_open(struct link *link, struct device *device, size_t size)
{
	*link = (struct link){ .device = device, .size = size };
	link->buffer = aligned_alloc(sysconf(_SC_PAGESIZE), size);
	if (!link->buffer)
		return -1;
	link->mr = ibv_reg_mr(device->pd, link->buffer, size, IBV_ACCESS_LOCAL_WRITE);
	link->channel = ibv_create_comp_channel(device->context);
	if (!link->mr || !link->channel)
		return -1;
	link->cq = ibv_create_cq(device->context, 4, NULL, link->channel, 0);
	return link->cq ? link_connect(link) : -1;
}

static int wait_for_completion(struct link *link)
{
	struct ibv_wc wc;
	struct ibv_cq *cq;
	void *context;
	int found;

	for (;;) {
		/* Armed before the look: what comes after the look wakes. */
		if (ibv_req_notify_cq(link->cq, 0))
			return -1;
		found = ibv_poll_cq(link->cq, 1, &wc);
		if (found)
			return found < 0 ? -1 : (int)wc.status;
		if (ibv_get_cq_event(link->channel, &cq, &context))
			return -1;
		ibv_ack_cq_events(cq, 1);
	}
}

static int submit(struct link *link, struct ibv_send_wr *wr, size_t size)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)link->buffer, .length = size, .lkey = link->mr->lkey,
	};
	struct ibv_send_wr *bad;
	int error;

	wr->sg_list = &sge;
	wr->num_sge = 1;
	wr->send_flags = IBV_SEND_SIGNALED;
	error = ibv_post_send(link->qp[0], wr, &bad);
	if (!error)
		return wait_for_completion(link);
	errno = error;
	return -1;
}

static int copy(struct link *link, enum ibv_wr_opcode opcode, struct ibv_mr *mr, void *address,
		size_t size)
{
	struct ibv_send_wr wr = {
		.opcode = opcode,
		.wr.rdma = { .remote_addr = (uintptr_t)address, .rkey = mr->rkey },
	};

	return submit(link, &wr, size);
}

int remote_write(struct link *link, struct ibv_mr *mr, void *address, size_t size)
{
	return copy(link, IBV_WR_RDMA_WRITE, mr, address, size);
}

int remote_read(struct link *link, struct ibv_mr *mr, void *address, size_t size)
{
	memset(link->buffer, -1, size);
	return copy(link, IBV_WR_RDMA_READ, mr, address, size);
}

int remote_add(struct link *link, struct ibv_mr *mr, void *address, uint64_t value)
{
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD,
		.wr.atomic = { .remote_addr = (uintptr_t)address, .compare_add = value,
			       .rkey = mr->rkey },
	};

	return submit(link, &wr, sizeof(value));
}
