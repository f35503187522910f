// SPDX-License-Identifier: GPL-2.0
/*
 * Table operations by io_uring: they do what the ioctls do and fail as they do;
 * their completion is the return of the ioctl; what must wait waits elsewhere, and
 * completes; rings keep the control fd, and die with who made them.
 */
#include "adv.h"

#include <dirent.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <memview_uring.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define ENTRIES		64U

/* How an operation gets to the driver. */
enum kind {
	POINTER,	/* the argument behind a pointer, in a ring of any kind */
	INLINE,		/* in the submission */
	WORKER,		/* the same, and a thread of the ring has to do it */
	POINTER_POLLED,	/* the kernel's thread looks for submissions */
	INLINE_POLLED,
};

#define ALL_KINDS(fn) \
	CASE_VARIANT(fn, "pointer", POINTER), \
	CASE_VARIANT(fn, "inline", INLINE), \
	CASE_VARIANT(fn, "worker", WORKER), \
	CASE_VARIANT(fn, "pointer, polled", POINTER_POLLED), \
	CASE_VARIANT(fn, "inline, polled", INLINE_POLLED)

static struct io_uring ring;
static enum kind kind;
static pid_t test_pid;

/* Also in a peer, where an assertion would be out of place: that one dies. */
static void need(bool ok, const char *what)
{
	if (ok)
		return;
	if (getpid() != test_pid)
		_exit(1);
	fail_msg("%s: %s", what, strerror(errno));
}

static bool is_inline(void)
{
	return kind != POINTER && kind != POINTER_POLLED;
}

/* 0, or an errno. */
static int ring_init(enum kind k, unsigned int more)
{
	unsigned int flags = more;
	int ret;

	kind = k;
	if (is_inline())
		flags |= IORING_SETUP_SQE128;
	if (k == POINTER_POLLED || k == INLINE_POLLED)
		flags |= IORING_SETUP_SQPOLL;
	ret = io_uring_queue_init(ENTRIES, &ring, flags);
	errno = -ret;
	return -ret;
}

static void ring_start(struct fixture *f, enum kind k)
{
	struct memview_info info;
	int err;

	EXPECT_OK(mv_info(f->ctl, &info));
	if (!(info.features & MEMVIEW_FEATURE_URING_CMD))
		SKIP("this kernel has no io_uring");
	err = ring_init(k, 0);
	if (err)
		SKIP("no io_uring: %s", strerrorname_np(err));
}

/* What @info points to is the argument of @cmd; user_data is @id. */
static struct io_uring_sqe *submission(int ctl, uint32_t cmd, void *info, uint64_t id)
{
	struct memview_sqe_cmd head = { 0 };
	struct io_uring_sqe *sqe;
	unsigned char *to;

	/* The kernel's thread gives room back some time after the completions. */
	while (!(sqe = io_uring_get_sqe(&ring)))
		need(io_uring_sqring_wait(&ring) >= 0, "io_uring_sqring_wait");
	to = (unsigned char *)sqe + offsetof(struct io_uring_sqe, cmd);
	memset(sqe, 0, is_inline() ? 2 * sizeof(*sqe) : sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = ctl;
	sqe->cmd_op = cmd;
	sqe->user_data = id;
	sqe->flags = kind == WORKER ? IOSQE_ASYNC : 0;
	if (info && is_inline()) {
		head.flags = MEMVIEW_SQE_INLINE;
		memcpy(to + sizeof(head), info, _IOC_SIZE(cmd));
	} else {
		head.arg = (uintptr_t)info;
	}
	memcpy(to, &head, sizeof(head));
	return sqe;
}

static struct memview_sqe_cmd *head_of(struct io_uring_sqe *sqe)
{
	return (void *)((unsigned char *)sqe + offsetof(struct io_uring_sqe, cmd));
}

/* The next completion: -1 and errno, or what it says. */
static int completion(uint64_t *id)
{
	struct __kernel_timespec late = { .tv_sec = WITHIN_SECONDS };
	struct io_uring_cqe *cqe;
	int ret;

	do {
		ret = io_uring_wait_cqe_timeout(&ring, &cqe, &late);
	} while (ret == -EINTR);
	errno = -ret;
	need(!ret, "no completion");
	if (id)
		*id = cqe->user_data;
	ret = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	errno = ret < 0 ? -ret : 0;
	return ret < 0 ? -1 : ret;
}

static bool nothing_completed(void)
{
	struct io_uring_cqe *cqe;

	return io_uring_peek_cqe(&ring, &cqe) == -EAGAIN;
}

/* Submits what is prepared, which the kernel's own thread may have taken by then. */
static bool submitted(void)
{
	int n = io_uring_submit(&ring);

	return n > 0 || (!n && (kind == POINTER_POLLED || kind == INLINE_POLLED));
}

/* Submits what has been prepared, and says what became of it. */
static int go(void)
{
	need(submitted(), "io_uring_submit");
	return completion(NULL);
}

static int ring_call(int ctl, uint32_t cmd, void *info)
{
	submission(ctl, cmd, info, 0);
	return go();
}

static struct memview_map_fd_info map_info(int file, unsigned long page,
					   unsigned long file_page, unsigned long nr,
					   uint32_t flags)
{
	return (struct memview_map_fd_info){
		.fd = file, .flags = flags, .fd_offset = file_page * PAGE,
		.size = nr * PAGE, .mem_offset = page * PAGE,
	};
}

static struct memview_unmap_fd_info unmap_info(unsigned long page, unsigned long nr)
{
	return (struct memview_unmap_fd_info){
		.mem_offset = page * PAGE, .size = nr * PAGE,
	};
}

/* By the ring, in the fixture's view, by pages; -1 and errno. */
static int ring_map(struct fixture *f, unsigned long page, unsigned long file_page,
		    unsigned long nr, uint32_t flags)
{
	struct memview_map_fd_info info = map_info(f->file, page, file_page, nr, flags);

	return ring_call(f->ctl, MEMVIEW_MAP_FD, &info);
}

static int ring_unmap(struct fixture *f, unsigned long page, unsigned long nr)
{
	struct memview_unmap_fd_info info = unmap_info(page, nr);

	return ring_call(f->ctl, MEMVIEW_UNMAP_FD, &info);
}

static int ring_protect(struct fixture *f, unsigned long page, unsigned long nr, uint32_t flags)
{
	struct memview_protect_info info = {
		.mem_offset = page * PAGE, .size = nr * PAGE, .flags = flags,
	};

	return ring_call(f->ctl, MEMVIEW_PROTECT, &info);
}

static int ring_set_size(struct fixture *f, unsigned long pages)
{
	struct memview_size_info info = { .size = pages * PAGE };

	return ring_call(f->ctl, MEMVIEW_SET_SIZE, &info);
}

/* ---- what they do ---- */

static void operations_work(struct fixture *f)
{
	struct memview_op ops[] = {
		{ .op = MEMVIEW_OP_MAP, .flags = R, .size = 2 * PAGE, .fd_offset = 8 * PAGE,
		  .mem_offset = 20 * PAGE, .fd = f->file },
		{ .op = MEMVIEW_OP_UNMAP, .mem_offset = 21 * PAGE, .size = PAGE },
	};
	struct memview_update_info update = {
		.ops = (uintptr_t)ops, .count = 2, .op_size = sizeof(*ops), .failed = 77,
	};
	struct memview_unmap_fd_info unmap = unmap_info(4, 4);

	ring_start(f, f->tc->param);
	assert_int_equal(ring_map(f, 0, 4, 16, RW), 0);
	for (unsigned long i = 0; i < 16; i++) {
		READS(f, i, WORD(i + 4));
		WRITES(f, i, WORD(i + 4));
	}
	assert_int_equal(ring_protect(f, 2, 4, R), 0);
	WRITE_SEGV(f, 3);
	READS(f, 3, WORD(7));
	WRITES(f, 6, WORD(10));
	assert_int_equal(ring_call(f->ctl, MEMVIEW_UNMAP_FD, &unmap), 0);
	assert_int_equal(unmap.unmapped, is_inline() ? 0 : 4 * PAGE);
	READ_SIGBUS(f, 4);
	READ_SIGBUS(f, 7);
	READS(f, 8, WORD(12));
	assert_int_equal(ring_call(f->ctl, MEMVIEW_UPDATE, &update), 0);
	if (!is_inline()) {
		assert_int_equal(update.failed, 2);
		assert_int_equal(update.unmapped, PAGE);
	}
	READS(f, 20, WORD(8));
	READ_SIGBUS(f, 21);
	assert_int_equal(ring_set_size(f, 12), 0);
	READS(f, 11, WORD(15));
	READ_SIGBUS(f, 12);
	assert_int_equal(ring_call(f->ctl, MEMVIEW_REVOKE, NULL), 0);
	READ_SIGBUS(f, 0);
	EXPECT_ERRNO(ESHUTDOWN, ring_map(f, 0, 4, 1, R));
}

/* Of a mapping of the controller's own: by a thread first, then at once. */
/* Who was built with it has nothing of what comes behind it in the submission. */
static void first_version_of_map_fd_works(struct fixture *f)
{
	const uint32_t first = _IOC(_IOC_DIR(MEMVIEW_MAP_FD), _IOC_TYPE(MEMVIEW_MAP_FD),
				    _IOC_NR(MEMVIEW_MAP_FD),
				    offsetof(struct memview_map_fd_info, addr));
	struct memview_map_fd_info info = map_info(f->file, 2, 0, 1, R);

	ring_start(f, f->tc->param);
	info.addr = -1;
	EXPECT_ERRNO(EINVAL, ring_call(f->ctl, MEMVIEW_MAP_FD, &info));
	EXPECT_OK(ring_call(f->ctl, first, &info));
	READS(f, 2, WORD(0));
}

static void adoption_works(struct fixture *f)
{
	struct memview_map_fd_info info = map_info(f->file, 0, 4, 8, RW | MEMVIEW_MAP_ADOPT);
	char *plain = map_file(f, PROT_READ | PROT_WRITE);

	ring_start(f, f->tc->param);
	info.addr = (uintptr_t)plain + 4 * PAGE;
	for (int i = 0; i < 3; i++) {
		info.mem_offset = i * 8 * PAGE;
		EXPECT_OK(ring_call(f->ctl, MEMVIEW_MAP_FD, &info));
		WRITES(f, 8 * i + 7, WORD(11));
		assert_int_equal(source_addr_at(f->ctl, 8 * i), info.addr);
	}
	info.addr = (uintptr_t)plain;
	info.mem_offset = 24 * PAGE;
	EXPECT_REFUSED(f->ctl, EINVAL, ring_call(f->ctl, MEMVIEW_MAP_FD, &info));
	info.addr = PAGE;
	EXPECT_REFUSED(f->ctl, EFAULT, ring_call(f->ctl, MEMVIEW_MAP_FD, &info));
}

/* libmemview's side of it. */
static void library_calls_work(struct fixture *f)
{
	struct memview_arg arg, *where = f->tc->param == POINTER ? &arg : NULL;
	struct memview_batch *batch;
	struct memview *view;
	int fd;

	ring_start(f, f->tc->param);
	assert_int_equal(memview_open(&view), 0);
	memview_prep_set_size(io_uring_get_sqe(&ring), view, VIEW_PAGES * PAGE, where);
	EXPECT_OK(go());
	memview_prep_map(io_uring_get_sqe(&ring), view, 0, f->file, PAGE, 8 * PAGE,
			 MEMVIEW_READ | MEMVIEW_WRITE, where);
	EXPECT_OK(go());
	fd = memview_view_fd(view);
	f->view = EXPECT_CALL(f->peer, op_mmap, peer_send_fd(f->peer, fd), VIEW_PAGES * PAGE,
			      PROT_READ | PROT_WRITE, 0);
	WRITES(f, 7, WORD(8));
	memview_prep_map(io_uring_get_sqe(&ring), view, 7 * PAGE, f->file, PAGE, 8 * PAGE,
			 MEMVIEW_READ, where);
	EXPECT_ERRNO(EEXIST, go());
	memview_prep_replace(io_uring_get_sqe(&ring), view, 7 * PAGE, f->file, PAGE, 8 * PAGE,
			     MEMVIEW_READ, where);
	EXPECT_OK(go());
	READS(f, 7, WORD(1));
	memview_prep_protect(io_uring_get_sqe(&ring), view, 0, PAGE, MEMVIEW_READ, where);
	EXPECT_OK(go());
	WRITE_SEGV(f, 0);
	memview_prep_unmap(io_uring_get_sqe(&ring), view, PAGE, 100 * PAGE, where);
	EXPECT_OK(go());
	READ_SIGBUS(f, 1);
	if (where)
		assert_int_equal(memview_arg_unmapped(&arg), 14 * PAGE);
	assert_int_equal(memview_batch_new(&batch), 0);
	assert_int_equal(memview_batch_unmap(batch, 0, PAGE), 0);
	assert_int_equal(memview_batch_protect(batch, 0, PAGE, MEMVIEW_READ), 0);
	memview_prep_batch(io_uring_get_sqe(&ring), view, batch, where);
	EXPECT_ERRNO(ENOENT, go());
	if (where)
		assert_int_equal(memview_arg_failed(&arg), 1);
	/* More than the kernel takes: it was none of them. */
	while (memview_batch_count(batch) <= MEMVIEW_BATCH_MAX)
		assert_int_equal(memview_batch_unmap(batch, 0, PAGE), 0);
	memview_prep_batch(io_uring_get_sqe(&ring), view, batch, where);
	EXPECT_ERRNO(EINVAL, go());
	if (where)
		assert_int_equal(memview_arg_failed(&arg), MEMVIEW_BATCH_MAX + 1);
	READS(f, 0, WORD(1));
	memview_prep_revoke(io_uring_get_sqe(&ring), view);
	EXPECT_OK(go());
	READ_SIGBUS(f, 0);
	memview_batch_free(batch);
	memview_close(view);
}

/* ---- what they refuse ---- */

/* Another size in an ioctl's number. */
#define RESIZED(cmd, size) \
	(((cmd) & ~(_IOC_SIZEMASK << _IOC_SIZESHIFT)) | (size) << _IOC_SIZESHIFT)

struct refusal {
	int err;
	uint32_t cmd;
	union {
		struct memview_map_fd_info map;
		struct memview_unmap_fd_info unmap;
		struct memview_protect_info protect;
		struct memview_size_info size;
		struct memview_update_info update;
		uint64_t words[8];
	};
};

/* Pages 0 to 3 are mapped for R, 8 to 11 for RW; the ring fails as the ioctl does. */
static void refusals_are_those_of_the_ioctls(struct fixture *f)
{
	struct memview_op op = { .op = 99 };
	struct refusal refusals[] = {
		{ EINVAL, MEMVIEW_MAP_FD, .map = map_info(f->file, 4, 0, 1, W) },
		{ EINVAL, MEMVIEW_MAP_FD, .map = map_info(f->file, 4, 0, 0, R) },
		{ EINVAL, MEMVIEW_MAP_FD, .map = map_info(f->file, 4, 0, 1, R | 1U << 30) },
		{ EOVERFLOW, MEMVIEW_MAP_FD, .map = map_info(f->file, 4, (1UL << 51) - 1, 1, R) },
		{ ERANGE, MEMVIEW_MAP_FD, .map = map_info(f->file, VIEW_PAGES, 0, 1, R) },
		{ EEXIST, MEMVIEW_MAP_FD, .map = map_info(f->file, 3, 0, 2, R) },
		{ EBADF, MEMVIEW_MAP_FD, .map = map_info(9999, 4, 0, 2, R) },
		{ ENODEV, MEMVIEW_MAP_FD, .map = map_info(f->viewfd, 4, 0, 2, R) },
		{ EINVAL, MEMVIEW_UNMAP_FD, .unmap = { .mem_offset = 1, .size = PAGE } },
		{ ERANGE, MEMVIEW_UNMAP_FD, .unmap = unmap_info(VIEW_PAGES - 1, 2) },
		{ ENOENT, MEMVIEW_PROTECT, .protect = { 0, 6 * PAGE, .flags = R } },
		{ EACCES, MEMVIEW_PROTECT, .protect = { 0, 2 * PAGE, .flags = RWX } },
		{ EINVAL, MEMVIEW_PROTECT, .protect = { 0, 2 * PAGE, .flags = R, .__pad = 1 } },
		{ EINVAL, MEMVIEW_SET_SIZE, .size = { 1 } },
		{ EFBIG, MEMVIEW_SET_SIZE, .size = { 1ULL << 63 } },
		{ EINVAL, MEMVIEW_UPDATE,
		  .update = { (uintptr_t)&op, .count = 1, .op_size = sizeof(op) } },
		{ EINVAL, MEMVIEW_UPDATE, .update = { .count = 1, .op_size = 8 } },
		{ EFAULT, MEMVIEW_UPDATE, .update = { 8, .count = 1, .op_size = sizeof(op) } },
		/* Structures of another version, and ioctls that there are not. */
		{ EINVAL, RESIZED(MEMVIEW_MAP_FD, 8U), .map = map_info(f->file, 4, 0, 1, R) },
		{ E2BIG, RESIZED(MEMVIEW_SET_SIZE, 64U), .words = { PAGE, [7] = 1 } },
		{ ENOTTY, _IOW(MEMVIEW_IOC_TYPE, 0x7e, struct memview_size_info), .words = { 0 } },
		{ ENOTTY, _IOW(MEMVIEW_IOC_TYPE, 0x03, struct memview_size_info), .words = { 0 } },
		{ ENOTTY, _IO('x', 0x07), .words = { 0 } },
	};
	size_t i;

	ring_start(f, f->tc->param);
	map_pages(f, 0, 0, 4, R);
	map_pages(f, 8, 8, 4, RW);
	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct refusal by_ioctl = refusals[i], *r = &refusals[i];
		void *info = _IOC_SIZE(r->cmd) ? r->words : NULL;

		EXPECT_REFUSED(f->ctl, r->err, ioctl(f->ctl, r->cmd, by_ioctl.words));
		EXPECT_REFUSED(f->ctl, r->err, ring_call(f->ctl, r->cmd, info));
	}
	/* A larger structure with nothing new in it is none of them. */
	EXPECT_OK(ring_call(f->ctl, RESIZED(MEMVIEW_SET_SIZE, 64U),
			    (uint64_t [8]){ VIEW_PAGES * PAGE }));
	if (!is_inline())
		EXPECT_REFUSED(f->ctl, EFAULT, ring_call(f->ctl, MEMVIEW_SET_SIZE, (void *)8));
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_REFUSED(f->ctl, ESHUTDOWN, ring_map(f, 4, 0, 1, R));
	EXPECT_REFUSED(f->ctl, ESHUTDOWN, ring_unmap(f, 0, 1));
}

static void other_ioctls_are_eopnotsupp(struct fixture *f)
{
	static const uint32_t cmds[] = {
		MEMVIEW_GET_INFO, MEMVIEW_GET_VIEWFD, MEMVIEW_GET_VIEWFD_RIGHTS, MEMVIEW_QUERY,
		MEMVIEW_POPULATE,
	};
	struct memview_info info = { 0 };

	ring_start(f, f->tc->param);
	for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++) {
		int ret = ring_call(f->ctl, cmds[i], _IOC_SIZE(cmds[i]) ? &info : NULL);

		assert_int_equal(ret, -1);
		assert_int_equal(errno, EOPNOTSUPP);
	}
	assert_int_equal(info.page_size, 0);
	EXPECT_ERRNO(EOPNOTSUPP, ring_call(f->viewfd, MEMVIEW_REVOKE, NULL));
}

static void malformed_submissions_are_einval(struct fixture *f)
{
	struct memview_size_info info = { 8 * PAGE };
	uint64_t large[16] = { 8 * PAGE };
	struct io_uring_sqe *sqe;

	ring_start(f, f->tc->param);
	for (int bit = 0; bit < 32; bit++) {
		if (1U << bit == MEMVIEW_SQE_INLINE)
			continue;
		sqe = submission(f->ctl, MEMVIEW_SET_SIZE, &info, 0);
		head_of(sqe)->flags ^= 1U << bit;
		EXPECT_REFUSED(f->ctl, EINVAL, go());
		sqe = submission(f->ctl, MEMVIEW_SET_SIZE, &info, 0);
		head_of(sqe)->__pad ^= 1U << bit;
		EXPECT_REFUSED(f->ctl, EINVAL, go());
	}
	/* No argument: nowhere. */
	sqe = submission(f->ctl, MEMVIEW_REVOKE, NULL, 0);
	head_of(sqe)->arg = (uintptr_t)&info;
	EXPECT_REFUSED(f->ctl, EINVAL, go());

	sqe = submission(f->ctl, MEMVIEW_SET_SIZE, &info, 0);
	if (is_inline()) {
		/* Both in the submission and elsewhere; and too large for it. */
		head_of(sqe)->arg = (uintptr_t)&info;
		EXPECT_REFUSED(f->ctl, EINVAL, go());
		sqe = submission(f->ctl, MEMVIEW_SET_SIZE, &info, 0);
		sqe->cmd_op = RESIZED(MEMVIEW_SET_SIZE, MEMVIEW_SQE_INLINE_MAX + 8U);
		EXPECT_REFUSED(f->ctl, EINVAL, go());
		/* A ring for the one takes the other, too. */
		sqe = submission(f->ctl, MEMVIEW_SET_SIZE, &info, 0);
		*head_of(sqe) = (struct memview_sqe_cmd){ .arg = (uintptr_t)&info };
		EXPECT_OK(go());
	} else {
		/* There is no room for it in this ring. */
		*head_of(sqe) = (struct memview_sqe_cmd){ .flags = MEMVIEW_SQE_INLINE };
		EXPECT_REFUSED(f->ctl, EINVAL, go());
		EXPECT_OK(ring_call(f->ctl, RESIZED(MEMVIEW_SET_SIZE, 128U), large));
	}
	assert_int_equal(fdinfo(f->ctl, "size"), 8 * PAGE);
}

static void polled_completions_are_eopnotsupp_or_work(struct fixture *f)
{
	struct memview_size_info info = { 8 * PAGE };
	int err = ring_init(INLINE, IORING_SETUP_IOPOLL);

	if (err)
		SKIP("no such ring: %s", strerrorname_np(err));
	submission(f->ctl, MEMVIEW_SET_SIZE, &info, 0);
	if (!go()) {
		/* Since some version after 6.12. */
		assert_int_equal(fdinfo(f->ctl, "size"), 8 * PAGE);
		return;
	}
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(fdinfo(f->ctl, "size"), VIEW_PAGES * PAGE);
}

/* ---- one after the other ---- */

/*
 * From 6.10 on io_uring kept looking at a submission of a driver's until it had
 * been issued, which for one that is linked is later; 6.14 took a copy again.
 */
static bool kernel_looks_again(void)
{
	unsigned int major, minor;
	struct utsname name;

	uname(&name);
	assert_int_equal(sscanf(name.release, "%u.%u", &major, &minor), 2);
	return major == 6 && minor >= 10 && minor < 14;
}

/*
 * Each does what only works after the one before it. The submissions are
 * overwritten as soon as they have been handed over: nobody looks there again.
 */
static void links_keep_the_order(struct fixture *f)
{
	struct memview_map_fd_info maps[ENTRIES];
	struct memview_unmap_fd_info unmaps[ENTRIES];
	unsigned long last = 0;
	uint64_t id;

	ring_start(f, f->tc->param);
	for (int round = 0; round < 20; round++) {
		struct io_uring_sqe *sqes[ENTRIES];

		for (unsigned int i = 0; i < ENTRIES; i++) {
			bool map = i % 2 == 0;

			last = (round + i / 2) % FILE_PAGES;
			maps[i] = map_info(f->file, 0, last, 1, RW);
			unmaps[i] = unmap_info(0, 1);
			sqes[i] = submission(f->ctl, map ? MEMVIEW_MAP_FD : MEMVIEW_UNMAP_FD,
					     map ? (void *)&maps[i] : (void *)&unmaps[i], i);
			if (i < ENTRIES - 1)
				sqes[i]->flags |= IOSQE_IO_LINK;
		}
		assert_true(submitted());
		if (kind != POINTER_POLLED && kind != INLINE_POLLED &&
		    !kernel_looks_again()) {
			for (unsigned int i = 0; i < ENTRIES; i++)
				memset(sqes[i], 0xff, sizeof(*sqes[i]) << is_inline());
		}
		for (unsigned int i = 0; i < ENTRIES; i++) {
			EXPECT_OK(completion(&id));
			assert_int_equal(id, i);
			if (i % 2 && !is_inline())
				assert_int_equal(unmaps[i].unmapped, PAGE);
		}
		assert_int_equal(nr_ranges(f->ctl), 0);
		READ_SIGBUS(f, 0);
	}
	EXPECT_OK(ring_map(f, 0, last, 1, R));
	READS(f, 0, WORD(last));
}

static void failing_link_cancels_the_rest(struct fixture *f)
{
	struct memview_map_fd_info good = map_info(f->file, 0, 0, 2, RW);
	struct memview_map_fd_info bad = map_info(f->file, 1, 0, 2, RW);
	struct memview_unmap_fd_info rest = unmap_info(0, 2);
	static const int want[] = { 0, -EEXIST, -ECANCELED, -ECANCELED };
	struct io_uring_cqe *cqe;
	uint64_t seen = 0;

	ring_start(f, f->tc->param);
	submission(f->ctl, MEMVIEW_MAP_FD, &good, 0)->flags |= IOSQE_IO_LINK;
	submission(f->ctl, MEMVIEW_MAP_FD, &bad, 1)->flags |= IOSQE_IO_LINK;
	submission(f->ctl, MEMVIEW_UNMAP_FD, &rest, 2)->flags |= IOSQE_IO_LINK;
	submission(f->ctl, MEMVIEW_REVOKE, NULL, 3);
	assert_true(submitted());
	for (int i = 0; i < 4; i++) {
		assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
		assert_int_equal(cqe->res, want[cqe->user_data]);
		seen |= 1ULL << cqe->user_data;
		io_uring_cqe_seen(&ring, cqe);
	}
	assert_int_equal(seen, 0xf);
	READS(f, 1, WORD(1));
	assert_int_equal(nr_ranges(f->ctl), 1);
}

/* ---- what a completion means ---- */

#define ROUNDS 60

static void check_silence(char *file)
{
	volatile uint64_t *word = (volatile uint64_t *)(file + 2 * PAGE);
	uint64_t after = *word;

	for (int i = 0; i < 2000; i++)
		assert_int_equal(*word, after);
}

static bool writes_arrive(char *file)
{
	volatile uint64_t *word = (volatile uint64_t *)(file + 2 * PAGE);
	uint64_t was = *word;

	for (long i = 0; i < 1000000000 && *word == was; i++)
		;
	return *word != was;
}

/* As in test_revoke, with a peer that writes on the other CPU (R1). */
static void no_write_arrives_after_the_completion(struct fixture *f)
{
	char *file = map_file(f, PROT_READ | PROT_WRITE);
	/* The peer writes to the second one of these spans. */
	struct memview_op take[] = {
		{ .op = MEMVIEW_OP_UNMAP, .size = PAGE, .mem_offset = 6 * PAGE },
		{ .op = MEMVIEW_OP_PROTECT, .flags = R, .size = 2 * PAGE, .mem_offset = 2 * PAGE },
	};
	struct memview_op give = {
		.op = MEMVIEW_OP_MAP, .flags = RW | MEMVIEW_MAP_REPLACE, .size = 8 * PAGE,
		.fd = f->file,
	};
	struct memview_update_info update = { .op_size = sizeof(give) };

	ring_start(f, f->tc->param);
	lend(f, 8, RW);
	START(f->peer, op_hammer, AT(f, 2));
	for (int i = 0; i < ROUNDS; i++) {
		assert_true(writes_arrive(file));
		EXPECT_OK(ring_unmap(f, 0, 8));
		check_silence(file);
		EXPECT_OK(ring_map(f, 0, 0, 8, RW));
		assert_true(writes_arrive(file));
		EXPECT_OK(ring_protect(f, 0, 8, R));
		check_silence(file);
		EXPECT_OK(ring_protect(f, 0, 8, RW));
		assert_true(writes_arrive(file));
		EXPECT_OK(ring_map(f, 2, 20, 1, RW | MEMVIEW_MAP_REPLACE));
		check_silence(file);
		EXPECT_OK(ring_map(f, 2, 2, 1, RW | MEMVIEW_MAP_REPLACE));
		assert_true(writes_arrive(file));
		take[1].op = i % 2 ? MEMVIEW_OP_PROTECT : MEMVIEW_OP_UNMAP;
		take[1].flags = i % 2 ? R : 0;
		update.ops = (uintptr_t)take;
		update.count = 2;
		EXPECT_OK(ring_call(f->ctl, MEMVIEW_UPDATE, &update));
		check_silence(file);
		update.ops = (uintptr_t)&give;
		update.count = 1;
		EXPECT_OK(ring_call(f->ctl, MEMVIEW_UPDATE, &update));
		assert_true(writes_arrive(file));
		EXPECT_OK(ring_set_size(f, 2));
		check_silence(file);
		EXPECT_OK(ring_set_size(f, VIEW_PAGES));
		EXPECT_OK(ring_map(f, 2, 2, 6, RW));
	}
	assert_true(writes_arrive(file));
	EXPECT_OK(ring_call(f->ctl, MEMVIEW_REVOKE, NULL));
	check_silence(file);
	atomic_store(&shared->stop, 1);
	assert_false(peer_wait(f->peer).died);
}

/* ---- who does it ---- */

/* Threads of the rings of a process, and how many of them are in @state. */
static int workers(pid_t pid, char state)
{
	char path[320], name[32];
	struct dirent *entry;
	int n = 0, fd;
	ssize_t len;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", pid, entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		len = read(fd, name, sizeof(name) - 1);
		close(fd);
		name[len > 0 ? len : 0] = 0;
		if (!strncmp(name, "iou-wrk", 7) &&
		    (!state || state_of(atoi(entry->d_name)) == state))
			n++;
	}
	closedir(dir);
	return n;
}

static long op_ring(const long *a)	/* enum kind -> 0 or an errno */
{
	return ring_init((enum kind)a[0], 0);
}

/* Control fd, fd, page, pages, rights: submits what maps them, and no more. */
static long op_submit_map(const long *a)
{
	static struct memview_map_fd_info info;

	info = map_info((int)a[1], a[2], 0, a[3], (uint32_t)a[4]);
	submission((int)a[0], MEMVIEW_MAP_FD, &info, 0);
	return io_uring_submit(&ring);
}

/* Control fd, page, pages */
static long op_submit_unmap(const long *a)
{
	static struct memview_unmap_fd_info info;

	info = unmap_info(a[1], a[2]);
	submission((int)a[0], MEMVIEW_UNMAP_FD, &info, 1);
	return io_uring_submit(&ring);
}

static long op_completion(const long *a)	/* -> what it says */
{
	return completion((uint64_t *)a[0]);
}

static long op_nothing_completed(const long *a)
{
	(void)a;
	return nothing_completed();
}

/*
 * Control fd, fd that has a source: none of it takes a thread of the ring. The last
 * page stays, so that the source is never idle: its collection takes locks.
 */
static long op_all_of_it(const long *a)
{
	struct fixture f = { .ctl = (int)a[0], .file = (int)a[1] };
	struct memview_op op = {
		.op = MEMVIEW_OP_MAP, .flags = RW, .size = PAGE, .mem_offset = 6 * PAGE,
		.fd = f.file,
	};
	struct memview_update_info update = {
		.ops = (uintptr_t)&op, .count = 1, .op_size = sizeof(op),
	};

	for (int i = 0; i < 10; i++) {
		if (ring_unmap(&f, 0, CTL_PAGES - 1) ||
		    ring_map(&f, 0, 0, 4, RW) || ring_protect(&f, 1, 2, R) ||
		    ring_map(&f, 0, 4, 2, RW | MEMVIEW_MAP_REPLACE) ||
		    ring_unmap(&f, 0, 1) || ring_call(f.ctl, MEMVIEW_UPDATE, &update) ||
		    ring_set_size(&f, CTL_PAGES + 1) || ring_set_size(&f, CTL_PAGES) ||
		    ring_map(&f, 7, 0, CTL_PAGES - 8, RW))
			return -1;
	}
	return ring_call(f.ctl, MEMVIEW_REVOKE, NULL);
}

static void controller_with_ring(struct controller *c, enum kind k)
{
	struct outcome o;

	controller_start(c, 0, RW);
	o = CALL(c->peer, op_ring, k);
	if (o.ret > 0)
		SKIP("no io_uring: %s", strerrorname_np((int)o.ret));
	EXPECT_VALUE(0, o);
}

/* What need not wait is done while it is submitted: that is what makes it fast. */
static void known_sources_take_no_thread(struct fixture *f)
{
	struct controller c;

	controller_with_ring(&c, f->tc->param);
	EXPECT_VALUE(0, CALL(c.peer, op_all_of_it, c.ctl, c.fd));
	assert_int_equal(workers(c.peer->pid, 0), 0);
}

/* Submits one MAP of a file that has no source yet. */
static void map_new_file(struct controller *c, struct fixture *f)
{
	controller_with_ring(c, INLINE);
	EXPECT_CALL(c->peer, op_ctl_unmap, c->ctl, 0, CTL_PAGES);
	EXPECT_VALUE(1, CALL(c->peer, op_submit_map, c->ctl, peer_send_fd(c->peer, f->file), 0, 4,
			     RW));
	EXPECT_VALUE(0, CALL(c->peer, op_completion, 0));
}

/* File systems may wait for what they like. */
static void new_source_of_a_disk_takes_a_thread(struct fixture *f)
{
	struct controller c;

	map_new_file(&c, f);
	assert_true(workers(c.peer->pid, 0) > 0);
}

static void new_source_of_memory_takes_no_thread(struct fixture *f)
{
	struct controller c;

	map_new_file(&c, f);
	assert_int_equal(workers(c.peer->pid, 0), 0);
}

/* More than the entry in the table: to populate it, or to ask for X. */
static void asking_for_more_takes_a_thread(struct fixture *f)
{
	struct controller c;

	controller_with_ring(&c, INLINE);
	EXPECT_CALL(c.peer, op_ctl_unmap, c.ctl, 0, 4);
	EXPECT_VALUE(1, CALL(c.peer, op_submit_map, c.ctl, c.fd, 0, 4, f->tc->param));
	EXPECT_VALUE(0, CALL(c.peer, op_completion, 0));
	assert_true(workers(c.peer->pid, 0) > 0);
}

/* The view is nobody's yet: the ring's thread makes it the process's. */
static void first_map_may_be_by_a_ring(struct fixture *f)
{
	ring_start(f, f->tc->param);
	EXPECT_OK(ring_map(f, 0, 0, 4, RW));
	WRITES(f, 3, WORD(3));
	EXPECT_OK(mv_map(f->ctl, f->file, 0, PAGE, 5 * PAGE, R));
	EXPECT_OK(ring_unmap(f, 0, 4));
	READ_SIGBUS(f, 3);
}

/* ---- what must wait ---- */

/* One page of this process that a userfaultfd answers for. */
static char *missing_page(int *uffd)
{
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(page, MAP_FAILED);
	*uffd = uffd_open(0, 0);
	uffd_register(*uffd, page, PAGE, UFFDIO_REGISTER_MODE_MISSING);
	return page;
}

static void give_page(int uffd, char *page, const void *data, size_t len)
{
	static char content[PAGE] __attribute__((aligned(PAGE)));
	struct uffdio_copy copy = {
		.dst = (uintptr_t)page, .src = (uintptr_t)content, .len = PAGE,
	};

	memset(content, 0, sizeof(content));
	memcpy(content, data, len);
	EXPECT_OK(ioctl(uffd, UFFDIO_COPY, &copy));
}

/* An argument that is not there yet holds up nobody but its operation. */
static void argument_that_is_missing_is_waited_for(struct fixture *f)
{
	struct memview_unmap_fd_info info = unmap_info(0, 2);
	uint64_t id;
	char *page;
	int uffd;

	ring_start(f, f->tc->param);
	page = missing_page(&uffd);
	lend(f, 8, RW);
	submission(f->ctl, MEMVIEW_UNMAP_FD, page, 1);
	EXPECT_OK(io_uring_submit(&ring));
	assert_ptr_equal(uffd_event(uffd, NULL), page);
	assert_true(nothing_completed());
	READS(f, 0, WORD(0));
	/* Neither this ring nor the view is stuck. */
	EXPECT_OK(mv_unmap(f->ctl, 4 * PAGE, PAGE, &(uint64_t){ 0 }));
	EXPECT_OK(ring_unmap(f, 5, 1));
	READ_SIGBUS(f, 5);
	give_page(uffd, page, &info, sizeof(info));
	EXPECT_OK(completion(&id));
	assert_int_equal(id, 1);
	READ_SIGBUS(f, 1);
	assert_int_equal(((struct memview_unmap_fd_info *)page)->unmapped, 2 * PAGE);
	close(uffd);
}

static void operations_that_are_missing_are_waited_for(struct fixture *f)
{
	struct memview_op op = { .op = MEMVIEW_OP_UNMAP, .size = 2 * PAGE };
	struct memview_update_info update = { .count = 1, .op_size = sizeof(op) };
	char *page;
	int uffd;

	ring_start(f, f->tc->param);
	page = missing_page(&uffd);
	update.ops = (uintptr_t)page;
	lend(f, 8, RW);
	submission(f->ctl, MEMVIEW_UPDATE, &update, 1);
	EXPECT_OK(io_uring_submit(&ring));
	assert_ptr_equal(uffd_event(uffd, NULL), page);
	assert_true(nothing_completed());
	give_page(uffd, page, &op, sizeof(op));
	EXPECT_OK(completion(NULL));
	READ_SIGBUS(f, 1);
	READS(f, 2, WORD(2));
	close(uffd);
}

/*
 * Kind, control fd, file: a process that may lock little, and has all its mappings locked: by the
 * ring as by ioctl(2) a source that is too large fails, and not with EAGAIN, for
 * which rings may try for ever. Return: 0, or which of them was wrong.
 */
static long op_map_more_than_can_be_locked(const long *a)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };
	struct rlimit few = { 16 * PAGE, 16 * PAGE };
	struct fixture f = { .ctl = (int)a[1], .file = (int)a[2] };

	if (ring_init((enum kind)a[0], 0) || setrlimit(RLIMIT_MEMLOCK, &few) ||
	    syscall(SYS_capset, &header, none) || mlockall(MCL_FUTURE))
		return 1;
	if (mv_map(f.ctl, f.file, 0, 32 * PAGE, 0, RW) != -1 || errno != ENOMEM)
		return 2;
	if (ring_map(&f, 0, 0, 32, RW) != -1 || errno != ENOMEM)
		return 3;
	return 0;
}

static void too_much_to_lock_is_enomem(struct fixture *f)
{
	struct peer *p = peer_spawn();
	int ctl = EXPECT_CALL(p, op_ctl_open, 64 * PAGE);
	int file = EXPECT_CALL(p, op_memfd, 64 * PAGE, 0);

	EXPECT_VALUE(0, CALL(p, op_map_more_than_can_be_locked, f->tc->param, ctl, file));
}

static atomic_bool mmap_now;

static void *mmap_when_told(void *tid)
{
	atomic_store((atomic_int *)tid, gettid());
	while (!atomic_load(&mmap_now))
		nap();
	mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return NULL;
}

static long op_mmap_thread(const long *a)	/* -> tid */
{
	static atomic_int tid;
	pthread_t thread;

	(void)a;
	if (pthread_create(&thread, NULL, mmap_when_told, (void *)&tid))
		return -1;
	while (!atomic_load(&tid))
		nap();
	return atomic_load(&tid);
}

/* Control fd */
static long op_drop_idle(const long *a)
{
	return mv_drop_idle((int)a[0]);
}

static long op_mmap_now(const long *a)
{
	(void)a;
	atomic_store(&mmap_now, true);
	return 0;
}

enum { UNMAP, UNMAP_KILLED, MAP_OTHER_VIEW, MAP_WHILE_MMAP };

/*
 * A peer's fault on a frozen file system holds the controller's mmap_lock. A new
 * source cannot be made then, also where one has been lost; what comes next, and
 * needs none, waits for nothing. And nothing waits where it was submitted. In the end
 * all of it is done; or the controller is killed, and waits for nothing.
 */
static void waiting_operations_complete(struct fixture *f)
{
	struct peer *thawer = peer_spawn(), *p = peer_spawn();
	int thaw_fd = peer_send_fd(thawer, f->file), file, other, view2, thread;
	bool first_waits, pending = false, at_once = false;
	unsigned long how = f->tc->param, view, addr;
	struct outcome o = { 0 };
	struct controller c;

	controller_with_ring(&c, INLINE);
	file = peer_send_fd(c.peer, f->file);
	other = EXPECT_CALL(c.peer, op_memfd, CTL_PAGES * PAGE, 100);
	view2 = EXPECT_CALL(c.peer, op_ctl_open, CTL_PAGES * PAGE);
	thread = how == MAP_WHILE_MMAP ? EXPECT_CALL(c.peer, op_mmap_thread) : 0;
	EXPECT_CALL(c.peer, op_ctl_unmap, c.ctl, 0, CTL_PAGES);
	/* It has seen what it will touch, for no fault of its own gets through. */
	EXPECT_CALL(c.peer, op_submit_map, c.ctl, file, 0, 8, RW | MEMVIEW_MAP_LAZY_WRITE);
	EXPECT_VALUE(0, CALL(c.peer, op_completion, 0));
	EXPECT_CALL(c.peer, op_submit_unmap, c.ctl, 6, 1);
	EXPECT_VALUE(0, CALL(c.peer, op_completion, 0));
	EXPECT_VALUE(1, CALL(c.peer, op_nothing_completed));
	if (how == MAP_WHILE_MMAP) {
		EXPECT_CALL(c.peer, op_ctl_map, c.ctl, other, 0, 4, 8, RW);
		addr = EXPECT_CALL(c.peer, op_ctl_source, c.ctl, 8);
		EXPECT_CALL(c.peer, op_munmap, addr + 3 * PAGE, PAGE);
	}
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_OK(fsync(f->file));
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	drop_old_sources();
	/* What has been idle for long a call ends, for which it waits. */
	EXPECT_CALL(c.peer, op_drop_idle, c.ctl);

	EXPECT_OK(ioctl(f->file, FIFREEZE, 0));
	START(thawer, op_thaw, thaw_fd);
	START(p, op_write, view + PAGE, (long)SECRET);
	first_waits = EVENTUALLY(state_of(p->pid) == 'D');
	if (first_waits && how == MAP_WHILE_MMAP) {
		o = CALL(c.peer, op_mmap_now);
		first_waits = EVENTUALLY(state_of(thread) == 'D');
		/* With a source that is whole there is nothing to wait for. */
		CALL(c.peer, op_submit_map, c.ctl, file, 12, 2, RW);
		at_once = CALL(c.peer, op_nothing_completed).ret == 0;
		CALL(c.peer, op_completion, 0);
		CALL(c.peer, op_submit_map, c.ctl, other, 14, 2, RW);
		first_waits &= EVENTUALLY(workers(c.peer->pid, 'D') == 1);
	} else if (first_waits) {
		o = CALL(c.peer, op_submit_map, c.ctl, other, 8, 4, RW);
		first_waits = o.ret == 1 && EVENTUALLY(workers(c.peer->pid, 'D') == 1);
	}
	if (first_waits && how != MAP_WHILE_MMAP) {
		if (how == MAP_OTHER_VIEW)
			CALL(c.peer, op_submit_map, view2, file, 8, 4,
			     RW | MEMVIEW_MAP_LAZY_WRITE);
		else
			CALL(c.peer, op_submit_unmap, c.ctl, 0, 1);
		o = CALL(c.peer, op_completion, 0);
		at_once = !o.died && o.ret == 0;
	}
	if (first_waits)
		pending = CALL(c.peer, op_nothing_completed).ret == 1;
	if (how == UNMAP_KILLED)
		peer_kill(c.peer);
	atomic_store(&shared->ready, 1);
	EXPECT_VALUE(1, FINISH(thawer, "thawing: something waited for it"));
	assert_true(first_waits);
	assert_true(pending);
	assert_true(at_once);
	assert_false(FINISH(p, "write after the thaw").died);
	if (how == UNMAP_KILLED) {
		assert_int_equal(CALL(p, op_read, view + PAGE).sig, SIGBUS);
		return;
	}
	EXPECT_VALUE(0, CALL(c.peer, op_completion, 0));
	EXPECT_VALUE(WORD(100), CALL(p, op_read, view + (how == MAP_WHILE_MMAP ? 14 : 8) * PAGE));
	EXPECT_VALUE(SECRET, CALL(p, op_read, view + PAGE));
	if (how == UNMAP)
		EXPECT_SIGBUS(view, CALL(p, op_read, view));
}

/* Control fd: submits an unmap whose argument will never be there. */
static long op_submit_missing(const long *a)
{
	int uffd;
	char *page = missing_page(&uffd);

	submission((int)a[0], MEMVIEW_UNMAP_FD, page, 0);
	if (io_uring_submit(&ring) != 1)
		return -1;
	uffd_event(uffd, NULL);
	return nothing_completed();
}

static long op_close_ring(const long *a)
{
	(void)a;
	io_uring_queue_exit(&ring);
	return 0;
}

#define MISSING 3

/* In the process that has submitted them: an argument each, not there yet. */
static struct {
	char *page;
	int uffd;
} missing[MISSING];

/* Control fd: unmaps of single pages; with 1, each of them waits in a thread. */
static long op_submit_several_missing(const long *a)
{
	for (int i = 0; i < MISSING; i++) {
		missing[i].page = missing_page(&missing[i].uffd);
		submission((int)a[0], MEMVIEW_UNMAP_FD, missing[i].page, i);
	}
	if (io_uring_submit(&ring) != MISSING)
		return -1;
	for (int i = 0; i < MISSING; i++)
		uffd_event(missing[i].uffd, NULL);
	return nothing_completed();
}

/* Now they are there: the first pages of the view. */
static long op_give_missing(const long *a)
{
	(void)a;
	for (int i = 0; i < MISSING; i++) {
		struct memview_unmap_fd_info info = unmap_info(i, 1);

		give_page(missing[i].uffd, missing[i].page, &info, sizeof(info));
	}
	return 0;
}

/*
 * The ring goes while its threads wait, and its process lives on: neither does it
 * wait for them, nor has the view lost anything. They may do what they were to do,
 * or not; and hold the control fd until then, some time at most.
 */
static void ring_is_closed_with_requests_in_flight(struct fixture *f)
{
	struct peer *p = peer_spawn();
	struct controller c;
	unsigned long view;

	controller_with_ring(&c, f->tc->param);
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_VALUE(0, CALL(p, op_write, view, 1));
	EXPECT_VALUE(WORD(8), CALL(p, op_read, view + 8 * PAGE));
	EXPECT_VALUE(1, CALL(c.peer, op_submit_several_missing, c.ctl));
	START(c.peer, op_close_ring);
	EXPECT_VALUE(0, FINISH(c.peer, "closing a ring with requests in flight"));
	/* Nothing has told them what to unmap. */
	EXPECT_VALUE(1, CALL(p, op_read, view));
	/* And the control fd works, with another ring as well. */
	EXPECT_CALL(c.peer, op_ctl_unmap, c.ctl, 8, 1);
	EXPECT_SIGBUS(view + 8 * PAGE, CALL(p, op_read, view + 8 * PAGE));
	EXPECT_VALUE(0, CALL(c.peer, op_ring, f->tc->param));
	EXPECT_VALUE(1, CALL(c.peer, op_submit_unmap, c.ctl, 9, 1));
	EXPECT_VALUE(0, CALL(c.peer, op_completion, 0));
	EXPECT_SIGBUS(view + 9 * PAGE, CALL(p, op_read, view + 9 * PAGE));
	EXPECT_VALUE(WORD(10), CALL(p, op_read, view + 10 * PAGE));
	EXPECT_VALUE(0, CALL(c.peer, op_give_missing));
	EXPECT_CALL(c.peer, op_ctl_protect, c.ctl, 10, 2, R);
	EXPECT_SEGV(view + 10 * PAGE, CALL(p, op_write, view + 10 * PAGE, 1));
	/* The last of whatever holds it revokes. */
	EXPECT_VALUE(0, CALL(c.peer, op_close_ring));
	EXPECT_CALL(c.peer, op_close, c.ctl);
	assert_true(EVENTUALLY(CALL(p, op_read, view + 10 * PAGE).sig == SIGBUS));
}

enum { BY_SIGKILL, BY_EXIT };

/* A request in flight keeps its process no longer than an ioctl would. */
static void process_ends_with_a_request_in_flight(struct fixture *f)
{
	struct peer *p = peer_spawn();
	struct controller c;
	unsigned long view;

	controller_with_ring(&c, POINTER);
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_VALUE(0, CALL(p, op_write, view, 1));
	EXPECT_VALUE(1, CALL(c.peer, op_submit_missing, c.ctl));
	if (f->tc->param == BY_EXIT)
		START(c.peer, op_exit, 0);
	else
		kill(c.peer->pid, SIGKILL);
	assert_int_not_equal(peer_reap(c.peer), -1);
	EXPECT_SIGBUS(view, CALL(p, op_read, view));
}

/* ---- whose it is ---- */

/* A child has the ring, but not the address space that the table is about. */
static void child_of_the_controller_is_eio(struct fixture *f)
{
	struct controller c;
	struct peer *child;

	controller_with_ring(&c, f->tc->param);
	child = peer_fork(c.peer);
	assert_non_null(child);
	EXPECT_VALUE(1, CALL(child, op_submit_unmap, c.ctl, 0, 1));
	EXPECT_CALL_ERRNO(EIO, child, op_completion, 0);
}

/* The thread of such a ring is the controller's: who may submit, is it. */
static void polled_ring_acts_for_who_made_it(struct fixture *f)
{
	struct peer *p = peer_spawn(), *child;
	struct controller c;
	unsigned long view;

	controller_with_ring(&c, f->tc->param);
	view = map_view(p, c.viewfd, PROT_READ);
	EXPECT_VALUE(WORD(0), CALL(p, op_read, view));
	child = peer_fork(c.peer);
	assert_non_null(child);
	EXPECT_VALUE(1, CALL(child, op_submit_unmap, c.ctl, 0, 1));
	EXPECT_VALUE(0, CALL(child, op_completion, 0));
	EXPECT_SIGBUS(view, CALL(p, op_read, view));
}

/* ---- registered files ---- */

static void registered_control_fd_delays_the_last_close(struct fixture *f)
{
	struct memview_unmap_fd_info info = unmap_info(1, 1);
	struct io_uring_sqe *sqe;

	ring_start(f, f->tc->param);
	lend(f, 4, RW);
	EXPECT_OK(io_uring_register_files(&ring, &f->ctl, 1));
	EXPECT_OK(close(f->ctl));
	f->ctl = -1;
	READS(f, 0, WORD(0));
	sqe = submission(0, MEMVIEW_UNMAP_FD, &info, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	EXPECT_OK(go());
	READ_SIGBUS(f, 1);
	READS(f, 0, WORD(0));
	EXPECT_OK(io_uring_unregister_files(&ring));
	/* Some kernels put it in a work item, after the call. */
	assert_true(EVENTUALLY(CALL(f->peer, op_read, AT(f, 0)).sig == SIGBUS));
}

/* The end of the ring lets go as well, but nobody waits for it. */
static void end_of_the_ring_lets_the_control_fd_go(struct fixture *f)
{
	ring_start(f, f->tc->param);
	lend(f, 4, RW);
	EXPECT_OK(io_uring_register_files(&ring, &f->ctl, 1));
	EXPECT_OK(close(f->ctl));
	f->ctl = -1;
	READS(f, 0, WORD(0));
	io_uring_queue_exit(&ring);
	assert_true(EVENTUALLY(CALL(f->peer, op_read, AT(f, 0)).sig == SIGBUS));
}

static long op_register(const long *a)	/* fd */
{
	int fd = (int)a[0];

	return io_uring_register_files(&ring, &fd, 1);
}

/* Whatever the ring still has: it is the address space that counts (R4). */
static void registered_control_fd_dies_with_the_controller(struct fixture *f)
{
	struct peer *p = peer_spawn(), *child;
	struct controller c;
	unsigned long view;

	controller_with_ring(&c, f->tc->param);
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_VALUE(0, CALL(p, op_write, view, 1));
	EXPECT_VALUE(0, CALL(c.peer, op_register, c.ctl));
	EXPECT_CALL(c.peer, op_close, c.ctl);
	/* It has the ring, and with it the control fd. */
	child = peer_fork(c.peer);
	assert_non_null(child);
	EXPECT_VALUE(0, CALL(p, op_write, view, 1));
	peer_kill(c.peer);
	assert_true(EVENTUALLY(CALL(p, op_read, view).sig == SIGBUS));
	EXPECT_VALUE(0, CALL(child, op_close_ring));
}

#define WAITING(v, p) \
	{ .name = "waiting_operations_complete", .run = waiting_operations_complete, \
	  .variant = v, .param = p, .backings = ON(EXT4) }

static const struct test_case cases[] = {
	ALL_KINDS(operations_work),
	ALL_KINDS(first_version_of_map_fd_works),
	ALL_KINDS(adoption_works),
	CASE_VARIANT(library_calls_work, "pointer", POINTER),
	CASE_VARIANT(library_calls_work, "inline", INLINE),
	ALL_KINDS(refusals_are_those_of_the_ioctls),
	CASE_VARIANT(other_ioctls_are_eopnotsupp, "pointer", POINTER),
	CASE_VARIANT(other_ioctls_are_eopnotsupp, "inline", INLINE),
	ALL_KINDS(malformed_submissions_are_einval),
	CASE(polled_completions_are_eopnotsupp_or_work),
	ALL_KINDS(links_keep_the_order),
	ALL_KINDS(failing_link_cancels_the_rest),
	ALL_KINDS(no_write_arrives_after_the_completion),
	CASE_VARIANT(known_sources_take_no_thread, "pointer", POINTER),
	CASE_VARIANT(known_sources_take_no_thread, "inline", INLINE),
	CASE_VARIANT(known_sources_take_no_thread, "inline, polled", INLINE_POLLED),
	CASE_ON(new_source_of_a_disk_takes_a_thread, ON_DISK),
	CASE_ON(new_source_of_memory_takes_no_thread, ON_SHMEM),
	CASE_VARIANT(asking_for_more_takes_a_thread, "exec", RWX),
	CASE_VARIANT(asking_for_more_takes_a_thread, "populate", RW | MEMVIEW_MAP_POPULATE),
	ALL_KINDS(first_map_may_be_by_a_ring),
	CASE_VARIANT(argument_that_is_missing_is_waited_for, "pointer", POINTER),
	CASE_VARIANT(argument_that_is_missing_is_waited_for, "pointer, polled", POINTER_POLLED),
	CASE_VARIANT(operations_that_are_missing_are_waited_for, "inline", INLINE),
	CASE_VARIANT(operations_that_are_missing_are_waited_for, "inline, polled", INLINE_POLLED),
	CASE_VARIANT(too_much_to_lock_is_enomem, "worker", WORKER),
	WAITING("unmap", UNMAP),
	WAITING("unmap, killed", UNMAP_KILLED),
	WAITING("map in another view", MAP_OTHER_VIEW),
	WAITING("map during mmap", MAP_WHILE_MMAP),
	CASE_VARIANT(ring_is_closed_with_requests_in_flight, "pointer", POINTER),
	CASE_VARIANT(process_ends_with_a_request_in_flight, "SIGKILL", BY_SIGKILL),
	CASE_VARIANT(process_ends_with_a_request_in_flight, "exit", BY_EXIT),
	CASE_VARIANT(child_of_the_controller_is_eio, "pointer", POINTER),
	CASE_VARIANT(child_of_the_controller_is_eio, "worker", WORKER),
	CASE_VARIANT(polled_ring_acts_for_who_made_it, "inline", INLINE_POLLED),
	CASE_VARIANT(registered_control_fd_delays_the_last_close, "inline", INLINE),
	CASE_VARIANT(registered_control_fd_delays_the_last_close, "pointer, polled",
		     POINTER_POLLED),
	CASE_VARIANT(end_of_the_ring_lets_the_control_fd_go, "inline", INLINE),
	CASE_VARIANT(registered_control_fd_dies_with_the_controller, "inline", INLINE),
};

int main(int argc, char **argv)
{
	test_pid = getpid();
	return RUN_CASES(argc, argv, "uring", cases);
}
