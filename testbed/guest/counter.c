// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "counter.h"
#include "file.h"
#include "report.h"

#define KVM_DIR "/sys/kernel/debug/kvm"
#define SUBSCRIBERS "/sys/kernel/debug/mmu_notifier/subscribers"
#define MAX_COLUMNS 32

static const char *const vmstat_names[] = {
	"pswp", "pgsteal_", "pgscan_", "pgmajfault", "pgmigrate_", "thp_", "ksm_", "cow_ksm",
	"compact_success", "swap_ra", "numa_pte_updates", "oom_kill", "workingset_refault_",
};

static struct counters vmstat_before;
static struct { long long elapsed_ns, idle_ns; } time_before;

static struct counter *lookup(struct counters *set, const char *name)
{
	struct counter *entry = set->entry;

	for (; entry < set->entry + set->count; entry++)
		if (!strcmp(entry->name, name))
			return entry;
	return NULL;
}

void counter_add(struct counters *set, const char *name, long long value)
{
	struct counter *entry = lookup(set, name);

	if (!entry) {
		if (set->count == sizeof(set->entry) / sizeof(*set->entry))
			fail("too many counters: no room for %s", name);
		entry = &set->entry[set->count++];
		snprintf(entry->name, sizeof(entry->name), "%s", name);
		entry->value = 0;
	}
	entry->value += value;
}

long long counter_get(const struct counters *set, const char *name)
{
	const struct counter *entry = lookup((struct counters *)set, name);

	return entry ? entry->value : 0;
}

void counter_report(const struct counters *set, const char *prefix)
{
	for (int i = 0; i < set->count; i++)
		report_number(prefix, set->entry[i].name, set->entry[i].value);
}

static void add_number_file(struct counters *set, const char *dir, const char *name)
{
	char path[1024], text[64], *end;
	long long value;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (file_read(path, text, sizeof(text)) <= 0)
		return;
	value = strtoll(text, &end, 10);
	if (end != text && *end == '\n' && !end[1])
		counter_add(set, name, value);
}

void directory_counters(struct counters *set, const char *dir)
{
	struct dirent *file;
	DIR *open_dir = opendir(dir);

	if (!open_dir)
		return;
	while ((file = readdir(open_dir)))
		if (file->d_type == DT_REG)
			add_number_file(set, dir, file->d_name);
	closedir(open_dir);
}

void kvm_counters(struct counters *set, int pid)
{
	char prefix[32], path[512];
	struct dirent *vm;
	DIR *dir = opendir(KVM_DIR);

	if (!dir)
		return;
	snprintf(prefix, sizeof(prefix), "%d-", pid);
	while ((vm = readdir(dir))) {
		if (strncmp(vm->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(path, sizeof(path), "%s/%s", KVM_DIR, vm->d_name);
		directory_counters(set, path);
	}
	closedir(dir);
}

/* The words of a line, which is cut up. */
static int split(char *line, char **columns)
{
	int count = 0;

	while (count < MAX_COLUMNS && *(line += strspn(line, " "))) {
		columns[count++] = line;
		line += strcspn(line, " ");
		if (*line)
			*line++ = '\0';
	}
	return count;
}

/* Sums of all processes, but for the longest time. */
static void add_column(struct counters *set, const char *subscriber, const char *column,
		       const char *text)
{
	char name[128], *end;
	long long value = strtoll(text, &end, 10);

	if (end == text || *end)
		return;
	snprintf(name, sizeof(name), "%s.%s", subscriber, column);
	if (!strcmp(column, "longest_us")) {
		value -= counter_get(set, name);
		value = value > 0 ? value : 0;
	}
	counter_add(set, name, value);
}

void subscriber_counters(struct counters *set, int pid)
{
	char *text = file_load(SUBSCRIBERS), *rest = text, *line;
	char *names[MAX_COLUMNS], *values[MAX_COLUMNS];
	int count;

	line = strsep(&rest, "\n");
	count = line ? split(line, names) : 0;
	while ((line = strsep(&rest, "\n"))) {
		/* The last column is the name of the process. */
		if (split(line, values) < count || atoi(values[0]) != pid)
			continue;
		for (int i = 2; i < count - 1; i++)
			add_column(set, values[1], names[i], values[i]);
	}
	free(text);
}

static int vmstat_wanted(const char *name)
{
	for (size_t i = 0; i < sizeof(vmstat_names) / sizeof(*vmstat_names); i++)
		if (!strncmp(name, vmstat_names[i], strlen(vmstat_names[i])))
			return 1;
	return 0;
}

static void vmstat_read(struct counters *set)
{
	char *text = file_load("/proc/vmstat"), *rest = text, *word;

	while ((word = strsep(&rest, "\n"))) {
		char *space = strchr(word, ' ');

		if (!space)
			continue;
		*space = '\0';
		if (vmstat_wanted(word))
			counter_add(set, word, strtoll(space + 1, NULL, 10));
	}
	free(text);
}

void vmstat_begin(void)
{
	vmstat_read(&vmstat_before);
}

static struct counters *vmstat_now(void)
{
	static struct counters now;

	memset(&now, 0, sizeof(now));
	vmstat_read(&now);
	for (int i = 0; i < now.count; i++)
		now.entry[i].value -= counter_get(&vmstat_before, now.entry[i].name);
	return &now;
}

long long vmstat_since(const char *name)
{
	return counter_get(vmstat_now(), name);
}

void vmstat_report(const char *prefix)
{
	counter_report(vmstat_now(), prefix);
}

/* All CPUs; a CPU is idle, too, while it waits for a disk. */
static long long idle_ns(void)
{
	long long idle, iowait;
	char text[256];

	if (file_read("/proc/stat", text, sizeof(text)) <= 0 ||
	    sscanf(text, "cpu %*d %*d %*d %lld %lld", &idle, &iowait) != 2)
		fail("/proc/stat cannot be read");
	return (idle + iowait) * (1000000000 / sysconf(_SC_CLK_TCK));
}

void time_begin(void)
{
	time_before.elapsed_ns = clock_ns();
	time_before.idle_ns = idle_ns();
}

/* With QEMU's -icount shift=0 a nanosecond is one instruction. */
void time_report(void)
{
	report_number("time", "elapsed_ns", clock_ns() - time_before.elapsed_ns);
	report_number("time", "idle_ns", idle_ns() - time_before.idle_ns);
}
