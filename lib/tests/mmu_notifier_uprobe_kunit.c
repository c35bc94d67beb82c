// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the MMU notifiers: breakpoints come into pages of programs,
 * and go.
 */

#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/swap.h>
#include <linux/uprobes.h>

#include "mmu_notifier_kunit.h"

#define NR_INSNS	2

/* Does nothing, wherever it is. */
#if defined(CONFIG_X86)
static const u8 nop[] = { 0x90 };
#elif defined(CONFIG_ARM64)
static const u8 nop[] = { 0x1f, 0x20, 0x03, 0xd5 };
#else
static const u8 nop[] = { };
#endif

/**
 * struct probes - breakpoints in a page of a program
 * @inode: the program
 * @uprobe: NULL if there is none, by number of the instruction
 * @consumer: of all
 */
struct probes {
	struct inode *inode;
	struct uprobe *uprobe[NR_INSNS];
	struct uprobe_consumer consumer[NR_INSNS];
};

static int handler(struct uprobe_consumer *self, struct pt_regs *regs, __u64 *data)
{
	return 0;
}

static void insert(struct kunit *test, struct probes *p, int insn)
{
	struct uprobe *uprobe;

	p->consumer[insn].handler = handler;
	uprobe = uprobe_register(p->inode, insn * sizeof(nop), 0,
				 &p->consumer[insn]);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, uprobe);
	p->uprobe[insn] = uprobe;
}

static void take_out(struct probes *p, int insn)
{
	if (!p->uprobe[insn])
		return;
	uprobe_unregister_nosync(p->uprobe[insn], &p->consumer[insn]);
	uprobe_unregister_sync();
	p->uprobe[insn] = NULL;
}

static void take_out_all(void *data)
{
	int i;

	for (i = 0; i < NR_INSNS; i++)
		take_out(data, i);
}

static struct file *program(struct kunit *test)
{
	struct file *file = mnk_file(test, PAGE_SIZE);
	loff_t pos = 0;
	int i;

	if (!sizeof(nop))
		kunit_skip(test, "no instruction known");
	for (i = 0; i < NR_INSNS; i++)
		KUNIT_ASSERT_EQ(test, sizeof(nop),
				kernel_write(file, nop, sizeof(nop), &pos));
	return file;
}

/* A program of one page, of which the process has no copy yet. */
static struct mnk_pair *load(struct kunit *test, struct probes **probes)
{
	struct probes *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);
	struct file *file = program(test);
	unsigned long addr;

	KUNIT_ASSERT_NOT_NULL(test, p);
	p->inode = file_inode(file);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, take_out_all, p));
	addr = kunit_vm_mmap(test, file, 0, PAGE_SIZE, PROT_READ | PROT_EXEC,
			     MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_LT(test, addr, TASK_SIZE);
	*probes = p;
	return mnk_watch_pair(test, addr, PAGE_SIZE);
}

static void expect_page(struct kunit *test, struct mnk_pair *p,
			enum mnk_entry after)
{
	mnk_pair_expect_page(test, p, p->addr, 1, MMU_NOTIFY_CLEAR);
	KUNIT_EXPECT_EQ(test, mnk_view(p->page)->entry[MNK_PAGE], MNK_ABSENT);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_START],
			MNK_READONLY);
	KUNIT_EXPECT_EQ(test, mnk_view(p->range)->entry[MNK_END], after);
}

/* The page of the file is mapped: the process gets a copy to put it in. */
static void insert_test(struct kunit *test)
{
	struct probes *probes;
	struct mnk_pair *p = load(test, &probes);

	mnk_read(test, p->addr);
	insert(test, probes, 0);
	expect_page(test, p, MNK_READONLY);
}

/* Into a copy that is there already: the page stays, and stays mapped. */
static void insert_second_test(struct kunit *test)
{
	struct probes *probes;
	struct mnk_pair *p = load(test, &probes);

	insert(test, probes, 0);
	mnk_pair_expect_silence(test, p);
	insert(test, probes, 1);
	mnk_pair_expect_silence(test, p);
}

/*
 * While there is another breakpoint in it, the copy goes back to where it was.
 * Then it is no different from the file any more, and is dropped.
 */
static void remove_test(struct kunit *test)
{
	struct probes *probes;
	struct mnk_pair *p = load(test, &probes);
	int i;

	for (i = 0; i < NR_INSNS; i++)
		insert(test, probes, i);
	for (i = 0; i < NR_INSNS; i++) {
		/* A page that waits to be put on a list is kept. */
		lru_add_drain_all();
		mnk_pair_reset(p);
		take_out(probes, i);
		expect_page(test, p, i == NR_INSNS - 1 ? MNK_ABSENT :
							 MNK_READONLY);
	}
}

static struct kunit_case uprobe_cases[] = {
	KUNIT_CASE(insert_test),
	KUNIT_CASE(insert_second_test),
	KUNIT_CASE(remove_test),
	{ }
};

static struct kunit_suite uprobe_suite = {
	.name = "mmu_notifier_uprobe",
	.test_cases = uprobe_cases,
};

kunit_test_suite(uprobe_suite);
