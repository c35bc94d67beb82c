// SPDX-License-Identifier: GPL-2.0
/*
 * Which hook is taken out, and which are reached. Sites are numbers of SITE_BITS
 * bits that hooks.py gives. In debugfs, directory mutant:
 *
 * site		the hook that is taken out; 0: none
 * passed	how often it was to be called since it was chosen
 * reached	the sites that were reached since this file was written to
 */
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/mutant.h>
#include <linux/seq_file.h>

#define SITE_BITS	24

static u64 taken_out;
static atomic64_t passed;
static DECLARE_BITMAP(reached, 1 << SITE_BITS);

bool mutant_taken_out(unsigned int site)
{
	if (!test_bit(site, reached))
		set_bit(site, reached);
	if (READ_ONCE(taken_out) != site)
		return false;
	atomic64_inc(&passed);
	return true;
}
EXPORT_SYMBOL_GPL(mutant_taken_out);

static int site_set(void *data, u64 site)
{
	WRITE_ONCE(taken_out, 0);
	atomic64_set(&passed, 0);
	WRITE_ONCE(taken_out, site);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(site_fops, NULL, site_set, "%llu\n");

static int passed_get(void *data, u64 *count)
{
	*count = atomic64_read(&passed);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(passed_fops, passed_get, NULL, "%llu\n");

static int reached_show(struct seq_file *file, void *data)
{
	unsigned long site;

	for_each_set_bit(site, reached, 1 << SITE_BITS)
		seq_printf(file, "%06lx\n", site);
	return 0;
}

static int reached_open(struct inode *inode, struct file *file)
{
	return single_open(file, reached_show, NULL);
}

static ssize_t reached_write(struct file *file, const char __user *buf,
			     size_t count, loff_t *pos)
{
	bitmap_zero(reached, 1 << SITE_BITS);
	return count;
}

static const struct file_operations reached_fops = {
	.owner = THIS_MODULE,
	.open = reached_open,
	.read = seq_read,
	.write = reached_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int __init mutant_init(void)
{
	struct dentry *dir = debugfs_create_dir("mutant", NULL);

	debugfs_create_file_unsafe("site", 0200, dir, NULL, &site_fops);
	debugfs_create_file_unsafe("passed", 0400, dir, NULL, &passed_fops);
	debugfs_create_file("reached", 0600, dir, NULL, &reached_fops);
	return 0;
}
late_initcall(mutant_init);
