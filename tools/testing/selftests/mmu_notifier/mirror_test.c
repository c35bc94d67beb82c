// SPDX-License-Identifier: GPL-2.0
/* The mirror of samples/mmu_notifier: what it reads is what the process has there. */
#define _GNU_SOURCE
#include "../kselftest_harness.h"
#include "memory.h"

#define DEVICE	"/dev/soft_mirror"
#define PAGES	64
#define STEPS	30

static int mirror_load(void *context, void *address, uint64_t *value)
{
	int fd = *(int *)context;

	return pread(fd, value, sizeof(*value), (uintptr_t)address) == sizeof(*value) ? 0 : -1;
}

FIXTURE(mirror) {
	int fd;
	struct arena arena;
};

FIXTURE_SETUP(mirror)
{
	struct arena *arena = &self->arena;

	self->fd = open(DEVICE, O_RDONLY | O_CLOEXEC);
	if (self->fd < 0)
		SKIP(return, "no " DEVICE ": load the module soft_mirror");
	arena->size = PAGES * page_size();
	arena->memory = arena_map(arena, NULL);
	ASSERT_NE(MAP_FAILED, arena->memory);
	madvise(arena->memory, arena->size, MADV_NOHUGEPAGE);
}

FIXTURE_TEARDOWN(mirror)
{
	munmap(self->arena.memory, self->arena.size);
	close(self->fd);
}

TEST_F(mirror, reads_any_length)
{
	char *memory = self->arena.memory, got[256];
	size_t done = 0;

	for (size_t i = 0; i < 2 * page_size(); i++)
		memory[i] = i * 7 + i / 251;
	/* Over the boundary of two pages. */
	memory += page_size() - 100;
	while (done < sizeof(got)) {
		ssize_t more = pread(self->fd, got + done, sizeof(got) - done,
				     (uintptr_t)memory + done);

		ASSERT_GT(more, 0);
		done += more;
	}
	EXPECT_EQ(0, memcmp(got, memory, sizeof(got)));
}

TEST_F(mirror, copy_on_write)
{
	char *word = self->arena.memory;
	uint64_t got = 1;

	/* The zero page first; a write puts another page there, and tells of one page. */
	ASSERT_EQ(0, mirror_load(&self->fd, word, &got));
	EXPECT_EQ(0, got);
	set_word(word, 5);
	ASSERT_EQ(0, mirror_load(&self->fd, word, &got));
	EXPECT_EQ(5, got);
}

TEST_F(mirror, moved_away)
{
	uint64_t got;
	void *moved;

	arena_fill(&self->arena, 3);
	ASSERT_EQ(0, mirror_load(&self->fd, self->arena.memory, &got));
	EXPECT_EQ(3, got);
	moved = mremap(self->arena.memory, self->arena.size, self->arena.size, MREMAP_MAYMOVE |
		       MREMAP_FIXED, arena_map(&self->arena, NULL));
	ASSERT_NE(MAP_FAILED, moved);
	EXPECT_EQ(-1, mirror_load(&self->fd, self->arena.memory, &got));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(0, mirror_load(&self->fd, moved, &got));
	EXPECT_EQ(3, got);
	self->arena.memory = moved;
}

TEST_F(mirror, belongs_to_its_process)
{
	pid_t child = fork();
	uint64_t got;
	int status;

	if (!child) {
		int ret = mirror_load(&self->fd, self->arena.memory, &got);

		_exit(ret == -1 && errno == EPERM ? 0 : 1);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F_TIMEOUT(mirror, follows_changes, LONG_TIME)
{
	uint64_t swapped = vm_counter("pswpout");

	arena_run(&self->arena, mirror_load, &self->fd, STEPS);
	EXPECT_EQ(0, self->arena.wrong);
	TH_LOG("counts: %llu loads during %llu changes, %llu pages swapped out",
	       (unsigned long long)self->arena.loads, (unsigned long long)self->arena.next,
	       (unsigned long long)(vm_counter("pswpout") - swapped));
}

TEST_HARNESS_MAIN
