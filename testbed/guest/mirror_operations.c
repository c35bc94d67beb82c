// SPDX-License-Identifier: GPL-2.0
/* Everything that changes page tables, on memory that the mirrors hold. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file.h"
#include "mirror.h"
#include "mmu_notifier_mirror.h"
#include "report.h"

/* What the headers of this machine may be too old for. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#define MADV_GUARD_INSTALL_	102
#define MADV_GUARD_REMOVE_	103
#define UFFD_FEATURE_SIGBUS_	(1 << 7)
#define UFFD_FEATURE_WP_ASYNC_	(1 << 15)
#define UFFD_FEATURE_MOVE_	(1 << 16)
#define UFFDIO_MOVE_ALLOW_HOLES	1
#define MPOL_MF_MOVE_		2

struct uffdio_move_ {
	uint64_t dst, src, len, mode;
	int64_t move;
};
#define UFFDIO_MOVE_		_IOWR(UFFDIO, 0x05, struct uffdio_move_)

#define FILES		3
#define FILE_SIZE	(2 * SLOT)
#define WORDS		4	/* contents of pages: few, so that KSM merges */

__thread struct thread *self;
int mirror_fd;
static int files[FILES], memory_fd;

/* splitmix64 */
uint64_t draw(void)
{
	uint64_t value = self->random += 0x9e3779b97f4a7c15;

	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
	value = (value ^ value >> 27) * 0x94d049bb133111eb;
	value ^= value >> 31;
	self->sequence = (self->sequence ^ value) * 0x100000001b3;
	return value;
}

static unsigned char *page_at(size_t number)
{
	return (unsigned char *)AREA_START + number * PAGE;
}

static size_t bytes(const struct choice *c)
{
	return c->pages * PAGE;
}

/* Memory accesses of the CPU; where nothing is mapped they go on behind. */

static void on_fault(int number)
{
	(void)number;
	siglongjmp(self->fault, 1);
}

static int write_word(unsigned char *where, uint64_t value)
{
	if (sigsetjmp(self->fault, 0))
		return -1;
	*(volatile uint64_t *)where = value;
	return 0;
}

static int read_word(unsigned char *where)
{
	if (sigsetjmp(self->fault, 0))
		return -1;
	(void)*(volatile uint64_t *)where;
	return 0;
}

static int write_pages(const struct choice *c, size_t most)
{
	int result = -1;

	for (size_t i = 0; i < c->pages && i < most; i++)
		if (!write_word(c->start + i * PAGE, (c->random[0] + i) % WORDS))
			result = 0;
	return result;
}

static int op_write(const struct choice *c)
{
	return write_pages(c, 4);
}

static int op_read(const struct choice *c)
{
	int result = -1;

	for (size_t i = 0; i < c->pages && i < 8; i++)
		if (!read_word(c->start + i * PAGE))
			result = 0;
	return result;
}

/* Writes also where the process may not: breaks copy-on-write, stays read-only. */
static int op_poke(const struct choice *c)
{
	uint64_t value = c->random[0] % WORDS;

	return pwrite(memory_fd, &value, sizeof(value), (off_t)c->start) < 0 ? -1 : 0;
}

/* Mappings. */

static int map_at(unsigned char *start, size_t size, int prot, int flags, int fd, off_t offset)
{
	return mmap(start, size, prot, MAP_FIXED | flags, fd, offset) == MAP_FAILED ? -1 : 0;
}

static int map_anonymous(unsigned char *start, size_t size)
{
	return map_at(start, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int op_map_anonymous(const struct choice *c)
{
	if (map_anonymous(c->start, bytes(c)))
		return -1;
	return c->how ? madvise(c->start, bytes(c), c->how) : 0;
}

/* At an offset that fits huge pages, or at any: then a page is mapped twice. */
static int op_map_file(const struct choice *c)
{
	off_t offset = (c->start - page_at(0)) % FILE_SIZE;

	if (c->random[0] % 4 == 0)
		offset = c->random[1] % (FILE_SIZE / PAGE) * PAGE;
	if (map_at(c->start, bytes(c), PROT_READ | PROT_WRITE, c->how,
		   files[c->random[2] % FILES], offset))
		return -1;
	if (c->random[2] % FILES == 0)
		madvise(c->start, bytes(c), MADV_HUGEPAGE);
	return 0;
}

static int op_unmap(const struct choice *c)
{
	return munmap(c->start, bytes(c));
}

static int op_protect(const struct choice *c)
{
	return mprotect(c->start, bytes(c), c->how);
}

static int op_advise(const struct choice *c)
{
	return madvise(c->start, bytes(c), c->how);
}

/* A range of the same size that does not overlap; huge ones keep their alignment. */
static unsigned char *elsewhere(const struct choice *c)
{
	size_t size = bytes(c), from = c->start - page_at(0);
	size_t step = size % SLOT ? PAGE : SLOT;
	size_t before = from >= size ? (from - size) / step + 1 : 0;
	size_t behind = from + 2 * size <= AREA ? (AREA - from - 2 * size) / step + 1 : 0;
	size_t place = c->random[0] % (before + behind);

	if (place < before)
		return page_at(0) + place * step;
	return c->start + size + (place - before) * step;
}

static int op_move(const struct choice *c)
{
	if (mremap(c->start, bytes(c), bytes(c), MREMAP_MAYMOVE | MREMAP_FIXED | c->how,
		   elsewhere(c)) == MAP_FAILED)
		return -1;
	return c->how ? 0 : map_anonymous(c->start, bytes(c));
}

static int op_grow(const struct choice *c)
{
	size_t half = (c->pages + 1) / 2 * PAGE;

	if (half == bytes(c) || munmap(c->start + half, bytes(c) - half))
		return -1;
	return mremap(c->start, half, bytes(c), 0) == MAP_FAILED ? -1 : 0;
}

/* Parent and child share pages, both write, the child goes. */
static int op_fork(const struct choice *c)
{
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (!pid) {
		write_pages(c, 8);
		if (c->random[1] % 4 == 0)
			madvise(c->start, bytes(c), MADV_DONTNEED);
		_exit(0);
	}
	if (c->random[1] % 2)
		write_pages(c, 8);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* Files. */

static int op_truncate(const struct choice *c)
{
	int fd = files[c->random[0] % FILES];

	/*
	 * Not to the end of a page: 7.3.4 as it is never returns from a truncation
	 * that ends on one in the middle of a huge page which is in swap.
	 */
	if (ftruncate(fd, c->random[1] % (FILE_SIZE / PAGE) * PAGE + PAGE / 2))
		return -1;
	return ftruncate(fd, FILE_SIZE);
}

static int op_punch(const struct choice *c)
{
	return fallocate(files[c->random[0] % FILES], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 c->random[1] % (FILE_SIZE / PAGE) * PAGE, c->pages % 64 * PAGE + PAGE);
}

/* userfaultfd */

static int uffd_register(unsigned char *start, size_t size, int mode)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)start, size },
		.mode = mode,
	};

	return ioctl(self->uffd, UFFDIO_REGISTER, &reg);
}

static void uffd_unregister(unsigned char *start, size_t size)
{
	struct uffdio_range range = { (uintptr_t)start, size };

	ioctl(self->uffd, UFFDIO_UNREGISTER, &range);
}

static int op_uffd_move(const struct choice *c)
{
	unsigned char *to = elsewhere(c);
	struct uffdio_move_ move = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)c->start,
		.len = bytes(c),
		.mode = UFFDIO_MOVE_ALLOW_HOLES,
	};
	int result;

	if (map_anonymous(to, bytes(c)) ||
	    uffd_register(to, bytes(c), UFFDIO_REGISTER_MODE_MISSING))
		return -1;
	result = ioctl(self->uffd, UFFDIO_MOVE_, &move);
	uffd_unregister(to, bytes(c));
	return result;
}

static int op_uffd_protect(const struct choice *c)
{
	struct uffdio_writeprotect protect = {
		.range = { (uintptr_t)c->start, bytes(c) },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	int result;

	if (uffd_register(c->start, bytes(c), UFFDIO_REGISTER_MODE_WP))
		return -1;
	result = ioctl(self->uffd, UFFDIO_WRITEPROTECT, &protect);
	if (c->random[0] % 2)
		write_pages(c, 4);
	uffd_unregister(c->start, bytes(c));
	return result;
}

/* The whole machine or process. */

static int op_migrate(const struct choice *c)
{
	int nodes[16], status[16];
	void *pages[16];
	size_t count = c->pages < 16 ? c->pages : 16;
	int moved = 0;

	for (size_t i = 0; i < count; i++) {
		pages[i] = c->start + i * PAGE;
		nodes[i] = c->random[0] % 2;
		status[i] = -1;
	}
	if (syscall(SYS_move_pages, 0, count, pages, nodes, status, MPOL_MF_MOVE_) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		moved += status[i] == nodes[i];
	return moved ? 0 : -1;
}

static int op_soft_dirty(const struct choice *c)
{
	(void)c;
	return file_write("/proc/self/clear_refs", "4");
}

/* Some of it may be reclaimed although there is less than was asked for. */
static int op_reclaim(const struct choice *c)
{
	(void)c;
	return file_write("/sys/fs/cgroup/memory.reclaim", "512K") && errno != EAGAIN ? -1 : 0;
}

static int op_compact(const struct choice *c)
{
	(void)c;
	return file_write("/proc/sys/vm/compact_memory", "1");
}

static int op_lock(const struct choice *c)
{
	int result = mlock(c->start, bytes(c));

	munlock(c->start, bytes(c));
	return result;
}

/* A subscriber leaves and comes back. */
static int op_cycle(const struct choice *c)
{
	if (ioctl(mirror_fd, MIRROR_IOC_CYCLE, c->random[0] % MIRROR_KINDS))
		fail("a mirror cannot subscribe again: %s", strerror(errno));
	return 0;
}

/* Shapes of ranges: up to 8 pages, some longer, one or two huge ones. */
enum shape { FEW, ANY, HUGE };

static const struct {
	const char *name;
	unsigned int weight;
	enum shape shape;
	int (*run)(const struct choice *c);
	int how;
} operations[] = {
	{ "write", 4000, FEW, op_write, 0 },
	{ "read", 1500, FEW, op_read, 0 },
	{ "poke", 200, FEW, op_poke, 0 },
	{ "map", 150, ANY, op_map_anonymous, 0 },
	{ "map_huge", 60, HUGE, op_map_anonymous, MADV_HUGEPAGE },
	{ "map_merge", 40, ANY, op_map_anonymous, MADV_MERGEABLE },
	{ "map_file", 80, ANY, op_map_file, MAP_PRIVATE },
	{ "map_shared", 120, ANY, op_map_file, MAP_SHARED },
	{ "unmap", 60, ANY, op_unmap, 0 },
	{ "protect_none", 60, FEW, op_protect, PROT_NONE },
	{ "protect_read", 400, ANY, op_protect, PROT_READ },
	{ "protect_write", 600, ANY, op_protect, PROT_READ | PROT_WRITE },
	{ "dontneed", 500, ANY, op_advise, MADV_DONTNEED },
	{ "free", 200, ANY, op_advise, MADV_FREE },
	{ "cold", 100, ANY, op_advise, MADV_COLD },
	{ "pageout", 200, ANY, op_advise, MADV_PAGEOUT },
	{ "willneed", 50, ANY, op_advise, MADV_WILLNEED },
	{ "remove", 50, FEW, op_advise, MADV_REMOVE },
	{ "collapse", 20, HUGE, op_advise, MADV_COLLAPSE },
	{ "nohugepage", 20, HUGE, op_advise, MADV_NOHUGEPAGE },
	{ "hugepage", 60, HUGE, op_advise, MADV_HUGEPAGE },
	{ "mergeable", 30, ANY, op_advise, MADV_MERGEABLE },
	{ "unmergeable", 20, ANY, op_advise, MADV_UNMERGEABLE },
	{ "populate_read", 40, ANY, op_advise, MADV_POPULATE_READ },
	{ "populate_write", 80, ANY, op_advise, MADV_POPULATE_WRITE },
	{ "guard", 40, FEW, op_advise, MADV_GUARD_INSTALL_ },
	{ "unguard", 60, ANY, op_advise, MADV_GUARD_REMOVE_ },
	{ "move", 150, ANY, op_move, 0 },
	{ "move_keep", 40, ANY, op_move, MREMAP_DONTUNMAP },
	{ "grow", 60, FEW, op_grow, 0 },
	{ "fork", 40, FEW, op_fork, 0 },
	{ "truncate", 10, FEW, op_truncate, 0 },
	{ "punch", 60, FEW, op_punch, 0 },
	{ "uffd_move", 100, ANY, op_uffd_move, 0 },
	{ "uffd_protect", 100, ANY, op_uffd_protect, 0 },
	{ "migrate", 200, FEW, op_migrate, 0 },
	{ "lock", 30, FEW, op_lock, 0 },
	{ "soft_dirty", 4, FEW, op_soft_dirty, 0 },
	{ "reclaim", 10, FEW, op_reclaim, 0 },
	{ "compact", 1, FEW, op_compact, 0 },
	{ "cycle", 10, FEW, op_cycle, 0 },
};

int operation_count(void)
{
	return sizeof(operations) / sizeof(*operations);
}

const char *operation_name(int number)
{
	return operations[number].name;
}

static unsigned int total_weight(void)
{
	unsigned int sum = 0;

	for (int i = 0; i < operation_count(); i++)
		sum += operations[i].weight;
	return sum;
}

static int draw_operation(void)
{
	uint64_t value = draw() % total_weight();
	int number = 0;

	while (value >= operations[number].weight)
		value -= operations[number++].weight;
	return number;
}

static void draw_range(struct choice *c, enum shape shape)
{
	uint64_t kind = draw() % 64, size = draw(), place = draw();

	if (shape == HUGE || (shape == ANY && kind == 63)) {
		size_t slots = 1 + size % 2;

		c->pages = slots * (SLOT / PAGE);
		c->start = page_at(place % (SLOTS - slots + 1) * (SLOT / PAGE));
		return;
	}
	c->pages = 1 + size % (shape == ANY && kind >= 60 ? 64 : 8);
	c->start = page_at(place % (AREA_PAGES - c->pages + 1));
}

/* The mirrors. */

static void fill(unsigned char *start, size_t pages, uint64_t random)
{
	struct mirror_fill fill = {
		.start = (uintptr_t)start,
		.pages = pages,
		.kind = random % MIRROR_KINDS,
		.write = random >> 8 & 1,
		.stall = random >> 9 & 15 ? 0 : 1 + (random >> 13) % 200,
	};

	if (ioctl(mirror_fd, MIRROR_IOC_FILL, &fill) < 0)
		fail("a mirror cannot be filled: %s", strerror(errno));
}

static void audit_pages(unsigned char *start, size_t pages)
{
	struct mirror_audit audit = { (uintptr_t)start, pages };

	if (ioctl(mirror_fd, MIRROR_IOC_AUDIT, &audit))
		fail("the mirrors cannot be audited: %s", strerror(errno));
}

void audit_all(void)
{
	audit_pages(page_at(0), AREA_PAGES);
}

void fill_and_audit(void)
{
	struct choice c;

	draw_range(&c, FEW);
	fill(c.start, c.pages, draw());
	draw_range(&c, ANY);
	audit_pages(c.start, c.pages < 64 ? c.pages : 64);
}

/* Most operations hit memory that a mirror has, and are looked after. */
void operation(void)
{
	int number = draw_operation();
	uint64_t random, part;
	size_t pages;
	struct choice c;

	draw_range(&c, operations[number].shape);
	c.how = operations[number].how;
	for (int i = 0; i < 3; i++)
		c.random[i] = draw();
	random = draw();
	part = draw();

	pages = c.pages < 4 ? c.pages : 4;
	part %= c.pages - pages + 1;
	if (random % 2)
		fill(c.start + part * PAGE, pages, random >> 2);
	self->tried[number]++;
	if (!operations[number].run(&c))
		self->worked[number]++;
	if (random >> 1 & 1)
		audit_pages(c.start + part * PAGE, pages);
}

/* Preparations. */

int uffd_open(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_SIGBUS_ | UFFD_FEATURE_WP_ASYNC_ | UFFD_FEATURE_MOVE_,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		fail("userfaultfd: %s", strerror(errno));
	return fd;
}

static void prepare_files(void)
{
	for (int i = 0; i < FILES; i++) {
		files[i] = memfd_create("mirrored", MFD_CLOEXEC);
		if (files[i] < 0 || ftruncate(files[i], FILE_SIZE))
			fail("a file for the memory: %s", strerror(errno));
	}
	memory_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (memory_fd < 0)
		fail("/proc/self/mem: %s", strerror(errno));
}

static void prepare_signals(void)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };

	if (sigaction(SIGSEGV, &action, NULL) || sigaction(SIGBUS, &action, NULL))
		fail("sigaction: %s", strerror(errno));
}

void operations_prepare(void)
{
	prepare_signals();
	prepare_files();
	if (map_anonymous(page_at(0), AREA))
		fail("the memory to mirror: %s", strerror(errno));
}
