/* The walk over EPT tables and the choke point through which all their words pass; see tdp.h. */
#include "mmu/tdp.h"

#include "lib/assert.h"
#include "lib/log.h"
#include "mmu/tlb.h"
#include "mmu/trace.h"
#include "mmu/transition.h"

/* ---- Iterator -------------------------------------------------------------------------------- */

static void iter_read(struct tdp_iter *iter)
{
    iter->sptep = &iter->tables[iter->level][ept_index(iter->gfn, iter->level)];
    iter->old = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
}

void tdp_iter_start(struct tdp_iter *iter, const struct mmu *mmu, gfn_t first, gfn_t end)
{
    iter->mmu = mmu;
    iter->end = end;
    iter->level = mmu->root_level;
    if (first.v >= end.v) {
        iter->level++;
        return;
    }
    iter->tables[iter->level] = mmu->root;
    iter->gfn = first; /* a start inside an entry: children begin there, not at its first frame */
    iter_read(iter);
}

void tdp_iter_next(struct tdp_iter *iter)
{
    uint64_t now = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
    if (spte_is_nonleaf(now, iter->level)) {
        iter->tables[--iter->level] = phys_to_virt(spte_page(now));
        iter_read(iter);
        return;
    }
    /* Sideways; up while this was the last entry of its table. */
    gfn_t next = GFN(ept_first_frame(iter->gfn, iter->level).v + ept_frames(iter->level));
    while (ept_index(next, iter->level) == 0 && iter->level <= iter->mmu->root_level)
        iter->level++;
    if (next.v >= iter->end.v)
        iter->level = iter->mmu->root_level + 1;
    if (!tdp_iter_valid(iter))
        return;
    iter->gfn = next;
    iter_read(iter);
}

/* ---- The choke point ------------------------------------------------------------------------- */

static void account(struct mmu_cpu *self, unsigned level, uint64_t old, uint64_t new)
{
    struct mmu_stats *stats = &self->stats;
    stats->spte_changes++;
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

bool tdp_store(struct mmu_cpu *self, gfn_t gfn, uint64_t *sptep, unsigned level, uint64_t old,
               uint64_t new)
{
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
