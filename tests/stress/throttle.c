// SPDX-License-Identifier: GPL-2.0
/*
 * A peer, or the controller, in a cgroup that is throttled (memory.high) and now
 * and then frozen. It may wait. Another peer of the same view, who takes the view
 * from it, and the controller if it is not in there, must not.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

#define GROUP	"/sys/fs/cgroup/stress"
#define SIZE	(4UL << 20)
/* Of the view of a controller in there: some for it, and the rest for other memory. */
#define FEW	(64 * PAGE)

static bool set(const char *file, const char *value)
{
	char path[64];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", GROUP, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Uses the view for ever, and more memory than the cgroup likes. */
static noreturn void slow_peer(const struct own *own)
{
	volatile char *at;

	if (!set("cgroup.procs", "0"))
		fail("entering a cgroup", errno);
	at = map_own(own);
	for (;;) {
		char *more = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		for (size_t i = 0; i < SIZE; i += PAGE)
			at[i]++;
		if (more != MAP_FAILED)
			munmap(more, SIZE);
	}
}

static noreturn void quick_peer(const struct own *own)
{
	volatile char *at = map_own(own);

	for (;;) {
		now_doing("mmap beside a throttled process");
		munmap(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			    MAP_ANONYMOUS | MAP_POPULATE, -1, 0), PAGE);
		touch_all("access beside a throttled process", at, own->size);
	}
}

/* Replaces everything by the same, which takes it from peers. */
static void change_own(const struct own *own)
{
	now_doing("replace beside a throttled peer");
	memview_replace(own->view, 0, own->file, 0, SIZE, READ_WRITE);
	now_doing("hole beside a throttled peer");
	fallocate(own->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE / 2);
	now_resting();
}

static void round_of_a_peer(void)
{
	pid_t slow, quick;
	struct own own;

	lend_own(&own, SIZE);
	slow = start();
	if (!slow)
		slow_peer(&own);
	quick = start();
	if (!quick)
		quick_peer(&own);
	for (int i = 0; i < 40; i++) {
		change_own(&own);
		nap(10);
		if (i == 20)
			set("cgroup.freeze", "1");
	}
	/* Who is frozen can be killed. */
	kill_child(slow, "a throttled and frozen peer");
	set("cgroup.freeze", "0");
	kill_child(quick, "a peer beside a throttled one");
	give_up_own(&own);
	count_add(N_THROTTLED, 1);
	count_flush();
}

/* What others may have of a controller: the numbers of its fds. */
struct fds {
	int control;
	int view;
};

/* Lends memory for ever, and uses more than the cgroup likes. */
static noreturn void slow_controller(int to_parent)
{
	struct own own;
	struct fds fds;

	if (!set("cgroup.procs", "0"))
		fail("entering a cgroup", errno);
	lend_own(&own, FEW);
	/* There it is, so that nobody else has to get it. */
	if (fallocate(own.file, 0, 0, FEW))
		fail("fallocate", errno);
	fds.control = memview_get_fd(own.view);
	fds.view = own.viewfd;
	if (write(to_parent, &fds, sizeof(fds)) != sizeof(fds))
		fail("pipe", errno);
	for (;;) {
		char *more = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		memview_replace(own.view, 0, own.file, 0, FEW, READ_WRITE);
		if (more != MAP_FAILED)
			munmap(more, SIZE);
	}
}

static int take_fd(int pidfd, int fd)
{
	int own = syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (own < 0)
		fail("pidfd_getfd", errno);
	return own;
}

/* Its control fd takes the place of another. */
static void take_own(struct own *own, pid_t pid, const struct fds *fds)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0), control;
	int err = memview_open(&own->view);

	if (err || pidfd < 0)
		fail("a view of a throttled controller", err ? -err : errno);
	own->size = FEW;
	own->viewfd = take_fd(pidfd, fds->view);
	control = take_fd(pidfd, fds->control);
	if (dup3(control, memview_get_fd(own->view), O_CLOEXEC) < 0)
		fail("dup3", errno);
	close(control);
	close(pidfd);
}

static void round_of_a_controller(bool revoke)
{
	struct own own = { .file = -1 };
	pid_t slow, quick;
	struct fds fds;
	int ready[2];

	if (pipe2(ready, O_CLOEXEC))
		fail("pipe2", errno);
	slow = start();
	if (!slow)
		slow_controller(ready[1]);
	close(ready[1]);
	if (read(ready[0], &fds, sizeof(fds)) != sizeof(fds))
		fail("a throttled controller did not begin", 0);
	close(ready[0]);
	take_own(&own, slow, &fds);
	quick = start();
	if (!quick)
		quick_peer(&own);
	nap(300);
	set("cgroup.freeze", "1");
	nap(200);
	if (revoke) {
		now_doing("revoke of a view of a frozen controller");
		memview_revoke(own.view);
		now_resting();
	}
	kill_child(slow, "a throttled and frozen controller");
	set("cgroup.freeze", "0");
	kill_child(quick, "a peer of a throttled controller");
	now_doing("close of a view of a throttled controller");
	close(own.viewfd);
	memview_close(own.view);
	now_resting();
	count_add(N_THROTTLED_CONTROLLER, 1);
	count_flush();
}

noreturn void throttle_run(void)
{
	unsigned int round = 0;

	/* Another run may have left it. */
	if ((mkdir(GROUP, 0755) && errno != EEXIST) || !set("memory.high", "2M"))
		_exit(STATUS_OK);
	while (run_goes_on()) {
		round_of_a_peer();
		round_of_a_controller(round++ % 2);
	}
	rmdir(GROUP);
	_exit(STATUS_OK);
}
