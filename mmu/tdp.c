/* The walk over EPT tables and the choke point through which all their words pass; see tdp.h. */
#include "mmu/tdp.h"

#include "lib/assert.h"
#include "lib/log.h"
#include "mmu/tlb.h"
#include "mmu/trace.h"
#include "mmu/transition.h"

/* ---- Iterator -------------------------------------------------------------------------------- */

/* The entry of the table at hand in which the walk stands. */
static void enter_table(struct tdp_iter *iter)
{
    alias_t alias = root_alias(iter->root, iter->gfn);
    iter->sptep = &iter->tables[iter->level][ept_index(alias, iter->level)];
    iter->old = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
}

void tdp_iter_start(struct tdp_iter *iter, const struct mmu *mmu, gfn_t first, gfn_t end)
{
    iter->mmu = mmu;
    iter->root = first.v < end.v ? mmu->roots : &mmu->roots[mmu->root_count];
    iter->first = iter->gfn = first;
    iter->end = end;
    tdp_iter_restart(iter);
}

/* A start inside an entry: children begin there, not at its first frame. */
void tdp_iter_restart(struct tdp_iter *iter)
{
    iter->level = iter->mmu->root_level;
    iter->tables[iter->level] = iter->mmu->composite;
    if (tdp_iter_valid(iter))
        enter_table(iter);
}

/* Sideways; up while this was the last entry of its table; then the next root. */
void tdp_iter_skip(struct tdp_iter *iter)
{
    iter->gfn.v = ept_first_frame(iter->gfn, iter->level).v + ept_frames(iter->level);
    if (unlikely(iter->gfn.v >= iter->end.v)) {
        iter->root++;
        iter->gfn = iter->first;
        tdp_iter_restart(iter);
        return;
    }
    if (unlikely(!page_offset((uintptr_t)++iter->sptep))) {
        do {
            iter->level++;
        } while (!ept_index(root_alias(iter->root, iter->gfn), iter->level));
        enter_table(iter);
        return;
    }
    iter->old = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
}

void tdp_iter_next(struct tdp_iter *iter)
{
    uint64_t now = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
    if (!spte_is_nonleaf(now, iter->level)) {
        tdp_iter_skip(iter);
        return;
    }
    iter->tables[--iter->level] = phys_to_virt(spte_page(now));
    enter_table(iter);
}

/* ---- The choke point ------------------------------------------------------------------------- */

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
