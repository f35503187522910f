// SPDX-License-Identifier: GPL-2.0
#include "vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The structs go over the wire as they are. */
_Static_assert(sizeof(struct vhost_user_vring_state) == 8, "wire layout");
_Static_assert(sizeof(struct vhost_user_vring_addr) == 40, "wire layout");
_Static_assert(sizeof(struct vhost_user_region) == 32, "wire layout");
_Static_assert(offsetof(struct vhost_user_mem_table, regions) == 8, "wire layout");
_Static_assert(offsetof(struct vhost_user_config, bytes) == 12, "wire layout");

#define CONFIG_HEAD	offsetof(struct vhost_user_config, bytes)
#define MEM_HEAD	offsetof(struct vhost_user_mem_table, regions)

enum payload {
	PAYLOAD_NONE,
	PAYLOAD_U64,
	PAYLOAD_STATE,
	PAYLOAD_ADDR,
	PAYLOAD_MEM,
	PAYLOAD_CONFIG,
};

/* What each request and its reply carry. */
static const struct {
	const char *name;
	enum payload request;
	enum payload reply;
	bool has_reply;
} requests[] = {
	[VHOST_USER_GET_FEATURES] = { "GET_FEATURES", PAYLOAD_NONE, PAYLOAD_U64, true },
	[VHOST_USER_SET_FEATURES] = { "SET_FEATURES", PAYLOAD_U64, PAYLOAD_U64, false },
	[VHOST_USER_SET_OWNER] = { "SET_OWNER", PAYLOAD_NONE, PAYLOAD_U64, false },
	[VHOST_USER_SET_MEM_TABLE] = { "SET_MEM_TABLE", PAYLOAD_MEM, PAYLOAD_U64, false },
	[VHOST_USER_SET_VRING_NUM] = { "SET_VRING_NUM", PAYLOAD_STATE, PAYLOAD_U64, false },
	[VHOST_USER_SET_VRING_ADDR] = { "SET_VRING_ADDR", PAYLOAD_ADDR, PAYLOAD_U64, false },
	[VHOST_USER_SET_VRING_BASE] = { "SET_VRING_BASE", PAYLOAD_STATE, PAYLOAD_U64, false },
	[VHOST_USER_GET_VRING_BASE] = { "GET_VRING_BASE", PAYLOAD_STATE, PAYLOAD_STATE, true },
	[VHOST_USER_SET_VRING_KICK] = { "SET_VRING_KICK", PAYLOAD_U64, PAYLOAD_U64, false },
	[VHOST_USER_SET_VRING_CALL] = { "SET_VRING_CALL", PAYLOAD_U64, PAYLOAD_U64, false },
	[VHOST_USER_GET_PROTOCOL_FEATURES] = {
		"GET_PROTOCOL_FEATURES", PAYLOAD_NONE, PAYLOAD_U64, true },
	[VHOST_USER_SET_PROTOCOL_FEATURES] = {
		"SET_PROTOCOL_FEATURES", PAYLOAD_U64, PAYLOAD_U64, false },
	[VHOST_USER_SET_VRING_ENABLE] = {
		"SET_VRING_ENABLE", PAYLOAD_STATE, PAYLOAD_U64, false },
	[VHOST_USER_GET_CONFIG] = { "GET_CONFIG", PAYLOAD_CONFIG, PAYLOAD_CONFIG, true },
};

#define NR_REQUESTS	(sizeof(requests) / sizeof(requests[0]))

static bool known(uint32_t request)
{
	return request < NR_REQUESTS && requests[request].name;
}

const char *vhost_user_request_name(uint32_t request)
{
	return known(request) ? requests[request].name : "unknown request";
}

bool vhost_user_has_reply(const struct vhost_user_msg *msg)
{
	return msg->need_reply || (known(msg->request) && requests[msg->request].has_reply);
}

static enum payload payload_of(const struct vhost_user_msg *msg)
{
	return msg->reply ? requests[msg->request].reply : requests[msg->request].request;
}

/* Most bytes that this kind of payload takes. */
static size_t payload_max(enum payload payload)
{
	switch (payload) {
	case PAYLOAD_NONE:
		return 0;
	case PAYLOAD_U64:
		return sizeof(uint64_t);
	case PAYLOAD_STATE:
		return sizeof(struct vhost_user_vring_state);
	case PAYLOAD_ADDR:
		return sizeof(struct vhost_user_vring_addr);
	case PAYLOAD_MEM:
		return sizeof(struct vhost_user_mem_table);
	case PAYLOAD_CONFIG:
		return sizeof(struct vhost_user_config);
	}
	return 0;
}

/*
 * Bytes that this very payload takes, as it says of itself; -EINVAL if it says
 * nonsense.
 */
static int payload_size(const struct vhost_user_msg *msg)
{
	const union vhost_user_payload *p = &msg->payload;
	enum payload payload = payload_of(msg);

	if (payload == PAYLOAD_MEM) {
		if (!p->mem.nr_regions || p->mem.nr_regions > VHOST_USER_MAX_REGIONS)
			return -EINVAL;
		return MEM_HEAD + p->mem.nr_regions * sizeof(p->mem.regions[0]);
	}
	if (payload == PAYLOAD_CONFIG) {
		if (p->config.size > VHOST_USER_MAX_CONFIG)
			return -EINVAL;
		/* "Could not do it" is a reply without any payload. */
		if (!p->config.size)
			return msg->reply ? 0 : -EINVAL;
		return CONFIG_HEAD + p->config.size;
	}
	return payload_max(payload);
}

/* Does the number of file descriptors fit what the message says? */
static bool fds_fit(const struct vhost_user_msg *msg)
{
	if (msg->reply)
		return !msg->nr_fds;
	switch (msg->request) {
	case VHOST_USER_SET_MEM_TABLE:
		return msg->nr_fds == msg->payload.mem.nr_regions;
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
		return msg->nr_fds == !(msg->payload.u64 & VHOST_USER_VRING_NO_FD);
	default:
		return !msg->nr_fds;
	}
}

int vhost_user_encode(const struct vhost_user_msg *msg, void *buf, size_t room)
{
	uint32_t head[3];
	int size;

	if (!known(msg->request))
		return -ENOTSUP;
	size = payload_size(msg);
	if (size < 0)
		return size;
	if (!fds_fit(msg))
		return -EINVAL;
	if (room < VHOST_USER_HEADER_SIZE + size)
		return -EMSGSIZE;
	head[0] = msg->request;
	head[1] = VHOST_USER_VERSION | (msg->reply ? VHOST_USER_REPLY : 0) |
		  (msg->need_reply ? VHOST_USER_NEED_REPLY : 0);
	head[2] = size;
	memcpy(buf, head, sizeof(head));
	memcpy((char *)buf + sizeof(head), &msg->payload, size);
	return sizeof(head) + size;
}

int vhost_user_decode_header(struct vhost_user_msg *msg, const void *buf, size_t len)
{
	uint32_t head[3];

	if (len < sizeof(head))
		return -ENODATA;
	memcpy(head, buf, sizeof(head));
	if ((head[1] & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
		return -EPROTO;
	if (!known(head[0]))
		return -ENOTSUP;
	msg->request = head[0];
	msg->reply = head[1] & VHOST_USER_REPLY;
	msg->need_reply = head[1] & VHOST_USER_NEED_REPLY;
	if (head[2] > payload_max(payload_of(msg)))
		return -EMSGSIZE;
	return head[2];
}

int vhost_user_decode(struct vhost_user_msg *msg, const void *buf, size_t len)
{
	int size = vhost_user_decode_header(msg, buf, len);

	if (size < 0)
		return size;
	if (len - VHOST_USER_HEADER_SIZE < (size_t)size)
		return -ENODATA;
	memset(&msg->payload, 0, sizeof(msg->payload));
	memcpy(&msg->payload, (const char *)buf + VHOST_USER_HEADER_SIZE, size);
	/* A payload that is cut short reads as zeros, and then has another size. */
	if (payload_size(msg) != size)
		return -EPROTO;
	return VHOST_USER_HEADER_SIZE + size;
}

int vhost_user_check_reply(const struct vhost_user_msg *request,
			   const struct vhost_user_msg *reply)
{
	if (!known(request->request) || !reply->reply || reply->request != request->request)
		return -EPROTO;
	if (!requests[request->request].has_reply)
		return reply->payload.u64 ? -EREMOTEIO : 0;
	switch (request->request) {
	case VHOST_USER_GET_CONFIG:
		if (!reply->payload.config.size)
			return -EREMOTEIO;
		if (reply->payload.config.offset != request->payload.config.offset ||
		    reply->payload.config.size != request->payload.config.size)
			return -EPROTO;
		return 0;
	case VHOST_USER_GET_VRING_BASE:
		if (reply->payload.state.index != request->payload.state.index)
			return -EPROTO;
		return 0;
	default:
		return 0;
	}
}

int vhost_user_send(int sock, const struct vhost_user_msg *msg)
{
	char buf[VHOST_USER_MAX_MESSAGE];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(msg->fds))];
	} control = { 0 };
	size_t fd_bytes = msg->nr_fds * sizeof(int);
	int len = vhost_user_encode(msg, buf, sizeof(buf));
	struct msghdr mh = { 0 };
	struct iovec iov;
	ssize_t sent;

	if (len < 0)
		return len;
	iov.iov_base = buf;
	iov.iov_len = len;
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	if (fd_bytes) {
		struct cmsghdr *cmsg = &control.align;

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fd_bytes);
		memcpy(CMSG_DATA(cmsg), msg->fds, fd_bytes);
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(fd_bytes);
	}
	while (iov.iov_len) {
		sent = sendmsg(sock, &mh, MSG_NOSIGNAL);
		if (sent < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		iov.iov_base = (char *)iov.iov_base + sent;
		iov.iov_len -= sent;
		/* The descriptors have gone with the first byte. */
		mh.msg_control = NULL;
		mh.msg_controllen = 0;
	}
	return 0;
}

void vhost_user_close_fds(struct vhost_user_msg *msg)
{
	while (msg->nr_fds)
		close(msg->fds[--msg->nr_fds]);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* Takes over what came beside the bytes; closes what does not fit. */
static int take_fds(struct msghdr *mh, struct vhost_user_msg *msg)
{
	struct cmsghdr *cmsg;
	int ret = mh->msg_flags & MSG_CTRUNC ? -EPROTO : 0;

	for (cmsg = CMSG_FIRSTHDR(mh); cmsg; cmsg = CMSG_NXTHDR(mh, cmsg)) {
		size_t i, count;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			if (msg->nr_fds < VHOST_USER_MAX_FDS) {
				msg->fds[msg->nr_fds++] = fd;
			} else {
				close(fd);
				ret = -EPROTO;
			}
		}
	}
	return ret;
}

/* Receives exactly @len bytes. */
static int recv_bytes(int sock, struct vhost_user_msg *msg, char *buf, size_t len,
		      int64_t deadline)
{
	/* Room for more than are allowed, so that those can be told and closed. */
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE((VHOST_USER_MAX_FDS + 1) * sizeof(int))];
	} control;
	size_t done = 0;

	while (done < len) {
		struct iovec iov = { buf + done, len - done };
		struct msghdr mh = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		};
		struct pollfd pfd = { .fd = sock, .events = POLLIN };
		int64_t left = deadline < 0 ? -1 : deadline - now_ms();
		ssize_t got;
		int ret;

		if (deadline >= 0 && left < 0)
			left = 0;
		ret = poll(&pfd, 1, left);
		if (ret < 0 && errno != EINTR)
			return -errno;
		if (!ret)
			return -ETIMEDOUT;
		if (ret < 0)
			continue;
		got = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (got < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return -errno;
		}
		ret = take_fds(&mh, msg);
		if (ret)
			return ret;
		if (!got)
			return -ECONNRESET;
		done += got;
	}
	return 0;
}

int vhost_user_recv(int sock, struct vhost_user_msg *msg, int timeout_ms)
{
	int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	char buf[VHOST_USER_MAX_MESSAGE];
	int size, ret;

	msg->nr_fds = 0;
	ret = recv_bytes(sock, msg, buf, VHOST_USER_HEADER_SIZE, deadline);
	if (ret)
		goto fail;
	size = vhost_user_decode_header(msg, buf, VHOST_USER_HEADER_SIZE);
	if (size < 0) {
		ret = size;
		goto fail;
	}
	ret = recv_bytes(sock, msg, buf + VHOST_USER_HEADER_SIZE, size, deadline);
	if (ret)
		goto fail;
	ret = vhost_user_decode(msg, buf, VHOST_USER_HEADER_SIZE + size);
	if (ret < 0)
		goto fail;
	if (!fds_fit(msg)) {
		ret = -EPROTO;
		goto fail;
	}
	return 0;

fail:
	vhost_user_close_fds(msg);
	return ret;
}

int vhost_user_call(int sock, struct vhost_user_msg *msg, int timeout_ms)
{
	struct vhost_user_msg reply;
	int ret = vhost_user_send(sock, msg);

	if (ret || !vhost_user_has_reply(msg))
		return ret;
	ret = vhost_user_recv(sock, &reply, timeout_ms);
	if (ret)
		return ret;
	ret = vhost_user_check_reply(msg, &reply);
	if (ret) {
		vhost_user_close_fds(&reply);
		return ret;
	}
	*msg = reply;
	return 0;
}
