// SPDX-License-Identifier: GPL-2.0
/* Each ioctl of the control fd: what it takes, what it refuses and with what. */
#include "common.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOP (1ULL << 63)
#define NOWHERE ((void *)8)

/*
 * A page that the view already has, [8, 12) pages from page 0 of the file,
 * against which refusals are seen to change nothing.
 */
static void one_range(struct fixture *f)
{
	map_pages(f, 8, 0, 4, RW);
}

/* ---- lengths, padding, unknown numbers ---- */

struct length {
	unsigned long nr;
	size_t size;
	size_t abi_size;	/* what it is, in numbers */
	size_t first_size;	/* of the first version of the structure */
};

enum { L_INFO, L_SIZE, L_MAP, L_UNMAP, L_PROTECT, L_RIGHTS, L_QUERY, L_UPDATE,
       L_POPULATE };

static const struct length lengths[] = {
	[L_INFO] = { MEMVIEW_GET_INFO, sizeof(struct memview_info), 64, 56 },
	[L_SIZE] = { MEMVIEW_SET_SIZE, sizeof(struct memview_size_info), 8, 8 },
	[L_MAP] = { MEMVIEW_MAP_FD, sizeof(struct memview_map_fd_info), 48, 32 },
	[L_UNMAP] = { MEMVIEW_UNMAP_FD, sizeof(struct memview_unmap_fd_info), 24, 24 },
	[L_PROTECT] = { MEMVIEW_PROTECT, sizeof(struct memview_protect_info), 24, 24 },
	[L_RIGHTS] = { MEMVIEW_GET_VIEWFD_RIGHTS, sizeof(struct memview_viewfd_info), 8, 8 },
	[L_QUERY] = { MEMVIEW_QUERY, sizeof(struct memview_query_info), 32, 32 },
	[L_UPDATE] = { MEMVIEW_UPDATE, sizeof(struct memview_update_info), 32, 32 },
	[L_POPULATE] = { MEMVIEW_POPULATE, sizeof(struct memview_populate_info), 32, 32 },
};

static unsigned long with_size(unsigned long nr, size_t size)
{
	return _IOC(_IOC_DIR(nr), _IOC_TYPE(nr), _IOC_NR(nr), size);
}

/* An argument with which the ioctl succeeds. */
static void good_argument(struct fixture *f, unsigned long which, void *arg)
{
	static struct memview_range_info ranges[4];
	static struct memview_op op;

	switch (which) {
	case L_SIZE:
		*(struct memview_size_info *)arg =
			(struct memview_size_info){ .size = VIEW_PAGES * PAGE };
		break;
	case L_MAP:
		*(struct memview_map_fd_info *)arg = (struct memview_map_fd_info){
			.fd = f->file, .flags = R, .size = PAGE, .mem_offset = 2 * PAGE,
		};
		break;
	case L_UNMAP:
		*(struct memview_unmap_fd_info *)arg =
			(struct memview_unmap_fd_info){ .mem_offset = 8 * PAGE, .size = PAGE };
		break;
	case L_PROTECT:
		*(struct memview_protect_info *)arg = (struct memview_protect_info){
			.mem_offset = 8 * PAGE, .size = PAGE, .flags = R,
		};
		break;
	case L_RIGHTS:
		*(struct memview_viewfd_info *)arg = (struct memview_viewfd_info){ .rights = R };
		break;
	case L_QUERY:
		*(struct memview_query_info *)arg = (struct memview_query_info){
			.ranges = (uintptr_t)ranges, .count = 4,
			.range_size = sizeof(ranges[0]),
		};
		break;
	case L_UPDATE:
		op = (struct memview_op){
			.op = MEMVIEW_OP_UNMAP, .mem_offset = 8 * PAGE, .size = PAGE,
		};
		*(struct memview_update_info *)arg = (struct memview_update_info){
			.ops = (uintptr_t)&op, .count = 1, .op_size = sizeof(op),
		};
		break;
	case L_POPULATE:
		*(struct memview_populate_info *)arg = (struct memview_populate_info){
			.mem_offset = 8 * PAGE, .size = PAGE, .flags = MEMVIEW_POPULATE_PEERS,
		};
		break;
	}
}

static void struct_length(struct fixture *f)
{
	const struct length *l = &lengths[f->tc->param];
	unsigned char arg[256] = { 0 };

	one_range(f);
	good_argument(f, f->tc->param, arg);
	/* The ABI: what has grown by mistake would show here. */
	assert_int_equal(l->size, l->abi_size);
	if (f->tc->param == L_INFO)
		EXPECT_OK(ioctl(f->ctl, with_size(l->nr, l->first_size), arg));
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, with_size(l->nr, l->first_size - 4), arg));
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, with_size(l->nr, 0), arg));
	arg[l->size] = 1;
	if (!(_IOC_DIR(l->nr) & _IOC_WRITE)) {
		/* Only written: what the kernel does not know is zero. */
		EXPECT_OK(ioctl(f->ctl, with_size(l->nr, l->size + 8), arg));
		assert_int_equal(arg[l->size], 0);
		return;
	}
	EXPECT_REFUSED(f->ctl, E2BIG, ioctl(f->ctl, with_size(l->nr, l->size + 8), arg));
	arg[l->size] = 0;
	arg[sizeof(arg) - 1] = 1;
	EXPECT_REFUSED(f->ctl, E2BIG, ioctl(f->ctl, with_size(l->nr, sizeof(arg)), arg));
	arg[sizeof(arg) - 1] = 0;
	EXPECT_OK(ioctl(f->ctl, with_size(l->nr, sizeof(arg)), arg));
}

/* Who was built with the first version does not have what comes behind it. */
static void first_version_of_map_fd(struct fixture *f)
{
	const struct length *l = &lengths[L_MAP];
	unsigned char arg[256] = { 0 };

	good_argument(f, L_MAP, arg);
	memset(arg + l->first_size, 0xff, sizeof(arg) - l->first_size);
	EXPECT_OK(ioctl(f->ctl, with_size(l->nr, l->first_size), arg));
	READS(f, 2, WORD(0));
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, l->nr, arg));
}

static void second_version_of_map_fd(struct fixture *f)
{
	const struct length *l = &lengths[L_MAP];
	const size_t second = offsetof(struct memview_map_fd_info, cookie);
	struct memview_range_info r;
	struct memview_query_info q;
	unsigned char arg[256] = { 0 };

	good_argument(f, L_MAP, arg);
	memset(arg + second, 0xff, sizeof(arg) - second);
	EXPECT_OK(ioctl(f->ctl, with_size(l->nr, second), arg));
	EXPECT_OK(mv_query(f->ctl, 0, &r, 1, &q));
	assert_int_equal(r.cookie, 0);
}

/* By their numbers they could return something, but they do not as yet. */
static void argument_that_is_only_read_may_be_read_only(struct fixture *f)
{
	unsigned char *arg = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(arg, MAP_FAILED);
	assert_int_equal(_IOC_DIR(lengths[f->tc->param].nr), _IOC_READ | _IOC_WRITE);
	one_range(f);
	good_argument(f, f->tc->param, arg);
	EXPECT_OK(mprotect(arg, PAGE, PROT_READ));
	EXPECT_OK(ioctl(f->ctl, lengths[f->tc->param].nr, arg));
	munmap(arg, PAGE);
}

static void unreadable_argument_is_efault(struct fixture *f)
{
	one_range(f);
	EXPECT_REFUSED(f->ctl, EFAULT, ioctl(f->ctl, lengths[f->tc->param].nr, NOWHERE));
}

/* An argument that can be read, but not written with the result. */
static void read_only_argument_changes_nothing(struct fixture *f)
{
	unsigned char *arg = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(arg, MAP_FAILED);
	one_range(f);
	good_argument(f, f->tc->param, arg);
	EXPECT_OK(mprotect(arg, PAGE, PROT_READ));
	EXPECT_REFUSED(f->ctl, EFAULT, ioctl(f->ctl, lengths[f->tc->param].nr, arg));
	munmap(arg, PAGE);
}

static void unknown_ioctl_number_is_enotty(struct fixture *f)
{
	unsigned char arg[256] = { 0 };

	EXPECT_REFUSED(f->ctl, ENOTTY, ioctl(f->ctl, _IO(MEMVIEW_IOC_TYPE, 0x0c)));
	EXPECT_REFUSED(f->ctl, ENOTTY,
		       ioctl(f->ctl, _IOWR(MEMVIEW_IOC_TYPE, 0xff, struct memview_info), arg));
	EXPECT_REFUSED(f->ctl, ENOTTY, ioctl(f->ctl, _IOC(_IOC_WRITE | _IOC_READ, 'x',
			_IOC_NR(MEMVIEW_GET_INFO), sizeof(struct memview_info)), arg));
	EXPECT_REFUSED(f->ctl, ENOTTY, ioctl(f->ctl, 0x5401 /* TCGETS */, arg));
}

static void ioctl_without_argument_ignores_it(struct fixture *f)
{
	int fd = EXPECT_OK(ioctl(f->ctl, MEMVIEW_GET_VIEWFD, NOWHERE));

	close(fd);
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE, NOWHERE));
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_REVOKE, NOWHERE));
}

static void nonzero_padding_is_einval(struct fixture *f)
{
	struct memview_protect_info p = {
		.mem_offset = 8 * PAGE, .size = PAGE, .flags = R, .__pad = 1,
	};
	struct memview_viewfd_info v = { .rights = R, .__pad = 0x80000000 };

	one_range(f);
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_PROTECT, &p));
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_GET_VIEWFD_RIGHTS, &v));
}

/* ---- the 32-bit entry ---- */

static long ioctl32(int fd, unsigned int nr, void *arg)
{
	long ret;

	/* i386's ioctl(2) is number 54. */
	asm volatile("int $0x80" : "=a"(ret)
		     : "a"(54), "b"(fd), "c"(nr), "d"(arg)
		     : "memory", "r8", "r9", "r10", "r11");
	if ((int)ret < 0) {
		errno = -(int)ret;
		return -1;
	}
	return (int)ret;
}

static void compat_ioctls_have_the_same_layout(struct fixture *f)
{
	void *low = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct memview_info *info = low;
	struct memview_map_fd_info *map = low;
	struct memview_query_info *q = low;
	struct memview_range_info *r = (void *)((char *)low + 1024);

	assert_ptr_not_equal(low, MAP_FAILED);
	if (ioctl32(f->ctl, MEMVIEW_GET_INFO, low) && errno == ENOSYS)
		SKIP("this kernel has no 32-bit system calls");
	EXPECT_OK(ioctl32(f->ctl, MEMVIEW_GET_INFO, low));
	assert_int_equal(info->size, VIEW_PAGES * PAGE);
	memset(low, 0, PAGE);
	*map = (struct memview_map_fd_info){
		.fd = f->file, .flags = RW, .fd_offset = 3 * PAGE,
		.size = 2 * PAGE, .mem_offset = 7 * PAGE,
	};
	EXPECT_OK(ioctl32(f->ctl, MEMVIEW_MAP_FD, low));
	EXPECT_ERRNO(EEXIST, ioctl32(f->ctl, MEMVIEW_MAP_FD, low));
	READS(f, 8, WORD(4));
	memset(low, 0, PAGE);
	*q = (struct memview_query_info){
		.ranges = (uintptr_t)r, .count = 1, .range_size = sizeof(*r),
	};
	EXPECT_OK(ioctl32(f->ctl, MEMVIEW_QUERY, low));
	assert_int_equal(q->count, 1);
	assert_int_equal(r->mem_offset, 7 * PAGE);
	assert_int_equal(r->fd_offset, 3 * PAGE);
	munmap(low, PAGE);
}

/* ---- GET_INFO ---- */

static void get_info_tells_limits_and_sizes(struct fixture *f)
{
	struct memview_info info;

	EXPECT_OK(mv_info(f->ctl, &info));
	assert_int_equal(info.size, VIEW_PAGES * PAGE);
	assert_int_equal(info.page_size, PAGE);
	assert_int_equal(info.nr_ranges, 0);
	assert_int_equal(info.state, 0);
	assert_true(info.features & MEMVIEW_FEATURE_LAZY_WRITE);
	assert_true(info.features & MEMVIEW_FEATURE_ADOPT);
	assert_true(info.features & MEMVIEW_FEATURE_COOKIE);
	assert_true(info.features & MEMVIEW_FEATURE_DROP_IDLE);
	assert_true(info.features & MEMVIEW_FEATURE_FSYNC);
	assert_int_equal(info.max_size % PAGE, 0);
	assert_true(info.max_size >= 1ULL << 40);
	assert_int_equal(info.max_ranges, module_param("max_ranges"));
	assert_int_equal(info.fault_around, module_param("fault_around_pages"));
	assert_int_equal(info.max_sources, module_param("max_sources"));
	one_range(f);
	EXPECT_OK(mv_info(f->ctl, &info));
	assert_int_equal(info.nr_ranges, 1);
}

static void new_view_is_empty(struct fixture *f)
{
	struct memview_info info;
	int ctl = EXPECT_OK(mv_open());

	(void)f;
	EXPECT_OK(mv_info(ctl, &info));
	assert_int_equal(info.size, 0);
	assert_int_equal(info.nr_ranges, 0);
	EXPECT_REFUSED(ctl, ERANGE, mv_map(ctl, f->file, 0, PAGE, 0, R));
	close(ctl);
}

/* ---- SET_SIZE ---- */

static void set_size_unaligned_is_einval(struct fixture *f)
{
	one_range(f);
	EXPECT_REFUSED(f->ctl, EINVAL, mv_set_size(f->ctl, PAGE - 1));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_set_size(f->ctl, 8 * PAGE + 1));
}

static void set_size_beyond_max_size_is_efbig(struct fixture *f)
{
	struct memview_info info;

	one_range(f);
	EXPECT_OK(mv_info(f->ctl, &info));
	EXPECT_REFUSED(f->ctl, EFBIG, mv_set_size(f->ctl, info.max_size + PAGE));
	EXPECT_REFUSED(f->ctl, EFBIG, mv_set_size(f->ctl, -PAGE));
	EXPECT_OK(mv_set_size(f->ctl, info.max_size));
	EXPECT_OK(mv_map(f->ctl, f->file, 0, PAGE, info.max_size - PAGE, R));
	EXPECT_OK(mv_set_size(f->ctl, 0));
	assert_int_equal(nr_ranges(f->ctl), 0);
}

static void set_size_cuts_the_range_it_crosses(struct fixture *f)
{
	struct memview_range_info r[4];
	struct memview_query_info q;

	map_pages(f, 0, 0, 2, RW);
	map_pages(f, 8, 8, 8, RW);
	map_pages(f, 32, 32, 8, RW);
	EXPECT_OK(mv_set_size(f->ctl, 10 * PAGE));
	EXPECT_OK(mv_query(f->ctl, 0, r, 4, &q));
	assert_int_equal(q.count, 2);
	assert_int_equal(r[1].mem_offset, 8 * PAGE);
	assert_int_equal(r[1].size, 2 * PAGE);
	assert_int_equal(q.mem_offset, 10 * PAGE);
}

static void set_size_grown_again_has_holes(struct fixture *f)
{
	map_pages(f, 8, 8, 8, RW);
	EXPECT_OK(mv_set_size(f->ctl, 10 * PAGE));
	EXPECT_OK(mv_set_size(f->ctl, VIEW_PAGES * PAGE));
	assert_int_equal(rights_at(f->ctl, 9), RW);
	assert_int_equal(rights_at(f->ctl, 10), 0);
	READS(f, 9, WORD(9));
	READ_SIGBUS(f, 10);
}

/* ---- MAP_FD ---- */

static void map_unaligned_is_einval(struct fixture *f)
{
	one_range(f);
	EXPECT_REFUSED(f->ctl, EINVAL, mv_map(f->ctl, f->file, 512, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_map(f->ctl, f->file, 0, PAGE + 1, 0, R));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_map(f->ctl, f->file, 0, 100, 0, R));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_map(f->ctl, f->file, 0, PAGE, PAGE / 2, R));
}

static void map_size_zero_is_einval(struct fixture *f)
{
	one_range(f);
	EXPECT_REFUSED(f->ctl, EINVAL, mv_map(f->ctl, f->file, 0, 0, 0, R));
}

static void map_unknown_flag_is_einval(struct fixture *f)
{
	one_range(f);
	for (int bit = 8; bit < 32; bit++)
		EXPECT_REFUSED(f->ctl, EINVAL,
			       mv_map(f->ctl, f->file, 0, PAGE, 0, R | 1U << bit));
}

static void map_without_read_is_einval(struct fixture *f)
{
	static const uint32_t flags[] = {
		0, W, X, W | X, MEMVIEW_MAP_REPLACE, MEMVIEW_MAP_LAZY_WRITE,
		W | MEMVIEW_MAP_REPLACE,
	};

	one_range(f);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		EXPECT_REFUSED(f->ctl, EINVAL,
			       mv_map(f->ctl, f->file, 0, PAGE, 8 * PAGE, flags[i]));
}

static void map_overflow_is_eoverflow(struct fixture *f)
{
	one_range(f);
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_map(f->ctl, f->file, TOP - PAGE, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_map(f->ctl, f->file, TOP, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_map(f->ctl, f->file, -PAGE, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_map(f->ctl, f->file, -PAGE, 2 * PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_map(f->ctl, f->file, 0, PAGE, TOP - PAGE, R));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_map(f->ctl, f->file, 0, 2 * PAGE, -PAGE, R));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_map(f->ctl, f->file, PAGE, -PAGE, PAGE, R));
}

static void map_outside_the_view_is_erange(struct fixture *f)
{
	one_range(f);
	EXPECT_REFUSED(f->ctl, ERANGE, mv_map(f->ctl, f->file, 0, PAGE, VIEW_PAGES * PAGE, R));
	EXPECT_REFUSED(f->ctl, ERANGE,
		       mv_map(f->ctl, f->file, 0, 2 * PAGE, (VIEW_PAGES - 1) * PAGE, R));
	EXPECT_REFUSED(f->ctl, ERANGE, mv_map(f->ctl, f->file, 0, PAGE, 1ULL << 50, R));
	/* The last page belongs to it. */
	EXPECT_OK(mv_map(f->ctl, f->file, 0, PAGE, (VIEW_PAGES - 1) * PAGE, R));
	READS(f, VIEW_PAGES - 1, WORD(0));
}

static void map_overlap_is_eexist(struct fixture *f)
{
	static const struct { unsigned long page, nr; } spans[] = {
		{ 8, 4 }, { 7, 2 }, { 11, 2 }, { 9, 1 }, { 8, 1 }, { 11, 1 }, { 0, 64 },
	};

	one_range(f);
	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++)
		EXPECT_REFUSED(f->ctl, EEXIST,
			       mv_map(f->ctl, f->file, 0, spans[i].nr * PAGE,
				      spans[i].page * PAGE, R));
}

static void map_side_by_side_is_no_overlap(struct fixture *f)
{
	one_range(f);
	map_pages(f, 7, 20, 1, R);
	map_pages(f, 12, 30, 1, R);
	assert_int_equal(nr_ranges(f->ctl), 3);
}

static void map_on_bad_fd_is_ebadf(struct fixture *f)
{
	int fd = EXPECT_OK(dup(f->file));

	close(fd);
	one_range(f);
	EXPECT_REFUSED(f->ctl, EBADF, mv_map(f->ctl, -1, 0, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, EBADF, mv_map(f->ctl, fd, 0, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, EBADF, mv_map(f->ctl, 1 << 30, 0, PAGE, 0, R));
}

static void replace_swaps_the_span_it_names(struct fixture *f)
{
	map_pages(f, 8, 0, 8, RW);
	map_pages(f, 10, 40, 2, R | MEMVIEW_MAP_REPLACE);
	assert_int_equal(nr_ranges(f->ctl), 3);
	READS(f, 9, WORD(1));
	READS(f, 10, WORD(40));
	READS(f, 11, WORD(41));
	READS(f, 12, WORD(4));
	assert_int_equal(rights_at(f->ctl, 10), R);
	assert_int_equal(rights_at(f->ctl, 12), RW);
}

static void replace_of_a_hole_is_a_map(struct fixture *f)
{
	map_pages(f, 8, 0, 2, R | MEMVIEW_MAP_REPLACE);
	READS(f, 9, WORD(1));
}

static void replace_across_ranges_and_holes(struct fixture *f)
{
	map_pages(f, 8, 0, 2, RW);
	map_pages(f, 12, 4, 2, RW);
	map_pages(f, 20, 6, 2, RW);
	map_pages(f, 9, 32, 12, R | MEMVIEW_MAP_REPLACE);
	assert_int_equal(nr_ranges(f->ctl), 3);
	READS(f, 8, WORD(0));
	READS(f, 9, WORD(32));
	READS(f, 20, WORD(43));
	READS(f, 21, WORD(7));
}

static void replace_that_fails_keeps_the_old(struct fixture *f)
{
	int rdonly = EXPECT_OK(backing_reopen(f->file, O_RDONLY));
	uint32_t flags = R | MEMVIEW_MAP_REPLACE;

	one_range(f);
	READS(f, 9, WORD(1));
	EXPECT_REFUSED(f->ctl, EBADF, mv_map(f->ctl, -1, 0, PAGE, 9 * PAGE, flags));
	EXPECT_REFUSED(f->ctl, EACCES, mv_map(f->ctl, rdonly, 0, PAGE, 9 * PAGE, W | flags));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_map(f->ctl, f->file, 1, PAGE, 9 * PAGE, flags));
	EXPECT_REFUSED(f->ctl, ENODEV, mv_map(f->ctl, f->viewfd, 0, PAGE, 9 * PAGE, flags));
	READS(f, 9, WORD(1));
}

/* ---- UNMAP_FD ---- */

static void unmap_bad_spans(struct fixture *f)
{
	one_range(f);
	EXPECT_REFUSED(f->ctl, EINVAL, mv_unmap(f->ctl, 8 * PAGE + 1, PAGE, NULL));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_unmap(f->ctl, 8 * PAGE, PAGE - 1, NULL));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_unmap(f->ctl, 8 * PAGE, 0, NULL));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_unmap(f->ctl, 8 * PAGE, -PAGE, NULL));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_unmap(f->ctl, 8 * PAGE, TOP - 8 * PAGE, NULL));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_unmap(f->ctl, -PAGE, 2 * PAGE, NULL));
	EXPECT_REFUSED(f->ctl, ERANGE, mv_unmap(f->ctl, 8 * PAGE, VIEW_PAGES * PAGE, NULL));
	EXPECT_REFUSED(f->ctl, ERANGE, mv_unmap(f->ctl, VIEW_PAGES * PAGE, PAGE, NULL));
}

static void unmap_counts_the_bytes_it_removed(struct fixture *f)
{
	map_pages(f, 8, 0, 4, RW);
	map_pages(f, 16, 8, 4, RW);
	assert_int_equal(unmap_pages(f, 0, 8), 0);
	assert_int_equal(unmap_pages(f, 0, 9), 1);
	assert_int_equal(unmap_pages(f, 11, 6), 2);
	assert_int_equal(unmap_pages(f, 0, VIEW_PAGES), 5);
	assert_int_equal(unmap_pages(f, 0, VIEW_PAGES), 0);
	assert_int_equal(nr_ranges(f->ctl), 0);
}

static void unmap_in_the_middle_cuts_in_two(struct fixture *f)
{
	struct memview_range_info r[4];
	struct memview_query_info q;

	map_pages(f, 8, 16, 8, RW);
	assert_int_equal(unmap_pages(f, 10, 3), 3);
	EXPECT_OK(mv_query(f->ctl, 0, r, 4, &q));
	assert_int_equal(q.count, 2);
	assert_int_equal(r[0].mem_offset, 8 * PAGE);
	assert_int_equal(r[0].size, 2 * PAGE);
	assert_int_equal(r[0].fd_offset, 16 * PAGE);
	assert_int_equal(r[1].mem_offset, 13 * PAGE);
	assert_int_equal(r[1].size, 3 * PAGE);
	assert_int_equal(r[1].fd_offset, 21 * PAGE);
	assert_int_equal(r[1].source_addr, r[0].source_addr + 5 * PAGE);
}

/* ---- PROTECT ---- */

static void protect_bad_spans(struct fixture *f)
{
	one_range(f);
	EXPECT_REFUSED(f->ctl, EINVAL, mv_protect(f->ctl, 8 * PAGE + 1, PAGE, R));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_protect(f->ctl, 8 * PAGE, PAGE - 1, R));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_protect(f->ctl, 8 * PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_protect(f->ctl, 8 * PAGE, -PAGE, R));
	EXPECT_REFUSED(f->ctl, EOVERFLOW, mv_protect(f->ctl, TOP - PAGE, PAGE, R));
	EXPECT_REFUSED(f->ctl, ERANGE, mv_protect(f->ctl, 8 * PAGE, VIEW_PAGES * PAGE, R));
}

static void protect_bad_rights(struct fixture *f)
{
	one_range(f);
	EXPECT_REFUSED(f->ctl, EINVAL, mv_protect(f->ctl, 8 * PAGE, PAGE, 0));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_protect(f->ctl, 8 * PAGE, PAGE, W));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_protect(f->ctl, 8 * PAGE, PAGE, X));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_protect(f->ctl, 8 * PAGE, PAGE, W | X));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_protect(f->ctl, 8 * PAGE, PAGE, 1U << 5 | R));
	EXPECT_REFUSED(f->ctl, EINVAL, mv_protect(f->ctl, 8 * PAGE, PAGE, 1U << 31 | R));
	EXPECT_REFUSED(f->ctl, EINVAL,
		       mv_protect(f->ctl, 8 * PAGE, PAGE, MEMVIEW_MAP_REPLACE | R));
}

static void protect_of_a_hole_is_enoent(struct fixture *f)
{
	one_range(f);
	map_pages(f, 14, 20, 2, RW);
	EXPECT_REFUSED(f->ctl, ENOENT, mv_protect(f->ctl, 0, PAGE, R));
	EXPECT_REFUSED(f->ctl, ENOENT, mv_protect(f->ctl, 7 * PAGE, 2 * PAGE, R));
	EXPECT_REFUSED(f->ctl, ENOENT, mv_protect(f->ctl, 11 * PAGE, 2 * PAGE, R));
	EXPECT_REFUSED(f->ctl, ENOENT, mv_protect(f->ctl, 8 * PAGE, 8 * PAGE, R));
}

static void protect_spans_neighbouring_ranges(struct fixture *f)
{
	one_range(f);
	map_pages(f, 12, 40, 4, RW);
	protect_pages(f, 10, 4, R);
	assert_int_equal(rights_at(f->ctl, 9), RW);
	assert_int_equal(rights_at(f->ctl, 10), R);
	assert_int_equal(rights_at(f->ctl, 13), R);
	assert_int_equal(rights_at(f->ctl, 14), RW);
	WRITES(f, 9, 1);
	WRITE_SEGV(f, 10);
	WRITE_SEGV(f, 13);
	WRITES(f, 14, 1);
}

static void protect_cannot_add_write(struct fixture *f)
{
	int rdonly = EXPECT_OK(backing_reopen(f->file, O_RDONLY));

	map_pages(f, 8, 0, 4, R);
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 8 * PAGE, PAGE, RW));
	EXPECT_OK(mv_map(f->ctl, rdonly, 0, PAGE, 0, R));
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 0, PAGE, RW));
	/* Nor where only one of the ranges cannot have it. */
	map_pages(f, 12, 4, 4, RW);
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 8 * PAGE, 8 * PAGE, RW));
	WRITE_SEGV(f, 8);
}

static void protect_cannot_add_exec(struct fixture *f)
{
	map_pages(f, 8, 0, 4, RW);
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 8 * PAGE, PAGE, RX));
	EXPECT_REFUSED(f->ctl, EACCES, mv_protect(f->ctl, 8 * PAGE, 4 * PAGE, RWX));
}

static void protect_gives_back_what_it_took(struct fixture *f)
{
	map_pages(f, 8, 0, 4, RWX);
	protect_pages(f, 8, 4, R);
	protect_pages(f, 8, 4, RX);
	protect_pages(f, 8, 4, RWX);
	assert_int_equal(rights_at(f->ctl, 8), RWX);
	/* Also to the parts of a range that was cut. */
	protect_pages(f, 9, 1, R);
	unmap_pages(f, 11, 1);
	protect_pages(f, 9, 1, RWX);
	assert_int_equal(rights_at(f->ctl, 9), RWX);
	WRITES(f, 9, 1);
	/* And where it has been cut while it had little. */
	map_pages(f, 16, 4, 6, RWX);
	protect_pages(f, 16, 6, R);
	unmap_pages(f, 18, 1);
	protect_pages(f, 20, 1, RX);
	for (unsigned long i = 16; i < 22; i++) {
		if (i == 18)
			continue;
		protect_pages(f, i, 1, RWX);
		assert_int_equal(rights_at(f->ctl, i), RWX);
		WRITES(f, i, 1);
	}
}

static void protect_sets_lazy_write(struct fixture *f)
{
	struct memview_range_info r;
	struct memview_query_info q;

	one_range(f);
	protect_pages(f, 8, 4, RW | MEMVIEW_MAP_LAZY_WRITE);
	EXPECT_OK(mv_query(f->ctl, 0, &r, 1, &q));
	assert_int_equal(r.flags, RW | MEMVIEW_MAP_LAZY_WRITE);
	protect_pages(f, 8, 4, RW);
	EXPECT_OK(mv_query(f->ctl, 0, &r, 1, &q));
	assert_int_equal(r.flags, RW);
}

/* ---- GET_VIEWFD ---- */

static void get_viewfd_rights_bad_rights_are_einval(struct fixture *f)
{
	static const uint32_t rights[] = {
		0, W, X, W | X, R | MEMVIEW_MAP_REPLACE, R | MEMVIEW_MAP_LAZY_WRITE, R | 1U << 31,
	};

	one_range(f);
	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++)
		EXPECT_REFUSED(f->ctl, EINVAL, mv_viewfd_rights(f->ctl, rights[i]));
}

static void get_viewfd_without_descriptors_is_emfile(struct fixture *f)
{
	struct rlimit old, none;

	one_range(f);
	EXPECT_OK(getrlimit(RLIMIT_NOFILE, &old));
	none = old;
	none.rlim_cur = 3;
	EXPECT_OK(setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_REFUSED(f->ctl, EMFILE, mv_viewfd(f->ctl));
	EXPECT_REFUSED(f->ctl, EMFILE, mv_viewfd_rights(f->ctl, R));
	EXPECT_OK(setrlimit(RLIMIT_NOFILE, &old));
	EXPECT_OK(mv_viewfd(f->ctl));
}

/* ---- QUERY ---- */

static void query_describes_a_range(struct fixture *f)
{
	struct memview_range_info r;
	struct memview_query_info q;
	struct stat st;

	EXPECT_OK(fstat(f->file, &st));
	map_pages(f, 100, 3, 5, RX);
	EXPECT_OK(mv_query(f->ctl, 0, &r, 1, &q));
	assert_int_equal(q.count, 1);
	assert_int_equal(q.total, 1);
	assert_int_equal(q.mem_offset, VIEW_PAGES * PAGE);
	assert_int_equal(r.mem_offset, 100 * PAGE);
	assert_int_equal(r.size, 5 * PAGE);
	assert_int_equal(r.fd_offset, 3 * PAGE);
	assert_int_equal(r.ino, st.st_ino);
	/* Small device numbers look alike in stat(2) and in the kernel. */
	assert_int_equal(r.dev, st.st_dev);
	assert_int_equal(r.flags, RX);
	/* The source is an ordinary mapping of the file in this process. */
	assert_int_equal(*(volatile uint64_t *)(uintptr_t)r.source_addr, WORD(3));
	assert_int_equal(*(volatile uint64_t *)(uintptr_t)(r.source_addr + 4 * PAGE), WORD(7));
}

static void query_in_pieces_finds_all(struct fixture *f)
{
	struct memview_query_info q = { 0 };
	struct memview_range_info r[2];
	unsigned long seen = 0;

	for (int i = 0; i < 9; i++)
		map_pages(f, 3 * i, 2 * i, 1, R);
	while (q.mem_offset < VIEW_PAGES * PAGE) {
		EXPECT_OK(mv_query(f->ctl, q.mem_offset, r, 2, &q));
		assert_int_equal(q.total, 9);
		for (uint32_t i = 0; i < q.count; i++, seen++)
			assert_int_equal(r[i].mem_offset, 3 * seen * PAGE);
	}
	assert_int_equal(seen, 9);
}

static void query_starts_inside_a_range(struct fixture *f)
{
	struct memview_range_info r[2];
	struct memview_query_info q;

	one_range(f);
	map_pages(f, 20, 20, 1, R);
	EXPECT_OK(mv_query(f->ctl, 11 * PAGE, r, 2, &q));
	assert_int_equal(q.count, 2);
	assert_int_equal(r[0].mem_offset, 8 * PAGE);
	EXPECT_OK(mv_query(f->ctl, 12 * PAGE, r, 2, &q));
	assert_int_equal(q.count, 1);
	assert_int_equal(r[0].mem_offset, 20 * PAGE);
	EXPECT_OK(mv_query(f->ctl, 21 * PAGE, r, 2, &q));
	assert_int_equal(q.count, 0);
	assert_int_equal(q.total, 2);
	assert_int_equal(q.mem_offset, VIEW_PAGES * PAGE);
}

static void query_of_an_empty_view(struct fixture *f)
{
	struct memview_range_info r;
	struct memview_query_info q;

	EXPECT_OK(mv_query(f->ctl, 0, &r, 1, &q));
	assert_int_equal(q.count, 0);
	assert_int_equal(q.total, 0);
	assert_int_equal(q.mem_offset, VIEW_PAGES * PAGE);
}

static void query_without_room_counts(struct fixture *f)
{
	struct memview_query_info q;

	one_range(f);
	EXPECT_OK(mv_query(f->ctl, 0, NULL, 0, &q));
	assert_int_equal(q.count, 0);
	assert_int_equal(q.total, 1);
	/* There is something left, so it must not say that it is done. */
	assert_true(q.mem_offset < 12 * PAGE);
}

static void query_bad_arguments(struct fixture *f)
{
	struct memview_range_info r[2];
	struct memview_query_info q, was;

	one_range(f);
	q = (struct memview_query_info){
		.ranges = (uintptr_t)r, .count = 2,
		.range_size = offsetof(struct memview_range_info, cookie) - 8,
	};
	EXPECT_ERRNO(EINVAL, ioctl(f->ctl, MEMVIEW_QUERY, &q));
	q.range_size = 0;
	EXPECT_ERRNO(EINVAL, ioctl(f->ctl, MEMVIEW_QUERY, &q));
	q.range_size = sizeof(r[0]);
	q.count = (1U << 20) + 1;
	EXPECT_ERRNO(EINVAL, ioctl(f->ctl, MEMVIEW_QUERY, &q));
	q.count = 2;
	q.ranges = 8;
	was = q;
	EXPECT_ERRNO(EFAULT, ioctl(f->ctl, MEMVIEW_QUERY, &q));
	assert_memory_equal(&q, &was, sizeof(q));
	EXPECT_OK(mv_query(f->ctl, 0, r, 1U << 20, &q));
	assert_int_equal(q.count, 1);
}

static void query_zeroes_what_it_does_not_know(struct fixture *f)
{
	unsigned char entry[2][128];
	struct memview_query_info q = {
		.ranges = (uintptr_t)entry, .count = 2, .range_size = 128,
	};

	memset(entry, 0xff, sizeof(entry));
	one_range(f);
	map_pages(f, 20, 20, 1, R);
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_QUERY, &q));
	assert_int_equal(q.count, 2);
	assert_int_equal(((struct memview_range_info *)entry[1])->mem_offset, 20 * PAGE);
	for (int i = 0; i < 2; i++) {
		for (size_t j = sizeof(struct memview_range_info); j < 128; j++)
			assert_int_equal(entry[i][j], 0);
	}
}

/* ---- cookies ---- */

#define COOKIE(n) (0xc00c1e00c00c1e00ULL + (n))

static int map_cookie(int ctl, int fd, unsigned long page, unsigned long nr, uint32_t flags,
		      uint64_t cookie)
{
	struct memview_map_fd_info arg = {
		.fd = fd, .flags = flags, .size = nr * PAGE, .mem_offset = page * PAGE,
		.cookie = cookie,
	};

	return ioctl(ctl, MEMVIEW_MAP_FD, &arg);
}

static uint64_t cookie_at(int ctl, unsigned long page)
{
	struct memview_range_info r;
	struct memview_query_info q;

	EXPECT_OK(mv_query(ctl, page * PAGE, &r, 1, &q));
	assert_int_equal(q.count, 1);
	assert_true(r.mem_offset <= page * PAGE && page * PAGE < r.mem_offset + r.size);
	return r.cookie;
}

static void query_tells_the_cookie(struct fixture *f)
{
	map_pages(f, 0, 0, 4, R);
	EXPECT_OK(map_cookie(f->ctl, f->file, 4, 4, R, COOKIE(1)));
	EXPECT_OK(map_cookie(f->ctl, f->file, 8, 4, R, ~0ULL));
	/* Need not be unique. */
	EXPECT_OK(map_cookie(f->ctl, f->file, 12, 4, R, COOKIE(1)));
	assert_int_equal(cookie_at(f->ctl, 0), 0);
	assert_int_equal(cookie_at(f->ctl, 4), COOKIE(1));
	assert_int_equal(cookie_at(f->ctl, 8), ~0ULL);
	assert_int_equal(cookie_at(f->ctl, 12), COOKIE(1));
}

/* However they come about. */
static void pieces_keep_the_cookie(struct fixture *f)
{
	EXPECT_OK(map_cookie(f->ctl, f->file, 0, 32, RW, COOKIE(1)));
	unmap_pages(f, 0, 1);
	unmap_pages(f, 31, 1);
	unmap_pages(f, 8, 2);
	protect_pages(f, 16, 4, R);
	EXPECT_OK(map_cookie(f->ctl, f->file, 24, 2, R | MEMVIEW_MAP_REPLACE, COOKIE(2)));
	EXPECT_OK(mv_set_size(f->ctl, 30 * PAGE));
	for (int i = 1; i < 30; i++) {
		if (i == 8 || i == 9)
			continue;
		assert_int_equal(cookie_at(f->ctl, i), COOKIE(i == 24 || i == 25 ? 2 : 1));
	}
	/* Given rights back, it is the range that it was. */
	protect_pages(f, 16, 4, RW);
	assert_int_equal(cookie_at(f->ctl, 17), COOKIE(1));
}

static void batch_maps_with_cookies_all_or_none(struct fixture *f)
{
	struct memview_op ops[] = {
		{ .op = MEMVIEW_OP_MAP, .flags = RW, .size = 8 * PAGE, .fd = f->file,
		  .cookie = COOKIE(3) },
		{ .op = MEMVIEW_OP_UNMAP, .mem_offset = 2 * PAGE, .size = PAGE },
		{ .op = MEMVIEW_OP_PROTECT, .flags = R, .mem_offset = 4 * PAGE, .size = PAGE },
		{ .op = MEMVIEW_OP_UNMAP, .mem_offset = 9 * PAGE, .size = PAGE },
		{ .op = MEMVIEW_OP_UNMAP, .mem_offset = 6 * PAGE, .size = PAGE, .cookie = 1 },
	};
	struct memview_update_info u = {
		.ops = (uintptr_t)ops, .count = 5, .op_size = sizeof(ops[0]),
	};

	EXPECT_OK(map_cookie(f->ctl, f->file, 8, 4, R, COOKIE(4)));
	/* What is no map has no cookie. */
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	assert_int_equal(u.failed, 4);
	ops[4].op = MEMVIEW_OP_PROTECT;
	ops[4].flags = R;
	EXPECT_REFUSED(f->ctl, EINVAL, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	/* One that fails late has cut ranges in two, and puts all back. */
	ops[4].cookie = 0;
	ops[4].mem_offset = 2 * PAGE;
	EXPECT_REFUSED(f->ctl, ENOENT, ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	assert_int_equal(cookie_at(f->ctl, 9), COOKIE(4));
	u.count = 4;
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_UPDATE, &u));
	for (int i = 0; i < 8; i++)
		if (i != 2)
			assert_int_equal(cookie_at(f->ctl, i), COOKIE(3));
	assert_int_equal(cookie_at(f->ctl, 8), COOKIE(4));
	assert_int_equal(cookie_at(f->ctl, 10), COOKIE(4));
}

/* Who was built before there were cookies gets the entries of that time. */
static void first_version_of_a_range(struct fixture *f)
{
	const size_t first = offsetof(struct memview_range_info, cookie);
	unsigned char room[3 * 48];
	struct memview_query_info q = {
		.ranges = (uintptr_t)room, .count = 2, .range_size = first,
	};

	assert_int_equal(first, 48);
	memset(room, 0xff, sizeof(room));
	EXPECT_OK(map_cookie(f->ctl, f->file, 4, 4, R, COOKIE(1)));
	EXPECT_OK(map_cookie(f->ctl, f->file, 8, 4, R, COOKIE(1)));
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_QUERY, &q));
	assert_int_equal(q.count, 2);
	assert_int_equal(((struct memview_range_info *)(room + first))->mem_offset, 8 * PAGE);
	for (size_t i = 2 * first; i < sizeof(room); i++)
		assert_int_equal(room[i], 0xff);
}

/* ---- DROP_IDLE ---- */

static void drop_idle_gives_up_what_no_range_needs(struct fixture *f)
{
	int other = make_file(MEMFD, f->file_size, 0);
	unsigned long plain = count_mappings(other), kept = count_mappings(f->file);

	/* Nothing is there to be given up, and nobody's view it is as yet. */
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE));
	one_range(f);
	EXPECT_OK(mv_map(f->ctl, other, 0, PAGE, 0, RW));
	assert_int_equal(count_mappings(other), plain + 1);
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE));
	assert_int_equal(count_mappings(other), plain + 1);
	EXPECT_OK(mv_unmap(f->ctl, 0, PAGE, NULL));
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE));
	assert_int_equal(count_mappings(other), plain);
	EXPECT_OK(fcntl(other, F_ADD_SEALS, F_SEAL_WRITE));
	/* What is used stays. */
	assert_int_equal(count_mappings(f->file), kept + 1);
	READS(f, 8, WORD(0));
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE));
	assert_int_equal(count_mappings(f->file), kept);
}

/* ---- limits ---- */

static void too_many_ranges_is_enospc(struct fixture *f)
{
	int ctl;

	set_module_param(f, "max_ranges", 3);
	ctl = EXPECT_OK(mv_open());
	EXPECT_OK(mv_set_size(ctl, VIEW_PAGES * PAGE));
	EXPECT_OK(mv_map(ctl, f->file, 0, 4 * PAGE, 0, RW));
	EXPECT_OK(mv_map(ctl, f->file, 0, 4 * PAGE, 8 * PAGE, RW));
	/* A cut in two makes three; three is allowed. */
	EXPECT_OK(mv_unmap(ctl, PAGE, PAGE, NULL));
	EXPECT_REFUSED(ctl, ENOSPC, mv_map(ctl, f->file, 0, PAGE, 16 * PAGE, R));
	EXPECT_REFUSED(ctl, ENOSPC, mv_unmap(ctl, 9 * PAGE, PAGE, NULL));
	EXPECT_REFUSED(ctl, ENOSPC, mv_protect(ctl, 9 * PAGE, PAGE, R));
	EXPECT_REFUSED(ctl, ENOSPC, mv_map(ctl, f->file, 20 * PAGE, PAGE, 9 * PAGE,
					   R | MEMVIEW_MAP_REPLACE));
	/* A range for a range, and cuts at an edge, fit. */
	EXPECT_OK(mv_map(ctl, f->file, 20 * PAGE, 4 * PAGE, 8 * PAGE, R | MEMVIEW_MAP_REPLACE));
	EXPECT_OK(mv_unmap(ctl, 8 * PAGE, PAGE, NULL));
	EXPECT_OK(mv_unmap(ctl, 0, PAGE, NULL));
	EXPECT_OK(mv_map(ctl, f->file, 0, PAGE, 16 * PAGE, R));
}

/* In a process of its own: other tests' idle sources must not matter. */
static long op_max_sources(const long *a)
{
	int first = (int)a[0], second = (int)a[1], ctl = mv_open();
	struct memview_range_info r;
	struct memview_query_info q;

	if (ctl < 0 || mv_set_size(ctl, 16 * PAGE))
		return 1;
	if (mv_map(ctl, first, 0, 2 * PAGE, 4 * PAGE, R))
		return 2;
	if (!mv_map(ctl, second, 0, PAGE, PAGE, R) || errno != EMFILE)
		return 3;
	if (mv_query(ctl, 0, &r, 1, &q) || q.total != 1)
		return 4;
	/* More ranges of what a source shows need no more sources. */
	if (mv_map(ctl, first, PAGE, PAGE, 2 * PAGE, R))
		return 5;
	if (mv_unmap(ctl, 0, 16 * PAGE, NULL))
		return 6;
	/* The first one is idle now, so it gives way. */
	if (mv_map(ctl, second, 0, PAGE, PAGE, R))
		return 7;
	return 0;
}

static void too_many_sources_is_emfile(struct fixture *f)
{
	struct peer *controller = peer_spawn();
	int other = make_file(MEMFD, f->file_size, 100);
	int a = peer_send_fd(controller, f->file), b = peer_send_fd(controller, other);

	set_module_param(f, "max_sources", 1);
	EXPECT_VALUE(0, CALL(controller, op_max_sources, a, b));
}

static void no_address_space_is_enomem(struct fixture *f)
{
	int other = make_file(MEMFD, f->file_size, 0);
	struct rlimit old, none;
	int ret, err;

	one_range(f);
	EXPECT_OK(getrlimit(RLIMIT_AS, &old));
	none = (struct rlimit){ PAGE, old.rlim_max };
	EXPECT_OK(setrlimit(RLIMIT_AS, &none));
	ret = mv_map(f->ctl, other, 0, PAGE, 0, R);
	err = errno;
	EXPECT_OK(setrlimit(RLIMIT_AS, &old));
	assert_int_equal(ret, -1);
	assert_int_equal(err, ENOMEM);
	assert_int_equal(nr_ranges(f->ctl), 1);
}

/* ---- who may call ---- */

enum { C_SET_SIZE, C_MAP, C_UNMAP, C_PROTECT, C_VIEWFD, C_RIGHTS, C_REVOKE, C_QUERY,
       C_DROP_IDLE, C_INFO };

static long call_one(int ctl, int file, unsigned long which)
{
	struct memview_range_info r;
	struct memview_query_info q;
	struct memview_info info;

	switch (which) {
	case C_SET_SIZE:
		return mv_set_size(ctl, 4 * PAGE);
	case C_MAP:
		return mv_map(ctl, file, 0, PAGE, 0, R);
	case C_UNMAP:
		return mv_unmap(ctl, 8 * PAGE, PAGE, NULL);
	case C_PROTECT:
		return mv_protect(ctl, 8 * PAGE, PAGE, R);
	case C_VIEWFD:
		return mv_viewfd(ctl);
	case C_RIGHTS:
		return mv_viewfd_rights(ctl, R);
	case C_REVOKE:
		return mv_revoke(ctl);
	case C_QUERY:
		return mv_query(ctl, 0, &r, 1, &q);
	case C_DROP_IDLE:
		return ioctl(ctl, MEMVIEW_DROP_IDLE);
	default:
		return mv_info(ctl, &info);
	}
}

static long op_call_one(const long *a)
{
	return call_one((int)a[0], (int)a[1], a[2]);
}

static void other_mm_is_eio(struct fixture *f)
{
	int ctl = peer_send_fd(f->peer, f->ctl), file = peer_send_fd(f->peer, f->file);

	one_range(f);
	EXPECT_REFUSED(f->ctl, EIO, ({
		struct outcome o = CALL(f->peer, op_call_one, ctl, file, f->tc->param);

		errno = o.err;
		o.ret;
	}));
}

static void other_mm_may_call(struct fixture *f)
{
	int ctl = peer_send_fd(f->peer, f->ctl), file = peer_send_fd(f->peer, f->file);

	one_range(f);
	EXPECT_CALL(f->peer, op_call_one, ctl, file, f->tc->param);
}

static void other_mm_revokes(struct fixture *f)
{
	int ctl = peer_send_fd(f->peer, f->ctl);

	one_range(f);
	READS(f, 8, WORD(0));
	EXPECT_CALL(f->peer, op_call_one, ctl, 0, C_REVOKE);
	READ_SIGBUS(f, 8);
}

static void view_belongs_to_the_mm_that_maps_first(struct fixture *f)
{
	int ctl = peer_send_fd(f->peer, f->ctl), file = peer_send_fd(f->peer, f->file);

	/* Nothing is mapped yet: anyone may. */
	EXPECT_CALL(f->peer, op_call_one, ctl, file, C_UNMAP);
	EXPECT_CALL(f->peer, op_call_one, ctl, file, C_MAP);
	EXPECT_REFUSED(f->ctl, EIO, mv_map(f->ctl, f->file, 0, PAGE, 8 * PAGE, R));
	EXPECT_REFUSED(f->ctl, EIO, mv_unmap(f->ctl, 0, PAGE, NULL));
	READS(f, 0, WORD(0));
}

static void *map_in_thread(void *arg)
{
	struct fixture *f = arg;

	return (void *)(long)mv_map(f->ctl, f->file, 0, PAGE, 0, R);
}

static void threads_share_the_view(struct fixture *f)
{
	pthread_t thread;
	void *ret;

	one_range(f);
	assert_int_equal(pthread_create(&thread, NULL, map_in_thread, f), 0);
	pthread_join(thread, &ret);
	assert_null(ret);
	READS(f, 0, WORD(0));
}

static void forked_child_is_another_mm(struct fixture *f)
{
	struct peer *controller = peer_spawn(), *child;
	int file = peer_send_fd(controller, f->file);
	int ctl = peer_send_fd(controller, f->ctl);

	EXPECT_CALL(controller, op_call_one, ctl, file, C_MAP);
	child = peer_fork(controller);
	assert_non_null(child);
	EXPECT_CALL_ERRNO(EIO, child, op_call_one, ctl, file, C_UNMAP);
	EXPECT_CALL(controller, op_call_one, ctl, file, C_UNMAP);
}

static void revoked_view_is_eshutdown(struct fixture *f)
{
	one_range(f);
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_REFUSED(f->ctl, ESHUTDOWN, call_one(f->ctl, f->file, f->tc->param));
}

static void revoked_view_can_be_asked(struct fixture *f)
{
	struct memview_range_info r;
	struct memview_query_info q;
	struct memview_info info;

	one_range(f);
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_OK(mv_revoke(f->ctl));
	EXPECT_OK(mv_info(f->ctl, &info));
	assert_int_equal(info.state, MEMVIEW_STATE_REVOKED);
	assert_int_equal(info.nr_ranges, 0);
	EXPECT_OK(mv_query(f->ctl, 0, &r, 1, &q));
	assert_int_equal(q.count, 0);
	assert_int_equal(q.total, 0);
}

static void control_fd_cannot_be_truncated_or_read(struct fixture *f)
{
	char c = 0;

	EXPECT_REFUSED(f->ctl, EINVAL, ftruncate(f->ctl, PAGE));
	EXPECT_REFUSED(f->ctl, EINVAL, read(f->ctl, &c, 1));
	EXPECT_REFUSED(f->ctl, EINVAL, write(f->ctl, &c, 1));
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f->ctl, 0), MAP_FAILED);
	assert_int_equal(errno, ENODEV);
}

static void device_is_for_its_owner_only(struct fixture *f)
{
	struct stat st;

	EXPECT_OK(fstat(f->ctl, &st));
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
}

#define EACH_STRUCT(fn) \
	CASE_VARIANT(fn, "get_info", L_INFO), CASE_VARIANT(fn, "set_size", L_SIZE), \
	CASE_VARIANT(fn, "map_fd", L_MAP), CASE_VARIANT(fn, "unmap_fd", L_UNMAP), \
	CASE_VARIANT(fn, "protect", L_PROTECT), \
	CASE_VARIANT(fn, "get_viewfd_rights", L_RIGHTS), CASE_VARIANT(fn, "query", L_QUERY), \
	CASE_VARIANT(fn, "update", L_UPDATE), CASE_VARIANT(fn, "populate", L_POPULATE)

static const struct test_case cases[] = {
	EACH_STRUCT(struct_length),
	EACH_STRUCT(unreadable_argument_is_efault),
	CASE_VARIANT(read_only_argument_changes_nothing, "get_info", L_INFO),
	CASE_VARIANT(read_only_argument_changes_nothing, "unmap_fd", L_UNMAP),
	CASE_VARIANT(read_only_argument_changes_nothing, "query", L_QUERY),
	CASE_VARIANT(read_only_argument_changes_nothing, "update", L_UPDATE),
	CASE_VARIANT(read_only_argument_changes_nothing, "populate", L_POPULATE),
	CASE_VARIANT(argument_that_is_only_read_may_be_read_only, "set_size", L_SIZE),
	CASE_VARIANT(argument_that_is_only_read_may_be_read_only, "map_fd", L_MAP),
	CASE_VARIANT(argument_that_is_only_read_may_be_read_only, "protect", L_PROTECT),
	CASE(first_version_of_map_fd),
	CASE(second_version_of_map_fd),
	CASE(unknown_ioctl_number_is_enotty),
	CASE(ioctl_without_argument_ignores_it),
	CASE(nonzero_padding_is_einval),
	CASE(compat_ioctls_have_the_same_layout),
	CASE(get_info_tells_limits_and_sizes),
	CASE(new_view_is_empty),
	CASE(set_size_unaligned_is_einval),
	CASE(set_size_beyond_max_size_is_efbig),
	CASE(set_size_cuts_the_range_it_crosses),
	CASE(set_size_grown_again_has_holes),
	CASE(map_unaligned_is_einval),
	CASE(map_size_zero_is_einval),
	CASE(map_unknown_flag_is_einval),
	CASE(map_without_read_is_einval),
	CASE(map_overflow_is_eoverflow),
	CASE(map_outside_the_view_is_erange),
	CASE(map_overlap_is_eexist),
	CASE(map_side_by_side_is_no_overlap),
	CASE(map_on_bad_fd_is_ebadf),
	CASE(replace_swaps_the_span_it_names),
	CASE(replace_of_a_hole_is_a_map),
	CASE(replace_across_ranges_and_holes),
	CASE(replace_that_fails_keeps_the_old),
	CASE(unmap_bad_spans),
	CASE(unmap_counts_the_bytes_it_removed),
	CASE(unmap_in_the_middle_cuts_in_two),
	CASE(protect_bad_spans),
	CASE(protect_bad_rights),
	CASE(protect_of_a_hole_is_enoent),
	CASE(protect_spans_neighbouring_ranges),
	CASE(protect_cannot_add_write),
	CASE(protect_cannot_add_exec),
	CASE(protect_gives_back_what_it_took),
	CASE(protect_sets_lazy_write),
	CASE(get_viewfd_rights_bad_rights_are_einval),
	CASE(get_viewfd_without_descriptors_is_emfile),
	CASE(query_describes_a_range),
	CASE(query_in_pieces_finds_all),
	CASE(query_starts_inside_a_range),
	CASE(query_of_an_empty_view),
	CASE(query_without_room_counts),
	CASE(query_bad_arguments),
	CASE(query_zeroes_what_it_does_not_know),
	CASE(query_tells_the_cookie),
	CASE(pieces_keep_the_cookie),
	CASE(batch_maps_with_cookies_all_or_none),
	CASE(first_version_of_a_range),
	CASE(drop_idle_gives_up_what_no_range_needs),
	CASE(too_many_ranges_is_enospc),
	CASE(too_many_sources_is_emfile),
	CASE(no_address_space_is_enomem),
	CASE_VARIANT(other_mm_is_eio, "set_size", C_SET_SIZE),
	CASE_VARIANT(other_mm_is_eio, "map_fd", C_MAP),
	CASE_VARIANT(other_mm_is_eio, "unmap_fd", C_UNMAP),
	CASE_VARIANT(other_mm_is_eio, "protect", C_PROTECT),
	CASE_VARIANT(other_mm_is_eio, "drop_idle", C_DROP_IDLE),
	CASE_VARIANT(other_mm_may_call, "get_viewfd", C_VIEWFD),
	CASE_VARIANT(other_mm_may_call, "query", C_QUERY),
	CASE_VARIANT(other_mm_may_call, "get_info", C_INFO),
	CASE(other_mm_revokes),
	CASE(view_belongs_to_the_mm_that_maps_first),
	CASE(threads_share_the_view),
	CASE(forked_child_is_another_mm),
	CASE_VARIANT(revoked_view_is_eshutdown, "set_size", C_SET_SIZE),
	CASE_VARIANT(revoked_view_is_eshutdown, "map_fd", C_MAP),
	CASE_VARIANT(revoked_view_is_eshutdown, "unmap_fd", C_UNMAP),
	CASE_VARIANT(revoked_view_is_eshutdown, "protect", C_PROTECT),
	CASE_VARIANT(revoked_view_is_eshutdown, "get_viewfd", C_VIEWFD),
	CASE_VARIANT(revoked_view_is_eshutdown, "get_viewfd_rights", C_RIGHTS),
	CASE(revoked_view_can_be_asked),
	CASE(control_fd_cannot_be_truncated_or_read),
	CASE(device_is_for_its_owner_only),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "uapi", cases);
}
