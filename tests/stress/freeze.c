// SPDX-License-Identifier: GPL-2.0
/*
 * A file system that is frozen while peers write to a file of it: they wait in
 * page_mkwrite() until it is thawed, and cannot be killed, as in a plain mapping.
 * Who takes the file from them, and who has others of its files, does not wait.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

#define PLACE	"/tmp/stress-freeze"
#define IMAGE	PLACE ".image"
#define SIZE	(16 * PAGE)

static int open_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	/* Clean pages: each of them asks before it is written to. */
	if (fd < 0 || fallocate(fd, 0, 0, SIZE) || fsync(fd))
		fail("a file to be frozen", errno);
	return fd;
}

/* Nothing of it may keep the view alive, or the parent waiting. */
static void leave(const struct own *own, int to_parent)
{
	close(memview_get_fd(own->view));
	close(to_parent);
}

static noreturn void slow_peer(const struct own *own, int to_parent)
{
	volatile char *at = map_own(own);

	leave(own, to_parent);
	for (size_t i = 0; i < SIZE; i += PAGE)
		at[i]++;
	_exit(STATUS_OK);
}

/* Has a view of its own, and reads another file that is frozen. */
static noreturn void beside(const struct own *frozen, int to_parent)
{
	struct own own;
	volatile char *at;
	int fd = open(PLACE "/other", O_RDWR | O_CLOEXEC);

	leave(frozen, to_parent);
	lend_own(&own, SIZE);
	at = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, own.viewfd, 0);
	if (fd < 0 || at == MAP_FAILED)
		fail("mapping beside a frozen file", errno);
	for (;;) {
		int err;

		now_doing("replace by a frozen file");
		err = memview_replace(own.view, 0, fd, 0, SIZE / 2,
				      READ_WRITE | MEMVIEW_LAZY_WRITE);
		if (err)
			fail("lending a frozen file", -err);
		for (size_t i = 0; i < SIZE; i += PAGE) {
			now_doing("read beside a frozen file");
			(void)at[i];
		}
		now_doing("unmap of a frozen file");
		memview_unmap(own.view, 0, SIZE / 2, NULL);
		now_resting();
		nap(1);
	}
}

static void take_away(const struct own *own, unsigned int how)
{
	switch (how) {
	case 0:
		now_doing("unmap of what waits for a frozen file system");
		memview_unmap(own->view, 0, SIZE / 2, NULL);
		break;
	case 1:
		now_doing("revoke of what waits for a frozen file system");
		memview_revoke(own->view);
		break;
	default:
		now_doing("close of what waits for a frozen file system");
		memview_close(own->view);
	}
	now_resting();
}

/* The byte says that nothing waits any more but who is to. */
static noreturn void freeze_once(unsigned int how, int to_parent)
{
	struct own own;
	pid_t slow, other;
	int fd = open_file(PLACE "/file"), err;

	close(open_file(PLACE "/other"));
	lend_own(&own, SIZE);
	err = memview_replace(own.view, 0, fd, 0, SIZE, READ_WRITE | MEMVIEW_LAZY_WRITE);
	if (err)
		fail("lending a file to be frozen", -err);
	if (ioctl(fd, FIFREEZE, 0))
		fail("FIFREEZE", errno);
	other = start();
	if (!other)
		beside(&own, to_parent);
	slow = start();
	if (!slow)
		slow_peer(&own, to_parent);
	nap(200);
	/* It has nothing to write to if it has been this slow. */
	if (!waitpid(slow, NULL, WNOHANG))
		count_add(N_FROZEN, 1);
	take_away(&own, how);
	nap(20);
	kill_child(other, "who has another file of a frozen file system");
	if (write(to_parent, "", 1) != 1)
		fail("pipe", errno);
	close(to_parent);
	/* Thawed, it writes or gets SIGBUS. */
	wait_for_child(slow, "who has written to a frozen file system");
	count_flush();
	_exit(STATUS_OK);
}

/* Thaws when that is done, or the other has ended. */
static void thaw_after(int done)
{
	struct pollfd event = { .fd = done, .events = POLLIN };
	int fs = open(PLACE, O_RDONLY | O_CLOEXEC);

	poll(&event, 1, PATIENCE * 1000);
	if (fs < 0 || (ioctl(fs, FITHAW, 0) && errno != EINVAL))
		fail("FITHAW", errno);
	close(fs);
}

static bool is_mounted;

/* What would take long beside all that goes on later. */
void freeze_prepare(void)
{
	is_mounted = !system("modprobe -q -a loop ext4; mkdir -p " PLACE " && "
			     "truncate -s 16M " IMAGE " && "
			     "mkfs.ext4 -q -F -b 4096 " IMAGE " && "
			     "mount -t ext4 -o loop " IMAGE " " PLACE);
}

void freeze_end(void)
{
	int fs = is_mounted ? open(PLACE, O_RDONLY | O_CLOEXEC) : -1;

	/* As a rule it is not frozen. */
	if (fs >= 0) {
		ioctl(fs, FITHAW, 0);
		close(fs);
	}
}

noreturn void freeze_run(void)
{
	/* There may be no ext4, or no loop. */
	for (unsigned int i = 0; is_mounted && run_goes_on(); i++) {
		int done[2];
		pid_t pid;

		if (pipe2(done, O_CLOEXEC))
			fail("pipe2", errno);
		pid = start();
		if (!pid) {
			close(done[0]);
			freeze_once(i % 3, done[1]);
		}
		close(done[1]);
		thaw_after(done[0]);
		close(done[0]);
		wait_for_child(pid, "who lends a frozen file");
		nap(100);
	}
	umount2(PLACE, MNT_DETACH);
	unlink(IMAGE);
	_exit(STATUS_OK);
}
