// SPDX-License-Identifier: GPL-2.0
/*
 * The way of user space into the kernel, for the KUnit suites of the MMU
 * notifiers; see the header.
 */

#include <linux/file.h>
#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <asm/syscall.h>

#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

KUNIT_DEFINE_ACTION_WRAPPER(mnk_fput, fput, struct file *);
KUNIT_DEFINE_ACTION_WRAPPER(mnk_umount, kern_unmount, struct vfsmount *);

/* System calls. */

#ifdef CONFIG_ARCH_HAS_SYSCALL_WRAPPER
long mnk_syscall(unsigned int nr, const unsigned long *args)
{
	long (*call)(const struct pt_regs *regs) = (void *)sys_call_table[nr];
	struct pt_regs regs = {};

	syscall_set_arguments(current, &regs, args);
	return call(&regs);
}
#endif

/* Files. */

static struct file *hold_file(struct kunit *test, struct file *file)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, mnk_fput, file));
	return file;
}

/* Takes the file out of the table of descriptors, which all kthreads share. */
struct file *mnk_fd(struct kunit *test, long fd)
{
	KUNIT_ASSERT_GE(test, fd, 0);
	return hold_file(test, file_close_fd(fd));
}

/* A file of a file system that needs no device; nobody has to have mounted it. */
struct file *mnk_open(struct kunit *test, const char *fs, const char *path,
		      int flags)
{
	struct file_system_type *type = get_fs_type(fs);
	struct vfsmount *mnt;

	KUNIT_ASSERT_NOT_NULL(test, type);
	mnt = kern_mount(type);
	put_filesystem(type);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mnt);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, mnk_umount, mnt));
	return hold_file(test, file_open_root_mnt(mnt, path, flags, 0));
}

/* One page that no test is about: shared memory merges with no other mapping. */
unsigned long mnk_user(struct kunit *test, const void *data, size_t len)
{
	unsigned long addr = mnk_map(test, mnk_file(test, PAGE_SIZE), PAGE_SIZE,
				     MAP_SHARED);

	KUNIT_ASSERT_LE(test, len, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, copy_to_user((void __user *)addr, data, len));
	return addr;
}

void mnk_write_user(struct kunit *test, struct file *file, const char *text)
{
	size_t len = strlen(text);
	unsigned long addr = mnk_user(test, text, len);
	loff_t pos = 0;

	KUNIT_ASSERT_EQ(test, len, vfs_write(file, (char __user *)addr, len,
					     &pos));
}

/* @arg is copied to user space and back. */
long mnk_ioctl(struct kunit *test, struct file *file, unsigned int cmd,
	       void *arg)
{
	unsigned long addr = mnk_user(test, arg, _IOC_SIZE(cmd));
	long ret = file->f_op->unlocked_ioctl(file, cmd, addr);

	KUNIT_ASSERT_EQ(test, 0, copy_from_user(arg, (void __user *)addr,
						_IOC_SIZE(cmd)));
	return ret;
}

/* Settings. */

struct setting {
	struct file *file;
	char old[32];
};

static void restore_setting(void *data)
{
	struct setting *s = data;
	loff_t pos = 0;

	kernel_write(s->file, s->old, strlen(s->old), &pos);
}

/* Writes @value to a file of sysfs, which has the old one back in the end. */
void mnk_set(struct kunit *test, const char *path, const char *value)
{
	struct setting *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	ssize_t len = strlen(value);
	loff_t pos = 0;

	KUNIT_ASSERT_NOT_NULL(test, s);
	s->file = mnk_open(test, "sysfs", path, O_RDWR);
	KUNIT_ASSERT_GT(test, kernel_read(s->file, s->old, sizeof(s->old) - 1,
					  &pos), 0);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, restore_setting, s));
	pos = 0;
	KUNIT_ASSERT_EQ(test, len, kernel_write(s->file, value, len, &pos));
}

/* Processes. */

static int process_fn(void *data)
{
	struct mnk_process *process = data;
	/* Its own, until it exits. */
	struct sighand_struct *sighand = rcu_dereference_protected(current->sighand, true);

	/* A kthread, which it comes from, ignores what kills others. */
	spin_lock_irq(&sighand->siglock);
	flush_signal_handlers(current, 1);
	spin_unlock_irq(&sighand->siglock);
	complete(&process->started);

	wait_for_completion(&process->leave);
	complete(&process->done);
	do_exit(0);
}

static void process_end(void *data)
{
	struct mnk_process *process = data;

	complete(&process->leave);
	wait_for_completion(&process->done);
	put_task_struct(process->task);
	mmdrop(process->mm);
}

/* Nobody waits for it: its parent is that of all kthreads, who ignores SIGCHLD. */
static struct mnk_process *process_start(struct kunit *test, u64 flags)
{
	struct mnk_process *process = kunit_kzalloc(test, sizeof(*process),
						    GFP_KERNEL);
	struct kernel_clone_args args = {
		.flags = flags | CLONE_FS | CLONE_FILES | CLONE_PARENT |
			 CLONE_UNTRACED,
		.exit_signal = SIGCHLD,
		.fn = process_fn,
		.fn_arg = process,
	};
	pid_t pid;

	KUNIT_ASSERT_NOT_NULL(test, process);
	KUNIT_ASSERT_EQ(test, 0, kunit_attach_mm());
	init_completion(&process->started);
	init_completion(&process->leave);
	init_completion(&process->done);
	pid = kernel_clone(&args);
	KUNIT_ASSERT_GT(test, pid, 0);
	/* It stays until it is told to leave. */
	process->task = find_get_task_by_vpid(pid);
	process->mm = process->task->mm;
	mmgrab(process->mm);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, process_end,
							   process));
	wait_for_completion(&process->started);
	return process;
}

/* In the mm of the test, which as that of a kthread has no files in proc. */
struct mnk_process *mnk_share(struct kunit *test)
{
	return process_start(test, CLONE_VM);
}

/* With a copy of it. */
struct mnk_process *mnk_fork(struct kunit *test)
{
	return process_start(test, 0);
}

void mnk_end(struct kunit *test, struct mnk_process *process)
{
	kunit_release_action(test, process_end, process);
}

struct file *mnk_open_proc(struct kunit *test, struct mnk_process *process,
			   const char *name, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "%d/%s", task_pid_nr(process->task), name);
	return mnk_open(test, "proc", path, flags);
}
