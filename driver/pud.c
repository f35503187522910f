// SPDX-License-Identifier: GPL-2.0
/*
 * Entries of 1 GiB (PUD) in peers, for hugetlb pages of that size.
 *
 * They are made like those of pmd.c, and cut in the same way: a change of a part of
 * one drops it. But the core does not expect them to come and go as PMD entries may,
 * so two more rules are kept here:
 *
 * - A zap without the peer's mmap_lock reads a PUD more than once. One that is empty
 *   first and an entry then is "bad" to it: it is cleared, and no TLB is flushed.
 *   So no entry is made while the view zaps anything: see memview_zap_begin().
 * - Before a mapping is cut or moved it is untracked (peers.c): no VMA ends inside an
 *   entry, and mremap(2) meets none, which it would clear as "bad". mprotect(2)
 *   drops them by memview_pud_drop(). They are made with the mmap_lock, not with
 *   that of the VMA alone, so none comes back before mprotect(2) is done.
 *
 * Against tables of PMDs they need no lock of ours: the core makes these under the
 * page table lock and only where the PUD is empty, as we make an entry. (For that,
 * vmf_insert_pfn_pud() would not do: it warns of a table.)
 */

#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>

#include "fault.h"
#include "memview.h"
#include "view.h"

#if MEMVIEW_HUGE_PUD

#define MEMVIEW_PUD_PAGES	(PUD_SIZE >> PAGE_SHIFT)

/* Can there be an entry at the address, as far as the mapping is concerned? */
bool memview_pud_fits(const struct vm_fault *vmf)
{
	const struct vm_area_struct *vma = vmf->vma;
	unsigned long addr = vmf->address & PUD_MASK;

	return addr >= vma->vm_start && vma->vm_end - addr >= PUD_SIZE &&
	       !((vmf->pgoff ^ (vmf->address >> PAGE_SHIFT)) %
		 MEMVIEW_PUD_PAGES);
}

static vm_fault_t memview_pud_insert(struct memview_fault *fault)
{
	struct vm_fault *vmf = fault->vmf;
	struct mm_struct *mm = vmf->vma->vm_mm;
	struct memview *view = fault->view;
	unsigned long pfn = memview_huge_pfn(fault, 0);
	bool write = (fault->pfns[0] & HMM_PFN_WRITE) &&
		     (fault->vm_rights & VM_WRITE);
	vm_fault_t ret = VM_FAULT_NOPAGE;
	spinlock_t *ptl;	/* of the PUD */
	pud_t old;

	if (atomic_read(&view->zapping))
		return VM_FAULT_FALLBACK;
	if (write)
		memview_fault_dirty(pfn);
	ptl = pud_lock(mm, vmf->pud);
	old = *vmf->pud;
	if (pud_none(old)) {
		set_pud_at(mm, fault->addr, vmf->pud,
			   pud_mkspecial(pud_mkhuge(pfn_pud(pfn, fault->prots[write]))));
		atomic64_inc(&view->huge_entries);
	} else if (!pud_leaf(old) || pud_pfn(old) != pfn ||
		   (fault->write && !pud_write(old))) {
		/* Go on by blocks; the core first drops an entry that lacks W. */
		ret = VM_FAULT_FALLBACK;
	}
	spin_unlock(ptl);
	if (ret == VM_FAULT_NOPAGE)
		atomic64_inc(&view->faults);
	return ret;
}

/* Re-validates and inserts a snapshot in which the page that faulted is of 1 GiB. */
vm_fault_t memview_pud_install(struct memview_fault *fault)
{
	fault->commit = memview_pud_insert;
	return memview_fault_commit(fault);
}

/* Has @mm a huge PUD entry at @addr? */
static bool memview_pud_is_entry(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;

	if (pgd_none(*pgd))
		return false;
	p4d = p4d_offset(pgd, addr);
	return !p4d_none(*p4d) && pud_leaf(READ_ONCE(*pud_offset(p4d, addr)));
}

/**
 * memview_pud_drop - drop the entries of a mapping
 * @vma: the mapping
 * @start: first address
 * @end: end of the span; entries that it cuts go as well
 *
 * Context: the mmap_lock is held for writing.
 */
void memview_pud_drop(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end)
{
	unsigned long addr;

	mmap_assert_write_locked(vma->vm_mm);

	for (addr = start & PUD_MASK; addr < end; addr += PUD_SIZE)
		if (addr >= vma->vm_start && vma->vm_end - addr >= PUD_SIZE &&
		    memview_pud_is_entry(vma->vm_mm, addr))
			zap_vma_ptes(vma, addr, PUD_SIZE);
}

/* As thp_get_unmapped_area(), for larger blocks. */
unsigned long memview_pud_unmapped_area(struct file *file, unsigned long addr,
					unsigned long len, unsigned long pgoff,
					unsigned long flags)
{
	unsigned long off = pgoff << PAGE_SHIFT;
	unsigned long before = -off & ~PUD_MASK;	/* the first block */
	unsigned long at;

	/* Without such entries the alignment would only cost randomness. */
	if (!READ_ONCE(memview_gigantic_entries) ||
	    addr || (flags & MAP_FIXED) || in_compat_syscall() ||
	    len < before || len - before < PUD_SIZE || len + PUD_SIZE < len)
		goto smaller;
	at = mm_get_unmapped_area(file, 0, len + PUD_SIZE, pgoff, flags);
	if (IS_ERR_VALUE(at))
		goto smaller;
	return at + ((off - at) & ~PUD_MASK);

smaller:
	return thp_get_unmapped_area(file, addr, len, pgoff, flags);
}

#endif /* MEMVIEW_HUGE_PUD */
