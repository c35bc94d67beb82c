/* SPDX-License-Identifier: GPL-2.0 */
/* The device of mn_bench.ko; what fails ends the run. */
#ifndef DEVICE_H
#define DEVICE_H

int device_open(void);
void device_ask(int fd, unsigned long command, unsigned long argument);

#endif
