/* SPDX-License-Identifier: MIT */
/*
 * The choke point: spte_store() is the one function that stores into a table that is linked. It is
 * a compare-exchange, the accounts, the trace event and the debt of the flush. Inside mmu/.
 *
 * Whether a change is allowed, and what it counts for, is asked of any change by tdp_store_any().
 * The other functions recognise the frequent changes by a compare or two, of which tests/proofs/
 * proves that all these questions have one answer: so they are not asked, and the compiler drops
 * what they decide from spte_store().
 *
 * Pointers to SPTEs and tables are pointers to const everywhere else, so that no other store
 * compiles. Tables that are not linked yet are filled by tables.c.
 */
#pragma once

#include "lib/assert.h"
#include "lib/trace.h"
#include "mmu/self.h"
#include "mmu/spte.h"
#include "mmu/tlb.h"
#include "mmu/trace.h"
#include "mmu/transition.h"

/* What the caller has proved of a change; a constant. */
enum spte_change {
    CHANGE_ANY,    /* that it is allowed, nothing more */
    CHANGE_MAPS,   /* NONPRESENT becomes a default leaf */
    CHANGE_UNMAPS, /* a default leaf becomes NONPRESENT or FROZEN */
    CHANGE_RENEWS, /* an MMIO SPTE gets another generation */
    CHANGE_AD,     /* a leaf stays what it is but for A and D */
};

/* Counts a change: leaves and tables that come and go, and MMIO SPTEs. */
static ALWAYS_INLINE void spte_account(struct mmu_cpu *self, unsigned level, uint64_t old,
                                       uint64_t new, const enum spte_change change)
{
    const bool any = change == CHANGE_ANY;
    struct mmu_stats *stats = &self->stats;
    stats->spte_changes++;
    bool was_leaf = any ? spte_is_leaf(old, level) : change == CHANGE_UNMAPS || change == CHANGE_AD;
    bool is_leaf = any ? spte_is_leaf(new, level) : change == CHANGE_MAPS || change == CHANGE_AD;
    if (was_leaf && is_leaf)
        return;
    if (was_leaf)
        stats->pages[level - 1]--;
    else if (any && spte_is_present(old))
        mmu_count_table(self, old, ~0ull);
    if (is_leaf)
        stats->pages[level - 1]++;
    else if (any && spte_is_present(new))
        mmu_count_table(self, new, 1);
    else if (any ? spte_is_mmio(new, self->mmu->mmio_value) : change == CHANGE_RENEWS)
        stats->mmio_spte_created++;
}

/* Replaces `old` at `sptep`, which is at `level`. False if the entry was not `old` any more (the
 * CPU set A or D, or another CPU was faster): nothing was done, read it again. Always a
 * compare-exchange, so that nobody has to ask which entries may change under us (rule S14). `gfn`
 * is any frame that the entry covers, for the trace. `reason` is why a flush is owed if one is; a
 * change for DEBT_NONE must not owe any. */
static ALWAYS_INLINE bool MUST_CHECK spte_store(struct mmu_cpu *self, gfn_t gfn,
                                                const uint64_t *sptep, unsigned level, uint64_t old,
                                                uint64_t new, enum debt_reason reason,
                                                const enum spte_change change)
{
    uint64_t found = old;
    bool done = __atomic_compare_exchange_n((uint64_t *)(uintptr_t)sptep, &found, new, false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
    if (unlikely(!done))
        return false;
    spte_account(self, level, old, new, change);
    if (unlikely(trace_wants(TRACE_SPTE_CHANGES)))
        trace_spte_change(self->mmu, gfn, sptep, level, old, new);
    if (change == CHANGE_ANY ? spte_change_owes_flush(old, new, level) : change == CHANGE_UNMAPS) {
        BUG_ON(change == CHANGE_ANY && reason == DEBT_NONE);
        tlb_owe(self->mmu, reason);
    }
    return true;
}

/* Stores after the questions that any change is asked. One that is not allowed is a BUG. */
bool tdp_store_any(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level,
                   uint64_t old, uint64_t new, enum debt_reason reason) MUST_CHECK;

/* Stores what most faults store, a default leaf where nothing was, or anything else. */
static inline bool MUST_CHECK tdp_store(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep,
                                        unsigned level, uint64_t old, uint64_t new,
                                        enum debt_reason reason)
{
    if (likely(old == SPTE_NONPRESENT && spte_is_default_leaf(new, level)))
        return spte_store(self, gfn, sptep, level, SPTE_NONPRESENT, new, DEBT_NONE, CHANGE_MAPS);
    return tdp_store_any(self, gfn, sptep, level, old, new, reason);
}

/* Gives an MMIO SPTE another generation. */
static inline bool MUST_CHECK tdp_renew(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep,
                                        uint64_t old, uint64_t new)
{
    if (likely(spte_is_renewal(old, new, self->mmu->mmio_value)))
        return spte_store(self, gfn, sptep, EPT_LEVEL_4K, old, new, DEBT_NONE, CHANGE_RENEWS);
    return tdp_store_any(self, gfn, sptep, EPT_LEVEL_4K, old, new, DEBT_NONE);
}

/* Removes a default leaf, whatever the CPU has set in it. False, too, if it is none: then ask
 * tdp_exchange(). */
static inline bool MUST_CHECK tdp_drop_default(struct mmu_cpu *self, gfn_t gfn,
                                               const uint64_t *sptep, unsigned level, uint64_t old,
                                               enum debt_reason reason)
{
    return likely(spte_was_default_leaf(old, level)) &&
           spte_store(self, gfn, sptep, level, old, SPTE_NONPRESENT, reason, CHANGE_UNMAPS);
}

/* Stores until it succeeds, for changes whose result does not depend on what stood there. Returns
 * what did. */
uint64_t tdp_exchange(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level,
                      uint64_t new, enum debt_reason reason);

/* Makes an entry FROZEN, whatever stands there (rule W4). */
static inline void tdp_freeze(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep,
                              unsigned level, enum debt_reason reason)
{
    uint64_t old = __atomic_load_n(sptep, __ATOMIC_ACQUIRE);
    if (unlikely(!spte_was_default_leaf(old, level) ||
                 !spte_store(self, gfn, sptep, level, old, SPTE_FROZEN, reason, CHANGE_UNMAPS)))
        tdp_exchange(self, gfn, sptep, level, SPTE_FROZEN, reason);
}
