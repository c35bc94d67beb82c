# SPDX-License-Identifier: GPL-2.0
"""Rules of the core and of KVM, each of which a mutant breaks: beside the hooks.

An order that only a barrier makes is not among them: x86 keeps most of it anyway. The
models in testbed/model/ are for these.
"""

NOTHING = ";"
CORE = "mm/mmu_notifier.c"
INTERVAL = "mm/mmu_interval_notifier.c"
KVM = "virt/kvm/mmu_notifier.c"
PFNCACHE = "virt/kvm/pfncache.c"
X86 = "arch/x86/kvm/mmu/mmu.c"
TDP = "arch/x86/kvm/mmu/tdp_mmu.c"
VMSCAN = "mm/vmscan.c"
RMAP = "mm/rmap.c"

# Statements that more than one mutant changes.
PUBLISH = """WRITE_ONCE(subs->heard, subs->heard | mn_heard_flags(new->ops));
	hlist_add_head_rcu(&new->hlist, &subs->list);
	/* Pairs with the acquire in __mmu_notifier_range_start(). */
	smp_store_release(&subs->stamp, new->stamp);"""
HEARD, LINK, STAMP = (PUBLISH.splitlines()[line] for line in (0, 1, 3))
REGISTER = """ret = mn_publish(subs, subscription);
	if (ret)
		return ret;

	/* Dropped when the subscription is off the list for good. */
	mmgrab(mm);
	mmu_notifier_drain(mm);"""
UNREGISTER = """mn_release(subscription, mm);
	mn_unlink(subs, subscription);
	mn_wait_callbacks(subs);"""
WAIT = """smp_store_release(&subs->count, new);
	/*
	 * The new pointer before the look at the old counter. Pairs with the
	 * barrier in mn_walk_begin(), and with the decrement in mn_walk_end().
	 */
	if (!atomic_dec_and_test(old)) {
		wait_var_event(old, !atomic_read(old));
		smp_acquire__after_ctrl_dep();
	}"""
LOOK_AT_OLD = "if (!atomic_dec_and_test(old)) wait_var_event(old, !atomic_read(old));"
SWITCH = WAIT.splitlines()[0]
LANES = """smp_store_release(&subs->intervals, itv);
	mmu_notifier_drain(mm);"""
FIRST_LOOK = """seq = smp_load_acquire(&interval_sub->invalidate_seq);
	if (!mi_wait_all(itv, interval_sub))
		return seq;"""
SECOND_LOOK = """seq = smp_load_acquire(&interval_sub->invalidate_seq);
	mi_wait_all(itv, interval_sub);
	return seq;"""
PIN = """if (sub->dead)
		sub = mi_pin_from(next, range, &more);
	else
		atomic_inc(&sub->active);"""
IDLE = "wait_event(lane->readers, mi_is_idle(lane, !lane->phase));"
PAGE_COUNT = "kvm_mmu_invalidate_bump(kvm, range->start, range->end);"
MOVED = "mmu_invalidate_gfn_seq(vcpu->kvm, fault->gfn) != fault->mmu_seq"
STALE = "!mmu_invalidate_retry_gfn(vcpu->kvm, fault->mmu_seq, fault->gfn)"
PAGE_CACHES = """spin_lock(&kvm->mn_invalidate_lock);
	kvm->gpc_invalidate_seq++;
	spin_unlock(&kvm->mn_invalidate_lock);

	gfn_to_pfn_cache_invalidate_start(kvm, start, end);"""

RANGE_END = """kvm_mmu_invalidate_bump(kvm, kvm->mmu_invalidate_range_start,
				kvm->mmu_invalidate_range_end);

	/*
	 * The new count before the end of the section: pairs with the smp_rmb()
	 * in mmu_invalidate_retry(), whose caller need not hold mmu_lock. It
	 * sees the section open or the count moved.
	 */
	smp_wmb();"""
RANGE_CLOSE = """kvm->gpc_invalidate_seq++;
	/*
	 * The new count before the end of the range, as in
	 * kvm_mmu_invalidate_end(). Pairs with the smp_rmb() in
	 * gpc_invalidate_retry().
	 */
	smp_wmb();"""
SAME_TABLE = """leaf->level == PG_LEVEL_4K &&
	    !((gfn ^ leaf->gfn) >> SPTE_LEVEL_BITS)"""
OLD_HUGE = """if (tdp_spte_is_young(leaf.spte))
			bitmap_set(range->young, bit, next - gfn);"""
AGE_LEAF = """if (tdp_spte_is_young(leaf.spte))
			tdp_mmu_age_leaf(kvm, root, &leaf);"""
WINDOW_END = """secondary_window_clear_taken(window);
	if (window->list)
		secondary_window_clear_listed(window);"""
TRACKED = """if (READ_ONCE(kvm->mmu_reclaim_notifier.ops)) {
		kvm_mn_drop_page(kvm, address, end);
		return;
	}"""
FULL = """while (!kvm_mn_batch_add(&kvm->mn_batch, address, end))
		kvm_mn_batch_drop(kvm, &kvm->mn_batch);"""
MEMSLOTS = """while (kvm->mn_active_invalidate_count) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		spin_unlock(&kvm->mn_invalidate_lock);
		schedule();
		spin_lock(&kvm->mn_invalidate_lock);
	}"""

# File, what is there, what is there in the mutant: statements or expressions.
RULES = [
    # Aging asks everybody (C5).
    (CORE, "young |= mn_call_young(sub, mm, start, end, op);",
     "young = young || mn_call_young(sub, mm, start, end, op);"),
    # A section has an end for those who heard its start, and for no other (R2, C4).
    (CORE, "mn_is_younger(sub, range->stamp)", "false"),
    (CORE, "new->stamp = subs->stamp + 1;", "new->stamp = subs->stamp;"),
    (CORE, PUBLISH, HEARD + STAMP + LINK),
    (CORE, PUBLISH, LINK + STAMP + HEARD),
    (CORE, "ret = mn_range_start(range, subs, itv);",
     "ret = mn_range_start(range, subs, itv), range->stamp = READ_ONCE(subs->stamp);"),
    (CORE, "mn_is_younger(sub, refused->stamp)", "true"),
    (CORE, "mn_is_younger(sub, refused->stamp)", "false"),
    (CORE, "mn_intervals_end(range);\n\treturn ret;",
     "return ret;"),
    (CORE, "range->flags & READ_ONCE(subs->heard)", "false"),
    # Registration waits for the sections before it, and is heard of before that (R2).
    (CORE, REGISTER, REGISTER.replace("mmu_notifier_drain(mm);", "")),
    (CORE, REGISTER, "mmu_notifier_drain(mm); " +
     REGISTER.replace("mmu_notifier_drain(mm);", "")),
    (CORE, "vma_start_write(vma);", NOTHING),
    (CORE, "mn_drain_mapping(mapping);", NOTHING),
    (CORE, "anon_vma_lock_write(root);\n\t\t\tanon_vma_unlock_write(root);", NOTHING),
    # Unregistration: release, no new callbacks, wait for the old ones (R4, R5).
    (CORE, UNREGISTER, UNREGISTER.replace("mn_release(subscription, mm);", "")),
    (CORE, UNREGISTER, "mn_unlink(subs, subscription); mn_release(subscription, mm); "
     "mn_wait_callbacks(subs);"),
    (CORE, UNREGISTER, "mn_release(subscription, mm); mn_wait_callbacks(subs); "
     "mn_unlink(subs, subscription);"),
    (CORE, "mn_wait_walks(subs);", NOTHING),
    (CORE, "mn_claim_counters(subs);", NOTHING),
    (CORE, "wake_up_var_locked(&subs->heard, &subs->lock);", NOTHING),
    (CORE, "synchronize_rcu();", NOTHING),
    # Who waits for walks, and walks.
    (CORE, WAIT, WAIT.replace("wait_var_event(old, !atomic_read(old));", "")),
    (CORE, WAIT, LOOK_AT_OLD + SWITCH),
    (CORE, "smp_load_acquire(&subs->count) == count", "true"),
    # Release: once, before pages are freed, and not of what was put (R5).
    (CORE, "test_and_set_bit(MN_RELEASE_CLAIMED, &sub->flags)",
     "(test_and_set_bit(MN_RELEASE_CLAIMED, &sub->flags), false)"),
    (CORE, "wait_on_bit(&sub->flags, MN_RELEASE_PENDING,\n\t\t\t    TASK_UNINTERRUPTIBLE);",
     NOTHING),
    (CORE, "mn_release(sub, mm);\n\t\tmn_unlink(subs, sub);",
     "mn_unlink(subs, sub); mn_release(sub, mm);"),
    (CORE, "if (subs->intervals)\n\t\tmmu_interval_release(subs->intervals, mm);", NOTHING),
    (CORE, "!test_and_set_bit(MN_RELEASE_CLAIMED, &subscription->flags)", "false"),
    # What was put is freed behind the last callback, and waited for (R6).
    (CORE, "if (put)\n\t\tmn_wait_callbacks(subs);", NOTHING),
    (CORE, "flush_workqueue(mn_put_wq);", NOTHING),

    # The count of an interval before the look for open sections (S1), again after a
    # wait; sections that overlap hold readers off, and no others (S2, S3).
    (INTERVAL, FIRST_LOOK, "if (!mi_wait_all(itv, interval_sub)) "
     "return smp_load_acquire(&interval_sub->invalidate_seq);"),
    (INTERVAL, SECOND_LOOK, SECOND_LOOK.replace("mi_wait_all(itv, interval_sub);", "")),
    (INTERVAL, SECOND_LOOK, "mi_wait_all(itv, interval_sub); "
     "return smp_load_acquire(&interval_sub->invalidate_seq);"),
    (INTERVAL, "(long)(last - range->seq) >= 0", "true"),
    (INTERVAL, "range->start <= sub->interval_tree.last", "true"),
    (INTERVAL, "range->end - 1 >= sub->interval_tree.start", "true"),
    (INTERVAL, "range->seq = lane->seq + MI_SEQ_STEP;", "range->seq = lane->seq;"),
    # The first reader of an interval waits for those that looked before it was there,
    # of both phases, and for no later ones.
    (INTERVAL, "mi_settle(itv, interval_sub);", NOTHING),
    (INTERVAL, "!mi_is_idle(mi_lane(itv, i), 0)", "false"),
    (INTERVAL, "!mi_is_idle(mi_lane(itv, i), 1)", "false"),
    (INTERVAL, "lane->phase = !lane->phase;", NOTHING),
    (INTERVAL, IDLE, NOTHING),
    (INTERVAL, "!cmpxchg_acquire(&itv->settling, 0, 1)", "true"),
    # A section that hits several calls each.
    (INTERVAL, "next || sub->dead || sub->ops->invalidate_start",
     "sub->dead || sub->ops->invalidate_start"),
    # There may be more lanes than the first: all are waited for, the old one, too.
    (INTERVAL, "waited |= mi_wait(mi_lane(itv, i), sub);",
     "if (!i) waited |= mi_wait(mi_lane(itv, i), sub);"),
    (INTERVAL, "waited |= mi_wait(mi_lane(itv, i), sub);",
     "if (i || nr == 1) waited |= mi_wait(mi_lane(itv, i), sub);"),
    (INTERVAL, "!mi_is_idle(mi_lane(itv, i), 0)", "!i && !mi_is_idle(mi_lane(itv, i), 0)"),
    (INTERVAL, IDLE, "if (!i) " + IDLE),
    (INTERVAL, IDLE, "if (i || nr == 1) " + IDLE),
    # The first interval: on lanes from then on, and no section left that is on none.
    (INTERVAL, LANES, LANES.replace("mmu_notifier_drain(mm);", "")),
    (INTERVAL, LANES, "mmu_notifier_drain(mm); " + LANES.splitlines()[0]),
    (INTERVAL, "smp_load_acquire(&itv->drained)", "true"),
    # Removal: no new callback, wait for the old ones up to the second pass.
    (INTERVAL, "sub->dead = true;", NOTHING),
    (INTERVAL, "if (sub->dead)\n\t\t\tcontinue;", NOTHING),
    (INTERVAL, "next || sub->dead || sub->ops->invalidate_start",
     "next || sub->ops->invalidate_start"),
    (INTERVAL, PIN, "atomic_inc(&sub->active);"),
    (INTERVAL, "mi_wait_pins(sub);", NOTHING),
    # Who refuses leaves nothing open, and who agreed before is finished.
    (INTERVAL, "mmu_interval_section_end(range);", NOTHING),
    (INTERVAL, "agreed ? 0 : mi_refuse(range)", "agreed ? 0 : -EAGAIN"),
    (INTERVAL, "if (first)\n\t\tmi_finish(first, range);",
     "if (first && agreed) mi_finish(first, range);"),

    # KVM's count moves with a page and at the end of a range (S1, S2); the fault reads it
    # before its lookup, and looks at it again under mmu_lock.
    (KVM, PAGE_COUNT, NOTHING),
    (KVM, PAGE_COUNT, "kvm_mmu_invalidate_bump(kvm, range->start, range->start + 1);"),
    (KVM, RANGE_END, NOTHING),
    (X86, "ret = __kvm_mmu_faultin_pfn(vcpu, fault);",
     "ret = __kvm_mmu_faultin_pfn(vcpu, fault); "
     "fault->mmu_seq = mmu_invalidate_gfn_seq(kvm, fault->gfn);"),
    (X86, STALE, "true"),
    (X86, STALE, "!mmu_invalidate_covers_gfn(vcpu->kvm, fault->gfn)"),
    (X86, STALE, f"!({MOVED})"),
    # An open section elsewhere makes nobody retry (S3).
    (X86, STALE, f"!(vcpu->kvm->mmu_invalidate_in_progress || {MOVED})"),
    # Of all its frames, and of no others.
    (KVM, "end - start <= KVM_INVALIDATE_FEW_FRAMES", "false"),
    (KVM, "kvm_mn_count(&frame->seq);", NOTHING),
    (KVM, "WRITE_ONCE(frame->round, round);", NOTHING),
    (KVM, "++frame == frames + KVM_INVALIDATE_FRAMES", "++frame == NULL"),
    (KVM, "round++;", NOTHING),
    (KVM, "last - block < KVM_INVALIDATE_BLOCKS", "false"),
    (KVM, "block <= last", "block < last"),
    (KVM, "kvm_mn_count(kvm_invalidate_block(kvm, block));", NOTHING),
    (KVM, "kvm_mn_count(&kvm->mmu_invalidate_seqs->all);", NOTHING),
    # Memslots do not change in a section.
    (KVM, MEMSLOTS, NOTHING),
    # The flush that reclaim leaves for later: for a few processes, of what stays locked
    # and in a cache.
    (CORE, "batch->nr < MMU_NOTIFIER_BATCH_MMS", "!batch->nr"),
    (CORE, "mmgrab(mm);\n\t\tbatch->mms[batch->nr++] = mm;", "mmgrab(mm);"),
    (VMSCAN, "was_swapbacked && folio != unmapped.alone", "folio != unmapped.alone"),
    (RMAP, "userfaultfd_armed(vma) && !folio_test_anon(folio)", "false"),
    # Of a few frames the sptes go, as a whole, and no others.
    (TDP, "leaf->gfn = gfn_round_for_level(gfn, leaf->level);", "leaf->gfn = gfn;"),
    (TDP, SAME_TABLE, SAME_TABLE.splitlines()[0].removesuffix(" &&")),
    (TDP, SAME_TABLE, SAME_TABLE.splitlines()[1]),
    (TDP, "(leaf).gfn < (end)", "(leaf).gfn <= (end)"),
    (TDP, "flush |= !root->role.invalid;", NOTHING),
    # What was accessed, and what is to be forgotten of it.
    (TDP, "next = min(ALIGN(gfn + 1, SPTE_ENT_PER_PAGE), range->end);", "next = range->end;"),
    (TDP, OLD_HUGE, OLD_HUGE.splitlines()[1].strip()),
    (TDP, AGE_LEAF, NOTHING),
    # Nor is there anything left of what a userfaultfd or a guard takes the place of.
    ("mm/userfaultfd.c", "userfaultfd_flush_unmapped(vma);", NOTHING),
    ("mm/userfaultfd.c", "i_mmap_lock_write(vma->vm_file->f_mapping);\n"
     "\ti_mmap_unlock_write(vma->vm_file->f_mapping);", NOTHING),
    (VMSCAN, "folio_contain_hwpoisoned_page(next)", "false"),
    # It waits for nobody who may fault on what is locked.
    (CORE, "READ_ONCE(subs->heard) & MMU_NOTIFIER_RANGE_FOLIO", "false"),
    (CORE, "return READ_ONCE(subs->intervals);", "return false;"),
    # Reclaim is told what was said of the neighbours, in one batch, one process and
    # one window, and what it takes for accessed is cleared, once.
    (CORE, "window->mm == mm && window->start == start", "window->start == start"),
    (CORE, "window->several = true;", NOTHING),
    (CORE, "window->young = 0;", NOTHING),
    (CORE, "window->asked = false;", NOTHING),
    (CORE, "window->several = false;", NOTHING),
    (CORE, "if (!(window->young & page))\n\t\treturn false;", NOTHING),
    (CORE, "window->young &= ~page;", NOTHING),
    (CORE, "window->taken |= page;", NOTHING),
    (CORE, "window->taken = 0;", NOTHING),
    (CORE, "mmgrab(mm);\n\t\twindow->held = mm;", "window->held = mm;"),
    (CORE, "mmdrop(window->held);", NOTHING),
    (CORE, "return window->held == mm;", "return true;"),
    (CORE, "secondary_window_clear_taken(window);\n\t\talone = !window->several;",
     "alone = !window->several;"),
    (CORE, WINDOW_END, WINDOW_END.replace("secondary_window_clear_taken(window);", "")),
    # Or it does not want to know, and what it came by is cleared once, too.
    (CORE, "window->list && secondary_window_clear_unasked(window, mm, addr)", "false"),
    (CORE, "if (list->nr == ARRAY_SIZE(list->addresses))\n"
     "\t\tsecondary_window_clear_listed(window);", NOTHING),
    (CORE, "list->nr = 0;", NOTHING),
    (CORE, WINDOW_END, "secondary_window_clear_taken(window);"),
    (CORE, "window->list = NULL;", NOTHING),
    (CORE, "addresses[i] - start < size", "true"),
    (KVM, "kvm_mn_clear_gfns(kvm, as_id, &list);", NOTHING),
    (KVM, "if (list->nr == ARRAY_SIZE(list->gfns))\n"
     "\t\t\tkvm_mn_clear_gfns(kvm, as_id, list);", NOTHING),
    (KVM, "list->nr = 0;", NOTHING),
    (TDP, "if (tdp_spte_is_young(leaf.spte))\n\t\t\t\ttdp_mmu_age_leaf(kvm, root, &leaf);",
     NOTHING),
    (X86, "kvm_tdp_mmu_clear_young_gfn_list(kvm, as_id, gfns, nr);", NOTHING),
    (VMSCAN, "secondary_window_end();\n\tmem_cgroup_uncharge_folios(&free_folios);",
     "mem_cgroup_uncharge_folios(&free_folios);"),
    (CORE, "flags |= MN_YOUNG_BY_PAGE;", NOTHING),
    # What reclaim takes together is dropped together, all of it and nothing else.
    (KVM, TRACKED, NOTHING),
    (KVM, FULL, "kvm_mn_batch_add(&kvm->mn_batch, address, end);"),
    (KVM, "nr > batch->nr_dropping", "nr"),
    (KVM, "last->end == start", "true"),
    (KVM, "end - last->start <= KVM_INVALIDATE_FEW_FRAMES * PAGE_SIZE", "true"),
    (KVM, "pages[nr - 1].end = end;", NOTHING),
    (KVM, "batch->nr_dropping = 0;", NOTHING),
    (KVM, "if (smp_load_acquire(&kvm->mn_batch.nr))\n"
     "\t\tkvm_mn_batch_drop(kvm, &kvm->mn_batch);", NOTHING),
    # The same for pfn caches.
    (PFNCACHE, "READ_ONCE(kvm->mn_active_invalidate_count)", "false"),
    (PFNCACHE, "READ_ONCE(kvm->gpc_invalidate_seq) != gpc_seq", "false"),
    (KVM, PAGE_CACHES, "gfn_to_pfn_cache_invalidate_start(kvm, start, end);"),
    (KVM, RANGE_CLOSE, NOTHING),
    (KVM, "kvm_mn_range_gpcs(kvm, range->start, range->end);", NOTHING),
]
