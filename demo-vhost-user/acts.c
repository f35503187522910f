// SPDX-License-Identifier: GPL-2.0
#include "acts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "image.h"
#include "memview.h"
#include "report.h"
#include "traffic.h"
#include "vmm.h"
#include "vmm_death.h"

#define MIB	(UINT64_C(1) << 20)

/*
 * The image: data of acts 2, 4 and 5 in the first 32 MiB, then a place per act
 * for the malicious requests, so that none overwrites what another looks for.
 */
#define DATA_SIZE		(32 * MIB)
#define MALICIOUS_AT(act)	(DATA_SIZE + (act) * MIB)
_Static_assert(MALICIOUS_AT(NR_ACTS + 1) <= MIN_IMAGE_SIZE, "it all fits");

/*
 * Act 5 goes on until it has seen enough, but not for ever: requests of both
 * kinds that lost their buffers, and revocations that returned while requests
 * were still in flight (else "nothing changed afterwards" would say little).
 */
#define REVOKE_MIN_ROUNDS	16U
#define REVOKE_MAX_ROUNDS	100U
#define REVOKE_MIN_ERRORS	32U
#define REVOKE_MIN_PENDING	3U

/* New for each act: a page full of it is the secret. */
struct secret {
	uint8_t bytes[32];
};

static int make_secret(struct secret *secret)
{
	ssize_t got = getrandom(secret->bytes, sizeof(secret->bytes), 0);

	return got == sizeof(secret->bytes) ? 0 : -EIO;
}

static void fill_with_secret(void *buf, size_t len, const struct secret *secret)
{
	size_t i;

	for (i = 0; i < len; i += sizeof(*secret))
		memcpy((char *)buf + i, secret, sizeof(*secret));
}

static int us(uint64_t ns)
{
	return (ns + 500) / 1000;
}

static int new_seed(uint64_t *seed)
{
	return getrandom(seed, sizeof(*seed), 0) == sizeof(*seed) ? 0 : -EIO;
}

static int do_request(struct vmm *vmm, uint32_t type, uint64_t image_offset,
		      const struct blk_segment *segments, unsigned int count, uint8_t *status)
{
	int ret = blk_do(&vmm->blk, type, image_offset / BLK_SECTOR, segments, count, status,
			 VMM_TIMEOUT_MS);

	if (ret)
		trouble("a request did not come back: %s",
			ret == -EPIPE ? "the back-end is gone" : strerror(-ret));
	return ret;
}

/* A request that has to succeed. */
static int do_good_request(struct vmm *vmm, uint32_t type, uint64_t image_offset,
			   const struct blk_segment *segments, unsigned int count)
{
	uint8_t status;
	int ret = do_request(vmm, type, image_offset, segments, count, &status);

	if (!ret && status != VIRTIO_BLK_S_OK) {
		trouble("an ordinary request ended with %s", blk_status_name(status));
		ret = -EIO;
	}
	return ret;
}

static void claim_image_intact(int64_t differs, const char *what)
{
	if (differs < 0)
		claim(true, "%s", what);
	else
		claim(false, "%s; but byte %" PRId64 " differs", what, differs);
}

static void claim_alive(struct stage *stage)
{
	char text[80];

	backend_describe(&stage->backend, text, sizeof(text));
	claim(backend_alive(&stage->backend), "the back-end: %s", text);
}

/*
 * The malicious requests of acts 1 and 3: the guest tells the back-end to write
 * a page to the disk that is none of its buffers, once by a single segment, and
 * once behind a harmless one.
 */
static int malicious_requests(struct stage *stage, struct vmm *vmm, unsigned int act, bool lent)
{
	const struct blk_segment segments[] = {
		{ vmm_slot_addr(0), 4096 },
		{ GUEST_SECRET, GUEST_SECRET_SIZE },
	};
	const uint8_t expected = lent ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
	struct secret secret;
	unsigned int i;
	int64_t found;
	int ret = make_secret(&secret);

	if (ret)
		return ret;
	fill_with_secret(guest_ptr(&vmm->mem, GUEST_SECRET), GUEST_SECRET_SIZE, &secret);
	memset(guest_ptr(&vmm->mem, vmm_slot_addr(0)), 0x55, 4096);
	say("a secret lies in guest RAM at 0x%llx; a write request names it as its data",
	    GUEST_SECRET);
	for (i = 1; i <= 2; i++) {
		uint64_t at = MALICIOUS_AT(act) + (i - 1) * 65536;
		uint8_t status;

		ret = do_request(vmm, VIRTIO_BLK_T_OUT, at, &segments[2 - i], i, &status);
		if (ret)
			return ret;
		claim(status == expected, "request of %u segment%s: %s (expected: %s)", i,
		      i > 1 ? "s" : "", blk_status_name(status), blk_status_name(expected));
		ret = image_find(stage->image_fd, &secret, sizeof(secret), &found);
		if (ret)
			return ret;
		if (lent) {
			uint64_t expected_at = at + (i - 1) * 4096;

			claim(found == (int64_t)expected_at,
			      "the secret is in the image at byte %" PRId64, found);
			if (found < 0)
				return 0;
			/* Make room for the next: each has to be found on its own. */
			memset(guest_ptr(&vmm->mem, vmm_slot_addr(1)), 0, GUEST_SLOT_SIZE);
			ret = do_good_request(vmm, VIRTIO_BLK_T_OUT, at,
					      &(struct blk_segment){ vmm_slot_addr(1), 65536 }, 1);
			if (ret)
				return ret;
		} else {
			claim(found < 0, "the secret is nowhere in the image's %" PRIu64 " MiB",
			      stage->image_size / MIB);
		}
	}
	return 0;
}

static int act_plain_leaks(struct stage *stage, struct vmm *vmm)
{
	say("the back-end gets the memfd itself, as VMMs do today:");
	guest_memory_say_table(&vmm->mem);
	return malicious_requests(stage, vmm, 1, true);
}

static int act_io(struct stage *stage, struct vmm *vmm)
{
	struct traffic traffic = { .vmm = vmm };
	char mapping[80];
	int64_t differs;
	uint64_t start;
	int ret;

	ret = new_seed(&traffic.seed);
	if (ret)
		return ret;
	say("the back-end gets %s:", stage->plain ? "the memfd" : "a view of the memfd");
	ret = guest_memory_say_table(&vmm->mem);
	if (ret)
		return ret;
	ret = backend_mapping(&stage->backend, vmm->mem.share_fd, mapping, sizeof(mapping));
	if (ret)
		return ret;
	if (!stage->plain)
		say("rings, headers and status bytes first, then a buffer for each of %u requests; "
		    "no more", BLK_DEPTH);
	claim(*mapping, "the back-end has mapped it at %s", *mapping ? mapping : "(nowhere)");
	claim(vmm->sectors * BLK_SECTOR == stage->image_size, "the disk has %" PRIu64 " MiB",
	      vmm->sectors * BLK_SECTOR / MIB);

	start = now_ns();
	ret = traffic_all(&traffic, VIRTIO_BLK_T_OUT, DATA_SIZE);
	if (ret)
		return ret;
	ret = do_good_request(vmm, VIRTIO_BLK_T_FLUSH, 0, NULL, 0);
	if (ret)
		return ret;
	claim(traffic.ok == DATA_SIZE / GUEST_SLOT_SIZE,
	      "32 MiB written: %u requests of %s segments, %u in flight, in %.1f s", traffic.ok,
	      TRAFFIC_SEGMENTS, BLK_DEPTH, (now_ns() - start) / 1e9);
	ret = image_check(stage->image_fd, traffic.seed, 0, DATA_SIZE, &differs);
	if (ret)
		return ret;
	claim_image_intact(differs, "the image, compared from outside, is what was written");

	traffic.ok = 0;
	start = now_ns();
	ret = traffic_all(&traffic, VIRTIO_BLK_T_IN, DATA_SIZE);
	if (ret)
		return ret;
	claim(traffic.ok == DATA_SIZE / GUEST_SLOT_SIZE && !traffic.wrong,
	      "32 MiB read back and compared byte for byte: %u requests, %u wrong, in %.1f s",
	      traffic.ok, traffic.wrong, (now_ns() - start) / 1e9);
	return 0;
}

static int act_malicious(struct stage *stage, struct vmm *vmm)
{
	int ret = guest_memory_say_table(&vmm->mem);

	if (!ret)
		ret = malicious_requests(stage, vmm, 3, stage->plain);
	if (ret)
		return ret;
	claim_alive(stage);
	memset(guest_ptr(&vmm->mem, vmm_slot_addr(0)), 0x55, 4096);
	ret = do_good_request(vmm, VIRTIO_BLK_T_OUT, MALICIOUS_AT(3),
			      &(struct blk_segment){ vmm_slot_addr(0), 4096 }, 1);
	if (!ret)
		claim(true, "and it goes on serving ordinary requests");
	return ret;
}

/* Every byte of @buf is @value. */
static bool all_bytes(const uint8_t *buf, size_t len, uint8_t value)
{
	return *buf == value && !memcmp(buf, buf + 1, len - 1);
}

static int act_read_only(struct stage *stage, struct vmm *vmm)
{
	const struct blk_segment segment = { vmm_slot_addr(3), GUEST_SLOT_SIZE };
	uint8_t *buf = guest_ptr(&vmm->mem, segment.addr);
	const uint64_t at = MALICIOUS_AT(4);
	uint8_t status;
	uint64_t seed, start, took;
	int ret;

	ret = new_seed(&seed);
	if (ret)
		return ret;
	pattern_fill(buf, seed, at, segment.len);
	ret = do_good_request(vmm, VIRTIO_BLK_T_OUT, at, &segment, 1);
	if (ret)
		return ret;
	memset(buf, 0xa5, segment.len);
	start = now_ns();
	ret = guest_memory_set_rights(&vmm->mem, segment.addr, segment.len, MEMVIEW_READ);
	took = now_ns() - start;
	if (ret) {
		trouble("cannot make the buffer read-only: %s", strerror(-ret));
		return ret;
	}
	if (stage->plain)
		say("a memfd cannot be made read-only for the back-end once it is mapped");
	else
		say("the write right to one buffer was revoked in %d us:", us(took));
	ret = guest_memory_say_table(&vmm->mem);
	if (!ret)
		ret = do_request(vmm, VIRTIO_BLK_T_IN, at, &segment, 1, &status);
	if (ret)
		return ret;
	if (stage->plain) {
		claim(status == VIRTIO_BLK_S_OK, "read request into that buffer: %s",
		      blk_status_name(status));
		claim(pattern_check(buf, seed, at, segment.len) < 0,
		      "the back-end has overwritten the buffer");
		return 0;
	}
	claim(status == VIRTIO_BLK_S_IOERR, "read request into that buffer: %s",
	      blk_status_name(status));
	claim(all_bytes(buf, segment.len, 0xa5), "the buffer is unchanged");
	claim_alive(stage);

	ret = guest_memory_set_rights(&vmm->mem, segment.addr, segment.len,
				      MEMVIEW_READ | MEMVIEW_WRITE);
	if (!ret)
		ret = do_request(vmm, VIRTIO_BLK_T_IN, at, &segment, 1, &status);
	if (ret)
		return ret;
	claim(status == VIRTIO_BLK_S_OK, "control: the write right given back, it ends with %s",
	      blk_status_name(status));
	claim(pattern_check(buf, seed, at, segment.len) < 0,
	      "control: and the buffer holds the disk's data");
	return 0;
}

/* What the rounds of act 5 have seen. */
struct revocations {
	unsigned int rounds;
	unsigned int ok;
	unsigned int errors_single;
	unsigned int errors_multi;
	unsigned int rounds_pending;
	unsigned int changed;
	uint64_t longest_ns;
};

/*
 * One round: traffic with 32 requests in flight, the buffers taken back in the
 * middle, and other data put where they were.
 */
static int revoke_once(struct stage *stage, struct traffic *traffic, const struct secret *mark,
		       struct revocations *seen)
{
	struct vmm *vmm = traffic->vmm;
	uint8_t *buffers = guest_ptr(&vmm->mem, GUEST_BUFFERS);
	unsigned int pending, intact;
	uint64_t start, took, unmapped;
	size_t i;
	int ret;

	/* A different moment each round. */
	ret = traffic_keep_busy(traffic, 2 * BLK_DEPTH + seen->rounds * 7 % BLK_DEPTH);
	if (ret)
		return ret;

	traffic->failed_single = 0;
	traffic->failed_multi = 0;
	traffic->ok = 0;
	start = now_ns();
	ret = guest_memory_take_back(&vmm->mem, GUEST_BUFFERS, GUEST_BUFFERS_SIZE, &unmapped);
	took = now_ns() - start;
	if (ret) {
		trouble("cannot revoke the buffers: %s", strerror(-ret));
		return ret;
	}
	/* Still in flight, with the buffers gone: these must end, too. */
	pending = vmm->blk.in_flight - virtqueue_nr_used(&vmm->blk.vq);
	/* The memory is the guest's alone again: it puts other data there. */
	fill_with_secret(buffers, GUEST_BUFFERS_SIZE, mark);

	ret = traffic_drain(traffic, false);
	if (ret) {
		claim(false, "round %u: of 32 requests %u hang or are lost: %s", seen->rounds + 1,
		      vmm->blk.in_flight, ret == -EPIPE ? "the back-end is gone" : strerror(-ret));
		return ret;
	}
	/* Also nobody has read the disk into them since. */
	for (i = 0, intact = 0; i < GUEST_BUFFERS_SIZE; i += sizeof(*mark))
		intact += !memcmp(buffers + i, mark, sizeof(*mark));
	seen->rounds++;
	seen->ok += traffic->ok;
	seen->errors_single += traffic->failed_single;
	seen->errors_multi += traffic->failed_multi;
	seen->rounds_pending += pending > 0;
	if (took > seen->longest_ns)
		seen->longest_ns = took;
	if (stage->plain) {
		say("round %u: nothing can be revoked; of 32 requests in flight %u ended well, %u "
		    "with an error", seen->rounds, traffic->ok,
		    traffic->failed_single + traffic->failed_multi);
		return 0;
	}
	say("round %2u: %" PRIu64 " KiB revoked in %5d us; of 32 requests in flight, %2u still so "
	    "then, ended well %2u, with an error %2u", seen->rounds, unmapped / 1024, us(took),
	    pending, traffic->ok, traffic->failed_single + traffic->failed_multi);
	if (unmapped != GUEST_BUFFERS_SIZE)
		claim(false, "only %" PRIu64 " bytes were unmapped", unmapped);
	seen->changed += GUEST_BUFFERS_SIZE / sizeof(*mark) - intact;
	ret = guest_memory_lend(&vmm->mem, GUEST_BUFFERS, GUEST_BUFFERS_SIZE,
				MEMVIEW_READ | MEMVIEW_WRITE);
	if (ret)
		trouble("cannot map the buffers again: %s", strerror(-ret));
	return ret;
}

static bool seen_enough(const struct revocations *seen)
{
	return seen->rounds >= REVOKE_MIN_ROUNDS && seen->rounds_pending >= REVOKE_MIN_PENDING &&
	       seen->errors_single >= REVOKE_MIN_ERRORS && seen->errors_multi >= REVOKE_MIN_ERRORS;
}

static int act_revoke(struct stage *stage, struct vmm *vmm)
{
	struct traffic traffic = { .vmm = vmm };
	struct revocations seen = { 0 };
	char before[80], after[80];
	unsigned int messages;
	struct secret mark;
	int64_t found, differs;
	int ret;

	ret = new_seed(&traffic.seed);
	if (!ret)
		ret = make_secret(&mark);
	if (!ret)
		ret = guest_memory_say_table(&vmm->mem);
	if (!ret)
		ret = traffic_all(&traffic, VIRTIO_BLK_T_OUT, GUEST_BUFFERS_SIZE);
	if (!ret)
		ret = backend_mapping(&stage->backend, vmm->mem.share_fd, before, sizeof(before));
	if (ret)
		return ret;
	messages = vmm->messages;
	if (stage->plain) {
		ret = revoke_once(stage, &traffic, &mark, &seen);
		if (ret)
			return ret;
		claim(seen.ok == BLK_DEPTH, "all requests went on: %u of 32 ended well", seen.ok);
		claim_alive(stage);
		return 0;
	}
	while (!seen_enough(&seen) && seen.rounds < REVOKE_MAX_ROUNDS) {
		ret = revoke_once(stage, &traffic, &mark, &seen);
		if (ret)
			goto out;
	}
	claim(seen_enough(&seen), "%u revocations with %u requests in flight each: %u requests of "
	      "one segment and %u of several ended with VIRTIO_BLK_S_IOERR; %u revocations "
	      "returned before the last request had ended", seen.rounds, BLK_DEPTH,
	      seen.errors_single, seen.errors_multi, seen.rounds_pending);
	claim(seen.ok + seen.errors_single + seen.errors_multi == seen.rounds * BLK_DEPTH &&
	      !traffic.odd, "none of %u requests hangs; %u ended well", seen.rounds * BLK_DEPTH,
	      seen.ok);
	if (traffic.late)
		say("(%u of them, reads, ended only after another request had been sent: see "
		    "README.md)", traffic.late);
	claim(!seen.changed, "no byte of a revoked buffer changed after the revocation, which took "
	      "%d us at most", us(seen.longest_ns));

	/* And once more after the last revocation. */
	traffic.ok = 0;
	ret = traffic_keep_busy(&traffic, 2 * BLK_DEPTH);
	if (!ret)
		ret = traffic_drain(&traffic, true);
	if (ret)
		goto out;
	claim(traffic.ok == 3 * BLK_DEPTH && !traffic.wrong,
	      "mapped again, I/O goes on: %u requests, %u of all read back wrong", traffic.ok,
	      traffic.wrong);
	ret = backend_mapping(&stage->backend, vmm->mem.share_fd, after, sizeof(after));
	if (ret)
		goto out;
	claim(*before && !strcmp(before, after), "in the same mapping: %s", after);
	claim(messages == vmm->messages, "without a word to the back-end: %u vhost-user messages "
	      "before and after", messages);
	ret = image_check(stage->image_fd, traffic.seed, 0, GUEST_BUFFERS_SIZE, &differs);
	if (ret)
		goto out;
	claim_image_intact(differs, "the image, compared from outside, holds what it should");
	ret = image_find(stage->image_fd, &mark, sizeof(mark), &found);
	if (ret)
		goto out;
	claim(found < 0, "nothing that was put into revoked buffers is in the image");
out:
	claim_alive(stage);
	return ret;
}

static int act_vmm_dies(struct stage *stage, struct vmm *unused)
{
	(void)unused;
	return vmm_death(&stage->backend, stage->plain);
}

static const struct act {
	const char *title;
	const char *title_plain;
	int (*run)(struct stage *stage, struct vmm *vmm);
	bool own_vmm;
	bool plain;
} acts[NR_ACTS] = {
	{
		.title = "control: with a plain memfd, as today, the back-end reads any guest page",
		.title_plain = "with a plain memfd, as today, the back-end reads any guest page",
		.run = act_plain_leaks,
		.plain = true,
	}, {
		.title = "32 MiB of disk I/O through a view of rings and buffers",
		.title_plain = "32 MiB of disk I/O through a plain memfd",
		.run = act_io,
	}, {
		.title = "the same request through a view: no access to what is not mapped",
		.title_plain = "control: the request of act 3 succeeds without a view",
		.run = act_malicious,
	}, {
		.title = "a buffer mapped read-only cannot be written",
		.title_plain = "control: without a view no buffer can be made read-only",
		.run = act_read_only,
	}, {
		.title = "buffers revoked in the middle of traffic, and lent again",
		.title_plain = "control: without a view nothing can be revoked",
		.run = act_revoke,
	}, {
		.title = "the VMM is killed: its memory is gone for everybody",
		.title_plain = "control: without a view, memory outlives the VMM",
		.run = act_vmm_dies,
		.own_vmm = true,
	},
};

const char *act_title(unsigned int number, bool plain)
{
	return plain ? acts[number - 1].title_plain : acts[number - 1].title;
}

bool act_run(struct stage *stage, unsigned int number)
{
	const struct act *act = &acts[number - 1];
	const char *title = act_title(number, stage->plain);
	struct vmm vmm;
	int ret = 0;

	report_act_begin(number, title);
	if (!backend_alive(&stage->backend)) {
		backend_stop(&stage->backend);
		ret = backend_start(&stage->backend, stage->dir, stage->image);
		if (ret)
			trouble("cannot start the back-end: %s", strerror(-ret));
	}
	if (!ret && !act->own_vmm)
		ret = vmm_start(&vmm, &stage->backend, act->plain || stage->plain);
	if (!ret) {
		ret = act->run(stage, &vmm);
		if (ret)
			trouble("the act broke off: %s", strerror(-ret));
		if (!act->own_vmm)
			vmm_stop(&vmm);
	}
	if (report.failed || ret)
		backend_say_log(&stage->backend);
	/* It may still wait for what the act left undone: a new one for the next. */
	if (ret)
		backend_stop(&stage->backend);
	return report_act_end(number, title);
}
