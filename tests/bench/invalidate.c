// SPDX-License-Identifier: GPL-2.0
/*
 * What views cost whoever changes the file: punching single pages out of it and
 * truncating it. The process that does it has the file mapped, too.
 */
#include "bench.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#define SIZE		(4 * MIB)
#define PUNCH_STRIDE	(2 * PAGE)

static int make_mapped_file(void **at)
{
	int fd = make_file(SIZE, true);

	*at = map_fd(fd, SIZE, 0);
	touch(*at, SIZE, PAGE, true);
	return fd;
}

/* A peer that has all of it. */
static void start_peer(int fd)
{
	struct span span = { .fd = fd, .size = SIZE, .stride = PAGE };
	struct peer peer;

	peer_start(&peer);
	peer_call(&peer, peer_map_and_touch, &span, sizeof(span));
}

static double measure(const struct invalidate_param *p, int fd)
{
	uint64_t start;
	size_t at;

	settle();
	start = now();
	if (p->truncate) {
		if (ftruncate(fd, 0))
			err(1, "ftruncate");
		return (double)(now() - start) / (SIZE / PAGE);
	}
	for (at = 0; at < SIZE; at += PUNCH_STRIDE)
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
			      PAGE))
			err(1, "fallocate");
	return (double)(now() - start) / (SIZE / PUNCH_STRIDE);
}

void invalidate_view(const struct bench *bench, double *values)
{
	const struct invalidate_param *p = bench->param;
	void *at;
	int fd = make_mapped_file(&at);
	unsigned int i;

	/* No view of this file, but one of another: the mm has its notifier. */
	if (!p->views) {
		start_peer(check(memview_view_fd(view_of(shared_file, SIZE)),
				 "memview_view_fd"));
	}
	for (i = 0; i < p->views; i++)
		start_peer(check(memview_view_fd(p->adopted ?
						 view_of_mapping(at, fd, SIZE) :
						 view_of(fd, SIZE)),
				 "memview_view_fd"));
	values[0] = measure(p, fd);
}

void invalidate_none(const struct bench *bench, double *values)
{
	void *at;

	values[0] = measure(bench->param, make_mapped_file(&at));
}

/* As many other processes have it, but mapped from the file itself. */
void invalidate_plain(const struct bench *bench, double *values)
{
	const struct invalidate_param *p = bench->param;
	void *at;
	int fd = make_mapped_file(&at);
	unsigned int i;

	for (i = 0; i < p->views; i++)
		start_peer(fd);
	values[0] = measure(p, fd);
}
