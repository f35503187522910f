// SPDX-License-Identifier: GPL-2.0
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

#define CHUNK		(1U << 20)
#define MAX_NEEDLE	4096U
#define MIB		(UINT64_C(1) << 20)

int image_create(const char *path, uint64_t size)
{
	/* Never over somebody's file. */
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, size))
		return fd;
	ret = -errno;
	close(fd);
	unlink(path);
	return ret;
}

/* SplitMix64 (public domain), used as a hash of seed and position. */
static uint64_t pattern_word(uint64_t seed, uint64_t index)
{
	uint64_t z = seed + index * 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void pattern_fill(void *buf, uint64_t seed, uint64_t offset, size_t len)
{
	uint64_t word;
	size_t i;

	for (i = 0; i < len; i += sizeof(word)) {
		word = pattern_word(seed, (offset + i) / sizeof(word));
		memcpy((char *)buf + i, &word, sizeof(word));
	}
}

int64_t pattern_check(const void *buf, uint64_t seed, uint64_t offset, size_t len)
{
	uint64_t word;
	size_t i, j;

	for (i = 0; i < len; i += sizeof(word)) {
		word = pattern_word(seed, (offset + i) / sizeof(word));
		if (!memcmp((const char *)buf + i, &word, sizeof(word)))
			continue;
		for (j = 0; ((const char *)buf)[i + j] == ((char *)&word)[j]; j++)
			;
		return i + j;
	}
	return -1;
}

/* Like pread(2), but all of it unless the file ends. */
static ssize_t read_all(int fd, char *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t got = pread(fd, buf + done, len - done, offset + done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		done += got;
	}
	return done;
}

int image_check(int fd, uint64_t seed, uint64_t offset, uint64_t len, int64_t *differs)
{
	char *buf = malloc(CHUNK);
	uint64_t done = 0;
	int64_t at;
	int ret = 0;

	if (!buf)
		return -ENOMEM;
	*differs = -1;
	while (done < len) {
		size_t want = len - done < CHUNK ? len - done : CHUNK;
		ssize_t got = read_all(fd, buf, want, offset + done);

		if (got != (ssize_t)want) {
			ret = got < 0 ? got : -ENODATA;
			break;
		}
		at = pattern_check(buf, seed, offset + done, want);
		if (at >= 0) {
			*differs = offset + done + at;
			break;
		}
		done += want;
		progress("image compared", done / MIB, len / MIB, "MiB");
	}
	free(buf);
	return ret;
}

int image_find(int fd, const void *needle, size_t len, int64_t *found)
{
	char *buf, *hit;
	uint64_t offset = 0;
	size_t kept = 0;
	ssize_t got;
	struct stat st;

	if (!len || len > MAX_NEEDLE)
		return -EINVAL;
	if (fstat(fd, &st))
		return -errno;
	buf = malloc(MAX_NEEDLE + CHUNK);
	if (!buf)
		return -ENOMEM;
	*found = -1;
	/* The end of each chunk stays in front of the next: a needle may straddle. */
	while ((got = read_all(fd, buf + kept, CHUNK, offset)) > 0) {
		hit = memmem(buf, kept + got, needle, len);
		if (hit) {
			*found = offset - kept + (hit - buf);
			break;
		}
		offset += got;
		got += kept;
		kept = (size_t)got < len - 1 ? (size_t)got : len - 1;
		memmove(buf, buf + got - kept, kept);
		progress("image searched", offset / MIB, st.st_size / MIB, "MiB");
	}
	free(buf);
	return got < 0 ? got : 0;
}
