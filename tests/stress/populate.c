// SPDX-License-Identifier: GPL-2.0
/*
 * A thread of the controller that does in advance what peers would do: for spans
 * of which it knows nothing, least of all what lanes are about to do to them. What
 * they take must not come back by that.
 */

#include <errno.h>
#include <sys/resource.h>
#include <time.h>

#include "lane.h"

#define MAX_SPAN	16	/* pages */

static struct span random_span(uint64_t *random)
{
	unsigned int hot = atomic_load(&this_crew()->hot[random_below(random, LANES)]);
	unsigned long pages = view_pages();
	struct span span = {
		.view = random_below(random, VIEWS),
		.first = random_below(random, pages),
		.nr = 1 + random_below(random, MAX_SPAN),
	};

	/* Where a lane is. */
	if (random_below(random, 4)) {
		span.view = HOT_VIEW(hot);
		span.first = HOT_PAGE(hot);
	}
	if (span.nr > pages - span.first)
		span.nr = pages - span.first;
	return span;
}

static void populate_once(struct controller *controller, uint64_t *random)
{
	static const unsigned int flags[] = {
		0, MEMVIEW_POPULATE_TO_READ, MEMVIEW_POPULATE_IN_PEERS,
		MEMVIEW_POPULATE_IN_PEERS,
	};
	struct span span = random_span(random);
	unsigned int how = flags[random_below(random, sizeof(flags) / sizeof(flags[0]))];
	int err;

	now_doing("populate");
	err = memview_populate(controller->views[span.view], span.first * PAGE,
			       span.nr * PAGE, how, NULL);
	now_resting();
	switch (err) {
	case 0:
		count_add(how & MEMVIEW_POPULATE_IN_PEERS ? N_POPULATE_PEERS :
							    N_POPULATE, 1);
		break;
	/* Not mapped; beyond the view; not in the file, or of no source any more. */
	case -ENOENT:
	case -ERANGE:
	case -EFAULT:
		count_add(N_POPULATE_STOPS, 1);
		break;
	case -ESHUTDOWN:
		if (atomic_load(&controller->ending))
			break;
		/* fall through */
	default:
		fail("populate", -err);
	}
}

void *populator_run(void *argument)
{
	struct controller *controller = argument;

	/* Peers are to get their time, and lanes to overtake it at its work. */
	if (setpriority(PRIO_PROCESS, 0, 0))
		fail("setpriority", errno);
	while (!atomic_load(&board->stop) && !atomic_load(&controller->ending)) {
		struct timespec time = {
			.tv_nsec = 1000L * random_below(&controller->random, 4000),
		};

		populate_once(controller, &controller->random);
		count_flush();
		nanosleep(&time, NULL);
	}
	return NULL;
}
