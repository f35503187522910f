// SPDX-License-Identifier: GPL-2.0
#include "traffic.h"

#include <errno.h>
#include <string.h>

#include "image.h"
#include "report.h"

#define MIB	(UINT64_C(1) << 20)

/* TRAFFIC_SEGMENTS */
static const unsigned int segment_counts[] = { 1, 2, 3, 5, 8, 16, BLK_MAX_SEGMENTS };
#define NR_SEGMENT_COUNTS	(sizeof(segment_counts) / sizeof(segment_counts[0]))
_Static_assert(BLK_MAX_SEGMENTS == 30, "TRAFFIC_SEGMENTS says so");

#define POISON	0xa5

/* So long without any completion, then traffic_drain() sends another request. */
#define QUIET_MS	2000

/* Cuts a slot's buffer; the data's end lies first in memory. */
static void make_segments(unsigned int slot, unsigned int count, struct blk_segment *segments)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		uint64_t from = i * GUEST_SLOT_SIZE / count;
		uint64_t to = (i + 1) * GUEST_SLOT_SIZE / count;

		segments[i].addr = vmm_slot_addr(slot) + GUEST_SLOT_SIZE - to;
		segments[i].len = to - from;
	}
}

static int submit(struct traffic *traffic, unsigned int slot, uint32_t type, uint64_t offset,
		  unsigned int count)
{
	struct guest_memory *mem = &traffic->vmm->mem;
	struct blk_segment segments[BLK_MAX_SEGMENTS];
	char data[GUEST_SLOT_SIZE];
	unsigned int i;
	size_t done = 0;

	make_segments(slot, count, segments);
	if (type == VIRTIO_BLK_T_OUT) {
		pattern_fill(data, traffic->seed, offset, sizeof(data));
		for (i = 0; i < count; done += segments[i++].len)
			memcpy(guest_ptr(mem, segments[i].addr), data + done, segments[i].len);
	} else {
		memset(guest_ptr(mem, vmm_slot_addr(slot)), POISON, GUEST_SLOT_SIZE);
	}
	traffic->slots[slot] = (struct traffic_slot) { type, offset, count };
	return blk_submit(&traffic->vmm->blk, slot, type, offset / BLK_SECTOR, segments, count);
}

static bool read_right(struct traffic *traffic, unsigned int slot)
{
	const struct traffic_slot *s = &traffic->slots[slot];
	struct blk_segment segments[BLK_MAX_SEGMENTS];
	char data[GUEST_SLOT_SIZE];
	unsigned int i;
	size_t done = 0;

	make_segments(slot, s->segments, segments);
	for (i = 0; i < s->segments; done += segments[i++].len)
		memcpy(data + done, guest_ptr(&traffic->vmm->mem, segments[i].addr),
		       segments[i].len);
	return pattern_check(data, traffic->seed, s->offset, sizeof(data)) < 0;
}

/* Takes one finished request and counts how it ended. */
static int reap(struct traffic *traffic, bool check_reads, unsigned int *slot, int timeout_ms)
{
	uint8_t status;
	int ret = blk_reap(&traffic->vmm->blk, slot, &status, timeout_ms);

	if (ret)
		return ret;
	if (traffic->slots[*slot].type == VIRTIO_BLK_T_FLUSH) {
		/* Not part of the traffic, but has to work. */
		traffic->odd += status != VIRTIO_BLK_S_OK;
	} else if (status == VIRTIO_BLK_S_OK) {
		traffic->ok++;
		if (check_reads && traffic->slots[*slot].type == VIRTIO_BLK_T_IN)
			traffic->wrong += !read_right(traffic, *slot);
	} else if (status != VIRTIO_BLK_S_IOERR) {
		traffic->odd++;
		detail("a request ended with %s", blk_status_name(status));
	} else if (traffic->slots[*slot].segments == 1) {
		traffic->failed_single++;
	} else {
		traffic->failed_multi++;
	}
	return 0;
}

/* As reap(), for a request that has to succeed. */
static int reap_good(struct traffic *traffic, unsigned int *slot)
{
	unsigned int ok = traffic->ok;
	int ret = reap(traffic, true, slot, VMM_TIMEOUT_MS);

	if (ret) {
		trouble("a request did not come back: %s",
			ret == -EPIPE ? "the back-end is gone" : strerror(-ret));
		return ret;
	}
	if (traffic->ok == ok) {
		trouble("an ordinary request of %u segments did not succeed",
			traffic->slots[*slot].segments);
		return -EIO;
	}
	return 0;
}

int traffic_all(struct traffic *traffic, uint32_t type, uint64_t total)
{
	struct blk *blk = &traffic->vmm->blk;
	uint64_t next = 0, done = 0;
	unsigned int slot;
	int ret;

	while (done < total) {
		for (slot = 0; slot < BLK_DEPTH && next < total; slot++) {
			if (blk->busy[slot])
				continue;
			ret = submit(traffic, slot, type, next,
				     segment_counts[next / GUEST_SLOT_SIZE % NR_SEGMENT_COUNTS]);
			if (ret)
				return ret;
			next += GUEST_SLOT_SIZE;
		}
		ret = blk_kick(blk);
		if (!ret)
			ret = reap_good(traffic, &slot);
		if (ret)
			return ret;
		done += GUEST_SLOT_SIZE;
		progress(type == VIRTIO_BLK_T_IN ? "read" : "written", done / MIB, total / MIB,
			 "MiB");
	}
	return 0;
}

static int submit_own(struct traffic *traffic, unsigned int slot)
{
	return submit(traffic, slot, slot & 1 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
		      slot * GUEST_SLOT_SIZE,
		      slot & 2 ? segment_counts[1 + slot / 4 % (NR_SEGMENT_COUNTS - 1)] : 1);
}

int traffic_keep_busy(struct traffic *traffic, unsigned int completions)
{
	struct blk *blk = &traffic->vmm->blk;
	unsigned int i, slot;
	int ret = 0;

	for (slot = 0; slot < BLK_DEPTH && !ret; slot++)
		ret = submit_own(traffic, slot);
	for (i = 0; i < completions && !ret; i++) {
		ret = blk_kick(blk);
		if (!ret)
			ret = reap_good(traffic, &slot);
		if (!ret)
			ret = submit_own(traffic, slot);
	}
	return ret ? ret : blk_kick(blk);
}

/* Sends a flush request if nothing but reads is in flight. */
static int nudge(struct traffic *traffic)
{
	struct blk *blk = &traffic->vmm->blk;
	unsigned int slot, free_slot = BLK_DEPTH;
	int ret;

	for (slot = 0; slot < BLK_DEPTH; slot++) {
		if (!blk->busy[slot])
			free_slot = slot;
		else if (traffic->slots[slot].type != VIRTIO_BLK_T_IN)
			return 0;
	}
	if (free_slot == BLK_DEPTH)
		return 0;
	traffic->late += blk->in_flight;
	traffic->slots[free_slot] = (struct traffic_slot) { .type = VIRTIO_BLK_T_FLUSH };
	ret = blk_submit(blk, free_slot, VIRTIO_BLK_T_FLUSH, 0, NULL, 0);
	return ret ? ret : blk_kick(blk);
}

int traffic_drain(struct traffic *traffic, bool check_reads)
{
	bool nudged = false;
	unsigned int slot;
	int ret = 0;

	while (traffic->vmm->blk.in_flight && !ret) {
		ret = reap(traffic, check_reads, &slot, nudged ? VMM_TIMEOUT_MS : QUIET_MS);
		if (ret == -ETIMEDOUT && !nudged) {
			ret = nudge(traffic);
			nudged = true;
		}
	}
	return ret;
}
