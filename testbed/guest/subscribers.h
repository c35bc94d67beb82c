/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The samples of samples/mmu_notifier as subscribers of the guest's process: while
 * the guest writes, each reads its memory and compares.
 */
#ifndef MN_SUBSCRIBERS_H
#define MN_SUBSCRIBERS_H

#include <stddef.h>
#include <stdint.h>

/* @size bytes at @start; @key: of the random walks. */
void subscribers_start(unsigned char *start, size_t size, unsigned int key);
/* Reports how much was read, by whom; returns the number of words that differed. */
long subscribers_stop(void);

/* In the program of make rdma alone, whose kernel has RDMA: others lack both. */
void rdma_open(unsigned char *start, size_t size) __attribute__((weak));
/* A remote read of the word; an error ends the program. */
int rdma_load(uint64_t *address, uint64_t *value) __attribute__((weak));

#endif
