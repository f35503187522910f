// SPDX-License-Identifier: GPL-2.0
/*
 * Populating: the faults of the peers' first accesses, in advance.
 *
 * First the source is faulted, as if the controller touched its pages. Then the peers'
 * page tables are filled, by handle_mm_fault() on their mappings: all entries come
 * from fault.c, with its checks and its re-validation (R2, R6).
 *
 * A populate is no table operation. It holds no lock of ours when it faults, so
 * an unmap or a revoke never waits for it, and it looks up the table anew for
 * each few pages. Any signal ends it.
 */

#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "attachment.h"
#include "controller.h"
#include "fault.h"
#include "memview.h"
#include "peers.h"
#include "source.h"
#include "table.h"
#include "update.h"
#include "view.h"
#include "view_file.h"

/* Pages that are populated in the source, then in the peers, before the next ones. */
#define MEMVIEW_POPULATE_CHUNK	(SZ_64M >> PAGE_SHIFT)

/* Pages of the source in one snapshot: as many as a read fault maps around. */
#define MEMVIEW_POPULATE_WINDOW	16

/* Pages or mappings of a peer that one hold of its mmap_lock goes through. */
#define MEMVIEW_POPULATE_STEP	64

/* Times that the trylock of a peer's mmap_lock may fail; then the peer is skipped. */
#define MEMVIEW_POPULATE_WAITS	32

/*
 * Times that a page of a peer may need the source again, or another wait without its
 * lock (see memview_mapping_register_later()); then it is skipped.
 */
#define MEMVIEW_POPULATE_TRIES	16

/* Any signal can end a wait, where the wait allows that. */
#define MEMVIEW_POPULATE_FAULT	(FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY | \
				 FAULT_FLAG_KILLABLE | FAULT_FLAG_INTERRUPTIBLE)

/**
 * struct memview_populate - a populate in progress
 * @view: the view
 * @last: last page of the view to populate
 * @flags: MEMVIEW_POPULATE_*
 * @next: next page of the view: those before it are populated in the source
 * @tried: the fault of @next has waited and is to be retried
 * @read: @next has been faulted for read
 * @source: the source that @next maps; held
 * @piece_last: last page of the range of @next, not beyond @last
 * @addr: address of @next in the source
 * @write: fault @next for write
 * @pfns: snapshot of the source from @addr on, in the format of hmm_range_fault()
 */
struct memview_populate {
	struct memview *view;
	pgoff_t last;
	u32 flags;

	pgoff_t next;
	bool tried;
	bool read;

	struct memview_source *source;
	pgoff_t piece_last;
	unsigned long addr;
	bool write;
	unsigned long pfns[MEMVIEW_POPULATE_WINDOW];
};

/* Looks up @p->next. With 0, the caller must put @p->source. */
static int memview_populate_lookup(struct memview_populate *p)
{
	struct memview *view = p->view;
	struct memview_controller *controller;
	struct memview_range *range;
	int err = 0;

	spin_lock(&view->lock);
	while (memview_changes(view, p->next)) {
		spin_unlock(&view->lock);
		if (memview_update_wait(view, true))
			return -EINTR;
		spin_lock(&view->lock);
	}
	range = memview_table_find(view, p->next);
	/*
	 * The controller is that of the range found: the view may have got its
	 * controller since we were called.
	 */
	controller = range ? range->attachment->source->controller :
			     READ_ONCE(view->controller);
	if (view->dead) {
		err = -ESHUTDOWN;
	} else if (controller && controller->mm != current->mm) {
		err = -EIO;
	} else if (p->last >= memview_size(view) >> PAGE_SHIFT) {
		err = -ERANGE;
	} else if (!range) {
		err = -ENOENT;
	} else {
		p->source = range->attachment->source;
		kref_get(&p->source->ref);
		p->piece_last = min(range->last, p->last);
		p->addr = memview_source_addr(p->source,
					      memview_range_file_first(range) +
						      (p->next - range->first));
		p->write = memview_range_eager(range) &&
			   !(p->flags & MEMVIEW_POPULATE_READ);
	}
	spin_unlock(&view->lock);
	return err;
}

static int memview_populate_snapshot(struct memview_populate *p,
				     unsigned long nr)
{
	struct hmm_range range = {
		.notifier	= &MEMVIEW_NO_NOTIFIER(current->mm),
		.start		= p->addr,
		.end		= p->addr + (nr << PAGE_SHIFT),
		.hmm_pfns	= p->pfns,
	};

	memset(p->pfns, 0, nr * sizeof(p->pfns[0]));
	/* Best effort: no entry is made of this snapshot. */
	return hmm_range_fault(&range);
}

static bool memview_populate_has(unsigned long pfn, unsigned long flags)
{
	return !(pfn & HMM_PFN_ERROR) && (pfn & flags) == flags;
}

static void memview_populate_advance(struct memview_populate *p)
{
	p->next++;
	p->addr += PAGE_SIZE;
	p->tried = false;
	p->read = false;
}

/*
 * Faults @nr pages from @p->next on, all in @vma, each at most once for read and once
 * for write, even if reclaim takes it again.
 *
 * Context: the controller's mmap_lock is held; with @locked false afterwards it has
 * been dropped, and @p->next has to be looked up again.
 */
static int memview_populate_window(struct memview_populate *p,
				   struct vm_area_struct *vma,
				   unsigned long nr, bool *locked)
{
	unsigned int flags, i;
	vm_fault_t ret;
	bool write;
	int err;

again:
	err = memview_populate_snapshot(p, nr);
	if (err)
		return err;
	for (i = 0; nr; i++, nr--, memview_populate_advance(p)) {
		bool valid = memview_populate_has(p->pfns[i], HMM_PFN_VALID);

		if (valid && (!p->write ||
			      memview_populate_has(p->pfns[i], HMM_PFN_WRITE)))
			continue;

		/* For read first, see memview_fault_resolve(). */
		write = p->write && (valid || p->read);
		flags = MEMVIEW_POPULATE_FAULT;
		if (p->tried)
			flags |= FAULT_FLAG_TRIED;
		if (write)
			flags |= FAULT_FLAG_WRITE;
		ret = handle_mm_fault(vma, p->addr, flags, NULL);
		if (ret & (VM_FAULT_RETRY | VM_FAULT_COMPLETED))
			*locked = false;
		if (ret & VM_FAULT_ERROR)
			return vm_fault_to_errno(ret, FOLL_HWPOISON);
		if (ret & VM_FAULT_RETRY) {
			p->tried = true;
			return 0;
		}
		p->tried = false;
		p->read = true;
		if (write == p->write) {
			memview_populate_advance(p);
			nr--;
		}
		if (!*locked || !nr)
			return 0;
		/* The fault may have mapped pages around it, too. */
		goto again;
	}
	return 0;
}

/* Populates the next pages in the source. */
static int memview_populate_source_step(struct memview_populate *p)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	bool locked = true;
	unsigned long nr;
	int err;

	err = memview_populate_lookup(p);
	if (err)
		return err;
	if (mmap_read_lock_killable(mm)) {
		err = -EINTR;
		goto out_put;
	}
	vma = memview_source_vma(p->source, mm, p->addr);
	if (vma && (vma->vm_flags & VM_READ)) {
		/* The controller made it read-only, and so it is in the peers. */
		if (!(vma->vm_flags & VM_WRITE))
			p->write = false;
		nr = min3(p->piece_last - p->next + 1,
			  (vma->vm_end - p->addr) >> PAGE_SHIFT,
			  (unsigned long)MEMVIEW_POPULATE_WINDOW);
		err = memview_populate_window(p, vma, nr, &locked);
	} else {
		err = -EFAULT;
	}
	if (locked)
		mmap_read_unlock(mm);
out_put:
	memview_source_put(p->source);
	return err;
}

/* Populates the source up to page @last of the view. */
static int memview_populate_source(struct memview_populate *p, pgoff_t last)
{
	int err = 0;

	while (!err && p->next <= last) {
		if (signal_pending(current))
			return -EINTR;
		if (memview_charge_owed())
			memview_charge_pay();
		err = memview_populate_source_step(p);
		/* An invalidation collided with the snapshot. */
		if (err == -EBUSY)
			err = 0;
		cond_resched();
	}
	return err;
}

/* How a peer would fault a page of the view: FAULT_FLAG_WRITE, 0, or -ENOENT */
static int memview_populate_access(struct memview *view, pgoff_t page,
				   vm_flags_t vm_flags)
{
	struct memview_range *range;
	int ret = -ENOENT;

	spin_lock(&view->lock);
	range = memview_table_find(view, page);
	if (range) {
		ret = 0;
		if (memview_range_eager(range) && (vm_flags & VM_WRITE))
			ret = FAULT_FLAG_WRITE;
	}
	spin_unlock(&view->lock);
	return ret;
}

/**
 * struct memview_populate_at - position of a walk through an address space
 * @view: the view
 * @first: first page of the view to populate
 * @last: last page of the view to populate
 * @addr: next address
 * @tries: faults of @addr that would have had to wait
 */
struct memview_populate_at {
	struct memview *view;
	pgoff_t first;
	pgoff_t last;
	unsigned long addr;
	unsigned int tries;
};

/* First address from @at->addr on at which @vma maps the span, or the end of @vma. */
static unsigned long memview_populate_addr(struct memview_populate_at *at,
					   struct vm_area_struct *vma)
{
	unsigned long addr = max(at->addr, vma->vm_start);
	pgoff_t page;

	if (!vma->vm_file || !memview_is_view_file(vma->vm_file) ||
	    memview_of_file(vma->vm_file) != at->view || !(vma->vm_flags & VM_READ))
		return vma->vm_end;
	page = memview_vma_page(vma, addr);
	if (page > at->last)
		return vma->vm_end;
	if (page >= at->first)
		return addr;
	if (at->first - page >= (vma->vm_end - addr) >> PAGE_SHIFT)
		return vma->vm_end;
	return addr + ((at->first - page) << PAGE_SHIFT);
}

/* Results of memview_populate_peer_step(). */
enum memview_populate_step {
	MEMVIEW_POPULATE_DONE,		/* nothing is left */
	MEMVIEW_POPULATE_MORE,
	MEMVIEW_POPULATE_MISSING,	/* a page needs the source to be faulted */
};

/*
 * Populates the next pages of an address space, whose mmap_lock is held. Does not
 * wait, nor for memory above memory.high: it stops when some is owed, for the core
 * throttles in place when a little more is. A page that cannot be populated is left
 * to the peer. @page: written: the missing page
 */
static enum memview_populate_step
memview_populate_peer_step(struct mm_struct *mm, struct memview_populate_at *at,
			   pgoff_t *page)
{
	struct vm_area_struct *vma;
	vm_fault_t ret;
	int access, i;

	for (i = 0; i < MEMVIEW_POPULATE_STEP && !memview_charge_owed(); i++) {
		vma = find_vma(mm, at->addr);
		if (!vma)
			return MEMVIEW_POPULATE_DONE;
		at->addr = memview_populate_addr(at, vma);
		if (at->addr == vma->vm_end)
			continue;
		*page = memview_vma_page(vma, at->addr);
		access = memview_populate_access(at->view, *page,
						 vma->vm_flags);
		if (access >= 0) {
			ret = handle_mm_fault(vma, at->addr,
					      FAULT_FLAG_REMOTE |
					      FAULT_FLAG_ALLOW_RETRY |
					      FAULT_FLAG_RETRY_NOWAIT | access,
					      NULL);
			if ((ret & VM_FAULT_RETRY) &&
			    ++at->tries < MEMVIEW_POPULATE_TRIES)
				return MEMVIEW_POPULATE_MISSING;
		}
		at->addr += PAGE_SIZE;
		at->tries = 0;
	}
	return MEMVIEW_POPULATE_MORE;
}

/*
 * A peer can hold its mmap_lock for ever, so we only try it; and its exit must not
 * wait for the source, so we wait for the source only with its mm not in use.
 */
static void memview_populate_peer(struct mm_struct *mm,
				  struct memview_populate_at *at)
{
	enum memview_populate_step step = MEMVIEW_POPULATE_MORE;
	struct memview_populate missing = { .view = at->view };
	unsigned int waits = 0;
	bool locked;

	while (step != MEMVIEW_POPULATE_DONE && !signal_pending(current)) {
		if (memview_charge_owed())
			memview_charge_pay();
		if (!mmget_not_zero(mm))
			break;
		locked = mmap_read_trylock(mm);
		if (locked) {
			step = memview_populate_peer_step(mm, at,
							  &missing.next);
			mmap_read_unlock(mm);
		}
		mmput_async(mm);
		if (!locked) {
			if (++waits > MEMVIEW_POPULATE_WAITS)
				break;
			schedule_timeout_interruptible(1);
		} else if (step == MEMVIEW_POPULATE_MISSING) {
			missing.last = missing.next;
			missing.tried = false;
			missing.read = false;
			memview_populate_source(&missing, missing.last);
			/* The source was not the reason: the page needs time. */
			if (at->tries > 1)
				schedule_timeout_interruptible(1);
		}
		cond_resched();
	}
}

static void memview_populate_peers(struct memview *view, pgoff_t first,
				   pgoff_t last)
{
	struct mm_struct *mm = NULL;

	while (!signal_pending(current) &&
	       (mm = memview_peer_next(view, mm))) {
		struct memview_populate_at at = {
			.view	= view,
			.first	= first,
			.last	= last,
		};

		memview_populate_peer(mm, &at);
		mmdrop(mm);
	}
}

/**
 * memview_populate - fault pages in advance, in the source and in peers
 * @view: the view
 * @first: first page of the span
 * @last: last page of the span
 * @flags: MEMVIEW_POPULATE_*
 * @nr: written, also on failure: pages, from @first on, populated in the source
 *
 * Context: no lock is held. Waits; any signal ends a wait, where the wait allows that.
 * Return: 0, or the errnos of MEMVIEW_POPULATE
 */
int memview_populate(struct memview *view, pgoff_t first, pgoff_t last,
		     u32 flags, u64 *nr)
{
	struct memview_populate p = {
		.view	= view,
		.last	= last,
		.flags	= flags,
		.next	= first,
	};
	int err = 0;

	while (!err && p.next <= last) {
		pgoff_t from = p.next;

		err = memview_populate_source(&p, min(last - from,
						      MEMVIEW_POPULATE_CHUNK - 1UL) +
						  from);
		if ((flags & MEMVIEW_POPULATE_PEERS) && p.next > from)
			memview_populate_peers(view, from, p.next - 1);
	}
	*nr = p.next - first;
	return err;
}
