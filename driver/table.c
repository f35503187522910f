// SPDX-License-Identifier: GPL-2.0
/*
 * The table of a view: ranges that do not overlap, in a red-black tree by page
 * of the view, and each in its attachment's interval tree by page of the file.
 *
 * An rbtree rather than an interval tree for the view, because ranges never
 * overlap there; and rather than a maple tree, because a commit must not fail
 * (R5) and mas_preallocate() is not exported to modules on 6.1.
 *
 * A change of several steps can be undone until it is committed (R5): what was
 * removed is kept until the end, and so is a range that was cut, for others take
 * its place; what has other flags remembers those before; and what was added is
 * known by its mark.
 *
 * One that takes more than MEMVIEW_CHUNK steps gives memview.lock up in between
 * (R7), with both trees as they should be, and the span that it is at work on
 * published: faults wait there (memview_changes()), and invalidations zap all of
 * it, whatever the trees say. Everywhere else all is as it was before.
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
 * What is typesafe stays a range, if perhaps another, for who looks it up under
 * RCU; that reads no change_next, which is where free ones are linked. Nor is it
 * zeroed each time (init_on_alloc): all of a range is written before it is found.
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
 * Context: memview.lock; or RCU, and then the range, or that there is none, is
 *	true only if memview.table_seq was even before and is the same after.
 */
struct memview_range *memview_table_find(struct memview *view, pgoff_t page)
{
	struct rb_node *node = READ_ONCE(view->table.rb_node);
	unsigned int steps;

	/* Under RCU the way may lead anywhere; no tree is as deep as this. */
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

/* Around each change of the table or the size; readers take the lock alone. */
void memview_table_write_begin(struct memview *view)
	__acquires(&view->lock)
{
	spin_lock(&view->lock);
	raw_write_seqcount_begin(&view->table_seq);
	/* While it is true, no fault has seen what is going to change. */
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

/* Where in the tree of a view a new range goes. */
struct memview_place {
	struct rb_node **link;
	struct rb_node *parent;
};

/* Is the span free? Then @place is where it goes. */
static bool memview_table_place(struct memview *view, pgoff_t first,
				pgoff_t last, struct memview_place *place)
{
	struct rb_node **link = &view->table.rb_node, *parent = NULL;

	while (*link) {
		struct memview_range *range = memview_range_of(*link);

		parent = *link;
		/* Most come in ascending order. */
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

/* Between @range and the next one. */
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

/* Adds @range at the place that has been found for it. Cannot fail. */
static void memview_table_link(struct memview_txn *txn,
			       struct memview_range *range,
			       const struct memview_place *place)
{
	struct memview *view = txn->view;
	struct memview_attachment *attachment = range->attachment;

	range->node.rb_left = NULL;
	range->node.rb_right = NULL;
	/* Readers without the lock find it when it leads nowhere any more. */
	smp_wmb();
	rb_link_node(&range->node, place->parent, place->link);
	rb_insert_color(&range->node, &view->table);
	txn->nr_ranges++;

	memview_attachment_index(range);
	if (!attachment->nr_ranges++) {
		/* Or back from the idle list of this very operation. */
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
 * An attachment that loses its last range goes to txn->idle, reference and all: it
 * is dropped when the zap is over, for until then the attachment is how an
 * invalidation finds the view.
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

/* What may be done before ops_lock is held: memview_txn_reserve(). */
void memview_txn_init(struct memview_txn *txn, struct memview *view)
{
	txn->view = view;
	txn->spare = NULL;
	txn->nr_spare = 0;
	txn->touched = NULL;
	txn->undoing = false;
	INIT_LIST_HEAD(&txn->idle);
}

/* From here to memview_txn_end() the operation has ops_lock. */
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
 * @txn: the change
 * @nr: as many must be spare
 *
 * Return: 0, -ENOMEM, or as memview_stopped()
 */
int memview_txn_reserve(struct memview_txn *txn, unsigned long nr)
{
	struct memview_range *range;
	int err = 0;

	while (!err && txn->nr_spare < nr) {
		/* Each can wait for the controller's memory cgroup. */
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

/* The end of what has not been started. */
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
 * @txn: the change
 * @first: first page of the span that is going to change
 * @last: last page of the span
 *
 * Takes memview.lock, which memview_txn_commit() or memview_txn_abort()
 * drops. What is called in between gives it up after each MEMVIEW_CHUNK steps.
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

	/* Nobody may see what has been done so far. */
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
 * memview_txn_step - before each bounded piece of work
 * @txn: the change; nobody else changes the table or a range meanwhile, for
 *	we have ops_lock
 *
 * Return: 0, or why the change has to be undone
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
 * Makes sure that @nr ranges are spare. What cuts more than a view keeps is rare.
 *
 * Return: 0, or why the change has to be undone
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
 * memview_txn_commit - let everybody see what has changed
 * @txn: the change; nothing of it can be undone any more
 *
 * Drops memview.lock. Entries of peers may be as before: memview.pending_first
 * and pending_last are the caller's to set, and to take back after the zap.
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

/* Flags of what is left of a range, with what it may have. */
static unsigned long memview_range_keeps(const struct memview_range *range)
{
	return range->file & (MEMVIEW_RANGE_FLAGS | MEMVIEW_RANGE_MAY);
}

/* What was spare becomes a range that is about to be in the table. */
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
 * Something is spare: it takes the place of what was there before the change.
 * In the view's tree a range that only shrinks keeps its place.
 *
 * Return: what is in the table now
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
 * Cuts the middle out of @range: its rest begins at @page, and what is before it
 * ends at @last. Two are spare.
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
 * @txn: the change
 * @first: first page
 * @last: last page
 * @file_first: page of the file that @first maps
 * @attachment: what it maps
 * @cookie: the controller's name for it
 * @flags: as in memview_range, which are its greatest rights as well
 *
 * Return: 0; -EEXIST where the span is not free; or why the change has to be undone
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
 * @txn: the change
 * @first: first page
 * @last: last page
 * @removed: gets the number of pages removed
 *
 * Return: 0, or why the change has to be undone
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

/* The range of which @page is not the first, but another. */
static struct memview_range *memview_table_inside(struct memview *view,
						  pgoff_t page)
{
	struct memview_range *range = memview_table_find(view, page);

	return range && range->first < page ? range : NULL;
}

/* Ends of the span that lie within a range: to give it other flags cuts there. */
static unsigned int memview_table_ends(struct memview *view, pgoff_t first,
				       pgoff_t last)
{
	return !!memview_table_inside(view, first) +
	       !!memview_table_inside(view, last + 1);
}

/**
 * memview_txn_check - look at a span that is to have other flags
 * @txn: the change
 * @first: first page
 * @last: last page
 * @flags: as in memview_range
 *
 * A right can be given back, but one that mmap(2) has not been asked for is not
 * known to be allowed (R6), and what others have been allowed, in the same file,
 * is not this range's.
 *
 * Return: whether anything changes; -ENOENT where the span is not fully mapped;
 * -EACCES for a right that a range cannot have; why the change has to be undone
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
 * @txn: the change
 * @first: first page
 * @last: last page
 * @flags: as in memview_range
 *
 * Return: 0, or why the change has to be undone
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
 * What was cut is not all there while it is undone, also outside of the span that
 * was to change.
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
 * memview_txn_abort - end as if nothing had been changed
 * @txn: the change; what was reserved is spare again
 *
 * Drops memview.lock. No entry of a peer has come from what is undone: faults
 * have waited, or have not had the lock.
 */
void memview_txn_abort(struct memview_txn *txn) __releases(&txn->view->lock)
{
	const unsigned long both = MEMVIEW_RANGE_ADDED | MEMVIEW_RANGE_REMOVED;
	struct memview *view = txn->view;
	struct memview_range *range;

	lockdep_assert_held(&view->lock);

	memview_txn_widen(txn);
	/* Make room first: what was there lay where something was added. */
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
 * memview_txn_end - free what a change has left over
 * @txn: the change, of which nothing can be undone any more
 *
 * After the zap: attachments that have lost their last range go with it. Some ranges
 * are kept for the next operation.
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
 * Empties the table at once; memview_table_free() does the long rest. Until then
 * the ranges can be found by invalidations, which then zap what is not there.
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

/* The end of a view: what memview_txn_end() has kept. */
void memview_table_destroy(struct memview *view)
{
	struct memview_range *range;

	while ((range = view->spare)) {
		view->spare = range->change_next;
		kmem_cache_free(memview_range_cache, range);
	}
}

/* After the zap: what memview_table_clear() has left. */
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

/* The ranges of @attachment that map any of a span of the file. */
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
