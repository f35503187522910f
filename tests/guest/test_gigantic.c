// SPDX-License-Identifier: GPL-2.0
/*
 * Page-table entries of 1 GiB in peers, for hugetlb pages of that size: one fault
 * maps all of it, and everything that cuts such an entry stays exact to the page.
 *
 * Needs a guest with 5 GiB and hugepagesz=1G hugepages=1 (tests/special).
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#define GIB		(1UL << 30)
#define GPAGES		(GIB / PAGE)
#define BLOCK		(HUGE_SIZE / PAGE)
/* The view: the page of 1 GiB twice, and as much empty. */
#define NR_GIB		2UL
#define POOL		"/sys/kernel/mm/hugepages/hugepages-1048576kB/"

static unsigned long huge_entries(struct fixture *f)
{
	struct memview_info info;

	EXPECT_OK(mv_info(f->ctl, &info));
	return info.huge_entries;
}

static bool since(int want_major, int want_minor)
{
	struct utsname name;
	int major, minor;

	uname(&name);
	assert_int_equal(sscanf(name.release, "%d.%d", &major, &minor), 2);
	return major > want_major || (major == want_major && minor >= want_minor);
}

/* Of the last case, in this process: it would keep its page. */
static char *kept;

/* A file of one page, and that page; each 4 KiB of it has its WORD(). */
static int gigantic_file(char **map)
{
	int fd;

	if (get_number(POOL "nr_hugepages") < 1)
		SKIP("no 1 GiB pages (boot with hugepagesz=1G hugepages=1)");
	if (kept)
		munmap(kept, GIB);
	kept = NULL;
	assert_true(EVENTUALLY(get_number(POOL "free_hugepages") > 0));
	fd = memfd_create("gigantic", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_1GB);
	assert_true(fd >= 0);
	EXPECT_OK(ftruncate(fd, GIB));
	*map = mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(*map, MAP_FAILED);
	/* Nor is the next peer to keep it, which is forked with it in place. */
	EXPECT_OK(madvise(*map, GIB, MADV_DONTFORK));
	kept = *map;
	for (unsigned long i = 0; i < GPAGES; i++)
		*(uint64_t *)(*map + i * PAGE) = WORD(i);
	return fd;
}

/* fd, length, prot, offset, address */
static long op_mmap_at(const long *a)
{
	return (long)mmap((void *)a[4], a[1], (int)a[2], MAP_SHARED | MAP_FIXED,
			  (int)a[0], a[3]);
}

/* The fixture's file becomes one page of 1 GiB, its view one that holds some. */
static char *use_gigantic(struct fixture *f)
{
	char *map;
	int fd = gigantic_file(&map);

	close(f->file);
	f->file = fd;
	f->file_size = GIB;
	set_module_param(f, "fault_around_pages", 1);
	EXPECT_OK(mv_set_size(f->ctl, 4 * GIB));
	f->view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 3 * GIB,
			      PROT_READ | PROT_WRITE, 0);
	return map;
}

/* Where there are entries of 1 GiB, turns them on. */
static void need_entries(struct fixture *f)
{
	if (!since(6, 12))
		SKIP("no huge entries in VM_PFNMAP mappings before 6.12");
	if (!since(7, 2))
		SKIP("before 7.2 a peer's userfaultfd could make the kernel warn");
	set_module_param(f, "gigantic_entries", 1);
}

/* Lends the page twice, and has the peer touch it there. */
static char *lend_gigantic(struct fixture *f, uint32_t flags)
{
	char *map;

	need_entries(f);
	map = use_gigantic(f);
	for (unsigned long i = 0; i < NR_GIB; i++) {
		map_pages(f, i * GPAGES, 0, GPAGES, flags);
		READS(f, i * GPAGES + 77, WORD(77));
	}
	assert_int_equal(huge_entries(f), NR_GIB);
	return map;
}

static long read_words(const long *a)
{
	long bad = 0;

	for (long i = 0; i < a[1]; i += a[3])
		bad += *(volatile uint64_t *)(a[0] + i * PAGE) != WORD(a[2] + i);
	return bad;
}

#define READS_SPAN(f, page, nr, base) \
	EXPECT_VALUE(0, CALL((f)->peer, read_words, AT(f, page), nr, base, 1))
/* All of 1 GiB, but not each page. */
#define READS_GIB(f, page) \
	EXPECT_VALUE(0, CALL((f)->peer, read_words, AT(f, page), GPAGES, 0, 61))

/* Beside a span of the first GiB, and far from it, all is there. */
static void all_but(struct fixture *f, unsigned long first, unsigned long nr)
{
	unsigned long last = first + nr - 1, from, len;

	from = first > 600 ? first - 600 : 0;
	READS_SPAN(f, from, first - from, from);
	len = GPAGES - last - 1 < 600 ? GPAGES - last - 1 : 600;
	READS_SPAN(f, last + 1, len, last + 1);
	if (first)
		READS(f, 0, WORD(0));
	if (last < GPAGES - 1)
		READS(f, GPAGES - 1, WORD(GPAGES - 1));
	READS_GIB(f, GPAGES);
}

/* ---- what is mapped ---- */

static void one_fault_maps_all(struct fixture *f)
{
	char *map = lend_gigantic(f, RW);

	assert_int_equal(fdinfo(f->ctl, "faults"), NR_GIB);
	assert_in_range(EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), GIB), 0, 4);
	READS_SPAN(f, 0, GPAGES, 0);
	for (unsigned long i = 0; i < GPAGES; i += 4099) {
		WRITES(f, i, ~WORD(i));
		assert_int_equal(*(uint64_t *)(map + i * PAGE), ~WORD(i));
		READS(f, GPAGES + i, ~WORD(i));
	}
	assert_int_equal(huge_entries(f), NR_GIB);
	assert_int_equal(fdinfo(f->ctl, "faults"), NR_GIB);
}

static void blocks_are_mapped_by_default(struct fixture *f)
{
	use_gigantic(f);
	map_pages(f, 0, 0, GPAGES, RW);
	for (unsigned long i = 0; i < 4; i++)
		READS_SPAN(f, i * 3 * BLOCK, 3, i * 3 * BLOCK);
	assert_int_equal(huge_entries(f), since(6, 12) ? 4 : 0);
}

static void mappings_are_aligned(struct fixture *f)
{
	unsigned long at;

	need_entries(f);
	use_gigantic(f);
	assert_int_equal(f->view % GIB, 0);
	for (unsigned long page = 1; page < GPAGES; page = page * 13 + 5) {
		at = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 4 * GIB - page * PAGE,
				 PROT_READ, page * PAGE);
		assert_int_equal((at - page * PAGE) % GIB, 0);
	}
	/* Nothing in it to align by 1 GiB. */
	at = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, GIB + 2 * PAGE, PROT_READ,
			 GIB - PAGE);
	assert_int_equal((at + PAGE) % HUGE_SIZE, 0);
}

static void small_range_goes_by_blocks(struct fixture *f)
{
	need_entries(f);
	use_gigantic(f);
	map_pages(f, 0, 0, GPAGES - 1, RW);
	READS_SPAN(f, 5, 700, 5);
	assert_int_equal(huge_entries(f), 2);
	READS(f, GPAGES - 2, WORD(GPAGES - 2));
	READ_SIGBUS(f, GPAGES - 1);
}

static void offsets_that_differ_go_by_blocks(struct fixture *f)
{
	need_entries(f);
	use_gigantic(f);
	/* The second page of the file is not there, and not asked for. */
	EXPECT_OK(ftruncate(f->file, 2 * GIB));
	map_pages(f, 0, BLOCK, GPAGES, RW);
	READS_SPAN(f, 0, 3 * BLOCK, BLOCK);
	assert_int_equal(huge_entries(f), 3);
}

static void mapping_at_another_address_goes_by_blocks(struct fixture *f)
{
	unsigned long at, had;

	need_entries(f);
	use_gigantic(f);
	EXPECT_OK(ftruncate(f->file, 2 * GIB));
	map_pages(f, 0, 0, 2 * GPAGES, RW);
	READS(f, 5, WORD(5));
	had = huge_entries(f);
	assert_int_equal(had, 1);
	/* What is 1 GiB there begins 2 MiB before the end of the page. */
	at = EXPECT_CALL(f->peer, op_reserve, 4 * GIB);
	at = ((at + GIB - 1) & -GIB) + HUGE_SIZE;
	EXPECT_CALL(f->peer, op_mmap_at, f->peer_viewfd, 2 * GIB, PROT_READ | PROT_WRITE, 0,
		    at);
	EXPECT_VALUE(0, CALL(f->peer, read_words, at + GIB - 2 * HUGE_SIZE, 2 * BLOCK,
			     GPAGES - 2 * BLOCK, 1));
	EXPECT_VALUE(0, CALL(f->peer, read_words, at, 2 * BLOCK, 0, 1));
	assert_int_equal(huge_entries(f), had + 4);
	/* A part of the view, where it could be. */
	at = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, GIB / 2, PROT_READ, 0);
	EXPECT_VALUE(0, CALL(f->peer, read_words, at, BLOCK, 0, 1));
}

static void range_without_x_goes_by_pages(struct fixture *f)
{
	unsigned long at;

	need_entries(f);
	use_gigantic(f);
	at = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 3 * GIB,
			 PROT_READ | PROT_WRITE | PROT_EXEC, 0);
	map_pages(f, 0, 0, GPAGES, RW);
	EXPECT_VALUE(WORD(6), CALL(f->peer, op_read, at + 6 * PAGE));
	assert_int_equal(huge_entries(f), 0);
	EXPECT_SEGV(at + 5 * PAGE, CALL(f->peer, op_exec, at + 5 * PAGE));
}

static void mprotect_makes_nothing_executable(struct fixture *f)
{
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
	unsigned long at;

	need_entries(f);
	/* mov $42, %eax; ret */
	memcpy(use_gigantic(f) + 5 * PAGE, code, sizeof(code));
	at = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 3 * GIB,
			 PROT_READ | PROT_WRITE | PROT_EXEC, 0);
	EXPECT_CALL(f->peer, op_mprotect, at, 3 * GIB, PROT_READ | PROT_WRITE);
	map_pages(f, 0, 0, GPAGES, RW);
	EXPECT_VALUE(WORD(6), CALL(f->peer, op_read, at + 6 * PAGE));
	assert_int_equal(huge_entries(f), 1);
	EXPECT_CALL(f->peer, op_mprotect, at, 3 * GIB, PROT_READ | PROT_EXEC);
	EXPECT_SEGV(at + 5 * PAGE, CALL(f->peer, op_exec, at + 5 * PAGE));
	/* With the right, one entry again. */
	EXPECT_OK(mv_map(f->ctl, f->file, 0, GIB, GIB, RWX));
	EXPECT_VALUE(42, CALL(f->peer, op_exec, at + GIB + 5 * PAGE));
	assert_int_equal(huge_entries(f), 2);
	protect_pages(f, GPAGES + 5, 1, RW);
	EXPECT_SEGV(at + GIB + 5 * PAGE, CALL(f->peer, op_exec, at + GIB + 5 * PAGE));
}

/* ---- what the controller takes ---- */

static void unmapping_a_part_is_exact(struct fixture *f)
{
	static const struct { unsigned long first, nr; } cuts[] = {
		{ 40, 1 }, { 0, 1 }, { GPAGES - 1, 1 }, { BLOCK - 1, 2 },
		{ 100 * BLOCK, BLOCK }, { 0, GPAGES / 2 + 1 },
	};
	unsigned long had;

	lend_gigantic(f, RW);
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		unsigned long first = cuts[i].first, nr = cuts[i].nr;

		assert_int_equal(unmap_pages(f, first, nr), nr);
		READ_SIGBUS(f, first);
		READ_SIGBUS(f, first + nr - 1);
		all_but(f, first, nr);
		READ_SIGBUS(f, first);
		READ_SIGBUS(f, first + nr - 1);
		/* In a new mapping, nothing has cut it yet. */
		EXPECT_OK(mv_map(f->ctl, f->file, 0, GIB, 0, RW | MEMVIEW_MAP_REPLACE));
		EXPECT_CALL(f->peer, op_munmap, f->view, 3 * GIB);
		f->view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 3 * GIB,
				      PROT_READ | PROT_WRITE, 0);
		had = huge_entries(f);
		READS(f, 3, WORD(3));
		READS(f, GPAGES + 3, WORD(3));
		assert_int_equal(huge_entries(f), had + NR_GIB);
	}
}

static void unmapping_across_entries_is_exact(struct fixture *f)
{
	lend_gigantic(f, RW);
	assert_int_equal(unmap_pages(f, GPAGES - 9, 18), 18);
	for (unsigned long i = GPAGES - 9; i < GPAGES + 9; i++)
		READ_SIGBUS(f, i);
	READS_SPAN(f, GPAGES - 60, 51, GPAGES - 60);
	READS_SPAN(f, GPAGES + 9, 51, 9);
	READ_SIGBUS(f, GPAGES - 9);
	READ_SIGBUS(f, GPAGES + 8);
}

static void narrowing_a_part_is_exact(struct fixture *f)
{
	char *map = lend_gigantic(f, RW);

	protect_pages(f, 1000, 2, R);
	WRITE_SEGV(f, 1000);
	WRITE_SEGV(f, 1001);
	READS_SPAN(f, 990, 20, 990);
	WRITES(f, 999, 1);
	WRITES(f, 1002, 2);
	assert_int_equal(*(uint64_t *)(map + 999 * PAGE), 1);
	assert_int_equal(*(uint64_t *)(map + 1002 * PAGE), 2);
	WRITES(f, GPAGES + 1000, 3);
	READS(f, 1000, 3);
	WRITE_SEGV(f, 1000);
	WRITE_SEGV(f, 1001);
	protect_pages(f, 1000, 2, RW);
	WRITES(f, 1000, WORD(1000));
}

static void narrowing_all_takes_w(struct fixture *f)
{
	lend_gigantic(f, RW);
	WRITES(f, 9, WORD(9));
	protect_pages(f, 0, GPAGES, R);
	WRITE_SEGV(f, 9);
	READS_GIB(f, 0);
	protect_pages(f, 0, GPAGES, RW);
	WRITES(f, 9, WORD(9));
	/* Without W, and with W again: an entry each time. */
	assert_int_equal(huge_entries(f), NR_GIB + 2);
}

/* R1: once taken, nothing more of the file changes. */
static void nothing_is_written_once_taken(struct fixture *f)
{
	char *map = lend_gigantic(f, RW);
	volatile uint64_t *word = (volatile uint64_t *)(map + 300 * PAGE);
	unsigned long had = huge_entries(f), rounds = 40;

	START(f->peer, op_hammer, AT(f, 300));
	for (unsigned long i = 0; i < rounds; i++) {
		unsigned long loops = atomic_load(&shared->loops);
		uint64_t was;

		assert_true(EVENTUALLY(atomic_load(&shared->loops) > loops + 50));
		if (i % 2)
			protect_pages(f, 0, GPAGES, R);
		else
			unmap_pages(f, 0, GPAGES);
		was = *word;
		for (int spin = 0; spin < 100000; spin++)
			__asm__ volatile("pause" : : : "memory");
		assert_int_equal(*word, was);
		if (i % 2)
			unmap_pages(f, 0, GPAGES);
		EXPECT_OK(mv_map(f->ctl, f->file, 0, GIB, 0, RW));
	}
	atomic_store(&shared->stop, 1);
	FINISH(f->peer, "the writer");
	assert_true(huge_entries(f) >= had + rounds / 2);
}

static void revoke_takes_all(struct fixture *f)
{
	lend_gigantic(f, RW);
	EXPECT_OK(mv_revoke(f->ctl));
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, GPAGES - 1);
	READ_SIGBUS(f, GPAGES);
}

static void last_close_takes_all(struct fixture *f)
{
	lend_gigantic(f, RW);
	close(f->ctl);
	f->ctl = -1;
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, GPAGES);
}

/* ---- what the peer does to its mapping ---- */

static void mprotect_of_a_part_is_exact(struct fixture *f)
{
	lend_gigantic(f, RW);
	EXPECT_CALL(f->peer, op_mprotect, AT(f, 17), 2 * PAGE, PROT_READ);
	WRITE_SEGV(f, 17);
	WRITE_SEGV(f, 18);
	WRITES(f, 16, WORD(16));
	WRITES(f, 19, WORD(19));
	READS_SPAN(f, 0, 600, 0);
	READS_GIB(f, GPAGES);
	unmap_pages(f, 0, 2 * GPAGES);
	READ_SIGBUS(f, 17);
	READ_SIGBUS(f, 20);
}

static void mprotect_of_all_is_exact(struct fixture *f)
{
	lend_gigantic(f, RW);
	EXPECT_CALL(f->peer, op_mprotect, f->view, 3 * GIB, PROT_READ);
	WRITE_SEGV(f, 9);
	READS_GIB(f, 0);
	/* The entry is another one: the core is not left to change it. */
	assert_int_equal(huge_entries(f), NR_GIB + 1);
	EXPECT_CALL(f->peer, op_mprotect, f->view, 3 * GIB, PROT_NONE);
	EXPECT_SEGV((unsigned long)AT(f, 9), CALL(f->peer, op_read, AT(f, 9)));
	EXPECT_CALL(f->peer, op_mprotect, f->view, 3 * GIB, PROT_READ | PROT_WRITE);
	WRITES(f, 9, WORD(9));
	READS_GIB(f, 0);
	protect_pages(f, 0, GPAGES, R);
	EXPECT_CALL(f->peer, op_mprotect, f->view, 3 * GIB, PROT_READ);
	EXPECT_CALL(f->peer, op_mprotect, f->view, 3 * GIB, PROT_READ | PROT_WRITE);
	WRITE_SEGV(f, 9);
}

/* No entry lies in two mappings, whatever cuts them. */
static void split_mapping_loses_the_entry(struct fixture *f)
{
	unsigned long long had;

	lend_gigantic(f, RW);
	/* Nor between two: who is cut loses all that he has. */
	EXPECT_CALL(f->peer, op_madvise, f->view + GIB, GIB, MADV_SEQUENTIAL);
	READS_GIB(f, 0);
	READS_GIB(f, GPAGES);
	had = fdinfo(f->ctl, "faults");
	EXPECT_CALL(f->peer, op_madvise, AT(f, 17), PAGE, MADV_SEQUENTIAL);
	READS(f, 16, WORD(16));
	assert_int_equal(fdinfo(f->ctl, "faults"), had + 1);
	READS(f, 17, WORD(17));
	READS(f, 18, WORD(18));
	READS_GIB(f, GPAGES);
	EXPECT_OK(mv_revoke(f->ctl));
	READ_SIGBUS(f, 16);
	READ_SIGBUS(f, 18);
	READ_SIGBUS(f, GPAGES);
}

static void munmap_of_a_part_is_exact(struct fixture *f)
{
	lend_gigantic(f, RW);
	EXPECT_CALL(f->peer, op_munmap, AT(f, 40), PAGE);
	assert_int_equal(CALL(f->peer, op_read, AT(f, 40)).sig, SIGSEGV);
	all_but(f, 40, 1);
	EXPECT_CALL(f->peer, op_munmap, AT(f, GPAGES + GPAGES / 2), GIB);
	READS(f, 2 * GPAGES - GPAGES / 2 - 1, WORD(GPAGES / 2 - 1));
	EXPECT_OK(mv_revoke(f->ctl));
	READ_SIGBUS(f, 39);
	READ_SIGBUS(f, 41);
	READ_SIGBUS(f, GPAGES);
}

/* Moved by @param pages from a multiple of 1 GiB. */
static void moved_mappings_are_revoked(struct fixture *f)
{
	unsigned long at, to, len = NR_GIB * GIB;

	lend_gigantic(f, RW);
	at = EXPECT_CALL(f->peer, op_reserve, len + 2 * GIB);
	to = ((at + GIB - 1) & -GIB) + f->tc->param * PAGE;
	assert_int_equal(EXPECT_CALL(f->peer, op_mremap, f->view, len, len,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	EXPECT_VALUE(0, CALL(f->peer, read_words, to, 600, 0, 1));
	EXPECT_VALUE(0, CALL(f->peer, read_words, to + GIB, 600, 0, 1));
	EXPECT_VALUE(0, CALL(f->peer, op_write, to + 5 * PAGE, (long)WORD(5)));
	assert_int_equal(CALL(f->peer, op_read, AT(f, 5)).sig, SIGSEGV);
	unmap_pages(f, 5, 1);
	EXPECT_SIGBUS(to + 5 * PAGE, CALL(f->peer, op_read, to + 5 * PAGE));
	EXPECT_VALUE(WORD(6), CALL(f->peer, op_read, to + 6 * PAGE));
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_SIGBUS(to, CALL(f->peer, op_read, to));
	EXPECT_SIGBUS(to + GIB, CALL(f->peer, op_read, to + GIB));
}

/* From the middle of one entry into that of another. */
static void moved_part_is_revoked(struct fixture *f)
{
	unsigned long at, to, first = GPAGES / 2 + 3;

	lend_gigantic(f, RW);
	at = EXPECT_CALL(f->peer, op_reserve, 3 * GIB);
	to = ((at + GIB - 1) & -GIB) + f->tc->param * PAGE;
	assert_int_equal(EXPECT_CALL(f->peer, op_mremap, AT(f, first), GIB, GIB,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	READS_SPAN(f, first - 600, 600, first - 600);
	READS_SPAN(f, GPAGES + first, 600, first);
	EXPECT_VALUE(0, CALL(f->peer, read_words, to, 600, first, 1));
	assert_int_equal(CALL(f->peer, op_read, AT(f, first)).sig, SIGSEGV);
	unmap_pages(f, first, 1);
	EXPECT_SIGBUS(to, CALL(f->peer, op_read, to));
	EXPECT_OK(mv_revoke(f->ctl));
	READ_SIGBUS(f, first - 1);
	READ_SIGBUS(f, GPAGES + first);
	EXPECT_SIGBUS(to + PAGE, CALL(f->peer, op_read, to + PAGE));
}

static void children_start_empty(struct fixture *f)
{
	struct peer *child;
	unsigned long had;

	lend_gigantic(f, RW);
	had = huge_entries(f);
	child = peer_fork(f->peer);
	assert_non_null(child);
	EXPECT_VALUE(0, CALL(child, read_words, AT(f, 0), GPAGES, 0, 61));
	assert_int_equal(huge_entries(f), had + 1);
	unmap_pages(f, 7, 1);
	EXPECT_SIGBUS((unsigned long)AT(f, 7), CALL(child, op_read, AT(f, 7)));
	READ_SIGBUS(f, 7);
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_SIGBUS((unsigned long)AT(f, 0), CALL(child, op_read, AT(f, 0)));
	READ_SIGBUS(f, GPAGES);
}

static long op_vmsplice(const long *a)
{
	struct iovec iov = { .iov_base = (void *)a[0], .iov_len = PAGE };
	int fds[2];
	long ret;
	int err;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return -1;
	ret = vmsplice(fds[1], &iov, 1, 0);
	err = errno;
	close(fds[0]);
	close(fds[1]);
	errno = err;
	return ret;
}

static void entries_cannot_be_pinned(struct fixture *f)
{
	lend_gigantic(f, RW);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_vmsplice, AT(f, 3));
	READS_GIB(f, 0);
}

static long op_look(const long *a)
{
	static char text[1 << 16];
	static const char *const files[] = {
		"/proc/self/smaps", "/proc/self/numa_maps", "/proc/self/smaps_rollup",
	};
	static unsigned char vec[GPAGES];
	uint64_t entry;
	int fd;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		fd = open(files[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		while (read(fd, text, sizeof(text)) > 0)
			;
		close(fd);
	}
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (long i = 0; i < 1000; i++)
		if (pread(fd, &entry, 8, (a[0] / PAGE + i * 257) * 8) != 8)
			return -1;
	close(fd);
	fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	for (const char *how = "1234"; *how; how++)
		if (write(fd, how, 1) != 1)
			return -1;
	close(fd);
	return mincore((void *)a[0], GIB, vec);
}

/* Who looks at the page tables may drop an entry, and no more. */
static void looking_breaks_nothing(struct fixture *f)
{
	unsigned long had;

	lend_gigantic(f, RW);
	EXPECT_CALL(f->peer, op_look, f->view);
	EXPECT_CALL(f->peer, op_madvise_all, f->view, GIB);
	READS_GIB(f, 0);
	READS_GIB(f, GPAGES);
	WRITES(f, 3, WORD(3));
	had = huge_entries(f);
	unmap_pages(f, 3, 1);
	READ_SIGBUS(f, 3);
	READS(f, 4, WORD(4));
	assert_true(huge_entries(f) >= had);
}

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC		(1 << 15)
#endif

/* Registers for asynchronous write-protection, and takes it back. */
static long op_wp(const long *a)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC };
	struct uffdio_register reg = {
		.range = { .start = a[0], .len = a[1] }, .mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect wp = { .range = reg.range };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg) ||
	    ioctl(fd, UFFDIO_WRITEPROTECT, &wp))
		return -1;
	return close(fd);
}

/* What entries of 1 GiB rest on; where it is let in, the kernel warns. */
static void userfaultfd_is_kept_out(struct fixture *f)
{
	lend_gigantic(f, RW);
	EXPECT_CALL_ERRNO(EINVAL, f->peer, op_wp, f->view, 2 * GIB);
	READS_GIB(f, 0);
}

/* ---- what happens to the source ---- */

static void punched_page_is_gone(struct fixture *f)
{
	char *map = lend_gigantic(f, RW);

	EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, GIB));
	READS(f, 0, 0);
	READS(f, GPAGES - 1, 0);
	READS(f, GPAGES, 0);
	WRITES(f, 8, 8);
	assert_int_equal(*(uint64_t *)(map + 8 * PAGE), 8);
	READS(f, GPAGES + 8, 8);
	assert_int_equal(huge_entries(f), 2 * NR_GIB);
}

static void truncated_page_is_sigbus(struct fixture *f)
{
	lend_gigantic(f, RW);
	EXPECT_OK(ftruncate(f->file, 0));
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, GPAGES - 1);
	READ_SIGBUS(f, GPAGES);
}

static void source_without_w_gives_none(struct fixture *f)
{
	struct mapping m;

	lend_gigantic(f, RW);
	m = source_mapping(f, 0);
	EXPECT_OK(mprotect((void *)m.start, m.end - m.start, PROT_READ));
	WRITE_SIGBUS(f, 0);
	READS_GIB(f, 0);
	WRITE_SIGBUS(f, 0);
	EXPECT_OK(mprotect((void *)m.start, m.end - m.start, PROT_READ | PROT_WRITE));
	WRITES(f, 0, WORD(0));
	WRITES(f, GPAGES, WORD(0));
}

static void unmapped_source_is_sigbus(struct fixture *f)
{
	struct mapping m;

	lend_gigantic(f, RW);
	m = source_mapping(f, 0);
	EXPECT_OK(munmap((void *)m.start, m.end - m.start));
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, 2 * GPAGES - 1);
}

static void lazy_write_reads_then_writes(struct fixture *f)
{
	char *map = lend_gigantic(f, RW | MEMVIEW_MAP_LAZY_WRITE);

	WRITES(f, 6, ~WORD(6));
	assert_int_equal(*(uint64_t *)(map + 6 * PAGE), ~WORD(6));
	READS_SPAN(f, 7, BLOCK, 7);
	assert_int_equal(huge_entries(f), NR_GIB);
}

/* ---- entries that come and go ---- */

#define RACE_MAPS 4

struct racer {
	pthread_t thread;
	int fd;
	long bad;
};

/* What falls back once does so for good in that mapping: a new one, then. */
static void *race_thread(void *arg)
{
	struct racer *r = arg;
	char *maps[RACE_MAPS];

	while (!atomic_load(&shared->stop)) {
		for (int i = 0; i < RACE_MAPS; i++) {
			maps[i] = mmap(NULL, NR_GIB * GIB, PROT_READ, MAP_SHARED, r->fd, 0);
			r->bad += maps[i] == MAP_FAILED;
		}
		for (unsigned long i = 0; i < 100 * RACE_MAPS && !r->bad; i++) {
			unsigned long page = i * 37 % GPAGES;

			r->bad += *(volatile uint64_t *)(maps[i % RACE_MAPS] +
				    i / RACE_MAPS % NR_GIB * GIB + page * PAGE) != WORD(page);
		}
		for (int i = 0; i < RACE_MAPS; i++)
			munmap(maps[i], NR_GIB * GIB);
		atomic_fetch_add(&shared->loops, 1);
	}
	return NULL;
}

static long op_race(const long *a)
{
	struct racer r[2] = { 0 };

	for (int i = 0; i < 2; i++) {
		r[i].fd = (int)a[0];
		if (pthread_create(&r[i].thread, NULL, race_thread, &r[i]))
			return -1;
	}
	for (int i = 0; i < 2; i++)
		pthread_join(r[i].thread, NULL);
	return r[0].bad + r[1].bad;
}

/*
 * Zaps of blocks that fault again at once. That nothing was upset shows in the
 * kernel log ("bad pud").
 */
static void zaps_and_faults_race(struct fixture *f)
{
	unsigned long had, rounds = 0;

	lend_gigantic(f, RW);
	had = huge_entries(f);
	START(f->peer, op_race, f->peer_viewfd);
	while (atomic_load(&shared->loops) < 60 || rounds < 10000)
		EXPECT_OK(mv_map(f->ctl, f->file, 0, GIB, rounds++ % 2 * GIB,
				 RW | MEMVIEW_MAP_REPLACE));
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "the racers"));
	assert_true(huge_entries(f) > had);
}

static long op_touch(const long *a)
{
	for (unsigned long i = 0; !atomic_load(&shared->stop); i++)
		if (*(volatile uint64_t *)(a[0] + i % 512 * HUGE_SIZE) !=
		    WORD(i % 512 * BLOCK))
			return 1;
	return 0;
}

/*
 * While anything of the view is zapped, what faults goes by blocks. That this
 * happens at all is for the zaps' sake, see zaps_and_faults_race().
 */
static void no_entry_is_made_during_a_zap(struct fixture *f)
{
	long faults = 0;

	lend_gigantic(f, RW);
	assert_true(EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), GIB) <= 4);
	for (int try = 0; try < 50 && faults < 100; try++) {
		EXPECT_CALL(f->peer, op_mmap_at, f->peer_viewfd, 3 * GIB,
			    PROT_READ | PROT_WRITE, 0, f->view);
		atomic_store(&shared->stop, 0);
		START(f->peer, op_touch, f->view);
		for (int i = 0; i < 300; i++)
			EXPECT_OK(mv_map(f->ctl, f->file, 0, GIB, i % 2 * GIB,
					 RW | MEMVIEW_MAP_REPLACE));
		atomic_store(&shared->stop, 1);
		EXPECT_VALUE(0, FINISH(f->peer, "the reader"));
		faults = EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), GIB);
	}
	assert_true(faults >= 100);
}

static const struct test_case cases[] = {
	CASE(blocks_are_mapped_by_default),
	CASE(one_fault_maps_all),
	CASE(mappings_are_aligned),
	CASE(small_range_goes_by_blocks),
	CASE(offsets_that_differ_go_by_blocks),
	CASE(mapping_at_another_address_goes_by_blocks),
	CASE(range_without_x_goes_by_pages),
	CASE(mprotect_makes_nothing_executable),
	CASE(unmapping_a_part_is_exact),
	CASE(unmapping_across_entries_is_exact),
	CASE(narrowing_a_part_is_exact),
	CASE(narrowing_all_takes_w),
	CASE(nothing_is_written_once_taken),
	CASE(revoke_takes_all),
	CASE(last_close_takes_all),
	CASE(mprotect_of_a_part_is_exact),
	CASE(mprotect_of_all_is_exact),
	CASE(split_mapping_loses_the_entry),
	CASE(munmap_of_a_part_is_exact),
	CASE_VARIANT(moved_mappings_are_revoked, "aligned", 0),
	CASE_VARIANT(moved_mappings_are_revoked, "by a block", BLOCK),
	CASE_VARIANT(moved_mappings_are_revoked, "unaligned", 9),
	CASE_VARIANT(moved_part_is_revoked, "as it was", GPAGES / 2 + 3),
	CASE_VARIANT(moved_part_is_revoked, "unaligned", 9),
	CASE(children_start_empty),
	CASE(entries_cannot_be_pinned),
	CASE(looking_breaks_nothing),
	CASE(userfaultfd_is_kept_out),
	CASE(punched_page_is_gone),
	CASE(truncated_page_is_sigbus),
	CASE(source_without_w_gives_none),
	CASE(unmapped_source_is_sigbus),
	CASE(lazy_write_reads_then_writes),
	CASE(no_entry_is_made_during_a_zap),
	CASE(zaps_and_faults_race),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "gigantic", cases);
}
