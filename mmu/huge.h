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

/* Leaves only small leaves in [first, end). No lock of mmu/ held but slots_lock. Returns 0 or
 * -ENOMEM; what was split stays so. */
int huge_split_range(struct mmu *mmu, gfn_t first, gfn_t end) MUST_CHECK;
