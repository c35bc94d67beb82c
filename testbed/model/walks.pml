/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Walks that are counted, and the wait for them: mn_walk_begin(), mn_walk_end()
 * and mn_wait_walks() of mm/mmu_notifier.c.
 *
 * Each waiter takes a subscription of its own off the list, waits, and frees it.
 * So each of them changes the counter once, and a walker that has read the
 * pointer and comes late meets its counter for the second time, or the third.
 * What must hold is asserted: nobody touches what is freed, or misses who stays;
 * callbacks are over, with all they wrote, when the wait is; a walk that begins
 * after the change does not delay the waiter. A waiter that is never woken up is
 * an invalid end state.
 *
 * Spin's memory is sequentially consistent. The variant without an order that
 * the code relies on has both: see pins.pml, which also looks into
 * wait_var_event().
 *
 * right: WALKERS=2 WAITERS=2
 * right: WALKERS=1 WAITERS=3
 * right: WALKERS=3 WAITERS=1
 *
 * wrong: NO_RECHECK		a walk does not look at the pointer again
 * wrong: NO_MB			or has done so before it is counted
 * wrong: DROP_FIRST		the waiter looks at the old counter, then changes the pointer
 * wrong: NO_FLIP WAITERS=1	new walks begin on the counter that is waited for
 * wrong: NO_MUTEX		two wait at a time
 * wrong: WAIT_FIRST		the subscription is unlinked after the wait
 * wrong: LOSE_NEXT		what is unlinked forgets its successor
 * wrong: NO_ACQUIRE_LIST	the list is read ahead of the pointer
 * wrong: NO_RELEASE_LIST	the pointer is seen changed before the list is
 * wrong: NO_BARRIER		the queue is read ahead of the decrement
 * wrong: NO_RELEASE		what a callback did is seen after its walk has ended
 * wrong: NO_ACQUIRE		the waiter has read that before the counter
 * wrong: NO_WAIT_WALKS		nobody waits
 */
#define NONE	255
#define STAYS	WAITERS		/* one subscription, the last of the list */
#define BIT(n)	(1 << (n))

typedef mmu_notifier {
	byte next;		/* hlist */
	bool live;		/* may be touched */
	byte called, visible	/* walkers that called it; whose stores others see */
};
mmu_notifier sub[WAITERS + 1];

/* struct mmu_notifier_subscriptions */
byte list;
byte count;			/* which of the counters is the current one */
byte counts[2];
bool subs_waiting;

/* The counter that is waited for, from the change of the pointer on. */
byte waited = NONE;

/* The waiters in the wait queue of the hashed address. */
byte queued, asleep;

inline wake_up_var(waiting)
{
	if
	:: waiting ->
		/* The lock of the queue; autoremove_wake_function() */
		d_step { asleep = asleep & ~queued; queued = 0 }
	:: else
	fi
}

/* atomic_dec_and_test() */
inline dec_and_test(i)
{
	d_step {
		assert(counts[i]);
		counts[i]--;
		last = !counts[i]
	}
}

inline mn_walk_end()
{
#ifdef NO_BARRIER
	/* waitqueue_active() is executed ahead of the store before it. */
	if
	:: waiting = (queued > 0); ahead = true
	:: true
	fi;
#endif
	dec_and_test(seen);
	if
	:: last ->
		if
		:: !ahead -> waiting = (queued > 0)
		:: else
		fi;
		wake_up_var(waiting)
	:: else
	fi
}

inline mn_walk_begin()
{
	do
	:: seen = count;
#ifdef NO_MB
	   if
	   :: now = count; early = true
	   :: true
	   fi;
#endif
	   counts[seen]++;
#ifdef NO_ACQUIRE_LIST
	   if
	   :: at = list
	   :: at = NONE
	   fi;
#endif
#ifdef NO_RECHECK
	   break;
#endif
	   d_step {
		if
		:: !early -> now = count
		:: else -> early = false
		fi;
		assert(now != seen || now != count || waited != seen)
	   }
	   if
	   :: now == seen -> break
	   :: else -> mn_walk_end()
	   fi
	od
}

inline flush()
{
	d_step {
		for (k : 0 .. WAITERS) {
			sub[k].visible = sub[k].visible | (sub[k].called & BIT(me))
		}
		k = 0
	}
}

/* The callback, which sleeps and then writes. */
inline call(s)
{
	assert(s != NONE && sub[s].live);
	d_step {
		assert(sub[s].live);
		sub[s].called = sub[s].called | BIT(me)
	}
}

proctype walker(byte me)
{
	byte seen, now, k, at = NONE;
	bool early, last, waiting, ahead;

	mn_walk_begin();
	if
	:: at == NONE -> at = list
	:: else
	fi;
	do
	:: at == STAYS -> break
	:: else ->
		call(at);
		d_step { assert(sub[at].live); at = sub[at].next }
	od;
#ifdef NO_RELEASE
	mn_walk_end();
	flush()
#else
	flush();
	mn_walk_end()
#endif
}

inline mn_unlink()
{
	d_step {
		k = list;
		if
		:: k == me -> list = sub[me].next
		:: else ->
			do
			:: sub[k].next == me -> break
			:: else -> k = sub[k].next
			od;
			sub[k].next = sub[me].next
		fi;
#ifdef LOSE_NEXT
		sub[me].next = NONE;
#endif
		k = 0
	}
}

/* wait_var_event(), which looks at the counter before it queues, too. */
inline wait_var_event(i)
{
	do
	:: counts[i] == 0 -> break
	:: else ->
		/* prepare_to_wait_event() */
		d_step { queued = queued | BIT(me); asleep = asleep | BIT(me) }
		if
		:: counts[i] == 0 -> break
		:: else
		fi;
		!(asleep & BIT(me))	/* schedule() */
	od;
	skip;
	/* finish_wait() */
	d_step { queued = queued & ~BIT(me); asleep = asleep & ~BIT(me) }
}

inline change_counter()
{
#ifdef NO_FLIP
	waited = old
#else
	d_step { count = 1 - old; waited = old }
#endif
}

inline mn_wait_walks()
{
#ifndef NO_MUTEX
	atomic { !subs_waiting; subs_waiting = true }
#endif
	old = count;
	counts[1 - old]++;
#ifdef DROP_FIRST
	dec_and_test(old);
	change_counter();
#else
	change_counter();
#ifdef NO_RELEASE_LIST
	mn_unlink();
#endif
	dec_and_test(old);
#endif
	if
#ifndef NO_WAIT_WALKS
	:: !last ->
#ifdef NO_ACQUIRE
		read = sub[me].visible;
#endif
		wait_var_event(old);
#ifndef NO_ACQUIRE
		read = sub[me].visible
#endif
#endif
	:: else -> read = sub[me].visible
	fi;
	d_step { waited = NONE; subs_waiting = false }
}

proctype waiter(byte me)
{
	byte old, k, read;
	bool last;

#if !defined(WAIT_FIRST) && !defined(NO_RELEASE_LIST)
	mn_unlink();
#endif
	mn_wait_walks();
#ifdef WAIT_FIRST
	mn_unlink();
#endif
	d_step {
		assert(read == sub[me].called);
		sub[me].live = false;
		sub[me].next = NONE
	}
}

init {
	byte i;

	d_step {
		counts[0] = 1;
		for (i : 0 .. WAITERS) {
			sub[i].live = true;
			sub[i].next = (i < STAYS -> i + 1 : NONE)
		}
	}
	atomic {
		for (i : 0 .. WALKERS - 1) {
			run walker(i)
		}
		for (i : 0 .. WAITERS - 1) {
			run waiter(i)
		}
	}
}
