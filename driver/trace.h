/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM memory_view

#if !defined(_MEMVIEW_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _MEMVIEW_TRACE_H

#include <linux/tracepoint.h>
#include "memview.h"

#define memview_show_flags(flags)					\
	__print_flags(flags, "|",					\
		      { MEMVIEW_MAP_READ, "READ" },			\
		      { MEMVIEW_MAP_WRITE, "WRITE" },			\
		      { MEMVIEW_MAP_EXEC, "EXEC" },			\
		      { MEMVIEW_MAP_REPLACE, "REPLACE" },		\
		      { MEMVIEW_MAP_LAZY_WRITE, "LAZY_WRITE" },		\
		      { MEMVIEW_MAP_ADOPT, "ADOPT" },			\
		      { MEMVIEW_MAP_NO_ALLOC, "NO_ALLOC" })

#define memview_fault_result(name)					\
	{ (__force unsigned long)VM_FAULT_##name, #name }

#define memview_show_result(result)					\
	__print_flags(result, "|",					\
		      memview_fault_result(OOM),			\
		      memview_fault_result(SIGBUS),			\
		      memview_fault_result(SIGSEGV),			\
		      memview_fault_result(HWPOISON),			\
		      memview_fault_result(NOPAGE),			\
		      memview_fault_result(RETRY))

/* The inode number names the view in all events, in fstat and in maps. */

TRACE_EVENT(memview_map,
	TP_PROTO(const struct memview *view, const struct memview_table_op *op),
	TP_ARGS(view, op),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__field(pgoff_t, first)
		__field(pgoff_t, last)
		__field(pgoff_t, file_first)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->ino = view->inode->i_ino;
		__entry->first = op->first;
		__entry->last = op->last;
		__entry->file_first = op->file_first;
		__entry->flags = op->flags;
	),
	TP_printk("view=%lu pages=%lu-%lu file_page=%lu flags=%s",
		  __entry->ino, __entry->first, __entry->last,
		  __entry->file_first, memview_show_flags(__entry->flags))
);

TRACE_EVENT(memview_unmap,
	TP_PROTO(const struct memview *view, pgoff_t first, pgoff_t last,
		 u64 removed),
	TP_ARGS(view, first, last, removed),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__field(pgoff_t, first)
		__field(pgoff_t, last)
		__field(u64, removed)
	),
	TP_fast_assign(
		__entry->ino = view->inode->i_ino;
		__entry->first = first;
		__entry->last = last;
		__entry->removed = removed;
	),
	TP_printk("view=%lu pages=%lu-%lu removed=%llu",
		  __entry->ino, __entry->first, __entry->last,
		  __entry->removed)
);

TRACE_EVENT(memview_protect,
	TP_PROTO(const struct memview *view, pgoff_t first, pgoff_t last,
		 u32 flags),
	TP_ARGS(view, first, last, flags),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__field(pgoff_t, first)
		__field(pgoff_t, last)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->ino = view->inode->i_ino;
		__entry->first = first;
		__entry->last = last;
		__entry->flags = flags;
	),
	TP_printk("view=%lu pages=%lu-%lu flags=%s",
		  __entry->ino, __entry->first, __entry->last,
		  memview_show_flags(__entry->flags))
);

TRACE_EVENT(memview_fault,
	TP_PROTO(const struct memview *view, const struct vm_fault *vmf,
		 unsigned int window, unsigned int result),
	TP_ARGS(view, vmf, window, result),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
		__field(unsigned long, address)
		__field(pgoff_t, page)
		__field(unsigned int, flags)
		__field(unsigned int, window)
		__field(unsigned int, result)
	),
	TP_fast_assign(
		__entry->ino = view->inode->i_ino;
		__entry->address = vmf->address;
		__entry->page = vmf->pgoff;
		__entry->flags = vmf->flags;
		__entry->window = window;
		__entry->result = result;
	),
	TP_printk("view=%lu address=%#lx page=%lu flags=%s window=%u result=%s",
		  __entry->ino, __entry->address, __entry->page,
		  __print_flags(__entry->flags, "|", FAULT_FLAG_TRACE),
		  __entry->window,
		  memview_show_result(__entry->result))
);

TRACE_EVENT(memview_invalidate,
	TP_PROTO(const struct memview_source *source,
		 const struct mmu_notifier_range *range),
	TP_ARGS(source, range),
	TP_STRUCT__entry(
		__field(unsigned long, start)
		__field(unsigned long, range_start)
		__field(unsigned long, range_end)
		__field(unsigned int, event)
	),
	TP_fast_assign(
		__entry->start = source->start;
		__entry->range_start = range->start;
		__entry->range_end = range->end;
		__entry->event = range->event;
	),
	TP_printk("source=%#lx range=%#lx-%#lx event=%u",
		  __entry->start, __entry->range_start, __entry->range_end,
		  __entry->event)
);

TRACE_EVENT(memview_revoke,
	TP_PROTO(const struct memview *view),
	TP_ARGS(view),
	TP_STRUCT__entry(
		__field(unsigned long, ino)
	),
	TP_fast_assign(
		__entry->ino = view->inode->i_ino;
	),
	TP_printk("view=%lu", __entry->ino)
);

#endif /* _MEMVIEW_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
