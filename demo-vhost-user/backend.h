/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The back-end: a qemu-storage-daemon as the distribution ships it.
 *
 * Functions return 0 or -errno.
 */
#ifndef DEMO_BACKEND_H
#define DEMO_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BACKEND_PROGRAM	"qemu-storage-daemon"

/**
 * struct backend - a running, or ended, storage daemon
 * @pid: process, 0 if none was started
 * @ended: it has ended, with @wait_status as of waitpid(2)
 * @wait_status: see @ended
 * @socket: path of its vhost-user socket
 * @log: path of what it said
 */
struct backend {
	pid_t pid;
	bool ended;
	int wait_status;
	char socket[100];
	char log[100];
};

/* The first line of its --version. -ENOENT: not installed. */
int backend_version(char *buf, size_t len);

/**
 * backend_start() - start a daemon that exports @image over vhost-user-blk
 * @backend: set
 * @dir: where to put socket and log; a short path, as socket paths are short
 * @image: path of a raw image
 *
 * The daemon dies with the calling thread. It is up when backend_connect()
 * succeeds.
 *
 * Return: 0, or -ENAMETOOLONG, or the errnos of fork(2) and open(2).
 */
int backend_start(struct backend *backend, const char *dir, const char *image);

/**
 * backend_connect() - connect to its socket, waiting until that is there
 *
 * Usable in a forked child too.
 *
 * Return: a socket, close-on-exec, or
 * -ETIMEDOUT: no connection in time;
 * -ECHILD: the daemon has ended (not noticed in a forked child).
 */
int backend_connect(struct backend *backend, int timeout_ms);

/* Is it running? Not for a forked child. */
bool backend_alive(struct backend *backend);

/* What it is doing, or what it died of, for people. */
void backend_describe(struct backend *backend, char *buf, size_t len);

/* Say the last lines of its log. */
void backend_say_log(struct backend *backend);

/**
 * backend_mapping() - where the back-end has mapped a file, seen from outside
 * @backend: a running daemon
 * @fd: the file
 * @buf: set to the address range as /proc/PID/maps has it; "" if there is none
 * @len: bytes in @buf
 */
int backend_mapping(struct backend *backend, int fd, char *buf, size_t len);

/* End it, and remove its socket and log. */
void backend_stop(struct backend *backend);

#endif /* DEMO_BACKEND_H */
