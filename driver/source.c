// SPDX-License-Identifier: GPL-2.0
/*
 * Sources: the mirrors of files in the controller's address space.
 *
 * A source is all segments with the same mirror, file and writability. A
 * segment is one mapping that the driver makes in the controller, like KVM its
 * internal memory slots, or adopts, like KVM those of user space, and an
 * interval notifier on it. Views map files only through segments, so a page is
 * in a peer only while it is in the segment's page table (R3): nothing is
 * pinned, and every check of mmap(2) has been made.
 *
 * The mapping is in the controller's hands, who may unmap it or put something
 * else there. Faults believe in a segment only after memview_segment_vma() has
 * looked, under the controller's mmap_lock. That is why nothing else need be
 * done for a mapping that is the controller's own.
 */

#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/kthread.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "memview.h"
#include "trace.h"

/*
 * Segments of ordinary files cover aligned blocks of this size: address space
 * costs nothing, and many ranges need few segments.
 */
#define MEMVIEW_SEGMENT_PAGES	(SZ_1G >> PAGE_SHIFT)

/* Time for an idle segment to be used again, for one that is re-mapped. */
#define MEMVIEW_GC_DELAY	(HZ / 10)

/* Spans of one view that an invalidation zaps one by one. */
#define MEMVIEW_ZAP_SPANS	8

static LIST_HEAD(memview_mirrors);
static DEFINE_SPINLOCK(memview_mirrors_lock);

static LLIST_HEAD(memview_dead_attaches);

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

/* Even unmapping needs memory; without it the mapping would stay for ever. */
static void memview_munmap(unsigned long addr, unsigned long len)
{
	int tries = 8;

	while (vm_munmap(addr, len) == -ENOMEM && --tries)
		schedule_timeout_killable(1);
}

static bool memview_segment_idle(struct memview_segment *segment)
{
	bool idle;

	lockdep_assert_held(&segment->mirror->lock);

	spin_lock(&segment->lock);
	idle = list_empty(&segment->attaches);
	spin_unlock(&segment->lock);
	return idle;
}

static void memview_segment_release(struct kref *ref)
{
	struct memview_segment *segment =
		container_of(ref, struct memview_segment, ref);

	fput(segment->vm_file);
	fput(segment->file);
	memview_mirror_put(segment->mirror);
	kfree_rcu(segment, rcu);
}

/* May be called in a fault: nothing that it frees sleeps. */
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

/*
 * Something was unmapped from a suspect segment. That alone says little: on 6.1
 * each hole punched in a hugetlb file raises MMU_NOTIFY_UNMAP. It comes back
 * only as a whole: a part of a view or of anything else in its place must not
 * be below a live segment, see memview_segment_invalidate().
 */
static bool memview_segment_revive(struct memview_segment *segment)
{
	enum memview_segment_state state;

	lockdep_assert_held(&segment->mirror->mm->mmap_lock);

	if (READ_ONCE(segment->state) == MEMVIEW_SEGMENT_LIVE)
		return true;

	state = memview_segment_intact(segment) ? MEMVIEW_SEGMENT_LIVE :
						  MEMVIEW_SEGMENT_DEAD;
	spin_lock(&segment->lock);
	if (segment->state == MEMVIEW_SEGMENT_SUSPECT) {
		WRITE_ONCE(segment->state, state);
		if (state == MEMVIEW_SEGMENT_LIVE) {
			segment->revivals++;
			segment->quiet = false;
		}
	}
	state = segment->state;
	spin_unlock(&segment->lock);
	return state == MEMVIEW_SEGMENT_LIVE;
}

/**
 * memview_segment_vma - the VMA of a segment, if it can be believed
 * @segment: the segment
 * @addr: address in it
 *
 * Context: the controller's mmap_lock is held; the answer holds until it is
 * dropped.
 * Return: the VMA, which may be a part of what the segment was made with, or
 * NULL when the controller has tampered with it
 */
struct vm_area_struct *
memview_segment_vma(struct memview_segment *segment, unsigned long addr)
{
	struct vm_area_struct *vma;

	if (!memview_segment_revive(segment))
		return NULL;
	vma = find_vma(segment->mirror->mm, addr);
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
 * A controller can unmap its segment and map a view of it there, which would
 * make zap -> notifier -> zap without end. Two things end it. A segment is
 * SUSPECT from the munmap(2) on, and quiet once a zap of all of it has finished,
 * which for an munmap(2) is before the address range can be used again; then
 * there is nothing left to do. And where this very task is zapping the segment
 * already, what is below it is not the segment's mapping but one that took its
 * place, from which no peer has anything. Another task's zap is never a reason
 * to return early: its page may be freed later than ours.
 */
static bool memview_segment_invalidate(struct mmu_interval_notifier *notifier,
				       const struct mmu_notifier_range *range,
				       unsigned long cur_seq)
{
	struct memview_segment *segment =
		container_of(notifier, struct memview_segment, notifier);
	struct memview_zapper zapper = { .task = current };
	struct memview_attach *attach = NULL;
	pgoff_t first = segment->first;
	pgoff_t last = segment->last;
	unsigned long end = segment->start + memview_segment_len(segment);
	unsigned long revivals;
	bool whole;

	/* Zapping sleeps. The OOM reaper tries again, or leaves it to exit. */
	if (!mmu_notifier_range_blockable(range))
		return false;

	trace_memview_invalidate(segment, range);

	whole = range->event == MMU_NOTIFY_UNMAP ||
		range->event == MMU_NOTIFY_RELEASE;
	if (!whole) {
		if (range->start > segment->start)
			first += (range->start - segment->start) >> PAGE_SHIFT;
		if (range->end < end)
			last -= (end - range->end) >> PAGE_SHIFT;
	}

	spin_lock(&segment->lock);
	mmu_interval_set_seq(notifier, cur_seq);
	if (segment->state != MEMVIEW_SEGMENT_LIVE && segment->quiet)
		goto out_unlock;
	if (whole && segment->state == MEMVIEW_SEGMENT_LIVE)
		WRITE_ONCE(segment->state, MEMVIEW_SEGMENT_SUSPECT);
	if (memview_segment_zapping(segment, current))
		goto out_unlock;
	revivals = segment->revivals;
	list_add(&zapper.node, &segment->zappers);
	spin_unlock(&segment->lock);

	while ((attach = memview_segment_next_attach(segment, attach)))
		memview_attach_zap(attach, first, last);

	spin_lock(&segment->lock);
	list_del(&zapper.node);
	if (whole && segment->state != MEMVIEW_SEGMENT_LIVE &&
	    segment->revivals == revivals)
		segment->quiet = true;
out_unlock:
	spin_unlock(&segment->lock);
	return true;
}

static const struct mmu_interval_notifier_ops memview_segment_ops = {
	.invalidate = memview_segment_invalidate,
};

/*
 * Is @page of the file what is mapped at @addr, shared? File systems on top of
 * others have the file below in the VMA; one that has yet another cannot be told
 * from that.
 */
static bool memview_vma_shows(struct vm_area_struct *vma, unsigned long addr,
			      struct file *file, pgoff_t page)
{
	if (!vma || vma->vm_start > addr || !vma->vm_file ||
	    !(vma->vm_flags & VM_MAYSHARE) ||
	    memview_vma_page(vma, addr) != page)
		return false;
	return vma->vm_file == file ||
	       file_inode(vma->vm_file) == d_real_inode(file->f_path.dentry);
}

/* Can a mapping of that kind be mirrored? */
static bool memview_vma_is_fit(struct vm_area_struct *vma)
{
	return !(vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP)) &&
	       !IS_DAX(file_inode(vma->vm_file));
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
	ours = memview_vma_shows(vma, segment->start, segment->file,
				 segment->first);
	if (!ours || !memview_vma_is_fit(vma)) {
		err = -ENODEV;
	} else if (vma->vm_start != segment->start ||
		   vma->vm_end != segment->start + len) {
		err = -EAGAIN;
	} else {
		segment->vm_file = get_file(vma->vm_file);
		vm_flags_set(vma, VM_DONTCOPY | VM_DONTDUMP);
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

static int memview_adopt_check_vma(const struct memview_edit *edit,
				   struct vm_area_struct *vma,
				   unsigned long addr)
{
	pgoff_t page = edit->file_first + ((addr - edit->addr) >> PAGE_SHIFT);

	if (!vma || vma->vm_start > addr)
		return -EFAULT;
	if (!memview_vma_shows(vma, addr, edit->file, page))
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
 * @mm: the controller's
 * @edit: what to map
 * @nowait: -EAGAIN rather than wait for the mmap_lock
 * @segment: gets vm_file, start, first and last of it, or NULL. All of the VMAs
 *	and not only the span, so that the ranges to come find it, too.
 *
 * Return: 0, -EFAULT, -EINVAL, -ENODEV, -EACCES as for MEMVIEW_MAP_FD; -EAGAIN
 */
static int memview_adopt_check(struct mm_struct *mm,
			       const struct memview_edit *edit, bool nowait,
			       struct memview_segment *segment)
{
	unsigned long len = (edit->last - edit->first + 1) << PAGE_SHIFT;
	struct file *vm_file = NULL;
	struct vm_area_struct *vma;
	unsigned long addr, end;
	int err = 0;

	if (edit->addr >= mm->task_size || len > mm->task_size - edit->addr)
		return -EFAULT;
	end = edit->addr + len;

	if (!nowait)
		mmap_read_lock(mm);
	else if (!mmap_read_trylock(mm))
		return -EAGAIN;
	for (addr = edit->addr; addr < end; addr = vma->vm_end) {
		vma = find_vma(mm, addr);
		err = memview_adopt_check_vma(edit, vma, addr);
		if (err)
			break;
		if (!vm_file) {
			vm_file = vma->vm_file;
			if (segment) {
				segment->start = vma->vm_start;
				segment->first = vma->vm_pgoff;
			}
		} else if (vma->vm_file != vm_file) {
			err = -EINVAL;
			break;
		}
		if (segment)
			segment->last = memview_vma_page(vma, vma->vm_end) - 1;
	}
	if (!err && segment)
		segment->vm_file = get_file(vm_file);
	mmap_read_unlock(mm);
	return err;
}

/*
 * mmap(2) asks LSMs and IMA, and about noexec mounts, and knows what files
 * cannot be mapped: let it.
 */
static int memview_file_probe(struct file *file, pgoff_t page,
			      unsigned long prot)
{
	unsigned long len = PAGE_SIZE;
	unsigned long addr;

	if (memview_file_is_hugetlb(file))
		len = 1UL << file_inode(file)->i_blkbits;
	addr = vm_mmap(file, 0, len, prot, MAP_SHARED | MAP_NORESERVE,
		       round_down((u64)page << PAGE_SHIFT, len));
	if (IS_ERR_VALUE(addr))
		return memview_mmap_error((long)addr);
	memview_munmap(addr, len);
	return 0;
}

/* Makes a segment of the controller's own mapping. */
static int memview_segment_adopt(struct memview_segment *segment,
				 const struct memview_edit *edit)
{
	unsigned long prot = PROT_READ | (segment->writable ? PROT_WRITE : 0);
	int err;

	/* It may have been mapped by another open file, with other rights. */
	err = memview_file_probe(edit->file, edit->file_first, prot);
	if (err)
		return err;
	return memview_adopt_check(segment->mirror->mm, edit, false,
				   segment);
}

/* Unmaps what memview_segment_mmap() mapped, if it is still that. */
static void memview_segment_munmap(struct memview_segment *segment)
{
	struct mm_struct *mm = segment->mirror->mm;
	bool foreign = current->mm != mm;
	bool intact;

	if (segment->adopted ||
	    READ_ONCE(segment->state) == MEMVIEW_SEGMENT_DEAD ||
	    !mmget_not_zero(mm))
		return;
	mmap_read_lock(mm);
	intact = memview_segment_intact(segment);
	mmap_read_unlock(mm);
	if (intact) {
		if (foreign)
			kthread_use_mm(mm);
		memview_munmap(segment->start, memview_segment_len(segment));
		if (foreign)
			kthread_unuse_mm(mm);
	}
	mmput_async(mm);
}

/* The end of a segment without attaches that has left its mirror's list. */
static void memview_segment_destroy(struct memview_segment *segment)
{
	mmu_interval_notifier_remove(&segment->notifier);
	memview_segment_munmap(segment);
	memview_segment_put(segment);
}

/* @first and @last: of the file; not for what is adopted. */
static struct memview_segment *
memview_segment_create(struct memview_mirror *mirror,
		       const struct memview_edit *edit,
		       pgoff_t first, pgoff_t last)
{
	struct memview_segment *segment;
	bool live;
	int err;

	segment = kzalloc(sizeof(*segment), GFP_KERNEL_ACCOUNT);
	if (!segment)
		return ERR_PTR(-ENOMEM);
	kref_init(&segment->ref);
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
	if (err)
		goto err_free;
	err = mmu_interval_notifier_insert(&segment->notifier, mirror->mm,
					   segment->start,
					   memview_segment_len(segment),
					   &memview_segment_ops);
	if (err)
		goto err_munmap;
	memview_mirror_get(mirror);
	get_file(segment->file);

	/* Only what happens from here on reaches the notifier. */
	mmap_read_lock(mirror->mm);
	live = memview_segment_intact(segment);
	mmap_read_unlock(mirror->mm);
	if (!live) {
		segment->state = MEMVIEW_SEGMENT_DEAD;
		err = segment->adopted ? -EFAULT : -ENOMEM;
		memview_segment_destroy(segment);
		return ERR_PTR(err);
	}
	return segment;

err_munmap:
	memview_segment_munmap(segment);
	fput(segment->vm_file);
err_free:
	kfree(segment);
	return ERR_PTR(err);
}

/*
 * The span of the file that a new segment should cover. Not for hugetlb beyond
 * the end of the file, where a writable mmap(2) would extend it, and not with
 * mlockall(MCL_FUTURE), which would allocate all of it.
 */
static void memview_segment_span(struct file *file, pgoff_t *first,
				 pgoff_t *last)
{
	struct inode *inode = file_inode(file);
	unsigned long block = MEMVIEW_SEGMENT_PAGES;
	pgoff_t limit = MAX_LFS_FILESIZE >> PAGE_SHIFT;

	if (memview_file_is_hugetlb(file)) {
		block = max(block, 1UL << (inode->i_blkbits - PAGE_SHIFT));
		limit = i_size_read(inode) >> PAGE_SHIFT;
		if (!limit--)
			limit = 0;
	} else if (current->mm->def_flags & VM_LOCKED) {
		return;
	}
	*first = round_down(*first, block);
	*last = min(round_up(*last + 1, block) - 1, limit);
}

/*
 * What is adopted is for those who ask for it: the others would lose their
 * memory by what the controller does to a mapping that they have not named.
 */
static bool memview_segment_matches(struct memview_segment *segment,
				    const struct memview_edit *edit)
{
	const fmode_t mode = FMODE_READ | FMODE_WRITE;
	pgoff_t last = edit->file_first + (edit->last - edit->first);
	bool writable = edit->flags & MEMVIEW_MAP_WRITE;
	bool adopted = edit->flags & MEMVIEW_MAP_ADOPT;
	struct file *file = edit->file;

	return segment->first <= edit->file_first && segment->last >= last &&
	       file_inode(segment->file) == file_inode(file) &&
	       segment->file->f_path.mnt == file->f_path.mnt &&
	       (segment->file->f_mode & mode) == (file->f_mode & mode) &&
	       segment->writable == writable && segment->adopted == adopted &&
	       (!adopted || edit->addr ==
		memview_segment_addr(segment, edit->file_first));
}

/*
 * May new ranges map it? One from which nothing has been unmapped may; what the
 * controller does to it from now on is for memview_fault_resolve() to see.
 *
 * Return: whether they may, or -EAGAIN
 */
static int memview_segment_usable(struct memview_segment *segment, bool nowait)
{
	struct mm_struct *mm = segment->mirror->mm;
	bool usable;

	if (READ_ONCE(segment->state) == MEMVIEW_SEGMENT_LIVE)
		return true;
	if (nowait)
		return -EAGAIN;
	mmap_read_lock(mm);
	usable = memview_segment_revive(segment);
	mmap_read_unlock(mm);
	return usable;
}

/*
 * A live segment of the mirror that serves for what is to be mapped, or NULL; or
 * -EAGAIN.
 */
static struct memview_segment *
memview_segment_find(struct memview_mirror *mirror,
		     const struct memview_edit *edit, bool nowait)
{
	struct memview_segment *segment;
	int usable;

	lockdep_assert_held(&mirror->lock);

	list_for_each_entry(segment, &mirror->segments, node) {
		if (!memview_segment_matches(segment, edit))
			continue;
		usable = memview_segment_usable(segment, nowait);
		if (usable < 0)
			return ERR_PTR(usable);
		if (usable) {
			list_move(&segment->node, &mirror->segments);
			return segment;
		}
	}
	return NULL;
}

static int memview_segment_probe_exec(struct memview_segment *segment,
				      bool nowait)
{
	int err;

	if (segment->exec_ok)
		return 0;
	if (nowait)
		return -EAGAIN;
	err = memview_file_probe(segment->file, segment->first,
				 PROT_READ | PROT_EXEC);
	if (!err)
		segment->exec_ok = true;
	return err;
}

/* Moves the idle segments of a mirror to @list, for good. */
static void memview_mirror_collect(struct memview_mirror *mirror,
				   struct list_head *list)
{
	struct memview_segment *segment, *next;

	lockdep_assert_held(&mirror->lock);

	list_for_each_entry_safe(segment, next, &mirror->segments, node) {
		if (!memview_segment_idle(segment))
			continue;
		list_move(&segment->node, list);
		mirror->nr_segments--;
	}
}

static void memview_segment_destroy_list(struct list_head *list)
{
	struct memview_segment *segment, *next;

	list_for_each_entry_safe(segment, next, list, node)
		memview_segment_destroy(segment);
}

static void memview_mirror_queue_gc(struct memview_mirror *mirror)
{
	memview_mirror_get(mirror);
	if (!queue_delayed_work(memview_wq, &mirror->gc, MEMVIEW_GC_DELAY))
		memview_mirror_put(mirror);
}

/* Ends what memview_attach_put() could not, in an invalidation. */
static void memview_attach_reap(struct work_struct *work)
{
	struct llist_node *list = llist_del_all(&memview_dead_attaches);
	struct memview_attach *attach, *next;

	llist_for_each_entry_safe(attach, next, list, reap_node) {
		struct memview_segment *segment = attach->segment;

		spin_lock(&segment->lock);
		list_del(&attach->segment_node);
		spin_unlock(&segment->lock);
		memview_put(attach->view);
		kfree_rcu(attach, rcu);
		memview_mirror_queue_gc(segment->mirror);
		memview_segment_put(segment);
	}
}

static DECLARE_WORK(memview_attach_reap_work, memview_attach_reap);

/* A segment of ours, for the span and what is around it. */
static struct memview_segment *
memview_segment_make(struct memview_mirror *mirror,
		     const struct memview_edit *edit)
{
	pgoff_t first = edit->file_first;
	pgoff_t last = first + (edit->last - edit->first);
	pgoff_t wide_first = first, wide_last = last;
	struct memview_segment *segment;

	memview_segment_span(edit->file, &wide_first, &wide_last);
	/* A hugetlb file that has shrunk since memview_file_check(). */
	if (wide_first > first || wide_last < last)
		return ERR_PTR(-EINVAL);
	segment = memview_segment_create(mirror, edit, wide_first, wide_last);
	/* That is for what is around it: all of a file ends before 2^63. */
	if ((segment == ERR_PTR(-ENOMEM) || segment == ERR_PTR(-EOVERFLOW)) &&
	    !memview_file_is_hugetlb(edit->file) &&
	    (wide_first != first || wide_last != last))
		/* RLIMIT_AS, perhaps: no more than is needed. */
		segment = memview_segment_create(mirror, edit, first, last);
	return segment;
}

static struct memview_segment *
memview_segment_get(struct memview_mirror *mirror,
		    const struct memview_edit *edit, bool nowait)
{
	struct memview_segment *segment;
	LIST_HEAD(idle);
	int err;

	if (edit->flags & MEMVIEW_MAP_ADOPT) {
		err = memview_adopt_check(mirror->mm, edit, nowait, NULL);
		if (err)
			return ERR_PTR(err);
	}
	segment = memview_segment_find(mirror, edit, nowait);
	if (segment)
		return segment;
	if (nowait)
		return ERR_PTR(-EAGAIN);

	if (mirror->nr_segments >= READ_ONCE(memview_max_sources)) {
		/* What the last operation left idle may not be in the list. */
		flush_work(&memview_attach_reap_work);
		memview_mirror_collect(mirror, &idle);
		memview_segment_destroy_list(&idle);
		if (mirror->nr_segments >= READ_ONCE(memview_max_sources))
			return ERR_PTR(-EMFILE);
	}

	if (edit->flags & MEMVIEW_MAP_ADOPT)
		segment = memview_segment_create(mirror, edit, 0, 0);
	else
		segment = memview_segment_make(mirror, edit);
	if (IS_ERR(segment))
		return segment;
	list_add(&segment->node, &mirror->segments);
	mirror->nr_segments++;
	return segment;
}

/**
 * memview_attach_get - what a new range is to be attached to
 * @mirror: of the current process
 * @view: its ops_lock is held
 * @edit: what to map
 * @nowait: -EAGAIN rather than wait for a lock, or make a mapping
 *
 * Finds, makes or adopts the segment, and finds or makes the view's attach to
 * it.
 *
 * Return: an attach with a reference, or the error of mmap(2); -EMFILE,
 * -EINTR, -EAGAIN; those of memview_adopt_check()
 */
struct memview_attach *memview_attach_get(struct memview_mirror *mirror,
					  struct memview *view,
					  const struct memview_edit *edit,
					  bool nowait)
{
	struct memview_segment *segment;
	struct memview_attach *attach;
	int err;

	lockdep_assert_held(&view->ops_lock);

	if (!nowait)
		mutex_lock(&mirror->lock);
	else if (!mutex_trylock(&mirror->lock))
		return ERR_PTR(-EAGAIN);
	segment = memview_segment_get(mirror, edit, nowait);
	if (IS_ERR(segment)) {
		mutex_unlock(&mirror->lock);
		return ERR_CAST(segment);
	}
	if (edit->flags & MEMVIEW_MAP_EXEC) {
		err = memview_segment_probe_exec(segment, nowait);
		if (err)
			goto err_unlock;
	}

	list_for_each_entry(attach, &view->attaches, view_node) {
		if (attach->segment == segment) {
			kref_get(&attach->ref);
			goto out_unlock;
		}
	}

	attach = kzalloc(sizeof(*attach), GFP_KERNEL_ACCOUNT);
	if (!attach) {
		err = -ENOMEM;
		goto err_unlock;
	}
	kref_init(&attach->ref);
	INIT_LIST_HEAD(&attach->view_node);
	attach->ranges = RB_ROOT_CACHED;
	memview_get(view);
	attach->view = view;
	kref_get(&segment->ref);
	attach->segment = segment;
	spin_lock(&segment->lock);
	list_add(&attach->segment_node, &segment->attaches);
	spin_unlock(&segment->lock);
	/* Where the next edit of the same operation finds it. */
	spin_lock(&view->lock);
	list_add(&attach->view_node, &view->attaches);
	spin_unlock(&view->lock);
out_unlock:
	mutex_unlock(&mirror->lock);
	return attach;

err_unlock:
	if (memview_segment_idle(segment))
		memview_mirror_queue_gc(mirror);
	mutex_unlock(&mirror->lock);
	return ERR_PTR(err);
}

static void memview_attach_release(struct kref *ref)
{
	struct memview_attach *attach =
		container_of(ref, struct memview_attach, ref);

	llist_add(&attach->reap_node, &memview_dead_attaches);
	queue_work(memview_wq, &memview_attach_reap_work);
}

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

static void memview_mirror_gc(struct work_struct *work)
{
	struct memview_mirror *mirror =
		container_of(work, struct memview_mirror, gc.work);
	LIST_HEAD(idle);

	mutex_lock(&mirror->lock);
	memview_mirror_collect(mirror, &idle);
	mutex_unlock(&mirror->lock);
	memview_segment_destroy_list(&idle);
	memview_mirror_put(mirror);
}

void memview_mirror_get(struct memview_mirror *mirror)
{
	kref_get(&mirror->ref);
}

static void memview_mirror_free(struct work_struct *work)
{
	struct memview_mirror *mirror =
		container_of(work, struct memview_mirror, free_work);

	mmu_interval_notifier_remove(&mirror->notifier);
	mmdrop(mirror->mm);
	kfree(mirror);
}

static void memview_mirror_release(struct kref *ref)
	__releases(&memview_mirrors_lock)
{
	struct memview_mirror *mirror =
		container_of(ref, struct memview_mirror, ref);

	list_del(&mirror->node);
	spin_unlock(&memview_mirrors_lock);
	queue_work(memview_wq, &mirror->free_work);
}

void memview_mirror_put(struct memview_mirror *mirror)
{
	kref_put_lock(&mirror->ref, memview_mirror_release,
		      &memview_mirrors_lock);
}

/* Makes @view one of the controller's: it dies with it (R4). */
void memview_mirror_add(struct memview_mirror *mirror, struct memview *view)
{
	lockdep_assert_held(&view->ops_lock);

	/* memview_populate() looks without the lock. */
	smp_store_release(&view->mirror, mirror);
	spin_lock(&mirror->views_lock);
	list_add(&view->mirror_node, &mirror->views);
	spin_unlock(&mirror->views_lock);
}

void memview_mirror_remove(struct memview_mirror *mirror, struct memview *view)
{
	spin_lock(&mirror->views_lock);
	list_del(&view->mirror_node);
	spin_unlock(&mirror->views_lock);
}

static bool memview_mirror_invalidate(struct mmu_interval_notifier *notifier,
				      const struct mmu_notifier_range *range,
				      unsigned long cur_seq)
{
	struct memview_mirror *mirror =
		container_of(notifier, struct memview_mirror, notifier);
	struct memview *view;

	spin_lock(&mirror->views_lock);
	mmu_interval_set_seq(notifier, cur_seq);
	if (range->event == MMU_NOTIFY_RELEASE)
		list_for_each_entry(view, &mirror->views, mirror_node)
			memview_revoke_later(view);
	spin_unlock(&mirror->views_lock);
	return true;
}

static const struct mmu_interval_notifier_ops memview_mirror_ops = {
	.invalidate = memview_mirror_invalidate,
};

static struct memview_mirror *memview_mirror_find(struct mm_struct *mm)
{
	struct memview_mirror *mirror;

	lockdep_assert_held(&memview_mirrors_lock);

	list_for_each_entry(mirror, &memview_mirrors, node) {
		if (mirror->mm == mm) {
			memview_mirror_get(mirror);
			return mirror;
		}
	}
	return NULL;
}

/**
 * memview_mirror_get_current - the mirror of this process's address space
 * @nowait: -EAGAIN rather than make one
 *
 * Return: it, with a reference, or -ENOMEM, -EINTR, or -EAGAIN
 */
struct memview_mirror *memview_mirror_get_current(bool nowait)
{
	struct memview_mirror *mirror, *found;
	int err;

	spin_lock(&memview_mirrors_lock);
	found = memview_mirror_find(current->mm);
	spin_unlock(&memview_mirrors_lock);
	if (found)
		return found;
	/* Its notifier takes the mmap_lock, and all locks of the mappings. */
	if (nowait)
		return ERR_PTR(-EAGAIN);

	mirror = kzalloc(sizeof(*mirror), GFP_KERNEL_ACCOUNT);
	if (!mirror)
		return ERR_PTR(-ENOMEM);
	kref_init(&mirror->ref);
	mirror->mm = current->mm;
	mutex_init(&mirror->lock);
	INIT_LIST_HEAD(&mirror->segments);
	spin_lock_init(&mirror->views_lock);
	INIT_LIST_HEAD(&mirror->views);
	INIT_DELAYED_WORK(&mirror->gc, memview_mirror_gc);
	INIT_WORK(&mirror->free_work, memview_mirror_free);

	err = mmu_interval_notifier_insert(&mirror->notifier, mirror->mm, 0,
					   PAGE_SIZE, &memview_mirror_ops);
	if (err) {
		kfree(mirror);
		return ERR_PTR(err);
	}
	mmgrab(mirror->mm);

	spin_lock(&memview_mirrors_lock);
	found = memview_mirror_find(mirror->mm);
	if (!found)
		list_add(&mirror->node, &memview_mirrors);
	spin_unlock(&memview_mirrors_lock);

	if (found) {
		memview_mirror_free(&mirror->free_work);
		return found;
	}
	return mirror;
}

static struct memview_mirror *memview_mirror_any(void)
{
	struct memview_mirror *mirror;

	spin_lock(&memview_mirrors_lock);
	mirror = list_first_entry_or_null(&memview_mirrors,
					  struct memview_mirror, node);
	if (mirror)
		memview_mirror_get(mirror);
	spin_unlock(&memview_mirrors_lock);
	return mirror;
}

/**
 * memview_source_drop_idle - take down the idle sources of the controller, now
 * @view: a view of the controller's, who calls
 *
 * Return: 0, -EIO from another address space, or -EINTR
 */
int memview_source_drop_idle(struct memview *view)
{
	struct memview_mirror *mirror;
	LIST_HEAD(idle);

	if (mutex_lock_killable(&view->ops_lock))
		return -EINTR;
	mirror = view->mirror;
	if (mirror)
		memview_mirror_get(mirror);
	mutex_unlock(&view->ops_lock);
	if (!mirror)
		return 0;
	if (mirror->mm != current->mm) {
		memview_mirror_put(mirror);
		return -EIO;
	}
	/* What the last operation left idle may not be in the list. */
	flush_work(&memview_attach_reap_work);
	mutex_lock(&mirror->lock);
	memview_mirror_collect(mirror, &idle);
	mutex_unlock(&mirror->lock);
	memview_segment_destroy_list(&idle);
	memview_mirror_put(mirror);
	return 0;
}

/* No view is left: collect what is idle now, not when its time has come. */
void memview_source_exit(void)
{
	struct memview_mirror *mirror;

	flush_workqueue(memview_wq);
	while ((mirror = memview_mirror_any())) {
		flush_delayed_work(&mirror->gc);
		memview_mirror_put(mirror);
	}
}
