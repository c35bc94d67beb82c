// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block.h"
#include "load.h"

#define OPERATIONS	1500	/* of each worker, on blocks that it draws */
#define BESIDE		2
#define COUNT(array)	(sizeof(array) / sizeof(*(array)))

/* One worker at a time changes what is in it. */
struct block {
	pthread_mutex_t lock;
	uint32_t stamp;
};

struct worker {
	struct load *load;
	int number;
	struct link link;
	void *side;
	uint64_t random;
	const char *wrong;
	pthread_t thread;
};

static uint64_t draw(uint64_t *random, uint64_t below)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (*random >> 11) % below;
}

static void *address_of(struct load *load, size_t number)
{
	return load->memory + number * WORDS;
}

static uint32_t new_stamp(struct load *load, size_t number)
{
	return load->block[number].stamp = ++load->stamps;
}

static const char *cpu_writes(struct worker *worker, size_t number)
{
	struct load *load = worker->load;

	fill(address_of(load, number), new_stamp(load, number), number * WORDS);
	return NULL;
}

static const char *peer_writes(struct worker *worker, size_t number)
{
	struct load *load = worker->load;

	fill(worker->link.buffer, new_stamp(load, number), number * WORDS);
	load->written += PAGES;
	return remote_write(&worker->link, load->mr, address_of(load, number), SIZE) ?
		"a remote write was refused" : NULL;
}

static const char *cpu_reads(struct worker *worker, size_t number)
{
	struct load *load = worker->load;

	return is_filled(address_of(load, number), load->block[number].stamp,
			 number * WORDS) ? NULL : "the CPU read something else";
}

static const char *peer_reads(struct worker *worker, size_t number)
{
	struct load *load = worker->load;

	load->read += PAGES;
	if (remote_read(&worker->link, load->mr, address_of(load, number), SIZE))
		return "a remote read was refused";
	return is_filled(worker->link.buffer, load->block[number].stamp, number * WORDS) ?
		NULL : "something else was read remotely";
}

static const char *drop(struct worker *worker, size_t number)
{
	worker->load->block[number].stamp = 0;
	return madvise(address_of(worker->load, number), SIZE, MADV_DONTNEED) ?
		"madvise failed" : NULL;
}

static const char *map_anew(struct worker *worker, size_t number)
{
	void *address = address_of(worker->load, number);

	worker->load->block[number].stamp = 0;
	return map(SIZE, address) == address ? NULL : "mmap failed";
}

static const char *move_there(void *from, void *to)
{
	return mremap(from, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to ?
		NULL : "mremap failed";
}

/* While the pages are away, others are at their place. */
static const char *move_and_back(struct worker *worker, size_t number)
{
	struct block *block = &worker->load->block[number];
	void *address = address_of(worker->load, number);
	uint32_t stamp = block->stamp;
	const char *wrong = move_there(address, worker->side);

	wrong = wrong ?: map_anew(worker, number);
	wrong = wrong ?: peer_reads(worker, number);
	wrong = wrong ?: peer_writes(worker, number);
	wrong = wrong ?: move_there(worker->side, address);
	block->stamp = stamp;
	/* Nobody else shall get that place. */
	return map(SIZE, worker->side) == worker->side ? wrong : "mmap failed";
}

static const char *read_only(struct worker *worker, size_t number)
{
	void *address = address_of(worker->load, number);
	const char *wrong;

	if (mprotect(address, SIZE, PROT_READ))
		return "mprotect failed";
	wrong = peer_reads(worker, number);
	if (mprotect(address, SIZE, PROT_READ | PROT_WRITE))
		return "mprotect failed";
	return wrong;
}

typedef const char *(*operation_fn)(struct worker *worker, size_t number);

static const operation_fn changes[] = {
	cpu_writes, peer_writes, cpu_writes, peer_writes, drop, map_anew, move_and_back,
	read_only,
};
static const operation_fn looks[] = { cpu_reads, peer_reads };

static const char *locked(struct worker *worker, size_t number, operation_fn first,
			  operation_fn then)
{
	pthread_mutex_t *lock = &worker->load->block[number].lock;
	const char *wrong;

	pthread_mutex_lock(lock);
	wrong = first(worker, number);
	if (!wrong && then)
		wrong = then(worker, number);
	pthread_mutex_unlock(lock);
	return wrong;
}

static const char *each_of_mine(struct worker *worker, operation_fn operation)
{
	const char *wrong = NULL;

	for (size_t i = worker->number; i < worker->load->blocks && !wrong; i += WORKERS)
		wrong = locked(worker, i, operation, NULL);
	return wrong;
}

static const char *some_of_all(struct worker *worker)
{
	const char *wrong = NULL;

	for (int i = 0; i < OPERATIONS && !wrong; i++)
		wrong = locked(worker, draw(&worker->random, worker->load->blocks),
			       changes[draw(&worker->random, COUNT(changes))],
			       looks[draw(&worker->random, COUNT(looks))]);
	return wrong;
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	const char *wrong = each_of_mine(worker, peer_writes);

	wrong = wrong ?: each_of_mine(worker, cpu_reads);
	wrong = wrong ?: some_of_all(worker);
	wrong = wrong ?: each_of_mine(worker, cpu_writes);
	worker->wrong = wrong ?: each_of_mine(worker, peer_reads);
	return NULL;
}

/* Without a lock: neither changes what is in the memory. */

static void *reclaim(void *argument)
{
	struct load *load = argument;
	uint64_t random = 1;

	while (!load->stop) {
		madvise(address_of(load, draw(&random, load->blocks)), SIZE, MADV_PAGEOUT);
		usleep(1000);
	}
	return NULL;
}

static void *fork_children(void *argument)
{
	struct load *load = argument;

	while (!load->stop) {
		pid_t child = fork();

		if (!child) {
			usleep(20000);
			_exit(0);
		}
		load->forks += child > 0;
		waitpid(child, NULL, 0);
		usleep(50000);
	}
	return NULL;
}

static const char *region_begin(struct load *load, size_t size)
{
	load->blocks = size / SIZE;
	load->memory = map(load->blocks * SIZE, NULL);
	load->block = calloc(load->blocks, sizeof(*load->block));
	if (load->memory == MAP_FAILED || !load->block)
		return "no memory for the region";
	for (size_t i = 0; i < load->blocks; i++)
		pthread_mutex_init(&load->block[i].lock, NULL);
	load->mr = on_demand(load->device, load->memory, load->blocks * SIZE);
	return load->mr ? NULL : "the region was not registered";
}

static const char *worker_begin(struct worker *worker, struct load *load, int number)
{
	*worker = (struct worker){ .load = load, .number = number, .random = number + 1 };
	worker->side = map(SIZE, NULL);
	if (worker->side == MAP_FAILED || link_open(&worker->link, load->device, SIZE))
		return "a worker has no link";
	return NULL;
}

static const char *run(struct load *load, struct worker *workers)
{
	void *(*const functions[BESIDE])(void *) = { reclaim, fork_children };
	const char *wrong = NULL;
	pthread_t beside[BESIDE];

	for (int i = 0; i < BESIDE; i++)
		if (pthread_create(&beside[i], NULL, functions[i], load))
			return "no thread";
	for (int i = 0; i < WORKERS; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return "no thread";
	for (int i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		wrong = wrong ?: workers[i].wrong;
	}
	load->stop = true;
	for (int i = 0; i < BESIDE; i++)
		pthread_join(beside[i], NULL);
	return wrong;
}

const char *load_run(struct load *load, struct device *device, size_t size)
{
	struct worker workers[WORKERS];
	const char *wrong;

	*load = (struct load){ .device = device };
	wrong = region_begin(load, size);
	for (int i = 0; i < WORKERS && !wrong; i++)
		wrong = worker_begin(&workers[i], load, i);
	if (wrong)
		return wrong;
	load->pinned = number_in("/proc/self/status", "VmPin:");
	wrong = run(load, workers);
	return ibv_dereg_mr(load->mr) ? "the region was not given back" : wrong;
}
