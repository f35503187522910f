/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory views: the objects and the rules they keep.
 *
 * Data flows one way: uAPI -> table -> source -> page table.
 *
 *   main.c		module, its parameters, the control file
 *   ioctl.c		the operations of the control file, called by ioctl(2)
 *   uring.c		the same operations, called by io_uring
 *   update.c		table operations: check, prepare, apply or undo, zap
 *   table.c		the ranges of a view, and the transactions that change them
 *   attachment.c	the ranges of one view on one source: reverse index, zap
 *   source.c		mappings of files in a controller, and their invalidation
 *   controller.c	address spaces that lend memory; their sources and views
 *   mm.c		address spaces that control or map views, and their notifiers
 *   view.c		the view object, its pseudo inode, revocation
 *   view_file.c		the file that peers hold, and its mmap(2)
 *   peers.c		the mappings of a view in its peers; the zap
 *   fault.c		a peer's page fault: look up, snapshot, re-validate, insert
 *   fault_source.c	faults of the source, on behalf of a peer's fault
 *   fault_window.c	number of pages that a fault resolves; reading ahead
 *   pte.c		inserts the entries of a window of pages
 *   pmd.c		faults resolved by huge entries (PMD)
 *   pud.c		additional rules for entries of 1 GiB (PUD)
 *   charge.c		charges the memory of a source to its controller
 *   notes.c		results of a fault's wait, kept for its retry
 *   populate.c		faults in advance; adds no data of its own
 *   sync.c		msync(2) of a view; reads the table, writes the files
 *   compat.h		differences between kernels; trace.h: trace events
 *
 * Notifiers go the other way: invalidations mm.c -> source.c -> attachment.c ->
 * peers.c, the end of an address space mm.c -> peers.c, controller.c -> view.c.
 *
 * Lock order, outermost first:
 *
 *   memview_controller.make_lock	making a source; not inside any of the others
 *     mmap_lock		of the controller
 *
 *   memview.ops_lock		a table operation, its zap included; never held
 *				across a wait that user space can prolong
 *     mmap_lock		of a peer; a fault only tries the controller's
 *				while it holds its own
 *       i_mmap_rwsem		of a backing file, perhaps with its page locked
 *         <mmu notifiers>	memview_sources_invalidate() runs in here, and
 *				memview_peers_unmap()
 *           memview.lock	table against invalidations; a spinlock
 *             memview.peers_lock	mappings of the view; a spinlock
 *               memview_mm.lock
 *             page table locks
 *             memview_source.lock, memview_controller.lock
 *
 * A fault's look-up takes none of them: see memview_table_find(). Its result is
 * re-validated under the lock of the page table, or for huge entries under
 * memview.lock, before anything is inserted (R2).
 *
 * memview.lock is held for a bounded piece of work (R7): nothing may reclaim
 * memory, fault, zap or sleep under it. A zap runs with no lock of ours held but
 * ops_lock, which neither faults nor invalidations take; and a zap takes no
 * i_mmap_rwsem (trap 21 of docs/rules.md). model/locks.pml models all this.
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

/* Largest fault-around window, in pages, and the largest it can grow to. */
#define MEMVIEW_WINDOW_MAX	64
#define MEMVIEW_WINDOW_GROWN	256

/* Block that a read fault of a source maps around the page (fault_around_bytes). */
#define MEMVIEW_SOURCE_AROUND	SZ_64K

/*
 * Steps of a transaction that are made in one hold of memview.lock: a few
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
 * the stress test proves that it can fail. These are constants: a normal build
 * contains no code for them.
 *
 *   zap_first		zaps before it changes the table (R1)
 *   no_revalidate	inserts a snapshot without re-validating it (R2)
 *   running		takes snapshots of a span that is being invalidated (R3)
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
