/* SPDX-License-Identifier: GPL-2.0 */
/* A peer's page fault, resolved by pages or by huge entries. */
#ifndef _MEMVIEW_FAULT_H
#define _MEMVIEW_FAULT_H

#include <linux/hmm.h>

#include "memview.h"
#include "source.h"
#include "view.h"

/* Internal results, never returned to the core. Start again at the look-up. */
#define MEMVIEW_FAULT_AGAIN	((__force vm_fault_t)0x40000000)
/* Wait for the end of a table operation. */
#define MEMVIEW_FAULT_CHANGES	((__force vm_fault_t)0x20000000)
/* Wait for the end of an invalidation of the source. */
#define MEMVIEW_FAULT_RUNNING	((__force vm_fault_t)0x10000000)

/**
 * struct memview_debt - memory above memory.high, to be waited for
 * @memcg: the cgroup, held; NULL: no debt
 * @pages: pages above memory.high
 */
struct memview_debt {
	struct mem_cgroup *memcg;
	unsigned int pages;
};

/**
 * struct memview_charge - a section that charges memory to a controller
 * @memcg: the controller's cgroup; held
 * @old: the active cgroup before
 * @over_high: memcg_nr_pages_over_high of this task before
 */
struct memview_charge {
	struct mem_cgroup *memcg;
	struct mem_cgroup *old;
	unsigned int over_high;
};

/**
 * struct memview_note - the result of a wait for a source
 * @error: the source's error; 0: the note is about @no_write only
 * @no_write: the source cannot give W to an access that only reads
 * @file_size: size of the file then, in bytes: after a change it may not fail
 */
struct memview_note {
	vm_fault_t error;
	bool no_write;
	loff_t file_size;
};

/**
 * struct memview_fault - a fault in flight
 * @vmf: the peer's fault
 * @view: the view
 * @mapping: the peer's mapping; NULL for memview_access(), which inserts nothing
 * @write: the access is a write
 * @huge: order of the huge entry by which to resolve it, or else fall back;
 *	0: by pages
 * @source: the source that the range maps; held
 * @gen: memview.gen at the look-up
 * @note: the result of an earlier wait of the task; @error 0: none, or it has been
 *	returned
 * @first: first page of the range
 * @last: last page of the range
 * @file_first: page of the file that @first maps
 * @flags: flags of the range
 * @need_write: the entry must have W
 * @no_write: the source cannot give W to this access, which only reads
 * @vm_rights: VM_READ, VM_WRITE, VM_EXEC that mapping and range both grant
 * @addr: first address of the window, in the peer
 * @nr: pages in the window; with @huge, blocks
 * @base: pages in the window before it grew
 * @index: index in the window of the page or block that faulted
 * @seq: sequence of the source at the begin of the snapshot
 * @prots: page protection of entries without and with W
 * @pfns: the snapshot, in the format of hmm_range_fault(); with @huge, one page
 *	of each block
 * @debt: memory allocated above the controller's memory.high
 * @pinned: the view file, once the peer's lock has been dropped
 * @commit: memview_fault_commit() calls it if the snapshot is still valid
 * @buf: buffer of memview_access_commit()
 * @len: bytes of @buf, none beyond the page
 */
struct memview_fault {
	struct vm_fault *vmf;
	struct memview *view;
	struct memview_mapping *mapping;
	bool write;
	unsigned int huge;
	struct file *pinned;
	vm_fault_t (*commit)(struct memview_fault *fault);
	void *buf;
	unsigned int len;

	struct memview_source *source;
	struct memview_note note;
	struct memview_debt debt;
	u64 gen;
	pgoff_t first;
	pgoff_t last;
	pgoff_t file_first;
	u32 flags;

	bool need_write;
	bool no_write;
	vm_flags_t vm_rights;

	unsigned long addr;
	unsigned int nr;
	unsigned int base;
	unsigned int index;
	u64 seq;
	pgprot_t prots[2];
	unsigned long pfns[MEMVIEW_WINDOW_GROWN];
};

/* fault.c */
vm_fault_t memview_fault_handle(struct vm_fault *vmf, unsigned int huge);
void memview_fault_set_prots(struct memview_fault *fault);
vm_fault_t memview_fault_commit(struct memview_fault *fault);
void memview_fault_dirty(unsigned long pfn);

/*
 * For hmm_range_fault(), which asks a notifier for invalidations: we track those of
 * sources ourselves, for mmu_interval_read_begin() waits for all of the address
 * space.
 */
#define MEMVIEW_NO_NOTIFIER(of) ((struct mmu_interval_notifier){ .mm = (of) })

static inline unsigned long
memview_fault_source_addr(const struct memview_fault *fault)
{
	pgoff_t page = fault->vmf->pgoff;

	return memview_source_addr(fault->source,
				   fault->file_first + (page - fault->first));
}

vm_fault_t memview_fault_table(struct memview_fault *fault);

/* charge.c */
#ifdef CONFIG_MEMCG
void memview_charge_begin(struct memview_charge *charge, struct mm_struct *mm);
void memview_charge_end(struct memview_charge *charge,
			struct memview_debt *debt);
void memview_charge_room(struct mm_struct *mm, struct memview_debt *debt);
void memview_charge_pay(void);
void memview_debt_pay(struct memview_debt *debt, unsigned int state);
void memview_debt_drop(struct memview_debt *debt);

/* Will the core throttle this task for its own cgroup? Then it must hold no lock. */
static inline bool memview_charge_owed(void)
{
	return current->memcg_nr_pages_over_high;
}
#else
static inline void memview_charge_begin(struct memview_charge *charge,
					struct mm_struct *mm)
{
}

static inline void memview_charge_end(struct memview_charge *charge,
				      struct memview_debt *debt)
{
}

static inline void memview_charge_room(struct mm_struct *mm,
				       struct memview_debt *debt)
{
}

static inline void memview_charge_pay(void)
{
}

static inline void memview_debt_pay(struct memview_debt *debt,
				    unsigned int state)
{
}

static inline void memview_debt_drop(struct memview_debt *debt)
{
}

static inline bool memview_charge_owed(void)
{
	return false;
}
#endif

/* notes.c */
void memview_note_set(struct memview *view, pgoff_t pgoff, bool write, u64 gen,
		      const struct memview_note *note);
bool memview_note_get(const struct vm_fault *vmf, struct memview *view,
		      struct memview_note *note);
bool memview_note_there(struct memview *view);

/* pmd.c */
#if MEMVIEW_HUGE
vm_fault_t memview_huge_fault(struct vm_fault *vmf, unsigned int order);
bool memview_huge_range(struct memview_fault *fault);
bool memview_huge_source(struct memview_fault *fault,
			 const struct vm_area_struct *source_vma,
			 unsigned long source_addr);
bool memview_huge_around(struct memview_fault *fault, unsigned long source_addr);
vm_fault_t memview_huge_install(struct memview_fault *fault);
#else
#define memview_huge_fault NULL
static inline bool memview_huge_range(struct memview_fault *fault)
{
	return false;
}

static inline bool memview_huge_source(struct memview_fault *fault,
				       const struct vm_area_struct *source_vma,
				       unsigned long source_addr)
{
	return false;
}

static inline bool memview_huge_around(struct memview_fault *fault,
				       unsigned long source_addr)
{
	return false;
}

static inline vm_fault_t memview_huge_install(struct memview_fault *fault)
{
	return VM_FAULT_FALLBACK;
}

#endif

/* Does the source map the page of the snapshot by a huge entry? */
static inline bool memview_huge_has(const struct memview_fault *fault,
				    unsigned int i)
{
	unsigned long pfn = fault->pfns[i];

	return (pfn & HMM_PFN_VALID) && !(pfn & HMM_PFN_ERROR) &&
	       hmm_pfn_to_map_order(pfn) >= fault->huge;
}

/* The first page frame of the block that entry @i of the snapshot is in. */
static inline unsigned long
memview_huge_pfn(const struct memview_fault *fault, unsigned int i)
{
	return fault->pfns[i] & ~HMM_PFN_FLAGS & ~((1UL << fault->huge) - 1);
}

/* pud.c */
#if MEMVIEW_HUGE_PUD
bool memview_pud_fits(const struct vm_fault *vmf);
vm_fault_t memview_pud_install(struct memview_fault *fault);
void memview_pud_drop(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end);
#define MEMVIEW_PUD_ORDER	HPAGE_PUD_ORDER
#else
static inline bool memview_pud_fits(const struct vm_fault *vmf)
{
	return false;
}

static inline vm_fault_t memview_pud_install(struct memview_fault *fault)
{
	return VM_FAULT_FALLBACK;
}

static inline void memview_pud_drop(struct vm_area_struct *vma,
				    unsigned long start, unsigned long end)
{
}

#define MEMVIEW_PUD_ORDER	UINT_MAX
#endif

/* fault_source.c */
struct memview_debt *memview_fault_debt(struct memview_fault *fault,
					struct mm_struct *mm);
vm_fault_t __memview_fault_source(struct vm_area_struct *source_vma,
				  unsigned long source_addr,
				  unsigned int flags);
vm_fault_t memview_fault_source(struct memview_fault *fault,
				struct vm_area_struct *source_vma,
				unsigned long source_addr, unsigned int flags);
void *memview_fault_entry(struct vm_area_struct *source_vma,
			  unsigned long source_addr);
bool memview_fault_cached(struct vm_area_struct *source_vma,
			  unsigned long source_addr);
bool memview_fault_hole(struct vm_area_struct *source_vma,
			unsigned long source_addr);
bool memview_fault_on_disk(const struct memview_fault *fault, pgoff_t page);
bool memview_fault_denied(const struct memview_fault *fault,
			  struct vm_area_struct *source_vma,
			  unsigned long source_addr);
vm_fault_t memview_fault_source_now(struct memview_fault *fault,
				    struct vm_area_struct *source_vma,
				    unsigned long source_addr, bool write);
/* fault_window.c */
void memview_fault_window(struct memview_fault *fault,
			  struct vm_area_struct *source_vma,
			  unsigned long source_addr);
bool memview_fault_follows(struct memview_fault *fault);
void memview_fault_ahead(struct memview_fault *fault,
			 struct vm_area_struct *source_vma,
			 unsigned long source_addr);
/* pte.c */
vm_fault_t memview_fault_insert(struct memview_fault *fault);

/* fault.c */
bool memview_fault_valid(struct memview_fault *fault);
int memview_fault_init(void);
void memview_fault_exit(void);
const struct vm_operations_struct *
memview_fault_vm_ops(const struct vm_area_struct *vma);

#if MEMVIEW_HUGE_PUD
unsigned long memview_pud_unmapped_area(struct file *file, unsigned long addr,
					unsigned long len, unsigned long pgoff,
					unsigned long flags);
#else
#define memview_pud_unmapped_area thp_get_unmapped_area
#endif

#endif /* _MEMVIEW_FAULT_H */
