// SPDX-License-Identifier: MIT
/*
 * Passing a file descriptor over a Unix socket (SCM_RIGHTS, see unix(7)).
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

/* Linux 6.5: what SO_PASSPIDFD makes the kernel add to a message. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

/* Other families accept SCM_RIGHTS, send the data, and lose the descriptor. */
static int check_family(int sock)
{
	int domain;
	socklen_t size = sizeof(domain);

	if (getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
		return -errno;
	return domain == AF_UNIX ? 0 : -EAFNOSUPPORT;
}

static int send_fd(int sock, int fd, const void *data, size_t len)
{
	static const char placeholder;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg;
	size_t sent;
	ssize_t n;
	int ret;

	if (len > INT_MAX)
		return -EMSGSIZE;
	ret = check_family(sock);
	if (ret)
		return ret;

	iov.iov_base = len ? (void *)data : (void *)&placeholder;
	iov.iov_len = len ? len : sizeof(placeholder);
	memset(&control, 0, sizeof(control));
	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));

	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (!len)
		return 0;

	/*
	 * A signal can cut a long send on a stream short. The descriptor has
	 * gone with the first part and must not go again.
	 */
	for (sent = n; sent < len; sent += n) {
		do {
			n = send(sock, (const char *)data + sent, len - sent,
				 MSG_NOSIGNAL);
		} while (n < 0 && errno == EINTR);
		if (n < 0)
			break;
	}
	return sent;
}

int memview_send_fd(int sock, int fd, const void *data, size_t len)
{
	int saved_errno = errno;
	int ret;

	ret = send_fd(sock, fd, data, len);
	errno = saved_errno;
	return ret;
}

/*
 * Takes every descriptor out of the message: the first of SCM_RIGHTS into *fdp,
 * the others are closed. Returns how many SCM_RIGHTS had.
 */
static unsigned int take_fds(struct msghdr *msg, int *fdp)
{
	struct cmsghdr *cmsg;
	unsigned int count = 0;
	size_t i, n;
	int fd;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET ||
		    (cmsg->cmsg_type != SCM_RIGHTS &&
		     cmsg->cmsg_type != SCM_PIDFD))
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(fd);
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			if (cmsg->cmsg_type == SCM_RIGHTS && !count++)
				*fdp = fd;
			else if (fd >= 0)
				close(fd);
		}
	}
	return count;
}

static int recv_fd(int sock, void *data, size_t len, size_t *received)
{
	char placeholder;
	/*
	 * Besides one descriptor: a second one, to notice it, and what the
	 * kernel adds if the caller has set SO_PASSCRED or SO_PASSPIDFD.
	 */
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int)) +
			 CMSG_SPACE(sizeof(struct ucred)) +
			 CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {
		.iov_base = len ? data : &placeholder,
		.iov_len = len ? len : sizeof(placeholder),
	};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.buf),
	};
	unsigned int count;
	int fd = -1;
	ssize_t n;
	int ret;

	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (len)
		*received = n;

	count = take_fds(&msg, &fd);
	if (count > 1 || (count && msg.msg_flags & MSG_CTRUNC))
		ret = -EBADMSG;
	else if (msg.msg_flags & MSG_CTRUNC)
		ret = -EMFILE;
	else if (msg.msg_flags & MSG_TRUNC)
		ret = -EMSGSIZE;
	else if (count)
		return fd;
	else
		ret = n ? -ENOMSG : -EPIPE;

	if (fd >= 0)
		close(fd);
	return ret;
}

int memview_recv_fd(int sock, void *data, size_t len, size_t *received)
{
	int saved_errno = errno;
	size_t n = 0;
	int ret;

	ret = recv_fd(sock, data, len, &n);
	if (received)
		*received = n;
	errno = saved_errno;
	return ret;
}
