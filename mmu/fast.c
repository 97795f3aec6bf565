/* SPDX-License-Identifier: MIT */
/* Fast faults; see the header. */
#include "mmu/fast.h"

#include "mmu/decide.h"
#include "mmu/dirty.h"
#include "mmu/mmu.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tdp.h"
#include "mmu/trace.h"

#define TRIES 4

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
        uint64_t new;
        enum why why = why_fast(mmu, want, spte, level, &new);
        if (why == WHY_NEXT)
            return FAULT_INVALID;
        if (why == WHY_LEAF_ALLOWS)
            return fast_fault_result(want, sptep, spte, spte, FAULT_SPURIOUS);
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
