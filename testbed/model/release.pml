/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The end of subscriptions: exit against unregister and put, and the work that
 * frees what was put, mm/mmu_notifier.c.
 *
 * Owners register and unregister. Users share subscriptions by get and put, or
 * leave the put to the release callback. exit_mmap() comes once nobody has
 * mm_users any more, and so before, between or after everything that follows a
 * registration. A page may be freed when mmu_notifier_release() has returned: no
 * subscriber may have translations then.
 *
 * The list is a set here and a grace period nothing, see registration.pml.
 *
 * right: OWNERS=1 USERS=1
 * right: OWNERS=0 USERS=2
 * right: OWNERS=2 USERS=0
 *
 * wrong: NO_CLAIM		exit and unregister both call release
 * wrong: NO_RELEASE_WAIT	who does not call release does not wait for it
 * wrong: NO_CLEAR		put claims release and says not that it is over
 * wrong: RETIRE_FIRST		unregister hides the subscription, then releases
 * wrong: NO_WAIT_PINS		put frees what exit has pinned
 * wrong: NO_HOLD		the queued work does not hold the mm
 * wrong: NO_FLUSH		synchronize does not wait for the work
 * wrong: DEAD_GET USERS=2	get finds what has been put
 */
#define SUBS	(OWNERS + USERS)
#define NONE	255
#define BIT(n)	(1 << (n))

/* struct mmu_notifier, and what the subscriber knows. */
typedef mmu_notifier {
	bool linked;
	bool pending;		/* MN_RELEASE_PENDING */
	bool claimed;		/* MN_RELEASE_CLAIMED */
	bool retired;		/* MN_RETIRED */
	bool freeing;		/* MN_FREEING */
	byte pins;		/* active */
	byte users;
	bool shared;		/* by get and put */
	bool live;		/* may be touched */
	bool released;		/* release was called */
	byte left;		/* references that release puts */
	byte spte		/* who has translations by it */
};
mmu_notifier sub[SUBS];
byte nr_subs;

/* struct mm_struct and struct mmu_notifier_subscriptions, freed together. */
bool mmap_lock;
bool lock;
byte mm_users = SUBS;
byte mm_count = 1;

inline down(sem)	{ atomic { !sem; sem = true } }
inline up(sem)		{ sem = false }

inline mmgrab()		{ d_step { assert(mm_count); mm_count++ } }

inline mmdrop()
{
	d_step {
		assert(mm_count);
		mm_count--;
		/* __mmu_notifier_subscriptions_destroy() */
		for (k : 0 .. SUBS - 1) {
			assert(mm_count || !sub[k].linked)
		}
		k = 0
	}
}

/* A work item and its workqueue. */
bool queued;
byte nr_queued, nr_done;

inline queue_work()
{
	atomic {
		was_queued = queued;
		nr_queued = nr_queued + !queued;
		queued = true
	}
}

/* Pins. */

/* MN_RETIRED alone decides nothing. */
inline mn_pin(s)
{
	atomic {
		pinned = (sub[s].linked && sub[s].pins > 0);
		sub[s].pins = sub[s].pins + pinned
	}
}

inline mn_unpin(s)
{
	d_step { assert(sub[s].live && sub[s].pins); sub[s].pins-- }
}

inline mn_stop(s)
{
	d_step {
		assert(sub[s].live);
		pinned = !sub[s].retired;
		sub[s].retired = true
	}
	if
	:: pinned -> mn_unpin(s)
	:: else
	fi
}

inline mn_retire(s)
{
	mn_stop(s);
#ifndef NO_WAIT_PINS
	sub[s].pins == 0
#endif
}

/* Put. */

inline mn_claim_release(s)
{
	d_step {
		assert(sub[s].live);
#ifndef NO_CLAIM
		claimed = sub[s].claimed;
#endif
		sub[s].claimed = true
	}
}

inline mmu_notifier_put(s)
{
#ifndef NO_HOLD
	mmgrab();
#endif
	down(lock);
	d_step {
		assert(sub[s].live && sub[s].users);
		sub[s].users--;
		last = !sub[s].users
	}
	if
	:: last ->
		mn_claim_release(s);
#ifndef NO_CLEAR
		if
		:: !claimed -> sub[s].pending = false
		:: else
		fi;
#endif
		mn_stop(s)
	:: else
	fi;
	up(lock);
	if
	:: last -> queue_work()
	:: else
	fi;
#ifndef NO_HOLD
	if
	:: !last || was_queued -> mmdrop()
	:: else
	fi
#endif
}

inline mn_unlink(s)
{
	atomic { !lock; sub[s].linked = false }
}

inline mn_claim_put()
{
	atomic {
		!lock;
		assert(mm_count);
		s = NONE;
		for (k : 0 .. SUBS - 1) {
			if
			:: s == NONE && sub[k].linked && !sub[k].users && !sub[k].freeing -> s = k
			:: else
			fi
		}
		k = 0;
		if
		:: s != NONE -> sub[s].freeing = true
		:: else
		fi
	}
}

inline mn_put_work()
{
	do
	:: mn_claim_put();
	   if
	   :: s == NONE -> break
	   :: else
	   fi;
	   mn_retire(s);
	   mn_unlink(s);
	   /* free_notifier */
	   d_step { assert(sub[s].live); sub[s].live = false }
	   mmdrop()
	od;
#ifndef NO_HOLD
	mmdrop()
#endif
}

active proctype worker()
{
	byte k, s;
	bool pinned;

end:	do
	:: atomic { queued; queued = false }
	   mn_put_work();
	   nr_done++
	od
}

inline mmu_notifier_synchronize()
{
	target = nr_queued;
#ifndef NO_FLUSH
	nr_done >= target
#endif
}

/* Release. */

inline mn_release(s)
{
	mn_claim_release(s);
	if
	:: claimed ->
#ifndef NO_RELEASE_WAIT
		!sub[s].pending
#endif
	:: else ->
		/* The callback. */
		d_step { assert(sub[s].live && !sub[s].released); sub[s].released = true }
		d_step { assert(sub[s].live); sub[s].spte = 0 }
		do
		:: sub[s].left -> sub[s].left--; mmu_notifier_put(s)
		:: else -> break
		od;
		assert(sub[s].live);
		sub[s].pending = false
	fi
}

inline __mmu_notifier_release()
{
	do
	:: s == SUBS -> break
	:: else ->
		mn_pin(s);
		if
		:: pinned ->
			mn_release(s);
			mn_stop(s);
			mn_unpin(s)
		:: else
		fi;
		s++
	od
}

active proctype exit_mmap()
{
	byte k, s, target;
	bool pinned, claimed, last, was_queued;

	mm_users == 0;
	__mmu_notifier_release();
	s = 0;
	d_step {
		for (k : 0 .. SUBS - 1) {
			assert(!sub[k].spte)
		}
		k = 0
	}
	mmdrop()
}

/* Registration. */

inline mmu_notifier_register()
{
	d_step {
		s = nr_subs;
		nr_subs++;
		sub[s].live = true;
		sub[s].pending = true;
		sub[s].users = 1;
		sub[s].pins = 1;
		sub[s].linked = true;
		mm_count++
	}
}

inline mmu_notifier_unregister(s)
{
#ifdef RETIRE_FIRST
	mn_retire(s);
	mn_release(s);
#else
	mn_release(s);
	mn_retire(s);
#endif
	mn_unlink(s);
	sub[s].live = false;
	mmdrop()
}

proctype owner(byte me)
{
	byte k, s;
	bool pinned, claimed, last, was_queued;

	mmu_notifier_register();
	sub[s].spte = BIT(me);
	mm_users--;
	mmu_notifier_unregister(s)
}

inline mn_find_get()
{
	atomic {
		!lock;
		s = NONE;
		for (k : 0 .. SUBS - 1) {
			if
#ifdef DEAD_GET
			:: sub[k].linked && sub[k].shared -> s = k
#else
			:: sub[k].linked && sub[k].shared && sub[k].users -> s = k
#endif
			:: else
			fi
		}
		k = 0;
		if
		:: s != NONE -> sub[s].users++
		:: else
		fi
	}
}

inline mmu_notifier_get()
{
	down(mmap_lock);
	mn_find_get();
	if
	:: s == NONE -> mmu_notifier_register(); sub[s].shared = true
	:: else
	fi;
	up(mmap_lock)
}

proctype user(byte me)
{
	byte k, s, target;
	bool pinned, claimed, last, was_queued;

	mmu_notifier_get();
	d_step { assert(sub[s].live); sub[s].spte = sub[s].spte | BIT(me) }
	if
	:: sub[s].left++;
	   mm_users--
	:: mm_users--;
	   d_step { assert(sub[s].live); sub[s].spte = sub[s].spte & ~BIT(me) }
	   mmu_notifier_put(s);
	   mmu_notifier_synchronize();
	   assert(!last || !sub[s].live)
	fi
}

init {
	byte i;

	atomic {
		do
		:: i < OWNERS -> run owner(i); i++
		:: i >= OWNERS && i < SUBS -> run user(i); i++
		:: i == SUBS -> break
		od
	}
}
