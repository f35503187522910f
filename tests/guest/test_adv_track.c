// SPDX-License-Identifier: GPL-2.0
/*
 * Where the driver keeps track of the mappings of a view: what ends, comes to be or
 * changes at the very moment in which it matters.
 */
#include "adv.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NR	16UL	/* pages lent */

static void spin_for(unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		__asm__ volatile("" : : : "memory");
}

/* ---- a VMA that is split under a fault ---- */

struct toucher {
	char *at;
	atomic_int round;	/* to be touched */
	atomic_int done;
	unsigned long delay;
};

static void *touch(void *arg)
{
	struct toucher *t = arg;
	int round = 0;

	while (!atomic_load(&shared->stop)) {
		if (atomic_load(&t->round) == round) {
			sched_yield();
			continue;
		}
		round++;
		spin_for(t->delay);
		PROBE(op_read, (long)t->at);
		atomic_store(&t->done, round);
	}
	return NULL;
}

/*
 * Fd of the view, rounds: a fresh mapping each time, whose last page is split off
 * while another thread touches the first page for the first time. Nobody touches
 * anything more until the controller has taken all; then the first page must be gone.
 */
static long op_split_under_a_fault(const long *a)
{
	struct toucher t = { .at = NULL };
	unsigned long delays[2];
	pthread_t thread;
	struct outcome o;

	if (pthread_create(&thread, NULL, touch, &t))
		return -1;
	for (int round = 1; round <= a[1] && !atomic_load(&shared->stop); round++) {
		t.at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)a[0], 0);
		if (t.at == MAP_FAILED)
			return -1;
		PROBE(op_read, (long)(t.at + (NR - 1) * PAGE));
		/* Now one of the two is later, now the other. */
		delays[round & 1] = (unsigned long)round * 61 % 20011;
		delays[!(round & 1)] = 0;
		t.delay = delays[0];
		atomic_store(&t.round, round);
		spin_for(delays[1]);
		if (mprotect(t.at + (NR - 1) * PAGE, PAGE, PROT_READ))
			return -1;
		while (atomic_load(&t.done) != round)
			sched_yield();
		atomic_store(&shared->ready, round);
		while (atomic_load(&shared->loops) != (unsigned long)round) {
			sched_yield();
			if (atomic_load(&shared->stop))
				return -1;
		}
		o = PROBE(op_read, (long)t.at);
		if (o.sig != SIGBUS)
			atomic_fetch_add(&shared->bad, 1);
		munmap(t.at, NR * PAGE);
		/* Until the pages are lent again. */
		atomic_store(&shared->ready, -round);
		while (atomic_load(&shared->ready)) {
			sched_yield();
			if (atomic_load(&shared->stop))
				return -1;
		}
	}
	atomic_store(&shared->stop, 1);
	pthread_join(thread, NULL);
	return 0;
}

/* Without sleeping: the rounds are many. */
static bool wait_ready(int value)
{
	time_t start = time(NULL);

	while (atomic_load(&shared->ready) != value) {
		sched_yield();
		if (time(NULL) - start > WITHIN_SECONDS)
			return false;
	}
	return true;
}

static void split_under_a_fault_hides_no_entry(struct fixture *f)
{
	const int rounds = 1000;

	START(f->peer, op_split_under_a_fault, f->peer_viewfd, rounds);
	for (int round = 1; round <= rounds; round++) {
		map_pages(f, 0, 0, NR, RW);
		if (round > 1)
			atomic_store(&shared->ready, 0);
		if (!wait_ready(round))
			fail_msg("the peer does not get to round %d", round);
		unmap_pages(f, 0, NR);
		atomic_store(&shared->loops, round);
		if (!wait_ready(-round))
			fail_msg("the peer does not end round %d", round);
		if (atomic_load(&shared->bad))
			fail_msg("round %d: the page is there when it has been taken", round);
	}
	atomic_store(&shared->ready, 0);
	EXPECT_VALUE(0, FINISH(f->peer, "splitting"));
}

/* ---- a peer that ends under a zap ---- */

enum end { EXITS, KILLED, EXECS };

/* Address, pages, enum end: touches all, and ends when it is told. */
static long op_touch_and_end(const long *a)
{
	char *const argv[] = { "true", NULL };

	for (long i = 0; i < a[1]; i++)
		PROBE(op_read, a[0] + i * PAGE);
	atomic_fetch_add(&shared->ready, 1);
	while (!atomic_load(&shared->stop))
		;
	if (a[2] == KILLED)
		kill(getpid(), SIGKILL);
	if (a[2] == EXECS)
		execv("/bin/true", argv);
	_exit(0);
}

/* All pages of the view, so that a zap takes a while, and they are freed, too. */
static void peers_end_under_a_zap(struct fixture *f)
{
	int big = make_file(MEMFD, VIEW_PAGES * PAGE, 0);

	for (int round = 0; round < 30; round++) {
		struct peer *p;

		EXPECT_OK(mv_map(f->ctl, big, 0, VIEW_PAGES * PAGE, 0, RW));
		atomic_store(&shared->stop, 0);
		atomic_store(&shared->ready, 0);
		p = peer_fork(f->peer);
		assert_non_null(p);
		START(p, op_touch_and_end, f->view, VIEW_PAGES, f->tc->param);
		assert_true(EVENTUALLY(atomic_load(&shared->ready)));
		atomic_store(&shared->stop, 1);
		spin_for((unsigned long)round * 20000);
		if (round & 1)
			EXPECT_OK(fallocate(big, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
					    VIEW_PAGES * PAGE));
		EXPECT_OK(mv_unmap(f->ctl, 0, VIEW_PAGES * PAGE, NULL));
		peer_kill(p);
		READ_SIGBUS(f, 0);
	}
	assert_true(EVENTUALLY(fdinfo(f->ctl, "peers") == 1));
	close(big);
}

/* ---- a child whose first access is the kernel's ---- */

/* Address -> fd of a userfaultfd for the page of this process */
static long op_watch(const long *a)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = a[0], .len = PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		return -1;
	return fd;
}

/* Fd of a file, address of a page, address in the view: a word to each. */
static long op_read_to_both(const long *a)
{
	struct iovec iov[] = {
		{ .iov_base = (void *)a[1], .iov_len = 8 },
		{ .iov_base = (void *)a[2], .iov_len = 8 },
	};

	return preadv((int)a[0], iov, 2, 0);
}

/* Fd of an eventfd, and as above, with task work that comes when the eventfd does. */
static long op_read_with_a_ring(const long *a)
{
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	long ret;

	if (io_uring_queue_init(4, &ring, 0))
		return -2;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_poll_add(sqe, (int)a[3], POLLIN);
	if (io_uring_submit(&ring) != 1)
		return -2;
	ret = op_read_to_both(a);
	io_uring_queue_exit(&ring);
	return ret;
}

enum pending { BY_RING, BY_TRACER };

/*
 * What makes the child's address space known to the driver gives up for a signal,
 * and for task work, which is dealt with on the way to user mode only: not in the
 * middle of a read(2), whose fault comes again until it is resolved.
 */
static void first_access_of_a_child_is_the_kernels(struct fixture *f)
{
	bool ring = f->tc->param == BY_RING;
	struct uffdio_zeropage zero = { .range.len = PAGE };
	int event = eventfd(0, EFD_CLOEXEC), uffd, child_fd;
	unsigned long at;
	struct outcome o;
	struct peer *p;
	int status = 0;
	uint64_t one = 1;

	map_pages(f, 0, 0, NR, RW);
	READS(f, 0, WORD(0));
	p = peer_fork(f->peer);
	assert_non_null(p);
	at = EXPECT_CALL(p, op_mmap, -1, PAGE, PROT_READ | PROT_WRITE, 0,
			 MAP_PRIVATE | MAP_ANONYMOUS);
	o = CALL(p, op_watch, at);
	if (o.ret == -1)
		SKIP("no userfaultfd: %s", strerror(o.err));
	uffd = peer_take_fd(p, (int)o.ret);
	child_fd = peer_send_fd(p, make_file(MEMFD, FILE_PAGES * PAGE, 100));
	START(p, ring ? op_read_with_a_ring : op_read_to_both, child_fd, at, AT(f, 2),
	      peer_send_fd(p, event));
	if (EVENTUALLY(!still_busy(p) || poll(&(struct pollfd){ uffd, POLLIN, 0 }, 1, 0) == 1) &&
	    !still_busy(p)) {
		o = FINISH(p, "read(2)");
		assert_int_equal(o.ret, -2);
		SKIP("no io_uring");
	}
	uffd_event(uffd, NULL);
	if (ring) {
		assert_int_equal(write(event, &one, sizeof(one)), sizeof(one));
	} else {
		EXPECT_OK(ptrace(PTRACE_SEIZE, p->pid, 0, 0));
		EXPECT_OK(ptrace(PTRACE_INTERRUPT, p->pid, 0, 0));
	}
	/* It goes on in the kernel, and there is the view. */
	zero.range.start = at;
	EXPECT_OK(ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	if (!ring) {
		if (!EVENTUALLY(waitpid(p->pid, &status, WNOHANG | __WALL) == p->pid)) {
			print_stacks(p->pid);
			fail_msg("read(2) does not come back to user mode");
		}
		assert_true(WIFSTOPPED(status));
		EXPECT_OK(ptrace(PTRACE_DETACH, p->pid, 0, 0));
	}
	EXPECT_VALUE(16, FINISH(p, "read(2) into the view"));
	READS(f, 2, file_word(f->file, 2 * PAGE));
	unmap_pages(f, 0, NR);
	EXPECT_SIGBUS((unsigned long)AT(f, 2), CALL(p, op_read, AT(f, 2)));
	close(uffd);
	close(event);
}

static long op_futex_wake_op(const long *a)
{
	int word = 0;

	return syscall(SYS_futex, &word, FUTEX_WAKE_OP_PRIVATE, 1, 1, a[0],
		       FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0));
}

/* Such a fault can drop no lock. */
static void first_access_of_a_child_is_by_futex(struct fixture *f)
{
	struct peer *p;

	map_pages(f, 0, 0, NR, RW);
	READS(f, 0, WORD(0));
	p = peer_fork(f->peer);
	assert_non_null(p);
	START(p, op_futex_wake_op, AT(f, 3));
	EXPECT_VALUE(0, FINISH(p, "futex(2)"));
	assert_int_equal((uint32_t)file_word(f->file, 3 * PAGE), 1);
	unmap_pages(f, 0, NR);
	EXPECT_SIGBUS((unsigned long)AT(f, 3), CALL(p, op_read, AT(f, 3)));
}

/* ---- address 0 in a controller ---- */

/*
 * mprotect(2) of the page at address 0 tells notifiers of a begin, and of no end.
 * Whatever the driver keeps from begin to end must not add up.
 */
static void invalidations_without_end_leave_nothing(struct fixture *f)
{
	const int rounds = 20000;
	volatile char *at = (volatile char *)EXPECT_OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
							    MAP_PRIVATE | MAP_ANONYMOUS |
							    MAP_FIXED, -1, 0));
	long before;

	map_pages(f, 0, 0, NR, RW);
	op_fill(ARGS((long)at, 1, 1));
	before = get_field("/proc/meminfo", "SUnreclaim");
	for (int i = 0; i < rounds; i++)
		EXPECT_OK(mprotect((void *)at, PAGE, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ));
	/* A small object each would be more than a MiB. */
	assert_true(get_field("/proc/meminfo", "SUnreclaim") - before < 640);
	READS(f, 1, WORD(1));
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 1);
	EXPECT_OK(munmap((void *)at, PAGE));
}

static const struct test_case cases[] = {
	CASE(split_under_a_fault_hides_no_entry),
	CASE_VARIANT(peers_end_under_a_zap, "exit", EXITS),
	CASE_VARIANT(peers_end_under_a_zap, "SIGKILL", KILLED),
	CASE_VARIANT(peers_end_under_a_zap, "exec", EXECS),
	CASE_VARIANT(first_access_of_a_child_is_the_kernels, "task work", BY_RING),
	CASE_VARIANT(first_access_of_a_child_is_the_kernels, "tracer", BY_TRACER),
	CASE(first_access_of_a_child_is_by_futex),
	CASE(invalidations_without_end_leave_nothing),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adv_track", cases);
}
