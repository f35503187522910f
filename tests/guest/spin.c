// SPDX-License-Identifier: GPL-2.0
/* See spin.h. */
#include "spin.h"
#include "adv.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* In each page a thread has two words: one that it reads, one that it writes. */
#define MAX_CPUS	32
#define READ_WORD(cpu)	((cpu) * 128UL)
#define WRITE_WORD(cpu)	((cpu) * 128UL + 64)

/* A thread, in memory that it shares with the controller. */
struct spinner {
	int cpu;
	char *at;
	unsigned long stride;
	atomic_bool astray;	/* has been on another CPU */
	atomic_ulong turns;	/* times round its pages */
	atomic_ulong canaries;	/* turns in which it has read CANARY */
	atomic_bool ended;	/* by a fault */
	int sig;
	char *addr;
};

static struct {
	unsigned int nr;
	struct spinner all[MAX_CPUS];
} *spinners;

static __thread struct spinner *self;
static __thread sigjmp_buf spin_env;

static void end_spin(int sig, siginfo_t *info, void *context)
{
	(void)context;
	self->sig = sig;
	self->addr = info->si_addr;
	siglongjmp(spin_env, 1);
}

/* sched_getcpu(3) reads memory that the kernel keeps up to date. */
static void *spin(void *arg)
{
	struct spinner *s = arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(s->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return NULL;
	self = s;
	if (sigsetjmp(spin_env, 1)) {
		atomic_store(&s->ended, true);
		return NULL;
	}
	while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
		bool canary = false;

		for (unsigned long i = 0; i < SPIN_PAGES; i++) {
			char *page = s->at + i * s->stride * PAGE;

			canary |= *(volatile uint64_t *)(page + READ_WORD(s->cpu)) == CANARY;
			*(volatile uint64_t *)(page + WRITE_WORD(s->cpu)) = SECRET;
		}
		if (sched_getcpu() != s->cpu)
			atomic_store(&s->astray, true);
		if (canary)
			atomic_fetch_add(&s->canaries, 1);
		atomic_fetch_add(&s->turns, 1);
	}
	return NULL;
}

/* Address, stride */
static long op_spin(const long *a)
{
	struct sigaction sa = { .sa_sigaction = end_spin, .sa_flags = SA_SIGINFO };
	pthread_t threads[MAX_CPUS];

	sigemptyset(&sa.sa_mask);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	for (unsigned int i = 0; i < spinners->nr; i++) {
		spinners->all[i].at = (char *)a[0];
		spinners->all[i].stride = a[1];
		if (pthread_create(&threads[i], NULL, spin, &spinners->all[i]))
			return -1;
	}
	for (unsigned int i = 0; i < spinners->nr; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

/* One for each CPU of this process, before the peer is forked. */
static void make_spinners(void)
{
	cpu_set_t set;

	if (!spinners)
		spinners = mmap(NULL, sizeof(*spinners), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(spinners, MAP_FAILED);
	memset(spinners, 0, sizeof(*spinners));
	EXPECT_OK(sched_getaffinity(0, sizeof(set), &set));
	for (int cpu = 0; cpu < CPU_SETSIZE && spinners->nr < MAX_CPUS; cpu++)
		if (CPU_ISSET(cpu, &set))
			spinners->all[spinners->nr++].cpu = cpu;
	if (spinners->nr < 2)
		SKIP("one CPU only");
}

static bool all_turn(const unsigned long *from)
{
	for (unsigned int i = 0; i < spinners->nr; i++)
		if (atomic_load(&spinners->all[i].turns) < from[i] + 3)
			return false;
	return true;
}

/* Each is at it, on its CPU: without that nothing is shown. */
static void wait_for_turns(void)
{
	unsigned long from[MAX_CPUS];

	for (unsigned int i = 0; i < spinners->nr; i++)
		from[i] = atomic_load(&spinners->all[i].turns);
	if (!EVENTUALLY(all_turn(from)))
		fail_msg("a thread does not run");
	for (unsigned int i = 0; i < spinners->nr; i++) {
		assert_false(atomic_load(&spinners->all[i].astray));
		assert_false(atomic_load(&spinners->all[i].ended));
	}
}

static void put_words(char *plain, unsigned long stride, uint64_t reads, uint64_t writes)
{
	for (unsigned long page = 0; page < SPIN_PAGES; page++) {
		for (unsigned int i = 0; i < spinners->nr; i++) {
			char *at = plain + page * stride * PAGE;
			int cpu = spinners->all[i].cpu;

			*(volatile uint64_t *)(at + READ_WORD(cpu)) = reads;
			*(volatile uint64_t *)(at + WRITE_WORD(cpu)) = writes;
		}
	}
}

static void check_words(char *plain, unsigned long stride, const char *what)
{
	for (unsigned long page = 0; page < SPIN_PAGES; page++) {
		for (unsigned int i = 0; i < spinners->nr; i++) {
			char *at = plain + page * stride * PAGE;
			int cpu = spinners->all[i].cpu;

			if (*(volatile uint64_t *)(at + WRITE_WORD(cpu)) != CANARY)
				fail_msg("%s: CPU %d has written to page %lu after the call",
					 what, cpu, page * stride);
		}
	}
}

/* Or one has seen what it must not, and will go on. */
static bool all_ended(void)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < spinners->nr; i++) {
		if (atomic_load(&spinners->all[i].canaries))
			return true;
		nr += atomic_load(&spinners->all[i].ended);
	}
	return nr == spinners->nr;
}

/*
 * A thread makes accesses until it meets its fault, and is at it without a pause,
 * so that all have ended means that none will come any more.
 */
static void check_ended(const char *what, int sig, unsigned long view, unsigned long stride)
{
	(void)EVENTUALLY(all_ended());
	for (unsigned int i = 0; i < spinners->nr; i++) {
		struct spinner *s = &spinners->all[i];
		unsigned long page = ((unsigned long)s->addr - view) / PAGE;

		if (atomic_load(&s->canaries))
			fail_msg("%s: CPU %d has read what was written after the call", what,
				 s->cpu);
		if (!atomic_load(&s->ended))
			fail_msg("%s: CPU %d still has the page after %lu turns", what, s->cpu,
				 atomic_load(&s->turns));
		assert_false(atomic_load(&s->astray));
		assert_int_equal(s->sig, sig);
		if (page % stride || page / stride >= SPIN_PAGES)
			fail_msg("%s: CPU %d has met a fault at %p", what, s->cpu,
				 (void *)s->addr);
	}
}

/* A view of the fixture's that nothing has been done to. */
static void renew_view(struct fixture *f)
{
	if (f->ctl >= 0)
		close(f->ctl);
	close(f->viewfd);
	f->ctl = EXPECT_OK(mv_open());
	EXPECT_OK(mv_set_size(f->ctl, VIEW_PAGES * PAGE));
	f->viewfd = EXPECT_OK(mv_viewfd(f->ctl));
}

static const char *const ways[] = { "unmap", "narrow", "revoke", "close" };
#define NR_WAYS (sizeof(ways) / sizeof(ways[0]))

static void take(struct fixture *f, unsigned long nr, const char *how)
{
	if (!strcmp(how, "unmap")) {
		assert_int_equal(unmap_pages(f, 0, nr), nr);
	} else if (!strcmp(how, "narrow")) {
		protect_pages(f, 0, nr, R);
	} else if (!strcmp(how, "revoke")) {
		EXPECT_OK(mv_revoke(f->ctl));
	} else {
		EXPECT_OK(close(f->ctl));
		f->ctl = -1;
	}
}

static void lose_once(struct fixture *f, char *plain, unsigned long stride, int cpu,
		      const char *how)
{
	unsigned long view, nr = SPIN_PAGES * stride;
	bool narrow = !strcmp(how, "narrow");
	cpu_set_t all, one;
	struct peer *p;
	char what[32];

	snprintf(what, sizeof(what), "%s from CPU %d", how, cpu);
	make_spinners();
	put_words(plain, stride, 0, 0);
	renew_view(f);
	map_pages(f, 0, 0, nr, RW);
	p = another_peer(f, f->viewfd, PROT_READ | PROT_WRITE, &view);
	START(p, op_spin, view, stride);
	wait_for_turns();
	if (stride > 1)
		assert_true(fdinfo(f->ctl, "huge_entries") > 0);

	/* The thread that has this CPU loses it; those on the others run on. */
	EXPECT_OK(sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	EXPECT_OK(sched_setaffinity(0, sizeof(one), &one));
	wait_for_turns();
	take(f, nr, how);
	/* Who has been narrowed may still read. */
	put_words(plain, stride, narrow ? 0 : CANARY, CANARY);
	EXPECT_OK(sched_setaffinity(0, sizeof(all), &all));

	check_ended(what, narrow ? SIGSEGV : SIGBUS, view, stride);
	EXPECT_VALUE(0, FINISH(p, "the spinning threads"));
	check_words(plain, stride, what);
	peer_kill(p);
}

void check_every_cpu_loses(struct fixture *f, char *plain, unsigned long stride)
{
	make_spinners();
	for (unsigned int i = 0; i < spinners->nr; i++)
		for (size_t way = 0; way < NR_WAYS; way++)
			lose_once(f, plain, stride, spinners->all[i].cpu, ways[way]);
}

static bool all_read_canaries(void)
{
	for (unsigned int i = 0; i < spinners->nr; i++)
		if (!atomic_load(&spinners->all[i].canaries))
			return false;
	return true;
}

static bool all_wrote(char *plain)
{
	for (unsigned int i = 0; i < spinners->nr; i++)
		if (*(volatile uint64_t *)(plain + WRITE_WORD(spinners->all[i].cpu)) != SECRET)
			return false;
	return true;
}

void check_every_cpu_keeps(struct fixture *f, char *plain)
{
	char *other = map_file(f, PROT_READ | PROT_WRITE);
	unsigned long addr;
	struct peer *p;
	int fd;

	make_spinners();
	put_words(plain, 1, 0, 0);
	p = peer_spawn();
	assert_non_null(p);
	fd = peer_send_fd(p, f->file);
	assert_true(fd >= 0);
	addr = EXPECT_CALL(p, op_mmap, fd, SPIN_PAGES * PAGE, PROT_READ | PROT_WRITE, 0);
	START(p, op_spin, addr, 1);
	wait_for_turns();
	EXPECT_OK(munmap(other, f->file_size));
	put_words(plain, 1, CANARY, CANARY);
	assert_true(EVENTUALLY(all_read_canaries()));
	assert_true(EVENTUALLY(all_wrote(plain)));
	wait_for_turns();
	atomic_store(&shared->stop, 1);
	EXPECT_VALUE(0, FINISH(p, "the spinning threads"));
}
