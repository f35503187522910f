// SPDX-License-Identifier: GPL-2.0
#include "vmm_death.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image.h"
#include "memview.h"
#include "report.h"
#include "vmm.h"

#define SEED		6
#define SETTLE_MS	1000

/* What the probe saw at one place. */
struct sight {
	int signal;
	int code;
	uint8_t value;
};

/* The place that the probe reads before and after, and one only after. */
enum { TOUCHED, UNTOUCHED, NR_PLACES };

static const uint64_t places[NR_PLACES] = {
	[TOUCHED] = GUEST_BUFFERS,
	[UNTOUCHED] = GUEST_BUFFERS + GUEST_BUFFERS_SIZE - 4096,
};

/* The VMM's process: make a VMM, use it, lend it out, wait to be killed. */
static void __attribute__((noreturn)) vmm_process(struct backend *backend, bool plain, int sock)
{
	struct blk_segment segment = { GUEST_BUFFERS, GUEST_SLOT_SIZE };
	uint8_t status = VIRTIO_BLK_S_IOERR;
	struct vmm vmm;

	if (vmm_start(&vmm, backend, plain))
		_exit(1);
	pattern_fill(guest_ptr(&vmm.mem, GUEST_BUFFERS), SEED, 0, GUEST_BUFFERS_SIZE);
	if (blk_do(&vmm.blk, VIRTIO_BLK_T_OUT, 0, &segment, 1, &status, VMM_TIMEOUT_MS) ||
	    status != VIRTIO_BLK_S_OK)
		_exit(2);
	if (guest_memory_say_table(&vmm.mem))
		_exit(3);
	if (memview_send_fd(sock, vmm.mem.share_fd, NULL, 0) < 0)
		_exit(4);
	for (;;)
		pause();
}

static sigjmp_buf probe_jump;
static struct sight probe_signal;

static void on_probe_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	probe_signal.signal = number;
	probe_signal.code = info->si_code;
	siglongjmp(probe_jump, 1);
}

static struct sight look(const uint8_t *addr)
{
	struct sight sight = { 0 };

	if (sigsetjmp(probe_jump, 1))
		return probe_signal;
	sight.value = *(const volatile uint8_t *)addr;
	return sight;
}

/* The probe's process: map, tell what is there, wait for a byte, tell again. */
static void __attribute__((noreturn)) probe_process(int fd, int sock)
{
	struct sigaction action = { .sa_sigaction = on_probe_signal, .sa_flags = SA_SIGINFO };
	struct sight sight;
	uint8_t *base;
	char go;

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	base = mmap(NULL, GUEST_RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		_exit(1);
	sight = look(base + places[TOUCHED]);
	if (send(sock, &sight, sizeof(sight), MSG_NOSIGNAL) != sizeof(sight))
		_exit(2);
	if (recv(sock, &go, 1, 0) != 1)
		_exit(3);
	sight = look(base + places[TOUCHED]);
	if (send(sock, &sight, sizeof(sight), MSG_NOSIGNAL) != sizeof(sight))
		_exit(4);
	sight = look(base + places[UNTOUCHED]);
	if (send(sock, &sight, sizeof(sight), MSG_NOSIGNAL) != sizeof(sight))
		_exit(5);
	_exit(0);
}

/* Forks; the child gets its end of a socket pair, the parent the other. */
static pid_t fork_with_socket(int *sock, bool *child)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (pid < 0) {
		pid = -errno;
		close(pair[0]);
		close(pair[1]);
		return pid;
	}
	*child = !pid;
	*sock = pair[*child];
	close(pair[!*child]);
	/* None of them outlives the demo. */
	if (*child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static int wait_readable(int sock)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	int ret;

	do
		ret = poll(&pfd, 1, 2 * VMM_TIMEOUT_MS);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret ? 0 : -ETIMEDOUT;
}

static int receive_sight(int sock, struct sight *sight)
{
	int ret = wait_readable(sock);
	ssize_t got;

	if (ret)
		return ret;
	got = recv(sock, sight, sizeof(*sight), MSG_WAITALL);
	return got == sizeof(*sight) ? 0 : got < 0 ? -errno : -EPIPE;
}

static const char *sight_name(const struct sight *sight)
{
	if (!sight->signal)
		return "it can read it";
	if (sight->signal == SIGBUS && sight->code == BUS_ADRERR)
		return "SIGBUS (BUS_ADRERR)";
	return sight->signal == SIGBUS ? "SIGBUS of another code" : "SIGSEGV";
}

static int start_probe(int fd, pid_t *pid, int *sock)
{
	struct sight sight;
	uint8_t expected[8];
	bool child;
	int ret;

	*pid = fork_with_socket(sock, &child);
	if (*pid < 0)
		return *pid;
	if (child)
		probe_process(fd, *sock);
	ret = receive_sight(*sock, &sight);
	if (ret) {
		trouble("the probe cannot map the fd");
		return ret;
	}
	pattern_fill(expected, SEED, 0, sizeof(expected));
	claim(!sight.signal && sight.value == expected[0],
	      "control: a probe that has mapped the same fd can read the VMM's data (%s)",
	      sight_name(&sight));
	return 0;
}

static int kill_vmm(pid_t pid)
{
	uint64_t start = now_ns();
	int status;

	if (kill(pid, SIGKILL))
		return -errno;
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		trouble("the VMM ended by itself");
		return -ECHILD;
	}
	say("the VMM, pid %d, was killed, and gone after %d us", pid,
	    (int)((now_ns() - start) / 1000));
	return 0;
}

static int claim_dead(int sock, bool plain)
{
	static const char *const names[NR_PLACES] = {
		[TOUCHED] = "the page that it had read",
		[UNTOUCHED] = "a page that it had not touched",
	};
	struct sight sight;
	int i, ret;

	if (send(sock, "", 1, MSG_NOSIGNAL) != 1)
		return -EPIPE;
	for (i = 0; i < NR_PLACES; i++) {
		uint8_t expected[8];

		ret = receive_sight(sock, &sight);
		if (ret)
			return ret;
		pattern_fill(expected, SEED, places[i] - GUEST_BUFFERS, sizeof(expected));
		if (plain)
			claim(!sight.signal && sight.value == expected[0],
			      "the probe, on %s: %s still", names[i], sight_name(&sight));
		else
			claim(sight.signal == SIGBUS && sight.code == BUS_ADRERR,
			      "the probe, on %s: %s", names[i], sight_name(&sight));
	}
	return 0;
}

/*
 * Whether the back-end lives is told, not judged: it has lost all its memory.
 * But if it does, it has to work.
 */
static void say_fate(struct backend *backend, bool plain)
{
	uint64_t deadline = now_ns() + SETTLE_MS * 1000000ULL;
	struct vmm vmm;
	char text[80];

	while (backend_alive(backend) && now_ns() < deadline)
		usleep(20000);
	backend_describe(backend, text, sizeof(text));
	say("the back-end: %s", text);
	if (backend_alive(backend) && !vmm_start(&vmm, backend, plain)) {
		struct blk_segment segment = { GUEST_BUFFERS, GUEST_SLOT_SIZE };
		uint8_t status = VIRTIO_BLK_S_IOERR;
		int ret = blk_do(&vmm.blk, VIRTIO_BLK_T_IN, 0, &segment, 1, &status,
				 VMM_TIMEOUT_MS);

		say("the next VMM's first request: %s",
		    ret ? strerror(-ret) : blk_status_name(status));
		vmm_stop(&vmm);
	}
}

static void reap_child(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int vmm_death(struct backend *backend, bool plain)
{
	int vmm_sock = -1, probe_sock = -1, fd = -1, ret;
	pid_t vmm = 0, probe = 0;
	bool child;

	/*
	 * A view belongs to the process that maps into it, so that process is
	 * forked first and makes its own.
	 */
	vmm = fork_with_socket(&vmm_sock, &child);
	if (vmm < 0)
		return vmm;
	if (child)
		vmm_process(backend, plain, vmm_sock);
	ret = wait_readable(vmm_sock);
	if (ret)
		goto out;
	fd = memview_recv_fd(vmm_sock, NULL, 0, NULL);
	if (fd < 0) {
		trouble("the VMM did not come up");
		ret = fd;
		goto out;
	}
	ret = start_probe(fd, &probe, &probe_sock);
	if (ret)
		goto out;
	ret = kill_vmm(vmm);
	vmm = 0;
	if (!ret)
		ret = claim_dead(probe_sock, plain);
	if (!ret)
		say_fate(backend, plain);
out:
	reap_child(probe);
	reap_child(vmm);
	if (probe_sock >= 0)
		close(probe_sock);
	close(vmm_sock);
	if (fd >= 0)
		close(fd);
	return ret;
}
