/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest RAM: a memfd, and what of it the back-end may touch.
 *
 * Either the back-end gets the memfd itself, as VMMs do today (plain), or the
 * view fd of a memory view into which the VMM maps parts of the memfd. In both
 * cases a guest-physical address is an offset into the memfd and into what the
 * back-end maps.
 *
 * Functions return 0 or -errno.
 */
#ifndef DEMO_GUEST_MEMORY_H
#define DEMO_GUEST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

struct memview;

/**
 * struct guest_memory - guest RAM
 * @base: the VMM's own mapping of all of it
 * @size: bytes
 * @memfd: the file
 * @view: the memory view, NULL if plain
 * @share_fd: what the back-end gets: the view fd, or a duplicate of @memfd
 */
struct guest_memory {
	uint8_t *base;
	uint64_t size;
	int memfd;
	struct memview *view;
	int share_fd;
};

int guest_memory_open(struct guest_memory *mem, uint64_t size, bool plain);
void guest_memory_close(struct guest_memory *mem);

/*
 * Lend a span, take it back, change its rights (MEMVIEW_READ, MEMVIEW_WRITE).
 * With plain memory all is lent anyway and nothing can be taken back: these do
 * nothing then, and @unmapped is 0.
 */
int guest_memory_lend(struct guest_memory *mem, uint64_t addr, uint64_t size,
		      unsigned int rights);
int guest_memory_take_back(struct guest_memory *mem, uint64_t addr, uint64_t size,
			   uint64_t *unmapped);
int guest_memory_set_rights(struct guest_memory *mem, uint64_t addr, uint64_t size,
			    unsigned int rights);

/* Say the table: range, fd, permissions. */
int guest_memory_say_table(struct guest_memory *mem);

static inline void *guest_ptr(const struct guest_memory *mem, uint64_t addr)
{
	return mem->base + addr;
}

#endif /* DEMO_GUEST_MEMORY_H */
