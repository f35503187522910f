// SPDX-License-Identifier: GPL-2.0
/* NUMA balancing, where it is on, as fast as it goes: it takes pages from sources. */

#include <stdio.h>

#include "neighbours.h"

static bool set(const char *name, unsigned int value)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/kernel/debug/sched/numa_balancing/%s", name);
	file = fopen(path, "we");
	if (!file)
		return false;
	fprintf(file, "%u\n", value);
	return !fclose(file);
}

void numa_at_full_speed(void)
{
	if (set("scan_delay_ms", 1) && set("scan_period_min_ms", 10) &&
	    set("scan_period_max_ms", 20))
		print("stress: NUMA balancing at full speed\n");
}
