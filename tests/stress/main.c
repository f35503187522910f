// SPDX-License-Identifier: GPL-2.0
/* Options, the lives of controllers and their peers, watchdog, report. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stress.h"

/* Longest that anything may take, on a slow emulated machine under load. */
#define PATIENCE	60	/* seconds */
#define TICK		10	/* milliseconds */
/* How many times its --seconds a run may take, until everything has happened. */
#define SLOWER		3

enum status {
	STATUS_OK,
	STATUS_ESCAPE,
	STATUS_FAILED,		/* usage, or a call that must not fail has */
	STATUS_INCOMPLETE,	/* something never happened: shows nothing */
	STATUS_HUNG,
};

struct options options = {
	.seconds = 30, .peers = 3, .threads = 2, .pages = 64,
};

struct board *board;
int files[FILES];

static const struct {
	const char *text;
	bool must;
} kinds[NR_COUNTS] = {
#define X(name, must_happen, description) \
	[N_##name] = { .text = description, .must = must_happen },
	COUNTS(X)
#undef X
};

static _Thread_local unsigned long counts[NR_COUNTS];
static struct timespec started;
static uint64_t main_random;
static int compact_memory = -1;

static void print(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

/* In one write: several processes print, and the guest's console is a pipe. */
static void print(const char *format, ...)
{
	char text[1024];
	va_list list;
	int len;

	va_start(list, format);
	len = vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	if (len > (int)sizeof(text) - 1)
		len = sizeof(text) - 1;
	if (write(STDOUT_FILENO, text, len) != len)
		abort();
}

void count_add(enum count count, unsigned long n)
{
	counts[count] += n;
}

void count_flush(void)
{
	for (int i = 0; i < NR_COUNTS; i++) {
		if (counts[i])
			atomic_fetch_add_explicit(&board->counts[i], counts[i],
						  memory_order_relaxed);
		counts[i] = 0;
	}
}

void count_forget(void)
{
	memset(counts, 0, sizeof(counts));
}

void escaped(const struct escape *escape)
{
	unsigned int i = atomic_fetch_add(&board->nr_escapes, 1);
	const struct escape *e = escape;

	if (i < MAX_ESCAPES) {
		board->escapes[i] = *escape;
		if (e->view >= 0)
			print("escape: %s: view %d page %lu, value %#llx (peer %d, life %llu)\n",
			      e->what, e->view, e->page,
			      (unsigned long long)e->value, e->pid, e->life);
		else
			print("escape: %s: file %d page %lu, %#llx instead of %#llx\n",
			      e->what, e->file, e->page,
			      (unsigned long long)e->value,
			      (unsigned long long)e->wanted);
	}
	atomic_store(&board->stop, true);
}

noreturn void fail(const char *what, int err)
{
	print("stress: %s%s%s\n", what, err ? ": " : "",
	      err ? strerror(err) : "");
	atomic_store(&board->failed, true);
	atomic_store(&board->stop, true);
	_exit(STATUS_FAILED);
}

/* splitmix64: any state is a good one. */
uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t random_seed(unsigned long long life, unsigned int who)
{
	uint64_t state = options.seed ^ life << 32 ^ who;

	return random_next(&state);
}

static double elapsed(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - started.tv_sec) +
	       (now.tv_nsec - started.tv_nsec) / 1e9;
}

static unsigned long long sum(enum count first, enum count last)
{
	unsigned long long n = 0;

	for (unsigned int i = first; i <= last; i++)
		n += atomic_load(&board->counts[i]);
	return n;
}

static unsigned long long revocations(void)
{
	return sum(N_UNMAP, N_TRUNCATE) + sum(N_KILLED, N_CLOSED);
}

static void progress(unsigned long long life)
{
	static double next;

	if (options.quiet || elapsed() < next)
		return;
	next = elapsed() + 5;
	print("%5.0f s: life %llu, %llu operations, %llu revocations, "
	      "%llu accesses, %llu refused, %u escapes\n",
	      elapsed(), life, sum(N_MAP, N_COMPACT), revocations(),
	      sum(N_READ, N_READ) + sum(N_WRITE, N_WRITE) + sum(N_CALL, N_CALL),
	      sum(N_READ_BUS, N_READ_BUS) + sum(N_WRITE_BUS, N_WRITE_SEGV) +
	      sum(N_CALL_BUS, N_CALL_SEGV),
	      atomic_load(&board->nr_escapes));
}

static void tick(unsigned long long life)
{
	const struct timespec time = { .tv_nsec = TICK * 1000 * 1000 };

	nanosleep(&time, NULL);
	progress(life);
}

/* Where a process that does not end is; the reason is in the kernel. */
static void print_stacks(pid_t pid)
{
	char command[256];

	snprintf(command, sizeof(command),
		 "for t in /proc/%d/task/*; do cat $t/comm $t/wchan $t/stack; done",
		 pid);
	if (system(command))
		return;
}

static noreturn void hung(pid_t pid, const char *what)
{
	print("stress: hung: %s (process %d)\n", what, pid);
	print_stacks(pid);
	_exit(STATUS_HUNG);
}

/* Waits for a process of this life to end. */
static void reap(pid_t pid, unsigned long long life, const char *what)
{
	double limit = elapsed() + PATIENCE;
	int status;

	while (!waitpid(pid, &status, WNOHANG)) {
		if (elapsed() > limit)
			hung(pid, what);
		tick(life);
	}
	/* They are killed or they exit; what else is a bug of the test, or worse. */
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
		print("stress: %s died of signal %d\n", what, WTERMSIG(status));
		atomic_store(&board->failed, true);
		atomic_store(&board->stop, true);
	}
}

/* Children of peers that were killed are ours: a view lives as long as they. */
static void reap_orphans(unsigned long long life)
{
	double limit = elapsed() + PATIENCE;

	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0)
			return;
		if (elapsed() > limit)
			hung(pid, "a child of a peer");
		if (!pid)
			tick(life);
	}
}

static pid_t start(void)
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
	}
	return pid;
}

static void compact(void)
{
	if (compact_memory < 0 || write(compact_memory, "1", 1) != 1)
		return;
	count_add(N_COMPACT, 1);
	count_flush();
}

static void live(unsigned long long life, uint64_t *const mem[FILES])
{
	static const enum count how[NR_ENDINGS] = {
		[END_KILL] = N_KILLED, [END_EXIT] = N_EXITED,
		[END_EXEC] = N_EXECED, [END_REVOKE] = N_REVOKED,
		[END_CLOSE] = N_CLOSED,
	};
	/* Each of them soon, in a run of a few seconds. */
	enum ending ending = life % NR_ENDINGS;
	unsigned int milliseconds = 100 + random_below(&main_random, 1500);
	unsigned int victim = random_below(&main_random, 3 * options.peers);
	unsigned int kill_at = random_below(&main_random, milliseconds);
	int sockets[MAX_PEERS][2], ends[MAX_PEERS];
	pid_t controller, peers[MAX_PEERS];
	double limit;

	if (life <= NR_ENDINGS)
		victim = 0;

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
		tick(life);
		if (ticks == kill_at / TICK && victim < options.peers) {
			kill(peers[victim], SIGKILL);
			count_add(N_PEER_KILLED, 1);
		}
		if (random_once_in(&main_random, 50))
			compact();
	}

	/* The controller ends by itself, but for SIGKILL; then all is gone. */
	if (ending == END_KILL || atomic_load(&board->stop)) {
		ending = END_KILL;
		kill(controller, SIGKILL);
	}
	reap(controller, life, "the controller");
	count_add(how[ending], 1);
	count_flush();
	check_dead(life, mem);

	atomic_store(&board->over, life);
	for (unsigned int i = 0; i < options.peers; i++)
		reap(peers[i], life, "a peer");
	reap_orphans(life);
}

static int new_file(void)
{
	int fd;

	if (options.dir)
		fd = open(options.dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	else
		fd = memfd_create("stress", MFD_CLOEXEC);
	if (fd < 0)
		fail(options.dir ? options.dir : "memfd_create", errno);
	if (ftruncate(fd, options.pages * PAGE))
		fail("ftruncate", errno);
	return fd;
}

static bool has_swap(void)
{
	FILE *file = fopen("/proc/swaps", "r");
	char line[256];
	int lines = 0;

	while (file && fgets(line, sizeof(line), file))
		lines++;
	if (file)
		fclose(file);
	return lines > 1;
}

static bool must_happen(enum count count)
{
	return !options.operations &&
	       (kinds[count].must || (count == N_PAGED_OUT && options.swap));
}

/* Has everything happened that must? */
static bool is_complete(void)
{
	for (int i = 0; i < NR_COUNTS; i++)
		if (must_happen(i) && !atomic_load(&board->counts[i]))
			return false;
	return true;
}

/* A slow machine gets more time for it. */
static bool goes_on(void)
{
	return !atomic_load(&board->stop) &&
	       (elapsed() < options.seconds ||
		(elapsed() < SLOWER * options.seconds && !is_complete()));
}

static enum status report(unsigned long long lives)
{
	unsigned int escapes = atomic_load(&board->nr_escapes);

	for (int i = 0; i < NR_COUNTS; i++) {
		unsigned long long n = atomic_load(&board->counts[i]);

		if (!options.quiet)
			print("%12llu  %s\n", n, kinds[i].text);
		if (!n && must_happen(i) && !escapes)
			print("stress: never happened: %s\n", kinds[i].text);
	}
	print("stress: %.1f s, seed %#llx, %llu lives, %llu operations, "
	      "%llu revocations, %u escapes\n",
	      elapsed(), options.seed, lives, sum(N_MAP, N_COMPACT),
	      revocations(), escapes);
	if (escapes)
		return STATUS_ESCAPE;
	if (atomic_load(&board->failed))
		return STATUS_FAILED;
	return is_complete() ? STATUS_OK : STATUS_INCOMPLETE;
}

static const char usage[] =
	"usage: stress [OPTION]...\n"
	"Lends memory by views, takes it back, and looks for peers that still have it.\n"
	"\n"
	"  --seconds N   how long (default 30); up to three times that, until everything\n"
	"                has happened that can\n"
	"  --seed N      repeats the decisions of a run (default: random)\n"
	"  --peers N     processes that map the views (default 3, at most 16)\n"
	"  --threads N   threads of each (default 2, at most 16)\n"
	"  --pages N     pages of each view and file (default 64, at most 1024, even)\n"
	"  --operations LIST\n"
	"                only these, with commas between: unmap, unmap-twice,\n"
	"                unmap-punch, replace, narrow, noexec, punch, truncate, shrink\n"
	"                (default: all).\n"
	"                Then it is no failure that some thing never happened.\n"
	"  --dir DIR     files there instead of memfds\n"
	"  --quiet       no progress and no counts\n"
	"  --help\n"
	"\n"
	"Exit status: 0 no escape; 1 an escape; 2 usage, or a call failed that must\n"
	"not; 3 some kind of operation or access never happened; 4 hung.\n"
	"Needs root, for the page frame numbers that show that freed pages are reused.\n";

static noreturn void bad_usage(void)
{
	fputs(usage, stderr);
	exit(STATUS_FAILED);
}

static unsigned long long number(unsigned long long most)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(optarg, &end, 0);
	if (errno || end == optarg || *end || *optarg == '-' || n > most)
		bad_usage();
	return n;
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'S' },
		{ "peers", required_argument, NULL, 'p' },
		{ "threads", required_argument, NULL, 't' },
		{ "pages", required_argument, NULL, 'n' },
		{ "operations", required_argument, NULL, 'o' },
		{ "dir", required_argument, NULL, 'd' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	struct timespec now;
	int option;

	clock_gettime(CLOCK_REALTIME, &now);
	options.seed = (now.tv_sec * 1000000000ULL + now.tv_nsec) & 0xffffffff;
	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (option) {
		case 's':
			options.seconds = number(7 * 24 * 3600);
			break;
		case 'S':
			options.seed = number(-1ULL);
			break;
		case 'p':
			options.peers = number(MAX_PEERS);
			break;
		case 't':
			options.threads = number(MAX_THREADS);
			break;
		case 'n':
			options.pages = number(MAX_PAGES);
			break;
		case 'o':
			if (!operations_exist(optarg))
				bad_usage();
			options.operations = optarg;
			break;
		case 'd':
			options.dir = optarg;
			break;
		case 'q':
			options.quiet = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(STATUS_OK);
		default:
			bad_usage();
		}
	}
	if (optind < argc || !options.seconds || !options.peers ||
	    !options.threads || !options.pages || options.pages % LANES)
		bad_usage();
}

int main(int argc, char **argv)
{
	uint64_t *mem[FILES];
	unsigned long long life = 0;

	parse(argc, argv);
	clock_gettime(CLOCK_MONOTONIC, &started);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED) {
		perror("stress: mmap");
		return STATUS_FAILED;
	}
	print("stress: --seed %#llx --seconds %u --peers %u --threads %u --pages %u\n",
	      options.seed, options.seconds, options.peers, options.threads,
	      options.pages);

	/* Should even the watchdogs below be stuck. */
	alarm(SLOWER * options.seconds + 5 * PATIENCE);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	options.swap = has_swap();
	compact_memory = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);
	main_random = random_seed(0, -1);
	for (int i = 0; i < FILES; i++) {
		files[i] = new_file();
		mem[i] = map_file(files[i]);
		for (unsigned long j = 0; j < options.pages * PAGE_WORDS; j++)
			mem[i][j] = word_of(TAG_OPEN, 0);
	}

	while (goes_on())
		live(++life, mem);
	return report(life);
}
