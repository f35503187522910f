// SPDX-License-Identifier: GPL-2.0
/*
 * msync(2) and fsync(2) of a view: those of the files that its ranges map.
 *
 * What a peer has written is dirty in the file since its entry was made, so to
 * write the span of the file is all there is to do.
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

/* Spans that are found in one hold of memview.lock, and ranges looked at for it. */
#define MEMVIEW_SYNC_SPANS	16
#define MEMVIEW_SYNC_RANGES	64U

/**
 * struct memview_sync_span - something to be synced
 * @file: held
 * @first: first page of it
 * @last: last page, inclusive
 */
struct memview_sync_span {
	struct file *file;
	pgoff_t first;
	pgoff_t last;
};

/*
 * The next spans of files that pages of the view map from @next to @last; what is
 * adjacent in a file, too, is one. Memory is as good as synced (tmpfs, hugetlb).
 *
 * Return: their number; @next is where to go on, and behind @last in the end
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
 * An open file tells an error of writing back once. This one may be the
 * controller's, who has to learn of it: until then, its peers are told each time.
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
 * memview_view_fsync - sync what a span of a view shows
 * @file: a view file
 * @start: first byte
 * @end: last byte, inclusive
 * @datasync: as for the fsync of the files
 *
 * What has no range counts as synced, and so does what is unmapped meanwhile.
 *
 * Context: no lock is held while it waits for the files: it holds up nobody. What
 * it looks at in one go is bounded, and a killed task stops (R7).
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
