/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pins of an interval and the wait for the last one: mm/mmu_interval_notifier.c.
 * Walks of the subscription list are counted in another way, see walks.pml.
 *
 * Spin's memory is sequentially consistent. Where the code relies on a barrier,
 * the variant without it has both orders: the processor's own store is seen by
 * others before or after what it does next, a load is made now or was made
 * before. So a missing barrier is found.
 *
 * right: CALLERS=3
 *
 * wrong: NO_BARRIER		no barrier between the decrement and the look at the queue
 * wrong: LOOK_FIRST		the waiter looks at the pins, then queues
 * wrong: NO_RELEASE		what a callback did is seen after its pin is gone
 * wrong: NO_ACQUIRE		the waiter has read that before the pins
 * wrong: PIN_DEAD		an interval that is being removed gets new pins
 * wrong: PIN_UNLOCKED		dead is looked at before the lock is taken
 * wrong: TOUCH			unpin looks at the pins again after its decrement
 * wrong: NO_WAIT_PINS		nobody waits
 */
byte pins = 1;			/* active; one is the insertion's */
bool dead;
bool lock;			/* of a lane: removal takes all of them */
byte called, visible;		/* callbacks that wrote; whose store others see */
bool gone;			/* out of the tree and freed */

/* The waiter, and the wait queue of the hashed address. */
bool queued, asleep;

inline spin_lock()	{ atomic { !lock; lock = true } }
inline spin_unlock()	{ lock = false }

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

/* atomic_dec_and_test() */
inline dec_and_test()
{
	d_step {
		assert(!gone && pins);
		pins--;
		last = !pins
	}
}

inline mi_unpin()
{
#ifdef NO_BARRIER
	/* waitqueue_active() is executed ahead of the store before it. */
	if
	:: waiting = queued; ahead = true
	:: true
	fi;
#endif
	dec_and_test();
	if
	:: last ->
#ifdef TOUCH
		assert(!gone);
#endif
		if
		:: !ahead -> waiting = queued
		:: else
		fi;
		wake_up_var(waiting)
	:: else
	fi
}

/* Who does not find the interval in the tree does not come here. */
inline mi_pin_from()
{
#ifdef PIN_UNLOCKED
	pinned = !dead && !gone;
	spin_lock();
#else
	spin_lock();
#ifdef PIN_DEAD
	pinned = !gone;
#else
	pinned = !dead && !gone;
#endif
#endif
	pins = pins + pinned;
	spin_unlock()
}

inline flush()
{
	visible = visible | (1 << me)
}

proctype caller(byte me)
{
	bool pinned, last, waiting, ahead;

	mi_pin_from();
	if
	:: pinned ->
		/* The callback, which sleeps and then writes. */
		assert(!gone);
		d_step { assert(!gone); called = called | (1 << me) }
#ifdef NO_RELEASE
		mi_unpin();
		flush()
#else
		flush();
		mi_unpin()
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

inline mi_wait_pins()
{
#ifdef NO_ACQUIRE
	seen = visible;
#endif
#ifndef NO_WAIT_PINS
	wait_var_event();
#endif
#ifndef NO_ACQUIRE
	seen = visible;
#endif
	skip
}

/* mmu_interval_notifier_remove() */
active proctype remover()
{
	bool last, waiting, ahead;
	byte seen;

	spin_lock();
	if
	:: pins == 1 -> seen = visible
	:: else ->
		/* mi_wait_callbacks() */
		dead = true;
		spin_unlock();
		mi_unpin();
		mi_wait_pins();
		spin_lock()
	fi;
	gone = true;
	spin_unlock();
	assert(seen == called)
}

init {
	byte i;

	atomic {
		for (i : 0 .. CALLERS - 1) {
			run caller(i)
		}
	}
}
