// SPDX-License-Identifier: GPL-2.0
#include "virtio_blk.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "report.h"

/* No virtio-blk device writes this. */
#define STATUS_NONE	0xff

static uint8_t *status_byte(struct blk *blk, unsigned int slot)
{
	return (uint8_t *)guest_ptr(blk->mem, blk->statuses) + slot;
}

int blk_submit(struct blk *blk, unsigned int slot, uint32_t type, uint64_t sector,
	       const struct blk_segment *segments, unsigned int count)
{
	struct virtio_blk_outhdr *header = guest_ptr(blk->mem, blk->headers);
	struct vq_segment chain[BLK_MAX_SEGMENTS + 2];
	unsigned int i;
	int ret;

	if (count > BLK_MAX_SEGMENTS)
		return -EINVAL;
	if (blk->busy[slot])
		return -EBUSY;
	header[slot] = (struct virtio_blk_outhdr) {
		.type = htole32(type),
		.sector = htole64(sector),
	};
	*status_byte(blk, slot) = STATUS_NONE;
	chain[0] = (struct vq_segment) {
		.addr = blk->headers + slot * sizeof(*header),
		.len = sizeof(*header),
	};
	for (i = 0; i < count; i++)
		chain[i + 1] = (struct vq_segment) {
			.addr = segments[i].addr,
			.len = segments[i].len,
			.device_writes = type == VIRTIO_BLK_T_IN,
		};
	chain[count + 1] = (struct vq_segment) {
		.addr = blk->statuses + slot,
		.len = 1,
		.device_writes = true,
	};
	ret = virtqueue_add(&blk->vq, chain, count + 2, slot);
	if (ret)
		return ret;
	blk->busy[slot] = true;
	blk->in_flight++;
	return 0;
}

int blk_kick(struct blk *blk)
{
	if (!virtqueue_wants_kick(&blk->vq))
		return 0;
	return eventfd_write(blk->kick_fd, 1) ? -errno : 0;
}

int blk_reap(struct blk *blk, unsigned int *slot, uint8_t *status, int timeout_ms)
{
	uint64_t deadline = now_ns() + timeout_ms * 1000000ULL;
	struct pollfd pfd[2] = {
		{ .fd = blk->call_fd, .events = POLLIN },
		{ .fd = blk->sock, .events = POLLRDHUP },
	};
	eventfd_t count;
	uint64_t now;
	int ret;

	for (;;) {
		ret = virtqueue_take(&blk->vq, slot);
		if (ret < 0)
			return ret;
		if (ret)
			break;
		/* What finished before the back-end died was taken above. */
		if (pfd[1].revents)
			return -EPIPE;
		now = now_ns();
		if (now >= deadline)
			return -ETIMEDOUT;
		ret = poll(pfd, 2, (deadline - now) / 1000000 + 1);
		if (ret < 0 && errno != EINTR)
			return -errno;
		if (ret > 0 && pfd[0].revents && eventfd_read(blk->call_fd, &count) &&
		    errno != EAGAIN)
			return -errno;
	}
	blk->busy[*slot] = false;
	blk->in_flight--;
	*status = *status_byte(blk, *slot);
	return 0;
}

int blk_do(struct blk *blk, uint32_t type, uint64_t sector,
	   const struct blk_segment *segments, unsigned int count, uint8_t *status,
	   int timeout_ms)
{
	unsigned int slot;
	int ret;

	if (blk->in_flight)
		return -EBUSY;
	ret = blk_submit(blk, 0, type, sector, segments, count);
	if (!ret)
		ret = blk_kick(blk);
	if (!ret)
		ret = blk_reap(blk, &slot, status, timeout_ms);
	return ret;
}

const char *blk_status_name(uint8_t status)
{
	switch (status) {
	case VIRTIO_BLK_S_OK:
		return "VIRTIO_BLK_S_OK";
	case VIRTIO_BLK_S_IOERR:
		return "VIRTIO_BLK_S_IOERR";
	case VIRTIO_BLK_S_UNSUPP:
		return "VIRTIO_BLK_S_UNSUPP";
	case STATUS_NONE:
		return "no status";
	default:
		return "unknown status";
	}
}
