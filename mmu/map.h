/* SPDX-License-Identifier: MIT */
/*
 * What faults do to the tables: install a leaf or an MMIO SPTE, split a large leaf. Inside mmu/.
 */
#pragma once

#include "mmu/mmu.h"
#include "mmu/store.h"
#include "mmu/tdp.h"

/* What the guest wanted when it faulted. */
struct tdp_access {
    alias_t alias;
    gfn_t gfn;     /* which the alias means */
    uint32_t role; /* of its root */
    uint64_t bits; /* EPT_READ, EPT_WRITE, EPT_EXECUTE: what it is waiting for */
};

/* For calls of functions that are not inlined: gcc keeps a struct in memory that is passed as a
 * whole, but one that is passed member by member in registers, as most faults want it. */
static ALWAYS_INLINE struct tdp_access tdp_access_copy(struct tdp_access a)
{
    return (struct tdp_access){.alias = a.alias, .gfn = a.gfn, .role = a.role, .bits = a.bits};
}

/* And what it gets: the page behind the frame and the SPTE that says so. */
struct tdp_mapping {
    struct tdp_access access;
    hpa_t page;      /* what stands behind the frame itself */
    unsigned level;  /* at most */
    uint64_t rights; /* EPT_WRITE, SPTE_HOST_WRITABLE, SPTE_MMU_WRITABLE: what is given; and */
    uint64_t denied; /* EPT_EXECUTE where it is taken away (huge pages that may not be executed) */
};

/* Needs tdp_top_up() and the lock, shared. Returns FAULT_FIXED, FAULT_SPURIOUS or FAULT_RETRY. */
int tdp_map(struct mmu_cpu *self, const struct tdp_mapping *want) MUST_CHECK;

/* Installs an MMIO SPTE; no slot of this generation covers the frame. Needs the same. Returns
 * FAULT_EMULATE or FAULT_RETRY. */
int tdp_map_mmio(struct mmu_cpu *self, alias_t alias, gfn_t gfn, uint64_t generation) MUST_CHECK;

/* Replaces a large leaf by a table of leaves of the level below that translate the same, so no
 * flush is owed (rule T6). `add` are rights that the small ones get in addition. False if the entry
 * was not `old` any more. Needs a table in the cache. */
bool tdp_split(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level, uint64_t old,
               uint64_t add) MUST_CHECK;

/* Installs `leaf` where all tables are there and nothing stands yet, which is nearly always. Needs
 * the lock. FAULT_FIXED, FAULT_RETRY, or FAULT_CONTINUE: something else is there; nothing was done.
 */
static ALWAYS_INLINE int tdp_map_new(struct mmu_cpu *self, alias_t alias, gfn_t gfn, unsigned level,
                                     uint64_t leaf)
{
    const uint64_t *sptep;
    unsigned found = self->mmu->root_level;
    uint64_t spte = tdp_descend(self->mmu->composite, &found, alias, level, &sptep);
    if (unlikely(found != level || spte != SPTE_NONPRESENT))
        return FAULT_CONTINUE;
    return tdp_store(self, gfn, sptep, level, SPTE_NONPRESENT, leaf, DEBT_NONE) ? FAULT_FIXED
                                                                                : FAULT_RETRY;
}
