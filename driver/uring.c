// SPDX-License-Identifier: GPL-2.0
/*
 * Operations submitted to an io_uring. One that need not wait is done at once, in
 * the task that submits (or in the kernel's for IORING_SETUP_SQPOLL, which has
 * the address space and the files of the ring's creator). For -EAGAIN io_uring
 * calls again from a thread that may wait, so that nothing is ever left pending:
 * that thread waits as an ioctl would, and no longer.
 */

#include "call.h"
#include "memview.h"
#include "view.h"

int memview_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	const struct memview_sqe_cmd *sqe_cmd = memview_uring_data(cmd);
	u64 copy[MEMVIEW_SQE_INLINE_MAX / sizeof(u64)];
	struct memview *view = cmd->file->private_data;
	struct memview_call call = {
		.cmd	= cmd->cmd_op,
		.ring	= true,
		.nowait	= issue_flags & IO_URING_F_NONBLOCK,
	};
	size_t size = _IOC_SIZE(call.cmd);
	/* User space may be changing it: each byte is read once. */
	u64 arg = READ_ONCE(sqe_cmd->arg);
	u32 flags = READ_ONCE(sqe_cmd->flags);
	int ret;

	if (flags & ~MEMVIEW_SQE_INLINE || READ_ONCE(sqe_cmd->__pad))
		return -EINVAL;
	if (flags & MEMVIEW_SQE_INLINE) {
		if (!(issue_flags & IO_URING_F_SQE128) || arg ||
		    size > sizeof(copy))
			return -EINVAL;
		memcpy(copy, sqe_cmd + 1, size);
		/* The compiler must not read sqe_cmd again after this. */
		barrier_data(copy);
		call.karg = copy;
	} else {
		if (arg && !size)
			return -EINVAL;
		call.uarg = u64_to_user_ptr(arg);
	}
	ret = memview_call(view, &call);
	/* There is no system call to start again. */
	return ret == -ERESTARTNOINTR ? -EINTR : ret;
}
