/*
 * What faults do to the tables: install a leaf or an MMIO SPTE, split a large leaf. Inside mmu/.
 */
#pragma once

#include "mmu/mmu.h"
#include "mmu/store.h"
#include "mmu/tdp.h"

/* What a fault wants at `alias`: the page behind it and the SPTE that says so. */
struct tdp_mapping {
    alias_t alias;
    gfn_t gfn;       /* which the alias means */
    uint32_t role;   /* of its root */
    hpa_t page;      /* what stands behind the frame itself */
    unsigned level;  /* at most */
    uint64_t access; /* EPT_ bits that the guest is waiting for */
    uint64_t rights; /* EPT_WRITE, SPTE_HOST_WRITABLE, SPTE_MMU_WRITABLE: what is given; and */
    uint64_t denied; /* EPT_EXECUTE where it is taken away (huge pages that may not be executed) */
};

/* Needs tdp_top_up() and the lock, shared. Returns FAULT_FIXED, FAULT_SPURIOUS or FAULT_RETRY. */
int tdp_map(struct mmu_cpu *self, const struct tdp_mapping *want) MUST_CHECK;

/* Installs an MMIO SPTE; no slot of this generation covers the frame. Needs the same. Returns
 * FAULT_EMULATE or FAULT_RETRY. */
int tdp_map_mmio(struct mmu_cpu *self, const struct tdp_mapping *want,
                 uint64_t generation) MUST_CHECK;

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
    const struct mmu *mmu = self->mmu;
    const uint64_t *table = mmu->composite, *sptep;
    uint64_t spte;
#define STEP(l)                                      \
    sptep = &table[ept_index(alias, l)];             \
    spte = __atomic_load_n(sptep, __ATOMIC_ACQUIRE); \
    if ((l) == level)                                \
        break;                                       \
    if (unlikely(!spte_has_table(spte)))             \
        return FAULT_CONTINUE;                       \
    table = phys_to_virt(spte_page(spte));

    switch (mmu->root_level) {
    case 4:
        STEP(4) /* fall through */
    case 3:
        STEP(3) /* fall through */
    case 2:
        STEP(2) /* fall through */
    default:
        STEP(1)
        return FAULT_CONTINUE;
    }
#undef STEP
    if (unlikely(spte != SPTE_NONPRESENT))
        return FAULT_CONTINUE;
    return tdp_store(self, gfn, sptep, level, SPTE_NONPRESENT, leaf, DEBT_NONE) ? FAULT_FIXED
                                                                                : FAULT_RETRY;
}
