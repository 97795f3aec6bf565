/* SPDX-License-Identifier: MIT */
/*
 * The private memory of a TD, tried by the hypervisor itself before any guest runs: `provoke=td`
 * and the words for the lies of mmu/lies.h. What is refused, and whether all memory comes back, is
 * in the log.
 */
#pragma once

#include "mmu/lies.h"

/* Makes a TD without a guest, with `lie` told to the secure side on the way, and ends it. */
void provoke_td(enum lie lie);

/* Reads a private page through the direct map, which must fail. Does not return. */
void provoke_private(void);
