// SPDX-License-Identifier: MIT
/*
 * A batch: operations on a view, collected as MEMVIEW_UPDATE takes them. What
 * they say is for the kernel to judge, in memview_batch_apply(), so that there
 * is one place where a wrong one shows up.
 */
#include <errno.h>
#include <stdlib.h>

#include <linux/memory-view.h>

#include "internal.h"

_Static_assert(MEMVIEW_BATCH_MAX == MEMVIEW_UPDATE_MAX, "limit");

/* Operations that a batch has room for when the first one comes. */
#define FIRST_ROOM	16

struct memview_batch {
	struct memview_op *ops;
	size_t count;
	size_t room;
};

/*
 * Unlike malloc() and realloc(), this is no function of which compilers believe
 * that it leaves errno alone: they do not drop the assignment.
 */
static void *resize_array(void *array, size_t count, size_t size)
{
	int saved_errno = errno;

	array = reallocarray(array, count, size);
	errno = saved_errno;
	return array;
}

int memview_batch_new(struct memview_batch **batchp)
{
	struct memview_batch *batch = resize_array(NULL, 1, sizeof(*batch));

	if (!batch)
		return -ENOMEM;
	*batch = (struct memview_batch) { 0 };
	*batchp = batch;
	return 0;
}

void memview_batch_free(struct memview_batch *batch)
{
	int saved_errno = errno;

	if (!batch)
		return;
	free(batch->ops);
	free(batch);
	errno = saved_errno;
}

void memview_batch_clear(struct memview_batch *batch)
{
	batch->count = 0;
}

size_t memview_batch_count(const struct memview_batch *batch)
{
	return batch->count;
}

static int append(struct memview_batch *batch, const struct memview_op *op)
{
	if (batch->count == batch->room) {
		/* Cannot overflow, as so many operations are in memory. */
		size_t room = batch->room ? 2 * batch->room : FIRST_ROOM;
		struct memview_op *ops;

		ops = resize_array(batch->ops, room, sizeof(*ops));
		if (!ops)
			return -ENOMEM;
		batch->ops = ops;
		batch->room = room;
	}
	batch->ops[batch->count++] = *op;
	return 0;
}

static int append_map(struct memview_batch *batch, const struct memview_map_args *args)
{
	return append(batch, &(struct memview_op) {
		.op = MEMVIEW_OP_MAP,
		.flags = args->flags,
		.mem_offset = args->mem_offset,
		.size = args->size,
		.fd_offset = args->fd_offset,
		.fd = args->fd,
		.addr = (uintptr_t)args->addr,
		.cookie = args->cookie,
	});
}

static int append_map_as(struct memview_batch *batch, uint64_t mem_offset,
			 void *addr, int fd, uint64_t fd_offset, uint64_t size,
			 unsigned int flags, unsigned int how)
{
	/*
	 * Not their flags, and the kernel would obey them. All flags together it
	 * refuses, as it does any unknown one.
	 */
	if (flags & MEMVIEW_HOW_TO_MAP)
		flags = ~0U;
	return append_map(batch, &(struct memview_map_args) {
		.mem_offset = mem_offset,
		.fd_offset = fd_offset,
		.size = size,
		.addr = addr,
		.fd = fd,
		.flags = flags | how,
	});
}

int memview_batch_map_with(struct memview_batch *batch,
			   const struct memview_map_args *args, size_t size)
{
	struct memview_map_args known = memview_read_map_args(args, size);

	return append_map(batch, &known);
}

int memview_batch_map(struct memview_batch *batch, uint64_t mem_offset, int fd,
		      uint64_t fd_offset, uint64_t size, unsigned int flags)
{
	return append_map_as(batch, mem_offset, NULL, fd, fd_offset, size, flags, 0);
}

int memview_batch_adopt(struct memview_batch *batch, uint64_t mem_offset,
			void *addr, int fd, uint64_t fd_offset, uint64_t size,
			unsigned int flags)
{
	return append_map_as(batch, mem_offset, addr, fd, fd_offset, size, flags,
			     MEMVIEW_MAP_ADOPT);
}

int memview_batch_replace(struct memview_batch *batch, uint64_t mem_offset,
			  int fd, uint64_t fd_offset, uint64_t size,
			  unsigned int flags)
{
	return append_map_as(batch, mem_offset, NULL, fd, fd_offset, size, flags,
			     MEMVIEW_MAP_REPLACE);
}

int memview_batch_unmap(struct memview_batch *batch, uint64_t mem_offset,
			uint64_t size)
{
	return append(batch, &(struct memview_op) {
		.op = MEMVIEW_OP_UNMAP,
		.mem_offset = mem_offset,
		.size = size,
	});
}

int memview_batch_protect(struct memview_batch *batch, uint64_t mem_offset,
			  uint64_t size, unsigned int flags)
{
	return append(batch, &(struct memview_op) {
		.op = MEMVIEW_OP_PROTECT,
		.flags = flags,
		.mem_offset = mem_offset,
		.size = size,
	});
}

void memview_batch_info(const struct memview_batch *batch,
			struct memview_update_info *info)
{
	*info = (struct memview_update_info) {
		.ops = (uintptr_t)batch->ops,
		.count = batch->count > MEMVIEW_BATCH_MAX ? UINT32_MAX : batch->count,
		.op_size = sizeof(*batch->ops),
		.failed = batch->count,	/* for failures that write nothing */
	};
}

int memview_batch_apply(struct memview *view, const struct memview_batch *batch,
			size_t *failed, uint64_t *unmapped)
{
	struct memview_update_info info;
	int ret;

	if (failed)
		*failed = batch->count;
	/* The kernel says EINVAL. */
	if (batch->count > MEMVIEW_BATCH_MAX)
		return -E2BIG;
	memview_batch_info(batch, &info);
	ret = memview_control_ioctl(memview_get_fd(view), MEMVIEW_UPDATE, &info);
	if (ret && failed)
		*failed = info.failed;
	if (!ret && unmapped)
		*unmapped = info.unmapped;
	/*
	 * The view is of a memory-view device: what it lacks is this one ioctl,
	 * or the field of an operation that is not zero.
	 */
	return ret == -ENOTTY || ret == -E2BIG ? -EOPNOTSUPP : ret;
}
