// SPDX-License-Identifier: GPL-2.0
/*
 * What goes on beside the crews throughout a run. Each is a process that repeats
 * one thing by which somebody could be made to wait: see the files of the same
 * name. What has to go on all the same is what the clock watches (clock.c).
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "neighbours.h"

static const struct {
	const char *name;
	void (*run)(void);	/* does not return */
	void (*prepare)(void);	/* before anything goes on; NULL: nothing to do */
} neighbours[] = {
	{ "lose",	vandal_run,	NULL },
	{ "order",	order_run,	NULL },
	{ "throttle",	throttle_run,	NULL },
	{ "userfault",	userfault_run,	NULL },
	{ "share",	share_run,	NULL },
	{ "mlock",	mlock_run,	NULL },
	{ "overlay",	overlay_run,	NULL },
	{ "freeze",	freeze_run,	freeze_prepare },
	{ "fuse",	fuse_run,	fuse_prepare },
	{ "swap",	swap_run,	NULL },
	{ "bystander",	bystander_run,	NULL },
};

#define NR_NEIGHBOURS (sizeof(neighbours) / sizeof(neighbours[0]))

bool is_neighbour(const char *name, size_t len)
{
	for (unsigned int i = 0; i < NR_NEIGHBOURS; i++)
		if (strlen(neighbours[i].name) == len &&
		    !memcmp(neighbours[i].name, name, len))
			return true;
	return false;
}

void prepare_neighbours(void)
{
	for (unsigned int i = 0; i < NR_NEIGHBOURS; i++)
		if (neighbours[i].prepare && is_chosen(neighbours[i].name))
			neighbours[i].prepare();
}

unsigned int start_neighbours(void)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < NR_NEIGHBOURS; i++) {
		if (!is_chosen(neighbours[i].name))
			continue;
		nr++;
		if (!start())
			neighbours[i].run();
	}
	return nr;
}

void lend_own(struct own *own, size_t size)
{
	int err = memview_open(&own->view);

	own->size = size;
	own->file = memfd_create("own", MFD_CLOEXEC);
	if (own->file < 0 || ftruncate(own->file, size))
		fail("memfd_create", errno);
	if (!err)
		err = memview_set_size(own->view, size);
	if (!err)
		err = memview_map(own->view, 0, own->file, 0, size, READ_WRITE);
	if (err)
		fail("a view of its own", -err);
	own->viewfd = memview_view_fd(own->view);
	if (own->viewfd < 0)
		fail("a view fd of its own", -own->viewfd);
}

void give_up_own(struct own *own)
{
	close(own->viewfd);
	memview_close(own->view);
	close(own->file);
}

volatile char *map_own(const struct own *own)
{
	volatile char *at = mmap(NULL, own->size, PROT_READ | PROT_WRITE,
				 MAP_SHARED, own->viewfd, 0);

	/* It may have been revoked before. */
	if (at == MAP_FAILED && errno == ESHUTDOWN)
		_exit(STATUS_OK);
	if (at == MAP_FAILED)
		fail("mapping a view of its own", errno);
	return at;
}

void touch_all(const char *what, volatile char *at, size_t size)
{
	for (size_t i = 0; i < size; i += PAGE) {
		now_doing(what);
		at[i]++;
	}
	now_resting();
}

void nap(unsigned int milliseconds)
{
	const struct timespec time = {
		.tv_sec = milliseconds / 1000,
		.tv_nsec = milliseconds % 1000 * 1000000L,
	};

	nanosleep(&time, NULL);
}

int wait_for_child(pid_t pid, const char *what)
{
	double limit = elapsed() + PATIENCE;
	int status;

	while (!waitpid(pid, &status, WNOHANG)) {
		if (elapsed() > limit)
			hung(pid, what);
		nap(TICK);
	}
	return status;
}

void kill_child(pid_t pid, const char *what)
{
	kill(pid, SIGKILL);
	wait_for_child(pid, what);
}
