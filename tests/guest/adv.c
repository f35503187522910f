// SPDX-License-Identifier: GPL-2.0
/* See adv.h. */
#include "adv.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
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

size_t span(struct fixture *f, unsigned long nr)
{
	return (nr * PAGE + unit(f) - 1) & -unit(f);
}

/*
 * hugetlb_split() of Debian's 6.1 kernels asserts a lock that no caller takes
 * there: each munmap(2) of a part of any shared hugetlb mapping is a WARNING.
 */
void need_split(struct fixture *f)
{
	struct utsname name;

	uname(&name);
	if (f->backing == HUGETLB && !strncmp(name.release, "6.1.", 4) &&
	    !access("/proc/lockdep", F_OK))
		SKIP("this kernel warns whenever a hugetlb mapping is split");
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
		print_stacks(p->pid);
		_fail(file, line);
	}
	return peer_wait(p);
}

/*
 * Without malloc(3): a fault that waits in the controller's address space would
 * make brk(2) there wait, too.
 */
char state_of(pid_t tid)
{
	char path[64], line[256], *end;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, line, sizeof(line) - 1);
	close(fd);
	line[n > 0 ? n : 0] = 0;
	end = strrchr(line, ')');
	return end ? end[2] : 0;
}

/* All CPUs but the first. */
bool set_other_cpus(const char *online)
{
	long nr = sysconf(_SC_NPROCESSORS_CONF);

	for (long cpu = 1; cpu < nr; cpu++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%ld/online", cpu);
		if (!put_text(path, online))
			return false;
	}
	return true;
}

bool asleep(struct peer *p)
{
	char state = state_of(p->pid);

	return state == 'S' || state == 'D';
}

bool shell(const char *command)
{
	char line[512];

	fflush(stdout);
	snprintf(line, sizeof(line), "cd %s && { %s; } >/dev/null 2>&1", scratch_dir(), command);
	return !system(line);
}

void need_overlay(void)
{
	if (!scratch_dir())
		SKIP("no scratch directory");
	if (!shell("test -e " OVERLAY "here") &&
	    !shell("mkdir -p " OVERLAY_LOWER " ovl/upper ovl/work " OVERLAY " && "
		   "touch " OVERLAY_LOWER "here && modprobe -q overlay; "
		   "mount -t overlay -o lowerdir=" OVERLAY_LOWER ",upperdir=ovl/upper,"
		   "workdir=ovl/work overlay " OVERLAY))
		SKIP("cannot mount an overlay");
}

long sleeps_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return get_field(path, "voluntary_ctxt_switches");
}

bool waits_in_kernel(struct peer *p)
{
	/* What runs now and then is not seen to wait each time. */
	for (int i = 0, times = 0; i < 200 && still_busy(p); i++) {
		times = state_of(p->pid) == 'D' ? times + 1 : 0;
		if (times == 10)
			return true;
		nap();
	}
	return false;
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

/* ---- who has a CPU ---- */

#define HOG_PATIENCE	20	/* seconds */

enum { HOG_BEGINS, HOG_HAS_IT, HOG_ENDS };

long op_pin(const long *a)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (a[0] < 0 || a[0] == cpu)
			CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

long op_be_realtime(const long *a)
{
	const struct sched_param param = { .sched_priority = (int)a[1] };

	return op_pin(a) || sched_setscheduler(0, SCHED_FIFO, &param);
}

static long op_hog(const long *a)
{
	struct timespec since, now;

	(void)a;
	clock_gettime(CLOCK_MONOTONIC, &since);
	atomic_store(&shared->ready, HOG_HAS_IT);
	while (atomic_load(&shared->ready) != HOG_ENDS) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - since.tv_sec > HOG_PATIENCE)
			return 0;
	}
	return 1;
}

struct peer *hog_spawn(int cpu)
{
	struct peer *hog = peer_spawn();

	assert_true(put_text("/proc/sys/kernel/sched_rt_runtime_us", "-1"));
	EXPECT_CALL(hog, op_be_realtime, cpu, 50);
	return hog;
}

void hog_begin(struct peer *hog)
{
	atomic_store(&shared->ready, HOG_BEGINS);
	START(hog, op_hog);
	while (atomic_load(&shared->ready) == HOG_BEGINS)
		usleep(100);
}

bool hog_end(struct peer *hog)
{
	atomic_store(&shared->ready, HOG_ENDS);
	return check_returned(FINISH(hog, "having a CPU"), "hog", __FILE__, __LINE__);
}

void hog_reap(struct peer *hog)
{
	peer_kill(hog);
	put_text("/proc/sys/kernel/sched_rt_runtime_us", "950000");
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

void controller_start(struct controller *c, unsigned long base, uint32_t flags)
{
	c->peer = peer_spawn();
	assert_non_null(c->peer);
	c->fd = EXPECT_CALL(c->peer, op_memfd, CTL_PAGES * PAGE, base);
	controller_lend(c, flags);
}

void controller_lend(struct controller *c, uint32_t flags)
{
	int fd;

	c->ctl = EXPECT_CALL(c->peer, op_ctl_open, CTL_PAGES * PAGE);
	EXPECT_CALL(c->peer, op_ctl_map, c->ctl, c->fd, 0, CTL_PAGES, 0, flags);
	fd = EXPECT_CALL(c->peer, op_ctl_viewfd, c->ctl);
	c->viewfd = peer_take_fd(c->peer, fd);
	assert_true(c->viewfd >= 0);
	EXPECT_CALL(c->peer, op_close, fd);
}

unsigned long map_view(struct peer *p, int viewfd, int prot)
{
	int fd = peer_send_fd(p, viewfd);
	unsigned long view;

	assert_true(fd >= 0);
	view = EXPECT_CALL(p, op_mmap, fd, CTL_PAGES * PAGE, prot, 0);
	EXPECT_CALL(p, op_close, fd);
	return view;
}

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED	(1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC		(1 << 15)
#endif

static long harass_page(const long *a)
{
	volatile uint64_t *word = (volatile uint64_t *)a[0];
	long bad = *word == CANARY;

	*word = SECRET;
	return bad;
}

long op_mark(const long *a)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC,
	};
	struct uffdio_register reg = {
		.range = { .start = a[0], .len = a[1] }, .mode = UFFDIO_REGISTER_MODE_WP,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), err;

	if (fd < 0)
		return -1;
	if (!ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &reg) &&
	    (!a[2] || !op_write_protect(ARGS(fd, a[0], a[1], true))))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

long op_write_protect(const long *a)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = a[1], .len = a[2] },
		.mode = a[3] ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl((int)a[0], UFFDIO_WRITEPROTECT, &wp);
}

struct harasser {
	char *at;
	size_t len;
	enum harassment how;
	int pkey;
	int turn;
	char *away;	/* where mremap(2) takes it to, and back */
	int fd;		/* of the view */
};

/* The view, again where it was: the whole, or from page @first on. */
static void map_again(struct harasser *h, size_t first)
{
	char *at = h->at + first * PAGE;

	if (mmap(at, h->len - first * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, h->fd,
		 first * PAGE) != at)
		atomic_fetch_add(&shared->bad, 1);
}

/* A child that touches all, and ends as it is told. */
static void harass_by_child(struct harasser *h)
{
	char *const argv[] = { "true", NULL };
	pid_t pid = fork();

	if (pid) {
		if (pid > 0)
			waitpid(pid, NULL, 0);
		return;
	}
	for (size_t i = 0; i < h->len; i += PAGE)
		PROBE(op_write, (long)h->at + i, (long)SECRET);
	if (h->how == BY_EXEC)
		execv("/bin/true", argv);
	if (h->how == BY_OOM && put_text("/sys/fs/cgroup/harass/cgroup.procs", "0"))
		for (size_t i = 0; i < 2048; i++)
			*(volatile char *)mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
	_exit(0);
}

/* fork(2) that fails when the address space has been copied already. */
static void harass_by_failed_fork(struct harasser *h)
{
	pid_t pid;

	if (!put_text("/sys/fs/cgroup/harass/cgroup.procs", "0"))
		atomic_fetch_add(&shared->bad, 1);
	pid = fork();
	if (!pid)
		_exit(0);
	if (pid > 0) {
		waitpid(pid, NULL, 0);
		atomic_fetch_add(&shared->bad, 1);
	}
	put_text("/sys/fs/cgroup/cgroup.procs", "0");
	(void)h;
}

#define BEYOND_MEMORY	(1UL << 40)

/*
 * Maps the view once more, and above it what no fork(2) has memory for: that ends in
 * the middle, when it has copied what is below.
 */
static bool map_below_too_much(struct harasser *h)
{
	static const char overcommit[] = "/proc/sys/vm/overcommit_memory";
	char *room = mmap(NULL, h->len + BEYOND_MEMORY, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *much;

	if (room == MAP_FAILED || room > h->at || !put_text(overcommit, "1"))
		return false;
	much = mmap(room + h->len, BEYOND_MEMORY, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	h->at = room;
	map_again(h, 0);
	return put_text(overcommit, "0") && much != MAP_FAILED;
}

static void harass_by_half_a_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	if (pid > 0 || errno != ENOMEM)
		atomic_fetch_add(&shared->bad, 1);
}

static void harass_once(struct harasser *h)
{
	static const int prots[] = { PROT_READ, PROT_NONE, PROT_READ | PROT_WRITE,
				     PROT_READ | PROT_EXEC };
	const int rw = PROT_READ | PROT_WRITE;
	int turn = h->turn++, fd;
	pid_t pid;
	void *p;

	switch (h->how) {
	case BY_NOTHING:
		break;
	case BY_MPROTECT:
		mprotect(h->at, h->len, prots[turn % 4]);
		mprotect(h->at, h->len, rw);
		break;
	case BY_SPLIT:
		for (size_t i = 0; i < h->len; i += 2 * PAGE)
			mprotect(h->at + i, PAGE, prots[turn % 4]);
		mprotect(h->at, h->len, rw);
		break;
	case BY_MREMAP:
		p = mremap(h->at, h->len, h->len, MREMAP_MAYMOVE | MREMAP_FIXED, h->away);
		if (p == h->away)
			p = mremap(h->away, h->len, h->len, MREMAP_MAYMOVE | MREMAP_FIXED,
				   h->at);
		if (p != h->at)
			atomic_fetch_add(&shared->bad, 1);
		break;
	case BY_MADVISE:
		op_madvise_all(ARGS((long)h->at, h->len));
		break;
	case BY_MLOCK:
		mlock(h->at, h->len);
		mlock2(h->at, h->len, 1 /* MLOCK_ONFAULT */);
		munlock(h->at, h->len);
		mlockall(MCL_CURRENT);
		munlockall();
		break;
	case BY_CLEAR_REFS:
		put_text("/proc/self/clear_refs", "4");
		mprotect(h->at, h->len, PROT_READ);
		put_text("/proc/self/clear_refs", "1");
		mprotect(h->at, h->len, rw);
		break;
	case BY_PKEY:
		pkey_mprotect(h->at, h->len, PROT_READ, h->pkey);
		pkey_mprotect(h->at, h->len, rw, h->pkey);
		pkey_mprotect(h->at, h->len, rw, 0);
		break;
	case BY_REMAP_FILE_PAGES:
		/* Pages 1 to 3 at the place of 0 to 2, and back. */
		syscall(SYS_remap_file_pages, h->at, 3 * PAGE, 0, 1, 0);
		syscall(SYS_remap_file_pages, h->at, 3 * PAGE, 0, 0, 0);
		break;
	case BY_UFFD:
		/* To close it takes the protection back, too. */
		fd = (int)op_mark(ARGS((long)h->at, h->len, true));
		for (int i = 0; i < turn % 4 && fd >= 0; i++)
			if (op_write_protect(ARGS(fd, (long)h->at, h->len, i & 1)))
				atomic_fetch_add(&shared->bad, 1);
		if (fd < 0)
			atomic_fetch_add(&shared->bad, 1);
		else
			close(fd);
		break;
	case BY_FORK:
		pid = fork();
		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
		break;
	case BY_MUNMAP:
		/* The middle, an end, or all of it. */
		if (turn % 4 == 3)
			munmap(h->at, h->len);
		else
			munmap(h->at + turn % 4 * (h->len / 2 - PAGE), 2 * PAGE);
		map_again(h, 0);
		break;
	case BY_MAP_FIXED:
		mmap(h->at + turn % 3 * 2 * PAGE, 2 * PAGE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		map_again(h, turn % 3);
		map_again(h, 0);
		break;
	case BY_SHRINK:
		if (mremap(h->at, h->len, h->len / 2, 0) != h->at)
			atomic_fetch_add(&shared->bad, 1);
		map_again(h, h->len / PAGE / 2);
		break;
	case BY_FAILED_MOVE:
		/* Onto itself; to grow; to a place that cannot be. */
		if (mremap(h->at, h->len, h->len, MREMAP_MAYMOVE | MREMAP_FIXED,
			   h->at + PAGE) != MAP_FAILED ||
		    mremap(h->at, h->len, 2 * h->len, MREMAP_MAYMOVE) != MAP_FAILED ||
		    mremap(h->at + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			   (void *)-PAGE) != MAP_FAILED)
			atomic_fetch_add(&shared->bad, 1);
		break;
	case BY_DUPLICATE:
		/* With a length of 0 mremap(2) makes a second mapping. */
		p = mremap(h->at, 0, h->len, MREMAP_MAYMOVE);
		if (p == MAP_FAILED)
			break;
		for (size_t i = 0; i < h->len; i += PAGE)
			PROBE(op_write, (long)p + i, (long)SECRET);
		munmap(p, h->len);
		break;
	case BY_POLICY:
		syscall(SYS_mbind, h->at + PAGE, 2 * PAGE, turn & 1 ? 1 /* PREFERRED */ : 0, NULL,
			0, 0);
		prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, h->at + PAGE, PAGE, "name");
		break;
	case BY_EXEC:
	case BY_CHILDS_EXIT:
	case BY_OOM:
		harass_by_child(h);
		break;
	case BY_FAILED_FORK:
		harass_by_failed_fork(h);
		break;
	case BY_HALF_A_FORK:
		harass_by_half_a_fork();
		break;
	}
}

static void *harass(void *arg)
{
	while (!atomic_load(&shared->stop))
		harass_once(arg);
	return NULL;
}

static void harass_pages(long at, long nr)
{
	for (long i = 0; i < nr; i++) {
		struct outcome o = PROBE(harass_page, at + i * PAGE);

		if (o.sig)
			atomic_fetch_add(&shared->faults, 1);
		else
			atomic_fetch_add(&shared->bad, o.ret);
	}
}

long op_harass(const long *a)
{
	struct harasser h = {
		.at = (char *)a[0], .len = a[1] * PAGE, .how = (enum harassment)a[2],
		.fd = (int)a[3],
	};
	pthread_t thread;

	h.pkey = h.how == BY_PKEY ? pkey_alloc(0, 0) : -1;
	/* The gap left by mremap(2) may be taken by nobody: no other mmap runs. */
	h.away = mmap(NULL, h.len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h.how == BY_HALF_A_FORK && !map_below_too_much(&h))
		return -1;
	if (h.away == MAP_FAILED || pthread_create(&thread, NULL, harass, &h))
		return -1;
	while (!atomic_load(&shared->stop)) {
		harass_pages((long)h.at, a[1]);
		if (h.how == BY_HALF_A_FORK)
			harass_pages(a[0], a[1]);
		atomic_fetch_add(&shared->loops, 1);
	}
	pthread_join(thread, NULL);
	return h.how == BY_HALF_A_FORK ? munmap(h.at, h.len + BEYOND_MEMORY) : 0;
}

void check_taken(struct fixture *f, char *plain, unsigned long nr, bool narrow)
{
	wait_loops(2);
	if (narrow)
		protect_pages(f, 0, nr, R);
	else
		unmap_pages(f, 0, nr);
	/* From here on nobody writes; without the range nobody reads it either. */
	op_fill(ARGS((long)plain, nr, narrow ? WORD(0) : CANARY));
	wait_loops(3);
	for (unsigned long i = 0; i < nr; i++) {
		uint64_t word = *(volatile uint64_t *)(plain + i * PAGE);

		if (word != (narrow ? WORD(0) : CANARY))
			fail_msg("page %lu was written to after the call: %#lx", i, word);
	}
	op_fill(ARGS((long)plain, nr, WORD(0)));
	map_pages(f, 0, 0, nr, RW | MEMVIEW_MAP_REPLACE);
}

/*
 * Address, stride: forks all the time, with entries of FORK_PAGES pages to copy or
 * not to copy. Parent and child write to them.
 */
static long op_fork_and_look(const long *a)
{
	while (!atomic_load(&shared->stop)) {
		bool bad = false;
		pid_t pid;
		int status;

		for (unsigned long i = 0; i < FORK_PAGES; i++)
			PROBE(op_write, a[0] + i * a[1] * PAGE, (long)SECRET);
		pid = fork();
		for (unsigned long i = 0; !pid && i < FORK_PAGES; i++) {
			long page = a[0] + i * a[1] * PAGE;
			struct outcome o = PROBE(op_read, page);

			bad |= !o.sig && (uint64_t)o.ret == CANARY;
			PROBE(op_write, page, (long)SECRET);
		}
		if (!pid)
			_exit(bad);
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return -1;
		if (status)
			atomic_fetch_add(&shared->bad, 1);
		atomic_fetch_add(&shared->loops, 1);
	}
	return 0;
}

static void fill_strided(char *plain, unsigned long stride, uint64_t word)
{
	for (unsigned long i = 0; i < FORK_PAGES; i++)
		*(volatile uint64_t *)(plain + i * stride * PAGE) = word;
}

void check_forks_lose(struct fixture *f, char *plain, unsigned long stride, bool narrow,
		      int rounds)
{
	unsigned long nr = FORK_PAGES * stride;
	uint64_t word = narrow ? WORD(0) : CANARY;

	map_pages(f, 0, 0, nr, RW);
	START(f->peer, op_fork_and_look, f->view, stride);
	for (int i = 0; i < rounds; i++) {
		unsigned long long huge = fdinfo(f->ctl, "huge_entries");

		wait_loops(1);
		/* Those of parent and child; the one that is there now is fresh. */
		if (stride > 1 && !EVENTUALLY(fdinfo(f->ctl, "huge_entries") > huge))
			fail_msg("no huge entry is made");
		if (narrow)
			protect_pages(f, 0, nr, R);
		else
			unmap_pages(f, 0, nr);
		/* From now on nobody writes; and nobody may see it, if unmapped. */
		fill_strided(plain, stride, word);
		/* The child that is there now has ended, and one more. */
		wait_loops(2);
		for (unsigned long page = 0; page < FORK_PAGES; page++) {
			uint64_t is = *(volatile uint64_t *)(plain + page * stride * PAGE);

			if (is != word)
				fail_msg("page %lu was written to after the call: %#lx",
					 page * stride, is);
		}
		fill_strided(plain, stride, 0);
		map_pages(f, 0, 0, nr, RW | MEMVIEW_MAP_REPLACE);
	}
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(f->peer, "fork loop"));
	assert_int_equal(atomic_load(&shared->bad), 0);
}

bool is_tail_page(void *at)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0, flags = 0;

	(void)*(volatile uint64_t *)at;
	assert_int_equal(pread(pagemap, &entry, 8, (uintptr_t)at / PAGE * 8), 8);
	assert_int_equal(pread(kpageflags, &flags, 8, (entry & ((1ULL << 55) - 1)) * 8), 8);
	close(pagemap);
	close(kpageflags);
	return flags & (1 << 16);	/* KPF_COMPOUND_TAIL */
}

unsigned long pfn_at(void *at)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &entry, 8, (uintptr_t)at / PAGE * 8), 8);
	close(fd);
	return entry & (1ULL << 63) ? entry & ((1ULL << 55) - 1) : 0;
}

bool is_bad(unsigned long pfn)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t flags = 0;

	assert_int_equal(pread(fd, &flags, 8, pfn * 8), 8);
	close(fd);
	return flags & (1 << 19);	/* KPF_HWPOISON */
}

void poison(char *at)
{
	struct outcome o;

	(void)*(volatile char *)at;
	/* Newer kernels signal it to whoever has the page mapped, at once. */
	o = PROBE(op_madvise, (long)at, PAGE, MADV_HWPOISON);
	if (o.ret && !o.sig) {
		/* EBUSY: a large folio that the file system does not split. */
		if (o.err == EINVAL || o.err == EPERM || o.err == EBUSY)
			SKIP("MADV_HWPOISON: %s", strerror(o.err));
		fail_msg("MADV_HWPOISON: %s", strerror(o.err));
	}
}

int uffd_open(int flags, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

	if (fd < 0)
		SKIP("no userfaultfd: %s", strerror(errno));
	if (ioctl(fd, UFFDIO_API, &api))
		SKIP("userfaultfd lacks features %#llx", (unsigned long long)features);
	return fd;
}

void uffd_register(int uffd, char *at, size_t len, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)at, .len = len }, .mode = mode,
	};

	EXPECT_OK(ioctl(uffd, UFFDIO_REGISTER, &reg));
}

char *uffd_event(int uffd, uint64_t *flags)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&pfd, 1, WITHIN_SECONDS * 1000) != 1)
		fail_msg("no fault reached the userfaultfd");
	assert_int_equal(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
	if (flags)
		*flags = msg.arg.pagefault.flags;
	return (char *)(uintptr_t)(msg.arg.pagefault.address & -PAGE);
}

void drop_old_sources(void)
{
	int ctl = EXPECT_OK(mv_open());

	EXPECT_OK(mv_drop_idle(ctl));
	close(ctl);
}

long op_thaw(const long *a)
{
	for (int i = 0; i < 1500 && !atomic_load(&shared->ready); i++)
		nap();
	if (!atomic_load(&shared->ready))
		print_stacks(getppid());
	if (ioctl((int)a[0], FITHAW, 0))
		return -1;
	return atomic_load(&shared->ready);
}
