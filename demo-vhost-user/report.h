/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the demo tells: claims that hold or do not, and the story around them.
 *
 * Everything goes to standard output, except that quiet reports tell what failed
 * on standard error. There is one report per process; its functions are for
 * the main thread only.
 */
#ifndef DEMO_REPORT_H
#define DEMO_REPORT_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct report - how to tell, and the counts
 * @quiet: tell only what failed
 * @verbose: tell details too
 * @tap: speak the Test Anything Protocol
 * @held: claims of the current act that hold
 * @failed: claims of the current act that do not
 */
struct report {
	bool quiet;
	bool verbose;
	bool tap;
	unsigned int held;
	unsigned int failed;
};

extern struct report report;

/* A line of the story; nothing when quiet. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A line for --verbose. */
void detail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Something went wrong that no claim is about. Counts as a failed claim. */
void trouble(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A claim: the line says what was shown, or should have been. Returns @holds. */
bool claim(bool holds, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Progress of long work: on a terminal a line that is written over, elsewhere a
 * line every few seconds.
 */
void progress(const char *what, uint64_t done, uint64_t total, const char *unit);

/* Begin and end of an act. report_act_end() returns whether the act held. */
void report_act_begin(unsigned int number, const char *title);
bool report_act_end(unsigned int number, const char *title);

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t now_ns(void);

#endif /* DEMO_REPORT_H */
