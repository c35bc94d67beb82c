/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The way of user space into the kernel, for the KUnit suites of the MMU
 * notifiers: system calls, files of proc and sysfs, and processes.
 */
#ifndef _MMU_NOTIFIER_KUNIT_SYS_H
#define _MMU_NOTIFIER_KUNIT_SYS_H

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/syscalls.h>

#include <asm/unistd.h>

struct file;
struct kunit;

/* A system call of the test's thread, in whose mm pointers are looked up. */
#ifdef CONFIG_ARCH_HAS_SYSCALL_WRAPPER
long mnk_syscall(unsigned int nr, const unsigned long *args);

#define mnk_sys(name, ...)						\
	mnk_syscall(__NR_##name, (const unsigned long [6]) { __VA_ARGS__ })
#else
#define mnk_sys(name, ...)	sys_##name(__VA_ARGS__)
#endif

struct file *mnk_fd(struct kunit *test, long fd);
struct file *mnk_open(struct kunit *test, const char *fs, const char *path,
		      int flags);
void mnk_set(struct kunit *test, const char *path, const char *value);
unsigned long mnk_user(struct kunit *test, const void *data, size_t len);
void mnk_write_user(struct kunit *test, struct file *file, const char *text);
long mnk_ioctl(struct kunit *test, struct file *file, unsigned int cmd,
	       void *arg);

/* Waits until @condition holds; that it never does is a failure. */
#define mnk_wait_for(test, condition)					\
do {									\
	unsigned long __limit = jiffies + MNK_TIMEOUT;			\
									\
	while (!(condition)) {						\
		KUNIT_ASSERT_TRUE_MSG(test, time_before(jiffies, __limit), \
				      "never: %s", #condition);		\
		fsleep(1000);						\
	}								\
} while (0)

/**
 * struct mnk_process - a process that does nothing until the test ends
 * @task: its only thread, referenced
 * @mm: its memory, held by mm_count
 * @started: it is killed by what kills a process
 * @leave: it may go
 * @done: and does not touch this any more
 */
struct mnk_process {
	struct task_struct *task;
	struct mm_struct *mm;
	struct completion started;
	struct completion leave;
	struct completion done;
};

struct mnk_process *mnk_share(struct kunit *test);
struct mnk_process *mnk_fork(struct kunit *test);
void mnk_end(struct kunit *test, struct mnk_process *process);
struct file *mnk_open_proc(struct kunit *test, struct mnk_process *process,
			   const char *name, int flags);

#endif /* _MMU_NOTIFIER_KUNIT_SYS_H */
