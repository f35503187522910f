// SPDX-License-Identifier: MIT
/*
 * Lend two pages to a child, read-only, and take them back. Exit status 0 if the
 * child could read them, and got SIGBUS afterwards. The README shows the rest.
 */
#define _GNU_SOURCE
#include <error.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <memview.h>

int main(void)
{
	int fd = memfd_create("lent", MFD_CLOEXEC), len = 2 * getpagesize(), r, end, tube[2];
	char seen[6], *lent;
	struct memview *view;

	if (ftruncate(fd, len) || pwrite(fd, "hello", 6, 0) != 6 || pipe(tube))
		error(1, 0, "no memfd to lend");
	if ((r = memview_open(&view)) || (r = memview_set_size(view, len)) ||
	    (r = memview_map(view, 0, fd, 0, len, MEMVIEW_READ)) || (r = memview_view_fd(view)) < 0)
		error(1, -r, "memview");
	if (fork() == 0) {	/* another program gets r by memview_send_fd() */
		lent = mmap(NULL, len, PROT_READ, MAP_SHARED, r, 0);
		while (write(tube[1], lent, 6) == 6 && *(volatile char *)lent)
			usleep(1000);
		_exit(*(volatile char *)lent);
	}
	close(tube[1]);
	r = read(tube[0], seen, 6) != 6 || memview_unmap(view, 0, len, NULL);
	wait(&end);
	psignal(WTERMSIG(end), r ? "child" : seen);
	return r || WTERMSIG(end) != SIGBUS;
}
