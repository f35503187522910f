/* SPDX-License-Identifier: GPL-2.0 */
/* Table operations, and updates that do several of them. */
#ifndef _MEMVIEW_UPDATE_H
#define _MEMVIEW_UPDATE_H

#include "memview.h"

/**
 * enum memview_table_op_kind - kinds of table operations
 * @MEMVIEW_TABLE_OP_MAP: maps a file, with MEMVIEW_MAP_REPLACE over existing ranges
 * @MEMVIEW_TABLE_OP_UNMAP: removes all ranges of a span
 * @MEMVIEW_TABLE_OP_PROTECT: gives a span other flags
 * @MEMVIEW_TABLE_OP_RESIZE: sets the size of the view to @first pages
 */
enum memview_table_op_kind {
	MEMVIEW_TABLE_OP_MAP,
	MEMVIEW_TABLE_OP_UNMAP,
	MEMVIEW_TABLE_OP_PROTECT,
	MEMVIEW_TABLE_OP_RESIZE,
};

/**
 * struct memview_table_op - a table operation
 * @kind: kind of the operation
 * @flags: MEMVIEW_MAP_* of MAP_FD or PROTECT
 * @first: first page in the view
 * @last: last page in the view
 * @file_first: page of @file that @first is to map
 * @addr: with MEMVIEW_MAP_ADOPT: the controller's address of @file_first
 * @cookie: the controller's name for the new range
 * @file: file to map, of a kind that can be mapped; held by the caller
 * @source: source of @file, found without ops_lock; kept by @uses_source of this or
 *	of an earlier operation of the same update
 * @spare: allocated in advance, for @attachment
 * @attachment: to @source, with a reference until the update is over; may be found
 *	without ops_lock
 * @removed: written: pages that were mapped and are not any more
 * @uses_source: the operation holds a use of @source
 * @zap: written: entries of the span may have lost a right
 * @populate_first: first page to populate afterwards
 * @populate_nr: pages to populate afterwards
 */
struct memview_table_op {
	enum memview_table_op_kind kind;
	u32 flags;
	pgoff_t first;
	pgoff_t last;
	pgoff_t file_first;
	u64 addr;
	u64 cookie;
	struct file *file;
	struct memview_source *source;
	struct memview_attachment *spare;
	struct memview_attachment *attachment;
	u64 removed;
	bool uses_source;
	bool zap;
	pgoff_t populate_first;
	u64 populate_nr;
};

/**
 * struct memview_result - the result of an update
 * @failed: index of the operation that failed, or the number of operations
 * @removed: pages that were mapped and are not any more
 */
struct memview_result {
	unsigned int failed;
	u64 removed;
};

int memview_update(struct memview *view, struct memview_table_op *ops,
		   unsigned int nr, bool nowait, struct memview_result *result);
int memview_update_wait(struct memview *view, bool interruptible);

#endif /* _MEMVIEW_UPDATE_H */
