// SPDX-License-Identifier: GPL-2.0
/* The GRU of samples/mmu_notifier: accesses through a TLB outside of the CPU. */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/ioctl.h>
#include <time.h>

#include "../kselftest_harness.h"
#include "memory.h"
#include "soft_gru.h"

#define DEVICE	"/dev/soft_gru"
#define PAGES	64
#define STEPS	30
/* More than a TLB holds. */
#define MANY	(SOFT_GRU_ENTRIES * 3 / 2)
#define BATCH	64

static int gru_run(int fd, struct soft_gru_op *ops, int count)
{
	struct soft_gru_run run = { .ops = (uintptr_t)ops, .count = count };

	return ioctl(fd, SOFT_GRU_RUN, &run);
}

static int gru_one(int fd, unsigned int opcode, void *address, uint64_t *value)
{
	struct soft_gru_op op = { .address = (uintptr_t)address, .value = *value,
				  .opcode = opcode };

	if (gru_run(fd, &op, 1))
		return -1;
	*value = op.value;
	errno = -op.error;
	return op.error ? -1 : 0;
}

static int gru_load(void *context, void *address, uint64_t *value)
{
	return gru_one(*(int *)context, SOFT_GRU_LOAD, address, value);
}

static int gru_store(int fd, void *address, uint64_t value)
{
	return gru_one(fd, SOFT_GRU_STORE, address, &value);
}

static struct soft_gru_stats gru_stats(int fd)
{
	struct soft_gru_stats stats = { 0 };

	ioctl(fd, SOFT_GRU_STATS, &stats);
	return stats;
}

FIXTURE(gru) {
	int fd;
	struct arena arena;
};

FIXTURE_SETUP(gru)
{
	struct arena *arena = &self->arena;

	self->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (self->fd < 0)
		SKIP(return, "no " DEVICE ": load the module soft_gru");
	arena->size = PAGES * page_size();
	arena->memory = arena_map(arena, NULL);
	ASSERT_NE(MAP_FAILED, arena->memory);
	madvise(arena->memory, arena->size, MADV_NOHUGEPAGE);
}

FIXTURE_TEARDOWN(gru)
{
	munmap(self->arena.memory, self->arena.size);
	close(self->fd);
}

TEST_F(gru, loads_and_stores)
{
	char *word = self->arena.memory;
	struct soft_gru_op ops[3] = {
		{ (uintptr_t)word, 7, SOFT_GRU_STORE, 0 },
		{ (uintptr_t)word, 5, SOFT_GRU_ADD, 0 },
		{ (uintptr_t)word, 0, SOFT_GRU_LOAD, 0 },
	};

	ASSERT_EQ(0, gru_run(self->fd, ops, 3));
	EXPECT_EQ(12, ops[1].value);
	EXPECT_EQ(12, ops[2].value);
	EXPECT_EQ(12, get_word(word));
	set_word(word, 99);
	ASSERT_EQ(0, gru_run(self->fd, ops + 2, 1));
	EXPECT_EQ(99, ops[2].value);

	ops[2].address++;
	ASSERT_EQ(0, gru_run(self->fd, ops + 2, 1));
	EXPECT_EQ(-EINVAL, ops[2].error);
}

TEST_F(gru, respects_protection)
{
	uint64_t got;

	ASSERT_EQ(0, gru_store(self->fd, self->arena.memory, 8));
	ASSERT_EQ(0, mprotect(self->arena.memory, self->arena.size, PROT_READ));
	EXPECT_EQ(-1, gru_store(self->fd, self->arena.memory, 9));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(0, gru_load(&self->fd, self->arena.memory, &got));
	EXPECT_EQ(8, got);
	ASSERT_EQ(0, mprotect(self->arena.memory, self->arena.size, PROT_NONE));
	EXPECT_EQ(-1, gru_load(&self->fd, self->arena.memory, &got));
}

TEST_F(gru, copy_on_write)
{
	char *word = self->arena.memory;
	struct soft_gru_stats before, after;
	uint64_t got = 1;

	ASSERT_EQ(0, gru_load(&self->fd, word, &got));
	EXPECT_EQ(0, got);
	before = gru_stats(self->fd);
	set_word(word, 5);
	after = gru_stats(self->fd);
	EXPECT_LT(before.pages, after.pages) TH_LOG("nobody told of the page");
	EXPECT_EQ(before.ranges, after.ranges);
	ASSERT_EQ(0, gru_load(&self->fd, word, &got));
	EXPECT_EQ(5, got);
}

TEST_F(gru, moved_away)
{
	uint64_t got;
	void *moved;

	arena_fill(&self->arena, 3);
	ASSERT_EQ(0, gru_load(&self->fd, self->arena.memory, &got));
	moved = mremap(self->arena.memory, self->arena.size, self->arena.size, MREMAP_MAYMOVE |
		       MREMAP_FIXED, arena_map(&self->arena, NULL));
	ASSERT_NE(MAP_FAILED, moved);
	EXPECT_EQ(-1, gru_load(&self->fd, self->arena.memory, &got));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(0, gru_load(&self->fd, moved, &got));
	EXPECT_EQ(3, got);
	self->arena.memory = moved;
}

/* What the GRU stores after a fork is not the child's. */
TEST_F(gru, fork_keeps_the_copy)
{
	char *word = self->arena.memory;
	int go[2], status;
	pid_t child;
	char c;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, gru_store(self->fd, word, 1));
	child = fork();
	if (!child) {
		read(go[0], &c, 1);
		_exit(get_word(word) == 1 ? 0 : 1);
	}
	ASSERT_EQ(0, gru_store(self->fd, word, 2));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(2, get_word(word));
}

static uint64_t now_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000ULL + time.tv_nsec / 1000;
}

static unsigned int slot(const char *address)
{
	return (uintptr_t)address / page_size() % SOFT_GRU_ENTRIES;
}

/* A terabyte costs a look at each entry, once, and what is outside stays. */
TEST_F(gru, large_range_at_once)
{
	/* Some pages, whose entries are side by side. */
	const size_t size = 1UL << 40, step = (1UL << 34) + page_size();
	const unsigned int pages = size / step;
	struct soft_gru_stats before, after;
	uint64_t got, begin;
	cpu_set_t cpu;
	char *large, *outside = self->arena.memory;

	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu), &cpu));
	large = mmap(NULL, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (large == MAP_FAILED && errno == ENOMEM)
		SKIP(return, "no terabyte of addresses");
	ASSERT_NE(MAP_FAILED, large);
	madvise(large, size, MADV_NOHUGEPAGE);
	for (unsigned int i = 0; i < pages; i++)
		ASSERT_EQ(0, gru_store(self->fd, large + i * step, 4));
	/* PAGES is more than they are. */
	while ((slot(outside) - slot(large)) % SOFT_GRU_ENTRIES < pages)
		outside += page_size();
	ASSERT_EQ(0, gru_store(self->fd, outside, 4));

	before = gru_stats(self->fd);
	begin = now_us();
	ASSERT_EQ(0, madvise(large, size, MADV_DONTNEED));
	begin = now_us() - begin;
	after = gru_stats(self->fd);
	EXPECT_EQ(SOFT_GRU_TLBS, after.ranges - before.ranges);
	EXPECT_EQ(SOFT_GRU_TLBS * SOFT_GRU_ENTRIES, after.visited - before.visited);
	EXPECT_EQ(pages, after.dropped - before.dropped);
	EXPECT_EQ(0, after.pages - before.pages);
	TH_LOG("counts: a range of %zu pages: %llu entries visited, %llu us",
	       size / page_size(), (unsigned long long)(after.visited - before.visited),
	       (unsigned long long)begin);

	before = after;
	ASSERT_EQ(0, gru_load(&self->fd, outside, &got));
	EXPECT_EQ(4, got);
	after = gru_stats(self->fd);
	EXPECT_EQ(before.misses, after.misses);
	for (unsigned int i = 0; i < pages; i++) {
		ASSERT_EQ(0, gru_load(&self->fd, large + i * step, &got));
		EXPECT_EQ(0, got);
	}
	munmap(large, size);
}

TEST_F_TIMEOUT(gru, follows_changes, LONG_TIME)
{
	struct soft_gru_stats stats;

	arena_run(&self->arena, gru_load, &self->fd, STEPS);
	EXPECT_EQ(0, self->arena.wrong);
	stats = gru_stats(self->fd);
	EXPECT_NE(0, stats.pages);
	EXPECT_NE(0, stats.ranges);
	TH_LOG("counts: %llu loads during %llu changes, %llu misses, %llu retries",
	       (unsigned long long)self->arena.loads, (unsigned long long)self->arena.next,
	       (unsigned long long)stats.misses, (unsigned long long)stats.retries);
}

/* Sums. */

#define GRU_ADDERS	3
#define ROUNDS		12

struct sum {
	int fd;
	char *memory;
	atomic_int failed;
	atomic_int stop;
};

struct adder {
	pthread_t thread;
	struct sum *sum;
	unsigned int seed;
	uint64_t added;
};

static void *address_of(struct adder *adder)
{
	return adder->sum->memory + rand_r(&adder->seed) % MANY * page_size();
}

static void *add_by_gru(void *argument)
{
	struct adder *adder = argument;
	struct soft_gru_op ops[BATCH];

	while (!adder->sum->stop) {
		for (int i = 0; i < BATCH; i++)
			ops[i] = (struct soft_gru_op){ (uintptr_t)address_of(adder), 1,
						       SOFT_GRU_ADD, 0 };
		adder->sum->failed += !!gru_run(adder->sum->fd, ops, BATCH);
		for (int i = 0; i < BATCH; i++)
			adder->sum->failed += !!ops[i].error;
		adder->added += BATCH;
	}
	return NULL;
}

static void *add_by_cpu(void *argument)
{
	struct adder *adder = argument;

	while (!adder->sum->stop) {
		(*(atomic_ullong *)address_of(adder))++;
		adder->added++;
	}
	return NULL;
}

/* Nothing of this changes a word. */
static void disturb(char *memory, size_t size, unsigned int round)
{
	pid_t child;

	switch (round % 4) {
	case 0:
	case 2:
		madvise(memory, size, MADV_PAGEOUT);
		break;
	case 1:
		child = fork();
		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
		break;
	case 3:
		mprotect(memory, size, PROT_READ | PROT_WRITE | PROT_EXEC);
		mprotect(memory, size, PROT_READ | PROT_WRITE);
		break;
	}
}

FIXTURE(sums) {
	struct sum sum;
	int file;
};

FIXTURE_VARIANT(sums) {
	enum kind kind;
};

FIXTURE_VARIANT_ADD(sums, anon) { .kind = ANON };
FIXTURE_VARIANT_ADD(sums, shmem) { .kind = SHMEM };
FIXTURE_VARIANT_ADD(sums, file) { .kind = FILESYSTEM };

FIXTURE_SETUP(sums)
{
	self->sum.fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (self->sum.fd < 0)
		SKIP(return, "no " DEVICE ": load the module soft_gru");
	self->sum.memory = map_memory(variant->kind, MANY * page_size(), &self->file);
	ASSERT_NE(MAP_FAILED, self->sum.memory);
}

FIXTURE_TEARDOWN(sums)
{
	munmap(self->sum.memory, MANY * page_size());
	close(self->sum.fd);
}

/* Several threads add by the GRU and one by the CPU; none of it may be lost. */
TEST_F_TIMEOUT(sums, are_exact, LONG_TIME)
{
	uint64_t total = 0, wanted = 0, by_gru = 0, swapped = vm_counter("pswpout");
	struct adder adder[GRU_ADDERS + 1];
	struct soft_gru_stats stats;
	struct sum *sum = &self->sum;

	for (int i = 0; i <= GRU_ADDERS; i++) {
		adder[i] = (struct adder){ .sum = sum, .seed = i + 1 };
		ASSERT_EQ(0, pthread_create(&adder[i].thread, NULL,
					    i ? add_by_gru : add_by_cpu, &adder[i]));
	}
	for (unsigned int round = 0; round < ROUNDS; round++)
		disturb(sum->memory, MANY * page_size(), round);
	sum->stop = 1;
	for (int i = 0; i <= GRU_ADDERS; i++) {
		pthread_join(adder[i].thread, NULL);
		wanted += adder[i].added;
		by_gru += i ? adder[i].added : 0;
	}

	for (size_t i = 0; i < MANY; i++)
		total += *(uint64_t *)(sum->memory + i * page_size());
	EXPECT_EQ(0, sum->failed);
	EXPECT_EQ(wanted, total);
	EXPECT_NE(0, by_gru);
	stats = gru_stats(sum->fd);
	EXPECT_EQ(by_gru, stats.hits);
	TH_LOG("counts: %llu adds, %u disturbances, %llu misses, %llu retries, %llu pages out",
	       (unsigned long long)total, ROUNDS, (unsigned long long)stats.misses,
	       (unsigned long long)stats.retries,
	       (unsigned long long)(vm_counter("pswpout") - swapped));
}

static void add_for_ever(char *memory, int ready)
{
	struct sum sum = { .fd = open(DEVICE, O_RDWR), .memory = memory };
	struct adder adder = { .sum = &sum, .seed = getpid() };

	pthread_create(&adder.thread, NULL, add_by_gru, &adder);
	write(ready, "", 1);
	for (unsigned int round = 0;; round++)
		disturb(memory, MANY * page_size(), round);
}

/* It may end at any moment, in the middle of everything. */
TEST_F_TIMEOUT(sums, killed, LONG_TIME)
{
	int status, ready[2];
	pid_t child;
	char c;

	ASSERT_EQ(0, pipe(ready));
	for (int i = 0; i < 8; i++) {
		child = fork();
		if (!child)
			add_for_ever(self->sum.memory, ready[1]);
		ASSERT_EQ(1, read(ready[0], &c, 1));
		usleep(i * 5000);
		kill(child, SIGKILL);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	close(ready[0]);
	close(ready[1]);
}

TEST_HARNESS_MAIN
