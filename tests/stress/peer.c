// SPDX-License-Identifier: GPL-2.0
/*
 * A peer: threads that read, write and call whatever the views give them, and
 * say so when they find what they must not.
 *
 * All threads of a peer share one mapping of each whole view. Each has one more
 * of a part of some view, with which it does all that an owner of a mapping can
 * do: mprotect, mremap, madvise, unmap and map again.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress.h"

#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

/* A mapping, between two pages that nobody can use: calls can run off its end. */
struct mapping {
	int view;
	unsigned long first;	/* page of the view */
	unsigned long nr;
	char *addr;
	int most;		/* PROT_*, as it was mapped */
	bool constant;		/* nobody changes its protection */
};

struct peer {
	unsigned long long life;
	unsigned int index;
	int viewfds[VIEWS];
	struct mapping whole[VIEWS];
	int mem;		/* /proc/self/mem */
	/* Mappings come and go under this: nobody else gets into a gap. */
	pthread_mutex_t address_space;
};

struct worker {
	struct peer *peer;
	pthread_t thread;
	uint64_t random;
	struct mapping own;
	int pipe[2];
};

/* Where an access that faults goes on. */
static _Thread_local sigjmp_buf fault_jump;
static _Thread_local volatile sig_atomic_t fault_expected;
/* Accesses of a burst that were made. */
static _Thread_local volatile unsigned int accesses;

static void on_signal(int sig)
{
	if (!fault_expected) {
		static const char text[] = "stress: signal outside of an access\n";

		if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
			_exit(2);
		atomic_store(&board->failed, true);
		atomic_store(&board->stop, true);
		_exit(2);
	}
	fault_expected = 0;
	siglongjmp(fault_jump, sig);
}

static void catch_signals(void)
{
	/* The other two: a call can meet a page that is just being cleared. */
	static const int signals[] = { SIGBUS, SIGSEGV, SIGILL, SIGTRAP };
	struct sigaction action = {
		.sa_handler = on_signal, .sa_flags = SA_NODEFER,
	};

	for (unsigned int i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

/*
 * Jumps to its argument. A page without content is a long row of
 * "add %al, (%rax)", so there has to be something harmless at %rax.
 */
uint32_t call_page(const void *page);
uint64_t call_scratch;
asm(".pushsection .text\n"
    ".globl call_page\n"
    ".type call_page, @function\n"
    "call_page:\n"
    "	lea call_scratch(%rip), %rax\n"
    "	jmp *%rdi\n"
    ".size call_page, . - call_page\n"
    ".popsection\n");

/*
 * A page without content has zeros. The kernel may copy a word byte by byte, to
 * a reader of a pipe or for a debugger: then some bytes are of one word and
 * the others of another. No forbidden tag has a byte in common with others.
 */
static bool may_be_read(uint64_t word)
{
	static const enum tag tags[] = {
		TAG_OPEN, TAG_PEER, TAG_FROZEN, TAG_DATA,
	};
	const uint64_t number = 0xffffULL << 8;
	bool ok = true;

	for (unsigned int shift = 0; ok && shift < 64; shift += 8) {
		const uint64_t byte = 0xffULL << shift;

		if (number & byte || !(word & byte))
			continue;
		ok = false;
		for (unsigned int i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
			ok |= !((word ^ word_of(tags[i], 0)) & byte);
	}
	return ok;
}

static bool may_be_called(uint32_t result)
{
	enum tag tag = result >> 16;

	return tag != TAG_SECRET && tag != TAG_DATA && tag != TAG_FOREIGN;
}

/*
 * Accesses, @times in a row. Return 0 or the signal; @value is the last one,
 * for a row ends at one that must not be.
 */
__attribute__((noinline))
static int load(const volatile uint64_t *word, unsigned int times, uint64_t *value)
{
	int sig = sigsetjmp(fault_jump, 0);

	if (sig)
		return sig;
	fault_expected = 1;
	for (accesses = 0; accesses < times; accesses++) {
		*value = *word;
		if (!may_be_read(*value))
			break;
	}
	fault_expected = 0;
	return 0;
}

__attribute__((noinline))
static int store(volatile uint64_t *word, unsigned int times, uint64_t value)
{
	int sig = sigsetjmp(fault_jump, 0);

	if (sig)
		return sig;
	fault_expected = 1;
	for (accesses = 0; accesses < times; accesses++)
		*word = value;
	fault_expected = 0;
	return 0;
}

__attribute__((noinline))
static int call(const void *page, unsigned int times, uint64_t *value)
{
	int sig = sigsetjmp(fault_jump, 0);

	if (sig)
		return sig;
	fault_expected = 1;
	for (accesses = 0; accesses < times; accesses++) {
		*value = call_page(page);
		if (!may_be_called(*value))
			break;
	}
	fault_expected = 0;
	return 0;
}

static bool is_dead(const struct worker *worker)
{
	return atomic_load(&this_crew()->dead) >= worker->peer->life;
}

static void found(const struct worker *worker, const struct mapping *mapping,
		  unsigned long page, const char *what, uint64_t value)
{
	escaped(&(struct escape){
		.what = what, .life = worker->peer->life, .pid = getpid(),
		.view = mapping->view, .page = mapping->first + page,
		.value = value,
	});
}

/*
 * After the end there is only SIGBUS. @dead is from before the access. Where
 * the protection of the mapping can change, it may be SIGSEGV first.
 */
static void check_end(const struct worker *worker, const struct mapping *mapping,
		      unsigned long page, int prot, int sig, bool dead)
{
	if (!dead)
		return;
	if (sig == SIGBUS)
		count_add(N_DEAD_BUS, 1);
	else if (!sig)
		found(worker, mapping, page, "access after the end", prot);
	else if (mapping->constant && (mapping->most & prot) == prot)
		found(worker, mapping, page, "not SIGBUS after the end", sig);
}

static volatile uint64_t *word_in(const struct mapping *mapping,
				  unsigned long page, unsigned long word)
{
	return (uint64_t *)(mapping->addr + page * PAGE) + word;
}

static unsigned long random_word(struct worker *worker)
{
	return 1 + random_below(&worker->random, PAGE_WORDS - 1);
}

static uint64_t random_value(struct worker *worker)
{
	return word_of(TAG_PEER, random_next(&worker->random));
}

static int do_read(struct worker *worker, const struct mapping *mapping,
		   unsigned long page, unsigned int times)
{
	unsigned long word = random_below(&worker->random, PAGE_WORDS);
	bool dead = is_dead(worker);
	uint64_t value = 0;
	int sig = load(word_in(mapping, page, word), times, &value);

	count_add(N_READ, accesses);
	if (sig == SIGBUS)
		count_add(N_READ_BUS, 1);
	else if (!sig && !may_be_read(value))
		found(worker, mapping, page, "read", value);
	check_end(worker, mapping, page, PROT_READ, sig, dead);
	return sig;
}

/* Where it says what the first word of a page is. */
static const atomic_uint *known_of(const struct mapping *mapping, unsigned long page)
{
	unsigned long i = mapping->first + page;

	if (i < options.pages)
		return &board->known[this_crew()->common_file[mapping->view]][i];
	return &this_crew()->known[mapping->view][i];
}

/* There is something else only if the page is not what is mapped there. */
static void do_read_known(struct worker *worker, const struct mapping *mapping,
			  unsigned long page, unsigned int times)
{
	const atomic_uint *known = known_of(mapping, page);
	bool common = mapping->first + page < options.pages;

	while (times--) {
		unsigned int before = atomic_load(known);
		uint64_t value = 0;

		if (!before)
			return;
		if (load(word_in(mapping, page, 0), 1, &value))
			continue;
		/* The word may have become another while it was read. */
		if (atomic_load(known) != before)
			continue;
		count_add(common ? N_READ_COMMON : N_READ_KNOWN, 1);
		atomic_fetch_add(common ? &board->seen : &this_crew()->seen, 1);
		if (value != word_of(TAG_OPEN, before))
			found(worker, mapping, page,
			      "read from a page that the file has lost", value);
	}
}

static void do_write(struct worker *worker, const struct mapping *mapping,
		     unsigned long page, unsigned int times)
{
	bool dead = is_dead(worker);
	int sig = store(word_in(mapping, page, random_word(worker)), times,
			random_value(worker));

	count_add(N_WRITE, accesses);
	if (sig == SIGBUS)
		count_add(N_WRITE_BUS, 1);
	else if (sig)
		count_add(N_WRITE_SEGV, 1);
	else if (mapping->view == VIEW_NO_WRITE)
		found(worker, mapping, page, "written through a read-only view fd", 0);
	check_end(worker, mapping, page, PROT_WRITE, sig, dead);
}

static void do_call(struct worker *worker, const struct mapping *mapping,
		    unsigned long page, unsigned int times)
{
	uint64_t value = 0;
	bool dead;
	int sig;

	/* Code that appears where the CPU is could be seen in part. */
	if (!load(word_in(mapping, page, 0), 1, &value) && !value)
		return;
	value = 0;
	dead = is_dead(worker);
	sig = call(mapping->addr + page * PAGE, times, &value);
	count_add(N_CALL, accesses);
	if (sig == SIGBUS)
		count_add(N_CALL_BUS, 1);
	else if (sig == SIGSEGV)
		count_add(N_CALL_SEGV, 1);
	else if (!sig && !may_be_called(value))
		found(worker, mapping, page, "called", value);
	check_end(worker, mapping, page, PROT_EXEC, sig, dead);
}

/* The kernel reads from the view, into a pipe. */
static void do_copy_from(struct worker *worker, const struct mapping *mapping,
			 unsigned long page)
{
	volatile uint64_t *word = word_in(mapping, page, random_word(worker));
	bool dead = is_dead(worker);
	uint64_t value;
	ssize_t n = write(worker->pipe[1], (const void *)word, sizeof(value));

	if (n < 0 && errno == EFAULT) {
		count_add(N_COPY_FROM_EFAULT, 1);
		return;
	}
	if (n != sizeof(value) ||
	    read(worker->pipe[0], &value, sizeof(value)) != sizeof(value))
		fail("pipe", errno);
	count_add(N_COPY_FROM, 1);
	if (!may_be_read(value))
		found(worker, mapping, page, "read by a system call", value);
	check_end(worker, mapping, page, PROT_READ, 0, dead);
}

static void do_copy_to(struct worker *worker, const struct mapping *mapping,
		       unsigned long page)
{
	volatile uint64_t *word = word_in(mapping, page, random_word(worker));
	uint64_t value = random_value(worker);
	bool dead = is_dead(worker);
	ssize_t n;

	if (write(worker->pipe[1], &value, sizeof(value)) != sizeof(value))
		fail("pipe", errno);
	n = read(worker->pipe[0], (void *)word, sizeof(value));
	if (n == sizeof(value)) {
		count_add(N_COPY_TO, 1);
		check_end(worker, mapping, page, PROT_WRITE, 0, dead);
		return;
	}
	if (n >= 0 || errno != EFAULT)
		fail("pipe", errno);
	count_add(N_COPY_TO_EFAULT, 1);
	if (read(worker->pipe[0], &value, sizeof(value)) != sizeof(value))
		fail("pipe", errno);
}

static void do_ptrace(struct worker *worker, const struct mapping *mapping,
		      unsigned long page)
{
	off_t offset = (uintptr_t)word_in(mapping, page, random_word(worker));
	bool dead = is_dead(worker), writes = random_once_in(&worker->random, 2);
	uint64_t value = random_value(worker);
	ssize_t n;

	n = writes ? pwrite(worker->peer->mem, &value, sizeof(value), offset) :
		     pread(worker->peer->mem, &value, sizeof(value), offset);
	if (n != sizeof(value)) {
		count_add(N_PTRACE_ERROR, 1);
		return;
	}
	count_add(N_PTRACE, 1);
	if (!writes && !may_be_read(value))
		found(worker, mapping, page, "read by /proc/PID/mem", value);
	if (writes && mapping->view == VIEW_NO_WRITE)
		found(worker, mapping, page, "written by /proc/PID/mem", 0);
	check_end(worker, mapping, page, PROT_READ, 0, dead);
}

/* What pins pages must not get at them at all. */
static void do_gup(struct worker *worker, const struct mapping *mapping,
		   unsigned long page)
{
	uint64_t value;
	struct iovec here = { &value, sizeof(value) };
	struct iovec there = { mapping->addr + page * PAGE, sizeof(value) };

	if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) >= 0)
		found(worker, mapping, page, "pinned", value);
	else if (errno == EFAULT)
		count_add(N_GUP_EFAULT, 1);
}

static bool goes_on(const struct worker *worker)
{
	return !atomic_load(&board->stop) &&
	       atomic_load(&this_crew()->over) < worker->peer->life;
}

/*
 * A child inherits all that the peer has mapped, and uses it. It is the copy of
 * one thread: nothing in it may need what another thread has locked.
 */
static void do_fork(struct worker *worker, unsigned int generation)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork", errno);
	if (pid) {
		count_add(N_FORK, 1);
		now_resting();
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return;
	}

	count_forget();
	activity_forget();
	worker->random ^= (uint64_t)getpid() << 32;
	for (int i = 0; i < 60 && goes_on(worker); i++) {
		struct mapping *mapping =
			&worker->peer->whole[random_below(&worker->random, VIEWS)];
		unsigned long page = random_below(&worker->random, mapping->nr);

		now_doing("access by a child");
		do_read(worker, mapping, page, 20);
		if (random_once_in(&worker->random, 2))
			do_write(worker, mapping, page, 2);
		else
			do_call(worker, mapping, page, 2);
		count_add(N_CHILD, 1);
		if (i == 30 && generation < 2 && random_once_in(&worker->random, 4))
			do_fork(worker, generation + 1);
	}
	count_flush();
	_exit(0);
}

/*
 * Room for @nr pages and one on both sides, where huge entries are possible for
 * a mapping that begins at page @first.
 */
static char *reserve(unsigned long nr, unsigned long first)
{
	unsigned long len = (nr + 2) * PAGE, more;
	char *addr = mmap(NULL, len + HUGE_PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (addr == MAP_FAILED)
		fail("mmap", errno);
	more = (first * PAGE - (uintptr_t)addr - PAGE) % HUGE_PAGE;
	if ((more && munmap(addr, more)) ||
	    munmap(addr + more + len, HUGE_PAGE - more))
		fail("munmap", errno);
	return addr + more + PAGE;
}

static void release(char *addr, unsigned long nr)
{
	if (munmap(addr - PAGE, (nr + 2) * PAGE))
		fail("munmap", errno);
}

/* A view can be revoked before it is mapped: then false. */
static bool map_view(struct peer *peer, struct mapping *mapping)
{
	mapping->addr = reserve(mapping->nr, mapping->first);
	if (mmap(mapping->addr, mapping->nr * PAGE, mapping->most,
		 MAP_SHARED | MAP_FIXED, peer->viewfds[mapping->view],
		 mapping->first * PAGE) != MAP_FAILED)
		return true;
	if (errno != ESHUTDOWN)
		fail("mapping a view", errno);
	return false;
}

/* Where some lane is at work, or the vandal. */
static unsigned int random_hot(struct worker *worker)
{
	unsigned int who = random_below(&worker->random, LANES + 1);

	if (who < LANES)
		return atomic_load(&this_crew()->hot[who]);
	return HOT(random_below(&worker->random, VIEWS), atomic_load(&board->hot));
}

/* The page that a lane is at, as far as @mapping has it. */
static unsigned long hot_page(struct worker *worker, const struct mapping *mapping,
			      unsigned int hot)
{
	unsigned long page = HOT_PAGE(hot) + random_below(&worker->random, 4);

	if (page < mapping->first || page >= mapping->first + mapping->nr)
		return random_below(&worker->random, mapping->nr);
	return page - mapping->first;
}

static void change_map(struct worker *worker)
{
	static const int prots[] = {
		PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC, RWX, RWX,
	};
	struct mapping *own = &worker->own;

	if (own->addr)
		release(own->addr, own->nr);
	own->view = random_once_in(&worker->random, 2) ?
			HOT_VIEW(random_hot(worker)) :
			random_below(&worker->random, VIEWS);
	own->nr = 1 + random_below(&worker->random, view_pages());
	own->first = random_below(&worker->random, view_pages() - own->nr + 1);
	own->most = prots[random_below(&worker->random,
				       sizeof(prots) / sizeof(prots[0]))];
	if (own->view == VIEW_NO_WRITE)
		own->most &= ~PROT_WRITE;
	if (!map_view(worker->peer, own)) {
		release(own->addr, own->nr);
		own->addr = NULL;
		return;
	}
	count_add(N_REMAP, 1);
}

static void change_place(struct worker *worker)
{
	struct mapping *own = &worker->own;
	unsigned long len = own->nr * PAGE;
	char *to = reserve(own->nr, random_once_in(&worker->random, 2) ?
					own->first : 0);

	/* Copies of mappings, as old_len 0 makes them, are refused or good. */
	if (random_once_in(&worker->random, 8)) {
		void *copy = mremap(own->addr, 0, len, MREMAP_MAYMOVE);

		if (copy != MAP_FAILED)
			munmap(copy, len);
	}
	/* A mapping of several pieces cannot be moved as a whole. */
	if (mremap(own->addr, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) ==
	    MAP_FAILED) {
		release(to, own->nr);
		change_map(worker);
		return;
	}
	release(own->addr, own->nr);
	own->addr = to;
	count_add(N_MREMAP, 1);
}

static void change_protection_once(struct worker *worker)
{
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
		PROT_READ | PROT_EXEC, RWX, RWX,
	};
	struct mapping *own = &worker->own;
	unsigned long page = hot_page(worker, own, random_hot(worker));
	unsigned long first = random_below(&worker->random, own->nr);
	unsigned long nr = 1 + random_below(&worker->random, own->nr - first);
	int prot = prots[random_below(&worker->random,
				      sizeof(prots) / sizeof(prots[0]))];
	bool forbidden = (own->view == VIEW_NO_WRITE && (prot & PROT_WRITE)) ||
			 ((prot & PROT_EXEC) && !(own->most & PROT_EXEC));

	/* A present entry must not get a right that its range does not have. */
	do_read(worker, own, page, 1);
	/* Mostly all of it: pieces cannot be moved. */
	if (!random_once_in(&worker->random, 4)) {
		first = 0;
		nr = own->nr;
	}
	if (mprotect(own->addr + first * PAGE, nr * PAGE, prot))
		return;
	count_add(N_MPROTECT, 1);
	if (forbidden)
		found(worker, own, first, "mprotect gave a right", prot);
	if (prot & PROT_EXEC)
		do_call(worker, own, page, 1);
	if (prot & PROT_WRITE)
		do_write(worker, own, page, 1);
}

/* Several times: it is quick, and has to meet a page that is read-only or so. */
static void change_protection(struct worker *worker)
{
	for (int i = 0; i < 8; i++)
		change_protection_once(worker);
}

static void change_advice(struct worker *worker)
{
	static const int advices[] = {
		MADV_DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED,
		MADV_SEQUENTIAL, MADV_RANDOM, MADV_NORMAL, MADV_HUGEPAGE,
		MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_FREE,
		MADV_KEEPONFORK,
	};
	struct mapping *own = &worker->own;
	unsigned long first = random_below(&worker->random, own->nr);

	/* Whether it is refused does not matter here. */
	madvise(own->addr + first * PAGE, (own->nr - first) * PAGE,
		advices[random_below(&worker->random,
				     sizeof(advices) / sizeof(advices[0]))]);
	count_add(N_MADVISE, 1);
}

static void change_own(struct worker *worker)
{
	static void (*const changes[])(struct worker *) = {
		change_map, change_map, change_place, change_protection,
		change_protection, change_protection, change_advice,
	};

	now_resting();
	pthread_mutex_lock(&worker->peer->address_space);
	now_doing("change of a mapping");
	if (worker->own.addr)
		changes[random_below(&worker->random, sizeof(changes) /
				     sizeof(changes[0]))](worker);
	pthread_mutex_unlock(&worker->peer->address_space);
}

static void use(struct worker *worker, const struct mapping *mapping,
		unsigned long page)
{
	unsigned int times = random_once_in(&worker->random, 2) ? 1 : 100;

	now_doing("access");
	/* Such a page is about to change. */
	if (atomic_load(known_of(mapping, page)) &&
	    random_once_in(&worker->random, 2))
		return do_read_known(worker, mapping, page, times);

	switch (random_below(&worker->random, 16)) {
	case 0 ... 6:
		do_read(worker, mapping, page, times);
		break;
	case 7 ... 9:
		do_write(worker, mapping, page, times);
		break;
	case 10 ... 11:
		do_call(worker, mapping, page, times);
		break;
	case 12:
		do_copy_from(worker, mapping, page);
		break;
	case 13:
		do_copy_to(worker, mapping, page);
		break;
	case 14:
		do_ptrace(worker, mapping, page);
		break;
	default:
		do_gup(worker, mapping, page);
	}
}

static void *worker_run(void *argument)
{
	struct worker *worker = argument;

	pthread_mutex_lock(&worker->peer->address_space);
	change_map(worker);
	pthread_mutex_unlock(&worker->peer->address_space);
	for (unsigned int round = 0; goes_on(worker); round++) {
		unsigned int hot = random_hot(worker);
		const struct mapping *mapping =
			&worker->peer->whole[HOT_VIEW(hot)];

		switch (random_below(&worker->random, 16)) {
		case 0:
			/* Every page that there is. */
			mapping = &worker->peer->whole[
				random_below(&worker->random, VIEWS)];
			now_doing("read all");
			for (unsigned long i = 0; i < mapping->nr; i++)
				do_read(worker, mapping, i, 1);
			break;
		case 1 ... 2:
			change_own(worker);
			break;
		case 3 ... 7:
			if (worker->own.addr)
				mapping = &worker->own;
			/* fall through */
		default:
			for (int i = 0; i < 8; i++)
				use(worker, mapping,
				    hot_page(worker, mapping, hot));
		}
		if (random_once_in(&worker->random, 200)) {
			now_doing("fork");
			do_fork(worker, 0);
		}
		if (!(round % 16))
			count_flush();
	}
	now_resting();
	count_flush();
	return NULL;
}

noreturn void peer_run(unsigned long long life, unsigned int index, int socket)
{
	static struct worker workers[MAX_THREADS];
	static struct peer peer;
	bool mapped = true;

	peer.life = life;
	peer.index = index;
	peer.mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (peer.mem < 0)
		fail("/proc/self/mem", errno);
	pthread_mutex_init(&peer.address_space, NULL);
	catch_signals();

	for (int i = 0; i < VIEWS; i++) {
		struct mapping *mapping = &peer.whole[i];
		int fd = memview_recv_fd(socket, NULL, 0, NULL);

		/* The controller is dead already. */
		if (fd == -EPIPE || fd == -ECONNRESET)
			_exit(0);
		if (fd < 0)
			fail("receiving a view fd", -fd);
		peer.viewfds[i] = fd;
		*mapping = (struct mapping){
			.view = i, .nr = view_pages(), .constant = true,
			.most = i == VIEW_NO_WRITE ? RWX & ~PROT_WRITE : RWX,
		};
		mapped &= map_view(&peer, mapping);
	}
	if (!mapped)
		_exit(0);

	/* Neither stacks nor first mappings may get into a gap of mremap(2). */
	pthread_mutex_lock(&peer.address_space);
	for (unsigned int i = 0; i < options.threads; i++) {
		struct worker *worker = &workers[i];
		int err;

		worker->peer = &peer;
		worker->random = random_seed(life, 100 + index * MAX_THREADS + i);
		if (pipe2(worker->pipe, O_CLOEXEC | O_NONBLOCK))
			fail("pipe2", errno);
		err = pthread_create(&worker->thread, NULL, worker_run, worker);
		if (err)
			fail("pthread_create", err);
	}
	pthread_mutex_unlock(&peer.address_space);
	for (unsigned int i = 0; i < options.threads; i++)
		pthread_join(workers[i].thread, NULL);
	_exit(0);
}
