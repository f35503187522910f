// SPDX-License-Identifier: GPL-2.0
/*
 * Faults at the same time, all of them in a warm source: threads that share a
 * mapping and each touch a part of it, or peers that each touch all of theirs.
 */
#include "bench.h"

#include <pthread.h>
#include <sys/mman.h>

#define PART	(8 * MIB)
#define MAX	4

struct crowd {
	pthread_barrier_t *barrier;
	int fd;
	unsigned int threads;
};

struct toucher {
	pthread_barrier_t *barrier;
	pthread_t thread;
	char *map;
	uint64_t start, end;
};

static void *touch_part(void *arg)
{
	struct toucher *t = arg;

	pthread_barrier_wait(t->barrier);
	t->start = now();
	touch(t->map, PART, PAGE, true);
	t->end = now();
	return NULL;
}

/* A peer with some threads: when the first began, and when the last ended. */
static void be_crowd(const void *arg, double *values)
{
	const struct crowd *crowd = arg;
	struct toucher touchers[MAX] = { 0 };
	char *map = map_fd(crowd->fd, crowd->threads * PART, 0);
	unsigned int i;

	unpin();
	for (i = 0; i < crowd->threads; i++) {
		touchers[i].barrier = crowd->barrier;
		touchers[i].map = map + i * PART;
		if (pthread_create(&touchers[i].thread, NULL, touch_part,
				   &touchers[i]))
			err(1, "pthread_create");
	}
	for (i = 0; i < crowd->threads; i++) {
		struct toucher *t = &touchers[i];

		pthread_join(t->thread, NULL);
		if (!i || t->start < values[0])
			values[0] = t->start;
		if (t->end > values[1])
			values[1] = t->end;
	}
}

static double measure(const struct threads_param *p, bool use_view)
{
	pthread_barrier_t *barrier = mmap(NULL, sizeof(*barrier),
					  PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct crowd crowd = { .barrier = barrier, .threads = p->threads };
	struct span span = { .size = p->threads * PART, .stride = PAGE };
	double first = 0, last = 0;
	struct peer peers[MAX], fill;
	pthread_barrierattr_t attr;
	unsigned int i;

	if (barrier == MAP_FAILED)
		err(1, "mmap");
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(barrier, &attr, p->threads * p->peers);

	crowd.fd = shared_file;
	if (use_view)
		crowd.fd = check(memview_view_fd(view_of(crowd.fd, span.size)),
				 "memview_view_fd");
	span.fd = crowd.fd;
	peer_start(&fill);
	peer_call(&fill, peer_map_and_touch, &span, sizeof(span));
	peer_stop(&fill);
	for (i = 0; i < p->peers; i++)
		peer_start(&peers[i]);
	settle();
	for (i = 0; i < p->peers; i++)
		peer_post(&peers[i], be_crowd, &crowd, sizeof(crowd));
	for (i = 0; i < p->peers; i++) {
		double values[MAX_FIGURES];

		peer_wait(&peers[i], values);
		if (!i || values[0] < first)
			first = values[0];
		if (values[1] > last)
			last = values[1];
	}
	return (last - first) / (p->threads * p->peers * PART / PAGE);
}

void threads_view(const struct bench *bench, double *values)
{
	values[0] = measure(bench->param, true);
}

void threads_plain(const struct bench *bench, double *values)
{
	values[0] = measure(bench->param, false);
}
