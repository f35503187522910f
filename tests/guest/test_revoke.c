// SPDX-License-Identifier: GPL-2.0
/*
 * Taking rights back: when the call has returned, no process has them any more,
 * however it came by its mapping (R1).
 */
#include "common.h"
#include "spin.h"

#include <string.h>
#include <unistd.h>

/* Page i of the view is page i of the file, touched by the peer. */
static void lend(struct fixture *f, unsigned long nr, uint32_t rights)
{
	map_pages(f, 0, 0, nr, rights);
	for (unsigned long i = 0; i < nr; i++) {
		READS(f, i, WORD(i));
		if (rights & W)
			WRITES(f, i, WORD(i));
	}
}

static void unmap_takes_the_pages_away(struct fixture *f)
{
	lend(f, 16, RW);
	assert_int_equal(unmap_pages(f, 0, 16), 16);
	for (int i = 0; i < 16; i++)
		READ_SIGBUS(f, i);
	WRITE_SIGBUS(f, 3);
	assert_int_equal(file_word(f->file, 3 * PAGE), WORD(3));
}

static void partial_unmap_leaves_the_rest(struct fixture *f)
{
	lend(f, 16, RW);
	assert_int_equal(unmap_pages(f, 5, 4), 4);
	for (int i = 0; i < 16; i++) {
		if (i >= 5 && i < 9)
			WRITE_SIGBUS(f, i);
		else
			WRITES(f, i, 50 + i);
	}
	assert_int_equal(file_word(f->file, 9 * PAGE), 59);
	assert_int_equal(file_word(f->file, 8 * PAGE), WORD(8));
}

static void unmap_of_single_pages_until_nothing_is_left(struct fixture *f)
{
	lend(f, 16, RW);
	for (int i = 0; i < 16; i += 2)
		assert_int_equal(unmap_pages(f, i, 1), 1);
	for (int i = 0; i < 16; i++) {
		if (i & 1)
			READS(f, i, WORD(i));
		else
			READ_SIGBUS(f, i);
	}
	assert_int_equal(nr_ranges(f->ctl), 8);
	assert_int_equal(unmap_pages(f, 0, 16), 8);
}

static void narrowing_to_read_takes_write(struct fixture *f)
{
	lend(f, 8, RW);
	protect_pages(f, 2, 4, R);
	for (int i = 0; i < 8; i++) {
		if (i >= 2 && i < 6) {
			WRITE_SEGV(f, i);
			READS(f, i, WORD(i));
			WRITE_SEGV(f, i);
		} else {
			WRITES(f, i, 1);
		}
	}
	assert_int_equal(file_word(f->file, 3 * PAGE), WORD(3));
}

static void widening_gives_write_back(struct fixture *f)
{
	lend(f, 8, RW);
	for (int i = 0; i < 5; i++) {
		protect_pages(f, 0, 8, R);
		WRITE_SEGV(f, 2);
		READS(f, 3, i ? 100UL + i - 1 : WORD(3));
		protect_pages(f, 0, 8, RW);
		/* Also where a read-only entry is there already. */
		WRITES(f, 3, 100 + i);
		READS(f, 2, WORD(2));
	}
	assert_int_equal(file_word(f->file, 3 * PAGE), 104);
}

static void replace_shows_the_new_content(struct fixture *f)
{
	lend(f, 8, RW);
	map_pages(f, 2, 32, 4, R | MEMVIEW_MAP_REPLACE);
	READS(f, 1, WORD(1));
	for (int i = 2; i < 6; i++) {
		READS(f, i, WORD(30 + i));
		WRITE_SEGV(f, i);
	}
	READS(f, 6, WORD(6));
	assert_int_equal(file_word(f->file, 3 * PAGE), WORD(3));
}

static void replace_by_another_file(struct fixture *f)
{
	int other = make_file(f->backing, f->file_size, 1000);

	lend(f, 8, RW);
	EXPECT_OK(mv_map(f->ctl, other, 5 * PAGE, 2 * PAGE, 3 * PAGE, RW | MEMVIEW_MAP_REPLACE));
	READS(f, 2, WORD(2));
	READS(f, 3, WORD(1005));
	WRITES(f, 4, 7);
	READS(f, 5, WORD(5));
	assert_int_equal(file_word(other, 6 * PAGE), 7);
	assert_int_equal(file_word(f->file, 4 * PAGE), WORD(4));
}

static void shrinking_takes_what_lies_beyond(struct fixture *f)
{
	lend(f, 16, RW);
	EXPECT_OK(mv_set_size(f->ctl, 10 * PAGE));
	for (int i = 10; i < 16; i++)
		READ_SIGBUS(f, i);
	WRITES(f, 9, 1);
}

static void revoke_takes_everything(struct fixture *f)
{
	lend(f, 16, RW);
	EXPECT_OK(mv_revoke(f->ctl));
	for (int i = 0; i < 16; i++)
		WRITE_SIGBUS(f, i);
	assert_int_equal(nr_ranges(f->ctl), 0);
	assert_int_equal(file_word(f->file, 0), WORD(0));
}

static void memory_can_be_lent_again(struct fixture *f)
{
	lend(f, 8, RW);
	for (int i = 0; i < 10; i++) {
		unmap_pages(f, 0, 8);
		READ_SIGBUS(f, i % 8);
		map_pages(f, 0, i, 8, i & 1 ? R : RW);
		READS(f, 4, WORD(4 + i));
	}
}

/* ---- however the peer came by its mapping ---- */

/* The mappings that a test has made, all of them of pages 0 to 7. */
struct place {
	struct peer *peer;
	unsigned long addr;
};

static void touch_all(const struct place *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (int page = 0; page < 8; page++) {
			unsigned long addr = p[i].addr + page * PAGE;

			EXPECT_VALUE(WORD(page), CALL(p[i].peer, op_read, addr));
			EXPECT_VALUE(0, CALL(p[i].peer, op_write, addr, WORD(page)));
		}
	}
}

/* Narrow, widen, take, give, and take once more; each looked at everywhere. */
static void check_all_lose(struct fixture *f, const struct place *p, size_t n)
{
	touch_all(p, n);
	protect_pages(f, 0, 8, R);
	for (size_t i = 0; i < n; i++) {
		EXPECT_SEGV(p[i].addr, CALL(p[i].peer, op_write, p[i].addr, 1));
		EXPECT_SEGV(p[i].addr + 7 * PAGE,
			    CALL(p[i].peer, op_write, p[i].addr + 7 * PAGE, 1));
	}
	protect_pages(f, 0, 8, RW);
	touch_all(p, n);
	unmap_pages(f, 2, 4);
	for (size_t i = 0; i < n; i++) {
		EXPECT_SIGBUS(p[i].addr + 2 * PAGE,
			      CALL(p[i].peer, op_read, p[i].addr + 2 * PAGE));
		EXPECT_VALUE(WORD(1), CALL(p[i].peer, op_read, p[i].addr + PAGE));
	}
	map_pages(f, 2, 2, 4, RW);
	touch_all(p, n);
	EXPECT_OK(mv_revoke(f->ctl));
	for (size_t i = 0; i < n; i++) {
		EXPECT_SIGBUS(p[i].addr, CALL(p[i].peer, op_read, p[i].addr));
		EXPECT_SIGBUS(p[i].addr + 7 * PAGE,
			      CALL(p[i].peer, op_write, p[i].addr + 7 * PAGE, 1));
	}
}

static void several_mappings_lose(struct fixture *f)
{
	struct place p[4] = { { f->peer, f->view } };

	map_pages(f, 0, 0, 8, RW);
	for (int i = 1; i < 4; i++) {
		p[i].peer = f->peer;
		p[i].addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 8 * PAGE,
					PROT_READ | PROT_WRITE, 0);
	}
	check_all_lose(f, p, 4);
}

static void several_processes_lose(struct fixture *f)
{
	struct place p[4] = { { f->peer, f->view } };

	map_pages(f, 0, 0, 8, RW);
	for (int i = 1; i < 4; i++)
		p[i].peer = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &p[i].addr);
	check_all_lose(f, p, 4);
}

static void forked_children_lose(struct fixture *f)
{
	struct place p[3] = { { f->peer, f->view }, { NULL, f->view }, { NULL, f->view } };

	map_pages(f, 0, 0, 8, RW);
	/* One forked before the parent has touched anything, one after. */
	p[1].peer = peer_fork(f->peer);
	assert_non_null(p[1].peer);
	touch_all(p, 2);
	p[2].peer = peer_fork(f->peer);
	assert_non_null(p[2].peer);
	check_all_lose(f, p, 3);
}

static void grandchildren_lose(struct fixture *f)
{
	struct place p[3] = { { f->peer, f->view }, { NULL, f->view }, { NULL, f->view } };

	map_pages(f, 0, 0, 8, RW);
	touch_all(p, 1);
	p[1].peer = peer_fork(f->peer);
	assert_non_null(p[1].peer);
	touch_all(p, 2);
	p[2].peer = peer_fork(p[1].peer);
	assert_non_null(p[2].peer);
	/* The generation between is gone. */
	touch_all(p, 3);
	peer_kill(p[1].peer);
	p[1] = p[2];
	check_all_lose(f, p, 2);
}

/* fork(2) must not copy entries: a revoked one could come back in the child. */
static void child_starts_without_entries(struct fixture *f)
{
	unsigned long long faults;
	struct peer *child;

	lend(f, 8, RW);
	child = peer_fork(f->peer);
	assert_non_null(child);
	faults = fdinfo(f->ctl, "faults");
	EXPECT_VALUE(WORD(3), CALL(child, op_read, AT(f, 3)));
	assert_true(fdinfo(f->ctl, "faults") > faults);
	/* A peer cannot ask for anything else. */
	CALL(f->peer, op_madvise, f->view, VIEW_PAGES * PAGE, MADV_KEEPONFORK);
	CALL(f->peer, op_madvise, f->view, VIEW_PAGES * PAGE, MADV_DOFORK);
	child = peer_fork(f->peer);
	assert_non_null(child);
	faults = fdinfo(f->ctl, "faults");
	EXPECT_VALUE(WORD(3), CALL(child, op_read, AT(f, 3)));
	assert_true(fdinfo(f->ctl, "faults") > faults);
	unmap_pages(f, 0, 8);
	EXPECT_SIGBUS((unsigned long)AT(f, 3), CALL(child, op_read, AT(f, 3)));
}

static void moved_mapping_loses(struct fixture *f)
{
	struct place p[2] = { { f->peer, 0 }, { f->peer, 0 } };
	unsigned long old, to;

	map_pages(f, 0, 0, 8, RW);
	old = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 8 * PAGE,
			  PROT_READ | PROT_WRITE, 0);
	p[0].addr = old;
	touch_all(p, 1);
	/* Whole, with its entries; and another one before it was ever touched. */
	to = EXPECT_CALL(f->peer, op_reserve, 8 * PAGE);
	p[0].addr = EXPECT_CALL(f->peer, op_mremap, old, 8 * PAGE, 8 * PAGE,
				MREMAP_MAYMOVE | MREMAP_FIXED, to);
	assert_int_equal(p[0].addr, to);
	old = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, 8 * PAGE,
			  PROT_READ | PROT_WRITE, 0);
	to = EXPECT_CALL(f->peer, op_reserve, 8 * PAGE);
	p[1].addr = EXPECT_CALL(f->peer, op_mremap, old, 8 * PAGE, 8 * PAGE,
				MREMAP_MAYMOVE | MREMAP_FIXED, to);
	check_all_lose(f, p, 2);
}

static void partly_moved_mapping_loses(struct fixture *f)
{
	unsigned long to;

	lend(f, 8, RW);
	to = EXPECT_CALL(f->peer, op_reserve, 4 * PAGE);
	assert_int_equal(EXPECT_CALL(f->peer, op_mremap, AT(f, 2), 4 * PAGE, 4 * PAGE,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	EXPECT_VALUE(WORD(3), CALL(f->peer, op_read, to + PAGE));
	READS(f, 6, WORD(6));
	unmap_pages(f, 3, 4);
	EXPECT_VALUE(WORD(2), CALL(f->peer, op_read, to));
	EXPECT_SIGBUS(to + PAGE, CALL(f->peer, op_read, to + PAGE));
	EXPECT_SIGBUS(to + 3 * PAGE, CALL(f->peer, op_write, to + 3 * PAGE, 1));
	READ_SIGBUS(f, 6);
	READS(f, 7, WORD(7));
}

static void split_and_merged_mappings_lose(struct fixture *f)
{
	struct place p = { f->peer, f->view };

	lend(f, 8, RW);
	EXPECT_CALL(f->peer, op_mprotect, AT(f, 2), PAGE, PROT_READ);
	EXPECT_CALL(f->peer, op_mprotect, AT(f, 5), PAGE, PROT_NONE);
	READS(f, 2, WORD(2));
	EXPECT_CALL(f->peer, op_mprotect, AT(f, 2), PAGE, PROT_READ | PROT_WRITE);
	EXPECT_CALL(f->peer, op_mprotect, AT(f, 5), PAGE, PROT_READ | PROT_WRITE);
	check_all_lose(f, &p, 1);
}

static void holed_mapping_loses(struct fixture *f)
{
	lend(f, 8, RW);
	EXPECT_CALL(f->peer, op_munmap, AT(f, 3), 2 * PAGE);
	unmap_pages(f, 2, 4);
	READ_SIGBUS(f, 2);
	READ_SIGBUS(f, 5);
	READS(f, 1, WORD(1));
	READS(f, 6, WORD(6));
}

static void read_only_view_fds_lose_too(struct fixture *f)
{
	int fd = EXPECT_OK(mv_viewfd_rights(f->ctl, R));
	unsigned long addr;
	struct peer *p = another_peer(f, fd, PROT_READ, &addr);

	lend(f, 8, RW);
	EXPECT_VALUE(WORD(3), CALL(p, op_read, addr + 3 * PAGE));
	unmap_pages(f, 3, 1);
	EXPECT_SIGBUS(addr + 3 * PAGE, CALL(p, op_read, addr + 3 * PAGE));
	EXPECT_VALUE(WORD(4), CALL(p, op_read, addr + 4 * PAGE));
}

static void controller_that_maps_its_own_view_loses(struct fixture *f)
{
	char *own = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->viewfd, 0);

	assert_ptr_not_equal(own, MAP_FAILED);
	map_pages(f, 0, 0, 8, RW);
	EXPECT_VALUE(WORD(2), PROBE(op_read, (long)own + 2 * PAGE));
	EXPECT_VALUE(0, PROBE(op_write, (long)own + 2 * PAGE, 9));
	assert_int_equal(file_word(f->file, 2 * PAGE), 9);
	protect_pages(f, 2, 1, R);
	EXPECT_SEGV((unsigned long)own + 2 * PAGE, PROBE(op_write, (long)own + 2 * PAGE, 1));
	unmap_pages(f, 2, 1);
	EXPECT_SIGBUS((unsigned long)own + 2 * PAGE, PROBE(op_read, (long)own + 2 * PAGE));
	EXPECT_VALUE(WORD(3), PROBE(op_read, (long)own + 3 * PAGE));
	munmap(own, 8 * PAGE);
}

static void other_views_keep_theirs(struct fixture *f)
{
	int other = EXPECT_OK(mv_open()), fd;
	unsigned long addr;
	struct peer *p;

	EXPECT_OK(mv_set_size(other, VIEW_PAGES * PAGE));
	EXPECT_OK(mv_map(other, f->file, 0, 8 * PAGE, 0, RW));
	fd = EXPECT_OK(mv_viewfd(other));
	p = another_peer(f, fd, PROT_READ | PROT_WRITE, &addr);
	lend(f, 8, RW);
	EXPECT_VALUE(WORD(3), CALL(p, op_read, addr + 3 * PAGE));
	EXPECT_OK(mv_revoke(f->ctl));
	READ_SIGBUS(f, 3);
	EXPECT_VALUE(WORD(3), CALL(p, op_read, addr + 3 * PAGE));
	EXPECT_VALUE(0, CALL(p, op_write, addr + 3 * PAGE, 6));
	EXPECT_OK(mv_map(other, f->file, 20 * PAGE, PAGE, 20 * PAGE, R));
	EXPECT_VALUE(WORD(20), CALL(p, op_read, addr + 20 * PAGE));
}

/* ---- with the peer hammering away at the very page ---- */

#define ROUNDS 150

/* Once the right is gone no write arrives, not even one under way (R1, R2). */
static void check_silence(char *file)
{
	volatile uint64_t *word = (volatile uint64_t *)(file + 2 * PAGE);
	uint64_t after = *word;

	for (int i = 0; i < 2000; i++)
		assert_int_equal(*word, after);
}

/* The hammering peer has come to write again. */
static bool writes_arrive(char *file)
{
	volatile uint64_t *word = (volatile uint64_t *)(file + 2 * PAGE);
	uint64_t was = *word;

	for (long i = 0; i < 1000000000 && *word == was; i++)
		;
	return *word != was;
}

enum { H_UNMAP, H_PROTECT, H_REPLACE, H_SIZE };

static void no_write_arrives_after_the_call(struct fixture *f)
{
	char *file = map_file(f, PROT_READ | PROT_WRITE);

	lend(f, 8, RW);
	START(f->peer, op_hammer, AT(f, 2));
	for (int i = 0; i < ROUNDS; i++) {
		assert_true(writes_arrive(file));
		switch (f->tc->param) {
		case H_UNMAP:
			unmap_pages(f, 0, 8);
			check_silence(file);
			map_pages(f, 0, 0, 8, RW);
			break;
		case H_PROTECT:
			protect_pages(f, 0, 8, R);
			check_silence(file);
			protect_pages(f, 0, 8, RW);
			break;
		case H_REPLACE:
			map_pages(f, 2, 20, 1, RW | MEMVIEW_MAP_REPLACE);
			check_silence(file);
			map_pages(f, 2, 2, 1, RW | MEMVIEW_MAP_REPLACE);
			break;
		default:
			EXPECT_OK(mv_set_size(f->ctl, 2 * PAGE));
			check_silence(file);
			EXPECT_OK(mv_set_size(f->ctl, VIEW_PAGES * PAGE));
			map_pages(f, 2, 2, 6, RW);
			break;
		}
	}
	assert_true(writes_arrive(file));
	EXPECT_OK(mv_revoke(f->ctl));
	check_silence(file);
	atomic_store(&shared->stop, 1);
	assert_false(peer_wait(f->peer).died);
	if (f->tc->param != H_REPLACE)
		assert_true(atomic_load(&shared->faults) > 0);
}

/* A swap leaves no moment in which the span is empty. */
static void replace_is_never_a_miss(struct fixture *f)
{
	char *file = map_file(f, PROT_READ | PROT_WRITE);

	lend(f, 8, RW);
	START(f->peer, op_hammer, AT(f, 2));
	assert_true(writes_arrive(file));
	for (int i = 0; i < ROUNDS; i++)
		map_pages(f, 2, i & 1 ? 2 : 20, 1, RW | MEMVIEW_MAP_REPLACE);
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, peer_wait(f->peer));
	assert_int_equal(atomic_load(&shared->faults), 0);
}

/* ---- on each CPU ---- */

static void every_cpu_loses_it(struct fixture *f)
{
	check_every_cpu_loses(f, map_file(f, PROT_READ | PROT_WRITE), 1);
}

static void every_cpu_keeps_plain_memory(struct fixture *f)
{
	check_every_cpu_keeps(f, map_file(f, PROT_READ | PROT_WRITE));
}

static const struct test_case cases[] = {
	CASE_ON(unmap_takes_the_pages_away, ON_ALL),
	CASE_ON(partial_unmap_leaves_the_rest, ON_ALL),
	CASE_ON(unmap_of_single_pages_until_nothing_is_left, ON_ALL),
	CASE_ON(narrowing_to_read_takes_write, ON_ALL),
	CASE_ON(widening_gives_write_back, ON_ALL),
	CASE_ON(replace_shows_the_new_content, ON_ALL),
	CASE_ON(replace_by_another_file, ON_ALL),
	CASE_ON(shrinking_takes_what_lies_beyond, ON_ALL),
	CASE_ON(revoke_takes_everything, ON_ALL),
	CASE_ON(memory_can_be_lent_again, ON_ALL),
	CASE_ON(several_mappings_lose, ON_ALL),
	CASE_ON(several_processes_lose, ON_ALL),
	CASE_ON(forked_children_lose, ON_ALL),
	CASE_ON(grandchildren_lose, ON_ALL),
	CASE(child_starts_without_entries),
	CASE_ON(moved_mapping_loses, ON_ALL),
	CASE(partly_moved_mapping_loses),
	CASE(split_and_merged_mappings_lose),
	CASE(holed_mapping_loses),
	CASE(read_only_view_fds_lose_too),
	CASE(controller_that_maps_its_own_view_loses),
	CASE_ON(other_views_keep_theirs, ON_ALL),
	CASE_VARIANT(no_write_arrives_after_the_call, "unmap", H_UNMAP),
	CASE_VARIANT(no_write_arrives_after_the_call, "protect", H_PROTECT),
	CASE_VARIANT(no_write_arrives_after_the_call, "replace", H_REPLACE),
	CASE_VARIANT(no_write_arrives_after_the_call, "set_size", H_SIZE),
	CASE(replace_is_never_a_miss),
	CASE_ON(every_cpu_loses_it, ON(MEMFD) | ON(HUGETLB) | ON(EXT4)),
	CASE_ON(every_cpu_keeps_plain_memory, ON(MEMFD) | ON(HUGETLB) | ON(EXT4)),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "revoke", cases);
}
