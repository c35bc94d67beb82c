/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registration and unregistration in the middle of sections: the subscription
 * list of mm/mmu_notifier.c. The functions have the names they have there.
 *
 * Operations of the VM run under any of the locks that they may hold; operation
 * i unmaps page i and frees it. Subscribers register, map whatever they may, and
 * unregister. What must hold is asserted where it would break: in the callbacks,
 * at the end of a section, and when a page is freed. Callbacks begin and end in
 * different steps, so everything else can happen while one sleeps.
 *
 * The lookup and the establishing of a translation are one step here, see
 * sequence.pml; and the walks under way are a set here, see walks.pml.
 *
 * right: SUBS=1 OPS=1 ROUNDS=2
 * right: SUBS=1 OPS=2 ROUNDS=1
 * right: SUBS=2 OPS=1 ROUNDS=1
 *
 * wrong: KEY_EARLY SUBS=2 ROUNDS=1	the hooks may not all be patched yet
 * wrong: NO_VMA_DRAIN		operations under the lock of the VMA go on
 * wrong: NO_RMAP_DRAIN		operations under the lock of the file go on
 * wrong: DRAIN_FIRST		then publish
 * wrong: NO_STAMP		ends go to everybody who is on the list
 * wrong: STAMP_FIRST		the number is seen before the subscription
 * wrong: HEARD_LATE		the number is seen before what the subscription hears
 * wrong: END_TO_ALL		a refused start ends for those who did not hear it
 * wrong: NO_UNWIND SUBS=2 ROUNDS=1	a refused start ends for nobody
 * wrong: UNWIND_TO SUBS=2 ROUNDS=1	it ends up to the refuser itself, who may be off the list
 * wrong: NO_WAIT_WALKS		unregister does not wait for callbacks that sleep
 * wrong: NO_GRACE		nor for those that do not
 * wrong: WAIT_FIRST		it waits, then unlinks
 * wrong: LOSE_NEXT SUBS=2 ROUNDS=1	what is unlinked forgets its successor
 * wrong: UNLOCK_EARLY OPS=2 ROUNDS=1	munmap() unlocks before its VMA leaves the rmap
 * wrong: FORK_INHERITS OPS=2 ROUNDS=1	a child has the list of its parent
 */
#define NONE	255
#define BIT(n)	(1 << (n))

/* Locks of the VM, for one VMA that maps a file; i_mmap is any lock of the rmap. */
typedef rwsem {
	byte readers;
	bool writer
};
rwsem mmap_lock, vma_lock, i_mmap;
bool in_tree = true;		/* the VMA is found by address */
bool in_rmap = true;		/* and through the file */

inline down_read(sem)	{ atomic { !sem.writer; sem.readers++ } }
inline up_read(sem)	{ sem.readers-- }
inline down_write(sem)	{ atomic { !sem.writer && !sem.readers; sem.writer = true } }
inline up_write(sem)	{ sem.writer = false }

/* Also unlocks every VMA that the caller has locked for writing. */
inline mmap_write_unlock()
{
	d_step { vma_lock.writer = false; mmap_lock.writer = false }
}

inline mmap_write_downgrade()
{
	d_step { vma_lock.writer = false; mmap_lock.writer = false; mmap_lock.readers++ }
}

/* mmu_notifier_used, and the code of the hooks that test it. */
mtype = { DISABLED, PATCHING, ENABLED };
mtype key = DISABLED;
bool patched;

inline static_branch_enable()
{
	if
	:: atomic { key == DISABLED -> key = PATCHING }
	   patched = true;
	   key = ENABLED
	:: key != DISABLED ->
	   key == ENABLED		/* jump_label_lock() */
	fi
}

inline mmu_notifier_enable()
{
#ifdef KEY_EARLY
	/* static_key_enabled() */
	if
	:: key == DISABLED -> static_branch_enable()
	:: else
	fi
#else
	static_branch_enable()
#endif
}

/*
 * Readers, and whom a waiter waits for: those who were there when it began. Under
 * RCU, or counted.
 */
typedef readside {
	byte now;
	byte gp[SUBS]
};
readside rcu, walks;

inline enter(set)
{
	set.now = set.now | BIT(me)
}

inline leave(set)
{
	d_step {
		set.now = set.now & ~BIT(me);
		for (k : 0 .. SUBS - 1) {
			set.gp[k] = set.gp[k] & ~BIT(me)
		}
		k = 0
	}
}

inline wait_for(set)
{
	set.gp[me] = set.now;
	set.gp[me] == 0
}

inline rcu_read_lock()		{ enter(rcu) }
inline rcu_read_unlock()	{ leave(rcu) }

inline mn_walk_begin()		{ enter(walks) }
inline mn_walk_end()		{ leave(walks) }

inline mn_wait_callbacks()
{
#ifndef NO_WAIT_WALKS
	wait_for(walks);	/* mn_wait_walks() */
#endif
#ifndef NO_GRACE
	wait_for(rcu);		/* synchronize_rcu() */
#endif
	skip
}

/* struct mmu_notifier, and what the subscriber knows. */
typedef mmu_notifier {
	byte next;		/* hlist */
	byte stamp;
	bool registered;	/* MN_REGISTERED */
	bool has_page;		/* ops->invalidate_page */
	bool live;		/* may be touched */
	byte open;		/* operations whose start it agreed to */
	byte spte		/* pages it maps */
};
mmu_notifier sub[SUBS];

/* struct mmu_notifier_subscriptions */
bool subscriptions;		/* mm->notifier_subscriptions != NULL */
bool child_subscriptions;	/* the same of a child */
bool in_child_rmap;
byte list = NONE;
byte stamp;
byte heard;			/* MMU_NOTIFIER_RANGE_SPAN, _FOLIO */
bool lock;

/* The page table. */
byte pte = BIT(OPS) - 1;

/* Walks: from @at, which is NONE or what the last step found. */

inline mn_next()
{
	if
	:: at == NONE -> at = list
	:: else ->
		d_step { assert(sub[at].live); at = sub[at].next }
	fi
}

inline mn_first_stamped()
{
	at = NONE;
	mn_next();
#ifndef NO_STAMP
	do
	:: at != NONE && sub[at].stamp > range_stamp ->
		assert(sub[at].live);
		mn_next()
	:: else -> break
	od
#endif
}

/* Sections. */

#define RANGE_SPAN	1
#define RANGE_FOLIO	2

#define mn_hears(s)	!(folio && sub[s].has_page)
#define mn_heard_flags(s)	(sub[s].has_page -> RANGE_SPAN : RANGE_SPAN | RANGE_FOLIO)
#define mn_is_heard	(heard & (folio -> RANGE_FOLIO : RANGE_SPAN))

inline mn_call_end(s)
{
	d_step {
		/* Sections of the child call nobody. */
		assert(sub[s].live && !mm);
		/* No end without a start. */
		assert(sub[s].open & BIT(me));
		sub[s].open = sub[s].open & ~BIT(me)
	}
	assert(sub[s].live)
}

/* Ends for those on the list down to @at, where @behind is true. */
inline mn_call_ends(behind)
{
	mn_first_stamped();
	do
	:: at == NONE || (behind) -> break
	:: else ->
		assert(sub[at].live);
		if
		:: mn_hears(at) -> mn_call_end(at)
		:: else
		fi;
		mn_next()
	od;
	at = NONE
}

inline mn_range_end()
{
	mn_walk_begin();
	mn_call_ends(false);
	mn_walk_end()
}

inline mn_refused()
{
	refused = at;
#if defined(END_TO_ALL)
	mn_call_ends(false);
#elif defined(UNWIND_TO)
	mn_call_ends(at == refused);
#elif !defined(NO_UNWIND)
	mn_call_ends(sub[at].stamp <= sub[refused].stamp);
#endif
	assert(sub[refused].live);
	refused = NONE
}

inline mn_call_start(s)
{
	atomic {
		assert(sub[s].live && !mm);
		assert(!(sub[s].open & BIT(me)));
		if
		:: nonblock -> ret = true
		:: true ->
			sub[s].open = sub[s].open | BIT(me);
			sub[s].spte = sub[s].spte & ~BIT(me)
		fi
	}
	assert(sub[s].live)
}

inline mn_range_start()
{
	mn_walk_begin();
	mn_first_stamped();
	do
	:: at == NONE || ret -> break
	:: else ->
		assert(sub[at].live);
		if
		:: mn_hears(at) -> mn_call_start(at)
		:: else
		fi;
		if
		:: ret -> mn_refused()
		:: else -> mn_next()
		fi
	od;
	at = NONE;
	mn_walk_end()
}

inline check_freed_page()
{
	d_step {
		for (k : 0 .. SUBS - 1) {
			assert(mm || !(sub[k].spte & BIT(me)))
		}
		k = 0
	}
}

/* Nobody is left who heard the start and shall hear the end. */
inline check_balance()
{
	d_step {
		for (k : 0 .. SUBS - 1) {
			assert(!(sub[k].open & BIT(me)) || !sub[k].registered)
		}
		k = 0
	}
}

inline __mmu_notifier_invalidate_page()
{
	rcu_read_lock();
	at = list;
	do
	:: at == NONE -> break
	:: else ->
		assert(sub[at].live);
		if
		:: sub[at].has_page ->
			/* The callback. */
			d_step {
				assert(sub[at].live && !mm);
				sub[at].spte = sub[at].spte & ~BIT(me)
			}
		:: else
		fi;
		at = sub[at].next
	od;
	rcu_read_unlock()
}

#define mm_has_notifiers	(patched && (mm -> child_subscriptions : subscriptions))

/* Unmaps page @me of the mm, and frees it. */
inline section()
{
	opened = mm_has_notifiers;
	if
	:: opened ->
		range_stamp = stamp;
		if
		:: mn_is_heard -> mn_range_start()
		:: else
		fi
	:: else
	fi;
	if
	:: ret -> opened = false
	:: else ->
		pte = pte & ~(mm -> 0 : BIT(me));
		if
		:: opened && folio -> __mmu_notifier_invalidate_page()
		:: else
		fi;
		check_freed_page()
	fi;
	if
	:: opened && mn_is_heard -> mn_range_end()
	:: else
	fi;
	check_balance()
}

/* Operations of the VM. */

#define REAP		0
#define FAULT		1
#define TRUNCATE	2
#define MUNMAP		3
#define FORK		4

inline operation_lock()
{
	if
	:: how == REAP -> down_read(mmap_lock); found = in_tree; nonblock = true
	:: how == FAULT -> down_read(vma_lock); found = in_tree; folio = true
	:: how == TRUNCATE -> down_read(i_mmap); found = in_rmap
	:: how == MUNMAP ->
		down_write(mmap_lock);
		down_write(vma_lock);
		found = in_tree;
		in_tree = false;
		mmap_write_downgrade()
	:: how == FORK ->
		down_write(mmap_lock);
		down_write(vma_lock);
		found = in_tree;
		in_child_rmap = in_tree;
#ifdef FORK_INHERITS
		child_subscriptions = subscriptions
#endif
	fi
}

inline operation_unlock()
{
	if
	:: how == REAP -> up_read(mmap_lock)
	:: how == FAULT -> up_read(vma_lock)
	:: how == TRUNCATE -> up_read(i_mmap)
	:: how == MUNMAP ->
#ifdef UNLOCK_EARLY
		up_read(mmap_lock);
#endif
		down_write(i_mmap);
		in_rmap = false;
		up_write(i_mmap);
#ifndef UNLOCK_EARLY
		up_read(mmap_lock)
#endif
	:: how == FORK -> mmap_write_unlock()
	fi
}

proctype operation(byte me, how)
{
	byte at = NONE, refused = NONE;
	byte range_stamp, k;
	bool found, folio, nonblock, opened, ret, mm;

	operation_lock();
	do
	:: found ->
		section();
		found = (how == TRUNCATE && in_child_rmap && !mm);
		mm = 1
	:: else -> break
	od;
	operation_unlock()
}

/* Registration. */

inline mmu_notifier_drain()
{
	if
	:: in_tree ->
#ifndef NO_VMA_DRAIN
		down_write(vma_lock);
#endif
#ifndef NO_RMAP_DRAIN
		down_write(i_mmap);
		up_write(i_mmap)
#endif
	:: else
	fi
}

inline mn_publish()
{
	atomic {
		!lock;
		lock = true;
		sub[me].live = true;
		sub[me].registered = true;
		sub[me].open = 0;
		sub[me].stamp = stamp + 1;
		sub[me].next = list;
#ifndef HEARD_LATE
		heard = heard | mn_heard_flags(me)
#endif
	}
#ifdef STAMP_FIRST
	stamp = sub[me].stamp;
	list = me;
#else
	list = me;
	stamp = sub[me].stamp;
#endif
#ifdef HEARD_LATE
	heard = heard | mn_heard_flags(me);
#endif
	lock = false
}

inline mmu_notifier_register()
{
	mmu_notifier_enable();
	down_write(mmap_lock);
	subscriptions = true;
#ifdef DRAIN_FIRST
	mmu_notifier_drain();
	mn_publish();
#else
	mn_publish();
	mmu_notifier_drain();
#endif
	mmap_write_unlock()
}

inline mn_unlink()
{
	atomic {
		!lock;
		if
		:: list == me -> list = sub[me].next
		:: else ->
			k = list;
			do
			:: sub[k].next == me -> break
			:: else -> k = sub[k].next
			od;
			sub[k].next = sub[me].next;
			k = 0
		fi;
#ifdef LOSE_NEXT
		sub[me].next = NONE;
#endif
	}
}

inline mmu_notifier_unregister()
{
	sub[me].registered = false;
	/* mn_release() */
	sub[me].spte = 0;
#ifdef WAIT_FIRST
	mn_wait_callbacks();
	mn_unlink();
#else
	mn_unlink();
	mn_wait_callbacks();
#endif
	d_step { sub[me].live = false; sub[me].next = NONE }
}

/* A fault, of all pages that it may map. */
inline fault()
{
	sub[me].spte = pte & ~sub[me].open
}

proctype subscriber(byte me)
{
	byte k, round;

	do
	:: round == ROUNDS -> break
	:: else ->
		mmu_notifier_register();
		fault();
		mmu_notifier_unregister();
		round++
	od
}

init {
	byte i, how = REAP;

	atomic {
		for (i : 0 .. SUBS - 1) {
			if
			:: sub[i].has_page = true
			:: true
			fi;
			run subscriber(i)
		}
		/* They are alike: one order of their kinds is enough. */
		for (i : 0 .. OPS - 1) {
			do
			:: how < FORK -> how++
			:: run operation(i, how) -> break
			od
		}
	}
}
