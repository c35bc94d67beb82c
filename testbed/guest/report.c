// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "report.h"

static int report_fd = STDOUT_FILENO;

void (*report_quit)(int status) = _exit;

void report_to(int fd)
{
	report_fd = fd;
}

/* Opens a serial port raw: no echo, no translation of line ends. */
void report_open(const char *tty)
{
	struct termios raw;
	int fd = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", tty, strerror(errno));
		report_quit(1);
	}
	if (!tcgetattr(fd, &raw)) {
		cfmakeraw(&raw);
		tcsetattr(fd, TCSANOW, &raw);
	}
	report_fd = fd;
}

static void write_all(const char *text, size_t left)
{
	while (left) {
		ssize_t done = write(report_fd, text, left);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return;
		text += done;
		left -= done;
	}
}

/* One write per line, so that lines of several processes do not mix. */
static void line(const char *key, const char *format, va_list args)
{
	char text[1024];
	int used = snprintf(text, sizeof(text), "%s ", key);
	int more = vsnprintf(text + used, sizeof(text) - used - 1, format, args);

	used += more;
	if (used > (int)sizeof(text) - 2)
		used = sizeof(text) - 2;
	text[used++] = '\n';
	write_all(text, used);
}

void report(const char *key, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line(key, format, args);
	va_end(args);
}

void report_number(const char *prefix, const char *key, long long value)
{
	char name[256];

	snprintf(name, sizeof(name), "%s.%s", prefix, key);
	report(name, "%lld", value);
}

/* Everything written has left the port when this returns. */
void report_end(void)
{
	if (isatty(report_fd))
		tcdrain(report_fd);
}

void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line("verdict fail", format, args);
	va_end(args);
	report_end();
	report_quit(1);
	_exit(1);
}

void report_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line("error", format, args);
	va_end(args);
	report_end();
	_exit(1);
}

void pass(void)
{
	report("verdict", "pass");
	report_end();
}
