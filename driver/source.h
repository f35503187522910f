/* SPDX-License-Identifier: GPL-2.0 */
/* Sources: mappings of files in a controller. */
#ifndef _MEMVIEW_SOURCE_H
#define _MEMVIEW_SOURCE_H

#include "memview.h"

/**
 * enum memview_source_state - whether a source may resolve faults
 * @MEMVIEW_SOURCE_LIVE: yes
 * @MEMVIEW_SOURCE_DEAD: never again: a part of its mapping was unmapped
 */
enum memview_source_state {
	MEMVIEW_SOURCE_LIVE,
	MEMVIEW_SOURCE_DEAD,
};

/**
 * struct memview_source - one mapping of a file in a controller
 * @ref: held by its controller's list, its attachments, faults and invalidations in flight
 * @controller: held
 * @node: in memview_controller.sources
 * @users: attachments, and operations that are about to make one; under controller->lock
 * @idle_node: in memview_controller.idle, while @users is 0
 * @idle_since: start of the idle time, in jiffies
 * @mm_node: in memview_mm.sources, by @start
 * @mm_subtree_last: last address below @mm_node
 * @file: the file that MAP_FD was given, held; with @writable, the source's identity
 * @vm_file: the file of the VMA, which may be another (overlayfs, adoption); held,
 *	so that the pointer stays unique and identifies the VMA
 * @writable: MAP_FD asked for MEMVIEW_MAP_WRITE
 * @adopted: the controller's own mapping, in one VMA or several: never unmapped
 *	or changed by us, and used only by ranges that ask for it by its address
 * @exec_ok: a PROT_EXEC mapping of @file has succeeded, so that the next range
 *	with that right need not ask again
 * @start: first address
 * @first: first page of the file
 * @last: last page of the file, inclusive
 * @lock: protects the fields below. Innermost.
 * @seq: changes with each invalidation, after it has been recorded in
 *	memview_mm.running
 * @state: see enum memview_source_state
 * @quiet: the source is DEAD, and a zap of all of it that began later has finished:
 *	no peer has an entry from it, so invalidations can return at once.
 *	This ends the recursion of a view mapped where its source was.
 * @zappers: the tasks that are in the callback
 * @attachments: one for each view that has ranges on it
 * @rcu: the object is freed after a grace period, like attachments
 */
struct memview_source {
	struct kref ref;
	struct memview_controller *controller;
	struct hlist_node node;
	unsigned int users;
	struct list_head idle_node;
	unsigned long idle_since;
	struct rb_node mm_node;
	unsigned long mm_subtree_last;

	struct file *file;
	struct file *vm_file;
	bool writable;
	bool adopted;
	bool exec_ok;
	unsigned long start;
	pgoff_t first;
	pgoff_t last;

	spinlock_t lock; /* the fields below; innermost */
	u64 seq;
	enum memview_source_state state;
	bool quiet;
	struct list_head zappers;
	struct list_head attachments;
	struct rcu_head rcu;
};

/* linear_page_index() counts in huge pages for hugetlb, before 6.8. */
static inline pgoff_t memview_vma_page(const struct vm_area_struct *vma,
				       unsigned long addr)
{
	return vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
}

static inline unsigned long
memview_source_addr(const struct memview_source *source, pgoff_t file_page)
{
	return source->start + ((file_page - source->first) << PAGE_SHIFT);
}

static inline unsigned long
memview_source_len(const struct memview_source *source)
{
	return (source->last - source->first + 1) << PAGE_SHIFT;
}

bool memview_file_is_hugetlb(const struct file *file);
struct memview_source *
memview_source_find(struct memview_controller *controller,
		    const struct memview_table_op *op);
struct memview_source *
memview_source_acquire(struct memview_controller *controller,
		       struct memview_source *source,
		       const struct memview_table_op *op, bool nowait);
void memview_source_unuse(struct memview_source *source);
int memview_sources_invalidate(struct memview_mm *space,
			       const struct mmu_notifier_range *range);
void memview_source_put(struct memview_source *source);
struct vm_area_struct *memview_source_vma(struct memview_source *source,
					  struct mm_struct *mm,
					  unsigned long addr);
void memview_source_list(struct memview_source *source);
void memview_source_unlist(struct memview_source *source);
bool memview_source_munmap(struct memview_source *source, bool wait);
void memview_source_use(struct memview_source *source);
bool memview_source_covers(struct memview_source *source,
			   const struct memview_table_op *op);
bool memview_source_matches(struct memview_source *source,
			    const struct memview_table_op *op);

#endif /* _MEMVIEW_SOURCE_H */
