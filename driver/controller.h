/* SPDX-License-Identifier: GPL-2.0 */
/* Controllers: address spaces that lend memory. */
#ifndef _MEMVIEW_CONTROLLER_H
#define _MEMVIEW_CONTROLLER_H

#include "memview.h"

/* A controller has few files, or many with few sources each. */
#define MEMVIEW_SOURCE_HASH_BITS 6

/**
 * struct memview_controller - an address space that lends memory
 * @ref: held by its views and sources
 * @space: held; its notifier tells of the end of @mm
 * @mm: held by mmgrab() only: a view must not keep a dead VMM's memory
 * @make_lock: held while a source is made, outside the mmap_lock. Waits for it
 *	are killable; finding or ending a source does not need it.
 * @lock: protects the lists and memview_source.users. A spinlock, innermost.
 * @sources: the sources that can be found, by inode, most recently used first
 * @nr_sources: entries of @sources
 * @idle: sources without a use, longest idle first
 * @views: the views that the end of the address space revokes
 * @orphans: views whose revocation at that end has been queued
 * @ended: the address space has ended: no idle source is kept
 */
struct memview_controller {
	struct kref ref;
	struct memview_mm *space;
	struct mm_struct *mm;
	struct mutex make_lock; /* making a source */

	spinlock_t lock; /* the fields below; innermost */
	struct hlist_head sources[1 << MEMVIEW_SOURCE_HASH_BITS];
	unsigned int nr_sources;
	struct list_head idle;
	struct list_head views;
	struct list_head orphans;
	bool ended;
};

void memview_controllers_exit(void);
struct memview_controller *memview_controller_find_current(void);
struct memview_controller *memview_controller_get_current(bool nowait);
void memview_controller_get(struct memview_controller *controller);
void memview_controller_put(struct memview_controller *controller);
void memview_controller_add(struct memview_controller *controller,
			    struct memview *view);
void memview_controller_remove(struct memview_controller *controller,
			       struct memview *view);
void memview_controller_collect(struct memview_controller *controller, bool all,
				bool wait);
bool memview_controller_is_due(struct memview_controller *controller);
int memview_controller_drop_idle(struct memview *view);
void memview_controller_exit_mm(struct memview_mm *space);

#endif /* _MEMVIEW_CONTROLLER_H */
