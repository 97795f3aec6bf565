/* Fast faults; see the header. */
#include "mmu/fast.h"

#include "mmu/dirty.h"
#include "mmu/mmu.h"
#include "mmu/tdp.h"
#include "mmu/trace.h"

#define TRIES 4

/* The SPTE with what may be given back, for this access. */
static uint64_t repaired(const struct mmu *mmu, uint64_t spte, unsigned level, uint64_t access)
{
    uint64_t new = spte;
    if (spte_is_access_tracked(spte))
        new = spte_restore_access(spte) | EPT_ACCESSED;
    /* A large page of a slot that logs must be split first, which is not done here (rule N2). */
    bool large_logged = level > EPT_LEVEL_4K && __atomic_load_n(&mmu->logging, __ATOMIC_RELAXED);
    if (access & EPT_WRITE && spte & SPTE_MMU_WRITABLE && !large_logged)
        new |= EPT_WRITE;
    return new;
}

/* What is not decided here is no event of its own: the full fault comes next. */
static int done(gfn_t gfn, uint64_t access, const uint64_t *sptep, uint64_t old, uint64_t new,
                int result)
{
    trace(fast_page_fault, gfn.v, access, (uint64_t)sptep, old, new, (uint64_t)result);
    return result;
}

int fast_fault(struct mmu *mmu, gfn_t gfn, uint64_t access)
{
    for (unsigned i = 0; i < TRIES; i++) {
        unsigned level;
        uint64_t *sptep;
        uint64_t spte = tdp_walk_to(mmu, gfn, &level, &sptep);
        if (!spte_is_leaf(spte, level))
            return FAULT_INVALID; /* also FROZEN */
        if (!(access & ~spte))
            return done(gfn, access, sptep, spte, spte, FAULT_SPURIOUS);
        uint64_t new = repaired(mmu, spte, level, access);
        if (access & ~new)
            return FAULT_INVALID;
        struct mmu_cpu *self = mmu_self(mmu);
        if (tdp_store(self, gfn, sptep, level, spte, new)) {
            if (new & ~spte & EPT_WRITE)
                dirty_note(mmu, gfn, 1);
            self->stats.fast_faults++;
            return done(gfn, access, sptep, spte, new, FAULT_FIXED);
        }
    }
    return FAULT_INVALID;
}
