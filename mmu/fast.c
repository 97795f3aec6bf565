/* SPDX-License-Identifier: MIT */
/* Fast faults; see the header. */
#include "mmu/fast.h"

#include "mmu/dirty.h"
#include "mmu/mmu.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tdp.h"
#include "mmu/trace.h"

#define TRIES 4

/* The SPTE with the rights that may be restored for this access. */
static uint64_t fast_fault_repair(const struct mmu *mmu, const struct tdp_access *want,
                                  uint64_t spte, unsigned level)
{
    uint64_t new = spte;
    if (spte_is_access_tracked(spte)) {
        new = spte_restore_access(spte) | EPT_ACCESSED;
        if (want->role & ROLE_CONVERTS)
            new &= ~SPTE_SUPPRESS_VE;
    }
    /* A large page of a slot that logs must be split first, by the slow path (rule N2). */
    bool large_logged = level > EPT_LEVEL_4K && __atomic_load_n(&mmu->logging, __ATOMIC_RELAXED);
    if (want->bits & EPT_WRITE && spte & SPTE_MMU_WRITABLE && !large_logged)
        new |= EPT_WRITE;
    return new;
}

/* Traces a fault that was decided here. Any other one is no event of its own: the slow path
 * follows. */
static int fast_fault_result(const struct tdp_access *want, const uint64_t *sptep, uint64_t old,
                             uint64_t new, int result)
{
    trace(fast_page_fault, want->gfn.v, want->bits, (uint64_t)sptep, old, new, (uint64_t)result);
    return result;
}

int fast_fault(struct mmu *mmu, const struct tdp_access *want)
{
    for (unsigned i = 0; i < TRIES; i++) {
        unsigned level;
        const uint64_t *sptep;
        uint64_t spte = tdp_walk_to(mmu, want->alias, &level, &sptep);
        if (!spte_is_leaf(spte, level))
            return FAULT_INVALID; /* also FROZEN */
        if (!(want->bits & ~spte))
            return fast_fault_result(want, sptep, spte, spte, FAULT_SPURIOUS);
        uint64_t new = fast_fault_repair(mmu, want, spte, level);
        if (want->bits & ~new)
            return FAULT_INVALID;
        struct mmu_cpu *self = mmu_self(mmu);
        if (tdp_store(self, want->gfn, sptep, level, spte, new, DEBT_NONE)) {
            if (new & ~spte & EPT_WRITE)
                dirty_note(mmu, want->gfn, 1);
            self->stats.fast_faults++;
            return fast_fault_result(want, sptep, spte, new, FAULT_FIXED);
        }
    }
    return FAULT_INVALID;
}
