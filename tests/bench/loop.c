// SPDX-License-Identifier: GPL-2.0
/*
 * Does one thing with a view, for ever: what tests/bench/profile looks at.
 *
 *	loop fault-warm-read|fault-warm-write|fault-first-write|map|map-unmap|unmap|
 *	     update
 */
#include <errno.h>
#include <error.h>
#include <fcntl.h>
#include <memview.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE	(4UL << 20)
#define PAGE	4096UL
#define BATCH	512

#define CHECK(call) do { \
	int check_err = (call); \
	if (check_err < 0) \
		error(1, -check_err, "%s", #call); \
} while (0)

static int file = -1;
static struct memview *view;

static void *map(int fd, int prot)
{
	void *at = mmap(NULL, SIZE, prot, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		error(1, errno, "mmap");
	return at;
}

static void faults(int prot, bool holes)
{
	int fd;

	CHECK(memview_map(view, 0, file, 0, SIZE, MEMVIEW_READ | MEMVIEW_WRITE));
	fd = memview_view_fd(view);
	CHECK(fd);
	/* The peer: who maps a view is the controller, or another. */
	if (fork())
		pause();
	for (;;) {
		volatile char *p = map(fd, prot);

		if (holes && fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       0, SIZE))
			error(1, errno, "fallocate");
		for (unsigned long at = 0; at < SIZE; at += PAGE) {
			if (prot & PROT_WRITE)
				p[at] = 1;
			else
				(void)p[at];
		}
		munmap((void *)p, SIZE);
	}
}

/* As map-batch does: each page by a call, in a view that has none at first. */
static void map_single(void)
{
	for (;;) {
		struct memview *fresh;

		CHECK(memview_open(&fresh));
		CHECK(memview_set_size(fresh, 2 * SIZE));
		for (unsigned long at = 0; at < SIZE; at += PAGE)
			CHECK(memview_map(fresh, 2 * at, file, at, PAGE,
					  MEMVIEW_READ | MEMVIEW_WRITE));
		memview_close(fresh);
	}
}

/* As unmap-batch does: what a peer has touched, by UPDATE. */
static void unmap_touched(void)
{
	struct memview_batch *unmaps;
	volatile char *p;
	int fd;

	CHECK(memview_batch_new(&unmaps));
	for (unsigned long at = 0; at < SIZE; at += 2 * PAGE)
		CHECK(memview_batch_unmap(unmaps, at, PAGE));
	fd = memview_view_fd(view);
	CHECK(fd);
	p = map(fd, PROT_READ | PROT_WRITE);
	for (;;) {
		CHECK(memview_replace(view, 0, file, 0, SIZE,
				      MEMVIEW_READ | MEMVIEW_WRITE));
		for (unsigned long at = 0; at < SIZE; at += PAGE)
			p[at] = 1;
		CHECK(memview_batch_apply(view, unmaps, NULL, NULL));
	}
}

static void map_unmap(void)
{
	/* One stays, and with it the source. */
	CHECK(memview_map(view, SIZE - PAGE, file, SIZE - PAGE, PAGE, MEMVIEW_READ));
	for (unsigned long at = 0;; at = (at + PAGE) % (SIZE / 2)) {
		CHECK(memview_map(view, at, file, at, PAGE, MEMVIEW_READ | MEMVIEW_WRITE));
		CHECK(memview_unmap(view, at, PAGE, NULL));
	}
}

static void update(void)
{
	struct memview_batch *maps, *unmaps;

	CHECK(memview_map(view, SIZE - PAGE, file, SIZE - PAGE, PAGE, MEMVIEW_READ));
	CHECK(memview_batch_new(&maps));
	CHECK(memview_batch_new(&unmaps));
	for (unsigned long i = 0; i < BATCH; i++) {
		CHECK(memview_batch_map(maps, i * PAGE, file, i * PAGE, PAGE,
					MEMVIEW_READ | MEMVIEW_WRITE));
		CHECK(memview_batch_unmap(unmaps, i * PAGE, PAGE));
	}
	for (;;) {
		CHECK(memview_batch_apply(view, maps, NULL, NULL));
		CHECK(memview_batch_apply(view, unmaps, NULL, NULL));
	}
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";

	file = memfd_create("loop", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, SIZE))
		error(1, errno, "memfd");
	memset(map(file, PROT_READ | PROT_WRITE), 1, SIZE);
	CHECK(memview_open(&view));
	CHECK(memview_set_size(view, SIZE));
	if (!strcmp(what, "fault-warm-read"))
		faults(PROT_READ, false);
	else if (!strcmp(what, "fault-warm-write"))
		faults(PROT_READ | PROT_WRITE, false);
	else if (!strcmp(what, "fault-first-write"))
		faults(PROT_READ | PROT_WRITE, true);
	else if (!strcmp(what, "map"))
		map_single();
	else if (!strcmp(what, "map-unmap"))
		map_unmap();
	else if (!strcmp(what, "unmap"))
		unmap_touched();
	else if (!strcmp(what, "update"))
		update();
	error(2, 0, "what to do: fault-warm-read, fault-warm-write, fault-first-write, map, "
	      "map-unmap, unmap or update");
	return 2;
}
