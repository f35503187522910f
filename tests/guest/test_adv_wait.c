// SPDX-License-Identifier: GPL-2.0
/*
 * A peer's fault waits for the controller: for the source (userfaultfd, a frozen
 * file system), or for the lock of its address space. It holds the lock of no
 * address space meanwhile that it could drop, so the peer's other threads go on.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#define NR	8UL	/* pages lent */

/* ---- the peer: a thread in a fault, and one that changes mappings ---- */

struct access {
	long at;
	bool write;
	atomic_int tid;
};

static void *access_word(void *arg)
{
	struct access *access = arg;
	volatile uint64_t *word = (volatile uint64_t *)access->at;

	atomic_store(&access->tid, gettid());
	if (access->write)
		*word = SECRET;
	else
		(void)*word;
	atomic_fetch_add(&shared->loops, 1);
	return NULL;
}

/* Address, write -> the thread that is about to access it. */
static long op_access_in_a_thread(const long *a)
{
	static struct access access;
	pthread_t thread;

	access = (struct access){ .at = a[0], .write = a[1] };
	if (pthread_create(&thread, NULL, access_word, &access))
		return -1;
	while (!atomic_load(&access.tid))
		nap();
	return atomic_load(&access.tid);
}

/* Address of the view: everything here needs the lock of the address space. */
static long op_change_mappings(const long *a)
{
	for (int i = 0; i < 20; i++) {
		char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return -1;
		*p = 1;
		if (mprotect(p, PAGE, PROT_READ) || munmap(p, 4 * PAGE) ||
		    mprotect((char *)a[0] + (NR - 1) * PAGE, PAGE, PROT_READ) ||
		    mprotect((char *)a[0] + (NR - 1) * PAGE, PAGE, PROT_READ | PROT_WRITE))
			return -1;
	}
	return 0;
}

/* A thread of @p waits in its fault: nothing else in @p does. */
static void check_goes_on(struct peer *p, unsigned long view)
{
	START(p, op_change_mappings, view);
	EXPECT_VALUE(0, FINISH(p, "mmap(2) while another thread's fault waits"));
	/* Or it would have shown nothing. */
	assert_int_equal(atomic_load(&shared->loops), 0);
}

static void waiting_for_userfaultfd_holds_no_lock_of_the_peer(struct fixture *f)
{
	int uffd = uffd_open(0, 0);

	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
	map_pages(f, 0, 0, NR, RW);
	uffd_register(uffd, source_at(f, 0), span(f, NR), UFFDIO_REGISTER_MODE_MISSING);
	EXPECT_CALL(f->peer, op_access_in_a_thread, AT(f, 1), f->tc->param);
	uffd_event(uffd, NULL);
	check_goes_on(f->peer, f->view);
	close(uffd);
	assert_true(EVENTUALLY(atomic_load(&shared->loops)));
}

static void waiting_for_a_frozen_file_system_holds_no_lock_of_the_peer(struct fixture *f)
{
	struct peer *thawer = peer_spawn();
	int thaw_fd = peer_send_fd(thawer, f->file);
	bool waits = false;
	struct outcome o = { .died = true };
	pid_t tid;

	map_pages(f, 0, 0, NR, RW | MEMVIEW_MAP_LAZY_WRITE);
	EXPECT_OK(fsync(f->file));
	READS(f, 1, WORD(1));
	drop_old_sources();
	EXPECT_OK(ioctl(f->file, FIFREEZE, 0));
	START(thawer, op_thaw, thaw_fd);
	tid = CALL(f->peer, op_access_in_a_thread, AT(f, 1), true).ret;
	waits = EVENTUALLY(state_of(tid) == 'D');
	if (waits)
		o = CALL(f->peer, op_change_mappings, f->view);
	waits = waits && !atomic_load(&shared->loops);
	atomic_store(&shared->ready, 1);
	EXPECT_VALUE(1, FINISH(thawer, "thawing: mmap(2) in the peer waited for it"));
	assert_true(waits);
	EXPECT_VALUE(0, o);
	assert_true(EVENTUALLY(atomic_load(&shared->loops)));
	READS(f, 1, SECRET);
}

/* ---- the lock of the controller's address space, held for as long as we like ---- */

enum { FUSE_IDLE, FUSE_MOUNTED, FUSE_READING };

static long fuse_reply(int fd, uint64_t unique, int error, void *data, size_t len)
{
	struct fuse_out_header header = {
		.len = sizeof(header) + len, .error = -error, .unique = unique,
	};
	struct iovec iov[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = data, .iov_len = len },
	};

	return writev(fd, iov, len ? 2 : 1);
}

/*
 * Path of a file: puts another there that never answers a read(2). The page that
 * is read stays locked until this process ends, and a private mmap(2) of what was
 * opened for writing waits for it, in the kernel, with its mmap_lock for writing.
 */
static long op_fuse(const long *a)
{
	static char request[64 << 10];
	struct fuse_in_header *in = (void *)request;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[80];

	snprintf(options, sizeof(options), "fd=%d,rootmode=100000,user_id=0,group_id=0", fd);
	if (fd < 0 || mount("memview-tests", (const char *)a[0], "fuse", 0, options))
		return -1;
	atomic_store(&shared->ready, FUSE_MOUNTED);
	while (read(fd, request, sizeof(request)) > 0) {
		struct fuse_init_out init = {
			.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
			.max_write = PAGE,
		};
		struct fuse_attr_out attr = {
			.attr_valid = 1000, .attr = { .ino = FUSE_ROOT_ID, .size = PAGE,
						      .mode = S_IFREG | 0600, .nlink = 1 },
		};
		struct fuse_open_in *how = (void *)(in + 1);
		struct fuse_open_out open = { .open_flags = FOPEN_KEEP_CACHE };

		switch (in->opcode) {
		case FUSE_INIT:
			fuse_reply(fd, in->unique, 0, &init, sizeof(init));
			break;
		case FUSE_GETATTR:
			fuse_reply(fd, in->unique, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
			if ((how->flags & O_ACCMODE) != O_RDONLY)
				open.open_flags |= FOPEN_DIRECT_IO;
			fuse_reply(fd, in->unique, 0, &open, sizeof(open));
			break;
		case FUSE_READ:
			atomic_store(&shared->ready, FUSE_READING);
			break;
		case FUSE_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			fuse_reply(fd, in->unique, ENOSYS, NULL, 0);
		}
	}
	return 0;
}

/* Path, flags -> fd */
static long op_open(const long *a)
{
	return open((const char *)a[0], (int)a[1] | O_CLOEXEC);
}

static long op_read_fd(const long *a)
{
	char c;

	return read((int)a[0], &c, 1);
}

/* A file whose private mmap(2) waits, see op_fuse(). */
struct stuck_file {
	struct peer *server;
	struct peer *reader;
	char path[128];
};

static void stuck_file_mount(struct stuck_file *file)
{
	if (!scratch_dir())
		SKIP("cannot mount a tmpfs");
	snprintf(file->path, sizeof(file->path), "%s/fuse", scratch_dir());
	close(EXPECT_OK(open(file->path, O_CREAT | O_RDWR, 0600)));
	(void)!system("modprobe -q fuse");
	if (access("/dev/fuse", F_OK))
		SKIP("no FUSE");
	/* First, so that it ends first: who waits for it cannot be killed. */
	file->server = peer_spawn();
}

/* Opens it in @p, who is to map it. */
static int stuck_file_open(struct stuck_file *file, struct peer *p)
{
	int fd, read_fd;

	file->reader = peer_spawn();
	START(file->server, op_fuse, (long)file->path);
	assert_true(EVENTUALLY(atomic_load(&shared->ready) == FUSE_MOUNTED));
	fd = EXPECT_CALL(p, op_open, (long)file->path, O_RDWR);
	read_fd = EXPECT_CALL(file->reader, op_open, (long)file->path, O_RDONLY);
	EXPECT_OK(umount2(file->path, MNT_DETACH));
	START(file->reader, op_read_fd, read_fd);
	assert_true(EVENTUALLY(atomic_load(&shared->ready) == FUSE_READING));
	return fd;
}

static void waiting_for_the_controllers_lock_holds_no_lock_of_the_peer(struct fixture *f)
{
	static struct stuck_file file;
	struct controller c;
	unsigned long view;
	struct peer *p;
	pid_t tid;
	int fd;

	stuck_file_mount(&file);
	controller_start(&c, 0, RW);
	p = peer_spawn();
	view = map_view(p, c.viewfd, PROT_READ | PROT_WRITE);

	fd = stuck_file_open(&file, c.peer);
	START(c.peer, op_mmap, fd, PAGE, PROT_READ, 0, MAP_PRIVATE);
	assert_true(EVENTUALLY(state_of(c.peer->pid) == 'D'));

	tid = EXPECT_CALL(p, op_access_in_a_thread, view + PAGE, f->tc->param);
	assert_true(EVENTUALLY(state_of(tid) == 'D'));
	check_goes_on(p, view);
	peer_kill(file.server);
	assert_true(EVENTUALLY(atomic_load(&shared->loops)));
	FINISH(c.peer, "mmap(2) of the controller");
	EXPECT_VALUE(f->tc->param ? SECRET : WORD(1), CALL(p, op_read, view + PAGE));
}

/* ---- the other way round: the lock of the peer's address space ---- */

static struct access later;
static atomic_int now;

static void *access_word_later(void *arg)
{
	while (!atomic_load(&now))
		nap();
	return access_word(arg);
}

static void *map_stuck_file(void *arg)
{
	mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, (int)(intptr_t)arg, 0);
	return NULL;
}

/* Address, write, file: a thread accesses the word while another maps the file. */
static long op_access_while_mapping(const long *a)
{
	pthread_t accessing, mapping;

	later = (struct access){ .at = a[0], .write = a[1] };
	/* Both first: to start a thread takes the lock. */
	if (pthread_create(&accessing, NULL, access_word_later, &later) ||
	    pthread_create(&mapping, NULL, map_stuck_file, (void *)(intptr_t)a[2]))
		return -1;
	/* As long as it takes to be where it waits, and longer. */
	for (int i = 0; i < 50; i++)
		nap();
	atomic_store(&now, 1);
	while (!atomic_load(&later.tid))
		nap();
	return atomic_load(&later.tid);
}

static bool kernel_has_vma_locks(void)
{
	struct utsname name;
	int major = 0, minor = 0;

	uname(&name);
	sscanf(name.release, "%d.%d", &major, &minor);
	return major > 6 || (major == 6 && minor >= 4);
}

enum { READING, WRITING, EXECUTABLE };

/*
 * Somebody changes the peer's address space, and takes his time. Faults of the
 * view need the lock of their mapping only, where the kernel has such, but not of
 * executable ones (R6), which is the control here. The same for huge entries.
 */
static void fault_needs_the_lock_of_its_mapping_only(struct fixture *f)
{
	bool executable = f->tc->param == EXECUTABLE;
	bool huge = f->backing == HUGETLB;
	unsigned long nr = huge ? HUGE_SIZE / PAGE : NR;
	static struct stuck_file file;
	struct memview_info info;
	uint64_t huge_entries;
	unsigned long view;
	struct peer *p;
	pid_t tid;
	int fd;

	if (!kernel_has_vma_locks())
		SKIP("6.4 brought locks of mappings");
	EXPECT_OK(mv_info(f->ctl, &info));
	if (huge && !(info.features & MEMVIEW_FEATURE_HUGE))
		SKIP("no huge entries in VM_PFNMAP mappings before 6.12");
	stuck_file_mount(&file);
	map_pages(f, 0, 0, nr, executable ? RWX : RW);
	p = peer_spawn();
	fd = peer_send_fd(p, f->viewfd);
	view = EXPECT_CALL(p, op_mmap, fd, nr * PAGE,
			   PROT_READ | PROT_WRITE | (executable ? PROT_EXEC : 0), 0);
	/* The first fault of a mapping may want more; what it maps is zapped. */
	EXPECT_VALUE(WORD(0), CALL(p, op_read, view));
	protect_pages(f, 0, nr, R);
	protect_pages(f, 0, nr, executable ? RWX : RW);
	EXPECT_OK(mv_info(f->ctl, &info));
	huge_entries = info.huge_entries;
	fd = stuck_file_open(&file, p);
	tid = EXPECT_CALL(p, op_access_while_mapping, view + PAGE,
			  f->tc->param == WRITING, fd);
	if (executable) {
		assert_true(EVENTUALLY(state_of(tid) == 'D'));
		assert_int_equal(atomic_load(&shared->loops), 0);
		peer_kill(file.server);
	}
	assert_true(EVENTUALLY(atomic_load(&shared->loops)));
	if (!executable)
		peer_kill(file.server);
	EXPECT_VALUE(f->tc->param == WRITING ? SECRET : WORD(1),
		     CALL(p, op_read, view + PAGE));
	EXPECT_OK(mv_info(f->ctl, &info));
	assert_int_equal(info.huge_entries, huge_entries + huge);
}

/* Nor does a peer hold up the controller that fills its page table. */
static void populating_waits_for_no_lock_of_a_peer(struct fixture *f)
{
	struct memview_populate_info info = {
		.size = NR * PAGE, .flags = MEMVIEW_POPULATE_PEERS,
	};
	static struct stuck_file file;
	unsigned long view;
	struct peer *busy;
	int fd, ret;

	stuck_file_mount(&file);
	map_pages(f, 0, 0, NR, RW);
	busy = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &view);
	fd = stuck_file_open(&file, busy);
	START(busy, op_mmap, fd, PAGE, PROT_READ, 0, MAP_PRIVATE);
	assert_true(EVENTUALLY(state_of(busy->pid) == 'D'));

	/* Should it wait after all, the program dies of this. */
	alarm(WITHIN_SECONDS);
	ret = ioctl(f->ctl, MEMVIEW_POPULATE, &info);
	alarm(0);
	assert_true(still_busy(busy));
	peer_kill(file.server);
	assert_int_equal(ret, 0);
	assert_int_equal(info.populated, NR * PAGE);
	/* The others have got theirs. */
	assert_int_equal(EXPECT_CALL(f->peer, op_faults_reading, f->view, NR * PAGE), 0);
	FINISH(busy, "mmap(2) of the peer");
	EXPECT_VALUE(WORD(1), CALL(busy, op_read, view + PAGE));
}

/* ---- a hole that is being made ---- */

#define GROUP		"/sys/fs/cgroup/slow"
#define LARGE		(128UL << 20)

static long op_punch_slowly(const long *a)	/* fd */
{
	return fallocate((int)a[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LARGE);
}

/* Pages that the file has, which are fewer and fewer. */
static unsigned long pages_of(int fd)
{
	struct stat st;

	EXPECT_OK(fstat(fd, &st));
	return (unsigned long)st.st_blocks * 512 / PAGE;
}

static bool is_being_punched(int fd)
{
	unsigned long pages = pages_of(fd);

	return pages && pages < LARGE / PAGE;
}

/* Are any of the first pages there? */
static bool has_first_pages(char *plain)
{
	unsigned char there[NR];

	EXPECT_OK(mincore(plain, NR * PAGE, there));
	for (unsigned long i = 0; i < NR; i++)
		if (there[i] & 1)
			return true;
	return false;
}

/* Lets the hole be finished, when it is told to or after long. */
static long op_unthrottle(const long *a)
{
	(void)a;
	for (int i = 0; i < 2500 && !atomic_load(&shared->ready); i++)
		nap();
	if (!atomic_load(&shared->ready))
		print_stacks(getppid());
	if (!put_text(GROUP "/cpu.max", "max 100000"))
		return -1;
	return atomic_load(&shared->ready);
}

static atomic_int mappings_changed;

static void *change_mappings(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++)
		munmap(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
	atomic_store(&mappings_changed, 1);
	return NULL;
}

/*
 * Who makes the hole gets a millisecond of CPU each second. tmpfs lets a fault in the
 * hole wait for the end of that, also one that says "not now": the lock of no address
 * space is held meanwhile. And nothing is put into the hole before.
 */
static void waiting_for_the_end_of_a_hole_holds_no_lock(struct fixture *f)
{
	struct peer *puncher = peer_spawn(), *unthrottler = peer_spawn();
	int fd = peer_send_fd(puncher, f->file);
	pthread_t thread;
	char *plain, pid[16];
	pid_t tid;

	snprintf(pid, sizeof(pid), "%d", puncher->pid);
	put_text("/sys/fs/cgroup/cgroup.subtree_control", "+cpu");
	if ((mkdir(GROUP, 0755) && errno != EEXIST) ||
	    !put_text(GROUP "/cpu.max", "1000 1000000") || !put_text(GROUP "/cgroup.procs", pid))
		SKIP("no cgroup with cpu.max: %s", strerror(errno));
	EXPECT_OK(ftruncate(f->file, LARGE));
	EXPECT_OK(fallocate(f->file, 0, 0, LARGE));
	plain = map_file(f, PROT_READ);
	map_pages(f, 0, 0, NR, RW);
	READS(f, 1, WORD(1));

	START(unthrottler, op_unthrottle);
	START(puncher, op_punch_slowly, fd);
	if (!EVENTUALLY(pages_of(f->file) < LARGE / PAGE))
		fail_msg("no hole is made");
	sleep(2);
	if (!is_being_punched(f->file)) {
		atomic_store(&shared->ready, 1);
		FINISH(unthrottler, "unthrottle");
		SKIP("who is in the kernel is not throttled here");
	}
	assert_false(has_first_pages(plain));

	tid = (pid_t)EXPECT_CALL(f->peer, op_access_in_a_thread, AT(f, 1), f->tc->param);
	assert_true(EVENTUALLY(state_of(tid) == 'D' || state_of(tid) == 'S'));
	check_goes_on(f->peer, f->view);
	assert_int_equal(pthread_create(&thread, NULL, change_mappings, NULL), 0);
	assert_true(EVENTUALLY(atomic_load(&mappings_changed)));
	assert_false(has_first_pages(plain));
	/* All that was while it waited for that. */
	assert_int_equal(atomic_load(&shared->loops), 0);
	assert_true(is_being_punched(f->file));

	atomic_store(&shared->ready, 1);
	EXPECT_VALUE(1, FINISH(unthrottler, "unthrottle"));
	EXPECT_VALUE(0, FINISH(puncher, "makes a hole"));
	assert_true(EVENTUALLY(atomic_load(&shared->loops)));
	pthread_join(thread, NULL);
	READS(f, 2, 0);
}

#define READ_AND_WRITE(fn, mask) \
	{ .name = #fn, .run = fn, .backings = mask, .variant = "read", .param = 0 }, \
	{ .name = #fn, .run = fn, .backings = mask, .variant = "write", .param = 1 }

#define VMA_LOCK(v, p) \
	{ .name = "fault_needs_the_lock_of_its_mapping_only", \
	  .run = fault_needs_the_lock_of_its_mapping_only, \
	  .backings = ON(MEMFD) | ON(HUGETLB), .variant = v, .param = p }

static const struct test_case cases[] = {
	READ_AND_WRITE(waiting_for_userfaultfd_holds_no_lock_of_the_peer,
		       ON_SHMEM | ON(HUGETLB)),
	CASE_ON(waiting_for_a_frozen_file_system_holds_no_lock_of_the_peer, ON_DISK),
	READ_AND_WRITE(waiting_for_the_controllers_lock_holds_no_lock_of_the_peer, 0),
	READ_AND_WRITE(waiting_for_the_end_of_a_hole_holds_no_lock, 0),
	VMA_LOCK("read", READING),
	VMA_LOCK("write", WRITING),
	VMA_LOCK("executable", EXECUTABLE),
	CASE(populating_waits_for_no_lock_of_a_peer),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adv_wait", cases);
}
