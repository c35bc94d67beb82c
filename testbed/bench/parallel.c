// SPDX-License-Identifier: GPL-2.0
/*
 * Threads of one process, one on each CPU, open sections and change intervals at the
 * same time: parallel SEED COUNT..., with COUNT intervals, at random times and pages.
 * Needs mn_bench.ko.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cost.h"
#include "device.h"
#include "mn_bench.h"
#include "report.h"

#define SECTIONS 20		/* each of them */
#define TIMES 2000		/* operations of each thread */
#define PAUSE 1000		/* turns of a loop, between two operations */
#define MOST_CPUS 8

struct worker {
	pthread_t thread;
	int cpu;
	int fd;			/* has an interval of its own */
	uint64_t state;		/* of the random numbers */
	size_t first, count;	/* its pages, even ones have intervals */
	void (*operation)(struct worker *worker);
	uint64_t begin, end;
};

static struct worker workers[MOST_CPUS];
static int cpus;
static char *area;
static pthread_barrier_t start;

static size_t random_below(struct worker *worker, size_t limit)
{
	worker->state = worker->state * 6364136223846793005ull + 1442695040888963407ull;
	return (worker->state >> 33) % limit;
}

/* Workers that keep step would meet always or never. */
static void pause_a_while(struct worker *worker)
{
	size_t left = random_below(worker, PAUSE) + 1;

	asm volatile("1: dec %0; jnz 1b" : "+r"(left));
}

/* A page of the worker's own, odd or even. */
static char *random_page(struct worker *worker, bool odd)
{
	size_t page = (worker->first + random_below(worker, worker->count)) / 2 * 2 + odd;

	if (page < worker->first)
		page += 2;
	else if (page >= worker->first + worker->count)
		page -= 2;
	return area + page * PAGE;
}

/* A call of the kernel would flush TLBs of all of them. */
static void sections(struct worker *worker, int odd, int idle)
{
	struct mnb_sections want = {
		.start = (uintptr_t)area,
		.first = worker->first,
		.count = worker->count,
		.odd = odd,
		.times = SECTIONS,
		.idle = idle,
	};

	device_ask(worker->fd, MNB_SECTIONS, (uintptr_t)&want);
}

static void hit(struct worker *worker)
{
	sections(worker, 0, 0);
}

static void miss(struct worker *worker)
{
	sections(worker, 1, 0);
}

static void no_section(struct worker *worker)
{
	sections(worker, 0, 1);
}

static void change(struct worker *worker)
{
	device_ask(worker->fd, MNB_INSERT, (uintptr_t)random_page(worker, true));
	device_ask(worker->fd, MNB_REMOVE, 0);
}

/* The same without the intervals. */
static void nothing(struct worker *worker)
{
	device_ask(worker->fd, MNB_NOTHING, (uintptr_t)random_page(worker, true));
	device_ask(worker->fd, MNB_NOTHING, 0);
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	pthread_barrier_wait(&start);
	worker->begin = cost_now();
	for (int i = 0; i < TIMES; i++) {
		pause_a_while(worker);
		worker->operation(worker);
	}
	worker->end = cost_now();
	return NULL;
}

static void start_worker(struct worker *worker, void (*operation)(struct worker *worker))
{
	pthread_attr_t attributes;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(worker->cpu, &set);
	pthread_attr_init(&attributes);
	pthread_attr_setaffinity_np(&attributes, sizeof(set), &set);
	worker->operation = operation;
	if (pthread_create(&worker->thread, &attributes, work, worker))
		report_error("no thread can be started");
	pthread_attr_destroy(&attributes);
}

#define RUNS 3

/* What an operation takes, from the first of all to the last of all. */
static uint64_t run_cost(void (*operation)(struct worker *worker))
{
	uint64_t begin = UINT64_MAX, end = 0;

	for (int i = 0; i < cpus; i++)
		start_worker(&workers[i], operation);
	for (int i = 0; i < cpus; i++) {
		pthread_join(workers[i].thread, NULL);
		if (workers[i].begin < begin)
			begin = workers[i].begin;
		if (workers[i].end > end)
			end = workers[i].end;
	}
	return (end - begin) / TIMES / cpus;
}

static uint64_t cost_of(void (*operation)(struct worker *worker))
{
	uint64_t cost[RUNS];

	for (int i = 0; i < RUNS; i++)
		cost[i] = run_cost(operation);
	return cost_median(cost, RUNS);
}

static void prepare_workers(unsigned long seed, size_t pages)
{
	for (int i = 0; i < cpus; i++) {
		struct worker *worker = &workers[i];

		worker->cpu = i;
		worker->fd = device_open();
		worker->state = seed * MOST_CPUS + i;
		worker->first = pages * i / cpus;
		worker->count = pages * (i + 1) / cpus - worker->first;
	}
}

static void measure(unsigned long seed, unsigned long count)
{
	struct mnb_intervals want = { .count = count };
	uint64_t section, call;
	char group[64];
	int fd;

	if (want.count < 2 * (size_t)cpus)
		report_error("%d CPUs, %lu intervals", cpus, count);
	area = mapped(mmap(NULL, 2 * want.count * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), "mmap");
	pthread_barrier_init(&start, NULL, cpus);
	prepare_workers(seed, 2 * want.count);
	want.start = (uintptr_t)area;

	section = cost_of(no_section);
	call = cost_of(nothing);
	fd = device_open();
	device_ask(fd, MNB_INTERVALS, (uintptr_t)&want);
	snprintf(group, sizeof(group), "parallel.%lu", count);
	report_number(group, "hit", (cost_of(hit) - section) / SECTIONS);
	report_number(group, "miss", (cost_of(miss) - section) / SECTIONS);
	report_number(group, "change", cost_of(change) - call);
}

/* A process for each count of intervals. */
int main(int argc, char **argv)
{
	int status, pid;

	cost_begin();
	cpus = get_nprocs();
	if (cpus > MOST_CPUS)
		report_error("%d CPUs", cpus);
	for (int i = 2; i < argc; i++) {
		pid = checked(fork(), "fork");
		if (!pid) {
			measure(strtoul(argv[1], NULL, 10), strtoul(argv[i], NULL, 10));
			return 0;
		}
		if (checked(waitpid(pid, &status, 0), "waitpid") && status)
			return 1;
	}
	return 0;
}
