// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>

#include "clock.h"
#include "counter.h"
#include "file.h"
#include "param.h"
#include "report.h"
#include "sample.h"

#define PERIOD_MS 1000

static long long first_ms = -1, next_ms;
static int count;

int sample_due(void)
{
	return param_number("picture", 0) && clock_ms() >= next_ms;
}

void sample_take(long long pages_done, long long notifications)
{
	long long now = clock_ms();
	char key[32];

	if (first_ms < 0)
		first_ms = now;
	next_ms = now + PERIOD_MS;
	snprintf(key, sizeof(key), "sample.%d", count++);
	report(key, "%lld %ld %lld %lld %lld %lld", now - first_ms, meminfo_kb("MemFree:"),
	       vmstat_since("pswpout"), vmstat_since("pswpin"), pages_done, notifications);
}
