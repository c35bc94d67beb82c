// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"
#include "soft_gru.h"
#include "soft_xpmem.h"
#include "subscribers.h"

#define RETRY_US 1000
/* Few enough to be found in a TLB again, many enough to be swapped in between. */
#define PAGES_READ 2048
#define PAGES_LEFT 64

/* Each has a thread, but the last, which has a process. */
enum { MIRROR, GRU, RDMA, XPMEM, SUBSCRIBERS };

static const char *const names[] = { "mirror", "gru", "rdma", "xpmem" };

/* Shared with the process that imports the memory. */
static struct shared {
	atomic_int stop;
	struct tally {
		atomic_long loads, unchanged, wrong;
	} tally[SUBSCRIBERS];
} *shared;

static unsigned char *memory;
static size_t bytes;
static unsigned int seed;
static pthread_t threads[SUBSCRIBERS];
static int devices[SUBSCRIBERS];
static pid_t importer;

static int device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == EACCES)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("%s: %s: is the module loaded?", path, strerror(errno));
	return fd;
}

/* What the process itself has there. */
static int own_load(uint64_t *address, uint64_t *value)
{
	*value = __atomic_load_n(address, __ATOMIC_ACQUIRE);
	return 0;
}

static int mirror_load(uint64_t *address, uint64_t *value)
{
	return pread(devices[MIRROR], value, sizeof(*value), (uintptr_t)address) ==
	       sizeof(*value) ? 0 : -1;
}

static int gru_load(uint64_t *address, uint64_t *value)
{
	struct soft_gru_op op = { .address = (uintptr_t)address, .opcode = SOFT_GRU_LOAD };
	struct soft_gru_run list = { .ops = (uintptr_t)&op, .count = 1 };

	if (ioctl(devices[GRU], SOFT_GRU_RUN, &list) || op.error)
		return -1;
	*value = op.value;
	return 0;
}

typedef int load(uint64_t *address, uint64_t *value);

static load *const loads[] = { mirror_load, gru_load, rdma_load };

static int is_there(int who)
{
	return who != RDMA || rdma_open;
}

/*
 * The guest writes something new each time. So a word that was the same before and
 * after had that value in between.
 */
static void compare(struct tally *tally, load *own, load *other, uint64_t *address,
		    uint64_t *seen_at)
{
	uint64_t before, value, after;

	if (own(address, &before))
		return;
	if (other(seen_at, &value)) {
		tally->wrong++;
		return;
	}
	tally->loads++;
	if (own(address, &after) || before != after)
		return;
	tally->unchanged++;
	tally->wrong += value != before;
}

/*
 * Pages whose translations are loaded and that are then reclaimed at once, with no
 * question whether they are young; others are filled before they return. So each
 * translation that was left would show something else.
 */
static void compare_reclaimed(int who)
{
	size_t size = PAGES_LEFT * 4096, words = size / sizeof(uint64_t);
	uint64_t *pages = mmap(NULL, 3 * size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t value;

	if (pages == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	for (size_t i = 0; i < words; i++)
		pages[i] = seed + i;
	for (size_t i = 0; i < words; i += 512)
		if (loads[who](pages + i, &value) || value != pages[i])
			shared->tally[who].wrong++;
	if (madvise(pages, size, MADV_PAGEOUT))
		fail("MADV_PAGEOUT: %s", strerror(errno));
	memset(pages + words, 0xa5, 2 * size);
	for (size_t i = 0; i < words; i += 512)
		compare(&shared->tally[who], own_load, loads[who], pages + i, pages + i);
	munmap(pages, 3 * size);
}

static uint64_t *pick(unsigned char *base, unsigned int *random)
{
	size_t page = rand_r(random) % PAGES_READ * (bytes / 4096 / PAGES_READ);
	size_t word = rand_r(random) % 512;

	return (uint64_t *)(base + page * 4096 + word * 8);
}

static void *read_all(void *argument)
{
	int who = (intptr_t)argument;
	unsigned int random = seed + who;

	while (!shared->stop) {
		uint64_t *address = pick(memory, &random);

		compare(&shared->tally[who], own_load, loads[who], address, address);
		usleep(RETRY_US);
	}
	return NULL;
}

/* The exporter's own view, from the importer. */
static int exporter_load(uint64_t *address, uint64_t *value)
{
	struct iovec here = { value, sizeof(*value) }, there = { address, sizeof(*value) };

	return process_vm_readv(getppid(), &here, 1, &there, 1, 0) == sizeof(*value) ? 0 : -1;
}

static void import(int64_t segid)
{
	struct soft_xpmem_get get = { .segid = segid, .flags = SOFT_XPMEM_RDONLY };
	unsigned int random = seed + XPMEM;
	unsigned char *window;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open("/dev/soft_xpmem", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, SOFT_XPMEM_GET, &get))
		_exit(1);
	window = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, get.apid);
	if (window == MAP_FAILED)
		_exit(2);
	while (!shared->stop) {
		uint64_t *address = pick(memory, &random);

		compare(&shared->tally[XPMEM], exporter_load, own_load, address,
			(uint64_t *)(window + ((unsigned char *)address - memory)));
		usleep(RETRY_US);
	}
	_exit(0);
}

static void export(void)
{
	struct soft_xpmem_make make = { .address = (uintptr_t)memory, .size = bytes,
					.mode = 0600 };

	if (ioctl(devices[XPMEM], SOFT_XPMEM_MAKE, &make))
		fail("exporting the guest's memory: %s", strerror(errno));
	/* The importer shares it through the device, and only so. */
	if (madvise(memory, bytes, MADV_DONTFORK))
		fail("MADV_DONTFORK: %s", strerror(errno));
	importer = fork();
	if (importer < 0)
		fail("fork: %s", strerror(errno));
	if (!importer)
		import(make.segid);
}

void subscribers_start(unsigned char *start, size_t size, unsigned int key)
{
	memory = start;
	bytes = size;
	seed = key;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	devices[MIRROR] = device("/dev/soft_mirror");
	devices[GRU] = device("/dev/soft_gru");
	devices[XPMEM] = device("/dev/soft_xpmem");
	export();
	/* The importer has nothing of it. */
	if (rdma_open)
		rdma_open(memory, bytes);
	for (intptr_t who = MIRROR; who < XPMEM; who++)
		if (is_there(who) && pthread_create(&threads[who], NULL, read_all, (void *)who))
			fail("a thread cannot be created");
}

static void report_tally(const char *name, const struct tally *tally)
{
	char key[64];

	snprintf(key, sizeof(key), "%s_loads", name);
	report(key, "%ld", tally->unchanged);
	snprintf(key, sizeof(key), "%s_mismatches", name);
	report(key, "%ld", tally->wrong);
}

long subscribers_stop(void)
{
	struct soft_xpmem_stats xpmem;
	long wrong = 0;
	int status;

	shared->stop = 1;
	for (int who = MIRROR; who < XPMEM; who++)
		if (is_there(who))
			pthread_join(threads[who], NULL);
	if (waitpid(importer, &status, 0) != importer || status)
		fail("the importer ended with status 0x%x", status);
	/* The others read the guest's memory only. */
	compare_reclaimed(MIRROR);
	compare_reclaimed(GRU);
	for (int who = 0; who < SUBSCRIBERS; who++) {
		if (is_there(who))
			report_tally(names[who], &shared->tally[who]);
		wrong += shared->tally[who].wrong;
	}
	if (ioctl(devices[XPMEM], SOFT_XPMEM_STATS, &xpmem))
		fail("SOFT_XPMEM_STATS: %s", strerror(errno));
	report("xpmem_messages", "%llu", (unsigned long long)xpmem.messages);
	return wrong;
}
