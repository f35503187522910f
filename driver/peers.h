/* SPDX-License-Identifier: GPL-2.0 */
/* Peers: the address spaces that map a view, and their mappings; the zap. */
#ifndef _MEMVIEW_PEERS_H
#define _MEMVIEW_PEERS_H

#include "memview.h"

/**
 * struct memview_mapping - a mapping of a view: vm_private_data of the VMA
 * @view: the view, which the VMA's file holds
 * @mm: the address space; held
 * @vma: the VMA, which is freed after this. (vm_private_data of a copy that is being
 *	made points to the object of the original.)
 * @tracked: it may have entries. Set under memview.peers_lock, cleared under
 *	memview.lock; faults look at it under the lock of the page table, or for huge
 *	entries under memview.lock.
 * @tables: faults that are about to make a page table; raised under the PMD lock
 *	where there is neither a page table nor a huge entry
 * @busy: zaps that are using it; under memview.peers_lock
 * @view_node: in memview.mappings while it is tracked, by @first
 * @view_subtree_last: last page below @view_node
 * @first: first page of the view
 * @last: last page
 * @mm_node: in memview_mm.mappings while it is tracked, by @start
 * @mm_subtree_last: last address below @mm_node
 * @start: first address
 * @end: end of the mapping
 */
struct memview_mapping {
	struct memview *view;
	struct memview_mm *mm;
	struct vm_area_struct *vma;
	bool tracked;
	atomic_t tables;
	unsigned int busy;

	struct rb_node view_node;
	pgoff_t view_subtree_last;
	pgoff_t first;
	pgoff_t last;

	struct rb_node mm_node;
	unsigned long mm_subtree_last;
	unsigned long start;
	unsigned long end;
};

void memview_zap(struct memview *view, pgoff_t first, pgoff_t last,
		 bool nested);
int memview_mapping_init(struct memview *view, struct vm_area_struct *vma);
void memview_mapping_drop(struct vm_area_struct *vma);
int memview_mapping_track(struct memview *view, struct vm_area_struct *vma);
int memview_mapping_register(struct mm_struct *mm, unsigned long addr,
			     struct file *file);
void memview_mapping_register_later(struct mm_struct *mm, unsigned long addr,
				    struct file *file);
int memview_vma_may_split(struct vm_area_struct *vma, unsigned long addr);
void memview_vma_open(struct vm_area_struct *vma);
void memview_vma_close(struct vm_area_struct *vma);
int memview_peer_add(struct memview *view, struct mm_struct *mm);
void memview_peers_free(struct memview *view);
struct mm_struct *memview_peer_next(struct memview *view,
				    const struct mm_struct *prev);
void memview_peers_release(struct memview_mm *mm);
void memview_peers_unmap(struct memview_mm *mm, unsigned long start,
			 unsigned long end);

#endif /* _MEMVIEW_PEERS_H */
