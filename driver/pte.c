// SPDX-License-Identifier: GPL-2.0
/* The entries of a window of pages, in one page table of the peer. */

#include <linux/hmm.h>
#include <linux/mm.h>

#include "fault.h"
#include "memview.h"
#include "view.h"

/* The lock under which memview_fault_valid() was true keeps the page and its W. */
void memview_fault_dirty(unsigned long pfn)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));

	/*
	 * shmem maps clean pages writable around a read fault, and reclaim
	 * drops clean pages; nobody looks at the peer's dirty bit. File systems
	 * that track dirty pages have marked it in page_mkwrite already.
	 */
	if (!folio_test_dirty(folio))
		folio_mark_dirty(folio);
}

static void memview_fault_set_pte(struct memview_fault *fault, pte_t *ptep,
				  unsigned long addr, unsigned long hmm_pfn)
{
	unsigned long pfn = hmm_pfn & ~HMM_PFN_FLAGS;
	pte_t old = memview_ptep_get(ptep);
	bool write;

	if (!(hmm_pfn & HMM_PFN_VALID) || (hmm_pfn & HMM_PFN_ERROR))
		return;
	write = (hmm_pfn & HMM_PFN_WRITE) && (fault->vm_rights & VM_WRITE);
	if (fault->need_write && !write)
		return;

	/*
	 * Another page: a zap of it is on the way. An entry neither empty nor
	 * present can only be a marker that the peer's userfaultfd has left
	 * (6.7 lets it register any mapping): treated as empty.
	 */
	if (pte_present(old) &&
	    (pte_pfn(old) != pfn || !write || pte_write(old)))
		return;

	if (write)
		memview_fault_dirty(pfn);
	set_pte_at(fault->vmf->vma->vm_mm, addr, ptep,
		   pte_mkspecial(pfn_pte(pfn, fault->prots[write])));
}

/*
 * Inserts all pages of the window, which lies in one page table. Not by
 * vmf_insert_pfn_prot(), which takes the lock for each, leaves a present entry as it
 * is, and looks up the memory type, which is the same for all pages that the source
 * can map: RAM.
 */
vm_fault_t memview_fault_insert(struct memview_fault *fault)
{
	struct vm_fault *vmf = fault->vmf;
	vm_fault_t ret = MEMVIEW_FAULT_AGAIN;
	unsigned long addr = fault->addr;
	spinlock_t *ptl; /* of the page table */
	unsigned int i;
	pte_t *ptep;

	/*
	 * A zap that has not seen the page table published its change before,
	 * and we see the change. Pairs with memview_zap() and
	 * memview_mapping_untrack().
	 */
	smp_mb();
	ptl = pte_lockptr(vmf->vma->vm_mm, vmf->pmd);
	spin_lock(ptl);
	if (memview_fault_valid(fault)) {
		/* A page table stays while the mapping is locked. */
		ptep = pte_offset_kernel(vmf->pmd, addr);
		for (i = 0; i < fault->nr; i++, addr += PAGE_SIZE)
			memview_fault_set_pte(fault, ptep + i, addr,
					      fault->pfns[i]);
		ret = VM_FAULT_NOPAGE;
	}
	spin_unlock(ptl);
	if (ret == VM_FAULT_NOPAGE)
		atomic64_inc(&fault->view->faults);
	return ret;
}

void memview_fault_set_prots(struct memview_fault *fault)
{
	struct vm_area_struct *vma = fault->vmf->vma;
	vm_flags_t vm_flags = vma->vm_flags & ~(VM_READ | VM_WRITE | VM_EXEC);
	vm_flags_t rights = fault->vm_rights;

	/* From the VMA's flags: they have the pkey and encryption bits. */
	fault->prots[0] = vm_get_page_prot(vm_flags | (rights & ~VM_WRITE));
	fault->prots[1] = vm_get_page_prot(vm_flags | rights);
}
