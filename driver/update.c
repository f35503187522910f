// SPDX-License-Identifier: GPL-2.0
/*
 * Table operations: one edit, or several that are done all or not at all.
 *
 * All that can sleep or fail for want of memory comes first, as far as it is
 * known. The edits are then applied one after the other under memview.lock, so
 * that each sees what those before it have done and nobody else sees any of it
 * alone; one that cannot be done undoes them all (R5). Then everything that has
 * lost a right is zapped, and only then the operation returns (R1).
 *
 * What takes long is done in pieces, and between them memview.lock is free (R7):
 * see memview_change_begin(). A SIGKILL, or a revocation, ends it there, as if it
 * had not been begun.
 */

#include <linux/sched/signal.h>
#include <linux/delay.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/wait.h>

#include "memview.h"
#include "trace.h"

/* May this process do it, as far as can be seen without ops_lock? */
static int memview_update_check(struct memview *view)
{
	struct memview_mirror *mirror = memview_controller(view);

	if (READ_ONCE(view->dead) || READ_ONCE(view->revoking))
		return -ESHUTDOWN;
	return mirror && mirror->mm != current->mm ? -EIO : 0;
}

/* Starts a table operation; with 0, memview_ops_unlock() must follow. */
static int memview_update_begin(struct memview *view, bool nowait)
{
	int err;

	if (nowait ? !mutex_trylock(&view->ops_lock) :
		     mutex_lock_killable(&view->ops_lock))
		return nowait ? -EAGAIN : -EINTR;
	err = memview_update_check(view);
	if (err)
		memview_ops_unlock(view);
	return err;
}

static bool memview_is_free(struct memview *view, pgoff_t first, pgoff_t last)
{
	struct memview_range *range = memview_table_first(view, first);

	return !range || range->first > last;
}

/* Does what the edit before maps serve for this one, too? */
static bool memview_edit_same_source(const struct memview_edit *edit,
				     const struct memview_edit *before)
{
	pgoff_t file_last = edit->file_first + (edit->last - edit->first);
	struct memview_segment *segment;

	if (!before || !before->segment || before->file != edit->file ||
	    (before->flags ^ edit->flags) & MEMVIEW_MAP_RIGHTS)
		return false;
	/* Each span that is to be adopted is looked at. */
	if ((before->flags | edit->flags) & MEMVIEW_MAP_ADOPT)
		return false;
	segment = before->segment;
	return edit->file_first >= segment->first && file_last <= segment->last;
}

/*
 * Would the first edit meet something, as things stand? Then no source need be
 * made for it; if that cannot be seen now, it will be found out later.
 */
static bool memview_edit_meets(struct memview *view,
			       const struct memview_edit *edit)
{
	bool meets = false;

	if (!(edit->flags & MEMVIEW_MAP_REPLACE) &&
	    mutex_trylock(&view->ops_lock)) {
		meets = !memview_is_free(view, edit->first, edit->last);
		memview_ops_unlock(view);
	}
	return meets;
}

/*
 * The source of what is to be mapped, with no lock held. @before: the edit before
 * this one, or NULL. @mirror: NULL, or the caller's; is got for the first.
 */
static int memview_edit_find_source(struct memview *view,
				    struct memview_edit *edit,
				    const struct memview_edit *before,
				    struct memview_mirror **mirror, bool nowait)
{
	struct memview_attach *attach, *spare;
	struct memview_segment *segment;

	if (edit->kind == MEMVIEW_EDIT_RESIZE)
		return 0;
	if (edit->last >= memview_size(view) >> PAGE_SHIFT)
		return -ERANGE;
	if (edit->kind != MEMVIEW_EDIT_MAP)
		return 0;
	/* Populating waits, for as long as it takes. */
	if (nowait && (edit->flags & MEMVIEW_MAP_POPULATE))
		return -EAGAIN;
	if (memview_edit_same_source(edit, before)) {
		edit->segment = before->segment;
		return 0;
	}
	if (!*mirror) {
		*mirror = memview_mirror_get_current(nowait);
		if (IS_ERR(*mirror)) {
			int err = PTR_ERR(*mirror);

			*mirror = NULL;
			return err;
		}
	}
	/* Before the view has a controller, it may have attaches of others. */
	attach = memview_controller(view) == *mirror ?
		 memview_attach_find(view, *mirror, edit) : NULL;
	if (attach) {
		edit->attach = attach;
		edit->segment = attach->segment;
		return 0;
	}
	segment = memview_source_find(*mirror, edit);
	if (!segment && !before && memview_edit_meets(view, edit))
		return -EEXIST;
	segment = memview_source_get(*mirror, segment, edit, nowait);
	if (IS_ERR(segment))
		return PTR_ERR(segment);
	edit->segment = segment;
	edit->uses_segment = true;
	spare = memview_attach_alloc(view, segment);
	if (IS_ERR(spare))
		return PTR_ERR(spare);
	edit->spare = spare;
	return 0;
}

/* @before: the edit before this one, or NULL. */
static int memview_edit_prepare(struct memview *view, struct memview_edit *edit,
				const struct memview_edit *before)
{
	if (edit->kind == MEMVIEW_EDIT_RESIZE)
		return 0;
	if (edit->last >= memview_size(view) >> PAGE_SHIFT)
		return -ERANGE;
	if (edit->kind != MEMVIEW_EDIT_MAP)
		return 0;
	if (edit->attach) {
		edit->attach = memview_attach_relist(view, edit->attach);
		return 0;
	}
	if (before && before->attach && before->segment == edit->segment) {
		edit->attach = before->attach;
		kref_get(&edit->attach->ref);
		return 0;
	}
	edit->attach = memview_attach_get(view, edit->segment, &edit->spare);
	return edit->attach ? 0 : -ENOMEM;
}

/* Under memview.lock, so there are few: what is mapped keeps what it needs. */
static void memview_edits_put(struct memview_edit *edits, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (edits[i].attach) {
			memview_attach_done(edits[i].attach);
			edits[i].attach = NULL;
		}
	}
}

static void memview_edits_put_all(struct memview *view,
				  struct memview_edit *edits, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i += MEMVIEW_CHUNK) {
		spin_lock(&view->lock);
		memview_edits_put(edits + i, min(nr - i, MEMVIEW_CHUNK));
		spin_unlock(&view->lock);
		cond_resched();
	}
}

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
		}
		edit->zap = edit->removed;
		return memview_change_add(change, edit->first, edit->last,
					  edit->file_first, edit->attach,
					  edit->cookie,
					  memview_flags_pack(edit->flags));

	case MEMVIEW_EDIT_UNMAP:
		err = memview_change_carve(change, edit->first, edit->last,
					   &edit->removed);
		edit->zap = edit->removed;
		return err;

	case MEMVIEW_EDIT_PROTECT:
		err = memview_change_check(change, edit->first, edit->last,
					   memview_flags_pack(edit->flags));
		/*
		 * A right that is added zaps too: KVM never upgrades a present
		 * read-only entry of a VM_PFNMAP mapping.
		 */
		edit->zap = err > 0;
		if (err > 0)
			err = memview_change_flags(change, edit->first,
						   edit->last,
						   memview_flags_pack(edit->flags));
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

/*
 * Applies all, or none: memview_change_commit() or memview_change_undo() is to
 * follow.
 */
static int memview_update_apply(struct memview_change *change,
				struct memview_edit *edits, unsigned int nr,
				unsigned int *failed)
{
	unsigned long limit = READ_ONCE(memview_max_ranges);
	unsigned int i;
	int err = 0;

	for (i = 0; i < nr && !err; i++) {
		unsigned long before = change->nr_ranges;

		err = memview_change_step(change);
		if (!err)
			err = memview_edit_apply(change, &edits[i]);
		if (!err && change->nr_ranges > before &&
		    change->nr_ranges > limit)
			err = -ENOSPC;
	}
	if (err)
		*failed = i - 1;
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

/* Of as many as there can be: a million comparisons. */
static int memview_edit_cmp_many(const void *a, const void *b)
{
	cond_resched();
	return memview_edit_cmp(a, b);
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
		sort(edits, nr, sizeof(*edits), nr <= MEMVIEW_CHUNK ?
		     memview_edit_cmp : memview_edit_cmp_many, NULL);
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

	for (i = 0; i < nr; i++) {
		pgoff_t first = edits[i].first;

		/* Who is awaited does not go through them one by one. */
		if (i % MEMVIEW_CHUNK == MEMVIEW_CHUNK - 1 &&
		    memview_stopped(view))
			i = nr - 1;
		memview_zap(view, first,
			    min(edits[i].last, MEMVIEW_LAST_PAGE), false);
	}
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

/* Tells of edits that are done, before their spans become others. */
static void memview_edits_report(struct memview *view,
				 const struct memview_edit *edits,
				 unsigned int nr, struct memview_result *result)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		memview_edit_trace(view, &edits[i]);
		result->removed += edits[i].removed;
	}
}

static void memview_edits_begin(struct memview_change *change,
				const struct memview_edit *edits,
				unsigned int nr)
	__acquires(&change->view->lock)
{
	pgoff_t first = edits->first, last = edits->last;
	unsigned int i;

	for (i = 1; i < nr; i++) {
		first = min(first, edits[i].first);
		last = max(last, edits[i].last);
	}
	memview_change_begin(change, first, min(last, MEMVIEW_LAST_PAGE));
}

/*
 * Applies the edits. As a rule there are few, and all is done, up to the zaps,
 * without memview.lock being given up.
 */
static int memview_update_commit(struct memview_change *change,
				 struct memview_edit *edits, unsigned int nr,
				 struct memview_result *result)
{
	struct memview *view = change->view;
	unsigned int zaps = 0;
	bool many;
	int err;

	if (MEMVIEW_BROKEN_zap_first) {
		spin_lock(&view->lock);
		memview_zap_begin(view);
		spin_unlock(&view->lock);
		memview_zap(view, 0, MEMVIEW_LAST_PAGE, false);
		memview_zap_end(view);
		/* Time for a fault, which slow machines need. */
		usleep_range(2000, 4000);
	}

	memview_edits_begin(change, edits, nr);
	err = memview_update_apply(change, edits, nr, &result->failed);
	if (err) {
		memview_change_undo(change);
		return err;
	}
	many = nr > MEMVIEW_CHUNK || view->changing;
	if (many) {
		/* As it is already where somebody may have looked. */
		view->pending_first = change->first;
		view->pending_last = change->last;
	} else {
		memview_edits_put(edits, nr);
		memview_edits_report(view, edits, nr, result);
		zaps = memview_edits_merge(edits, nr);
		if (zaps) {
			view->pending_first = edits[0].first;
			view->pending_last = edits[zaps - 1].last;
		}
	}
	if (many || zaps)
		memview_zap_begin(view);
	memview_change_commit(change);

	if (many) {
		memview_edits_put_all(view, edits, nr);
		memview_edits_report(view, edits, nr, result);
		zaps = memview_edits_merge(edits, nr);
	}
	if (many || zaps) {
		memview_edits_zap(view, edits,
				  MEMVIEW_BROKEN_zap_first ? 0 : zaps);
		WRITE_ONCE(view->pending_first, ULONG_MAX);
	}
	return 0;
}

/* With ops_lock held. @mirror: of what is mapped, or NULL. */
static int memview_update_locked(struct memview_change *change,
				 struct memview_edit *edits, unsigned int nr,
				 struct memview_mirror *mirror,
				 struct memview_result *result)
{
	struct memview *view = change->view;
	unsigned int i;
	int err = 0;

	memview_change_start(change);
	for (i = 0; i < nr; i++) {
		err = memview_edit_prepare(view, &edits[i],
					   i ? &edits[i - 1] : NULL);
		if (err) {
			result->failed = i;
			break;
		}
		if (i % MEMVIEW_CHUNK == MEMVIEW_CHUNK - 1) {
			cond_resched();
			err = memview_stopped(view);
			if (err)
				break;
		}
	}
	if (!err)
		err = memview_change_reserve(change, MEMVIEW_SPARES_KEPT);
	if (!err)
		err = memview_update_commit(change, edits, nr, result);
	if (err)
		memview_edits_put_all(view, edits, nr);
	else if (mirror && !view->mirror)
		/* Not before: what has failed has changed nothing (R5). */
		memview_mirror_add(mirror, view);
	memview_change_end(change);
	return err;
}

/* @mirror: of what is mapped, or NULL. */
static int memview_update_run(struct memview *view, struct memview_edit *edits,
			      unsigned int nr, struct memview_mirror *mirror,
			      bool nowait, struct memview_result *result)
{
	struct memview_change change;
	unsigned int i, maps = 0;
	int err = 0;

	memview_change_init(&change, view);
	for (i = 0; nr > MEMVIEW_SPARES_KEPT && i < nr; i++)
		maps += edits[i].kind == MEMVIEW_EDIT_MAP;
	/* Nobody waits for us yet. */
	if (maps > MEMVIEW_SPARES_KEPT)
		err = memview_change_reserve(&change, maps);
	if (!err)
		err = memview_update_begin(view, nowait);
	if (err) {
		memview_change_drop(&change);
		return err;
	}
	err = memview_update_locked(&change, edits, nr, mirror, result);
	memview_ops_unlock(view);
	return err;
}

/* The sources of all edits, with no lock held. */
static int memview_edits_find_sources(struct memview *view,
				      struct memview_edit *edits,
				      unsigned int nr,
				      struct memview_mirror **mirror,
				      bool nowait, struct memview_result *result)
{
	unsigned int i;
	int err;

	for (i = 0; i < nr; i++) {
		err = memview_edit_find_source(view, &edits[i],
					       i ? &edits[i - 1] : NULL,
					       mirror, nowait);
		if (err) {
			result->failed = i;
			return err;
		}
		if (i % MEMVIEW_CHUNK == MEMVIEW_CHUNK - 1) {
			cond_resched();
			err = memview_stopped(view);
			if (err)
				return err;
		}
	}
	return 0;
}

static void memview_edits_put_sources(struct memview_edit *edits,
				      unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		/* Found before an operation that has not begun then. */
		if (edits[i].attach)
			memview_attach_put(edits[i].attach);
		if (edits[i].uses_segment) {
			kfree(edits[i].spare);
			memview_source_put(edits[i].segment);
		}
		if (i % MEMVIEW_CHUNK == MEMVIEW_CHUNK - 1)
			cond_resched();
	}
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
 * What can be made to wait for ever, to map and unmap files in the controller,
 * comes before and after all locks.
 *
 * Return: 0 when no CPU can use any more what has been taken away; -EAGAIN when
 * it would have to wait; or the errnos of the ioctls
 */
int memview_update(struct memview *view, struct memview_edit *edits,
		   unsigned int nr, bool nowait, struct memview_result *result)
{
	struct memview_mirror *bound = memview_controller(view);
	struct memview_mirror *mirror = bound;
	int err;

	result->failed = nr;
	result->removed = 0;
	err = memview_update_check(view);
	if (err)
		return err;
	if (nowait && bound && memview_source_is_due(bound))
		return -EAGAIN;

	err = memview_edits_find_sources(view, edits, nr, &mirror, nowait,
					 result);
	if (!err)
		err = memview_update_run(view, edits, nr, mirror, nowait,
					 result);
	memview_edits_put_sources(edits, nr);
	if (!nowait)
		memview_source_collect(mirror, false, false);
	if (mirror && !bound)
		memview_mirror_put(mirror);
	return err;
}

/**
 * memview_update_wait - wait for the end of a change that takes long
 * @view: the view
 * @interruptible: give up for any signal, and not only for SIGKILL
 *
 * Context: no lock is held.
 * Return: 0, or -ERESTARTSYS
 */
int memview_update_wait(struct memview *view, bool interruptible)
{
	if (interruptible)
		return wait_event_interruptible(view->change_wait,
						!READ_ONCE(view->changing));
	return wait_event_killable(view->change_wait,
				   !READ_ONCE(view->changing));
}
