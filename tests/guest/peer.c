// SPDX-License-Identifier: GPL-2.0
/* See peer.h. */
#include "peer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_PEERS	64
/* Nothing waits this long but a hang, whatever the emulation costs. */
#define HANG_MS		120000

struct command {
	op_fn fn;	/* NULL: keep the fd that comes along */
	long args[OP_ARGS];
};

struct shared *shared;
static struct peer peers[MAX_PEERS];

/* In a peer: its end of the socket. */
static int own_sock = -1;
/* An operation sets it to have a file descriptor sent with its outcome. */
static int give_fd = -1;

static sigjmp_buf *fault_env;
static siginfo_t fault_info;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!fault_env) {
		signal(sig, SIG_DFL);
		return;
	}
	fault_info = *info;
	siglongjmp(*fault_env, 1);
}

struct outcome probe(op_fn fn, const long *args)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	struct sigaction old_segv, old_bus;
	struct outcome o = { 0 };
	sigjmp_buf env;

	sigemptyset(&sa.sa_mask);
	sigaction(SIGSEGV, &sa, &old_segv);
	sigaction(SIGBUS, &sa, &old_bus);
	if (!sigsetjmp(env, 1)) {
		fault_env = &env;
		errno = 0;
		o.ret = fn(args);
		o.err = errno;
	} else {
		o.ret = -1;
		o.sig = fault_info.si_signo;
		o.code = fault_info.si_code;
		o.addr = (unsigned long)fault_info.si_addr;
	}
	fault_env = NULL;
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGBUS, &old_bus, NULL);
	return o;
}

static ssize_t send_with_fd(int sock, const void *buf, size_t len, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL);
}

static ssize_t recv_with_fd(int sock, void *buf, size_t len, int *fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.buf, .msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	return n;
}

static void __attribute__((noreturn)) serve(int sock)
{
	struct command cmd;
	int fd;

	own_sock = sock;
	while (recv_with_fd(sock, &cmd, sizeof(cmd), &fd) == sizeof(cmd)) {
		struct outcome o = { .ret = fd };

		give_fd = -1;
		if (cmd.fn)
			o = probe(cmd.fn, cmd.args);
		if (send_with_fd(sock, &o, sizeof(o), give_fd) < 0)
			break;
	}
	_exit(0);
}

static struct peer *new_peer(void)
{
	for (size_t i = 0; i < MAX_PEERS; i++) {
		if (!peers[i].used) {
			peers[i] = (struct peer){ .used = true, .sock = -1 };
			return &peers[i];
		}
	}
	return NULL;
}

static void close_all_but(int fd)
{
	if (fd > 3)
		close_range(3, fd - 1, 0);
	close_range(fd + 1, ~0U, 0);
}

/* A process with none of the test's file descriptors; NULL on failure. */
struct peer *peer_spawn(void)
{
	struct peer *p = new_peer();
	int sv[2];

	if (!p)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		goto err;
	p->pid = fork();
	if (p->pid < 0) {
		close(sv[0]);
		close(sv[1]);
		goto err;
	}
	if (!p->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		close_all_but(sv[1]);
		serve(sv[1]);
	}
	close(sv[1]);
	p->sock = sv[0];
	p->direct = true;
	return p;
err:
	p->used = false;
	return NULL;
}

static long op_fork(const long *a)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	/* Or the death of the parent would not hang up its socket. */
	close(own_sock);
	fault_env = NULL;
	serve((int)a[0]);
}

/* Has @parent fork: a process with all of its mappings and descriptors. */
struct peer *peer_fork(struct peer *parent)
{
	struct peer *p = new_peer();
	int sv[2], remote;

	if (!p)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv)) {
		p->used = false;
		return NULL;
	}
	remote = peer_send_fd(parent, sv[1]);
	close(sv[1]);
	p->sock = sv[0];
	p->pid = CALL(parent, op_fork, remote).ret;
	CALL(parent, op_close, remote);
	if (remote < 0 || p->pid <= 0) {
		close(p->sock);
		p->used = false;
		return NULL;
	}
	return p;
}

static void start(struct peer *p, op_fn fn, const long *args, int fd)
{
	struct command cmd = { .fn = fn };

	if (args)
		memcpy(cmd.args, args, sizeof(cmd.args));
	/* A peer that is gone shows in peer_wait(). */
	send_with_fd(p->sock, &cmd, sizeof(cmd), fd);
}

static void print_file(const char *dir, const char *task, const char *name)
{
	char path[128], text[2048];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", dir, task, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n > 0)
		fprintf(stderr, "%s: %.*s%s", path, (int)n, text,
			text[n - 1] == '\n' ? "" : "\n");
	if (fd >= 0)
		close(fd);
}

/* Where the threads of a process are: it hangs, and may never do so again. */
void print_stacks(pid_t pid)
{
	struct dirent *task;
	char dir[64];
	DIR *tasks;

	snprintf(dir, sizeof(dir), "/proc/%d/task", pid);
	tasks = opendir(dir);
	while (tasks && (task = readdir(tasks))) {
		if (task->d_name[0] == '.')
			continue;
		print_file(dir, task->d_name, "stat");
		print_file(dir, task->d_name, "stack");
		print_file(dir, task->d_name, "syscall");
	}
	if (tasks)
		closedir(tasks);
}

static struct outcome wait_fd(struct peer *p, int *fd)
{
	struct pollfd pfd = { .fd = p->sock, .events = POLLIN };
	struct outcome o;
	int n;

	*fd = -1;
	do {
		n = poll(&pfd, 1, HANG_MS);
	} while (n < 0 && errno == EINTR);
	if (n != 1) {
		fprintf(stderr, "process %d does not answer\n", p->pid);
		print_stacks(p->pid);
		sleep(1);
		print_stacks(p->pid);
	}
	if (n != 1 || recv_with_fd(p->sock, &o, sizeof(o), fd) != sizeof(o))
		o = (struct outcome){ .ret = -1, .err = ESRCH, .died = true };
	return o;
}

void peer_start(struct peer *p, op_fn fn, const long *args)
{
	start(p, fn, args, -1);
}

struct outcome peer_wait(struct peer *p)
{
	int fd;
	struct outcome o = wait_fd(p, &fd);

	if (fd >= 0)
		close(fd);
	return o;
}

struct outcome peer_call(struct peer *p, op_fn fn, const long *args)
{
	peer_start(p, fn, args);
	return peer_wait(p);
}

/* Returns the descriptor's number in the peer, -1 on failure. */
int peer_send_fd(struct peer *p, int fd)
{
	start(p, NULL, NULL, fd);
	return (int)peer_wait(p).ret;
}

static long op_give_fd(const long *a)
{
	give_fd = (int)a[0];
	return 0;
}

/* Returns a local duplicate of a descriptor of the peer, -1 on failure. */
int peer_take_fd(struct peer *p, int remote_fd)
{
	int fd;

	start(p, op_give_fd, ARGS(remote_fd), -1);
	wait_fd(p, &fd);
	return fd;
}

static void forget(struct peer *p)
{
	if (p->sock >= 0)
		close(p->sock);
	p->sock = -1;
	p->used = false;
}

/* Waits for the peer to end. Returns its wait(2) status, -1 if it hangs. */
int peer_reap(struct peer *p)
{
	struct pollfd pfd = { .fd = p->sock };
	int status = -1;

	/* The socket hangs up when the last process that has it is gone. */
	if (poll(&pfd, 1, HANG_MS) != 1 || !p->direct) {
		peer_kill(p);
		return -1;
	}
	waitpid(p->pid, &status, 0);
	forget(p);
	return status;
}

/* The peer is dead on return, and @p not to be used any more. */
void peer_kill(struct peer *p)
{
	struct pollfd pfd = { .fd = p->sock };

	kill(p->pid, SIGKILL);
	if (p->direct)
		waitpid(p->pid, NULL, 0);
	else
		poll(&pfd, 1, HANG_MS);
	forget(p);
}

/* Ends every process of the test that runs. */
void peers_end(void)
{
	/* Those forked by others first: their parents reap nothing. */
	for (int direct = 0; direct < 2; direct++) {
		for (size_t i = 0; i < MAX_PEERS; i++) {
			struct peer *p = &peers[i];

			if (!p->used || p->direct != direct)
				continue;
			kill(p->pid, SIGKILL);
			if (direct)
				waitpid(p->pid, NULL, 0);
			forget(p);
		}
	}
}

long op_read(const long *a)
{
	return (long)*(volatile uint64_t *)a[0];
}

long op_write(const long *a)
{
	*(volatile uint64_t *)a[0] = (uint64_t)a[1];
	return 0;
}

long op_exec(const long *a)
{
	return ((int (*)(void))a[0])();
}

long op_mmap(const long *a)
{
	int flags = a[4] ? (int)a[4] : MAP_SHARED;

	return (long)mmap(NULL, a[1], (int)a[2], flags, (int)a[0], a[3]);
}

long op_munmap(const long *a)
{
	return munmap((void *)a[0], a[1]);
}

long op_mprotect(const long *a)
{
	return mprotect((void *)a[0], a[1], (int)a[2]);
}

long op_mremap(const long *a)
{
	return (long)mremap((void *)a[0], a[1], a[2], (int)a[3], (void *)a[4]);
}

long op_madvise(const long *a)
{
	return madvise((void *)a[0], a[1], (int)a[2]);
}

long op_reserve(const long *a)
{
	return (long)mmap(NULL, a[0], PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

long op_close(const long *a)
{
	return close((int)a[0]);
}

/*
 * Page faults it takes to read a word of each page of a span. Entries of a view
 * cannot be seen otherwise: /proc/self/pagemap skips VM_PFNMAP mappings.
 */
long op_faults_reading(const long *a)
{
	long page = sysconf(_SC_PAGESIZE);
	struct rusage before, after;

	/* Twice: what the call itself needs is there then. */
	getrusage(RUSAGE_SELF, &before);
	getrusage(RUSAGE_SELF, &after);
	getrusage(RUSAGE_SELF, &before);
	for (long i = 0; i < a[1]; i += page)
		(void)*(volatile uint64_t *)(a[0] + i);
	getrusage(RUSAGE_SELF, &after);
	return after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
}

long op_nr_maps(const long *a)
{
	FILE *f = fopen("/proc/self/maps", "re");
	long lines = 0;
	int c;

	(void)a;
	if (!f)
		return -1;
	while ((c = getc(f)) != EOF)
		lines += c == '\n';
	fclose(f);
	return lines;
}

/* A fault whose signal nobody handles: only an unfaulted access returns. */
long op_die_touching(const long *a)
{
	static const int sigs[] = { SIGSEGV, SIGBUS };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < 2; i++) {
		signal(sigs[i], a[1] == DIE_IGNORED ? SIG_IGN : SIG_DFL);
		sigaddset(&set, sigs[i]);
	}
	if (a[1] == DIE_BLOCKED)
		sigprocmask(SIG_BLOCK, &set, NULL);
	return op_read(a);
}

/*
 * Writes an ever growing word to @a[0], the count of all writes so far, and
 * survives being cut off; until shared->stop is set.
 */
long op_hammer(const long *a)
{
	sigjmp_buf *outer = fault_env, env;
	volatile uint64_t *word = (volatile uint64_t *)a[0];

	while (!atomic_load(&shared->stop)) {
		if (sigsetjmp(env, 1)) {
			atomic_fetch_add(&shared->faults, 1);
			continue;
		}
		fault_env = &env;
		for (int i = 0; i < 100; i++)
			*word = atomic_fetch_add(&shared->loops, 1) + 1;
		atomic_store(&shared->ready, 1);
	}
	fault_env = outer;
	return 0;
}

long op_exit(const long *a)
{
	_exit((int)a[0]);
}
