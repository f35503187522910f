// SPDX-License-Identifier: GPL-2.0
/*
 * What a view is not: where it differs from the file it is made of, as docs/limits.md
 * says. Each case is a row there; that one turns red means that the row has to go.
 */
#include "adv.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR 4UL

/* ---- what a peer can ask about its mapping ---- */

/* Address, pages -> how many are in memory */
static long op_mincore(const long *a)
{
	unsigned char vec[64];
	long nr = 0;

	if (mincore((void *)a[0], a[1] * PAGE, vec))
		return -1;
	for (long i = 0; i < a[1]; i++)
		nr += vec[i] & 1;
	return nr;
}

static long op_node_of(const long *a)
{
	int node = -1;

	return syscall(SYS_get_mempolicy, &node, NULL, 0, a[0], MPOL_F_NODE | MPOL_F_ADDR) ?
	       -1 : node;
}

static long op_mlock(const long *a)
{
	return mlock((void *)a[0], a[1]) ? -1 : get_field("/proc/self/status", "VmLck");
}

static void mincore_sees_no_page(struct fixture *f)
{
	int remote = peer_send_fd(f->peer, f->file);
	long plain = EXPECT_CALL(f->peer, op_mmap, remote, NR * PAGE, PROT_READ, 0);

	lend(f, NR, RW);
	EXPECT_VALUE(NR, CALL(f->peer, op_mincore, plain, NR));
	EXPECT_VALUE(0, CALL(f->peer, op_mincore, AT(f, 0), NR));
}

static void pages_are_on_no_node(struct fixture *f)
{
	int remote = peer_send_fd(f->peer, f->file);
	long plain = EXPECT_CALL(f->peer, op_mmap, remote, NR * PAGE, PROT_READ, 0);
	struct outcome o = CALL(f->peer, op_node_of, plain);

	if (o.ret < 0)
		SKIP("no get_mempolicy(2): %s", strerror(o.err));
	lend(f, NR, RW);
	EXPECT_CALL_ERRNO(EFAULT, f->peer, op_node_of, AT(f, 0));
}

static void mlock_locks_nothing(struct fixture *f)
{
	lend(f, NR, RW);
	EXPECT_VALUE(0, CALL(f->peer, op_mlock, AT(f, 0), NR * PAGE));
}

static void advice_is_refused(struct fixture *f)
{
	static const int refused[] = {
		MADV_DONTNEED, MADV_PAGEOUT, MADV_COLD, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
		MADV_REMOVE,
	};

	lend(f, NR, RW);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct outcome o = CALL(f->peer, op_madvise, AT(f, 0), NR * PAGE, refused[i]);

		if (o.ret != -1)
			fail_msg("advice %d is taken", refused[i]);
	}
	READS(f, 0, WORD(0));
}

static void seals_are_the_files_own(struct fixture *f)
{
	EXPECT_OK(fcntl(f->file, F_GET_SEALS));
	EXPECT_ERRNO(EINVAL, fcntl(f->viewfd, F_GET_SEALS));
	EXPECT_ERRNO(EINVAL, fcntl(f->viewfd, F_ADD_SEALS, F_SEAL_SHRINK));
}

static void mapping_is_not_populated_at_once(struct fixture *f)
{
	long addr;

	map_pages(f, 0, 0, NR, RW);
	addr = EXPECT_CALL(f->peer, op_mmap, f->peer_viewfd, NR * PAGE, PROT_READ, 0,
			   MAP_SHARED | MAP_POPULATE);
	assert_true(EXPECT_CALL(f->peer, op_faults_reading, addr, NR * PAGE) > 0);
}

/* ---- hugetlb ---- */

static void only_what_is_adopted_has_a_reservation(struct fixture *f)
{
	int file = backing_create(HUGETLB, 4 * HUGE_SIZE);
	long before = get_field("/proc/meminfo", "HugePages_Rsvd");
	void *plain;

	assert_true(before >= 0);
	EXPECT_OK(mv_map(f->ctl, file, 0, VIEW_PAGES / 2 * PAGE, 0, RW));
	assert_int_equal(get_field("/proc/meminfo", "HugePages_Rsvd"), before);
	plain = mmap(NULL, 4 * HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	assert_ptr_not_equal(plain, MAP_FAILED);
	assert_int_equal(get_field("/proc/meminfo", "HugePages_Rsvd"), before + 4);
	munmap(plain, 4 * HUGE_SIZE);
}

/* ---- the file, a moment after ---- */

#define SCRIPT "#!/bin/sh\nexit 42\n"

/* -> what the program at the path returned, or -1 and errno */
static int run_program(const char *path)
{
	int status, fds[2], err = 0;
	pid_t pid;

	EXPECT_OK(pipe2(fds, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		execl(path, path, NULL);
		err = errno;
		if (write(fds[1], &err, sizeof(err)) != sizeof(err))
			_exit(1);
		_exit(0);
	}
	close(fds[1]);
	if (read(fds[0], &err, sizeof(err)) != sizeof(err))
		err = 0;
	close(fds[0]);
	waitpid(pid, &status, 0);
	errno = err;
	return err ? -1 : WEXITSTATUS(status);
}

/* What was lent for writing is in use until the source of it is given up. */
static void execution_waits_for_the_end_of_the_source(struct fixture *f)
{
	char path[128];
	int fd, rdonly;

	assert_non_null(scratch_dir());
	snprintf(path, sizeof(path), "%s/program", scratch_dir());
	fd = EXPECT_OK(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700));
	rdonly = EXPECT_OK(open(path, O_RDONLY | O_CLOEXEC));
	assert_int_equal(write(fd, SCRIPT, strlen(SCRIPT)), strlen(SCRIPT));
	EXPECT_ERRNO(ETXTBSY, run_program(path));
	EXPECT_OK(mv_map(f->ctl, fd, 0, PAGE, 0, RW));
	close(fd);
	EXPECT_ERRNO(ETXTBSY, run_program(path));
	/* That nobody may write any more does not help: the right can come back. */
	protect_pages(f, 0, 1, R);
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE));
	EXPECT_ERRNO(ETXTBSY, run_program(path));
	EXPECT_OK(mv_map(f->ctl, rdonly, 0, PAGE, 0, R | MEMVIEW_MAP_REPLACE));
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE));
	assert_int_equal(run_program(path), 42);
	close(rdonly);
	unlink(path);
}

static void write_seal_waits_for_the_end_of_the_source(struct fixture *f)
{
	int rdonly = EXPECT_OK(backing_reopen(f->file, O_RDONLY));

	map_pages(f, 0, 0, NR, RW);
	protect_pages(f, 0, NR, R);
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE));
	EXPECT_ERRNO(EBUSY, fcntl(f->file, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_OK(mv_map(f->ctl, rdonly, 0, NR * PAGE, 0, R | MEMVIEW_MAP_REPLACE));
	EXPECT_OK(ioctl(f->ctl, MEMVIEW_DROP_IDLE));
	EXPECT_OK(fcntl(f->file, F_ADD_SEALS, F_SEAL_WRITE));
	READS(f, 0, WORD(0));
}

/* ---- a controller that dies slowly ---- */

static long op_abort(const long *a)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	(void)a;
	signal(SIGABRT, SIG_DFL);
	setrlimit(RLIMIT_CORE, &all);
	abort();
}

#define PATTERN "/proc/sys/kernel/core_pattern"

/* As long as somebody reads its core, its address space is there. */
static void dumping_controller_keeps_its_peers(struct fixture *f)
{
	char was[256] = "", pattern[160], script[128], go[200], dumping[200];
	struct controller c;
	unsigned long view;
	FILE *file;
	bool begun;

	assert_non_null(scratch_dir());
	snprintf(go, sizeof(go), "%s/go", scratch_dir());
	snprintf(dumping, sizeof(dumping), "%s/dumping", scratch_dir());
	snprintf(script, sizeof(script), "%s/dump.sh", scratch_dir());
	unlink(go);
	unlink(dumping);
	file = fopen(script, "we");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n: > %s\nwhile [ ! -e %s ]; do sleep 0.1; done\n"
		"cat > /dev/null\n", dumping, go);
	fclose(file);
	chmod(script, 0755);
	file = fopen(PATTERN, "re");
	if (!file || !fgets(was, sizeof(was), file))
		SKIP("no core_pattern");
	fclose(file);
	was[strcspn(was, "\n")] = 0;

	controller_start(&c, 0, RW);
	view = map_view(f->peer, c.viewfd, PROT_READ | PROT_WRITE);
	EXPECT_VALUE(WORD(0), CALL(f->peer, op_read, view));
	snprintf(pattern, sizeof(pattern), "|%s", script);
	assert_true(put_text(PATTERN, pattern));
	START(c.peer, op_abort, 0);
	begun = EVENTUALLY(!access(dumping, F_OK));
	if (begun) {
		EXPECT_VALUE(WORD(1), CALL(f->peer, op_read, view + PAGE));
		EXPECT_VALUE(0, CALL(f->peer, op_write, view, 7));
	}
	close(EXPECT_OK(open(go, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
	peer_reap(c.peer);
	put_text(PATTERN, was);
	assert_true(begun);
	assert_true(EVENTUALLY(CALL(f->peer, op_read, view).sig == SIGBUS));
	unlink(script);
	unlink(go);
	unlink(dumping);
}

static const struct test_case cases[] = {
	CASE(mincore_sees_no_page),
	CASE(pages_are_on_no_node),
	CASE(mlock_locks_nothing),
	CASE_ON(advice_is_refused, ON_ALL),
	CASE_ON(seals_are_the_files_own, ON_SEALABLE),
	CASE(mapping_is_not_populated_at_once),
	CASE_ON(only_what_is_adopted_has_a_reservation, ON(HUGETLB)),
	CASE(execution_waits_for_the_end_of_the_source),
	CASE_ON(write_seal_waits_for_the_end_of_the_source, ON_SEALABLE),
	CASE(dumping_controller_keeps_its_peers),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "limits", cases);
}
