/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the first mmu_interval_read_begin() of an interval waits for the sections
 * that hit none: mm/mmu_interval_notifier.c, mi_settle().
 *
 * One lane. A section is counted in one of two phases, then changes its page and
 * is counted as ended. Who has waited sees what every section has changed that
 * started before the wait. Sections that start behind the change of the phase go
 * on until that reader is done: one that waited for them would wait for ever.
 *
 * right: SECTIONS=3 READERS=1
 * right: SECTIONS=2 READERS=2
 *
 * wrong: STARTS_FIRST		what has started is read before what has ended
 * wrong: NO_WAIT		nobody waits
 * wrong: NO_FLIP READERS=1	new sections are counted with the old ones
 * wrong: NO_MUTEX SECTIONS=1 READERS=3	two wait at a time
 * wrong: ONE_COUNT SECTIONS=2 READERS=2	only one of the counts is looked at
 * wrong: NO_RELEASE		a section ends before its change is seen
 * wrong: LOOK_EARLY READERS=1	the end of a section looks for readers, then counts
 */
#define BIT(n)	(1 << (n))

/* struct mmu_interval_lane */
bool lock;
bit phase;
byte started[2];
byte ended[2];
byte readers;			/* wait queue */

bool phase_lock;
byte asleep;

byte flipped, done;		/* readers that have changed the phase; that have waited */
byte begun;			/* sections that have started */
byte changed;			/* sections whose change is seen */

/* mi_leave() */
inline mi_leave()
{
#ifdef LOOK_EARLY
	wake = (readers != 0);
#endif
	ended[mine]++;
#ifndef LOOK_EARLY
	wake = (readers != 0);
#endif
	if
	:: wake -> d_step { asleep = asleep & ~readers; readers = 0 }
	:: else
	fi
}

proctype section(byte me)
{
	bit mine;
	byte ahead;			/* readers that need not wait for it */
	bool wake;

	/* Under the lock, and after the look at the tree. */
	atomic {
		!lock;
		mine = phase;
		started[mine]++;
		begun = begun | BIT(me);
		ahead = flipped
	}
	(done & ahead) == ahead;
#ifdef NO_RELEASE
	mi_leave();
	changed = changed | BIT(me)
#else
	changed = changed | BIT(me);
	mi_leave()
#endif
}

inline mi_is_idle(p)
{
#ifdef STARTS_FIRST
	sum = started[p];
	idle = (sum == ended[p]);
#else
	sum = ended[p];
	idle = (sum == started[p]);
#endif
	sum = 0
}

inline mi_is_all_idle()
{
	mi_is_idle(0);
#ifndef ONE_COUNT
	if
	:: idle -> mi_is_idle(1)
	:: else
	fi
#endif
}

inline wait_event()
{
	do
	:: /* prepare_to_wait_event() */
	   d_step { asleep = asleep | BIT(me); readers = readers | BIT(me) }
	   mi_is_idle(old);
	   if
	   :: idle -> break
	   :: else
	   fi;
	   !(asleep & BIT(me))		/* schedule() */
	od;
	/* finish_wait() */
	atomic { asleep = asleep & ~BIT(me); readers = readers & ~BIT(me) }
}

inline mi_wait_idle()
{
	/* The other count is idle. */
	atomic {
		!lock;
		old = phase;
#ifndef NO_FLIP
		phase = !phase;
#endif
		flipped = flipped | BIT(me)
	}
	wait_event()
}

proctype reader(byte me)
{
	bit old;
	byte before, sum;
	bool idle;

	before = begun;
#ifndef NO_WAIT
	mi_is_all_idle();
	if
	:: !idle ->
#ifndef NO_MUTEX
		atomic { !phase_lock; phase_lock = true }
#endif
		mi_wait_idle();
		phase_lock = false
	:: else
	fi;
#endif
	assert((changed & before) == before);
	done = done | BIT(me)
}

init {
	byte i;

	atomic {
		for (i : 0 .. SECTIONS - 1) {
			run section(i)
		}
		for (i : 0 .. READERS - 1) {
			run reader(i)
		}
	}
}
