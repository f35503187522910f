// SPDX-License-Identifier: GPL-2.0
/*
 * The controller, or somebody in its process, tampers with the mappings that
 * the driver made in it. The peer then has no access, or access to what the
 * table says, and never sees foreign memory (R4, trap 4 of the design). Each
 * case looks through the tampered address itself: that is the control.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
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

	need_split(f);
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

/* Where a mapping can be moved to, aligned as hugetlb wants it. */
static void *room_for(struct fixture *f, size_t len)
{
	char *p = mmap(NULL, len + unit(f), PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p + (-(unsigned long)p & (unit(f) - 1));
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
		    room_for(f, len));
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
		    room_for(f, len));
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
	need_split(f);
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
		size_t len = span(f, NR);
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

/* ---- a neighbour that the driver's mapping could merge with ---- */

#define BLOCK	(1UL << 30)

enum neighbour { BEFORE_IT = 1, BEHIND_IT = 2 };

/* Block @block of the file, mapped as the driver does it. */
static char *map_block(struct fixture *f, char *at, unsigned long block)
{
	char *p = mmap(at, BLOCK, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_NORESERVE | (at ? MAP_FIXED : 0), f->file,
		       block * BLOCK);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void check_mapped(const char *at, const char *end)
{
	struct mapping m;

	assert_true(mapping_at((unsigned long)at, &m));
	assert_int_equal(m.start, (unsigned long)at);
	assert_int_equal(m.end, (unsigned long)end);
}

/* Reads the word there in a child. */
static struct outcome in_a_child(const char *at)
{
	struct peer *child = peer_spawn();
	struct outcome o;

	assert_non_null(child);
	o = CALL(child, op_read, (long)at);
	peer_kill(child);
	return o;
}

/*
 * The controller leaves room for just one block, beside its own mappings of the
 * blocks of the same file before and behind it: what the driver maps there, the
 * kernel makes one with them.
 */
static void source_merges_with_no_neighbour(struct fixture *f)
{
	int before = f->tc->param & BEFORE_IT, behind = f->tc->param & BEHIND_IT;
	unsigned long len = BLOCK;
	char *hole, *source, *other;
	struct mapping m;

	EXPECT_OK(ftruncate(f->file, 3 * BLOCK));
	for (unsigned long i = 0; i < 3; i++)
		assert_true(file_set_word(f->file, i * BLOCK, WORD(1000 * i)));
	hole = mmap(NULL, 4 * BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	assert_ptr_not_equal(hole, MAP_FAILED);
	hole += 2 * BLOCK;
	/* No other gap above it is large enough. */
	do {
		other = mmap(NULL, BLOCK, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		assert_ptr_not_equal(other, MAP_FAILED);
	} while (other > hole);
	munmap(other, BLOCK);
	/* Below it there is room for another try. */
	EXPECT_OK(munmap(hole - 2 * BLOCK, 2 * BLOCK));
	if (before)
		map_block(f, hole - BLOCK, 0);
	if (behind)
		map_block(f, hole + BLOCK, 2);
	EXPECT_OK(munmap(hole, BLOCK));
	/*
	 * The control: this is where it goes, and it merges. Sources of the
	 * cases before leave gaps above when they are collected.
	 */
	for (int i = 0; i < 100; i++) {
		other = map_block(f, NULL, 1);
		if (other <= hole)
			break;
		assert_ptr_equal(mmap(other, BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
				      MAP_NORESERVE | MAP_FIXED, -1, 0), other);
	}
	assert_ptr_equal(other, hole);
	check_mapped(before ? hole - BLOCK : hole, behind ? hole + 2 * BLOCK : hole + BLOCK);
	EXPECT_OK(munmap(hole, BLOCK));

	EXPECT_OK(mv_set_size(f->ctl, BLOCK));
	EXPECT_OK(mv_map(f->ctl, f->file, BLOCK, len, 0, RW));
	READS(f, 0, WORD(1000));
	WRITES(f, 1, SECRET);
	assert_int_equal(file_word(f->file, BLOCK + PAGE), SECRET);
	source = source_at(f, 0);
	assert_true(mapping_at((unsigned long)source, &m));
	assert_int_equal(m.start, (unsigned long)source);
	assert_in_range(m.end - m.start, len, BLOCK);
	assert_int_equal(in_a_child(source).sig, SIGSEGV);
	/* What was the controller's own, its children still have. */
	if (before) {
		check_mapped(hole - BLOCK, hole);
		EXPECT_VALUE(WORD(0), in_a_child(hole - BLOCK));
	}
	if (behind) {
		check_mapped(hole + BLOCK, hole + 2 * BLOCK);
		EXPECT_VALUE(WORD(2000), in_a_child(hole + BLOCK));
	}
	EXPECT_OK(mv_unmap(f->ctl, 0, BLOCK, NULL));
	READ_SIGBUS(f, 0);
	if (before)
		EXPECT_OK(munmap(hole - BLOCK, BLOCK));
	EXPECT_OK(munmap(hole + BLOCK, BLOCK));
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
	/* Where does it go? */
	if (ctl < 0 || fd < 0 || mv_set_size(ctl, PAGE) ||
	    mv_map(ctl, fd, 0, PAGE, 0, R) || mv_query(ctl, 0, &r, 1, &q) || !q.count)
		return -1;
	u.at = (char *)(uintptr_t)r.source_addr;
	u.len = PAGE;
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

/* ---- pages of a source that raise a signal ---- */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif

static int populate(struct fixture *f, unsigned long page, unsigned long nr)
{
	struct memview_populate_info info = { .mem_offset = page * PAGE, .size = nr * PAGE };

	return ioctl(f->ctl, MEMVIEW_POPULATE, &info);
}

static long op_pwrite(const long *a)
{
	return pwrite((int)a[0], (void *)a[1], a[2], a[3]);
}

/* Pages @bad of @nr raise SIGBUS in the peer, in each way to touch them. */
static void check_bad_pages(struct fixture *f, unsigned long bad, unsigned long nr, int code)
{
	int fd = peer_send_fd(f->peer, make_file(MEMFD, FILE_PAGES * PAGE, 100));

	for (unsigned long i = bad; i < bad + nr; i++) {
		struct outcome o = CALL(f->peer, op_read, AT(f, i));

		check_fault(o, SIGBUS, code, AT(f, i), "read", __FILE__, __LINE__);
		o = CALL(f->peer, op_write, AT(f, i), 1);
		check_fault(o, SIGBUS, code, AT(f, i), "write", __FILE__, __LINE__);
		/* Where there is nobody to send a signal to. */
		EXPECT_CALL_ERRNO(EFAULT, f->peer, op_pwrite, fd, AT(f, i), 8, 0);
	}
	EXPECT_CALL(f->peer, op_close, fd);
}

/* All of the fixture's pages but those. */
static void check_good_pages(struct fixture *f, unsigned long bad, unsigned long nr)
{
	for (unsigned long i = 0; i < NR; i++) {
		if (i >= bad && i < bad + nr)
			continue;
		READS(f, i, WORD(i));
		WRITES(f, i, WORD(i));
	}
}

/* The source, made by the driver or the controller's own, with all pages used. */
static char *lend_source(struct fixture *f)
{
	if (!f->tc->param) {
		lend(f, NR, RW);
		return source_at(f, 0);
	}
	EXPECT_OK(mv_adopt(f->ctl, f->file, 0, NR * PAGE, 0, RW,
			   map_file(f, PROT_READ | PROT_WRITE)));
	check_good_pages(f, 0, 0);
	return source_at(f, 0);
}

/*
 * Guard pages end who touches them by SIGSEGV. The peer has the right; it is the
 * source that gives nothing.
 */
static void guard_page_in_a_source_is_sigbus(struct fixture *f)
{
	char *source = lend_source(f);
	struct mapping m;

	if (madvise(source + 2 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL)) {
		/* Before 6.15 for files. */
		assert_int_equal(errno, EINVAL);
		SKIP("no guard pages in mappings of files");
	}
	/* The control: the same by the mapping below. */
	assert_int_equal(PROBE(op_read, (long)source + 2 * PAGE).sig, SIGSEGV);
	for (int i = 0; i < 2; i++) {
		check_bad_pages(f, 2, 2, BUS_ADRERR);
		check_good_pages(f, 2, 2);
	}
	EXPECT_ERRNO(EFAULT, populate(f, 0, NR));
	/* As good as before when they are gone, without a call of ours. */
	EXPECT_OK(madvise(source + 3 * PAGE, PAGE, MADV_GUARD_REMOVE));
	check_bad_pages(f, 2, 1, BUS_ADRERR);
	check_good_pages(f, 2, 1);
	check_file(f);
	/* A source that is made anew has none. */
	unmap_pages(f, 0, NR);
	EXPECT_OK(mv_drop_idle(f->ctl));
	if (!f->tc->param && mapping_at((unsigned long)source, &m))
		fail_msg("the source is still there");
	lend_again(f);
	EXPECT_OK(populate(f, 0, NR));
}

#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON	(1 << 14)

struct uffdio_poison {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};

#define UFFDIO_POISON		_IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

/* What a migration does with pages that were bad where they come from. */
static void poisoned_page_of_userfaultfd_is_sigbus(struct fixture *f)
{
	int uffd = uffd_open(0, UFFD_FEATURE_POISON);
	char *source = lend_source(f), *bad;
	unsigned long first = 2, nr = 1;
	struct uffdio_poison poison;

	if (f->backing == HUGETLB) {
		first = 0;
		nr = NR;
	}
	bad = source + first * PAGE;
	uffd_register(uffd, source, span(f, NR), UFFDIO_REGISTER_MODE_MISSING);
	poison = (struct uffdio_poison){
		.range = { .start = (uintptr_t)bad, .len = unit(f) },
	};
	/* Only where there is no page; the file keeps its own. */
	EXPECT_OK(madvise(bad, unit(f), MADV_DONTNEED));
	EXPECT_OK(ioctl(uffd, UFFDIO_POISON, &poison));
	/* The control: the same by the mapping below. */
	assert_int_equal(PROBE(op_read, (long)bad).sig, SIGBUS);
	assert_int_equal(PROBE(op_read, (long)bad).code, BUS_MCEERR_AR);
	for (int i = 0; i < 2; i++) {
		check_bad_pages(f, first, nr, BUS_MCEERR_AR);
		check_good_pages(f, first, nr);
	}
	EXPECT_ERRNO(EHWPOISON, populate(f, 0, NR));
	check_file(f);
	/* Without the marker the file is as good as ever. */
	EXPECT_OK(madvise(bad, unit(f), MADV_DONTNEED));
	close(uffd);
	check_good_pages(f, 0, 0);
	unmap_pages(f, 0, NR);
	lend_again(f);
}

#define FOREIGN(how) \
	{ .name = "source_replaced", .run = source_replaced, .backings = ON_TESTED, \
	  .variant = #how, .param = how }, \
	{ .name = "source_replaced_in_part", .run = source_replaced_in_part, \
	  .backings = ON_TESTED, .variant = #how, .param = how }

#define NEIGHBOUR(where, which) \
	{ .name = "source_merges_with_no_neighbour", \
	  .run = source_merges_with_no_neighbour, .backings = ON_SHMEM, \
	  .variant = where, .param = which }

#define OWN_OR_ADOPTED(fn, mask) \
	{ .name = #fn, .run = fn, .backings = mask, .variant = "the driver's" }, \
	{ .name = #fn, .run = fn, .backings = mask, .variant = "adopted", .param = 1 }

#define ON_TESTED	(ON(MEMFD) | ON(HUGETLB) | ON(EXT4))

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
	NEIGHBOUR("before", BEFORE_IT),
	NEIGHBOUR("behind", BEHIND_IT),
	NEIGHBOUR("both", BEFORE_IT | BEHIND_IT),
	CASE_ON(hugetlb_file_resized_while_it_is_mapped, ON(HUGETLB)),
	CASE_VARIANT(place_of_a_new_source_taken_by_another_thread, "anonymous memory", 0),
	CASE_VARIANT(place_of_a_new_source_taken_by_another_thread, "another file", 1),
	OWN_OR_ADOPTED(guard_page_in_a_source_is_sigbus, ON_SMALL),
	OWN_OR_ADOPTED(poisoned_page_of_userfaultfd_is_sigbus, ON_SHMEM | ON(HUGETLB)),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adv_source", cases);
}
