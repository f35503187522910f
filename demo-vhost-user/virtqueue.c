// SPDX-License-Identifier: GPL-2.0
#include "virtqueue.h"

#include <endian.h>
#include <errno.h>

void virtqueue_init(struct virtqueue *vq, unsigned int num, void *desc, void *avail,
		    void *used)
{
	unsigned int i;

	*vq = (struct virtqueue) {
		.num = num,
		.desc = desc,
		.avail = avail,
		.used = used,
		.nr_free = num,
	};
	for (i = 0; i < num; i++)
		vq->next[i] = i + 1;
}

int virtqueue_add(struct virtqueue *vq, const struct vq_segment *segments,
		  unsigned int count, unsigned int cookie)
{
	uint16_t head = vq->free_head, index = head;
	unsigned int i;

	if (count > vq->nr_free)
		return -ENOSPC;
	for (i = 0; i < count; i++) {
		struct vring_desc *desc = &vq->desc[index];
		uint16_t flags = segments[i].device_writes ? VRING_DESC_F_WRITE : 0;

		if (i + 1 < count)
			flags |= VRING_DESC_F_NEXT;
		desc->addr = htole64(segments[i].addr);
		desc->len = htole32(segments[i].len);
		desc->flags = htole16(flags);
		desc->next = htole16(i + 1 < count ? vq->next[index] : 0);
		index = vq->next[index];
	}
	vq->free_head = index;
	vq->nr_free -= count;
	vq->length[head] = count;
	vq->cookie[head] = cookie;
	vq->avail->ring[vq->next_avail++ % vq->num] = htole16(head);
	/* The device must see chain and entry before the index that tells of them. */
	__atomic_store_n(&vq->avail->idx, htole16(vq->next_avail), __ATOMIC_RELEASE);
	return 0;
}

bool virtqueue_wants_kick(const struct virtqueue *vq)
{
	/* Our index must be out before we look whether the device still sleeps. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !(le16toh(__atomic_load_n(&vq->used->flags, __ATOMIC_RELAXED)) &
		 VRING_USED_F_NO_NOTIFY);
}

unsigned int virtqueue_nr_used(const struct virtqueue *vq)
{
	uint16_t used = le16toh(__atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE));

	return (uint16_t)(used - vq->last_used);
}

int virtqueue_take(struct virtqueue *vq, unsigned int *cookie)
{
	unsigned int i, length, used = virtqueue_nr_used(vq);
	uint32_t head;
	uint16_t last;

	if (!used)
		return 0;
	if (used > vq->num)
		return -EPROTO;
	head = le32toh(__atomic_load_n(&vq->used->ring[vq->last_used % vq->num].id,
				       __ATOMIC_RELAXED));
	if (head >= vq->num || !vq->length[head])
		return -EPROTO;
	length = vq->length[head];
	for (last = head, i = 1; i < length; i++)
		last = vq->next[last];
	vq->next[last] = vq->free_head;
	vq->free_head = head;
	vq->nr_free += length;
	vq->length[head] = 0;
	vq->last_used++;
	*cookie = vq->cookie[head];
	return 1;
}
