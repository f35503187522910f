// SPDX-License-Identifier: GPL-2.0
/*
 * First touches by a peer while NUMA balancing takes the rights of the pages that
 * the controller has mapped, as fast as it can be told to.
 *
 * It scans an address space only in a task of it that runs, so a thread of the
 * controller spins. On one CPU it runs in between: what counts is the CPU time of
 * the thread that touches, which under -icount is its instructions. Pages that
 * are where the process runs are left alone unless it has several threads, which
 * it has by then; one that has lost its rights is counted once; and a memfd is
 * left alone but for a policy that asks for it.
 */
#include "bench.h"

#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SIZE	(32 * MIB)
#define PAGES	(SIZE / PAGE)

#define BALANCING	"/proc/sys/kernel/numa_balancing"
#define KNOBS		"/sys/kernel/debug/sched/numa_balancing/"

static const struct knob {
	const char *path, *fast, *usual;
} knobs[] = {
	{ BALANCING, "1", "1" },
	{ KNOBS "scan_delay_ms", "1", "1000" },
	{ KNOBS "scan_period_min_ms", "10", "1000" },
	{ KNOBS "scan_period_max_ms", "20", "60000" },
	/* Of larger pieces there are at most ten a second. */
	{ KNOBS "scan_size_mb", "32", "256" },
};

#define NR_KNOBS	(sizeof(knobs) / sizeof(knobs[0]))

static int file = -1;

const char *no_numa_balancing(void)
{
	/* If it is there already, so much the better. */
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	if (access(BALANCING, W_OK) || access(KNOBS "scan_delay_ms", W_OK))
		return "this kernel has no NUMA balancing";
	if (access("/sys/devices/system/node/node1", F_OK))
		return "one NUMA node, which needs no balancing";
	return NULL;
}

/* Before the processes that are scanned: they begin with the delay of that time. */
void numa_setup(const struct bench *bench)
{
	unsigned long nodes = 3;
	size_t i;
	void *map;

	(void)bench;
	for (i = 0; i < NR_KNOBS; i++)
		write_file(knobs[i].path, knobs[i].fast);
	file = make_file(SIZE, true);
	map = map_fd(file, SIZE, 0);
	/* The file's, as it is a memfd. */
	if (syscall(SYS_mbind, map, SIZE, MPOL_BIND | MPOL_F_NUMA_BALANCING, &nodes,
		    sizeof(nodes) * 8, 0))
		err(1, "mbind");
	munmap(map, SIZE);
}

void numa_cleanup(void)
{
	size_t i;

	close(file);
	for (i = NR_KNOBS; i-- > 0;)
		write_file(knobs[i].path, knobs[i].usual);
}

/* Entries that scans have taken the rights of. */
static unsigned long taken(void)
{
	FILE *vmstat = fopen("/proc/vmstat", "re");
	unsigned long value;
	bool found = false;
	char line[128];

	while (vmstat && !found && fgets(line, sizeof(line), vmstat))
		found = sscanf(line, "numa_pte_updates %lu", &value) == 1;
	if (!found)
		errx(1, "/proc/vmstat: no numa_pte_updates");
	fclose(vmstat);
	return value;
}

/* Not by start_sibling(): emulated, a pause takes far longer than it counts. */
static void *run(void *arg)
{
	volatile unsigned long rounds = 0;

	(void)arg;
	pin(1);
	for (;;)
		rounds++;
	return NULL;
}

/*
 * The pages of this process's mapping lose their rights, and will again. Some may
 * have lost them before, and of the thread's own there are always a few that do.
 */
static void scan_for_ever(void)
{
	const unsigned long few = PAGES / 128;
	unsigned long before = taken(), so_far = 0, last;
	int tries = 50;
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, NULL))
		err(1, "pthread_create");
	do {
		if (!--tries)
			errx(1, "NUMA balancing has taken the rights of %lu pages "
			     "of %lu", so_far, PAGES);
		last = so_far;
		usleep(200000);
		so_far = taken() - before;
	} while (so_far < PAGES / 2 || so_far - last > few);
}

static double thread_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

/* Of this thread, with those that it takes in the source. */
static double faults(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage))
		err(1, "getrusage");
	return usage.ru_minflt + usage.ru_majflt;
}

struct touch {
	int fd;
	bool write;
};

static void touch_fresh(const void *arg, double *values)
{
	const struct touch *t = arg;
	void *map = map_fd(t->fd, SIZE, 0);
	double taken_before = faults(), start = thread_time();

	touch(map, SIZE, PAGE, t->write);
	values[0] = (thread_time() - start) / PAGES;
	values[1] = (faults() - taken_before) / PAGES;
}

static void measure(const struct bench *bench, int fd, double *values)
{
	const struct numa_param *p = bench->param;
	struct touch t = { .fd = fd, .write = p->write };
	struct peer peer;

	scan_for_ever();
	/* No sooner: what it inherits would be scanned, too. */
	peer_start(&peer);
	peer_post(&peer, touch_fresh, &t, sizeof(t));
	peer_wait(&peer, values);
	peer_stop(&peer);
}

/* The controller's own mapping is the source that is scanned. */
void numa_view(const struct bench *bench, double *values)
{
	struct span span = { .fd = file, .size = SIZE, .stride = PAGE };
	struct memview *view = view_of(file, SIZE);
	struct peer first;

	span.fd = check(memview_view_fd(view), "memview_view_fd");
	peer_start(&first);
	peer_call(&first, peer_map_and_touch, &span, sizeof(span));
	peer_stop(&first);
	measure(bench, span.fd, values);
}

/* A process that has the file mapped is scanned, and the peer's is of the file. */
void numa_plain(const struct bench *bench, double *values)
{
	touch(map_fd(file, SIZE, 0), SIZE, PAGE, true);
	measure(bench, file, values);
}
