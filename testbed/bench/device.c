// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>

#include "cost.h"
#include "device.h"

int device_open(void)
{
	return checked(open("/dev/mn_bench", O_RDWR | O_CLOEXEC), "/dev/mn_bench");
}

void device_ask(int fd, unsigned long command, unsigned long argument)
{
	checked(ioctl(fd, command, argument), "the ioctl of mn_bench");
}
