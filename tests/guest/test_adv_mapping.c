// SPDX-License-Identifier: GPL-2.0
/*
 * What a peer does to its mapping to keep, or get back, what was taken: no call
 * gives it a right that the table does not (R1, R6).
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR 8UL

/* ---- while rights are taken ---- */

/* In the lowest pages, where vm.mmap_min_addr lets root: the span begins with 0. */
#define AT_0	0x100

static long op_mmap_at_0(const long *a)
{
	return (long)mmap(NULL, a[1], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			  (int)a[0], 0);
}

static void taken_from_a_peer_that_changes_its_mapping(struct fixture *f)
{
	char *plain = map_file(f, PROT_READ | PROT_WRITE);
	struct outcome o;

	if (f->tc->param == BY_PKEY) {
		int pkey = pkey_alloc(0, 0);

		if (pkey < 0)
			SKIP("no protection keys");
		pkey_free(pkey);
	}
	if (f->tc->param == BY_UFFD) {
		o = CALL(f->peer, op_mark, f->view, NR * PAGE, true);
		if (o.ret == -1)
			SKIP("no asynchronous write-protection: %s", strerror(o.err));
		EXPECT_CALL(f->peer, op_close, o.ret);
	}
	/* One process more than there is, or 4 MiB, is too much. */
	if (f->tc->param == BY_FAILED_FORK || f->tc->param == BY_OOM) {
		bool oom = f->tc->param == BY_OOM;

		put_text("/sys/fs/cgroup/cgroup.subtree_control", "+pids +memory");
		mkdir("/sys/fs/cgroup/harass", 0755);
		if (!put_text("/sys/fs/cgroup/harass/pids.max", oom ? "max" : "2") ||
		    !put_text("/sys/fs/cgroup/harass/memory.max", oom ? "4M" : "max"))
			SKIP("no cgroup with pids and memory: %s", strerror(errno));
	}
	map_pages(f, 0, 0, NR, RW);
	if (f->tc->param & AT_0) {
		EXPECT_CALL(f->peer, op_munmap, f->view, VIEW_PAGES * PAGE);
		f->view = EXPECT_CALL(f->peer, op_mmap_at_0, f->peer_viewfd, NR * PAGE);
		assert_int_equal(f->view, 0);
	}
	START(f->peer, op_harass, f->view, NR, f->tc->param & ~AT_0, f->peer_viewfd);
	for (int i = 0; i < 12; i++)
		check_taken(f, plain, NR, i & 1);
	wait_loops(2);
	atomic_store(&shared->stop, 1);
	o = FINISH(f->peer, "harassing its mapping");
	EXPECT_VALUE(0, o);
	assert_int_equal(atomic_load(&shared->bad), 0);
	/* It has been at it, and is again with its rights in the end. */
	CALL(f->peer, op_mprotect, f->view, NR * PAGE, PROT_READ | PROT_WRITE);
	WRITES(f, 0, 1);
	/* Of its children, those that never ran included, nothing is left. */
	assert_true(EVENTUALLY(fdinfo(f->ctl, "peers") == 1));
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 0);
}

/* The control: what is written to plain memory arrives, whenever. */
static void plain_memory_is_never_taken(struct fixture *f)
{
	char *plain = map_file(f, PROT_READ | PROT_WRITE);
	int fd = peer_send_fd(f->peer, f->file);
	unsigned long addr = EXPECT_CALL(f->peer, op_mmap, fd, NR * PAGE,
					 PROT_READ | PROT_WRITE, 0);

	map_pages(f, 0, 0, NR, RW);
	START(f->peer, op_harass, addr, NR, BY_NOTHING);
	wait_loops(2);
	EXPECT_OK(mv_revoke(f->ctl));
	op_fill(ARGS((long)plain, NR, CANARY));
	wait_loops(3);
	assert_int_equal(*(volatile uint64_t *)plain, SECRET);
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "harassing"));
	assert_true(atomic_load(&shared->bad) > 0);
}

struct unmapper {
	struct fixture *f;
	char *plain;
	unsigned long first;
	unsigned long nr;
	pthread_barrier_t *barrier;
	bool ok;
};

static void *unmap_span(void *arg)
{
	struct unmapper *u = arg;

	pthread_barrier_wait(u->barrier);
	u->ok = !mv_unmap(u->f->ctl, u->first * PAGE, u->nr * PAGE, NULL);
	/* Whoever comes second finds nothing, and yet must not return too early. */
	op_fill(ARGS((long)(u->plain + u->first * PAGE), u->nr, CANARY));
	return NULL;
}

static void two_threads_unmap_overlapping_spans(struct fixture *f)
{
	char *plain = map_file(f, PROT_READ | PROT_WRITE);
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, 2);
	map_pages(f, 0, 0, 12, RW);
	START(f->peer, op_harass, f->view, 12, BY_NOTHING);
	for (int i = 0; i < 20; i++) {
		struct unmapper u[2] = {
			{ f, plain, 0, 8, &barrier, false },
			{ f, plain, i & 1 ? 4 : 0, 8, &barrier, false },
		};
		pthread_t thread[2];

		wait_loops(1);
		for (int t = 0; t < 2; t++)
			assert_int_equal(pthread_create(&thread[t], NULL, unmap_span, &u[t]), 0);
		for (int t = 0; t < 2; t++)
			pthread_join(thread[t], NULL);
		assert_true(u[0].ok && u[1].ok);
		wait_loops(2);
		for (unsigned long page = 0; page < (i & 1 ? 12 : 8); page++)
			assert_int_equal(*(volatile uint64_t *)(plain + page * PAGE), CANARY);
		op_fill(ARGS((long)plain, 12, 0));
		map_pages(f, 0, 0, 12, RW | MEMVIEW_MAP_REPLACE);
	}
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "harassing"));
	assert_int_equal(atomic_load(&shared->bad), 0);
}

/* ---- after one change ---- */

enum change {
	UNMAP_MIDDLE, UNMAP_BEGIN, UNMAP_END, MAP_OVER, PROTECT_MIDDLE, SHRINK, MOVE,
	MOVE_MIDDLE, FAIL_TO_MOVE, FORK,
	TOUCHED = 16	/* what is left is used again before it is taken */
};

#define MIDDLE	2UL	/* and as many pages as NR / 2 */
#define MOVED	(NR / 2)

/* Moves pages of the view to an address of its own, which is returned. */
static unsigned long move_pages(struct fixture *f, unsigned long page, unsigned long nr)
{
	unsigned long to = EXPECT_CALL(f->peer, op_reserve, nr * PAGE);

	EXPECT_CALL(f->peer, op_mremap, AT(f, page), nr * PAGE, nr * PAGE,
		    MREMAP_MAYMOVE | MREMAP_FIXED, to);
	return to;
}

/* Where the peer has the pages afterwards; 0: nowhere. */
static void change_once(struct fixture *f, enum change change, unsigned long *at)
{
	unsigned long to = 0;

	for (unsigned long i = 0; i < NR; i++)
		at[i] = AT(f, i);
	switch (change) {
	case UNMAP_MIDDLE:
		EXPECT_CALL(f->peer, op_munmap, AT(f, MIDDLE), MOVED * PAGE);
		break;
	case UNMAP_BEGIN:
		EXPECT_CALL(f->peer, op_munmap, AT(f, 0), MIDDLE * PAGE);
		break;
	case UNMAP_END:
		EXPECT_CALL(f->peer, op_munmap, AT(f, MIDDLE), (VIEW_PAGES - MIDDLE) * PAGE);
		break;
	case MAP_OVER:
		/* By another part of the view, where nothing is. */
		EXPECT_CALL(f->peer, op_munmap, AT(f, MIDDLE), MOVED * PAGE);
		EXPECT_CALL(f->peer, op_mremap, AT(f, 2 * NR), MOVED * PAGE, MOVED * PAGE,
			    MREMAP_MAYMOVE | MREMAP_FIXED, AT(f, MIDDLE));
		break;
	case PROTECT_MIDDLE:
		EXPECT_CALL(f->peer, op_mprotect, AT(f, MIDDLE), MOVED * PAGE, PROT_READ);
		break;
	case SHRINK:
		EXPECT_CALL(f->peer, op_mremap, f->view, VIEW_PAGES * PAGE, MIDDLE * PAGE, 0, 0);
		break;
	case MOVE:
		to = move_pages(f, 0, VIEW_PAGES);
		for (unsigned long i = 0; i < NR; i++)
			at[i] = to + i * PAGE;
		break;
	case MOVE_MIDDLE:
		to = move_pages(f, MIDDLE, MOVED);
		for (unsigned long i = 0; i < MOVED; i++)
			at[MIDDLE + i] = to + i * PAGE;
		break;
	case FAIL_TO_MOVE:
		EXPECT_CALL_ERRNO(EINVAL, f->peer, op_mremap, AT(f, MIDDLE), MOVED * PAGE,
				  MOVED * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, -(long)PAGE);
		EXPECT_CALL_ERRNO(EFAULT, f->peer, op_mremap, f->view, VIEW_PAGES * PAGE,
				  2 * VIEW_PAGES * PAGE, MREMAP_MAYMOVE, 0);
		break;
	default:
		break;
	}
	for (unsigned long i = 0; i < NR; i++) {
		bool middle = i >= MIDDLE && i < MIDDLE + MOVED;

		if (((change == UNMAP_MIDDLE || change == MAP_OVER) && middle) ||
		    (change == UNMAP_BEGIN && i < MIDDLE) ||
		    ((change == UNMAP_END || change == SHRINK) && i >= MIDDLE))
			at[i] = 0;
	}
}

/*
 * The peer uses all pages, changes its mapping once, and uses what is left of it
 * again, or not. What is taken then is gone, wherever it is.
 */
static void taken_after_a_change(struct fixture *f)
{
	enum change change = f->tc->param & ~TOUCHED;
	struct peer *p = f->peer;
	unsigned long at[NR];

	map_pages(f, 0, 0, NR, RW);
	for (unsigned long i = 0; i < NR; i++)
		WRITES(f, i, WORD(i));
	change_once(f, change, at);
	if (change == FORK) {
		p = peer_fork(f->peer);
		assert_non_null(p);
	}
	for (unsigned long i = 0; (f->tc->param & TOUCHED) && i < NR; i++)
		if (at[i])
			EXPECT_VALUE(WORD(i), CALL(p, op_read, at[i]));
	unmap_pages(f, 0, NR);
	for (unsigned long i = 0; i < NR; i++)
		if (at[i])
			EXPECT_SIGBUS(at[i], CALL(p, op_read, at[i]));
	/* And the other way round: what is lent again is there again. */
	map_pages(f, 0, NR, NR, R);
	for (unsigned long i = 0; i < NR; i++)
		if (at[i])
			EXPECT_VALUE(WORD(NR + i), CALL(p, op_read, at[i]));
	unmap_pages(f, 0, NR);
	for (unsigned long i = 0; i < NR; i++)
		if (at[i])
			EXPECT_SIGBUS(at[i], CALL(p, op_read, at[i]));
}

/* ---- one call at a time ---- */

static void check_rights_hold(struct fixture *f)
{
	READS(f, 0, WORD(0));
	WRITE_SEGV(f, 0);
	WRITES(f, 4, WORD(4));
	READ_SIGBUS(f, NR);
	WRITE_SIGBUS(f, NR + 1);
	assert_int_equal(file_word(f->file, NR * PAGE), WORD(NR));
}

/* Pages 0 to 3 read-only, 4 to 7 writable, then nothing. */
static void lend_mixed(struct fixture *f)
{
	map_pages(f, 0, 0, NR, RW);
	for (unsigned long i = 0; i < NR; i++)
		WRITES(f, i, WORD(i));
	protect_pages(f, 0, 4, R);
	check_rights_hold(f);
}

static void madvise_gives_no_right(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, f->file);
	unsigned long plain = EXPECT_CALL(f->peer, op_mmap, fd, f->file_size,
					  PROT_READ | PROT_WRITE, 0);

	lend_mixed(f);
	EXPECT_CALL(f->peer, op_madvise_all, f->view, 2 * NR * PAGE);
	check_rights_hold(f);
	/* Nothing that touches pages is taken; on plain memory it is. */
	EXPECT_CALL_ERRNO(EINVAL, f->peer, op_madvise, f->view, NR * PAGE, MADV_DONTNEED);
	EXPECT_CALL(f->peer, op_madvise, plain, unit(f), MADV_DONTNEED);
	EXPECT_CALL_ERRNO(EINVAL, f->peer, op_madvise, f->view, NR * PAGE, MADV_DODUMP);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_madvise, f->view, PAGE, MADV_HWPOISON);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_madvise, f->view, PAGE, MADV_SOFT_OFFLINE);
	check_rights_hold(f);
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 0);
	WRITE_SIGBUS(f, 4);
}

static void peer_cannot_punch_the_file(struct fixture *f)
{
	lend_mixed(f);
	assert_int_equal(CALL(f->peer, op_madvise, f->view, NR * PAGE, MADV_REMOVE).ret, -1);
	check_rights_hold(f);
	assert_int_equal(file_word(f->file, 4 * PAGE), WORD(4));
}

static long op_mlock(const long *a)
{
	return mlock((void *)a[0], a[1]);
}

static long op_mlockall(const long *a)
{
	return mlockall((int)a[0]);
}

static void locking_and_populating_give_no_right(struct fixture *f)
{
	static const int flags[] = { MAP_POPULATE, MAP_LOCKED, MAP_POPULATE | MAP_LOCKED,
				     MAP_NORESERVE, MAP_POPULATE | MAP_NONBLOCK };

	lend_mixed(f);
	CALL(f->peer, op_mlock, f->view, 2 * NR * PAGE);
	check_rights_hold(f);
	CALL(f->peer, op_mlockall, MCL_CURRENT | MCL_FUTURE);
	check_rights_hold(f);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		unsigned long view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd,
						 2 * NR * PAGE, PROT_READ | PROT_WRITE, 0,
						 MAP_SHARED | flags[i]);

		EXPECT_SEGV(view, CALL(f->peer, op_write, view, 1));
		EXPECT_SIGBUS(view + NR * PAGE, CALL(f->peer, op_read, view + NR * PAGE));
		EXPECT_VALUE(WORD(4), CALL(f->peer, op_read, view + 4 * PAGE));
	}
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, 4);
}

static void odd_mmap_flags_are_refused(struct fixture *f)
{
	int fd = f->peer_viewfd;
	const int rw = PROT_READ | PROT_WRITE;

	lend_mixed(f);
	EXPECT_CALL_ERRNO(EOPNOTSUPP, f->peer, op_mmap, fd, PAGE, rw, 0,
			  MAP_SHARED_VALIDATE | 0x80000 /* MAP_SYNC */);
	EXPECT_CALL_ERRNO(EINVAL, f->peer, op_mmap, fd, PAGE, rw, 0, MAP_SHARED | MAP_GROWSDOWN);
	EXPECT_CALL_ERRNO(EINVAL, f->peer, op_mmap, fd, PAGE, rw, 0, MAP_SHARED | MAP_HUGETLB);
	EXPECT_CALL_ERRNO(EINVAL, f->peer, op_mmap, fd, PAGE, rw, 0, MAP_PRIVATE);
	EXPECT_CALL_ERRNO(EINVAL, f->peer, op_mmap, fd, PAGE, PROT_READ, 0, MAP_PRIVATE);
	EXPECT_CALL(f->peer, op_mmap, fd, PAGE, rw, 0, MAP_SHARED_VALIDATE);
	check_rights_hold(f);
}

static void mremap_gives_no_second_mapping(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, f->file);
	unsigned long plain = EXPECT_CALL(f->peer, op_mmap, fd, NR * PAGE, PROT_READ, 0);
	unsigned long size = VIEW_PAGES * PAGE;
	struct outcome o;

	lend_mixed(f);
	/* Old length 0 duplicates a shared mapping: not this one. */
	EXPECT_CALL(f->peer, op_mremap, plain, 0, PAGE, MREMAP_MAYMOVE, 0);
	o = CALL(f->peer, op_mremap, f->view, 0, PAGE, MREMAP_MAYMOVE, 0);
	assert_int_equal(o.ret, -1);
	EXPECT_CALL_ERRNO(EINVAL, f->peer, op_mremap, f->view, size, size,
			  MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_mremap, f->view, size, size + PAGE,
			  MREMAP_MAYMOVE, 0);
	check_rights_hold(f);
	/* Shrinking is its own business. */
	EXPECT_CALL(f->peer, op_mremap, f->view, size, 2 * NR * PAGE, 0, 0);
	check_rights_hold(f);
}

static long op_clear_refs(const long *a)
{
	char text[2] = { '0' + (char)a[0] };

	return put_text("/proc/self/clear_refs", text) ? 0 : -1;
}

/* -> the entry of pagemap */
static long op_pagemap(const long *a)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;
	ssize_t n = pread(fd, &entry, 8, (unsigned long)a[0] / PAGE * 8);

	close(fd);
	return n == 8 ? (long)(entry & ~(1ULL << 55)) : -1;
}

static void soft_dirty_tracking_gives_no_right(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, f->file);
	unsigned long plain = EXPECT_CALL(f->peer, op_mmap, fd, NR * PAGE,
					  PROT_READ | PROT_WRITE, 0);

	lend_mixed(f);
	for (int what = 1; what <= 5; what++) {
		EXPECT_CALL(f->peer, op_clear_refs, what);
		check_rights_hold(f);
	}
	/* Dirty, read-only by mprotect, soft-clean, writable again. */
	WRITES(f, 4, WORD(4));
	EXPECT_CALL(f->peer, op_mprotect, f->view, NR * PAGE, PROT_READ);
	EXPECT_CALL(f->peer, op_clear_refs, 4);
	protect_pages(f, 4, 4, R);
	READS(f, 4, WORD(4));
	EXPECT_CALL(f->peer, op_mprotect, f->view, NR * PAGE, PROT_READ | PROT_WRITE);
	WRITE_SEGV(f, 4);
	EXPECT_CALL(f->peer, op_clear_refs, 4);
	WRITE_SEGV(f, 4);
	/* Nor does it tell where the page is. */
	EXPECT_CALL(f->peer, op_write, plain, 1);
	assert_int_not_equal(EXPECT_CALL(f->peer, op_pagemap, plain), 0);
	EXPECT_VALUE(0, CALL(f->peer, op_pagemap, AT(f, 4)));
}

static long op_uffd_modes(const long *a)
{
	static const uint64_t modes[] = { UFFDIO_REGISTER_MODE_MISSING,
					  UFFDIO_REGISTER_MODE_WP,
					  UFFDIO_REGISTER_MODE_MINOR };
	long taken = 0;

	for (int i = 0; i < 3; i++) {
		struct uffdio_api api = {
			.api = UFFD_API,
			.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
				    UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM |
				    UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
		};
		struct uffdio_register reg = {
			.range = { .start = a[0], .len = a[1] }, .mode = modes[i],
		};
		int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

		if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
			return -1;
		if (!ioctl(fd, UFFDIO_REGISTER, &reg))
			taken++;
		else if (errno != EINVAL)
			return -1;
		close(fd);
	}
	return taken;
}

static void userfaultfd_on_the_view_is_refused(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, f->file);
	unsigned long plain = EXPECT_CALL(f->peer, op_mmap, fd, NR * PAGE,
					  PROT_READ | PROT_WRITE, 0);
	struct outcome o = CALL(f->peer, op_uffd_modes, plain, NR * PAGE);

	if (o.ret == -1)
		SKIP("userfaultfd: %s", strerror(o.err));
	assert_true(o.ret > 0);
	lend_mixed(f);
	EXPECT_VALUE(0, CALL(f->peer, op_uffd_modes, f->view, NR * PAGE));
	check_rights_hold(f);
}

static long op_pread(const long *a)
{
	return pread((int)a[0], (void *)a[1], a[2], a[3]);
}

static void markers_of_userfaultfd_stop_no_fault(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, make_file(MEMFD, FILE_PAGES * PAGE, 100));
	struct outcome o = CALL(f->peer, op_mark, f->view, 2 * NR * PAGE, true);

	if (o.ret == -1)
		SKIP("no asynchronous write-protection: %s", strerror(o.err));
	map_pages(f, 0, 0, NR, RW);
	START(f->peer, op_read, AT(f, 0));
	EXPECT_VALUE(WORD(0), FINISH(f->peer, "read of a marked page"));
	START(f->peer, op_write, AT(f, 1), (long)WORD(1));
	EXPECT_VALUE(0, FINISH(f->peer, "write to a marked page"));
	/* In kernel mode, where no signal would end it. */
	START(f->peer, op_pread, fd, AT(f, 2), PAGE, 0);
	EXPECT_VALUE(PAGE, FINISH(f->peer, "read(2) into a marked page"));
	unmap_pages(f, 0, NR);
	map_pages(f, 0, 0, NR, RW);
	START(f->peer, op_read, AT(f, 2));
	EXPECT_VALUE(WORD(100), FINISH(f->peer, "read of a page marked by the zap"));
	protect_pages(f, 0, NR, R);
	START(f->peer, op_write, AT(f, 2), 1);
	EXPECT_SEGV((unsigned long)AT(f, 2), FINISH(f->peer, "write to a read-only range"));
	unmap_pages(f, 0, NR);
	START(f->peer, op_read, AT(f, 2));
	EXPECT_SIGBUS((unsigned long)AT(f, 2), FINISH(f->peer, "read of nothing"));
}

/* 6.7; the headers may be older. */
#ifndef PAGEMAP_SCAN
#define PM_SCAN_WP_MATCHING	(1 << 0)
#define PM_SCAN_CHECK_WPASYNC	(1 << 1)
#define PAGE_IS_WRITTEN		(1 << 1)
#define PAGE_IS_PRESENT		(1 << 3)

struct page_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

struct pm_scan_arg {
	uint64_t size;
	uint64_t flags;
	uint64_t start;
	uint64_t end;
	uint64_t walk_end;
	uint64_t vec;
	uint64_t vec_len;
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;
	uint64_t category_anyof_mask;
	uint64_t return_mask;
};

#define PAGEMAP_SCAN	_IOWR('f', 16, struct pm_scan_arg)
#endif

/* Address, length, PM_SCAN_*, categories: -> pages in the regions found */
static long op_pagemap_scan(const long *a)
{
	struct page_region regions[16];
	struct pm_scan_arg arg = {
		.size = sizeof(arg), .flags = a[2], .start = a[0], .end = a[0] + a[1],
		.vec = (uintptr_t)regions, .vec_len = 16,
		.category_anyof_mask = a[3], .return_mask = a[3],
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	long ret = ioctl(fd, PAGEMAP_SCAN, &arg), pages = 0;
	int err = errno;

	close(fd);
	errno = err;
	for (long i = 0; i < ret; i++)
		pages += (regions[i].end - regions[i].start) / PAGE;
	return ret < 0 ? -1 : pages;
}

/* As above, with nothing to be reported: the kernel has a way of its own for it. */
static long op_pagemap_protect(const long *a)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg), .flags = PM_SCAN_WP_MATCHING, .start = a[0],
		.end = a[0] + a[1],
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	long ret = ioctl(fd, PAGEMAP_SCAN, &arg);

	close(fd);
	return ret;
}

/* Finds no page of the view, whatever it is asked for, and changes none. */
static void scan_view(struct fixture *f)
{
	const long len = 2 * NR * PAGE;

	EXPECT_VALUE(0, CALL(f->peer, op_pagemap_scan, f->view, len, 0,
			     PAGE_IS_PRESENT | PAGE_IS_WRITTEN));
	EXPECT_VALUE(0, CALL(f->peer, op_pagemap_scan, f->view, len, PM_SCAN_WP_MATCHING,
			     PAGE_IS_PRESENT | PAGE_IS_WRITTEN));
	EXPECT_VALUE(0, CALL(f->peer, op_pagemap_scan, f->view, len, PM_SCAN_WP_MATCHING,
			     PAGE_IS_WRITTEN));
	EXPECT_VALUE(0, CALL(f->peer, op_pagemap_protect, f->view, len));
}

static void pagemap_scan_gives_no_right(struct fixture *f)
{
	int fd = peer_send_fd(f->peer, f->file);
	unsigned long plain = EXPECT_CALL(f->peer, op_mmap, fd, f->file_size,
					  PROT_READ | PROT_WRITE, 0);
	struct outcome o = CALL(f->peer, op_mark, plain, f->file_size, false), track;
	const long flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC;

	if (o.ret == -1)
		SKIP("no asynchronous write-protection: %s", strerror(o.err));
	EXPECT_CALL(f->peer, op_write, plain, (long)WORD(0));
	o = CALL(f->peer, op_pagemap_scan, plain, f->file_size, flags, PAGE_IS_WRITTEN);
	if (o.ret == -1 && o.err == ENOTTY)
		SKIP("no PAGEMAP_SCAN");
	/* The control: it is found, protected, and found again when it is written. */
	assert_true(EXPECT_CALL(f->peer, op_write, plain, (long)WORD(0)) == 0 && o.ret > 0);
	EXPECT_VALUE(unit(f) / PAGE, CALL(f->peer, op_pagemap_scan, plain, f->file_size, flags,
					  PAGE_IS_WRITTEN));

	lend_mixed(f);
	scan_view(f);
	/* As if nothing was there, or not for asking. */
	EXPECT_CALL_ERRNO(EPERM, f->peer, op_pagemap_scan, f->view, NR * PAGE, flags,
			  PAGE_IS_WRITTEN);
	check_rights_hold(f);
	/* 7.2 refuses to track it. */
	track = CALL(f->peer, op_mark, f->view, 2 * NR * PAGE, false);
	if (track.ret == -1)
		assert_int_equal(track.err, EINVAL);
	scan_view(f);
	check_rights_hold(f);
	/* Dirty, scanned, narrowed, scanned, given back, narrowed, no longer tracked. */
	WRITES(f, 5, WORD(5));
	scan_view(f);
	protect_pages(f, 4, 4, R);
	scan_view(f);
	READS(f, 5, WORD(5));
	WRITE_SEGV(f, 5);
	protect_pages(f, 4, 4, RW);
	WRITES(f, 5, WORD(5));
	protect_pages(f, 4, 4, R);
	scan_view(f);
	if (track.ret != -1)
		EXPECT_CALL(f->peer, op_close, track.ret);
	for (unsigned long i = 0; i < NR; i++) {
		WRITE_SEGV(f, i);
		READS(f, i, WORD(i));
	}
	unmap_pages(f, 0, NR);
	scan_view(f);
	READ_SIGBUS(f, 5);
}

/*
 * Who takes write-protection back from a dirty entry gets W without a fault,
 * where the mapping has it: the narrowing must have left no such entry.
 */
static void write_protection_taken_back_gives_no_right(struct fixture *f)
{
	struct outcome o = CALL(f->peer, op_mark, f->view, NR * PAGE, false);
	int uffd = (int)o.ret;

	if (uffd == -1)
		SKIP("no asynchronous write-protection: %s", strerror(o.err));
	lend(f, NR, RW);
	EXPECT_CALL(f->peer, op_write_protect, uffd, f->view, NR * PAGE, true);
	protect_pages(f, 0, NR - 1, R);
	/* One that has an entry again, one that is written to as it is. */
	READS(f, 0, WORD(0));
	READS(f, 1, WORD(1));
	WRITE_SEGV(f, 1);
	EXPECT_CALL(f->peer, op_write_protect, uffd, f->view, NR * PAGE, false);
	for (unsigned long i = 0; i < NR - 1; i++)
		WRITE_SEGV(f, i);
	WRITES(f, NR - 1, 1);
	/* Dirty and protected again, and the other order. */
	protect_pages(f, 0, NR, RW);
	for (unsigned long i = 0; i < NR; i++)
		WRITES(f, i, WORD(i));
	protect_pages(f, 0, NR, R);
	READS(f, 0, WORD(0));
	EXPECT_CALL(f->peer, op_write_protect, uffd, f->view, NR * PAGE, true);
	EXPECT_CALL(f->peer, op_close, uffd);
	for (unsigned long i = 0; i < NR; i++)
		WRITE_SEGV(f, i);
	assert_int_equal(file_word(f->file, 0), WORD(0));
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 0);
}

static long op_remap_file_pages(const long *a)
{
	return syscall(SYS_remap_file_pages, a[0], a[1], 0, a[2], 0);
}

/* remap_file_pages(2) shows other pages of the view at an address: by the table. */
static void remap_file_pages_shows_the_view(struct fixture *f)
{
	struct outcome o;

	lend_mixed(f);
	o = CALL(f->peer, op_remap_file_pages, f->view, 2 * PAGE, 4);
	if (o.ret)
		SKIP("remap_file_pages: %s", strerror(o.err));
	READS(f, 0, WORD(4));
	WRITES(f, 1, 5);
	assert_int_equal(file_word(f->file, 5 * PAGE), 5);
	EXPECT_CALL(f->peer, op_remap_file_pages, f->view, 2 * PAGE, NR);
	READ_SIGBUS(f, 0);
	EXPECT_CALL(f->peer, op_remap_file_pages, f->view, 2 * PAGE, 2);
	READS(f, 0, WORD(2));
	WRITE_SEGV(f, 1);
	EXPECT_CALL(f->peer, op_remap_file_pages, f->view, 2 * PAGE, 4);
	unmap_pages(f, 4, 2);
	READ_SIGBUS(f, 0);
	WRITE_SIGBUS(f, 1);
}

static long op_pkey_mprotect(const long *a)
{
	int pkey = pkey_alloc(0, 0);
	long ret;

	if (pkey < 0)
		return -1;
	ret = pkey_mprotect((void *)a[0], a[1], (int)a[2], pkey);
	return ret ? ret : pkey;
}

/* address, key, rights of the key: a signal handler starts without any. */
static long op_keyed_write(const long *a)
{
	if (pkey_set((int)a[1], (unsigned int)a[2]))
		return -1;
	return op_write(ARGS(a[0], (long)WORD(4)));
}

static void protection_keys_stay_with_the_mapping(struct fixture *f)
{
	struct outcome o, key;

	lend_mixed(f);
	key = CALL(f->peer, op_pkey_mprotect, f->view, 2 * NR * PAGE, PROT_READ | PROT_WRITE);
	if (key.ret == -1)
		SKIP("no protection keys: %s", strerror(key.err));
	/* Entries that are made anew have the key, too. */
	for (int i = 0; i < 3; i++) {
		EXPECT_CALL(f->peer, op_keyed_write, AT(f, 4), key.ret, 0);
		o = CALL(f->peer, op_keyed_write, AT(f, 4), key.ret, PKEY_DISABLE_WRITE);
		assert_int_equal(o.sig, SIGSEGV);
		assert_int_equal(o.code, SEGV_PKUERR);
		o = CALL(f->peer, op_keyed_write, AT(f, 5), key.ret, PKEY_DISABLE_WRITE);
		assert_int_equal(o.code, SEGV_PKUERR);
		protect_pages(f, 4, 4, R);
		EXPECT_SEGV((unsigned long)AT(f, 4),
			    CALL(f->peer, op_keyed_write, AT(f, 4), key.ret, 0));
		protect_pages(f, 4, 4, RW);
	}
	unmap_pages(f, 0, NR);
	EXPECT_SIGBUS((unsigned long)AT(f, 4),
		      CALL(f->peer, op_keyed_write, AT(f, 4), key.ret, 0));
}

#define HARASS(way) \
	{ .name = "taken_from_a_peer_that_changes_its_mapping", \
	  .run = taken_from_a_peer_that_changes_its_mapping, .variant = #way, \
	  .param = way, .backings = ON(MEMFD) | ON(HUGETLB) | ON(EXT4) }

#define HARASS_AT_0(way) \
	{ .name = "taken_from_a_peer_that_changes_its_mapping", \
	  .run = taken_from_a_peer_that_changes_its_mapping, .variant = #way " at address 0", \
	  .param = way | AT_0, .backings = ON(MEMFD) | ON(HUGETLB) }

#define CHANGED(how) \
	{ .name = "taken_after_a_change", .run = taken_after_a_change, \
	  .variant = #how, .param = how }, \
	{ .name = "taken_after_a_change", .run = taken_after_a_change, \
	  .variant = #how ", touched", .param = how | TOUCHED }

static const struct test_case cases[] = {
	HARASS(BY_NOTHING),
	HARASS(BY_MPROTECT),
	HARASS(BY_SPLIT),
	HARASS(BY_MREMAP),
	HARASS(BY_MADVISE),
	HARASS(BY_MLOCK),
	HARASS(BY_CLEAR_REFS),
	HARASS(BY_PKEY),
	HARASS(BY_REMAP_FILE_PAGES),
	HARASS(BY_UFFD),
	HARASS(BY_FORK),
	HARASS(BY_MUNMAP),
	HARASS(BY_MAP_FIXED),
	HARASS(BY_SHRINK),
	HARASS(BY_FAILED_MOVE),
	HARASS(BY_DUPLICATE),
	HARASS(BY_POLICY),
	HARASS(BY_EXEC),
	HARASS(BY_CHILDS_EXIT),
	HARASS(BY_FAILED_FORK),
	HARASS(BY_HALF_A_FORK),
	HARASS(BY_OOM),
	HARASS_AT_0(BY_MPROTECT),
	HARASS_AT_0(BY_SPLIT),
	HARASS_AT_0(BY_MREMAP),
	HARASS_AT_0(BY_MUNMAP),
	HARASS_AT_0(BY_MAP_FIXED),
	HARASS_AT_0(BY_SHRINK),
	HARASS_AT_0(BY_CHILDS_EXIT),
	CHANGED(UNMAP_MIDDLE),
	CHANGED(UNMAP_BEGIN),
	CHANGED(UNMAP_END),
	CHANGED(MAP_OVER),
	CHANGED(PROTECT_MIDDLE),
	CHANGED(SHRINK),
	CHANGED(MOVE),
	CHANGED(MOVE_MIDDLE),
	CHANGED(FAIL_TO_MOVE),
	CHANGED(FORK),
	CASE(plain_memory_is_never_taken),
	CASE_ON(two_threads_unmap_overlapping_spans, ON_ALL),
	CASE_ON(madvise_gives_no_right, ON_ALL),
	CASE_ON(peer_cannot_punch_the_file, ON_ALL),
	CASE_ON(locking_and_populating_give_no_right, ON_ALL),
	CASE(odd_mmap_flags_are_refused),
	CASE(mremap_gives_no_second_mapping),
	CASE_ON(soft_dirty_tracking_gives_no_right, ON(MEMFD) | ON(EXT4)),
	CASE(userfaultfd_on_the_view_is_refused),
	CASE_ON(markers_of_userfaultfd_stop_no_fault, ON(MEMFD) | ON(HUGETLB) | ON(EXT4)),
	CASE_ON(pagemap_scan_gives_no_right, ON(MEMFD) | ON(HUGETLB)),
	CASE_ON(write_protection_taken_back_gives_no_right,
		ON(MEMFD) | ON(HUGETLB) | ON(EXT4)),
	CASE(remap_file_pages_shows_the_view),
	CASE_ON(protection_keys_stay_with_the_mapping, ON_ALL),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adv_mapping", cases);
}
