// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "param.h"
#include "report.h"

static char command_line[4096];
static const char *keys[64], *values[64];
static int count;

static void keep(char *word)
{
	char *equals = strchr(word, '=');

	if (strncmp(word, "mn.", 3) || !equals)
		return;
	if (count == sizeof(keys) / sizeof(*keys))
		fail("more than %d parameters on the command line", count);
	*equals = '\0';
	keys[count] = word + 3;
	values[count++] = equals + 1;
}

void param_load(void)
{
	char *word, *rest = command_line;

	if (file_read("/proc/cmdline", command_line, sizeof(command_line)) < 0)
		fail("/proc/cmdline cannot be read");
	while ((word = strsep(&rest, " \n")))
		keep(word);
}

const char *param(const char *key, const char *otherwise)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(keys[i], key))
			return values[i];
	return otherwise;
}

long param_number(const char *key, long otherwise)
{
	const char *text = param(key, NULL);
	char *end;
	long value;

	if (!text)
		return otherwise;
	value = strtol(text, &end, 0);
	if (*end || end == text)
		fail("mn.%s=%s is not a number", key, text);
	return value;
}

long argument_number(const char *text)
{
	char *end;
	long value = strtol(text, &end, 0);

	if (*end || end == text || value < 0)
		fail("%s is not a number", text);
	return value;
}
