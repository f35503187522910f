/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A peer with a thread on each CPU that reads and writes lent memory all the
 * time, without any system call: what has no entry any more in the page table,
 * but in the TLB of one CPU, goes on being used there (R1).
 */
#ifndef MEMVIEW_TESTS_SPIN_H
#define MEMVIEW_TESTS_SPIN_H

#include "common.h"

/*
 * Lends SPIN_PAGES pages, each the first of @stride, and what lies between, to
 * such a peer, and takes them: in each way, from each CPU. When the call has
 * returned, no thread reads CANARY, none has overwritten it, and all end with the
 * fault that they have to. With a @stride above 1 by huge entries.
 *
 * @plain: the controller's mapping of the file
 */
#define SPIN_PAGES 8UL
void check_every_cpu_loses(struct fixture *f, char *plain, unsigned long stride);

/* The control: of a mapping of the file itself nothing is taken. */
void check_every_cpu_keeps(struct fixture *f, char *plain);

#endif
