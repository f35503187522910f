// SPDX-License-Identifier: GPL-2.0
/*
 * A peer, or the controller, in a cgroup that is throttled (memory.high) and now
 * and then frozen. It may wait. Another peer of the same view, and the
 * controller if it is not in there, must not.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

#define GROUP	"/sys/fs/cgroup/stress"
#define SIZE	(4UL << 20)

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
		now_doing("mmap beside a throttled peer");
		munmap(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			    MAP_ANONYMOUS | MAP_POPULATE, -1, 0), PAGE);
		touch_all("access beside a throttled peer", at, SIZE);
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

static void one_round(void)
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

noreturn void throttle_run(void)
{
	/* Another run may have left it. */
	if ((mkdir(GROUP, 0755) && errno != EEXIST) || !set("memory.high", "2M"))
		_exit(STATUS_OK);
	while (run_goes_on())
		one_round();
	rmdir(GROUP);
	_exit(STATUS_OK);
}
