/* SPDX-License-Identifier: GPL-2.0 */
/* Memory whose content changes in known steps while others look at it. */
#ifndef _MEMORY_H
#define _MEMORY_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

/* A hung kernel is found by whoever runs the tests. */
#define LONG_TIME	600

enum kind { ANON, SHMEM, TMPFS, FILESYSTEM };

/* Words that others may change meanwhile. */
static inline uint64_t get_word(const void *address)
{
	return __atomic_load_n((const uint64_t *)address, __ATOMIC_RELAXED);
}

static inline void set_word(void *address, uint64_t value)
{
	__atomic_store_n((uint64_t *)address, value, __ATOMIC_RELAXED);
}

static inline size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

/* A file that is gone when it is closed, of a file system without swap. */
static inline int ramfs_file(void)
{
	char folder[] = "/tmp/mmu_notifier.XXXXXX";
	int fd = -1;

	if (!mkdtemp(folder))
		return -1;
	if (!mount("none", folder, "ramfs", 0, NULL)) {
		fd = open(folder, O_RDWR | O_TMPFILE, 0600);
		umount2(folder, MNT_DETACH);
	}
	rmdir(folder);
	return fd;
}

/* MAP_FAILED if it cannot be had. The file, if there is one, stays open in *fd. */
static inline void *map_memory(enum kind kind, size_t size, int *fd)
{
	*fd = -1;
	if (kind == ANON || kind == SHMEM)
		return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS |
			    (kind == ANON ? MAP_PRIVATE : MAP_SHARED), -1, 0);
	*fd = kind == TMPFS ? memfd_create("mmu_notifier", 0) : ramfs_file();
	if (*fd < 0 || ftruncate(*fd, size))
		return MAP_FAILED;
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
}

static inline uint64_t vm_counter(const char *name)
{
	FILE *file = fopen("/proc/vmstat", "r");
	unsigned long long value = 0;
	char line[128], key[64];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63s %llu", key, &value) == 2 && !strcmp(key, name))
			break;
	if (file)
		fclose(file);
	return value;
}

/**
 * struct arena - memory whose first words all carry the number of a step
 * @memory: the pages
 * @size: in bytes
 * @published: every page carries it, or a later number
 * @next: no page carries a later one
 * @stop: readers are to end
 * @loads: made by all readers
 * @wrong: loads that returned what was not there any more, or not yet
 *
 * A page can be missing or empty while @published and @next differ.
 */
struct arena {
	char *memory;
	size_t size;
	atomic_ullong published;
	atomic_ullong next;
	atomic_int stop;
	atomic_ullong loads;
	atomic_ullong wrong;
};

/* Returns 0, or -1 if there is no page. */
typedef int (*load_fn)(void *context, void *address, uint64_t *value);

static inline void arena_fill(struct arena *arena, uint64_t step)
{
	for (size_t at = 0; at < arena->size; at += page_size())
		set_word(arena->memory + at, step);
}

static inline void *arena_map(struct arena *arena, void *where)
{
	return mmap(where, arena->size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | (where ? MAP_FIXED : 0), -1, 0);
}

/* The pages of another mapping take the place of these. */
static inline void arena_move(struct arena *arena, uint64_t step)
{
	struct arena other = { .memory = arena_map(arena, NULL), .size = arena->size };

	arena_fill(&other, step);
	mremap(other.memory, arena->size, arena->size, MREMAP_MAYMOVE | MREMAP_FIXED,
	       arena->memory);
}

/* A child has the pages, too, so that writing copies them. */
static inline void arena_fork(struct arena *arena, uint64_t step)
{
	pid_t child = fork();

	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	arena_fill(arena, step);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* One step further, in a way that depends on its number. For private memory. */
static inline void arena_step(struct arena *arena)
{
	uint64_t step = arena->next + 1;

	arena->next = step;
	switch (step % 6) {
	case 0:
		madvise(arena->memory, arena->size, MADV_DONTNEED);
		break;
	case 1:
		arena_map(arena, arena->memory);
		break;
	case 2:
		munmap(arena->memory, arena->size);
		arena_map(arena, arena->memory);
		break;
	case 3:
		arena_move(arena, step);
		break;
	case 4:
		madvise(arena->memory, arena->size, MADV_PAGEOUT);
		break;
	case 5:
		arena_fork(arena, step);
		break;
	}
	arena_fill(arena, step);
	arena->published = step;
}

/* One load, of any page. */
static inline void arena_check(struct arena *arena, load_fn load, void *context,
			       unsigned int *seed)
{
	size_t page = rand_r(seed) % (arena->size / page_size());
	uint64_t least = arena->published, most, value;
	int missing = load(context, arena->memory + page * page_size(), &value);
	int wrong;

	most = arena->next;
	if (missing || !value)
		wrong = most == least;
	else
		wrong = value < least || value > most;
	arena->loads++;
	if (wrong && !arena->wrong++)
		fprintf(stderr, "# page %zu: %s%llu, not between %llu and %llu\n", page,
			missing ? "missing " : "", missing ? 0ULL : (unsigned long long)value,
			(unsigned long long)least, (unsigned long long)most);
}

struct reader {
	pthread_t thread;
	struct arena *arena;
	load_fn load;
	void *context;
	unsigned int seed;
};

static inline void *arena_read(void *argument)
{
	struct reader *reader = argument;

	while (!reader->arena->stop)
		arena_check(reader->arena, reader->load, reader->context, &reader->seed);
	return NULL;
}

#define READERS	3

/* Threads read while there are steps, and some loads are between any two. */
static inline void arena_run(struct arena *arena, load_fn load, void *context, int steps)
{
	struct reader reader[READERS];

	arena_step(arena);
	for (int i = 0; i < READERS; i++) {
		reader[i] = (struct reader){ .arena = arena, .load = load, .context = context,
					     .seed = i + 1 };
		pthread_create(&reader[i].thread, NULL, arena_read, &reader[i]);
	}
	for (int i = 0; i < steps; i++) {
		uint64_t before = arena->loads;

		arena_step(arena);
		while (arena->loads - before < READERS)
			sched_yield();
	}
	arena->stop = 1;
	for (int i = 0; i < READERS; i++)
		pthread_join(reader[i].thread, NULL);
}

#endif /* _MEMORY_H */
