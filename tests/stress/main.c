// SPDX-License-Identifier: GPL-2.0
/* Options, and the report. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stress.h"

struct options options = {
	.seconds = 30, .slower = 3, .too_long = 60, .controllers = 2, .peers = 2, .threads = 2, .pages = 32,
};

struct board *board;

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

/* In one write: several processes print, and the guest's console is a pipe. */
void print(const char *format, ...)
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
			print("escape: %s: view %d page %lu, value %#llx (peer %d, controller %u, life %llu)\n",
			      e->what, e->view, e->page,
			      (unsigned long long)e->value, e->pid,
			      crew_number, e->life);
		else
			print("escape: %s: file %d page %lu, %#llx instead of %#llx (controller %u)\n",
			      e->what, e->file, e->page,
			      (unsigned long long)e->value,
			      (unsigned long long)e->wanted, crew_number);
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
	uint64_t state = options.seed ^ life << 32 ^ crew_number << 24 ^ who;

	return random_next(&state);
}

double elapsed(void)
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
	return sum(N_UNMAP, N_TAMPER) + sum(N_KILLED, N_CLOSED);
}

static void progress(void)
{
	static double next;

	if (options.quiet || elapsed() < next)
		return;
	next = elapsed() + 5;
	print("%5.0f s: %llu lives, %llu operations, %llu revocations, "
	      "%llu accesses, %llu refused, %u escapes\n",
	      elapsed(), sum(N_LIFE, N_LIFE), sum(N_MAP, N_COMPACT), revocations(),
	      sum(N_READ, N_READ) + sum(N_WRITE, N_WRITE) + sum(N_CALL, N_CALL),
	      sum(N_READ_BUS, N_READ_BUS) + sum(N_WRITE_BUS, N_WRITE_SEGV) +
	      sum(N_CALL_BUS, N_CALL_SEGV),
	      atomic_load(&board->nr_escapes));
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
	       (kinds[count].must || (count == N_PAGED_OUT && options.swap) ||
		((count == N_BLOCK || count == N_HUGE) && options.huge) ||
		((count == N_RING || count == N_RING_BATCH) && options.ring));
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
bool run_goes_on(void)
{
	return !atomic_load(&board->stop) &&
	       (elapsed() < options.seconds ||
		(elapsed() < options.slower * options.seconds && !is_complete()));
}

static enum status report(void)
{
	unsigned int escapes = atomic_load(&board->nr_escapes);
	bool gets_on;

	for (int i = 0; i < NR_COUNTS; i++) {
		unsigned long long n = atomic_load(&board->counts[i]);

		if (!options.quiet)
			print("%12llu  %s\n", n, kinds[i].text);
		if (!n && must_happen(i) && !escapes)
			print("stress: never happened: %s\n", kinds[i].text);
	}
	print("stress: %.1f s, seed %#llx, %llu lives, %llu operations, "
	      "%llu revocations, %u escapes\n",
	      elapsed(), options.seed, sum(N_LIFE, N_LIFE), sum(N_MAP, N_COMPACT),
	      revocations(), escapes);
	print("stress: longest: %.2f s, %s\n", atomic_load(&board->longest) / 1e3,
	      board->longest_what ?: "nothing");
	gets_on = !is_chosen("bystander") || bystander_gets_on();
	if (escapes)
		return STATUS_ESCAPE;
	if (atomic_load(&board->failed))
		return STATUS_FAILED;
	if (options.judge_bystander && !gets_on)
		return STATUS_STARVED;
	return is_complete() || !options.complete ? STATUS_OK : STATUS_INCOMPLETE;
}

static const char usage[] =
	"usage: stress [OPTION]...\n"
	"Lends memory by views, takes it back, and looks for peers that still have it.\n"
	"\n"
	"  --seconds N   how long (default 30)\n"
	"  --slower N    up to N times that (default 3), until everything has happened\n"
	"                that can\n"
	"  --complete    it is a failure if it has not even then\n"
	"  --too-long N  seconds after which who waits is hung (default 60)\n"
	"  --judge-bystander\n"
	"                it is a failure if a bystander's calls and accesses take more\n"
	"                than four times as long as the same with plain memory (median),\n"
	"                or ten times (99 %); without the time in which others have the\n"
	"                CPU. For long runs on a machine that has nothing else to do.\n"
	"  --seed N      repeats the decisions of a run (default: random)\n"
	"  --controllers N\n"
	"                at the same time (default 2, at most 4), with peers of their own\n"
	"  --peers N     processes that map the views of one (default 2, at most 16)\n"
	"  --threads N   threads of each (default 2, at most 16)\n"
	"  --pages N     pages of each part of views and files (default 32, at most 512:\n"
	"                then huge pages are lent as a whole, too)\n"
	"  --operations LIST\n"
	"                only these, with commas between: unmap, unmap-twice,\n"
	"                unmap-punch, replace, narrow, noexec, punch, truncate, lose,\n"
	"                tamper, shrink; beside them, populate, order, throttle,\n"
	"                userfault, share, mlock, overlay, freeze, fuse, swap,\n"
	"                bystander, numa; and batch and ring, which is how some of\n"
	"                them are then done (default: all).\n"
	"                Then it does not matter that some thing never happened.\n"
	"  --dir DIR     files there instead of memfds; the one of huge pages stays\n"
	"  --quiet       no progress and no counts\n"
	"  --help\n"
	"\n"
	"Exit status: 0 no escape; 1 an escape; 2 usage, or a call failed that must\n"
	"not; 3 some kind of operation or access never happened (--complete); 4 hung:\n"
	"somebody waits for longer than that can take, or does not end; 5 starved\n"
	"(--judge-bystander).\n"
	"Needs root, for huge pages, and for the page frame numbers that show that\n"
	"freed pages are reused.\n";

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
		{ "slower", required_argument, NULL, 'l' },
		{ "complete", no_argument, NULL, 'C' },
		{ "judge-bystander", no_argument, NULL, 'j' },
		{ "too-long", required_argument, NULL, 'L' },
		{ "seed", required_argument, NULL, 'S' },
		{ "controllers", required_argument, NULL, 'c' },
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
		case 'l':
			options.slower = number(100);
			break;
		case 'C':
			options.complete = true;
			break;
		case 'j':
			options.judge_bystander = true;
			break;
		case 'L':
			options.too_long = number(PATIENCE);
			break;
		case 'S':
			options.seed = number(-1ULL);
			break;
		case 'c':
			options.controllers = number(MAX_CREWS);
			break;
		case 'p':
			options.peers = number(MAX_PEERS);
			break;
		case 't':
			options.threads = number(MAX_THREADS);
			break;
		case 'n':
			options.pages = number(MAX_PART);
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
	if (optind < argc || !options.seconds || !options.slower || !options.too_long ||
	    !options.controllers || !options.peers || !options.threads || !options.pages)
		bad_usage();
}

static void compact(int fd, uint64_t *random)
{
	if (fd < 0 || !random_once_in(random, 50) || write(fd, "1", 1) != 1)
		return;
	count_add(N_COMPACT, 1);
	count_flush();
}

/* Until all of them have ended by themselves. */
static enum status wait_for(unsigned int children)
{
	int compact_memory = open("/proc/sys/vm/compact_memory",
				  O_WRONLY | O_CLOEXEC);
	const struct timespec time = { .tv_nsec = TICK * 1000 * 1000 };
	uint64_t random = random_seed(0, -2);
	enum status worst = STATUS_OK;
	double checked = 0;

	while (children) {
		int status;

		nanosleep(&time, NULL);
		progress();
		if (elapsed() > checked + 1) {
			if (somebody_hangs()) {
				atomic_store(&board->stop, true);
				return STATUS_HUNG;
			}
			checked = elapsed();
		}
		compact(compact_memory, &random);
		if (waitpid(-1, &status, WNOHANG) <= 0)
			continue;
		children--;
		status = WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_FAILED;
		if (status == STATUS_OK)
			continue;
		atomic_store(&board->failed, true);
		atomic_store(&board->stop, true);
		if (status > (int)worst)
			worst = status;
	}
	return worst;
}

static enum status run(void)
{
	unsigned int children = options.controllers;

	make_files();
	prepare_neighbours();
	if (is_chosen("numa"))
		numa_at_full_speed();
	for (unsigned int i = 0; i < options.controllers; i++)
		if (!start())
			crew_run(i);
	children += start_neighbours();
	return wait_for(children);
}

static bool driver_can(uint64_t feature)
{
	struct memview_status status = { 0 };
	struct memview *view;

	if (memview_open(&view))
		return false;
	memview_info(view, &status, sizeof(status));
	memview_close(view);
	return status.features & feature;
}

static bool has_rings(void)
{
	struct io_uring ring;

	if (io_uring_queue_init(1, &ring, 0))
		return false;
	io_uring_queue_exit(&ring);
	return true;
}

int main(int argc, char **argv)
{
	enum status status;

	parse(argc, argv);
	options.huge = options.pages == MAX_PART && driver_can(MEMVIEW_CAN_HUGE);
	options.ring = driver_can(MEMVIEW_CAN_URING) && has_rings();
	clock_gettime(CLOCK_MONOTONIC, &started);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED) {
		perror("stress: mmap");
		return STATUS_FAILED;
	}
	print("stress: --seed %#llx --seconds %u --controllers %u --peers %u "
	      "--threads %u --pages %u\n",
	      options.seed, options.seconds, options.controllers, options.peers,
	      options.threads, options.pages);

	/* Should even the watchdogs of the crews be stuck. */
	alarm(options.slower * options.seconds + 5 * PATIENCE);
	signal(SIGPIPE, SIG_IGN);
	options.swap = has_swap();
	status = run();
	freeze_end();
	if (status == STATUS_HUNG)
		return status;
	return report();
}
