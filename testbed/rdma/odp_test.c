// SPDX-License-Identifier: GPL-2.0
/*
 * Remote access to memory that is paged on demand: what is written remotely is what the
 * process reads there, and the other way round, whatever the VM does with the pages.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "block.h"
#include "link.h"
#include "load.h"

/* A hung kernel is found by whoever runs the tests. */
#define LONG_TIME	1500

FIXTURE(odp) {
	struct device device;
	struct link link;
	struct ibv_mr *mr;
	uint64_t *memory;
};

FIXTURE_SETUP(odp)
{
	ASSERT_EQ(0, device_open(&self->device));
	ASSERT_EQ(0, link_open(&self->link, &self->device, SIZE));
	self->memory = map(SIZE, NULL);
	ASSERT_NE(MAP_FAILED, self->memory);
	self->mr = on_demand(&self->device, self->memory, SIZE);
	ASSERT_NE(NULL, self->mr);
}

FIXTURE_TEARDOWN(odp)
{
	EXPECT_EQ(0, ibv_dereg_mr(self->mr));
}

static int write_stamp(FIXTURE_DATA(odp) *self, uint32_t stamp)
{
	fill(self->link.buffer, stamp, 0);
	return remote_write(&self->link, self->mr, self->memory, SIZE);
}

/* Is this what is read remotely? */
static bool reads(FIXTURE_DATA(odp) *self, uint32_t stamp)
{
	return remote_read(&self->link, self->mr, self->memory, SIZE) == IBV_WC_SUCCESS &&
	       is_filled(self->link.buffer, stamp, 0);
}

TEST_F(odp, written_and_read)
{
	EXPECT_TRUE(reads(self, 0));
	ASSERT_EQ(IBV_WC_SUCCESS, write_stamp(self, 1));
	EXPECT_TRUE(is_filled(self->memory, 1, 0));
	fill(self->memory, 2, 0);
	EXPECT_TRUE(reads(self, 2));
}

/* Has the pages that the process had at the fork, until it is asked for them. */
struct keeper {
	pid_t child;
	int go;
};

static bool keep(const uint64_t *memory, struct keeper *keeper)
{
	int go[2];
	char byte;

	if (pipe(go))
		return false;
	keeper->go = go[1];
	keeper->child = fork();
	if (!keeper->child) {
		close(go[1]);
		_exit(read(go[0], &byte, 1) || !is_filled(memory, 1, 0));
	}
	close(go[0]);
	return keeper->child > 0;
}

static bool has_kept(const struct keeper *keeper)
{
	int status;

	close(keeper->go);
	return waitpid(keeper->child, &status, 0) == keeper->child && !status;
}

/* A child keeps the old pages, the parent gets new ones. */
TEST_F(odp, copy_on_write)
{
	struct keeper keeper;

	ASSERT_EQ(IBV_WC_SUCCESS, write_stamp(self, 1));
	ASSERT_TRUE(keep(self->memory, &keeper));
	fill(self->memory, 2, 0);
	EXPECT_TRUE(reads(self, 2));
	EXPECT_EQ(IBV_WC_SUCCESS, write_stamp(self, 3));
	EXPECT_TRUE(is_filled(self->memory, 3, 0));
	EXPECT_TRUE(has_kept(&keeper));
}

/* The same by a remote write: it is what copies. */
TEST_F(odp, remote_write_copies)
{
	struct keeper keeper;

	fill(self->memory, 1, 0);
	ASSERT_TRUE(reads(self, 1));
	ASSERT_TRUE(keep(self->memory, &keeper));
	EXPECT_EQ(IBV_WC_SUCCESS, write_stamp(self, 2));
	EXPECT_TRUE(is_filled(self->memory, 2, 0));
	EXPECT_TRUE(has_kept(&keeper));
}

TEST_F(odp, moved_away)
{
	uint64_t *away = map(SIZE, NULL);

	ASSERT_EQ(IBV_WC_SUCCESS, write_stamp(self, 1));
	ASSERT_EQ(away, mremap(self->memory, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, away));
	ASSERT_EQ(self->memory, map(SIZE, self->memory));
	EXPECT_TRUE(reads(self, 0));
	EXPECT_EQ(IBV_WC_SUCCESS, write_stamp(self, 2));
	EXPECT_TRUE(is_filled(self->memory, 2, 0));
	EXPECT_TRUE(is_filled(away, 1, 0));
}

TEST_F(odp, dropped)
{
	ASSERT_EQ(IBV_WC_SUCCESS, write_stamp(self, 1));
	ASSERT_EQ(0, madvise(self->memory, SIZE, MADV_DONTNEED));
	EXPECT_TRUE(reads(self, 0));
	EXPECT_TRUE(is_filled(self->memory, 0, 0));
}

TEST_F(odp, unmapped)
{
	ASSERT_EQ(IBV_WC_SUCCESS, write_stamp(self, 1));
	ASSERT_EQ(0, munmap(self->memory, SIZE));
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, write_stamp(self, 2));
	ASSERT_EQ(0, link_connect(&self->link));
	EXPECT_FALSE(reads(self, 1));
	ASSERT_EQ(0, link_connect(&self->link));
	ASSERT_EQ(self->memory, map(SIZE, self->memory));
	EXPECT_TRUE(reads(self, 0));
	EXPECT_EQ(IBV_WC_SUCCESS, write_stamp(self, 3));
	EXPECT_TRUE(is_filled(self->memory, 3, 0));
}

TEST_F(odp, read_only)
{
	ASSERT_EQ(IBV_WC_SUCCESS, write_stamp(self, 1));
	ASSERT_EQ(0, mprotect(self->memory, SIZE, PROT_READ));
	EXPECT_TRUE(reads(self, 1));
	EXPECT_EQ(IBV_WC_REM_ACCESS_ERR, write_stamp(self, 2));
	EXPECT_TRUE(is_filled(self->memory, 1, 0));
	ASSERT_EQ(0, link_connect(&self->link));
	ASSERT_EQ(0, mprotect(self->memory, SIZE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(IBV_WC_SUCCESS, write_stamp(self, 2));
	EXPECT_TRUE(is_filled(self->memory, 2, 0));
}

TEST_F(odp, truncated)
{
	int fd = memfd_create("odp", MFD_CLOEXEC);

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	ASSERT_EQ(self->memory, mmap(self->memory, SIZE, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_FIXED, fd, 0));
	ASSERT_EQ(IBV_WC_SUCCESS, write_stamp(self, 1));
	EXPECT_TRUE(is_filled(self->memory, 1, 0));
	ASSERT_EQ(0, ftruncate(fd, 0));
	EXPECT_FALSE(reads(self, 1));
	ASSERT_EQ(0, link_connect(&self->link));
	ASSERT_EQ(0, ftruncate(fd, SIZE));
	EXPECT_TRUE(reads(self, 0));
	close(fd);
}

/* Pages of the memory that are in swap. */
static int in_swap(void *memory)
{
	uint64_t entries[PAGES] = { 0 };
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), count = 0;

	if (pread(fd, entries, sizeof(entries), (uintptr_t)memory / PAGE * sizeof(*entries)) < 0)
		count = -1;
	close(fd);
	for (int i = 0; i < PAGES && count >= 0; i++)
		count += entries[i] >> 62 & 1;
	return count;
}

/*
 * Pages that a remote write brought in wait in a batch of the CPU that did it, where
 * reclaim does not see them; dropping caches empties the batches of all.
 */
static void page_out(void *memory)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (write(fd, "1", 1) < 0)
		perror("drop_caches");
	close(fd);
	madvise(memory, SIZE, MADV_PAGEOUT);
}

static void swap_out(void *memory)
{
	while (in_swap(memory) < PAGES)
		page_out(memory);
}

TEST_F_TIMEOUT(odp, swapped, LONG_TIME)
{
	ASSERT_EQ(IBV_WC_SUCCESS, write_stamp(self, 1));
	swap_out(self->memory);
	EXPECT_TRUE(is_filled(self->memory, 1, 0));
	swap_out(self->memory);
	EXPECT_TRUE(reads(self, 1));
	swap_out(self->memory);
	EXPECT_EQ(IBV_WC_SUCCESS, write_stamp(self, 2));
	swap_out(self->memory);
	EXPECT_TRUE(is_filled(self->memory, 2, 0));
}

/* Sums of remote additions, while the pages come and go. */

#define ADDS		3000

static void *keep_swapping_out(void *memory)
{
	for (;;) {
		page_out(memory);
		pthread_testcancel();
	}
	return NULL;
}

TEST_F_TIMEOUT(odp, sums, LONG_TIME)
{
	uint64_t swapped = number_in("/proc/vmstat", "pswpout");
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_swapping_out, self->memory));
	for (size_t i = 0; i < ADDS; i++)
		ASSERT_EQ(IBV_WC_SUCCESS, remote_add(&self->link, self->mr,
						     self->memory + i * 61 % WORDS, 1));
	ASSERT_EQ(0, pthread_cancel(thread));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	for (size_t i = 0; i < ADDS; i++)
		self->memory[i * 61 % WORDS]--;
	EXPECT_TRUE(is_filled(self->memory, 0, 0));
	swapped = number_in("/proc/vmstat", "pswpout") - swapped;
	EXPECT_LT(0u, swapped);
	TH_LOG("counts: %d additions, %llu pages swapped out", ADDS,
	       (unsigned long long)swapped);
}

TEST_F_TIMEOUT(odp, larger_than_memory, LONG_TIME)
{
	size_t size = number_in("/proc/meminfo", "MemTotal:") * 1024 / 2 * 3;
	uint64_t out = number_in("/proc/vmstat", "pswpout");
	uint64_t in = number_in("/proc/vmstat", "pswpin");
	struct load load;

	EXPECT_STREQ("", load_run(&load, &self->device, size) ?: "");
	/* And the block of the fixture's link. */
	EXPECT_EQ((WORKERS + 1) * SIZE / 1024, load.pinned);
	out = number_in("/proc/vmstat", "pswpout") - out;
	in = number_in("/proc/vmstat", "pswpin") - in;
	EXPECT_LT(0u, out);
	EXPECT_LT(0u, in);
	EXPECT_LT(0u, load.forks);
	TH_LOG("counts: region of %zu MB, %lu pages written and %lu read remotely, %llu out of "
	       "and %llu into memory, %lu forks", size >> 20, load.written, load.read,
	       (unsigned long long)out, (unsigned long long)in, load.forks);
}

TEST_HARNESS_MAIN
