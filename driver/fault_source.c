// SPDX-License-Identifier: GPL-2.0
/*
 * Faults of the source, on behalf of a peer's fault: memory is charged to the
 * controller, and nothing waits while both mmap_locks are held (R7).
 */

#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/userfaultfd_k.h>

#include "fault.h"
#include "memview.h"
#include "source.h"
#include "table.h"

/* The debt for memory above memory.high; NULL: the core throttles this task. */
struct memview_debt *memview_fault_debt(struct memview_fault *fault,
					struct mm_struct *mm)
{
	return current->mm == mm ? NULL : &fault->debt;
}

/* To be called between memview_charge_begin() and memview_charge_end(). */
vm_fault_t __memview_fault_source(struct vm_area_struct *source_vma,
				  unsigned long source_addr, unsigned int flags)
{
	vm_fault_t ret;

	ret = handle_mm_fault(source_vma, source_addr,
			      FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY | flags,
			      NULL);
	/* The peer has the right; the source is at fault. */
	if (ret & VM_FAULT_SIGSEGV)
		ret = (ret & ~VM_FAULT_SIGSEGV) | VM_FAULT_SIGBUS;
	return ret & (VM_FAULT_ERROR | VM_FAULT_RETRY | VM_FAULT_COMPLETED);
}

vm_fault_t memview_fault_source(struct memview_fault *fault,
				struct vm_area_struct *source_vma,
				unsigned long source_addr, unsigned int flags)
{
	struct mm_struct *mm = source_vma->vm_mm;
	struct memview_charge charge;
	vm_fault_t ret;

	memview_charge_begin(&charge, mm);
	ret = __memview_fault_source(source_vma, source_addr, flags);
	memview_charge_end(&charge, memview_fault_debt(fault, mm));
	return ret;
}

/* The file's page cache entry: NULL, a folio, or a swap or shadow entry. */
void *memview_fault_entry(struct vm_area_struct *source_vma,
			  unsigned long source_addr)
{
	struct address_space *mapping = source_vma->vm_file->f_mapping;
	pgoff_t page = memview_vma_page(source_vma, source_addr);

	if (is_vm_hugetlb_page(source_vma))
		page = memview_hugetlb_index(source_vma, page);
	return xa_load(&mapping->i_pages, page);
}

/* Is the page in the page cache? Best effort. */
bool memview_fault_cached(struct vm_area_struct *source_vma,
			  unsigned long source_addr)
{
	void *entry = memview_fault_entry(source_vma, source_addr);

	return entry && !xa_is_value(entry);
}

/* Is it a hole of shmem or hugetlb that no userfaultfd fills? Swap is no hole. */
bool memview_fault_hole(struct vm_area_struct *source_vma,
			unsigned long source_addr)
{
	return (shmem_mapping(source_vma->vm_file->f_mapping) ||
		is_vm_hugetlb_page(source_vma)) &&
	       !userfaultfd_armed(source_vma) &&
	       !memview_fault_entry(source_vma, source_addr);
}

/*
 * Has the file a page there, on its disk or dirty in memory? Uses an open file of its
 * own, so that the controller's keeps its position.
 *
 * Context: no lock is held: the file system may read from the disk.
 */
bool memview_fault_on_disk(const struct memview_fault *fault, pgoff_t page)
{
	struct file *file = fault->source->file;
	loff_t at = (loff_t)page << PAGE_SHIFT;
	loff_t data;

	file = dentry_open(&file->f_path, O_RDONLY | O_LARGEFILE, file->f_cred);
	if (IS_ERR(file))
		return false;
	data = vfs_llseek(file, at, SEEK_DATA);
	fput(file);
	return data >= at && data - at < PAGE_SIZE;
}

/* With MEMVIEW_MAP_NO_ALLOC: must the fault fail, because the page is a hole? */
bool memview_fault_denied(const struct memview_fault *fault,
			  struct vm_area_struct *source_vma,
			  unsigned long source_addr)
{
	if (likely(!(fault->flags & MEMVIEW_RANGE_NO_ALLOC)) ||
	    memview_fault_cached(source_vma, source_addr))
		return false;
	if (memview_fault_hole(source_vma, source_addr))
		return true;
	/* File systems with a disk are asked where the fault can wait. */
	return !(fault->vmf->flags & FAULT_FLAG_ALLOW_RETRY) &&
	       !shmem_mapping(source_vma->vm_file->f_mapping) &&
	       !is_vm_hugetlb_page(source_vma);
}

/*
 * Allocates the missing page, so that faulting it in only maps it; and, for a write
 * that follows a sequence, the rest of the window as it was before it grew. Neither
 * waits nor reclaims. Not where huge pages are asked for: only a fault of the mapping
 * itself allocates these.
 *
 * Context: see memview_fault_hold(): no hole is being punched.
 * Return: whether the page is there
 */
static bool memview_fault_fill(struct memview_fault *fault,
			       struct vm_area_struct *source_vma,
			       unsigned long source_addr)
{
	struct address_space *mapping = source_vma->vm_file->f_mapping;
	pgoff_t page = memview_vma_page(source_vma, source_addr);
	gfp_t gfp = (mapping_gfp_mask(mapping) & ~__GFP_DIRECT_RECLAIM) |
		    __GFP_NORETRY | __GFP_NOWARN;
	unsigned int i = fault->index, last = fault->index;
	struct memview_charge charge;

	if (fault->huge || (source_vma->vm_flags & VM_HUGEPAGE) ||
	    !shmem_mapping(mapping) ||
	    !memview_fault_hole(source_vma, source_addr))
		return false;
	if (fault->write && fault->nr > fault->base) {
		fault->nr = fault->base;
		if (memview_fault_follows(fault))
			last = fault->nr - 1;
	}
	memview_charge_begin(&charge, source_vma->vm_mm);
	for (; i <= last; i++, page++) {
		struct page *new;

		/* Stop at an existing page, also at one that is swapped out. */
		if (i > fault->index && xa_load(&mapping->i_pages, page))
			break;
		new = shmem_read_mapping_page_gfp(mapping, page, gfp);
		if (IS_ERR(new))
			break;
		put_page(new);
	}
	memview_charge_end(&charge,
			   memview_fault_debt(fault, source_vma->vm_mm));
	return i > fault->index;
}

/*
 * May the source be faulted at once, with both mmap_locks held? Only where that waits
 * for nobody (R7): not with a page_mkwrite of a file system, which cannot be told not
 * to wait, nor while a hole is punched, when fallocate(2) holds the inode's lock.
 * The page must be in memory: memview_fault_source_now(). A caller that cannot drop
 * a lock (debuggers, futex(2)) faults like this on any mapping.
 *
 * With true, memview_fault_release() must be called.
 */
static bool memview_fault_hold(struct memview_fault *fault,
			       struct vm_area_struct *source_vma)
{
	struct inode *inode = file_inode(source_vma->vm_file);

	if (!(fault->vmf->flags & FAULT_FLAG_ALLOW_RETRY))
		return true;
	if (source_vma->vm_ops && source_vma->vm_ops->page_mkwrite)
		return false;
	return !memview_charge_owed() && (!shmem_mapping(inode->i_mapping) ||
					  inode_trylock_shared(inode));
}

static void memview_fault_release(struct memview_fault *fault,
				  struct vm_area_struct *source_vma)
{
	struct inode *inode = file_inode(source_vma->vm_file);

	if ((fault->vmf->flags & FAULT_FLAG_ALLOW_RETRY) &&
	    shmem_mapping(inode->i_mapping))
		inode_unlock_shared(inode);
}

/*
 * Faults the page in the source, and those likely to be needed next, without waiting.
 *
 * Context: both mmap_locks are held.
 * Return: as handle_mm_fault(); VM_FAULT_RETRY: it would have to wait
 */
vm_fault_t memview_fault_source_now(struct memview_fault *fault,
				    struct vm_area_struct *source_vma,
				    unsigned long source_addr, bool write)
{
	vm_fault_t ret = VM_FAULT_RETRY;

	if (!memview_fault_hold(fault, source_vma))
		return VM_FAULT_RETRY;
	if (!(fault->vmf->flags & FAULT_FLAG_ALLOW_RETRY) ||
	    memview_fault_cached(source_vma, source_addr) ||
	    memview_fault_fill(fault, source_vma, source_addr)) {
		ret = memview_fault_source(fault, source_vma, source_addr,
					   FAULT_FLAG_RETRY_NOWAIT |
						   (write ? FAULT_FLAG_WRITE :
							    0));
		if (!ret && !write)
			memview_fault_ahead(fault, source_vma, source_addr);
	}
	memview_fault_release(fault, source_vma);
	return ret;
}
