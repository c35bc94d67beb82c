// SPDX-License-Identifier: GPL-2.0
/* PID 1 of the machine under test: one job, one verdict, power off. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "counter.h"
#include "fault.h"
#include "file.h"
#include "guests.h"
#include "jobs.h"
#include "param.h"
#include "report.h"
#include "swap.h"
#include "trace.h"

#define RESULT_PORT "/dev/ttyS1"
#define GUEST_CONSOLE_PORT "/dev/ttyS2"

static const struct {
	const char *type, *target;
} mounts[] = {
	{ "devtmpfs", "/dev" },
	{ "proc", "/proc" },
	{ "sysfs", "/sys" },
	{ "debugfs", "/sys/kernel/debug" },
	{ "tracefs", "/sys/kernel/tracing" },
	{ "cgroup2", "/sys/fs/cgroup" },
	{ "tmpfs", "/tmp" },
};

/* mn.restart=1: a kernel without ACPI cannot power off, and to restart ends the emulator too. */
static void __attribute__((noreturn)) power_off(int status)
{
	(void)status;
	sync();
	reboot(param_number("restart", 0) ? RB_AUTOBOOT : RB_POWER_OFF);
	for (;;)
		pause();
}

static const char *failed_mount;
static int mount_error;

/* Problems are kept: until /dev is there, there is nowhere to report them. */
static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		mkdir(mounts[i].target, 0755);
		if (mount(mounts[i].type, mounts[i].target, mounts[i].type, 0, NULL) &&
		    !failed_mount) {
			failed_mount = mounts[i].type;
			mount_error = errno;
		}
	}
}

static void open_ports(void)
{
	int console = open(GUEST_CONSOLE_PORT, O_RDWR | O_NOCTTY | O_CLOEXEC);

	report_open(RESULT_PORT);
	if (failed_mount)
		fail("mounting %s: %s", failed_mount, strerror(mount_error));
	if (console >= 0)
		guests_console(console);
}

/* mn.write=/path:value,...: settings below /sys and /proc. */
static void write_settings(const char *list)
{
	char *text = strdup(list), *rest = text, *word;

	while ((word = strsep(&rest, ","))) {
		char *value = strchr(word, ':');

		if (!*word)
			continue;
		if (!value)
			fail("mn.write needs path:value, not %s", word);
		*value++ = '\0';
		if (file_write(word, value))
			fail("writing %s to %s: %s", value, word, strerror(errno));
	}
	free(text);
}

/* mn.modules=/path.ko,...: in this order; the files go, they fill the host's memory. */
static void load_modules(const char *list)
{
	char *text = strdup(list), *rest = text, *word;

	while ((word = strsep(&rest, ","))) {
		int fd;

		if (!*word)
			continue;
		fd = open(word, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			fail("loading %s: %s", word, strerror(errno));
		close(fd);
		unlink(word);
	}
	free(text);
}

/* mn.read=/directory: its numbers when the job has ended. */
static void read_directory(const char *dir)
{
	static struct counters found;

	if (!*dir)
		return;
	directory_counters(&found, dir);
	if (!found.count)
		fail("%s has no file with a number", dir);
	counter_report(&found, "read");
}

int main(void)
{
	report_quit = power_off;
	mount_all();
	open_ports();
	param_load();
	report("host_kb", "%ld", meminfo_kb("MemTotal:"));
	load_modules(param("modules", ""));
	write_settings(param("write", ""));
	swap_start(param("swap", "zram"), fault_swap_mb(param_number("swap_mb", 1024)));
	trace_events(param("trace", ""));
	trace_functions(param("probe", ""));
	vmstat_begin();
	time_begin();
	report("progress", "job %s starts", param("job", "none"));
	job_run(param("job", "none"));
	time_report();
	vmstat_report("vmstat");
	trace_report();
	read_directory(param("read", ""));
	pass();
	power_off(0);
}
