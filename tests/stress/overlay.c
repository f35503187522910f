// SPDX-License-Identifier: GPL-2.0
/*
 * Files of an overlay that are copied up while they are lent: the inode stays, and
 * the file below changes. Peers go on, and so does the end of it all.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

#define PLACE	"/tmp/stress-overlay"
#define SIZE	(16 * PAGE)

static noreturn void reader(const struct own *own)
{
	volatile char *at = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, own->viewfd, 0);

	if (at == MAP_FAILED)
		fail("mapping a view of an overlay", errno);
	for (;;) {
		for (size_t i = 0; i < SIZE; i += PAGE) {
			now_doing("access to a file of an overlay");
			(void)at[i];
		}
	}
}

static void lend_file(struct own *own, int flags, unsigned int rights)
{
	int err;

	now_doing("open in an overlay");
	own->file = open(PLACE "/merged/file", flags | O_CLOEXEC);
	if (own->file < 0)
		fail("opening a file of an overlay", errno);
	now_doing("replace by a file of an overlay");
	err = memview_replace(own->view, 0, own->file, 0, SIZE, rights);
	if (err)
		fail("lending a file of an overlay", -err);
	close(own->file);
	now_resting();
}

static noreturn void copy_up_once(void)
{
	struct own own = { .size = SIZE };
	int err = memview_open(&own.view);
	pid_t pid;

	if (!err)
		err = memview_set_size(own.view, SIZE);
	if (err)
		fail("a view of an overlay", -err);
	lend_file(&own, O_RDONLY, MEMVIEW_READ);
	own.viewfd = memview_view_fd(own.view);
	pid = start();
	if (!pid)
		reader(&own);
	nap(20);
	/* This one copies it. */
	lend_file(&own, O_RDWR, READ_WRITE);
	nap(20);
	kill_child(pid, "who reads a file of an overlay");
	now_doing("close of a view of an overlay");
	close(own.viewfd);
	memview_close(own.view);
	count_add(N_COPIED_UP, 1);
	count_flush();
	_exit(STATUS_OK);
}

/* In a mount namespace of its own. False where there is no overlayfs. */
static bool make_place(void)
{
	int fd;

	if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return false;
	mkdir(PLACE, 0700);
	if (mount("tmpfs", PLACE, "tmpfs", 0, NULL) || mkdir(PLACE "/lower", 0700) ||
	    mkdir(PLACE "/merged", 0700))
		return false;
	fd = open(PLACE "/lower/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd >= 0 && !fallocate(fd, 0, 0, SIZE) && !close(fd);
}

static bool mount_overlay(void)
{
	return !mkdir(PLACE "/up", 0700) && !mkdir(PLACE "/up/upper", 0700) &&
	       !mkdir(PLACE "/up/work", 0700) &&
	       !mount("overlay", PLACE "/merged", "overlay", 0,
		      "lowerdir=" PLACE "/lower,upperdir=" PLACE "/up/upper,"
		      "workdir=" PLACE "/up/work");
}

static void unmount_overlay(void)
{
	umount2(PLACE "/merged", MNT_DETACH);
	unlink(PLACE "/up/upper/file");
	rmdir(PLACE "/up/work/work");
	rmdir(PLACE "/up/work/index");
	rmdir(PLACE "/up/work");
	rmdir(PLACE "/up/upper");
	rmdir(PLACE "/up");
}

noreturn void overlay_run(void)
{
	bool can = make_place();

	while (can && run_goes_on()) {
		pid_t pid;

		if (!mount_overlay())
			break;
		pid = start();
		if (!pid)
			copy_up_once();
		wait_for_child(pid, "who lends a file of an overlay");
		unmount_overlay();
		nap(100);
	}
	_exit(STATUS_OK);
}
