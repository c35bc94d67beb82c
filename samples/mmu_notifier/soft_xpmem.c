// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of one process in others, like SGI's XPMEM: callbacks that sleep.
 *
 * On the machines that XPMEM was made for the other process runs in another
 * partition, under a kernel of its own. To take a page away takes a message
 * there and an answer, and nobody can spin for so long. Here the partition is a
 * work item, the agent: it gets the message, unmaps the pages on the side of the
 * importer, and answers. It does so in its own context because the exporter can
 * hold any lock of the core VM. An importer may listen, and answer itself after
 * that; if it does not, it loses its access when the time is up.
 *
 * To unmap takes the rmap lock of the device, and opens sections on importers,
 * which may export as well. What they import they cannot export, so nothing has
 * to be said of these sections: an agent waits for nobody, and nobody else unmaps
 * or waits with that lock held.
 *
 * Having no invalidate_page, the exporter gets sections for everything. A start
 * holds faults off, sends the messages and waits for the answers. Messages to
 * one importer merge while they wait, so that none has to be allocated.
 *
 * Importers map pages without a reference. They fault as
 * Documentation/mm/mmu_notifier.rst has it: the page is looked up in the
 * exporter, the entry set under xpmem_lock if no section is open and none has
 * been since before the lookup. The lookup needs the mmap_lock of the exporter
 * under that of the importer: it is only tried, for the two may import from each
 * other.
 */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "soft_xpmem.h"

static unsigned int timeout_ms = 10000;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "How long an exporter waits for the answer of an importer that listens");

/* Addresses of the exporter; empty if the end is not behind the start. */
struct xpmem_range {
	unsigned long start;
	unsigned long end;
};

/**
 * struct xpmem_process - an open file: a process that exports, imports, or both
 * @ref: one for the file, and one for each segment
 * @subscription: to the process, from its first segment on
 * @subscribed: whether it is; under @make_lock
 * @make_lock: one subscription is enough
 * @mm: the address space of the process, mm_count is held
 * @mapping: that of the file
 * @wait: for answers and the end of sections as an exporter, for messages as an
 *	importer
 * @segments: exported; this and the rest under xpmem_lock
 * @imports: accesses of others to them
 * @accesses: to segments of others
 * @seq: moves when a lookup that is under way may have found a stale page
 * @sections: open sections; nobody maps a page in any
 * @ticket: number of the last message that was sent
 * @listens: answers messages itself
 * @dead: the address space is going away
 * @stats: of the segments
 */
struct xpmem_process {
	struct kref ref;
	struct mmu_notifier subscription;
	bool subscribed;
	struct mutex make_lock;		/* of the subscription */
	struct mm_struct *mm;
	struct address_space *mapping;
	wait_queue_head_t wait;
	struct list_head segments;
	struct list_head imports;
	struct list_head accesses;
	unsigned long seq;
	unsigned int sections;
	u64 ticket;
	bool listens;
	bool dead;
	struct soft_xpmem_stats stats;
};

/**
 * struct xpmem_segment - exported memory
 * @ref: one until it is removed, and one for each access
 * @process: the exporter
 * @link: in its segments
 * @range: the memory
 * @id: its number
 * @mode: who may get it
 * @uid: who made it
 * @gid: and that one's group
 * @dead: is being removed; under xpmem_lock
 */
struct xpmem_segment {
	struct kref ref;
	struct xpmem_process *process;
	struct list_head link;
	struct xpmem_range range;
	u32 id;
	u32 mode;
	kuid_t uid;
	kgid_t gid;
	bool dead;
};

/**
 * struct xpmem_access - of an importer to a segment
 * @ref: one until it is released, and one for each vma
 * @segment: the memory
 * @process: the importer; until it is released
 * @in_exporter: link in the imports of the exporter
 * @in_process: link in the accesses of the importer
 * @offset: where the device has the segment, unlike any other; also its number
 * @writable: pages are looked up for writing
 * @agent: unmaps what is in @pending
 * @mapped: all pages that the importer may have mapped are in here; this and the
 *	rest under xpmem_lock
 * @pending: sent to the agent
 * @told: for the importer to read, if it listens
 * @outstanding: sent and not answered
 * @sent: ticket of the last message
 * @unmapped: the last one that the agent has done
 * @answered: the last one that was answered
 * @dead: nothing is mapped any more, the access is released or forfeited
 */
struct xpmem_access {
	struct kref ref;
	struct xpmem_segment *segment;
	struct xpmem_process *process;
	struct list_head in_exporter;
	struct list_head in_process;
	u64 offset;
	bool writable;
	struct work_struct agent;
	struct xpmem_range mapped;
	struct xpmem_range pending;
	struct xpmem_range told;
	struct xpmem_range outstanding;
	u64 sent;
	u64 unmapped;
	u64 answered;
	bool dead;
};

/*
 * Protects lists and states of all processes. Taken under page table locks, and
 * held for a few instructions for each access of the process: never while anybody
 * waits for an answer.
 */
static DEFINE_SPINLOCK(xpmem_lock);

static DEFINE_XARRAY_ALLOC1(xpmem_segments);
static struct workqueue_struct *xpmem_agents;
static u64 xpmem_next_offset = PAGE_SIZE;

/* Ranges. */

static bool xpmem_overlap(const struct xpmem_range *a, const struct xpmem_range *b)
{
	return max(a->start, b->start) < min(a->end, b->end);
}

static void xpmem_clear(struct xpmem_range *range)
{
	*range = (struct xpmem_range){ .start = ULONG_MAX };
}

static void xpmem_extend(struct xpmem_range *range, const struct xpmem_range *by)
{
	range->start = min(range->start, by->start);
	range->end = max(range->end, by->end);
}

static struct xpmem_range xpmem_common(const struct xpmem_range *a, const struct xpmem_range *b)
{
	return (struct xpmem_range){ max(a->start, b->start), min(a->end, b->end) };
}

static unsigned long xpmem_size(const struct xpmem_range *range)
{
	return range->end - range->start;
}

/* Who is held by whom. */

static void xpmem_free_process(struct kref *ref)
{
	struct xpmem_process *process = container_of(ref, struct xpmem_process, ref);

	mmdrop(process->mm);
	kfree(process);
}

static void xpmem_free_segment(struct kref *ref)
{
	struct xpmem_segment *segment = container_of(ref, struct xpmem_segment, ref);

	kref_put(&segment->process->ref, xpmem_free_process);
	kfree(segment);
}

static void xpmem_free_access(struct kref *ref)
{
	struct xpmem_access *access = container_of(ref, struct xpmem_access, ref);

	kref_put(&access->segment->ref, xpmem_free_segment);
	kfree(access);
}

/* Messages: sent, unmapped by the agent, answered. */

static void xpmem_answer(struct xpmem_access *access, u64 ticket)
{
	lockdep_assert_held(&xpmem_lock);
	if (ticket <= access->answered)
		return;
	access->answered = ticket;
	access->segment->process->stats.answers++;
	if (ticket == access->sent)
		xpmem_clear(&access->outstanding);
}

static void xpmem_unmap(struct xpmem_access *access, const struct xpmem_range *range)
{
	unmap_mapping_range(access->process->mapping,
			    access->offset + range->start - access->segment->range.start,
			    xpmem_size(range), 1);
}

static void xpmem_agent(struct work_struct *work);

static bool xpmem_is_agent(void)
{
	struct work_struct *work = current_work();

	return work && work->func == xpmem_agent;
}

static void xpmem_agent(struct work_struct *work)
{
	struct xpmem_access *access = container_of(work, struct xpmem_access, agent);
	struct xpmem_range range;
	u64 ticket;

	spin_lock(&xpmem_lock);
	range = access->pending;
	xpmem_clear(&access->pending);
	ticket = access->sent;
	spin_unlock(&xpmem_lock);

	if (range.start < range.end)
		xpmem_unmap(access, &range);

	spin_lock(&xpmem_lock);
	access->unmapped = ticket;
	if (access->process->listens && !access->dead)
		xpmem_extend(&access->told, &range);
	else
		xpmem_answer(access, ticket);
	spin_unlock(&xpmem_lock);
	wake_up_all(&access->segment->process->wait);
	wake_up_all(&access->process->wait);
}

static void xpmem_send(struct xpmem_access *access, const struct xpmem_range *range, u64 ticket)
{
	lockdep_assert_held(&xpmem_lock);
	if (range->start <= access->mapped.start && access->mapped.end <= range->end)
		xpmem_clear(&access->mapped);
	xpmem_extend(&access->pending, range);
	xpmem_extend(&access->outstanding, range);
	access->sent = ticket;
	access->segment->process->stats.messages++;
	queue_work(xpmem_agents, &access->agent);
}

static u64 xpmem_send_all(struct xpmem_process *process, const struct xpmem_range *range)
{
	struct xpmem_access *access;
	u64 ticket = ++process->ticket;

	lockdep_assert_held(&xpmem_lock);
	list_for_each_entry(access, &process->imports, in_exporter) {
		struct xpmem_range part = xpmem_common(&access->segment->range, range);

		if (xpmem_overlap(&access->mapped, &part))
			xpmem_send(access, &part, ticket);
	}
	return ticket;
}

/* Has a message up to @ticket that concerns @range not come as far as @done? */
static bool xpmem_lags(struct xpmem_access *access, const struct xpmem_range *range, u64 ticket,
		       u64 done)
{
	return done < access->sent && done < ticket && xpmem_overlap(&access->outstanding, range);
}

static bool xpmem_all_unmapped(struct xpmem_process *process, const struct xpmem_range *range,
			       u64 ticket)
{
	struct xpmem_access *access;

	guard(spinlock)(&xpmem_lock);
	list_for_each_entry(access, &process->imports, in_exporter)
		if (xpmem_lags(access, range, ticket, access->unmapped))
			return false;
	return true;
}

static bool xpmem_all_answered(struct xpmem_process *process, const struct xpmem_range *range,
			       u64 ticket)
{
	struct xpmem_access *access;

	guard(spinlock)(&xpmem_lock);
	list_for_each_entry(access, &process->imports, in_exporter)
		if (xpmem_lags(access, range, ticket, access->answered))
			return false;
	return true;
}

/* Nothing of it stays mapped; the agent answers in its place from now on. */
static void xpmem_forfeit(struct xpmem_access *access)
{
	struct xpmem_process *exporter = access->segment->process;

	lockdep_assert_held(&xpmem_lock);
	pr_warn_ratelimited("soft_xpmem: no answer in %u ms for access %llu, which is forfeited\n",
			    timeout_ms, access->offset);
	access->dead = true;
	exporter->stats.silent++;
	xpmem_send(access, &access->segment->range, ++exporter->ticket);
}

static void xpmem_give_up(struct xpmem_process *process, const struct xpmem_range *range,
			  u64 ticket)
{
	struct xpmem_access *access;

	spin_lock(&xpmem_lock);
	list_for_each_entry(access, &process->imports, in_exporter)
		if (xpmem_lags(access, range, ticket, access->answered))
			xpmem_forfeit(access);
	spin_unlock(&xpmem_lock);
	wake_up_all(&process->wait);
}

/*
 * On return nobody has a page of @range mapped. The time limit is for who listens.
 * Not inlined: tests make it return at once and have to fail.
 */
static noinline void xpmem_wait(struct xpmem_process *process, const struct xpmem_range *range,
				u64 ticket)
{
	wait_event(process->wait, xpmem_all_unmapped(process, range, ticket));
	if (!wait_event_timeout(process->wait, xpmem_all_answered(process, range, ticket),
				msecs_to_jiffies(timeout_ms)))
		xpmem_give_up(process, range, ticket);
}

/* Sections of the exporter. */

static struct xpmem_process *to_process(struct mmu_notifier *subscription)
{
	return container_of(subscription, struct xpmem_process, subscription);
}

static bool xpmem_concerns(struct xpmem_process *process, const struct xpmem_range *range)
{
	struct xpmem_access *access;

	lockdep_assert_held(&xpmem_lock);
	list_for_each_entry(access, &process->imports, in_exporter)
		if (xpmem_overlap(&access->mapped, range) ||
		    xpmem_overlap(&access->outstanding, range))
			return true;
	return false;
}

static int xpmem_range_start(struct mmu_notifier *subscription,
			     const struct mmu_notifier_range *notifier_range)
{
	struct xpmem_process *process = to_process(subscription);
	struct xpmem_range range = { notifier_range->start, notifier_range->end };
	u64 ticket;

	spin_lock(&xpmem_lock);
	if (xpmem_is_agent() || !xpmem_concerns(process, &range)) {
		WRITE_ONCE(process->sections, process->sections + 1);
		spin_unlock(&xpmem_lock);
		return 0;
	}
	if (!mmu_notifier_range_blockable(notifier_range)) {
		spin_unlock(&xpmem_lock);
		return -EAGAIN;
	}
	WRITE_ONCE(process->sections, process->sections + 1);
	ticket = xpmem_send_all(process, &range);
	spin_unlock(&xpmem_lock);

	xpmem_wait(process, &range, ticket);
	return 0;
}

static void xpmem_range_end(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	struct xpmem_process *process = to_process(subscription);

	spin_lock(&xpmem_lock);
	/* Pairs with smp_rmb() in xpmem_look_up(): new count, new page tables. */
	smp_wmb();
	WRITE_ONCE(process->seq, process->seq + 1);
	WRITE_ONCE(process->sections, process->sections - 1);
	spin_unlock(&xpmem_lock);
	wake_up_all(&process->wait);
}

static void xpmem_release_mm(struct mmu_notifier *subscription, struct mm_struct *mm)
{
	struct xpmem_process *process = to_process(subscription);
	struct xpmem_range everything = { 0, ULONG_MAX };
	u64 ticket;

	spin_lock(&xpmem_lock);
	WRITE_ONCE(process->dead, true);
	ticket = xpmem_send_all(process, &everything);
	spin_unlock(&xpmem_lock);
	wake_up_all(&process->wait);
	xpmem_wait(process, &everything, ticket);
}

static const struct mmu_notifier_ops xpmem_ops = {
	.release = xpmem_release_mm,
	.invalidate_range_start = xpmem_range_start,
	.invalidate_range_end = xpmem_range_end,
};

/* Faults of the importer. */

/**
 * struct xpmem_fault - a fault under way
 * @vma: of the importer
 * @access: what is mapped there
 * @address: in the exporter
 * @seq: the count before the lookup
 * @page: what the lookup found
 */
struct xpmem_fault {
	struct vm_area_struct *vma;
	struct xpmem_access *access;
	unsigned long address;
	unsigned long seq;
	struct page *page;
};

static int xpmem_look_up(struct xpmem_fault *fault)
{
	struct xpmem_process *exporter = fault->access->segment->process;
	bool write = fault->access->writable;
	int ret;

	if (!mmget_not_zero(exporter->mm))
		return -EFAULT;
	ret = -EAGAIN;
	if (mmap_read_trylock(exporter->mm)) {
		fault->seq = READ_ONCE(exporter->seq);
		/* Pairs with smp_wmb() in xpmem_range_end(). */
		smp_rmb();
		ret = get_user_pages_remote(exporter->mm, fault->address, 1,
					    write ? FOLL_WRITE : 0, &fault->page, NULL);
		mmap_read_unlock(exporter->mm);
	}
	mmput_async(exporter->mm);
	if (ret < 0)
		return ret;
	/* What makes it clean again tells us, now or once it is mapped. */
	if (write)
		set_page_dirty_lock(fault->page);
	return 0;
}

/* Under the page table lock of the importer. */
static int xpmem_set_pte(pte_t *ptep, unsigned long address, void *data)
{
	struct xpmem_fault *fault = data;
	struct xpmem_access *access = fault->access;
	struct xpmem_process *exporter = access->segment->process;
	struct xpmem_range range = { fault->address, fault->address + PAGE_SIZE };
	pte_t pte = pte_mkspecial(pfn_pte(page_to_pfn(fault->page), fault->vma->vm_page_prot));

	guard(spinlock)(&xpmem_lock);

	if (access->dead || access->segment->dead || exporter->dead)
		return -EFAULT;
	if (exporter->sections || exporter->seq != fault->seq)
		return -EAGAIN;
	if (!pte_none(ptep_get(ptep)))
		return 0;
	if (access->writable)
		pte = pte_mkdirty(pte);
	set_pte_at(fault->vma->vm_mm, address, ptep, pte_mkyoung(pte));
	xpmem_extend(&access->mapped, &range);
	exporter->stats.faults++;
	return 0;
}

/* Wait until it is worth to fault again, without the locks that are held now. */
static vm_fault_t xpmem_retry(struct vm_fault *vmf, struct xpmem_process *exporter)
{
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY) || (vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		return VM_FAULT_NOPAGE;

	kref_get(&exporter->ref);
	release_fault_lock(vmf);
	if (!wait_event_killable(exporter->wait, !READ_ONCE(exporter->sections) ||
				 READ_ONCE(exporter->dead)) &&
	    !mmap_read_lock_killable(exporter->mm))
		mmap_read_unlock(exporter->mm);
	kref_put(&exporter->ref, xpmem_free_process);
	return VM_FAULT_RETRY;
}

static vm_fault_t xpmem_vma_fault(struct vm_fault *vmf)
{
	struct xpmem_access *access = vmf->vma->vm_private_data;
	struct xpmem_fault fault = {
		.vma = vmf->vma,
		.access = access,
		.address = ((u64)vmf->pgoff << PAGE_SHIFT) - access->offset +
			   access->segment->range.start,
	};
	int ret;

	ret = xpmem_look_up(&fault);
	if (!ret) {
		/* Page tables are allocated without a lock of ours: that may reclaim. */
		ret = apply_to_page_range(vmf->vma->vm_mm, vmf->address & PAGE_MASK, PAGE_SIZE,
					  xpmem_set_pte, &fault);
		put_page(fault.page);
	}
	if (ret == -EAGAIN)
		return xpmem_retry(vmf, access->segment->process);
	return ret ? vmf_error(ret) : VM_FAULT_NOPAGE;
}

static void xpmem_vma_open(struct vm_area_struct *vma)
{
	struct xpmem_access *access = vma->vm_private_data;

	kref_get(&access->ref);
}

static void xpmem_vma_close(struct vm_area_struct *vma)
{
	struct xpmem_access *access = vma->vm_private_data;

	kref_put(&access->ref, xpmem_free_access);
}

static const struct vm_operations_struct xpmem_vm_ops = {
	.open = xpmem_vma_open,
	.close = xpmem_vma_close,
	.fault = xpmem_vma_fault,
};

static struct xpmem_access *xpmem_find_access(struct xpmem_process *process, u64 offset)
{
	struct xpmem_access *access;

	lockdep_assert_held(&xpmem_lock);
	list_for_each_entry(access, &process->accesses, in_process)
		if (offset - access->offset < xpmem_size(&access->segment->range))
			return access;
	return NULL;
}

static int xpmem_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct xpmem_process *process = file->private_data;
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	u64 last = offset + (vma->vm_end - vma->vm_start) - 1;
	struct xpmem_access *access;

	if (current->mm != process->mm)
		return -EPERM;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;

	spin_lock(&xpmem_lock);
	access = xpmem_find_access(process, offset);
	if (access && access == xpmem_find_access(process, last))
		kref_get(&access->ref);
	else
		access = NULL;
	spin_unlock(&xpmem_lock);
	if (!access)
		return -ENXIO;

	if (!access->writable) {
		if (vma->vm_flags & VM_WRITE) {
			kref_put(&access->ref, xpmem_free_access);
			return -EACCES;
		}
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTCOPY | VM_DONTDUMP);
	vma->vm_private_data = access;
	vma->vm_ops = &xpmem_vm_ops;
	return 0;
}

/* Make and remove, get and release. */

static int xpmem_subscribe(struct xpmem_process *process)
{
	int ret;

	guard(mutex)(&process->make_lock);
	if (process->subscribed)
		return 0;
	process->subscription.ops = &xpmem_ops;
	ret = mmu_notifier_register(&process->subscription, process->mm);
	process->subscribed = !ret;
	return ret;
}

static int xpmem_make(struct xpmem_process *process, struct soft_xpmem_make *make)
{
	struct xpmem_segment *segment;
	int ret;

	if (!make->size || !PAGE_ALIGNED(make->address | make->size) ||
	    make->address + make->size < make->address ||
	    make->address + make->size > TASK_SIZE || (make->mode & ~0666ULL))
		return -EINVAL;
	ret = xpmem_subscribe(process);
	if (ret)
		return ret;
	segment = kzalloc_obj(*segment);
	if (!segment)
		return -ENOMEM;

	kref_init(&segment->ref);
	segment->range = (struct xpmem_range){ make->address, make->address + make->size };
	segment->mode = make->mode;
	current_fsuid_fsgid(&segment->uid, &segment->gid);
	segment->process = process;
	kref_get(&process->ref);
	spin_lock(&xpmem_lock);
	list_add_tail(&segment->link, &process->segments);
	spin_unlock(&xpmem_lock);
	ret = xa_alloc(&xpmem_segments, &segment->id, segment, xa_limit_31b, GFP_KERNEL);
	if (ret) {
		spin_lock(&xpmem_lock);
		list_del(&segment->link);
		spin_unlock(&xpmem_lock);
		kref_put(&segment->ref, xpmem_free_segment);
		return ret;
	}
	make->segid = segment->id;
	return 0;
}

/* The segment is marked dead by the caller, who holds a reference. */
static void xpmem_end_segment(struct xpmem_segment *segment)
{
	struct xpmem_process *process = segment->process;
	u64 ticket;

	xa_erase(&xpmem_segments, segment->id);
	spin_lock(&xpmem_lock);
	ticket = xpmem_send_all(process, &segment->range);
	spin_unlock(&xpmem_lock);
	xpmem_wait(process, &segment->range, ticket);
	spin_lock(&xpmem_lock);
	list_del(&segment->link);
	spin_unlock(&xpmem_lock);
	kref_put(&segment->ref, xpmem_free_segment);
}

static struct xpmem_segment *xpmem_kill_segment(struct xpmem_process *process, s64 segid)
{
	struct xpmem_segment *segment;

	guard(spinlock)(&xpmem_lock);
	list_for_each_entry(segment, &process->segments, link) {
		if (!segment->dead && (!segid || segment->id == segid)) {
			segment->dead = true;
			return segment;
		}
	}
	return NULL;
}

static int xpmem_remove(struct xpmem_process *process, s64 segid)
{
	struct xpmem_segment *segment = segid > 0 ? xpmem_kill_segment(process, segid) : NULL;

	if (!segment)
		return -ENOENT;
	xpmem_end_segment(segment);
	return 0;
}

static struct xpmem_segment *xpmem_get_segment(s64 segid)
{
	struct xpmem_segment *segment;

	if (segid <= 0 || segid > U32_MAX)
		return ERR_PTR(-ENOENT);
	guard(spinlock)(&xpmem_lock);
	segment = xa_load(&xpmem_segments, segid);
	if (!segment || segment->dead || segment->process->dead)
		return ERR_PTR(-ENOENT);
	kref_get(&segment->ref);
	return segment;
}

static bool xpmem_may_get(const struct xpmem_segment *segment, bool write)
{
	u32 wanted = write ? 06 : 04, mode = segment->mode;

	if (uid_eq(current_fsuid(), segment->uid))
		mode >>= 6;
	else if (in_group_p(segment->gid))
		mode >>= 3;
	return (mode & wanted) == wanted || capable(CAP_IPC_OWNER);
}

static int xpmem_link_access(struct xpmem_access *access)
{
	u64 size = xpmem_size(&access->segment->range);

	guard(spinlock)(&xpmem_lock);
	if (access->segment->dead)
		return -ENOENT;
	if (xpmem_next_offset + size > S64_MAX)
		return -ENOSPC;
	access->offset = xpmem_next_offset;
	xpmem_next_offset += size;
	list_add(&access->in_exporter, &access->segment->process->imports);
	list_add(&access->in_process, &access->process->accesses);
	return 0;
}

static int xpmem_get(struct xpmem_process *process, struct soft_xpmem_get *get)
{
	bool write = get->flags == SOFT_XPMEM_RDWR;
	struct xpmem_segment *segment;
	struct xpmem_access *access;
	int ret;

	if (!write && get->flags != SOFT_XPMEM_RDONLY)
		return -EINVAL;
	access = kzalloc_obj(*access);
	if (!access)
		return -ENOMEM;
	segment = xpmem_get_segment(get->segid);
	if (IS_ERR(segment)) {
		kfree(access);
		return PTR_ERR(segment);
	}

	kref_init(&access->ref);
	access->segment = segment;
	access->process = process;
	access->writable = write;
	INIT_WORK(&access->agent, xpmem_agent);
	xpmem_clear(&access->mapped);
	xpmem_clear(&access->pending);
	xpmem_clear(&access->told);
	xpmem_clear(&access->outstanding);
	ret = xpmem_may_get(segment, write) ? xpmem_link_access(access) : -EACCES;
	if (ret)
		kref_put(&access->ref, xpmem_free_access);
	else
		get->apid = access->offset;
	return ret;
}

/* The access has been taken out of its process. */
static void xpmem_end_access(struct xpmem_access *access)
{
	struct xpmem_process *exporter = access->segment->process;

	spin_lock(&xpmem_lock);
	access->dead = true;
	xpmem_extend(&access->pending, &access->segment->range);
	queue_work(xpmem_agents, &access->agent);
	spin_unlock(&xpmem_lock);
	flush_work(&access->agent);

	spin_lock(&xpmem_lock);
	list_del(&access->in_exporter);
	spin_unlock(&xpmem_lock);
	wake_up_all(&exporter->wait);
	cancel_work_sync(&access->agent);
	kref_put(&access->ref, xpmem_free_access);
}

static struct xpmem_access *xpmem_take_access(struct xpmem_process *process, s64 apid)
{
	struct xpmem_access *access;

	guard(spinlock)(&xpmem_lock);
	access = apid ? xpmem_find_access(process, apid) :
		 list_first_entry_or_null(&process->accesses, struct xpmem_access, in_process);
	if (!access || (apid && access->offset != apid))
		return NULL;
	list_del(&access->in_process);
	return access;
}

static int xpmem_release(struct xpmem_process *process, s64 apid)
{
	struct xpmem_access *access = apid > 0 ? xpmem_take_access(process, apid) : NULL;

	if (!access)
		return -ENOENT;
	xpmem_end_access(access);
	return 0;
}

static int xpmem_detach(unsigned long address)
{
	struct vm_area_struct *vma;
	unsigned long size = 0;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, address);
	if (vma && vma->vm_ops == &xpmem_vm_ops && vma->vm_start == address)
		size = vma->vm_end - vma->vm_start;
	mmap_read_unlock(current->mm);
	return size ? vm_munmap(address, size) : -EINVAL;
}

/* Importers that listen. */

static bool xpmem_next_message(struct xpmem_process *process, struct soft_xpmem_message *message)
{
	struct xpmem_access *access;

	guard(spinlock)(&xpmem_lock);
	list_for_each_entry(access, &process->accesses, in_process) {
		if (access->told.start >= access->told.end)
			continue;
		message->apid = access->offset;
		message->ticket = access->unmapped;
		message->offset = access->told.start - access->segment->range.start;
		message->size = xpmem_size(&access->told);
		xpmem_clear(&access->told);
		return true;
	}
	return false;
}

static ssize_t xpmem_read(struct file *file, char __user *buffer, size_t size, loff_t *position)
{
	struct xpmem_process *process = file->private_data;
	struct soft_xpmem_message message;
	int ret;

	if (size < sizeof(message))
		return -EINVAL;
	if (!xpmem_next_message(process, &message)) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		ret = wait_event_interruptible(process->wait,
					       xpmem_next_message(process, &message));
		if (ret)
			return ret;
	}
	return copy_to_user(buffer, &message, sizeof(message)) ? -EFAULT : sizeof(message);
}

static int xpmem_listen(struct xpmem_process *process)
{
	spin_lock(&xpmem_lock);
	process->listens = true;
	spin_unlock(&xpmem_lock);
	return 0;
}

static int xpmem_take_answer(struct xpmem_process *process,
			     const struct soft_xpmem_message *message)
{
	struct xpmem_access *access;

	guard(spinlock)(&xpmem_lock);
	access = xpmem_find_access(process, message->apid);
	if (!access || access->offset != message->apid || message->ticket > access->unmapped)
		return -EINVAL;
	xpmem_answer(access, message->ticket);
	wake_up_all(&access->segment->process->wait);
	return 0;
}

/* The device. */

/* The argument of each command, by its kernel name. */
union xpmem_argument {
	struct soft_xpmem_make make;
	struct soft_xpmem_get get;
	struct soft_xpmem_message message;
	struct soft_xpmem_stats stats;
	s64 id;
	u64 address;
};

static int xpmem_command(struct xpmem_process *process, unsigned int command,
			 union xpmem_argument *argument)
{
	switch (command) {
	case SOFT_XPMEM_MAKE:
		return xpmem_make(process, &argument->make);
	case SOFT_XPMEM_REMOVE:
		return xpmem_remove(process, argument->id);
	case SOFT_XPMEM_GET:
		return xpmem_get(process, &argument->get);
	case SOFT_XPMEM_RELEASE:
		return xpmem_release(process, argument->id);
	case SOFT_XPMEM_DETACH:
		return xpmem_detach(argument->address);
	case SOFT_XPMEM_LISTEN:
		return xpmem_listen(process);
	case SOFT_XPMEM_ANSWER:
		return xpmem_take_answer(process, &argument->message);
	case SOFT_XPMEM_STATS:
		spin_lock(&xpmem_lock);
		argument->stats = process->stats;
		spin_unlock(&xpmem_lock);
		return 0;
	}
	return -ENOTTY;
}

static long xpmem_ioctl(struct file *file, unsigned int command, unsigned long address)
{
	struct xpmem_process *process = file->private_data;
	void __user *user = (void __user *)address;
	union xpmem_argument argument = { };
	size_t size = _IOC_SIZE(command);
	int ret;

	if (current->mm != process->mm)
		return -EPERM;
	if (_IOC_TYPE(command) != 'X' || size > sizeof(argument))
		return -ENOTTY;
	if ((_IOC_DIR(command) & _IOC_WRITE) && copy_from_user(&argument, user, size))
		return -EFAULT;
	ret = xpmem_command(process, command, &argument);
	if (!ret && (_IOC_DIR(command) & _IOC_READ) && copy_to_user(user, &argument, size))
		return -EFAULT;
	return ret;
}

static int xpmem_open(struct inode *inode, struct file *file)
{
	struct xpmem_process *process = kzalloc_obj(*process);

	if (!process)
		return -ENOMEM;
	kref_init(&process->ref);
	mutex_init(&process->make_lock);
	init_waitqueue_head(&process->wait);
	INIT_LIST_HEAD(&process->segments);
	INIT_LIST_HEAD(&process->imports);
	INIT_LIST_HEAD(&process->accesses);
	process->mm = current->mm;
	mmgrab(process->mm);
	process->mapping = file->f_mapping;
	file->private_data = process;
	return 0;
}

static int xpmem_close(struct inode *inode, struct file *file)
{
	struct xpmem_process *process = file->private_data;
	struct xpmem_segment *segment;
	struct xpmem_access *access;

	while ((access = xpmem_take_access(process, 0)))
		xpmem_end_access(access);
	while ((segment = xpmem_kill_segment(process, 0)))
		xpmem_end_segment(segment);
	if (process->subscribed)
		mmu_notifier_unregister(&process->subscription, process->mm);
	kref_put(&process->ref, xpmem_free_process);
	return 0;
}

static const struct file_operations xpmem_fops = {
	.owner = THIS_MODULE,
	.open = xpmem_open,
	.release = xpmem_close,
	.read = xpmem_read,
	.mmap = xpmem_mmap,
	.unlocked_ioctl = xpmem_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice xpmem_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "soft_xpmem",
	.fops = &xpmem_fops,
};

static int __init xpmem_init(void)
{
	int ret;

	xpmem_agents = alloc_workqueue("soft_xpmem", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!xpmem_agents)
		return -ENOMEM;
	ret = misc_register(&xpmem_device);
	if (ret)
		destroy_workqueue(xpmem_agents);
	return ret;
}
module_init(xpmem_init);

static void __exit xpmem_exit(void)
{
	misc_deregister(&xpmem_device);
	destroy_workqueue(xpmem_agents);
	xa_destroy(&xpmem_segments);
}
module_exit(xpmem_exit);

MODULE_DESCRIPTION("Memory of another process, with callbacks that sleep");
MODULE_LICENSE("GPL");
