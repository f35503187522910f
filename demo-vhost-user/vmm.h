/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMM: guest RAM, a connection to the back-end, and a virtio-blk driver on
 * it.
 *
 * Functions return 0 or -errno.
 */
#ifndef DEMO_VMM_H
#define DEMO_VMM_H

#include <stdbool.h>
#include <stdint.h>

#include "backend.h"
#include "guest_memory.h"
#include "virtio_blk.h"

/*
 * Guest-physical layout. Rings, headers and status bytes come first, what the
 * back-end only reads apart from what it writes. Right behind the buffers lies
 * the secret; it, and all the rest, is never lent.
 */
#define GUEST_RAM_SIZE		(64ULL << 20)
#define GUEST_DESC		0x000000ULL	/* 1024 descriptors */
#define GUEST_AVAIL		0x004000ULL
#define GUEST_HEADERS		0x005000ULL
#define GUEST_READ_ONLY_END	0x006000ULL
#define GUEST_USED		0x006000ULL
#define GUEST_STATUSES		0x009000ULL
#define GUEST_READ_WRITE_END	0x00a000ULL
#define GUEST_BUFFERS		0x200000ULL
#define GUEST_SLOT_SIZE		0x010000ULL	/* of each slot's buffer */
#define GUEST_BUFFERS_SIZE	(BLK_DEPTH * GUEST_SLOT_SIZE)
#define GUEST_SECRET		(GUEST_BUFFERS + GUEST_BUFFERS_SIZE)
#define GUEST_SECRET_SIZE	0x001000ULL

/*
 * Far more than an idle machine needs: the demo also runs on emulated ones.
 * What takes longer counts as hanging.
 */
#define VMM_TIMEOUT_MS		30000

/**
 * struct vmm - the VMM
 * @mem: guest RAM
 * @blk: the driver
 * @sock: vhost-user connection
 * @messages: vhost-user messages sent so far
 * @sectors: capacity of the disk
 */
struct vmm {
	struct guest_memory mem;
	struct blk blk;
	int sock;
	unsigned int messages;
	uint64_t sectors;
};

/**
 * vmm_start() - make guest RAM, connect to the back-end and negotiate
 * @vmm: set
 * @backend: a started back-end
 * @plain: guest RAM is passed as today; else a view of it, into which rings,
 *	headers, status bytes and buffers are mapped
 *
 * Says what went wrong.
 */
int vmm_start(struct vmm *vmm, struct backend *backend, bool plain);

/* Stop the queue if the back-end still listens, disconnect, free all. */
void vmm_stop(struct vmm *vmm);

/* Guest-physical address of a slot's buffer. */
static inline uint64_t vmm_slot_addr(unsigned int slot)
{
	return GUEST_BUFFERS + slot * GUEST_SLOT_SIZE;
}

#endif /* DEMO_VMM_H */
