// SPDX-License-Identifier: GPL-2.0
/*
 * What one more range costs when there are many: range i is the file's page i
 * at page 2 i, and so is the rival's VMA. Measured are single pages between
 * them, spread over all of it, sixteen at a time. The view's controller is its
 * peer here: the rival changes its own address space, too. Both are in a cgroup,
 * as processes are, where the kernel keeps for each object whom to charge.
 */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUP	"/sys/fs/cgroup/ranges"

#define BATCH	16UL
#define ROUNDS	32UL

enum { MAP, FAULT, UNMAP, MEMORY };

void ranges_setup(const struct bench *bench)
{
	(void)bench;
	write_file("/proc/sys/vm/max_map_count", "4194304");
	if (mkdir(GROUP, 0755) && errno != EEXIST)
		err(1, "%s", GROUP);
}

static void enter_group(void)
{
	write_file(GROUP "/cgroup.procs", "0");
}

/*
 * Gaps for the extra pages: behind the ranges, so that both sides find the page
 * tables there, and at least one for each page of a batch.
 */
static unsigned long nr_places(unsigned long ranges)
{
	return ranges < BATCH ? BATCH : ranges;
}

/* Offset of extra page @k, in the gap behind one of the places. */
static size_t extra(unsigned long places, unsigned long k)
{
	return (2 * (k * 1013 % places) + 1) * PAGE;
}

/* Bytes of kernel memory in slabs, which is where ranges and VMAs are. */
static double slab_bytes(void)
{
	unsigned long kib = 0;
	char line[256];
	FILE *file;

	/* What others have freed before takes its time; CPUs have counters. */
	usleep(500000);
	write_file("/proc/sys/vm/stat_refresh", "1");
	file = fopen("/proc/meminfo", "r");
	if (!file)
		err(1, "/proc/meminfo");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Slab: %lu", &kib) == 1)
			break;
	fclose(file);
	return kib * 1024.0;
}

/* Touches a batch of extra pages; returns nanoseconds for all of them. */
static uint64_t touch_extras(volatile char *area, unsigned long places,
			     unsigned long first)
{
	uint64_t start = now();
	unsigned long k;

	for (k = first; k < first + BATCH; k++)
		area[extra(places, k)] = 1;
	return now() - start;
}

static void add(double *values, int what, double ns)
{
	values[what] += ns / (BATCH * ROUNDS);
}

void ranges_view(const struct bench *bench, double *values)
{
	const struct ranges_param *p = bench->param;
	unsigned long places = nr_places(p->ranges), round, k;
	static struct memview *view;
	static double memory;
	static char *area;
	static int few;
	uint64_t start;

	if (!view) {
		size_t size = 2 * places * PAGE;
		int many = make_file(p->ranges * PAGE, false);
		double before;

		enter_group();
		few = make_file(BATCH * PAGE, true);
		view = make_view(size);
		area = map_fd(check(memview_view_fd(view), "memview_view_fd"), size, 0);
		before = slab_bytes();
		for (k = 0; k < p->ranges; k++)
			check(memview_map(view, 2 * k * PAGE, many, k * PAGE, PAGE,
					  MEMVIEW_READ | MEMVIEW_WRITE),
			      "memview_map");
		memory = (slab_bytes() - before) / p->ranges;
	}
	values[MEMORY] = memory;
	for (round = 0; round < ROUNDS; round++) {
		unsigned long first = round * BATCH;

		start = now();
		for (k = 0; k < BATCH; k++)
			check(memview_map(view, extra(places, first + k), few,
					  k * PAGE, PAGE,
					  MEMVIEW_READ | MEMVIEW_WRITE),
			      "memview_map");
		add(values, MAP, now() - start);
		add(values, FAULT, touch_extras(area, places, first));
		start = now();
		for (k = 0; k < BATCH; k++)
			check(memview_unmap(view, extra(places, first + k), PAGE,
					    NULL), "memview_unmap");
		add(values, UNMAP, now() - start);
	}
}

static void map_page(char *at, int fd, off_t offset)
{
	if (mmap(at, PAGE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED_NOREPLACE, fd, offset) == MAP_FAILED)
		err(1, "mmap");
}

void ranges_plain(const struct bench *bench, double *values)
{
	const struct ranges_param *p = bench->param;
	unsigned long places = nr_places(p->ranges), round, k;
	static double memory;
	static char *area;
	static int few;
	uint64_t start;

	if (!area) {
		int many = make_file(p->ranges * PAGE, false);
		size_t size = 2 * places * PAGE;
		double before;

		enter_group();
		few = make_file(BATCH * PAGE, true);
		area = mmap(NULL, size, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (area == MAP_FAILED || munmap(area, size))
			err(1, "mmap");
		before = slab_bytes();
		for (k = 0; k < p->ranges; k++)
			map_page(area + 2 * k * PAGE, many, k * PAGE);
		memory = (slab_bytes() - before) / p->ranges;
	}
	values[MEMORY] = memory;
	for (round = 0; round < ROUNDS; round++) {
		unsigned long first = round * BATCH;

		start = now();
		for (k = 0; k < BATCH; k++)
			map_page(area + extra(places, first + k), few, k * PAGE);
		add(values, MAP, now() - start);
		add(values, FAULT, touch_extras(area, places, first));
		start = now();
		for (k = 0; k < BATCH; k++)
			if (munmap(area + extra(places, first + k), PAGE))
				err(1, "munmap");
		add(values, UNMAP, now() - start);
	}
}
