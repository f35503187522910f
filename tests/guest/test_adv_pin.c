// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel as an accomplice: pages that it borrows for a pipe, a device or
 * another process, copies that are under way when the right is taken, and
 * debuggers that may force their way. Each attack works on plain memory.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR	16UL

/* The peer's plain mapping of the file of the fixture. */
static unsigned long plain_mapping(struct fixture *f, int prot)
{
	int fd = peer_send_fd(f->peer, f->file);

	return EXPECT_CALL(f->peer, op_mmap, fd, f->file_size, prot, 0);
}

/* ---- pages that are kept ---- */

static int pipe_fds[2] = { -1, -1 };

static long op_vmsplice(const long *a)
{
	struct iovec iov = { (void *)a[0], PAGE };

	if (pipe(pipe_fds))
		return -1;
	return vmsplice(pipe_fds[1], &iov, 1, (unsigned int)a[1]);
}

static long op_read_pipe(const long *a)
{
	uint64_t word = 0;

	(void)a;
	return read(pipe_fds[0], &word, sizeof(word)) == sizeof(word) ? (long)word : -1;
}

static void pipe_keeps_no_page(struct fixture *f)
{
	unsigned long plain = plain_mapping(f, PROT_READ | PROT_WRITE);

	lend(f, NR, RW);
	/* A pipe with a page of plain memory shows what is written there later. */
	EXPECT_VALUE(PAGE, CALL(f->peer, op_vmsplice, plain, 0));
	assert_true(file_set_word(f->file, 0, SECRET));
	EXPECT_VALUE(SECRET, CALL(f->peer, op_read_pipe, 0));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_vmsplice, AT(f, 0), 0);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_vmsplice, AT(f, 0), SPLICE_F_GIFT);
	/* The other direction is a copy. */
	READS(f, 0, SECRET);
}

static long op_futex(const long *a)
{
	return syscall(SYS_futex, a[0], (int)a[1], 1, NULL, NULL, 0);
}

static void shared_futex_is_refused(struct fixture *f)
{
	unsigned long plain = plain_mapping(f, PROT_READ | PROT_WRITE);

	lend(f, NR, RW);
	EXPECT_VALUE(0, CALL(f->peer, op_futex, plain, FUTEX_WAKE));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_futex, AT(f, 0), FUTEX_WAKE);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_futex, AT(f, 0), FUTEX_WAIT);
	EXPECT_VALUE(0, CALL(f->peer, op_futex, AT(f, 0), FUTEX_WAKE_PRIVATE));
	EXPECT_CALL_ERRNO(EAGAIN, f->peer, op_futex, AT(f, 0), FUTEX_WAIT_PRIVATE);
	unmap_pages(f, 0, NR);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_futex, AT(f, 0), FUTEX_WAIT_PRIVATE);
}

static void other_processes_reach_nothing(struct fixture *f)
{
	unsigned long plain = plain_mapping(f, PROT_READ | PROT_WRITE);
	uint64_t word = 0;
	struct iovec local = { &word, sizeof(word) }, remote = { (void *)plain, sizeof(word) };

	lend(f, NR, RW);
	assert_int_equal(process_vm_readv(f->peer->pid, &local, 1, &remote, 1, 0), 8);
	assert_int_equal(word, WORD(0));
	remote.iov_base = (void *)AT(f, 0);
	EXPECT_ERRNO(EFAULT, process_vm_readv(f->peer->pid, &local, 1, &remote, 1, 0));
	EXPECT_ERRNO(EFAULT, process_vm_writev(f->peer->pid, &local, 1, &remote, 1, 0));
}

/* pid, remote address, address: the view is the local side, which is a copy. */
static long op_vm_read_into(const long *a)
{
	struct iovec local = { (void *)a[2], 8 }, remote = { (void *)a[1], 8 };

	return process_vm_readv((pid_t)a[0], &local, 1, &remote, 1, 0);
}

static void copies_from_other_processes_obey_the_table(struct fixture *f)
{
	static uint64_t word = SECRET;

	lend(f, NR, RW);
	protect_pages(f, 0, 4, R);
	EXPECT_VALUE(8, CALL(f->peer, op_vm_read_into, getpid(), (long)&word, AT(f, 4)));
	READS(f, 4, SECRET);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_vm_read_into, getpid(), (long)&word, AT(f, 0));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_vm_read_into, getpid(), (long)&word, AT(f, NR));
	assert_int_equal(file_word(f->file, 0), WORD(0));
}

/* ---- io_uring and AIO, by their system calls ---- */

struct ring {
	int fd;
	struct io_uring_params p;
	char *sq;
	char *cq;
	struct io_uring_sqe *sqes;
};

static struct ring ring = { .fd = -1 };

static long op_ring(const long *a)
{
	const int rw = PROT_READ | PROT_WRITE;

	(void)a;
	memset(&ring.p, 0, sizeof(ring.p));
	ring.fd = (int)syscall(SYS_io_uring_setup, 8, &ring.p);
	if (ring.fd < 0)
		return -1;
	ring.sq = mmap(NULL, ring.p.sq_off.array + ring.p.sq_entries * 4, rw, MAP_SHARED,
		       ring.fd, IORING_OFF_SQ_RING);
	ring.cq = mmap(NULL, ring.p.cq_off.cqes + ring.p.cq_entries * 16, rw, MAP_SHARED,
		       ring.fd, IORING_OFF_CQ_RING);
	ring.sqes = mmap(NULL, ring.p.sq_entries * sizeof(struct io_uring_sqe), rw, MAP_SHARED,
			 ring.fd, IORING_OFF_SQES);
	return ring.sq == MAP_FAILED || ring.cq == MAP_FAILED || ring.sqes == MAP_FAILED ? -1 : 0;
}

static long op_register(const long *a)
{
	struct iovec iov = { (void *)a[0], a[1] };
	long ret = syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &iov, 1);

	if (!ret)
		syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	return ret;
}

/* opcode, fd, address, length, sqe flags -> the result; -1 and errno */
static long op_ring_rw(const long *a)
{
	unsigned int *tail = (unsigned int *)(ring.sq + ring.p.sq_off.tail);
	unsigned int *head = (unsigned int *)(ring.cq + ring.p.cq_off.head);
	unsigned int mask = *(unsigned int *)(ring.sq + ring.p.sq_off.ring_mask);
	unsigned int cq_mask = *(unsigned int *)(ring.cq + ring.p.cq_off.ring_mask);
	struct io_uring_cqe *cqe;
	unsigned int i = *tail & mask;
	int res;

	ring.sqes[i] = (struct io_uring_sqe){
		.opcode = (uint8_t)a[0], .fd = (int)a[1], .addr = a[2],
		.len = (uint32_t)a[3], .flags = (uint8_t)a[4],
	};
	((unsigned int *)(ring.sq + ring.p.sq_off.array))[i] = i;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -1;
	cqe = (struct io_uring_cqe *)(ring.cq + ring.p.cq_off.cqes) + (*head & cq_mask);
	res = cqe->res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	if (res >= 0)
		return res;
	errno = -res;
	return -1;
}

static void need_ring(struct fixture *f)
{
	struct outcome o = CALL(f->peer, op_ring, 0);

	if (o.ret)
		SKIP("no io_uring: %s", strerror(o.err));
}

static void io_uring_keeps_no_buffer(struct fixture *f)
{
	unsigned long plain = plain_mapping(f, PROT_READ | PROT_WRITE);

	need_ring(f);
	lend(f, NR, RW);
	EXPECT_CALL(f->peer, op_register, plain, NR * PAGE);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_register, AT(f, 0), PAGE);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_register, AT(f, 0), NR * PAGE);
}

static void io_uring_obeys_the_table(struct fixture *f)
{
	int src = peer_send_fd(f->peer, make_file(MEMFD, f->file_size, 700));

	need_ring(f);
	lend(f, NR, RW);
	protect_pages(f, 0, 4, R);
	for (unsigned int flags = 0; flags <= IOSQE_ASYNC; flags += IOSQE_ASYNC) {
		EXPECT_VALUE(PAGE, CALL(f->peer, op_ring_rw, IORING_OP_READ, src, AT(f, 5),
					PAGE, flags));
		READS(f, 5, WORD(700));
		EXPECT_CALL_ERRNO(EFAULT, f->peer, op_ring_rw, IORING_OP_READ, src, AT(f, 0),
				  PAGE, flags);
		EXPECT_CALL_ERRNO(EFAULT, f->peer, op_ring_rw, IORING_OP_READ, src, AT(f, NR),
				  PAGE, flags);
		EXPECT_CALL_ERRNO(EFAULT, f->peer, op_ring_rw, IORING_OP_WRITE, src,
				  AT(f, NR), PAGE, flags);
	}
	assert_int_equal(file_word(f->file, 0), WORD(0));
}

static long op_aio(const long *a)
{
	struct iocb cb = {
		.aio_lio_opcode = (uint16_t)a[0], .aio_fildes = (uint32_t)a[1],
		.aio_buf = (uint64_t)a[2], .aio_nbytes = PAGE,
	}, *cbs = &cb;
	struct io_event event;
	aio_context_t context = 0;
	long ret;

	if (syscall(SYS_io_setup, 1, &context))
		return -1;
	ret = syscall(SYS_io_submit, context, 1, &cbs);
	if (ret == 1 && syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1)
		ret = event.res;
	syscall(SYS_io_destroy, context);
	if (ret < -1) {
		errno = (int)-ret;
		ret = -1;
	}
	return ret;
}

static long op_pread(const long *a)
{
	return pread((int)a[0], (void *)a[1], a[2], a[3]);
}

static long op_pwrite(const long *a)
{
	return pwrite((int)a[0], (void *)a[1], a[2], a[3]);
}

static void direct_io_keeps_no_page(struct fixture *f)
{
	unsigned long plain = plain_mapping(f, PROT_READ | PROT_WRITE);
	int disk = make_file(f->backing, f->file_size, 0);
	int fd = backing_reopen(disk, O_RDWR | O_DIRECT);

	assert_true(fd >= 0);
	EXPECT_OK(fsync(disk));
	fd = peer_send_fd(f->peer, fd);
	lend(f, NR, RW);
	EXPECT_VALUE(PAGE, CALL(f->peer, op_aio, IOCB_CMD_PREAD, fd, plain));
	EXPECT_VALUE(PAGE, CALL(f->peer, op_aio, IOCB_CMD_PWRITE, fd, plain));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_aio, IOCB_CMD_PREAD, fd, AT(f, 0));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_aio, IOCB_CMD_PWRITE, fd, AT(f, 0));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_pread, fd, AT(f, 0), PAGE, 0);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_pwrite, fd, AT(f, 0), PAGE, 0);
	READS(f, 0, WORD(0));
}

/* Nothing of all that has left a reference: the file can be sealed at once. */
static void no_pin_is_left(struct fixture *f)
{
	int fd;

	need_ring(f);
	lend(f, NR, RW);
	CALL(f->peer, op_vmsplice, AT(f, 0), 0);
	CALL(f->peer, op_register, AT(f, 1), PAGE);
	CALL(f->peer, op_futex, AT(f, 2), FUTEX_WAKE);
	fd = peer_send_fd(f->peer, make_file(MEMFD, f->file_size, 0));
	CALL(f->peer, op_ring_rw, IORING_OP_READ, fd, AT(f, 3), PAGE, IOSQE_ASYNC);
	unmap_pages(f, 0, NR);
	/* EBUSY with a writable mapping, the idle source's, or a pin. */
	EXPECT_OK(mv_drop_idle(f->ctl));
	if (!EVENTUALLY(!fcntl(f->file, F_ADD_SEALS, F_SEAL_WRITE)))
		fail_msg("F_SEAL_WRITE: %s: something still has the pages", strerror(errno));
}

/* ---- copies with a revoke in the middle ---- */

enum copier { C_READ, C_PIPE, C_URING, C_URING_ASYNC, C_VM_READV, C_PROC_MEM };

/*
 * how, address, pages, source fd, sink fd: copies SECRET into the view and the
 * view into the sink, over and over; CANARY in the sink is bad.
 */
static long op_copy(const long *a)
{
	static char from[NR * PAGE], to[NR * PAGE];
	size_t len = a[2] * PAGE;
	struct iovec mine = { from, len }, view = { (void *)a[0], len };
	int mem = -1, fds[2];
	ssize_t n = -1;

	op_fill(ARGS((long)from, a[2], (long)SECRET));
	if (a[1] == C_PROC_MEM) {
		mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
		if (mem < 0)
			return -1;
	}
	if (pipe(fds) || fcntl(fds[0], F_SETPIPE_SZ, len) < 0)
		return -1;
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while (!atomic_load(&shared->stop)) {
		/* Out of the view first: it is what leaks. */
		op_fill(ARGS((long)to, a[2], 0));
		switch ((enum copier)a[1]) {
		case C_READ:
			n = pwrite((int)a[4], (void *)a[0], len, 0);
			if (n > 0)
				n = pread((int)a[4], to, n, 0);
			pread((int)a[3], (void *)a[0], len, 0);
			break;
		case C_PIPE:
			if (write(fds[1], (void *)a[0], len) > 0)
				n = read(fds[0], to, len);
			if (write(fds[1], from, len) > 0)
				(void)!read(fds[0], (void *)a[0], len);
			while (read(fds[0], from, 8) > 0)
				;
			op_fill(ARGS((long)from, a[2], (long)SECRET));
			break;
		case C_URING:
		case C_URING_ASYNC:
			n = op_ring_rw(ARGS(IORING_OP_WRITE, a[4], a[0], len,
					    a[1] == C_URING_ASYNC ? IOSQE_ASYNC : 0));
			if (n > 0)
				n = pread((int)a[4], to, n, 0);
			op_ring_rw(ARGS(IORING_OP_READ, a[3], a[0], len,
					a[1] == C_URING_ASYNC ? IOSQE_ASYNC : 0));
			break;
		case C_VM_READV:
			mine.iov_base = to;
			process_vm_writev(getpid(), &view, 1, &mine, 1, 0);
			mine.iov_base = from;
			process_vm_readv(getpid(), &view, 1, &mine, 1, 0);
			break;
		case C_PROC_MEM:
			(void)!pread(mem, to, len, a[0]);
			(void)!pwrite(mem, from, len, a[0]);
			break;
		}
		for (long i = 0; i < a[2]; i++)
			if (*(uint64_t *)(to + i * PAGE) == CANARY)
				atomic_fetch_add(&shared->bad, 1);
		atomic_fetch_add(&shared->loops, 1);
	}
	return 0;
}

static void copy_stops_where_rights_are_taken(struct fixture *f)
{
	char *plain = map_file(f, PROT_READ | PROT_WRITE);
	int src = make_file(MEMFD, FILE_PAGES * PAGE, 0);
	int sink = make_file(MEMFD, FILE_PAGES * PAGE, 0);

	if (f->tc->param == C_URING || f->tc->param == C_URING_ASYNC)
		need_ring(f);
	for (unsigned long i = 0; i < NR; i++)
		assert_true(file_set_word(src, i * PAGE, SECRET));
	map_pages(f, 0, 0, NR, RW);
	START(f->peer, op_copy, f->view, f->tc->param, NR, peer_send_fd(f->peer, src),
	      peer_send_fd(f->peer, sink));
	for (int i = 0; i < 12; i++)
		check_taken(f, plain, NR, i & 1);
	wait_loops(2);
	/* It does copy. */
	if (!EVENTUALLY(*(volatile uint64_t *)plain == SECRET))
		fail_msg("nothing is copied into the view");
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "copying"));
	assert_int_equal(atomic_load(&shared->bad), 0);
}

/* Up to the hole everything is copied, and the count says so. */
static void copy_ends_at_a_hole(struct fixture *f)
{
	int src = make_file(MEMFD, FILE_PAGES * PAGE, 300);
	int fd = peer_send_fd(f->peer, src);

	map_pages(f, 0, 0, NR, RW);
	unmap_pages(f, 5, 1);
	protect_pages(f, 10, 1, R);
	EXPECT_VALUE(5 * PAGE, CALL(f->peer, op_pread, fd, AT(f, 0), NR * PAGE, 0));
	READS(f, 4, WORD(304));
	READS(f, 6, WORD(6));
	EXPECT_VALUE(4 * PAGE, CALL(f->peer, op_pread, fd, AT(f, 6), 8 * PAGE, 0));
	READS(f, 10, WORD(10));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_pread, fd, AT(f, 5), PAGE, 0);
	EXPECT_VALUE(5 * PAGE, CALL(f->peer, op_pwrite, fd, AT(f, 0), NR * PAGE, 0));
}

/* ---- debuggers ---- */

static int mem_of(struct peer *p)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", p->pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static bool mem_reads(int mem, unsigned long at, uint64_t want)
{
	uint64_t word = 0;
	ssize_t n = pread(mem, &word, 8, (off_t)at);

	if (n == 8)
		assert_int_equal(word, want);
	return n == 8;
}

static bool mem_writes(int mem, unsigned long at, uint64_t word)
{
	return pwrite(mem, &word, 8, (off_t)at) == 8;
}

static bool peeks(struct peer *p, unsigned long at, uint64_t want)
{
	uint64_t word;

	errno = 0;
	word = (uint64_t)ptrace(PTRACE_PEEKDATA, p->pid, at, NULL);
	if (errno)
		return false;
	assert_int_equal(word, want);
	return true;
}

static bool pokes(struct peer *p, unsigned long at, uint64_t word)
{
	return !ptrace(PTRACE_POKEDATA, p->pid, at, word);
}

/* Page 0 nothing, 1 read, 2 read and write; through each kind of mapping. */
static void debugger_has_no_more_rights_than_the_peer(struct fixture *f)
{
	static const int prots[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE };
	unsigned long plain = plain_mapping(f, PROT_NONE);
	int mem = mem_of(f->peer), status;

	/*
	 * On plain memory a debugger forces its way through PROT_NONE. (Through
	 * /proc/PID/mem as well, but newer kernels want it to trace for that.)
	 */
	EXPECT_OK(ptrace(PTRACE_ATTACH, f->peer->pid, 0, 0));
	assert_int_equal(waitpid(f->peer->pid, &status, 0), f->peer->pid);
	assert_true(f->backing == HUGETLB || peeks(f->peer, plain, WORD(0)));
	EXPECT_OK(ptrace(PTRACE_DETACH, f->peer->pid, 0, 0));
	map_pages(f, 1, 1, 2, RW);
	protect_pages(f, 1, 1, R);
	for (int i = 0; i < 3; i++) {
		bool vma_r = prots[i] & PROT_READ, vma_w = prots[i] & PROT_WRITE;

		EXPECT_CALL(f->peer, op_mprotect, f->view, 8 * PAGE, prots[i]);
		for (int traced = 0; traced < 2; traced++) {
			for (unsigned long page = 0; page < 3; page++) {
				unsigned long at = AT(f, page);
				bool r = vma_r && page, w = vma_w && page == 2;

				if (traced) {
					EXPECT_OK(ptrace(PTRACE_ATTACH, f->peer->pid, 0, 0));
					assert_int_equal(waitpid(f->peer->pid, &status, 0),
							 f->peer->pid);
				}
				assert_int_equal(traced ? peeks(f->peer, at, WORD(page)) :
						 mem_reads(mem, at, WORD(page)), r);
				assert_int_equal(traced ? pokes(f->peer, at, WORD(page)) :
						 mem_writes(mem, at, WORD(page)), w);
				/* SECRET must not arrive; and what may be, does. */
				if (traced ? pokes(f->peer, at, SECRET) :
				    mem_writes(mem, at, SECRET)) {
					assert_true(w);
					assert_int_equal(file_word(f->file, page * PAGE), SECRET);
					assert_true(file_set_word(f->file, page * PAGE,
								  WORD(page)));
				}
				assert_int_equal(file_word(f->file, page * PAGE), WORD(page));
				if (traced)
					EXPECT_OK(ptrace(PTRACE_DETACH, f->peer->pid, 0, 0));
			}
		}
	}
	EXPECT_CALL(f->peer, op_mprotect, f->view, 8 * PAGE, PROT_READ | PROT_WRITE);
	EXPECT_OK(mv_revoke(f->ctl));
	for (unsigned long page = 0; page < 3; page++) {
		assert_false(mem_reads(mem, AT(f, page), 0));
		assert_false(mem_writes(mem, AT(f, page), SECRET));
		assert_int_equal(file_word(f->file, page * PAGE), WORD(page));
	}
	close(mem);
}

static void debugger_stops_at_the_end_of_a_range(struct fixture *f)
{
	char buf[4 * PAGE];
	int mem = mem_of(f->peer);

	lend(f, 4, RW);
	memset(buf, 0x55, sizeof(buf));
	unmap_pages(f, 2, 1);
	assert_int_equal(pread(mem, buf, sizeof(buf), AT(f, 0)), 2 * PAGE);
	assert_int_equal(pread(mem, buf, 100, AT(f, 2) - 50), 50);
	assert_int_equal(pwrite(mem, buf, sizeof(buf), AT(f, 0) + 8), 2 * PAGE - 8);
	assert_int_equal(file_word(f->file, 2 * PAGE), WORD(2));
	assert_int_equal(file_word(f->file, 3 * PAGE), WORD(3));
	/* What a debugger writes is not lost to reclaim either. */
	assert_true(mem_writes(mem, AT(f, 3), 77));
	madvise(source_at(f, 3), PAGE, 21 /* MADV_PAGEOUT */);
	READS(f, 3, 77);
	assert_int_equal(file_word(f->file, 3 * PAGE), 77);
	close(mem);
}

/* The debugger's access is a third way in, and lets go like the others. */
static void debugger_of_a_dead_controllers_peer(struct fixture *f)
{
	struct controller c;
	struct peer *p = peer_spawn();
	unsigned long view;
	int mem = mem_of(p);

	(void)f;
	controller_start(&c, 0, RW);
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);
	assert_true(mem_reads(mem, view + PAGE, WORD(1)));
	peer_kill(c.peer);
	assert_true(EVENTUALLY(!mem_writes(mem, view + PAGE, WORD(1))));
	assert_false(mem_reads(mem, view + PAGE, 0));
	close(mem);
}

#define COPY(how) \
	{ .name = "copy_stops_where_rights_are_taken", \
	  .run = copy_stops_where_rights_are_taken, .variant = #how, .param = how, \
	  .backings = ON(MEMFD) | ON(HUGETLB) | ON(EXT4) }

static const struct test_case cases[] = {
	CASE_ON(pipe_keeps_no_page, ON(MEMFD) | ON(TMPFS) | ON(EXT4)),
	CASE_ON(shared_futex_is_refused, ON_ALL),
	CASE_ON(other_processes_reach_nothing, ON_ALL),
	CASE_ON(copies_from_other_processes_obey_the_table, ON_ALL),
	CASE_ON(io_uring_keeps_no_buffer, ON_ALL & ~ON_DISK),
	CASE_ON(io_uring_obeys_the_table, ON_ALL),
	CASE_ON(direct_io_keeps_no_page, ON_DISK),
	CASE_ON(no_pin_is_left, ON_SEALABLE),
	COPY(C_READ),
	COPY(C_PIPE),
	COPY(C_URING),
	COPY(C_URING_ASYNC),
	COPY(C_VM_READV),
	COPY(C_PROC_MEM),
	CASE_ON(copy_ends_at_a_hole, ON_ALL),
	CASE_ON(debugger_has_no_more_rights_than_the_peer, ON_ALL),
	CASE_ON(debugger_stops_at_the_end_of_a_range, ON_ALL),
	CASE(debugger_of_a_dead_controllers_peer),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adv_pin", cases);
}
