/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fixture of the guest tests: a controller (the test process), a view of
 * VIEW_PAGES pages, a populated backing file, and a peer that maps the view.
 * Tables of cases become separate cmocka tests, one for each backing file type
 * or variant.
 */
#ifndef MEMVIEW_TESTS_COMMON_H
#define MEMVIEW_TESTS_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include <linux/memory-view.h>

#include "backing.h"
#include "peer.h"

#define DEVICE		"/dev/memory-view"

#define PAGE		4096UL
#define VIEW_PAGES	4096UL
/* Pages of the backing file that hold WORD(page); a small file's size. */
#define FILE_PAGES	64UL
#define WORD(page)	(0x6d76000000000000ULL + (page))

#define R		MEMVIEW_MAP_READ
#define W		MEMVIEW_MAP_WRITE
#define X		MEMVIEW_MAP_EXEC
#define RW		(R | W)
#define RX		(R | X)
#define RWX		(R | W | X)

struct fixture;

struct test_case {
	const char *name;
	void (*run)(struct fixture *f);
	unsigned int backings;		/* ON() bits; 0: memfd, not shown */
	const char *variant;		/* shown where not NULL */
	unsigned long param;
};

#define CASE(fn)		{ .name = #fn, .run = fn }
#define CASE_ON(fn, mask)	{ .name = #fn, .run = fn, .backings = mask }
#define CASE_VARIANT(fn, v, p) \
	{ .name = #fn, .run = fn, .variant = v, .param = p }

#define MAX_PARAMS 4

struct fixture {
	const struct test_case *tc;
	enum backing backing;
	const char *cannot;		/* why this case is to be skipped */
	int ctl;
	int file;
	size_t file_size;
	int viewfd;
	struct peer *peer;
	int peer_viewfd;		/* number of the view fd in the peer */
	unsigned long view;		/* address of the view in the peer */
	struct {
		char name[32];
		char value[32];
	} params[MAX_PARAMS];		/* module parameters to put back */
};

int run_cases(int argc, char **argv, const char *group,
	      const struct test_case *cases, size_t nr);
#define RUN_CASES(argc, argv, group, cases) \
	run_cases(argc, argv, group, cases, sizeof(cases) / sizeof((cases)[0]))

#define SKIP(...) do { \
	print_message("# " __VA_ARGS__); \
	print_message("\n"); \
	skip(); \
} while (0)

/* Of the guest's kernel, by its name: KASAN allocates, too. */
bool has_kasan(void);

/* ioctls: -1 and errno, as the kernel has them. */
int mv_open(void);
int mv_set_size(int ctl, uint64_t size);
int mv_map(int ctl, int fd, uint64_t fd_offset, uint64_t size,
	   uint64_t mem_offset, uint32_t flags);
int mv_adopt(int ctl, int fd, uint64_t fd_offset, uint64_t size,
	     uint64_t mem_offset, uint32_t flags, const void *addr);
int mv_unmap(int ctl, uint64_t mem_offset, uint64_t size, uint64_t *unmapped);
int mv_protect(int ctl, uint64_t mem_offset, uint64_t size, uint32_t flags);
int mv_viewfd(int ctl);
int mv_viewfd_rights(int ctl, uint32_t rights);
int mv_revoke(int ctl);
int mv_drop_idle(int ctl);
int mv_info(int ctl, struct memview_info *info);
int mv_query(int ctl, uint64_t mem_offset, struct memview_range_info *ranges,
	     uint32_t count, struct memview_query_info *out);

/* A picture of view and table, to see that nothing changed. */
#define TABLE_MAX 64
struct table {
	struct memview_info info;
	uint32_t nr;
	struct memview_range_info ranges[TABLE_MAX];
};

void table_read(int ctl, struct table *t);
void check_same_table(const struct table *was, const struct table *is,
		      const char *call, const char *file, int line);

/* Checks of results. @err is 0 or an errno. */
void check_result(long ret, int err, int want, const char *call,
		  const char *file, int line);
#define EXPECT_OK(call) ({ \
	long ret_; \
	errno = 0; \
	ret_ = (long)(call); \
	check_result(ret_, errno, 0, #call, __FILE__, __LINE__); \
	ret_; \
})
#define EXPECT_ERRNO(want, call) do { \
	long ret_; \
	errno = 0; \
	ret_ = (long)(call); \
	check_result(ret_, errno, want, #call, __FILE__, __LINE__); \
} while (0)
/* The table ioctl @call fails with @want, and leaves the table as it was (R5). */
#define EXPECT_REFUSED(ctl, want, call) do { \
	struct table was_, is_; \
	long ret_; \
	int err_; \
	table_read(ctl, &was_); \
	errno = 0; \
	ret_ = (long)(call); \
	err_ = errno; \
	table_read(ctl, &is_); \
	check_result(ret_, err_, want, #call, __FILE__, __LINE__); \
	check_same_table(&was_, &is_, #call, __FILE__, __LINE__); \
} while (0)

/* Checks of what became of a peer's function. */
long check_returned(struct outcome o, const char *what, const char *file, int line);
void check_value(struct outcome o, unsigned long want, const char *what,
		 const char *file, int line);
void check_fault(struct outcome o, int sig, int code, unsigned long addr,
		 const char *what, const char *file, int line);
void check_errno(struct outcome o, int want, const char *what,
		 const char *file, int line);

/* Runs in @p without a fault, and must return other than -1. */
#define EXPECT_CALL(p, ...) \
	check_returned(CALL(p, __VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)
#define EXPECT_CALL_ERRNO(want, p, ...) \
	check_errno(CALL(p, __VA_ARGS__), want, #__VA_ARGS__, __FILE__, __LINE__)
#define EXPECT_VALUE(want, o) \
	check_value(o, want, #o, __FILE__, __LINE__)
#define EXPECT_SIGBUS(at, o) \
	check_fault(o, SIGBUS, BUS_ADRERR, at, #o, __FILE__, __LINE__)
#define EXPECT_SEGV(at, o) \
	check_fault(o, SIGSEGV, SEGV_ACCERR, at, #o, __FILE__, __LINE__)

/* Accesses of the fixture's peer, by page of the view. */
#define AT(f, page)		((long)((f)->view + (page) * PAGE))
#define READS(f, page, word)	EXPECT_VALUE(word, CALL((f)->peer, op_read, AT(f, page)))
#define WRITES(f, page, word) \
	EXPECT_VALUE(0, CALL((f)->peer, op_write, AT(f, page), (long)(word)))
#define READ_SIGBUS(f, page) \
	EXPECT_SIGBUS((unsigned long)AT(f, page), CALL((f)->peer, op_read, AT(f, page)))
#define WRITE_SIGBUS(f, page) \
	EXPECT_SIGBUS((unsigned long)AT(f, page), CALL((f)->peer, op_write, AT(f, page), 1))
#define WRITE_SEGV(f, page) \
	EXPECT_SEGV((unsigned long)AT(f, page), CALL((f)->peer, op_write, AT(f, page), 1))

/* The fixture's table, by pages; asserts success. */
void map_pages(struct fixture *f, unsigned long page, unsigned long file_page,
	       unsigned long nr, uint32_t flags);
unsigned long unmap_pages(struct fixture *f, unsigned long page, unsigned long nr);
void protect_pages(struct fixture *f, unsigned long page, unsigned long nr,
		   uint32_t flags);
/* Rights of the range at a page of the view; 0: a hole. */
uint32_t rights_at(int ctl, unsigned long page);
uint64_t source_addr_at(int ctl, unsigned long page);
unsigned long nr_ranges(int ctl);

/* A further peer with the view mapped; its address goes to @view. */
struct peer *another_peer(struct fixture *f, int viewfd, int prot, unsigned long *view);
/* Controller-side mapping of the backing file. */
char *map_file(struct fixture *f, int prot);
/* Mappings of a file in this process. */
unsigned long count_mappings(int fd);
/* A file like the fixture's, with WORD(base + page) in its first pages. */
int make_file(enum backing b, size_t size, unsigned long base);

/* Counters of /proc/self/fdinfo: "size", "ranges", "sources", "faults", "zaps". */
unsigned long long fdinfo(int ctl, const char *key);
/* Some things end by work, a moment after the call that ends them. */
#define POLL_SECONDS 30
#define EVENTUALLY(cond) ({ \
	bool ok_ = false; \
	for (int i_ = 0; i_ < POLL_SECONDS * 100 && !ok_; i_++) { \
		ok_ = (cond); \
		if (!ok_) \
			nap(); \
	} \
	ok_; \
})
void nap(void);	/* 10 ms */

void set_module_param(struct fixture *f, const char *name, unsigned long value);
unsigned long module_param(const char *name);

/* Machine code that returns @value, at the start of a page of the file. */
void put_code(int fd, unsigned long file_page, int value);

#endif
