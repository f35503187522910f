// SPDX-License-Identifier: GPL-2.0
/* What a peer meets where it may not go: signals, their codes, and EFAULT. */
#include "common.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void hole_is_sigbus(struct fixture *f)
{
	map_pages(f, 4, 4, 2, RW);
	READ_SIGBUS(f, 3);
	WRITE_SIGBUS(f, 3);
	READ_SIGBUS(f, 6);
	READ_SIGBUS(f, 0);
	WRITE_SIGBUS(f, VIEW_PAGES - 1);
	/* si_addr is the byte, not the page. */
	EXPECT_SIGBUS(f->view + 3 * PAGE + 1000,
		      CALL(f->peer, op_read, f->view + 3 * PAGE + 1000));
}

static void empty_view_is_sigbus(struct fixture *f)
{
	READ_SIGBUS(f, 0);
	WRITE_SIGBUS(f, 100);
}

static void read_right_missing_write_segv(struct fixture *f)
{
	map_pages(f, 4, 4, 2, R);
	/* First as a fault on a page not there, then on one that is. */
	WRITE_SEGV(f, 5);
	READS(f, 5, WORD(5));
	WRITE_SEGV(f, 5);
	EXPECT_SEGV(f->view + 5 * PAGE + 1000,
		    CALL(f->peer, op_write, f->view + 5 * PAGE + 1000, 1));
	assert_int_equal(file_word(f->file, 5 * PAGE), WORD(5));
}

static void beyond_eof_is_sigbus_until_the_file_grows(struct fixture *f)
{
	map_pages(f, 0, FILE_PAGES - 2, 6, RW);
	READS(f, 1, WORD(FILE_PAGES - 1));
	READ_SIGBUS(f, 2);
	WRITE_SIGBUS(f, 3);
	EXPECT_OK(ftruncate(f->file, (FILE_PAGES + 2) * PAGE));
	READS(f, 2, 0);
	WRITES(f, 3, 44);
	assert_int_equal(file_word(f->file, (FILE_PAGES + 1) * PAGE), 44);
	READ_SIGBUS(f, 4);
}

static void wholly_beyond_eof_can_be_mapped(struct fixture *f)
{
	unsigned long far = 1UL << 22;	/* pages: 16 GiB into the file */

	map_pages(f, 0, far, 4, RW);
	READ_SIGBUS(f, 0);
	EXPECT_OK(ftruncate(f->file, (far + 2) * PAGE));
	READS(f, 0, 0);
	WRITES(f, 1, 45);
	assert_int_equal(file_word(f->file, (far + 1) * PAGE), 45);
	READ_SIGBUS(f, 2);
}

static void partial_last_page_reads_zeroes(struct fixture *f)
{
	EXPECT_OK(ftruncate(f->file, 10 * PAGE + 8));
	map_pages(f, 0, 0, 16, RW);
	READS(f, 10, WORD(10));
	EXPECT_VALUE(0, CALL(f->peer, op_read, AT(f, 10) + 8));
	READ_SIGBUS(f, 11);
}

/* ---- system calls on view memory ---- */

static long op_pipe(const long *a)
{
	int fds[2];

	(void)a;
	if (pipe2(fds, O_CLOEXEC))
		return -1;
	return fds[0] | (long)fds[1] << 16;
}

static long op_memfd(const long *a)
{
	(void)a;
	return memfd_create("sink", MFD_CLOEXEC);
}

static long op_sys_write(const long *a)
{
	return write((int)a[0], (void *)a[1], a[2]);
}

static long op_sys_read(const long *a)
{
	return read((int)a[0], (void *)a[1], a[2]);
}

static void system_calls_get_efault(struct fixture *f)
{
	long fds = EXPECT_CALL(f->peer, op_pipe);
	int in = fds & 0xffff, out = fds >> 16;

	map_pages(f, 0, 0, 1, R);
	map_pages(f, 2, 2, 1, RW);
	/* From a hole, into a hole, into what cannot be written. */
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_sys_write, out, AT(f, 1), 16);
	EXPECT_VALUE(16, CALL(f->peer, op_sys_write, out, AT(f, 0), 16));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_sys_read, in, AT(f, 1), 16);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_sys_read, in, AT(f, 0), 16);
	/* Where the right is there, the same calls work. */
	EXPECT_VALUE(16, CALL(f->peer, op_sys_read, in, AT(f, 2), 16));
	READS(f, 2, WORD(0));
	assert_int_equal(file_word(f->file, 0), WORD(0));
	/* Where a call can do a part of its work, it goes as far as the range. */
	EXPECT_VALUE(8, CALL(f->peer, op_sys_write, EXPECT_CALL(f->peer, op_memfd),
			     AT(f, 1) - 8, 16));
}

static void revoked_memory_gives_efault(struct fixture *f)
{
	long fds = EXPECT_CALL(f->peer, op_pipe);
	int in = fds & 0xffff, out = fds >> 16;

	map_pages(f, 0, 0, 2, RW);
	EXPECT_VALUE(16, CALL(f->peer, op_sys_write, out, AT(f, 0), 16));
	protect_pages(f, 0, 2, R);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_sys_read, in, AT(f, 0), 16);
	unmap_pages(f, 0, 2);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_sys_write, out, AT(f, 0), 16);
}

/* ---- peers that do not handle the signal ---- */

static void unhandled_signal_kills(struct fixture *f)
{
	int status;

	map_pages(f, 0, 0, 2, RW);
	START(f->peer, op_die_touching, AT(f, 5), f->tc->param);
	status = peer_reap(f->peer);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
}

static long op_die_writing(const long *a)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	signal(SIGSEGV, a[1] == DIE_IGNORED ? SIG_IGN : SIG_DFL);
	if (a[1] == DIE_BLOCKED)
		sigprocmask(SIG_BLOCK, &set, NULL);
	return op_write(a);
}

static void unhandled_segv_kills(struct fixture *f)
{
	int status;

	map_pages(f, 0, 0, 2, R);
	START(f->peer, op_die_writing, AT(f, 1), f->tc->param);
	status = peer_reap(f->peer);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	assert_int_equal(file_word(f->file, PAGE), WORD(1));
}

static void peer_goes_on_after_a_miss(struct fixture *f)
{
	for (int i = 0; i < 20; i++) {
		READ_SIGBUS(f, 7);
		map_pages(f, 7, i, 1, R);
		READS(f, 7, WORD(i));
		WRITE_SEGV(f, 7);
		unmap_pages(f, 7, 1);
	}
}

/* Control: the same accesses on a plain memfd work. */
static void plain_file_lets_all_through(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, f->file);
	unsigned long addr = EXPECT_CALL(f->peer, op_mmap, fd, FILE_PAGES * PAGE,
					 PROT_READ | PROT_WRITE, 0);

	for (unsigned long i = 0; i < FILE_PAGES; i++)
		EXPECT_VALUE(WORD(i), CALL(f->peer, op_read, addr + i * PAGE));
	EXPECT_VALUE(0, CALL(f->peer, op_write, addr + 5 * PAGE, 1));
}

#define EACH_DEATH(fn) \
	CASE_VARIANT(fn, "default", DIE_DEFAULT), \
	CASE_VARIANT(fn, "ignored", DIE_IGNORED), CASE_VARIANT(fn, "blocked", DIE_BLOCKED)

static const struct test_case cases[] = {
	CASE_ON(hole_is_sigbus, ON_ALL),
	CASE(empty_view_is_sigbus),
	CASE_ON(read_right_missing_write_segv, ON_ALL),
	CASE_ON(beyond_eof_is_sigbus_until_the_file_grows, ON_SMALL),
	CASE_ON(wholly_beyond_eof_can_be_mapped, ON_SMALL),
	CASE_ON(partial_last_page_reads_zeroes, ON_SMALL),
	CASE_ON(system_calls_get_efault, ON_ALL),
	CASE_ON(revoked_memory_gives_efault, ON_ALL),
	EACH_DEATH(unhandled_signal_kills),
	EACH_DEATH(unhandled_segv_kills),
	CASE_ON(peer_goes_on_after_a_miss, ON_ALL),
	CASE_ON(plain_file_lets_all_through, ON_ALL),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "miss", cases);
}
