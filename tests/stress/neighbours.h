/* SPDX-License-Identifier: GPL-2.0 */
/* What the neighbours share: see neighbours.c. */
#ifndef NEIGHBOURS_H
#define NEIGHBOURS_H

#include "stress.h"

#define READ_WRITE	(MEMVIEW_READ | MEMVIEW_WRITE)

/* A view of all of a memfd, which has nothing to do with those of the crews. */
struct own {
	struct memview *view;
	int viewfd;
	int file;
	size_t size;
};

void lend_own(struct own *own, size_t size);
void give_up_own(struct own *own);
volatile char *map_own(const struct own *own);
/* Each access must go on at once. */
void touch_all(const char *what, volatile char *at, size_t size);
void nap(unsigned int milliseconds);
/* A child that does not end in time is hung. Returns its status. */
int wait_for_child(pid_t pid, const char *what);
void kill_child(pid_t pid, const char *what);

/* order.c, throttle.c, userfault.c, share.c, mlock.c, overlay.c, freeze.c, fuse.c, swap.c,
   bystander.c */
noreturn void order_run(void);
noreturn void throttle_run(void);
noreturn void userfault_run(void);
noreturn void share_run(void);
noreturn void mlock_run(void);
noreturn void overlay_run(void);
noreturn void freeze_run(void);
noreturn void fuse_run(void);
noreturn void swap_run(void);
noreturn void bystander_run(void);
void freeze_prepare(void);
void fuse_prepare(void);

#endif /* NEIGHBOURS_H */
