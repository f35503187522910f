// SPDX-License-Identifier: GPL-2.0
/*
 * The longest that memview.lock is held by table operations of a size that only
 * limits bound, for tests/bench/holds, whose module measures it. Fails where one is
 * longer than it may be (R7).
 *
 *	holds RANGES LIMIT
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <memview.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/memory-view.h>

#define PAGE	4096UL
#define RW	(MEMVIEW_READ | MEMVIEW_WRITE)
#define PARAM	"/sys/module/memory_view/parameters/longest_hold"

static unsigned long ranges;
static unsigned long limit;
static int too_long;
static struct memview *view;
static int file;

static void reset(void)
{
	FILE *param = fopen(PARAM, "we");

	if (!param || fputs("0\n", param) < 0 || fclose(param))
		err(1, PARAM);
}

/* Since the last one. */
static void report(const char *what)
{
	FILE *param = fopen(PARAM, "re");
	unsigned long longest;

	if (!param || fscanf(param, "%lu", &longest) != 1)
		err(1, PARAM);
	fclose(param);
	printf("%10lu  %s%s\n", longest, what, longest > limit ? ": TOO LONG" : "");
	too_long += longest > limit;
	reset();
}

static void expect(int ret, int wanted, const char *what)
{
	if (ret < 0 ? ret != -wanted : wanted)
		errx(1, "%s: %s, not %s", what, strerror(ret < 0 ? -ret : 0),
		     strerror(wanted));
}

/* No two are adjacent in the file, too. */
static void add(struct memview_batch *batch, unsigned long i)
{
	expect(memview_batch_map(batch, i * PAGE, file, 2 * i * PAGE, PAGE, RW), 0,
	       "memview_batch_map");
}

static struct memview_batch *new_batch(void)
{
	struct memview_batch *batch;

	expect(memview_batch_new(&batch), 0, "memview_batch_new");
	return batch;
}

static void apply(struct memview_batch *batch, int wanted)
{
	expect(memview_batch_apply(view, batch, NULL, NULL), wanted,
	       "memview_batch_apply");
	memview_batch_free(batch);
}

static void fill(void)
{
	unsigned long i = 0;

	while (i < ranges) {
		struct memview_batch *batch = new_batch();
		unsigned int nr;

		for (nr = 0; nr < MEMVIEW_UPDATE_MAX && i < ranges; nr++)
			add(batch, i++);
		apply(batch, 0);
	}
}

/* Many are mapped, and the last is where something is. */
static void undo_maps(void)
{
	struct memview_batch *batch = new_batch();
	unsigned long i;

	for (i = 0; i < MEMVIEW_UPDATE_MAX - 1; i++)
		add(batch, ranges + i);
	add(batch, 0);
	apply(batch, EEXIST);
}

/* All go by one edit, and the next meets nothing. */
static void undo_unmap(void)
{
	struct memview_batch *batch = new_batch();

	expect(memview_batch_unmap(batch, 0, ranges * PAGE), 0,
	       "memview_batch_unmap");
	expect(memview_batch_protect(batch, 0, PAGE, MEMVIEW_READ), 0,
	       "memview_batch_protect");
	apply(batch, ENOENT);
}

static void query(void)
{
	unsigned int nr = ranges < MEMVIEW_QUERY_MAX ? ranges : MEMVIEW_QUERY_MAX;
	struct memview_range *found = calloc(nr, sizeof(*found));

	if (!found)
		err(1, "calloc");
	if (memview_query(view, NULL, found, sizeof(*found), nr, NULL) != (int)nr)
		errx(1, "memview_query");
	free(found);
}

/* One page of the file is shown by as many ranges as there are in a batch. */
static void invalidate(void)
{
	struct memview_batch *batch = new_batch();
	unsigned long i;

	for (i = 0; i < MEMVIEW_UPDATE_MAX; i++)
		expect(memview_batch_map(batch, (ranges + i) * PAGE, file, 0, PAGE, RW),
		       0, "memview_batch_map");
	apply(batch, 0);
	reset();
	if (pwrite(file, "", 1, 0) != 1 ||
	    fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE))
		err(1, "fallocate");
}

/* In order, each beginning in the next page of a table that has none. */
static void touch_and_sync(void)
{
	int fd = memview_view_fd(view);
	volatile char *map = mmap(NULL, ranges * PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED, fd, 0);
	unsigned long i;

	if (map == MAP_FAILED)
		err(1, "mmap");
	for (i = 0; i < 4096 && i < ranges; i++)
		map[i * PAGE] = 1;
	if (msync((void *)map, ranges * PAGE, MS_SYNC))
		err(1, "msync");
	munmap((void *)map, ranges * PAGE);
	close(fd);
}

int main(int argc, char **argv)
{
	size_t size;

	ranges = argc == 3 ? strtoul(argv[1], NULL, 0) : 0;
	limit = ranges ? strtoul(argv[2], NULL, 0) : 0;
	if (!limit)
		errx(2, "usage: holds RANGES LIMIT");
	size = (ranges + MEMVIEW_UPDATE_MAX) * PAGE;
	setvbuf(stdout, NULL, _IOLBF, 0);
	file = memfd_create("holds", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, 2 * size))
		err(1, "memfd");
	expect(memview_open(&view), 0, MEMVIEW_DEVICE);
	expect(memview_set_size(view, size), 0, "memview_set_size");

	reset();
	fill();
	report("UPDATE: 65,536 maps, until there are all");
	undo_maps();
	report("UPDATE: 65,536 maps, undone");
	undo_unmap();
	report("UPDATE: all unmapped by one edit, undone");
	expect(memview_protect(view, 0, (ranges + 1) * PAGE, MEMVIEW_READ), ENOENT,
	       "memview_protect");
	report("PROTECT: all, refused at the end");
	expect(memview_protect(view, 0, ranges * PAGE, MEMVIEW_READ), 0,
	       "memview_protect");
	expect(memview_protect(view, 0, ranges * PAGE, RW), 0, "memview_protect");
	report("PROTECT: all, to read, and back");
	query();
	report("QUERY: all");
	touch_and_sync();
	report("faults and msync of a peer");
	invalidate();
	report("punch of a page that 65,536 ranges show");
	expect(memview_set_size(view, 0), 0, "memview_set_size");
	report("SET_SIZE: to 0");
	expect(memview_set_size(view, size), 0, "memview_set_size");
	fill();
	reset();
	expect(memview_revoke(view), 0, "memview_revoke");
	report("REVOKE: all");
	memview_close(view);
	if (too_long)
		errx(1, "FAILED: %d operations hold it for more than %lu", too_long, limit);
	return 0;
}
