// SPDX-License-Identifier: GPL-2.0
/*
 * Controllers: address spaces that lend memory. A controller has the sources that
 * ranges map, idle ones for a while, and the views that end with it (R4).
 */

#include <linux/delay.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "controller.h"
#include "memview.h"
#include "mm.h"
#include "source.h"
#include "view.h"

/* Time that an idle source is kept, for a range that is mapped again. */
#define MEMVIEW_IDLE_TIME (HZ / 10)

/*
 * Takes an idle source off the lists, to be put or to be given back. With @all, any;
 * else one that has been idle for long enough.
 */
static struct memview_source *
memview_controller_take_idle(struct memview_controller *controller, bool all)
{
	struct memview_source *source;

	if (list_empty(&controller->idle))
		return NULL;
	spin_lock(&controller->lock);
	source = list_first_entry_or_null(&controller->idle,
					  struct memview_source, idle_node);
	if (source && !all &&
	    time_before(jiffies, source->idle_since + MEMVIEW_IDLE_TIME))
		source = NULL;
	if (source)
		memview_source_unlist(source);
	spin_unlock(&controller->lock);
	return source;
}

static void memview_controller_give_back(struct memview_controller *controller,
					 struct memview_source *source)
{
	spin_lock(&controller->lock);
	source->idle_since = jiffies;
	list_move_tail(&source->idle_node, &controller->idle);
	memview_source_list(source);
	spin_unlock(&controller->lock);
}

/**
 * memview_controller_collect - end the controller's idle sources
 * @controller: the controller, or NULL
 * @all: also sources that have not been idle for long
 * @wait: also sources whose unmapping waits; else they are left to the next call
 *
 * Only the controller itself unmaps: the wait can be made endless by the controller
 * or its userfaultfds, and in a worker it would keep the controller's memory (R4)
 * or delay other controllers' work (R8).
 *
 * Context: no lock is held. Does nothing in another process.
 */
void memview_controller_collect(struct memview_controller *controller, bool all,
				bool wait)
{
	struct memview_source *source, *next;
	LIST_HEAD(kept);

	if (!controller || list_empty(&controller->idle) ||
	    controller->mm != current->mm)
		return;
	while ((source = memview_controller_take_idle(controller, all))) {
		if (memview_source_munmap(source, wait))
			memview_source_put(source);
		else
			list_add_tail(&source->idle_node, &kept);
	}
	list_for_each_entry_safe(source, next, &kept, idle_node)
		memview_controller_give_back(controller, source);
}

/* Would the controller's next call end a source, which may wait? */
bool memview_controller_is_due(struct memview_controller *controller)
{
	struct memview_source *source;
	bool due;

	if (list_empty(&controller->idle))
		return false;
	spin_lock(&controller->lock);
	source = list_first_entry_or_null(&controller->idle,
					  struct memview_source, idle_node);
	due = source &&
	      !time_before(jiffies, source->idle_since + MEMVIEW_IDLE_TIME);
	spin_unlock(&controller->lock);
	return due;
}

/**
 * memview_controller_drop_idle - end all idle sources now
 * @view: a view of the caller, or one without a controller yet
 *
 * Return: 0, -EIO, or -EINTR
 */
int memview_controller_drop_idle(struct memview *view)
{
	struct memview_controller *controller = memview_view_controller(view);

	if (controller && controller->mm != current->mm)
		return -EIO;
	if (controller)
		memview_controller_get(controller);
	else
		controller = memview_controller_find_current();
	if (controller) {
		memview_controller_collect(controller, true, true);
		memview_controller_put(controller);
	}
	return fatal_signal_pending(current) ? -EINTR : 0;
}

void memview_controller_get(struct memview_controller *controller)
{
	kref_get(&controller->ref);
}

static void memview_controller_release(struct kref *ref)
{
	struct memview_controller *controller =
		container_of(ref, struct memview_controller, ref);
	struct memview_mm *space = controller->space;

	spin_lock(&space->lock);
	if (space->controller == controller)
		space->controller = NULL;
	spin_unlock(&space->lock);
	memview_mm_put(space);
	mmdrop(controller->mm);
	kfree(controller);
}

/* Never sleeps. */
void memview_controller_put(struct memview_controller *controller)
{
	kref_put(&controller->ref, memview_controller_release);
}

/**
 * memview_controller_add - give a view its controller, with which it ends (R4)
 * @controller: of the current process, so it does not end now
 * @view: a view without a controller; its ops_lock is held
 */
void memview_controller_add(struct memview_controller *controller,
			    struct memview *view)
{
	lockdep_assert_held(&view->ops_lock);

	memview_controller_get(controller);
	spin_lock(&controller->lock);
	list_add(&view->controller_node, &controller->views);
	spin_unlock(&controller->lock);
	/* Readers without the lock see an initialised controller. */
	smp_store_release(&view->controller, controller);
}

void memview_controller_remove(struct memview_controller *controller,
			       struct memview *view)
{
	spin_lock(&controller->lock);
	list_del(&view->controller_node);
	spin_unlock(&controller->lock);
}

/* Drops the idle sources, and lets none become idle again. Unmaps nothing. */
static void memview_controller_end(struct memview_controller *controller)
{
	struct memview_source *source;

	spin_lock(&controller->lock);
	controller->ended = true;
	spin_unlock(&controller->lock);
	while ((source = memview_controller_take_idle(controller, true)))
		memview_source_put(source);
}

static struct memview_controller *
memview_controller_of(struct memview_mm *space)
{
	struct memview_controller *controller;

	spin_lock(&space->lock);
	controller = space->controller;
	if (controller && !kref_get_unless_zero(&controller->ref))
		controller = NULL;
	spin_unlock(&space->lock);
	return controller;
}

/**
 * memview_controller_exit_mm - an address space ends
 * @space: the address space
 *
 * Its views are revoked by work items, because this runs in a notifier.
 */
void memview_controller_exit_mm(struct memview_mm *space)
{
	struct memview_controller *controller = memview_controller_of(space);
	struct memview *view;

	if (!controller)
		return;
	spin_lock(&controller->lock);
	while (!list_empty(&controller->views)) {
		view = list_first_entry(&controller->views, struct memview,
					controller_node);
		list_move_tail(&view->controller_node, &controller->orphans);
		memview_revoke_later(view);
		cond_resched_lock(&controller->lock);
	}
	spin_unlock(&controller->lock);
	memview_controller_end(controller);
	memview_controller_put(controller);
}

/* Return: the controller of this process's address space, with a reference, or NULL */
struct memview_controller *memview_controller_find_current(void)
{
	struct memview_mm *space = memview_mm_find(current->mm);
	struct memview_controller *controller;

	if (!space)
		return NULL;
	controller = memview_controller_of(space);
	memview_mm_put(space);
	return controller;
}

/**
 * memview_controller_get_current - find or make this process's controller
 * @nowait: -EAGAIN rather than make one
 *
 * Context: no lock is held; can be killed.
 * Return: the controller of this address space, with a reference, or -ENOMEM, -EINTR,
 * -ERESTARTNOINTR, -EAGAIN
 */
struct memview_controller *memview_controller_get_current(bool nowait)
{
	struct memview_controller *controller, *found;
	struct memview_mm *space;

	found = memview_controller_find_current();
	if (found)
		return found;
	if (nowait)
		return ERR_PTR(-EAGAIN);
	space = memview_mm_control();
	if (IS_ERR(space))
		return ERR_CAST(space);

	controller = kzalloc(sizeof(*controller), GFP_KERNEL_ACCOUNT);
	if (!controller) {
		memview_mm_put(space);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&controller->ref);
	mmgrab(current->mm);
	controller->mm = current->mm;
	controller->space = space;
	mutex_init(&controller->make_lock);
	spin_lock_init(&controller->lock);
	INIT_LIST_HEAD(&controller->idle);
	INIT_LIST_HEAD(&controller->views);
	INIT_LIST_HEAD(&controller->orphans);

	spin_lock(&space->lock);
	found = space->controller;
	if (!found || !kref_get_unless_zero(&found->ref)) {
		/* @found, if any, is being released, and leaves ours in place. */
		space->controller = controller;
		found = NULL;
	}
	spin_unlock(&space->lock);
	if (found) {
		memview_controller_put(controller);
		return found;
	}
	return controller;
}

/*
 * The module is unloaded. No view is left; idle sources stay mapped, as plain mappings
 * of files.
 */
void memview_controllers_exit(void)
{
	struct memview_controller *controller;
	struct memview_mm *space;

	flush_workqueue(memview_wq);
	while ((space = memview_mm_any())) {
		controller = memview_controller_of(space);
		if (controller) {
			memview_controller_end(controller);
			memview_controller_put(controller);
		}
		memview_mm_put(space);
		/* An invalidation may hold a reference. */
		schedule_timeout_uninterruptible(1);
	}
}
