// SPDX-License-Identifier: GPL-2.0
/*
 * msync(2) and fsync(2) of a view: the files that its ranges map are synced as far
 * as it shows them, and nobody waits for that but who asked. And what a file system
 * says that cannot go on.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef FS_IOC_SHUTDOWN
#define FS_IOC_SHUTDOWN	_IOR('X', 125, __u32)
#endif
#define NO_FLUSH	2	/* what is in the log stays there */

#define NR 16UL

static long op_fsync(const long *a)
{
	return fsync((int)a[0]);
}

static long op_fdatasync(const long *a)
{
	return fdatasync((int)a[0]);
}

/* Address, length, flags */
static long op_msync(const long *a)
{
	return msync((void *)a[0], a[1], (int)a[2]);
}

/* Has the page of the file a place on the disk? It has none before it is written. */
static bool on_disk(int fd, unsigned long page)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extent;
	} arg = { .map = {
		.fm_start = page * PAGE, .fm_length = PAGE, .fm_extent_count = 1,
	} };

	EXPECT_OK(ioctl(fd, FS_IOC_FIEMAP, &arg));
	return arg.map.fm_mapped_extents &&
	       !(arg.extent.fe_flags & (FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNWRITTEN));
}

static unsigned long nr_on_disk(int fd, unsigned long first, unsigned long nr)
{
	unsigned long n = 0;

	for (unsigned long i = 0; i < nr; i++)
		n += on_disk(fd, first + i);
	return n;
}

#define FLUSHER "/proc/sys/vm/dirty_writeback_centisecs"

/* The kernel writes what is dirty in its own time, too: not now. */
static long stop_flusher(void)
{
	long was = get_number(FLUSHER);

	if (!put_text(FLUSHER, "0"))
		SKIP("%s: %s", FLUSHER, strerror(errno));
	return was;
}

static void start_flusher(long was)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", was);
	put_text(FLUSHER, text);
}

/* As they do of a file of any kind, with holes and without anything. */
static void flushes_succeed(struct fixture *f)
{
	static const int ways[] = { MS_ASYNC, MS_SYNC, MS_SYNC | MS_INVALIDATE };

	for (int round = 0; round < 3; round++) {
		if (round == 1)
			map_pages(f, 0, 0, 4, RW);
		if (round == 2)
			map_pages(f, 8, 8, 4, R);
		if (round)
			WRITES(f, 1, WORD(1));
		for (int i = 0; i < 3; i++)
			EXPECT_CALL(f->peer, op_msync, f->view, NR * PAGE, ways[i]);
		EXPECT_CALL(f->peer, op_fsync, f->peer_viewfd);
		EXPECT_CALL(f->peer, op_fdatasync, f->peer_viewfd);
	}
	EXPECT_OK(fsync(EXPECT_OK(mv_viewfd_rights(f->ctl, R))));
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_CALL(f->peer, op_msync, f->view, NR * PAGE, MS_SYNC);
	EXPECT_CALL(f->peer, op_fsync, f->peer_viewfd);
}

/* And nothing that the view does not show, or that was not asked for. */
static void what_a_peer_wrote_is_written(struct fixture *f)
{
	int file = backing_create(f->backing, 8 * NR * PAGE);
	bool exact = f->backing == EXT4;	/* others write what is near, too */
	char block[PAGE] = "not lent";
	long was = stop_flusher();

	EXPECT_OK(mv_map(f->ctl, file, NR * PAGE, NR * PAGE, 0, RW));
	for (unsigned long i = 0; i < NR; i++)
		WRITES(f, i, WORD(i));
	assert_int_equal(pwrite(file, block, PAGE, 4 * NR * PAGE), PAGE);
	assert_int_equal(pwrite(file, block, PAGE, 0), PAGE);
	assert_int_equal(nr_on_disk(file, 0, 8 * NR), 0);

	EXPECT_CALL(f->peer, op_msync, AT(f, 4), 2 * PAGE, MS_SYNC);
	assert_int_equal(nr_on_disk(file, NR + 4, 2), 2);
	if (exact)
		assert_int_equal(nr_on_disk(file, 0, 8 * NR), 2);
	EXPECT_CALL(f->peer, op_fsync, f->peer_viewfd);
	assert_int_equal(nr_on_disk(file, NR, NR), NR);
	if (exact)
		assert_int_equal(nr_on_disk(file, 0, 8 * NR), NR);
	EXPECT_OK(fsync(file));
	assert_true(on_disk(file, 0));
	start_flusher(was);
}

/* More than are looked at in one go, in an order of their own. */
static void each_of_many_ranges_is_written(struct fixture *f)
{
	const unsigned long nr = 200;
	int file = backing_create(f->backing, 2 * nr * PAGE);
	long was = stop_flusher();

	for (unsigned long i = 0; i < nr; i++) {
		/* Memory between them, which is passed over. */
		if (i % 3)
			EXPECT_OK(mv_map(f->ctl, file, i * 7 % nr * 2 * PAGE, PAGE, i * PAGE,
					 RW));
		else
			EXPECT_OK(mv_map(f->ctl, make_file(MEMFD, f->file_size, 0), 0, PAGE,
					 i * PAGE, RW));
	}
	for (unsigned long i = 0; i < nr; i++)
		WRITES(f, i, WORD(i));
	assert_int_equal(nr_on_disk(file, 0, 2 * nr), 0);
	EXPECT_CALL(f->peer, op_fsync, f->peer_viewfd);
	for (unsigned long i = 0; i < nr; i++)
		if (i % 3)
			assert_true(on_disk(file, i * 7 % nr * 2));
	assert_int_equal(nr_on_disk(file, 0, 2 * nr), nr - (nr + 2) / 3);
	start_flusher(was);
}

/* ---- file systems of our own, in files ---- */

#define OURS		"/tmp/memview-sync"
#define IMAGE		"image"

/* An ext4 in @lower/image, mounted on OURS. */
static void mount_ours(const char *lower, const char *options)
{
	char command[512];

	snprintf(command, sizeof(command), "mkdir -p " OURS " && "
		 "truncate -s 32M %s/" IMAGE " && "
		 "mkfs.ext4 -q -F -b 4096 %s %s/" IMAGE " && "
		 "modprobe -q -a loop ext4; mount -t ext4 -o loop %s/" IMAGE " " OURS,
		 lower, options, lower, lower);
	fflush(stdout);
	if (system(command))
		SKIP("cannot make and mount an ext4");
}

static void umount_ours(const char *lower)
{
	char path[256];

	assert_true(EVENTUALLY(!umount(OURS) || errno != EBUSY));
	snprintf(path, sizeof(path), "%s/" IMAGE, lower);
	unlink(path);
}

static int open_ours(size_t size)
{
	int fd = EXPECT_OK(open(OURS, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));

	EXPECT_OK(ftruncate(fd, size));
	return fd;
}

static void end_sources(struct fixture *f)
{
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE));
}

/* The one that is dead comes first; the others are written all the same. */
static void first_error_is_told_and_the_rest_is_written(struct fixture *f)
{
	int good = backing_create(f->backing, NR * PAGE), dead;
	__u32 how = NO_FLUSH;
	long was;

	mount_ours(scratch_dir(), "");
	dead = open_ours(NR * PAGE);
	was = stop_flusher();
	EXPECT_OK(mv_map(f->ctl, dead, 0, PAGE, 0, RW));
	EXPECT_OK(mv_map(f->ctl, good, 0, 2 * PAGE, PAGE, RW));
	WRITES(f, 0, 1);
	WRITES(f, 1, 1);
	WRITES(f, 2, 1);
	EXPECT_OK(ioctl(dead, FS_IOC_SHUTDOWN, &how));
	EXPECT_ERRNO(EIO, fsync(dead));
	EXPECT_CALL_ERRNO(EIO, f->peer, op_fsync, f->peer_viewfd);
	assert_int_equal(nr_on_disk(good, 0, 2), 2);
	EXPECT_CALL(f->peer, op_msync, AT(f, 1), 2 * PAGE, MS_SYNC);
	EXPECT_CALL_ERRNO(EIO, f->peer, op_msync, f->view, PAGE, MS_SYNC);

	/* What such a file system says of mapping it is no other address space. */
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, dead, 8 * PAGE), MAP_FAILED);
	assert_int_equal(errno, EIO);
	EXPECT_OK(mv_unmap(f->ctl, 0, PAGE, NULL));
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE));
	EXPECT_REFUSED(f->ctl, EREMOTEIO, mv_map(f->ctl, dead, 0, PAGE, 0, R));
	start_flusher(was);
	end_sources(f);
	close(dead);
	umount_ours(scratch_dir());
}

/* What the disk below says may come through. */
static void fails_to_write(struct outcome o)
{
	assert_int_equal(o.ret, -1);
	assert_true(o.err == EIO || o.err == ENOSPC);
}

/* It is the controller's open file that an error of writing back is told to. */
static void controller_learns_of_an_error_that_a_peer_was_told(struct fixture *f)
{
	char lower[128];
	long was;
	int fd;

	snprintf(lower, sizeof(lower), "%s/small", scratch_dir());
	assert_true(!mkdir(lower, 0700) || errno == EEXIST);
	EXPECT_OK(mount("small", lower, "tmpfs", 0, "size=4M"));
	/* Without a journal, nothing but the data can fail. */
	mount_ours(lower, "-O ^has_journal");
	fd = open_ours(2048 * PAGE);
	was = stop_flusher();
	EXPECT_OK(mv_map(f->ctl, fd, 0, 2048 * PAGE, 0, RW));
	for (unsigned long i = 0; i < 2048; i++)
		WRITES(f, i, WORD(i));
	fails_to_write(CALL(f->peer, op_fsync, f->peer_viewfd));
	/* Until then, whoever asks is told. */
	fails_to_write(CALL(f->peer, op_fsync, f->peer_viewfd));
	fails_to_write(PROBE(op_fsync, fd));
	/* What the disk is still to fail in is told, too, and then that is all. */
	assert_true(EVENTUALLY(!fsync(fd)));
	assert_true(EVENTUALLY(!CALL(f->peer, op_fsync, f->peer_viewfd).ret));
	start_flusher(was);
	end_sources(f);
	close(fd);
	umount_ours(lower);
	umount2(lower, MNT_DETACH);
}

/*
 * A file system in a file of one that is frozen: what is dirty can be written only
 * after the thaw. Meanwhile everything else goes on.
 */
static void waiting_holds_up_nobody(struct fixture *f)
{
	const char *lower = "/tmp/memview-tests/ext4";
	struct peer *thawer = peer_spawn(), *other;
	int thaw_fd = peer_send_fd(thawer, f->file), fd;
	unsigned long view;
	bool waits;
	long was;

	mount_ours(lower, "-O ^has_journal");
	fd = open_ours(NR * PAGE);
	was = stop_flusher();
	EXPECT_OK(mv_map(f->ctl, fd, 0, 4 * PAGE, 0, RW));
	map_pages(f, 8, 0, 4, RW);
	WRITES(f, 0, WORD(0));
	other = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &view);
	drop_old_sources();
	EXPECT_OK(ioctl(f->file, FIFREEZE, 0));
	START(thawer, op_thaw, thaw_fd);
	START(f->peer, op_fsync, f->peer_viewfd);
	waits = EVENTUALLY(state_of(f->peer->pid) == 'D' || !still_busy(f->peer));
	waits = still_busy(f->peer);
	/* Faults, the table, another fsync of what is not stuck, and the end of it. */
	if (waits) {
		EXPECT_VALUE(WORD(0), CALL(other, op_read, view));
		EXPECT_CALL(other, op_msync, view + 8 * PAGE, PAGE, MS_ASYNC);
		assert_int_equal(unmap_pages(f, 0, 2), 2);
		protect_pages(f, 2, 1, R);
		EXPECT_SIGBUS(view, CALL(other, op_read, view));
		EXPECT_OK(mv_revoke(f->ctl));
		EXPECT_SIGBUS(view + 8 * PAGE, CALL(other, op_read, view + 8 * PAGE));
		waits = still_busy(f->peer);
	}
	atomic_store(&shared->ready, 1);
	EXPECT_VALUE(1, FINISH(thawer, "thawing: something waited for the file system"));
	assert_true(waits);
	EXPECT_VALUE(0, FINISH(f->peer, "fsync"));
	start_flusher(was);
	end_sources(f);
	close(fd);
	umount_ours(lower);
}

static const struct test_case cases[] = {
	CASE_ON(flushes_succeed, ON_ALL),
	CASE_ON(what_a_peer_wrote_is_written, ON_DISK),
	CASE_ON(each_of_many_ranges_is_written, ON(EXT4)),
	CASE_ON(first_error_is_told_and_the_rest_is_written, ON(EXT4)),
	CASE(controller_learns_of_an_error_that_a_peer_was_told),
	CASE_ON(waiting_holds_up_nobody, ON(EXT4)),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "sync", cases);
}
