// SPDX-License-Identifier: GPL-2.0
/*
 * Who pays for the memory of a source: its controller (R9), whoever has touched it
 * first. That is what set_active_memcg() does, as far as limits go that refuse or
 * reclaim (memory.max). memory.high slows down those who allocate, and the core
 * looks for them in the cgroup of their own address space; so what it would do to
 * the controller, we do to the peer, where it holds no lock.
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

/* The most, and the least, that the core lets somebody wait in one go. */
#define MEMVIEW_HIGH_DELAY_MAX	(2UL * HZ)
#define MEMVIEW_HIGH_DELAY_MIN	(HZ / 100)

/* As the core has it, in calculate_high_delay(). */
#define MEMVIEW_HIGH_PRECISION	20
#define MEMVIEW_HIGH_SCALING	14

/* How often it is looked whether reclaim has helped. */
#define MEMVIEW_HIGH_STEP	(HZ / 50 + 1)

/**
 * memview_charge_begin - what is allocated from here on is the controller's
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
 * @charge: what was begun
 * @debt: pages that were allocated above memory.high are added, or NULL: it is the
 *	controller itself, and pays as always
 */
void memview_charge_end(struct memview_charge *charge, struct memview_debt *debt)
{
	unsigned int over_high = current->memcg_nr_pages_over_high;

	set_active_memcg(charge->old);
	if (unlikely(over_high != charge->over_high) && debt) {
		/*
		 * Fewer: so many that the core could not wait for the way to
		 * user mode, and has paid with our own cgroup's time.
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

/* In 2^-MEMVIEW_HIGH_PRECISION of memory.high, the worst of a cgroup and above. */
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
 * memview_debt_pay - wait for what was allocated above memory.high
 * @debt: what memview_charge_end() has noted; nothing is left of it
 * @state: TASK_KILLABLE, or TASK_INTERRUPTIBLE
 *
 * As mem_cgroup_handle_over_high(), but for the reclaim, which is done by the
 * cgroup's own work item, that allocations in interrupts have.
 *
 * Context: no lock is held, and no address space in use. Ended by signals as @state
 * has it.
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

/* What this task owes its own cgroup, in the middle of a long call. */
void memview_charge_pay(void)
{
	struct memview_debt debt = {
		.memcg = get_mem_cgroup_from_mm(current->mm),
		.pages = current->memcg_nr_pages_over_high,
	};

	current->memcg_nr_pages_over_high = 0;
	memview_debt_pay(&debt, TASK_INTERRUPTIBLE);
}

/* It cannot be paid: whoever has it holds a lock that is not ours to drop. */
void memview_debt_drop(struct memview_debt *debt)
{
	mem_cgroup_put(debt->memcg);
	debt->memcg = NULL;
	debt->pages = 0;
}

/**
 * memview_charge_room - see to it that a page can be allocated
 * @mm: of the controller, who is to be charged
 * @debt: as for memview_charge_end()
 *
 * What reclaim and throttling for it take is spent here, where no lock is held, and
 * not where the page is allocated. No more than a hint.
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
