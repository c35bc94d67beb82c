// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "guests.h"
#include "jobs.h"
#include "param.h"
#include "report.h"

#define MAX_ARGS 48

struct args {
	int count;
	char *word[MAX_ARGS];
};

/* printf into the next argument; the list stays NULL terminated. */
static void add(struct args *args, const char *format, ...)
{
	va_list values;

	if (args->count == MAX_ARGS - 1)
		fail("more than %d arguments", MAX_ARGS);
	va_start(values, format);
	if (vasprintf(&args->word[args->count++], format, values) < 0)
		fail("out of memory");
	va_end(values);
}

/* Commas stand for spaces, which the kernel command line cannot carry. */
static const char *spaced(const char *list)
{
	char *text = strdup(list);

	if (!text)
		fail("out of memory");
	for (char *c = text; *c; c++)
		if (*c == ',')
			*c = ' ';
	return text;
}

/* "a,b,c" becomes three arguments. */
static void add_list(struct args *args, const char *list)
{
	char *text = strdupa(list), *word;

	while ((word = strsep(&text, ",")))
		if (*word)
			add(args, "%s", word);
}

static void qemu_arguments(struct args *args)
{
	static const char *const fixed[] = {
		"/qemu/qemu-system-x86_64", "-L", "/qemu/share", "-accel", "kvm",
		"-cpu", "qemu64", "-M", "q35", "-smp", "1", "-nodefaults", "-no-reboot",
		"-display", "none", "-kernel", "/guest/bzImage", "-initrd", "/guest/initrd",
		"-chardev", "file,id=console,path=" GUEST_CONSOLE_PATH,
		"-serial", "chardev:console", "-chardev", "stdio,id=results,signal=off",
		"-serial", "chardev:results",
	};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		add(args, "%s", fixed[i]);
	add_list(args, param("qemu_args", ""));
}

static void linux_guest(void)
{
	long guests = param_number("guests", 1), megabytes = param_number("guest_mb", 300);

	for (long i = 0; i < guests; i++) {
		struct args args = { 0 };

		qemu_arguments(&args);
		add(&args, "-m");
		add(&args, "%ldM", megabytes);
		add(&args, "-append");
		add(&args, "console=ttyS0 panic=-1 loglevel=%s mn.percent=%ld mn.passes=%ld "
		    "mn.seed=%ld mn.mode=%s mn.corrupt=%ld %s",
		    param("guest_loglevel", "5"), param_number("percent", 80),
		    param_number("passes", 2), param_number("seed", 1) + i,
		    param("mode", "anon"), param_number("corrupt", 0),
		    spaced(param("guest_append", "")));
		guest_start(args.word);
	}
	report("guest_mb", "%ld", megabytes * guests);
	guests_wait(param_number("silence", 120));
	guests_verified();
}

static void small_guest(void)
{
	static const char *const options[] = {
		"vcpus", "passes", "seed", "mode", "churn", "corrupt", "file", "give_up",
		"scattered", "subscribers",
	};
	long guests = param_number("guests", 1), megabytes = param_number("guest_mb", 192);

	fault_begin();
	for (long i = 0; i < guests; i++) {
		struct args args = { 0 };

		add(&args, "/small_guest");
		add(&args, "--hold");
		add(&args, "--mb=%ld", megabytes);
		add(&args, "--file_mb=%ld", i * megabytes);
		for (size_t o = 0; o < sizeof(options) / sizeof(*options); o++)
			if (param(options[o], NULL))
				add(&args, "--%s=%s", options[o], param(options[o], ""));
		guest_start(args.word);
	}
	report("guest_mb", "%ld", megabytes * guests);
	guests_wait(param_number("silence", 120));
	guests_verified();
}

/* Not a guest, but watched like one. */
static void mirror(void)
{
	static const char *const options[] = {
		"operations", "broken", "blind", "page_alone", "stop",
	};
	struct args args = { 0 };

	add(&args, "/mirror");
	add(&args, "--seed=%ld", param_number("seed", 1));
	for (size_t o = 0; o < sizeof(options) / sizeof(*options); o++)
		if (param(options[o], NULL))
			add(&args, "--%s=%s", options[o], param(options[o], ""));
	guest_start(args.word);
	guests_wait(param_number("silence", 120));
}

/* The status that waitpid() has of it. */
static int run_program(char *const argv[])
{
	int status, pid = fork();

	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (!pid) {
		execv(argv[0], argv);
		dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid: %s", strerror(errno));
	return status;
}

/* Any program of the initramfs: exec=/path,argument,...; exit 0 passes. */
static void program(void)
{
	struct args args = { 0 };
	int status;

	add_list(&args, param("exec", ""));
	if (!args.count)
		fail("job exec needs mn.exec=/path,argument,...");
	report("progress", "runs %s", spaced(param("exec", "")));
	status = run_program(args.word);
	report("exit_status", "%d", status);
	if (status)
		fail("%s ended with status 0x%x", args.word[0], status);
}

/* The suites ran before this process started; the runner judges the log. */
static void nothing(void)
{
}

static const struct {
	const char *name;
	void (*run)(void);
} jobs[] = {
	{ "linux-guest", linux_guest },
	{ "small-guest", small_guest },
	{ "mirror", mirror },
	{ "exec", program },
	{ "kunit", nothing },
	{ "none", nothing },
};

void job_run(const char *name)
{
	for (size_t i = 0; i < sizeof(jobs) / sizeof(*jobs); i++) {
		if (!strcmp(jobs[i].name, name)) {
			jobs[i].run();
			return;
		}
	}
	fail("job %s is unknown", name);
}
