// SPDX-License-Identifier: GPL-2.0
/* See common.h. */
#include "common.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define PARAM_DIR "/sys/module/memory_view/parameters/"

bool has_kasan(void)
{
	const char *kernel = getenv("MEMORY_VIEW_GUEST");

	return kernel && (!strcmp(kernel, "kasan") || !strncmp(kernel, "debug-", 6));
}

int mv_open(void)
{
	return open(DEVICE, O_RDWR | O_CLOEXEC);
}

int mv_set_size(int ctl, uint64_t size)
{
	struct memview_size_info arg = { .size = size };

	return ioctl(ctl, MEMVIEW_SET_SIZE, &arg);
}

int mv_map(int ctl, int fd, uint64_t fd_offset, uint64_t size,
	   uint64_t mem_offset, uint32_t flags)
{
	struct memview_map_fd_info arg = {
		.fd = fd, .flags = flags, .fd_offset = fd_offset,
		.size = size, .mem_offset = mem_offset,
	};

	return ioctl(ctl, MEMVIEW_MAP_FD, &arg);
}

int mv_adopt(int ctl, int fd, uint64_t fd_offset, uint64_t size,
	     uint64_t mem_offset, uint32_t flags, const void *addr)
{
	struct memview_map_fd_info arg = {
		.fd = fd, .flags = flags | MEMVIEW_MAP_ADOPT, .fd_offset = fd_offset,
		.size = size, .mem_offset = mem_offset, .addr = (uintptr_t)addr,
	};

	return ioctl(ctl, MEMVIEW_MAP_FD, &arg);
}

int mv_unmap(int ctl, uint64_t mem_offset, uint64_t size, uint64_t *unmapped)
{
	struct memview_unmap_fd_info arg = { .mem_offset = mem_offset, .size = size };
	int ret = ioctl(ctl, MEMVIEW_UNMAP_FD, &arg);

	if (unmapped)
		*unmapped = arg.unmapped;
	return ret;
}

int mv_protect(int ctl, uint64_t mem_offset, uint64_t size, uint32_t flags)
{
	struct memview_protect_info arg = {
		.mem_offset = mem_offset, .size = size, .flags = flags,
	};

	return ioctl(ctl, MEMVIEW_PROTECT, &arg);
}

int mv_viewfd(int ctl)
{
	return ioctl(ctl, MEMVIEW_GET_VIEWFD);
}

int mv_viewfd_rights(int ctl, uint32_t rights)
{
	struct memview_viewfd_info arg = { .rights = rights };

	return ioctl(ctl, MEMVIEW_GET_VIEWFD_RIGHTS, &arg);
}

int mv_revoke(int ctl)
{
	return ioctl(ctl, MEMVIEW_REVOKE);
}

int mv_drop_idle(int ctl)
{
	return ioctl(ctl, MEMVIEW_DROP_IDLE);
}

int mv_info(int ctl, struct memview_info *info)
{
	memset(info, 0, sizeof(*info));
	return ioctl(ctl, MEMVIEW_GET_INFO, info);
}

int mv_query(int ctl, uint64_t mem_offset, struct memview_range_info *ranges,
	     uint32_t count, struct memview_query_info *out)
{
	*out = (struct memview_query_info){
		.mem_offset = mem_offset, .ranges = (uintptr_t)ranges,
		.count = count, .range_size = sizeof(*ranges),
	};
	return ioctl(ctl, MEMVIEW_QUERY, out);
}

void check_result(long ret, int err, int want, const char *call,
		  const char *file, int line)
{
	if (!want && ret != -1)
		return;
	if (want && ret == -1 && err == want)
		return;
	print_error("%s returned %ld (%s); want %s\n", call, ret,
		    ret == -1 ? strerrorname_np(err) : "no error",
		    want ? strerrorname_np(want) : "success");
	_fail(file, line);
}

void table_read(int ctl, struct table *t)
{
	struct memview_query_info q;

	memset(t, 0, sizeof(*t));
	EXPECT_OK(mv_info(ctl, &t->info));
	EXPECT_OK(mv_query(ctl, 0, t->ranges, TABLE_MAX, &q));
	t->nr = q.count;
	assert_int_equal(q.total, q.count);
	assert_int_equal(t->info.nr_ranges, q.count);
}

static void print_table(const char *title, const struct table *t)
{
	print_error("%s: size %#llx state %#x\n", title,
		    (unsigned long long)t->info.size, t->info.state);
	for (uint32_t i = 0; i < t->nr; i++) {
		const struct memview_range_info *r = &t->ranges[i];

		print_error("  %#llx +%#llx <- inode %llu %#llx flags %#x at %#llx\n",
			    (unsigned long long)r->mem_offset,
			    (unsigned long long)r->size,
			    (unsigned long long)r->ino,
			    (unsigned long long)r->fd_offset, r->flags,
			    (unsigned long long)r->source_addr);
	}
}

void check_same_table(const struct table *was, const struct table *is,
		      const char *call, const char *file, int line)
{
	if (!memcmp(was, is, sizeof(*was)))
		return;
	print_error("%s failed, and yet changed the table\n", call);
	print_table("before", was);
	print_table("after", is);
	_fail(file, line);
}

static void print_outcome(const char *what, struct outcome o)
{
	if (o.died)
		print_error("%s: the process died\n", what);
	else if (o.sig)
		print_error("%s: %s, si_code %d, si_addr %#lx\n", what,
			    sigabbrev_np(o.sig), o.code, o.addr);
	else
		print_error("%s: returned %#lx, errno %s\n", what, o.ret,
			    strerrorname_np(o.err));
}

long check_returned(struct outcome o, const char *what, const char *file, int line)
{
	if (o.died || o.sig || o.ret == -1) {
		print_outcome(what, o);
		_fail(file, line);
	}
	return o.ret;
}

void check_value(struct outcome o, unsigned long want, const char *what,
		 const char *file, int line)
{
	if (o.died || o.sig || (unsigned long)o.ret != want) {
		print_outcome(what, o);
		print_error("want %#lx\n", want);
		_fail(file, line);
	}
}

void check_fault(struct outcome o, int sig, int code, unsigned long addr,
		 const char *what, const char *file, int line)
{
	if (o.died || o.sig != sig || o.code != code || o.addr != addr) {
		print_outcome(what, o);
		print_error("want %s, si_code %d, si_addr %#lx\n",
			    sigabbrev_np(sig), code, addr);
		_fail(file, line);
	}
}

void check_errno(struct outcome o, int want, const char *what,
		 const char *file, int line)
{
	if (o.died || o.sig || o.ret != -1 || o.err != want) {
		print_outcome(what, o);
		print_error("want %s\n", strerrorname_np(want));
		_fail(file, line);
	}
}

void map_pages(struct fixture *f, unsigned long page, unsigned long file_page,
	       unsigned long nr, uint32_t flags)
{
	EXPECT_OK(mv_map(f->ctl, f->file, file_page * PAGE, nr * PAGE,
			 page * PAGE, flags));
}

unsigned long unmap_pages(struct fixture *f, unsigned long page, unsigned long nr)
{
	uint64_t bytes;

	EXPECT_OK(mv_unmap(f->ctl, page * PAGE, nr * PAGE, &bytes));
	assert_int_equal(bytes % PAGE, 0);
	return bytes / PAGE;
}

void protect_pages(struct fixture *f, unsigned long page, unsigned long nr,
		   uint32_t flags)
{
	EXPECT_OK(mv_protect(f->ctl, page * PAGE, nr * PAGE, flags));
}

static bool range_at(int ctl, unsigned long page, struct memview_range_info *r)
{
	struct memview_query_info q;

	EXPECT_OK(mv_query(ctl, page * PAGE, r, 1, &q));
	return q.count && r->mem_offset <= page * PAGE;
}

uint32_t rights_at(int ctl, unsigned long page)
{
	struct memview_range_info r;

	return range_at(ctl, page, &r) ? r.flags & MEMVIEW_MAP_RIGHTS : 0;
}

uint64_t source_addr_at(int ctl, unsigned long page)
{
	struct memview_range_info r;

	assert_true(range_at(ctl, page, &r));
	return r.source_addr ? r.source_addr + (page * PAGE - r.mem_offset) : 0;
}

unsigned long nr_ranges(int ctl)
{
	struct memview_info info;

	EXPECT_OK(mv_info(ctl, &info));
	return info.nr_ranges;
}

struct peer *another_peer(struct fixture *f, int viewfd, int prot, unsigned long *view)
{
	struct peer *p = peer_spawn();
	int fd;

	(void)f;
	assert_non_null(p);
	fd = peer_send_fd(p, viewfd);
	assert_true(fd >= 0);
	*view = EXPECT_CALL(p, op_mmap, fd, VIEW_PAGES * PAGE, prot, 0);
	EXPECT_CALL(p, op_close, fd);
	return p;
}

char *map_file(struct fixture *f, int prot)
{
	char *p = mmap(NULL, f->file_size, prot, MAP_SHARED, f->file, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

unsigned long count_mappings(int fd)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned int dev_major, dev_minor;
	unsigned long n = 0, ino;
	char line[512];
	struct stat st;

	if (!maps || fstat(fd, &st))
		abort();
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%*s %*s %*s %x:%x %lu", &dev_major, &dev_minor, &ino) == 3)
			n += ino == st.st_ino && makedev(dev_major, dev_minor) == st.st_dev;
	}
	fclose(maps);
	return n;
}

static int try_make_file(enum backing b, size_t size, unsigned long base)
{
	size_t len = b == HUGETLB ? HUGE_SIZE : FILE_PAGES * PAGE;
	int fd = backing_create(b, size);
	char *p;

	if (fd < 0)
		return -1;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		close(fd);
		return -1;
	}
	for (size_t i = 0; i < FILE_PAGES && i * PAGE < size; i++)
		*(uint64_t *)(p + i * PAGE) = WORD(base + i);
	munmap(p, len);
	return fd;
}

int make_file(enum backing b, size_t size, unsigned long base)
{
	int fd = try_make_file(b, size, base);

	assert_true(fd >= 0);
	return fd;
}

unsigned long long fdinfo(int ctl, const char *key)
{
	unsigned long long value = 0;
	char path[64], line[128];
	size_t len = strlen(key);
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ctl);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, key, len) && line[len] == ':')
			found = sscanf(line + len + 1, "%llu", &value) == 1;
	}
	fclose(file);
	if (!found)
		fail_msg("fdinfo has no line %s", key);
	return value;
}

void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
}

static bool read_param(const char *name, char *value, size_t size)
{
	char path[128];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), PARAM_DIR "%s", name);
	file = fopen(path, "re");
	if (!file)
		return false;
	ok = fgets(value, size, file);
	fclose(file);
	return ok;
}

static bool write_param(const char *name, const char *value)
{
	char path[128];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), PARAM_DIR "%s", name);
	file = fopen(path, "we");
	if (!file)
		return false;
	ok = fputs(value, file) >= 0;
	return !fclose(file) && ok;
}

unsigned long module_param(const char *name)
{
	char value[32];

	if (!read_param(name, value, sizeof(value)))
		fail_msg("no module parameter %s", name);
	return strtoul(value, NULL, 10);
}

void set_module_param(struct fixture *f, const char *name, unsigned long value)
{
	char text[32];
	int i = 0;

	while (i < MAX_PARAMS && f->params[i].name[0] &&
	       strcmp(f->params[i].name, name))
		i++;
	assert_int_not_equal(i, MAX_PARAMS);
	if (!f->params[i].name[0]) {
		if (!read_param(name, f->params[i].value, sizeof(f->params[i].value)))
			fail_msg("no module parameter %s", name);
		snprintf(f->params[i].name, sizeof(f->params[i].name), "%s", name);
	}
	snprintf(text, sizeof(text), "%lu", value);
	if (!write_param(name, text))
		fail_msg("cannot set module parameter %s", name);
}

void put_code(int fd, unsigned long file_page, int value)
{
#ifdef __x86_64__
	/* mov $value, %eax; ret */
	unsigned char code[8] = { 0xb8, 0, 0, 0, 0, 0xc3 };
	uint64_t word;

	memcpy(code + 1, &value, sizeof(value));
	memcpy(&word, code, sizeof(word));
	assert_true(file_set_word(fd, file_page * PAGE, word));
#else
#error "write machine code for this architecture"
#endif
}

static const char *setup_fixture(struct fixture *f)
{
	const char *why = backing_prepare(f->backing);
	long addr;

	if (why) {
		f->cannot = why;
		return NULL;
	}
	atomic_store(&shared->stop, 0);
	atomic_store(&shared->ready, 0);
	atomic_store(&shared->loops, 0);
	atomic_store(&shared->faults, 0);
	atomic_store(&shared->bad, 0);
	f->file_size = f->backing == HUGETLB ? 2 * HUGE_SIZE : FILE_PAGES * PAGE;
	f->peer = peer_spawn();
	if (!f->peer)
		return "fork";
	f->file = try_make_file(f->backing, f->file_size, 0);
	if (f->file < 0)
		return "backing file";
	f->ctl = mv_open();
	if (f->ctl < 0)
		return DEVICE;
	if (mv_set_size(f->ctl, VIEW_PAGES * PAGE))
		return "MEMVIEW_SET_SIZE";
	f->viewfd = mv_viewfd(f->ctl);
	if (f->viewfd < 0)
		return "MEMVIEW_GET_VIEWFD";
	f->peer_viewfd = peer_send_fd(f->peer, f->viewfd);
	addr = CALL(f->peer, op_mmap, f->peer_viewfd, VIEW_PAGES * PAGE,
		    PROT_READ | PROT_WRITE, 0).ret;
	if (addr == -1)
		return "mmap of the view fd";
	f->view = addr;
	return NULL;
}

static int setup(void **state)
{
	struct fixture *f = *state;
	const char *failed = setup_fixture(f);

	if (failed)
		print_error("fixture: %s: %s\n", failed, strerror(errno));
	return failed ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	atomic_store(&shared->stop, 1);
	peers_end();
	for (int i = 0; i < MAX_PARAMS && f->params[i].name[0]; i++)
		write_param(f->params[i].name, f->params[i].value);
	/* Whatever the test left open, or a failed assertion kept it from closing. */
	close_range(3, ~0U, 0);
	return 0;
}

static void run(void **state)
{
	struct fixture *f = *state;

	if (f->cannot)
		SKIP("%s", f->cannot);
	f->tc->run(f);
}

static struct CMUnitTest make_test(const struct test_case *tc, enum backing b)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char *name = NULL;
	int n;

	if (!f)
		abort();
	f->tc = tc;
	f->backing = b;
	f->ctl = f->file = f->viewfd = f->peer_viewfd = -1;
	if (tc->backings && tc->variant)
		n = asprintf(&name, "%s[%s,%s]", tc->name, backing_name(b), tc->variant);
	else if (tc->backings || tc->variant)
		n = asprintf(&name, "%s[%s]", tc->name,
			     tc->variant ? tc->variant : backing_name(b));
	else
		n = asprintf(&name, "%s", tc->name);
	if (n < 0)
		abort();
	return (struct CMUnitTest){
		.name = name, .test_func = run, .setup_func = setup,
		.teardown_func = teardown, .initial_state = f,
	};
}

/* Runs the cases whose name matches the pattern argv[1], or all; or lists them. */
int run_cases(int argc, char **argv, const char *group,
	      const struct test_case *cases, size_t nr)
{
	struct CMUnitTest *tests = calloc(nr * NR_BACKINGS, sizeof(*tests));
	size_t n = 0;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!tests || shared == MAP_FAILED)
		abort();
	for (size_t i = 0; i < nr; i++) {
		for (int b = 0; b < NR_BACKINGS; b++) {
			if ((cases[i].backings ?: ON(MEMFD)) & ON(b))
				tests[n++] = make_test(&cases[i], b);
		}
	}
	if (argc > 1 && !strcmp(argv[1], "--list")) {
		for (size_t i = 0; i < n; i++)
			printf("%s\n", tests[i].name);
		failed = 0;
	} else {
		if (argc > 1)
			cmocka_set_test_filter(argv[1]);
		failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
	}
	for (size_t i = 0; i < n; i++) {
		free((char *)tests[i].name);
		free(tests[i].initial_state);
	}
	free(tests);
	/* An exit status is 8 bits wide. */
	return failed != 0;
}
