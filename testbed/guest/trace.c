// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "report.h"
#include "trace.h"

#define TRACE_DIR "/sys/kernel/tracing"
#define PROBE_GROUP "mn_probe"
/*
 * Each CPU has buckets of its own: one that met a bucket which another CPU was
 * just making would drop its hit, after a while.
 */
#define CPU "common_cpu"

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
	snprintf(trigger, sizeof(trigger), "hist:keys=" CPU "%s%s", key ? "," : "",
		 key ? key : "");
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

static void report_part(const char *event, const char *part, long long value)
{
	char *name;

	if (asprintf(&name, "%s.%s", event, part) < 0)
		fail("out of memory");
	report_number("trace", name, value);
	free(name);
}

/* The hits of a key on all CPUs. */
static struct bucket {
	char key[200];
	long long hits;
} buckets[256];
static int bucket_count;

static struct bucket *bucket_of(const char *key)
{
	for (int i = 0; i < bucket_count; i++)
		if (!strcmp(buckets[i].key, key))
			return &buckets[i];
	if (bucket_count == sizeof(buckets) / sizeof(*buckets))
		fail("a histogram has more than %d keys", bucket_count);
	snprintf(buckets[bucket_count].key, sizeof(buckets->key), "%s", key);
	buckets[bucket_count].hits = 0;
	return &buckets[bucket_count++];
}

/* "{ common_cpu:          0, event:          3 } hitcount:       42" is key 3, 42 hits. */
static void add_bucket(char *text)
{
	char *key, *end, *hits = strstr(text, "hitcount:"), *comma = strchr(text, ',');
	char *colon = comma ? strchr(comma, ':') : NULL;

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
	bucket_of(key)->hits += strtoll(hits + strlen("hitcount:"), NULL, 10);
}

static void report_buckets(const char *event, char *histogram)
{
	char *line;

	bucket_count = 0;
	while ((line = strsep(&histogram, "\n")))
		if (*line == '{')
			add_bucket(line);
	for (int i = 0; i < bucket_count; i++)
		report_part(event, buckets[i].key, buckets[i].hits);
}

/* Whoever needs exact counts looks at those that were dropped. */
static void report_total(const char *event, const char *histogram)
{
	static const char *const totals[][2] = {
		{ "Hits: ", "total" },
		{ "Dropped: ", "dropped" },
	};

	for (int i = 0; i < 2; i++) {
		const char *found = strstr(histogram, totals[i][0]);

		if (!found)
			fail("the histogram of %s does not tell its hits", event);
		report_part(event, totals[i][1], strtoll(found + strlen(totals[i][0]), NULL, 10));
	}
}

static void report_event(const char *event, int keyed)
{
	char *path, *text;

	if (asprintf(&path, TRACE_DIR "/events/%s/hist", event) < 0)
		fail("out of memory");
	text = file_load(path);
	free(path);
	if (!text)
		fail("the histogram of %s cannot be read: %s", event, strerror(errno));
	report_total(event, text);
	if (keyed)
		report_buckets(event, text);
	free(text);
}

void trace_report(void)
{
	for (int i = 0; i < watched_count; i++)
		report_event(watched[i].event, watched[i].keyed);
}
