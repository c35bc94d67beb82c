// SPDX-License-Identifier: GPL-2.0
/*
 * Preloaded into a program that knows nothing of it: makes the process one
 * whose memory secondary MMUs map. An interval of lib/test_hmm.c covers the
 * whole address space, a virtual machine has the memory in two slots, and a
 * thread maps into that machine what the process has present, over and over,
 * so that what the program does to its memory must be taken out of the machine.
 * Children subscribe anew.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096UL
#define LOW_END		(4UL << 30)
#define HIGH_SIZE	(64UL << 30)
#define HIGH_GPA	(1UL << 37)
#define USER_END	0x7ffffffff000UL
#define MOST		2048	/* pages mapped in one pass */
#define PAUSE_NS	20000000
#define PRESENT		(1UL << 63)

static unsigned long high;	/* where the second slot begins */
static int mirror = -1, kvm = -1, vm = -1, vcpu = -1;

static void __attribute__((noreturn)) die(const char *what)
{
	perror(what);
	abort();
}

/* Out of the way of programs that count their file descriptors. */
static int lift(int fd, const char *what)
{
	int lifted = fcntl(fd, F_DUPFD_CLOEXEC, 500);

	if (fd < 0 || lifted < 0)
		die(what);
	close(fd);
	return lifted;
}

static void add_slot(unsigned int slot, unsigned long gpa, unsigned long begin,
		     unsigned long size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .guest_phys_addr = gpa, .userspace_addr = begin,
		.memory_size = size,
	};

	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("subscribe: KVM_SET_USER_MEMORY_REGION");
}

static void make_machine(void)
{
	kvm = lift(open("/dev/kvm", O_RDWR), "subscribe: /dev/kvm");
	vm = lift(ioctl(kvm, KVM_CREATE_VM, 0), "subscribe: KVM_CREATE_VM");
	add_slot(0, PAGE, PAGE, LOW_END - PAGE);
	add_slot(1, HIGH_GPA, high, HIGH_SIZE);
	vcpu = lift(ioctl(vm, KVM_CREATE_VCPU, 0), "subscribe: KVM_CREATE_VCPU");
}

static unsigned long gpa_of(unsigned long address)
{
	return address < LOW_END ? address : address - high + HIGH_GPA;
}

static int in_slots(unsigned long begin, unsigned long end)
{
	return (begin >= PAGE && end <= LOW_END) ||
	       (begin >= high && end <= high + HIGH_SIZE);
}

/* Pages that have gone since they were seen are brought back: harmless. */
static void map_run(unsigned long begin, unsigned long pages)
{
	struct kvm_pre_fault_memory range = {
		.gpa = gpa_of(begin), .size = pages * PAGE,
	};

	if (pages)
		ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
}

/* Returns the number of pages seen. */
static unsigned long map_vma(int pagemap, unsigned long begin, unsigned long end)
{
	static uint64_t entries[MOST];
	unsigned long pages = (end - begin) / PAGE, first = 0, i;
	ssize_t got;

	if (pages > MOST)
		pages = MOST;
	got = pread(pagemap, entries, pages * sizeof(*entries),
		    begin / PAGE * sizeof(*entries));
	pages = got > 0 ? got / sizeof(*entries) : 0;
	for (i = 0; i < pages; i++) {
		if (entries[i] & PRESENT)
			continue;
		map_run(begin + first * PAGE, i - first);
		first = i + 1;
	}
	map_run(begin + first * PAGE, i - first);
	return pages;
}

static void map_all(int pagemap)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long begin, end, pages = 0;
	char line[512], may[8];

	if (!maps)
		return;
	while (pages < MOST && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %7s", &begin, &end, may) == 3 && may[0] == 'r' &&
		    in_slots(begin, end))
			pages += map_vma(pagemap, begin, end);
	fclose(maps);
}

static void *map_forever(void *unused)
{
	struct timespec pause = { .tv_nsec = PAUSE_NS };
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	for (;;) {
		map_all(pagemap);
		nanosleep(&pause, NULL);
	}
	return unused;
}

static void start_thread(void)
{
	pthread_t thread;
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&thread, NULL, map_forever, NULL))
		die("subscribe: pthread_create");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void subscribe(void)
{
	mirror = lift(open("/dev/hmm_dmirror0", O_RDWR), "subscribe: /dev/hmm_dmirror0");
	make_machine();
	if (!getenv("SUBSCRIBE_PASSIVE"))
		start_thread();
}

static void in_child(void)
{
	close(vcpu);
	close(vm);
	close(kvm);
	close(mirror);
	subscribe();
}

static void __attribute__((constructor)) begin(void)
{
	unsigned long end = ((unsigned long)&high & ~(PAGE - 1)) + (1UL << 30);

	high = (end < USER_END ? end : USER_END) - HIGH_SIZE;
	subscribe();
	pthread_atfork(NULL, NULL, in_child);
}
