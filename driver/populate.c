// SPDX-License-Identifier: GPL-2.0
/*
 * Populating: what the first accesses of peers would do, in advance.
 *
 * First the source, as if the controller touched its pages. Then the page tables
 * of those who have the view mapped, by handle_mm_fault() on their mappings: an
 * entry comes from fault.c or not at all, so all that is checked and re-validated
 * there is (R2, R6).
 *
 * A populate is no table operation. It holds no lock of ours when it faults, so
 * an unmap or a revoke never waits for it, and it looks the table up anew for
 * each few pages. It ends with any signal.
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

/* Pages that the source, then the peers get in their turn. */
#define MEMVIEW_POPULATE_CHUNK	(SZ_64M >> PAGE_SHIFT)

/* Pages of the source that one snapshot shows: what a read fault maps around. */
#define MEMVIEW_POPULATE_WINDOW	16

/* Pages or mappings of a peer that are gone through with its lock held. */
#define MEMVIEW_POPULATE_STEP	64

/* Times that a peer's mmap_lock may not be to be had; then it is left alone. */
#define MEMVIEW_POPULATE_WAITS	32

/*
 * Times that a page of a peer may need the source again, or what else cannot wait
 * in its lock (see memview_mapping_register_later()); then the next page.
 */
#define MEMVIEW_POPULATE_TRIES	16

/* Waits can be ended by a signal, where what they wait for allows that. */
#define MEMVIEW_POPULATE_FAULT	(FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY | \
				 FAULT_FLAG_KILLABLE | FAULT_FLAG_INTERRUPTIBLE)

/**
 * struct memview_populate - a populate on its way
 * @view: the view
 * @last: last page of the view to populate
 * @flags: MEMVIEW_POPULATE_*
 * @next: page of the view that comes next: those before it are in the source
 * @tried: its fault has waited and is to be tried again
 * @read: it has been faulted for read
 * @source: what it maps; held
 * @piece_last: last page of its range, not beyond @last
 * @addr: where the source has it
 * @write: fault it for write
 * @pfns: snapshot of the source from there on, as hmm_range_fault() has it
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

/* With 0, a reference of the source is to be dropped. */
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
	 * Whose pages are to be faulted says the range that was found: the view
	 * may have got its controller since we were called.
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
	/* Only a hint, nothing is inserted by it. */
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
 * The pages from @p->next on, @nr of them, all in @vma. Each is faulted at most
 * once for read and once for write, whatever reclaim makes of it then.
 *
 * Context: the controller's mmap_lock is held; with @locked false it no longer
 * is, and the page that is next then has to be looked up again.
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
		/* More may be there now, mapped around it. */
		goto again;
	}
	return 0;
}

/* The next pages of the source. */
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
		/* Made read-only behind our back: so it is to the peers. */
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

/* The source up to page @last. */
static int memview_populate_source(struct memview_populate *p, pgoff_t last)
{
	int err = 0;

	while (!err && p->next <= last) {
		if (signal_pending(current))
			return -EINTR;
		if (memview_charge_owed())
			memview_charge_pay();
		err = memview_populate_source_step(p);
		/* An invalidation came in between. */
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
 * struct memview_populate_at - where a walk through an address space has got to
 * @view: the view
 * @first: first page of the view to populate
 * @last: last page of the view to populate
 * @addr: address that comes next
 * @tries: times that it could not be had without waiting
 */
struct memview_populate_at {
	struct memview *view;
	pgoff_t first;
	pgoff_t last;
	unsigned long addr;
	unsigned int tries;
};

/* From @at->addr on, where @vma has a page of the span, or the end of @vma. */
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

/* What a step in a peer ends with. */
enum memview_populate_step {
	MEMVIEW_POPULATE_DONE,		/* nothing is left */
	MEMVIEW_POPULATE_MORE,
	MEMVIEW_POPULATE_MISSING,	/* a page needs the source to be faulted */
};

/*
 * The next pages of an address space, whose mmap_lock is held. Does not wait, not
 * for memory above memory.high either, which the core makes us do where a little
 * more is owed. What cannot be had at all is left to the peer. @page: written,
 * which is missing
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
 * A peer can hold its lock for ever, so we do not wait for that; and its exit
 * must not wait for the source, so nor do we for that while its mm is in use.
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
			/* That was not it: it needs time. */
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
 * memview_populate - do in advance what peers' accesses would do
 * @view: the view
 * @first: first page of the span
 * @last: last page of the span
 * @flags: MEMVIEW_POPULATE_*
 * @nr: written, also on failure: pages, from @first on, that the source has
 *
 * Context: no lock is held. Waits, with an end by any signal where what it waits
 * for allows that.
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
