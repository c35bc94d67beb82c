// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"

static long read_up_to(int fd, char *text, size_t size)
{
	size_t used = 0;
	ssize_t done;

	while (used < size && (done = read(fd, text + used, size - used)) != 0) {
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		used += done;
	}
	return used;
}

long file_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long used;

	if (fd < 0)
		return -1;
	used = read_up_to(fd, text, size - 1);
	close(fd);
	if (used >= 0)
		text[used] = '\0';
	return used;
}

char *file_load(const char *path)
{
	size_t size = 1 << 14;

	for (;;) {
		char *text = malloc(size);
		long used = text ? file_read(path, text, size) : -1;

		if (used >= 0 && (size_t)used < size - 1)
			return text;
		free(text);
		if (used < 0)
			return NULL;
		size *= 2;
	}
}

int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t size = strlen(text);
	ssize_t done;
	int error;

	if (fd < 0)
		return -1;
	done = write(fd, text, size);
	error = done < 0 ? errno : EIO;
	close(fd);
	if (done == (ssize_t)size)
		return 0;
	errno = error;
	return -1;
}

long meminfo_kb(const char *name)
{
	char text[8192], *found;

	if (file_read("/proc/meminfo", text, sizeof(text)) < 0)
		return -1;
	found = strstr(text, name);
	return found ? strtol(found + strlen(name) + 1, NULL, 10) : -1;
}
