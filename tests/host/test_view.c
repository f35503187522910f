// SPDX-License-Identifier: GPL-2.0
/* libmemview's view functions against a device that is not there. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/memory-view.h>

#include "fake_device.h"
#include "fds.h"
#include "memview.h"

/* --- opening and closing --- */

static void open_opens_dev_memory_view_for_reading_and_writing(void **state)
{
	struct memview *view;

	(void)state;
	reset_device();
	assert_int_equal(memview_open(&view), 0);
	assert_int_equal(dev.open_calls, 1);
	assert_string_equal(dev.open_path, "/dev/memory-view");
	assert_int_equal(dev.open_flags & O_ACCMODE, O_RDWR);
	assert_int_equal(errno, UNTOUCHED);
	close_view(view);
}

static void open_makes_a_close_on_exec_fd(void **state)
{
	struct memview *view = open_view();

	(void)state;
	assert_int_equal(fcntl(memview_get_fd(view), F_GETFD), FD_CLOEXEC);
	close_view(view);
}

static void open_cannot_acquire_a_controlling_terminal(void **state)
{
	struct memview *view;

	(void)state;
	reset_device();
	assert_int_equal(memview_open(&view), 0);
	assert_int_equal(dev.open_flags & O_NOCTTY, O_NOCTTY);
	close_view(view);
}

static void open_path_opens_the_given_path(void **state)
{
	struct memview *view;

	(void)state;
	reset_device();
	assert_int_equal(memview_open_path("/some/node", &view), 0);
	assert_string_equal(dev.open_path, "/some/node");
	close_view(view);
}

static void open_asks_the_new_fd_for_its_info(void **state)
{
	struct memview *view;

	(void)state;
	reset_device();
	assert_int_equal(memview_open(&view), 0);
	assert_int_equal(dev.ioctl_calls, 1);
	assert_int_equal(dev.request, MEMVIEW_GET_INFO);
	assert_int_equal(dev.ioctl_fd, memview_get_fd(view));
	close_view(view);
}

static void open_returns_the_errno_of_open(void **state)
{
	static const int errnos[] = {
		ENOENT, ENODEV, ENXIO, EACCES, EPERM, EMFILE, ENFILE, ENOMEM, ELOOP,
	};
	struct memview *untouched = (struct memview *)errnos, *view = untouched;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		reset_device();
		dev.open_errno = errnos[i];
		assert_int_equal(memview_open(&view), -errnos[i]);
		assert_int_equal(errno, UNTOUCHED);
		assert_ptr_equal(view, untouched);
		assert_int_equal(dev.ioctl_calls, 0);
	}
	dev.fake = false;
}

static void open_without_memory_is_enomem(void **state)
{
	struct memview *view;
	int ret;

	(void)state;
	reset_device();
	dev.malloc_fails = true;
	ret = memview_open(&view);
	dev.fake = false;
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(ret, -ENOMEM);
	assert_true(dev.closed_fd >= 0);
}

/* The real open and ioctl: what this machine has that is no memory-view. */
static int open_real(const char *path)
{
	struct memview *view = NULL;
	int ret;

	memset(&dev, 0, sizeof(dev));
	errno = UNTOUCHED;
	ret = memview_open_path(path, &view);
	assert_int_equal(errno, UNTOUCHED);
	assert_null(view);
	return ret;
}

static void open_of_dev_null_is_enotty(void **state)
{
	(void)state;
	assert_int_equal(open_real("/dev/null"), -ENOTTY);
}

static void open_of_dev_zero_is_enotty(void **state)
{
	(void)state;
	assert_int_equal(open_real("/dev/zero"), -ENOTTY);
}

static void open_of_a_regular_file_is_enotty(void **state)
{
	char path[] = "/tmp/test_view.XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(open_real(path), -ENOTTY);
	unlink(path);
	close(fd);
}

/* A FUSE file system can let its files answer whatever it likes. */
static void open_of_a_regular_file_that_answers_is_enotty_and_it_is_not_asked(void **state)
{
	char path[] = "/tmp/test_view.XXXXXX";
	struct memview *view = NULL;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	reset_device();
	dev.stand_in = path;
	assert_int_equal(memview_open(&view), -ENOTTY);
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(dev.ioctl_calls, 0);
	assert_null(view);
	dev.fake = false;
	unlink(path);
	close(fd);
}

static void open_of_a_fifo_is_enotty_and_does_not_block(void **state)
{
	char dir[] = "/tmp/test_view.XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(open_real(path), -ENOTTY);
	unlink(path);
	rmdir(dir);
}

static void open_of_a_directory_is_eisdir(void **state)
{
	(void)state;
	assert_int_equal(open_real("/"), -EISDIR);
}

static void open_of_a_missing_node_is_enoent(void **state)
{
	(void)state;
	assert_int_equal(open_real("/nowhere/memory-view"), -ENOENT);
}

static void open_of_a_device_that_refuses_the_ioctl_is_enotty(void **state)
{
	/* The ways in which drivers say that they do not know an ioctl. */
	static const int errnos[] = { ENOTTY, EINVAL, ENOSYS, EBADFD, EFAULT, ENODEV };
	struct memview *view = NULL;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		reset_device();
		dev.ioctl_errno = errnos[i];
		assert_int_equal(memview_open(&view), -ENOTTY);
		assert_int_equal(errno, UNTOUCHED);
		assert_null(view);
		assert_true(dev.closed_fd >= 0);
	}
	dev.fake = false;
}

static void open_of_a_device_that_answers_nonsense_is_enotty(void **state)
{
	struct memview *view = NULL;

	(void)state;
	reset_device();
	memset(dev.out, 0, sizeof(dev.out));
	assert_int_equal(memview_open(&view), -ENOTTY);
	assert_null(view);
	dev.fake = false;
}

static void open_tells_a_refusal_by_policy_from_a_wrong_device(void **state)
{
	struct memview *view = NULL;

	(void)state;
	reset_device();
	dev.ioctl_errno = EACCES;
	assert_int_equal(memview_open(&view), -EACCES);
	dev.ioctl_errno = EPERM;
	assert_int_equal(memview_open(&view), -EPERM);
	assert_int_equal(errno, UNTOUCHED);
	assert_null(view);
	dev.fake = false;
}

static void open_survives_a_signal_during_its_check(void **state)
{
	struct memview *view = NULL;

	(void)state;
	reset_device();
	dev.eintr = 1;
	assert_int_equal(memview_open(&view), 0);
	close_view(view);
}

static void close_closes_the_control_fd_and_leaves_errno(void **state)
{
	struct memview *view = open_view();
	int fd = memview_get_fd(view);

	(void)state;
	memview_close(view);
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(dev.closed_fd, fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	dev.fake = false;
}

static void close_of_null_does_nothing(void **state)
{
	(void)state;
	reset_device();
	memview_close(NULL);
	assert_int_equal(dev.closed_fd, -1);
	assert_int_equal(errno, UNTOUCHED);
	dev.fake = false;
}

/* --- what each function passes to the kernel --- */

static void set_size_passes_its_size(void **state)
{
	struct memview *view = open_view();
	struct memview_size_info arg;

	(void)state;
	assert_int_equal(memview_set_size(view, 0x123456789000), 0);
	assert_int_equal(dev.ioctl_calls, 1);
	assert_int_equal(dev.ioctl_fd, memview_get_fd(view));
	assert_int_equal(dev.request, MEMVIEW_SET_SIZE);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.size, 0x123456789000);
	assert_int_equal(errno, UNTOUCHED);
	close_view(view);
}

static void map_passes_every_argument_in_its_field(void **state)
{
	struct memview *view = open_view();
	struct memview_map_fd_info arg;

	(void)state;
	assert_int_equal(memview_map(view, 0x100000001000, 77, 0x200000002000, 0x300000003000,
				     MEMVIEW_READ | MEMVIEW_WRITE), 0);
	assert_int_equal(dev.ioctl_calls, 1);
	assert_int_equal(dev.request, MEMVIEW_MAP_FD);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.cookie, 0);
	assert_int_equal(arg.mem_offset, 0x100000001000);
	assert_int_equal(arg.fd, 77);
	assert_int_equal(arg.fd_offset, 0x200000002000);
	assert_int_equal(arg.size, 0x300000003000);
	assert_int_equal(arg.flags, MEMVIEW_MAP_READ | MEMVIEW_MAP_WRITE);
	assert_int_equal(arg.addr, 0);
	assert_int_equal(errno, UNTOUCHED);
	close_view(view);
}

static void map_passes_each_flag(void **state)
{
	static const struct {
		unsigned int ours, kernel;
	} flags[] = {
		{ 0, 0 },
		{ MEMVIEW_READ, MEMVIEW_MAP_READ },
		{ MEMVIEW_WRITE, MEMVIEW_MAP_WRITE },
		{ MEMVIEW_EXEC, MEMVIEW_MAP_EXEC },
		{ MEMVIEW_LAZY_WRITE, MEMVIEW_MAP_LAZY_WRITE },
		{ MEMVIEW_POPULATE_NOW, MEMVIEW_MAP_POPULATE },
	};
	struct memview *view = open_view();
	struct memview_map_fd_info arg;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		assert_int_equal(memview_map(view, 0, 3, 0, 4096, flags[i].ours), 0);
		memcpy(&arg, dev.arg, sizeof(arg));
		assert_int_equal(arg.flags, flags[i].kernel);
	}
	close_view(view);
}

static void map_leaves_unknown_flags_for_the_kernel_to_refuse(void **state)
{
	struct memview *view = open_view();
	struct memview_map_fd_info arg;

	(void)state;
	dev.ioctl_errno = EINVAL;
	assert_int_equal(memview_map(view, 0, 3, 0, 4096, MEMVIEW_READ | 1U << 31), -EINVAL);
	assert_int_equal(dev.ioctl_calls, 1);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.flags, MEMVIEW_MAP_READ | 1U << 31);
	close_view(view);
}

static void map_refuses_the_kernels_own_bits_without_asking_it(void **state)
{
	struct memview *view = open_view();
	static const unsigned int bits[] = { MEMVIEW_MAP_REPLACE, MEMVIEW_MAP_ADOPT };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		unsigned int flags = MEMVIEW_READ | bits[i];

		assert_int_equal(memview_map(view, 0, 3, 0, 4096, flags), -EINVAL);
		assert_int_equal(memview_replace(view, 0, 3, 0, 4096, flags), -EINVAL);
		assert_int_equal(memview_adopt(view, 0, view, 3, 0, 4096, flags), -EINVAL);
	}
	assert_int_equal(dev.ioctl_calls, 0);
	close_view(view);
}

static void adopt_passes_every_argument_and_the_adopt_flag(void **state)
{
	struct memview *view = open_view();
	struct memview_map_fd_info arg;

	(void)state;
	assert_int_equal(memview_adopt(view, 0x1000, (void *)0x7f0000004000, 79, 0x2000, 0x3000,
				       MEMVIEW_READ | MEMVIEW_WRITE), 0);
	assert_int_equal(dev.request, MEMVIEW_MAP_FD);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.mem_offset, 0x1000);
	assert_int_equal(arg.addr, 0x7f0000004000);
	assert_int_equal(arg.fd, 79);
	assert_int_equal(arg.fd_offset, 0x2000);
	assert_int_equal(arg.size, 0x3000);
	assert_int_equal(arg.flags, MEMVIEW_MAP_READ | MEMVIEW_MAP_WRITE | MEMVIEW_MAP_ADOPT);
	close_view(view);
}

static void adopt_on_a_driver_without_it_is_eopnotsupp(void **state)
{
	struct memview *view = open_view();

	(void)state;
	dev.ioctl_errno = E2BIG;
	assert_int_equal(memview_adopt(view, 0, view, 3, 0, 4096, MEMVIEW_READ), -EOPNOTSUPP);
	assert_int_equal(errno, UNTOUCHED);
	dev.ioctl_errno = EFAULT;
	assert_int_equal(memview_adopt(view, 0, view, 3, 0, 4096, MEMVIEW_READ), -EFAULT);
	close_view(view);
}

static void replace_passes_every_argument_and_the_replace_flag(void **state)
{
	struct memview *view = open_view();
	struct memview_map_fd_info arg;

	(void)state;
	assert_int_equal(memview_replace(view, 0x1000, 78, 0x2000, 0x3000,
					 MEMVIEW_READ | MEMVIEW_EXEC), 0);
	assert_int_equal(dev.request, MEMVIEW_MAP_FD);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.mem_offset, 0x1000);
	assert_int_equal(arg.fd, 78);
	assert_int_equal(arg.fd_offset, 0x2000);
	assert_int_equal(arg.size, 0x3000);
	assert_int_equal(arg.flags, MEMVIEW_MAP_READ | MEMVIEW_MAP_EXEC | MEMVIEW_MAP_REPLACE);
	assert_int_equal(arg.addr, 0);
	close_view(view);
}

static void unmap_passes_the_span_and_tells_the_bytes_removed(void **state)
{
	struct memview_unmap_fd_info arg, out = { .unmapped = 0x7000 };
	struct memview *view = open_view();
	uint64_t unmapped = 1;

	(void)state;
	set_out(&out, sizeof(out));
	assert_int_equal(memview_unmap(view, 0x5000, 0x9000, &unmapped), 0);
	assert_int_equal(dev.request, MEMVIEW_UNMAP_FD);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.mem_offset, 0x5000);
	assert_int_equal(arg.size, 0x9000);
	assert_int_equal(arg.unmapped, 0);
	assert_int_equal(unmapped, 0x7000);
	close_view(view);
}

static void unmap_takes_null_for_the_bytes_removed(void **state)
{
	struct memview *view = open_view();

	(void)state;
	assert_int_equal(memview_unmap(view, 0x5000, 0x9000, NULL), 0);
	assert_int_equal(dev.ioctl_calls, 1);
	close_view(view);
}

static void unmap_that_fails_leaves_the_bytes_removed(void **state)
{
	struct memview *view = open_view();
	uint64_t unmapped = 123;

	(void)state;
	dev.ioctl_errno = ENOSPC;
	assert_int_equal(memview_unmap(view, 0, 4096, &unmapped), -ENOSPC);
	assert_int_equal(unmapped, 123);
	close_view(view);
}

static void protect_passes_span_and_rights_with_zero_padding(void **state)
{
	struct memview *view = open_view();
	struct memview_protect_info arg;

	(void)state;
	assert_int_equal(memview_protect(view, 0x6000, 0x8000,
					 MEMVIEW_READ | MEMVIEW_LAZY_WRITE), 0);
	assert_int_equal(dev.request, MEMVIEW_PROTECT);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.mem_offset, 0x6000);
	assert_int_equal(arg.size, 0x8000);
	assert_int_equal(arg.flags, MEMVIEW_MAP_READ | MEMVIEW_MAP_LAZY_WRITE);
	assert_int_equal(arg.__pad, 0);
	close_view(view);
}

static void populate_passes_span_and_flags_with_zero_padding(void **state)
{
	struct memview_populate_info arg, out = { .populated = 0x7000 };
	struct memview *view = open_view();
	uint64_t populated = 0;

	(void)state;
	set_out(&out, sizeof(out));
	assert_int_equal(memview_populate(view, 0x6000, 0x8000,
					  MEMVIEW_POPULATE_IN_PEERS, &populated), 0);
	assert_int_equal(dev.request, MEMVIEW_POPULATE);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.mem_offset, 0x6000);
	assert_int_equal(arg.size, 0x8000);
	assert_int_equal(arg.flags, MEMVIEW_POPULATE_PEERS);
	assert_int_equal(arg.__pad, 0);
	assert_int_equal(arg.populated, 0);
	assert_int_equal(populated, 0x7000);
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(memview_populate(view, 0, 4096, 0, NULL), 0);
	assert_int_equal(dev.ioctl_calls, 2);
	close_view(view);
}

/* A signal is how it is ended, and how far it has got is told. */
static void populate_that_fails_tells_how_far_it_got(void **state)
{
	struct memview_populate_info out = { .populated = 0x3000 };
	struct memview *view = open_view();
	uint64_t populated = 0;

	(void)state;
	set_out(&out, sizeof(out));
	dev.explains = true;
	dev.ioctl_errno = EINTR;
	assert_int_equal(memview_populate(view, 0x6000, 0x8000, 0, &populated), -EINTR);
	assert_int_equal(dev.ioctl_calls, 1);
	assert_int_equal(populated, 0x3000);
	assert_int_equal(errno, UNTOUCHED);
	close_view(view);
}

static void populate_by_an_older_driver_is_eopnotsupp(void **state)
{
	struct memview *view = open_view();
	uint64_t populated = 123;

	(void)state;
	dev.ioctl_errno = ENOTTY;
	assert_int_equal(memview_populate(view, 0, 4096, 0, &populated), -EOPNOTSUPP);
	assert_int_equal(populated, 0);
	close_view(view);
}

static void query_passes_the_array_and_returns_what_the_kernel_counted(void **state)
{
	struct memview_query_info arg, out = { .mem_offset = 0xa000, .count = 2, .total = 9 };
	struct memview *view = open_view();
	struct memview_range ranges[4];
	uint64_t mem_offset = 0x4000, total = 0;

	(void)state;
	set_out(&out, sizeof(out));
	assert_int_equal(memview_query(view, &mem_offset, ranges, sizeof(ranges[0]), 4, &total), 2);
	assert_int_equal(dev.request, MEMVIEW_QUERY);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.mem_offset, 0x4000);
	assert_ptr_equal((void *)(uintptr_t)arg.ranges, ranges);
	assert_int_equal(arg.count, 4);
	assert_int_equal(arg.range_size, sizeof(struct memview_range_info));
	assert_int_equal(arg.total, 0);
	assert_int_equal(mem_offset, 0xa000);
	assert_int_equal(total, 9);
	assert_int_equal(errno, UNTOUCHED);
	close_view(view);
}

static void query_starts_at_0_and_tells_no_total_if_given_null(void **state)
{
	struct memview_query_info arg;
	struct memview *view = open_view();

	(void)state;
	assert_int_equal(memview_query(view, NULL, NULL, sizeof(struct memview_range), 0, NULL), 0);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.mem_offset, 0);
	assert_int_equal(arg.ranges, 0);
	assert_int_equal(arg.count, 0);
	close_view(view);
}

static void query_that_fails_leaves_offset_and_total(void **state)
{
	struct memview *view = open_view();
	struct memview_range range;
	uint64_t mem_offset = 0x4000, total = 5;

	(void)state;
	dev.ioctl_errno = EINVAL;
	assert_int_equal(memview_query(view, &mem_offset, &range, sizeof(range),
				       MEMVIEW_QUERY_MAX + 1, &total),
			 -EINVAL);
	assert_int_equal(mem_offset, 0x4000);
	assert_int_equal(total, 5);
	close_view(view);
}

static void query_writes_what_the_kernel_calls_by_the_same_names(void **state)
{
	/* What the kernel writes into the array, read back through memview.h. */
	static const struct memview_range_info written = {
		.mem_offset = 1, .size = 2, .fd_offset = 3, .source_addr = 4,
		.ino = 5, .dev = 6, .flags = 7, .cookie = 8,
	};
	struct memview_range range;

	(void)state;
	assert_int_equal(sizeof(range), sizeof(written));
	memcpy(&range, &written, sizeof(range));
	assert_int_equal(range.mem_offset, 1);
	assert_int_equal(range.size, 2);
	assert_int_equal(range.fd_offset, 3);
	assert_int_equal(range.source_addr, 4);
	assert_int_equal(range.ino, 5);
	assert_int_equal(range.dev, 6);
	assert_int_equal(range.flags, 7);
	assert_int_equal(range.cookie, 8);
}

/* The kernel knows how to fill in smaller ones and larger ones. */
static void query_passes_the_callers_size(void **state)
{
	static const struct { size_t ours; uint32_t kernel; } sizes[] = {
		{ 48, 48 }, { 56, 56 }, { 4096, 4096 }, { 0, 0 },
		{ 1ULL << 32, UINT32_MAX }, { (1ULL << 32) + 48, UINT32_MAX },
	};
	struct memview *view = open_view();
	struct memview_query_info arg;
	struct memview_range range;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memview_query(view, NULL, &range, sizes[i].ours, 1, NULL);
		memcpy(&arg, dev.arg, sizeof(arg));
		assert_int_equal(arg.range_size, sizes[i].kernel);
	}
	close_view(view);
}

/* A program is built with a version of the structure that is not the library's. */
static void info_fills_in_what_the_caller_has(void **state)
{
	struct memview_info out = { .size = 123, .state = MEMVIEW_STATE_REVOKED };
	struct { struct memview_status status; unsigned char more[40]; } larger;
	const size_t first = offsetof(struct memview_status, revoked) + 4;
	struct memview *view = open_view();
	size_t i;

	(void)state;
	set_out(&out, sizeof(out));
	assert_int_equal(first, 56);
	memset(&larger, 0xee, sizeof(larger));
	assert_int_equal(memview_info(view, &larger.status, first), 0);
	assert_int_equal(larger.status.size, 123);
	assert_int_equal(larger.status.revoked, 1);
	for (i = first; i < sizeof(larger); i++)
		assert_int_equal(((unsigned char *)&larger)[i], 0xee);
	assert_int_equal(memview_info(view, &larger.status, sizeof(larger) - 8), 0);
	for (i = sizeof(larger.status); i < sizeof(larger) - 8; i++)
		assert_int_equal(((unsigned char *)&larger)[i], 0);
	for (; i < sizeof(larger); i++)
		assert_int_equal(((unsigned char *)&larger)[i], 0xee);
	memset(&larger, 0xee, sizeof(larger));
	assert_int_equal(memview_info(view, &larger.status, first - 4), -EINVAL);
	assert_int_equal(memview_info(view, &larger.status, 0), -EINVAL);
	for (i = 0; i < sizeof(larger); i++)
		assert_int_equal(((unsigned char *)&larger)[i], 0xee);
	assert_int_equal(errno, UNTOUCHED);
	close_view(view);
}

static const struct memview_map_args map_args = {
	.mem_offset = 0x1000, .fd_offset = 0x2000, .size = 0x3000,
	.cookie = 0xfedcba9876543210, .addr = (void *)0x7f0000004000, .fd = 79,
	.flags = MEMVIEW_READ | MEMVIEW_REPLACE | MEMVIEW_ADOPT,
};

static void map_with_passes_every_argument(void **state)
{
	struct memview *view = open_view();
	struct memview_map_fd_info arg;

	(void)state;
	assert_int_equal(memview_map_with(view, &map_args, sizeof(map_args)), 0);
	assert_int_equal(dev.ioctl_calls, 1);
	assert_int_equal(dev.request, MEMVIEW_MAP_FD);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.mem_offset, 0x1000);
	assert_int_equal(arg.fd_offset, 0x2000);
	assert_int_equal(arg.size, 0x3000);
	assert_int_equal(arg.cookie, 0xfedcba9876543210);
	assert_int_equal(arg.addr, 0x7f0000004000);
	assert_int_equal(arg.fd, 79);
	assert_int_equal(arg.flags,
			 MEMVIEW_MAP_READ | MEMVIEW_MAP_REPLACE | MEMVIEW_MAP_ADOPT);
	assert_int_equal(errno, UNTOUCHED);
	close_view(view);
}

/* The kernel refuses flags that it does not know, and all of them together. */
static void map_with_of_another_size(void **state)
{
	struct { struct memview_map_args args; unsigned char more[16]; } larger = {
		.args = map_args,
	};
	struct memview *view = open_view();
	struct memview_map_fd_info arg;

	(void)state;
	assert_int_equal(sizeof(map_args), 48);
	memview_map_with(view, &larger.args, sizeof(larger));
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.flags, map_args.flags);
	larger.more[15] = 1;
	memview_map_with(view, &larger.args, sizeof(larger));
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.flags, ~0U);
	memview_map_with(view, &larger.args, sizeof(larger.args) - 4);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.flags, ~0U);
	memview_map_with(view, &larger.args, 0);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.flags, ~0U);
	close_view(view);
}

/* It is too big only for what the driver does not know and is not zero. */
static void map_with_on_an_older_driver_is_eopnotsupp(void **state)
{
	struct memview_map_args args = { .size = 0x1000, .flags = MEMVIEW_READ };
	struct memview *view = open_view();

	(void)state;
	dev.ioctl_errno = E2BIG;
	args.cookie = 1;
	assert_int_equal(memview_map_with(view, &args, sizeof(args)), -EOPNOTSUPP);
	args.cookie = 0;
	args.addr = view;
	assert_int_equal(memview_map_with(view, &args, sizeof(args)), -EOPNOTSUPP);
	args.addr = NULL;
	assert_int_equal(memview_map_with(view, &args, sizeof(args)), -E2BIG);
	close_view(view);
}

/* It can take long: a signal is how it is ended. */
static void drop_idle_calls_drop_idle_once(void **state)
{
	struct memview *view = open_view();

	(void)state;
	assert_int_equal(memview_drop_idle(view), 0);
	assert_int_equal(dev.request, MEMVIEW_DROP_IDLE);
	assert_null(dev.arg_pointer);
	assert_int_equal(dev.ioctl_fd, memview_get_fd(view));
	dev.ioctl_errno = EINTR;
	assert_int_equal(memview_drop_idle(view), -EINTR);
	assert_int_equal(dev.ioctl_calls, 2);
	dev.ioctl_errno = ENOTTY;
	assert_int_equal(memview_drop_idle(view), -EOPNOTSUPP);
	dev.ioctl_errno = EIO;
	assert_int_equal(memview_drop_idle(view), -EIO);
	assert_int_equal(errno, UNTOUCHED);
	close_view(view);
}

static void info_tells_every_field(void **state)
{
	static const struct memview_info out = {
		.size = 1ULL << 40, .max_size = 1ULL << 46,
		.features = MEMVIEW_FEATURE_LAZY_WRITE | MEMVIEW_FEATURE_UPDATE | 1ULL << 63,
		.nr_ranges = 3ULL << 32, .max_ranges = 4ULL << 32, .page_size = 16384,
		.fault_around = 64, .max_sources = 4096,
	};
	struct memview *view = open_view();
	struct memview_status status;

	(void)state;
	memset(&status, 0xee, sizeof(status));
	set_out(&out, sizeof(out));
	assert_int_equal(memview_info(view, &status, sizeof(status)), 0);
	assert_int_equal(dev.request, MEMVIEW_GET_INFO);
	assert_int_equal(status.size, 1ULL << 40);
	assert_int_equal(status.max_size, 1ULL << 46);
	assert_int_equal(status.features,
			 MEMVIEW_CAN_LAZY_WRITE | MEMVIEW_CAN_UPDATE | 1ULL << 63);
	assert_int_equal(status.nr_ranges, 3ULL << 32);
	assert_int_equal(status.max_ranges, 4ULL << 32);
	assert_int_equal(status.page_size, 16384);
	assert_int_equal(status.fault_around, 64);
	assert_int_equal(status.max_sources, 4096);
	assert_int_equal(status.revoked, 0);
	assert_int_equal(errno, UNTOUCHED);
	close_view(view);
}

static void info_tells_that_a_view_is_revoked_whatever_else_its_state(void **state)
{
	struct memview_info out = { .state = MEMVIEW_STATE_REVOKED | 1U << 31 };
	struct memview *view = open_view();
	struct memview_status status;

	(void)state;
	set_out(&out, sizeof(out));
	assert_int_equal(memview_info(view, &status, sizeof(status)), 0);
	assert_int_equal(status.revoked, 1);
	out.state = 1U << 31;
	set_out(&out, sizeof(out));
	assert_int_equal(memview_info(view, &status, sizeof(status)), 0);
	assert_int_equal(status.revoked, 0);
	close_view(view);
}

static void info_that_fails_leaves_the_status(void **state)
{
	struct memview_status status, before;
	struct memview *view = open_view();

	(void)state;
	memset(&status, 0xee, sizeof(status));
	memset(&before, 0xee, sizeof(before));
	dev.ioctl_errno = EBADF;
	assert_int_equal(memview_info(view, &status, sizeof(status)), -EBADF);
	assert_memory_equal(&status, &before, sizeof(before));
	close_view(view);
}

static void view_fd_returns_the_kernels_fd(void **state)
{
	struct memview *view = open_view();

	(void)state;
	dev.ioctl_ret = 42;
	assert_int_equal(memview_view_fd(view), 42);
	assert_int_equal(dev.request, MEMVIEW_GET_VIEWFD);
	assert_null(dev.arg_pointer);
	assert_int_equal(errno, UNTOUCHED);
	close_view(view);
}

static void view_fd_rights_passes_the_rights_with_zero_padding(void **state)
{
	struct memview *view = open_view();
	struct memview_viewfd_info arg;

	(void)state;
	dev.ioctl_ret = 43;
	assert_int_equal(memview_view_fd_rights(view, MEMVIEW_READ | MEMVIEW_EXEC), 43);
	assert_int_equal(dev.request, MEMVIEW_GET_VIEWFD_RIGHTS);
	memcpy(&arg, dev.arg, sizeof(arg));
	assert_int_equal(arg.rights, MEMVIEW_MAP_READ | MEMVIEW_MAP_EXEC);
	assert_int_equal(arg.__pad, 0);
	close_view(view);
}

static void revoke_calls_revoke(void **state)
{
	struct memview *view = open_view();

	(void)state;
	assert_int_equal(memview_revoke(view), 0);
	assert_int_equal(dev.request, MEMVIEW_REVOKE);
	assert_null(dev.arg_pointer);
	assert_int_equal(dev.ioctl_fd, memview_get_fd(view));
	close_view(view);
}

/* --- what every function does alike --- */

static int call_set_size(struct memview *view)
{
	return memview_set_size(view, 4096);
}

static int call_map(struct memview *view)
{
	return memview_map(view, 0, 3, 0, 4096, MEMVIEW_READ);
}

static int call_replace(struct memview *view)
{
	return memview_replace(view, 0, 3, 0, 4096, MEMVIEW_READ);
}

static int call_adopt(struct memview *view)
{
	int ret = memview_adopt(view, 0, view, 3, 0, 4096, MEMVIEW_READ);

	/* See adopt_on_a_driver_without_it_is_eopnotsupp(). */
	return ret == -EOPNOTSUPP ? -E2BIG : ret;
}

static int call_unmap(struct memview *view)
{
	return memview_unmap(view, 0, 4096, NULL);
}

static int call_protect(struct memview *view)
{
	return memview_protect(view, 0, 4096, MEMVIEW_READ);
}

static int call_query(struct memview *view)
{
	return memview_query(view, NULL, NULL, sizeof(struct memview_range), 0, NULL);
}

static int call_info(struct memview *view)
{
	struct memview_status status;

	return memview_info(view, &status, sizeof(status));
}

static int call_view_fd(struct memview *view)
{
	return memview_view_fd(view);
}

static int call_view_fd_rights(struct memview *view)
{
	return memview_view_fd_rights(view, MEMVIEW_READ);
}

static int call_revoke(struct memview *view)
{
	return memview_revoke(view);
}

static int (* const calls[])(struct memview *view) = {
	call_set_size, call_map, call_adopt, call_replace, call_unmap, call_protect, call_query,
	call_info, call_view_fd, call_view_fd_rights, call_revoke,
};

#define NR_CALLS (sizeof(calls) / sizeof(calls[0]))

static void every_function_returns_every_errno_negated_and_leaves_errno(void **state)
{
	static const int errnos[] = {
		EPERM, EIO, E2BIG, EBADF, ENOMEM, EACCES, EFAULT, EEXIST, ENODEV, EINVAL,
		ENFILE, EMFILE, ENOTTY, EFBIG, ENOSPC, ERANGE, ENOENT, EOVERFLOW, ESHUTDOWN,
	};
	struct memview *view = open_view();
	size_t i, j;

	(void)state;
	for (i = 0; i < NR_CALLS; i++) {
		for (j = 0; j < sizeof(errnos) / sizeof(errnos[0]); j++) {
			dev.ioctl_errno = errnos[j];
			assert_int_equal(calls[i](view), -errnos[j]);
			assert_int_equal(errno, UNTOUCHED);
		}
	}
	close_view(view);
}

static void every_function_asks_once_when_it_fails(void **state)
{
	struct memview *view = open_view();
	size_t i;

	(void)state;
	for (i = 0; i < NR_CALLS; i++) {
		dev.ioctl_calls = 0;
		dev.ioctl_errno = ENOMEM;
		assert_int_equal(calls[i](view), -ENOMEM);
		assert_int_equal(dev.ioctl_calls, 1);
	}
	close_view(view);
}

static void every_function_calls_again_after_a_signal_with_the_same_argument(void **state)
{
	struct memview *view = open_view();
	unsigned char arg[sizeof(dev.arg)];
	size_t i;

	(void)state;
	for (i = 0; i < NR_CALLS; i++) {
		assert_int_equal(calls[i](view), 0);
		memcpy(arg, dev.arg, sizeof(arg));
		dev.ioctl_calls = 0;
		dev.eintr = 3;
		assert_int_equal(calls[i](view), 0);
		assert_int_equal(dev.ioctl_calls, 4);
		assert_memory_equal(dev.arg, arg, sizeof(arg));
		assert_int_equal(errno, UNTOUCHED);
		/* What never says anything else is not asked for ever. */
		dev.eintr = 1000000;
		assert_int_equal(calls[i](view), -EINTR);
		assert_in_range(dev.ioctl_calls, 10, 1000);
		dev.eintr = 0;
	}
	close_view(view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(open_opens_dev_memory_view_for_reading_and_writing),
		CASE(open_makes_a_close_on_exec_fd),
		CASE(open_cannot_acquire_a_controlling_terminal),
		CASE(open_path_opens_the_given_path),
		CASE(open_asks_the_new_fd_for_its_info),
		CASE(open_returns_the_errno_of_open),
		CASE(open_without_memory_is_enomem),
		CASE(open_of_dev_null_is_enotty),
		CASE(open_of_dev_zero_is_enotty),
		CASE(open_of_a_regular_file_is_enotty),
		CASE(open_of_a_regular_file_that_answers_is_enotty_and_it_is_not_asked),
		CASE(open_of_a_fifo_is_enotty_and_does_not_block),
		CASE(open_of_a_directory_is_eisdir),
		CASE(open_of_a_missing_node_is_enoent),
		CASE(open_of_a_device_that_refuses_the_ioctl_is_enotty),
		CASE(open_of_a_device_that_answers_nonsense_is_enotty),
		CASE(open_tells_a_refusal_by_policy_from_a_wrong_device),
		CASE(open_survives_a_signal_during_its_check),
		CASE(close_closes_the_control_fd_and_leaves_errno),
		CASE(close_of_null_does_nothing),
		CASE(set_size_passes_its_size),
		CASE(map_passes_every_argument_in_its_field),
		CASE(map_passes_each_flag),
		CASE(map_leaves_unknown_flags_for_the_kernel_to_refuse),
		CASE(map_refuses_the_kernels_own_bits_without_asking_it),
		CASE(adopt_passes_every_argument_and_the_adopt_flag),
		CASE(adopt_on_a_driver_without_it_is_eopnotsupp),
		CASE(replace_passes_every_argument_and_the_replace_flag),
		CASE(unmap_passes_the_span_and_tells_the_bytes_removed),
		CASE(unmap_takes_null_for_the_bytes_removed),
		CASE(unmap_that_fails_leaves_the_bytes_removed),
		CASE(protect_passes_span_and_rights_with_zero_padding),
		CASE(populate_passes_span_and_flags_with_zero_padding),
		CASE(populate_that_fails_tells_how_far_it_got),
		CASE(populate_by_an_older_driver_is_eopnotsupp),
		CASE(query_passes_the_array_and_returns_what_the_kernel_counted),
		CASE(query_starts_at_0_and_tells_no_total_if_given_null),
		CASE(query_that_fails_leaves_offset_and_total),
		CASE(query_writes_what_the_kernel_calls_by_the_same_names),
		CASE(query_passes_the_callers_size),
		CASE(info_fills_in_what_the_caller_has),
		CASE(map_with_passes_every_argument),
		CASE(map_with_of_another_size),
		CASE(map_with_on_an_older_driver_is_eopnotsupp),
		CASE(drop_idle_calls_drop_idle_once),
		CASE(info_tells_every_field),
		CASE(info_tells_that_a_view_is_revoked_whatever_else_its_state),
		CASE(info_that_fails_leaves_the_status),
		CASE(view_fd_returns_the_kernels_fd),
		CASE(view_fd_rights_passes_the_rights_with_zero_padding),
		CASE(revoke_calls_revoke),
		CASE(every_function_returns_every_errno_negated_and_leaves_errno),
		CASE(every_function_asks_once_when_it_fails),
		CASE(every_function_calls_again_after_a_signal_with_the_same_argument),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
