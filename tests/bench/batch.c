// SPDX-License-Identifier: GPL-2.0
/*
 * Mapping and unmapping 4096 single pages, none beside another one: page i of
 * the file at page 2 i. For another way to ask for it, write a struct way.
 */
#include "bench.h"

#include <liburing.h>
#include <memview_uring.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES	4096UL
#define SIZE	(2 * PAGES * PAGE)

/**
 * struct way - of changing many ranges
 * @map: maps all the pages
 * @unmap: removes them
 */
struct way {
	void (*map)(struct memview *view, int fd);
	void (*unmap)(struct memview *view);
};

static void map_single(struct memview *view, int fd)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		check(memview_map(view, 2 * i * PAGE, fd, i * PAGE, PAGE,
				  MEMVIEW_READ | MEMVIEW_WRITE), "memview_map");
}

static void unmap_single(struct memview *view)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		check(memview_unmap(view, 2 * i * PAGE, PAGE, NULL), "memview_unmap");
}

static const struct way by_ioctl = { map_single, unmap_single };

static void map_update(struct memview *view, int fd)
{
	struct memview_batch *batch;
	size_t i;

	check(memview_batch_new(&batch), "memview_batch_new");
	for (i = 0; i < PAGES; i++)
		check(memview_batch_map(batch, 2 * i * PAGE, fd, i * PAGE, PAGE,
					MEMVIEW_READ | MEMVIEW_WRITE),
		      "memview_batch_map");
	check(memview_batch_apply(view, batch, NULL, NULL), "memview_batch_apply");
	memview_batch_free(batch);
}

static void unmap_update(struct memview *view)
{
	struct memview_batch *batch;
	size_t i;

	check(memview_batch_new(&batch), "memview_batch_new");
	for (i = 0; i < PAGES; i++)
		check(memview_batch_unmap(batch, 2 * i * PAGE, PAGE),
		      "memview_batch_unmap");
	check(memview_batch_apply(view, batch, NULL, NULL), "memview_batch_apply");
	memview_batch_free(batch);
}

static const struct way by_update = { map_update, unmap_update };

/* One ring, in which all of the submissions have room. */
static struct io_uring ring;

/* All that was prepared, by one system call. */
static void submit_all(unsigned int nr)
{
	struct io_uring_cqe *cqe;
	unsigned int head, seen = 0;

	check(io_uring_submit_and_wait(&ring, nr), "io_uring_submit_and_wait");
	io_uring_for_each_cqe(&ring, head, cqe) {
		check(cqe->res, "an operation in a ring");
		seen++;
	}
	if (seen != nr)
		errx(1, "%u of %u operations have completed", seen, nr);
	io_uring_cq_advance(&ring, seen);
}

/* A ring that has been used: it keeps the memory of what was submitted. */
static void make_ring(void)
{
	size_t i;

	check(io_uring_queue_init(PAGES, &ring, IORING_SETUP_SQE128),
	      "io_uring_queue_init");
	for (i = 0; i < PAGES; i++)
		io_uring_prep_nop(io_uring_get_sqe(&ring));
	submit_all(PAGES);
}

/*
 * The first makes the source, which is done by a thread of the ring; those
 * submitted together with it would all wait for it there.
 */
static void map_uring(struct memview *view, int fd)
{
	size_t i;

	for (i = 0; i < PAGES; i++) {
		memview_prep_map(io_uring_get_sqe(&ring), view, 2 * i * PAGE, fd,
				 i * PAGE, PAGE, MEMVIEW_READ | MEMVIEW_WRITE, NULL);
		if (!i)
			submit_all(1);
	}
	submit_all(PAGES - 1);
}

static void unmap_uring(struct memview *view)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		memview_prep_unmap(io_uring_get_sqe(&ring), view, 2 * i * PAGE, PAGE,
				   NULL);
	submit_all(PAGES);
}

static const struct way by_uring = { map_uring, unmap_uring };

static double map_cost(const struct way *way)
{
	int fd = shared_file;
	struct memview *view = make_view(SIZE);
	struct span span = { .size = SIZE };
	struct peer peer;
	uint64_t start;

	/* The address space is the peer's from the start, as in the rival. */
	span.fd = check(memview_view_fd(view), "memview_view_fd");
	peer_start(&peer);
	peer_call(&peer, peer_map, &span, sizeof(span));
	settle();
	start = now();
	way->map(view, fd);
	return (double)(now() - start) / PAGES;
}

static double unmap_cost(const struct way *way)
{
	int fd = shared_file;
	struct memview *view = make_view(SIZE);
	struct span span = { .size = SIZE, .stride = 2 * PAGE };
	struct peer peer;
	uint64_t start;

	way->map(view, fd);
	span.fd = check(memview_view_fd(view), "memview_view_fd");
	peer_start(&peer);
	peer_call(&peer, peer_map_and_touch, &span, sizeof(span));
	settle();
	start = now();
	way->unmap(view);
	return (double)(now() - start) / PAGES;
}

void map_batch_ioctl(const struct bench *bench, double *values)
{
	(void)bench;
	values[0] = map_cost(&by_ioctl);
}

void unmap_batch_ioctl(const struct bench *bench, double *values)
{
	(void)bench;
	values[0] = unmap_cost(&by_ioctl);
}

void map_batch_update(const struct bench *bench, double *values)
{
	(void)bench;
	values[0] = map_cost(&by_update);
}

void unmap_batch_update(const struct bench *bench, double *values)
{
	(void)bench;
	values[0] = unmap_cost(&by_update);
}

void map_batch_uring(const struct bench *bench, double *values)
{
	(void)bench;
	make_ring();
	values[0] = map_cost(&by_uring);
}

void unmap_batch_uring(const struct bench *bench, double *values)
{
	(void)bench;
	make_ring();
	values[0] = unmap_cost(&by_uring);
}

/* The rival maps into a free part of the address space: nothing to replace. */
static char *free_space(void)
{
	char *area = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED || munmap(area, SIZE))
		err(1, "mmap");
	return area;
}

static void mmap_all(char *area, int fd)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		if (mmap(area + 2 * i * PAGE, PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED_NOREPLACE, fd, i * PAGE) == MAP_FAILED)
			err(1, "mmap");
}

void map_batch_mmap(const struct bench *bench, double *values)
{
	int fd = shared_file;
	char *area = free_space();
	uint64_t start;

	(void)bench;
	settle();
	start = now();
	mmap_all(area, fd);
	values[0] = (double)(now() - start) / PAGES;
}

void unmap_batch_munmap(const struct bench *bench, double *values)
{
	int fd = shared_file;
	char *area = free_space();
	uint64_t start;
	size_t i;

	(void)bench;
	mmap_all(area, fd);
	touch(area, SIZE, 2 * PAGE, true);
	settle();
	start = now();
	for (i = 0; i < PAGES; i++)
		if (munmap(area + 2 * i * PAGE, PAGE))
			err(1, "munmap");
	values[0] = (double)(now() - start) / PAGES;
}
