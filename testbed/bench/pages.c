// SPDX-License-Identifier: GPL-2.0
/*
 * What pages cost that a VM maps: pages costs | pages count OPERATION
 *
 * Operations are pageout (MADV_PAGEOUT), migrate (move_pages), cow (writes after a
 * fork) and age (one generation of the multi-generational LRU). "costs" reports
 * instructions a page, of pages that a KVM guest has in its page tables and of others.
 * "count" does it with a guest for somebody who counts, and says how many pages.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cost.h"
#include "file.h"
#include "report.h"

#define THP "/sys/kernel/mm/transparent_hugepage"
#define LRU_GEN "/sys/kernel/debug/lru_gen"
#define PAGES 4096ul		/* 16 MB */
#define ALIGN (2ul << 20)
#define TURNS 9

/* Younger than the headers of some machines that this is compiled on. */
struct pre_fault {
	uint64_t gpa, size, flags, padding[5];
};
#define PRE_FAULT _IOWR(KVMIO, 0xd5, struct pre_fault)

static char *area;
static int vcpu = -1;

static void set_size(const char *size, bool on)
{
	char path[128];

	snprintf(path, sizeof(path), THP "/hugepages-%skB/enabled", size);
	checked(file_write(path, on ? "always" : "never"), path);
}

/* In folios of so many kB, the last page of one being the end of the area. */
static void make_area(const char *kb)
{
	char *at = mapped(mmap(NULL, PAGES * PAGE + ALIGN, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");

	area = (char *)(((uintptr_t)at + ALIGN - 1) & -ALIGN);
	set_size("64", !strcmp(kb, "64"));
	set_size("2048", !strcmp(kb, "2048"));
	/* Compact for them, if need be. */
	checked(madvise(area, PAGES * PAGE, strcmp(kb, "4") ? MADV_HUGEPAGE : MADV_NOHUGEPAGE),
		"madvise");
}

/* All of the area, as the slot of a guest whose vCPU never runs. */
static void make_vm(void)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = PAGES * PAGE, .userspace_addr = (uintptr_t)area,
	};
	int kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int vm = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");

	checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	vcpu = checked(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
}

static void guest_maps_all(void)
{
	struct pre_fault all = { .size = PAGES * PAGE };

	if (vcpu >= 0)
		checked(ioctl(vcpu, PRE_FAULT, &all), "KVM_PRE_FAULT_MEMORY");
}

static size_t present(void)
{
	static unsigned char core[PAGES];
	size_t count = 0;

	checked(mincore(area, PAGES * PAGE, core), "mincore");
	for (size_t i = 0; i < PAGES; i++)
		count += core[i] & 1;
	return count;
}

static size_t page_out(uint64_t *cost)
{
	uint64_t begin = cost_now();

	checked(madvise(area, PAGES * PAGE, MADV_PAGEOUT), "MADV_PAGEOUT");
	*cost = cost_now() - begin;
	return PAGES - present();
}

static size_t migrate(uint64_t *cost)
{
	static void *pages[PAGES];
	static int nodes[PAGES], status[PAGES], node;
	size_t done = 0;
	uint64_t begin;

	node = !node;
	for (size_t i = 0; i < PAGES; i++) {
		pages[i] = area + i * PAGE;
		nodes[i] = node;
	}
	begin = cost_now();
	checked(syscall(SYS_move_pages, 0, PAGES, pages, nodes, status, 2), "move_pages");
	*cost = cost_now() - begin;
	for (size_t i = 0; i < PAGES; i++)
		done += status[i] == node;
	return done;
}

/* The fork drops what the guest maps; when it only reads, it shares the page. */
static size_t copy_on_write(uint64_t *cost)
{
	int ready[2], child;
	uint64_t begin;
	char byte;

	checked(pipe(ready), "pipe");
	child = checked(fork(), "fork");
	if (!child) {
		close(ready[1]);
		_exit(read(ready[0], &byte, 1) < 0);
	}
	close(ready[0]);
	guest_maps_all();
	begin = cost_now();
	for (size_t i = 0; i < PAGES; i++)
		area[i * PAGE] = 2;
	*cost = cost_now() - begin;
	close(ready[1]);
	waitpid(child, NULL, 0);
	return PAGES;
}

/* The last generation of the root on the first node, where all pages are. */
static size_t age(uint64_t *cost)
{
	char *text = file_load(LRU_GEN), *line, *rest, order[64];
	unsigned long memcg = 0, generation = 0, number;
	uint64_t begin;
	int nodes = 0;

	if (!text)
		report_error(LRU_GEN ": %s", strerror(errno));
	for (rest = text; nodes < 2 && (line = strsep(&rest, "\n")); ) {
		if (sscanf(line, "memcg %lu", &number) == 1)
			memcg = number;
		else if (sscanf(line, " node %lu", &number) == 1)
			nodes++;
		else if (sscanf(line, " %lu", &number) == 1)
			generation = number;
	}
	free(text);
	snprintf(order, sizeof(order), "+ %lu 0 %lu 1 1", memcg, generation);
	begin = cost_now();
	checked(file_write(LRU_GEN, order), LRU_GEN);
	*cost = cost_now() - begin;
	return PAGES;
}

struct operation {
	const char *name;
	size_t (*run)(uint64_t *cost);
	const char *kb;
};

static const struct operation operations[] = {
	{ "pageout", page_out, "4" }, { "pageout", page_out, "64" },
	{ "pageout", page_out, "2048" }, { "migrate", migrate, "4" },
	{ "cow", copy_on_write, "4" }, { "age", age, "4" },
};

#define OPERATIONS (sizeof(operations) / sizeof(*operations))

/* Returns the pages of all turns. */
static size_t run(const struct operation *operation, uint64_t *cost)
{
	size_t done, all = 0;

	for (int i = 0; i < TURNS; i++) {
		/* New pages: swap gives them back one by one. */
		checked(madvise(area, PAGES * PAGE, MADV_DONTNEED), "MADV_DONTNEED");
		memset(area, 1, PAGES * PAGE);
		guest_maps_all();
		done = operation->run(&cost[i]);
		/* A few may be busy elsewhere just then. */
		if (done < PAGES - PAGES / 16)
			report_error("%s of %s kB: only %zu of %lu pages", operation->name,
				     operation->kb, done, PAGES);
		all += done;
	}
	return all;
}

static void measure(const struct operation *operation, const char *who)
{
	uint64_t cost[TURNS];
	char name[64];

	run(operation, cost);
	snprintf(name, sizeof(name), "%s.%s", operation->name, operation->kb);
	report_number(who, name, cost_median(cost, TURNS) / PAGES);
}

static void measure_alone(void *argument)
{
	const struct operation *operation = argument;

	make_area(operation->kb);
	measure(operation, "alone");
}

static void measure_vm(void *argument)
{
	const struct operation *operation = argument;

	make_area(operation->kb);
	make_vm();
	measure(operation, "vm");
}

static void costs(void)
{
	for (size_t i = 0; i < OPERATIONS; i++) {
		child_end(child_start(measure_alone, (void *)&operations[i]));
		child_end(child_start(measure_vm, (void *)&operations[i]));
	}
}

static void count(const char *name)
{
	uint64_t cost[TURNS];

	for (size_t i = 0; i < OPERATIONS; i++) {
		if (strcmp(operations[i].name, name))
			continue;
		make_area(operations[i].kb);
		make_vm();
		report_number("pages", name, run(&operations[i], cost));
		return;
	}
	report_error("there is no operation %s", name);
}

int main(int argc, char **argv)
{
	cost_begin();
	if (argc == 2 && !strcmp(argv[1], "costs"))
		costs();
	else if (argc == 3 && !strcmp(argv[1], "count"))
		count(argv[2]);
	else
		report_error("usage: pages costs | pages count OPERATION");
	return 0;
}
