// SPDX-License-Identifier: GPL-2.0
/*
 * The end of a source: the controller unmaps it itself, when no range needs it any
 * more, and nobody else ever waits for that; and what was unmapped behind the
 * driver's back is gone for good.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR	8UL	/* pages lent */

/* ---- an idle source that cannot be unmapped ---- */

static int uffd_of_unmaps(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_UNMAP };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		return -1;
	return uffd;
}

/* ctl, page: whoever unmaps its source waits until the event is read -> userfaultfd */
static long op_watch_source(const long *a)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int uffd = uffd_of_unmaps();

	reg.range.start = source_addr_at((int)a[0], a[1]);
	reg.range.len = 8 * PAGE;
	if (uffd < 0 || ioctl(uffd, UFFDIO_REGISTER, &reg))
		return -1;
	return uffd;
}

static long op_drop_idle(const long *a)
{
	return mv_drop_idle((int)a[0]);
}

/* fd: a mapping through which the file can be written as long as this process lives. */
static long op_hold_file(const long *a)
{
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)a[0], 0) ==
	       MAP_FAILED ? -1 : 0;
}

static bool revoked(int ctl)
{
	struct memview_info info;

	return !mv_info(ctl, &info) && (info.state & MEMVIEW_STATE_REVOKED);
}

/* A controller with the source of a second file, which is watched, at CTL_PAGES. */
static void start_watched(struct fixture *f, struct controller *c, int *uffd)
{
	long file, remote;

	(void)f;
	controller_start(c, 0, RW);
	file = EXPECT_CALL(c->peer, op_memfd, CTL_PAGES * PAGE, 100);
	EXPECT_CALL(c->peer, op_ctl_unmap, c->ctl, 8, 8);
	EXPECT_CALL(c->peer, op_ctl_map, c->ctl, file, 0, 8, 8, RW);
	remote = CALL(c->peer, op_watch_source, c->ctl, 8).ret;
	if (remote < 0)
		SKIP("no userfaultfd that tells of unmaps");
	*uffd = peer_take_fd(c->peer, (int)remote);
	assert_true(*uffd >= 0);
}

/*
 * The userfaultfd is in other hands, where nobody reads it: the controller could
 * never unmap the source. Its calls do without, and its death ends it all.
 */
static void watched_source_keeps_no_dead_controller(struct fixture *f)
{
	unsigned long view;
	struct controller c;
	struct peer *p;
	int ctl, uffd, held = make_file(MEMFD, PAGE, 0);

	start_watched(f, &c, &uffd);
	EXPECT_CALL(c.peer, op_hold_file, peer_send_fd(c.peer, held));
	ctl = peer_take_fd(c.peer, c.ctl);
	p = another_peer(f, c.viewfd, PROT_READ | PROT_WRITE, &view);
	EXPECT_VALUE(WORD(0), CALL(p, op_read, view));
	EXPECT_VALUE(0, CALL(p, op_write, view + 8 * PAGE, 1));
	if (f->tc->param)
		EXPECT_CALL(c.peer, op_ctl_unmap, c.ctl, 8, 8);
	/* For longer than an idle source is kept. */
	for (int i = 0; i < 50; i++) {
		EXPECT_CALL(c.peer, op_ctl_protect, c.ctl, 0, 1, i & 1 ? RW : R);
		nap();
	}
	EXPECT_ERRNO(EBUSY, fcntl(held, F_ADD_SEALS, F_SEAL_WRITE));

	peer_kill(c.peer);
	assert_true(EVENTUALLY(revoked(ctl)));
	EXPECT_SIGBUS(view, CALL(p, op_read, view));
	EXPECT_SIGBUS(view, CALL(p, op_write, view, 1));
	/* And nothing keeps its address space. */
	assert_true(EVENTUALLY(!fcntl(held, F_ADD_SEALS, F_SEAL_WRITE)));
	close(uffd);
}

/*
 * What no call of ours waits for on its own, the controller can ask for; then it
 * waits as munmap(2) does: for the event to be read, or until it is killed.
 */
static void watched_source_is_dropped_on_request(struct fixture *f)
{
	struct uffd_msg msg;
	struct pollfd pfd = { .events = POLLIN };
	struct controller c;
	int uffd;

	start_watched(f, &c, &uffd);
	EXPECT_CALL(c.peer, op_ctl_unmap, c.ctl, 8, 8);
	START(c.peer, op_drop_idle, c.ctl);
	pfd.fd = uffd;
	assert_int_equal(poll(&pfd, 1, WITHIN_SECONDS * 1000), 1);
	assert_true(still_busy(c.peer));
	if (f->tc->param) {
		peer_kill(c.peer);
		assert_true(EVENTUALLY(kill(c.peer->pid, 0)));
		close(uffd);
		return;
	}
	assert_int_equal(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	assert_int_equal(msg.event, UFFD_EVENT_UNMAP);
	EXPECT_VALUE(0, FINISH(c.peer, "dropping"));
	close(uffd);
}

/* ---- a source that is being made ---- */

enum taking { TAKE_UNMAP, TAKE_REVOKE, TAKE_SHRINK, TAKE_QUERY, MAP_KNOWN };

static struct stuck {
	atomic_int mapper;	/* tid */
	atomic_int taker;
	atomic_int map;		/* go on */
	atomic_int take;
	atomic_int mapped;	/* has returned */
	atomic_int taken;
	int ctl;
	int fd;			/* of a new file */
	int known;		/* of a file that has a source */
	enum taking how;
	int ret;
} *stuck;

/* No system call in between that could need the mmap_lock. */
static void wait_for(atomic_int *flag)
{
	while (!atomic_load(flag))
		nap();
}

static void *map_thread(void *unused)
{
	(void)unused;
	atomic_store(&stuck->mapper, gettid());
	wait_for(&stuck->map);
	mv_map(stuck->ctl, stuck->fd, 0, PAGE, 20 * PAGE, RW);
	atomic_store(&stuck->mapped, 1);
	return NULL;
}

static int take(int ctl)
{
	struct memview_range_info range;
	struct memview_query_info q;

	switch (stuck->how) {
	case TAKE_UNMAP:
		return mv_unmap(ctl, 0, 4 * PAGE, NULL);
	case TAKE_REVOKE:
		return mv_revoke(ctl);
	case TAKE_SHRINK:
		return mv_set_size(ctl, PAGE);
	case TAKE_QUERY:
		return mv_query(ctl, 0, &range, 1, &q);
	case MAP_KNOWN:
		return mv_map(ctl, stuck->known, 0, PAGE, 24 * PAGE,
			      RW | MEMVIEW_MAP_LAZY_WRITE);
	}
	return -1;
}

static void *take_thread(void *unused)
{
	(void)unused;
	/* So that it then needs no page of code or stack that is not there yet. */
	take(-1);
	nap();
	atomic_store(&stuck->taker, gettid());
	wait_for(&stuck->take);
	stuck->ret = take(stuck->ctl);
	atomic_store(&stuck->taken, 1);
	return NULL;
}

/* fd of a file on disk, how -> control fd */
static long op_stuck_controller(const long *a)
{
	pthread_t thread;

	stuck->how = (enum taking)a[1];
	stuck->known = (int)a[0];
	stuck->fd = make_file(MEMFD, PAGE, 0);
	stuck->ctl = mv_open();
	if (stuck->ctl < 0 || mv_set_size(stuck->ctl, 64 * PAGE) ||
	    mv_map(stuck->ctl, stuck->known, 0, NR * PAGE, 0, RW | MEMVIEW_MAP_LAZY_WRITE) ||
	    pthread_create(&thread, NULL, map_thread, NULL) ||
	    pthread_create(&thread, NULL, take_thread, NULL))
		return -1;
	wait_for(&stuck->mapper);
	wait_for(&stuck->taker);
	return stuck->ctl;
}

/*
 * A peer's fault on a frozen file system holds the controller's mmap_lock, for which
 * a MAP_FD of a new file waits: what is taken away, and what needs no new source,
 * waits for neither.
 */
static void map_in_flight_holds_up_nothing(struct fixture *f)
{
	struct peer *controller = peer_spawn(), *thawer = peer_spawn(), *p;
	int thaw_fd = peer_send_fd(thawer, f->file);
	bool blocked, waits = false, taken = false, mapped = true;
	unsigned long view;
	int ctl, viewfd;

	atomic_store(&stuck->map, 0);
	atomic_store(&stuck->take, 0);
	atomic_store(&stuck->mapped, 0);
	atomic_store(&stuck->taken, 0);
	atomic_store(&stuck->mapper, 0);
	atomic_store(&stuck->taker, 0);
	EXPECT_CALL(controller, op_stuck_controller, peer_send_fd(controller, f->file),
		    f->tc->param);
	ctl = peer_take_fd(controller, stuck->ctl);
	viewfd = EXPECT_OK(mv_viewfd(ctl));
	p = another_peer(f, viewfd, PROT_READ | PROT_WRITE, &view);
	EXPECT_OK(fsync(f->file));
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));

	EXPECT_OK(ioctl(f->file, FIFREEZE, 0));
	START(thawer, op_thaw, thaw_fd);
	START(p, op_write, view + PAGE, (long)SECRET);
	blocked = EVENTUALLY(state_of(p->pid) == 'D');
	if (blocked) {
		atomic_store(&stuck->map, 1);
		waits = EVENTUALLY(state_of(atomic_load(&stuck->mapper)) == 'D');
	}
	if (waits) {
		atomic_store(&stuck->take, 1);
		for (int i = 0; i < 1000 && !atomic_load(&stuck->taken); i++)
			nap();
		taken = atomic_load(&stuck->taken);
		mapped = atomic_load(&stuck->mapped);
	}
	atomic_store(&shared->ready, 1);
	EXPECT_VALUE(1, FINISH(thawer, "thawing: something waited for it"));
	assert_true(blocked);
	assert_true(waits);
	assert_true(taken);
	assert_false(mapped);
	assert_int_equal(stuck->ret, 0);
	assert_true(EVENTUALLY(atomic_load(&stuck->mapped)));
	assert_false(FINISH(p, "write after the thaw").died);
	if (f->tc->param < TAKE_QUERY)
		EXPECT_SIGBUS(view + PAGE, CALL(p, op_read, view + PAGE));
	close(ctl);
	close(viewfd);
}

/* ---- what was unmapped ---- */

enum loss {
	LOST_MUNMAP, LOST_MUNMAP_TOUCHED, LOST_FIXED, LOST_MREMAP, LOST_PART,
};

/* The same file at the same address, which is where mmap(2) likes to put it. */
static void map_back(struct fixture *f, char *at, size_t len, size_t offset)
{
	char *again = mmap(at, len, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED_NOREPLACE, f->file, offset);

	assert_ptr_equal(again, at);
}

/*
 * The controller takes its mapping away and then writes what the peer must not see,
 * through one that looks the same.
 */
static void lost_mapping_stays_lost(struct fixture *f)
{
	size_t len = f->file_size, part = unit(f);
	char *at, *other;

	if (f->tc->param == LOST_PART)
		need_split(f);
	at = map_file(f, PROT_READ | PROT_WRITE);
	EXPECT_OK(mv_adopt(f->ctl, f->file, 0, NR * PAGE, 0, RW, at));
	for (unsigned long i = 0; i < NR; i++)
		READS(f, i, WORD(i));
	WRITES(f, 0, WORD(0));

	switch ((enum loss)f->tc->param) {
	case LOST_MUNMAP:
	case LOST_MUNMAP_TOUCHED:
		EXPECT_OK(munmap(at, len));
		if (f->tc->param == LOST_MUNMAP_TOUCHED)
			READ_SIGBUS(f, 0);
		map_back(f, at, len, 0);
		break;
	case LOST_FIXED:
		assert_ptr_equal(mmap(at, len, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_FIXED, f->file, 0), at);
		break;
	case LOST_MREMAP:
		other = mmap(NULL, 2 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(other, MAP_FAILED);
		/* hugetlb wants it aligned. */
		other += -(unsigned long)other & (part - 1);
		assert_ptr_equal(mremap(at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, other),
				 other);
		assert_ptr_equal(mremap(other, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at),
				 at);
		break;
	case LOST_PART:
		EXPECT_OK(munmap(at, part));
		map_back(f, at, part, 0);
		break;
	}
	*(volatile uint64_t *)at = SECRET;
	READ_SIGBUS(f, 0);
	WRITE_SIGBUS(f, 0);
	assert_int_equal(*(volatile uint64_t *)at, SECRET);
	assert_int_equal(source_addr_at(f->ctl, 0), 0);
	/* But for who adopts it anew. */
	EXPECT_OK(mv_adopt(f->ctl, f->file, 0, NR * PAGE, 0, RW | MEMVIEW_MAP_REPLACE, at));
	READS(f, 0, SECRET);
	WRITES(f, 1, WORD(1));
}

/* The same with a mapping of the driver's. */
static void lost_source_stays_lost(struct fixture *f)
{
	struct mapping m;

	lend(f, NR, RW);
	m = source_mapping(f, 0);
	EXPECT_OK(munmap((void *)m.start, m.end - m.start));
	map_back(f, (char *)m.start, m.end - m.start, m.offset);
	*(volatile uint64_t *)m.start = SECRET;
	READ_SIGBUS(f, 0);
	WRITE_SIGBUS(f, 0);
	assert_int_equal(*(volatile uint64_t *)m.start, SECRET);
}

/*
 * What only empties page tables is no loss. (On 6.1 notifiers are told the same of
 * a hole in a hugetlb file as of a munmap(2).)
 */
static void emptied_mapping_is_not_lost(struct fixture *f)
{
	size_t part = unit(f);
	unsigned long far = f->file_size / PAGE - part / PAGE;
	char *at = map_file(f, PROT_READ | PROT_WRITE);

	EXPECT_OK(mv_adopt(f->ctl, f->file, 0, f->file_size, 0, RW, at));
	READS(f, far, far < FILE_PAGES ? WORD(far) : 0);
	for (int i = 0; i < 3; i++) {
		WRITES(f, 0, WORD(i));
		switch (i) {
		case 0:
			EXPECT_OK(madvise(at, part, MADV_DONTNEED));
			READS(f, 0, WORD(i));
			break;
		case 1:
			EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE |
					    FALLOC_FL_KEEP_SIZE, 0, part));
			READS(f, 0, 0);
			break;
		default:
			EXPECT_OK(ftruncate(f->file, f->file_size - part));
			READ_SIGBUS(f, far);
			READS(f, 0, WORD(i));
			EXPECT_OK(ftruncate(f->file, f->file_size));
			READS(f, far, 0);
		}
	}
	assert_int_equal(source_addr_at(f->ctl, 0), (unsigned long)at);
}

#define LOSS(how, p) \
	{ .name = "lost_mapping_stays_lost", .run = lost_mapping_stays_lost, \
	  .variant = how, .param = p, .backings = ON_ALL }
#define IN_FLIGHT(how, p) \
	{ .name = "map_in_flight_holds_up_nothing", .run = map_in_flight_holds_up_nothing, \
	  .variant = how, .param = p, .backings = ON(EXT4) }

static const struct test_case cases[] = {
	CASE_VARIANT(watched_source_keeps_no_dead_controller, "in use", 0),
	CASE_VARIANT(watched_source_keeps_no_dead_controller, "idle", 1),
	CASE_VARIANT(watched_source_is_dropped_on_request, "read", 0),
	CASE_VARIANT(watched_source_is_dropped_on_request, "killed", 1),
	IN_FLIGHT("unmap", TAKE_UNMAP),
	IN_FLIGHT("revoke", TAKE_REVOKE),
	IN_FLIGHT("shrink", TAKE_SHRINK),
	IN_FLIGHT("query", TAKE_QUERY),
	IN_FLIGHT("map a known file", MAP_KNOWN),
	LOSS("munmap", LOST_MUNMAP),
	LOSS("munmap, touched", LOST_MUNMAP_TOUCHED),
	LOSS("MAP_FIXED", LOST_FIXED),
	LOSS("mremap", LOST_MREMAP),
	LOSS("a part", LOST_PART),
	CASE_ON(lost_source_stays_lost, ON_ALL),
	CASE_ON(emptied_mapping_is_not_lost, ON_ALL),
};

int main(int argc, char **argv)
{
	stuck = mmap(NULL, sizeof(*stuck), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stuck == MAP_FAILED)
		return 1;
	return RUN_CASES(argc, argv, "source_end", cases);
}
