/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory views: the objects and the rules they keep.
 *
 * Data flows one way: uAPI -> table -> source -> page table.
 *
 *   ioctl.c   the table operations, as user space calls them
 *   uring.c   the same, called by io_uring
 *   update.c  what they have in common: check, prepare, apply or undo, zap
 *   table.c   which range is where in a view, and how spans cut ranges
 *   source.c  the mirrors of files in the controller's address space
 *   mm.c      address spaces that control or map views, and their notifier
 *   peers.c   who has a view mapped, and where; the zap
 *   fault.c   a peer's page fault: look up, snapshot, re-validate, insert
 *   huge.c    the same by one huge entry, where that can be
 *   pud.c     what entries of 1 GiB need beyond that
 *   charge.c  who pays for the memory of a source
 *   notes.c   what a fault has found out while it waited
 *   populate.c  faults before peers do; adds to none of the data
 *   sync.c    msync(2) of a view; looks at the table and the files alone
 *
 * Invalidation flows back the other way (source.c -> peers.c), and nothing else
 * does.
 *
 * Lock order, outermost first:
 *
 *   memview_controller.make_lock	sources are being made; not in any of the others
 *     mmap_lock		of the controller
 *
 *   memview.ops_lock		a table operation, its zap included; nothing that
 *				user space can hold up is waited for
 *     mmap_lock		of a peer; a fault only tries the controller's
 *				while it holds its own
 *       i_mmap_rwsem		of a backing file, with its page locked perhaps
 *         <mmu notifiers>	memview_sources_invalidate() runs in here, and
 *				memview_peers_unmap()
 *           memview.lock	table against invalidations; a spinlock
 *             memview.peers_lock	who maps the view; a spinlock
 *               memview_mm.lock
 *             page table locks
 *             memview_source.lock, memview_controller.lock
 *
 * A fault's look-up takes none of them: see memview_table_find(). What it finds
 * is checked again under the lock of the page table, or for huge entries under
 * memview.lock, before anything is inserted (R2).
 *
 * memview.lock is held for a bounded piece of work (R7): nothing may reclaim
 * memory, fault, zap or sleep under it. No lock of ours is held across a zap but
 * ops_lock, which neither faults nor invalidations take; and no i_mmap_rwsem is
 * taken by it (trap 21 of docs/rules.md). docs/model/locks.pml has all of this.
 */
#ifndef _MEMVIEW_H
#define _MEMVIEW_H

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/memory-view.h>

#include "compat.h"

/* Largest fault-around window, in pages, and what it can grow to. */
#define MEMVIEW_WINDOW_MAX	64
#define MEMVIEW_WINDOW_GROWN	256

/* What a read fault of a source maps around the page (fault_around_bytes). */
#define MEMVIEW_SOURCE_AROUND	SZ_64K

/*
 * Steps of a change of the table that are made in one hold of memview.lock: a few
 * microseconds each.
 */
#define MEMVIEW_CHUNK		64U

/* Last page that a view can have. */
#define MEMVIEW_LAST_PAGE	(ULONG_MAX >> PAGE_SHIFT)

/**
 * struct memview_range - one entry of a view's table
 * @node: in memview.table, by @first
 * @file_node: in memview_attachment.ranges, by @file_first
 * @file_subtree_last: last file page below @file_node
 * @first: first page in the view
 * @last: last page in the view, inclusive
 * @file: page of the file that @first maps, times MEMVIEW_RANGE_PAGE, and
 *	MEMVIEW_RANGE_*: with a million of them each word counts
 * @attachment: what it maps
 * @cookie: the controller's name for it, which the pieces that it is cut into keep
 * @change_next: the next that is spare or touched, in a memview_change
 *
 * Written under ops_lock and memview.lock for writing; read under either, or under
 * RCU with memview.table_seq. What concerns changes, also in @file: ops_lock alone.
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
 * MEMVIEW_MAP_RIGHTS and MEMVIEW_MAP_LAZY_WRITE; but where MEMVIEW_MAP_READ would be,
 * which every range has, MEMVIEW_MAP_NO_ALLOC: see memview_flags_pack().
 */
#define MEMVIEW_RANGE_FLAGS	0x0017UL
#define MEMVIEW_RANGE_NO_ALLOC	MEMVIEW_MAP_READ
/* What the operation in progress has done to the range, and its flags before. */
#define MEMVIEW_RANGE_ADDED	0x0020UL
#define MEMVIEW_RANGE_REMOVED	0x0040UL
#define MEMVIEW_RANGE_ALTERED	0x0080UL
#define MEMVIEW_RANGE_CHANGE	0x00e0UL
#define MEMVIEW_RANGE_OLD	0x0100UL	/* times these flags */
/* Rights that it was mapped with: what PROTECT may give back, for good (R6). */
#define MEMVIEW_RANGE_MAY_WRITE	0x0008UL
#define MEMVIEW_RANGE_MAY_EXEC	0x0800UL
#define MEMVIEW_RANGE_MAY	(MEMVIEW_RANGE_MAY_WRITE | \
				 MEMVIEW_RANGE_MAY_EXEC)
#define MEMVIEW_RANGE_PAGE	0x2000UL
static_assert((MEMVIEW_MAP_RIGHTS | MEMVIEW_MAP_LAZY_WRITE) ==
	      MEMVIEW_RANGE_FLAGS);
static_assert(!(MEMVIEW_RANGE_MAY &
		(MEMVIEW_RANGE_FLAGS | MEMVIEW_RANGE_FLAGS * MEMVIEW_RANGE_OLD |
		 MEMVIEW_RANGE_CHANGE)));
static_assert((u64)MAX_LFS_FILESIZE / PAGE_SIZE <= ULONG_MAX / MEMVIEW_RANGE_PAGE);

static inline pgoff_t memview_range_file_first(const struct memview_range *range)
{
	return READ_ONCE(range->file) / MEMVIEW_RANGE_PAGE;
}

static inline pgoff_t memview_range_file_last(const struct memview_range *range)
{
	return memview_range_file_first(range) + (range->last - range->first);
}

/* Of the flags of a MAP or PROTECT, those that a range keeps, as it keeps them. */
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

/* As memview_flags_pack() has them. */
static inline u32 memview_range_flags(const struct memview_range *range)
{
	return READ_ONCE(range->file) & MEMVIEW_RANGE_FLAGS;
}

/* The flags of a range that is mapped with these, and keeps what they allow. */
static inline unsigned long memview_range_mapped(u32 flags)
{
	return (flags & MEMVIEW_RANGE_FLAGS) |
	       (flags & MEMVIEW_MAP_WRITE ? MEMVIEW_RANGE_MAY_WRITE : 0) |
	       (flags & MEMVIEW_MAP_EXEC ? MEMVIEW_RANGE_MAY_EXEC : 0);
}

/* Has it been mapped with these rights? READ always is. */
static inline bool memview_range_may(const struct memview_range *range,
				     u32 flags)
{
	return !(memview_range_mapped(flags) & MEMVIEW_RANGE_MAY &
		 ~range->file);
}

/* May be written, and is so at once: see MEMVIEW_MAP_LAZY_WRITE. */
static inline bool memview_range_eager(const struct memview_range *range)
{
	return (READ_ONCE(range->file) &
		(MEMVIEW_MAP_WRITE | MEMVIEW_MAP_LAZY_WRITE)) ==
	       MEMVIEW_MAP_WRITE;
}

/**
 * struct memview_notes - what faults of a view have found out while they waited
 * @lock: the fields below. Innermost.
 * @by_task: the notes, one for each task at most
 * @by_age: the same, oldest first
 */
struct memview_notes {
	spinlock_t lock;		/* what follows; innermost */
	struct rb_root by_task;
	struct list_head by_age;
};

/**
 * struct memview - a view
 * @ref: held by the control file, each view file and each attach
 * @inode: pseudo inode of its own: its i_mapping is how peers are zapped
 * @ops_lock: covers a table operation from look-up to the end of its zap, else
 *	a second operation could find nothing to remove and return while the
 *	entries of the first still work (R1). Sleeps; may be held while memory is
 *	reclaimed.
 * @controller: the controller, once it has mapped something; set under @ops_lock and
 *	then for good: who does not hold that uses memview_view_controller()
 * @controller_node: in memview_controller.views, or memview_controller.orphans
 * @spare: ranges for the next operation, by change_next; under @ops_lock
 * @nr_spare: entries of @spare
 * @lock: table against invalidations, and faults that insert; a spinlock, held
 *	for a bounded piece of work
 * @table: the ranges, by page of the view
 * @attachments: the segments the ranges map, most recent first. Who reads without
 *	memview.lock, under RCU, looks at the first entry only.
 * @nr_ranges: entries of @table
 * @table_seq: odd while @table changes: proves a look-up that is made without
 *	@lock
 * @gen: changes with @table or the size, and never comes back to a value as
 *	@table_seq could, in the time that a fault can be made to wait
 * @dead: revoked, for good
 * @changing: a table operation that takes long has changed some of the pending
 *	span and not all: faults there wait, see memview_changes()
 * @pending_first: span that a table operation is changing, or whose entries it is
 * @pending_last:	about to zap. The ranges may have left the reverse index by
 *	then, so every invalidation zaps this span as well (R3). Empty when
 *	first > last. Written under @lock, but for the end.
 * @change_wait: for @changing to become false
 * @revoking: a revocation is wanted: what runs gives up, and does it if nobody
 *	waits for @ops_lock, see memview_ops_unlock(). Set for good, without a lock.
 * @notes: what faults have found out while they waited
 * @faults: faults of peers that were resolved
 * @huge_entries: huge entries that were made for them
 * @zaps: spans zapped
 * @zapping: operations and invalidations between memview_zap_begin() and
 *	memview_zap_end(): no PUD entry is made meanwhile
 * @peers_lock: the fields below; a spinlock, outside memview_mm.lock
 * @mappings: those that are tracked, by page: what a zap goes through
 * @peers: the address spaces that have the view mapped, for memview_populate()
 * @nr_peers: entries of @peers
 * @revoke_work: revokes when the controller's address space goes away
 * @free_work: the end of the object, outside every lock
 */
struct memview {
	struct kref ref;
	struct inode *inode;

	struct mutex ops_lock;		/* a table operation, zap included */
	struct memview_controller *controller;
	struct list_head controller_node;
	struct memview_range *spare;
	unsigned long nr_spare;

	spinlock_t lock;		/* what follows; see the lock order */
	struct rb_root table;
	struct list_head attachments;
	unsigned long nr_ranges;
	seqcount_t table_seq;
	u64 gen;
	bool dead;
	bool changing;
	bool revoking;
	pgoff_t pending_first;
	pgoff_t pending_last;
	wait_queue_head_t change_wait;

	struct memview_notes notes;

	atomic64_t faults;
	atomic64_t huge_entries;
	atomic64_t zaps;

	atomic_t zapping;

	spinlock_t peers_lock;		/* what follows */
	struct rb_root_cached mappings;
	struct rb_root peers;
	unsigned long nr_peers;

	struct work_struct revoke_work;
	struct work_struct free_work;
};

/* Whose the view is, or NULL: nobody's yet. */
static inline struct memview_controller *
memview_view_controller(const struct memview *view)
{
	/* Pairs with memview_controller_add(). */
	return smp_load_acquire(&view->controller);
}

static inline u64 memview_size(const struct memview *view)
{
	return i_size_read(view->inode);
}

/*
 * Is the page in the span that a long operation is at work on? Then nobody may
 * see what the table says of it: before or after, but nothing in between. Under
 * memview.lock, or in a look-up that memview.table_seq proves.
 */
static inline bool memview_changes(const struct memview *view, pgoff_t page)
{
	return unlikely(READ_ONCE(view->changing)) &&
	       page >= READ_ONCE(view->pending_first) &&
	       page <= READ_ONCE(view->pending_last);
}

/**
 * struct memview_mapping - a mapping of a view: vm_private_data of the VMA
 * @view: the view, which the VMA's file holds
 * @mm: whose; held
 * @vma: the VMA, which ends after this. (vm_private_data of a copy that is being
 *	made names the object of the original.)
 * @tracked: it may have entries. Set under memview.peers_lock, cleared under
 *	memview.lock; faults look at it under the lock of the page table, or for huge
 *	entries under memview.lock.
 * @tables: faults that are about to make a page table; raised under the lock of
 *	the PMD where there is neither that nor a huge entry
 * @busy: zaps that are at it; under memview.peers_lock
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

/**
 * struct memview_attachment - the ranges of one view on one segment
 * @ref: one while @ranges is not empty, one for each operation or invalidation
 *	that looks at it
 * @view: held
 * @source: held
 * @source_node: in memview_source.attachments, until the very end: whoever walks
 *	that list holds a reference of the entry it stands on
 * @view_node: in memview.attachments, under memview.lock, while it has ranges or
 *	an operation is about to give it some
 * @in_use: a reference is held for @ranges
 * @ranges: reverse index by page of the file, under memview.lock; for
 *	invalidations, which arrive by file offset
 * @nr_ranges: entries of @ranges
 * @rcu: the end of the object: look-ups without memview.lock may be at it
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

/**
 * struct memview_txn - changes of a table, on their way
 * @view: whose; its ops_lock is held, from memview_txn_start() on
 * @spare: allocated ranges, by change_next
 * @nr_spare: entries of @spare
 * @touched: ranges that were added, removed or altered, by change_next
 * @nr_ranges: entries of the table, as it is now; memview.nr_ranges is what it was
 * @idle: attaches that have lost their last range, by view_node
 * @steps: made in this hold of memview.lock
 * @undoing: it cannot be stopped any more
 * @first: first page of the span that changes
 * @last: last page of the span that changes
 * @cut_first: the same, with all of each range that was touched
 * @cut_last: the same, with all of each range that was touched
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

/**
 * enum memview_table_op_kind - what one step of a table operation does
 * @MEMVIEW_TABLE_OP_MAP: maps a file, with MEMVIEW_MAP_REPLACE over what is there
 * @MEMVIEW_TABLE_OP_UNMAP: removes what is there
 * @MEMVIEW_TABLE_OP_PROTECT: gives it other flags
 * @MEMVIEW_TABLE_OP_RESIZE: sets the size of the view to @first pages
 */
enum memview_table_op_kind {
	MEMVIEW_TABLE_OP_MAP,
	MEMVIEW_TABLE_OP_UNMAP,
	MEMVIEW_TABLE_OP_PROTECT,
	MEMVIEW_TABLE_OP_RESIZE,
};

/**
 * struct memview_table_op - one step of a table operation
 * @kind: what to do
 * @flags: MEMVIEW_MAP_* of MAP_FD or PROTECT
 * @first: first page in the view
 * @last: last page in the view
 * @file_first: page of @file that @first is to map
 * @addr: with MEMVIEW_MAP_ADOPT: where the controller has @file_first mapped
 * @cookie: of the range to map
 * @file: what to map, checked to be of a kind that can be; held by the caller
 * @source: of @file, found before the operation; used by @uses_source, or by
 *	that of an edit before this one
 * @spare: what @attachment may be made of
 * @attachment: of @file, until the operation is over; one that serves can be found
 *	before it
 * @removed: written: pages that were mapped and are not any more
 * @uses_source: memview_source_unuse() is due
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
 * struct memview_result - what has come of a table operation
 * @failed: index of the edit that could not be done, or the number of edits
 * @removed: pages that were mapped and are not any more
 */
struct memview_result {
	unsigned int failed;
	u64 removed;
};

/**
 * struct memview_call - an operation, as it was called
 * @cmd: number of the ioctl
 * @uarg: its argument in user space; or
 * @karg: a copy of it that the caller has made, to which nothing is written
 * @ring: by io_uring, which not all can be
 * @nowait: -EAGAIN rather than wait
 */
struct memview_call {
	unsigned int cmd;
	void __user *uarg;
	const void *karg;
	bool ring;
	bool nowait;
};

/**
 * struct memview_running - an invalidation in a controller, between start and end
 * @node: in memview_mm.running or memview_mm.free_slots
 * @range: what the notifiers are told, at both ends: compared, never followed
 * @start: first address
 * @end: end of the span
 * @waited: a fault may wait for its end
 */
struct memview_running {
	struct list_head node;
	const struct mmu_notifier_range *range;
	unsigned long start;
	unsigned long end;
	bool waited;
};

/* Invalidations that run at a time in one address space, without an allocation. */
#define MEMVIEW_RUNNING_SLOTS	16

/**
 * struct memview_mm - an address space that controls or maps views
 * @ref: held by those who look at it, mirrors, and mappings of views
 * @notifier: on all of it; its mm is held by mmgrab()
 * @begins: the same, of a controller: told of the begin of invalidations
 * @controls: @begins is registered; written under the mmap_lock for writing
 * @notifiers: those that are registered, or are not free yet
 * @node: in the hash, by mm
 * @rcu: the end of the object: look-ups are under RCU
 * @lock: the fields below. Innermost; may be taken wherever notifiers are told.
 * @mappings: the tracked mappings of views, by address (peers.c)
 * @sources: the segments of its sources, by address, until they are freed
 * @ended: the notifier has been released: it is told of nothing any more
 * @running: a controller's invalidations, between start and end
 * @nr_unknown: more of them, of anything
 * @slots: entries of @running or @free_slots
 * @free_slots: those of @slots that are not in use
 * @wait: for the end of any of them
 * @controller: of a controller; under @lock, not held: see memview_controller_of()
 */
struct memview_mm {
	struct kref ref;
	struct mmu_notifier notifier;
	struct mmu_notifier begins;
	bool controls;
	refcount_t notifiers;
	struct hlist_node node;
	struct rcu_head rcu;

	spinlock_t lock;		/* what follows; innermost */
	struct rb_root_cached mappings;
	struct rb_root_cached sources;
	bool ended;
	unsigned int nr_unknown;
	struct list_head running;
	struct memview_running slots[MEMVIEW_RUNNING_SLOTS];
	struct list_head free_slots;
	wait_queue_head_t wait;
	struct memview_controller *controller;
};

/* A controller has few files, or many with few segments each. */
#define MEMVIEW_SOURCE_HASH_BITS 6

/**
 * struct memview_controller - a controller's address space, mirrored
 * @ref: held by its views and segments
 * @space: held; its notifier tells of the end of @mm
 * @mm: held by mmgrab() only: a view must not keep a dead VMM's memory
 * @make_lock: segments are being made, outside the mmap_lock. Whoever waits for it
 *	can be killed; to find or to end a segment it is not needed.
 * @lock: the lists and memview_source.users. A spinlock, innermost.
 * @sources: those that can be found, by inode, most recently used first
 * @nr_sources: how many they are
 * @idle: those of them that nobody uses, longest idle first
 * @views: what the end of the address space revokes
 * @orphans: those of them that it is being revoked with
 * @ended: that has come: nothing is kept for later
 */
struct memview_controller {
	struct kref ref;
	struct memview_mm *space;
	struct mm_struct *mm;
	struct mutex make_lock;		/* segments are being made */

	spinlock_t lock;		/* what follows; innermost */
	struct hlist_head sources[1 << MEMVIEW_SOURCE_HASH_BITS];
	unsigned int nr_sources;
	struct list_head idle;
	struct list_head views;
	struct list_head orphans;
	bool ended;
};

/**
 * enum memview_source_state - may a segment resolve faults?
 * @MEMVIEW_SOURCE_LIVE: yes
 * @MEMVIEW_SOURCE_DEAD: never again: something of its mapping was unmapped
 */
enum memview_source_state {
	MEMVIEW_SOURCE_LIVE,
	MEMVIEW_SOURCE_DEAD,
};

/**
 * struct memview_source - one mapping of a source
 * @ref: held by its mirror's list, its attaches, faults and invalidations in flight
 * @controller: held
 * @node: in memview_controller.segments
 * @users: attaches, and operations that are about to make one; under controller->lock
 * @idle_node: in memview_controller.idle, while there are none
 * @idle_since: when that began, in jiffies
 * @mm_node: in memview_mm.sources, by @start
 * @mm_subtree_last: last address below @mm_node
 * @file: as it was handed to MAP_FD: with @writable the identity of the source
 * @vm_file: what the VMA has instead (overlayfs, adoption); held, so that the
 *	pointer stays unique and proves that the VMA is still what it was
 * @writable: MAP_FD asked for MEMVIEW_MAP_WRITE
 * @adopted: the controller's own mapping, in one VMA or several: never unmapped
 *	or changed by us, and used only by ranges that ask for it by its address
 * @exec_ok: a PROT_EXEC mapping of @file has succeeded, so that the next range
 *	with that right need not ask again
 * @start: first address
 * @first: first page of the file
 * @last: last page of the file, inclusive
 * @lock: the fields below. Innermost.
 * @seq: changes with each invalidation, after it has been recorded in
 *	memview_mm.running
 * @state: see enum memview_source_state
 * @quiet: DEAD, and a zap of all of it that began after that has finished:
 *	nothing in any peer comes from it, so invalidations can return at once.
 *	This ends the recursion of a view mapped where its source was.
 * @zappers: the tasks that are in the callback right now
 * @attachments: the views that have ranges on it
 * @rcu: the end of the object, as with attaches
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

	spinlock_t lock;		/* what follows; innermost */
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

/*
 * Builds with one rule broken on purpose (make modules BROKEN=...), by which
 * the stress test proves that it can fail. Constants: the code of a normal
 * build has nothing of this.
 *
 *   zap_first		zaps before it changes the table (R1)
 *   no_revalidate	inserts what it found, whatever has happened since (R2)
 *   running		takes snapshots of what is being invalidated (R3)
 *   hold		waits for a source with ops_lock held (R7)
 */
#ifndef MEMVIEW_BROKEN_zap_first
#define MEMVIEW_BROKEN_zap_first 0
#endif
#ifndef MEMVIEW_BROKEN_no_revalidate
#define MEMVIEW_BROKEN_no_revalidate 0
#endif
#ifndef MEMVIEW_BROKEN_running
#define MEMVIEW_BROKEN_running 0
#endif
#ifndef MEMVIEW_BROKEN_hold
#define MEMVIEW_BROKEN_hold 0
#endif

/* main.c: module parameters */
extern unsigned int memview_fault_around;
extern unsigned long memview_max_ranges;
extern unsigned int memview_max_sources;
extern bool memview_gigantic_entries;
extern struct workqueue_struct *memview_wq;
extern struct workqueue_struct *memview_threads_wq;

/* mm.c */
struct memview_mm *memview_mm_find(struct mm_struct *mm);
struct memview_mm *memview_mm_any(void);
struct memview_mm *memview_mm_make_locked(struct mm_struct *of);
struct memview_mm *memview_mm_control(void);
void memview_mm_get(struct memview_mm *mm);
void memview_mm_put(struct memview_mm *mm);
void memview_mm_exit(void);
void memview_signals_block(sigset_t *old);
int memview_signals_restore(const sigset_t *old, int err);
bool memview_mm_running(struct memview_mm *mm, unsigned long start,
			unsigned long end, const u64 *seq, u64 *now);
int memview_mm_running_wait(struct memview_mm *mm, unsigned long start,
			    unsigned long end);

/* peers.c */
void memview_zap(struct memview *view, pgoff_t first, pgoff_t last, bool nested);
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

/* ioctl.c */
long memview_call(struct memview *view, const struct memview_call *call);
long memview_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* uring.c */
int memview_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags);

/* view.c */
struct memview *memview_create(void);
void memview_get(struct memview *view);
void memview_put(struct memview *view);
struct file *memview_view_file(struct memview *view, u32 rights);
bool memview_is_view_file(const struct file *file);
struct memview *memview_of_file(const struct file *file);
void memview_zap_begin(struct memview *view);
void memview_zap_end(struct memview *view);
void memview_revoke(struct memview *view);
int memview_revoke_killable(struct memview *view);
bool memview_try_revoke(struct memview *view);

/**
 * memview_ops_unlock - the end of a table operation
 * @view: its ops_lock is held
 *
 * A revocation that does not wait for the lock is left to who has it: what it
 * would wait for, a task that gets no CPU say, is the user's to choose.
 */
static inline void memview_ops_unlock(struct memview *view)
{
	mutex_unlock(&view->ops_lock);
	/* Either this sees that it is wanted, or that gets the lock. */
	smp_mb();
	if (unlikely(READ_ONCE(view->revoking)) && !READ_ONCE(view->dead))
		memview_try_revoke(view);
}

int memview_stopped(const struct memview *view);
void memview_revoke_later(struct memview *view);

/* sync.c */
int memview_view_fsync(struct file *file, loff_t start, loff_t end,
		       int datasync);

/* update.c */
int memview_update(struct memview *view, struct memview_table_op *ops,
		   unsigned int nr, bool nowait, struct memview_result *result);
int memview_update_wait(struct memview *view, bool interruptible);

/* table.c: a view keeps as many ranges as most edits take. */
#define MEMVIEW_SPARES_KEPT	2U

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

/* source.c */
void memview_controllers_exit(void);
bool memview_file_is_hugetlb(const struct file *file);
struct memview_controller *memview_controller_find_current(void);
struct memview_controller *memview_controller_get_current(bool nowait);
void memview_controller_get(struct memview_controller *controller);
void memview_controller_put(struct memview_controller *controller);
void memview_controller_add(struct memview_controller *controller,
			    struct memview *view);
void memview_controller_remove(struct memview_controller *controller,
			       struct memview *view);
struct memview_source *
memview_source_find(struct memview_controller *controller,
		    const struct memview_table_op *op);
struct memview_source *
memview_source_acquire(struct memview_controller *controller,
		       struct memview_source *source,
		       const struct memview_table_op *op, bool nowait);
void memview_source_unuse(struct memview_source *source);
void memview_controller_collect(struct memview_controller *controller, bool all,
				bool wait);
bool memview_controller_is_due(struct memview_controller *controller);
int memview_controller_drop_idle(struct memview *view);
int memview_sources_invalidate(struct memview_mm *space,
			       const struct mmu_notifier_range *range);
void memview_controller_exit_mm(struct memview_mm *space);
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
void memview_source_put(struct memview_source *source);
struct vm_area_struct *memview_source_vma(struct memview_source *source,
					  struct mm_struct *mm,
					  unsigned long addr);

/* notes.c */
void memview_notes_init(struct memview_notes *notes);
void memview_notes_free(struct memview_notes *notes);

/* fault.c */
int memview_fault_init(void);
void memview_fault_exit(void);
const struct vm_operations_struct *
memview_fault_vm_ops(const struct vm_area_struct *vma);

/* pud.c */
#if MEMVIEW_HUGE_PUD
unsigned long memview_pud_unmapped_area(struct file *file, unsigned long addr,
					unsigned long len, unsigned long pgoff,
					unsigned long flags);
#else
#define memview_pud_unmapped_area thp_get_unmapped_area
#endif

/* populate.c */
int memview_populate(struct memview *view, pgoff_t first, pgoff_t last,
		     u32 flags, u64 *nr);

#endif /* _MEMVIEW_H */
