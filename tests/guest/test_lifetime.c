// SPDX-License-Identifier: GPL-2.0
/*
 * The end of a controller is the end of what it lent: last close, death, exec.
 * And what it leaves behind must go: memory, mounts, address space.
 */
#include "common.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- in a controller that is not the test process ---- */

/* a[0]: fd of the file -> the control fd of a view that maps it. */
static long op_control(const long *a)
{
	int ctl = mv_open();

	if (ctl < 0 || mv_set_size(ctl, VIEW_PAGES * PAGE) ||
	    mv_map(ctl, (int)a[0], 0, 8 * PAGE, 0, RW))
		return -1;
	return ctl;
}

static long op_viewfd(const long *a)
{
	return mv_viewfd((int)a[0]);
}

static long op_dup(const long *a)
{
	/* Without FD_CLOEXEC. */
	return dup((int)a[0]);
}

static long op_execve(const long *a)
{
	(void)a;
	return execl("/bin/sleep", "sleep", "1000", NULL);
}

static long op_revoked(const long *a)
{
	struct memview_info info;

	return mv_info((int)a[0], &info) ? -1 : !!(info.state & MEMVIEW_STATE_REVOKED);
}

struct remote {
	struct peer *controller;
	int ctl;		/* in the controller */
	int viewfd;		/* here */
	struct peer *peer;
	unsigned long view;
};

static void start_remote(struct fixture *f, struct remote *r)
{
	r->controller = peer_spawn();
	assert_non_null(r->controller);
	r->ctl = EXPECT_CALL(r->controller, op_control,
			     peer_send_fd(r->controller, f->file));
	r->viewfd = peer_take_fd(r->controller,
				 EXPECT_CALL(r->controller, op_viewfd, r->ctl));
	assert_true(r->viewfd >= 0);
	r->peer = another_peer(f, r->viewfd, PROT_READ | PROT_WRITE, &r->view);
	for (int i = 0; i < 8; i++)
		EXPECT_VALUE(WORD(i), CALL(r->peer, op_read, r->view + i * PAGE));
	EXPECT_VALUE(0, CALL(r->peer, op_write, r->view, WORD(0)));
}

static bool is_shut_down(int viewfd)
{
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, viewfd, 0);

	if (p != MAP_FAILED)
		munmap(p, PAGE);
	return p == MAP_FAILED && errno == ESHUTDOWN;
}

/* The pages are gone at once; the view itself is revoked by a thread of the kernel. */
static void check_lost(const struct remote *r)
{
	for (int i = 0; i < 8; i++)
		EXPECT_SIGBUS(r->view + i * PAGE, CALL(r->peer, op_read, r->view + i * PAGE));
	EXPECT_SIGBUS(r->view, CALL(r->peer, op_write, r->view, 1));
	assert_true(EVENTUALLY(is_shut_down(r->viewfd)));
}

static void killed_controller_loses_all(struct fixture *f)
{
	struct remote r;

	start_remote(f, &r);
	peer_kill(r.controller);
	check_lost(&r);
	assert_int_equal(file_word(f->file, 0), WORD(0));
}

static void exiting_controller_loses_all(struct fixture *f)
{
	struct remote r;

	start_remote(f, &r);
	START(r.controller, op_exit, 0);
	assert_int_equal(peer_reap(r.controller), 0);
	check_lost(&r);
}

/* Its control fd lives on in somebody else's hands. */
static void killed_controller_with_a_duplicate_elsewhere(struct fixture *f)
{
	struct memview_range_info range;
	struct memview_query_info q;
	struct memview_info info;
	struct remote r;
	int ctl;

	start_remote(f, &r);
	ctl = peer_take_fd(r.controller, r.ctl);
	assert_true(ctl >= 0);
	peer_kill(r.controller);
	/* The death of the address space may come after wait(2) has returned. */
	assert_true(EVENTUALLY(!mv_info(ctl, &info) &&
			       (info.state & MEMVIEW_STATE_REVOKED)));
	check_lost(&r);
	EXPECT_OK(mv_query(ctl, 0, &range, 1, &q));
	assert_int_equal(q.total, 0);
	EXPECT_ERRNO(ESHUTDOWN, mv_viewfd(ctl));
	EXPECT_ERRNO(ESHUTDOWN, mv_map(ctl, f->file, 0, PAGE, 0, R));
}

/* As above, but a peer must not even see a moment of more than SIGBUS. */
static void dead_controller_gives_no_pages(struct fixture *f)
{
	struct remote r;
	int ctl;

	start_remote(f, &r);
	ctl = peer_take_fd(r.controller, r.ctl);
	assert_true(ctl >= 0);
	peer_kill(r.controller);
	for (int i = 0; i < 8; i++)
		EXPECT_SIGBUS(r.view + i * PAGE, CALL(r.peer, op_read, r.view + i * PAGE));
}

static void exec_of_the_controller_loses_all(struct fixture *f)
{
	struct remote r;
	char c;

	start_remote(f, &r);
	START(r.controller, op_execve);
	/* The command socket is close-on-exec. */
	assert_int_equal(read(r.controller->sock, &c, 1), 0);
	check_lost(&r);
}

static void exec_with_an_inherited_control_fd_loses_all(struct fixture *f)
{
	struct remote r;
	int ctl;
	char c;

	start_remote(f, &r);
	EXPECT_CALL(r.controller, op_dup, r.ctl);
	ctl = peer_take_fd(r.controller, r.ctl);
	START(r.controller, op_execve);
	assert_int_equal(read(r.controller->sock, &c, 1), 0);
	check_lost(&r);
	EXPECT_VALUE(1, PROBE(op_revoked, ctl));
}

static void duplicate_keeps_the_view_alive(struct fixture *f)
{
	int ctl = EXPECT_OK(dup(f->ctl));

	map_pages(f, 0, 0, 8, RW);
	READS(f, 0, WORD(0));
	close(f->ctl);
	READS(f, 0, WORD(0));
	READS(f, 5, WORD(5));
	EXPECT_OK(mv_map(ctl, f->file, 10 * PAGE, PAGE, 10 * PAGE, R));
	READS(f, 10, WORD(10));
	close(ctl);
	READ_SIGBUS(f, 0);
	READ_SIGBUS(f, 10);
}

static void forked_child_keeps_the_view_alive(struct fixture *f)
{
	int held = peer_send_fd(f->peer, f->ctl);

	map_pages(f, 0, 0, 8, RW);
	close(f->ctl);
	READS(f, 0, WORD(0));
	EXPECT_CALL(f->peer, op_close, held);
	READ_SIGBUS(f, 0);
}

static void last_close_takes_it_from_everybody(struct fixture *f)
{
	unsigned long addr;
	struct peer *other = another_peer(f, f->viewfd, PROT_READ, &addr), *child;

	map_pages(f, 0, 0, 8, RW);
	READS(f, 0, WORD(0));
	child = peer_fork(f->peer);
	assert_non_null(child);
	EXPECT_VALUE(WORD(1), CALL(child, op_read, AT(f, 1)));
	EXPECT_VALUE(WORD(1), CALL(other, op_read, addr + PAGE));
	close(f->ctl);
	READ_SIGBUS(f, 1);
	EXPECT_SIGBUS((unsigned long)AT(f, 1), CALL(child, op_read, AT(f, 1)));
	EXPECT_SIGBUS(addr + PAGE, CALL(other, op_read, addr + PAGE));
}

/* With the peer hammering at it, the death of the controller is silence. */
static void no_write_arrives_after_the_death(struct fixture *f)
{
	volatile uint64_t *word = (volatile uint64_t *)map_file(f, PROT_READ);
	struct remote r;
	uint64_t after;

	for (int i = 0; i < 10; i++) {
		start_remote(f, &r);
		atomic_store(&shared->ready, 0);
		START(r.peer, op_hammer, r.view);
		while (!atomic_load(&shared->ready))
			;
		peer_kill(r.controller);
		after = *word;
		for (int j = 0; j < 2000; j++)
			assert_int_equal(*word, after);
		atomic_store(&shared->stop, 1);
		EXPECT_VALUE(0, peer_wait(r.peer));
		assert_true(file_set_word(f->file, 0, WORD(0)));
		atomic_store(&shared->stop, 0);
		peer_kill(r.peer);
	}
}

static void peers_may_come_and_go(struct fixture *f)
{
	unsigned long addr;

	map_pages(f, 0, 0, 8, RW);
	for (int i = 0; i < 10; i++) {
		struct peer *p = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &addr);

		EXPECT_VALUE(WORD(i % 8), CALL(p, op_read, addr + i % 8 * PAGE));
		if (i & 1)
			EXPECT_CALL(p, op_munmap, addr, VIEW_PAGES * PAGE);
		peer_kill(p);
		READS(f, i % 8, WORD(i % 8));
	}
}

/* A peer that forks, and goes: the mapping of the child is as good as its own. */
static void child_survives_its_parent(struct fixture *f)
{
	struct peer *child;

	map_pages(f, 0, 0, 8, RW);
	READS(f, 0, WORD(0));
	child = peer_fork(f->peer);
	assert_non_null(child);
	peer_kill(f->peer);
	EXPECT_VALUE(WORD(1), CALL(child, op_read, AT(f, 1)));
	unmap_pages(f, 0, 8);
	EXPECT_SIGBUS((unsigned long)AT(f, 1), CALL(child, op_read, AT(f, 1)));
}

static void view_fd_passed_on_by_a_peer(struct fixture *f)
{
	int fd = peer_take_fd(f->peer, f->peer_viewfd);
	unsigned long addr;
	struct peer *third;

	assert_true(fd >= 0);
	third = another_peer(f, fd, PROT_READ | PROT_WRITE, &addr);
	map_pages(f, 0, 0, 8, RW);
	/* The one it came from is gone. */
	peer_kill(f->peer);
	EXPECT_VALUE(WORD(4), CALL(third, op_read, addr + 4 * PAGE));
	unmap_pages(f, 4, 1);
	EXPECT_SIGBUS(addr + 4 * PAGE, CALL(third, op_read, addr + 4 * PAGE));
}

/* ---- nothing stays behind ---- */

static bool is_mapped(uint64_t addr)
{
	return !msync((void *)(uintptr_t)addr, PAGE, MS_ASYNC) || errno != ENOMEM;
}

enum end_of_idle {
	BY_THE_NEXT_CALL, BY_A_CALL_OF_ANOTHER_VIEW, BY_DROP_IDLE, BY_REVOKE, BY_CLOSE,
};

static void idle_source_ends(struct fixture *f)
{
	uint64_t source;
	int other;

	map_pages(f, 0, 0, 8, RW);
	READS(f, 0, WORD(0));
	assert_true(fdinfo(f->ctl, "sources") >= 1);
	source = source_addr_at(f->ctl, 0);
	assert_true(is_mapped(source));
	unmap_pages(f, 0, 8);
	assert_int_equal(fdinfo(f->ctl, "sources"), 0);
	switch (f->tc->param) {
	case BY_THE_NEXT_CALL:
		assert_true(EVENTUALLY(!mv_unmap(f->ctl, 0, PAGE, NULL) &&
				       !is_mapped(source)));
		break;
	case BY_A_CALL_OF_ANOTHER_VIEW:
		other = EXPECT_OK(mv_open());
		EXPECT_OK(mv_set_size(other, PAGE));
		EXPECT_OK(mv_map(other, make_file(MEMFD, PAGE, 0), 0, PAGE, 0, R));
		assert_true(EVENTUALLY(!mv_unmap(other, 0, PAGE, NULL) &&
				       !is_mapped(source)));
		break;
	case BY_DROP_IDLE:
		EXPECT_OK(mv_drop_idle(f->ctl));
		break;
	case BY_REVOKE:
		EXPECT_OK(mv_revoke(f->ctl));
		break;
	default:
		close(f->ctl);
	}
	assert_false(is_mapped(source));
	if (f->tc->param >= BY_REVOKE)
		return;
	/* It is made anew when it is needed. */
	map_pages(f, 0, 0, 8, RW);
	READS(f, 0, WORD(0));
}

static void used_file_system_can_be_unmounted_after(struct fixture *f)
{
	char dir[128];
	int fd;

	if (!scratch_dir())
		SKIP("cannot mount a tmpfs");
	snprintf(dir, sizeof(dir), "%s/mnt", scratch_dir());
	assert_true(!mkdir(dir, 0700) || errno == EEXIST);
	EXPECT_OK(mount("memview", dir, "tmpfs", 0, NULL));
	fd = open(dir, O_TMPFILE | O_RDWR, 0600);
	assert_true(fd >= 0);
	EXPECT_OK(ftruncate(fd, 8 * PAGE));
	EXPECT_OK(mv_map(f->ctl, fd, 0, 8 * PAGE, 0, RW));
	close(fd);
	WRITES(f, 0, 1);
	EXPECT_ERRNO(EBUSY, umount(dir));
	switch (f->tc->param) {
	case 0:
		unmap_pages(f, 0, 8);
		EXPECT_OK(mv_drop_idle(f->ctl));
		break;
	case 1:
		map_pages(f, 0, 0, 8, RW | MEMVIEW_MAP_REPLACE);
		EXPECT_OK(mv_drop_idle(f->ctl));
		break;
	case 2:
		EXPECT_OK(mv_revoke(f->ctl));
		break;
	default:
		close(f->ctl);
	}
	/* Only in the peer's mapping of the view there is still something. */
	assert_true(EVENTUALLY(!umount(dir)));
}

static long op_vm_size(const long *a)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	(void)a;
	if (!file)
		return -1;
	if (fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages;
}

static void many_views_leave_nothing_behind(struct fixture *f)
{
	long size = PROBE(op_vm_size).ret;

	for (int i = 0; i < 200; i++) {
		int ctl = EXPECT_OK(mv_open()), fd;

		EXPECT_OK(mv_set_size(ctl, 64 * PAGE));
		EXPECT_OK(mv_map(ctl, f->file, 0, 8 * PAGE, i % 8 * PAGE, RW));
		fd = EXPECT_OK(mv_viewfd(ctl));
		close(i & 1 ? fd : ctl);
		close(i & 1 ? ctl : fd);
	}
	assert_true(EVENTUALLY(PROBE(op_vm_size).ret <= size + 64));
}

static void child_of_the_controller_has_no_source(struct fixture *f)
{
	struct peer *controller = peer_spawn(), *child;
	long maps;

	maps = EXPECT_CALL(controller, op_nr_maps);
	EXPECT_CALL(controller, op_control, peer_send_fd(controller, f->file));
	assert_true(EXPECT_CALL(controller, op_nr_maps) > maps);
	child = peer_fork(controller);
	assert_non_null(child);
	assert_true(EXPECT_CALL(child, op_nr_maps) <= maps);
}

/* a[0]: view fd; maps it below the program and all else. */
static long op_map_low(const long *a)
{
	return (long)mmap((void *)0x10000000, PAGE, PROT_READ,
			  MAP_SHARED | MAP_FIXED_NOREPLACE, (int)a[0], 0);
}

/*
 * The first notifier of an address space takes the locks of all its mappings, in
 * the order of addresses: in one peer the view's is the first, in the other that
 * of the program.
 */
static void peers_become_controllers(struct fixture *f)
{
	unsigned long view, views[2] = { f->view };
	struct peer *peers[2] = { f->peer };

	peers[1] = another_peer(f, f->viewfd, PROT_READ, &views[1]);
	map_pages(f, 0, 0, 8, RW);
	EXPECT_VALUE(0x10000000, CALL(f->peer, op_map_low, f->peer_viewfd));
	for (int i = 0; i < 2; i++) {
		long ctl = EXPECT_CALL(peers[i], op_control, peer_send_fd(peers[i], f->file));
		long viewfd = EXPECT_CALL(peers[i], op_viewfd, ctl);
		struct peer *third = another_peer(f, peer_take_fd(peers[i], (int)viewfd),
						  PROT_READ, &view);

		EXPECT_VALUE(WORD(1), CALL(third, op_read, view + PAGE));
		EXPECT_VALUE(WORD(2), CALL(peers[i], op_read, views[i] + 2 * PAGE));
	}
}

#define EACH_END(fn) \
	CASE_VARIANT(fn, "unmap", 0), CASE_VARIANT(fn, "replace", 1), \
	CASE_VARIANT(fn, "revoke", 2), CASE_VARIANT(fn, "close", 3)

static const struct test_case cases[] = {
	CASE(peers_become_controllers),
	CASE_ON(killed_controller_loses_all, ON_ALL),
	CASE(exiting_controller_loses_all),
	CASE_ON(killed_controller_with_a_duplicate_elsewhere, ON_ALL),
	CASE_ON(dead_controller_gives_no_pages, ON_ALL),
	CASE_ON(exec_of_the_controller_loses_all, ON_ALL),
	CASE(exec_with_an_inherited_control_fd_loses_all),
	CASE(duplicate_keeps_the_view_alive),
	CASE(forked_child_keeps_the_view_alive),
	CASE_ON(last_close_takes_it_from_everybody, ON_ALL),
	CASE(no_write_arrives_after_the_death),
	CASE(peers_may_come_and_go),
	CASE(child_survives_its_parent),
	CASE(view_fd_passed_on_by_a_peer),
	CASE_ON(idle_source_ends, ON_ALL),
	CASE_VARIANT(idle_source_ends, "by a call of another view",
		     BY_A_CALL_OF_ANOTHER_VIEW),
	CASE_VARIANT(idle_source_ends, "by MEMVIEW_DROP_IDLE", BY_DROP_IDLE),
	CASE_VARIANT(idle_source_ends, "by a revoke", BY_REVOKE),
	CASE_VARIANT(idle_source_ends, "by the last close", BY_CLOSE),
	EACH_END(used_file_system_can_be_unmounted_after),
	CASE(many_views_leave_nothing_behind),
	CASE(child_of_the_controller_has_no_source),
};

int main(int argc, char **argv)
{
	return RUN_CASES(argc, argv, "lifetime", cases);
}
