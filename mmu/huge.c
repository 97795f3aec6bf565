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

/* Whether a leaf of `level` can map the frame: frame and host page must be aligned alike, none of
 * the leaf's frames may be tracked, and all of them must be on one side. The block lies completely
 * in its slot, so the leaf does as well. */
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
        if (iter->level == EPT_LEVEL_2M) /* the entries below it are small already */
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

/* Whether the entry points to a table that replaced an executed large page and can be recovered.
 * Like KVM, this leaves tables alone while their slot logs: their pages would be mapped small
 * again, and the log needs their D bits. */
static bool can_recover(const struct mmu *mmu, const struct tdp_iter *iter)
{
    if (!spte_is_nonleaf(iter->old, iter->level) || !(iter->old & SPTE_NX_SPLIT))
        return false;
    const struct memslot *slot = memslot_find(memslots(mmu), iter->gfn);
    return !slot || !slot->dirty;
}

/* Zaps the table. The lock is held exclusively. */
static void recover_table(struct mmu *mmu, struct tdp_iter *iter)
{
    gfn_t first = ept_first_frame(iter->gfn, iter->level);
    gfn_t end = GFN(first.v + ept_frames(iter->level));
    tdp_zap_locked(mmu, first, end, ZAP_MMIO | ZAP_TABLES, DEBT_NX_RECOVERED);
    tdp_iter_skip(iter);
}

static void set_wanted(struct nx_recovery *nx, uint64_t wanted)
{
    __atomic_store_n(&nx->wanted, wanted, __ATOMIC_RELAXED); /* mmu_has_chores() takes no lock */
}

void mmu_nx_begin(struct mmu *mmu)
{
    uint64_t splits = 0;
    for (unsigned i = 0; i < CPUS_MAX; i++)
        splits += __atomic_load_n(&mmu->cpu[i].stats.nx_splits, __ATOMIC_RELAXED);
    write_lock(&mmu->lock);
    mmu->nx.ends = 0;
    set_wanted(&mmu->nx, (splits + NX_RATIO - 1) / NX_RATIO);
    write_unlock(&mmu->lock);
}

/* Recovers at most one table, and returns the number recovered. Continues where the last piece
 * stopped; the recovery ends at the latest when the walk reaches the end of the tables for the
 * second time. Entries below level 2 cannot be recovered. The lock is held exclusively. */
static unsigned recover_piece(struct mmu *mmu)
{
    struct nx_recovery *nx = &mmu->nx;
    struct tdp_iter *iter = &nx->iter;
    unsigned done = 0;
    if (tdp_iter_valid(iter))
        tdp_iter_restart(iter);
    else
        tdp_iter_start(iter, mmu, GFN(0), GFN(memslot_gfn_end(mmu)));
    for (unsigned left = TDP_PIECE; left && !done && tdp_iter_valid(iter); left--) {
        if (can_recover(mmu, iter)) {
            recover_table(mmu, iter);
            done = 1;
        } else if (iter->level == EPT_LEVEL_2M) {
            tdp_iter_skip(iter);
        } else {
            tdp_iter_next(iter);
        }
    }
    bool over = !tdp_iter_valid(iter) && ++nx->ends == 2;
    set_wanted(nx, over ? 0 : nx->wanted - done);
    return done;
}

unsigned mmu_nx_piece(struct mmu *mmu)
{
    unsigned done = 0;
    if (!tdp_has_room(mmu)) {
        (void)tdp_reclaim_piece(mmu, true);
        return 0;
    }
    write_lock(&mmu->lock);
    if (mmu->nx.wanted) /* another pCPU may have finished it */
        done = recover_piece(mmu);
    write_unlock(&mmu->lock);
    return done;
}

unsigned mmu_nx_recover(struct mmu *mmu)
{
    unsigned done = 0;
    mmu_nx_begin(mmu);
    while (mmu_nx_recovers(mmu))
        done += mmu_nx_piece(mmu);
    tdp_reclaim(mmu, false);
    return done;
}
