/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device that is not there, for libmemview: the linker wraps open, ioctl,
 * close and what allocates (--wrap). What the library passes to the kernel is
 * recorded, what the kernel answers is scripted.
 */
#ifndef TESTS_HOST_FAKE_DEVICE_H
#define TESTS_HOST_FAKE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/memory-view.h>

#include "memview.h"

/* A value that no function has a reason to set errno to. */
#define UNTOUCHED 4095

struct fake_device {
	bool fake;		/* wrappers record and script; else they pass through */
	const char *stand_in;	/* what open really opens */
	int open_errno;		/* open fails with it */
	int open_calls;
	int open_flags;
	char open_path[64];
	int closed_fd;
	bool malloc_fails;	/* and reallocarray */
	int ioctl_calls;
	int ioctl_fd;
	unsigned long request;
	unsigned char arg[128];	/* as the kernel would have read it */
	void *arg_pointer;
	int ioctl_ret;
	int ioctl_errno;	/* ioctl fails with it */
	int eintr;		/* so many calls fail with EINTR before */
	unsigned char out[128];	/* what the kernel writes if the ioctl reads */
	bool explains;		/* it writes also when it fails, as MEMVIEW_UPDATE */
};

extern struct fake_device dev;
/* The operations of the last MEMVIEW_UPDATE. */
extern struct memview_op dev_ops[MEMVIEW_UPDATE_MAX];

void set_out(const void *out, size_t size);
void reset_device(void);
/* An open view, with everything that opening has left in dev forgotten. */
struct memview *open_view(void);
void close_view(struct memview *view);

#endif /* TESTS_HOST_FAKE_DEVICE_H */
