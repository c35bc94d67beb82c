# SPDX-License-Identifier: GPL-2.0
"""Rules of the core, each of which a mutant breaks: beside the hooks, not in their number."""

NOTHING = ";"
CORE = "mm/mmu_notifier.c"
# File, what is there, what is there in the mutant: two statements or two expressions.
RULES = [
    # Aging asks everybody.
    (CORE, "young |= mn_call_young(sub, mm, start, end, op);",
     "young = young || mn_call_young(sub, mm, start, end, op);"),
    # A section has an end for those who heard its start, and for no other.
    (CORE, "mn_is_younger(sub, range->stamp)", "false"),
    (CORE, "mn_is_younger(sub, refused->stamp)", "true"),
    (CORE, "mn_is_younger(sub, refused->stamp)", "false"),
    (CORE, "range->flags & READ_ONCE(subs->heard)", "false"),
    # Registration waits for the sections before it.
    (CORE, "mmu_notifier_drain(mm);", NOTHING),
    (CORE, "vma_start_write(vma);", NOTHING),
    (CORE, "mn_drain_mapping(mapping);", NOTHING),
    (CORE, "anon_vma_lock_write(root);\n\t\t\tanon_vma_unlock_write(root);", NOTHING),
    # Unregistration waits for callbacks; release runs once, and nothing after it.
    (CORE, "mn_release(subscription, mm);", NOTHING),
    (CORE, "mn_wait_walks(subs);", NOTHING),
    (CORE, "wait_var_event(old, !atomic_read(old));", NOTHING),
    (CORE, "smp_store_release(&subs->count, new);", NOTHING),
    (CORE, "test_and_set_bit(MN_RELEASE_CLAIMED, &sub->flags)",
     "(test_and_set_bit(MN_RELEASE_CLAIMED, &sub->flags), false)"),
]
