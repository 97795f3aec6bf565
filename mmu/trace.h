/* SPDX-License-Identifier: MIT */
/*
 * Which trace event a change of an SPTE is: exactly one (rule P8). Called by the one function that
 * stores SPTEs, and by nobody else. Inside mmu/.
 */
#pragma once

#include "lib/trace.h"
#include "mmu/types.h"

/* `new` has taken the place of `old`. Not COLD: gcc would take the stores that may call it for cold
 * as well. */
void trace_spte_change(const struct mmu *mmu, gfn_t gfn, const uint64_t *sptep, unsigned level,
                       uint64_t old, uint64_t new);
