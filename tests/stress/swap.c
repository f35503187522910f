// SPDX-License-Identifier: GPL-2.0
/*
 * A view whose pages come back from a slow swap device, see with-zram. Who touches
 * them waits for the device; the rest of the view, and who changes it, does not.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbours.h"

#define SIZE	(128 * PAGE)	/* of the view: the first half is swapped out */

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

/* The device's number N in /dev/dm-N; -1: there is none, or it is no swap. */
static int slow_device(void)
{
	FILE *file = fopen("/proc/swaps", "re");
	char line[256];
	int number = -1;

	while (file && number < 0 && fgets(line, sizeof(line), file))
		if (sscanf(line, "/dev/dm-%d", &number) != 1)
			number = -1;
	if (file)
		fclose(file);
	return number;
}

static unsigned long reads_of(int device)
{
	unsigned long reads = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/block/dm-%d/stat", device);
	file = fopen(path, "re");
	if (file && fscanf(file, "%lu", &reads) != 1)
		reads = 0;
	if (file)
		fclose(file);
	return reads;
}

static noreturn void slow_peer(const struct own *own)
{
	volatile char *at = map_own(own);

	for (;;)
		touch_all("access to what is swapped out", at, SIZE / 2);
}

static noreturn void quick_peer(const struct own *own)
{
	volatile char *at = map_own(own);

	for (;;) {
		touch_all("access beside what is swapped out", at + SIZE / 2, SIZE / 2);
		nap(1);
	}
}

static void page_out(const struct own *own)
{
	struct memview_range range;
	uint64_t offset = 0;

	if (memview_query(own->view, &offset, &range, sizeof(range), 1, NULL) != 1)
		fail("query", 0);
	madvise((void *)(uintptr_t)range.source_addr, SIZE / 2, MADV_PAGEOUT);
}

static void swap_once(unsigned int round, int device)
{
	unsigned long before = reads_of(device);
	pid_t slow, quick;
	struct own own;

	lend_own(&own, SIZE);
	slow = start();
	if (!slow)
		slow_peer(&own);
	quick = start();
	if (!quick)
		quick_peer(&own);
	for (int i = 0; i < 5; i++) {
		nap(40);
		page_out(&own);
		now_doing("replace beside what is swapped out");
		memview_replace(own.view, SIZE / 2, own.file, SIZE / 2, SIZE / 2,
				READ_WRITE);
		now_resting();
	}
	if (round % 2) {
		now_doing("revoke of what is swapped out");
		memview_revoke(own.view);
		now_resting();
	}
	kill_child(slow, "who waits for a slow swap");
	kill_child(quick, "a peer beside one that waits for a slow swap");
	now_doing("close of what is swapped out");
	give_up_own(&own);
	now_resting();
	count_add(N_SLOW_SWAP, reads_of(device) - before);
	count_flush();
}

noreturn void swap_run(void)
{
	int device = slow_device();

	for (unsigned int i = 0; device >= 0 && run_goes_on(); i++) {
		pid_t pid = start();

		if (!pid) {
			swap_once(i, device);
			_exit(STATUS_OK);
		}
		wait_for_child(pid, "who lends what is swapped out");
		nap(100);
	}
	_exit(STATUS_OK);
}
