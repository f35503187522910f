// SPDX-License-Identifier: GPL-2.0
/*
 * What the operations of a program do. None may touch memory of the fuzzer: all
 * of their mappings are in slots of an arena at a fixed address, which may be
 * adopted, or are those that the driver has made for its sources.
 */
#include "fuzz.h"
#include "../guest/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/memory-view.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define ARENA		0x100000000000UL
#define FILE_PAGES	64UL
#define HUGE_PAGES	512UL
/* Machine code: return. What a program calls must come back. */
#define RETURNS		0xc3c3c3c3c3c3c3c3ULL

#define PARAMS		"/sys/module/memory_view/parameters/"

static const char *const param_names[] = {
	"fault_around_pages", "max_ranges", "max_sources",
};
#define NR_PARAMS (sizeof(param_names) / sizeof(param_names[0]))
static char param_values[NR_PARAMS][32];

static enum backing kinds[NR_FILES] = { MEMFD, MEMFD, HUGETLB, EXT4, TMPFS, MEMFD };
#define READ_ONLY_FILE	5	/* the descriptor is */

static __thread sigjmp_buf fault_env;
static __thread volatile bool fault_expected;
static __thread unsigned int this_lane;
static __thread int nth_fd = -1;
static __thread unsigned int next_fails;	/* fail-nth of the next one */

/* ---- What the bytes mean --------------------------------------------- */

static uint64_t offset_of(uint8_t a)
{
	static const uint64_t odd[] = {
		1, PAGE - 1, HUGE_PAGES * PAGE, 2 * HUGE_PAGES * PAGE,
		1ULL << 30, (1ULL << 30) - PAGE, 1ULL << 62, 1ULL << 63,
		~0ULL, -(uint64_t)PAGE, (1ULL << 63) - PAGE, 1ULL << 40,
		1ULL << 32, VIEW_PAGES * PAGE, 4096 * PAGE, 0,
	};

	return a >= 0xf0 ? odd[a & 15] : (a & 63) * PAGE;
}

static uint64_t size_of(uint8_t a)
{
	static const uint64_t odd[] = {
		0, 1, PAGE + 1, HUGE_PAGES * PAGE, VIEW_PAGES * PAGE,
		1ULL << 30, (1ULL << 30) + PAGE, 1ULL << 62, 1ULL << 63,
		~0ULL, -(uint64_t)PAGE, (1ULL << 63) - PAGE, 2 * HUGE_PAGES * PAGE,
		4096 * PAGE, 1ULL << 40, VIEW_PAGES * PAGE,
	};

	return a >= 0xf0 ? odd[a & 15] : (1 + (a & 31)) * PAGE;
}

static uint32_t rights_of(uint8_t a)
{
	/* ADOPT is for do_adopt(). */
	return a >= 0xe0 ? a : (a & 0xbf) | MEMVIEW_MAP_READ;
}

static int prot_of(uint8_t a)
{
	return (a & 1 ? PROT_READ : 0) | (a & 2 ? PROT_WRITE : 0) |
	       (a & 4 ? PROT_EXEC : 0);
}

static int ctl_of(uint8_t a)
{
	return atomic_load(&world->ctl[a % NR_VIEWS]) ?: -1;
}

static int viewfd_of(uint8_t a)
{
	return atomic_load(&world->viewfd[a % NR_VIEWFDS]) ?: -1;
}

static char *slot_of(uint8_t a)
{
	return (char *)ARENA + a % NR_SLOTS * SLOT_SIZE;
}

/* In a slot, and what is left of it. */
static char *place_of(uint8_t slot, uint8_t offset, uint8_t size, size_t *len)
{
	size_t at = offset >= 0xf0 ? (offset & 3) * HUGE_PAGES * PAGE :
				     (offset & 63) * PAGE;
	size_t want = size >= 0xf0 ? SLOT_SIZE : (1 + (size & 63)) * PAGE;

	*len = want < SLOT_SIZE - at ? want : SLOT_SIZE - at;
	return slot_of(slot) + at;
}

static void keep_fd(atomic_int *where, int fd)
{
	int old;

	if (fd < 0)
		return;
	old = atomic_exchange(where, fd);
	if (old)
		close(old);
}

static int make_file(unsigned int n)
{
	int fd = backing_create(kinds[n], kinds[n] == HUGETLB ?
				2 * HUGE_PAGES * PAGE : FILE_PAGES * PAGE);
	size_t len = FILE_PAGES * PAGE;
	uint64_t *p;
	int again;

	if (fd < 0)
		return -1;
	if (kinds[n] == HUGETLB)
		len = HUGE_PAGES * PAGE;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED) {
		/* Not all: some of a program's faults shall find holes. */
		for (size_t i = 0; i < FILE_PAGES / 2; i++)
			p[i * PAGE / sizeof(*p)] = RETURNS;
		munmap(p, len);
	}
	if (n == READ_ONLY_FILE) {
		again = backing_reopen(fd, O_RDONLY);
		close(fd);
		fd = again;
	}
	return fd;
}

static int file_of(uint8_t a)
{
	unsigned int n = a % NR_FILES;
	int fd = atomic_load(&world->file[n]);

	if (!fd) {
		fd = make_file(n);
		keep_fd(&world->file[n], fd);
	}
	return fd;
}

/* ---- ioctls ------------------------------------------------------------ */

static void do_viewfd(const uint8_t *a)
{
	struct memview_viewfd_info arg = {
		.rights = a[2] >= 0xe0 ? a[2] : (a[2] & 7) | MEMVIEW_MAP_READ,
		.__pad = a[3] == 0xff,
	};

	keep_fd(&world->viewfd[a[1] % NR_VIEWFDS],
		a[2] ? ioctl(ctl_of(a[0]), MEMVIEW_GET_VIEWFD_RIGHTS, &arg) :
		       ioctl(ctl_of(a[0]), MEMVIEW_GET_VIEWFD));
}

static void do_size(const uint8_t *a)
{
	struct memview_size_info arg = {
		.size = a[1] >= 0xf0 ? size_of(a[1]) : (a[1] & 127) * PAGE,
	};

	ioctl(ctl_of(a[0]), MEMVIEW_SET_SIZE, &arg);
}

static void do_open(const uint8_t *a)
{
	const uint8_t viewfd[NR_ARGS] = { a[0], a[0] };
	const uint8_t size[NR_ARGS] = { a[0], VIEW_PAGES };

	atomic_store(&world->owner[a[0] % NR_VIEWS], 0);
	keep_fd(&world->ctl[a[0] % NR_VIEWS],
		open("/dev/memory-view", O_RDWR | O_CLOEXEC));
	if (a[1] & 1)
		return;
	do_size(size);
	do_viewfd(viewfd);
}

static void do_map(const uint8_t *a)
{
	struct memview_map_fd_info arg = {
		.fd = file_of(a[1]),
		.mem_offset = offset_of(a[2]),
		.fd_offset = offset_of(a[3]),
		.size = size_of(a[4]),
		.flags = rights_of(a[5]),
		.cookie = a[0] / NR_VIEWS,
	};

	/* Things that are no files to map. */
	if (a[1] >= 0xf0)
		arg.fd = a[1] & 1 ? viewfd_of(a[2]) : ctl_of(a[2]);
	if (!ioctl(ctl_of(a[0]), MEMVIEW_MAP_FD, &arg))
		atomic_store(&world->owner[a[0] % NR_VIEWS],
			     1 + (int)PROCESS_OF(this_lane));
}

/* A file in a slot, or what is there already, lent from there. */
static void do_adopt(const uint8_t *a)
{
	unsigned int file = a[1] % NR_FILES;
	char *slot = slot_of(a[0] / NR_VIEWS);
	struct memview_map_fd_info arg = {
		.fd = file_of(a[1]),
		.mem_offset = offset_of(a[2]),
		.fd_offset = offset_of(a[3]),
		.size = size_of(a[4]),
		.flags = rights_of(a[5] & ~0x60) | MEMVIEW_MAP_ADOPT,
	};

	if (!(a[5] & 0x40))
		mmap(slot, 2 * HUGE_PAGES * PAGE, PROT_READ |
		     (file == READ_ONLY_FILE ? 0 : PROT_WRITE),
		     MAP_SHARED | MAP_FIXED, arg.fd, 0);
	arg.addr = (uintptr_t)slot + arg.fd_offset;
	/* Where the file is not. */
	if (a[5] & 0x20)
		arg.addr += PAGE;
	if (!ioctl(ctl_of(a[0]), MEMVIEW_MAP_FD, &arg))
		atomic_store(&world->owner[a[0] % NR_VIEWS],
			     1 + (int)PROCESS_OF(this_lane));
}

static void do_unmap(const uint8_t *a)
{
	struct memview_unmap_fd_info arg = {
		.mem_offset = offset_of(a[1]), .size = size_of(a[2]),
	};

	ioctl(ctl_of(a[0]), MEMVIEW_UNMAP_FD, &arg);
}

static void do_protect(const uint8_t *a)
{
	struct memview_protect_info arg = {
		.mem_offset = offset_of(a[1]), .size = size_of(a[2]),
		.flags = a[3] >= 0xe0 ? a[3] : (a[3] & 0x97) | MEMVIEW_MAP_READ,
		.__pad = a[4] == 0xff,
	};

	ioctl(ctl_of(a[0]), MEMVIEW_PROTECT, &arg);
}

/* Some operations at once: what they are follows from three of the bytes. */
static void do_update(const uint8_t *a)
{
	uint64_t seed = a[3] | a[4] << 8 | a[5] << 16;
	struct memview_op ops[12];
	struct memview_update_info arg = {
		.ops = (uintptr_t)ops, .count = a[2] % (sizeof(ops) / sizeof(ops[0])),
		.op_size = sizeof(ops[0]), .flags = a[2] == 0xff,
	};

	for (uint32_t i = 0; i < arg.count; i++) {
		uint64_t r = random_next(&seed);

		ops[i] = (struct memview_op){
			.op = (uint32_t)(r & 3) % 3,
			.mem_offset = (r >> 8 & 31) * PAGE,
			.size = (1 + (r >> 16 & 15)) * PAGE,
		};
		if (ops[i].op != MEMVIEW_OP_UNMAP)
			ops[i].flags = (uint32_t)(r >> 24 & 0x16) | MEMVIEW_MAP_READ;
		if (ops[i].op == MEMVIEW_OP_MAP) {
			ops[i].flags |= r >> 24 & MEMVIEW_MAP_POPULATE;
			ops[i].flags |= r >> 32 & 3 ? MEMVIEW_MAP_REPLACE : 0;
			ops[i].fd_offset = (r >> 40 & 31) * PAGE;
			ops[i].fd = file_of(a[1] ^ (r >> 48 & 3 ? 0 : 1));
			ops[i].cookie = r >> 52 & 1;
			if (!(r >> 61)) {
				ops[i].flags |= MEMVIEW_MAP_ADOPT;
				ops[i].addr = (uintptr_t)slot_of(a[1]) + ops[i].fd_offset;
			}
		}
		/* Now and then one that cannot be done. */
		if (!(r >> 56 & 31))
			ops[i].op = 7;
	}
	if (!ioctl(ctl_of(a[0]), MEMVIEW_UPDATE, &arg) && arg.count)
		atomic_store(&world->owner[a[0] % NR_VIEWS],
			     1 + (int)PROCESS_OF(this_lane));
}

static void do_populate(const uint8_t *a)
{
	struct memview_populate_info arg = {
		.mem_offset = offset_of(a[1]), .size = size_of(a[2]),
		.flags = a[3] >= 0xe0 ? a[3] & 31 : a[3] % 3, .__pad = a[4] == 0xff,
	};

	ioctl(ctl_of(a[0]), MEMVIEW_POPULATE, &arg);
}

/* A ring for each thread, with room for arguments in submissions. */
static bool ring_submission(const uint8_t *a, struct io_uring *ring, void *arg)
{
	static const uint32_t cmds[] = {
		MEMVIEW_MAP_FD, MEMVIEW_UNMAP_FD, MEMVIEW_PROTECT, MEMVIEW_SET_SIZE,
		MEMVIEW_UPDATE, MEMVIEW_MAP_FD, MEMVIEW_UNMAP_FD, MEMVIEW_REVOKE,
	};
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct memview_sqe_cmd head = { 0 };
	uint32_t cmd = cmds[a[5] & 7];
	char *to = (char *)sqe + offsetof(struct io_uring_sqe, cmd);

	if (!sqe)
		return false;
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = ctl_of(a[0]);
	sqe->cmd_op = cmd;
	sqe->flags = a[5] & 16 ? IOSQE_ASYNC : 0;
	if (a[5] & 8) {
		head.flags = MEMVIEW_SQE_INLINE;
		memcpy(to + sizeof(head), arg, _IOC_SIZE(cmd));
	} else if (_IOC_SIZE(cmd)) {
		head.arg = a[2] == 0xee ? (uintptr_t)slot_of(a[3]) : (uintptr_t)arg;
	}
	if (a[4] == 0xff)
		head.flags ^= a[3];
	memcpy(to, &head, sizeof(head));
	return true;
}

static void do_ring(const uint8_t *a)
{
	static __thread struct io_uring ring;
	static __thread bool have_ring;
	/* Of what is still on its way, too. */
	static __thread union {
		struct memview_map_fd_info map;
		struct memview_unmap_fd_info unmap;
		struct memview_protect_info protect;
		struct memview_size_info size;
		struct memview_update_info update;
	} arg;
	static __thread struct memview_op op;
	unsigned int i, nr = a[5] & 32 ? 3 : 1;

	if (!have_ring && io_uring_queue_init(8, &ring, IORING_SETUP_SQE128))
		return;
	have_ring = true;
	memset(&arg, 0, sizeof(arg));
	switch (a[5] & 7) {
	case 0:
	case 5:
		arg.map = (struct memview_map_fd_info){
			.fd = file_of(a[1]), .mem_offset = offset_of(a[2]),
			.fd_offset = offset_of(a[3]), .size = size_of(a[3]),
			.flags = rights_of(a[4]),
		};
		atomic_store(&world->owner[a[0] % NR_VIEWS], 1 + (int)PROCESS_OF(this_lane));
		break;
	case 1:
	case 6:
		arg.unmap.mem_offset = offset_of(a[2]);
		arg.unmap.size = size_of(a[3]);
		break;
	case 2:
		arg.protect.mem_offset = offset_of(a[2]);
		arg.protect.size = size_of(a[3]);
		arg.protect.flags = (a[4] & 0x17) | MEMVIEW_MAP_READ;
		break;
	case 3:
		arg.size.size = (a[2] & 127) * PAGE;
		break;
	case 4:
		op = (struct memview_op){
			.op = MEMVIEW_OP_UNMAP, .mem_offset = offset_of(a[2]),
			.size = size_of(a[3]),
		};
		arg.update = (struct memview_update_info){
			.ops = a[4] & 1 ? (uintptr_t)slot_of(a[4]) : (uintptr_t)&op,
			.count = 1, .op_size = sizeof(op),
		};
	}
	for (i = 0; i < nr && ring_submission(a, &ring, &arg); i++)
		;
	/* Some are left to themselves. */
	if (a[5] & 64)
		io_uring_submit(&ring);
	else
		io_uring_submit_and_wait(&ring, i);
	io_uring_cq_advance(&ring, io_uring_cq_ready(&ring));
}

static void do_revoke(const uint8_t *a)
{
	ioctl(ctl_of(a[0]), MEMVIEW_REVOKE);
}

static void do_drop(const uint8_t *a)
{
	ioctl(ctl_of(a[0]), MEMVIEW_DROP_IDLE);
}

static void do_query(const uint8_t *a)
{
	static __thread char room[64 * 256];
	struct memview_query_info arg = {
		.mem_offset = offset_of(a[1]), .ranges = (uintptr_t)room,
		.count = a[2] & 63,
		.range_size = sizeof(struct memview_range_info),
	};

	if (a[3] >= 0xe0)
		arg.range_size = a[3] == 0xff ? 8192 : a[3];
	if (a[2] >= 0xf0)
		arg.count = 1U << (a[2] & 15) << 8;
	if (arg.count * (uint64_t)arg.range_size > sizeof(room) || a[4] & 8)
		arg.ranges = (uintptr_t)slot_of(a[4]);
	ioctl(ctl_of(a[0]), MEMVIEW_QUERY, &arg);
}

static void do_info(const uint8_t *a)
{
	struct memview_info arg;

	ioctl(ctl_of(a[0]), MEMVIEW_GET_INFO, &arg);
}

/* Any number and any structure; also one that lies in a view. */
static void do_raw(const uint8_t *a)
{
	char buf[512];
	void *arg = buf;
	unsigned int size = a[2] & 3 ? a[2] : 8U * (a[2] >> 2);
	unsigned int cmd = _IOC(a[3] & 3, a[3] & 0x40 ? a[3] : MEMVIEW_IOC_TYPE,
				a[1] & 15, size);

	memset(buf, a[4] & 0xc0 ? 0 : a[4], sizeof(buf));
	if (a[4] & 0x40)
		buf[a[5] % sizeof(buf)] = a[4];
	if (a[5] & 0x80)
		arg = slot_of(a[5]) + (a[5] & 0x40 ? 4 * PAGE - 8 : 0);
	if (a[5] == 0x7f)
		arg = NULL;
	ioctl(ctl_of(a[0]), cmd, arg);
}

/* ---- Mappings ------------------------------------------------------------ */

static void do_mmap(const uint8_t *a)
{
	static const int extra[] = {
		0, 0, 0, MAP_POPULATE, MAP_LOCKED, MAP_NORESERVE, MAP_NONBLOCK, 0,
	};
	size_t len = a[3] ? (1 + (a[3] & 127)) * PAGE : VIEW_PAGES * PAGE;
	int flags = (a[4] >= 0xf0 ? MAP_PRIVATE : MAP_SHARED) | extra[a[4] & 7];
	int fd = a[1] & 0x80 ? file_of(a[1]) : viewfd_of(a[1]);
	off_t offset = a[5] & 3 ? (off_t)offset_of(a[5]) : 0;

	mmap(slot_of(a[0]), len, prot_of(a[2]), flags | MAP_FIXED, fd, offset);
}

static void do_munmap(const uint8_t *a)
{
	size_t len;
	char *p = place_of(a[0], a[1], a[2], &len);

	munmap(p, len);
}

static void do_mprotect(const uint8_t *a)
{
	size_t len;
	char *p = place_of(a[0], a[1], a[2], &len);

	mprotect(p, len, prot_of(a[3]));
}

static void do_madvise(const uint8_t *a)
{
	static const int advices[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
		MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DONTFORK,
		MADV_DOFORK, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_HUGEPAGE,
		MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK,
		MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ,
		MADV_POPULATE_WRITE, MADV_COLLAPSE,
	};
	size_t len;
	char *p = place_of(a[0], a[1], a[2], &len);

	madvise(p, len, advices[a[3] % (sizeof(advices) / sizeof(advices[0]))]);
}

static void do_msync(const uint8_t *a)
{
	size_t len;
	char *p = place_of(a[0], a[1], a[2], &len);

	msync(p, len, a[3] & 1 ? MS_ASYNC : MS_SYNC);
}

static void do_mremap(const uint8_t *a)
{
	size_t len, new_len;
	char *p = place_of(a[0], a[1], a[2], &len);
	char *to = place_of(a[3], a[1], a[4], &new_len);
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	if (a[5] & 1)
		flags |= MREMAP_DONTUNMAP;
	if (a[5] & 2)
		flags = 0;
	mremap(p, a[5] & 4 ? 0 : len, new_len, flags, to);
}

static void do_mlock(const uint8_t *a)
{
	size_t len;
	char *p = place_of(a[0], a[1], a[2], &len);

	switch (a[3] & 7) {
	case 0:
		munlockall();
		break;
	case 1:
		mlockall(MCL_CURRENT);
		break;
	case 2:
		mlockall(MCL_FUTURE);
		break;
	case 3:
		munlock(p, len);
		break;
	default:
		mlock2(p, len, a[3] & 8 ? MLOCK_ONFAULT : 0);
	}
}

static void touch(char *p, unsigned int how)
{
	volatile uint64_t *word = (volatile uint64_t *)p;

	fault_expected = true;
	if (!sigsetjmp(fault_env, 1)) {
		switch (how) {
		case 0:
			(void)*word;
			break;
		case 1:
			*word = RETURNS;
			break;
#ifdef __x86_64__
		default:
			/* A page of zeroes adds to where rax points: nowhere. */
			__asm__ volatile("lea -128(%%rsp), %%rsp\n\t"
					 "xor %%eax, %%eax\n\t"
					 "call *%0\n\t"
					 "lea 128(%%rsp), %%rsp"
					 : : "r"(p) : "rax", "cc", "memory");
#endif
		}
	}
	fault_expected = false;
}

static void touch_all(const uint8_t *a, unsigned int how)
{
	size_t len;
	char *p = place_of(a[0], a[1], a[2], &len);

	if (len > 16 * PAGE)
		len = 16 * PAGE;
	for (size_t i = 0; i < len; i += PAGE)
		touch(p + i, how);
}

static void do_read(const uint8_t *a)
{
	touch_all(a, 0);
}

static void do_write(const uint8_t *a)
{
	touch_all(a, 1);
}

static void do_exec(const uint8_t *a)
{
	touch_all(a, 2);
}

/* System calls that copy from or to a mapping. */
static void do_copy(const uint8_t *a)
{
	size_t len;
	char *p = place_of(a[0], a[1], a[2], &len);
	int fds[2];

	if (a[3] & 4) {
		ssize_t n = a[3] & 1 ? pread(file_of(a[4]), p, len, 0) :
				       pwrite(file_of(a[4]), p, len, 0);
		(void)n;
		return;
	}
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC))
		return;
	if (write(fds[1], p, len) > 0 && a[3] & 1)
		(void)!read(fds[0], p, len);
	if (a[3] & 2)
		vmsplice(fds[1], &(struct iovec){ p, len }, 1, SPLICE_F_NONBLOCK);
	close(fds[0]);
	close(fds[1]);
}

/* The other process's memory, or one's own, as a debugger sees it. */
static void do_peek(const uint8_t *a)
{
	static __thread char buf[4 * PAGE];
	pid_t pid = world->pid[a[3] & 1];
	char path[32];
	size_t len;
	char *p = place_of(a[0], a[1], a[2], &len);
	struct iovec local, remote;
	ssize_t n;
	int fd;

	if (!pid)
		return;
	if (len > sizeof(buf))
		len = sizeof(buf);
	if (a[4] & 2) {
		p += 4;		/* over the ends of pages */
		len -= 8;
	}
	memset(buf, (int)(RETURNS & 0xff), sizeof(buf));
	if (a[4] & 4) {
		local = (struct iovec){ buf, len };
		remote = (struct iovec){ p, len };
		if (a[4] & 1)
			process_vm_writev(pid, &local, 1, &remote, 1, 0);
		else
			process_vm_readv(pid, &local, 1, &remote, 1, 0);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	n = a[4] & 1 ? pwrite(fd, buf, len, (off_t)(uintptr_t)p) :
		       pread(fd, buf, len, (off_t)(uintptr_t)p);
	(void)n;
	close(fd);
}

/* A child goes through all mappings, and may outlive the parent. */
static void do_fork(const uint8_t *a)
{
	pid_t pid = fork();
	int status;

	if (pid > 0 && a[0] & 1)
		waitpid(pid, &status, 0);
	if (pid)
		return;
	for (unsigned int i = 0; i < NR_SLOTS; i++) {
		const uint8_t place[NR_ARGS] = { i, 0, a[2] & 31 };

		touch_all(place, a[1] & 1);
	}
	if (a[0] & 2)
		poll(NULL, 0, 150);
	_exit(0);
}

/* ---- Files and file descriptors ----------------------------------------- */

static void do_file(const uint8_t *a)
{
	static char words[4 * PAGE];
	int fd = file_of(a[0]);
	off_t offset = (off_t)offset_of(a[2] & 0x3f);
	off_t len = (off_t)size_of(a[3] & 0x3f);

	switch (a[1] % 10) {
	case 0:
		(void)!ftruncate(fd, offset);
		break;
	case 1:
		(void)!ftruncate(fd, 2 * HUGE_PAGES * PAGE);
		break;
	case 2:
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  offset, len);
		break;
	case 3:
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  0, 2 * HUGE_PAGES * PAGE);
		break;
	case 4:
		fallocate(fd, 0, offset, len);
		break;
	case 5:
		memset(words, (int)(RETURNS & 0xff), sizeof(words));
		(void)!pwrite(fd, words, sizeof(words), offset);
		break;
	case 6:
		fcntl(fd, F_ADD_SEALS, a[2] & 0x1e);
		break;
	case 7:
		fsync(fd);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		break;
	case 8:
		fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, offset, len);
		break;
	case 9:
		/* A new one takes its place. */
		keep_fd(&world->file[a[0] % NR_FILES], make_file(a[0] % NR_FILES));
		break;
	}
}

/* Each lane watches what it likes, until its process ends. */
static void watch(const char *path, uint8_t how)
{
	static __thread int inotify = -1;

	if (inotify < 0)
		inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	inotify_add_watch(inotify, path, how ? how : IN_ALL_EVENTS);
}

/* What holders of a view fd or of a control fd may try. */
static void do_fd(const uint8_t *a)
{
	int fd = a[0] & 0x40 ? ctl_of(a[0]) : viewfd_of(a[0]);
	char path[32], buf[64];
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct stat st;
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	switch (a[1] % 15) {
	case 0:
		fstat(fd, &st);
		break;
	case 1:
		lseek(fd, a[2], a[3] % 5);
		break;
	case 2:
		(void)!ftruncate(fd, (off_t)offset_of(a[2]));
		break;
	case 3:
		(void)!read(fd, buf, sizeof(buf));
		break;
	case 4:
		(void)!write(fd, buf, sizeof(buf));
		break;
	case 5:
		fchmod(fd, 0777);
		break;
	case 6:
		again = open(path, O_RDWR | O_CLOEXEC);
		if (again >= 0)
			close(again);
		break;
	case 7:
		fallocate(fd, a[2] & 3, 0, PAGE);
		break;
	case 8:
		poll(&pfd, 1, 0);
		break;
	case 9:
		fcntl(fd, F_ADD_SEALS, a[2]);
		break;
	case 10:
		ioctl(fd, a[2] & 1 ? MEMVIEW_GET_INFO : MEMVIEW_REVOKE, buf);
		break;
	case 11:
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		again = open(path, O_RDONLY | O_CLOEXEC);
		if (again >= 0) {
			(void)!read(again, buf, sizeof(buf));
			close(again);
		}
		break;
	case 12:
		again = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (a[0] & 0x40)
			keep_fd(&world->ctl[a[2] % NR_VIEWS], again);
		else
			keep_fd(&world->viewfd[a[2] % NR_VIEWFDS], again);
		break;
	case 13:
		fsync(fd);
		posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
		break;
	case 14:
		watch(path, a[2]);
		break;
	}
}

static void do_close(const uint8_t *a)
{
	int fd = a[0] & 0x40 ? atomic_exchange(&world->viewfd[a[1] % NR_VIEWFDS], 0) :
			       atomic_exchange(&world->ctl[a[1] % NR_VIEWS], 0);

	if (fd)
		close(fd);
}

/* ---- The controller against its own sources -------------------------- */

static void tamper(char *p, size_t len, const uint8_t *a)
{
	switch (a[3] % 15) {
	case 0:
		munmap(p, len);
		break;
	case 1:
		mprotect(p, len, PROT_NONE);
		break;
	case 2:
		mprotect(p, len, PROT_READ);
		break;
	case 3:
		mprotect(p, len, PROT_READ | PROT_WRITE);
		break;
	case 4:
		madvise(p, len, MADV_DONTNEED);
		break;
	case 5:
		madvise(p, len, MADV_PAGEOUT);
		break;
	case 6:
		madvise(p, len, MADV_REMOVE);
		break;
	case 7:
		mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, slot_of(a[4]));
		break;
	case 8:
		mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
		       slot_of(a[4]));
		break;
	case 9:
		mmap(p, len, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 10:
		mmap(p, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     viewfd_of(a[4]), 0);
		break;
	case 11:
		mmap(p, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
		     file_of(a[4]), 0);
		break;
	case 12:
		mmap(p, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     file_of(a[4]), 0);
		break;
	case 13:
		madvise(p, len, MADV_HUGEPAGE);
		madvise(p, len, MADV_COLLAPSE);
		break;
	case 14:
		madvise(p, len, MADV_POPULATE_WRITE);
		break;
	}
}

static void do_source(const uint8_t *a)
{
	struct memview_range_info range;
	struct memview_query_info query = {
		.mem_offset = offset_of(a[1]), .ranges = (uintptr_t)&range,
		.count = 1, .range_size = sizeof(range),
	};
	size_t len;

	/* Its address means something in one address space only. */
	if (atomic_load(&world->owner[a[0] % NR_VIEWS]) !=
	    1 + (int)PROCESS_OF(this_lane))
		return;
	if (ioctl(ctl_of(a[0]), MEMVIEW_QUERY, &query) || !query.count ||
	    !range.source_addr)
		return;
	len = (1 + (a[2] & 31)) * PAGE;
	if (len > range.size)
		len = range.size;
	if (a[5] & 1 && range.size >= HUGE_PAGES * PAGE)
		len = HUGE_PAGES * PAGE;
	if (len <= SLOT_SIZE)
		tamper((char *)(uintptr_t)range.source_addr, len, a);
}

/* ---- Surroundings ------------------------------------------------------ */

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

static void do_param(const uint8_t *a)
{
	static const unsigned int values[] = { 1, 2, 4, 64, 16, 0, 4096, 100000 };
	unsigned int which = a[0] % NR_PARAMS;
	char path[128], text[16];

	atomic_store(&world->params_changed, true);
	snprintf(path, sizeof(path), PARAMS "%s", param_names[which]);
	snprintf(text, sizeof(text), "%u", values[a[1] & 7]);
	put(path, text);
}

static void do_limit(const uint8_t *a)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	switch (a[0] & 3) {
	case 0:
		/* No room for a segment of 1 GiB. */
		limit.rlim_cur = 512UL << 20;
		setrlimit(RLIMIT_AS, &limit);
		break;
	case 1:
		setrlimit(RLIMIT_AS, &limit);
		break;
	case 2:
		getrlimit(RLIMIT_NOFILE, &limit);
		limit.rlim_cur = a[1] & 31;
		setrlimit(RLIMIT_NOFILE, &limit);
		break;
	default:
		getrlimit(RLIMIT_NOFILE, &limit);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void do_pressure(const uint8_t *a)
{
	switch (a[0] & 3) {
	case 0:
		put("/proc/sys/vm/compact_memory", "1");
		break;
	case 1:
		put("/proc/sys/vm/drop_caches", "1");
		break;
	case 2:
		put("/proc/self/clear_refs", "4");	/* soft dirty */
		break;
	default:
		put("/proc/self/clear_refs", "1");
	}
}

static void do_fail(const uint8_t *a)
{
	next_fails = 1 + (a[0] & 63);
}

/* Idle sources are collected after 0.1 s. */
static void do_nap(const uint8_t *a)
{
	poll(NULL, 0, a[0] & 8 ? 130 : a[0] & 7);
}

static void do_exit(const uint8_t *a)
{
	unsigned int process = PROCESS_OF(this_lane);

	if (a[0] & 1) {
		atomic_store(&world->gone[process], true);
		_exit(0);
	}
	/* Any time is as good as another for the other lane. */
	if (a[0] & 2 && world->pid[!process]) {
		atomic_store(&world->gone[!process], true);
		kill(world->pid[!process], SIGKILL);
	}
}

const struct op_type op_types[] = {
	{ "open",	do_open,	4 },
	{ "size",	do_size,	3 },
	{ "map",	do_map,		16 },
	{ "adopt",	do_adopt,	6 },
	{ "unmap",	do_unmap,	8 },
	{ "protect",	do_protect,	8 },
	{ "update",	do_update,	8 },
	{ "populate",	do_populate,	6 },
	{ "ring",	do_ring,	8 },
	{ "viewfd",	do_viewfd,	3 },
	{ "revoke",	do_revoke,	1 },
	{ "drop",	do_drop,	2 },
	{ "query",	do_query,	3 },
	{ "info",	do_info,	1 },
	{ "raw",	do_raw,		3 },
	{ "mmap",	do_mmap,	8 },
	{ "munmap",	do_munmap,	3 },
	{ "mprotect",	do_mprotect,	6 },
	{ "madvise",	do_madvise,	4 },
	{ "msync",	do_msync,	2 },
	{ "mremap",	do_mremap,	4 },
	{ "mlock",	do_mlock,	1 },
	{ "read",	do_read,	10 },
	{ "write",	do_write,	10 },
	{ "exec",	do_exec,	5 },
	{ "copy",	do_copy,	4 },
	{ "peek",	do_peek,	4 },
	{ "fork",	do_fork,	3 },
	{ "file",	do_file,	8 },
	{ "fd",		do_fd,		3 },
	{ "close",	do_close,	2 },
	{ "source",	do_source,	8 },
	{ "param",	do_param,	2 },
	{ "limit",	do_limit,	1 },
	{ "pressure",	do_pressure,	1 },
	{ "fail",	do_fail,	5 },
	{ "nap",	do_nap,		2 },
	{ "exit",	do_exit,	1 },
};

const unsigned int nr_op_types = sizeof(op_types) / sizeof(op_types[0]);

int op_find(const char *name)
{
	for (unsigned int i = 0; i < nr_op_types; i++) {
		if (!strcmp(op_types[i].name, name))
			return (int)i;
	}
	return -1;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	(void)info;
	if (fault_expected)
		siglongjmp(fault_env, sig);
	/* The fuzzer's own mistake, or a tampering that hit it: the end. */
	atomic_store(&world->gone[PROCESS_OF(this_lane)], true);
	_exit(1);
}

void ops_thread(unsigned int lane)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	this_lane = lane;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
}

void op_run(const struct op *op)
{
	const struct op_type *type = &op_types[op->code % nr_op_types];
	unsigned int fails = next_fails;
	char text[16];
	int len;

	if (!fails || nth_fd < 0) {
		type->run(op->arg);
		return;
	}
	next_fails = 0;
	len = snprintf(text, sizeof(text), "%u", fails);
	if (write(nth_fd, text, len) != len)
		return;
	type->run(op->arg);
	while (pwrite(nth_fd, "0", 1, 0) != 1)
		;
}

/* ---- Once ------------------------------------------------------------------ */

void ops_restore_params(void)
{
	char path[128];

	for (size_t i = 0; i < NR_PARAMS; i++) {
		snprintf(path, sizeof(path), PARAMS "%s", param_names[i]);
		put(path, param_values[i]);
	}
}

bool ops_prepare(void)
{
	static const char *const injection[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
		{ "fail_usercopy/verbose", "0" },
	};
	char path[128];

	for (size_t i = 0; i < sizeof(injection) / sizeof(injection[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", injection[i][0]);
		put(path, injection[i][1]);
	}
	for (size_t i = 0; i < NR_PARAMS; i++) {
		int fd;

		snprintf(path, sizeof(path), PARAMS "%s", param_names[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, param_values[i], sizeof(param_values[i]) - 1) < 0)
			return false;
		close(fd);
	}
	for (int i = 0; i < NR_FILES; i++) {
		const char *why = backing_prepare(kinds[i]);

		/* 6.1 forgets i_mmap_rwsem when such a mapping is split. */
		if (kinds[i] == HUGETLB && !access("/proc/lockdep", F_OK))
			why = "lockdep reports what the kernel does to it";
		if (why) {
			fprintf(stderr, "%s: %s; a memfd stands in\n",
				backing_name(kinds[i]), why);
			kinds[i] = MEMFD;
		}
	}
	return mmap((void *)ARENA, NR_SLOTS * SLOT_SIZE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
		    MAP_FIXED_NOREPLACE, -1, 0) != MAP_FAILED;
}
