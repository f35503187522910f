// SPDX-License-Identifier: GPL-2.0
/*
 * The operations of the control fd, by ioctl or by io_uring: the checks of
 * arguments and files. Changes of the table go to memview_update().
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

#include "attachment.h"
#include "call.h"
#include "controller.h"
#include "memview.h"
#include "source.h"
#include "table.h"
#include "update.h"
#include "view.h"
#include "view_file.h"
#include "trace.h"

#define MEMVIEW_MAX_SIZE	round_down(MAX_LFS_FILESIZE, PAGE_SIZE)
#define MEMVIEW_QUERY_MAX	SZ_1M

/*
 * Copies in an argument of any version. With @nowait, -EAGAIN if that would fault.
 * Inline, because a copy of constant size needs fewer checks.
 */
static __always_inline int
memview_copy_in(void *to, size_t size, const void __user *from, size_t usize,
		bool nowait)
{
	int err;

	if (nowait)
		pagefault_disable();
	if (usize == size)
		err = copy_from_user(to, from, size) ? -EFAULT : 0;
	else
		err = copy_struct_from_user(to, size, from, usize);
	if (nowait)
		pagefault_enable();
	return err == -EFAULT && nowait ? -EAGAIN : err;
}

static int memview_span_check(u64 offset, u64 size)
{
	u64 end;

	if (!PAGE_ALIGNED(offset) || !PAGE_ALIGNED(size) || !size)
		return -EINVAL;
	if (check_add_overflow(offset, size, &end) || end > LLONG_MAX)
		return -EOVERFLOW;
	return 0;
}

static int memview_op_span(struct memview_table_op *op, u64 offset, u64 size)
{
	int err = memview_span_check(offset, size);

	op->first = offset >> PAGE_SHIFT;
	op->last = op->first + (size >> PAGE_SHIFT) - 1;
	return err;
}

static int memview_rights_check(u32 flags, u32 allowed)
{
	/* The hardware has no way to express W or X without R. */
	if ((flags & ~allowed) || !(flags & MEMVIEW_MAP_READ))
		return -EINVAL;
	return 0;
}

static long memview_get_info(struct memview *view, void *arg, bool nowait)
{
	struct memview_info *info = arg;

	*info = (struct memview_info) {
		.max_size	= MEMVIEW_MAX_SIZE,
		.features	= MEMVIEW_FEATURE_LAZY_WRITE |
				  MEMVIEW_FEATURE_UPDATE |
				  MEMVIEW_FEATURE_ADOPT |
				  MEMVIEW_FEATURE_POPULATE |
				  MEMVIEW_FEATURE_NO_ALLOC |
				  (IS_ENABLED(CONFIG_IO_URING) ?
				   MEMVIEW_FEATURE_URING_CMD : 0) |
				  (MEMVIEW_HUGE ? MEMVIEW_FEATURE_HUGE : 0) |
				  MEMVIEW_FEATURE_COOKIE |
				  MEMVIEW_FEATURE_DROP_IDLE |
				  MEMVIEW_FEATURE_FSYNC,
		.max_ranges	= READ_ONCE(memview_max_ranges),
		.page_size	= PAGE_SIZE,
		.fault_around	= clamp(READ_ONCE(memview_fault_around), 1U,
					(unsigned int)MEMVIEW_WINDOW_MAX),
		.max_sources	= READ_ONCE(memview_max_sources),
		.huge_entries	= atomic64_read(&view->huge_entries),
	};
	spin_lock(&view->lock);
	info->size = memview_size(view);
	info->nr_ranges = view->nr_ranges;
	if (view->dead)
		info->state |= MEMVIEW_STATE_REVOKED;
	spin_unlock(&view->lock);
	return 0;
}

/* An update of one table operation. Return: pages removed, or an errno */
static long memview_update_one(struct memview *view,
			       struct memview_table_op *op, bool nowait)
{
	struct memview_result result;
	int err;

	err = memview_update(view, op, 1, nowait, &result);
	return err ? err : (long)result.removed;
}

static long memview_set_size(struct memview *view, void *arg, bool nowait)
{
	const struct memview_size_info *info = arg;
	struct memview_table_op op = {
		.kind = MEMVIEW_TABLE_OP_RESIZE,
		.first = info->size >> PAGE_SHIFT,
		.last = ULONG_MAX,
	};

	if (!PAGE_ALIGNED(info->size))
		return -EINVAL;
	if (info->size > MEMVIEW_MAX_SIZE)
		return -EFBIG;
	return min(memview_update_one(view, &op, nowait), 0L);
}

/* Seals are checked for each map: a source in use may be older than a seal. */
static bool memview_file_write_sealed(struct inode *inode, bool hugetlb)
{
	unsigned int seals = 0;

	if (hugetlb)
		seals = HUGETLBFS_I(inode)->seals;
	else if (inode->i_sb->s_magic == TMPFS_MAGIC)
		seals = SHMEM_I(inode)->seals;
	return seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);
}

static int memview_file_check(struct file *file, u32 flags, u64 fd_end)
{
	struct inode *inode = file_inode(file);
	bool hugetlb = memview_file_is_hugetlb(file);

	/*
	 * memfd_secret(2) exists to keep its memory from all but its owner, and
	 * a view in a view would make invalidations recurse. DAX is checked in
	 * the VMA, which shows the file below an overlay.
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
		if (memview_file_write_sealed(inode, hugetlb))
			return -EPERM;
	}
	if (hugetlb && fd_end > i_size_read(inode))
		return -EINVAL;
	return 0;
}

static int memview_addr_check(u64 addr, u32 flags)
{
	if (!(flags & MEMVIEW_MAP_ADOPT))
		return addr ? -EINVAL : 0;
	return PAGE_ALIGNED(addr) ? 0 : -EINVAL;
}

/* The descriptor of the operation before, and its file. */
struct memview_fd {
	struct file *file;	/* held by that operation, or NULL */
	int fd;
};

/* With 0, op->file is held. */
static int memview_op_map(struct memview_table_op *op,
			  const struct memview_op *uop,
			  struct memview_fd *before)
{
	int err;

	err = memview_rights_check(uop->flags, MEMVIEW_MAP_RIGHTS |
				   MEMVIEW_MAP_REPLACE |
				   MEMVIEW_MAP_LAZY_WRITE |
				   MEMVIEW_MAP_NO_ALLOC |
				   MEMVIEW_MAP_POPULATE | MEMVIEW_MAP_ADOPT);
	if (!err)
		err = memview_addr_check(uop->addr, uop->flags);
	if (!err)
		err = memview_op_span(op, uop->mem_offset, uop->size);
	if (!err)
		err = memview_span_check(uop->fd_offset, uop->size);
	if (err)
		return err;

	op->kind = MEMVIEW_TABLE_OP_MAP;
	op->flags = uop->flags;
	if (uop->flags & MEMVIEW_MAP_POPULATE) {
		/* memview_ops_merge() overwrites first and last. */
		op->populate_first = op->first;
		op->populate_nr = op->last - op->first + 1;
	}
	op->file_first = uop->fd_offset >> PAGE_SHIFT;
	op->addr = uop->addr;
	op->cookie = uop->cookie;
	op->file = before->file && before->fd == uop->fd ?
			   get_file(before->file) :
			   fget(uop->fd);
	if (!op->file)
		return -EBADF;
	err = memview_file_check(op->file, uop->flags,
				 uop->fd_offset + uop->size);
	if (err) {
		fput(op->file);
		return err;
	}
	before->file = op->file;
	before->fd = uop->fd;
	return 0;
}

/* Populates the pages that @op has mapped. Best effort. */
static void memview_op_populate(struct memview *view,
				const struct memview_table_op *op)
{
	u64 nr = op->populate_nr;

	if (nr)
		memview_populate(view, op->populate_first,
				 op->populate_first + nr - 1,
				 MEMVIEW_POPULATE_PEERS, &nr);
}

static long memview_map_fd(struct memview *view, void *arg, bool nowait)
{
	const struct memview_map_fd_info *info = arg;
	const struct memview_op uop = {
		.fd = info->fd,
		.flags = info->flags,
		.fd_offset = info->fd_offset,
		.size = info->size,
		.mem_offset = info->mem_offset,
		.addr = info->addr,
		.cookie = info->cookie,
	};
	struct memview_fd before = {};
	struct memview_table_op op = {};
	long ret;

	ret = memview_op_map(&op, &uop, &before);
	if (ret)
		return ret;
	ret = min(memview_update_one(view, &op, nowait), 0L);
	if (!ret)
		memview_op_populate(view, &op);
	fput(op.file);
	return ret;
}

static long memview_unmap_fd(struct memview *view, void *arg, bool nowait)
{
	struct memview_unmap_fd_info *info = arg;
	struct memview_table_op op = {.kind = MEMVIEW_TABLE_OP_UNMAP};
	long ret;

	ret = memview_op_span(&op, info->mem_offset, info->size);
	if (!ret)
		ret = memview_update_one(view, &op, nowait);
	if (ret < 0)
		return ret;
	info->unmapped = (u64)ret << PAGE_SHIFT;
	return 0;
}

static int memview_op_protect(struct memview_table_op *op, u64 mem_offset,
			      u64 size, u32 flags)
{
	int err = memview_rights_check(flags, MEMVIEW_MAP_RIGHTS |
				       MEMVIEW_MAP_LAZY_WRITE |
				       MEMVIEW_MAP_NO_ALLOC);

	op->kind = MEMVIEW_TABLE_OP_PROTECT;
	op->flags = flags;
	return err ? err : memview_op_span(op, mem_offset, size);
}

static long memview_protect(struct memview *view, void *arg, bool nowait)
{
	const struct memview_protect_info *info = arg;
	struct memview_table_op op = {};
	int err;

	err = memview_op_protect(&op, info->mem_offset, info->size,
				 info->flags);
	if (!err && info->__pad)
		err = -EINVAL;
	return err ? err : memview_update_one(view, &op, nowait);
}

/* One operation of MEMVIEW_UPDATE, with the errnos of the ioctl that does it alone. */
static int memview_op_parse(struct memview_table_op *op,
			    const struct memview_op *uop,
			    struct memview_fd *before)
{
	if (uop->__pad)
		return -EINVAL;
	if (uop->op == MEMVIEW_OP_MAP)
		return memview_op_map(op, uop, before);
	if (uop->fd || uop->fd_offset || uop->addr || uop->cookie)
		return -EINVAL;
	if (uop->op == MEMVIEW_OP_PROTECT)
		return memview_op_protect(op, uop->mem_offset, uop->size,
					  uop->flags);
	if (uop->op != MEMVIEW_OP_UNMAP || uop->flags)
		return -EINVAL;
	op->kind = MEMVIEW_TABLE_OP_UNMAP;
	return memview_op_span(op, uop->mem_offset, uop->size);
}

/* Reads the operations of a MEMVIEW_UPDATE, many with each copy. */
struct memview_op_reader {
	const void __user *from;
	size_t op_size;		/* of the caller's version */
	unsigned int left;	/* not copied in yet */
	bool nowait;
	struct memview_op *buf;
	unsigned int at;
	unsigned int nr;	/* entries of @buf */
};

/* Number of operations that fit into a page. */
#define MEMVIEW_OP_READER_CHUNK \
	((unsigned int)(PAGE_SIZE / sizeof(struct memview_op)))

/* Copies one at a time for another version, or where copying many has failed. */
static int memview_op_reader_fill(struct memview_op_reader *reader)
{
	unsigned int nr = min(reader->left, MEMVIEW_OP_READER_CHUNK);
	int err = -EFAULT;

	if (reader->op_size == sizeof(*reader->buf))
		err = memview_copy_in(reader->buf, nr * sizeof(*reader->buf),
				      reader->from, nr * sizeof(*reader->buf),
				      reader->nowait);
	if (err) {
		nr = 1;
		err = memview_copy_in(reader->buf, sizeof(*reader->buf),
				      reader->from, reader->op_size,
				      reader->nowait);
	}
	if (err)
		return err;
	reader->from += nr * reader->op_size;
	reader->left -= nr;
	reader->at = 0;
	reader->nr = nr;
	cond_resched();
	return 0;
}

/* Parses all operations. @nr: gets the number of valid ones before the first error */
static int memview_op_reader_parse(struct memview_op_reader *reader,
				   struct memview_table_op *ops,
				   unsigned int *nr)
{
	struct memview_fd before = {};
	int err = 0;

	for (*nr = 0; reader->at < reader->nr || reader->left; ++*nr) {
		if (reader->at == reader->nr)
			err = memview_op_reader_fill(reader);
		/* A failed operation holds no file: it has put it. */
		if (!err)
			err = memview_op_parse(&ops[*nr],
					       &reader->buf[reader->at++],
					       &before);
		if (err)
			return err;
	}
	return 0;
}

static void memview_ops_free(struct memview_table_op *ops, unsigned int nr)
{
	while (nr--)
		if (ops[nr].file)
			fput(ops[nr].file);
	kvfree(ops);
}

static int memview_update_info_check(const struct memview_update_info *info)
{
	if (info->flags ||
	    info->op_size < offsetofend(struct memview_op, __pad) ||
	    info->op_size > PAGE_SIZE || info->count > MEMVIEW_UPDATE_MAX)
		return -EINVAL;
	return 0;
}

static long memview_update_ioctl(struct memview *view, void *arg, bool nowait)
{
	struct memview_update_info *info = arg;
	struct memview_op_reader reader = {
		.from = u64_to_user_ptr(info->ops),
		.op_size = info->op_size,
		.left = info->count,
		.nowait = nowait,
	};
	struct memview_result result;
	struct memview_table_op *ops;
	unsigned int nr, i;
	int err;

	info->failed = info->count;
	info->unmapped = 0;
	err = memview_update_info_check(info);
	if (err || !info->count)
		return err;
	ops = kvcalloc(info->count, sizeof(*ops), GFP_KERNEL_ACCOUNT);
	reader.buf = kmalloc_array(min(info->count, MEMVIEW_OP_READER_CHUNK),
				   sizeof(*reader.buf), GFP_KERNEL_ACCOUNT);
	if (!ops || !reader.buf) {
		kfree(reader.buf);
		kvfree(ops);
		return -ENOMEM;
	}

	err = memview_op_reader_parse(&reader, ops, &nr);
	kfree(reader.buf);
	if (err) {
		info->failed = nr;
	} else {
		err = memview_update(view, ops, nr, nowait, &result);
		info->failed = result.failed;
		info->unmapped = result.removed << PAGE_SHIFT;
	}
	for (i = 0; i < nr && !err; i++)
		if (ops[i].flags & MEMVIEW_MAP_POPULATE)
			memview_op_populate(view, &ops[i]);
	memview_ops_free(ops, nr);
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
	file = memview_view_file_new(view, rights);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;
}

static long memview_get_viewfd(struct memview *view, void *arg, bool nowait)
{
	return memview_install_viewfd(view, MEMVIEW_MAP_RIGHTS);
}

static long memview_get_viewfd_rights(struct memview *view, void *arg,
				      bool nowait)
{
	const struct memview_viewfd_info *info = arg;
	int err = memview_rights_check(info->rights, MEMVIEW_MAP_RIGHTS);

	if (err || info->__pad)
		return -EINVAL;
	return memview_install_viewfd(view, info->rights);
}

static long memview_revoke_ioctl(struct memview *view, void *arg, bool nowait)
{
	int err;

	if (nowait)
		return memview_try_revoke(view) ? 0 : -EAGAIN;
	err = memview_revoke_killable(view);
	if (!err)
		memview_controller_collect(memview_view_controller(view), true,
					   false);
	return err;
}

static long memview_drop_idle(struct memview *view, void *arg, bool nowait)
{
	return memview_controller_drop_idle(view);
}

static void memview_range_describe(const struct memview_range *range,
				   struct memview_range_info *info)
{
	const struct memview_source *source = range->attachment->source;
	struct inode *inode = file_inode(source->file);
	pgoff_t file_first = memview_range_file_first(range);

	*info = (struct memview_range_info) {
		.mem_offset	= (u64)range->first << PAGE_SHIFT,
		.size		= (u64)(range->last - range->first + 1) <<
				  PAGE_SHIFT,
		.fd_offset	= (u64)file_first << PAGE_SHIFT,
		.ino		= inode->i_ino,
		.dev		= new_encode_dev(inode->i_sb->s_dev),
		.flags		= memview_flags_unpack(memview_range_flags(range)),
		.cookie		= range->cookie,
	};
	if (READ_ONCE(source->state) != MEMVIEW_SOURCE_DEAD)
		info->source_addr = memview_source_addr(source, file_first);
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

/*
 * Describes the ranges from query->mem_offset on, under ops_lock. Nobody waits long
 * for that: a revocation or a SIGKILL ends it.
 */
static int memview_query_fill(struct memview *view,
			      struct memview_query_info *query,
			      struct memview_range_info *infos)
{
	struct memview_range *range;
	unsigned int nr = 0;
	int err = 0;

	range = memview_table_first(view, query->mem_offset >> PAGE_SHIFT);
	for (; range && nr < query->count && !err;
	     range = memview_table_next(range)) {
		memview_range_describe(range, &infos[nr++]);
		if (nr % 1024 == 0) {
			cond_resched();
			err = memview_stopped(view);
		}
	}
	query->count = nr;
	query->total = view->nr_ranges;
	query->mem_offset = range ? (u64)range->first << PAGE_SHIFT :
				    memview_size(view);
	return err;
}

static long memview_query(struct memview *view, void *arg, bool nowait)
{
	struct memview_query_info *query = arg;
	struct memview_range_info *infos = NULL;
	u32 wanted = query->count, room;
	int err;

	if (query->range_size < offsetofend(struct memview_range_info, flags) ||
	    query->range_size > PAGE_SIZE || query->count > MEMVIEW_QUERY_MAX)
		return -EINVAL;

	room = min_t(unsigned long, wanted, READ_ONCE(view->nr_ranges));
	for (;;) {
		/* The allocation may wait, so it is made without the lock. */
		if (room) {
			infos = kvmalloc_array(room, sizeof(*infos),
					       GFP_KERNEL_ACCOUNT);
			if (!infos)
				return -ENOMEM;
		}
		if (mutex_lock_killable(&view->ops_lock)) {
			kvfree(infos);
			return -EINTR;
		}
		query->count = min_t(unsigned long, wanted, view->nr_ranges);
		if (query->count <= room)
			break;
		room = query->count;
		memview_ops_unlock(view);
		kvfree(infos);
	}
	err = memview_query_fill(view, query, infos);
	memview_ops_unlock(view);

	if (!err && query->count)
		err = memview_query_copy(query, infos, query->count);
	kvfree(infos);
	return err;
}

static long memview_populate_ioctl(struct memview *view, void *arg, bool nowait)
{
	struct memview_populate_info *info = arg;
	pgoff_t first = info->mem_offset >> PAGE_SHIFT;
	u64 nr;
	int err;

	info->populated = 0;
	err = memview_span_check(info->mem_offset, info->size);
	if (err)
		return err;
	/* Not both flags: a peer's fault gets W where it can, see fault.c. */
	if (info->__pad ||
	    (info->flags && info->flags != MEMVIEW_POPULATE_PEERS &&
	     info->flags != MEMVIEW_POPULATE_READ))
		return -EINVAL;
	err = memview_populate(view, first,
			       first + (info->size >> PAGE_SHIFT) - 1,
			       info->flags, &nr);
	info->populated = nr << PAGE_SHIFT;
	return err;
}

/* min_size is the size of a structure's first version, the least that is accepted. */
static const struct memview_ioctl_desc {
	unsigned int cmd;
	unsigned int min_size;
	bool returns;		/* writes to the argument */
	bool commits;		/* has changed something: no error afterwards (R5) */
	bool explains;		/* writes to the argument on failure, too */
	bool ring;		/* io_uring can call it: obeys @nowait */
	long (*fn)(struct memview *view, void *arg, bool nowait);
} memview_ioctls[] = {
	[_IOC_NR(MEMVIEW_GET_INFO)] = {
		.cmd = MEMVIEW_GET_INFO,
		.min_size = offsetofend(struct memview_info, max_sources),
		.returns = true,
		.fn = memview_get_info,
	},
	[_IOC_NR(MEMVIEW_SET_SIZE)] = {
		.cmd = MEMVIEW_SET_SIZE,
		.min_size = offsetofend(struct memview_size_info, size),
		.ring = true,
		.fn = memview_set_size,
	},
	[_IOC_NR(MEMVIEW_MAP_FD)] = {
		.cmd = MEMVIEW_MAP_FD,
		.min_size = offsetofend(struct memview_map_fd_info, mem_offset),
		.ring = true,
		.fn = memview_map_fd,
	},
	[_IOC_NR(MEMVIEW_UNMAP_FD)] = {
		.cmd = MEMVIEW_UNMAP_FD,
		.min_size = offsetofend(struct memview_unmap_fd_info, unmapped),
		.returns = true,
		.commits = true,
		.ring = true,
		.fn = memview_unmap_fd,
	},
	[_IOC_NR(MEMVIEW_PROTECT)] = {
		.cmd = MEMVIEW_PROTECT,
		.min_size = offsetofend(struct memview_protect_info, __pad),
		.ring = true,
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
		.ring = true,
		.fn = memview_revoke_ioctl,
	},
	[_IOC_NR(MEMVIEW_QUERY)] = {
		.cmd = MEMVIEW_QUERY,
		.min_size = offsetofend(struct memview_query_info, total),
		.returns = true,
		.fn = memview_query,
	},
	[_IOC_NR(MEMVIEW_UPDATE)] = {
		.cmd = MEMVIEW_UPDATE,
		.min_size = offsetofend(struct memview_update_info, unmapped),
		.returns = true,
		.commits = true,
		.explains = true,
		.ring = true,
		.fn = memview_update_ioctl,
	},
	[_IOC_NR(MEMVIEW_POPULATE)] = {
		.cmd = MEMVIEW_POPULATE,
		.min_size = offsetofend(struct memview_populate_info, populated),
		.returns = true,
		.commits = true,
		.explains = true,
		.fn = memview_populate_ioctl,
	},
	[_IOC_NR(MEMVIEW_DROP_IDLE)] = {
		.cmd = MEMVIEW_DROP_IDLE,
		.fn = memview_drop_idle,
	},
};

/*
 * Can the result be written? Checked before the operation. Writing a byte back does
 * no harm: the caller has its arguments there, or the kernel writes all of it.
 */
static int memview_writable(void __user *arg, size_t size, bool nowait)
{
	u8 __user *first = arg, *last = arg + size - 1;
	bool writable;
	u8 byte;

	if (nowait)
		pagefault_disable();
	writable = !get_user(byte, first) && !put_user(byte, first) &&
		   !get_user(byte, last) && !put_user(byte, last);
	if (nowait)
		pagefault_enable();
	if (writable)
		return 0;
	return nowait ? -EAGAIN : -EFAULT;
}

/* Copies in the argument, converted to this kernel's version. */
static int memview_call_arg(const struct memview_call *call, void *arg,
			    size_t size)
{
	size_t usize = _IOC_SIZE(call->cmd);

	if (!call->karg)
		return memview_copy_in(arg, size, call->uarg, usize,
				       call->nowait);
	if (usize > size && memchr_inv(call->karg + size, 0, usize - size))
		return -E2BIG;
	memcpy(arg, call->karg, min(usize, size));
	if (usize < size)
		memset(arg + usize, 0, size - usize);
	return 0;
}

/**
 * memview_call - do an operation of the control file
 * @view: the view
 * @call: the call
 *
 * Return: the result of the ioctl; -EAGAIN when it would have to wait
 */
long memview_call(struct memview *view, const struct memview_call *call)
{
	union {
		struct memview_info info;
		struct memview_size_info size;
		struct memview_map_fd_info map;
		struct memview_unmap_fd_info unmap;
		struct memview_protect_info protect;
		struct memview_viewfd_info viewfd;
		struct memview_query_info query;
		struct memview_update_info update;
		struct memview_populate_info populate;
	} buf;
	const struct memview_ioctl_desc *desc;
	unsigned int nr = _IOC_NR(call->cmd);
	size_t usize = _IOC_SIZE(call->cmd);
	size_t size;
	bool writes;
	long ret;
	int err;

	if (nr >= ARRAY_SIZE(memview_ioctls))
		return -ENOTTY;
	desc = &memview_ioctls[nr];
	if ((call->cmd & ~IOCSIZE_MASK) != (desc->cmd & ~IOCSIZE_MASK))
		return -ENOTTY;
	if (call->ring && !desc->ring)
		return -EOPNOTSUPP;
	size = _IOC_SIZE(desc->cmd);
	if (!size)
		return usize ? -ENOTTY : desc->fn(view, NULL, call->nowait);

	if (usize < desc->min_size)
		return -EINVAL;
	if (desc->cmd & IOC_IN) {
		err = memview_call_arg(call, &buf, size);
		if (err)
			return err;
	} else {
		memset(&buf, 0, size);
	}
	writes = desc->returns && !call->karg;
	if (writes) {
		err = memview_writable(call->uarg, usize, call->nowait);
		if (err)
			return err;
	}

	ret = desc->fn(view, &buf, call->nowait);
	if (!writes || (ret < 0 && !desc->explains) ||
	    (ret == -EAGAIN && call->nowait))
		return ret;
	/* It was writable above. If this copy has to wait, it waits. */
	if (copy_to_user(call->uarg, &buf, min(usize, size)) ||
	    (usize > size && clear_user(call->uarg + size, usize - size)))
		return desc->commits ? ret : -EFAULT;
	return ret;
}

long memview_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return memview_call(file->private_data, &(struct memview_call) {
		.cmd	= cmd,
		.uarg	= (void __user *)arg,
	});
}
