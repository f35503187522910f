// SPDX-License-Identifier: GPL-2.0
/*
 * How what a lane does to a table gets to the driver: by a call each, or several
 * of them by a batch; now and then by an io_uring, where a completion is what the
 * return of a call is. Nothing that a lane looks for depends on it.
 */

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <unistd.h>

#include <memview_uring.h>

#include "lane.h"

static int by_call(struct memview *view, const struct change *c, uint64_t *bytes)
{
	uint64_t mem_offset = c->first * PAGE, size = c->nr * PAGE;
	uint64_t fd_offset;

	switch (c->kind) {
	case CHANGE_UNMAP:
		return memview_unmap(view, mem_offset, size, bytes);
	case CHANGE_PROTECT:
		return memview_protect(view, mem_offset, size, c->rights);
	case CHANGE_SIZE:
		return memview_set_size(view, size);
	default:
		break;
	}
	fd_offset = file_offset(c->file, c->page);
	if (c->kind == CHANGE_ADOPT)
		return memview_adopt(view, mem_offset, c->addr, files[c->file],
				     fd_offset, size, c->rights);
	if (c->kind == CHANGE_REPLACE)
		return memview_replace(view, mem_offset, files[c->file],
				       fd_offset, size, c->rights);
	return memview_map(view, mem_offset, files[c->file], fd_offset, size,
			   c->rights);
}

static void prepare(struct io_uring_sqe *sqe, struct memview *view,
		    const struct change *c, struct memview_arg *arg)
{
	uint64_t mem_offset = c->first * PAGE, size = c->nr * PAGE;
	uint64_t fd_offset;

	switch (c->kind) {
	case CHANGE_UNMAP:
		return memview_prep_unmap(sqe, view, mem_offset, size, arg);
	case CHANGE_PROTECT:
		return memview_prep_protect(sqe, view, mem_offset, size,
					    c->rights, arg);
	case CHANGE_SIZE:
		return memview_prep_set_size(sqe, view, size, arg);
	default:
		break;
	}
	fd_offset = file_offset(c->file, c->page);
	if (c->kind == CHANGE_ADOPT)
		memview_prep_adopt(sqe, view, mem_offset, c->addr,
				   files[c->file], fd_offset, size, c->rights,
				   arg);
	else if (c->kind == CHANGE_REPLACE)
		memview_prep_replace(sqe, view, mem_offset, files[c->file],
				     fd_offset, size, c->rights, arg);
	else
		memview_prep_map(sqe, view, mem_offset, files[c->file],
				 fd_offset, size, c->rights, arg);
}

static int append(struct memview_batch *batch, const struct change *c)
{
	uint64_t mem_offset = c->first * PAGE, size = c->nr * PAGE;

	switch (c->kind) {
	case CHANGE_UNMAP:
		count_add(N_BATCH_UNMAP, 1);
		return memview_batch_unmap(batch, mem_offset, size);
	case CHANGE_PROTECT:
		return memview_batch_protect(batch, mem_offset, size, c->rights);
	case CHANGE_REPLACE:
		count_add(N_BATCH_MAP, 1);
		return memview_batch_replace(batch, mem_offset, files[c->file],
					     file_offset(c->file, c->page),
					     size, c->rights);
	default:
		count_add(N_BATCH_MAP, 1);
		return memview_batch_map(batch, mem_offset, files[c->file],
					 file_offset(c->file, c->page), size,
					 c->rights);
	}
}

static bool goes_by_ring(struct lane *lane, unsigned long once_in)
{
	int err;

	if (!random_once_in(&lane->random, once_in) || !lane->controller->rings)
		return false;
	if (!lane->ring) {
		lane->ring = calloc(1, sizeof(*lane->ring));
		if (!lane->ring)
			fail("calloc", errno);
		err = io_uring_queue_init(4, lane->ring, 0);
		if (err)
			fail("io_uring_queue_init", -err);
	}
	return true;
}

static struct io_uring_sqe *submission(struct lane *lane)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(lane->ring);

	if (!sqe)
		fail("no room in the ring", 0);
	return sqe;
}

/* Returns what the completion says. */
static int submit(struct lane *lane, struct io_uring_sqe *sqe)
{
	struct io_uring_cqe *cqe;
	int err;

	/* A thread of the ring does it, and not the lane. */
	if (random_once_in(&lane->random, 4))
		sqe->flags |= IOSQE_ASYNC;
	err = io_uring_submit(lane->ring);
	if (err != 1)
		fail("io_uring_submit", -err);
	do {
		err = io_uring_wait_cqe(lane->ring, &cqe);
	} while (err == -EINTR);
	if (err)
		fail("io_uring_wait_cqe", -err);
	err = cqe->res;
	io_uring_cqe_seen(lane->ring, cqe);
	/* The ring's threads are leaving: so will this one, as the process ends. */
	while (err == -ECANCELED) {
		now_resting();
		pause();
	}
	return err;
}

int change(struct lane *lane, const struct change *c, uint64_t *bytes)
{
	struct memview *view = lane->controller->views[c->view];
	struct io_uring_sqe *sqe;
	struct memview_arg arg;
	int err;

	/* What may be refused would undo the others. */
	if (lane->collects && c->kind != CHANGE_ADOPT)
		return append(lane->batches[c->view], c);
	if (!goes_by_ring(lane, 8)) {
		pthread_rwlock_rdlock(&lane->controller->places);
		err = by_call(view, c, bytes);
		pthread_rwlock_unlock(&lane->controller->places);
		return err;
	}
	sqe = submission(lane);
	prepare(sqe, view, c, &arg);
	pthread_rwlock_rdlock(&lane->controller->places);
	err = submit(lane, sqe);
	pthread_rwlock_unlock(&lane->controller->places);
	if (!err && bytes)
		*bytes = memview_arg_unmapped(&arg);
	count_add(N_RING, 1);
	return err;
}

void begin_changes(struct lane *lane)
{
	if (lane->nesting++ || !lane->controller->batches ||
	    random_once_in(&lane->random, 2))
		return;
	lane->collects = true;
	for (int view = 0; view < VIEWS; view++) {
		if (!lane->batches[view])
			check(lane, memview_batch_new(&lane->batches[view]),
			      "a new batch");
		memview_batch_clear(lane->batches[view]);
		lane->batch_bytes[view] = 0;
	}
}

static void apply(struct lane *lane, int view)
{
	struct memview_batch *batch = lane->batches[view];
	struct io_uring_sqe *sqe;
	struct memview_arg arg;
	uint64_t bytes;
	int err;

	if (goes_by_ring(lane, 4)) {
		sqe = submission(lane);
		memview_prep_batch(sqe, lane->controller->views[view], batch,
				   &arg);
		pthread_rwlock_rdlock(&lane->controller->places);
		err = submit(lane, sqe);
		pthread_rwlock_unlock(&lane->controller->places);
		check(lane, err, "a batch by a ring");
		bytes = memview_arg_unmapped(&arg);
		count_add(N_RING_BATCH, 1);
	} else {
		pthread_rwlock_rdlock(&lane->controller->places);
		err = memview_batch_apply(lane->controller->views[view], batch,
					  NULL, &bytes);
		pthread_rwlock_unlock(&lane->controller->places);
		check(lane, err, "a batch");
		count_add(N_BATCH, 1);
	}
	if (bytes != lane->batch_bytes[view])
		fail("batch: not the bytes that were mapped", 0);
}

void end_changes(struct lane *lane)
{
	if (--lane->nesting || !lane->collects)
		return;
	lane->collects = false;
	for (int view = 0; view < VIEWS; view++)
		if (memview_batch_count(lane->batches[view]))
			apply(lane, view);
}
