/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A fuzzer for the driver's interface, driven by the coverage of the driver.
 *
 * An input is a *program*: up to MAX_OPS operations, each on one of four lanes.
 * Lanes 0 and 1 are threads of one process, 2 and 3 of another, which has the
 * same file descriptors and an address space of its own; so either can be
 * controller and peer. Lanes take turns in the order of the program, and from some
 * operation on, if it has one marked, run together. Whatever the bytes of an
 * operation are, they mean something.
 *
 *	main.c		options, the loop, coverage, which inputs are kept
 *	program.c	inputs: text form, generation, mutation
 *	run.c		runs one program, in processes of its own
 *	ops.c		what the operations do
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define PAGE		4096UL

#define MAX_OPS		40
#define NR_ARGS		6
#define NR_LANES	4
#define LANES_OF(process) (2 * (process))	/* the first of two */
#define PROCESS_OF(lane) ((lane) / 2)

struct op {
	uint8_t code;
	uint8_t lane;
	uint8_t arg[NR_ARGS];
};

struct program {
	unsigned int nr;
	unsigned int together;	/* the first of those that do; nr: none */
	struct op ops[MAX_OPS];
};

/* program.c */
bool program_read(struct program *p, FILE *file);
void program_write(const struct program *p, FILE *file);
void program_generate(struct program *p, uint64_t *random);
void program_mutate(struct program *p, const struct program *other,
		    uint64_t *random);
uint64_t random_next(uint64_t *state);

static inline unsigned long random_below(uint64_t *state, unsigned long n)
{
	return random_next(state) % n;
}

/* ops.c */
#define NR_VIEWS	3
#define NR_VIEWFDS	4
#define NR_FILES	6
#define NR_SLOTS	6	/* places for mappings, the same in each process */
#define SLOT_SIZE	(8UL << 20)
#define VIEW_PAGES	64UL

/* What the processes that run a program share. */
struct world {
	atomic_uint turn;		/* the operation that may run */
	atomic_bool gone[2];		/* processes that are no more */
	pid_t pid[2];
	atomic_int ctl[NR_VIEWS];	/* file descriptors; 0: none yet */
	atomic_int viewfd[NR_VIEWFDS];
	atomic_int file[NR_FILES];
	atomic_int owner[NR_VIEWS];	/* process + 1 that mapped into it */
	atomic_bool params_changed;
};

struct op_type {
	const char *name;
	void (*run)(const uint8_t *arg);
	unsigned int weight;		/* how often it is generated */
};

extern const struct op_type op_types[];
extern const unsigned int nr_op_types;
extern struct world *world;

int op_find(const char *name);
/* Once in the life of the fuzzer; false and errno. */
bool ops_prepare(void);
/* The module's parameters as they were. */
void ops_restore_params(void);
/* At the start of each thread. */
void ops_thread(unsigned int lane);
/* Runs one operation, whatever signals that means. */
void op_run(const struct op *op);

/* run.c */
enum run_result { RUN_DONE, RUN_TIMEOUT, RUN_REPORT };

#define KCOV_WORDS	(32U << 10)

/* Coverage of a lane: [0] is the number of addresses that follow. */
extern uint64_t *kcov[NR_LANES];

bool run_prepare(void);
enum run_result run_program(const struct program *p, char *report, size_t size);

#endif /* FUZZ_H */
