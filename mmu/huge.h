/* SPDX-License-Identifier: MIT */
/*
 * Large pages: which level a fault may map, splitting ahead of time, and the pages of 2 MiB and
 * 1 GiB that may not be executed (rule N1). Inside mmu/; mmu_nx_recover() stands in mmu/mmu.h.
 */
#pragma once

#include "mmu/types.h"

/* The level at which `gfn` may be mapped to `page` when its backing is of `level`. */
unsigned huge_level(const struct memslot *slot, gfn_t gfn, hpa_t page, unsigned level,
                    uint64_t access);

/* What large leaves do not give: EPT_EXECUTE, if so configured. */
uint64_t huge_denied(void);

/* Leaves only small leaves, in a piece of a walk, or where a frame is. No lock of mmu/ held but
 * slots_lock. -ENOMEM: what was split stays so. The piece returns 1 when the walk is over, else 0.
 */
int huge_split_piece(struct mmu *mmu, struct tdp_iter *iter) MUST_CHECK;
int huge_split_frame(struct mmu *mmu, gfn_t gfn) MUST_CHECK;
