/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The driver's side of a split virtqueue (virtio 1.2, 2.7), without indirect
 * descriptors and event indices.
 *
 * The rings are shared with a device that is not trusted: what it writes into
 * the used ring is checked, and nothing is read back from the driver's own rings.
 */
#ifndef DEMO_VIRTQUEUE_H
#define DEMO_VIRTQUEUE_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#define VIRTQUEUE_MAX	1024

/* Part of a buffer, in guest-physical addresses. */
struct vq_segment {
	uint64_t addr;
	uint32_t len;
	bool device_writes;
};

/**
 * struct virtqueue - one queue
 * @num: descriptors, a power of two up to VIRTQUEUE_MAX
 * @desc: descriptor table, 16 * @num bytes
 * @avail: 6 + 2 * @num bytes
 * @used: 6 + 8 * @num bytes
 * @free_head: first free descriptor
 * @nr_free: how many are free
 * @next_avail: entries of the available ring that were made
 * @last_used: entries of the used ring that were taken
 * @next: the links of the table as the driver made them
 * @length: descriptors in the chain that begins here, 0 if none does
 * @cookie: of the chain that begins here
 */
struct virtqueue {
	unsigned int num;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t free_head;
	unsigned int nr_free;
	uint16_t next_avail;
	uint16_t last_used;
	uint16_t next[VIRTQUEUE_MAX];
	uint16_t length[VIRTQUEUE_MAX];
	unsigned int cookie[VIRTQUEUE_MAX];
};

/* The rings must be zeroed. */
void virtqueue_init(struct virtqueue *vq, unsigned int num, void *desc, void *avail,
		    void *used);

/**
 * virtqueue_add() - make a chain of descriptors available to the device
 * @vq: the queue
 * @segments: what the device reads first, what it writes after that
 * @count: segments, not 0
 * @cookie: comes back with virtqueue_take()
 *
 * Return: 0, or -ENOSPC: not enough free descriptors.
 */
int virtqueue_add(struct virtqueue *vq, const struct vq_segment *segments,
		  unsigned int count, unsigned int cookie);

/* Does the device want a kick for what was added? */
bool virtqueue_wants_kick(const struct virtqueue *vq);

/* How many chains the device has finished that were not taken yet. */
unsigned int virtqueue_nr_used(const struct virtqueue *vq);

/**
 * virtqueue_take() - take a chain that the device has finished
 * @vq: the queue
 * @cookie: set
 *
 * Return: 1 if there was one, 0 if not, or
 * -EPROTO: the used ring names a chain that is not the device's.
 */
int virtqueue_take(struct virtqueue *vq, unsigned int *cookie);

#endif /* DEMO_VIRTQUEUE_H */
