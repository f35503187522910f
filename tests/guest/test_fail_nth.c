// SPDX-License-Identifier: GPL-2.0
/*
 * Failure of every allocation and every copy from and to user space in turn:
 * the first of a call, then the second, until the call gets by without meeting
 * the one that was to fail (/proc/thread-self/fail-nth). Each time a call has
 * failed, its errno must be one that it documents, nothing may have changed (R5)
 * or be left behind, and the call must work when it is repeated. It may well
 * succeed in spite of the failure, for some allocations have a second try; then
 * all of its effect must be there. What is not a call's to fail, the allocations of
 * an invalidation, has a case of its own.
 *
 * Needs a kernel with fault injection (KERNEL=debug or kasan).
 */
#include "adv.h"

#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEBUGFS		"/sys/kernel/debug/"
/* No call has that many places to fail. */
#define MAX_NTH		20000U

/* ---- Injection ------------------------------------------------------- */

/* Makes all allocations candidates; NULL, or why this kernel cannot. */
static const char *injection_prepare(void)
{
	static const struct {
		const char *file;
		const char *value;
	} settings[] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
		{ "fail_usercopy/verbose", "0" },
	};
	char path[128];

	if (access("/proc/self/fail-nth", W_OK))
		return "this kernel has no fault injection";
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), DEBUGFS "%s", settings[i].file);
		if (!put_text(path, settings[i].value))
			return "this kernel lacks a kind of fault injection";
	}
	return NULL;
}

static void need_injection(void)
{
	const char *why = injection_prepare();

	if (why)
		SKIP("%s", why);
}

/* From here on, the @n-th candidate of this thread fails. */
static int nth_begin(unsigned int n)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	if (fd < 0 || write(fd, text, len) != len)
		abort();
	return fd;
}

/* Has it failed? */
static bool nth_end(int fd)
{
	char text[16] = "";
	/* If this is the one that fails, none has before. */
	bool injected = pread(fd, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	while (write(fd, "0", 1) != 1)
		;
	close(fd);
	return injected;
}

/* ---- What a call can leave behind ------------------------------------ */

static unsigned long count_fds(void)
{
	unsigned long n = 0;

	for (int fd = 0; fd < 128; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

struct leftovers {
	struct table table;		/* or its size only, if it is large */
	unsigned long ranges;
	unsigned long long sources;
	unsigned long mappings;
	unsigned long fds;
};

static void leftovers_read(struct fixture *f, struct leftovers *l)
{
	memset(l, 0, sizeof(*l));
	if (f->ctl >= 0) {
		l->ranges = nr_ranges(f->ctl);
		if (l->ranges <= TABLE_MAX)
			table_read(f->ctl, &l->table);
		l->sources = fdinfo(f->ctl, "sources");
	}
	l->mappings = count_mappings(f->file);
	l->fds = count_fds();
}

static void check_leftovers(struct fixture *f, const struct leftovers *was,
			    const char *what)
{
	struct leftovers is;

	leftovers_read(f, &is);
	check_same_table(&was->table, &is.table, what, __FILE__, __LINE__);
	assert_int_equal(was->ranges, is.ranges);
	assert_int_equal(was->sources, is.sources);
	assert_int_equal(was->fds, is.fds);
	/* A source that was made for nothing is idle. */
	if (f->ctl >= 0)
		EXPECT_OK(mv_drop_idle(f->ctl));
	if (count_mappings(f->file) > was->mappings)
		fail_msg("%s: mappings of the file are left over", what);
}

/* ---- A call of the controller ---------------------------------------- */

struct call {
	const char *what;
	void (*prepare)(struct fixture *f);	/* before each try */
	long (*act)(struct fixture *f);		/* -1 and errno */
	/* After a success: all of the effect is there. Takes it back. */
	void (*check)(struct fixture *f, long ret);
	int errnos[4];				/* what it may fail with */
	unsigned int must_fail;			/* so many times at least */
};

static bool is_one_of(int err, const int *errnos)
{
	for (int i = 0; i < 4 && errnos[i]; i++) {
		if (err == errnos[i])
			return true;
	}
	return false;
}

/*
 * Allocations of KASAN and kmemleak count as places, too, and come and go between
 * the tries: there a place of ours can be passed over.
 */
static unsigned int least_failures(unsigned int must_fail)
{
	return has_kasan() && must_fail > 1 ? 1 : must_fail;
}

static void sweep(struct fixture *f, const struct call *c)
{
	unsigned int n, failed = 0;
	bool injected = true;

	need_injection();
	for (n = 1; injected && n < MAX_NTH; n++) {
		struct leftovers was;
		long ret;
		int err, fd;

		if (c->prepare)
			c->prepare(f);
		leftovers_read(f, &was);

		fd = nth_begin(n);
		errno = 0;
		ret = c->act(f);
		err = errno;
		injected = nth_end(fd);

		if (ret == -1) {
			failed++;
			if (!injected)
				fail_msg("%s failed by itself: %s", c->what,
					 strerrorname_np(err));
			if (!is_one_of(err, c->errnos))
				fail_msg("%s, failure %u: %s", c->what, n,
					 strerrorname_np(err));
			check_leftovers(f, &was, c->what);
			ret = EXPECT_OK(c->act(f));
		}
		c->check(f, ret);
	}
	assert_in_range(n, 1, MAX_NTH - 1);
	if (failed < least_failures(c->must_fail))
		fail_msg("%s failed only %u times in %u", c->what, failed, n - 1);
	print_message("# %s: %u places, %u failures of the call\n", c->what,
		      n - 2, failed);
}

static void close_viewfd(struct fixture *f, long ret)
{
	(void)f;
	assert_in_range(ret, 0, 1 << 20);
	EXPECT_OK(close((int)ret));
}

static long act_open(struct fixture *f)
{
	(void)f;
	return mv_open();
}

static void open_control_fd(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "open", .act = act_open, .check = close_viewfd,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 3,
	});
}

/* No view at all, so that open(2) has to mount the driver's file system. */
static void prepare_no_view(struct fixture *f)
{
	if (f->ctl >= 0) {
		EXPECT_CALL(f->peer, op_munmap, f->view, VIEW_PAGES * PAGE);
		EXPECT_CALL(f->peer, op_close, f->peer_viewfd);
		close(f->viewfd);
		close(f->ctl);
		f->ctl = f->viewfd = -1;
	}
	/* A work item ends the view that was. */
	nap();
}

static void open_first_control_fd(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "open, first", .prepare = prepare_no_view,
		.act = act_open, .check = close_viewfd,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 6,
	});
}

/* Two ranges with a hole between them; more in the higher pages. */
static void prepare_table(struct fixture *f)
{
	EXPECT_OK(mv_set_size(f->ctl, VIEW_PAGES * PAGE));
	unmap_pages(f, 0, VIEW_PAGES);
	map_pages(f, 0, 0, 16, RW);
	map_pages(f, 20, 16, 16, R);
	READS(f, 1, WORD(1));
	READS(f, 8, WORD(8));
	READS(f, 20, WORD(16));
}

static void check_intact(struct fixture *f, unsigned long page)
{
	READS(f, page, WORD(page));
	WRITES(f, page, WORD(page));
}

static long act_shrink(struct fixture *f)
{
	return mv_set_size(f->ctl, 8 * PAGE);
}

static void check_shrunk(struct fixture *f, long ret)
{
	struct memview_info info;

	(void)ret;
	EXPECT_OK(mv_info(f->ctl, &info));
	assert_int_equal(info.size, 8 * PAGE);
	assert_int_equal(info.nr_ranges, 1);
	check_intact(f, 7);
	READ_SIGBUS(f, 8);
	READ_SIGBUS(f, 20);
}

static void set_size_shrinks(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "SET_SIZE", .prepare = prepare_table,
		.act = act_shrink, .check = check_shrunk,
		.errnos = { EFAULT, ENOMEM }, .must_fail = 1,
	});
}

/* A source that has never been: each try has a file of its own. */
static void prepare_new_file(struct fixture *f)
{
	unmap_pages(f, 0, VIEW_PAGES);
	close(f->file);
	f->file = make_file(f->backing, f->file_size, 0);
}

static long act_map(struct fixture *f)
{
	return mv_map(f->ctl, f->file, 0, 4 * PAGE, 0, RW);
}

/* The source, and nothing that was only tried. */
static void check_one_mapping(struct fixture *f)
{
	EXPECT_OK(mv_drop_idle(f->ctl));
	if (count_mappings(f->file) != 1)
		fail_msg("%lu mappings of the file", count_mappings(f->file));
}

static void check_mapped(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	check_one_mapping(f);
	assert_int_equal(nr_ranges(f->ctl), 1);
	assert_int_equal(rights_at(f->ctl, 3), RW);
	check_intact(f, 0);
	check_intact(f, 3);
	READ_SIGBUS(f, 4);
}

/*
 * Where there is no memory for the large segment that is tried first, a small
 * one is made. For hugetlb there is no such second try. The range itself is what
 * SET_SIZE has left over.
 */
static unsigned int failures_of_a_source(struct fixture *f)
{
	return f->backing == HUGETLB ? 5 : 2;
}

static void map_fd_makes_a_source(struct fixture *f)
{
	/* This process has mapped something into a view before. */
	map_pages(f, 100, 0, 1, R);
	sweep(f, &(const struct call){
		.what = "MAP_FD, new source", .prepare = prepare_new_file,
		.act = act_map, .check = check_mapped,
		.errnos = { ENOMEM, EFAULT },
		.must_fail = failures_of_a_source(f),
	});
}

static long act_map_exec(struct fixture *f)
{
	return mv_map(f->ctl, f->file, 0, 4 * PAGE, 0, RX);
}

static void check_mapped_exec(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	check_one_mapping(f);
	assert_int_equal(rights_at(f->ctl, 3), RX);
	READS(f, 3, WORD(3));
	WRITE_SEGV(f, 3);
}

static void map_fd_asks_for_exec(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "MAP_FD, exec", .prepare = prepare_new_file,
		.act = act_map_exec, .check = check_mapped_exec,
		.errnos = { ENOMEM, EFAULT },
		.must_fail = failures_of_a_source(f) + 1,
	});
}

static char *adopted;

static void prepare_mapped_file(struct fixture *f)
{
	if (adopted)
		EXPECT_OK(munmap(adopted, f->file_size));
	prepare_new_file(f);
	adopted = map_file(f, PROT_READ | PROT_WRITE);
}

static long act_adopt(struct fixture *f)
{
	return mv_adopt(f->ctl, f->file, 0, 4 * PAGE, 0, RWX, adopted);
}

static void check_adopted(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	/* What was mapped to ask for the rights has gone. */
	assert_int_equal(count_mappings(f->file), 1);
	assert_int_equal(source_addr_at(f->ctl, 0), (uintptr_t)adopted);
	assert_int_equal(rights_at(f->ctl, 3), RWX);
	check_intact(f, 0);
	check_intact(f, 3);
}

static void map_fd_adopts(struct fixture *f)
{
	/* This process has mapped something into a view before. */
	map_pages(f, 100, 0, 1, R);
	adopted = NULL;
	sweep(f, &(const struct call){
		.what = "MAP_FD, adopted", .prepare = prepare_mapped_file,
		.act = act_adopt, .check = check_adopted,
		.errnos = { ENOMEM, EFAULT },
		.must_fail = 4,
	});
	EXPECT_OK(munmap(adopted, f->file_size));
}

/* A range that shall have the source stay. */
static void prepare_source(struct fixture *f)
{
	unmap_pages(f, 0, VIEW_PAGES);
	map_pages(f, 200, 0, 4, RW);
}

static void check_mapped_too(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	assert_int_equal(nr_ranges(f->ctl), 2);
	assert_int_equal(fdinfo(f->ctl, "sources"), 1);
	check_intact(f, 3);
	READ_SIGBUS(f, 4);
}

static void map_fd_uses_a_source(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "MAP_FD, known source", .prepare = prepare_source,
		.act = act_map, .check = check_mapped_too,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 2,
	});
}

static int other_view = -1;

static long act_map_other_view(struct fixture *f)
{
	return mv_map(other_view, f->file, 0, 4 * PAGE, 0, RW);
}

static void check_other_view(struct fixture *f, long ret)
{
	(void)f;
	assert_int_equal(ret, 0);
	assert_int_equal(nr_ranges(other_view), 1);
	assert_int_equal(fdinfo(other_view, "sources"), 1);
	EXPECT_OK(close(other_view));
}

static void prepare_other_view(struct fixture *f)
{
	prepare_source(f);
	other_view = (int)EXPECT_OK(mv_open());
	EXPECT_OK(mv_set_size(other_view, VIEW_PAGES * PAGE));
}

static void map_fd_into_a_second_view(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "MAP_FD, second view", .prepare = prepare_other_view,
		.act = act_map_other_view, .check = check_other_view,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 2,
	});
}

static long act_replace(struct fixture *f)
{
	return mv_map(f->ctl, f->file, 40 * PAGE, 4 * PAGE, 6 * PAGE,
		      R | MEMVIEW_MAP_REPLACE);
}

static void check_replaced(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	assert_int_equal(nr_ranges(f->ctl), 4);
	check_intact(f, 5);
	READS(f, 6, WORD(40));
	READS(f, 9, WORD(43));
	WRITE_SEGV(f, 9);
	check_intact(f, 10);
}

static void map_fd_replaces_and_cuts(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "MAP_FD, replace", .prepare = prepare_table,
		.act = act_replace, .check = check_replaced,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 3,
	});
}

static long act_unmap(struct fixture *f)
{
	uint64_t bytes;

	return mv_unmap(f->ctl, 6 * PAGE, 4 * PAGE, &bytes);
}

static void check_unmapped(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	assert_int_equal(nr_ranges(f->ctl), 3);
	check_intact(f, 5);
	READ_SIGBUS(f, 6);
	READ_SIGBUS(f, 8);
	check_intact(f, 10);
}

static void unmap_fd_cuts(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "UNMAP_FD", .prepare = prepare_table,
		.act = act_unmap, .check = check_unmapped,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 2,
	});
}

static long act_protect(struct fixture *f)
{
	return mv_protect(f->ctl, 6 * PAGE, 4 * PAGE, R);
}

static void check_protected(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	assert_int_equal(nr_ranges(f->ctl), 4);
	check_intact(f, 5);
	READS(f, 6, WORD(6));
	WRITE_SEGV(f, 6);
	WRITE_SEGV(f, 9);
	check_intact(f, 10);
}

static void protect_cuts_twice(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "PROTECT", .prepare = prepare_table,
		.act = act_protect, .check = check_protected,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 3,
	});
}

/* Cuts what it has made itself, for which it comes back for more memory. */
static long update(struct fixture *f, long (*call)(struct fixture *f,
						   struct memview_update_info *u))
{
	struct memview_op ops[] = {
		{ .op = MEMVIEW_OP_MAP, .flags = RW, .mem_offset = 64 * PAGE,
		  .size = 16 * PAGE, .fd = f->file },
		{ .op = MEMVIEW_OP_PROTECT, .flags = R, .mem_offset = 66 * PAGE,
		  .size = 4 * PAGE },
		{ .op = MEMVIEW_OP_UNMAP, .mem_offset = 6 * PAGE, .size = 4 * PAGE },
	};
	struct memview_update_info u = {
		.ops = (uintptr_t)ops, .count = 3, .op_size = sizeof(ops[0]),
	};

	return call(f, &u);
}

static long update_by_ioctl(struct fixture *f, struct memview_update_info *u)
{
	return ioctl(f->ctl, MEMVIEW_UPDATE, u);
}

static long act_update(struct fixture *f)
{
	return update(f, update_by_ioctl);
}

static struct io_uring ring;

/* Where io_uring itself fails to submit or to wait, that is done again. */
static long update_by_ring(struct fixture *f, struct memview_update_info *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct memview_sqe_cmd head = { .arg = (uintptr_t)u };
	struct io_uring_cqe *cqe;
	long ret;

	if (!sqe)
		abort();
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = f->ctl;
	sqe->cmd_op = MEMVIEW_UPDATE;
	memcpy((char *)sqe + offsetof(struct io_uring_sqe, cmd), &head, sizeof(head));
	while (io_uring_submit(&ring) < 0)
		;
	while (io_uring_wait_cqe(&ring, &cqe) < 0)
		;
	ret = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	errno = ret < 0 ? -ret : 0;
	return ret < 0 ? -1 : ret;
}

static long act_update_by_ring(struct fixture *f)
{
	return update(f, update_by_ring);
}

static void check_updated(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	assert_int_equal(nr_ranges(f->ctl), 6);
	assert_int_equal(rights_at(f->ctl, 65), RW);
	assert_int_equal(rights_at(f->ctl, 66), R);
	assert_int_equal(rights_at(f->ctl, 70), RW);
	check_intact(f, 5);
	READ_SIGBUS(f, 6);
	check_intact(f, 10);
	READS(f, 66, WORD(2));
	WRITE_SEGV(f, 69);
}

/* ECANCELED: io_uring has no memory for a thread. */
static void update_cuts_what_it_maps_by_ring(struct fixture *f)
{
	int ret = io_uring_queue_init(4, &ring, 0);

	if (ret)
		SKIP("no io_uring: %s", strerrorname_np(-ret));
	sweep(f, &(const struct call){
		.what = "UPDATE by a ring", .prepare = prepare_table,
		.act = act_update_by_ring, .check = check_updated,
		.errnos = { ENOMEM, EFAULT, ECANCELED }, .must_fail = 3,
	});
}

static void update_cuts_what_it_maps(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "UPDATE", .prepare = prepare_table,
		.act = act_update, .check = check_updated,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 6,
	});
}

static long act_viewfd(struct fixture *f)
{
	return mv_viewfd(f->ctl);
}

static void get_viewfd(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "GET_VIEWFD", .act = act_viewfd, .check = close_viewfd,
		.errnos = { ENOMEM }, .must_fail = 3,
	});
}

/* The table of file descriptors is full and has to grow. */
static void prepare_full_fd_table(struct fixture *f)
{
	(void)f;
	close_range(64, ~0U, 0);
	for (int fd = 3; fd < 64; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			EXPECT_OK(dup2(2, fd));
	}
}

static long act_viewfd_rights(struct fixture *f)
{
	return mv_viewfd_rights(f->ctl, R);
}

static void get_viewfd_rights(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "GET_VIEWFD_RIGHTS", .act = act_viewfd_rights,
		.prepare = prepare_full_fd_table, .check = close_viewfd,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 4,
	});
}

#define QUERY_MANY 200

static struct memview_range_info many_ranges[QUERY_MANY];

static long act_query(struct fixture *f)
{
	struct memview_query_info q;

	memset(many_ranges, 0, sizeof(many_ranges));
	return mv_query(f->ctl, 0, many_ranges, f->tc->param, &q);
}

static void check_queried(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	for (unsigned long i = 0; i < f->tc->param; i++)
		assert_int_equal(many_ranges[i].mem_offset, 2 * i * PAGE);
}

/* Few: a slab object. Many: pages, or where there are none, vmalloc(). */
static void query(struct fixture *f)
{
	for (unsigned long i = 0; i < f->tc->param; i++)
		map_pages(f, 2 * i, i % FILE_PAGES, 1, R);
	sweep(f, &(const struct call){
		.what = "QUERY", .act = act_query, .check = check_queried,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 3,
	});
}

/* The caller's entries are larger than the kernel's: it has to clear the rest. */
static long act_query_larger(struct fixture *f)
{
	static char room[4][128];
	struct memview_query_info q = {
		.ranges = (uintptr_t)room, .count = 4, .range_size = sizeof(room[0]),
	};

	return ioctl(f->ctl, MEMVIEW_QUERY, &q);
}

static void check_nothing(struct fixture *f, long ret)
{
	(void)f;
	assert_int_equal(ret, 0);
}

static void query_larger_entries(struct fixture *f)
{
	prepare_table(f);
	sweep(f, &(const struct call){
		.what = "QUERY, larger entries", .act = act_query_larger,
		.check = check_nothing, .errnos = { ENOMEM, EFAULT },
		.must_fail = 5,
	});
}

static long act_populate(struct fixture *f)
{
	struct memview_populate_info info = {
		.mem_offset = 8 * PAGE, .size = 24 * PAGE, .flags = MEMVIEW_POPULATE_PEERS,
	};

	return ioctl(f->ctl, MEMVIEW_POPULATE, &info);
}

/* Nothing is there: the file has no pages, source and peer no page tables. */
static void prepare_populate(struct fixture *f)
{
	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
	EXPECT_CALL(f->peer, op_munmap, f->view, VIEW_PAGES * PAGE);
	f->view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE,
			      PROT_READ | PROT_WRITE, 0);
}

static void check_populated(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	for (unsigned long page = 8; page < 32; page++)
		READS(f, page, 0);
}

static void populate(struct fixture *f)
{
	map_pages(f, 8, 0, 24, RW);
	sweep(f, &(const struct call){
		.what = "POPULATE", .prepare = prepare_populate, .act = act_populate,
		.check = check_populated, .errnos = { ENOMEM, EFAULT }, .must_fail = 1,
	});
}

/* 2 MiB: one entry, where the kernel can have those. */
#define BLOCK_PAGES	(HUGE_SIZE / PAGE)

static uint64_t huge_before;	/* entries, at the begin of a try */

/* The peer has a place for one entry, and no page tables. */
static void prepare_block(struct fixture *f)
{
	struct memview_info info;

	EXPECT_CALL(f->peer, op_munmap, f->view, VIEW_PAGES * PAGE);
	f->view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE,
			      PROT_READ | PROT_WRITE, 0);
	prepare_new_file(f);
	map_pages(f, 0, 0, BLOCK_PAGES, RW);
	EXPECT_OK(mv_info(f->ctl, &info));
	huge_before = info.huge_entries;
}

/* After the last try, of which nothing has failed: such is what the others met. */
static void check_huge(struct fixture *f)
{
	struct memview_info info;

	EXPECT_OK(mv_info(f->ctl, &info));
	if ((info.features & MEMVIEW_FEATURE_HUGE) && info.huge_entries == huge_before)
		fail_msg("a block was mapped by pages");
}

static void prepare_empty_block(struct fixture *f)
{
	prepare_block(f);
	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
}

static long act_populate_block(struct fixture *f)
{
	struct memview_populate_info info = {
		.size = HUGE_SIZE, .flags = MEMVIEW_POPULATE_PEERS,
	};

	return ioctl(f->ctl, MEMVIEW_POPULATE, &info);
}

static void check_populated_block(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	READS(f, 0, 0);
	READS(f, BLOCK_PAGES - 1, 0);
	WRITES(f, 7, 7);
	assert_int_equal(file_word(f->file, 7 * PAGE), 7);
}

static void populate_a_block(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "POPULATE, a block", .prepare = prepare_empty_block,
		.act = act_populate_block, .check = check_populated_block,
		.errnos = { ENOMEM, EFAULT }, .must_fail = 1,
	});
	check_huge(f);
}

static long act_info(struct fixture *f)
{
	struct memview_info info;

	return mv_info(f->ctl, &info);
}

static void get_info(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "GET_INFO", .act = act_info, .check = check_nothing,
		.errnos = { EFAULT }, .must_fail = 1,
	});
}

static long act_fdinfo(struct fixture *f)
{
	char path[64], text[512];
	int fd, err;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", f->ctl);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text));
	err = errno;
	close(fd);
	errno = err;
	return n < 0 ? -1 : 0;
}

static void show_fdinfo(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "fdinfo", .act = act_fdinfo, .check = check_nothing,
		.errnos = { ENOMEM, EFAULT, ENOENT }, .must_fail = 2,
	});
}

/* What cannot be refused must not depend on memory either (R4). */
static void check_view_is_dead(struct fixture *f, long ret)
{
	assert_int_equal(ret, 0);
	READ_SIGBUS(f, 1);
	READ_SIGBUS(f, 20);
}

static void prepare_next_view(struct fixture *f)
{
	EXPECT_CALL(f->peer, op_munmap, f->view, VIEW_PAGES * PAGE);
	EXPECT_CALL(f->peer, op_close, f->peer_viewfd);
	close(f->viewfd);
	if (f->ctl >= 0)
		close(f->ctl);
	f->ctl = (int)EXPECT_OK(mv_open());
	EXPECT_OK(mv_set_size(f->ctl, VIEW_PAGES * PAGE));
	f->viewfd = (int)EXPECT_OK(mv_viewfd(f->ctl));
	f->peer_viewfd = peer_send_fd(f->peer, f->viewfd);
	f->view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE,
			      PROT_READ | PROT_WRITE, 0);
	prepare_table(f);
}

static long act_revoke(struct fixture *f)
{
	return mv_revoke(f->ctl);
}

static void revoke_never_fails(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "REVOKE", .prepare = prepare_next_view,
		.act = act_revoke, .check = check_view_is_dead,
	});
}

static long act_close(struct fixture *f)
{
	int fd = f->ctl;

	f->ctl = -1;
	return close(fd);
}

static void close_never_fails(struct fixture *f)
{
	sweep(f, &(const struct call){
		.what = "close", .prepare = prepare_next_view,
		.act = act_close, .check = check_view_is_dead,
	});
}

/* The controller looks into the peer's view as a debugger does. */
static long act_peek(struct fixture *f)
{
	char path[64];
	uint64_t word = 0;
	int fd, err;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/mem", f->peer->pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = pread(fd, &word, sizeof(word), AT(f, 1));
	if (n == sizeof(word) && word != WORD(1))
		fail_msg("/proc/PID/mem shows %#lx", word);
	if (n == sizeof(word))
		n = pwrite(fd, &word, sizeof(word), AT(f, 1));
	err = errno;
	close(fd);
	errno = err;
	return n == sizeof(word) ? 0 : -1;
}

static void ptrace_access(struct fixture *f)
{
	prepare_table(f);
	sweep(f, &(const struct call){
		.what = "/proc/PID/mem", .prepare = prepare_table,
		.act = act_peek, .check = check_nothing,
		.errnos = { EIO, ENOMEM, EFAULT, ENOENT }, .must_fail = 3,
	});
}

/* ---- The first MAP_FD of a process ------------------------------------ */

#define INJECTED	0x01
#define FAILED		0x02
#define CHANGED		0x04
#define LEFT_OVER	0x08
#define NOT_REPEATABLE	0x10
#define ERRNO_OF(ret)	((int)((ret) >> 8))

/* fd, nth: with what a process needs for its first source. */
static long op_first_map(const long *a)
{
	struct memview_range_info range;
	struct memview_query_info q;
	long result = 0;
	int ctl = mv_open();
	int nth, ret, err;

	if (ctl < 0 || mv_set_size(ctl, VIEW_PAGES * PAGE))
		return -1;
	nth = nth_begin((unsigned int)a[1]);
	ret = mv_map(ctl, (int)a[0], 0, 4 * PAGE, 0, RW);
	err = errno;
	if (nth_end(nth))
		result |= INJECTED;
	if (ret) {
		result |= FAILED | (long)err << 8;
		if (mv_query(ctl, 0, &range, 1, &q) || q.total)
			result |= CHANGED;
		if (mv_drop_idle(ctl) || count_mappings((int)a[0]))
			result |= LEFT_OVER;
		if (mv_map(ctl, (int)a[0], 0, 4 * PAGE, 0, RW))
			result |= NOT_REPEATABLE;
	}
	if (mv_query(ctl, 0, &range, 1, &q) || q.total != 1)
		result |= CHANGED;
	close(ctl);
	return result;
}

static void first_map_fd_of_a_process(struct fixture *f)
{
	unsigned int n, failed = 0;
	long ret = INJECTED;

	need_injection();
	for (n = 1; (ret & INJECTED) && n < MAX_NTH; n++) {
		struct peer *p = peer_spawn();

		ret = EXPECT_CALL(p, op_first_map, peer_send_fd(p, f->file), n);
		peer_kill(p);
		if (ret & (CHANGED | LEFT_OVER | NOT_REPEATABLE))
			fail_msg("failure %u: result %#lx", n, ret);
		if (!(ret & FAILED))
			continue;
		failed++;
		if (ERRNO_OF(ret) != ENOMEM && ERRNO_OF(ret) != EFAULT)
			fail_msg("failure %u: %s", n, strerrorname_np(ERRNO_OF(ret)));
	}
	assert_in_range(n, 1, MAX_NTH - 1);
	assert_in_range(failed, least_failures(failures_of_a_source(f) + 2), n);
	print_message("# first MAP_FD: %u places, %u failures of the call\n",
		      n - 2, failed);
}

/* ---- A peer under injection ------------------------------------------ */

#define SIGNALLED	0x02
#define WRONG		0x04

/* fn, nth, result that is right, arguments: see sweep_peer(). */
static long op_failing(const long *a)
{
	int nth = nth_begin((unsigned int)a[1]);
	struct outcome o = PROBE((op_fn)a[0], a[3], a[4], a[5]);
	long result = nth_end(nth) ? INJECTED : 0;

	if (o.sig)
		return result | SIGNALLED | o.sig << 8;
	if (o.ret == -1)
		return result | FAILED | SIGNALLED | o.err << 8;
	return result | (o.ret == a[2] ? 0 : WRONG);
}

struct access {
	const char *what;
	void (*prepare)(struct fixture *f);
	op_fn fn;
	long want;
	long args[3];
	int errnos[4];		/* of a system call; 0: it is a plain access */
	unsigned int must_inject;
};

/*
 * An access is tried again by the kernel, or ends with SIGBUS; a system call
 * may fail. It never sees anything wrong, and then it works.
 */
static void sweep_peer(struct fixture *f, const struct access *t)
{
	unsigned int n, lost = 0;
	long ret = INJECTED;

	need_injection();
	for (n = 1; (ret & INJECTED) && n < MAX_NTH; n++) {
		t->prepare(f);
		ret = EXPECT_CALL(f->peer, op_failing, (long)t->fn, n, t->want,
				  t->args[0] + (long)f->view, t->args[1], t->args[2]);
		if (ret & WRONG)
			fail_msg("%s, failure %u: wrong result", t->what, n);
		if (ret & SIGNALLED) {
			lost++;
			if (!(ret & INJECTED))
				fail_msg("%s failed by itself: %#lx", t->what, ret);
			if (t->errnos[0] ? !is_one_of(ERRNO_OF(ret), t->errnos) :
					   ERRNO_OF(ret) != SIGBUS)
				fail_msg("%s, failure %u: signal or errno %d",
					 t->what, n, ERRNO_OF(ret));
		}
		EXPECT_VALUE((unsigned long)t->want,
			     CALL(f->peer, t->fn, t->args[0] + (long)f->view,
				  t->args[1], t->args[2]));
	}
	assert_in_range(n, 1, MAX_NTH - 1);
	assert_in_range(n - 2, t->must_inject, MAX_NTH);
	print_message("# %s: %u places, %u times in vain\n", t->what, n - 2, lost);
}

/* The peer without page tables for the view, the source without any page. */
static void prepare_cold(struct fixture *f)
{
	prepare_new_file(f);
	if (ON(f->backing) & ON_DISK) {
		/* What is read comes from the disk. */
		EXPECT_OK(fsync(f->file));
		EXPECT_OK(posix_fadvise(f->file, 0, 0, POSIX_FADV_DONTNEED));
	}
	EXPECT_CALL(f->peer, op_munmap, f->view, VIEW_PAGES * PAGE);
	f->view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE,
			      PROT_READ | PROT_WRITE | PROT_EXEC, 0);
	map_pages(f, 0, 0, 32, f->tc->param ? (uint32_t)f->tc->param : RW);
}

static void fault_for_reading(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "read", .prepare = prepare_cold, .fn = op_read,
		.want = WORD(3), .args = { 3 * PAGE }, .must_inject = 1,
	});
}

static long op_write_and_read(const long *a)
{
	op_write(a);
	return op_read(a);
}

static void fault_for_writing(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "write", .prepare = prepare_cold, .fn = op_write_and_read,
		.want = 0x1234, .args = { 3 * PAGE, 0x1234 }, .must_inject = 1,
	});
}

/* The page is there, and read-only. */
static void prepare_present(struct fixture *f)
{
	prepare_cold(f);
	READS(f, 3, WORD(3));
}

static void fault_for_upgrading(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "upgrade", .prepare = prepare_present,
		.fn = op_write_and_read,
		.want = 0x1234, .args = { 3 * PAGE, 0x1234 },
	});
}

/* The file has a hole: the source has to allocate. */
static void prepare_hole(struct fixture *f)
{
	size_t block = backing_block(f->backing);

	prepare_cold(f);
	EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    0, block));
}

static void fault_in_a_hole(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "write to a hole", .prepare = prepare_hole,
		.fn = op_write_and_read,
		.want = 0x1234, .args = { 0, 0x1234 }, .must_inject = 2,
	});
}

static void block_read(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "read in a block", .prepare = prepare_block, .fn = op_read,
		.want = WORD(3), .args = { 3 * PAGE }, .must_inject = 1,
	});
	check_huge(f);
}

static void block_written(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "write in a block", .prepare = prepare_block,
		.fn = op_write_and_read,
		.want = 0x1234, .args = { 3 * PAGE, 0x1234 }, .must_inject = 1,
	});
	check_huge(f);
}

static void block_allocated(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "write to an empty block", .prepare = prepare_empty_block,
		.fn = op_write_and_read,
		.want = 0x1234, .args = { 3 * PAGE, 0x1234 }, .must_inject = 2,
	});
	check_huge(f);
}

static void prepare_code(struct fixture *f)
{
	prepare_cold(f);
	put_code(f->file, 3, 4711);
}

static void fault_for_executing(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "execute", .prepare = prepare_code, .fn = op_exec,
		.want = 4711, .args = { 3 * PAGE }, .must_inject = 1,
	});
}

/* A system call reads view memory: address -> the word. */
static long op_copy_out(const long *a)
{
	static int pipes[2] = { -1, -1 };
	uint64_t word = 0;

	if (pipes[0] < 0 && pipe(pipes))
		return -1;
	if (write(pipes[1], (void *)a[0], sizeof(word)) != sizeof(word))
		return -1;
	/* A read that fails leaves the pipe full. */
	while (read(pipes[0], &word, sizeof(word)) < 0)
		;
	return (long)word;
}

static void fault_of_a_system_call(struct fixture *f)
{
	/* Makes its pipe. */
	prepare_cold(f);
	EXPECT_VALUE(WORD(3), CALL(f->peer, op_copy_out, AT(f, 3)));
	sweep_peer(f, &(const struct access){
		.what = "write(2)", .prepare = prepare_cold, .fn = op_copy_out,
		.want = WORD(3), .args = { 3 * PAGE },
		.errnos = { EFAULT, ENOMEM }, .must_inject = 2,
	});
}

/* ---- Mappings of the view --------------------------------------------- */

/* address, fd -> what the view shows where it is mapped a second time */
static long op_map_again(const long *a)
{
	uint64_t *p = mmap(NULL, 64 * PAGE, PROT_READ, MAP_SHARED, (int)a[1], 0);
	long word;

	if (p == MAP_FAILED)
		return -1;
	word = (long)*(volatile uint64_t *)((char *)p + 3 * PAGE);
	munmap(p, 64 * PAGE);
	return word;
}

static void mmap_of_the_view(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "mmap", .prepare = prepare_cold, .fn = op_map_again,
		.want = WORD(3), .args = { 0, f->peer_viewfd },
		.errnos = { ENOMEM, SIGBUS }, .must_inject = 3,
	});
}

/* address -> the word in its page, read through a mapping split in three */
static long op_split(const long *a)
{
	long word;

	if (mprotect((void *)a[0], PAGE, PROT_READ))
		return -1;
	word = op_read(a);
	/* Merges again: may need memory, and fail, too. */
	if (mprotect((void *)a[0], PAGE, PROT_READ | PROT_WRITE | PROT_EXEC))
		return -1;
	return word;
}

static void mprotect_of_the_view(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "mprotect", .prepare = prepare_cold, .fn = op_split,
		.want = WORD(3), .args = { 3 * PAGE },
		.errnos = { ENOMEM, SIGBUS }, .must_inject = 3,
	});
}

/* address -> what a child sees in the parent's view */
static long op_fork_reads(const long *a)
{
	int status;
	pid_t pid;

	if (op_read(a) != (long)WORD(3))
		return -2;
	pid = fork();
	if (!pid) {
		bool same = op_read(a) == (long)WORD(3);

		_exit(same ? 42 : 43);
	}
	if (pid < 0)
		return -1;
	/* wait4() writes the status with a copy that can fail, too. */
	while (waitpid(pid, &status, 0) != pid)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -3;
}

static void fork_with_a_view(struct fixture *f)
{
	sweep_peer(f, &(const struct access){
		.what = "fork", .prepare = prepare_present, .fn = op_fork_reads,
		.want = 42, .args = { 3 * PAGE },
		.errnos = { ENOMEM, EAGAIN, SIGBUS }, .must_inject = 20,
	});
}

/* ---- Invalidations of a controller ------------------------------------ */

#define INVALIDATING	24		/* at a time; it has room for 16 */
#define FREED		(256UL << 20)	/* by each, in one call */

static pthread_t invalidating[INVALIDATING];

/* Allocations that cannot wait, of threads that ask for it. */
static bool fail_nowait(bool on)
{
	return put_text(DEBUGFS "failslab/ignore-gfp-wait", "Y") &&
	       put_text(DEBUGFS "failslab/task-filter", on ? "Y" : "N") &&
	       put_text(DEBUGFS "failslab/interval", "1") &&
	       put_text(DEBUGFS "failslab/times", on ? "-1" : "1") &&
	       put_text(DEBUGFS "failslab/probability", on ? "100" : "0");
}

/* Of memory that is no source, all the time. A page table of it is never freed. */
static void *invalidate(void *arg)
{
	char *p = mmap(NULL, FREED, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)arg;
	if (p == MAP_FAILED || madvise(p, FREED, MADV_NOHUGEPAGE) || op_pin(ARGS(0)) ||
	    !put_text("/proc/thread-self/make-it-fail", "1")) {
		atomic_fetch_add(&shared->bad, 1);
		return NULL;
	}
	for (unsigned long at = 0; at < FREED; at += HUGE_SIZE)
		(void)*(volatile char *)(p + at);
	atomic_fetch_add(&shared->loops, 1);
	while (!atomic_load(&shared->stop))
		madvise(p, FREED, MADV_DONTNEED);
	return NULL;
}

static long op_invalidate(const long *a)
{
	(void)a;
	for (int i = 0; i < INVALIDATING; i++)
		if (pthread_create(&invalidating[i], NULL, invalidate, NULL))
			return -1;
	while (atomic_load(&shared->loops) + atomic_load(&shared->bad) < INVALIDATING)
		nap();
	return atomic_load(&shared->bad) ? -1 : 0;
}

static long op_invalidate_no_more(const long *a)
{
	(void)a;
	atomic_store(&shared->stop, 1);
	for (int i = 0; i < INVALIDATING; i++)
		pthread_join(invalidating[i], NULL);
	return 0;
}

/*
 * More invalidations than a controller has room for, and no memory for any more: of
 * those nobody knows what they invalidate. Until they have ended no fault takes
 * anything from any source (R3); then all is as it was. Their threads are stopped in the
 * middle of it, as many as were there.
 */
static void faults_wait_for_what_nobody_knows(struct fixture *f)
{
	struct peer *p, *hog;
	struct controller c;
	unsigned long view;
	bool waits = false;

	(void)f;
	need_injection();
	EXPECT_OK(op_pin(ARGS(1)));
	controller_start(&c, 0, RW);
	p = peer_spawn();
	view = map_view(p, c.viewfd, PROT_READ);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	hog = hog_spawn(0);
	assert_true(fail_nowait(true));
	EXPECT_CALL(c.peer, op_invalidate);
	for (int i = 0; i < 100 && !waits; i++) {
		/* What is mapped around it is there already. */
		EXPECT_CALL(p, op_munmap, view, CTL_PAGES * PAGE);
		view = map_view(p, c.viewfd, PROT_READ);
		hog_begin(hog);
		START(p, op_read, view + PAGE);
		waits = waits_in_kernel(p);
		assert_true(hog_end(hog));
		if (!waits)
			EXPECT_VALUE(WORD(1), FINISH(p, "a fault"));
	}
	START(c.peer, op_invalidate_no_more);
	FINISH(c.peer, "invalidating");
	assert_true(fail_nowait(false));
	hog_reap(hog);
	EXPECT_OK(op_pin(ARGS(-1)));
	if (!waits)
		fail_msg("no fault waits for invalidations that nobody knows");
	EXPECT_VALUE(WORD(1), FINISH(p, "a fault that has waited for them"));
	view = map_view(p, c.viewfd, PROT_READ);
	START(p, op_read, view + 2 * PAGE);
	EXPECT_VALUE(WORD(2), FINISH(p, "a fault after them"));
}

/* ---- Loading the module ------------------------------------------------ */

#define MODULE		"memory_view"
/*
 * Places before the end of a load that can be in the driver's own start. What
 * comes before them is the core's, and 6.1 warns when it cannot describe a
 * trace event.
 */
#define MODULE_PLACES	190U

static bool module_loaded(void)
{
	return !access("/sys/module/" MODULE, F_OK);
}

static bool unload(void)
{
	return !syscall(SYS_delete_module, MODULE, O_NONBLOCK);
}

/* Without its debug information, for reading that allocates most. */
static int open_module(void)
{
	const char *kernel = getenv("MEMORY_VIEW_GUEST");
	char command[256];
	int fd;

	if (!kernel || !scratch_dir())
		return -1;
	snprintf(command, sizeof(command),
		 "strip -g -o %s/" MODULE ".ko build/%s/" MODULE ".ko 2>/dev/null",
		 scratch_dir(), kernel);
	if (system(command))
		return -1;
	snprintf(command, sizeof(command), "%s/" MODULE ".ko", scratch_dir());
	fd = open(command, O_RDONLY | O_CLOEXEC);
	return fd;
}

static long load(int fd, unsigned int n, bool *injected, unsigned int *left)
{
	int nth = nth_begin(n);
	long ret = syscall(SYS_finit_module, fd, "", 0);
	int err = errno;
	char text[16] = "";

	if (pread(nth, text, sizeof(text) - 1, 0) > 0)
		*left = strtoul(text, NULL, 10);
	*injected = nth_end(nth);
	errno = err;
	return ret;
}

static void module_loads_or_leaves_nothing(struct fixture *f)
{
	unsigned int left = 0, places, failed = 0;
	bool injected;
	int fd;

	need_injection();
	fd = open_module();
	if (fd < 0)
		SKIP("the module is not in build/");
	prepare_no_view(f);
	if (!EVENTUALLY(unload()))
		fail_msg("the module is in use");

	EXPECT_OK(load(fd, MAX_NTH * 10, &injected, &left));
	assert_true(left);
	places = MAX_NTH * 10 - left;
	assert_true(EVENTUALLY(unload()));

	for (unsigned int n = places > MODULE_PLACES ? places - MODULE_PLACES : 1;
	     n <= places; n++) {
		if (!load(fd, n, &injected, &left)) {
			/* The core has places that do without. */
			assert_true(EVENTUALLY(unload()));
			continue;
		}
		assert_true(injected);
		failed++;
		if (errno != ENOMEM && errno != EFAULT)
			print_message("# failure %u of %u: %s\n", n, places,
				      strerrorname_np(errno));
		assert_false(module_loaded());
		assert_int_equal(access(DEVICE, F_OK), -1);
	}
	EXPECT_OK(load(fd, 0, &injected, &left));
	assert_int_equal(access(DEVICE, F_OK), 0);
	assert_in_range(failed, 10, MODULE_PLACES);
	print_message("# module: %u places, %u failures of the last %u\n", places,
		      failed, MODULE_PLACES);
}

#define DISK_TOO	(ON(MEMFD) | ON(HUGETLB) | ON(EXT4))

static const struct test_case cases[] = {
	CASE(open_control_fd),
	CASE(open_first_control_fd),
	CASE(set_size_shrinks),
	CASE_ON(first_map_fd_of_a_process, ON(MEMFD) | ON(HUGETLB)),
	CASE_ON(map_fd_makes_a_source, DISK_TOO),
	CASE_ON(map_fd_asks_for_exec, ON(MEMFD) | ON(HUGETLB)),
	CASE_ON(map_fd_adopts, ON(MEMFD) | ON(HUGETLB)),
	CASE(map_fd_uses_a_source),
	CASE(map_fd_into_a_second_view),
	CASE(map_fd_replaces_and_cuts),
	CASE(unmap_fd_cuts),
	CASE(protect_cuts_twice),
	CASE(update_cuts_what_it_maps),
	CASE(update_cuts_what_it_maps_by_ring),
	CASE(get_viewfd),
	CASE(get_viewfd_rights),
	CASE_VARIANT(query, "few", 20),
	CASE_VARIANT(query, "many", QUERY_MANY),
	CASE(query_larger_entries),
	CASE_ON(populate, DISK_TOO),
	CASE_ON(populate_a_block, ON(HUGETLB)),
	CASE(get_info),
	CASE(show_fdinfo),
	CASE(revoke_never_fails),
	CASE(close_never_fails),
	CASE(ptrace_access),
	CASE_ON(fault_for_reading, DISK_TOO),
	CASE_ON(fault_for_writing, DISK_TOO),
	{ .name = "fault_for_upgrading", .run = fault_for_upgrading,
	  .backings = DISK_TOO, .variant = "lazy",
	  .param = RW | MEMVIEW_MAP_LAZY_WRITE },
	CASE_ON(fault_in_a_hole, DISK_TOO),
	CASE_ON(block_read, ON(HUGETLB)),
	CASE_ON(block_written, ON(HUGETLB)),
	CASE_ON(block_allocated, ON(HUGETLB)),
	CASE_VARIANT(fault_for_executing, "rwx", RWX),
	CASE(fault_of_a_system_call),
	CASE(mmap_of_the_view),
	CASE(mprotect_of_the_view),
	CASE(fork_with_a_view),
	CASE(faults_wait_for_what_nobody_knows),
	CASE(module_loads_or_leaves_nothing),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "fail_nth", cases);
}
