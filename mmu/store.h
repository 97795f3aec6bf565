/*
 * The choke point: all stores of SPTEs go through tdp_store(), which checks the change, keeps the
 * accounts and writes the flush ledger. Inside mmu/.
 */
#pragma once

#include "lib/trace.h"
#include "mmu/self.h"
#include "mmu/spte.h"
#include "mmu/tlb.h"

/* Any change: may it be, what does it count for, does it owe a flush? */
bool tdp_store_any(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep, unsigned level, uint64_t old,
                   uint64_t new) MUST_CHECK;

/* Replaces `old` at `sptep`, which is at `level`. False if the entry was not `old` any more (the
 * CPU set A or D, or another CPU was faster): nothing was done, read it again. Always a
 * compare-exchange, so that nobody has to ask which entries may change under us (rule S14). `gfn`
 * is any frame that the entry covers, for the trace. Of a usual leaf where nothing was, two
 * compares say all that tdp_store_any() would find out. */
static inline bool MUST_CHECK tdp_store(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep,
                                        unsigned level, uint64_t old, uint64_t new)
{
    if (unlikely(old != SPTE_NONPRESENT || !spte_is_usual_leaf(new, level) ||
                 trace_wants(TRACE_SPTE_CHANGES)))
        return tdp_store_any(self, gfn, sptep, level, old, new);
    if (!__atomic_compare_exchange_n(sptep, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE))
        return false;
    self->stats.spte_changes++;
    self->stats.pages[level - 1]++;
    return true;
}

/* The same of an MMIO SPTE that gets another generation. */
static inline bool MUST_CHECK tdp_renew(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep,
                                        uint64_t old, uint64_t new)
{
    if (unlikely(!spte_is_renewal(old, new, self->mmu->mmio_value) ||
                 trace_wants(TRACE_SPTE_CHANGES)))
        return tdp_store_any(self, gfn, sptep, EPT_LEVEL_4K, old, new);
    if (!__atomic_compare_exchange_n(sptep, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE))
        return false;
    self->stats.spte_changes++;
    self->stats.mmio_spte_created++;
    return true;
}

/* The same of a usual leaf that goes. False, too, if it is none: then ask tdp_exchange(). */
static inline bool MUST_CHECK tdp_drop_usual(struct mmu_cpu *self, uint64_t *sptep, unsigned level,
                                             uint64_t old)
{
    if (unlikely(!spte_was_usual_leaf(old, level) || trace_wants(TRACE_SPTE_CHANGES)))
        return false;
    if (!__atomic_compare_exchange_n(sptep, &old, SPTE_NONPRESENT, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_ACQUIRE))
        return false;
    self->stats.spte_changes++;
    self->stats.pages[level - 1]--;
    tlb_owe(self->mmu);
    return true;
}

/* The same until it succeeds, for changes whose result does not depend on what stood there. Returns
 * what did. */
uint64_t tdp_exchange(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep, unsigned level,
                      uint64_t new);
