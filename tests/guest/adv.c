// SPDX-License-Identifier: GPL-2.0
/* See adv.h. */
#include "adv.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool mapping_at(unsigned long addr, struct mapping *m)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	bool found = false;
	char line[512];

	assert_non_null(maps);
	while (!found && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %4s %lx", &m->start, &m->end, m->prot,
			   &m->offset) == 4)
			found = m->start <= addr && addr < m->end;
	}
	fclose(maps);
	return found;
}

char *source_at(struct fixture *f, unsigned long page)
{
	uint64_t addr = source_addr_at(f->ctl, page);

	assert_int_not_equal(addr, 0);
	return (char *)(uintptr_t)addr;
}

struct mapping source_mapping(struct fixture *f, unsigned long page)
{
	struct mapping m;

	if (!mapping_at((unsigned long)source_at(f, page), &m))
		fail_msg("the source of page %lu is not mapped", page);
	return m;
}

size_t unit(struct fixture *f)
{
	return backing_block(f->backing);
}

void lend(struct fixture *f, unsigned long nr, uint32_t rights)
{
	map_pages(f, 0, 0, nr, rights);
	for (unsigned long i = 0; i < nr; i++) {
		READS(f, i, WORD(i));
		if (rights & W)
			WRITES(f, i, WORD(i));
	}
}

void check_not_foreign(struct fixture *f, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		struct outcome o = CALL(f->peer, op_read, AT(f, i));

		assert_false(o.died);
		if (!o.sig && (uint64_t)o.ret != WORD(i))
			fail_msg("page %lu of the view shows %#lx, not the file's word", i,
				 o.ret);
		if (o.sig && o.sig != SIGBUS)
			fail_msg("page %lu of the view: signal %d", i, o.sig);
		CALL(f->peer, op_write, AT(f, i), (long)WORD(i));
	}
}

bool still_busy(struct peer *p)
{
	struct pollfd pfd = { .fd = p->sock, .events = POLLIN };

	return poll(&pfd, 1, 0) == 0;
}

struct outcome wait_within(struct peer *p, const char *what, const char *file, int line)
{
	struct pollfd pfd = { .fd = p->sock, .events = POLLIN };
	int n;

	do {
		n = poll(&pfd, 1, WITHIN_SECONDS * 1000);
	} while (n < 0 && errno == EINTR);
	if (n != 1) {
		print_error("process %d hangs: %s\n", p->pid, what);
		_fail(file, line);
	}
	return peer_wait(p);
}

bool asleep(struct peer *p)
{
	char path[64], line[256];
	char state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", p->pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (fgets(line, sizeof(line), file)) {
		char *end = strrchr(line, ')');

		if (end)
			state = end[2];
	}
	fclose(file);
	return state == 'S' || state == 'D';
}

bool put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text);
}

long get_number(const char *path)
{
	FILE *file = fopen(path, "re");
	long n = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &n) != 1)
		n = -1;
	fclose(file);
	return n;
}

long get_field(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	size_t len = strlen(key);
	char line[256];
	long n = -1;

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, key, len) && (line[len] == ':' || line[len] == ' '))
			n = strtol(line + len + 1, NULL, 10);
	}
	fclose(file);
	return n;
}

static long scan_once(const long *a)
{
	long bad = 0;

	for (long i = 0; i < a[1]; i++) {
		uint64_t word = *(volatile uint64_t *)(a[0] + i * PAGE);

		bad += word && word != WORD(a[2] + i);
	}
	return bad;
}

long op_scan(const long *a)
{
	while (!atomic_load(&shared->stop)) {
		struct outcome o = probe(scan_once, a);

		if (o.sig)
			atomic_fetch_add(&shared->faults, 1);
		else if (o.ret)
			atomic_fetch_add(&shared->bad, o.ret);
		atomic_fetch_add(&shared->loops, 1);
	}
	return 0;
}

/* Each page: must hold @a[2], gets @a[3]. */
static long count_once(const long *a)
{
	long bad = 0;

	for (long i = 0; i < a[1]; i++) {
		volatile uint64_t *word = (volatile uint64_t *)(a[0] + i * PAGE);

		bad += *word != (uint64_t)a[2];
		*word = (uint64_t)a[3];
	}
	return bad;
}

long op_count_to(const long *a)
{
	for (long n = 0; n < a[2]; n++) {
		if (count_once(ARGS(a[0], a[1], n, n + 1)))
			atomic_fetch_add(&shared->bad, 1);
		atomic_fetch_add(&shared->loops, 1);
	}
	return a[2];
}

long op_count_up(const long *a)
{
	long n = 0;

	while (!atomic_load(&shared->stop)) {
		if (count_once(ARGS(a[0], a[1], n, n + 1)))
			atomic_fetch_add(&shared->bad, 1);
		n++;
		atomic_fetch_add(&shared->loops, 1);
	}
	return n;
}

/* Every advice there may be, but those that break memory for good. */
long op_madvise_all(const long *a)
{
	long taken = 0;

	for (int advice = 0; advice < 110; advice++) {
		if (advice == MADV_HWPOISON || advice == MADV_SOFT_OFFLINE)
			continue;
		taken += !madvise((void *)a[0], a[1], advice);
	}
	return taken;
}

long op_ctl_open(const long *a)
{
	int ctl = mv_open();

	if (ctl >= 0 && mv_set_size(ctl, a[0])) {
		close(ctl);
		return -1;
	}
	return ctl;
}

long op_ctl_map(const long *a)
{
	return mv_map((int)a[0], (int)a[1], a[2] * PAGE, a[3] * PAGE, a[4] * PAGE,
		      (uint32_t)a[5]);
}

long op_ctl_unmap(const long *a)
{
	return mv_unmap((int)a[0], a[1] * PAGE, a[2] * PAGE, NULL);
}

long op_ctl_protect(const long *a)
{
	return mv_protect((int)a[0], a[1] * PAGE, a[2] * PAGE, (uint32_t)a[3]);
}

long op_ctl_viewfd(const long *a)
{
	return mv_viewfd((int)a[0]);
}

long op_ctl_revoke(const long *a)
{
	return mv_revoke((int)a[0]);
}

long op_ctl_source(const long *a)
{
	struct memview_query_info q;
	struct memview_range_info r;

	if (mv_query((int)a[0], a[1] * PAGE, &r, 1, &q))
		return -1;
	errno = ENOENT;
	if (!q.count || r.mem_offset > a[1] * PAGE || !r.source_addr)
		return -1;
	return (long)(r.source_addr + (a[1] * PAGE - r.mem_offset));
}

long op_memfd(const long *a)
{
	int fd = backing_create(MEMFD, a[0]);

	for (unsigned long i = 0; fd >= 0 && i * PAGE < (unsigned long)a[0]; i++)
		if (!file_set_word(fd, i * PAGE, WORD(a[1] + i)))
			return -1;
	return fd;
}

long op_fill(const long *a)
{
	for (long i = 0; i < a[1]; i++)
		*(volatile uint64_t *)(a[0] + i * PAGE) = (uint64_t)a[2];
	return 0;
}

long op_write_text(const long *a)
{
	return put_text((const char *)a[0], (const char *)a[1]) ? 0 : -1;
}

void wait_loops(unsigned long more)
{
	unsigned long from = atomic_load(&shared->loops);

	if (!EVENTUALLY(atomic_load(&shared->loops) - from >= more))
		fail_msg("the peers' loops make no progress");
}
