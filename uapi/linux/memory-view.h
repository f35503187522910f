/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Memory views: lend memory to another process and take it back.
 *
 * open("/dev/memory-view") returns a *control fd* and creates one view: a
 * virtual size (which costs nothing) and a table of ranges. Every range maps
 * [mem_offset, mem_offset + size) of the view onto a span of a file. The process
 * that opened the device is the *controller*, and keeps the control fd to itself.
 * MEMVIEW_GET_VIEWFD returns a *view fd* for other processes, the *peers*. A peer
 * can only mmap(2) it with MAP_SHARED, fstat(2), lseek(2), fsync(2) and close(2)
 * it. The kernel resolves the peer's page faults from the table. An operation that
 * removes or narrows a right clears the peer's page-table entries before it returns.
 *
 * The *source* of a range is the mapping of its file in the controller, made by the
 * driver or adopted (%MEMVIEW_MAP_ADOPT). Peers see a page only while it is mapped
 * there.
 *
 * A fault of the peer raises SIGBUS if no range is there, or if the file cannot
 * give the page (beyond its end, I/O error, dead controller). A fault that needs a
 * right which the range does not grant raises SIGSEGV with si_code SEGV_ACCERR.
 * System calls that access such memory fail with EFAULT.
 *
 * msync(2) with MS_SYNC of a mapping, and fsync(2) and fdatasync(2) of a view fd,
 * sync the spans of files that the view shows there at that time. Files in memory
 * (memfd, tmpfs, hugetlb) need no syncing. If a file fails, the others are synced
 * all the same, and the first error is returned. A write-back error is returned to
 * peers until an fsync(2) of the controller's own has returned it.
 * (%MEMVIEW_FEATURE_FSYNC; drivers without it return EINVAL.)
 *
 * A program with the personality READ_IMPLIES_EXEC asks for PROT_EXEC whenever it
 * asks for PROT_READ: it can map only view fds that have %MEMVIEW_MAP_EXEC (else
 * EACCES), and executes no more than the ranges grant. In a controller with it, the
 * driver's mappings of files are executable as mmap(2) would make them, and MAP_FD
 * fails where that is refused.
 *
 * Conventions of every ioctl below:
 *
 * - Offsets and sizes are in bytes and multiples of the page size
 *   (memview_info.page_size).
 * - Structures grow at their end only. The kernel takes the caller's size from
 *   the ioctl number; unknown trailing bytes must be zero. It writes nothing
 *   beyond that size, and only to fields whose description says so. Later versions
 *   of MEMVIEW_SET_SIZE, MEMVIEW_MAP_FD or MEMVIEW_PROTECT will return results in
 *   new fields behind those of today.
 * - Padding must be zero. The layout is the same for 32- and 64-bit callers.
 * - An ioctl that fails has changed nothing. (If the operation has succeeded but
 *   its result can no longer be written, the ioctl succeeds.)
 * - When an ioctl that takes a right away returns, no CPU can use that right any
 *   more, in any process, however the process came by its mapping.
 *
 * Errnos common to all: EFAULT (the argument is not readable or writable
 * memory), EINVAL (structure smaller than its first version, nonzero padding,
 * unknown flag), E2BIG (structure larger than the kernel's and not zero
 * beyond; if the kernel only writes the structure, it zeroes these bytes
 * instead), ENOTTY (unknown ioctl number). The EINTR of a task that is being
 * killed is not listed.
 */
#ifndef _UAPI_LINUX_MEMORY_VIEW_H
#define _UAPI_LINUX_MEMORY_VIEW_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MEMVIEW_IOC_TYPE	0xC4

/* Rights of a range, of PROTECT, and of a view fd. */
#define MEMVIEW_MAP_READ	0x01
#define MEMVIEW_MAP_WRITE	0x02
#define MEMVIEW_MAP_EXEC	0x04
/* How to map. */
#define MEMVIEW_MAP_REPLACE	0x08
#define MEMVIEW_MAP_LAZY_WRITE	0x10
#define MEMVIEW_MAP_POPULATE	0x20
#define MEMVIEW_MAP_ADOPT	0x40
#define MEMVIEW_MAP_NO_ALLOC	0x80

#define MEMVIEW_MAP_RIGHTS \
	(MEMVIEW_MAP_READ | MEMVIEW_MAP_WRITE | MEMVIEW_MAP_EXEC)

/* struct memview_info.features */
#define MEMVIEW_FEATURE_LAZY_WRITE	0x01
#define MEMVIEW_FEATURE_UPDATE		0x02
#define MEMVIEW_FEATURE_ADOPT		0x04
#define MEMVIEW_FEATURE_POPULATE	0x08
#define MEMVIEW_FEATURE_URING_CMD	0x10
#define MEMVIEW_FEATURE_HUGE		0x20
#define MEMVIEW_FEATURE_COOKIE		0x40
#define MEMVIEW_FEATURE_DROP_IDLE	0x80
#define MEMVIEW_FEATURE_FSYNC		0x100
#define MEMVIEW_FEATURE_NO_ALLOC	0x200

/* struct memview_op.op */
#define MEMVIEW_OP_MAP		0
#define MEMVIEW_OP_UNMAP	1
#define MEMVIEW_OP_PROTECT	2

/* Most operations in one MEMVIEW_UPDATE. */
#define MEMVIEW_UPDATE_MAX	65536

/* struct memview_populate_info.flags */
#define MEMVIEW_POPULATE_PEERS	0x01
#define MEMVIEW_POPULATE_READ	0x02

/* struct memview_sqe_cmd.flags */
#define MEMVIEW_SQE_INLINE	0x01

/* Largest structure that goes with a submission by MEMVIEW_SQE_INLINE. */
#define MEMVIEW_SQE_INLINE_MAX	64

/* struct memview_info.state */
#define MEMVIEW_STATE_REVOKED	0x01

/**
 * struct memview_info - argument of MEMVIEW_GET_INFO, written by the kernel
 * @size: size of the view in bytes (MEMVIEW_SET_SIZE)
 * @max_size: largest size that MEMVIEW_SET_SIZE takes, in bytes
 * @features: MEMVIEW_FEATURE_* bits this kernel has
 * @nr_ranges: ranges in the table now
 * @max_ranges: most ranges a view can have (module parameter max_ranges)
 * @page_size: unit of offsets and sizes, in bytes
 * @state: MEMVIEW_STATE_* bits
 * @fault_around: pages that one fault maps at most, or huge pages where it
 *	makes huge entries (module parameter fault_around_pages); unless that is
 *	1, a fault that continues a sequence maps more, up to 256 pages
 * @max_sources: most mappings of its files that the driver makes or adopts in
 *	one controller (module parameter max_sources)
 * @huge_entries: huge page-table entries that were made for peers so far
 *
 * %MEMVIEW_FEATURE_HUGE: where a range, a peer's mapping and the file's pages
 * cover an aligned block of 2 MiB (hugetlb, or huge pages of tmpfs and memfd), or
 * from 7.2 on, if the module parameter gigantic_entries is set, one of 1 GiB
 * (hugetlb), one entry maps all of it. @huge_entries counts both kinds. Nothing
 * else changes: a table change that cuts such a block is exact to the page. If the
 * kernel cannot do this (before 6.12), the bit is not set and huge pages are mapped
 * page by page.
 */
struct memview_info {
	__u64 size;
	__u64 max_size;
	__u64 features;
	__u64 nr_ranges;
	__u64 max_ranges;
	__u32 page_size;
	__u32 state;
	__u32 fault_around;
	__u32 max_sources;
	__u64 huge_entries;
};

/**
 * struct memview_size_info - argument of MEMVIEW_SET_SIZE
 * @size: new size of the view in bytes, 0 to memview_info.max_size
 */
struct memview_size_info {
	__u64 size;
};

/**
 * struct memview_map_fd_info - argument of MEMVIEW_MAP_FD
 * @fd: a regular file: memfd (with or without MFD_HUGETLB), tmpfs, or a file
 *	system whose files can be mapped with MAP_SHARED
 * @flags: MEMVIEW_MAP_READ, and any of MEMVIEW_MAP_WRITE, _EXEC, _REPLACE,
 *	_LAZY_WRITE, _POPULATE, _ADOPT, _NO_ALLOC
 * @fd_offset: first byte of the file; may lie beyond the end of the file
 *	(except for hugetlb): the peer's faults there raise SIGBUS until the file
 *	has grown
 * @size: bytes to map, not 0
 * @mem_offset: first byte in the view
 * @addr: with %MEMVIEW_MAP_ADOPT: where the controller has @fd_offset mapped,
 *	page aligned; else 0
 * @cookie: any number: MEMVIEW_QUERY returns it for the range, and for the pieces
 *	that the range is cut into. It need not be unique, and the driver does not
 *	use it. %MEMVIEW_FEATURE_COOKIE
 *
 * %MEMVIEW_MAP_REPLACE first removes whatever the span holds. Peers never see the
 * span empty in between.
 *
 * %MEMVIEW_MAP_LAZY_WRITE: if the file is not yet writable in the source, a peer's
 * read installs a read-only page-table entry, so that reading a regular file does
 * not dirty it. Without the flag, a read fault already asks for write access if
 * range and mapping both allow it, because KVM never upgrades a present read-only
 * entry of such a mapping.
 *
 * %MEMVIEW_MAP_NO_ALLOC lends only pages that the file has. In a hole of the file, a
 * peer's access raises SIGBUS instead of filling it. So only the controller
 * allocates memory (MEMVIEW_POPULATE, or its own accesses), at its own expense.
 * Without the flag, a peer that is the first to touch a page of a hugetlb file is
 * charged for it by the hugetlb controller, and fails at its own limit. A page that
 * has been written to swap or disk is no hole; a page of a disk file that only
 * fallocate(2) has reserved is one. If a userfaultfd is registered for missing pages
 * of the source, it resolves the fault, as without the flag.
 *
 * %MEMVIEW_MAP_POPULATE populates the span once it is mapped, as MEMVIEW_POPULATE
 * with %MEMVIEW_POPULATE_PEERS does. This is best effort: it is no error if it fails
 * or if a signal ends it.
 *
 * %MEMVIEW_MAP_ADOPT makes the controller's own mapping at @addr the source. Without
 * the flag the driver makes a mapping. With it there is no second mapping and no
 * second page table, and a userfaultfd that is registered on the mapping also gets
 * peers' faults. From @addr on, the controller must have @size bytes of the file
 * mapped with MAP_SHARED: by one open file, which need not be @fd; in one mapping,
 * or in several that adjoin (mprotect(2) and madvise(2) cut mappings). Peers get the
 * rights that @fd and the mapping both allow. The mapping stays the controller's: the
 * driver never changes or unmaps it.
 *
 * Changes of an adopted mapping affect the peers. While it lacks PROT_READ, peers'
 * faults raise SIGBUS; while it lacks PROT_WRITE, peers' write faults do. If any part
 * of the mapping is unmapped, moved or replaced, whether a view uses that part or
 * not, all ranges that have adopted the mapping raise SIGBUS for good and have to be
 * mapped again. Ranges without %MEMVIEW_MAP_ADOPT never depend on a mapping of the
 * controller's.
 */
struct memview_map_fd_info {
	__s32 fd;
	__u32 flags;
	__u64 fd_offset;
	__u64 size;
	__u64 mem_offset;
	__u64 addr;
	__u64 cookie;
};

/**
 * struct memview_unmap_fd_info - argument of MEMVIEW_UNMAP_FD
 * @mem_offset: first byte of the span in the view
 * @size: bytes of the span, not 0
 * @unmapped: written by the kernel: bytes that were mapped and are not any more
 */
struct memview_unmap_fd_info {
	__u64 mem_offset;
	__u64 size;
	__u64 unmapped;
};

/**
 * struct memview_protect_info - argument of MEMVIEW_PROTECT
 * @mem_offset: first byte of the span in the view
 * @size: bytes of the span, not 0; all of it must be mapped
 * @flags: the new rights: MEMVIEW_MAP_READ and any of _WRITE, _EXEC; plus
 *	MEMVIEW_MAP_LAZY_WRITE and MEMVIEW_MAP_NO_ALLOC, as they are to be from
 *	now on
 * @__pad: must be zero
 *
 * Rights can be taken and given back, up to the rights that each range was mapped
 * with: %MEMVIEW_MAP_WRITE and %MEMVIEW_MAP_EXEC need ranges that were mapped with
 * them. If a range is cut, each piece keeps the limit of the whole.
 */
struct memview_protect_info {
	__u64 mem_offset;
	__u64 size;
	__u32 flags;
	__u32 __pad;
};

/**
 * struct memview_viewfd_info - argument of MEMVIEW_GET_VIEWFD_RIGHTS
 * @rights: most rights that a mapping of the view fd can have:
 *	MEMVIEW_MAP_READ and any of _WRITE, _EXEC
 * @__pad: must be zero
 */
struct memview_viewfd_info {
	__u32 rights;
	__u32 __pad;
};

/**
 * struct memview_range_info - one range, as MEMVIEW_QUERY writes it
 * @mem_offset: first byte in the view
 * @size: length in bytes
 * @fd_offset: first byte in the file
 * @source_addr: where the source maps that byte, in the controller's address space,
 *	for example to register it with userfaultfd(2). The adopted address, if one
 *	was adopted. 0 if the source is dead
 * @ino: inode number of the file, as the kernel has it
 * @dev: device of the file's superblock (new_encode_dev)
 * @flags: MEMVIEW_MAP_READ, _WRITE, _EXEC, _LAZY_WRITE, _NO_ALLOC
 * @cookie: the cookie that the range was mapped with
 *
 * On most file systems @ino and @dev are st_ino and st_dev of stat(2). On some
 * (overlayfs, btrfs) they are not. To know which file a range maps, give it a
 * @cookie.
 */
struct memview_range_info {
	__u64 mem_offset;
	__u64 size;
	__u64 fd_offset;
	__u64 source_addr;
	__u64 ino;
	__u32 dev;
	__u32 flags;
	__u64 cookie;
};

/**
 * struct memview_query_info - argument of MEMVIEW_QUERY
 * @mem_offset: list the ranges that end above this offset; on return, where to
 *	go on, or the view's size when nothing is left
 * @ranges: user pointer to @count entries of @range_size bytes
 * @count: room in @ranges, at most 2^20; on return, entries written
 * @range_size: sizeof(struct memview_range_info) of the caller; the kernel
 *	writes no more than it knows, and zeroes the rest of each entry
 * @total: written by the kernel: ranges in the whole view
 */
struct memview_query_info {
	__u64 mem_offset;
	__u64 ranges;
	__u32 count;
	__u32 range_size;
	__u64 total;
};

/**
 * struct memview_op - one operation of MEMVIEW_UPDATE
 * @op: MEMVIEW_OP_MAP, MEMVIEW_OP_UNMAP or MEMVIEW_OP_PROTECT
 * @flags: as in struct memview_map_fd_info and struct memview_protect_info;
 *	0 for MEMVIEW_OP_UNMAP
 * @mem_offset: first byte of the span in the view
 * @size: bytes of the span, not 0
 * @fd_offset: MEMVIEW_OP_MAP: first byte of the file; else 0
 * @fd: MEMVIEW_OP_MAP: the file; else 0
 * @__pad: must be zero
 * @addr: MEMVIEW_OP_MAP with %MEMVIEW_MAP_ADOPT: as in struct
 *	memview_map_fd_info; else 0
 * @cookie: MEMVIEW_OP_MAP: as in struct memview_map_fd_info; else 0
 */
struct memview_op {
	__u32 op;
	__u32 flags;
	__u64 mem_offset;
	__u64 size;
	__u64 fd_offset;
	__s32 fd;
	__u32 __pad;
	__u64 addr;
	__u64 cookie;
};

/**
 * struct memview_update_info - argument of MEMVIEW_UPDATE
 * @ops: user pointer to @count entries of @op_size bytes
 * @count: operations, 0 to MEMVIEW_UPDATE_MAX
 * @op_size: sizeof(struct memview_op) of the caller; bytes that the kernel does
 *	not know must be zero
 * @flags: must be zero
 * @failed: written by the kernel, also on failure: index of the operation that
 *	could not be done, or @count when it was none of them
 * @unmapped: written by the kernel: bytes that were mapped and, by one of the
 *	operations, were not any more
 */
struct memview_update_info {
	__u64 ops;
	__u32 count;
	__u32 op_size;
	__u32 flags;
	__u32 failed;
	__u64 unmapped;
};

/**
 * struct memview_populate_info - argument of MEMVIEW_POPULATE
 * @mem_offset: first byte of the span in the view
 * @size: bytes of the span, not 0
 * @flags: 0, MEMVIEW_POPULATE_PEERS or MEMVIEW_POPULATE_READ
 * @__pad: must be zero
 * @populated: written by the kernel, also on failure: bytes from @mem_offset on
 *	that the call has found or put in the source. After EINTR, go on from
 *	there. Reclaim may have taken some of them away again.
 *
 * %MEMVIEW_POPULATE_PEERS also fills the page tables of the processes that have the
 * view mapped when the call starts.
 *
 * %MEMVIEW_POPULATE_READ faults the source for reading only: nothing gets dirty. It
 * excludes %MEMVIEW_POPULATE_PEERS, which makes entries writable if range and mapping
 * allow it; for entries that are not, use %MEMVIEW_MAP_LAZY_WRITE.
 */
struct memview_populate_info {
	__u64 mem_offset;
	__u64 size;
	__u32 flags;
	__u32 __pad;
	__u64 populated;
};

/**
 * struct memview_sqe_cmd - content of sqe->cmd in an io_uring submission
 * @arg: user pointer to the structure of the operation; 0 with
 *	%MEMVIEW_SQE_INLINE, and for an operation without argument
 * @flags: 0 or %MEMVIEW_SQE_INLINE
 * @__pad: must be zero
 *
 * MEMVIEW_SET_SIZE, MEMVIEW_MAP_FD, MEMVIEW_UNMAP_FD, MEMVIEW_PROTECT,
 * MEMVIEW_UPDATE and MEMVIEW_REVOKE can be submitted to an io_uring as
 * %IORING_OP_URING_CMD: sqe->fd is the control fd, or its index with
 * IOSQE_FIXED_FILE; sqe->cmd_op is the number of the ioctl, from which the
 * kernel takes the size of the structure; all other fields that the operation
 * does not need are 0.
 *
 * Without flags, @arg points to the structure, as in ioctl(2). It must stay
 * there until the completion. By then, results have been written to it.
 *
 * With %MEMVIEW_SQE_INLINE the structure follows @__pad in the submission. This
 * needs a ring made with IORING_SETUP_SQE128. The structure has at most
 * %MEMVIEW_SQE_INLINE_MAX bytes; the kernel ignores the bytes behind it. It writes
 * no results to it: to get @unmapped and @failed, use @arg.
 *
 * cqe->res is 0 or -errno, with the errnos of the ioctl, and besides: EOPNOTSUPP:
 * not one of these operations, or a driver without %MEMVIEW_FEATURE_URING_CMD, or
 * (not on every kernel) a ring made with IORING_SETUP_IOPOLL. EINVAL: unknown flag;
 * nonzero padding; %MEMVIEW_SQE_INLINE in a ring without IORING_SETUP_SQE128, with a
 * structure that is larger, or with @arg; @arg with an operation that has no
 * argument. EINTR: as for MEMVIEW_MAP_FD. ECANCELED: an operation that it was linked
 * to has failed.
 *
 * A completion means what the return of the ioctl means: no CPU can use any more the
 * rights that the operation has taken away. An operation that need not wait is done
 * while it is submitted. One that must wait is done by a thread of the ring: for
 * example the first MEMVIEW_MAP_FD of a file that is neither a memfd nor on tmpfs,
 * %MEMVIEW_MAP_POPULATE, a view that another operation is busy with, an argument that
 * is not in memory. So operations can be done in another order than submitted, unless
 * they are linked (IOSQE_IO_LINK) or drained. File descriptors, and the memory that
 * @arg points to, are read when the operation is done.
 */
struct memview_sqe_cmd {
	__u64 arg;
	__u32 flags;
	__u32 __pad;
};

/**
 * MEMVIEW_GET_INFO - sizes, limits, feature and state bits
 *
 * From any process. Only the common errnos.
 */
#define MEMVIEW_GET_INFO	_IOR(MEMVIEW_IOC_TYPE, 0x00, struct memview_info)

/**
 * MEMVIEW_SET_SIZE - set the size of the view
 *
 * Shrinking removes the ranges, and parts of ranges, beyond the new size.
 * ftruncate(2) on a control fd cannot do this: the VFS refuses it for anything
 * but a regular file before a driver sees it.
 *
 * EINVAL: not page aligned. EFBIG: larger than memview_info.max_size.
 * ENOMEM: no memory to cut a range.
 * EIO: called by a process with another address space than the one that first
 * mapped a file into the view. ESHUTDOWN: the view is revoked.
 */
#define MEMVIEW_SET_SIZE	_IOWR(MEMVIEW_IOC_TYPE, 0x01, struct memview_size_info)

/**
 * MEMVIEW_MAP_FD - map a span of a file into the view
 *
 * EINVAL: unaligned offset or size; size 0; unknown flag; no
 * %MEMVIEW_MAP_READ; hugetlb file that ends before fd_offset + size; addr not
 * page aligned, or not 0 without %MEMVIEW_MAP_ADOPT; %MEMVIEW_MAP_ADOPT and some
 * of the span at addr maps something else than that span of the file, shared.
 * EOVERFLOW: an offset plus the size passes 2^63 - 1, or fd_offset plus the size
 * passes the largest size of a file on that file system.
 * ERANGE: the span ends beyond the view.
 * EEXIST: part of the span is mapped, and no %MEMVIEW_MAP_REPLACE.
 * EBADF: fd is not an open file, or was opened with O_PATH.
 * ENODEV: fd is not a regular file or cannot be mirrored (pipe, socket,
 * directory, device, view fd, memfd_secret, DAX); %MEMVIEW_MAP_ADOPT and the
 * mapping begins at address 0.
 * EACCES: fd is not open for reading; %MEMVIEW_MAP_WRITE and fd is not open
 * for writing; the file is append-only and fd open for writing;
 * %MEMVIEW_MAP_ADOPT and some of the span at addr is mapped without PROT_READ
 * or, with %MEMVIEW_MAP_WRITE, without PROT_WRITE.
 * EFAULT: %MEMVIEW_MAP_ADOPT and nothing is mapped in some of the span at addr,
 * or the mapping changed meanwhile.
 * EPERM: %MEMVIEW_MAP_WRITE and the file is sealed against it;
 * %MEMVIEW_MAP_EXEC and the file's mount is noexec; refused by an LSM.
 * ETXTBSY: %MEMVIEW_MAP_WRITE and the file is used for swapping.
 * EREMOTEIO: the file system cannot map the file, for a reason of its own (it has
 * been shut down, its server is gone), and its errno, for example EIO, would mean
 * something else here.
 * ENOSPC: the view would have more than memview_info.max_ranges ranges.
 * EMFILE: the controller has max_sources sources and all are in use.
 * ENOMEM: no memory, or no room in the controller's address space
 * (RLIMIT_AS, vm.max_map_count). EINTR: a signal interrupted the file system's
 * mmap or, by io_uring, the first preparation of the controller's address space;
 * call again.
 * EIO: called by a process with another address space than the one that first
 * mapped a file into the view. ESHUTDOWN: the view is revoked.
 */
#define MEMVIEW_MAP_FD		_IOWR(MEMVIEW_IOC_TYPE, 0x02, struct memview_map_fd_info)

/**
 * MEMVIEW_UNMAP_FD - remove what is mapped in a span of the view
 *
 * Ranges are cut where the span ends inside them; holes are skipped.
 *
 * EINVAL: unaligned offset or size; size 0. EOVERFLOW: offset plus size passes
 * 2^63 - 1. ERANGE: the span ends beyond the view. ENOSPC: a range would be
 * cut in two, and the view has max_ranges ranges. ENOMEM: no memory to cut a
 * range.
 * EIO, ESHUTDOWN: as for MEMVIEW_MAP_FD.
 */
#define MEMVIEW_UNMAP_FD	_IOWR(MEMVIEW_IOC_TYPE, 0x03, struct memview_unmap_fd_info)

/**
 * MEMVIEW_PROTECT - change the rights of a fully mapped span
 *
 * EINVAL: unaligned offset or size; size 0; unknown flag; no
 * %MEMVIEW_MAP_READ. EOVERFLOW, ERANGE: as for MEMVIEW_UNMAP_FD. ENOENT: part
 * of the span is not mapped. EACCES: a right that a range cannot have (see
 * struct memview_protect_info). ENOSPC, ENOMEM: as for MEMVIEW_UNMAP_FD.
 * EIO, ESHUTDOWN: as for MEMVIEW_MAP_FD.
 */
#define MEMVIEW_PROTECT		_IOWR(MEMVIEW_IOC_TYPE, 0x04, struct memview_protect_info)

/**
 * MEMVIEW_GET_VIEWFD - make a view fd with all rights
 *
 * Takes no argument. Returns a new file descriptor, close-on-exec. Peers get
 * the AND of its rights, their mmap(2) and mprotect(2), the range and the
 * file.
 *
 * EMFILE, ENFILE, ENOMEM: as open(2). ESHUTDOWN: the view is revoked.
 */
#define MEMVIEW_GET_VIEWFD	_IO(MEMVIEW_IOC_TYPE, 0x05)

/**
 * MEMVIEW_GET_VIEWFD_RIGHTS - make a view fd with fewer rights
 *
 * Errnos as for MEMVIEW_GET_VIEWFD, and EINVAL: no %MEMVIEW_MAP_READ, or a bit
 * that is no right.
 */
#define MEMVIEW_GET_VIEWFD_RIGHTS \
	_IOW(MEMVIEW_IOC_TYPE, 0x06, struct memview_viewfd_info)

/**
 * MEMVIEW_REVOKE - remove all ranges, for good
 *
 * Takes no argument; any holder of the control fd may call it. From now on
 * each table ioctl and each mmap(2) of a view fd fails with ESHUTDOWN, and
 * accesses to mappings of the view raise SIGBUS. The last close of the control fd,
 * and the death or the execve(2) of the controller, do the same. Revoking a revoked
 * view succeeds.
 */
#define MEMVIEW_REVOKE		_IO(MEMVIEW_IOC_TYPE, 0x07)

/**
 * MEMVIEW_QUERY - list the ranges in ascending order of mem_offset
 *
 * Each call is a consistent picture of the span it reports. A revoked view has
 * no ranges.
 *
 * EINVAL: range_size smaller than the first version of struct
 * memview_range_info, or larger than a page; count larger than 2^20. ENOMEM: no
 * memory. ESHUTDOWN: the view was revoked during the call.
 */
#define MEMVIEW_QUERY		_IOWR(MEMVIEW_IOC_TYPE, 0x08, struct memview_query_info)

/**
 * MEMVIEW_UPDATE - do several table operations at once
 *
 * In their order, each as if those before it were done; all of them or, if one
 * cannot be done, none. No fault of a peer, and no other ioctl, finds some of them
 * done and others not. Each span of adjacent pages that lose a right is zapped once,
 * however many operations touch it.
 *
 * The errnos of MEMVIEW_MAP_FD, MEMVIEW_UNMAP_FD and MEMVIEW_PROTECT, with
 * memview_update_info.failed; and EINVAL: flags not zero, unknown op, a field
 * that the op does not use is not zero, op_size smaller than the first version
 * of struct memview_op or larger than a page, count larger than
 * MEMVIEW_UPDATE_MAX. E2BIG: an operation with bytes that the kernel does not know
 * and that are not zero. EFAULT: @ops is not readable. ENOMEM: no memory.
 */
#define MEMVIEW_UPDATE		_IOWR(MEMVIEW_IOC_TYPE, 0x09, struct memview_update_info)

/**
 * MEMVIEW_POPULATE - fault pages in before peers do
 *
 * Puts every page of the span in the source: allocates or reads it and, if the range
 * has %MEMVIEW_MAP_WRITE and not %MEMVIEW_MAP_LAZY_WRITE, makes it writable, which
 * makes a page of a regular file dirty. Pages are populated one by one, in their
 * order. An error ends the call, and the pages before it stay populated. The table
 * does not change, no right is given, and no page is pinned: pages that reclaim, a
 * punched hole or a change of the table take away, even during the call, are not put
 * back.
 *
 * With %MEMVIEW_POPULATE_PEERS, then fills the page tables of the peers: every
 * mapping of the view, with the rights that it and the range grant. This part is
 * best effort and never an error. It may leave unfilled: a process whose address
 * space is locked or changes all the time; a mapping without PROT_READ; pages for
 * which there is no memory; and, if a signal arrives, the last 64 MiB. The page
 * tables are charged to the caller.
 *
 * The call holds up no other ioctl: a span that is unmapped meanwhile is gone when
 * MEMVIEW_UNMAP_FD has returned.
 *
 * EINVAL: unaligned offset or size; size 0; both flags. EOVERFLOW, ERANGE: as
 * for MEMVIEW_UNMAP_FD. ENOENT: a page is not mapped. EINTR: a signal arrived,
 * even if its handler has SA_RESTART. EFAULT: the source cannot give a page (peers
 * would get SIGBUS, or could not write): beyond the end of the file, no space or
 * quota, no huge page, I/O error, source mapping replaced by the controller.
 * EHWPOISON: a page has a memory error. ENOMEM: no memory, or the limit of the
 * cgroup. EIO, ESHUTDOWN: as for MEMVIEW_MAP_FD.
 */
#define MEMVIEW_POPULATE	_IOWR(MEMVIEW_IOC_TYPE, 0x0a, struct memview_populate_info)

/**
 * MEMVIEW_DROP_IDLE - unmap sources that no range needs any more
 *
 * Takes no argument. The driver maps lent files in the controller. When the last
 * range of such a mapping has gone, the driver keeps the mapping for a moment, to use
 * it again; afterwards the controller's next MEMVIEW_* call unmaps it. Until then the
 * file system is busy, F_SEAL_WRITE is refused (EBUSY), and so is the execution of a
 * file that was mapped with %MEMVIEW_MAP_WRITE (ETXTBSY). This call unmaps at once
 * all such mappings that no range of any view of the caller needs. It may wait as
 * munmap(2) does. No other process can do this for the controller.
 *
 * Works on a revoked view, too. %MEMVIEW_FEATURE_DROP_IDLE
 *
 * EIO: called by a process with another address space than the one that first
 * mapped a file into the view. EINTR: SIGKILL arrived while the call waited.
 */
#define MEMVIEW_DROP_IDLE	_IO(MEMVIEW_IOC_TYPE, 0x0b)

#endif /* _UAPI_LINUX_MEMORY_VIEW_H */
