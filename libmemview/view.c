// SPDX-License-Identifier: MIT
/*
 * A view and its operations: memview.h's names over the ioctls of
 * /dev/memory-view.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/memory-view.h>

#include "internal.h"

struct memview {
	int fd;
};

/* memview.h has constants of its own so as not to include the uAPI header. */
_Static_assert(MEMVIEW_READ == MEMVIEW_MAP_READ, "flag");
_Static_assert(MEMVIEW_WRITE == MEMVIEW_MAP_WRITE, "flag");
_Static_assert(MEMVIEW_EXEC == MEMVIEW_MAP_EXEC, "flag");
_Static_assert(MEMVIEW_LAZY_WRITE == MEMVIEW_MAP_LAZY_WRITE, "flag");
_Static_assert(MEMVIEW_CAN_LAZY_WRITE == MEMVIEW_FEATURE_LAZY_WRITE, "feature");
_Static_assert(MEMVIEW_CAN_UPDATE == MEMVIEW_FEATURE_UPDATE, "feature");
_Static_assert(MEMVIEW_POPULATE_NOW == MEMVIEW_MAP_POPULATE, "flag");
_Static_assert(MEMVIEW_NO_ALLOC == MEMVIEW_MAP_NO_ALLOC, "flag");
_Static_assert(MEMVIEW_CAN_NO_ALLOC == MEMVIEW_FEATURE_NO_ALLOC, "feature");
_Static_assert(MEMVIEW_CAN_POPULATE == MEMVIEW_FEATURE_POPULATE, "feature");
_Static_assert(MEMVIEW_POPULATE_IN_PEERS == MEMVIEW_POPULATE_PEERS, "flag");
_Static_assert(MEMVIEW_POPULATE_TO_READ == MEMVIEW_POPULATE_READ, "flag");
_Static_assert(MEMVIEW_CAN_ADOPT == MEMVIEW_FEATURE_ADOPT, "feature");
_Static_assert(MEMVIEW_REPLACE == MEMVIEW_MAP_REPLACE, "flag");
_Static_assert(MEMVIEW_ADOPT == MEMVIEW_MAP_ADOPT, "flag");
_Static_assert(MEMVIEW_CAN_COOKIE == MEMVIEW_FEATURE_COOKIE, "feature");
_Static_assert(MEMVIEW_CAN_DROP_IDLE == MEMVIEW_FEATURE_DROP_IDLE, "feature");
_Static_assert(MEMVIEW_CAN_FSYNC == MEMVIEW_FEATURE_FSYNC, "feature");

/* End of a field: the size of the version of the structure that it was the last of. */
#define END(type, field) \
	(offsetof(type, field) + sizeof(((type *)0)->field))

/*
 * The kernel writes memview_query()'s array directly, and knows how: struct
 * memview_range is the uAPI's structure, and grows with it.
 */
#define ASSERT_SAME_FIELD(field) \
	_Static_assert(offsetof(struct memview_range, field) == \
		       offsetof(struct memview_range_info, field) && \
		       sizeof(((struct memview_range *)0)->field) == \
		       sizeof(((struct memview_range_info *)0)->field), #field)
ASSERT_SAME_FIELD(mem_offset);
ASSERT_SAME_FIELD(size);
ASSERT_SAME_FIELD(fd_offset);
ASSERT_SAME_FIELD(source_addr);
ASSERT_SAME_FIELD(ino);
ASSERT_SAME_FIELD(dev);
ASSERT_SAME_FIELD(flags);
ASSERT_SAME_FIELD(cookie);

/*
 * An ioctl that fails has changed nothing, so calling again after a signal is
 * always right; the signal's handler has run by then. The driver does so by itself
 * (ERESTARTNOINTR); what still says EINTR each time is not going to stop, a file
 * system's mmap for instance.
 */
#define EINTR_TRIES	100

int memview_control_ioctl(int fd, unsigned long request, void *arg)
{
	int saved_errno = errno, tries = EINTR_TRIES;
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret < 0 && errno == EINTR && --tries);
	if (ret < 0)
		ret = -errno;
	errno = saved_errno;
	return ret;
}

static int open_device(const char *path)
{
	int saved_errno = errno;
	int fd;

	/* O_NOCTTY: the path may turn out to be a terminal. */
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		fd = -errno;
	errno = saved_errno;
	return fd;
}

/*
 * Other drivers fail an ioctl that they do not know in many ways, some succeed:
 * all of it means that this is another device. Only a refusal by a security
 * policy is none of the driver's words.
 */
static int check_device(int fd)
{
	struct memview_info info = { 0 };
	struct stat st;
	int ret;

	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
		return -ENOTTY;
	ret = memview_control_ioctl(fd, MEMVIEW_GET_INFO, &info);
	if (ret == -EACCES || ret == -EPERM)
		return ret;
	if (ret || !info.page_size)
		return -ENOTTY;
	return 0;
}

int memview_open_path(const char *path, struct memview **viewp)
{
	int saved_errno = errno;
	struct memview *view;
	int fd, ret;

	fd = open_device(path);
	if (fd < 0)
		return fd;
	ret = check_device(fd);
	if (ret)
		goto err;
	view = malloc(sizeof(*view));
	if (!view) {
		ret = -ENOMEM;
		goto err;
	}
	view->fd = fd;
	*viewp = view;
	return 0;

err:
	/*
	 * errno is restored behind close() and not straight behind malloc(), of
	 * which compilers believe that it leaves errno alone: they would drop
	 * the assignment.
	 */
	close(fd);
	errno = saved_errno;
	return ret;
}

int memview_open(struct memview **viewp)
{
	return memview_open_path(MEMVIEW_DEVICE, viewp);
}

void memview_close(struct memview *view)
{
	int saved_errno = errno;

	if (!view)
		return;
	close(view->fd);
	free(view);
	errno = saved_errno;
}

int memview_get_fd(const struct memview *view)
{
	return view->fd;
}

int memview_set_size(struct memview *view, uint64_t size)
{
	struct memview_size_info info = { .size = size };

	return memview_control_ioctl(view->fd, MEMVIEW_SET_SIZE, &info);
}

struct memview_map_args memview_read_map_args(const struct memview_map_args *args,
					      size_t size)
{
	struct memview_map_args known = { 0 };
	const unsigned char *bytes = (const unsigned char *)args;
	size_t i;

	memcpy(&known, args, size < sizeof(known) ? size : sizeof(known));
	for (i = sizeof(known); i < size && !bytes[i]; i++)
		;
	if (i < size || size < END(struct memview_map_args, flags))
		known.flags = ~0U;
	return known;
}

static int map_fd(struct memview *view, const struct memview_map_args *args)
{
	struct memview_map_fd_info info = {
		.fd = args->fd,
		.flags = args->flags,
		.fd_offset = args->fd_offset,
		.size = args->size,
		.mem_offset = args->mem_offset,
		.addr = (uintptr_t)args->addr,
		.cookie = args->cookie,
	};
	int ret = memview_control_ioctl(view->fd, MEMVIEW_MAP_FD, &info);

	/* Address and cookie are the fields that a driver may not have. */
	if (ret == -E2BIG && (info.addr || info.cookie))
		return -EOPNOTSUPP;
	return ret;
}

static int map_as(struct memview *view, uint64_t mem_offset, void *addr, int fd,
		  uint64_t fd_offset, uint64_t size, unsigned int flags,
		  unsigned int how)
{
	/* Not their flags; the kernel would obey them. */
	if (flags & MEMVIEW_HOW_TO_MAP)
		return -EINVAL;
	return map_fd(view, &(struct memview_map_args) {
		.mem_offset = mem_offset,
		.fd_offset = fd_offset,
		.size = size,
		.addr = addr,
		.fd = fd,
		.flags = flags | how,
	});
}

int memview_map_with(struct memview *view, const struct memview_map_args *args,
		     size_t size)
{
	struct memview_map_args known = memview_read_map_args(args, size);

	return map_fd(view, &known);
}

int memview_map(struct memview *view, uint64_t mem_offset, int fd,
		uint64_t fd_offset, uint64_t size, unsigned int flags)
{
	return map_as(view, mem_offset, NULL, fd, fd_offset, size, flags, 0);
}

int memview_adopt(struct memview *view, uint64_t mem_offset, void *addr, int fd,
		  uint64_t fd_offset, uint64_t size, unsigned int flags)
{
	return map_as(view, mem_offset, addr, fd, fd_offset, size, flags,
		      MEMVIEW_MAP_ADOPT);
}

int memview_replace(struct memview *view, uint64_t mem_offset, int fd,
		    uint64_t fd_offset, uint64_t size, unsigned int flags)
{
	return map_as(view, mem_offset, NULL, fd, fd_offset, size, flags,
		      MEMVIEW_MAP_REPLACE);
}

int memview_unmap(struct memview *view, uint64_t mem_offset, uint64_t size,
		  uint64_t *unmapped)
{
	struct memview_unmap_fd_info info = {
		.mem_offset = mem_offset,
		.size = size,
	};
	int ret;

	ret = memview_control_ioctl(view->fd, MEMVIEW_UNMAP_FD, &info);
	if (!ret && unmapped)
		*unmapped = info.unmapped;
	return ret;
}

int memview_protect(struct memview *view, uint64_t mem_offset, uint64_t size,
		    unsigned int flags)
{
	struct memview_protect_info info = {
		.mem_offset = mem_offset,
		.size = size,
		.flags = flags,
	};

	return memview_control_ioctl(view->fd, MEMVIEW_PROTECT, &info);
}

/* ioctl(2), but called once: it can take long, and a signal is the way to end it. */
static int interruptible_ioctl(struct memview *view, unsigned long request, void *arg)
{
	int saved_errno = errno;
	int ret;

	ret = ioctl(view->fd, request, arg);
	if (ret < 0)
		ret = -errno;
	errno = saved_errno;
	/* The view is of a memory-view device: what it lacks is this one ioctl. */
	return ret == -ENOTTY ? -EOPNOTSUPP : ret;
}

int memview_populate(struct memview *view, uint64_t mem_offset, uint64_t size,
		     unsigned int flags, uint64_t *populated)
{
	struct memview_populate_info info = {
		.mem_offset = mem_offset,
		.size = size,
		.flags = flags,
	};
	int ret = interruptible_ioctl(view, MEMVIEW_POPULATE, &info);

	if (populated)
		*populated = info.populated;
	return ret;
}

int memview_drop_idle(struct memview *view)
{
	return interruptible_ioctl(view, MEMVIEW_DROP_IDLE, NULL);
}

int memview_query(struct memview *view, uint64_t *mem_offset,
		  struct memview_range *ranges, size_t range_size,
		  unsigned int count, uint64_t *total)
{
	struct memview_query_info info = {
		.mem_offset = mem_offset ? *mem_offset : 0,
		.ranges = (uintptr_t)ranges,
		.count = count,
		/* Too large a size is one that the kernel refuses. */
		.range_size = range_size > UINT32_MAX ? UINT32_MAX : range_size,
	};
	int ret;

	ret = memview_control_ioctl(view->fd, MEMVIEW_QUERY, &info);
	if (ret < 0)
		return ret;
	if (mem_offset)
		*mem_offset = info.mem_offset;
	if (total)
		*total = info.total;
	return info.count;
}

int memview_info(struct memview *view, struct memview_status *status, size_t size)
{
	struct memview_info info = { 0 };
	struct memview_status known;
	int ret;

	if (size < END(struct memview_status, revoked))
		return -EINVAL;
	ret = memview_control_ioctl(view->fd, MEMVIEW_GET_INFO, &info);
	if (ret)
		return ret;
	known = (struct memview_status) {
		.size = info.size,
		.max_size = info.max_size,
		.features = info.features,
		.nr_ranges = info.nr_ranges,
		.max_ranges = info.max_ranges,
		.page_size = info.page_size,
		.fault_around = info.fault_around,
		.max_sources = info.max_sources,
		.revoked = !!(info.state & MEMVIEW_STATE_REVOKED),
	};
	memset(status, 0, size);
	memcpy(status, &known, size < sizeof(known) ? size : sizeof(known));
	return 0;
}

int memview_view_fd(struct memview *view)
{
	return memview_control_ioctl(view->fd, MEMVIEW_GET_VIEWFD, NULL);
}

int memview_view_fd_rights(struct memview *view, unsigned int rights)
{
	struct memview_viewfd_info info = { .rights = rights };

	return memview_control_ioctl(view->fd, MEMVIEW_GET_VIEWFD_RIGHTS, &info);
}

int memview_revoke(struct memview *view)
{
	return memview_control_ioctl(view->fd, MEMVIEW_REVOKE, NULL);
}
