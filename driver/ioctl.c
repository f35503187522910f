// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctls of the control fd.
 *
 * Each table operation has the same shape: check the arguments, take ops_lock,
 * check against the table, allocate; then commit under memview.lock, which
 * cannot fail (R5); then zap what has lost a right, and only then return (R1).
 */

#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "memview.h"
#include "trace.h"

#define MEMVIEW_MAX_SIZE	round_down(MAX_LFS_FILESIZE, PAGE_SIZE)
#define MEMVIEW_QUERY_MAX	SZ_1M

/* Pages, both inclusive. */
struct memview_span {
	pgoff_t first;
	pgoff_t last;
};

static int memview_span_init(struct memview_span *span, u64 offset, u64 size)
{
	u64 end;

	if (!PAGE_ALIGNED(offset) || !PAGE_ALIGNED(size) || !size)
		return -EINVAL;
	if (check_add_overflow(offset, size, &end) || end > LLONG_MAX)
		return -EOVERFLOW;
	span->first = offset >> PAGE_SHIFT;
	span->last = (end >> PAGE_SHIFT) - 1;
	return 0;
}

static int memview_rights_check(u32 flags, u32 allowed)
{
	/* The hardware has no way to express W or X without R. */
	if ((flags & ~allowed) || !(flags & MEMVIEW_MAP_READ))
		return -EINVAL;
	return 0;
}

/* Starts a table operation; with 0, memview_op_end() must follow. */
static int memview_op_begin(struct memview *view)
{
	int err = 0;

	mutex_lock(&view->ops_lock);
	if (view->dead)
		err = -ESHUTDOWN;
	else if (view->mirror && view->mirror->mm != current->mm)
		err = -EIO;
	if (err)
		mutex_unlock(&view->ops_lock);
	return err;
}

static int memview_op_begin_span(struct memview *view,
				 const struct memview_span *span)
{
	int err = memview_op_begin(view);

	if (err)
		return err;
	if (span->last >= memview_size(view) >> PAGE_SHIFT) {
		mutex_unlock(&view->ops_lock);
		return -ERANGE;
	}
	return 0;
}

static void memview_op_end(struct memview *view)
{
	mutex_unlock(&view->ops_lock);
}

static void memview_commit_begin(struct memview *view, pgoff_t first,
				 pgoff_t last)
{
	lockdep_assert_held(&view->ops_lock);

	if (MEMVIEW_BROKEN_zap_first)
		memview_zap(view, first, last);

	down_write(&view->lock);
	view->gen++;
}

/* Ends a commit that takes no right away. */
static void memview_commit_end(struct memview *view)
{
	up_write(&view->lock);
}

/* Ends a commit, and the entries that it has made stale. */
static void memview_commit_zap(struct memview *view, pgoff_t first,
			       pgoff_t last)
{
	view->pending_first = first;
	view->pending_last = last;
	up_write(&view->lock);

	if (!MEMVIEW_BROKEN_zap_first)
		memview_zap(view, first, last);
	WRITE_ONCE(view->pending_first, ULONG_MAX);
}

static bool memview_has_room(struct memview *view, unsigned long more)
{
	unsigned long limit = READ_ONCE(memview_max_ranges);

	return view->nr_ranges <= limit && limit - view->nr_ranges >= more;
}

/* The ranges that lie in the span as a whole. */
static unsigned long memview_count_inside(struct memview *view,
					  const struct memview_span *span)
{
	struct memview_range *range;
	unsigned long nr = 0;

	for (range = memview_table_first(view, span->first);
	     range && range->last <= span->last;
	     range = memview_table_next(range))
		nr += range->first >= span->first;
	return nr;
}

static long memview_get_info(struct memview *view, void *arg)
{
	struct memview_info *info = arg;

	*info = (struct memview_info) {
		.max_size	= MEMVIEW_MAX_SIZE,
		.features	= MEMVIEW_FEATURE_LAZY_WRITE,
		.max_ranges	= READ_ONCE(memview_max_ranges),
		.page_size	= PAGE_SIZE,
		.fault_around	= clamp(READ_ONCE(memview_fault_around), 1U,
					(unsigned int)MEMVIEW_WINDOW_MAX),
		.max_sources	= READ_ONCE(memview_max_sources),
	};
	down_read(&view->lock);
	info->size = memview_size(view);
	info->nr_ranges = view->nr_ranges;
	if (view->dead)
		info->state |= MEMVIEW_STATE_REVOKED;
	up_read(&view->lock);
	return 0;
}

static long memview_set_size(struct memview *view, void *arg)
{
	const struct memview_size_info *info = arg;
	pgoff_t pages = info->size >> PAGE_SHIFT;
	struct memview_range *spare = NULL;
	LIST_HEAD(idle);
	u64 removed;
	int err;

	if (!PAGE_ALIGNED(info->size))
		return -EINVAL;
	if (info->size > MEMVIEW_MAX_SIZE)
		return -EFBIG;

	err = memview_op_begin(view);
	if (err)
		return err;

	memview_commit_begin(view, pages, ULONG_MAX >> PAGE_SHIFT);
	i_size_write(view->inode, info->size);
	/* A span without end cuts no range in two: no spare. */
	removed = memview_table_carve(view, pages, ULONG_MAX, &spare, &idle);
	if (removed)
		memview_commit_zap(view, pages, ULONG_MAX >> PAGE_SHIFT);
	else
		memview_commit_end(view);
	memview_attach_put_list(&idle);
	memview_op_end(view);
	return 0;
}

/* A source in use would hide a seal that has been added since. */
static bool memview_file_write_sealed(struct file *file)
{
	struct inode *inode = file_inode(file);
	unsigned int seals = 0;

	if (memview_file_is_hugetlb(file))
		seals = HUGETLBFS_I(inode)->seals;
	else if (inode->i_sb->s_magic == TMPFS_MAGIC)
		seals = SHMEM_I(inode)->seals;
	return seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);
}

static int memview_file_check(struct file *file, u32 flags, u64 fd_end)
{
	struct inode *inode = file_inode(file);

	/*
	 * The point of memfd_secret(2) is that nothing but its owner has it,
	 * and a view in a view would make invalidations recurse. DAX is left to
	 * memview_segment_own(), which sees the file below an overlay.
	 */
	if (!S_ISREG(inode->i_mode) || (inode->i_flags & S_ANON_INODE) ||
	    inode->i_sb->s_magic == SECRETMEM_MAGIC ||
	    memview_is_view_file(file))
		return -ENODEV;
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if (flags & MEMVIEW_MAP_WRITE) {
		if (!(file->f_mode & FMODE_WRITE) || IS_APPEND(inode))
			return -EACCES;
		if (memview_file_write_sealed(file))
			return -EPERM;
	}
	if (memview_file_is_hugetlb(file) && fd_end > i_size_read(inode))
		return -EINVAL;
	return 0;
}

static int memview_map_locked(struct memview *view, struct file *file,
			      const struct memview_span *mem,
			      const struct memview_span *fd, u32 flags)
{
	struct memview_range *range, *spare = NULL, *old;
	bool cuts = memview_table_cuts(view, mem->first, mem->last);
	struct memview_mirror *mirror = view->mirror;
	struct memview_attach *attach;
	u64 removed = 0;
	LIST_HEAD(idle);
	int err;

	old = memview_table_first(view, mem->first);
	if (old && old->first <= mem->last && !(flags & MEMVIEW_MAP_REPLACE))
		return -EEXIST;
	if (!memview_has_room(view, 1 + cuts)) {
		unsigned long inside = memview_count_inside(view, mem);

		if (cuts || !inside || !memview_has_room(view, 0))
			return -ENOSPC;
	}

	range = memview_range_alloc();
	if (!range)
		return -ENOMEM;
	if (cuts) {
		spare = memview_range_alloc();
		if (!spare) {
			err = -ENOMEM;
			goto err_range;
		}
	}
	if (!mirror) {
		mirror = memview_mirror_get_current();
		if (IS_ERR(mirror)) {
			err = PTR_ERR(mirror);
			goto err_spare;
		}
	}
	attach = memview_attach_get(mirror, view, file, fd->first, fd->last,
				    flags & MEMVIEW_MAP_RIGHTS);
	if (IS_ERR(attach)) {
		err = PTR_ERR(attach);
		goto err_mirror;
	}
	if (!view->mirror)
		memview_mirror_add(mirror, view);

	*range = (struct memview_range) {
		.first		= mem->first,
		.last		= mem->last,
		.file_first	= fd->first,
		.attach		= attach,
		.flags		= flags & (MEMVIEW_MAP_RIGHTS |
					   MEMVIEW_MAP_LAZY_WRITE),
	};
	trace_memview_map(view, range);

	memview_commit_begin(view, mem->first, mem->last);
	if (flags & MEMVIEW_MAP_REPLACE)
		removed = memview_table_carve(view, mem->first, mem->last,
					      &spare, &idle);
	memview_table_insert(view, range);
	if (removed)
		memview_commit_zap(view, mem->first, mem->last);
	else
		memview_commit_end(view);

	memview_attach_put_list(&idle);
	memview_attach_put(attach);
	return 0;

err_mirror:
	if (!view->mirror)
		memview_mirror_put(mirror);
err_spare:
	memview_range_free(spare);
err_range:
	memview_range_free(range);
	return err;
}

static long memview_map_fd(struct memview *view, void *arg)
{
	const struct memview_map_fd_info *info = arg;
	struct memview_span mem, fd;
	struct file *file;
	int err;

	err = memview_rights_check(info->flags, MEMVIEW_MAP_RIGHTS |
				   MEMVIEW_MAP_REPLACE |
				   MEMVIEW_MAP_LAZY_WRITE);
	if (!err)
		err = memview_span_init(&mem, info->mem_offset, info->size);
	if (!err)
		err = memview_span_init(&fd, info->fd_offset, info->size);
	if (err)
		return err;

	file = fget(info->fd);
	if (!file)
		return -EBADF;
	err = memview_file_check(file, info->flags,
				 info->fd_offset + info->size);
	if (!err)
		err = memview_op_begin_span(view, &mem);
	if (!err) {
		err = memview_map_locked(view, file, &mem, &fd, info->flags);
		memview_op_end(view);
	}
	fput(file);
	return err;
}

static long memview_unmap_fd(struct memview *view, void *arg)
{
	struct memview_unmap_fd_info *info = arg;
	struct memview_range *spare = NULL;
	struct memview_span span;
	LIST_HEAD(idle);
	u64 removed;
	int err;

	err = memview_span_init(&span, info->mem_offset, info->size);
	if (!err)
		err = memview_op_begin_span(view, &span);
	if (err)
		return err;

	if (memview_table_cuts(view, span.first, span.last)) {
		err = -ENOSPC;
		if (!memview_has_room(view, 1))
			goto out_end;
		err = -ENOMEM;
		spare = memview_range_alloc();
		if (!spare)
			goto out_end;
	}
	err = 0;

	memview_commit_begin(view, span.first, span.last);
	removed = memview_table_carve(view, span.first, span.last, &spare,
				      &idle);
	if (removed)
		memview_commit_zap(view, span.first, span.last);
	else
		memview_commit_end(view);
	memview_attach_put_list(&idle);

	trace_memview_unmap(view, span.first, span.last, removed);
	info->unmapped = removed << PAGE_SHIFT;
out_end:
	memview_op_end(view);
	return err;
}

/*
 * Is the span fully mapped, by ranges that may have these rights? A right can
 * be given back, but one that mmap(2) has not been asked for is not known to be
 * allowed (R6).
 *
 * Return: whether anything changes, or an errno
 */
static int memview_protect_check(struct memview *view,
				 const struct memview_span *span, u32 flags)
{
	struct memview_range *range;
	pgoff_t next = span->first;
	bool changes = false;

	for (range = memview_table_first(view, next);
	     range && range->first <= next && next <= span->last;
	     range = memview_table_next(range)) {
		struct memview_segment *segment = range->attach->segment;

		if ((flags & MEMVIEW_MAP_WRITE) && !segment->writable)
			return -EACCES;
		if ((flags & MEMVIEW_MAP_EXEC) && !READ_ONCE(segment->exec_ok))
			return -EACCES;
		changes |= range->flags != flags;
		next = range->last + 1;
	}
	return next > span->last ? changes : -ENOENT;
}

static bool memview_boundary_cuts(struct memview *view, pgoff_t page)
{
	struct memview_range *range = memview_table_find(view, page);

	return range && range->first < page;
}

static int memview_protect_locked(struct memview *view,
				  const struct memview_span *span, u32 flags)
{
	struct memview_range *spare[2] = {}, *range;
	bool cuts[2];
	int err;

	err = memview_protect_check(view, span, flags);
	if (err <= 0)
		return err;

	cuts[0] = memview_boundary_cuts(view, span->first);
	cuts[1] = memview_boundary_cuts(view, span->last + 1);
	if (!memview_has_room(view, cuts[0] + cuts[1]))
		return -ENOSPC;
	if (cuts[0])
		spare[0] = memview_range_alloc();
	if (cuts[1])
		spare[1] = memview_range_alloc();
	if ((cuts[0] && !spare[0]) || (cuts[1] && !spare[1])) {
		memview_range_free(spare[0]);
		memview_range_free(spare[1]);
		return -ENOMEM;
	}

	memview_commit_begin(view, span->first, span->last);
	memview_table_split(view, span->first, &spare[0]);
	memview_table_split(view, span->last + 1, &spare[1]);
	for (range = memview_table_first(view, span->first);
	     range && range->last <= span->last;
	     range = memview_table_next(range)) {
		range->flags = flags;
		cond_resched();
	}
	/*
	 * A right that is added zaps too: KVM never upgrades a present
	 * read-only entry of a VM_PFNMAP mapping.
	 */
	memview_commit_zap(view, span->first, span->last);
	trace_memview_protect(view, span->first, span->last, flags);
	return 0;
}

static long memview_protect(struct memview *view, void *arg)
{
	const struct memview_protect_info *info = arg;
	struct memview_span span;
	int err;

	err = memview_rights_check(info->flags, MEMVIEW_MAP_RIGHTS |
				   MEMVIEW_MAP_LAZY_WRITE);
	if (!err && info->__pad)
		err = -EINVAL;
	if (!err)
		err = memview_span_init(&span, info->mem_offset, info->size);
	if (!err)
		err = memview_op_begin_span(view, &span);
	if (err)
		return err;
	err = memview_protect_locked(view, &span, info->flags);
	memview_op_end(view);
	return err;
}

static long memview_install_viewfd(struct memview *view, u32 rights)
{
	struct file *file;
	int fd;

	if (READ_ONCE(view->dead))
		return -ESHUTDOWN;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	file = memview_view_file(view, rights);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;
}

static long memview_get_viewfd(struct memview *view, void *arg)
{
	return memview_install_viewfd(view, MEMVIEW_MAP_RIGHTS);
}

static long memview_get_viewfd_rights(struct memview *view, void *arg)
{
	const struct memview_viewfd_info *info = arg;
	int err = memview_rights_check(info->rights, MEMVIEW_MAP_RIGHTS);

	if (err || info->__pad)
		return -EINVAL;
	return memview_install_viewfd(view, info->rights);
}

static long memview_revoke_ioctl(struct memview *view, void *arg)
{
	memview_revoke(view);
	return 0;
}

static void memview_range_describe(const struct memview_range *range,
				   struct memview_range_info *info)
{
	const struct memview_segment *segment = range->attach->segment;
	struct inode *inode = file_inode(segment->file);

	*info = (struct memview_range_info) {
		.mem_offset	= (u64)range->first << PAGE_SHIFT,
		.size		= (u64)(range->last - range->first + 1) <<
				  PAGE_SHIFT,
		.fd_offset	= (u64)range->file_first << PAGE_SHIFT,
		.ino		= inode->i_ino,
		.dev		= new_encode_dev(inode->i_sb->s_dev),
		.flags		= range->flags,
	};
	if (READ_ONCE(segment->state) != MEMVIEW_SEGMENT_DEAD)
		info->source_addr = memview_segment_addr(segment,
							 range->file_first);
}

static int memview_query_copy(const struct memview_query_info *query,
			      const struct memview_range_info *infos,
			      unsigned int nr)
{
	void __user *to = u64_to_user_ptr(query->ranges);
	size_t size = min_t(size_t, query->range_size, sizeof(*infos));
	unsigned int i;

	for (i = 0; i < nr; i++, to += query->range_size) {
		if (copy_to_user(to, &infos[i], size) ||
		    clear_user(to + size, query->range_size - size))
			return -EFAULT;
		cond_resched();
	}
	return 0;
}

static long memview_query(struct memview *view, void *arg)
{
	struct memview_query_info *query = arg;
	struct memview_range_info *infos = NULL;
	struct memview_range *range;
	unsigned int nr = 0;
	int err = 0;

	if (query->range_size < sizeof(*infos) ||
	    query->range_size > PAGE_SIZE || query->count > MEMVIEW_QUERY_MAX)
		return -EINVAL;

	mutex_lock(&view->ops_lock);
	query->count = min_t(unsigned long, query->count, view->nr_ranges);
	if (query->count) {
		infos = kvmalloc_array(query->count, sizeof(*infos),
				       GFP_KERNEL_ACCOUNT);
		if (!infos) {
			mutex_unlock(&view->ops_lock);
			return -ENOMEM;
		}
	}
	range = memview_table_first(view, query->mem_offset >> PAGE_SHIFT);
	for (; range && nr < query->count; range = memview_table_next(range))
		memview_range_describe(range, &infos[nr++]);
	query->total = view->nr_ranges;
	query->mem_offset = range ? (u64)range->first << PAGE_SHIFT :
				    memview_size(view);
	mutex_unlock(&view->ops_lock);

	query->count = nr;
	if (nr)
		err = memview_query_copy(query, infos, nr);
	kvfree(infos);
	return err;
}

/* Every structure begins with its first version: the least a caller can pass. */
static const struct memview_ioctl_desc {
	unsigned int cmd;
	unsigned int min_size;
	bool commits;		/* an error now would be a lie (R5) */
	long (*fn)(struct memview *view, void *arg);
} memview_ioctls[] = {
	[_IOC_NR(MEMVIEW_GET_INFO)] = {
		.cmd = MEMVIEW_GET_INFO,
		.min_size = offsetofend(struct memview_info, max_sources),
		.fn = memview_get_info,
	},
	[_IOC_NR(MEMVIEW_SET_SIZE)] = {
		.cmd = MEMVIEW_SET_SIZE,
		.min_size = offsetofend(struct memview_size_info, size),
		.fn = memview_set_size,
	},
	[_IOC_NR(MEMVIEW_MAP_FD)] = {
		.cmd = MEMVIEW_MAP_FD,
		.min_size = offsetofend(struct memview_map_fd_info, mem_offset),
		.fn = memview_map_fd,
	},
	[_IOC_NR(MEMVIEW_UNMAP_FD)] = {
		.cmd = MEMVIEW_UNMAP_FD,
		.min_size = offsetofend(struct memview_unmap_fd_info, unmapped),
		.commits = true,
		.fn = memview_unmap_fd,
	},
	[_IOC_NR(MEMVIEW_PROTECT)] = {
		.cmd = MEMVIEW_PROTECT,
		.min_size = offsetofend(struct memview_protect_info, __pad),
		.fn = memview_protect,
	},
	[_IOC_NR(MEMVIEW_GET_VIEWFD)] = {
		.cmd = MEMVIEW_GET_VIEWFD,
		.fn = memview_get_viewfd,
	},
	[_IOC_NR(MEMVIEW_GET_VIEWFD_RIGHTS)] = {
		.cmd = MEMVIEW_GET_VIEWFD_RIGHTS,
		.min_size = offsetofend(struct memview_viewfd_info, __pad),
		.fn = memview_get_viewfd_rights,
	},
	[_IOC_NR(MEMVIEW_REVOKE)] = {
		.cmd = MEMVIEW_REVOKE,
		.fn = memview_revoke_ioctl,
	},
	[_IOC_NR(MEMVIEW_QUERY)] = {
		.cmd = MEMVIEW_QUERY,
		.min_size = offsetofend(struct memview_query_info, total),
		.fn = memview_query,
	},
};

long memview_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	union {
		struct memview_info info;
		struct memview_size_info size;
		struct memview_map_fd_info map;
		struct memview_unmap_fd_info unmap;
		struct memview_protect_info protect;
		struct memview_viewfd_info viewfd;
		struct memview_query_info query;
	} buf = {};
	struct memview *view = file->private_data;
	const struct memview_ioctl_desc *desc;
	void __user *uarg = (void __user *)arg;
	unsigned int nr = _IOC_NR(cmd);
	size_t usize = _IOC_SIZE(cmd);
	size_t size;
	long ret;
	int err;

	if (nr >= ARRAY_SIZE(memview_ioctls))
		return -ENOTTY;
	desc = &memview_ioctls[nr];
	if ((cmd & ~IOCSIZE_MASK) != (desc->cmd & ~IOCSIZE_MASK))
		return -ENOTTY;
	size = _IOC_SIZE(desc->cmd);
	if (!size)
		return usize ? -ENOTTY : desc->fn(view, NULL);

	if (usize < desc->min_size)
		return -EINVAL;
	if (desc->cmd & IOC_IN) {
		err = copy_struct_from_user(&buf, size, uarg, usize);
		if (err)
			return err;
	}
	/* Find out before the operation that its result cannot be written. */
	if ((desc->cmd & IOC_OUT) &&
	    copy_to_user(uarg, &buf, min(usize, size)))
		return -EFAULT;

	ret = desc->fn(view, &buf);
	if (ret < 0 || !(desc->cmd & IOC_OUT))
		return ret;
	if (copy_to_user(uarg, &buf, min(usize, size)) ||
	    (usize > size && clear_user(uarg + size, usize - size)))
		return desc->commits ? ret : -EFAULT;
	return ret;
}
