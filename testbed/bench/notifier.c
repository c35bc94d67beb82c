// SPDX-License-Identifier: GPL-2.0
/* What the subsystem costs by itself, with mn_bench.ko loaded. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cost.h"
#include "device.h"
#include "mn_bench.h"
#include "report.h"

#define TIMES 301
#define MANY 100000ul		/* intervals */

static uint64_t cost[TIMES];
static char *area;		/* room for MANY intervals and the gaps between them */

static size_t random_below(size_t limit)
{
	static uint64_t state = 1;

	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (state >> 33) % limit;
}

/* Nothing is mapped at the page: what remains is the section. */
static uint64_t section_cost(size_t (*page)(size_t count), size_t count)
{
	for (size_t i = 0; i < TIMES; i++) {
		char *at = area + page(count) * PAGE;
		uint64_t begin = cost_now();

		madvise(at, PAGE, MADV_DONTNEED);
		cost[i] = cost_now() - begin;
	}
	return cost_median(cost, TIMES);
}

static size_t on_interval(size_t count)
{
	return 2 * random_below(count);
}

static size_t between_intervals(size_t count)
{
	return on_interval(count) + 1;
}

/* With 0 the whole call, otherwise what the subscribers add to it. */
static void measure_subscribers(void *argument)
{
	uint64_t none = section_cost(on_interval, MANY);
	int fd = device_open();
	char name[16];

	(void)argument;
	report_number("section", "0", none);
	for (int count = 1; count <= 8; count++) {
		device_ask(fd, MNB_SUBSCRIBE, 0);
		if (count != 1 && count != 8)
			continue;
		snprintf(name, sizeof(name), "%d", count);
		report_number("section", name, section_cost(on_interval, MANY) - none);
	}
	close(fd);
}

static uint64_t ask_cost(int fd, unsigned long command, unsigned long argument)
{
	uint64_t begin = cost_own();

	device_ask(fd, command, argument);
	return cost_own() - begin;
}

static void report_interval(size_t count, const char *what, long long value)
{
	char name[64];

	snprintf(name, sizeof(name), "%zu.%s", count, what);
	report_number("interval", name, value);
}

/* One more between COUNT others, and away again. */
static void measure_insert(int fd, size_t count, uint64_t nothing)
{
	uint64_t removal[TIMES], elapsed[TIMES];

	for (size_t i = 0; i < TIMES; i++) {
		unsigned long at = (unsigned long)area + between_intervals(count) * PAGE;
		uint64_t begin;

		cost[i] = ask_cost(fd, MNB_INSERT, at);
		begin = cost_now();
		removal[i] = ask_cost(fd, MNB_REMOVE, 0);
		elapsed[i] = cost_now() - begin;
	}
	report_interval(count, "insert", cost_median(cost, TIMES) - nothing);
	report_interval(count, "remove", cost_median(removal, TIMES) - nothing);
	report_interval(count, "removed_after", cost_median(elapsed, TIMES));
}

static uint64_t nothing_cost(int fd)
{
	for (size_t i = 0; i < TIMES; i++)
		cost[i] = ask_cost(fd, MNB_NOTHING, 0);
	return cost_median(cost, TIMES);
}

static void measure_intervals(void *argument)
{
	size_t count = *(size_t *)argument;
	struct mnb_intervals want = { .start = (uintptr_t)area, .count = count };
	uint64_t none = section_cost(on_interval, count);
	int fd = device_open();

	device_ask(fd, MNB_INTERVALS, (uintptr_t)&want);
	report_interval(count, "hit", section_cost(on_interval, count) - none);
	report_interval(count, "miss", section_cost(between_intervals, count) - none);
	measure_insert(fd, count, nothing_cost(fd));
	device_ask(fd, MNB_CLEAR, 0);
	close(fd);
}

/* Each measurement in a process that nobody subscribed before. */
static void in_child(void (*work)(void *argument), void *argument)
{
	child_end(child_start(work, argument));
}

static int start_sleeper(void)
{
	int pid = checked(fork(), "fork");

	if (pid)
		return pid;
	device_ask(device_open(), MNB_SLEEPY, 0);
	madvise(area, PAGE, MADV_DONTNEED);
	_exit(0);
}

/* The callback of another process sleeps a second; it has just begun to. */
static void measure_unregister(void *argument)
{
	struct timespec begun = { .tv_nsec = 200000000 };
	int fd = device_open(), pid;
	uint64_t begin;

	(void)argument;
	device_ask(fd, MNB_SUBSCRIBE, 0);
	pid = start_sleeper();
	nanosleep(&begun, NULL);
	begin = cost_now();
	device_ask(fd, MNB_UNSUBSCRIBE, 0);
	report_number("unregister", "elapsed", cost_now() - begin);
	if (waitpid(pid, NULL, WNOHANG))
		report("unregister.waited", "for the other process");
	else
		waitpid(pid, NULL, 0);
	close(fd);
}

struct first {
	const char *name;
	struct mnb_weighed weighed;
};

/* Bytes that are allocated for the first subscription of a process. */
static void weigh(void *argument)
{
	struct first *first = argument;

	device_ask(device_open(), MNB_WEIGH, (uintptr_t)&first->weighed);
	report_number("memory", first->name, first->weighed.bytes);
}

static void measure_memory(void)
{
	struct first subscription = { "with_subscription", { .command = MNB_SUBSCRIBE } };
	struct first interval = {
		"with_interval", { .command = MNB_INSERT, .argument = (uintptr_t)area },
	};
	struct mnb_sizes sizes;

	in_child(weigh, &subscription);
	in_child(weigh, &interval);
	device_ask(device_open(), MNB_SIZES, (uintptr_t)&sizes);
	report_number("memory", "mm", sizes.mm);
	report_number("memory", "subscription", sizes.subscription);
	report_number("memory", "interval", sizes.interval);
}

int main(void)
{
	static size_t counts[] = { 10, 1000, MANY };

	cost_begin();
	area = mapped(mmap(NULL, 2 * MANY * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), "mmap");
	in_child(measure_subscribers, NULL);
	for (size_t i = 0; i < 3; i++)
		in_child(measure_intervals, &counts[i]);
	in_child(measure_unregister, NULL);
	measure_memory();
	return 0;
}
