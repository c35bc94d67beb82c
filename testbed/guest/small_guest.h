/* SPDX-License-Identifier: GPL-2.0 */
/* What the guest code and its hypervisor agree on. */
#ifndef MN_SMALL_GUEST_H
#define MN_SMALL_GUEST_H

/* Guest physical layout: code, one block for each vCPU, then the data. */
#define SG_CODE		0x1000
#define SG_BLOCKS	0x2000
#define SG_BLOCK_SIZE	0x100
#define SG_DATA		0x10000

/* The block of a vCPU. */
#define SG_OLD_KEY	0x00
#define SG_NEW_KEY	0x04
#define SG_START	0x08
#define SG_END		0x0c
#define SG_STRIDE	0x10	/* bytes from one page to the next, wraps at the end */
#define SG_LEFT		0x14	/* pages still to do */
#define SG_FACTOR	0x18	/* 0 makes all pages equal */

/* What a guest says by writing a word: the port on x86, the place in the doorbell on arm64. */
#define SG_DONE		0x10
#define SG_PROGRESS	0x14
#define SG_MISMATCH	0x18

#define SG_MULTIPLIER	0x9e3779b1
#define SG_PROGRESS_PAGES	1024	/* a power of two */
#define SG_RUN_BYTES	64	/* equal words in a row: zram can shrink the page */

#ifndef __ASSEMBLER__
#include <linux/kvm.h>
#include <stdint.h>

struct sg_mismatch {
	uint64_t address;
	uint32_t expected, found;
};

/* Fails with errno if @result is negative. */
int checked(int result, const char *what);

/* In the file of the architecture. */
extern const unsigned char sg_code[], sg_code_end[];
extern const unsigned char sg_entry_verify[], sg_entry_fill[], sg_entry_read[];

/* All that the guest needs before its first entry. */
void sg_prepare_memory(unsigned char *memory);
void sg_prepare_vcpu(int vm_fd, int vcpu_fd, int number);
/* The next KVM_RUN begins at one of the entries. */
void sg_enter(int vcpu_fd, struct kvm_run *run, const unsigned char *entry);
uint64_t sg_pc(int vcpu_fd);
/* SG_DONE, SG_PROGRESS, SG_MISMATCH; any other exit is 0. */
int sg_said(const struct kvm_run *run);
/* The word that it wrote to say so. */
uint32_t sg_word(const struct kvm_run *run);
/* After SG_MISMATCH. */
struct sg_mismatch sg_mismatch(int vcpu_fd);
#endif
#endif
