/* SPDX-License-Identifier: GPL-2.0 */
/* Counting instructions from inside a machine whose clock is its instructions. */
#ifndef COST_H
#define COST_H

#include <stddef.h>
#include <stdint.h>
#include <x86intrin.h>

#define PAGE 4096ul

/* Everything that the machine runs, also while this process sleeps. */
static inline uint64_t cost_now(void)
{
	return __rdtsc();
}

/* What this thread runs. */
uint64_t cost_own(void);
/* The middle of COUNT costs; sorts them. */
uint64_t cost_median(uint64_t *cost, size_t count);
/* Fails unless the clock counts instructions. */
void cost_begin(void);

int checked(int result, const char *what);
void *mapped(void *address, const char *what);

/* A child that runs WORK, says that it is ready, and stays; keeps no file open. */
int child_start(void (*work)(void *argument), void *argument);
void child_end(int pid);

#endif
