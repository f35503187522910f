// SPDX-License-Identifier: GPL-2.0
/*
 * Locks that are taken in the order of addresses. Every first registration of an
 * mmu notifier in a process (its first MAP_FD, KVM_CREATE_VM) takes the locks of
 * all files that the process has mapped, in the order of their addresses, and
 * waits for each as long as it takes. So whoever holds the lock of one file while
 * he takes that of another waits for such a process, which waits for him, and
 * nothing ends it (R7).
 *
 * What happens to a file that is lent (a hole, truncation) holds the file's lock
 * while peers lose its pages.
 */
#include "adv.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of a case; once the circle closed within ten of them. */
#define REGISTRATIONS	100
#define PAGES		16UL
/* Mappings between the view and its file: locks to take while it can happen. */
#define BETWEEN		800UL
#define STEP		(2 * PAGE)
#define ROOM		((BETWEEN + 2) * STEP + 2 * PAGES * PAGE)

enum layout { VIEW_FIRST, FILE_FIRST, NO_VIEW };

/* How far each of them is, and who it is. */
struct progress {
	atomic_ulong holes;
	atomic_ulong registrations;
	atomic_int registers;
};

static struct progress *progress;

static void *place(char *at, size_t len, int fd)
{
	return mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
}

/*
 * File, view fd, layout: maps both, and many files between them. In place of the
 * view, NO_VIEW has the file once more.
 */
static long op_lay_out(const long *a)
{
	char *room = mmap(NULL, ROOM, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *low = room, *high = room + ROOM - PAGES * PAGE;
	int first = a[2] == VIEW_FIRST ? a[1] : a[0];
	int last = a[2] == FILE_FIRST ? a[1] : a[0];

	if (room == MAP_FAILED || place(low, PAGES * PAGE, first) == MAP_FAILED ||
	    place(high, PAGES * PAGE, last) == MAP_FAILED)
		return -1;
	for (unsigned long i = 0; i < BETWEEN; i++) {
		int fd = memfd_create("between", MFD_CLOEXEC);

		if (fd < 0 || ftruncate(fd, PAGE) ||
		    place(low + PAGES * PAGE + i * STEP, PAGE, fd) == MAP_FAILED)
			return -1;
		close(fd);
	}
	return 0;
}

/* File to lend: children, which have all mappings, register their first notifier. */
static long op_register(const long *a)
{
	while (!atomic_load(&shared->stop)) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			int ctl = mv_open();

			atomic_store(&progress->registers, getpid());
			_exit(ctl < 0 || mv_set_size(ctl, PAGE) ||
			      mv_map(ctl, a[0], 0, PAGE, 0, R));
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			return -1;
		atomic_fetch_add(&progress->registrations, 1);
	}
	return 0;
}

/* File: makes holes in it, and fills them. */
static long op_punch(const long *a)
{
	for (unsigned long i = 0; !atomic_load(&shared->stop); i++) {
		if (pwrite(a[0], &i, sizeof(i), 0) != sizeof(i) ||
		    fallocate(a[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE))
			return -1;
		atomic_fetch_add(&progress->holes, 1);
	}
	return 0;
}

static unsigned long goes_on(const atomic_ulong *counter, unsigned long *was)
{
	unsigned long now = atomic_load(counter), more = now - *was;

	*was = now;
	return more;
}

/* Both must go on until there were enough registrations. */
static void check_progress(struct peer *puncher)
{
	unsigned long holes = 0, registrations = 0;
	int idle = 0;

	while (atomic_load(&progress->registrations) < REGISTRATIONS) {
		if (goes_on(&progress->holes, &holes) &&
		    goes_on(&progress->registrations, &registrations))
			idle = 0;
		if (idle++ >= WITHIN_SECONDS) {
			int pid = atomic_load(&progress->registers);

			print_error("after %lu holes and %lu registrations nobody goes on\n",
				    holes, registrations);
			print_stacks(puncher->pid);
			if (pid) {
				print_stacks(pid);
				kill(pid, SIGKILL);
			}
			kill(puncher->pid, SIGKILL);
			sleep(2);
			print_error("2 s after SIGKILL: %c and %c\n",
				    state_of(puncher->pid), state_of(pid));
			fail();
		}
		sleep(1);
	}
}

static void holes_and_notifiers(struct fixture *f)
{
	struct peer *both, *puncher;
	int fd = make_file(MEMFD, FILE_PAGES * PAGE, 0), viewfd;
	int other = make_file(MEMFD, PAGE, 0);
	int ctl = mv_open();

	progress = (void *)(shared + 1);
	memset(progress, 0, sizeof(*progress));
	atomic_store(&shared->stop, 0);
	both = peer_spawn();
	puncher = peer_spawn();
	EXPECT_OK(mv_set_size(ctl, PAGES * PAGE));
	EXPECT_OK(mv_map(ctl, fd, 0, PAGES * PAGE, 0, RW));
	viewfd = (int)EXPECT_OK(mv_viewfd(ctl));

	EXPECT_CALL(both, op_lay_out, peer_send_fd(both, fd),
		    peer_send_fd(both, viewfd), (long)f->tc->param);
	START(both, op_register, peer_send_fd(both, other));
	START(puncher, op_punch, peer_send_fd(puncher, fd));
	check_progress(puncher);
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(both, "registers notifiers"));
	EXPECT_VALUE(0, FINISH(puncher, "makes holes"));
	close(viewfd);
	close(ctl);
	close(other);
	close(fd);
}

static const struct test_case cases[] = {
	CASE_VARIANT(holes_and_notifiers, "no_view", NO_VIEW),
	CASE_VARIANT(holes_and_notifiers, "view_first", VIEW_FIRST),
	CASE_VARIANT(holes_and_notifiers, "file_first", FILE_FIRST),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "deadlock", cases);
}
