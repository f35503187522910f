/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Act 6, with its processes: a VMM that is killed, and a probe that has mapped
 * the same fd as the back-end and tells what it reads there.
 */
#ifndef DEMO_VMM_DEATH_H
#define DEMO_VMM_DEATH_H

#include <stdbool.h>

#include "backend.h"

/**
 * vmm_death() - kill a VMM and look at what it had lent
 * @backend: a started back-end, idle
 * @plain: the memory is passed as today: it outlives the VMM
 *
 * Return: 0 when the act came to its end, or -errno.
 */
int vmm_death(struct backend *backend, bool plain);

#endif /* DEMO_VMM_DEATH_H */
