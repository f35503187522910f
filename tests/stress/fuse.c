// SPDX-License-Identifier: GPL-2.0
/*
 * A FUSE file system that does not answer, or only after a while, when a page is
 * read. Who reads it waits, as in a plain mapping. The rest of the view, and who
 * takes the file away, does not.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

#define PLACE	"/tmp/stress-fuse"
#define FILE_AT	PLACE "/file"
#define SIZE	(32 * PAGE)	/* of the view: the first half is of the file */

/* ---- the server ---- */

static void reply(int fuse, const struct fuse_in_header *in, int err, void *data,
		  size_t len)
{
	struct fuse_out_header header = {
		.len = sizeof(header) + len, .error = -err, .unique = in->unique,
	};
	struct iovec iov[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = data, .iov_len = len },
	};

	/* The request may be gone. */
	if (writev(fuse, iov, len ? 2 : 1) < 0)
		return;
}

static void reply_read(int fuse, const struct fuse_in_header *in)
{
	static char zeroes[SIZE];
	const struct fuse_read_in *read_in = (const void *)(in + 1);
	size_t left = read_in->offset < SIZE / 2 ? SIZE / 2 - read_in->offset : 0;

	reply(fuse, in, 0, zeroes, read_in->size < left ? read_in->size : left);
}

/* Milliseconds that a read takes; 0: for ever. */
static void serve_one(int fuse, const struct fuse_in_header *in, unsigned int stall)
{
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = PAGE,
	};
	struct fuse_attr_out attr = {
		.attr_valid = 1000,
		.attr = { .ino = FUSE_ROOT_ID, .size = SIZE / 2,
			  .mode = S_IFREG | 0600, .nlink = 1 },
	};
	struct fuse_open_out open_out = { 0 };

	switch (in->opcode) {
	case FUSE_INIT:
		return reply(fuse, in, 0, &init, sizeof(init));
	case FUSE_GETATTR:
		return reply(fuse, in, 0, &attr, sizeof(attr));
	case FUSE_OPEN:
		return reply(fuse, in, 0, &open_out, sizeof(open_out));
	case FUSE_READ:
		nap(stall);
		if (stall)
			reply_read(fuse, in);
		return;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	case FUSE_RELEASE:
		return reply(fuse, in, 0, NULL, 0);
	default:
		return reply(fuse, in, ENOSYS, NULL, 0);
	}
}

static noreturn void serve(unsigned int stall, int mounted)
{
	static char request[64 << 10];
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char text[80];

	snprintf(text, sizeof(text), "fd=%d,rootmode=100000,user_id=0,group_id=0", fuse);
	if (fuse < 0 || mount("stress", FILE_AT, "fuse", 0, text))
		fail("mounting a FUSE", errno);
	if (write(mounted, "", 1) != 1)
		fail("pipe", errno);
	close(mounted);
	while (read(fuse, request, sizeof(request)) > 0)
		serve_one(fuse, (const void *)request, stall);
	_exit(STATUS_OK);
}

/* ---- who lends it ---- */

/* Nothing of it may keep the view alive. */
static void leave(const struct own *own)
{
	close(memview_get_fd(own->view));
}

static noreturn void slow_peer(const struct own *own)
{
	volatile char *at = map_own(own);

	leave(own);
	(void)at[0];
	_exit(STATUS_OK);
}

static noreturn void quick_peer(const struct own *own)
{
	volatile char *at = map_own(own);

	leave(own);
	for (;;)
		touch_all("access beside a FUSE that stalls", at + SIZE / 2, SIZE / 2);
}

static void change_rest(const struct own *own)
{
	now_doing("replace beside a FUSE that stalls");
	memview_replace(own->view, SIZE / 2, own->file, SIZE / 2, SIZE / 2, READ_WRITE);
	now_doing("hole beside a FUSE that stalls");
	fallocate(own->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, SIZE / 2,
		  SIZE / 2);
	now_resting();
}

static void take_away(const struct own *own, unsigned int how)
{
	switch (how) {
	case 0:
		now_doing("unmap of what waits for FUSE");
		memview_unmap(own->view, 0, SIZE / 2, NULL);
		break;
	case 1:
		now_doing("revoke of what waits for FUSE");
		memview_revoke(own->view);
		break;
	default:
		now_doing("close of what waits for FUSE");
		memview_close(own->view);
	}
	now_resting();
}

static noreturn void lend_stalling(unsigned int how, pid_t server)
{
	struct own own;
	pid_t slow, quick;
	int fd = open(FILE_AT, O_RDWR | O_CLOEXEC), err;
	struct stat stat;

	/* The kernel asks for the size only when somebody does. */
	if (fd < 0 || fstat(fd, &stat) || stat.st_size != SIZE / 2)
		fail("opening a file of FUSE", errno);
	lend_own(&own, SIZE);
	err = memview_replace(own.view, 0, fd, 0, SIZE / 2,
			      READ_WRITE | MEMVIEW_LAZY_WRITE);
	if (err)
		fail("lending a file of FUSE", -err);
	slow = start();
	if (!slow)
		slow_peer(&own);
	quick = start();
	if (!quick)
		quick_peer(&own);
	for (int i = 0; i < 10; i++) {
		nap(10);
		change_rest(&own);
	}
	if (!waitpid(slow, NULL, WNOHANG))
		count_add(N_STALLED, 1);
	take_away(&own, how);
	kill_child(quick, "a peer beside a FUSE that stalls");
	/* Nobody answers any more. */
	kill(server, SIGKILL);
	kill_child(slow, "who has read from a FUSE that is gone");
	count_flush();
	_exit(STATUS_OK);
}

static void stall_once(unsigned int how, unsigned int stall)
{
	pid_t server, pid;
	int mounted[2];
	char c;

	if (pipe2(mounted, O_CLOEXEC))
		fail("pipe2", errno);
	server = start();
	if (!server)
		serve(stall, mounted[1]);
	close(mounted[1]);
	if (read(mounted[0], &c, 1) != 1)
		_exit(STATUS_OK);
	close(mounted[0]);
	pid = start();
	if (!pid)
		lend_stalling(how, server);
	wait_for_child(pid, "who lends a file of FUSE");
	kill_child(server, "a FUSE server");
	umount2(FILE_AT, MNT_DETACH);
}

void fuse_prepare(void)
{
	/* Built in, or not there at all. */
	if (access("/dev/fuse", F_OK) && system("modprobe -q fuse"))
		return;
}

/* In a mount namespace of its own. False where there is no FUSE. */
static bool make_place(void)
{
	int fd;

	if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return false;
	mkdir(PLACE, 0700);
	if (mount("tmpfs", PLACE, "tmpfs", 0, NULL))
		return false;
	fd = open(FILE_AT, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd >= 0 && !close(fd) && !access("/dev/fuse", F_OK);
}

noreturn void fuse_run(void)
{
	bool can = make_place();

	for (unsigned int i = 0; can && run_goes_on(); i++) {
		stall_once(i % 3, i % 2 ? 300 : 0);
		nap(100);
	}
	_exit(STATUS_OK);
}
