// SPDX-License-Identifier: GPL-2.0
/*
 * Fault-around: one fault maps the pages around, more of them in a sequence, and
 * never wider than range and rights allow. What nobody touched it allocates only
 * where writes follow one another, and no more than a window. And what can be
 * observed: fdinfo and tracepoints.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- fault-around ---- */

/* Brings the file into the source's page table. */
static void warm_up(struct fixture *f, unsigned long page, unsigned long nr)
{
	volatile char *source = (volatile char *)(uintptr_t)source_addr_at(f->ctl, page);

	for (unsigned long i = 0; i < nr; i++) {
		volatile uint64_t *word = (volatile uint64_t *)(source + i * PAGE);

		*word = *word;
	}
}

/* -> faults of the peer, which has none of the pages, while it reads all */
static unsigned long faults_of_the_first_reading(struct fixture *f)
{
	unsigned long before;

	/* What has just become dirty is not written for some time. */
	EXPECT_OK(fsync(f->file));
	map_pages(f, 0, 0, FILE_PAGES, RW);
	warm_up(f, 0, FILE_PAGES);
	before = fdinfo(f->ctl, "faults");
	/*
	 * Four windows, or five if the mapping does not begin with one; three
	 * where it begins with a page table, and the second can grow; a few more
	 * where the kernel meanwhile cleans or migrates a page, and fewer where
	 * one had to wait, which makes it a major fault.
	 */
	EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), FILE_PAGES * PAGE);
	return fdinfo(f->ctl, "faults") - before;
}

static void one_fault_maps_its_neighbours(struct fixture *f)
{
	unsigned long faults;

	set_module_param(f, "fault_around_pages", 16);
	faults = faults_of_the_first_reading(f);
	/* All of the file may be cleaned in the middle of it, but not each time. */
	for (int i = 0; i < 3 && faults > FILE_PAGES / 4; i++) {
		unmap_pages(f, 0, FILE_PAGES);
		faults = faults_of_the_first_reading(f);
	}
	assert_in_range(faults, 3, FILE_PAGES / 4);
	/* All is there now. */
	assert_in_range(EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0),
				    FILE_PAGES * PAGE), 0, FILE_PAGES / 8);
	for (unsigned long i = 0; i < FILE_PAGES; i++) {
		READS(f, i, WORD(i));
		WRITES(f, i, WORD(i) + 1);
		assert_int_equal(file_word(f->file, i * PAGE), WORD(i) + 1);
	}
}

/* Control: with a window of one page each page takes a fault. */
static void window_of_one_page_faults_for_each(struct fixture *f)
{
	set_module_param(f, "fault_around_pages", 1);
	map_pages(f, 0, 0, FILE_PAGES, RW);
	warm_up(f, 0, FILE_PAGES);
	/* More where the kernel meanwhile cleans pages, fewer where one waits. */
	assert_true(EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0),
				FILE_PAGES * PAGE) >= (long)FILE_PAGES / 2);
	assert_true(fdinfo(f->ctl, "faults") >= FILE_PAGES);
}

#define MANY	1024UL

/* A file of many pages that the source maps all, mapped from page 0 on. */
static void many_warm_pages(struct fixture *f, unsigned long nr)
{
	int file = backing_create(MEMFD, nr * PAGE);

	assert_true(file >= 0);
	EXPECT_OK(mv_map(f->ctl, file, 0, nr * PAGE, 0, RW));
	warm_up(f, 0, nr);
}

/*
 * A sequence of touches gets larger windows: 8 faults for each 512 pages, where
 * it is 32 without; twice as many if somebody cleans a page meanwhile.
 */
static void sequence_grows_the_window(struct fixture *f)
{
	unsigned int window = f->tc->param;

	set_module_param(f, "fault_around_pages", window);
	many_warm_pages(f, MANY);
	EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), MANY * PAGE);
	if (window > 1)
		assert_in_range(fdinfo(f->ctl, "faults"), 4, MANY / window / 2);
	else	/* The control: there is nothing that could grow. */
		assert_true(fdinfo(f->ctl, "faults") >= MANY);
}

/*
 * The same where the source maps nothing yet of what the file has: what is ahead
 * is mapped there, too, or the window would find no more than 16 pages each time.
 */
static void cold_sequence_grows_the_window(struct fixture *f)
{
	int file = backing_create(MEMFD, MANY * PAGE);
	uint64_t word = 1;

	assert_true(file >= 0);
	for (unsigned long i = 0; i < MANY; i++)
		assert_int_equal(pwrite(file, &word, sizeof(word), i * PAGE), sizeof(word));
	set_module_param(f, "fault_around_pages", 16);
	EXPECT_OK(mv_map(f->ctl, file, 0, MANY * PAGE, 0, RW));
	EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), MANY * PAGE);
	assert_in_range(fdinfo(f->ctl, "faults"), 4, MANY / 16 / 2);
}

/* ---- NUMA balancing takes the rights of the source's entries, to see who touches ---- */

#define NUMA	"/sys/kernel/debug/sched/numa_balancing/"
#define NODE1	"/sys/devices/system/node/node1"

static const char *const numa_knobs[][2] = {
	/* What is to be set, and what is put back. */
	{ NUMA "scan_delay_ms", "1000" },
	{ NUMA "scan_period_min_ms", "1000" },
	{ NUMA "scan_period_max_ms", "60000" },
	{ NUMA "scan_size_mb", "256" },
};

static void *spin_in_a_thread(void *arg)
{
	atomic_int *stop = arg;

	while (!atomic_load(stop))
		;
	return NULL;
}

/* A counter of /proc/vmstat. */
static unsigned long long vmstat(const char *name)
{
	unsigned long long value = 0;
	char line[128];
	FILE *file = fopen("/proc/vmstat", "re");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			value = strtoull(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return value;
}

/* A memfd is left alone but for a policy that asks for it, which is the file's. */
static void let_it_be_scanned(int file, size_t size)
{
	unsigned long nodes = 3;
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);

	assert_true(map != MAP_FAILED);
	assert_return_code(syscall(SYS_mbind, map, size, MPOL_BIND | MPOL_F_NUMA_BALANCING,
				   &nodes, sizeof(nodes) * 8, 0), errno);
	munmap(map, size);
}

static void hints_of_numa_balancing_cost_no_faults(struct fixture *f)
{
	static const char *const fast[] = { "1", "20", "20", "64" };
	int file = backing_create(MEMFD, MANY * PAGE);
	unsigned long long updates;
	atomic_int stop = 0;
	pthread_t threads[2];
	unsigned long faults, all;
	bool scanned;

	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	if (access(NUMA "scan_delay_ms", W_OK) || access(NODE1, F_OK) ||
	    !put_text("/proc/sys/kernel/numa_balancing", "1"))
		SKIP("no NUMA balancing");
	for (int i = 0; i < 4; i++)
		put_text(numa_knobs[i][0], fast[i]);
	set_module_param(f, "fault_around_pages", 16);
	assert_true(file >= 0);
	let_it_be_scanned(file, MANY * PAGE);
	EXPECT_OK(mv_map(f->ctl, file, 0, MANY * PAGE, 0, RW));
	warm_up(f, 0, MANY);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, spin_in_a_thread, &stop), 0);
	updates = vmstat("numa_pte_updates ");
	/* What nobody touches is counted once. */
	scanned = EVENTUALLY(vmstat("numa_pte_updates ") - updates >= MANY);
	for (int i = 0; i < 20 && scanned; i++)
		nap();
	all = EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), MANY * PAGE);
	faults = fdinfo(f->ctl, "faults");
	atomic_store(&stop, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	put_text("/proc/sys/kernel/numa_balancing", "0");
	for (int i = 0; i < 4; i++)
		put_text(numa_knobs[i][0], numa_knobs[i][1]);
	if (!scanned)
		SKIP("NUMA balancing does not scan");
	print_message("# %lu faults, %lu with those of the source\n", faults, all);
	/* A scan in between takes back what has been mapped, and more than once. */
	assert_in_range(faults, 4, MANY / 4);
	assert_in_range(all, 4, MANY / 2);
}

/* Each a window away from the last; and what is between is not mapped. */
static void random_touches_do_not_grow_it(struct fixture *f)
{
	unsigned long faults, between = 0;

	set_module_param(f, "fault_around_pages", 16);
	many_warm_pages(f, MANY);
	for (unsigned long i = 0; i < 24; i++)
		READS(f, i * 7 % 24 * 32, 0);
	faults = fdinfo(f->ctl, "faults");
	assert_in_range(faults, 20, 26);
	for (unsigned long i = 0; i < 23; i++) {
		READS(f, i * 32 + 16, 0);
		between++;
	}
	assert_in_range(fdinfo(f->ctl, "faults") - faults, between / 2, between + 4);
}

/* Nor do touches of which each has a page a window behind it, but none before it. */
static void touches_with_gaps_do_not_grow_it(struct fixture *f)
{
	const unsigned long touches = 24;
	unsigned long middle;

	set_module_param(f, "fault_around_pages", 16);
	many_warm_pages(f, MANY);
	/* Of a window, which is aligned by address. */
	middle = (8 - AT(f, 0) / PAGE) % 16;
	for (unsigned long i = 0; i < touches; i++)
		READS(f, i * 16 + middle, 0);
	assert_in_range(fdinfo(f->ctl, "faults"), touches - 2, touches + 4);
}

/* A sequence has grown it; what comes at random afterwards finds it small. */
static void window_is_small_again(struct fixture *f)
{
	const unsigned long touches = 12;
	unsigned long faults;

	set_module_param(f, "fault_around_pages", 16);
	many_warm_pages(f, 2 * MANY);
	EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), MANY / 2 * PAGE);
	faults = fdinfo(f->ctl, "faults");
	assert_in_range(faults, 4, MANY / 2 / 16 / 2);
	for (unsigned long i = 0; i < touches; i++)
		READS(f, MANY + i * 5 % touches * 64, 0);
	assert_in_range(fdinfo(f->ctl, "faults") - faults, touches - 2, touches + 4);
	faults = fdinfo(f->ctl, "faults");
	for (unsigned long i = 0; i < touches; i++)
		READS(f, MANY + i * 64 + 16, 0);
	assert_in_range(fdinfo(f->ctl, "faults") - faults, touches / 2, touches + 4);
}

static long long blocks(int fd)
{
	struct stat st;

	EXPECT_OK(fsync(fd));
	EXPECT_OK(fstat(fd, &st));
	return st.st_blocks;
}

/* What a sequence of writes allocates ahead is one window at most. */
static void sequence_allocates_a_window_ahead(struct fixture *f)
{
	const unsigned long touched = 120, window = 16;
	int sparse = backing_create(f->backing, MANY * PAGE);
	long long before, pages;

	assert_true(sparse >= 0);
	before = blocks(sparse);
	set_module_param(f, "fault_around_pages", window);
	EXPECT_OK(mv_map(f->ctl, sparse, 0, MANY * PAGE, 0, RW));
	for (unsigned long i = 0; i < touched; i++) {
		if (f->tc->param)
			WRITES(f, i, WORD(i));
		else
			READS(f, i, 0);
	}
	pages = (blocks(sparse) - before) / (PAGE / 512);
	assert_in_range(pages, f->tc->param ? touched : 0, touched + window);
	/* The control: it did, or one fault for each page would be the same. */
	if (f->tc->param && f->backing == MEMFD)
		assert_true(fdinfo(f->ctl, "faults") < touched / 2);
	else if (!f->tc->param && f->backing != EXT4)	/* which has large folios */
		assert_in_range(pages, 0, touched);
	for (unsigned long i = 0; i < touched + window; i++)
		READS(f, i, f->tc->param && i < touched ? WORD(i) : 0);
}

enum order { ANY_ORDER, PAIRS };

/* The @i-th page of an order; each comes once. */
static unsigned long nth_page(enum order order, unsigned long i)
{
	if (order == ANY_ORDER)
		return (i * i * 250 + i * 2741 + 1000) % VIEW_PAGES;
	/* One a window behind the last, and one just before it. */
	return i / 3 * 32 + (const unsigned long[]){ 0, 15, 16 }[i % 3];
}

/* Address, order, touches: writes to a page each. */
static long op_write_pages(const long *a)
{
	for (long i = 0; i < a[2]; i++)
		*(volatile uint64_t *)(a[0] + nth_page(a[1], i) * PAGE) = 1;
	return 0;
}

/* A tenth of a sparse file, through a view and through plain mmap (control). */
static void random_writes_allocate_what_they_touch(struct fixture *f)
{
	const unsigned long touches = 384;
	int sparse = backing_create(f->backing, VIEW_PAGES * PAGE);
	int control = backing_create(f->backing, VIEW_PAGES * PAGE);
	unsigned long addr;

	assert_true(sparse >= 0 && control >= 0);
	set_module_param(f, "fault_around_pages", 16);
	EXPECT_OK(mv_map(f->ctl, sparse, 0, VIEW_PAGES * PAGE, 0, RW));
	addr = EXPECT_CALL(f->peer, op_mmap, peer_send_fd(f->peer, control),
			   VIEW_PAGES * PAGE, PROT_READ | PROT_WRITE, 0);
	EXPECT_CALL(f->peer, op_write_pages, AT(f, 0), f->tc->param, touches);
	EXPECT_CALL(f->peer, op_write_pages, addr, f->tc->param, touches);
	assert_in_range(blocks(sparse), touches * (PAGE / 512),
			blocks(control) + blocks(control) / 50);
}

static void get_info_tells_the_window(struct fixture *f)
{
	struct memview_info info;

	set_module_param(f, "fault_around_pages", 4);
	EXPECT_OK(mv_info(f->ctl, &info));
	assert_int_equal(info.fault_around, 4);
}

/* One page of a sparse file, through a view and through plain mmap (control). */
static void holes_are_not_allocated(struct fixture *f)
{
	bool write = f->tc->param;
	int sparse = backing_create(f->backing, f->file_size);
	int control = backing_create(f->backing, f->file_size);
	unsigned long at = 20 * PAGE, addr;
	uint32_t rights = write ? RW : R;

	assert_true(sparse >= 0 && control >= 0);
	assert_int_equal(blocks(sparse), blocks(control));
	EXPECT_OK(mv_map(f->ctl, sparse, 0, f->file_size, 0, rights));
	addr = EXPECT_CALL(f->peer, op_mmap, peer_send_fd(f->peer, control), f->file_size,
			   PROT_READ | (write ? PROT_WRITE : 0), 0);
	if (write) {
		EXPECT_VALUE(0, CALL(f->peer, op_write, f->view + at, 1));
		EXPECT_VALUE(0, CALL(f->peer, op_write, addr + at, 1));
	} else {
		EXPECT_VALUE(0, CALL(f->peer, op_read, f->view + at));
		EXPECT_VALUE(0, CALL(f->peer, op_read, addr + at));
	}
	assert_int_equal(blocks(sparse), blocks(control));
}

static void window_ends_with_the_range(struct fixture *f)
{
	map_pages(f, 5, 5, 3, RW);
	warm_up(f, 5, 3);
	READS(f, 6, WORD(6));
	READ_SIGBUS(f, 4);
	READ_SIGBUS(f, 8);
	/* A neighbour with other pages, and one with fewer rights. */
	map_pages(f, 8, 40, 1, RW);
	map_pages(f, 4, 4, 1, R);
	unmap_pages(f, 5, 3);
	map_pages(f, 5, 5, 3, RW);
	WRITES(f, 6, 1);
	READS(f, 8, WORD(40));
	READS(f, 4, WORD(4));
	WRITE_SEGV(f, 4);
	for (int i = 5; i < 8; i++)
		WRITES(f, i, 1);
}

static void window_follows_offsets(struct fixture *f)
{
	/* Each page of the view in another order than in the file. */
	for (unsigned long i = 0; i < 32; i++)
		map_pages(f, i, 31 - i, 1, RW);
	for (unsigned long i = 0; i < 32; i++)
		READS(f, i, WORD(31 - i));
	/* A range that begins in the middle of a window of the file. */
	map_pages(f, 100, 9, 20, RW);
	for (unsigned long i = 0; i < 20; i++)
		READS(f, 100 + i, WORD(9 + i));
}

static void window_ends_with_the_mapping(struct fixture *f)
{
	unsigned long area = EXPECT_CALL(f->peer, op_reserve, 16 * PAGE), addr;

	map_pages(f, 0, 0, FILE_PAGES, RW);
	addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 16 * PAGE, PROT_READ, 0);
	EXPECT_CALL(f->peer, op_munmap, addr, 5 * PAGE);
	EXPECT_CALL(f->peer, op_munmap, addr + 8 * PAGE, 8 * PAGE);
	EXPECT_VALUE(WORD(6), CALL(f->peer, op_read, addr + 6 * PAGE));
	EXPECT_VALUE(WORD(5), CALL(f->peer, op_read, addr + 5 * PAGE));
	EXPECT_VALUE(WORD(7), CALL(f->peer, op_read, addr + 7 * PAGE));
	EXPECT_CALL(f->peer, op_munmap, addr + 5 * PAGE, 3 * PAGE);
	EXPECT_SEGV(area, CALL(f->peer, op_read, area));
}

/* ---- fdinfo ---- */

static void fdinfo_counts(struct fixture *f)
{
	unsigned long long faults, zaps;

	assert_int_equal(fdinfo(f->ctl, "size"), VIEW_PAGES * PAGE);
	assert_int_equal(fdinfo(f->ctl, "ranges"), 0);
	assert_int_equal(fdinfo(f->ctl, "sources"), 0);
	assert_int_equal(fdinfo(f->ctl, "faults"), 0);
	map_pages(f, 0, 0, 8, RW);
	map_pages(f, 16, 0, 8, RW);
	assert_int_equal(fdinfo(f->ctl, "ranges"), 2);
	assert_int_equal(fdinfo(f->ctl, "sources"), 1);
	READS(f, 3, WORD(3));
	faults = fdinfo(f->ctl, "faults");
	zaps = fdinfo(f->ctl, "zaps");
	assert_true(faults >= 1);
	unmap_pages(f, 0, 8);
	assert_true(fdinfo(f->ctl, "zaps") > zaps);
	assert_int_equal(fdinfo(f->ctl, "ranges"), 1);
	EXPECT_OK(mv_set_size(f->ctl, 4 * PAGE));
	assert_int_equal(fdinfo(f->ctl, "size"), 4 * PAGE);
	assert_int_equal(fdinfo(f->ctl, "ranges"), 0);
}

/* ---- tracepoints ---- */

#define TRACEFS "/sys/kernel/tracing/"

static bool trace_write(const char *file, const char *text)
{
	char path[128];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), TRACEFS "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

static void other_cpus_online(void)
{
	set_other_cpus("1");
}

static const char * const events[] = {
	"memview_map", "memview_unmap", "memview_protect", "memview_fault",
	"memview_invalidate", "memview_revoke",
};

static void need_tracefs(void)
{
	if (access(TRACEFS "trace", F_OK) &&
	    mount("tracefs", TRACEFS, "tracefs", 0, NULL))
		SKIP("no tracefs");
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1) {
		atexit(other_cpus_online);	/* should an assertion end this */
		assert_true(set_other_cpus("0"));
	}
}

static void tracepoint_fires(struct fixture *f)
{
	const char *event = events[f->tc->param];
	char enable[96], want[64], line[512];
	bool found = false;
	FILE *trace;

	need_tracefs();
	snprintf(enable, sizeof(enable), "events/memory_view/%s/enable", event);
	snprintf(want, sizeof(want), " %s: ", event);
	assert_true(trace_write("trace", "\n"));
	assert_true(trace_write(enable, "1"));

	map_pages(f, 0, 0, 8, RW);
	READS(f, 0, WORD(0));
	protect_pages(f, 0, 8, R);
	EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
	unmap_pages(f, 0, 8);
	EXPECT_OK(mv_revoke(f->ctl));

	assert_true(trace_write(enable, "0"));
	trace = fopen(TRACEFS "trace", "re");
	assert_non_null(trace);
	while (fgets(line, sizeof(line), trace))
		found |= line[0] != '#' && strstr(line, want);
	fclose(trace);
	other_cpus_online();
	assert_true(found);
}

#define SHMEM_ENABLED "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define LOCK_EVENT "mmap_lock/mmap_lock_acquire_returned"

/*
 * How often the trace has a process getting the mmap_lock of an address space,
 * which is the first that process @owner has got.
 */
static unsigned long count_locks(pid_t pid, pid_t owner)
{
	char line[512], by[32], by_owner[32], mm[64] = "";
	unsigned long nr = 0;
	FILE *trace = fopen(TRACEFS "trace", "re");

	assert_non_null(trace);
	snprintf(by, sizeof(by), "-%d ", pid);
	snprintf(by_owner, sizeof(by_owner), "-%d ", owner);
	while (fgets(line, sizeof(line), trace)) {
		char *at = strstr(line, " mm=");

		if (line[0] == '#' || !at || !strstr(line, "success=true"))
			continue;
		if (!mm[0] && strstr(line, by_owner))
			assert_int_equal(sscanf(at, " mm=%60s", mm), 1);
		else if (mm[0] && strstr(line, by))
			nr += !strncmp(at + 4, mm, strlen(mm));
	}
	fclose(trace);
	return nr;
}

/*
 * Each fault in an empty part of the page table, where a kernel that can would
 * rather have a huge entry: what has small pages must not cost two faults.
 */
static void fault_takes_the_controllers_lock_once(struct fixture *f)
{
	const unsigned long block = HUGE_SIZE / PAGE, nr = 32;
	unsigned long addr, faults, locks;
	int file;

	need_tracefs();
	if (access(TRACEFS "events/" LOCK_EVENT, F_OK))
		SKIP("no tracepoint for mmap_lock");
	/* Then it has addresses that are good for huge entries, but none yet. */
	put_text(SHMEM_ENABLED, "advise");
	file = backing_create(MEMFD, nr * HUGE_SIZE);
	assert_true(file >= 0);
	EXPECT_OK(mv_set_size(f->ctl, nr * HUGE_SIZE));
	EXPECT_OK(mv_map(f->ctl, file, 0, nr * HUGE_SIZE, 0, RW));
	put_text(SHMEM_ENABLED, "never");
	addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, nr * HUGE_SIZE,
			   PROT_READ | PROT_WRITE, 0);
	for (unsigned long i = 0; i < nr; i++)
		warm_up(f, i * block, 1);

	assert_true(trace_write("trace", "\n"));
	assert_true(trace_write("events/" LOCK_EVENT "/enable", "1"));
	EXPECT_OK(munmap(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			 PAGE));
	faults = fdinfo(f->ctl, "faults");
	for (unsigned long i = 0; i < nr; i++)
		EXPECT_VALUE(0, CALL(f->peer, op_read, addr + i * HUGE_SIZE));
	faults = fdinfo(f->ctl, "faults") - faults;
	assert_true(trace_write("events/" LOCK_EVENT "/enable", "0"));
	locks = count_locks(f->peer->pid, getpid());
	other_cpus_online();
	assert_true(faults >= nr);
	/* A few more where somebody has it, and the fault comes again. */
	assert_in_range(locks, nr, faults + nr / 4);
}

static const struct test_case cases[] = {
	CASE_ON(one_fault_maps_its_neighbours, ON_ALL),
	CASE_ON(window_of_one_page_faults_for_each, ON_ALL),
	CASE_VARIANT(sequence_grows_the_window, "16 pages", 16),
	CASE_VARIANT(sequence_grows_the_window, "4 pages", 4),
	CASE_VARIANT(sequence_grows_the_window, "1 page", 1),
	CASE(cold_sequence_grows_the_window),
	CASE(hints_of_numa_balancing_cost_no_faults),
	CASE(random_touches_do_not_grow_it),
	CASE(touches_with_gaps_do_not_grow_it),
	CASE(window_is_small_again),
	{ .name = "sequence_allocates_a_window_ahead",
	  .run = sequence_allocates_a_window_ahead,
	  .backings = ON(MEMFD) | ON(TMPFS) | ON(EXT4), .variant = "read", .param = 0 },
	{ .name = "sequence_allocates_a_window_ahead",
	  .run = sequence_allocates_a_window_ahead,
	  .backings = ON(MEMFD) | ON(TMPFS) | ON(EXT4), .variant = "write", .param = 1 },
	{ .name = "random_writes_allocate_what_they_touch",
	  .run = random_writes_allocate_what_they_touch,
	  .backings = ON(MEMFD) | ON(TMPFS), .variant = "any order", .param = ANY_ORDER },
	{ .name = "random_writes_allocate_what_they_touch",
	  .run = random_writes_allocate_what_they_touch,
	  .backings = ON(MEMFD) | ON(TMPFS), .variant = "pairs", .param = PAIRS },
	CASE(get_info_tells_the_window),
	{ .name = "holes_are_not_allocated", .run = holes_are_not_allocated,
	  .backings = ON_ALL, .variant = "read", .param = 0 },
	{ .name = "holes_are_not_allocated", .run = holes_are_not_allocated,
	  .backings = ON_ALL, .variant = "write", .param = 1 },
	CASE_ON(window_ends_with_the_range, ON_ALL),
	CASE_ON(window_follows_offsets, ON_ALL),
	CASE(window_ends_with_the_mapping),
	CASE(fdinfo_counts),
	CASE_VARIANT(tracepoint_fires, "map", 0),
	CASE_VARIANT(tracepoint_fires, "unmap", 1),
	CASE_VARIANT(tracepoint_fires, "protect", 2),
	CASE_VARIANT(tracepoint_fires, "fault", 3),
	CASE_VARIANT(tracepoint_fires, "invalidate", 4),
	CASE_VARIANT(tracepoint_fires, "revoke", 5),
	CASE(fault_takes_the_controllers_lock_once),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "around", cases);
}
