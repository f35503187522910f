// SPDX-License-Identifier: GPL-2.0
/*
 * Adoption: a mapping that the controller has made is the source. It serves
 * like one that the driver makes, and remains the controller's: what becomes of
 * it becomes of the peers' access, and they never see anything else that is
 * there (R4). Where a case puts something else there, it looks through the
 * address itself, too: that is the control.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NR	8UL	/* pages lent */

/* The controller has the file at @at: pages @page and on go to the same of the view. */
static void adopt(struct fixture *f, char *at, unsigned long page, unsigned long nr,
		  uint32_t flags)
{
	EXPECT_OK(mv_adopt(f->ctl, f->file, page * PAGE, nr * PAGE, page * PAGE, flags,
			   at + page * PAGE));
}

static void touch_all(struct fixture *f, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		READS(f, i, WORD(i));
		WRITES(f, i, WORD(i));
	}
}

/* All of the file, of which the first pages are lent and touched. */
static char *lend_adopted(struct fixture *f)
{
	char *at = map_file(f, PROT_READ | PROT_WRITE);

	adopt(f, at, 0, NR, RW);
	touch_all(f, NR);
	return at;
}

static void check_lost(struct fixture *f, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		READ_SIGBUS(f, i);
		WRITE_SIGBUS(f, i);
	}
	assert_int_equal(source_addr_at(f->ctl, 0), 0);
}

static void check_file(struct fixture *f)
{
	for (unsigned long i = 0; i < NR; i++)
		assert_int_equal(file_word(f->file, i * PAGE), WORD(i));
}

/* The same span once more, from another mapping. */
static void adopt_again(struct fixture *f)
{
	char *at = map_file(f, PROT_READ | PROT_WRITE);

	adopt(f, at, 0, NR, RW | MEMVIEW_MAP_REPLACE);
	touch_all(f, NR);
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 0);
	EXPECT_OK(munmap(at, f->file_size));
}

/* ---- it serves ---- */

static void mapping_is_the_source(struct fixture *f)
{
	volatile char *at = map_file(f, PROT_READ | PROT_WRITE);

	assert_int_equal(count_mappings(f->file), 1);
	adopt(f, (char *)at, 0, NR, RW);
	assert_int_equal(count_mappings(f->file), 1);
	assert_int_equal(source_addr_at(f->ctl, 3), (uintptr_t)at + 3 * PAGE);
	assert_int_equal(fdinfo(f->ctl, "sources"), 1);
	touch_all(f, NR);
	*(volatile uint64_t *)(at + 2 * PAGE) = 22;
	READS(f, 2, 22);
	WRITES(f, 3, 33);
	assert_int_equal(*(volatile uint64_t *)(at + 3 * PAGE), 33);
	assert_int_equal(file_word(f->file, 3 * PAGE), 33);
	/* Ranges that follow use it as well. */
	adopt(f, (char *)at, NR, 4, RW);
	assert_int_equal(fdinfo(f->ctl, "sources"), 1);
	assert_int_equal(count_mappings(f->file), 1);
	READS(f, NR + 1, WORD(NR + 1));
	protect_pages(f, 0, NR, R);
	WRITE_SEGV(f, 3);
	READS(f, 3, 33);
	assert_int_equal(unmap_pages(f, 0, NR + 4), NR + 4);
	READ_SIGBUS(f, 3);
	*(volatile uint64_t *)(at + 3 * PAGE) = 34;
	EXPECT_OK(munmap((char *)at, f->file_size));
}

/* From the middle of the mapping to another place of the view. */
static void part_of_a_mapping(struct fixture *f)
{
	char *at = map_file(f, PROT_READ | PROT_WRITE);

	EXPECT_OK(mv_adopt(f->ctl, f->file, 5 * PAGE, 3 * PAGE, 100 * PAGE, RW, at + 5 * PAGE));
	assert_int_equal(source_addr_at(f->ctl, 101), (uintptr_t)at + 6 * PAGE);
	for (unsigned long i = 0; i < 3; i++)
		READS(f, 100 + i, WORD(5 + i));
	READ_SIGBUS(f, 99);
	READ_SIGBUS(f, 103);
	WRITES(f, 102, 7);
	assert_int_equal(*(volatile uint64_t *)(at + 7 * PAGE), 7);
	EXPECT_OK(munmap(at, f->file_size));
	READ_SIGBUS(f, 100);
}

static void holes_and_truncation_reach_the_peer(struct fixture *f)
{
	char *at = lend_adopted(f);

	EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, unit(f)));
	READS(f, 0, 0);
	WRITES(f, 0, 1);
	assert_int_equal(file_word(f->file, 0), 1);
	EXPECT_OK(ftruncate(f->file, 0));
	READ_SIGBUS(f, 0);
	WRITE_SIGBUS(f, 1);
	EXPECT_OK(ftruncate(f->file, f->file_size));
	WRITES(f, 1, WORD(1));
	assert_int_equal(*(volatile uint64_t *)(at + PAGE), WORD(1));
	EXPECT_OK(madvise(at, f->file_size, MADV_DONTNEED));
	READS(f, 1, WORD(1));
	EXPECT_OK(munmap(at, f->file_size));
}

static void execution_needs_what_mmap_asks_for(struct fixture *f)
{
	char *at = map_file(f, PROT_READ | PROT_WRITE);
	unsigned long view;
	struct peer *p;
	int fd;

	put_code(f->file, 1, 77);
	p = another_peer(f, f->viewfd, PROT_READ | PROT_EXEC, &view);
	adopt(f, at, 0, NR, RX);
	EXPECT_VALUE(77, CALL(p, op_exec, (long)view + PAGE));
	assert_int_equal(count_mappings(f->file), 1);
	EXPECT_OK(munmap(at, f->file_size));

	assert_non_null(noexec_dir());
	fd = open(noexec_dir(), O_TMPFILE | O_RDWR, 0600);
	assert_true(fd >= 0);
	EXPECT_OK(ftruncate(fd, 4 * PAGE));
	at = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	EXPECT_REFUSED(f->ctl, EPERM, mv_adopt(f->ctl, fd, 0, PAGE, 100 * PAGE, RX, at));
	EXPECT_OK(mv_adopt(f->ctl, fd, 0, PAGE, 100 * PAGE, RW, at));
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 100 * PAGE, PAGE, RX));
	EXPECT_OK(munmap(at, 4 * PAGE));
	close(fd);
}

#define OVERLAYFS_MAGIC	0x794c7630

/* The mapping has the file below, which is what the driver must compare. */
static void file_of_an_overlay(struct fixture *f)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR, 0600), other;
	struct statfs fs;
	char *at;

	if (fd < 0) {
		fd = open("/var/tmp/adopt", O_CREAT | O_TRUNC | O_RDWR, 0600);
		unlink("/var/tmp/adopt");
	}
	assert_true(fd >= 0);
	assert_int_equal(fstatfs(fd, &fs), 0);
	if ((unsigned int)fs.f_type != OVERLAYFS_MAGIC)
		SKIP("the root is no overlay here");
	EXPECT_OK(ftruncate(fd, 4 * PAGE));
	at = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	EXPECT_OK(mv_adopt(f->ctl, fd, 0, 4 * PAGE, 0, RW, at));
	WRITES(f, 1, 21);
	assert_int_equal(*(volatile uint64_t *)(at + PAGE), 21);
	assert_int_equal(file_word(fd, PAGE), 21);
	assert_int_equal(source_addr_at(f->ctl, 1), (uintptr_t)at + PAGE);
	other = make_file(MEMFD, 4 * PAGE, 0);
	EXPECT_REFUSED(f->ctl, EINVAL, mv_adopt(f->ctl, other, 0, PAGE, 100 * PAGE, RW, at));
	EXPECT_OK(munmap(at, 4 * PAGE));
	READ_SIGBUS(f, 1);
	close(other);
	close(fd);
}

static void two_views_adopt_the_same(struct fixture *f)
{
	char *at = lend_adopted(f);
	int ctl = mv_open(), viewfd;
	unsigned long view;
	struct peer *p;

	EXPECT_OK(mv_set_size(ctl, VIEW_PAGES * PAGE));
	EXPECT_OK(mv_adopt(ctl, f->file, 0, NR * PAGE, 0, RW, at));
	viewfd = mv_viewfd(ctl);
	p = another_peer(f, viewfd, PROT_READ | PROT_WRITE, &view);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	WRITES(f, 1, 5);
	EXPECT_VALUE(5, CALL(p, op_read, view + PAGE));
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 1);
	EXPECT_VALUE(0, CALL(p, op_write, view + PAGE, 6));
	adopt(f, at, 0, NR, RW);
	READS(f, 1, 6);
	EXPECT_OK(mv_revoke(f->ctl));
	READ_SIGBUS(f, 1);
	EXPECT_VALUE(6, CALL(p, op_read, view + PAGE));
	EXPECT_OK(munmap(at, f->file_size));
	EXPECT_SIGBUS(view + PAGE, CALL(p, op_read, view + PAGE));
	close(viewfd);
	close(ctl);
}

/* Each range goes with the mapping that it has named. */
static void mappings_of_one_file_are_sources_of_their_own(struct fixture *f)
{
	char *a = map_file(f, PROT_READ | PROT_WRITE), *b = map_file(f, PROT_READ | PROT_WRITE);

	adopt(f, a, 0, 4, RW);
	EXPECT_OK(mv_adopt(f->ctl, f->file, 0, 4 * PAGE, 100 * PAGE, RW, b));
	assert_int_equal(source_addr_at(f->ctl, 0), (uintptr_t)a);
	assert_int_equal(source_addr_at(f->ctl, 100), (uintptr_t)b);
	assert_int_equal(fdinfo(f->ctl, "sources"), 2);
	READS(f, 1, WORD(1));
	READS(f, 101, WORD(1));
	EXPECT_OK(munmap(b, f->file_size));
	READ_SIGBUS(f, 101);
	WRITES(f, 1, 8);
	EXPECT_OK(munmap(a, f->file_size));
	READ_SIGBUS(f, 1);
}

/* Who does not ask for it depends on no mapping of the controller's. */
static void ordinary_ranges_beside_adopted_ones(struct fixture *f)
{
	char *at = map_file(f, PROT_READ | PROT_WRITE);

	adopt(f, at, 0, NR, RW);
	EXPECT_OK(mv_map(f->ctl, f->file, 0, NR * PAGE, 100 * PAGE, RW));
	assert_int_equal(fdinfo(f->ctl, "sources"), 2);
	assert_int_equal(count_mappings(f->file), 2);
	assert_int_not_equal(source_addr_at(f->ctl, 100), (uintptr_t)at);
	/* Nor does it ask in vain where there is a source already. */
	EXPECT_OK(mv_adopt(f->ctl, f->file, 0, PAGE, 200 * PAGE, RW, at));
	assert_int_equal(source_addr_at(f->ctl, 200), (uintptr_t)at);
	WRITES(f, 1, 11);
	READS(f, 101, 11);
	EXPECT_OK(munmap(at, f->file_size));
	READ_SIGBUS(f, 1);
	WRITES(f, 101, 12);
	unmap_pages(f, 100, NR);
	READ_SIGBUS(f, 101);
}

static void batch_adopts_all_or_nothing(struct fixture *f)
{
	char *at = map_file(f, PROT_READ | PROT_WRITE);
	struct memview_op ops[4] = {
		{ .op = MEMVIEW_OP_MAP, .flags = RW | MEMVIEW_MAP_ADOPT, .fd = f->file,
		  .size = 4 * PAGE, .addr = (uintptr_t)at },
		{ .op = MEMVIEW_OP_MAP, .flags = RW | MEMVIEW_MAP_ADOPT, .fd = f->file,
		  .fd_offset = 4 * PAGE, .mem_offset = 4 * PAGE, .size = 4 * PAGE,
		  .addr = (uintptr_t)at + 4 * PAGE },
		{ .op = MEMVIEW_OP_MAP, .flags = RW, .fd = f->file,
		  .mem_offset = 8 * PAGE, .size = 4 * PAGE },
		/* The first page of the file is elsewhere. */
		{ .op = MEMVIEW_OP_MAP, .flags = RW | MEMVIEW_MAP_ADOPT, .fd = f->file,
		  .mem_offset = 12 * PAGE, .size = 4 * PAGE, .addr = (uintptr_t)at + PAGE },
	};
	struct memview_update_info u = {
		.ops = (uintptr_t)ops, .count = 4, .op_size = sizeof(ops[0]),
	};

	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	assert_int_equal(u.failed, 3);
	READ_SIGBUS(f, 0);
	u.count = 3;
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	touch_all(f, NR);
	READS(f, 9, WORD(1));
	assert_int_equal(source_addr_at(f->ctl, 0), (uintptr_t)at);
	assert_int_equal(source_addr_at(f->ctl, 4), (uintptr_t)at + 4 * PAGE);
	assert_int_equal(fdinfo(f->ctl, "sources"), 2);
	EXPECT_OK(munmap(at, f->file_size));
	READ_SIGBUS(f, 5);
	READS(f, 9, WORD(1));
}

/* ---- it is the controller's ---- */

/* What /proc says of the mapping; not how much of it is in memory. */
static void describe(const char *at, char *text, size_t size)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	bool found = false;
	char line[512];

	assert_non_null(smaps);
	text[0] = 0;
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx", &start, &end) == 2) {
			found = start <= (unsigned long)at && (unsigned long)at < end;
			if (found)
				strncat(text, line, size - strlen(text) - 1);
		}
		if (found && !strncmp(line, "VmFlags:", 8))
			strncat(text, line, size - strlen(text) - 1);
	}
	fclose(smaps);
	assert_non_null(strstr(text, "VmFlags:"));
}

static void mapping_outlives_its_ranges(struct fixture *f)
{
	char *at = map_file(f, PROT_READ | PROT_WRITE);
	char before[1024], after[1024];
	int other = make_file(MEMFD, FILE_PAGES * PAGE, 500);

	describe(at, before, sizeof(before));
	adopt(f, at, 0, NR, RW);
	touch_all(f, NR);
	describe(at, after, sizeof(after));
	assert_string_equal(before, after);
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 0);

	/* One of the driver's own: when it has gone, so would the other. */
	EXPECT_OK(mv_map(f->ctl, other, 0, PAGE, 0, RW));
	READS(f, 0, WORD(500));
	unmap_pages(f, 0, 1);
	EXPECT_OK(mv_drop_idle(f->ctl));
	assert_int_equal(count_mappings(other), 0);
	describe(at, after, sizeof(after));
	assert_string_equal(before, after);

	/* Nor do a revocation and the end of the view unmap it. */
	adopt(f, at, 0, NR, RW);
	touch_all(f, NR);
	EXPECT_OK(mv_revoke(f->ctl));
	close(f->ctl);
	f->ctl = mv_open();
	READ_SIGBUS(f, 0);
	EXPECT_OK(mv_set_size(f->ctl, PAGE));
	EXPECT_OK(mv_map(f->ctl, other, 0, PAGE, 0, RW));
	assert_int_equal(count_mappings(other), 1);
	unmap_pages(f, 0, 1);
	EXPECT_OK(mv_drop_idle(f->ctl));
	assert_int_equal(count_mappings(other), 0);
	describe(at, after, sizeof(after));
	assert_string_equal(before, after);
	for (unsigned long i = 0; i < NR; i++)
		assert_int_equal(*(volatile uint64_t *)(at + i * PAGE), WORD(i));
	EXPECT_OK(munmap(at, f->file_size));
	close(other);
}

static void children_keep_their_copy(struct fixture *f)
{
	char *at = map_file(f, PROT_READ | PROT_WRITE);
	struct peer *child;

	adopt(f, at, 0, NR, RW);
	touch_all(f, NR);
	child = peer_spawn();
	assert_non_null(child);
	EXPECT_VALUE(WORD(1), CALL(child, op_read, (long)at + PAGE));
	EXPECT_VALUE(0, CALL(child, op_write, (long)at + PAGE, 9));
	READS(f, 1, 9);
	/* What the child does to it is the child's affair. */
	EXPECT_VALUE(0, CALL(child, op_munmap, (long)at, (long)f->file_size));
	touch_all(f, 1);
	READS(f, 1, 9);
	peer_kill(child);
	READS(f, 1, 9);
	/* And what the controller does is no affair of the child's. */
	child = peer_spawn();
	EXPECT_OK(munmap(at, f->file_size));
	READ_SIGBUS(f, 1);
	EXPECT_VALUE(9, CALL(child, op_read, (long)at + PAGE));
	READ_SIGBUS(f, 1);
	peer_kill(child);
}

/* Control fd, file, pages: the first of both, in place of what is mapped there. */
static long op_ctl_adopt(const long *a)
{
	char *at = mmap(NULL, a[2] * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)a[1], 0);

	if (at == MAP_FAILED ||
	    mv_adopt((int)a[0], (int)a[1], 0, a[2] * PAGE, 0, RW | MEMVIEW_MAP_REPLACE, at))
		return -1;
	return (long)at;
}

static void controller_dies_with_what_it_lent(struct fixture *f)
{
	struct controller c;
	unsigned long view;
	long at;

	controller_start(&c, 700, RW);
	at = EXPECT_CALL(c.peer, op_ctl_adopt, c.ctl, c.fd, CTL_PAGES);
	view = map_view(f->peer, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_VALUE(0, CALL(f->peer, op_write, view + PAGE, 8));
	EXPECT_VALUE(8, CALL(c.peer, op_read, at + (long)PAGE));
	peer_kill(c.peer);
	assert_true(EVENTUALLY(CALL(f->peer, op_read, view + PAGE).sig == SIGBUS));
	EXPECT_SIGBUS(view + PAGE, CALL(f->peer, op_write, view + PAGE, 9));
	close(c.viewfd);
}

static void munmapped_mapping_gives_nothing(struct fixture *f)
{
	char *at = lend_adopted(f);

	EXPECT_OK(munmap(at, f->file_size));
	assert_int_equal(PROBE(op_read, (long)at).sig, SIGSEGV);
	check_lost(f, NR);
	check_file(f);
	adopt_again(f);
}

/* Also by a part that is not lent: all of the mapping or none. */
static void partly_munmapped_mapping_gives_nothing(struct fixture *f)
{
	char *at;

	need_split(f);
	at = lend_adopted(f);
	EXPECT_OK(munmap(at + f->file_size - unit(f), unit(f)));
	check_lost(f, NR);
	check_file(f);
	/* What is left of it can be adopted. */
	adopt(f, at, 0, NR, RW | MEMVIEW_MAP_REPLACE);
	touch_all(f, NR);
	EXPECT_OK(munmap(at, f->file_size - unit(f)));
	check_lost(f, NR);
}

static void moved_mapping_gives_nothing(struct fixture *f)
{
	char *at = lend_adopted(f), *to;
	size_t len = f->file_size;

	/* Where huge pages can go, too. */
	to = map_file(f, PROT_READ);
	to = mremap(at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	assert_ptr_not_equal(to, MAP_FAILED);
	assert_int_equal(PROBE(op_read, (long)at).sig, SIGSEGV);
	check_lost(f, NR);
	*(volatile uint64_t *)to = SECRET;
	READ_SIGBUS(f, 0);
	*(volatile uint64_t *)to = WORD(0);
	/* At its new place it is as good as any. */
	adopt(f, to, 0, NR, RW | MEMVIEW_MAP_REPLACE);
	touch_all(f, NR);
	EXPECT_OK(munmap(to, len));
	check_lost(f, NR);
}

static void mapping_that_grows(struct fixture *f)
{
	size_t half = f->file_size / 2;
	char *at = mmap(NULL, f->file_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long first = half / PAGE;

	assert_ptr_not_equal(at, MAP_FAILED);
	EXPECT_OK(munmap(at + half, half));
	assert_ptr_equal(mmap(at, half, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			      f->file, 0), at);
	adopt(f, at, 0, NR, RW);
	touch_all(f, NR);
	EXPECT_REFUSED(f->ctl, EFAULT, mv_adopt(f->ctl, f->file, half, PAGE, half, RW, at + half));
	assert_ptr_equal(mremap(at, half, f->file_size, 0), at);
	touch_all(f, NR);
	adopt(f, at, first, 4, RW);
	READS(f, first + 1, WORD(first + 1));
	assert_int_equal(source_addr_at(f->ctl, first), (uintptr_t)at + half);
	touch_all(f, NR);
	EXPECT_OK(munmap(at, f->file_size));
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, first + 1);
}

static void mprotect_narrows_and_gives_back(struct fixture *f)
{
	char *at = lend_adopted(f);
	size_t len = f->file_size;

	for (int i = 0; i < 3; i++) {
		EXPECT_OK(mprotect(at, len, PROT_NONE));
		READ_SIGBUS(f, 0);
		WRITE_SIGBUS(f, 1);
		EXPECT_OK(mprotect(at, len, PROT_READ));
		READS(f, 0, WORD(0));
		WRITE_SIGBUS(f, 0);
		WRITE_SIGBUS(f, 1);
		EXPECT_OK(mprotect(at, len, PROT_READ | PROT_WRITE));
		WRITES(f, 0, WORD(0));
		WRITES(f, 1, WORD(1));
	}
	/* Rights that the ranges do not have, they do not get by it. */
	protect_pages(f, 0, NR, R);
	EXPECT_OK(mprotect(at, len, PROT_READ));
	EXPECT_OK(mprotect(at, len, PROT_READ | PROT_WRITE));
	READS(f, 0, WORD(0));
	WRITE_SEGV(f, 0);
	check_file(f);
	EXPECT_OK(munmap(at, len));
}

/* mprotect(2) and madvise(2) cut a mapping, which is no mapping the less. */
static void mapping_in_several_pieces(struct fixture *f)
{
	char *at = map_file(f, PROT_READ | PROT_WRITE);
	char *other;
	int again;

	EXPECT_OK(madvise(at + 2 * PAGE, PAGE, MADV_DONTDUMP));
	EXPECT_OK(mprotect(at + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
	assert_true(count_mappings(f->file) == 5);
	adopt(f, at, 0, NR, RW);
	touch_all(f, NR);
	assert_int_equal(fdinfo(f->ctl, "sources"), 1);
	unmap_pages(f, 0, NR);
	EXPECT_OK(mprotect(at + 4 * PAGE, PAGE, PROT_READ));
	EXPECT_REFUSED(f->ctl, EACCES, mv_adopt(f->ctl, f->file, 0, NR * PAGE, 0, RW, at));
	EXPECT_OK(mprotect(at + 4 * PAGE, PAGE, PROT_NONE));
	EXPECT_REFUSED(f->ctl, EACCES, mv_adopt(f->ctl, f->file, 0, NR * PAGE, 0, R, at));
	adopt(f, at, 0, 4, RW);
	touch_all(f, 4);
	unmap_pages(f, 0, 4);

	/* Two open files of one: mappings that the driver does not take for one. */
	again = backing_reopen(f->file, O_RDWR);
	other = mmap(at + 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     again, 4 * PAGE);
	assert_ptr_equal(other, at + 4 * PAGE);
	EXPECT_REFUSED(f->ctl, EINVAL, mv_adopt(f->ctl, f->file, 0, NR * PAGE, 0, RW, at));
	adopt(f, at, 0, 4, RW);
	adopt(f, at, 4, 4, RW);
	touch_all(f, NR);
	close(again);
	EXPECT_OK(munmap(at, f->file_size));
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, 4);
}

/* ---- something else in its place ---- */

enum foreign { ANON, PRIVATE, OTHER_FILE, OTHER_OFFSET, REOPENED, SAME, OWN_VIEW, GUARD };

/* Maps something over the first bytes of the mapping. */
static void put_there(struct fixture *f, char *at, size_t len)
{
	int flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
	int prot = PROT_READ | PROT_WRITE;
	unsigned long off = 0;
	int fd = f->file;

	switch ((enum foreign)f->tc->param) {
	case GUARD:
		prot = PROT_NONE;
		/* fall through */
	case ANON:
		fd = -1;
		flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
		break;
	case PRIVATE:
		flags ^= MAP_SHARED | MAP_PRIVATE;
		break;
	case OTHER_FILE:
		fd = make_file(f->backing, f->file_size, 1000);
		break;
	case OTHER_OFFSET:
		off = unit(f);
		break;
	case REOPENED:
		fd = backing_reopen(f->file, O_RDWR);
		break;
	case SAME:
		break;
	case OWN_VIEW:
		fd = f->viewfd;
		break;
	}
	assert_ptr_equal(mmap(at, len, prot, flags, fd, off), at);
}

static void check_replaced(struct fixture *f, size_t len)
{
	bool secret = f->tc->param == ANON || f->tc->param == PRIVATE ||
		      f->tc->param == OTHER_FILE;
	char *at = lend_adopted(f);
	bool shows = f->tc->param == REOPENED || f->tc->param == SAME;

	put_there(f, at, len);
	if (secret)
		*(volatile uint64_t *)at = SECRET;
	/* Also where it is the same again: what was unmapped is lost. */
	check_lost(f, NR);
	check_not_foreign(f, NR);
	if (secret)
		assert_int_equal(*(volatile uint64_t *)at, SECRET);
	if (shows)
		EXPECT_OK(mv_adopt(f->ctl, f->file, 0, PAGE, 100 * PAGE, R, at));
	else
		EXPECT_REFUSED(f->ctl, EINVAL, mv_adopt(f->ctl, f->file, 0, PAGE,
							100 * PAGE, R, at));
	check_file(f);
	/* Invalidations of a mapping that was replaced end, and do no harm. */
	assert_int_equal(ftruncate(f->file, 0), 0);
	assert_int_equal(ftruncate(f->file, f->file_size), 0);
	for (unsigned long i = 0; i < NR; i++)
		assert_true(file_set_word(f->file, i * PAGE, WORD(i)));
	unmap_pages(f, 0, NR);
	EXPECT_OK(munmap(at, f->file_size));
	adopt_again(f);
}

static void mapping_replaced(struct fixture *f)
{
	size_t len = f->file_size;

	/* The file does not go on behind its end. */
	if (f->tc->param == OTHER_OFFSET) {
		need_split(f);
		len -= unit(f);
	}
	check_replaced(f, len);
}

static void mapping_replaced_in_part(struct fixture *f)
{
	need_split(f);
	check_replaced(f, unit(f));
}

static void mapping_replaced_while_peers_look(struct fixture *f)
{
	char *at = lend_adopted(f);
	unsigned long view;
	struct peer *second = another_peer(f, f->viewfd, PROT_READ, &view);

	START(f->peer, op_scan, f->view, NR, 0);
	START(second, op_scan, view, NR, 0);
	for (int round = 0; round < 12; round++) {
		char *p;

		wait_loops(4);
		if (round & 1)
			EXPECT_OK(munmap(at, f->file_size));
		p = mmap(at, f->file_size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED | (round & 2 ? 0 : MAP_ANONYMOUS),
			 round & 2 ? f->file : -1, 0);
		assert_ptr_equal(p, at);
		for (unsigned long i = 0; i < NR; i++)
			*(volatile uint64_t *)(p + i * PAGE) = SECRET;
		wait_loops(4);
		assert_ptr_equal(mmap(at, f->file_size, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_FIXED, f->file, 0), at);
		adopt(f, at, 0, NR, RW | MEMVIEW_MAP_REPLACE);
	}
	wait_loops(4);
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "scan"));
	EXPECT_VALUE(0, FINISH(second, "scan"));
	assert_int_equal(atomic_load(&shared->bad), 0);
	READS(f, 1, WORD(1));
	EXPECT_OK(munmap(at, f->file_size));
}

struct swap {
	char *at;
	int fd;
	atomic_int stop;
};

/* Now the file, now a secret; never a hole, which others could take. */
static void *swap_mappings(void *arg)
{
	struct swap *s = arg;

	while (!atomic_load(&s->stop)) {
		mmap(s->at, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, s->fd, 0);
		mmap(s->at, NR * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
		for (unsigned long i = 0; i < NR; i++)
			*(volatile uint64_t *)(s->at + i * PAGE) = SECRET;
	}
	return NULL;
}

/*
 * In a process of its own, which maps its own view: adopts again and again what
 * a thread replaces all the time. Return: how often, or below zero what is wrong.
 */
static long op_adopt_what_changes(const long *a)
{
	struct swap s = { .fd = backing_create(MEMFD, NR * PAGE) };
	int ctl = mv_open(), viewfd;
	volatile uint64_t *view;
	struct outcome o;
	pthread_t thread;
	long done = 0;

	file_set_word(s.fd, 0, WORD(0));
	s.at = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, 0);
	if (ctl < 0 || mv_set_size(ctl, NR * PAGE) || s.at == MAP_FAILED)
		return -1;
	viewfd = mv_viewfd(ctl);
	view = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, viewfd, 0);
	if (view == MAP_FAILED || pthread_create(&thread, NULL, swap_mappings, &s))
		return -1;
	for (int i = 0; i < a[0] && done >= 0; i++) {
		if (!mv_adopt(ctl, s.fd, 0, NR * PAGE, 0, RW | MEMVIEW_MAP_REPLACE, s.at))
			done++;
		else if (errno != EFAULT && errno != EINVAL)
			done = -errno;
		for (int j = 0; j < 4 && done >= 0; j++) {
			o = probe(op_read, ARGS((long)view));
			if (!o.sig && o.ret != (long)WORD(0))
				done = -1000;
			if (o.sig && o.sig != SIGBUS)
				done = -1000 - o.sig;
		}
	}
	atomic_store(&s.stop, 1);
	pthread_join(thread, NULL);
	return done;
}

static void mapping_that_changes_while_it_is_adopted(struct fixture *f)
{
	struct outcome o;

	START(f->peer, op_adopt_what_changes, 150);
	o = FINISH(f->peer, "adopting");
	assert_int_equal(o.sig, 0);
	assert_false(o.died);
	if (o.ret <= 0)
		fail_msg("adopting ended with %ld", o.ret);
}

/* A source of the driver's is nobody's to adopt, but no harm comes of it. */
static void source_of_the_driver(struct fixture *f)
{
	char *source;

	map_pages(f, 0, 0, NR, RW);
	source = source_at(f, 0);
	EXPECT_OK(mv_adopt(f->ctl, f->file, 0, NR * PAGE, 100 * PAGE, RW, source));
	READS(f, 101, WORD(1));
	unmap_pages(f, 0, NR);
	EXPECT_OK(mv_drop_idle(f->ctl));
	assert_int_equal(PROBE(op_read, (long)source).sig, SIGSEGV);
	READ_SIGBUS(f, 101);
	unmap_pages(f, 100, NR);
}

/* ---- what it refuses ---- */

static void bad_addresses(struct fixture *f)
{
	char *room = mmap(NULL, f->file_size + 4 * HUGE_SIZE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)(((uintptr_t)room + 2 * HUGE_SIZE - 1) & -HUGE_SIZE);
	size_t len = f->file_size;
	struct memview_map_fd_info arg = {
		.fd = f->file, .flags = R, .size = PAGE, .mem_offset = 100 * PAGE,
	};
	char *last;

	assert_ptr_not_equal(room, MAP_FAILED);
	EXPECT_OK(munmap(at, len + HUGE_SIZE));
	assert_ptr_equal(mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			      f->file, 0), at);
	last = at + len - PAGE;
	adopt(f, at, 0, 1, R);

#define REFUSED(want, off, nr, addr) \
	EXPECT_REFUSED(f->ctl, want, mv_adopt(f->ctl, f->file, off, (nr) * PAGE, 100 * PAGE, \
					      R, addr))
	/* Not aligned, or for nothing. */
	REFUSED(EINVAL, 0, 1, at + 1);
	REFUSED(EINVAL, 0, 1, at + 512);
	REFUSED(EINVAL, PAGE, 1, at + PAGE - 1);
	arg.addr = (uintptr_t)at;
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_MAP_FD, &arg));
	arg.addr = 1;
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_MAP_FD, &arg));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_protect(f->ctl, 0, PAGE, R | MEMVIEW_MAP_ADOPT));
	/* Nothing there, wholly or in part. */
	REFUSED(EFAULT, 0, 1, NULL);
	REFUSED(EFAULT, 0, 1, at + len);
	if (f->backing != HUGETLB)
		REFUSED(EFAULT, len - PAGE, 2, last);
	REFUSED(EFAULT, 0, 1, (void *)-PAGE);
	REFUSED(EFAULT, 0, 2, (void *)-PAGE);
	REFUSED(EFAULT, 0, 1, (void *)(1UL << 63));
	REFUSED(EFAULT, 0, 1, (void *)(1UL << 62));
	/* Another page of the file. */
	REFUSED(EINVAL, 0, 1, at + PAGE);
	REFUSED(EINVAL, PAGE, 1, at);
	REFUSED(EINVAL, PAGE, 4, at);
#undef REFUSED
	READS(f, 0, WORD(0));
	EXPECT_OK(munmap(room, f->file_size + 4 * HUGE_SIZE));
}

/*
 * The kernel tells of no end of mprotect(2) at address 0, so that peers' faults would
 * wait for it. Where that page is cut off, what remains is as good as any.
 */
static void mapping_at_address_0(struct fixture *f)
{
	size_t len = f->file_size;
	char *at;

	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f->file, 0);
	assert_null(at);
	EXPECT_REFUSED(f->ctl, ENODEV, mv_adopt(f->ctl, f->file, PAGE, PAGE, 0, RW,
						at + PAGE));
	EXPECT_OK(munmap(at, PAGE));
	EXPECT_OK(mv_adopt(f->ctl, f->file, PAGE, PAGE, 0, RW, at + PAGE));
	READS(f, 0, WORD(1));
	EXPECT_OK(mprotect(at + PAGE, PAGE, PROT_READ));
	READS(f, 0, WORD(1));
	EXPECT_OK(munmap(at + PAGE, len - PAGE));
	READ_SIGBUS(f, 0);
}

static void mappings_of_something_else(struct fixture *f)
{
	size_t len = f->file_size;
	int other = make_file(f->backing, len, 1000);
	const struct { int flags, fd; } kinds[] = {
		{ MAP_PRIVATE, f->file },
		{ MAP_PRIVATE | MAP_ANONYMOUS, -1 },
		{ MAP_SHARED | MAP_ANONYMOUS, -1 },
		{ MAP_SHARED, other },
		{ MAP_SHARED, f->viewfd },
	};
	char *at;

	map_pages(f, 0, 0, NR, RW);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		at = mmap(NULL, len, PROT_READ | PROT_WRITE, kinds[i].flags, kinds[i].fd, 0);
		assert_ptr_not_equal(at, MAP_FAILED);
		EXPECT_REFUSED(f->ctl, EINVAL, mv_adopt(f->ctl, f->file, 0, PAGE, 100 * PAGE,
							RW, at));
		EXPECT_OK(munmap(at, len));
	}
	/* What can be no source need not be looked for. */
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f->viewfd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	EXPECT_REFUSED(f->ctl, ENODEV, mv_adopt(f->ctl, f->viewfd, 0, PAGE, 100 * PAGE, R, at));
	EXPECT_REFUSED(f->ctl, EBADF, mv_adopt(f->ctl, 9999, 0, PAGE, 100 * PAGE, R, at));
	EXPECT_OK(munmap(at, len));
	close(other);
}

static void rights_of_mapping_and_file(struct fixture *f)
{
	char *rw = map_file(f, PROT_READ | PROT_WRITE), *ro = map_file(f, PROT_READ);
	char *none = map_file(f, PROT_NONE), *wo = map_file(f, PROT_WRITE);
	int fd = backing_reopen(f->file, O_RDONLY);

	assert_true(fd >= 0);
	/* The mapping's. */
	EXPECT_REFUSED(f->ctl, EACCES, mv_adopt(f->ctl, f->file, 0, PAGE, 0, R, none));
	EXPECT_REFUSED(f->ctl, EACCES, mv_adopt(f->ctl, f->file, 0, PAGE, 0, R, wo));
	EXPECT_REFUSED(f->ctl, EACCES, mv_adopt(f->ctl, f->file, 0, PAGE, 0, RW, ro));
	EXPECT_OK(mv_adopt(f->ctl, f->file, 0, PAGE, 0, R, ro));
	READS(f, 0, WORD(0));
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 0, PAGE, RW));
	WRITE_SEGV(f, 0);
	/* The descriptor's, whatever the mapping can do. */
	EXPECT_REFUSED(f->ctl, EACCES, mv_adopt(f->ctl, fd, 0, PAGE, 100 * PAGE, RW, rw));
	EXPECT_OK(mv_adopt(f->ctl, fd, 0, PAGE, 100 * PAGE, R, rw));
	READS(f, 100, WORD(0));
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 100 * PAGE, PAGE, RW));
	WRITE_SEGV(f, 100);
	/* And of both, what was asked for. */
	EXPECT_OK(mv_adopt(f->ctl, f->file, 0, PAGE, 200 * PAGE, R, rw));
	WRITE_SEGV(f, 200);
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 200 * PAGE, PAGE, RW));
	EXPECT_OK(mv_adopt(f->ctl, f->file, 0, PAGE, 300 * PAGE, RW, rw));
	WRITES(f, 300, WORD(0));
	EXPECT_OK(munmap(rw, f->file_size));
	EXPECT_OK(munmap(ro, f->file_size));
	EXPECT_OK(munmap(none, f->file_size));
	EXPECT_OK(munmap(wo, f->file_size));
	close(fd);
}

/* A writable mapping from before does not get round the seal. */
static void sealed_file(struct fixture *f)
{
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING |
			      (f->backing == HUGETLB ? MFD_HUGETLB : 0));
	char *at;

	EXPECT_OK(ftruncate(fd, f->file_size));
	at = mmap(NULL, f->file_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	*(uint64_t *)at = 3;
	EXPECT_OK(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, fd, 0, PAGE, 0, RW));
	EXPECT_REFUSED(f->ctl, EPERM, mv_adopt(f->ctl, fd, 0, PAGE, 0, RW, at));
	EXPECT_OK(mv_adopt(f->ctl, fd, 0, PAGE, 0, R, at));
	READS(f, 0, 3);
	WRITE_SEGV(f, 0);
	EXPECT_OK(munmap(at, f->file_size));
	close(fd);
}

static void adopted_mappings_count_as_sources(struct fixture *f)
{
	int other = make_file(MEMFD, FILE_PAGES * PAGE, 500);
	char *at = map_file(f, PROT_READ | PROT_WRITE);

	set_module_param(f, "max_sources", 1);
	EXPECT_OK(mv_map(f->ctl, other, 0, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, EMFILE, mv_adopt(f->ctl, f->file, 0, PAGE, PAGE, R, at));
	unmap_pages(f, 0, 1);
	adopt(f, at, 0, 1, R);
	EXPECT_REFUSED(f->ctl, EMFILE, mv_map(f->ctl, other, 0, PAGE, PAGE, R));
	READS(f, 0, WORD(0));
	EXPECT_OK(munmap(at, f->file_size));
	close(other);
}

/* ---- userfaultfd(2) ---- */

/* What the controller has registered for itself is asked about the peers, too. */
static void missing_pages_are_asked_for(struct fixture *f)
{
	int uffd = uffd_open(0, 0);
	char *at = map_file(f, PROT_READ | PROT_WRITE);
	struct uffdio_copy copy = { .len = unit(f) };
	uint64_t *from = mmap(NULL, unit(f), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *fault;

	assert_ptr_not_equal(from, MAP_FAILED);
	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
	uffd_register(uffd, at, f->file_size, UFFDIO_REGISTER_MODE_MISSING);
	adopt(f, at, 0, NR, RW);
	for (int write = 0; write < 2; write++) {
		EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				    f->file_size));
		if (write)
			START(f->peer, op_write, AT(f, 2), 55);
		else
			START(f->peer, op_read, AT(f, 2));
		fault = uffd_event(uffd, NULL);
		assert_ptr_equal((char *)((uintptr_t)fault & -unit(f)),
				 (char *)((uintptr_t)(at + 2 * PAGE) & -unit(f)));
		assert_true(still_busy(f->peer));
		from[2 * PAGE % unit(f) / sizeof(*from)] = SECRET;
		copy.dst = (uintptr_t)fault & -unit(f);
		copy.src = (uintptr_t)from;
		EXPECT_OK(ioctl(uffd, UFFDIO_COPY, &copy));
		EXPECT_VALUE(write ? 0 : SECRET, FINISH(f->peer, "access after the copy"));
		READS(f, 2, write ? 55 : SECRET);
	}
	WRITES(f, 2, 3);
	assert_int_equal(*(volatile uint64_t *)(at + 2 * PAGE), 3);
	close(uffd);
	munmap(from, unit(f));
	EXPECT_OK(munmap(at, f->file_size));
}

/* The page is in the file, but not yet what it is to be. */
static void minor_faults_are_asked_for(struct fixture *f)
{
	int uffd = uffd_open(0, f->backing == HUGETLB ? UFFD_FEATURE_MINOR_HUGETLBFS :
							UFFD_FEATURE_MINOR_SHMEM);
	char *at = map_file(f, PROT_READ | PROT_WRITE);
	struct uffdio_continue go_on = { .range.len = unit(f) };
	uint64_t flags;
	char *fault;

	uffd_register(uffd, at, f->file_size, UFFDIO_REGISTER_MODE_MINOR);
	adopt(f, at, 0, NR, RW);
	START(f->peer, op_read, AT(f, 2));
	fault = uffd_event(uffd, &flags);
	assert_true(flags & UFFD_PAGEFAULT_FLAG_MINOR);
	assert_true(still_busy(f->peer));
	/* By another mapping. */
	assert_true(file_set_word(f->file, 2 * PAGE, SECRET));
	go_on.range.start = (uintptr_t)fault & -unit(f);
	EXPECT_OK(ioctl(uffd, UFFDIO_CONTINUE, &go_on));
	EXPECT_VALUE(SECRET, FINISH(f->peer, "read"));
	WRITES(f, 2, 4);
	assert_int_equal(*(volatile uint64_t *)(at + 2 * PAGE), 4);
	close(uffd);
	EXPECT_OK(munmap(at, f->file_size));
}

static void writes_are_asked_for(struct fixture *f)
{
	int uffd = uffd_open(0, UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			     UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	char *at = lend_adopted(f);
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)at, .len = f->file_size },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	uint64_t flags;

	uffd_register(uffd, at, f->file_size, UFFDIO_REGISTER_MODE_WP);
	EXPECT_OK(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
	START(f->peer, op_write, AT(f, 1), 77);
	uffd_event(uffd, &flags);
	assert_true(flags & UFFD_PAGEFAULT_FLAG_WP);
	assert_true(still_busy(f->peer));
	assert_int_equal(*(volatile uint64_t *)(at + PAGE), WORD(1));
	wp.mode = 0;
	EXPECT_OK(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
	EXPECT_VALUE(0, FINISH(f->peer, "write"));
	assert_int_equal(*(volatile uint64_t *)(at + PAGE), 77);
	close(uffd);
	EXPECT_OK(munmap(at, f->file_size));
}

#define ON_TESTED	(ON(MEMFD) | ON(HUGETLB) | ON(EXT4))
#define ON_UFFD		(ON_SHMEM | ON(HUGETLB))

#define FOREIGN(how) \
	{ .name = "mapping_replaced", .run = mapping_replaced, .backings = ON_TESTED, \
	  .variant = #how, .param = how }, \
	{ .name = "mapping_replaced_in_part", .run = mapping_replaced_in_part, \
	  .backings = ON_TESTED, .variant = #how, .param = how }

static const struct test_case cases[] = {
	CASE_ON(mapping_is_the_source, ON_ALL),
	CASE_ON(part_of_a_mapping, ON_TESTED),
	CASE_ON(holes_and_truncation_reach_the_peer, ON_ALL),
	CASE_ON(execution_needs_what_mmap_asks_for, ON_SHMEM | ON(EXT4)),
	CASE(file_of_an_overlay),
	CASE_ON(two_views_adopt_the_same, ON_TESTED),
	CASE_ON(mappings_of_one_file_are_sources_of_their_own, ON_TESTED),
	CASE_ON(ordinary_ranges_beside_adopted_ones, ON_TESTED),
	CASE(batch_adopts_all_or_nothing),
	CASE_ON(mapping_outlives_its_ranges, ON_TESTED),
	CASE_ON(children_keep_their_copy, ON_TESTED),
	CASE(controller_dies_with_what_it_lent),
	CASE_ON(munmapped_mapping_gives_nothing, ON_ALL),
	CASE_ON(partly_munmapped_mapping_gives_nothing, ON_TESTED),
	CASE_ON(moved_mapping_gives_nothing, ON_TESTED),
	CASE_ON(mapping_that_grows, ON(MEMFD) | ON(EXT4)),
	CASE_ON(mprotect_narrows_and_gives_back, ON_ALL),
	CASE_ON(mapping_in_several_pieces, ON(MEMFD) | ON(EXT4)),
	FOREIGN(ANON),
	FOREIGN(PRIVATE),
	FOREIGN(OTHER_FILE),
	FOREIGN(OTHER_OFFSET),
	FOREIGN(REOPENED),
	FOREIGN(SAME),
	FOREIGN(OWN_VIEW),
	FOREIGN(GUARD),
	CASE_ON(mapping_replaced_while_peers_look, ON_TESTED),
	CASE(mapping_that_changes_while_it_is_adopted),
	CASE_ON(source_of_the_driver, ON(MEMFD) | ON(HUGETLB)),
	CASE_ON(bad_addresses, ON_TESTED),
	CASE_ON(mapping_at_address_0, ON_SHMEM),
	CASE_ON(mappings_of_something_else, ON_TESTED),
	CASE_ON(rights_of_mapping_and_file, ON_ALL),
	CASE_ON(sealed_file, ON_SEALABLE),
	CASE(adopted_mappings_count_as_sources),
	CASE_ON(missing_pages_are_asked_for, ON_UFFD),
	CASE_ON(minor_faults_are_asked_for, ON_UFFD),
	CASE_ON(writes_are_asked_for, ON_UFFD),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adopt", cases);
}
