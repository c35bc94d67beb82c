// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counter.h"
#include "fault.h"
#include "file.h"
#include "param.h"
#include "report.h"

#define GROUPS "/sys/fs/cgroup"
#define VICTIM 0
#define PRESSURE 1024		/* pages reclaimed: guests do swap */

static long group_count;
static int struck;

static int is(const char *name)
{
	return !strcmp(param("fault", "none"), name);
}

/* All but half of a guest have room. */
long fault_swap_mb(long megabytes)
{
	long guest_mb = param_number("guest_mb", 0);

	if (!is("swap-full"))
		return megabytes;
	megabytes = guest_mb * param_number("guests", 1) - guest_mb / 2 -
		    meminfo_kb("MemAvailable:") / 1024;
	if (megabytes < 1)
		fail("swap cannot run full: the guests fit into memory");
	return megabytes;
}

int fault_kills(int number)
{
	return number == VICTIM && (is("kill") || is("oom") || is("swap-full"));
}

static void group_path(char *path, size_t size, int number, const char *file)
{
	snprintf(path, size, GROUPS "/guest%d/%s", number, file);
}

static void group_write(int number, const char *file, const char *text)
{
	char path[128];

	group_path(path, sizeof(path), number, file);
	if (file_write(path, text))
		fail("writing %s to %s: %s", text, path, strerror(errno));
}

static void limit(int number, const char *file, long megabytes)
{
	char text[32];

	if (!megabytes)
		return;
	snprintf(text, sizeof(text), "%ldM", megabytes);
	group_write(number, file, text);
}

static void make_groups(long guests, long memcg_mb)
{
	long guest_mb = param_number("guest_mb", 0);
	char path[128];

	if (file_write(GROUPS "/cgroup.subtree_control", "+memory"))
		fail("memory cgroups: %s", strerror(errno));
	for (group_count = 0; group_count < guests; group_count++) {
		int starved = is("oom") && group_count == VICTIM;

		group_path(path, sizeof(path), group_count, "");
		if (mkdir(path, 0755))
			fail("%s: %s", path, strerror(errno));
		limit(group_count, "memory.max", starved ? guest_mb / 2 : memcg_mb);
		/* The rest of its memory has no place. */
		limit(group_count, "memory.swap.max", starved ? guest_mb / 4 : 0);
	}
}

void fault_begin(void)
{
	long memcg_mb = param_number("memcg_mb", 0);

	if (!is("none") && !fault_kills(VICTIM))
		fail("fault %s is unknown", param("fault", ""));
	if (memcg_mb || is("oom"))
		make_groups(param_number("guests", 1), memcg_mb);
}

void fault_enter(int number)
{
	if (number < group_count)
		group_write(number, "cgroup.procs", "0");
	if (is("swap-full") && number == VICTIM &&
	    file_write("/proc/self/oom_score_adj", "1000"))
		fail("oom_score_adj: %s", strerror(errno));
}

void fault_strike(int pid)
{
	if (!is("kill") || struck ||
	    vmstat_since("pgsteal_anon") + vmstat_since("pgsteal_file") < PRESSURE)
		return;
	struck = 1;
	if (kill(pid, SIGKILL))
		fail("kill: %s", strerror(errno));
}

static long group_event(int number, const char *name)
{
	char path[128], text[512], *found;

	group_path(path, sizeof(path), number, "memory.events");
	if (file_read(path, text, sizeof(text)) < 0)
		fail("%s: %s", path, strerror(errno));
	for (found = text; found; found = strchr(found, '\n')) {
		long value;
		char key[32];

		found += *found == '\n';
		if (sscanf(found, "%31s %ld", key, &value) == 2 && !strcmp(key, name))
			return value;
	}
	fail("%s does not tell %s", path, name);
}

/* Swapping before and after is told apart by what was counted until then. */
void fault_killed(int number, int status)
{
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail("guest %d had to be killed and ended with status 0x%x", number, status);
	if (is("kill") && !struck)
		fail("guest %d was killed by someone else", number);
	if (is("oom") && !group_event(number, "oom_kill"))
		fail("guest %d was not killed for the limit of its cgroup", number);
	vmstat_report("death");
}

void fault_report(void)
{
	char key[64];

	for (int i = 0; i < group_count; i++) {
		snprintf(key, sizeof(key), "guest%d", i);
		report_number(key, "limit_hit", group_event(i, "max"));
		report_number(key, "oom_kill", group_event(i, "oom_kill"));
	}
}
