/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the benchmarks share. table.c has one row for each; main.c runs rows.
 *
 * A row has contenders: the view first, then its rivals. In each round each
 * contender measures once, in a process of its own that has never done anything
 * else: a process that has had a view carries mmu notifiers, and its munmap(2)
 * is no longer the rival's.
 */
#ifndef MEMVIEW_BENCH_H
#define MEMVIEW_BENCH_H

#include <err.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <memview.h>

#define PAGE		4096UL
#define HUGE_PAGE	(2UL << 20)
#define GIGANTIC_PAGE	(1UL << 30)
#define MIB		(1UL << 20)

#define GIGANTIC_PARAM	"/sys/module/memory_view/parameters/gigantic_entries"

#define MAX_FIGURES	4
#define MAX_RIVALS	3

/* How rows are measured: by time on two CPUs, by instructions on one. */
enum {
	BY_TIME		= 1,
	BY_ICOUNT	= 2,
};

struct bench;

/* One measurement: a value for each figure of the row. */
typedef void cost_fn(const struct bench *bench, double *values);

/**
 * struct figure - a value that a row measures
 * @variant: what distinguishes it from others of that name; may be ""
 * @per: "/page" for nanoseconds or instructions per page; without the slash a
 *	unit of its own
 */
struct figure {
	const char *variant;
	const char *per;
};

/**
 * struct contender - the view, or something that does the same today
 * @name: of the rival
 * @cost: measures it once
 */
struct contender {
	const char *name;
	cost_fn *cost;
};

/**
 * struct bench - a row of the table
 * @name: as the issue and docs/performance.md have it
 * @figures: what one measurement yields
 * @shared: how much of shared_file it uses
 * @keep: each contender's process lives on from one round to the next: what it
 *	has built up is too expensive to build again
 * @missing: the reason why the row cannot be measured here, or NULL
 * @setup: makes what the contenders inherit, before the first
 * @cleanup: and removes it after the last
 * @view: measures the view
 * @rivals: what it is compared to
 * @param: for the row's functions
 */
struct bench {
	const char *name;
	struct figure figures[MAX_FIGURES];
	size_t shared;
	bool keep;
	const char *(*missing)(void);
	void (*setup)(const struct bench *bench);
	void (*cleanup)(void);
	cost_fn *view;
	struct contender rivals[MAX_RIVALS];
	const void *param;
};

extern const struct bench bench_table[];
extern const size_t bench_count;

/* common.c */

/* Guest time in nanoseconds; under icount the number of instructions so far. */
uint64_t now(void);
/* @ret is what libmemview returned, an errno below zero. */
int check(int ret, const char *what);
/* On this CPU from now on, if the guest has it. */
void pin(int cpu);
/* On any CPU. */
void unpin(void);
bool have_cpu(int cpu);
void *map_fd(int fd, size_t size, off_t offset);
void touch(volatile char *map, size_t size, size_t stride, bool write);
/* A memfd with holes only, or with all its pages. */
int make_file(size_t size, bool populated);
/*
 * The file of those who leave it as it is, populated as far as the row needs
 * (struct bench.shared): filling one for each measurement takes the most time.
 */
extern int shared_file;
void fill_shared_file(size_t size);
/* With all its pages, which are of HUGE_PAGE or GIGANTIC_PAGE bytes. */
int make_huge_file(size_t size, size_t page);
void populate(int fd, size_t size);
void reserve_huge_pages(size_t size);
void release_huge_pages(void);
struct memview *make_view(size_t size);
/* A view of all of a file, in one range. */
struct memview *view_of(int fd, size_t size);
/* The same, by adoption of this process's mapping of the file. */
struct memview *view_of_mapping(void *at, int fd, size_t size);
/* For things that the driver or the kernel puts off: let it be over. */
void settle(void);
/* Keep a CPU busy in this process for as long as it lives. */
void start_sibling(int cpu);
void write_file(const char *path, const char *text);
/* Reasons for struct bench.missing. */
const char *no_huge_views(void);
const char *no_gigantic_views(void);
const char *no_second_cpu(void);
const char *too_few_ranges(void);
const char *no_update(void);
const char *no_io_uring(void);

/* peer.c: another process, which runs functions of this program when told. */

/* A function that runs in a peer, with a copy of its argument. */
typedef void peer_fn(const void *arg, double *values);

struct peer {
	pid_t pid;
	int to, from;
};

void peer_start(struct peer *peer);
/* Lets the peer run a function; to wait for its end is the caller's job. */
void peer_post(struct peer *peer, peer_fn *fn, const void *arg, size_t len);
void peer_wait(struct peer *peer, double *values);
double peer_call(struct peer *peer, peer_fn *fn, const void *arg, size_t len);
void peer_stop(struct peer *peer);

/* Peer functions that several benchmarks need. */
struct span {
	int fd;
	size_t size;
	size_t stride;
};

/* Maps the span. */
peer_fn peer_map;
/* Maps the span and writes to its pages. */
peer_fn peer_map_and_touch;
peer_fn peer_sibling;

/* The rows' functions. */

enum file_state {
	HOLES,		/* the file has no pages */
	COLD,		/* the file has pages, the source maps none of them */
	WARM,		/* the source maps them */
};

/**
 * struct fault_param - touching pages of a fresh mapping for the first time
 * @state: of the file and the source
 * @write: the touch is a write
 * @random: in an order that jumps
 * @adopted: the source is a mapping of the controller's
 * @page: size of the file's pages, 0 for PAGE
 * @size: of the file
 * @touches: how many different pages
 */
struct fault_param {
	enum file_state state;
	bool write, random, adopted;
	size_t page, size;
	unsigned long touches;
};

void fault_huge_setup(const struct bench *bench);
void fault_gigantic_setup(const struct bench *bench);
void fault_gigantic_cleanup(void);
cost_fn fault_view, fault_plain, teardown_view, teardown_plain;

/**
 * struct numa_param - first touches of what NUMA balancing scans
 * @write: the touch is a write
 */
struct numa_param {
	bool write;
};

const char *no_numa_balancing(void);
void numa_setup(const struct bench *bench);
void numa_cleanup(void);
cost_fn numa_view, numa_plain;

/**
 * struct populate_param - filling a mapping of a peer in advance
 * @holes: the file has no pages, else all
 * @size: of the file
 */
struct populate_param {
	bool holes;
	size_t size;
};

const char *no_populate(void);
cost_fn populate_view, populate_plain;

/**
 * struct steady_param - access to what is mapped already
 * @write: write, else read
 * @huge: by huge pages
 */
struct steady_param {
	bool write, huge;
};

void steady_setup(const struct bench *bench);
void steady_cleanup(void);
cost_fn steady_view, steady_plain;

/**
 * struct unmap_param - taking memory back that another process has touched
 * @size: of the file and the peer's mapping
 * @step: bytes that one operation takes
 * @stride: from one operation to the next
 * @again: map it again each time, within what is measured
 * @busy: another CPU is busy in the process that loses the memory
 */
struct unmap_param {
	size_t size, step, stride;
	bool again, busy;
};

cost_fn unmap_view, unmap_punch, unmap_own;

cost_fn map_batch_ioctl, map_batch_update, map_batch_uring, map_batch_mmap;
cost_fn unmap_batch_ioctl, unmap_batch_update, unmap_batch_uring;
cost_fn unmap_batch_munmap;

/**
 * struct remote_param - mappings in another process
 * @batch: how many are asked for at once
 * @update: the view by MEMVIEW_UPDATE, else by an ioctl for each
 */
struct remote_param {
	unsigned int batch;
	bool update;
};

cost_fn remote_view, remote_ptrace, remote_stub;

/**
 * struct revoke_param - taking regions back from a backend
 * @busy: another CPU is busy in the backend
 */
struct revoke_param {
	bool busy;
};

cost_fn revoke_view, revoke_message;

cost_fn userfault_view, userfault_1, userfault_16, userfault_256;

struct ranges_param {
	unsigned long ranges;
};

void ranges_setup(const struct bench *bench);
cost_fn ranges_view, ranges_plain;

struct threads_param {
	unsigned int threads, peers;
};

cost_fn threads_view, threads_plain;

/**
 * struct invalidate_param - what a mapped view costs those who change the file
 * @views: views that have the file, each mapped by a peer of its own
 * @truncate: truncate it all, else punch single pages
 * @adopted: their source is the mapping that the process has in any case
 */
struct invalidate_param {
	unsigned int views;
	bool truncate, adopted;
};

cost_fn invalidate_view, invalidate_none, invalidate_plain;

#endif
