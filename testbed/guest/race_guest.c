// SPDX-License-Identifier: GPL-2.0
/*
 * The race behind KVM's sequence count, opened on purpose. A vCPU reads a page
 * that it has not mapped yet; its fault is stopped after the lookup. Meanwhile
 * the process gets another page at that address. Then the fault goes on: the
 * guest must read what is in the new page. Where KVM looks at the VMA before the
 * page, one fault is stopped between the two: it must look again.
 *
 * --mute FUNCTION[+...]	take these functions of the kernel away
 * --stale			the guest is expected to read the old page, or not to
 *				look again: shows that the test can fail
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

static int open_inject(const char *stop, const char *file, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), INJECT "%s%s", stop, file);
	return checked(open(path, flags), path);
}

static void inject(const char *stop, const char *file, const char *text)
{
	int fd = open_inject(stop, file, O_WRONLY);

	checked(write(fd, text, strlen(text)), text);
	close(fd);
}

static int injected(const char *stop, const char *file)
{
	int fd = open_inject(stop, file, O_RDONLY);
	char text[24] = "";

	checked(read(fd, text, sizeof(text) - 1), file);
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
	const char *stop;	/* where the fault stops */
	int share;
	void (*replace)(void);
} races[] = {
	{ "cow", "fault", 1, replace_by_cow },
	{ "zap", "fault", 0, replace_by_zap },
	{ "mremap", "fault", 0, replace_by_mremap },
#ifdef __aarch64__
	{ "vma", "vma", 0, replace_by_zap },
#endif
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

enum outcome { STALE, SEEN, WRONG };

/* Was what changed while the fault stood seen? The guest read 1, the old page, or 2. */
static enum outcome outcome_of(const char *name, const char *stop, int value)
{
	int lookups = injected("fault", "_lookups");

	printf("race %s: the guest read the %s page, looked up %d times\n", name,
	       value == 2 ? "new" : value == 1 ? "old" : "wrong", lookups);
	/* The page is looked up behind the VMA, and is the new one at any rate. */
	if (!strcmp(stop, "vma"))
		return value != 2 ? WRONG : lookups > 1 ? SEEN : STALE;
	return value == 2 ? SEEN : value == 1 ? STALE : WRONG;
}

static enum outcome race(size_t i)
{
	const char *stop = races[i].stop;
	pid_t sharer = 0;
	pthread_t thread;
	char gfn[16];
	void *value;

	memory[DATA * PAGE] = 1;
	if (races[i].share)
		sharer = fork_sharer();

	snprintf(gfn, sizeof(gfn), "%d", DATA);
	inject("fault", "_lookups", gfn);
	inject(stop, "_gfn", gfn);
	if (pthread_create(&thread, NULL, vcpu_thread, NULL))
		die("no thread for the vCPU");
	if (!injected(stop, "_stopped"))
		die("%s: the guest's fault did not stop", races[i].name);
	races[i].replace();
	inject(stop, "_go", "1");
	pthread_join(thread, &value);

	if (sharer) {
		kill(sharer, SIGKILL);
		waitpid(sharer, NULL, 0);
	}
	return outcome_of(races[i].name, stop, (intptr_t)value);
}

static void mute_all(char *names)
{
	for (char *name; (name = strsep(&names, "+"));)
		inject("mute", "", name);
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
	enum outcome expected = SEEN;
	int failed = 0, ran = 0, c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'm')
			mute = optarg;
		else if (c == 's')
			expected = STALE;
		else if (c == 'r')
			only = optarg;
		else
			return 2;
	}

	for (size_t i = 0; i < sizeof(races) / sizeof(*races); i++) {
		if (only && strcmp(only, races[i].name))
			continue;
		create_vm();
		if (mute)
			mute_all(strdup(mute));
		if (race(i) != expected) {
			printf("race %s: that is wrong\n", races[i].name);
			failed++;
		}
		inject("mute", "", "\n");
		ran++;
	}
	printf("%d races, %d failed\n", ran, failed);
	fflush(stdout);
	return failed || !ran;
}
