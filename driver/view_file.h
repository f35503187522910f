/* SPDX-License-Identifier: GPL-2.0 */
/* The view file, which peers hold. */
#ifndef _MEMVIEW_VIEW_FILE_H
#define _MEMVIEW_VIEW_FILE_H

#include "memview.h"

struct file *memview_view_file_new(struct memview *view, u32 rights);
bool memview_is_view_file(const struct file *file);
struct memview *memview_of_file(const struct file *file);

#endif /* _MEMVIEW_VIEW_FILE_H */
