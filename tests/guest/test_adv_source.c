// SPDX-License-Identifier: GPL-2.0
/*
 * The controller, or somebody in its process, tampers with the mappings that
 * the driver made in it. The peer then has no access, or access to what the
 * table says, and never sees foreign memory (R4, trap 4 of the design). Each
 * case looks through the tampered address itself: that is the control.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR	8UL	/* pages lent */

/* MAP_FD on the same span makes a fresh source. */
static void lend_again(struct fixture *f)
{
	map_pages(f, 0, 0, NR, RW | MEMVIEW_MAP_REPLACE);
	for (unsigned long i = 0; i < NR; i++) {
		READS(f, i, WORD(i));
		WRITES(f, i, WORD(i));
	}
}

static void check_file(struct fixture *f)
{
	for (unsigned long i = 0; i < NR; i++)
		assert_int_equal(file_word(f->file, i * PAGE), WORD(i));
}

/* ---- munmap(2), mremap(2), mprotect(2) ---- */

static void munmapped_source_gives_nothing(struct fixture *f)
{
	struct mapping m;
	char *source;

	lend(f, NR, RW);
	source = source_at(f, 0);
	m = source_mapping(f, 0);
	EXPECT_OK(munmap((void *)m.start, m.end - m.start));
	assert_int_equal(PROBE(op_read, (long)source).sig, SIGSEGV);
	for (unsigned long i = 0; i < NR; i++) {
		READ_SIGBUS(f, i);
		WRITE_SIGBUS(f, i);
	}
	assert_int_equal(source_addr_at(f->ctl, 0), 0);
	check_file(f);
	lend_again(f);
}

static void partly_munmapped_source_gives_nothing_foreign(struct fixture *f)
{
	char *source;

	lend(f, NR, RW);
	source = source_at(f, 0);
	EXPECT_OK(munmap(source, unit(f)));
	assert_int_equal(PROBE(op_read, (long)source).sig, SIGSEGV);
	READ_SIGBUS(f, 0);
	WRITE_SIGBUS(f, 0);
	check_not_foreign(f, NR);
	check_file(f);
	lend_again(f);
}

static void moved_source_gives_nothing_foreign(struct fixture *f)
{
	struct mapping m;
	char *source, *to;
	size_t len;

	lend(f, NR, RW);
	source = source_at(f, 0);
	m = source_mapping(f, 0);
	len = m.end - m.start;
	to = mremap((void *)m.start, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
		    (void *)(m.start - 4 * len));
	assert_ptr_not_equal(to, MAP_FAILED);
	assert_int_equal(PROBE(op_read, (long)source).sig, SIGSEGV);
	READ_SIGBUS(f, 0);
	WRITE_SIGBUS(f, 1);
	/* What it was is the controller's own now. */
	*(volatile uint64_t *)(to + ((unsigned long)source - m.start)) = SECRET;
	READ_SIGBUS(f, 0);
	assert_int_equal(file_word(f->file, 0), SECRET);
	assert_true(file_set_word(f->file, 0, WORD(0)));
	lend_again(f);
	EXPECT_OK(munmap(to, len));
	READS(f, 0, WORD(0));
}

/* mremap(2) to and fro: nothing in between may be seen from the old place. */
static void source_moved_away_and_back(struct fixture *f)
{
	struct mapping m;
	char *to, *back;
	size_t len;

	lend(f, NR, RW);
	m = source_mapping(f, 0);
	len = m.end - m.start;
	to = mremap((void *)m.start, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
		    (void *)(m.start - 4 * len));
	assert_ptr_not_equal(to, MAP_FAILED);
	back = mremap(to, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)m.start);
	assert_ptr_equal(back, (void *)m.start);
	check_not_foreign(f, NR);
	unmap_pages(f, 0, NR);
	for (unsigned long i = 0; i < NR; i++)
		READ_SIGBUS(f, i);
	check_file(f);
}

static void source_moved_with_dontunmap(struct fixture *f)
{
	struct mapping m;
	size_t len;
	char *to;

	lend(f, NR, RW);
	m = source_mapping(f, 0);
	len = m.end - m.start;
	to = mremap((void *)m.start, len, len, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	assert_ptr_not_equal(to, MAP_FAILED);
	check_not_foreign(f, NR);
	EXPECT_OK(munmap(to, len));
	check_not_foreign(f, NR);
	check_file(f);
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 3);
}

static void shrunk_source_gives_nothing_foreign(struct fixture *f)
{
	struct mapping m;
	size_t len;

	lend(f, NR, RW);
	m = source_mapping(f, 0);
	len = m.end - m.start;
	EXPECT_OK(mremap((void *)m.start, len, len - unit(f), 0) == MAP_FAILED ? -1 : 0);
	check_not_foreign(f, NR);
	check_file(f);
	lend_again(f);
}

static void source_made_inaccessible_and_back(struct fixture *f)
{
	struct mapping m;
	char *source;
	size_t len;

	lend(f, NR, RW);
	source = source_at(f, 0);
	m = source_mapping(f, 0);
	len = m.end - m.start;
	for (int i = 0; i < 3; i++) {
		EXPECT_OK(mprotect((void *)m.start, len, PROT_NONE));
		assert_int_equal(PROBE(op_read, (long)source).sig, SIGSEGV);
		READ_SIGBUS(f, 0);
		WRITE_SIGBUS(f, 1);
		EXPECT_OK(mprotect((void *)m.start, len, PROT_READ));
		READS(f, 0, WORD(0));
		WRITE_SIGBUS(f, 0);
		WRITE_SIGBUS(f, 1);
		EXPECT_OK(mprotect((void *)m.start, len, PROT_READ | PROT_WRITE));
		WRITES(f, 0, WORD(0));
		WRITES(f, 1, WORD(1));
	}
	check_file(f);
}

static void read_only_range_on_a_source_made_writable(struct fixture *f)
{
	struct mapping m;

	lend(f, NR, R);
	m = source_mapping(f, 0);
	EXPECT_OK(mprotect((void *)m.start, m.end - m.start, PROT_READ | PROT_WRITE));
	*(volatile uint64_t *)source_at(f, 0) = WORD(0);
	READS(f, 0, WORD(0));
	WRITE_SEGV(f, 0);
	WRITE_SEGV(f, 1);
	check_file(f);
}

static void source_split_into_pieces(struct fixture *f)
{
	char *source;

	lend(f, NR, RW);
	source = source_at(f, 0);
	for (int i = 0; i < 8; i += 2)
		EXPECT_OK(mprotect(source + i * PAGE, PAGE, PROT_READ));
	for (int i = 0; i < 8; i++) {
		READS(f, i, WORD(i));
		if (i & 1)
			WRITES(f, i, WORD(i));
		else
			WRITE_SIGBUS(f, i);
	}
	EXPECT_OK(mprotect(source, NR * PAGE, PROT_READ | PROT_WRITE));
	for (int i = 0; i < 8; i++)
		WRITES(f, i, WORD(i));
	unmap_pages(f, 0, NR);
	for (int i = 0; i < 8; i++)
		READ_SIGBUS(f, i);
}

/* ---- something else in its place ---- */

enum foreign {
	ANON, PRIVATE, OTHER_FILE, OTHER_OFFSET, REOPENED, SAME, OWN_VIEW,
	OTHER_VIEW, GUARD,
};

/* Fills @len bytes at @at, over the source's first pages; true: foreign. */
static bool put_there(struct fixture *f, char *at, size_t len)
{
	int flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
	int prot = PROT_READ | PROT_WRITE;
	bool foreign = true;
	unsigned long off = 0;
	int fd = f->file;
	int ctl;

	switch ((enum foreign)f->tc->param) {
	case ANON:
		fd = -1;
		flags |= MAP_ANONYMOUS;
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
		foreign = false;
		break;
	case SAME:
		foreign = false;
		break;
	case OWN_VIEW:
		fd = f->viewfd;
		break;
	case OTHER_VIEW:
		ctl = mv_open();
		EXPECT_OK(mv_set_size(ctl, 2UL << 30));
		EXPECT_OK(mv_map(ctl, f->file, 0, NR * PAGE, 0, RW));
		fd = mv_viewfd(ctl);
		break;
	case GUARD:
		prot = PROT_NONE;
		flags |= MAP_ANONYMOUS;
		fd = -1;
		break;
	}
	assert_ptr_equal(mmap(at, len, prot, flags, fd, off), at);
	return foreign;
}

static void check_replaced(struct fixture *f, bool whole)
{
	bool views = f->tc->param == OWN_VIEW || f->tc->param == OTHER_VIEW;
	size_t len, secrets = 0;
	struct mapping m;
	char *source;
	bool foreign;

	lend(f, NR, RW);
	source = source_at(f, 0);
	m = source_mapping(f, 0);
	len = whole ? m.end - m.start : unit(f);
	foreign = put_there(f, whole ? (char *)m.start : source, len);
	if (foreign && !views && f->tc->param != GUARD) {
		/* What must stay the controller's own. */
		secrets = whole && !(f->tc->param == OTHER_OFFSET) ? NR : 1;
		for (size_t i = 0; i < secrets; i++)
			*(volatile uint64_t *)(source + i * PAGE) = SECRET;
	}
	if (f->tc->param == OTHER_OFFSET) {
		/* Page 0 of the source is another page of the file now. */
		READ_SIGBUS(f, 0);
		WRITE_SIGBUS(f, 0);
	} else if (foreign) {
		for (unsigned long i = 0; i < (whole ? NR : 1); i++) {
			READ_SIGBUS(f, i);
			WRITE_SIGBUS(f, i);
		}
		check_not_foreign(f, NR);
	} else {
		check_not_foreign(f, NR);
	}
	for (size_t i = 0; i < secrets; i++)
		assert_int_equal(*(volatile uint64_t *)(source + i * PAGE), SECRET);
	if (f->tc->param == OTHER_OFFSET)
		assert_true(file_set_word(f->file, unit(f), WORD(unit(f) / PAGE)));
	check_file(f);
	/* Invalidations of a replaced source must end, and do no harm. */
	assert_int_equal(ftruncate(f->file, 0), 0);
	assert_int_equal(ftruncate(f->file, f->file_size), 0);
	for (unsigned long i = 0; i < NR; i++)
		assert_true(file_set_word(f->file, i * PAGE, WORD(i)));
	lend_again(f);
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 0);
	EXPECT_OK(munmap((void *)m.start, m.end - m.start));
}

static void source_replaced(struct fixture *f)
{
	check_replaced(f, true);
}

static void source_replaced_in_part(struct fixture *f)
{
	check_replaced(f, false);
}

/* Two sources, each replaced by a view of the other: zaps that chase each other. */
static void sources_replaced_by_views_of_each_other(struct fixture *f)
{
	int other = make_file(f->backing, f->file_size, 1000);
	int ctl = mv_open(), viewfd;
	struct mapping a, b;
	uint64_t addr;

	EXPECT_OK(mv_set_size(ctl, VIEW_PAGES * PAGE));
	EXPECT_OK(mv_map(ctl, other, 0, NR * PAGE, 0, RW));
	viewfd = mv_viewfd(ctl);
	lend(f, NR, RW);
	a = source_mapping(f, 0);
	addr = source_addr_at(ctl, 0);
	assert_true(mapping_at(addr, &b));
	for (int round = 0; round < 3; round++) {
		assert_ptr_equal(mmap((void *)a.start, a.end - a.start,
				      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
				      viewfd, 0), a.start);
		PROBE(op_read, a.start);
		assert_ptr_equal(mmap((void *)b.start, b.end - b.start,
				      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
				      f->viewfd, 0), b.start);
		PROBE(op_read, b.start);
		PROBE(op_read, a.start);
		check_not_foreign(f, NR);
		assert_int_equal(ftruncate(other, 0), 0);
		assert_int_equal(ftruncate(other, f->file_size), 0);
		assert_int_equal(ftruncate(f->file, 0), 0);
		assert_int_equal(ftruncate(f->file, f->file_size), 0);
		for (unsigned long i = 0; i < NR; i++)
			assert_true(file_set_word(f->file, i * PAGE, WORD(i)));
		/* Fresh ones, which have the views of the last round around. */
		EXPECT_OK(mv_map(ctl, other, 0, NR * PAGE, 0, RW | MEMVIEW_MAP_REPLACE));
		lend_again(f);
		PROBE(op_read, a.start);
		PROBE(op_read, b.start);
		a = source_mapping(f, 0);
		addr = source_addr_at(ctl, 0);
		assert_true(mapping_at(addr, &b));
	}
	EXPECT_OK(mv_revoke(ctl));
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 0);
}

/* Peers that look all the time, while the source is replaced again and again. */
static void source_replaced_while_peers_look(struct fixture *f)
{
	unsigned long view;
	struct peer *second = another_peer(f, f->viewfd, PROT_READ, &view);

	lend(f, NR, RW);
	START(f->peer, op_scan, f->view, NR, 0);
	START(second, op_scan, view, NR, 0);
	for (int round = 0; round < 12; round++) {
		char *source = source_at(f, 0);
		size_t len = unit(f) > NR * PAGE ? unit(f) : NR * PAGE;
		char *p;

		wait_loops(4);
		if (round & 1)
			EXPECT_OK(munmap(source, len));
		p = mmap(source, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED | (round & 2 ? 0 : MAP_ANONYMOUS),
			 round & 2 ? f->file : -1, 0);
		assert_ptr_equal(p, source);
		for (unsigned long i = 0; i < NR; i++)
			*(volatile uint64_t *)(p + i * PAGE) = SECRET;
		wait_loops(4);
		map_pages(f, 0, 0, NR, RW | MEMVIEW_MAP_REPLACE);
	}
	wait_loops(4);
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "scan"));
	EXPECT_VALUE(0, FINISH(second, "scan"));
	assert_int_equal(atomic_load(&shared->bad), 0);
	READS(f, 1, WORD(1));
}

static void mlocked_source_gives_way_too(struct fixture *f)
{
	lend(f, NR, RW);
	EXPECT_OK(mlock(source_at(f, 0), unit(f)));
	READS(f, 0, WORD(0));
	unmap_pages(f, 0, 1);
	READ_SIGBUS(f, 0);
	EXPECT_OK(munlock(source_at(f, 1), PAGE));
	READS(f, 1, WORD(1));
}

static void mlockall_does_not_allocate_the_file(struct fixture *f)
{
	int fd = memfd_create("sparse", 0);
	long before, after;

	EXPECT_OK(ftruncate(fd, 512UL << 20));
	EXPECT_OK(mlockall(MCL_FUTURE));
	before = get_field("/proc/meminfo", "Shmem");
	EXPECT_OK(mv_map(f->ctl, fd, 0, PAGE, 0, RW));
	after = get_field("/proc/meminfo", "Shmem");
	EXPECT_OK(munlockall());
	READS(f, 0, 0);
	assert_in_range(after - before + 100000, 0, 100000 + 16384);
}

/* ---- madvise(2) on the source ---- */

/* What the peer has written is never lost, whatever is advised. */
static void advised_source_loses_no_write(struct fixture *f)
{
	static const int advices[] = {
		MADV_DONTNEED, 21 /* MADV_PAGEOUT */, 20 /* MADV_COLD */, MADV_WILLNEED,
		MADV_HUGEPAGE, 25 /* MADV_COLLAPSE */, MADV_NOHUGEPAGE, 22, 23,
		/* 22, 23: MADV_POPULATE_READ, _WRITE */
		MADV_DOFORK, MADV_DONTFORK, MADV_RANDOM, MADV_SEQUENTIAL, MADV_NORMAL,
		MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_DODUMP, MADV_DONTDUMP, MADV_FREE,
		24 /* MADV_DONTNEED_LOCKED */, MADV_WIPEONFORK, MADV_KEEPONFORK,
	};
	struct outcome o;
	char *source;
	size_t len;

	for (unsigned long i = 0; i < NR; i++)
		assert_true(file_set_word(f->file, i * PAGE, 0));
	map_pages(f, 0, 0, NR, RW);
	source = source_at(f, 0);
	len = unit(f) > NR * PAGE ? unit(f) : NR * PAGE;
	START(f->peer, op_count_up, f->view, NR);
	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
			madvise(source, len, advices[i]);
			if (!still_busy(f->peer))
				fail_msg("the peer met a fault after advice %d", advices[i]);
			if (i < 3)
				wait_loops(2);
		}
	}
	wait_loops(4);
	atomic_store(&shared->stop, 1);
	o = FINISH(f->peer, "count");
	assert_int_equal(o.sig, 0);
	assert_true(o.ret > 0);
	assert_int_equal(atomic_load(&shared->bad), 0);
	for (unsigned long i = 0; i < NR; i++)
		READS(f, i, o.ret);
	unmap_pages(f, 0, NR);
	for (unsigned long i = 0; i < NR; i++)
		assert_int_equal(file_word(f->file, i * PAGE), o.ret);
}

/* The peer's dirty bit is nobody's: what it wrote must be written back anyway. */
static void paged_out_writes_are_not_lost(struct fixture *f)
{
	lend(f, NR, RW);
	for (unsigned long i = 0; i < NR; i++)
		WRITES(f, i, 100 + i);
	for (int i = 0; i < 3; i++) {
		madvise(source_at(f, 0), NR * PAGE, 21 /* MADV_PAGEOUT */);
		assert_true(put_text("/proc/sys/vm/drop_caches", "1"));
	}
	for (unsigned long i = 0; i < NR; i++)
		READS(f, i, 100 + i);
	unmap_pages(f, 0, NR);
	for (unsigned long i = 0; i < NR; i++)
		assert_int_equal(file_word(f->file, i * PAGE), 100 + i);
}

static void removed_pages_read_as_zero(struct fixture *f)
{
	size_t len = unit(f) > PAGE ? unit(f) : 4 * PAGE;

	lend(f, NR, RW);
	EXPECT_OK(madvise(source_at(f, 0), len, MADV_REMOVE));
	READS(f, 0, 0);
	READS(f, 3, 0);
	WRITES(f, 1, 7);
	assert_int_equal(file_word(f->file, PAGE), 7);
	if (len < NR * PAGE)
		READS(f, 5, WORD(5));
}

/* ---- the file ---- */

static void punched_and_truncated_source_survives(struct fixture *f)
{
	uint64_t source;

	lend(f, NR, RW);
	source = source_addr_at(f->ctl, 0);
	for (int i = 0; i < 3; i++) {
		EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				    unit(f)));
		READS(f, 0, 0);
		WRITES(f, 0, 11);
		EXPECT_OK(ftruncate(f->file, 0));
		READ_SIGBUS(f, 0);
		WRITE_SIGBUS(f, 1);
		EXPECT_OK(ftruncate(f->file, f->file_size));
		READS(f, 0, 0);
		WRITES(f, 1, 12);
		assert_int_equal(file_word(f->file, PAGE), 12);
	}
	assert_int_equal(source_addr_at(f->ctl, 0), source);
}

static void truncated_and_grown_during_faults(struct fixture *f)
{
	unsigned long view;
	struct peer *second = another_peer(f, f->viewfd, PROT_READ, &view);

	map_pages(f, 0, 0, NR, RW);
	START(f->peer, op_scan, f->view, NR, 0);
	START(second, op_scan, view, NR, 0);
	for (int i = 0; i < 15; i++) {
		EXPECT_OK(ftruncate(f->file, i & 1 ? unit(f) : 0));
		if (i & 4)
			wait_loops(2);
		EXPECT_OK(ftruncate(f->file, f->file_size));
		EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				    unit(f)));
		wait_loops(2);
	}
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "scan"));
	EXPECT_VALUE(0, FINISH(second, "scan"));
	assert_int_equal(atomic_load(&shared->bad), 0);
	WRITES(f, 2, 9);
	READS(f, 2, 9);
	assert_int_equal(file_word(f->file, 2 * PAGE), 9);
}

/* ---- userfaultfd(2) on the source ---- */

static int uffd_open(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		SKIP("no userfaultfd: %s", strerror(errno));
	if (ioctl(fd, UFFDIO_API, &api))
		SKIP("userfaultfd lacks features %#llx", (unsigned long long)features);
	return fd;
}

static void uffd_register(int uffd, char *at, size_t len, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)at, .len = len }, .mode = mode,
	};

	EXPECT_OK(ioctl(uffd, UFFDIO_REGISTER, &reg));
}

/* Waits until somebody faults; returns where. */
static char *uffd_event(int uffd, uint64_t *flags)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&pfd, 1, WITHIN_SECONDS * 1000) != 1)
		fail_msg("no fault reached the userfaultfd");
	assert_int_equal(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
	if (flags)
		*flags = msg.arg.pagefault.flags;
	return (char *)(uintptr_t)(msg.arg.pagefault.address & -PAGE);
}

static void uffd_copy(int uffd, char *to, size_t len, uint64_t word)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)to & -len, .len = len };
	uint64_t *from = mmap(NULL, len, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(from, MAP_FAILED);
	*from = word;
	copy.src = (uintptr_t)from;
	EXPECT_OK(ioctl(uffd, UFFDIO_COPY, &copy));
	munmap(from, len);
}

/* An empty file with a userfaultfd on its source. The rest is in the file. */
static int empty_source(struct fixture *f)
{
	int uffd = uffd_open(0);
	size_t len = unit(f) > NR * PAGE ? unit(f) : NR * PAGE;

	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
	map_pages(f, 0, 0, NR, RW);
	uffd_register(uffd, source_at(f, 0), len, UFFDIO_REGISTER_MODE_MISSING);
	return uffd;
}

/* A blocked fault of a peer must hold up nobody else. */
static void check_free(struct fixture *f)
{
	int other = make_file(MEMFD, FILE_PAGES * PAGE, 500);
	unsigned long view;
	struct peer *second = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &view);
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* The controller's address space is not locked, nor is the table. */
	assert_ptr_not_equal(p, MAP_FAILED);
	munmap(p, PAGE);
	EXPECT_OK(mv_map(f->ctl, other, 0, 4 * PAGE, 64 * PAGE, RW));
	EXPECT_VALUE(WORD(501), CALL(second, op_read, view + 65 * PAGE));
	EXPECT_OK(mv_protect(f->ctl, 64 * PAGE, 4 * PAGE, R));
	EXPECT_VALUE(WORD(501), CALL(second, op_read, view + 65 * PAGE));
	EXPECT_OK(mv_unmap(f->ctl, 64 * PAGE, 4 * PAGE, NULL));
	EXPECT_SIGBUS(view + 65 * PAGE, CALL(second, op_read, view + 65 * PAGE));
	peer_kill(second);
	close(other);
}

static void slow_userfaultfd_holds_up_only_its_fault(struct fixture *f)
{
	int uffd = empty_source(f);
	char *at;

	START(f->peer, op_read, AT(f, 2));
	at = uffd_event(uffd, NULL);
	check_free(f);
	assert_true(still_busy(f->peer));
	uffd_copy(uffd, at, unit(f), SECRET);
	/* The handler fills the page of the first word that was missed. */
	EXPECT_VALUE(f->backing == HUGETLB ? 0 : SECRET, FINISH(f->peer, "read after the copy"));
	WRITES(f, 2, 3);
	assert_int_equal(file_word(f->file, 2 * PAGE), 3);
	close(uffd);
	READS(f, 3, 0);
}

static void dead_userfaultfd_handler_lets_the_peer_go_on(struct fixture *f)
{
	int uffd = empty_source(f);

	START(f->peer, op_write, AT(f, 1), 5);
	uffd_event(uffd, NULL);
	close(uffd);
	EXPECT_VALUE(0, FINISH(f->peer, "write after the handler's end"));
	READS(f, 1, 5);
	assert_int_equal(file_word(f->file, PAGE), 5);
}

static void peer_killed_in_a_blocked_fault(struct fixture *f)
{
	int uffd = empty_source(f);
	unsigned long view;
	struct peer *p = another_peer(f, f->viewfd, PROT_READ, &view);
	struct pollfd pfd = { .fd = p->sock, .events = POLLIN };

	START(p, op_read, view);
	uffd_event(uffd, NULL);
	kill(p->pid, SIGKILL);
	if (poll(&pfd, 1, WITHIN_SECONDS * 1000) != 1)
		fail_msg("SIGKILL does not end a peer whose fault is blocked");
	peer_kill(p);
	check_free(f);
}

enum taken { T_REVOKE, T_UNMAP, T_REPLACE, T_REPLACE_COLLECTED, T_MUNMAP, T_TRUNCATE, T_SHRINK };

/* Rights are taken while the fault waits: what comes later may not undo it. */
static void rights_taken_during_a_blocked_fault(struct fixture *f)
{
	int other = make_file(MEMFD, FILE_PAGES * PAGE, 500);
	int uffd = empty_source(f);
	struct mapping m = source_mapping(f, 0), gone;
	uint64_t want = 0;
	int sig = SIGBUS;
	struct outcome o;
	char *at;

	START(f->peer, op_read, AT(f, 1));
	at = uffd_event(uffd, NULL);
	switch ((enum taken)f->tc->param) {
	case T_REVOKE:
		EXPECT_OK(mv_revoke(f->ctl));
		break;
	case T_UNMAP:
		unmap_pages(f, 0, NR);
		break;
	case T_REPLACE:
		EXPECT_OK(mv_map(f->ctl, other, 0, NR * PAGE, 0, R | MEMVIEW_MAP_REPLACE));
		sig = 0;
		want = WORD(501);
		break;
	case T_REPLACE_COLLECTED:
		EXPECT_OK(mv_map(f->ctl, other, 0, NR * PAGE, 0, R | MEMVIEW_MAP_REPLACE));
		/* The idle source is unmapped, and the fault that waits in it fails. */
		assert_true(EVENTUALLY(!mapping_at(m.start, &gone)));
		sig = 0;
		want = WORD(501);
		break;
	case T_MUNMAP:
		EXPECT_OK(munmap((void *)m.start, m.end - m.start));
		break;
	case T_TRUNCATE:
		EXPECT_OK(ftruncate(f->file, 0));
		break;
	case T_SHRINK:
		EXPECT_OK(mv_set_size(f->ctl, 0));
		break;
	}
	if (f->tc->param == T_UNMAP || f->tc->param == T_SHRINK || f->tc->param == T_REVOKE)
		uffd_copy(uffd, at, unit(f), SECRET);
	close(uffd);
	o = FINISH(f->peer, "read after the rights were taken");
	assert_int_equal(o.sig, sig);
	if (!sig)
		assert_int_equal(o.ret, want);
}

/* Write-protection by userfaultfd: how post-copy and snapshots see a peer write. */
static void write_protected_source_reports_the_peers_writes(struct fixture *f)
{
	int uffd = uffd_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			     UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	size_t len = unit(f) > NR * PAGE ? unit(f) : NR * PAGE;
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	uint64_t flags;
	char *source;

	lend(f, NR, RW);
	source = source_at(f, 0);
	uffd_register(uffd, source, len, UFFDIO_REGISTER_MODE_WP);
	wp.range.start = (uintptr_t)source;
	wp.range.len = len;
	EXPECT_OK(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
	/* Writes wait. */
	START(f->peer, op_write, AT(f, 1), 77);
	uffd_event(uffd, &flags);
	assert_true(flags & UFFD_PAGEFAULT_FLAG_WP);
	check_free(f);
	assert_true(still_busy(f->peer));
	assert_int_equal(file_word(f->file, PAGE), WORD(1));
	wp.mode = 0;
	EXPECT_OK(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
	EXPECT_VALUE(0, FINISH(f->peer, "write"));
	READS(f, 1, 77);
	assert_int_equal(file_word(f->file, PAGE), 77);
	close(uffd);
}

/* The controller's other mapping of the file is not what the peer goes through. */
static void userfaultfd_on_another_mapping_blocks_no_peer(struct fixture *f)
{
	int uffd = uffd_open(0);
	char *p;

	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
	p = map_file(f, PROT_READ | PROT_WRITE);
	uffd_register(uffd, p, f->file_size, UFFDIO_REGISTER_MODE_MISSING);
	map_pages(f, 0, 0, NR, RW);
	START(f->peer, op_write, AT(f, 1), 4);
	EXPECT_VALUE(0, FINISH(f->peer, "write"));
	READS(f, 2, 0);
	assert_int_equal(file_word(f->file, PAGE), 4);
	close(uffd);
}

/* The place of a source is taken by a view whose own source blocks, too. */
static void blocked_fault_goes_into_no_other_view(struct fixture *f)
{
	int other = backing_create(MEMFD, FILE_PAGES * PAGE);
	int ctl = mv_open(), uffd, uffd2, viewfd;
	struct mapping m = { 0 };
	struct pollfd pfd = { .events = POLLIN };
	struct outcome o;
	uint64_t addr;

	EXPECT_OK(mv_set_size(ctl, 2UL << 30));
	EXPECT_OK(mv_map(ctl, other, 0, FILE_PAGES * PAGE, 0, RW));
	viewfd = mv_viewfd(ctl);
	addr = source_addr_at(ctl, 0);
	uffd2 = uffd_open(0);
	uffd_register(uffd2, (char *)(uintptr_t)addr, FILE_PAGES * PAGE,
		      UFFDIO_REGISTER_MODE_MISSING);
	uffd = empty_source(f);
	m = source_mapping(f, 0);
	START(f->peer, op_read, AT(f, 1));
	uffd_event(uffd, NULL);
	assert_ptr_equal(mmap((void *)m.start, m.end - m.start, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_FIXED, viewfd, 0), m.start);
	/* Wakes the fault, which finds the view there. Deeper it must not go. */
	close(uffd);
	for (int i = 0; i < 50 && still_busy(f->peer); i++) {
		pfd.fd = uffd2;
		if (poll(&pfd, 1, 10) == 1)
			fail_msg("the fault has gone on into the other view");
	}
	o = FINISH(f->peer, "read");
	assert_int_equal(o.sig, SIGBUS);
	close(uffd2);
}

struct resizer {
	int ctl;
	int fd;
	atomic_int stop;
};

static void *resize(void *arg)
{
	struct resizer *r = arg;

	while (!atomic_load(&r->stop)) {
		(void)!ftruncate(r->fd, HUGE_SIZE);
		(void)!ftruncate(r->fd, 4 * HUGE_SIZE);
	}
	return NULL;
}

/* Holds the view's table for as long as a call can. */
static void *query(void *arg)
{
	static struct memview_range_info ranges[512];
	struct resizer *r = arg;
	struct memview_query_info q;

	while (!atomic_load(&r->stop))
		mv_query(r->ctl, 2048 * PAGE, ranges, 512, &q);
	return NULL;
}

/* A source that is shorter than its range has pages that nothing invalidates. */
static void hugetlb_file_resized_while_it_is_mapped(struct fixture *f)
{
	unsigned long page = 600;

	int small = make_file(MEMFD, FILE_PAGES * PAGE, 0);

	/* The view's 4096 pages are 8 huge ones; many small ranges in the last four. */
	for (unsigned long i = 0; i < 512; i++)
		EXPECT_OK(mv_map(f->ctl, small, i % 2 * PAGE, PAGE, (2048 + i) * PAGE, R));
	for (int i = 0; i < 120; i++) {
		struct resizer r = {
			.ctl = f->ctl, .fd = backing_create(HUGETLB, 4 * HUGE_SIZE),
		};
		pthread_t thread, holder;
		struct mapping m;
		char *source;
		int ret;

		assert_true(r.fd >= 0);
		assert_int_equal(pthread_create(&thread, NULL, resize, &r), 0);
		assert_int_equal(pthread_create(&holder, NULL, query, &r), 0);
		do {
			ret = mv_map(f->ctl, r.fd, 0, 4 * HUGE_SIZE, 0, RW);
		} while (ret && errno == EINVAL);
		atomic_store(&r.stop, 1);
		pthread_join(thread, NULL);
		pthread_join(holder, NULL);
		EXPECT_OK(ret);
		source = source_at(f, 0);
		m = source_mapping(f, 0);
		if (m.end - m.start < 4 * HUGE_SIZE) {
			/* What comes behind it, the driver cannot tell from it. */
			EXPECT_OK(ftruncate(r.fd, 4 * HUGE_SIZE));
			assert_ptr_equal(mmap(source + HUGE_SIZE, 3 * HUGE_SIZE,
					      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
					      r.fd, HUGE_SIZE), source + HUGE_SIZE);
			CALL(f->peer, op_write, AT(f, page), (long)SECRET);
			EXPECT_OK(fallocate(r.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    HUGE_SIZE, HUGE_SIZE));
			CALL(f->peer, op_read, AT(f, page));
			fail_msg("the source is shorter than its range");
		}
		unmap_pages(f, 0, 4 * HUGE_SIZE / PAGE);
		close(r.fd);
	}
}

struct usurper {
	char *at;
	size_t len;
	int fd;
	atomic_int stop;
};

static void *usurp(void *arg)
{
	struct usurper *u = arg;

	while (!atomic_load(&u->stop)) {
		mmap(u->at, u->len, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, u->fd, 0);
		mmap(u->at, u->len, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_NORESERVE |
		     (u->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), u->fd, 0);
		munmap(u->at, u->len);
	}
	return NULL;
}

/*
 * In a process of its own, for it may not survive: maps file after file, while
 * a thread puts something else where the driver is about to map. Return: bad.
 */
static long op_map_under_usurpation(const long *a)
{
	struct usurper u = { .fd = a[0] ? backing_create(MEMFD, FILE_PAGES * PAGE) : -1 };
	int ctl = mv_open(), fd = backing_create(MEMFD, FILE_PAGES * PAGE);
	struct memview_query_info q;
	struct memview_range_info r;
	pthread_t thread;
	long done = 0;

	if (u.fd >= 0)
		file_set_word(u.fd, 0, SECRET);
	file_set_word(fd, 0, 1);
	/* Where does it go, and how long is it? */
	if (ctl < 0 || fd < 0 || mv_set_size(ctl, PAGE) ||
	    mv_map(ctl, fd, 0, PAGE, 0, R) || mv_query(ctl, 0, &r, 1, &q) || !q.count)
		return -1;
	u.at = (char *)(uintptr_t)r.source_addr;
	u.len = 1UL << 30;
	if (pthread_create(&thread, NULL, usurp, &u))
		return -1;
	for (int i = 0; i < 60; i++) {
		fd = backing_create(MEMFD, FILE_PAGES * PAGE);
		if (!mv_map(ctl, fd, 0, PAGE, 0, R | MEMVIEW_MAP_REPLACE))
			done++;
		close(fd);
	}
	atomic_store(&u.stop, 1);
	pthread_join(thread, NULL);
	return done;
}

static void place_of_a_new_source_taken_by_another_thread(struct fixture *f)
{
	struct outcome o;

	START(f->peer, op_map_under_usurpation, f->tc->param);
	o = FINISH(f->peer, "mapping");
	if (o.died || o.sig)
		fail_msg("the controller died of its own MAP_FD");
	assert_true(o.ret >= 0);
}

/* ---- file systems that say no, or later ---- */

static void *map_and_unmap(void *arg)
{
	atomic_int *stop = arg;

	while (!atomic_load(stop)) {
		void *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		munmap(p, 16 * PAGE);
	}
	return NULL;
}

/* A full disk is no reason to refuse a read, in a writable range either. */
static void full_disk_can_be_read(struct fixture *f)
{
	int filler = backing_create(f->backing, 0);
	struct outcome o = { 0 };
	atomic_int stop = 0;
	pthread_t thread;
	int i;

	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
	EXPECT_OK(fsync(f->file));
	for (off_t size = 16 << 20, at = 0; size >= (off_t)PAGE; size /= 2)
		while (!fallocate(filler, 0, at, size))
			at += size;
	assert_int_equal(pthread_create(&thread, NULL, map_and_unmap, &stop), 0);
	for (i = 0; i < 60 && !o.sig; i++) {
		map_pages(f, 0, 0, NR, RW | MEMVIEW_MAP_REPLACE);
		o = CALL(f->peer, op_read, AT(f, i % NR));
	}
	atomic_store(&stop, 1);
	pthread_join(thread, NULL);
	EXPECT_OK(ftruncate(filler, 0));
	if (o.sig)
		fail_msg("read %d of a hole in a full disk: signal %d", i, o.sig);
	EXPECT_VALUE(0, o);
}

static char state_of(pid_t pid)
{
	char path[64], line[256], *end;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	end = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	fclose(file);
	return end ? end[2] : 0;
}

/* Thaws when told to, or when the controller has not done so for long. */
static long op_thaw(const long *a)
{
	for (int i = 0; i < 1500 && !atomic_load(&shared->ready); i++)
		nap();
	if (ioctl((int)a[0], FITHAW, 0))
		return -1;
	return atomic_load(&shared->ready);
}

/* A peer's write waits until the thaw; who takes the page away does not. */
static void frozen_file_system_holds_up_no_revocation(struct fixture *f)
{
	struct peer *thawer = peer_spawn();
	int thaw_fd = peer_send_fd(thawer, f->file);
	bool blocked;

	map_pages(f, 0, 0, NR, RW | MEMVIEW_MAP_LAZY_WRITE);
	EXPECT_OK(fsync(f->file));
	READS(f, 1, WORD(1));
	EXPECT_OK(ioctl(f->file, FIFREEZE, 0));
	START(thawer, op_thaw, thaw_fd);
	START(f->peer, op_write, AT(f, 1), (long)SECRET);
	blocked = EVENTUALLY(state_of(f->peer->pid) == 'D');
	if (f->tc->param)
		mv_revoke(f->ctl);
	else
		mv_unmap(f->ctl, 0, NR * PAGE, NULL);
	atomic_store(&shared->ready, 1);
	EXPECT_VALUE(1, FINISH(thawer, "thawing: the revocation waited for it"));
	assert_int_equal(FINISH(f->peer, "write after the thaw").sig, SIGBUS);
	assert_true(blocked);
	assert_int_equal(file_word(f->file, PAGE), WORD(1));
}

#define FOREIGN(how) \
	{ .name = "source_replaced", .run = source_replaced, .backings = ON_TESTED, \
	  .variant = #how, .param = how }, \
	{ .name = "source_replaced_in_part", .run = source_replaced_in_part, \
	  .backings = ON_TESTED, .variant = #how, .param = how }
#define TAKEN(how, mask) \
	{ .name = "rights_taken_during_a_blocked_fault", \
	  .run = rights_taken_during_a_blocked_fault, .backings = mask, \
	  .variant = #how, .param = how }

#define ON_TESTED	(ON(MEMFD) | ON(HUGETLB) | ON(EXT4))
#define ON_UFFD		(ON_SHMEM | ON(HUGETLB))

static const struct test_case cases[] = {
	CASE_ON(munmapped_source_gives_nothing, ON_ALL),
	CASE_ON(partly_munmapped_source_gives_nothing_foreign, ON_ALL),
	CASE_ON(moved_source_gives_nothing_foreign, ON_TESTED),
	CASE_ON(source_moved_away_and_back, ON_TESTED),
	CASE_ON(source_moved_with_dontunmap, ON(MEMFD) | ON(EXT4)),
	CASE_ON(shrunk_source_gives_nothing_foreign, ON(MEMFD) | ON(EXT4)),
	CASE_ON(source_made_inaccessible_and_back, ON_ALL),
	CASE_ON(read_only_range_on_a_source_made_writable, ON_ALL),
	CASE_ON(source_split_into_pieces, ON_SMALL),
	FOREIGN(ANON),
	FOREIGN(PRIVATE),
	FOREIGN(OTHER_FILE),
	FOREIGN(OTHER_OFFSET),
	FOREIGN(REOPENED),
	FOREIGN(SAME),
	FOREIGN(GUARD),
	{ .name = "source_replaced", .run = source_replaced, .variant = "OWN_VIEW",
	  .param = OWN_VIEW, .backings = ON_TESTED },
	{ .name = "source_replaced", .run = source_replaced, .variant = "OTHER_VIEW",
	  .param = OTHER_VIEW, .backings = ON_TESTED },
	{ .name = "source_replaced_in_part", .run = source_replaced_in_part,
	  .variant = "OWN_VIEW", .param = OWN_VIEW, .backings = ON_TESTED },
	{ .name = "source_replaced_in_part", .run = source_replaced_in_part,
	  .variant = "OTHER_VIEW", .param = OTHER_VIEW, .backings = ON_TESTED },
	CASE_ON(sources_replaced_by_views_of_each_other, ON(MEMFD) | ON(EXT4)),
	CASE_ON(source_replaced_while_peers_look, ON_TESTED),
	CASE_ON(mlocked_source_gives_way_too, ON_ALL),
	CASE(mlockall_does_not_allocate_the_file),
	CASE_ON(advised_source_loses_no_write, ON_ALL),
	CASE_ON(paged_out_writes_are_not_lost, ON_SMALL),
	CASE_ON(removed_pages_read_as_zero, ON_ALL),
	CASE_ON(punched_and_truncated_source_survives, ON_ALL),
	CASE_ON(truncated_and_grown_during_faults, ON_ALL),
	CASE_ON(slow_userfaultfd_holds_up_only_its_fault, ON_UFFD),
	CASE_ON(dead_userfaultfd_handler_lets_the_peer_go_on, ON_UFFD),
	CASE_ON(peer_killed_in_a_blocked_fault, ON_UFFD),
	TAKEN(T_REVOKE, ON_UFFD),
	TAKEN(T_UNMAP, ON_UFFD),
	TAKEN(T_REPLACE, ON_UFFD),
	TAKEN(T_REPLACE_COLLECTED, ON_UFFD),
	TAKEN(T_MUNMAP, ON_UFFD),
	TAKEN(T_TRUNCATE, ON(MEMFD)),
	TAKEN(T_SHRINK, ON_UFFD),
	CASE_ON(blocked_fault_goes_into_no_other_view, ON_SHMEM),
	CASE_ON(hugetlb_file_resized_while_it_is_mapped, ON(HUGETLB)),
	CASE_VARIANT(place_of_a_new_source_taken_by_another_thread, "anonymous memory", 0),
	CASE_VARIANT(place_of_a_new_source_taken_by_another_thread, "another file", 1),
	CASE_ON(full_disk_can_be_read, ON_DISK),
	{ .name = "frozen_file_system_holds_up_no_revocation",
	  .run = frozen_file_system_holds_up_no_revocation, .variant = "unmap",
	  .param = 0, .backings = ON_DISK },
	{ .name = "frozen_file_system_holds_up_no_revocation",
	  .run = frozen_file_system_holds_up_no_revocation, .variant = "revoke",
	  .param = 1, .backings = ON_DISK },
	CASE_ON(write_protected_source_reports_the_peers_writes, ON_UFFD),
	CASE_ON(userfaultfd_on_another_mapping_blocks_no_peer, ON_UFFD),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adv_source", cases);
}
