/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Disk traffic with BLK_DEPTH requests in flight, of patterned data.
 *
 * Each request moves the whole buffer of its slot, in one or several segments
 * of odd lengths, whose order in memory is the reverse of that on the disk.
 *
 * Functions return 0 or -errno.
 */
#ifndef DEMO_TRAFFIC_H
#define DEMO_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm.h"

/* How many segments requests have, in turn. */
#define TRAFFIC_SEGMENTS	"1, 2, 3, 5, 8, 16 and 30"

/* What a slot in flight does. */
struct traffic_slot {
	uint32_t type;
	uint64_t offset;
	unsigned int segments;
};

/**
 * struct traffic - a stream of requests
 * @vmm: who makes them
 * @seed: of the pattern
 * @ok: requests that succeeded
 * @failed_single: of one segment, ended with VIRTIO_BLK_S_IOERR
 * @failed_multi: of several segments, likewise
 * @odd: ended in any other way
 * @wrong: read something else than the pattern
 * @late: reads that ended only after traffic_drain() had sent another request
 * @slots: what is in flight
 */
struct traffic {
	struct vmm *vmm;
	uint64_t seed;
	unsigned int ok;
	unsigned int failed_single;
	unsigned int failed_multi;
	unsigned int odd;
	unsigned int wrong;
	unsigned int late;
	struct traffic_slot slots[BLK_DEPTH];
};

/**
 * traffic_all() - write or read the first @total bytes of the disk
 *
 * What is read is compared (@wrong). Every request has to succeed, else -EIO.
 */
int traffic_all(struct traffic *traffic, uint32_t type, uint64_t total);

/**
 * traffic_keep_busy() - requests without pause
 *
 * Each slot reads or writes the place of its own in the first BLK_DEPTH *
 * GUEST_SLOT_SIZE bytes of the disk, over and over; half of them in a single
 * segment. Returns when @completions requests have finished, with BLK_DEPTH
 * others in flight. Every request has to succeed, else -EIO.
 */
int traffic_keep_busy(struct traffic *traffic, unsigned int completions);

/**
 * traffic_drain() - wait for what is in flight
 * @traffic: counts how each ended
 * @check_reads: compare what was read
 *
 * A read that loses its buffer half way is a short read to QEMU, which queues
 * the rest of it once more. QEMU 7.2 can then sleep with that in its own queue
 * until the next request comes (mended in 10.0.7 by "block/io_uring: avoid
 * potentially getting stuck after resubmit at the end of ioq_submit()"). A guest
 * that does more than one thing does not notice; one that waits, like this, has
 * to send something: where all is quiet and only reads are left, a flush request
 * follows, once. The reads are counted in @late.
 *
 * Return: 0 when all have ended, or the errnos of blk_reap().
 */
int traffic_drain(struct traffic *traffic, bool check_reads);

#endif /* DEMO_TRAFFIC_H */
