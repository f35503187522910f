// SPDX-License-Identifier: GPL-2.0
/*
 * What is lent: files in memory or in a directory, and one of huge pages.
 *
 * A huge page is much more than a part, and is lost as a whole. So each part of
 * that file is the beginning of a huge page of its own.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stress.h"

#define HUGE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

int files[FILES];

static unsigned long file_parts(void)
{
	return 1 + options.controllers * LANES;
}

unsigned long file_unit(int file)
{
	return file == FILE_HUGE ? HUGE_PAGE : PAGE;
}

static unsigned long part_size(int file)
{
	return file == FILE_HUGE ? HUGE_PAGE : options.pages * PAGE;
}

unsigned long file_size(int file)
{
	return file_parts() * part_size(file);
}

unsigned long file_offset(int file, unsigned long page)
{
	unsigned long part = page / options.pages;

	if (part)
		part += crew_number * LANES;
	return part * part_size(file) + page % options.pages * PAGE;
}

uint64_t *map_file(int file)
{
	uint64_t *mem = mmap(NULL, file_size(file), PROT_READ | PROT_WRITE,
			     MAP_SHARED, files[file], 0);

	if (mem == MAP_FAILED)
		fail("mapping a file", errno);
	/* Peers are to have these pages from a view only. */
	madvise(mem, file_size(file), MADV_DONTFORK);
	return mem;
}

void unmap_file(int file, uint64_t *mem)
{
	if (munmap(mem, file_size(file)))
		fail("munmap", errno);
}

/*
 * All of the file, as many that it has lost and others use, and some to spare.
 * The kernel stops at what it takes for a signal, such as the end of a ring: so
 * more than once.
 */
static void reserve_huge_pages(void)
{
	unsigned long nr = 0, wanted = 2 * file_parts() + 6;
	FILE *file = fopen(HUGE_PAGES, "r+");

	if (!file)
		fail(HUGE_PAGES, errno);
	for (unsigned int i = 0; i < 10; i++) {
		if (fscanf(file, "%lu", &nr) != 1)
			nr = 0;
		if (nr >= wanted)
			break;
		rewind(file);
		fprintf(file, "%lu", wanted);
		fflush(file);
		rewind(file);
	}
	fclose(file);
	if (nr < wanted)
		fail("not enough memory for huge pages", 0);
}

static int new_file(int file)
{
	int fd;

	if (file == FILE_HUGE)
		fd = memfd_create("stress", MFD_CLOEXEC | MFD_HUGETLB |
				  MFD_HUGE_2MB);
	else if (options.dir)
		fd = open(options.dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	else
		fd = memfd_create("stress", MFD_CLOEXEC);
	if (fd < 0)
		fail(options.dir ? options.dir : "memfd_create", errno);
	if (ftruncate(fd, file_size(file)))
		fail("ftruncate", errno);
	return fd;
}

/* Pages are lent with words in them, and between their lives they have these. */
static void fill_file(int file)
{
	uint64_t *mem = map_file(file);

	for (unsigned long part = 0; part < file_parts(); part++)
		for (unsigned long i = 0; i < options.pages * PAGE_WORDS; i++)
			mem[part * part_size(file) / sizeof(*mem) + i] =
				word_of(TAG_OPEN, 0);
	unmap_file(file, mem);
}

void make_files(void)
{
	reserve_huge_pages();
	for (int i = 0; i < FILES; i++) {
		files[i] = new_file(i);
		fill_file(i);
	}
}
