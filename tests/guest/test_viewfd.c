// SPDX-License-Identifier: GPL-2.0
/* What a view fd can do, and what it cannot. */
#include "common.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long module_users(void)
{
	FILE *file = fopen("/sys/module/memory_view/refcnt", "re");
	unsigned long users = 0;

	if (!file || fscanf(file, "%lu", &users) != 1)
		abort();
	fclose(file);
	return users;
}

static void fstat_tells_size_and_type(struct fixture *f)
{
	struct stat st;

	EXPECT_OK(fstat(f->viewfd, &st));
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_size, VIEW_PAGES * PAGE);
	assert_int_equal(st.st_blksize, PAGE);
	assert_int_equal(st.st_blocks, 0);
	EXPECT_OK(mv_set_size(f->ctl, 77 * PAGE));
	EXPECT_OK(fstat(f->viewfd, &st));
	assert_int_equal(st.st_size, 77 * PAGE);
}

static void every_view_has_an_inode_of_its_own(struct fixture *f)
{
	int other = EXPECT_OK(mv_open()), a = EXPECT_OK(mv_viewfd(f->ctl)),
	    b = EXPECT_OK(mv_viewfd(other));
	struct stat first, same, different;

	EXPECT_OK(fstat(f->viewfd, &first));
	EXPECT_OK(fstat(a, &same));
	EXPECT_OK(fstat(b, &different));
	assert_int_equal(first.st_ino, same.st_ino);
	assert_int_equal(first.st_dev, same.st_dev);
	assert_true(first.st_ino != different.st_ino || first.st_dev != different.st_dev);
}

static void lseek_finds_the_end(struct fixture *f)
{
	assert_int_equal(lseek(f->viewfd, 0, SEEK_END), VIEW_PAGES * PAGE);
	assert_int_equal(lseek(f->viewfd, 0, SEEK_CUR), VIEW_PAGES * PAGE);
	assert_int_equal(lseek(f->viewfd, 123, SEEK_SET), 123);
	EXPECT_ERRNO(EINVAL, lseek(f->viewfd, -1, SEEK_SET));
	EXPECT_OK(mv_set_size(f->ctl, PAGE));
	assert_int_equal(lseek(f->viewfd, 0, SEEK_END), PAGE);
}

static void view_fds_are_close_on_exec(struct fixture *f)
{
	int fd = EXPECT_OK(mv_viewfd_rights(f->ctl, R));

	assert_int_equal(fcntl(f->viewfd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void read_and_write_are_einval(struct fixture *f)
{
	char c[8] = { 0 };
	int fds[2];

	map_pages(f, 0, 0, 8, RW);
	EXPECT_ERRNO(EINVAL, read(f->viewfd, c, 8));
	EXPECT_ERRNO(EINVAL, write(f->viewfd, c, 8));
	/* The VFS may say ESPIPE before it looks for a way to read. */
	assert_int_equal(pread(f->viewfd, c, 8, PAGE), -1);
	assert_int_equal(pwrite(f->viewfd, c, 8, PAGE), -1);
	EXPECT_OK(pipe(fds));
	EXPECT_ERRNO(EINVAL, splice(f->viewfd, NULL, fds[1], NULL, 8, 0));
	assert_int_equal(file_word(f->file, 0), WORD(0));
}

static void truncate_is_eperm(struct fixture *f)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->viewfd);
	EXPECT_ERRNO(EPERM, ftruncate(f->viewfd, 0));
	EXPECT_ERRNO(EPERM, ftruncate(f->viewfd, 1UL << 30));
	EXPECT_ERRNO(EPERM, truncate(path, PAGE));
	EXPECT_OK(fstat(f->viewfd, &st));
	assert_int_equal(st.st_size, VIEW_PAGES * PAGE);
}

static void changing_attributes_is_eperm(struct fixture *f)
{
	struct timespec times[2] = { { 1, 0 }, { 1, 0 } };

	EXPECT_ERRNO(EPERM, fchmod(f->viewfd, 0777));
	EXPECT_ERRNO(EPERM, fchown(f->viewfd, 1, 1));
	EXPECT_ERRNO(EPERM, futimens(f->viewfd, times));
}

static void fallocate_is_refused(struct fixture *f)
{
	map_pages(f, 0, 0, 8, RW);
	EXPECT_ERRNO(EOPNOTSUPP, fallocate(f->viewfd, 0, 0, PAGE));
	EXPECT_ERRNO(EOPNOTSUPP, fallocate(f->viewfd,
			FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
	assert_int_equal(file_word(f->file, 0), WORD(0));
}

static void reopening_through_proc_is_enxio(struct fixture *f)
{
	static const int flags[] = { O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_TRUNC };
	int rdonly = EXPECT_OK(mv_viewfd_rights(f->ctl, R));

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		EXPECT_ERRNO(ENXIO, backing_reopen(f->viewfd, flags[i]));
		EXPECT_ERRNO(ENXIO, backing_reopen(rdonly, flags[i]));
	}
	assert_int_equal(lseek(f->viewfd, 0, SEEK_END), VIEW_PAGES * PAGE);
}

/*
 * A watch would keep the inode of a view that has gone, and once kept a worker of
 * the driver's waiting.
 */
static void watching_is_eacces(struct fixture *f)
{
	static const unsigned int marks[] = { 0, FAN_MARK_MOUNT, FAN_MARK_FILESYSTEM };
	int inotify = EXPECT_OK(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
	int fanotify = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC, 0);
	int fds[] = { f->viewfd, EXPECT_OK(mv_viewfd_rights(f->ctl, R)) };
	char path[64];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
		EXPECT_ERRNO(EACCES, inotify_add_watch(inotify, path, IN_ALL_EVENTS));
		EXPECT_ERRNO(EACCES, inotify_add_watch(inotify, path, IN_DELETE_SELF));
		for (int j = 0; fanotify >= 0 && j < 3; j++) {
			int by_path = fanotify_mark(fanotify, FAN_MARK_ADD | marks[j],
						    FAN_OPEN, AT_FDCWD, path);
			int err = errno;

			/* Of mounts like this, newer kernels say so before. */
			assert_int_equal(by_path, -1);
			assert_true(err == EACCES || (j && err == EINVAL));
			EXPECT_ERRNO(err, fanotify_mark(fanotify, FAN_MARK_ADD | marks[j],
							FAN_OPEN, fds[i], NULL));
		}
		/* What asks for the same right in order to tell is told as ever. */
		EXPECT_OK(access(path, R_OK | W_OK));
		EXPECT_ERRNO(EACCES, access(path, X_OK));
	}
	/* Control: others can be watched. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->file);
	EXPECT_OK(inotify_add_watch(inotify, path, IN_ALL_EVENTS));
	if (fanotify >= 0)
		EXPECT_OK(fanotify_mark(fanotify, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, path));
	close(inotify);
	close(fanotify);
}

/* It has the inode, whose code must be there as long. */
static void path_outlives_the_view_and_keeps_the_module(struct fixture *f)
{
	unsigned long users = module_users();
	int ctl = EXPECT_OK(mv_open()), viewfd = EXPECT_OK(mv_viewfd(ctl));
	int path = EXPECT_OK(backing_reopen(viewfd, O_PATH));
	struct stat st;

	(void)f;
	EXPECT_OK(mv_set_size(ctl, 3 * PAGE));
	close(ctl);
	close(viewfd);
	EXPECT_OK(fstat(path, &st));
	assert_int_equal(st.st_size, 3 * PAGE);
	EXPECT_ERRNO(ENXIO, backing_reopen(path, O_RDWR));
	EXPECT_ERRNO(EBADF, fsync(path));
	close(path);
	assert_true(EVENTUALLY(module_users() == users));
}

static void ioctls_are_enotty(struct fixture *f)
{
	static const unsigned long nr[] = {
		MEMVIEW_GET_INFO, MEMVIEW_SET_SIZE, MEMVIEW_MAP_FD, MEMVIEW_UNMAP_FD,
		MEMVIEW_PROTECT, MEMVIEW_GET_VIEWFD, MEMVIEW_GET_VIEWFD_RIGHTS,
		MEMVIEW_REVOKE, MEMVIEW_QUERY,
	};
	unsigned char arg[256] = { 0 };

	for (size_t i = 0; i < sizeof(nr) / sizeof(nr[0]); i++)
		EXPECT_REFUSED(f->ctl, ENOTTY, ioctl(f->viewfd, nr[i], arg));
}

static void map_private_is_einval(struct fixture *f)
{
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
	};
	int rdonly = EXPECT_OK(mv_viewfd_rights(f->ctl, R));

	for (int i = 0; i < 4; i++)
		EXPECT_CALL_ERRNO(EINVAL, f->peer, op_mmap, f->peer_viewfd, PAGE, prots[i], 0,
				  MAP_PRIVATE);
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, rdonly, 0), MAP_FAILED);
	assert_int_equal(errno, EINVAL);
}

static void fewer_rights_limit_mmap(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, EXPECT_OK(mv_viewfd_rights(f->ctl, R)));
	unsigned long addr;

	map_pages(f, 0, 0, 4, RWX);
	EXPECT_CALL_ERRNO(EACCES, f->peer, op_mmap, fd, PAGE, PROT_READ | PROT_WRITE, 0);
	EXPECT_CALL_ERRNO(EACCES, f->peer, op_mmap, fd, PAGE, PROT_WRITE, 0);
	EXPECT_CALL_ERRNO(EACCES, f->peer, op_mmap, fd, PAGE, PROT_READ | PROT_EXEC, 0);
	addr = EXPECT_CALL(f->peer, op_mmap, fd, PAGE, PROT_READ, 0);
	EXPECT_VALUE(WORD(0), CALL(f->peer, op_read, addr));
	EXPECT_SEGV(addr, CALL(f->peer, op_write, addr, 1));
}

static void fewer_rights_limit_mprotect(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, EXPECT_OK(mv_viewfd_rights(f->ctl, R)));
	unsigned long addr = EXPECT_CALL(f->peer, op_mmap, fd, PAGE, PROT_READ, 0);

	map_pages(f, 0, 0, 4, RWX);
	EXPECT_CALL_ERRNO(EACCES, f->peer, op_mprotect, addr, PAGE, PROT_READ | PROT_WRITE);
	EXPECT_CALL_ERRNO(EACCES, f->peer, op_mprotect, addr, PAGE, PROT_READ | PROT_EXEC);
	/* Nor with the page mapped. */
	EXPECT_VALUE(WORD(0), CALL(f->peer, op_read, addr));
	EXPECT_CALL_ERRNO(EACCES, f->peer, op_mprotect, addr, PAGE, PROT_READ | PROT_WRITE);
	EXPECT_SEGV(addr, CALL(f->peer, op_write, addr, 1));
}

static long op_personality(const long *a)
{
	return personality(a[0]);
}

/* Old programs ask for PROT_EXEC with each PROT_READ, and do not know it. */
static void read_implies_exec_needs_the_right(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, EXPECT_OK(mv_viewfd_rights(f->ctl, R | W)));
	unsigned long addr;

	map_pages(f, 0, 0, 4, RW);
	map_pages(f, 4, 4, 4, RX);
	put_code(f->file, 5, 42);
	EXPECT_CALL(f->peer, op_personality, READ_IMPLIES_EXEC);
	EXPECT_CALL_ERRNO(EACCES, f->peer, op_mmap, fd, 8 * PAGE, PROT_READ, 0);
	EXPECT_CALL(f->peer, op_mmap, fd, 8 * PAGE, PROT_NONE, 0);
	addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 8 * PAGE, PROT_READ, 0);
	/* It gets what the ranges give, and no more. */
	EXPECT_VALUE(WORD(1), CALL(f->peer, op_read, addr + PAGE));
	EXPECT_SEGV(addr + PAGE, CALL(f->peer, op_exec, addr + PAGE));
	EXPECT_VALUE(42, CALL(f->peer, op_exec, addr + 5 * PAGE));
}

static void mprotect_cannot_add_exec(struct fixture *f)
{
	map_pages(f, 0, 0, 4, RWX);
	READS(f, 0, WORD(0));
	EXPECT_CALL_ERRNO(EACCES, f->peer, op_mprotect, AT(f, 0), PAGE, PROT_READ | PROT_EXEC);
}

static void mprotect_takes_and_gives_within_the_rights(struct fixture *f)
{
	map_pages(f, 0, 0, 4, RW);
	map_pages(f, 4, 4, 4, R);
	for (int i = 0; i < 8; i++)
		READS(f, i, WORD(i));
	WRITES(f, 1, 1);
	EXPECT_CALL(f->peer, op_mprotect, f->view, 8 * PAGE, PROT_READ);
	WRITE_SEGV(f, 1);
	WRITE_SEGV(f, 4);
	EXPECT_CALL(f->peer, op_mprotect, f->view, 8 * PAGE, PROT_NONE);
	EXPECT_SEGV(f->view, CALL(f->peer, op_read, f->view));
	EXPECT_CALL(f->peer, op_mprotect, f->view, 8 * PAGE, PROT_READ | PROT_WRITE);
	WRITES(f, 1, 2);
	WRITES(f, 0, 3);
	READS(f, 4, WORD(4));
	WRITE_SEGV(f, 4);
}

static void mmap_at_an_offset(struct fixture *f)
{
	unsigned long addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 4 * PAGE,
					 PROT_READ | PROT_WRITE, 30 * PAGE);

	map_pages(f, 31, 7, 2, RW);
	EXPECT_SIGBUS(addr, CALL(f->peer, op_read, addr));
	EXPECT_VALUE(WORD(7), CALL(f->peer, op_read, addr + PAGE));
	EXPECT_VALUE(WORD(8), CALL(f->peer, op_read, addr + 2 * PAGE));
	EXPECT_SIGBUS(addr + 3 * PAGE, CALL(f->peer, op_read, addr + 3 * PAGE));
}

static void mapping_beyond_the_size_works_once_it_grew(struct fixture *f)
{
	EXPECT_OK(mv_set_size(f->ctl, 4 * PAGE));
	map_pages(f, 3, 3, 1, RW);
	READS(f, 3, WORD(3));
	READ_SIGBUS(f, 4);
	EXPECT_OK(mv_set_size(f->ctl, 8 * PAGE));
	READ_SIGBUS(f, 4);
	map_pages(f, 4, 4, 1, RW);
	READS(f, 4, WORD(4));
}

static void populate_and_lock_map_nothing_forbidden(struct fixture *f)
{
	unsigned long addr;

	map_pages(f, 1, 1, 1, R);
	addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 4 * PAGE, PROT_READ | PROT_WRITE, 0,
			   MAP_SHARED | MAP_POPULATE);
	EXPECT_SIGBUS(addr, CALL(f->peer, op_read, addr));
	EXPECT_VALUE(WORD(1), CALL(f->peer, op_read, addr + PAGE));
	EXPECT_SEGV(addr + PAGE, CALL(f->peer, op_write, addr + PAGE, 1));
}

static void mmap_of_a_revoked_view_is_eshutdown(struct fixture *f)
{
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_CALL_ERRNO(ESHUTDOWN, f->peer, op_mmap, f->peer_viewfd, PAGE, PROT_READ, 0);
}

static void view_fd_outlives_the_control_fd(struct fixture *f)
{
	map_pages(f, 0, 0, 4, RW);
	READS(f, 0, WORD(0));
	close(f->ctl);
	READ_SIGBUS(f, 0);
	EXPECT_CALL_ERRNO(ESHUTDOWN, f->peer, op_mmap, f->peer_viewfd, PAGE, PROT_READ, 0);
	assert_int_equal(lseek(f->viewfd, 0, SEEK_SET), 0);
}

static const struct test_case cases[] = {
	CASE(fstat_tells_size_and_type),
	CASE(every_view_has_an_inode_of_its_own),
	CASE(lseek_finds_the_end),
	CASE(view_fds_are_close_on_exec),
	CASE(read_and_write_are_einval),
	CASE(truncate_is_eperm),
	CASE(changing_attributes_is_eperm),
	CASE(fallocate_is_refused),
	CASE(reopening_through_proc_is_enxio),
	CASE(watching_is_eacces),
	CASE(path_outlives_the_view_and_keeps_the_module),
	CASE(ioctls_are_enotty),
	CASE(map_private_is_einval),
	CASE(fewer_rights_limit_mmap),
	CASE(fewer_rights_limit_mprotect),
	CASE(read_implies_exec_needs_the_right),
	CASE(mprotect_cannot_add_exec),
	CASE(mprotect_takes_and_gives_within_the_rights),
	CASE(mmap_at_an_offset),
	CASE(mapping_beyond_the_size_works_once_it_grew),
	CASE(populate_and_lock_map_nothing_forbidden),
	CASE(mmap_of_a_revoked_view_is_eshutdown),
	CASE(view_fd_outlives_the_control_fd),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "viewfd", cases);
}
