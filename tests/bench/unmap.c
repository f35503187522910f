// SPDX-License-Identifier: GPL-2.0
/* Taking memory back that a process has mapped and touched. */
#include "bench.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>

static void start_peer(struct peer *peer, const struct unmap_param *p, int fd)
{
	struct span span = { .fd = fd, .size = p->size, .stride = PAGE };

	peer_start(peer);
	peer_call(peer, peer_map_and_touch, &span, sizeof(span));
	if (p->busy)
		peer_call(peer, peer_sibling, NULL, 0);
	settle();
}

static double per_step(const struct unmap_param *p, uint64_t start)
{
	return (double)(now() - start) / (p->size / p->stride);
}

void unmap_view(const struct bench *bench, double *values)
{
	const struct unmap_param *p = bench->param;
	int fd = shared_file;
	struct memview *view = view_of(fd, p->size);
	struct peer peer;
	uint64_t start;
	size_t at;

	start_peer(&peer, p, check(memview_view_fd(view), "memview_view_fd"));
	start = now();
	for (at = 0; at < p->size; at += p->stride) {
		check(memview_unmap(view, at, p->step, NULL), "memview_unmap");
		if (p->again)
			check(memview_map(view, at, fd, at, p->step,
					  MEMVIEW_READ | MEMVIEW_WRITE),
			      "memview_map");
	}
	values[0] = per_step(p, start);
}

void unmap_punch(const struct bench *bench, double *values)
{
	const struct unmap_param *p = bench->param;
	int fd = make_file(p->size, true);
	struct peer peer;
	uint64_t start;
	size_t at;

	start_peer(&peer, p, fd);
	start = now();
	for (at = 0; at < p->size; at += p->stride)
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
			      p->step))
			err(1, "fallocate");
	values[0] = per_step(p, start);
}

/* In a process's own address space; the busy CPU is its own, too. */
void unmap_own(const struct bench *bench, double *values)
{
	const struct unmap_param *p = bench->param;
	int fd = shared_file;
	char *map = map_fd(fd, p->size, 0);
	uint64_t start;
	size_t at;

	touch(map, p->size, PAGE, true);
	if (p->busy)
		start_sibling(1);
	settle();
	start = now();
	for (at = 0; at < p->size; at += p->stride) {
		if (munmap(map + at, p->step))
			err(1, "munmap");
		if (mmap(map + at, p->step, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED_NOREPLACE, fd, at) == MAP_FAILED)
			err(1, "mmap");
	}
	values[0] = per_step(p, start);
}
