// SPDX-License-Identifier: GPL-2.0
/*
 * Tenants: what one makes of its views is no other's business (R7, R8). A peer
 * and a bystander do their small things, again and again, and count them, while
 * a controller or a peer of another view misbehaves. They have to get on: the
 * bounds are many times what was ever seen with a driver that is right.
 */
#include "adv.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS	32

static pthread_t threads[MAX_THREADS];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Waits until the loops of @p have gone round @more times. */
static void check_gets_on(struct peer *p, unsigned long more, const char *what)
{
	unsigned long from = atomic_load(&shared->loops), done = 0;
	double limit = now() + WITHIN_SECONDS, begin = now();

	while ((done = atomic_load(&shared->loops) - from) < more && now() < limit)
		nap();
	print_message("# %s: %lu of %lu rounds in %.1f s\n", what, done, more,
		      now() - begin);
	if (done < more) {
		print_error("process %d does not get on: %s\n", p->pid, what);
		print_stacks(p->pid);
		fail();
	}
}

/* SIGKILL ends it. */
static void check_can_be_killed(struct peer *p)
{
	double begin = now();

	kill(p->pid, SIGKILL);
	while (state_of(p->pid) && state_of(p->pid) != 'Z' &&
	       now() < begin + WITHIN_SECONDS)
		nap();
	print_message("# killed: %.1f s\n", now() - begin);
	if (state_of(p->pid) && state_of(p->pid) != 'Z') {
		print_error("process %d lives on after SIGKILL\n", p->pid);
		print_stacks(p->pid);
		fail();
	}
}

/* ---- a controller whose address space is never at rest ---- */

#define FREED		(32UL << 20)

static char *memory_to_free(void)
{
	char *memory = mmap(NULL, FREED, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	madvise(memory, FREED, MADV_NOHUGEPAGE);
	for (unsigned long i = 0; i < FREED; i += PAGE)
		memory[i] = 1;
	return memory;
}

/* One invalidation after the other, of what has nothing to do with any view. */
static void *freer(void *memory)
{
	while (!atomic_load(&shared->stop))
		madvise(memory, FREED, MADV_FREE);
	return NULL;
}

/* Neither this thread is to wait for its turn on a CPU, nor its work to be long. */
static void be_first(void)
{
	setpriority(PRIO_PROCESS, 0, -19);
}

/* What the peer has of a page goes, so that it faults again. */
static void *taker(void *source)
{
	be_first();
	while (!atomic_load(&shared->stop)) {
		madvise(source, PAGE, MADV_DONTNEED);
		usleep(300);
	}
	return NULL;
}

/* Address in the view: a fault, and a mapping of its own, in each round. */
static long op_touch_and_map(const long *a)
{
	be_first();
	while (!atomic_load(&shared->stop)) {
		char *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (own == MAP_FAILED)
			return -1;
		*own = *(volatile char *)a[0];
		munmap(own, PAGE);
		usleep(1000);
		atomic_fetch_add(&shared->loops, 1);
	}
	return 0;
}

static void start_thread(unsigned int i, void *(*run)(void *), void *argument)
{
	assert_int_equal(pthread_create(&threads[i], NULL, run, argument), 0);
}

static void join_threads(unsigned int nr)
{
	atomic_store(&shared->stop, 1);
	for (unsigned int i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
}

/*
 * With none, this is the control: as many rounds, in as much time. Nothing in a
 * peer may wait for all that is going on in the controller.
 */
static void restless_controller(struct fixture *f)
{
	char *memory = memory_to_free();
	unsigned int nr = 0;

	map_pages(f, 0, 0, 1, RW);
	READS(f, 0, WORD(0));
	atomic_store(&shared->stop, 0);
	start_thread(nr++, taker, source_at(f, 0));
	while (nr <= f->tc->param)
		start_thread(nr++, freer, memory);
	sleep(1);
	START(f->peer, op_touch_and_map, AT(f, 0));
	check_gets_on(f->peer, 300, "faults and maps");
	check_can_be_killed(f->peer);
	join_threads(nr);
	munmap(memory, FREED);
}

/* ---- a peer that is throttled ---- */

#define GROUP		"/sys/fs/cgroup/tenants"

static void make_group(const char *file, const char *limit)
{
	char path[128];

	if (mkdir(GROUP, 0755) && errno != EEXIST)
		SKIP("no cgroup2: %s", strerror(errno));
	snprintf(path, sizeof(path), "%s/%s", GROUP, file);
	if (!put_text(path, limit))
		SKIP("%s: %s", path, strerror(errno));
}

/*
 * Neighbours whose page tables are allocated above memory.high: each waits, in the
 * middle of a fault, up to 2 s for every 128 of them. In a system call that touches
 * many pages, for on the way to user mode they would wait without a lock.
 */
#define NEIGHBOURS	64
#define BLOCK		(2UL << 20)	/* that a page table is for */
#define BLOCKS		256UL
#define TOUCHES		2048UL		/* of the innocent one */
#define SLEEPS		20L		/* of a neighbour */

static struct neighbour {
	atomic_int pid;
	long slept;	/* before */
} *neighbours;

/* The same page of a file at the begin of each block -> view fd */
static long op_view_of_blocks(const long *a)
{
	int ctl = mv_open(), fd = (int)op_memfd(ARGS(PAGE, 0));

	(void)a;
	if (ctl < 0 || fd < 0 || mv_set_size(ctl, BLOCKS * BLOCK))
		return -1;
	for (unsigned long i = 0; i < BLOCKS; i++)
		if (mv_map(ctl, fd, 0, PAGE, i * BLOCK, RW))
			return -1;
	return mv_viewfd(ctl);
}

static char *map_blocks(int viewfd)
{
	return mmap(NULL, BLOCKS * BLOCK, PROT_READ, MAP_SHARED, viewfd, 0);
}

/* Of each block a byte, in one call. */
static void be_a_neighbour(struct neighbour *me, int viewfd)
{
	int out = memfd_create("out", MFD_CLOEXEC);
	struct iovec bytes[BLOCKS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!put_text(GROUP "/cgroup.procs", "0"))
		_exit(1);
	atomic_store(&me->pid, getpid());
	for (;;) {
		char *at = map_blocks(viewfd);

		for (unsigned long i = 0; i < BLOCKS && at != MAP_FAILED; i++)
			bytes[i] = (struct iovec){ at + i * BLOCK, 1 };
		if (at == MAP_FAILED ||
		    pwritev(out, bytes, BLOCKS, 0) != (ssize_t)BLOCKS)
			_exit(1);
		munmap(at, BLOCKS * BLOCK);
	}
}

/* View fd -> 0, with the neighbours at it until this process ends. */
static long op_be_neighbours(const long *a)
{
	for (int i = 0; i < NEIGHBOURS; i++) {
		pid_t pid = fork();

		if (!pid)
			be_a_neighbour(&neighbours[i], (int)a[0]);
		if (pid < 0)
			return -1;
	}
	return 0;
}

/* View fd: each touch is the first of its page table. */
static long op_touch_first(const long *a)
{
	for (unsigned long done = 0; done < TOUCHES; done += BLOCKS) {
		char *at = map_blocks((int)a[0]);

		if (at == MAP_FAILED)
			return -1;
		for (unsigned long i = 0; i < BLOCKS; i++) {
			*(volatile char *)(at + i * BLOCK);
			atomic_fetch_add(&shared->loops, 1);
		}
		munmap(at, BLOCKS * BLOCK);
	}
	return 0;
}

/* How many of them wait for memory.high in the middle of a fault? */
static int nr_throttled(void)
{
	int nr = 0;

	for (int i = 0; i < NEIGHBOURS; i++) {
		char path[64], stack[4096];
		size_t len = 0;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/stack",
			 atomic_load(&neighbours[i].pid));
		file = fopen(path, "re");
		if (file) {
			len = fread(stack, 1, sizeof(stack) - 1, file);
			fclose(file);
		}
		stack[len] = 0;
		nr += strstr(stack, "handle_over_high") &&
		      strstr(stack, "handle_mm_fault");
	}
	return nr;
}

/* How often has one of them slept since then? */
static long most_sleeps(void)
{
	long most = 0;

	for (int i = 0; i < NEIGHBOURS; i++) {
		long sleeps = sleeps_of(atomic_load(&neighbours[i].pid)) - neighbours[i].slept;

		most = sleeps > most ? sleeps : most;
	}
	return most;
}

/*
 * Nobody else's first touches wait for that. Those who wait are the clock: a tenant with
 * a view of its own, and nothing to do with that group, is done before any of them has
 * gone to sleep a few times.
 */
static void throttled_neighbour(struct fixture *f)
{
	const size_t size = NEIGHBOURS * sizeof(*neighbours);
	struct peer *crowd, *innocent;
	long theirs, own;

	(void)f;
	put_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	make_group("memory.high", "0");
	neighbours = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(neighbours, MAP_FAILED);
	crowd = peer_spawn();
	innocent = peer_spawn();
	theirs = EXPECT_CALL(crowd, op_view_of_blocks);
	own = EXPECT_CALL(innocent, op_view_of_blocks);
	EXPECT_CALL(crowd, op_be_neighbours, theirs);
	assert_true(EVENTUALLY(nr_throttled() >= 2));

	atomic_store(&shared->loops, 0);
	for (int i = 0; i < NEIGHBOURS; i++)
		neighbours[i].slept = sleeps_of(atomic_load(&neighbours[i].pid));
	START(innocent, op_touch_first, own);
	while (still_busy(innocent) && most_sleeps() < SLEEPS)
		nap();
	print_message("# %lu touches; a neighbour has slept %ld times, %d wait\n",
		      atomic_load(&shared->loops), most_sleeps(), nr_throttled());
	if (still_busy(innocent)) {
		print_stacks(innocent->pid);
		fail_msg("who is not in their group waits for the throttled");
	}
	EXPECT_VALUE(0, FINISH(innocent, "first touches"));
	make_group("memory.high", "max");
	peer_kill(crowd);
	munmap(neighbours, size);
}

/*
 * A peer that is preempted in the middle of a fault, and gets no CPU any more, as one
 * that is throttled by cpu.max does. (Kernels that do not preempt the kernel let it
 * finish: see tests/special for the one that does.)
 */
#define PREEMPTIONS	60

/* Address, pages: touches all the time. */
static long op_touch_all(const long *a)
{
	while (!atomic_load(&shared->stop))
		for (long i = 0; i < a[1]; i++)
			PROBE(op_read, a[0] + i * (long)PAGE);
	return 0;
}

static bool preempts(void)
{
	char line[64] = "";
	FILE *file = fopen("/sys/kernel/debug/sched/preempt", "re");

	if (file) {
		if (!fgets(line, sizeof(line), file))
			line[0] = 0;
		fclose(file);
	}
	return strstr(line, "(full)");
}

/* What was done to the table before the peer got its CPU back waited for nothing. */
static void preempted_peer(struct fixture *f)
{
	struct peer *p = peer_spawn(), *hog;
	unsigned long at;
	int waited = 0;

	if (!preempts())
		SKIP("the kernel is not preempted here (preempt=full)");
	set_module_param(f, "fault_around_pages", 1);
	EXPECT_OK(op_pin(ARGS(1)));
	EXPECT_CALL(p, op_pin, 0);
	hog = hog_spawn(0);
	at = EXPECT_CALL(p, op_mmap, peer_send_fd(p, f->viewfd), VIEW_PAGES / 2 * PAGE,
			 PROT_READ | PROT_WRITE, 0);
	START(p, op_touch_all, at, VIEW_PAGES / 2);
	for (int i = 0; i < PREEMPTIONS; i++) {
		map_pages(f, 0, 0, VIEW_PAGES / 2, RW);
		hog_begin(hog);
		unmap_pages(f, 0, VIEW_PAGES / 2);
		waited += !hog_end(hog);
	}
	hog_reap(hog);
	EXPECT_OK(op_pin(ARGS(-1)));
	print_message("# %d of %d unmaps waited for the peer\n", waited, PREEMPTIONS);
	assert_int_equal(waited, 0);
}

/* ---- a bystander, and those who use what there is as hard as they can ---- */

#define MISBEHAVING	4
#define ROUNDS		300
#define MANY		4096UL

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of one measurement; shared with the bystander. */
struct measurement {
	double times[ROUNDS];
};

static struct measurement *measured;

/* Maps a page, touches it and takes it back, in a view and a process of its own. */
static long op_measure(const long *a)
{
	int ctl = (int)a[0], fd = (int)a[1];

	for (int i = 0; i < ROUNDS; i++) {
		const struct timespec pause = { .tv_nsec = 2 * 1000 * 1000 };
		double begin = now();

		if (mv_map(ctl, fd, 0, PAGE, 0, RW))
			return -1;
		*(volatile char *)a[2];
		if (mv_unmap(ctl, 0, PAGE, NULL))
			return -1;
		measured->times[i] = now() - begin;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static long misbehave_hog(void)
{
	while (!atomic_load(&shared->stop))
		;
	return 0;
}

/* A view of @nr pages, each a range of its own, and where it is mapped. */
static char *view_of_ranges(int *ctl, int *fd, unsigned long nr)
{
	int viewfd;
	char *at;

	*ctl = mv_open();
	*fd = memfd_create("ranges", MFD_CLOEXEC);
	if (*ctl < 0 || *fd < 0 || ftruncate(*fd, nr * PAGE) ||
	    mv_set_size(*ctl, nr * PAGE))
		return NULL;
	for (unsigned long i = 0; i < nr; i++)
		if (mv_map(*ctl, *fd, i * PAGE, PAGE, i * PAGE, i % 2 ? RW : R))
			return NULL;
	viewfd = mv_viewfd(*ctl);
	at = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, viewfd, 0);
	close(viewfd);
	return at == MAP_FAILED ? NULL : at;
}

/* One call changes many ranges, back and forth. */
static long misbehave_batches(void)
{
	struct memview_op *ops = calloc(MANY, sizeof(*ops));
	struct memview_update_info update = {
		.ops = (uintptr_t)ops, .count = MANY, .op_size = sizeof(*ops),
	};
	int ctl, fd;

	if (!view_of_ranges(&ctl, &fd, MANY))
		return -1;
	for (unsigned long i = 0; !atomic_load(&shared->stop); i++) {
		for (unsigned long j = 0; j < MANY; j++)
			ops[j] = (struct memview_op){
				.op = MEMVIEW_OP_PROTECT, .mem_offset = j * PAGE,
				.size = PAGE, .flags = R,
			};
		if (ioctl(ctl, MEMVIEW_UPDATE, &update))
			return -1;
	}
	return 0;
}

/* Pages leave a file that is lent in many pieces, and come back. */
static long misbehave_holes(void)
{
	int ctl, fd;
	char *at = view_of_ranges(&ctl, &fd, MANY);

	while (at && !atomic_load(&shared->stop)) {
		for (unsigned long i = 0; i < MANY; i += 8)
			*(volatile char *)(at + i * PAGE);
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			      MANY * PAGE))
			return -1;
	}
	return at ? 0 : -1;
}

/* Mappings of a view come and go, in a process and its children. */
static long misbehave_maps(void)
{
	int ctl = mv_open(), fd = memfd_create("maps", MFD_CLOEXEC), viewfd;

	if (ctl < 0 || fd < 0 || ftruncate(fd, 256 * PAGE) ||
	    mv_set_size(ctl, 256 * PAGE) || mv_map(ctl, fd, 0, 256 * PAGE, 0, RW))
		return -1;
	viewfd = mv_viewfd(ctl);
	for (unsigned long i = 0; !atomic_load(&shared->stop); i++) {
		char *at = mmap(NULL, 256 * PAGE, PROT_READ | PROT_WRITE,
				MAP_SHARED, viewfd, 0);

		if (at == MAP_FAILED)
			return -1;
		for (unsigned long j = 0; j < 256; j++)
			*(volatile char *)(at + j * PAGE);
		mprotect(at + 16 * PAGE, 16 * PAGE, PROT_READ);
		if (!(i % 16) && !fork())
			_exit(0);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		munmap(at, 256 * PAGE);
	}
	return 0;
}

/* Views begin and end, and so do sources. */
static long misbehave_views(void)
{
	while (!atomic_load(&shared->stop)) {
		int ctl, fd;
		char *at = view_of_ranges(&ctl, &fd, 16);

		if (!at)
			return -1;
		*(volatile char *)at;
		munmap(at, 16 * PAGE);
		mv_revoke(ctl);
		close(ctl);
		close(fd);
	}
	return 0;
}

static long (*const misbehaviours[])(void) = {
	misbehave_batches, misbehave_holes, misbehave_maps, misbehave_views,
};

static long op_misbehave(const long *a)
{
	return a[0] < 0 ? misbehave_hog() : misbehaviours[a[0]]();
}

struct result {
	double median;
	double worst;
};

/* -1: who only use the CPU */
static struct result measure(struct peer *bystander, const long *args, long kind)
{
	struct peer *others[MISBEHAVING];
	struct result result;

	atomic_store(&shared->stop, 0);
	for (int i = 0; i < MISBEHAVING; i++) {
		others[i] = peer_spawn();
		START(others[i], op_misbehave, kind);
	}
	sleep(1);
	START(bystander, op_measure, args[0], args[1], args[2]);
	EXPECT_VALUE(0, FINISH(bystander, "maps, touches, unmaps"));
	atomic_store(&shared->stop, 1);
	for (int i = 0; i < MISBEHAVING; i++) {
		EXPECT_VALUE(0, FINISH(others[i], "misbehaves"));
		peer_kill(others[i]);
	}
	qsort(measured->times, ROUNDS, sizeof(double), by_value);
	result.median = measured->times[ROUNDS / 2];
	/* But for those few in which the machine has done something else. */
	result.worst = measured->times[ROUNDS - 1 - ROUNDS / 100];
	return result;
}

/*
 * What its own small operations take beside others who use the driver as hard as
 * they can, and beside as many who only use the CPU: the median within 2 times, the
 * worst within 10. By the same machine at the same time; one of three tries must
 * show it, for the machine has other things to do.
 */
static void bystander(struct fixture *f)
{
	struct peer *p;
	long args[3];
	bool good = false;
	int viewfd;

	measured = mmap(NULL, sizeof(*measured), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(measured, MAP_FAILED);
	p = peer_spawn();
	args[0] = EXPECT_CALL(p, op_ctl_open, 16 * PAGE);
	args[1] = EXPECT_CALL(p, op_memfd, 16 * PAGE, 0);
	viewfd = peer_take_fd(p, EXPECT_CALL(p, op_ctl_viewfd, args[0]));
	args[2] = map_view(p, viewfd, PROT_READ | PROT_WRITE);

	for (int try = 0; try < 3 && !good; try++) {
		struct result hogs = measure(p, args, -1);
		struct result others = measure(p, args, (long)f->tc->param);

		print_message("# hogs: median %.2f ms, worst %.2f ms; these: %.2f, %.2f\n",
			      hogs.median * 1e3, hogs.worst * 1e3,
			      others.median * 1e3, others.worst * 1e3);
		good = others.median <= 2 * hogs.median &&
		       others.worst <= 10 * hogs.worst;
	}
	assert_true(good);
	munmap(measured, sizeof(*measured));
	close(viewfd);
}

static const struct test_case cases[] = {
	CASE_VARIANT(restless_controller, "none", 0),
	CASE_VARIANT(restless_controller, "16_threads", 16),
	CASE(throttled_neighbour),
	CASE(preempted_peer),
	CASE_VARIANT(bystander, "batches", 0),
	CASE_VARIANT(bystander, "holes", 1),
	CASE_VARIANT(bystander, "maps", 2),
	CASE_VARIANT(bystander, "views", 3),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "tenants", cases);
}
