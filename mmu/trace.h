/* SPDX-License-Identifier: MIT */
/*
 * Traces changes of SPTEs: each change is exactly one event (rule P8). Called only by the one
 * function that stores SPTEs. Private to mmu/.
 */
#pragma once

#include "lib/trace.h"
#include "mmu/types.h"

/* Records that `new` has replaced `old`. Not COLD, since gcc would treat the stores that may call
 * it as cold, too. */
void trace_spte_change(const struct mmu *mmu, gfn_t gfn, const uint64_t *sptep, unsigned level,
                       uint64_t old, uint64_t new);
