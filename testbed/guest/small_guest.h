/* SPDX-License-Identifier: GPL-2.0 */
/* What the guest code and its hypervisor agree on. */
#ifndef MN_SMALL_GUEST_H
#define MN_SMALL_GUEST_H

/* Guest physical layout: code, one block for each vCPU, then the data. */
#define SG_CODE		0x1000
#define SG_BLOCKS	0x2000
#define SG_BLOCK_SIZE	0x100
#define SG_DATA		0x10000

/* The block of a vCPU, at fs:0. */
#define SG_OLD_KEY	0x00
#define SG_NEW_KEY	0x04
#define SG_START	0x08
#define SG_END		0x0c
#define SG_STRIDE	0x10	/* bytes from one page to the next, wraps at the end */
#define SG_LEFT		0x14	/* pages still to do */
#define SG_FACTOR	0x18	/* 0 makes all pages equal */

/* Ports. */
#define SG_PORT_DONE		0x10
#define SG_PORT_PROGRESS	0x11
#define SG_PORT_MISMATCH	0x12

#define SG_MULTIPLIER	0x9e3779b1
#define SG_PROGRESS_PAGES	1024	/* a power of two */
#define SG_RUN_BYTES	64	/* equal words in a row: zram can shrink the page */

#ifndef __ASSEMBLER__
extern const unsigned char sg_code[], sg_code_end[], sg_entry_verify[], sg_entry_fill[];
#endif
#endif
