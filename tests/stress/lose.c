// SPDX-License-Identifier: GPL-2.0
/* Operations of lanes, and of the vandal, that take pages out of a file. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lane.h"

#define FOREIGN_PAGES	16

static bool is_huge(const struct victim *victim)
{
	return victim->file == FILE_HUGE;
}

static bool has_huge(const struct lane *lane)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++)
		if (is_huge(&lane->victims[i]))
			return true;
	return false;
}

/* Where the smallest piece of its file is that a victim can be lost with. */
static unsigned long piece_of(const struct victim *victim)
{
	return file_offset(victim->file, victim->page) &
	       ~(file_unit(victim->file) - 1);
}

/* One of them is enough, if they are in the same huge page. */
static bool is_dropped(const struct lane *lane, unsigned int victim)
{
	for (unsigned int i = 0; i < victim; i++)
		if (is_huge(&lane->victims[i]) && is_huge(&lane->victims[victim]))
			return true;
	return false;
}

void drop_by_punch(struct lane *lane)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++) {
		const struct victim *victim = &lane->victims[i];

		if (is_dropped(lane, i))
			continue;
		if (fallocate(files[victim->file],
			      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      piece_of(victim), file_unit(victim->file)))
			fail("fallocate", errno);
		count_add(N_PUNCH, 1);
	}
}

/* Page frame numbers, 0 where there is none: to see that a test is one. */
static uint64_t frame_of(struct lane *lane, const void *addr)
{
	uint64_t entry;

	if (pread(lane->controller->pagemap, &entry, sizeof(entry),
		  (uintptr_t)addr / PAGE * sizeof(entry)) != sizeof(entry))
		return 0;
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

/* Private memory of this process. */
struct foreign {
	uint64_t *mem;
	size_t len;
	unsigned long nr;	/* pages that are used, at its beginning */
	enum count reused;
};

static void map_foreign(struct foreign *foreign, enum count reused,
			unsigned long nr, size_t len, int flags)
{
	foreign->mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	if (foreign->mem == MAP_FAILED)
		fail("mmap", errno);
	if (!(flags & MAP_HUGETLB))
		madvise(foreign->mem, len, MADV_NOHUGEPAGE);
	foreign->len = len;
	foreign->nr = nr;
	foreign->reused = reused;
}

/* For pages like those of the victims: small ones, and one that is huge. */
static unsigned int map_foreigns(struct lane *lane, struct foreign foreigns[2])
{
	map_foreign(&foreigns[0], N_REUSED, FOREIGN_PAGES, FOREIGN_PAGES * PAGE, 0);
	if (!has_huge(lane))
		return 1;
	/* All of a lane's are in one page. */
	map_foreign(&foreigns[1], N_REUSED_HUGE, lane->nr, HUGE_PAGE, MAP_HUGETLB);
	return 2;
}

static void unmap_foreigns(struct foreign *foreigns, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		munmap(foreigns[i].mem, foreigns[i].len);
}

/* Takes what has been freed last, if nobody else has been faster. */
static void fill_foreigns(struct foreign *foreigns, unsigned int nr, uint64_t word)
{
	for (unsigned int i = 0; i < nr; i++)
		for (unsigned long j = 0; j < foreigns[i].nr; j++)
			fill(page_of(foreigns[i].mem, j), PAGE_WORDS, word);
}

static void compare_foreigns(const struct foreign *foreigns, unsigned int nr,
			     uint64_t word)
{
	uint64_t wanted[PAGE_WORDS];

	fill(wanted, PAGE_WORDS, word);
	for (unsigned int i = 0; i < nr; i++)
		for (unsigned long j = 0; j < foreigns[i].nr; j++)
			compare("private memory of the controller written", -1,
				j, page_of(foreigns[i].mem, j), wanted);
}

static void free_foreigns(const struct foreign *foreigns, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		madvise(foreigns[i].mem, foreigns[i].len, MADV_DONTNEED);
}

static void count_reused(struct lane *lane, const struct foreign *foreign,
			 const uint64_t *frames)
{
	for (unsigned long i = 0; i < foreign->nr; i++) {
		uint64_t frame = frame_of(lane, page_of(foreign->mem, i));

		for (unsigned int j = 0; frame && j < lane->nr_victims; j++)
			count_add(foreign->reused, frame == frames[j]);
	}
}

/*
 * Pages that leave the file go back to the kernel, which hands them out to
 * anybody, here to this process's private memory. No peer may meet them there
 * (R3). Peers go on using the ranges, which have new pages or none.
 */
static void free_and_reuse(struct lane *lane, void (*drop)(struct lane *lane),
			   unsigned long times)
{
	uint64_t word = word_of(TAG_FOREIGN, lane->number);
	uint64_t frames[MAX_VICTIMS];
	struct foreign foreigns[2];
	unsigned int nr = map_foreigns(lane, foreigns);

	for (unsigned int i = 0; i < lane->nr_victims; i++) {
		uint64_t *victim = victim_mem(lane, &lane->victims[i]);

		word_at(victim, 0);
		frames[i] = frame_of(lane, victim);
	}

	/* The second time and later, peers are about to fault new pages in. */
	while (times--) {
		drop(lane);
		fill_foreigns(foreigns, nr, word);
		dwell(lane);
		compare_foreigns(foreigns, nr, word);
		for (unsigned int i = 0; i < nr; i++)
			count_reused(lane, &foreigns[i], frames);
		free_foreigns(foreigns, nr);
		dwell(lane);
	}
	unmap_foreigns(foreigns, nr);
}

void op_punch(struct lane *lane)
{
	free_and_reuse(lane, drop_by_punch, 1 + random_below(&lane->random, 8));
	mark_victims(lane, TAG_OPEN);
}

static void drop_while_unmapped(struct lane *lane)
{
	if (start_rival(lane, false))
		drop_by_punch(lane);
}

/*
 * Pages leave the file while another thread unmaps them. They are in the table
 * no more, perhaps, but still in the page tables of peers (R3).
 */
void op_unmap_punch(struct lane *lane)
{
	uint64_t want = mapped_bytes(lane, &lane->span);

	forget(lane, &lane->span);
	unmap_victims(lane);
	free_and_reuse(lane, drop_while_unmapped, 1);
	if (!wait_for_rival(lane, &lane->rival_done))
		return;
	if (lane->rival_bytes != want)
		fail("unmap: not the bytes that were mapped", 0);
	mark_victims(lane, TAG_OPEN);
	count_add(N_UNMAP_PUNCH, 1);
}

static bool is_vandal(const struct lane *lane)
{
	return !lane->controller->views[0];
}

/* The end of the files is in the last lane of the last controller. */
static bool is_last(const struct lane *lane)
{
	return !is_vandal(lane) && lane->index == LANES - 1 &&
	       crew_number == options.controllers - 1;
}

static void set_file_size(int file, unsigned long size)
{
	if (ftruncate(files[file], size))
		fail("ftruncate", errno);
}

static void drop_by_truncate(struct lane *lane)
{
	const struct victim *victim = &lane->victims[0];

	set_file_size(victim->file, piece_of(victim));
	count_add(N_TRUNCATE, 1);
}

/* The victims are those from this page of the file to its end. */
static void choose_tail(struct lane *lane, struct victim first)
{
	unsigned long end = lane->first + lane->nr;

	if (end - first.page > MAX_VICTIMS)
		first.page = end - MAX_VICTIMS;
	memset(lane->is_victim, 0, sizeof(lane->is_victim));
	lane->nr_victims = 0;
	for (; first.page < end; first.page++) {
		lane->is_victim[first.file][first.page] = true;
		lane->victims[lane->nr_victims++] = first;
	}
}

void op_truncate(struct lane *lane)
{
	int file = lane->victims[0].file;

	if (!is_last(lane))
		return op_punch(lane);

	choose_tail(lane, lane->victims[0]);
	free_and_reuse(lane, drop_by_truncate, 1);
	set_file_size(file, file_size(file));
	mark_victims(lane, TAG_OPEN);
}

/* What a page begins with, in one of the ways that files are written. */
static void write_word(struct lane *lane, const struct victim *victim, uint64_t word)
{
	unsigned long offset = file_offset(victim->file, victim->page);
	uint64_t *mem;

	switch (random_below(&lane->random, 3)) {
	case 0:
		/* A file of huge pages has no write(2). */
		if (!is_huge(victim)) {
			if (pwrite(files[victim->file], &word, sizeof(word),
				   offset) != sizeof(word))
				fail("pwrite", errno);
			return;
		}
		/* fall through */
	case 1:
		mem = map_file(victim->file);
		fill(mem + offset / sizeof(*mem), 1, word);
		unmap_file(victim->file, mem);
		return;
	default:
		fill(victim_mem(lane, victim), 1, word);
	}
}

/* Wherever the victims are mapped, peers are told what they begin with. */
static void tell(struct lane *lane, unsigned int known)
{
	if (is_vandal(lane)) {
		for (unsigned int i = 0; i < lane->nr_victims; i++)
			atomic_store(&board->known[lane->victims[i].file]
						  [lane->victims[i].page], known);
		return;
	}
	for (int view = 0; view < VIEWS; view++)
		for (unsigned long i = lane->first; i < lane->first + lane->nr; i++)
			if (maps_victim(lane, &lane->slots[view][i]))
				atomic_store(&this_crew()->known[view][i], known);
}

static void lose_once(struct lane *lane, bool truncates)
{
	int file = lane->victims[0].file;

	if (!truncates)
		return drop_by_punch(lane);
	drop_by_truncate(lane);
	set_file_size(file, file_size(file));
}

/* Time to fault and to read, as long as that takes on a busy machine. */
static void wait_for_reader(struct lane *lane)
{
	const atomic_uint *seen = is_vandal(lane) ? &board->seen :
						    &this_crew()->seen;
	unsigned int before = atomic_load(seen);

	for (int i = 0; i < 10 && atomic_load(seen) == before; i++)
		doze(lane, 4000);
}

/*
 * The file loses pages and gets others for them. Whoever still has what was
 * there before has a page that is not the file's (R3).
 *
 * Again and again, with little time in between, for what has to be met is a
 * fault that has begun before one loss and ends before the next. And not with
 * the page that the file has just lost: that one is kept for a while.
 */
void op_lose(struct lane *lane)
{
	unsigned long times = 1 + random_below(&lane->random, 8);
	bool truncates = is_last(lane) && random_once_in(&lane->random, 2);
	struct foreign foreigns[2][2];
	uint64_t words[2] = { 0, 0 };
	unsigned int nr, turn = 0;

	if (truncates)
		choose_tail(lane, lane->victims[0]);
	nr = map_foreigns(lane, foreigns[0]);
	map_foreigns(lane, foreigns[1]);
	/* Each of them is like an munmap(2) to some kernels' notifiers. */
	if (has_huge(lane))
		times *= 4;
	while (times-- && !atomic_load(&lane->controller->ending)) {
		lane->number++;
		/* Then it is peers who need and make new pages. */
		for (int i = random_below(&lane->random, 3); i > 0; i--) {
			lose_once(lane, truncates);
			dwell(lane);
		}
		lose_once(lane, truncates);
		words[turn] = word_of(TAG_FOREIGN, lane->number);
		fill_foreigns(foreigns[turn], nr, words[turn]);
		turn = !turn;
		if (words[turn])
			compare_foreigns(foreigns[turn], nr, words[turn]);
		free_foreigns(foreigns[turn], nr);
		for (unsigned int i = 0; i < lane->nr_victims; i++)
			write_word(lane, &lane->victims[i],
				   word_of(TAG_OPEN, lane->number));
		tell(lane, KNOWN | lane->number);
		dwell(lane);
		if (!times)
			wait_for_reader(lane);
		tell(lane, 0);
		count_add(N_LOSE, 1);
	}
	unmap_foreigns(foreigns[0], nr);
	unmap_foreigns(foreigns[1], nr);
}
