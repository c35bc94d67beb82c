// SPDX-License-Identifier: GPL-2.0
/*
 * The race behind KVM's sequence count, opened on purpose. A vCPU reads a page
 * that it has not mapped yet; its fault is stopped after the lookup. Meanwhile
 * the process gets another page at that address. Then the fault goes on: the
 * guest must read what is in the new page.
 *
 * --mute FUNCTION[+...]	take these functions of the kernel away
 * --stale			the guest is expected to read the old page: shows
 *				that the test can fail
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "small_guest.h"

#define INJECT	"/sys/kernel/debug/mmu_notifier_inject/"
#define PAGE	4096
#define PAGES	16
#define DATA	5	/* page that is read: behind those that small_guest.h names */

static unsigned char *memory;
static int vcpu_fd;
static struct kvm_run *run;

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *format, ...)
{
	va_list values;

	va_start(values, format);
	vprintf(format, values);
	va_end(values);
	printf("\n");
	fflush(stdout);
	_exit(2);
}

int checked(int result, const char *what)
{
	if (result < 0)
		die("%s: %s", what, strerror(errno));
	return result;
}

static void inject(const char *file, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), INJECT "%s", file);
	fd = checked(open(path, O_WRONLY), path);
	checked(write(fd, text, strlen(text)), text);
	close(fd);
}

static int fault_stopped(void)
{
	char text[8] = "";
	int fd = checked(open(INJECT "fault_stopped", O_RDONLY), "fault_stopped");

	checked(read(fd, text, sizeof(text) - 1), "fault_stopped");
	close(fd);
	return atoi(text);
}

static void create_vm(void)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = PAGES * PAGE,
	};
	int kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int vm = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");

	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	sg_prepare_memory(memory);
	*(uint32_t *)(memory + SG_BLOCKS + SG_START) = DATA * PAGE;
	region.userspace_addr = (uintptr_t)memory;
	checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "memory");

	vcpu_fd = checked(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0),
		   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
	if (run == MAP_FAILED)
		die("mmap of the vCPU: %s", strerror(errno));
	sg_prepare_vcpu(vm, vcpu_fd, 0);
	sg_enter(vcpu_fd, run, sg_entry_read);
}

/* Until the guest tells what it read; each call is one read. */
static int guest_reads(void)
{
	checked(ioctl(vcpu_fd, KVM_RUN, 0), "KVM_RUN");
	if (sg_said(run) != SG_DONE)
		die("unexpected exit %u of the guest", run->exit_reason);
	return sg_word(run);
}

static void *vcpu_thread(void *unused)
{
	(void)unused;
	return (void *)(intptr_t)guest_reads();
}

/* Another page at the address of DATA, with 2 in it. */

/* Copy-on-write: invalidate_page. */
static void replace_by_cow(void)
{
	memory[DATA * PAGE] = 2;
}

/* Zap: a range. */
static void replace_by_zap(void)
{
	checked(madvise(memory + DATA * PAGE, PAGE, MADV_DONTNEED), "madvise");
	memory[DATA * PAGE] = 2;
}

/* mremap() of another page over it: a range for what is unmapped. */
static void replace_by_mremap(void)
{
	void *other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (other == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	*(unsigned char *)other = 2;
	if (mremap(other, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   memory + DATA * PAGE) == MAP_FAILED)
		die("mremap: %s", strerror(errno));
}

static const struct {
	const char *name;
	int share;
	void (*replace)(void);
} races[] = {
	{ "cow", 1, replace_by_cow },
	{ "zap", 0, replace_by_zap },
	{ "mremap", 0, replace_by_mremap },
};

/* A child that shares our pages, so that writing to one copies it. */
static pid_t fork_sharer(void)
{
	pid_t pid = checked(fork(), "fork");

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

/* What the guest read: 1 is the old page, 2 the new one. */
static int race(size_t i)
{
	pid_t sharer = 0;
	pthread_t thread;
	char gfn[16];
	void *value;

	memory[DATA * PAGE] = 1;
	if (races[i].share)
		sharer = fork_sharer();

	snprintf(gfn, sizeof(gfn), "%d", DATA);
	inject("fault_gfn", gfn);
	if (pthread_create(&thread, NULL, vcpu_thread, NULL))
		die("no thread for the vCPU");
	if (!fault_stopped())
		die("%s: the guest's fault did not stop", races[i].name);
	races[i].replace();
	inject("fault_go", "1");
	pthread_join(thread, &value);

	if (sharer) {
		kill(sharer, SIGKILL);
		waitpid(sharer, NULL, 0);
	}
	return (intptr_t)value;
}

static void mute_all(char *names)
{
	for (char *name; (name = strsep(&names, "+"));)
		inject("mute", name);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "mute", required_argument, NULL, 'm' },
		{ "stale", no_argument, NULL, 's' },
		{ "race", required_argument, NULL, 'r' },
		{ }
	};
	const char *only = NULL;
	char *mute = NULL;
	int expected = 2, failed = 0, ran = 0, c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'm')
			mute = optarg;
		else if (c == 's')
			expected = 1;
		else if (c == 'r')
			only = optarg;
		else
			return 2;
	}

	for (size_t i = 0; i < sizeof(races) / sizeof(*races); i++) {
		int value;

		if (only && strcmp(only, races[i].name))
			continue;
		create_vm();
		if (mute)
			mute_all(strdup(mute));
		value = race(i);
		inject("mute", "\n");
		printf("race %s: the guest read the %s page%s\n", races[i].name,
		       value == 2 ? "new" : value == 1 ? "old" : "wrong",
		       value == expected ? "" : ", which is wrong");
		failed += value != expected;
		ran++;
	}
	printf("%d races, %d failed\n", ran, failed);
	fflush(stdout);
	return failed || !ran;
}
