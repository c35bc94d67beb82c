// SPDX-License-Identifier: GPL-2.0
/*
 * XPMEM of samples/mmu_notifier. The test imports, a child exports and does what
 * it is told to.
 */
#define _GNU_SOURCE
#include <setjmp.h>

#include "../kselftest_harness.h"
#include "memory.h"
#include "xpmem.h"

#define DEVICE		"/dev/soft_xpmem"
#define TIMEOUT		"/sys/module/soft_xpmem/parameters/timeout_ms"
#define PAGES		64
#define STEPS		30
#define MODE		((void *)0600)

/* Accesses that may meet with no page. */

static __thread sigjmp_buf no_page;

static void on_sigbus(int number)
{
	(void)number;
	siglongjmp(no_page, 1);
}

static void catch_sigbus(void)
{
	struct sigaction action = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };

	sigaction(SIGBUS, &action, NULL);
}

static int load(void *context, void *address, uint64_t *value)
{
	(void)context;
	if (sigsetjmp(no_page, 0))
		return -1;
	*value = get_word(address);
	return 0;
}

static int store(void *address, uint64_t value)
{
	if (sigsetjmp(no_page, 0))
		return -1;
	set_word(address, value);
	return 0;
}

/* The exporter. */

enum order { FILL, SUM, UNMAP, DISCARD, TRUNCATE, EXTEND, PAGEOUT, FORK, EXEC, REMOVE, STATS,
	     CHURN, EXIT };

/**
 * struct exporter - shared by the exporter and the test
 * @pid: of the exporter
 * @kind: of its memory
 * @segid: what it exports
 * @arena: the memory, and the steps of CHURN
 * @order: what to do; @value goes with it
 * @ordered: orders so far
 * @done: orders that have been carried out; the result is in @value
 * @stats: the result of STATS
 */
struct exporter {
	pid_t pid;
	enum kind kind;
	int file;
	xpmem_segid_t segid;
	struct arena arena;
	enum order order;
	uint64_t value;
	atomic_uint ordered;
	atomic_uint done;
	struct soft_xpmem_stats stats;
};

static uint64_t sum(struct arena *arena)
{
	uint64_t sum = 0;

	for (size_t at = 0; at < arena->size; at += page_size())
		sum += get_word(arena->memory + at);
	return sum;
}

/* The child has what was there at the fork, if the memory is private; its sum. */
static uint64_t sum_of_child(struct exporter *exporter)
{
	uint64_t *result = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t value;
	pid_t child = fork();

	if (!child) {
		/* The importer writes before this. */
		exporter->done++;
		while (exporter->done == exporter->ordered)
			sched_yield();
		*result = sum(&exporter->arena);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	value = *result;
	munmap(result, page_size());
	return value;
}

static void carry_out(struct exporter *exporter)
{
	struct arena *arena = &exporter->arena;

	switch (exporter->order) {
	case FILL:
		arena_fill(arena, exporter->value);
		break;
	case SUM:
		exporter->value = sum(arena);
		break;
	case UNMAP:
		exporter->value = munmap(arena->memory, arena->size);
		break;
	case DISCARD:
		exporter->value = madvise(arena->memory, arena->size, MADV_DONTNEED);
		break;
	case TRUNCATE:
		exporter->value = ftruncate(exporter->file, 0);
		break;
	case EXTEND:
		exporter->value = ftruncate(exporter->file, arena->size);
		break;
	case PAGEOUT:
		exporter->value = madvise(arena->memory, arena->size, MADV_PAGEOUT);
		break;
	case FORK:
		exporter->value = sum_of_child(exporter);
		break;
	case EXEC:
		execl("/proc/self/exe", "xpmem_test", "--wait", NULL);
		_exit(1);
	case REMOVE:
		exporter->value = xpmem_remove(exporter->segid);
		break;
	case STATS:
		exporter->value = xpmem_stats(&exporter->stats);
		break;
	case CHURN:
		for (;;)
			arena_step(arena);
	case EXIT:
		_exit(0);
	}
}

static void export(struct exporter *exporter)
{
	struct arena *arena = &exporter->arena;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	arena->memory = map_memory(exporter->kind, arena->size, &exporter->file);
	exporter->segid = -1;
	if (arena->memory != MAP_FAILED)
		exporter->segid = xpmem_make(arena->memory, arena->size, XPMEM_PERMIT_MODE, MODE);
	for (exporter->done++;; exporter->done++) {
		while (exporter->done == exporter->ordered)
			usleep(100);
		carry_out(exporter);
	}
}

static void order(struct exporter *exporter, enum order order, uint64_t value)
{
	exporter->order = order;
	exporter->value = value;
	exporter->ordered++;
}

static uint64_t result(struct exporter *exporter)
{
	while (exporter->done != exporter->ordered)
		usleep(100);
	return exporter->value;
}

static uint64_t tell(struct exporter *exporter, enum order what, uint64_t value)
{
	order(exporter, what, value);
	return result(exporter);
}

static struct exporter *start_exporter(enum kind kind)
{
	struct exporter *exporter = mmap(NULL, sizeof(*exporter), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	exporter->kind = kind;
	exporter->arena.size = PAGES * page_size();
	exporter->ordered = 1;
	pid = fork();
	if (!pid)
		export(exporter);
	exporter->pid = pid;
	result(exporter);
	return exporter;
}

static void stop_exporter(struct exporter *exporter)
{
	kill(exporter->pid, SIGKILL);
	waitpid(exporter->pid, NULL, 0);
	munmap(exporter, sizeof(*exporter));
}

static struct soft_xpmem_stats stats_of(struct exporter *exporter)
{
	tell(exporter, STATS, 0);
	return exporter->stats;
}

/* Get and attach all of it; MAP_FAILED if it is not to be had. */
static char *import(struct exporter *exporter, int flags)
{
	struct xpmem_addr from = {
		.apid = xpmem_get(exporter->segid, flags, XPMEM_PERMIT_MODE, NULL),
	};

	return from.apid < 0 ? MAP_FAILED : xpmem_attach(from, exporter->arena.size, NULL);
}

/* How many pages carry @value at their start. */
static int count(const char *memory, uint64_t value)
{
	uint64_t got;
	int found = 0;

	for (int i = 0; i < PAGES; i++)
		found += !load(NULL, (char *)memory + i * page_size(), &got) && got == value;
	return found;
}

static int missing(const char *memory)
{
	uint64_t got;
	int found = 0;

	for (int i = 0; i < PAGES; i++)
		found += load(NULL, (char *)memory + i * page_size(), &got) < 0;
	return found;
}

static int write_pages(char *memory, uint64_t value)
{
	int failed = 0;

	for (int i = 0; i < PAGES; i++)
		failed += store(memory + i * page_size(), value);
	return failed;
}

static int read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "r");
	int failed = !file || !fgets(text, size, file);

	if (file)
		fclose(file);
	return failed;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int failed = fd < 0 || write(fd, text, strlen(text)) < 0;

	close(fd);
	return failed;
}

/* More than the head of the table. */
static int has_swap(void)
{
	FILE *file = fopen("/proc/swaps", "r");
	char line[256];
	int lines = 0;

	while (file && fgets(line, sizeof(line), file))
		lines++;
	if (file)
		fclose(file);
	return lines > 1;
}

/* An exporter, and its memory as it is mapped here. */
static char *start_pair(enum kind kind, struct exporter **exporter)
{
	catch_sigbus();
	*exporter = start_exporter(kind);
	return (*exporter)->segid < 0 ? MAP_FAILED : import(*exporter, XPMEM_RDWR);
}

static void stop_pair(struct exporter *exporter, char *memory)
{
	stop_exporter(exporter);
	munmap(memory, PAGES * page_size());
}

FIXTURE(segment) {
	struct exporter *exporter;
	char *memory;
};

FIXTURE_VARIANT(segment) {
	enum kind kind;
};

FIXTURE_VARIANT_ADD(segment, anon) { .kind = ANON };
FIXTURE_VARIANT_ADD(segment, shmem) { .kind = SHMEM };
FIXTURE_VARIANT_ADD(segment, tmpfs) { .kind = TMPFS };
FIXTURE_VARIANT_ADD(segment, filesystem) { .kind = FILESYSTEM };

FIXTURE_SETUP(segment)
{
	if (access(DEVICE, R_OK | W_OK))
		SKIP(return, "no " DEVICE ": load the module soft_xpmem");
	self->memory = start_pair(variant->kind, &self->exporter);
	ASSERT_NE(MAP_FAILED, self->memory);
}

FIXTURE_TEARDOWN(segment)
{
	stop_pair(self->exporter, self->memory);
}

TEST_F(segment, shares)
{
	tell(self->exporter, FILL, 11);
	EXPECT_EQ(PAGES, count(self->memory, 11));
	EXPECT_EQ(0, write_pages(self->memory, 12));
	EXPECT_EQ(PAGES * 12, tell(self->exporter, SUM, 0));
	tell(self->exporter, FILL, 13);
	EXPECT_EQ(PAGES, count(self->memory, 13));
}

TEST_F(segment, detach_and_release)
{
	struct xpmem_addr from = { .offset = 3 * page_size() };
	struct exporter *exporter = self->exporter;
	uint64_t got;
	char *part;

	from.apid = xpmem_get(exporter->segid, XPMEM_RDONLY, XPMEM_PERMIT_MODE, NULL);
	ASSERT_LT(0, from.apid);
	part = xpmem_attach(from, 2 * page_size(), NULL);
	ASSERT_NE(MAP_FAILED, part);
	ASSERT_EQ(0, write_pages(self->memory, 1));
	ASSERT_EQ(0, store(self->memory + 4 * page_size(), 44));
	ASSERT_EQ(0, load(NULL, part + page_size(), &got));
	EXPECT_EQ(44, got);
	EXPECT_EQ(-1, mprotect(part, page_size(), PROT_READ | PROT_WRITE));

	/* No more than there is. */
	EXPECT_EQ(MAP_FAILED, xpmem_attach(from, PAGES * page_size(), NULL));
	ASSERT_EQ(0, xpmem_detach(part));
	EXPECT_EQ(-1, xpmem_detach(part));

	part = xpmem_attach(from, page_size(), NULL);
	ASSERT_NE(MAP_FAILED, part);
	ASSERT_EQ(0, load(NULL, part, &got));
	ASSERT_EQ(0, xpmem_release(from.apid));
	EXPECT_EQ(-1, load(NULL, part, &got));
	EXPECT_EQ(-1, xpmem_release(from.apid));
	EXPECT_EQ(MAP_FAILED, xpmem_attach(from, page_size(), NULL));
	munmap(part, page_size());
}

TEST_F(segment, remove)
{
	ASSERT_EQ(0, write_pages(self->memory, 1));
	ASSERT_EQ(0, tell(self->exporter, REMOVE, 0));
	EXPECT_EQ(PAGES, missing(self->memory));
	EXPECT_EQ(MAP_FAILED, import(self->exporter, XPMEM_RDWR));
	EXPECT_EQ(ENOENT, errno);
}

TEST_F(segment, unmap)
{
	struct soft_xpmem_stats stats;

	ASSERT_EQ(0, write_pages(self->memory, 1));
	ASSERT_EQ(0, tell(self->exporter, UNMAP, 0));
	EXPECT_EQ(PAGES, missing(self->memory));
	stats = stats_of(self->exporter);
	EXPECT_NE(0, stats.messages);
	EXPECT_NE(0, stats.answers);
	EXPECT_EQ(0, stats.silent);
}

/* What is private is gone; what is shared is unmapped and comes back. */
TEST_F(segment, discard)
{
	int back = variant->kind == ANON ? 0 : 7;

	ASSERT_EQ(0, write_pages(self->memory, 7));
	ASSERT_EQ(0, tell(self->exporter, DISCARD, 0));
	EXPECT_EQ(PAGES, count(self->memory, back));
	tell(self->exporter, FILL, 8);
	EXPECT_EQ(PAGES, count(self->memory, 8));
}

/* The importer stays with the exporter; what is private the child has a copy of. */
TEST_F(segment, fork)
{
	ASSERT_EQ(0, write_pages(self->memory, 7));
	order(self->exporter, FORK, 0);
	result(self->exporter);
	ASSERT_EQ(0, write_pages(self->memory, 8));
	/* The child looks now, and the exporter ends the order. */
	self->exporter->ordered++;
	EXPECT_EQ(PAGES * (variant->kind == ANON ? 7 : 8), result(self->exporter));
	EXPECT_EQ(PAGES * 8, tell(self->exporter, SUM, 0));
}

TEST_F(segment, exec)
{
	ASSERT_EQ(0, write_pages(self->memory, 7));
	order(self->exporter, EXEC, 0);
	/* Until the old memory goes. */
	while (missing(self->memory) < PAGES)
		usleep(1000);
	EXPECT_EQ(0, kill(self->exporter->pid, 0));
}

TEST_F_TIMEOUT(segment, swap, LONG_TIME)
{
	uint64_t swapped = vm_counter("pswpout");
	struct soft_xpmem_stats stats;

	for (int round = 1; round <= 10; round++) {
		ASSERT_EQ(0, write_pages(self->memory, round));
		ASSERT_EQ(0, tell(self->exporter, PAGEOUT, 0));
		ASSERT_EQ(PAGES, count(self->memory, round));
		ASSERT_EQ(0, tell(self->exporter, PAGEOUT, 0));
		ASSERT_EQ(PAGES * round, tell(self->exporter, SUM, 0));
	}
	stats = stats_of(self->exporter);
	EXPECT_EQ(0, stats.silent);
	TH_LOG("counts: %llu pages mapped, %llu messages, %llu answers, %llu pages out",
	       (unsigned long long)stats.faults, (unsigned long long)stats.messages,
	       (unsigned long long)stats.answers,
	       (unsigned long long)(vm_counter("pswpout") - swapped));
	if (variant->kind != FILESYSTEM && has_swap())
		EXPECT_NE(swapped, vm_counter("pswpout"));
}

FIXTURE(file) {
	struct exporter *exporter;
	char *memory;
};

FIXTURE_VARIANT(file) {
	enum kind kind;
};

FIXTURE_VARIANT_ADD(file, tmpfs) { .kind = TMPFS };
FIXTURE_VARIANT_ADD(file, filesystem) { .kind = FILESYSTEM };

FIXTURE_SETUP(file)
{
	if (access(DEVICE, R_OK | W_OK))
		SKIP(return, "no " DEVICE ": load the module soft_xpmem");
	self->memory = start_pair(variant->kind, &self->exporter);
	ASSERT_NE(MAP_FAILED, self->memory);
}

FIXTURE_TEARDOWN(file)
{
	stop_pair(self->exporter, self->memory);
}

TEST_F(file, truncate)
{
	ASSERT_EQ(0, write_pages(self->memory, 7));
	ASSERT_EQ(0, tell(self->exporter, TRUNCATE, 0));
	EXPECT_EQ(PAGES, missing(self->memory));
	ASSERT_EQ(0, tell(self->exporter, EXTEND, 0));
	EXPECT_EQ(PAGES, count(self->memory, 0));
	EXPECT_EQ(0, write_pages(self->memory, 8));
	EXPECT_EQ(PAGES * 8, tell(self->exporter, SUM, 0));
}

/* Threads that read while the exporter changes the memory in every way. */

/* The context is where the importer has what the exporter has in its arena. */
static int load_imported(void *context, void *address, uint64_t *value)
{
	struct exporter *exporter = ((void **)context)[0];
	char *memory = ((void **)context)[1];

	return load(NULL, memory + ((char *)address - exporter->arena.memory), value);
}

static void run_readers(struct exporter *exporter, struct reader *reader, void **context)
{
	order(exporter, CHURN, 0);
	while (!exporter->arena.published)
		usleep(100);
	for (int i = 0; i < READERS; i++) {
		reader[i] = (struct reader){ .arena = &exporter->arena, .load = load_imported,
					     .context = context, .seed = i + 1 };
		pthread_create(&reader[i].thread, NULL, arena_read, &reader[i]);
	}
}

static void join_readers(struct exporter *exporter, struct reader *reader)
{
	exporter->arena.stop = 1;
	for (int i = 0; i < READERS; i++)
		pthread_join(reader[i].thread, NULL);
}

FIXTURE(pair) {
	struct exporter *exporter;
	char *memory;
	char timeout[16];
};

FIXTURE_SETUP(pair)
{
	if (access(DEVICE, R_OK | W_OK))
		SKIP(return, "no " DEVICE ": load the module soft_xpmem");
	/* Longer than anybody is late on a loaded machine. */
	ASSERT_EQ(0, read_text(TIMEOUT, self->timeout, sizeof(self->timeout)));
	ASSERT_EQ(0, write_text(TIMEOUT, "120000"));
	self->memory = start_pair(ANON, &self->exporter);
	ASSERT_NE(MAP_FAILED, self->memory);
}

FIXTURE_TEARDOWN(pair)
{
	write_text(TIMEOUT, self->timeout);
	stop_pair(self->exporter, self->memory);
}

TEST_F_TIMEOUT(pair, follows_changes, LONG_TIME)
{
	void *context[] = { self->exporter, self->memory };
	struct reader reader[READERS];

	run_readers(self->exporter, reader, context);
	while (self->exporter->arena.published < STEPS)
		usleep(1000);
	join_readers(self->exporter, reader);
	EXPECT_EQ(0, self->exporter->arena.wrong);
	TH_LOG("counts: %llu loads during %llu changes",
	       (unsigned long long)self->exporter->arena.loads,
	       (unsigned long long)self->exporter->arena.published);
}

/* At any moment, while the importer reads: in the end nothing of it stays. */
TEST_F_TIMEOUT(pair, exporter_killed, LONG_TIME)
{
	for (int i = 0; i < 8; i++) {
		struct exporter *exporter = start_exporter(ANON);
		char *memory = import(exporter, XPMEM_RDWR);
		void *context[] = { exporter, memory };
		struct reader reader[READERS];

		ASSERT_NE(MAP_FAILED, memory);
		run_readers(exporter, reader, context);
		usleep(i * 7000);
		kill(exporter->pid, SIGKILL);
		waitpid(exporter->pid, NULL, 0);
		/* Faults that are under way hold the memory a little longer. */
		while (missing(memory) < PAGES)
			usleep(1000);
		join_readers(exporter, reader);
		stop_exporter(exporter);
		ASSERT_EQ(0, xpmem_detach(memory));
	}
}

/* Writes until it is killed; or listens, and never answers. */
static void import_for_ever(struct exporter *exporter, int listens)
{
	char *memory = import(exporter, XPMEM_RDWR);

	if (listens && xpmem_listen())
		_exit(1);
	for (uint64_t value = 1;; value++)
		write_pages(memory, value);
}

TEST_F_TIMEOUT(pair, importer_killed, LONG_TIME)
{
	struct soft_xpmem_stats stats;

	for (int i = 0; i < 8; i++) {
		uint64_t mapped = stats_of(self->exporter).faults;
		pid_t child = fork();

		if (!child)
			import_for_ever(self->exporter, i % 2);
		while (stats_of(self->exporter).faults < mapped + PAGES)
			usleep(1000);
		order(self->exporter, DISCARD, 0);
		usleep(i * 5000);
		kill(child, SIGKILL);
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		/* Nobody is left to wait for. */
		ASSERT_EQ(0, result(self->exporter));
	}
	stats = stats_of(self->exporter);
	EXPECT_EQ(0, stats.silent);
	TH_LOG("counts: %llu messages, %llu answers, %llu given up",
	       (unsigned long long)stats.messages, (unsigned long long)stats.answers,
	       (unsigned long long)stats.silent);
}

/* Each has the other's memory, and both change theirs. */
TEST_F_TIMEOUT(pair, both_ways, LONG_TIME)
{
	struct arena ours = { .size = PAGES * page_size() };
	void *context[] = { self->exporter, self->memory };
	struct reader reader[READERS];
	struct exporter *us;
	pid_t child;
	int status;

	us = mmap(NULL, sizeof(*us), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ours.memory = arena_map(&ours, NULL);
	us->arena = ours;
	us->segid = xpmem_make(ours.memory, ours.size, XPMEM_PERMIT_MODE, MODE);
	ASSERT_LT(0, us->segid);
	child = fork();
	if (!child) {
		char *memory = import(us, XPMEM_RDWR);

		while (memory != MAP_FAILED && us->arena.published < STEPS)
			missing(memory);
		_exit(memory == MAP_FAILED);
	}
	run_readers(self->exporter, reader, context);
	while (us->arena.published < STEPS)
		arena_step(&us->arena);
	join_readers(self->exporter, reader);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, self->exporter->arena.wrong);
	munmap(us->arena.memory, us->arena.size);
}

/*
 * It imports what it exports, in the midst of it: while a message takes one page
 * away, the import of it changes between two pages that others may have.
 */
TEST_F_TIMEOUT(pair, own_memory, LONG_TIME)
{
	char *memory = mmap(NULL, 3 * page_size(), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *last = memory + 2 * page_size(), *middle, *elsewhere;
	struct xpmem_addr from = { };
	xpmem_segid_t segid;

	ASSERT_NE(MAP_FAILED, memory);
	segid = xpmem_make(memory, 3 * page_size(), XPMEM_PERMIT_MODE, MODE);
	ASSERT_LT(0, segid);
	from.apid = xpmem_get(segid, XPMEM_RDWR, XPMEM_PERMIT_MODE, NULL);
	ASSERT_LT(0, from.apid);
	middle = xpmem_attach(from, page_size(), memory + page_size());
	ASSERT_EQ(memory + page_size(), middle);
	from.offset = last - memory;
	elsewhere = xpmem_attach(from, page_size(), NULL);
	ASSERT_NE(MAP_FAILED, elsewhere);

	for (int step = 1; step <= STEPS; step++) {
		ASSERT_EQ(0, store(middle, step));
		ASSERT_EQ(0, store(elsewhere, step));
		EXPECT_EQ(step, get_word(memory));
		EXPECT_EQ(step, get_word(last));
		ASSERT_EQ(0, madvise(memory, page_size(), MADV_DONTNEED));
		EXPECT_EQ(0, get_word(middle));
		EXPECT_EQ(step, get_word(elsewhere));
	}
	EXPECT_EQ(0, xpmem_detach(middle));
	EXPECT_EQ(0, xpmem_detach(elsewhere));
	munmap(memory, 3 * page_size());
}

/* Importers that listen. */

static char state_of(pid_t pid)
{
	char path[64], state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (file) {
		if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
			state = '?';
		fclose(file);
	}
	return state;
}

/* A pair that has nothing to do with the test: export, import, and take away. */
static int others_work(void)
{
	struct exporter *exporter = start_exporter(ANON);
	char *memory = import(exporter, XPMEM_RDWR);
	int failed = memory == MAP_FAILED;

	for (int i = 1; !failed && i <= 20; i++) {
		failed += write_pages(memory, i);
		failed += tell(exporter, DISCARD, 0) != 0;
		failed += count(memory, 0) != PAGES;
	}
	stop_exporter(exporter);
	return failed;
}

/* The exporter waits for the answer, and nobody else does. */
TEST_F_TIMEOUT(pair, late, LONG_TIME)
{
	struct soft_xpmem_message message;
	struct soft_xpmem_stats stats;
	pid_t child;
	int status;

	ASSERT_EQ(0, write_pages(self->memory, 5));
	ASSERT_EQ(0, xpmem_listen());
	order(self->exporter, UNMAP, 0);
	ASSERT_EQ(0, xpmem_next_message(&message));
	EXPECT_EQ(0, message.offset);
	EXPECT_EQ(PAGES * page_size(), message.size);

	child = fork();
	if (!child)
		_exit(others_work());
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	while (state_of(self->exporter->pid) != 'D' &&
	       self->exporter->done != self->exporter->ordered)
		usleep(1000);
	EXPECT_NE(self->exporter->done, self->exporter->ordered)
		TH_LOG("the exporter did not wait");

	ASSERT_EQ(0, xpmem_answer(&message));
	ASSERT_EQ(0, result(self->exporter));
	stats = stats_of(self->exporter);
	EXPECT_EQ(0, stats.silent);
	EXPECT_EQ(1, stats.answers);
	TH_LOG("counts: %llu messages, %llu answers, others went on",
	       (unsigned long long)stats.messages, (unsigned long long)stats.answers);
}

/* It is given up when the time is over, and has no access any more. */
TEST_F_TIMEOUT(pair, never, LONG_TIME)
{
	struct soft_xpmem_stats stats;

	ASSERT_EQ(0, write_pages(self->memory, 5));
	ASSERT_EQ(0, xpmem_listen());
	ASSERT_EQ(0, write_text(TIMEOUT, "200"));
	EXPECT_EQ(0, tell(self->exporter, DISCARD, 0));
	ASSERT_EQ(0, write_text(TIMEOUT, "120000"));
	stats = stats_of(self->exporter);
	EXPECT_EQ(1, stats.silent);
	EXPECT_EQ(PAGES, missing(self->memory));
	/* It does not have to be waited for again. */
	EXPECT_EQ(0, tell(self->exporter, UNMAP, 0));
	stats = stats_of(self->exporter);
	EXPECT_EQ(1, stats.silent);
	TH_LOG("counts: %llu given up", (unsigned long long)stats.silent);
}

/* What exec makes of the exporter. */
static void __attribute__((constructor)) wait_if_told(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--wait"))
		pause();
}

TEST_HARNESS_MAIN
