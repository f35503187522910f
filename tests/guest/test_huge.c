// SPDX-License-Identifier: GPL-2.0
/*
 * Huge page-table entries in peers: where the kernel can, one fault maps 2 MiB;
 * everything that cuts such an entry stays exact to the page.
 *
 * That an entry is huge shows in memview_info.huge_entries, and in the page faults
 * it takes to read the block.
 */
#include "adv.h"
#include "spin.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#define BLOCK		(HUGE_SIZE / PAGE)
#define NR_BLOCKS	2UL
#define SHMEM_ENABLED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

enum kind { K_HUGETLB, K_MEMFD, K_TMPFS };

#define EACH_KIND(fn) \
	CASE_VARIANT(fn, "hugetlb", K_HUGETLB), \
	CASE_VARIANT(fn, "memfd", K_MEMFD), \
	CASE_VARIANT(fn, "tmpfs", K_TMPFS)
#define SHMEM_KINDS(fn) \
	CASE_VARIANT(fn, "memfd", K_MEMFD), \
	CASE_VARIANT(fn, "tmpfs", K_TMPFS)
#define ON_HUGETLB(fn)	CASE_VARIANT(fn, "hugetlb", K_HUGETLB)

static bool can_huge(struct fixture *f)
{
	struct memview_info info;

	EXPECT_OK(mv_info(f->ctl, &info));
	return info.features & MEMVIEW_FEATURE_HUGE;
}

static unsigned long huge_entries(struct fixture *f)
{
	struct memview_info info;

	EXPECT_OK(mv_info(f->ctl, &info));
	return info.huge_entries;
}

static int huge_tmpfs_file(void)
{
	static const char dir[] = "/tmp/memview-huge";

	if (mkdir(dir, 0700) && errno != EEXIST)
		return -1;
	if (access("/tmp/memview-huge/on", F_OK)) {
		if (mount("memview-huge", dir, "tmpfs", 0, "mode=0700,huge=within_size"))
			return -1;
		close(open("/tmp/memview-huge/on", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	}
	return open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0700);
}

/* Of the last such file, in this process: it would keep its huge pages. */
static struct {
	char *map;
	size_t size;
} kept;

static void drop_map(void)
{
	if (kept.map)
		munmap(kept.map, kept.size);
	kept.map = NULL;
}

/* A file of huge pages, and its pages; each page of it has WORD(base + page). */
static int make_huge(enum kind kind, unsigned long nr_blocks, unsigned long base,
		     char **map)
{
	size_t size = nr_blocks * HUGE_SIZE;
	const char *why;
	int fd = -1;

	drop_map();
	switch (kind) {
	case K_HUGETLB:
		why = backing_prepare(HUGETLB);
		if (why)
			SKIP("%s", why);
		fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
		break;
	case K_MEMFD:
		if (!put_text(SHMEM_ENABLED, "advise"))
			SKIP("no huge pages in shmem");
		fd = memfd_create("huge", MFD_CLOEXEC);
		break;
	case K_TMPFS:
		fd = huge_tmpfs_file();
		if (fd < 0)
			SKIP("no tmpfs with huge pages");
		break;
	}
	assert_true(fd >= 0);
	EXPECT_OK(ftruncate(fd, size));
	*map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(*map, MAP_FAILED);
	kept.map = *map;
	kept.size = size;
	if (kind != K_HUGETLB)
		EXPECT_OK(madvise(*map, size, MADV_HUGEPAGE));
	for (unsigned long i = 0; i < nr_blocks * BLOCK; i++)
		*(uint64_t *)(*map + i * PAGE) = WORD(base + i);
	for (unsigned long i = 0; i < nr_blocks; i++)
		if (!is_tail_page(*map + i * HUGE_SIZE + PAGE))
			SKIP("the kernel has given no huge page");
	return fd;
}

/* Puts a file of huge pages in the place of the fixture's. */
static char *use_huge(struct fixture *f)
{
	char *map;

	if (!can_huge(f))
		SKIP("no huge entries in VM_PFNMAP mappings before 6.12");
	close(f->file);
	/* One entry for each fault, unless the case says otherwise. */
	set_module_param(f, "fault_around_pages", 1);
	f->file = make_huge(f->tc->param, NR_BLOCKS, 0, &map);
	f->file_size = NR_BLOCKS * HUGE_SIZE;
	return map;
}

/* Lends all of the file at page 0, and has the peer touch each block once. */
static char *lend_huge(struct fixture *f, uint32_t flags)
{
	char *map = use_huge(f);
	unsigned long had = huge_entries(f);

	map_pages(f, 0, 0, NR_BLOCKS * BLOCK, flags);
	for (unsigned long b = 0; b < NR_BLOCKS; b++)
		READS(f, b * BLOCK + 77, WORD(b * BLOCK + 77));
	assert_int_equal(huge_entries(f), had + NR_BLOCKS);
	return map;
}

static long read_words(const long *a)
{
	long bad = 0;

	for (long i = 0; i < a[1]; i++)
		bad += *(volatile uint64_t *)(a[0] + i * PAGE) != WORD(a[2] + i);
	return bad;
}

/* The peer sees WORD(base + i) in each page of a span. */
#define READS_SPAN(f, page, nr, base) \
	EXPECT_VALUE(0, CALL((f)->peer, read_words, AT(f, page), nr, base))

static void all_but(struct fixture *f, unsigned long first, unsigned long nr)
{
	READS_SPAN(f, 0, first, 0);
	READS_SPAN(f, first + nr, NR_BLOCKS * BLOCK - first - nr, first + nr);
}

/* ---- what the kernel can ---- */

static void feature_is_there_since_6_12(struct fixture *f)
{
	struct utsname name;
	int major, minor;

	uname(&name);
	assert_int_equal(sscanf(name.release, "%d.%d", &major, &minor), 2);
	assert_int_equal(can_huge(f), major > 6 || (major == 6 && minor >= 12));
}

static void without_the_feature_pages_are_mapped(struct fixture *f)
{
	char *map;
	int fd;

	if (can_huge(f))
		SKIP("this kernel has huge entries");
	fd = make_huge(K_HUGETLB, NR_BLOCKS, 0, &map);
	EXPECT_OK(mv_map(f->ctl, fd, 0, NR_BLOCKS * HUGE_SIZE, 0, RW));
	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
	WRITES(f, 700, 1);
	assert_int_equal(*(uint64_t *)(map + 700 * PAGE), 1);
	assert_int_equal(huge_entries(f), 0);
	assert_int_equal(unmap_pages(f, 3, 1), 1);
	READ_SIGBUS(f, 3);
	READS(f, 4, WORD(4));
}

static void mappings_are_aligned(struct fixture *f)
{
	if (!can_huge(f))
		SKIP("no huge entries in VM_PFNMAP mappings before 6.12");
	assert_int_equal(f->view % HUGE_SIZE, 0);
	for (unsigned long page = 0; page < 600; page += 123) {
		unsigned long at;

		at = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd,
				 (VIEW_PAGES - page) * PAGE, PROT_READ, page * PAGE);
		assert_int_equal((at - page * PAGE) % HUGE_SIZE, 0);
	}
}

/* ---- what is mapped ---- */

static void one_fault_maps_a_block(struct fixture *f)
{
	char *map = use_huge(f);

	map_pages(f, 0, 0, NR_BLOCKS * BLOCK, RW);
	READS(f, 100, WORD(100));
	assert_int_equal(huge_entries(f), 1);
	assert_int_equal(fdinfo(f->ctl, "huge_entries"), 1);
	assert_int_equal(fdinfo(f->ctl, "faults"), 1);
	assert_in_range(EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), HUGE_SIZE), 0, 4);
	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
	for (unsigned long i = 0; i < NR_BLOCKS * BLOCK; i += 51) {
		WRITES(f, i, ~WORD(i));
		assert_int_equal(*(uint64_t *)(map + i * PAGE), ~WORD(i));
	}
	assert_int_equal(huge_entries(f), NR_BLOCKS);
	assert_int_equal(fdinfo(f->ctl, "faults"), NR_BLOCKS);
}

/* Blocks that the source has mapped come along, up to the window and the range. */
static void blocks_around_come_along(struct fixture *f)
{
	unsigned long at, len = VIEW_PAGES * PAGE;

	use_huge(f);
	set_module_param(f, "fault_around_pages", 2);
	/* Windows are aligned, in addresses. */
	at = EXPECT_CALL(f->peer, op_reserve, 2 * len);
	at = (at + len - 1) & -len;
	f->view = EXPECT_CALL(f->peer, op_mremap, f->view, len, len,
			      MREMAP_MAYMOVE | MREMAP_FIXED, at);
	map_pages(f, 0, 0, 2 * BLOCK, RW);
	map_pages(f, 2 * BLOCK, 0, 2 * BLOCK, R);
	map_pages(f, 4 * BLOCK, 0, BLOCK + 9, RW);
	/* The source first: only what it has mapped comes along. */
	READS(f, 0, WORD(0));
	assert_int_equal(huge_entries(f), 1);
	READS(f, BLOCK, WORD(BLOCK));
	assert_int_equal(huge_entries(f), 2);
	/* That without W is another source. */
	READS(f, 3 * BLOCK + 5, WORD(BLOCK + 5));
	assert_int_equal(huge_entries(f), 3);
	READS(f, 2 * BLOCK + 5, WORD(5));
	assert_int_equal(huge_entries(f), 4);
	READS(f, 4 * BLOCK + 5, WORD(5));
	assert_int_equal(huge_entries(f), 5);
	/* Now that they have all mapped it. */
	protect_pages(f, 0, 2 * BLOCK, R);
	READS(f, 7, WORD(7));
	assert_int_equal(huge_entries(f), 7);
	protect_pages(f, 0, 2 * BLOCK, RW);
	WRITES(f, BLOCK, WORD(BLOCK));
	assert_int_equal(huge_entries(f), 9);
	assert_in_range(EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), 5 * HUGE_SIZE), 0, 8);
	WRITES(f, BLOCK - 1, WORD(BLOCK - 1));
	WRITES(f, BLOCK, WORD(BLOCK));
	WRITE_SEGV(f, 2 * BLOCK);
	WRITE_SEGV(f, 3 * BLOCK);
	READ_SIGBUS(f, 5 * BLOCK + 9);
	READS_SPAN(f, 0, 2 * BLOCK, 0);
	READS_SPAN(f, 2 * BLOCK, 2 * BLOCK, 0);
	READS_SPAN(f, 4 * BLOCK, BLOCK + 9, 0);
	/* The largest window; the mapping begins and ends in the midst of it. */
	set_module_param(f, "fault_around_pages", 64);
	at = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, HUGE_SIZE, PROT_READ, HUGE_SIZE);
	EXPECT_VALUE(0, CALL(f->peer, read_words, at, BLOCK, BLOCK));
	assert_int_equal(huge_entries(f), 10);
	unmap_pages(f, BLOCK, 1);
	EXPECT_SIGBUS(at, CALL(f->peer, op_read, at));
	READ_SIGBUS(f, BLOCK);
	READS(f, 0, WORD(0));
}

/* Done in advance in each peer, a block at a time; and cut like any other entry. */
static void populate_makes_huge_entries(struct fixture *f)
{
	struct memview_populate_info info = {
		.size = NR_BLOCKS * HUGE_SIZE, .flags = MEMVIEW_POPULATE_PEERS,
	};
	unsigned long long faults;
	unsigned long view;
	struct peer *other;

	use_huge(f);
	other = another_peer(f, f->viewfd, PROT_READ, &view);
	map_pages(f, 0, 0, NR_BLOCKS * BLOCK, RW);
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_POPULATE, &info));
	assert_int_equal(info.populated, NR_BLOCKS * HUGE_SIZE);
	assert_int_equal(huge_entries(f), 2 * NR_BLOCKS);
	/* Nothing is left to do for accesses of either kind. */
	faults = fdinfo(f->ctl, "faults");
	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
	EXPECT_VALUE(0, CALL(other, read_words, view, NR_BLOCKS * BLOCK, 0));
	for (unsigned long i = 0; i < NR_BLOCKS * BLOCK; i += 51)
		WRITES(f, i, WORD(i));
	assert_int_equal(fdinfo(f->ctl, "faults"), faults);
	assert_int_equal(unmap_pages(f, BLOCK - 2, 5), 5);
	for (unsigned long page = BLOCK - 2; page < BLOCK + 3; page++) {
		READ_SIGBUS(f, page);
		EXPECT_SIGBUS(view + page * PAGE, CALL(other, op_read, view + page * PAGE));
	}
	all_but(f, BLOCK - 2, 5);
	EXPECT_VALUE(0, CALL(other, read_words, view, BLOCK - 2, 0));
	EXPECT_VALUE(0, CALL(other, read_words, view + (BLOCK + 3) * PAGE, BLOCK - 3, BLOCK + 3));
}

/* As with pages, what nobody has touched is not allocated. */
static void blocks_around_are_not_allocated(struct fixture *f)
{
	struct stat st;
	char *map;

	use_huge(f);
	set_module_param(f, "fault_around_pages", 16);
	close(f->file);
	drop_map();
	f->file = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	EXPECT_OK(ftruncate(f->file, NR_BLOCKS * HUGE_SIZE));
	map = map_file(f, PROT_READ | PROT_WRITE);
	map_pages(f, 0, 0, NR_BLOCKS * BLOCK, RW);
	WRITES(f, 1, 1);
	EXPECT_OK(fstat(f->file, &st));
	assert_int_equal(st.st_blocks * 512, HUGE_SIZE);
	assert_int_equal(huge_entries(f), 1);
	READS(f, BLOCK, 0);
	assert_int_equal(huge_entries(f), 2);
	munmap(map, NR_BLOCKS * HUGE_SIZE);
}

/* The peer is the first to touch the file: it is the source that faults. */
static void peer_touches_first(struct fixture *f)
{
	bool write = f->tc->param & 0x100;
	enum kind kind = f->tc->param & 0xff;
	char *map;

	if (!can_huge(f))
		SKIP("no huge entries in VM_PFNMAP mappings before 6.12");
	set_module_param(f, "fault_around_pages", 1);
	/* That there are such pages at all. */
	close(make_huge(kind, 1, 0, &map));
	if (kind == K_HUGETLB)
		f->file = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	else
		f->file = huge_tmpfs_file();
	EXPECT_OK(ftruncate(f->file, NR_BLOCKS * HUGE_SIZE));
	map_pages(f, 0, 0, NR_BLOCKS * BLOCK, RW);
	if (write)
		WRITES(f, 5, 1);
	else
		READS(f, 5, 0);
	assert_int_equal(huge_entries(f), 1);
	WRITES(f, 511, 2);
	READS(f, 6, 0);
	assert_int_equal(file_word(f->file, 511 * PAGE), 2);
	assert_int_equal(huge_entries(f), 1);
}

static void range_without_w_is_not_writable(struct fixture *f)
{
	lend_huge(f, R);
	WRITE_SEGV(f, 0);
	WRITE_SEGV(f, BLOCK - 1);
	WRITE_SEGV(f, BLOCK);
	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
	assert_in_range(EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), HUGE_SIZE), 0, 4);
}

static void small_range_goes_by_pages(struct fixture *f)
{
	use_huge(f);
	/* A page less at either end; and whole blocks that are no aligned one. */
	map_pages(f, 0, 0, BLOCK - 1, RW);
	map_pages(f, BLOCK + 1, BLOCK + 1, BLOCK - 1, RW);
	map_pages(f, 2 * BLOCK + 1, 1, BLOCK, RW);
	READS_SPAN(f, 0, BLOCK - 1, 0);
	READS_SPAN(f, BLOCK + 1, BLOCK - 1, BLOCK + 1);
	READS_SPAN(f, 2 * BLOCK + 1, BLOCK, 1);
	WRITES(f, 1, 1);
	READ_SIGBUS(f, BLOCK - 1);
	READ_SIGBUS(f, BLOCK);
	assert_int_equal(huge_entries(f), 0);
}

static void offsets_that_differ_go_by_pages(struct fixture *f)
{
	use_huge(f);
	/* Not congruent: page 0 of the view is page 3 of the file, and the reverse. */
	map_pages(f, 0, 3, BLOCK + 20, RW);
	map_pages(f, 2 * BLOCK + 3, 0, 2 * BLOCK, R);
	READS_SPAN(f, 0, BLOCK + 20, 3);
	READS_SPAN(f, 2 * BLOCK + 3, 2 * BLOCK, 0);
	assert_int_equal(huge_entries(f), 0);
	/* Congruent, one block on: by huge entries. */
	map_pages(f, 5 * BLOCK + 3, BLOCK + 3, BLOCK - 3, R);
	READS_SPAN(f, 5 * BLOCK + 3, BLOCK - 3, BLOCK + 3);
	assert_int_equal(huge_entries(f), 0);
	map_pages(f, 6 * BLOCK, BLOCK, BLOCK, R);
	READS_SPAN(f, 6 * BLOCK, BLOCK, BLOCK);
	assert_int_equal(huge_entries(f), 1);
}

static void mapping_at_another_offset_goes_by_pages(struct fixture *f)
{
	unsigned long at, to;

	use_huge(f);
	map_pages(f, 0, 0, NR_BLOCKS * BLOCK, RW);
	/* Where the peer wants it, one page off. */
	at = EXPECT_CALL(f->peer, op_reserve, 4 * HUGE_SIZE);
	to = ((at + HUGE_SIZE - 1) & -HUGE_SIZE) + PAGE;
	assert_int_equal(EXPECT_CALL(f->peer, op_mremap, f->view, NR_BLOCKS * HUGE_SIZE,
				     NR_BLOCKS * HUGE_SIZE,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	EXPECT_VALUE(0, CALL(f->peer, read_words, to, NR_BLOCKS * BLOCK, 0));
	assert_int_equal(huge_entries(f), 0);
}

static void small_pages_go_by_pages(struct fixture *f)
{
	unsigned long nr = VIEW_PAGES;
	char *map;

	if (!can_huge(f))
		SKIP("no huge entries in VM_PFNMAP mappings before 6.12");
	EXPECT_OK(ftruncate(f->file, nr * PAGE));
	f->file_size = nr * PAGE;
	map = map_file(f, PROT_READ | PROT_WRITE);
	for (unsigned long i = 0; i < nr; i++)
		*(uint64_t *)(map + i * PAGE) = WORD(i);
	map_pages(f, 0, 0, nr, RW);
	READS_SPAN(f, 0, nr, 0);
	WRITES(f, 9, 9);
	READS(f, 9, 9);
}

static void advice_against_it_is_taken(struct fixture *f)
{
	use_huge(f);
	map_pages(f, 0, 0, NR_BLOCKS * BLOCK, RW);
	EXPECT_CALL(f->peer, op_madvise, f->view, NR_BLOCKS * HUGE_SIZE, MADV_NOHUGEPAGE);
	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
	assert_int_equal(huge_entries(f), 0);
}

/* The driver asks for them itself, where the machine wants to be asked. */
static void mappings_ask_for_huge_entries(struct fixture *f)
{
	const char *enabled = "/sys/kernel/mm/transparent_hugepage/enabled";

	use_huge(f);
	map_pages(f, 0, 0, NR_BLOCKS * BLOCK, RW);
	assert_true(put_text(enabled, "madvise"));
	READS(f, 0, WORD(0));
	assert_true(put_text(enabled, "always"));
	assert_int_equal(huge_entries(f), 1);
}

/* Entries cannot be executable here and not there: by pages, where that differs. */
static void ranges_without_x_stay_so(struct fixture *f)
{
	unsigned long at;

	use_huge(f);
	at = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE,
			 PROT_READ | PROT_WRITE | PROT_EXEC, 0);
	put_code(f->file, 5, 42);
	map_pages(f, 0, 0, BLOCK, RW);
	EXPECT_VALUE(WORD(6), CALL(f->peer, op_read, at + 6 * PAGE));
	assert_int_equal(huge_entries(f), 0);
	EXPECT_SEGV(at + 5 * PAGE, CALL(f->peer, op_exec, at + 5 * PAGE));
	/* All of it executable: a huge entry, in a block that had none yet. */
	put_code(f->file, BLOCK + 5, 43);
	map_pages(f, BLOCK, BLOCK, BLOCK, RWX);
	EXPECT_VALUE(43, CALL(f->peer, op_exec, at + (BLOCK + 5) * PAGE));
	assert_int_equal(huge_entries(f), 1);
	protect_pages(f, BLOCK, BLOCK, RW);
	EXPECT_SEGV(at + (BLOCK + 5) * PAGE, CALL(f->peer, op_exec, at + (BLOCK + 5) * PAGE));
	EXPECT_VALUE(WORD(BLOCK), CALL(f->peer, op_read, at + BLOCK * PAGE));
}

/* mprotect(2) makes present entries executable unless the driver drops them. */
static void mprotect_makes_no_huge_entry_executable(struct fixture *f)
{
	unsigned long at;

	use_huge(f);
	at = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE,
			 PROT_READ | PROT_EXEC, 0);
	EXPECT_CALL(f->peer, op_mprotect, at, NR_BLOCKS * HUGE_SIZE, PROT_READ);
	put_code(f->file, 5, 42);
	map_pages(f, 0, 0, NR_BLOCKS * BLOCK, R);
	EXPECT_VALUE(WORD(6), CALL(f->peer, op_read, at + 6 * PAGE));
	EXPECT_VALUE(WORD(BLOCK), CALL(f->peer, op_read, at + HUGE_SIZE));
	assert_int_equal(huge_entries(f), 2);
	/* All of one, and a part of the other. */
	EXPECT_CALL(f->peer, op_mprotect, at, HUGE_SIZE + 9 * PAGE, PROT_READ | PROT_EXEC);
	EXPECT_SEGV(at + 5 * PAGE, CALL(f->peer, op_exec, at + 5 * PAGE));
	EXPECT_SEGV(at + HUGE_SIZE + 5 * PAGE,
		    CALL(f->peer, op_exec, at + HUGE_SIZE + 5 * PAGE));
	EXPECT_VALUE(WORD(6), CALL(f->peer, op_read, at + 6 * PAGE));
	EXPECT_VALUE(WORD(BLOCK + 9), CALL(f->peer, op_read, at + HUGE_SIZE + 9 * PAGE));
}

/* ---- what is taken away ---- */

static void unmapping_a_part_is_exact(struct fixture *f)
{
	static const struct { unsigned long first, nr; } spans[] = {
		{ 100, 3 }, { 0, 1 }, { BLOCK - 1, 1 }, { BLOCK - 4, 9 },
		{ BLOCK, 200 }, { 1, 2 * BLOCK - 2 },
	};

	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
		unsigned long first = spans[i].first, nr = spans[i].nr;

		lend_huge(f, RW);
		assert_int_equal(unmap_pages(f, first, nr), nr);
		for (unsigned long page = first; page < first + nr; page += nr > 20 ? 37 : 1)
			READ_SIGBUS(f, page);
		READ_SIGBUS(f, first + nr - 1);
		WRITE_SIGBUS(f, first);
		all_but(f, first, nr);
		/* A mapping without page tables for the next. */
		unmap_pages(f, 0, NR_BLOCKS * BLOCK);
		EXPECT_CALL(f->peer, op_munmap, f->view, VIEW_PAGES * PAGE);
		f->view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE,
				      PROT_READ | PROT_WRITE, 0);
	}
}

static void narrowing_a_part_is_exact(struct fixture *f)
{
	unsigned long first = BLOCK - 3, nr = 8;

	lend_huge(f, RW);
	WRITES(f, first, WORD(first));
	protect_pages(f, first, nr, R);
	for (unsigned long page = first; page < first + nr; page++) {
		WRITE_SEGV(f, page);
		READS(f, page, WORD(page));
	}
	for (unsigned long page = 0; page < NR_BLOCKS * BLOCK; page += page == first - 1 ? nr + 1 : 1) {
		if (page < first - 40 || page > first + 40)
			continue;
		WRITES(f, page, WORD(page));
	}
	WRITES(f, 0, WORD(0));
	WRITES(f, 2 * BLOCK - 1, WORD(2 * BLOCK - 1));
	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
	/* And back. */
	protect_pages(f, first, nr, RW);
	WRITES(f, first, WORD(first));
}

static void shrinking_cuts_exactly(struct fixture *f)
{
	lend_huge(f, RW);
	EXPECT_OK(mv_set_size(f->ctl, (BLOCK + 7) * PAGE));
	READS_SPAN(f, 0, BLOCK + 7, 0);
	READ_SIGBUS(f, BLOCK + 7);
	READ_SIGBUS(f, 2 * BLOCK - 1);
}

/*
 * R1 for huge entries: the peer writes all the time; when PROTECT, UNMAP_FD or
 * a replacement has returned, no byte of the file changes any more.
 */
static void nothing_is_written_once_taken(struct fixture *f)
{
	char *map = lend_huge(f, RW);
	volatile uint64_t *word = (volatile uint64_t *)(map + 300 * PAGE);
	unsigned long had = huge_entries(f), rounds = 60;

	START(f->peer, op_hammer, AT(f, 300));
	for (unsigned long i = 0; i < rounds; i++) {
		unsigned long loops = atomic_load(&shared->loops);
		uint64_t was;

		assert_true(EVENTUALLY(atomic_load(&shared->loops) > loops + 50));
		switch (i % 3) {
		case 0:
			protect_pages(f, 0, BLOCK, R);
			break;
		case 1:
			unmap_pages(f, 0, BLOCK);
			break;
		case 2:
			/* The same offsets, another block. */
			EXPECT_OK(mv_map(f->ctl, f->file, HUGE_SIZE, HUGE_SIZE, 0,
					 RW | MEMVIEW_MAP_REPLACE));
			break;
		}
		was = *word;
		for (int n = 0; n < 20000; n++)
			if (*word != was)
				fail_msg("round %lu: written after it was taken", i);
		EXPECT_OK(mv_map(f->ctl, f->file, 0, HUGE_SIZE, 0, RW | MEMVIEW_MAP_REPLACE));
	}
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "the writer"));
	/* It was huge entries that were taken, as nothing cut the block. */
	assert_true(huge_entries(f) >= had + rounds / 2);
}

/* The same where what is taken is a part; the entry is made anew each time. */
static void nothing_is_written_once_a_part_is_taken(struct fixture *f)
{
	char *map = use_huge(f);
	volatile uint64_t *word = (volatile uint64_t *)(map + 300 * PAGE);

	for (unsigned long i = 0; i < 20; i++) {
		unsigned long loops = atomic_load(&shared->loops), had = huge_entries(f);
		uint64_t was;

		f->view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE,
				      PROT_READ | PROT_WRITE, 0);
		EXPECT_OK(mv_map(f->ctl, f->file, 0, 2 * HUGE_SIZE, 0,
				 RW | MEMVIEW_MAP_REPLACE));
		atomic_store(&shared->stop, 0);
		START(f->peer, op_hammer, AT(f, 300));
		assert_true(EVENTUALLY(atomic_load(&shared->loops) > loops + 50));
		assert_int_equal(huge_entries(f), had + 1);
		if (i % 2)
			protect_pages(f, 300, 1, R);
		else
			unmap_pages(f, 299, 2);
		was = *word;
		for (int n = 0; n < 20000; n++)
			if (*word != was)
				fail_msg("round %lu: written after it was taken", i);
		atomic_store(&shared->stop, 1);
		EXPECT_VALUE(0, FINISH(f->peer, "the writer"));
		EXPECT_CALL(f->peer, op_munmap, f->view, VIEW_PAGES * PAGE);
	}
}

static void every_cpu_loses_a_block(struct fixture *f)
{
	check_every_cpu_loses(f, use_huge(f), BLOCK / SPIN_PAGES);
}

static void revoke_takes_huge_entries(struct fixture *f)
{
	lend_huge(f, RW);
	EXPECT_OK(mv_revoke(f->ctl));
	READ_SIGBUS(f, 0);
	WRITE_SIGBUS(f, BLOCK - 1);
	READ_SIGBUS(f, BLOCK);
}

static void last_close_takes_huge_entries(struct fixture *f)
{
	lend_huge(f, RW);
	EXPECT_OK(close(f->ctl));
	READ_SIGBUS(f, 5);
	WRITE_SIGBUS(f, BLOCK + 5);
}

static void replacing_shows_the_other_block(struct fixture *f)
{
	unsigned long had;

	lend_huge(f, RW);
	had = huge_entries(f);
	EXPECT_OK(mv_map(f->ctl, f->file, HUGE_SIZE, HUGE_SIZE, 0, R | MEMVIEW_MAP_REPLACE));
	READS_SPAN(f, 0, BLOCK, BLOCK);
	WRITE_SEGV(f, 0);
	READS_SPAN(f, BLOCK, BLOCK, BLOCK);
	assert_int_equal(huge_entries(f), had + 1);
}

/* ---- what the peer does with its mapping ---- */

static void mprotect_adds_w_to_a_huge_entry(struct fixture *f)
{
	unsigned long had;

	lend_huge(f, RW);
	EXPECT_CALL(f->peer, op_munmap, f->view, VIEW_PAGES * PAGE);
	f->view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE, PROT_READ, 0);
	had = huge_entries(f);
	READS(f, 9, WORD(9));
	EXPECT_SEGV((unsigned long)AT(f, 9), CALL(f->peer, op_write, AT(f, 9), 1));
	assert_int_equal(huge_entries(f), had + 1);
	EXPECT_CALL(f->peer, op_mprotect, f->view, VIEW_PAGES * PAGE, PROT_READ | PROT_WRITE);
	WRITES(f, 10, ~WORD(10));
	/* Once more for W, and it is still one entry. */
	assert_int_equal(huge_entries(f), had + 2);
	assert_in_range(EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), HUGE_SIZE), 0, 4);
	assert_int_equal(file_word(f->file, 10 * PAGE), ~WORD(10));
}

/* A present entry that is dirty and lacks W is given W by mprotect(2) alone. */
static void mprotect_gives_no_w_back_after_narrowing(struct fixture *f)
{
	lend_huge(f, RW);
	WRITES(f, 3, WORD(3));
	EXPECT_CALL(f->peer, op_mprotect, f->view, VIEW_PAGES * PAGE, PROT_READ);
	EXPECT_SEGV((unsigned long)AT(f, 3), CALL(f->peer, op_write, AT(f, 3), 1));
	protect_pages(f, 0, NR_BLOCKS * BLOCK, R);
	EXPECT_CALL(f->peer, op_mprotect, f->view, VIEW_PAGES * PAGE, PROT_READ | PROT_WRITE);
	WRITE_SEGV(f, 3);
	WRITE_SEGV(f, BLOCK + 3);
	READS(f, 3, WORD(3));
	/* And where the entry came after the narrowing. */
	EXPECT_CALL(f->peer, op_mprotect, f->view, VIEW_PAGES * PAGE, PROT_READ);
	READS(f, 4, WORD(4));
	EXPECT_CALL(f->peer, op_mprotect, f->view, VIEW_PAGES * PAGE, PROT_READ | PROT_WRITE);
	WRITE_SEGV(f, 4);
}

static void mprotect_of_a_part_is_exact(struct fixture *f)
{
	lend_huge(f, RW);
	EXPECT_CALL(f->peer, op_mprotect, AT(f, 17), 2 * PAGE, PROT_READ);
	EXPECT_SEGV((unsigned long)AT(f, 17), CALL(f->peer, op_write, AT(f, 17), 1));
	EXPECT_SEGV((unsigned long)AT(f, 18), CALL(f->peer, op_write, AT(f, 18), 1));
	WRITES(f, 16, WORD(16));
	WRITES(f, 19, WORD(19));
	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
}

static void munmap_of_a_part_is_exact(struct fixture *f)
{
	lend_huge(f, RW);
	EXPECT_CALL(f->peer, op_munmap, AT(f, 40), PAGE);
	assert_int_equal(CALL(f->peer, op_read, AT(f, 40)).sig, SIGSEGV);
	all_but(f, 40, 1);
	EXPECT_OK(mv_revoke(f->ctl));
	READ_SIGBUS(f, 39);
	READ_SIGBUS(f, 41);
	READ_SIGBUS(f, BLOCK);
}

static void moved_mappings_are_revoked(struct fixture *f)
{
	unsigned long len = NR_BLOCKS * HUGE_SIZE, off = f->tc->param >> 8, at, to;
	struct test_case tc = *f->tc;

	tc.param &= 0xff;
	f->tc = &tc;
	lend_huge(f, RW);
	at = EXPECT_CALL(f->peer, op_reserve, len + 2 * HUGE_SIZE);
	to = ((at + HUGE_SIZE - 1) & -HUGE_SIZE) + off * PAGE;
	assert_int_equal(EXPECT_CALL(f->peer, op_mremap, f->view, len, len,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	EXPECT_VALUE(0, CALL(f->peer, read_words, to, NR_BLOCKS * BLOCK, 0));
	EXPECT_VALUE(0, CALL(f->peer, op_write, to + 5 * PAGE, (long)WORD(5)));
	unmap_pages(f, 5, 1);
	EXPECT_SIGBUS(to + 5 * PAGE, CALL(f->peer, op_read, to + 5 * PAGE));
	EXPECT_VALUE(WORD(6), CALL(f->peer, op_read, to + 6 * PAGE));
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_SIGBUS(to, CALL(f->peer, op_read, to));
	EXPECT_SIGBUS(to + HUGE_SIZE, CALL(f->peer, op_read, to + HUGE_SIZE));
}

static void children_start_empty(struct fixture *f)
{
	struct peer *child;
	unsigned long had;

	lend_huge(f, RW);
	had = huge_entries(f);
	child = peer_fork(f->peer);
	assert_non_null(child);
	EXPECT_VALUE(0, CALL(child, read_words, AT(f, 0), NR_BLOCKS * BLOCK, 0));
	assert_int_equal(huge_entries(f), had + NR_BLOCKS);
	unmap_pages(f, 7, 1);
	EXPECT_SIGBUS((unsigned long)AT(f, 7), CALL(child, op_read, AT(f, 7)));
	READ_SIGBUS(f, 7);
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_SIGBUS((unsigned long)AT(f, 0), CALL(child, op_read, AT(f, 0)));
	READ_SIGBUS(f, BLOCK);
}

/* fork(2) would copy a huge entry that it has read before a zap took it. */
static void fork_racing_the_loss_of_a_block(struct fixture *f)
{
	bool narrow = f->tc->param & 0x100;
	struct test_case tc = *f->tc;

	tc.param &= 0xff;
	f->tc = &tc;
	check_forks_lose(f, use_huge(f), BLOCK / FORK_PAGES, narrow, 20);
}

/* Two mappings of one process, one of them aligned otherwise. */
static void every_mapping_loses_it(struct fixture *f)
{
	unsigned long other, at;

	lend_huge(f, RW);
	at = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE,
			 PROT_READ | PROT_WRITE, 0);
	other = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, BLOCK * PAGE,
			    PROT_READ | PROT_WRITE, 5 * PAGE);
	EXPECT_VALUE(WORD(8), CALL(f->peer, op_read, at + 8 * PAGE));
	EXPECT_VALUE(WORD(8), CALL(f->peer, op_read, other + 3 * PAGE));
	unmap_pages(f, 8, 1);
	READ_SIGBUS(f, 8);
	EXPECT_SIGBUS(at + 8 * PAGE, CALL(f->peer, op_read, at + 8 * PAGE));
	EXPECT_SIGBUS(other + 3 * PAGE, CALL(f->peer, op_read, other + 3 * PAGE));
	EXPECT_VALUE(WORD(9), CALL(f->peer, op_read, other + 4 * PAGE));
	all_but(f, 8, 1);
}


/* vmsplice(2) of a page at @a[0]. */
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

static void huge_entries_cannot_be_pinned(struct fixture *f)
{
	lend_huge(f, RW);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_vmsplice, AT(f, 3));
	READS_SPAN(f, 0, BLOCK, 0);
}

static void mappings_with_userfaultfd_go_by_pages(struct fixture *f)
{
	struct outcome o;

	lend_huge(f, RW);
	/* Marks what is there, and registers what is not. */
	o = CALL(f->peer, op_mark, f->view, HUGE_SIZE, 1);
	if (o.ret == -1)
		SKIP("no asynchronous write-protection: %s", strerror(o.err));
	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
	WRITES(f, 6, WORD(6));
	EXPECT_OK(mv_map(f->ctl, f->file, 0, HUGE_SIZE, 4 * HUGE_SIZE, RW));
	EXPECT_CALL(f->peer, op_mark, f->view + 4 * HUGE_SIZE, HUGE_SIZE, 0);
	READS(f, 4 * BLOCK + 6, WORD(6));
	/* What cuts the mapping drops all entries; the other block has come back. */
	assert_in_range(huge_entries(f), NR_BLOCKS, 2 * NR_BLOCKS - 1);
	EXPECT_OK(mv_revoke(f->ctl));
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, 4 * BLOCK);
}

/* ---- what happens to the source ---- */

/* A huge page of the file goes; what comes in its place is seen. */
static void punched_block_is_gone(struct fixture *f)
{
	char *map = lend_huge(f, RW);
	unsigned long had = huge_entries(f);

	EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE_SIZE));
	READS(f, 0, 0);
	READS(f, BLOCK - 1, 0);
	READS_SPAN(f, BLOCK, BLOCK, BLOCK);
	WRITES(f, 8, 8);
	assert_int_equal(*(uint64_t *)(map + 8 * PAGE), 8);
	if (f->tc->param == K_HUGETLB)
		assert_int_equal(huge_entries(f), had + 1);
}

static void punched_page_is_gone(struct fixture *f)
{
	char *map = lend_huge(f, RW);

	EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 9 * PAGE, PAGE));
	READS(f, 9, 0);
	all_but(f, 9, 1);
	WRITES(f, 9, 9);
	assert_int_equal(*(uint64_t *)(map + 9 * PAGE), 9);
}

static void truncated_block_is_sigbus(struct fixture *f)
{
	lend_huge(f, RW);
	EXPECT_OK(ftruncate(f->file, HUGE_SIZE));
	READ_SIGBUS(f, BLOCK);
	READ_SIGBUS(f, 2 * BLOCK - 1);
	READS_SPAN(f, 0, BLOCK, 0);
}

static void truncated_in_a_block_is_sigbus(struct fixture *f)
{
	lend_huge(f, RW);
	EXPECT_OK(ftruncate(f->file, HUGE_SIZE + 3 * PAGE));
	READ_SIGBUS(f, BLOCK + 3);
	READ_SIGBUS(f, 2 * BLOCK - 1);
	READS_SPAN(f, 0, BLOCK + 3, 0);
}

/* The kernel splits the huge page below the entry. */
static void split_page_loses_nothing(struct fixture *f)
{
	char text[64], *map;

	lend_huge(f, RW);
	START(f->peer, op_count_up, AT(f, 3), 1);
	drop_map();
	map = source_at(f, 0);
	snprintf(text, sizeof(text), "%d,%#lx,%#lx", getpid(), (unsigned long)map,
		 (unsigned long)map + HUGE_SIZE);
	wait_loops(10);
	if (!put_text("/sys/kernel/debug/split_huge_pages", text)) {
		atomic_store(&shared->stop, 1);
		FINISH(f->peer, "the writer");
		SKIP("no way to split huge pages");
	}
	wait_loops(10);
	atomic_store(&shared->stop, 1);
	/* It began with a word that it did not write. */
	FINISH(f->peer, "the writer");
	assert_true(atomic_load(&shared->bad) <= 1);
	assert_int_equal(atomic_load(&shared->faults), 0);
	all_but(f, 3, 1);
	if (is_tail_page(map + PAGE))
		SKIP("the kernel has not split the page");
}

static void migration_loses_no_write(struct fixture *f)
{
	char *map = lend_huge(f, RW);
	void *page = map;
	int status, node, moved = 0;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP("one memory node only");
	WRITES(f, 3, 0);
	START(f->peer, op_count_up, AT(f, 3), 1);
	wait_loops(10);
	/* A page that is looked at does not move now. */
	for (int i = 0; i < 60 && (i < 6 || moved < 4); i++) {
		unsigned long was = pfn_at(map);

		node = i % 2 ? 0 : 1;
		status = -1;
		syscall(SYS_move_pages, 0, 1, &page, &node, &status, 4 /* MOVE_ALL */);
		moved += status == node && pfn_at(map) != was;
		wait_loops(20);
	}
	atomic_store(&shared->stop, 1);
	FINISH(f->peer, "the writer");
	assert_int_equal(atomic_load(&shared->bad), 0);
	all_but(f, 3, 1);
	assert_true(moved >= 4);
}

/* A page of a block goes bad: of shared memory that page is lost, of hugetlb the block. */
static void bad_page_in_a_huge_entry_is_sigbus(struct fixture *f)
{
	char *map = lend_huge(f, RW);
	unsigned long pfn = pfn_at(map + 5 * PAGE);

	poison(map + 5 * PAGE);
	assert_true(is_bad(f->tc->param == K_HUGETLB ? pfn - 5 : pfn));
	assert_int_equal(CALL(f->peer, op_read, AT(f, 5)).code, BUS_MCEERR_AR);
	assert_int_equal(CALL(f->peer, op_write, AT(f, 5), 1).sig, SIGBUS);
	if (f->tc->param == K_HUGETLB) {
		assert_int_equal(CALL(f->peer, op_read, AT(f, 6)).code, BUS_MCEERR_AR);
		all_but(f, 0, BLOCK);
	} else {
		all_but(f, 5, 1);
		WRITES(f, 6, 66);
		assert_int_equal(*(uint64_t *)(map + 6 * PAGE), 66);
	}
}

static void lazy_write_reads_then_writes(struct fixture *f)
{
	char *map = lend_huge(f, RW | MEMVIEW_MAP_LAZY_WRITE);

	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
	WRITES(f, 6, ~WORD(6));
	assert_int_equal(*(uint64_t *)(map + 6 * PAGE), ~WORD(6));
	READS_SPAN(f, 7, BLOCK, 7);
}

/* The controller makes its own mapping of the source read-only, and back. */
static void source_without_w_gives_none(struct fixture *f)
{
	struct mapping m;

	lend_huge(f, RW);
	m = source_mapping(f, 0);
	WRITES(f, 0, WORD(0));
	EXPECT_OK(mprotect((void *)m.start, m.end - m.start, PROT_READ));
	WRITE_SIGBUS(f, 0);
	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
	EXPECT_OK(mprotect((void *)m.start, m.end - m.start, PROT_READ | PROT_WRITE));
	WRITES(f, 0, WORD(0));
	WRITES(f, BLOCK, WORD(BLOCK));
}

static void unmapped_source_is_sigbus(struct fixture *f)
{
	struct mapping m;

	lend_huge(f, RW);
	m = source_mapping(f, 0);
	EXPECT_OK(munmap((void *)m.start, m.end - m.start));
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, 2 * BLOCK - 1);
}

/* ---- huge entries against page tables ---- */

static void page_table_that_is_there_stays(struct fixture *f)
{
	lend_huge(f, RW);
	unmap_pages(f, 5, 1);
	READS(f, 4, WORD(4));
	EXPECT_OK(mv_map(f->ctl, f->file, 0, NR_BLOCKS * HUGE_SIZE, 0, RW | MEMVIEW_MAP_REPLACE));
	READS_SPAN(f, 0, NR_BLOCKS * BLOCK, 0);
	WRITES(f, 5, WORD(5));
	/* The block that was cut by pages now, the other by an entry again. */
	assert_int_equal(huge_entries(f), NR_BLOCKS + 1);
}

struct racer {
	pthread_t thread;
	const volatile char *at;
	long bad;
};

static long race_read(const long *a)
{
	uint64_t word = *(volatile uint64_t *)a[0];

	return word != WORD((unsigned long)a[1]) &&
	       word != WORD(BLOCK + (unsigned long)a[1]);
}

static void *race_thread(void *arg)
{
	struct racer *r = arg;

	/* A mapping that no signal handler is needed for: all of it is lent. */
	for (unsigned long page = 0; page < BLOCK; page += 17)
		r->bad += race_read(ARGS((long)r->at + page * PAGE, page));
	return NULL;
}

/* Fresh mappings, each touched by two threads at once. */
static long op_race(const long *a)
{
	long bad = 0;

	while (!atomic_load(&shared->stop)) {
		struct racer r[2] = { 0 };
		char *map = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
				 (int)a[0], 0);

		if (map == MAP_FAILED)
			return -1;
		for (int i = 0; i < 2; i++) {
			r[i].at = map;
			if (pthread_create(&r[i].thread, NULL, race_thread, &r[i]))
				return -1;
		}
		for (int i = 0; i < 2; i++) {
			pthread_join(r[i].thread, NULL);
			bad += r[i].bad;
		}
		munmap(map, HUGE_SIZE);
		atomic_fetch_add(&shared->loops, 1);
	}
	return bad;
}

/*
 * The same block is one range now and three then, and its pages others each time;
 * so faults by pages and by huge entries, and zaps, meet in one block of two
 * mappings. That nothing was upset shows in the kernel log.
 */
static void pages_and_huge_entries_race(struct fixture *f)
{
	unsigned long had, rounds = 0;
	struct peer *other;
	int fd;

	use_huge(f);
	set_module_param(f, "fault_around_pages", 16);
	map_pages(f, 0, 0, BLOCK, RW);
	other = peer_spawn();
	assert_non_null(other);
	fd = peer_send_fd(other, f->viewfd);
	had = huge_entries(f);
	START(f->peer, op_race, f->peer_viewfd);
	START(other, op_race, fd);
	while (atomic_load(&shared->loops) < 150 || rounds < 600) {
		unsigned long b = rounds++ % 2;

		EXPECT_OK(mv_map(f->ctl, f->file, b * HUGE_SIZE, HUGE_SIZE, 0,
				 RW | MEMVIEW_MAP_REPLACE));
		EXPECT_OK(mv_map(f->ctl, f->file, b * HUGE_SIZE + 300 * PAGE, PAGE,
				 300 * PAGE, R | MEMVIEW_MAP_REPLACE));
		if (rounds % 3 == 0)
			EXPECT_OK(mv_map(f->ctl, f->file, (1 - b) * HUGE_SIZE, HUGE_SIZE, 0,
					 RW | MEMVIEW_MAP_REPLACE));
	}
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "the racers"));
	EXPECT_VALUE(0, FINISH(other, "the racers"));
	assert_true(huge_entries(f) > had);
}

/* A 1 GiB page of the file is mapped by blocks of 2 MiB. */
static void gigantic_pages_are_mapped_by_blocks(struct fixture *f)
{
	size_t size = 1UL << 30;
	char *map;

	if (!can_huge(f))
		SKIP("no huge entries in VM_PFNMAP mappings before 6.12");
	if (get_number("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages") < 1)
		SKIP("no 1 GiB pages (boot with hugepagesz=1G hugepages=1)");
	f->file = memfd_create("gigantic", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_1GB);
	assert_true(f->file >= 0);
	EXPECT_OK(ftruncate(f->file, size));
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f->file, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	for (unsigned long i = 0; i < 2 * BLOCK; i++)
		*(uint64_t *)(map + 20 * HUGE_SIZE + i * PAGE) = WORD(i);
	EXPECT_OK(mv_map(f->ctl, f->file, 20 * HUGE_SIZE, 2 * HUGE_SIZE, 0, RW));
	READS_SPAN(f, 0, 2 * BLOCK, 0);
	assert_int_equal(huge_entries(f), 2);
	WRITES(f, BLOCK + 1, 1);
	assert_int_equal(*(uint64_t *)(map + 21 * HUGE_SIZE + PAGE), 1);
	WRITES(f, BLOCK + 1, WORD(BLOCK + 1));
	unmap_pages(f, 30, 1);
	READ_SIGBUS(f, 30);
	all_but(f, 30, 1);
}

#define MOVED(v, kind, by) \
	CASE_VARIANT(moved_mappings_are_revoked, v, (kind) | (by) << 8)
#define FIRST(v, kind, write) \
	CASE_VARIANT(peer_touches_first, v, (kind) | (write) << 8)

#define FORKS(v, kind, narrow) \
	CASE_VARIANT(fork_racing_the_loss_of_a_block, v, (kind) | (narrow) << 8)

static const struct test_case cases[] = {
	CASE(feature_is_there_since_6_12),
	CASE(without_the_feature_pages_are_mapped),
	CASE(mappings_are_aligned),
	EACH_KIND(one_fault_maps_a_block),
	EACH_KIND(blocks_around_come_along),
	EACH_KIND(populate_makes_huge_entries),
	ON_HUGETLB(blocks_around_are_not_allocated),
	FIRST("hugetlb,read", K_HUGETLB, 0),
	FIRST("hugetlb,write", K_HUGETLB, 1),
	FIRST("tmpfs,read", K_TMPFS, 0),
	FIRST("tmpfs,write", K_TMPFS, 1),
	EACH_KIND(range_without_w_is_not_writable),
	EACH_KIND(small_range_goes_by_pages),
	EACH_KIND(offsets_that_differ_go_by_pages),
	EACH_KIND(mapping_at_another_offset_goes_by_pages),
	CASE(small_pages_go_by_pages),
	ON_HUGETLB(advice_against_it_is_taken),
	ON_HUGETLB(mappings_ask_for_huge_entries),
	EACH_KIND(ranges_without_x_stay_so),
	EACH_KIND(mprotect_makes_no_huge_entry_executable),
	EACH_KIND(unmapping_a_part_is_exact),
	EACH_KIND(narrowing_a_part_is_exact),
	EACH_KIND(shrinking_cuts_exactly),
	EACH_KIND(nothing_is_written_once_taken),
	EACH_KIND(nothing_is_written_once_a_part_is_taken),
	EACH_KIND(every_cpu_loses_a_block),
	EACH_KIND(revoke_takes_huge_entries),
	ON_HUGETLB(last_close_takes_huge_entries),
	EACH_KIND(replacing_shows_the_other_block),
	EACH_KIND(mprotect_adds_w_to_a_huge_entry),
	EACH_KIND(mprotect_gives_no_w_back_after_narrowing),
	EACH_KIND(mprotect_of_a_part_is_exact),
	EACH_KIND(munmap_of_a_part_is_exact),
	MOVED("hugetlb,aligned", K_HUGETLB, 0),
	MOVED("hugetlb,unaligned", K_HUGETLB, 9),
	MOVED("tmpfs,aligned", K_TMPFS, 0),
	MOVED("tmpfs,unaligned", K_TMPFS, 9),
	EACH_KIND(children_start_empty),
	FORKS("hugetlb,unmap", K_HUGETLB, 0),
	FORKS("hugetlb,narrow", K_HUGETLB, 1),
	FORKS("memfd,unmap", K_MEMFD, 0),
	FORKS("memfd,narrow", K_MEMFD, 1),
	EACH_KIND(every_mapping_loses_it),
	EACH_KIND(huge_entries_cannot_be_pinned),
	ON_HUGETLB(mappings_with_userfaultfd_go_by_pages),
	EACH_KIND(punched_block_is_gone),
	SHMEM_KINDS(punched_page_is_gone),
	EACH_KIND(truncated_block_is_sigbus),
	SHMEM_KINDS(truncated_in_a_block_is_sigbus),
	SHMEM_KINDS(split_page_loses_nothing),
	EACH_KIND(migration_loses_no_write),
	EACH_KIND(bad_page_in_a_huge_entry_is_sigbus),
	EACH_KIND(lazy_write_reads_then_writes),
	EACH_KIND(source_without_w_gives_none),
	EACH_KIND(unmapped_source_is_sigbus),
	EACH_KIND(page_table_that_is_there_stays),
	EACH_KIND(pages_and_huge_entries_race),
	CASE(gigantic_pages_are_mapped_by_blocks),
};

int main(int argc, char **argv)
{
	int failed = RUN_CASES(argc, argv, "huge", cases);

	put_text(SHMEM_ENABLED, "never");
	return failed;
}
