// SPDX-License-Identifier: GPL-2.0
/*
 * Taking single regions of 2 MiB back from a backend that has touched them, and
 * waits, or has a thread that is busy on another CPU, which must be told.
 */
#include "bench.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define REGION	(2 * MIB)
#define REGIONS	16UL
#define SIZE	(REGIONS * REGION)

void revoke_view(const struct bench *bench, double *values)
{
	const struct revoke_param *p = bench->param;
	int fd = shared_file;
	struct memview *view = make_view(SIZE);
	struct span span = { .size = SIZE, .stride = PAGE };
	struct peer peer;
	uint64_t start;
	size_t i;

	/* In the opposite order: a range each. */
	for (i = 0; i < REGIONS; i++)
		check(memview_map(view, i * REGION, fd, SIZE - (i + 1) * REGION,
				  REGION, MEMVIEW_READ | MEMVIEW_WRITE),
		      "memview_map");
	span.fd = check(memview_view_fd(view), "memview_view_fd");
	peer_start(&peer);
	peer_call(&peer, peer_map_and_touch, &span, sizeof(span));
	if (p->busy)
		peer_call(&peer, peer_sibling, NULL, 0);
	settle();
	start = now();
	for (i = 0; i < REGIONS; i++)
		check(memview_unmap(view, i * REGION, REGION, NULL), "memview_unmap");
	values[0] = (double)(now() - start) / REGIONS;
}

struct backend {
	int sock, fd;
	bool busy;
};

/* A mapping for each region, as vhost-user's ADD_MEM_REG and REM_MEM_REG. */
static void be_backend(const void *arg, double *values)
{
	const struct backend *backend = arg;
	char *regions[REGIONS];
	uint32_t message;
	size_t i;

	(void)values;
	for (i = 0; i < REGIONS; i++) {
		regions[i] = map_fd(backend->fd, REGION, SIZE - (i + 1) * REGION);
		touch(regions[i], REGION, PAGE, true);
	}
	if (backend->busy)
		start_sibling(1);
	message = 0;
	do {
		if (send(backend->sock, &message, sizeof(message), 0) < 0 ||
		    recv(backend->sock, &message, sizeof(message), 0) <= 0)
			err(1, "socket");
	} while (!munmap(regions[message], REGION));
}

void revoke_message(const struct bench *bench, double *values)
{
	const struct revoke_param *p = bench->param;
	struct backend backend = { .fd = shared_file, .busy = p->busy };
	uint32_t message, answer;
	struct peer peer;
	uint64_t start;
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, socks))
		err(1, "socketpair");
	backend.sock = socks[1];
	peer_start(&peer);
	peer_post(&peer, be_backend, &backend, sizeof(backend));
	if (recv(socks[0], &answer, sizeof(answer), 0) <= 0)
		errx(1, "the backend did not start");
	settle();
	start = now();
	for (message = 0; message < REGIONS; message++)
		if (send(socks[0], &message, sizeof(message), 0) < 0 ||
		    recv(socks[0], &answer, sizeof(answer), 0) <= 0)
			errx(1, "the backend did not answer");
	values[0] = (double)(now() - start) / REGIONS;
}
