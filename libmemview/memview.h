/* SPDX-License-Identifier: MIT */
/*
 * libmemview: lend memory to another process and take it back.
 *
 * The library over /dev/memory-view, see memview(7) for an overview and
 * memory-view(4) for the device.
 *
 * Conventions of all functions:
 *
 * - A negative return value is -errno; success is 0 or a count or a file
 *   descriptor, which are never negative. The variable errno is left alone.
 * - Every file descriptor that the library makes is close-on-exec.
 * - Offsets and sizes are in bytes and, where they describe a view, multiples
 *   of the page size (struct memview_status.page_size).
 * - A call that fails has changed nothing in the view.
 * - When a call that takes a right away returns, no CPU can use that right any
 *   more, in any process.
 * - Functions on a view retry after EINTR, a hundred times at most. If they return
 *   -EINTR, the file system's own mmap(2) has failed with it each time. Two functions
 *   do not retry, because they can take long: any signal ends memview_populate(), and
 *   SIGKILL ends memview_drop_idle().
 * - Structures may get further fields at their end. A function that reads or writes
 *   one takes its size: pass sizeof the structure that your program was built with.
 *   Fields that program, library or driver do not know are 0.
 * - Thread-safe: threads may use one view at the same time, except that none may
 *   use it during or after memview_close(). A batch is like a variable: while
 *   one thread changes or frees it, no other may use it.
 * - Nothing is printed, no signal is raised or caught, nothing exits.
 * - Pointers must be valid unless a comment says that they may be NULL.
 */
#ifndef LIBMEMVIEW_MEMVIEW_H
#define LIBMEMVIEW_MEMVIEW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this API. The shared library's ABI has its own: its soname. */
#define MEMVIEW_API_MAJOR	0
#define MEMVIEW_API_MINOR	1

/* Where the driver puts its device. */
#define MEMVIEW_DEVICE		"/dev/memory-view"

/* Rights of a range and of a view fd. */
#define MEMVIEW_READ		(1U << 0)
#define MEMVIEW_WRITE		(1U << 1)
#define MEMVIEW_EXEC		(1U << 2)
/*
 * How to map: a peer's reads do not make pages of a regular file dirty. Not for
 * peers that run KVM guests on the view.
 */
#define MEMVIEW_LAZY_WRITE	(1U << 4)
/* How to map, for memview_map_with() only: like memview_replace(), memview_adopt(). */
#define MEMVIEW_REPLACE		(1U << 3)
#define MEMVIEW_ADOPT		(1U << 6)
/*
 * How to map: populate the span afterwards, like memview_populate() with
 * MEMVIEW_POPULATE_IN_PEERS. This is best effort: its failure is no error.
 */
#define MEMVIEW_POPULATE_NOW	(1U << 5)
/* How to map: peers allocate nothing; a hole raises SIGBUS until it is populated. */
#define MEMVIEW_NO_ALLOC	(1U << 7)

/* memview_populate(): the page tables of peers, too. */
#define MEMVIEW_POPULATE_IN_PEERS	(1U << 0)
/* memview_populate(): for reading only; nothing gets dirty. */
#define MEMVIEW_POPULATE_TO_READ	(1U << 1)

/* struct memview_status.features: MEMVIEW_LAZY_WRITE is known. */
#define MEMVIEW_CAN_LAZY_WRITE	(1ULL << 0)
/* struct memview_status.features: memview_batch_apply() works. */
#define MEMVIEW_CAN_UPDATE	(1ULL << 1)
/*
 * struct memview_status.features: memview_populate() works, and
 * MEMVIEW_POPULATE_NOW is known.
 */
#define MEMVIEW_CAN_POPULATE	(1ULL << 3)
/* struct memview_status.features: memview_adopt() works. */
#define MEMVIEW_CAN_ADOPT	(1ULL << 2)
/* struct memview_status.features: huge pages are mapped by huge entries. */
#define MEMVIEW_CAN_HUGE	(1ULL << 5)
/* struct memview_status.features: memview_prep_map() etc. work. */
#define MEMVIEW_CAN_URING	(1ULL << 4)

/* struct memview_status.features: ranges have cookies. */
#define MEMVIEW_CAN_COOKIE	(1ULL << 6)
/* struct memview_status.features: memview_drop_idle() works. */
#define MEMVIEW_CAN_DROP_IDLE	(1ULL << 7)
/* struct memview_status.features: peers can fsync(2) and msync(2) a view. */
#define MEMVIEW_CAN_FSYNC	(1ULL << 8)
/* struct memview_status.features: MEMVIEW_NO_ALLOC is known. */
#define MEMVIEW_CAN_NO_ALLOC	(1ULL << 9)

/* Largest count that memview_query() takes. */
#define MEMVIEW_QUERY_MAX	(1U << 20)

/* Most operations in a batch that memview_batch_apply() takes. */
#define MEMVIEW_BATCH_MAX	(1U << 16)

/**
 * struct memview - a view, seen from its controller; opaque
 */
struct memview;

/**
 * struct memview_batch - operations to be done on a view together; opaque
 */
struct memview_batch;

/**
 * struct memview_status - a view's size, limits and state, see memview_info()
 * @size: size of the view in bytes
 * @max_size: largest size that memview_set_size() takes, in bytes
 * @features: MEMVIEW_CAN_* bits of the running kernel
 * @nr_ranges: ranges in the view now
 * @max_ranges: most ranges that a view can have
 * @page_size: unit of offsets and sizes, in bytes
 * @fault_around: most pages that one fault of a peer maps. Unless this is 1, a fault
 *	that continues a sequence maps up to 256
 * @max_sources: most mappings of its files that the driver makes or adopts in
 *	one controller
 * @revoked: 1 if the view is revoked, else 0
 */
struct memview_status {
	uint64_t size;
	uint64_t max_size;
	uint64_t features;
	uint64_t nr_ranges;
	uint64_t max_ranges;
	uint32_t page_size;
	uint32_t fault_around;
	uint32_t max_sources;
	uint32_t revoked;
};

/**
 * struct memview_range - one range of a view, as memview_query() lists it
 * @mem_offset: first byte in the view
 * @size: length in bytes
 * @fd_offset: first byte in the file
 * @source_addr: address of that byte in the controller, for example to register it
 *	with userfaultfd(2): in the driver's own mapping of the file, or in the one
 *	that was adopted. 0 if that mapping is dead
 * @ino: inode number of the file: st_ino of fstat(2), except on some file systems
 *	(overlayfs, btrfs)
 * @dev: device of the file's file system: st_dev of fstat(2), with the same exceptions
 * @flags: MEMVIEW_READ, _WRITE, _EXEC, _LAZY_WRITE, _NO_ALLOC
 * @cookie: the cookie that memview_map_with() has set, else 0
 */
struct memview_range {
	uint64_t mem_offset;
	uint64_t size;
	uint64_t fd_offset;
	uint64_t source_addr;
	uint64_t ino;
	uint32_t dev;
	uint32_t flags;
	uint64_t cookie;
};

/**
 * struct memview_map_args - arguments of memview_map_with()
 * @mem_offset: as for memview_map()
 * @fd_offset: as for memview_map()
 * @size: as for memview_map()
 * @cookie: any number, which memview_query() returns for the range and for the
 *	pieces that it is cut into. Needs MEMVIEW_CAN_COOKIE, if it is not 0
 * @addr: with MEMVIEW_ADOPT as for memview_adopt(), else NULL
 * @fd: as for memview_map()
 * @flags: as for memview_map(), and MEMVIEW_REPLACE, MEMVIEW_ADOPT
 */
struct memview_map_args {
	uint64_t mem_offset;
	uint64_t fd_offset;
	uint64_t size;
	uint64_t cookie;
	void *addr;
	int fd;
	unsigned int flags;
};

/**
 * memview_open() - make a new, empty view of size 0
 * @viewp: where to put the handle; untouched on failure
 *
 * The same as memview_open_path(MEMVIEW_DEVICE, viewp).
 *
 * Return: 0, or the errnos of memview_open_path().
 */
int memview_open(struct memview **viewp);

/**
 * memview_open_path() - make a new, empty view by a device node of another name
 * @path: the device node
 * @viewp: where to put the handle; untouched on failure
 *
 * Return: 0, or
 * -ENOENT: no such node (for /dev/memory-view: the module is not loaded);
 * -ENODEV, -ENXIO: the node is there, but no driver behind it (the module is
 *	not loaded any more);
 * -ENOTTY: the path is not a memory-view device;
 * -EACCES, -EPERM: the caller may not open the node;
 * -EMFILE, -ENFILE: no file descriptor left in the process, in the system;
 * -ENOMEM: no memory.
 * Whatever else open(2) says about the path (-ELOOP, -ENOTDIR, -EISDIR,
 * -ENAMETOOLONG, -EROFS, ...) comes through unchanged.
 */
int memview_open_path(const char *path, struct memview **viewp);

/**
 * memview_close() - close the control fd and free the handle
 * @view: the view; NULL does nothing
 *
 * If no other descriptor refers to the same control fd (by dup(2) or in a
 * forked child), the view is revoked, see memview_revoke().
 */
void memview_close(struct memview *view);

/**
 * memview_get_fd() - the control fd
 * @view: the view
 *
 * For the ioctls of memory-view(4), and for /proc/self/fdinfo. It remains the
 * handle's: do not close it, and do not pass it to a peer.
 *
 * Return: the file descriptor. Cannot fail.
 */
int memview_get_fd(const struct memview *view);

/**
 * memview_set_size() - set the size of the view
 * @view: the view
 * @size: new size in bytes, page aligned, 0 to memview_status.max_size
 *
 * A size costs nothing. Shrinking removes the ranges, and the parts of ranges,
 * beyond the new size.
 *
 * Return: 0, or
 * -EINVAL: @size is not page aligned;
 * -EFBIG: @size is larger than memview_status.max_size;
 * -ENOMEM: no memory to cut a range;
 * -EIO: the caller's address space is not the one that first mapped a file into
 *	the view (a child after fork(2));
 * -ESHUTDOWN: the view is revoked.
 */
int memview_set_size(struct memview *view, uint64_t size);

/**
 * memview_map() - map a span of a file into the view
 * @view: the view
 * @mem_offset: first byte in the view, page aligned
 * @fd: a regular file: memfd (also with MFD_HUGETLB), tmpfs, or any file system
 *	that can map files shared. May be closed afterwards
 * @fd_offset: first byte in the file, page aligned (hugetlb too: any multiple of
 *	memview_status.page_size). May lie beyond the end of the file, except for
 *	hugetlb: peers get SIGBUS there until the file has grown
 * @size: bytes to map, page aligned, not 0
 * @flags: MEMVIEW_READ, and any of MEMVIEW_WRITE, MEMVIEW_EXEC,
 *	MEMVIEW_LAZY_WRITE, MEMVIEW_POPULATE_NOW, MEMVIEW_NO_ALLOC
 *
 * The span must be free; memview_replace() has no such condition.
 *
 * Return: 0, or
 * -EINVAL: offset or size not page aligned; @size is 0; unknown flag; no
 *	MEMVIEW_READ; hugetlb file that ends before @fd_offset + @size;
 * -EOVERFLOW: an offset plus the size passes 2^63 - 1, or @fd_offset plus @size
 *	passes the largest size of a file on that file system;
 * -ERANGE: the span ends beyond the view;
 * -EEXIST: part of the span is mapped already;
 * -EBADF: @fd is not an open file, or was opened with O_PATH;
 * -ENODEV: @fd is not a regular file, or one that cannot be lent (pipe, socket,
 *	directory, device, view fd, memfd_secret(2), DAX);
 * -EACCES: @fd is not open for reading; MEMVIEW_WRITE and @fd is not open for
 *	writing, or is append-only;
 * -EPERM: MEMVIEW_WRITE and the file is sealed against it; MEMVIEW_EXEC and the
 *	file's mount is noexec; refused by a security module;
 * -ETXTBSY: MEMVIEW_WRITE and the file is used for swapping;
 * -EREMOTEIO: the file's file system cannot map it: it has been shut down, its
 *	server is gone, ...;
 * -ENOSPC: the view would have more than memview_status.max_ranges ranges;
 * -EMFILE: the controller has memview_status.max_sources sources, all in use;
 * -ENOMEM: no memory, or no room in the caller's address space (RLIMIT_AS,
 *	vm.max_map_count);
 * -EIO: as for memview_set_size();
 * -ESHUTDOWN: the view is revoked.
 */
int memview_map(struct memview *view, uint64_t mem_offset, int fd,
		uint64_t fd_offset, uint64_t size, unsigned int flags);

/**
 * memview_adopt() - map a span of a file by the caller's own mapping of it
 * @view: the view
 * @mem_offset: as for memview_map()
 * @addr: where the caller has the byte @fd_offset of the file mapped, page
 *	aligned
 * @fd: as for memview_map(); need not be the descriptor by which it was mapped
 * @fd_offset: as for memview_map()
 * @size: as for memview_map()
 * @flags: as for memview_map()
 *
 * Like memview_map(), but the driver uses the mapping at @addr instead of making one.
 * The file is not mapped twice and has one page table less, and a userfaultfd(2) that
 * is registered on the mapping also gets peers' faults. This is for a VMM, whose
 * guest memory is mapped anyway.
 *
 * From @addr on, @size bytes of the file must be mapped with MAP_SHARED: in one
 * mapping, or in several that adjoin and were made by one open file.
 *
 * The mapping stays the caller's. Changes of it affect the peers: while it lacks
 * PROT_READ, their accesses raise SIGBUS; while it lacks PROT_WRITE, their writes do.
 * If any part of the mapping is unmapped, moved or replaced, lent or not, all ranges
 * that have adopted it raise SIGBUS, until they are mapped again.
 *
 * To adopt over an existing range, put memview_batch_unmap() and
 * memview_batch_adopt() into one batch: no fault of a peer comes in between.
 *
 * Return: 0, or the errnos of memview_map(), or
 * -EINVAL: @addr is not page aligned; in some of the span something else is mapped
 *	than this span of the file with MAP_SHARED; the mappings were made by
 *	several open files;
 * -EFAULT: nothing is mapped in some of the span, or it changed meanwhile;
 * -ENODEV: the mapping begins at address 0;
 * -EACCES: some of the span is mapped without PROT_READ or, with MEMVIEW_WRITE,
 *	without PROT_WRITE;
 * -EOPNOTSUPP: the driver is older than MEMVIEW_CAN_ADOPT
 *	(memview_status.features).
 */
int memview_adopt(struct memview *view, uint64_t mem_offset, void *addr, int fd,
		  uint64_t fd_offset, uint64_t size, unsigned int flags);

/**
 * memview_replace() - map a span of a file over existing ranges
 * @view: the view
 * @mem_offset: first byte in the view, page aligned
 * @fd: as for memview_map()
 * @fd_offset: as for memview_map()
 * @size: bytes to map, page aligned, not 0
 * @flags: as for memview_map()
 *
 * Old and new are swapped in one step: no fault of a peer finds the span empty.
 *
 * Return: 0, or the errnos of memview_map() but -EEXIST.
 */
int memview_replace(struct memview *view, uint64_t mem_offset, int fd,
		    uint64_t fd_offset, uint64_t size, unsigned int flags);

/**
 * memview_map_with() - memview_map(), memview_replace() or memview_adopt(), with
 *	every argument that there is
 * @view: the view
 * @args: the arguments
 * @size: sizeof(*args)
 *
 * Return: 0, or the errnos of memview_map() and memview_adopt(), and
 * -EINVAL: @size is smaller than the first version of the structure, or larger than
 *	the library's and a byte beyond is not 0;
 * -EOPNOTSUPP: @args needs MEMVIEW_CAN_COOKIE or MEMVIEW_CAN_ADOPT, and the driver is
 *	older.
 */
int memview_map_with(struct memview *view, const struct memview_map_args *args,
		     size_t size);

/**
 * memview_unmap() - remove all ranges from a span of the view
 * @view: the view
 * @mem_offset: first byte of the span, page aligned
 * @size: bytes of the span, page aligned, not 0
 * @unmapped: where to put the number of bytes that were mapped and are not any
 *	more; untouched on failure; may be NULL
 *
 * Ranges are cut where the span ends inside them; holes are skipped. Peers get
 * SIGBUS on their next access.
 *
 * Return: 0, or
 * -EINVAL: offset or size not page aligned; @size is 0;
 * -EOVERFLOW: offset plus size passes 2^63 - 1;
 * -ERANGE: the span ends beyond the view;
 * -ENOSPC: a range would be cut in two, and the view has
 *	memview_status.max_ranges ranges;
 * -ENOMEM: no memory to cut a range;
 * -EIO: as for memview_set_size();
 * -ESHUTDOWN: the view is revoked.
 */
int memview_unmap(struct memview *view, uint64_t mem_offset, uint64_t size,
		  uint64_t *unmapped);

/**
 * memview_protect() - change the rights of a fully mapped span
 * @view: the view
 * @mem_offset: first byte of the span, page aligned
 * @size: bytes of the span, page aligned, not 0
 * @flags: the new rights: MEMVIEW_READ and any of MEMVIEW_WRITE, MEMVIEW_EXEC;
 *	plus MEMVIEW_LAZY_WRITE, MEMVIEW_NO_ALLOC
 *
 * Rights can be taken and given back, but only up to the rights that each range was
 * mapped with.
 *
 * Return: 0, or
 * -EINVAL: offset or size not page aligned; @size is 0; unknown flag; no
 *	MEMVIEW_READ;
 * -EOVERFLOW: offset plus size passes 2^63 - 1;
 * -ERANGE: the span ends beyond the view;
 * -ENOENT: part of the span is not mapped;
 * -EACCES: a right that one of the ranges cannot have;
 * -ENOSPC, -ENOMEM: as for memview_unmap();
 * -EIO: as for memview_set_size();
 * -ESHUTDOWN: the view is revoked.
 */
int memview_protect(struct memview *view, uint64_t mem_offset, uint64_t size,
		    unsigned int flags);

/**
 * memview_populate() - fault pages in before peers do
 * @view: the view
 * @mem_offset: first byte of the span, page aligned
 * @size: bytes of the span, page aligned, not 0
 * @flags: 0, MEMVIEW_POPULATE_IN_PEERS or MEMVIEW_POPULATE_TO_READ
 * @populated: where to put the number of bytes, from @mem_offset on, that have
 *	been found or put in the source, also on failure; may be NULL
 *
 * Allocates or reads the pages of the files. If peers may write and the range has no
 * MEMVIEW_LAZY_WRITE, it does so for writing, which makes a page of a regular file
 * dirty; MEMVIEW_POPULATE_TO_READ avoids that. With MEMVIEW_POPULATE_IN_PEERS, it also
 * fills the page tables of all processes that have the view mapped, with the rights
 * that they have. That part is best effort and never an error. Populating gives no
 * right and pins no page, and a span that another thread unmaps meanwhile is gone.
 *
 * A signal ends the call: unlike most other functions it does not retry.
 *
 * Return: 0, or
 * -EOPNOTSUPP: the driver is older than MEMVIEW_CAN_POPULATE
 *	(memview_status.features);
 * -EINVAL: offset or size not page aligned; @size is 0; unknown flag; both flags;
 * -EOVERFLOW: offset plus size passes 2^63 - 1;
 * -ERANGE: the span ends beyond the view;
 * -ENOENT: a page of the span is not mapped;
 * -EFAULT: the file cannot give a page: beyond its end, no space or quota, no huge
 *	page, I/O error; or the caller has changed the source mapping;
 * -EHWPOISON: a page has a memory error;
 * -EINTR: a signal arrived; go on from @mem_offset + @populated;
 * -ENOMEM: no memory, or the limit of the cgroup;
 * -EIO: as for memview_set_size();
 * -ESHUTDOWN: the view is revoked.
 */
int memview_populate(struct memview *view, uint64_t mem_offset, uint64_t size,
		     unsigned int flags, uint64_t *populated);

/**
 * memview_drop_idle() - unmap files that no range needs any more
 * @view: a view of the caller's
 *
 * The driver maps lent files in the caller. When the last range of such a mapping has
 * gone, the driver keeps the mapping for a moment, to use it again; afterwards the next
 * call on a view unmaps it. Until then the file system cannot be unmounted,
 * F_SEAL_WRITE is refused (EBUSY), and so is execve(2) of a file that was mapped with
 * MEMVIEW_WRITE (ETXTBSY). This function unmaps at once all such mappings that no
 * range of any view of the caller needs. It waits as munmap(2) does.
 *
 * Return: 0, or
 * -EOPNOTSUPP: the driver is older than MEMVIEW_CAN_DROP_IDLE
 *	(memview_status.features);
 * -EINTR: SIGKILL arrived while the call waited;
 * -EIO: as for memview_set_size().
 */
int memview_drop_idle(struct memview *view);

/**
 * memview_batch_new() - make an empty batch
 * @batchp: where to put it; untouched on failure
 *
 * A batch collects operations, which memview_batch_apply() then does in their
 * order and all or none. It belongs to no view, takes up no file descriptor, and
 * grows as needed.
 *
 * Return: 0, or
 * -ENOMEM: no memory.
 */
int memview_batch_new(struct memview_batch **batchp);

/**
 * memview_batch_free() - free a batch
 * @batch: the batch; NULL does nothing
 */
void memview_batch_free(struct memview_batch *batch);

/**
 * memview_batch_clear() - forget the operations of a batch
 * @batch: the batch, which keeps its memory for the next ones
 */
void memview_batch_clear(struct memview_batch *batch);

/**
 * memview_batch_count() - number of operations in a batch
 * @batch: the batch
 *
 * Return: the number, which is also the index that the next operation gets.
 * Cannot fail.
 */
size_t memview_batch_count(const struct memview_batch *batch);

/**
 * memview_batch_map() - append a memview_map()
 * @batch: the batch
 * @mem_offset: as for memview_map()
 * @fd: as for memview_map(), but *borrowed*: the batch has only the number. It
 *	must stay open until the batch has been applied for the last time; each time,
 *	the number means the file that is then open by it
 * @fd_offset: as for memview_map()
 * @size: as for memview_map()
 * @flags: as for memview_map()
 *
 * Nothing is checked before memview_batch_apply(), here and in the functions
 * that follow.
 *
 * Return: 0, or
 * -ENOMEM: no memory; the batch is as it was.
 */
int memview_batch_map(struct memview_batch *batch, uint64_t mem_offset, int fd,
		      uint64_t fd_offset, uint64_t size, unsigned int flags);

/**
 * memview_batch_adopt() - append a memview_adopt()
 * @batch: the batch
 * @mem_offset: as for memview_adopt()
 * @addr: as for memview_adopt(), when the batch is applied
 * @fd: as for memview_batch_map()
 * @fd_offset: as for memview_adopt()
 * @size: as for memview_adopt()
 * @flags: as for memview_adopt()
 *
 * Return: 0, or -ENOMEM as for memview_batch_map().
 */
int memview_batch_adopt(struct memview_batch *batch, uint64_t mem_offset,
			void *addr, int fd, uint64_t fd_offset, uint64_t size,
			unsigned int flags);

/**
 * memview_batch_replace() - append a memview_replace()
 * @batch: the batch
 * @mem_offset: as for memview_replace()
 * @fd: as for memview_batch_map()
 * @fd_offset: as for memview_replace()
 * @size: as for memview_replace()
 * @flags: as for memview_replace()
 *
 * Return: 0, or -ENOMEM as for memview_batch_map().
 */
int memview_batch_replace(struct memview_batch *batch, uint64_t mem_offset,
			  int fd, uint64_t fd_offset, uint64_t size,
			  unsigned int flags);

/**
 * memview_batch_map_with() - append a memview_map_with()
 * @batch: the batch
 * @args: the arguments; fd as for memview_batch_map(), addr as for
 *	memview_batch_adopt()
 * @size: sizeof(*args)
 *
 * Return: 0, or -ENOMEM as for memview_batch_map().
 */
int memview_batch_map_with(struct memview_batch *batch,
			   const struct memview_map_args *args, size_t size);

/**
 * memview_batch_unmap() - append a memview_unmap()
 * @batch: the batch
 * @mem_offset: as for memview_unmap()
 * @size: as for memview_unmap()
 *
 * Return: 0, or -ENOMEM as for memview_batch_map().
 */
int memview_batch_unmap(struct memview_batch *batch, uint64_t mem_offset,
			uint64_t size);

/**
 * memview_batch_protect() - append a memview_protect()
 * @batch: the batch
 * @mem_offset: as for memview_protect()
 * @size: as for memview_protect()
 * @flags: as for memview_protect()
 *
 * Return: 0, or -ENOMEM as for memview_batch_map().
 */
int memview_batch_protect(struct memview_batch *batch, uint64_t mem_offset,
			  uint64_t size, unsigned int flags);

/**
 * memview_batch_apply() - do the operations of a batch, all or none
 * @view: the view
 * @batch: the batch; stays as it is, and can be applied again, also to another
 *	view
 * @failed: where to put the index (from 0, in the order of appending) of the
 *	operation that could not be done; memview_batch_count() if it was none
 *	of them, also on success. May be NULL
 * @unmapped: where to put the number of bytes that were mapped and, by one of
 *	the operations, were not any more; untouched on failure; may be NULL
 *
 * Each operation is done as if those before it were done: one may map a span that an
 * earlier one has unmapped. No fault of a peer, and no other call on the view, finds
 * some of them done and others not. Rights are taken away once for each span of
 * adjacent pages, not once for each operation. This makes a batch faster than
 * separate calls.
 *
 * If several operations cannot be done, @failed is the index of one of them, not
 * always the first: arguments are checked before the table is.
 *
 * An empty batch does nothing and succeeds, if the driver knows batches at all.
 *
 * Return: 0, or
 * -EOPNOTSUPP: the driver is older than MEMVIEW_CAN_UPDATE or, with a
 *	memview_batch_adopt(), MEMVIEW_CAN_ADOPT or, with a cookie,
 *	MEMVIEW_CAN_COOKIE (memview_status.features);
 * -E2BIG: more than MEMVIEW_BATCH_MAX operations;
 * -EBADF, -EINVAL, ...: the errnos of memview_map(), memview_adopt(),
 *	memview_replace(), memview_map_with(), memview_unmap() or memview_protect(),
 *	whichever operation @failed is;
 * -ENOMEM: no memory, whether or not for the operation @failed;
 * -EIO: as for memview_set_size();
 * -ESHUTDOWN: the view is revoked.
 */
int memview_batch_apply(struct memview *view, const struct memview_batch *batch,
			size_t *failed, uint64_t *unmapped);

/**
 * memview_query() - list the ranges in ascending order of mem_offset
 * @view: the view
 * @mem_offset: in: list the ranges that end above this offset; out: where to go
 *	on, or the size of the view when nothing is left. NULL: from 0
 * @ranges: array of @count entries; may be NULL if @count is 0
 * @range_size: sizeof(*ranges), 48 at least
 * @count: room in @ranges, 0 to MEMVIEW_QUERY_MAX
 * @total: where to put the number of ranges in the whole view; may be NULL
 *
 * Each call is a consistent picture of the span that it lists. A revoked view
 * has no ranges. On failure @mem_offset and @total are untouched.
 *
 * Return: number of entries written, or
 * -EINVAL: @count is larger than MEMVIEW_QUERY_MAX; @range_size is smaller than the
 *	first version of the structure, or larger than a page;
 * -EFAULT: @ranges is not writable memory;
 * -ENOMEM: no memory;
 * -ESHUTDOWN: the view was revoked during the call.
 */
int memview_query(struct memview *view, uint64_t *mem_offset,
		  struct memview_range *ranges, size_t range_size,
		  unsigned int count, uint64_t *total);

/**
 * memview_info() - sizes, limits and state of the view
 * @view: the view
 * @status: where to put them; untouched on failure
 * @size: sizeof(*status)
 *
 * Works on a revoked view and from any process.
 *
 * Return: 0, or
 * -EINVAL: @size is smaller than the first version of the structure.
 */
int memview_info(struct memview *view, struct memview_status *status, size_t size);

/**
 * memview_view_fd() - make a view fd with all rights
 * @view: the view
 *
 * Pass a view fd to peers. They can map it MAP_SHARED, seek it (SEEK_END is the size),
 * stat it, sync it (fsync(2) and msync(2) sync the files that ranges show), and close
 * it. The rights of a mapping are the AND of the view fd's, the mapping's protection,
 * the range's and the file's.
 *
 * Return: the new file descriptor, which is the caller's to close, or
 * -EMFILE, -ENFILE: no file descriptor left in the process, in the system;
 * -ENOMEM: no memory;
 * -ESHUTDOWN: the view is revoked.
 */
int memview_view_fd(struct memview *view);

/**
 * memview_view_fd_rights() - make a view fd with fewer rights
 * @view: the view
 * @rights: MEMVIEW_READ and any of MEMVIEW_WRITE, MEMVIEW_EXEC
 *
 * Return: the new file descriptor, which is the caller's to close, or
 * -EINVAL: no MEMVIEW_READ, or a bit that is no right;
 * and the errnos of memview_view_fd().
 */
int memview_view_fd_rights(struct memview *view, unsigned int rights);

/**
 * memview_revoke() - remove all ranges, for good
 * @view: the view
 *
 * From now on changes of the view, new view fds, and mmap(2) of its view fds
 * fail with ESHUTDOWN, and peers get SIGBUS. Death and execve(2) of the
 * controller do the same. Revoking a revoked view succeeds. Any process that
 * has the handle may call it, for example a forked child.
 *
 * Return: 0. No errno is expected of a handle that is open.
 */
int memview_revoke(struct memview *view);

/**
 * memview_send_fd() - pass a file descriptor over a Unix socket
 * @sock: a connected socket of family AF_UNIX, any type
 * @fd: the descriptor, usually a view fd; stays open here
 * @data: bytes that go with it; may be NULL if @len is 0
 * @len: bytes, 0 to INT_MAX. If 0, one byte of value 0 goes instead, as a
 *	descriptor cannot travel alone; memview_recv_fd() with @len 0 drops it
 *
 * The descriptor travels with the first byte. Retries when a signal interrupts;
 * raises no SIGPIPE.
 *
 * Return: number of bytes of @data sent. Less than @len only if the socket is a
 * stream that is non-blocking, or has a time-out, or broke in the middle: the
 * descriptor has gone, the rest is to be sent with send(2). Or
 * -EAFNOSUPPORT: @sock is not of family AF_UNIX;
 * -ENOTSOCK, -EBADF: @sock is no socket; it, or @fd, is not open;
 * -EAGAIN: non-blocking or timed out, and no room;
 * -EPIPE, -ECONNRESET, -ECONNREFUSED, -ENOTCONN: the other end is closed, or
 *	was never connected;
 * -EMSGSIZE: @len is larger than INT_MAX or than a message of this socket can
 *	be;
 * -ETOOMANYREFS: too many descriptors in flight (RLIMIT_NOFILE);
 * -EPERM, -EACCES: refused by a security module;
 * -ENOBUFS, -ENOMEM: no memory.
 */
int memview_send_fd(int sock, int fd, const void *data, size_t len);

/**
 * memview_recv_fd() - receive one file descriptor from a Unix socket
 * @sock: the socket
 * @data: where to put the bytes that come with it; may be NULL if @len is 0
 * @len: room in @data; if 0, one byte is received and dropped
 * @received: where to put the number of bytes received into @data, also on
 *	failure (0 if nothing was received); may be NULL
 *
 * Receives one message, or on a stream the bytes of one recvmsg(2). If the result is
 * an error, descriptors that came along are closed. Retries when a signal interrupts.
 *
 * Return: the file descriptor, close-on-exec and the caller's to close, or
 * -EPIPE: the other end has closed the connection (or, on a datagram socket,
 *	sent an empty message without descriptor);
 * -ENOMSG: bytes came without descriptor;
 * -EBADMSG: more than one descriptor came;
 * -EMFILE: a descriptor was sent and could not be installed: no descriptor left
 *	in the process (RLIMIT_NOFILE), or refused by a security module;
 * -EMSGSIZE: the message was longer than @len, its rest is lost;
 * -EAGAIN: non-blocking or timed out, and nothing there;
 * -ECONNRESET, -ENOTCONN: the other end vanished, or was never connected;
 * -ENOTSOCK, -EBADF: @sock is no socket, is not open;
 * -ENOMEM: no memory.
 */
int memview_recv_fd(int sock, void *data, size_t len, size_t *received);

#ifdef __cplusplus
}
#endif

#endif /* LIBMEMVIEW_MEMVIEW_H */
