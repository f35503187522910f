// SPDX-License-Identifier: GPL-2.0
/*
 * libmemview against the driver: what its header promises, end to end. What the
 * library does by itself is tested on the host.
 */
#include "common.h"

#include <memview.h>

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A negative return value is -errno, and errno is left alone. */
#define EXPECT_MINUS(want, call) do { \
	long got_; \
	errno = 4711; \
	got_ = (call); \
	if (got_ != -(want)) \
		fail_msg("%s returned %ld, want -%s", #call, got_, strerrorname_np(want)); \
	assert_int_equal(errno, 4711); \
} while (0)

static struct memview *open_view(uint64_t pages)
{
	struct memview *view = NULL;

	assert_int_equal(memview_open(&view), 0);
	assert_non_null(view);
	assert_int_equal(memview_set_size(view, pages * PAGE), 0);
	return view;
}

static struct memview *lend(struct fixture *f, unsigned int flags)
{
	struct memview *view = open_view(VIEW_PAGES);

	assert_int_equal(memview_map(view, 4 * PAGE, f->file, 2 * PAGE, 8 * PAGE, flags), 0);
	return view;
}

/* The fixture's peer maps the library's view in place of the fixture's. */
static void show_to_peer(struct fixture *f, int fd, int prot)
{
	int remote;

	assert_true(fd >= 0);
	remote = peer_send_fd(f->peer, fd);
	f->view = EXPECT_CALL(f->peer, op_mmap, remote, VIEW_PAGES * PAGE, prot, 0);
}

static void open_makes_an_empty_view(struct fixture *f)
{
	struct memview_status status;
	struct memview *view = NULL;

	(void)f;
	assert_int_equal(memview_open(&view), 0);
	assert_int_equal(memview_info(view, &status, sizeof(status)), 0);
	assert_int_equal(status.size, 0);
	assert_int_equal(status.nr_ranges, 0);
	assert_int_equal(status.page_size, PAGE);
	assert_int_equal(status.revoked, 0);
	assert_true(status.features & MEMVIEW_CAN_LAZY_WRITE);
	assert_true(status.features & MEMVIEW_CAN_UPDATE);
	assert_true(status.features & MEMVIEW_CAN_POPULATE);
	assert_true(status.features & MEMVIEW_CAN_ADOPT);
	assert_int_equal(status.max_ranges, module_param("max_ranges"));
	assert_int_equal(status.max_sources, module_param("max_sources"));
	assert_int_equal(status.fault_around, module_param("fault_around_pages"));
	assert_int_equal(fcntl(memview_get_fd(view), F_GETFD), FD_CLOEXEC);
	memview_close(view);
	memview_close(NULL);
}

static void open_checks_that_it_is_the_device(struct fixture *f)
{
	struct memview *view = NULL;

	(void)f;
	EXPECT_MINUS(ENOTTY, memview_open_path("/dev/null", &view));
	EXPECT_MINUS(ENOENT, memview_open_path("/dev/no-such-device", &view));
	assert_null(view);
	assert_int_equal(memview_open_path(MEMVIEW_DEVICE, &view), 0);
	memview_close(view);
}

static void peer_reads_and_writes_what_is_mapped(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	int fd = memview_view_fd(view);

	show_to_peer(f, fd, PROT_READ | PROT_WRITE);
	READ_SIGBUS(f, 3);
	READS(f, 4, WORD(2));
	WRITES(f, 11, 7);
	assert_int_equal(file_word(f->file, 9 * PAGE), 7);
	READ_SIGBUS(f, 12);
	memview_close(view);
	READ_SIGBUS(f, 4);
}

static void map_reports_the_kernels_errors(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	int rdonly = EXPECT_OK(backing_reopen(f->file, O_RDONLY)), fds[2];

	EXPECT_OK(pipe(fds));
	EXPECT_MINUS(EINVAL, memview_map(view, 1, f->file, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(EINVAL, memview_map(view, 0, f->file, 0, 0, MEMVIEW_READ));
	EXPECT_MINUS(EINVAL, memview_map(view, 0, f->file, 0, PAGE, MEMVIEW_WRITE));
	EXPECT_MINUS(EINVAL, memview_map(view, 0, f->file, 0, PAGE, MEMVIEW_READ | 1U << 3));
	EXPECT_MINUS(EOVERFLOW, memview_map(view, 0, f->file, 1ULL << 63, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(ERANGE, memview_map(view, VIEW_PAGES * PAGE, f->file, 0, PAGE,
					 MEMVIEW_READ));
	EXPECT_MINUS(EEXIST, memview_map(view, 5 * PAGE, f->file, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(EBADF, memview_map(view, 0, -1, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(ENODEV, memview_map(view, 0, fds[0], 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(EACCES, memview_map(view, 0, rdonly, 0, PAGE,
					 MEMVIEW_READ | MEMVIEW_WRITE));
	memview_close(view);
}

static void adopt_uses_the_callers_mapping(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	char *at = map_file(f, PROT_READ | PROT_WRITE);
	struct memview_batch *batch = NULL;
	struct memview_range range;
	uint64_t from = 20 * PAGE;

	show_to_peer(f, memview_view_fd(view), PROT_READ | PROT_WRITE);
	assert_int_equal(memview_adopt(view, 20 * PAGE, at + 2 * PAGE, f->file, 2 * PAGE,
				       4 * PAGE, MEMVIEW_READ | MEMVIEW_WRITE), 0);
	WRITES(f, 21, 5);
	assert_int_equal(*(volatile uint64_t *)(at + 3 * PAGE), 5);
	assert_int_equal(memview_query(view, &from, &range, sizeof(range), 1, NULL), 1);
	assert_int_equal(range.source_addr, (uintptr_t)at + 2 * PAGE);
	EXPECT_MINUS(EEXIST, memview_adopt(view, 20 * PAGE, at, f->file, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(EINVAL, memview_adopt(view, 30 * PAGE, at, f->file, PAGE, PAGE,
					   MEMVIEW_READ));
	EXPECT_MINUS(EFAULT, memview_adopt(view, 30 * PAGE, NULL, f->file, 0, PAGE,
					   MEMVIEW_READ));
	/* Over what is there. */
	assert_int_equal(memview_batch_new(&batch), 0);
	assert_int_equal(memview_batch_unmap(batch, 4 * PAGE, 2 * PAGE), 0);
	assert_int_equal(memview_batch_adopt(batch, 4 * PAGE, at, f->file, 0, 2 * PAGE,
					     MEMVIEW_READ), 0);
	assert_int_equal(memview_batch_apply(view, batch, NULL, NULL), 0);
	READS(f, 4, WORD(0));
	memview_batch_free(batch);
	EXPECT_OK(munmap(at, f->file_size));
	READ_SIGBUS(f, 4);
	READ_SIGBUS(f, 21);
	READS(f, 6, WORD(4));
	memview_close(view);
}

static void replace_swaps(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);

	show_to_peer(f, memview_view_fd(view), PROT_READ);
	READS(f, 6, WORD(4));
	assert_int_equal(memview_replace(view, 6 * PAGE, f->file, 40 * PAGE, PAGE,
					 MEMVIEW_READ), 0);
	READS(f, 5, WORD(3));
	READS(f, 6, WORD(40));
	READS(f, 7, WORD(5));
	EXPECT_MINUS(EBADF, memview_replace(view, 6 * PAGE, -1, 0, PAGE, MEMVIEW_READ));
	READS(f, 6, WORD(40));
	memview_close(view);
}

static void unmap_tells_what_it_removed(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	uint64_t bytes = 1;

	show_to_peer(f, memview_view_fd(view), PROT_READ);
	READS(f, 5, WORD(3));
	assert_int_equal(memview_unmap(view, 0, 6 * PAGE, &bytes), 0);
	assert_int_equal(bytes, 2 * PAGE);
	READ_SIGBUS(f, 5);
	READS(f, 6, WORD(4));
	assert_int_equal(memview_unmap(view, 8 * PAGE, PAGE, NULL), 0);
	READ_SIGBUS(f, 8);
	bytes = 1;
	EXPECT_MINUS(EINVAL, memview_unmap(view, 0, 0, &bytes));
	assert_int_equal(bytes, 1);
	memview_close(view);
}

static void protect_narrows_and_widens(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);

	show_to_peer(f, memview_view_fd(view), PROT_READ | PROT_WRITE);
	WRITES(f, 5, 1);
	assert_int_equal(memview_protect(view, 4 * PAGE, 4 * PAGE, MEMVIEW_READ), 0);
	WRITE_SEGV(f, 5);
	WRITES(f, 8, 1);
	assert_int_equal(memview_protect(view, 4 * PAGE, 4 * PAGE,
					 MEMVIEW_READ | MEMVIEW_WRITE), 0);
	WRITES(f, 5, 2);
	EXPECT_MINUS(ENOENT, memview_protect(view, 3 * PAGE, 2 * PAGE, MEMVIEW_READ));
	EXPECT_MINUS(EACCES, memview_protect(view, 4 * PAGE, PAGE, MEMVIEW_READ | MEMVIEW_EXEC));
	memview_close(view);
}

static struct memview_batch *new_batch(void)
{
	struct memview_batch *batch = NULL;

	assert_int_equal(memview_batch_new(&batch), 0);
	assert_non_null(batch);
	return batch;
}

/* Applies it, with success. Return: the pages removed */
static uint64_t apply(struct memview *view, const struct memview_batch *batch)
{
	size_t failed = 12345;
	uint64_t bytes = 12345;
	int ret = memview_batch_apply(view, batch, &failed, &bytes);

	if (ret)
		fail_msg("operation %zu: %s", failed, strerrorname_np(-ret));
	assert_int_equal(failed, memview_batch_count(batch));
	assert_int_equal(bytes % PAGE, 0);
	return bytes / PAGE;
}

/* @batch fails with @want at the operation @index, and the view is as it was. */
static void check_undone(struct memview *view, const struct memview_batch *batch,
			 int want, size_t index)
{
	struct table was, is;
	size_t failed = 12345;
	uint64_t bytes = 12345;

	table_read(memview_get_fd(view), &was);
	EXPECT_MINUS(want, memview_batch_apply(view, batch, &failed, &bytes));
	table_read(memview_get_fd(view), &is);
	check_same_table(&was, &is, "memview_batch_apply", __FILE__, __LINE__);
	assert_int_equal(failed, index);
	assert_int_equal(bytes, 12345);
}

static void populate_fills_and_tells_where_it_stopped(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	uint64_t populated = 1;
	long faults = -1;

	show_to_peer(f, memview_view_fd(view), PROT_READ | PROT_WRITE);
	for (int i = 0; i < 5 && faults; i++) {
		assert_int_equal(memview_populate(view, 4 * PAGE, 8 * PAGE,
						  MEMVIEW_POPULATE_IN_PEERS, &populated), 0);
		assert_int_equal(populated, 8 * PAGE);
		faults = EXPECT_CALL(f->peer, op_faults_reading, AT(f, 4), 8 * PAGE);
	}
	assert_int_equal(faults, 0);
	EXPECT_MINUS(ENOENT, memview_populate(view, 6 * PAGE, 8 * PAGE,
					      MEMVIEW_POPULATE_TO_READ, &populated));
	assert_int_equal(populated, 6 * PAGE);
	EXPECT_MINUS(EINVAL, memview_populate(view, 4 * PAGE, PAGE, 1U << 2, NULL));
	assert_int_equal(memview_map(view, 20 * PAGE, f->file, 0, 8 * PAGE,
				     MEMVIEW_READ | MEMVIEW_POPULATE_NOW), 0);
	READS(f, 21, WORD(1));
	memview_close(view);
}

static void batch_maps_each_page_of_a_view(struct fixture *f)
{
	struct memview *view = open_view(VIEW_PAGES);
	struct memview_batch *batch = new_batch();
	struct memview_status status;
	unsigned long i;

	show_to_peer(f, memview_view_fd(view), PROT_READ);
	READ_SIGBUS(f, 0);
	for (i = 0; i < VIEW_PAGES; i++)
		assert_int_equal(memview_batch_map(batch, i * PAGE, f->file,
						   (i * 7 + 1) % FILE_PAGES * PAGE, PAGE,
						   MEMVIEW_READ), 0);
	assert_int_equal(memview_batch_count(batch), VIEW_PAGES);
	assert_int_equal(apply(view, batch), 0);
	assert_int_equal(memview_info(view, &status, sizeof(status)), 0);
	assert_int_equal(status.nr_ranges, VIEW_PAGES);
	for (i = 0; i < VIEW_PAGES; i += 97)
		READS(f, i, WORD((i * 7 + 1) % FILE_PAGES));
	READS(f, VIEW_PAGES - 1, WORD(((VIEW_PAGES - 1) * 7 + 1) % FILE_PAGES));

	memview_batch_clear(batch);
	for (i = 0; i < VIEW_PAGES; i++)
		assert_int_equal(memview_batch_unmap(batch, i * PAGE, PAGE), 0);
	assert_int_equal(apply(view, batch), VIEW_PAGES);
	for (i = 0; i < VIEW_PAGES; i += 97)
		READ_SIGBUS(f, i);
	memview_batch_free(batch);
	memview_close(view);
}

static void batch_does_what_each_call_does(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	struct memview_batch *batch = new_batch();

	show_to_peer(f, memview_view_fd(view), PROT_READ | PROT_WRITE);
	WRITES(f, 5, WORD(3));
	WRITES(f, 6, WORD(4));
	READS(f, 7, WORD(5));
	assert_int_equal(memview_batch_protect(batch, 5 * PAGE, PAGE, MEMVIEW_READ), 0);
	assert_int_equal(memview_batch_replace(batch, 6 * PAGE, f->file, 40 * PAGE, PAGE,
					       MEMVIEW_READ), 0);
	assert_int_equal(memview_batch_unmap(batch, 7 * PAGE, PAGE), 0);
	assert_int_equal(memview_batch_map(batch, 20 * PAGE, f->file, 50 * PAGE, PAGE,
					   MEMVIEW_READ | MEMVIEW_WRITE), 0);
	READS(f, 7, WORD(5));
	assert_int_equal(apply(view, batch), 2);
	READS(f, 4, WORD(2));
	READS(f, 5, WORD(3));
	WRITE_SEGV(f, 5);
	READS(f, 6, WORD(40));
	WRITE_SEGV(f, 6);
	READ_SIGBUS(f, 7);
	READS(f, 8, WORD(6));
	READS(f, 20, WORD(50));
	WRITES(f, 20, WORD(50));
	memview_batch_free(batch);
	memview_close(view);
}

static void batch_works_in_its_order(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	struct memview_batch *batch = new_batch();

	show_to_peer(f, memview_view_fd(view), PROT_READ);
	READS(f, 4, WORD(2));
	/* The page is free when it is mapped, and what is mapped is cut. */
	assert_int_equal(memview_batch_unmap(batch, 4 * PAGE, 8 * PAGE), 0);
	assert_int_equal(memview_batch_map(batch, 4 * PAGE, f->file, 30 * PAGE, 8 * PAGE,
					   MEMVIEW_READ), 0);
	assert_int_equal(memview_batch_unmap(batch, 6 * PAGE, PAGE), 0);
	assert_int_equal(apply(view, batch), 9);
	READS(f, 4, WORD(30));
	READ_SIGBUS(f, 6);
	READS(f, 7, WORD(33));

	/* The other way round it is not. */
	memview_batch_clear(batch);
	assert_int_equal(memview_batch_map(batch, 4 * PAGE, f->file, 0, 8 * PAGE,
					   MEMVIEW_READ), 0);
	assert_int_equal(memview_batch_unmap(batch, 4 * PAGE, 8 * PAGE), 0);
	check_undone(view, batch, EEXIST, 0);
	READS(f, 4, WORD(30));
	memview_batch_free(batch);
	memview_close(view);
}

static void batch_that_fails_changes_nothing_and_tells_where(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	struct memview_batch *batch = new_batch();
	int rdonly = EXPECT_OK(backing_reopen(f->file, O_RDONLY));
	unsigned long i;

	show_to_peer(f, memview_view_fd(view), PROT_READ | PROT_WRITE);
	READS(f, 5, WORD(3));
	/* Each of the last operations alone spoils it. */
	for (i = 0; i < 7; i++) {
		static const int errnos[] = {
			EEXIST, EINVAL, EBADF, EACCES, ERANGE, ENOENT, EOVERFLOW,
		};

		memview_batch_clear(batch);
		assert_int_equal(memview_batch_unmap(batch, 5 * PAGE, PAGE), 0);
		assert_int_equal(memview_batch_protect(batch, 6 * PAGE, PAGE, MEMVIEW_READ), 0);
		assert_int_equal(memview_batch_map(batch, 30 * PAGE, f->file, 0, PAGE,
						   MEMVIEW_READ), 0);
		switch (errnos[i]) {
		case EEXIST:
			memview_batch_map(batch, 30 * PAGE, f->file, 0, PAGE, MEMVIEW_READ);
			break;
		case EINVAL:	/* no flag of the library's: not obeyed */
			memview_batch_map(batch, 6 * PAGE, f->file, 0, PAGE,
					  MEMVIEW_READ | MEMVIEW_MAP_REPLACE);
			break;
		case EBADF:
			memview_batch_map(batch, 31 * PAGE, -1, 0, PAGE, MEMVIEW_READ);
			break;
		case EACCES:
			memview_batch_replace(batch, 6 * PAGE, rdonly, 0, PAGE,
					      MEMVIEW_READ | MEMVIEW_WRITE);
			break;
		case ERANGE:
			memview_batch_unmap(batch, VIEW_PAGES * PAGE, PAGE);
			break;
		case ENOENT:	/* what the first one has left there */
			memview_batch_protect(batch, 4 * PAGE, 2 * PAGE, MEMVIEW_READ);
			break;
		case EOVERFLOW:
			memview_batch_unmap(batch, INT64_MAX - PAGE + 1, PAGE);
			break;
		}
		assert_int_equal(memview_batch_count(batch), 4);
		assert_int_equal(memview_batch_unmap(batch, 4 * PAGE, PAGE), 0);
		check_undone(view, batch, errnos[i], 3);
		READS(f, 4, WORD(2));
		READS(f, 5, WORD(3));
		WRITES(f, 6, WORD(4));
		READ_SIGBUS(f, 30);
	}
	memview_batch_free(batch);
	memview_close(view);
}

static void batch_can_be_applied_again(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ), *other = open_view(VIEW_PAGES);
	struct memview_batch *batch = new_batch();

	assert_int_equal(memview_batch_unmap(batch, 0, 20 * PAGE), 0);
	assert_int_equal(memview_batch_map(batch, 10 * PAGE, f->file, 10 * PAGE, 4 * PAGE,
					   MEMVIEW_READ), 0);
	assert_int_equal(apply(view, batch), 8);
	assert_int_equal(apply(view, batch), 4);
	assert_int_equal(apply(other, batch), 0);
	show_to_peer(f, memview_view_fd(other), PROT_READ);
	READS(f, 10, WORD(10));
	memview_batch_clear(batch);
	assert_int_equal(memview_batch_count(batch), 0);
	assert_int_equal(apply(view, batch), 0);
	assert_int_equal(memview_batch_unmap(batch, 12 * PAGE, PAGE), 0);
	assert_int_equal(apply(other, batch), 1);
	READS(f, 10, WORD(10));
	READ_SIGBUS(f, 12);
	memview_batch_free(batch);
	memview_close(other);
	memview_close(view);
}

/* A batch has the number of a descriptor, and looks at it when it is applied. */
static void batch_borrows_its_descriptors(struct fixture *f)
{
	struct memview *view = open_view(VIEW_PAGES);
	struct memview_batch *batch = new_batch();
	int fd = EXPECT_OK(fcntl(f->file, F_DUPFD_CLOEXEC, 500));

	show_to_peer(f, memview_view_fd(view), PROT_READ);
	assert_int_equal(memview_batch_unmap(batch, 0, PAGE), 0);
	assert_int_equal(memview_batch_map(batch, 0, fd, 9 * PAGE, PAGE, MEMVIEW_READ), 0);
	close(fd);
	check_undone(view, batch, EBADF, 1);
	assert_int_equal(EXPECT_OK(fcntl(f->file, F_DUPFD_CLOEXEC, 500)), fd);
	assert_int_equal(apply(view, batch), 0);
	close(fd);
	memview_batch_free(batch);
	READS(f, 0, WORD(9));
	memview_close(view);
}

/* Nobody has the file of @rdonly open for writing: what a read lease is for. */
static bool no_writer(int rdonly)
{
	return !fcntl(rdonly, F_SETLEASE, F_RDLCK);
}

static void batch_keeps_no_file_open(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	struct memview_batch *batch = new_batch();
	int memfd = EXPECT_OK(memfd_create("one of several", MFD_CLOEXEC)), fd, rdonly, i;

	/* What memfd_create() returns does not count as open for writing. */
	EXPECT_OK(ftruncate(memfd, PAGE));
	fd = EXPECT_OK(backing_reopen(memfd, O_RDWR));
	rdonly = EXPECT_OK(backing_reopen(memfd, O_RDONLY));
	close(memfd);
	assert_int_equal(memview_batch_unmap(batch, 4 * PAGE, PAGE), 0);
	assert_int_equal(memview_batch_map(batch, 20 * PAGE, fd, 0, PAGE, MEMVIEW_READ), 0);
	assert_int_equal(memview_batch_unmap(batch, 8 * PAGE, PAGE), 0);
	assert_int_equal(apply(view, batch), 2);
	memview_close(view);
	assert_false(no_writer(rdonly));
	close(fd);
	/* The driver keeps a source for a moment. */
	for (i = 0; i < 100 && !no_writer(rdonly); i++)
		usleep(50000);
	assert_true(i < 100);
	close(rdonly);
	memview_batch_free(batch);
}

static void batch_has_a_largest_size(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	struct memview_batch *batch = new_batch();
	unsigned long i;

	for (i = 0; i < MEMVIEW_BATCH_MAX; i++)
		assert_int_equal(memview_batch_unmap(batch, i % VIEW_PAGES * PAGE, PAGE), 0);
	assert_int_equal(apply(view, batch), 8);
	assert_int_equal(memview_map(view, 0, f->file, 0, PAGE, MEMVIEW_READ), 0);
	assert_int_equal(memview_batch_unmap(batch, 0, PAGE), 0);
	check_undone(view, batch, E2BIG, MEMVIEW_BATCH_MAX + 1);
	memview_batch_free(batch);
	memview_close(view);
}

static void batch_on_a_revoked_view_blames_no_operation(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	struct memview_batch *batch = new_batch();

	assert_int_equal(memview_batch_unmap(batch, 4 * PAGE, PAGE), 0);
	assert_int_equal(memview_batch_unmap(batch, 5 * PAGE, PAGE), 0);
	assert_int_equal(memview_revoke(view), 0);
	check_undone(view, batch, ESHUTDOWN, 2);
	memview_batch_free(batch);
	memview_close(view);
}

static void query_lists_the_ranges(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_LAZY_WRITE);
	struct memview_range r[4];
	uint64_t offset = 0, total = 0;
	struct stat st;

	EXPECT_OK(fstat(f->file, &st));
	assert_int_equal(memview_map(view, 20 * PAGE, f->file, 0, PAGE,
				     MEMVIEW_READ | MEMVIEW_WRITE), 0);
	assert_int_equal(memview_query(view, &offset, r, sizeof(r[0]), 1, &total), 1);
	assert_int_equal(total, 2);
	assert_int_equal(r[0].mem_offset, 4 * PAGE);
	assert_int_equal(r[0].size, 8 * PAGE);
	assert_int_equal(r[0].fd_offset, 2 * PAGE);
	assert_int_equal(r[0].ino, st.st_ino);
	assert_int_equal(r[0].dev, st.st_dev);
	assert_int_equal(r[0].flags, MEMVIEW_READ | MEMVIEW_LAZY_WRITE);
	assert_int_equal(memview_query(view, &offset, r, sizeof(r[0]), 4, NULL), 1);
	assert_int_equal(r[0].mem_offset, 20 * PAGE);
	assert_int_equal(offset, VIEW_PAGES * PAGE);
	assert_int_equal(memview_query(view, NULL, NULL, sizeof(r[0]), 0, &total), 0);
	assert_int_equal(memview_query(view, NULL, r, sizeof(r[0]), 4, NULL), 2);
	EXPECT_MINUS(EINVAL, memview_query(view, NULL, r, sizeof(r[0]), MEMVIEW_QUERY_MAX + 1,
					   NULL));
	EXPECT_MINUS(EFAULT, memview_query(view, NULL, (void *)8, sizeof(r[0]), 4, NULL));
	memview_close(view);
}

/* Which file it is, however it was mapped and cut. */
static void query_tells_cookies(struct fixture *f)
{
	struct memview *view = open_view(VIEW_PAGES);
	struct memview_map_args args = {
		.fd = f->file, .size = 8 * PAGE, .flags = MEMVIEW_READ | MEMVIEW_WRITE,
		.cookie = 0xfedcba9876543210,
	};
	struct memview_batch *batch = new_batch();
	struct memview_range r[8];
	char *at = map_file(f, PROT_READ | PROT_WRITE);

	show_to_peer(f, memview_view_fd(view), PROT_READ | PROT_WRITE);
	assert_int_equal(memview_map_with(view, &args, sizeof(args)), 0);
	EXPECT_MINUS(EEXIST, memview_map_with(view, &args, sizeof(args)));
	EXPECT_MINUS(EINVAL, memview_map_with(view, &args, sizeof(args) - 8));
	assert_int_equal(memview_protect(view, 2 * PAGE, PAGE, MEMVIEW_READ), 0);
	/* What neither of the simple functions can: both at once. */
	args.flags |= MEMVIEW_REPLACE | MEMVIEW_ADOPT;
	args.mem_offset = 4 * PAGE;
	args.fd_offset = PAGE;
	args.size = PAGE;
	args.addr = at + PAGE;
	args.cookie = 2;
	assert_int_equal(memview_map_with(view, &args, sizeof(args)), 0);
	READS(f, 4, WORD(1));
	args.mem_offset = 6 * PAGE;
	args.cookie = 3;
	assert_int_equal(memview_batch_map_with(batch, &args, sizeof(args)), 0);
	assert_int_equal(apply(view, batch), 1);
	assert_int_equal(memview_query(view, NULL, r, sizeof(r[0]), 8, NULL), 7);
	for (int i = 0; i < 7; i++)
		assert_int_equal(r[i].cookie, r[i].mem_offset == 4 * PAGE ? 2 :
				 r[i].mem_offset == 6 * PAGE ? 3 : 0xfedcba9876543210);
	memview_batch_free(batch);
	memview_close(view);
	munmap(at, f->file_size);
}

static void drop_idle_lets_the_file_be_sealed(struct fixture *f)
{
	struct memview *view = open_view(VIEW_PAGES);

	assert_int_equal(memview_map(view, 0, f->file, 0, PAGE, MEMVIEW_READ | MEMVIEW_WRITE), 0);
	assert_int_equal(memview_drop_idle(view), 0);
	EXPECT_ERRNO(EBUSY, fcntl(f->file, F_ADD_SEALS, F_SEAL_WRITE));
	assert_int_equal(memview_unmap(view, 0, PAGE, NULL), 0);
	assert_int_equal(memview_drop_idle(view), 0);
	EXPECT_OK(fcntl(f->file, F_ADD_SEALS, F_SEAL_WRITE));
	memview_close(view);
}

static void view_fd_with_fewer_rights(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	int fd = memview_view_fd_rights(view, MEMVIEW_READ);

	show_to_peer(f, fd, PROT_READ);
	READS(f, 4, WORD(2));
	WRITE_SEGV(f, 4);
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
			 MAP_FAILED);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(lseek(fd, 0, SEEK_END), VIEW_PAGES * PAGE);
	EXPECT_MINUS(EINVAL, memview_view_fd_rights(view, MEMVIEW_WRITE));
	EXPECT_MINUS(EINVAL, memview_view_fd_rights(view, 0));
	memview_close(view);
}

static void revoke_is_for_good(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	struct memview_status status;
	struct memview_range r;
	uint64_t total = 1;

	show_to_peer(f, memview_view_fd(view), PROT_READ | PROT_WRITE);
	WRITES(f, 4, 1);
	assert_int_equal(memview_revoke(view), 0);
	READ_SIGBUS(f, 4);
	assert_int_equal(memview_revoke(view), 0);
	EXPECT_MINUS(ESHUTDOWN, memview_map(view, 0, f->file, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(ESHUTDOWN, memview_replace(view, 0, f->file, 0, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(ESHUTDOWN, memview_unmap(view, 0, PAGE, NULL));
	EXPECT_MINUS(ESHUTDOWN, memview_protect(view, 4 * PAGE, PAGE, MEMVIEW_READ));
	EXPECT_MINUS(ESHUTDOWN, memview_set_size(view, PAGE));
	EXPECT_MINUS(ESHUTDOWN, memview_view_fd(view));
	EXPECT_MINUS(ESHUTDOWN, memview_view_fd_rights(view, MEMVIEW_READ));
	assert_int_equal(memview_info(view, &status, sizeof(status)), 0);
	assert_int_equal(status.revoked, 1);
	assert_int_equal(memview_query(view, NULL, &r, sizeof(r), 1, &total), 0);
	assert_int_equal(total, 0);
	memview_close(view);
}

static void set_size_cuts(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ);
	struct memview_status status;

	show_to_peer(f, memview_view_fd(view), PROT_READ);
	READS(f, 8, WORD(6));
	assert_int_equal(memview_set_size(view, 6 * PAGE), 0);
	READ_SIGBUS(f, 8);
	READS(f, 5, WORD(3));
	EXPECT_MINUS(EINVAL, memview_set_size(view, PAGE + 1));
	assert_int_equal(memview_info(view, &status, sizeof(status)), 0);
	assert_int_equal(status.size, 6 * PAGE);
	EXPECT_MINUS(EFBIG, memview_set_size(view, status.max_size + PAGE));
	memview_close(view);
}

/* In the peer: receives with the library, and maps what came. */
static long op_recv_and_map(const long *a)
{
	char data[16] = "";
	size_t received = 0;
	int fd = memview_recv_fd((int)a[0], data, sizeof(data), &received);
	void *p;

	if (fd < 0) {
		errno = -fd;
		return -1;
	}
	if (received != 6 || memcmp(data, "a view", 6)) {
		errno = EBADMSG;
		return -1;
	}
	p = mmap(NULL, VIEW_PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return (long)p;
}

static void view_fd_travels_over_a_socket(struct fixture *f)
{
	struct memview *view = lend(f, MEMVIEW_READ | MEMVIEW_WRITE);
	int sv[2], fd = memview_view_fd_rights(view, MEMVIEW_READ);

	EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv));
	assert_int_equal(memview_send_fd(sv[0], fd, "a view", 6), 6);
	close(fd);
	f->view = EXPECT_CALL(f->peer, op_recv_and_map, peer_send_fd(f->peer, sv[1]));
	READS(f, 4, WORD(2));
	WRITE_SEGV(f, 4);
	assert_int_equal(memview_unmap(view, 4 * PAGE, PAGE, NULL), 0);
	READ_SIGBUS(f, 4);
	memview_close(view);
	READ_SIGBUS(f, 5);
}

/* The child of a controller has the handle, and another address space. */
static long op_child_calls(const long *a)
{
	struct memview *view = (struct memview *)a[0];
	struct memview_batch *batch;
	struct memview_status status;
	size_t failed;

	if (memview_unmap(view, 4 * PAGE, PAGE, NULL) != -EIO)
		return 1;
	if (memview_batch_new(&batch) || memview_batch_unmap(batch, 4 * PAGE, PAGE) ||
	    memview_batch_apply(view, batch, &failed, NULL) != -EIO || failed != 1)
		return 4;
	if (memview_info(view, &status, sizeof(status)) || status.revoked)
		return 2;
	return memview_revoke(view) ? 3 : 0;
}

static long op_library_controller(const long *a)
{
	struct memview *view;

	if (memview_open(&view) || memview_set_size(view, VIEW_PAGES * PAGE) ||
	    memview_map(view, 4 * PAGE, (int)a[0], 0, 8 * PAGE, MEMVIEW_READ))
		return -1;
	return (long)view;
}

static long op_library_view_fd(const long *a)
{
	return memview_view_fd((struct memview *)a[0]);
}

static void forked_child_may_only_revoke(struct fixture *f)
{
	struct peer *controller = peer_spawn(), *child;
	long view = EXPECT_CALL(controller, op_library_controller,
				peer_send_fd(controller, f->file));
	int fd = peer_take_fd(controller, EXPECT_CALL(controller, op_library_view_fd, view));

	show_to_peer(f, fd, PROT_READ);
	READS(f, 4, WORD(0));
	child = peer_fork(controller);
	assert_non_null(child);
	EXPECT_VALUE(0, CALL(child, op_child_calls, view));
	READ_SIGBUS(f, 4);
}

static const struct test_case cases[] = {
	CASE(open_makes_an_empty_view),
	CASE(open_checks_that_it_is_the_device),
	CASE_ON(peer_reads_and_writes_what_is_mapped, ON_ALL),
	CASE(map_reports_the_kernels_errors),
	CASE_ON(adopt_uses_the_callers_mapping, ON(MEMFD) | ON(EXT4)),
	CASE(replace_swaps),
	CASE(unmap_tells_what_it_removed),
	CASE(protect_narrows_and_widens),
	CASE(populate_fills_and_tells_where_it_stopped),
	CASE_ON(batch_maps_each_page_of_a_view, ON(MEMFD) | ON(EXT4)),
	CASE_ON(batch_does_what_each_call_does, ON_ALL),
	CASE(batch_works_in_its_order),
	CASE(batch_that_fails_changes_nothing_and_tells_where),
	CASE(batch_can_be_applied_again),
	CASE(batch_borrows_its_descriptors),
	CASE(batch_keeps_no_file_open),
	CASE(batch_has_a_largest_size),
	CASE(batch_on_a_revoked_view_blames_no_operation),
	CASE(query_lists_the_ranges),
	CASE(query_tells_cookies),
	CASE(drop_idle_lets_the_file_be_sealed),
	CASE(view_fd_with_fewer_rights),
	CASE(revoke_is_for_good),
	CASE(set_size_cuts),
	CASE(view_fd_travels_over_a_socket),
	CASE(forked_child_may_only_revoke),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "libmemview", cases);
}
