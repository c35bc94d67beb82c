// SPDX-License-Identifier: GPL-2.0
/*
 * The small guest on arm64: EL1 with the MMU and the caches on, as without them
 * the guest would not see what the host's caches hold. Events are writes to the
 * doorbell.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "small_guest.h"

#define SG_TABLE	0x3000		/* the only page table, behind the blocks */
#define SG_DOORBELL	0x80000000	/* behind the largest memory: each write is an exit */

/* Blocks of 1 GB, accessible to EL1: memory is attribute 0, a device 1. */
#define GB		(1ull << 30)
#define MEMORY_BLOCK	0x701ull	/* inner shareable, accessed */
#define DEVICE_BLOCK	(0x405ull | 3ull << 53)		/* accessed, never executed */
#define MAIR		0x00ffull
#define TCR		(25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23)	/* 39 bits, 4 KB, lower half */
#define SCTLR		(0x30d00800 | 1 << 0 | 1 << 2 | 1 << 12)	/* MMU, data, instructions */

#define CORE(name)	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | \
			 KVM_REG_ARM_CORE_REG(regs.name))
#define SYSTEM(crn, crm, op2)	ARM64_SYS_REG(3, 0, crn, crm, op2)

void sg_prepare_memory(unsigned char *memory)
{
	uint64_t *table = (uint64_t *)(memory + SG_TABLE);

	memcpy(memory + SG_CODE, sg_code, sg_code_end - sg_code);
	table[0] = MEMORY_BLOCK;
	table[1] = MEMORY_BLOCK | GB;
	table[SG_DOORBELL / GB] = DEVICE_BLOCK | SG_DOORBELL;
}

static void set_register(int vcpu_fd, uint64_t id, uint64_t value)
{
	struct kvm_one_reg one = { id, (uintptr_t)&value };

	checked(ioctl(vcpu_fd, KVM_SET_ONE_REG, &one), "KVM_SET_ONE_REG");
}

static uint64_t get_register(int vcpu_fd, uint64_t id)
{
	uint64_t value;
	struct kvm_one_reg one = { id, (uintptr_t)&value };

	checked(ioctl(vcpu_fd, KVM_GET_ONE_REG, &one), "KVM_GET_ONE_REG");
	return value;
}

void sg_prepare_vcpu(int vm_fd, int vcpu_fd, int number)
{
	struct kvm_vcpu_init init;

	checked(ioctl(vm_fd, KVM_ARM_PREFERRED_TARGET, &init), "KVM_ARM_PREFERRED_TARGET");
	checked(ioctl(vcpu_fd, KVM_ARM_VCPU_INIT, &init), "KVM_ARM_VCPU_INIT");
	set_register(vcpu_fd, SYSTEM(10, 2, 0), MAIR);
	set_register(vcpu_fd, SYSTEM(2, 0, 2), TCR);
	set_register(vcpu_fd, SYSTEM(2, 0, 0), SG_TABLE);	/* TTBR0 */
	set_register(vcpu_fd, SYSTEM(1, 0, 0), SCTLR);
	set_register(vcpu_fd, CORE(regs[0]), SG_BLOCKS + number * SG_BLOCK_SIZE);
	set_register(vcpu_fd, CORE(regs[7]), SG_DOORBELL);
}

void sg_enter(int vcpu_fd, struct kvm_run *run, const unsigned char *entry)
{
	/* The store that ended the last pass is completed by the next entry. */
	run->immediate_exit = 1;
	if (ioctl(vcpu_fd, KVM_RUN, 0) >= 0 || errno != EINTR)
		checked(-1, "completing the last store");
	run->immediate_exit = 0;
	set_register(vcpu_fd, CORE(pc), SG_CODE + (entry - sg_code));
}

uint64_t sg_pc(int vcpu_fd)
{
	return get_register(vcpu_fd, CORE(pc));
}

int sg_said(const struct kvm_run *run)
{
	if (run->exit_reason != KVM_EXIT_MMIO || !run->mmio.is_write || run->mmio.len != 4 ||
	    run->mmio.phys_addr - SG_DOORBELL > SG_MISMATCH)
		return 0;
	return run->mmio.phys_addr - SG_DOORBELL;
}

uint32_t sg_word(const struct kvm_run *run)
{
	uint32_t word;

	memcpy(&word, run->mmio.data, sizeof(word));
	return word;
}

struct sg_mismatch sg_mismatch(int vcpu_fd)
{
	return (struct sg_mismatch){
		.address = get_register(vcpu_fd, CORE(regs[1])) +
			   get_register(vcpu_fd, CORE(regs[2])),
		.expected = get_register(vcpu_fd, CORE(regs[3])),
		.found = get_register(vcpu_fd, CORE(regs[5])),
	};
}
