/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KVM's pfn caches: kvm_mn_page_gpcs() and kvm_mn_range_gpcs() of
 * virt/kvm/mmu_notifier.c against hva_to_pfn_retry() of virt/kvm/pfncache.c.
 *
 * A page is a number that grows, 0 is none. Operations replace the page and free
 * the old one; no cache that is valid may have a page that is freed. The caches
 * do not use mmu_lock: who checks their count does so under the cache's lock.
 *
 * Spin's memory is sequentially consistent. The variants without a barrier swap
 * what it keeps apart.
 *
 * right: OPS=2 REFRESHES=2
 *
 * wrong: NO_ACTIVATE_MB	a page is looked up before the cache is seen on the list
 * wrong: NO_PAGE_MB		the list is read before the entry is seen cleared
 * wrong: NO_RANGE_MB		the list is read before the range is seen counted
 * wrong: NO_RMB		a page is looked up before the count is read
 * wrong: NO_BUMP		invalidate_page does not move the count
 * wrong: CACHES_FIRST		it does so after it has walked the caches
 * wrong: NO_OPEN		a range does not count itself
 * wrong: CLOSE_FIRST		a range is seen closed before the count is seen moved
 * wrong: RETRY_SWAPPED		the refresh reads the count, then the open ranges
 * wrong: NO_RETRY		the refresh uses whatever it looked up
 */
byte pte = 1;			/* the entry, and the lock of its table */
bool ptl;
byte freed;			/* this page and those before */

/* struct kvm */
bool gpc_list;			/* the cache is on it */
byte gpc_invalidate_seq;
byte mn_active_invalidate_count;

/* struct gfn_to_pfn_cache */
bool gpc_lock;			/* gpc->lock */
bool valid;
byte pfn;

inline spin_lock(lock)		{ atomic { !lock; lock = true } }
inline spin_unlock(lock)	{ lock = false }

inline free_page()
{
	d_step {
		assert(!valid || pfn != page);
		if
		:: freed < page -> freed = page
		:: else
		fi
	}
}

/* Invalidation. */

inline gfn_to_pfn_cache_invalidate_start()
{
	if
	:: gpc_list ->
		spin_lock(gpc_lock);
		valid = false;
		spin_unlock(gpc_lock)
	:: else
	fi
}

inline kvm_mn_page_gpcs()
{
#ifdef NO_PAGE_MB
	on_list = gpc_list;
	pte = 0;
#else
	on_list = gpc_list;
#endif
	if
	:: on_list ->
#ifdef CACHES_FIRST
		gfn_to_pfn_cache_invalidate_start();
		gpc_invalidate_seq++
#elif defined(NO_BUMP)
		gfn_to_pfn_cache_invalidate_start()
#else
		gpc_invalidate_seq++;
		gfn_to_pfn_cache_invalidate_start()
#endif
	:: else
	fi
}

inline kvm_mn_range_gpcs()
{
	if
	:: on_list -> gfn_to_pfn_cache_invalidate_start()
	:: else
	fi
}

inline kvm_mn_range_open()
{
#ifndef NO_OPEN
	mn_active_invalidate_count++;
#endif
	skip
}

/*
 * What comes before is seen before the new count: kvm_mn_invalidate_range_end()
 * takes kvm->srcu in between.
 */
inline kvm_mn_range_close()
{
#ifdef CLOSE_FIRST
	mn_active_invalidate_count--;
	gpc_invalidate_seq++
#else
	gpc_invalidate_seq++;
#ifndef NO_OPEN
	mn_active_invalidate_count--
#endif
#endif
}

/* Operations of the VM. */

inline range_operation()
{
#ifdef NO_RANGE_MB
	on_list = gpc_list;
	kvm_mn_range_open();
#else
	kvm_mn_range_open();
	on_list = gpc_list;
#endif
	kvm_mn_range_gpcs();
	spin_lock(ptl);
	page = pte;
	pte = page + 1;
	spin_unlock(ptl);
	free_page();
	kvm_mn_range_close()
}

inline page_operation()
{
	spin_lock(ptl);
	page = pte;
#ifndef NO_PAGE_MB
	pte = 0;
#endif
	kvm_mn_page_gpcs();
	pte = page + 1;
	spin_unlock(ptl);
	free_page()
}

proctype operation()
{
	byte page;
	bool on_list;

	if
	:: range_operation()
	:: page_operation()
	fi
}

/* The cache. */

inline gpc_invalidate_retry()
{
#ifdef RETRY_SWAPPED
	retry = (gpc_invalidate_seq != gpc_seq);
	retry = retry || mn_active_invalidate_count
#else
	retry = (mn_active_invalidate_count > 0);
	retry = retry || gpc_invalidate_seq != gpc_seq
#endif
}

inline lookup()
{
	page = pte
}

/* Gives up when the entry is empty. */
inline hva_to_pfn_retry()
{
	spin_lock(gpc_lock);
	valid = false;
	do
	::
#ifdef NO_RMB
	   lookup();
#endif
	   gpc_seq = gpc_invalidate_seq;
	   spin_unlock(gpc_lock);
#ifndef NO_RMB
	   lookup();
#endif
#ifdef NO_ACTIVATE_MB
	   gpc_list = true;
#endif
	   spin_lock(gpc_lock);
	   gpc_invalidate_retry();
	   if
	   :: !page -> break
#ifndef NO_RETRY
	   :: page && retry
	   :: page && !retry ->
#else
	   :: page ->
#endif
		d_step {
			assert(page > freed);
			valid = true;
			pfn = page
		}
		break
	   fi
	od;
	spin_unlock(gpc_lock)
}

inline __kvm_gpc_activate()
{
#ifndef NO_ACTIVATE_MB
	gpc_list = true;
#endif
	hva_to_pfn_retry()
}

inline kvm_gpc_deactivate()
{
	spin_lock(gpc_lock);
	valid = false;
	pfn = 0;
	spin_unlock(gpc_lock);
	gpc_list = false
}

active proctype cache()
{
	byte gpc_seq, page, n;
	bool retry;

	do
	:: n < REFRESHES -> __kvm_gpc_activate(); n++
	:: n < REFRESHES && gpc_list -> kvm_gpc_deactivate(); n++
	:: n == REFRESHES -> break
	od
}

init {
	byte i;

	atomic {
		for (i : 1 .. OPS) {
			run operation()
		}
	}
}
