/* SPDX-License-Identifier: GPL-2.0 */
/* The time since the machine started. */
#ifndef MN_CLOCK_H
#define MN_CLOCK_H

#include <time.h>

static inline long long clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static inline long long clock_ms(void)
{
	return clock_ns() / 1000000;
}

static inline time_t clock_seconds(void)
{
	return clock_ns() / 1000000000;
}

#endif
