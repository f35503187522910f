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
 *   source.c  the controllers of files in the controller's address space
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
 * taken by it (trap 21 of docs/rules.md). model/locks.pml has all of this.
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

struct memview;
struct memview_attachment;
struct memview_controller;
struct memview_mm;
struct memview_range;
struct memview_source;
struct memview_table_op;
struct memview_txn;

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

int memview_populate(struct memview *view, pgoff_t first, pgoff_t last,
		     u32 flags, u64 *nr);

int memview_view_fsync(struct file *file, loff_t start, loff_t end,
		       int datasync);

#endif /* _MEMVIEW_H */
