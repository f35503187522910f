// SPDX-License-Identifier: GPL-2.0
#include "guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memview.h"
#include "report.h"

static int open_view(struct guest_memory *mem)
{
	int ret = memview_open(&mem->view);

	if (ret)
		return ret;
	ret = memview_set_size(mem->view, mem->size);
	if (ret)
		return ret;
	ret = memview_view_fd(mem->view);
	if (ret < 0)
		return ret;
	mem->share_fd = ret;
	return 0;
}

int guest_memory_open(struct guest_memory *mem, uint64_t size, bool plain)
{
	void *base;
	int ret;

	*mem = (struct guest_memory) { .size = size, .memfd = -1, .share_fd = -1 };
	mem->memfd = memfd_create("guest-ram", MFD_CLOEXEC);
	if (mem->memfd < 0 || ftruncate(mem->memfd, size)) {
		ret = -errno;
		goto fail;
	}
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, mem->memfd, 0);
	if (base == MAP_FAILED) {
		ret = -errno;
		goto fail;
	}
	mem->base = base;
	if (plain) {
		mem->share_fd = fcntl(mem->memfd, F_DUPFD_CLOEXEC, 0);
		ret = mem->share_fd < 0 ? -errno : 0;
	} else {
		ret = open_view(mem);
	}
	if (!ret)
		return 0;
fail:
	guest_memory_close(mem);
	return ret;
}

void guest_memory_close(struct guest_memory *mem)
{
	if (mem->share_fd >= 0)
		close(mem->share_fd);
	memview_close(mem->view);
	if (mem->base)
		munmap(mem->base, mem->size);
	if (mem->memfd >= 0)
		close(mem->memfd);
	*mem = (struct guest_memory) { .memfd = -1, .share_fd = -1 };
}

int guest_memory_lend(struct guest_memory *mem, uint64_t addr, uint64_t size,
		      unsigned int rights)
{
	if (!mem->view)
		return 0;
	/* All of it is mapped already: no need to map it once more. */
	return memview_adopt(mem->view, addr, guest_ptr(mem, addr), mem->memfd, addr,
			     size, rights);
}

int guest_memory_take_back(struct guest_memory *mem, uint64_t addr, uint64_t size,
			   uint64_t *unmapped)
{
	*unmapped = 0;
	if (!mem->view)
		return 0;
	return memview_unmap(mem->view, addr, size, unmapped);
}

int guest_memory_set_rights(struct guest_memory *mem, uint64_t addr, uint64_t size,
			    unsigned int rights)
{
	if (!mem->view)
		return 0;
	return memview_protect(mem->view, addr, size, rights);
}

static void say_range(uint64_t addr, uint64_t size, uint64_t fd_offset, int fd,
		      unsigned int rights)
{
	char file[48];

	if (fd >= 0)
		snprintf(file, sizeof(file), "%d (memfd) + 0x%07" PRIx64, fd, fd_offset);
	else
		snprintf(file, sizeof(file), "unknown + 0x%07" PRIx64, fd_offset);
	say("  0x%07" PRIx64 " - 0x%07" PRIx64 "   %-24s %s%s%s", addr, addr + size - 1, file,
	    rights & MEMVIEW_READ ? "read" : "", rights & MEMVIEW_WRITE ? ", write" : "",
	    rights & MEMVIEW_EXEC ? ", execute" : "");
}

int guest_memory_say_table(struct guest_memory *mem)
{
	struct memview_range ranges[32];
	uint64_t offset = 0;
	struct stat st;

	say("  %-21s   %-24s %s", "range", "fd", "permissions");
	if (!mem->view) {
		say_range(0, mem->size, 0, mem->memfd, MEMVIEW_READ | MEMVIEW_WRITE);
		return 0;
	}
	if (fstat(mem->memfd, &st))
		return -errno;
	while (offset < mem->size) {
		int i, count = memview_query(mem->view, &offset, ranges,
					     sizeof(ranges[0]), 32, NULL);

		if (count <= 0)
			return count;
		for (i = 0; i < count; i++)
			say_range(ranges[i].mem_offset, ranges[i].size, ranges[i].fd_offset,
				  ranges[i].ino == st.st_ino && ranges[i].dev == st.st_dev ?
				  mem->memfd : -1, ranges[i].flags);
	}
	return 0;
}
