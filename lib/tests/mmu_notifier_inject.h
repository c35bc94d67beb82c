/* SPDX-License-Identifier: GPL-2.0 */
/* KVM's lookups of pages, stopped on purpose; see mmu_notifier_inject.c. */
#ifndef _MMU_NOTIFIER_INJECT_H
#define _MMU_NOTIFIER_INJECT_H

#include <linux/types.h>

enum mmu_notifier_inject {
	MMU_NOTIFIER_INJECT_FAULT,	/* between the lookup and mmu_lock */
	MMU_NOTIFIER_INJECT_CACHE,	/* between the lookup and the cache's lock */
	MMU_NOTIFIER_INJECT_VMA,	/* a fault, between its looks at VMA and page */
};

void mmu_notifier_inject_stop(enum mmu_notifier_inject what, u64 where);
bool mmu_notifier_inject_stopped(enum mmu_notifier_inject what);
void mmu_notifier_inject_go(enum mmu_notifier_inject what);
int mmu_notifier_inject_attempts(void);

#endif /* _MMU_NOTIFIER_INJECT_H */
