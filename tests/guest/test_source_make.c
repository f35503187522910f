// SPDX-License-Identifier: GPL-2.0
/*
 * The making of a source: whose it is, of which file, how large, and that signals
 * do not keep it from coming to an end.
 */
#include "adv.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- whose ---- */

enum failing { OVERLAPPING, TOO_MANY, BEYOND };

/* ctl, fd, how: an operation that finds its source, and fails for its table. */
static long op_fail(const long *a)
{
	struct memview_op ops[] = {
		{ .op = MEMVIEW_OP_MAP, .fd = (int)a[1], .flags = RW, .size = PAGE },
		{ .op = MEMVIEW_OP_MAP, .fd = (int)a[1], .flags = RW, .size = PAGE },
	};
	struct memview_update_info info = {
		.ops = (uintptr_t)ops,
		.count = 2,
		.op_size = sizeof(ops[0]),
	};

	switch ((enum failing)a[2]) {
	case TOO_MANY:
		ops[1].mem_offset = 2 * PAGE;
		break;
	case BEYOND:
		ops[1].mem_offset = VIEW_PAGES * PAGE;
		break;
	default:
		break;
	}
	return ioctl((int)a[0], MEMVIEW_UPDATE, &info);
}

static void failed_operation_binds_no_view(struct fixture *f)
{
	static const int errnos[] = {
		[OVERLAPPING] = EEXIST, [TOO_MANY] = ENOSPC, [BEYOND] = ERANGE,
	};
	struct peer *child = peer_spawn();
	int ctl = peer_send_fd(child, f->ctl), fd = peer_send_fd(child, f->file);
	struct memview_info info;

	if (f->tc->param == TOO_MANY)
		set_module_param(f, "max_ranges", 1);
	EXPECT_CALL_ERRNO(errnos[f->tc->param], child, op_fail, ctl, fd, f->tc->param);
	if (f->tc->param == TOO_MANY)
		set_module_param(f, "max_ranges", 1000);
	/* It is still for whoever comes first. */
	EXPECT_OK(mv_map(f->ctl, f->file, 0, 4 * PAGE, 0, RW));
	EXPECT_CALL_ERRNO(EIO, child, op_fail, ctl, fd, OVERLAPPING);
	READS(f, 0, WORD(0));
	/* And does not end with who failed. */
	peer_kill(child);
	for (int i = 0; i < 20; i++) {
		nap();
		READS(f, i % 4, WORD(i % 4));
	}
	EXPECT_OK(mv_info(f->ctl, &info));
	assert_int_equal(info.state & MEMVIEW_STATE_REVOKED, 0);
	EXPECT_OK(mv_map(f->ctl, f->file, 0, PAGE, 8 * PAGE, RW));
	READS(f, 8, WORD(0));
}

/* ---- signals ---- */

static void on_tick(int sig)
{
	(void)sig;
}

/* fd, mappings, interval in us -> errno of the first MAP_FD of the process */
static long op_map_under_a_timer(const long *a)
{
	struct sigaction sa = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
	struct itimerval it = { { 0, a[2] }, { 0, a[2] } }, off = { 0 };
	int ctl = mv_open(), ret, err;
	char *p;

	/* Mappings that the kernel has to lock one by one: written, and apart. */
	p = mmap(NULL, a[1] * 2 * PAGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ctl < 0 || mv_set_size(ctl, PAGE) || p == MAP_FAILED)
		return -1;
	for (long i = 0; i < a[1]; i++) {
		if (mprotect(p + i * 2 * PAGE, PAGE, PROT_READ | PROT_WRITE))
			return -1;
		p[i * 2 * PAGE] = 1;
	}
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	ret = mv_map(ctl, (int)a[0], 0, PAGE, 0, RW);
	err = errno;
	setitimer(ITIMER_REAL, &off, NULL);
	return ret ? err : 0;
}

static void first_source_under_a_profiler(struct fixture *f)
{
	struct peer *p = peer_spawn();

	START(p, op_map_under_a_timer, peer_send_fd(p, f->file), f->tc->param, 1000);
	EXPECT_VALUE(0, FINISH(p, "the first MAP_FD of a large process"));
}

/* ---- invalidations ---- */

#define PUNCHED		(256UL << 20)
#define NR_PUNCHED	4
#define NR_AMID		12UL

static void *punch_loop(void *arg)
{
	int *fd = arg;

	while (!atomic_load(&shared->stop)) {
		if (fallocate(*fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PUNCHED))
			return NULL;
		atomic_fetch_add(&shared->loops, 1);
	}
	return NULL;
}

/* Files. Each is punched by a thread, until all is to stop. */
static long op_punch_all(const long *a)
{
	static int fds[NR_PUNCHED];
	pthread_t threads[NR_PUNCHED];

	for (int i = 0; i < NR_PUNCHED; i++) {
		fds[i] = (int)a[i];
		if (pthread_create(&threads[i], NULL, punch_loop, &fds[i]))
			return -1;
	}
	for (int i = 0; i < NR_PUNCHED; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

/* A page in each of its page tables, so that they are there to be emptied. */
static char *map_sparsely(int fd)
{
	char *p = mmap(NULL, PUNCHED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	for (unsigned long at = 0; at < PUNCHED; at += HUGE_SIZE)
		p[at] = 1;
	return p;
}

/*
 * Others punch holes into files that the controller has mapped, one of which it has
 * lent. There are more of them than CPUs: something of the controller's is being
 * invalidated at all times, of which no new source has anything.
 */
static void sources_amid_invalidations(struct fixture *f)
{
	struct peer *others = peer_spawn();
	int fds[NR_PUNCHED], sent[NR_PUNCHED];
	unsigned long before, punched = 0;
	char *mapped[NR_PUNCHED];

	for (int i = 0; i < NR_PUNCHED; i++) {
		fds[i] = backing_create(MEMFD, PUNCHED);
		assert_true(fds[i] >= 0);
		mapped[i] = map_sparsely(fds[i]);
		sent[i] = peer_send_fd(others, fds[i]);
	}
	EXPECT_OK(mv_adopt(f->ctl, fds[0], 0, 4 * PAGE, 0, RW, mapped[0]));
	START(others, op_punch_all, sent[0], sent[1], sent[2], sent[3]);
	wait_loops(NR_PUNCHED);
	for (unsigned long i = 4; i < 4 + NR_AMID; i++) {
		before = atomic_load(&shared->loops);
		EXPECT_OK(mv_map(f->ctl, f->file, i * PAGE, PAGE, i * PAGE, RW));
		punched += atomic_load(&shared->loops) - before;
		READS(f, i, WORD(i));
	}
	print_message("# %lu holes were punched meanwhile\n", punched);
	/* Not one of them has to be waited for; but CPUs have to be shared. */
	assert_in_range(punched, 0, NR_AMID * 300);
	EXPECT_OK(mv_unmap(f->ctl, 4 * PAGE, NR_AMID * PAGE, NULL));
	EXPECT_OK(mv_drop_idle(f->ctl));
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(others, "punching"));
	for (int i = 0; i < NR_PUNCHED; i++) {
		munmap(mapped[i], PUNCHED);
		close(fds[i]);
	}
}

/* ---- how large ---- */

static long blocks(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : (long)st.st_blocks * 512 / (long)PAGE;
}

enum lending { LEND_NOTHING, LEND_A_PAGE, ADOPT_A_PAGE, LEND_SCATTERED, LEND_PIECES, LEND_IN_ORDER };

#define SPARSE		(256UL << 20)
#define SCATTERED	40UL
#define IN_ORDER	1000UL

static int lend_some(int ctl, int fd, enum lending how)
{
	char *p;

	switch (how) {
	case LEND_NOTHING:
		return 0;
	case LEND_A_PAGE:
		return mv_map(ctl, fd, SPARSE / 2, PAGE, 0, RW);
	case ADOPT_A_PAGE:
		p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		return mv_adopt(ctl, fd, 0, PAGE, 0, RW, p);
	case LEND_SCATTERED:
		for (unsigned long i = 0; i < SCATTERED; i++)
			if (mv_map(ctl, fd, SPARSE / SCATTERED / PAGE * i * PAGE, PAGE,
				   i * PAGE, RW))
				return -1;
		return 0;
	case LEND_IN_ORDER:
		for (unsigned long i = 0; i < IN_ORDER; i++)
			if (mv_map(ctl, fd, (5 + i) * PAGE, PAGE, i * PAGE, RW))
				return -1;
		return 0;
	case LEND_PIECES:
		return mv_map(ctl, fd, PAGE, 5 * PAGE, 0, RW) ||
		       mv_map(ctl, fd, SPARSE / 2, 1000 * PAGE, 8 * PAGE, R) ? -1 : 0;
	}
	return -1;
}

/* how, flags of mlockall(2) -> pages that a file has then */
static long op_lock_all(const long *a)
{
	int fd = backing_create(MEMFD, SPARSE), ctl = mv_open();

	if (fd < 0 || mv_set_size(ctl, VIEW_PAGES * PAGE) ||
	    lend_some(ctl, fd, (enum lending)a[0]) || mlockall((int)a[1]))
		return -1;
	return blocks(fd);
}

/* Who locks what it has locks what it has lent, and little more. */
static void locking_fills_what_was_lent(struct fixture *f)
{
	static const long most[] = {
		[LEND_NOTHING] = 0, [LEND_A_PAGE] = 1, [ADOPT_A_PAGE] = 1,
		[LEND_SCATTERED] = 8 * (1 + 2 + 4 + 8 + 16), [LEND_PIECES] = 1005,
		[LEND_IN_ORDER] = 2 * IN_ORDER,
	};
	struct peer *p = peer_spawn();
	long pages = EXPECT_CALL(p, op_lock_all, f->tc->param, MCL_CURRENT);

	print_message("# %ld pages\n", pages);
	assert_in_range(pages, 0, most[f->tc->param]);
	/* The control: what was lent is there. */
	if (f->tc->param)
		assert_true(pages > 0);
	p = peer_spawn();
	assert_int_equal(EXPECT_CALL(p, op_lock_all, f->tc->param,
				     MCL_CURRENT | MCL_ONFAULT), 0);
}

/* Lends before and after mlockall(MCL_FUTURE), more and more -> pages of the file */
static long op_lend_locked(const long *a)
{
	int fd = backing_create(MEMFD, SPARSE), ctl = mv_open();

	(void)a;
	if (fd < 0 || mv_set_size(ctl, VIEW_PAGES * PAGE) || mlockall(MCL_FUTURE))
		return -1;
	if (lend_some(ctl, fd, LEND_SCATTERED))
		return -1;
	return blocks(fd);
}

static void lending_with_future_locked_fills_no_more(struct fixture *f)
{
	struct peer *p = peer_spawn();

	(void)f;
	EXPECT_VALUE(SCATTERED, CALL(p, op_lend_locked));
}

/* how, MiB that are left by RLIMIT_AS -> MiB that can still be mapped */
static long op_map_under_limit(const long *a)
{
	int fd = backing_create(MEMFD, SPARSE), ctl = mv_open();
	struct rlimit limit;
	long mib = 0;

	if (fd < 0 || mv_set_size(ctl, VIEW_PAGES * PAGE))
		return -1;
	limit.rlim_cur = get_field("/proc/self/status", "VmSize") * 1024 + (a[1] << 20);
	limit.rlim_max = RLIM_INFINITY;
	if (setrlimit(RLIMIT_AS, &limit) || lend_some(ctl, fd, (enum lending)a[0]))
		return -1;
	while (mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		mib++;
	return mib;
}

static void lending_leaves_the_address_space(struct fixture *f)
{
	const long left = 1100;
	struct peer *p = peer_spawn();
	long mib = EXPECT_CALL(p, op_map_under_limit, f->tc->param, left);

	print_message("# %ld MiB\n", mib);
	/* 1000 pages are 4 MiB; stdio and malloc want some, too. */
	assert_in_range(mib, left - 8, left);
}

/* Many ranges that are nowhere near each other have few sources. */
static void many_scattered_ranges_need_few_mappings(struct fixture *f)
{
	const unsigned long pages = 1UL << 15;
	int fd = backing_create(MEMFD, pages * PAGE);
	unsigned long at = 0;
	long maps = PROBE(op_nr_maps).ret, more;

	EXPECT_OK(mv_set_size(f->ctl, pages * PAGE));
	for (unsigned long i = 0; i < pages / 4; i++) {
		/* Odd: it comes everywhere. */
		at = (at + 20011) % pages;
		EXPECT_OK(mv_map(f->ctl, fd, at * PAGE, PAGE, i * PAGE, RW));
	}
	more = PROBE(op_nr_maps).ret - maps;
	print_message("# %ld mappings\n", more);
	assert_in_range(more, 1, 128);
	close(fd);
}

/* Each may be twice as large as the one that it goes on from. */
static void ranges_in_order_need_few_mappings(struct fixture *f)
{
	const unsigned long pages = 1UL << 12;
	int fd = backing_create(MEMFD, pages * PAGE);
	long maps = PROBE(op_nr_maps).ret, more;

	EXPECT_OK(mv_set_size(f->ctl, 2 * pages * PAGE));
	for (unsigned long i = 0; i < pages; i++)
		EXPECT_OK(mv_map(f->ctl, fd, i * PAGE, PAGE, 2 * i * PAGE, RW));
	more = PROBE(op_nr_maps).ret - maps;
	print_message("# %ld mappings\n", more);
	assert_in_range(more, 1, 16);
	/* And they are right. */
	for (unsigned long i = 0; i < VIEW_PAGES / 2; i++) {
		assert_true(file_set_word(fd, (off_t)(i * PAGE), WORD(i)));
		READS(f, 2 * i, WORD(i));
	}
	close(fd);
}

/* ---- how often a view is attached to a source ---- */

#define BESIDE	4096U	/* steps of a batch, every second of which takes long to check */
#define PIECES	1000UL	/* mappings that one of these looks at */

static int beside_ctl, beside_fd;

/* Takes the source's last range away, and gives it another. */
static void *unmap_and_map(void *stop)
{
	while (!atomic_load((atomic_bool *)stop)) {
		mv_unmap(beside_ctl, 0, PAGE, NULL);
		mv_map(beside_ctl, beside_fd, 0, PAGE, 0, RW);
	}
	return NULL;
}

/*
 * A batch finds, step by step, how the view is attached to a source. Meanwhile the
 * view loses that and is attached anew; in the end it is attached once.
 */
static void batch_beside_calls_attaches_once(struct fixture *f)
{
	struct memview_op *ops = calloc(BESIDE, sizeof(*ops));
	struct memview_update_info update = {
		.ops = (uintptr_t)ops, .count = BESIDE, .op_size = sizeof(*ops),
	};
	int pieces = backing_create(MEMFD, PIECES * PAGE);
	atomic_bool stop = false;
	pthread_t thread;
	char *at;

	beside_ctl = f->ctl;
	beside_fd = backing_create(MEMFD, PAGE);
	at = mmap(NULL, PIECES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, pieces, 0);
	assert_true(ops && pieces >= 0 && beside_fd >= 0 && at != MAP_FAILED);
	for (unsigned long i = 0; i < PIECES; i += 2)
		EXPECT_OK(madvise(at + i * PAGE, PAGE, MADV_DONTDUMP));
	EXPECT_OK(mv_set_size(f->ctl, (BESIDE * PIECES + 1) * PAGE));
	for (unsigned long i = 0; i < BESIDE; i++) {
		ops[i] = (struct memview_op) {
			.flags = RW, .mem_offset = (1 + i * PIECES) * PAGE, .size = PAGE,
			.fd = beside_fd,
		};
		if (i & 1) {
			ops[i].flags |= MEMVIEW_MAP_ADOPT;
			ops[i].size = PIECES * PAGE;
			ops[i].fd = pieces;
			ops[i].addr = (uintptr_t)at;
		}
	}
	assert_int_equal(pthread_create(&thread, NULL, unmap_and_map, &stop), 0);
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_UPDATE, &update));
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_in_range(fdinfo(f->ctl, "sources"), 1, 2);
	munmap(at, PIECES * PAGE);
	close(pieces);
	close(beside_fd);
	free(ops);
}

/* ---- of which file ---- */

/* How a file that lies below has been opened, before and after it was copied up. */
struct copied {
	int before;
	int again;	/* a duplicate of it */
	int after;
};

static void copy_up(struct copied *c, unsigned long *low, unsigned long *up)
{
	static int nr;
	char path[128];
	int fd;

	need_overlay();
	snprintf(path, sizeof(path), "%s/" OVERLAY_LOWER "file%d", scratch_dir(), nr);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	*low = WORD(1);
	*up = WORD(2);
	EXPECT_OK(ftruncate(fd, PAGE));
	assert_int_equal(pwrite(fd, low, 8, 0), 8);
	close(fd);
	snprintf(path, sizeof(path), "%s/" OVERLAY "file%d", scratch_dir(), nr++);
	c->before = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(c->before >= 0);
	c->again = dup(c->before);
}

static void copy_up_now(struct copied *c, unsigned long up)
{
	char path[64], target[128] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", c->before);
	assert_true(readlink(path, target, sizeof(target) - 1) > 0);
	fd = open(target, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &up, 8, 0), 8);
	close(fd);
	c->after = open(target, O_RDONLY | O_CLOEXEC);
	assert_true(c->after >= 0);
}

/* What mmap(2) shows of a descriptor. */
static char *map_ro(int fd)
{
	char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static unsigned long plain_word(int fd)
{
	char *p = map_ro(fd);
	unsigned long word = *(volatile unsigned long *)p;

	munmap(p, PAGE);
	return word;
}

/* Around a copy-up each descriptor shows what mmap(2) shows of it. */
static void copied_up_file_is_two(struct fixture *f)
{
	unsigned long low, up;
	struct copied c;

	copy_up(&c, &low, &up);
	EXPECT_OK(mv_map(f->ctl, c.before, 0, PAGE, 0, R));
	READS(f, 0, low);
	copy_up_now(&c, up);
	assert_int_equal(plain_word(c.before), low);
	assert_int_equal(plain_word(c.after), up);
	EXPECT_OK(mv_map(f->ctl, c.after, 0, PAGE, PAGE, R));
	READS(f, 1, up);
	READS(f, 0, low);
	/* Duplicates are one. */
	EXPECT_OK(mv_map(f->ctl, c.again, 0, PAGE, 2 * PAGE, R));
	assert_int_equal(fdinfo(f->ctl, "sources"), 2);
	READS(f, 2, low);
	close(c.before);
	close(c.again);
	close(c.after);
}

/* And one that was opened before can be mapped after. */
static void file_opened_before_its_copy_up(struct fixture *f)
{
	unsigned long low, up, maps;
	struct copied c;

	copy_up(&c, &low, &up);
	copy_up_now(&c, up);
	maps = PROBE(op_nr_maps).ret;
	for (int i = 0; i < 4; i++) {
		EXPECT_OK(mv_map(f->ctl, c.before, 0, PAGE, 0, R));
		READS(f, 0, low);
		unmap_pages(f, 0, 1);
	}
	EXPECT_OK(mv_drop_idle(f->ctl));
	/* Nothing is left of it. */
	assert_int_equal(PROBE(op_nr_maps).ret, maps);
	close(c.before);
	close(c.again);
	close(c.after);
}

/* A mapping can be adopted by the descriptor that shows it, and by no other. */
static void copied_up_file_is_adopted_as_it_is(struct fixture *f)
{
	unsigned long low, up;
	char *old, *new;
	struct copied c;

	copy_up(&c, &low, &up);
	copy_up_now(&c, up);
	old = map_ro(c.before);
	new = map_ro(c.after);
	EXPECT_OK(mv_adopt(f->ctl, c.before, 0, PAGE, 0, R, old));
	READS(f, 0, low);
	EXPECT_OK(mv_adopt(f->ctl, c.after, 0, PAGE, PAGE, R, new));
	READS(f, 1, up);
	EXPECT_REFUSED(f->ctl, EINVAL, mv_adopt(f->ctl, c.after, 0, PAGE, 2 * PAGE, R, old));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_adopt(f->ctl, c.before, 0, PAGE, 2 * PAGE, R, new));
	munmap(old, PAGE);
	munmap(new, PAGE);
	close(c.before);
	close(c.again);
	close(c.after);
}

static const struct test_case cases[] = {
	CASE_VARIANT(failed_operation_binds_no_view, "overlapping", OVERLAPPING),
	CASE_VARIANT(failed_operation_binds_no_view, "too many ranges", TOO_MANY),
	CASE_VARIANT(failed_operation_binds_no_view, "beyond the view", BEYOND),
	CASE_VARIANT(first_source_under_a_profiler, "100 mappings", 100),
	CASE_VARIANT(first_source_under_a_profiler, "2000 mappings", 2000),
	CASE(sources_amid_invalidations),
	CASE_VARIANT(locking_fills_what_was_lent, "nothing lent", LEND_NOTHING),
	CASE_VARIANT(locking_fills_what_was_lent, "a page", LEND_A_PAGE),
	CASE_VARIANT(locking_fills_what_was_lent, "a page adopted", ADOPT_A_PAGE),
	CASE_VARIANT(locking_fills_what_was_lent, "pages far apart", LEND_SCATTERED),
	CASE_VARIANT(locking_fills_what_was_lent, "pieces", LEND_PIECES),
	CASE_VARIANT(locking_fills_what_was_lent, "pages in order", LEND_IN_ORDER),
	CASE(lending_with_future_locked_fills_no_more),
	CASE_VARIANT(lending_leaves_the_address_space, "nothing lent", LEND_NOTHING),
	CASE_VARIANT(lending_leaves_the_address_space, "a page", LEND_A_PAGE),
	CASE_VARIANT(lending_leaves_the_address_space, "pages far apart", LEND_SCATTERED),
	CASE_VARIANT(lending_leaves_the_address_space, "pieces", LEND_PIECES),
	CASE(many_scattered_ranges_need_few_mappings),
	CASE(ranges_in_order_need_few_mappings),
	CASE(batch_beside_calls_attaches_once),
	CASE(copied_up_file_is_two),
	CASE(file_opened_before_its_copy_up),
	CASE(copied_up_file_is_adopted_as_it_is),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "source_make", cases);
}
