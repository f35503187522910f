// SPDX-License-Identifier: GPL-2.0
/* Runs one program, in two processes of its own, and looks what became of it. */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/kcov.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* For a program; that many more until all of its processes are gone. */
#define RUN_SECONDS	5
#define DEATH_SECONDS	60

uint64_t *kcov[NR_LANES];
struct world *world;

static int kcov_fd[NR_LANES];
static int kmsg = -1;
static const struct program *program;

bool run_prepare(void)
{
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (world == MAP_FAILED)
		return false;
	/* Whom a program leaves behind is ours to reap. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		return false;
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);

	for (int i = 0; i < NR_LANES; i++) {
		kcov_fd[i] = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
		if (kcov_fd[i] < 0 && errno == ENOENT)
			return true;	/* without: no guidance */
		if (kcov_fd[i] < 0 ||
		    ioctl(kcov_fd[i], KCOV_INIT_TRACE, KCOV_WORDS))
			return false;
		kcov[i] = mmap(NULL, KCOV_WORDS * sizeof(uint64_t),
			       PROT_READ | PROT_WRITE, MAP_SHARED, kcov_fd[i], 0);
		if (kcov[i] == MAP_FAILED)
			return false;
	}
	return true;
}

static void turn_wake(void)
{
	syscall(SYS_futex, &world->turn, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Waits for the turn of operation @i. */
static void turn_wait(unsigned int i)
{
	const struct timespec patience = { .tv_nsec = 20 * 1000 * 1000 };
	unsigned int turn;

	while ((turn = atomic_load(&world->turn)) != i) {
		/* Operations of processes that are gone are nobody's. */
		if (atomic_load(&world->gone[PROCESS_OF(program->ops[turn].lane)])) {
			if (atomic_compare_exchange_strong(&world->turn, &turn, turn + 1))
				turn_wake();
			continue;
		}
		syscall(SYS_futex, &world->turn, FUTEX_WAIT, turn, &patience, NULL, 0);
	}
}

static void *run_lane(void *data)
{
	unsigned int lane = (unsigned int)(uintptr_t)data;

	ops_thread(lane);
	if (kcov[lane]) {
		atomic_store((_Atomic uint64_t *)kcov[lane], 0);
		ioctl(kcov_fd[lane], KCOV_ENABLE, KCOV_TRACE_PC);
	}
	for (unsigned int i = 0; i < program->nr; i++) {
		const struct op *op = &program->ops[i];

		if (i == program->together)
			turn_wait(i);
		if (op->lane != lane)
			continue;
		if (i >= program->together) {
			op_run(op);
			continue;
		}
		turn_wait(i);
		op_run(op);
		atomic_store(&world->turn, i + 1);
		turn_wake();
	}
	if (kcov[lane])
		ioctl(kcov_fd[lane], KCOV_DISABLE, 0);
	return NULL;
}

static bool lane_is_used(unsigned int lane)
{
	for (unsigned int i = 0; i < program->nr; i++) {
		if (program->ops[i].lane == lane)
			return true;
	}
	return false;
}

static void run_process(unsigned int process)
{
	unsigned int lane = LANES_OF(process);
	pthread_t thread;
	bool second;

	world->pid[process] = getpid();
	second = lane_is_used(lane + 1) &&
		 !pthread_create(&thread, NULL, run_lane,
				 (void *)(uintptr_t)(lane + 1));
	if (lane_is_used(lane))
		run_lane((void *)(uintptr_t)lane);
	if (second)
		pthread_join(thread, NULL);
	atomic_store(&world->gone[process], true);
}

static _Noreturn void run_processes(void)
{
	pid_t pid = -1;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The same descriptors, and an address space of its own. */
	if (lane_is_used(2) || lane_is_used(3)) {
		pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
		if (!pid) {
			run_process(1);
			_exit(0);
		}
	}
	if (pid < 0)
		atomic_store(&world->gone[1], true);
	run_process(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	_exit(0);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Waits for @pid or, if it is -1, for all children; false: not in time. */
static bool reap(pid_t pid, double seconds)
{
	double end = now() + seconds;

	for (;;) {
		pid_t got = waitpid(-1, NULL, WNOHANG);

		if (got < 0 && errno == ECHILD)
			return true;
		if (got > 0 && got == pid)
			return true;
		if (got)
			continue;
		if (now() > end)
			return false;
		nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
	}
}

/* A line of the kernel log that nothing a program does may cause. */
static bool is_report(const char *line)
{
	static const char *const reports[] = {
		"WARNING:", "BUG:", "kernel BUG at", "cut here", "Oops",
		"general protection", "KASAN:", "UBSAN:", "Bad page",
		"Bad rss-counter", "circular locking", "recursive locking",
		"suspicious RCU", "blocked for more than", "refcount_t:",
		"corruption", "detected stall",
	};

	for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++) {
		if (strstr(line, reports[i]))
			return true;
	}
	return false;
}

static bool look_for_reports(char *report, size_t size)
{
	char line[2048];
	bool found = false;
	ssize_t n;

	if (kmsg < 0)
		return false;
	for (;;) {
		n = read(kmsg, line, sizeof(line) - 1);
		if (n < 0 && errno == EPIPE)	/* overrun: the next is older */
			continue;
		if (n <= 0)
			return found;
		line[n] = 0;
		if (!found && is_report(line)) {
			snprintf(report, size, "%s", line);
			found = true;
		}
	}
}

enum run_result run_program(const struct program *p, char *report, size_t size)
{
	enum run_result result = RUN_DONE;
	pid_t pid;

	report[0] = 0;
	program = p;
	memset(world, 0, sizeof(*world));
	for (int i = 0; i < NR_LANES; i++) {
		if (kcov[i])
			kcov[i][0] = 0;
	}
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		snprintf(report, size, "fork: %s", strerror(errno));
		return RUN_TIMEOUT;
	}
	if (!pid)
		run_processes();
	setpgid(pid, pid);
	reap(pid, RUN_SECONDS);
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	/* What cannot be killed hangs in the kernel. */
	if (!reap(-1, DEATH_SECONDS)) {
		snprintf(report, size, "a process does not die");
		result = RUN_TIMEOUT;
	}
	if (atomic_load(&world->params_changed))
		ops_restore_params();
	if (look_for_reports(report, size))
		result = RUN_REPORT;
	return result;
}
