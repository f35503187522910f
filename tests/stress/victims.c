// SPDX-License-Identifier: GPL-2.0
/* What lanes do to what is mapped: see controller.c. */

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lane.h"

uint64_t *page_of(uint64_t *mem, unsigned long page)
{
	return mem + page * PAGE_WORDS;
}

uint64_t *victim_mem(struct lane *lane, const struct victim *victim)
{
	return lane->controller->mem[victim->file] +
	       file_offset(victim->file, victim->page) / sizeof(uint64_t);
}

/* Peers are to write, read and call: with plain stores no word is ever torn. */
void fill(uint64_t *mem, unsigned long words, uint64_t word)
{
	for (unsigned long i = 0; i < words; i++)
		__atomic_store_n(&mem[i], word, __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_seq_cst);
}

uint64_t word_at(const uint64_t *mem, unsigned long word)
{
	return __atomic_load_n(&mem[word], __ATOMIC_RELAXED);
}

void compare(const char *what, int file, unsigned long page,
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

/* What is in the span becomes the victims. */
void choose_victims(struct lane *lane, const struct span *span)
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

bool maps_victim(const struct lane *lane, const struct slot *slot)
{
	return slot->file >= 0 && lane->is_victim[slot->file][slot->page];
}

void fill_victims(struct lane *lane, enum tag tag)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++)
		fill(victim_mem(lane, &lane->victims[i]), PAGE_WORDS,
		     word_of(tag, lane->number));
}

/* Only the word that is the controller's, where peers write the others. */
void mark_victims(struct lane *lane, enum tag tag)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++)
		fill(victim_mem(lane, &lane->victims[i]), 1,
		     word_of(tag, lane->number));
}

void copy_victims(struct lane *lane)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++)
		memcpy(lane->copy[i], victim_mem(lane, &lane->victims[i]), PAGE);
}

void compare_victims(struct lane *lane, const char *what)
{
	for (unsigned int i = 0; i < lane->nr_victims; i++)
		compare(what, lane->victims[i].file, lane->victims[i].page,
			victim_mem(lane, &lane->victims[i]), lane->copy[i]);
}

/* The victims are lent to nobody: does anybody have them? */
void secrets(struct lane *lane)
{
	fill_victims(lane, TAG_SECRET);
	copy_victims(lane);
	dwell(lane);
	compare_victims(lane, "written after it was taken away");
	fill_victims(lane, TAG_OPEN);
}

void forget(struct lane *lane, const struct span *span)
{
	for (unsigned long i = 0; i < span->nr; i++)
		lane->slots[span->view][span->first + i].file = -1;
}

uint64_t mapped_bytes(const struct lane *lane, const struct span *span)
{
	uint64_t bytes = 0;

	for (unsigned long i = 0; i < span->nr; i++)
		bytes += PAGE * (lane->slots[span->view][span->first + i].file >= 0);
	return bytes;
}

/* Returns the bytes that this has removed, if it has been done already. */
uint64_t do_unmap(struct lane *lane, const struct span *span)
{
	const struct change unmap = {
		.kind = CHANGE_UNMAP, .view = span->view,
		.first = span->first, .nr = span->nr,
	};
	uint64_t bytes = 0;

	check(lane, change(lane, &unmap, &bytes), "unmap");
	count_add(N_UNMAP, 1);
	return bytes;
}

void unmap_span(struct lane *lane, const struct span *span)
{
	uint64_t want = mapped_bytes(lane, span), bytes = do_unmap(lane, span);

	if (lane->collects)
		lane->batch_bytes[span->view] += want;
	else if (bytes != want)
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

void unmap_victims(struct lane *lane)
{
	begin_changes(lane);
	for (int view = 0; view < VIEWS; view++) {
		struct span run = { .view = view, .first = lane->first };

		while (next_run(lane, &run)) {
			unmap_span(lane, &run);
			run.first += run.nr;
		}
	}
	end_changes(lane);
}

static void protect_run(struct lane *lane, const struct span *run,
			unsigned int rights)
{
	const struct change protect = {
		.kind = CHANGE_PROTECT, .view = run->view,
		.first = run->first, .nr = run->nr, .rights = rights,
	};

	check(lane, change(lane, &protect, NULL), "protect");
	for (unsigned long i = 0; i < run->nr; i++)
		lane->slots[run->view][run->first + i].now = rights;
}

/* Takes @right from the victims, wherever they are mapped. */
void narrow_victims(struct lane *lane, unsigned int right, enum count count)
{
	begin_changes(lane);
	for (int view = 0; view < VIEWS; view++) {
		struct span run = { .view = view, .first = lane->first };

		while (next_run(lane, &run)) {
			unsigned int now = lane->slots[view][run.first].now;

			if (now & right) {
				protect_run(lane, &run, now & ~right);
				count_add(count, 1);
				count_add(N_BATCH_NARROW, lane->collects);
			}
			run.first += run.nr;
		}
	}
	end_changes(lane);
}

/* Gives back all that they were mapped with, here and there. */
void widen_victims(struct lane *lane)
{
	begin_changes(lane);
	for (int view = 0; view < VIEWS; view++) {
		struct span run = { .view = view, .first = lane->first };

		while (next_run(lane, &run)) {
			if (!random_once_in(&lane->random, 8))
				protect_run(lane, &run,
					    lane->slots[view][run.first].most);
			run.first += run.nr;
		}
	}
	end_changes(lane);
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

/*
 * By a mapping of the controller's. Some of it may be something else by now, if
 * op_tamper() was there.
 */
static bool adopt_range(struct lane *lane, const struct span *span, int file,
			unsigned long page, unsigned int rights)
{
	struct controller *controller = lane->controller;
	char *lent = (char *)controller->lent[file];
	struct change adopt = {
		.kind = CHANGE_ADOPT, .view = span->view, .first = span->first,
		.nr = span->nr, .file = file, .page = page, .rights = rights,
	};
	int err;

	if (!lent || random_once_in(&lane->random, 2))
		return false;
	adopt.addr = lent + file_offset(file, page);
	err = change(lane, &adopt, NULL);
	if ((err == -EINVAL || err == -EFAULT) && controller->tampered)
		return false;
	check(lane, err, "adopt");
	count_add(N_ADOPT, 1);
	return true;
}

/* Maps @span as one range. */
void map_range(struct lane *lane, const struct span *span, bool replace)
{
	int file = random_below(&lane->random, FILES);
	unsigned int rights = random_rights(lane);
	unsigned long page = span->first;
	struct change map = {
		.kind = replace ? CHANGE_REPLACE : CHANGE_MAP,
		.view = span->view, .first = span->first, .nr = span->nr,
		.file = file, .rights = rights,
	};

	/* Some place in the file, or the same as in the other views. */
	if (random_once_in(&lane->random, 2))
		page = lane->first +
		       random_below(&lane->random, lane->nr - span->nr + 1);
	map.page = page;
	if (replace || !adopt_range(lane, span, file, page, rights))
		check(lane, change(lane, &map, NULL), replace ? "replace" : "map");
	/* What is replaced is removed, too. */
	if (lane->collects)
		lane->batch_bytes[span->view] += mapped_bytes(lane, span);
	count_add(replace ? N_REPLACE : N_MAP, 1);
	for (unsigned long i = 0; i < span->nr; i++)
		lane->slots[span->view][span->first + i] = (struct slot){
			.file = file, .page = page + i,
			.most = rights, .now = rights,
		};
}

/* Huge entries made for peers; their fdinfo is that of the control files. */
static void count_huge(struct controller *controller)
{
	unsigned long long n, sum = 0, was;
	char path[64], line[128];

	for (int fd = 3; fd < 64; fd++) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		file = fopen(path, "re");
		while (file && fgets(line, sizeof(line), file))
			if (sscanf(line, "huge_entries: %llu", &n) == 1)
				sum += n;
		if (file)
			fclose(file);
	}
	was = atomic_load(&controller->huge_entries);
	while (was < sum &&
	       !atomic_compare_exchange_weak(&controller->huge_entries, &was, sum))
		;
	if (was < sum)
		count_add(N_HUGE, sum - was);
}

/*
 * All of the lane's part of a view by one range, its huge page: peers that have
 * no page table there yet get a huge entry, from which operations take pieces.
 */
void map_block(struct lane *lane, int view)
{
	struct span all = { .view = view, .first = lane->first, .nr = lane->nr };
	unsigned int rights = MEMVIEW_READ | MEMVIEW_WRITE | MEMVIEW_EXEC;
	const struct change replace = {
		.kind = CHANGE_REPLACE, .view = view, .first = all.first,
		.nr = all.nr, .file = FILE_HUGE, .page = all.first,
		.rights = rights,
	};

	check(lane, change(lane, &replace, NULL), "replace by a block");
	for (unsigned long i = 0; i < all.nr; i++)
		lane->slots[view][all.first + i] = (struct slot){
			.file = FILE_HUGE, .page = all.first + i,
			.most = rights, .now = rights,
		};
	count_add(N_BLOCK, 1);
	count_huge(lane->controller);
}

/* Maps @span, which is free, in random pieces with a hole now and then. */
void map_pieces(struct lane *lane, const struct span *span)
{
	struct span piece = { .view = span->view, .first = span->first };
	unsigned long end = span->first + span->nr;

	begin_changes(lane);
	for (; piece.first < end; piece.first += piece.nr) {
		piece.nr = 1 + random_below(&lane->random, end - piece.first);
		if (!random_once_in(&lane->random, 8))
			map_range(lane, &piece, false);
	}
	end_changes(lane);
}

/* Maps the holes of a span. */
void map_holes(struct lane *lane, const struct span *span)
{
	const struct slot *slots = lane->slots[span->view];
	unsigned long end = span->first + span->nr;
	struct span hole = { .view = span->view, .first = span->first };

	begin_changes(lane);
	while (hole.first < end) {
		hole.nr = 0;
		while (hole.first + hole.nr < end &&
		       slots[hole.first + hole.nr].file < 0)
			hole.nr++;
		if (hole.nr)
			map_pieces(lane, &hole);
		hole.first += hole.nr + 1;
	}
	end_changes(lane);
}

/* Where the driver's own mappings have a victim, in this process. */
unsigned int victim_sources(struct lane *lane, const struct victim *victim,
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
					    &range, sizeof(range), 1, NULL);
			if (got < 0)
				fail("query", -got);
			/* Empty, if the view has just been revoked; 0, if dead. */
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
