/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All differences between the supported kernels (6.1, 6.12, 7.2), each with
 * the version that made it necessary. No other file looks at the version.
 */
#ifndef _MEMVIEW_COMPAT_H
#define _MEMVIEW_COMPAT_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/mmu_notifier.h>
#include <linux/version.h>
#include <linux/workqueue.h>

/* 6.8 moved the io_uring interface for drivers to a header of its own. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#include <linux/io_uring.h>
#else
#include <linux/io_uring/cmd.h>
#endif

/* 6.5 passes drivers the whole submission. It may be in user space's memory. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define memview_uring_data(uring_cmd) ((uring_cmd)->cmd)
#else
#define memview_uring_data(uring_cmd) ((const void *)(uring_cmd)->sqe->cmd)
#endif

/* 6.3 made vma->vm_flags read-only and brought the accessors. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set,
				vm_flags_t clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#endif

/* 7.1 renamed zap_vma_ptes(). */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 1, 0)
#define zap_vma_ptes zap_special_vma_range
#endif

/*
 * Does an MMU_NOTIFY_UNMAP for a mapping of @file mean that it is unmapped?
 *
 * On 6.12 and 7.2 only unmap_vmas() and move_page_tables() raise it (and the OOM
 * reaper of 6.12, which cannot wait). Before 6.3 hugetlb does, too, whenever it
 * empties page tables: __unmap_hugepage_range(), for each hole that is punched,
 * each truncation, each MADV_DONTNEED. All its callers (__unmap_hugepage_range_final(),
 * hugetlb_vmdelete_list(), hugetlb_unmap_file_folio(), unmap_ref_private()) hold the
 * i_mmap_rwsem of the file for writing, in the task that calls the notifiers.
 * unmap_vmas() and move_page_tables() are always called without an i_mmap_rwsem;
 * before unmap_vmas() gets to hugetlb's function, which notifies again, it has
 * notified of its whole span. sem->owner is the task only if the task itself holds
 * the lock for writing (a reader leaves a mark in the lowest bit).
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0) && !defined(CONFIG_PREEMPT_RT)
static inline bool memview_range_unmaps(const struct mmu_notifier_range *range,
					const struct file *file)
{
	const struct rw_semaphore *sem = &file->f_mapping->i_mmap_rwsem;

	return atomic_long_read(&sem->owner) != (long)current;
}
#else
static inline bool memview_range_unmaps(const struct mmu_notifier_range *range,
					const struct file *file)
{
	return true;
}
#endif

/* 6.5 gave lower files of a stacked file system a second path, the user's. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
static inline const struct path *file_user_path(const struct file *file)
{
	return &file->f_path;
}
#endif

/* 6.5 made entries be read through an accessor. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define memview_ptep_get(ptep) (*(ptep))
#else
#define memview_ptep_get(ptep) ptep_get(ptep)
#endif

/* 6.7 indexes hugetlb files by page; before, by huge page. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#define memview_hugetlb_index(vma, page) \
	((page) >> huge_page_order(hstate_file((vma)->vm_file)))
#else
#define memview_hugetlb_index(vma, page) (page)
#endif

/* 6.4 brought faults under the lock of one VMA. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#define FAULT_FLAG_VMA_LOCK 0
static inline void vma_end_read(struct vm_area_struct *vma) {}
#endif

/*
 * 6.12 can keep the free list's pointer inside the objects of a cache with
 * SLAB_TYPESAFE_BY_RCU. Before, it takes a word behind each.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
static inline struct kmem_cache *
memview_typesafe_cache(const char *name, unsigned int size,
		       unsigned int free_offset)
{
	return kmem_cache_create(name, size, 0,
				 SLAB_ACCOUNT | SLAB_TYPESAFE_BY_RCU, NULL);
}
#else
static inline struct kmem_cache *
memview_typesafe_cache(const char *name, unsigned int size,
		       unsigned int free_offset)
{
	struct kmem_cache_args args = {
		.use_freeptr_offset	= true,
		.freeptr_offset		= free_offset,
	};

	return kmem_cache_create(name, size, &args,
				 SLAB_ACCOUNT | SLAB_TYPESAFE_BY_RCU);
}
#endif

/*
 * Before 6.12 a SLAB_TYPESAFE_BY_RCU cache is freed some time after
 * kmem_cache_destroy(); until then a module that is loaded again finds its name taken.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define memview_caches_destroyed() flush_scheduled_work()
#else
#define memview_caches_destroyed() do { } while (0)
#endif

/* 6.3 gave inode operations an idmap in place of the user namespace. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define memview_idmap_t struct user_namespace
#else
#define memview_idmap_t struct mnt_idmap
#endif

/* 6.17 marks inodes of alloc_anon_inode() as having no type; ours have one. */
#ifndef S_ANON_INODE
#define S_ANON_INODE 0
#endif

/*
 * 6.12 marks huge entries of VM_PFNMAP mappings as special (x86 and arm64);
 * 6.1 does not ask for any there.
 */
#define MEMVIEW_HUGE IS_ENABLED(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP)

/*
 * The same for 1 GiB. Before 7.2 userfaultfd lets any mapping be registered for
 * asynchronous write protection, and removing that from a PUD entry makes
 * change_huge_pud() warn: any peer could do it. 7.2 refuses VM_PFNMAP mappings.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 2, 0)
#define MEMVIEW_HUGE_PUD 0
#else
#define MEMVIEW_HUGE_PUD IS_ENABLED(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP)
#endif

#endif /* _MEMVIEW_COMPAT_H */
