// SPDX-License-Identifier: GPL-2.0
/*
 * Memory management below a view: huge pages, migration, bad memory, swap,
 * limits, core dumps. Nothing is lost, nothing stays mapped (R3), and the
 * memory is the controller's, not the peer's.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR 16UL

/* A settable file below /proc or /sys, put back at the end of the case. */
struct setting {
	const char *path;
	char was[128];
};

static bool set(struct setting *s, const char *path, const char *text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *word;
	ssize_t n;

	s->path = NULL;
	if (fd < 0)
		return false;
	n = read(fd, s->was, sizeof(s->was) - 1);
	close(fd);
	if (n <= 0)
		return false;
	s->was[n] = 0;
	/* Of "always [never] ..." the word in brackets. */
	word = strchr(s->was, '[');
	if (word) {
		memmove(s->was, word + 1, strlen(word));
		*strchrnul(s->was, ']') = 0;
	}
	s->path = path;
	return put_text(path, text);
}

static void put_back(struct setting *s)
{
	if (s->path)
		put_text(s->path, s->was);
}

/* Counting peers: started on zeroed pages, and stopped with every word right. */
static void count_start(struct fixture *f, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		assert_true(file_set_word(f->file, i * PAGE, 0));
	START(f->peer, op_count_up, f->view, nr);
	wait_loops(2);
}

static void count_stop(struct fixture *f, unsigned long nr)
{
	struct outcome o;

	wait_loops(2);
	atomic_store(&shared->stop, 1);
	o = FINISH(f->peer, "counting");
	if (o.sig || o.ret <= 0)
		fail_msg("the peer met signal %d", o.sig);
	assert_int_equal(atomic_load(&shared->bad), 0);
	unmap_pages(f, 0, nr);
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(file_word(f->file, i * PAGE), o.ret);
}

/* ---- huge pages ---- */

#define SHMEM_ENABLED "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static bool split(unsigned long from, unsigned long to)
{
	char text[100];

	snprintf(text, sizeof(text), "%d,0x%lx,0x%lx", getpid(), from, to);
	return put_text("/sys/kernel/debug/split_huge_pages", text);
}

static void huge_pages_are_split_and_collapsed(struct fixture *f)
{
	bool collapsed = false, was_split = false;
	struct setting s;
	char *source;

	if (!set(&s, SHMEM_ENABLED, "advise"))
		SKIP("no huge pages in shared memory");
	EXPECT_OK(ftruncate(f->file, 2 * HUGE_SIZE));
	EXPECT_OK(fallocate(f->file, 0, 0, HUGE_SIZE));
	EXPECT_OK(mv_map(f->ctl, f->file, 0, 2 * HUGE_SIZE, 0, RW));
	source = source_at(f, 0);
	madvise(source, 2 * HUGE_SIZE, MADV_HUGEPAGE);
	count_start(f, NR);
	for (int i = 0; i < 4; i++) {
		if (!madvise(source, HUGE_SIZE, 25 /* MADV_COLLAPSE */)) {
			(void)*(volatile char *)(source + PAGE);
			collapsed |= is_tail_page(source + PAGE);
		}
		wait_loops(2);
		/* By reclaim's way, and by a hole in the middle. */
		if (i & 1)
			split((unsigned long)source, (unsigned long)source + HUGE_SIZE);
		else
			EXPECT_OK(fallocate(f->file,
					    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    256 * PAGE, PAGE));
		was_split |= collapsed && !is_tail_page(source + PAGE);
		wait_loops(2);
	}
	/* A huge page goes as a whole, the peer's entries of it too. */
	if (collapsed)
		madvise(source, HUGE_SIZE, 25);
	put_back(&s);
	count_stop(f, NR);
	READ_SIGBUS(f, 0);
	if (!collapsed)
		SKIP("MADV_COLLAPSE made no huge page");
	assert_true(was_split);
}

#define HUGEPAGES	"/sys/kernel/mm/transparent_hugepage/"
#define KHUGEPAGED	HUGEPAGES "khugepaged/"

/* The kernel's own thread makes a huge page of what the peer writes to. */
static void khugepaged_loses_no_write(struct fixture *f)
{
	static const char *const settings[][2] = {
		{ HUGEPAGES "enabled", "madvise" },
		{ SHMEM_ENABLED, "advise" },
		{ KHUGEPAGED "scan_sleep_millisecs", "10" },
		{ KHUGEPAGED "alloc_sleep_millisecs", "10" },
		{ KHUGEPAGED "pages_to_scan", "100000" },
	};
	long before = get_number(KHUGEPAGED "pages_collapsed");
	struct setting was[5] = { 0 };
	bool done = false;
	char *source;

	if (before < 0)
		SKIP("no khugepaged");
	for (size_t i = 0; i < 5; i++)
		set(&was[i], settings[i][0], settings[i][1]);
	EXPECT_OK(ftruncate(f->file, 2 * HUGE_SIZE));
	/* Small pages: no advice has been given yet. */
	EXPECT_OK(fallocate(f->file, 0, 0, HUGE_SIZE));
	EXPECT_OK(mv_map(f->ctl, f->file, 0, 2 * HUGE_SIZE, 0, RW));
	source = source_at(f, 0);
	assert_false(is_tail_page(source + PAGE));
	count_start(f, NR);
	/* The first sets the flag that the second has the thread told of (6.1). */
	for (int i = 0; i < 2; i++)
		EXPECT_OK(madvise(source, 2 * HUGE_SIZE, MADV_HUGEPAGE));
	/* It may have much to look at first. */
	for (int i = 0; i < 3 && !done; i++)
		done = EVENTUALLY(is_tail_page(source + PAGE));
	for (size_t i = 0; i < 5; i++)
		put_back(&was[i]);
	count_stop(f, NR);
	if (!done)
		fail_msg("khugepaged has collapsed nothing");
	assert_true(EVENTUALLY(get_number(KHUGEPAGED "pages_collapsed") > before));
}

static void huge_page_is_punched_and_truncated(struct fixture *f)
{
	struct setting s;
	char *source;
	bool huge;

	if (!set(&s, SHMEM_ENABLED, "always"))
		SKIP("no huge pages in shared memory");
	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, HUGE_SIZE));
	EXPECT_OK(fallocate(f->file, 0, 0, HUGE_SIZE));
	put_back(&s);
	EXPECT_OK(mv_map(f->ctl, f->file, 0, HUGE_SIZE, 0, RW));
	for (unsigned long i = 0; i < 512; i += 37)
		WRITES(f, i, i + 1);
	source = source_at(f, 0);
	huge = is_tail_page(source + PAGE);
	EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 37 * PAGE, PAGE));
	READS(f, 37, 0);
	READS(f, 74, 75);
	unmap_pages(f, 111, 1);
	READ_SIGBUS(f, 111);
	READS(f, 148, 149);
	protect_pages(f, 148, 1, R);
	WRITE_SEGV(f, 148);
	WRITES(f, 185, 9);
	EXPECT_OK(ftruncate(f->file, 100 * PAGE));
	READS(f, 74, 75);
	READ_SIGBUS(f, 185);
	EXPECT_OK(ftruncate(f->file, HUGE_SIZE));
	READS(f, 185, 0);
	if (!huge)
		SKIP("the file got no huge page");
}

/* ---- migration and bad memory ---- */

static void migration_loses_no_write(struct fixture *f)
{
	unsigned long moved = 0;
	char *source;

	map_pages(f, 0, 0, NR, RW);
	source = source_at(f, 0);
	count_start(f, NR);
	for (int i = 0; i < 4; i++) {
		char *page = source + 3 * i * PAGE;
		unsigned long was = pfn_at(page);

		/* Moves the page, and takes the old one out of use. */
		if (madvise(page, PAGE, MADV_SOFT_OFFLINE) && errno == EINVAL)
			break;
		(void)*(volatile char *)page;
		moved += pfn_at(page) != was;
		put_text("/proc/sys/vm/compact_memory", "1");
		wait_loops(1);
	}
	count_stop(f, NR);
	if (!moved)
		SKIP("the kernel moved no page");
}

/* Counts pages of a mapping that are elsewhere than the last time. */
static unsigned long count_moved(char *source, unsigned long nr, unsigned long *pfns)
{
	unsigned long moved = 0;

	for (unsigned long i = 0; i < nr; i++) {
		unsigned long pfn;

		(void)*(volatile char *)(source + i * PAGE);
		pfn = pfn_at(source + i * PAGE);
		/* 0: taken away again before we could look. */
		moved += pfn && pfns[i] && pfn != pfns[i];
		if (pfn)
			pfns[i] = pfn;
	}
	return moved;
}

#define MOVE_ALL	4	/* MPOL_MF_MOVE_ALL */
#define BIND		2	/* MPOL_BIND */

/* Pages of a mapping go to a node; how many say that they are there. */
static unsigned long move_to(char *source, unsigned long nr, size_t step, int node)
{
	unsigned long there = 0;
	void *pages[NR];
	int nodes[NR], status[NR];

	for (unsigned long i = 0; i < nr; i++) {
		pages[i] = source + i * step;
		nodes[i] = node;
		status[i] = -1;
		(void)*(volatile char *)pages[i];
	}
	if (syscall(SYS_move_pages, 0, nr, pages, nodes, status, MOVE_ALL) < 0)
		return 0;
	for (unsigned long i = 0; i < nr; i++)
		there += status[i] == node;
	return there;
}

static void need_two_nodes(void)
{
	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP("one memory node only");
}

/* What is mapped in huge pages moves as a whole. */
#define NR_MOVED(f)	((f)->backing == HUGETLB ? 1 : NR)

static void moved_pages_are_seen_where_they_are(struct fixture *f)
{
	unsigned long pfns[NR] = { 0 }, moved = 0, there = 0;
	char *source;

	need_two_nodes();
	map_pages(f, 0, 0, NR, RW);
	source = source_at(f, 0);
	count_start(f, NR);
	count_moved(source, NR, pfns);
	/* A page that is being faulted or written back does not move now. */
	for (int i = 0; i < 40 && (i < 6 || moved < 2 * NR); i++) {
		there += move_to(source, NR_MOVED(f), unit(f), !(i & 1));
		moved += count_moved(source, NR, pfns);
		wait_loops(2);
	}
	count_stop(f, NR);
	assert_true(there > 0);
	assert_true(moved >= 2 * NR);
}

static long op_compact(const long *a)
{
	(void)a;
	while (!atomic_load(&shared->stop)) {
		put_text("/proc/sys/vm/compact_memory", "1");
		for (int i = 0; i < 20; i++)
			nap();
	}
	return 0;
}

/* All at once, in all ways that there are, with the peer writing. */
static void migration_storm_loses_no_write(struct fixture *f)
{
	struct peer *compactor = peer_spawn();
	unsigned long pfns[NR] = { 0 }, moved[3] = { 0 };
	struct mapping m;
	char *source;

	need_two_nodes();
	map_pages(f, 0, 0, NR, RW);
	source = source_at(f, 0);
	m = source_mapping(f, 0);
	count_start(f, NR);
	START(compactor, op_compact, 0);
	count_moved(source, NR, pfns);
	/* What is being compacted does not move now. */
	for (int i = 0; i < 60 && (i < 9 || !moved[0] || !moved[1] || !moved[2]); i++) {
		/* Each to where the one before has not left them. */
		unsigned long to = i & 1 ? 1 : 2, from = 3 - to;

		switch (i % 3) {
		case 0:
			move_to(source, NR_MOVED(f), unit(f), to == 2);
			break;
		case 1:
			syscall(SYS_migrate_pages, 0, 3, &from, &to);
			break;
		case 2:
			syscall(SYS_mbind, m.start, m.end - m.start, BIND, &to, 3, MOVE_ALL);
			break;
		}
		moved[i % 3] += count_moved(source, NR, pfns);
	}
	/* Back to no policy, which shared memory would keep. */
	syscall(SYS_mbind, m.start, m.end - m.start, 0, NULL, 0, 0);
	peer_kill(compactor);
	count_stop(f, NR);
	for (int i = 0; i < 3; i++)
		assert_true(moved[i] > 0);
}

static void poisoned_page_is_sigbus_in_the_peer(struct fixture *f)
{
	unsigned long pfn;
	struct mapping m;
	struct outcome o;
	char *source;

	lend(f, NR, RW);
	source = source_at(f, 5);
	(void)*(volatile char *)source;
	pfn = pfn_at(source);
	poison(source);
	/* Of hugetlb the whole block, which has the mark on its first page. */
	assert_true(is_bad(f->backing == HUGETLB ? pfn - 5 : pfn));
	assert_int_equal(CALL(f->peer, op_read, AT(f, 5)).sig, SIGBUS);
	assert_int_equal(CALL(f->peer, op_write, AT(f, 5), 1).sig, SIGBUS);
	/* The control: the same by the mapping below. */
	assert_int_equal(PROBE(op_read, (long)source).sig, SIGBUS);
	assert_int_equal(PROBE(op_read, (long)source).code, BUS_MCEERR_AR);
	assert_int_equal(CALL(f->peer, op_read, AT(f, 5)).code, BUS_MCEERR_AR);
	if (f->backing != HUGETLB) {
		READS(f, 4, WORD(4));
		WRITES(f, 6, 66);
		assert_int_equal(file_word(f->file, 6 * PAGE), 66);
	}
	/* Punched out, and the mapping made anew, there is good memory in its place. */
	if (f->backing == EXT4)
		return;
	EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    f->backing == HUGETLB ? 0 : 5 * PAGE, unit(f)));
	o = PROBE(op_read, (long)source);
	assert_int_equal(CALL(f->peer, op_read, AT(f, 5)).sig, o.sig);
	m = source_mapping(f, 5);
	EXPECT_OK(munmap((void *)m.start, m.end - m.start));
	map_pages(f, 0, 0, NR, RW | MEMVIEW_MAP_REPLACE);
	READS(f, 5, 0);
	WRITES(f, 5, 55);
	assert_int_equal(file_word(f->file, 5 * PAGE), 55);
}

/*
 * A clean page of a file on a disk is no loss: it is dropped, and read again into
 * good memory. The peer must go on there, and not in the page that it had, which
 * would not show what is written to the file. (Nor does pagemap show what a peer
 * has mapped: it leaves out VM_PFNMAP mappings.)
 */
static void poisoned_clean_page_is_read_again(struct fixture *f)
{
	unsigned long pfn;
	char *source;

	EXPECT_OK(fsync(f->file));
	lend(f, NR, R);
	source = source_at(f, 5);
	(void)*(volatile char *)source;
	pfn = pfn_at(source);
	poison(source);
	assert_true(is_bad(pfn));
	READS(f, 5, WORD(5));
	assert_true(file_set_word(f->file, 5 * PAGE, 55));
	READS(f, 5, 55);
	assert_int_equal(PROBE(op_read, (long)source).ret, 55);
	assert_int_not_equal(pfn_at(source), pfn);
	READS(f, 4, WORD(4));
	READS(f, 6, WORD(6));
}

/* Writes a word to a file that may let it wait for long. */
static void put_soon(const char *path, const char *word)
{
	char command[200];

	snprintf(command, sizeof(command), "echo %s | timeout 8 tee %s >/dev/null 2>&1",
		 word, path);
	fflush(stdout);
	(void)!system(command);
}

/*
 * Every other page of the file into another block than those before, if need be:
 * what was reserved as the kernel booted keeps a block where it is. The fillers
 * take small pages, too, or the file would get those of the same block again.
 */
static void spread_over_blocks(struct fixture *f, size_t block)
{
	void *filler[NR / 2];

	for (unsigned long i = 0; i < NR / 2; i++) {
		EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    2 * i * PAGE, PAGE));
		filler[i] = mmap(NULL, block * 3 / 4, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(filler[i], MAP_FAILED);
		EXPECT_OK(madvise(filler[i], block * 3 / 4, MADV_NOHUGEPAGE));
		EXPECT_OK(madvise(filler[i], block * 3 / 4, MADV_POPULATE_WRITE));
		assert_true(file_set_word(f->file, 2 * i * PAGE, WORD(2 * i)));
	}
	for (unsigned long i = 0; i < NR / 2; i++)
		munmap(filler[i], block * 3 / 4);
}

/*
 * Takes a whole block of memory away below the peer, as far as the kernel can:
 * other pages of the block may stay where they are.
 */
static void memory_block_goes_offline(struct fixture *f)
{
	bool offline = false;
	long block = 0;
	/* Set where the machine has been made for it: see tests/special. */
	bool must = getenv("MEMVIEW_MUST_OFFLINE");
	FILE *file = fopen("/sys/devices/system/memory/block_size_bytes", "re");

	if (!file && must)
		fail_msg("no memory hotplug");
	if (!file)
		SKIP("no memory hotplug");
	if (fscanf(file, "%lx", &block) != 1)
		block = 0;
	fclose(file);
	assert_int_not_equal(block, 0);
	if (must)
		spread_over_blocks(f, block);
	map_pages(f, 0, 0, NR, RW);
	count_start(f, NR);
	for (unsigned long i = 0; i < NR && !offline; i++) {
		char path[100], zone[16] = "", state[16] = "";
		char *at = source_at(f, i);
		unsigned long number;

		(void)*(volatile char *)at;
		number = pfn_at(at) * PAGE / block;
		/* Elsewhere it takes seconds and fails. */
		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%lu/valid_zones",
			 number);
		file = fopen(path, "re");
		if (file) {
			(void)!fgets(zone, sizeof(zone), file);
			fclose(file);
		}
		if (strncmp(zone, "Movable", 7))
			continue;
		snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%lu/state",
			 number);
		put_soon(path, "offline");
		file = fopen(path, "re");
		if (file) {
			(void)!fgets(state, sizeof(state), file);
			fclose(file);
		}
		offline = !strncmp(state, "offline", 7);
		(void)*(volatile char *)at;
		if (offline)
			assert_int_not_equal(pfn_at(at) * PAGE / block, number);
		wait_loops(2);
		put_soon(path, "online_movable");
	}
	count_stop(f, NR);
	if (!offline && must)
		fail_msg("the kernel could not take the block of memory offline");
	if (!offline)
		SKIP("the kernel could not take the block of memory offline (see tests/special)");
}

/* ---- swap and limits ---- */

static char group[64];

/* A memory cgroup with a limit; the peer @p goes into it. */
static void enter_group(struct peer *p, const char *max, const char *swap_max)
{
	char path[128], pid[16];

	snprintf(group, sizeof(group), "/sys/fs/cgroup/adv%d", p->pid);
	if (mkdir(group, 0755))
		SKIP("no cgroup2: %s", strerror(errno));
	snprintf(path, sizeof(path), "%s/memory.max", group);
	if (!put_text(path, max))
		SKIP("no memory controller in cgroup2");
	snprintf(path, sizeof(path), "%s/memory.swap.max", group);
	put_text(path, swap_max);
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	snprintf(pid, sizeof(pid), "%d", p->pid);
	assert_true(put_text(path, pid));
}

static long group_value(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	return get_number(path);
}

static long group_event(const char *key)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/memory.events", group);
	return get_field(path, key);
}

static const char *swap_on_zram(void)
{
	if (get_field("/proc/meminfo", "SwapTotal") > 0)
		return NULL;
	fflush(stdout);
	if (system("modprobe -q zram num_devices=1; cd /sys/block/zram0 2>/dev/null && "
		   "echo 128M >disksize && mkswap /dev/zram0 >/dev/null 2>&1 && "
		   "swapon /dev/zram0"))
		return "cannot swap on zram";
	return NULL;
}

static long op_empty_memfd(const long *a)
{
	return backing_create(MEMFD, a[0]);
}

struct big {
	struct peer *ctl;
	int fd;
	struct peer *peer;
	unsigned long view;
};

#define BIG_PAGES 4096UL	/* 16 MiB */

/* A controller with an empty file and a limit, and a peer without. */
static void big_start(struct big *b, const char *max, const char *swap_max)
{
	int ctl, fd;

	b->ctl = peer_spawn();
	b->peer = peer_spawn();
	enter_group(b->ctl, max, swap_max);
	b->fd = EXPECT_CALL(b->ctl, op_empty_memfd, BIG_PAGES * PAGE);
	ctl = EXPECT_CALL(b->ctl, op_ctl_open, BIG_PAGES * PAGE);
	EXPECT_CALL(b->ctl, op_ctl_map, ctl, b->fd, 0, BIG_PAGES, 0, RW);
	fd = peer_take_fd(b->ctl, EXPECT_CALL(b->ctl, op_ctl_viewfd, ctl));
	b->view = EXPECT_CALL(b->peer, op_mmap, peer_send_fd(b->peer, fd), BIG_PAGES * PAGE,
			      PROT_READ | PROT_WRITE, 0);
}

static void swapping_loses_no_write(struct fixture *f)
{
	const char *why = swap_on_zram();
	struct big b;
	int fd;

	(void)f;
	if (why)
		SKIP("%s", why);
	big_start(&b, "6M", "max");
	EXPECT_VALUE(3, CALL(b.peer, op_count_to, b.view, BIG_PAGES, 3));
	assert_int_equal(atomic_load(&shared->bad), 0);
	assert_true(group_value("memory.swap.current") > 0);
	assert_true(group_value("memory.current") <= 6 << 20);
	assert_int_equal(group_event("oom_kill"), 0);
	fd = peer_take_fd(b.ctl, b.fd);
	for (unsigned long i = 0; i < BIG_PAGES; i++)
		assert_int_equal(file_word(fd, i * PAGE), 3);
	peer_kill(b.ctl);
	peer_kill(b.peer);
	rmdir(group);
}

/* What a peer touches first is charged to the controller, and kills that. */
static void controller_out_of_memory_is_killed_not_the_peer(struct fixture *f)
{
	struct outcome o;
	struct big b;

	(void)f;
	big_start(&b, "4M", "0");
	START(b.peer, op_count_to, b.view, BIG_PAGES, 1);
	o = FINISH(b.peer, "writing beyond the controller's limit");
	assert_false(o.died);
	assert_int_equal(o.sig, SIGBUS);
	assert_true(group_event("oom_kill") >= 1);
	/* The peer lives, and has lost all. */
	assert_true(EVENTUALLY(CALL(b.peer, op_read, b.view).sig == SIGBUS));
	peer_kill(b.ctl);
	rmdir(group);
}

static void peer_is_not_charged_for_the_view(struct fixture *f)
{
	unsigned long view, plain;
	struct peer *p = peer_spawn(), *glutton = peer_spawn();
	int big = backing_create(MEMFD, BIG_PAGES * PAGE);
	struct outcome o;
	int fd;

	EXPECT_OK(mv_map(f->ctl, big, 0, BIG_PAGES * PAGE, 0, RW));
	fd = peer_send_fd(p, f->viewfd);
	enter_group(p, "4M", "0");
	view = EXPECT_CALL(p, op_mmap, fd, BIG_PAGES * PAGE, PROT_READ | PROT_WRITE, 0);
	EXPECT_VALUE(0, CALL(p, op_fill, view, BIG_PAGES / 2, 1));
	EXPECT_VALUE(1, CALL(p, op_count_to, view + BIG_PAGES / 2 * PAGE, BIG_PAGES / 2, 1));
	assert_int_equal(group_event("oom_kill"), 0);
	peer_kill(p);
	rmdir(group);
	/* The control: plain memory it would have to pay for, with its life. */
	EXPECT_OK(ftruncate(big, 0));
	EXPECT_OK(ftruncate(big, BIG_PAGES * PAGE));
	enter_group(glutton, "4M", "0");
	plain = EXPECT_CALL(glutton, op_mmap, peer_send_fd(glutton, big), BIG_PAGES * PAGE,
			    PROT_READ | PROT_WRITE, 0);
	START(glutton, op_count_to, plain, BIG_PAGES, 1);
	o = FINISH(glutton, "writing plain memory");
	assert_true(o.died);
	peer_kill(glutton);
	rmdir(group);
}

static void peer_out_of_memory_lets_go(struct fixture *f)
{
	unsigned long view, anon;
	struct peer *p = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &view);

	map_pages(f, 0, 0, NR, RW);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	enter_group(p, "4M", "0");
	anon = EXPECT_CALL(p, op_mmap, -1, BIG_PAGES * PAGE, PROT_READ | PROT_WRITE, 0,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	START(p, op_fill, anon, BIG_PAGES, 1);
	assert_true(FINISH(p, "filling memory").died);
	assert_true(group_event("oom_kill") >= 1);
	READS(f, 1, WORD(1));
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 1);
	peer_kill(p);
	rmdir(group);
}

/* ---- the OOM reaper ---- */

/* Of the mapping at @addr, 0: of the stack, in KiB, or -1 */
static long resident_at(pid_t pid, pid_t tid, unsigned long addr)
{
	bool here = false;
	char path[64], line[256];
	long kib = -1;
	FILE *smaps;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/smaps", pid, tid);
	smaps = fopen(path, "re");
	while (smaps && kib < 0 && fgets(line, sizeof(line), smaps)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = addr ? start <= addr && addr < end : !!strstr(line, "[stack]");
		else if (here && sscanf(line, "Rss: %ld", &kib) != 1)
			kib = -1;
	}
	if (smaps)
		fclose(smaps);
	return kib;
}

struct writer {
	int fd;
	atomic_int tid;
};

static void *write_word(void *arg)
{
	struct writer *w = arg;

	atomic_store(&w->tid, gettid());
	file_set_word(w->fd, 0, 1);
	return NULL;
}

/* fd -> the thread that writes there */
static long op_write_in_a_thread(const long *a)
{
	static struct writer writer;
	pthread_t thread;

	writer.fd = (int)a[0];
	if (pthread_create(&thread, NULL, write_word, &writer))
		return -1;
	while (!atomic_load(&writer.tid))
		nap();
	return atomic_load(&writer.tid);
}

/*
 * A process that is killed for lack of memory, and cannot exit: the kernel reaps its
 * private pages, and takes a shared mapping of what is open for reading for such. It
 * cannot wait for the driver then: what no peer has it gets, the rest stays until the
 * exit. The process is a peer of another view, too.
 */
static void reaper_takes_nothing_that_a_peer_has(struct fixture *f)
{
	enum backing other = f->backing == EXT4 ? XFS : EXT4;
	bool lent = f->tc->param;
	struct peer *c, *p, *thawer = peer_spawn();
	unsigned long view, source, anon;
	const char *why = backing_prepare(other);
	struct outcome o = { .died = true };
	int ctl, fd, viewfd, frozen;
	bool reaped = false;
	long left = -1;
	pid_t tid;

	if (why)
		SKIP("%s", why);
	frozen = backing_create(other, PAGE);
	assert_true(frozen >= 0);
	EXPECT_OK(fsync(f->file));
	map_pages(f, 0, 0, NR, R);

	c = peer_spawn();
	fd = peer_send_fd(c, backing_reopen(f->file, O_RDONLY));
	ctl = EXPECT_CALL(c, op_ctl_open, CTL_PAGES * PAGE);
	EXPECT_CALL(c, op_ctl_map, ctl, fd, 0, CTL_PAGES, 0, R);
	fd = EXPECT_CALL(c, op_ctl_viewfd, ctl);
	viewfd = peer_take_fd(c, fd);
	p = peer_spawn();
	view = map_view(p, viewfd, PROT_READ);
	EXPECT_VALUE(WORD(1), CALL(p, op_read, view + PAGE));
	source = EXPECT_CALL(c, op_ctl_source, ctl, 0);
	assert_true(resident_at(c->pid, c->pid, source) > 0);
	if (!lent)
		EXPECT_CALL(c, op_ctl_unmap, ctl, 0, CTL_PAGES);
	EXPECT_VALUE(WORD(1), CALL(c, op_read, map_view(c, f->viewfd, PROT_READ) + PAGE));

	enter_group(c, "4M", "0");
	anon = EXPECT_CALL(c, op_mmap, -1, BIG_PAGES * PAGE, PROT_READ | PROT_WRITE, 0,
			   MAP_PRIVATE | MAP_ANONYMOUS);
	fd = peer_send_fd(c, frozen);
	EXPECT_OK(ioctl(frozen, FIFREEZE, 0));
	START(thawer, op_thaw, peer_send_fd(thawer, frozen));
	/* Nothing may end the case before it is thawed. */
	tid = (pid_t)CALL(c, op_write_in_a_thread, fd).ret;
	if (EVENTUALLY(state_of(tid) == 'D')) {
		START(c, op_fill, anon, BIG_PAGES, 1);
		/* First and last of the mappings, whichever way it goes through them. */
		reaped = EVENTUALLY(!resident_at(c->pid, tid, anon) &&
				    !resident_at(c->pid, tid, 0));
		left = lent || !EVENTUALLY(!resident_at(c->pid, tid, source)) ?
		       resident_at(c->pid, tid, source) : 0;
		/* It is dropped if no page table is known to have it. */
		put_text("/proc/sys/vm/drop_caches", "1");
		file_set_word(f->file, PAGE, SECRET);
		o = CALL(p, op_read, view + PAGE);
	}
	atomic_store(&shared->ready, 1);
	EXPECT_VALUE(1, FINISH(thawer, "thawing"));
	assert_true(reaped);
	if (lent) {
		assert_true(left > 0);
		EXPECT_VALUE(SECRET, o);
	} else {
		assert_int_equal(left, 0);
		EXPECT_SIGBUS(view + PAGE, o);
	}
	unmap_pages(f, 0, NR);
	peer_kill(c);
	assert_true(EVENTUALLY(CALL(p, op_read, view + PAGE).sig == SIGBUS));
	rmdir(group);
	close(viewfd);
	close(frozen);
}

/* ---- core dumps ---- */

#define CORE_FILTER "/proc/self/coredump_filter"

/* address of the view, of plain memory -> dies with all of it in the core */
static long op_dump_core(const long *a)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	op_fill(ARGS(a[0], 8, (long)SECRET));
	op_fill(ARGS(a[1], 8, (long)CANARY));
	if (setrlimit(RLIMIT_CORE, &all) || !put_text(CORE_FILTER, "0x7f"))
		return -1;
	signal(SIGABRT, SIG_DFL);
	abort();
}

static size_t count_in_file(const char *path, uint64_t word)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t found = 0;
	uint64_t page[512];

	assert_true(fd >= 0);
	while (read(fd, page, sizeof(page)) == sizeof(page))
		found += page[0] == word;
	close(fd);
	return found;
}

static void core_dump_has_nothing_of_the_view(struct fixture *f)
{
	char pattern[128], command[200];
	struct setting s;
	unsigned long plain;
	int other = make_file(MEMFD, FILE_PAGES * PAGE, 0);
	struct peer *p;
	unsigned long view;
	int status;

	map_pages(f, 0, 0, NR, RW);
	p = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &view);
	plain = EXPECT_CALL(p, op_mmap, peer_send_fd(p, other), FILE_PAGES * PAGE,
			    PROT_READ | PROT_WRITE, 0);
	assert_non_null(scratch_dir());
	snprintf(pattern, sizeof(pattern), "%s/core", scratch_dir());
	if (!set(&s, "/proc/sys/kernel/core_pattern", pattern))
		SKIP("no core_pattern");
	START(p, op_dump_core, view, plain);
	status = peer_reap(p);
	put_back(&s);
	assert_true(WIFSIGNALED(status));
	assert_true(WCOREDUMP(status));
	/* SECRET is in the view only, CANARY in plain shared memory. */
	snprintf(command, sizeof(command), "%s", pattern);
	if (access(pattern, F_OK))
		snprintf(command, sizeof(command), "%s.%d", pattern, p->pid);
	assert_int_equal(count_in_file(command, CANARY), 8);
	assert_int_equal(count_in_file(command, SECRET), 0);
	unlink(command);
	READS(f, 0, SECRET);
}

static const struct test_case cases[] = {
	CASE_ON(huge_pages_are_split_and_collapsed, ON(MEMFD)),
	CASE_ON(khugepaged_loses_no_write, ON(MEMFD)),
	CASE_ON(huge_page_is_punched_and_truncated, ON(MEMFD)),
	CASE_ON(migration_loses_no_write, ON_SMALL),
	CASE_ON(moved_pages_are_seen_where_they_are, ON(MEMFD) | ON(HUGETLB) | ON(EXT4)),
	CASE_ON(migration_storm_loses_no_write, ON_ALL),
	/*
	 * Not on XFS, whose large folios the kernel does not split when they are
	 * dirty: it says EBUSY, and the next file may get the bad page.
	 */
	CASE_ON(poisoned_page_is_sigbus_in_the_peer, ON_ALL & ~ON(XFS)),
	CASE_ON(poisoned_clean_page_is_read_again, ON(EXT4)),
	CASE_ON(memory_block_goes_offline, ON(MEMFD)),
	CASE(swapping_loses_no_write),
	CASE(controller_out_of_memory_is_killed_not_the_peer),
	CASE(peer_is_not_charged_for_the_view),
	CASE(peer_out_of_memory_lets_go),
	{ .name = "reaper_takes_nothing_that_a_peer_has", .param = true, .variant = "lent",
	  .run = reaper_takes_nothing_that_a_peer_has, .backings = ON_DISK },
	{ .name = "reaper_takes_nothing_that_a_peer_has", .param = false, .variant = "idle",
	  .run = reaper_takes_nothing_that_a_peer_has, .backings = ON_DISK },
	CASE(core_dump_has_nothing_of_the_view),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adv_memory", cases);
}
