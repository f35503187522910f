// SPDX-License-Identifier: GPL-2.0
/*
 * Deciding at fault time what a peer sees: the view's table does it without
 * the controller; with userfaultfd(2) the controller answers each minor fault
 * of the peer by UFFDIO_CONTINUE, for one page or for as many as the view maps.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIZE	(8 * MIB)
#define PAGES	(SIZE / PAGE)
#define WINDOW	(16 * PAGE)

static const struct fault_param touch_once = {
	.state = WARM, .size = SIZE, .touches = PAGES,
};

void userfault_view(const struct bench *bench, double *values)
{
	struct bench warm = *bench;

	warm.param = &touch_once;
	fault_view(&warm, values);
}

struct user {
	int fd, sock;
};

/* The peer: hands its userfaultfd over, touches each page, says what it took. */
static void be_user(const void *arg, double *values)
{
	const struct user *user = arg;
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MINOR_SHMEM,
	};
	char *map = map_fd(user->fd, SIZE, 0);
	struct uffdio_register reg = {
		.range = { (uintptr_t)map, SIZE },
		.mode = UFFDIO_REGISTER_MODE_MINOR,
	};
	/* poll(2) works on none that blocks. */
	int fd = syscall(SYS_userfaultfd,
			 O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	uint64_t start;

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		err(1, "userfaultfd");
	check(memview_send_fd(user->sock, fd, &map, sizeof(map)), "memview_send_fd");
	settle();
	start = now();
	touch(map, SIZE, PAGE, false);
	values[0] = (double)(now() - start) / PAGES;
	if (send(user->sock, "", 1, 0) != 1)
		err(1, "send");
}

static double measure(size_t window)
{
	struct user user = { .fd = shared_file };
	struct pollfd polled[2] = { { .events = POLLIN }, { .events = POLLIN } };
	double values[MAX_FIGURES];
	struct uffd_msg msg;
	struct peer peer;
	uintptr_t map;
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, socks))
		err(1, "socketpair");
	user.sock = socks[1];
	peer_start(&peer);
	peer_post(&peer, be_user, &user, sizeof(user));
	polled[1].fd = socks[0];
	polled[0].fd = check(memview_recv_fd(socks[0], &map, sizeof(map), NULL),
			     "memview_recv_fd");
	while (poll(polled, 2, -1) > 0 && !polled[1].revents) {
		struct uffdio_continue cont = { .range.len = window };

		if (read(polled[0].fd, &msg, sizeof(msg)) != sizeof(msg)) {
			if (errno == EAGAIN)
				continue;
			err(1, "userfaultfd");
		}
		if (msg.event != UFFD_EVENT_PAGEFAULT ||
		    !(msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR))
			errx(1, "no minor fault");
		cont.range.start = map + ((msg.arg.pagefault.address - map) & -window);
		if (ioctl(polled[0].fd, UFFDIO_CONTINUE, &cont))
			err(1, "UFFDIO_CONTINUE");
	}
	peer_wait(&peer, values);
	return values[0];
}

void userfault_page(const struct bench *bench, double *values)
{
	(void)bench;
	values[0] = measure(PAGE);
}

void userfault_window(const struct bench *bench, double *values)
{
	(void)bench;
	values[0] = measure(WINDOW);
}
