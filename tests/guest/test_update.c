// SPDX-License-Identifier: GPL-2.0
/*
 * MEMVIEW_UPDATE: several operations, in their order, all or none; nobody sees
 * half of them, and what they take away is gone when the call returns.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/memory-view.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static uint32_t failed_at;

/* Returns what ioctl(2) does, and sets failed_at. */
static int update(int ctl, const struct memview_op *ops, uint32_t nr, uint64_t *unmapped)
{
	struct memview_update_info u = {
		.ops = (uintptr_t)ops, .count = nr, .op_size = sizeof(*ops),
		.failed = 12345, .unmapped = 12345,
	};
	int ret = ioctl(ctl, MEMVIEW_UPDATE, &u);

	failed_at = u.failed;
	if (unmapped)
		*unmapped = u.unmapped;
	return ret;
}

static struct memview_op map_op(int file, unsigned long page, unsigned long file_page,
				unsigned long nr, uint32_t flags)
{
	return (struct memview_op){
		.op = MEMVIEW_OP_MAP, .flags = flags, .mem_offset = page * PAGE,
		.size = nr * PAGE, .fd_offset = file_page * PAGE, .fd = file,
	};
}

static struct memview_op unmap_op(unsigned long page, unsigned long nr)
{
	return (struct memview_op){
		.op = MEMVIEW_OP_UNMAP, .mem_offset = page * PAGE, .size = nr * PAGE,
	};
}

static struct memview_op protect_op(unsigned long page, unsigned long nr, uint32_t flags)
{
	return (struct memview_op){
		.op = MEMVIEW_OP_PROTECT, .flags = flags, .mem_offset = page * PAGE,
		.size = nr * PAGE,
	};
}

#define NR_OPS(ops)	(sizeof(ops) / sizeof((ops)[0]))

/* The operation @index of @ops fails with @want, and the table stays as it was. */
#define EXPECT_UNDONE(f, want, index, ops) do { \
	EXPECT_REFUSED((f)->ctl, want, update((f)->ctl, ops, NR_OPS(ops), NULL)); \
	assert_int_equal(failed_at, index); \
} while (0)

/* ---- what it does ---- */

static void each_sees_those_before(struct fixture *f)
{
	struct memview_op ops[] = {
		map_op(f->file, 0, 0, 8, RW),
		unmap_op(2, 2),
		map_op(f->file, 2, 12, 1, R),
		protect_op(4, 2, R),
		map_op(f->file, 6, 20, 2, R | MEMVIEW_MAP_REPLACE),
		protect_op(4, 2, RW),
		unmap_op(20, 4),
	};
	uint64_t unmapped;

	EXPECT_OK(update(f->ctl, ops, NR_OPS(ops), &unmapped));
	assert_int_equal(failed_at, NR_OPS(ops));
	assert_int_equal(unmapped, 4 * PAGE);	/* 2 and 3; 6 and 7 by the replacement */
	WRITES(f, 1, WORD(1));
	READS(f, 2, WORD(12));
	WRITE_SEGV(f, 2);
	READ_SIGBUS(f, 3);
	WRITES(f, 4, WORD(4));
	READS(f, 7, WORD(21));
	WRITE_SEGV(f, 7);
	assert_int_equal(nr_ranges(f->ctl), 4);
}

static void what_it_takes_is_gone(struct fixture *f)
{
	struct memview_op ops[] = {
		unmap_op(1, 1), protect_op(3, 1, R),
		map_op(f->file, 5, 15, 1, RW | MEMVIEW_MAP_REPLACE),
	};

	map_pages(f, 0, 0, 8, RW);
	for (unsigned long i = 0; i < 8; i++)
		WRITES(f, i, WORD(i));
	EXPECT_OK(update(f->ctl, ops, NR_OPS(ops), NULL));
	READ_SIGBUS(f, 1);
	READS(f, 3, WORD(3));
	WRITE_SEGV(f, 3);
	READS(f, 5, WORD(15));
	WRITES(f, 6, WORD(6));
}

static void nothing_to_do_is_done(struct fixture *f)
{
	uint64_t unmapped;

	map_pages(f, 0, 0, 1, R);
	EXPECT_OK(update(f->ctl, NULL, 0, &unmapped));
	assert_int_equal(failed_at, 0);
	assert_int_equal(unmapped, 0);
	assert_int_equal(nr_ranges(f->ctl), 1);
}

/* Many spans of several files to zap: none is let go too often, or not at all. */
static void files_of_a_batch_are_kept_and_let_go(struct fixture *f)
{
	int files[3] = { f->file };
	struct memview_op ops[12];

	for (int i = 1; i < 3; i++)
		files[i] = make_file(f->backing, 16 * PAGE, 100 * (unsigned long)i);
	map_pages(f, 0, 0, 64, R);
	for (int round = 0; round < 40; round++) {
		/* From the top down, with gaps, some adjacent, some without a zap. */
		for (unsigned long i = 0; i < NR_OPS(ops); i++) {
			unsigned long page = 60 - 3 * i - (i & 1);

			if (i % 4 == 3)
				ops[i] = unmap_op(page, 1);
			else
				ops[i] = map_op(files[i % 3], page, i, 1 + i % 3,
						RW | MEMVIEW_MAP_REPLACE);
		}
		EXPECT_OK(update(f->ctl, ops, NR_OPS(ops), NULL));
		ops[11].op = 9;
		ops[2].fd = files[1];
		EXPECT_ERRNO(EINVAL, update(f->ctl, ops, NR_OPS(ops), NULL));
	}
	unmap_pages(f, 0, 64);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(file_word(files[i], 5 * PAGE), WORD(100 * i + 5));
		assert_int_equal(fcntl(files[i], F_GETFL) & O_ACCMODE, O_RDWR);
		EXPECT_OK(mv_map(f->ctl, files[i], 0, PAGE, (unsigned long)i * PAGE, RW));
		READS(f, (unsigned long)i, WORD(100 * i));
	}
	close(files[1]);
	close(files[2]);
}

/* Long before anything changes, they are more than the driver does in one go. */
static void many_that_do_nothing(struct fixture *f)
{
	struct memview_op ops[200];
	unsigned long long zaps = fdinfo(f->ctl, "zaps");
	uint64_t unmapped;

	for (unsigned long i = 0; i < NR_OPS(ops); i++)
		ops[i] = unmap_op(1000 - i, 1);
	EXPECT_OK(update(f->ctl, ops, NR_OPS(ops), &unmapped));
	assert_int_equal(unmapped, 0);
	map_pages(f, 10, 10, 4, RW);
	READS(f, 11, WORD(11));
	assert_int_equal(fdinfo(f->ctl, "zaps"), zaps);
	ops[NR_OPS(ops) - 1] = unmap_op(11, 2);
	EXPECT_OK(update(f->ctl, ops, NR_OPS(ops), &unmapped));
	assert_int_equal(unmapped, 2 * PAGE);
	assert_int_equal(fdinfo(f->ctl, "zaps"), zaps + 1);
	READ_SIGBUS(f, 11);
	READS(f, 10, WORD(10));
}

/* Adjacent spans make one zap, wherever they are in the array. */
static void spans_are_zapped_once(struct fixture *f)
{
	struct memview_op ops[64];
	unsigned long long zaps;

	map_pages(f, 0, 0, 64, RW);
	for (unsigned long i = 0; i < 64; i++)
		ops[i] = unmap_op(i * 37 % 64, 1);
	zaps = fdinfo(f->ctl, "zaps");
	EXPECT_OK(update(f->ctl, ops, 64, NULL));
	assert_int_equal(fdinfo(f->ctl, "zaps"), zaps + 1);

	map_pages(f, 0, 0, 64, RW);
	for (unsigned long i = 0; i < 32; i++)
		ops[i] = protect_op(2 * (31 - i), 1, R);
	zaps = fdinfo(f->ctl, "zaps");
	EXPECT_OK(update(f->ctl, ops, 32, NULL));
	assert_int_equal(fdinfo(f->ctl, "zaps"), zaps + 32);

	/* New ranges where nothing was: nobody has an entry. */
	ops[0] = map_op(f->file, 100, 0, 2, R);
	zaps = fdinfo(f->ctl, "zaps");
	EXPECT_OK(update(f->ctl, ops, 1, NULL));
	assert_int_equal(fdinfo(f->ctl, "zaps"), zaps);
}

/* Spans that overlap make one, as large as all of them. */
static void overlapping_spans_are_zapped_once(struct fixture *f)
{
	struct memview_op ops[] = {
		/* Pages 10 to 33, from the middle. */
		unmap_op(15, 10), protect_op(10, 5, R),
		map_op(f->file, 24, 24, 10, R | MEMVIEW_MAP_REPLACE), unmap_op(12, 5),
		/* 40 to 49: one has all the others. */
		protect_op(40, 10, R), unmap_op(42, 2), protect_op(45, 1, RW),
		/* And one more. */
		unmap_op(60, 1),
	};
	unsigned long long zaps;

	map_pages(f, 0, 0, 64, RW);
	for (unsigned long i = 0; i < 64; i++)
		WRITES(f, i, WORD(i));
	zaps = fdinfo(f->ctl, "zaps");
	EXPECT_OK(update(f->ctl, ops, NR_OPS(ops), NULL));
	assert_int_equal(fdinfo(f->ctl, "zaps"), zaps + 3);
	for (unsigned long i = 0; i < 64; i++) {
		if ((i >= 12 && i < 24) || i == 42 || i == 43 || i == 60)
			READ_SIGBUS(f, i);
		else if ((i >= 10 && i < 34) || (i >= 40 && i < 50 && i != 45))
			WRITE_SEGV(f, i);
		else
			WRITES(f, i, WORD(i));
	}
}

/* ---- with the peer writing all the time ---- */

#define SPANS	3
#define ROUNDS	60

/* The middle of each of three spans of three pages, of which two adjoin. */
static const unsigned long hammered[SPANS] = { 3, 6, 21 };

static long write_on(const long *a)
{
	for (int i = 0; i < 100; i++)
		*(volatile uint64_t *)a[0] = atomic_fetch_add(&shared->loops, 1) + 1;
	return 0;
}

/*
 * Addresses: like op_hammer(), but a fault in one keeps it from none of the others.
 * shared->ready counts the times that it has been at all of them.
 */
static long op_hammer_spans(const long *a)
{
	while (!atomic_load(&shared->stop)) {
		for (int i = 0; i < SPANS; i++)
			if (probe(write_on, &a[i]).sig)
				atomic_fetch_add(&shared->faults, 1);
		atomic_fetch_add(&shared->ready, 1);
	}
	return 0;
}

/* In the file, of page @page. */
static uint64_t word_of(const char *file, unsigned long page)
{
	return *(volatile const uint64_t *)(file + page * PAGE);
}

static void wait_for_writes(const char *file)
{
	for (int i = 0; i < SPANS; i++) {
		uint64_t was = word_of(file, hammered[i]);

		if (!EVENTUALLY(word_of(file, hammered[i]) != was))
			fail_msg("nobody writes to page %lu", hammered[i]);
	}
}

/*
 * All of the spans are unmapped, or lose W, or become others; or each of them
 * something else. When the call has returned, no write of the peer, on the other
 * CPU, reaches any of them (R1).
 */
static void nothing_is_written_once_a_batch_has_returned(struct fixture *f)
{
	const char *file = map_file(f, PROT_READ | PROT_WRITE);
	struct memview_op take[SPANS], give[SPANS];

	map_pages(f, 0, 0, 32, RW);
	START(f->peer, op_hammer_spans, AT(f, hammered[0]), AT(f, hammered[1]),
	      AT(f, hammered[2]));
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t after[SPANS];
		int passes;

		for (int i = 0; i < SPANS; i++) {
			unsigned long first = hammered[i] - 1;
			/* In the array, they are not in the order of the view. */
			int at = (i + round) % SPANS;

			switch (round % 4 < 3 ? round % 4 : (i + round / 4) % 3) {
			case 0:
				take[at] = unmap_op(first, 3);
				break;
			case 1:
				take[at] = protect_op(first, 3, R);
				break;
			default:
				take[at] = map_op(f->file, first, 32 + first, 3,
						  RW | MEMVIEW_MAP_REPLACE);
			}
			give[at] = map_op(f->file, first, first, 3, RW | MEMVIEW_MAP_REPLACE);
		}
		wait_for_writes(file);
		EXPECT_OK(update(f->ctl, take, SPANS, NULL));
		for (int i = 0; i < SPANS; i++)
			after[i] = word_of(file, hammered[i]);
		/* It has tried each of them. */
		passes = atomic_load(&shared->ready);
		assert_true(EVENTUALLY(atomic_load(&shared->ready) >= passes + 2));
		for (int i = 0; i < SPANS; i++)
			if (word_of(file, hammered[i]) != after[i])
				fail_msg("round %d: page %lu was written after it was taken",
					 round, hammered[i]);
		EXPECT_OK(update(f->ctl, give, SPANS, NULL));
	}
	wait_for_writes(file);
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "the writer"));
	assert_int_not_equal(atomic_load(&shared->faults), 0);
}

/* The peer's loop never finds the hole between an unmap and the next map. */
static void no_fault_sees_half_of_it(struct fixture *f)
{
	struct memview_op ops[] = {
		unmap_op(0, 8), map_op(f->file, 0, 0, 4, RW), map_op(f->file, 4, 4, 4, R),
	};
	bool half = f->tc->param;

	map_pages(f, 0, 0, 8, RW);
	START(f->peer, op_scan, f->view, 8, 0);
	for (int i = 0; i < 40; i++) {
		if (half) {
			/* The control: the same one by one. */
			unmap_pages(f, 0, 8);
			map_pages(f, 0, 0, 4, RW);
			map_pages(f, 4, 4, 4, R);
		} else {
			EXPECT_OK(update(f->ctl, ops, NR_OPS(ops), NULL));
		}
		wait_loops(1);
	}
	for (int i = 0; half && i < 3000 && !atomic_load(&shared->faults); i++) {
		unmap_pages(f, 0, 8);
		map_pages(f, 0, 0, 4, RW);
		map_pages(f, 4, 4, 4, R);
	}
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "scan"));
	assert_int_equal(atomic_load(&shared->bad), 0);
	if (half)
		assert_int_not_equal(atomic_load(&shared->faults), 0);
	else
		assert_int_equal(atomic_load(&shared->faults), 0);
}

/* View fd, page: maps it anew for each read, so that each is a fault. */
static long op_fault_again(const long *a)
{
	while (!atomic_load(&shared->stop)) {
		volatile uint64_t *at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, (int)a[0],
					     a[1] * (long)PAGE);
		struct outcome o = PROBE(op_read, (long)at);

		if (o.sig)
			atomic_fetch_add(&shared->faults, 1);
		else if (o.ret != (long)WORD(a[1] % (long)FILE_PAGES))
			atomic_fetch_add(&shared->bad, 1);
		munmap((void *)at, PAGE);
		atomic_fetch_add(&shared->loops, 1);
	}
	return 0;
}

#define MANY	4000UL
#define FIRST	16UL	/* of those, after one range of as many pages */

/* Ranges that are so many that the driver changes them in pieces. */
static struct memview_op *map_many(struct fixture *f)
{
	struct memview_op *ops = calloc(MANY + 2, sizeof(*ops));

	assert_non_null(ops);
	map_pages(f, 0, 0, FIRST, RW);
	for (unsigned long i = 0; i < MANY; i++)
		ops[1 + i] = map_op(f->file, FIRST + i, (FIRST + i) % FILE_PAGES, 1, RW);
	EXPECT_OK(update(f->ctl, ops + 1, MANY, NULL));
	/* What cannot be done. */
	ops[1 + MANY] = map_op(f->file, 0, 0, 1, RW);
	return ops;
}

static void check_never_faulted(struct fixture *f)
{
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "read"));
	assert_int_equal(atomic_load(&shared->bad), 0);
	assert_int_equal(atomic_load(&shared->faults), 0);
	assert_int_equal(nr_ranges(f->ctl), 1 + MANY);
}

/*
 * The peer waits rather than find one of the pieces, on the way there or back: what
 * it reads is unmapped at first, and mapped again half-way.
 */
static void no_fault_sees_half_of_many(struct fixture *f)
{
	struct memview_op *ops = map_many(f);

	ops[0] = unmap_op(FIRST, MANY);
	START(f->peer, op_fault_again, f->peer_viewfd, FIRST + MANY / 2);
	for (int i = 0; i < 20; i++) {
		wait_loops(1);
		EXPECT_OK(update(f->ctl, ops, 1 + MANY, NULL));
		wait_loops(1);
		EXPECT_ERRNO(EEXIST, update(f->ctl, ops, 2 + MANY, NULL));
		assert_int_equal(failed_at, 1 + MANY);
	}
	check_never_faulted(f);
	free(ops);
}

/*
 * A range lies half in what is to change. Its other half is there all the time, also
 * while the range is put together again, after everything else.
 */
static void other_half_of_a_range_stays(struct fixture *f)
{
	struct memview_op *ops = map_many(f);
	struct peer *second = peer_spawn();

	ops[0] = unmap_op(FIRST / 2, FIRST / 2);
	for (unsigned long i = 0; i < MANY; i++)
		ops[1 + i] = unmap_op(FIRST + i, 1);
	/* What cannot be done is not elsewhere: the other half is not in the span. */
	ops[1 + MANY] = protect_op(FIRST, 1, R);
	/* It would be gone for a moment only, in which somebody has to look. */
	START(second, op_fault_again, peer_send_fd(second, f->viewfd), 4);
	START(f->peer, op_fault_again, f->peer_viewfd, 3);
	for (int i = 0; i < 60; i++) {
		wait_loops(1);
		EXPECT_ERRNO(ENOENT, update(f->ctl, ops, 2 + MANY, NULL));
	}
	check_never_faulted(f);
	EXPECT_VALUE(0, FINISH(second, "read"));
	free(ops);
}

/* ---- what it refuses ---- */

static void bad_arguments(struct fixture *f)
{
	struct memview_op op = map_op(f->file, 0, 0, 1, R);
	struct { struct memview_op op; uint64_t more; } larger = { .op = op };
	struct memview_update_info good = {
		.ops = (uintptr_t)&op, .count = 1, .op_size = sizeof(op),
	}, u;

	map_pages(f, 8, 0, 4, RW);
	u = good;
	u.flags = 1;
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	u = good;
	u.op_size = offsetof(struct memview_op, addr) - 8;
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	u = good;
	u.op_size = PAGE + 8;
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	u = good;
	u.count = MEMVIEW_UPDATE_MAX + 1;
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	u = good;
	u.ops = 8;
	EXPECT_REFUSED(f->ctl, EFAULT, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	u = good;
	u.ops = (uintptr_t)&larger;
	u.op_size = sizeof(larger);
	larger.more = 1;
	EXPECT_REFUSED(f->ctl, E2BIG, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	assert_int_equal(u.failed, 0);
	larger.more = 0;
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_UPDATE, &u));
}

/* The array ends where nothing is mapped: those that are there are not done either. */
static void operations_that_cannot_be_read(struct fixture *f)
{
	char *end = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* The fourth is behind the end of the page, or half of it is. */
	static const size_t more[] = { 0, sizeof(struct memview_op) / 2 };
	struct memview_op good[] = {
		unmap_op(8, 1), map_op(f->file, 0, 0, 2, RW), protect_op(9, 1, R), unmap_op(10, 1),
	};

	assert_ptr_not_equal(end, MAP_FAILED);
	end += PAGE;
	EXPECT_OK(munmap(end, PAGE));
	map_pages(f, 8, 0, 4, RW);
	for (size_t i = 0; i < NR_OPS(more); i++) {
		size_t len = 3 * sizeof(good[0]) + more[i];

		memcpy(end - len, good, len);
		EXPECT_REFUSED(f->ctl, EFAULT, update(f->ctl, (void *)(end - len), 8, NULL));
		assert_int_equal(failed_at, 3);
		READS(f, 8, WORD(0));
		WRITES(f, 9, WORD(1));
		READ_SIGBUS(f, 0);
		/* Nothing is wrong with those that can be. */
		EXPECT_REFUSED(f->ctl, EFAULT, update(f->ctl, (void *)(end - len), 4, NULL));
		assert_int_equal(failed_at, 3);
	}
	EXPECT_OK(update(f->ctl, (void *)(end - 3 * sizeof(good[0]) - more[1]), 3, NULL));
	assert_int_equal(failed_at, 3);
	READ_SIGBUS(f, 8);
	munmap(end - PAGE, PAGE);
}

/* Who was built with the first version does not have what comes behind it. */
static void first_version_of_an_operation(struct fixture *f)
{
	unsigned char ops[2][offsetof(struct memview_op, addr)];
	struct memview_op map = map_op(f->file, 0, 0, 1, R), unmap = unmap_op(8, 1);
	struct memview_update_info u = {
		.ops = (uintptr_t)ops, .count = 2, .op_size = sizeof(ops[0]),
	};

	assert_int_equal(sizeof(ops[0]), 40);
	memcpy(ops[0], &map, sizeof(ops[0]));
	memcpy(ops[1], &unmap, sizeof(ops[1]));
	map_pages(f, 8, 0, 4, RW);
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	READS(f, 0, WORD(0));
	READ_SIGBUS(f, 8);
	READS(f, 9, WORD(1));
}

static void bad_operations(struct fixture *f)
{
	struct memview_op good = map_op(f->file, 0, 0, 2, RW);
	const struct { int err; struct memview_op op; } bad[] = {
		{ EINVAL, { .op = 3, .size = PAGE } },
		{ EINVAL, { .op = MEMVIEW_OP_UNMAP, .size = PAGE, .flags = R } },
		{ EINVAL, { .op = MEMVIEW_OP_UNMAP, .size = PAGE, .fd = 1 } },
		{ EINVAL, { .op = MEMVIEW_OP_UNMAP, .size = PAGE, .fd_offset = PAGE } },
		{ EINVAL, { .op = MEMVIEW_OP_UNMAP, .size = PAGE, .__pad = 1 } },
		{ EINVAL, { .op = MEMVIEW_OP_UNMAP, .size = PAGE, .addr = PAGE } },
		{ EINVAL, { .op = MEMVIEW_OP_PROTECT, .size = PAGE, .flags = R, .addr = PAGE } },
		{ EINVAL, { .op = MEMVIEW_OP_MAP, .mem_offset = 4 * PAGE, .size = PAGE,
			    .flags = R, .fd = f->file, .addr = PAGE } },
		{ EFAULT, map_op(f->file, 4, 0, 1, R | MEMVIEW_MAP_ADOPT) },
		{ EINVAL, { .op = MEMVIEW_OP_UNMAP, .size = PAGE - 1 } },
		{ EINVAL, { .op = MEMVIEW_OP_UNMAP } },
		{ EINVAL, protect_op(0, 1, W) },
		{ EINVAL, protect_op(0, 1, R | MEMVIEW_MAP_REPLACE) },
		{ EINVAL, map_op(f->file, 4, 0, 1, W) },
		{ EOVERFLOW, unmap_op((1UL << 51) - 1, 1) },
		{ ERANGE, unmap_op(VIEW_PAGES, 1) },
		{ ERANGE, map_op(f->file, VIEW_PAGES - 1, 0, 2, R) },
		{ EBADF, map_op(9999, 4, 0, 1, R) },
		{ ENODEV, map_op(f->viewfd, 4, 0, 1, R) },
		{ EEXIST, map_op(f->file, 1, 0, 1, R) },	/* what the good one maps */
		{ EEXIST, map_op(f->file, 11, 0, 2, R) },	/* what was there */
		{ ENOENT, protect_op(0, 4, R) },
		{ EACCES, protect_op(8, 1, RWX) },
	};

	map_pages(f, 8, 0, 2, RW);
	map_pages(f, 10, 2, 2, RW);
	for (size_t i = 0; i < NR_OPS(bad); i++) {
		struct memview_op first[] = { bad[i].op, good };
		struct memview_op last[] = {
			good, unmap_op(9, 1), protect_op(10, 2, R), protect_op(11, 1, R),
			protect_op(10, 2, R | MEMVIEW_MAP_LAZY_WRITE), bad[i].op,
		};

		EXPECT_UNDONE(f, bad[i].err, NR_OPS(last) - 1, last);
		READS(f, 9, WORD(1));
		WRITES(f, 10, WORD(2));
		READ_SIGBUS(f, 0);
		/* Alone, where it does not depend on the good one. */
		if (i != 19)
			EXPECT_UNDONE(f, bad[i].err, 0, first);
	}
}

static void too_many_ranges(struct fixture *f)
{
	struct memview_op ops[] = {
		map_op(f->file, 0, 0, 1, R), map_op(f->file, 2, 0, 1, R), unmap_op(9, 1),
		map_op(f->file, 4, 0, 1, R),
	};

	map_pages(f, 8, 0, 4, RW);
	set_module_param(f, "max_ranges", 3);
	EXPECT_UNDONE(f, ENOSPC, 2, ops);	/* it would cut in two */
	ops[2] = unmap_op(8, 4);
	EXPECT_OK(update(f->ctl, ops, NR_OPS(ops), NULL));
	assert_int_equal(nr_ranges(f->ctl), 3);
}

static void dead_view_and_foreign_caller(struct fixture *f)
{
	struct memview_op ops[] = { unmap_op(0, 1), unmap_op(1, 1) };

	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_REFUSED(f->ctl, ESHUTDOWN, update(f->ctl, ops, 2, NULL));
	assert_int_equal(failed_at, 2);
}

/* A file that is in the batch only, and only to no purpose, is let go. */
static void undone_batch_leaves_no_source(struct fixture *f)
{
	int other = make_file(f->backing, 4 * PAGE, 100);
	struct memview_op ops[] = {
		map_op(other, 0, 0, 1, RW), map_op(other, 1, 1, 1, RW), map_op(other, 0, 2, 1, RW),
	};

	map_pages(f, 8, 0, 4, RW);
	EXPECT_UNDONE(f, EEXIST, 2, ops);
	assert_int_equal(fdinfo(f->ctl, "sources"), 1);
	EXPECT_OK(mv_drop_idle(f->ctl));
	assert_int_equal(count_mappings(other), 0);
	close(other);
	WRITES(f, 8, WORD(0));
}

/* ---- the same as one by one ---- */

#define SPAN 24UL	/* pages in play */

static uint32_t some(uint32_t n)
{
	return (uint32_t)rand() % n;
}

static struct memview_op some_op(int file)
{
	static const uint32_t rights[] = { R, RW, R | MEMVIEW_MAP_LAZY_WRITE, RX };
	unsigned long page = some(SPAN), nr = 1 + some(SPAN - (uint32_t)page);

	switch (some(5)) {
	case 0:
		return unmap_op(page, nr);
	case 1:
		nr = nr > 3 ? 3 : nr;
		return protect_op(page, nr, rights[some(3)]);
	case 2:
		return map_op(file, page, some(32), nr > 4 ? 4 : nr, rights[some(4)]);
	default:
		return map_op(file, page, some(32), nr, rights[some(4)] | MEMVIEW_MAP_REPLACE);
	}
}

/*
 * Operations that can be done, whatever there is; but the last one now and then. With
 * @full there is something everywhere.
 */
static void some_good_ops(struct memview_op *ops, uint32_t nr, int file, bool full)
{
	for (uint32_t i = 0; i < nr; i++) {
		const struct memview_op *before = i ? &ops[i - 1] : NULL;

		if (before && before->op == MEMVIEW_OP_MAP && some(2)) {
			unsigned long pages = before->size / PAGE, skip = some((uint32_t)pages);

			ops[i] = protect_op(before->mem_offset / PAGE + skip,
					    1 + some((uint32_t)(pages - skip)), R);
			continue;
		}
		do {
			ops[i] = some_op(file);
		} while (ops[i].op == MEMVIEW_OP_PROTECT ||
			 (ops[i].op == MEMVIEW_OP_MAP && !(ops[i].flags & MEMVIEW_MAP_REPLACE)));
	}
	if (full)
		ops[0] = protect_op(some(SPAN / 2), 1 + some(SPAN / 2), R);
	if (some(2))
		ops[nr - 1] = map_op(file, 0, 0, SPAN, R);
}

static int one_by_one(int ctl, const struct memview_op *op)
{
	switch (op->op) {
	case MEMVIEW_OP_MAP:
		return mv_map(ctl, op->fd, op->fd_offset, op->size, op->mem_offset, op->flags);
	case MEMVIEW_OP_UNMAP:
		return mv_unmap(ctl, op->mem_offset, op->size, &(uint64_t){ 0 });
	default:
		return mv_protect(ctl, op->mem_offset, op->size, op->flags);
	}
}

/* What the pages in play should be. */
static struct page {
	bool mapped;
	uint32_t flags;
	unsigned long file_page;
} pages[SPAN];

static void expect_op(const struct memview_op *op)
{
	for (unsigned long i = 0; i < op->size / PAGE; i++) {
		struct page *page = &pages[op->mem_offset / PAGE + i];

		if (op->op == MEMVIEW_OP_MAP)
			page->file_page = op->fd_offset / PAGE + i;
		page->mapped = op->op != MEMVIEW_OP_UNMAP;
		page->flags = op->flags & ~MEMVIEW_MAP_REPLACE;
	}
}

static void check_pages(const struct table *t)
{
	struct page is[SPAN] = {};

	for (uint32_t i = 0; i < t->nr; i++)
		for (unsigned long at = 0; at < t->ranges[i].size / PAGE; at++)
			is[t->ranges[i].mem_offset / PAGE + at] = (struct page){
				true, t->ranges[i].flags,
				t->ranges[i].fd_offset / PAGE + at,
			};
	for (unsigned long i = 0; i < SPAN; i++)
		if (is[i].mapped != pages[i].mapped ||
		    (is[i].mapped && (is[i].flags != pages[i].flags ||
				      is[i].file_page != pages[i].file_page)))
			fail_msg("page %lu is not what it should be", i);
}

/* All of them are there, and can be read and written. */
static void fill_span(struct fixture *f, int other)
{
	const struct memview_op op = map_op(f->file, 0, 0, SPAN, RW | MEMVIEW_MAP_REPLACE);

	EXPECT_OK(one_by_one(f->ctl, &op));
	EXPECT_OK(one_by_one(other, &op));
	expect_op(&op);
}

/* Of two views each may have another source for the same pages. */
static void forget_sources(struct table *t)
{
	for (uint32_t i = 0; i < t->nr; i++)
		t->ranges[i].source_addr = 0;
}

/*
 * Random operations by MEMVIEW_UPDATE, and one by one on another view until one
 * fails: the same tables, which are as they should be, the same operation that fails
 * with the same errno, and then the table that was. The peer finds what the table
 * says.
 */
static void same_as_one_by_one(struct fixture *f)
{
	int other = (int)EXPECT_OK(mv_open());
	int done = 0, undone = 0;
	/* So many that the driver does them in pieces? */
	bool many = f->tc->param, full = true;

	EXPECT_OK(mv_set_size(other, VIEW_PAGES * PAGE));
	srand(20261120);
	for (int round = 0; round < (many ? 120 : 400); round++) {
		struct memview_op ops[300];
		uint32_t nr = many ? 1 + some(NR_OPS(ops)) : 1 + some(12), i;
		struct table was, is, want;
		int ret, err;

		if (full)
			fill_span(f, other);
		for (i = 0; i < nr && !many; i++)
			ops[i] = some_op(f->file);
		if (many)
			some_good_ops(ops, nr, f->file, full);
		table_read(f->ctl, &was);
		ret = update(f->ctl, ops, nr, NULL);
		err = errno;
		table_read(f->ctl, &is);
		for (i = 0; i < nr && !one_by_one(other, &ops[i]); i++)
			;
		assert_int_equal(failed_at, i);
		if (i == nr) {
			assert_int_equal(ret, 0);
			table_read(other, &want);
			forget_sources(&want);
			forget_sources(&is);
			check_same_table(&want, &is, "UPDATE", __FILE__, __LINE__);
			for (i = 0; i < nr; i++)
				expect_op(&ops[i]);
			check_pages(&is);
			full = !some(2);
			done++;
			continue;
		}
		assert_int_equal(ret, -1);
		assert_int_equal(err, errno);
		check_same_table(&was, &is, "UPDATE, undone", __FILE__, __LINE__);
		undone++;
		/* Both start anew from the same. */
		full = true;
	}
	print_message("# %d done, %d undone\n", done, undone);
	assert_true(done >= 30 && undone >= 30);
	for (unsigned long page = 0; page < SPAN; page++) {
		struct memview_query_info q;
		struct memview_range_info r;

		EXPECT_OK(mv_query(f->ctl, page * PAGE, &r, 1, &q));
		if (q.count && r.mem_offset <= page * PAGE)
			READS(f, page, WORD((page * PAGE - r.mem_offset + r.fd_offset) / PAGE));
		else
			READ_SIGBUS(f, page);
	}
	close(other);
}

/* As many as there can be, cut by each other, undone by the last. */
static void largest_batch(struct fixture *f)
{
	uint32_t nr = f->tc->param ? MEMVIEW_UPDATE_MAX : MEMVIEW_UPDATE_MAX - 1;
	struct memview_op *ops = calloc(MEMVIEW_UPDATE_MAX, sizeof(*ops));

	assert_non_null(ops);
	EXPECT_OK(mv_set_size(f->ctl, (nr + 1UL) * PAGE));
	ops[0] = map_op(f->file, 0, 0, nr, R);
	for (uint32_t i = 1; i < MEMVIEW_UPDATE_MAX - 1; i++)
		ops[i] = map_op(f->file, (i * 40503UL) % nr, 3, 1, R | MEMVIEW_MAP_REPLACE);
	ops[MEMVIEW_UPDATE_MAX - 1] = map_op(f->file, 0, 0, 1, R);
	if (f->tc->param) {
		EXPECT_REFUSED(f->ctl, EEXIST, update(f->ctl, ops, nr, NULL));
		assert_int_equal(failed_at, nr - 1);
		assert_int_equal(nr_ranges(f->ctl), 0);
	} else {
		EXPECT_OK(update(f->ctl, ops, nr, NULL));
		assert_in_range(nr_ranges(f->ctl), nr / 2, nr);
	}
	free(ops);
}

static const struct test_case cases[] = {
	CASE_ON(each_sees_those_before, ON_ALL),
	CASE_ON(what_it_takes_is_gone, ON_ALL),
	CASE(nothing_to_do_is_done),
	CASE(files_of_a_batch_are_kept_and_let_go),
	CASE(many_that_do_nothing),
	CASE(spans_are_zapped_once),
	CASE(overlapping_spans_are_zapped_once),
	CASE_ON(nothing_is_written_once_a_batch_has_returned,
		ON(MEMFD) | ON(HUGETLB) | ON(EXT4)),
	CASE_VARIANT(no_fault_sees_half_of_it, "batch", 0),
	CASE_VARIANT(no_fault_sees_half_of_it, "one by one", 1),
	CASE(no_fault_sees_half_of_many),
	CASE(other_half_of_a_range_stays),
	CASE(bad_arguments),
	CASE(operations_that_cannot_be_read),
	CASE(first_version_of_an_operation),
	CASE(bad_operations),
	CASE(too_many_ranges),
	CASE(dead_view_and_foreign_caller),
	CASE(undone_batch_leaves_no_source),
	CASE_VARIANT(same_as_one_by_one, "few", 0),
	CASE_VARIANT(same_as_one_by_one, "many", 1),
	CASE_VARIANT(largest_batch, "done", 0),
	CASE_VARIANT(largest_batch, "undone", 1),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "update", cases);
}
