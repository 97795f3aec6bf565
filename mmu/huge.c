/* SPDX-License-Identifier: MIT */
/* Large pages; see the header. */
#include "mmu/huge.h"

#include "lib/assert.h"
#include "mmu/map.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/retired.h"
#include "mmu/self.h"
#include "mmu/sides.h"
#include "mmu/tables.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/track.h"
#include "mmu/zap.h"

uint64_t huge_denied(void)
{
    return mmu_config()->nx_huge ? EPT_EXECUTE : 0;
}

/* Can a leaf of `level` map the frame? Frames and host pages must be aligned alike, no frame may be
 * tracked, and all must be on one side. The block lies wholly in its slot, so the leaf does, too.
 */
static bool huge_fits(const struct memslot *slot, gfn_t gfn, hpa_t page, unsigned level)
{
    uint64_t frames = ept_frames(level), first = ept_first_frame(gfn, level).v;
    return !((gfn.v ^ page.v >> PAGE_SHIFT) & (frames - 1)) &&
           !track_any(slot, first - slot->base.v, frames) &&
           sides_uniform(slot, first - slot->base.v, frames);
}

unsigned huge_level(const struct memslot *slot, gfn_t gfn, hpa_t page, unsigned level,
                    uint64_t access)
{
    if (slot->flags & MEMSLOT_LOG_DIRTY || access & huge_denied())
        return EPT_LEVEL_4K;
    while (level > EPT_LEVEL_4K && !huge_fits(slot, gfn, page, level))
        level--;
    return level;
}

int huge_split_piece(struct mmu *mmu, struct tdp_iter *iter)
{
    struct mmu_cpu *self = mmu_self(mmu);
    int error = tdp_top_up(self); /* before the lock (rule N6) */
    if (error)
        return error;
    write_lock(&mmu->lock);
    tdp_iter_restart(iter);
    for (unsigned left = TDP_PIECE; left && tdp_iter_valid(iter); left--) {
        if (iter->level > EPT_LEVEL_4K && spte_is_leaf(iter->old, iter->level)) {
            if (!self->table_cache_used)
                break;
            while (!tdp_split(self, iter->gfn, iter->sptep, iter->level, iter->old, 0))
                iter->old = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
        }
        if (iter->level == EPT_LEVEL_2M) /* entries below it are small */
            tdp_iter_skip(iter);
        else
            tdp_iter_next(iter);
    }
    write_unlock(&mmu->lock);
    return !tdp_iter_valid(iter);
}

int huge_split_frame(struct mmu *mmu, gfn_t gfn)
{
    struct tdp_iter iter;
    int result;
    tdp_iter_start(&iter, mmu, gfn, GFN(gfn.v + 1));
    do {
        result = huge_split_piece(mmu, &iter);
    } while (!result);
    return result < 0 ? result : 0;
}

/* ---- Recovery -------------------------------------------------------------------------------- */

/* Zaps the next table that replaces an executed large page, from the cursor on. Returns false if
 * there is none up to the end of the address space. */
static bool nx_recover_one(struct mmu *mmu)
{
    gfn_t end = GFN(memslot_gfn_end(mmu));
    struct tdp_iter iter;
    tdp_for_each(&iter, mmu, mmu->nx_cursor, end)
    {
        if (!spte_is_nonleaf(iter.old, iter.level) || !(iter.old & SPTE_NX_SPLIT))
            continue;
        gfn_t first = ept_first_frame(iter.gfn, iter.level);
        mmu->nx_cursor = GFN(first.v + ept_frames(iter.level));
        tdp_zap_locked(mmu, first, mmu->nx_cursor,
                       mmu_is_logging(mmu) ? ZAP_MMIO : ZAP_MMIO | ZAP_TABLES, DEBT_NX_RECOVERED);
        return true;
    }
    mmu->nx_cursor = GFN(0);
    return false;
}

unsigned mmu_nx_recover(struct mmu *mmu)
{
    uint64_t splits = 0;
    for (unsigned i = 0; i < CPUS_MAX; i++)
        splits += __atomic_load_n(&mmu->cpu[i].stats.nx_splits, __ATOMIC_RELAXED);
    uint64_t wanted = (splits + NX_RATIO - 1) / NX_RATIO;
    unsigned done = 0, ends = 0;

    write_lock(&mmu->lock);
    while (done < wanted && ends < 2) {
        if (nx_recover_one(mmu))
            done++;
        else
            ends++;
    }
    write_unlock(&mmu->lock);
    tdp_reclaim(mmu, false);
    return done;
}
