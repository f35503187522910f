// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that map a view and its files in any order and then register their
 * first mmu notifier, which takes the locks of all files they have mapped, in
 * this order. Meanwhile the vandal and the lanes make holes in these files.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

/* Mappings between them: the more there are, the longer it takes. */
#define BETWEEN		100

static int between[BETWEEN];

static void map_somewhere(char **at, int fd, size_t size)
{
	now_doing("mmap, in order");
	if (mmap(*at, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		fail("mapping in order", errno);
	*at += size + PAGE;
}

static void map_in_order(uint64_t *random, int viewfd, size_t size)
{
	size_t room = 4 * (size + HUGE_PAGE) + BETWEEN * 2 * PAGE;
	char *at = mmap(NULL, room, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	bool view_first = random_once_in(random, 2);

	if (at == MAP_FAILED)
		fail("mmap", errno);
	if (view_first)
		map_somewhere(&at, viewfd, size);
	else
		map_somewhere(&at, files[0], size);
	for (int i = 0; i < BETWEEN; i++)
		map_somewhere(&at, between[i], PAGE);
	if (view_first)
		map_somewhere(&at, files[0], size);
	else
		map_somewhere(&at, viewfd, size);
	if (random_once_in(random, 2))
		map_somewhere(&at, files[1], size);
}

static bool make_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return kvm >= 0 && ioctl(kvm, KVM_CREATE_VM, 0) >= 0;
}

static noreturn void register_one(uint64_t random, int viewfd, size_t size)
{
	struct memview *view;

	map_in_order(&random, viewfd, size);
	now_doing("first notifier");
	if (random_once_in(&random, 2) && make_vm()) {
		count_add(N_NOTIFIER_KVM, 1);
	} else {
		int err = memview_open(&view);

		if (!err)
			err = memview_set_size(view, PAGE);
		if (!err)
			err = memview_map(view, 0, between[0], 0, PAGE, MEMVIEW_READ);
		if (err)
			fail("map, the first of a process", -err);
		count_add(N_NOTIFIER, 1);
	}
	count_flush();
	_exit(STATUS_OK);
}

noreturn void order_run(void)
{
	uint64_t random = random_seed(0, 60);
	size_t size = options.pages * PAGE;
	struct memview *view;
	int err = memview_open(&view), viewfd;

	if (!err)
		err = memview_set_size(view, size);
	/* The first part, which the vandal has, too. */
	if (!err)
		err = memview_map(view, 0, files[0], 0, size, MEMVIEW_READ);
	if (err)
		fail("a view to map in order", -err);
	viewfd = memview_view_fd(view);
	for (int i = 0; i < BETWEEN; i++) {
		between[i] = memfd_create("between", MFD_CLOEXEC);
		if (between[i] < 0 || ftruncate(between[i], PAGE))
			fail("memfd_create", errno);
	}
	while (run_goes_on()) {
		pid_t pid = start();

		if (!pid)
			register_one(random_next(&random), viewfd, size);
		random_next(&random);
		wait_for_child(pid, "who registers a notifier");
	}
	_exit(STATUS_OK);
}
