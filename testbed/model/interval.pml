/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interval subscriptions and their collision-retry count:
 * mm/mmu_interval_notifier.c.
 *
 * Interval i covers page i. Operations replace the pages of their range: a page
 * is a number that grows. While a section is open no interval that it overlaps
 * may have a translation, and none may ever establish one of a page that has
 * been replaced.
 *
 * The locks of the VM are one lock, see registration.pml; pins are waited for in
 * one step, see pins.pml; so are the sections that hit no interval, see idle.pml;
 * what is done under a driver's lock is one step, too.
 *
 * right: INTERVALS=1 OPS=1 FAULTS=2
 * right: INTERVALS=1 OPS=2 FAULTS=1
 * right: INTERVALS=2 OPS=1 FAULTS=1
 *
 * wrong: NO_DRAIN		the first interval does not wait for older sections
 * wrong: NO_READY INTERVALS=2 FAULTS=1	the second does not wait for the first one's drain
 * wrong: NO_RETRY		the reader uses whatever it read
 * wrong: NO_WAIT		the reader does not wait for open sections
 * wrong: NO_SETTLE		nor for those that looked the tree up before it was in
 * wrong: NO_SECOND_WAIT OPS=2 FAULTS=1	nor for those that it finds a new count of
 * wrong: SEQ_LATE		the count is read after the wait
 * wrong: LOOKUP_EARLY		the reader reads the page tables before the lanes
 * wrong: NO_WMB		a lane is seen empty before the page tables are seen changed
 * wrong: LOOK_EARLY		the end of a section looks for readers, then leaves the lane
 * wrong: NO_WAIT_PINS		remove does not wait for callbacks
 * wrong: ONE_LANE OPS=2 FAULTS=1	the tree is changed under the lock of one lane
 * wrong: COUNT_EARLY OPS=2 FAULTS=1	the lanes are counted, then the first is locked
 * wrong: NO_FINISH_PIN		the pin is dropped before the second pass
 * wrong: NO_FINISH INTERVALS=2 FAULTS=0	a refused section has no second pass
 * wrong: STAY_ON_LANE		a refused section stays on its lane
 */
#define LANES	2
#define NONE	255
#define BIT(n)	(1 << (n))
#define ALL	(BIT(INTERVALS) - 1)

#define MI_SEQ_FIRST(lane)	(2 * (lane) + 1)
#define MI_SEQ_STEP		(2 * LANES)

/* struct mmu_interval_notifier, and what the driver knows. */
typedef mmu_interval_notifier {
	byte invalidate_seq;
	byte pins;		/* active */
	bool dead;
	bool settled;
	bool live;		/* may be touched */
	byte asked;		/* operations that owe it a second pass */
	byte spte		/* the page that it maps */
};
mmu_interval_notifier sub[INTERVALS];

/* struct mmu_notifier_range */
typedef mmu_notifier_range {
	byte pages;
	byte seq
};
mmu_notifier_range range[OPS];

typedef mmu_interval_lane {
	bool lock;
	byte seq;
	byte missed;		/* operations that are counted: started, not ended */
	byte open;		/* operations on the list */
	byte readers		/* wait queue */
};

/* struct mmu_interval_subscriptions */
bool intervals;			/* subs->intervals != NULL */
bool drained;
byte tree;			/* intervals */
byte nr_lanes = 1;
mmu_interval_lane lanes[LANES];

/* The page tables, and the lock under which they change. */
byte pte[INTERVALS] = 1;
bool mmap_lock;
byte vm_readers;

byte asleep;			/* drivers */

inline spin_lock(sem)	{ atomic { !sem; sem = true } }
inline spin_unlock(sem)	{ sem = false }

/* The tree. */

inline mi_lock_tree()
{
#ifdef COUNT_EARLY
	nr = nr_lanes;
#endif
	spin_lock(lanes[0].lock);
#ifndef COUNT_EARLY
	nr = nr_lanes;
#endif
#ifndef ONE_LANE
	if
	:: nr > 1 -> spin_lock(lanes[1].lock)
	:: else
	fi
#endif
}

inline mi_unlock_tree()
{
	d_step {
#ifndef ONE_LANE
		if
		:: nr > 1 -> lanes[1].lock = false
		:: else
		fi;
#endif
		lanes[0].lock = false;
		nr = 0
	}
}

/* Pins. */

inline mi_unpin(s)
{
	d_step { assert(sub[s].live && sub[s].pins); sub[s].pins-- }
}

/* Pins the first interval from @node on that the section hits, into @at. */
inline mi_pin_from()
{
	at = NONE;
	do
	:: node == INTERVALS || at != NONE -> break
	:: else ->
		if
		:: tree & range[me].pages & BIT(node) -> mi_pin(node)
		:: else
		fi;
		node++
	od;
	more = ((tree & range[me].pages) >> node != 0)
}

inline mi_pin(s)
{
	d_step {
		assert(sub[s].live);
		if
		:: !sub[s].dead -> sub[s].pins++; at = s
		:: else
		fi
	}
}

inline mi_pin_next()
{
	at = NONE;
	if
	:: more ->
		spin_lock(lanes[lane].lock);
		assert(sub[prev].live && tree & BIT(prev));
		node = prev + 1;
		mi_pin_from();
		spin_unlock(lanes[lane].lock)
	:: else
	fi
}

/* Sections. */

inline mi_enter()
{
	spin_lock(lanes[lane].lock);
	if
	:: tree & range[me].pages ->
		range[me].seq = lanes[lane].seq + MI_SEQ_STEP;
		lanes[lane].seq = range[me].seq;
		lanes[lane].open = lanes[lane].open | BIT(me);
		node = 0;
		mi_pin_from()
	:: else ->
		lanes[lane].missed = lanes[lane].missed | BIT(me)
	fi;
	mi_unlock_lane()
}

/* Others may have waited: then there are more lanes from now on. */
inline mi_unlock_lane()
{
	if
	:: lane == 0 -> nr_lanes = LANES
	:: skip
	fi;
	spin_unlock(lanes[lane].lock)
}

/* A callback. Under the driver's lock: the number, and the translations. */
inline mi_call(s)
{
	atomic {
		assert(sub[s].live);
		finish = false;
		if
		:: agreed = false
		:: sub[s].invalidate_seq = range[me].seq;
		   if
		   :: sub[s].spte = 0
		   /* In two passes; of one operation, they are many states. */
		   :: OPS == 1 -> finish = true; sub[s].asked = sub[s].asked | BIT(me)
		   fi
		fi
	}
	assert(sub[s].live)
}

/* The second pass. */
inline mi_finish()
{
	node = 0;
	do
	:: node == INTERVALS -> break
	:: else ->
		if
		:: finishes & BIT(node) ->
			d_step {
				assert(sub[node].live);
				sub[node].asked = sub[node].asked & ~BIT(me);
				sub[node].spte = 0
			}
#ifndef NO_FINISH_PIN
			mi_unpin(node)
#endif
		:: else
		fi;
		node++
	od;
	finishes = 0
}

inline mi_invalidate()
{
	do
	:: at == NONE -> break
	:: else ->
		mi_call(at);
		prev = at;
		at = NONE;
		if
		:: agreed -> mi_pin_next()
		:: else
		fi;
#ifdef NO_FINISH_PIN
		mi_unpin(prev);
#else
		if
		:: !finish -> mi_unpin(prev)
		:: else
		fi;
#endif
		finishes = finishes | (finish -> BIT(prev) : 0)
	od;
	prev = NONE;
#ifdef NO_FINISH
	if
	:: !agreed -> finishes = 0
	:: else
	fi;
#endif
	mi_finish()
}

/* A section that hit no interval has ended. */
inline mi_leave()
{
	lanes[lane].missed = lanes[lane].missed & ~BIT(me);
#ifdef NO_WMB
	change()
#endif
}

inline mi_take_off()
{
#ifdef LOOK_EARLY
	wake = (lanes[lane].readers != 0);
#endif
	spin_lock(lanes[lane].lock);
	lanes[lane].open = lanes[lane].open & ~BIT(me);
#ifndef LOOK_EARLY
	wake = (lanes[lane].readers != 0);
#endif
#ifdef NO_WMB
	/* The stores of the change become visible. */
	change();
#endif
	spin_unlock(lanes[lane].lock);
	if
	:: wake -> wake_up_all()
	:: else
	fi
}

inline mmu_interval_section_end()
{
	if
	:: range[me].seq -> mi_take_off()
	:: else -> mi_leave()
	fi
}

inline wake_up_all()
{
	d_step {
		asleep = asleep & ~lanes[lane].readers;
		lanes[lane].readers = 0;
		wake = false
	}
}

inline mmu_interval_section_start()
{
	mi_enter();
	mi_invalidate();
#ifndef STAY_ON_LANE
	if
	:: !agreed -> mmu_interval_section_end()
	:: else
	fi
#endif
}

/* Replaces the pages of the range, if the section is open. */
inline change()
{
	d_step {
		for (k : 0 .. INTERVALS - 1) {
			assert(!(sub[k].asked & BIT(me)));
			if
			:: agreed && range[me].pages & BIT(k) ->
				assert(!sub[k].spte);
				pte[k]++
			:: else
			fi
		}
		k = 0
	}
}

proctype operation(byte me)
{
	byte at = NONE, prev = NONE, lane = NONE;
	byte node, finishes, k;
	bool more, wake, finish;
	bool agreed = true;

	atomic {
		vm_readers++;
		if
		:: range[me].pages = ALL
		:: me -> skip			/* where no interval is */
		fi
	}
	/* __mmu_notifier_range_start() */
	if
	:: intervals ->
		if
		:: lane = 0
		:: nr_lanes > 1 -> lane = 1
		fi;
		mmu_interval_section_start()
	:: else
	fi;
#ifndef NO_WMB
	change();
#endif
	if
	:: agreed && lane != NONE -> mmu_interval_section_end()
	:: else
	fi;
	vm_readers--
}

/* Readers. */

inline mi_is_open()
{
	atomic {
		!lanes[l].lock;
		is_open = false;
		for (k : 0 .. OPS - 1) {
			is_open = is_open || (lanes[l].open & BIT(k) && range[k].seq <= last &&
					      range[k].pages & BIT(me))
		}
		k = 0
	}
}

/* wait_event(), as in include/linux/wait.h */
inline wait_event()
{
	do
	:: /* prepare_to_wait_event() */
	   d_step {
		asleep = asleep | BIT(me);
		lanes[l].readers = lanes[l].readers | BIT(me)
	   }
	   mi_is_open();
	   if
	   :: !is_open -> break
	   :: else
	   fi;
	   !(asleep & BIT(me))		/* schedule() */
	od;
	/* finish_wait() */
	atomic {
		asleep = asleep & ~BIT(me);
		lanes[l].readers = lanes[l].readers & ~BIT(me)
	}
}

inline mi_wait()
{
	if
	:: lanes[l].open ->
		last = lanes[l].seq;
		mi_is_open();
		if
		:: is_open -> waited = true; wait_event()
		:: else
		fi
	:: else
	fi
}

inline mi_wait_all()
{
	nr = nr_lanes;
	l = 0;
	do
	:: l == nr -> break
	:: else -> mi_wait(); l++
	od;
	nr = 0
}

/* Waits for the operations that are counted now, lane by lane. */
inline mi_settle()
{
	nr = nr_lanes;
	l = 0;
	do
	:: l == nr -> break
	:: else ->
		last = lanes[l].missed;
		!(lanes[l].missed & last);
		l++
	od;
	last = 0;
	nr = 0;
	sub[me].settled = true
}

inline mmu_interval_read_begin()
{
#ifndef NO_SETTLE
	if
	:: !sub[me].settled -> mi_settle()
	:: else
	fi;
#endif
	waited = false;
	seq = sub[me].invalidate_seq;
#ifndef NO_WAIT
	mi_wait_all();
#endif
#ifdef SEQ_LATE
	seq = sub[me].invalidate_seq;
#endif
	if
	:: waited ->
		seq = sub[me].invalidate_seq;
#ifndef NO_SECOND_WAIT
		mi_wait_all()
#endif
	:: else
	fi
}

inline fault()
{
#ifdef LOOKUP_EARLY
	page = pte[me];
	mmu_interval_read_begin();
#else
	mmu_interval_read_begin();
	page = pte[me];
#endif
	/* Under the driver's lock. */
	atomic {
		if
#ifndef NO_RETRY
		/* mmu_interval_read_retry() */
		:: sub[me].invalidate_seq != seq
#endif
		:: else ->
			assert(page == pte[me]);
			sub[me].spte = page
		fi;
		page = 0;
		seq = 0
	}
}

/* Insertion and removal. */

inline mmu_notifier_drain()
{
	!vm_readers
}

inline mi_prepare()
{
	if
	:: !drained ->
		intervals = true;
#ifndef NO_DRAIN
		mmu_notifier_drain();
#endif
		drained = true
	:: else
	fi
}

#ifdef NO_READY
#define mi_ready	intervals
#else
#define mi_ready	drained
#endif

inline mmu_interval_notifier_insert()
{
	if
	:: !mi_ready ->
		spin_lock(mmap_lock);
		mi_prepare();
		spin_unlock(mmap_lock)
	:: else
	fi;
	d_step { sub[me].live = true; sub[me].pins = 1 }
	mi_lock_tree();
	tree = tree | BIT(me);
	mi_unlock_tree()
}

inline mi_erase()
{
	tree = tree & ~BIT(me)
}

inline mi_wait_callbacks()
{
	sub[me].dead = true;
	mi_unlock_tree();
	mi_unpin(me);
#ifndef NO_WAIT_PINS
	sub[me].pins == 0;
#endif
	mi_lock_tree()
}

inline mmu_interval_notifier_remove()
{
	mi_lock_tree();
	if
	:: sub[me].pins != 1 -> mi_wait_callbacks()
	:: else
	fi;
	mi_erase();
	mi_unlock_tree();
	sub[me].live = false
}

proctype driver(byte me)
{
	byte seq, last, page, l, nr, k, faults;
	bool waited, is_open;

	mmu_interval_notifier_insert();
	do
	:: faults < FAULTS -> fault(); faults++
	:: break
	od;
	sub[me].spte = 0;
	mmu_interval_notifier_remove()
}

init {
	byte i;

	atomic {
		lanes[0].seq = MI_SEQ_FIRST(0);
		lanes[1].seq = MI_SEQ_FIRST(1);
		for (i : 0 .. INTERVALS - 1) {
			run driver(i)
		}
		for (i : 0 .. OPS - 1) {
			run operation(i)
		}
	}
}
