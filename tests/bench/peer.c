// SPDX-License-Identifier: GPL-2.0
/*
 * A forked process that runs functions when told. The order is a function
 * pointer through a pipe: both have the same program at the same addresses.
 */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct order {
	peer_fn *fn;
	char arg[64];
};

static void serve(int from, int to)
{
	struct order order;

	while (read(from, &order, sizeof(order)) == sizeof(order)) {
		double values[MAX_FIGURES] = { 0 };

		order.fn(order.arg, values);
		if (write(to, values, sizeof(values)) != sizeof(values))
			err(1, "pipe");
	}
}

void peer_start(struct peer *peer)
{
	pid_t parent = getpid();
	int there[2], back[2];

	if (pipe(there) || pipe(back))
		err(1, "pipe");
	peer->pid = fork();
	if (peer->pid < 0)
		err(1, "fork");
	if (!peer->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		close(there[1]);
		close(back[0]);
		/* With its controller: a switch costs less than an interrupt. */
		pin(0);
		/* The first call reaches for the vDSO. */
		now();
		serve(there[0], back[1]);
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	peer->to = there[1];
	peer->from = back[0];
}

void peer_post(struct peer *peer, peer_fn *fn, const void *arg, size_t len)
{
	struct order order = { .fn = fn };

	if (len > sizeof(order.arg))
		errx(1, "argument of %zu bytes", len);
	memcpy(order.arg, arg, len);
	if (write(peer->to, &order, sizeof(order)) != sizeof(order))
		err(1, "peer");
}

void peer_wait(struct peer *peer, double *values)
{
	if (read(peer->from, values, MAX_FIGURES * sizeof(*values)) <= 0)
		errx(1, "a peer has died");
}

double peer_call(struct peer *peer, peer_fn *fn, const void *arg, size_t len)
{
	double values[MAX_FIGURES];

	peer_post(peer, fn, arg, len);
	peer_wait(peer, values);
	return values[0];
}

void peer_stop(struct peer *peer)
{
	close(peer->to);
	close(peer->from);
	kill(peer->pid, SIGKILL);
	while (waitpid(peer->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void peer_map(const void *arg, double *values)
{
	const struct span *span = arg;

	(void)values;
	map_fd(span->fd, span->size, 0);
}

void peer_map_and_touch(const void *arg, double *values)
{
	const struct span *span = arg;

	(void)values;
	touch(map_fd(span->fd, span->size, 0), span->size, span->stride, true);
}

void peer_sibling(const void *arg, double *values)
{
	(void)arg;
	(void)values;
	start_sibling(1);
}
