// SPDX-License-Identifier: GPL-2.0
/*
 * MEMVIEW_POPULATE and MEMVIEW_MAP_POPULATE: the source, and with PEERS the page
 * tables of peers, are filled in advance; no right is given, nothing that was
 * taken comes back, and nobody waits for it.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR	32UL	/* pages in play */
#define PEERS	MEMVIEW_POPULATE_PEERS
#define READ	MEMVIEW_POPULATE_READ
#define LAZY	MEMVIEW_MAP_LAZY_WRITE
#define ROUNDS	2000

static uint64_t populated;

/* Pages. Returns what ioctl(2) does, and sets populated (pages). */
static int populate(int ctl, unsigned long page, unsigned long nr, uint32_t flags)
{
	struct memview_populate_info info = {
		.mem_offset = page * PAGE, .size = nr * PAGE, .flags = flags,
		.populated = 12345,
	};
	int ret = ioctl(ctl, MEMVIEW_POPULATE, &info);

	populated = info.populated / PAGE;
	return ret;
}

/* The call fails so after that many pages, and the table stays as it was. */
#define EXPECT_STOPS(f, want, after, ...) do { \
	EXPECT_REFUSED((f)->ctl, want, populate((f)->ctl, __VA_ARGS__)); \
	assert_int_equal(populated, after); \
} while (0)

static void populate_all(struct fixture *f, unsigned long page, unsigned long nr,
			 uint32_t flags)
{
	EXPECT_OK(populate(f->ctl, page, nr, flags));
	assert_int_equal(populated, nr);
}

/* ---- what is filled ---- */

/* Pages of the source of view pages @page to @page + @nr - 1 in our page table. */
static unsigned long in_source(struct fixture *f, unsigned long page, unsigned long nr)
{
	int pagemap = EXPECT_OK(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
	uint64_t at = (uintptr_t)source_at(f, page), entry;
	unsigned long present = 0;

	for (unsigned long i = 0; i < nr; i++) {
		assert_int_equal(pread(pagemap, &entry, 8, (at / PAGE + i) * 8), 8);
		present += entry >> 63;
	}
	close(pagemap);
	return present;
}

/* Address, pages, write -> page faults of touching them. */
static long op_touch(const long *a)
{
	struct rusage before, after;

	/* Twice: what the call itself needs is there then. */
	getrusage(RUSAGE_SELF, &before);
	getrusage(RUSAGE_SELF, &after);
	getrusage(RUSAGE_SELF, &before);
	for (long i = 0; i < a[1]; i++) {
		volatile uint64_t *word = (void *)(a[0] + i * (long)PAGE);

		if (a[2])
			*word = *word;
		else
			(void)*word;
	}
	getrusage(RUSAGE_SELF, &after);
	return after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
}

/* Nobody has an entry for anything of that source. */
static void empty_page_tables(struct fixture *f, unsigned long page)
{
	struct mapping m = source_mapping(f, page);

	EXPECT_OK(madvise((void *)m.start, m.end - m.start, MADV_DONTNEED));
}

/* Write-back and reclaim can take an entry away at any time, not every time. */
static void check_filled(struct fixture *f, struct peer *p, unsigned long view,
			 unsigned long page, unsigned long nr, bool write)
{
	long faults = -1;

	for (int i = 0; i < 5 && faults; i++) {
		empty_page_tables(f, page);
		populate_all(f, page, nr, PEERS);
		faults = EXPECT_CALL(p, op_touch, view + page * PAGE, nr, write);
	}
	if (faults)
		fail_msg("%ld faults in %lu populated pages", faults, nr);
}

/* None of the source is allocated, but where the file was in pieces it is. */
static void make_sparse(struct fixture *f)
{
	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
}

static void fills_a_sparse_source(struct fixture *f)
{
	struct stat st;

	make_sparse(f);
	map_pages(f, 0, 0, NR, RW);
	assert_int_equal(in_source(f, 0, NR), 0);
	populate_all(f, 0, NR, 0);
	assert_int_equal(in_source(f, 0, NR), NR);
	EXPECT_OK(fsync(f->file));
	EXPECT_OK(fstat(f->file, &st));
	assert_true((unsigned long)st.st_blocks * 512 >= NR * PAGE);
	/* Nobody but the source. */
	assert_int_equal(fdinfo(f->ctl, "faults"), 0);
	assert_int_not_equal(EXPECT_CALL(f->peer, op_touch, f->view, NR, true), 0);
	READS(f, NR - 1, 0);
	WRITES(f, 3, 33);
	assert_int_equal(file_word(f->file, 3 * PAGE), 33);
}

static void fills_what_is_in_the_file(struct fixture *f)
{
	map_pages(f, 0, 0, NR, RW);
	EXPECT_OK(fsync(f->file));
	assert_true(put_text("/proc/sys/vm/drop_caches", "1"));
	populate_all(f, 0, NR, 0);
	assert_int_equal(in_source(f, 0, NR), NR);
	for (unsigned long i = 0; i < NR; i++)
		READS(f, i, WORD(i));
}

static void fills_peers(struct fixture *f)
{
	bool write = f->tc->param;
	unsigned long view, again;
	struct peer *other = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &view);

	/* Not at its start, and not all of the span. */
	again = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 16 * PAGE,
			    PROT_READ | PROT_WRITE, 8 * PAGE);
	map_pages(f, 0, 0, NR, RW);
	/* The control: without it there are faults. */
	assert_int_not_equal(EXPECT_CALL(f->peer, op_touch, f->view, NR, write), 0);
	check_filled(f, f->peer, f->view, 0, NR, write);
	check_filled(f, other, view, 0, NR, write);
	check_filled(f, f->peer, again - 8 * PAGE, 8, 16, write);
	check_filled(f, f->peer, again - 8 * PAGE, 20, 4, write);
	for (unsigned long i = 0; i < NR; i++)
		READS(f, i, WORD(i));
}

/* Only what was asked for. */
static void fills_the_span_and_no_more(struct fixture *f)
{
	set_module_param(f, "fault_around_pages", 1);
	make_sparse(f);
	map_pages(f, 0, 0, 8, RW);
	map_pages(f, 8, 20, 8, RW);
	populate_all(f, 6, 4, PEERS);
	assert_int_equal(fdinfo(f->ctl, "faults"), 4);
	assert_int_equal(in_source(f, 0, 8), 2);
	/* Each page that was not, faults alone. */
	EXPECT_CALL(f->peer, op_touch, f->view, 16, true);
	assert_int_equal(fdinfo(f->ctl, "faults"), 16);
}

/* Pages that are writable in no entry yet get one that is. */
static void upgrades_entries(struct fixture *f)
{
	map_pages(f, 0, 0, NR, RW);
	EXPECT_CALL(f->peer, op_mprotect, f->view, VIEW_PAGES * PAGE, PROT_READ);
	assert_int_not_equal(EXPECT_CALL(f->peer, op_touch, f->view, NR, false), 0);
	EXPECT_CALL(f->peer, op_mprotect, f->view, VIEW_PAGES * PAGE, PROT_READ | PROT_WRITE);
	populate_all(f, 0, NR, PEERS);
	assert_int_equal(EXPECT_CALL(f->peer, op_touch, f->view, NR, true), 0);
}

static void mapping_without_read_is_left_alone(struct fixture *f)
{
	map_pages(f, 0, 0, NR, RW);
	EXPECT_CALL(f->peer, op_mprotect, f->view, VIEW_PAGES * PAGE, PROT_NONE);
	populate_all(f, 0, NR, PEERS);
	assert_int_equal(fdinfo(f->ctl, "faults"), 0);
}

static void controllers_own_mapping_is_filled(struct fixture *f)
{
	char *view = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->viewfd, 0);
	long faults = -1;

	assert_ptr_not_equal(view, MAP_FAILED);
	map_pages(f, 0, 0, NR, RW);
	for (int i = 0; i < 5 && faults; i++) {
		empty_page_tables(f, 0);
		populate_all(f, 0, NR, PEERS);
		faults = op_touch(ARGS((long)view, NR, true));
	}
	assert_int_equal(faults, 0);
}

/* Aliases of a small file, through more than is filled in one go. */
#define LARGE	(18UL << 10)
static void large_span(struct fixture *f)
{
	struct memview_op *ops = calloc(LARGE / FILE_PAGES, sizeof(*ops));
	struct memview_update_info u = {
		.ops = (uintptr_t)ops, .count = LARGE / FILE_PAGES, .op_size = sizeof(*ops),
	};
	unsigned long view;

	assert_non_null(ops);
	/* Or its neighbours would fill a page that is left out. */
	set_module_param(f, "fault_around_pages", 1);
	for (unsigned long i = 0; i < u.count; i++)
		ops[i] = (struct memview_op){
			.op = MEMVIEW_OP_MAP, .flags = RW, .size = FILE_PAGES * PAGE,
			.mem_offset = i * FILE_PAGES * PAGE, .fd = f->file,
		};
	EXPECT_OK(mv_set_size(f->ctl, LARGE * PAGE));
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	free(ops);
	view = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, LARGE * PAGE,
			   PROT_READ | PROT_WRITE, 0);
	check_filled(f, f->peer, view, 0, LARGE, true);
}

/* ---- MEMVIEW_MAP_POPULATE ---- */

static void map_flag(struct fixture *f)
{
	struct memview_op ops[] = {
		{ .op = MEMVIEW_OP_MAP, .flags = RW | MEMVIEW_MAP_POPULATE, .size = 8 * PAGE,
		  .mem_offset = 48 * PAGE, .fd = f->file },
		{ .op = MEMVIEW_OP_UNMAP, .size = NR * PAGE },
		{ .op = MEMVIEW_OP_MAP, .flags = RW, .size = 8 * PAGE, .fd = f->file },
		{ .op = MEMVIEW_OP_MAP, .flags = RW | MEMVIEW_MAP_POPULATE, .size = 8 * PAGE,
		  .mem_offset = 40 * PAGE, .fd_offset = 8 * PAGE, .fd = f->file },
	};
	struct memview_update_info u = {
		.ops = (uintptr_t)ops, .count = 4, .op_size = sizeof(ops[0]),
	};
	long faults = -1;

	for (int i = 0; i < 5 && faults; i++) {
		map_pages(f, 0, 0, NR, RW | MEMVIEW_MAP_POPULATE | MEMVIEW_MAP_REPLACE);
		faults = EXPECT_CALL(f->peer, op_touch, f->view, NR, true);
	}
	assert_int_equal(faults, 0);
	assert_int_equal(rights_at(f->ctl, 0), RW);

	faults = -1;
	for (int i = 0; i < 5 && faults; i++) {
		EXPECT_OK(ioctl(f->ctl, MEMVIEW_UPDATE, &u));
		faults = EXPECT_CALL(f->peer, op_touch, AT(f, 40), 16, true);
		unmap_pages(f, 40, 16);
	}
	assert_int_equal(faults, 0);
	assert_int_not_equal(EXPECT_CALL(f->peer, op_touch, f->view, 8, true), 0);
}

/* A mapping stands, whatever becomes of populating it. */
static void map_succeeds_without_memory(struct fixture *f)
{
	make_sparse(f);
	EXPECT_OK(ftruncate(f->file, 4 * PAGE));
	map_pages(f, 0, 0, 8, RW | MEMVIEW_MAP_POPULATE);
	assert_int_equal(in_source(f, 0, 8), 4);
	READS(f, 3, 0);
	READ_SIGBUS(f, 4);
}

/* ---- rights ---- */

static void gives_no_right(struct fixture *f)
{
	int fewer = (int)EXPECT_OK(mv_viewfd_rights(f->ctl, R));
	unsigned long plain, reader, none;
	struct peer *other = another_peer(f, fewer, PROT_READ, &reader);

	plain = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, NR * PAGE, PROT_READ, 0);
	none = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, NR * PAGE, PROT_NONE, 0);
	map_pages(f, 0, 0, 8, R);
	map_pages(f, 8, 8, NR - 8, RW);
	/* A range without W, in a mapping with it. */
	check_filled(f, f->peer, f->view, 0, 8, false);
	WRITE_SEGV(f, 1);
	/* Mappings and view fds without it, of a range with it. */
	check_filled(f, f->peer, plain, 8, NR - 8, false);
	check_filled(f, other, reader, 8, NR - 8, false);
	EXPECT_SEGV(plain + 9 * PAGE, CALL(f->peer, op_write, plain + 9 * PAGE, 1));
	EXPECT_SEGV(reader + 9 * PAGE, CALL(other, op_write, reader + 9 * PAGE, 1));
	EXPECT_SEGV(none + 9 * PAGE, CALL(f->peer, op_read, none + 9 * PAGE));
	/* It may have had it before, and may have it again. */
	protect_pages(f, 8, 8, R);
	populate_all(f, 0, NR, PEERS);
	WRITE_SEGV(f, 9);
	EXPECT_CALL_ERRNO(EACCES, other, op_mprotect, reader, NR * PAGE, PROT_READ | PROT_WRITE);
	EXPECT_CALL(f->peer, op_mprotect, plain, NR * PAGE, PROT_READ | PROT_WRITE);
	EXPECT_SEGV(plain + 9 * PAGE, CALL(f->peer, op_write, plain + 9 * PAGE, 1));
	EXPECT_VALUE(0, CALL(f->peer, op_write, plain + 16 * PAGE, (long)WORD(16)));
}

#define OLD_TIME 1000000000

/* Clean on disk, with an old mtime: page_mkwrite would set it. */
static void make_clean(struct fixture *f)
{
	struct timespec times[2] = { { OLD_TIME, 0 }, { OLD_TIME, 0 } };

	EXPECT_OK(futimens(f->file, times));
	EXPECT_OK(fsync(f->file));
}

static bool was_made_writable(struct fixture *f)
{
	struct stat st;

	EXPECT_OK(fstat(f->file, &st));
	return st.st_mtim.tv_sec != OLD_TIME;
}

enum { CLEAN_READ_ONLY, CLEAN_LAZY, CLEAN_READ, DIRTY_SOURCE, DIRTY };

static void leaves_the_file_clean(struct fixture *f)
{
	static const uint32_t rights[] = { R, RW | LAZY, RW, RW, RW };
	static const uint32_t flags[] = { PEERS, PEERS, READ, 0, PEERS };
	bool dirty = f->tc->param >= DIRTY_SOURCE;

	map_pages(f, 0, 0, NR, rights[f->tc->param]);
	make_clean(f);
	populate_all(f, 0, NR, flags[f->tc->param]);
	assert_int_equal(in_source(f, 0, NR), NR);
	assert_int_equal(was_made_writable(f), dirty);
	if (flags[f->tc->param] != PEERS)
		return;
	check_filled(f, f->peer, f->view, 0, NR, false);
	assert_int_equal(was_made_writable(f), dirty);
	if (f->tc->param == CLEAN_LAZY) {
		WRITES(f, 3, 33);
		assert_true(was_made_writable(f));
	}
}

/* ---- what it refuses, and where it stops ---- */

static void bad_arguments(struct fixture *f)
{
	struct memview_populate_info good = { .size = PAGE }, info;
	struct { struct memview_populate_info info; uint64_t more; } larger = { good, 1 };
	const struct { int err; struct memview_populate_info info; } bad[] = {
		{ EINVAL, { .size = 0 } },
		{ EINVAL, { .size = PAGE + 1 } },
		{ EINVAL, { .size = PAGE, .mem_offset = 1 } },
		{ EINVAL, { .size = PAGE, .flags = PEERS | READ } },
		{ EINVAL, { .size = PAGE, .flags = 4 } },
		{ EINVAL, { .size = PAGE, .flags = PEERS | 1U << 31 } },
		{ EINVAL, { .size = PAGE, .__pad = 1 } },
		{ EOVERFLOW, { .size = PAGE, .mem_offset = -PAGE } },
		{ EOVERFLOW, { .size = -PAGE, .mem_offset = 0 } },
		{ ERANGE, { .size = PAGE, .mem_offset = VIEW_PAGES * PAGE } },
		{ ERANGE, { .size = (VIEW_PAGES + 1) * PAGE } },
		{ ENOENT, { .size = PAGE, .mem_offset = 8 * PAGE } },
	};
	struct memview_info has;

	EXPECT_OK(mv_info(f->ctl, &has));
	assert_true(has.features & MEMVIEW_FEATURE_POPULATE);
	/* Before anything is mapped: a hole. */
	EXPECT_STOPS(f, ENOENT, 0, 0, 1, 0);
	map_pages(f, 0, 0, 8, RW);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		info = bad[i].info;
		info.populated = 12345;
		EXPECT_REFUSED(f->ctl, bad[i].err, ioctl(f->ctl, MEMVIEW_POPULATE, &info));
		assert_int_equal(info.populated, 0);
	}
	EXPECT_REFUSED(f->ctl, E2BIG, ioctl(f->ctl, _IOC(_IOC_READ | _IOC_WRITE, MEMVIEW_IOC_TYPE,
							 0x0a, sizeof(larger)), &larger));
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, _IOC(_IOC_READ | _IOC_WRITE, MEMVIEW_IOC_TYPE,
							  0x0a, sizeof(info) - 8), &good));
	EXPECT_REFUSED(f->ctl, EFAULT, ioctl(f->ctl, MEMVIEW_POPULATE, 8));
	EXPECT_ERRNO(EINVAL, mv_protect(f->ctl, 0, PAGE, R | MEMVIEW_MAP_POPULATE));
	assert_int_equal(fdinfo(f->ctl, "faults"), 0);
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_POPULATE, &good));
}

static void stops_at_a_hole(struct fixture *f)
{
	map_pages(f, 0, 0, 5, RW);
	map_pages(f, 6, 0, 5, RW);
	EXPECT_STOPS(f, ENOENT, 4, 1, 8, PEERS);
	/* What was before it is filled. */
	assert_int_equal(in_source(f, 1, 4), 4);
	assert_int_equal(EXPECT_CALL(f->peer, op_touch, AT(f, 1), 4, true), 0);
	READ_SIGBUS(f, 5);
	populate_all(f, 6, 5, PEERS);
}

static void stops_at_the_end_of_the_file(struct fixture *f)
{
	make_sparse(f);
	EXPECT_OK(ftruncate(f->file, 3 * PAGE));
	map_pages(f, 0, 0, 8, f->tc->param);
	EXPECT_STOPS(f, EFAULT, 3, 0, 8, PEERS);
	READS(f, 2, 0);
}

static void stops_where_the_source_is_not_what_it_was(struct fixture *f)
{
	char *source;

	map_pages(f, 0, 0, 8, RW);
	source = source_at(f, 0);
	assert_ptr_not_equal(mmap(source + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), MAP_FAILED);
	*(uint64_t *)(source + 4 * PAGE) = SECRET;
	EXPECT_ERRNO(EFAULT, populate(f->ctl, 0, 8, PEERS));
	assert_int_equal(populated, 0);
	READ_SIGBUS(f, 4);
	/* Nor a mapping that cannot be read. */
	map_pages(f, 0, 0, 8, RW | MEMVIEW_MAP_REPLACE);
	source = source_at(f, 0);
	EXPECT_OK(mprotect(source, PAGE, PROT_NONE));
	EXPECT_STOPS(f, EFAULT, 0, 0, 8, PEERS);
	EXPECT_OK(mprotect(source, PAGE, PROT_READ));
	populate_all(f, 0, 8, PEERS);
	EXPECT_OK(mprotect(source, PAGE, PROT_READ | PROT_WRITE));
	populate_all(f, 0, 8, PEERS);
}

static void stops_on_a_full_file_system(struct fixture *f)
{
	char dir[128];
	int file;

	if (!scratch_dir())
		SKIP("cannot mount a tmpfs");
	snprintf(dir, sizeof(dir), "%s/small", scratch_dir());
	if (mkdir(dir, 0700) && errno != EEXIST)
		fail_msg("mkdir: %s", strerror(errno));
	EXPECT_OK(mount("memview-small", dir, "tmpfs", 0, "size=32k,mode=0700"));
	file = (int)EXPECT_OK(open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
	EXPECT_OK(umount2(dir, MNT_DETACH));
	EXPECT_OK(ftruncate(file, NR * PAGE));
	EXPECT_OK(mv_map(f->ctl, file, 0, NR * PAGE, 0, RW));
	EXPECT_STOPS(f, EFAULT, 8, 0, NR, PEERS);
	assert_int_equal(in_source(f, 0, NR), 8);
	assert_int_equal(EXPECT_CALL(f->peer, op_touch, f->view, 8, true), 0);
	WRITE_SIGBUS(f, 8);
	close(file);
}

static void stops_at_a_poisoned_page(struct fixture *f)
{
	struct outcome o;
	char *source;

	map_pages(f, 0, 0, 8, RW);
	populate_all(f, 0, 8, 0);
	source = source_at(f, 5);
	/* Newer kernels signal it to whoever has the page mapped, at once. */
	o = PROBE(op_madvise, (long)source, PAGE, MADV_HWPOISON);
	if (o.ret && !o.sig)
		SKIP("MADV_HWPOISON: %s", strerror(o.err));
	EXPECT_STOPS(f, EHWPOISON, 5, 0, 8, PEERS);
	assert_int_equal(CALL(f->peer, op_read, AT(f, 5)).sig, SIGBUS);
	READS(f, 4, WORD(4));
	/* For the pages that come after it, one has to ask. */
	populate_all(f, 6, 2, PEERS);
}

static void dead_view_and_foreign_caller(struct fixture *f)
{
	pid_t pid;
	int status;

	map_pages(f, 0, 0, 8, RW);
	pid = fork();
	if (!pid) {
		int ret = populate(f->ctl, 0, 8, PEERS);

		_exit(ret == -1 && errno == EIO && !populated ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fdinfo(f->ctl, "faults"), 0);
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_STOPS(f, ESHUTDOWN, 0, 0, 8, PEERS);
}

/* ---- in a thread, while it waits ---- */

struct work {
	struct fixture *f;
	pthread_t thread;
	atomic_int tid;
	atomic_int go;
	atomic_int done;
	int ret, err;
	uint64_t populated;
};

static void *populate_thread(void *arg)
{
	struct work *w = arg;

	atomic_store(&w->tid, gettid());
	while (!atomic_load(&w->go))
		nap();
	w->ret = populate(w->f->ctl, 0, 8, PEERS);
	w->err = errno;
	w->populated = populated;
	atomic_store(&w->done, 1);
	return NULL;
}

static void work_start(struct work *w, struct fixture *f)
{
	memset(w, 0, sizeof(*w));
	w->f = f;
	assert_int_equal(pthread_create(&w->thread, NULL, populate_thread, w), 0);
	while (!atomic_load(&w->tid))
		nap();
}

static void work_join(struct work *w, int err, uint64_t pages)
{
	if (!EVENTUALLY(atomic_load(&w->done)))
		fail_msg("MEMVIEW_POPULATE does not return");
	pthread_join(w->thread, NULL);
	if (w->ret != (err ? -1 : 0) || (err && w->err != err) || w->populated != pages)
		fail_msg("MEMVIEW_POPULATE returned %d (%s) after %lu pages; want %s, %lu",
			 w->ret, strerrorname_np(w->err), (unsigned long)w->populated,
			 strerrorname_np(err), (unsigned long)pages);
}

/* Pages 0 to 3 of 8 are there, the next waits for us. */
static int block(struct work *w, struct fixture *f)
{
	int uffd = uffd_open(0, 0);

	make_sparse(f);
	for (unsigned long i = 0; i < 4; i++)
		assert_true(file_set_word(f->file, i * PAGE, WORD(i)));
	map_pages(f, 0, 0, 8, RW);
	uffd_register(uffd, source_at(f, 4), 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	work_start(w, f);
	atomic_store(&w->go, 1);
	assert_ptr_equal(uffd_event(uffd, NULL), source_at(f, 4));
	assert_true(EVENTUALLY(state_of(w->tid) == 'S'));
	assert_false(atomic_load(&w->done));
	return uffd;
}

static void on_signal(int sig)
{
	(void)sig;
}

static void signal_ends_a_wait(struct fixture *f)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct work w;
	int uffd;

	EXPECT_OK(sigaction(SIGUSR1, &sa, NULL));
	uffd = block(&w, f);
	pthread_kill(w.thread, SIGUSR1);
	work_join(&w, EINTR, 4);
	close(uffd);
	/* Goes on where it was. */
	populate_all(f, 4, 4, PEERS);
}

/* A signal that comes all the time: it ends, each time a little further. */
static void signals_end_a_long_one(struct fixture *f)
{
	struct sigaction sa = { .sa_handler = on_signal };
	timer_t timer;
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec often = { { 0, 2000000 }, { 0, 2000000 } };
	unsigned long next = 0, interrupted = 0, nr = 8192;

	EXPECT_OK(sigaction(SIGUSR1, &sa, NULL));
	EXPECT_OK(ftruncate(f->file, nr * PAGE));
	EXPECT_OK(mv_set_size(f->ctl, nr * PAGE));
	map_pages(f, 0, 0, nr, RW);
	EXPECT_OK(timer_create(CLOCK_MONOTONIC, &ev, &timer));
	EXPECT_OK(timer_settime(timer, 0, &often, NULL));
	for (int i = 0; i < 100000 && next < nr; i++) {
		int ret = populate(f->ctl, next, nr - next, 0);

		if (ret) {
			assert_int_equal(errno, EINTR);
			interrupted++;
		} else {
			assert_int_equal(next + populated, nr);
		}
		next += populated;
	}
	EXPECT_OK(timer_delete(timer));
	assert_int_equal(next, nr);
	assert_int_not_equal(interrupted, 0);
	assert_int_equal(in_source(f, 0, nr), nr);
	EXPECT_OK(ftruncate(f->file, 0));
}

enum { TAKE_UNMAP, TAKE_REVOKE };

/* What is taken away meanwhile is gone, and it does not come back. */
static void waiting_holds_up_no_revocation(struct fixture *f)
{
	struct work w;
	int uffd = block(&w, f);

	if (f->tc->param == TAKE_REVOKE)
		EXPECT_OK(mv_revoke(f->ctl));
	else
		assert_int_equal(unmap_pages(f, 0, 8), 8);
	READ_SIGBUS(f, 1);
	assert_false(atomic_load(&w.done));
	close(uffd);
	work_join(&w, f->tc->param == TAKE_REVOKE ? ESHUTDOWN : ENOENT, 4);
	READ_SIGBUS(f, 1);
	READ_SIGBUS(f, 4);
}

static void frozen_file_system_holds_up_no_revocation(struct fixture *f)
{
	struct peer *thawer = peer_spawn();
	int thaw_fd = peer_send_fd(thawer, f->file);
	bool blocked;
	struct work w;

	map_pages(f, 0, 0, 8, RW);
	EXPECT_OK(fsync(f->file));
	work_start(&w, f);
	drop_old_sources();
	EXPECT_OK(ioctl(f->file, FIFREEZE, 0));
	START(thawer, op_thaw, thaw_fd);
	atomic_store(&w.go, 1);
	blocked = EVENTUALLY(state_of(w.tid) == 'D');
	if (f->tc->param == TAKE_REVOKE)
		mv_revoke(f->ctl);
	else
		mv_unmap(f->ctl, 0, 8 * PAGE, NULL);
	atomic_store(&shared->ready, 1);
	EXPECT_VALUE(1, FINISH(thawer, "thawing: the revocation waited for it"));
	assert_true(blocked);
	/* The page that waited, and some after it, may be in the source. */
	assert_true(EVENTUALLY(atomic_load(&w.done)));
	pthread_join(w.thread, NULL);
	READ_SIGBUS(f, 0);
}

/* ---- against everything at once ---- */

/* Two huge pages of the file, which peers can have by an entry each. */
static void make_blocks(struct fixture *f)
{
	struct memview_info info;
	char *map;

	EXPECT_OK(mv_info(f->ctl, &info));
	if (!(info.features & MEMVIEW_FEATURE_HUGE))
		SKIP("no huge entries in VM_PFNMAP mappings before 6.12");
	f->file_size = 2 * HUGE_SIZE;
	EXPECT_OK(ftruncate(f->file, f->file_size));
	map = map_file(f, PROT_READ | PROT_WRITE);
	for (unsigned long i = 0; i < f->file_size / PAGE; i++)
		*(uint64_t *)(map + i * PAGE) = WORD(i);
	EXPECT_OK(munmap(map, f->file_size));
}

/* Pages that come and go. */
static unsigned long racing_pages(struct fixture *f)
{
	return f->tc->param ? f->tc->param : NR;
}

static void *populate_loop(void *arg)
{
	struct fixture *f = arg;

	while (!atomic_load(&shared->stop)) {
		int ret = populate(f->ctl, 0, racing_pages(f), PEERS);

		/* ENOENT, EFAULT: what the other thread does. */
		if (ret && errno != ENOENT && errno != EFAULT)
			atomic_fetch_add(&shared->bad, 1);
		atomic_fetch_add(&shared->loops, 1);
	}
	return NULL;
}

/* Unmapped, narrowed, replaced pages do not come back, from the first moment. */
static void brings_nothing_back(struct fixture *f)
{
	unsigned long nr = racing_pages(f), other = FILE_PAGES - nr, reader;
	pthread_t threads[2];

	if (nr > FILE_PAGES) {
		other = nr;
		make_blocks(f);
	}
	reader = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, nr * PAGE, PROT_READ, 0);
	map_pages(f, 0, 0, nr, RW);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, populate_loop, f), 0);
	for (int i = 0; i < 150; i++) {
		unsigned long page = 17UL * i % nr;

		switch (i % 3) {
		case 0:
			unmap_pages(f, 0, nr);
			READ_SIGBUS(f, page);
			READ_SIGBUS(f, nr - 1 - page);
			EXPECT_SIGBUS(reader + page * PAGE,
				      CALL(f->peer, op_read, reader + page * PAGE));
			map_pages(f, 0, 0, nr, RW);
			break;
		case 1:
			protect_pages(f, 0, nr, R);
			WRITE_SEGV(f, page);
			WRITE_SEGV(f, nr - 1 - page);
			protect_pages(f, 0, nr, RW);
			break;
		default:
			/* Under another page, which must be the one that is seen. */
			map_pages(f, 0, other, nr, RW | MEMVIEW_MAP_REPLACE);
			READS(f, page, WORD(other + page));
			map_pages(f, 0, 0, nr, RW | MEMVIEW_MAP_REPLACE);
			READS(f, page, WORD(page));
		}
	}
	wait_loops(10);
	atomic_store(&shared->stop, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&shared->bad), 0);
	if (nr > FILE_PAGES)
		assert_int_not_equal(fdinfo(f->ctl, "huge_entries"), 0);
}

/*
 * The same in the controller's own mapping, where it takes no time from the end
 * of the call to the look.
 */
static void brings_nothing_back_at_once(struct fixture *f)
{
	char *view = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->viewfd, 0);
	pthread_t thread;

	assert_ptr_not_equal(view, MAP_FAILED);
	assert_int_equal(pthread_create(&thread, NULL, populate_loop, f), 0);
	for (int i = 0; i < ROUNDS; i++) {
		map_pages(f, 0, 0, NR, RW);
		for (int busy = rand() % 2000; busy; busy--)
			__asm__ volatile("");
		unmap_pages(f, 0, NR);
		for (unsigned long page = 0; page < NR; page += 3) {
			struct outcome o = PROBE(op_read, (long)view + page * PAGE);

			if (o.sig != SIGBUS)
				fail_msg("round %d: page %lu is back", i, page);
		}
	}
	atomic_store(&shared->stop, 1);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&shared->bad), 0);
}

/* View fd: mappings, forks, programs and exits without end, until told. */
static long op_come_and_go(const long *a)
{
	long rounds = 0;

	for (; !atomic_load(&shared->stop); rounds++) {
		char *view = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
				  (int)a[0], 0);
		char *moved;
		pid_t pid;

		if (view == MAP_FAILED)
			return -1;
		*(volatile char *)view;
		munmap(view + 8 * PAGE, 4 * PAGE);
		moved = mremap(view + 16 * PAGE, 4 * PAGE, 4 * PAGE,
			       MREMAP_MAYMOVE | MREMAP_FIXED, view + 8 * PAGE);
		if (moved == MAP_FAILED)
			return -1;
		pid = fork();
		if (!pid) {
			*(volatile char *)(view + PAGE);
			if (rounds & 1)
				execl("/bin/true", "true", NULL);
			if (rounds & 2)
				kill(getpid(), SIGKILL);
			_exit(0);
		}
		if (pid < 0)
			return -1;
		munmap(view, NR * PAGE);
		waitpid(pid, NULL, 0);
	}
	return rounds;
}

static void peers_come_and_go(struct fixture *f)
{
	struct peer *others[3];
	pthread_t thread;

	map_pages(f, 0, 0, NR, RW);
	for (int i = 0; i < 3; i++) {
		others[i] = peer_spawn();
		START(others[i], op_come_and_go, peer_send_fd(others[i], f->viewfd));
	}
	assert_int_equal(pthread_create(&thread, NULL, populate_loop, f), 0);
	wait_loops(400);
	atomic_store(&shared->stop, 1);
	pthread_join(thread, NULL);
	for (int i = 0; i < 3; i++)
		assert_int_not_equal(check_returned(FINISH(others[i], "come and go"),
						    "rounds", __FILE__, __LINE__), 0);
	assert_int_equal(atomic_load(&shared->bad), 0);
	assert_true(EVENTUALLY(fdinfo(f->ctl, "peers") == 1));
}

/* Who has it mapped is known, each address space once. */
static void peers_are_counted(struct fixture *f)
{
	unsigned long view, second;
	struct peer *other, *child;

	assert_int_equal(fdinfo(f->ctl, "peers"), 1);
	other = another_peer(f, f->viewfd, PROT_READ, &view);
	assert_int_equal(fdinfo(f->ctl, "peers"), 2);
	second = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, NR * PAGE, PROT_READ, 0);
	assert_int_equal(fdinfo(f->ctl, "peers"), 2);
	/* In three pieces, of which one moves. */
	EXPECT_CALL(f->peer, op_munmap, second + 8 * PAGE, 8 * PAGE);
	EXPECT_CALL(f->peer, op_mprotect, second + 20 * PAGE, PAGE, PROT_NONE);
	EXPECT_CALL(f->peer, op_mremap, second, 4 * PAGE, 4 * PAGE,
		    MREMAP_MAYMOVE | MREMAP_FIXED, second + 8 * PAGE);
	EXPECT_CALL(f->peer, op_munmap, f->view, VIEW_PAGES * PAGE);
	assert_int_equal(fdinfo(f->ctl, "peers"), 2);
	child = peer_fork(f->peer);
	assert_non_null(child);
	assert_int_equal(fdinfo(f->ctl, "peers"), 3);
	EXPECT_CALL(f->peer, op_munmap, second, NR * PAGE);
	assert_int_equal(fdinfo(f->ctl, "peers"), 2);
	EXPECT_CALL(child, op_munmap, second, NR * PAGE);
	assert_int_equal(fdinfo(f->ctl, "peers"), 1);
	peer_kill(other);
	assert_true(EVENTUALLY(fdinfo(f->ctl, "peers") == 0));
}

/* ---- whose view it is ---- */

#define RACES 400
static int race_ctl[RACES];

static long op_open_views(const long *a)
{
	(void)a;
	for (int i = 0; i < RACES; i++) {
		race_ctl[i] = mv_open();
		if (race_ctl[i] < 0 || mv_set_size(race_ctl[i], PAGE))
			return -1;
	}
	return 0;
}

static bool alone_on_cpu_0(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	return !sched_setaffinity(0, sizeof(cpus), &cpus);
}

/* Populates views that nobody has mapped anything into yet -> those it could */
static long op_populate_first(const long *a)
{
	long done = 0;

	(void)a;
	if (!alone_on_cpu_0())
		return -1;
	for (int i = 0; i < RACES; i++) {
		int ret;

		atomic_store(&shared->ready, i + 1);
		do {
			ret = populate(race_ctl[i], 0, 1, 0);
		} while (ret && errno == ENOENT);
		done += !ret || errno != EIO;
		atomic_store(&shared->loops, i + 1);
		while (i + 1 < RACES && atomic_load(&shared->ready) == i + 1)
			sched_yield();
	}
	return done;
}

/* File: maps it into each of them in the middle of that, woken on the same CPU. */
static long op_map_first(const long *a)
{
	struct sched_param param = { .sched_priority = 10 };

	if (!alone_on_cpu_0() || sched_setscheduler(0, SCHED_FIFO, &param))
		return -1;
	for (int i = 0; i < RACES; i++) {
		while (atomic_load(&shared->ready) != i + 1)
			usleep(50);
		usleep(100 + i * 37 % 400);
		if (mv_map(race_ctl[i], (int)a[0], 0, PAGE, 0, RW))
			return -1;
		while (atomic_load(&shared->loops) != i + 1UL)
			usleep(100);
		atomic_store(&shared->ready, -1);
	}
	return 0;
}

/*
 * Who populates decides whether the view is its own before it has any lock, and
 * whoever maps first becomes its controller in between: the pages are then those
 * of another address space.
 */
static void view_gets_another_controller_meanwhile(struct fixture *f)
{
	struct peer *populates, *maps;

	maps = peer_spawn();
	EXPECT_VALUE(0, CALL(maps, op_open_views, 0));
	populates = peer_fork(maps);
	assert_non_null(populates);
	START(maps, op_map_first, peer_send_fd(maps, f->file));
	START(populates, op_populate_first, 0);
	EXPECT_VALUE(0, FINISH(populates, "populating other processes' views"));
	EXPECT_VALUE(0, FINISH(maps, "mapping first"));
}

static const struct test_case cases[] = {
	CASE_ON(fills_a_sparse_source, ON_ALL),
	CASE_ON(fills_what_is_in_the_file, ON_ALL),
	{ .name = "fills_peers", .run = fills_peers, .backings = ON_ALL,
	  .variant = "read", .param = 0 },
	{ .name = "fills_peers", .run = fills_peers, .backings = ON_ALL,
	  .variant = "write", .param = 1 },
	CASE(fills_the_span_and_no_more),
	CASE(upgrades_entries),
	CASE(mapping_without_read_is_left_alone),
	CASE(controllers_own_mapping_is_filled),
	CASE(large_span),
	CASE_ON(map_flag, ON_ALL),
	CASE_ON(map_succeeds_without_memory, ON_SMALL),
	CASE_ON(gives_no_right, ON_ALL),
	{ .name = "leaves_the_file_clean", .run = leaves_the_file_clean,
	  .backings = ON_DISK, .variant = "read-only range", .param = CLEAN_READ_ONLY },
	{ .name = "leaves_the_file_clean", .run = leaves_the_file_clean,
	  .backings = ON_DISK, .variant = "lazy", .param = CLEAN_LAZY },
	{ .name = "leaves_the_file_clean", .run = leaves_the_file_clean,
	  .backings = ON_DISK, .variant = "read", .param = CLEAN_READ },
	{ .name = "leaves_the_file_clean", .run = leaves_the_file_clean,
	  .backings = ON_DISK, .variant = "or not", .param = DIRTY },
	{ .name = "leaves_the_file_clean", .run = leaves_the_file_clean,
	  .backings = ON_DISK, .variant = "or not, source only", .param = DIRTY_SOURCE },
	CASE(bad_arguments),
	CASE(stops_at_a_hole),
	{ .name = "stops_at_the_end_of_the_file", .run = stops_at_the_end_of_the_file,
	  .backings = ON_SMALL, .variant = "r", .param = R },
	{ .name = "stops_at_the_end_of_the_file", .run = stops_at_the_end_of_the_file,
	  .backings = ON_SMALL, .variant = "rw", .param = RW },
	CASE(stops_where_the_source_is_not_what_it_was),
	CASE(stops_on_a_full_file_system),
	CASE(stops_at_a_poisoned_page),
	CASE(dead_view_and_foreign_caller),
	CASE(view_gets_another_controller_meanwhile),
	CASE_ON(signal_ends_a_wait, ON_SHMEM),
	CASE(signals_end_a_long_one),
	CASE_VARIANT(waiting_holds_up_no_revocation, "unmap", TAKE_UNMAP),
	CASE_VARIANT(waiting_holds_up_no_revocation, "revoke", TAKE_REVOKE),
	{ .name = "frozen_file_system_holds_up_no_revocation",
	  .run = frozen_file_system_holds_up_no_revocation, .backings = ON_DISK,
	  .variant = "unmap", .param = TAKE_UNMAP },
	{ .name = "frozen_file_system_holds_up_no_revocation",
	  .run = frozen_file_system_holds_up_no_revocation, .backings = ON_DISK,
	  .variant = "revoke", .param = TAKE_REVOKE },
	CASE_ON(brings_nothing_back, ON(MEMFD) | ON(HUGETLB) | ON(EXT4)),
	{ .name = "brings_nothing_back", .run = brings_nothing_back,
	  .backings = ON(HUGETLB), .variant = "blocks", .param = HUGE_SIZE / PAGE },
	CASE(brings_nothing_back_at_once),
	CASE(peers_come_and_go),
	CASE(peers_are_counted),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "populate", cases);
}
