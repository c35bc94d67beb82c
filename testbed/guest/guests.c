// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "counter.h"
#include "fault.h"
#include "file.h"
#include "guests.h"
#include "report.h"
#include "sample.h"

#define MAX_GUESTS 8

struct stream {
	int fd;			/* -1 once closed */
	int used;
	char line[1024];
};

static struct guest {
	int pid;
	int commands;
	int passed;
	time_t heard;
	struct stream results, console;
} guests[MAX_GUESTS];
static int guest_count;
static int console_out = STDERR_FILENO;
static struct counters kvm, notifier, sums;

void guests_console(int fd)
{
	console_out = fd;
}

static int number_of(const struct guest *guest)
{
	return guest - guests;
}

static void make_pipe(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC))
		fail("pipe: %s", strerror(errno));
}

static void run(char *const argv[], int in, int out, int console)
{
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(console, STDERR_FILENO) < 0 || dup2(console, GUEST_CONSOLE_FD) < 0)
		_exit(126);
	if (console == GUEST_CONSOLE_FD)
		fcntl(GUEST_CONSOLE_FD, F_SETFD, 0);
	execv(argv[0], argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

void guest_start(char *const argv[])
{
	int in[2], out[2], console[2];
	struct guest *guest = &guests[guest_count];

	if (guest_count++ == MAX_GUESTS)
		fail("more than %d guests", MAX_GUESTS);
	make_pipe(in);
	make_pipe(out);
	make_pipe(console);
	guest->pid = fork();
	if (guest->pid < 0)
		fail("fork: %s", strerror(errno));
	if (!guest->pid) {
		fault_enter(number_of(guest));
		run(argv, in[0], out[1], console[1]);
	}
	close(in[0]);
	close(out[1]);
	close(console[1]);
	guest->commands = in[1];
	guest->results.fd = out[0];
	guest->console.fd = console[0];
	guest->heard = clock_seconds();
}

/* A guest may name any key: only ours may be called "verdict". */
static void forward(const struct guest *guest, char *line)
{
	char *space = strchr(line, ' ');
	char key[128], *end;
	long long value;

	if (!space)
		return;
	*space++ = '\0';
	if (!strcmp(line, "progress")) {
		report("progress", "guest %d: %s", number_of(guest), space);
		return;
	}
	snprintf(key, sizeof(key), "guest%d.%s", number_of(guest), line);
	report(key, "%s", space);
	value = strtoll(space, &end, 10);
	if (end != space && !*end)
		counter_add(&sums, line, value);
}

static void report_sums(void)
{
	counter_report(&kvm, "kvm");
	counter_report(&notifier, "notifier");
	counter_report(&sums, "sum");
}

static void result_line(struct guest *guest, char *line)
{
	guest->heard = clock_seconds();
	if (strcmp(line, "verdict pass") && strncmp(line, "verdict fail ", 13)) {
		forward(guest, line);
		return;
	}
	kvm_counters(&kvm, guest->pid);
	subscriber_counters(&notifier, guest->pid);
	if (strcmp(line, "verdict pass")) {
		report_sums();
		fail("guest %d: %s", number_of(guest), line + 13);
	}
	if (fault_kills(number_of(guest)))
		fail("guest %d had to be killed and has passed", number_of(guest));
	guest->passed = 1;
	if (write(guest->commands, "go\n", 3) != 3)
		fail("guest %d does not read its input", number_of(guest));
}

static void console_line(struct guest *guest, char *line)
{
	dprintf(console_out, "g%d %s\n", number_of(guest), line);
}

typedef void line_handler(struct guest *guest, char *line);

/* Splits at line ends; a carriage return and what is too long are dropped. */
static void take(struct guest *guest, struct stream *stream, const char *text,
		 int size, line_handler *handle)
{
	for (; size--; text++) {
		if (*text == '\n') {
			stream->line[stream->used] = '\0';
			stream->used = 0;
			handle(guest, stream->line);
		} else if (*text != '\r' && stream->used < (int)sizeof(stream->line) - 1) {
			stream->line[stream->used++] = *text;
		}
	}
}

static void drain(struct guest *guest, struct stream *stream, line_handler *handle)
{
	char text[4096];
	int size = read(stream->fd, text, sizeof(text));

	if (size > 0) {
		take(guest, stream, text, size, handle);
	} else if (size == 0 || errno != EINTR) {
		close(stream->fd);
		stream->fd = -1;
	}
}

static void tell_end(const struct guest *guest, int status)
{
	char key[32];

	snprintf(key, sizeof(key), "guest%d", number_of(guest));
	report_number(key, "pid", guest->pid);
	report_number(key, "signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void reap(struct guest *guest)
{
	int status;

	if (waitpid(guest->pid, &status, 0) != guest->pid)
		fail("waitpid: %s", strerror(errno));
	tell_end(guest, status);
	guest->pid = 0;
	close(guest->commands);
	if (fault_kills(number_of(guest))) {
		fault_killed(number_of(guest), status);
		return;
	}
	if (!guest->passed)
		fail("guest %d ended without a verdict (status 0x%x)", number_of(guest), status);
	if (status)
		fail("guest %d ended with status 0x%x after its verdict",
		     number_of(guest), status);
}

/*
 * What is the silent guest doing? Two readings of its counters tell whether it
 * runs, exits or faults; the kernel's own dump where everybody stands.
 */
static void tell_state(const struct guest *guest)
{
	static const char *const readings[] = { "silent_first", "silent_second" };

	for (size_t i = 0; i < sizeof(readings) / sizeof(*readings); i++) {
		static struct counters now;

		memset(&now, 0, sizeof(now));
		kvm_counters(&now, guest->pid);
		counter_report(&now, readings[i]);
		sleep(2);
	}
	file_write("/proc/sysrq-trigger", "l");
	file_write("/proc/sysrq-trigger", "t");
	sleep(2);
}

static void check_silence(const struct guest *guest, long limit)
{
	if (clock_seconds() - guest->heard <= limit)
		return;
	tell_state(guest);
	fail("guest %d was silent for %ld seconds", number_of(guest), limit);
}

static int alive(const struct guest *guest)
{
	return guest->results.fd >= 0 || guest->console.fd >= 0;
}

static void serve(struct guest *guest, struct pollfd *ready)
{
	if (ready[0].revents)
		drain(guest, &guest->results, result_line);
	if (ready[1].revents)
		drain(guest, &guest->console, console_line);
	if (!alive(guest))
		reap(guest);
}

static int is_column(const char *name, const char *column)
{
	const char *dot = strrchr(name, '.');

	return dot && !strcmp(dot + 1, column);
}

static void take_sample(void)
{
	static const char *const calls[] = { "start", "end", "page", "young" };
	static struct counters now;
	long long sum = 0;

	if (!sample_due())
		return;
	now.count = 0;
	for (int i = 0; i < guest_count; i++)
		if (guests[i].pid)
			subscriber_counters(&now, guests[i].pid);
	for (int i = 0; i < now.count; i++)
		for (size_t c = 0; c < sizeof(calls) / sizeof(*calls); c++)
			if (is_column(now.entry[i].name, calls[c]))
				sum += now.entry[i].value;
	sample_take(counter_get(&sums, "pages_done"), sum);
}

/* Returns how many guests still run. */
static int serve_all(long silence)
{
	struct pollfd ready[2 * MAX_GUESTS];
	int running = 0;

	for (int i = 0; i < guest_count; i++) {
		ready[2 * i] = (struct pollfd){ guests[i].results.fd, POLLIN, 0 };
		ready[2 * i + 1] = (struct pollfd){ guests[i].console.fd, POLLIN, 0 };
	}
	if (poll(ready, 2 * guest_count, 1000) < 0 && errno != EINTR)
		fail("poll: %s", strerror(errno));
	take_sample();
	for (int i = 0; i < guest_count; i++) {
		if (!guests[i].pid)
			continue;
		serve(&guests[i], &ready[2 * i]);
		running += guests[i].pid != 0;
		if (guests[i].pid)
			check_silence(&guests[i], silence);
	}
	return running;
}

void guests_wait(long silence_seconds)
{
	if (!guest_count)
		fail("no guest was started");
	while (serve_all(silence_seconds))
		if (guests[0].pid && !guests[0].passed)
			fault_strike(guests[0].pid);
	fault_report();
	report_sums();
}

void guests_verified(void)
{
	if (!counter_get(&sums, "pages_verified"))
		fail("no guest verified a page");
	if (counter_get(&sums, "mismatches"))
		fail("%lld words differ", counter_get(&sums, "mismatches"));
}
