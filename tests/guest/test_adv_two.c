// SPDX-License-Identifier: GPL-2.0
/*
 * Controllers that are peers: of each other, in a ring, of themselves. Their
 * faults need each other's address spaces and must never wait in a circle.
 */
#include "adv.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_RING 3

/* In a controller: its own table, file and address space, all of it moving. */
struct churn {
	int ctl;
	int fd;
	unsigned int seed;
};

static void *churn(void *arg)
{
	struct churn *c = arg;
	unsigned long half = CTL_PAGES / 2;
	int turn = c->seed;

	while (!atomic_load(&shared->stop)) {
		unsigned long page = turn % CTL_PAGES;
		void *p;

		switch (turn++ % 6) {
		case 0:
			if (mv_unmap(c->ctl, page * PAGE, PAGE, NULL) ||
			    mv_map(c->ctl, c->fd, page * PAGE, PAGE, page * PAGE, RW))
				atomic_fetch_add(&shared->bad, 1);
			break;
		case 1:
			if (mv_protect(c->ctl, 0, half * PAGE, R) ||
			    mv_protect(c->ctl, 0, half * PAGE, RW))
				atomic_fetch_add(&shared->bad, 1);
			break;
		case 2:
			p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
			munmap(p, 64 * PAGE);
			break;
		case 3:
			fallocate(c->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  page * PAGE, PAGE);
			break;
		case 4:
			p = mmap(NULL, CTL_PAGES * PAGE, PROT_READ, MAP_SHARED, c->fd, 0);
			munmap(p, CTL_PAGES * PAGE);
			break;
		case 5:
			if (mv_map(c->ctl, c->fd, 0, CTL_PAGES * PAGE, 0,
				   RW | MEMVIEW_MAP_REPLACE))
				atomic_fetch_add(&shared->bad, 1);
			break;
		}
		atomic_fetch_add(&shared->loops, 1);
	}
	return NULL;
}

/* ctl, fd, view, base, seed: churns its own, and looks at what it was lent. */
static long op_churn(const long *a)
{
	struct churn c = { .ctl = (int)a[0], .fd = (int)a[1], .seed = a[4] };
	pthread_t thread;

	if (pthread_create(&thread, NULL, churn, &c))
		return -1;
	op_scan(ARGS(a[2], CTL_PAGES, a[3]));
	pthread_join(thread, NULL);
	return 0;
}

struct ring {
	unsigned int nr;
	struct controller c[MAX_RING];
	unsigned long view[MAX_RING];	/* of the next one's, in each */
};

static void ring_start(struct ring *r, unsigned int nr)
{
	r->nr = nr;
	for (unsigned int i = 0; i < nr; i++)
		controller_start(&r->c[i], 1000 * i, RW);
	for (unsigned int i = 0; i < nr; i++) {
		unsigned int next = (i + 1) % nr;

		r->view[i] = map_view(r->c[i].peer, r->c[next].viewfd,
				      PROT_READ | PROT_WRITE);
		EXPECT_VALUE(WORD(1000 * next + 3),
			     CALL(r->c[i].peer, op_read, r->view[i] + 3 * PAGE));
	}
	for (unsigned int i = 0; i < nr; i++)
		START(r->c[i].peer, op_churn, r->c[i].ctl, r->c[i].fd, r->view[i],
		      1000 * ((i + 1) % nr), i);
}

static void ring_stop(struct ring *r)
{
	atomic_store(&shared->stop, 1);
	for (unsigned int i = 0; i < r->nr; i++) {
		if (r->c[i].peer)
			EXPECT_VALUE(0, FINISH(r->c[i].peer, "churn"));
	}
	assert_int_equal(atomic_load(&shared->bad), 0);
}

static void check_revoked(struct ring *r, unsigned int from, unsigned int to)
{
	EXPECT_CALL(r->c[to].peer, op_ctl_revoke, r->c[to].ctl);
	EXPECT_SIGBUS(r->view[from], CALL(r->c[from].peer, op_read, r->view[from]));
}

static void controllers_that_view_each_other_make_progress(struct fixture *f)
{
	struct ring r;

	ring_start(&r, f->tc->param);
	for (int i = 0; i < 8; i++)
		wait_loops(100);
	ring_stop(&r);
	for (unsigned int i = 0; i < r.nr; i++)
		check_revoked(&r, i, (i + 1) % r.nr);
}

static void one_of_them_is_killed(struct fixture *f)
{
	struct ring r;

	ring_start(&r, f->tc->param);
	wait_loops(200);
	peer_kill(r.c[1].peer);
	r.c[1].peer = NULL;
	wait_loops(100);
	ring_stop(&r);
	/* Its memory is gone, the others' is not. */
	EXPECT_SIGBUS(r.view[0], CALL(r.c[0].peer, op_read, r.view[0]));
	if (r.nr > 2) {
		EXPECT_CALL(r.c[2].peer, op_read, r.view[2] + PAGE);
		check_revoked(&r, 2, 0);
	}
}

/* They hand each other's view back as backing: no view in a view. */
static void view_is_no_backing_of_a_view(struct fixture *f)
{
	struct controller c;

	controller_start(&c, 0, RW);
	EXPECT_REFUSED(f->ctl, ENODEV, mv_map(f->ctl, c.viewfd, 0, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, ENODEV, mv_map(f->ctl, f->viewfd, 0, PAGE, 0, RW));
	EXPECT_REFUSED(f->ctl, ENODEV, mv_map(f->ctl, f->ctl, 0, PAGE, 0, R));
}

/* Opens the file behind a mapping: a way round the mode of a descriptor. */
static long op_open_mapping(const long *a)
{
	char path[64];
	struct mapping m;

	if (!mapping_at(a[0], &m))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", m.start, m.end);
	return open(path, (int)a[1] | O_CLOEXEC);
}

static void view_cannot_be_opened_again_by_its_mapping(struct fixture *f)
{
	char *plain = map_file(f, PROT_READ);
	int fd = mv_viewfd_rights(f->ctl, R);
	unsigned long view;
	struct peer *p = another_peer(f, fd, PROT_READ, &view);

	assert_true(PROBE(op_open_mapping, (long)plain, O_RDWR).ret >= 0);
	EXPECT_CALL_ERRNO(ENXIO, p, op_open_mapping, view, O_RDWR);
	EXPECT_CALL_ERRNO(ENXIO, p, op_open_mapping, view, O_RDONLY);
}

/* The same page by view, by source and by its own mapping, all in one process. */
static void controller_sees_its_own_view(struct fixture *f)
{
	char *plain = map_file(f, PROT_READ | PROT_WRITE);
	volatile uint64_t *view;

	map_pages(f, 0, 0, 8, RW);
	view = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->viewfd, 0);
	assert_ptr_not_equal(view, MAP_FAILED);
	for (int i = 0; i < 20; i++) {
		uint64_t *source = (uint64_t *)source_at(f, 1);

		view[512] = 3 * i + 1;
		assert_int_equal(*(volatile uint64_t *)source, 3 * i + 1);
		*(volatile uint64_t *)source = 3 * i + 2;
		assert_int_equal(*(volatile uint64_t *)(plain + PAGE), 3 * i + 2);
		*(volatile uint64_t *)(plain + PAGE) = 3 * i + 3;
		assert_int_equal(view[512], 3 * i + 3);
		protect_pages(f, 0, 8, R);
		EXPECT_SEGV((unsigned long)(view + 512), PROBE(op_write, (long)(view + 512), 1));
		map_pages(f, 0, 0, 8, RW | MEMVIEW_MAP_REPLACE);
	}
	unmap_pages(f, 0, 8);
	EXPECT_SIGBUS((unsigned long)view, PROBE(op_read, (long)view));
}

static const struct test_case cases[] = {
	CASE_VARIANT(controllers_that_view_each_other_make_progress, "itself", 1),
	CASE_VARIANT(controllers_that_view_each_other_make_progress, "two", 2),
	CASE_VARIANT(controllers_that_view_each_other_make_progress, "ring of three", 3),
	CASE_VARIANT(one_of_them_is_killed, "two", 2),
	CASE_VARIANT(one_of_them_is_killed, "ring of three", 3),
	CASE(view_is_no_backing_of_a_view),
	CASE(view_cannot_be_opened_again_by_its_mapping),
	CASE_ON(controller_sees_its_own_view, ON_ALL),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adv_two", cases);
}
