/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The disk image, seen from outside (as a file), and the data patterns.
 *
 * Functions return 0 or an offset, or -errno.
 */
#ifndef DEMO_IMAGE_H
#define DEMO_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* image_create() - make a new image of zeros; returns an fd, or -EEXIST etc. */
int image_create(const char *path, uint64_t size);

/*
 * The pattern: pseudo-random, and different for each 8 bytes of the image and
 * each seed, so that data in a wrong place is noticed. @offset and @len are
 * multiples of 8.
 */
void pattern_fill(void *buf, uint64_t seed, uint64_t offset, size_t len);

/* First byte of @buf that differs from the pattern, or -1. */
int64_t pattern_check(const void *buf, uint64_t seed, uint64_t offset, size_t len);

/**
 * image_check() - compare part of the image with the pattern
 *
 * Return: 0, with the offset of the first byte that differs in @differs, -1 if
 * none; -ENODATA: the image ends before; or the errnos of pread(2).
 */
int image_check(int fd, uint64_t seed, uint64_t offset, uint64_t len, int64_t *differs);

/**
 * image_find() - look for bytes in the whole image
 * @fd: the image
 * @needle: what to look for
 * @len: its length, 1 to 4096
 * @found: set to the offset, -1 if it is nowhere
 *
 * Return: 0, or the errnos of pread(2).
 */
int image_find(int fd, const void *needle, size_t len, int64_t *found);

#endif /* DEMO_IMAGE_H */
