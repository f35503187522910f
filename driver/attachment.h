/* SPDX-License-Identifier: GPL-2.0 */
/* Attachments: each ties the ranges of a view to a source. */
#ifndef _MEMVIEW_ATTACHMENT_H
#define _MEMVIEW_ATTACHMENT_H

#include "memview.h"

/**
 * struct memview_attachment - the ranges of one view on one source
 * @ref: one while @ranges is not empty, one for each operation or invalidation
 *	that looks at it
 * @view: held
 * @source: held
 * @source_node: in memview_source.attachments, until the last reference goes: a walk
 *	of that list holds a reference of its current entry
 * @view_node: in memview.attachments, under memview.lock, while it has ranges or
 *	an operation is about to give it some
 * @in_use: a reference is held for @ranges
 * @ranges: reverse index by page of the file, under memview.lock; for
 *	invalidations, which arrive by file offset
 * @nr_ranges: entries of @ranges
 * @rcu: freed after a grace period, for look-ups without memview.lock
 */
struct memview_attachment {
	struct kref ref;
	struct memview *view;
	struct memview_source *source;
	struct list_head source_node;
	struct list_head view_node;
	struct rb_root_cached ranges;
	unsigned long nr_ranges;
	bool in_use;
	struct rcu_head rcu;
};

struct memview_attachment *
memview_attachment_find(struct memview *view,
			struct memview_controller *controller,
			const struct memview_table_op *op);
struct memview_attachment *
memview_attachment_alloc(struct memview *view, struct memview_source *source);
struct memview_attachment *
memview_attachment_get(struct memview *view, struct memview_source *source,
		       struct memview_attachment **spare);
struct memview_attachment *
memview_attachment_relist(struct memview *view,
			  struct memview_attachment *attachment);
void memview_attachment_put(struct memview_attachment *attachment);
void memview_attachment_done(struct memview_attachment *attachment);
void memview_attachment_put_list(struct list_head *idle);
void memview_attachment_zap(struct memview_attachment *attachment,
			    pgoff_t first, pgoff_t last);

#endif /* _MEMVIEW_ATTACHMENT_H */
