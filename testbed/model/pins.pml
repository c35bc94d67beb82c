/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pins and the wait for the last one: mm/mmu_notifier_internal.h, and mn_pin()
 * of mm/mmu_notifier.c. Intervals use them as subscriptions do.
 *
 * Spin's memory is sequentially consistent. Where the code relies on a barrier,
 * the variant without it has both orders: the processor's own store is seen by
 * others before or after what it does next, a load is made now or was made
 * before. So a missing barrier is found.
 *
 * right: CALLERS=3
 *
 * wrong: NO_BARRIER		no smp_mb() between the decrement and the look at the queue
 * wrong: LOOK_FIRST		the waiter looks at the pins, then queues
 * wrong: NO_RELEASE		what a callback did is seen after its pin is gone
 * wrong: NO_ACQUIRE		the waiter has read that before the pins
 * wrong: PIN_ZERO		refcount_inc(), not refcount_inc_not_zero()
 * wrong: TOUCH			unpin looks at the pins again after its decrement
 * wrong: NO_WAIT_PINS		nobody waits
 */
byte pins = 1;			/* the registration's */
byte called, visible;		/* callbacks that wrote; whose store others see */
bool gone;			/* freed, but for walks under RCU */

/* The waiter, and the wait queue of the hashed address. */
bool queued, asleep;

inline wake_up_var(waiting)
{
	if
	:: waiting ->
		/* The lock of the queue; autoremove_wake_function() */
		d_step {
			if
			:: queued -> queued = false; asleep = false
			:: else
			fi
		}
	:: else
	fi
}

inline mmu_notifier_unpin()
{
#ifdef NO_BARRIER
	/* waitqueue_active() is executed ahead of the store before it. */
	if
	:: waiting = queued; ahead = true
	:: true
	fi;
#endif
	d_step {
		assert(!gone && pins);
		pins--;
		last = !pins
	}
	if
	:: last ->
#ifdef TOUCH
		assert(!gone);
#endif
		/* smp_mb() */
		if
		:: !ahead -> waiting = queued
		:: else
		fi;
		wake_up_var(waiting)
	:: else
	fi
}

inline mn_pin()
{
#ifdef PIN_ZERO
	pins++;
	pinned = true
#else
	d_step { pinned = (pins > 0); pins = pins + pinned }
#endif
}

inline flush()
{
	visible = visible | (1 << me)
}

proctype caller(byte me)
{
	bool pinned, last, waiting, ahead;

	mn_pin();
	if
	:: pinned ->
		/* The callback, which sleeps and then writes. */
		assert(!gone);
		d_step { assert(!gone); called = called | (1 << me) }
#ifdef NO_RELEASE
		mmu_notifier_unpin();
		flush()
#else
		flush();
		mmu_notifier_unpin()
#endif
	:: else
	fi
}

/* wait_var_event(), as in include/linux/wait_bit.h */
inline wait_var_event()
{
	do
	:: pins == 0 -> break
	:: else ->
		/* prepare_to_wait_event() */
		atomic { queued = true; asleep = true }
#ifndef LOOK_FIRST
		if
		:: pins == 0 -> break
		:: else
		fi;
#endif
		!asleep			/* schedule() */
	od;
	/* finish_wait() */
	atomic { queued = false; asleep = false }
}

inline mmu_notifier_wait_pins()
{
#ifndef NO_WAIT_PINS
	wait_var_event();
#endif
	skip
}

/* mn_retire(), and what it is for. */
active proctype waiter()
{
	bool last, waiting, ahead;
	byte seen;

	mmu_notifier_unpin();
#ifdef NO_ACQUIRE
	seen = visible;
#endif
	mmu_notifier_wait_pins();
#ifndef NO_ACQUIRE
	seen = visible;
#endif
	assert(seen == called);
	gone = true
}

init {
	byte i;

	atomic {
		for (i : 0 .. CALLERS - 1) {
			run caller(i)
		}
	}
}
