// SPDX-License-Identifier: GPL-2.0
/*
 * The programs of a list, one after the other. A line of it is
 *
 *	NUMBER <tab> SECONDS <tab> FOLDER <tab> COMMAND
 *
 * What a program prints goes to the third serial port, how it ended to the
 * second. All that it started is gone before the next one starts.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

#define RESULT_PORT	"/dev/ttyS1"
#define OUTPUT_PORT	"/dev/ttyS2"
#define CHILDREN	"/proc/self/task/%d/children"

struct test {
	char *number, *folder, *command;
	unsigned int seconds;
};

static volatile sig_atomic_t late;

static void on_alarm(int number)
{
	(void)number;
	late = 1;
}

static struct test parse(char *line)
{
	struct test test = { .number = strsep(&line, "\t") };
	char *seconds = strsep(&line, "\t");

	test.folder = strsep(&line, "\t");
	test.command = strsep(&line, "\n");
	test.seconds = seconds ? strtoul(seconds, NULL, 10) : 0;
	if (!test.command || !*test.command || !test.seconds)
		fail("a line of the list is not NUMBER SECONDS FOLDER COMMAND");
	return test;
}

static void __attribute__((noreturn)) become(const struct test *test, int output)
{
	int nothing = open("/dev/null", O_RDONLY);

	setsid();
	dup2(nothing, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	if (chdir(test->folder))
		_exit(126);
	execl("/bin/sh", "sh", "-c", test->command, NULL);
	_exit(127);
}

/* What the test left behind has been given to us. */
static void kill_orphans(void)
{
	char path[64], text[4096];
	ssize_t length;
	int fd, status;

	snprintf(path, sizeof(path), CHILDREN, getpid());
	while (waitpid(-1, &status, WNOHANG) >= 0) {
		fd = open(path, O_RDONLY);
		length = read(fd, text, sizeof(text) - 1);
		close(fd);
		text[length > 0 ? length : 0] = '\0';
		for (char *word, *rest = text; (word = strsep(&rest, " "));)
			if (*word)
				kill(atoi(word), SIGKILL);
		usleep(10000);
	}
}

static void run(const struct test *test, int output)
{
	time_t begin = time(NULL);
	int status = 0;
	pid_t child;

	report("progress", "%s %s", test->number, test->command);
	dprintf(output, "\n=== %s begins\n", test->number);
	child = fork();
	if (!child)
		become(test, output);
	if (child < 0)
		fail("fork: %s", strerror(errno));
	late = 0;
	alarm(test->seconds);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR && !late)
		;
	alarm(0);
	if (late)
		kill(-child, SIGKILL);
	kill_orphans();
	dprintf(output, "\n=== %s ends\n", test->number);
	tcdrain(output);
	report(test->number, "%s %d %ld", late ? "late" : WIFSIGNALED(status) ? "signal" : "exit",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
	       (long)(time(NULL) - begin));
}

/* "name:parameter=value:..." */
static void load_module(char *words)
{
	char line[512];

	for (char *c = words; *c; c++)
		if (*c == ':')
			*c = ' ';
	snprintf(line, sizeof(line), "modprobe %s", words);
	if (system(line))
		fail("%s: it did not load", line);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_alarm };
	int output = open(OUTPUT_PORT, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	FILE *list = fopen(argc > 1 ? argv[1] : "/suites/list", "re");
	char line[4096];

	report_open(RESULT_PORT);
	if (output < 0 || !list)
		fail("the list or the port for the output cannot be opened");
	sigaction(SIGALRM, &action, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	setenv("PATH", "/bin:/sbin", 1);
	if (system("/bin/busybox mkdir -p /sbin && /bin/busybox --install -s /bin"))
		fail("busybox could not be installed");
	for (char *modules = argc > 2 ? argv[2] : NULL, *word; (word = strsep(&modules, "+"));)
		load_module(word);
	while (fgets(line, sizeof(line), list)) {
		struct test test = parse(line);

		run(&test, output);
	}
	return 0;
}
