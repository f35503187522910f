/* SPDX-License-Identifier: GPL-2.0 */
/* The operations of the control file, by ioctl(2) or io_uring. */
#ifndef _MEMVIEW_CALL_H
#define _MEMVIEW_CALL_H

#include "memview.h"

/**
 * struct memview_call - a call of an operation
 * @cmd: number of the ioctl
 * @uarg: its argument in user space; or
 * @karg: a copy of it that the caller has made, to which nothing is written
 * @ring: called by io_uring, which some operations do not support
 * @nowait: -EAGAIN rather than wait
 */
struct memview_call {
	unsigned int cmd;
	void __user *uarg;
	const void *karg;
	bool ring;
	bool nowait;
};

long memview_call(struct memview *view, const struct memview_call *call);
long memview_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

int memview_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags);

#endif /* _MEMVIEW_CALL_H */
