/* SPDX-License-Identifier: GPL-2.0 */
/* Blocks of memory whose words tell what was written, and where. */
#ifndef MN_BLOCK_H
#define MN_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE		4096ul
#define PAGES		16
#define SIZE		(PAGES * PAGE)
#define WORDS		(SIZE / sizeof(uint64_t))

static inline void *map(size_t size, void *where)
{
	return mmap(where, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | (where ? MAP_FIXED : 0), -1, 0);
}

/* Stamp 0: nothing. */
static inline uint64_t word(uint32_t stamp, size_t number)
{
	return stamp ? (uint64_t)stamp << 32 | (uint32_t)number : 0;
}

static inline void fill(uint64_t *words, uint32_t stamp, size_t first)
{
	for (size_t i = 0; i < WORDS; i++)
		words[i] = word(stamp, first + i);
}

static inline bool is_filled(const uint64_t *words, uint32_t stamp, size_t first)
{
	for (size_t i = 0; i < WORDS; i++)
		if (words[i] != word(stamp, first + i))
			return false;
	return true;
}

/* A figure of a file of /proc, 0 if there is none. */
static inline uint64_t number_in(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	unsigned long long value = 0, found;
	char line[256], key[64];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63s %llu", key, &found) == 2 && !strcmp(key, name))
			value = found;
	if (file)
		fclose(file);
	return value;
}

#endif
