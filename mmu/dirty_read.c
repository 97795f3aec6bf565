/* SPDX-License-Identifier: MIT */
/*
 * Reads the dirty log of a slot, and prepares its SPTEs: each page that the log has reported is
 * protected again, so that the next write to it is noticed. See dirty.h.
 */
#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/dirty.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/retired.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"

/* ---- SPTEs ----------------------------------------------------------------------------------- */

/* Clears W or D in a leaf. Returns whether it was set. */
static bool dirty_protect_leaf(struct mmu_cpu *self, const struct tdp_iter *iter, uint64_t bit,
                               enum debt_reason reason)
{
    uint64_t old = iter->old;
    while (spte_is_leaf(old, iter->level) && old & bit) {
        if (tdp_store_any(self, iter->gfn, iter->sptep, iter->level, old, old & ~bit, reason))
            return true;
        old = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
    }
    return false;
}

static uint64_t dirty_bit(enum dirty_method method)
{
    return method == DIRTY_WRITE_PROTECT ? EPT_WRITE : EPT_DIRTY;
}

bool dirty_protect_piece(struct mmu *mmu, struct tdp_iter *iter)
{
    struct mmu_cpu *self = mmu_self(mmu);
    uint64_t bit = dirty_bit(dirty_method());
    write_lock(&mmu->lock);
    tdp_iter_restart(iter);
    for (unsigned left = TDP_PIECE; left && tdp_iter_valid(iter); left--) {
        dirty_protect_leaf(self, iter, bit, DEBT_LOG_STARTED);
        tdp_iter_next(iter);
    }
    tlb_owe(mmu, DEBT_LOG_STARTED); /* for all D bits at once (rule S4) */
    tlb_sync(mmu);
    write_unlock(&mmu->lock);
    return !tdp_iter_valid(iter);
}

/* Collects the dirty bits of up to 64 pages from `first` on, and protects the pages again. `found`
 * has their bits of the bitmap. */
static uint64_t dirty_collect_64(struct mmu_cpu *self, gfn_t first, gfn_t end, uint64_t found,
                                 enum dirty_method method)
{
    struct tdp_iter iter;
    if (!found && method != DIRTY_D_BITS)
        return 0;
    tdp_for_each(&iter, self->mmu, first, end)
    {
        uint64_t bit = BIT(iter.gfn.v - first.v);
        if (iter.level > EPT_LEVEL_4K || (method != DIRTY_D_BITS && !(found & bit)))
            continue;
        if (dirty_protect_leaf(self, &iter, dirty_bit(method), DEBT_LOG_READ) &&
            method == DIRTY_D_BITS)
            found |= bit;
    }
    return found;
}

/* ---- Interface ------------------------------------------------------------------------------- */

static const struct memslot *logging_slot(const struct mmu *mmu, uint32_t id)
{
    const struct memslot *slot = memslot_by_id(mmu->slots, id);
    if (slot && slot->dirty)
        return slot;
    log_error("slot %u %s; set its flag MEMSLOT_LOG_DIRTY first", id,
              slot ? "does not log dirty pages" : "does not exist");
    return NULL;
}

/* The bitmap is cleared before the SPTEs are protected. A write in between either sets its bit
 * again, or its page is among those that are returned. The flush comes before the caller reads any
 * page. */
static void dirty_collect(struct mmu *mmu, const struct memslot *slot, uint64_t page,
                          uint64_t *bitmap, size_t words)
{
    struct mmu_cpu *self = mmu_self(mmu);
    enum dirty_method method = dirty_method();
    if (method == DIRTY_PML) { /* every vCPU exits, and its PML buffer goes into the bitmap */
        tlb_owe(mmu, DEBT_LOG_READ);
        tlb_sync(mmu);
    }
    read_lock(&mmu->lock);
    for (size_t i = 0; i < words; i++) {
        uint64_t at = page + 64 * i, left = slot->backing.pages - at;
        gfn_t first = GFN(slot->base.v + at);
        gfn_t end = GFN(first.v + (left < 64 ? left : 64));
        bitmap[i] = __atomic_exchange_n(&slot->dirty[at / 64], 0, __ATOMIC_SEQ_CST);
        bitmap[i] = dirty_collect_64(self, first, end, bitmap[i], method);
    }
    if (method != DIRTY_WRITE_PROTECT)
        tlb_owe(mmu, DEBT_LOG_READ); /* for all D bits at once (rule S4) */
    tlb_sync(mmu);
    read_unlock(&mmu->lock);
}

/* Unlinked tables are read first, since their D bits belong to this log. */
static int dirty_drain(struct mmu *mmu)
{
    while (!tdp_drain_piece(mmu))
        if (mmu_pauses())
            return -EINPROGRESS;
    return 0;
}

int mmu_dirty_get(struct mmu *mmu, uint32_t id, uint64_t page, uint64_t *bitmap, size_t words)
{
    int error = memslots_lock(mmu);
    if (error)
        return error;
    const struct memslot *slot = logging_slot(mmu, id);
    if (!slot || page % 64 || page >= slot->backing.pages ||
        words > (slot->backing.pages - page + 63) / 64)
        error = -EINVAL;
    else
        error = dirty_drain(mmu);
    if (!error)
        dirty_collect(mmu, slot, page, bitmap, words);
    spin_unlock(&mmu->slots_lock);
    return error;
}
