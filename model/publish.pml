/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Publish, full barrier, zap; against: make a page table, full barrier, check
 * under its lock. Why a fault needs no lock of the view, where the zap passes
 * over a page table that is not there without taking a lock.
 *
 * memory-view.pml has what is checked and what is zapped, with memory that all
 * see alike. This one has the memory: stores go through a buffer, and whoever made
 * them goes on. A lock is taken in memory at once, which is weaker than x86: it
 * orders what comes after it, and not what came before. To let it go is a store.
 *
 * FAULTS threads of one peer fault, by a page table entry or by a huge entry, and
 * one change revokes. What is published is memview.gen; it stands for the
 * sequence of a segment and for `tracked' of a mapping as well.
 *
 * Parameters (spin -D...):
 *   FAULTS	default 2
 *   MUT_...	one rule broken, see ./run
 */

#ifndef FAULTS
#define FAULTS 2
#endif
#define CHANGE FAULTS		/* number of that process */

/* What is in memory */
#define GEN	0	/* 1: revoked */
#define TABLE	1	/* a page table, in a PMD that is empty otherwise */
#define HUGE	2	/* a huge entry, in that PMD */
#define ENTRY	3	/* an entry of the page table */
#define VIEW	4	/* memview.lock */
#define PMD	5	/* lock of the table of PMDs */
#define PTE	6	/* lock of the page table */
byte memory[7];

/* Stores that are not in memory yet, by process. */
chan stores[FAULTS + 1] = [8] of { byte, byte };

bool returned;			/* the revocation */

#define store(p, what, value)	stores[p] ! what, value
#define barrier(p)		empty(stores[p])
#define lock(what)		atomic { !memory[what] -> memory[what] = 1 }
#define unlock(p, what)		store(p, what, 0)

/* A store of process @p arrives, at any time. */
proctype buffer(byte p)
{
	byte what, value;

end:	do
	:: atomic {
		stores[p] ? what, value ->
		/* Nothing appears that has been revoked. */
		assert(!returned || !value || what == TABLE);		/* R1 */
		memory[what] = value;
		what = 0;
		value = 0
	   }
	od
}

proctype fault(byte p)
{
	if
	:: memory[GEN] -> goto out	/* memview_fault_lookup() */
	:: else
	fi;
	if
	:: true ->
		/* By pages. pte_alloc(), or what the core has preallocated */
		if
		:: memory[TABLE]
		:: else ->
			lock(PMD);
			if
			:: !memory[TABLE] && !memory[HUGE] -> store(p, TABLE, 1)
			:: else
			fi;
			unlock(p, PMD);
			if
			:: memory[HUGE] -> goto out
			:: else
			fi
		fi;
#ifndef MUT_no_fault_barrier
		barrier(p);
#endif
#ifdef MUT_check_before_lock
		if
		:: memory[GEN] -> goto out
		:: else
		fi;
#endif
		lock(PTE);
		if
#ifdef MUT_check_before_lock
		:: true -> store(p, ENTRY, 1)
#else
		:: !memory[GEN] -> store(p, ENTRY, 1)
		:: else
#endif
		fi;
		unlock(p, PTE)
	:: true ->
		/* By a huge entry. */
#ifndef MUT_huge_without_lock
		lock(VIEW);
#endif
		lock(PMD);
		if
		:: !memory[GEN] && !memory[TABLE] -> store(p, HUGE, 1)
		:: else
		fi;
		unlock(p, PMD);
#ifndef MUT_huge_without_lock
		unlock(p, VIEW)
#endif
	fi;
out:	skip
}

proctype change()
{
	lock(VIEW);
	store(CHANGE, GEN, 1);
	unlock(CHANGE, VIEW);
#ifndef MUT_no_change_barrier
	barrier(CHANGE);
#endif
	/* The zap: the core looks at the PMD without a lock, */
	if
	:: memory[HUGE] ->
		lock(PMD);
		store(CHANGE, HUGE, 0);
		unlock(CHANGE, PMD)
	:: memory[TABLE] ->
		lock(PTE);
		store(CHANGE, ENTRY, 0);
		unlock(CHANGE, PTE)
	:: else			/* and finds nothing. */
	fi;
	/* What the zap flushes, or the return to user space. */
	barrier(CHANGE);
	atomic {
		assert(!memory[ENTRY] && !memory[HUGE]);		/* R1 */
		returned = true
	}
}

init {
	byte n;

	atomic {
		do
		:: n < FAULTS ->
			run fault(n);
			run buffer(n);
			n++
		:: else -> break
		od;
		run buffer(CHANGE);
		run change();
		n = 0
	}
}
