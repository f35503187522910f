// SPDX-License-Identifier: GPL-2.0
/*
 * The controller goes away, at the worst moment and in every way; peers that
 * come and go; control fds in odd places. Access is lost, never kept (R4).
 */
#include "adv.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum end { EXITS, KILLED, EXECS };

static long op_execve(const long *a)
{
	/* The control fd survives, the address space does not. */
	fcntl((int)a[0], F_SETFD, 0);
	execl("/bin/sleep", "sleep", "100", NULL);
	return -1;
}

/* Keeps taking and giving rights, so that it dies in the middle of it. */
static long op_flip(const long *a)
{
	for (int i = 0;; i++) {
		if (mv_protect((int)a[0], 0, CTL_PAGES * PAGE, i & 1 ? RW : R) ||
		    mv_map((int)a[0], (int)a[1], 0, CTL_PAGES * PAGE, 0,
			   RW | MEMVIEW_MAP_REPLACE))
			return -1;
		atomic_fetch_add(&shared->loops, 1);
	}
}

static void end_controller(struct controller *c, enum end how)
{
	switch (how) {
	case EXITS:
		START(c->peer, op_exit, 0);
		if (peer_reap(c->peer) < 0)
			fail_msg("the controller does not exit");
		break;
	case KILLED:
		peer_kill(c->peer);
		break;
	case EXECS:
		START(c->peer, op_execve, c->ctl);
		break;
	}
}

static bool gone(struct peer *p, unsigned long at)
{
	return CALL(p, op_read, at).sig == SIGBUS;
}

/* Peers fault all the time; the control fd is open elsewhere, too, or not. */
static void check_death(struct fixture *f, bool held)
{
	unsigned long view[2];
	struct controller c;
	struct peer *p[2];
	int ctl = -1;

	controller_start(&c, 0, RW);
	if (held)
		ctl = peer_take_fd(c.peer, c.ctl);
	for (int i = 0; i < 2; i++) {
		p[i] = peer_spawn();
		view[i] = map_view(p[i], c.viewfd, PROT_READ | PROT_WRITE);
		EXPECT_VALUE(WORD(2), CALL(p[i], op_read, view[i] + 2 * PAGE));
		START(p[i], op_scan, view[i], CTL_PAGES, 0);
	}
	wait_loops(20);
	if (f->tc->param == KILLED) {
		START(c.peer, op_flip, c.ctl, c.fd);
		wait_loops(100);
	}
	end_controller(&c, f->tc->param);
	wait_loops(20);
	atomic_store(&shared->stop, 1);
	for (int i = 0; i < 2; i++) {
		EXPECT_VALUE(0, FINISH(p[i], "scan"));
		assert_true(EVENTUALLY(gone(p[i], view[i])));
		EXPECT_SIGBUS(view[i] + PAGE, CALL(p[i], op_write, view[i] + PAGE, 1));
	}
	assert_int_equal(atomic_load(&shared->bad), 0);
	if (held) {
		struct memview_info info;

		assert_true(EVENTUALLY(!mv_info(ctl, &info) &&
				       (info.state & MEMVIEW_STATE_REVOKED)));
		EXPECT_ERRNO(ESHUTDOWN, mv_map(ctl, f->file, 0, PAGE, 0, R));
		EXPECT_ERRNO(ESHUTDOWN, mv_viewfd(ctl));
		/* Released when the address space is long gone. */
		close(ctl);
		EXPECT_SIGBUS(view[0], CALL(p[0], op_read, view[0]));
	}
	EXPECT_ERRNO(ESHUTDOWN, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, c.viewfd, 0) ==
		     MAP_FAILED ? -1 : 0);
}

static void controller_ends(struct fixture *f)
{
	check_death(f, false);
}

static void controller_ends_but_its_control_fd_does_not(struct fixture *f)
{
	check_death(f, true);
}

enum bare { EMPTY, UNMAPPED, TAMPERED };

/* No source is in use, or none that works: the view goes all the same. */
static void controller_dies_with_nothing_lent(struct fixture *f)
{
	struct memview_info info;
	struct controller c;
	unsigned long source;
	int ctl;

	controller_start(&c, 0, RW);
	ctl = peer_take_fd(c.peer, c.ctl);
	source = EXPECT_CALL(c.peer, op_ctl_source, c.ctl, 0);
	switch ((enum bare)f->tc->param) {
	case EMPTY:
		EXPECT_CALL(c.peer, op_ctl_unmap, c.ctl, 0, CTL_PAGES);
		break;
	case UNMAPPED:
		EXPECT_CALL(c.peer, op_munmap, source, CTL_PAGES * PAGE);
		break;
	case TAMPERED:
		EXPECT_CALL(c.peer, op_mprotect, source, CTL_PAGES * PAGE, PROT_NONE);
		break;
	}
	peer_kill(c.peer);
	if (!EVENTUALLY(!mv_info(ctl, &info) && (info.state & MEMVIEW_STATE_REVOKED)))
		fail_msg("the view of a dead controller is not revoked");
	EXPECT_ERRNO(ESHUTDOWN, mv_viewfd(ctl));
	EXPECT_ERRNO(ESHUTDOWN, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, c.viewfd, 0) ==
		     MAP_FAILED ? -1 : 0);
}

/* The control: memory that was shared by its descriptor stays for ever. */
static void plain_memory_survives_its_owner(struct fixture *f)
{
	struct controller c;
	int fd;
	char *p;

	(void)f;
	controller_start(&c, 0, RW);
	fd = peer_take_fd(c.peer, c.fd);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	peer_kill(c.peer);
	assert_int_equal(*(volatile uint64_t *)p, WORD(0));
	EXPECT_VALUE(0, PROBE(op_write, (long)p, 1));
}

/* ctl, page, bytes -> userfaultfd on the empty source */
static long op_uffd(const long *a)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	long at = op_ctl_source(a);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || at == -1 || ioctl(fd, UFFDIO_API, &api))
		return -1;
	reg.range.start = at;
	reg.range.len = a[2];
	return ioctl(fd, UFFDIO_REGISTER, &reg) ? -1 : fd;
}

static long op_truncate(const long *a)
{
	return ftruncate((int)a[0], 0) ?: ftruncate((int)a[0], a[1]);
}

/* A controller whose file is the fixture's. */
static void controller_of_file(struct fixture *f, struct controller *c)
{
	c->peer = peer_spawn();
	assert_non_null(c->peer);
	c->fd = peer_send_fd(c->peer, f->file);
	controller_lend(c, RW);
}

/*
 * A controller of the fixture's file whose source blocks @p at page 1; returns
 * the userfaultfd.
 */
static int block(struct fixture *f, struct controller *c, struct peer *p,
		 unsigned long view)
{
	struct pollfd pfd = { .events = POLLIN };
	int remote;

	EXPECT_CALL(c->peer, op_truncate, c->fd, f->file_size);
	remote = CALL(c->peer, op_uffd, c->ctl, 0, span(f, CTL_PAGES)).ret;
	if (remote < 0)
		SKIP("no userfaultfd");
	pfd.fd = peer_take_fd(c->peer, remote);
	EXPECT_CALL(c->peer, op_close, remote);
	START(p, op_read, view + PAGE);
	if (poll(&pfd, 1, WITHIN_SECONDS * 1000) != 1)
		fail_msg("no fault reached the userfaultfd");
	return pfd.fd;
}

/* Somebody else's slow userfaultfd keeps a peer, and with it the mm, for long. */
static void controller_ends_during_a_blocked_fault(struct fixture *f)
{
	unsigned long view, view2;
	struct peer *p, *second;
	struct controller c;
	struct outcome o;
	int uffd;

	controller_of_file(f, &c);
	p = peer_spawn();
	view = map_view(p, c.viewfd, PROT_READ);
	second = peer_spawn();
	view2 = map_view(second, c.viewfd, PROT_READ | PROT_WRITE);
	uffd = block(f, &c, p, view);
	end_controller(&c, f->tc->param);
	/* The last close of the control fd revokes; it waits for no fault. */
	if (f->tc->param != EXECS)
		assert_true(EVENTUALLY(gone(second, view2 + PAGE)));
	assert_true(still_busy(p));
	close(uffd);
	o = FINISH(p, "read after the controller's end");
	/* Until the fault is over the old address space is not dead. */
	if (f->tc->param != EXECS)
		assert_int_equal(o.sig, SIGBUS);
	assert_true(EVENTUALLY(gone(p, view + PAGE)));
	assert_true(EVENTUALLY(gone(second, view2)));
}

static void *read_word(void *arg)
{
	(void)*(volatile uint64_t *)arg;
	return NULL;
}

static long op_read_in_a_thread(const long *a)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, read_word, (void *)a[0]) ? -1 : 0;
}

/* The fault in flight is the last that knows the view. */
static void everything_is_closed_during_a_blocked_fault(struct fixture *f)
{
	struct pollfd pfd = { .events = POLLIN };
	struct controller c;
	struct peer *p;
	unsigned long view;
	int remote, status;

	(void)f;
	controller_start(&c, 0, RW);
	p = peer_spawn();
	view = map_view(p, c.viewfd, PROT_READ);
	EXPECT_CALL(c.peer, op_truncate, c.fd, CTL_PAGES * PAGE);
	remote = CALL(c.peer, op_uffd, c.ctl, 0, CTL_PAGES * PAGE).ret;
	if (remote < 0)
		SKIP("no userfaultfd");
	pfd.fd = peer_take_fd(c.peer, remote);
	EXPECT_CALL(c.peer, op_close, remote);
	EXPECT_CALL(p, op_read_in_a_thread, view + PAGE);
	if (poll(&pfd, 1, WITHIN_SECONDS * 1000) != 1)
		fail_msg("no fault reached the userfaultfd");
	EXPECT_CALL(p, op_munmap, view, CTL_PAGES * PAGE);
	close(c.viewfd);
	peer_kill(c.peer);
	close(pfd.fd);
	/* The fault comes again, and finds no mapping. */
	status = peer_reap(p);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* ---- the module ---- */

#define MODULE	"/sys/module/memory_view/"

static long module_users(void)
{
	return get_number(MODULE "refcnt");
}

/* Parameters as finit_module(2) has them: those of now. */
static void module_params(char *params, size_t size)
{
	DIR *dir = opendir(MODULE "parameters");
	struct dirent *entry;
	char path[512], value[64];

	assert_non_null(dir);
	*params = 0;
	while ((entry = readdir(dir))) {
		size_t len = strlen(params);
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), MODULE "parameters/%s", entry->d_name);
		file = fopen(path, "re");
		assert_non_null(file);
		assert_int_equal(fscanf(file, "%63s", value), 1);
		fclose(file);
		snprintf(params + len, size - len, "%s=%s ", entry->d_name, value);
	}
	closedir(dir);
}

/*
 * All that keeps the module is the fault, which has no lock and no mapping: the
 * code that it returns to must not go away.
 */
static void module_is_not_removed_under_a_blocked_fault(struct fixture *f)
{
	struct pollfd pfd = { .events = POLLIN };
	int remote, status, module;
	struct uffdio_range range;
	struct controller c;
	char params[512];
	unsigned long view;
	struct peer *p;

	module = open("/run/guest/memory_view.ko", O_RDONLY | O_CLOEXEC);
	if (module < 0)
		SKIP("no module to load again");
	module_params(params, sizeof(params));
	controller_start(&c, 0, RW);
	p = peer_spawn();
	view = map_view(p, c.viewfd, PROT_READ);
	EXPECT_CALL(c.peer, op_truncate, c.fd, CTL_PAGES * PAGE);
	range.start = EXPECT_CALL(c.peer, op_ctl_source, c.ctl, 0);
	range.len = CTL_PAGES * PAGE;
	remote = CALL(c.peer, op_uffd, c.ctl, 0, CTL_PAGES * PAGE).ret;
	if (remote < 0)
		SKIP("no userfaultfd");
	pfd.fd = peer_take_fd(c.peer, remote);
	EXPECT_CALL(c.peer, op_close, remote);
	EXPECT_CALL(p, op_read_in_a_thread, view + PAGE);
	if (poll(&pfd, 1, WITHIN_SECONDS * 1000) != 1)
		fail_msg("no fault reached the userfaultfd");

	/* Everything else that could hold the module goes. */
	EXPECT_CALL(p, op_munmap, view, CTL_PAGES * PAGE);
	peer_kill(f->peer);
	close(c.viewfd);
	close(f->viewfd);
	close(f->ctl);
	if (f->tc->param == KILLED)
		peer_kill(c.peer);
	else
		EXPECT_CALL(c.peer, op_close, c.ctl);
	/* The view file counts for itself and for its file system. */
	assert_true(EVENTUALLY(module_users() <= 2));
	for (int i = 0; i < 20; i++) {
		/* Without a user it would go, or hang where nobody answers. */
		assert_int_equal(module_users(), 2);
		EXPECT_ERRNO(EWOULDBLOCK, syscall(SYS_delete_module, "memory_view", O_NONBLOCK));
		nap();
	}

	/* The handler answers; it can be too late for the source. */
	ioctl(pfd.fd, UFFDIO_WAKE, &range);
	status = peer_reap(p);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	assert_true(EVENTUALLY(!module_users()));
	EXPECT_OK(syscall(SYS_delete_module, "memory_view", O_NONBLOCK));
	EXPECT_OK(syscall(SYS_finit_module, module, params, 0));
	close(EXPECT_OK(mv_open()));
}

#define HOG_SECONDS 2

/* -1: on any */
static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (cpu < 0 || i == cpu)
			CPU_SET(i, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

/* Lets nothing else of the kernel's threads run on its CPU for a while. */
static long op_hog(const long *a)
{
	const struct sched_param param = { .sched_priority = 50 }, none = { 0 };
	struct timespec start, now;

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &start);
	atomic_store(&shared->ready, 1);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while (now.tv_sec - start.tv_sec < a[0]);
	return sched_setscheduler(0, SCHED_OTHER, &none);
}

static void six_peers_start(struct controller *c, struct peer **p)
{
	for (int i = 0; i < 6; i += 2) {
		unsigned long view;

		p[i] = peer_spawn();
		view = map_view(p[i], c->viewfd, PROT_READ | PROT_WRITE);
		/* A child, whose first access comes now. */
		p[i + 1] = peer_fork(p[i]);
		assert_non_null(p[i + 1]);
		START(p[i], op_scan, view, CTL_PAGES, 0);
		START(p[i + 1], op_scan, view, CTL_PAGES, 0);
	}
}

/*
 * What is left of peers and controllers when they are dead, works, notifiers and what
 * RCU is still to free, ends before the module's code does. So does what a process
 * has that was a controller, and lives: another has closed the control fd. And what
 * one has that was a peer: now and then the first CPU, which SRCU has call back, has
 * no time for that.
 */
static void module_is_removed_right_after_its_users(struct fixture *f)
{
	int module = open("/run/guest/memory_view.ko", O_RDONLY | O_CLOEXEC);
	bool cpus = sysconf(_SC_NPROCESSORS_ONLN) > 1;
	struct peer *other;
	char params[512];

	if (module < 0)
		SKIP("no module to load again");
	module_params(params, sizeof(params));
	put_text("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	run_on(0);
	other = peer_spawn();
	peer_kill(f->peer);
	close(f->viewfd);
	close(f->ctl);
	f->ctl = f->viewfd = -1;

	for (int round = 0; round < 12; round++) {
		bool hog = cpus && round % 4 == 3, gone = false;
		struct controller c;
		struct peer *p[6], *last;
		unsigned long view;
		int ctl, fd;

		ctl = EXPECT_OK(mv_open());
		EXPECT_OK(mv_set_size(ctl, CTL_PAGES * PAGE));
		EXPECT_OK(mv_map(ctl, f->file, 0, CTL_PAGES * PAGE, 0, RW));
		fd = peer_send_fd(other, ctl);
		close(ctl);
		EXPECT_CALL(other, op_close, fd);
		run_on(hog ? 1 : -1);
		controller_start(&c, 0, RW);
		six_peers_start(&c, p);
		last = peer_spawn();
		view = map_view(last, c.viewfd, PROT_READ);
		close(c.viewfd);
		wait_loops(round % 3);
		START(c.peer, op_flip, c.ctl, c.fd);
		for (int i = 0; i < 6; i++)
			kill(p[i]->pid, SIGKILL);
		kill(c.peer->pid, SIGKILL);
		for (int i = 0; i < 6; i++)
			peer_kill(p[i]);
		peer_kill(c.peer);
		if (hog) {
			atomic_store(&shared->ready, 0);
			START(other, op_hog, HOG_SECONDS);
			assert_true(EVENTUALLY(atomic_load(&shared->ready)));
		}
		EXPECT_CALL(last, op_munmap, view, CTL_PAGES * PAGE);
		/* The very moment in which nobody uses it any more. */
		for (long i = 0; i < 10000000 && !gone; i++)
			gone = !syscall(SYS_delete_module, "memory_view", O_NONBLOCK);
		assert_true(gone);
		if (hog)
			EXPECT_VALUE(0, FINISH(other, "taking all of a CPU"));
		peer_kill(last);
		EXPECT_OK(syscall(SYS_finit_module, module, params, 0));
	}
	put_text("/proc/sys/kernel/sched_rt_runtime_us", "950000");
	run_on(-1);
	close(EXPECT_OK(mv_open()));
	close(module);
}

/* ---- a process that maps for the first time ---- */

struct first_map {
	int ctl;
	int file;
	int ret;
	atomic_int *waiting;
};

static void *map_at_once(void *arg)
{
	struct first_map *m = arg;

	/* No sleep, which one of the two would come out of later. */
	atomic_fetch_sub(m->waiting, 1);
	while (atomic_load(m->waiting))
		;
	m->ret = mv_map(m->ctl, m->file, 0, 2 * PAGE, 0, RW);
	return NULL;
}

/* In a process without a mirror, whose only threads these are. Never returns. */
static void map_twice(const int *ctl, int file, int done)
{
	atomic_int waiting = 2;
	struct first_map m[2] = {
		{ ctl[0], file, -1, &waiting }, { ctl[1], file, -1, &waiting },
	};
	pthread_t thread;
	char bad;

	if (pthread_create(&thread, NULL, map_at_once, &m[0]))
		_exit(1);
	map_at_once(&m[1]);
	pthread_join(thread, NULL);
	/* Views of another mirror than the one that is found now are not ours. */
	bad = m[0].ret || m[1].ret ||
	      mv_map(ctl[0], file, 0, PAGE, 8 * PAGE, R) || mv_unmap(ctl[0], 0, PAGE, NULL) ||
	      mv_map(ctl[1], file, 0, PAGE, 8 * PAGE, R) || mv_unmap(ctl[1], 0, PAGE, NULL);
	if (write(done, &bad, 1) == 1)
		pause();
	_exit(0);
}

static bool revoked(int ctl)
{
	struct memview_info info;

	return !mv_info(ctl, &info) && (info.state & MEMVIEW_STATE_REVOKED);
}

static void two_threads_map_first_and_at_once(struct fixture *f)
{
	for (int round = 0; round < 200; round++) {
		int ctl[2], viewfd[2], done[2];
		char *view[2], bad = 1;
		pid_t pid;

		for (int i = 0; i < 2; i++) {
			ctl[i] = EXPECT_OK(mv_open());
			EXPECT_OK(mv_set_size(ctl[i], CTL_PAGES * PAGE));
			viewfd[i] = EXPECT_OK(mv_viewfd(ctl[i]));
			view[i] = mmap(NULL, CTL_PAGES * PAGE, PROT_READ | PROT_WRITE,
				       MAP_SHARED, viewfd[i], 0);
			assert_ptr_not_equal(view[i], MAP_FAILED);
		}
		EXPECT_OK(pipe(done));
		pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			map_twice(ctl, f->file, done[1]);
		}
		close(done[1]);
		if (read(done[0], &bad, 1) != 1 || bad)
			fail_msg("round %d: the process cannot change its views", round);
		for (int i = 0; i < 2; i++) {
			EXPECT_SIGBUS((unsigned long)view[i], PROBE(op_read, (long)view[i]));
			EXPECT_VALUE(WORD(1), PROBE(op_read, (long)view[i] + PAGE));
			EXPECT_VALUE(WORD(0), PROBE(op_read, (long)view[i] + 8 * PAGE));
		}
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		for (int i = 0; i < 2; i++) {
			if (!EVENTUALLY(revoked(ctl[i])))
				fail_msg("round %d: view %d outlives the process", round, i);
			EXPECT_SIGBUS((unsigned long)view[i] + PAGE,
				      PROBE(op_read, (long)view[i] + PAGE));
			munmap(view[i], CTL_PAGES * PAGE);
			close(viewfd[i]);
			close(ctl[i]);
		}
		close(done[0]);
	}
}

/* ---- the program that execve(2) started ---- */

/* What that program does with a control fd that it was started with. */
enum use { SIZE, MAP, REPLACE, PROTECT, UNMAP, UPDATE, POPULATE, NR_TABLE_USES,
	   VIEWFD = NR_TABLE_USES, NR_USES };

struct used {
	int err[NR_USES];	/* 0 or an errno */
	uint32_t state;		/* before that, as GET_INFO has it */
	uint32_t nr_ranges;	/* afterwards */
};

static int use(enum use what, int ctl, int file)
{
	struct memview_op op = {
		.op = MEMVIEW_OP_MAP, .flags = R, .mem_offset = 8 * PAGE, .size = PAGE,
		.fd_offset = 8 * PAGE, .fd = file,
	};
	struct memview_update_info update = {
		.ops = (uintptr_t)&op, .count = 1, .op_size = sizeof(op),
	};
	struct memview_populate_info populate = { .size = PAGE };
	int fd;

	switch (what) {
	case SIZE:
		return mv_set_size(ctl, CTL_PAGES * PAGE);
	case MAP:
		return mv_map(ctl, file, 0, 4 * PAGE, 0, RW);
	case REPLACE:
		return mv_map(ctl, file, PAGE, PAGE, 0, RW | MEMVIEW_MAP_REPLACE);
	case PROTECT:
		return mv_protect(ctl, PAGE, PAGE, R);
	case UNMAP:
		return mv_unmap(ctl, 2 * PAGE, PAGE, NULL);
	case UPDATE:
		return ioctl(ctl, MEMVIEW_UPDATE, &update);
	case POPULATE:
		return ioctl(ctl, MEMVIEW_POPULATE, &populate);
	case VIEWFD:
		fd = mv_viewfd(ctl);
		if (fd >= 0)
			close(fd);
		return fd < 0 ? -1 : 0;
	case NR_USES:
		break;
	}
	return -1;
}

/* main() of that program: for each byte it gets, uses the fd and says how it went. */
static int use_control_fd(int ctl, int file, int sock)
{
	char c;

	while (read(sock, &c, 1) == 1) {
		struct used used = { 0 };
		struct memview_info info;

		if (mv_info(ctl, &info))
			return 1;
		used.state = info.state;
		for (int i = 0; i < NR_USES; i++) {
			errno = 0;
			if (use((enum use)i, ctl, file))
				used.err[i] = errno;
		}
		mv_info(ctl, &info);
		used.nr_ranges = (uint32_t)info.nr_ranges;
		if (write(sock, &used, sizeof(used)) != sizeof(used))
			return 1;
	}
	return 0;
}

/* ctl, fd, socket, all of which the new program gets */
static long op_exec_use(const long *a)
{
	char text[3][16];

	for (int i = 0; i < 3; i++) {
		snprintf(text[i], sizeof(text[i]), "%ld", a[i]);
		fcntl((int)a[i], F_SETFD, 0);
	}
	execl("/proc/self/exe", "test_adv_death", "--control", text[0], text[1], text[2], NULL);
	return -1;
}

/* Has @c exec; returns our end of the new program's socket. */
static int start_program(struct controller *c)
{
	int sv[2], remote;

	EXPECT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	remote = peer_send_fd(c->peer, sv[1]);
	close(sv[1]);
	START(c->peer, op_exec_use, c->ctl, c->fd, remote);
	return sv[0];
}

static struct used use_there(int sock)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	struct used used;

	if (write(sock, "", 1) != 1 || poll(&pfd, 1, WITHIN_SECONDS * 1000) != 1 ||
	    read(sock, &used, sizeof(used)) != sizeof(used))
		fail_msg("the program that was started does not answer");
	return used;
}

static void expect_used(const struct used *used, int table, int viewfd, int line)
{
	for (int i = 0; i < NR_USES; i++) {
		int want = i < NR_TABLE_USES ? table : viewfd;

		if (used->err[i] == want)
			continue;
		print_error("use %d: %s, want %s\n", i, strerrorname_np(used->err[i]),
			    strerrorname_np(want));
		_fail(__FILE__, line);
	}
}
#define EXPECT_USED(used, table, viewfd) expect_used(used, table, viewfd, __LINE__)

/* The program changes nothing, now and while the revocation is on its way. */
static bool refused_and_revoked(int sock, int ctl)
{
	struct used used = use_there(sock);

	for (int i = 0; i < NR_TABLE_USES; i++) {
		if (used.err[i] != EIO && used.err[i] != ESHUTDOWN)
			fail_msg("use %d: %s", i, strerrorname_np(used.err[i]));
	}
	return revoked(ctl);
}

/* The view was the old address space's: nothing is for the new one (R4). */
static void program_cannot_use_the_view_of_the_one_before(struct fixture *f)
{
	struct peer *p = peer_spawn();
	struct controller c;
	unsigned long view;
	struct used used;
	int ctl, sock;

	controller_of_file(f, &c);
	ctl = peer_take_fd(c.peer, c.ctl);
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	/* Nothing lent is no reason either. */
	if (f->tc->param)
		EXPECT_CALL(c.peer, op_ctl_unmap, c.ctl, 0, CTL_PAGES);
	sock = start_program(&c);
	if (!EVENTUALLY(refused_and_revoked(sock, ctl)))
		fail_msg("the view outlives the address space");
	used = use_there(sock);
	assert_int_equal(used.state, MEMVIEW_STATE_REVOKED);
	EXPECT_USED(&used, ESHUTDOWN, ESHUTDOWN);
	assert_int_equal(used.nr_ranges, 0);
	for (unsigned long i = 0; i < CTL_PAGES; i++)
		EXPECT_SIGBUS(view + i * PAGE, CALL(p, op_read, view + i * PAGE));
	EXPECT_SIGBUS(view, CALL(p, op_write, view, 1));
	assert_int_equal(file_word(f->file, 0), WORD(0));
}

/* The old address space cannot end: the view is still its, and not the new one's. */
static void program_cannot_use_a_view_that_is_not_revoked_yet(struct fixture *f)
{
	struct peer *p = peer_spawn();
	struct controller c;
	unsigned long view;
	int ctl, uffd, sock;
	struct used used;

	controller_of_file(f, &c);
	ctl = peer_take_fd(c.peer, c.ctl);
	view = map_view(p, c.viewfd, PROT_READ);
	uffd = block(f, &c, p, view);
	sock = start_program(&c);
	used = use_there(sock);
	assert_int_equal(used.state, 0);
	EXPECT_USED(&used, EIO, 0);
	assert_int_equal(used.nr_ranges, 1);
	assert_true(still_busy(p));
	close(uffd);
	FINISH(p, "read after execve(2)");
	assert_true(EVENTUALLY(gone(p, view + PAGE)));
	if (!EVENTUALLY(revoked(ctl)))
		fail_msg("the view outlives the address space");
	used = use_there(sock);
	EXPECT_USED(&used, ESHUTDOWN, ESHUTDOWN);
}

/* Nothing had been mapped: the view is of the first who does. */
static void program_can_use_a_fresh_view(struct fixture *f)
{
	struct peer *p = peer_spawn(), *old;
	struct controller c = { .peer = peer_spawn() };
	unsigned long view;
	struct used used;
	int ctl, fd, sock;

	/* It has been a controller, but not of this view. */
	c.fd = peer_send_fd(c.peer, f->file);
	controller_lend(&c, RW);
	c.ctl = EXPECT_CALL(c.peer, op_ctl_open, CTL_PAGES * PAGE);
	ctl = peer_take_fd(c.peer, c.ctl);
	fd = EXPECT_CALL(c.peer, op_ctl_viewfd, c.ctl);
	c.viewfd = peer_take_fd(c.peer, fd);
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_SIGBUS(view, CALL(p, op_read, view));
	/* A process with the address space of before: it comes too late. */
	old = peer_fork(c.peer);
	assert_non_null(old);
	sock = start_program(&c);
	used = use_there(sock);
	assert_int_equal(used.state, 0);
	EXPECT_USED(&used, 0, 0);
	assert_int_equal(used.nr_ranges, 4);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view));
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	EXPECT_SEGV(view + PAGE, CALL(p, op_write, view + PAGE, 1));
	EXPECT_SIGBUS(view + 2 * PAGE, CALL(p, op_read, view + 2 * PAGE));
	EXPECT_VALUE(WORD(8), CALL(p, op_read, view + 8 * PAGE));
	EXPECT_CALL_ERRNO(EIO, old, op_ctl_unmap, c.ctl, 0, 1);
	EXPECT_ERRNO(EIO, mv_map(ctl, f->file, 0, PAGE, 12 * PAGE, R));
	/* And it ends with the program. */
	peer_kill(c.peer);
	assert_true(EVENTUALLY(revoked(ctl)));
	EXPECT_SIGBUS(view, CALL(p, op_read, view));
}

/* ---- fork ---- */

static void child_of_the_controller_has_no_source(struct fixture *f)
{
	struct controller c;
	struct peer *child, *p = peer_spawn();
	unsigned long source, view, plain;

	(void)f;
	controller_start(&c, 0, RW);
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	plain = EXPECT_CALL(c.peer, op_mmap, c.fd, PAGE, PROT_READ, 0);
	source = EXPECT_CALL(c.peer, op_ctl_source, c.ctl, 1);
	EXPECT_VALUE(WORD(1), CALL(c.peer, op_read, source));
	child = peer_fork(c.peer);
	assert_non_null(child);
	EXPECT_VALUE(WORD(0), CALL(child, op_read, plain));
	assert_int_equal(CALL(child, op_read, source).sig, SIGSEGV);
	/* Nor the table: it belongs to the other address space. */
	EXPECT_CALL_ERRNO(EIO, child, op_ctl_unmap, c.ctl, 0, 1);
	EXPECT_CALL_ERRNO(EIO, child, op_ctl_map, c.ctl, c.fd, 0, 1, 0,
			  R | MEMVIEW_MAP_REPLACE);
	EXPECT_CALL_ERRNO(EIO, child, op_ctl_protect, c.ctl, 0, 1, R);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	/* The child's close is not the last. */
	EXPECT_CALL(child, op_close, c.ctl);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	EXPECT_CALL(c.peer, op_ctl_unmap, c.ctl, 0, 2);
	EXPECT_SIGBUS(view + PAGE, CALL(p, op_read, view + PAGE));
}

static void child_of_the_controller_can_revoke(struct fixture *f)
{
	struct controller c;
	struct peer *child, *p = peer_spawn();
	unsigned long view;

	(void)f;
	controller_start(&c, 0, RW);
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	child = peer_fork(c.peer);
	assert_non_null(child);
	EXPECT_CALL(child, op_ctl_revoke, c.ctl);
	EXPECT_SIGBUS(view + PAGE, CALL(p, op_read, view + PAGE));
	EXPECT_CALL_ERRNO(ESHUTDOWN, c.peer, op_ctl_unmap, c.ctl, 0, 1);
}

static void child_outlives_the_controller(struct fixture *f)
{
	struct controller c;
	struct peer *child, *p = peer_spawn();
	unsigned long view;

	(void)f;
	controller_start(&c, 0, RW);
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	child = peer_fork(c.peer);
	assert_non_null(child);
	peer_kill(c.peer);
	assert_true(EVENTUALLY(gone(p, view + PAGE)));
	assert_true(EVENTUALLY(CALL(child, op_ctl_viewfd, c.ctl).err == ESHUTDOWN));
}

/* A revoked entry must not come back in a child forked at that moment. */
static void fork_racing_unmap_and_narrowing(struct fixture *f)
{
	check_forks_lose(f, map_file(f, PROT_READ | PROT_WRITE), 1, f->tc->param, 25);
}

/* ---- control fds in odd places ---- */

static int send_fds(int sock, const int *fds, size_t n)
{
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = "x", .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -1;
}

static void control_fd_in_flight_keeps_the_view(struct fixture *f)
{
	int sv[2];

	lend(f, 4, RW);
	EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	EXPECT_OK(send_fds(sv[0], &f->ctl, 1));
	close(f->ctl);
	f->ctl = -1;
	READS(f, 1, WORD(1));
	/* Thrown away without being received: that was the last close. */
	close(sv[0]);
	close(sv[1]);
	assert_true(EVENTUALLY(gone(f->peer, AT(f, 1))));
}

/* Only the garbage collector of unix sockets finds it. */
static void control_fd_in_its_own_socket_is_collected(struct fixture *f)
{
	int sv[2], fds[2], other[2];

	lend(f, 4, RW);
	EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	fds[0] = f->ctl;
	fds[1] = sv[1];
	EXPECT_OK(send_fds(sv[0], fds, 2));
	close(f->ctl);
	f->ctl = -1;
	close(sv[1]);
	close(sv[0]);
	/* Closing any socket starts it. */
	EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, other));
	close(other[0]);
	close(other[1]);
	assert_true(EVENTUALLY(gone(f->peer, AT(f, 1))));
}

static void control_fd_that_a_peer_gets_by_scm_rights(struct fixture *f)
{
	int ctl = peer_send_fd(f->peer, f->ctl);
	int fd = EXPECT_CALL(f->peer, op_memfd, 4 * PAGE, 100);

	lend(f, 4, RW);
	EXPECT_CALL_ERRNO(EIO, f->peer, op_ctl_map, ctl, fd, 0, 1, 8, R);
	EXPECT_CALL_ERRNO(EIO, f->peer, op_ctl_protect, ctl, 0, 4, RW);
	EXPECT_CALL_ERRNO(EIO, f->peer, op_ctl_unmap, ctl, 0, 4);
	assert_int_equal(rights_at(f->ctl, 0), RW);
	close(f->ctl);
	f->ctl = -1;
	READS(f, 1, WORD(1));
	EXPECT_CALL(f->peer, op_close, ctl);
	READ_SIGBUS(f, 1);
}

static void duplicate_of_the_control_fd_keeps_the_view(struct fixture *f)
{
	int fd = dup(f->ctl);

	lend(f, 4, RW);
	close(f->ctl);
	f->ctl = fd;
	READS(f, 1, WORD(1));
	protect_pages(f, 0, 4, R);
	WRITE_SEGV(f, 1);
	close(fd);
	f->ctl = -1;
	READ_SIGBUS(f, 1);
}

static void module_in_use_is_not_removed(struct fixture *f)
{
	map_pages(f, 0, 0, 4, RW);
	EXPECT_ERRNO(EWOULDBLOCK, syscall(SYS_delete_module, "memory_view", O_NONBLOCK));
	READS(f, 1, WORD(1));
	/* Nothing but a peer's mapping is left. */
	EXPECT_CALL(f->peer, op_close, f->peer_viewfd);
	close(f->viewfd);
	close(f->ctl);
	f->ctl = f->viewfd = -1;
	EXPECT_ERRNO(EWOULDBLOCK, syscall(SYS_delete_module, "memory_view", O_NONBLOCK));
	READ_SIGBUS(f, 1);
}

/* ---- peers that come and go ---- */

static void peers_die_during_table_changes(struct fixture *f)
{
	struct peer *p;
	unsigned long view;

	map_pages(f, 0, 0, 16, RW);
	START(f->peer, op_scan, f->view, 16, 0);
	for (int i = 0; i < 10; i++) {
		p = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &view);
		START(p, op_scan, view, 16, 0);
		wait_loops(3);
		kill(p->pid, SIGKILL);
		for (int j = 0; j < 10; j++) {
			unmap_pages(f, 0, 16);
			map_pages(f, 0, 0, 16, j & 1 ? R : RW);
		}
		peer_kill(p);
	}
	wait_loops(3);
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "scan"));
	assert_int_equal(atomic_load(&shared->bad), 0);
}

#define ENDS_BY(fn, mask, v, how) \
	{ .name = #fn, .run = fn, .backings = mask, .variant = v, .param = how }
#define ENDS_ON(fn, mask) \
	ENDS_BY(fn, mask, "exit", EXITS), \
	ENDS_BY(fn, mask, "SIGKILL", KILLED), \
	ENDS_BY(fn, mask, "exec", EXECS)
#define ENDS(fn) ENDS_ON(fn, 0)

static const struct test_case cases[] = {
	ENDS(controller_ends),
	ENDS(controller_ends_but_its_control_fd_does_not),
	CASE_VARIANT(controller_dies_with_nothing_lent, "empty table", EMPTY),
	CASE_VARIANT(controller_dies_with_nothing_lent, "source unmapped", UNMAPPED),
	CASE_VARIANT(controller_dies_with_nothing_lent, "source inaccessible", TAMPERED),
	CASE(plain_memory_survives_its_owner),
	ENDS_ON(controller_ends_during_a_blocked_fault, ON_SHMEM | ON(HUGETLB)),
	CASE(everything_is_closed_during_a_blocked_fault),
	CASE_VARIANT(module_is_not_removed_under_a_blocked_fault, "control fd closed", EXITS),
	CASE_VARIANT(module_is_not_removed_under_a_blocked_fault, "controller killed", KILLED),
	CASE(module_is_removed_right_after_its_users),
	CASE(two_threads_map_first_and_at_once),
	CASE_VARIANT(program_cannot_use_the_view_of_the_one_before, "lent", 0),
	CASE_VARIANT(program_cannot_use_the_view_of_the_one_before, "nothing lent", 1),
	CASE_ON(program_cannot_use_a_view_that_is_not_revoked_yet, ON(MEMFD) | ON(HUGETLB)),
	CASE(program_can_use_a_fresh_view),
	CASE(child_of_the_controller_has_no_source),
	CASE(child_of_the_controller_can_revoke),
	CASE(child_outlives_the_controller),
	{ .name = "fork_racing_unmap_and_narrowing", .run = fork_racing_unmap_and_narrowing,
	  .variant = "unmap", .param = 0, .backings = ON(MEMFD) | ON(HUGETLB) | ON(EXT4) },
	{ .name = "fork_racing_unmap_and_narrowing", .run = fork_racing_unmap_and_narrowing,
	  .variant = "narrow", .param = 1, .backings = ON(MEMFD) | ON(HUGETLB) | ON(EXT4) },
	CASE(control_fd_in_flight_keeps_the_view),
	CASE(control_fd_in_its_own_socket_is_collected),
	CASE(control_fd_that_a_peer_gets_by_scm_rights),
	CASE(duplicate_of_the_control_fd_keeps_the_view),
	CASE(module_in_use_is_not_removed),
	CASE(peers_die_during_table_changes),
};

int main(int argc, char **argv)
{
	/* op_exec_use() */
	if (argc == 5 && !strcmp(argv[1], "--control"))
		return use_control_fd(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
	return RUN_CASES(argc, argv, "adv_death", cases);
}
