/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The acts of the demo. Each makes its own VMM, and shows something about what
 * the back-end can and cannot touch, by claims (report.h).
 */
#ifndef DEMO_ACTS_H
#define DEMO_ACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "backend.h"

#define NR_ACTS	6U

/* Where in the image the acts work; see acts.c. */
#define MIN_IMAGE_SIZE	(40ULL << 20)

/**
 * struct stage - what the acts share
 * @backend: the storage daemon; started anew for an act if it has ended
 * @dir: where it puts its socket
 * @image: path of the image
 * @image_fd: the image, seen from outside
 * @image_size: bytes
 * @plain: no memory view anywhere: the acts show what happens today, without
 */
struct stage {
	struct backend backend;
	const char *dir;
	const char *image;
	int image_fd;
	uint64_t image_size;
	bool plain;
};

/* What act @number (from 1) shows, in a few words. */
const char *act_title(unsigned int number, bool plain);

/* Run one act. Returns whether it held. */
bool act_run(struct stage *stage, unsigned int number);

#endif /* DEMO_ACTS_H */
