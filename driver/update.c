// SPDX-License-Identifier: GPL-2.0
/*
 * Table operations: one edit, or several that are done all or not at all.
 *
 * All that can sleep or fail for want of memory comes first, under ops_lock
 * alone. The edits are then applied one after the other under memview.lock, so
 * that each sees what those before it have done and nobody else sees any of it
 * alone; one that cannot be done undoes them all (R5). Then everything that has
 * lost a right is zapped, and only then the operation returns (R1).
 */

#include <linux/slab.h>
#include <linux/sort.h>

#include "memview.h"
#include "trace.h"

/* Starts a table operation; with 0, mutex_unlock() must follow. */
static int memview_update_begin(struct memview *view, bool nowait)
{
	int err = 0;

	if (!nowait)
		mutex_lock(&view->ops_lock);
	else if (!mutex_trylock(&view->ops_lock))
		return -EAGAIN;
	if (view->dead)
		err = -ESHUTDOWN;
	else if (view->mirror && view->mirror->mm != current->mm)
		err = -EIO;
	if (err)
		mutex_unlock(&view->ops_lock);
	return err;
}

static bool memview_is_free(struct memview *view, pgoff_t first, pgoff_t last)
{
	struct memview_range *range = memview_table_first(view, first);

	return !range || range->first > last;
}

/*
 * Is the span fully mapped, by ranges that may have these rights? A right can
 * be given back, but one that mmap(2) has not been asked for is not known to be
 * allowed (R6).
 *
 * Return: whether anything changes, or an errno
 */
static int memview_protect_check(struct memview *view,
				 const struct memview_edit *edit)
{
	struct memview_range *range;
	pgoff_t next = edit->first;
	bool changes = false;

	for (range = memview_table_first(view, next);
	     range && range->first <= next && next <= edit->last;
	     range = memview_table_next(range)) {
		struct memview_segment *segment = range->attach->segment;

		if ((edit->flags & MEMVIEW_MAP_WRITE) && !segment->writable)
			return -EACCES;
		if ((edit->flags & MEMVIEW_MAP_EXEC) &&
		    !READ_ONCE(segment->exec_ok))
			return -EACCES;
		changes |= memview_range_flags(range) != edit->flags;
		next = range->last + 1;
	}
	return next > edit->last ? changes : -ENOENT;
}

/* Does what the edit before maps serve for this one, too? */
static bool memview_edit_same_source(const struct memview_edit *edit,
				     const struct memview_edit *before)
{
	pgoff_t file_last = edit->file_first + (edit->last - edit->first);
	struct memview_segment *segment;

	if (!before || !before->attach || before->file != edit->file ||
	    (before->flags ^ edit->flags) & MEMVIEW_MAP_RIGHTS)
		return false;
	/* Each span that is to be adopted is looked at. */
	if ((before->flags | edit->flags) & MEMVIEW_MAP_ADOPT)
		return false;
	segment = before->attach->segment;
	return edit->file_first >= segment->first && file_last <= segment->last;
}

/* The source of what is to be mapped. */
static int memview_edit_attach(struct memview *view, struct memview_edit *edit,
			       const struct memview_edit *before, bool nowait)
{
	struct memview_mirror *mirror = view->mirror;
	struct memview_attach *attach;

	if (memview_edit_same_source(edit, before)) {
		edit->attach = before->attach;
		kref_get(&edit->attach->ref);
		return 0;
	}
	if (!mirror) {
		mirror = memview_mirror_get_current(nowait);
		if (IS_ERR(mirror))
			return PTR_ERR(mirror);
	}
	attach = memview_attach_get(mirror, view, edit, nowait);
	if (IS_ERR(attach)) {
		if (!view->mirror)
			memview_mirror_put(mirror);
		return PTR_ERR(attach);
	}
	if (!view->mirror)
		memview_mirror_add(mirror, view);
	edit->attach = attach;
	return 0;
}

/* @before: the edit before this one, or NULL. */
static int memview_edit_prepare(struct memview *view, struct memview_edit *edit,
				const struct memview_edit *before, bool nowait)
{
	if (edit->kind == MEMVIEW_EDIT_RESIZE)
		return 0;
	if (edit->last >= memview_size(view) >> PAGE_SHIFT)
		return -ERANGE;
	if (edit->kind != MEMVIEW_EDIT_MAP)
		return 0;
	/* Populating waits, for as long as it takes. */
	if (nowait && (edit->flags & MEMVIEW_MAP_POPULATE))
		return -EAGAIN;
	/* The first meets this very table: no source is made for nothing. */
	if (!before && !(edit->flags & MEMVIEW_MAP_REPLACE) &&
	    !memview_is_free(view, edit->first, edit->last))
		return -EEXIST;
	return memview_edit_attach(view, edit, before, nowait);
}

/* Of an operation that has failed: what is mapped keeps what it needs. */
static void memview_edits_put(struct memview *view, struct memview_edit *edits,
			      unsigned int nr)
{
	unsigned int i;

	spin_lock(&view->lock);
	for (i = 0; i < nr; i++)
		if (edits[i].attach)
			memview_attach_done(edits[i].attach);
	spin_unlock(&view->lock);
}

/*
 * The most spare ranges that an edit can take: what it adds, and what is left of
 * those that it cuts.
 */
static const unsigned int memview_edit_spares[] = {
	[MEMVIEW_EDIT_MAP]	= 3,
	[MEMVIEW_EDIT_UNMAP]	= 2,
	[MEMVIEW_EDIT_PROTECT]	= 4,
	[MEMVIEW_EDIT_RESIZE]	= 1,
};

static int memview_edit_apply(struct memview_change *change,
			      struct memview_edit *edit)
{
	struct memview *view = change->view;
	int err;

	switch (edit->kind) {
	case MEMVIEW_EDIT_MAP:
		if (edit->flags & MEMVIEW_MAP_REPLACE) {
			err = memview_change_carve(change, edit->first,
						   edit->last, &edit->removed);
			if (err)
				return err;
		} else if (!memview_is_free(view, edit->first, edit->last)) {
			return -EEXIST;
		}
		if (!change->nr_spare)
			return -EAGAIN;
		memview_change_add(change, edit->first, edit->last,
				   edit->file_first, edit->attach, edit->flags &
				   (MEMVIEW_MAP_RIGHTS | MEMVIEW_MAP_LAZY_WRITE));
		edit->zap = edit->removed;
		return 0;

	case MEMVIEW_EDIT_UNMAP:
		err = memview_change_carve(change, edit->first, edit->last,
					   &edit->removed);
		edit->zap = edit->removed;
		return err;

	case MEMVIEW_EDIT_PROTECT:
		err = memview_protect_check(view, edit);
		/*
		 * A right that is added zaps too: KVM never upgrades a present
		 * read-only entry of a VM_PFNMAP mapping.
		 */
		edit->zap = err > 0;
		if (err > 0)
			err = memview_change_flags(change, edit->first,
						   edit->last, edit->flags);
		return err;

	case MEMVIEW_EDIT_RESIZE:
		err = memview_change_carve(change, edit->first, edit->last,
					   &edit->removed);
		if (err)
			return err;
		i_size_write(view->inode, (u64)edit->first << PAGE_SHIFT);
		edit->zap = edit->removed;
		return 0;
	}
	return -EINVAL;
}

/* Applies all, or none. */
static int memview_update_apply(struct memview_change *change,
				struct memview_edit *edits, unsigned int nr,
				unsigned int *failed)
{
	struct memview *view = change->view;
	unsigned long limit = READ_ONCE(memview_max_ranges);
	unsigned int i;
	int err = 0;

	for (i = 0; i < nr && !err; i++) {
		unsigned long before = view->nr_ranges;

		err = memview_edit_apply(change, &edits[i]);
		if (!err && view->nr_ranges > before && view->nr_ranges > limit)
			err = -ENOSPC;
	}
	if (err) {
		*failed = i - 1;
		memview_change_undo(change);
	}
	return err;
}

/* Those to zap first, by their place in the view. */
static int memview_edit_cmp(const void *a, const void *b)
{
	const struct memview_edit *x = a, *y = b;

	if (x->zap != y->zap)
		return y->zap - x->zap;
	return x->first < y->first ? -1 : x->first > y->first;
}

/*
 * Makes one span of those that touch, so that each page is zapped once. The
 * edits change places, and the first of them their spans, but nothing else.
 *
 * Return: the number of spans; they are those of the first edits
 */
static unsigned int memview_edits_merge(struct memview_edit *edits,
					unsigned int nr)
{
	unsigned int i, nr_spans = 0;

	if (nr == 1)
		return edits->zap;

	/* Most come in order already, which sort() does not know to use. */
	for (i = 1; i < nr; i++)
		if (memview_edit_cmp(&edits[i - 1], &edits[i]) > 0)
			break;
	if (i < nr)
		sort(edits, nr, sizeof(*edits), memview_edit_cmp, NULL);
	for (i = 0; i < nr && edits[i].zap; i++) {
		struct memview_edit *span = &edits[nr_spans];

		if (nr_spans && edits[i].first <= span[-1].last + 1) {
			span[-1].last = max(span[-1].last, edits[i].last);
			continue;
		}
		span->first = edits[i].first;
		span->last = edits[i].last;
		nr_spans++;
	}
	return nr_spans;
}

static void memview_edits_zap(struct memview *view,
			      const struct memview_edit *edits, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		memview_zap(view, edits[i].first,
			    min(edits[i].last, ULONG_MAX >> PAGE_SHIFT), false);
	memview_zap_end(view);
}

static void memview_edit_trace(struct memview *view,
			       const struct memview_edit *edit)
{
	switch (edit->kind) {
	case MEMVIEW_EDIT_MAP:
		trace_memview_map(view, edit);
		break;
	case MEMVIEW_EDIT_PROTECT:
		trace_memview_protect(view, edit->first, edit->last,
				      edit->flags);
		break;
	case MEMVIEW_EDIT_UNMAP:
	case MEMVIEW_EDIT_RESIZE:
		trace_memview_unmap(view, edit->first, edit->last,
				    edit->removed);
		break;
	}
}

/*
 * Applies the edits under memview.lock, and makes sure that there are as many
 * spare ranges as they turn out to need: as a rule, one for each map, or what a
 * view keeps. What cuts more comes back for it.
 */
static int memview_update_commit(struct memview_change *change,
				 struct memview_edit *edits, unsigned int nr,
				 unsigned int maps,
				 struct memview_result *result)
{
	struct memview *view = change->view;
	unsigned long spares = max(maps, MEMVIEW_SPARES_KEPT);
	unsigned int i, zaps;
	int err;

	if (MEMVIEW_BROKEN_zap_first) {
		spin_lock(&view->lock);
		memview_zap_begin(view);
		spin_unlock(&view->lock);
		memview_zap(view, 0, ULONG_MAX >> PAGE_SHIFT, false);
		memview_zap_end(view);
	}

	for (;;) {
		err = memview_change_reserve(change, spares);
		if (err)
			return err;
		memview_table_write_begin(view);
		err = memview_update_apply(change, edits, nr, &result->failed);
		if (!err)
			break;
		memview_table_write_end(view);
		if (err != -EAGAIN)
			return err;
		/* More is cut. */
		result->failed = nr;
		for (spares = 0, i = 0; i < nr; i++)
			spares += memview_edit_spares[edits[i].kind];
	}
	for (i = 0; i < nr; i++) {
		memview_edit_trace(view, &edits[i]);
		result->removed += edits[i].removed;
		if (edits[i].attach)
			memview_attach_done(edits[i].attach);
	}
	zaps = memview_edits_merge(edits, nr);
	if (zaps) {
		view->pending_first = edits[0].first;
		view->pending_last = edits[zaps - 1].last;
		if (!MEMVIEW_BROKEN_zap_first)
			memview_zap_begin(view);
	}
	memview_table_write_end(view);

	if (zaps) {
		if (!MEMVIEW_BROKEN_zap_first)
			memview_edits_zap(view, edits, zaps);
		WRITE_ONCE(view->pending_first, ULONG_MAX);
	}
	return 0;
}

/**
 * memview_update - a table operation
 * @view: the view
 * @edits: what to do, in this order, all or nothing; afterwards they are in
 *	another order, and only @file is of use
 * @nr: entries of @edits
 * @nowait: wait neither for another operation nor for the controller
 * @result: what has come of it
 *
 * Return: 0 when no CPU can use any more what has been taken away; -EAGAIN when
 * it would have to wait; or the errnos of the ioctls
 */
int memview_update(struct memview *view, struct memview_edit *edits,
		   unsigned int nr, bool nowait, struct memview_result *result)
{
	struct memview_change change;
	unsigned int i, maps = 0;
	int err;

	result->failed = nr;
	result->removed = 0;
	err = memview_update_begin(view, nowait);
	if (err)
		return err;
	memview_change_init(&change, view);

	for (i = 0; i < nr; i++) {
		err = memview_edit_prepare(view, &edits[i],
					   i ? &edits[i - 1] : NULL, nowait);
		if (err) {
			result->failed = i;
			break;
		}
		maps += edits[i].kind == MEMVIEW_EDIT_MAP;
		if (i % 64 == 63)
			cond_resched();
	}
	if (!err)
		err = memview_update_commit(&change, edits, nr, maps, result);
	if (err)
		memview_edits_put(view, edits, nr);
	memview_change_end(&change);
	mutex_unlock(&view->ops_lock);
	return err;
}
