// SPDX-License-Identifier: GPL-2.0
/*
 * A guest of a few instructions on /dev/kvm: each vCPU fills its part of the
 * memory, then checks every word and writes the next pattern, pass by pass.
 * At the end the memory is checked once more through our own page tables.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "guest_memory.h"
#include "param.h"
#include "report.h"
#include "small_guest.h"
#include "subscribers.h"

#define PAGE 4096u
#define MAX_VCPUS 8
#define SCATTER 7919u
#define SLOTS 8			/* while they change */
#define SLOT_US 30000		/* between two changes: each zaps what the guest has mapped */

static struct {
	long mb, vcpus, passes, seed, corrupt;
	const char *mode, *churn;
	const char *file;	/* mapped from file_mb on */
	long file_mb;
	long give_up;		/* after so many mismatches, each of which is an exit */
	long scattered;		/* so many passes, the last ones, in another order */
	long subscribers;	/* others subscribe to our memory, too */
	int hold;		/* wait for a line before the VM goes away */
} options = { 192, 2, 2, 1, 0, "anon", "none", "", 0, 65536, 1, 0, 0 };

struct vcpu {
	int fd, number;
	pthread_t thread;
	struct kvm_run *run;
	uint32_t start, pages;
	uint32_t left;		/* of a pass, when last told; under step_lock */
	long pages_verified, exits, emulated, interrupted, mismatches;
};

static struct vcpu vcpus[MAX_VCPUS];
static pthread_barrier_t together;
static pthread_mutex_t step_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t step_made = PTHREAD_COND_INITIALIZER;
static int kvm_fd, vm_fd;
static long run_size;
static atomic_int churn_stop;
static long churn_calls;

static uint32_t key_of_pass(long pass)
{
	uint32_t x = options.seed * 2654435761u + pass * 40503u + 1;

	x ^= x >> 16;
	return x * 0x85ebca6b;
}

static uint32_t factor(void)
{
	return strcmp(options.mode, "ksm") ? SG_MULTIPLIER : 0;
}

static uint32_t *block_of(const struct vcpu *vcpu)
{
	return (uint32_t *)(memory + SG_BLOCKS + vcpu->number * SG_BLOCK_SIZE);
}

int checked(int result, const char *what)
{
	if (result < 0)
		fail("%s: %s", what, strerror(errno));
	return result;
}

static int churns(const char *what)
{
	return !strcmp(options.churn, what);
}

static void create_vm(void)
{
	kvm_fd = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	if (ioctl(kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		fail("unexpected KVM API version");
	vm_fd = checked(ioctl(kvm_fd, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	run_size = checked(ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	memory_allocate(options.mode, (size_t)options.mb << 20, options.file,
			(size_t)options.file_mb << 20);
	slots_create(vm_fd, churns("slots") ? SLOTS : 1);
	sg_prepare_memory(memory);
}

/* The parts are equal, but for the last vCPU, which takes the remainder. */
static void share_out(struct vcpu *vcpu)
{
	uint32_t pages = (options.mb << 20) / PAGE - SG_DATA / PAGE;
	uint32_t each = pages / options.vcpus;

	vcpu->start = SG_DATA + vcpu->number * each * PAGE;
	vcpu->pages = vcpu->number == options.vcpus - 1 ? pages - vcpu->number * each : each;
}

static void create_vcpu(int number)
{
	struct vcpu *vcpu = &vcpus[number];

	vcpu->number = number;
	vcpu->fd = checked(ioctl(vm_fd, KVM_CREATE_VCPU, number), "KVM_CREATE_VCPU");
	vcpu->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		fail("mmap of the vCPU: %s", strerror(errno));
	sg_prepare_vcpu(vm_fd, vcpu->fd, number);
	share_out(vcpu);
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
	return b ? common_divisor(b, a % b) : a;
}

/*
 * A scattered pass visits each page once, too, and no two in the same order: how much
 * memory a page has to itself is then not all or nothing, as it is when LRU lists meet
 * a circle.
 */
static uint32_t stride_of_pass(const struct vcpu *vcpu, long pass)
{
	long later = options.passes - pass;
	uint32_t step = SCATTER * (later + 1) + later * later;

	if (later >= options.scattered)
		return PAGE;
	while (common_divisor(step, vcpu->pages) != 1)
		step++;
	return step % vcpu->pages * PAGE;
}

static int is_ahead(const struct vcpu *vcpu)
{
	for (int i = 0; i < options.vcpus; i++)
		if (vcpus[i].left > vcpu->left + SG_PROGRESS_PAGES)
			return 1;
	return 0;
}

/*
 * The vCPUs begin a pass together and none runs ahead: the pages of one that does are
 * all used within a short time, and how much is swapped would be a matter of chance.
 */
static void keep_step(struct vcpu *vcpu)
{
	pthread_mutex_lock(&step_lock);
	vcpu->left = block_of(vcpu)[SG_LEFT / 4];
	pthread_cond_broadcast(&step_made);
	while (is_ahead(vcpu))
		pthread_cond_wait(&step_made, &step_lock);
	pthread_mutex_unlock(&step_lock);
}

static void begin_pass(struct vcpu *vcpu, long pass)
{
	uint32_t *block = block_of(vcpu);

	block[SG_OLD_KEY / 4] = key_of_pass(pass - 1);
	block[SG_NEW_KEY / 4] = key_of_pass(pass);
	block[SG_START / 4] = vcpu->start;
	block[SG_END / 4] = vcpu->start + vcpu->pages * PAGE;
	block[SG_STRIDE / 4] = stride_of_pass(vcpu, pass);
	block[SG_LEFT / 4] = vcpu->pages;
	block[SG_FACTOR / 4] = factor();
	keep_step(vcpu);
	sg_enter(vcpu->fd, vcpu->run, pass ? sg_entry_verify : sg_entry_fill);
}

static long report_sums(void)
{
	struct vcpu sum = { 0 };

	for (int i = 0; i < options.vcpus; i++) {
		sum.pages += vcpus[i].pages;
		sum.pages_verified += vcpus[i].pages_verified;
		sum.mismatches += vcpus[i].mismatches;
		sum.exits += vcpus[i].exits;
		sum.emulated += vcpus[i].emulated;
		sum.interrupted += vcpus[i].interrupted;
	}
	report("pages", "%u", sum.pages);
	report("pages_verified", "%ld", sum.pages_verified);
	report("mismatches", "%ld", sum.mismatches);
	report("exits", "%ld", sum.exits);
	report("interrupted", "%ld", sum.interrupted);
	report("churn_calls", "%ld", churn_calls);
	report("accesses_without_slot", "%ld", sum.emulated);
	memory_report();
	return sum.mismatches;
}

static void report_mismatch(struct vcpu *vcpu)
{
	if (!vcpu->mismatches++) {
		struct sg_mismatch at = sg_mismatch(vcpu->fd);

		report("first_mismatch", "vcpu %d address 0x%llx expected 0x%08x found 0x%08x",
		       vcpu->number, (unsigned long long)at.address, at.expected, at.found);
	}
	if (vcpu->mismatches > options.give_up) {
		report_sums();
		fail("vcpu %d: too many words differ to go on", vcpu->number);
	}
}

static int progress_due(void)
{
	static _Atomic time_t last;
	time_t now = clock_seconds();

	if (now < last + 2)
		return 0;
	last = now;
	return 1;
}

static void progress(const struct vcpu *vcpu, long pass)
{
	if (progress_due())
		report("progress", "vcpu %d, pass %ld of %ld, %u pages left", vcpu->number, pass,
		       options.passes, block_of(vcpu)[SG_LEFT / 4]);
}

/* Returns 1 when the guest says that the pass is done. */
static int handle_exit(struct vcpu *vcpu, long pass)
{
	switch (sg_said(vcpu->run)) {
	case SG_DONE:
		keep_step(vcpu);
		return 1;
	case SG_PROGRESS:
		progress(vcpu, pass);
		keep_step(vcpu);
		return 0;
	case SG_MISMATCH:
		report_mismatch(vcpu);
		return 0;
	}
	if (slots_access(vcpu->run)) {
		vcpu->emulated++;
		return 0;
	}
	fail("vcpu %d: unexpected exit %u (suberror %u) at 0x%llx", vcpu->number,
	     vcpu->run->exit_reason, vcpu->run->internal.suberror,
	     (unsigned long long)sg_pc(vcpu->fd));
}

static void run_pass(struct vcpu *vcpu, long pass)
{
	for (;;) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			if (errno != EINTR && errno != EAGAIN)
				fail("vcpu %d: KVM_RUN: %s", vcpu->number, strerror(errno));
			vcpu->interrupted++;
			continue;
		}
		vcpu->exits++;
		if (handle_exit(vcpu, pass))
			break;
	}
	/* The count that the guest itself kept is what proves the pass. */
	if (block_of(vcpu)[SG_LEFT / 4])
		fail("vcpu %d stopped with %u pages left", vcpu->number,
		     block_of(vcpu)[SG_LEFT / 4]);
	if (pass)
		vcpu->pages_verified += vcpu->pages;
}

static void corrupt_one_word(const struct vcpu *vcpu)
{
	*(uint32_t *)(memory + vcpu->start + vcpu->pages / 2 * PAGE + 20) ^= 1;
}

static void *vcpu_thread(void *argument)
{
	struct vcpu *vcpu = argument;

	for (long pass = 0; pass <= options.passes; pass++) {
		pthread_barrier_wait(&together);
		begin_pass(vcpu, pass);
		run_pass(vcpu, pass);
		if (!pass)
			memory_filled(vcpu->start, (size_t)vcpu->pages * PAGE);
		if (options.corrupt == pass + 1)
			corrupt_one_word(vcpu);
	}
	return NULL;
}

/* Through our page tables: what the guest wrote is what the process sees. */
static void verify_from_host(struct vcpu *vcpu)
{
	uint32_t key = key_of_pass(options.passes);

	for (uint32_t page = 0; page < vcpu->pages; page++) {
		uint32_t address = vcpu->start + page * PAGE;
		const uint32_t *at = (uint32_t *)(memory + address);

		if (!(page % SG_PROGRESS_PAGES) && progress_due())
			report("progress", "vcpu %d, read by the host, %u pages left",
			       vcpu->number, vcpu->pages - page);
		for (uint32_t i = 0; i < PAGE / 4; i++) {
			uint32_t expected = (address * factor() ^ key) + i / (SG_RUN_BYTES / 4);

			if (at[i] != expected && !vcpu->mismatches++)
				report("first_mismatch", "host at 0x%x expected 0x%08x "
				       "found 0x%08x", address + i * 4, expected, at[i]);
		}
	}
	vcpu->pages_verified += vcpu->pages;
}

/* Takes pages away from the running guest, here and there. */
static void page_out(unsigned int *random)
{
	size_t size = (size_t)options.mb << 20, step = 64 * PAGE;
	size_t at = (rand_r(random) % (size / step)) * step;

	if (madvise(memory + at, step, MADV_PAGEOUT) && errno != EAGAIN)
		fail("MADV_PAGEOUT: %s", strerror(errno));
}

static void *churn_thread(void *argument)
{
	unsigned int random = options.seed;

	(void)argument;
	for (; !churn_stop; churn_calls++) {
		if (churns("pageout")) {
			page_out(&random);
		} else {
			slots_change(&random);
			usleep(SLOT_US);
		}
	}
	return NULL;
}

static void run_vcpus(void)
{
	if (pthread_barrier_init(&together, NULL, options.vcpus))
		fail("a barrier cannot be made");
	for (int i = 0; i < options.vcpus; i++)
		if (pthread_create(&vcpus[i].thread, NULL, vcpu_thread, &vcpus[i]))
			fail("a thread cannot be created");
	for (int i = 0; i < options.vcpus; i++)
		pthread_join(vcpus[i].thread, NULL);
}

static void run_guest(void)
{
	pthread_t thread;
	int churn = !churns("none");

	if (churn && !churns("pageout") && !churns("slots"))
		fail("churn %s is unknown", options.churn);
	if (churn && pthread_create(&thread, NULL, churn_thread, NULL))
		fail("a thread cannot be created");
	if (options.subscribers)
		subscribers_start(memory + SG_DATA, ((size_t)options.mb << 20) - SG_DATA,
				  options.seed);
	run_vcpus();
	churn_stop = 1;
	if (churn)
		pthread_join(thread, NULL);
	if (options.subscribers && subscribers_stop())
		fail("a subscriber read something else than the process has there");
	for (int i = 0; i < options.vcpus; i++)
		verify_from_host(&vcpus[i]);
}

static const struct {
	const char *name;
	long *number;
	const char **text;
} known[] = {
	{ "mb", &options.mb, NULL },
	{ "vcpus", &options.vcpus, NULL },
	{ "passes", &options.passes, NULL },
	{ "seed", &options.seed, NULL },
	{ "corrupt", &options.corrupt, NULL },	/* pass before which a bit is flipped */
	{ "subscribers", &options.subscribers, NULL },	/* 1: the samples, see subscribers.h */
	{ "mode", NULL, &options.mode },	/* anon, thp, shmem, ksm, file */
	{ "give_up", &options.give_up, NULL },
	{ "scattered", &options.scattered, NULL },
	{ "file", NULL, &options.file },
	{ "file_mb", &options.file_mb, NULL },
	{ "churn", NULL, &options.churn },	/* none, pageout, slots */
};

/* "--name=value" */
static void parse_one(char *argument)
{
	char *value = strchr(argument, '=');

	if (strncmp(argument, "--", 2) || !value)
		fail("argument %s is not --name=value", argument);
	*value++ = '\0';
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (strcmp(known[i].name, argument + 2))
			continue;
		if (known[i].number)
			*known[i].number = argument_number(value);
		else
			*known[i].text = value;
		return;
	}
	fail("option %s is unknown", argument);
}

static void parse(char **arguments)
{
	for (; *arguments; arguments++) {
		if (!strcmp(*arguments, "--hold"))
			options.hold = 1;
		else
			parse_one(*arguments);
	}
	if (options.mb < 2 || options.mb > 2048 || options.vcpus < 1 ||
	    options.vcpus > MAX_VCPUS || options.passes < 1)
		fail("2 to 2048 MB, 1 to %d vCPUs and at least one pass", MAX_VCPUS);
}

int main(int argc, char **argv)
{
	char line[8];

	(void)argc;
	parse(argv + 1);
	create_vm();
	for (int i = 0; i < options.vcpus; i++)
		create_vcpu(i);
	run_guest();
	if (report_sums())
		fail("words differ");
	pass();
	/* The VM and its counters stay until the caller has read them. */
	if (options.hold && read(STDIN_FILENO, line, sizeof(line)) <= 0)
		return 1;
	return 0;
}
