// SPDX-License-Identifier: GPL-2.0
/*
 * A view and the file are one memory: writes arrive on both sides, holes and
 * ends of the file are seen at once, and what a peer wrote survives reclaim and
 * reaches the disk.
 */
#include "common.h"

#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

static void writes_arrive_on_both_sides(struct fixture *f)
{
	volatile uint64_t *file = (volatile uint64_t *)map_file(f, PROT_READ | PROT_WRITE);
	size_t words = PAGE / sizeof(*file);

	map_pages(f, 10, 4, 16, RW);
	for (int i = 0; i < 16; i++) {
		WRITES(f, 10 + i, 500 + i);
		assert_int_equal(file[(4 + i) * words], 500 + i);
		assert_int_equal(file_word(f->file, (4 + i) * PAGE), 500 + i);
		file[(4 + i) * words] = 600 + i;
		READS(f, 10 + i, 600 + i);
	}
}

static void write_by_system_call_is_seen(struct fixture *f)
{
	map_pages(f, 0, 0, 8, R);
	READS(f, 3, WORD(3));
	assert_true(file_set_word(f->file, 3 * PAGE, 42));
	READS(f, 3, 42);
}

static void one_page_at_many_places(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		map_pages(f, 5 * i, 7, 2, i % 3 ? RW : R);
	for (int i = 0; i < 20; i++) {
		READS(f, 5 * i, i ? 800UL + i - 1 : WORD(7));
		if (i % 3)
			WRITES(f, 5 * i, 800 + i);
		else {
			WRITE_SEGV(f, 5 * i);
			assert_true(file_set_word(f->file, 7 * PAGE, 800 + i));
		}
	}
	READS(f, 0, 819);
	/* Taking one place away leaves the others. */
	unmap_pages(f, 5, 2);
	READ_SIGBUS(f, 5);
	READS(f, 10, 819);
}

static void aliases_all_see_a_hole_punched(struct fixture *f)
{
	size_t block = backing_block(f->backing);

	for (int i = 0; i < 20; i++)
		map_pages(f, 5 * i, 0, 2, RW);
	for (int i = 0; i < 20; i++)
		WRITES(f, 5 * i, 900 + i);
	EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, block));
	for (int i = 0; i < 20; i++)
		READS(f, 5 * i, 0);
}

static void one_file_in_several_views(struct fixture *f)
{
	int other = EXPECT_OK(mv_open());
	unsigned long addr;
	struct peer *p;

	EXPECT_OK(mv_set_size(other, VIEW_PAGES * PAGE));
	EXPECT_OK(mv_map(other, f->file, 4 * PAGE, 4 * PAGE, 100 * PAGE, R));
	p = another_peer(f, EXPECT_OK(mv_viewfd(other)), PROT_READ | PROT_WRITE, &addr);
	map_pages(f, 0, 0, 8, RW);
	WRITES(f, 5, 11);
	EXPECT_VALUE(11, CALL(p, op_read, addr + 101 * PAGE));
	EXPECT_SEGV(addr + 101 * PAGE, CALL(p, op_write, addr + 101 * PAGE, 1));
	WRITES(f, 5, 12);
	EXPECT_VALUE(12, CALL(p, op_read, addr + 101 * PAGE));
}

static void several_files_in_one_view(struct fixture *f)
{
	enum backing b;
	int fd;

	for (b = 0; b < NR_BACKINGS; b++) {
		if (backing_prepare(b))
			SKIP("%s: %s", backing_name(b), backing_prepare(b));
		fd = make_file(b, b == HUGETLB ? HUGE_SIZE : FILE_PAGES * PAGE, 1000 * b);
		EXPECT_OK(mv_map(f->ctl, fd, 8 * PAGE, 8 * PAGE, b * 8 * PAGE, RW));
		close(fd);
	}
	for (b = 0; b < NR_BACKINGS; b++) {
		for (int i = 0; i < 8; i++)
			READS(f, b * 8 + i, WORD(1000 * b + 8 + i));
		WRITES(f, b * 8, b);
		READS(f, b * 8, b);
	}
}

static void hole_punch_is_coherent(struct fixture *f)
{
	size_t block = backing_block(f->backing);
	unsigned long pages = block / PAGE;

	map_pages(f, 0, 0, 2 * pages < 32 ? 32 : 2 * pages, RW);
	WRITES(f, pages, 5);
	READS(f, 0, WORD(0));
	READS(f, 2 * pages - 1, pages == 1 ? 5 : 0);
	EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, block, block));
	READS(f, pages, 0);
	READS(f, 0, WORD(0));
	/* A new page is there, not the old one. */
	WRITES(f, pages, 6);
	assert_int_equal(file_word(f->file, block), 6);
	for (int i = 0; i < 10; i++) {
		EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    0, 2 * block));
		READS(f, 0, 0);
		WRITES(f, 0, 70 + i);
		assert_int_equal(file_word(f->file, 0), 70 + i);
	}
}

static void truncation_is_sigbus(struct fixture *f)
{
	unsigned long half = f->file_size / PAGE / 2;

	map_pages(f, 0, 0, 2 * half, RW);
	WRITES(f, half, 1);
	WRITES(f, half - 1, 2);
	EXPECT_OK(ftruncate(f->file, half * PAGE));
	READ_SIGBUS(f, half);
	WRITE_SIGBUS(f, half + 1);
	READS(f, half - 1, 2);
}

static void growth_after_truncation_shows_zeroes(struct fixture *f)
{
	map_pages(f, 0, 0, FILE_PAGES, RW);
	WRITES(f, 20, 1);
	EXPECT_OK(ftruncate(f->file, 10 * PAGE));
	READ_SIGBUS(f, 20);
	EXPECT_OK(ftruncate(f->file, FILE_PAGES * PAGE));
	READS(f, 20, 0);
	WRITES(f, 20, 3);
	assert_int_equal(file_word(f->file, 20 * PAGE), 3);
	READS(f, 9, WORD(9));
}

static void truncation_while_the_peer_hammers(struct fixture *f)
{
	map_pages(f, 0, 0, FILE_PAGES, RW);
	START(f->peer, op_hammer, AT(f, 20));
	for (int i = 0; i < 100; i++) {
		EXPECT_OK(ftruncate(f->file, 10 * PAGE));
		EXPECT_OK(ftruncate(f->file, FILE_PAGES * PAGE));
		/* Zero, or what the peer has just written; never what was there. */
		if (i % 10 == 0)
			nap();
	}
	EXPECT_OK(ftruncate(f->file, 10 * PAGE));
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, peer_wait(f->peer));
	READ_SIGBUS(f, 20);
	EXPECT_OK(ftruncate(f->file, FILE_PAGES * PAGE));
	assert_int_equal(file_word(f->file, 20 * PAGE), 0);
}

/* ---- reclaim ---- */

/* Makes swap of a zram disk, once; returns NULL, or why not. */
static const char *swap_prepare(void)
{
	static const char make[] =
		"grep -q zram /proc/swaps && exit 0; "
		"modprobe -q zram && echo 256M > /sys/block/zram0/disksize && "
		"mkswap /dev/zram0 >/dev/null && swapon /dev/zram0";

	fflush(stdout);
	return system(make) ? "no zram to swap to" : NULL;
}

static void drop_caches(void)
{
	FILE *file = fopen("/proc/sys/vm/drop_caches", "we");

	assert_non_null(file);
	assert_true(fputs("3", file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* Pages of the file that are in memory. */
static unsigned long resident_pages(struct fixture *f, unsigned long nr)
{
	unsigned char vec[FILE_PAGES];
	char *p = mmap(NULL, nr * PAGE, PROT_READ, MAP_SHARED, f->file, 0);
	unsigned long resident = 0;

	assert_ptr_not_equal(p, MAP_FAILED);
	EXPECT_OK(mincore(p, nr * PAGE, vec));
	munmap(p, nr * PAGE);
	for (unsigned long i = 0; i < nr; i++)
		resident += vec[i] & 1;
	return resident;
}

/*
 * Reads the file anew, in single pages: MADV_PAGEOUT does not split the large
 * folios that readahead makes.
 */
static void read_in_single_pages(struct fixture *f)
{
	EXPECT_OK(fsync(f->file));
	drop_caches();
	assert_int_equal(posix_fadvise(f->file, 0, 0, POSIX_FADV_RANDOM), 0);
	for (unsigned long i = 0; i < FILE_PAGES; i++)
		file_word(f->file, i * PAGE);
}

/*
 * A peer's dirty bits are nobody's: a page whose source entry is clean would be
 * dropped by reclaim, and the peer's data with it.
 */
static void peer_data_survives_reclaim(struct fixture *f)
{
	const char *why = f->backing == MEMFD || f->backing == TMPFS ? swap_prepare() : NULL;
	uint64_t source;

	if (why)
		SKIP("%s", why);
	read_in_single_pages(f);
	map_pages(f, 0, 0, 32, RW);
	/* Read-first maps pages around the fault, writable and clean. */
	for (int round = 0; round < 3; round++) {
		READS(f, 0, round ? 100UL * (round - 1) : WORD(0));
		for (int i = 0; i < 32; i++)
			WRITES(f, i, 100 * round + i);
		source = source_addr_at(f->ctl, 0);
		assert_true(source);
		if (f->backing == EXT4 || f->backing == XFS)
			EXPECT_OK(fsync(f->file));
		/* Pages on their way to the LRU lists cannot be reclaimed. */
		drop_caches();
		assert_true(EVENTUALLY(({
			EXPECT_OK(madvise((void *)(uintptr_t)source, 32 * PAGE,
					  MADV_PAGEOUT));
			resident_pages(f, 32) < 16;
		})));
		read_in_single_pages(f);
		for (int i = 31; i >= 0; i--)
			READS(f, i, 100 * round + i);
	}
	for (int i = 0; i < 32; i++)
		assert_int_equal(file_word(f->file, i * PAGE), 200 + i);
}

/* ---- disks ---- */

static uint64_t word_on_disk(struct fixture *f, unsigned long file_page)
{
	int fd = EXPECT_OK(backing_reopen(f->file, O_RDONLY | O_DIRECT));
	uint64_t *buf = aligned_alloc(PAGE, PAGE), word;

	assert_non_null(buf);
	assert_int_equal(pread(fd, buf, PAGE, file_page * PAGE), PAGE);
	word = *buf;
	free(buf);
	close(fd);
	return word;
}

static void peer_data_reaches_the_disk(struct fixture *f)
{
	map_pages(f, 0, 0, 32, RW);
	for (int i = 0; i < 32; i++)
		WRITES(f, i, 300 + i);
	EXPECT_OK(fsync(f->file));
	for (int i = 0; i < 32; i++)
		assert_int_equal(word_on_disk(f, i), 300 + i);
	/* Once more from the disk, with nothing left in memory. */
	unmap_pages(f, 0, 32);
	EXPECT_OK(mv_drop_idle(f->ctl));
	drop_caches();
	for (int i = 0; i < 32; i++)
		assert_int_equal(file_word(f->file, i * PAGE), 300 + i);
}

static void writing_again_after_writeback_reaches_the_disk(struct fixture *f)
{
	map_pages(f, 0, 0, 16, RW);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 16; i++)
			WRITES(f, i, 1000 * round + i);
		EXPECT_OK(fsync(f->file));
		for (int i = 0; i < 16; i += 5)
			assert_int_equal(word_on_disk(f, i), 1000 * round + i);
	}
}

static void msync_of_a_controllers_mapping_covers_the_peer(struct fixture *f)
{
	char *file = map_file(f, PROT_READ | PROT_WRITE);

	map_pages(f, 0, 0, 16, RW);
	for (int round = 0; round < 3; round++) {
		WRITES(f, 3, 2000 + round);
		EXPECT_OK(msync(file, 16 * PAGE, MS_SYNC));
		assert_int_equal(word_on_disk(f, 3), 2000 + round);
	}
}

static void peer_reads_what_o_direct_wrote(struct fixture *f)
{
	int fd = EXPECT_OK(backing_reopen(f->file, O_RDWR | O_DIRECT));
	uint64_t *buf = aligned_alloc(PAGE, PAGE);

	assert_non_null(buf);
	memset(buf, 0, PAGE);
	map_pages(f, 0, 0, 16, RW);
	for (int i = 0; i < 5; i++) {
		WRITES(f, 4, i);
		buf[0] = 3000 + i;
		assert_int_equal(pwrite(fd, buf, PAGE, 4 * PAGE), PAGE);
		READS(f, 4, 3000 + i);
	}
	free(buf);
}

/* ---- LAZY_WRITE ---- */

#define OLD_TIME 1000000000

/* Clean on disk, with an old mtime: page_mkwrite would set it. */
static void make_clean(struct fixture *f)
{
	struct timespec times[2] = { { OLD_TIME, 0 }, { OLD_TIME, 0 } };

	EXPECT_OK(futimens(f->file, times));
	EXPECT_OK(fsync(f->file));
}

static bool was_made_writable(struct fixture *f)
{
	struct stat st;

	EXPECT_OK(fstat(f->file, &st));
	return st.st_mtim.tv_sec != OLD_TIME;
}

/* KPF_DIRTY of the page, by the controller's own read-only mapping. */
static bool page_is_dirty(struct fixture *f, unsigned long file_page)
{
	volatile char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f->file, file_page * PAGE);
	int pagemap = EXPECT_OK(open("/proc/self/pagemap", O_RDONLY)), flags_fd;
	uint64_t entry, flags, pfn;

	assert_ptr_not_equal(p, MAP_FAILED);
	(void)*p;
	assert_int_equal(pread(pagemap, &entry, 8, (uintptr_t)p / PAGE * 8), 8);
	assert_true(entry >> 63);
	flags_fd = EXPECT_OK(open("/proc/kpageflags", O_RDONLY));
	/* Of a large folio the head has it. */
	pfn = entry & ((1ULL << 55) - 1);
	do {
		assert_int_equal(pread(flags_fd, &flags, 8, pfn-- * 8), 8);
	} while (flags >> KPF_COMPOUND_TAIL & 1);
	munmap((void *)p, PAGE);
	close(pagemap);
	close(flags_fd);
	return flags >> KPF_DIRTY & 1;
}

static void lazy_write_reading_leaves_the_file_clean(struct fixture *f)
{
	map_pages(f, 0, 0, 32, RW | MEMVIEW_MAP_LAZY_WRITE);
	make_clean(f);
	for (int i = 0; i < 32; i++)
		READS(f, i, WORD(i));
	assert_false(was_made_writable(f));
	for (int i = 0; i < 32; i++)
		assert_false(page_is_dirty(f, i));
	/* Writing works, and dirties what it writes. */
	WRITES(f, 7, 55);
	assert_true(was_made_writable(f));
	assert_true(page_is_dirty(f, 7));
	READS(f, 7, 55);
	EXPECT_OK(fsync(f->file));
	assert_int_equal(word_on_disk(f, 7), 55);
}

/* Control: without the flag the same reads ask for write access. */
static void without_lazy_write_reading_dirties(struct fixture *f)
{
	map_pages(f, 0, 0, 32, RW);
	make_clean(f);
	READS(f, 7, WORD(7));
	assert_true(was_made_writable(f));
	assert_true(page_is_dirty(f, 7));
}

static void read_only_range_leaves_the_file_clean(struct fixture *f)
{
	map_pages(f, 0, 0, 16, R);
	map_pages(f, 16, 16, 16, RW);
	make_clean(f);
	for (int i = 0; i < 16; i++)
		READS(f, i, WORD(i));
	assert_false(was_made_writable(f));
	assert_false(page_is_dirty(f, 7));
}

static void read_only_mapping_leaves_the_file_clean(struct fixture *f)
{
	unsigned long addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 32 * PAGE,
					 PROT_READ, 0);

	map_pages(f, 0, 0, 32, RW);
	make_clean(f);
	for (int i = 0; i < 32; i++)
		EXPECT_VALUE(WORD(i), CALL(f->peer, op_read, addr + i * PAGE));
	assert_false(was_made_writable(f));
	assert_false(page_is_dirty(f, 7));
}

static void lazy_write_works_everywhere(struct fixture *f)
{
	map_pages(f, 0, 0, 16, RW | MEMVIEW_MAP_LAZY_WRITE);
	for (int i = 0; i < 16; i++) {
		READS(f, i, WORD(i));
		WRITES(f, i, i);
		READS(f, i, i);
		assert_int_equal(file_word(f->file, i * PAGE), i);
	}
	protect_pages(f, 0, 16, R | MEMVIEW_MAP_LAZY_WRITE);
	WRITE_SEGV(f, 3);
	protect_pages(f, 0, 16, RW | MEMVIEW_MAP_LAZY_WRITE);
	READS(f, 3, 3);
	WRITES(f, 3, 33);
	assert_int_equal(file_word(f->file, 3 * PAGE), 33);
}

static const struct test_case cases[] = {
	CASE_ON(writes_arrive_on_both_sides, ON_ALL),
	CASE_ON(write_by_system_call_is_seen, ON_ALL),
	CASE_ON(one_page_at_many_places, ON_ALL),
	CASE_ON(aliases_all_see_a_hole_punched, ON_ALL),
	CASE_ON(one_file_in_several_views, ON_ALL),
	CASE(several_files_in_one_view),
	CASE_ON(hole_punch_is_coherent, ON_ALL),
	CASE_ON(truncation_is_sigbus, ON_ALL),
	CASE_ON(growth_after_truncation_shows_zeroes, ON_SMALL),
	CASE_ON(truncation_while_the_peer_hammers, ON_SMALL),
	CASE_ON(peer_data_survives_reclaim, ON_SMALL),
	CASE_ON(peer_data_reaches_the_disk, ON_DISK),
	CASE_ON(writing_again_after_writeback_reaches_the_disk, ON_DISK),
	CASE_ON(msync_of_a_controllers_mapping_covers_the_peer, ON_DISK),
	CASE_ON(peer_reads_what_o_direct_wrote, ON_DISK),
	CASE_ON(lazy_write_reading_leaves_the_file_clean, ON_DISK),
	CASE_ON(without_lazy_write_reading_dirties, ON_DISK),
	CASE_ON(read_only_range_leaves_the_file_clean, ON_DISK),
	CASE_ON(read_only_mapping_leaves_the_file_clean, ON_DISK),
	CASE_ON(lazy_write_works_everywhere, ON_ALL),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "data", cases);
}
