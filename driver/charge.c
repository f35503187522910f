// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of a source is charged to its controller (R9), whoever touches it first.
 * set_active_memcg() does that for limits that refuse or reclaim (memory.max).
 * memory.high throttles the task that allocates, by the cgroup of its own address
 * space; so we throttle the peer as the core would throttle the controller, where
 * the peer holds no lock.
 */

#include <linux/math64.h>
#include <linux/memcontrol.h>
#include <linux/page_counter.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

#include "fault.h"
#include "memview.h"

#ifdef CONFIG_MEMCG

/* The longest and the shortest wait that the core imposes at a time. */
#define MEMVIEW_HIGH_DELAY_MAX	(2UL * HZ)
#define MEMVIEW_HIGH_DELAY_MIN	(HZ / 100)

/* The same as in the core, in calculate_high_delay(). */
#define MEMVIEW_HIGH_PRECISION	20
#define MEMVIEW_HIGH_SCALING	14

/* Time between checks whether reclaim has helped. */
#define MEMVIEW_HIGH_STEP	(HZ / 50 + 1)

/**
 * memview_charge_begin - charge allocations to the controller from here on
 * @charge: for memview_charge_end()
 * @mm: of the controller
 */
void memview_charge_begin(struct memview_charge *charge, struct mm_struct *mm)
{
	charge->memcg = get_mem_cgroup_from_mm(mm);
	charge->old = set_active_memcg(charge->memcg);
	charge->over_high = current->memcg_nr_pages_over_high;
}

/**
 * memview_charge_end - the end of memview_charge_begin()
 * @charge: from memview_charge_begin()
 * @debt: pages that were allocated above memory.high are added; NULL: this task is the
 *	controller's own, and is throttled by the core
 */
void memview_charge_end(struct memview_charge *charge, struct memview_debt *debt)
{
	unsigned int over_high = current->memcg_nr_pages_over_high;

	set_active_memcg(charge->old);
	if (unlikely(over_high != charge->over_high) && debt) {
		/*
		 * Fewer: there were so many that the core did not wait for the
		 * return to user mode, and has throttled us by our own cgroup.
		 */
		debt->pages += over_high > charge->over_high ?
			       over_high - charge->over_high :
			       2 * MEMCG_CHARGE_BATCH;
		current->memcg_nr_pages_over_high = charge->over_high;
		if (!debt->memcg) {
			debt->memcg = charge->memcg;
			return;
		}
	}
	mem_cgroup_put(charge->memcg);
}

/* Worst excess over memory.high up to the root, in 2^-MEMVIEW_HIGH_PRECISION of it. */
static u64 memview_charge_overage(struct mem_cgroup *memcg)
{
	u64 worst = 0;

	for (; memcg; memcg = parent_mem_cgroup(memcg)) {
		unsigned long usage = page_counter_read(&memcg->memory);
		unsigned long high = READ_ONCE(memcg->memory.high);

		if (usage > high)
			worst = max(worst, div64_u64((u64)(usage - high) <<
						     MEMVIEW_HIGH_PRECISION,
						     max(high, 1UL)));
	}
	return worst;
}

static unsigned long memview_charge_delay(struct mem_cgroup *memcg,
					  unsigned int pages)
{
	u64 overage = min_t(u64, memview_charge_overage(memcg),
			    64ULL << MEMVIEW_HIGH_PRECISION);
	u64 delay = overage * overage * HZ >>
		    (MEMVIEW_HIGH_PRECISION + MEMVIEW_HIGH_SCALING);

	return min_t(u64, delay * pages / MEMCG_CHARGE_BATCH,
		     MEMVIEW_HIGH_DELAY_MAX);
}

/**
 * memview_debt_pay - wait for memory that was allocated above memory.high
 * @debt: from memview_charge_end(); empty afterwards
 * @state: TASK_KILLABLE, or TASK_INTERRUPTIBLE
 *
 * Like mem_cgroup_handle_over_high(), but the cgroup's work item for allocations in
 * interrupts does the reclaim.
 *
 * Context: no lock is held, and no address space in use. Signals end it according to
 * @state.
 */
void memview_debt_pay(struct memview_debt *debt, unsigned int state)
{
	unsigned long delay, waited = 0;

	while (!signal_pending_state(state, current) &&
	       memview_charge_overage(debt->memcg)) {
		schedule_work(&debt->memcg->high_work);
		delay = memview_charge_delay(debt->memcg, debt->pages);
		if (delay <= MEMVIEW_HIGH_DELAY_MIN || waited >= delay)
			break;
		waited += MEMVIEW_HIGH_STEP;
		__set_current_state(state);
		schedule_timeout(MEMVIEW_HIGH_STEP);
	}
	memview_debt_drop(debt);
}

/* Pays this task's debt to its own cgroup, in the middle of a long call. */
void memview_charge_pay(void)
{
	struct memview_debt debt = {
		.memcg = get_mem_cgroup_from_mm(current->mm),
		.pages = current->memcg_nr_pages_over_high,
	};

	current->memcg_nr_pages_over_high = 0;
	memview_debt_pay(&debt, TASK_INTERRUPTIBLE);
}

/* For a debt that cannot be paid: the task holds a lock that is not ours to drop. */
void memview_debt_drop(struct memview_debt *debt)
{
	mem_cgroup_put(debt->memcg);
	debt->memcg = NULL;
	debt->pages = 0;
}

/**
 * memview_charge_room - make room for the allocation of a page
 * @mm: of the controller, who is to be charged
 * @debt: as for memview_charge_end()
 *
 * Reclaim and throttling happen here, where no lock is held, and not where the page
 * is allocated. Best effort.
 */
void memview_charge_room(struct mm_struct *mm, struct memview_debt *debt)
{
	struct memview_charge charge;
	struct page *page;

	memview_charge_begin(&charge, mm);
	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN);
	if (page)
		__free_page(page);
	memview_charge_end(&charge, debt);
}

#endif /* CONFIG_MEMCG */
