// SPDX-License-Identifier: GPL-2.0
/*
 * msync(2) and fsync(2) of a view: they sync the files that its ranges map.
 *
 * A page that a peer may write is marked dirty when its entry is made, so it suffices
 * to sync the span of the file.
 */

#include <linux/file.h>
#include <linux/sched/signal.h>

#include "attachment.h"
#include "memview.h"
#include "source.h"
#include "table.h"
#include "update.h"
#include "view.h"
#include "view_file.h"

/* The most spans and ranges that one hold of memview.lock goes through. */
#define MEMVIEW_SYNC_SPANS	16
#define MEMVIEW_SYNC_RANGES	64U

/**
 * struct memview_sync_span - a span of a file to sync
 * @file: the file, held
 * @first: first page
 * @last: last page, inclusive
 */
struct memview_sync_span {
	struct file *file;
	pgoff_t first;
	pgoff_t last;
};

/*
 * Finds the next spans of files that the view maps from @next to @last, and merges
 * spans that are adjacent in the file, too. Skips files without fsync (tmpfs, hugetlb).
 *
 * Return: the number of spans; @next is where to go on, and beyond @last at the end
 */
static unsigned int memview_sync_find(struct memview *view, pgoff_t *next,
				      pgoff_t last,
				      struct memview_sync_span *spans)
{
	unsigned int nr = 0, seen = 0;
	struct memview_range *range;

	spin_lock(&view->lock);
	for (range = memview_table_first(view, *next);
	     range && range->first <= last;
	     range = memview_table_next(range)) {
		struct file *file = range->attachment->source->file;
		pgoff_t from = max(range->first, *next);
		pgoff_t to = min(range->last, last);
		pgoff_t first = memview_range_file_first(range) +
				(from - range->first);
		struct memview_sync_span *span = &spans[nr];

		if (seen++ == MEMVIEW_SYNC_RANGES)
			break;
		if (file->f_op->fsync == noop_fsync) {
			*next = to + 1;
			continue;
		}
		if (nr && span[-1].file == file && span[-1].last + 1 == first) {
			span[-1].last += to - from + 1;
		} else {
			if (nr == MEMVIEW_SYNC_SPANS)
				break;
			span->file = get_file(file);
			span->first = first;
			span->last = first + (to - from);
			nr++;
		}
		*next = to + 1;
	}
	if (!range || range->first > last)
		*next = last + 1;
	spin_unlock(&view->lock);
	return nr;
}

/*
 * An open file reports a writeback error once. This one may be the controller's, which
 * must get the report: until then, its peers get the error each time.
 */
static int memview_sync_span(const struct memview_sync_span *span, int datasync)
{
	struct file *file = span->file;
	errseq_t seen = READ_ONCE(file->f_wb_err);
	int err;

	err = vfs_fsync_range(file, (loff_t)span->first << PAGE_SHIFT,
			      (loff_t)(((u64)span->last + 1) << PAGE_SHIFT) - 1,
			      datasync);
	if (err) {
		spin_lock(&file->f_lock);
		file->f_wb_err = seen;
		spin_unlock(&file->f_lock);
	}
	return err;
}

/**
 * memview_view_fsync - sync the files that a span of a view shows
 * @file: a view file
 * @start: first byte
 * @end: last byte, inclusive
 * @datasync: as for the fsync of the files
 *
 * Pages without a range count as synced, and so do pages unmapped meanwhile.
 *
 * Context: no lock is held while it waits for the files, so nobody is delayed. The
 * work in one hold of memview.lock is bounded, and a killed task stops (R7).
 * Return: 0, the first error of a file, or -EINTR
 */
int memview_view_fsync(struct file *file, loff_t start, loff_t end,
		       int datasync)
{
	struct memview *view = memview_of_file(file);
	struct memview_sync_span spans[MEMVIEW_SYNC_SPANS];
	pgoff_t next = (u64)start >> PAGE_SHIFT;
	pgoff_t last = (u64)end >> PAGE_SHIFT;
	unsigned int nr, i;
	int ret = 0, err;

	do {
		nr = memview_sync_find(view, &next, last, spans);
		for (i = 0; i < nr; i++) {
			err = fatal_signal_pending(current) ? -EINTR :
			      memview_sync_span(&spans[i], datasync);
			if (!ret)
				ret = err;
			fput(spans[i].file);
		}
		if (fatal_signal_pending(current))
			return ret ?: -EINTR;
		cond_resched();
	} while (next <= last);
	return ret;
}
