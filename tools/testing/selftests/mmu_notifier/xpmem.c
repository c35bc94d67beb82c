// SPDX-License-Identifier: GPL-2.0
/* The library of /dev/soft_xpmem. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "xpmem.h"

#define DEVICE	"/dev/soft_xpmem"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int device = -1;
static pid_t owner;

/* The device of the parent is of no use to a child. */
static int xpmem_device(void)
{
	int fd;

	pthread_mutex_lock(&lock);
	if (device >= 0 && owner != getpid()) {
		close(device);
		device = -1;
	}
	if (device < 0) {
		device = open(DEVICE, O_RDWR | O_CLOEXEC);
		owner = getpid();
	}
	fd = device;
	pthread_mutex_unlock(&lock);
	return fd;
}

static int xpmem_ioctl(unsigned long command, void *argument)
{
	int fd = xpmem_device();

	return fd < 0 ? -1 : ioctl(fd, command, argument);
}

xpmem_segid_t xpmem_make(void *address, size_t size, int permit_type, void *permit)
{
	struct soft_xpmem_make make = { .address = (uintptr_t)address, .size = size,
					.mode = (uintptr_t)permit };

	if (permit_type != XPMEM_PERMIT_MODE) {
		errno = EINVAL;
		return -1;
	}
	return xpmem_ioctl(SOFT_XPMEM_MAKE, &make) ? -1 : make.segid;
}

int xpmem_remove(xpmem_segid_t segid)
{
	return xpmem_ioctl(SOFT_XPMEM_REMOVE, &segid);
}

xpmem_apid_t xpmem_get(xpmem_segid_t segid, int flags, int permit_type, void *permit)
{
	struct soft_xpmem_get get = { .segid = segid, .flags = flags };

	if (permit_type != XPMEM_PERMIT_MODE || permit) {
		errno = EINVAL;
		return -1;
	}
	return xpmem_ioctl(SOFT_XPMEM_GET, &get) ? -1 : get.apid;
}

int xpmem_release(xpmem_apid_t apid)
{
	return xpmem_ioctl(SOFT_XPMEM_RELEASE, &apid);
}

static void *map(struct xpmem_addr from, size_t size, int protection, void *where)
{
	return mmap(where, size, protection, MAP_SHARED | (where ? MAP_FIXED : 0),
		    xpmem_device(), from.apid + from.offset);
}

void *xpmem_attach(struct xpmem_addr from, size_t size, void *where)
{
	void *address = map(from, size, PROT_READ | PROT_WRITE, where);

	if (address == MAP_FAILED && errno == EACCES)
		address = map(from, size, PROT_READ, where);
	return address;
}

int xpmem_detach(void *address)
{
	__u64 argument = (uintptr_t)address;

	return xpmem_ioctl(SOFT_XPMEM_DETACH, &argument);
}

int xpmem_listen(void)
{
	return xpmem_ioctl(SOFT_XPMEM_LISTEN, NULL);
}

int xpmem_next_message(struct soft_xpmem_message *message)
{
	return read(xpmem_device(), message, sizeof(*message)) == sizeof(*message) ? 0 : -1;
}

int xpmem_answer(const struct soft_xpmem_message *message)
{
	return xpmem_ioctl(SOFT_XPMEM_ANSWER, (void *)message);
}

int xpmem_stats(struct soft_xpmem_stats *stats)
{
	return xpmem_ioctl(SOFT_XPMEM_STATS, stats);
}
