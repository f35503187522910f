// SPDX-License-Identifier: GPL-2.0
/*
 * userfaultfd(2) on the source: what post-copy does, slowly or never. A fault of
 * a peer that waits holds up nobody else, and gets nothing that was taken.
 */
#include "adv.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR	8UL	/* pages lent */

static void uffd_copy(int uffd, char *to, size_t len, uint64_t word, bool may_be_gone)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)to & -len, .len = len };
	uint64_t *from = mmap(NULL, len, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(from, MAP_FAILED);
	*from = word;
	copy.src = (uintptr_t)from;
	if (ioctl(uffd, UFFDIO_COPY, &copy) && !(may_be_gone && errno == ENOENT))
		fail_msg("UFFDIO_COPY: %s", strerror(errno));
	munmap(from, len);
}

/* An empty file with a userfaultfd on its source. The rest is in the file. */
static int empty_source(struct fixture *f)
{
	int uffd = uffd_open(0, 0);
	size_t len = span(f, NR);

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
	uffd_copy(uffd, at, unit(f), SECRET, false);
	/* The handler fills the page of the first word that was missed. */
	EXPECT_VALUE(f->backing == HUGETLB ? 0 : SECRET, FINISH(f->peer, "read after the copy"));
	WRITES(f, 2, 3);
	assert_int_equal(file_word(f->file, 2 * PAGE), 3);
	close(uffd);
	READS(f, 3, 0);
}

/* A peer's fault counts as the kernel's, which such a handler is not asked about. */
static void userfaultfd_of_user_mode_only_is_sigbus(struct fixture *f)
{
	int uffd = uffd_open(UFFD_USER_MODE_ONLY, 0);

	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
	map_pages(f, 0, 0, NR, RW);
	uffd_register(uffd, source_at(f, 0), span(f, NR), UFFDIO_REGISTER_MODE_MISSING);
	START(f->peer, op_read, AT(f, 1));
	assert_int_equal(FINISH(f->peer, "read of a missing page").sig, SIGBUS);
	START(f->peer, op_write, AT(f, 1), 5);
	assert_int_equal(FINISH(f->peer, "write to a missing page").sig, SIGBUS);
	/* What is there is as good as ever. */
	assert_true(file_set_word(f->file, PAGE, 6));
	READS(f, 1, 6);
	close(uffd);
	WRITES(f, 2, 7);
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

static long op_futex_wake_op(const long *a)
{
	int word = 0;

	return syscall(SYS_futex, &word, FUTEX_WAKE_OP_PRIVATE, 1, 1, a[0],
		       FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0));
}

static unsigned long minor_faults(pid_t pid)
{
	unsigned long faults = 0;
	char path[64], line[512];
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	stat = fopen(path, "r");
	if (stat && fgets(line, sizeof(line), stat))
		sscanf(strrchr(line, ')'), ") %*c %*d %*d %*d %*d %*d %*u %lu", &faults);
	if (stat)
		fclose(stat);
	return faults;
}

/* futex(2) tries again for ever in the kernel, where only the fault can end it. */
static void peer_killed_in_a_futex_on_a_blocked_page(struct fixture *f)
{
	unsigned long view, before;
	struct pollfd pfd;
	struct peer *p;

	empty_source(f);
	p = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &view);
	before = minor_faults(p->pid);
	START(p, op_futex_wake_op, view);
	if (!EVENTUALLY(minor_faults(p->pid) > before + 1000))
		fail_msg("the peer is not in its loop");
	kill(p->pid, SIGKILL);
	pfd = (struct pollfd) { .fd = p->sock, .events = POLLIN };
	if (poll(&pfd, 1, WITHIN_SECONDS * 1000) != 1)
		fail_msg("SIGKILL does not end a peer in futex(2)");
	peer_kill(p);
	check_free(f);
}

static void on_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&shared->faults, 1);
}

static long op_handle_signal(const long *a)
{
	return signal((int)a[0], on_signal) == SIG_ERR ? -1 : 0;
}

static void signal_during_a_blocked_fault_loses_nothing(struct fixture *f)
{
	int uffd = empty_source(f);

	EXPECT_CALL(f->peer, op_handle_signal, SIGUSR1);
	START(f->peer, op_write, AT(f, 1), 6);
	uffd_event(uffd, NULL);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(kill(f->peer->pid, SIGUSR1), 0);
		nap();
	}
	assert_true(still_busy(f->peer) || atomic_load(&shared->faults));
	close(uffd);
	EXPECT_VALUE(0, FINISH(f->peer, "write"));
	assert_true(atomic_load(&shared->faults) >= 1);
	READS(f, 1, 6);
	assert_int_equal(file_word(f->file, PAGE), 6);
}

/* A process that interrupts another one all the time. */
static pid_t interrupt_for_ever(pid_t victim)
{
	pid_t parent = getpid(), pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent && !kill(victim, SIGUSR1))
		usleep(100);
	_exit(0);
}

/*
 * A close of a userfaultfd tells its faults to come again, and only then waits for
 * the mmap_lock, to take it off the mapping: a fault that comes again under that
 * lock, as it was interrupted just then, must give it up in between.
 */
static void closing_holds_up_no_fault(struct fixture *f)
{
	pid_t pid;
	int uffd;

	EXPECT_CALL(f->peer, op_handle_signal, SIGUSR1);
	/* Before there is a userfaultfd that it would keep open. */
	pid = interrupt_for_ever(f->peer->pid);
	uffd = empty_source(f);
	for (unsigned long i = 1; i <= 40; i++) {
		unsigned long n = atomic_load(&shared->faults);

		START(f->peer, op_write, AT(f, 1), i);
		while (atomic_load(&shared->faults) < n + 4)
			sched_yield();
		close(uffd);
		EXPECT_VALUE(0, FINISH(f->peer, "write"));
		assert_int_equal(file_word(f->file, PAGE), i);
		EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				    span(f, NR)));
		uffd = uffd_open(0, 0);
		uffd_register(uffd, source_at(f, 0), span(f, NR),
			      UFFDIO_REGISTER_MODE_MISSING);
	}
	close(uffd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
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
		EXPECT_OK(mv_drop_idle(f->ctl));
		assert_false(mapping_at(m.start, &gone));
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
	/* The source has no range any more, and may have been collected. */
	if (f->tc->param == T_UNMAP || f->tc->param == T_SHRINK || f->tc->param == T_REVOKE)
		uffd_copy(uffd, at, unit(f), SECRET, true);
	close(uffd);
	o = FINISH(f->peer, "read after the rights were taken");
	assert_int_equal(o.sig, sig);
	if (!sig)
		assert_int_equal(o.ret, want);
}

/* Write-protection by userfaultfd: how post-copy and snapshots see a peer write. */
static void write_protected_source_reports_the_peers_writes(struct fixture *f)
{
	int uffd = uffd_open(0, UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			     UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	size_t len = span(f, NR);
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
	int uffd = uffd_open(0, 0);
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

/* Writes an empty file in order, and on to the end of what that has allocated. */
static unsigned long write_sequence(struct fixture *f, unsigned long pages)
{
	unsigned long next;

	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, pages * PAGE));
	for (unsigned long i = 0; i < 32; i++)
		WRITES(f, i, 1 + i);
	next = lseek(f->file, 0, SEEK_HOLE) / PAGE;
	assert_in_range(next, 32, pages - 16);
	for (unsigned long i = 32; i < next; i++)
		WRITES(f, i, 1 + i);
	return next;
}

/* Writes on from @next: does any write allocate more than its page? */
static bool write_allocates_ahead(struct fixture *f, unsigned long next, unsigned long pages)
{
	for (; next < pages; next++) {
		WRITES(f, next, SECRET);
		if (lseek(f->file, 0, SEEK_HOLE) != (off_t)((next + 1) * PAGE))
			return next + 1 < pages;
	}
	return false;
}

/*
 * What a sequence of writes allocates ahead is the handler's to fill. The control:
 * without one, pages after the sequence are there.
 */
static void sequence_leaves_missing_pages_to_the_handler(struct fixture *f)
{
	/* However the mapping is aligned, a window behind the sequence has room to grow. */
	unsigned long pages = 128, next;
	char *at = NULL;
	int uffd = -1;

	map_pages(f, 0, 0, pages, RW);
	set_module_param(f, "fault_around_pages", 16);
	next = write_sequence(f, pages);
	if (f->tc->param) {
		uffd = uffd_open(0, 0);
		uffd_register(uffd, source_at(f, next), (pages - next) * PAGE,
			      UFFDIO_REGISTER_MODE_MISSING);
		START(f->peer, op_write, AT(f, next), SECRET);
		at = uffd_event(uffd, NULL);
		assert_int_equal(lseek(f->file, next * PAGE, SEEK_DATA), -1);
		uffd_copy(uffd, at, PAGE, 0, false);
		EXPECT_VALUE(0, FINISH(f->peer, "write after the copy"));
		close(uffd);
	} else {
		/* What must not wait finds no memory now and then, or for a while. */
		for (int i = 0; !write_allocates_ahead(f, next, pages); i++) {
			assert_in_range(i, 0, 8);
			put_text("/proc/sys/vm/drop_caches", "1");
			sleep(1);
			next = write_sequence(f, pages);
		}
	}
	READS(f, next, SECRET);
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
	uffd2 = uffd_open(0, 0);
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

/* ---- copies that wait in the middle ---- */

enum copier { C_READ, C_WRITE, C_RING_READ, C_RING_WRITE };
enum cut { CUT_NOTHING, CUT_UNMAP, CUT_NARROW, CUT_REVOKE };

#define COPY_HELD	4UL	/* of NR pages, what is there at once */
#define COPY_OF(how, cut)	((how) | (cut) << 4)

/* -2: this kernel has no io_uring */
static long ring_copy(const long *a)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	int ret = io_uring_queue_init(4, &ring, 0);

	if (ret) {
		errno = -ret;
		return -2;
	}
	sqe = io_uring_get_sqe(&ring);
	if (a[0] == C_RING_READ)
		io_uring_prep_read(sqe, (int)a[1], (void *)a[2], a[3], 0);
	else
		io_uring_prep_write(sqe, (int)a[1], (void *)a[2], a[3], 0);
	ret = io_uring_submit(&ring);
	if (ret == 1)
		ret = io_uring_wait_cqe(&ring, &cqe) ?: cqe->res;
	io_uring_queue_exit(&ring);
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

/* enum copier, fd, address, length */
static long op_copy(const long *a)
{
	switch ((enum copier)a[0]) {
	case C_READ:
		return pread((int)a[1], (void *)a[2], a[3], 0);
	case C_WRITE:
		return pwrite((int)a[1], (void *)a[2], a[3], 0);
	default:
		return ring_copy(a);
	}
}

/*
 * A system call of the peer copies NR pages into the view or out of it, and waits
 * for the fifth, which is the handler's to bring. The right to it is taken before
 * it comes: the copy ends there. The control: with nothing taken, all is copied.
 */
static void copy_is_cut_where_it_waits(struct fixture *f)
{
	enum copier how = f->tc->param & 15;
	enum cut cut = f->tc->param >> 4;
	bool into = how == C_READ || how == C_RING_READ;
	/* The last of what is there is the last of a block. */
	unsigned long first = unit(f) == PAGE ? 0 : unit(f) / PAGE - COPY_HELD;
	size_t missing = unit(f) == PAGE ? (NR - COPY_HELD) * PAGE : unit(f);
	int other = make_file(MEMFD, FILE_PAGES * PAGE, 300);
	int fd = peer_send_fd(f->peer, other);
	int uffd = uffd_open(0, 0), keep = mv_open();
	struct uffdio_copy fill = { .len = missing };
	unsigned long copied = cut == CUT_NOTHING ? NR : COPY_HELD;
	struct outcome o;
	char *from, *at;

	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
	for (unsigned long i = 0; i < COPY_HELD; i++)
		assert_true(file_set_word(f->file, (first + i) * PAGE, WORD(i)));
	if (!into)
		EXPECT_OK(ftruncate(other, 0));
	map_pages(f, 0, first, NR, RW);
	/* A range of another view, so that the source outlives the revoke. */
	EXPECT_OK(mv_set_size(keep, NR * PAGE));
	EXPECT_OK(mv_map(keep, f->file, first * PAGE, NR * PAGE, 0, RW));
	assert_int_equal(source_addr_at(keep, 0), source_addr_at(f->ctl, 0));
	at = source_at(f, 0) - first * PAGE;
	uffd_register(uffd, at, unit(f) == PAGE ? NR * PAGE : f->file_size,
		      UFFDIO_REGISTER_MODE_MISSING);

	START(f->peer, op_copy, how, fd, f->view, NR * PAGE);
	if (how == C_RING_READ || how == C_RING_WRITE) {
		struct pollfd pfds[] = {
			{ .fd = uffd, .events = POLLIN },
			{ .fd = f->peer->sock, .events = POLLIN },
		};

		poll(pfds, 2, WITHIN_SECONDS * 1000);
		if (pfds[1].revents) {
			o = peer_wait(f->peer);
			if (o.ret == -2)
				SKIP("no io_uring: %s", strerrorname_np(o.err));
			fail_msg("the copy has not waited");
		}
	}
	at = source_at(f, COPY_HELD);
	assert_ptr_equal(uffd_event(uffd, NULL), at);
	assert_true(still_busy(f->peer));
	switch (cut) {
	case CUT_NOTHING:
		break;
	case CUT_UNMAP:
		unmap_pages(f, COPY_HELD, NR - COPY_HELD);
		break;
	case CUT_NARROW:
		protect_pages(f, COPY_HELD, NR - COPY_HELD, R);
		break;
	case CUT_REVOKE:
		EXPECT_OK(mv_revoke(f->ctl));
		break;
	}
	/* All that is missing comes now. */
	from = mmap(NULL, missing, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(from, MAP_FAILED);
	op_fill(ARGS((long)from, (long)(missing / PAGE), (long)SECRET));
	fill.src = (uintptr_t)from;
	fill.dst = (uintptr_t)at;
	EXPECT_OK(ioctl(uffd, UFFDIO_COPY, &fill));

	o = FINISH(f->peer, "copy");
	/* Kernels that look at more than a page ahead of a copy may copy nothing. */
	if (cut == CUT_REVOKE && !into && o.ret == -1 && o.err == EFAULT)
		copied = 0;
	else
		EXPECT_VALUE(copied * PAGE, o);
	if (!into)
		assert_int_equal(lseek(other, 0, SEEK_END), copied * PAGE);
	for (unsigned long i = 0; i < NR; i++) {
		uint64_t word = i < COPY_HELD ? WORD(i) : SECRET;

		if (!into && i < copied)
			assert_int_equal(file_word(other, i * PAGE), word);
		if (into && i < copied)
			word = WORD(300 + i);
		assert_int_equal(file_word(f->file, (first + i) * PAGE), word);
	}
	close(uffd);
	close(keep);
	munmap(from, missing);
}

#define COPY(how, cut) \
	{ .name = "copy_is_cut_where_it_waits", .run = copy_is_cut_where_it_waits, \
	  .backings = ON_UFFD, .variant = #how "," #cut, .param = COPY_OF(how, cut) }

#define TAKEN(how, mask) \
	{ .name = "rights_taken_during_a_blocked_fault", \
	  .run = rights_taken_during_a_blocked_fault, .backings = mask, \
	  .variant = #how, .param = how }

#define ON_UFFD		(ON_SHMEM | ON(HUGETLB))

static const struct test_case cases[] = {
	CASE_ON(slow_userfaultfd_holds_up_only_its_fault, ON_UFFD),
	CASE_ON(userfaultfd_of_user_mode_only_is_sigbus, ON_UFFD),
	CASE_ON(dead_userfaultfd_handler_lets_the_peer_go_on, ON_UFFD),
	CASE_ON(peer_killed_in_a_blocked_fault, ON_UFFD),
	CASE_ON(peer_killed_in_a_futex_on_a_blocked_page, ON(MEMFD)),
	CASE_ON(signal_during_a_blocked_fault_loses_nothing, ON_UFFD),
	CASE_ON(closing_holds_up_no_fault, ON_UFFD),
	TAKEN(T_REVOKE, ON_UFFD),
	TAKEN(T_UNMAP, ON_UFFD),
	TAKEN(T_REPLACE, ON_UFFD),
	TAKEN(T_REPLACE_COLLECTED, ON_UFFD),
	TAKEN(T_MUNMAP, ON_UFFD),
	TAKEN(T_TRUNCATE, ON(MEMFD)),
	TAKEN(T_SHRINK, ON_UFFD),
	CASE_ON(blocked_fault_goes_into_no_other_view, ON_SHMEM),
	COPY(C_READ, CUT_NOTHING),
	COPY(C_READ, CUT_UNMAP),
	COPY(C_READ, CUT_NARROW),
	COPY(C_READ, CUT_REVOKE),
	COPY(C_WRITE, CUT_NOTHING),
	COPY(C_WRITE, CUT_UNMAP),
	COPY(C_WRITE, CUT_REVOKE),
	COPY(C_RING_READ, CUT_NOTHING),
	COPY(C_RING_READ, CUT_UNMAP),
	COPY(C_RING_READ, CUT_NARROW),
	COPY(C_RING_READ, CUT_REVOKE),
	COPY(C_RING_WRITE, CUT_NOTHING),
	COPY(C_RING_WRITE, CUT_UNMAP),
	COPY(C_RING_WRITE, CUT_REVOKE),
	{ .name = "sequence_leaves_missing_pages_to_the_handler",
	  .run = sequence_leaves_missing_pages_to_the_handler,
	  .backings = ON_SHMEM, .variant = "handler", .param = 1 },
	{ .name = "sequence_leaves_missing_pages_to_the_handler",
	  .run = sequence_leaves_missing_pages_to_the_handler,
	  .backings = ON_SHMEM, .variant = "control" },
	CASE_ON(write_protected_source_reports_the_peers_writes, ON_UFFD),
	CASE_ON(userfaultfd_on_another_mapping_blocks_no_peer, ON_UFFD),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adv_uffd", cases);
}
