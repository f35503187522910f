// SPDX-License-Identifier: GPL-2.0
/*
 * Sources: the mirrors of files in the controller's address space.
 *
 * A source is all segments with the same mirror, file and writability. A
 * segment is one mapping that the driver makes in the controller, like KVM its
 * internal memory slots, or adopts, like KVM those of user space. What is
 * invalidated there is looked up by address. Views map files only through
 * segments, so a page is in a peer only while it is in the segment's page table
 * (R3): nothing is pinned, and every check of mmap(2) has been made.
 *
 * The mapping is in the controller's hands, who may unmap it or put something
 * else there. Faults believe in a segment only after memview_segment_vma() has
 * looked, under the controller's mmap_lock. That is why nothing else need be
 * done for a mapping that is the controller's own.
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

#include "memview.h"
#include "trace.h"

/*
 * A segment covers what was asked for, for it has its price in the controller:
 * mlockall(2) fills it, RLIMIT_AS counts it. One that begins where another ends is
 * made up to twice as large as that. And of the segments of a source that many cover
 * what was asked for; as many more cover aligned blocks of two pages, then of four,
 * up to the largest: a million ranges need few.
 */
#define MEMVIEW_SEGMENT_STEP		8U
#define MEMVIEW_SEGMENT_ORDER_MAX	(30 - PAGE_SHIFT)

/* Part of the address space that is left which more than was asked for may take. */
#define MEMVIEW_SEGMENT_SHARE		16

/* Time for an idle segment to be used again, for one that is re-mapped. */
#define MEMVIEW_IDLE_TIME	(HZ / 10)

/* Spans of one view that an invalidation zaps one by one. */
#define MEMVIEW_ZAP_SPANS	8

static unsigned long memview_segment_start(const struct memview_segment *segment)
{
	return segment->start;
}

static unsigned long memview_segment_last(const struct memview_segment *segment)
{
	return segment->start + memview_segment_len(segment) - 1;
}

INTERVAL_TREE_DEFINE(struct memview_segment, mm_node, unsigned long,
		     mm_subtree_last, memview_segment_start,
		     memview_segment_last, static inline, memview_segment_tree)

/* is_file_hugepages() needs a symbol that is not exported. */
bool memview_file_is_hugetlb(const struct file *file)
{
	return file_inode(file)->i_sb->s_magic == HUGETLBFS_MAGIC;
}

/*
 * What mmap(2) says of a file, as the ioctls say it: the one place for that. File
 * systems and security modules say what they like, but not what has a meaning of
 * our own: EIO is another address space, ESHUTDOWN a revoked view, ...
 */
static int memview_mmap_error(long err)
{
	switch (err) {
	case -EINVAL:
		/* Our arguments are right: a file that cannot be mapped so. */
		return -ENODEV;
	case -EAGAIN:
		/*
		 * More than RLIMIT_MEMLOCK after mlockall(MCL_FUTURE). To
		 * io_uring it would mean to call again.
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
 * Even unmapping needs memory; without it the mapping would stay for ever.
 *
 * Context: waits like munmap(2), for the mmap_lock and for userfaultfds that want
 * to know, until it is done or the task is killed.
 */
static void memview_munmap(unsigned long addr, unsigned long len)
{
	int tries = 8;

	while (vm_munmap(addr, len) == -ENOMEM && --tries)
		schedule_timeout_killable(1);
}

static void memview_segment_release(struct kref *ref)
{
	struct memview_segment *segment =
		container_of(ref, struct memview_segment, ref);
	struct memview_mirror *mirror = segment->mirror;
	struct memview_mm *space = mirror->space;

	/* Invalidations find it until here, and then have nothing to do. */
	spin_lock(&space->lock);
	memview_segment_tree_remove(segment, &space->segments);
	spin_unlock(&space->lock);
	fput(segment->vm_file);
	fput(segment->file);
	kfree_rcu(segment, rcu);
	memview_mirror_put(mirror);
}

/* Sleeps in no case. */
void memview_segment_put(struct memview_segment *segment)
{
	kref_put(&segment->ref, memview_segment_release);
}

static bool memview_segment_maps(struct memview_segment *segment,
				 struct vm_area_struct *vma, unsigned long addr)
{
	unsigned long offset = addr - segment->start;
	pgoff_t page = segment->first + (offset >> PAGE_SHIFT);

	/* Outside, the notifier would not see what happens to the page. */
	if (addr < segment->start || offset >= memview_segment_len(segment))
		return false;
	/* VM_SHARED is not set for a file that is not open for writing. */
	return vma && vma->vm_start <= addr &&
	       vma->vm_file == segment->vm_file &&
	       (vma->vm_flags & VM_MAYSHARE) &&
	       !(vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP)) &&
	       memview_vma_page(vma, addr) == page;
}

/* Is the whole mapping still what we made, if in pieces? */
static bool memview_segment_intact(struct memview_segment *segment)
{
	struct mm_struct *mm = segment->mirror->mm;
	unsigned long end = segment->start + memview_segment_len(segment);
	struct vm_area_struct *vma;
	unsigned long addr;

	lockdep_assert_held(&mm->mmap_lock);

	for (addr = segment->start; addr < end; addr = vma->vm_end) {
		vma = find_vma(mm, addr);
		if (!memview_segment_maps(segment, vma, addr))
			return false;
	}
	return true;
}

/**
 * memview_segment_vma - the VMA of a segment, if it can be believed
 * @segment: the segment
 * @mm: the address space that the caller has locked: no other is looked at
 * @addr: address in it
 *
 * What has been unmapped is gone for good: the segment is dead from then on, see
 * memview_segment_invalidate(), and what user space maps in its place is another
 * mapping, however much it looks like this one.
 *
 * Context: the mmap_lock of @mm is held; the answer holds until it is dropped.
 * Return: the VMA, which may be a part of what the segment was made with, or
 * NULL when the controller has tampered with it
 */
struct vm_area_struct *
memview_segment_vma(struct memview_segment *segment, struct mm_struct *mm,
		    unsigned long addr)
{
	struct vm_area_struct *vma;

	lockdep_assert_held(&mm->mmap_lock);

	if (WARN_ON_ONCE(segment->mirror->mm != mm) ||
	    READ_ONCE(segment->state) != MEMVIEW_SEGMENT_LIVE)
		return NULL;
	vma = find_vma(mm, addr);
	return memview_segment_maps(segment, vma, addr) ? vma : NULL;
}

/*
 * Zaps what one view has mapped of a span of the file. Faults in flight either see
 * the new sequence number, or have inserted what we now zap (R2): see peers.c for
 * pages; huge entries are made under the lock that is taken here.
 */
static void memview_attach_zap(struct memview_attach *attach,
			       pgoff_t first, pgoff_t last)
{
	struct { pgoff_t first, last; } spans[MEMVIEW_ZAP_SPANS + 1];
	struct memview *view = attach->view;
	struct memview_range *range;
	unsigned int i, nr = 0;

	spin_lock(&view->lock);
	for (range = memview_attach_first(attach, first, last); range;
	     range = memview_attach_next(range, first, last)) {
		pgoff_t file_first = memview_range_file_first(range);
		pgoff_t from = max(file_first, first);
		pgoff_t to = min(memview_range_file_last(range), last);

		if (nr == MEMVIEW_ZAP_SPANS) {
			/* Too many to go through: all of the view. */
			spans[0].first = 0;
			spans[0].last = ULONG_MAX >> PAGE_SHIFT;
			nr = 1;
			break;
		}
		spans[nr].first = range->first + (from - file_first);
		spans[nr].last = range->first + (to - file_first);
		nr++;
	}
	/* Out of the index already, perhaps not yet out of the page tables. */
	spans[nr].first = READ_ONCE(view->pending_first);
	spans[nr].last = view->pending_last;
	if (spans[nr].first <= spans[nr].last)
		nr++;
	memview_zap_begin(view);
	spin_unlock(&view->lock);

	for (i = 0; i < nr; i++)
		memview_zap(view, spans[i].first, spans[i].last, true);
	memview_zap_end(view);
}

/*
 * The entry of the list after @prev, or its first, with a reference. @prev
 * stays in the list as long as its own is held; that is dropped here.
 */
static struct memview_attach *
memview_segment_next_attach(struct memview_segment *segment,
			    struct memview_attach *prev)
{
	struct list_head *pos = prev ? &prev->segment_node : &segment->attaches;
	struct memview_attach *attach, *next = NULL;

	spin_lock(&segment->lock);
	while (!list_is_last(pos, &segment->attaches)) {
		pos = pos->next;
		attach = list_entry(pos, struct memview_attach, segment_node);
		if (kref_get_unless_zero(&attach->ref)) {
			next = attach;
			break;
		}
	}
	spin_unlock(&segment->lock);

	if (prev)
		memview_attach_put(prev);
	return next;
}

struct memview_zapper {
	struct list_head node;
	struct task_struct *task;
};

static bool memview_segment_zapping(struct memview_segment *segment,
				    const struct task_struct *task)
{
	const struct memview_zapper *zapper;

	list_for_each_entry(zapper, &segment->zappers, node)
		if (zapper->task == task)
			return true;
	return false;
}

/*
 * Something happens to pages of a segment: take them from the peers first.
 *
 * Where its mapping is unmapped, or a part of it, the segment is dead. That is told
 * before anything else can be mapped there: munmap(2), and whatever else unmaps,
 * tells with the mmap_lock held, and so does exec and exit.
 *
 * A controller can unmap its segment and map a view of it there, which would
 * make zap -> notifier -> zap without end. Two things end it. A segment is dead
 * from the munmap(2) on, and quiet once a zap of all of it has finished, which for
 * an munmap(2) is before the address range can be used again; then there is
 * nothing left to do. And where this very task is zapping the segment already,
 * what is below it is not the segment's mapping but one that took its place, from
 * which no peer has anything. Another task's zap is never a reason to return
 * early: its page may be freed later than ours.
 */
static void memview_segment_invalidate(struct memview_segment *segment,
				       const struct mmu_notifier_range *range)
{
	struct memview_zapper zapper = { .task = current };
	struct memview_attach *attach = NULL;
	pgoff_t first = segment->first;
	pgoff_t last = segment->last;
	unsigned long end = segment->start + memview_segment_len(segment);
	bool whole;

	trace_memview_invalidate(segment, range);

	spin_lock(&segment->lock);
	WRITE_ONCE(segment->seq, segment->seq + 1);
	if (segment->quiet)
		goto out_unlock;
	whole = range->event == MMU_NOTIFY_RELEASE ||
		(range->event == MMU_NOTIFY_UNMAP &&
		 memview_range_unmaps(range, segment->vm_file));
	if (whole) {
		WRITE_ONCE(segment->state, MEMVIEW_SEGMENT_DEAD);
	} else {
		if (range->start > segment->start)
			first += (range->start - segment->start) >> PAGE_SHIFT;
		if (range->end < end)
			last -= (end - range->end) >> PAGE_SHIFT;
	}
	if (memview_segment_zapping(segment, current))
		goto out_unlock;
	list_add(&zapper.node, &segment->zappers);
	spin_unlock(&segment->lock);

	while ((attach = memview_segment_next_attach(segment, attach)))
		memview_attach_zap(attach, first, last);

	spin_lock(&segment->lock);
	list_del(&zapper.node);
	if (whole)
		segment->quiet = true;
out_unlock:
	spin_unlock(&segment->lock);
	/* The page is still there: more time for what must not take it now. */
	if (MEMVIEW_BROKEN_running)
		usleep_range(2000, 4000);
}

/*
 * The segment after @prev, or the first, that has some of a span, with a reference.
 * @prev stays in the tree as long as its own is held; that is dropped here.
 */
static struct memview_segment *
memview_segment_next(struct memview_mm *space, struct memview_segment *prev,
		     unsigned long start, unsigned long last)
{
	struct memview_segment *segment;

	spin_lock(&space->lock);
	segment = prev ? memview_segment_tree_iter_next(prev, start, last) :
			 memview_segment_tree_iter_first(&space->segments, start,
							 last);
	while (segment && !kref_get_unless_zero(&segment->ref))
		segment = memview_segment_tree_iter_next(segment, start, last);
	spin_unlock(&space->lock);

	if (prev)
		memview_segment_put(prev);
	return segment;
}

/* Does nobody have anything of it? Then there is nothing to sleep for. */
static bool memview_segment_invalidate_unused(struct memview_segment *segment)
{
	bool unused;

	spin_lock(&segment->lock);
	WRITE_ONCE(segment->seq, segment->seq + 1);
	unused = segment->quiet || list_empty(&segment->attaches);
	spin_unlock(&segment->lock);
	return unused;
}

/**
 * memview_sources_invalidate - something happens to pages of a controller
 * @space: its address space
 * @range: as its notifier is told, and after memview_mm_running() is true of it:
 *	what a segment has that is made meanwhile nobody takes
 *
 * Context: any lock of the core's that is outside page table locks may be held.
 * Return: 0, or -EAGAIN where peers would have to lose a page, and who tells may
 * not sleep: the OOM reaper tries again, or leaves it to exit
 */
int memview_sources_invalidate(struct memview_mm *space,
			       const struct mmu_notifier_range *range)
{
	struct memview_segment *segment = NULL;

	while ((segment = memview_segment_next(space, segment, range->start,
					       range->end - 1))) {
		if (mmu_notifier_range_blockable(range)) {
			memview_segment_invalidate(segment, range);
		} else if (!memview_segment_invalidate_unused(segment)) {
			memview_segment_put(segment);
			return -EAGAIN;
		}
	}
	return 0;
}

/*
 * Would a mapping of @file have @vm_file? File systems on top of others put the
 * file below into the VMA, opened by the path of their own; which file that is can
 * differ between two descriptors of one inode (overlayfs, around a copy-up).
 */
static bool memview_file_shows(struct file *vm_file, struct file *file)
{
	return vm_file == file || file_inode(vm_file) == file_inode(file) ||
	       path_equal(file_user_path(vm_file), &file->f_path);
}

/* Is @page of a file what is mapped at @addr, shared? */
static bool memview_vma_shows(struct vm_area_struct *vma, unsigned long addr,
			      pgoff_t page)
{
	return vma && vma->vm_start <= addr && vma->vm_file &&
	       (vma->vm_flags & VM_MAYSHARE) &&
	       memview_vma_page(vma, addr) == page;
}

/*
 * Can a mapping of that kind be mirrored? At address 0 not: mprotect(2) tells
 * notifiers of no end there, and faults would wait for it.
 */
static bool memview_vma_is_fit(struct vm_area_struct *vma)
{
	return vma->vm_start &&
	       !(vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP)) &&
	       !IS_DAX(file_inode(vma->vm_file));
}

/*
 * From here on invalidations find the segment: before its mapping can change, the
 * mmap_lock being held. What is running at this moment faults wait for.
 */
static void memview_segment_watch(struct memview_segment *segment)
{
	struct memview_mm *space = segment->mirror->space;

	lockdep_assert_held(&space->notifier.mm->mmap_lock);

	get_file(segment->vm_file);
	spin_lock(&space->lock);
	memview_segment_tree_insert(segment, &space->segments);
	spin_unlock(&space->lock);
}

/*
 * Takes possession of the mapping at @segment->start, where another thread may
 * have put anything since it was made. -EAGAIN when it has been merged with a
 * neighbour of the controller's: only what is ours alone can be kept out of its
 * children and core dumps.
 */
static int memview_segment_own(struct memview_segment *segment)
{
	struct mm_struct *mm = segment->mirror->mm;
	unsigned long len = memview_segment_len(segment);
	struct vm_area_struct *vma;
	bool ours;
	int err = 0;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	vma = find_vma(mm, segment->start);
	ours = memview_vma_shows(vma, segment->start, segment->first) &&
	       vma->vm_end - segment->start >= len;
	if (!ours || !memview_vma_is_fit(vma) ||
	    !memview_file_shows(vma->vm_file, segment->file)) {
		err = -ENODEV;
	} else if (vma->vm_start != segment->start ||
		   vma->vm_end != segment->start + len) {
		err = -EAGAIN;
	} else {
		vm_flags_set(vma, VM_DONTCOPY | VM_DONTDUMP);
		segment->vm_file = vma->vm_file;
		memview_segment_watch(segment);
	}
	mmap_write_unlock(mm);
	if (err && ours)
		memview_munmap(segment->start, len);
	return err;
}

static int memview_segment_mmap(struct memview_segment *segment)
{
	unsigned long prot = PROT_READ | (segment->writable ? PROT_WRITE : 0);
	unsigned long len = memview_segment_len(segment);
	unsigned long hint = 0;
	int tries = 8;
	int err;

	do {
		unsigned long addr;

		addr = vm_mmap(segment->file, hint, len, prot,
			       MAP_SHARED | MAP_NORESERVE,
			       segment->first << PAGE_SHIFT);
		if (IS_ERR_VALUE(addr))
			return memview_mmap_error((long)addr);
		segment->start = addr;
		err = memview_segment_own(segment);
		/* Away from the neighbour it merged with, each time further. */
		hint = (hint ?: addr) - len - SZ_4M;
	} while (err == -EAGAIN && --tries);
	return err == -EAGAIN ? -ENOMEM : err;
}

/* @vm_file: what it must have, or NULL: what a mapping of edit->file could */
static int memview_adopt_check_vma(const struct memview_edit *edit,
				   struct file *vm_file,
				   struct vm_area_struct *vma,
				   unsigned long addr)
{
	pgoff_t page = edit->file_first + ((addr - edit->addr) >> PAGE_SHIFT);

	if (!vma || vma->vm_start > addr)
		return -EFAULT;
	if (!memview_vma_shows(vma, addr, page) ||
	    (vm_file ? vma->vm_file != vm_file :
		       !memview_file_shows(vma->vm_file, edit->file)))
		return -EINVAL;
	if (!memview_vma_is_fit(vma))
		return -ENODEV;
	/* It may change at any time; but what never works should say so. */
	if (!(vma->vm_flags & VM_READ) ||
	    ((edit->flags & MEMVIEW_MAP_WRITE) && !(vma->vm_flags & VM_WRITE)))
		return -EACCES;
	return 0;
}

/**
 * memview_adopt_check - can the mapping at edit->addr be adopted?
 * @mm: the controller's, whose mmap_lock is held
 * @edit: what to map
 * @vm_file: what all of it must have, or NULL: what a mapping of edit->file could
 * @segment: gets vm_file, not held, start, first and last of it, or NULL. All of
 *	the VMAs and not only the span, so that the ranges to come find it, too.
 *
 * Return: 0, -EFAULT, -EINVAL, -ENODEV, -EACCES as for MEMVIEW_MAP_FD
 */
static int memview_adopt_check(struct mm_struct *mm,
			       const struct memview_edit *edit,
			       struct file *vm_file,
			       struct memview_segment *segment)
{
	unsigned long len = (edit->last - edit->first + 1) << PAGE_SHIFT;
	struct vm_area_struct *vma;
	unsigned long addr, end;
	int err;

	lockdep_assert_held(&mm->mmap_lock);

	if (edit->addr >= mm->task_size || len > mm->task_size - edit->addr)
		return -EFAULT;
	end = edit->addr + len;

	for (addr = edit->addr; addr < end; addr = vma->vm_end) {
		vma = find_vma(mm, addr);
		err = memview_adopt_check_vma(edit, vm_file, vma, addr);
		if (err)
			return err;
		vm_file = vma->vm_file;
		if (!segment)
			continue;
		if (addr == edit->addr) {
			segment->vm_file = vm_file;
			segment->start = vma->vm_start;
			segment->first = vma->vm_pgoff;
		}
		segment->last = memview_vma_page(vma, vma->vm_end) - 1;
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
 * mmap(2) asks LSMs and IMA, and about noexec mounts, and knows what files
 * cannot be mapped: let it. @shown: gets what the VMA had, held, or NULL
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

/* Makes a segment of the controller's own mapping. */
static int memview_segment_adopt(struct memview_segment *segment,
				 const struct memview_edit *edit)
{
	unsigned long prot = PROT_READ | (segment->writable ? PROT_WRITE : 0);
	struct mm_struct *mm = segment->mirror->mm;
	struct file *shown;
	int err;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	err = memview_adopt_check(mm, edit, NULL, NULL);
	mmap_read_unlock(mm);
	if (err)
		return err;
	/* It may have been mapped by another open file, with other rights. */
	err = memview_file_probe(edit->file, edit->file_first, prot, &shown);
	if (err)
		return err;
	if (mmap_write_lock_killable(mm)) {
		fput(shown);
		return -EINTR;
	}
	err = memview_adopt_check(mm, edit, NULL, segment);
	if (!err && file_inode(segment->vm_file) != file_inode(shown))
		err = -EINVAL;
	if (!err)
		memview_segment_watch(segment);
	mmap_write_unlock(mm);
	fput(shown);
	return err;
}

static bool memview_segment_armed(struct memview_segment *segment)
{
	struct mm_struct *mm = segment->mirror->mm;
	unsigned long end = segment->start + memview_segment_len(segment);
	struct vm_area_struct *vma;
	unsigned long addr;

	lockdep_assert_held(&mm->mmap_lock);

	for (addr = segment->start; addr < end; addr = vma->vm_end) {
		vma = find_vma(mm, addr);
		if (!vma || userfaultfd_armed(vma))
			return vma;
	}
	return false;
}

/*
 * Unmaps what memview_segment_mmap() mapped, if it is still that. Not adopted: that
 * was never ours.
 *
 * Context: in the controller, and no lock is held.
 * Return: false when it would have to wait and must not, without @wait. (What is
 * locked in between is waited for: the controller's own doing, and it can be killed.)
 */
static bool memview_segment_munmap(struct memview_segment *segment, bool wait)
{
	struct mm_struct *mm = segment->mirror->mm;
	bool intact;

	if (segment->adopted ||
	    READ_ONCE(segment->state) != MEMVIEW_SEGMENT_LIVE)
		return true;
	if (wait) {
		/* The end of the address space will do it. */
		if (mmap_read_lock_killable(mm))
			return true;
	} else if (rwsem_is_locked(&mm->mmap_lock) || !mmap_read_trylock(mm)) {
		return false;
	}
	intact = memview_segment_intact(segment);
	if (intact && !wait && memview_segment_armed(segment)) {
		mmap_read_unlock(mm);
		return false;
	}
	mmap_read_unlock(mm);
	if (intact)
		memview_munmap(segment->start, memview_segment_len(segment));
	return true;
}

/* @first and @last: of the file; not for what is adopted. */
static struct memview_segment *
memview_segment_create(struct memview_mirror *mirror,
		       const struct memview_edit *edit,
		       pgoff_t first, pgoff_t last)
{
	struct memview_segment *segment;
	int err;

	segment = kzalloc(sizeof(*segment), GFP_KERNEL_ACCOUNT);
	if (!segment)
		return ERR_PTR(-ENOMEM);
	kref_init(&segment->ref);
	INIT_HLIST_NODE(&segment->node);
	INIT_LIST_HEAD(&segment->idle_node);
	spin_lock_init(&segment->lock);
	INIT_LIST_HEAD(&segment->zappers);
	INIT_LIST_HEAD(&segment->attaches);
	segment->mirror = mirror;
	segment->file = edit->file;
	segment->writable = edit->flags & MEMVIEW_MAP_WRITE;
	segment->adopted = edit->flags & MEMVIEW_MAP_ADOPT;
	segment->first = first;
	segment->last = last;

	err = segment->adopted ? memview_segment_adopt(segment, edit) :
				 memview_segment_mmap(segment);
	if (err) {
		kfree(segment);
		return ERR_PTR(err);
	}
	memview_mirror_get(mirror);
	get_file(segment->file);
	return segment;
}

/* In pages; what a segment takes of the controller's address space is lost to it. */
static unsigned long memview_mirror_room(struct memview_mirror *mirror)
{
	struct mm_struct *mm = mirror->mm;
	unsigned long limit = min(rlimit(RLIMIT_AS), mm->task_size) >> PAGE_SHIFT;
	unsigned long used = READ_ONCE(mm->total_vm);

	return limit > used ? limit - used : 0;
}

/* What a new segment's size depends on. */
struct memview_segment_others {
	unsigned int nr;	/* segments of the same source */
	unsigned long before;	/* pages of the one that ends where it begins */
};

/*
 * The span of the file that a new segment should cover. Not for hugetlb beyond
 * the end of the file, where a writable mmap(2) would extend it; and only what was
 * asked for with mlockall(MCL_FUTURE), which would allocate all of it.
 */
static void memview_segment_span(struct memview_mirror *mirror,
				 struct file *file,
				 const struct memview_segment_others *others,
				 pgoff_t *first, pgoff_t *last)
{
	struct inode *inode = file_inode(file);
	pgoff_t end = DIV_ROUND_UP_ULL(i_size_read(inode), PAGE_SIZE);
	bool hugetlb = memview_file_is_hugetlb(file);
	unsigned int order = min_t(unsigned int, MEMVIEW_SEGMENT_ORDER_MAX,
				   others->nr / MEMVIEW_SEGMENT_STEP);
	unsigned long most = 1, block, next;
	pgoff_t asked = *last;

	if (!(current->mm->def_flags & VM_LOCKED)) {
		most = memview_mirror_room(mirror) / MEMVIEW_SEGMENT_SHARE;
		most = min(rounddown_pow_of_two(most ?: 1),
			   1UL << MEMVIEW_SEGMENT_ORDER_MAX);
	}
	block = min(1UL << order, most);
	next = min(rounddown_pow_of_two(others->before ? 2 * others->before : 1), most);
	/* More than that: no more than that. */
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
 * Do @segment and @file show the same? Where the inode below is another, only for
 * sure when they are the same open file.
 */
static bool memview_segment_is_of(struct memview_segment *segment,
				  struct file *file)
{
	const fmode_t mode = FMODE_READ | FMODE_WRITE;

	if (segment->file == file)
		return true;
	return file_inode(segment->file) == file_inode(file) &&
	       file_inode(segment->vm_file) == file_inode(file) &&
	       segment->file->f_path.mnt == file->f_path.mnt &&
	       (segment->file->f_mode & mode) == (file->f_mode & mode);
}

/*
 * What is adopted is for those who ask for it: the others would lose their
 * memory by what the controller does to a mapping that they have not named.
 */
static bool memview_segment_matches(struct memview_segment *segment,
				    const struct memview_edit *edit)
{
	bool writable = edit->flags & MEMVIEW_MAP_WRITE;
	bool adopted = edit->flags & MEMVIEW_MAP_ADOPT;

	return segment->writable == writable && segment->adopted == adopted &&
	       READ_ONCE(segment->state) == MEMVIEW_SEGMENT_LIVE &&
	       memview_segment_is_of(segment, edit->file);
}

static bool memview_segment_covers(struct memview_segment *segment,
				   const struct memview_edit *edit)
{
	pgoff_t last = edit->file_first + (edit->last - edit->first);

	return segment->first <= edit->file_first && segment->last >= last &&
	       (!segment->adopted || edit->addr ==
		memview_segment_addr(segment, edit->file_first));
}

/* A segment that somebody uses is not idle. */
static void memview_segment_use_locked(struct memview_segment *segment)
{
	lockdep_assert_held(&segment->mirror->lock);

	if (!segment->users++)
		list_del_init(&segment->idle_node);
}

static void memview_segment_use(struct memview_segment *segment)
{
	struct memview_mirror *mirror = segment->mirror;

	spin_lock(&mirror->lock);
	memview_segment_use_locked(segment);
	spin_unlock(&mirror->lock);
}

static void memview_segment_unlist(struct memview_segment *segment)
{
	lockdep_assert_held(&segment->mirror->lock);

	hlist_del_init(&segment->node);
	list_del_init(&segment->idle_node);
	segment->mirror->nr_segments--;
}

/* Where segments of @file are found. */
static struct hlist_head *memview_mirror_bucket(struct memview_mirror *mirror,
						const struct file *file)
{
	return &mirror->segments[hash_ptr(file_inode(file),
					  MEMVIEW_SEGMENT_HASH_BITS)];
}

static void memview_segment_list(struct memview_segment *segment)
{
	struct memview_mirror *mirror = segment->mirror;

	lockdep_assert_held(&mirror->lock);

	hlist_add_head(&segment->node,
		       memview_mirror_bucket(mirror, segment->file));
	mirror->nr_segments++;
}

/**
 * memview_segment_unuse - a segment is used by one less
 * @segment: the segment
 *
 * What is idle is kept, for the controller's next call to find it or to end it. What
 * is of no use to anybody goes at once.
 *
 * Context: any; may be the last reference.
 */
static void memview_segment_unuse(struct memview_segment *segment)
{
	struct memview_mirror *mirror = segment->mirror;
	bool idle, gone = false;

	spin_lock(&mirror->lock);
	idle = !--segment->users;
	if (idle) {
		gone = mirror->ended ||
		       READ_ONCE(segment->state) != MEMVIEW_SEGMENT_LIVE;
		if (gone) {
			memview_segment_unlist(segment);
		} else {
			segment->idle_since = jiffies;
			list_add_tail(&segment->idle_node, &mirror->idle);
		}
	}
	spin_unlock(&mirror->lock);
	if (gone)
		memview_segment_put(segment);
}

/*
 * A live segment that serves for what is to be mapped, to be used, or NULL; then
 * @others is told.
 */
static struct memview_segment *
memview_segment_find(struct memview_mirror *mirror,
		     const struct memview_edit *edit,
		     struct memview_segment_others *others)
{
	struct hlist_head *bucket = memview_mirror_bucket(mirror, edit->file);
	struct memview_segment *segment;

	others->nr = 0;
	others->before = 0;
	spin_lock(&mirror->lock);
	hlist_for_each_entry(segment, bucket, node) {
		if (!memview_segment_matches(segment, edit))
			continue;
		if (memview_segment_covers(segment, edit)) {
			memview_segment_use_locked(segment);
			/* It is likely to be the next one, too. */
			if (bucket->first != &segment->node) {
				hlist_del(&segment->node);
				hlist_add_head(&segment->node, bucket);
			}
			break;
		}
		others->nr++;
		if (segment->last + 1 == edit->file_first)
			others->before = max(others->before,
					     segment->last - segment->first + 1);
	}
	spin_unlock(&mirror->lock);
	return segment;
}

/*
 * Has the controller a segment to end now? With @all, each that is idle; else those
 * that have been so for long enough. To be put, or to be given back.
 */
static struct memview_segment *
memview_mirror_take_idle(struct memview_mirror *mirror, bool all)
{
	struct memview_segment *segment;

	if (list_empty(&mirror->idle))
		return NULL;
	spin_lock(&mirror->lock);
	segment = list_first_entry_or_null(&mirror->idle, struct memview_segment,
					   idle_node);
	if (segment && !all &&
	    time_before(jiffies, segment->idle_since + MEMVIEW_IDLE_TIME))
		segment = NULL;
	if (segment)
		memview_segment_unlist(segment);
	spin_unlock(&mirror->lock);
	return segment;
}

static void memview_mirror_give_back(struct memview_mirror *mirror,
				     struct memview_segment *segment)
{
	spin_lock(&mirror->lock);
	segment->idle_since = jiffies;
	list_move_tail(&segment->idle_node, &mirror->idle);
	memview_segment_list(segment);
	spin_unlock(&mirror->lock);
}

/**
 * memview_source_collect - end the controller's idle segments
 * @mirror: the controller's, or NULL
 * @all: those too that have not been idle for long
 * @wait: those too that it takes a wait to unmap; else they are left to the next call
 *
 * Nobody else can: to unmap can be made to wait for ever, by the controller or by
 * its userfaultfds, and what waits elsewhere would keep the controller's memory
 * (R4), or the others' work (R8).
 *
 * Context: no lock is held. Does nothing in another process.
 */
void memview_source_collect(struct memview_mirror *mirror, bool all, bool wait)
{
	struct memview_segment *segment, *next;
	LIST_HEAD(kept);

	if (!mirror || list_empty(&mirror->idle) || mirror->mm != current->mm)
		return;
	while ((segment = memview_mirror_take_idle(mirror, all))) {
		if (memview_segment_munmap(segment, wait))
			memview_segment_put(segment);
		else
			list_add_tail(&segment->idle_node, &kept);
	}
	list_for_each_entry_safe(segment, next, &kept, idle_node)
		memview_mirror_give_back(mirror, segment);
}

/* Has the next call of the controller something to wait for at its end? */
bool memview_source_is_due(struct memview_mirror *mirror)
{
	struct memview_segment *segment;
	bool due;

	if (list_empty(&mirror->idle))
		return false;
	spin_lock(&mirror->lock);
	segment = list_first_entry_or_null(&mirror->idle, struct memview_segment,
					   idle_node);
	due = segment &&
	      !time_before(jiffies, segment->idle_since + MEMVIEW_IDLE_TIME);
	spin_unlock(&mirror->lock);
	return due;
}

/**
 * memview_source_drop_idle - end what no range needs any more, now
 * @view: a view of the caller, or one that is nobody's yet
 *
 * Return: 0, -EIO, or -EINTR
 */
int memview_source_drop_idle(struct memview *view)
{
	struct memview_mirror *mirror = memview_controller(view);

	if (mirror && mirror->mm != current->mm)
		return -EIO;
	if (mirror)
		memview_mirror_get(mirror);
	else
		mirror = memview_mirror_find_current();
	if (mirror) {
		memview_source_collect(mirror, true, true);
		memview_mirror_put(mirror);
	}
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/* A segment of ours, for the span and, if there are many, for what is around it. */
static struct memview_segment *
memview_segment_make(struct memview_mirror *mirror,
		     const struct memview_edit *edit,
		     const struct memview_segment_others *others)
{
	pgoff_t first = edit->file_first;
	pgoff_t last = first + (edit->last - edit->first);
	pgoff_t wide_first = first, wide_last = last;
	struct memview_segment *segment;

	memview_segment_span(mirror, edit->file, others, &wide_first,
			     &wide_last);
	/* A hugetlb file that has shrunk since memview_file_check(). */
	if (wide_first > first || wide_last < last)
		return ERR_PTR(-EINVAL);
	segment = memview_segment_create(mirror, edit, wide_first, wide_last);
	/* That is for what is around it: all of a file ends before 2^63. */
	if ((segment == ERR_PTR(-ENOMEM) || segment == ERR_PTR(-EOVERFLOW)) &&
	    !memview_file_is_hugetlb(edit->file) &&
	    (wide_first != first || wide_last != last))
		/* A limit, perhaps: no more than is needed. */
		segment = memview_segment_create(mirror, edit, first, last);
	return segment;
}

/* To be used. Others may be making theirs at the same time. */
static struct memview_segment *
memview_segment_new(struct memview_mirror *mirror,
		    const struct memview_edit *edit,
		    const struct memview_segment_others *others, bool nowait)
{
	struct memview_segment *segment;

	lockdep_assert_held(&mirror->make_lock);

	if (READ_ONCE(mirror->nr_segments) >= READ_ONCE(memview_max_sources)) {
		if (nowait)
			return ERR_PTR(-EAGAIN);
		memview_source_collect(mirror, true, true);
		if (READ_ONCE(mirror->nr_segments) >=
		    READ_ONCE(memview_max_sources))
			return ERR_PTR(-EMFILE);
	}

	if (edit->flags & MEMVIEW_MAP_ADOPT)
		segment = memview_segment_create(mirror, edit, 0, 0);
	else
		segment = memview_segment_make(mirror, edit, others);
	if (IS_ERR(segment))
		return segment;
	segment->users = 1;
	spin_lock(&mirror->lock);
	memview_segment_list(segment);
	spin_unlock(&mirror->lock);
	return segment;
}

static int memview_segment_check_adopted(struct memview_segment *segment,
					 const struct memview_edit *edit,
					 bool nowait)
{
	struct mm_struct *mm = segment->mirror->mm;
	int err;

	if (nowait ? !mmap_read_trylock(mm) : mmap_read_lock_killable(mm))
		return nowait ? -EAGAIN : -EINTR;
	err = memview_adopt_check(mm, edit, segment->vm_file, NULL);
	mmap_read_unlock(mm);
	return err;
}

static int memview_segment_probe_exec(struct memview_segment *segment,
				      bool nowait)
{
	int err;

	if (READ_ONCE(segment->exec_ok))
		return 0;
	if (nowait)
		return -EAGAIN;
	err = memview_file_probe(segment->file, segment->first,
				 PROT_READ | PROT_EXEC, NULL);
	if (!err)
		WRITE_ONCE(segment->exec_ok, true);
	return err;
}

/*
 * Can a segment be made in a call that must not wait? Of memory, while nobody has
 * a lock that mmap(2) takes. (Where one is taken in between, the call waits as
 * mmap(2) does.) Other file systems are asked what they make of it, and may ask a
 * server.
 */
static bool memview_segment_is_quick(struct memview_mirror *mirror,
				     const struct memview_edit *edit)
{
	struct address_space *mapping = edit->file->f_mapping;

	return !(edit->flags & (MEMVIEW_MAP_ADOPT | MEMVIEW_MAP_EXEC)) &&
	       shmem_mapping(mapping) &&
	       !(current->mm->def_flags & VM_LOCKED) &&
	       !rwsem_is_locked(&mirror->mm->mmap_lock) &&
	       !rwsem_is_locked(&mapping->i_mmap_rwsem);
}

/* A segment that was not found, or that others have made meanwhile. To be used. */
static struct memview_segment *
memview_source_make(struct memview_mirror *mirror,
		    const struct memview_edit *edit, bool nowait)
{
	struct memview_segment_others others;
	struct memview_segment *segment;

	if (nowait) {
		if (!memview_segment_is_quick(mirror, edit) ||
		    !mutex_trylock(&mirror->make_lock))
			return ERR_PTR(-EAGAIN);
	} else if (mutex_lock_killable(&mirror->make_lock)) {
		return ERR_PTR(-EINTR);
	}
	segment = memview_segment_find(mirror, edit, &others);
	if (!segment)
		segment = memview_segment_new(mirror, edit, &others, nowait);
	mutex_unlock(&mirror->make_lock);
	return segment;
}

/**
 * memview_source_find - a segment that is there for a new range
 * @mirror: of the current process
 * @edit: what to map
 *
 * Return: it, not collected until memview_source_put(), or NULL
 */
struct memview_segment *memview_source_find(struct memview_mirror *mirror,
					    const struct memview_edit *edit)
{
	struct memview_segment_others others;

	return memview_segment_find(mirror, edit, &others);
}

/**
 * memview_source_get - the segment that a new range is to map
 * @mirror: of the current process
 * @segment: what memview_source_find() has found, or NULL: makes or adopts one
 * @edit: what to map
 * @nowait: -EAGAIN rather than wait for a lock, or for a file system
 *
 * It is not collected until memview_source_put().
 *
 * Context: no lock is held: to map a file can be made to wait for ever. Can be
 *	killed.
 * Return: a segment, or the error of mmap(2); -EMFILE, -EINTR, -EAGAIN; those of
 * memview_adopt_check()
 */
struct memview_segment *memview_source_get(struct memview_mirror *mirror,
					   struct memview_segment *segment,
					   const struct memview_edit *edit,
					   bool nowait)
{
	int err = 0;

	if (!segment) {
		segment = memview_source_make(mirror, edit, nowait);
		if (IS_ERR(segment))
			return segment;
	} else if (segment->adopted) {
		err = memview_segment_check_adopted(segment, edit, nowait);
	}
	if (!err && (edit->flags & MEMVIEW_MAP_EXEC))
		err = memview_segment_probe_exec(segment, nowait);
	if (err) {
		memview_segment_unuse(segment);
		return ERR_PTR(err);
	}
	return segment;
}

void memview_source_put(struct memview_segment *segment)
{
	memview_segment_unuse(segment);
}

/**
 * memview_attach_find - the view's newest attach, if it serves for a new range
 * @view: the view
 * @mirror: its controller's, which is the caller's
 * @edit: what to map
 *
 * The next range is likely to map the file where the one before did. Then neither
 * the source nor the attach need be looked up under their locks.
 *
 * Return: the attach, with a reference, or NULL
 */
struct memview_attach *memview_attach_find(struct memview *view,
					   struct memview_mirror *mirror,
					   const struct memview_edit *edit)
{
	struct memview_segment *segment;
	struct memview_attach *attach;

	/* Each span that is to be adopted is looked at. */
	if (edit->flags & MEMVIEW_MAP_ADOPT)
		return NULL;
	rcu_read_lock();
	attach = list_first_or_null_rcu(&view->attaches, struct memview_attach,
					view_node);
	/* RCU keeps it, and its segment, but not that one's files (6.12). */
	if (attach && !kref_get_unless_zero(&attach->ref))
		attach = NULL;
	rcu_read_unlock();
	if (!attach)
		return NULL;
	segment = attach->segment;
	if (segment->mirror == mirror &&
	    memview_segment_covers(segment, edit) &&
	    memview_segment_matches(segment, edit) &&
	    (!(edit->flags & MEMVIEW_MAP_EXEC) || READ_ONCE(segment->exec_ok)))
		return attach;
	memview_attach_put(attach);
	return NULL;
}

/* As one found without a lock, which may have lost its last range since. */
struct memview_attach *memview_attach_relist(struct memview *view,
					     struct memview_attach *attach)
{
	struct memview_attach *other;

	lockdep_assert_held(&view->ops_lock);

	if (!list_empty(&attach->view_node))
		return attach;
	list_for_each_entry(other, &view->attaches, view_node) {
		if (other->segment == attach->segment) {
			kref_get(&other->ref);
			memview_attach_put(attach);
			return other;
		}
	}
	spin_lock(&view->lock);
	list_add_rcu(&attach->view_node, &view->attaches);
	spin_unlock(&view->lock);
	return attach;
}

/* As good as memview_attach_get(), for who must not allocate then. */
struct memview_attach *memview_attach_alloc(struct memview *view,
					    struct memview_segment *segment)
{
	struct memview_attach *attach;
	bool found;

	/* As a rule it is there, from the range before. */
	spin_lock(&segment->lock);
	attach = list_first_entry_or_null(&segment->attaches,
					  struct memview_attach, segment_node);
	found = attach && attach->view == view;
	spin_unlock(&segment->lock);
	if (found)
		return NULL;
	return kzalloc(sizeof(*attach), GFP_KERNEL_ACCOUNT) ?:
	       ERR_PTR(-ENOMEM);
}

/**
 * memview_attach_get - what a new range is to be attached to
 * @view: its ops_lock is held
 * @segment: used by the caller
 * @spare: of memview_attach_alloc(), NULL or taken
 *
 * Finds or makes the view's attach to the segment.
 *
 * Return: an attach with a reference, or NULL without memory
 */
struct memview_attach *memview_attach_get(struct memview *view,
					  struct memview_segment *segment,
					  struct memview_attach **spare)
{
	struct memview_attach *attach;

	lockdep_assert_held(&view->ops_lock);

	list_for_each_entry(attach, &view->attaches, view_node) {
		if (attach->segment == segment) {
			kref_get(&attach->ref);
			return attach;
		}
	}

	/* It was there, and went before we had the lock: not often. */
	attach = *spare ?: kzalloc(sizeof(*attach),
				   GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN);
	*spare = NULL;
	if (!attach)
		return NULL;
	kref_init(&attach->ref);
	INIT_LIST_HEAD(&attach->view_node);
	attach->ranges = RB_ROOT_CACHED;
	memview_get(view);
	attach->view = view;
	memview_segment_use(segment);
	kref_get(&segment->ref);
	attach->segment = segment;
	spin_lock(&segment->lock);
	list_add(&attach->segment_node, &segment->attaches);
	spin_unlock(&segment->lock);
	/* Where the next edit of the same operation finds it. */
	spin_lock(&view->lock);
	list_add_rcu(&attach->view_node, &view->attaches);
	spin_unlock(&view->lock);
	return attach;
}

static void memview_attach_release(struct kref *ref)
{
	struct memview_attach *attach =
		container_of(ref, struct memview_attach, ref);
	struct memview_segment *segment = attach->segment;

	spin_lock(&segment->lock);
	list_del(&attach->segment_node);
	spin_unlock(&segment->lock);
	memview_put(attach->view);
	kfree_rcu(attach, rcu);
	memview_segment_unuse(segment);
	memview_segment_put(segment);
}

/* Sleeps in no case: an invalidation may have the last reference. */
void memview_attach_put(struct memview_attach *attach)
{
	kref_put(&attach->ref, memview_attach_release);
}

/* Drops what memview_attach_get() gave; what got no range leaves the view. */
void memview_attach_done(struct memview_attach *attach)
{
	lockdep_assert_held(&attach->view->lock);

	if (!attach->in_use)
		list_del_init(&attach->view_node);
	memview_attach_put(attach);
}

void memview_attach_put_list(struct list_head *idle)
{
	struct memview_attach *attach, *next;

	list_for_each_entry_safe(attach, next, idle, view_node) {
		list_del_init(&attach->view_node);
		attach->in_use = false;
		memview_attach_put(attach);
	}
}

void memview_mirror_get(struct memview_mirror *mirror)
{
	kref_get(&mirror->ref);
}

static void memview_mirror_release(struct kref *ref)
{
	struct memview_mirror *mirror =
		container_of(ref, struct memview_mirror, ref);
	struct memview_mm *space = mirror->space;

	spin_lock(&space->lock);
	if (space->mirror == mirror)
		space->mirror = NULL;
	spin_unlock(&space->lock);
	memview_mm_put(space);
	mmdrop(mirror->mm);
	kfree(mirror);
}

/* Sleeps in no case. */
void memview_mirror_put(struct memview_mirror *mirror)
{
	kref_put(&mirror->ref, memview_mirror_release);
}

/**
 * memview_mirror_add - make a view one of the controller's: it dies with it (R4)
 * @mirror: of the current process, so it does not end now
 * @view: has none; its ops_lock is held
 */
void memview_mirror_add(struct memview_mirror *mirror, struct memview *view)
{
	lockdep_assert_held(&view->ops_lock);

	memview_mirror_get(mirror);
	spin_lock(&mirror->lock);
	list_add(&view->mirror_node, &mirror->views);
	spin_unlock(&mirror->lock);
	/* Who looks without the lock finds all of the mirror. */
	smp_store_release(&view->mirror, mirror);
}

void memview_mirror_remove(struct memview_mirror *mirror, struct memview *view)
{
	spin_lock(&mirror->lock);
	list_del(&view->mirror_node);
	spin_unlock(&mirror->lock);
}

/* No segment is kept any more. Nothing is unmapped. */
static void memview_mirror_end(struct memview_mirror *mirror)
{
	struct memview_segment *segment;

	spin_lock(&mirror->lock);
	mirror->ended = true;
	spin_unlock(&mirror->lock);
	while ((segment = memview_mirror_take_idle(mirror, true)))
		memview_segment_put(segment);
}

static struct memview_mirror *memview_mirror_of(struct memview_mm *space)
{
	struct memview_mirror *mirror;

	spin_lock(&space->lock);
	mirror = space->mirror;
	if (mirror && !kref_get_unless_zero(&mirror->ref))
		mirror = NULL;
	spin_unlock(&space->lock);
	return mirror;
}

/**
 * memview_source_release - an address space ends
 * @space: which
 *
 * Its views are revoked, by work: here a notifier is being told.
 */
void memview_source_release(struct memview_mm *space)
{
	struct memview_mirror *mirror = memview_mirror_of(space);
	struct memview *view;

	if (!mirror)
		return;
	spin_lock(&mirror->lock);
	while (!list_empty(&mirror->views)) {
		view = list_first_entry(&mirror->views, struct memview,
					mirror_node);
		list_move_tail(&view->mirror_node, &mirror->orphans);
		memview_revoke_later(view);
		cond_resched_lock(&mirror->lock);
	}
	spin_unlock(&mirror->lock);
	memview_mirror_end(mirror);
	memview_mirror_put(mirror);
}

/* The mirror of this process's address space, with a reference, or NULL. */
struct memview_mirror *memview_mirror_find_current(void)
{
	struct memview_mm *space = memview_mm_find(current->mm);
	struct memview_mirror *mirror;

	if (!space)
		return NULL;
	mirror = memview_mirror_of(space);
	memview_mm_put(space);
	return mirror;
}

/**
 * memview_mirror_get_current - the mirror of this process's address space
 * @nowait: -EAGAIN rather than make one
 *
 * Context: no lock is held; can be killed.
 * Return: it, with a reference, or -ENOMEM, -EINTR, -ERESTARTNOINTR, -EAGAIN
 */
struct memview_mirror *memview_mirror_get_current(bool nowait)
{
	struct memview_mirror *mirror, *found;
	struct memview_mm *space;

	found = memview_mirror_find_current();
	if (found)
		return found;
	if (nowait)
		return ERR_PTR(-EAGAIN);
	space = memview_mm_control();
	if (IS_ERR(space))
		return ERR_CAST(space);

	mirror = kzalloc(sizeof(*mirror), GFP_KERNEL_ACCOUNT);
	if (!mirror) {
		memview_mm_put(space);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&mirror->ref);
	mmgrab(current->mm);
	mirror->mm = current->mm;
	mirror->space = space;
	mutex_init(&mirror->make_lock);
	spin_lock_init(&mirror->lock);
	INIT_LIST_HEAD(&mirror->idle);
	INIT_LIST_HEAD(&mirror->views);
	INIT_LIST_HEAD(&mirror->orphans);

	spin_lock(&space->lock);
	found = space->mirror;
	if (!found || !kref_get_unless_zero(&found->ref)) {
		/* One that is on its way out does not look back. */
		space->mirror = mirror;
		found = NULL;
	}
	spin_unlock(&space->lock);
	if (found) {
		memview_mirror_put(mirror);
		return found;
	}
	return mirror;
}

/*
 * The module goes. No view is left; what is idle stays mapped where it is, as the
 * plain mapping of a file that it is.
 */
void memview_source_exit(void)
{
	struct memview_mirror *mirror;
	struct memview_mm *space;

	flush_workqueue(memview_wq);
	while ((space = memview_mm_any())) {
		mirror = memview_mirror_of(space);
		if (mirror) {
			memview_mirror_end(mirror);
			memview_mirror_put(mirror);
		}
		memview_mm_put(space);
		/* An invalidation may be at it. */
		schedule_timeout_uninterruptible(1);
	}
}
