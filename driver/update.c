// SPDX-License-Identifier: GPL-2.0
/*
 * Updates: one table operation, or several that are done all or not at all.
 *
 * Steps that can sleep or fail for want of memory come first, as far as they are
 * known. The operations are then applied one after the other under memview.lock:
 * each sees the effect of those before it, and nobody else sees a part of them;
 * one that fails undoes them all (R5). Then all spans that have lost a right are
 * zapped, and only then the update returns (R1).
 *
 * A long update is done in pieces, and between them memview.lock is free (R7):
 * see memview_txn_begin(). A SIGKILL, or a revocation, ends it there, and it is
 * undone.
 */

#include <linux/sched/signal.h>
#include <linux/delay.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/wait.h>

#include "attachment.h"
#include "controller.h"
#include "memview.h"
#include "peers.h"
#include "source.h"
#include "table.h"
#include "update.h"
#include "view.h"
#include "trace.h"

/* May this process update the view, as far as can be seen without ops_lock? */
static int memview_update_check(struct memview *view)
{
	struct memview_controller *controller = memview_view_controller(view);

	if (READ_ONCE(view->dead) || READ_ONCE(view->revoking))
		return -ESHUTDOWN;
	return controller && controller->mm != current->mm ? -EIO : 0;
}

/* Starts an update; with 0, memview_ops_unlock() must follow. */
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

/* Does the source of the operation before serve for this one, too? */
static bool memview_op_same_source(const struct memview_table_op *op,
				   const struct memview_table_op *before)
{
	pgoff_t file_last = op->file_first + (op->last - op->first);
	struct memview_source *source;

	if (!before || !before->source || before->file != op->file ||
	    (before->flags ^ op->flags) & MEMVIEW_MAP_RIGHTS)
		return false;
	/* Each span to adopt is checked: memview_source_acquire(). */
	if ((before->flags | op->flags) & MEMVIEW_MAP_ADOPT)
		return false;
	source = before->source;
	return op->file_first >= source->first && file_last <= source->last;
}

/*
 * Does the first operation meet an existing range, as far as can be seen now? Then no
 * source need be made for it. If ops_lock is taken, the update finds out later.
 */
static bool memview_op_meets(struct memview *view,
			     const struct memview_table_op *op)
{
	bool meets = false;

	if (!(op->flags & MEMVIEW_MAP_REPLACE) &&
	    mutex_trylock(&view->ops_lock)) {
		meets = !memview_is_free(view, op->first, op->last);
		memview_ops_unlock(view);
	}
	return meets;
}

/*
 * Finds or makes the source of @op, with no lock held. @before: the operation before
 * this one, or NULL. @controller: the caller's, or NULL: the first map gets it.
 */
static int memview_op_find_source(struct memview *view,
				  struct memview_table_op *op,
				  const struct memview_table_op *before,
				  struct memview_controller **controller,
				  bool nowait)
{
	struct memview_attachment *attachment, *spare;
	struct memview_source *source;

	if (op->kind == MEMVIEW_TABLE_OP_RESIZE)
		return 0;
	if (op->last >= memview_size(view) >> PAGE_SHIFT)
		return -ERANGE;
	if (op->kind != MEMVIEW_TABLE_OP_MAP)
		return 0;
	/* Populating can wait for any time. */
	if (nowait && (op->flags & MEMVIEW_MAP_POPULATE))
		return -EAGAIN;
	if (memview_op_same_source(op, before)) {
		op->source = before->source;
		return 0;
	}
	if (!*controller) {
		*controller = memview_controller_get_current(nowait);
		if (IS_ERR(*controller)) {
			int err = PTR_ERR(*controller);

			*controller = NULL;
			return err;
		}
	}
	/* A view without a controller may have attachments of other ones. */
	attachment = memview_view_controller(view) == *controller ?
			     memview_attachment_find(view, *controller, op) :
			     NULL;
	if (attachment) {
		op->attachment = attachment;
		op->source = attachment->source;
		return 0;
	}
	source = memview_source_find(*controller, op);
	if (!source && !before && memview_op_meets(view, op))
		return -EEXIST;
	source = memview_source_acquire(*controller, source, op, nowait);
	if (IS_ERR(source))
		return PTR_ERR(source);
	op->source = source;
	op->uses_source = true;
	spare = memview_attachment_alloc(view, source);
	if (IS_ERR(spare))
		return PTR_ERR(spare);
	op->spare = spare;
	return 0;
}

/* @before: the operation before this one, or NULL. */
static int memview_op_prepare(struct memview *view, struct memview_table_op *op,
			      const struct memview_table_op *before)
{
	if (op->kind == MEMVIEW_TABLE_OP_RESIZE)
		return 0;
	if (op->last >= memview_size(view) >> PAGE_SHIFT)
		return -ERANGE;
	if (op->kind != MEMVIEW_TABLE_OP_MAP)
		return 0;
	if (op->attachment) {
		op->attachment =
			memview_attachment_relist(view, op->attachment);
		return 0;
	}
	if (before && before->attachment && before->source == op->source) {
		op->attachment = before->attachment;
		kref_get(&op->attachment->ref);
		return 0;
	}
	op->attachment = memview_attachment_get(view, op->source, &op->spare);
	return op->attachment ? 0 : -ENOMEM;
}

/* Under memview.lock, so @nr is small. Ranges keep the attachments that they need. */
static void memview_ops_put(struct memview_table_op *ops, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (ops[i].attachment) {
			memview_attachment_done(ops[i].attachment);
			ops[i].attachment = NULL;
		}
	}
}

static void memview_ops_put_all(struct memview *view,
				struct memview_table_op *ops, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i += MEMVIEW_CHUNK) {
		spin_lock(&view->lock);
		memview_ops_put(ops + i, min(nr - i, MEMVIEW_CHUNK));
		spin_unlock(&view->lock);
		cond_resched();
	}
}

static int memview_op_apply(struct memview_txn *txn,
			    struct memview_table_op *op)
{
	struct memview *view = txn->view;
	int err;

	switch (op->kind) {
	case MEMVIEW_TABLE_OP_MAP:
		if (op->flags & MEMVIEW_MAP_REPLACE) {
			err = memview_txn_carve(txn, op->first, op->last,
						&op->removed);
			if (err)
				return err;
		}
		op->zap = op->removed;
		return memview_txn_add(txn, op->first, op->last, op->file_first,
				       op->attachment, op->cookie,
				       memview_flags_pack(op->flags));

	case MEMVIEW_TABLE_OP_UNMAP:
		err = memview_txn_carve(txn, op->first, op->last, &op->removed);
		op->zap = op->removed;
		return err;

	case MEMVIEW_TABLE_OP_PROTECT:
		err = memview_txn_check(txn, op->first, op->last,
					memview_flags_pack(op->flags));
		/*
		 * A right that is added zaps too: KVM never upgrades a present
		 * read-only entry of a VM_PFNMAP mapping.
		 */
		op->zap = err > 0;
		if (err > 0)
			err = memview_txn_flags(txn, op->first, op->last,
						memview_flags_pack(op->flags));
		return err;

	case MEMVIEW_TABLE_OP_RESIZE:
		err = memview_txn_carve(txn, op->first, op->last, &op->removed);
		if (err)
			return err;
		i_size_write(view->inode, (u64)op->first << PAGE_SHIFT);
		op->zap = op->removed;
		return 0;
	}
	return -EINVAL;
}

/*
 * Applies all operations up to the first error. memview_txn_commit(), or on an error
 * memview_txn_abort(), must follow.
 */
static int memview_update_apply(struct memview_txn *txn,
				struct memview_table_op *ops, unsigned int nr,
				unsigned int *failed)
{
	unsigned long limit = READ_ONCE(memview_max_ranges);
	unsigned int i;
	int err = 0;

	for (i = 0; i < nr && !err; i++) {
		unsigned long before = txn->nr_ranges;

		err = memview_txn_step(txn);
		if (!err)
			err = memview_op_apply(txn, &ops[i]);
		if (!err && txn->nr_ranges > before && txn->nr_ranges > limit)
			err = -ENOSPC;
	}
	if (err)
		*failed = i - 1;
	return err;
}

/* Order: operations that zap come first, by their place in the view. */
static int memview_op_cmp(const void *a, const void *b)
{
	const struct memview_table_op *x = a, *y = b;

	if (x->zap != y->zap)
		return y->zap - x->zap;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* For long updates: sorting can take a million comparisons. */
static int memview_op_cmp_many(const void *a, const void *b)
{
	cond_resched();
	return memview_op_cmp(a, b);
}

/*
 * Merges spans that touch, so that each page is zapped once. The operations are
 * sorted, and the first of them get the merged spans; nothing else changes.
 *
 * Return: the number of merged spans, in as many first operations
 */
static unsigned int memview_ops_merge(struct memview_table_op *ops,
				      unsigned int nr)
{
	unsigned int i, nr_spans = 0;

	if (nr == 1)
		return ops->zap;

	/* Most are in order already, which sort() does not make use of. */
	for (i = 1; i < nr; i++)
		if (memview_op_cmp(&ops[i - 1], &ops[i]) > 0)
			break;
	if (i < nr)
		sort(ops, nr, sizeof(*ops),
		     nr <= MEMVIEW_CHUNK ? memview_op_cmp : memview_op_cmp_many,
		     NULL);
	for (i = 0; i < nr && ops[i].zap; i++) {
		struct memview_table_op *span = &ops[nr_spans];

		if (nr_spans && ops[i].first <= span[-1].last + 1) {
			span[-1].last = max(span[-1].last, ops[i].last);
			continue;
		}
		span->first = ops[i].first;
		span->last = ops[i].last;
		nr_spans++;
	}
	return nr_spans;
}

static void memview_ops_zap(struct memview *view,
			    const struct memview_table_op *ops, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		pgoff_t first = ops[i].first;

		/* For a revocation or a SIGKILL, zap all that is left at once. */
		if (i % MEMVIEW_CHUNK == MEMVIEW_CHUNK - 1 &&
		    memview_stopped(view))
			i = nr - 1;
		memview_zap(view, first, min(ops[i].last, MEMVIEW_LAST_PAGE),
			    false);
	}
	memview_zap_end(view);
}

static void memview_op_trace(struct memview *view,
			     const struct memview_table_op *op)
{
	switch (op->kind) {
	case MEMVIEW_TABLE_OP_MAP:
		trace_memview_map(view, op);
		break;
	case MEMVIEW_TABLE_OP_PROTECT:
		trace_memview_protect(view, op->first, op->last, op->flags);
		break;
	case MEMVIEW_TABLE_OP_UNMAP:
	case MEMVIEW_TABLE_OP_RESIZE:
		trace_memview_unmap(view, op->first, op->last, op->removed);
		break;
	}
}

/* Traces and counts finished operations, before memview_ops_merge(). */
static void memview_ops_report(struct memview *view,
			       const struct memview_table_op *ops,
			       unsigned int nr, struct memview_result *result)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		memview_op_trace(view, &ops[i]);
		result->removed += ops[i].removed;
	}
}

static void memview_ops_begin(struct memview_txn *txn,
			      const struct memview_table_op *ops,
			      unsigned int nr) __acquires(&txn->view->lock)
{
	pgoff_t first = ops->first, last = ops->last;
	unsigned int i;

	for (i = 1; i < nr; i++) {
		first = min(first, ops[i].first);
		last = max(last, ops[i].last);
	}
	memview_txn_begin(txn, first, min(last, MEMVIEW_LAST_PAGE));
}

/*
 * Applies the operations. As a rule there are few, and memview.lock is not dropped
 * before the zaps.
 */
static int memview_update_commit(struct memview_txn *txn,
				 struct memview_table_op *ops, unsigned int nr,
				 struct memview_result *result)
{
	struct memview *view = txn->view;
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

	memview_ops_begin(txn, ops, nr);
	err = memview_update_apply(txn, ops, nr, &result->failed);
	if (err) {
		memview_txn_abort(txn);
		return err;
	}
	many = nr > MEMVIEW_CHUNK || view->changing;
	if (many) {
		/* The same span, if memview_txn_pause() has published it. */
		view->pending_first = txn->first;
		view->pending_last = txn->last;
	} else {
		memview_ops_put(ops, nr);
		memview_ops_report(view, ops, nr, result);
		zaps = memview_ops_merge(ops, nr);
		if (zaps) {
			view->pending_first = ops[0].first;
			view->pending_last = ops[zaps - 1].last;
		}
	}
	if (many || zaps)
		memview_zap_begin(view);
	memview_txn_commit(txn);

	if (many) {
		memview_ops_put_all(view, ops, nr);
		memview_ops_report(view, ops, nr, result);
		zaps = memview_ops_merge(ops, nr);
	}
	if (many || zaps) {
		memview_ops_zap(view, ops, MEMVIEW_BROKEN_zap_first ? 0 : zaps);
		WRITE_ONCE(view->pending_first, ULONG_MAX);
	}
	return 0;
}

/* With ops_lock held. @controller: of the sources, or NULL if nothing is mapped. */
static int memview_update_locked(struct memview_txn *txn,
				 struct memview_table_op *ops, unsigned int nr,
				 struct memview_controller *controller,
				 struct memview_result *result)
{
	struct memview *view = txn->view;
	unsigned int i;
	int err = 0;

	memview_txn_start(txn);
	for (i = 0; i < nr; i++) {
		err = memview_op_prepare(view, &ops[i], i ? &ops[i - 1] : NULL);
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
		err = memview_txn_reserve(txn, MEMVIEW_SPARES_KEPT);
	if (!err)
		err = memview_update_commit(txn, ops, nr, result);
	if (err)
		memview_ops_put_all(view, ops, nr);
	else if (controller && !view->controller)
		/* Not before: a failed update changes nothing (R5). */
		memview_controller_add(controller, view);
	memview_txn_end(txn);
	return err;
}

/* @controller: of the sources, or NULL if nothing is mapped. */
static int memview_update_run(struct memview *view,
			      struct memview_table_op *ops, unsigned int nr,
			      struct memview_controller *controller,
			      bool nowait, struct memview_result *result)
{
	struct memview_txn txn;
	unsigned int i, maps = 0;
	int err = 0;

	memview_txn_init(&txn, view);
	for (i = 0; nr > MEMVIEW_SPARES_KEPT && i < nr; i++)
		maps += ops[i].kind == MEMVIEW_TABLE_OP_MAP;
	/* Without ops_lock, so nobody waits for these allocations. */
	if (maps > MEMVIEW_SPARES_KEPT)
		err = memview_txn_reserve(&txn, maps);
	if (!err)
		err = memview_update_begin(view, nowait);
	if (err) {
		memview_txn_drop(&txn);
		return err;
	}
	err = memview_update_locked(&txn, ops, nr, controller, result);
	memview_ops_unlock(view);
	return err;
}

/* Finds or makes the sources of all operations, with no lock held. */
static int memview_ops_find_sources(struct memview *view,
				    struct memview_table_op *ops,
				    unsigned int nr,
				    struct memview_controller **controller,
				    bool nowait, struct memview_result *result)
{
	unsigned int i;
	int err;

	for (i = 0; i < nr; i++) {
		err = memview_op_find_source(view, &ops[i],
					     i ? &ops[i - 1] : NULL, controller,
					     nowait);
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

static void memview_ops_unuse_sources(struct memview_table_op *ops,
				      unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		/* Found before ops_lock, and the update did not begin. */
		if (ops[i].attachment)
			memview_attachment_put(ops[i].attachment);
		if (ops[i].uses_source) {
			kfree(ops[i].spare);
			memview_source_unuse(ops[i].source);
		}
		if (i % MEMVIEW_CHUNK == MEMVIEW_CHUNK - 1)
			cond_resched();
	}
}

/**
 * memview_update - do table operations, all or nothing
 * @view: the view
 * @ops: the operations, in this order; afterwards they are in another order, and only
 *	@file, @flags and the pages to populate are valid
 * @nr: entries of @ops
 * @nowait: wait neither for another update nor for the controller
 * @result: written: the result
 *
 * Files are mapped and unmapped in the controller, which can be made to wait for
 * ever, before and after all locks.
 *
 * Return: 0 when no CPU can use a right that was taken away; -EAGAIN when it would
 * have to wait; or the errnos of the ioctls
 */
int memview_update(struct memview *view, struct memview_table_op *ops,
		   unsigned int nr, bool nowait, struct memview_result *result)
{
	struct memview_controller *bound = memview_view_controller(view);
	struct memview_controller *controller = bound;
	int err;

	result->failed = nr;
	result->removed = 0;
	err = memview_update_check(view);
	if (err)
		return err;
	if (nowait && bound && memview_controller_is_due(bound))
		return -EAGAIN;

	err = memview_ops_find_sources(view, ops, nr, &controller, nowait,
				       result);
	if (!err)
		err = memview_update_run(view, ops, nr, controller, nowait,
					 result);
	memview_ops_unuse_sources(ops, nr);
	if (!nowait)
		memview_controller_collect(controller, false, false);
	if (controller && !bound)
		memview_controller_put(controller);
	return err;
}

/**
 * memview_update_wait - wait for the end of a long transaction
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
