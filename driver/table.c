// SPDX-License-Identifier: GPL-2.0
/*
 * The table of a view: ranges that do not overlap, in a red-black tree by page
 * of the view, and each in its attachment's interval tree by page of the file.
 *
 * An rbtree rather than an interval tree for the view, because ranges never
 * overlap there; and rather than a maple tree, because a commit must not fail
 * (R5) and mas_preallocate() is not exported to modules on 6.1.
 *
 * A transaction can be aborted until it is committed (R5): removed ranges are kept
 * until its end, and so is a range that was cut, for new ones take its place; a
 * range with other flags keeps the old ones, too; and an added range is marked
 * MEMVIEW_RANGE_ADDED.
 *
 * A transaction of more than MEMVIEW_CHUNK steps drops memview.lock in between
 * (R7), with both trees consistent, and the span that it changes published: faults
 * wait there (memview_changes()), and invalidations zap all of it, whatever the
 * trees say. Outside of the span the table is unchanged.
 */

#include <linux/interval_tree_generic.h>
#include <linux/slab.h>

#include "attachment.h"
#include "memview.h"
#include "table.h"
#include "view.h"

#define START(range)	memview_range_file_first(range)
#define LAST(range)	memview_range_file_last(range)

INTERVAL_TREE_DEFINE(struct memview_range, file_node, pgoff_t,
		     file_subtree_last, START, LAST, static, memview_file_tree)

static struct kmem_cache *memview_range_cache;

/*
 * SLAB_TYPESAFE_BY_RCU: a reader may see a recycled range. Readers use no change_next,
 * where the slab links free objects. Such a cache is not zeroed by init_on_alloc
 * either: all fields of a range are written before it can be found.
 */
int __init memview_table_init(void)
{
	memview_range_cache =
		memview_typesafe_cache("memview_range",
				       sizeof(struct memview_range),
				       offsetof(struct memview_range,
						change_next));
	return memview_range_cache ? 0 : -ENOMEM;
}

void memview_table_exit(void)
{
	kmem_cache_destroy(memview_range_cache);
	memview_caches_destroyed();
}

static struct memview_range *memview_range_of(struct rb_node *node)
{
	return rb_entry_safe(node, struct memview_range, node);
}

/* The first range that ends at @page or above. */
struct memview_range *memview_table_first(struct memview *view, pgoff_t page)
{
	struct rb_node *node = view->table.rb_node;
	struct memview_range *found = NULL;

	while (node) {
		struct memview_range *range = memview_range_of(node);

		if (range->last >= page) {
			found = range;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

struct memview_range *memview_table_next(struct memview_range *range)
{
	return memview_range_of(rb_next(&range->node));
}

/**
 * memview_table_find - the range that contains a page
 * @view: the view
 * @page: the page
 *
 * Context: memview.lock; or RCU, and then the result, also NULL, is valid only if
 *	memview.table_seq was even before and is the same after.
 */
struct memview_range *memview_table_find(struct memview *view, pgoff_t page)
{
	struct rb_node *node = READ_ONCE(view->table.rb_node);
	unsigned int steps;

	/* Under RCU the walk may go astray; no tree is as deep as this. */
	for (steps = 0; node && steps < 2 * BITS_PER_LONG; steps++) {
		struct memview_range *range = memview_range_of(node);

		if (page < READ_ONCE(range->first))
			node = READ_ONCE(node->rb_left);
		else if (page > READ_ONCE(range->last))
			node = READ_ONCE(node->rb_right);
		else
			return range;
	}
	return NULL;
}

/* Begins a change of the table or of the size. Readers take the lock alone. */
void memview_table_write_begin(struct memview *view)
	__acquires(&view->lock)
{
	spin_lock(&view->lock);
	raw_write_seqcount_begin(&view->table_seq);
	/* With view->changing, no fault has seen the span that changes. */
	if (!view->changing)
		WRITE_ONCE(view->gen, view->gen + 1);
}

void memview_table_write_end(struct memview *view)
	__releases(&view->lock)
{
	raw_write_seqcount_end(&view->table_seq);
	spin_unlock(&view->lock);
}

static void memview_attachment_index(struct memview_range *range)
{
	memview_file_tree_insert(range, &range->attachment->ranges);
}

static void memview_attachment_unindex(struct memview_range *range)
{
	memview_file_tree_remove(range, &range->attachment->ranges);
}

/* The place of a new range in the tree of a view. */
struct memview_place {
	struct rb_node **link;
	struct rb_node *parent;
};

/* Is the span free? Then @place gets the place of a new range there. */
static bool memview_table_place(struct memview *view, pgoff_t first,
				pgoff_t last, struct memview_place *place)
{
	struct rb_node **link = &view->table.rb_node, *parent = NULL;

	while (*link) {
		struct memview_range *range = memview_range_of(*link);

		parent = *link;
		/* Most ranges are added in ascending order. */
		if (first > range->last)
			link = &parent->rb_right;
		else if (last < range->first)
			link = &parent->rb_left;
		else
			return false;
	}
	place->link = link;
	place->parent = parent;
	return true;
}

/* The place between @range and the next one. */
static void memview_table_place_behind(struct memview_range *range,
				       struct memview_place *place)
{
	struct rb_node **link = &range->node.rb_right, *parent = &range->node;

	while (*link) {
		parent = *link;
		link = &parent->rb_left;
	}
	place->link = link;
	place->parent = parent;
}

/* Adds @range at its place. Cannot fail. */
static void memview_table_link(struct memview_txn *txn,
			       struct memview_range *range,
			       const struct memview_place *place)
{
	struct memview *view = txn->view;
	struct memview_attachment *attachment = range->attachment;

	range->node.rb_left = NULL;
	range->node.rb_right = NULL;
	/* Readers without the lock find it only with its children cleared. */
	smp_wmb();
	rb_link_node(&range->node, place->parent, place->link);
	rb_insert_color(&range->node, &view->table);
	txn->nr_ranges++;

	memview_attachment_index(range);
	if (!attachment->nr_ranges++) {
		/* It may come back from the idle list of this transaction. */
		if (!attachment->in_use)
			kref_get(&attachment->ref);
		attachment->in_use = true;
		list_del(&attachment->view_node);
		list_add_rcu(&attachment->view_node, &view->attachments);
	}
}

/* Adds @range, whose span is free. */
static void memview_table_insert(struct memview_txn *txn,
				 struct memview_range *range)
{
	struct memview_place place;

	if (!WARN_ON_ONCE(!memview_table_place(txn->view, range->first,
					       range->last, &place)))
		memview_table_link(txn, range, &place);
}

/*
 * An attachment that loses its last range goes to txn->idle with its reference. That
 * is dropped when the zap is over: until then an invalidation finds the view by the
 * attachment.
 */
static void memview_table_erase(struct memview_txn *txn,
				struct memview_range *range)
{
	struct memview_attachment *attachment = range->attachment;

	memview_attachment_unindex(range);
	if (!--attachment->nr_ranges)
		list_move(&attachment->view_node, &txn->idle);

	rb_erase(&range->node, &txn->view->table);
	txn->nr_ranges--;
}

/* Without ops_lock, only memview_txn_reserve() and memview_txn_drop() may follow. */
void memview_txn_init(struct memview_txn *txn, struct memview *view)
{
	txn->view = view;
	txn->spare = NULL;
	txn->nr_spare = 0;
	txn->touched = NULL;
	txn->undoing = false;
	INIT_LIST_HEAD(&txn->idle);
}

/* From here to memview_txn_end() the caller holds ops_lock. */
void memview_txn_start(struct memview_txn *txn)
{
	struct memview *view = txn->view;
	struct memview_range **link = &view->spare;

	lockdep_assert_held(&view->ops_lock);

	while (*link)
		link = &(*link)->change_next;
	*link = txn->spare;
	txn->spare = view->spare;
	txn->nr_spare += view->nr_spare;
	txn->nr_ranges = view->nr_ranges;
}

static void memview_txn_give(struct memview_txn *txn,
			     struct memview_range *range)
{
	range->change_next = txn->spare;
	txn->spare = range;
	txn->nr_spare++;
}

/**
 * memview_txn_reserve - allocate ranges, outside memview.lock
 * @txn: the transaction
 * @nr: number of ranges that must be spare
 *
 * Return: 0, -ENOMEM, or as memview_stopped()
 */
int memview_txn_reserve(struct memview_txn *txn, unsigned long nr)
{
	struct memview_range *range;
	int err = 0;

	while (!err && txn->nr_spare < nr) {
		/* Each allocation can wait for the controller's memory cgroup. */
		range = kmem_cache_alloc(memview_range_cache,
					 GFP_KERNEL_ACCOUNT);
		if (!range)
			return -ENOMEM;
		memview_txn_give(txn, range);
		if (txn->nr_spare % MEMVIEW_CHUNK == 0)
			cond_resched();
		err = memview_stopped(txn->view);
	}
	return err;
}

/* Ends a transaction that has not been started. */
void memview_txn_drop(struct memview_txn *txn)
{
	struct memview_range *range;

	while ((range = txn->spare)) {
		txn->spare = range->change_next;
		kmem_cache_free(memview_range_cache, range);
	}
}

/**
 * memview_txn_begin - begin to change the table
 * @txn: the transaction
 * @first: first page of the span that is going to change
 * @last: last page of the span
 *
 * Takes memview.lock, which memview_txn_commit() or memview_txn_abort()
 * drops. The calls in between drop it for a moment after each MEMVIEW_CHUNK steps.
 */
void memview_txn_begin(struct memview_txn *txn, pgoff_t first, pgoff_t last)
	__acquires(&txn->view->lock)
{
	txn->steps = 0;
	txn->first = first;
	txn->last = last;
	txn->cut_first = first;
	txn->cut_last = last;
	memview_table_write_begin(txn->view);
}

static void memview_txn_pause(struct memview_txn *txn)
	__releases(&txn->view->lock)
{
	struct memview *view = txn->view;

	/* Nobody may see a part of the transaction. */
	if (txn->touched && !view->changing) {
		view->pending_first = txn->first;
		view->pending_last = txn->last;
		WRITE_ONCE(view->changing, true);
	}
	memview_table_write_end(view);
}

static void memview_txn_resume(struct memview_txn *txn)
	__acquires(&txn->view->lock)
{
	txn->steps = 0;
	memview_table_write_begin(txn->view);
}

/**
 * memview_txn_step - to be called before each bounded piece of work
 * @txn: the transaction; nobody else changes the table or a range meanwhile, for
 *	we have ops_lock
 *
 * Return: 0, or the error with which the transaction must abort
 */
int memview_txn_step(struct memview_txn *txn)
{
	if (likely(txn->steps++ < MEMVIEW_CHUNK))
		return 0;
	memview_txn_pause(txn);
	cond_resched();
	memview_txn_resume(txn);
	return txn->undoing ? 0 : memview_stopped(txn->view);
}

/*
 * Makes sure that @nr ranges are spare. The view's own spares nearly always suffice.
 *
 * Return: 0, or the error with which the transaction must abort
 */
static int memview_txn_need(struct memview_txn *txn, unsigned long nr)
{
	int err;

	if (likely(txn->nr_spare >= nr))
		return 0;
	memview_txn_pause(txn);
	err = memview_txn_reserve(txn, nr);
	memview_txn_resume(txn);
	return err;
}

/**
 * memview_txn_commit - make the changes visible to everybody
 * @txn: the transaction, which cannot be aborted any more
 *
 * Drops memview.lock. Peers may still have the old entries: the caller sets
 * memview.pending_first and pending_last before, and clears them after the zap.
 */
void memview_txn_commit(struct memview_txn *txn) __releases(&txn->view->lock)
{
	struct memview *view = txn->view;
	bool waits = view->changing;

	view->nr_ranges = txn->nr_ranges;
	if (waits) {
		WRITE_ONCE(view->changing, false);
		WRITE_ONCE(view->gen, view->gen + 1);
	}
	memview_table_write_end(view);
	if (waits)
		wake_up_all(&view->change_wait);
}

static void memview_txn_touch(struct memview_txn *txn,
			      struct memview_range *range, unsigned long what)
{
	if (!(range->file & MEMVIEW_RANGE_CHANGE)) {
		txn->cut_first = min(txn->cut_first, range->first);
		txn->cut_last = max(txn->cut_last, range->last);
		range->file &= ~(MEMVIEW_RANGE_FLAGS * MEMVIEW_RANGE_OLD);
		range->file |= memview_range_flags(range) * MEMVIEW_RANGE_OLD;
		range->change_next = txn->touched;
		txn->touched = range;
	}
	range->file |= what;
}

/* Flags and MEMVIEW_RANGE_MAY_* that the rest of a cut range keeps. */
static unsigned long memview_range_keeps(const struct memview_range *range)
{
	return range->file & (MEMVIEW_RANGE_FLAGS | MEMVIEW_RANGE_MAY);
}

/* Turns a spare into a range that is about to be in the table. */
static struct memview_range *
memview_txn_new(struct memview_txn *txn, pgoff_t first, pgoff_t last,
		pgoff_t file_first, struct memview_attachment *attachment,
		u64 cookie, unsigned long flags)
{
	struct memview_range *range = txn->spare;

	txn->spare = range->change_next;
	txn->nr_spare--;
	range->first = first;
	range->last = last;
	range->file = file_first * MEMVIEW_RANGE_PAGE + flags +
		      MEMVIEW_RANGE_ADDED;
	range->attachment = attachment;
	range->cookie = cookie;
	range->change_next = txn->touched;
	txn->touched = range;
	return range;
}

static void memview_txn_remove(struct memview_txn *txn,
			       struct memview_range *range)
{
	memview_txn_touch(txn, range, MEMVIEW_RANGE_REMOVED);
	memview_table_erase(txn, range);
}

/*
 * Shrinks @range to a span. One that was there before the transaction is replaced by a
 * spare, of which there must be one. The place in the view's tree stays the same.
 *
 * Return: the range that is in the table now
 */
static struct memview_range *memview_txn_trim(struct memview_txn *txn,
					      struct memview_range *range,
					      pgoff_t first, pgoff_t last)
{
	unsigned long ahead = first - range->first;
	struct memview_range *new = range;

	memview_attachment_unindex(range);
	if (range->file & MEMVIEW_RANGE_ADDED) {
		range->file += ahead * MEMVIEW_RANGE_PAGE;
		range->first = first;
		range->last = last;
	} else {
		new = memview_txn_new(txn, first, last,
				      memview_range_file_first(range) + ahead,
				      range->attachment, range->cookie,
				      memview_range_keeps(range));
		memview_txn_touch(txn, range, MEMVIEW_RANGE_REMOVED);
		/* Readers without the lock find one or the other. */
		rb_replace_node_rcu(&range->node, &new->node,
				    &txn->view->table);
	}
	memview_attachment_index(new);
	return new;
}

/*
 * Cuts the middle out of @range: the first part ends at @last, the second begins at
 * @page. There must be two spares.
 */
static void memview_txn_split(struct memview_txn *txn,
			      struct memview_range *range, pgoff_t last,
			      pgoff_t page)
{
	pgoff_t file_page = memview_range_file_first(range) +
			    (page - range->first);
	pgoff_t range_last = range->last;
	struct memview_range *before, *behind;
	struct memview_place place;

	before = memview_txn_trim(txn, range, range->first, last);
	behind = memview_txn_new(txn, page, range_last, file_page,
				 range->attachment, range->cookie,
				 memview_range_keeps(range));
	memview_table_place_behind(before, &place);
	memview_table_link(txn, behind, &place);
}

/**
 * memview_txn_add - put a range into the table
 * @txn: the transaction
 * @first: first page
 * @last: last page
 * @file_first: page of the file that @first maps
 * @attachment: the attachment to the source that it maps
 * @cookie: the controller's name for it
 * @flags: as in memview_range; their rights are the most that the range can have
 *
 * Return: 0; -EEXIST where the span is not free; or the error with which to abort
 */
int memview_txn_add(struct memview_txn *txn, pgoff_t first, pgoff_t last,
		    pgoff_t file_first, struct memview_attachment *attachment,
		    u64 cookie, u32 flags)
{
	struct memview_place place;
	int err = memview_txn_need(txn, 1);

	if (err)
		return err;
	if (!memview_table_place(txn->view, first, last, &place))
		return -EEXIST;
	memview_table_link(txn,
			   memview_txn_new(txn, first, last, file_first,
					   attachment, cookie,
					   memview_range_mapped(flags)),
			   &place);
	return 0;
}

/**
 * memview_txn_carve - remove a span from the table
 * @txn: the transaction
 * @first: first page
 * @last: last page
 * @removed: gets the number of pages removed
 *
 * Return: 0, or the error with which the transaction must abort
 */
int memview_txn_carve(struct memview_txn *txn, pgoff_t first, pgoff_t last,
		      u64 *removed)
{
	struct memview_range *range, *next;
	int err;

	lockdep_assert_held(&txn->view->lock);

	*removed = 0;
	range = memview_table_first(txn->view, first);
	if (range && range->first < first && range->last > last) {
		err = memview_txn_need(txn, 2);
		if (err)
			return err;
		memview_txn_split(txn, range, first - 1, last + 1);
		*removed = last - first + 1;
		return 0;
	}
	for (; range && range->first <= last; range = next) {
		bool whole = range->first >= first && range->last <= last;

		err = memview_txn_step(txn);
		if (!err && !whole)
			err = memview_txn_need(txn, 1);
		if (err)
			return err;
		next = memview_table_next(range);
		*removed += min(range->last, last) -
			    max(range->first, first) + 1;

		if (whole)
			memview_txn_remove(txn, range);
		else if (range->first < first)
			memview_txn_trim(txn, range, range->first, first - 1);
		else
			memview_txn_trim(txn, range, last + 1, range->last);
	}
	return 0;
}

/* The range that contains @page, but not as its first page. */
static struct memview_range *memview_table_inside(struct memview *view,
						  pgoff_t page)
{
	struct memview_range *range = memview_table_find(view, page);

	return range && range->first < page ? range : NULL;
}

/* Number of ends of the span at which a change of flags cuts a range. */
static unsigned int memview_table_ends(struct memview *view, pgoff_t first,
				       pgoff_t last)
{
	return !!memview_table_inside(view, first) +
	       !!memview_table_inside(view, last + 1);
}

/**
 * memview_txn_check - check a span that is to get other flags
 * @txn: the transaction
 * @first: first page
 * @last: last page
 * @flags: as in memview_range
 *
 * A right can be given back, but one that mmap(2) was not asked for is not known to
 * be allowed (R6), and a right of another range of the same file does not count for
 * this one.
 *
 * Return: whether anything changes; -ENOENT where the span is not fully mapped;
 * -EACCES for a right that a range cannot have; or the error with which to abort
 */
int memview_txn_check(struct memview_txn *txn, pgoff_t first, pgoff_t last,
		      u32 flags)
{
	struct memview_range *range;
	pgoff_t next = first;
	bool changes = false;
	int err;

	for (range = memview_table_first(txn->view, next);
	     range && range->first <= next && next <= last;
	     range = memview_table_next(range)) {
		err = memview_txn_step(txn);
		if (err)
			return err;
		if (!memview_range_may(range, flags))
			return -EACCES;
		changes |= memview_range_flags(range) != flags;
		next = range->last + 1;
	}
	return next > last ? changes : -ENOENT;
}

/**
 * memview_txn_flags - give a span other flags
 * @txn: the transaction
 * @first: first page
 * @last: last page
 * @flags: as in memview_range
 *
 * Return: 0, or the error with which the transaction must abort
 */
int memview_txn_flags(struct memview_txn *txn, pgoff_t first, pgoff_t last,
		      u32 flags)
{
	struct memview *view = txn->view;
	struct memview_range *range;
	int err;

	lockdep_assert_held(&view->lock);

	err = memview_txn_need(txn, 2 * memview_table_ends(view, first, last));
	if (err)
		return err;
	range = memview_table_inside(view, first);
	if (range)
		memview_txn_split(txn, range, first - 1, first);
	range = memview_table_inside(view, last + 1);
	if (range)
		memview_txn_split(txn, range, last, last + 1);
	for (range = memview_table_first(view, first);
	     range && range->last <= last; range = memview_table_next(range)) {
		err = memview_txn_step(txn);
		if (err)
			return err;
		memview_txn_touch(txn, range, MEMVIEW_RANGE_ALTERED);
		WRITE_ONCE(range->file, (range->file & ~MEMVIEW_RANGE_FLAGS) |
					(flags & MEMVIEW_RANGE_FLAGS));
	}
	return 0;
}

/*
 * Widens the published span: during an abort a range that was cut is missing as a
 * whole, also outside of the span that was to change.
 */
static void memview_txn_widen(struct memview_txn *txn)
{
	struct memview *view = txn->view;

	txn->undoing = true;
	txn->first = txn->cut_first;
	txn->last = txn->cut_last;
	if (view->changing) {
		view->pending_first = txn->first;
		view->pending_last = txn->last;
		WRITE_ONCE(view->gen, view->gen + 1);
	}
}

/**
 * memview_txn_abort - undo all changes
 * @txn: the transaction; ranges that it used are spare again
 *
 * Drops memview.lock. No entry of a peer comes from the undone changes: faults
 * have waited, or have not had the lock.
 */
void memview_txn_abort(struct memview_txn *txn) __releases(&txn->view->lock)
{
	const unsigned long both = MEMVIEW_RANGE_ADDED | MEMVIEW_RANGE_REMOVED;
	struct memview *view = txn->view;
	struct memview_range *range;

	lockdep_assert_held(&view->lock);

	memview_txn_widen(txn);
	/* Make room first: removed ranges may lie where others were added. */
	for (range = txn->touched; range; range = range->change_next) {
		memview_txn_step(txn);
		if ((range->file & both) == MEMVIEW_RANGE_ADDED)
			memview_table_erase(txn, range);
	}
	while ((range = txn->touched)) {
		unsigned long what = range->file;

		memview_txn_step(txn);
		txn->touched = range->change_next;
		if (what & MEMVIEW_RANGE_ADDED) {
			memview_txn_give(txn, range);
			continue;
		}
		WRITE_ONCE(range->file, rounddown(what, MEMVIEW_RANGE_PAGE) +
			   (what & MEMVIEW_RANGE_MAY) +
			   (what / MEMVIEW_RANGE_OLD & MEMVIEW_RANGE_FLAGS));
		if (what & MEMVIEW_RANGE_REMOVED)
			memview_table_insert(txn, range);
	}
	if (view->changing)
		WRITE_ONCE(view->pending_first, ULONG_MAX);
	memview_txn_commit(txn);
}

/**
 * memview_txn_end - free the ranges that a transaction has left over
 * @txn: the transaction, committed or aborted
 *
 * Called after the zap: drops attachments that have lost their last range. The view
 * keeps some ranges for the next operation.
 */
void memview_txn_end(struct memview_txn *txn)
{
	struct memview *view = txn->view;
	struct memview_range *range;
	unsigned long nr = 0;

	lockdep_assert_held(&view->ops_lock);

	while (txn->nr_spare > MEMVIEW_SPARES_KEPT) {
		range = txn->spare;
		txn->spare = range->change_next;
		txn->nr_spare--;
		kmem_cache_free(memview_range_cache, range);
		if (++nr % 64 == 0)
			cond_resched();
	}
	while ((range = txn->touched)) {
		txn->touched = range->change_next;
		if (!(range->file & MEMVIEW_RANGE_REMOVED))
			WRITE_ONCE(range->file,
				   range->file & ~MEMVIEW_RANGE_CHANGE);
		else if (txn->nr_spare < MEMVIEW_SPARES_KEPT)
			memview_txn_give(txn, range);
		else
			kmem_cache_free(memview_range_cache, range);
		if (++nr % 64 == 0)
			cond_resched();
	}
	view->spare = txn->spare;
	view->nr_spare = txn->nr_spare;
	memview_attachment_put_list(&txn->idle);
}

/*
 * Empties the table at once; memview_table_free() frees the ranges. Until then
 * invalidations find them in the reverse index, and zap in vain.
 */
void memview_table_clear(struct memview *view, struct list_head *idle,
			 struct rb_root *removed)
{
	lockdep_assert_held(&view->lock);

	list_splice_init(&view->attachments, idle);
	*removed = view->table;
	view->table = RB_ROOT;
	view->nr_ranges = 0;
}

/* The end of a view: frees the ranges that memview_txn_end() has kept. */
void memview_table_destroy(struct memview *view)
{
	struct memview_range *range;

	while ((range = view->spare)) {
		view->spare = range->change_next;
		kmem_cache_free(memview_range_cache, range);
	}
}

/* After the zap: frees the ranges that memview_table_clear() has removed. */
void memview_table_free(struct memview *view, struct list_head *idle,
			struct rb_root *removed)
{
	struct memview_range *range, *next;
	struct memview_attachment *attachment;

	list_for_each_entry(attachment, idle, view_node) {
		spin_lock(&view->lock);
		attachment->ranges = RB_ROOT_CACHED;
		attachment->nr_ranges = 0;
		spin_unlock(&view->lock);
		cond_resched();
	}
	rbtree_postorder_for_each_entry_safe(range, next, removed, node) {
		kmem_cache_free(memview_range_cache, range);
		cond_resched();
	}
	memview_attachment_put_list(idle);
}

/* The first range of @attachment that maps a page of a span of the file. */
struct memview_range *
memview_attachment_first(struct memview_attachment *attachment, pgoff_t first,
			 pgoff_t last)
{
	return memview_file_tree_iter_first(&attachment->ranges, first, last);
}

struct memview_range *memview_attachment_next(struct memview_range *range,
					      pgoff_t first, pgoff_t last)
{
	return memview_file_tree_iter_next(range, first, last);
}
