// SPDX-License-Identifier: GPL-2.0
/*
 * The demo's vhost-user codec and transport (demo-vhost-user/vhost_user.c). The
 * test plays the back-end, at the other end of a socket pair.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fds.h"
#include "vhost_user.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define TIMEOUT_MS	10000
#define SHORT_MS	50

/* One of each message, in both directions, with what the wire must show. */
struct sample {
	struct vhost_user_msg msg;
	uint32_t size;
};

static const struct sample samples[] = {
	{ { .request = VHOST_USER_GET_FEATURES }, 0 },
	{ { .request = VHOST_USER_GET_FEATURES, .reply = true,
	    .payload.u64 = 0x123456789abcdef0 }, 8 },
	{ { .request = VHOST_USER_SET_FEATURES, .payload.u64 = 1ULL << 32 }, 8 },
	{ { .request = VHOST_USER_SET_OWNER }, 0 },
	{ { .request = VHOST_USER_GET_PROTOCOL_FEATURES }, 0 },
	{ { .request = VHOST_USER_GET_PROTOCOL_FEATURES, .reply = true, .payload.u64 = 0x208 }, 8 },
	{ { .request = VHOST_USER_SET_PROTOCOL_FEATURES, .payload.u64 = 0x208 }, 8 },
	{ { .request = VHOST_USER_SET_VRING_NUM, .need_reply = true,
	    .payload.state = { 1, 1024 } }, 8 },
	{ { .request = VHOST_USER_SET_VRING_NUM, .reply = true, .payload.u64 = 0 }, 8 },
	{ { .request = VHOST_USER_SET_VRING_ADDR,
	    .payload.addr = { 1, 2, 0x1000, 0x2000, 0x3000, 0x4000 } }, 40 },
	{ { .request = VHOST_USER_SET_VRING_BASE, .payload.state = { 0, 77 } }, 8 },
	{ { .request = VHOST_USER_GET_VRING_BASE, .payload.state = { 3, 0 } }, 8 },
	{ { .request = VHOST_USER_GET_VRING_BASE, .reply = true,
	    .payload.state = { 3, 500 } }, 8 },
	{ { .request = VHOST_USER_SET_VRING_ENABLE, .payload.state = { 0, 1 } }, 8 },
	{ { .request = VHOST_USER_SET_VRING_KICK, .payload.u64 = VHOST_USER_VRING_NO_FD }, 8 },
	{ { .request = VHOST_USER_SET_VRING_CALL, .payload.u64 = VHOST_USER_VRING_NO_FD }, 8 },
	{ { .request = VHOST_USER_SET_VRING_KICK, .payload.u64 = 2,
	    .fds = { 0 }, .nr_fds = 1 }, 8 },
	{ { .request = VHOST_USER_SET_VRING_CALL, .payload.u64 = 2,
	    .fds = { 0 }, .nr_fds = 1 }, 8 },
	{ { .request = VHOST_USER_SET_MEM_TABLE,
	    .payload.mem = { .nr_regions = 1, .regions[0] = { 0, 1 << 20, 0x7f0000000000, 4096 } },
	    .fds = { 0 }, .nr_fds = 1 }, 40 },
	{ { .request = VHOST_USER_SET_MEM_TABLE,
	    .payload.mem = { .nr_regions = VHOST_USER_MAX_REGIONS,
			     .regions[7] = { 7, 8, 9, 10 } },
	    .nr_fds = VHOST_USER_MAX_REGIONS }, 8 + 8 * 32 },
	{ { .request = VHOST_USER_GET_CONFIG, .payload.config = { 4, 8, 0, { 0 } } }, 20 },
	{ { .request = VHOST_USER_GET_CONFIG, .reply = true,
	    .payload.config = { 0, VHOST_USER_MAX_CONFIG, 1, { 1, 2, [255] = 3 } } }, 12 + 256 },
	{ { .request = VHOST_USER_GET_CONFIG, .reply = true, .payload.config = { 0 } }, 0 },
};

static void put32(char *buf, unsigned int word, uint32_t value)
{
	memcpy(buf + word * sizeof(value), &value, sizeof(value));
}

static uint32_t get32(const char *buf, unsigned int word)
{
	uint32_t value;

	memcpy(&value, buf + word * sizeof(value), sizeof(value));
	return value;
}

static void encoded_header_has_request_version_flags_and_size(void **state)
{
	char buf[VHOST_USER_MAX_MESSAGE];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *s = &samples[i];

		assert_int_equal(vhost_user_encode(&s->msg, buf, sizeof(buf)), 12 + s->size);
		assert_int_equal(get32(buf, 0), s->msg.request);
		assert_int_equal(get32(buf, 1), 1 | (s->msg.reply ? 4 : 0) |
				 (s->msg.need_reply ? 8 : 0));
		assert_int_equal(get32(buf, 2), s->size);
	}
}

static void every_message_decodes_to_what_was_encoded(void **state)
{
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg msg;
	size_t i;
	int len;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(samples); i++) {
		len = vhost_user_encode(&samples[i].msg, buf, sizeof(buf));
		memset(&msg, 0xff, sizeof(msg));
		assert_int_equal(vhost_user_decode(&msg, buf, len), len);
		assert_int_equal(msg.request, samples[i].msg.request);
		assert_int_equal(msg.reply, samples[i].msg.reply);
		assert_int_equal(msg.need_reply, samples[i].msg.need_reply);
		assert_memory_equal(&msg.payload, &samples[i].msg.payload, sizeof(msg.payload));
	}
}

/* Each 32-bit word at its place, as the protocol's text has it. */
static void payload_layouts_are_those_of_the_protocol(void **state)
{
	const struct vhost_user_msg addr = {
		.request = VHOST_USER_SET_VRING_ADDR,
		.payload.addr = { .index = 1, .flags = 2, .desc = 3, .used = 4, .avail = 5,
				  .log = 6 },
	};
	const struct vhost_user_msg mem = {
		.request = VHOST_USER_SET_MEM_TABLE,
		.payload.mem = { .nr_regions = 1, .regions[0] = { .guest_addr = 1, .size = 2,
			.user_addr = 3, .mmap_offset = 4 } },
		.nr_fds = 1,
	};
	const uint64_t addr_words[] = { 1 | 2ULL << 32, 3, 4, 5, 6 };
	const uint64_t mem_words[] = { 1, 1, 2, 3, 4 };
	char buf[VHOST_USER_MAX_MESSAGE];

	(void)state;
	assert_int_equal(vhost_user_encode(&addr, buf, sizeof(buf)), 12 + 40);
	assert_memory_equal(buf + 12, addr_words, sizeof(addr_words));
	assert_int_equal(vhost_user_encode(&mem, buf, sizeof(buf)), 12 + 40);
	assert_memory_equal(buf + 12, mem_words, sizeof(mem_words));
}

static void encode_writes_nothing_beyond_the_room(void **state)
{
	char buf[VHOST_USER_MAX_MESSAGE];
	size_t i, room, j;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(samples); i++) {
		for (room = 0; room < 12 + samples[i].size; room++) {
			memset(buf, 0x77, sizeof(buf));
			assert_int_equal(vhost_user_encode(&samples[i].msg, buf, room), -EMSGSIZE);
			for (j = 0; j < sizeof(buf); j++)
				assert_int_equal(buf[j], 0x77);
		}
	}
}

static void encode_refuses_an_unknown_request(void **state)
{
	static const uint32_t unknown[] = { 0, 4, 6, 7, 23, 25, 1000, UINT32_MAX };
	char buf[VHOST_USER_MAX_MESSAGE];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		struct vhost_user_msg msg = { .request = unknown[i] };

		assert_int_equal(vhost_user_encode(&msg, buf, sizeof(buf)), -ENOTSUP);
		assert_string_equal(vhost_user_request_name(unknown[i]), "unknown request");
	}
}

static void encode_refuses_no_regions_or_too_many(void **state)
{
	struct vhost_user_msg msg = { .request = VHOST_USER_SET_MEM_TABLE };
	char buf[VHOST_USER_MAX_MESSAGE];

	(void)state;
	assert_int_equal(vhost_user_encode(&msg, buf, sizeof(buf)), -EINVAL);
	msg.payload.mem.nr_regions = msg.nr_fds = VHOST_USER_MAX_REGIONS + 1;
	assert_int_equal(vhost_user_encode(&msg, buf, sizeof(buf)), -EINVAL);
	msg.payload.mem.nr_regions = UINT32_MAX;
	assert_int_equal(vhost_user_encode(&msg, buf, sizeof(buf)), -EINVAL);
}

static void encode_refuses_no_config_bytes_or_too_many(void **state)
{
	struct vhost_user_msg msg = { .request = VHOST_USER_GET_CONFIG };
	char buf[VHOST_USER_MAX_MESSAGE];

	(void)state;
	assert_int_equal(vhost_user_encode(&msg, buf, sizeof(buf)), -EINVAL);
	msg.payload.config.size = VHOST_USER_MAX_CONFIG + 1;
	assert_int_equal(vhost_user_encode(&msg, buf, sizeof(buf)), -EINVAL);
	msg.payload.config.size = UINT32_MAX;
	assert_int_equal(vhost_user_encode(&msg, buf, sizeof(buf)), -EINVAL);
}

static void encode_refuses_fds_that_do_not_fit_the_request(void **state)
{
	const struct vhost_user_msg bad[] = {
		{ .request = VHOST_USER_SET_OWNER, .nr_fds = 1 },
		{ .request = VHOST_USER_SET_VRING_KICK, .nr_fds = 0 },
		{ .request = VHOST_USER_SET_VRING_KICK, .nr_fds = 2 },
		{ .request = VHOST_USER_SET_VRING_CALL, .payload.u64 = VHOST_USER_VRING_NO_FD,
		  .nr_fds = 1 },
		{ .request = VHOST_USER_SET_MEM_TABLE, .payload.mem.nr_regions = 2, .nr_fds = 1 },
		{ .request = VHOST_USER_SET_MEM_TABLE, .payload.mem.nr_regions = 1, .nr_fds = 2 },
	};
	char buf[VHOST_USER_MAX_MESSAGE];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(vhost_user_encode(&bad[i], buf, sizeof(buf)), -EINVAL);
}

static void decode_refuses_every_truncation(void **state)
{
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg msg;
	size_t i;
	int len, cut;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(samples); i++) {
		len = vhost_user_encode(&samples[i].msg, buf, sizeof(buf));
		for (cut = 0; cut < len; cut++)
			assert_int_equal(vhost_user_decode(&msg, buf, cut), -ENODATA);
	}
}

/* The header may promise as much as it likes. */
static void decode_refuses_an_oversized_payload(void **state)
{
	static const uint32_t sizes[] = { sizeof(union vhost_user_payload) + 1, 4096, 1U << 31,
					  UINT32_MAX };
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg msg;
	size_t i, j;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(samples); i++) {
		vhost_user_encode(&samples[i].msg, buf, sizeof(buf));
		for (j = 0; j < ARRAY_SIZE(sizes); j++) {
			put32(buf, 2, sizes[j]);
			assert_int_equal(vhost_user_decode(&msg, buf, sizeof(buf)), -EMSGSIZE);
			assert_int_equal(vhost_user_decode_header(&msg, buf, 12), -EMSGSIZE);
		}
	}
}

static void decode_refuses_a_payload_of_another_size(void **state)
{
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg msg;
	uint32_t size;
	size_t i;
	int ret;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(samples); i++) {
		memset(buf, 0, sizeof(buf));
		vhost_user_encode(&samples[i].msg, buf, sizeof(buf));
		for (size = 0; size < sizeof(union vhost_user_payload); size++) {
			/* A config reply without payload is the one that may be shorter. */
			if (size == samples[i].size ||
			    (!size && samples[i].msg.reply &&
			     samples[i].msg.request == VHOST_USER_GET_CONFIG))
				continue;
			put32(buf, 2, size);
			ret = vhost_user_decode(&msg, buf, sizeof(buf));
			assert_true(ret == -EPROTO || ret == -EMSGSIZE);
		}
	}
}

static void decode_refuses_counts_that_contradict_the_size(void **state)
{
	static const uint32_t counts[] = { 0, 2, VHOST_USER_MAX_REGIONS + 1, UINT32_MAX };
	const struct vhost_user_msg mem = {
		.request = VHOST_USER_SET_MEM_TABLE, .payload.mem.nr_regions = 1, .nr_fds = 1,
	};
	const struct vhost_user_msg config = {
		.request = VHOST_USER_GET_CONFIG, .reply = true, .payload.config.size = 8,
	};
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg msg;
	size_t i;
	int len;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		len = vhost_user_encode(&mem, buf, sizeof(buf));
		put32(buf, 3, counts[i]);
		assert_int_equal(vhost_user_decode(&msg, buf, len), -EPROTO);
		len = vhost_user_encode(&config, buf, sizeof(buf));
		put32(buf, 4, counts[i]);
		assert_int_equal(vhost_user_decode(&msg, buf, len), -EPROTO);
	}
}

static void decode_refuses_another_version(void **state)
{
	const struct vhost_user_msg good = { .request = VHOST_USER_SET_OWNER };
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg msg;
	uint32_t version;

	(void)state;
	vhost_user_encode(&good, buf, sizeof(buf));
	for (version = 0; version < 4; version++) {
		put32(buf, 1, version);
		assert_int_equal(vhost_user_decode(&msg, buf, 12), version == 1 ? 12 : -EPROTO);
	}
}

static void decode_refuses_an_unknown_request(void **state)
{
	static const uint32_t unknown[] = { 0, 4, 23, 25, UINT32_MAX };
	char buf[12] = { 0 };
	struct vhost_user_msg msg;
	size_t i;

	(void)state;
	put32(buf, 1, 1);
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		put32(buf, 0, unknown[i]);
		assert_int_equal(vhost_user_decode(&msg, buf, sizeof(buf)), -ENOTSUP);
	}
}

static void decode_leaves_what_follows_the_message_alone(void **state)
{
	const struct vhost_user_msg good = { .request = VHOST_USER_SET_FEATURES, .payload.u64 = 5 };
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg msg;

	(void)state;
	memset(buf, 0xee, sizeof(buf));
	vhost_user_encode(&good, buf, sizeof(buf));
	assert_int_equal(vhost_user_decode(&msg, buf, sizeof(buf)), 20);
	assert_int_equal(msg.payload.u64, 5);
}

static void replies_are_expected_where_the_protocol_has_them(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(samples); i++) {
		struct vhost_user_msg msg = samples[i].msg;
		bool asks = msg.request == VHOST_USER_GET_FEATURES ||
			    msg.request == VHOST_USER_GET_PROTOCOL_FEATURES ||
			    msg.request == VHOST_USER_GET_VRING_BASE ||
			    msg.request == VHOST_USER_GET_CONFIG;

		msg.need_reply = false;
		assert_int_equal(vhost_user_has_reply(&msg), asks);
		msg.need_reply = true;
		assert_true(vhost_user_has_reply(&msg));
		assert_string_not_equal(vhost_user_request_name(msg.request), "unknown request");
	}
}

static void check_reply_wants_the_same_request_and_the_reply_flag(void **state)
{
	const struct vhost_user_msg request = { .request = VHOST_USER_GET_FEATURES };
	struct vhost_user_msg reply = { .request = VHOST_USER_GET_FEATURES, .reply = true };

	(void)state;
	assert_int_equal(vhost_user_check_reply(&request, &reply), 0);
	reply.request = VHOST_USER_GET_PROTOCOL_FEATURES;
	assert_int_equal(vhost_user_check_reply(&request, &reply), -EPROTO);
	reply.request = VHOST_USER_GET_FEATURES;
	reply.reply = false;
	assert_int_equal(vhost_user_check_reply(&request, &reply), -EPROTO);
}

static void check_reply_tells_a_refusal(void **state)
{
	const struct vhost_user_msg request = { .request = VHOST_USER_SET_MEM_TABLE,
						.need_reply = true };
	struct vhost_user_msg reply = { .request = VHOST_USER_SET_MEM_TABLE, .reply = true };

	(void)state;
	assert_int_equal(vhost_user_check_reply(&request, &reply), 0);
	reply.payload.u64 = 1;
	assert_int_equal(vhost_user_check_reply(&request, &reply), -EREMOTEIO);
	reply.payload.u64 = 1ULL << 63;
	assert_int_equal(vhost_user_check_reply(&request, &reply), -EREMOTEIO);
}

/* Nonzero is the normal content of these, no error. */
static void check_reply_takes_any_value_of_what_was_asked_for(void **state)
{
	const struct vhost_user_msg request = { .request = VHOST_USER_GET_FEATURES };
	const struct vhost_user_msg reply = { .request = VHOST_USER_GET_FEATURES, .reply = true,
					      .payload.u64 = UINT64_MAX };

	(void)state;
	assert_int_equal(vhost_user_check_reply(&request, &reply), 0);
}

static void check_reply_wants_the_config_that_was_asked_for(void **state)
{
	const struct vhost_user_msg request = { .request = VHOST_USER_GET_CONFIG,
						.payload.config = { .offset = 4, .size = 8 } };
	struct vhost_user_msg reply = { .request = VHOST_USER_GET_CONFIG, .reply = true,
					.payload.config = { .offset = 4, .size = 8 } };

	(void)state;
	assert_int_equal(vhost_user_check_reply(&request, &reply), 0);
	reply.payload.config.size = 7;
	assert_int_equal(vhost_user_check_reply(&request, &reply), -EPROTO);
	reply.payload.config.size = 8;
	reply.payload.config.offset = 0;
	assert_int_equal(vhost_user_check_reply(&request, &reply), -EPROTO);
	reply.payload.config.size = 0;
	assert_int_equal(vhost_user_check_reply(&request, &reply), -EREMOTEIO);
}

static void check_reply_wants_the_ring_that_was_asked_for(void **state)
{
	const struct vhost_user_msg request = { .request = VHOST_USER_GET_VRING_BASE,
						.payload.state = { 1, 0 } };
	struct vhost_user_msg reply = { .request = VHOST_USER_GET_VRING_BASE, .reply = true,
					.payload.state = { 1, 99 } };

	(void)state;
	assert_int_equal(vhost_user_check_reply(&request, &reply), 0);
	reply.payload.state.index = 0;
	assert_int_equal(vhost_user_check_reply(&request, &reply), -EPROTO);
}

/* From here on: over a socket. */

static void make_pair(int sock[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
}

static void close_pair(int sock[2])
{
	close(sock[0]);
	close(sock[1]);
}

static int make_file(void)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	assert_int_equal(fstat(a, &x), 0);
	assert_int_equal(fstat(b, &y), 0);
	return x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static void send_bytes(int sock, const void *buf, size_t len)
{
	assert_int_equal(send(sock, buf, len, MSG_NOSIGNAL), len);
}

/* Sends bytes with descriptors beside them, without regard to any protocol. */
static void send_with_fds(int sock, const void *buf, size_t len, int fd, unsigned int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)buf, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			     .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
	unsigned int i;

	assert_true(count && count <= 16);
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
	for (i = 0; i < count; i++)
		memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &fd, sizeof(fd));
	assert_int_equal(sendmsg(sock, &mh, MSG_NOSIGNAL), len);
}

static void messages_without_fds_travel_unchanged(void **state)
{
	struct vhost_user_msg msg;
	int sock[2];
	size_t i;

	(void)state;
	make_pair(sock);
	for (i = 0; i < ARRAY_SIZE(samples); i++) {
		if (samples[i].msg.nr_fds)
			continue;
		assert_int_equal(vhost_user_send(sock[0], &samples[i].msg), 0);
		assert_int_equal(vhost_user_recv(sock[1], &msg, TIMEOUT_MS), 0);
		assert_int_equal(msg.request, samples[i].msg.request);
		assert_int_equal(msg.reply, samples[i].msg.reply);
		assert_memory_equal(&msg.payload, &samples[i].msg.payload, sizeof(msg.payload));
		assert_int_equal(msg.nr_fds, 0);
	}
	close_pair(sock);
}

static void two_messages_in_a_row_stay_apart(void **state)
{
	const struct vhost_user_msg first = { .request = VHOST_USER_SET_FEATURES,
					      .payload.u64 = 1 };
	const struct vhost_user_msg second = { .request = VHOST_USER_GET_FEATURES };
	struct vhost_user_msg msg;
	int sock[2];

	(void)state;
	make_pair(sock);
	assert_int_equal(vhost_user_send(sock[0], &first), 0);
	assert_int_equal(vhost_user_send(sock[0], &second), 0);
	assert_int_equal(vhost_user_recv(sock[1], &msg, TIMEOUT_MS), 0);
	assert_int_equal(msg.request, VHOST_USER_SET_FEATURES);
	assert_int_equal(vhost_user_recv(sock[1], &msg, TIMEOUT_MS), 0);
	assert_int_equal(msg.request, VHOST_USER_GET_FEATURES);
	close_pair(sock);
}

static void memory_table_brings_its_fds_in_order(void **state)
{
	struct vhost_user_msg msg = { .request = VHOST_USER_SET_MEM_TABLE };
	struct vhost_user_msg got;
	unsigned int i;
	int sock[2];

	(void)state;
	make_pair(sock);
	msg.payload.mem.nr_regions = msg.nr_fds = VHOST_USER_MAX_REGIONS;
	for (i = 0; i < VHOST_USER_MAX_REGIONS; i++)
		msg.fds[i] = make_file();
	assert_int_equal(vhost_user_send(sock[0], &msg), 0);
	assert_int_equal(vhost_user_recv(sock[1], &got, TIMEOUT_MS), 0);
	assert_int_equal(got.nr_fds, VHOST_USER_MAX_REGIONS);
	for (i = 0; i < VHOST_USER_MAX_REGIONS; i++)
		assert_true(same_file(got.fds[i], msg.fds[i]));
	vhost_user_close_fds(&got);
	assert_int_equal(got.nr_fds, 0);
	vhost_user_close_fds(&msg);
	close_pair(sock);
}

static void received_fds_are_close_on_exec(void **state)
{
	struct vhost_user_msg msg = { .request = VHOST_USER_SET_VRING_KICK, .nr_fds = 1 };
	struct vhost_user_msg got;
	int sock[2];

	(void)state;
	make_pair(sock);
	msg.fds[0] = make_file();
	assert_int_equal(vhost_user_send(sock[0], &msg), 0);
	assert_int_equal(vhost_user_recv(sock[1], &got, TIMEOUT_MS), 0);
	assert_int_equal(got.nr_fds, 1);
	assert_true(fcntl(got.fds[0], F_GETFD) & FD_CLOEXEC);
	vhost_user_close_fds(&got);
	vhost_user_close_fds(&msg);
	close_pair(sock);
}

/* Bytes arrive in any portions; here, one by one. */
static void a_message_in_single_bytes_is_put_together(void **state)
{
	const struct vhost_user_msg msg = { .request = VHOST_USER_SET_VRING_ADDR,
					    .payload.addr = { 1, 2, 3, 4, 5, 6 } };
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg got;
	int sock[2], len, i, status;
	pid_t pid;

	(void)state;
	make_pair(sock);
	len = vhost_user_encode(&msg, buf, sizeof(buf));
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		for (i = 0; i < len; i++) {
			if (send(sock[1], buf + i, 1, MSG_NOSIGNAL) != 1)
				_exit(1);
			usleep(500);
		}
		_exit(0);
	}
	assert_int_equal(vhost_user_recv(sock[0], &got, TIMEOUT_MS), 0);
	assert_memory_equal(&got.payload, &msg.payload, sizeof(msg.payload));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close_pair(sock);
}

static void a_closed_connection_is_told_between_messages(void **state)
{
	struct vhost_user_msg msg;
	int sock[2];

	(void)state;
	make_pair(sock);
	close(sock[1]);
	assert_int_equal(vhost_user_recv(sock[0], &msg, TIMEOUT_MS), -ECONNRESET);
	close(sock[0]);
}

static void a_closed_connection_is_told_wherever_it_cuts_a_message(void **state)
{
	const struct vhost_user_msg msg = { .request = VHOST_USER_SET_VRING_NUM,
					    .payload.state = { 0, 1 } };
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg got;
	int sock[2], len, cut;

	(void)state;
	len = vhost_user_encode(&msg, buf, sizeof(buf));
	for (cut = 1; cut < len; cut++) {
		make_pair(sock);
		send_bytes(sock[1], buf, cut);
		close(sock[1]);
		assert_int_equal(vhost_user_recv(sock[0], &got, TIMEOUT_MS), -ECONNRESET);
		close(sock[0]);
	}
}

static void a_cut_message_closes_the_fds_that_came_with_it(void **state)
{
	const struct vhost_user_msg msg = { .request = VHOST_USER_SET_VRING_KICK, .nr_fds = 1 };
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg got;
	int sock[2], fd = make_file();

	(void)state;
	make_pair(sock);
	vhost_user_encode(&msg, buf, sizeof(buf));
	send_with_fds(sock[1], buf, 14, fd, 1);
	close(sock[1]);
	assert_int_equal(vhost_user_recv(sock[0], &got, TIMEOUT_MS), -ECONNRESET);
	assert_int_equal(got.nr_fds, 0);
	close(sock[0]);
	close(fd);
	/* check_fds() sees whether one was left open. */
}

static void silence_times_out(void **state)
{
	struct vhost_user_msg msg;
	char byte = 1;
	int sock[2];

	(void)state;
	make_pair(sock);
	assert_int_equal(vhost_user_recv(sock[0], &msg, SHORT_MS), -ETIMEDOUT);
	send_bytes(sock[1], &byte, 1);
	assert_int_equal(vhost_user_recv(sock[0], &msg, SHORT_MS), -ETIMEDOUT);
	close_pair(sock);
}

static void recv_refuses_an_oversized_message(void **state)
{
	char buf[12] = { 0 };
	struct vhost_user_msg msg;
	int sock[2];

	(void)state;
	make_pair(sock);
	put32(buf, 0, VHOST_USER_GET_FEATURES);
	put32(buf, 1, VHOST_USER_VERSION | VHOST_USER_REPLY);
	put32(buf, 2, UINT32_MAX);
	send_bytes(sock[1], buf, sizeof(buf));
	assert_int_equal(vhost_user_recv(sock[0], &msg, TIMEOUT_MS), -EMSGSIZE);
	close_pair(sock);
}

static void recv_refuses_fds_where_none_belong(void **state)
{
	const struct vhost_user_msg msg = { .request = VHOST_USER_GET_FEATURES, .reply = true };
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg got;
	int sock[2], fd = make_file();
	int len = vhost_user_encode(&msg, buf, sizeof(buf));

	(void)state;
	make_pair(sock);
	send_with_fds(sock[1], buf, len, fd, 1);
	assert_int_equal(vhost_user_recv(sock[0], &got, TIMEOUT_MS), -EPROTO);
	assert_int_equal(got.nr_fds, 0);
	close_pair(sock);
	close(fd);
}

static void recv_refuses_more_fds_than_a_message_can_have(void **state)
{
	static const unsigned int counts[] = { VHOST_USER_MAX_FDS + 1, VHOST_USER_MAX_FDS + 2, 16 };
	struct vhost_user_msg msg = { .request = VHOST_USER_SET_MEM_TABLE,
				      .payload.mem.nr_regions = VHOST_USER_MAX_REGIONS,
				      .nr_fds = VHOST_USER_MAX_REGIONS };
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg got;
	int sock[2], fd = make_file();
	int len = vhost_user_encode(&msg, buf, sizeof(buf));
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		make_pair(sock);
		send_with_fds(sock[1], buf, len, fd, counts[i]);
		assert_int_equal(vhost_user_recv(sock[0], &got, TIMEOUT_MS), -EPROTO);
		assert_int_equal(got.nr_fds, 0);
		close_pair(sock);
	}
	close(fd);
}

static void recv_refuses_a_memory_table_with_too_few_fds(void **state)
{
	const struct vhost_user_msg msg = { .request = VHOST_USER_SET_MEM_TABLE,
					    .payload.mem.nr_regions = 2, .nr_fds = 2 };
	char buf[VHOST_USER_MAX_MESSAGE];
	struct vhost_user_msg got;
	int sock[2], fd = make_file();
	int len = vhost_user_encode(&msg, buf, sizeof(buf));

	(void)state;
	make_pair(sock);
	send_with_fds(sock[1], buf, len, fd, 1);
	assert_int_equal(vhost_user_recv(sock[0], &got, TIMEOUT_MS), -EPROTO);
	close_pair(sock);
	close(fd);
}

static void send_to_a_closed_connection_fails_without_sigpipe(void **state)
{
	const struct vhost_user_msg msg = { .request = VHOST_USER_SET_OWNER };
	int sock[2];

	(void)state;
	make_pair(sock);
	close(sock[1]);
	/* SIGPIPE would end the test. */
	assert_int_equal(vhost_user_send(sock[0], &msg), -EPIPE);
	close(sock[0]);
}

static void send_refuses_what_cannot_be_encoded(void **state)
{
	const struct vhost_user_msg msg = { .request = 1000 };
	char byte;
	int sock[2];

	(void)state;
	make_pair(sock);
	assert_int_equal(vhost_user_send(sock[0], &msg), -ENOTSUP);
	assert_int_equal(recv(sock[1], &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	close_pair(sock);
}

static void call_returns_what_the_backend_answers(void **state)
{
	struct vhost_user_msg msg = { .request = VHOST_USER_GET_FEATURES };
	const struct vhost_user_msg reply = { .request = VHOST_USER_GET_FEATURES, .reply = true,
					      .payload.u64 = 0x140000000 };
	struct vhost_user_msg seen;
	int sock[2];

	(void)state;
	make_pair(sock);
	/* The answer may lie there before the question. */
	assert_int_equal(vhost_user_send(sock[1], &reply), 0);
	assert_int_equal(vhost_user_call(sock[0], &msg, TIMEOUT_MS), 0);
	assert_true(msg.reply);
	assert_int_equal(msg.payload.u64, 0x140000000);
	assert_int_equal(vhost_user_recv(sock[1], &seen, TIMEOUT_MS), 0);
	assert_int_equal(seen.request, VHOST_USER_GET_FEATURES);
	close_pair(sock);
}

static void call_without_answer_does_not_wait(void **state)
{
	struct vhost_user_msg msg = { .request = VHOST_USER_SET_FEATURES, .payload.u64 = 1 };
	int sock[2];

	(void)state;
	make_pair(sock);
	/* -1: would wait for ever. */
	assert_int_equal(vhost_user_call(sock[0], &msg, -1), 0);
	close_pair(sock);
}

static void call_tells_a_refusal(void **state)
{
	struct vhost_user_msg msg = { .request = VHOST_USER_SET_FEATURES, .need_reply = true };
	const struct vhost_user_msg reply = { .request = VHOST_USER_SET_FEATURES, .reply = true,
					      .payload.u64 = 1 };
	int sock[2];

	(void)state;
	make_pair(sock);
	assert_int_equal(vhost_user_send(sock[1], &reply), 0);
	assert_int_equal(vhost_user_call(sock[0], &msg, TIMEOUT_MS), -EREMOTEIO);
	/* The request is as it was. */
	assert_false(msg.reply);
	close_pair(sock);
}

static void call_refuses_the_answer_to_another_request(void **state)
{
	struct vhost_user_msg msg = { .request = VHOST_USER_GET_FEATURES };
	const struct vhost_user_msg reply = { .request = VHOST_USER_GET_PROTOCOL_FEATURES,
					      .reply = true, .payload.u64 = 1 };
	int sock[2];

	(void)state;
	make_pair(sock);
	assert_int_equal(vhost_user_send(sock[1], &reply), 0);
	assert_int_equal(vhost_user_call(sock[0], &msg, TIMEOUT_MS), -EPROTO);
	close_pair(sock);
}

/* A back-end must not push descriptors into the VMM by asking back. */
static void call_refuses_a_request_as_answer_and_closes_its_fds(void **state)
{
	struct vhost_user_msg msg = { .request = VHOST_USER_GET_FEATURES };
	struct vhost_user_msg bad = { .request = VHOST_USER_SET_VRING_KICK, .nr_fds = 1 };
	int sock[2];

	(void)state;
	make_pair(sock);
	bad.fds[0] = make_file();
	assert_int_equal(vhost_user_send(sock[1], &bad), 0);
	assert_int_equal(vhost_user_call(sock[0], &msg, TIMEOUT_MS), -EPROTO);
	vhost_user_close_fds(&bad);
	close_pair(sock);
}

static void call_times_out_when_no_answer_comes(void **state)
{
	struct vhost_user_msg msg = { .request = VHOST_USER_GET_FEATURES };
	int sock[2];

	(void)state;
	make_pair(sock);
	assert_int_equal(vhost_user_call(sock[0], &msg, SHORT_MS), -ETIMEDOUT);
	close_pair(sock);
}

/* Whatever the bytes: an error or a message, and never a descriptor too many. */
static void random_bytes_never_upset_the_decoder(void **state)
{
	char buf[VHOST_USER_MAX_MESSAGE], *exact;
	struct vhost_user_msg msg;
	uint64_t x = 88172645463325252ULL;
	unsigned int i;
	size_t j, len;
	int ret;

	(void)state;
	for (i = 0; i < 200000; i++) {
		for (j = 0; j < sizeof(buf); j++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			buf[j] = x;
		}
		/* Mostly plausible headers, so that payloads are looked at. */
		if (i % 4) {
			put32(buf, 0, get32(buf, 0) % 26);
			put32(buf, 1, 1 | (get32(buf, 1) & 12));
			put32(buf, 2, get32(buf, 2) % 280);
		}
		if (i % 3)
			put32(buf, 3, get32(buf, 3) % 10);
		len = x % (sizeof(buf) + 1);
		/* Of its exact size, so that ASan sees a byte too many. */
		exact = malloc(len ? len : 1);
		assert_non_null(exact);
		memcpy(exact, buf, len);
		ret = vhost_user_decode(&msg, exact, len);
		assert_true(ret < 0 || (ret >= 12 && (size_t)ret <= len));
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(encoded_header_has_request_version_flags_and_size),
		CASE(every_message_decodes_to_what_was_encoded),
		CASE(payload_layouts_are_those_of_the_protocol),
		CASE(encode_writes_nothing_beyond_the_room),
		CASE(encode_refuses_an_unknown_request),
		CASE(encode_refuses_no_regions_or_too_many),
		CASE(encode_refuses_no_config_bytes_or_too_many),
		CASE(encode_refuses_fds_that_do_not_fit_the_request),
		CASE(decode_refuses_every_truncation),
		CASE(decode_refuses_an_oversized_payload),
		CASE(decode_refuses_a_payload_of_another_size),
		CASE(decode_refuses_counts_that_contradict_the_size),
		CASE(decode_refuses_another_version),
		CASE(decode_refuses_an_unknown_request),
		CASE(decode_leaves_what_follows_the_message_alone),
		CASE(replies_are_expected_where_the_protocol_has_them),
		CASE(check_reply_wants_the_same_request_and_the_reply_flag),
		CASE(check_reply_tells_a_refusal),
		CASE(check_reply_takes_any_value_of_what_was_asked_for),
		CASE(check_reply_wants_the_config_that_was_asked_for),
		CASE(check_reply_wants_the_ring_that_was_asked_for),
		CASE(messages_without_fds_travel_unchanged),
		CASE(two_messages_in_a_row_stay_apart),
		CASE(memory_table_brings_its_fds_in_order),
		CASE(received_fds_are_close_on_exec),
		CASE(a_message_in_single_bytes_is_put_together),
		CASE(a_closed_connection_is_told_between_messages),
		CASE(a_closed_connection_is_told_wherever_it_cuts_a_message),
		CASE(a_cut_message_closes_the_fds_that_came_with_it),
		CASE(silence_times_out),
		CASE(recv_refuses_an_oversized_message),
		CASE(recv_refuses_fds_where_none_belong),
		CASE(recv_refuses_more_fds_than_a_message_can_have),
		CASE(recv_refuses_a_memory_table_with_too_few_fds),
		CASE(send_to_a_closed_connection_fails_without_sigpipe),
		CASE(send_refuses_what_cannot_be_encoded),
		CASE(call_returns_what_the_backend_answers),
		CASE(call_without_answer_does_not_wait),
		CASE(call_tells_a_refusal),
		CASE(call_refuses_the_answer_to_another_request),
		CASE(call_refuses_a_request_as_answer_and_closes_its_fds),
		CASE(call_times_out_when_no_answer_comes),
		CASE(random_bytes_never_upset_the_decoder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
