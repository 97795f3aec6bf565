/* SPDX-License-Identifier: MIT */
/*
 * What faults do to the tables: install a leaf or an MMIO SPTE, split a large leaf. Private to
 * mmu/.
 */
#pragma once

#include "mmu/mmu.h"
#include "mmu/store.h"
#include "mmu/tdp.h"

/* The access of the guest that has faulted. */
struct tdp_access {
    alias_t alias;
    gfn_t gfn;     /* of the alias */
    uint32_t role; /* of the alias' root */
    uint64_t bits; /* EPT_READ, EPT_WRITE, EPT_EXECUTE: the rights that the access needs */
};

/* Copies a struct for a call of a function that is not inlined. gcc keeps a struct that is passed
 * directly in memory, but one that is copied member by member in registers, which makes most faults
 * faster. */
static ALWAYS_INLINE struct tdp_access tdp_access_copy(struct tdp_access a)
{
    return (struct tdp_access){.alias = a.alias, .gfn = a.gfn, .role = a.role, .bits = a.bits};
}

/* The mapping that the slow path of a fault installs. */
struct tdp_mapping {
    struct tdp_access access;
    hpa_t page;      /* the host page behind the frame */
    unsigned level;  /* the highest level that the leaf may have */
    uint64_t rights; /* granted: EPT_WRITE, SPTE_HOST_WRITABLE, SPTE_MMU_WRITABLE */
    uint64_t denied; /* EPT_EXECUTE where large pages may not be executed, else 0 */
};

/* Installs a mapping. The caller has called tdp_top_up() and holds the lock, shared. Returns
 * FAULT_FIXED, FAULT_SPURIOUS or FAULT_RETRY. */
int tdp_map(struct mmu_cpu *self, const struct tdp_mapping *want) MUST_CHECK;

/* Installs an MMIO SPTE for a frame that no slot of this generation covers. The caller has called
 * tdp_top_up() and holds the lock, shared. Returns FAULT_EMULATE or FAULT_RETRY. */
int tdp_map_mmio(struct mmu_cpu *self, alias_t alias, gfn_t gfn, uint64_t generation) MUST_CHECK;

/* Replaces a large leaf by a table of leaves of the level below. The translations stay the same, so
 * no flush is owed (rule T6). `add` are rights that the new leaves get in addition. Returns false
 * if the entry was no longer `old`. The cache must hold a table. */
bool tdp_split(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level, uint64_t old,
               uint64_t add) MUST_CHECK;

/* Installs `leaf` in the common case that all tables exist and the entry is empty. The caller holds
 * the lock. Returns FAULT_FIXED or FAULT_RETRY; or FAULT_CONTINUE in any other case, in which it
 * does nothing. */
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
