/* SPDX-License-Identifier: GPL-2.0 */
/* What the adversarial cases (test_adv_*.c) share. */
#ifndef MEMVIEW_TESTS_ADV_H
#define MEMVIEW_TESTS_ADV_H

#include "common.h"

/* What no peer may ever see, and no peer may overwrite. */
#define SECRET		0x5ec7e75ec7e75ec7ULL

/* A mapping of this process, from /proc/self/maps. */
struct mapping {
	unsigned long start;
	unsigned long end;
	unsigned long offset;
	char prot[5];
};

bool mapping_at(unsigned long addr, struct mapping *m);
/* Where the source has what a page of the view shows, and the whole VMA there. */
char *source_at(struct fixture *f, unsigned long page);
struct mapping source_mapping(struct fixture *f, unsigned long page);
/* A span of the source that can be replaced: one page or huge page. */
size_t unit(struct fixture *f);

/* Pages 0 to @nr - 1 of file and view, touched by the peer. */
void lend(struct fixture *f, unsigned long nr, uint32_t rights);
/* The peer neither sees anything but WORD(page), nor writes anywhere else. */
void check_not_foreign(struct fixture *f, unsigned long nr);

/* The outcome of a started operation; a peer that is late is a failure. */
#define WITHIN_SECONDS 40
struct outcome wait_within(struct peer *p, const char *what, const char *file, int line);
#define FINISH(p, what)	wait_within(p, what, __FILE__, __LINE__)
/* Nothing has come back yet. */
bool still_busy(struct peer *p);
/* Does it sleep? */
bool asleep(struct peer *p);

/* Writes a string to a file below /proc or /sys; false and errno. */
bool put_text(const char *path, const char *text);
/* The first number in a file, -1 without it. */
long get_number(const char *path);
/* Value of a "Key:  123" line of a /proc file, -1 without it. */
long get_field(const char *path, const char *key);

/*
 * Things to tell a peer. The loops survive faults, count them in
 * shared->faults, and end when shared->stop is set.
 */
/* Address, pages, base: reads WORD(base + page) or 0; else shared->bad grows. */
long op_scan(const long *a);

/*
 * Address, pages: reads one word of each, which must be what it wrote last, and
 * adds 1. shared->bad counts rounds in which it was not; faults are the end of
 * it. Return: what each page holds.
 */
long op_count_up(const long *a);	/* until shared->stop is set */
long op_count_to(const long *a);	/* @a[2] times */
long op_madvise_all(const long *a);	/* address, length -> advices taken */

/* A controller in a peer; its pages are numbered as in the fixture. */
long op_ctl_open(const long *a);	/* bytes -> control fd */
long op_ctl_map(const long *a);	/* ctl, fd, file page, pages, page, flags */
long op_ctl_unmap(const long *a);	/* ctl, page, pages */
long op_ctl_protect(const long *a);	/* ctl, page, pages, flags */
long op_ctl_viewfd(const long *a);	/* ctl */
long op_ctl_revoke(const long *a);	/* ctl */
long op_ctl_source(const long *a);	/* ctl, page -> address */
long op_memfd(const long *a);		/* bytes, base -> populated memfd */
long op_fill(const long *a);		/* address, pages, word: in each page */
long op_write_text(const long *a);	/* path, text: pointers of the fork */

/* Waits until the loops have gone round that often, taken together. */
void wait_loops(unsigned long more);

#endif
