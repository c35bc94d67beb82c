/* SPDX-License-Identifier: GPL-2.0 */
/* Threads that stop at an access to one word of memory. */
#ifndef _MMU_NOTIFIER_KUNIT_TRAP_H
#define _MMU_NOTIFIER_KUNIT_TRAP_H

#include <linux/hw_breakpoint.h>

#include "mmu_notifier_kunit.h"

struct perf_event;

/**
 * struct mnk_trap - stops one thread once, behind its access to a word
 * @events: the debug registers, one for each CPU
 * @task: the thread, NULL as long as none shall stop
 * @stopped: it has stopped
 * @go: it may go on
 * @lost: nobody let it go on
 * @test_cpu: where the test runs
 * @cpu: where the thread runs
 *
 * While the thread is stopped its CPU does nothing else: the test must not wait for
 * a grace period of RCU, a call on every CPU, or for a thread that it starts then.
 */
struct mnk_trap {
	struct perf_event * __percpu *events;
	struct task_struct *task;
	bool stopped;
	bool go;
	bool lost;
	int test_cpu;
	int cpu;
};

void mnk_trap_require(struct kunit *test);
struct mnk_trap *mnk_trap_set(struct kunit *test, void *word, int len, int type);
void mnk_trap_me(struct mnk_trap *trap);
void mnk_trap_wait(struct kunit *test, struct mnk_trap *trap,
		   struct mnk_thread *thread);
void mnk_trap_go(struct kunit *test, struct mnk_trap *trap);

#endif /* _MMU_NOTIFIER_KUNIT_TRAP_H */
