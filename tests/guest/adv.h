/* SPDX-License-Identifier: GPL-2.0 */
/* What the adversarial cases (test_adv_*.c) share. */
#ifndef MEMVIEW_TESTS_ADV_H
#define MEMVIEW_TESTS_ADV_H

#include "common.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

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
/* At least @nr pages of a source: what it covers when no more is lent of it. */
size_t span(struct fixture *f, unsigned long nr);
/* Skips the case where splitting a mapping of the backing upsets the kernel. */
void need_split(struct fixture *f);

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
/* What a thread does, as proc(5) has it; 0: it is gone. */
char state_of(pid_t tid);
/* Does it sleep? And how often has it gone to sleep? */
bool asleep(struct peer *p);
long sleeps_of(pid_t pid);
/* Has it not come back from what it was told, but waits in the kernel, for a while? */
bool waits_in_kernel(struct peer *p);

/* Writes a string to a file below /proc or /sys; false and errno. */
bool put_text(const char *path, const char *text);

/*
 * Takes all CPUs but the first off line ("0") or back ("1"), for what patches the
 * kernel's text (tracepoints, static keys): now and then two CPUs under QEMU's
 * TCG go round in the breakpoint that this takes, or find it when it is no more.
 */
bool set_other_cpus(const char *online);
/*
 * Who has a CPU, and nobody else gets it: what runs there stays where it is, in the
 * middle of a call if the kernel can be preempted there. It gives up after a while,
 * which is not long enough for the kernel to complain. Since 6.12 who is not realtime
 * gets a little all the same, after a second.
 */
struct peer *hog_spawn(int cpu);
void hog_begin(struct peer *hog);
bool hog_end(struct peer *hog);	/* false: it has given up */
void hog_reap(struct peer *hog);
long op_pin(const long *a);	/* CPU, or -1: any */
long op_be_realtime(const long *a);	/* CPU, priority: that of a hog is 50 */

/* The first number in a file, -1 without it. */
long get_number(const char *path);
/* Runs a command in the scratch directory, in silence. */
bool shell(const char *command);
/* Skips the case where there can be none, below the scratch directory. */
#define OVERLAY "ovl/merged/"
#define OVERLAY_LOWER "ovl/lower/"
void need_overlay(void);
/* Value of a "Key:  123" line of a /proc file, -1 without it. */
long get_field(const char *path, const char *key);

/* Skips the case where the kernel has no such userfaultfd. */
int uffd_open(int flags, uint64_t features);
void uffd_register(int uffd, char *at, size_t len, uint64_t mode);
/* Waits until somebody faults; returns where. */
char *uffd_event(int uffd, uint64_t *flags);

/* Sources of cases before, which are kept to be used again: this process has none. */
void drop_old_sources(void);
/* Thaws the file system of a file when shared->ready is set, or after long. */
long op_thaw(const long *a);

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

/*
 * Address, length, whether to write-protect it at once -> userfaultfd(2), with
 * asynchronous write-protection, for which any mapping can be registered from 6.7
 * on, and no VM_PFNMAP one since 7.2.
 */
long op_mark(const long *a);
long op_write_protect(const long *a);	/* userfaultfd, address, length, on or off */

/*
 * Address, pages, way, view fd: writes SECRET into each page all the time, and looks
 * at each first; CANARY, which only is there while nothing is lent, is one more in
 * shared->bad. The way is what a second thread does to the mapping meanwhile.
 * BY_HALF_A_FORK takes a second mapping along, further down, and none of the first
 * comes to be in the child.
 */
#define CANARY		0xca9a9ca9a9ca9a9cULL
long op_harass(const long *a);

enum harassment {
	BY_NOTHING, BY_MPROTECT, BY_SPLIT, BY_MREMAP, BY_MADVISE, BY_MLOCK,
	BY_CLEAR_REFS, BY_PKEY, BY_REMAP_FILE_PAGES, BY_UFFD, BY_FORK,
	BY_MUNMAP, BY_MAP_FIXED, BY_SHRINK, BY_FAILED_MOVE, BY_DUPLICATE, BY_POLICY,
	BY_EXEC, BY_CHILDS_EXIT, BY_FAILED_FORK, BY_HALF_A_FORK, BY_OOM,
};

/* The peers' loops that run now, in check_taken(), must lose the first pages. */
void check_taken(struct fixture *f, char *plain, unsigned long nr, bool narrow);

/*
 * The fixture's peer forks all the time; FORK_PAGES pages, each the first of
 * @stride, are taken meanwhile, from its children, too. With a @stride above 1 by
 * huge entries.
 */
#define FORK_PAGES 8UL
void check_forks_lose(struct fixture *f, char *plain, unsigned long stride, bool narrow,
		      int rounds);

/* Is the page there a tail page of a large one? (/proc/kpageflags) */
bool is_tail_page(void *at);
/* Physical page below an address of this process, 0 if there is none. */
unsigned long pfn_at(void *at);
/* Has the kernel marked the physical page as bad? (/proc/kpageflags) */
bool is_bad(unsigned long pfn);
/* Has it declare the page below an address bad; skips the case where it does not. */
void poison(char *at);

/* A controller in a process of its own, with a populated memfd in its view. */
struct controller {
	struct peer *peer;
	int fd;		/* the numbers are those in the process */
	int ctl;
	int viewfd;	/* ours */
};

#define CTL_PAGES 16UL
/* Page i of the view is page i of the file, WORD(@base + i). */
void controller_start(struct controller *c, unsigned long base, uint32_t flags);
/* The second half of that: a view of @c->fd, in @c->peer. */
void controller_lend(struct controller *c, uint32_t flags);
/* Maps a view fd of ours in @p. */
unsigned long map_view(struct peer *p, int viewfd, int prot);

/* Waits until the loops have gone round that often, taken together. */
void wait_loops(unsigned long more);

#endif
