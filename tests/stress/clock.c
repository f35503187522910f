// SPDX-License-Identifier: GPL-2.0
/*
 * Liveness. Every thread says what it is about to do, and the watchdog looks
 * whether any of them has been at it for too long: whatever others do, no call
 * and no access may wait for longer than it takes. (Who waits for something that
 * may take its time, which is documented, rests.)
 */

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stress.h"

/*
 * Milliseconds. See --too-long: the longest that is seen is some hundred, and 3,000
 * with KASAN.
 */
#define TOO_LONG	(options.too_long * 1000ULL)
#define LONG		5000
/* That many times as long is too long for who still makes progress, too. */
#define STILL		6

static _Thread_local struct activity *own;

static unsigned long long milliseconds(void)
{
	/* 0 is no time. */
	return 1 + elapsed() * 1000;
}

static struct activity *new_activity(void)
{
	pid_t tid = syscall(SYS_gettid);

	for (unsigned int i = 0; i < MAX_ACTIVITIES; i++) {
		struct activity *a = &board->activities[i];
		int nobody = 0;

		if (atomic_compare_exchange_strong(&a->tid, &nobody, tid)) {
			atomic_store(&a->pid, getpid());
			return a;
		}
	}
	return NULL;
}

static void took(const struct activity *activity, unsigned long long now)
{
	unsigned long long since = atomic_load(&activity->since);
	unsigned long long longest = atomic_load(&board->longest);

	if (!since || now - since <= longest)
		return;
	if (atomic_compare_exchange_strong(&board->longest, &longest, now - since))
		board->longest_what = activity->what;
}

void now_doing(const char *what)
{
	unsigned long long now = milliseconds();

	if (!own)
		own = new_activity();
	if (!own)
		return;
	took(own, now);
	own->what = what;
	atomic_store(&own->since, now);
}

void now_resting(void)
{
	if (!own)
		return;
	took(own, milliseconds());
	atomic_store(&own->since, 0);
}

void activity_forget(void)
{
	own = NULL;
}

void print_stacks(pid_t pid)
{
	char command[256];

	snprintf(command, sizeof(command),
		 "for t in /proc/%d/task/*; do cat $t/comm $t/wchan $t/stack; done",
		 pid);
	if (system(command))
		return;
}

/* False if the thread is gone, or only not reaped yet. */
static bool look_at(const struct activity *activity, char *state, unsigned long *ticks)
{
	pid_t pid = atomic_load(&activity->pid), tid = atomic_load(&activity->tid);
	unsigned long user = 0, kernel = 0;
	char path[64], line[512];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	file = fopen(path, "re");
	if (!file)
		return false;
	*state = 0;
	if (fgets(line, sizeof(line), file))
		sscanf(line, "%*d (%*[^)]) %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
		       state, &user, &kernel);
	fclose(file);
	*ticks = user + kernel;
	return *state && *state != 'Z' && *state != 'X';
}

/* Threads end without a word. */
static bool sweep(struct activity *activity)
{
	pid_t pid = atomic_load(&activity->pid), tid = atomic_load(&activity->tid);

	if (!tid || !pid)
		return false;
	if (syscall(SYS_tgkill, pid, tid, 0) && errno == ESRCH) {
		atomic_store(&activity->since, 0);
		atomic_store(&activity->pid, 0);
		atomic_store(&activity->tid, 0);
		return false;
	}
	return true;
}

static bool is_late(const struct activity *activity, unsigned long long limit)
{
	unsigned long long since = atomic_load(&activity->since);

	return since && milliseconds() > since + limit;
}

/*
 * Who is late and waits, without any progress since the first look, hangs. Who runs,
 * or would if it got a CPU, is given more time: mlockall(2) of a whole process say, on
 * a machine that has too much to do.
 */
static bool hangs(unsigned int i)
{
	static struct look {
		unsigned long long since;	/* of the activity; 0: not late */
		unsigned long long first;
		unsigned long ticks;
	} looks[MAX_ACTIVITIES];
	const struct activity *activity = &board->activities[i];
	unsigned long long since = atomic_load(&activity->since);
	struct look *look = &looks[i];
	unsigned long ticks;
	char state;

	if (!is_late(activity, TOO_LONG) || !look_at(activity, &state, &ticks)) {
		look->since = 0;
		return false;
	}
	if (look->since != since || look->ticks != ticks || state == 'R') {
		look->since = since;
		look->first = milliseconds();
		look->ticks = ticks;
	}
	return milliseconds() > look->first + LONG ||
	       is_late(activity, STILL * TOO_LONG);
}

bool somebody_hangs(void)
{
	bool any = false;

	for (unsigned int i = 0; i < MAX_ACTIVITIES; i++)
		any |= sweep(&board->activities[i]) && hangs(i);
	/* Who else waits may be the reason. */
	for (unsigned int i = 0; any && i < MAX_ACTIVITIES; i++) {
		const struct activity *a = &board->activities[i];

		if (!is_late(a, LONG))
			continue;
		print("stress: hung: %s, for %.1f s (process %d, thread %d)\n", a->what,
		      (milliseconds() - atomic_load(&a->since)) / 1e3,
		      atomic_load(&a->pid), atomic_load(&a->tid));
		print_stacks(atomic_load(&a->pid));
	}
	return any;
}
