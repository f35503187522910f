// SPDX-License-Identifier: GPL-2.0
/*
 * The controller: some threads, called lanes, that lend and take back.
 *
 * A lane owns the same part of every view and of every file, and knows what is
 * mapped where in it. Lanes meet in the driver: they share views and sources.
 *
 * Every operation has the same shape. Choose a span of a view. The pages of the
 * files that it maps are the *victims*; the same pages may be mapped elsewhere,
 * so whatever is taken is taken at all those places. When the last call has
 * returned, fill the victims with words that tell that the right is gone; give
 * the peers some time; see that nobody has changed them; clean up; lend again.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "stress.h"

#define FOREIGN_PAGES	16
#define MAX_VICTIMS	32	/* pages; and pages of a span */

/* A page of a view: what is mapped there. */
struct slot {
	int file;		/* -1: nothing */
	unsigned long page;	/* of the file */
	unsigned int most;	/* what it was mapped with */
	unsigned int now;
};

struct victim {
	int file;
	unsigned long page;
};

struct span {
	int view;
	unsigned long first;
	unsigned long nr;
};

struct controller {
	struct memview *views[VIEWS];
	uint64_t *mem[FILES];	/* the controller's own mappings */
	int pagemap;
	atomic_bool ending;
	unsigned int operations;	/* of this life: a bit for each */
	/* Read by who uses the driver's mappings, which go with the views. */
	pthread_rwlock_t sources;
};

struct lane {
	struct controller *controller;
	pthread_t thread;
	/* Unmaps the span while the lane does something with the same pages. */
	pthread_t rival;
	sem_t rival_go, rival_calls, rival_done;
	bool rival_fills;	/* and puts secrets there, too */
	uint64_t rival_bytes;
	unsigned int index;
	uint64_t random;
	unsigned long first;	/* page of views and files */
	unsigned long nr;
	struct slot slots[VIEWS][MAX_PAGES];
	struct span span;
	bool is_victim[FILES][MAX_PAGES];
	struct victim victims[MAX_VICTIMS];
	unsigned int nr_victims;
	uint16_t number;	/* of the operation, in the words it writes */
	uint64_t copy[MAX_VICTIMS][PAGE_WORDS];
};

static uint64_t *page_of(uint64_t *mem, unsigned long page)
{
	return mem + page * PAGE_WORDS;
}

static uint64_t *victim_mem(struct lane *lane, const struct victim *victim)
{
	return page_of(lane->controller->mem[victim->file], victim->page);
}

static bool is_last(const struct lane *lane)
{
	return lane->index == LANES - 1;
}

static void check(struct lane *lane, int err, const char *what)
{
	if (!err)
		return;
	/* The views have been revoked under the lane, to end its life. */
	if (err == -ESHUTDOWN && atomic_load(&lane->controller->ending)) {
		count_flush();
		pthread_exit(NULL);
	}
	fail(what, -err);
}

/* Peers are to write, read and call: with plain stores no word is ever torn. */
static void fill(uint64_t *mem, unsigned long words, uint64_t word)
{
	for (unsigned long i = 0; i < words; i++)
		__atomic_store_n(&mem[i], word, __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_seq_cst);
}

static uint64_t word_at(const uint64_t *mem, unsigned long word)
{
	return __atomic_load_n(&mem[word], __ATOMIC_RELAXED);
}

/* Less than @most microseconds, perhaps none. */
static void doze(struct lane *lane, unsigned int most)
{
	struct timespec time = {
		.tv_nsec = 1000L * random_below(&lane->random, most),
	};

	if (time.tv_nsec)
		nanosleep(&time, NULL);
}

/* Peers get some time. Short more often than long: what races is short. */
static void dwell(struct lane *lane)
{
	static const unsigned int most[] = { 1, 20, 20, 100, 100, 500, 500, 4000 };

	doze(lane, most[random_below(&lane->random,
				     sizeof(most) / sizeof(most[0]))]);
}

/* What is in the span becomes the victims. */
static void choose_victims(struct lane *lane, const struct span *span)
{
	memset(lane->is_victim, 0, sizeof(lane->is_victim));
	lane->nr_victims = 0;
	lane->number++;
	for (unsigned long i = span->first; i < span->first + span->nr; i++) {
		const struct slot *slot = &lane->slots[span->view][i];

		if (slot->file < 0 || lane->is_victim[slot->file][slot->page])
			continue;
		lane->is_victim[slot->file][slot->page] = true;
		lane->victims[lane->nr_victims++] = (struct victim){
			.file = slot->file, .page = slot->page,
		};
	}
}

static bool maps_victim(const struct lane *lane, const struct slot *slot)
{
	return slot->file >= 0 && lane->is_victim[slot->file][slot->page];
}

static void fill_victims(struct lane *lane, enum tag tag)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++)
		fill(victim_mem(lane, &lane->victims[i]), PAGE_WORDS,
		     word_of(tag, lane->number));
}

/* Only the word that is the controller's, where peers write the others. */
static void mark_victims(struct lane *lane, enum tag tag)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++)
		fill(victim_mem(lane, &lane->victims[i]), 1,
		     word_of(tag, lane->number));
}

static void copy_victims(struct lane *lane)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++)
		memcpy(lane->copy[i], victim_mem(lane, &lane->victims[i]), PAGE);
}

static void compare(const char *what, int file, unsigned long page,
		    const uint64_t *mem, const uint64_t *wanted)
{
	for (unsigned long i = 0; i < PAGE_WORDS; i++) {
		if (word_at(mem, i) != wanted[i]) {
			escaped(&(struct escape){
				.what = what, .view = -1, .file = file,
				.page = page, .value = word_at(mem, i),
				.wanted = wanted[i],
			});
			return;
		}
	}
}

static void compare_victims(struct lane *lane, const char *what)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++)
		compare(what, lane->victims[i].file, lane->victims[i].page,
			victim_mem(lane, &lane->victims[i]), lane->copy[i]);
}

/* The victims are lent to nobody: does anybody have them? */
static void secrets(struct lane *lane)
{
	fill_victims(lane, TAG_SECRET);
	copy_victims(lane);
	dwell(lane);
	compare_victims(lane, "written after it was taken away");
	fill_victims(lane, TAG_OPEN);
}

static void forget(struct lane *lane, const struct span *span)
{
	for (unsigned long i = 0; i < span->nr; i++)
		lane->slots[span->view][span->first + i].file = -1;
}

static uint64_t mapped_bytes(const struct lane *lane, const struct span *span)
{
	uint64_t bytes = 0;

	for (unsigned long i = 0; i < span->nr; i++)
		bytes += PAGE * (lane->slots[span->view][span->first + i].file >= 0);
	return bytes;
}

/* Returns the bytes that this call has removed. */
static uint64_t do_unmap(struct lane *lane, const struct span *span)
{
	uint64_t bytes;

	check(lane, memview_unmap(lane->controller->views[span->view],
				  span->first * PAGE, span->nr * PAGE, &bytes),
	      "unmap");
	count_add(N_UNMAP, 1);
	return bytes;
}

static void unmap_span(struct lane *lane, const struct span *span)
{
	if (do_unmap(lane, span) != mapped_bytes(lane, span))
		fail("unmap: not the bytes that were mapped", 0);
	forget(lane, span);
}

/*
 * The next run of pages, from @span->first on, that map a victim and may do the
 * same there.
 */
static bool next_run(struct lane *lane, struct span *span)
{
	const struct slot *slots = lane->slots[span->view];
	unsigned long end = lane->first + lane->nr;
	unsigned long i = span->first;

	while (i < end && !maps_victim(lane, &slots[i]))
		i++;
	span->first = i;
	span->nr = 0;
	while (i < end && maps_victim(lane, &slots[i]) &&
	       slots[i].now == slots[span->first].now &&
	       slots[i].most == slots[span->first].most) {
		i++;
		span->nr++;
	}
	return span->nr;
}

static void unmap_victims(struct lane *lane)
{
	for (int view = 0; view < VIEWS; view++) {
		struct span run = { .view = view, .first = lane->first };

		while (next_run(lane, &run)) {
			unmap_span(lane, &run);
			run.first += run.nr;
		}
	}
}

static void protect_run(struct lane *lane, const struct span *run,
			unsigned int rights)
{
	check(lane, memview_protect(lane->controller->views[run->view],
				    run->first * PAGE, run->nr * PAGE, rights),
	      "protect");
	for (unsigned long i = 0; i < run->nr; i++)
		lane->slots[run->view][run->first + i].now = rights;
}

/* Takes @right from the victims, wherever they are mapped. */
static void narrow_victims(struct lane *lane, unsigned int right,
			   enum count count)
{
	for (int view = 0; view < VIEWS; view++) {
		struct span run = { .view = view, .first = lane->first };

		while (next_run(lane, &run)) {
			unsigned int now = lane->slots[view][run.first].now;

			if (now & right) {
				protect_run(lane, &run, now & ~right);
				count_add(count, 1);
			}
			run.first += run.nr;
		}
	}
}

/* Gives back all that they were mapped with, here and there. */
static void widen_victims(struct lane *lane)
{
	for (int view = 0; view < VIEWS; view++) {
		struct span run = { .view = view, .first = lane->first };

		while (next_run(lane, &run)) {
			if (!random_once_in(&lane->random, 8))
				protect_run(lane, &run,
					    lane->slots[view][run.first].most);
			run.first += run.nr;
		}
	}
}

static unsigned int random_rights(struct lane *lane)
{
	unsigned int rights = MEMVIEW_READ;

	if (!random_once_in(&lane->random, 4))
		rights |= MEMVIEW_WRITE;
	if (!random_once_in(&lane->random, 3))
		rights |= MEMVIEW_EXEC;
	if (random_once_in(&lane->random, 4))
		rights |= MEMVIEW_LAZY_WRITE;
	return rights;
}

/* Maps @span as one range. */
static void map_range(struct lane *lane, const struct span *span, bool replace)
{
	struct memview *view = lane->controller->views[span->view];
	int file = random_below(&lane->random, FILES);
	unsigned int rights = random_rights(lane);
	unsigned long page = span->first;
	int err;

	/* Some place in the file, or the same as in the other views. */
	if (random_once_in(&lane->random, 2))
		page = lane->first +
		       random_below(&lane->random, lane->nr - span->nr + 1);
	if (replace)
		err = memview_replace(view, span->first * PAGE, files[file],
				      page * PAGE, span->nr * PAGE, rights);
	else
		err = memview_map(view, span->first * PAGE, files[file],
				  page * PAGE, span->nr * PAGE, rights);
	check(lane, err, replace ? "replace" : "map");
	count_add(replace ? N_REPLACE : N_MAP, 1);
	for (unsigned long i = 0; i < span->nr; i++)
		lane->slots[span->view][span->first + i] = (struct slot){
			.file = file, .page = page + i,
			.most = rights, .now = rights,
		};
}

/* Maps @span, which is free, in random pieces with a hole now and then. */
static void map_pieces(struct lane *lane, const struct span *span)
{
	struct span piece = { .view = span->view, .first = span->first };
	unsigned long end = span->first + span->nr;

	for (; piece.first < end; piece.first += piece.nr) {
		piece.nr = 1 + random_below(&lane->random, end - piece.first);
		if (!random_once_in(&lane->random, 8))
			map_range(lane, &piece, false);
	}
}

/* Maps the holes of a span. */
static void map_holes(struct lane *lane, const struct span *span)
{
	const struct slot *slots = lane->slots[span->view];
	unsigned long end = span->first + span->nr;
	struct span hole = { .view = span->view, .first = span->first };

	while (hole.first < end) {
		hole.nr = 0;
		while (hole.first + hole.nr < end &&
		       slots[hole.first + hole.nr].file < 0)
			hole.nr++;
		if (hole.nr)
			map_pieces(lane, &hole);
		hole.first += hole.nr + 1;
	}
}

static void op_unmap(struct lane *lane)
{
	unmap_span(lane, &lane->span);
	unmap_victims(lane);
	secrets(lane);
}

static void *rival_run(void *argument)
{
	struct lane *lane = argument;

	/* The lane is to overtake it in the middle of its work. */
	if (setpriority(PRIO_PROCESS, 0, 0))
		fail("setpriority", errno);
	for (;;) {
		while (sem_wait(&lane->rival_go))
			;
		if (atomic_load(&board->stop) ||
		    atomic_load(&lane->controller->ending))
			break;
		sem_post(&lane->rival_calls);
		lane->rival_bytes = do_unmap(lane, &lane->span);
		if (lane->rival_fills)
			fill_victims(lane, TAG_SECRET);
		count_flush();
		sem_post(&lane->rival_done);
	}
	return NULL;
}

/* False if the life ends: nobody waits for a rival then. */
static bool wait_for_rival(struct lane *lane, sem_t *sem)
{
	const struct timespec time = { .tv_nsec = 20 * 1000 };

	while (sem_trywait(sem)) {
		if (atomic_load(&lane->controller->ending) ||
		    atomic_load(&board->stop))
			return false;
		nanosleep(&time, NULL);
	}
	return true;
}

/* Meets the rival anywhere in its call, or before or after it. */
static bool start_rival(struct lane *lane, bool fills)
{
	static const unsigned int most[] = { 1, 1, 50, 200 };

	lane->rival_fills = fills;
	sem_post(&lane->rival_go);
	if (!wait_for_rival(lane, &lane->rival_calls))
		return false;
	doze(lane, most[random_below(&lane->random,
				     sizeof(most) / sizeof(most[0]))]);
	return true;
}

/*
 * Two threads unmap the same. Whichever returns first, and even if it has found
 * nothing to remove: then it is gone.
 */
static void op_unmap_twice(struct lane *lane)
{
	uint64_t want = mapped_bytes(lane, &lane->span), got;

	/* Everywhere else first, so that nothing comes between this and that. */
	forget(lane, &lane->span);
	unmap_victims(lane);
	if (!start_rival(lane, true))
		return;
	got = do_unmap(lane, &lane->span);
	fill_victims(lane, TAG_SECRET);
	copy_victims(lane);
	dwell(lane);
	if (!wait_for_rival(lane, &lane->rival_done))
		return;
	compare_victims(lane, "written after it was unmapped twice");
	fill_victims(lane, TAG_OPEN);
	if (got + lane->rival_bytes != want)
		fail("unmap: two calls have not removed what was mapped", 0);
	count_add(N_UNMAP_TWICE, 1);
}

/* Old and new can be the same pages: then they are not lent here either. */
static void op_replace(struct lane *lane)
{
	map_range(lane, &lane->span, true);
	unmap_victims(lane);
	secrets(lane);
}

static void drop_by_punch(struct lane *lane)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++) {
		const struct victim *victim = &lane->victims[i];

		if (fallocate(files[victim->file],
			      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      victim->page * PAGE, PAGE))
			fail("fallocate", errno);
		count_add(N_PUNCH, 1);
	}
}

/* Where the driver's own mappings have a victim, in this process. */
static unsigned int victim_sources(struct lane *lane, const struct victim *victim,
				   char **sources, unsigned int max)
{
	unsigned int nr = 0;

	for (int view = 0; view < VIEWS; view++) {
		for (unsigned long i = lane->first; i < lane->first + lane->nr; i++) {
			const struct slot *slot = &lane->slots[view][i];
			struct memview_range range;
			uint64_t offset = i * PAGE;
			unsigned int j = 0;
			char *source;
			int got;

			if (slot->file != victim->file || slot->page != victim->page)
				continue;
			got = memview_query(lane->controller->views[view], &offset,
					    &range, 1, NULL);
			if (got < 0)
				fail("query", -got);
			/* Empty, if the view has just been revoked. */
			if (!got || !range.source_addr || range.mem_offset > i * PAGE)
				continue;
			source = (char *)range.source_addr +
				 (i * PAGE - range.mem_offset);
			while (j < nr && sources[j] != source)
				j++;
			if (j == nr && nr < max)
				sources[nr++] = source;
		}
	}
	return nr;
}

/*
 * Has the victims written to swap and dropped. The kernel does so only with
 * pages that one mapping has, so they leave all others first. What peers have
 * written must not get lost on the way.
 */
static void page_out_victims(struct lane *lane)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++) {
		struct victim *victim = &lane->victims[i];
		char *sources[2];
		unsigned int nr = victim_sources(lane, victim, sources, 2);
		unsigned char resident = 1;

		if (!nr)
			continue;
		madvise(victim_mem(lane, victim), PAGE, MADV_DONTNEED);
		for (unsigned int j = 1; j < nr; j++)
			madvise(sources[j], PAGE, MADV_DONTNEED);
		(void)*(volatile char *)sources[0];
		madvise(sources[0], PAGE, MADV_PAGEOUT);
		if (!mincore(victim_mem(lane, victim), PAGE, &resident) &&
		    !(resident & 1))
			count_add(N_PAGED_OUT, 1);
	}
}

static void op_narrow(struct lane *lane)
{
	/* Then what is in them is from peers alone, and clean but for them. */
	if (random_once_in(&lane->random, 3)) {
		drop_by_punch(lane);
		dwell(lane);
	}
	narrow_victims(lane, MEMVIEW_WRITE, N_NARROW);
	/* What peers wrote must stay as well as what we write. */
	if (random_once_in(&lane->random, 2))
		fill_victims(lane, TAG_FROZEN);
	copy_victims(lane);
	if (random_once_in(&lane->random, 2)) {
		pthread_rwlock_rdlock(&lane->controller->sources);
		page_out_victims(lane);
		pthread_rwlock_unlock(&lane->controller->sources);
	}
	dwell(lane);
	compare_victims(lane, "changed after it was made read-only");
	fill_victims(lane, TAG_OPEN);
	widen_victims(lane);
}

static void op_noexec(struct lane *lane)
{
	narrow_victims(lane, MEMVIEW_EXEC, N_NOEXEC);
	mark_victims(lane, TAG_DATA);
	/* Peers have several steps to do in this time. */
	for (int i = 0; i < 4; i++)
		dwell(lane);
	mark_victims(lane, TAG_OPEN);
	widen_victims(lane);
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

/*
 * Pages that leave the file go back to the kernel, which hands them out to
 * anybody, here to this process's private memory. No peer may meet them there
 * (R3). Peers go on using the ranges, which have new pages or none.
 */
static void free_and_reuse(struct lane *lane, void (*drop)(struct lane *lane),
			   unsigned long times)
{
	const size_t len = FOREIGN_PAGES * PAGE;
	uint64_t frames[MAX_VICTIMS], wanted[PAGE_WORDS];
	unsigned long reused = 0;
	uint64_t *mem;

	for (unsigned int i = 0; i < lane->nr_victims; i++) {
		uint64_t *victim = victim_mem(lane, &lane->victims[i]);

		word_at(victim, 0);
		frames[i] = frame_of(lane, victim);
	}
	fill(wanted, PAGE_WORDS, word_of(TAG_FOREIGN, lane->number));
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		fail("mmap", errno);
	madvise(mem, len, MADV_NOHUGEPAGE);

	/* The second time and later, peers are about to fault new pages in. */
	while (times--) {
		drop(lane);
		for (unsigned int i = 0; i < FOREIGN_PAGES; i++)
			fill(page_of(mem, i), PAGE_WORDS, wanted[0]);
		dwell(lane);
		for (unsigned int i = 0; i < FOREIGN_PAGES; i++)
			compare("private memory of the controller written", -1,
				i, page_of(mem, i), wanted);
		for (unsigned int i = 0; i < FOREIGN_PAGES; i++) {
			uint64_t frame = frame_of(lane, page_of(mem, i));

			for (unsigned int j = 0; frame && j < lane->nr_victims; j++)
				reused += frame == frames[j];
		}
		madvise(mem, len, MADV_DONTNEED);
		dwell(lane);
	}
	count_add(N_REUSED, reused);
	munmap(mem, len);
}

static void op_punch(struct lane *lane)
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
static void op_unmap_punch(struct lane *lane)
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

static void drop_by_truncate(struct lane *lane)
{
	const struct victim *victim = &lane->victims[0];

	if (ftruncate(files[victim->file], victim->page * PAGE))
		fail("ftruncate", errno);
	count_add(N_TRUNCATE, 1);
}

/* From a page in the last lane to the end of the file: victims are all those. */
static void op_truncate(struct lane *lane)
{
	struct victim first = lane->victims[0];
	unsigned long end = lane->first + lane->nr;

	if (!is_last(lane))
		return op_punch(lane);

	if (end - first.page > MAX_VICTIMS)
		first.page = end - MAX_VICTIMS;
	lane->nr_victims = 0;
	for (unsigned long page = first.page; page < end; page++)
		lane->victims[lane->nr_victims++] = (struct victim){
			.file = first.file, .page = page,
		};
	free_and_reuse(lane, drop_by_truncate, 1);
	if (ftruncate(files[first.file], end * PAGE))
		fail("ftruncate", errno);
	mark_victims(lane, TAG_OPEN);
}

/* From a page in the last lane to the end of the view. */
static void op_shrink(struct lane *lane)
{
	struct memview *view = lane->controller->views[lane->span.view];
	unsigned long end = lane->first + lane->nr;

	if (!is_last(lane))
		return op_unmap(lane);

	if (end - lane->span.first > MAX_VICTIMS)
		lane->span.first = end - MAX_VICTIMS;
	lane->span.nr = end - lane->span.first;
	choose_victims(lane, &lane->span);
	check(lane, memview_set_size(view, lane->span.first * PAGE), "shrink");
	forget(lane, &lane->span);
	count_add(N_SHRINK, 1);
	unmap_victims(lane);
	secrets(lane);
	check(lane, memview_set_size(view, end * PAGE), "grow");
}

/* The same place several times, so that peers are there; else a new one. */
static void choose_span(struct lane *lane)
{
	struct span *span = &lane->span;
	unsigned long most;

	if (span->nr && !random_once_in(&lane->random, 8))
		return;
	most = random_once_in(&lane->random, 4) ? MAX_VICTIMS : 4;
	if (most > lane->nr)
		most = lane->nr;
	span->view = random_below(&lane->random, VIEWS);
	span->nr = 1 + random_below(&lane->random, most);
	span->first = lane->first +
		      random_below(&lane->random, lane->nr - span->nr + 1);
}

/* What lanes do, and how often: of all turns, @weight. */
static const struct {
	const char *name;
	void (*run)(struct lane *lane);
	unsigned int weight;
} operations[] = {
	{ "unmap",		op_unmap,	3 },
	{ "unmap-twice",	op_unmap_twice,	2 },
	{ "unmap-punch",	op_unmap_punch,	1 },
	{ "replace",		op_replace,	2 },
	{ "narrow",		op_narrow,	2 },
	{ "noexec",		op_noexec,	2 },
	{ "punch",		op_punch,	2 },
	{ "truncate",		op_truncate,	1 },
	{ "shrink",		op_shrink,	1 },
};

#define NR_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static bool is_chosen(unsigned int operation)
{
	const char *name = operations[operation].name, *at = options.operations;
	size_t len = strlen(name);

	if (!at)
		return true;
	while (*at) {
		size_t next = strcspn(at, ",");

		if (next == len && !memcmp(at, name, len))
			return true;
		at += next + !!at[next];
	}
	return false;
}

bool operations_exist(const char *list)
{
	do {
		size_t len = strcspn(list, ",");
		unsigned int i = 0;

		while (i < NR_OPERATIONS &&
		       (strlen(operations[i].name) != len ||
			memcmp(operations[i].name, list, len)))
			i++;
		if (i == NR_OPERATIONS)
			return false;
		list += len;
	} while (*list++);
	return true;
}

/*
 * Every second life has all that is chosen. The others have one or two of them,
 * for what races with something that is rare meets it rarely.
 */
static unsigned int operations_of(unsigned long long life)
{
	uint64_t random = random_seed(life, LANES);
	unsigned int all = 0, some = 0;

	for (unsigned int i = 0; i < NR_OPERATIONS; i++)
		all |= is_chosen(i) << i;
	if (life % 2)
		return all;
	while (!(some & all))
		some = 1U << random_below(&random, NR_OPERATIONS) |
		       1U << random_below(&random, NR_OPERATIONS);
	return some & all;
}

static void random_operation(struct lane *lane)
{
	unsigned int chosen = lane->controller->operations;
	unsigned long sum = 0, turn;

	for (unsigned int i = 0; i < NR_OPERATIONS; i++)
		sum += (chosen >> i & 1) * operations[i].weight;
	turn = random_below(&lane->random, sum);
	for (unsigned int i = 0; i < NR_OPERATIONS; i++) {
		unsigned int weight = (chosen >> i & 1) * operations[i].weight;

		if (turn < weight)
			return operations[i].run(lane);
		turn -= weight;
	}
}

static void *lane_run(void *argument)
{
	struct lane *lane = argument;

	while (!atomic_load(&board->stop) &&
	       !atomic_load(&lane->controller->ending)) {
		choose_span(lane);
		atomic_store(&board->hot[lane->index],
			     HOT(lane->span.view, lane->span.first));
		map_holes(lane, &lane->span);
		choose_victims(lane, &lane->span);
		/* Let peers begin to fault, or have it mapped; or neither. */
		dwell(lane);
		if (lane->nr_victims)
			random_operation(lane);
		count_flush();
	}
	return NULL;
}

static void start_lane(struct lane *lane)
{
	for (int view = 0; view < VIEWS; view++) {
		struct span all = {
			.view = view, .first = lane->first, .nr = lane->nr,
		};

		forget(lane, &all);
		map_pieces(lane, &all);
	}
}

static void open_views(struct controller *controller, const int *sockets)
{
	static const unsigned int rights[VIEWS] = {
		[0] = MEMVIEW_READ | MEMVIEW_WRITE | MEMVIEW_EXEC,
		[1] = MEMVIEW_READ | MEMVIEW_WRITE | MEMVIEW_EXEC,
		[VIEW_NO_WRITE] = MEMVIEW_READ | MEMVIEW_EXEC,
	};

	for (int i = 0; i < VIEWS; i++) {
		struct memview *view;
		int err = memview_open(&view), fd;

		if (!err)
			err = memview_set_size(view, options.pages * PAGE);
		if (err)
			fail("a new view", -err);
		fd = memview_view_fd_rights(view, rights[i]);
		if (fd < 0)
			fail("view fd", -fd);
		for (unsigned int peer = 0; peer < options.peers; peer++) {
			err = memview_send_fd(sockets[peer], fd, NULL, 0);
			/* Peers get killed. */
			if (err < 0 && err != -EPIPE && err != -ECONNRESET)
				fail("sending a view fd", -err);
		}
		close(fd);
		controller->views[i] = view;
	}
}

uint64_t *map_file(int file)
{
	uint64_t *mem = mmap(NULL, options.pages * PAGE, PROT_READ | PROT_WRITE,
			     MAP_SHARED, file, 0);

	if (mem == MAP_FAILED)
		fail("mapping a file", errno);
	/* Peers are to have these pages from a view only. */
	madvise(mem, options.pages * PAGE, MADV_DONTFORK);
	return mem;
}

void check_dead(unsigned long long life, uint64_t *const mem[FILES])
{
	const struct timespec time = { .tv_nsec = 30 * 1000 * 1000 };
	uint64_t wanted[PAGE_WORDS];

	atomic_store(&board->dead, life);
	fill(wanted, PAGE_WORDS, word_of(TAG_SECRET, 0xdead));
	for (int i = 0; i < FILES; i++) {
		/* A life may end in the middle of op_truncate(). */
		if (ftruncate(files[i], options.pages * PAGE))
			fail("ftruncate", errno);
		fill(mem[i], options.pages * PAGE_WORDS, wanted[0]);
	}
	nanosleep(&time, NULL);
	for (int i = 0; i < FILES; i++) {
		for (unsigned long page = 0; page < options.pages; page++)
			compare("written after the end of the controller", i,
				page, page_of(mem[i], page), wanted);
		fill(mem[i], options.pages * PAGE_WORDS, word_of(TAG_OPEN, 0));
	}
}

static void join_lanes(struct lane *lanes)
{
	for (int i = 0; i < LANES; i++) {
		pthread_join(lanes[i].thread, NULL);
		/* So that it sees that the life ends. */
		sem_post(&lanes[i].rival_go);
		pthread_join(lanes[i].rival, NULL);
	}
}

noreturn void controller_run(unsigned long long life, enum ending ending,
			     unsigned int milliseconds, const int *sockets)
{
	const struct timespec time = {
		.tv_sec = milliseconds / 1000,
		.tv_nsec = milliseconds % 1000 * 1000000L,
	};
	static struct controller controller;
	static struct lane lanes[LANES];

	/*
	 * Lanes are to run when they wake up, and peers while they sleep: so a
	 * peer is often interrupted where a race is, in the middle of a fault.
	 */
	if (setpriority(PRIO_PROCESS, 0, -15))
		fail("setpriority", errno);
	prctl(PR_SET_TIMERSLACK, 1000);
	for (int i = 0; i < FILES; i++)
		controller.mem[i] = map_file(files[i]);
	controller.operations = operations_of(life);
	pthread_rwlock_init(&controller.sources, NULL);
	controller.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	open_views(&controller, sockets);

	for (int i = 0; i < LANES; i++) {
		lanes[i].controller = &controller;
		lanes[i].index = i;
		lanes[i].random = random_seed(life, i);
		lanes[i].first = i * (options.pages / LANES);
		lanes[i].nr = options.pages / LANES;
		start_lane(&lanes[i]);
	}
	for (int i = 0; i < LANES; i++) {
		int err;

		sem_init(&lanes[i].rival_go, 0, 0);
		sem_init(&lanes[i].rival_calls, 0, 0);
		sem_init(&lanes[i].rival_done, 0, 0);
		err = pthread_create(&lanes[i].rival, NULL, rival_run, &lanes[i]);
		if (!err)
			err = pthread_create(&lanes[i].thread, NULL, lane_run,
					     &lanes[i]);
		if (err)
			fail("pthread_create", err);
	}

	nanosleep(&time, NULL);
	switch (ending) {
	case END_EXEC:
		/* In the midst of what the lanes do, like SIGKILL and exit. */
		execl("/bin/true", "true", NULL);
		fail("execl", errno);
	case END_EXIT:
		_exit(0);
	case END_REVOKE:
		atomic_store(&controller.ending, true);
		pthread_rwlock_wrlock(&controller.sources);
		for (int i = 0; i < VIEWS; i++) {
			int err = memview_revoke(controller.views[i]);

			if (err)
				fail("revoke", -err);
		}
		pthread_rwlock_unlock(&controller.sources);
		join_lanes(lanes);
		check_dead(life, controller.mem);
		break;
	case END_CLOSE:
		atomic_store(&controller.ending, true);
		join_lanes(lanes);
		for (int i = 0; i < VIEWS; i++)
			memview_close(controller.views[i]);
		check_dead(life, controller.mem);
		break;
	default:
		pause();
	}
	count_flush();
	_exit(0);
}
