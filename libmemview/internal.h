/* SPDX-License-Identifier: MIT */
/*
 * Everything is built with -fvisibility=hidden; the functions of the public
 * header, and nothing else, are exported. memview.map gives them their version.
 */
#ifndef LIBMEMVIEW_INTERNAL_H
#define LIBMEMVIEW_INTERNAL_H

#pragma GCC visibility push(default)
#include "memview.h"
#include "memview_uring.h"
#pragma GCC visibility pop

/* Flags of the kernel's for which memview.h has functions. */
#define MEMVIEW_HOW_TO_MAP	(MEMVIEW_MAP_REPLACE | MEMVIEW_MAP_ADOPT)

/*
 * ioctl(2) on a control fd: -errno on failure, errno left alone, called again
 * after a signal.
 */
int memview_control_ioctl(int fd, unsigned long request, void *arg);

/*
 * The arguments of a caller of any version. What they cannot be becomes flags that
 * the kernel refuses.
 */
struct memview_map_args memview_read_map_args(const struct memview_map_args *args,
					      size_t size);

struct memview_update_info;

/*
 * What MEMVIEW_UPDATE is to be told for a batch. Too large a count is one that
 * the kernel refuses.
 */
void memview_batch_info(const struct memview_batch *batch,
			struct memview_update_info *info);

#endif /* LIBMEMVIEW_INTERNAL_H */
