// SPDX-License-Identifier: GPL-2.0
/*
 * Sources: mappings of files in the controller's address space.
 *
 * The driver makes such a mapping in the controller, as KVM does for its internal
 * memory slots, or adopts one, as KVM does with those of user space. Notifiers find
 * sources by address. A file that many ranges map can have several sources. Views
 * map files only through sources, so a page is in a peer only while it is in the
 * source's page table (R3): nothing is pinned, and mmap(2) has made its checks.
 *
 * The controller owns the mapping: it may unmap it or put something else there.
 * Faults trust a source only after memview_source_vma() has checked it under the
 * controller's mmap_lock. So a mapping that the controller has made itself, an
 * adopted one, needs no further check.
 */

#include <linux/delay.h>
#include <linux/file.h>
#include <linux/hash.h>
#include <linux/hugetlb.h>
#include <linux/interval_tree_generic.h>
#include <linux/log2.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <linux/path.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/userfaultfd_k.h>

#include "attachment.h"
#include "controller.h"
#include "memview.h"
#include "mm.h"
#include "source.h"
#include "table.h"
#include "update.h"
#include "view.h"
#include "trace.h"

/*
 * A source covers the span asked for and little more, for it costs the controller:
 * mlockall(2) fills it, RLIMIT_AS counts it. One that begins where another ends is
 * made up to twice as large as that one. Of a file, the first MEMVIEW_SOURCE_STEP
 * sources cover the spans asked for; as many more cover aligned blocks of two pages,
 * then of four, up to MEMVIEW_SOURCE_ORDER_MAX: a million ranges need few.
 */
#define MEMVIEW_SOURCE_STEP 8U
#define MEMVIEW_SOURCE_ORDER_MAX (30 - PAGE_SHIFT)

/* One part in this many of the free address space may go to pages not asked for. */
#define MEMVIEW_SOURCE_SHARE 16

static unsigned long memview_source_start(const struct memview_source *source)
{
	return source->start;
}

static unsigned long memview_source_last(const struct memview_source *source)
{
	return source->start + memview_source_len(source) - 1;
}

INTERVAL_TREE_DEFINE(struct memview_source, mm_node, unsigned long,
		     mm_subtree_last, memview_source_start, memview_source_last,
		     static inline, memview_source_tree)

/* is_file_hugepages() needs a symbol that is not exported. */
bool memview_file_is_hugetlb(const struct file *file)
{
	return file_inode(file)->i_sb->s_magic == HUGETLBFS_MAGIC;
}

/*
 * The one place that maps errors of mmap(2) to errnos of the ioctls. File systems and
 * security modules may return any errno, also one that has a meaning of our own: EIO
 * is another address space, ESHUTDOWN a revoked view, ...
 */
static int memview_mmap_error(long err)
{
	switch (err) {
	case -EINVAL:
		/* The arguments are valid: the file cannot be mapped like this. */
		return -ENODEV;
	case -EAGAIN:
		/*
		 * RLIMIT_MEMLOCK is exceeded, after mlockall(MCL_FUTURE).
		 * io_uring would take -EAGAIN as a request to call again.
		 */
		return -ENOMEM;
	case -EACCES:
	case -EINTR:
	case -ENODEV:
	case -ENOMEM:
	case -EOVERFLOW:
	case -EPERM:
	case -ETXTBSY:
		return err;
	default:
		return -EREMOTEIO;
	}
}

/*
 * Unmapping needs memory: without a retry the mapping could stay for ever.
 *
 * Context: waits like munmap(2), for the mmap_lock and for userfaultfds with
 * EVENT_UNMAP, until it is done or the task is killed.
 */
static void memview_munmap(unsigned long addr, unsigned long len)
{
	int tries = 8;

	while (vm_munmap(addr, len) == -ENOMEM && --tries)
		schedule_timeout_killable(1);
}

static void memview_source_release(struct kref *ref)
{
	struct memview_source *source =
		container_of(ref, struct memview_source, ref);
	struct memview_controller *controller = source->controller;
	struct memview_mm *space = controller->space;

	/* Invalidations that still find it get no reference and skip it. */
	spin_lock(&space->lock);
	memview_source_tree_remove(source, &space->sources);
	spin_unlock(&space->lock);
	fput(source->vm_file);
	fput(source->file);
	kfree_rcu(source, rcu);
	memview_controller_put(controller);
}

/* Never sleeps. */
void memview_source_put(struct memview_source *source)
{
	kref_put(&source->ref, memview_source_release);
}

static bool memview_source_maps(struct memview_source *source,
				struct vm_area_struct *vma, unsigned long addr)
{
	unsigned long offset = addr - source->start;
	pgoff_t page = source->first + (offset >> PAGE_SHIFT);

	/* Outside the source, the notifier would miss invalidations of the page. */
	if (addr < source->start || offset >= memview_source_len(source))
		return false;
	/* VM_SHARED is not set for a file that is not open for writing. */
	return vma && vma->vm_start <= addr &&
	       vma->vm_file == source->vm_file &&
	       (vma->vm_flags & VM_MAYSHARE) &&
	       !(vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP)) &&
	       memview_vma_page(vma, addr) == page;
}

/* Is the whole mapping still the one we made, perhaps split into several VMAs? */
static bool memview_source_intact(struct memview_source *source)
{
	struct mm_struct *mm = source->controller->mm;
	unsigned long end = source->start + memview_source_len(source);
	struct vm_area_struct *vma;
	unsigned long addr;

	lockdep_assert_held(&mm->mmap_lock);

	for (addr = source->start; addr < end; addr = vma->vm_end) {
		vma = find_vma(mm, addr);
		if (!memview_source_maps(source, vma, addr))
			return false;
	}
	return true;
}

/**
 * memview_source_vma - the VMA of a source, if it is still the source's mapping
 * @source: the source
 * @mm: the address space that the caller has locked; must be the controller's
 * @addr: address in it
 *
 * A source whose mapping was unmapped is dead for good: see
 * memview_source_invalidate(). A mapping that user space puts in its place is
 * another one, even with the same file at the same address.
 *
 * Context: the mmap_lock of @mm is held; the answer holds until it is dropped.
 * Return: the VMA, which may cover a part of the source only, or NULL when the
 * controller has tampered with it
 */
struct vm_area_struct *memview_source_vma(struct memview_source *source,
					  struct mm_struct *mm,
					  unsigned long addr)
{
	struct vm_area_struct *vma;

	lockdep_assert_held(&mm->mmap_lock);

	if (WARN_ON_ONCE(source->controller->mm != mm) ||
	    READ_ONCE(source->state) != MEMVIEW_SOURCE_LIVE)
		return NULL;
	vma = find_vma(mm, addr);
	return memview_source_maps(source, vma, addr) ? vma : NULL;
}

/*
 * The attachment after @prev, or the first, with a reference. @prev stays in the
 * list as long as its reference is held, which is dropped here.
 */
static struct memview_attachment *
memview_source_next_attachment(struct memview_source *source,
			       struct memview_attachment *prev)
{
	struct list_head *pos = prev ? &prev->source_node :
				       &source->attachments;
	struct memview_attachment *attachment, *next = NULL;

	spin_lock(&source->lock);
	while (!list_is_last(pos, &source->attachments)) {
		pos = pos->next;
		attachment =
			list_entry(pos, struct memview_attachment, source_node);
		if (kref_get_unless_zero(&attachment->ref)) {
			next = attachment;
			break;
		}
	}
	spin_unlock(&source->lock);

	if (prev)
		memview_attachment_put(prev);
	return next;
}

struct memview_zapper {
	struct list_head node;
	struct task_struct *task;
};

static bool memview_source_zapping(struct memview_source *source,
				   const struct task_struct *task)
{
	const struct memview_zapper *zapper;

	list_for_each_entry(zapper, &source->zappers, node)
		if (zapper->task == task)
			return true;
	return false;
}

/*
 * Pages of a source are being invalidated: zap them in the peers first.
 *
 * Where its mapping is unmapped, or a part of it, the source is dead. The notifier
 * runs before anything else can be mapped there: munmap(2), and every other path that
 * unmaps, calls it with the mmap_lock held, and so do exec and exit.
 *
 * A controller can unmap its source and map a view of it there, which would
 * make zap -> notifier -> zap without end. Two things end it. A source is dead
 * from the munmap(2) on, and quiet once a zap of all of it has finished, which for
 * an munmap(2) is before the address range can be used again; then there is
 * nothing left to do. And where this very task is zapping the source already, the
 * mapping being invalidated is not the source's but one that took its place, from
 * which no peer has an entry. Another task's zap is never a reason to return
 * early: its page may be freed later than ours.
 */
static void memview_source_invalidate(struct memview_source *source,
				      const struct mmu_notifier_range *range)
{
	struct memview_zapper zapper = { .task = current };
	struct memview_attachment *attachment = NULL;
	pgoff_t first = source->first;
	pgoff_t last = source->last;
	unsigned long end = source->start + memview_source_len(source);
	bool whole;

	trace_memview_invalidate(source, range);

	spin_lock(&source->lock);
	WRITE_ONCE(source->seq, source->seq + 1);
	if (source->quiet)
		goto out_unlock;
	whole = range->event == MMU_NOTIFY_RELEASE ||
		(range->event == MMU_NOTIFY_UNMAP &&
		 memview_range_unmaps(range, source->vm_file));
	if (whole) {
		WRITE_ONCE(source->state, MEMVIEW_SOURCE_DEAD);
	} else {
		if (range->start > source->start)
			first += (range->start - source->start) >> PAGE_SHIFT;
		if (range->end < end)
			last -= (end - range->end) >> PAGE_SHIFT;
	}
	if (memview_source_zapping(source, current))
		goto out_unlock;
	list_add(&zapper.node, &source->zappers);
	spin_unlock(&source->lock);

	while ((attachment =
			memview_source_next_attachment(source, attachment)))
		memview_attachment_zap(attachment, first, last);

	spin_lock(&source->lock);
	list_del(&zapper.node);
	if (whole)
		source->quiet = true;
out_unlock:
	spin_unlock(&source->lock);
	/* The page is still there: give a wrong snapshot time to take it. */
	if (MEMVIEW_BROKEN_running)
		usleep_range(2000, 4000);
}

/*
 * The source after @prev, or the first, that overlaps a span, with a reference.
 * @prev stays in the tree as long as its reference is held, which is dropped here.
 */
static struct memview_source *memview_source_next(struct memview_mm *space,
						  struct memview_source *prev,
						  unsigned long start,
						  unsigned long last)
{
	struct memview_source *source;

	spin_lock(&space->lock);
	source = prev ? memview_source_tree_iter_next(prev, start, last) :
			memview_source_tree_iter_first(&space->sources, start,
						       last);
	while (source && !kref_get_unless_zero(&source->ref))
		source = memview_source_tree_iter_next(source, start, last);
	spin_unlock(&space->lock);

	if (prev)
		memview_source_put(prev);
	return source;
}

/* Does no view use the source? Then there is nothing to zap, which could sleep. */
static bool memview_source_invalidate_unused(struct memview_source *source)
{
	bool unused;

	spin_lock(&source->lock);
	WRITE_ONCE(source->seq, source->seq + 1);
	unused = source->quiet || list_empty(&source->attachments);
	spin_unlock(&source->lock);
	return unused;
}

/**
 * memview_sources_invalidate - invalidate pages of a controller
 * @space: its address space
 * @range: from its notifier. memview_mm_running() is true of it already: no snapshot
 *	takes pages of a source that is made meanwhile.
 *
 * Context: any lock of the core's that is outside page table locks may be held.
 * Return: 0, or -EAGAIN where a peer would have to lose a page and the caller may
 * not sleep: the OOM reaper tries again, or leaves it to exit
 */
int memview_sources_invalidate(struct memview_mm *space,
			       const struct mmu_notifier_range *range)
{
	struct memview_source *source = NULL;

	while ((source = memview_source_next(space, source, range->start,
					     range->end - 1))) {
		if (mmu_notifier_range_blockable(range)) {
			memview_source_invalidate(source, range);
		} else if (!memview_source_invalidate_unused(source)) {
			memview_source_put(source);
			return -EAGAIN;
		}
	}
	return 0;
}

/*
 * Would a mapping of @file have @vm_file? Stacked file systems put the lower file
 * into the VMA, opened by their own path; the lower file can differ between two
 * descriptors of one inode (overlayfs, around a copy-up).
 */
static bool memview_file_shows(struct file *vm_file, struct file *file)
{
	return vm_file == file || file_inode(vm_file) == file_inode(file) ||
	       path_equal(file_user_path(vm_file), &file->f_path);
}

/* Does the VMA map @page of a file at @addr, shared? */
static bool memview_vma_shows(struct vm_area_struct *vma, unsigned long addr,
			      pgoff_t page)
{
	return vma && vma->vm_start <= addr && vma->vm_file &&
	       (vma->vm_flags & VM_MAYSHARE) &&
	       memview_vma_page(vma, addr) == page;
}

/*
 * Can this mapping be a source? Not at address 0: there mprotect(2) starts an
 * invalidation without notifying its end, and faults would wait for it.
 */
static bool memview_vma_is_fit(struct vm_area_struct *vma)
{
	return vma->vm_start &&
	       !(vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP)) &&
	       !IS_DAX(file_inode(vma->vm_file));
}

/*
 * From here on invalidations find the source: the mmap_lock is held, so its mapping
 * cannot have changed. Faults wait for invalidations that are running already.
 */
static void memview_source_watch(struct memview_source *source)
{
	struct memview_mm *space = source->controller->space;

	lockdep_assert_held(&space->notifier.mm->mmap_lock);

	get_file(source->vm_file);
	spin_lock(&space->lock);
	memview_source_tree_insert(source, &space->sources);
	spin_unlock(&space->lock);
}

/*
 * Takes possession of the mapping at @source->start, where another thread may
 * have put anything since it was made. -EAGAIN when it has been merged with a
 * neighbour of the controller's: only a VMA of our own can be kept out of its
 * children and core dumps.
 */
static int memview_source_own(struct memview_source *source)
{
	struct mm_struct *mm = source->controller->mm;
	unsigned long len = memview_source_len(source);
	struct vm_area_struct *vma;
	bool ours;
	int err = 0;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	vma = find_vma(mm, source->start);
	ours = memview_vma_shows(vma, source->start, source->first) &&
	       vma->vm_end - source->start >= len;
	if (!ours || !memview_vma_is_fit(vma) ||
	    !memview_file_shows(vma->vm_file, source->file)) {
		err = -ENODEV;
	} else if (vma->vm_start != source->start ||
		   vma->vm_end != source->start + len) {
		err = -EAGAIN;
	} else {
		vm_flags_set(vma, VM_DONTCOPY | VM_DONTDUMP);
		source->vm_file = vma->vm_file;
		memview_source_watch(source);
	}
	mmap_write_unlock(mm);
	if (err && ours)
		memview_munmap(source->start, len);
	return err;
}

static int memview_source_mmap(struct memview_source *source)
{
	unsigned long prot = PROT_READ | (source->writable ? PROT_WRITE : 0);
	unsigned long len = memview_source_len(source);
	unsigned long hint = 0;
	int tries = 8;
	int err;

	do {
		unsigned long addr;

		addr = vm_mmap(source->file, hint, len, prot,
			       MAP_SHARED | MAP_NORESERVE,
			       source->first << PAGE_SHIFT);
		if (IS_ERR_VALUE(addr))
			return memview_mmap_error((long)addr);
		source->start = addr;
		err = memview_source_own(source);
		/* Move away from the neighbour it merged with, each time further. */
		hint = (hint ?: addr) - len - SZ_4M;
	} while (err == -EAGAIN && --tries);
	return err == -EAGAIN ? -ENOMEM : err;
}

/* @vm_file: the file that the VMA must have; NULL: any that op->file can show */
static int memview_adopt_check_vma(const struct memview_table_op *op,
				   struct file *vm_file,
				   struct vm_area_struct *vma,
				   unsigned long addr)
{
	pgoff_t page = op->file_first + ((addr - op->addr) >> PAGE_SHIFT);

	if (!vma || vma->vm_start > addr)
		return -EFAULT;
	if (!memview_vma_shows(vma, addr, page) ||
	    (vm_file ? vma->vm_file != vm_file :
		       !memview_file_shows(vma->vm_file, op->file)))
		return -EINVAL;
	if (!memview_vma_is_fit(vma))
		return -ENODEV;
	/* The rights may change at any time; but fail early if they are missing now. */
	if (!(vma->vm_flags & VM_READ) ||
	    ((op->flags & MEMVIEW_MAP_WRITE) && !(vma->vm_flags & VM_WRITE)))
		return -EACCES;
	return 0;
}

/**
 * memview_adopt_check - can the mapping at op->addr be adopted?
 * @mm: the controller's, with its mmap_lock held
 * @op: the map operation
 * @vm_file: the file that all VMAs must have; NULL: any that op->file can show
 * @source: written: vm_file, not held, start, first and last; or NULL. It covers the
 *	whole VMAs and not only the span, so that later ranges find it, too.
 *
 * Return: 0, -EFAULT, -EINVAL, -ENODEV, -EACCES as for MEMVIEW_MAP_FD
 */
static int memview_adopt_check(struct mm_struct *mm,
			       const struct memview_table_op *op,
			       struct file *vm_file,
			       struct memview_source *source)
{
	unsigned long len = (op->last - op->first + 1) << PAGE_SHIFT;
	struct vm_area_struct *vma;
	unsigned long addr, end;
	int err;

	lockdep_assert_held(&mm->mmap_lock);

	if (op->addr >= mm->task_size || len > mm->task_size - op->addr)
		return -EFAULT;
	end = op->addr + len;

	for (addr = op->addr; addr < end; addr = vma->vm_end) {
		vma = find_vma(mm, addr);
		err = memview_adopt_check_vma(op, vm_file, vma, addr);
		if (err)
			return err;
		vm_file = vma->vm_file;
		if (!source)
			continue;
		if (addr == op->addr) {
			source->vm_file = vm_file;
			source->start = vma->vm_start;
			source->first = vma->vm_pgoff;
		}
		source->last = memview_vma_page(vma, vma->vm_end) - 1;
	}
	return 0;
}

/* The file that is mapped at @addr, held, or NULL. */
static struct file *memview_file_at(unsigned long addr)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	struct file *file = NULL;

	if (mmap_read_lock_killable(mm))
		return NULL;
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr && vma->vm_file)
		file = get_file(vma->vm_file);
	mmap_read_unlock(mm);
	return file;
}

/*
 * Tries mmap(2), which asks LSMs and IMA, checks for noexec mounts, and refuses files
 * that cannot be mapped. @shown: gets the file of the VMA, held, or NULL
 */
static int memview_file_probe(struct file *file, pgoff_t page,
			      unsigned long prot, struct file **shown)
{
	unsigned long len = PAGE_SIZE;
	unsigned long addr;

	if (memview_file_is_hugetlb(file))
		len = 1UL << file_inode(file)->i_blkbits;
	addr = vm_mmap(file, 0, len, prot, MAP_SHARED | MAP_NORESERVE,
		       round_down((u64)page << PAGE_SHIFT, len));
	if (IS_ERR_VALUE(addr))
		return memview_mmap_error(addr);
	if (shown)
		*shown = memview_file_at(addr);
	memview_munmap(addr, len);
	return shown && !*shown ? -ENODEV : 0;
}

/* Makes a source of the controller's own mapping. */
static int memview_source_adopt(struct memview_source *source,
				const struct memview_table_op *op)
{
	unsigned long prot = PROT_READ | (source->writable ? PROT_WRITE : 0);
	struct mm_struct *mm = source->controller->mm;
	struct file *shown;
	int err;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	err = memview_adopt_check(mm, op, NULL, NULL);
	mmap_read_unlock(mm);
	if (err)
		return err;
	/* It may have been mapped through another open file, with other rights. */
	err = memview_file_probe(op->file, op->file_first, prot, &shown);
	if (err)
		return err;
	if (mmap_write_lock_killable(mm)) {
		fput(shown);
		return -EINTR;
	}
	err = memview_adopt_check(mm, op, NULL, source);
	if (!err && file_inode(source->vm_file) != file_inode(shown))
		err = -EINVAL;
	if (!err)
		memview_source_watch(source);
	mmap_write_unlock(mm);
	fput(shown);
	return err;
}

static bool memview_source_armed(struct memview_source *source)
{
	struct mm_struct *mm = source->controller->mm;
	unsigned long end = source->start + memview_source_len(source);
	struct vm_area_struct *vma;
	unsigned long addr;

	lockdep_assert_held(&mm->mmap_lock);

	for (addr = source->start; addr < end; addr = vma->vm_end) {
		vma = find_vma(mm, addr);
		if (!vma || userfaultfd_armed(vma))
			return vma;
	}
	return false;
}

/*
 * Unmaps the mapping of memview_source_mmap(), if it is still there. An adopted one
 * was never ours and stays.
 *
 * Context: in the controller, and no lock is held.
 * Return: false when it would have to wait, without @wait. (A lock taken after the
 * check is waited for: that is the controller's own doing, and it can be killed.)
 */
bool memview_source_munmap(struct memview_source *source, bool wait)
{
	struct mm_struct *mm = source->controller->mm;
	bool intact;

	if (source->adopted || READ_ONCE(source->state) != MEMVIEW_SOURCE_LIVE)
		return true;
	if (wait) {
		/* The end of the address space will do it. */
		if (mmap_read_lock_killable(mm))
			return true;
	} else if (rwsem_is_locked(&mm->mmap_lock) || !mmap_read_trylock(mm)) {
		return false;
	}
	intact = memview_source_intact(source);
	if (intact && !wait && memview_source_armed(source)) {
		mmap_read_unlock(mm);
		return false;
	}
	mmap_read_unlock(mm);
	if (intact)
		memview_munmap(source->start, memview_source_len(source));
	return true;
}

/* @first and @last: pages of the file; ignored for an adopted source. */
static struct memview_source *
memview_source_create(struct memview_controller *controller,
		      const struct memview_table_op *op, pgoff_t first,
		      pgoff_t last)
{
	struct memview_source *source;
	int err;

	source = kzalloc(sizeof(*source), GFP_KERNEL_ACCOUNT);
	if (!source)
		return ERR_PTR(-ENOMEM);
	kref_init(&source->ref);
	INIT_HLIST_NODE(&source->node);
	INIT_LIST_HEAD(&source->idle_node);
	spin_lock_init(&source->lock);
	INIT_LIST_HEAD(&source->zappers);
	INIT_LIST_HEAD(&source->attachments);
	source->controller = controller;
	source->file = op->file;
	source->writable = op->flags & MEMVIEW_MAP_WRITE;
	source->adopted = op->flags & MEMVIEW_MAP_ADOPT;
	source->first = first;
	source->last = last;

	err = source->adopted ? memview_source_adopt(source, op) :
				memview_source_mmap(source);
	if (err) {
		kfree(source);
		return ERR_PTR(err);
	}
	memview_controller_get(controller);
	get_file(source->file);
	return source;
}

/* Pages that are left in the controller's address space, which sources use up. */
static unsigned long
memview_controller_room(struct memview_controller *controller)
{
	struct mm_struct *mm = controller->mm;
	unsigned long limit = min(rlimit(RLIMIT_AS), mm->task_size) >> PAGE_SHIFT;
	unsigned long used = READ_ONCE(mm->total_vm);

	return limit > used ? limit - used : 0;
}

/* Existing sources of the same file, on which the size of a new one depends. */
struct memview_source_others {
	unsigned int nr; /* number of them */
	unsigned long before;	/* pages of the one that ends where this one begins */
};

/*
 * The span of the file that a new source should cover. It ends with a hugetlb file,
 * which a writable mmap(2) beyond its end would extend; and it is the span asked for
 * with mlockall(MCL_FUTURE), which would allocate all of it.
 */
static void memview_source_span(struct memview_controller *controller,
				struct file *file,
				const struct memview_source_others *others,
				pgoff_t *first, pgoff_t *last)
{
	struct inode *inode = file_inode(file);
	pgoff_t end = DIV_ROUND_UP_ULL(i_size_read(inode), PAGE_SIZE);
	bool hugetlb = memview_file_is_hugetlb(file);
	unsigned int order = min_t(unsigned int, MEMVIEW_SOURCE_ORDER_MAX,
				   others->nr / MEMVIEW_SOURCE_STEP);
	unsigned long most = 1, block, next;
	pgoff_t asked = *last;

	if (!(current->mm->def_flags & VM_LOCKED)) {
		most = memview_controller_room(controller) /
		       MEMVIEW_SOURCE_SHARE;
		most = min(rounddown_pow_of_two(most ?: 1),
			   1UL << MEMVIEW_SOURCE_ORDER_MAX);
	}
	block = min(1UL << order, most);
	next = min(rounddown_pow_of_two(others->before ? 2 * others->before : 1), most);
	/* A span of a block or more gets no block around it. */
	if (block <= *last - *first)
		block = 1;
	if (hugetlb)
		block = max(block, 1UL << (inode->i_blkbits - PAGE_SHIFT));
	/* Both end at multiples of powers of two, as huge entries have to. */
	*last = max(round_up(*last + 1, block), round_down(*first, next) + next) - 1;
	*first = round_down(*first, block);
	if (hugetlb)
		*last = min(*last, end ? end - 1 : 0);
	else if (*last >= end)
		*last = max(asked, end ? end - 1 : 0);
}

/*
 * Do @source and @file show the same data? With a stacked file system, whose VMAs have
 * another inode, that is certain only for the same open file.
 */
static bool memview_source_is_of(struct memview_source *source,
				 struct file *file)
{
	const fmode_t mode = FMODE_READ | FMODE_WRITE;

	if (source->file == file)
		return true;
	return file_inode(source->file) == file_inode(file) &&
	       file_inode(source->vm_file) == file_inode(file) &&
	       source->file->f_path.mnt == file->f_path.mnt &&
	       (source->file->f_mode & mode) == (file->f_mode & mode);
}

/*
 * An adopted source serves only ranges that ask for it: others would lose their
 * memory when the controller changes a mapping that they have not named.
 */
bool memview_source_matches(struct memview_source *source,
			    const struct memview_table_op *op)
{
	bool writable = op->flags & MEMVIEW_MAP_WRITE;
	bool adopted = op->flags & MEMVIEW_MAP_ADOPT;

	return source->writable == writable && source->adopted == adopted &&
	       READ_ONCE(source->state) == MEMVIEW_SOURCE_LIVE &&
	       memview_source_is_of(source, op->file);
}

bool memview_source_covers(struct memview_source *source,
			   const struct memview_table_op *op)
{
	pgoff_t last = op->file_first + (op->last - op->first);

	return source->first <= op->file_first && source->last >= last &&
	       (!source->adopted ||
		op->addr == memview_source_addr(source, op->file_first));
}

/* Adds a use. A source in use is not idle. */
static void memview_source_use_locked(struct memview_source *source)
{
	lockdep_assert_held(&source->controller->lock);

	if (!source->users++)
		list_del_init(&source->idle_node);
}

void memview_source_use(struct memview_source *source)
{
	struct memview_controller *controller = source->controller;

	spin_lock(&controller->lock);
	memview_source_use_locked(source);
	spin_unlock(&controller->lock);
}

void memview_source_unlist(struct memview_source *source)
{
	lockdep_assert_held(&source->controller->lock);

	hlist_del_init(&source->node);
	list_del_init(&source->idle_node);
	source->controller->nr_sources--;
}

/* The hash bucket for sources of @file. */
static struct hlist_head *
memview_controller_bucket(struct memview_controller *controller,
			  const struct file *file)
{
	return &controller->sources[hash_ptr(file_inode(file),
					     MEMVIEW_SOURCE_HASH_BITS)];
}

void memview_source_list(struct memview_source *source)
{
	struct memview_controller *controller = source->controller;

	lockdep_assert_held(&controller->lock);

	hlist_add_head(&source->node,
		       memview_controller_bucket(controller, source->file));
	controller->nr_sources++;
}

/**
 * memview_source_unuse - drop a use of a source
 * @source: the source
 *
 * An idle source is kept, for the controller's next call to find it or to end it. A
 * dead one, or one of a controller that has ended, is dropped at once.
 *
 * Context: any; may be the last reference.
 */
void memview_source_unuse(struct memview_source *source)
{
	struct memview_controller *controller = source->controller;
	bool idle, gone = false;

	spin_lock(&controller->lock);
	idle = !--source->users;
	if (idle) {
		gone = controller->ended ||
		       READ_ONCE(source->state) != MEMVIEW_SOURCE_LIVE;
		if (gone) {
			memview_source_unlist(source);
		} else {
			source->idle_since = jiffies;
			list_add_tail(&source->idle_node, &controller->idle);
		}
	}
	spin_unlock(&controller->lock);
	if (gone)
		memview_source_put(source);
}

/*
 * A live source that serves for @op, or NULL and @others filled in. The caller holds
 * a use: memview_source_unuse().
 */
static struct memview_source *
memview_source_search(struct memview_controller *controller,
		      const struct memview_table_op *op,
		      struct memview_source_others *others)
{
	struct hlist_head *bucket =
		memview_controller_bucket(controller, op->file);
	struct memview_source *source;

	others->nr = 0;
	others->before = 0;
	spin_lock(&controller->lock);
	hlist_for_each_entry(source, bucket, node) {
		if (!memview_source_matches(source, op))
			continue;
		if (memview_source_covers(source, op)) {
			memview_source_use_locked(source);
			/* The next range is likely to use it, too. */
			if (bucket->first != &source->node) {
				hlist_del(&source->node);
				hlist_add_head(&source->node, bucket);
			}
			break;
		}
		others->nr++;
		if (source->last + 1 == op->file_first)
			others->before = max(others->before,
					     source->last - source->first + 1);
	}
	spin_unlock(&controller->lock);
	return source;
}

/* Makes a mapping for the span and, if there are many, for a block around it. */
static struct memview_source *
memview_source_create_wide(struct memview_controller *controller,
			   const struct memview_table_op *op,
			   const struct memview_source_others *others)
{
	pgoff_t first = op->file_first;
	pgoff_t last = first + (op->last - op->first);
	pgoff_t wide_first = first, wide_last = last;
	struct memview_source *source;

	memview_source_span(controller, op->file, others, &wide_first,
			    &wide_last);
	/* A hugetlb file that has shrunk since memview_file_check(). */
	if (wide_first > first || wide_last < last)
		return ERR_PTR(-EINVAL);
	source = memview_source_create(controller, op, wide_first, wide_last);
	/* Only the block around can overflow: a file ends before 2^63. */
	if ((source == ERR_PTR(-ENOMEM) || source == ERR_PTR(-EOVERFLOW)) &&
	    !memview_file_is_hugetlb(op->file) &&
	    (wide_first != first || wide_last != last))
		/* A limit, perhaps: try the span alone. */
		source = memview_source_create(controller, op, first, last);
	return source;
}

/* Makes or adopts a source. The caller holds a use: memview_source_unuse(). */
static struct memview_source *
memview_source_new(struct memview_controller *controller,
		   const struct memview_table_op *op,
		   const struct memview_source_others *others, bool nowait)
{
	struct memview_source *source;

	lockdep_assert_held(&controller->make_lock);

	if (READ_ONCE(controller->nr_sources) >=
	    READ_ONCE(memview_max_sources)) {
		if (nowait)
			return ERR_PTR(-EAGAIN);
		memview_controller_collect(controller, true, true);
		if (READ_ONCE(controller->nr_sources) >=
		    READ_ONCE(memview_max_sources))
			return ERR_PTR(-EMFILE);
	}

	if (op->flags & MEMVIEW_MAP_ADOPT)
		source = memview_source_create(controller, op, 0, 0);
	else
		source = memview_source_create_wide(controller, op, others);
	if (IS_ERR(source))
		return source;
	source->users = 1;
	spin_lock(&controller->lock);
	memview_source_list(source);
	spin_unlock(&controller->lock);
	return source;
}

static int memview_source_check_adopted(struct memview_source *source,
					const struct memview_table_op *op,
					bool nowait)
{
	struct mm_struct *mm = source->controller->mm;
	int err;

	if (nowait ? !mmap_read_trylock(mm) : mmap_read_lock_killable(mm))
		return nowait ? -EAGAIN : -EINTR;
	err = memview_adopt_check(mm, op, source->vm_file, NULL);
	mmap_read_unlock(mm);
	return err;
}

static int memview_source_probe_exec(struct memview_source *source, bool nowait)
{
	int err;

	if (READ_ONCE(source->exec_ok))
		return 0;
	if (nowait)
		return -EAGAIN;
	err = memview_file_probe(source->file, source->first,
				 PROT_READ | PROT_EXEC, NULL);
	if (!err)
		WRITE_ONCE(source->exec_ok, true);
	return err;
}

/*
 * Can a source be made in a call that must not wait? Only of shmem, while nobody
 * holds a lock that mmap(2) takes. (If one is taken after the check, the call waits
 * as mmap(2) does.) The mmap operation of another file system may ask a server.
 */
static bool memview_source_is_quick(struct memview_controller *controller,
				    const struct memview_table_op *op)
{
	struct address_space *mapping = op->file->f_mapping;

	return !(op->flags & (MEMVIEW_MAP_ADOPT | MEMVIEW_MAP_EXEC)) &&
	       shmem_mapping(mapping) &&
	       !(current->mm->def_flags & VM_LOCKED) &&
	       !rwsem_is_locked(&controller->mm->mmap_lock) &&
	       !rwsem_is_locked(&mapping->i_mmap_rwsem);
}

/*
 * Makes a source, unless another task has made it meanwhile. The caller holds a
 * use: memview_source_unuse().
 */
static struct memview_source *
memview_source_make(struct memview_controller *controller,
		    const struct memview_table_op *op, bool nowait)
{
	struct memview_source_others others;
	struct memview_source *source;

	if (nowait) {
		if (!memview_source_is_quick(controller, op) ||
		    !mutex_trylock(&controller->make_lock))
			return ERR_PTR(-EAGAIN);
	} else if (mutex_lock_killable(&controller->make_lock)) {
		return ERR_PTR(-EINTR);
	}
	source = memview_source_search(controller, op, &others);
	if (!source)
		source = memview_source_new(controller, op, &others, nowait);
	mutex_unlock(&controller->make_lock);
	return source;
}

/**
 * memview_source_find - find an existing source for a new range
 * @controller: of the current process
 * @op: the map operation
 *
 * Return: the source, with a use: memview_source_unuse(); or NULL
 */
struct memview_source *
memview_source_find(struct memview_controller *controller,
		    const struct memview_table_op *op)
{
	struct memview_source_others others;

	return memview_source_search(controller, op, &others);
}

/**
 * memview_source_acquire - get the source that a new range is to map
 * @controller: of the current process
 * @source: result of memview_source_find(); NULL: makes or adopts one
 * @op: the map operation
 * @nowait: -EAGAIN rather than wait for a lock, or for a file system
 *
 * Context: no lock is held: mapping a file can be made to wait for ever. Can be
 *	killed.
 * Return: a source with a use: memview_source_unuse(); or memview_mmap_error();
 * -EMFILE, -EINTR, -EAGAIN; those of memview_adopt_check()
 */
struct memview_source *
memview_source_acquire(struct memview_controller *controller,
		       struct memview_source *source,
		       const struct memview_table_op *op, bool nowait)
{
	int err = 0;

	if (!source) {
		source = memview_source_make(controller, op, nowait);
		if (IS_ERR(source))
			return source;
	} else if (source->adopted) {
		err = memview_source_check_adopted(source, op, nowait);
	}
	if (!err && (op->flags & MEMVIEW_MAP_EXEC))
		err = memview_source_probe_exec(source, nowait);
	if (err) {
		memview_source_unuse(source);
		return ERR_PTR(err);
	}
	return source;
}
