/* SPDX-License-Identifier: MIT */
/* The trace event of a change of an SPTE; see the header. */
#include "mmu/trace.h"

#include "mmu/mmu.h"
#include "mmu/spte.h"

/* lib/trace.c prints names for these numbers. */
_Static_assert(FAULT_CONTINUE == 0 && FAULT_RETRY == 1 && FAULT_EMULATE == 2 &&
                   FAULT_WRITE_PROTECTED == 3 && FAULT_INVALID == 4 && FAULT_FIXED == 5 &&
                   FAULT_SPURIOUS == 6 && FAULT_VE == 7 && FAULT_RESULTS == 8,
               "results by name");
_Static_assert(INVEPT_DEBT == 0 && INVEPT_ROOT_LOAD == 1 && INVEPT_REASONS == 2, "reasons by name");
_Static_assert(SPTE_NONPRESENT == BIT(63) && SPTE_FROZEN == (BIT(63) | 0x5a0),
               "special values by name");
_Static_assert(ACCESS_READ == 1 && ACCESS_WRITE == 2 && ACCESS_FETCH == 4 && FAULT_PRESENT == 8 &&
                   FAULT_FINAL == 16 && FAULT_RESERVED == 32,
               "the letters of an error code");

/* Does the new leaf give the guest rights that it did not have before? */
static bool gives_rights(uint64_t old, uint64_t new, unsigned level)
{
    return spte_is_leaf(new, level) && (!spte_is_leaf(old, level) || new & ~old &EPT_RWX);
}

void trace_spte_change(const struct mmu *mmu, gfn_t gfn, const uint64_t *sptep, unsigned level,
                       uint64_t old, uint64_t new)
{
    gfn = ept_first_frame(gfn, level);
    if (spte_is_mmio(new, mmu->mmio_value))
        trace(mark_mmio_spte, (uint64_t)sptep, gfn.v, new &EPT_RWX, spte_mmio_generation(new));
    else if (gives_rights(old, new, level))
        trace(mmu_set_spte, gfn.v, new, (uint64_t)sptep, level, new &EPT_RWX);
    else if (spte_is_leaf(old, level) && spte_is_nonleaf(new, level))
        trace(mmu_split_huge_page, gfn.v, new, level);
    else
        trace(tdp_mmu_spte_changed, gfn.v, old, new, level);
}
