// SPDX-License-Identifier: GPL-2.0
/*
 * User memory for the KUnit suites of the MMU notifiers: mappings in the mm of
 * the test's thread, and subscribers that look at the page tables.
 */

#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/mman.h>
#include <linux/pagewalk.h>
#include <linux/shmem_fs.h>
#include <linux/uaccess.h>

#include "../../mm/internal.h"
#include "mmu_notifier_kunit.h"

KUNIT_DEFINE_ACTION_WRAPPER(mnk_fput, fput, struct file *);

/*
 * Whatever the policy of the machine is, khugepaged leaves the memory alone until
 * a test advises MADV_HUGEPAGE. Children inherit that.
 */
unsigned long mnk_map(struct kunit *test, struct file *file, unsigned long len,
		      unsigned long flags)
{
	unsigned long addr;

	addr = kunit_vm_mmap(test, file, 0, len, PROT_READ | PROT_WRITE,
			     flags, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_LT(test, addr, TASK_SIZE);
	mm_flags_set(MMF_DISABLE_THP_EXCEPT_ADVISED, current->mm);
	return addr;
}

unsigned long mnk_map_anon(struct kunit *test, unsigned long len)
{
	return mnk_map(test, NULL, len, MAP_PRIVATE | MAP_ANONYMOUS);
}

/*
 * Aligned memory of @nr huge pages, each mapped by one entry. The advice for
 * them is taken back when they are there: what a test splits, khugepaged would
 * put together again.
 */
unsigned long mnk_map_huge(struct kunit *test, unsigned int nr)
{
	unsigned long addr = mnk_map_anon(test, (nr + 1) * PMD_SIZE);
	unsigned int i;
	pmd_t *pmd;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		kunit_skip(test, "no huge pages");

	addr = ALIGN(addr, PMD_SIZE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, nr * PMD_SIZE,
					    MADV_HUGEPAGE));
	for (i = 0; i < nr; i++) {
		mnk_write(test, addr + i * PMD_SIZE);
		pmd = mm_find_pmd(current->mm, addr + i * PMD_SIZE);
		KUNIT_ASSERT_NOT_NULL(test, pmd);
		KUNIT_ASSERT_TRUE(test, pmd_trans_huge(pmdp_get_lockless(pmd)));
	}
	KUNIT_ASSERT_EQ(test, 0, do_madvise(current->mm, addr, nr * PMD_SIZE,
					    MADV_NOHUGEPAGE));
	return addr;
}

/*
 * Addresses where nothing is mapped, and no table is. What is mapped next may
 * come there.
 */
unsigned long mnk_hole(struct kunit *test, unsigned long len,
		       unsigned long align)
{
	unsigned long addr = mnk_map(test, NULL, len + 2 * align, MAP_PRIVATE |
				     MAP_ANONYMOUS | MAP_NORESERVE);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, len + 2 * align));
	return ALIGN(addr, align);
}

static struct file *hold_file(struct kunit *test, struct file *file)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, mnk_fput, file));
	return file;
}

struct file *mnk_file(struct kunit *test, unsigned long len)
{
	return hold_file(test, shmem_kernel_file_setup("mnk", len,
						       EMPTY_VMA_FLAGS));
}

#ifdef CONFIG_HUGETLB_PAGE

static void restore_overcommit(void *pages)
{
	default_hstate.nr_overcommit_huge_pages = (unsigned long)pages;
}

/* As long as one likes, with room for @nr_huge pages of the usual size. */
struct file *mnk_hugetlb_file(struct kunit *test, unsigned long len,
			      unsigned long nr_huge)
{
	unsigned long pages;

	if (!hugepages_supported())
		kunit_skip(test, "no huge pages");

	pages = default_hstate.nr_overcommit_huge_pages;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, restore_overcommit,
						  (void *)pages));
	/* Those of earlier tests may not be free yet. */
	default_hstate.nr_overcommit_huge_pages =
		pages + READ_ONCE(default_hstate.surplus_huge_pages) + nr_huge;
	return hold_file(test, hugetlb_file_setup("mnk", len,
						  mk_vma_flags(VMA_NORESERVE_BIT),
						  HUGETLB_ANONHUGE_INODE, 0));
}

#else

struct file *mnk_hugetlb_file(struct kunit *test, unsigned long len,
			      unsigned long nr_huge)
{
	kunit_skip(test, "no hugetlb pages");
}

#endif

void mnk_read(struct kunit *test, unsigned long addr)
{
	char c;

	KUNIT_ASSERT_EQ(test, 0, copy_from_user(&c, (void __user *)addr, 1));
}

void mnk_write(struct kunit *test, unsigned long addr)
{
	KUNIT_ASSERT_EQ(test, 0, put_user(1, (char __user *)addr));
}

struct vm_area_struct *mnk_vma(struct kunit *test, unsigned long addr)
{
	struct vm_area_struct *vma;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_NOT_NULL(test, vma);
	return vma;
}

/* The folio that is mapped at @addr, locked and referenced. */
struct folio *mnk_lock_folio(struct kunit *test, unsigned long addr)
{
	struct vm_area_struct *vma = mnk_vma(test, addr);
	struct folio_walk walk;
	struct folio *folio;

	mmap_read_lock(current->mm);
	folio = folio_walk_start(&walk, vma, addr, 0);
	if (folio) {
		folio_get(folio);
		folio_walk_end(&walk, vma);
	}
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_NOT_NULL(test, folio);
	/* Pages that wait to be put on the LRU have an extra reference. */
	lru_add_drain();
	folio_lock(folio);
	return folio;
}

void mnk_unlock_folio(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

/* The page tables. */

static enum mnk_entry entry_of(bool present, bool writable)
{
	if (!present)
		return MNK_ABSENT;
	return writable ? MNK_WRITABLE : MNK_READONLY;
}

/* On one CPU without debugging, spinlocks have no state to tell from. */
static bool is_locked(spinlock_t *lock)
{
	if (!spin_trylock(lock))
		return true;
	spin_unlock(lock);
	return false;
}

void mnk_expect_locked(struct kunit *test, struct mnk_sub *sub,
		       enum mnk_kind kind, bool locked)
{
	if (IS_ENABLED(CONFIG_SMP) || IS_ENABLED(CONFIG_DEBUG_SPINLOCK))
		KUNIT_EXPECT_EQ(test, mnk_view(sub)->locked[kind], locked);
}

static enum mnk_entry look_at_pte(struct mm_struct *mm, pmd_t *pmd,
				  unsigned long addr, bool *locked)
{
	spinlock_t *ptl;	/* of the table */
	pte_t *ptep, pte;

	ptep = pte_offset_map_ro_nolock(mm, pmd, addr, &ptl);
	if (!ptep)
		return MNK_ABSENT;
	pte = ptep_get(ptep);
	*locked = is_locked(ptl);
	pte_unmap(ptep);
	return entry_of(pte_present(pte), pte_write(pte));
}

/*
 * How @addr is mapped. Callers keep the page tables from being freed. @locked
 * tells whether somebody holds the lock of the entry.
 */
enum mnk_entry mnk_look(struct mm_struct *mm, unsigned long addr, bool *locked)
{
	pmd_t *pmd = mm_find_pmd(mm, addr), pmdval;

	*locked = false;
	if (!pmd)
		return MNK_ABSENT;
	pmdval = pmdp_get_lockless(pmd);
	*locked = is_locked(pmd_lockptr(mm, pmd));
	if (pmd_none(pmdval) || !pmd_present(pmdval))
		return MNK_ABSENT;
	if (pmd_leaf(pmdval))
		return entry_of(true, pmd_write(pmdval));
	return look_at_pte(mm, pmd, addr, locked);
}

/*
 * Wherever a page call comes, it comes under the lock, and no entry grants what
 * is taken away.
 */
static void check_page_call(struct mnk_sub *sub, const struct mnk_call *call)
{
	bool locked;
	enum mnk_entry entry = mnk_look(sub->mn.mm, call->start, &locked);

	if (entry == MNK_WRITABLE ||
	    (entry == MNK_READONLY && call->event == MMU_NOTIFY_CLEAR))
		atomic_inc(&sub->violations);
	if (!locked && (IS_ENABLED(CONFIG_SMP) || IS_ENABLED(CONFIG_DEBUG_SPINLOCK)))
		atomic_inc(&sub->violations);
}

/* Somebody else drops it soon, khugepaged for one; who has called us does not. */
static bool stays_locked(struct mnk_sub *sub, unsigned long addr)
{
	bool locked = true;
	int looks;

	for (looks = 0; locked && looks < 10000; looks++) {
		cpu_relax();
		mnk_look(sub->mn.mm, addr, &locked);
	}
	return locked;
}

/* Remembers for each kind of callback what the entry looked like then. */
static void look_in_callback(struct mnk_sub *sub, const struct mnk_call *call)
{
	struct mnk_view *view = sub->data;
	bool locked;

	if (call->kind > MNK_PAGE_BATCHED)
		return;
	if (call->kind == MNK_PAGE || call->kind == MNK_PAGE_BATCHED)
		check_page_call(sub, call);
	view->entry[call->kind] = mnk_look(sub->mn.mm, view->addr, &locked);
	/* Sections are not called under it. */
	if (locked && call->kind <= MNK_END)
		locked = stays_locked(sub, view->addr);
	view->locked[call->kind] = locked;
}

struct mnk_sub *mnk_watch(struct kunit *test, unsigned long addr,
			  const struct mmu_notifier_ops *ops)
{
	struct mnk_view *view = kunit_kzalloc(test, sizeof(*view), GFP_KERNEL);
	struct mnk_sub *sub;

	KUNIT_ASSERT_NOT_NULL(test, view);
	view->addr = addr;
	sub = mnk_alloc(test, ops);
	sub->hook = look_in_callback;
	sub->data = view;
	KUNIT_ASSERT_EQ(test, 0, mnk_register(test, sub, current->mm));
	return sub;
}

struct mnk_view *mnk_view(struct mnk_sub *sub)
{
	return sub->data;
}

/* Pairs. */

struct mnk_pair *mnk_watch_pair(struct kunit *test, unsigned long addr,
				unsigned long len)
{
	struct mnk_pair *pair = kunit_kzalloc(test, sizeof(*pair), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, pair);
	pair->addr = addr;
	pair->end = addr + len;
	pair->page = mnk_watch(test, addr, &mnk_page_ops);
	pair->range = mnk_watch(test, addr, &mnk_range_ops);
	return pair;
}

/* Forget what was recorded. */
void mnk_pair_reset(struct mnk_pair *pair)
{
	pair->page->nr = 0;
	pair->range->nr = 0;
}

void mnk_pair_expect_silence(struct kunit *test, struct mnk_pair *pair)
{
	mnk_expect_silence(test, pair->page);
	mnk_expect_silence(test, pair->range);
}

/* One section, with no lock of the page table held. */
static void expect_section(struct kunit *test, struct mnk_sub *sub,
			   unsigned long start, unsigned long end,
			   enum mmu_notifier_event event)
{
	MNK_EXPECT(test, sub, CALL_START(start, end, event),
		   CALL_END(start, end, event));
	mnk_expect_locked(test, sub, MNK_START, false);
	mnk_expect_locked(test, sub, MNK_END, false);
}

/* One range for everybody. */
void mnk_pair_expect_range(struct kunit *test, struct mnk_pair *pair,
			   unsigned long start, unsigned long end,
			   enum mmu_notifier_event event)
{
	expect_section(test, pair->page, start, end, event);
	expect_section(test, pair->range, start, end, event);
}

/*
 * One page call, under the page table lock, for those who take them, and none
 * of the sections; a section around it, outside of the lock, for the others.
 */
void mnk_pair_expect_page(struct kunit *test, struct mnk_pair *pair,
			  unsigned long addr, unsigned long nr_pages,
			  enum mmu_notifier_event event)
{
	MNK_EXPECT(test, pair->page, CALL_PAGE(addr, nr_pages, event));
	mnk_expect_locked(test, pair->page, MNK_PAGE, true);
	expect_section(test, pair->range, addr, addr + nr_pages * PAGE_SIZE,
		       event);
}
