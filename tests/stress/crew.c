// SPDX-License-Identifier: GPL-2.0
/* A crew: a controller and its peers, then the next ones, and so on. */

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stress.h"

unsigned int crew_number;

static void tick(void)
{
	const struct timespec time = { .tv_nsec = TICK * 1000 * 1000 };

	nanosleep(&time, NULL);
}

noreturn void hung(pid_t pid, const char *what)
{
	print("stress: hung: %s (process %d)\n", what, pid);
	print_stacks(pid);
	atomic_store(&board->stop, true);
	_exit(STATUS_HUNG);
}

/* Waits for a process of this life to end. */
static void reap(pid_t pid, const char *what)
{
	double limit = elapsed() + PATIENCE;
	int status;

	while (!waitpid(pid, &status, WNOHANG)) {
		if (elapsed() > limit)
			hung(pid, what);
		tick();
	}
	/* They are killed or they exit; what else is a bug of the test, or worse. */
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
		print("stress: %s died of signal %d\n", what, WTERMSIG(status));
		atomic_store(&board->failed, true);
		atomic_store(&board->stop, true);
	}
}

/* Children of peers that were killed are ours: a view lives as long as they. */
static void reap_orphans(void)
{
	double limit = elapsed() + PATIENCE;

	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0)
			return;
		if (elapsed() > limit)
			hung(pid, "a child of a peer");
		if (!pid)
			tick();
	}
}

pid_t start(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		fail("fork", errno);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(0);
		alarm(0);
		count_forget();
		activity_forget();
	}
	return pid;
}

/* The last controller may have been killed before it took its word back. */
static void forget_known(void)
{
	struct crew *crew = this_crew();

	for (int view = 0; view < VIEWS; view++)
		for (unsigned long page = 0; page < view_pages(); page++)
			atomic_store(&crew->known[view][page], 0);
}

static void live(unsigned long long life, uint64_t *random,
		 uint64_t *const mem[FILES])
{
	static const enum count how[NR_ENDINGS] = {
		[END_KILL] = N_KILLED, [END_EXIT] = N_EXITED,
		[END_EXEC] = N_EXECED, [END_REVOKE] = N_REVOKED,
		[END_CLOSE] = N_CLOSED,
	};
	/* Each of them soon, in a run of a few seconds; not all crews the same. */
	enum ending ending = (life + crew_number) % NR_ENDINGS;
	unsigned int milliseconds = 100 + random_below(random, 1500);
	unsigned int victim = random_below(random, 3 * options.peers);
	unsigned int kill_at = random_below(random, milliseconds);
	int sockets[MAX_PEERS][2], ends[MAX_PEERS];
	pid_t controller, peers[MAX_PEERS];
	double limit;

	if (life <= NR_ENDINGS)
		victim = 0;
	forget_known();

	for (unsigned int i = 0; i < options.peers; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets[i]))
			fail("socketpair", errno);
		ends[i] = sockets[i][0];
	}
	controller = start();
	if (!controller) {
		for (unsigned int i = 0; i < options.peers; i++)
			close(sockets[i][1]);
		controller_run(life, ending, milliseconds, ends);
	}
	for (unsigned int i = 0; i < options.peers; i++)
		close(ends[i]);
	for (unsigned int i = 0; i < options.peers; i++) {
		peers[i] = start();
		if (!peers[i]) {
			/* Peers are to have the memory from a view only. */
			for (int j = 0; j < FILES; j++)
				close(files[j]);
			peer_run(life, i, sockets[i][1]);
		}
	}
	for (unsigned int i = 0; i < options.peers; i++)
		close(sockets[i][1]);

	limit = elapsed() + milliseconds / 1e3;
	for (unsigned int ticks = 0; elapsed() < limit; ticks++) {
		if (atomic_load(&board->stop))
			break;
		tick();
		if (ticks == kill_at / TICK && victim < options.peers) {
			kill(peers[victim], SIGKILL);
			count_add(N_PEER_KILLED, 1);
		}
	}

	/* The controller ends by itself, but for SIGKILL; then all is gone. */
	if (ending == END_KILL || atomic_load(&board->stop)) {
		ending = END_KILL;
		kill(controller, SIGKILL);
	}
	reap(controller, "the controller");
	count_add(how[ending], 1);
	count_add(N_LIFE, 1);
	count_flush();
	check_dead(life, mem);

	atomic_store(&this_crew()->over, life);
	for (unsigned int i = 0; i < options.peers; i++)
		reap(peers[i], "a peer");
	reap_orphans();
}

noreturn void crew_run(unsigned int number)
{
	unsigned long long life = 0;
	uint64_t *mem[FILES], random;

	crew_number = number;
	random = random_seed(0, -1);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = 0; i < FILES; i++)
		mem[i] = map_file(i);
	while (run_goes_on())
		live(++life, &random, mem);
	count_flush();
	_exit(STATUS_OK);
}
