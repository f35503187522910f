// SPDX-License-Identifier: GPL-2.0
#include "backend.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"

#define POLL_US		20000
#define STOP_MS		5000
#define LOG_TAIL	1000

int backend_version(char *buf, size_t len)
{
	FILE *pipe = popen(BACKEND_PROGRAM " --version 2>&1", "re");
	char *line;
	int status;

	if (!pipe)
		return -errno;
	line = fgets(buf, len, pipe);
	status = pclose(pipe);
	if (!line || status)
		return -ENOENT;
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

/* In an option of QEMU's, a comma in a value is written twice. */
static int escape_commas(char *to, size_t room, const char *from)
{
	size_t i = 0;

	for (; *from; from++) {
		if (i + 3 > room)
			return -ENAMETOOLONG;
		to[i++] = *from;
		if (*from == ',')
			to[i++] = ',';
	}
	to[i] = '\0';
	return 0;
}

/* In the child. */
static void __attribute__((noreturn)) run(const struct backend *backend, const char *blockdev,
					  const char *export, pid_t parent, int log)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The parent may have died before that. */
	if (getppid() != parent || null < 0)
		_exit(127);
	dup2(null, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	execlp(BACKEND_PROGRAM, BACKEND_PROGRAM, "--blockdev", blockdev, "--export", export,
	       (char *)NULL);
	dprintf(STDERR_FILENO, "cannot run %s for %s: %s\n", BACKEND_PROGRAM, backend->socket,
		strerror(errno));
	_exit(127);
}

int backend_start(struct backend *backend, const char *dir, const char *image)
{
	char path[2 * PATH_MAX], blockdev[2 * PATH_MAX + 100], export[400];
	pid_t parent = getpid();
	int log, ret, len;

	*backend = (struct backend) { 0 };
	len = snprintf(backend->socket, sizeof(backend->socket), "%s/blk.sock", dir);
	if (len >= (int)sizeof(backend->socket))
		return -ENAMETOOLONG;
	snprintf(backend->log, sizeof(backend->log), "%s/blk.log", dir);
	ret = escape_commas(path, sizeof(path), image);
	if (ret)
		return ret;
	/*
	 * io_uring, because a thread pool copies multi-segment requests with its
	 * own instructions; page cache, because O_DIRECT needs get_user_pages(),
	 * which view memory refuses.
	 */
	snprintf(blockdev, sizeof(blockdev),
		 "driver=file,node-name=disk,aio=io_uring,cache.direct=off,filename=%s", path);
	ret = escape_commas(path, sizeof(path), backend->socket);
	if (ret)
		return ret;
	len = snprintf(export, sizeof(export),
		       "type=vhost-user-blk,id=blk,node-name=disk,writable=on,"
		       "addr.type=unix,addr.path=%s", path);
	if (len >= (int)sizeof(export))
		return -ENAMETOOLONG;
	log = open(backend->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (log < 0)
		return -errno;
	detail("%s --blockdev %s --export %s", BACKEND_PROGRAM, blockdev, export);
	unlink(backend->socket);
	backend->pid = fork();
	if (!backend->pid)
		run(backend, blockdev, export, parent, log);
	ret = backend->pid < 0 ? -errno : 0;
	if (ret)
		backend->pid = 0;
	close(log);
	return ret;
}

bool backend_alive(struct backend *backend)
{
	if (!backend->pid)
		return false;
	if (!backend->ended)
		backend->ended = waitpid(backend->pid, &backend->wait_status, WNOHANG) ==
				 backend->pid;
	return !backend->ended;
}

int backend_connect(struct backend *backend, int timeout_ms)
{
	uint64_t deadline = now_ns() + timeout_ms * 1000000ULL;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ret;

	if (sock < 0)
		return -errno;
	memcpy(addr.sun_path, backend->socket, strlen(backend->socket) + 1);
	while (connect(sock, (struct sockaddr *)&addr, sizeof(addr))) {
		ret = -errno;
		/* Not there yet, there but not listening yet, or interrupted. */
		if (ret != -ENOENT && ret != -ECONNREFUSED && ret != -EINTR)
			goto fail;
		ret = -ECHILD;
		if (!backend_alive(backend))
			goto fail;
		ret = -ETIMEDOUT;
		if (now_ns() > deadline)
			goto fail;
		usleep(POLL_US);
	}
	return sock;
fail:
	close(sock);
	return ret;
}

void backend_describe(struct backend *backend, char *buf, size_t len)
{
	if (backend_alive(backend))
		snprintf(buf, len, "it lives, pid %d", backend->pid);
	else if (!backend->pid)
		snprintf(buf, len, "it was not started");
	else if (WIFSIGNALED(backend->wait_status))
		snprintf(buf, len, "it was killed by SIG%s",
			 sigabbrev_np(WTERMSIG(backend->wait_status)));
	else
		snprintf(buf, len, "it ended with exit status %d",
			 WEXITSTATUS(backend->wait_status));
}

void backend_say_log(struct backend *backend)
{
	char text[LOG_TAIL + 1], *line, *rest = text;
	FILE *log = fopen(backend->log, "re");
	size_t len;

	if (!log)
		return;
	if (fseek(log, -LOG_TAIL, SEEK_END))
		rewind(log);
	len = fread(text, 1, LOG_TAIL, log);
	text[len] = '\0';
	fclose(log);
	while ((line = strsep(&rest, "\n")))
		if (*line)
			say("  %s: %s", BACKEND_PROGRAM, line);
}

int backend_mapping(struct backend *backend, int fd, char *buf, size_t len)
{
	char path[64], line[512], span[80];
	unsigned int major, minor;
	unsigned long long ino;
	struct stat st;
	FILE *maps;

	if (fstat(fd, &st))
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/maps", backend->pid);
	maps = fopen(path, "re");
	if (!maps)
		return -errno;
	*buf = '\0';
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%79s %*s %*s %x:%x %llu", span, &major, &minor, &ino) != 4)
			continue;
		if (ino == st.st_ino && makedev(major, minor) == st.st_dev) {
			snprintf(buf, len, "%s", span);
			break;
		}
	}
	fclose(maps);
	return 0;
}

void backend_stop(struct backend *backend)
{
	uint64_t deadline = now_ns() + STOP_MS * 1000000ULL;

	if (!backend->pid)
		return;
	if (backend_alive(backend))
		kill(backend->pid, SIGTERM);
	while (backend_alive(backend) && now_ns() < deadline)
		usleep(POLL_US);
	if (backend_alive(backend)) {
		kill(backend->pid, SIGKILL);
		waitpid(backend->pid, &backend->wait_status, 0);
	}
	unlink(backend->socket);
	unlink(backend->log);
	*backend = (struct backend) { 0 };
}
