// SPDX-License-Identifier: GPL-2.0
/* Which files MAP_FD takes, with which rights, and with what it refuses others. */
#include "common.h"

#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Refused whatever the rights, with and without another range in the view. */
static void refused(struct fixture *f, int err, int fd)
{
	assert_true(fd >= 0);
	EXPECT_REFUSED(f->ctl, err, mv_map(f->ctl, fd, 0, PAGE, 0, R));
	map_pages(f, 8, 0, 4, RW);
	EXPECT_REFUSED(f->ctl, err, mv_map(f->ctl, fd, 0, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, err,
		       mv_map(f->ctl, fd, 0, PAGE, 9 * PAGE, R | MEMVIEW_MAP_REPLACE));
	READS(f, 9, WORD(1));
}

static void pipe_is_enodev(struct fixture *f)
{
	int fds[2];

	EXPECT_OK(pipe(fds));
	refused(f, ENODEV, fds[0]);
}

static void socket_is_enodev(struct fixture *f)
{
	refused(f, ENODEV, socket(AF_UNIX, SOCK_STREAM, 0));
}

static void eventfd_is_enodev(struct fixture *f)
{
	refused(f, ENODEV, eventfd(0, 0));
}

static void epoll_is_enodev(struct fixture *f)
{
	refused(f, ENODEV, epoll_create1(0));
}

static void directory_is_enodev(struct fixture *f)
{
	refused(f, ENODEV, open("/", O_RDONLY | O_DIRECTORY));
}

static void character_device_is_enodev(struct fixture *f)
{
	refused(f, ENODEV, open("/dev/zero", O_RDWR));
}

static void memory_device_is_enodev(struct fixture *f)
{
	refused(f, ENODEV, open("/dev/null", O_RDWR));
}

static void procfs_file_is_enodev(struct fixture *f)
{
	refused(f, ENODEV, open("/proc/self/maps", O_RDONLY));
}

/* It can be mapped, but what it maps is no memory of a page cache. */
static void pci_resource_is_enodev(struct fixture *f)
{
	int fd = -1;
	glob_t g;

	if (!glob("/sys/bus/pci/devices/*/resource[0-9]", 0, NULL, &g)) {
		for (size_t i = 0; i < g.gl_pathc && fd < 0; i++) {
			void *p;

			fd = open(g.gl_pathv[i], O_RDWR);
			p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
			if (p == MAP_FAILED) {
				close(fd);
				fd = -1;
			} else {
				munmap(p, PAGE);
			}
		}
		globfree(&g);
	}
	if (fd < 0)
		SKIP("no PCI device with memory that can be mapped");
	refused(f, ENODEV, fd);
}

static void own_view_fd_is_enodev(struct fixture *f)
{
	refused(f, ENODEV, f->viewfd);
}

static void another_view_fd_is_enodev(struct fixture *f)
{
	int other = EXPECT_OK(mv_open());

	EXPECT_OK(mv_set_size(other, VIEW_PAGES * PAGE));
	EXPECT_OK(mv_map(other, f->file, 0, PAGE, 0, RW));
	refused(f, ENODEV, mv_viewfd(other));
}

static void control_fd_is_enodev(struct fixture *f)
{
	refused(f, ENODEV, f->ctl);
}

static void memfd_secret_is_enodev(struct fixture *f)
{
	int fd = syscall(SYS_memfd_secret, 0);

	if (fd < 0)
		SKIP("no memfd_secret(2): %s", strerrorname_np(errno));
	EXPECT_OK(ftruncate(fd, PAGE));
	refused(f, ENODEV, fd);
}

static void o_path_is_ebadf(struct fixture *f)
{
	refused(f, EBADF, backing_reopen(f->file, O_PATH));
}

static void write_only_fd_is_eacces(struct fixture *f)
{
	refused(f, EACCES, backing_reopen(f->file, O_WRONLY));
}

static void read_only_fd_cannot_be_mapped_writable(struct fixture *f)
{
	int fd = EXPECT_OK(backing_reopen(f->file, O_RDONLY));

	EXPECT_REFUSED(f->ctl, EACCES, mv_map(f->ctl, fd, 0, PAGE, 0, RW));
	/* Not even where a writable source of the file exists. */
	map_pages(f, 8, 0, 4, RW);
	EXPECT_REFUSED(f->ctl, EACCES, mv_map(f->ctl, fd, 0, PAGE, 0, RW));
	EXPECT_OK(mv_map(f->ctl, fd, 0, PAGE, 0, R));
	READS(f, 0, WORD(0));
	WRITE_SEGV(f, 0);
}

static void append_only_file_cannot_be_mapped_writable(struct fixture *f)
{
	int attr = 0, fd, rdonly = EXPECT_OK(backing_reopen(f->file, O_RDONLY));

	EXPECT_OK(ioctl(f->file, FS_IOC_GETFLAGS, &attr));
	attr |= FS_APPEND_FL;
	EXPECT_OK(ioctl(f->file, FS_IOC_SETFLAGS, &attr));
	fd = backing_reopen(f->file, O_RDWR | O_APPEND);
	if (fd >= 0) {
		EXPECT_REFUSED(f->ctl, EACCES, mv_map(f->ctl, fd, 0, PAGE, 0, RW));
		EXPECT_OK(mv_map(f->ctl, rdonly, 0, PAGE, 0, R));
		EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 0, PAGE, RW));
		EXPECT_REFUSED(f->ctl, EACCES, mv_map(f->ctl, fd, 0, PAGE, PAGE, RW));
	}
	attr &= ~FS_APPEND_FL;
	EXPECT_OK(ioctl(f->file, FS_IOC_SETFLAGS, &attr));
	assert_true(fd >= 0);
}

static void write_sealed_is_eperm(struct fixture *f)
{
	int rdonly = EXPECT_OK(backing_reopen(f->file, O_RDONLY));

	EXPECT_OK(fcntl(f->file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, f->file, 0, PAGE, 0, RW));
	/* For reading it is as good as ever. */
	EXPECT_OK(mv_map(f->ctl, rdonly, 0, PAGE, 0, R));
	READS(f, 0, WORD(0));
	WRITE_SEGV(f, 0);
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 0, PAGE, RW));
}

static void future_write_sealed_is_eperm(struct fixture *f)
{
	EXPECT_OK(fcntl(f->file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, f->file, 0, PAGE, 0, RW));
	EXPECT_OK(mv_map(f->ctl, f->file, 0, PAGE, 0, R));
	READS(f, 0, WORD(0));
	WRITE_SEGV(f, 0);
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 0, PAGE, RW));
}

/* The writable source that is there already must not get around the seal. */
static void seal_after_first_mapping_is_eperm(struct fixture *f)
{
	map_pages(f, 0, 0, 4, RW);
	WRITES(f, 0, 77);
	EXPECT_OK(fcntl(f->file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, f->file, 0, PAGE, 8 * PAGE, RW));
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, f->file, PAGE, PAGE, 0,
					     RW | MEMVIEW_MAP_REPLACE));
	/* What was mapped before the seal stays, as with mmap(2). */
	WRITES(f, 1, 78);
	assert_int_equal(file_word(f->file, PAGE), 78);
	map_pages(f, 8, 1, 1, R);
	READS(f, 8, 78);
	WRITE_SEGV(f, 8);
}

static void writable_range_keeps_the_seal_away(struct fixture *f)
{
	map_pages(f, 0, 0, 4, RW);
	EXPECT_ERRNO(EBUSY, fcntl(f->file, F_ADD_SEALS, F_SEAL_WRITE));
	assert_int_equal(unmap_pages(f, 0, 4), 4);
	/* The idle source would be kept for a moment. */
	EXPECT_OK(mv_drop_idle(f->ctl));
	EXPECT_OK(fcntl(f->file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, f->file, 0, PAGE, 0, RW));
}

static void noexec_mount_is_eperm(struct fixture *f)
{
	int fd;

	if (!noexec_dir())
		SKIP("cannot mount a noexec tmpfs");
	fd = EXPECT_OK(open(noexec_dir(), O_TMPFILE | O_RDWR, 0700));
	EXPECT_OK(ftruncate(fd, PAGE));
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, fd, 0, PAGE, 0, RX));
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, fd, 0, PAGE, 0, RWX));
	EXPECT_OK(mv_map(f->ctl, fd, 0, PAGE, 0, RW));
	/* Nor with the source that is there now. */
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, fd, 0, PAGE, PAGE, RX));
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 0, PAGE, RX));
	WRITES(f, 0, 5);
}

/* The same inode by two mounts: the one that allows must not speak for both. */
static void exec_right_belongs_to_the_mount(struct fixture *f)
{
	char file[128], dir[128], bound[160];
	int exec_fd, noexec_fd;

	if (!scratch_dir())
		SKIP("cannot mount a tmpfs");
	snprintf(dir, sizeof(dir), "%s/bound", scratch_dir());
	snprintf(file, sizeof(file), "%s/file", scratch_dir());
	snprintf(bound, sizeof(bound), "%s/file", dir);
	assert_true(!mkdir(dir, 0700) || errno == EEXIST);
	EXPECT_OK(mount(scratch_dir(), dir, NULL, MS_BIND, NULL));
	EXPECT_OK(mount(NULL, dir, NULL, MS_BIND | MS_REMOUNT | MS_NOEXEC, NULL));
	exec_fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0700);
	noexec_fd = open(bound, O_RDWR);
	unlink(file);
	umount2(dir, MNT_DETACH);
	assert_true(exec_fd >= 0 && noexec_fd >= 0);
	EXPECT_OK(ftruncate(exec_fd, PAGE));
	EXPECT_OK(mv_map(f->ctl, exec_fd, 0, PAGE, 0, RX));
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, noexec_fd, 0, PAGE, PAGE, RX));
	EXPECT_OK(mv_map(f->ctl, noexec_fd, 0, PAGE, PAGE, R));
	/* Nor with the source that is there now, which the range before has used. */
	EXPECT_REFUSED(f->ctl, EPERM, mv_map(f->ctl, noexec_fd, 0, PAGE, 2 * PAGE, RX));
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, PAGE, PAGE, RX));
}

static void file_can_be_mapped_and_read(struct fixture *f)
{
	map_pages(f, 10, 2, 20, RW);
	for (int i = 0; i < 20; i++)
		READS(f, 10 + i, WORD(2 + i));
}

static void read_only_fd_can_be_mapped_and_read(struct fixture *f)
{
	int fd = EXPECT_OK(backing_reopen(f->file, O_RDONLY));

	EXPECT_OK(mv_map(f->ctl, fd, 0, 8 * PAGE, 0, R));
	for (int i = 0; i < 8; i++)
		READS(f, i, WORD(i));
	WRITE_SEGV(f, 3);
}

static void closed_fd_stays_mapped(struct fixture *f)
{
	map_pages(f, 0, 0, 8, RW);
	close(f->file);
	READS(f, 1, WORD(1));
	WRITES(f, 2, 33);
	READS(f, 2, 33);
}

/* To the end of what a file can have, and no further. */
static void offsets_are_those_of_mmap(struct fixture *f)
{
	static const uint64_t offsets[] = {
		1ULL << 63, (1ULL << 63) - PAGE, (1ULL << 63) - 2 * PAGE,
		(1ULL << 63) - (1ULL << 30), (1ULL << 63) - (1ULL << 30) - PAGE,
		1ULL << 44, (1ULL << 44) - PAGE, (1ULL << 44) - 2 * PAGE, 1ULL << 43,
		1ULL << 30,
	};

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		void *plain = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f->file, offsets[i]);

		if (plain == MAP_FAILED) {
			/* A negative offset is no offset to mmap(2). */
			assert_true(errno == EOVERFLOW || errno == EINVAL);
			EXPECT_REFUSED(f->ctl, EOVERFLOW,
				       mv_map(f->ctl, f->file, offsets[i], PAGE, 0, R));
			continue;
		}
		munmap(plain, PAGE);
		EXPECT_OK(mv_map(f->ctl, f->file, offsets[i], PAGE, 0, R));
		READ_SIGBUS(f, 0);
		unmap_pages(f, 0, 1);
	}
}

static void swap_file_is_etxtbsy(struct fixture *f)
{
	char path[128], block[PAGE] = "";
	int fd;

	/* It needs a name. */
	snprintf(path, sizeof(path), "%s/ext4/swap", scratch_dir());
	fd = EXPECT_OK(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	for (int i = 0; i < 4096; i++)
		assert_int_equal(pwrite(fd, block, PAGE, i * PAGE), PAGE);
	EXPECT_OK(fsync(fd));
	/* The one page of it that makes it one. */
	((uint32_t *)(block + 1024))[0] = 1;
	((uint32_t *)(block + 1024))[1] = 4095;
	memcpy(block + PAGE - 10, "SWAPSPACE2", 10);
	assert_int_equal(pwrite(fd, block, PAGE, 0), PAGE);
	EXPECT_OK(fsync(fd));
	if (swapon(path, 0)) {
		unlink(path);
		SKIP("cannot swap to it: %s", strerror(errno));
	}
	EXPECT_REFUSED(f->ctl, ETXTBSY, mv_map(f->ctl, fd, 0, PAGE, 0, RW));
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(errno, ETXTBSY);
	EXPECT_OK(swapoff(path));
	unlink(path);
	EXPECT_OK(mv_map(f->ctl, fd, 0, PAGE, 0, RW));
	close(fd);
}

static void hugetlb_beyond_eof_is_einval(struct fixture *f)
{
	struct stat st;

	EXPECT_REFUSED(f->ctl, EINVAL, mv_map(f->ctl, f->file, f->file_size, PAGE, 0, RW));
	EXPECT_REFUSED(f->ctl, EINVAL,
		       mv_map(f->ctl, f->file, f->file_size - PAGE, 2 * PAGE, 0, RW));
	EXPECT_OK(mv_map(f->ctl, f->file, f->file_size - PAGE, PAGE, 0, RW));
	/* A writable mmap of hugetlbfs extends the file; a view must not. */
	EXPECT_OK(fstat(f->file, &st));
	assert_int_equal(st.st_size, f->file_size);
}

/* Ranges are of small pages even where the file has huge ones. */
static void hugetlb_ranges_need_no_huge_alignment(struct fixture *f)
{
	map_pages(f, 5, 3, 2, RW);
	READS(f, 5, WORD(3));
	READS(f, 6, WORD(4));
	READ_SIGBUS(f, 4);
	READ_SIGBUS(f, 7);
	WRITES(f, 6, 99);
	assert_int_equal(file_word(f->file, 4 * PAGE), 99);
	/* Across the border of two huge pages. */
	assert_true(file_set_word(f->file, HUGE_SIZE - PAGE, 1001));
	assert_true(file_set_word(f->file, HUGE_SIZE, 1002));
	map_pages(f, 20, HUGE_SIZE / PAGE - 1, 2, R);
	READS(f, 20, 1001);
	READS(f, 21, 1002);
	WRITE_SEGV(f, 21);
}

static const struct test_case cases[] = {
	CASE(pipe_is_enodev),
	CASE(socket_is_enodev),
	CASE(eventfd_is_enodev),
	CASE(epoll_is_enodev),
	CASE(directory_is_enodev),
	CASE(character_device_is_enodev),
	CASE(memory_device_is_enodev),
	CASE(procfs_file_is_enodev),
	CASE(pci_resource_is_enodev),
	CASE(own_view_fd_is_enodev),
	CASE(another_view_fd_is_enodev),
	CASE(control_fd_is_enodev),
	CASE(memfd_secret_is_enodev),
	CASE_ON(o_path_is_ebadf, ON_ALL),
	CASE_ON(write_only_fd_is_eacces, ON_ALL),
	CASE_ON(read_only_fd_cannot_be_mapped_writable, ON_ALL),
	CASE_ON(append_only_file_cannot_be_mapped_writable, ON_DISK),
	CASE_ON(write_sealed_is_eperm, ON_SEALABLE),
	CASE_ON(future_write_sealed_is_eperm, ON_SEALABLE),
	CASE_ON(seal_after_first_mapping_is_eperm, ON_SEALABLE),
	CASE_ON(writable_range_keeps_the_seal_away, ON_SEALABLE),
	CASE(noexec_mount_is_eperm),
	CASE(exec_right_belongs_to_the_mount),
	CASE_ON(file_can_be_mapped_and_read, ON_ALL),
	CASE_ON(read_only_fd_can_be_mapped_and_read, ON_ALL),
	CASE_ON(closed_fd_stays_mapped, ON_ALL),
	CASE_ON(offsets_are_those_of_mmap, ON_SMALL),
	CASE_ON(swap_file_is_etxtbsy, ON(EXT4)),
	CASE_ON(hugetlb_beyond_eof_is_einval, ON(HUGETLB)),
	CASE_ON(hugetlb_ranges_need_no_huge_alignment, ON(HUGETLB)),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "fdtypes", cases);
}
