/* SPDX-License-Identifier: MIT */
/*
 * libmemview: operations on a view by io_uring, see memview_prep(3).
 *
 * These functions fill in a submission, like io_uring_prep_read(3) of liburing.
 * They do not need that library: the program itself gets struct io_uring_sqe,
 * submits it and reaps its completion, in any way it likes.
 *
 * - They cannot fail. The completion reports errors: cqe->res is 0 or the -errno of
 *   the function that does the same without a ring (memview_map(), ...).
 * - When an operation has completed, no CPU can use the rights that it took away.
 * - They write all of the submission except user_data. A program that has registered
 *   the control fd sets sqe->fd and IOSQE_FIXED_FILE afterwards, and so it does with
 *   IOSQE_IO_LINK and the other flags.
 * - The last parameter says where the arguments are. NULL: in the submission. They
 *   then write 128 bytes of it, so the ring must have been made with
 *   IORING_SETUP_SQE128. Otherwise it points to memory of the caller's, for any ring,
 *   which must stay as it is until the completion, and then has the results.
 * - File descriptors are borrowed until the completion.
 */
#ifndef LIBMEMVIEW_MEMVIEW_URING_H
#define LIBMEMVIEW_MEMVIEW_URING_H

#include "memview.h"

#ifdef __cplusplus
extern "C" {
#endif

struct io_uring_sqe;

/**
 * struct memview_arg - room for the arguments and results of one operation;
 *	opaque
 */
struct memview_arg {
	uint64_t reserved[16];
};

/**
 * memview_prep_map() - memview_map() by io_uring
 * @sqe: the submission
 * @view: as for memview_map(), as are the following
 * @mem_offset: first byte in the view
 * @fd: the file; must stay open until the completion. The operation uses the file
 *	that is open by that number when it is done
 * @fd_offset: first byte in the file
 * @size: bytes to map
 * @flags: MEMVIEW_READ, ...
 * @arg: memory for the arguments, or NULL
 */
void memview_prep_map(struct io_uring_sqe *sqe, struct memview *view,
		      uint64_t mem_offset, int fd, uint64_t fd_offset,
		      uint64_t size, unsigned int flags,
		      struct memview_arg *arg);

/**
 * memview_prep_adopt() - memview_adopt() by io_uring
 * @sqe: the submission
 * @view: as for memview_adopt(), as are the following
 * @mem_offset: first byte in the view
 * @addr: where the process has mapped the span
 * @fd: as for memview_prep_map()
 * @fd_offset: first byte in the file
 * @size: bytes to map
 * @flags: MEMVIEW_READ, ...
 * @arg: memory for the arguments, or NULL
 */
void memview_prep_adopt(struct io_uring_sqe *sqe, struct memview *view,
			uint64_t mem_offset, void *addr, int fd,
			uint64_t fd_offset, uint64_t size, unsigned int flags,
			struct memview_arg *arg);

/**
 * memview_prep_replace() - memview_replace() by io_uring
 * @sqe: the submission
 * @view: as for memview_replace(), as are the following
 * @mem_offset: first byte in the view
 * @fd: as for memview_prep_map()
 * @fd_offset: first byte in the file
 * @size: bytes to map
 * @flags: MEMVIEW_READ, ...
 * @arg: memory for the arguments, or NULL
 */
void memview_prep_replace(struct io_uring_sqe *sqe, struct memview *view,
			  uint64_t mem_offset, int fd, uint64_t fd_offset,
			  uint64_t size, unsigned int flags,
			  struct memview_arg *arg);

/**
 * memview_prep_map_with() - memview_map_with() by io_uring
 * @sqe: the submission
 * @view: the view
 * @args: the arguments, which are copied; fd as for memview_prep_map()
 * @size: sizeof(*args)
 * @arg: memory for the arguments, or NULL
 */
void memview_prep_map_with(struct io_uring_sqe *sqe, struct memview *view,
			   const struct memview_map_args *args, size_t size,
			   struct memview_arg *arg);

/**
 * memview_prep_unmap() - memview_unmap() by io_uring
 * @sqe: the submission
 * @view: as for memview_unmap(), as are the following
 * @mem_offset: first byte of the span
 * @size: bytes of the span
 * @arg: memory for the arguments, or NULL; memview_arg_unmapped() needs it
 */
void memview_prep_unmap(struct io_uring_sqe *sqe, struct memview *view,
			uint64_t mem_offset, uint64_t size,
			struct memview_arg *arg);

/**
 * memview_prep_protect() - memview_protect() by io_uring
 * @sqe: the submission
 * @view: as for memview_protect(), as are the following
 * @mem_offset: first byte of the span
 * @size: bytes of the span
 * @flags: the new rights
 * @arg: memory for the arguments, or NULL
 */
void memview_prep_protect(struct io_uring_sqe *sqe, struct memview *view,
			  uint64_t mem_offset, uint64_t size,
			  unsigned int flags, struct memview_arg *arg);

/**
 * memview_prep_set_size() - memview_set_size() by io_uring
 * @sqe: the submission
 * @view: as for memview_set_size()
 * @size: new size of the view
 * @arg: memory for the arguments, or NULL
 */
void memview_prep_set_size(struct io_uring_sqe *sqe, struct memview *view,
			   uint64_t size, struct memview_arg *arg);

/**
 * memview_prep_batch() - memview_batch_apply() by io_uring
 * @sqe: the submission
 * @view: the view
 * @batch: the batch, which must not be changed or freed before the completion;
 *	with more than MEMVIEW_BATCH_MAX operations that is -EINVAL
 * @arg: memory for the arguments, or NULL; memview_arg_failed() and
 *	memview_arg_unmapped() need it
 */
void memview_prep_batch(struct io_uring_sqe *sqe, struct memview *view,
			const struct memview_batch *batch,
			struct memview_arg *arg);

/**
 * memview_prep_revoke() - memview_revoke() by io_uring
 * @sqe: the submission, of a ring with or without IORING_SETUP_SQE128
 * @view: the view
 *
 * There are no arguments.
 */
void memview_prep_revoke(struct io_uring_sqe *sqe, struct memview *view);

/**
 * memview_arg_unmapped() - how much was unmapped
 * @arg: of memview_prep_unmap() or memview_prep_batch(), completed with success
 *
 * Return: bytes that were mapped and are not any more, as for memview_unmap() and
 * memview_batch_apply(). 0 for other operations. Cannot fail.
 */
uint64_t memview_arg_unmapped(const struct memview_arg *arg);

/**
 * memview_arg_failed() - which operation of a batch could not be done
 * @arg: of memview_prep_batch(), completed
 *
 * Return: its index, as for memview_batch_apply(); memview_batch_count() if it was
 * none of them. 0 for other operations. Cannot fail.
 */
size_t memview_arg_failed(const struct memview_arg *arg);

#ifdef __cplusplus
}
#endif

#endif /* LIBMEMVIEW_MEMVIEW_URING_H */
