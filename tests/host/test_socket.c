// SPDX-License-Identifier: GPL-2.0
/*
 * memview_send_fd() and memview_recv_fd() over real Unix sockets. A memfd stands
 * for the view fd: to the socket all descriptors are alike.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fds.h"
#include "memview.h"

#define UNTOUCHED 4095
#define SCM_MAX_FD 253	/* most descriptors that one message carries */

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
#define NR_TYPES (sizeof(types) / sizeof(types[0]))

static void make_pair(int type, int sock[2])
{
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sock), 0);
	errno = UNTOUCHED;
}

static void close_pair(int sock[2])
{
	close(sock[0]);
	close(sock[1]);
}

static int make_file(const char *content)
{
	int fd = memfd_create("lent", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	errno = UNTOUCHED;
	return fd;
}

static bool same_file(int a, int b)
{
	struct stat st_a, st_b;

	assert_int_equal(fstat(a, &st_a), 0);
	assert_int_equal(fstat(b, &st_b), 0);
	return st_a.st_ino == st_b.st_ino && st_a.st_dev == st_b.st_dev;
}

/* Sends count copies of fd (0: none) with data, as a peer could. */
static void send_raw(int sock, int fd, unsigned int count, const void *data, size_t len)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(SCM_MAX_FD * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg = &control.align;
	unsigned int i;

	memset(&control, 0, sizeof(control));
	for (i = 0; i < count; i++)
		memcpy(CMSG_DATA(cmsg) + i * sizeof(fd), &fd, sizeof(fd));
	if (count) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(fd));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(count * sizeof(fd));
	}
	assert_int_equal(sendmsg(sock, &msg, MSG_NOSIGNAL), len);
	errno = UNTOUCHED;
}

static int signals;

static void count_signal(int sig)
{
	(void)sig;
	signals++;
}

/* SIGALRM every 2 ms, without SA_RESTART: system calls that wait get EINTR. */
static void start_signals(void)
{
	static const struct itimerval every = { { 0, 2000 }, { 0, 2000 } };
	struct sigaction action = { .sa_handler = count_signal };

	signals = 0;
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
}

static void stop_signals(void)
{
	static const struct itimerval never;

	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_DFL);
	assert_true(signals > 0);
}

/* nanosleep() over the signals that start_signals() makes. */
static void pause_ms(long ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/*
 * A child that has only its own end of the pair, so that it sees the end of file
 * when the parent closes the other, and that dies with the parent: a broken
 * library leaves no process behind.
 */
static pid_t fork_child(int others_end)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(others_end);
	}
	return pid;
}

static void wait_for_child(pid_t pid)
{
	int status;
	pid_t ret;

	do {
		ret = waitpid(pid, &status, 0);
	} while (ret < 0 && errno == EINTR);
	assert_int_equal(ret, pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void fill(unsigned char *buf, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = i * 7 + i / 251;
}

/* --- what is sent arrives --- */

static void the_received_fd_is_the_same_file_on_every_socket_type(void **state)
{
	int sock[2], file = make_file("x"), fd;
	size_t i;

	(void)state;
	for (i = 0; i < NR_TYPES; i++) {
		make_pair(types[i], sock);
		assert_int_equal(memview_send_fd(sock[0], file, "a", 1), 1);
		fd = memview_recv_fd(sock[1], (char [1]){ 0 }, 1, NULL);
		assert_int_equal(errno, UNTOUCHED);
		assert_true(fd >= 0);
		assert_int_not_equal(fd, file);
		assert_true(same_file(fd, file));
		close(fd);
		close_pair(sock);
	}
	close(file);
}

static void the_received_fd_is_close_on_exec(void **state)
{
	int sock[2], file = make_file("x"), fd;

	(void)state;
	assert_int_equal(fcntl(file, F_SETFD, 0), 0);
	make_pair(SOCK_STREAM, sock);
	assert_int_equal(memview_send_fd(sock[0], file, NULL, 0), 0);
	fd = memview_recv_fd(sock[1], NULL, 0, NULL);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	close(file);
	close_pair(sock);
}

static void the_data_arrives_with_the_fd_on_every_socket_type(void **state)
{
	int sock[2], file = make_file("x"), fd;
	size_t i, received;
	char buf[64];

	(void)state;
	for (i = 0; i < NR_TYPES; i++) {
		memset(buf, '#', sizeof(buf));
		received = 99;
		make_pair(types[i], sock);
		assert_int_equal(memview_send_fd(sock[0], file, "hello", 5), 5);
		fd = memview_recv_fd(sock[1], buf, sizeof(buf), &received);
		assert_true(fd >= 0);
		assert_int_equal(received, 5);
		assert_memory_equal(buf, "hello#", 6);
		close(fd);
		close_pair(sock);
	}
	close(file);
}

static void without_data_the_fd_travels_with_one_byte_that_is_dropped(void **state)
{
	int sock[2], file = make_file("x"), fd;
	size_t i, received;
	char byte;

	(void)state;
	for (i = 0; i < NR_TYPES; i++) {
		received = 99;
		make_pair(types[i], sock);
		assert_int_equal(memview_send_fd(sock[0], file, NULL, 0), 0);
		fd = memview_recv_fd(sock[1], NULL, 0, &received);
		assert_true(fd >= 0);
		assert_int_equal(received, 0);
		assert_int_equal(recv(sock[1], &byte, 1, MSG_DONTWAIT), -1);
		close(fd);
		close_pair(sock);
	}
	close(file);
}

static void the_byte_in_place_of_data_is_zero(void **state)
{
	int sock[2], file = make_file("x"), fd;
	size_t received;
	char byte = 'x';

	(void)state;
	make_pair(SOCK_SEQPACKET, sock);
	assert_int_equal(memview_send_fd(sock[0], file, "ignored", 0), 0);
	fd = memview_recv_fd(sock[1], &byte, 1, &received);
	assert_true(fd >= 0);
	assert_int_equal(received, 1);
	assert_int_equal(byte, 0);
	close(fd);
	close(file);
	close_pair(sock);
}

static void the_senders_fd_stays_open(void **state)
{
	int sock[2], file = make_file("x");

	(void)state;
	make_pair(SOCK_STREAM, sock);
	assert_int_equal(memview_send_fd(sock[0], file, NULL, 0), 0);
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(fcntl(file, F_GETFD), FD_CLOEXEC);
	close(file);
	close_pair(sock);
}

static void a_file_written_by_another_process_is_read_here(void **state)
{
	int sock[2], fd;
	char buf[8] = "";
	pid_t pid;

	(void)state;
	make_pair(SOCK_STREAM, sock);
	pid = fork_child(sock[1]);
	if (!pid)
		_exit(memview_send_fd(sock[0], make_file("theirs"), "m", 1) != 1);
	wait_for_child(pid);
	fd = memview_recv_fd(sock[1], buf, 1, NULL);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), 6);
	assert_string_equal(buf, "theirs");
	close(fd);
	close_pair(sock);
}

static void each_message_of_a_stream_keeps_its_own_fd(void **state)
{
	int sock[2], one = make_file("1"), two = make_file("2"), fd;
	size_t received;
	char buf[64];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	assert_int_equal(memview_send_fd(sock[0], one, "first", 5), 5);
	assert_int_equal(memview_send_fd(sock[0], two, "second", 6), 6);
	fd = memview_recv_fd(sock[1], buf, sizeof(buf), &received);
	assert_true(same_file(fd, one));
	assert_int_equal(received, 5);
	close(fd);
	fd = memview_recv_fd(sock[1], buf, sizeof(buf), &received);
	assert_true(same_file(fd, two));
	assert_int_equal(received, 6);
	close(fd);
	close(one);
	close(two);
	close_pair(sock);
}

static void a_short_receive_of_a_stream_leaves_the_rest_to_recv(void **state)
{
	int sock[2], file = make_file("x"), fd;
	size_t received;
	char buf[8] = "";

	(void)state;
	make_pair(SOCK_STREAM, sock);
	assert_int_equal(memview_send_fd(sock[0], file, "header+body", 11), 11);
	fd = memview_recv_fd(sock[1], buf, 6, &received);
	assert_true(fd >= 0);
	assert_int_equal(received, 6);
	assert_int_equal(recv(sock[1], buf, sizeof(buf), 0), 5);
	assert_memory_equal(buf, "+body", 5);
	close(fd);
	close(file);
	close_pair(sock);
}

static void received_may_be_null_on_failure_too(void **state)
{
	int sock[2];
	char buf[4];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	send_raw(sock[0], -1, 0, "ab", 2);
	assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), NULL), -ENOMSG);
	close_pair(sock);
}

/* --- what a peer can send instead --- */

static void data_without_fd_is_enomsg_and_the_data_is_there(void **state)
{
	size_t i, received;
	char buf[8];
	int sock[2];

	(void)state;
	for (i = 0; i < NR_TYPES; i++) {
		make_pair(types[i], sock);
		send_raw(sock[0], -1, 0, "abc", 3);
		assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), &received), -ENOMSG);
		assert_int_equal(errno, UNTOUCHED);
		assert_int_equal(received, 3);
		assert_memory_equal(buf, "abc", 3);
		close_pair(sock);
	}
}

/* The teardown of each of these counts the descriptors that are open. */
static void recv_of_many(unsigned int count)
{
	int sock[2], file = make_file("x");
	size_t i, received;
	char buf[8];

	for (i = 0; i < NR_TYPES; i++) {
		make_pair(types[i], sock);
		send_raw(sock[0], file, count, "abc", 3);
		assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), &received), -EBADMSG);
		assert_int_equal(errno, UNTOUCHED);
		assert_int_equal(received, 3);
		close_pair(sock);
	}
	close(file);
}

static void two_fds_are_ebadmsg_and_both_are_closed(void **state)
{
	(void)state;
	recv_of_many(2);
}

static void three_fds_are_ebadmsg_and_all_are_closed(void **state)
{
	(void)state;
	recv_of_many(3);
}

static void as_many_fds_as_fit_a_message_are_ebadmsg_and_all_are_closed(void **state)
{
	(void)state;
	recv_of_many(SCM_MAX_FD);
}

static void the_connection_is_usable_after_a_bad_message(void **state)
{
	int sock[2], file = make_file("x"), fd;
	char buf[8];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	send_raw(sock[0], file, 5, "abc", 3);
	assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), NULL), -EBADMSG);
	assert_int_equal(memview_send_fd(sock[0], file, "d", 1), 1);
	fd = memview_recv_fd(sock[1], buf, sizeof(buf), NULL);
	assert_true(same_file(fd, file));
	close(fd);
	close(file);
	close_pair(sock);
}

static void end_of_file_is_epipe(void **state)
{
	static const int connected[] = { SOCK_STREAM, SOCK_SEQPACKET };
	size_t i, received;
	char buf[8];
	int sock[2];

	(void)state;
	for (i = 0; i < 2; i++) {
		make_pair(connected[i], sock);
		close(sock[0]);
		received = 99;
		assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), &received), -EPIPE);
		assert_int_equal(errno, UNTOUCHED);
		assert_int_equal(received, 0);
		assert_int_equal(memview_recv_fd(sock[1], NULL, 0, NULL), -EPIPE);
		close(sock[1]);
	}
}

static void an_fd_sent_before_the_close_still_arrives(void **state)
{
	int sock[2], file = make_file("x"), fd;
	char buf[8];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	assert_int_equal(memview_send_fd(sock[0], file, "a", 1), 1);
	close(sock[0]);
	fd = memview_recv_fd(sock[1], buf, sizeof(buf), NULL);
	assert_true(same_file(fd, file));
	assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), NULL), -EPIPE);
	close(fd);
	close(file);
	close(sock[1]);
}

static void an_empty_datagram_is_epipe(void **state)
{
	char buf[8];
	int sock[2];

	(void)state;
	make_pair(SOCK_DGRAM, sock);
	send_raw(sock[0], -1, 0, "", 0);
	assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), NULL), -EPIPE);
	close_pair(sock);
}

static void an_empty_datagram_with_an_fd_gives_the_fd(void **state)
{
	int sock[2], file = make_file("x"), fd;
	size_t received = 99;
	char buf[8];

	(void)state;
	make_pair(SOCK_DGRAM, sock);
	send_raw(sock[0], file, 1, "", 0);
	fd = memview_recv_fd(sock[1], buf, sizeof(buf), &received);
	assert_true(fd >= 0);
	assert_int_equal(received, 0);
	assert_true(same_file(fd, file));
	close(fd);
	close(file);
	close_pair(sock);
}

static void a_message_longer_than_the_buffer_is_emsgsize_and_its_fd_is_closed(void **state)
{
	int sock[2], file = make_file("x");
	size_t i, received;
	char buf[4];

	(void)state;
	for (i = 1; i < NR_TYPES; i++) {
		make_pair(types[i], sock);
		assert_int_equal(memview_send_fd(sock[0], file, "abcdef", 6), 6);
		assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), &received), -EMSGSIZE);
		assert_int_equal(errno, UNTOUCHED);
		assert_int_equal(received, 4);
		assert_memory_equal(buf, "abcd", 4);
		close_pair(sock);
	}
	close(file);
}

static void an_fd_that_finds_no_room_in_the_process_is_emfile(void **state)
{
	struct rlimit limit, none;
	int sock[2], file = make_file("x"), ret;
	size_t received = 99;
	char buf[8];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	assert_int_equal(memview_send_fd(sock[0], file, "abc", 3), 3);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	ret = memview_recv_fd(sock[1], buf, sizeof(buf), &received);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(ret, -EMFILE);
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(received, 3);
	close(file);
	close_pair(sock);
}

static void two_fds_of_which_one_finds_room_are_ebadmsg(void **state)
{
	struct rlimit limit, one;
	int sock[2], file = make_file("x"), spare, ret;
	char buf[8];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	send_raw(sock[0], file, 2, "abc", 3);
	spare = dup(file);
	assert_true(spare > file && spare > sock[1]);
	close(spare);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	one = limit;
	one.rlim_cur = spare + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &one), 0);
	ret = memview_recv_fd(sock[1], buf, sizeof(buf), NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(ret, -EBADMSG);
	close(file);
	close_pair(sock);
}

static void credentials_beside_the_fd_do_not_disturb(void **state)
{
	int sock[2], file = make_file("x"), fd, on = 1;
	char buf[8];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	assert_int_equal(setsockopt(sock[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	assert_int_equal(memview_send_fd(sock[0], file, "a", 1), 1);
	fd = memview_recv_fd(sock[1], buf, sizeof(buf), NULL);
	assert_true(fd >= 0);
	assert_true(same_file(fd, file));
	close(fd);
	send_raw(sock[0], file, 2, "a", 1);
	assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), NULL), -EBADMSG);
	close(file);
	close_pair(sock);
}

/*
 * The kernel adds a pidfd of the sender if asked to (since 6.5; before, there is
 * no such option and the case shows that one fd arrives alone).
 */
static void a_pidfd_beside_the_fd_is_closed(void **state)
{
	int sock[2], file = make_file("x"), fd, on = 1, ret;
	char buf[8];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	ret = setsockopt(sock[1], SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on));
	assert_true(ret == 0 || errno == ENOPROTOOPT);
	assert_int_equal(setsockopt(sock[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	assert_int_equal(memview_send_fd(sock[0], file, "a", 1), 1);
	fd = memview_recv_fd(sock[1], buf, sizeof(buf), NULL);
	assert_true(fd >= 0);
	assert_true(same_file(fd, file));
	close(fd);
	close(file);
	close_pair(sock);
}

/* --- sockets that cannot do it --- */

static void recv_of_nothing_on_a_nonblocking_socket_is_eagain(void **state)
{
	size_t received = 99;
	char buf[8];
	int sock[2];

	(void)state;
	make_pair(SOCK_STREAM | SOCK_NONBLOCK, sock);
	assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), &received), -EAGAIN);
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(received, 0);
	close_pair(sock);
}

static void recv_obeys_the_sockets_timeout(void **state)
{
	static const struct timeval timeout = { 0, 20000 };
	char buf[8];
	int sock[2];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	assert_int_equal(setsockopt(sock[1], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
	assert_int_equal(memview_recv_fd(sock[1], buf, sizeof(buf), NULL), -EAGAIN);
	close_pair(sock);
}

static void send_to_a_closed_socket_is_epipe_without_sigpipe(void **state)
{
	struct sigaction action = { .sa_handler = count_signal };
	int sock[2], file = make_file("x");

	(void)state;
	signals = 0;
	assert_int_equal(sigaction(SIGPIPE, &action, NULL), 0);
	make_pair(SOCK_STREAM, sock);
	close(sock[1]);
	assert_int_equal(memview_send_fd(sock[0], file, "abc", 3), -EPIPE);
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(signals, 0);
	signal(SIGPIPE, SIG_DFL);
	close(sock[0]);
	close(file);
}

static void send_to_an_unconnected_socket_is_enotconn(void **state)
{
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), file = make_file("x");

	(void)state;
	assert_int_equal(memview_send_fd(sock, file, "abc", 3), -ENOTCONN);
	close(sock);
	close(file);
}

static void send_over_another_family_is_eafnosupport_and_sends_nothing(void **state)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	int from = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int to = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(addr);
	int file = make_file("x");
	char buf[8];

	(void)state;
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(to, (struct sockaddr *)&addr, size), 0);
	assert_int_equal(getsockname(to, (struct sockaddr *)&addr, &size), 0);
	assert_int_equal(connect(from, (struct sockaddr *)&addr, size), 0);
	errno = UNTOUCHED;
	assert_int_equal(memview_send_fd(from, file, "abc", 3), -EAFNOSUPPORT);
	assert_int_equal(errno, UNTOUCHED);
	assert_int_equal(recv(to, buf, sizeof(buf), MSG_DONTWAIT), -1);
	close(from);
	close(to);
	close(file);
}

static void what_is_no_socket_is_enotsock(void **state)
{
	int file = make_file("x");
	char buf[8];

	(void)state;
	assert_int_equal(memview_send_fd(file, file, "abc", 3), -ENOTSOCK);
	assert_int_equal(memview_recv_fd(file, buf, sizeof(buf), NULL), -ENOTSOCK);
	assert_int_equal(errno, UNTOUCHED);
	close(file);
}

static void closed_descriptors_are_ebadf(void **state)
{
	int sock[2], file = make_file("x");
	char buf[8];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	assert_int_equal(memview_send_fd(-1, file, "abc", 3), -EBADF);
	assert_int_equal(memview_recv_fd(-1, buf, sizeof(buf), NULL), -EBADF);
	assert_int_equal(memview_send_fd(sock[0], -1, "abc", 3), -EBADF);
	assert_int_equal(recv(sock[1], buf, sizeof(buf), MSG_DONTWAIT), -1);
	close(file);
	close_pair(sock);
}

static void more_than_int_max_bytes_are_emsgsize(void **state)
{
	int sock[2], file = make_file("x");
	char buf[8];

	(void)state;
	make_pair(SOCK_STREAM, sock);
	assert_int_equal(memview_send_fd(sock[0], file, buf, (size_t)INT_MAX + 1), -EMSGSIZE);
	assert_int_equal(recv(sock[1], buf, sizeof(buf), MSG_DONTWAIT), -1);
	close(file);
	close_pair(sock);
}

static void a_message_larger_than_the_sockets_buffer_is_emsgsize(void **state)
{
	int sock[2], file = make_file("x");
	size_t len = 64 << 20;
	char *data = calloc(1, len);

	(void)state;
	assert_non_null(data);
	make_pair(SOCK_SEQPACKET, sock);
	assert_int_equal(memview_send_fd(sock[0], file, data, len), -EMSGSIZE);
	free(data);
	close(file);
	close_pair(sock);
}

/* --- waiting, signals and long messages --- */

static void recv_goes_on_waiting_after_signals(void **state)
{
	int sock[2], file = make_file("x"), fd;
	char buf[8];
	pid_t pid;

	(void)state;
	make_pair(SOCK_STREAM, sock);
	pid = fork_child(sock[1]);
	if (!pid) {
		pause_ms(40);
		_exit(memview_send_fd(sock[0], file, "a", 1) != 1);
	}
	start_signals();
	errno = UNTOUCHED;
	fd = memview_recv_fd(sock[1], buf, sizeof(buf), NULL);
	assert_int_equal(errno, UNTOUCHED);
	stop_signals();
	assert_true(fd >= 0);
	assert_true(same_file(fd, file));
	wait_for_child(pid);
	close(fd);
	close(file);
	close_pair(sock);
}

static void send_goes_on_waiting_after_signals(void **state)
{
	static const int on = 1;
	int sock[2], file = make_file("x"), fd, ret;
	char buf[64] = "";
	size_t received;
	pid_t pid;

	(void)state;
	make_pair(SOCK_STREAM, sock);
	/* No room, so that the first system call has to wait. */
	assert_int_equal(setsockopt(sock[0], SOL_SOCKET, SO_SNDBUF, &on, sizeof(on)), 0);
	while (send(sock[0], buf, 1, MSG_DONTWAIT) == 1)
		;
	pid = fork_child(sock[0]);
	if (!pid) {
		pause_ms(40);
		do {
			fd = memview_recv_fd(sock[1], buf, sizeof(buf), &received);
		} while (fd == -ENOMSG);
		_exit(fd < 0 || !same_file(fd, file) || buf[received - 1] != '!');
	}
	close(sock[1]);
	start_signals();
	errno = UNTOUCHED;
	ret = memview_send_fd(sock[0], file, "!", 1);
	assert_int_equal(errno, UNTOUCHED);
	stop_signals();
	assert_int_equal(ret, 1);
	close(sock[0]);
	wait_for_child(pid);
	close(file);
}

/* Receives len bytes slowly; returns how many descriptors came, all with byte 0. */
static int receive_slowly(int sock, const unsigned char *expected, size_t len)
{
	static unsigned char buf[65536];
	size_t done = 0, received;
	int fd, count = 0;

	while (done < len) {
		pause_ms(1);
		fd = memview_recv_fd(sock, buf, sizeof(buf), &received);
		if (fd < 0 && fd != -ENOMSG)
			return -1;
		if (fd >= 0 && (done || count++))
			return -1;
		if (memcmp(buf, expected + done, received))
			return -1;
		done += received;
	}
	return count;
}

static void a_long_send_cut_by_signals_arrives_whole_with_one_fd(void **state)
{
	int sock[2], file = make_file("x"), ret;
	size_t len = 8 << 20;
	unsigned char *data = malloc(len);
	pid_t pid;

	(void)state;
	assert_non_null(data);
	fill(data, len);
	make_pair(SOCK_STREAM, sock);
	pid = fork_child(sock[0]);
	if (!pid) {
		/* Signals first cut the send short, then find it waiting. */
		pause_ms(40);
		_exit(receive_slowly(sock[1], data, len) != 1);
	}
	close(sock[1]);
	start_signals();
	ret = memview_send_fd(sock[0], file, data, len);
	stop_signals();
	assert_int_equal(ret, len);
	close(sock[0]);
	wait_for_child(pid);
	free(data);
	close(file);
}

static void a_nonblocking_send_that_fills_the_socket_tells_how_far_it_came(void **state)
{
	int sock[2], file = make_file("x"), ret, fd;
	size_t len = 8 << 20, received, done = 0;
	unsigned char *data = malloc(len), *buf = malloc(len);

	(void)state;
	assert_non_null(data);
	assert_non_null(buf);
	fill(data, len);
	make_pair(SOCK_STREAM | SOCK_NONBLOCK, sock);
	ret = memview_send_fd(sock[0], file, data, len);
	assert_int_equal(errno, UNTOUCHED);
	assert_true(ret > 0 && (size_t)ret < len);
	assert_int_equal(memview_send_fd(sock[0], file, data, 1), -EAGAIN);
	assert_int_equal(errno, UNTOUCHED);

	fd = memview_recv_fd(sock[1], buf, len, &received);
	assert_true(fd >= 0);
	for (done = received; done < (size_t)ret; done += received)
		assert_int_equal(memview_recv_fd(sock[1], buf + done, len - done, &received),
				 -ENOMSG);
	assert_int_equal(done, ret);
	assert_memory_equal(buf, data, done);
	free(data);
	free(buf);
	close(fd);
	close(file);
	close_pair(sock);
}

static void a_peer_that_hangs_up_in_the_middle_of_a_send_ends_it(void **state)
{
	int sock[2], file = make_file("x"), ret;
	size_t len = 8 << 20;
	char *data = calloc(1, len), byte;
	pid_t pid;

	(void)state;
	assert_non_null(data);
	make_pair(SOCK_STREAM, sock);
	pid = fork_child(sock[0]);
	if (!pid)
		_exit(recv(sock[1], &byte, 1, 0) != 1);
	close(sock[1]);
	errno = UNTOUCHED;
	ret = memview_send_fd(sock[0], file, data, len);
	assert_int_equal(errno, UNTOUCHED);
	assert_true(ret > 0 && (size_t)ret < len);
	wait_for_child(pid);
	free(data);
	close(file);
	close(sock[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_received_fd_is_the_same_file_on_every_socket_type),
		CASE(the_received_fd_is_close_on_exec),
		CASE(the_data_arrives_with_the_fd_on_every_socket_type),
		CASE(without_data_the_fd_travels_with_one_byte_that_is_dropped),
		CASE(the_byte_in_place_of_data_is_zero),
		CASE(the_senders_fd_stays_open),
		CASE(a_file_written_by_another_process_is_read_here),
		CASE(each_message_of_a_stream_keeps_its_own_fd),
		CASE(a_short_receive_of_a_stream_leaves_the_rest_to_recv),
		CASE(received_may_be_null_on_failure_too),
		CASE(data_without_fd_is_enomsg_and_the_data_is_there),
		CASE(two_fds_are_ebadmsg_and_both_are_closed),
		CASE(three_fds_are_ebadmsg_and_all_are_closed),
		CASE(as_many_fds_as_fit_a_message_are_ebadmsg_and_all_are_closed),
		CASE(the_connection_is_usable_after_a_bad_message),
		CASE(end_of_file_is_epipe),
		CASE(an_fd_sent_before_the_close_still_arrives),
		CASE(an_empty_datagram_is_epipe),
		CASE(an_empty_datagram_with_an_fd_gives_the_fd),
		CASE(a_message_longer_than_the_buffer_is_emsgsize_and_its_fd_is_closed),
		CASE(an_fd_that_finds_no_room_in_the_process_is_emfile),
		CASE(two_fds_of_which_one_finds_room_are_ebadmsg),
		CASE(credentials_beside_the_fd_do_not_disturb),
		CASE(a_pidfd_beside_the_fd_is_closed),
		CASE(recv_of_nothing_on_a_nonblocking_socket_is_eagain),
		CASE(recv_obeys_the_sockets_timeout),
		CASE(send_to_a_closed_socket_is_epipe_without_sigpipe),
		CASE(send_to_an_unconnected_socket_is_enotconn),
		CASE(send_over_another_family_is_eafnosupport_and_sends_nothing),
		CASE(what_is_no_socket_is_enotsock),
		CASE(closed_descriptors_are_ebadf),
		CASE(more_than_int_max_bytes_are_emsgsize),
		CASE(a_message_larger_than_the_sockets_buffer_is_emsgsize),
		CASE(recv_goes_on_waiting_after_signals),
		CASE(send_goes_on_waiting_after_signals),
		CASE(a_long_send_cut_by_signals_arrives_whole_with_one_fd),
		CASE(a_nonblocking_send_that_fills_the_socket_tells_how_far_it_came),
		CASE(a_peer_that_hangs_up_in_the_middle_of_a_send_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
