/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a lane has and does: see controller.c.
 *
 *	controller.c	views, lanes, how a life ends
 *	victims.c	what is mapped where; filling and comparing pages
 *	change.c	changes of tables: by calls, batches, io_uring
 *	table.c		rights are taken by operations on the table
 *	lose.c		pages leave the file
 *	tamper.c	the driver's mappings are replaced
 *	populate.c	a thread that populates what lanes map and take
 */
#ifndef LANE_H
#define LANE_H

#include <pthread.h>
#include <semaphore.h>

#include "stress.h"

#define MAX_VICTIMS	32	/* pages; and pages of a span */

/* A page of a view: what is mapped there. */
struct slot {
	int file;		/* -1: nothing */
	unsigned long page;	/* of the file, see file_offset() */
	unsigned int most;	/* what it was mapped with */
	unsigned int now;
};

enum change_kind {
	CHANGE_MAP, CHANGE_ADOPT, CHANGE_REPLACE, CHANGE_UNMAP, CHANGE_PROTECT,
	CHANGE_SIZE,
};

/* Of a table. By pages. */
struct change {
	enum change_kind kind;
	int view;
	unsigned long first;
	unsigned long nr;	/* CHANGE_SIZE: of the view */
	/* Of what is mapped. */
	int file;
	unsigned long page;
	void *addr;		/* CHANGE_ADOPT */
	unsigned int rights;
};

struct victim {
	int file;
	unsigned long page;
};

struct span {
	int view;
	unsigned long first;
	unsigned long nr;
};

struct controller {
	struct memview *views[VIEWS];	/* NULL: the vandal has none */
	uint64_t *mem[FILES];	/* the controller's own mappings */
	/* Others, to be adopted: op_tamper() replaces sources. Or none. */
	uint64_t *lent[FILES];
	int pagemap;
	atomic_bool ending;
	unsigned int operations;	/* of this life: a bit for each */
	/* Read by who uses the driver's mappings, which go with the views. */
	pthread_rwlock_t sources;
	/*
	 * Read by who maps something where the kernel finds room; written by who
	 * makes a hole that is to stay one, until something of its own is there.
	 */
	pthread_rwlock_t places;
	/* Not all that the driver calls its mappings is that any more. */
	bool tampered;
	atomic_uint tampers;
	bool rings;		/* lanes may use io_uring */
	bool batches;		/* and MEMVIEW_UPDATE */
	pthread_t populator;
	uint64_t random;	/* the populator's */
	atomic_ullong huge_entries;	/* that were counted */
};

struct lane {
	struct controller *controller;
	pthread_t thread;
	/* Unmaps the span while the lane does something with the same pages. */
	pthread_t rival;
	sem_t rival_go, rival_calls, rival_done;
	bool rival_fills;	/* and puts secrets there, too */
	uint64_t rival_bytes;
	unsigned int index;
	uint64_t random;
	unsigned long first;	/* page of views and files */
	unsigned long nr;
	struct slot slots[VIEWS][MAX_PAGES];
	struct span span;
	bool is_victim[FILES][MAX_PAGES];
	struct victim victims[MAX_VICTIMS];
	unsigned int nr_victims;
	/* Changes, see begin_changes(). */
	unsigned int nesting;
	bool collects;
	struct memview_batch *batches[VIEWS];
	uint64_t batch_bytes[VIEWS];	/* that it is to remove */
	struct io_uring *ring;	/* NULL: none yet */
	uint16_t number;	/* of the operation, in the words it writes */
	uint64_t copy[MAX_VICTIMS][PAGE_WORDS];
};

/* controller.c */
/* A call of the library has returned this; it ends the thread with the life. */
void check(struct lane *lane, int err, const char *what);
void doze(struct lane *lane, unsigned int most);
void dwell(struct lane *lane);
void *rival_run(void *argument);
bool wait_for_rival(struct lane *lane, sem_t *sem);
bool start_rival(struct lane *lane, bool fills);

/* victims.c */
uint64_t *page_of(uint64_t *mem, unsigned long page);
uint64_t *victim_mem(struct lane *lane, const struct victim *victim);
void fill(uint64_t *mem, unsigned long words, uint64_t word);
uint64_t word_at(const uint64_t *mem, unsigned long word);
void compare(const char *what, int file, unsigned long page,
	     const uint64_t *mem, const uint64_t *wanted);
void choose_victims(struct lane *lane, const struct span *span);
bool maps_victim(const struct lane *lane, const struct slot *slot);
void fill_victims(struct lane *lane, enum tag tag);
void mark_victims(struct lane *lane, enum tag tag);
void copy_victims(struct lane *lane);
void compare_victims(struct lane *lane, const char *what);
void secrets(struct lane *lane);
void forget(struct lane *lane, const struct span *span);
uint64_t mapped_bytes(const struct lane *lane, const struct span *span);
uint64_t do_unmap(struct lane *lane, const struct span *span);
void unmap_span(struct lane *lane, const struct span *span);
void unmap_victims(struct lane *lane);
void narrow_victims(struct lane *lane, unsigned int right, enum count count);
void widen_victims(struct lane *lane);
void map_range(struct lane *lane, const struct span *span, bool replace);
void map_block(struct lane *lane, int view);
void map_pieces(struct lane *lane, const struct span *span);
void map_holes(struct lane *lane, const struct span *span);
unsigned int victim_sources(struct lane *lane, const struct victim *victim,
			    char **sources, unsigned int max);

/* change.c */
/*
 * Like the function of the library that does it. Between begin_changes() and
 * end_changes() it may be put off until then: the result is 0, and @bytes are
 * the caller's to add to batch_bytes.
 */
int change(struct lane *lane, const struct change *c, uint64_t *bytes);
void begin_changes(struct lane *lane);
void end_changes(struct lane *lane);

/* table.c */
void op_unmap(struct lane *lane);
void op_unmap_twice(struct lane *lane);
void op_replace(struct lane *lane);
void op_narrow(struct lane *lane);
void op_noexec(struct lane *lane);
void op_shrink(struct lane *lane);

/* lose.c */
void drop_by_punch(struct lane *lane);
void op_punch(struct lane *lane);
void op_unmap_punch(struct lane *lane);
void op_truncate(struct lane *lane);
void op_lose(struct lane *lane);

/* tamper.c */
void op_tamper(struct lane *lane);

/* populate.c */
void *populator_run(void *controller);

#endif /* LANE_H */
