// SPDX-License-Identifier: GPL-2.0
/* Operations of lanes that take rights by changing the table. */

#define _GNU_SOURCE
#include <stddef.h>
#include <sys/mman.h>

#include "lane.h"

void op_unmap(struct lane *lane)
{
	begin_changes(lane);
	unmap_span(lane, &lane->span);
	unmap_victims(lane);
	end_changes(lane);
	secrets(lane);
}

/*
 * Two threads unmap the same. Whichever returns first, and even if it has found
 * nothing to remove: then it is gone.
 */
void op_unmap_twice(struct lane *lane)
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
void op_replace(struct lane *lane)
{
	begin_changes(lane);
	map_range(lane, &lane->span, true);
	unmap_victims(lane);
	end_changes(lane);
	secrets(lane);
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

		/* Huge pages are not swapped. */
		if (!nr || victim->file == FILE_HUGE)
			continue;
		madvise(victim_mem(lane, victim), PAGE, MADV_DONTNEED);
		if (lane->controller->lent[victim->file])
			madvise((char *)lane->controller->lent[victim->file] +
				file_offset(victim->file, victim->page), PAGE,
				MADV_DONTNEED);
		for (unsigned int j = 1; j < nr; j++)
			madvise(sources[j], PAGE, MADV_DONTNEED);
		(void)*(volatile char *)sources[0];
		madvise(sources[0], PAGE, MADV_PAGEOUT);
		if (!mincore(victim_mem(lane, victim), PAGE, &resident) &&
		    !(resident & 1))
			count_add(N_PAGED_OUT, 1);
	}
}

void op_narrow(struct lane *lane)
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
		if (!lane->controller->tampered)
			page_out_victims(lane);
		pthread_rwlock_unlock(&lane->controller->sources);
	}
	dwell(lane);
	compare_victims(lane, "changed after it was made read-only");
	fill_victims(lane, TAG_OPEN);
	widen_victims(lane);
}

void op_noexec(struct lane *lane)
{
	narrow_victims(lane, MEMVIEW_EXEC, N_NOEXEC);
	mark_victims(lane, TAG_DATA);
	/* Peers have several steps to do in this time. */
	for (int i = 0; i < 4; i++)
		dwell(lane);
	mark_victims(lane, TAG_OPEN);
	widen_victims(lane);
}

/* From a page in the last lane to the end of the view. */
void op_shrink(struct lane *lane)
{
	struct change size = { .kind = CHANGE_SIZE, .view = lane->span.view };
	unsigned long end = lane->first + lane->nr;

	/* The end of the view is in the last lane. */
	if (lane->index != LANES - 1)
		return op_unmap(lane);

	if (end - lane->span.first > MAX_VICTIMS)
		lane->span.first = end - MAX_VICTIMS;
	lane->span.nr = end - lane->span.first;
	choose_victims(lane, &lane->span);
	size.nr = lane->span.first;
	check(lane, change(lane, &size, NULL), "shrink");
	forget(lane, &lane->span);
	count_add(N_SHRINK, 1);
	unmap_victims(lane);
	secrets(lane);
	size.nr = end;
	check(lane, change(lane, &size, NULL), "grow");
}
