// SPDX-License-Identifier: GPL-2.0
/*
 * Notes: the result of a fault that waited for its source, kept for its retry.
 *
 * A fault that waits drops the lock of its address space, so that it has to return
 * VM_FAULT_RETRY, whatever the result. The note gives the result to the retry, which
 * would otherwise wait for the same error again. KVM ignores the result of a retry:
 * as the lock was dropped, it starts over, and needs the error once more, from a
 * fault that keeps the lock.
 */

#include <linux/jiffies.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "fault.h"
#include "memview.h"
#include "notes.h"
#include "view.h"

/* No retry comes as late as that. */
#define MEMVIEW_NOTE_LIFE	HZ

/* Old notes that each new one frees: more than one, so that their number shrinks. */
#define MEMVIEW_NOTES_CLEARED	8

/**
 * struct memview_note_entry - a note, in the view
 * @node: in memview_notes.by_task
 * @age_node: in memview_notes.by_age
 * @task: the task that waited: compared, never followed
 * @until: its end, in jiffies
 * @pgoff: page of the view
 * @write: the access was a write
 * @gen: memview.gen at the look-up
 * @note: the result
 */
struct memview_note_entry {
	struct rb_node node;
	struct list_head age_node;
	const struct task_struct *task;
	unsigned long until;
	pgoff_t pgoff;
	bool write;
	u64 gen;
	struct memview_note note;
};

void memview_notes_init(struct memview_notes *notes)
{
	spin_lock_init(&notes->lock);
	notes->by_task = RB_ROOT;
	INIT_LIST_HEAD(&notes->by_age);
}

/* The view is being freed: nobody looks up notes any more. */
void memview_notes_free(struct memview_notes *notes)
{
	struct memview_note_entry *entry, *next;

	list_for_each_entry_safe(entry, next, &notes->by_age, age_node)
		kfree(entry);
}

static struct memview_note_entry *
memview_notes_find(struct memview_notes *notes, const struct task_struct *task)
{
	struct rb_node *node = notes->by_task.rb_node;

	lockdep_assert_held(&notes->lock);

	while (node) {
		struct memview_note_entry *entry =
			rb_entry(node, struct memview_note_entry, node);

		if (entry->task == task)
			return entry;
		node = task < entry->task ? node->rb_left : node->rb_right;
	}
	return NULL;
}

static void memview_notes_remove(struct memview_notes *notes,
				 struct memview_note_entry *entry)
{
	lockdep_assert_held(&notes->lock);

	rb_erase(&entry->node, &notes->by_task);
	list_del(&entry->age_node);
	kfree(entry);
}

/* There must be no note of this task yet. */
static void memview_notes_add(struct memview_notes *notes,
			      struct memview_note_entry *new)
{
	struct rb_node **link = &notes->by_task.rb_node, *parent = NULL;

	lockdep_assert_held(&notes->lock);

	while (*link) {
		parent = *link;
		link = new->task < rb_entry(parent, struct memview_note_entry,
					    node)->task ?
			&parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&new->node, parent, link);
	rb_insert_color(&new->node, &notes->by_task);
	list_add_tail(&new->age_node, &notes->by_age);
}

/**
 * memview_note_set - leave a note for this task
 * @view: the view
 * @pgoff: the page that faulted
 * @write: the access was a write
 * @gen: memview.gen at the look-up
 * @note: the result
 *
 * Without memory there is no note: the retry waits again, and can be killed.
 *
 * Context: no lock is held; may sleep.
 */
void memview_note_set(struct memview *view, pgoff_t pgoff, bool write, u64 gen,
		      const struct memview_note *note)
{
	struct memview_notes *notes = &view->notes;
	struct memview_note_entry *new, *old;
	unsigned int i;

	new = kmalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return;
	new->task = current;
	new->until = jiffies + MEMVIEW_NOTE_LIFE;
	new->pgoff = pgoff;
	new->write = write;
	new->gen = gen;
	new->note = *note;

	spin_lock(&notes->lock);
	old = memview_notes_find(notes, current);
	if (old)
		memview_notes_remove(notes, old);
	for (i = 0; i < MEMVIEW_NOTES_CLEARED; i++) {
		old = list_first_entry_or_null(&notes->by_age,
					       struct memview_note_entry,
					       age_node);
		if (!old || time_before(jiffies, old->until))
			break;
		memview_notes_remove(notes, old);
	}
	memview_notes_add(notes, new);
	spin_unlock(&notes->lock);
}

/**
 * memview_note_get - get the note that this task has left for a retry
 * @vmf: its fault
 * @view: the view
 * @note: written: the result
 *
 * The retry gets the note. If the kernel itself raised the fault
 * (fixup_user_fault(): KVM, futex(2)), its next fault of the page gets it, too, once;
 * such a fault is known by the flags for signals that end its waits. Every other
 * fault tries anew and drops the note, as does one after a change of the table.
 *
 * Return: whether there is a note
 */
bool memview_note_get(const struct vm_fault *vmf, struct memview *view,
		      struct memview_note *note)
{
	const unsigned int flags = vmf->flags;
	struct memview_notes *notes = &view->notes;
	struct memview_note_entry *entry;
	bool told = false;
	bool fixup;

	if (RB_EMPTY_ROOT(&notes->by_task) ||
	    (flags & FAULT_FLAG_RETRY_NOWAIT))
		return false;

	fixup = (flags & FAULT_FLAG_ALLOW_RETRY) &&
		!(flags & (FAULT_FLAG_USER | FAULT_FLAG_INTERRUPTIBLE));
	spin_lock(&notes->lock);
	entry = memview_notes_find(notes, current);
	if (entry) {
		told = (fixup || (flags & FAULT_FLAG_TRIED)) &&
		       entry->pgoff == vmf->pgoff &&
		       entry->write == !!(flags & FAULT_FLAG_WRITE) &&
		       entry->gen == READ_ONCE(view->gen) &&
		       time_before(jiffies, entry->until);
		if (told)
			*note = entry->note;
		if (!told || !fixup || !(flags & FAULT_FLAG_TRIED))
			memview_notes_remove(notes, entry);
	}
	spin_unlock(&notes->lock);
	return told;
}

/* Is there a note for this task? */
bool memview_note_there(struct memview *view)
{
	struct memview_notes *notes = &view->notes;
	bool there;

	if (RB_EMPTY_ROOT(&notes->by_task))
		return false;
	spin_lock(&notes->lock);
	there = memview_notes_find(notes, current);
	spin_unlock(&notes->lock);
	return there;
}
