// SPDX-License-Identifier: GPL-2.0
/* See backing.h. */
#include "backing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BASE		"/tmp/memview-tests"
#define NR_HUGE		"64"
#define NR_HUGE_FILE	"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

static const struct {
	const char *name;
	const char *dir;	/* NULL: memfd */
	unsigned int magic;
	const char *make;
} backings[NR_BACKINGS] = {
	[MEMFD] = { .name = "memfd" },
	[HUGETLB] = { .name = "hugetlb" },
	[TMPFS] = { "tmpfs", BASE, TMPFS_MAGIC, NULL },
	[EXT4] = { "ext4", BASE "/ext4", EXT4_SUPER_MAGIC,
		   "truncate -s 64M " BASE "/ext4.img && "
		   "mkfs.ext4 -q -F -b 4096 " BASE "/ext4.img && "
		   "mkdir -p " BASE "/ext4 && modprobe -q -a loop ext4; "
		   "mount -t ext4 -o loop " BASE "/ext4.img " BASE "/ext4" },
	[XFS] = { "xfs", BASE "/xfs", XFS_SUPER_MAGIC,
		  "truncate -s 320M " BASE "/xfs.img && "
		  "mkfs.xfs -q -f " BASE "/xfs.img && "
		  "mkdir -p " BASE "/xfs && modprobe -q -a loop xfs; "
		  "mount -t xfs -o loop " BASE "/xfs.img " BASE "/xfs" },
};

const char *backing_name(enum backing b)
{
	return backings[b].name;
}

size_t backing_block(enum backing b)
{
	return b == HUGETLB ? HUGE_SIZE : (size_t)sysconf(_SC_PAGESIZE);
}

static bool is_mounted(const char *dir, unsigned int magic)
{
	struct stat self, parent;
	struct statfs fs;
	char up[128];

	snprintf(up, sizeof(up), "%s/..", dir);
	return !statfs(dir, &fs) && (unsigned int)fs.f_type == magic &&
	       !stat(dir, &self) && !stat(up, &parent) &&
	       self.st_dev != parent.st_dev;
}

const char *scratch_dir(void)
{
	if (is_mounted(BASE, TMPFS_MAGIC))
		return BASE;
	if (mkdir(BASE, 0700) && errno != EEXIST)
		return NULL;
	if (mount("memview-tests", BASE, "tmpfs", 0, "mode=0700"))
		return NULL;
	return BASE;
}

const char *noexec_dir(void)
{
	const char *dir = BASE "/noexec";

	if (is_mounted(dir, TMPFS_MAGIC))
		return dir;
	if (!scratch_dir() || (mkdir(dir, 0700) && errno != EEXIST) ||
	    mount("memview-noexec", dir, "tmpfs", MS_NOEXEC, "mode=0700"))
		return NULL;
	return dir;
}

static const char *prepare_hugetlb(void)
{
	unsigned long nr = 0;
	FILE *f = fopen(NR_HUGE_FILE, "re");

	if (!f)
		return "no 2 MiB huge pages";
	if (fscanf(f, "%lu", &nr) != 1)
		nr = 0;
	fclose(f);
	if (nr >= strtoul(NR_HUGE, NULL, 10))
		return NULL;
	f = fopen(NR_HUGE_FILE, "we");
	if (!f)
		return "cannot reserve huge pages";
	fputs(NR_HUGE, f);
	fclose(f);
	f = fopen(NR_HUGE_FILE, "re");
	if (!f || fscanf(f, "%lu", &nr) != 1)
		nr = 0;
	if (f)
		fclose(f);
	return nr >= 16 ? NULL : "too little memory for huge pages";
}

const char *backing_prepare(enum backing b)
{
	static char why[64];
	int status;

	if (b == MEMFD)
		return NULL;
	if (b == HUGETLB)
		return prepare_hugetlb();
	if (!scratch_dir())
		return "cannot mount a tmpfs";
	if (is_mounted(backings[b].dir, backings[b].magic))
		return NULL;
	fflush(stdout);
	status = system(backings[b].make);
	if (status || !is_mounted(backings[b].dir, backings[b].magic)) {
		snprintf(why, sizeof(why), "cannot make and mount %s (status %d)",
			 backings[b].name, status);
		return why;
	}
	return NULL;
}

int backing_create(enum backing b, size_t size)
{
	int fd;

	if (b == MEMFD)
		fd = memfd_create("backing", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	else if (b == HUGETLB)
		fd = memfd_create("backing", MFD_CLOEXEC | MFD_ALLOW_SEALING |
				  MFD_HUGETLB | MFD_HUGE_2MB);
	else
		fd = open(backings[b].dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0700);
	if (fd >= 0 && ftruncate(fd, size)) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

int backing_reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

uint64_t file_word(int fd, off_t offset)
{
	uint64_t word = 0;

	if (pread(fd, &word, sizeof(word), offset) != sizeof(word))
		return ~0ULL;
	return word;
}

bool file_set_word(int fd, off_t offset, uint64_t word)
{
	off_t page = offset & -(off_t)HUGE_SIZE;
	void *p;

	if (pwrite(fd, &word, sizeof(word), offset) == sizeof(word))
		return true;
	/* hugetlbfs has no write(2). */
	p = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, page);
	if (p == MAP_FAILED)
		return false;
	*(uint64_t *)((char *)p + (offset - page)) = word;
	munmap(p, HUGE_SIZE);
	return true;
}
