// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of a Linux guest: fills most of its memory, then over several passes
 * checks every word and writes the next pattern. The last pass goes in a
 * scattered order.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "file.h"
#include "param.h"
#include "report.h"

#define PAGE 4096ul
#define WORDS (PAGE / sizeof(uint64_t))
#define RUN 16			/* equal words in a row: zram can shrink the page */
#define SCATTER 7919ul		/* prime: visits every page once, never the next one */

static uint64_t *memory;
static unsigned long pages, verified, mismatches;
static uint64_t seed;

/* Different for every page, pass and seed (splitmix64). */
static uint64_t first_word(unsigned long page, unsigned long pass)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15 + page * 0xbf58476d1ce4e5b9 + pass + 1;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static void fill(unsigned long page, unsigned long pass)
{
	uint64_t word = first_word(page, pass), *at = memory + page * WORDS;

	for (unsigned long i = 0; i < WORDS; i++)
		at[i] = word + i / RUN;
}

static void mismatch(unsigned long page, unsigned long i, uint64_t expected, uint64_t found)
{
	if (!mismatches++)
		report("first_mismatch", "page %lu offset %lu expected %016llx found %016llx",
		       page, i * 8, (unsigned long long)expected, (unsigned long long)found);
}

static void verify(unsigned long page, unsigned long pass)
{
	uint64_t word = first_word(page, pass), *at = memory + page * WORDS;

	for (unsigned long i = 0; i < WORDS; i++)
		if (at[i] != word + i / RUN)
			mismatch(page, i, word + i / RUN, at[i]);
	verified++;
}

static void progress(const char *what, unsigned long pass, unsigned long done)
{
	static unsigned long told;
	static time_t last;
	time_t now = clock_seconds();

	if (now < last + 2 && done != pages)
		return;
	last = now;
	report("progress", "%s, pass %lu, %lu of %lu pages", what, pass, done, pages);
	/* Since the last time: whoever hears it adds up. */
	report("pages_done", "%lu", pass * pages + done - told);
	told = pass * pages + done;
}

/* The coprime step makes page -> page * step a permutation. */
static unsigned long scatter_step(void)
{
	unsigned long step = SCATTER;

	while (pages % step == 0)
		step += 2;
	return step;
}

static void verify_and_rewrite(unsigned long pass, unsigned long step)
{
	for (unsigned long i = 0; i < pages; i++) {
		unsigned long page = i * step % pages;

		verify(page, pass - 1);
		fill(page, pass);
		if (i % 1024 == 0)
			progress("verifies and rewrites", pass, i);
	}
	progress("verified and rewrote", pass, pages);
}

static void allocate(const char *mode)
{
	int flags = MAP_ANONYMOUS | MAP_NORESERVE;

	flags |= strcmp(mode, "shmem") ? MAP_PRIVATE : MAP_SHARED;
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (memory == MAP_FAILED)
		fail("mmap of %lu pages: %s", pages, strerror(errno));
	if (!strcmp(mode, "thp") && madvise(memory, pages * PAGE, MADV_HUGEPAGE))
		fail("MADV_HUGEPAGE: %s", strerror(errno));
}

static void run(long passes)
{
	for (unsigned long page = 0; page < pages; page++) {
		fill(page, 0);
		if (page % 1024 == 0)
			progress("fills", 0, page);
	}
	if (param_number("corrupt", 0))
		memory[pages / 2 * WORDS + 5] ^= 1;
	for (long pass = 1; pass <= passes; pass++)
		verify_and_rewrite(pass, pass == passes ? scatter_step() : 1);
	for (unsigned long page = 0; page < pages; page++) {
		verify(page, passes);
		if (page % 1024 == 0)
			progress("verifies", passes + 1, page);
	}
	progress("verified", passes + 1, pages);
}

/* The host reads its counters before it lets us go. */
static void wait_for_host(void)
{
	char line[8];

	if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
		report("note", "the host did not answer");
}

static void __attribute__((noreturn)) power_off(int status)
{
	(void)status;
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void set_up(void)
{
	report_quit = power_off;
	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	report_open("/dev/ttyS1");
	if (!freopen("/dev/ttyS1", "r", stdin))
		fail("the result port cannot be read: %s", strerror(errno));
	param_load();
}

int main(void)
{
	long passes;

	set_up();
	passes = param_number("passes", 2);
	seed = param_number("seed", 1);
	pages = meminfo_kb("MemAvailable:") / 4 * param_number("percent", 80) / 100;
	report("memory_kb", "%ld", meminfo_kb("MemTotal:"));
	report("pages", "%lu", pages);
	allocate(param("mode", "anon"));
	run(passes);
	report("pages_verified", "%lu", verified);
	report("mismatches", "%lu", mismatches);
	if (mismatches)
		fail("%lu words differ", mismatches);
	pass();
	wait_for_host();
	power_off(0);
}
