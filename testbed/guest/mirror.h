/* SPDX-License-Identifier: GPL-2.0 */
/* The memory that is mirrored, and what is done to it. */
#ifndef MN_MIRROR_H
#define MN_MIRROR_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE		4096ul
#define SLOT		(2ul << 20)
#define SLOTS		8
#define AREA		(SLOTS * SLOT)
#define AREA_PAGES	(AREA / PAGE)
/* Far from where the kernel puts what asks for no address. */
#define AREA_START	0x100000000000ul

#define MAX_OPERATIONS	64

/*
 * A thread. Its choices come from @random alone, and each operation draws the
 * same number of them whatever the calls return: a seed replays them.
 */
struct thread {
	int number;
	uint64_t random;
	uint64_t sequence;	/* digest of all choices */
	long operations;	/* to do, and done */
	volatile long done;
	long tried[MAX_OPERATIONS], worked[MAX_OPERATIONS];
	int uffd;
	sigjmp_buf fault;	/* where a memory access goes on that fails */
};

/* What an operation is about. */
struct choice {
	unsigned char *start;
	size_t pages;
	int how;		/* advice, protection or flags */
	uint64_t random[3];
};

extern __thread struct thread *self;
extern int mirror_fd;

uint64_t draw(void);

void operations_prepare(void);
int uffd_open(void);
/* One operation, and the faults and audits around it. */
void operation(void);
int operation_count(void);
const char *operation_name(int number);
/* Faults a few translations in, and audits some: for the threads that do no more. */
void fill_and_audit(void);
void audit_all(void);

#endif
