// SPDX-License-Identifier: GPL-2.0
/*
 * Deciding at fault time what a peer sees: the view's table does it without
 * the controller; with userfaultfd(2) the controller answers each minor fault
 * of the peer by UFFDIO_CONTINUE, for one page or for more around it: a window of
 * the view has 16 pages at first, and 256 when it has grown.
 */
#include "bench.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIZE	(8 * MIB)
#define PAGES	(SIZE / PAGE)

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
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	uint64_t start;

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		err(1, "userfaultfd");
	check(memview_send_fd(user->sock, fd, &map, sizeof(map)), "memview_send_fd");
	settle();
	start = now();
	touch(map, SIZE, PAGE, false);
	values[0] = (double)(now() - start) / PAGES;
}

/* The peer touches in order: there is a fault for each window. */
static double measure(size_t window)
{
	struct user user = { .fd = shared_file };
	double values[MAX_FIGURES];
	struct uffd_msg msg;
	struct peer peer;
	uintptr_t map;
	int socks[2], fd;
	size_t done;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, socks))
		err(1, "socketpair");
	user.sock = socks[1];
	peer_start(&peer);
	peer_post(&peer, be_user, &user, sizeof(user));
	fd = check(memview_recv_fd(socks[0], &map, sizeof(map), NULL),
		   "memview_recv_fd");
	for (done = 0; done < SIZE; done += window) {
		struct uffdio_continue cont = { .range.len = window };

		if (read(fd, &msg, sizeof(msg)) != sizeof(msg))
			err(1, "userfaultfd");
		if (msg.event != UFFD_EVENT_PAGEFAULT ||
		    !(msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR))
			errx(1, "no minor fault");
		cont.range.start = map + ((msg.arg.pagefault.address - map) & -window);
		if (ioctl(fd, UFFDIO_CONTINUE, &cont))
			err(1, "UFFDIO_CONTINUE");
	}
	peer_wait(&peer, values);
	return values[0];
}

void userfault_1(const struct bench *bench, double *values)
{
	(void)bench;
	values[0] = measure(PAGE);
}

void userfault_16(const struct bench *bench, double *values)
{
	(void)bench;
	values[0] = measure(16 * PAGE);
}

void userfault_256(const struct bench *bench, double *values)
{
	(void)bench;
	values[0] = measure(256 * PAGE);
}
