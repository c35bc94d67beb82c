// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/swap.h>
#include <unistd.h>

#include "file.h"
#include "report.h"
#include "swap.h"

#define PAGE 4096u
#define HEADER_VERSION 1024	/* offset of version, last page, bad pages */

static void write_header(const char *device, long megabytes)
{
	static unsigned char page[PAGE];
	uint64_t bytes = 0;
	uint32_t header[3] = { 1, 0, 0 };
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes))
		fail("swap device %s: %s", device, strerror(errno));
	if (bytes > (uint64_t)megabytes << 20)
		bytes = (uint64_t)megabytes << 20;
	header[1] = bytes / PAGE - 1;
	memcpy(page + HEADER_VERSION, header, sizeof(header));
	memcpy(page + PAGE - 10, "SWAPSPACE2", 10);
	if (pwrite(fd, page, PAGE, 0) != PAGE || fsync(fd))
		fail("writing the swap header of %s: %s", device, strerror(errno));
	close(fd);
}

static void create_zram(long megabytes)
{
	char size[32];

	snprintf(size, sizeof(size), "%ldM", megabytes);
	if (file_write("/sys/block/zram0/disksize", size))
		fail("zram of %ld MB: %s", megabytes, strerror(errno));
}

/*
 * zram stores pages while memory is short: keep a reserve that reclaim
 * refills early, or its allocations fail and say so in the log.
 */
static void keep_reserve(void)
{
	char kilobytes[32];

	snprintf(kilobytes, sizeof(kilobytes), "%ld", meminfo_kb("MemTotal:") / 20);
	if (file_write("/proc/sys/vm/min_free_kbytes", kilobytes) ||
	    file_write("/proc/sys/vm/watermark_scale_factor", "200"))
		fail("the memory reserve cannot be set: %s", strerror(errno));
}

void swap_start(const char *kind, long megabytes)
{
	const char *device = "/dev/vda";

	if (!strcmp(kind, "none"))
		return;
	if (!strcmp(kind, "zram")) {
		device = "/dev/zram0";
		create_zram(megabytes);
		keep_reserve();
	} else if (strcmp(kind, "disk")) {
		fail("swap kind %s is unknown", kind);
	}
	write_header(device, megabytes);
	if (swapon(device, 0))
		fail("swapon %s: %s", device, strerror(errno));
	report("swap_total_kb", "%ld", meminfo_kb("SwapTotal:"));
}
