/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The end of subscriptions: exit against unregister and put, and the work that
 * frees what was put, mm/mmu_notifier.c.
 *
 * Owners register, and unregister or put. Users share subscriptions by get and
 * put, or leave the put to the release callback. exit_mmap() comes once nobody
 * has mm_users any more, and so before, between or after everything that follows
 * a registration. A page may be freed when mmu_notifier_release() has returned,
 * or when reclaim has called who is on the list: no subscriber may have
 * translations then. In the end everything is freed, or it is an invalid end
 * state.
 *
 * The walks under way are a set here and a grace period nothing: see walks.pml
 * and registration.pml.
 *
 * right: OWNERS=1 USERS=1 RECLAIM=0
 * right: OWNERS=0 USERS=2 RECLAIM=0
 * right: OWNERS=2 USERS=0 RECLAIM=0
 * right: OWNERS=1 USERS=0 RECLAIM=1
 * right: OWNERS=0 USERS=1 RECLAIM=1
 *
 * wrong: NO_CLAIM		exit and unregister both call release
 * wrong: NO_RELEASE_WAIT	who does not call release does not wait for it
 * wrong: NO_CLEAR		put claims release and says not that it is over
 * wrong: UNLINK_FIRST		unregister hides the subscription, then releases
 * wrong: EXIT_UNLINKS USERS=0 RECLAIM=1	so does exit
 * wrong: EXIT_FORGETS		exit forgets what is behind the one that it has unlinked
 * wrong: TRUST_EXIT		unregister does not wait if exit has unlinked
 * wrong: NO_WAIT_WALKS		put frees what exit stands on
 * wrong: NO_HOLD		the queued work does not hold the mm
 * wrong: HOLD_LATE		it does once the subscription is the work's
 * wrong: KEEP_HOLD		as often as it is to be queued
 * wrong: CLAIM_LATE		put looks at what the work may have freed
 * wrong: NO_FLUSH		synchronize does not wait for the work
 * wrong: DEAD_GET OWNERS=0 USERS=2	get finds what has been put
 */
#define SUBS	(OWNERS + USERS)
#define NONE	255
#define BIT(n)	(1 << (n))

/* struct mmu_notifier, and what the subscriber knows. */
typedef mmu_notifier {
	byte next;		/* hlist */
	bool linked;
	bool registered;	/* MN_REGISTERED */
	bool pending;		/* MN_RELEASE_PENDING */
	bool claimed;		/* MN_RELEASE_CLAIMED */
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
bool i_mmap;
bool in_rmap = true;		/* its VMAs */
bool lock;
byte mm_users = SUBS;
byte mm_count = 1;
byte list = NONE;
byte put;			/* the llist, as a set */
bool mapped = true;		/* the pages, until reclaim */

inline down(sem)	{ atomic { !sem; sem = true } }
inline up(sem)		{ sem = false }

inline mmgrab()		{ d_step { assert(mm_count); mm_count++ } }

inline mmdrop()
{
	d_step {
		assert(mm_count);
		mm_count--;
		/* __mmu_notifier_subscriptions_destroy() */
		assert(mm_count || (list == NONE && !put))
	}
}

/* A work item and its workqueue. */
bool queued;
byte nr_queued, nr_done;

inline queue_work()
{
	d_step {
		assert(mm_count);
		was_queued = queued;
		nr_queued = nr_queued + !queued;
		queued = true
	}
}

/* Walks. */
byte walks;
byte gp[SUBS + 1];

inline mn_walk_begin()	{ walks = walks | BIT(me) }

inline mn_walk_end()
{
	d_step {
		walks = walks & ~BIT(me);
		for (k : 0 .. SUBS) {
			gp[k] = gp[k] & ~BIT(me)
		}
		k = 0
	}
}

inline mn_wait_walks()
{
#ifndef NO_WAIT_WALKS
	d_step { assert(mm_count); gp[me] = walks };
	gp[me] == 0;
#endif
	skip
}

inline mn_next(s)
{
	d_step {
		if
		:: s == NONE -> s = list
		:: else -> assert(sub[s].live); s = sub[s].next
		fi
	}
}

/* hlist_del_init_rcu() */
inline hlist_del(s)
{
	d_step {
		assert(sub[s].live && mm_count);
		if
		:: !sub[s].linked
		:: else ->
			sub[s].linked = false;
			if
			:: list == s -> list = sub[s].next
			:: else ->
				k = list;
				do
				:: sub[k].next == s -> break
				:: else -> k = sub[k].next
				od;
				sub[k].next = sub[s].next;
				k = 0
			fi
		fi
	}
}

inline mn_unlink(s)
{
	atomic { !lock; hlist_del(s) }
}

/* Put. */

inline mn_claim(s)
{
	d_step {
		assert(sub[s].live);
#ifndef NO_CLAIM
		claimed = sub[s].claimed;
#endif
		sub[s].claimed = true
	}
}

inline mn_claim_put(s)
{
	mn_claim(s);
#ifndef NO_CLEAR
	if
	:: !claimed -> d_step { assert(sub[s].live); sub[s].pending = false }
	:: else
	fi;
#endif
	skip
}

inline mn_queue_put(s)
{
#if !defined(NO_HOLD) && !defined(HOLD_LATE)
	mmgrab();
#endif
	d_step { assert(sub[s].live); put = put | BIT(s) };
#ifdef HOLD_LATE
	mmgrab();
#endif
	queue_work();
#if !defined(NO_HOLD) && !defined(KEEP_HOLD)
	if
	:: was_queued -> mmdrop()
	:: else
	fi;
#endif
	skip
}

inline mmu_notifier_put(s)
{
	down(lock);
	d_step {
		assert(sub[s].live && sub[s].registered && sub[s].users);
		sub[s].users--;
		last = !sub[s].users
	}
#ifdef DEAD_GET
	up(lock);
	down(lock);
#endif
	if
	:: last -> sub[s].registered = false; hlist_del(s)
	:: else
	fi;
	up(lock);
	if
	:: last ->
#ifdef CLAIM_LATE
		mn_queue_put(s);
		mn_claim_put(s)
#else
		mn_claim_put(s);
		mn_queue_put(s)
#endif
	:: else
	fi
}

inline mn_put_work()
{
	d_step { assert(mm_count); taken = put; put = 0 }
	if
	:: taken -> mn_wait_walks()
	:: else
	fi;
	do
	:: s == SUBS -> break
	:: else ->
		if
		:: taken & BIT(s) ->
			/* free_notifier */
			d_step { assert(sub[s].live); sub[s].live = false }
			mmdrop()
		:: else
		fi;
		s++
	od;
	s = 0; taken = 0;
#ifndef NO_HOLD
	mmdrop();
#endif
	nr_done++
}

active proctype worker()
{
	byte taken, s, me = SUBS;

end:	do
	:: atomic { queued; queued = false }
	   mn_put_work()
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
	mn_claim(s);
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
	mn_walk_begin();
	mn_next(s);
	do
	:: s == NONE -> break
	:: else ->
#ifdef EXIT_UNLINKS
		mn_unlink(s);
		mn_release(s);
#else
		mn_release(s);
		mn_unlink(s);
#endif
#ifdef EXIT_FORGETS
		s = NONE
#else
		mn_next(s)
#endif
	od;
	mn_walk_end()
}

inline check_freed_pages()
{
	d_step {
		for (k : 0 .. SUBS - 1) {
			assert(!sub[k].spte)
		}
		k = 0
	}
}

active proctype exit_mmap()
{
	byte k, s = NONE, target, me = SUBS;
	bool claimed, last, was_queued;

	mm_users == 0;
	__mmu_notifier_release();
	check_freed_pages();
	/* free_pgtables() */
	down(i_mmap);
	in_rmap = false;
	up(i_mmap);
	mmdrop()
}

/* A section, from the rmap. Nobody maps the pages once it has begun. */
inline section()
{
	mapped = false;
	mn_walk_begin();
	mn_next(s);
	do
	:: s == NONE -> break
	:: else ->
		/* The callback. */
		assert(sub[s].live);
		d_step { assert(sub[s].live); sub[s].spte = 0 }
		mn_next(s)
	od;
	mn_walk_end();
	check_freed_pages()
}

active [RECLAIM] proctype reclaim()
{
	byte k, s = NONE, me = SUBS + 1;

	down(i_mmap);
	if
	:: in_rmap -> section()
	:: else
	fi;
	up(i_mmap)
}

/* Registration. */

inline mmu_notifier_register()
{
	atomic {
		!lock;
		s = nr_subs;
		nr_subs++;
		sub[s].live = true;
		sub[s].registered = true;
		sub[s].pending = true;
		sub[s].users = 1;
		sub[s].next = list;
		sub[s].linked = true;
		list = s;
		mm_count++
	}
}

inline mmu_notifier_unregister(s)
{
	d_step { assert(sub[s].registered); sub[s].registered = false };
#ifdef UNLINK_FIRST
	mn_unlink(s);
	mn_release(s);
#else
	mn_release(s);
#ifdef TRUST_EXIT
	last = !sub[s].linked;
#endif
	mn_unlink(s);
#endif
	if
	:: !last -> mn_wait_walks()
	:: else
	fi;
	d_step { assert(sub[s].released); sub[s].live = false };
	mmdrop()
}

inline fault(s)
{
	d_step { assert(sub[s].live); sub[s].spte = sub[s].spte | (mapped -> BIT(me) : 0) }
}

inline unmap(s)
{
	d_step { assert(sub[s].live); sub[s].spte = sub[s].spte & ~BIT(me) }
}

proctype owner(byte me)
{
	byte k, s;
	bool claimed, last, was_queued;

	mmu_notifier_register();
	fault(s);
	mm_users--;
	if
	:: mmu_notifier_unregister(s)
	:: unmap(s);
	   mmu_notifier_put(s)
	fi
}

inline mn_find_get()
{
	atomic {
		!lock;
		s = list;
		do
		:: s == NONE -> break
		:: else ->
			if
			:: sub[s].shared -> sub[s].users++; break
			:: else -> s = sub[s].next
			fi
		od
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
	bool claimed, last, was_queued;

	mmu_notifier_get();
	fault(s);
	if
	:: sub[s].left++;
	   mm_users--
	:: mm_users--;
	   unmap(s);
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
	mm_count == 0
}
