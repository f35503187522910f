// SPDX-License-Identifier: GPL-2.0
/* What libmemview writes into io_uring submissions, byte by byte. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <linux/io_uring.h>
#include <linux/memory-view.h>

#include "fake_device.h"
#include "memview_uring.h"

#define USER_DATA	0x1122334455667788ULL

/* A submission of a ring with IORING_SETUP_SQE128, full of an old one. */
union submission {
	struct io_uring_sqe sqe;
	unsigned char bytes[128];
};

static struct memview *view;
static union submission sub;
static struct memview_arg arg;

static void start(void)
{
	view = open_view();
	memset(&sub, 0xa5, sizeof(sub));
	memset(&arg, 0xa5, sizeof(arg));
	sub.sqe.user_data = USER_DATA;
}

/*
 * The submission is that of @cmd; @info is in it, or where it points to. With a
 * @where not NULL, only the first 64 bytes belong to it.
 */
static void check_sub(uint32_t cmd, const void *info, const struct memview_arg *where)
{
	size_t size = _IOC_SIZE(cmd), at = offsetof(struct io_uring_sqe, cmd);
	union submission want = { .bytes = { 0 } };
	struct memview_sqe_cmd head = { 0 };

	want.sqe.opcode = IORING_OP_URING_CMD;
	want.sqe.fd = memview_get_fd(view);
	want.sqe.cmd_op = cmd;
	want.sqe.user_data = USER_DATA;
	if (where) {
		head.arg = (uintptr_t)where;
		assert_memory_equal(where, info, size);
	} else if (info) {
		head.flags = MEMVIEW_SQE_INLINE;
		memcpy(&want.bytes[at + sizeof(head)], info, size);
	}
	if (where || !info)
		memset(&want.bytes[64], 0xa5, 64);
	memcpy(&want.bytes[at], &head, sizeof(head));
	assert_memory_equal(&sub, &want, sizeof(want));
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(dev.ioctl_calls, 0);
	close_view(view);
}

/* Each of them with the arguments in the submission, and behind a pointer. */
#define BOTH(cmd, info, call) do { \
	struct memview_arg *where_ = NULL; \
	start(); \
	call; \
	check_sub(cmd, &(info), where_); \
	where_ = &arg; \
	start(); \
	call; \
	check_sub(cmd, &(info), where_); \
} while (0)

static void map_is_map_fd(void **state)
{
	struct memview_map_fd_info info = {
		.fd = 7, .flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_WRITE, .fd_offset = 0x2000,
		.size = 0x3000, .mem_offset = 0x1000,
	};

	(void)state;
	BOTH(MEMVIEW_MAP_FD, info,
	     memview_prep_map(&sub.sqe, view, 0x1000, 7, 0x2000, 0x3000,
			      MEMVIEW_READ | MEMVIEW_WRITE, where_));
}

static void adopt_is_map_fd_with_its_flag_and_address(void **state)
{
	struct memview_map_fd_info info = {
		.fd = 7, .flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_ADOPT, .fd_offset = 0x2000,
		.size = 0x3000, .mem_offset = 0x1000, .addr = (uintptr_t)&sub,
	};

	(void)state;
	BOTH(MEMVIEW_MAP_FD, info,
	     memview_prep_adopt(&sub.sqe, view, 0x1000, &sub, 7, 0x2000, 0x3000, MEMVIEW_READ,
				where_));
}

static void replace_is_map_fd_with_its_flag(void **state)
{
	struct memview_map_fd_info info = {
		.fd = 7, .flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_REPLACE, .fd_offset = 0x2000,
		.size = 0x3000, .mem_offset = 0x1000,
	};

	(void)state;
	BOTH(MEMVIEW_MAP_FD, info,
	     memview_prep_replace(&sub.sqe, view, 0x1000, 7, 0x2000, 0x3000, MEMVIEW_READ,
				  where_));
}

/* As memview_map() refuses it, so does the kernel for what these say. */
static void the_uapis_own_flags_are_none(void **state)
{
	struct memview_map_fd_info info = {
		.fd = 7, .flags = ~0U, .size = 0x1000,
	};

	(void)state;
	BOTH(MEMVIEW_MAP_FD, info,
	     memview_prep_map(&sub.sqe, view, 0, 7, 0, 0x1000,
			      MEMVIEW_READ | MEMVIEW_MAP_REPLACE, where_));
	BOTH(MEMVIEW_MAP_FD, info,
	     memview_prep_map(&sub.sqe, view, 0, 7, 0, 0x1000,
			      MEMVIEW_READ | MEMVIEW_MAP_ADOPT, where_));
	BOTH(MEMVIEW_MAP_FD, info,
	     memview_prep_replace(&sub.sqe, view, 0, 7, 0, 0x1000,
				  MEMVIEW_READ | MEMVIEW_MAP_REPLACE, where_));
}

static void map_with_is_map_fd(void **state)
{
	struct memview_map_fd_info info = {
		.fd = 7, .flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_REPLACE | MEMVIEW_MAP_ADOPT,
		.fd_offset = 0x2000, .size = 0x3000, .mem_offset = 0x1000,
		.addr = (uintptr_t)&sub, .cookie = 0xfedcba9876543210,
	};
	const struct memview_map_args args = {
		.fd = 7, .flags = MEMVIEW_READ | MEMVIEW_REPLACE | MEMVIEW_ADOPT,
		.fd_offset = 0x2000, .size = 0x3000, .mem_offset = 0x1000,
		.addr = &sub, .cookie = 0xfedcba9876543210,
	};

	(void)state;
	BOTH(MEMVIEW_MAP_FD, info,
	     memview_prep_map_with(&sub.sqe, view, &args, sizeof(args), where_));
	/* Less than the first version. */
	info.flags = ~0U;
	info.cookie = 0;
	info.addr = 0;
	info.fd = 0;
	BOTH(MEMVIEW_MAP_FD, info,
	     memview_prep_map_with(&sub.sqe, view, &args,
				   offsetof(struct memview_map_args, cookie), where_));
}

static void unmap_is_unmap_fd(void **state)
{
	struct memview_unmap_fd_info info = { .mem_offset = 0x5000, .size = 0x4000 };

	(void)state;
	BOTH(MEMVIEW_UNMAP_FD, info,
	     memview_prep_unmap(&sub.sqe, view, 0x5000, 0x4000, where_));
}

static void protect_is_protect(void **state)
{
	struct memview_protect_info info = {
		.mem_offset = 0x5000, .size = 0x4000, .flags = MEMVIEW_MAP_READ,
	};

	(void)state;
	BOTH(MEMVIEW_PROTECT, info,
	     memview_prep_protect(&sub.sqe, view, 0x5000, 0x4000, MEMVIEW_READ, where_));
}

static void set_size_is_set_size(void **state)
{
	struct memview_size_info info = { .size = 1ULL << 40 };

	(void)state;
	BOTH(MEMVIEW_SET_SIZE, info,
	     memview_prep_set_size(&sub.sqe, view, 1ULL << 40, where_));
}

static void batch_is_update(void **state)
{
	struct memview_update_info *got = (void *)&sub.bytes[64], want;
	struct memview_batch *batch;

	(void)state;
	start();
	assert_int_equal(memview_batch_new(&batch), 0);
	assert_int_equal(memview_batch_unmap(batch, 0x1000, 0x2000), 0);
	assert_int_equal(memview_batch_protect(batch, 0x4000, 0x1000, MEMVIEW_READ), 0);
	memview_prep_batch(&sub.sqe, view, batch, NULL);
	assert_int_equal(got->count, 2);
	assert_int_equal(got->op_size, sizeof(struct memview_op));
	assert_int_equal(got->flags, 0);
	assert_int_equal(((struct memview_op *)(uintptr_t)got->ops)[1].mem_offset, 0x4000);
	want = *got;
	check_sub(MEMVIEW_UPDATE, &want, NULL);

	start();
	memview_prep_batch(&sub.sqe, view, batch, &arg);
	assert_int_equal(memview_arg_failed(&arg), 2);
	check_sub(MEMVIEW_UPDATE, &arg, &arg);

	/* More than the kernel takes, and than its field can say: not fewer. */
	start();
	while (memview_batch_count(batch) <= MEMVIEW_BATCH_MAX)
		assert_int_equal(memview_batch_unmap(batch, 0x1000, 0x2000), 0);
	memview_prep_batch(&sub.sqe, view, batch, NULL);
	assert_true(got->count > MEMVIEW_UPDATE_MAX);
	memview_prep_batch(&sub.sqe, view, batch, &arg);
	assert_int_equal(memview_arg_failed(&arg), MEMVIEW_BATCH_MAX + 1);
	/* As the kernel says that it was none of them. */
	((struct memview_update_info *)&arg)->failed =
		((struct memview_update_info *)&arg)->count;
	assert_int_equal(memview_arg_failed(&arg), MEMVIEW_BATCH_MAX + 1);
	close_view(view);
	memview_batch_free(batch);
}

/* It has no argument, so it does not touch the second half of a submission. */
static void revoke_is_revoke(void **state)
{
	(void)state;
	start();
	memview_prep_revoke(&sub.sqe, view);
	check_sub(MEMVIEW_REVOKE, NULL, NULL);
}

static void results_are_where_the_kernel_writes_them(void **state)
{
	struct memview_unmap_fd_info *unmap = (void *)&arg;
	struct memview_update_info *update = (void *)&arg;
	struct memview_batch *batch;

	(void)state;
	start();
	memview_prep_unmap(&sub.sqe, view, 0, 0x4000, &arg);
	assert_int_equal(memview_arg_unmapped(&arg), 0);
	unmap->unmapped = 0x3000;
	assert_int_equal(memview_arg_unmapped(&arg), 0x3000);
	assert_int_equal(memview_arg_failed(&arg), 0);

	assert_int_equal(memview_batch_new(&batch), 0);
	memview_prep_batch(&sub.sqe, view, batch, &arg);
	update->unmapped = 0x5000;
	update->failed = 3;
	assert_int_equal(memview_arg_unmapped(&arg), 0x5000);
	assert_int_equal(memview_arg_failed(&arg), 3);

	memview_prep_map(&sub.sqe, view, 1, 2, 3, 4, 5, &arg);
	assert_int_equal(memview_arg_unmapped(&arg), 0);
	assert_int_equal(memview_arg_failed(&arg), 0);
	close_view(view);
	memview_batch_free(batch);
}

/* In the whole submission, and in the room that a ring of 128 bytes has. */
static void everything_fits_into_a_submission(void **state)
{
	(void)state;
	assert_int_equal(offsetof(struct io_uring_sqe, cmd) + sizeof(struct memview_sqe_cmd), 64);
	assert_true(sizeof(struct memview_map_fd_info) <= MEMVIEW_SQE_INLINE_MAX);
	assert_true(sizeof(struct memview_unmap_fd_info) <= MEMVIEW_SQE_INLINE_MAX);
	assert_true(sizeof(struct memview_protect_info) <= MEMVIEW_SQE_INLINE_MAX);
	assert_true(sizeof(struct memview_size_info) <= MEMVIEW_SQE_INLINE_MAX);
	assert_true(sizeof(struct memview_update_info) <= MEMVIEW_SQE_INLINE_MAX);
}

#define CASE(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(map_is_map_fd),
		CASE(adopt_is_map_fd_with_its_flag_and_address),
		CASE(replace_is_map_fd_with_its_flag),
		CASE(the_uapis_own_flags_are_none),
		CASE(map_with_is_map_fd),
		CASE(unmap_is_unmap_fd),
		CASE(protect_is_protect),
		CASE(set_size_is_set_size),
		CASE(batch_is_update),
		CASE(revoke_is_revoke),
		CASE(results_are_where_the_kernel_writes_them),
		CASE(everything_fits_into_a_submission),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
