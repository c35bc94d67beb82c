// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "report.h"
#include "trace.h"

#define TRACE_DIR "/sys/kernel/tracing"
#define PROBE_GROUP "mn_probe"

static struct {
	char event[128];
	int keyed;
} watched[32];
static int watched_count;

/* Which event is not there is a result, not an error: mainline lacks ours. */
static void watch(const char *event, const char *key)
{
	char path[256], trigger[128];

	if (watched_count == sizeof(watched) / sizeof(*watched))
		fail("more than %d trace events", watched_count);
	snprintf(path, sizeof(path), TRACE_DIR "/events/%s/trigger", event);
	snprintf(trigger, sizeof(trigger), "hist:keys=%s", key ? key : "common_cpu");
	if (file_write(path, trigger)) {
		report("trace_missing", "%s %s", event, strerror(errno));
		return;
	}
	snprintf(watched[watched_count].event, sizeof(watched->event), "%s", event);
	watched[watched_count++].keyed = key != NULL;
}

static char *copy(const char *list)
{
	char *text = strdup(list);

	if (!text)
		fail("out of memory");
	return text;
}

void trace_events(const char *list)
{
	char *text = copy(list), *rest = text, *word;

	while ((word = strsep(&rest, ","))) {
		char *key = strchr(word, ':');

		if (key)
			*key++ = '\0';
		if (*word)
			watch(word, key);
	}
	free(text);
}

/* "name:caller" counts by who calls. */
static void watch_function(char *name)
{
	char probe[256], event[128], *caller = strchr(name, ':');

	if (caller && strcmp(caller, ":caller"))
		fail("mn.probe takes name or name:caller, not %s", name);
	if (caller)
		*caller = '\0';
	snprintf(probe, sizeof(probe), "p:" PROBE_GROUP "/%s %s%s", name, name,
		 caller ? " caller=+0($stack):u64" : "");
	if (file_write(TRACE_DIR "/kprobe_events", probe)) {
		report("trace_missing", "%s %s", name, strerror(errno));
		return;
	}
	snprintf(event, sizeof(event), PROBE_GROUP "/%s", name);
	watch(event, caller ? "caller.sym" : NULL);
}

void trace_functions(const char *list)
{
	char *text = copy(list), *rest = text, *word;

	while ((word = strsep(&rest, ",")))
		if (*word)
			watch_function(word);
	free(text);
}

/* "{ event:          3 } hitcount:       42" is key 3, 42 hits. */
static void report_bucket(const char *event, char *text)
{
	char name[256], *key, *end, *hits = strstr(text, "hitcount:");
	char *colon = strchr(text, ':');

	if (!hits || !colon || colon > hits)
		return;
	key = colon + 1 + strspn(colon + 1, " ");
	end = strstr(key, " }");
	if (!end)
		return;
	while (end > key && end[-1] == ' ')
		end--;
	*end = '\0';
	for (char *c = key; *c; c++)
		if (*c == ' ')
			*c = '_';
	snprintf(name, sizeof(name), "%s.%s", event, key);
	report_number("trace", name, strtoll(hits + strlen("hitcount:"), NULL, 10));
}

/* A CPU that meets the bucket which another one is just making drops its hit. */
static void report_total(const char *event, const char *histogram)
{
	const char *hits = strstr(histogram, "Hits: ");
	const char *lost = strstr(histogram, "Dropped: ");
	char name[256];
	long long all;

	if (!hits)
		fail("the histogram of %s has no total", event);
	all = strtoll(hits + strlen("Hits: "), NULL, 10);
	snprintf(name, sizeof(name), "%s.total", event);
	report_number("trace", name, all);
	if (lost && strtoll(lost + strlen("Dropped: "), NULL, 10) > all / 1000)
		fail("the histogram of %s dropped entries", event);
}

static void report_event(const char *event, int keyed)
{
	char path[256], *text, *rest, *line;

	snprintf(path, sizeof(path), TRACE_DIR "/events/%s/hist", event);
	text = file_load(path);
	if (!text)
		fail("the histogram of %s cannot be read: %s", event, strerror(errno));
	report_total(event, text);
	rest = keyed ? text : NULL;
	while ((line = strsep(&rest, "\n")))
		if (*line == '{')
			report_bucket(event, line);
	free(text);
}

void trace_report(void)
{
	for (int i = 0; i < watched_count; i++)
		report_event(watched[i].event, watched[i].keyed);
}
