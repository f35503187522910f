/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtio-blk driver over one virtqueue, with up to BLK_DEPTH requests in
 * flight.
 *
 * Each request occupies a slot. The slot's header and status byte lie on pages
 * of their own, apart from the data: a back-end touches them with its own
 * instructions and dies when they are gone, whereas data is touched by system
 * calls, which fail.
 *
 * Functions return 0 or a count, or -errno.
 */
#ifndef DEMO_VIRTIO_BLK_H
#define DEMO_VIRTIO_BLK_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest_memory.h"
#include "virtqueue.h"

#define BLK_SECTOR		512U
#define BLK_DEPTH		32U
#define BLK_MAX_SEGMENTS	30U
#define BLK_QUEUE_SIZE		1024U
_Static_assert(BLK_DEPTH * (BLK_MAX_SEGMENTS + 2) <= BLK_QUEUE_SIZE,
	       "all slots fit with all their segments");

struct blk_segment {
	uint64_t addr;
	uint32_t len;
};

/**
 * struct blk - the driver
 * @mem: guest RAM
 * @vq: the queue
 * @headers: guest-physical address of BLK_DEPTH headers
 * @statuses: guest-physical address of BLK_DEPTH status bytes
 * @kick_fd: eventfd that wakes the back-end
 * @call_fd: eventfd that wakes the driver
 * @sock: connection to the back-end; its end means that the back-end is gone
 * @busy: the slot is in flight
 * @in_flight: how many are
 */
struct blk {
	struct guest_memory *mem;
	struct virtqueue vq;
	uint64_t headers;
	uint64_t statuses;
	int kick_fd;
	int call_fd;
	int sock;
	bool busy[BLK_DEPTH];
	unsigned int in_flight;
};

/**
 * blk_submit() - make a request available to the back-end, without a kick
 * @blk: the driver
 * @slot: a slot that is not in flight
 * @type: VIRTIO_BLK_T_IN, _OUT or _FLUSH
 * @sector: first sector
 * @segments: the data; addresses are not checked, as no guest's are
 * @count: segments, up to BLK_MAX_SEGMENTS
 *
 * Return: 0, or -EBUSY: the slot is in flight; -EINVAL: too many segments.
 */
int blk_submit(struct blk *blk, unsigned int slot, uint32_t type, uint64_t sector,
	       const struct blk_segment *segments, unsigned int count);

/* Kick the back-end if it wants that. */
int blk_kick(struct blk *blk);

/**
 * blk_reap() - take one finished request, waiting for it
 * @blk: the driver
 * @slot: set
 * @status: set to its status byte (VIRTIO_BLK_S_*)
 * @timeout_ms: how long to wait, 0 not at all
 *
 * Return: 0, or
 * -ETIMEDOUT: none finished in time;
 * -EPIPE: the back-end is gone;
 * -EPROTO: the back-end wrote nonsense into the used ring.
 */
int blk_reap(struct blk *blk, unsigned int *slot, uint8_t *status, int timeout_ms);

/**
 * blk_do() - one request from beginning to end; none may be in flight
 *
 * Arguments as of blk_submit() and blk_reap(). Return: 0, or their errnos.
 */
int blk_do(struct blk *blk, uint32_t type, uint64_t sector,
	   const struct blk_segment *segments, unsigned int count, uint8_t *status,
	   int timeout_ms);

/* Name of a status byte. */
const char *blk_status_name(uint8_t status);

#endif /* DEMO_VIRTIO_BLK_H */
