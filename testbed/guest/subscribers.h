/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The samples of samples/mmu_notifier as subscribers of the guest's process: while
 * the guest writes, each reads its memory and compares.
 */
#ifndef MN_SUBSCRIBERS_H
#define MN_SUBSCRIBERS_H

#include <stddef.h>

/* @size bytes at @start; @key: of the random walks. */
void subscribers_start(unsigned char *start, size_t size, unsigned int key);
/* Reports how much was read, by whom; returns the number of words that differed. */
long subscribers_stop(void);

#endif
