// SPDX-License-Identifier: GPL-2.0
/* Files, views and time for the benchmarks. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/memfd.h>
#include <memview_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

int check(int ret, const char *what)
{
	if (ret < 0) {
		errno = -ret;
		err(1, "%s", what);
	}
	return ret;
}

bool have_cpu(int cpu)
{
	return sysconf(_SC_NPROCESSORS_ONLN) > cpu;
}

void pin(int cpu)
{
	cpu_set_t set;

	if (!have_cpu(cpu))
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "sched_setaffinity");
}

void unpin(void)
{
	cpu_set_t set;

	memset(&set, 0xff, sizeof(set));
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "sched_setaffinity");
}

void *map_fd(int fd, size_t size, off_t offset)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	if (map == MAP_FAILED)
		err(1, "mmap");
	return map;
}

void touch(volatile char *map, size_t size, size_t stride, bool write)
{
	size_t i;

	for (i = 0; i < size; i += stride) {
		if (write)
			map[i] = 1;
		else
			(void)map[i];
	}
}

void populate(int fd, size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, fd, 0);

	if (map == MAP_FAILED)
		err(1, "mmap");
	munmap(map, size);
}

int make_file(size_t size, bool populated)
{
	int fd = memfd_create("bench", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, size))
		err(1, "memfd");
	if (populated)
		populate(fd, size);
	return fd;
}

int shared_file = -1;

void fill_shared_file(size_t size)
{
	static size_t filled;

	if (shared_file < 0)
		shared_file = make_file(256 * MIB, false);
	if (size > filled) {
		populate(shared_file, size);
		filled = size;
	}
}

int make_huge_file(size_t size, size_t page)
{
	int fd = memfd_create("bench", MFD_CLOEXEC | MFD_HUGETLB |
			      (page == GIGANTIC_PAGE ? MFD_HUGE_1GB : MFD_HUGE_2MB));

	if (fd < 0 || ftruncate(fd, size))
		err(1, "memfd of huge pages");
	populate(fd, size);
	return fd;
}

void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err(1, "%s", path);
	close(fd);
}

void reserve_huge_pages(size_t size)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", size / HUGE_PAGE);
	write_file("/proc/sys/vm/nr_hugepages", text);
}

void release_huge_pages(void)
{
	write_file("/proc/sys/vm/nr_hugepages", "0");
}

struct memview *make_view(size_t size)
{
	struct memview *view;

	check(memview_open(&view), MEMVIEW_DEVICE);
	check(memview_set_size(view, size), "memview_set_size");
	return view;
}

struct memview *view_of(int fd, size_t size)
{
	struct memview *view = make_view(size);

	check(memview_map(view, 0, fd, 0, size, MEMVIEW_READ | MEMVIEW_WRITE),
	      "memview_map");
	return view;
}

struct memview *view_of_mapping(void *at, int fd, size_t size)
{
	struct memview *view = make_view(size);

	check(memview_adopt(view, 0, at, fd, 0, size, MEMVIEW_READ | MEMVIEW_WRITE),
	      "memview_adopt");
	return view;
}

void settle(void)
{
	usleep(20000);
}

static void *spin(void *arg)
{
	pin(*(int *)arg);
	for (;;)
		__builtin_ia32_pause();
	return NULL;
}

void start_sibling(int cpu)
{
	static int on;
	pthread_t thread;

	on = cpu;
	if (pthread_create(&thread, NULL, spin, &on))
		err(1, "pthread_create");
	settle();
}

static void huge_tables(const void *arg, double *values)
{
	const struct span *span = arg;
	size_t room = 2 * span->size;
	char *area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *map = (char *)(((uintptr_t)area + HUGE_PAGE - 1) & -HUGE_PAGE);
	unsigned long before, after;
	int i;

	if (area == MAP_FAILED ||
	    mmap(map, span->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 span->fd, 0) == MAP_FAILED)
		err(1, "mmap");
	/* The first brings the upper levels. */
	map[0] = 1;
	for (i = 0; i < 2; i++) {
		FILE *status = fopen("/proc/self/status", "r");
		char line[256];

		before = after;
		after = 0;
		while (status && fgets(line, sizeof(line), status))
			if (sscanf(line, "VmPTE: %lu", &after) == 1)
				break;
		if (!status || !after)
			err(1, "/proc/self/status");
		fclose(status);
		map[HUGE_PAGE] = 1;
	}
	values[0] = after > before;
}

/* A huge entry needs no page table; that, unlike a feature bit, is evidence. */
static const char *try_huge_views(void)
{
	struct span span = { .size = 2 * HUGE_PAGE };
	struct memview *view;
	struct peer peer;
	bool tables;

	reserve_huge_pages(span.size);
	span.fd = make_huge_file(span.size, HUGE_PAGE);
	view = view_of(span.fd, span.size);
	close(span.fd);
	span.fd = check(memview_view_fd(view), "memview_view_fd");
	peer_start(&peer);
	tables = peer_call(&peer, huge_tables, &span, sizeof(span));
	peer_stop(&peer);
	close(span.fd);
	memview_close(view);
	release_huge_pages();
	return tables ? "this driver makes no huge entries on this kernel" : NULL;
}

/* Tried once: the row before may leave huge pages that are yet to be freed. */
const char *no_huge_views(void)
{
	static const char *reason;
	static bool known;

	if (!known)
		reason = try_huge_views();
	known = true;
	return reason;
}

/* Whether they are made shows when it is measured. */
const char *no_gigantic_views(void)
{
	unsigned long nr = 0;
	FILE *file;

	if (access(GIGANTIC_PARAM, F_OK))
		return "this driver makes no entries of 1 GiB on this kernel";
	file = fopen("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages",
		     "r");
	if (file) {
		if (fscanf(file, "%lu", &nr) != 1)
			nr = 0;
		fclose(file);
	}
	return nr ? NULL : "no page of 1 GiB (--gigantic boots with one)";
}

const char *no_second_cpu(void)
{
	return have_cpu(1) ? NULL : "one CPU, on which nothing runs at the same time";
}

const char *too_few_ranges(void)
{
	return "so few are lost in the pages that slabs are counted in";
}

const char *no_update(void)
{
	struct memview_status status;
	struct memview *view = make_view(0);

	check(memview_info(view, &status, sizeof(status)), "memview_info");
	memview_close(view);
	return status.features & MEMVIEW_CAN_UPDATE ?
	       NULL : "this driver has no MEMVIEW_UPDATE";
}

const char *no_io_uring(void)
{
	struct memview_status status;
	struct memview *view = make_view(0);
	struct io_uring ring;

	check(memview_info(view, &status, sizeof(status)), "memview_info");
	memview_close(view);
	if (!(status.features & MEMVIEW_CAN_URING))
		return "this driver has no io_uring commands";
	if (io_uring_queue_init(1, &ring, IORING_SETUP_SQE128))
		return "this kernel makes no io_uring";
	io_uring_queue_exit(&ring);
	return NULL;
}
