// SPDX-License-Identifier: GPL-2.0
/* First touches of a fresh mapping in a peer, and taking the mapping down. */
#include "bench.h"

#include <sys/mman.h>
#include <unistd.h>

struct fault_arg {
	int fd;
	const struct fault_param *param;
	bool teardown;
};

static void touch_fresh(const void *arg, double *values)
{
	const struct fault_arg *a = arg;
	const struct fault_param *p = a->param;
	size_t unit = p->huge ? HUGE_PAGE : PAGE;
	size_t pages = p->size / unit;
	volatile char *map = map_fd(a->fd, p->size, 0);
	unsigned long i, at = 0;
	uint64_t start = now(), end;

	for (i = 0; i < p->touches; i++) {
		volatile char *byte = map + at * unit;

		if (p->write)
			*byte = 1;
		else
			(void)*byte;
		/*
		 * A full period over a power of two, so that each page comes
		 * once: the multiplier is 1 modulo 4, the step odd.
		 */
		at = p->random ? (at * 1597 + 1009) % pages : at + 1;
	}
	end = now();
	if (a->teardown) {
		start = end;
		munmap((void *)map, p->size);
		end = now();
	} else {
		munmap((void *)map, p->size);
	}
	values[0] = (double)(end - start) / p->touches;
}

static double measure(const struct fault_param *p, bool use_view, bool teardown)
{
	struct fault_param all = *p;
	struct fault_arg arg = { .param = p, .teardown = teardown };
	struct peer first, peer;
	struct memview *view;

	arg.fd = p->huge ? make_huge_file(p->size) :
		 p->state == HOLES ? make_file(p->size, false) : shared_file;
	if (use_view) {
		if (p->adopted) {
			char *at = map_fd(arg.fd, p->size, 0);

			if (p->state == WARM)
				touch(at, p->size, PAGE, true);
			view = view_of_mapping(at, arg.fd, p->size);
		} else {
			view = view_of(arg.fd, p->size);
		}
		arg.fd = check(memview_view_fd(view), "memview_view_fd");
	}
	if (p->state == WARM && !p->adopted) {
		/* Not by the peer that is measured. */
		struct fault_arg fill = { .fd = arg.fd, .param = &all };

		all.write = true;
		all.random = false;
		all.touches = p->size / (p->huge ? HUGE_PAGE : PAGE);
		peer_start(&first);
		peer_call(&first, touch_fresh, &fill, sizeof(fill));
		peer_stop(&first);
	}
	peer_start(&peer);
	settle();
	return peer_call(&peer, touch_fresh, &arg, sizeof(arg));
}

void fault_huge_setup(const struct bench *bench)
{
	const struct fault_param *p = bench->param;

	/* Two contenders' files at a time, and one that is being freed. */
	reserve_huge_pages(3 * p->size);
}

void fault_view(const struct bench *bench, double *values)
{
	values[0] = measure(bench->param, true, false);
}

void fault_plain(const struct bench *bench, double *values)
{
	values[0] = measure(bench->param, false, false);
}

void teardown_view(const struct bench *bench, double *values)
{
	values[0] = measure(bench->param, true, true);
}

void teardown_plain(const struct bench *bench, double *values)
{
	values[0] = measure(bench->param, false, true);
}
