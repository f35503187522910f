/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The locks around memory views, and nothing else: who takes which while he
 * holds which, and who waits for whom. README.md says which function each part
 * stands for.
 *
 * Two processes view each other. Address space 0 controls view 0, which address
 * space 1 maps; address space 1 controls view 1, which address space 0 maps.
 * Both views are of the same file. Whoever is neither has number 2.
 *
 * TASKS tasks do one operation each, any of the menu, and end. So whoever waits
 * for ever is an invalid end state, although others could go on.
 *
 * Address space 0 is hostile. Where a task works for it (its own system calls, and
 * faults in its mappings), user space may make it wait as long as it likes: a
 * userfaultfd, a throttled cgroup, a frozen task, a loop of madvise(2). When
 * nothing else can happen any more,
 *
 *   1. R7 is checked: nobody else waits, but killably and with no lock;
 *   2. address space 0 is killed, which ends these waits;
 *   3. frozen file systems are thawed, which ends the rest;
 *
 * and then all tasks must come to their end.
 *
 * Parameters (spin -D...):
 *   TASKS	2, or 3 (default)
 *   MUT_...	one rule broken, see ./run
 */

#ifndef TASKS
#define TASKS 3
#endif

/* Locks; those of an address space or of a view are two. */
#define MMAP	0	/* mmap_lock */
#define I_FILE	2	/* i_mmap_rwsem of the file */
#define I_VIEW	3	/* i_mmap_rwsem of a view's inode */
#define OPS	5	/* memview.ops_lock */
#define MAKE	7	/* memview_controller.make_lock */
#define ALL	9	/* mm_all_locks_mutex */
#define VIEW	10	/* memview.lock */
#define NR_LOCKS 12

byte readers[NR_LOCKS];
bool writer[NR_LOCKS];
byte waiting[NR_LOCKS];		/* writers, who go before new readers */

/* Page table locks, and the lock of a view's mappings: nothing is taken in them
 * and nothing waits, so they are steps. */

bool tracked[2] = true;		/* the address space's mapping of the other's view */
byte busy[2];			/* who is zapping it: memview_mapping.busy */
byte running[2];		/* between invalidate_range_start and _end */
byte records[2];		/* of these, what concerns the source */
byte users[2];			/* mm_users, but for its own tasks */

bool revoke_job[2];		/* on the work queue of all */
bool wanted[2];			/* memview.revoking */
bool dead[2];			/* memview.dead */
#ifdef MUT_collector_queue
bool collect_job;
#endif

/* Of each task: */
#define DONE	1
#define SOFT	2	/* waits killably, or has not begun */
#define FROZEN	3	/* waits in a file system: the exception of R7 */
byte state[TASKS + 1];
byte held[TASKS + 1];		/* locks; the last is the worker's */
byte space[TASKS + 1];

bool stuck;			/* somebody waits for address space 0's user space */
bool killed;			/* address space 0 */
bool thawed;

#define CAN_READ(l)	(!writer[l] && !waiting[l])
#define CAN_WRITE(l)	(!writer[l] && !readers[l])

inline read(l)
{
	atomic { CAN_READ(l) -> readers[l]++; held[t]++ }
}

inline up_read(l)
{
	atomic { readers[l]--; held[t]-- }
}

inline write(l)
{
	atomic {
		true ->
		if
		:: CAN_WRITE(l)
		:: else ->
			waiting[l]++;			/* inlined: not everywhere */
			CAN_WRITE(l) -> waiting[l]--	/* inlined: not everywhere */
		fi;
		writer[l] = true;
		held[t]++
	}
}

inline up_write(l)
{
	atomic { writer[l] = false; held[t]-- }
}

/* mmap_read_lock_killable() of the other's, by a fault that holds nothing. */
inline read_softly(l)
{
	atomic {
		if
		:: CAN_READ(l)
		:: else ->
			state[t] = SOFT;
			CAN_READ(l) -> state[t] = 0
		fi;
		readers[l]++;
		held[t]++
	}
}

/* A write lock that is free again when the next step begins. */
inline pass_write(l)
{
	write(l);
	up_write(l)
}

/* A short lock in which nothing is taken. */
inline pass(l)
{
	atomic { CAN_WRITE(l) }
}

/* User space of address space @h may keep us here, until it is killed. */
inline user_wait(h)
{
	atomic {
		if
		:: h == 0 && !killed -> stuck = true; killed
		:: true
		fi
	}
}

/*
 * The zap of view @v: its mapping is in address space 1 - @v.
 * Holding busy nobody takes a lock that sleeps.
 */
inline zap(v)
{
#if defined(MUT_zap_i_mmap)
	read(I_VIEW + v);
	atomic { running[1 - v]++ };
	atomic { running[1 - v]-- };
	up_read(I_VIEW + v)
#else
	if
	:: atomic { tracked[1 - v] -> busy[1 - v]++; running[1 - v]++ };
#ifdef MUT_zap_mmap_lock
	   read(MMAP + 1 - v);
	   up_read(MMAP + 1 - v);
#endif
	   atomic { busy[1 - v]--; running[1 - v]-- }
	:: atomic { !tracked[1 - v] }
	fi
#endif
}

/* memview_mapping_untrack(): own mapping, of the other's view. */
inline untrack(u)
{
	atomic { tracked[u] = false };
	/* its own zap: page table locks only */
	atomic { busy[u] == 0 }
}

/* Something happens to the source in address space @i. */
inline invalidate(i)
{
	atomic { running[i]++; records[i]++ };
	pass(VIEW + i);
	zap(i);
	atomic { running[i]--; records[i]-- }
}

/* Memory: direct reclaim walks the mappings of the file. */
inline allocate(m)
{
	if
	:: true
	:: read(I_FILE);
	   invalidate(m);
	   up_read(I_FILE)
	fi
}

/* Where an address space has the view, below or above the file. */
inline take_all_locks(n)
{
	write(ALL);
	if
	:: write(I_FILE); write(I_VIEW + 1 - n)
	:: write(I_VIEW + 1 - n); write(I_FILE)
	fi;
	atomic {
		up_write(I_FILE);
		up_write(I_VIEW + 1 - n);
		up_write(ALL)
	}
}

/* Idle sources go, in the controller's own context and with no lock of ours. */
inline collect(k)
{
#ifdef MUT_collector_queue
	atomic {
		if
		:: k == 0 -> collect_job = true; users[0]++
		:: else
		fi
	}
#else
	if
	:: true
	:: write(MMAP + k);
	   invalidate(k);
	   pass_write(I_FILE);
	   up_write(MMAP + k);
	   /* UFFD_EVENT_UNMAP */
	   user_wait(k)
	fi
#endif
}

/* Finds or makes a source. */
inline make_source(k)
{
	write(MMAP + k);
	allocate(k);
	pass_write(I_FILE);
	if
	:: true
	:: take_all_locks(k)	/* the first notifier of this address space */
	fi;
	up_write(MMAP + k)
}

/* What is done to the table under ops_lock, and the zap. */
inline change_table(k)
{
#ifdef MUT_reclaim_under_lock
	write(VIEW + k);
	allocate(k);
	up_write(VIEW + k);
#else
	pass(VIEW + k);
#endif
	zap(k)
}

/* memview_try_revoke() */
inline try_revoke(v)
{
	if
	:: atomic { CAN_WRITE(OPS + v) -> writer[OPS + v] = true; held[t]++ };
	   change_table(v);
	   dead[v] = true;
	   up_write(OPS + v)
	:: atomic { !CAN_WRITE(OPS + v) }
	fi
}

/*
 * memview_ops_unlock(). Not for operations of the address space itself: while they are
 * at work it does not leave, and nobody wants what does not wait.
 */
inline ops_unlock(v)
{
	up_write(OPS + v);
#ifndef MUT_no_handover
	if
	:: atomic { wanted[v] && !dead[v] }; try_revoke(v)
	:: atomic { !wanted[v] || dead[v] }
	fi
#endif
}

inline map_fd(s)
{
#ifdef MUT_map_fd_under_ops
	write(OPS + s);
#endif
	write(MAKE + s);
	make_source(s);
	up_write(MAKE + s);
#ifndef MUT_map_fd_under_ops
	write(OPS + s);
#endif
	allocate(s);
	change_table(s);
	up_write(OPS + s);
	collect(s)
}

/* UNMAP_FD, PROTECT, SET_SIZE */
inline unmap_fd(s)
{
	write(OPS + s);
	allocate(s);
	change_table(s);
	up_write(OPS + s);
	collect(s)
}

/* REVOKE and the last close of the control fd, by whoever has it. */
inline revoke(v)
{
	write(OPS + v);
	change_table(v);
	dead[v] = true;
	up_write(OPS + v)
}

/* QUERY, or what is refused, by whoever has the control fd. */
inline query(v)
{
	write(OPS + v);
	ops_unlock(v)
}

/* The source is faulted in, with address space @c's mmap_lock. */
inline source_fault(c)
{
	allocate(c);
	if
	:: up_read(MMAP + c)
	:: atomic {	/* handle_userfault() drops the lock */
		up_read(MMAP + c);
		state[t] = SOFT
	   };
	   user_wait(c);
	   state[t] = 0
	:: atomic {	/* page_mkwrite, FUSE */
		c == 0 -> stuck = true;
		state[t] = FROZEN;
		thawed ->
		state[t] = 0
	   };
	   up_read(MMAP + c)
	fi
}

/* An entry: the page table lock, for a huge one in memview.lock. */
inline insert(w)
{
	if
	:: true
	:: write(VIEW + w); up_write(VIEW + w)
	fi
}

/* Of address space @s, in its mapping of the other's view. */
inline fault(s)
{
	read(MMAP + s);
	atomic { tracked[s] = true; users[1 - s]++ };
#ifdef MUT_fault_blocks
	read(MMAP + 1 - s);
	insert((1 - s));
	up_read(MMAP + 1 - s);
	up_read(MMAP + s);
#elif defined(MUT_fault_waits)
	atomic { running[1 - s] == 0 };
	insert((1 - s));
	up_read(MMAP + s);
#else
	if
	:: atomic {	/* mmap_read_trylock() */
		CAN_READ(MMAP + 1 - s) && !records[1 - s] ->
		readers[MMAP + 1 - s]++;
		held[t]++
	   };
	   /* FAULT_FLAG_RETRY_NOWAIT */
	   allocate((1 - s));
	   insert((1 - s));
	   up_read(MMAP + 1 - s);
	   up_read(MMAP + s)
	:: atomic {	/* a running invalidation: wait for its end, and retry */
		records[1 - s] ->
		up_read(MMAP + s);
		state[t] = SOFT;
		!records[1 - s] ->
		state[t] = 0
	   }
	:: up_read(MMAP + s);
	   read_softly(MMAP + 1 - s);
	   source_fault((1 - s))
	fi;
#endif
	users[1 - s]--
}

inline populate(s)
{
	read(MMAP + s);
	source_fault(s);
	if
	:: atomic {
		CAN_READ(MMAP + 1 - s) ->
		readers[MMAP + 1 - s]++;
		held[t]++
	   };
	   if
	   :: atomic {
		CAN_READ(MMAP + s) ->
		readers[MMAP + s]++;
		held[t]++
	      };
	      insert(s);
	      up_read(MMAP + s)
	   :: true
	   fi;
	   up_read(MMAP + 1 - s)
	:: true
	fi
}

/* munmap(2) of the view, or of a part of it. */
inline unmap_view(s)
{
	write(MMAP + s);
	running[s]++;
	untrack(s);
	running[s]--;
	pass_write(I_VIEW + 1 - s);
	up_write(MMAP + s);
	user_wait(s)
}

/* mremap(2) of it: .open of the copy, page tables are moved, the old one goes. */
inline move_view(s)
{
	write(MMAP + s);
	allocate(s);
	pass_write(I_VIEW + 1 - s);
	untrack(s);
	running[s]++;
	pass_write(I_VIEW + 1 - s);
	running[s]--;
	running[s]++;
	untrack(s);
	running[s]--;
	pass_write(I_VIEW + 1 - s);
	up_write(MMAP + s)
}

/* munmap(2) of the source */
inline unmap_source(s)
{
	write(MMAP + s);
	invalidate(s);
	pass_write(I_FILE);
	up_write(MMAP + s)
}

inline do_fork(s)
{
	write(MMAP + s);
	running[s]++;
	allocate(s);
	pass_write(I_FILE);
	pass_write(I_VIEW + 1 - s);
	running[s]--;
	up_write(MMAP + s)
}

/* KVM_CREATE_VM, or the first fault or MAP_FD: any mmu notifier */
inline register(s)
{
	write(MMAP + s);
	take_all_locks(s);
	up_write(MMAP + s)
}

/* One invalidation after the other, of the source or of something else. */
inline advise(s)
{
	read(MMAP + s);
	if
	:: atomic { running[s]++; records[s]++ };
	   user_wait(s);
	   atomic { running[s]--; records[s]-- }
	:: atomic { running[s]++ };
	   user_wait(s);
	   atomic { running[s]-- }
	fi;
	up_read(MMAP + s)
}

#define AT_WORK(n, s)	(n != t && space[n] == s && state[n] != DONE)
#if TASKS > 2
#define NOBODY(s)	!(AT_WORK(0, s) || AT_WORK(1, s) || AT_WORK(2, s))
#else
#define NOBODY(s)	!(AT_WORK(0, s) || AT_WORK(1, s))
#endif

/* exit_mmap() of the last one, mmu_notifier_release() */
inline leave(s)
{
	state[t] = SOFT;
	atomic { NOBODY(s) && !users[s] -> state[t] = 0 };
	untrack(s);
	invalidate(s);
	revoke_job[s] = true
}

/* Truncation, a hole, reclaim: with the file's i_mmap_rwsem for reading. */
inline lose()
{
	read(I_FILE);
	invalidate(0);
	invalidate(1);
	up_read(I_FILE)
}

/* The menu: of address space 0, the same of 1, and what is neither's. */
#define FAULT		0
#define MAP_FD		1
#define UNMAP_FD	2
#define POPULATE	3
#define UNMAP_VIEW	4
#define MOVE_VIEW	5
#define UNMAP_SOURCE	6
#define FORK		7
#define REGISTER	8
#define ADVISE		9
#define LEAVE		10
#define NR_OPS		11
#define LOSE		(2 * NR_OPS)
#define REVOKE		(2 * NR_OPS + 1)	/* of view 0 */
#define QUERY		(2 * NR_OPS + 2)	/* the same */
#define LAST		QUERY

proctype task(byte t, s, op)
{
	if
	:: op == FAULT -> fault(s)
	:: op == MAP_FD -> map_fd(s)
	:: op == UNMAP_FD -> unmap_fd(s)
	:: op == POPULATE -> populate(s)
	:: op == UNMAP_VIEW -> unmap_view(s)
	:: op == MOVE_VIEW -> move_view(s)
	:: op == UNMAP_SOURCE -> unmap_source(s)
	:: op == FORK -> do_fork(s)
	:: op == REGISTER -> register(s)
	:: op == ADVISE -> advise(s)
	:: op == LEAVE -> leave(s)
	:: op == LOSE -> lose()
	:: op == REVOKE -> revoke(0)
	:: op == QUERY -> query(0)
	fi;
	atomic {
		assert(!held[t]);
		state[t] = DONE
	}
}

/* The work queue: one worker, as if it had no others left. */
proctype worker(byte t)
{
end:	do
	:: revoke_job[0] ->
		wanted[0] = true;
		try_revoke(0);
		revoke_job[0] = false
	:: revoke_job[1] ->
		wanted[1] = true;
		try_revoke(1);
		revoke_job[1] = false
#ifdef MUT_collector_queue
	:: collect_job ->
		write(MMAP);
		up_write(MMAP);
		/* A worker has no signals. */
		atomic {
			stuck = true;
			thawed
		};
		atomic { users[0]--; collect_job = false }
#endif
	od
}

/* Nothing else can happen. */
#define WAITS_NOT(n)	(space[n] == 0 || state[n] == DONE || \
			 (state[n] == SOFT && !held[n]) || state[n] == FROZEN)

proctype clock()
{
end:	timeout ->
	if
	:: stuck ->
		assert(WAITS_NOT(0));					/* R7 */
		assert(WAITS_NOT(1));					/* R7 */
#if TASKS > 2
		assert(WAITS_NOT(2));					/* R7 */
#endif
		assert(!revoke_job[0] && !revoke_job[1]);		/* R7 */
		killed = true
	:: else -> killed = true
	fi;
	timeout ->
	thawed = true;
	timeout ->
	assert(!wanted[0] || dead[0]);					/* R4 */
	assert(!wanted[1] || dead[1])					/* R4 */
}

init {
	byte n, code;

	atomic {
		do
		:: n < TASKS ->
			do
			:: code < LAST -> code++
			:: break
			od;
			space[n] = code / NR_OPS;
			run task(n, space[n],
				 (code < 2 * NR_OPS -> code % NR_OPS : code));
			n++;
			/* Once only. */
			if
			:: code % NR_OPS == LEAVE -> code++
			:: else
			fi
		:: else -> break
		od;
		n = 0;
		code = 0
	}
	run worker(TASKS);
	run clock()
}
