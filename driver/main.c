// SPDX-License-Identifier: GPL-2.0
/* Module, device and control file; no policy here. */

#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>

#include "call.h"
#include "controller.h"
#include "fault.h"
#include "memview.h"
#include "mm.h"
#include "table.h"
#include "view.h"

unsigned int memview_fault_around = 16;
module_param_named(fault_around_pages, memview_fault_around, uint, 0644);
MODULE_PARM_DESC(fault_around_pages,
		 "Pages that one fault maps, 1 to 64 (default 16); grows with a sequence, but for 1");

unsigned long memview_max_ranges = 1UL << 22;
module_param_named(max_ranges, memview_max_ranges, ulong, 0644);
MODULE_PARM_DESC(max_ranges, "Ranges of one view at most (default 4194304)");

unsigned int memview_max_sources = 4096;
module_param_named(max_sources, memview_max_sources, uint, 0644);
MODULE_PARM_DESC(max_sources,
		 "Source mappings in one controller at most (default 4096)");

bool memview_gigantic_entries;
#if MEMVIEW_HUGE_PUD
module_param_named(gigantic_entries, memview_gigantic_entries, bool, 0644);
MODULE_PARM_DESC(gigantic_entries,
		 "Map pages of 1 GiB by one entry (default no: the kernel has a race there, see docs/design.md)");
#endif

/* Revokes and frees views: no work item in it waits for user space (R8). */
struct workqueue_struct *memview_wq;
/* Starts threads, which waits for memory: a queue apart from revocations. */
struct workqueue_struct *memview_threads_wq;

static int memview_open(struct inode *inode, struct file *file)
{
	struct memview *view = memview_create();

	if (IS_ERR(view))
		return PTR_ERR(view);
	file->private_data = view;
	return 0;
}

/* The last close of the control fd takes everything back (R4). */
static int memview_release(struct inode *inode, struct file *file)
{
	struct memview *view = file->private_data;

	memview_revoke(view);
	memview_controller_collect(memview_view_controller(view), true, false);
	memview_put(view);
	return 0;
}

static void memview_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct memview *view = file->private_data;
	unsigned long ranges;
	unsigned int sources;

	spin_lock(&view->lock);
	ranges = view->nr_ranges;
	sources = list_count_nodes(&view->attachments);
	spin_unlock(&view->lock);

	seq_printf(m, "size:\t%llu\n", memview_size(view));
	seq_printf(m, "ranges:\t%lu\n", ranges);
	seq_printf(m, "sources:\t%u\n", sources);
	seq_printf(m, "faults:\t%lld\n", atomic64_read(&view->faults));
	seq_printf(m, "huge_entries:\t%lld\n",
		   atomic64_read(&view->huge_entries));
	seq_printf(m, "zaps:\t%lld\n", atomic64_read(&view->zaps));
	seq_printf(m, "peers:\t%lu\n", READ_ONCE(view->nr_peers));
}

static const struct file_operations memview_control_fops = {
	.owner		= THIS_MODULE,
	.open		= memview_open,
	.release	= memview_release,
	.unlocked_ioctl	= memview_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.uring_cmd	= memview_uring_cmd,
	.show_fdinfo	= memview_show_fdinfo,
	.llseek		= noop_llseek,
};

static struct miscdevice memview_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "memory-view",
	.fops	= &memview_control_fops,
	.mode	= 0600,
};

static int __init memview_init(void)
{
	int err = -ENOMEM;

	memview_wq = alloc_workqueue("memory-view", WQ_UNBOUND, 0);
	if (!memview_wq)
		return err;
	memview_threads_wq = alloc_workqueue("memory-view-threads", WQ_UNBOUND, 0);
	if (!memview_threads_wq)
		goto err_wq;
	err = memview_table_init();
	if (err)
		goto err_threads_wq;
	err = memview_fault_init();
	if (err)
		goto err_table;
	err = misc_register(&memview_device);
	if (err)
		goto err_fault;
	return 0;

err_fault:
	memview_fault_exit();
err_table:
	memview_table_exit();
err_threads_wq:
	destroy_workqueue(memview_threads_wq);
err_wq:
	destroy_workqueue(memview_wq);
	return err;
}

static void __exit memview_exit(void)
{
	misc_deregister(&memview_device);
	/* No file is open any more; work that they left is in the queues. */
	destroy_workqueue(memview_threads_wq);
	memview_controllers_exit();
	destroy_workqueue(memview_wq);
	memview_mm_exit();
	memview_fault_exit();
	memview_table_exit();
	/*
	 * A fault ends by dropping the file that kept the module. In a kernel
	 * thread that can free the file at once, while the fault still has a
	 * few instructions of ours to run.
	 */
	synchronize_rcu_tasks();
}

module_init(memview_init);
module_exit(memview_exit);

MODULE_DESCRIPTION("Memory views: lend memory to a process and take it back");
MODULE_LICENSE("GPL");
