// SPDX-License-Identifier: GPL-2.0
/*
 * Very many ranges: each costs a table entry, never a mapping in the controller
 * or in the peer. With MEMVIEW_SLOW=1 in the environment, a million.
 */
#include "adv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long many(void)
{
	return getenv("MEMVIEW_SLOW") ? 1000000 : 1UL << 17;
}

static long op_vm_size(const long *a)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	(void)a;
	if (!file)
		return -1;
	if (fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages;
}

/*
 * Page i of the view is page n - 1 - i of the file, so that no two ranges could
 * ever be one.
 */
static void each_range_costs_no_mapping(struct fixture *f)
{
	unsigned long n = many(), seen = 0;
	static struct memview_range_info ranges[4096];
	struct memview_query_info q = { 0 };
	long size, peer_size, maps, peer_maps;
	int file = backing_create(MEMFD, n * PAGE);
	unsigned long addr;
	uint64_t bytes;

	if (module_param("max_ranges") < n)
		set_module_param(f, "max_ranges", n);
	EXPECT_OK(mv_set_size(f->ctl, n * PAGE));
	addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, n * PAGE,
			   PROT_READ | PROT_WRITE, 0);
	/* The first range brings a mapping. */
	EXPECT_OK(mv_map(f->ctl, file, (n - 1) * PAGE, PAGE, 0, RW));
	EXPECT_VALUE(0, CALL(f->peer, op_read, addr));
	maps = PROBE(op_nr_maps).ret;
	size = PROBE(op_vm_size).ret;
	peer_maps = EXPECT_CALL(f->peer, op_nr_maps);
	peer_size = EXPECT_CALL(f->peer, op_vm_size);

	for (unsigned long i = 1; i < n; i++) {
		if (mv_map(f->ctl, file, (n - 1 - i) * PAGE, PAGE, i * PAGE, RW))
			fail_msg("range %lu: %s", i, strerrorname_np(errno));
	}
	assert_int_equal(nr_ranges(f->ctl), n);
	/*
	 * Eight mappings of each power of two there are until they have covered the
	 * file; and little more than the file they cover.
	 */
	assert_in_range(PROBE(op_nr_maps).ret, 1, maps + 8 * 18 + n / 262144);
	assert_in_range(PROBE(op_vm_size).ret, 1, size + 2 * n + 1024);
	assert_in_range(EXPECT_CALL(f->peer, op_nr_maps), 1, peer_maps);
	assert_in_range(EXPECT_CALL(f->peer, op_vm_size), 1, peer_size + 64);

	/* All are there, in order. */
	while (q.mem_offset < n * PAGE) {
		EXPECT_OK(mv_query(f->ctl, q.mem_offset, ranges, 4096, &q));
		assert_int_equal(q.total, n);
		for (uint32_t i = 0; i < q.count; i++, seen++) {
			if (ranges[i].mem_offset != seen * PAGE ||
			    ranges[i].fd_offset != (n - 1 - seen) * PAGE)
				fail_msg("range %lu is wrong", seen);
		}
	}
	assert_int_equal(seen, n);

	/* And work. */
	for (unsigned long i = 0; i < n; i += n / 61) {
		EXPECT_VALUE(0, CALL(f->peer, op_write, addr + i * PAGE, i + 1));
		assert_int_equal(file_word(file, (n - 1 - i) * PAGE), i + 1);
	}
	EXPECT_OK(mv_unmap(f->ctl, n / 2 * PAGE, PAGE, &bytes));
	assert_int_equal(bytes, PAGE);
	EXPECT_SIGBUS(addr + n / 2 * PAGE, CALL(f->peer, op_read, addr + n / 2 * PAGE));
	EXPECT_OK(mv_protect(f->ctl, 0, n / 2 * PAGE, R));
	EXPECT_SEGV(addr, CALL(f->peer, op_write, addr, 1));
	EXPECT_VALUE(1, CALL(f->peer, op_read, addr));
	EXPECT_OK(mv_unmap(f->ctl, 0, n * PAGE, &bytes));
	assert_int_equal(bytes, (n - 1) * PAGE);
	EXPECT_SIGBUS(addr, CALL(f->peer, op_read, addr));
	assert_int_equal(nr_ranges(f->ctl), 0);
}

/* Many ranges of one page, each of which a hole punched must find. */
static void one_page_in_very_many_ranges(struct fixture *f)
{
	unsigned long n = VIEW_PAGES;

	for (unsigned long i = 0; i < n; i++)
		map_pages(f, i, 3, 1, i & 1 ? RW : R);
	for (unsigned long i = 0; i < n; i += 97)
		READS(f, i, WORD(3));
	EXPECT_OK(ftruncate(f->file, 3 * PAGE));
	for (unsigned long i = 0; i < n; i += 97)
		READ_SIGBUS(f, i);
	EXPECT_OK(ftruncate(f->file, FILE_PAGES * PAGE));
	for (unsigned long i = 0; i < n; i += 97)
		READS(f, i, 0);
	EXPECT_OK(mv_revoke(f->ctl));
	for (unsigned long i = 0; i < n; i += 97)
		READ_SIGBUS(f, i);
}

#define GROUP "/sys/fs/cgroup/scale"

static void enter_cgroup(const char *path)
{
	FILE *procs = fopen(path, "we");

	if (!procs || fputs("0", procs) < 0 || fclose(procs))
		SKIP("%s: %s", path, strerror(errno));
}

static unsigned long slab_of_group(void)
{
	unsigned long value, slab = 0;
	char key[64];
	FILE *stat;

	/* Every two seconds the kernel adds up what the CPUs have counted. */
	sleep(5);
	stat = fopen(GROUP "/memory.stat", "re");
	while (stat && fscanf(stat, "%63s %lu", key, &value) == 2)
		if (!strcmp(key, "slab"))
			slab = value;
	if (stat)
		fclose(stat);
	return slab;
}

/* A controller cannot make the kernel pay for its table. */
static void ranges_are_charged_to_the_controller(struct fixture *f)
{
	const unsigned long n = 1UL << 15;
	unsigned long before, after;
	int file = backing_create(MEMFD, n * PAGE);
	uint64_t bytes;

	if (mkdir(GROUP, 0755))
		SKIP("no cgroup2: %s", strerror(errno));
	enter_cgroup(GROUP "/cgroup.procs");
	EXPECT_OK(mv_set_size(f->ctl, n * PAGE));
	EXPECT_OK(mv_map(f->ctl, file, 0, PAGE, 0, R));
	before = slab_of_group();
	for (unsigned long i = 1; i < n; i++) {
		if (mv_map(f->ctl, file, i * PAGE, PAGE, i * PAGE, R))
			fail_msg("range %lu: %s", i, strerrorname_np(errno));
	}
	after = slab_of_group();
	enter_cgroup("/sys/fs/cgroup/cgroup.procs");
	EXPECT_OK(mv_unmap(f->ctl, 0, n * PAGE, &bytes));
	rmdir(GROUP);
	/*
	 * At least the two tree nodes of each range; at most 128 bytes, but for
	 * KASAN. Charges are counted by the page.
	 */
	assert_in_range(after - before, n * 64,
			has_kasan() ? n * 256 : n * 128 + 8 * PAGE);
}

#define STATUS	"/proc/self/status"

/* Address, length, stride: writes there -> KiB of page tables that this takes. */
static long op_tables(const long *a)
{
	long before;

	/* Twice: what the call itself needs is there then. */
	get_field(STATUS, "VmPTE");
	before = get_field(STATUS, "VmPTE");
	for (long i = 0; i < a[1]; i += a[2])
		*(volatile char *)(a[0] + i) = 1;
	return get_field(STATUS, "VmPTE") - before;
}

/* The same in a fresh peer that maps the start of a file, or a view. */
static long tables_of_peer(struct fixture *f, int fd, size_t stride)
{
	unsigned long at;
	struct peer *p = another_peer(f, fd, PROT_READ | PROT_WRITE, &at);

	return EXPECT_CALL(p, op_tables, at, VIEW_PAGES * PAGE, stride);
}

#define ADOPTED	1UL

/*
 * Two peers, each with a view of its own of one file: they need no more than to
 * map the file itself, and together one set of page tables in the controller, or
 * none where it has one already.
 */
static void view_needs_no_more_page_tables(struct fixture *f)
{
	const long few = 3 * PAGE / 1024, some = VIEW_PAGES * PAGE / HUGE_SIZE;
	size_t size = VIEW_PAGES * PAGE, stride = f->tc->param & ~ADOPTED;
	int file = backing_create(MEMFD, size);
	int ctl = EXPECT_OK(mv_open());
	long plain, before, first, second, grown;
	char *map;

	assert_true(file >= 0);
	plain = tables_of_peer(f, file, stride);
	/* Shows that they can be seen. */
	assert_in_range(plain, some * PAGE / 1024, some * PAGE / 1024 + few);

	EXPECT_OK(mv_set_size(ctl, size));
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	if (f->tc->param & ADOPTED) {
		PROBE(op_tables, (long)map, size, stride);
		EXPECT_OK(mv_adopt(f->ctl, file, 0, size, 0, RW, map));
		EXPECT_OK(mv_adopt(ctl, file, 0, size, 0, RW, map));
	} else {
		EXPECT_OK(mv_map(f->ctl, file, 0, size, 0, RW));
		EXPECT_OK(mv_map(ctl, file, 0, size, 0, RW));
	}
	/* Those of the case before would make up for what this one takes. */
	drop_old_sources();
	before = get_field(STATUS, "VmPTE");
	first = tables_of_peer(f, f->viewfd, stride);
	second = tables_of_peer(f, EXPECT_OK(mv_viewfd(ctl)), stride);
	grown = get_field(STATUS, "VmPTE") - before;
	print_message("# KiB: plain %ld, views %ld %ld, controller %ld\n", plain,
		      first, second, grown);
	assert_in_range(first, 0, plain + few);
	assert_in_range(second, 0, plain + few);
	assert_true(grown <= (f->tc->param & ADOPTED ? 0 : plain) + few);
	EXPECT_OK(munmap(map, size));
	EXPECT_OK(mv_revoke(ctl));
	close(ctl);
	close(file);
}

static void size_costs_nothing(struct fixture *f)
{
	struct memview_info info;
	unsigned long far, addr;

	EXPECT_OK(mv_info(f->ctl, &info));
	EXPECT_OK(mv_set_size(f->ctl, info.max_size));
	far = (1UL << 42) / PAGE;
	map_pages(f, far, 5, 2, RW);
	addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 1UL << 43,
			   PROT_READ | PROT_WRITE, 0, MAP_SHARED | MAP_NORESERVE);
	EXPECT_VALUE(WORD(6), CALL(f->peer, op_read, addr + (far + 1) * PAGE));
	EXPECT_SIGBUS(addr, CALL(f->peer, op_read, addr));
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_SIGBUS(addr + far * PAGE, CALL(f->peer, op_read, addr + far * PAGE));
}

static void many_views_of_one_controller(struct fixture *f)
{
	enum { N = 100 };
	unsigned long addr[N];
	int ctl[N];

	for (int i = 0; i < N; i++) {
		int fd;

		ctl[i] = EXPECT_OK(mv_open());
		EXPECT_OK(mv_set_size(ctl[i], 8 * PAGE));
		EXPECT_OK(mv_map(ctl[i], f->file, i % 8 * PAGE, 4 * PAGE, 0, i & 1 ? RW : R));
		fd = peer_send_fd(f->peer, EXPECT_OK(mv_viewfd(ctl[i])));
		addr[i] = EXPECT_CALL(f->peer, op_mmap, fd, 8 * PAGE,
				      PROT_READ | PROT_WRITE, 0);
		EXPECT_CALL(f->peer, op_close, fd);
	}
	for (int i = 0; i < N; i++)
		EXPECT_VALUE(WORD(i % 8), CALL(f->peer, op_read, addr[i]));
	for (int i = 0; i < N; i += 3)
		EXPECT_OK(mv_revoke(ctl[i]));
	for (int i = 0; i < N; i++) {
		if (i % 3)
			EXPECT_VALUE(WORD(i % 8), CALL(f->peer, op_read, addr[i]));
		else
			EXPECT_SIGBUS(addr[i], CALL(f->peer, op_read, addr[i]));
	}
}

static const struct test_case cases[] = {
	CASE(each_range_costs_no_mapping),
	CASE_ON(one_page_in_very_many_ranges, ON_SMALL),
	CASE(ranges_are_charged_to_the_controller),
	CASE_VARIANT(view_needs_no_more_page_tables, "each page", PAGE),
	CASE_VARIANT(view_needs_no_more_page_tables, "each page, adopted",
		     PAGE | ADOPTED),
	CASE_VARIANT(view_needs_no_more_page_tables, "a page in 2 MiB", HUGE_SIZE),
	CASE_VARIANT(view_needs_no_more_page_tables, "a page in 2 MiB, adopted",
		     HUGE_SIZE | ADOPTED),
	CASE(size_costs_nothing),
	CASE(many_views_of_one_controller),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "scale", cases);
}
