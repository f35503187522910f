// SPDX-License-Identifier: GPL-2.0
/*
 * What happens to the file below a view: advice, holes, truncation, a full, a
 * frozen or a layered file system. No write is lost, and no page stays that the
 * file has lost (R3).
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define NR	8UL	/* pages lent */

/* ---- madvise(2) on the source ---- */

/* What the peer has written is never lost, whatever is advised. */
static void advised_source_loses_no_write(struct fixture *f)
{
	static const int advices[] = {
		MADV_DONTNEED, 21 /* MADV_PAGEOUT */, 20 /* MADV_COLD */, MADV_WILLNEED,
		MADV_HUGEPAGE, 25 /* MADV_COLLAPSE */, MADV_NOHUGEPAGE, 22, 23,
		/* 22, 23: MADV_POPULATE_READ, _WRITE */
		MADV_DOFORK, MADV_DONTFORK, MADV_RANDOM, MADV_SEQUENTIAL, MADV_NORMAL,
		MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_DODUMP, MADV_DONTDUMP, MADV_FREE,
		24 /* MADV_DONTNEED_LOCKED */, MADV_WIPEONFORK, MADV_KEEPONFORK,
	};
	struct outcome o;
	char *source;
	size_t len;

	for (unsigned long i = 0; i < NR; i++)
		assert_true(file_set_word(f->file, i * PAGE, 0));
	map_pages(f, 0, 0, NR, RW);
	source = source_at(f, 0);
	len = span(f, NR);
	START(f->peer, op_count_up, f->view, NR);
	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
			madvise(source, len, advices[i]);
			if (!still_busy(f->peer))
				fail_msg("the peer met a fault after advice %d", advices[i]);
			if (i < 3)
				wait_loops(2);
		}
	}
	wait_loops(4);
	atomic_store(&shared->stop, 1);
	o = FINISH(f->peer, "count");
	assert_int_equal(o.sig, 0);
	assert_true(o.ret > 0);
	assert_int_equal(atomic_load(&shared->bad), 0);
	for (unsigned long i = 0; i < NR; i++)
		READS(f, i, o.ret);
	unmap_pages(f, 0, NR);
	for (unsigned long i = 0; i < NR; i++)
		assert_int_equal(file_word(f->file, i * PAGE), o.ret);
}

/* The peer's dirty bit is nobody's: what it wrote must be written back anyway. */
static void paged_out_writes_are_not_lost(struct fixture *f)
{
	lend(f, NR, RW);
	for (unsigned long i = 0; i < NR; i++)
		WRITES(f, i, 100 + i);
	for (int i = 0; i < 3; i++) {
		madvise(source_at(f, 0), NR * PAGE, 21 /* MADV_PAGEOUT */);
		assert_true(put_text("/proc/sys/vm/drop_caches", "1"));
	}
	for (unsigned long i = 0; i < NR; i++)
		READS(f, i, 100 + i);
	unmap_pages(f, 0, NR);
	for (unsigned long i = 0; i < NR; i++)
		assert_int_equal(file_word(f->file, i * PAGE), 100 + i);
}

static void removed_pages_read_as_zero(struct fixture *f)
{
	size_t len = unit(f) > PAGE ? unit(f) : 4 * PAGE;

	lend(f, NR, RW);
	EXPECT_OK(madvise(source_at(f, 0), len, MADV_REMOVE));
	READS(f, 0, 0);
	READS(f, 3, 0);
	WRITES(f, 1, 7);
	assert_int_equal(file_word(f->file, PAGE), 7);
	if (len < NR * PAGE)
		READS(f, 5, WORD(5));
}

/* ---- the file ---- */

/*
 * Address, pages: as op_count_up(), but a word may be 0 as well, which is one more
 * in shared->faults.
 */
static long op_count_up_or_zero(const long *a)
{
	uint64_t n = 0;

	while (!atomic_load(&shared->stop)) {
		for (long i = 0; i < a[1]; i++) {
			volatile uint64_t *at = (volatile uint64_t *)(a[0] + i * PAGE);
			uint64_t word = *at;

			if (word != n)
				atomic_fetch_add(word ? &shared->bad : &shared->faults, 1);
			*at = n + 1;
		}
		n++;
		atomic_fetch_add(&shared->loops, 1);
	}
	return (long)n;
}

/* Pages that are removed while the peer writes: it goes on in those that follow. */
static void removed_while_the_peer_writes(struct fixture *f)
{
	struct outcome o;
	char *source;

	for (unsigned long i = 0; i < NR; i++)
		assert_true(file_set_word(f->file, i * PAGE, 0));
	map_pages(f, 0, 0, NR, RW);
	source = source_at(f, 0);
	START(f->peer, op_count_up_or_zero, f->view, NR);
	wait_loops(2);
	for (int i = 0; i < 20; i++) {
		size_t at = unit(f) == PAGE ? i % NR * PAGE : 0;

		/* All of it, and one. */
		EXPECT_OK(madvise(source + (i & 1 ? at : 0), i & 1 ? unit(f) : span(f, NR),
				  MADV_REMOVE));
		assert_true(still_busy(f->peer));
		wait_loops(2);
	}
	wait_loops(2);
	atomic_store(&shared->stop, 1);
	o = FINISH(f->peer, "count");
	assert_int_equal(o.sig, 0);
	assert_int_equal(atomic_load(&shared->bad), 0);
	/* It was removed, and then written to again. */
	assert_true(atomic_load(&shared->faults) > 0);
	for (unsigned long i = 0; i < NR; i++)
		READS(f, i, o.ret);
	unmap_pages(f, 0, NR);
	for (unsigned long i = 0; i < NR; i++)
		assert_int_equal(file_word(f->file, i * PAGE), o.ret);
}

static void punched_and_truncated_source_survives(struct fixture *f)
{
	uint64_t source;

	lend(f, NR, RW);
	source = source_addr_at(f->ctl, 0);
	for (int i = 0; i < 3; i++) {
		EXPECT_OK(fallocate(f->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				    unit(f)));
		READS(f, 0, 0);
		WRITES(f, 0, 11);
		EXPECT_OK(ftruncate(f->file, 0));
		READ_SIGBUS(f, 0);
		WRITE_SIGBUS(f, 1);
		EXPECT_OK(ftruncate(f->file, f->file_size));
		READS(f, 0, 0);
		WRITES(f, 1, 12);
		assert_int_equal(file_word(f->file, PAGE), 12);
	}
	assert_int_equal(source_addr_at(f->ctl, 0), source);
}

/*
 * No page that the file has lost stays in a peer whose fault was under way. Such
 * a peer has no more faults, so this shows at the end of a round (R3); one round
 * meets a fault at the wrong moment once in ten times.
 */
static void truncated_and_grown_during_faults(struct fixture *f)
{
	unsigned long view;
	struct peer *second = another_peer(f, f->viewfd, PROT_READ, &view);

	map_pages(f, 0, 0, NR, RW);
	for (int round = 0; round < (f->backing == HUGETLB ? 15 : 1); round++) {
		atomic_store(&shared->stop, 0);
		START(f->peer, op_scan, f->view, NR, 0);
		START(second, op_scan, view, NR, 0);
		for (int i = 0; i < 15; i++) {
			EXPECT_OK(ftruncate(f->file, i & 1 ? unit(f) : 0));
			if (i & 4)
				wait_loops(2);
			EXPECT_OK(ftruncate(f->file, f->file_size));
			EXPECT_OK(fallocate(f->file,
					    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    0, unit(f)));
			wait_loops(2);
		}
		atomic_store(&shared->stop, 1);
		EXPECT_VALUE(0, FINISH(f->peer, "scan"));
		EXPECT_VALUE(0, FINISH(second, "scan"));
		assert_int_equal(atomic_load(&shared->bad), 0);
		WRITES(f, 2, 9);
		READS(f, 2, 9);
		assert_int_equal(file_word(f->file, 2 * PAGE), 9);
		WRITES(f, 2, 0);
	}
}

/* ---- file systems that say no, or later ---- */

static void *map_and_unmap(void *arg)
{
	atomic_int *stop = arg;

	while (!atomic_load(stop)) {
		void *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		munmap(p, 16 * PAGE);
	}
	return NULL;
}

/* A full disk is no reason to refuse a read, in a writable range either. */
static void full_disk_can_be_read(struct fixture *f)
{
	int filler = backing_create(f->backing, 0);
	struct outcome o = { 0 };
	atomic_int stop = 0;
	pthread_t thread;
	int i;

	EXPECT_OK(ftruncate(f->file, 0));
	EXPECT_OK(ftruncate(f->file, f->file_size));
	EXPECT_OK(fsync(f->file));
	for (off_t size = 16 << 20, at = 0; size >= (off_t)PAGE; size /= 2)
		while (!fallocate(filler, 0, at, size))
			at += size;
	assert_int_equal(pthread_create(&thread, NULL, map_and_unmap, &stop), 0);
	for (i = 0; i < 60 && !o.sig; i++) {
		map_pages(f, 0, 0, NR, RW | MEMVIEW_MAP_REPLACE);
		o = CALL(f->peer, op_read, AT(f, i % NR));
	}
	atomic_store(&stop, 1);
	pthread_join(thread, NULL);
	EXPECT_OK(ftruncate(filler, 0));
	if (o.sig)
		fail_msg("read %d of a hole in a full disk: signal %d", i, o.sig);
	EXPECT_VALUE(0, o);
}

/* A peer's write waits until the thaw; who takes the page away does not. */
static void frozen_file_system_holds_up_no_revocation(struct fixture *f)
{
	struct peer *thawer = peer_spawn();
	int thaw_fd = peer_send_fd(thawer, f->file);
	bool blocked;

	map_pages(f, 0, 0, NR, RW | MEMVIEW_MAP_LAZY_WRITE);
	EXPECT_OK(fsync(f->file));
	READS(f, 1, WORD(1));
	drop_old_sources();
	EXPECT_OK(ioctl(f->file, FIFREEZE, 0));
	START(thawer, op_thaw, thaw_fd);
	START(f->peer, op_write, AT(f, 1), (long)SECRET);
	blocked = EVENTUALLY(state_of(f->peer->pid) == 'D');
	if (f->tc->param)
		mv_revoke(f->ctl);
	else
		mv_unmap(f->ctl, 0, NR * PAGE, NULL);
	atomic_store(&shared->ready, 1);
	EXPECT_VALUE(1, FINISH(thawer, "thawing: the revocation waited for it"));
	assert_int_equal(FINISH(f->peer, "write after the thaw").sig, SIGBUS);
	assert_true(blocked);
	assert_int_equal(file_word(f->file, PAGE), WORD(1));
}

/* ---- file systems that put another file below, or move their blocks ---- */

/* What holds for each source, for one that the fixture does not know. */
static void check_source(struct fixture *f, int fd)
{
	assert_true(fd >= 0);
	EXPECT_OK(ftruncate(fd, FILE_PAGES * PAGE));
	for (unsigned long i = 0; i < NR; i++)
		assert_true(file_set_word(fd, i * PAGE, WORD(i)));
	EXPECT_OK(mv_map(f->ctl, fd, 0, NR * PAGE, 0, RW));
	for (unsigned long i = 0; i < NR; i++) {
		READS(f, i, WORD(i));
		WRITES(f, i, 10 * i);
	}
	EXPECT_OK(fsync(fd));
	assert_true(put_text("/proc/sys/vm/drop_caches", "1"));
	for (unsigned long i = 0; i < NR; i++) {
		WRITES(f, i, 20 * i);
		assert_int_equal(file_word(fd, i * PAGE), 20 * i);
	}
	protect_pages(f, 0, 2, R);
	WRITE_SEGV(f, 0);
	READS(f, 1, 20);
	EXPECT_OK(ftruncate(fd, 2 * PAGE));
	READ_SIGBUS(f, 3);
	EXPECT_OK(ftruncate(fd, FILE_PAGES * PAGE));
	READS(f, 3, 0);
	WRITES(f, 3, 33);
	assert_int_equal(file_word(fd, 3 * PAGE), 33);
	EXPECT_OK(munmap(source_at(f, 0), 2 * PAGE));
	READ_SIGBUS(f, 0);
	EXPECT_OK(mv_map(f->ctl, fd, 0, NR * PAGE, 0, RW | MEMVIEW_MAP_REPLACE));
	READS(f, 1, 20);
	unmap_pages(f, 0, NR);
	READ_SIGBUS(f, 1);
}

static void overlayfs_is_a_source(struct fixture *f)
{
	char path[128];

	need_overlay();
	snprintf(path, sizeof(path), "%s/" OVERLAY "upper", scratch_dir());
	check_source(f, open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
}

/* Copied up by a writer: who has mapped the lower file stays with that. */
static void overlayfs_copies_the_file_up(struct fixture *f)
{
	uint64_t word = WORD(7), before, after;
	volatile uint64_t *plain;
	char path[128];
	int fd, rw;

	need_overlay();
	snprintf(path, sizeof(path), "%s/ovl/lower/low", scratch_dir());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	EXPECT_OK(ftruncate(fd, PAGE));
	assert_int_equal(pwrite(fd, &word, 8, 0), 8);
	close(fd);
	snprintf(path, sizeof(path), "%s/" OVERLAY "low", scratch_dir());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	plain = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(plain, MAP_FAILED);
	EXPECT_OK(mv_map(f->ctl, fd, 0, PAGE, 0, R));
	READS(f, 0, WORD(7));
	rw = open(path, O_RDWR | O_CLOEXEC);
	assert_true(rw >= 0);
	word = SECRET;
	assert_int_equal(pwrite(rw, &word, 8, 0), 8);
	before = *plain;
	READS(f, 0, before);
	WRITE_SEGV(f, 0);
	/* Mapped anew, it is the upper one. */
	EXPECT_OK(mv_map(f->ctl, rw, 0, PAGE, PAGE, RW));
	READS(f, 1, SECRET);
	WRITES(f, 1, 1);
	after = *plain;
	READS(f, 0, after);
	EXPECT_OK(mv_revoke(f->ctl));
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, 1);
}

static void btrfs_is_a_source(struct fixture *f)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/btrfs/file", scratch_dir());
	if (!shell("which mkfs.btrfs"))
		SKIP("no mkfs.btrfs");
	if (!shell("truncate -s 120M btrfs.img && mkfs.btrfs -q btrfs.img && mkdir -p btrfs && "
		   "modprobe -q -a loop btrfs; mount -o loop btrfs.img btrfs"))
		SKIP("cannot make and mount btrfs");
	check_source(f, open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
}

/* ---- who else is asked about a mapping ---- */

#define FOWNER	4711	/* whose files the integrity policy is about */
#define IMA	"/sys/kernel/security/ima/"

static int unsigned_file(uid_t owner)
{
	char path[128];
	int fd;

	if (!scratch_dir())
		SKIP("cannot mount a tmpfs");
	snprintf(path, sizeof(path), "%s/unsigned", scratch_dir());
	unlink(path);
	close(EXPECT_OK(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0700)));
	EXPECT_OK(chown(path, owner, 0));
	fd = EXPECT_OK(open(path, O_RDWR | O_CLOEXEC));
	EXPECT_OK(ftruncate(fd, 4 * PAGE));
	put_code(fd, 0, 42);
	return fd;
}

static int map_executable(int fd)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? -1 : munmap(p, PAGE);
}

/* Security modules see mmap(2), so IMA stands for all of them. */
static void integrity_policy_holds_for_exec(struct fixture *f)
{
	int fd = unsigned_file(FOWNER), other = unsigned_file(FOWNER + 1);
	unsigned long view;
	struct peer *p;

	/* A policy can be loaded once. */
	if (!map_executable(fd)) {
		mount("securityfs", "/sys/kernel/security", "securityfs", 0, NULL);
		if (!put_text(IMA "policy", "appraise func=MMAP_CHECK fowner=4711 "
			      "appraise_type=imasig\n"))
			SKIP("no integrity policy can be loaded");
	}
	EXPECT_ERRNO(EACCES, map_executable(fd));
	EXPECT_OK(map_executable(other));

	EXPECT_REFUSED(f->ctl, EACCES, mv_map(f->ctl, fd, 0, PAGE, 0, RX));
	EXPECT_REFUSED(f->ctl, EACCES, mv_map(f->ctl, fd, 0, PAGE, 0, RWX));
	EXPECT_OK(mv_map(f->ctl, fd, 0, PAGE, 0, RW));
	/* Nor with the source that is there now. */
	EXPECT_REFUSED(f->ctl, EACCES, mv_map(f->ctl, fd, 0, PAGE, PAGE, RX));
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 0, PAGE, RX));

	EXPECT_OK(mv_map(f->ctl, other, 0, PAGE, PAGE, RX));
	p = another_peer(f, f->viewfd, PROT_READ | PROT_EXEC, &view);
	EXPECT_VALUE(42, CALL(p, op_exec, view + PAGE));
	EXPECT_SEGV(view, CALL(p, op_exec, view));
}

/* Its pages are the device's, and the file system cannot take them back. */
static void dax_is_enodev(struct fixture *f)
{
	char path[128];
	void *p;
	int fd;

	(void)shell("modprobe -q -a nd_e820 nd_pmem ext4");
	if (access("/dev/pmem0", F_OK))
		SKIP("no persistent memory (boot with memmap=64M!512M)");
	if (!shell("mkfs.ext4 -q -F -b 4096 /dev/pmem0 && mkdir -p dax && "
		   "mount -t ext4 -o dax /dev/pmem0 dax"))
		SKIP("cannot mount ext4 with DAX");
	snprintf(path, sizeof(path), "%s/dax/file", scratch_dir());
	fd = EXPECT_OK(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	EXPECT_OK(ftruncate(fd, 4 * PAGE));
	/* Only DAX can do this. */
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	munmap(p, PAGE);
	EXPECT_REFUSED(f->ctl, ENODEV, mv_map(f->ctl, fd, 0, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, ENODEV, mv_map(f->ctl, fd, 0, PAGE, 0, RW));
	close(fd);
	/* No mapping of the driver's own is left that keeps it busy. */
	(void)shell("umount dax");
	snprintf(path, sizeof(path), "%s/dax/file", scratch_dir());
	assert_int_equal(access(path, F_OK), -1);
}

static const struct test_case cases[] = {
	CASE_ON(advised_source_loses_no_write, ON_ALL),
	CASE_ON(paged_out_writes_are_not_lost, ON_SMALL),
	CASE_ON(removed_pages_read_as_zero, ON_ALL),
	CASE_ON(removed_while_the_peer_writes, ON_ALL),
	CASE_ON(punched_and_truncated_source_survives, ON_ALL),
	CASE_ON(truncated_and_grown_during_faults, ON_ALL),
	CASE(overlayfs_is_a_source),
	CASE(overlayfs_copies_the_file_up),
	CASE(btrfs_is_a_source),
	CASE(integrity_policy_holds_for_exec),
	CASE(dax_is_enodev),
	CASE_ON(full_disk_can_be_read, ON_DISK),
	{ .name = "frozen_file_system_holds_up_no_revocation",
	  .run = frozen_file_system_holds_up_no_revocation, .variant = "unmap",
	  .param = 0, .backings = ON_DISK },
	{ .name = "frozen_file_system_holds_up_no_revocation",
	  .run = frozen_file_system_holds_up_no_revocation, .variant = "revoke",
	  .param = 1, .backings = ON_DISK },
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "adv_files", cases);
}
