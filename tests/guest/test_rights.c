// SPDX-License-Identifier: GPL-2.0
/*
 * What a peer may do is the AND of the view fd's rights, its mapping's
 * protection and the range's rights (R6): all combinations, by doing it.
 */
#include "common.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint32_t sets[] = { R, RW, RX, RWX };
static const char * const names[] = { "r", "rw", "rx", "rwx" };

static int prot_of(uint32_t rights)
{
	return (rights & R ? PROT_READ : 0) | (rights & W ? PROT_WRITE : 0) |
	       (rights & X ? PROT_EXEC : 0);
}

/* Tries each access at @addr, where page 1 of the file is. */
static void check_accesses(struct peer *p, unsigned long addr, uint32_t may)
{
	/* Execute first: reading and writing must not have prepared the way. */
	for (int round = 0; round < 2; round++) {
		struct outcome x = CALL(p, op_exec, addr);
		struct outcome w = CALL(p, op_write, addr + 64, round);

		if (may & X)
			EXPECT_VALUE(4711, x);
		else
			EXPECT_SEGV(addr, x);
		if (may & W)
			EXPECT_VALUE(0, w);
		else
			EXPECT_SEGV(addr + 64, w);
		if (may & R)
			EXPECT_VALUE(may & W ? (unsigned long)round : 815,
				     CALL(p, op_read, addr + 64));
		else
			EXPECT_SEGV(addr + 64, CALL(p, op_read, addr + 64));
	}
}

static void prepare(struct fixture *f)
{
	put_code(f->file, 1, 4711);
	assert_true(file_set_word(f->file, PAGE + 64, 815));
}

#define MATRIX(fd, prot, range) ((fd) | (prot) << 2 | (range) << 4)

static void rights(struct fixture *f)
{
	uint32_t fd_rights = sets[f->tc->param & 3];
	uint32_t prot = sets[f->tc->param >> 2 & 3];
	uint32_t range = sets[f->tc->param >> 4 & 3];
	int fd = peer_send_fd(f->peer, EXPECT_OK(mv_viewfd_rights(f->ctl, fd_rights)));
	unsigned long addr;

	prepare(f);
	map_pages(f, 3, 1, 1, range);
	if (prot & ~fd_rights) {
		EXPECT_CALL_ERRNO(EACCES, f->peer, op_mmap, fd, PAGE, prot_of(prot), 3 * PAGE);
		return;
	}
	addr = EXPECT_CALL(f->peer, op_mmap, fd, PAGE, prot_of(prot), 3 * PAGE);
	check_accesses(f->peer, addr, fd_rights & prot & range);
}

#define NO_RIGHT	0x40	/* in place of the second set: PROT_NONE */

/* Mapped with all, touched with all, then narrowed or not by mprotect. */
static void rights_after_mprotect(struct fixture *f)
{
	uint32_t prot = f->tc->param & NO_RIGHT ? 0 : sets[f->tc->param >> 2 & 3];
	uint32_t range = sets[f->tc->param >> 4 & 3];
	unsigned long addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, PAGE,
					 prot_of(RWX), 3 * PAGE);

	prepare(f);
	map_pages(f, 3, 1, 1, range);
	CALL(f->peer, op_exec, addr);
	CALL(f->peer, op_write, addr + 64, 815);
	EXPECT_CALL(f->peer, op_read, addr);
	EXPECT_CALL(f->peer, op_mprotect, addr, PAGE, prot_of(prot));
	check_accesses(f->peer, addr, prot & range);
	/* All rights of the mapping again: those of the range, no more. */
	EXPECT_CALL(f->peer, op_mprotect, addr, PAGE, prot_of(RWX));
	if (range & W)
		EXPECT_CALL(f->peer, op_write, addr + 64, 815);
	check_accesses(f->peer, addr, range);
}

/* The range's rights change under a mapping with all rights. */
static void rights_after_protect(struct fixture *f)
{
	uint32_t first = sets[f->tc->param >> 2 & 3];
	uint32_t second = sets[f->tc->param >> 4 & 3];
	unsigned long addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, PAGE,
					 prot_of(RWX), 3 * PAGE);

	prepare(f);
	map_pages(f, 3, 1, 1, RWX);
	protect_pages(f, 3, 1, first);
	check_accesses(f->peer, addr, first);
	assert_true(file_set_word(f->file, PAGE + 64, 815));
	protect_pages(f, 3, 1, second);
	check_accesses(f->peer, addr, second);
	assert_true(file_set_word(f->file, PAGE + 64, 815));
	protect_pages(f, 3, 1, first);
	check_accesses(f->peer, addr, first);
}

/* mprotect on clean and on dirty entries alike, page by page, in turns. */
static void mprotect_never_raises_rights(struct fixture *f)
{
	static const int prots[] = {
		PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE, PROT_READ | PROT_WRITE,
	};

	map_pages(f, 0, 0, 8, RW);
	for (int i = 0; i < 8; i += 2)
		WRITES(f, i, 1);
	for (int i = 1; i < 8; i += 2)
		READS(f, i, WORD(i));
	protect_pages(f, 0, 8, R);
	for (size_t i = 0; i < sizeof(prots) / sizeof(prots[0]); i++) {
		EXPECT_CALL(f->peer, op_mprotect, f->view, 8 * PAGE, prots[i]);
		for (int page = 0; page < 8; page++) {
			WRITE_SEGV(f, page);
			if (prots[i] != PROT_NONE)
				READS(f, page, page & 1 ? WORD(page) : 1);
		}
	}
}

static void executes_from_every_backing(struct fixture *f)
{
	unsigned long addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 4 * PAGE,
					 PROT_READ | PROT_EXEC, 0);

	put_code(f->file, 2, 4711);
	map_pages(f, 0, 2, 1, RX);
	map_pages(f, 1, 2, 1, R);
	map_pages(f, 2, 2, 1, RW);
	EXPECT_VALUE(4711, CALL(f->peer, op_exec, addr));
	EXPECT_SEGV(addr + PAGE, CALL(f->peer, op_exec, addr + PAGE));
	EXPECT_SEGV(addr + 2 * PAGE, CALL(f->peer, op_exec, addr + 2 * PAGE));
	EXPECT_SIGBUS(addr + 3 * PAGE, CALL(f->peer, op_exec, addr + 3 * PAGE));
	protect_pages(f, 0, 1, R);
	EXPECT_SEGV(addr, CALL(f->peer, op_exec, addr));
	protect_pages(f, 0, 1, RX);
	EXPECT_VALUE(4711, CALL(f->peer, op_exec, addr));
}

#define ELSEWHERE	(3UL << 30)

static int map_twice(struct fixture *f, unsigned long page, unsigned long file_page)
{
	struct memview_op ops[] = {
		{ .op = MEMVIEW_OP_MAP, .flags = RX, .mem_offset = page * PAGE, .size = PAGE,
		  .fd_offset = file_page * PAGE, .fd = f->file },
		{ .op = MEMVIEW_OP_MAP, .flags = R, .mem_offset = page * PAGE, .size = PAGE,
		  .fd_offset = file_page * PAGE, .fd = f->file },
	};
	struct memview_update_info u = {
		.ops = (uintptr_t)ops, .count = 2, .op_size = sizeof(ops[0]),
	};

	return ioctl(f->ctl, MEMVIEW_UPDATE, &u);
}

/*
 * PROTECT gives back what the range itself was mapped with. What another range of
 * the same file has, near or far, or was to have but for an error, is not its.
 */
static void ceiling_is_the_ranges_own(struct fixture *f)
{
	int file = backing_create(MEMFD, ELSEWHERE + PAGE);

	/* Nobody has asked for X yet, and then one fails to. */
	map_pages(f, 0, 0, 1, R);
	EXPECT_ERRNO(EACCES, mv_protect(f->ctl, 0, PAGE, RX));
	EXPECT_ERRNO(EEXIST, map_twice(f, 1, 1));
	EXPECT_ERRNO(EACCES, mv_protect(f->ctl, 0, PAGE, RX));
	EXPECT_ERRNO(EACCES, mv_protect(f->ctl, 0, PAGE, RW));

	/* Another has it, of the same source, or of the same file elsewhere. */
	map_pages(f, 1, 0, 1, RX);
	EXPECT_ERRNO(EACCES, mv_protect(f->ctl, 0, PAGE, RX));
	EXPECT_ERRNO(EACCES, mv_protect(f->ctl, 0, 2 * PAGE, RX));
	EXPECT_OK(mv_map(f->ctl, file, 0, PAGE, 8 * PAGE, RX));
	EXPECT_OK(mv_map(f->ctl, file, ELSEWHERE, PAGE, 9 * PAGE, R));
	EXPECT_OK(mv_map(f->ctl, file, PAGE, PAGE, 10 * PAGE, R));
	EXPECT_ERRNO(EACCES, mv_protect(f->ctl, 9 * PAGE, PAGE, RX));
	EXPECT_ERRNO(EACCES, mv_protect(f->ctl, 10 * PAGE, PAGE, RX));

	/* Those that have been asked for come back. */
	for (int i = 0; i < 2; i++) {
		EXPECT_OK(mv_protect(f->ctl, PAGE, PAGE, R));
		EXPECT_OK(mv_protect(f->ctl, PAGE, PAGE, RX));
	}
	assert_int_equal(rights_at(f->ctl, 1), RX);
	/* With the range they go. */
	EXPECT_OK(mv_map(f->ctl, f->file, 0, PAGE, PAGE, R | MEMVIEW_MAP_REPLACE));
	EXPECT_ERRNO(EACCES, mv_protect(f->ctl, PAGE, PAGE, RX));
	close(file);
}

/* What is left of a range that has been cut, or was to be, has its ceiling. */
static void ceiling_survives_cuts(struct fixture *f)
{
	struct memview_op ops[] = {
		{ .op = MEMVIEW_OP_PROTECT, .flags = R, .mem_offset = 8 * PAGE, .size = 4 * PAGE },
		{ .op = MEMVIEW_OP_UNMAP, .mem_offset = 9 * PAGE, .size = PAGE },
		{ .op = MEMVIEW_OP_PROTECT, .flags = R, .mem_offset = 9 * PAGE, .size = PAGE },
	};
	struct memview_update_info u = {
		.ops = (uintptr_t)ops, .count = 3, .op_size = sizeof(ops[0]),
	};

	map_pages(f, 0, 0, 8, RWX);
	protect_pages(f, 0, 8, R);
	protect_pages(f, 3, 2, RX);
	unmap_pages(f, 6, 1);
	protect_pages(f, 0, 6, RWX);
	protect_pages(f, 7, 1, RWX);
	for (unsigned long page = 0; page < 8; page++)
		assert_int_equal(rights_at(f->ctl, page), page == 6 ? 0 : RWX);

	/* Undone, it is what it was. */
	map_pages(f, 8, 0, 4, RX);
	EXPECT_REFUSED(f->ctl, ENOENT, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	protect_pages(f, 8, 4, R);
	EXPECT_REFUSED(f->ctl, ENOENT, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	EXPECT_ERRNO(EACCES, mv_protect(f->ctl, 8 * PAGE, 4 * PAGE, RW));
	protect_pages(f, 8, 4, RX);
	assert_int_equal(rights_at(f->ctl, 11), RX);
}

static long op_with_pkey(const long *a)
{
	int key = syscall(SYS_pkey_alloc, 0, a[1]);

	if (key < 0)
		return -1;
	return syscall(SYS_pkey_mprotect, a[0], PAGE, PROT_READ | PROT_WRITE, key);
}

/* The peer's own protection keys hold on view memory as well. */
static void protection_keys_hold(struct fixture *f)
{
	struct outcome o;

	map_pages(f, 0, 0, 4, RW);
	o = CALL(f->peer, op_with_pkey, f->view, 1 /* PKEY_DISABLE_ACCESS */);
	if (o.ret == -1)
		SKIP("no protection keys: %s", strerrorname_np(o.err));
	o = CALL(f->peer, op_read, f->view);
	check_fault(o, SIGSEGV, SEGV_PKUERR, f->view, "read", __FILE__, __LINE__);
	READS(f, 1, WORD(1));
}

/* Control: what the views refuse above, a plain memfd allows. */
static void plain_memfd_allows_all(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, f->file);
	unsigned long addr;

	prepare(f);
	addr = EXPECT_CALL(f->peer, op_mmap, fd, 4 * PAGE, prot_of(RWX), 0);
	check_accesses(f->peer, addr + PAGE, RWX);
}

#define NR_MATRIX	(4 * 4 * 4)
#define NR_PAIRS	(4 * 4)
#define NR_MPROTECT	(5 * 4)
/* With page_mkwrite, with other page tables in the source, and without either. */
#define MPROTECT_ON	(ON(MEMFD) | ON(HUGETLB) | ON(EXT4))

int main(int argc, char **argv)
{
	static const struct test_case others[] = {
		CASE(mprotect_never_raises_rights),
		CASE_ON(executes_from_every_backing, ON_ALL),
		CASE(ceiling_is_the_ranges_own),
		CASE(ceiling_survives_cuts),
		CASE(protection_keys_hold),
		CASE(plain_memfd_allows_all),
	};
	static struct test_case cases[NR_MATRIX + NR_MPROTECT + NR_PAIRS +
				      sizeof(others) / sizeof(others[0])];
	static char variant[NR_MATRIX + NR_MPROTECT + NR_PAIRS][64];
	size_t n = 0;

	for (unsigned int i = 0; i < NR_MATRIX; i++, n++) {
		snprintf(variant[n], sizeof(variant[n]), "fd_%s,mmap_%s,range_%s",
			 names[i & 3], names[i >> 2 & 3], names[i >> 4]);
		cases[n] = (struct test_case)CASE_VARIANT(rights, variant[n], i);
	}
	for (unsigned int i = 0; i < NR_MPROTECT; i++, n++) {
		unsigned int prot = i % 5, range = i / 5;

		snprintf(variant[n], sizeof(variant[n]), "mprotect_%s,range_%s",
			 prot < 4 ? names[prot] : "none", names[range]);
		cases[n] = (struct test_case)
			CASE_VARIANT(rights_after_mprotect, variant[n],
				     (prot < 4 ? prot << 2 : NO_RIGHT) | range << 4);
		cases[n].backings = MPROTECT_ON;
	}
	for (unsigned int i = 0; i < NR_PAIRS; i++, n++) {
		snprintf(variant[n], sizeof(variant[n]), "%s_then_%s",
			 names[i & 3], names[i >> 2]);
		cases[n] = (struct test_case)
			CASE_VARIANT(rights_after_protect, variant[n], i << 2);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cases[n++] = others[i];
	return run_cases(argc, argv, "rights", cases, n);
}
