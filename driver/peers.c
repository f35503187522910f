// SPDX-License-Identifier: GPL-2.0
/* Who has a view mapped, and where; the zap. */

#include "memview.h"

void memview_peers_release(struct memview_mm *mm)
{
}

void memview_peers_unmap(struct memview_mm *mm, unsigned long start,
			 unsigned long end)
{
}
