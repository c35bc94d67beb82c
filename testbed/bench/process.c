// SPDX-License-Identifier: GPL-2.0
/* What notifiers cost a process: process nobody | process costs | process vmas */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cost.h"
#include "report.h"

#define TIMES 501
#define FORKS 51
#define FORK_PAGES 1024ul
#define VMAS 60000ul
#define VMS 7

/* All that is measured happens here, so that a memslot can cover it or not. */
#define ARENA_PAGES (4 * TIMES + FORK_PAGES)

static char *arena;
static uint64_t cost[TIMES];

static char *page_at(size_t number)
{
	return arena + number * PAGE;
}

static void reserve(void)
{
	mapped(mmap(arena, ARENA_PAGES * PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (arena ? MAP_FIXED : 0), -1, 0),
	       "the arena");
}

static char *map(size_t number, size_t pages, int fd)
{
	int flags = MAP_PRIVATE | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0);

	return mapped(mmap(page_at(number), pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0),
		      "mmap");
}

static void report_cost(const char *who, const char *what, size_t count)
{
	report_number(who, what, cost_median(cost, count));
}

/* Writes to pages of a file that are mapped already, each a copy. */
static void measure_cow(const char *who)
{
	int fd = checked(memfd_create("cow", 0), "memfd_create");
	volatile char *at;

	checked(ftruncate(fd, TIMES * PAGE), "ftruncate");
	at = map(0, TIMES, fd);
	for (size_t i = 0; i < TIMES; i++)
		(void)at[i * PAGE];
	for (size_t i = 0; i < TIMES; i++) {
		uint64_t begin = cost_now();

		at[i * PAGE] = 1;
		cost[i] = cost_now() - begin;
	}
	report_cost(who, "cow", TIMES);
	close(fd);
	reserve();
}

/* Every other page, so that no mapping is merged or split. */
static void measure_munmap(const char *who)
{
	for (size_t i = 0; i < TIMES; i++) {
		char *at = map(2 * i, 1, -1);
		uint64_t begin;

		*at = 1;
		begin = cost_now();
		munmap(at, PAGE);
		cost[i] = cost_now() - begin;
	}
	report_cost(who, "munmap", TIMES);
	reserve();
}

static void measure_mprotect(const char *who)
{
	for (size_t i = 0; i < TIMES; i++) {
		char *at = map(2 * i, 1, -1);
		uint64_t begin;

		*at = 1;
		begin = cost_now();
		mprotect(at, PAGE, PROT_READ);
		cost[i] = cost_now() - begin;
	}
	report_cost(who, "mprotect", TIMES);
	reserve();
}

static void measure_dontneed(const char *who)
{
	char *at = map(0, TIMES, -1);

	memset(at, 1, TIMES * PAGE);
	for (size_t i = 0; i < TIMES; i++) {
		uint64_t begin = cost_now();

		madvise(at + i * PAGE, PAGE, MADV_DONTNEED);
		cost[i] = cost_now() - begin;
	}
	report_cost(who, "dontneed", TIMES);
	reserve();
}

/* The child must not run before the parent has read the clock. */
static void measure_fork(const char *who)
{
	struct sched_param first = { .sched_priority = 1 }, usual = { 0 };

	memset(map(0, FORK_PAGES, -1), 1, FORK_PAGES * PAGE);
	checked(sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first), "SCHED_FIFO");
	for (size_t i = 0; i < FORKS; i++) {
		uint64_t begin = cost_now();
		int child = fork();

		if (!child)
			_exit(0);
		cost[i] = cost_now() - begin;
		checked(child, "fork");
		waitpid(child, NULL, 0);
	}
	checked(sched_setscheduler(0, SCHED_OTHER, &usual), "SCHED_OTHER");
	report_cost(who, "fork", FORKS);
	reserve();
}

static void measure_all(const char *who)
{
	measure_cow(who);
	measure_munmap(who);
	measure_mprotect(who);
	measure_dontneed(who);
	measure_fork(who);
}

static int kvm_open(void)
{
	return checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
}

static int vm_create(int kvm)
{
	return checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
}

static void vm_slot(int vm, void *memory, size_t pages)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = pages * PAGE, .userspace_addr = (uintptr_t)memory,
	};

	checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static char *vm_memory(size_t pages)
{
	return mapped(mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
}

static void hold_vm(void *argument)
{
	(void)argument;
	vm_slot(vm_create(kvm_open()), vm_memory(16), 16);
}

static void nobody(void)
{
	arena = mapped(mmap(NULL, ARENA_PAGES * PAGE, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), "the arena");
	measure_all("nobody");
}

static void costs(void)
{
	int other, vm;

	nobody();
	other = child_start(hold_vm, NULL);
	measure_all("other");
	vm = vm_create(kvm_open());
	vm_slot(vm, vm_memory(16), 16);
	measure_all("outside");
	vm_slot(vm, NULL, 0);
	vm_slot(vm, arena, ARENA_PAGES);
	measure_all("inside");
	child_end(other);
}

/* By turns of a file and of nobody, so that each has an anon_vma of its own. */
static void make_vmas(void)
{
	int fd = checked(memfd_create("vmas", 0), "memfd_create");
	char *at = mapped(mmap(NULL, VMAS * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), "mmap");

	checked(ftruncate(fd, PAGE), "ftruncate");
	for (size_t i = 1; i < VMAS; i += 2)
		mapped(mmap(at + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
			    fd, 0), "mmap");
	for (size_t i = 0; i < VMAS; i++)
		at[i * PAGE] = 1;
	close(fd);
}

/* What this thread runs: both kernels wait for grace periods at times. */
static void measure_vm(const char *who)
{
	uint64_t destroy[VMS];
	int kvm = kvm_open();

	for (size_t i = 0; i < VMS; i++) {
		uint64_t begin = cost_own();
		int vm = vm_create(kvm);

		cost[i] = cost_own() - begin;
		begin = cost_own();
		close(vm);
		destroy[i] = cost_own() - begin;
	}
	close(kvm);
	report_cost(who, "create", VMS);
	report_number(who, "destroy", cost_median(destroy, VMS));
}

static void vmas(void)
{
	/* Stays: the first VM of a machine switches virtualization on. */
	int other = child_start(hold_vm, NULL);

	measure_vm("small");
	make_vmas();
	measure_vm("large");
	child_end(other);
}

int main(int argc, char **argv)
{
	cost_begin();
	if (argc == 2 && !strcmp(argv[1], "nobody"))
		nobody();
	else if (argc == 2 && !strcmp(argv[1], "costs"))
		costs();
	else if (argc == 2 && !strcmp(argv[1], "vmas"))
		vmas();
	else
		report_error("usage: process nobody | process costs | process vmas");
	return 0;
}
