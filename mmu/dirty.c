/* SPDX-License-Identifier: MIT */
/* Dirty logging; see the header. */
#include "mmu/dirty.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/retired.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"

enum dirty_method dirty_method(void)
{
    if (!spte_ad_enabled(spte_format.leaf))
        return DIRTY_WRITE_PROTECT;
    return mmu_config()->pml ? DIRTY_PML : DIRTY_D_BITS;
}

bool mmu_wants_pml(const struct mmu *mmu)
{
    return mmu_is_logging(mmu) && dirty_method() == DIRTY_PML;
}

/* ---- Bitmaps --------------------------------------------------------------------------------- */

void dirty_note_slot(struct mmu *mmu, gfn_t gfn, uint64_t frames)
{
    const struct memslots *slots = memslots(mmu);
    for (uint64_t i = 0; i < frames; i++) {
        const struct memslot *slot = memslot_find(slots, GFN(gfn.v + i));
        if (slot && slot->dirty)
            dirty_set(slot, gfn.v + i - slot->base.v);
    }
}

/* ---- SPTEs ----------------------------------------------------------------------------------- */

/* Takes W, or D, from a leaf. True if it had it. */
static bool protect_leaf(struct mmu_cpu *self, const struct tdp_iter *iter, uint64_t bit,
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

static uint64_t noticed_by(enum dirty_method method)
{
    return method == DIRTY_WRITE_PROTECT ? EPT_WRITE : EPT_DIRTY;
}

bool dirty_protect_piece(struct mmu *mmu, struct tdp_iter *iter)
{
    struct mmu_cpu *self = mmu_self(mmu);
    uint64_t bit = noticed_by(dirty_method());
    write_lock(&mmu->lock);
    tdp_iter_restart(iter);
    for (unsigned left = TDP_PIECE; left && tdp_iter_valid(iter); left--) {
        protect_leaf(self, iter, bit, DEBT_LOG_STARTED);
        tdp_iter_next(iter);
    }
    tlb_owe(mmu, DEBT_LOG_STARTED); /* for all D bits at once (rule S4) */
    tlb_sync(mmu);
    write_unlock(&mmu->lock);
    return !tdp_iter_valid(iter);
}

/* Collects 64 pages from `gfn` on; `found` is what the bitmap said. */
static uint64_t collect_word(struct mmu_cpu *self, gfn_t first, gfn_t end, uint64_t found,
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
        if (protect_leaf(self, &iter, noticed_by(method), DEBT_LOG_READ) && method == DIRTY_D_BITS)
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

/* The bitmap is emptied before the SPTEs are protected: a write in between is in the bitmap again,
 * or was let pass by an SPTE whose page is in what we return. The flush comes before the caller
 * looks at any page. */
static void collect(struct mmu *mmu, const struct memslot *slot, uint64_t page, uint64_t *bitmap,
                    size_t words)
{
    struct mmu_cpu *self = mmu_self(mmu);
    enum dirty_method method = dirty_method();
    if (method == DIRTY_PML) { /* all out of the guest: what their logs hold goes into the bitmap */
        tlb_owe(mmu, DEBT_LOG_READ);
        tlb_sync(mmu);
    }
    read_lock(&mmu->lock);
    for (size_t i = 0; i < words; i++) {
        uint64_t at = page + 64 * i, left = slot->backing.pages - at;
        gfn_t first = GFN(slot->base.v + at);
        bitmap[i] = __atomic_exchange_n(&slot->dirty[at / 64], 0, __ATOMIC_SEQ_CST);
        bitmap[i] =
            collect_word(self, first, GFN(first.v + (left < 64 ? left : 64)), bitmap[i], method);
    }
    if (method != DIRTY_WRITE_PROTECT)
        tlb_owe(mmu, DEBT_LOG_READ); /* for all D bits at once (rule S4) */
    tlb_sync(mmu);
    read_unlock(&mmu->lock);
}

/* What tables that have been cut off say of writes comes first. */
static int drain(struct mmu *mmu)
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
        error = drain(mmu);
    if (!error)
        collect(mmu, slot, page, bitmap, words);
    spin_unlock(&mmu->slots_lock);
    return error;
}

static void note_word(uint64_t *word, uint64_t bits)
{
    if (bits)
        __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}

/* Nearly all entries are of the slot, and of the word of its bitmap, of the one before. */
void mmu_pml_note(struct mmu *mmu, const uint64_t *addresses, size_t count)
{
    const struct memslots *slots = memslots(mmu);
    const struct memslot *slot = NULL;
    uint64_t *word = NULL, bits = 0;
    for (size_t i = 0; i < count; i++) {
        gfn_t gfn = mmu_gfn(mmu, GPA(addresses[i]));
        if (unlikely(!slot || gfn.v - slot->base.v >= slot->backing.pages))
            slot = memslot_find(slots, gfn);
        if (unlikely(!slot || !slot->dirty))
            continue;
        uint64_t offset = gfn.v - slot->base.v;
        if (unlikely(word != &slot->dirty[offset / 64])) {
            note_word(word, bits);
            word = &slot->dirty[offset / 64];
            bits = 0;
        }
        bits |= BIT(offset % 64);
    }
    note_word(word, bits);
}
