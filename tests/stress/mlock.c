// SPDX-License-Identifier: GPL-2.0
/* Controllers that lock all their memory, before and after they lend some. */

#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

#define SIZE	(16 * PAGE)

static noreturn void lock_once(bool later)
{
	volatile char *at;
	struct own own;

	now_doing("mlockall");
	if (later && mlockall(MCL_CURRENT | MCL_FUTURE))
		fail("mlockall", errno);
	lend_own(&own, SIZE);
	if (!later && mlockall(MCL_CURRENT))
		fail("mlockall", errno);
	at = map_own(&own);
	touch_all("access to locked memory", at, SIZE);
	now_doing("end of locked memory");
	munlockall();
	give_up_own(&own);
	count_add(N_LOCKED, 1);
	count_flush();
	_exit(STATUS_OK);
}

noreturn void mlock_run(void)
{
	for (unsigned int i = 0; run_goes_on(); i++) {
		pid_t pid = start();

		if (!pid)
			lock_once(i % 2);
		wait_for_child(pid, "who locks its memory");
		nap(50);
	}
	_exit(STATUS_OK);
}
