// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that stop where no function is called and nothing waits: at an access
 * to one word of memory, which a debug register of the CPU watches.
 */

#include <linux/cpumask.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <linux/timekeeping.h>

#include "mmu_notifier_kunit.h"
#include "mmu_notifier_kunit_sys.h"
#include "mmu_notifier_kunit_trap.h"

#define LIMIT_NS	(20 * NSEC_PER_SEC)

#if defined(CONFIG_HAVE_HW_BREAKPOINT) && defined(CONFIG_X86)

/* Runs behind the access, like an NMI: it spins, and so needs a second CPU. */
static void stop(struct perf_event *event, struct perf_sample_data *data,
		 struct pt_regs *regs)
{
	struct mnk_trap *trap = event->overflow_handler_context;
	u64 limit = ktime_get_mono_fast_ns() + LIMIT_NS;

	if (READ_ONCE(trap->task) != current || trap->stopped)
		return;
	/* Pairs with the acquire of those who see that it has stopped. */
	smp_store_release(&trap->stopped, true);
	while (!READ_ONCE(trap->go)) {
		if (ktime_get_mono_fast_ns() > limit) {
			WRITE_ONCE(trap->lost, true);
			return;
		}
		cpu_relax();
	}
}

static void remove(void *data)
{
	struct mnk_trap *trap = data;

	WRITE_ONCE(trap->go, true);
	unregister_wide_hw_breakpoint(trap->events);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
}

/* First of all in a test: it is skipped where there are no traps, and leaves nothing. */
void mnk_trap_require(struct kunit *test)
{
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
}

/* The test stays on one CPU from here on, and a thread that is stopped on another. */
struct mnk_trap *mnk_trap_set(struct kunit *test, void *word, int len, int type)
{
	struct mnk_trap *trap = kunit_kzalloc(test, sizeof(*trap), GFP_KERNEL);
	struct perf_event_attr attr;

	KUNIT_ASSERT_NOT_NULL(test, trap);
	trap->test_cpu = cpumask_first(cpu_online_mask);
	trap->cpu = cpumask_next(trap->test_cpu, cpu_online_mask);

	hw_breakpoint_init(&attr);
	attr.bp_addr = (unsigned long)word;
	attr.bp_len = len;
	attr.bp_type = type;
	trap->events = register_wide_hw_breakpoint(&attr, stop, trap);
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR_PCPU(trap->events),
			       "no debug register is free");
	set_cpus_allowed_ptr(current, cpumask_of(trap->test_cpu));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, remove, trap));
	return trap;
}

#else

void mnk_trap_require(struct kunit *test)
{
	kunit_skip(test, "no debug registers that stop behind an access");
}

struct mnk_trap *mnk_trap_set(struct kunit *test, void *word, int len, int type)
{
	return NULL;
}

#endif

/* The calling thread is the one that stops, at the next access. */
void mnk_trap_me(struct mnk_trap *trap)
{
	set_cpus_allowed_ptr(current, cpumask_of(trap->cpu));
	WRITE_ONCE(trap->task, current);
}

void mnk_trap_wait(struct kunit *test, struct mnk_trap *trap,
		   struct mnk_thread *thread)
{
	/* Pairs with the release in stop(). */
	mnk_wait_for(test, smp_load_acquire(&trap->stopped) ||
		     completion_done(&thread->done));
	KUNIT_ASSERT_TRUE_MSG(test, trap->stopped, "the thread did not come by");
}

void mnk_trap_go(struct kunit *test, struct mnk_trap *trap)
{
	KUNIT_EXPECT_FALSE(test, READ_ONCE(trap->lost));
	WRITE_ONCE(trap->go, true);
}
