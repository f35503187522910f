// SPDX-License-Identifier: MIT
/*
 * Operations on a view, written into io_uring submissions. As with ioctls, what
 * they say is for the kernel to judge.
 */
#include <stdbool.h>
#include <string.h>

#include <linux/io_uring.h>
#include <linux/memory-view.h>

#include "internal.h"

_Static_assert(MEMVIEW_CAN_URING == MEMVIEW_FEATURE_URING_CMD, "feature");

/* What struct memview_arg is. */
struct __attribute__((may_alias)) arg {
	union {
		struct memview_size_info size;
		struct memview_map_fd_info map;
		struct memview_unmap_fd_info unmap;
		struct memview_protect_info protect;
		struct memview_update_info update;
	};
	uint32_t cmd;
	size_t count;	/* of the batch, which may be more than the kernel takes */
};

_Static_assert(sizeof(struct arg) <= sizeof(struct memview_arg), "room");
_Static_assert(_Alignof(struct arg) <= _Alignof(struct memview_arg), "alignment");

/* @info: the structure of @cmd, or NULL for one that has none. */
static void prep(struct io_uring_sqe *sqe, struct memview *view, uint32_t cmd,
		 const void *info, struct memview_arg *memory)
{
	/* The array at the end of the structure has no size of its own. */
	unsigned char *to = (unsigned char *)sqe + offsetof(struct io_uring_sqe, cmd);
	struct memview_sqe_cmd sqe_cmd = { 0 };
	size_t size = _IOC_SIZE(cmd);

	*sqe = (struct io_uring_sqe) {
		.opcode = IORING_OP_URING_CMD,
		.fd = memview_get_fd(view),
		.cmd_op = cmd,
		.user_data = sqe->user_data,
	};
	if (info && memory) {
		struct arg *arg = (struct arg *)memory;

		memset(memory, 0, sizeof(*memory));
		memcpy(arg, info, size);
		arg->cmd = cmd;
		sqe_cmd.arg = (uintptr_t)arg;
	} else if (info) {
		sqe_cmd.flags = MEMVIEW_SQE_INLINE;
		memset(to, 0, 2 * sizeof(*sqe) - offsetof(struct io_uring_sqe, cmd));
		memcpy(to + sizeof(sqe_cmd), info, size);
	}
	memcpy(to, &sqe_cmd, sizeof(sqe_cmd));
}

static void prep_map(struct io_uring_sqe *sqe, struct memview *view,
		     const struct memview_map_args *args, struct memview_arg *arg)
{
	struct memview_map_fd_info info = {
		.fd = args->fd,
		.flags = args->flags,
		.fd_offset = args->fd_offset,
		.size = args->size,
		.mem_offset = args->mem_offset,
		.addr = (uintptr_t)args->addr,
		.cookie = args->cookie,
	};

	prep(sqe, view, MEMVIEW_MAP_FD, &info, arg);
}

static void prep_map_as(struct io_uring_sqe *sqe, struct memview *view,
			uint64_t mem_offset, void *addr, int fd,
			uint64_t fd_offset, uint64_t size, unsigned int flags,
			unsigned int how, struct memview_arg *arg)
{
	prep_map(sqe, view, &(struct memview_map_args) {
		.mem_offset = mem_offset,
		.fd_offset = fd_offset,
		.size = size,
		.addr = addr,
		.fd = fd,
		/* As in batch.c: what are not their flags are unknown ones. */
		.flags = flags & MEMVIEW_HOW_TO_MAP ? ~0U : flags | how,
	}, arg);
}

void memview_prep_map_with(struct io_uring_sqe *sqe, struct memview *view,
			   const struct memview_map_args *args, size_t size,
			   struct memview_arg *arg)
{
	struct memview_map_args known = memview_read_map_args(args, size);

	prep_map(sqe, view, &known, arg);
}

void memview_prep_map(struct io_uring_sqe *sqe, struct memview *view,
		      uint64_t mem_offset, int fd, uint64_t fd_offset,
		      uint64_t size, unsigned int flags, struct memview_arg *arg)
{
	prep_map_as(sqe, view, mem_offset, NULL, fd, fd_offset, size, flags, 0, arg);
}

void memview_prep_adopt(struct io_uring_sqe *sqe, struct memview *view,
			uint64_t mem_offset, void *addr, int fd,
			uint64_t fd_offset, uint64_t size, unsigned int flags,
			struct memview_arg *arg)
{
	prep_map_as(sqe, view, mem_offset, addr, fd, fd_offset, size, flags,
		    MEMVIEW_MAP_ADOPT, arg);
}

void memview_prep_replace(struct io_uring_sqe *sqe, struct memview *view,
			  uint64_t mem_offset, int fd, uint64_t fd_offset,
			  uint64_t size, unsigned int flags,
			  struct memview_arg *arg)
{
	prep_map_as(sqe, view, mem_offset, NULL, fd, fd_offset, size, flags,
		    MEMVIEW_MAP_REPLACE, arg);
}

void memview_prep_unmap(struct io_uring_sqe *sqe, struct memview *view,
			uint64_t mem_offset, uint64_t size,
			struct memview_arg *arg)
{
	struct memview_unmap_fd_info info = {
		.mem_offset = mem_offset,
		.size = size,
	};

	prep(sqe, view, MEMVIEW_UNMAP_FD, &info, arg);
}

void memview_prep_protect(struct io_uring_sqe *sqe, struct memview *view,
			  uint64_t mem_offset, uint64_t size,
			  unsigned int flags, struct memview_arg *arg)
{
	struct memview_protect_info info = {
		.mem_offset = mem_offset,
		.size = size,
		.flags = flags,
	};

	prep(sqe, view, MEMVIEW_PROTECT, &info, arg);
}

void memview_prep_set_size(struct io_uring_sqe *sqe, struct memview *view,
			   uint64_t size, struct memview_arg *arg)
{
	struct memview_size_info info = { .size = size };

	prep(sqe, view, MEMVIEW_SET_SIZE, &info, arg);
}

void memview_prep_batch(struct io_uring_sqe *sqe, struct memview *view,
			const struct memview_batch *batch,
			struct memview_arg *arg)
{
	struct memview_update_info info;

	memview_batch_info(batch, &info);
	prep(sqe, view, MEMVIEW_UPDATE, &info, arg);
	if (arg)
		((struct arg *)arg)->count = memview_batch_count(batch);
}

void memview_prep_revoke(struct io_uring_sqe *sqe, struct memview *view)
{
	prep(sqe, view, MEMVIEW_REVOKE, NULL, NULL);
}

uint64_t memview_arg_unmapped(const struct memview_arg *memory)
{
	const struct arg *arg = (const struct arg *)memory;

	switch (arg->cmd) {
	case MEMVIEW_UNMAP_FD:
		return arg->unmap.unmapped;
	case MEMVIEW_UPDATE:
		return arg->update.unmapped;
	default:
		return 0;
	}
}

size_t memview_arg_failed(const struct memview_arg *memory)
{
	const struct arg *arg = (const struct arg *)memory;

	if (arg->cmd != MEMVIEW_UPDATE)
		return 0;
	/* None of them, whose number the kernel does not know if they are too many. */
	if (arg->update.failed == arg->update.count)
		return arg->count;
	return arg->update.failed;
}
