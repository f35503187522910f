/* SPDX-License-Identifier: GPL-2.0 */
/* Results of faults that waited, for their retries. */
#ifndef _MEMVIEW_NOTES_H
#define _MEMVIEW_NOTES_H

#include "memview.h"

/**
 * struct memview_notes - results of faults of a view that waited
 * @lock: protects the fields below. Innermost.
 * @by_task: the notes, one for each task at most
 * @by_age: the same notes, oldest first
 */
struct memview_notes {
	spinlock_t lock; /* the fields below; innermost */
	struct rb_root by_task;
	struct list_head by_age;
};

void memview_notes_init(struct memview_notes *notes);
void memview_notes_free(struct memview_notes *notes);

#endif /* _MEMVIEW_NOTES_H */
