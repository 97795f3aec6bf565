/* SPDX-License-Identifier: MIT */
/*
 * mmu_why() compared with what happens: before each exit the MMU is asked what the access would do,
 * and afterwards whether it did that. The CPU, which knows nothing of the explanation, is that of
 * mmu_world.h.
 */
#pragma once

#include "tests/unit/mmu/mmu_world.h"

#include "mmu/why.h"

static struct {
    uint64_t reasons[WHY_COUNT]; /* how often each answered an exit */
    uint64_t ends[WHY_END_MIRROR + 1];
} explained;

/* What mmu_why() says changes nothing, whatever it tried. */
static inline void explain(struct mmu *mmu, gpa_t gpa, unsigned access, struct mmu_why *why)
{
    const struct mmu_stats *stats = &mmu->cpu[support_cpu].stats;
    uint64_t changes = stats->spte_changes, faults = stats->faults;
    uint64_t pages = support_pages_in_use(), debt = tlb_debt(mmu);
    mmu_why(mmu, gpa, access, why);
    assert_int_equal(stats->spte_changes, changes);
    assert_int_equal(stats->faults, faults);
    assert_int_equal(support_pages_in_use(), pages);
    assert_int_equal(tlb_debt(mmu), debt);
    assert_int_equal(mmu->lock.state, 0);
}

/* The result of the exit, and the lowest entry that it left behind, are those of the explanation's
 * first exit. A frame that had no host page may get a large one, which cannot be foreseen. */
static inline void check_explained(struct mmu *mmu, gpa_t gpa, const struct mmu_why *why,
                                   enum hw_result hw, uint32_t error_code, int result)
{
    const struct why_exit *exit = &why->exit[0];
    assert_true(why->exits > 0);
    assert_int_equal(exit->cpu, hw == HW_VIOLATION ? CPU_VIOLATION : CPU_MISCONFIGURATION);
    assert_int_equal(exit->error_code, error_code);
    explained.reasons[exit->why]++;
    explained.reasons[exit->stale] += exit->stale != 0;
    if (exit->why == WHY_MAP_COLLAPSED && result == FAULT_RETRY)
        return; /* no room for another retired table */
    if (exit->result != result)
        fail_msg("%#lx, access %lu: reason %u foretells the result %d, which is %d", gpa.v,
                 why->access, exit->why, exit->result, result);
    if (why->has_slot && !why->populated)
        return;
    struct ept_path path = tdp_read_path(mmu->composite, mmu->root_level, gpa_to_alias(gpa));
    uint64_t used = EPT_ACCESSED | EPT_DIRTY;
    assert_int_equal(path.lowest, exit->after.lowest);
    if ((path.spte[path.lowest] ^ exit->after.spte[path.lowest]) & ~used)
        fail_msg("%#lx, access %lu: reason %u foretells the entry %#lx, which is %#lx", gpa.v,
                 why->access, exit->why, exit->after.spte[path.lowest], path.spte[path.lowest]);
}
