// SPDX-License-Identifier: GPL-2.0
/*
 * Control fds that are shared: threads that change one table at once, and
 * processes that have each other's, which may only close and revoke.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

#define SIZE	(32 * PAGE)
#define THREADS	3

static struct own own;
static atomic_bool ends;

static void change_once(uint64_t *random, bool is_ours)
{
	uint64_t at = random_below(random, SIZE / PAGE) * PAGE;
	int err;

	switch (random_below(random, 4)) {
	case 0:
		now_doing("unmap, shared");
		err = memview_unmap(own.view, at, PAGE, NULL);
		break;
	case 1:
		now_doing("replace, shared");
		err = memview_replace(own.view, at, own.file, at, PAGE, READ_WRITE);
		break;
	case 2:
		now_doing("protect, shared");
		err = memview_protect(own.view, at, PAGE, MEMVIEW_READ);
		break;
	default:
		now_doing("populate, shared");
		err = memview_populate(own.view, at, PAGE, MEMVIEW_POPULATE_IN_PEERS,
				       NULL);
		/* Whatever interrupts it: a freezer does, too. */
		if (err == -EINTR)
			err = 0;
	}
	now_resting();
	/* A hole; or another thread has revoked it. */
	if (err && err != -ENOENT && err != -ESHUTDOWN && (is_ours || err != -EIO))
		fail("an operation on a shared table", -err);
	if (!err && !is_ours)
		fail("a table of another address space was changed", 0);
}

static void *thread_run(void *seed)
{
	uint64_t random = (uintptr_t)seed;

	while (!atomic_load(&ends))
		change_once(&random, true);
	return NULL;
}

/* Has the control fd, and another address space. */
static noreturn void stranger(uint64_t random)
{
	for (int i = 0; i < 200; i++)
		change_once(&random, false);
	now_doing("revoke by another process");
	memview_revoke(own.view);
	now_resting();
	_exit(STATUS_OK);
}

static noreturn void share_once(uint64_t random)
{
	pthread_t threads[THREADS];
	pid_t pid;

	lend_own(&own, SIZE);
	pid = start();
	if (!pid)
		stranger(random);
	for (unsigned long i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, thread_run, (void *)(random + i)))
			fail("pthread_create", 0);
	wait_for_child(pid, "a process with a control fd of another");
	atomic_store(&ends, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	count_add(N_SHARED, 1);
	count_flush();
	_exit(STATUS_OK);
}

noreturn void share_run(void)
{
	uint64_t random = random_seed(0, 62);

	while (run_goes_on()) {
		pid_t pid = start();

		if (!pid)
			share_once(random_next(&random));
		random_next(&random);
		wait_for_child(pid, "who shares a control fd");
	}
	_exit(STATUS_OK);
}
