/* The choke point through which all SPTEs are stored; see the header. */
#include "mmu/store.h"

#include "lib/assert.h"
#include "lib/log.h"
#include "mmu/trace.h"
#include "mmu/transition.h"

static void account(struct mmu_cpu *self, unsigned level, uint64_t old, uint64_t new)
{
    struct mmu_stats *stats = &self->stats;
    stats->spte_changes++;
    if (spte_is_leaf(old, level) && spte_is_leaf(new, level))
        return;
    if (spte_is_leaf(old, level))
        stats->pages[level - 1]--;
    else if (spte_is_present(old))
        mmu_count(&stats->tables, ~0ull);
    if (spte_is_leaf(new, level))
        stats->pages[level - 1]++;
    else if (spte_is_present(new))
        mmu_count(&stats->tables, 1);
    else if (spte_is_mmio(new, self->mmu->mmio_value))
        stats->mmio_spte_created++;
    if (unlikely((old ^ new) & SPTE_NX_SPLIT && level == EPT_LEVEL_2M))
        mmu_count(&stats->nx_splits, spte_has_table(new) ? 1 : ~0ull);
}

bool tdp_store_any(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep, unsigned level, uint64_t old,
                   uint64_t new)
{
    if (spte_change_is_of_ad(old, new, level) && likely(!trace_wants(TRACE_SPTE_CHANGES))) {
        bool done = __atomic_compare_exchange_n(sptep, &old, new, false, __ATOMIC_SEQ_CST,
                                                __ATOMIC_ACQUIRE);
        self->stats.spte_changes += done;
        return done;
    }
    const char *refused = spte_change_refused(old, new, level, self->mmu->mmio_value);
    if (unlikely(refused)) {
        log_error("MMU: SPTE %#lx -> %#lx at level %u: %s", old, new, level, refused);
        BUG_ON(refused);
    }
    if (!__atomic_compare_exchange_n(sptep, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE))
        return false;
    account(self, level, old, new);
    if (unlikely(trace_wants(TRACE_SPTE_CHANGES)))
        trace_spte_change(self->mmu, gfn, sptep, level, old, new);
    if (spte_change_owes_flush(old, new, level))
        tlb_owe(self->mmu);
    return true;
}

uint64_t tdp_exchange(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep, unsigned level,
                      uint64_t new)
{
    uint64_t old = __atomic_load_n(sptep, __ATOMIC_ACQUIRE);
    while (!tdp_store(self, gfn, sptep, level, old, new))
        old = __atomic_load_n(sptep, __ATOMIC_ACQUIRE);
    return old;
}
