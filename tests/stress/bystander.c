// SPDX-License-Identifier: GPL-2.0
/*
 * A bystander: has a view of its own, maps a page, touches it and unmaps it, again
 * and again, and measures each. First beside as many processes that only use the CPU
 * as the crews will have threads, and then beside all that goes on. What others do is
 * not to cost it much more than their share of the CPU (R8).
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "neighbours.h"

#define SIZE		(16 * PAGE)
#define MAX_HOGS	(MAX_CREWS * (LANES + MAX_PEERS * MAX_THREADS))
/* What is allowed, in times of what the hogs cost: R8's share, and then some. */
#define MEDIAN_TIMES	2
#define WORST_TIMES	10

static const char * const names[NR_MEASURED] = {
	[MEASURED_MAP] = "map", [MEASURED_FAULT] = "fault", [MEASURED_UNMAP] = "unmap",
};

static unsigned long long nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* Eight to each power of two. */
static unsigned int bucket_of(unsigned long long ns)
{
	unsigned int power = ns < 8 ? 0 : 63 - __builtin_clzll(ns);

	return ns < 8 ? ns : (power - 2) * 8 + (ns >> (power - 3) & 7);
}

/* Its upper end, in milliseconds. */
static double bucket_end(unsigned int bucket)
{
	unsigned int next = bucket + 1;

	return (next < 8 ? next : (8ULL + next % 8) << (next / 8 - 1)) / 1e6;
}

static void record(struct measured *measured, unsigned long long ns)
{
	atomic_fetch_add(&measured->buckets[bucket_of(ns)], 1);
	atomic_fetch_add(&measured->nr, 1);
	if (ns > atomic_load(&measured->worst))
		atomic_store(&measured->worst, ns);
}

/* What @percent of them took at most, in milliseconds. */
static double percentile(struct measured *measured, unsigned int percent)
{
	unsigned long long nr = atomic_load(&measured->nr), sum = 0;
	double worst = atomic_load(&measured->worst) / 1e6, most;
	unsigned int i = 0;

	while (i < MEASURED_BUCKETS - 1 &&
	       (sum += atomic_load(&measured->buckets[i])) * 100 < nr * percent)
		i++;
	most = bucket_end(i);
	return most < worst ? most : worst;
}

static void measure_once(const struct own *own, volatile char *at, uint64_t offset,
			 struct measured *measured)
{
	unsigned long long begin = nanoseconds(), mapped, touched;
	int err;

	now_doing("map by a bystander");
	err = memview_map(own->view, offset, own->file, offset, PAGE, READ_WRITE);
	if (err)
		fail("map by a bystander", -err);
	mapped = nanoseconds();
	now_doing("fault by a bystander");
	at[offset]++;
	touched = nanoseconds();
	now_doing("unmap by a bystander");
	err = memview_unmap(own->view, offset, PAGE, NULL);
	if (err)
		fail("unmap by a bystander", -err);
	record(&measured[MEASURED_UNMAP], nanoseconds() - touched);
	now_resting();
	record(&measured[MEASURED_MAP], mapped - begin);
	record(&measured[MEASURED_FAULT], touched - mapped);
}

/* Until that time, or for as long as the run goes on. */
static void measure(struct measured *measured, double end)
{
	volatile char *at;
	struct own own;

	lend_own(&own, SIZE);
	at = map_own(&own);
	touch_all("access by a bystander", at, SIZE);
	if (memview_unmap(own.view, 0, SIZE, NULL))
		fail("unmap by a bystander", 0);
	for (unsigned int i = 0; end ? elapsed() < end : run_goes_on(); i++) {
		measure_once(&own, at, i * PAGE % SIZE, measured);
		count_add(N_BYSTANDER, 1);
		count_flush();
		nap(5);
	}
	give_up_own(&own);
}

static noreturn void hog(void)
{
	for (volatile unsigned int i = 0;; i++)
		;
}

void bystander_prepare(void)
{
	unsigned int nr = options.controllers * (LANES + options.peers * options.threads);
	double seconds = options.seconds / 10.0;
	pid_t hogs[MAX_HOGS];

	for (unsigned int i = 0; i < nr; i++) {
		hogs[i] = start();
		if (!hogs[i])
			hog();
	}
	measure(board->beside_hogs, elapsed() + (seconds < 1 ? 1 : seconds > 60 ? 60 : seconds));
	for (unsigned int i = 0; i < nr; i++)
		kill_child(hogs[i], "who only uses the CPU");
}

noreturn void bystander_run(void)
{
	measure(board->beside_all, 0);
	_exit(STATUS_OK);
}

bool bystander_gets_on(void)
{
	bool good = true;

	for (int i = 0; i < NR_MEASURED; i++) {
		struct measured *hogs = &board->beside_hogs[i];
		struct measured *all = &board->beside_all[i];

		print("stress: bystander's %s: median %.2f ms, 99%% %.2f, worst %.2f; "
		      "beside CPU hogs %.2f, %.2f, %.2f\n", names[i],
		      percentile(all, 50), percentile(all, 99),
		      atomic_load(&all->worst) / 1e6,
		      percentile(hogs, 50), percentile(hogs, 99),
		      atomic_load(&hogs->worst) / 1e6);
		good &= percentile(all, 50) <= MEDIAN_TIMES * percentile(hogs, 50) &&
			percentile(all, 99) <= WORST_TIMES * percentile(hogs, 99);
	}
	return good;
}
