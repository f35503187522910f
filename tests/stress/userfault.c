// SPDX-License-Identifier: GPL-2.0
/*
 * Controllers that have a userfaultfd on their sources and never answer, with and
 * without events for what is unmapped. Their peers wait for them, and end when
 * they are killed; nobody else waits.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

#define SIZE	(64 * PAGE)

/* Faults that nobody answers, in the second half of the source. */
static bool block_source(const struct own *own, bool events)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = events ? UFFD_FEATURE_EVENT_UNMAP |
				     UFFD_FEATURE_EVENT_REMOVE : 0,
	};
	struct uffdio_register area = {
		.range = { .len = SIZE / 2 },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct memview_range range;
	uint64_t offset = 0;
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		return false;
	if (memview_query(own->view, &offset, &range, sizeof(range), 1,
			  NULL) != 1)
		fail("query", 0);
	area.range.start = range.source_addr + SIZE / 2;
	return !ioctl(uffd, UFFDIO_REGISTER, &area);
}

static noreturn void quick_peer(const struct own *own)
{
	volatile char *at = map_own(own);

	for (;;)
		touch_all("access beside a userfaultfd", at, SIZE / 2);
}

/* SIGBUS, when the view has ended, is the end of it. */
static noreturn void slow_peer(const struct own *own)
{
	volatile char *at = map_own(own);

	at[SIZE - PAGE] = 1;
	_exit(0);
}

/*
 * In a process of its own: the controller's calls take down the sources that are
 * idle then, and that waits for who reads the userfaultfd, which is nobody.
 */
static void revoke_own(const struct own *own)
{
	pid_t pid = start();

	if (pid) {
		wait_for_child(pid, "a revocation");
		return;
	}
	now_doing("revoke under a userfaultfd");
	memview_revoke(own->view);
	_exit(0);
}

static noreturn void control(uint64_t random, const int *ready)
{
	bool events = random_once_in(&random, 2);
	struct own own;
	pid_t slow, quick;

	lend_own(&own, SIZE);
	if (!block_source(&own, events))
		_exit(0);
	slow = start();
	if (!slow)
		slow_peer(&own);
	quick = start();
	if (!quick)
		quick_peer(&own);
	nap(50);
	if (random_once_in(&random, 2)) {
		revoke_own(&own);
	}
	/* It waits for the userfaultfd, of a revoked view as well, and can be killed. */
	kill_child(slow, "a peer that waits for a userfaultfd");
	kill_child(quick, "a peer beside a userfaultfd");
	if (write(ready[1], "", 1) != 1)
		fail("pipe", errno);
	give_up_own(&own);
	for (;;)
		pause();
}

noreturn void userfault_run(void)
{
	uint64_t random = random_seed(0, 61);

	while (run_goes_on()) {
		int ready[2];
		pid_t pid;
		char c;

		if (pipe2(ready, O_CLOEXEC))
			fail("pipe2", errno);
		pid = start();
		if (!pid)
			control(random_next(&random), ready);
		random_next(&random);
		close(ready[1]);
		/* Nothing comes if it could not even begin. */
		if (read(ready[0], &c, 1) == 1)
			count_add(N_USERFAULT, 1);
		nap(20);
		kill_child(pid, "a controller with a userfaultfd");
		close(ready[0]);
		count_flush();
	}
	_exit(STATUS_OK);
}
