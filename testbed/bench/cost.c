// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cost.h"
#include "report.h"

#define RESULT_PORT "/dev/ttyS1"
#define LOOPS 100000ul

uint64_t cost_own(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t cost_median(uint64_t *cost, size_t count)
{
	qsort(cost, count, sizeof(*cost), compare);
	return cost[count / 2];
}

/* Two instructions a turn. */
static uint64_t loop_cost(void)
{
	uint64_t begin = cost_now(), left = LOOPS;

	asm volatile("1: dec %0; jnz 1b" : "+r"(left));
	return cost_now() - begin;
}

void cost_begin(void)
{
	uint64_t cost[9];

	report_open(RESULT_PORT);
	for (size_t i = 0; i < 9; i++)
		cost[i] = loop_cost();
	report_number("clock", "loop", cost_median(cost, 9));
	if (cost[4] < 2 * LOOPS || cost[4] > 2 * LOOPS + LOOPS / 10)
		report_error("the clock does not count instructions: run with --icount");
}

int checked(int result, const char *what)
{
	if (result < 0)
		report_error("%s: %s", what, strerror(errno));
	return result;
}

void *mapped(void *address, const char *what)
{
	if (address == MAP_FAILED)
		report_error("%s: %s", what, strerror(errno));
	return address;
}

int child_start(void (*work)(void *argument), void *argument)
{
	int ready[2], pid;
	char byte = 0;

	checked(pipe(ready), "pipe");
	pid = checked(fork(), "fork");
	if (!pid) {
		close(ready[0]);
		work(argument);
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		report_error("a child failed");
	close(ready[0]);
	return pid;
}

void child_end(int pid)
{
	kill(pid, SIGKILL);
	checked(waitpid(pid, NULL, 0), "waitpid");
}
