// SPDX-License-Identifier: GPL-2.0
/*
 * Takes out one hook of the kernel after the other, and runs the KUnit suites that
 * reach it: judge FILE [SUITE...], where the file has the site of a hook in each
 * line. Without suites: all of them.
 *
 * First every suite runs with all hooks, and must pass. Then, for each hook, those
 * that reached it, the fastest first, until one fails. That one must pass once more
 * with all hooks: if not, the machine is spoilt, by this hook or by one before, and
 * ends here. The first hook of a machine is judged all the same, as nothing else can
 * have done it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "file.h"
#include "report.h"

#define RESULT_PORT	"/dev/ttyS1"
#define SUITES		"/sys/kernel/debug/kunit/"
#define MUTANT		"/sys/kernel/debug/mutant/"
#define PREFIX		"mmu_notifier"
#define MAX_SUITES	64
#define TAINT_TEST	(1ul << 18)
/*
 * More than any suite needs, so it hangs. On a loaded computer the clock of an
 * emulated machine can be many times too fast.
 */
#define HANG_SECONDS	400

struct result {
	int cases, failed;
	long milliseconds;
	char names[800];		/* of the cases that failed */
};

static struct suite {
	char *name;
	char *reached;			/* sites, one a line */
	long milliseconds;
} suites[MAX_SUITES];
static int nr_suites;

static void must_write(const char *path, const char *text)
{
	if (file_write(path, text))
		report_error("writing %s to %s: %s", text, path, strerror(errno));
}

static long number_in(const char *path)
{
	char text[64];

	if (file_read(path, text, sizeof(text)) < 0)
		report_error("%s: %s", path, strerror(errno));
	return strtol(text, NULL, 10);
}

static void take_out(const char *site)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", strtoul(site, NULL, 16));
	must_write(MUTANT "site", text);
}

/* Something the kernel has said of itself, but that it runs tests. */
static bool tainted(void)
{
	return number_in("/proc/sys/kernel/tainted") & ~TAINT_TEST;
}

/* Cases are indented by four; what is in them by more. */
static void count_case(struct result *result, char *line)
{
	bool bad = !strncmp(line, "    not ok ", 11);
	size_t used = strlen(result->names);
	char *name;

	if (!bad && strncmp(line, "    ok ", 7))
		return;
	result->cases++;
	if (!bad)
		return;
	result->failed++;
	name = strchr(line + 11, ' ');
	snprintf(result->names + used, sizeof(result->names) - used, " %.*s",
		 name ? (int)strcspn(name + 1, " #") : 1, name ? name + 1 : "?");
}

/* false if it hangs. Writing to the file returns when the suite has ended. */
static bool trigger(const char *suite)
{
	const struct timespec limit = { .tv_sec = HANG_SECONDS };
	char path[256];
	sigset_t child_ended;
	int status = 0;
	pid_t child;

	sigemptyset(&child_ended);
	sigaddset(&child_ended, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child_ended, NULL);
	snprintf(path, sizeof(path), SUITES "%s/run", suite);
	child = fork();
	if (child < 0)
		report_error("fork: %s", strerror(errno));
	if (!child)
		_exit(file_write(path, "1") ? 1 : 0);
	if (sigtimedwait(&child_ended, NULL, &limit) < 0)
		return false;
	waitpid(child, &status, 0);
	if (status)
		report_error("the suite %s cannot be run", suite);
	return true;
}

static bool run(const char *suite, struct result *result)
{
	char path[256], *text, *rest, *line;
	long begin = clock_ms();

	*result = (struct result){ 0 };
	if (!trigger(suite))
		return false;
	result->milliseconds = clock_ms() - begin;
	snprintf(path, sizeof(path), SUITES "%s/results", suite);
	rest = text = file_load(path);
	if (!text)
		report_error("%s: %s", path, strerror(errno));
	while ((line = strsep(&rest, "\n")))
		count_case(result, line);
	free(text);
	if (!result->cases)
		report_error("no case of %s ran", suite);
	return true;
}

/* With every hook; a machine on which that fails judges nobody. */
static void run_whole(const char *suite, struct result *result)
{
	report("progress", "with all hooks: %s", suite);
	if (!run(suite, result))
		report_error("%s hangs with every hook in its place", suite);
	if (result->failed)
		report_error("%s fails with every hook in its place:%s", suite, result->names);
	if (tainted())
		report_error("%s taints the kernel with every hook in its place", suite);
}

/* Names of the suites that judge, up to a NULL. */
static char **wanted;

static bool is_wanted(const char *name)
{
	for (char **suite = wanted; *suite; suite++)
		if (!strcmp(name, *suite))
			return true;
	return !*wanted;
}

/* What the stress suites notice, they notice by luck: they judge nobody. */
static int is_suite(const struct dirent *entry)
{
	return !strncmp(entry->d_name, PREFIX, strlen(PREFIX)) &&
	       !strstr(entry->d_name, "stress") && is_wanted(entry->d_name);
}

static int faster(const void *one, const void *other)
{
	long a = ((const struct suite *)one)->milliseconds;
	long b = ((const struct suite *)other)->milliseconds;

	return (a > b) - (a < b);
}

static void add_suite(const char *name)
{
	struct suite *suite = &suites[nr_suites++];
	struct result result;
	char key[512];

	must_write(MUTANT "reached", "0");
	run_whole(name, &result);
	suite->name = strdup(name);
	suite->milliseconds = result.milliseconds;
	suite->reached = file_load(MUTANT "reached");
	if (!suite->name || !suite->reached)
		report_error("reading what %s reached: %s", name, strerror(errno));
	snprintf(key, sizeof(key), "suite.%s", name);
	report(key, "%d %ld", result.cases, result.milliseconds);
}

static void run_all_whole(void)
{
	struct dirent **entries;
	int count = scandir(SUITES, &entries, is_suite, alphasort);

	if (count <= 0 || count > MAX_SUITES)
		report_error("there are %d suites " PREFIX " in " SUITES, count);
	for (int i = 0; i < count; i++)
		add_suite(entries[i]->d_name);
	qsort(suites, nr_suites, sizeof(*suites), faster);
}

/* Whether the suite fails without the hook; SURE: no other was taken out before. */
static bool kills(const char *site, const char *key, const char *suite, bool sure, long *passed)
{
	struct result without, with;
	bool ended, said;

	take_out(site);
	ended = run(suite, &without);
	*passed += number_in(MUTANT "passed");
	take_out("0");
	said = tainted();
	if (ended && !said && !without.failed)
		return false;
	if (ended && !said && run(suite, &with) && !with.failed) {
		report(key, "killed %s%s", suite, without.names);
		return true;
	}
	if (!sure)
		report(key, "spoilt %s", suite);
	else
		report(key, "%s %s%s", !ended ? "hung" : said ? "splat" : "killed", suite,
		       without.names);
	exit(0);
}

static void judge(const char *site, int number)
{
	char key[64];
	long passed = 0;

	snprintf(key, sizeof(key), "begin.%s", site);
	report(key, "%d", number);
	snprintf(key, sizeof(key), "mutant.%s", site);
	for (int i = 0; i < nr_suites; i++) {
		if (!strstr(suites[i].reached, site))
			continue;
		report("progress", "hook %d, %s: %s", number, site, suites[i].name);
		if (kills(site, key, suites[i].name, number == 1, &passed))
			return;
	}
	report(key, "survived %ld", passed);
}

int main(int argc, char **argv)
{
	char *sites, *site;
	int number = 0;

	report_open(RESULT_PORT);
	sites = argc > 1 ? file_load(argv[1]) : NULL;
	if (!sites)
		report_error("usage: judge FILE [SUITE...]");
	wanted = argv + 2;
	take_out("0");
	run_all_whole();
	while ((site = strsep(&sites, "\n")))
		if (*site)
			judge(site, ++number);
	return 0;
}
