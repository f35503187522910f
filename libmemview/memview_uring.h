/* SPDX-License-Identifier: MIT */
/*
 * libmemview: operations on a view by io_uring, see memview_prep(3).
 *
 * These functions fill in a submission, like io_uring_prep_read(3) of liburing.
 * They need nothing of that library: how a program gets hold of struct
 * io_uring_sqe, submits it and reaps its completion is its own affair.
 *
 * - They cannot fail. What is wrong with an operation, its completion says:
 *   cqe->res is 0 or the -errno of the function that does the same without a
 *   ring (memview_map(), ...).
 * - A completion means that no CPU can use any more what was taken away.
 * - All of the submission is written but user_data. A program that has
 *   registered the control fd sets sqe->fd and IOSQE_FIXED_FILE afterwards, as
 *   it does IOSQE_IO_LINK and the other flags.
 * - The last parameter says where the arguments are. NULL: in the submission, 128
 *   bytes of which are written: the ring was made with IORING_SETUP_SQE128. Else
 *   it is memory of the caller's, for any ring, which must stay as it is until
 *   the completion; then it has the results.
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
 * memview_prep_map() - what memview_map() does
 * @sqe: the submission
 * @view: as for memview_map(), as are the following
 * @mem_offset: first byte in the view
 * @fd: the file; must stay open until the completion, and means whatever is open
 *	by that number when the operation is done
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
 * memview_prep_adopt() - what memview_adopt() does
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
 * memview_prep_replace() - what memview_replace() does
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
 * memview_prep_map_with() - what memview_map_with() does
 * @sqe: the submission
 * @view: the view
 * @args: what to map, copied; the file as for memview_prep_map()
 * @size: sizeof(*args)
 * @arg: memory for the arguments, or NULL
 */
void memview_prep_map_with(struct io_uring_sqe *sqe, struct memview *view,
			   const struct memview_map_args *args, size_t size,
			   struct memview_arg *arg);

/**
 * memview_prep_unmap() - what memview_unmap() does
 * @sqe: the submission
 * @view: as for memview_unmap(), as are the following
 * @mem_offset: first byte of the span
 * @size: bytes of the span
 * @arg: memory for the arguments, or NULL: then memview_arg_unmapped() cannot
 *	tell how much it was
 */
void memview_prep_unmap(struct io_uring_sqe *sqe, struct memview *view,
			uint64_t mem_offset, uint64_t size,
			struct memview_arg *arg);

/**
 * memview_prep_protect() - what memview_protect() does
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
 * memview_prep_set_size() - what memview_set_size() does
 * @sqe: the submission
 * @view: as for memview_set_size()
 * @size: new size of the view
 * @arg: memory for the arguments, or NULL
 */
void memview_prep_set_size(struct io_uring_sqe *sqe, struct memview *view,
			   uint64_t size, struct memview_arg *arg);

/**
 * memview_prep_batch() - what memview_batch_apply() does
 * @sqe: the submission
 * @view: the view
 * @batch: the batch, which must not be changed or freed before the completion;
 *	with more than MEMVIEW_BATCH_MAX operations that is -EINVAL
 * @arg: memory for the arguments, or NULL: then neither memview_arg_failed() nor
 *	memview_arg_unmapped() can be asked
 */
void memview_prep_batch(struct io_uring_sqe *sqe, struct memview *view,
			const struct memview_batch *batch,
			struct memview_arg *arg);

/**
 * memview_prep_revoke() - what memview_revoke() does
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
 * Return: bytes that were mapped and are not any more, as memview_unmap() and
 * memview_batch_apply() tell. Of other operations: 0. Cannot fail.
 */
uint64_t memview_arg_unmapped(const struct memview_arg *arg);

/**
 * memview_arg_failed() - which operation of a batch could not be done
 * @arg: of memview_prep_batch(), completed
 *
 * Return: its index, as memview_batch_apply() tells; memview_batch_count() when
 * it was none of them. Of other operations: 0. Cannot fail.
 */
size_t memview_arg_failed(const struct memview_arg *arg);

#ifdef __cplusplus
}
#endif

#endif /* LIBMEMVIEW_MEMVIEW_URING_H */
