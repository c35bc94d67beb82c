/* SPDX-License-Identifier: GPL-2.0 */
/* Memory of a small guest: what it consists of, and the slots that KVM sees of it. */
#ifndef MN_GUEST_MEMORY_H
#define MN_GUEST_MEMORY_H

#include <linux/kvm.h>
#include <stddef.h>

/* Where in the process it lies. */
extern unsigned char *memory;

/* @mode: anon, thp, ksm, shmem or file, which is mapped from @offset on. */
void memory_allocate(const char *mode, size_t size, const char *file, size_t offset);
/* A part that is full now; with KSM, returns once a good deal of it was merged. */
void memory_filled(size_t start, size_t size);

/* How much of the process is of which kind. */
void memory_report(void);

/* All of it in @count slots, the first of which stays. */
void slots_create(int vm_fd, int count);
/* Takes a slot away for a while, any but the first. */
void slots_change(unsigned int *random);
/* Does what the guest tried to where there was no slot; 0 if it was anything else. */
int slots_access(struct kvm_run *run);

#endif
