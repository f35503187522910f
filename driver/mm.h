/* SPDX-License-Identifier: GPL-2.0 */
/* Address spaces that control or map views, and their notifiers. */
#ifndef _MEMVIEW_MM_H
#define _MEMVIEW_MM_H

#include "memview.h"

/**
 * struct memview_running - an invalidation in a controller, between start and end
 * @node: in memview_mm.running or memview_mm.free_slots
 * @range: pointer that both notifiers get: compared, never followed
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

/* Invalidations that one address space can track at a time without an allocation. */
#define MEMVIEW_RUNNING_SLOTS 16

/**
 * struct memview_mm - an address space that controls or maps views
 * @ref: held by look-ups, controllers, and mappings of views
 * @notifier: called for all of the address space; its mm is held by mmgrab()
 * @begins: a controller's second notifier, called at the start of invalidations
 * @controls: @begins is registered; written under the mmap_lock for writing
 * @notifiers: number of notifiers that are registered, or are not freed yet
 * @node: in the hash, by mm
 * @rcu: freed after a grace period: look-ups are under RCU
 * @lock: protects the fields below. Innermost; may be taken in any notifier.
 * @mappings: the tracked mappings of views, by address (peers.c)
 * @sources: the controller's sources, by address, until they are freed
 * @ended: the notifier has been released and is not called any more
 * @running: a controller's invalidations, between start and end
 * @nr_unknown: running invalidations of an unknown span, for want of memory
 * @slots: entries of @running or @free_slots
 * @free_slots: entries of @slots that are not in use
 * @wait: for the end of invalidations
 * @controller: the controller of this address space, or NULL; under @lock; not held:
 *	see memview_controller_of()
 */
struct memview_mm {
	struct kref ref;
	struct mmu_notifier notifier;
	struct mmu_notifier begins;
	bool controls;
	refcount_t notifiers;
	struct hlist_node node;
	struct rcu_head rcu;

	spinlock_t lock; /* the fields below; innermost */
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
