// SPDX-License-Identifier: GPL-2.0
/*
 * A peer's page fault, resolved by huge entries (PMD).
 *
 * Where range, mapping and source all cover a block of PMD_SIZE, and the
 * source's own page table maps it by one entry (hugetlb, or a huge page of
 * shmem), so does the peer's. All other faults go on by pages. The steps are those
 * of fault.c, with a snapshot of one page of a block: as the source maps it by a
 * huge entry, it shows the other 511, too. Blocks around that the source has mapped
 * already are inserted along with it, as with pages.
 *
 * Cutting such an entry (by a zap or mprotect(2) of a part of it, say) drops it,
 * and the rest of it faults again: VM_PFNMAP entries are not split.
 */

#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/userfaultfd_k.h>

#include "controller.h"
#include "fault.h"
#include "memview.h"
#include "peers.h"
#include "source.h"
#include "view.h"
#include "view_file.h"

static unsigned long memview_huge_size(const struct memview_fault *fault)
{
	return PAGE_SIZE << fault->huge;
}

/* Can the range have a huge entry at the address that faulted? */
bool memview_huge_range(struct memview_fault *fault)
{
	struct vm_fault *vmf = fault->vmf;
	struct vm_area_struct *vma = vmf->vma;
	unsigned long size = memview_huge_size(fault);
	unsigned long addr = vmf->address & -size;
	pgoff_t first = vmf->pgoff - ((vmf->address - addr) >> PAGE_SHIFT);
	pgoff_t last = first + (1UL << fault->huge) - 1;

	if (addr < vma->vm_start || vma->vm_end - addr < size ||
	    first < fault->first || last > fault->last ||
	    ((memview_fault_source_addr(fault) ^ vmf->address) & (size - 1) &
	     PAGE_MASK))
		return false;
	/* userfaultfd makes page tables for its markers without telling us. */
	if (userfaultfd_wp(vma))
		return false;
	/*
	 * vmf_insert_pfn_pmd() makes entries with the mapping's protection, to
	 * which it adds W: it must equal the range's, in X above all (R6).
	 */
	memview_fault_set_prots(fault);
	return pgprot_val(vma->vm_page_prot) == pgprot_val(fault->prots[0]);
}

/* Chooses a window of one entry of 1 GiB, if the source has pages of that size. */
static bool memview_huge_source_pud(struct memview_fault *fault,
				    const struct vm_area_struct *source_vma)
{
	if (!is_vm_hugetlb_page(source_vma) ||
	    huge_page_order(hstate_file(source_vma->vm_file)) < fault->huge)
		return false;
	fault->addr = fault->vmf->address & -memview_huge_size(fault);
	fault->index = 0;
	fault->nr = 1;
	fault->base = 1;
	return true;
}

/*
 * Can the source have a huge entry there? Then chooses the window, in blocks: like
 * that of pages, but within the table of PMDs that the fault is in.
 */
bool memview_huge_source(struct memview_fault *fault,
			 const struct vm_area_struct *source_vma,
			 unsigned long source_addr)
{
	struct vm_fault *vmf = fault->vmf;
	struct vm_area_struct *vma = vmf->vma;
	unsigned long addr = vmf->address & PMD_MASK;
	unsigned long head = source_addr & PMD_MASK;
	pgoff_t first = vmf->pgoff - ((vmf->address - addr) >> PAGE_SHIFT);
	unsigned long size = clamp(READ_ONCE(memview_fault_around), 1U,
				   (unsigned int)MEMVIEW_WINDOW_MAX);
	unsigned long before, after;

	/* File systems that track writes track them by page. */
	if (source_vma->vm_ops && source_vma->vm_ops->page_mkwrite)
		return false;
	/* The source's VMA must cover the block. */
	if (head < source_vma->vm_start || source_vma->vm_end - head < PMD_SIZE)
		return false;
	if (fault->huge == MEMVIEW_PUD_ORDER)
		return memview_huge_source_pud(fault, source_vma);

	before = (addr >> PMD_SHIFT) % size;
	after = size - 1 - before;

	before = min(before, (first - fault->first) / HPAGE_PMD_NR);
	after = min(after, (fault->last + 1 - first) / HPAGE_PMD_NR - 1);
	before = min(before, (addr - vma->vm_start) >> PMD_SHIFT);
	after = min(after, ((vma->vm_end - addr) >> PMD_SHIFT) - 1);
	before = min(before, (addr & ~PUD_MASK) >> PMD_SHIFT);
	after = min(after, (~addr & ~PUD_MASK) >> PMD_SHIFT);
	before = min(before, (head - source_vma->vm_start) >> PMD_SHIFT);
	after = min(after, ((source_vma->vm_end - head) >> PMD_SHIFT) - 1);

	fault->addr = addr - (before << PMD_SHIFT);
	fault->index = before;
	fault->nr = before + 1 + after;
	fault->base = fault->nr;
	return true;
}

/* Snapshots of the blocks of the window from @i on, in steps of 1 or -1. */
static void memview_huge_snapshot(struct memview_fault *fault,
				  struct hmm_range range, unsigned int i,
				  int step)
{
	pmd_t *pmd = fault->vmf->pmd - fault->index;
	unsigned long start = range.start;

	for (; i < fault->nr; i += step) {
		/* The peer has it, and probably the blocks beyond. */
		if (!pmd_none(READ_ONCE(pmd[i])))
			return;
		range.start = start + ((unsigned long)i << PMD_SHIFT);
		range.end = range.start + PAGE_SIZE;
		range.hmm_pfns = &fault->pfns[i];
		if (hmm_range_fault(&range)) {
			fault->pfns[i] = 0;
			return;
		}
		if (!memview_huge_has(fault, i))
			return;
	}
}

/**
 * memview_huge_around - snapshot the blocks around the one that faulted
 * @fault: the fault, with a snapshot of its own block
 * @source_addr: address in the source of the page that faulted
 *
 * To both sides, up to a block that the peer has or the source lacks: each look
 * costs 1,000 instructions, half as many as a fault of plain mmap.
 *
 * Context: both mmap_locks are held.
 * Return: false where the page that faulted has no huge entry in the source
 */
bool memview_huge_around(struct memview_fault *fault, unsigned long source_addr)
{
	struct hmm_range range = {
		.notifier = &MEMVIEW_NO_NOTIFIER(fault->source->controller->mm),
	};
	unsigned int i;

	if (!memview_huge_has(fault, fault->index))
		return false;
	for (i = 0; i < fault->nr; i++)
		if (i != fault->index)
			fault->pfns[i] = 0;
	range.start = (source_addr & PMD_MASK) -
		      ((unsigned long)fault->index << PMD_SHIFT);
	memview_huge_snapshot(fault, range, fault->index - 1, -1);
	memview_huge_snapshot(fault, range, fault->index + 1, 1);
	return true;
}

/*
 * Makes an entry for a block where there is none, or adds W to one of the same page.
 * Like vmf_insert_pfn_pmd(), which looks up the memory type each time, and warns of a
 * page table.
 *
 * Return: VM_FAULT_NOPAGE, with the entry or where another page's is about to be
 * zapped; VM_FAULT_FALLBACK where there is a page table, or one is being made
 */
static vm_fault_t memview_huge_set(struct memview_fault *fault, unsigned int i,
				   bool write)
{
	struct mm_struct *mm = fault->vmf->vma->vm_mm;
	unsigned long addr = fault->addr + ((unsigned long)i << PMD_SHIFT);
	pmd_t *pmd = fault->vmf->pmd - fault->index + i;
	unsigned long pfn = memview_huge_pfn(fault, i);
	pmd_t entry = pfn_pmd(pfn, fault->prots[write]);
	vm_fault_t ret = VM_FAULT_NOPAGE;
	spinlock_t *ptl;	/* of the PMD */
	pmd_t old;

	ptl = pmd_lock(mm, pmd);
	old = *pmd;
	if (pmd_none(old) ? atomic_read(&fault->mapping->tables) : !pmd_leaf(old)) {
		ret = VM_FAULT_FALLBACK;
	} else if (pmd_none(old) ||
		   (pmd_pfn(old) == pfn && write && !pmd_write(old))) {
		set_pmd_at(mm, addr, pmd, pmd_mkspecial(pmd_mkhuge(entry)));
		atomic64_inc(&fault->view->huge_entries);
	}
	spin_unlock(ptl);
	return ret;
}

static vm_fault_t memview_huge_insert(struct memview_fault *fault)
{
	vm_fault_t ret = VM_FAULT_FALLBACK;
	unsigned int i;

	/* A zap of a part would need a deposited page table there. */
	if (arch_needs_pgtable_deposit())
		return ret;
	for (i = 0; i < fault->nr; i++) {
		bool write = (fault->pfns[i] & HMM_PFN_WRITE) &&
			     (fault->vm_rights & VM_WRITE);

		if (!memview_huge_has(fault, i) || (fault->need_write && !write))
			continue;
		if (i != fault->index &&
		    !pmd_none(READ_ONCE(fault->vmf->pmd[(int)(i - fault->index)])))
			continue;
		if (write)
			memview_fault_dirty(memview_huge_pfn(fault, i));
		if (i == fault->index)
			ret = memview_huge_set(fault, i, write);
		else
			memview_huge_set(fault, i, write);
	}
	if (ret == VM_FAULT_NOPAGE)
		atomic64_inc(&fault->view->faults);
	return ret;
}

/* Re-validates and inserts a snapshot in which the block that faulted is huge. */
vm_fault_t memview_huge_install(struct memview_fault *fault)
{
	if (fault->huge == MEMVIEW_PUD_ORDER)
		return memview_pud_install(fault);
	fault->commit = memview_huge_insert;
	return memview_fault_commit(fault);
}

/*
 * Also for a write to a huge entry without W. If that falls back, the core
 * drops the entry first.
 */
vm_fault_t memview_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	if (order != HPAGE_PMD_ORDER &&
	    (order != MEMVIEW_PUD_ORDER || !memview_pud_fits(vmf) ||
	     !READ_ONCE(memview_gigantic_entries)))
		return VM_FAULT_FALLBACK;
	/*
	 * The core calls this under the VMA lock also without .map_pages: see
	 * memview_mprotect(). For PUD entries see pud.c.
	 */
	if ((vmf->flags & FAULT_FLAG_VMA_LOCK) &&
	    (order == MEMVIEW_PUD_ORDER || vmf->vma->vm_flags & VM_MAYEXEC)) {
		struct file *pinned = get_file(vmf->vma->vm_file);

		vma_end_read(vmf->vma);
		/* As in memview_fault_handle(). */
		fput(pinned);
		return VM_FAULT_RETRY;
	}
	/* A note of a wait for the source is for the fault by pages. */
	if ((vmf->flags & FAULT_FLAG_TRIED) &&
	    memview_note_there(memview_of_file(vmf->vma->vm_file)))
		return VM_FAULT_FALLBACK;
	return memview_fault_handle(vmf, order);
}
