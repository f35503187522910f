// SPDX-License-Identifier: GPL-2.0
/* libmemview's batches against a device that is not there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <linux/memory-view.h>

#include "fake_device.h"
#include "fds.h"
#include "memview.h"

static struct memview_batch *new_batch(void)
{
	struct memview_batch *batch = NULL;

	assert_int_equal(memview_batch_new(&batch), 0);
	assert_non_null(batch);
	return batch;
}

static void add_unmaps(struct memview_batch *batch, size_t count)
{
	while (count--)
		assert_int_equal(memview_batch_unmap(batch, 0, 4096), 0);
}

static void end(struct memview *view, struct memview_batch *batch)
{
	close_view(view);
	memview_batch_free(batch);
}

static struct memview_update_info update_arg(void)
{
	struct memview_update_info arg;

	assert_int_equal(dev.request, MEMVIEW_UPDATE);
	memcpy(&arg, dev.arg, sizeof(arg));
	return arg;
}

/* What the kernel got as the operation @i; and nothing else of it is set. */
static void check_op(size_t i, struct memview_op want)
{
	assert_true(i < update_arg().count);
	assert_memory_equal(&dev_ops[i], &want, sizeof(want));
}

/* --- the batch --- */

static void a_new_batch_is_empty(void **state)
{
	struct memview_batch *batch;

	(void)state;
	reset_device();
	batch = new_batch();
	assert_int_equal(memview_batch_count(batch), 0);
	assert_int_equal(errno, UNTOUCHED);
	memview_batch_free(batch);
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(dev.ioctl_calls, 0);
	dev.fake = false;
}

static void new_without_memory_is_enomem(void **state)
{
	struct memview_batch *untouched = (struct memview_batch *)&dev, *batch = untouched;
	int ret;

	(void)state;
	reset_device();
	dev.malloc_fails = true;
	ret = memview_batch_new(&batch);
	dev.fake = false;
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(ret, -ENOMEM);
	assert_ptr_equal(batch, untouched);
}

static void free_of_null_does_nothing(void **state)
{
	(void)state;
	reset_device();
	memview_batch_free(NULL);
	assert_int_equal(errno, UNTOUCHED);
	dev.fake = false;
}

static void free_of_a_full_batch_leaves_errno(void **state)
{
	struct memview_batch *batch;

	(void)state;
	reset_device();
	batch = new_batch();
	add_unmaps(batch, 100);
	assert_int_equal(errno, UNTOUCHED);
	memview_batch_free(batch);
	assert_int_equal(errno, UNTOUCHED);
	dev.fake = false;
}

static void nothing_is_asked_of_the_kernel_before_apply(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();

	(void)state;
	/* Not even whether the descriptor is one, or what is aligned. */
	assert_int_equal(memview_batch_map(batch, 1, -1, 2, 0, ~0U), 0);
	assert_int_equal(memview_batch_replace(batch, 1, -1, 2, 0, ~0U), 0);
	assert_int_equal(memview_batch_adopt(batch, 1, NULL, -1, 2, 0, ~0U), 0);
	assert_int_equal(memview_batch_unmap(batch, UINT64_MAX, 3), 0);
	assert_int_equal(memview_batch_protect(batch, UINT64_MAX, 3, 0), 0);
	assert_int_equal(memview_batch_count(batch), 5);
	assert_int_equal(dev.ioctl_calls, 0);
	assert_int_equal(errno, UNTOUCHED);
	end(view, batch);
}

/* Wherever the memory ends, in the first operations or when the array grows. */
static void an_operation_for_which_there_is_no_memory_is_not_appended(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	size_t i, failures = 0;
	int ret;

	(void)state;
	for (i = 0; i < 1000; i++) {
		dev.malloc_fails = true;
		ret = memview_batch_unmap(batch, i << 12, 4096);
		dev.malloc_fails = false;
		assert_int_equal(errno, UNTOUCHED);
		if (!ret)
			continue;
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(memview_batch_count(batch), i);
		assert_int_equal(memview_batch_unmap(batch, i << 12, 4096), 0);
		failures++;
	}
	assert_true(failures > 1);
	assert_true(failures < 20);
	assert_int_equal(memview_batch_count(batch), 1000);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	assert_int_equal(update_arg().count, 1000);
	for (i = 0; i < 1000; i++)
		assert_int_equal(dev_ops[i].mem_offset, i << 12);
	end(view, batch);
}

static void every_kind_of_operation_tells_that_there_is_no_memory(void **state)
{
	struct memview_batch *batch;

	(void)state;
	reset_device();
	batch = new_batch();
	dev.malloc_fails = true;
	assert_int_equal(memview_batch_map(batch, 0, 3, 0, 4096, MEMVIEW_READ), -ENOMEM);
	assert_int_equal(memview_batch_replace(batch, 0, 3, 0, 4096, MEMVIEW_READ), -ENOMEM);
	assert_int_equal(memview_batch_adopt(batch, 0, batch, 3, 0, 4096, MEMVIEW_READ), -ENOMEM);
	assert_int_equal(memview_batch_unmap(batch, 0, 4096), -ENOMEM);
	assert_int_equal(memview_batch_protect(batch, 0, 4096, MEMVIEW_READ), -ENOMEM);
	assert_int_equal(memview_batch_count(batch), 0);
	assert_int_equal(errno, UNTOUCHED);
	dev.fake = false;
	memview_batch_free(batch);
}

static void clear_forgets_the_operations(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();

	(void)state;
	add_unmaps(batch, 3);
	memview_batch_clear(batch);
	assert_int_equal(memview_batch_count(batch), 0);
	assert_int_equal(memview_batch_protect(batch, 0x1000, 0x2000, MEMVIEW_READ), 0);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	assert_int_equal(update_arg().count, 1);
	check_op(0, (struct memview_op) {
		.op = MEMVIEW_OP_PROTECT, .flags = MEMVIEW_MAP_READ,
		.mem_offset = 0x1000, .size = 0x2000,
	});
	end(view, batch);
}

static void clear_keeps_the_memory(void **state)
{
	struct memview_batch *batch;

	(void)state;
	reset_device();
	batch = new_batch();
	add_unmaps(batch, 500);
	memview_batch_clear(batch);
	dev.malloc_fails = true;
	add_unmaps(batch, 500);
	assert_int_equal(memview_batch_count(batch), 500);
	dev.fake = false;
	memview_batch_free(batch);
}

/* --- what each operation passes to the kernel --- */

static void map_passes_every_argument_in_its_field(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();

	(void)state;
	assert_int_equal(memview_batch_map(batch, 0x100000001000, 77, 0x200000002000,
					   0x300000003000, MEMVIEW_READ | MEMVIEW_WRITE), 0);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	check_op(0, (struct memview_op) {
		.op = MEMVIEW_OP_MAP, .flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_WRITE,
		.mem_offset = 0x100000001000, .size = 0x300000003000,
		.fd_offset = 0x200000002000, .fd = 77,
	});
	end(view, batch);
}

static void map_passes_each_flag_also_unknown_ones(void **state)
{
	static const unsigned int flags[] = {
		0, MEMVIEW_MAP_READ, MEMVIEW_MAP_WRITE, MEMVIEW_MAP_EXEC,
		MEMVIEW_MAP_LAZY_WRITE, MEMVIEW_MAP_READ | 1U << 31,
	};
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	size_t i, nr = sizeof(flags) / sizeof(flags[0]);

	(void)state;
	for (i = 0; i < nr; i++)
		assert_int_equal(memview_batch_map(batch, 0, 3, 0, 4096, flags[i]), 0);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	for (i = 0; i < nr; i++)
		check_op(i, (struct memview_op) {
			.op = MEMVIEW_OP_MAP, .flags = flags[i], .size = 4096, .fd = 3,
		});
	end(view, batch);
}

static void replace_passes_every_argument_and_the_replace_flag(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();

	(void)state;
	assert_int_equal(memview_batch_replace(batch, 0x1000, 78, 0x2000, 0x3000,
					       MEMVIEW_READ | MEMVIEW_EXEC), 0);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	check_op(0, (struct memview_op) {
		.op = MEMVIEW_OP_MAP,
		.flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_EXEC | MEMVIEW_MAP_REPLACE,
		.mem_offset = 0x1000, .size = 0x3000, .fd_offset = 0x2000, .fd = 78,
	});
	end(view, batch);
}

/* They are no flags of memview.h. The kernel knows them, and must not obey. */
static void a_kernels_bit_of_the_callers_becomes_what_the_kernel_refuses(void **state)
{
	static const unsigned int bits[] = { MEMVIEW_MAP_REPLACE, MEMVIEW_MAP_ADOPT };
	const unsigned int known = MEMVIEW_MAP_RIGHTS | MEMVIEW_MAP_REPLACE |
				   MEMVIEW_MAP_LAZY_WRITE | MEMVIEW_MAP_ADOPT;
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		unsigned int flags = MEMVIEW_READ | bits[i];

		assert_int_equal(memview_batch_map(batch, 0, 3, 0, 4096, flags), 0);
		assert_int_equal(memview_batch_replace(batch, 0, 3, 0, 4096, flags), 0);
		assert_int_equal(memview_batch_adopt(batch, 0, view, 3, 0, 4096, flags), 0);
	}
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	assert_int_equal(update_arg().count, 6);
	for (i = 0; i < 6; i++)
		assert_int_not_equal(dev_ops[i].flags & ~known, 0);
	end(view, batch);
}

static void adopt_passes_every_argument_and_the_adopt_flag(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();

	(void)state;
	assert_int_equal(memview_batch_adopt(batch, 0x1000, (void *)0x7f0000004000, 79, 0x2000,
					     0x3000, MEMVIEW_READ | MEMVIEW_WRITE), 0);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	check_op(0, (struct memview_op) {
		.op = MEMVIEW_OP_MAP,
		.flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_WRITE | MEMVIEW_MAP_ADOPT,
		.mem_offset = 0x1000, .size = 0x3000, .fd_offset = 0x2000, .fd = 79,
		.addr = 0x7f0000004000,
	});
	end(view, batch);
}

static void map_with_passes_every_argument(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	const struct memview_map_args args = {
		.mem_offset = 0x1000, .fd_offset = 0x2000, .size = 0x3000,
		.cookie = 0xfedcba9876543210, .addr = (void *)0x7f0000004000, .fd = 79,
		.flags = MEMVIEW_READ | MEMVIEW_REPLACE | MEMVIEW_ADOPT,
	};

	(void)state;
	assert_int_equal(memview_batch_map_with(batch, &args, sizeof(args)), 0);
	/* Not a version that there has been: for the kernel to refuse. */
	assert_int_equal(memview_batch_map_with(batch, &args, sizeof(args) - 8), 0);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	check_op(0, (struct memview_op) {
		.op = MEMVIEW_OP_MAP,
		.flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_REPLACE | MEMVIEW_MAP_ADOPT,
		.mem_offset = 0x1000, .size = 0x3000, .fd_offset = 0x2000, .fd = 79,
		.addr = 0x7f0000004000, .cookie = 0xfedcba9876543210,
	});
	assert_int_equal(dev_ops[1].flags, ~0U);
	end(view, batch);
}

static void unmap_passes_the_span_and_nothing_else(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();

	(void)state;
	assert_int_equal(memview_batch_unmap(batch, 0x500000005000, 0x900000009000), 0);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	check_op(0, (struct memview_op) {
		.op = MEMVIEW_OP_UNMAP, .mem_offset = 0x500000005000, .size = 0x900000009000,
	});
	end(view, batch);
}

static void protect_passes_span_and_rights_and_nothing_else(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();

	(void)state;
	assert_int_equal(memview_batch_protect(batch, 0x600000006000, 0x800000008000,
					       MEMVIEW_READ | MEMVIEW_LAZY_WRITE), 0);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	check_op(0, (struct memview_op) {
		.op = MEMVIEW_OP_PROTECT, .flags = MEMVIEW_MAP_READ | MEMVIEW_MAP_LAZY_WRITE,
		.mem_offset = 0x600000006000, .size = 0x800000008000,
	});
	end(view, batch);
}

/* --- applying --- */

static void apply_passes_all_operations_in_their_order_in_one_call(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	struct memview_update_info arg;
	size_t i;

	(void)state;
	for (i = 0; i < 300; i += 3) {
		assert_int_equal(memview_batch_map(batch, i << 12, i, 0, 4096, MEMVIEW_READ), 0);
		assert_int_equal(memview_batch_unmap(batch, (i + 1) << 12, 4096), 0);
		assert_int_equal(memview_batch_protect(batch, (i + 2) << 12, 4096,
						       MEMVIEW_READ), 0);
	}
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	assert_int_equal(dev.ioctl_calls, 1);
	assert_int_equal(dev.ioctl_fd, memview_get_fd(view));
	arg = update_arg();
	assert_int_equal(arg.count, 300);
	assert_int_equal(arg.op_size, sizeof(struct memview_op));
	assert_int_equal(arg.flags, 0);
	assert_int_equal(arg.unmapped, 0);
	for (i = 0; i < 300; i++) {
		static const uint32_t kinds[] = {
			MEMVIEW_OP_MAP, MEMVIEW_OP_UNMAP, MEMVIEW_OP_PROTECT,
		};

		assert_int_equal(dev_ops[i].op, kinds[i % 3]);
		assert_int_equal(dev_ops[i].mem_offset, i << 12);
		assert_int_equal(dev_ops[i].fd, i % 3 ? 0 : i);
	}
	assert_int_equal(errno, UNTOUCHED);
	end(view, batch);
}

static void apply_of_an_empty_batch_passes_no_operations(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	size_t failed = 77;

	(void)state;
	assert_int_equal(memview_batch_apply(view, batch, &failed, NULL), 0);
	assert_int_equal(update_arg().count, 0);
	assert_int_equal(failed, 0);
	end(view, batch);
}

static void apply_leaves_the_batch_to_be_applied_again(void **state)
{
	struct memview *view = open_view(), *other;
	struct memview_batch *batch = new_batch();
	const struct memview_op op = {
		.op = MEMVIEW_OP_UNMAP, .mem_offset = 0x1000, .size = 0x2000,
	};

	(void)state;
	assert_int_equal(memview_batch_unmap(batch, 0x1000, 0x2000), 0);
	dev.ioctl_errno = ENOSPC;
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), -ENOSPC);
	assert_int_equal(memview_batch_count(batch), 1);
	dev.ioctl_errno = 0;
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	assert_int_equal(memview_batch_count(batch), 1);
	check_op(0, op);
	other = open_view();
	assert_int_equal(memview_batch_apply(other, batch, NULL, NULL), 0);
	assert_int_equal(dev.ioctl_fd, memview_get_fd(other));
	assert_int_equal(update_arg().count, 1);
	check_op(0, op);
	close_view(other);
	end(view, batch);
}

static void apply_that_succeeds_tells_the_bytes_removed_and_that_none_failed(void **state)
{
	/* Whatever the kernel left in @failed. */
	static const struct memview_update_info out = { .failed = 1, .unmapped = 1ULL << 45 };
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	uint64_t unmapped = 1;
	size_t failed = 77;

	(void)state;
	add_unmaps(batch, 3);
	set_out(&out, sizeof(out));
	assert_int_equal(memview_batch_apply(view, batch, &failed, &unmapped), 0);
	assert_int_equal(failed, 3);
	assert_int_equal(unmapped, 1ULL << 45);
	assert_int_equal(errno, UNTOUCHED);
	end(view, batch);
}

static void apply_that_fails_tells_which_and_leaves_the_bytes_removed(void **state)
{
	static const struct memview_update_info out = { .failed = 2, .unmapped = 4096 };
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	uint64_t unmapped = 123;
	size_t failed = 77;

	(void)state;
	add_unmaps(batch, 3);
	set_out(&out, sizeof(out));
	dev.explains = true;
	dev.ioctl_errno = ERANGE;
	assert_int_equal(memview_batch_apply(view, batch, &failed, &unmapped), -ERANGE);
	assert_int_equal(failed, 2);
	assert_int_equal(unmapped, 123);
	assert_int_equal(errno, UNTOUCHED);
	end(view, batch);
}

static void apply_that_fails_before_the_kernel_writes_blames_no_operation(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	size_t failed = 77;

	(void)state;
	add_unmaps(batch, 3);
	dev.ioctl_errno = EACCES;	/* a security module's, say */
	assert_int_equal(memview_batch_apply(view, batch, &failed, NULL), -EACCES);
	assert_int_equal(failed, 3);
	end(view, batch);
}

static void apply_takes_null_for_what_it_tells(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();

	(void)state;
	add_unmaps(batch, 1);
	dev.explains = true;
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	dev.ioctl_errno = EIO;
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), -EIO);
	assert_int_equal(dev.ioctl_calls, 2);
	end(view, batch);
}

static void apply_on_a_driver_without_update_is_eopnotsupp(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	uint64_t unmapped = 123;
	size_t failed = 77;

	(void)state;
	add_unmaps(batch, 3);
	dev.ioctl_errno = ENOTTY;
	assert_int_equal(memview_batch_apply(view, batch, &failed, &unmapped), -EOPNOTSUPP);
	assert_int_equal(failed, 3);
	assert_int_equal(unmapped, 123);
	assert_int_equal(errno, UNTOUCHED);
	/* A field of an operation is what another one has not. */
	dev.ioctl_errno = E2BIG;
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), -EOPNOTSUPP);
	dev.ioctl_errno = ENOTTY;
	/* Also if there is nothing to do: it is a way to find out. */
	memview_batch_clear(batch);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), -EOPNOTSUPP);
	end(view, batch);
}

static void apply_of_more_than_the_kernel_takes_is_e2big_and_it_is_not_asked(void **state)
{
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	uint64_t unmapped = 123;
	size_t failed = 77;

	(void)state;
	add_unmaps(batch, MEMVIEW_BATCH_MAX);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	assert_int_equal(update_arg().count, MEMVIEW_UPDATE_MAX);
	assert_int_equal(dev_ops[MEMVIEW_UPDATE_MAX - 1].size, 4096);

	dev.ioctl_calls = 0;
	add_unmaps(batch, 1);
	assert_int_equal(memview_batch_count(batch), MEMVIEW_BATCH_MAX + 1);
	assert_int_equal(memview_batch_apply(view, batch, &failed, &unmapped), -E2BIG);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), -E2BIG);
	assert_int_equal(failed, MEMVIEW_BATCH_MAX + 1);
	assert_int_equal(unmapped, 123);
	assert_int_equal(dev.ioctl_calls, 0);
	assert_int_equal(errno, UNTOUCHED);
	end(view, batch);
}

static void apply_returns_every_other_errno_negated_and_leaves_errno(void **state)
{
	static const int errnos[] = {
		EPERM, EIO, EBADF, ENOMEM, EACCES, EFAULT, EEXIST, ENODEV, EINVAL,
		EMFILE, ENOSPC, ERANGE, ENOENT, EOVERFLOW, ESHUTDOWN,
	};
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();
	size_t i, nr = sizeof(errnos) / sizeof(errnos[0]);

	(void)state;
	add_unmaps(batch, 1);
	for (i = 0; i < nr; i++) {
		dev.ioctl_errno = errnos[i];
		assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), -errnos[i]);
		assert_int_equal(errno, UNTOUCHED);
	}
	assert_int_equal(dev.ioctl_calls, nr);	/* each was asked for once */
	end(view, batch);
}

static void apply_calls_again_after_a_signal_with_the_same_operations(void **state)
{
	/* EINTR explains itself as any other failure does. */
	static const struct memview_update_info out = { .count = 3, .failed = 1 };
	struct memview_update_info before, after, written = out;
	struct memview *view = open_view();
	struct memview_batch *batch = new_batch();

	(void)state;
	add_unmaps(batch, 3);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	before = update_arg();
	written.ops = before.ops;
	written.op_size = before.op_size;
	set_out(&written, sizeof(written));
	dev.explains = true;
	dev.eintr = 3;
	dev.ioctl_calls = 0;
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	assert_int_equal(dev.ioctl_calls, 4);
	after = update_arg();
	assert_true(after.ops == before.ops);
	assert_int_equal(after.count, before.count);
	assert_int_equal(after.op_size, before.op_size);
	assert_int_equal(after.flags, 0);
	assert_int_equal(errno, UNTOUCHED);
	end(view, batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_new_batch_is_empty),
		CASE(new_without_memory_is_enomem),
		CASE(free_of_null_does_nothing),
		CASE(free_of_a_full_batch_leaves_errno),
		CASE(nothing_is_asked_of_the_kernel_before_apply),
		CASE(an_operation_for_which_there_is_no_memory_is_not_appended),
		CASE(every_kind_of_operation_tells_that_there_is_no_memory),
		CASE(clear_forgets_the_operations),
		CASE(clear_keeps_the_memory),
		CASE(map_passes_every_argument_in_its_field),
		CASE(map_passes_each_flag_also_unknown_ones),
		CASE(replace_passes_every_argument_and_the_replace_flag),
		CASE(a_kernels_bit_of_the_callers_becomes_what_the_kernel_refuses),
		CASE(adopt_passes_every_argument_and_the_adopt_flag),
		CASE(map_with_passes_every_argument),
		CASE(unmap_passes_the_span_and_nothing_else),
		CASE(protect_passes_span_and_rights_and_nothing_else),
		CASE(apply_passes_all_operations_in_their_order_in_one_call),
		CASE(apply_of_an_empty_batch_passes_no_operations),
		CASE(apply_leaves_the_batch_to_be_applied_again),
		CASE(apply_that_succeeds_tells_the_bytes_removed_and_that_none_failed),
		CASE(apply_that_fails_tells_which_and_leaves_the_bytes_removed),
		CASE(apply_that_fails_before_the_kernel_writes_blames_no_operation),
		CASE(apply_takes_null_for_what_it_tells),
		CASE(apply_on_a_driver_without_update_is_eopnotsupp),
		CASE(apply_of_more_than_the_kernel_takes_is_e2big_and_it_is_not_asked),
		CASE(apply_returns_every_other_errno_negated_and_leaves_errno),
		CASE(apply_calls_again_after_a_signal_with_the_same_operations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
