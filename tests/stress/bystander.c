// SPDX-License-Identifier: GPL-2.0
/*
 * A bystander: has a view of its own, maps a page, touches it and unmaps it, again
 * and again, beside all that goes on, and measures each. It does the same with plain
 * memory, in turns. What others do is not to cost the view much more than it costs
 * plain memory (R8).
 *
 * The time in which it could run and others have the CPU does not count: that is
 * their share, and among so many processes it is hundred times what is measured. All
 * else does: locks, memory, and what it does itself.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "neighbours.h"

#define SIZE		(16 * PAGE)
/* What is allowed, in times of what it takes with plain memory: a fault of a view 1.8. */
#define MEDIAN_TIMES	4
#define TAIL_TIMES	10

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

/* How long this process has waited for a CPU so far, while it could run. */
static unsigned long long cpu_waited(void)
{
	static int file = -1;
	unsigned long long waited;
	char text[64] = "";

	if (file < 0)
		file = open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC);
	if (pread(file, text, sizeof(text) - 1, 0) <= 0 ||
	    sscanf(text, "%*u %llu", &waited) != 1)
		fail("/proc/self/schedstat", errno);
	return waited;
}

struct timer {
	unsigned long long waited, begin;
};

static struct timer timer_begin(const char *what)
{
	struct timer timer = { .waited = cpu_waited() };

	now_doing(what);
	timer.begin = nanoseconds();
	return timer;
}

/* A wait right before or after it is taken off as well: too little, and never too much. */
static void timer_end(const struct timer *timer, struct measured *measured)
{
	unsigned long long took = nanoseconds() - timer->begin;
	unsigned long long waited = cpu_waited() - timer->waited;

	now_resting();
	record(measured, took > waited ? took - waited : 0);
}

static void measure_view(const struct own *own, volatile char *at, uint64_t offset)
{
	struct timer timer;
	int err;

	timer = timer_begin("map by a bystander");
	err = memview_map(own->view, offset, own->file, offset, PAGE, READ_WRITE);
	if (err)
		fail("map by a bystander", -err);
	timer_end(&timer, &board->of_view[MEASURED_MAP]);

	timer = timer_begin("fault by a bystander");
	at[offset]++;
	timer_end(&timer, &board->of_view[MEASURED_FAULT]);

	timer = timer_begin("unmap by a bystander");
	err = memview_unmap(own->view, offset, PAGE, NULL);
	if (err)
		fail("unmap by a bystander", -err);
	timer_end(&timer, &board->of_view[MEASURED_UNMAP]);
}

static void measure_plain(int file, uint64_t offset)
{
	struct timer timer;
	volatile char *at;

	timer = timer_begin("mmap by a bystander");
	at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, offset);
	if (at == MAP_FAILED)
		fail("mmap by a bystander", errno);
	timer_end(&timer, &board->of_plain[MEASURED_MAP]);

	timer = timer_begin("fault of plain memory by a bystander");
	(*at)++;
	timer_end(&timer, &board->of_plain[MEASURED_FAULT]);

	timer = timer_begin("munmap by a bystander");
	if (munmap((void *)at, PAGE))
		fail("munmap by a bystander", errno);
	timer_end(&timer, &board->of_plain[MEASURED_UNMAP]);
}

noreturn void bystander_run(void)
{
	struct own own;
	volatile char *at;
	int plain = memfd_create("plain", MFD_CLOEXEC);

	/* All there, like the view's. */
	if (plain < 0 || fallocate(plain, 0, 0, SIZE))
		fail("memory of a bystander", errno);

	lend_own(&own, SIZE);
	at = map_own(&own);
	touch_all("access by a bystander", at, SIZE);
	if (memview_unmap(own.view, 0, SIZE, NULL))
		fail("unmap by a bystander", 0);
	for (unsigned int i = 0; run_goes_on(); i++) {
		uint64_t offset = i / 2 * PAGE % SIZE;

		/* Who has slept is the first to get the CPU: not always the same. */
		if (i % 2)
			measure_plain(plain, offset);
		measure_view(&own, at, offset);
		if (!(i % 2))
			measure_plain(plain, offset);
		count_add(N_BYSTANDER, 1);
		count_flush();
		nap(5);
	}
	give_up_own(&own);
	_exit(STATUS_OK);
}

bool bystander_gets_on(void)
{
	bool good = true;

	for (int i = 0; i < NR_MEASURED; i++) {
		struct measured *view = &board->of_view[i];
		struct measured *plain = &board->of_plain[i];

		print("stress: bystander's %s: median %.2f ms, 99%% %.2f, worst %.2f; "
		      "of plain memory %.2f, %.2f, %.2f\n", names[i],
		      percentile(view, 50), percentile(view, 99),
		      atomic_load(&view->worst) / 1e6,
		      percentile(plain, 50), percentile(plain, 99),
		      atomic_load(&plain->worst) / 1e6);
		good &= percentile(view, 50) <= MEDIAN_TIMES * percentile(plain, 50) &&
			percentile(view, 99) <= TAIL_TIMES * percentile(plain, 99);
	}
	return good;
}
