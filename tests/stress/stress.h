/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Revocation under stress: controllers lend pages, take them back and only then
 * put something into them that no peer may ever see.
 *
 * How an escape is recognised. There are no clocks and no epochs in it: what
 * is in a page says by itself who may have it. The controller fills a page with
 * SECRET words only after the call that took the page from everybody has
 * returned, and cleans it before it lends it again. So a peer that has read a
 * SECRET word has used a right after its revocation, whatever the order of the
 * two processes was; and a page whose words have changed meanwhile was written
 * to by somebody who had no right to. There is no other way to see either, so
 * there are no false alarms.
 *
 * Pages that a file loses (a hole is punched, it is truncated) are replaced by
 * new ones, to which peers keep their right. When the new page has its first
 * word, which only the controller writes, it says so on the board: this word is
 * at that place of the view now. A peer that has found the promise there before
 * its access and after it has found the word in between, or has a page that the
 * file does not have any more.
 *
 * Every 8-byte word of every page is also a function of its own,
 *
 *	b8 imm32	mov $imm32, %eax
 *	c3		ret
 *	tag16
 *
 * so a call into a page returns what the page was filled with when it ran.
 *
 *	main.c		options, report
 *	crew.c		lives of a controller and its peers
 *	clock.c		whether anybody waits for too long
 *	neighbours.c	what goes on beside the crews, so that somebody might
 *	bystander.c	what all that costs somebody who has nothing to do with it
 *	files.c		what is lent
 *	controller.c	and lane.h: changes tables and files, and looks for
 *			changed pages
 *	peer.c		reads, writes and calls, and looks for forbidden words
 *
 * A run has some *crews* at a time, each a sequence of *lives*: a controller
 * with its views, and peers that map them. Each life ends in another way
 * (SIGKILL, exit, execve, revoke, close), and then nothing may work any more.
 * And it has a *vandal*, who lends nothing, and takes pages from files that all
 * controllers have lent.
 *
 * Files and views are made of *parts* of the same size. The first is lent by all
 * controllers, never taken back, and the vandal's. Each of the others belongs
 * to one thread of one controller, a *lane*; views have those of their
 * controller.
 *
 * Decisions are taken by generators that are seeded by --seed, the crew, the
 * life, and the number of the thread: a seed gives each thread the same
 * decisions again, if not the same races.
 */
#ifndef STRESS_H
#define STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/types.h>

#include <memview.h>

#define PAGE		4096UL
#define PAGE_WORDS	(PAGE / sizeof(uint64_t))
#define HUGE_PAGE	(2UL << 20)

/* All views of a controller. The last is handed out without WRITE. */
#define VIEWS		3
#define VIEW_NO_WRITE	(VIEWS - 1)
#define FILES		3
#define FILE_HUGE	(FILES - 1)	/* of huge pages */
/* Threads of a controller, each with its own part of views and files. */
#define LANES		2
#define PARTS		(1 + LANES)	/* of a view */
#define MAX_PART	512	/* pages: a huge one */
#define MAX_PAGES	(PARTS * MAX_PART)
#define MAX_CREWS	4
#define MAX_PEERS	16
#define MAX_THREADS	16

/*
 * What a page can be filled with. The first word belongs to the controller:
 * peers write the others, so calls go to the first.
 */
enum tag {
	TAG_OPEN	= 0x0be2,	/* lent, or about to be */
	TAG_PEER	= 0x9ee2,	/* written by a peer */
	TAG_FROZEN	= 0xf20e,	/* may be read and called, not written */
	TAG_DATA	= 0xda7a,	/* may be read, not called */
	TAG_SECRET	= 0x5ec2,	/* lent to nobody */
	TAG_FOREIGN	= 0xf02e,	/* no page of the file, or not any more */
};

static inline uint32_t imm_of(enum tag tag, uint16_t number)
{
	return (uint32_t)tag << 16 | number;
}

static inline uint64_t word_of(enum tag tag, uint16_t number)
{
	return (uint64_t)tag << 48 | 0xc3ULL << 40 |
	       (uint64_t)imm_of(tag, number) << 8 | 0xb8;
}

/* Things that happened. X(name, must happen, text) */
#define COUNTS(X) \
	X(MAP, 1, "map") \
	X(ADOPT, 1, "adopt") \
	X(UNMAP, 1, "unmap") \
	X(REPLACE, 1, "replace") \
	X(NARROW, 1, "narrow to read-only") \
	X(NOEXEC, 1, "take exec") \
	X(SHRINK, 1, "shrink") \
	X(PUNCH, 1, "punch") \
	X(TRUNCATE, 1, "truncate") \
	X(TAMPER, 1, "source replaced") \
	X(LOSE, 1, "pages of a file replaced") \
	X(UNMAP_TWICE, 1, "unmap by two threads") \
	X(UNMAP_PUNCH, 1, "unmap during a punch") \
	X(REUSED, 1, "freed page reused") \
	X(REUSED_HUGE, 1, "freed page of a huge page reused") \
	X(PAGED_OUT, 0, "page swapped out") \
	X(COMPACT, 0, "compaction") \
	X(BLOCK, 0, "all of a huge page lent by one range") \
	X(HUGE, 0, "huge entry made for a peer") \
	X(BATCH, 1, "batch") \
	X(BATCH_MAP, 1, "map by a batch") \
	X(BATCH_UNMAP, 1, "unmap by a batch") \
	X(BATCH_NARROW, 1, "narrow by a batch") \
	X(RING, 0, "operation by io_uring") \
	X(RING_BATCH, 0, "batch by io_uring") \
	X(POPULATE, 1, "populate") \
	X(POPULATE_PEERS, 1, "populate with peers") \
	X(POPULATE_STOPS, 1, "populate, stopped") \
	X(LIFE, 1, "life of a controller") \
	X(KILLED, 1, "controller killed") \
	X(EXITED, 1, "controller exited") \
	X(EXECED, 1, "controller execed") \
	X(REVOKED, 1, "views revoked") \
	X(CLOSED, 1, "views closed") \
	X(PEER_KILLED, 1, "peer killed") \
	X(READ, 1, "read") \
	X(READ_BUS, 1, "read, SIGBUS") \
	X(READ_KNOWN, 1, "read of a page replaced") \
	X(READ_COMMON, 1, "read of one replaced by the vandal") \
	X(WRITE, 1, "write") \
	X(WRITE_BUS, 1, "write, SIGBUS") \
	X(WRITE_SEGV, 1, "write, SIGSEGV") \
	X(CALL, 1, "call") \
	X(CALL_BUS, 1, "call, SIGBUS") \
	X(CALL_SEGV, 1, "call, SIGSEGV") \
	X(COPY_FROM, 1, "syscall reads") \
	X(COPY_FROM_EFAULT, 1, "syscall reads, EFAULT") \
	X(COPY_TO, 1, "syscall writes") \
	X(COPY_TO_EFAULT, 1, "syscall writes, EFAULT") \
	X(PTRACE, 1, "/proc/PID/mem") \
	X(PTRACE_ERROR, 1, "/proc/PID/mem, error") \
	X(GUP_EFAULT, 1, "process_vm_readv, EFAULT") \
	X(FORK, 1, "fork") \
	X(CHILD, 1, "child's access") \
	X(REMAP, 1, "munmap and mmap") \
	X(MREMAP, 1, "mremap") \
	X(MPROTECT, 1, "mprotect") \
	X(MADVISE, 1, "madvise") \
	X(DEAD_BUS, 1, "SIGBUS after the end") \
	X(NOTIFIER, 1, "first notifier of a process") \
	X(NOTIFIER_KVM, 0, "first notifier of a process, by KVM") \
	X(THROTTLED, 0, "peer throttled and frozen") \
	X(THROTTLED_CONTROLLER, 0, "controller throttled and frozen") \
	X(USERFAULT, 1, "controller with a userfaultfd") \
	X(SHARED, 1, "control fd shared") \
	X(SWAPPED, 1, "control fds swapped") \
	X(FROZEN, 0, "peer that writes to a frozen file system") \
	X(STALLED, 0, "peer that reads from a FUSE that stalls") \
	X(BYSTANDER, 1, "bystander's map, fault and unmap") \
	X(SLOW_SWAP, 0, "pages from a slow swap") \
	X(LOCKED, 1, "controller with locked memory") \
	X(COPIED_UP, 0, "file of an overlay copied up")

enum count {
#define X(name, must, text) N_##name,
	COUNTS(X)
#undef X
	NR_COUNTS
};

/* A use of a right that was gone. */
struct escape {
	const char *what;	/* a string constant: all processes have it */
	unsigned long long life;
	pid_t pid;
	int view;		/* -1: none, see @file */
	int file;
	unsigned long page;
	uint64_t value;
	uint64_t wanted;
};

#define MAX_ESCAPES 16

/* What the first word of a page is: 0, or a number with this. */
#define KNOWN			(1U << 16)

/* What a crew's processes have in common. */
struct crew {
	/* Lives up to this one have no right left: raised after the call. */
	atomic_ullong dead;
	/* Lives up to this one are over: their peers go home. */
	atomic_ullong over;
	/* Where each lane is at work, so that peers can be there too. */
	atomic_uint hot[LANES];
	/*
	 * KNOWN, while the first word of that page of the view is
	 * word_of(TAG_OPEN, number) and nothing else. No two in a row are the
	 * same.
	 */
	atomic_uint known[VIEWS][MAX_PAGES];
	/* Times that a peer has read such a word. */
	atomic_uint seen;
	/* What the first part of a view maps, throughout a life. */
	int common_file[VIEWS];
};

#define MAX_ACTIVITIES	2048

/* What a thread is doing. */
struct activity {
	atomic_int tid;		/* 0: free */
	atomic_int pid;
	const char *what;	/* a string constant, as in struct escape */
	atomic_ullong since;	/* milliseconds; 0: nothing that has a limit */
};

/* What a bystander's calls and accesses take: see bystander.c. */
enum { MEASURED_MAP, MEASURED_FAULT, MEASURED_UNMAP, NR_MEASURED };

#define MEASURED_BUCKETS	512

struct measured {
	atomic_ullong nr;
	atomic_uint buckets[MEASURED_BUCKETS];
	atomic_ullong worst;	/* nanoseconds */
};

/* Shared by all processes. */
struct board {
	atomic_bool stop;
	struct crew crews[MAX_CREWS];
	/* Like those of a crew, of the first part of the files. */
	atomic_uint hot;
	atomic_uint known[FILES][MAX_PART];
	atomic_uint seen;
	atomic_ullong counts[NR_COUNTS];
	atomic_uint nr_escapes;
	struct escape escapes[MAX_ESCAPES];
	atomic_bool failed;
	struct activity activities[MAX_ACTIVITIES];
	/* Longest that anything has taken, in milliseconds. */
	atomic_ullong longest;
	const char *longest_what;
	/* By a bystander. */
	struct measured of_view[NR_MEASURED];
	struct measured of_plain[NR_MEASURED];
};

#define HOT(view, page)		((view) << 16 | (page))
#define HOT_VIEW(hot)		((hot) >> 16)
#define HOT_PAGE(hot)		((hot) & 0xffff)

struct options {
	unsigned long long seed;
	unsigned int seconds;
	unsigned int slower;	/* times that, until everything has happened */
	bool complete;		/* or it is a failure */
	bool judge_bystander;
	unsigned int too_long;	/* seconds: who waits as long is hung */
	unsigned int controllers;
	unsigned int peers;
	unsigned int threads;
	unsigned int pages;	/* of a part */
	const char *operations;	/* names with commas between; NULL: all */
	const char *dir;
	bool quiet;
	bool swap;
	bool ring;	/* the driver takes operations by io_uring */
	bool huge;	/* parts are huge pages, and the driver makes such entries */
};

enum ending { END_KILL, END_EXIT, END_EXEC, END_REVOKE, END_CLOSE, NR_ENDINGS };

/* main.c */
extern struct options options;
extern struct board *board;
extern unsigned int crew_number;	/* of this process, if it is in one */

void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void count_add(enum count count, unsigned long n);
/* Counts go to the board now and then; at the latest before a thread ends. */
void count_flush(void);
/* A child of fork(2) has not done what its parent had not flushed yet. */
void count_forget(void);
void escaped(const struct escape *escape);
/* Something that has nothing to do with escapes went wrong: ends the run. */
noreturn void fail(const char *what, int err);
uint64_t random_next(uint64_t *state);
uint64_t random_seed(unsigned long long life, unsigned int who);
double elapsed(void);
/* Is there time left, or something that has to happen yet? */
bool run_goes_on(void);

static inline unsigned long view_pages(void)
{
	return PARTS * options.pages;
}

static inline struct crew *this_crew(void)
{
	return &board->crews[crew_number];
}

/* 0 to @n - 1 */
static inline unsigned long random_below(uint64_t *state, unsigned long n)
{
	return random_next(state) % n;
}

/* Once in @n times */
static inline bool random_once_in(uint64_t *state, unsigned long n)
{
	return !random_below(state, n);
}

/* clock.c */
/* This thread begins with something that must not take long. Or ends. */
void now_doing(const char *what);
void now_resting(void);
/* A child of fork(2) is nobody yet. */
void activity_forget(void);
/* Says who, if so. */
bool somebody_hangs(void);
/* Where a process that does not end is; the reason is in the kernel. */
void print_stacks(pid_t pid);

/* crew.c */
enum status {
	STATUS_OK,
	STATUS_ESCAPE,
	STATUS_FAILED,		/* usage, or a call that must not fail has */
	STATUS_INCOMPLETE,	/* something never happened: shows nothing */
	STATUS_HUNG,
	STATUS_STARVED,		/* others have cost a bystander too much */
};

/* Longest that anything may take, on a slow emulated machine under load. */
#define PATIENCE	120	/* seconds */
/*
 * Nice value of who is to run when it wakes up. Three times the share of others: with
 * more of it those who are killed have no CPU left to end with.
 */
#define FIRST		(-5)
#define TICK		10	/* milliseconds */

/* A child that does not outlive its parent. Like fork(2). */
pid_t start(void);
/* One life after the other, as long as the run goes on. */
noreturn void crew_run(unsigned int number);

/* Says where the process is, and ends the run. */
noreturn void hung(pid_t pid, const char *what);

/* neighbours.c */
void prepare_neighbours(void);
unsigned int start_neighbours(void);
/* bystander.c: says what others have cost it. Is that little enough? */
bool bystander_gets_on(void);
/* freeze.c: a run that ends early leaves nobody who cannot be killed. */
void freeze_end(void);
/* numa.c: for the whole machine */
void numa_at_full_speed(void);
bool is_neighbour(const char *name, size_t len);

/* files.c */
extern int files[FILES];

/* Reserves the huge pages and makes the files. */
void make_files(void);
/* From page to page in pieces as small as the file has them. */
unsigned long file_unit(int file);
unsigned long file_size(int file);
/*
 * Where the file has a page of a view, or of this crew's parts. Within a part
 * they are in a row, and parts of a huge file have huge pages of their own.
 */
unsigned long file_offset(int file, unsigned long page);
uint64_t *map_file(int file);
void unmap_file(int file, uint64_t *mem);

/* controller.c */
noreturn void controller_run(unsigned long long life, enum ending ending,
			     unsigned int milliseconds, const int *sockets);
/*
 * The views of @life have lost everything: shows that peers have, too. By the
 * process that has @mem, where the files are mapped.
 */
void check_dead(unsigned long long life, uint64_t *const mem[FILES]);
/* Takes pages out of the files' first part. */
noreturn void vandal_run(void);
bool operations_exist(const char *list);
/* Among those of --operations? */
bool is_chosen(const char *name);

/* peer.c */
noreturn void peer_run(unsigned long long life, unsigned int index, int socket);

#endif /* STRESS_H */
