// SPDX-License-Identifier: GPL-2.0
/*
 * The table of a view: ranges that do not overlap, in a red-black tree by page
 * of the view, and each in its attach's interval tree by page of the file.
 *
 * An rbtree rather than an interval tree for the view, because ranges never
 * overlap there; and rather than a maple tree, because a commit must not fail
 * (R5) and mas_preallocate() is not exported to modules on 6.1.
 */

#include <linux/interval_tree_generic.h>
#include <linux/slab.h>

#include "memview.h"

#define START(range)	((range)->file_first)
#define LAST(range)	memview_range_file_last(range)

INTERVAL_TREE_DEFINE(struct memview_range, file_node, pgoff_t,
		     file_subtree_last, START, LAST, static, memview_file_tree)

static struct kmem_cache *memview_range_cache;

int __init memview_table_init(void)
{
	memview_range_cache = KMEM_CACHE(memview_range, SLAB_ACCOUNT);
	return memview_range_cache ? 0 : -ENOMEM;
}

void memview_table_exit(void)
{
	kmem_cache_destroy(memview_range_cache);
}

struct memview_range *memview_range_alloc(void)
{
	return kmem_cache_alloc(memview_range_cache, GFP_KERNEL_ACCOUNT);
}

void memview_range_free(struct memview_range *range)
{
	if (range)
		kmem_cache_free(memview_range_cache, range);
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

/* The range that contains @page. */
struct memview_range *memview_table_find(struct memview *view, pgoff_t page)
{
	struct rb_node *node = view->table.rb_node;

	while (node) {
		struct memview_range *range = memview_range_of(node);

		if (page < range->first)
			node = node->rb_left;
		else if (page > range->last)
			node = node->rb_right;
		else
			return range;
	}
	return NULL;
}

/* Does removing the span leave two pieces of one range? */
bool memview_table_cuts(struct memview *view, pgoff_t first, pgoff_t last)
{
	struct memview_range *range = memview_table_find(view, first);

	return range && range->first < first && range->last > last;
}

static void memview_attach_index(struct memview_range *range)
{
	memview_file_tree_insert(range, &range->attach->ranges);
}

static void memview_attach_unindex(struct memview_range *range)
{
	memview_file_tree_remove(range, &range->attach->ranges);
}

/* Adds @range, whose span must be free. The commit of MAP_FD: cannot fail. */
void memview_table_insert(struct memview *view, struct memview_range *range)
{
	struct rb_node **link = &view->table.rb_node, *parent = NULL;
	struct memview_attach *attach = range->attach;

	lockdep_assert_held_write(&view->lock);

	while (*link) {
		parent = *link;
		if (range->first < memview_range_of(parent)->first)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&range->node, parent, link);
	rb_insert_color(&range->node, &view->table);
	view->nr_ranges++;

	memview_attach_index(range);
	if (!attach->nr_ranges++) {
		/* Back from the idle list of this very operation? */
		if (list_empty(&attach->view_node))
			kref_get(&attach->ref);
		list_move(&attach->view_node, &view->attaches);
	}
}

/*
 * An attach that loses its last range goes to @idle, reference and all: the
 * caller drops it when the zap is over, for until then the attach is how an
 * invalidation finds the view.
 */
static void memview_table_remove(struct memview *view,
				 struct memview_range *range,
				 struct list_head *idle)
{
	struct memview_attach *attach = range->attach;

	memview_attach_unindex(range);
	if (!--attach->nr_ranges)
		list_move(&attach->view_node, idle);

	rb_erase(&range->node, &view->table);
	view->nr_ranges--;
	memview_range_free(range);
}

/**
 * memview_table_split - make @page the first page of a range, if it is in one
 * @view: the view
 * @page: where to cut
 * @spare: where an allocated range is; taken if there is something to cut
 */
void memview_table_split(struct memview *view, pgoff_t page,
			 struct memview_range **spare)
{
	struct memview_range *range = memview_table_find(view, page);
	struct memview_range *tail = *spare;

	lockdep_assert_held_write(&view->lock);

	if (!range || range->first == page)
		return;

	*spare = NULL;
	*tail = (struct memview_range) {
		.first		= page,
		.last		= range->last,
		.file_first	= range->file_first + (page - range->first),
		.attach		= range->attach,
		.flags		= range->flags,
	};
	memview_attach_unindex(range);
	range->last = page - 1;
	memview_attach_index(range);
	memview_table_insert(view, tail);
}

/**
 * memview_table_carve - remove a span from the table
 * @view: the view
 * @first: first page
 * @last: last page
 * @spare: an allocated range, taken if memview_table_cuts()
 * @idle: gets the attaches that have no range any more
 *
 * Return: the pages removed
 */
u64 memview_table_carve(struct memview *view, pgoff_t first, pgoff_t last,
			struct memview_range **spare, struct list_head *idle)
{
	struct memview_range *range, *next;
	u64 removed = 0;

	lockdep_assert_held_write(&view->lock);

	if (memview_table_cuts(view, first, last))
		memview_table_split(view, last + 1, spare);

	for (range = memview_table_first(view, first);
	     range && range->first <= last; range = next) {
		cond_resched();
		next = memview_table_next(range);
		removed += min(range->last, last) - max(range->first, first) + 1;

		if (range->first >= first && range->last <= last) {
			memview_table_remove(view, range, idle);
			continue;
		}
		/* In the view's tree a trimmed range keeps its place. */
		memview_attach_unindex(range);
		if (range->first < first) {
			range->last = first - 1;
		} else {
			range->file_first += last + 1 - range->first;
			range->first = last + 1;
		}
		memview_attach_index(range);
	}
	return removed;
}

/* Empties the table at once; memview_table_free() does the long rest. */
void memview_table_clear(struct memview *view, struct list_head *idle,
			 struct rb_root *removed)
{
	struct memview_attach *attach;

	lockdep_assert_held_write(&view->lock);

	list_for_each_entry(attach, &view->attaches, view_node) {
		attach->ranges = RB_ROOT_CACHED;
		attach->nr_ranges = 0;
	}
	list_splice_init(&view->attaches, idle);
	*removed = view->table;
	view->table = RB_ROOT;
	view->nr_ranges = 0;
}

void memview_table_free(struct rb_root *removed)
{
	struct memview_range *range, *next;

	rbtree_postorder_for_each_entry_safe(range, next, removed, node) {
		memview_range_free(range);
		cond_resched();
	}
	*removed = RB_ROOT;
}

/* The ranges of @attach that map any of a span of the file. */
struct memview_range *memview_attach_first(struct memview_attach *attach,
					   pgoff_t first, pgoff_t last)
{
	return memview_file_tree_iter_first(&attach->ranges, first, last);
}

struct memview_range *memview_attach_next(struct memview_range *range,
					  pgoff_t first, pgoff_t last)
{
	return memview_file_tree_iter_next(range, first, last);
}
