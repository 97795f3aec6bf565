/* SPDX-License-Identifier: MIT */
/*
 * The choke point: spte_store() is the one function that stores into a linked table. It makes the
 * compare-exchange, keeps the counters, records the trace event and records the debt of a flush.
 * Private to mmu/.
 *
 * tdp_store_any() checks for any change whether it is allowed and what it is counted as. The other
 * functions recognise the frequent changes by one or two compares. tests/proofs/ proves that these
 * changes always pass the checks and are always counted alike, so the checks are skipped and the
 * compiler removes the decisions from spte_store().
 *
 * Everywhere else, pointers to SPTEs and tables point to const, so no other store compiles.
 * tables.c fills tables that are not linked yet.
 */
#pragma once

#include "lib/assert.h"
#include "lib/trace.h"
#include "mmu/self.h"
#include "mmu/spte.h"
#include "mmu/tlb.h"
#include "mmu/trace.h"
#include "mmu/transition.h"

/* What the caller has established about a change; a compile-time constant. */
enum spte_change {
    CHANGE_ANY,    /* it is allowed, nothing more */
    CHANGE_MAPS,   /* NONPRESENT or FROZEN becomes a default leaf */
    CHANGE_UNMAPS, /* a default leaf becomes NONPRESENT or FROZEN */
    CHANGE_HOLDS,  /* NONPRESENT becomes FROZEN */
    CHANGE_RENEWS, /* an MMIO SPTE gets another generation */
    CHANGE_AD,     /* only A and D of a leaf change */
};

/* Counts a change: leaves and tables that are added or removed, and new MMIO SPTEs. */
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

/* Replaces `old` by `new` at `sptep`, an entry at `level`. Returns false and does nothing if the
 * entry is no longer `old`, because the CPU has set A or D or another CPU has changed it; the
 * caller reads it again. The store is always a compare-exchange, so no caller has to know which
 * entries can change concurrently (rule S14). `gfn` is any frame that the entry covers, for the
 * trace. `reason` is the reason of the flush, if the change owes one; a change with DEBT_NONE must
 * not owe any. */
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

/* Stores any change, after checking it. A change that is not allowed is a BUG. */
bool tdp_store_any(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level,
                   uint64_t old, uint64_t new, enum debt_reason reason) MUST_CHECK;

/* Stores any change. Fast path: most faults store a default leaf into an empty entry. */
static inline bool MUST_CHECK tdp_store(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep,
                                        unsigned level, uint64_t old, uint64_t new,
                                        enum debt_reason reason)
{
    if (likely(old == SPTE_NONPRESENT && spte_is_default_leaf(new, level)))
        return spte_store(self, gfn, sptep, level, SPTE_NONPRESENT, new, DEBT_NONE, CHANGE_MAPS);
    return tdp_store_any(self, gfn, sptep, level, old, new, reason);
}

/* Stores another generation into an MMIO SPTE. */
static inline bool MUST_CHECK tdp_renew(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep,
                                        uint64_t old, uint64_t new)
{
    if (likely(spte_is_renewal(old, new, self->mmu->mmio_value)))
        return spte_store(self, gfn, sptep, EPT_LEVEL_4K, old, new, DEBT_NONE, CHANGE_RENEWS);
    return tdp_store_any(self, gfn, sptep, EPT_LEVEL_4K, old, new, DEBT_NONE);
}

/* Removes a default leaf, in which the CPU may have set A and D. Returns false if the entry is no
 * default leaf or is no longer `old`; the caller then uses tdp_exchange(). */
static inline bool MUST_CHECK tdp_drop_default(struct mmu_cpu *self, gfn_t gfn,
                                               const uint64_t *sptep, unsigned level, uint64_t old,
                                               enum debt_reason reason)
{
    return likely(spte_was_default_leaf(old, level)) &&
           spte_store(self, gfn, sptep, level, old, SPTE_NONPRESENT, reason, CHANGE_UNMAPS);
}

/* Makes an empty entry FROZEN, so that no other CPU acts on it. Returns false if it is no longer
 * empty. */
static inline bool MUST_CHECK tdp_hold(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep,
                                       unsigned level)
{
    return spte_store(self, gfn, sptep, level, SPTE_NONPRESENT, SPTE_FROZEN, DEBT_NONE,
                      CHANGE_HOLDS);
}

/* Stores the new value of an entry that is FROZEN; only this CPU does so. Most are default leaves.
 */
static inline bool MUST_CHECK tdp_thaw(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep,
                                       unsigned level, uint64_t new)
{
    if (likely(spte_is_default_leaf(new, level)))
        return spte_store(self, gfn, sptep, level, SPTE_FROZEN, new, DEBT_NONE, CHANGE_MAPS);
    return tdp_store_any(self, gfn, sptep, level, SPTE_FROZEN, new, DEBT_NONE);
}

/* Repeats the store until it succeeds, for a new value that does not depend on the old one. Returns
 * the old value. */
uint64_t tdp_exchange(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level,
                      uint64_t new, enum debt_reason reason);

/* Makes an entry FROZEN, whatever its value is (rule W4). */
static inline void tdp_freeze(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep,
                              unsigned level, enum debt_reason reason)
{
    uint64_t old = __atomic_load_n(sptep, __ATOMIC_ACQUIRE);
    if (unlikely(!spte_was_default_leaf(old, level) ||
                 !spte_store(self, gfn, sptep, level, old, SPTE_FROZEN, reason, CHANGE_UNMAPS)))
        tdp_exchange(self, gfn, sptep, level, SPTE_FROZEN, reason);
}
