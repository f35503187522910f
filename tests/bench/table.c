// SPDX-License-Identifier: GPL-2.0
/* The table of benchmarks: names, units, rivals, functions. */
#include "bench.h"

#define FIGURE(variant, per)	.figures = { { variant, per } }
#define PARAM(type, ...)	.param = &(const struct type){ __VA_ARGS__ }

#define FAULT(what, variant, ...) {					\
	.name = what, FIGURE(variant, "/page"), .shared = 32 * MIB,	\
	.view = fault_view, .rivals = { { "plain mmap", fault_plain } },	\
	PARAM(fault_param, __VA_ARGS__),				\
}
#define ALL_PAGES	.size = 32 * MIB, .touches = 8192

#define FAULT_HUGE(variant, of_source) {					\
	.name = "fault-huge", FIGURE(variant, "/2 MiB"),		\
	.missing = no_huge_views, .setup = fault_huge_setup,		\
	.cleanup = release_huge_pages,					\
	.view = fault_view, .rivals = { { "plain mmap", fault_plain } },	\
	PARAM(fault_param, .state = of_source, .write = true,		\
	      .page = HUGE_PAGE, .size = 128 * MIB, .touches = 64),	\
}

#define FAULT_NUMA(variant, to_write) {					\
	.name = "fault-numa",						\
	.figures = { { variant, "/page" },				\
		     { variant ", faults", "faults/page" } },		\
	.missing = no_numa_balancing,					\
	.setup = numa_setup, .cleanup = numa_cleanup,			\
	.view = numa_view, .rivals = { { "plain mmap", numa_plain } },	\
	PARAM(numa_param, .write = to_write),				\
}

#define POPULATE(what, bytes, no_pages) {				\
	.name = "populate",						\
	.figures = { { what, "/page" },					\
		     { "first write after, " what, "/page" } },		\
	.shared = bytes, .missing = no_populate,			\
	.view = populate_view,						\
	.rivals = { { "MADV_POPULATE_WRITE", populate_plain } },	\
	PARAM(populate_param, .holes = no_pages, .size = bytes),	\
}

#define STEADY(what, variant, why_not, ...) {				\
	.name = what, FIGURE(variant, "/access"),			\
	.shared = 256 * MIB, .keep = true, .missing = why_not,		\
	.setup = steady_setup, .cleanup = steady_cleanup,		\
	.view = steady_view, .rivals = { { "plain mmap", steady_plain } },	\
	PARAM(steady_param, __VA_ARGS__),				\
}

#define UNMAP(what, variant, why_not, way, ...) {			\
	.name = what, FIGURE(variant, "/op"),				\
	.shared = 64 * MIB, .missing = why_not,				\
	.view = unmap_view, .rivals = { way },				\
	PARAM(unmap_param, __VA_ARGS__),				\
}
#define PUNCH		{ "fallocate(PUNCH_HOLE)", unmap_punch }
#define OWN		{ "munmap+mmap", unmap_own }
#define ONE_PAGE	.size = 4 * MIB, .step = PAGE, .stride = 2 * PAGE
/* Fewer: an interrupt to another virtual CPU takes what the host makes of it. */
#define FEW_PAGES	.size = MIB / 2, .step = PAGE, .stride = 2 * PAGE
#define ALL_64M		.size = 64 * MIB, .step = 64 * MIB, .stride = 64 * MIB

#define MAP_BATCH(way, why_not, fn) {					\
	.name = "map-batch", FIGURE(way, "/page"),			\
	.shared = 16 * MIB, .missing = why_not,				\
	.view = fn, .rivals = { { "mmap", map_batch_mmap } },		\
}
#define UNMAP_BATCH(way, why_not, fn) {					\
	.name = "unmap-batch", FIGURE(way, "/page"),			\
	.shared = 16 * MIB, .missing = why_not,				\
	.view = fn, .rivals = { { "munmap", unmap_batch_munmap } },	\
}

#define REMOTE(variant, why_not, ...) {					\
	.name = "remote-map", FIGURE(variant, "/map and unmap"),	\
	.shared = MIB, .missing = why_not,				\
	.view = remote_view,						\
	.rivals = { { "ptrace", remote_ptrace }, { "stub", remote_stub } },	\
	PARAM(remote_param, __VA_ARGS__),				\
}

#define REVOKE(variant, why_not, sibling) {				\
	.name = "revoke-cooperative", FIGURE(variant, "/region"),	\
	.shared = 32 * MIB, .missing = why_not,				\
	.view = revoke_view, .rivals = { { "message", revoke_message } },	\
	PARAM(revoke_param, .busy = sibling),				\
}

#define RANGES(n, nr) {							\
	.name = "ranges-scaling",					\
	.figures = { { "map, " n, "/op" }, { "fault, " n, "/op" },	\
		     { "unmap, " n, "/op" } },				\
	.keep = true, .setup = ranges_setup,				\
	.view = ranges_view, .rivals = { { "plain mmap", ranges_plain } },	\
	PARAM(ranges_param, .ranges = nr),				\
}
/* With so many that the pages of the slabs can be told from noise. */
#define MANY_RANGES(n, nr) {						\
	.name = "ranges-scaling",					\
	.figures = { { "map, " n, "/op" }, { "fault, " n, "/op" },	\
		     { "unmap, " n, "/op" }, { "memory, " n, "bytes/range" } },	\
	.keep = true, .setup = ranges_setup,				\
	.view = ranges_view, .rivals = { { "plain mmap", ranges_plain } },	\
	PARAM(ranges_param, .ranges = nr),				\
}

#define NO_MEMORY(n) {							\
	.name = "ranges-scaling", FIGURE("memory, " n, "bytes/range"),	\
	.missing = too_few_ranges,					\
}

#define THREADS(variant, why_not, t, p) {				\
	.name = "threads-scaling", FIGURE(variant, "/page"),		\
	.shared = 32 * MIB, .missing = why_not,				\
	.view = threads_view, .rivals = { { "plain mmap", threads_plain } },	\
	PARAM(threads_param, .threads = t, .peers = p),			\
}

#define NO_VIEW		{ "no view", invalidate_none }
#define NO_VIEW_BUT(n)	NO_VIEW, { "no view, " n, invalidate_plain }
#define INVALIDATE(variant, nr, all, own, ...) {				\
	.name = "invalidate", FIGURE(variant, "/page"),			\
	.shared = 4 * MIB,						\
	.view = invalidate_view, .rivals = { __VA_ARGS__ },		\
	PARAM(invalidate_param, .views = nr, .truncate = all,		\
	      .adopted = own),						\
}

const struct bench bench_table[] = {
	FAULT("fault-first-write", "", .state = HOLES, .write = true,
	      .size = 8 * MIB, .touches = 2048),
	FAULT("fault-first-write", "random", .state = HOLES, .write = true,
	      .random = true, .size = 8 * MIB, .touches = 2048),
	FAULT("fault-cold-write", "", ALL_PAGES, .state = COLD, .write = true),
	FAULT("fault-cold-read", "", ALL_PAGES, .state = COLD),
	FAULT("fault-cold-read", "random", ALL_PAGES, .state = COLD,
	      .random = true),
	FAULT("fault-warm-write", "", ALL_PAGES, .state = WARM, .write = true),
	FAULT("fault-warm-write", "adopted", ALL_PAGES, .state = WARM, .write = true,
	      .adopted = true),
	FAULT("fault-warm-read", "", ALL_PAGES, .state = WARM),
	FAULT("fault-warm-read", "adopted", ALL_PAGES, .state = WARM, .adopted = true),
	FAULT("fault-random-read", "all pages", ALL_PAGES, .state = WARM,
	      .random = true),
	FAULT("fault-random-read", "one page in 32", .state = WARM,
	      .random = true, .size = 32 * MIB, .touches = 256),
	FAULT_HUGE("", WARM),
	FAULT_HUGE("cold", COLD),
	{
		.name = "fault-huge", FIGURE("1 GiB", "/1 GiB"),
		.missing = no_gigantic_views, .setup = fault_gigantic_setup,
		.cleanup = fault_gigantic_cleanup,
		.view = fault_view, .rivals = { { "plain mmap", fault_plain } },
		PARAM(fault_param, .state = WARM, .write = true,
		      .page = GIGANTIC_PAGE, .size = GIGANTIC_PAGE, .touches = 1),
	},

	FAULT_NUMA("read", false),
	FAULT_NUMA("write", true),

	POPULATE("holes", 8 * MIB, true),
	POPULATE("cold", 32 * MIB, false),

	STEADY("steady-read", "4K", NULL, .write = false),
	STEADY("steady-read", "huge", no_huge_views, .huge = true),
	STEADY("steady-write", "4K", NULL, .write = true),
	STEADY("steady-write", "huge", no_huge_views, .write = true, .huge = true),

	{
		.name = "teardown", FIGURE("", "/page"),
		.shared = 32 * MIB,
		.view = teardown_view,
		.rivals = { { "plain mmap", teardown_plain } },
		PARAM(fault_param, .state = WARM, .write = true, ALL_PAGES),
	},

	UNMAP("unmap-page", "0 busy", NULL, PUNCH, ONE_PAGE),
	UNMAP("unmap-page", "1 busy", no_second_cpu, PUNCH, FEW_PAGES, .busy = true),
	UNMAP("unmap-page", "0 busy, and map again", NULL, OWN, ONE_PAGE,
	      .again = true),
	UNMAP("unmap-page", "1 busy, and map again", no_second_cpu, OWN, FEW_PAGES,
	      .again = true, .busy = true),
	UNMAP("unmap-64M", "0 busy", NULL, PUNCH, ALL_64M),
	UNMAP("unmap-64M", "1 busy", no_second_cpu, PUNCH, ALL_64M, .busy = true),
	UNMAP("unmap-64M", "0 busy, and map again", NULL, OWN, ALL_64M,
	      .again = true),
	UNMAP("unmap-64M", "1 busy, and map again", no_second_cpu, OWN, ALL_64M,
	      .again = true, .busy = true),

	MAP_BATCH("ioctl", NULL, map_batch_ioctl),
	MAP_BATCH("UPDATE", no_update, map_batch_update),
	MAP_BATCH("io_uring", no_io_uring, map_batch_uring),
	UNMAP_BATCH("ioctl", NULL, unmap_batch_ioctl),
	UNMAP_BATCH("UPDATE", no_update, unmap_batch_update),
	UNMAP_BATCH("io_uring", no_io_uring, unmap_batch_uring),

	REMOTE("1 at a time", NULL, .batch = 1),
	REMOTE("64 at a time", NULL, .batch = 64),
	REMOTE("64 at a time, UPDATE", no_update, .batch = 64, .update = true),
	REVOKE("2 MiB", NULL, false),
	REVOKE("2 MiB, busy backend", no_second_cpu, true),
	{
		.name = "fault-userfaultfd", FIGURE("", "/page"),
		.shared = 8 * MIB, .view = userfault_view,
		.rivals = { { "UFFDIO_CONTINUE, 1 page", userfault_1 },
			    { "UFFDIO_CONTINUE, 16 pages", userfault_16 },
			    { "UFFDIO_CONTINUE, 256 pages", userfault_256 } },
	},

	RANGES("1 range", 1),
	NO_MEMORY("1 range"),
	RANGES("10^2 ranges", 100),
	NO_MEMORY("10^2 ranges"),
	MANY_RANGES("10^4 ranges", 10000),
	MANY_RANGES("10^6 ranges", 1000000),

	THREADS("1 thread", NULL, 1, 1),
	THREADS("2 threads", no_second_cpu, 2, 1),
	THREADS("4 threads", no_second_cpu, 4, 1),
	THREADS("1 peer", NULL, 1, 1),
	THREADS("2 peers", no_second_cpu, 1, 2),
	THREADS("4 peers", no_second_cpu, 1, 4),

	INVALIDATE("punch, 0 views", 0, false, false, NO_VIEW),
	INVALIDATE("punch, 1 view", 1, false, false, NO_VIEW_BUT("1 plain peer")),
	INVALIDATE("punch, 1 view (adopted)", 1, false, true,
		   NO_VIEW_BUT("1 plain peer")),
	INVALIDATE("punch, 8 views", 8, false, false, NO_VIEW_BUT("8 plain peers")),
	INVALIDATE("truncate, 0 views", 0, true, false, NO_VIEW),
	INVALIDATE("truncate, 1 view", 1, true, false, NO_VIEW_BUT("1 plain peer")),
	INVALIDATE("truncate, 1 view (adopted)", 1, true, true,
		   NO_VIEW_BUT("1 plain peer")),
	INVALIDATE("truncate, 8 views", 8, true, false, NO_VIEW_BUT("8 plain peers")),
};

const size_t bench_count = sizeof(bench_table) / sizeof(bench_table[0]);
