// SPDX-License-Identifier: GPL-2.0
/*
 * Peers: the address spaces that map a view, and their mappings; the zap.
 *
 * A mapping of a view is *tracked* while it may have page-table entries: it is in
 * the view's tree by page, where a zap finds it, and in its address space's by
 * address. A tracked mapping does not change. Before it is cut, moved or unmapped it
 * is untracked, which zaps all its entries:
 *
 *   .may_split			before a part becomes a VMA of its own
 *   .open			of the copy that mremap(2) moves the entries to
 *   MMU_NOTIFY_UNMAP		before munmap(2), or mmap(2) over it, frees the
 *				page tables
 *   release of the notifier	before exit_mmap() does
 *
 * A fault tracks it again, and may do so only under the mmap_lock, which every change
 * of a mapping holds for writing. (Not under the lock of the VMA alone: since
 * 6.4 __split_vma() calls .may_split and .open before it takes that.)
 *
 * So a zap needs neither the i_mmap of the view's inode nor a lock of the peer's.
 * An invalidation zaps under the i_mmap_rwsem of the backing file, and registering an
 * mmu notifier takes the i_mmap_rwsem of all files that are mapped in one address
 * space, in order of address (mm_take_all_locks()): one must never be taken inside
 * another.
 *
 * To take a right away, a task publishes the change first (memview.gen, the sequence
 * of the source, memview_mapping.tracked), then there is a full barrier, and then it
 * zaps the page tables. A fault makes its page table first, then there is a full
 * barrier, and then it re-validates under the lock of the page table. A zap passes
 * over a page table that it does not see; then the fault sees the published change.
 * If the zap does see the page table, it takes the same lock.
 */

#include <linux/file.h>
#include <linux/interval_tree_generic.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "fault.h"
#include "memview.h"
#include "mm.h"
#include "peers.h"
#include "view.h"
#include "view_file.h"

#define FIRST(mapping)	((mapping)->first)
#define LAST(mapping)	((mapping)->last)
#define START(mapping)	((mapping)->start)
#define END(mapping)	((mapping)->end - 1)

INTERVAL_TREE_DEFINE(struct memview_mapping, view_node, pgoff_t,
		     view_subtree_last, FIRST, LAST, static, memview_view_tree)
INTERVAL_TREE_DEFINE(struct memview_mapping, mm_node, unsigned long,
		     mm_subtree_last, START, END, static inline, memview_mm_tree)

/**
 * struct memview_peer - an address space that has the view mapped
 * @node: in memview.peers, by @mm
 * @mm: held by mmgrab()
 * @nr_vmas: its mappings of the view
 * @registering: memview_mapping_register_later() is registering @mm
 */
struct memview_peer {
	struct rb_node node;
	struct mm_struct *mm;
	unsigned long nr_vmas;
	bool registering;
};

/* Counts a mapping of @mm; the first one takes @new. Return: is it the first? */
static bool memview_peer_count(struct memview *view, struct mm_struct *mm,
			       struct memview_peer *new)
{
	struct rb_node **link = &view->peers.rb_node, *parent = NULL;

	lockdep_assert_held(&view->peers_lock);

	while (*link) {
		struct memview_peer *peer =
			rb_entry(*link, struct memview_peer, node);

		if (peer->mm == mm) {
			peer->nr_vmas++;
			return false;
		}
		parent = *link;
		link = mm < peer->mm ? &parent->rb_left : &parent->rb_right;
	}
	if (new) {
		mmgrab(mm);
		new->mm = mm;
		new->nr_vmas = 1;
		new->registering = false;
		rb_link_node(&new->node, parent, link);
		rb_insert_color(&new->node, &view->peers);
		view->nr_peers++;
	}
	return true;
}

/**
 * memview_peer_add - count a new mapping of a view
 * @view: the view
 * @mm: the address space; its mmap_lock is held for writing
 *
 * Return: 0, or -ENOMEM: populating will not find it
 */
int memview_peer_add(struct memview *view, struct mm_struct *mm)
{
	struct memview_peer *new;
	bool used;

	spin_lock(&view->peers_lock);
	used = memview_peer_count(view, mm, NULL);
	spin_unlock(&view->peers_lock);
	if (!used)
		return 0;

	new = kmalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	spin_lock(&view->peers_lock);
	used = memview_peer_count(view, mm, new);
	spin_unlock(&view->peers_lock);
	if (!used)
		kfree(new);
	return 0;
}

/* The peer with the lowest address from @mm on. */
static struct memview_peer *memview_peer_first(struct memview *view,
					       const struct mm_struct *mm)
{
	struct rb_node *node = view->peers.rb_node;
	struct memview_peer *found = NULL;

	lockdep_assert_held(&view->peers_lock);

	while (node) {
		struct memview_peer *peer =
			rb_entry(node, struct memview_peer, node);

		if (peer->mm >= mm) {
			found = peer;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

/* A mapping goes away. If it was not counted, another one no longer is. */
static void memview_peer_remove(struct memview *view, struct mm_struct *mm)
{
	struct memview_peer *peer;

	spin_lock(&view->peers_lock);
	peer = memview_peer_first(view, mm);
	if (peer && (peer->mm != mm || --peer->nr_vmas))
		peer = NULL;
	if (peer) {
		rb_erase(&peer->node, &view->peers);
		view->nr_peers--;
	}
	spin_unlock(&view->peers_lock);
	if (peer) {
		mmdrop(mm);
		kfree(peer);
	}
}

/* The view is being freed: no mapping is left. */
void memview_peers_free(struct memview *view)
{
	struct memview_peer *peer, *next;

	rbtree_postorder_for_each_entry_safe(peer, next, &view->peers, node) {
		mmdrop(peer->mm);
		kfree(peer);
	}
}

/* The peer of @mm, or NULL. */
static struct memview_peer *memview_peer_find(struct memview *view,
					      const struct mm_struct *mm)
{
	struct memview_peer *peer = memview_peer_first(view, mm);

	return peer && peer->mm == mm ? peer : NULL;
}

/* Return: whether nobody else is registering @mm already */
static bool memview_peer_registering(struct memview *view,
				     const struct mm_struct *mm)
{
	struct memview_peer *peer;
	bool first;

	spin_lock(&view->peers_lock);
	peer = memview_peer_find(view, mm);
	first = peer && !peer->registering;
	if (first)
		peer->registering = true;
	spin_unlock(&view->peers_lock);
	return first;
}

static void memview_peer_registered(struct memview *view,
				    const struct mm_struct *mm)
{
	struct memview_peer *peer;

	spin_lock(&view->peers_lock);
	peer = memview_peer_find(view, mm);
	if (peer)
		peer->registering = false;
	spin_unlock(&view->peers_lock);
}

/* The peer after @prev, which is compared, never followed. The caller does mmdrop(). */
struct mm_struct *memview_peer_next(struct memview *view,
				    const struct mm_struct *prev)
{
	struct mm_struct *mm = NULL;
	struct memview_peer *peer;

	spin_lock(&view->peers_lock);
	peer = memview_peer_first(view, prev);
	if (peer && peer->mm == prev)
		peer = rb_entry_safe(rb_next(&peer->node), struct memview_peer,
				     node);
	if (peer) {
		mm = peer->mm;
		mmgrab(mm);
	}
	spin_unlock(&view->peers_lock);
	return mm;
}

/**
 * memview_zap - take a span away from all peers
 * @view: the view
 * @first: first page
 * @last: last page, inclusive
 * @nested: called by a notifier of another address space
 *
 * When this returns, no CPU has an entry for the span that existed before (R1).
 * Sleeps, and calls the mmu notifiers of the peers.
 *
 * Context: between memview_zap_begin() and memview_zap_end(); any lock of the
 * core's that is outside page table locks may be held.
 */
void memview_zap(struct memview *view, pgoff_t first, pgoff_t last, bool nested)
{
	struct memview_mapping *mapping, *next;
	pgoff_t from, to;

	might_sleep();

	atomic64_inc(&view->zaps);
	/* Pairs with memview_fault_insert(). */
	smp_mb();

	spin_lock(&view->peers_lock);
	mapping = memview_view_tree_iter_first(&view->mappings, first, last);
	if (mapping)
		mapping->busy++;
	while (mapping) {
		spin_unlock(&view->peers_lock);

		from = max(first, mapping->first);
		to = min(last, mapping->last);
		/*
		 * The zap calls the notifiers of the peer, inside a notifier of
		 * the controller's, and lockdep has one map for all of them
		 * (mmu_notifier_invalidate_range_start). With lockdep off, the
		 * zap takes page table locks, which are inside every lock that a
		 * caller of notifiers may hold, and locks of other notifiers of
		 * the peer's, like KVM's mmu_lock: these never wait for a
		 * notifier. Recursion ends in memview_source_invalidate(). In
		 * model/locks.pml it is inline zap().
		 */
		if (nested)
			lockdep_off();
		zap_vma_ptes(mapping->vma, mapping->start +
			     ((from - mapping->first) << PAGE_SHIFT),
			     (to - from + 1) << PAGE_SHIFT);
		if (nested)
			lockdep_on();

		spin_lock(&view->peers_lock);
		next = memview_view_tree_iter_next(mapping, first, last);
		if (next)
			next->busy++;
		if (!--mapping->busy) {
			/* wake_up_var() looks for waiters without a lock. */
			smp_mb();
			if (!READ_ONCE(mapping->tracked))
				wake_up_var(&mapping->busy);
		}
		mapping = next;
	}
	spin_unlock(&view->peers_lock);
	cond_resched();
}

/*
 * Zaps all entries of a mapping, and lets no fault make new ones until it is tracked
 * again. Waits for zaps that are using it: their work is bounded by the size of the
 * mapping. (A task that is throttled in the middle takes longer, see
 * docs/security.md.)
 *
 * Context: nobody else can change the mapping: the mmap_lock is held for writing,
 * or the VMA has left the address space, or that has ended. With @nested, in a
 * notifier, see memview_zap().
 */
static void memview_mapping_untrack(struct memview_mapping *mapping, bool nested)
{
	struct memview *view = mapping->view;

	if (!READ_ONCE(mapping->tracked))
		return;

	/* Huge entries are inserted under this lock. */
	spin_lock(&view->lock);
	WRITE_ONCE(mapping->tracked, false);
	spin_unlock(&view->lock);
	/* Pairs with memview_fault_insert(). */
	smp_mb();
	if (nested)
		lockdep_off();
	zap_vma_ptes(mapping->vma, mapping->start,
		     mapping->end - mapping->start);
	if (nested)
		lockdep_on();

	spin_lock(&view->peers_lock);
	while (mapping->busy) {
		spin_unlock(&view->peers_lock);
		wait_var_event(&mapping->busy, !READ_ONCE(mapping->busy));
		spin_lock(&view->peers_lock);
	}
	memview_view_tree_remove(mapping, &view->mappings);
	spin_lock(&mapping->mm->lock);
	memview_mm_tree_remove(mapping, &mapping->mm->mappings);
	spin_unlock(&mapping->mm->lock);
	spin_unlock(&view->peers_lock);
}

static struct memview_mapping *
memview_mapping_first(struct memview_mm *mm, unsigned long start,
		      unsigned long last)
{
	struct memview_mapping *mapping;

	spin_lock(&mm->lock);
	mapping = memview_mm_tree_iter_first(&mm->mappings, start, last);
	spin_unlock(&mm->lock);
	return mapping;
}

/* The address space ends: no fault comes any more, and the VMAs are still there. */
void memview_peers_release(struct memview_mm *mm)
{
	struct memview_mapping *mapping;

	while ((mapping = memview_mapping_first(mm, 0, ULONG_MAX)))
		memview_mapping_untrack(mapping, false);
}

/*
 * A span is about to be unmapped. The caller owns the VMAs that are tracked there: it
 * has taken them out of the address space, or is about to.
 */
void memview_peers_unmap(struct memview_mm *mm, unsigned long start,
			 unsigned long end)
{
	struct memview_mapping *mapping;

	while ((mapping = memview_mapping_first(mm, start, end - 1)))
		memview_mapping_untrack(mapping, true);
}

/* Takes over the reference of @mm. */
static struct memview_mapping *memview_mapping_new(struct memview *view,
						   struct vm_area_struct *vma,
						   struct memview_mm *mm)
{
	struct memview_mapping *mapping;

	mapping = kzalloc(sizeof(*mapping), GFP_KERNEL_ACCOUNT);
	if (!mapping) {
		memview_mm_put(mm);
		return NULL;
	}
	mapping->view = view;
	mapping->vma = vma;
	mapping->mm = mm;
	return mapping;
}

static void memview_mapping_free(struct memview_mapping *mapping)
{
	memview_mm_put(mapping->mm);
	kfree(mapping);
}

/**
 * memview_mapping_init - give a mapping its object
 * @view: the view
 * @vma: the mapping, without an object; its mmap_lock is held for writing
 *
 * Return: 0, -ENOMEM, -ERESTARTNOINTR
 */
int memview_mapping_init(struct memview *view, struct vm_area_struct *vma)
{
	struct memview_mapping *mapping;
	struct memview_mm *mm;

	mm = memview_mm_make_locked(vma->vm_mm);
	if (IS_ERR(mm))
		return PTR_ERR(mm);
	mapping = memview_mapping_new(view, vma, mm);
	if (!mapping)
		return -ENOMEM;
	WRITE_ONCE(vma->vm_private_data, mapping);
	return 0;
}

/* Undoes memview_mapping_init() for an mmap(2) that fails. */
void memview_mapping_drop(struct vm_area_struct *vma)
{
	memview_mapping_free(vma->vm_private_data);
	vma->vm_private_data = NULL;
}

/**
 * memview_mapping_track - let zaps find the mapping from now on
 * @view: the view
 * @vma: the mapping; its mmap_lock is held, not only the lock of the VMA
 *
 * Copies (fork, mremap, splitting) have no object, and get it here.
 *
 * Return: 0, -ENOMEM; -ENXIO where the address space has to be registered first:
 * memview_mapping_register()
 */
int memview_mapping_track(struct memview *view, struct vm_area_struct *vma)
{
	struct memview_mapping *mapping = READ_ONCE(vma->vm_private_data);
	struct memview_mapping *other;
	struct memview_mm *mm;

	lockdep_assert_held(&vma->vm_mm->mmap_lock);

	if (!mapping) {
		mm = memview_mm_find(vma->vm_mm);
		if (!mm)
			return -ENXIO;
		mapping = memview_mapping_new(view, vma, mm);
		if (!mapping)
			return -ENOMEM;
		/* Other faults are under the same lock for reading. */
		other = cmpxchg(&vma->vm_private_data, NULL, mapping);
		if (other) {
			memview_mapping_free(mapping);
			mapping = other;
		}
	}

	spin_lock(&view->peers_lock);
	if (!mapping->tracked) {
		mapping->first = vma->vm_pgoff;
		mapping->last = vma->vm_pgoff + vma_pages(vma) - 1;
		mapping->start = vma->vm_start;
		mapping->end = vma->vm_end;
		memview_view_tree_insert(mapping, &view->mappings);
		spin_lock(&mapping->mm->lock);
		memview_mm_tree_insert(mapping, &mapping->mm->mappings);
		spin_unlock(&mapping->mm->lock);
		WRITE_ONCE(mapping->tracked, true);
	}
	spin_unlock(&view->peers_lock);
	return 0;
}

/**
 * memview_mapping_register - register the address space of a mapping
 * @mm: the address space; no lock is held
 * @addr: an address in the mapping, which may be gone
 * @file: the view file that was mapped there; held
 *
 * A notifier needs the mmap_lock for writing. mmap(2) of a view has that; in a
 * child that has inherited a mapping, the first fault comes here.
 *
 * Return: 0, also where it is no mapping of the file any more; -ENOMEM, -EINTR;
 * -ERESTARTNOINTR for a signal or task work that is handled in user mode only
 */
int memview_mapping_register(struct mm_struct *mm, unsigned long addr,
			     struct file *file)
{
	struct vm_area_struct *vma;
	int err = 0;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr && vma->vm_file == file &&
	    !vma->vm_private_data)
		err = memview_mapping_init(memview_of_file(file), vma);
	mmap_write_unlock(mm);
	return err;
}

/**
 * struct memview_registration - a queued memview_mapping_register()
 * @work: starts the thread
 * @mm: the address space; in use (mmget)
 * @addr: an address in the mapping
 * @file: the view file; held, and with it the module
 */
struct memview_registration {
	struct work_struct work;
	struct mm_struct *mm;
	unsigned long addr;
	struct file *file;
};

static void memview_registration_end(struct memview_registration *reg)
{
	memview_peer_registered(memview_of_file(reg->file), reg->mm);
	mmput_async(reg->mm);
	fput(reg->file);
	kfree(reg);
}

static int memview_registration_thread(void *data)
{
	struct memview_registration *reg = data;
	struct memview_charge charge;

	memview_charge_begin(&charge, reg->mm);
	memview_mapping_register(reg->mm, reg->addr, reg->file);
	memview_charge_end(&charge, NULL);
	memview_registration_end(reg);
	module_put_and_kthread_exit(0);
}

static void memview_registration_work(struct work_struct *work)
{
	struct memview_registration *reg =
		container_of(work, struct memview_registration, work);
	struct task_struct *task;

	/* For the thread. The work item needs none: the module flushes its queues. */
	__module_get(THIS_MODULE);
	task = kthread_run(memview_registration_thread, reg, "memory-view");
	if (IS_ERR(task)) {
		memview_registration_end(reg);
		module_put(THIS_MODULE);
	}
}

/**
 * memview_mapping_register_later - queue memview_mapping_register()
 * @mm: the address space; in use (mmget)
 * @addr: an address in the mapping
 * @file: the view file that is mapped there; held
 *
 * For callers that cannot drop a lock, or have a signal pending, for which
 * mm_take_all_locks() gives up. Each runs in a thread of its own, for it waits for the
 * peer's mmap_lock, which user space can hold; one at a time for each view and address
 * space. After a failure the next fault tries again.
 */
void memview_mapping_register_later(struct mm_struct *mm, unsigned long addr,
				    struct file *file)
{
	struct memview_registration *reg;

	reg = kmalloc(sizeof(*reg), GFP_KERNEL_ACCOUNT);
	if (!reg)
		return;
	if (!memview_peer_registering(memview_of_file(file), mm)) {
		kfree(reg);
		return;
	}
	INIT_WORK(&reg->work, memview_registration_work);
	reg->mm = mm;
	reg->addr = addr;
	reg->file = get_file(file);
	mmget(reg->mm);
	queue_work(memview_threads_wq, &reg->work);
}

/* A part of the mapping is about to become a VMA of its own. */
int memview_vma_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	struct memview_mapping *mapping = vma->vm_private_data;

	if (mapping)
		memview_mapping_untrack(mapping, false);
	return 0;
}

/*
 * A copy of a mapping, with a pointer to the original's object: made by fork(2), by
 * splitting, or by mremap(2), which then moves the entries to it.
 *
 * fork(2) copies entries of VM_PFNMAP mappings under no lock that a zap takes, so a
 * revoked one could come back in the child: let children start empty. dup_mmap()
 * looks at the flag after this call.
 */
void memview_vma_open(struct vm_area_struct *vma)
{
	struct memview_mapping *mapping = vma->vm_private_data;

	vma->vm_private_data = NULL;
	if (mapping && mapping->vma->vm_mm == vma->vm_mm)
		memview_mapping_untrack(mapping, false);
	else if (vma->vm_mm != current->mm)
		vm_flags_set(vma, VM_WIPEONFORK);
	/* Without memory it is not counted, hence not populated: best effort. */
	memview_peer_add(memview_of_file(vma->vm_file), vma->vm_mm);
}

void memview_vma_close(struct vm_area_struct *vma)
{
	struct memview_mapping *mapping = vma->vm_private_data;

	memview_peer_remove(memview_of_file(vma->vm_file), vma->vm_mm);
	if (!mapping)
		return;
	/* Its page tables are gone: a path that did not untrack it is a bug. */
	WARN_ON_ONCE(mapping->tracked);
	memview_mapping_free(mapping);
}
