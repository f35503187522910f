/* SPDX-License-Identifier: GPL-2.0 */
/* Address spaces that control or map views, and their notifiers. */
#ifndef _MEMVIEW_MM_H
#define _MEMVIEW_MM_H

#include "memview.h"

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
#define MEMVIEW_RUNNING_SLOTS 16

/**
 * struct memview_mm - an address space that controls or maps views
 * @ref: held by those who look at it, controllers, and mappings of views
 * @notifier: on all of it; its mm is held by mmgrab()
 * @begins: the same, of a controller: told of the begin of invalidations
 * @controls: @begins is registered; written under the mmap_lock for writing
 * @notifiers: those that are registered, or are not free yet
 * @node: in the hash, by mm
 * @rcu: the end of the object: look-ups are under RCU
 * @lock: the fields below. Innermost; may be taken wherever notifiers are told.
 * @mappings: the tracked mappings of views, by address (peers.c)
 * @sources: the sources of its sources, by address, until they are freed
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

	spinlock_t lock; /* what follows; innermost */
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

#endif /* _MEMVIEW_MM_H */
