/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Faults, table changes, invalidations and mprotect(2) of a memory view,
 * against R1, R2 and R3 of the design. README.md says which function of the
 * driver each step stands for, and what has been left out and why that is safe.
 *
 * One process per thread that faults, per thread of the controller, and one
 * for whatever invalidates the source. Every labelled step is atomic in the
 * driver too: it is under the lock of the peer's page table or under
 * memview.lock. A fault checks and inserts under the former, and a zap takes it for
 * each entry; a change or an invalidation publishes, under the latter, before its
 * zap and waits for no fault. (Huge entries, and how memory and caches order all
 * this: publish.pml.)
 *
 * Two pages of the view, two pages of the file. The second page of the view
 * maps the second of the file; the first maps either (aliases), alone or in one
 * range with the second.
 *
 * Parameters (spin -D...):
 *   PEERS	1: both threads in one address space; 2: one in each (default)
 *   CONTROLLERS	threads that change the table (default 1)
 *   NO_INVALIDATOR	the source stays as it is
 *   MPROTECT	peers change the protection of their mappings, ranges can be
 *		executable
 *   MUT_...	one rule broken, see ./run
 */

#ifndef PEERS
#define PEERS 2
#endif
#ifndef CONTROLLERS
#define CONTROLLERS 1
#endif
#define THREADS 2

/* Rights, in ranges, mappings and entries. */
#define R 1
#define W 2
#define X 4
#define RIGHTS 7
/* An entry only: the peer's mprotect() took W, the dirty bit stayed. */
#define D 8
/* Maps the second page of the file. */
#define FILE1 16
/* A range only: it has both pages of the view. */
#define BOTH 32

#define PAGE(k) ((k) & 1)
#define IN(mask, page) (((mask) >> (page)) & 1)
#define ENTRY(peer, page) ((peer) * 2 + (page))
#if PEERS == 1
#define PEER(t) 0
#define NR_ENTRIES 2
#else
#define PEER(t) (t)
#define NR_ENTRIES 4
#endif

byte range[2];			/* the table, by page of the view; 0: a hole */
byte entry[NR_ENTRIES];		/* the peers' page tables */
byte open;			/* pages of the operation that is under way */
bool inv;			/* an invalidation is under way */
/* Of each fault in flight: */
byte flight[THREADS];		/* 1: looked up, 2: found valid */
byte page[THREADS];		/* of the view */
byte seen[THREADS];		/* the range that was looked up */
bool seq[THREADS];		/* the notifier's sequence has moved on */
byte gone[THREADS];		/* since the snapshot: freed (1, 2), or cleaned
				 * (4, 8), per page of the file */
#ifdef MPROTECT
byte vma[2] = RIGHTS;		/* rights of the peers' mappings */
byte mm[2];			/* mmap_lock of the peers: faults */
#define VMA(p) vma[p]
#else
#define VMA(p) (R | W)
#endif
#if CONTROLLERS > 1
bool ops;			/* ops_lock */
#endif

#define FILE(x) (((x) & FILE1) / FILE1)
#define GRANTS(r, e) ((r) != 0 && ((e) & RIGHTS & ~(r)) == 0 && \
		      FILE(r) == FILE(e))

#ifdef MUT_no_revalidate
#define VALID(t, i, l) true
#elif defined(MUT_no_sequence)
#define VALID(t, i, l) (range[i] == (l))
#elif defined(MUT_no_table_check)
#define VALID(t, i, l) (!seq[t])
#elif defined(MUT_page_check)
/* The page's own mapping and rights, not how far its range goes. */
#define VALID(t, i, l) (!seq[t] && ((range[i] | BOTH) == ((l) | BOTH)))
#else
#define VALID(t, i, l) (!seq[t] && range[i] == (l))
#endif

#ifdef MUT_no_pending
#define PENDING 0
#else
#define PENDING open
#endif

/*
 * memview_fault_insert(), memview_fault_set_pte(): one entry. What the source
 * gave at the time of the snapshot was anything from read-only to writable, so
 * is what the entry gets (see README.md).
 */
inline put(thread, nr, new)
{
	k = ENTRY(PEER(thread), nr);
	if
	:: entry[k] == 0 || (FILE(entry[k]) == FILE(new) &&
			     (new & W) && !(entry[k] & W)) ->
		/* Nothing appears that the table does not grant now, */
		assert(GRANTS(range[nr], new));				/* R2 */
		/* nor a page that has left the source since, or lost W. */
		assert(!IN(gone[thread], FILE(new)));			/* R2 */
		assert(!((new & W) && IN(gone[thread], 2 + FILE(new))));	/* R2 */
		entry[k] = new
	:: else
	fi;
	k = 0
}

/* What an entry of a range of these rights can be, in this mapping. */
#define READ(t, l) ((l) & (R | FILE1) | ((l) & VMA(PEER(t)) & X))
#define WRITE(t, l) (READ(t, l) | W)
#define CAN_WRITE(t, l) ((l) & VMA(PEER(t)) & W)
/* The neighbour is the page after or before: file pages follow. */
#define OTHER(i, l) ((l) & ~FILE1 | ((1 - (i)) * FILE1))

inline fault_end()
{
	page[t] = 0;
	seen[t] = 0;
	flight[t] = 0;
	seq[t] = false;
	gone[t] = 0;
#ifdef MPROTECT
	mm[PEER(t)]--
#endif
}

#define L seen[t]
#define P page[t]

proctype fault(byte t)
{
	byte k;
#ifdef MPROTECT
	byte i, l;
#endif
#ifdef MUT_mkwrite_zero
	byte old;
#endif

end:	do
	/*
	 * memview_fault_lookup(), memview_mm_running_wait(), and the snapshot.
	 */
	:: atomic {
		!inv ->
		if
		:: range[0] -> P = 0
		:: range[1] -> P = 1
		:: else -> goto end
		fi;
		L = range[P];
		flight[t] = 1;
#ifdef MPROTECT
		mm[PEER(t)]++;
#endif
	   };
	   /* The page table's lock, memview_fault_valid(), the entries */
	   atomic {
		if
		:: VALID(t, P, L) ->
			flight[t] = 2
		:: else ->
			fault_end();
			goto end
		fi;
#ifdef MUT_check_outside
	   };
	   atomic {
#endif
#ifdef MUT_mkwrite_zero
		/* A write to a present entry without W: let the core upgrade it. */
		old = entry[ENTRY(PEER(t), P)];
		if
		:: old && !(old & (W | D)) && CAN_WRITE(t, L) &&
		   FILE(old) == FILE(L) -> goto upgrade
		:: true -> old = 0
		fi;
#endif
		if
		:: put(t, P, READ(t, L))
		:: CAN_WRITE(t, L) -> put(t, P, WRITE(t, L))
		:: true		/* needed W, did not get it */
		fi;
		/* The rest of the window. */
		if
		:: L & BOTH ->
			if
			:: put(t, 1 - P, READ(t, OTHER(P, L)))
			:: CAN_WRITE(t, L) ->
				put(t, 1 - P, WRITE(t, OTHER(P, L)))
			:: true	/* not in the source, or not writable there */
			fi
		:: else
		fi;
		fault_end()
	   }
#ifdef MUT_mkwrite_zero
	   ;
	   goto end;
upgrade:
	   /* finish_mkwrite_fault(): pte_same() */
	   atomic {
		k = ENTRY(PEER(t), P);
		if
		:: entry[k] == old ->
			entry[k] = old | W;
			assert(IN(open, P) || GRANTS(range[P], entry[k]))	/* R1 */
		:: else
		fi;
		k = 0;
		old = 0;
		fault_end()
	   }
#endif

#ifdef MPROTECT
	/* mprotect(2): the mmap_lock for writing keeps faults out. */
	:: atomic {
		mm[PEER(t)] == 0 ->
		if
		:: l = R
		:: l = R | W
		:: l = R | X
		:: l = R | W | X
		fi;
		i = 0;
		do
		:: i < 2 ->
			k = ENTRY(PEER(t), i);
#if defined(MUT_exec_no_hook)
			if
			:: false
#elif defined(MUT_exec_added_only)
			if
			:: (l & X) && !(vma[PEER(t)] & X) -> entry[k] = 0
#else
			/* memview_mprotect() */
			if
			:: l & X -> entry[k] = 0
#endif
			:: else
			fi;
			/* change_pte_range() */
			if
			:: entry[k] ->
				entry[k] = entry[k] & ~X | (l & X);
				if
				:: !(l & W) && (entry[k] & W) ->
					entry[k] = entry[k] & ~W | D
				/* can_change_pte_writable() */
				:: (l & W) && (entry[k] & D) ->
					entry[k] = entry[k] & ~D | W
				:: else
				fi;
				assert(IN(open, i) || GRANTS(range[i], entry[k])) /* R1 */
			:: else
			fi;
			i++
		:: else -> break
		od;
		vma[PEER(t)] = l;
		i = 0;
		l = 0;
		k = 0
	   }
#endif
	od
}

/*
 * memview_zap(): one entry, of the next page in the mask. The step that zaps
 * the last one goes on to what follows, for which it makes no difference.
 */
inline zap(pages, narrowed)
{
	do
	:: k < NR_ENTRIES && !IN(pages, PAGE(k)) -> k++
	:: else -> break
	od;
	if
	:: k < NR_ENTRIES ->
#ifdef MUT_narrow_keeps_dirty
		if
		:: narrowed && GRANTS(range[PAGE(k)], entry[k] & ~W) ->
			if
			:: entry[k] & W -> entry[k] = entry[k] & ~W | D
			:: else
			fi
		:: else -> entry[k] = 0
		fi;
#else
		entry[k] = 0;
#endif
		k++
	:: else
	fi;
	do
	:: k < NR_ENTRIES && !IN(pages, PAGE(k)) -> k++
	:: else -> break
	od
}

/* A range of which a part changes is two. */
#define SPLIT \
	if \
	:: span == 3 \
	:: else -> SPLIT_RANGES \
	fi
#define SPLIT_RANGES \
	range[0] = range[0] & ~BOTH; \
	range[1] = range[1] & ~BOTH

/* The commit of MAP and UNMAP: memview_table_carve(), memview_table_insert(). */
inline change()
{
	SPLIT;
	if
	:: IN(span, 0) -> range[0] = to
	:: else
	fi;
	if
	:: IN(span, 1) -> range[1] = (to -> to | FILE1 : 0)
	:: else
	fi
}

#define UNMAP 0
#define MAP 1
#define PROTECT 2

#define CLEAN(n) (!entry[n] || GRANTS(range[PAGE(n)], entry[n]))

/* The ioctl returns. R1: no entry is stronger than the table. */
inline op_return()
{
	k = 0;
	do
	:: k < NR_ENTRIES ->
		assert(!IN(span, PAGE(k)) || CLEAN(k));			/* R1 */
		k++
	:: else -> break
	od;
	open = open & ~span;
	k = 0;
	span = 0;
	op = 0;
	to = 0;
#if CONTROLLERS > 1 && !defined(MUT_ops_lock)
	ops = false
#endif
}

#define ANY_MAPPED ((IN(span, 0) && range[0]) || (IN(span, 1) && range[1]))
#define ALL_MAPPED ((!IN(span, 0) || range[0]) && (!IN(span, 1) || range[1]))

proctype controller()
{
	byte span, op, to, k;

end:	do
	/* The ioctl, up to and with the commit. */
	:: atomic {
#if CONTROLLERS > 1
		!ops -> ops = true;
#endif
		if
		:: span = 1
		:: span = 2
		:: span = 3
		fi;
		if
		:: op = UNMAP
		:: op = MAP
		:: op = PROTECT
		fi;
		if
		:: op != UNMAP -> to = R
		:: op != UNMAP -> to = R | W
#ifdef MPROTECT
		:: op != UNMAP -> to = R | X
#endif
		:: op == UNMAP
		fi;
		if
		:: op == MAP && span == 1 -> to = to | FILE1
		:: op == MAP && span == 3 -> to = to | BOTH
		:: op != MAP || span != 3
		fi;
#ifdef MUT_zap_first
	   };
	   do
	   :: atomic {
		zap(span, true);
		if
		:: k >= NR_ENTRIES -> k = 0; break
		:: else
		fi
	      }
	   od;
	   atomic {
#endif
		if
		:: op == PROTECT && ALL_MAPPED ->
			SPLIT;
			if
			:: IN(span, 0) -> range[0] = range[0] & ~RIGHTS | to
			:: else
			fi;
			if
			:: IN(span, 1) -> range[1] = range[1] & ~RIGHTS | to
			:: else
			fi;
			open = open | span
		:: op == PROTECT && !ALL_MAPPED	/* ENOENT */
		:: op != PROTECT ->
			if
			:: ANY_MAPPED -> open = open | span
			:: else
			fi;
			change()
		fi;
#ifdef MUT_ops_lock
		ops = false;
#endif
		op = 0;
		to = 0;
#ifndef MUT_zap_first
		if
		:: open & span
		:: else ->
#endif
			op_return();
			goto end
#ifndef MUT_zap_first
		fi
#endif
	   };
#ifndef MUT_zap_first
	   /* memview_commit_zap() */
	   do
	   :: atomic {
		zap(span, true);
		if
		:: k >= NR_ENTRIES -> op_return(); break
		:: else
		fi
	      }
	   od
#endif
	od
}

#ifndef NO_INVALIDATOR
#define MAPS(p) (range[p] && FILE(range[p]) == f)
#define LOST ((freed -> 1 : 4) << f)
/*
 * A fault with an old sequence that has not been found invalid yet will be: it
 * need not know the rest (fewer states).
 */
#if defined(MUT_no_revalidate) || defined(MUT_no_sequence)
#define NOTICE 1
#else
#define NOTICE 2
#endif

inline mark_seq(n)
{
	if
	:: flight[n] -> seq[n] = true
	:: else
	fi;
	if
	:: flight[n] && flight[n] < NOTICE ->
		page[n] = 0;
		seen[n] = 0
	:: else
	fi
}

inline mark_lost(n)
{
	if
	:: flight[n] >= NOTICE -> gone[n] = gone[n] | LOST
	:: else
	fi
}

#define KEPT (!freed && !(entry[k] & (W | D)))

/* The source's entry is cleared and the page freed, or made clean. */
inline inv_end()
{
	if
	:: freed = true
	:: freed = false
	fi;
	k = 0;
	do
	:: k < NR_ENTRIES ->
		/* What the source has lost, no peer has. */
		assert(!entry[k] || FILE(entry[k]) != f || KEPT);	/* R3 */
		k++
	:: else -> break
	od;
	mark_lost(0);
	mark_lost(1);
	freed = false;
	f = 0;
	mask = 0;
	k = 0;
	inv = false
}

/* memview_source_invalidate() and what the kernel does to the source then. */
proctype invalidator()
{
	byte f, mask, k;
	bool freed;

end:	do
	/* memview_mm_running_begin(), and the sequences */
	:: atomic {
		inv = true;
		if
		:: f = 0
		:: f = 1
		fi;
		mark_seq(0);
		mark_seq(1)
	   };
	   /* memview_attachment_zap(): which spans? */
	   atomic {
		mask = PENDING;
		if
		:: MAPS(0) -> mask = mask | 1
		:: else
		fi;
		if
		:: MAPS(1) -> mask = mask | 2
		:: else
		fi;
		if
		:: mask
		:: else ->
			inv_end();
			goto end
		fi
	   };
	   do
	   :: atomic {
		zap(mask, false);
		if
		:: k >= NR_ENTRIES -> inv_end(); break
		:: else
		fi
	      }
	   od
	od
}
#endif /* NO_INVALIDATOR */

init {
	byte n;

	atomic {
		run fault(0);
		run fault(1);
		do
		:: n < CONTROLLERS -> run controller(); n++
		:: else -> break
		od;
#ifndef NO_INVALIDATOR
		run invalidator();
#endif
		n = 0
	}
}
