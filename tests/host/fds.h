/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Setup and teardown of every case: a case that leaves a file descriptor open,
 * or closes one too many, fails. Include after <cmocka.h>.
 */
#ifndef TESTS_HOST_FDS_H
#define TESTS_HOST_FDS_H

#include <dirent.h>
#include <stdlib.h>

static inline int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static inline int remember_fds(void **state)
{
	*state = (void *)(long)count_fds();
	return 0;
}

static inline int check_fds(void **state)
{
	int before = (long)*state, after = count_fds();

	if (after == before)
		return 0;
	print_error("%d file descriptors before the case, %d after it\n", before, after);
	return -1;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, remember_fds, check_fds)

#endif /* TESTS_HOST_FDS_H */
