// SPDX-License-Identifier: GPL-2.0
/* First touches of a fresh mapping in a peer, and taking the mapping down. */
#include "bench.h"

#include <linux/memory-view.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* There is one page of 1 GiB; the contenders have it by turns. */
static int gigantic_file = -1;

struct fault_arg {
	int fd;
	const struct fault_param *param;
	bool teardown;
};

static size_t page_of(const struct fault_param *p)
{
	return p->page ?: PAGE;
}

static void touch_fresh(const void *arg, double *values)
{
	const struct fault_arg *a = arg;
	const struct fault_param *p = a->param;
	size_t unit = page_of(p);
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

static int file_for(const struct fault_param *p)
{
	if (p->page == GIGANTIC_PAGE)
		return gigantic_file;
	if (p->page)
		return make_huge_file(p->size, p->page);
	return p->state == HOLES ? make_file(p->size, false) : shared_file;
}

/* One for each peer; smaller ones would be more. */
static void check_gigantic(struct memview *view, unsigned int peers)
{
	struct memview_info info = { 0 };

	if (ioctl(memview_get_fd(view), MEMVIEW_GET_INFO, &info))
		err(1, "MEMVIEW_GET_INFO");
	if (info.huge_entries != peers)
		errx(1, "%llu huge entries in %u peers",
		     (unsigned long long)info.huge_entries, peers);
}

static double measure(const struct fault_param *p, bool use_view, bool teardown)
{
	struct fault_param all = *p;
	struct fault_arg arg = { .param = p, .teardown = teardown };
	struct peer first, peer;
	struct memview *view;
	double value;

	arg.fd = file_for(p);
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
		all.touches = p->size / page_of(p);
		peer_start(&first);
		peer_call(&first, touch_fresh, &fill, sizeof(fill));
		peer_stop(&first);
	}
	peer_start(&peer);
	settle();
	value = peer_call(&peer, touch_fresh, &arg, sizeof(arg));
	if (use_view && p->page == GIGANTIC_PAGE)
		check_gigantic(view, 2);
	return value;
}

void fault_huge_setup(const struct bench *bench)
{
	const struct fault_param *p = bench->param;

	/* Two contenders' files at a time, and one that is being freed. */
	reserve_huge_pages(3 * p->size);
}

void fault_gigantic_setup(const struct bench *bench)
{
	const struct fault_param *p = bench->param;

	write_file(GIGANTIC_PARAM, "Y");
	gigantic_file = make_huge_file(p->size, GIGANTIC_PAGE);
}

void fault_gigantic_cleanup(void)
{
	close(gigantic_file);
	write_file(GIGANTIC_PARAM, "N");
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
