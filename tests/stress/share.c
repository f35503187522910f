// SPDX-License-Identifier: GPL-2.0
/*
 * Control fds that are shared: threads that change one table at once, and
 * processes that have each other's, which may only close and revoke. Two of them
 * swap theirs all the time, so that calls come from the right address space, the
 * wrong one, and threads that cannot know.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

#define SIZE	(32 * PAGE)
#define THREADS	3
#define SWAPS	60	/* even: then each has its own again */

/* The address space that the control fd is of. */
enum whose { OURS, THEIRS, SOMEBODYS };

static struct own own;
static atomic_bool ends;

static void change_once(uint64_t *random, enum whose whose)
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
	if (err && err != -ENOENT && err != -ESHUTDOWN && (whose == OURS || err != -EIO))
		fail("an operation on a shared table", -err);
	if (whose == THEIRS && err != -EIO && err != -ESHUTDOWN)
		fail("an operation on a table of another address space", -err);
}

static void *thread_run(void *seed)
{
	uint64_t random = (uintptr_t)seed;

	while (!atomic_load(&ends))
		change_once(&random, OURS);
	return NULL;
}

/* Has the control fd, and another address space. */
static noreturn void stranger(uint64_t random)
{
	for (int i = 0; i < 200; i++)
		change_once(&random, THEIRS);
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

/* Does not know what the other thread puts there. */
static void *unknowing_run(void *seed)
{
	uint64_t random = (uintptr_t)seed;

	while (!atomic_load(&ends))
		change_once(&random, SOMEBODYS);
	return NULL;
}

/* Sends the control fd that it has, and has the one that it gets from then on. */
static void swap_once(int socket)
{
	int fd = memview_get_fd(own.view), theirs, err;
	size_t len;
	char c = 0;

	err = memview_send_fd(socket, fd, &c, 1);
	theirs = err < 0 ? err : memview_recv_fd(socket, &c, 1, &len);
	/* The other one has failed, and said so. */
	if (theirs == -EPIPE || theirs == -ECONNRESET)
		_exit(STATUS_OK);
	if (theirs < 0)
		fail("swapping control fds", -theirs);
	now_doing("control fd put at the place of another");
	if (dup3(theirs, fd, O_CLOEXEC) < 0)
		fail("dup3", errno);
	close(theirs);
	now_resting();
}

static noreturn void swap_control_fds(int socket, uint64_t random)
{
	uint64_t seed = random_next(&random);
	pthread_t thread;

	lend_own(&own, SIZE);
	if (pthread_create(&thread, NULL, unknowing_run, (void *)seed))
		fail("pthread_create", 0);
	for (int i = 0; i < SWAPS; i++) {
		change_once(&random, i % 2 ? THEIRS : OURS);
		swap_once(socket);
	}
	atomic_store(&ends, true);
	pthread_join(thread, NULL);
	now_doing("end of views with swapped control fds");
	give_up_own(&own);
	count_add(N_SWAPPED, 1);
	count_flush();
	_exit(STATUS_OK);
}

static void swap_between_processes(uint64_t *random)
{
	int sockets[2];
	pid_t pids[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		fail("socketpair", errno);
	for (int i = 0; i < 2; i++) {
		uint64_t seed = random_next(random);

		pids[i] = start();
		if (!pids[i]) {
			close(sockets[!i]);
			swap_control_fds(sockets[i], seed);
		}
	}
	close(sockets[0]);
	close(sockets[1]);
	for (int i = 0; i < 2; i++)
		wait_for_child(pids[i], "who swaps control fds");
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
		swap_between_processes(&random);
	}
	_exit(STATUS_OK);
}
