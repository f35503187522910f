/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vhost-user messages: the codec, and their way over a Unix socket.
 *
 * Written from the "Vhost-user Protocol" chapter of QEMU's documentation, and
 * only for the messages that a virtio-blk front-end needs. Numbers travel in
 * the byte order of the machine. A message on the wire is a header of three
 * 32-bit words (request, flags, bytes of payload) and the payload; file
 * descriptors travel beside the header.
 *
 * The codec knows both directions, so that a test can play the back-end.
 * Functions return 0 or a count, or -errno.
 */
#ifndef DEMO_VHOST_USER_H
#define DEMO_VHOST_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_GET_CONFIG = 24,
};

/* Header flags. */
#define VHOST_USER_VERSION		0x1U
#define VHOST_USER_VERSION_MASK		0x3U
#define VHOST_USER_REPLY		(1U << 2)
#define VHOST_USER_NEED_REPLY		(1U << 3)

/* Feature bit that makes the protocol features negotiable. */
#define VHOST_USER_F_PROTOCOL_FEATURES	30

/* Protocol feature bits. */
#define VHOST_USER_PROTOCOL_F_REPLY_ACK	3
#define VHOST_USER_PROTOCOL_F_CONFIG	9

/* In the 64-bit payload of SET_VRING_KICK and SET_VRING_CALL. */
#define VHOST_USER_VRING_INDEX_MASK	0xffU
#define VHOST_USER_VRING_NO_FD		(1U << 8)

#define VHOST_USER_HEADER_SIZE		12U
#define VHOST_USER_MAX_REGIONS		8U
#define VHOST_USER_MAX_FDS		VHOST_USER_MAX_REGIONS
#define VHOST_USER_MAX_CONFIG		256U

struct vhost_user_vring_state {
	uint32_t index;
	uint32_t num;
};

/* Ring addresses are front-end virtual addresses, as @user_addr of a region. */
struct vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

struct vhost_user_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;
	uint64_t mmap_offset;
};

struct vhost_user_mem_table {
	uint32_t nr_regions;
	uint32_t pad;
	struct vhost_user_region regions[VHOST_USER_MAX_REGIONS];
};

/*
 * In a reply, @size 0 stands for a message without payload: the back-end could
 * not do it.
 */
struct vhost_user_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t bytes[VHOST_USER_MAX_CONFIG];
};

union vhost_user_payload {
	uint64_t u64;
	struct vhost_user_vring_state state;
	struct vhost_user_vring_addr addr;
	struct vhost_user_mem_table mem;
	struct vhost_user_config config;
};

#define VHOST_USER_MAX_MESSAGE \
	(VHOST_USER_HEADER_SIZE + sizeof(union vhost_user_payload))

/**
 * struct vhost_user_msg - a message, decoded
 * @request: enum vhost_user_request
 * @reply: the message is the back-end's answer
 * @need_reply: the front-end wants an answer where the message has none
 * @payload: the member that belongs to @request
 * @fds: file descriptors beside the message; owned by whoever holds the message
 * @nr_fds: how many
 */
struct vhost_user_msg {
	uint32_t request;
	bool reply;
	bool need_reply;
	union vhost_user_payload payload;
	int fds[VHOST_USER_MAX_FDS];
	unsigned int nr_fds;
};

/**
 * vhost_user_request_name() - name of a request for messages to people
 *
 * Return: the name, or "unknown request".
 */
const char *vhost_user_request_name(uint32_t request);

/**
 * vhost_user_has_reply() - does the back-end answer this message?
 *
 * True for the requests that ask for something, and for each message that has
 * @need_reply set. An answer to the latter is a 64-bit word, 0 for success.
 */
bool vhost_user_has_reply(const struct vhost_user_msg *msg);

/**
 * vhost_user_encode() - write a message as it goes over the wire
 * @msg: the message
 * @buf: where to put the bytes
 * @room: how many fit
 *
 * Return: number of bytes, or
 * -ENOTSUP: a request that this codec does not know;
 * -EINVAL: the payload contradicts itself (no region, too many, no or too many config bytes),
 *	or the number of file descriptors does not fit the request;
 * -EMSGSIZE: more than @room bytes.
 */
int vhost_user_encode(const struct vhost_user_msg *msg, void *buf, size_t room);

/**
 * vhost_user_decode_header() - look at the first VHOST_USER_HEADER_SIZE bytes
 * @msg: @request, @reply and @need_reply are set; payload and fds are untouched
 * @buf: the bytes
 * @len: how many
 *
 * Return: bytes of payload that follow, or
 * -ENODATA: fewer than VHOST_USER_HEADER_SIZE bytes;
 * -EPROTO: another protocol version;
 * -ENOTSUP: a request that this codec does not know;
 * -EMSGSIZE: more payload than any message of this kind has.
 */
int vhost_user_decode_header(struct vhost_user_msg *msg, const void *buf,
			     size_t len);

/**
 * vhost_user_decode() - read a message from the bytes of the wire
 * @msg: where to put it; @fds and @nr_fds are untouched
 * @buf: the bytes
 * @len: how many
 *
 * Return: number of bytes read, or the errnos of vhost_user_decode_header(), or
 * -ENODATA: the message ends before its payload does;
 * -EPROTO: the payload's size is not the one of this request, or contradicts
 *	what the payload says of itself.
 */
int vhost_user_decode(struct vhost_user_msg *msg, const void *buf, size_t len);

/**
 * vhost_user_check_reply() - does @reply answer @request?
 *
 * Return: 0, or
 * -EPROTO: it is no reply, or one to another request;
 * -EREMOTEIO: the back-end says that the request failed.
 */
int vhost_user_check_reply(const struct vhost_user_msg *request,
			   const struct vhost_user_msg *reply);

/**
 * vhost_user_send() - send a message and its file descriptors
 * @sock: a connected Unix stream socket
 * @msg: the message; its descriptors stay open here
 *
 * Raises no SIGPIPE.
 *
 * Return: 0, or the errnos of vhost_user_encode() and sendmsg(2).
 */
int vhost_user_send(int sock, const struct vhost_user_msg *msg);

/**
 * vhost_user_recv() - receive one message
 * @sock: a connected Unix stream socket
 * @msg: where to put it. Descriptors that came along are the caller's to close
 *	(vhost_user_close_fds()); on failure none is left open
 * @timeout_ms: for the whole message; -1 waits for ever
 *
 * Return: 0, or the errnos of vhost_user_decode(), or
 * -ECONNRESET: the other end has closed the connection, between messages or
 *	within one;
 * -ETIMEDOUT: the message was not complete in time;
 * -EPROTO: more descriptors than a message can have, or in a wrong place;
 * and those of recvmsg(2).
 */
int vhost_user_recv(int sock, struct vhost_user_msg *msg, int timeout_ms);

/**
 * vhost_user_close_fds() - close the file descriptors of a received message
 */
void vhost_user_close_fds(struct vhost_user_msg *msg);

/**
 * vhost_user_call() - send a request, and receive and check its answer if any
 * @sock: a connected Unix stream socket
 * @msg: the request; overwritten by the answer, if there is one. Its
 *	descriptors stay open here
 * @timeout_ms: for the answer
 *
 * Return: 0, or the errnos of vhost_user_send(), vhost_user_recv() and
 * vhost_user_check_reply().
 */
int vhost_user_call(int sock, struct vhost_user_msg *msg, int timeout_ms);

#endif /* DEMO_VHOST_USER_H */
