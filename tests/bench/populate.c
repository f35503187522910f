// SPDX-License-Identifier: GPL-2.0
/*
 * Filling a peer's mapping in advance, and the first writes after that: what the
 * controller pays for, and what is left for the peer.
 */
#include "bench.h"

#include <err.h>
#include <sys/mman.h>

struct populate_arg {
	int fd;
	size_t size;
};

/* In the peer, from one function to the next. */
static volatile char *map;

static void map_fresh(const void *arg, double *values)
{
	const struct populate_arg *a = arg;

	map = map_fd(a->fd, a->size, 0);
	values[0] = 0;
}

static void madvise_fresh(const void *arg, double *values)
{
	const struct populate_arg *a = arg;
	uint64_t start = now();

	/* mmap(2)'s MAP_POPULATE only reads where a mapping is shared. */
	if (madvise((void *)map, a->size, MADV_POPULATE_WRITE))
		err(1, "MADV_POPULATE_WRITE");
	values[0] = (double)(now() - start) * PAGE / a->size;
}

static void write_all(const void *arg, double *values)
{
	const struct populate_arg *a = arg;
	uint64_t start = now();

	touch(map, a->size, PAGE, true);
	values[0] = (double)(now() - start) * PAGE / a->size;
}

const char *no_populate(void)
{
	struct memview_status status;
	struct memview *view = make_view(PAGE);

	check(memview_info(view, &status, sizeof(status)), "memview_info");
	memview_close(view);
	return status.features & MEMVIEW_CAN_POPULATE ? NULL :
	       "this driver cannot populate";
}

void populate_view(const struct bench *bench, double *values)
{
	const struct populate_param *p = bench->param;
	struct populate_arg arg = { .size = p->size };
	struct memview *view;
	struct peer peer;
	uint64_t start;

	arg.fd = p->holes ? make_file(p->size, false) : shared_file;
	view = view_of(arg.fd, p->size);
	arg.fd = check(memview_view_fd(view), "memview_view_fd");
	peer_start(&peer);
	peer_call(&peer, map_fresh, &arg, sizeof(arg));
	settle();
	start = now();
	check(memview_populate(view, 0, p->size, MEMVIEW_POPULATE_IN_PEERS, NULL),
	      "memview_populate");
	values[0] = (double)(now() - start) * PAGE / p->size;
	values[1] = peer_call(&peer, write_all, &arg, sizeof(arg));
}

void populate_plain(const struct bench *bench, double *values)
{
	const struct populate_param *p = bench->param;
	struct populate_arg arg = { .size = p->size };
	struct peer peer;

	arg.fd = p->holes ? make_file(p->size, false) : shared_file;
	peer_start(&peer);
	peer_call(&peer, map_fresh, &arg, sizeof(arg));
	settle();
	values[0] = peer_call(&peer, madvise_fresh, &arg, sizeof(arg));
	values[1] = peer_call(&peer, write_all, &arg, sizeof(arg));
}
