// SPDX-License-Identifier: GPL-2.0
/*
 * Attachments: each ties the ranges of one view to one source. By them an invalidation
 * finds the views of a source, and in each view the ranges.
 */

#include <linux/rculist.h>
#include <linux/slab.h>

#include "attachment.h"
#include "memview.h"
#include "peers.h"
#include "source.h"
#include "table.h"
#include "update.h"
#include "view.h"

/* Spans of one view that an invalidation zaps one by one. */
#define MEMVIEW_ZAP_SPANS 8

/*
 * Zaps the pages of one view that map a span of the file. A fault in flight either
 * sees the new sequence number, or has inserted its entries before the zap (R2): see
 * peers.c for pages; huge entries are made under memview.lock, which is taken here.
 */
void memview_attachment_zap(struct memview_attachment *attachment,
			    pgoff_t first, pgoff_t last)
{
	struct {
		pgoff_t first, last;
	} spans[MEMVIEW_ZAP_SPANS + 1];
	struct memview *view = attachment->view;
	struct memview_range *range;
	unsigned int i, nr = 0;

	spin_lock(&view->lock);
	for (range = memview_attachment_first(attachment, first, last); range;
	     range = memview_attachment_next(range, first, last)) {
		pgoff_t file_first = memview_range_file_first(range);
		pgoff_t from = max(file_first, first);
		pgoff_t to = min(memview_range_file_last(range), last);

		if (nr == MEMVIEW_ZAP_SPANS) {
			/* Too many spans: zap all of the view. */
			spans[0].first = 0;
			spans[0].last = ULONG_MAX >> PAGE_SHIFT;
			nr = 1;
			break;
		}
		spans[nr].first = range->first + (from - file_first);
		spans[nr].last = range->first + (to - file_first);
		nr++;
	}
	/* Ranges gone from the index, whose entries may not be zapped yet. */
	spans[nr].first = READ_ONCE(view->pending_first);
	spans[nr].last = view->pending_last;
	if (spans[nr].first <= spans[nr].last)
		nr++;
	memview_zap_begin(view);
	spin_unlock(&view->lock);

	for (i = 0; i < nr; i++)
		memview_zap(view, spans[i].first, spans[i].last, true);
	memview_zap_end(view);
}

/**
 * memview_attachment_find - the view's newest attachment, if it serves for a new range
 * @view: the view
 * @controller: the controller of the view and of the caller
 * @op: the map operation
 *
 * The next range is likely to map the file where the one before did. Then neither
 * the source nor the attachment need be looked up under their locks.
 *
 * Return: the attachment, with a reference, or NULL
 */
struct memview_attachment *
memview_attachment_find(struct memview *view,
			struct memview_controller *controller,
			const struct memview_table_op *op)
{
	struct memview_source *source;
	struct memview_attachment *attachment;

	/* Each span to adopt is checked: memview_source_acquire(). */
	if (op->flags & MEMVIEW_MAP_ADOPT)
		return NULL;
	rcu_read_lock();
	attachment = list_first_or_null_rcu(&view->attachments,
					    struct memview_attachment,
					    view_node);
	/* RCU keeps it and its source, but not the source's files (6.12). */
	if (attachment && !kref_get_unless_zero(&attachment->ref))
		attachment = NULL;
	rcu_read_unlock();
	if (!attachment)
		return NULL;
	source = attachment->source;
	if (source->controller == controller &&
	    memview_source_covers(source, op) &&
	    memview_source_matches(source, op) &&
	    (!(op->flags & MEMVIEW_MAP_EXEC) || READ_ONCE(source->exec_ok)))
		return attachment;
	memview_attachment_put(attachment);
	return NULL;
}

/*
 * Allocates an attachment in advance, for memview_attachment_get(). NULL where the view
 * is likely to have one already.
 */
struct memview_attachment *
memview_attachment_alloc(struct memview *view, struct memview_source *source)
{
	struct memview_attachment *attachment;
	bool found;

	/* As a rule it exists, from the range before. */
	spin_lock(&source->lock);
	attachment = list_first_entry_or_null(&source->attachments,
					      struct memview_attachment,
					      source_node);
	found = attachment && attachment->view == view;
	spin_unlock(&source->lock);
	if (found)
		return NULL;
	return kzalloc(sizeof(*attachment), GFP_KERNEL_ACCOUNT) ?:
		       ERR_PTR(-ENOMEM);
}

/**
 * memview_attachment_get - find or make the view's attachment to a source
 * @view: its ops_lock is held
 * @source: the source, of which the caller holds a use
 * @spare: result of memview_attachment_alloc(), or NULL; NULL afterwards if used
 *
 * Return: an attachment with a reference, or NULL without memory
 */
struct memview_attachment *
memview_attachment_get(struct memview *view, struct memview_source *source,
		       struct memview_attachment **spare)
{
	struct memview_attachment *attachment;

	lockdep_assert_held(&view->ops_lock);

	list_for_each_entry(attachment, &view->attachments, view_node) {
		if (attachment->source == source) {
			kref_get(&attachment->ref);
			return attachment;
		}
	}

	/* No spare: it existed, and went before we had the lock, which is rare. */
	attachment = *spare ?:
			      kzalloc(sizeof(*attachment),
				      GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN);
	*spare = NULL;
	if (!attachment)
		return NULL;
	kref_init(&attachment->ref);
	INIT_LIST_HEAD(&attachment->view_node);
	attachment->ranges = RB_ROOT_CACHED;
	memview_get(view);
	attachment->view = view;
	memview_source_use(source);
	kref_get(&source->ref);
	attachment->source = source;
	spin_lock(&source->lock);
	list_add(&attachment->source_node, &source->attachments);
	spin_unlock(&source->lock);
	/* Here the next operation of the same update finds it. */
	spin_lock(&view->lock);
	list_add_rcu(&attachment->view_node, &view->attachments);
	spin_unlock(&view->lock);
	return attachment;
}

/*
 * Lists @attachment again, if it has lost its last range since it was found without a
 * lock. Return: the view's attachment to its source, which may be another
 */
struct memview_attachment *
memview_attachment_relist(struct memview *view,
			  struct memview_attachment *attachment)
{
	struct memview_attachment *other;

	lockdep_assert_held(&view->ops_lock);

	if (!list_empty(&attachment->view_node))
		return attachment;
	list_for_each_entry(other, &view->attachments, view_node) {
		if (other->source == attachment->source) {
			kref_get(&other->ref);
			memview_attachment_put(attachment);
			return other;
		}
	}
	spin_lock(&view->lock);
	list_add_rcu(&attachment->view_node, &view->attachments);
	spin_unlock(&view->lock);
	return attachment;
}

static void memview_attachment_release(struct kref *ref)
{
	struct memview_attachment *attachment =
		container_of(ref, struct memview_attachment, ref);
	struct memview_source *source = attachment->source;

	spin_lock(&source->lock);
	list_del(&attachment->source_node);
	spin_unlock(&source->lock);
	memview_put(attachment->view);
	kfree_rcu(attachment, rcu);
	memview_source_unuse(source);
	memview_source_put(source);
}

/* Never sleeps: an invalidation may have the last reference. */
void memview_attachment_put(struct memview_attachment *attachment)
{
	kref_put(&attachment->ref, memview_attachment_release);
}

/* Drops a reference of memview_attachment_get(); without ranges it leaves the view. */
void memview_attachment_done(struct memview_attachment *attachment)
{
	lockdep_assert_held(&attachment->view->lock);

	if (!attachment->in_use)
		list_del_init(&attachment->view_node);
	memview_attachment_put(attachment);
}

void memview_attachment_put_list(struct list_head *idle)
{
	struct memview_attachment *attachment, *next;

	list_for_each_entry_safe(attachment, next, idle, view_node) {
		list_del_init(&attachment->view_node);
		attachment->in_use = false;
		memview_attachment_put(attachment);
	}
}
