// SPDX-License-Identifier: GPL-2.0
/*
 * Looks for stale translations: /dev/mmu_notifier_mirror has four subscribers of
 * this process. Some threads do random operations on the memory they mirror, as
 * many as they are told to, others fault translations in and audit them until
 * these have done.
 *
 * --operations N	in all
 * --seed N		of all choices
 * --broken N		the mirrors ignore one in N invalidations: the stale
 *			translations must be found
 * --blind 1		the mirrors do not look at their count: the same
 * --page_alone 1	of the four only the one with invalidate_page subscribes:
 *			reclaim leaves its flush for later, as nobody waits
 * --stop N		a thread stops for good after N operations: no progress may be
 *			reported any more
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "file.h"
#include "mirror.h"
#include "mmu_notifier_mirror.h"
#include "param.h"
#include "report.h"

#define DEVICE		"/dev/mmu_notifier_mirror"
#define WORKERS		6
#define FILLERS		2
#define THREADS		(WORKERS + FILLERS)
/* An operation that was tried so often and never worked was not tested. */
#define ENOUGH		200
#define PATIENCE	60

static const char *const kinds[MIRROR_KINDS] = { "page", "range", "sleepy", "interval" };
static const char *const faults[MIRROR_FAULTS] = {
	"freed", "unmapped", "other_page", "read_only", "left", "unbalanced", "unflushed",
};

static struct thread threads[THREADS];
static volatile int enough;
static long total = 100000, seed = 1, broken, blind, stop, page_alone;

static void *work(void *thread)
{
	self = thread;
	for (self->done = 0; self->done < self->operations; self->done++) {
		operation();
		if (stop && !self->number && self->done == stop)
			pause();
	}
	return NULL;
}

static void *keep_filling(void *thread)
{
	self = thread;
	for (self->done = 0; !enough; self->done++)
		fill_and_audit();
	return NULL;
}

static void set(const char *path, const char *value)
{
	if (file_write(path, value))
		fail("writing %s to %s: %s", value, path, strerror(errno));
}

static void prepare_system(void)
{
	set("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	set("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise");
	set("/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled", "inherit");
	set("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "100");
	set("/sys/kernel/mm/transparent_hugepage/khugepaged/alloc_sleep_millisecs", "100");
	set("/sys/kernel/mm/ksm/sleep_millisecs", "20");
	set("/sys/kernel/mm/ksm/run", "1");
}

static void set_up_mirrors(void)
{
	struct mirror_setup setup = {
		.start = AREA_START,
		.length = AREA,
		.seed = seed,
		.broken = broken,
		.blind = blind,
		.kinds = page_alone ? 1 << MIRROR_PAGE : 0,
	};

	mirror_fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (mirror_fd < 0)
		fail("%s: %s; the kernel needs CONFIG_MMU_NOTIFIER_MIRROR", DEVICE,
		     strerror(errno));
	if (ioctl(mirror_fd, MIRROR_IOC_SETUP, &setup))
		fail("the mirrors cannot subscribe: %s", strerror(errno));
}

static struct mirror_stats stats(void)
{
	struct mirror_stats now;

	if (ioctl(mirror_fd, MIRROR_IOC_STATS, &now))
		fail("the mirrors do not tell: %s", strerror(errno));
	return now;
}

static long long stale(const struct mirror_stats *now)
{
	long long sum = 0;

	for (int i = 0; i < MIRROR_FAULTS; i++)
		sum += now->stale[i];
	return sum;
}

static long done(void)
{
	long sum = 0;

	for (int i = 0; i < WORKERS; i++)
		sum += threads[i].done;
	return sum;
}

static void start(struct thread *thread, pthread_t *handle, void *(*run)(void *))
{
	thread->number = thread - threads;
	thread->random = seed * 0x9e3779b97f4a7c15 + thread->number;
	thread->operations = total / WORKERS;
	thread->uffd = uffd_open();
	if (pthread_create(handle, NULL, run, thread))
		fail("a thread cannot be started");
}

/* Has each thread moved since this was true the last time, or is it through? */
static int all_move(void)
{
	static long seen[THREADS];
	int stuck = 0;

	for (int i = 0; i < THREADS; i++)
		stuck += threads[i].done == seen[i] &&
			 (i >= WORKERS || seen[i] < threads[i].operations);
	for (int i = 0; i < THREADS && !stuck; i++)
		seen[i] = threads[i].done;
	return !stuck;
}

/* A thread that hangs makes us silent, and whoever started us notices. */
static void report_progress(void)
{
	struct mirror_stats now = stats();

	if (all_move())
		report("progress", "%ld of %ld operations, %lld stale, seed %ld", done(), total,
		       stale(&now), seed);
}

static void run_all(void)
{
	pthread_t handle[THREADS];

	for (int i = 0; i < THREADS; i++)
		start(&threads[i], &handle[i], i < WORKERS ? work : keep_filling);
	while (done() < total / WORKERS * WORKERS) {
		report_progress();
		sleep(1);
	}
	enough = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(handle[i], NULL);
}

/* Nothing runs any more but what the kernel does by itself, and that ends. */
static struct mirror_stats settle(void)
{
	struct mirror_stats now;

	set("/sys/kernel/mm/ksm/run", "0");
	set("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "1000000");
	audit_all();
	for (int i = 0; i < PATIENCE; i++) {
		now = stats();
		if (!now.open)
			break;
		sleep(1);
	}
	return now;
}

static void report_stats(const struct mirror_stats *now)
{
	unsigned long long established = 0, retried = 0;

	for (int i = 0; i < MIRROR_KINDS; i++) {
		established += now->established[i];
		retried += now->retried[i];
		report_number("established", kinds[i], now->established[i]);
		report_number("retried", kinds[i], now->retried[i]);
		report_number("page_calls", kinds[i], now->page_calls[i]);
		report_number("range_calls", kinds[i], now->range_calls[i]);
		report_number("dropped", kinds[i], now->dropped[i]);
		report_number("deferred", kinds[i], now->deferred[i]);
		report_number("ignored", kinds[i], now->ignored[i]);
	}
	for (int i = 0; i < MIRROR_FAULTS; i++)
		report_number("stale", faults[i], now->stale[i]);
	report("established", "%llu", established);
	report("retried", "%llu", retried);
	report("compared", "%llu", (unsigned long long)now->compared);
	report("freed", "%llu", (unsigned long long)now->freed);
	report("open", "%llu", (unsigned long long)now->open);
	report("stale", "%lld", stale(now));
}

static void report_operations(void)
{
	uint64_t sequence = 0;

	for (int i = 0; i < WORKERS; i++)
		sequence ^= threads[i].sequence;
	for (int i = 0; i < operation_count(); i++) {
		long tried = 0, worked = 0;

		for (int t = 0; t < WORKERS; t++) {
			tried += threads[t].tried[i];
			worked += threads[t].worked[i];
		}
		report_number("tried", operation_name(i), tried);
		report_number("worked", operation_name(i), worked);
		if (tried >= ENOUGH && !worked)
			fail("none of %ld operations %s worked", tried, operation_name(i));
	}
	report("operations", "%ld", done());
	/* Positive, for whoever reads it as a number. */
	report("sequence", "%llu", (unsigned long long)sequence >> 1);
}

static void judge(const struct mirror_stats *now)
{
	int expected = broken || blind;

	if (now->open)
		fail("%llu sections were not ended, seed %ld", (unsigned long long)now->open, seed);
	if (!expected && stale(now))
		fail("%lld stale translations, seed %ld", stale(now), seed);
	if (expected && !stale(now))
		fail("the mirrors are broken on purpose, and no stale translation was found");
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "operations", required_argument, NULL, 'o' },
		{ "seed", required_argument, NULL, 's' },
		{ "broken", required_argument, NULL, 'b' },
		{ "blind", required_argument, NULL, 'i' },
		{ "page_alone", required_argument, NULL, 'a' },
		{ "stop", required_argument, NULL, 'p' },
		{ }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'o')
			total = argument_number(optarg);
		else if (c == 's')
			seed = argument_number(optarg);
		else if (c == 'b')
			broken = argument_number(optarg);
		else if (c == 'i')
			blind = argument_number(optarg);
		else if (c == 'a')
			page_alone = argument_number(optarg);
		else if (c == 'p')
			stop = argument_number(optarg);
		else
			fail("unknown option");
	}
}

int main(int argc, char **argv)
{
	struct mirror_stats now;
	char line[8];

	parse(argc, argv);
	prepare_system();
	operations_prepare();
	set_up_mirrors();
	run_all();
	now = settle();
	report_stats(&now);
	report_operations();
	judge(&now);
	pass();
	/* Whoever started us reads its counters first. */
	if (read(STDIN_FILENO, line, sizeof(line)) < 0)
		return 1;
	return 0;
}
