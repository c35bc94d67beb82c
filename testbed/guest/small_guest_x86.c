// SPDX-License-Identifier: GPL-2.0
/* The small guest on x86: 32-bit protected mode, events are writes to ports. */
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "small_guest.h"

void sg_prepare_memory(unsigned char *memory)
{
	memcpy(memory + SG_CODE, sg_code, sg_code_end - sg_code);
}

static struct kvm_segment flat(int type, uint64_t base)
{
	return (struct kvm_segment){
		.base = base, .limit = 0xffffffff, .selector = type == 11 ? 8 : 16,
		.type = type, .present = 1, .db = 1, .s = 1, .g = 1,
	};
}

void sg_prepare_vcpu(int vm_fd, int vcpu_fd, int number)
{
	struct kvm_sregs sregs;

	(void)vm_fd;
	checked(ioctl(vcpu_fd, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = flat(11, 0);
	sregs.ds = sregs.es = sregs.ss = sregs.gs = flat(3, 0);
	sregs.fs = flat(3, SG_BLOCKS + number * SG_BLOCK_SIZE);
	sregs.cr0 |= 1;
	checked(ioctl(vcpu_fd, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
}

void sg_enter(int vcpu_fd, struct kvm_run *run, const unsigned char *entry)
{
	struct kvm_regs regs = { .rip = SG_CODE + (entry - sg_code), .rflags = 2 };

	(void)run;
	checked(ioctl(vcpu_fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static struct kvm_regs get_regs(int vcpu_fd)
{
	struct kvm_regs regs;

	checked(ioctl(vcpu_fd, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	return regs;
}

uint64_t sg_pc(int vcpu_fd)
{
	return get_regs(vcpu_fd).rip;
}

int sg_said(const struct kvm_run *run)
{
	if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT ||
	    run->io.size != 4)
		return 0;
	return run->io.port;
}

uint32_t sg_word(const struct kvm_run *run)
{
	return *(const uint32_t *)((const char *)run + run->io.data_offset);
}

struct sg_mismatch sg_mismatch(int vcpu_fd)
{
	struct kvm_regs regs = get_regs(vcpu_fd);

	return (struct sg_mismatch){ regs.rsi + regs.rcx, regs.rax, regs.rbx };
}
