// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_device.h"

struct fake_device dev;
struct memview_op dev_ops[MEMVIEW_UPDATE_MAX];

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_close(int fd);
int __wrap_close(int fd);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_reallocarray(void *p, size_t count, size_t size);
void *__wrap_reallocarray(void *p, size_t count, size_t size);
void __real_free(void *p);
void __wrap_free(void *p);

static int fake_open(const char *path, int flags)
{
	dev.open_calls++;
	dev.open_flags = flags;
	snprintf(dev.open_path, sizeof(dev.open_path), "%s", path);
	if (dev.open_errno) {
		errno = dev.open_errno;
		return -1;
	}
	return __real_open(dev.stand_in, flags);
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list ap;
	int mode;

	if (dev.fake)
		return fake_open(path, flags);
	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	return __real_open(path, flags, mode);
}

/* The name that open has where off_t is 64 bits by _FILE_OFFSET_BITS. */
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	return dev.fake ? fake_open(path, flags) : __real_open(path, flags);
}

/* As the kernel would have read them: all of what the argument promises. */
static void read_ops(const struct memview_update_info *info)
{
	if (info->count > MEMVIEW_UPDATE_MAX || info->op_size != sizeof(dev_ops[0]))
		abort();
	memset(dev_ops, 0xee, sizeof(dev_ops));
	if (info->count)
		memcpy(dev_ops, (void *)(uintptr_t)info->ops,
		       info->count * sizeof(dev_ops[0]));
}

static void write_out(void *arg)
{
	if (_IOC_DIR(dev.request) & _IOC_READ)
		memcpy(arg, dev.out, _IOC_SIZE(dev.request));
}

static int fail_ioctl(void *arg, int err)
{
	if (dev.explains)
		write_out(arg);
	errno = err;
	return -1;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	size_t size = _IOC_SIZE(request);
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!dev.fake)
		return __real_ioctl(fd, request, arg);

	dev.ioctl_calls++;
	dev.ioctl_fd = fd;
	dev.request = request;
	dev.arg_pointer = arg;
	if (size > sizeof(dev.arg))
		abort();
	memset(dev.arg, 0xee, sizeof(dev.arg));
	if (_IOC_DIR(request) & _IOC_WRITE)
		memcpy(dev.arg, arg, size);
	if (request == MEMVIEW_UPDATE)
		read_ops(arg);
	if (dev.eintr) {
		dev.eintr--;
		return fail_ioctl(arg, EINTR);
	}
	if (dev.ioctl_errno)
		return fail_ioctl(arg, dev.ioctl_errno);
	write_out(arg);
	errno = EXDEV;	/* a success may leave anything in errno */
	return dev.ioctl_ret;
}

int __wrap_close(int fd)
{
	int ret = __real_close(fd);

	if (dev.fake) {
		dev.closed_fd = fd;
		errno = EIO;
	}
	return ret;
}

void *__wrap_malloc(size_t size)
{
	if (dev.fake && dev.malloc_fails) {
		errno = ENOMEM;
		return NULL;
	}
	return __real_malloc(size);
}

void *__wrap_reallocarray(void *p, size_t count, size_t size)
{
	if (dev.fake && dev.malloc_fails) {
		errno = ENOMEM;
		return NULL;
	}
	p = __real_reallocarray(p, count, size);
	if (dev.fake)
		errno = EXDEV;
	return p;
}

void __wrap_free(void *p)
{
	__real_free(p);
	if (dev.fake)
		errno = EIO;
}

void set_out(const void *out, size_t size)
{
	memset(dev.out, 0, sizeof(dev.out));
	memcpy(dev.out, out, size);
}

void reset_device(void)
{
	struct memview_info info = { .page_size = 4096 };

	memset(&dev, 0, sizeof(dev));
	dev.stand_in = "/dev/null";	/* a character device */
	dev.closed_fd = -1;
	set_out(&info, sizeof(info));
	dev.fake = true;
	errno = UNTOUCHED;
}

struct memview *open_view(void)
{
	struct memview *view = NULL;

	reset_device();
	assert_int_equal(memview_open(&view), 0);
	assert_non_null(view);
	reset_device();
	return view;
}

void close_view(struct memview *view)
{
	dev.fake = false;
	memview_close(view);
}
