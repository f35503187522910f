/* SPDX-License-Identifier: GPL-2.0 */
/* The view: the object behind the control file and the view files. */
#ifndef _MEMVIEW_VIEW_H
#define _MEMVIEW_VIEW_H

#include "notes.h"

/**
 * struct memview - a view
 * @ref: held by the control file, each view file and each attachment
 * @inode: pseudo inode of its own, which the view files share
 * @ops_lock: covers a table operation from look-up to the end of its zap, else
 *	a second operation could find nothing to remove and return while the
 *	entries of the first still work (R1). Sleeps; may be held while memory is
 *	reclaimed.
 * @controller: the controller, once it has mapped something; set for good, under
 *	@ops_lock; without @ops_lock, read it by memview_view_controller()
 * @controller_node: in memview_controller.views, or memview_controller.orphans
 * @spare: ranges for the next operation, by change_next; under @ops_lock
 * @nr_spare: entries of @spare
 * @lock: protects the table against invalidations and faults that insert; a spinlock,
 *	held for a bounded piece of work
 * @table: the ranges, by page of the view
 * @attachments: to the sources that the ranges map, most recent first. A reader
 *	without memview.lock, under RCU, looks at the first entry only.
 * @nr_ranges: entries of @table
 * @table_seq: odd while @table changes: proves a look-up that is made without
 *	@lock
 * @gen: changes with @table or the size; unlike @table_seq it cannot wrap in the
 *	time that a fault can be made to wait
 * @dead: revoked, for good
 * @changing: a long transaction has changed a part of the pending span: faults
 *	there wait, see memview_changes()
 * @pending_first: span that a table operation is changing, or whose entries it is
 * @pending_last:	about to zap. The ranges may have left the reverse index by
 *	then, so every invalidation zaps this span as well (R3). Empty when
 *	first > last. Written under @lock, but for the reset after the zap.
 * @change_wait: for @changing to become false
 * @revoking: a revocation is wanted: the holder of @ops_lock gives up and, unless a
 *	waiter does, revokes in memview_ops_unlock(). Set for good, without a lock.
 * @notes: results of faults that waited, for their retries
 * @faults: faults of peers that were resolved
 * @huge_entries: huge entries that were made for them
 * @zaps: spans zapped
 * @zapping: operations and invalidations between memview_zap_begin() and
 *	memview_zap_end(): no PUD entry is made meanwhile
 * @peers_lock: protects the fields below; a spinlock, outside memview_mm.lock
 * @mappings: the tracked mappings, by page, which a zap walks
 * @peers: the address spaces that have the view mapped, for memview_populate()
 * @nr_peers: entries of @peers
 * @revoke_work: revokes when the controller's address space goes away
 * @free_work: frees the object, outside every lock
 */
struct memview {
	struct kref ref;
	struct inode *inode;

	struct mutex ops_lock; /* a table operation, zap included */
	struct memview_controller *controller;
	struct list_head controller_node;
	struct memview_range *spare;
	unsigned long nr_spare;

	spinlock_t lock; /* the fields below; see the lock order */
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

	spinlock_t peers_lock; /* the fields below */
	struct rb_root_cached mappings;
	struct rb_root peers;
	unsigned long nr_peers;

	struct work_struct revoke_work;
	struct work_struct free_work;
};

/* The view's controller; NULL: none yet. */
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
 * Is the page in the span that a long transaction is changing? Then nobody may use
 * the table's entry for it, which may be neither the old nor the new one. Called
 * under memview.lock, or in a look-up that memview.table_seq proves.
 */
static inline bool memview_changes(const struct memview *view, pgoff_t page)
{
	return unlikely(READ_ONCE(view->changing)) &&
	       page >= READ_ONCE(view->pending_first) &&
	       page <= READ_ONCE(view->pending_last);
}

/* The mount of the pseudo file system, while there is any view. */
extern struct vfsmount *memview_mnt;

struct memview *memview_create(void);
void memview_get(struct memview *view);
void memview_put(struct memview *view);
void memview_zap_begin(struct memview *view);
void memview_zap_end(struct memview *view);
void memview_revoke(struct memview *view);
int memview_revoke_killable(struct memview *view);
bool memview_try_revoke(struct memview *view);
int memview_stopped(const struct memview *view);
void memview_revoke_later(struct memview *view);

/**
 * memview_ops_unlock - the end of a table operation
 * @view: its ops_lock is held
 *
 * A revocation that must not wait for the lock is left to the task that holds it: the
 * user could make that wait long, by a task that gets no CPU for example.
 */
static inline void memview_ops_unlock(struct memview *view)
{
	mutex_unlock(&view->ops_lock);
	/* Either we see the request here, or memview_try_revoke() gets the lock. */
	smp_mb();
	if (unlikely(READ_ONCE(view->revoking)) && !READ_ONCE(view->dead))
		memview_try_revoke(view);
}

#endif /* _MEMVIEW_VIEW_H */
