// SPDX-License-Identifier: GPL-2.0
/* The view object: its pseudo inode, its references, its revocation. */

#include <linux/mount.h>
#include <linux/module.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "controller.h"
#include "memview.h"
#include "notes.h"
#include "peers.h"
#include "table.h"
#include "view.h"
#include "trace.h"

#define MEMVIEW_FS_MAGIC 0x4d565746	/* "MVWF" */

struct vfsmount *memview_mnt;
static int memview_mnt_count;

static int memview_init_fs_context(struct fs_context *fc)
{
	struct pseudo_fs_context *ctx = init_pseudo(fc, MEMVIEW_FS_MAGIC);

	if (!ctx)
		return -ENOMEM;
	/* 6.17 made it the default here; the ranges' files decide about exec. */
	fc->s_iflags &= ~SB_I_NOEXEC;
	return 0;
}

/* Mounted by simple_pin_fs(): a kern_mount() with .owner would pin the module. */
static struct file_system_type memview_fs_type = {
	.name		= "memory-view",
	.owner		= THIS_MODULE,
	.init_fs_context = memview_init_fs_context,
	.kill_sb	= kill_anon_super,
};

/* A peer must change neither the size nor the mode. */
static int memview_setattr(memview_idmap_t *idmap, struct dentry *dentry,
			   struct iattr *attr)
{
	return -EPERM;
}

/*
 * inotify and fanotify find the inode through /proc/self/fd, and a watch keeps it
 * when the view has gone. They ask for MAY_READ, which a view need not grant:
 * open(2) and access(2) ask with other bits, and mmap(2) does not ask at all.
 * A path alone (O_PATH) keeps the mount, too, and with it the module.
 */
static int memview_permission(memview_idmap_t *idmap, struct inode *inode,
			      int mask)
{
	if ((mask & (MAY_READ | MAY_OPEN | MAY_ACCESS)) == MAY_READ)
		return -EACCES;
	return generic_permission(idmap, inode, mask);
}

static const struct inode_operations memview_inode_ops = {
	.permission = memview_permission,
	.setattr = memview_setattr,
};

static void memview_revoke_work(struct work_struct *work)
{
	struct memview *view = container_of(work, struct memview, revoke_work);

	/* Or the holder of ops_lock revokes: nothing in this queue waits (R8). */
	memview_try_revoke(view);
	memview_put(view);
}

static void memview_free_work(struct work_struct *work)
{
	struct memview *view = container_of(work, struct memview, free_work);

	memview_peers_free(view);
	memview_notes_free(&view->notes);
	iput(view->inode);
	simple_release_fs(&memview_mnt, &memview_mnt_count);
	if (view->controller) {
		memview_controller_remove(view->controller, view);
		memview_controller_put(view->controller);
	}
	memview_table_destroy(view);
	kfree(view);
}

struct memview *memview_create(void)
{
	struct memview *view;
	struct inode *inode;
	int err;

	view = kzalloc(sizeof(*view), GFP_KERNEL_ACCOUNT);
	if (!view)
		return ERR_PTR(-ENOMEM);

	err = simple_pin_fs(&memview_fs_type, &memview_mnt, &memview_mnt_count);
	if (err)
		goto err_free;

	inode = alloc_anon_inode(memview_mnt->mnt_sb);
	if (IS_ERR(inode)) {
		err = PTR_ERR(inode);
		goto err_unpin;
	}
	/* i_fop stays no_open_fops: no second open through /proc. */
	inode->i_flags &= ~S_ANON_INODE;
	inode->i_mode = S_IFREG | 0600;
	inode->i_op = &memview_inode_ops;
	/*
	 * A watch that gets past memview_permission() must not hold up the end of
	 * the mount, which is in a worker: unmounting drops the watches of all
	 * inodes in its list, and before 7.0 waits for those of others.
	 */
	inode_sb_list_add(inode);

	kref_init(&view->ref);
	view->inode = inode;
	mutex_init(&view->ops_lock);
	spin_lock_init(&view->lock);
	init_waitqueue_head(&view->change_wait);
	view->table = RB_ROOT;
	seqcount_init(&view->table_seq);
	INIT_LIST_HEAD(&view->attachments);
	view->pending_first = 1;
	view->pending_last = 0;
	memview_notes_init(&view->notes);
	spin_lock_init(&view->peers_lock);
	view->mappings = RB_ROOT_CACHED;
	view->peers = RB_ROOT;
	INIT_WORK(&view->revoke_work, memview_revoke_work);
	INIT_WORK(&view->free_work, memview_free_work);
	return view;

err_unpin:
	simple_release_fs(&memview_mnt, &memview_mnt_count);
err_free:
	kfree(view);
	return ERR_PTR(err);
}

void memview_get(struct memview *view)
{
	kref_get(&view->ref);
}

static void memview_release_ref(struct kref *ref)
{
	struct memview *view = container_of(ref, struct memview, ref);

	/* The last reference can go in a peer's fault or an invalidation. */
	queue_work(memview_wq, &view->free_work);
}

void memview_put(struct memview *view)
{
	kref_put(&view->ref, memview_release_ref);
}

/**
 * memview_zap_begin - announce zaps
 * @view: the view
 *
 * A walk of a peer's page tables without its mmap_lock takes a PUD entry that
 * appears meanwhile for garbage (pud_none_or_clear_bad()), clears it and does not
 * flush the TLB. So none is made from here to memview_zap_end().
 *
 * Context: under memview.lock, so that a fault that inserts sees it.
 */
void memview_zap_begin(struct memview *view)
{
	lockdep_assert_held(&view->lock);
	atomic_inc(&view->zapping);
}

void memview_zap_end(struct memview *view)
{
	atomic_dec(&view->zapping);
}

static void memview_revoke_locked(struct memview *view)
{
	struct rb_root removed = RB_ROOT;
	LIST_HEAD(idle);

	lockdep_assert_held(&view->ops_lock);

	if (view->dead)
		return;

	trace_memview_revoke(view);
	memview_table_write_begin(view);
	WRITE_ONCE(view->dead, true);
	memview_table_clear(view, &idle, &removed);
	view->pending_first = 0;
	view->pending_last = MEMVIEW_LAST_PAGE;
	memview_zap_begin(view);
	memview_table_write_end(view);

	memview_zap(view, 0, MEMVIEW_LAST_PAGE, false);
	memview_zap_end(view);
	WRITE_ONCE(view->pending_first, ULONG_MAX);

	memview_table_free(view, &idle, &removed);
}

/**
 * memview_stopped - whether a table operation must end early
 * @view: the view; it has not changed yet, or the change can be undone
 *
 * Return: 0; -ESHUTDOWN for a revocation, which waits; -EINTR for a SIGKILL
 */
int memview_stopped(const struct memview *view)
{
	if (READ_ONCE(view->revoking))
		return -ESHUTDOWN;
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/**
 * memview_revoke - remove everything, for good
 * @view: the view
 *
 * Waits for a running table operation, which ends at its next step and is undone.
 */
void memview_revoke(struct memview *view)
{
	WRITE_ONCE(view->revoking, true);
	mutex_lock(&view->ops_lock);
	memview_revoke_locked(view);
	memview_ops_unlock(view);
}

/* As memview_revoke(). When killed, -EINTR: the holder of ops_lock revokes. */
int memview_revoke_killable(struct memview *view)
{
	WRITE_ONCE(view->revoking, true);
	if (mutex_lock_killable(&view->ops_lock))
		return memview_try_revoke(view) ? 0 : -EINTR;
	memview_revoke_locked(view);
	memview_ops_unlock(view);
	return 0;
}

/*
 * As memview_revoke(), unless it would have to wait for another operation. With
 * memview.revoking set, that operation revokes in memview_ops_unlock().
 */
bool memview_try_revoke(struct memview *view)
{
	/* Pairs with memview_ops_unlock(). */
	smp_mb();
	if (!mutex_trylock(&view->ops_lock))
		return false;
	memview_revoke_locked(view);
	memview_ops_unlock(view);
	return true;
}

/* Queues a revocation, for callers in a notifier, which cannot revoke. */
void memview_revoke_later(struct memview *view)
{
	if (!kref_get_unless_zero(&view->ref))
		return;
	WRITE_ONCE(view->revoking, true);
	if (!queue_work(memview_wq, &view->revoke_work))
		memview_put(view);
}
