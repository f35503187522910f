/* SPDX-License-Identifier: GPL-2.0 */
/* The table of a view: its ranges, and the transactions that change them. */
#ifndef _MEMVIEW_TABLE_H
#define _MEMVIEW_TABLE_H

#include "memview.h"

/**
 * struct memview_range - one entry of a view's table
 * @node: in memview.table, by @first
 * @file_node: in memview_attachment.ranges, by @file_first
 * @file_subtree_last: last file page below @file_node
 * @first: first page in the view
 * @last: last page in the view, inclusive
 * @file: page of the file that @first maps, times MEMVIEW_RANGE_PAGE, and
 *	MEMVIEW_RANGE_*: in one word, because a view can have a million ranges
 * @attachment: the attachment to the source that it maps
 * @cookie: the controller's name for it, inherited by the pieces of a cut range
 * @change_next: the next range that is spare or touched, in a memview_txn
 *
 * Written under ops_lock and memview.lock; read under either, or under RCU with
 * memview.table_seq. Data of a transaction, also in @file: under ops_lock alone.
 */
struct memview_range {
	struct rb_node node;
	struct rb_node file_node;
	pgoff_t file_subtree_last;
	pgoff_t first;
	pgoff_t last;
	unsigned long file;
	struct memview_attachment *attachment;
	u64 cookie;
	struct memview_range *change_next;
};

/*
 * MEMVIEW_MAP_RIGHTS and MEMVIEW_MAP_LAZY_WRITE. Every range has MEMVIEW_MAP_READ, so
 * its bit stands for MEMVIEW_MAP_NO_ALLOC here: see memview_flags_pack().
 */
#define MEMVIEW_RANGE_FLAGS 0x0017UL
#define MEMVIEW_RANGE_NO_ALLOC MEMVIEW_MAP_READ
/* Changes that the transaction in progress has made, and the flags before it. */
#define MEMVIEW_RANGE_ADDED 0x0020UL
#define MEMVIEW_RANGE_REMOVED 0x0040UL
#define MEMVIEW_RANGE_ALTERED 0x0080UL
#define MEMVIEW_RANGE_CHANGE 0x00e0UL
#define MEMVIEW_RANGE_OLD 0x0100UL /* times these flags */
/* Rights that the range was mapped with, the most that PROTECT may give back (R6). */
#define MEMVIEW_RANGE_MAY_WRITE 0x0008UL
#define MEMVIEW_RANGE_MAY_EXEC 0x0800UL
#define MEMVIEW_RANGE_MAY (MEMVIEW_RANGE_MAY_WRITE | MEMVIEW_RANGE_MAY_EXEC)
#define MEMVIEW_RANGE_PAGE 0x2000UL
static_assert((MEMVIEW_MAP_RIGHTS | MEMVIEW_MAP_LAZY_WRITE) ==
	      MEMVIEW_RANGE_FLAGS);
static_assert(!(MEMVIEW_RANGE_MAY &
		(MEMVIEW_RANGE_FLAGS | MEMVIEW_RANGE_FLAGS * MEMVIEW_RANGE_OLD |
		 MEMVIEW_RANGE_CHANGE)));
static_assert((u64)MAX_LFS_FILESIZE / PAGE_SIZE <=
	      ULONG_MAX / MEMVIEW_RANGE_PAGE);

static inline pgoff_t
memview_range_file_first(const struct memview_range *range)
{
	return READ_ONCE(range->file) / MEMVIEW_RANGE_PAGE;
}

static inline pgoff_t memview_range_file_last(const struct memview_range *range)
{
	return memview_range_file_first(range) + (range->last - range->first);
}

/* Packs the flags of a MAP or PROTECT that a range keeps into MEMVIEW_RANGE_FLAGS. */
static inline u32 memview_flags_pack(u32 flags)
{
	u32 packed = flags & MEMVIEW_RANGE_FLAGS & ~MEMVIEW_RANGE_NO_ALLOC;

	if (flags & MEMVIEW_MAP_NO_ALLOC)
		packed |= MEMVIEW_RANGE_NO_ALLOC;
	return packed;
}

static inline u32 memview_flags_unpack(u32 packed)
{
	u32 flags = packed | MEMVIEW_MAP_READ;

	if (packed & MEMVIEW_RANGE_NO_ALLOC)
		flags |= MEMVIEW_MAP_NO_ALLOC;
	return flags;
}

/* The flags of a range, as memview_flags_pack() returns them. */
static inline u32 memview_range_flags(const struct memview_range *range)
{
	return READ_ONCE(range->file) & MEMVIEW_RANGE_FLAGS;
}

/* Flags of a range that is mapped with @flags, with MEMVIEW_RANGE_MAY_*. */
static inline unsigned long memview_range_mapped(u32 flags)
{
	return (flags & MEMVIEW_RANGE_FLAGS) |
	       (flags & MEMVIEW_MAP_WRITE ? MEMVIEW_RANGE_MAY_WRITE : 0) |
	       (flags & MEMVIEW_MAP_EXEC ? MEMVIEW_RANGE_MAY_EXEC : 0);
}

/* Was the range mapped with these rights? READ always is. */
static inline bool memview_range_may(const struct memview_range *range,
				     u32 flags)
{
	return !(memview_range_mapped(flags) & MEMVIEW_RANGE_MAY &
		 ~range->file);
}

/* Do its entries get W at once? See MEMVIEW_MAP_LAZY_WRITE. */
static inline bool memview_range_eager(const struct memview_range *range)
{
	return (READ_ONCE(range->file) &
		(MEMVIEW_MAP_WRITE | MEMVIEW_MAP_LAZY_WRITE)) ==
	       MEMVIEW_MAP_WRITE;
}

/**
 * struct memview_txn - a transaction: changes of a table that commit or abort
 * @view: the view; its ops_lock is held from memview_txn_start() on
 * @spare: allocated ranges, by change_next
 * @nr_spare: entries of @spare
 * @touched: ranges that were added, removed or altered, by change_next
 * @nr_ranges: entries of the table now; memview.nr_ranges changes with the commit
 * @idle: attachments that have lost their last range, by view_node
 * @steps: steps made in this hold of memview.lock
 * @undoing: the abort has begun: nothing stops it any more
 * @first: first page of the span that changes
 * @last: last page of the span that changes
 * @cut_first: first page of the span, extended to whole ranges that were touched
 * @cut_last: last page of the span, extended to whole ranges that were touched
 */
struct memview_txn {
	struct memview *view;
	struct memview_range *spare;
	unsigned long nr_spare;
	struct memview_range *touched;
	unsigned long nr_ranges;
	struct list_head idle;
	unsigned int steps;
	bool undoing;
	pgoff_t first;
	pgoff_t last;
	pgoff_t cut_first;
	pgoff_t cut_last;
};

/* Spare ranges that a view keeps: most operations take no more. */
#define MEMVIEW_SPARES_KEPT 2U

int memview_table_init(void);
void memview_table_exit(void);
struct memview_range *memview_table_find(struct memview *view, pgoff_t page);
void memview_table_write_begin(struct memview *view) __acquires(&view->lock);
void memview_table_write_end(struct memview *view) __releases(&view->lock);
struct memview_range *memview_table_first(struct memview *view, pgoff_t page);
struct memview_range *memview_table_next(struct memview_range *range);
void memview_txn_init(struct memview_txn *txn, struct memview *view);
void memview_txn_drop(struct memview_txn *txn);
void memview_txn_start(struct memview_txn *txn);
int memview_txn_reserve(struct memview_txn *txn, unsigned long nr);
void memview_txn_begin(struct memview_txn *txn, pgoff_t first, pgoff_t last)
	__acquires(&txn->view->lock);
int memview_txn_step(struct memview_txn *txn);
int memview_txn_add(struct memview_txn *txn, pgoff_t first, pgoff_t last,
		    pgoff_t file_first, struct memview_attachment *attachment,
		    u64 cookie, u32 flags);
int memview_txn_carve(struct memview_txn *txn, pgoff_t first, pgoff_t last,
		      u64 *removed);
int memview_txn_check(struct memview_txn *txn, pgoff_t first, pgoff_t last,
		      u32 flags);
int memview_txn_flags(struct memview_txn *txn, pgoff_t first, pgoff_t last,
		      u32 flags);
void memview_txn_commit(struct memview_txn *txn) __releases(&txn->view->lock);
void memview_txn_abort(struct memview_txn *txn) __releases(&txn->view->lock);
void memview_txn_end(struct memview_txn *txn);
void memview_table_clear(struct memview *view, struct list_head *idle,
			 struct rb_root *removed);
void memview_table_free(struct memview *view, struct list_head *idle,
			struct rb_root *removed);
void memview_table_destroy(struct memview *view);

struct memview_range *
memview_attachment_first(struct memview_attachment *attachment, pgoff_t first,
			 pgoff_t last);
struct memview_range *memview_attachment_next(struct memview_range *range,
					      pgoff_t first, pgoff_t last);

#endif /* _MEMVIEW_TABLE_H */
