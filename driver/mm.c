// SPDX-License-Identifier: GPL-2.0
/*
 * Address spaces that control or map views: one object each, with its mmu
 * notifiers.
 *
 * Each has a notifier for the end of the address space, for page tables that are about
 * to be freed (peers.c), and for the end of an invalidation. A controller has a second
 * one, for the start: it can refuse an invalidation that may not sleep, which a
 * notifier with an end must not do. source.c finds the sources concerned in an
 * interval tree. Interval notifiers would do that, too, but adding or removing one
 * waits, uninterruptibly, until nothing at all is being invalidated in the address
 * space: any owner of the file can put that off for ever (R7).
 */

#include <linux/hashtable.h>
#include <linux/sched/signal.h>
#include <linux/signal.h>
#include <linux/slab.h>

#include "controller.h"
#include "memview.h"
#include "mm.h"
#include "peers.h"
#include "source.h"
#include "table.h"
#include "view.h"

#define MEMVIEW_MMS_BITS	8

/* Looked up under RCU. */
static DEFINE_HASHTABLE(memview_mms, MEMVIEW_MMS_BITS);
static DEFINE_SPINLOCK(memview_mms_lock);
/* Number of objects, including those that cannot be looked up any more. */
static atomic_t memview_nr_mms;

static struct memview_mm *memview_mm_of(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct memview_mm, notifier);
}

static void memview_mm_release(struct mmu_notifier *notifier,
			       struct mm_struct *mm)
{
	struct memview_mm *of = memview_mm_of(notifier);

	/* No end is notified any more, not even of running invalidations. */
	spin_lock(&of->lock);
	of->ended = true;
	spin_unlock(&of->lock);
	wake_up_all(&of->wait);

	memview_peers_release(of);
	memview_controller_exit_mm(of);
}

/**
 * memview_mm_running_begin - record the start of an invalidation in a controller
 * @mm: of the controller
 * @range: the notifier's range
 *
 * Until memview_mm_invalidate_end() gets the same @range, memview_mm_running() is
 * true of it. To be called before the sequence of any source changes: a fault that
 * sees neither this nor a new sequence has looked before. Also without any source
 * there: a snapshot of one that is made meanwhile must take no page about to go.
 *
 * Each start has its end, but for an mprotect(2) of the page at address 0, which can
 * start twice. @range is on the caller's stack, so the same pointer again means that
 * the end of the earlier one will not be notified any more.
 *
 * Context: any lock of the core's may be held: nothing here waits or reclaims.
 */
static void memview_mm_running_begin(struct memview_mm *mm,
				     const struct mmu_notifier_range *range)
{
	struct memview_running *running, *spare = NULL;

again:
	spin_lock(&mm->lock);
	/* No snapshot is taken any more, and no end would be notified. */
	if (mm->ended)
		goto out_unlock;
	list_for_each_entry(running, &mm->running, node)
		if (running->range == range)
			goto found;
	if (spare) {
		running = spare;
		spare = NULL;
	} else if (!list_empty(&mm->free_slots)) {
		running = list_first_entry(&mm->free_slots,
					   struct memview_running, node);
		list_del(&running->node);
	} else {
		spin_unlock(&mm->lock);
		spare = kmalloc(sizeof(*spare), GFP_NOWAIT | __GFP_NOWARN);
		if (spare)
			goto again;
		spin_lock(&mm->lock);
		mm->nr_unknown += !mm->ended;
		goto out_unlock;
	}
	running->range = range;
	running->waited = false;
	list_add(&running->node, &mm->running);
found:
	running->start = range->start;
	running->end = range->end;
out_unlock:
	spin_unlock(&mm->lock);
	kfree(spare);
}

static int memview_mm_sources_start(struct mmu_notifier *notifier,
				    const struct mmu_notifier_range *range)
{
	struct memview_mm *mm = container_of(notifier, struct memview_mm, begins);

	/* Also for a refused invalidation: its end is notified, too. */
	memview_mm_running_begin(mm, range);
	return memview_sources_invalidate(mm, range);
}

/* Runs before exit_mmap() frees a page. */
static void memview_mm_sources_release(struct mmu_notifier *notifier,
				       struct mm_struct *mm)
{
	const struct mmu_notifier_range range = {
		.flags	= MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event	= MMU_NOTIFY_RELEASE,
		.mm	= mm,
		.end	= ULONG_MAX,
	};

	memview_sources_invalidate(container_of(notifier, struct memview_mm,
						begins), &range);
}

/* The OOM reaper cannot wait, and leaves mappings of views alone. */
static int memview_mm_invalidate_start(struct mmu_notifier *notifier,
				       const struct mmu_notifier_range *range)
{
	if (mmu_notifier_range_blockable(range) &&
	    range->event == MMU_NOTIFY_UNMAP)
		memview_peers_unmap(memview_mm_of(notifier), range->start,
				    range->end);
	return 0;
}

static void memview_running_free(struct memview_mm *mm,
				 struct memview_running *running)
{
	list_del(&running->node);
	if (running >= mm->slots &&
	    running < mm->slots + ARRAY_SIZE(mm->slots))
		list_add(&running->node, &mm->free_slots);
	else
		kfree(running);
}

static void memview_mm_invalidate_end(struct mmu_notifier *notifier,
				      const struct mmu_notifier_range *range)
{
	struct memview_mm *mm = memview_mm_of(notifier);
	struct memview_running *running;
	bool found = false, waited = false;

	/* This task sees entries that it has added itself: no lock is needed. */
	if (!READ_ONCE(mm->controls) ||
	    (list_empty(&mm->running) && !READ_ONCE(mm->nr_unknown)))
		return;
	spin_lock(&mm->lock);
	list_for_each_entry(running, &mm->running, node) {
		if (running->range == range) {
			waited = running->waited;
			memview_running_free(mm, running);
			found = true;
			break;
		}
	}
	/* One that could not be recorded, for want of memory. */
	if (!found && mm->nr_unknown) {
		WRITE_ONCE(mm->nr_unknown, mm->nr_unknown - 1);
		waited = true;
	}
	spin_unlock(&mm->lock);
	/* The barrier in wq_has_sleeper() pairs with that of the waiter. */
	if (waited && wq_has_sleeper(&mm->wait))
		wake_up_all(&mm->wait);
}

/* A notifier has been freed; the last one frees the object. */
static void memview_mm_free_notifier(struct memview_mm *mm)
{
	struct memview_running *running, *next;

	if (!refcount_dec_and_test(&mm->notifiers))
		return;
	/* The end of these was never notified. */
	list_for_each_entry_safe(running, next, &mm->running, node)
		memview_running_free(mm, running);
	kfree_rcu(mm, rcu);
	atomic_dec(&memview_nr_mms);
}

static void memview_mm_free(struct mmu_notifier *notifier)
{
	memview_mm_free_notifier(memview_mm_of(notifier));
}

static void memview_mm_sources_free(struct mmu_notifier *notifier)
{
	memview_mm_free_notifier(container_of(notifier, struct memview_mm,
					      begins));
}

static const struct mmu_notifier_ops memview_mm_ops = {
	.release = memview_mm_release,
	.invalidate_range_start = memview_mm_invalidate_start,
	.invalidate_range_end = memview_mm_invalidate_end,
	.free_notifier = memview_mm_free,
};

/* Without invalidate_range_end: see the top of this file. */
static const struct mmu_notifier_ops memview_mm_sources_ops = {
	.release = memview_mm_sources_release,
	.invalidate_range_start = memview_mm_sources_start,
	.free_notifier = memview_mm_sources_free,
};

/**
 * memview_mm_find - find the object of an address space
 * @mm: the address space
 *
 * Return: the object, with a reference, or NULL
 */
struct memview_mm *memview_mm_find(struct mm_struct *mm)
{
	struct memview_mm *found = NULL, *each;

	rcu_read_lock();
	hash_for_each_possible_rcu(memview_mms, each, node, (unsigned long)mm) {
		if (each->notifier.mm == mm &&
		    kref_get_unless_zero(&each->ref)) {
			found = each;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

/* Return: any object, with a reference, or NULL */
struct memview_mm *memview_mm_any(void)
{
	struct memview_mm *each;
	unsigned int bucket;

	spin_lock(&memview_mms_lock);
	hash_for_each(memview_mms, bucket, each, node) {
		if (kref_get_unless_zero(&each->ref)) {
			spin_unlock(&memview_mms_lock);
			return each;
		}
	}
	spin_unlock(&memview_mms_lock);
	return NULL;
}

/**
 * memview_signals_block - block all signals but SIGKILL
 * @old: for memview_signals_restore()
 *
 * mm_take_all_locks() gives up on any pending signal, so that a large process
 * under a profiler's timer would never get through. Until the signals are restored,
 * the caller does bounded work only: it must not wait for user space.
 */
void memview_signals_block(sigset_t *old)
{
	sigset_t most;

	/* SIGKILL must still end killable waits, so it stays unblocked. */
	siginitsetinv(&most, sigmask(SIGKILL));
	sigprocmask(SIG_BLOCK, &most, old);
}

/**
 * memview_signals_restore - the end of memview_signals_block()
 * @old: from memview_signals_block()
 * @err: the error of the work in between
 *
 * Return: @err; for -EINTR, -ERESTARTNOINTR: something is pending that cannot be
 * blocked (SIGKILL, task work), and is handled on the way to user mode. -EAGAIN where
 * nothing is pending any more.
 */
int memview_signals_restore(const sigset_t *old, int err)
{
	sigset_t mask = *old;

	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (err != -EINTR)
		return err;
	return signal_pending(current) ? -ERESTARTNOINTR : -EAGAIN;
}

static int memview_mm_register(struct mmu_notifier *notifier,
			       struct mm_struct *of)
{
	sigset_t old;
	int err;

	do {
		memview_signals_block(&old);
		err = __mmu_notifier_register(notifier, of);
		err = memview_signals_restore(&old, err);
	} while (err == -EAGAIN);
	return err;
}

/**
 * memview_mm_make_locked - find or make the object of an address space
 * @of: the address space; its mmap_lock is held for writing, and nothing else
 *
 * Return: the object, with a reference, or -ENOMEM, -ERESTARTNOINTR
 */
struct memview_mm *memview_mm_make_locked(struct mm_struct *of)
{
	struct memview_mm *mm;
	unsigned int i;
	int err;

	lockdep_assert_held_write(&of->mmap_lock);

	mm = memview_mm_find(of);
	if (mm)
		return mm;
	mm = kzalloc(sizeof(*mm), GFP_KERNEL_ACCOUNT);
	if (!mm)
		return ERR_PTR(-ENOMEM);
	kref_init(&mm->ref);
	spin_lock_init(&mm->lock);
	mm->mappings = RB_ROOT_CACHED;
	mm->sources = RB_ROOT_CACHED;
	refcount_set(&mm->notifiers, 1);
	INIT_LIST_HEAD(&mm->running);
	INIT_LIST_HEAD(&mm->free_slots);
	for (i = 0; i < ARRAY_SIZE(mm->slots); i++)
		list_add(&mm->slots[i].node, &mm->free_slots);
	init_waitqueue_head(&mm->wait);
	mm->notifier.ops = &memview_mm_ops;
	mm->begins.ops = &memview_mm_sources_ops;
	err = memview_mm_register(&mm->notifier, of);
	if (err) {
		kfree(mm);
		return ERR_PTR(err);
	}

	atomic_inc(&memview_nr_mms);
	spin_lock(&memview_mms_lock);
	hash_add_rcu(memview_mms, &mm->node, (unsigned long)of);
	spin_unlock(&memview_mms_lock);
	return mm;
}

/* The mmap_lock of the address space is held for writing. */
static int memview_mm_control_locked(struct memview_mm *mm, struct mm_struct *of)
{
	int err;

	lockdep_assert_held_write(&of->mmap_lock);

	if (mm->controls)
		return 0;
	/*
	 * From the registration on each end must follow a recorded start. An
	 * invalidation holds one of the locks that mm_take_all_locks() takes; but
	 * our own zaps do not, so leave them no mapping here.
	 */
	memview_peers_release(mm);
	/* Before any start: the end tests it. */
	WRITE_ONCE(mm->controls, true);
	refcount_inc(&mm->notifiers);
	err = memview_mm_register(&mm->begins, of);
	if (err) {
		refcount_dec(&mm->notifiers);
		WRITE_ONCE(mm->controls, false);
	}
	return err;
}

/**
 * memview_mm_control - make this process's address space a controller's
 *
 * Context: no lock is held; waits for the mmap_lock, and can be killed.
 * Return: its object, with a reference, or -ENOMEM, -EINTR, -ERESTARTNOINTR
 */
struct memview_mm *memview_mm_control(void)
{
	struct mm_struct *of = current->mm;
	struct memview_mm *mm;
	int err;

	if (mmap_write_lock_killable(of))
		return ERR_PTR(-EINTR);
	mm = memview_mm_make_locked(of);
	if (!IS_ERR(mm)) {
		err = memview_mm_control_locked(mm, of);
		if (err) {
			memview_mm_put(mm);
			mm = ERR_PTR(err);
		}
	}
	mmap_write_unlock(of);
	return mm;
}

void memview_mm_get(struct memview_mm *mm)
{
	kref_get(&mm->ref);
}

static void memview_mm_release_ref(struct kref *ref)
	__releases(&memview_mms_lock)
{
	struct memview_mm *mm = container_of(ref, struct memview_mm, ref);

	hash_del_rcu(&mm->node);
	spin_unlock(&memview_mms_lock);
	/* The object stays until both notifiers are freed. */
	if (mm->controls)
		mmu_notifier_put(&mm->begins);
	mmu_notifier_put(&mm->notifier);
}

/* Never sleeps. */
void memview_mm_put(struct memview_mm *mm)
{
	kref_put_lock(&mm->ref, memview_mm_release_ref, &memview_mms_lock);
}

/*
 * The module is unloaded: no object can be found any more, and only notifiers can still
 * put one. When the last object has been freed, its callback still has some
 * instructions to run, with bottom halves disabled.
 */
void memview_mm_exit(void)
{
	while (atomic_read(&memview_nr_mms)) {
		mmu_notifier_synchronize();
		schedule_timeout_uninterruptible(1);
	}
	synchronize_rcu();
}

/**
 * memview_mm_running - whether a span of the controller's is being invalidated
 * @mm: of the controller
 * @start: first address of the span, which lies in a source
 * @end: its end
 * @seq: the source's sequence
 * @now: written: value of @seq at that time
 *
 * After false, and as long as @seq equals @now, no page of the span is invalidated.
 */
bool memview_mm_running(struct memview_mm *mm, unsigned long start,
			unsigned long end, const u64 *seq, u64 *now)
{
	struct memview_running *running;
	bool found = false;

	spin_lock(&mm->lock);
	if (mm->nr_unknown && !mm->ended)
		found = true;
	list_for_each_entry(running, &mm->running, node) {
		if (!mm->ended && running->start < end && start < running->end) {
			running->waited = true;
			found = true;
			break;
		}
	}
	*now = READ_ONCE(*seq);
	spin_unlock(&mm->lock);
	return found;
}

/**
 * memview_mm_running_wait - wait until a span is not being invalidated
 * @mm: of the controller
 * @start: first address of the span
 * @end: its end
 *
 * Context: no lock is held: a running invalidation may need any of them.
 * Return: 0, or -ERESTARTSYS when killed
 */
int memview_mm_running_wait(struct memview_mm *mm, unsigned long start,
			    unsigned long end)
{
	const u64 seq = 0;
	u64 now;

	return wait_event_killable(mm->wait, !memview_mm_running(mm, start, end,
								 &seq, &now));
}
