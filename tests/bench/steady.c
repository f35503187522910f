// SPDX-License-Identifier: GPL-2.0
/* Random access to 256 MiB of which every page is mapped already. */
#include "bench.h"

#include <unistd.h>

#define SIZE		(256 * MIB)
#define ACCESSES	2000000UL

static int file;

void steady_setup(const struct bench *bench)
{
	const struct steady_param *p = bench->param;

	reserve_huge_pages(p->huge ? SIZE : 0);
	file = p->huge ? make_huge_file(SIZE, HUGE_PAGE) : dup(shared_file);
}

void steady_cleanup(void)
{
	close(file);
	release_huge_pages();
}

static double measure(const struct steady_param *p, volatile char **map, int fd)
{
	uint64_t x = 88172645463325252ULL;
	unsigned long i;
	uint64_t start;

	if (!*map) {
		*map = map_fd(fd, SIZE, 0);
		touch(*map, SIZE, PAGE, true);
		settle();
	}
	start = now();
	for (i = 0; i < ACCESSES; i++) {
		volatile char *byte;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		byte = *map + x % SIZE;
		if (p->write)
			*byte = 1;
		else
			(void)*byte;
	}
	return (double)(now() - start) / ACCESSES;
}

void steady_view(const struct bench *bench, double *values)
{
	static volatile char *map;
	static int fd;

	if (!map)
		fd = check(memview_view_fd(view_of(file, SIZE)), "memview_view_fd");
	values[0] = measure(bench->param, &map, fd);
}

void steady_plain(const struct bench *bench, double *values)
{
	static volatile char *map;

	values[0] = measure(bench->param, &map, file);
}
