// SPDX-License-Identifier: GPL-2.0
/* The view file, which peers hold and which has no ioctls, and its mmap(2). */

#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/slab.h>

#include "fault.h"
#include "memview.h"
#include "peers.h"
#include "view.h"
#include "view_file.h"

/**
 * struct memview_view_file - private data of a view file
 * @view: held
 * @rights: the most rights that a mapping of this file can have
 */
struct memview_view_file {
	struct memview *view;
	u32 rights;
};

static int memview_view_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct memview_view_file *view_file = file->private_data;
	vm_flags_t clear = 0;
	int err;

	/* VM_SHARED is not set for a file that is not open for writing. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (READ_ONCE(view_file->view->dead))
		return -ESHUTDOWN;

	if (!(view_file->rights & MEMVIEW_MAP_EXEC) &&
	    (vma->vm_flags & VM_EXEC))
		return -EACCES;
	/*
	 * mprotect(2) makes present entries executable without a fault, so a
	 * mapping made without PROT_EXEC never gets it; one made with it has
	 * memview_mprotect(). Writing does fault: see memview_pfn_mkwrite().
	 */
	if (!(vma->vm_flags & VM_EXEC))
		clear |= VM_MAYEXEC;
	if (!(view_file->rights & MEMVIEW_MAP_WRITE))
		clear |= VM_MAYWRITE;

	err = memview_mapping_init(view_file->view, vma);
	if (err)
		return err;
	err = memview_peer_add(view_file->view, vma->vm_mm);
	if (err) {
		memview_mapping_drop(vma);
		return err;
	}
	vm_flags_mod(vma,
		     VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP |
			     (MEMVIEW_HUGE ? VM_HUGEPAGE : 0),
		     clear);
	vma->vm_ops = memview_fault_vm_ops(vma);
	return 0;
}

static int memview_view_release(struct inode *inode, struct file *file)
{
	struct memview_view_file *view_file = file->private_data;

	memview_put(view_file->view);
	kfree(view_file);
	return 0;
}

static const struct file_operations memview_view_fops = {
	.owner = THIS_MODULE,
	.mmap = memview_view_mmap,
	.fsync = memview_view_fsync,
	.release = memview_view_release,
	.get_unmapped_area = MEMVIEW_HUGE ? memview_pud_unmapped_area : NULL,
	.llseek = generic_file_llseek,
};

bool memview_is_view_file(const struct file *file)
{
	return file->f_op == &memview_view_fops;
}

/* The view of a view file: memview_is_view_file() must be true of it. */
struct memview *memview_of_file(const struct file *file)
{
	const struct memview_view_file *view_file = file->private_data;

	return view_file->view;
}

/**
 * memview_view_file_new - make a file for peers
 * @view: the view
 * @rights: MEMVIEW_MAP_* rights that its mappings can have
 */
struct file *memview_view_file_new(struct memview *view, u32 rights)
{
	int flags = rights & MEMVIEW_MAP_WRITE ? O_RDWR : O_RDONLY;
	struct memview_view_file *view_file;
	struct file *file;

	view_file = kzalloc(sizeof(*view_file), GFP_KERNEL_ACCOUNT);
	if (!view_file)
		return ERR_PTR(-ENOMEM);
	view_file->view = view;
	view_file->rights = rights;

	/* alloc_file_pseudo() takes no module reference, but __fput() drops one. */
	__module_get(THIS_MODULE);
	ihold(view->inode);
	file = alloc_file_pseudo(view->inode, memview_mnt, "memory-view", flags,
				 &memview_view_fops);
	if (IS_ERR(file)) {
		iput(view->inode);
		module_put(THIS_MODULE);
		kfree(view_file);
		return file;
	}
	memview_get(view);
	file->private_data = view_file;
	return file;
}
