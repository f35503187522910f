// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel must not get hold of a view's pages behind the table's back: what
 * pins or borrows pages of user memory refuses view memory. Each case does the
 * same to plain memory first, which works (control).
 */
#include "common.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Where a case works: view memory, and a plain mapping of the same file. */
static unsigned long plain_mapping(struct fixture *f)
{
	map_pages(f, 0, 0, 16, RW);
	READS(f, 0, WORD(0));
	WRITES(f, 0, WORD(0));
	return EXPECT_CALL(f->peer, op_mmap, peer_send_fd(f->peer, f->file), 16 * PAGE,
			   PROT_READ | PROT_WRITE, 0);
}

static long op_pread(const long *a)
{
	return pread((int)a[0], (void *)a[1], a[2], a[3]);
}

static long op_pwrite(const long *a)
{
	return pwrite((int)a[0], (void *)a[1], a[2], a[3]);
}

static void o_direct_is_efault(struct fixture *f)
{
	unsigned long plain = plain_mapping(f);
	int disk = make_file(f->backing, f->file_size, 0);
	int fd = peer_send_fd(f->peer, EXPECT_OK(backing_reopen(disk, O_RDWR | O_DIRECT)));

	EXPECT_OK(fsync(disk));
	EXPECT_VALUE(PAGE, CALL(f->peer, op_pread, fd, plain, PAGE, PAGE));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_pread, fd, AT(f, 0), PAGE, PAGE);
	EXPECT_VALUE(PAGE, CALL(f->peer, op_pwrite, fd, plain, PAGE, PAGE));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_pwrite, fd, AT(f, 0), PAGE, PAGE);
}

/* The way that is left: through the page cache it is a copy. */
static void buffered_io_works(struct fixture *f)
{
	int disk = make_file(f->backing, f->file_size, 100);
	int fd = peer_send_fd(f->peer, disk);

	map_pages(f, 0, 0, 16, RW);
	EXPECT_VALUE(8, CALL(f->peer, op_pread, fd, AT(f, 0), 8, 5 * PAGE));
	READS(f, 0, WORD(105));
	EXPECT_VALUE(8, CALL(f->peer, op_pwrite, fd, AT(f, 1), 8, 0));
	assert_int_equal(file_word(disk, 0), WORD(1));
}

static long op_vmsplice(const long *a)
{
	struct iovec iov = { .iov_base = (void *)a[0], .iov_len = PAGE };
	int fds[2], err;
	long ret;

	if (pipe2(fds, O_CLOEXEC))
		return -2;
	ret = vmsplice(fds[1], &iov, 1, 0);
	err = errno;
	close(fds[0]);
	close(fds[1]);
	errno = err;
	return ret;
}

static void vmsplice_is_efault(struct fixture *f)
{
	unsigned long plain = plain_mapping(f);

	EXPECT_VALUE(PAGE, CALL(f->peer, op_vmsplice, plain));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_vmsplice, AT(f, 0));
}

static void process_vm_access_is_efault(struct fixture *f)
{
	unsigned long plain = plain_mapping(f);
	uint64_t word = 0;
	struct iovec local = { .iov_base = &word, .iov_len = sizeof(word) };
	struct iovec remote = { .iov_base = (void *)plain, .iov_len = sizeof(word) };

	assert_int_equal(process_vm_readv(f->peer->pid, &local, 1, &remote, 1, 0), 8);
	assert_int_equal(word, WORD(0));
	remote.iov_base = (void *)AT(f, 0);
	EXPECT_ERRNO(EFAULT, process_vm_readv(f->peer->pid, &local, 1, &remote, 1, 0));
	EXPECT_ERRNO(EFAULT, process_vm_writev(f->peer->pid, &local, 1, &remote, 1, 0));
}

static long op_register_buffer(const long *a)
{
	struct iovec iov = { .iov_base = (void *)a[0], .iov_len = PAGE };
	struct io_uring ring;
	int ret = io_uring_queue_init(4, &ring, 0);

	if (ret) {
		errno = -ret;
		return -2;
	}
	ret = io_uring_register_buffers(&ring, &iov, 1);
	io_uring_queue_exit(&ring);
	errno = -ret;
	return ret ? -1 : 0;
}

static void io_uring_fixed_buffer_is_efault(struct fixture *f)
{
	unsigned long plain = EXPECT_CALL(f->peer, op_mmap, -1, PAGE, PROT_READ | PROT_WRITE, 0,
					  MAP_PRIVATE | MAP_ANONYMOUS);
	struct outcome o = CALL(f->peer, op_register_buffer, plain);

	if (o.ret == -2)
		SKIP("no io_uring: %s", strerrorname_np(o.err));
	EXPECT_VALUE(0, o);
	plain_mapping(f);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_register_buffer, AT(f, 0));
}

static long op_uring_read(const long *a)
{
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int ret = io_uring_queue_init(4, &ring, 0);

	if (!ret) {
		io_uring_prep_read(io_uring_get_sqe(&ring), (int)a[0], (void *)a[1], a[2], a[3]);
		ret = io_uring_submit_and_wait(&ring, 1);
		if (ret >= 0)
			ret = io_uring_peek_cqe(&ring, &cqe) ?: cqe->res;
		io_uring_queue_exit(&ring);
	}
	errno = ret < 0 ? -ret : 0;
	return ret < 0 ? -1 : ret;
}

/* As qemu-storage-daemon does it. */
static void io_uring_read_into_what_is_revoked_is_efault(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, make_file(f->backing, f->file_size, 100));
	struct outcome o;

	map_pages(f, 0, 0, 16, RW);
	o = CALL(f->peer, op_uring_read, fd, AT(f, 0), 8, 5 * PAGE);
	if (o.ret == -1 && (o.err == ENOSYS || o.err == EPERM))
		SKIP("no io_uring: %s", strerrorname_np(o.err));
	EXPECT_VALUE(8, o);
	READS(f, 0, WORD(105));
	protect_pages(f, 0, 16, R);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_uring_read, fd, AT(f, 0), 8, 6 * PAGE);
	READS(f, 0, WORD(105));
	unmap_pages(f, 0, 16);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_uring_read, fd, AT(f, 0), 8, 6 * PAGE);
	assert_int_equal(file_word(f->file, 0), WORD(105));
}

static long op_futex_wake(const long *a)
{
	return syscall(SYS_futex, a[0], FUTEX_WAKE, 1, NULL, NULL, 0);
}

static long op_futex_wake_op(const long *a)
{
	int word = 0;

	return syscall(SYS_futex, &word, FUTEX_WAKE_OP_PRIVATE, 1, 1, a[0],
		       FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0));
}

/*
 * futex(2) faults without leave to drop a lock, and tries again for ever: a
 * fault that only works with that leave would be a loop that no signal ends.
 */
static void private_futex_can_be_the_first_access(struct fixture *f)
{
	unsigned long plain = EXPECT_CALL(f->peer, op_mmap, peer_send_fd(f->peer, f->file),
					  16 * PAGE, PROT_READ | PROT_WRITE, 0);

	map_pages(f, 0, 0, 16, RW);
	EXPECT_VALUE(0, CALL(f->peer, op_futex_wake_op, plain + 2 * PAGE));
	assert_int_equal((uint32_t)file_word(f->file, 2 * PAGE), 1);
	EXPECT_VALUE(0, CALL(f->peer, op_futex_wake_op, AT(f, 9)));
	assert_int_equal((uint32_t)file_word(f->file, 9 * PAGE), 1);
}

static void shared_futex_is_efault(struct fixture *f)
{
	unsigned long plain = plain_mapping(f);

	EXPECT_VALUE(0, CALL(f->peer, op_futex_wake, plain));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_futex_wake, AT(f, 0));
}

/* A debugger of the peer has at most what the table grants. */
static void debugger_sees_no_more_than_the_table(struct fixture *f)
{
	char path[64];
	uint64_t word = 0;
	ssize_t n;
	int mem;

	map_pages(f, 0, 0, 4, R);
	READS(f, 0, WORD(0));
	snprintf(path, sizeof(path), "/proc/%d/mem", f->peer->pid);
	mem = EXPECT_OK(open(path, O_RDWR | O_CLOEXEC));
	/* A hole, and beyond the rights: never. */
	EXPECT_ERRNO(EIO, pread(mem, &word, 8, AT(f, 8)));
	word = 666;
	EXPECT_ERRNO(EIO, pwrite(mem, &word, 8, AT(f, 0)));
	assert_int_equal(file_word(f->file, 0), WORD(0));
	/* Within the rights it may fail, but must not lie. */
	n = pread(mem, &word, 8, AT(f, 1));
	assert_true(n == -1 || (n == 8 && word == WORD(1)));
	unmap_pages(f, 0, 4);
	EXPECT_ERRNO(EIO, pread(mem, &word, 8, AT(f, 1)));
}

static void advice_is_no_way_around(struct fixture *f)
{
	static const int advices[] = {
		MADV_WILLNEED, MADV_DONTNEED, MADV_REMOVE, MADV_FREE, MADV_COLD,
		MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_HUGEPAGE,
		MADV_MERGEABLE,
	};

	map_pages(f, 0, 0, 4, RW);
	map_pages(f, 4, 4, 4, R);
	for (int i = 0; i < 8; i++)
		READS(f, i, WORD(i));
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		assert_false(CALL(f->peer, op_madvise, AT(f, 0), 12 * PAGE, advices[i]).died);
		for (int page = 0; page < 8; page++)
			assert_int_equal(file_word(f->file, page * PAGE), WORD(page));
		READS(f, 0, WORD(0));
		WRITE_SEGV(f, 4);
		READ_SIGBUS(f, 8);
	}
}

static const struct test_case cases[] = {
	CASE_ON(o_direct_is_efault, ON_DISK),
	CASE_ON(buffered_io_works, ON_SMALL),
	CASE_ON(vmsplice_is_efault, ON_ALL),
	CASE_ON(process_vm_access_is_efault, ON_ALL),
	CASE_ON(io_uring_fixed_buffer_is_efault, ON_ALL),
	CASE_ON(io_uring_read_into_what_is_revoked_is_efault, ON_SMALL),
	CASE_ON(shared_futex_is_efault, ON_ALL),
	CASE_ON(private_futex_can_be_the_first_access, ON_ALL),
	CASE(debugger_sees_no_more_than_the_table),
	CASE_ON(advice_is_no_way_around, ON_ALL),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "gup", cases);
}
