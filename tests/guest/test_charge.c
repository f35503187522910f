// SPDX-License-Identifier: GPL-2.0
/*
 * Who pays for the memory of a source: the controller, with memory and with the
 * time that its limits cost, or, with MEMVIEW_MAP_NO_ALLOC, nobody until the
 * controller does (R9). And nobody else waits for it.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NO_ALLOC	MEMVIEW_MAP_NO_ALLOC
#define NR		8UL
#define MIB		(1UL << 20)

/* ---- cgroups ---- */

static void group_path(char *path, const char *group, const char *file)
{
	snprintf(path, 128, "/sys/fs/cgroup/charge-%s/%s", group, file);
}

static void group_set(const char *group, const char *file, const char *text)
{
	char path[128];

	group_path(path, group, file);
	if (!put_text(path, text))
		SKIP("no %s: %s", path, strerror(errno));
}

static long group_get(const char *group, const char *file)
{
	char path[128];

	group_path(path, group, file);
	return get_number(path);
}

static void group_enter(const char *group, struct peer *p)
{
	char path[128], pid[16];

	group_path(path, group, "");
	if (mkdir(path, 0755) && errno != EEXIST)
		SKIP("no cgroup2: %s", strerror(errno));
	snprintf(pid, sizeof(pid), "%d", p->pid);
	group_set(group, "cgroup.procs", pid);
}

/* ---- memory.high ---- */

static unsigned long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long)t.tv_sec * 1000 + (unsigned long)t.tv_nsec / 1000000;
}

static int lent_ctl, lent_fd;

/* Bytes of the file, bytes of the view, flags -> view fd: all of it shows the file. */
static long op_lend_file(const long *a)
{
	lent_fd = memfd_create("lent", MFD_CLOEXEC);
	lent_ctl = mv_open();
	if (lent_fd < 0 || ftruncate(lent_fd, a[0]) || lent_ctl < 0 ||
	    mv_set_size(lent_ctl, (uint64_t)a[1]))
		return -1;
	for (long at = 0; at < a[1]; at += a[0])
		if (mv_map(lent_ctl, lent_fd, 0, (uint64_t)a[0], (uint64_t)at, (uint32_t)a[2]))
			return -1;
	return mv_viewfd(lent_ctl);
}

/* Bytes, flags */
static long op_populate(const long *a)
{
	struct memview_populate_info info = {
		.size = (uint64_t)a[0], .flags = (uint32_t)a[1],
	};

	return ioctl(lent_ctl, MEMVIEW_POPULATE, &info);
}

/* Address, pages, milliseconds -> pages that it could write in that time */
static long op_fill_within(const long *a)
{
	unsigned long until = now_ms() + (unsigned long)a[2];
	long i;

	for (i = 0; i < a[1] && (i % 16 || now_ms() < until); i++)
		*(volatile char *)(a[0] + i * (long)PAGE) = 1;
	return i;
}

static unsigned long map_lent(struct peer *controller, struct peer *p, long bytes, long size,
			      long flags)
{
	long fd = EXPECT_CALL(controller, op_lend_file, bytes, size, flags);

	fd = peer_send_fd(p, peer_take_fd(controller, (int)fd));
	return (unsigned long)EXPECT_CALL(p, op_mmap, fd, size, PROT_READ | PROT_WRITE, 0);
}

/* The peer is not in the group, but fills its memory. */
static void memory_high_holds_for_peers(struct fixture *f)
{
	struct peer *controller = peer_spawn(), *p = peer_spawn();
	unsigned long view;
	long filled, used;

	(void)f;
	group_enter("vmm", controller);
	group_enter("peer", p);
	group_set("vmm", "memory.high", "24M");
	view = map_lent(controller, p, 96 * MIB, 96 * MIB, RW);
	filled = EXPECT_CALL(p, op_fill_within, view, 96 * MIB / PAGE, 6000);
	used = group_get("vmm", "memory.current");
	print_message("# %ld MiB filled, %ld MiB used\n", filled * (long)PAGE >> 20, used >> 20);
	/* It was not the machine that was slow. */
	assert_true(filled >= (long)(16 * MIB / PAGE));
	assert_in_range(used, 0, 48 * MIB);
	/* Nor is it stuck: the limit goes, and so does what held it up. */
	group_set("vmm", "memory.high", "max");
	assert_int_equal(EXPECT_CALL(p, op_fill_within, view, 96 * MIB / PAGE, 1000000),
			 96 * MIB / PAGE);
}

/* Until told to stop -> milliseconds that one round took at most */
static long op_map_and_unmap(const long *a)
{
	unsigned long most = 0;

	(void)a;
	while (!atomic_load(&shared->stop)) {
		unsigned long start = now_ms();
		char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return -1;
		*p = 1;
		munmap(p, PAGE);
		if (now_ms() - start > most)
			most = now_ms() - start;
		atomic_fetch_add(&shared->loops, 1);
	}
	return (long)most;
}

static void *map_and_unmap(void *arg)
{
	*(long *)arg = op_map_and_unmap(NULL);
	return NULL;
}

static pthread_t mapper;
static long mapper_result;

static long op_start_mapping(const long *a)
{
	(void)a;
	return pthread_create(&mapper, NULL, map_and_unmap, &mapper_result);
}

static long op_stop_mapping(const long *a)
{
	(void)a;
	atomic_store(&shared->stop, 1);
	pthread_join(mapper, NULL);
	return mapper_result;
}

/*
 * Page tables of peers are charged to who populates them. What that costs in time is
 * not spent with the peer's lock: its other threads go on. (The core makes one wait
 * for up to two seconds.)
 */
static void populating_throttles_no_peer(struct fixture *f)
{
	struct peer *controller = peer_spawn(), *p = peer_spawn();
	long most;

	(void)f;
	group_enter("vmm", controller);
	group_set("vmm", "memory.high", "max");
	map_lent(controller, p, 2 * MIB, 512 * MIB, RW);
	EXPECT_CALL(controller, op_populate, 2 * MIB, 0);
	EXPECT_VALUE(0, CALL(p, op_start_mapping, 0));
	wait_loops(10);
	group_set("vmm", "memory.high", "1M");
	START(controller, op_populate, 512 * MIB, MEMVIEW_POPULATE_PEERS);
	/* A few waits of two seconds, or the end; how many it takes is not the point. */
	for (int i = 0; i < 500 && still_busy(controller); i++)
		nap();
	group_set("vmm", "memory.high", "max");
	EXPECT_VALUE(0, FINISH(controller, "populating above memory.high"));
	most = EXPECT_CALL(p, op_stop_mapping, 0);
	print_message("# mmap(2) of the peer: %ld ms\n", most);
	assert_in_range(most, 0, 1500);
}

/*
 * So is memory that a peer fills: the time that costs it is not spent with its
 * mmap_lock.
 */
static long longest_mmap_while_filling(void)
{
	struct peer *controller = peer_spawn(), *p = peer_spawn();
	unsigned long view;
	struct outcome o;
	long most;

	group_enter("vmm", controller);
	group_set("vmm", "memory.high", "max");
	view = map_lent(controller, p, 64 * MIB, 64 * MIB, RW);
	EXPECT_VALUE(0, CALL(p, op_start_mapping, 0));
	wait_loops(10);
	group_set("vmm", "memory.high", "1M");
	START(p, op_fill_within, view, 64 * MIB / PAGE, 4000);
	for (int i = 0; i < 500 && still_busy(p); i++)
		nap();
	group_set("vmm", "memory.high", "max");
	o = FINISH(p, "filling above memory.high");
	/* It was throttled. */
	assert_in_range(o.ret, 1, 64 * MIB / PAGE - 1);
	most = EXPECT_CALL(p, op_stop_mapping, 0);
	print_message("# mmap(2) of another thread: %ld ms\n", most);
	peer_kill(p);
	peer_kill(controller);
	return most;
}

/* A machine with other things to do can be as slow, but not each time. */
static void filling_throttles_no_other_thread(struct fixture *f)
{
	int tries = 0;

	(void)f;
	while (longest_mmap_while_filling() > 1500)
		assert_in_range(++tries, 0, 2);
}

/* ---- and the calls of who has lent it ---- */

#define NR_MAPS		30000U	/* in a batch */

/* Offset of a page in the view: its rights come and go, until all is to stop. */
static void *protect_again(void *arg)
{
	const uint64_t page = (uintptr_t)arg;

	for (unsigned long i = 0; !atomic_load(&shared->stop); i++) {
		if (mv_protect(lent_ctl, page, PAGE, i & 1 ? RW : R))
			atomic_fetch_add(&shared->bad, 1);
		atomic_fetch_add(&shared->loops, 1);
		usleep(1000);
	}
	return NULL;
}

static long op_start_protecting(const long *a)
{
	return pthread_create(&mapper, NULL, protect_again, (void *)a[0]);
}

static long op_stop_protecting(const long *a)
{
	(void)a;
	atomic_store(&shared->stop, 1);
	pthread_join(mapper, NULL);
	return 0;
}

/* Bytes of the view: the same page behind them, again and again, in one call. */
static long op_map_many(const long *a)
{
	static struct memview_op ops[NR_MAPS];
	struct memview_update_info update = {
		.ops = (uintptr_t)ops, .count = NR_MAPS, .op_size = sizeof(ops[0]),
	};

	if (mv_set_size(lent_ctl, (uint64_t)a[0] + NR_MAPS * PAGE))
		return -1;
	for (uint32_t i = 0; i < NR_MAPS; i++)
		ops[i] = (struct memview_op){
			.op = MEMVIEW_OP_MAP, .flags = R, .fd = lent_fd, .size = PAGE,
			.mem_offset = (uint64_t)a[0] + i * PAGE,
		};
	return ioctl(lent_ctl, MEMVIEW_UPDATE, &update);
}

enum throttled { POPULATING, POPULATING_PEERS, FILLING, MAPPING_MANY };

/* Who is throttled, at what takes him longer than we look. */
static struct peer *start_throttled(struct peer *controller, struct peer *p,
				    enum throttled what)
{
	const long bytes = what == POPULATING_PEERS || what == MAPPING_MANY ? 2 * MIB : 64 * MIB;
	const long size = what == POPULATING_PEERS ? 1024 * bytes : bytes;
	unsigned long view = map_lent(controller, p, bytes, size, RW);

	if (what == POPULATING_PEERS)
		EXPECT_CALL(controller, op_populate, bytes, 0);
	EXPECT_CALL(controller, op_start_protecting, size - (long)PAGE);
	wait_loops(10);
	group_set("vmm", "memory.high", "1M");
	switch (what) {
	case POPULATING:
		START(controller, op_populate, size, 0);
		return controller;
	case POPULATING_PEERS:
		START(controller, op_populate, size, MEMVIEW_POPULATE_PEERS);
		return controller;
	case FILLING:
		START(p, op_fill_within, view, size / (long)PAGE, 1000000);
		return p;
	case MAPPING_MANY:
		START(controller, op_map_many, size);
		return controller;
	}
	return NULL;
}

/*
 * Who is throttled has no lock of the view either: the controller's other thread goes
 * on with its calls. Who waits is the clock: it sleeps for 2 s once, or for a fiftieth
 * of a second again and again.
 */
static void throttling_holds_up_no_call(struct fixture *f)
{
	const long sleeps = f->tc->param == MAPPING_MANY ? 3 : 60;
	struct peer *controller = peer_spawn(), *p = peer_spawn(), *throttled;
	int looks = 0;

	group_enter("vmm", controller);
	group_set("vmm", "memory.high", "max");
	throttled = start_throttled(controller, p, (enum throttled)f->tc->param);
	while (still_busy(throttled) && (looks < 4 || f->tc->param == MAPPING_MANY)) {
		unsigned long calls = atomic_load(&shared->loops);
		long slept = sleeps_of(throttled->pid);

		while (still_busy(throttled) && sleeps_of(throttled->pid) < slept + sleeps)
			nap();
		if (!still_busy(throttled))
			break;
		looks++;
		if (atomic_load(&shared->loops) == calls) {
			print_stacks(controller->pid);
			fail_msg("a call waits for who is throttled");
		}
	}
	print_message("# looked %d times\n", looks);
	/* It has been throttled. */
	assert_in_range(looks, 2, 1000);
	group_set("vmm", "memory.high", "max");
	FINISH(throttled, "what was throttled");
	EXPECT_CALL(controller, op_stop_protecting, 0);
	assert_int_equal(atomic_load(&shared->bad), 0);
}

/* ---- MEMVIEW_MAP_NO_ALLOC ---- */

static void make_sparse(struct fixture *f)
{
	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
	EXPECT_OK(fsync(f->file));
}

static unsigned long blocks(struct fixture *f)
{
	struct stat st;

	EXPECT_OK(fsync(f->file));
	EXPECT_OK(fstat(f->file, &st));
	return (unsigned long)st.st_blocks;
}

static void populate(struct fixture *f, unsigned long nr)
{
	struct memview_populate_info info = { .size = nr * PAGE };

	EXPECT_OK(ioctl(f->ctl, MEMVIEW_POPULATE, &info));
}

static void holes_are_refused(struct fixture *f)
{
	unsigned long empty, page = f->backing == HUGETLB ? HUGE_SIZE / PAGE : 2;
	struct memview_query_info query;
	struct memview_range_info range;
	struct memview_info info;

	EXPECT_OK(mv_info(f->ctl, &info));
	assert_true(info.features & MEMVIEW_FEATURE_NO_ALLOC);
	make_sparse(f);
	empty = blocks(f);
	map_pages(f, 0, 0, NR, RW | NO_ALLOC);
	EXPECT_OK(mv_query(f->ctl, 0, &range, 1, &query));
	assert_int_equal(range.flags, RW | NO_ALLOC);
	for (unsigned long i = 0; i < NR; i++) {
		READ_SIGBUS(f, i);
		WRITE_SIGBUS(f, i);
		READ_SIGBUS(f, i);
	}
	assert_int_equal(blocks(f), empty);

	populate(f, NR);
	for (unsigned long i = 0; i < NR; i++) {
		READS(f, i, 0);
		WRITES(f, i, i + 1);
		READS(f, i, i + 1);
	}
	/* What goes is missed again. */
	if (f->backing != HUGETLB) {
		EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    page * PAGE, PAGE));
		WRITE_SIGBUS(f, page);
		READ_SIGBUS(f, page);
		READS(f, page + 1, page + 2);
	}

	/* Without the flag, and with it again. */
	make_sparse(f);
	READ_SIGBUS(f, 1);
	protect_pages(f, 0, NR, RW);
	READS(f, 1, 0);
	protect_pages(f, 0, NR, RW | NO_ALLOC);
	READS(f, 1, 0);
	/* XFS fills a few pages at a time. */
	if (f->backing != HUGETLB && f->backing != XFS)
		WRITE_SIGBUS(f, 3);
}

/* Data is not missing because it is not in memory. */
static void what_was_written_back_is_there(struct fixture *f)
{
	map_pages(f, 0, 0, NR, RW | NO_ALLOC);
	EXPECT_OK(fsync(f->file));
	assert_true(put_text("/proc/sys/vm/drop_caches", "1"));
	for (unsigned long i = 0; i < NR; i++) {
		READS(f, i, WORD(i));
		WRITES(f, i, i);
	}
	EXPECT_OK(fsync(f->file));
	assert_true(put_text("/proc/sys/vm/drop_caches", "1"));
	for (unsigned long i = 0; i < NR; i++) {
		WRITES(f, i, i + 1);
		READS(f, i, i + 1);
	}
}

static void userfaultfd_is_asked(struct fixture *f)
{
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_copy copy = { .src = (uintptr_t)page, .len = PAGE };
	int uffd = uffd_open(0, 0);

	make_sparse(f);
	map_pages(f, 0, 0, NR, RW | NO_ALLOC);
	uffd_register(uffd, source_at(f, 0), span(f, NR), UFFDIO_REGISTER_MODE_MISSING);
	START(f->peer, op_read, AT(f, 1));
	uffd_event(uffd, NULL);
	*(uint64_t *)page = 17;
	copy.dst = (uintptr_t)source_at(f, 1);
	EXPECT_OK(ioctl(uffd, UFFDIO_COPY, &copy));
	EXPECT_VALUE(17, FINISH(f->peer, "a read that a userfaultfd serves"));
	close(uffd);
	READ_SIGBUS(f, 2);
	READS(f, 1, 17);
	munmap(page, PAGE);
}

/*
 * The hugetlb controller charges who touches first, and with a limit of nothing the
 * peer cannot. With the flag it is the controller who pays, and whose memory it is.
 */
static void huge_pages_are_charged_to_the_controller(struct fixture *f)
{
	const bool no_alloc = f->tc->param;
	const unsigned long nr = f->file_size / PAGE;
	struct peer *p = peer_spawn(), *self = peer_spawn();
	unsigned long view;
	struct outcome o;
	int fd;

	group_enter("none", p);
	group_set("none", "hugetlb.2MB.max", "0");
	make_sparse(f);
	map_pages(f, 0, 0, nr, no_alloc ? RW | NO_ALLOC : RW);
	fd = peer_send_fd(p, f->viewfd);
	view = (unsigned long)EXPECT_CALL(p, op_mmap, fd, f->file_size,
					  PROT_READ | PROT_WRITE, 0);
	o = CALL(p, op_write, view, 1);
	assert_int_equal(o.sig, SIGBUS);
	assert_int_equal(group_get("none", "hugetlb.2MB.current"), 0);
	if (no_alloc) {
		populate(f, nr);
		for (unsigned long i = 0; i < nr; i += HUGE_SIZE / PAGE)
			EXPECT_VALUE(0, CALL(p, op_write, view + i * PAGE, 1));
		assert_int_equal(group_get("none", "hugetlb.2MB.current"), 0);
		return;
	}
	/* What remains without it: whoever has no limit is charged. */
	group_enter("open", self);
	fd = peer_send_fd(self, f->viewfd);
	view = (unsigned long)EXPECT_CALL(self, op_mmap, fd, f->file_size,
					  PROT_READ | PROT_WRITE, 0);
	EXPECT_VALUE(0, CALL(self, op_write, view, 1));
	assert_int_equal(group_get("open", "hugetlb.2MB.current"), HUGE_SIZE);
}

/* memory.high once more: who may not allocate cannot exceed it. */
static void memory_high_is_not_passed_by(struct fixture *f)
{
	struct peer *controller = peer_spawn(), *p = peer_spawn();
	unsigned long view;
	struct outcome o;

	(void)f;
	group_enter("vmm", controller);
	group_set("vmm", "memory.high", "max");
	view = map_lent(controller, p, 16 * MIB, 16 * MIB, RW | NO_ALLOC);
	o = CALL(p, op_fill_within, view, 16 * MIB / PAGE, 1000);
	assert_int_equal(o.sig, SIGBUS);
	EXPECT_CALL(controller, op_populate, 16 * MIB, 0);
	assert_int_equal(EXPECT_CALL(p, op_fill_within, view, 16 * MIB / PAGE, 1000000),
			 16 * MIB / PAGE);
}

static const struct test_case cases[] = {
	CASE(memory_high_holds_for_peers),
	CASE(populating_throttles_no_peer),
	CASE(filling_throttles_no_other_thread),
	CASE_VARIANT(throttling_holds_up_no_call, "populating", POPULATING),
	CASE_VARIANT(throttling_holds_up_no_call, "populating peers", POPULATING_PEERS),
	CASE_VARIANT(throttling_holds_up_no_call, "a peer that fills", FILLING),
	CASE_VARIANT(throttling_holds_up_no_call, "a batch", MAPPING_MANY),
	CASE_ON(holes_are_refused, ON_ALL),
	CASE_ON(what_was_written_back_is_there, ON_ALL),
	CASE_ON(userfaultfd_is_asked, ON_SHMEM),
	{ .name = "huge_pages_are_charged_to_the_controller",
	  .run = huge_pages_are_charged_to_the_controller, .backings = ON(HUGETLB),
	  .variant = "no_alloc", .param = 1 },
	{ .name = "huge_pages_are_charged_to_the_controller",
	  .run = huge_pages_are_charged_to_the_controller, .backings = ON(HUGETLB),
	  .variant = "or not", .param = 0 },
	CASE(memory_high_is_not_passed_by),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "charge", cases);
}
