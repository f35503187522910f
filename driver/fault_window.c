// SPDX-License-Identifier: GPL-2.0
/*
 * The window: the pages that a fault resolves, and those of the source that it reads
 * ahead.
 */

#include <linux/hugetlb.h>

#include "fault.h"
#include "memview.h"

/*
 * Has the peer an entry at @addr, which is in its mapping, and in the same table of
 * PMDs as the fault?
 */
static bool memview_fault_mapped(struct memview_fault *fault,
				 unsigned long addr)
{
	struct vm_fault *vmf = fault->vmf;
	pmd_t pmd = READ_ONCE(vmf->pmd[(long)(addr >> PMD_SHIFT) -
				       (long)(vmf->address >> PMD_SHIFT)]);

	/* A page table stays while the mapping is locked. */
	return !pmd_none(pmd) && !pmd_leaf(pmd) &&
	       pte_present(memview_ptep_get(pte_offset_kernel(&pmd, addr)));
}

/*
 * The size of the window: @base, or, in a sequence of pages touched one after the
 * other, up to MEMVIEW_WINDOW_GROWN. The page table shows a sequence: if the page
 * before the fault is mapped, the window doubles while a page as far behind as it
 * reaches ahead is mapped, and the page that far ahead is not. So each thread's
 * sequence is recognised by itself, and random touches seldom look like one.
 */
static unsigned long memview_fault_grow(struct memview_fault *fault,
					unsigned long addr, unsigned long base)
{
	struct vm_fault *vmf = fault->vmf;
	unsigned long behind, ahead, size = base;

	/* fault_around_pages=1 asks for one page; debuggers access one. */
	if (base == 1 || !vmf->pmd)
		return base;
	behind = min((addr & ~PUD_MASK) >> PAGE_SHIFT,
		     (addr - vmf->vma->vm_start) >> PAGE_SHIFT);
	ahead = (~addr & ~PMD_MASK) >> PAGE_SHIFT;
	if (!behind || !memview_fault_mapped(fault, addr - PAGE_SIZE))
		return base;
	while (size < MEMVIEW_WINDOW_GROWN && size <= behind && size <= ahead &&
	       memview_fault_mapped(fault, addr - (size << PAGE_SHIFT)) &&
	       !memview_fault_mapped(fault, addr + (size << PAGE_SHIFT)))
		size *= 2;
	return min_t(unsigned long, size, MEMVIEW_WINDOW_GROWN);
}

/*
 * Chooses the window, from an aligned block around the page on: within the range, the
 * peer's VMA, the page table that the fault is in, and the source's VMA.
 */
void memview_fault_window(struct memview_fault *fault,
			  struct vm_area_struct *source_vma,
			  unsigned long source_addr)
{
	struct vm_fault *vmf = fault->vmf;
	struct vm_area_struct *vma = vmf->vma;
	unsigned long addr = vmf->address & PAGE_MASK;
	unsigned long base = clamp(READ_ONCE(memview_fault_around), 1U,
				   (unsigned int)MEMVIEW_WINDOW_MAX);
	unsigned long size = memview_fault_grow(fault, addr, base);
	unsigned long before, after;

	/* Pages that may be before the one that faulted, and after it. */
	before = (addr >> PAGE_SHIFT) % base;
	after = size - 1 - before;

	before = min(before, vmf->pgoff - fault->first);
	after = min(after, fault->last - vmf->pgoff);
	before = min(before, (addr - vma->vm_start) >> PAGE_SHIFT);
	after = min(after, ((vma->vm_end - addr) >> PAGE_SHIFT) - 1);
	before = min(before, (addr & ~PMD_MASK) >> PAGE_SHIFT);
	after = min(after, (~addr & ~PMD_MASK) >> PAGE_SHIFT);
	before =
		min(before, (source_addr - source_vma->vm_start) >> PAGE_SHIFT);
	after = min(after,
		    ((source_vma->vm_end - source_addr) >> PAGE_SHIFT) - 1);

	fault->addr = addr - (before << PAGE_SHIFT);
	fault->index = before;
	fault->nr = before + 1 + after;
	fault->base = min_t(unsigned int, fault->nr, base);
}

/* Are the pages before the fault mapped, as many as the window had before it grew? */
bool memview_fault_follows(struct memview_fault *fault)
{
	unsigned long addr = fault->vmf->address & PAGE_MASK;
	unsigned int i;

	for (i = 0; i < fault->base; i++) {
		addr -= PAGE_SIZE;
		if (!memview_fault_mapped(fault, addr))
			return false;
	}
	return true;
}

/*
 * The source lacked the page, has it now, and the window has grown: the next pages
 * are likely to be missing, too. Pages in the page cache are mapped by read faults of
 * the source, each with the pages around it. Best effort; the real access reports
 * errors.
 */
void memview_fault_ahead(struct memview_fault *fault,
			 struct vm_area_struct *source_vma,
			 unsigned long source_addr)
{
	unsigned long addr, end;
	struct memview_charge charge;

	if (fault->nr == fault->base || is_vm_hugetlb_page(source_vma) ||
	    (source_vma->vm_ops && source_vma->vm_ops->page_mkwrite))
		return;
	end = source_addr +
	      ((unsigned long)(fault->nr - fault->index) << PAGE_SHIFT);
	memview_charge_begin(&charge, source_vma->vm_mm);
	for (addr = round_down(source_addr, MEMVIEW_SOURCE_AROUND) +
		    MEMVIEW_SOURCE_AROUND;
	     addr < end; addr += MEMVIEW_SOURCE_AROUND) {
		if (!memview_fault_cached(source_vma, addr) ||
		    __memview_fault_source(source_vma, addr,
					   FAULT_FLAG_RETRY_NOWAIT))
			break;
	}
	memview_charge_end(&charge,
			   memview_fault_debt(fault, source_vma->vm_mm));
	/* Pages beyond are missing: end the window there. */
	if (addr < end)
		fault->nr = max_t(unsigned int, fault->base,
				  fault->index +
					  ((addr - source_addr) >> PAGE_SHIFT));
}
