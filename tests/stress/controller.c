// SPDX-License-Identifier: GPL-2.0
/*
 * The controller: some threads, called lanes, that lend and take back.
 *
 * A lane owns the same part of every view and of every file, and knows what is
 * mapped where in it. Lanes meet in the driver: they share views and sources.
 *
 * Every operation has the same shape. Choose a span of a view. The pages of the
 * files that it maps are the *victims*; the same pages may be mapped elsewhere,
 * so whatever is taken is taken at all those places. When the last call has
 * returned, fill the victims with words that tell that the right is gone; give
 * the peers some time; see that nobody has changed them; clean up; lend again.
 * Where the file loses the victims, peers keep the right, but not those pages.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "lane.h"

void check(struct lane *lane, int err, const char *what)
{
	if (!err)
		return;
	/* The views have been revoked under the lane, to end its life. */
	if (err == -ESHUTDOWN && atomic_load(&lane->controller->ending)) {
		count_flush();
		pthread_exit(NULL);
	}
	fail(what, -err);
}

/* Less than @most microseconds, perhaps none. */
void doze(struct lane *lane, unsigned int most)
{
	struct timespec time = {
		.tv_nsec = 1000L * random_below(&lane->random, most),
	};

	if (time.tv_nsec)
		nanosleep(&time, NULL);
}

/* Peers get some time. Short more often than long: what races is short. */
void dwell(struct lane *lane)
{
	static const unsigned int most[] = { 1, 20, 20, 100, 100, 500, 500, 4000 };

	doze(lane, most[random_below(&lane->random,
				     sizeof(most) / sizeof(most[0]))]);
}

void *rival_run(void *argument)
{
	struct lane *lane = argument;

	/* The lane is to overtake it in the middle of its work. */
	if (setpriority(PRIO_PROCESS, 0, 0))
		fail("setpriority", errno);
	for (;;) {
		while (sem_wait(&lane->rival_go))
			;
		if (atomic_load(&board->stop) ||
		    atomic_load(&lane->controller->ending))
			break;
		sem_post(&lane->rival_calls);
		/* Batches and rings are the lane's. */
		now_doing("unmap by a rival");
		check(lane, memview_unmap(lane->controller->views[lane->span.view],
					  lane->span.first * PAGE,
					  lane->span.nr * PAGE,
					  &lane->rival_bytes), "unmap");
		count_add(N_UNMAP, 1);
		if (lane->rival_fills)
			fill_victims(lane, TAG_SECRET);
		now_resting();
		count_flush();
		sem_post(&lane->rival_done);
	}
	return NULL;
}

/* False if the life ends: nobody waits for a rival then. */
bool wait_for_rival(struct lane *lane, sem_t *sem)
{
	const struct timespec time = { .tv_nsec = 20 * 1000 };

	while (sem_trywait(sem)) {
		if (atomic_load(&lane->controller->ending) ||
		    atomic_load(&board->stop))
			return false;
		nanosleep(&time, NULL);
	}
	return true;
}

/* Meets the rival anywhere in its call, or before or after it. */
bool start_rival(struct lane *lane, bool fills)
{
	static const unsigned int most[] = { 1, 1, 50, 200 };

	lane->rival_fills = fills;
	sem_post(&lane->rival_go);
	if (!wait_for_rival(lane, &lane->rival_calls))
		return false;
	doze(lane, most[random_below(&lane->random,
				     sizeof(most) / sizeof(most[0]))]);
	return true;
}

/* The same place several times, so that peers are there; else a new one. */
static void choose_span(struct lane *lane)
{
	struct span *span = &lane->span;
	unsigned long most;

	if (span->nr && !random_once_in(&lane->random, 8))
		return;
	most = random_once_in(&lane->random, 4) ? MAX_VICTIMS : 4;
	if (most > lane->nr)
		most = lane->nr;
	span->view = random_below(&lane->random, VIEWS);
	span->nr = 1 + random_below(&lane->random, most);
	span->first = lane->first +
		      random_below(&lane->random, lane->nr - span->nr + 1);
}

/* What lanes do, and how often: of all turns, @weight. */
static const struct {
	const char *name;
	void (*run)(struct lane *lane);
	unsigned int weight;
} operations[] = {
	{ "unmap",		op_unmap,	3 },
	{ "unmap-twice",	op_unmap_twice,	2 },
	{ "unmap-punch",	op_unmap_punch,	1 },
	{ "replace",		op_replace,	2 },
	{ "narrow",		op_narrow,	2 },
	{ "noexec",		op_noexec,	2 },
	{ "punch",		op_punch,	2 },
	{ "truncate",		op_truncate,	1 },
	{ "lose",		op_lose,	2 },
	{ "tamper",		op_tamper,	1 },
	{ "shrink",		op_shrink,	1 },
};

#define NR_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

bool is_chosen(const char *name)
{
	const char *at = options.operations;
	size_t len = strlen(name);

	if (!at)
		return true;
	while (*at) {
		size_t next = strcspn(at, ",");

		if (next == len && !memcmp(at, name, len))
			return true;
		at += next + !!at[next];
	}
	return false;
}

static bool is_name(const char *name, const char *text, size_t len)
{
	return strlen(name) == len && !memcmp(name, text, len);
}

/*
 * No operations of lanes: how these get to the driver, a thread of its own, and
 * what goes on beside.
 */
static bool is_other(const char *text, size_t len)
{
	return is_name("batch", text, len) || is_name("ring", text, len) ||
	       is_name("populate", text, len) ||
	       is_name("numa", text, len) || is_neighbour(text, len);
}

bool operations_exist(const char *list)
{
	bool lane_has_one = false;

	do {
		size_t len = strcspn(list, ",");
		unsigned int i = 0;

		while (i < NR_OPERATIONS && !is_name(operations[i].name, list, len))
			i++;
		lane_has_one |= i < NR_OPERATIONS;
		if (i == NR_OPERATIONS && !is_other(list, len))
			return false;
		list += len;
	} while (*list++);
	return lane_has_one;
}

/*
 * Every second life has all that is chosen. The others have one or two of them,
 * for what races with something that is rare meets it rarely.
 */
static unsigned int operations_of(unsigned long long life)
{
	uint64_t random = random_seed(life, 50);
	unsigned int all = 0, some = 0;

	for (unsigned int i = 0; i < NR_OPERATIONS; i++)
		all |= is_chosen(operations[i].name) << i;
	if (life % 2)
		return all;
	while (!(some & all))
		some = 1U << random_below(&random, NR_OPERATIONS) |
		       1U << random_below(&random, NR_OPERATIONS);
	return some & all;
}

static void random_operation(struct lane *lane)
{
	unsigned int chosen = lane->controller->operations;
	unsigned long sum = 0, turn;

	for (unsigned int i = 0; i < NR_OPERATIONS; i++)
		sum += (chosen >> i & 1) * operations[i].weight;
	turn = random_below(&lane->random, sum);
	for (unsigned int i = 0; i < NR_OPERATIONS; i++) {
		unsigned int weight = (chosen >> i & 1) * operations[i].weight;

		if (turn < weight) {
			now_doing(operations[i].name);
			return operations[i].run(lane);
		}
		turn -= weight;
	}
}

static void *lane_run(void *argument)
{
	struct lane *lane = argument;

	while (!atomic_load(&board->stop) &&
	       !atomic_load(&lane->controller->ending)) {
		now_doing("map");
		choose_span(lane);
		if (lane->nr == MAX_PART && random_once_in(&lane->random, 2))
			map_block(lane, lane->span.view);
		atomic_store(&this_crew()->hot[lane->index],
			     HOT(lane->span.view, lane->span.first));
		map_holes(lane, &lane->span);
		choose_victims(lane, &lane->span);
		/* Let peers begin to fault, or have it mapped; or neither. */
		dwell(lane);
		if (lane->nr_victims)
			random_operation(lane);
		count_flush();
	}
	now_resting();
	return NULL;
}

static void start_lane(struct lane *lane)
{
	for (int view = 0; view < VIEWS; view++) {
		struct span all = {
			.view = view, .first = lane->first, .nr = lane->nr,
		};

		forget(lane, &all);
		/* While peers have no page tables yet. */
		if (lane->nr == MAX_PART && !random_once_in(&lane->random, 4))
			map_block(lane, view);
		else
			map_pieces(lane, &all);
	}
}

/* The first part, which no lane has: the same page as in the file. */
static void map_common(struct memview *view, int file)
{
	int err = memview_map(view, 0, files[file], 0, options.pages * PAGE,
			      MEMVIEW_READ | MEMVIEW_WRITE | MEMVIEW_EXEC);

	if (err)
		fail("map", -err);
	count_add(N_MAP, 1);
}

static void open_views(struct controller *controller, unsigned long long life,
		       const int *sockets)
{
	static const unsigned int rights[VIEWS] = {
		[0] = MEMVIEW_READ | MEMVIEW_WRITE | MEMVIEW_EXEC,
		[1] = MEMVIEW_READ | MEMVIEW_WRITE | MEMVIEW_EXEC,
		[VIEW_NO_WRITE] = MEMVIEW_READ | MEMVIEW_EXEC,
	};

	for (int i = 0; i < VIEWS; i++) {
		struct memview *view;
		int err = memview_open(&view), fd;

		if (!err)
			err = memview_set_size(view, view_pages() * PAGE);
		if (err)
			fail("a new view", -err);
		this_crew()->common_file[i] = (life + i) % FILES;
		map_common(view, this_crew()->common_file[i]);
		fd = memview_view_fd_rights(view, rights[i]);
		if (fd < 0)
			fail("view fd", -fd);
		for (unsigned int peer = 0; peer < options.peers; peer++) {
			err = memview_send_fd(sockets[peer], fd, NULL, 0);
			/* Peers get killed. */
			if (err < 0 && err != -EPIPE && err != -ECONNRESET)
				fail("sending a view fd", -err);
		}
		close(fd);
		controller->views[i] = view;
	}
}

static uint64_t *lane_page(uint64_t *const mem[FILES], int file, unsigned long page)
{
	return mem[file] + file_offset(file, page) / sizeof(uint64_t);
}

/* All that the lanes of this crew have of the files. */
static void fill_lanes(uint64_t *const mem[FILES], uint64_t word)
{
	for (int i = 0; i < FILES; i++)
		for (unsigned long page = options.pages; page < view_pages(); page++)
			fill(lane_page(mem, i, page), PAGE_WORDS, word);
}

void check_dead(unsigned long long life, uint64_t *const mem[FILES])
{
	const struct timespec time = { .tv_nsec = 30 * 1000 * 1000 };
	uint64_t wanted[PAGE_WORDS];

	atomic_store(&this_crew()->dead, life);
	/* A life may end in the middle of op_truncate(). */
	for (int i = 0; i < FILES; i++)
		if (crew_number == options.controllers - 1 &&
		    ftruncate(files[i], file_size(i)))
			fail("ftruncate", errno);
	fill(wanted, PAGE_WORDS, word_of(TAG_SECRET, 0xdead));
	fill_lanes(mem, wanted[0]);
	nanosleep(&time, NULL);
	for (int i = 0; i < FILES; i++)
		for (unsigned long page = options.pages; page < view_pages(); page++)
			compare("written after the end of the controller", i,
				page, lane_page(mem, i, page), wanted);
	fill_lanes(mem, word_of(TAG_OPEN, 0));
}

static void join_lanes(struct controller *controller, struct lane *lanes)
{
	if (is_chosen("populate"))
		pthread_join(controller->populator, NULL);
	for (int i = 0; i < LANES; i++) {
		pthread_join(lanes[i].thread, NULL);
		/* So that it sees that the life ends. */
		sem_post(&lanes[i].rival_go);
		pthread_join(lanes[i].rival, NULL);
	}
}

noreturn void controller_run(unsigned long long life, enum ending ending,
			     unsigned int milliseconds, const int *sockets)
{
	const struct timespec time = {
		.tv_sec = milliseconds / 1000,
		.tv_nsec = milliseconds % 1000 * 1000000L,
	};
	static struct controller controller;
	static struct lane lanes[LANES];

	/*
	 * Lanes are to run when they wake up, and peers while they sleep: so a
	 * peer is often interrupted where a race is, in the middle of a fault.
	 */
	if (setpriority(PRIO_PROCESS, 0, FIRST))
		fail("setpriority", errno);
	prctl(PR_SET_TIMERSLACK, 1000);
	for (int i = 0; i < FILES; i++)
		controller.mem[i] = map_file(i);
	/* The other lives have what the driver maps only. */
	for (int i = 0; i < FILES && life / 2 % 2 == 0; i++)
		controller.lent[i] = map_file(i);
	controller.operations = operations_of(life);
	controller.random = random_seed(life, 52);
	/*
	 * A ring may hold a control fd for some time after the completion, so that
	 * the close is not the last one.
	 */
	controller.rings = options.ring && is_chosen("ring") && ending != END_CLOSE;
	controller.batches = is_chosen("batch");
	pthread_rwlock_init(&controller.sources, NULL);
	pthread_rwlock_init(&controller.places, NULL);
	controller.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	open_views(&controller, life, sockets);

	for (int i = 0; i < LANES; i++) {
		lanes[i].controller = &controller;
		lanes[i].index = i;
		lanes[i].random = random_seed(life, i);
		lanes[i].first = (1 + i) * options.pages;
		lanes[i].nr = options.pages;
		start_lane(&lanes[i]);
	}
	for (int i = 0; i < LANES; i++) {
		int err;

		sem_init(&lanes[i].rival_go, 0, 0);
		sem_init(&lanes[i].rival_calls, 0, 0);
		sem_init(&lanes[i].rival_done, 0, 0);
		err = pthread_create(&lanes[i].rival, NULL, rival_run, &lanes[i]);
		if (!err)
			err = pthread_create(&lanes[i].thread, NULL, lane_run,
					     &lanes[i]);
		if (err)
			fail("pthread_create", err);
	}
	if (is_chosen("populate")) {
		int err = pthread_create(&controller.populator, NULL,
					 populator_run, &controller);

		if (err)
			fail("pthread_create", err);
	}

	nanosleep(&time, NULL);
	switch (ending) {
	case END_EXEC:
		/* In the midst of what the lanes do, like SIGKILL and exit. */
		execl("/bin/true", "true", NULL);
		fail("execl", errno);
	case END_EXIT:
		_exit(0);
	case END_REVOKE:
		atomic_store(&controller.ending, true);
		now_doing("revoke");
		pthread_rwlock_wrlock(&controller.sources);
		for (int i = 0; i < VIEWS; i++) {
			int err = memview_revoke(controller.views[i]);

			if (err)
				fail("revoke", -err);
		}
		pthread_rwlock_unlock(&controller.sources);
		now_resting();
		join_lanes(&controller, lanes);
		check_dead(life, controller.mem);
		break;
	case END_CLOSE:
		atomic_store(&controller.ending, true);
		join_lanes(&controller, lanes);
		now_doing("close");
		for (int i = 0; i < VIEWS; i++)
			memview_close(controller.views[i]);
		now_resting();
		check_dead(life, controller.mem);
		break;
	default:
		pause();
	}
	count_flush();
	_exit(0);
}

noreturn void vandal_run(void)
{
	static struct controller controller;
	static struct lane lane = { .controller = &controller };

	if (setpriority(PRIO_PROCESS, 0, FIRST))
		fail("setpriority", errno);
	prctl(PR_SET_TIMERSLACK, 1000);
	for (int i = 0; i < FILES; i++)
		controller.mem[i] = map_file(i);
	lane.random = random_seed(0, 51);
	lane.nr = options.pages;
	while (run_goes_on()) {
		struct victim victim = { .file = random_below(&lane.random, FILES) };
		unsigned long most = lane.nr < 4 ? lane.nr : 4;

		victim.page = random_below(&lane.random, lane.nr - most + 1);
		atomic_store(&board->hot, victim.page);
		lane.nr_victims = 0;
		while (lane.nr_victims < most) {
			lane.victims[lane.nr_victims++] = victim;
			victim.page++;
		}
		now_doing("lose, by the vandal");
		op_lose(&lane);
		now_resting();
		doze(&lane, 4000);
		count_flush();
	}
	_exit(STATUS_OK);
}
