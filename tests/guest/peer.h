/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Processes that a test commands: peers that map a view, and controllers that
 * are to die. A peer is a fork of the test program, so what it is told to run
 * is simply a C function of the program; the peer reports what the function
 * returned, or which signal ended it.
 */
#ifndef MEMVIEW_TESTS_PEER_H
#define MEMVIEW_TESTS_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What became of a function: its result and errno, or the fault it met. */
struct outcome {
	long ret;
	int err;
	int sig;	/* 0: no fault */
	int code;	/* si_code */
	unsigned long addr;	/* si_addr */
	bool died;	/* the process is gone, or does not answer */
};

#define OP_ARGS 6
typedef long (*op_fn)(const long *a);

/* One page that every process of a test program shares. */
struct shared {
	atomic_int stop;
	atomic_int ready;
	atomic_ulong loops;
	atomic_ulong faults;
	atomic_ulong bad;
};

extern struct shared *shared;

struct peer {
	pid_t pid;
	int sock;
	bool direct;	/* a child of the test process: can be waited for */
	bool used;
};

struct peer *peer_spawn(void);
struct peer *peer_fork(struct peer *parent);
void peer_start(struct peer *p, op_fn fn, const long *args);
struct outcome peer_wait(struct peer *p);
/* Where the threads of a process are, on stderr: for one that hangs. */
void print_stacks(pid_t pid);
struct outcome peer_call(struct peer *p, op_fn fn, const long *args);
int peer_send_fd(struct peer *p, int fd);
int peer_take_fd(struct peer *p, int remote_fd);
int peer_reap(struct peer *p);
void peer_kill(struct peer *p);
void peers_end(void);

/* Runs @fn in the calling process, and survives its fault. */
struct outcome probe(op_fn fn, const long *args);

#define ARGS(...)		((const long[OP_ARGS]){ __VA_ARGS__ })
#define CALL(p, fn, ...)	peer_call(p, fn, ARGS(__VA_ARGS__))
#define START(p, fn, ...)	peer_start(p, fn, ARGS(__VA_ARGS__))
#define PROBE(fn, ...)		probe(fn, ARGS(__VA_ARGS__))

/* Things to tell a peer. */
long op_read(const long *a);		/* address -> the 64-bit word there */
long op_write(const long *a);		/* address, word */
long op_exec(const long *a);		/* address -> what the code returns */
long op_mmap(const long *a);		/* fd, length, prot, offset[, flags] */
long op_munmap(const long *a);		/* address, length */
long op_mprotect(const long *a);	/* address, length, prot */
long op_mremap(const long *a);		/* address, old, new length, flags, to */
long op_madvise(const long *a);		/* address, length, advice */
long op_reserve(const long *a);		/* length -> address of PROT_NONE memory */
long op_close(const long *a);		/* fd */
long op_faults_reading(const long *a);	/* address, length -> page faults */
long op_nr_maps(const long *a);		/* -> lines in /proc/self/maps */
long op_die_touching(const long *a);	/* address, enum die_with */
long op_hammer(const long *a);		/* address: writes until shared->stop */
long op_exit(const long *a);		/* status */

enum die_with { DIE_DEFAULT, DIE_IGNORED, DIE_BLOCKED };

#endif
