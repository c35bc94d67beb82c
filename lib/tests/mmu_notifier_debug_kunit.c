// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: what debugfs and the log tell of them. The
 * files are read and written as a user does.
 */

#include <linux/fs.h>
#include <linux/kmsg_dump.h>
#include <linux/ktime.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"

#define ENABLED		"mmu_notifier/enabled"
#define SUBSCRIBERS	"mmu_notifier/subscribers"
#define SLOW		"module/mmu_notifier/parameters/slow_us"

/* More than any callback takes, in us. */
#define NEVER		"4000000000"

#define MAX_COLUMNS	24
#define MAX_TEXT	(PAGE_SIZE - 1)

/* The files. */

static char *read_file(struct kunit *test, const char *path)
{
	struct file *file = mnk_open(test, "debugfs", path, O_RDONLY);
	char *text = kunit_kzalloc(test, MAX_TEXT + 1, GFP_KERNEL);
	unsigned long addr = mnk_user(test, "", 1);
	loff_t pos = 0;
	ssize_t len;

	KUNIT_ASSERT_NOT_NULL(test, text);
	do {
		len = vfs_read(file, (char __user *)addr + pos, MAX_TEXT - pos,
			       &pos);
	} while (len > 0);
	KUNIT_ASSERT_EQ(test, 0, len);
	KUNIT_ASSERT_EQ(test, 0, copy_from_user(text, (char __user *)addr,
						pos));
	return text;
}

static ssize_t try_write(struct kunit *test, const char *path, const char *text)
{
	struct file *file = mnk_open(test, "debugfs", path, O_WRONLY);
	unsigned long addr = mnk_user(test, text, strlen(text));
	loff_t pos = 0;

	return vfs_write(file, (char __user *)addr, strlen(text), &pos);
}

static void write_file(struct kunit *test, const char *path, const char *text)
{
	KUNIT_ASSERT_EQ(test, strlen(text), try_write(test, path, text));
}

static void disable(void *test)
{
	write_file(test, ENABLED, "0");
}

static void enable(struct kunit *test)
{
	write_file(test, ENABLED, "1");
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, disable, test));
}

static void reset(struct kunit *test)
{
	write_file(test, SUBSCRIBERS, "0");
}

/* Splits @line at spaces, in place. */
static int split(char *line, char **columns)
{
	char *column;
	int nr = 0;

	while (nr < MAX_COLUMNS && (column = strsep(&line, " ")))
		if (*column)
			columns[nr++] = column;
	return nr;
}

/* The line of @subscriber, by column; NULL if there is none. */
static char **find_line(struct kunit *test, char *text, const char *subscriber)
{
	char **columns = kunit_kcalloc(test, MAX_COLUMNS, sizeof(*columns),
				       GFP_KERNEL);
	char *line;

	KUNIT_ASSERT_NOT_NULL(test, columns);
	while ((line = strsep(&text, "\n")))
		if (split(line, columns) > 1 && !strcmp(columns[1], subscriber))
			return columns;
	return NULL;
}

/* What the column @name says of @subscriber; the header tells where that is. */
static char *look(struct kunit *test, const char *subscriber, const char *name)
{
	char **header = find_line(test, read_file(test, SUBSCRIBERS),
				  "subscriber");
	char **line = find_line(test, read_file(test, SUBSCRIBERS), subscriber);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, header);
	KUNIT_ASSERT_NOT_NULL_MSG(test, line, "no line of %s", subscriber);
	for (i = 0; header[i] && strcmp(header[i], name); i++)
		;
	KUNIT_ASSERT_NOT_NULL_MSG(test, header[i], "no column %s", name);
	KUNIT_ASSERT_NOT_NULL(test, line[i]);
	return line[i];
}

static void expect(struct kunit *test, const char *subscriber,
		   const char *column, unsigned int want)
{
	unsigned int have;

	KUNIT_ASSERT_EQ(test, 0, kstrtouint(look(test, subscriber, column), 10,
					    &have));
	KUNIT_EXPECT_EQ_MSG(test, have, want, "%s of %s", column, subscriber);
}

static void expect_absent(struct kunit *test, const char *subscriber)
{
	KUNIT_EXPECT_NULL(test, find_line(test, read_file(test, SUBSCRIBERS),
					  subscriber));
}

/* Symbols are names where all of them are known. */
static int debug_init(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_KALLSYMS_ALL))
		kunit_skip(test, "no names of data");
	return kunit_attach_mm();
}

/* Who is subscribed. */

static void subscribed_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	unsigned int pid;

	expect_absent(test, "mnk_page_ops");
	mnk_subscribe(test, mm, &mnk_page_ops);
	mnk_subscribe(test, mm, &mnk_range_ops);
	mnk_subscribe(test, mm, &mnk_page_ops);

	expect(test, "mnk_page_ops", "subscribed", 2);
	expect(test, "mnk_range_ops", "subscribed", 1);
	KUNIT_ASSERT_EQ(test, 0, kstrtouint(look(test, "mnk_page_ops", "pid"),
					    10, &pid));
	KUNIT_EXPECT_EQ(test, pid, task_tgid_nr(current));
	KUNIT_EXPECT_STREQ(test, look(test, "mnk_page_ops", "comm"),
			   current->group_leader->comm);
}

/* Off the file with the subscription, whatever was counted. */
static void leave_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_page_ops);
	struct mnk_sub *other = mnk_subscribe(test, mm, &mnk_page_ops);

	enable(test);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	mnk_unsubscribe(test, sub);
	expect(test, "mnk_page_ops", "subscribed", 1);
	expect(test, "mnk_page_ops", "start", 2);
	mnk_unsubscribe(test, other);
	expect_absent(test, "mnk_page_ops");
}

/* The file takes an mm that exits no longer than it takes to read it. */
static void exit_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	int count;

	mmgrab(mm);
	enable(test);
	expect(test, "mnk_range_ops", "subscribed", 1);
	mnk_mm_exit(test, mm);
	expect_absent(test, "mnk_range_ops");
	mnk_unsubscribe(test, sub);
	count = atomic_read(&mm->mm_count);
	mmdrop(mm);
	KUNIT_EXPECT_EQ(test, count, 1);
}

/* Counts. */

static void off_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);

	mnk_subscribe(test, mm, &mnk_page_ops);
	KUNIT_EXPECT_STREQ(test, read_file(test, ENABLED), "0\n");
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	expect(test, "mnk_page_ops", "start", 0);

	enable(test);
	KUNIT_EXPECT_STREQ(test, read_file(test, ENABLED), "1\n");
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	disable(test);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	expect(test, "mnk_page_ops", "start", 1);
	expect(test, "mnk_page_ops", "end", 1);
	KUNIT_EXPECT_EQ(test, -EINVAL, try_write(test, ENABLED, "2"));
}

static void page(struct mm_struct *mm)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);

	mmu_notifier_folio_start(&section, MMU_NOTIFY_CLEAR, mm, MNK_ADDR(0),
				 MNK_ADDR(1));
	mmu_notifier_invalidate_page(&section, MNK_ADDR(0), 1);
}

static void expect_kinds(struct kunit *test, const char *subscriber,
			 unsigned int start, unsigned int end,
			 unsigned int page, unsigned int young,
			 unsigned int flush)
{
	expect(test, subscriber, "start", start);
	expect(test, subscriber, "end", end);
	expect(test, subscriber, "page", page);
	expect(test, subscriber, "young", young);
	expect(test, subscriber, "flush", flush);
	expect(test, subscriber, "release", 0);
	expect(test, subscriber, "interval", 0);
	expect(test, subscriber, "finish", 0);
	expect(test, subscriber, "refused", 0);
}

static void kinds_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);

	mnk_subscribe(test, mm, &mnk_page_ops);
	mnk_subscribe(test, mm, &mnk_range_ops);
	mnk_subscribe(test, mm, &mnk_arch_ops);
	enable(test);

	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	page(mm);
	mmu_notifier_clear_young(mm, MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_clear_flush_young(mm, MNK_ADDR(0), MNK_ADDR(1));
	mmu_notifier_test_young(mm, MNK_ADDR(0));
	mmu_notifier_arch_invalidate_secondary_tlbs(mm, MNK_ADDR(0),
						    MNK_ADDR(1));

	expect_kinds(test, "mnk_page_ops", 2, 2, 1, 3, 0);
	expect_kinds(test, "mnk_range_ops", 3, 3, 0, 3, 0);
	expect_kinds(test, "mnk_arch_ops", 0, 0, 0, 0, 1);
}

/* One call where the subscriber takes many pages, one for each if it does not. */
static void young_pages_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	const unsigned long addresses[] = { MNK_ADDR(0), MNK_ADDR(2) };
	unsigned long young = 0, pages = 0x7;

	mnk_subscribe(test, mm, &mnk_young_ops);
	mnk_subscribe(test, mm, &mnk_page_ops);
	enable(test);

	mmu_notifier_test_young_pages(mm, MNK_ADDR(0), 4, &young);
	mmu_notifier_clear_young_pages(mm, MNK_ADDR(0), 4, &pages);
	mmu_notifier_clear_young_list(mm, addresses, ARRAY_SIZE(addresses));
	expect(test, "mnk_young_ops", "young", 3);
	expect(test, "mnk_page_ops", "young", 4 + 3 + 2);
}

/* Counts of a process are its own; a line is of all who share the table. */
static void two_mms_test(struct kunit *test)
{
	struct mm_struct *a = mnk_mm(test), *b = mnk_mm(test);
	struct mnk_sub *range = mnk_subscribe(test, b, &mnk_range_ops);

	mnk_subscribe(test, a, &mnk_page_ops);
	mnk_subscribe(test, b, &mnk_range_ops);
	enable(test);
	mnk_section(a, MNK_ADDR(0), MNK_ADDR(1));
	mnk_unsubscribe(test, range);
	expect(test, "mnk_page_ops", "start", 1);
	expect(test, "mnk_page_ops", "release", 0);
	expect(test, "mnk_range_ops", "start", 0);
	expect(test, "mnk_range_ops", "release", 1);
}

static int try_section(struct mm_struct *mm)
{
	DEFINE_MMU_NOTIFIER_SECTION(section);

	return mmu_notifier_invalidate_range_start_nonblock(&section,
							    MMU_NOTIFY_CLEAR, mm,
							    MNK_ADDR(0),
							    MNK_ADDR(1));
}

/* The younger one agrees and hears the end, the older one refuses. */
static void refused_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);

	mnk_subscribe(test, mm, &mnk_page_ops);
	sub->start_ret = -EAGAIN;
	enable(test);
	KUNIT_EXPECT_EQ(test, -EAGAIN, try_section(mm));
	KUNIT_EXPECT_EQ(test, -EAGAIN, try_section(mm));
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));

	expect(test, "mnk_range_ops", "start", 3);
	expect(test, "mnk_range_ops", "end", 1);
	expect(test, "mnk_range_ops", "refused", 2);
	expect(test, "mnk_page_ops", "start", 3);
	expect(test, "mnk_page_ops", "end", 3);
	expect(test, "mnk_page_ops", "refused", 0);
}

/* Counts begin anew, who is subscribed stays. */
static void reset_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);

	mnk_subscribe(test, mm, &mnk_page_ops);
	enable(test);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	KUNIT_EXPECT_EQ(test, -EINVAL, try_write(test, SUBSCRIBERS, "1"));
	expect(test, "mnk_page_ops", "start", 1);
	reset(test);
	expect(test, "mnk_page_ops", "subscribed", 1);
	expect(test, "mnk_page_ops", "start", 0);
	expect(test, "mnk_page_ops", "total_us", 0);
	KUNIT_EXPECT_STREQ(test, look(test, "mnk_page_ops", "longest_in"), "-");
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	expect(test, "mnk_page_ops", "start", 1);
}

/* A callback that is stopped: reader and reset do not wait for it. */
static void running_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_range_ops);
	struct mnk_gate *gate = mnk_gate_arm(test, sub, MNK_START);
	struct mnk_thread *thread;

	enable(test);
	thread = mnk_thread_run(test, mnk_section_thread, mm);
	mnk_gate_wait(test, gate);
	expect(test, "mnk_range_ops", "start", 0);
	reset(test);
	mnk_gate_open(gate);
	mnk_thread_join(test, thread);
	expect(test, "mnk_range_ops", "start", 1);
	expect(test, "mnk_range_ops", "end", 1);
}

/* Intervals. */

struct interval {
	struct mmu_interval_notifier mni;
	struct mmu_interval_notifier_finish finish;
	bool refuses;
};

static struct interval *to_interval(struct mmu_interval_notifier *mni)
{
	return container_of(mni, struct interval, mni);
}

static bool debug_once(struct mmu_interval_notifier *mni,
		       const struct mmu_notifier_range *range,
		       unsigned long seq)
{
	return mmu_notifier_range_blockable(range) || !to_interval(mni)->refuses;
}

static bool debug_first(struct mmu_interval_notifier *mni,
			const struct mmu_notifier_range *range,
			unsigned long seq,
			struct mmu_interval_notifier_finish **finish)
{
	*finish = &to_interval(mni)->finish;
	return true;
}

static void debug_second(struct mmu_interval_notifier_finish *finish)
{
}

static const struct mmu_interval_notifier_ops debug_once_ops = {
	.invalidate = debug_once,
};

static const struct mmu_interval_notifier_ops debug_twice_ops = {
	.invalidate_start = debug_first,
	.invalidate_finish = debug_second,
};

static void remove_interval(void *mni)
{
	mmu_interval_notifier_remove(mni);
}

static struct interval *insert(struct kunit *test, struct mm_struct *mm,
			       const struct mmu_interval_notifier_ops *ops)
{
	struct interval *itv = kunit_kzalloc(test, sizeof(*itv), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, itv);
	KUNIT_ASSERT_EQ(test, 0,
			mmu_interval_notifier_insert(&itv->mni, mm, MNK_ADDR(0),
						     PAGE_SIZE, ops));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, remove_interval,
						  &itv->mni));
	return itv;
}

static void intervals_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct interval *once = insert(test, mm, &debug_once_ops);
	struct interval *twice;

	insert(test, mm, &debug_once_ops);
	expect(test, "debug_once_ops", "subscribed", 2);
	enable(test);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	mnk_section(mm, MNK_ADDR(1), MNK_ADDR(2));
	expect(test, "debug_once_ops", "interval", 2);

	once->refuses = true;
	KUNIT_EXPECT_EQ(test, -EAGAIN, try_section(mm));
	expect(test, "debug_once_ops", "refused", 1);
	once->refuses = false;

	reset(test);
	twice = insert(test, mm, &debug_twice_ops);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	expect(test, "debug_once_ops", "interval", 2);
	expect(test, "debug_once_ops", "finish", 0);
	expect(test, "debug_twice_ops", "interval", 1);
	expect(test, "debug_twice_ops", "finish", 1);

	kunit_release_action(test, remove_interval, &once->mni);
	expect(test, "debug_once_ops", "subscribed", 1);
	kunit_release_action(test, remove_interval, &twice->mni);
	expect_absent(test, "debug_twice_ops");
}

/* Time. */

/* Longer than the 2 us that the test calls slow. */
static void dawdle(struct mnk_sub *sub, const struct mnk_call *call)
{
	u64 since = ktime_get_ns();

	while (call->kind == MNK_START &&
	       ktime_get_ns() - since <= 2 * NSEC_PER_USEC)
		cpu_relax();
}

/* Has the log got @text, in lines behind the first with @after? */
static bool logged(struct kunit *test, const char *after, const char *text)
{
	char *line = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct kmsg_dump_iter iter = {};
	bool begun = false;
	size_t len;

	KUNIT_ASSERT_NOT_NULL(test, line);
	kmsg_dump_rewind(&iter);
	while (kmsg_dump_get_line(&iter, true, line, PAGE_SIZE - 1, &len)) {
		line[len] = '\0';
		if (begun && strstr(line, text))
			return true;
		begun |= !!strstr(line, after);
	}
	KUNIT_EXPECT_TRUE(test, begun);
	return false;
}

static void slow_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_page_ops);
	const char *mark = "slow callbacks are counted";
	unsigned int total;
	char want[100];

	snprintf(want, sizeof(want),
		 " us in start (mm of %s/%d, [%#lx, %#lx), clear)",
		 current->group_leader->comm, task_tgid_nr(current),
		 MNK_ADDR(0), MNK_ADDR(1));
	sub->hook = dawdle;
	enable(test);
	mnk_set(test, SLOW, NEVER);
	kunit_info(test, "%s\n", mark);
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	expect(test, "mnk_page_ops", "slow", 0);
	KUNIT_EXPECT_FALSE(test, logged(test, mark, "mmu_notifier: mnk_start"));

	reset(test);
	mnk_set(test, SLOW, "2");
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	KUNIT_EXPECT_TRUE(test, logged(test, mark,
				       "mmu_notifier: mnk_start took "));
	KUNIT_EXPECT_TRUE(test, logged(test, mark, want));
	KUNIT_ASSERT_EQ(test, 0, kstrtouint(look(test, "mnk_page_ops", "slow"),
					    10, &total));
	KUNIT_EXPECT_GE(test, total, 1);
	KUNIT_ASSERT_EQ(test, 0, kstrtouint(look(test, "mnk_page_ops",
						 "longest_us"), 10, &total));
	KUNIT_EXPECT_GE(test, total, 2);
	KUNIT_ASSERT_EQ(test, 0, kstrtouint(look(test, "mnk_page_ops",
						 "total_us"), 10, &total));
	KUNIT_EXPECT_GE(test, total, 2);
}

/* The log alone counts nothing, and 0 takes it back. */
static void slow_only_test(struct kunit *test)
{
	struct mm_struct *mm = mnk_mm(test);
	struct mnk_sub *sub = mnk_subscribe(test, mm, &mnk_page_ops);
	const char *mark = "slow callbacks are not counted";

	sub->hook = dawdle;
	kunit_info(test, "%s\n", mark);
	mnk_set(test, SLOW, "2");
	mnk_set(test, SLOW, "0");
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	KUNIT_EXPECT_FALSE(test, logged(test, mark, "mmu_notifier: mnk_start"));
	mnk_set(test, SLOW, "2");
	mnk_section(mm, MNK_ADDR(0), MNK_ADDR(1));
	KUNIT_EXPECT_TRUE(test, logged(test, mark, "mmu_notifier: mnk_start"));
	expect(test, "mnk_page_ops", "start", 0);
	expect(test, "mnk_page_ops", "slow", 0);
}

static struct kunit_case mmu_notifier_debug_cases[] = {
	KUNIT_CASE(subscribed_test),
	KUNIT_CASE(leave_test),
	KUNIT_CASE(exit_test),
	KUNIT_CASE(off_test),
	KUNIT_CASE(kinds_test),
	KUNIT_CASE(young_pages_test),
	KUNIT_CASE(two_mms_test),
	KUNIT_CASE(refused_test),
	KUNIT_CASE(reset_test),
	KUNIT_CASE(running_test),
	KUNIT_CASE(intervals_test),
	KUNIT_CASE(slow_test),
	KUNIT_CASE(slow_only_test),
	{}
};

static struct kunit_suite mmu_notifier_debug_suite = {
	.name = "mmu_notifier_debug",
	.init = debug_init,
	.test_cases = mmu_notifier_debug_cases,
};

kunit_test_suite(mmu_notifier_debug_suite);
