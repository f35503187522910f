// SPDX-License-Identifier: GPL-2.0
/*
 * A peer that runs a virtual machine on the view: KVM mirrors the peer's page
 * table as the view mirrors the source's, and must lose what the peer loses.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <stdlib.h>
#include <unistd.h>

#define NR		16UL	/* pages that the guest sees */
#define BLOCK		(HUGE_SIZE / PAGE)
#define CODE_AT		0x1000
#define VIEW_AT		HUGE_SIZE	/* so that KVM may map it by huge entries */

/* Real mode, but ds reaches all memory; ebx is the address of the page. */
static const unsigned char guest_code[] = {
	[0x00] = 0x67, 0x8b, 0x03,	/* mov (%ebx), %ax */
	[0x03] = 0xf4,			/* hlt */
	[0x10] = 0x67, 0x89, 0x03,	/* mov %ax, (%ebx) */
	[0x13] = 0xf4,			/* hlt */
	[0x20] = 0x67, 0xff, 0x03,	/* incw (%ebx) */
	[0x23] = 0x41,			/* inc %cx */
	[0x24] = 0xeb, 0xfa,		/* jmp to incw */
	[0x30] = 0x67, 0x8b, 0x03,	/* mov (%ebx), %ax */
	[0x33] = 0x67, 0x89, 0x83, 0x00, 0x10, 0x00, 0x00, /* mov %ax, 0x1000(%ebx) */
	[0x3a] = 0xeb, 0xf4,		/* jmp to the first mov */
};

enum { DO_READ = 0x00, DO_WRITE = 0x10, DO_LOOP = 0x20, DO_COPY = 0x30 };

/* What is no plain success of KVM_RUN. */
#define EXITED(reason)	(0x100000L | (reason))
#define MMIO_WRITE	EXITED(KVM_EXIT_MMIO | 0x1000)
#define MMIO_READ	EXITED(KVM_EXIT_MMIO)

static int vm, vcpu;
static struct kvm_run *run_area;
static unsigned long view_at;

/* view address, pages -> 0. In a peer, which is a process of its own. */
static long op_kvm_start(const long *a)
{
	struct kvm_userspace_memory_region slot[2] = {
		{ .slot = 0, .guest_phys_addr = CODE_AT, .memory_size = PAGE },
		{ .slot = 1, .guest_phys_addr = VIEW_AT, .memory_size = a[1] * PAGE,
		  .userspace_addr = a[0] },
	};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	void *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_sregs sregs;

	view_at = (unsigned long)a[0];
	if (kvm < 0 || code == MAP_FAILED)
		return -1;
	memcpy(code, guest_code, sizeof(guest_code));
	slot[0].userspace_addr = (uintptr_t)code;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot[0]) ||
	    ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot[1]))
		return -1;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return -1;
	run_area = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0),
			PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run_area == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	sregs.ds.base = 0;
	sregs.ds.selector = 0;
	sregs.ds.limit = 0xffffffff;
	sregs.ds.g = 1;
	return ioctl(vcpu, KVM_SET_SREGS, &sregs);
}

static long touch_for_writing(const long *a)
{
	return (long)__atomic_fetch_add((uint64_t *)a[0], 0, __ATOMIC_SEQ_CST);
}

/*
 * KVM faults a page in and then looks for its entry. If that has been zapped in
 * between, it says EFAULT and not that it wants to try again, for all mappings of
 * this kind; so whoever runs the vCPU has to look whether the page is there.
 */
static int run_vcpu(unsigned long page)
{
	int ret, err, tries = 0;

	do {
		ret = ioctl(vcpu, KVM_RUN, 0);
		err = errno;
	} while (ret && err == EFAULT && ++tries < 100 &&
		 !probe(touch_for_writing, ARGS((long)(view_at + page * PAGE))).sig);
	errno = err;
	return ret;
}

/* what, page, value -> value or EXITED() or -1 and errno */
static long op_kvm_run(const long *a)
{
	struct kvm_regs regs = {
		.rip = CODE_AT + a[0], .rbx = VIEW_AT + a[1] * PAGE, .rax = a[2],
		.rflags = 2,
	};
	long ret;
	int err;

	if (ioctl(vcpu, KVM_SET_REGS, &regs))
		return EXITED(0xfff);
	ret = a[0] >= DO_LOOP ? run_vcpu((unsigned long)a[1]) : ioctl(vcpu, KVM_RUN, 0);
	err = errno;
	if (ret) {
		errno = err;
		return -1;
	}
	if (run_area->exit_reason == KVM_EXIT_HLT) {
		ioctl(vcpu, KVM_GET_REGS, &regs);
		return regs.rax & 0xffff;
	}
	ret = EXITED(run_area->exit_reason);
	if (run_area->exit_reason == KVM_EXIT_MMIO) {
		ret |= run_area->mmio.is_write ? 0x1000 : 0;
		/* Ends what has been emulated half. */
		run_area->immediate_exit = 1;
		ioctl(vcpu, KVM_RUN, 0);
		run_area->immediate_exit = 0;
	}
	return ret;
}

/* How often the guest has gone round. */
static long op_kvm_cx(const long *a)
{
	struct kvm_regs regs;

	(void)a;
	return ioctl(vcpu, KVM_GET_REGS, &regs) ? -1 : (long)(regs.rcx & 0xffff);
}

/* What it has read last. */
static long op_kvm_ax(const long *a)
{
	struct kvm_regs regs;

	(void)a;
	return ioctl(vcpu, KVM_GET_REGS, &regs) ? -1 : (long)(regs.rax & 0xffff);
}

static void load_kvm(void)
{
	if (access("/dev/kvm", F_OK))
		(void)!system("modprobe -q kvm-amd || modprobe -q kvm-intel");
}

/*
 * Now and then one CPU runs into the breakpoint of a static key of KVM's that
 * QEMU's TCG still has when it is no more: int3, and a panic. The debug kernels
 * have no such keys; with one CPU it does not happen.
 */
static bool may_panic(void)
{
	const char *kernel = getenv("MEMORY_VIEW_GUEST");

	return kernel && strncmp(kernel, "debug", 5) && strcmp(kernel, "kasan") &&
	       sysconf(_SC_NPROCESSORS_ONLN) > 1;
}

static void need_kvm(void)
{
	int fd;

	if (may_panic())
		SKIP("KVM's static keys are too much for TCG with two CPUs (see tests/special)");
	fd = open("/dev/kvm", O_RDWR);
	if (fd < 0)
		SKIP("no /dev/kvm: %s", strerror(errno));
	close(fd);
}

static void start_on(struct fixture *f, unsigned long nr, uint32_t rights)
{
	struct outcome o;

	need_kvm();
	map_pages(f, 0, 0, nr, rights);
	EXPECT_CALL(f->peer, op_kvm_start, f->view, nr);
	o = CALL(f->peer, op_kvm_run, DO_READ, 1, 0);
	if (o.ret == -1 && o.err == EFAULT &&
	    is_tail_page(map_file(f, PROT_READ) + PAGE)) {
		READS(f, 1, WORD(1));
		SKIP("this KVM refuses tail pages of large folios in VM_PFNMAP mappings");
	}
	EXPECT_VALUE(1, o);
}

static void start(struct fixture *f, uint32_t rights)
{
	start_on(f, NR, rights);
}

static uint16_t count(struct fixture *f, unsigned long page)
{
	return (uint16_t)file_word(f->file, page * PAGE);
}

/* Starts the guest's endless count on a page that holds 0. */
static void start_counting(struct fixture *f, unsigned long page)
{
	assert_true(file_set_word(f->file, page * PAGE, 0));
	START(f->peer, op_kvm_run, DO_LOOP, page, 0);
	if (!EVENTUALLY(count(f, page)))
		fail_msg("the guest does not run");
}

static void check_stands_still(struct fixture *f, unsigned long page)
{
	uint16_t was = count(f, page);

	for (int i = 0; i < 5; i++) {
		nap();
		assert_int_equal(count(f, page), was);
	}
}

static void guest_reads_and_writes(struct fixture *f)
{
	start(f, RW);
	for (unsigned long i = 0; i < NR; i++)
		EXPECT_VALUE(i, CALL(f->peer, op_kvm_run, DO_READ, i));
	for (unsigned long i = 0; i < NR; i++)
		EXPECT_VALUE(0x4000 + i, CALL(f->peer, op_kvm_run, DO_WRITE, i, 0x4000 + i));
	for (unsigned long i = 0; i < NR; i++)
		assert_int_equal(count(f, i), 0x4000 + i);
}

/* KVM never upgrades a present read-only entry: a read must already ask for W. */
static void guest_writes_what_it_has_read(struct fixture *f)
{
	start(f, RW);
	for (int round = 0; round < 3; round++) {
		for (unsigned long i = 0; i < NR; i++)
			EXPECT_VALUE(i, CALL(f->peer, op_kvm_run, DO_READ, i));
		for (unsigned long i = 0; i < NR; i++)
			EXPECT_VALUE(i, CALL(f->peer, op_kvm_run, DO_WRITE, i, i));
		/* And so after write-back has cleaned the page, and after a narrowing. */
		if (round == 0)
			EXPECT_OK(fsync(f->file));
		protect_pages(f, 0, NR, R);
		EXPECT_VALUE(2, CALL(f->peer, op_kvm_run, DO_READ, 2));
		protect_pages(f, 0, NR, RW);
	}
}

static void guest_writes_what_the_peer_has_read(struct fixture *f)
{
	start(f, RW);
	unmap_pages(f, 0, NR);
	map_pages(f, 0, 0, NR, RW);
	for (unsigned long i = 0; i < NR; i++)
		READS(f, i, WORD(i));
	for (unsigned long i = 0; i < NR; i++)
		EXPECT_VALUE(7, CALL(f->peer, op_kvm_run, DO_WRITE, i, 7));
}

static void guest_write_to_a_read_only_range(struct fixture *f)
{
	struct outcome o;

	start(f, R);
	/* With an entry, and without. */
	for (int i = 1; i < 8; i += 6) {
		if (i == 7) {
			unmap_pages(f, 0, NR);
			map_pages(f, 0, 0, NR, R);
		}
		o = CALL(f->peer, op_kvm_run, DO_WRITE, i, 99);
		if (!(o.ret == MMIO_WRITE || (o.ret == -1 && o.err == EFAULT)))
			fail_msg("KVM_RUN: %#lx, errno %d, signal %d", o.ret, o.err, o.sig);
		assert_int_equal(file_word(f->file, i * PAGE), WORD(i));
		EXPECT_VALUE(i, CALL(f->peer, op_kvm_run, DO_READ, i));
	}
}

static void lazy_write_gives_mmio_but_never_less_than_the_truth(struct fixture *f)
{
	struct outcome o;

	need_kvm();
	map_pages(f, 0, 0, NR, RW | MEMVIEW_MAP_LAZY_WRITE);
	EXPECT_CALL(f->peer, op_kvm_start, f->view, NR);
	EXPECT_VALUE(3, CALL(f->peer, op_kvm_run, DO_READ, 3));
	o = CALL(f->peer, op_kvm_run, DO_WRITE, 3, 55);
	if (o.ret == MMIO_WRITE)
		assert_int_equal(count(f, 3), 3);
	else
		EXPECT_VALUE(55, o);
	EXPECT_VALUE(55, CALL(f->peer, op_kvm_run, DO_WRITE, 4, 55));
	assert_int_equal(count(f, 4), 55);
}

enum taken { T_UNMAP, T_REVOKE, T_SIZE, T_SOURCE, T_CLOSE };

static void vcpu_loses_what_is_taken_while_it_runs(struct fixture *f)
{
	struct mapping m;
	bool back = false;

	start(f, RW);
	m = source_mapping(f, 0);
	start_counting(f, 5);
	switch ((enum taken)f->tc->param) {
	case T_UNMAP:
		unmap_pages(f, 5, 1);
		back = true;
		break;
	case T_REVOKE:
		EXPECT_OK(mv_revoke(f->ctl));
		break;
	case T_SIZE:
		EXPECT_OK(mv_set_size(f->ctl, 4 * PAGE));
		break;
	case T_SOURCE:
		EXPECT_OK(munmap((void *)m.start, m.end - m.start));
		break;
	case T_CLOSE:
		close(f->ctl);
		f->ctl = -1;
		break;
	}
	check_stands_still(f, 5);
	check_errno(FINISH(f->peer, "KVM_RUN"), EFAULT, "KVM_RUN", __FILE__, __LINE__);
	/* Nothing is lost of what was written before. */
	EXPECT_VALUE(count(f, 5), CALL(f->peer, op_kvm_cx, 0));
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_kvm_run, DO_READ, 5);
	if (back) {
		map_pages(f, 5, 5, 1, RW);
		start_counting(f, 5);
		unmap_pages(f, 5, 1);
		check_stands_still(f, 5);
		check_errno(FINISH(f->peer, "KVM_RUN"), EFAULT, "KVM_RUN", __FILE__,
			    __LINE__);
	}
}

static void vcpu_loses_w_while_it_runs(struct fixture *f)
{
	struct outcome o;

	start(f, RW);
	start_counting(f, 5);
	protect_pages(f, 0, NR, R);
	check_stands_still(f, 5);
	o = FINISH(f->peer, "KVM_RUN");
	if (!(o.ret == MMIO_WRITE || (o.ret == -1 && o.err == EFAULT)))
		fail_msg("KVM_RUN: %#lx, errno %d, signal %d", o.ret, o.err, o.sig);
	check_stands_still(f, 5);
	protect_pages(f, 0, NR, RW);
	EXPECT_VALUE(9, CALL(f->peer, op_kvm_run, DO_WRITE, 5, 9));
}

static void vcpu_goes_on_in_what_replaces_its_page(struct fixture *f)
{
	int other = make_file(f->backing, f->file_size, 0);

	start(f, RW);
	start_counting(f, 5);
	assert_true(file_set_word(other, 5 * PAGE, 0));
	EXPECT_OK(mv_map(f->ctl, other, 0, NR * PAGE, 0, RW | MEMVIEW_MAP_REPLACE));
	check_stands_still(f, 5);
	if (!EVENTUALLY(file_word(other, 5 * PAGE)))
		fail_msg("the guest does not run on");
	unmap_pages(f, 0, NR);
	check_errno(FINISH(f->peer, "KVM_RUN"), EFAULT, "KVM_RUN", __FILE__, __LINE__);
	EXPECT_VALUE((uint16_t)(count(f, 5) + file_word(other, 5 * PAGE)),
		     CALL(f->peer, op_kvm_cx, 0));
}

/* Reclaim, write-back, migration of the page below a running guest. */
static void vcpu_loses_no_write_to_memory_management(struct fixture *f)
{
	char *source;

	start(f, RW);
	source = source_at(f, 0);
	start_counting(f, 5);
	for (int i = 0; i < 5; i++) {
		uint16_t was = count(f, 5);

		madvise(source, NR * PAGE, 21 /* MADV_PAGEOUT */);
		madvise(source, NR * PAGE, MADV_DONTNEED);
		fsync(f->file);
		put_text("/proc/sys/vm/compact_memory", "1");
		assert_true(EVENTUALLY(count(f, 5) != was));
	}
	unmap_pages(f, 0, NR);
	check_errno(FINISH(f->peer, "KVM_RUN"), EFAULT, "KVM_RUN", __FILE__, __LINE__);
	EXPECT_VALUE(count(f, 5), CALL(f->peer, op_kvm_cx, 0));
}

static void peer_with_a_running_guest_is_killed(struct fixture *f)
{
	start(f, RW);
	start_counting(f, 5);
	peer_kill(f->peer);
	check_stands_still(f, 5);
	unmap_pages(f, 0, NR);
}

/* ---- the source has nothing to give: KVM is told, and does not ask for ever ---- */

/* KVM_RUN ends with EFAULT, whatever the guest does with the page. */
static void check_refused(struct fixture *f, int what, unsigned long page)
{
	START(f->peer, op_kvm_run, what, page, 77);
	check_errno(FINISH(f->peer, "KVM_RUN"), EFAULT, "KVM_RUN", __FILE__, __LINE__);
}

static void vcpu_runs_into_a_truncated_file(struct fixture *f)
{
	start(f, RW);
	start_counting(f, 5);
	EXPECT_OK(ftruncate(f->file, 0));
	check_errno(FINISH(f->peer, "KVM_RUN"), EFAULT, "KVM_RUN", __FILE__, __LINE__);
	for (int i = 0; i < 3; i++) {
		check_refused(f, DO_READ, 5);
		check_refused(f, DO_WRITE, 6);
	}
	/* What has been found out is not believed any more. */
	EXPECT_OK(ftruncate(f->file, f->file_size));
	EXPECT_VALUE(0, CALL(f->peer, op_kvm_run, DO_READ, 5));
	EXPECT_VALUE(8, CALL(f->peer, op_kvm_run, DO_WRITE, 6, 8));
	EXPECT_OK(ftruncate(f->file, 6 * PAGE));
	check_refused(f, DO_WRITE, 6);
	map_pages(f, 6, 5, 1, RW | MEMVIEW_MAP_REPLACE);
	EXPECT_VALUE(0, CALL(f->peer, op_kvm_run, DO_READ, 6));
}

static void vcpu_goes_on_in_a_hole(struct fixture *f)
{
	start(f, RW);
	start_counting(f, 5);
	for (int i = 0; i < 5; i++) {
		EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				    NR * PAGE));
		if (!EVENTUALLY(count(f, 5)))
			fail_msg("the guest does not run on");
		assert_int_equal(count(f, 4), 0);
	}
	unmap_pages(f, 5, 1);
	check_errno(FINISH(f->peer, "KVM_RUN"), EFAULT, "KVM_RUN", __FILE__, __LINE__);
}

/* A file of FILE_PAGES pages, all holes, in place of pages 0 to NR - 1. */
static int lend_holes(struct fixture *f, int fd)
{
	EXPECT_OK(fd);
	EXPECT_OK(ftruncate(fd, FILE_PAGES * PAGE));
	EXPECT_OK(fsync(fd));
	start(f, RW);
	EXPECT_OK(mv_map(f->ctl, fd, 0, NR * PAGE, 0, RW | MEMVIEW_MAP_REPLACE));
	return fd;
}

static void vcpu_runs_into_a_full_file_system(struct fixture *f)
{
	const char *dir = scratch_dir();
	char path[128];
	int fd, filler;

	need_kvm();
	if (f->backing == TMPFS) {
		snprintf(path, sizeof(path), "%s/kvm-small", dir);
		EXPECT_OK(mkdir(path, 0700));
		EXPECT_OK(mount("small", path, "tmpfs", 0, "size=256k"));
		filler = EXPECT_OK(open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
		fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		EXPECT_OK(umount2(path, MNT_DETACH));
		EXPECT_OK(rmdir(path));
	} else {
		filler = EXPECT_OK(backing_create(f->backing, 0));
		fd = backing_create(f->backing, 0);
	}
	lend_holes(f, fd);
	for (off_t size = 16 << 20, at = 0; size >= (off_t)PAGE; size /= 2)
		while (!fallocate(filler, 0, at, size))
			at += size;
	for (int i = 0; i < 3; i++)
		check_refused(f, DO_WRITE, 5);
	/* A disk can be read. */
	if (f->backing != TMPFS)
		EXPECT_VALUE(0, CALL(f->peer, op_kvm_run, DO_READ, 6));
	EXPECT_OK(ftruncate(filler, 0));
	if (f->backing != TMPFS)
		EXPECT_OK(fsync(filler));
	if (!EVENTUALLY(CALL(f->peer, op_kvm_run, DO_WRITE, 5, 9).ret == 9))
		fail_msg("there is room, and the guest does not get it");
	assert_int_equal(file_word(fd, 5 * PAGE) & 0xffff, 9);
	close(filler);
	close(fd);
}

/* XFS says EIO for everything once it has been told that its device is bad. */
static void vcpu_runs_into_a_file_system_that_is_gone(struct fixture *f)
{
	char path[128], command[256];
	uint32_t how = 2;	/* XFS_FSOP_GOING_FLAGS_NOLOGFLUSH */
	int fd;

	need_kvm();
	snprintf(path, sizeof(path), "%s/gone", scratch_dir());
	snprintf(command, sizeof(command),
		 "cd %s && truncate -s 320M gone.img && mkfs.xfs -q -f gone.img && "
		 "mkdir -p gone && mount -t xfs -o loop gone.img gone", scratch_dir());
	(void)!system("modprobe -q -a loop xfs");
	EXPECT_OK(-system(command));
	fd = lend_holes(f, open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
	EXPECT_OK(ioctl(fd, _IOR('X', 125, uint32_t) /* XFS_IOC_GOINGDOWN */, &how));
	for (int i = 0; i < 3; i++) {
		check_refused(f, DO_READ, 5);
		check_refused(f, DO_WRITE, 6);
	}
	close(fd);
	EXPECT_OK(umount2(path, MNT_DETACH));
}

/*
 * A storm and a calm take turns, so that the guest goes on: in the storm alone an
 * invalidation runs at all times, and what maps the page has no moment for it.
 */
#define PHASE_MS	100L

static bool in_storm(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_nsec / (PHASE_MS * 1000000) % 2;
}

/* Storms, pages -> reads of 1,000 that KVM has refused */
static long op_kvm_read_through(const long *a)
{
	long storms = 0, reads = 0, refused = 0;
	bool was_in_storm = in_storm();

	while (storms < a[0]) {
		bool now = in_storm();

		storms += now && !was_in_storm;
		was_in_storm = now;
		refused += op_kvm_run(ARGS(DO_READ, reads % a[1])) < 0;
		reads++;
	}
	return refused * 1000 / reads;
}

static void *storm_loop(void *arg)
{
	struct mapping *m = arg;

	while (!atomic_load(&shared->stop)) {
		if (in_storm()) {
			madvise((void *)m->start, m->end - m->start, MADV_DONTNEED);
			atomic_fetch_add(&shared->loops, 1);
		} else {
			usleep(1000);
		}
	}
	return NULL;
}

/*
 * Invalidations without a pause. KVM looks for the entry when the fault has returned,
 * and one that has gone again in between it takes for an error, on any mapping; but
 * one that never was there, because each try has met an invalidation, is ours.
 */
static void vcpu_in_a_storm_of_invalidations(struct fixture *f)
{
	struct mapping m;
	pthread_t threads[2];
	struct outcome o;

	start(f, RW);
	m = source_mapping(f, 0);
	m.end = m.start + NR * PAGE;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storm_loop, &m), 0);
	wait_loops(100);
	START(f->peer, op_kvm_read_through, 12, NR);
	o = FINISH(f->peer, "KVM_RUN in a storm");
	atomic_store(&shared->stop, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	print_message("# %ld of 1,000 refused\n", o.ret);
	assert_in_range(check_returned(o, "reads", __FILE__, __LINE__), 0, 100);
	for (unsigned long i = 0; i < NR; i++)
		EXPECT_VALUE(i, CALL(f->peer, op_kvm_run, DO_READ, i));
}

/* The control: plain memory stays with the guest, whatever its owner does. */
static void guest_keeps_plain_memory(struct fixture *f)
{
	unsigned long plain;
	int fd;

	need_kvm();
	fd = peer_send_fd(f->peer, f->file);
	plain = EXPECT_CALL(f->peer, op_mmap, fd, NR * PAGE, PROT_READ | PROT_WRITE, 0);
	EXPECT_CALL(f->peer, op_kvm_start, plain, NR);
	map_pages(f, 0, 0, NR, RW);
	start_counting(f, 5);
	EXPECT_OK(mv_revoke(f->ctl));
	for (int i = 0; i < 2; i++) {
		uint16_t was = count(f, 5);

		assert_true(EVENTUALLY(count(f, 5) != was));
	}
	peer_kill(f->peer);
}

/* ---- the peer has huge entries, and so may KVM ---- */

static unsigned long huge_entries(struct fixture *f, bool *can)
{
	struct memview_info info;

	EXPECT_OK(mv_info(f->ctl, &info));
	if (can)
		*can = info.features & MEMVIEW_FEATURE_HUGE;
	return info.huge_entries;
}

#define KVM_HUGE	"/sys/kernel/debug/kvm/pages_2m"

/*
 * A guest on two blocks, with WORD(page) in each page. Nobody but KVM has touched
 * the view when this returns: its faults have made the two entries.
 */
static void start_huge(struct fixture *f)
{
	long kvm_had = get_number(KVM_HUGE);
	bool can;
	char *map;

	need_kvm();
	huge_entries(f, &can);
	if (!can)
		SKIP("no huge entries in VM_PFNMAP mappings before 6.12");
	/* One entry for each fault. */
	set_module_param(f, "fault_around_pages", 1);
	map = map_file(f, PROT_READ | PROT_WRITE);
	for (unsigned long i = 0; i < 2 * BLOCK; i++)
		*(uint64_t *)(map + i * PAGE) = WORD(i);
	munmap(map, f->file_size);

	start_on(f, 2 * BLOCK, RW);
	assert_int_equal(huge_entries(f, NULL), 1);
	EXPECT_VALUE(BLOCK + 9, CALL(f->peer, op_kvm_run, DO_READ, BLOCK + 9));
	assert_int_equal(huge_entries(f, NULL), 2);
	assert_int_equal(fdinfo(f->ctl, "faults"), 2);
	if (kvm_had >= 0)
		assert_int_equal(get_number(KVM_HUGE), kvm_had + 2);
}

static void guest_has(struct fixture *f, unsigned long page, unsigned long was)
{
	EXPECT_VALUE(was, CALL(f->peer, op_kvm_run, DO_READ, page));
	EXPECT_VALUE(0x4000 + page, CALL(f->peer, op_kvm_run, DO_WRITE, page, 0x4000 + page));
	assert_int_equal(count(f, page), 0x4000 + page);
}

/* All but one page of the first block, and the next block. */
static void guest_has_neighbours(struct fixture *f, unsigned long page)
{
	const unsigned long pages[] = {
		0, 1, page - 1, page + 1, BLOCK / 2, BLOCK - 2, BLOCK - 1, BLOCK, 2 * BLOCK - 1,
	};

	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		if (pages[i] != page && pages[i] < 2 * BLOCK)
			guest_has(f, pages[i], count(f, pages[i]));
}

static void guest_on_huge_entries_reads_and_writes(struct fixture *f)
{
	start_huge(f);
	for (unsigned long i = 0; i < 2 * BLOCK; i += 64) {
		guest_has(f, i, i);
		guest_has(f, i + 63, i + 63);
	}
	/* Still by those two, of KVM and of the peer. */
	assert_int_equal(huge_entries(f, NULL), 2);
	assert_int_equal(fdinfo(f->ctl, "faults"), 2);
	assert_in_range(EXPECT_CALL(f->peer, op_faults_reading, AT(f, 0), 2 * HUGE_SIZE), 0, 4);
	assert_int_equal(fdinfo(f->ctl, "faults"), 2);
}

static void guest_loses_a_page_of_a_huge_entry(struct fixture *f)
{
	unsigned long page = f->tc->param;

	start_huge(f);
	assert_int_equal(unmap_pages(f, page, 1), 1);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_kvm_run, DO_READ, page);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_kvm_run, DO_WRITE, page, 99);
	guest_has_neighbours(f, page);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_kvm_run, DO_READ, page);
	assert_int_equal(file_word(f->file, page * PAGE), WORD(page));
	map_pages(f, page, page, 1, RW);
	guest_has(f, page, page);
	guest_has_neighbours(f, page);
}

static void guest_loses_w_of_a_page_of_a_huge_entry(struct fixture *f)
{
	unsigned long page = f->tc->param;
	struct outcome o;

	start_huge(f);
	protect_pages(f, page, 1, R);
	for (int i = 0; i < 2; i++) {
		o = CALL(f->peer, op_kvm_run, DO_WRITE, page, 99);
		if (!(o.ret == MMIO_WRITE || (o.ret == -1 && o.err == EFAULT)))
			fail_msg("KVM_RUN: %#lx, errno %d, signal %d", o.ret, o.err, o.sig);
		assert_int_equal(file_word(f->file, page * PAGE), WORD(page));
		EXPECT_VALUE(page, CALL(f->peer, op_kvm_run, DO_READ, page));
		guest_has_neighbours(f, page);
	}
	protect_pages(f, page, 1, RW);
	guest_has(f, page, page);
	guest_has_neighbours(f, page);
}

enum huge_taken { H_PAGE, H_BLOCK, H_REVOKE, H_W };

/* From a running vCPU. */
static void take_of_huge(struct fixture *f)
{
	/* Nothing has been cut so far. */
	assert_int_equal(huge_entries(f, NULL), 2);
	assert_int_equal(fdinfo(f->ctl, "zaps"), 0);
	switch ((enum huge_taken)f->tc->param) {
	case H_PAGE:
		unmap_pages(f, 5, 1);
		break;
	case H_BLOCK:
		unmap_pages(f, 0, BLOCK);
		break;
	case H_REVOKE:
		EXPECT_OK(mv_revoke(f->ctl));
		break;
	case H_W:
		protect_pages(f, 5, 1, R);
		break;
	}
}

/* The vCPU stands: what is left works, and so does what is given back. */
static void check_rest_of_huge(struct fixture *f)
{
	enum huge_taken taken = f->tc->param;

	if (taken == H_REVOKE) {
		EXPECT_CALL_ERRNO(EFAULT, f->peer, op_kvm_run, DO_READ, BLOCK);
		return;
	}
	guest_has(f, BLOCK + 1, BLOCK + 1);
	if (taken == H_BLOCK) {
		EXPECT_CALL_ERRNO(EFAULT, f->peer, op_kvm_run, DO_READ, 0);
		EXPECT_CALL_ERRNO(EFAULT, f->peer, op_kvm_run, DO_READ, BLOCK - 1);
	} else {
		guest_has_neighbours(f, 5);
	}
	if (taken == H_W)
		protect_pages(f, 5, 1, RW);
	else if (taken == H_PAGE)
		map_pages(f, 5, 5, 1, RW);
	else
		map_pages(f, 0, 0, BLOCK, RW);
	start_counting(f, 5);
	unmap_pages(f, 5, 1);
	check_stands_still(f, 5);
	check_errno(FINISH(f->peer, "KVM_RUN"), EFAULT, "KVM_RUN", __FILE__, __LINE__);
}

static void vcpu_writes_while_a_huge_entry_is_cut(struct fixture *f)
{
	struct outcome o;

	start_huge(f);
	start_counting(f, 5);
	take_of_huge(f);
	check_stands_still(f, 5);
	o = FINISH(f->peer, "KVM_RUN");
	if (f->tc->param != H_W) {
		check_errno(o, EFAULT, "KVM_RUN", __FILE__, __LINE__);
		/* Nothing is lost of what was written before. */
		EXPECT_VALUE(count(f, 5), CALL(f->peer, op_kvm_cx, 0));
		EXPECT_CALL_ERRNO(EFAULT, f->peer, op_kvm_run, DO_READ, 5);
	} else if (!(o.ret == MMIO_WRITE || (o.ret == -1 && o.err == EFAULT))) {
		fail_msg("KVM_RUN: %#lx, errno %d, signal %d", o.ret, o.err, o.sig);
	}
	check_stands_still(f, 5);
	check_rest_of_huge(f);
}

/* It copies page 5 to page 6. */
static void vcpu_reads_while_a_huge_entry_is_cut(struct fixture *f)
{
	start_huge(f);
	assert_true(file_set_word(f->file, 5 * PAGE, 0x1111));
	START(f->peer, op_kvm_run, DO_COPY, 5, 0);
	if (!EVENTUALLY(count(f, 6) == 0x1111))
		fail_msg("the guest does not run");
	take_of_huge(f);
	/* What it never may see. */
	assert_true(file_set_word(f->file, 5 * PAGE, 0x2222));
	check_stands_still(f, 6);
	check_errno(FINISH(f->peer, "KVM_RUN"), EFAULT, "KVM_RUN", __FILE__, __LINE__);
	EXPECT_VALUE(0x1111, CALL(f->peer, op_kvm_ax, 0));
	assert_int_equal(count(f, 6), 0x1111);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_kvm_run, DO_READ, 5);
	check_rest_of_huge(f);
}

#define HUGE_CASE(fn, v, p) \
	{ .name = #fn, .run = fn, .backings = ON(HUGETLB), .variant = v, .param = p }

#define TAKEN(how, mask) \
	{ .name = "vcpu_loses_what_is_taken_while_it_runs", \
	  .run = vcpu_loses_what_is_taken_while_it_runs, .backings = mask, \
	  .variant = #how, .param = how }

static const struct test_case cases[] = {
	CASE_ON(guest_reads_and_writes, ON_ALL),
	CASE_ON(guest_writes_what_it_has_read, ON_ALL),
	CASE_ON(guest_writes_what_the_peer_has_read, ON_ALL),
	CASE_ON(guest_write_to_a_read_only_range, ON_ALL),
	CASE_ON(lazy_write_gives_mmio_but_never_less_than_the_truth, ON(MEMFD) | ON(EXT4)),
	TAKEN(T_UNMAP, ON_ALL),
	TAKEN(T_REVOKE, ON(MEMFD)),
	TAKEN(T_SIZE, ON(MEMFD)),
	TAKEN(T_SOURCE, ON(MEMFD)),
	TAKEN(T_CLOSE, ON(MEMFD)),
	CASE_ON(vcpu_loses_w_while_it_runs, ON(MEMFD) | ON(EXT4)),
	CASE_ON(vcpu_goes_on_in_what_replaces_its_page, ON(MEMFD) | ON(EXT4)),
	CASE_ON(vcpu_loses_no_write_to_memory_management, ON(MEMFD) | ON(EXT4)),
	CASE_ON(vcpu_runs_into_a_truncated_file, ON_SMALL),
	CASE_ON(vcpu_goes_on_in_a_hole, ON_SMALL),
	CASE_ON(vcpu_runs_into_a_full_file_system, ON(TMPFS) | ON(EXT4)),
	CASE(vcpu_runs_into_a_file_system_that_is_gone),
	CASE_ON(vcpu_in_a_storm_of_invalidations, ON(MEMFD) | ON(EXT4)),
	CASE(peer_with_a_running_guest_is_killed),
	CASE_ON(guest_keeps_plain_memory, ON(MEMFD)),
	CASE_ON(guest_on_huge_entries_reads_and_writes, ON(HUGETLB)),
	HUGE_CASE(guest_loses_a_page_of_a_huge_entry, "first", 0),
	HUGE_CASE(guest_loses_a_page_of_a_huge_entry, "mid", 5),
	HUGE_CASE(guest_loses_a_page_of_a_huge_entry, "last", BLOCK - 1),
	HUGE_CASE(guest_loses_w_of_a_page_of_a_huge_entry, "first", 0),
	HUGE_CASE(guest_loses_w_of_a_page_of_a_huge_entry, "mid", 5),
	HUGE_CASE(guest_loses_w_of_a_page_of_a_huge_entry, "last", BLOCK - 1),
	HUGE_CASE(vcpu_writes_while_a_huge_entry_is_cut, "page", H_PAGE),
	HUGE_CASE(vcpu_writes_while_a_huge_entry_is_cut, "block", H_BLOCK),
	HUGE_CASE(vcpu_writes_while_a_huge_entry_is_cut, "revoke", H_REVOKE),
	HUGE_CASE(vcpu_writes_while_a_huge_entry_is_cut, "W", H_W),
	HUGE_CASE(vcpu_reads_while_a_huge_entry_is_cut, "page", H_PAGE),
	HUGE_CASE(vcpu_reads_while_a_huge_entry_is_cut, "block", H_BLOCK),
	HUGE_CASE(vcpu_reads_while_a_huge_entry_is_cut, "revoke", H_REVOKE),
};

/*
 * The first VM and the end of the last one switch a static key, which patches
 * the kernel's text under all CPUs. QEMU's multi-threaded TCG goes round in the
 * breakpoint for ever now and then (seen on the debug kernel: both CPUs in
 * finish_task_switch() below exc_int3(), for ten minutes). With one VM that stays
 * it is switched once, not for each case.
 */
static void keep_a_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	int kept = kvm >= 0 ? ioctl(kvm, KVM_CREATE_VM, 0) : -1;

	/* A vCPU without a local APIC has a key of its own. */
	if (kept >= 0)
		(void)!ioctl(kept, KVM_CREATE_VCPU, 0);
}

int main(int argc, char **argv)
{
	if (!may_panic()) {
		load_kvm();
		keep_a_vm();
	}
	return RUN_CASES(argc, argv, "adv_kvm", cases);
}
