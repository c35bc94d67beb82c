/* SPDX-License-Identifier: GPL-2.0 */
/* Small files of proc, sysfs, debugfs and tracefs. */
#ifndef MN_FILE_H
#define MN_FILE_H

#include <stddef.h>

/* Length read and closed by a NUL, or -1 with errno. */
long file_read(const char *path, char *text, size_t size);
/* The whole file, to be freed; NULL with errno. */
char *file_load(const char *path);
/* 0, or -1 with errno. */
int file_write(const char *path, const char *text);
/* One kB figure of /proc/meminfo, or -1. */
long meminfo_kb(const char *name);

#endif
