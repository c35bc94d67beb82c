/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guests: child processes that speak "key value" lines on one pipe. After its
 * verdict a guest waits for a line from us, so that its VM still exists while
 * its counters are read.
 */
#ifndef MN_GUESTS_H
#define MN_GUESTS_H

/* argv is NULL terminated; the child's console is read from console_fd 3. */
#define GUEST_CONSOLE_FD 3
#define GUEST_CONSOLE_PATH "/proc/self/fd/3"

/* console: where the lines of the guests' consoles go. */
void guests_console(int fd);
void guest_start(char *const argv[]);
/* Returns when every guest has passed; fails on the first that does not. */
void guests_wait(long silence_seconds);
/* Fails unless they verified their memory. */
void guests_verified(void);

#endif
