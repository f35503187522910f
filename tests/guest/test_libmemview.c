// SPDX-License-Identifier: GPL-2.0
/*
 * libmemview against the driver: what its header promises, end to end. What the
 * library does by itself is tested on the host.
 */
#include "common.h"

#include <memview.h>

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A negative return value is -errno, and errno is left alone. */
#define EXPECT_MINUS(want, call) do { \
	long got_; \
	errno = 4711; \
	got_ = (call); \
	if (got_ != -(want)) \
		fail_msg("%s returned %ld, want -%s", #call, got_, strerrorname_np(want)); \
	assert_int_equal(errno, 4711); \
} while (0)

static struct memview *open_view(uint64_t pages)
{
	struct memview *view = NULL;

	assert_int_equal(memview_open(&view), 0);
	assert_non_null(view);
	assert_int_equal(memview_set_size(view, pages * PAGE), 0);
	return view;
}

static struct memview *lend(struct fixture *f, unsigned int flags)
{
	struct memview *view = open_view(VIEW_PAGES);

	assert_int_equal(memview_map(view, 4 * PAGE, f->file, 2 * PAGE, 8 * PAGE, flags), 0);
	return view;
}

/* The fixture's peer maps the library's view in place of the fixture's. */
static void show_to_peer(struct fixture *f, int fd, int prot)
{
	int remote;

	assert_true(fd >= 0);
	remote = peer_send_fd(f->peer, fd);
	f->view = EXPECT_CALL(f->peer, op_mmap, remote, VIEW_PAGES * PAGE, prot, 0);
}

static void open_makes_an_empty_view(struct fixture *f)
{
	struct memview_status status;
	struct memview *view = NULL;

	(void)f;
	assert_int_equal(memview_open(&view), 0);
	assert_int_equal(memview_info(view, &status), 0);
	assert_int_equal(status.size, 0);
	assert_int_equal(status.nr_ranges, 0);
	assert_int_equal(status.page_size, PAGE);
	assert_int_equal(status.revoked, 0);
	assert_true(status.features & MEMVIEW_CAN_LAZY_WRITE);
	assert_int_equal(status.max_ranges, module_param("max_ranges"));
	assert_int_equal(status.max_sources, module_param("max_sources"));
	assert_int_equal(status.fault_around, module_param("fault_around_pages"));
	assert_int_equal(fcntl(memview_get_fd(view), F_GETFD), FD_CLOEXEC);
	memview_close(view);
	memview_close(NULL);
}

static void open_checks_that_it_is_the_device(struct fixture *f)
{
	struct memview *view = NULL;

	(void)f;
	EXPECT_MINUS(ENOTTY, memview_open_path("/dev/null", &view));
	EXPECT_MINUS(ENOENT, memview_open_path("/dev/no-such-device", &view));
	assert_null(view);
	assert_int_equal(memview_open_path(MEMVIEW_DEVICE, &view), 0);
	memview_close(view);
}

static void peer_reads_and_writes_what_is_mapped(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	int fd = memview_view_fd(view);

	show_to_peer(f, fd, PROT_READ | PROT_WRITE);
	READ_SIGBUS(f, 3);
	READS(f, 4, WORD(2));
	WRITES(f, 11, 7);
	assert_int_equal(file_word(f->file, 9 * PAGE), 7);
	READ_SIGBUS(f, 12);
	memview_close(view);
	READ_SIGBUS(f, 4);
}

static void map_reports_the_kernels_errors(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	int rdonly = EXPECT_OK(backing_reopen(f->file, O_RDONLY)), fds[2];

	EXPECT_OK(pipe(fds));
	EXPECT_MINUS(EINVAL, memview_map(view, 1, f->file, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(EINVAL, memview_map(view, 0, f->file, 0, 0, MEMVIEW_READ));
	EXPECT_MINUS(EINVAL, memview_map(view, 0, f->file, 0, PAGE, MEMVIEW_WRITE));
	EXPECT_MINUS(EINVAL, memview_map(view, 0, f->file, 0, PAGE, MEMVIEW_READ | 1U << 3));
	EXPECT_MINUS(EOVERFLOW, memview_map(view, 0, f->file, 1ULL << 63, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(ERANGE, memview_map(view, VIEW_PAGES * PAGE, f->file, 0, PAGE,
					 MEMVIEW_READ));
	EXPECT_MINUS(EEXIST, memview_map(view, 5 * PAGE, f->file, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(EBADF, memview_map(view, 0, -1, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(ENODEV, memview_map(view, 0, fds[0], 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(EACCES, memview_map(view, 0, rdonly, 0, PAGE,
					 MEMVIEW_READ | MEMVIEW_WRITE));
	memview_close(view);
}

static void replace_swaps(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);

	show_to_peer(f, memview_view_fd(view), PROT_READ);
	READS(f, 6, WORD(4));
	assert_int_equal(memview_replace(view, 6 * PAGE, f->file, 40 * PAGE, PAGE,
					 MEMVIEW_READ), 0);
	READS(f, 5, WORD(3));
	READS(f, 6, WORD(40));
	READS(f, 7, WORD(5));
	EXPECT_MINUS(EBADF, memview_replace(view, 6 * PAGE, -1, 0, PAGE, MEMVIEW_READ));
	READS(f, 6, WORD(40));
	memview_close(view);
}

static void unmap_tells_what_it_removed(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	uint64_t bytes = 1;

	show_to_peer(f, memview_view_fd(view), PROT_READ);
	READS(f, 5, WORD(3));
	assert_int_equal(memview_unmap(view, 0, 6 * PAGE, &bytes), 0);
	assert_int_equal(bytes, 2 * PAGE);
	READ_SIGBUS(f, 5);
	READS(f, 6, WORD(4));
	assert_int_equal(memview_unmap(view, 8 * PAGE, PAGE, NULL), 0);
	READ_SIGBUS(f, 8);
	bytes = 1;
	EXPECT_MINUS(EINVAL, memview_unmap(view, 0, 0, &bytes));
	assert_int_equal(bytes, 1);
	memview_close(view);
}

static void protect_narrows_and_widens(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);

	show_to_peer(f, memview_view_fd(view), PROT_READ | PROT_WRITE);
	WRITES(f, 5, 1);
	assert_int_equal(memview_protect(view, 4 * PAGE, 4 * PAGE, MEMVIEW_READ), 0);
	WRITE_SEGV(f, 5);
	WRITES(f, 8, 1);
	assert_int_equal(memview_protect(view, 4 * PAGE, 4 * PAGE,
					 MEMVIEW_READ | MEMVIEW_WRITE), 0);
	WRITES(f, 5, 2);
	EXPECT_MINUS(ENOENT, memview_protect(view, 3 * PAGE, 2 * PAGE, MEMVIEW_READ));
	EXPECT_MINUS(EACCES, memview_protect(view, 4 * PAGE, PAGE, MEMVIEW_READ | MEMVIEW_EXEC));
	memview_close(view);
}

static void query_lists_the_ranges(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_LAZY_WRITE);
	struct memview_range r[4];
	uint64_t offset = 0, total = 0;
	struct stat st;

	EXPECT_OK(fstat(f->file, &st));
	assert_int_equal(memview_map(view, 20 * PAGE, f->file, 0, PAGE,
				     MEMVIEW_READ | MEMVIEW_WRITE), 0);
	assert_int_equal(memview_query(view, &offset, r, 1, &total), 1);
	assert_int_equal(total, 2);
	assert_int_equal(r[0].mem_offset, 4 * PAGE);
	assert_int_equal(r[0].size, 8 * PAGE);
	assert_int_equal(r[0].fd_offset, 2 * PAGE);
	assert_int_equal(r[0].ino, st.st_ino);
	assert_int_equal(r[0].dev, st.st_dev);
	assert_int_equal(r[0].flags, MEMVIEW_READ | MEMVIEW_LAZY_WRITE);
	assert_int_equal(memview_query(view, &offset, r, 4, NULL), 1);
	assert_int_equal(r[0].mem_offset, 20 * PAGE);
	assert_int_equal(offset, VIEW_PAGES * PAGE);
	assert_int_equal(memview_query(view, NULL, NULL, 0, &total), 0);
	assert_int_equal(memview_query(view, NULL, r, 4, NULL), 2);
	EXPECT_MINUS(EINVAL, memview_query(view, NULL, r, MEMVIEW_QUERY_MAX + 1, NULL));
	EXPECT_MINUS(EFAULT, memview_query(view, NULL, (void *)8, 4, NULL));
	memview_close(view);
}

static void view_fd_with_fewer_rights(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	int fd = memview_view_fd_rights(view, MEMVIEW_READ);

	show_to_peer(f, fd, PROT_READ);
	READS(f, 4, WORD(2));
	WRITE_SEGV(f, 4);
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
			 MAP_FAILED);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(lseek(fd, 0, SEEK_END), VIEW_PAGES * PAGE);
	EXPECT_MINUS(EINVAL, memview_view_fd_rights(view, MEMVIEW_WRITE));
	EXPECT_MINUS(EINVAL, memview_view_fd_rights(view, 0));
	memview_close(view);
}

static void revoke_is_for_good(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	struct memview_status status;
	struct memview_range r;
	uint64_t total = 1;

	show_to_peer(f, memview_view_fd(view), PROT_READ | PROT_WRITE);
	WRITES(f, 4, 1);
	assert_int_equal(memview_revoke(view), 0);
	READ_SIGBUS(f, 4);
	assert_int_equal(memview_revoke(view), 0);
	EXPECT_MINUS(ESHUTDOWN, memview_map(view, 0, f->file, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(ESHUTDOWN, memview_replace(view, 0, f->file, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(ESHUTDOWN, memview_unmap(view, 0, PAGE, NULL));
	EXPECT_MINUS(ESHUTDOWN, memview_protect(view, 4 * PAGE, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(ESHUTDOWN, memview_set_size(view, PAGE));
	EXPECT_MINUS(ESHUTDOWN, memview_view_fd(view));
	EXPECT_MINUS(ESHUTDOWN, memview_view_fd_rights(view, MEMVIEW_READ));
	assert_int_equal(memview_info(view, &status), 0);
	assert_int_equal(status.revoked, 1);
	assert_int_equal(memview_query(view, NULL, &r, 1, &total), 0);
	assert_int_equal(total, 0);
	memview_close(view);
}

static void set_size_cuts(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	struct memview_status status;

	show_to_peer(f, memview_view_fd(view), PROT_READ);
	READS(f, 8, WORD(6));
	assert_int_equal(memview_set_size(view, 6 * PAGE), 0);
	READ_SIGBUS(f, 8);
	READS(f, 5, WORD(3));
	EXPECT_MINUS(EINVAL, memview_set_size(view, PAGE + 1));
	assert_int_equal(memview_info(view, &status), 0);
	assert_int_equal(status.size, 6 * PAGE);
	EXPECT_MINUS(EFBIG, memview_set_size(view, status.max_size + PAGE));
	memview_close(view);
}

/* In the peer: receives with the library, and maps what came. */
static long op_recv_and_map(const long *a)
{
	char data[16] = "";
	size_t received = 0;
	int fd = memview_recv_fd((int)a[0], data, sizeof(data), &received);
	void *p;

	if (fd < 0) {
		errno = -fd;
		return -1;
	}
	if (received != 6 || memcmp(data, "a view", 6)) {
		errno = EBADMSG;
		return -1;
	}
	p = mmap(NULL, VIEW_PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return (long)p;
}

static void view_fd_travels_over_a_socket(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	int sv[2], fd = memview_view_fd_rights(view, MEMVIEW_READ);

	EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv));
	assert_int_equal(memview_send_fd(sv[0], fd, "a view", 6), 6);
	close(fd);
	f->view = EXPECT_CALL(f->peer, op_recv_and_map, peer_send_fd(f->peer, sv[1]));
	READS(f, 4, WORD(2));
	WRITE_SEGV(f, 4);
	assert_int_equal(memview_unmap(view, 4 * PAGE, PAGE, NULL), 0);
	READ_SIGBUS(f, 4);
	memview_close(view);
	READ_SIGBUS(f, 5);
}

/* The child of a controller has the handle, and another address space. */
static long op_child_calls(const long *a)
{
	struct memview *view = (struct memview *)a[0];
	struct memview_status status;

	if (memview_unmap(view, 4 * PAGE, PAGE, NULL) != -EIO)
		return 1;
	if (memview_info(view, &status) || status.revoked)
		return 2;
	return memview_revoke(view) ? 3 : 0;
}

static long op_library_controller(const long *a)
{
	struct memview *view;

	if (memview_open(&view) || memview_set_size(view, VIEW_PAGES * PAGE) ||
	    memview_map(view, 4 * PAGE, (int)a[0], 0, 8 * PAGE, MEMVIEW_READ))
		return -1;
	return (long)view;
}

static long op_library_view_fd(const long *a)
{
	return memview_view_fd((struct memview *)a[0]);
}

static void forked_child_may_only_revoke(struct fixture *f)
{
	struct peer *controller = peer_spawn(), *child;
	long view = EXPECT_CALL(controller, op_library_controller,
				peer_send_fd(controller, f->file));
	int fd = peer_take_fd(controller, EXPECT_CALL(controller, op_library_view_fd, view));

	show_to_peer(f, fd, PROT_READ);
	READS(f, 4, WORD(0));
	child = peer_fork(controller);
	assert_non_null(child);
	EXPECT_VALUE(0, CALL(child, op_child_calls, view));
	READ_SIGBUS(f, 4);
}

static const struct test_case cases[] = {
	CASE(open_makes_an_empty_view),
	CASE(open_checks_that_it_is_the_device),
	CASE_ON(peer_reads_and_writes_what_is_mapped, ON_ALL),
	CASE(map_reports_the_kernels_errors),
	CASE(replace_swaps),
	CASE(unmap_tells_what_it_removed),
	CASE(protect_narrows_and_widens),
	CASE(query_lists_the_ranges),
	CASE(view_fd_with_fewer_rights),
	CASE(revoke_is_for_good),
	CASE(set_size_cuts),
	CASE(view_fd_travels_over_a_socket),
	CASE(forked_child_may_only_revoke),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "libmemview", cases);
}
