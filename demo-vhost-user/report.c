// SPDX-License-Identifier: GPL-2.0
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_EVERY_NS	(5 * 1000000000ULL)
#define PROGRESS_REDRAW_NS	(100 * 1000000ULL)

struct report report;

/* A progress line is on the terminal and has to be wiped first. */
static bool progress_shown;
static const char *progress_what;
static uint64_t progress_last;
/* Tests told so far (TAP numbers them without gaps). */
static unsigned int tests;

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void wipe_progress(void)
{
	if (!progress_shown)
		return;
	fputs("\r\033[K", stdout);
	progress_shown = false;
}

static void line(FILE *to, const char *mark, const char *fmt, va_list args)
{
	wipe_progress();
	if (report.tap && to == stdout)
		fputs("# ", to);
	fputs(mark, to);
	vfprintf(to, fmt, args);
	fputc('\n', to);
	/* Children are forked and killed along the way: leave nothing in buffers. */
	fflush(to);
}

void say(const char *fmt, ...)
{
	va_list args;

	if (report.quiet)
		return;
	va_start(args, fmt);
	line(stdout, "  ", fmt, args);
	va_end(args);
}

void detail(const char *fmt, ...)
{
	va_list args;

	if (!report.verbose || report.quiet)
		return;
	va_start(args, fmt);
	line(stdout, "  . ", fmt, args);
	va_end(args);
}

void trouble(const char *fmt, ...)
{
	va_list args;

	report.failed++;
	va_start(args, fmt);
	line(report.quiet ? stderr : stdout, "  TROUBLE ", fmt, args);
	va_end(args);
}

bool claim(bool holds, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (holds) {
		report.held++;
		if (!report.quiet)
			line(stdout, "  holds   ", fmt, args);
	} else {
		report.failed++;
		line(report.quiet ? stderr : stdout, "  FAILED  ", fmt, args);
	}
	va_end(args);
	return holds;
}

void progress(const char *what, uint64_t done, uint64_t total, const char *unit)
{
	uint64_t now = now_ns();
	bool terminal = isatty(STDOUT_FILENO);

	if (report.quiet)
		return;
	if (done >= total) {
		wipe_progress();
		fflush(stdout);
		progress_what = NULL;
		return;
	}
	/* What is done soon needs no progress line. */
	if (progress_what != what) {
		progress_what = what;
		progress_last = now;
	}
	if (now - progress_last < (terminal ? PROGRESS_REDRAW_NS : PROGRESS_EVERY_NS))
		return;
	progress_last = now;
	if (terminal) {
		printf("\r    %s: %llu of %llu %s\033[K", what, (unsigned long long)done,
		       (unsigned long long)total, unit);
		fflush(stdout);
		progress_shown = true;
	} else {
		say("  %s: %llu of %llu %s", what, (unsigned long long)done,
		    (unsigned long long)total, unit);
	}
}

void report_act_begin(unsigned int number, const char *title)
{
	report.held = 0;
	report.failed = 0;
	if (report.quiet)
		return;
	if (!report.tap)
		putchar('\n');
	printf("%sAct %u: %s\n", report.tap ? "# " : "", number, title);
	fflush(stdout);
}

bool report_act_end(unsigned int number, const char *title)
{
	/* An act that claimed nothing has shown nothing. */
	bool held = report.held && !report.failed;

	wipe_progress();
	if (report.tap)
		printf("%s %u - act %u: %s\n", held ? "ok" : "not ok", ++tests, number, title);
	else if (!report.quiet)
		printf("Act %u %s\n", number, held ? "held." : "DID NOT HOLD.");
	else if (!held)
		fprintf(stderr, "act %u did not hold: %s\n", number, title);
	fflush(stdout);
	return held;
}
