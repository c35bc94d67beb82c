// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"
#include "guest_memory.h"
#include "report.h"
#include "small_guest.h"

#define MERGED	512		/* pages: KSM does merge */
#define LOOK_US	20000
#define HOLE_US	2000		/* what the guest meets as a hole, at least */

unsigned char *memory;

static size_t memory_size;
static int kvm_vm, slot_count, mergeable;

static int open_shared(const char *mode, size_t size, const char *file)
{
	int fd;

	if (!strcmp(mode, "file"))
		return checked(open(file, O_RDWR | O_CLOEXEC), file);
	if (strcmp(mode, "shmem"))
		return -1;
	fd = checked(memfd_create("guest", MFD_CLOEXEC), "memfd_create");
	checked(ftruncate(fd, size), "ftruncate");
	return fd;
}

void memory_allocate(const char *mode, size_t size, const char *file, size_t offset)
{
	int fd = open_shared(mode, size, file);
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;

	mergeable = !strcmp(mode, "ksm");
	if (fd < 0 && !mergeable && strcmp(mode, "thp") && strcmp(mode, "anon"))
		fail("mode %s is unknown", mode);
	memory_size = size;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd,
		      strcmp(mode, "file") ? 0 : offset);
	if (memory == MAP_FAILED)
		fail("mmap of %zu bytes: %s", size, strerror(errno));
	/*
	 * No readahead, and so small folios: without CONFIG_BUFFER_HEAD a block device
	 * does not write back what a mapping wrote to large ones, on mainline either.
	 */
	if (!strcmp(mode, "file"))
		checked(madvise(memory, size, MADV_RANDOM), "MADV_RANDOM");
	if (!strcmp(mode, "thp"))
		checked(madvise(memory, size, MADV_HUGEPAGE), "MADV_HUGEPAGE");
}

static long merged_pages(void)
{
	char text[32];

	if (file_read("/proc/self/ksm_merging_pages", text, sizeof(text)) <= 0)
		fail("ksm_merging_pages: %s", strerror(errno));
	return atol(text);
}

/* Before that nothing merges: what does not fit has been swapped out already. */
void memory_filled(size_t start, size_t size)
{
	long merged;

	if (!mergeable)
		return;
	checked(madvise(memory + start, size, MADV_MERGEABLE), "MADV_MERGEABLE");
	while ((merged = merged_pages()) < MERGED)
		usleep(LOOK_US);
	report("ksm_merged", "%ld", merged);
}

void memory_report(void)
{
	static const struct { const char *name, *key; } kinds[] = {
		{ "RssAnon:", "rss_anon" }, { "RssFile:", "rss_file" },
		{ "RssShmem:", "rss_shmem" },
	};
	char text[4096], *found;

	if (file_read("/proc/self/status", text, sizeof(text)) <= 0)
		fail("/proc/self/status: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		found = strstr(text, kinds[i].name);
		if (found)
			report(kinds[i].key, "%ld", atol(found + strlen(kinds[i].name)));
	}
}

/* Slots differ by a page at most. */
static size_t slot_start(int slot)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return memory_size / page * slot / slot_count * page;
}

static void slot_set(int slot, size_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = slot_start(slot),
		.memory_size = size,
		.userspace_addr = (uintptr_t)memory + slot_start(slot),
	};

	checked(ioctl(kvm_vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void slot_add(int slot)
{
	slot_set(slot, slot_start(slot + 1) - slot_start(slot));
}

void slots_create(int vm_fd, int count)
{
	kvm_vm = vm_fd;
	slot_count = count;
	for (int slot = 0; slot < count; slot++)
		slot_add(slot);
}

void slots_change(unsigned int *random)
{
	int slot = 1 + rand_r(random) % (slot_count - 1);

	slot_set(slot, 0);
	usleep(HOLE_US);
	slot_add(slot);
}

int slots_access(struct kvm_run *run)
{
	uint64_t at = run->mmio.phys_addr;

	if (run->exit_reason != KVM_EXIT_MMIO || at > memory_size ||
	    run->mmio.len > memory_size - at)
		return 0;
	if (run->mmio.is_write)
		memcpy(memory + at, run->mmio.data, run->mmio.len);
	else
		memcpy(run->mmio.data, memory + at, run->mmio.len);
	return 1;
}
