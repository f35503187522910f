// SPDX-License-Identifier: GPL-2.0
/*
 * Creating and removing a mapping in another process: pairs, in batches, with
 * the result of each batch known before the next. Nobody touches the memory.
 */
#include "bench.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAIRS		1024U
#define MAX_BATCH	64U
#define SIZE		(2 * MAX_BATCH * PAGE)

/* Where mapping @i of a batch is: none beside another one. */
static size_t place(unsigned int i)
{
	return 2 * i * PAGE;
}

/* Maps or unmaps a batch in the view. */
static void change(struct memview *view, int fd, unsigned int count, bool map)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		check(map ? memview_map(view, place(i), fd, place(i), PAGE,
					MEMVIEW_READ | MEMVIEW_WRITE) :
			    memview_unmap(view, place(i), PAGE, NULL), "view");
}

static void change_update(struct memview *view, int fd, unsigned int count,
			  bool map, struct memview_batch *batch)
{
	unsigned int i;

	memview_batch_clear(batch);
	for (i = 0; i < count; i++)
		check(map ? memview_batch_map(batch, place(i), fd, place(i), PAGE,
					      MEMVIEW_READ | MEMVIEW_WRITE) :
			    memview_batch_unmap(batch, place(i), PAGE), "batch");
	check(memview_batch_apply(view, batch, NULL, NULL), "memview_batch_apply");
}

void remote_view(const struct bench *bench, double *values)
{
	const struct remote_param *p = bench->param;
	int fd = shared_file;
	struct memview *view = make_view(SIZE);
	struct span span = { .size = SIZE };
	struct memview_batch *batch;
	unsigned int done;
	struct peer peer;
	uint64_t start;

	check(memview_batch_new(&batch), "memview_batch_new");
	span.fd = check(memview_view_fd(view), "memview_view_fd");
	peer_start(&peer);
	peer_call(&peer, peer_map, &span, sizeof(span));
	settle();
	start = now();
	for (done = 0; done < PAIRS; done += p->batch) {
		if (p->update) {
			change_update(view, fd, p->batch, true, batch);
			change_update(view, fd, p->batch, false, batch);
		} else {
			change(view, fd, p->batch, true);
			change(view, fd, p->batch, false);
		}
	}
	values[0] = (double)(now() - start) / PAIRS;
}

static void *free_space(void)
{
	void *area = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED || munmap(area, SIZE))
		err(1, "mmap");
	return area;
}

/*
 * By ptrace. The tracee is stopped once; then each call takes four of ours:
 * registers in, run up to the breakpoint behind the instruction, wait, result
 * out. Not PTRACE_SYSCALL, which stops twice.
 */
extern const char inject_point[];
asm(".pushsection .text\n"
    "inject_point:\n"
    "	syscall\n"
    "	int3\n"
    ".popsection\n");

static void be_traced(const void *arg, double *values)
{
	(void)arg;
	(void)values;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		err(1, "PTRACE_TRACEME");
	raise(SIGSTOP);
}

static void wait_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		errx(1, "the tracee did not stop");
}

static long inject(pid_t pid, struct user_regs_struct *regs)
{
	long ret;

	regs->rip = (unsigned long)inject_point;
	if (ptrace(PTRACE_SETREGS, pid, NULL, regs) ||
	    ptrace(PTRACE_CONT, pid, NULL, NULL))
		err(1, "ptrace");
	wait_stop(pid);
	ret = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rax), NULL);
	if (ret < 0 && ret > -4096)
		errx(1, "an injected call failed: %s", strerror(-ret));
	return ret;
}

void remote_ptrace(const struct bench *bench, double *values)
{
	const struct remote_param *p = bench->param;
	int fd = shared_file;
	char *area = free_space();
	struct user_regs_struct stopped, regs;
	unsigned int i, done;
	struct peer peer;
	uint64_t start;

	peer_start(&peer);
	peer_post(&peer, be_traced, NULL, 0);
	wait_stop(peer.pid);
	if (ptrace(PTRACE_GETREGS, peer.pid, NULL, &stopped))
		err(1, "PTRACE_GETREGS");
	/* No system call to restart. */
	stopped.orig_rax = -1;
	settle();
	start = now();
	for (done = 0; done < PAIRS; done += p->batch) {
		for (i = 0; i < p->batch; i++) {
			regs = stopped;
			regs.rax = SYS_mmap;
			regs.rdi = (unsigned long)area + place(i);
			regs.rsi = PAGE;
			regs.rdx = PROT_READ | PROT_WRITE;
			regs.r10 = MAP_SHARED | MAP_FIXED_NOREPLACE;
			regs.r8 = fd;
			regs.r9 = place(i);
			inject(peer.pid, &regs);
		}
		for (i = 0; i < p->batch; i++) {
			regs = stopped;
			regs.rax = SYS_munmap;
			regs.rdi = (unsigned long)area + place(i);
			regs.rsi = PAGE;
			inject(peer.pid, &regs);
		}
	}
	values[0] = (double)(now() - start) / PAIRS;
}

/* By a stub: a page of requests, and a futex for each direction. */
struct stub {
	_Atomic unsigned int asked, done;
	unsigned int count;
	int error;
	char *area;
	int fd;
	struct request {
		bool map;
		size_t place;
	} requests[MAX_BATCH];
};

static void futex_wait(_Atomic unsigned int *word, unsigned int seen)
{
	while (atomic_load(word) == seen)
		syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic unsigned int *word)
{
	atomic_fetch_add(word, 1);
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void be_stub(const void *arg, double *values)
{
	struct stub *stub = *(struct stub *const *)arg;
	unsigned int seen = 0, i;

	(void)values;
	for (;; seen++) {
		futex_wait(&stub->asked, seen);
		for (i = 0; i < stub->count; i++) {
			struct request *request = &stub->requests[i];
			char *at = stub->area + request->place;

			if (request->map ?
			    mmap(at, PAGE, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED_NOREPLACE, stub->fd,
				 request->place) == MAP_FAILED :
			    munmap(at, PAGE))
				stub->error = 1;
		}
		futex_wake(&stub->done);
	}
}

static void ask(struct stub *stub, unsigned int count, bool map)
{
	unsigned int seen = atomic_load(&stub->done), i;

	for (i = 0; i < count; i++) {
		stub->requests[i].map = map;
		stub->requests[i].place = place(i);
	}
	stub->count = count;
	futex_wake(&stub->asked);
	futex_wait(&stub->done, seen);
	if (stub->error)
		errx(1, "the stub could not %s", map ? "map" : "unmap");
}

void remote_stub(const struct bench *bench, double *values)
{
	const struct remote_param *p = bench->param;
	struct stub *stub = mmap(NULL, sizeof(*stub), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct peer peer;
	unsigned int done;
	uint64_t start;

	if (stub == MAP_FAILED)
		err(1, "mmap");
	stub->fd = shared_file;
	stub->area = free_space();
	peer_start(&peer);
	peer_post(&peer, be_stub, &stub, sizeof(stub));
	settle();
	start = now();
	for (done = 0; done < PAIRS; done += p->batch) {
		ask(stub, p->batch, true);
		ask(stub, p->batch, false);
	}
	values[0] = (double)(now() - start) / PAIRS;
}
