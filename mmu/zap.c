/* SPDX-License-Identifier: MIT */
/*
 * Removing translations; see the header. A range is walked entry by entry, without recursion. All
 * translations are removed by unlinking the tables to which the composite points.
 */
#include "mmu/zap.h"

#include "lib/assert.h"
#include "mmu/dirty.h"
#include "mmu/mmu.h"
#include "mmu/retired.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/trace.h"

/* Whether the entry's table may be unlinked as a whole: it lies in the range, and room is reserved
 * to keep it until its epoch ends. */
static bool take_table(struct mmu *mmu, const struct tdp_iter *iter, unsigned flags)
{
    return flags & ZAP_TABLES && spte_is_nonleaf(iter->old, iter->level) &&
           iter->level < mmu->root_level && iter->gfn.v % ept_frames(iter->level) == 0 &&
           iter->end.v - iter->gfn.v >= ept_frames(iter->level) && tdp_reserve(mmu);
}

/* Unlinks the table to which an entry points. The lock is held exclusively, so no fault is inside
 * the table; walkers without a lock may stay in it to the end of their epoch. With `logs`, the D
 * bits in it enter the dirty log when it is freed. That would be wrong for a slot that is deleted
 * or moved, because another slot may cover the frames by then. */
static void cut_table(struct mmu_cpu *self, const uint64_t *sptep, alias_t alias, unsigned level,
                      enum debt_reason reason, bool logs)
{
    gfn_t gfn = stolen_strip(&self->mmu->stolen, alias);
    uint64_t old = tdp_exchange(self, gfn, sptep, level, SPTE_NONPRESENT, reason);
    BUG_ON(!spte_is_nonleaf(old, level));
    tdp_retire(
        self->mmu,
        (struct retired){.page = spte_page(old), .alias = alias, .level = level - 1, .logs = logs});
}

/* Enters the D bit of a removed leaf into the dirty log; no CPU can write through the leaf any
 * more. Most zaps have nothing to log, so this is checked first. */
static inline void note_dirty(struct mmu *mmu, const struct tdp_iter *iter, uint64_t old)
{
    if (unlikely(mmu_is_logging(mmu)) && old & EPT_DIRTY && spte_is_leaf(old, iter->level))
        dirty_note_slot(mmu, ept_first_frame(iter->gfn, iter->level), ept_frames(iter->level));
}

/* Zaps an entry that is neither a table nor a default leaf, or was changed by another CPU. */
static NOINLINE void zap_other(struct mmu_cpu *self, const struct tdp_iter *iter, unsigned flags,
                               enum debt_reason reason)
{
    struct mmu *mmu = self->mmu;
    if (spte_is_leaf(iter->old, iter->level) ||
        (flags & ZAP_MMIO && spte_is_mmio(iter->old, mmu->mmio_value)))
        note_dirty(
            mmu, iter,
            tdp_exchange(self, iter->gfn, iter->sptep, iter->level, SPTE_NONPRESENT, reason));
}

static ALWAYS_INLINE void zap_entry(struct mmu_cpu *self, const struct tdp_iter *iter,
                                    unsigned flags, enum debt_reason reason)
{
    uint64_t old = iter->old;
    if (likely(old == SPTE_NONPRESENT))
        return;
    if (likely(tdp_drop_default(self, iter->gfn, iter->sptep, iter->level, old, reason)))
        note_dirty(self->mmu, iter, old);
    else if (take_table(self->mmu, iter, flags))
        cut_table(self, iter->sptep, ALIAS(iter->gfn.v), iter->level, reason, false);
    else if (unlikely(!spte_is_nonleaf(old, iter->level)))
        zap_other(self, iter, flags, reason);
}

void tdp_zap_locked(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags,
                    enum debt_reason reason)
{
    struct tdp_iter iter;
    struct mmu_cpu *self = mmu_self(mmu);
    tdp_for_each(&iter, mmu, first, end) zap_entry(self, &iter, flags, reason);
    tlb_sync(mmu);
}

void tdp_zap(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags, enum debt_reason reason)
{
    write_lock(&mmu->lock);
    tdp_zap_locked(mmu, first, end, flags, reason);
    write_unlock(&mmu->lock);
}

/* The TLBs are flushed before the lock is dropped, so that no page is reused while a CPU can still
 * reach it (rule W6). */
bool tdp_zap_piece(struct mmu *mmu, struct tdp_iter *iter, unsigned flags, enum debt_reason reason)
{
    struct mmu_cpu *self = mmu_self(mmu);
    bool tables = flags & ZAP_TABLES;
    if (tables && !tdp_has_room(mmu)) {
        (void)tdp_reclaim_piece(mmu, true);
        return false;
    }
    write_lock(&mmu->lock);
    tdp_iter_restart(iter);
    for (unsigned left = TDP_PIECE; left && tdp_iter_valid(iter); left--) {
        zap_entry(self, iter, flags, reason);
        tdp_iter_next(iter);
        if (tables && !tdp_has_room(mmu))
            break;
    }
    tlb_sync(mmu);
    write_unlock(&mmu->lock);
    return !tdp_iter_valid(iter);
}

void tdp_zap_all(struct mmu *mmu, enum debt_reason reason)
{
    unsigned level = mmu->root_level, i = 0;
    trace(mmu_zap_all_fast, mmu_slot_generation(mmu), mmu_stats(mmu).tables);
    while (i < EPT_ENTRIES) {
        write_lock(&mmu->lock);
        for (; i < EPT_ENTRIES; i++) {
            if (!spte_is_present(__atomic_load_n(&mmu->composite[i], __ATOMIC_ACQUIRE)))
                continue;
            if (!tdp_reserve(mmu))
                break;
            cut_table(mmu_self(mmu), &mmu->composite[i], ALIAS(i * ept_frames(level)), level,
                      reason, mmu_is_logging(mmu));
        }
        tlb_sync(mmu);
        write_unlock(&mmu->lock);
        if (i < EPT_ENTRIES && !tdp_reclaim_piece(mmu, true))
            cpu_relax(); /* another CPU is making room */
    }
    mmu_self(mmu)->stats.full_zaps++;
}

void tdp_zap_mirror(struct mmu *mmu)
{
    while (!tdp_reserve(mmu))
        if (!tdp_reclaim_piece(mmu, true))
            cpu_relax();
    write_lock(&mmu->lock);
    cut_table(mmu_self(mmu), mmu->mirror.table, ALIAS(0), mmu->root_level, DEBT_MMU_DESTROYED,
              false);
    write_unlock(&mmu->lock);
}
