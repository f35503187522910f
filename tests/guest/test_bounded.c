// SPDX-License-Identifier: GPL-2.0
/*
 * A table operation of hours: the limits of MEMVIEW_UPDATE allow a product of
 * operations and ranges. It may take the time it takes, but nobody else does (R7):
 * not who punches holes into the file, not who faults elsewhere, and who faults in
 * the span that changes can be killed. Nor does a SIGKILL of who called it, or a
 * revocation: they end it, and nothing has changed (R5). A revocation that cannot
 * wait is left to whoever has the view's lock (R8), and not forgotten there (R4).
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memory-view.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Pages of the view: some that nothing happens to, and very many that change. */
#define CALM		0UL			/* one range */
#define NR_CALM		32UL
#define FEW		64UL			/* a range for each page */
#define NR_FEW		2048UL
#define EACH		(FEW + NR_FEW)		/* also; each operation changes all */
#define NR_EACH		8192UL
#define CUT		(EACH + NR_EACH)	/* one range */
#define NR_CUT		64UL
#define END		(CUT + NR_CUT)
#define NR_RANGES	(1 + NR_FEW + NR_EACH + 1)

/* Page i of the view has this page of the file. */
static unsigned long file_page(unsigned long page)
{
	return page % FILE_PAGES;
}

static struct memview_op ops[MEMVIEW_UPDATE_MAX];

static int update(int ctl, uint32_t nr)
{
	struct memview_update_info u = {
		.ops = (uintptr_t)ops, .count = nr, .op_size = sizeof(ops[0]),
	};

	return ioctl(ctl, MEMVIEW_UPDATE, &u);
}

static struct memview_op map_op(int file, unsigned long page, unsigned long nr, uint32_t flags)
{
	return (struct memview_op){
		.op = MEMVIEW_OP_MAP, .flags = flags, .mem_offset = page * PAGE,
		.size = nr * PAGE, .fd_offset = file_page(page) * PAGE, .fd = file,
	};
}

static struct memview_op protect_op(unsigned long page, unsigned long nr, uint32_t flags)
{
	return (struct memview_op){
		.op = MEMVIEW_OP_PROTECT, .flags = flags, .mem_offset = page * PAGE,
		.size = nr * PAGE,
	};
}

/* What is mapped before. */
static int lend_all(int ctl, int file)
{
	uint32_t nr = 0;

	ops[nr++] = map_op(file, CALM, NR_CALM, RW);
	for (unsigned long page = FEW; page < CUT; page++)
		ops[nr++] = map_op(file, page, 1, RW);
	ops[nr++] = map_op(file, CUT, NR_CUT, RW);
	return mv_set_size(ctl, END * PAGE) ?: update(ctl, nr);
}

/* Removes some, replaces some, cuts one, and then goes on and on. */
static void prepare_batch(int file)
{
	ops[0] = (struct memview_op){
		.op = MEMVIEW_OP_UNMAP, .mem_offset = FEW * PAGE, .size = 1000 * PAGE,
	};
	ops[1] = map_op(file, FEW + 1500, 30, R | MEMVIEW_MAP_REPLACE);
	ops[2] = protect_op(CUT + 10, 10, R);
	for (uint32_t i = 3; i < MEMVIEW_UPDATE_MAX; i++)
		ops[i] = protect_op(EACH, NR_EACH, i & 1 ? R : RW);
}

/* ---- who is at work, and who waits for that ---- */

struct batch {
	pthread_t thread;
	int ctl;
	int ret;
	int err;
};

static void *run_batch(void *arg)
{
	struct batch *b = arg;

	b->ret = update(b->ctl, MEMVIEW_UPDATE_MAX);
	b->err = errno;
	return NULL;
}

static void *run_batch_on_first_cpu(void *arg)
{
	return op_be_realtime(ARGS(0, 1)) ? NULL : run_batch(arg);
}

static void batch_start(struct batch *b, int ctl, int file, void *(*run)(void *))
{
	prepare_batch(file);
	b->ctl = ctl;
	assert_int_equal(pthread_create(&b->thread, NULL, run, b), 0);
}

/* It has been ended, and says why. */
static void batch_ends(struct batch *b, int want)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WITHIN_SECONDS;
	if (pthread_timedjoin_np(b->thread, NULL, &until))
		fail_msg("the batch does not end");
	check_result(b->ret, b->err, want, "UPDATE", __FILE__, __LINE__);
}

static struct {
	int fd;
	unsigned long page;
	atomic_int tid;
} reader;

/* Maps the page anew for each read, so that each is a fault. */
static void *read_again(void *arg)
{
	(void)arg;
	/* Not that of the thread that runs what the peer is told. */
	signal(SIGBUS, SIG_DFL);
	atomic_store(&reader.tid, gettid());
	while (!atomic_load(&shared->stop)) {
		volatile uint64_t *at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader.fd,
					     reader.page * PAGE);

		if (at == MAP_FAILED || *at != WORD(file_page(reader.page)))
			atomic_fetch_add(&shared->bad, 1);
		munmap((void *)at, PAGE);
		atomic_fetch_add(&shared->loops, 1);
	}
	return NULL;
}

/* View fd, page -> the thread that reads it again and again. */
static long op_read_in_a_thread(const long *a)
{
	pthread_t thread;

	reader.fd = (int)a[0];
	reader.page = (unsigned long)a[1];
	if (pthread_create(&thread, NULL, read_again, NULL))
		return -1;
	while (!atomic_load(&reader.tid))
		nap();
	return atomic_load(&reader.tid);
}

static bool reader_waits(pid_t tid)
{
	unsigned long loops = atomic_load(&shared->loops);

	for (int i = 0; i < 10; i++) {
		char state = state_of(tid);

		if ((state != 'S' && state != 'D') || atomic_load(&shared->loops) != loops)
			return false;
		nap();
	}
	return true;
}

/*
 * @p reads a page that changes, where it can, all the time. That it cannot shows
 * that the batch is at work.
 */
static pid_t wait_for_work(struct peer *p, int viewfd)
{
	pid_t tid = (pid_t)EXPECT_CALL(p, op_read_in_a_thread, viewfd, EACH + 5);

	assert_true(EVENTUALLY(reader_waits(tid)));
	return tid;
}

/* Before there is one, it can. */
static void check_reads(struct fixture *f)
{
	READS(f, CALM, WORD(file_page(CALM)));
	READS(f, FEW, WORD(file_page(FEW)));
}

static bool is_gone(pid_t pid)
{
	char state = state_of(pid);

	return !state || state == 'Z';
}

static void kill_within(struct peer *p, const char *what)
{
	kill(p->pid, SIGKILL);
	if (!EVENTUALLY(is_gone(p->pid))) {
		print_stacks(p->pid);
		fail_msg("%s does not die", what);
	}
	peer_kill(p);
}

/* ---- the table ---- */

static struct picture {
	struct memview_info info;
	struct memview_range_info ranges[NR_RANGES + 16];
	uint32_t nr;
} before, after;

static void picture_take(int ctl, struct picture *p)
{
	struct memview_query_info q;

	memset(p, 0, sizeof(*p));
	EXPECT_OK(mv_info(ctl, &p->info));
	EXPECT_OK(mv_query(ctl, 0, p->ranges, NR_RANGES + 16, &q));
	assert_int_equal(q.total, q.count);
	p->nr = q.count;
}

static void check_nothing_has_changed(int ctl)
{
	picture_take(ctl, &after);
	assert_int_equal(after.nr, before.nr);
	assert_int_equal(after.info.nr_ranges, before.info.nr_ranges);
	for (uint32_t i = 0; i < before.nr; i++)
		if (memcmp(&after.ranges[i], &before.ranges[i], sizeof(before.ranges[i])))
			fail_msg("range %u is another", i);
}

/* ---- the cases ---- */

static long op_punch(const long *a)	/* fd, page */
{
	return fallocate((int)a[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, a[1] * (long)PAGE,
			 PAGE);
}

static long op_query_one(const long *a)	/* ctl */
{
	struct memview_range_info r;
	struct memview_query_info q;

	return mv_query((int)a[0], 0, &r, 1, &q);
}

static void others_go_on(struct fixture *f)
{
	struct peer *calm, *asking, *waiting;
	unsigned long calm_at, at;
	struct memview_info info;
	int file, fd;
	struct batch b;
	pid_t tid;

	EXPECT_OK(lend_all(f->ctl, f->file));
	check_reads(f);
	calm = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &calm_at);
	waiting = another_peer(f, f->viewfd, PROT_READ, &at);
	asking = peer_spawn();
	file = peer_send_fd(calm, f->file);
	fd = peer_send_fd(asking, f->ctl);
	batch_start(&b, f->ctl, f->file, run_batch);
	tid = wait_for_work(f->peer, f->peer_viewfd);

	/* The file is everybody's. */
	START(calm, op_punch, file, 7);
	EXPECT_VALUE(0, FINISH(calm, "punch a hole"));
	START(calm, op_read, calm_at + (CALM + 8) * PAGE);
	EXPECT_VALUE(WORD(file_page(CALM + 8)), FINISH(calm, "a fault elsewhere"));
	START(calm, op_read, calm_at + (CALM + 7) * PAGE);
	EXPECT_VALUE(0, FINISH(calm, "a fault in the hole"));

	/* Nobody sees any of it. */
	EXPECT_OK(mv_info(f->ctl, &info));
	assert_int_equal(info.nr_ranges, NR_RANGES);

	/* Who waits has no lock, and can be killed. */
	START(f->peer, op_mprotect, f->view, PAGE, PROT_READ);
	EXPECT_VALUE(0, FINISH(f->peer, "mprotect(2) while a thread waits"));
	START(waiting, op_read, at + (EACH + 9) * PAGE);
	START(asking, op_query_one, fd);
	assert_true(EVENTUALLY(asleep(waiting) && asleep(asking)));
	assert_true(reader_waits(tid) && still_busy(waiting) && still_busy(asking));
	kill_within(waiting, "a fault that waits for the batch");
	kill_within(asking, "a query that waits for the batch");
	kill_within(f->peer, "a thread that waits for the batch");

	EXPECT_OK(mv_revoke(f->ctl));
	batch_ends(&b, ESHUTDOWN);
}

/* One that has the address space of this process, and can be killed without it. */
static char child_stack[64 * 1024] __attribute__((aligned(16)));

static int child_main(void *arg)
{
	run_batch(arg);
	_exit(0);
}

static void killed_batch_changes_nothing(struct fixture *f)
{
	struct batch b = { .ctl = f->ctl };
	unsigned long loops;
	pid_t child, tid;

	EXPECT_OK(lend_all(f->ctl, f->file));
	check_reads(f);
	READS(f, FEW + 1501, WORD(file_page(FEW + 1501)));
	picture_take(f->ctl, &before);
	prepare_batch(f->file);
	child = clone(child_main, child_stack + sizeof(child_stack), CLONE_VM | CLONE_FILES | SIGCHLD,
		      &b);
	assert_true(child > 0);
	tid = wait_for_work(f->peer, f->peer_viewfd);
	assert_false(is_gone(child));

	kill(child, SIGKILL);
	if (!EVENTUALLY(waitpid(child, NULL, WNOHANG) == child))
		fail_msg("who calls it does not die");
	check_nothing_has_changed(f->ctl);
	/* Who has waited goes on, with what was there. */
	loops = atomic_load(&shared->loops);
	assert_true(EVENTUALLY(atomic_load(&shared->loops) > loops + 2));
	assert_false(is_gone(tid));
	assert_int_equal(atomic_load(&shared->bad), 0);
	atomic_store(&shared->stop, 1);
	check_reads(f);
	WRITES(f, FEW + 1501, 1);
	WRITES(f, EACH + 5, 1);
	/* One that does not go on and on is done. */
	ops[0] = protect_op(FEW, NR_FEW + NR_EACH, R);
	EXPECT_OK(update(f->ctl, 3));
	READS(f, EACH + 5, 1);
	WRITE_SEGV(f, EACH + 5);
	assert_int_equal(nr_ranges(f->ctl), NR_RANGES - 29 + 2);
}

/* By another process that has the control fd, too. */
static void revocation_does_not_wait(struct fixture *f)
{
	struct peer *other = peer_spawn();
	unsigned long loops;
	struct batch b;
	int fd;

	EXPECT_OK(lend_all(f->ctl, f->file));
	check_reads(f);
	fd = peer_send_fd(other, f->ctl);
	batch_start(&b, f->ctl, f->file, run_batch);
	wait_for_work(f->peer, f->peer_viewfd);
	START(other, op_ctl_revoke, fd);
	EXPECT_VALUE(0, FINISH(other, "revoke"));
	batch_ends(&b, ESHUTDOWN);
	assert_int_equal(nr_ranges(f->ctl), 0);
	/* Who has waited meets it. */
	loops = atomic_load(&shared->loops);
	assert_true(EVENTUALLY(atomic_load(&shared->loops) > loops + 2 ||
			       is_gone(f->peer->pid)));
	peer_kill(f->peer);
}

static long op_run_batch(const long *a)	/* ctl, file */
{
	if (lend_all((int)a[0], (int)a[1]))
		return -1;
	prepare_batch((int)a[1]);
	return update((int)a[0], MEMVIEW_UPDATE_MAX);
}

/* Its death is a revocation, too. */
static void death_does_not_wait(struct fixture *f)
{
	struct peer *controller = peer_spawn(), *other;
	int ctl = (int)EXPECT_CALL(controller, op_ctl_open, END * PAGE);
	int viewfd = peer_take_fd(controller, (int)EXPECT_CALL(controller, op_ctl_viewfd, ctl));
	int file = peer_send_fd(controller, f->file);
	unsigned long at;

	other = another_peer(f, viewfd, PROT_READ, &at);
	START(controller, op_run_batch, ctl, file);
	/* What is not mapped yet is SIGBUS: it starts when it is. */
	assert_true(EVENTUALLY(CALL(other, op_read, at + (EACH + 5) * PAGE).sig == 0));
	wait_for_work(f->peer, peer_send_fd(f->peer, viewfd));
	assert_true(still_busy(controller));
	kill_within(controller, "the controller");
	assert_true(EVENTUALLY(CALL(other, op_read, at + CALM * PAGE).sig == SIGBUS));
	close(viewfd);
}

/* ---- a revocation that does not wait ---- */

static long op_lend_all(const long *a)	/* ctl, file */
{
	return lend_all((int)a[0], (int)a[1]);
}

/* To nowhere: it takes the time that it takes to look, and nothing is copied. */
static long op_query_all(const long *a)	/* ctl */
{
	struct memview_query_info query = {
		.ranges = 8, .range_size = sizeof(struct memview_range_info),
	};

	while (!atomic_load(&shared->stop)) {
		query.mem_offset = 0;
		query.count = NR_RANGES;
		ioctl((int)a[0], MEMVIEW_QUERY, &query);
	}
	return 0;
}

static bool is_revoked(int ctl)
{
	struct memview_info info;

	EXPECT_OK(mv_info(ctl, &info));
	return info.state & MEMVIEW_STATE_REVOKED;
}

/* Stops somebody in the middle of a QUERY: then @asking waits in one for his lock. */
static void stop_in_query(struct peer *hog, struct peer *asking, int ctl)
{
	for (int i = 0; i < 300; i++) {
		hog_begin(hog);
		START(asking, op_query_one, ctl);
		if (waits_in_kernel(asking))
			return;
		assert_true(hog_end(hog));
		EXPECT_VALUE(0, FINISH(asking, "a query"));
	}
	fail_msg("nobody was stopped in the middle of a query");
}

/*
 * The address space of the controller ends while somebody else has the lock, who
 * asks what there is and gets no CPU: the queue's worker does not wait for him.
 */
static void death_is_left_to_who_has_the_lock(struct fixture *f)
{
	struct peer *controller, *slow, *asking, *hog;
	int ctl, file;

	EXPECT_OK(op_pin(ARGS(1)));
	controller = peer_spawn();
	slow = peer_spawn();
	asking = peer_spawn();
	ctl = (int)EXPECT_CALL(controller, op_ctl_open, END * PAGE);
	file = peer_send_fd(controller, f->file);
	EXPECT_CALL(controller, op_lend_all, ctl, file);
	/* Else its last close would revoke. */
	ctl = peer_take_fd(controller, ctl);

	hog = hog_spawn(0);
	EXPECT_CALL(slow, op_be_realtime, 0, 1);
	START(slow, op_query_all, peer_send_fd(slow, ctl));
	stop_in_query(hog, asking, peer_send_fd(asking, ctl));
	EXPECT_ERRNO(EIO, mv_unmap(ctl, CALM, PAGE, NULL));
	/* Its exit is not over before that CPU is free, but has come to the view. */
	kill(controller->pid, SIGKILL);
	/* It is wanted now, and tried by a worker within a moment. */
	assert_true(EVENTUALLY(mv_unmap(ctl, CALM, PAGE, NULL) && errno == ESHUTDOWN));
	for (int i = 0; i < 20; i++)
		nap();
	assert_true(still_busy(asking) && !is_revoked(ctl));

	assert_true(hog_end(hog));
	if (!EVENTUALLY(is_revoked(ctl)))
		fail_msg("the view of a dead controller stays alive");
	assert_int_equal(nr_ranges(ctl), 0);
	atomic_store(&shared->stop, 1);
	FINISH(asking, "a query during which the controller has died");
	EXPECT_VALUE(0, FINISH(slow, "query"));
	peer_kill(controller);
	hog_reap(hog);
	EXPECT_OK(op_pin(ARGS(-1)));
	close(ctl);
}

/* Who revokes is killed while the lock is somebody's who gets no CPU. */
static void killed_revocation_is_left_to_who_has_the_lock(struct fixture *f)
{
	struct peer *other, *hog;
	struct batch b;
	int fd;

	EXPECT_OK(op_pin(ARGS(1)));
	EXPECT_CALL(f->peer, op_pin, 1);
	other = peer_spawn();
	hog = hog_spawn(0);
	EXPECT_OK(lend_all(f->ctl, f->file));
	check_reads(f);
	fd = peer_send_fd(other, f->ctl);
	batch_start(&b, f->ctl, f->file, run_batch_on_first_cpu);
	wait_for_work(f->peer, f->peer_viewfd);

	hog_begin(hog);
	START(other, op_ctl_revoke, fd);
	assert_true(waits_in_kernel(other));
	kill_within(other, "a revocation that waits for the batch");
	READS(f, CALM + 1, WORD(file_page(CALM + 1)));
	assert_true(hog_end(hog));
	batch_ends(&b, ESHUTDOWN);
	if (!EVENTUALLY(is_revoked(f->ctl)))
		fail_msg("a view that is to be revoked stays alive");
	assert_int_equal(nr_ranges(f->ctl), 0);
	peer_kill(f->peer);
	hog_reap(hog);
	EXPECT_OK(op_pin(ARGS(-1)));
}

static const struct test_case cases[] = {
	CASE(others_go_on),
	CASE(killed_batch_changes_nothing),
	CASE(revocation_does_not_wait),
	CASE(death_does_not_wait),
	CASE(death_is_left_to_who_has_the_lock),
	CASE(killed_revocation_is_left_to_who_has_the_lock),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "bounded", cases);
}
