// Remove the calls of mainline's MMU notifiers.  Run by remove.py.

// Address ranges that only served as a place to read two values from.
@split@
identifier fn = {__split_huge_pud, __split_huge_pmd, zap_vma_for_reaping};
identifier r;
expression ev, fl, mm, s, e;
@@
fn(...)
{
...
- struct mmu_notifier_range r;
...
- mmu_notifier_range_init(&r, ev, fl, mm, s, e);
<...
(
- r.start
+ s
|
- r.end
+ e
)
...>
}

@madv@
identifier r;
expression s, e;
@@
madvise_free_single_vma(...)
{
...
- struct mmu_notifier_range r = { .start = s, .end = e, };
...
- mmu_notifier_range_init(&r, ...);
<...
(
- r.start
+ s
|
- r.end
+ e
)
...>
}

// Sections opened on the first change.
@@
expression list es;
identifier r;
@@
- if (!r.start) {
-	mmu_notifier_range_init(es);
-	mmu_notifier_invalidate_range_start(&r);
- }

@@
identifier r;
@@
- if (r.start)
-	mmu_notifier_invalidate_range_end(&r);

@@
struct mmu_notifier_range r;
@@
- r.start = 0;

@lazy@
identifier n;
expression list es;
expression r;
@@
- if (!n) {
-	n = true;
-	mmu_notifier_range_init_owner(es);
-	mmu_notifier_invalidate_range_start(r);
- }

@flag@
identifier n;
expression r;
@@
- mmu_notifier_invalidate_range_start(r);
- n = true;

@@
identifier n = notified;
expression r;
@@
- if (n)
-	mmu_notifier_invalidate_range_end(r);

@@
identifier n = notified;
@@
- bool n = false;

@@
identifier v = end_addr;
expression E;
@@
collapse_huge_page(...)
{
...
- const unsigned long v = E;
...
}

// The page table walk that write-protects keeps its range in its state.
@@
@@
struct wp_walk {
- struct mmu_notifier_range range;
+ unsigned long start;
+ unsigned long end;
...
};

@@
expression w, ev, fl, mm, s, e;
@@
- mmu_notifier_range_init(&w->range, ev, fl, mm, s, e);
+ w->start = s;
+ w->end = e;

@@
struct wp_walk *w;
@@
(
- w->range.start
+ w->start
|
- w->range.end
+ w->end
)

// Ranges that are data too: two locals stay.
@@
struct mmu_notifier_range r;
@@
- r.start
+ range_start

@@
struct mmu_notifier_range r;
@@
- r.end
+ range_end

@keep@
identifier fn = {zap_vma_range_batched, move_hugetlb_page_tables,
	unmap_hugepage_range, hugetlb_change_protection,
	try_to_unmap_poisoned_hugetlb_one, try_to_migrate_one};
identifier r;
@@
fn(...)
{
<...
- struct mmu_notifier_range r;
+ unsigned long range_start, range_end;
...>
}

@@
identifier keep.fn, keep.r;
expression ev, fl, mm, s, e;
@@
fn(...)
{
<...
(
- mmu_notifier_range_init(&r, ev, fl, mm, s, range_end);
+ range_start = s;
|
- mmu_notifier_range_init(&r, ev, fl, mm, s, e);
+ range_start = s;
+ range_end = e;
)
...>
}

@@
@@
try_to_unmap_one(...)
{
<...
- range_end = vma_address_end(...);
...>
}

// Plain sections.
@@
expression E;
expression list es;
expression r;
@@
- if (E) {
-	mmu_notifier_range_init(es);
-	mmu_notifier_invalidate_range_start(r);
- }

@@
expression E, r;
@@
- if (E)
-	mmu_notifier_invalidate_range_end(r);

@@
expression r;
@@
- if (mmu_notifier_invalidate_range_start_nonblock(r)) { ... }

@@
expression list es;
@@
(
- mmu_notifier_range_init(es);
|
- mmu_notifier_range_init_owner(es);
|
- mmu_notifier_invalidate_range_start(es);
|
- mmu_notifier_invalidate_range_end(es);
)

@@
identifier r;
@@
- struct mmu_notifier_range r;

// Aging.
@@
expression y;
expression list es;
@@
- y |= (mmu_notifier_clear_young(es));

@@
expression list es;
statement S;
@@
- if (mmu_notifier_clear_young(es)) S

@@
expression E;
expression list es;
@@
- E || mmu_notifier_test_young(es)
+ E

@@
expression E, mm;
@@
- E && !mm_has_notifiers(mm)
+ E

@@
@@
(
- clear_flush_young_ptes_notify
+ clear_flush_young_ptes
|
- pmdp_clear_flush_young_notify
+ pmdp_clear_flush_young
|
- test_and_clear_young_ptes_notify
+ test_and_clear_young_ptes
|
- pmdp_test_and_clear_young_notify
+ pmdp_test_and_clear_young
)
 (...)

// Secondary TLBs and the life of an mm.
@@
expression E;
expression list es;
@@
- if (E)
-	mmu_notifier_arch_invalidate_secondary_tlbs(es);

@@
expression list es;
@@
(
- mmu_notifier_arch_invalidate_secondary_tlbs(es);
|
- mmu_notifier_subscriptions_init(es);
|
- mmu_notifier_subscriptions_destroy(es);
|
- mmu_notifier_release(es);
)

// KVM's subscription.
@@
expression r, kvm;
identifier l;
@@
- r = kvm_init_mmu_notifier(kvm);
- if (r)
-	goto l;

@@
expression kvm;
expression list es;
@@
- if (kvm->mmu_notifier.ops)
-	mmu_notifier_unregister(es);

@@
expression kvm;
expression list es;
statement S1, S2;
@@
- mmu_notifier_unregister(es);
- WARN_ON(rcuwait_active(&kvm->mn_memslots_update_rcuwait));
- if (kvm->mn_active_invalidate_count) S1 else S2

@@
expression kvm;
@@
(
- spin_lock_init(&kvm->mn_invalidate_lock);
|
- rcuwait_init(&kvm->mn_memslots_update_rcuwait);
)

@@
expression kvm;
@@
- spin_lock(&kvm->mn_invalidate_lock);
- prepare_to_rcuwait(&kvm->mn_memslots_update_rcuwait);
- while (kvm->mn_active_invalidate_count) { ... }
- finish_rcuwait(&kvm->mn_memslots_update_rcuwait);

@@
expression kvm;
@@
- spin_unlock(&kvm->mn_invalidate_lock);

@@
identifier v;
initializer I;
@@
- struct kvm_mmu_notifier_range v = I;

@@
expression list es;
@@
- kvm_handle_gfn_range(es);
