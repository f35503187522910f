/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Files to map into views: one of each kind that the driver supports. The file
 * systems are made once per boot, below one tmpfs.
 */
#ifndef MEMVIEW_TESTS_BACKING_H
#define MEMVIEW_TESTS_BACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum backing { MEMFD, HUGETLB, TMPFS, EXT4, XFS, NR_BACKINGS };

#define ON(backing)	(1U << (backing))
#define ON_ALL		(ON(NR_BACKINGS) - 1)
#define ON_SMALL	(ON_ALL & ~ON(HUGETLB))	/* files of small pages */
#define ON_SHMEM	(ON(MEMFD) | ON(TMPFS))
#define ON_DISK		(ON(EXT4) | ON(XFS))
#define ON_SEALABLE	(ON(MEMFD) | ON(HUGETLB))

#define HUGE_SIZE	(2UL << 20)

const char *backing_name(enum backing b);
/* Makes it usable; returns NULL, or why this machine cannot. */
const char *backing_prepare(enum backing b);
/* An empty file of @size bytes, O_RDWR; -1 and errno. */
int backing_create(enum backing b, size_t size);
/* The same file, opened again with other flags. */
int backing_reopen(int fd, int flags);
/* Unit in which the backing allocates. */
size_t backing_block(enum backing b);

/* Scratch directory on a tmpfs, and one on a noexec tmpfs; NULL: none. */
const char *scratch_dir(void);
const char *noexec_dir(void);

/* Words in a file, seen by the controller. */
uint64_t file_word(int fd, off_t offset);
bool file_set_word(int fd, off_t offset, uint64_t word);

#endif
