// SPDX-License-Identifier: GPL-2.0
/*
 * A peer's page fault.
 *
 *   1. look up the range, under RCU
 *   2. snapshot a window of the source around the page; where the page itself is
 *      missing or lacks W, fault it in the source first
 *   3. under the lock of the page table, re-validate and insert (R2)
 *
 * The controller's mmap_lock is only tried while the peer's is held: two
 * processes that view each other would deadlock. When the trylock fails, or the
 * source's fault has to wait, the peer's lock is dropped first, and the fault is
 * retried.
 */

#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/userfaultfd_k.h>
#include <asm/pgalloc.h>
#include <asm/trap_pf.h>
#include <asm/trapnr.h>

#include "attachment.h"
#include "controller.h"
#include "fault.h"
#include "memview.h"
#include "mm.h"
#include "peers.h"
#include "source.h"
#include "table.h"
#include "update.h"
#include "view.h"
#include "view_file.h"
#define CREATE_TRACE_POINTS
#include "trace.h"

/* Collisions with invalidations before the fault returns and is raised again. */
#define MEMVIEW_FAULT_TRIES	16

static struct kmem_cache *memview_fault_cache;

/* init_on_alloc does not zero objects with a constructor for each fault. */
static void memview_fault_ctor(void *object)
{
	memset(object, 0, sizeof(struct memview_fault));
}

int __init memview_fault_init(void)
{
	memview_fault_cache = kmem_cache_create("memview_fault",
						sizeof(struct memview_fault), 0,
						0, memview_fault_ctor);
	return memview_fault_cache ? 0 : -ENOMEM;
}

void memview_fault_exit(void)
{
	kmem_cache_destroy(memview_fault_cache);
}

/*
 * The right is missing: SIGSEGV with SEGV_ACCERR. VM_FAULT_SIGSEGV makes it
 * SEGV_MAPERR, and is right where there is no user mode to signal (system
 * calls, KVM), and where the signal must be forced.
 */
static vm_fault_t memview_fault_deny(struct memview_fault *fault)
{
	struct vm_fault *vmf = fault->vmf;
	/* Our own cannot go away; a race with sigaction(2) is harmless. */
	struct sighand_struct *sighand =
		rcu_dereference_protected(current->sighand, true);
	struct kernel_siginfo info;

	if (!(vmf->flags & FAULT_FLAG_USER) ||
	    sigismember(&current->blocked, SIGSEGV) ||
	    sighand->action[SIGSEGV - 1].sa.sa_handler == SIG_IGN ||
	    (current->signal->flags & SIGNAL_UNKILLABLE))
		return VM_FAULT_SIGSEGV;

#ifdef CONFIG_X86
	/* The signal handler finds these in its ucontext. */
	current->thread.trap_nr = X86_TRAP_PF;
	current->thread.cr2 = vmf->real_address;
	current->thread.error_code = X86_PF_PROT | X86_PF_USER |
		(vmf->flags & FAULT_FLAG_WRITE ? X86_PF_WRITE : 0) |
		(vmf->flags & FAULT_FLAG_INSTRUCTION ? X86_PF_INSTR : 0);
#endif
	clear_siginfo(&info);
	info.si_signo = SIGSEGV;
	info.si_code = SEGV_ACCERR;
	info.si_addr = (void __user *)vmf->real_address;
	send_sig_info(SIGSEGV, &info, current);
	return VM_FAULT_NOPAGE;
}

/* Copies the fields of a range that a fault needs. */
static void memview_fault_copy(struct memview_fault *fault,
			       const struct memview_range *range)
{
	unsigned long file = READ_ONCE(range->file);

	fault->first = READ_ONCE(range->first);
	fault->last = READ_ONCE(range->last);
	fault->file_first = file / MEMVIEW_RANGE_PAGE;
	fault->flags = file & MEMVIEW_RANGE_FLAGS;
}

/*
 * Finds the range without memview.lock, which all peers share. With table_seq even
 * and unchanged, a range that was found is as valid as under the lock; every other
 * case is left to memview_fault_find_locked().
 */
static bool memview_fault_find(struct memview_fault *fault)
{
	struct memview *view = fault->view;
	struct memview_attachment *attachment;
	struct memview_range *range;
	unsigned int seq;
	bool found = false;

	rcu_read_lock();
	seq = raw_read_seqcount(&view->table_seq);
	fault->gen = READ_ONCE(view->gen);
	range = memview_table_find(view, fault->vmf->pgoff);
	if (range && !(seq & 1) && !memview_changes(view, fault->vmf->pgoff)) {
		memview_fault_copy(fault, range);
		attachment = READ_ONCE(range->attachment);
		/* With the sequence unchanged it is an attachment; RCU keeps it. */
		if (!read_seqcount_retry(&view->table_seq, seq) &&
		    kref_get_unless_zero(&attachment->source->ref)) {
			fault->source = attachment->source;
			found = true;
		}
	}
	rcu_read_unlock();
	return found;
}

static vm_fault_t memview_fault_find_locked(struct memview_fault *fault)
{
	struct memview *view = fault->view;
	struct memview_range *range;
	vm_fault_t ret = 0;

	spin_lock(&view->lock);
	fault->gen = view->gen;
	range = memview_table_find(view, fault->vmf->pgoff);
	if (memview_changes(view, fault->vmf->pgoff)) {
		ret = MEMVIEW_FAULT_CHANGES;
	} else if (range) {
		memview_fault_copy(fault, range);
		fault->source = range->attachment->source;
		kref_get(&fault->source->ref);
	} else {
		ret = VM_FAULT_SIGBUS;
	}
	spin_unlock(&view->lock);
	return ret;
}

/* Finds the range, takes a reference of its source, checks the rights. */
static vm_fault_t memview_fault_lookup(struct memview_fault *fault)
{
	struct vm_fault *vmf = fault->vmf;
	vm_flags_t vm_flags = vmf->vma->vm_flags;
	vm_fault_t ret;

	if (!memview_fault_find(fault)) {
		ret = memview_fault_find_locked(fault);
		if (ret)
			return ret;
	}

	/* The architecture has checked the rights of the mapping itself. */
	if ((fault->write && !(fault->flags & MEMVIEW_MAP_WRITE)) ||
	    ((vmf->flags & FAULT_FLAG_INSTRUCTION) &&
	     !(fault->flags & MEMVIEW_MAP_EXEC)))
		return memview_fault_deny(fault);

	fault->vm_rights = vm_flags & VM_READ;
	if ((vm_flags & VM_WRITE) && (fault->flags & MEMVIEW_MAP_WRITE))
		fault->vm_rights |= VM_WRITE;
	if ((vm_flags & VM_EXEC) && (fault->flags & MEMVIEW_MAP_EXEC))
		fault->vm_rights |= VM_EXEC;
	fault->need_write = fault->write ||
			    (!fault->no_write &&
			     (fault->vm_rights & VM_WRITE) &&
			     !(fault->flags & MEMVIEW_MAP_LAZY_WRITE));
	return 0;
}

/*
 * The window in the source. No invalidation may be running in it when the snapshot
 * begins: the snapshot would take pages that are about to be invalidated.
 */
static void memview_fault_span(const struct memview_fault *fault,
			       unsigned long source_addr,
			       unsigned long *start, unsigned long *end)
{
	unsigned long size = PAGE_SIZE << fault->huge;

	*start = (source_addr & -size) - fault->index * size;
	*end = *start + fault->nr * size;
}

#ifdef CONFIG_NUMA_BALANCING
/* Has NUMA balancing been through the address space? */
static bool memview_fault_scanned(const struct mm_struct *mm)
{
	return READ_ONCE(mm->numa_scan_seq) || READ_ONCE(mm->numa_scan_offset);
}

#else
static bool memview_fault_scanned(const struct mm_struct *mm)
{
	return false;
}

#endif

/*
 * NUMA balancing makes entries of the source PROT_NONE, to see which task touches the
 * page. Only for such an entry hmm_range_fault() returns a page without HMM_PFN_VALID:
 * an empty or swapped-out entry has no page, and a VMA that may not be read has
 * HMM_PFN_ERROR. The source's fault, do_numa_page(), would restore the rights that
 * the VMA gives to new entries, or more, but for one page at a time. So the neighbours
 * in the window get these rights at once. The page that faulted takes the source's
 * fault, which is the hint that NUMA balancing waits for.
 */
static void memview_fault_take_hints(struct memview_fault *fault,
				     struct vm_area_struct *source_vma,
				     unsigned int nr)
{
	unsigned long rights = HMM_PFN_VALID;
	unsigned int i;

	if (likely(!memview_fault_scanned(source_vma->vm_mm)) || fault->huge ||
	    is_vm_hugetlb_page(source_vma) || userfaultfd_armed(source_vma))
		return;
	if (pte_write(__pte(pgprot_val(source_vma->vm_page_prot))))
		rights |= HMM_PFN_WRITE;
	for (i = 0; i < nr; i++)
		if (i != fault->index && fault->pfns[i] &&
		    !(fault->pfns[i] & HMM_PFN_FLAGS))
			fault->pfns[i] |= rights;
}

/* Takes a snapshot of the first @nr pages of the window. */
static vm_fault_t memview_fault_snapshot(struct memview_fault *fault,
					 struct vm_area_struct *source_vma,
					 unsigned long source_addr,
					 unsigned int nr)
{
	struct memview_source *source = fault->source;
	struct hmm_range range = {
		.notifier = &MEMVIEW_NO_NOTIFIER(source->controller->mm),
		.start = source_addr - (fault->index << PAGE_SHIFT),
		.hmm_pfns = fault->pfns,
	};
	unsigned long start, end;

	range.end = range.start + ((unsigned long)nr << PAGE_SHIFT);
	if (fault->huge) {
		/* memview_huge_around() adds the other blocks. */
		range.start = source_addr;
		range.end = source_addr + PAGE_SIZE;
		range.hmm_pfns += fault->index;
	}
	memset_l(fault->pfns, 0, nr);
	memview_fault_span(fault, source_addr, &start, &end);
	if (memview_mm_running(source->controller->space, start, end,
			       &source->seq, &fault->seq) &&
	    !MEMVIEW_BROKEN_running)
		return MEMVIEW_FAULT_RUNNING;

	switch (hmm_range_fault(&range)) {
	case 0:
		memview_fault_take_hints(fault, source_vma, nr);
		return 0;
	case -EBUSY:
		return MEMVIEW_FAULT_AGAIN;
	default:
		return VM_FAULT_SIGBUS;
	}
}

static bool memview_fault_has(struct memview_fault *fault, unsigned long flags)
{
	unsigned long pfn = fault->pfns[fault->index];

	return !(pfn & HMM_PFN_ERROR) && (pfn & flags) == flags;
}

/*
 * There can be no huge entry: goes on by pages where the core would call .fault next,
 * to save taking its locks twice. But the core first drops an entry without W, and
 * after a PUD entry it asks for a PMD entry.
 */
static bool memview_fault_by_pages(struct memview_fault *fault)
{
	if (fault->huge == MEMVIEW_PUD_ORDER ||
	    !pmd_none(READ_ONCE(*fault->vmf->pmd)))
		return false;
	fault->huge = 0;
	return true;
}

/*
 * Gets a snapshot in which the page that faulted is valid, with W if needed.
 *
 * The source is faulted for read first: a read fault maps the pages around as
 * well, a write fault one page. Then for write, if the entry lacks W and W is needed.
 *
 * The grown part of a window is looked at only when the page itself is there: the
 * pages ahead of a missing page are likely to be missing, too.
 *
 * Context: both mmap_locks are held; @mm is the controller's.
 */
static vm_fault_t memview_fault_resolve(struct memview_fault *fault,
					struct mm_struct *mm)
{
	unsigned long source_addr = memview_fault_source_addr(fault);
	struct vm_area_struct *source_vma;
	bool write = false, asked = false;
	unsigned int nr;
	vm_fault_t ret;

	source_vma = memview_source_vma(fault->source, mm, source_addr);
	if (!source_vma || !(source_vma->vm_flags & VM_READ))
		return VM_FAULT_SIGBUS;
	if (!(source_vma->vm_flags & VM_WRITE)) {
		/* Made read-only by the controller behind our back. */
		if (fault->write)
			return VM_FAULT_SIGBUS;
		fault->need_write = false;
	}
	if (fault->huge &&
	    !memview_huge_source(fault, source_vma, source_addr) &&
	    !memview_fault_by_pages(fault))
		return VM_FAULT_FALLBACK;
	if (!fault->huge)
		memview_fault_window(fault, source_vma, source_addr);

	/* Of a window that has grown, look only up to the page first. */
	nr = fault->nr > fault->base ? fault->index + 1 : fault->nr;
	for (;;) {
		ret = memview_fault_snapshot(fault, source_vma, source_addr, nr);
		if (ret)
			return ret;
		if (memview_fault_has(fault, HMM_PFN_VALID)) {
			if (!fault->need_write ||
			    memview_fault_has(fault, HMM_PFN_WRITE)) {
				if (fault->huge) {
					if (memview_huge_around(fault,
								source_addr))
						return 0;
					if (!memview_fault_by_pages(fault))
						return VM_FAULT_FALLBACK;
					memview_fault_window(fault, source_vma,
							     source_addr);
				} else if (nr == fault->nr) {
					return 0;
				}
				nr = fault->nr;
				continue;
			}
			if (write)
				return MEMVIEW_FAULT_AGAIN;
			write = true;
		} else if (asked) {
			/*
			 * The page was there and has gone, or it never came:
			 * faults on a userfaultfd that is being closed return
			 * at once, until the close has got this mmap_lock.
			 */
			return MEMVIEW_FAULT_AGAIN;
		} else if (memview_fault_denied(fault, source_vma,
						source_addr)) {
			return VM_FAULT_SIGBUS;
		}
		ret = memview_fault_source_now(fault, source_vma, source_addr,
					       write);
		asked = true;
		if (!ret) {
			nr = fault->nr;
			continue;
		}
		if ((ret & VM_FAULT_ERROR) && write && !fault->write) {
			/* The access only reads: a full disk must not fail it. */
			fault->no_write = true;
			fault->need_write = false;
			write = false;
			continue;
		}
		return ret;
	}
}

/* Is the range still in the table as it was found, whatever else has changed? */
static bool memview_fault_range_stands(struct memview_fault *fault)
{
	struct memview *view = fault->view;
	struct memview_range *range;
	bool stands = false;
	unsigned int seq;

	rcu_read_lock();
	seq = raw_read_seqcount(&view->table_seq);
	range = memview_table_find(view, fault->vmf->pgoff);
	if (range && !(seq & 1)) {
		unsigned long file = READ_ONCE(range->file);
		struct memview_attachment *attachment =
			READ_ONCE(range->attachment);

		stands = READ_ONCE(range->first) == fault->first &&
			 READ_ONCE(range->last) == fault->last &&
			 file / MEMVIEW_RANGE_PAGE == fault->file_first &&
			 (file & MEMVIEW_RANGE_FLAGS) == fault->flags &&
			 !read_seqcount_retry(&view->table_seq, seq) &&
			 attachment->source == fault->source;
	}
	rcu_read_unlock();
	return stands;
}

/*
 * Re-validate snapshot and range (R2). With true, a later change zaps the entries
 * that are inserted before the lock is dropped.
 *
 * Context: the lock of the page table that the fault is in, after a full barrier; or
 * memview.lock.
 */
bool memview_fault_valid(struct memview_fault *fault)
{
	if (MEMVIEW_BROKEN_no_revalidate)
		return true;
	if (fault->mapping && !READ_ONCE(fault->mapping->tracked))
		return false;
	if (READ_ONCE(fault->source->seq) != fault->seq)
		return false;
	/*
	 * Dead since before the snapshot, after memview_source_vma(): later
	 * invalidations would not zap an entry that we insert now.
	 */
	if (READ_ONCE(fault->source->state) != MEMVIEW_SOURCE_LIVE)
		return false;
	return READ_ONCE(fault->view->gen) == fault->gen ||
	       memview_fault_range_stands(fault);
}

/**
 * memview_fault_commit - re-validate, then call fault->commit, under memview.lock
 * @fault: with fault->commit
 *
 * For huge entries and debuggers' accesses. A change of the source or the range takes
 * the lock, too, after it has been published and before its zap. So the zap sees our
 * huge entry; it looks without a lock, and would not come back to an empty one. And
 * a debugger's access is over when the call that takes the right away returns.
 */
vm_fault_t memview_fault_commit(struct memview_fault *fault)
{
	struct memview *view = fault->view;
	vm_fault_t ret = MEMVIEW_FAULT_AGAIN;

	spin_lock(&view->lock);
	if (memview_fault_valid(fault))
		ret = fault->commit(fault);
	spin_unlock(&view->lock);
	return ret;
}

static bool memview_pmd_is_table(pmd_t pmd)
{
	return !pmd_none(pmd) && !pmd_leaf(pmd);
}

/*
 * Makes sure that there is a page table. A page table and a huge entry are both made
 * under the core's PMD lock, and only where neither is. No lock is held while a page
 * table is allocated; mapping->tables keeps memview_huge_set() away meanwhile.
 *
 * Return: 0, VM_FAULT_NOPAGE where there is a huge entry now, VM_FAULT_OOM
 */
vm_fault_t memview_fault_table(struct memview_fault *fault)
{
	struct mm_struct *mm = fault->vmf->vma->vm_mm;
	struct vm_fault *vmf = fault->vmf;
	bool alloc = false;
	spinlock_t *ptl;	/* of the PMD */
	int err = 0;

	if (memview_pmd_is_table(READ_ONCE(*vmf->pmd)))
		return 0;

	ptl = pmd_lock(mm, vmf->pmd);
	if (pmd_none(*vmf->pmd)) {
		if (vmf->prealloc_pte) {
			mm_inc_nr_ptes(mm);
			/* As in pmd_install(): its content before its address. */
			smp_wmb();
			pmd_populate(mm, vmf->pmd, vmf->prealloc_pte);
			vmf->prealloc_pte = NULL;
		} else {
			atomic_inc(&fault->mapping->tables);
			alloc = true;
		}
	}
	spin_unlock(ptl);
	if (alloc) {
		err = apply_to_page_range(mm, fault->addr, PAGE_SIZE, NULL, NULL);
		atomic_dec(&fault->mapping->tables);
	}
	if (err)
		return VM_FAULT_OOM;
	return memview_pmd_is_table(READ_ONCE(*vmf->pmd)) ? 0 : VM_FAULT_NOPAGE;
}

/* Prepares the insertion, which may sleep for a page table, and inserts. */
static vm_fault_t memview_fault_install(struct memview_fault *fault)
{
	vm_fault_t ret;

	memview_fault_set_prots(fault);
	/* Allocate the page table here, where that may reclaim. */
	ret = memview_fault_table(fault);
	return ret ?: memview_fault_insert(fault);
}

/*
 * Drops the peer's lock. The mapping no longer keeps view and module then, so the
 * file is held until we have returned.
 */
static void memview_fault_drop(struct memview_fault *fault)
{
	struct vm_fault *vmf = fault->vmf;

	fault->pinned = get_file(vmf->vma->vm_file);
	if (vmf->flags & FAULT_FLAG_VMA_LOCK)
		vma_end_read(vmf->vma);
	else
		mmap_read_unlock(vmf->vma->vm_mm);
}

static loff_t memview_fault_file_size(const struct memview_fault *fault)
{
	return i_size_read(file_inode(fault->source->vm_file));
}

/* Raise the fault again, without dropping the lock; but not past a SIGKILL. */
static vm_fault_t memview_fault_spin(void)
{
	return fatal_signal_pending(current) || (current->flags & PF_EXITING) ?
	       VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}

/*
 * Drops the peer's lock, for a wait. The VMA may be gone then: nothing of @vmf is
 * touched any more.
 *
 * Return: 0; or the fault's result, where it cannot wait
 */
static vm_fault_t memview_fault_unlock(struct memview_fault *fault)
{
	struct vm_fault *vmf = fault->vmf;

	/* The core retries with the mmap_lock, and that fault can wait. */
	if (vmf->flags & FAULT_FLAG_VMA_LOCK) {
		memview_fault_drop(fault);
		return VM_FAULT_RETRY;
	}
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY))
		return memview_fault_spin();
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;

	memview_fault_drop(fault);
	return 0;
}

/* Waits for a table operation that is changing the page; then the fault is retried. */
static vm_fault_t memview_fault_wait_change(struct memview_fault *fault)
{
	/* The core would retry others in kernel mode, with the signal still pending. */
	const unsigned int ends = FAULT_FLAG_USER | FAULT_FLAG_INTERRUPTIBLE;
	bool interruptible = (fault->vmf->flags & ends) == ends;
	vm_fault_t ret = memview_fault_unlock(fault);

	if (ret)
		return ret;
	memview_update_wait(fault->view, interruptible);
	return VM_FAULT_RETRY;
}

/*
 * Waits for an invalidation of the source. Any task of the controller can keep one
 * running, so no lock is held and no address space in use meanwhile.
 */
static vm_fault_t memview_fault_wait_running(struct memview_fault *fault)
{
	unsigned long source_addr = memview_fault_source_addr(fault);
	unsigned long start, end;
	vm_fault_t ret;

	memview_fault_span(fault, source_addr, &start, &end);
	ret = memview_fault_unlock(fault);
	if (ret)
		return ret;
	memview_mm_running_wait(fault->source->controller->space, start, end);
	return VM_FAULT_RETRY;
}

/*
 * Faults the page in the source, and waits for that.
 *
 * After a wait that dropped the lock, the source is faulted once more: only then do
 * file systems return the result. Not so where a userfaultfd would be waited for
 * again, or the table has changed: the peer's fault is retried, and may not need the
 * page any more.
 *
 * Context: no lock is held. Can be killed, and with FAULT_FLAG_INTERRUPTIBLE in
 * @flags be ended by any signal, where the wait in the source allows that.
 * Return: VM_FAULT_ERROR, or 0
 */
static vm_fault_t memview_fault_source_wait(struct memview_fault *fault,
					    struct mm_struct *mm,
					    unsigned long source_addr,
					    unsigned int flags)
{
	unsigned int state = flags & FAULT_FLAG_INTERRUPTIBLE ?
			     TASK_INTERRUPTIBLE : TASK_KILLABLE;
	struct vm_area_struct *source_vma;
	bool room = false;
	vm_fault_t ret;

	flags |= FAULT_FLAG_KILLABLE;
again:
	if (mmap_read_lock_killable(mm))
		return 0;
	source_vma = memview_source_vma(fault->source, mm, source_addr);
	if (!source_vma || !(source_vma->vm_flags & VM_READ) ||
	    ((flags & FAULT_FLAG_TRIED) && userfaultfd_armed(source_vma))) {
		mmap_read_unlock(mm);
		return 0;
	}
	if (memview_fault_denied(fault, source_vma, source_addr)) {
		mmap_read_unlock(mm);
		return VM_FAULT_SIGBUS;
	}
	if (!room && memview_fault_hole(source_vma, source_addr)) {
		mmap_read_unlock(mm);
		memview_charge_room(mm, memview_fault_debt(fault, mm));
		room = true;
		goto again;
	}
	if (fault->need_write && (source_vma->vm_flags & VM_WRITE))
		flags |= FAULT_FLAG_WRITE;
	ret = memview_fault_source(fault, source_vma, source_addr, flags);
	if (!(ret & (VM_FAULT_RETRY | VM_FAULT_COMPLETED)))
		mmap_read_unlock(mm);
	if ((ret & VM_FAULT_RETRY) && !(ret & VM_FAULT_ERROR) &&
	    !(flags & FAULT_FLAG_TRIED) &&
	    !signal_pending_state(state, current) &&
	    READ_ONCE(fault->view->gen) == fault->gen) {
		flags |= FAULT_FLAG_TRIED;
		goto again;
	}
	return ret & VM_FAULT_ERROR;
}

/*
 * With MEMVIEW_MAP_NO_ALLOC on a file system with a disk: would the fault allocate a
 * block? It may if the page is not in memory, or needs W.
 */
static bool memview_fault_wants_block(const struct memview_fault *fault)
{
	struct address_space *mapping = fault->source->vm_file->f_mapping;
	pgoff_t page = fault->file_first + (fault->vmf->pgoff - fault->first);
	void *entry;

	if (!(fault->flags & MEMVIEW_RANGE_NO_ALLOC) ||
	    shmem_mapping(mapping) ||
	    memview_file_is_hugetlb(fault->source->vm_file))
		return false;
	entry = xa_load(&mapping->i_pages, page);
	return fault->need_write || !entry || xa_is_value(entry);
}

/*
 * Waits for the controller's mmap_lock, or for the source's fault (I/O, a
 * userfaultfd handler), without the peer's lock; then the fault is retried.
 * The VMA may be gone by then: nothing of @vmf is touched after the unlock.
 *
 * One handle_mm_fault(), and not fixup_user_fault(), which looks up the VMA
 * again when it has waited: a view that the controller has put there meanwhile
 * would make this recurse.
 */
static vm_fault_t memview_fault_wait(struct memview_fault *fault,
				     struct mm_struct *mm)
{
	struct vm_fault *vmf = fault->vmf;
	unsigned long source_addr = memview_fault_source_addr(fault);
	unsigned int flags = vmf->flags & FAULT_FLAG_INTERRUPTIBLE;
	pgoff_t pgoff = vmf->pgoff;
	pgoff_t file_page = fault->file_first + (pgoff - fault->first);
	vm_fault_t ret;

	/* The core throttles on the way to user mode, where no lock is held. */
	if ((vmf->flags & FAULT_FLAG_USER) && memview_charge_owed())
		return VM_FAULT_NOPAGE;
	ret = memview_fault_unlock(fault);
	if (ret)
		return ret;
	if (MEMVIEW_BROKEN_hold)
		mutex_lock(&fault->view->ops_lock);
	if (memview_fault_wants_block(fault) &&
	    !memview_fault_on_disk(fault, file_page))
		ret = VM_FAULT_SIGBUS;
	else
		ret = memview_fault_source_wait(fault, mm, source_addr, flags);
	if (MEMVIEW_BROKEN_hold)
		mutex_unlock(&fault->view->ops_lock);
	if (ret && fault->need_write && !fault->write) {
		fault->no_write = true;
		ret = 0;
	}
	if (ret || fault->no_write) {
		const struct memview_note note = {
			.error		= ret,
			.no_write	= fault->no_write,
			.file_size	= memview_fault_file_size(fault),
		};

		memview_note_set(fault->view, pgoff, fault->write, fault->gen,
				 &note);
	}
	return VM_FAULT_RETRY;
}

/* One try. The caller has @mm, the controller's, in use (mmget). */
static vm_fault_t memview_fault_try(struct memview_fault *fault,
				    struct mm_struct *mm)
{
	/* Held already in the controller's own fault, if not under a VMA lock. */
	bool locked = fault->vmf->vma->vm_mm == mm &&
		      !(fault->vmf->flags & FAULT_FLAG_VMA_LOCK);
	vm_fault_t ret;

	if (!locked && !mmap_read_trylock(mm))
		return memview_fault_wait(fault, mm);
	ret = memview_fault_resolve(fault, mm);
	if (!locked)
		mmap_read_unlock(mm);
	if (ret & VM_FAULT_RETRY)
		return memview_fault_wait(fault, mm);
	if (ret)
		return ret;
	if (fault->huge)
		return memview_huge_install(fault);
	return fault->buf ? memview_fault_commit(fault) :
			    memview_fault_install(fault);
}

/* Makes sure that zaps find the mapping. */
static vm_fault_t memview_fault_track(struct memview_fault *fault)
{
	struct vm_fault *vmf = fault->vmf;
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	unsigned long addr = vmf->address;
	int err;

	fault->mapping = READ_ONCE(vma->vm_private_data);
	if (likely(fault->mapping && READ_ONCE(fault->mapping->tracked)))
		return 0;
	/* See peers.c: only under the mmap_lock. */
	if (vmf->flags & FAULT_FLAG_VMA_LOCK) {
		memview_fault_drop(fault);
		return VM_FAULT_RETRY;
	}
	err = memview_mapping_track(fault->view, vma);
	fault->mapping = READ_ONCE(vma->vm_private_data);
	if (err != -ENXIO)
		return err ? VM_FAULT_OOM : 0;

	if ((vmf->flags & FAULT_FLAG_ALLOW_RETRY) &&
	    !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT)) {
		memview_fault_drop(fault);
		/* In kernel mode the signal would still be pending at the retry. */
		if (memview_mapping_register(mm, addr, fault->pinned) ==
		    -ERESTARTNOINTR && !fatal_signal_pending(current)) {
			memview_mapping_register_later(mm, addr, fault->pinned);
			schedule_timeout_killable(1);
		}
		return VM_FAULT_RETRY;
	}
	memview_mapping_register_later(mm, addr, vma->vm_file);
	if (vmf->flags & FAULT_FLAG_ALLOW_RETRY)
		return VM_FAULT_RETRY;
	return memview_fault_spin();
}

static vm_fault_t memview_fault_once(struct memview_fault *fault)
{
	struct mm_struct *mm;
	vm_fault_t ret;

	fault->source = NULL;
	ret = fault->buf ? 0 : memview_fault_track(fault);
	if (ret)
		return ret;
	ret = memview_fault_lookup(fault);
	if (ret == MEMVIEW_FAULT_CHANGES)
		return memview_fault_wait_change(fault);
	if (!ret && fault->note.error) {
		/* A file that has grown may have the page. */
		if (fault->note.file_size == memview_fault_file_size(fault))
			ret = fault->note.error;
		fault->note.error = 0;
	}
	if (!ret && fault->huge && !memview_huge_range(fault) &&
	    !memview_fault_by_pages(fault))
		ret = VM_FAULT_FALLBACK;
	if (!ret) {
		mm = fault->source->controller->mm;
		if (mmget_not_zero(mm)) {
			ret = memview_fault_try(fault, mm);
			mmput_async(mm);
			if (ret == MEMVIEW_FAULT_RUNNING)
				ret = memview_fault_wait_running(fault);
		} else {
			ret = VM_FAULT_SIGBUS;
		}
	}
	if (fault->source)
		memview_source_put(fault->source);
	return ret;
}

static struct memview_fault *memview_fault_alloc(struct vm_fault *vmf)
{
	struct memview_fault *fault;

	fault = kmem_cache_alloc(memview_fault_cache, GFP_KERNEL);
	if (!fault)
		return NULL;
	fault->vmf = vmf;
	fault->view = memview_of_file(vmf->vma->vm_file);
	fault->mapping = NULL;
	fault->write = vmf->flags & FAULT_FLAG_WRITE;
	fault->huge = 0;
	fault->no_write = false;
	fault->note.error = 0;
	fault->debt.memcg = NULL;
	fault->debt.pages = 0;
	fault->pinned = NULL;
	fault->buf = NULL;
	fault->nr = 0;
	return fault;
}

static vm_fault_t memview_fault_tries(struct memview_fault *fault)
{
	vm_fault_t ret;
	int tries = 0;

	do {
		ret = memview_fault_once(fault);
	} while (ret == MEMVIEW_FAULT_AGAIN && ++tries < MEMVIEW_FAULT_TRIES &&
		 !fatal_signal_pending(current));
	return ret;
}

/*
 * Each of the tries has met an invalidation. Drop the lock and retry, where the caller
 * allows it: KVM takes VM_FAULT_NOPAGE for an entry that must be there, and returns
 * EFAULT.
 */
static vm_fault_t memview_fault_give_up(struct memview_fault *fault)
{
	unsigned int flags = fault->vmf->flags;

	if (!(flags & FAULT_FLAG_ALLOW_RETRY))
		return memview_fault_spin();
	if (!(flags & FAULT_FLAG_RETRY_NOWAIT))
		memview_fault_drop(fault);
	return VM_FAULT_RETRY;
}

/* Waits for memory allocated above memory.high, where the fault can wait. */
static vm_fault_t memview_fault_pay(struct memview_fault *fault, vm_fault_t ret)
{
	unsigned int flags = fault->vmf->flags;

	if (!fault->pinned && ret == VM_FAULT_NOPAGE &&
	    (flags & FAULT_FLAG_ALLOW_RETRY) &&
	    !(flags & FAULT_FLAG_RETRY_NOWAIT)) {
		memview_fault_drop(fault);
		ret = VM_FAULT_RETRY;
	}
	if (fault->pinned)
		memview_debt_pay(&fault->debt, TASK_KILLABLE);
	else
		memview_debt_drop(&fault->debt);
	return ret;
}

vm_fault_t memview_fault_handle(struct vm_fault *vmf, unsigned int huge)
{
	struct memview_fault *fault;
	struct file *pinned;
	vm_fault_t ret;

	/* memview_mprotect() relies on this, see there. */
	if (WARN_ON_ONCE((vmf->flags & FAULT_FLAG_VMA_LOCK) &&
			 (vmf->vma->vm_flags & VM_MAYEXEC)))
		return VM_FAULT_SIGBUS;

	fault = memview_fault_alloc(vmf);
	if (!fault)
		return VM_FAULT_OOM;
	fault->huge = huge;
	if (memview_note_get(vmf, fault->view, &fault->note))
		fault->no_write = fault->note.no_write;
	ret = memview_fault_tries(fault);
	if (ret == MEMVIEW_FAULT_AGAIN)
		ret = memview_fault_give_up(fault);
	if (unlikely(fault->debt.memcg))
		ret = memview_fault_pay(fault, ret);

	/*
	 * After VM_FAULT_RETRY the VMA may be gone; after VM_FAULT_FALLBACK the
	 * core calls again at once.
	 */
	if (!(ret & (VM_FAULT_RETRY | VM_FAULT_FALLBACK)))
		trace_memview_fault(fault->view, vmf, fault->nr,
				    (__force unsigned int)ret);
	pinned = fault->pinned;
	kmem_cache_free(memview_fault_cache, fault);
	/* The last step; the file is released after we have returned. */
	if (pinned)
		fput(pinned);
	return ret;
}

static vm_fault_t memview_fault(struct vm_fault *vmf)
{
	return memview_fault_handle(vmf, 0);
}

/*
 * A write to a present entry without W. Never returns 0: the core would then make
 * the entry writable after our check. Nor a bare VM_FAULT_RETRY, which the core does
 * not check for here.
 */
static vm_fault_t memview_pfn_mkwrite(struct vm_fault *vmf)
{
	return memview_fault_handle(vmf, 0) | VM_FAULT_NOPAGE;
}

/*
 * mprotect(2) with PROT_EXEC makes all present entries executable without a fault,
 * including entries of an executable mapping that the range made NX; so zap them.
 * This runs under the mmap_lock for writing, and not yet the lock of the VMA, so no
 * fault of such a mapping may run under the VMA lock alone (R6): without .map_pages
 * the core raises none.
 */
static int memview_mprotect(struct vm_area_struct *vma, unsigned long start,
			    unsigned long end, unsigned long newflags)
{
	memview_pud_drop(vma, start, end);
	if (newflags & VM_EXEC)
		zap_vma_ptes(vma, start, end - start);
	return 0;
}

static vm_fault_t memview_access_commit(struct memview_fault *fault)
{
	unsigned long pfn = fault->pfns[fault->index] & ~HMM_PFN_FLAGS;
	char *page = kmap_local_page(pfn_to_page(pfn));
	char *at = page + offset_in_page(fault->vmf->real_address);

	if (fault->write) {
		memview_fault_dirty(pfn);
		memcpy(at, fault->buf, fault->len);
	} else {
		memcpy(fault->buf, at, fault->len);
	}
	kunmap_local(page);
	return 0;
}

/*
 * For debuggers, ptrace(2) and /proc/PID/mem: get_user_pages() refuses these
 * mappings. The rights are those of the process accessed, which debuggers can
 * override elsewhere (R6); and nothing here waits for the source.
 */
static int memview_access(struct vm_area_struct *vma, unsigned long addr,
			  void *buf, int len, int write)
{
	struct vm_fault vmf = {
		.vma = vma,
		.pgoff = memview_vma_page(vma, addr),
		.address = addr & PAGE_MASK,
		.real_address = addr,
		.flags = write ? FAULT_FLAG_WRITE : 0,
	};
	struct memview_fault *fault;
	vm_fault_t ret;
	int tries = 0;

	if (!(vma->vm_flags & (write ? VM_WRITE : VM_READ)))
		return -EFAULT;
	fault = memview_fault_alloc(&vmf);
	if (!fault)
		return -ENOMEM;
	len = min_t(int, len, PAGE_SIZE - offset_in_page(addr));
	fault->no_write = true;
	fault->commit = memview_access_commit;
	fault->buf = buf;
	fault->len = len;
	/* The holder of the controller's mmap_lock needs time, not more tries. */
	do {
		ret = memview_fault_tries(fault);
		if (ret != VM_FAULT_NOPAGE && ret != MEMVIEW_FAULT_AGAIN)
			break;
		schedule_timeout_killable(1);
	} while (++tries < MEMVIEW_FAULT_TRIES &&
		 !fatal_signal_pending(current));
	if (fault->debt.memcg)
		memview_debt_drop(&fault->debt);
	kmem_cache_free(memview_fault_cache, fault);
	return ret ? -EFAULT : len;
}

/*
 * With this operation the core faults under the lock of the VMA alone, and calls it
 * first, under RCU, to map pages that are in memory already. We map none here.
 */
static vm_fault_t memview_map_pages(struct vm_fault *vmf, pgoff_t first,
				    pgoff_t last)
{
	return 0;
}

static const struct vm_operations_struct memview_vm_ops = {
	.open		= memview_vma_open,
	.close		= memview_vma_close,
	.fault		= memview_fault,
	.may_split	= memview_vma_may_split,
	.huge_fault	= memview_huge_fault,
	.map_pages	= memview_map_pages,
	.pfn_mkwrite	= memview_pfn_mkwrite,
	.mprotect	= MEMVIEW_HUGE_PUD ? memview_mprotect : NULL,
	.access		= memview_access,
};

/* For mappings that are executable, or can be made so again. */
static const struct vm_operations_struct memview_exec_vm_ops = {
	.open		= memview_vma_open,
	.close		= memview_vma_close,
	.fault		= memview_fault,
	.may_split	= memview_vma_may_split,
	.huge_fault	= memview_huge_fault,
	.pfn_mkwrite	= memview_pfn_mkwrite,
	.mprotect	= memview_mprotect,
	.access		= memview_access,
};

/**
 * memview_fault_vm_ops - the operations of a mapping
 * @vma: the mapping, with its final VM_MAYEXEC
 */
const struct vm_operations_struct *
memview_fault_vm_ops(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_MAYEXEC ? &memview_exec_vm_ops :
					    &memview_vm_ops;
}
