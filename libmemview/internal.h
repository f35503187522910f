/* SPDX-License-Identifier: MIT */
/*
 * Everything is built with -fvisibility=hidden; the functions of the public
 * header, and nothing else, are exported. memview.map gives them their version.
 */
#ifndef LIBMEMVIEW_INTERNAL_H
#define LIBMEMVIEW_INTERNAL_H

#pragma GCC visibility push(default)
#include "memview.h"
#pragma GCC visibility pop

/* Flags of the kernel's for which memview.h has functions. */
#define MEMVIEW_HOW_TO_MAP	(MEMVIEW_MAP_REPLACE | MEMVIEW_MAP_ADOPT)

/*
 * ioctl(2) on a control fd: -errno on failure, errno left alone, called again
 * after a signal.
 */
int memview_control_ioctl(int fd, unsigned long request, void *arg);

#endif /* LIBMEMVIEW_INTERNAL_H */
