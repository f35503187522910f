// SPDX-License-Identifier: GPL-2.0
/*
 * What one first touch costs, by fault-around window: the measurement behind
 * the default of the module parameter fault_around_pages. Run it as root in the
 * guest, with --icount for instructions instead of nanoseconds:
 *
 *	tests/vm/run --icount --cpus 1 --timeout 900 -- build/bench/fault_around
 *
 * Each figure is the guest time per page of touching every page of a 4 MiB
 * memfd once through a fresh mapping of a view, and, in the same run, through a
 * fresh plain mapping of the same file.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/memory-view.h>

#define PAGE	4096UL
#define PAGES	1024UL
#define SIZE	(PAGES * PAGE)
#define PARAM	"/sys/module/memory_view/parameters/fault_around_pages"

enum state {
	HOLES,		/* the file has no pages */
	COLD,		/* the file has pages, the source maps none */
	WARM,		/* the source maps them */
};

static const struct test {
	const char *name;
	enum state state;
	int write;
	int random;
} tests[] = {
	{ "first write", HOLES, 1, 0 },
	{ "cold write", COLD, 1, 0 },
	{ "cold read", COLD, 0, 0 },
	{ "warm write", WARM, 1, 0 },
	{ "warm read", WARM, 0, 0 },
	{ "warm random read", WARM, 0, 1 },
};

#define NR_TESTS (sizeof(tests) / sizeof(tests[0]))

static void set_window(unsigned int pages)
{
	FILE *file = fopen(PARAM, "w");

	if (!file || fprintf(file, "%u", pages) < 0 || fclose(file))
		err(1, "%s", PARAM);
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Nanoseconds per page of touching each page of a fresh mapping of @fd. */
static double touch(int fd, const struct test *test)
{
	int prot = PROT_READ | (test->write ? PROT_WRITE : 0);
	volatile char *map = mmap(NULL, SIZE, prot, MAP_SHARED, fd, 0);
	uint64_t start, end;
	unsigned long i;

	if (map == MAP_FAILED)
		err(1, "mmap");
	start = now();
	for (i = 0; i < PAGES; i++) {
		/* An odd factor visits each page once, far from the last. */
		unsigned long page = test->random ? i * 1597 % PAGES : i;

		if (test->write)
			map[page * PAGE] = 1;
		else
			(void)map[page * PAGE];
	}
	end = now();
	munmap((void *)map, SIZE);
	return (double)(end - start) / PAGES;
}

static int make_file(const struct test *test)
{
	int fd = memfd_create("fault_around", MFD_CLOEXEC);
	char *map;

	if (fd < 0 || ftruncate(fd, SIZE))
		err(1, "memfd");
	if (test->state != HOLES) {
		map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			err(1, "mmap");
		memset(map, 1, SIZE);
		munmap(map, SIZE);
	}
	return fd;
}

#define RUNS 5

/* The least of some runs: what else the guest does only ever adds. */
static double least(double (*cost)(const struct test *), const struct test *test)
{
	double best = cost(test);
	int i;

	for (i = 1; i < RUNS; i++) {
		double next = cost(test);

		if (next < best)
			best = next;
	}
	return best;
}

static double view_cost(const struct test *test)
{
	int control = open("/dev/memory-view", O_RDWR | O_CLOEXEC);
	struct memview_size_info size = { .size = SIZE };
	struct memview_map_fd_info map = {
		.fd = make_file(test),
		.flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_WRITE,
		.size = SIZE,
	};
	double cost;
	int view;

	if (control < 0)
		err(1, "/dev/memory-view");
	if (ioctl(control, MEMVIEW_SET_SIZE, &size) ||
	    ioctl(control, MEMVIEW_MAP_FD, &map))
		err(1, "ioctl");
	view = ioctl(control, MEMVIEW_GET_VIEWFD);
	if (view < 0)
		err(1, "MEMVIEW_GET_VIEWFD");
	/* The first pass faults the source, too. */
	if (test->state == WARM)
		touch(view, test);
	cost = touch(view, test);
	close(view);
	close(map.fd);
	close(control);
	return cost;
}

static double plain_cost(const struct test *test)
{
	int fd = make_file(test);
	double cost = touch(fd, test);

	close(fd);
	return cost;
}

int main(void)
{
	static const unsigned int windows[] = { 1, 4, 8, 16, 32, 64 };
	unsigned int i, w;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%-18s %8s", "ns per page", "plain");
	for (w = 0; w < sizeof(windows) / sizeof(windows[0]); w++)
		printf(" %8u", windows[w]);
	printf("\n");
	for (i = 0; i < NR_TESTS; i++) {
		printf("%-18s %8.0f", tests[i].name, least(plain_cost, &tests[i]));
		for (w = 0; w < sizeof(windows) / sizeof(windows[0]); w++) {
			set_window(windows[w]);
			printf(" %8.0f", least(view_cost, &tests[i]));
		}
		printf("\n");
	}
	set_window(16);
	return 0;
}
