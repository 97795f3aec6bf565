/* SPDX-License-Identifier: MIT */
/*
 * Operations of the host on guest memory that the guest does not notice (rule N4): moving a frame
 * to another host page, and finding the frames that have been accessed recently. See mmu/mmu.h.
 */
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/backing.h"
#include "mmu/change.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/retired.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/zap.h"

/* ---- Moving a block -------------------------------------------------------------------------- */

#define COPY_BYTES (128u << 10) /* copied in one piece */

/* Makes the slot refer to the new block. The old block is retired rather than freed, because
 * readers that do not hold the lock may use it until their epoch ends. */
static int remap_finish(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    struct copying *c = &now->copying;
    if (!tdp_reserve(mmu)) {
        (void)tdp_reclaim_piece(mmu, true);
        return -EINPROGRESS;
    }
    write_lock(&mmu->lock);
    backing_replace(&now->slot.backing, c->first.v - now->slot.base.v, c->to);
    c->held = false;
    c->copied = 0;
    write_unlock(&mmu->lock);
    tdp_retire(mmu, (struct retired){.page = c->from, .order = c->order});
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    tdp_reclaim(mmu, false);
    return change_finish(mmu);
}

/* Copies the next piece of the block. The lock is held exclusively, so guest_write() does not write
 * at the same time. Between two pieces, guest_write() writes to both blocks (remap_follow()). */
static int remap_copy(struct mmu *mmu)
{
    struct copying *c = &mmu->changing.copying;
    uint64_t left = (PAGE_SIZE << c->order) - c->copied;
    uint64_t bytes = left < COPY_BYTES ? left : COPY_BYTES;
    write_lock(&mmu->lock);
    memcpy((char *)phys_to_virt(c->to) + c->copied, (const char *)phys_to_virt(c->from) + c->copied,
           bytes);
    c->copied += bytes;
    write_unlock(&mmu->lock);
    return bytes < left ? -EINPROGRESS : change_then(mmu, remap_finish);
}

void remap_follow(const struct mmu *mmu, gfn_t gfn, const void *page)
{
    const struct copying *c = &mmu->changing.copying;
    uint64_t at = (gfn.v - c->first.v) << PAGE_SHIFT;
    if (gfn.v - c->first.v < BIT(c->order) && at < c->copied)
        memcpy((char *)phys_to_virt(c->to) + at, page, PAGE_SIZE);
}

/* The first step of CHANGE_REMAP: checks the request, allocates the new block and begins to zap the
 * old one. Incrementing the sequence makes faults retry until the change is over, so that no fault
 * maps again what is zapped next. */
int remap_first(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    struct copying *c = &now->copying;
    gfn_t gfn = gpa_to_gfn(now->what.gpa);
    unsigned level;
    const struct memslot *slot = memslot_find(mmu->slots, gfn);
    if (!slot)
        return -EFAULT;
    if (slot->flags & MEMSLOT_PINNED)
        return -EBUSY;
    hpa_t old = backing_page(&slot->backing, gfn.v - slot->base.v, &level);
    if (page_is_none(old))
        return -EFAULT;
    unsigned order = 9 * (level - 1);
    hpa_t new = page_alloc(order);
    if (page_is_none(new)) {
        log_error("host remap: no memory for another block behind frame %#lx", gfn.v);
        return -ENOMEM;
    }
    now->slot = *slot;
    write_lock(&mmu->lock); /* a write that saw the last copy may be in remap_follow() */
    *c = (struct copying){.first = GFN(gfn.v - (old.v >> PAGE_SHIFT & (BIT(order) - 1))),
                          .order = order,
                          .held = true,
                          .from = HPA(align_down(old.v, PAGE_SIZE << order)),
                          .to = new};
    write_unlock(&mmu->lock);
    __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
    return change_zap(mmu, c->first, GFN(c->first.v + BIT(order)), 0, DEBT_HOST_REMAPPED,
                      remap_copy);
}

/* ---- Age ------------------------------------------------------------------------------------- */

/* Makes a leaf that has been accessed old: clears A if the CPU maintains A, else removes R, W and
 * X, so that the next access faults. Returns true if the leaf had been accessed. */
static bool make_old(struct mmu *mmu, const struct tdp_iter *iter)
{
    struct mmu_cpu *self = mmu_self(mmu);
    uint64_t old = iter->old;
    while (spte_is_leaf(old, iter->level) && old & EPT_ACCESSED) {
        uint64_t new = spte_ad_enabled(old) ? old & ~EPT_ACCESSED : spte_track_access(old);
        if (tdp_store(self, iter->gfn, iter->sptep, iter->level, old, new, DEBT_AGED))
            return true;
        old = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
    }
    return false;
}

int mmu_age_some(struct mmu *mmu, gpa_t gpa, uint64_t pages, struct mmu_walk *walk)
{
    struct tdp_iter *iter = &walk->iter;
    gfn_t first = gpa_to_gfn(gpa);
    if (!walk->begun) {
        *walk = (struct mmu_walk){.begun = true};
        tdp_iter_start(iter, mmu, first, GFN(first.v + pages));
        if (!spte_ad_enabled(spte_format.leaf))
            __atomic_store_n(&mmu->access_tracked, true, __ATOMIC_RELEASE);
    }
    do {
        tdp_iter_restart(iter);
        for (unsigned left = TDP_PIECE; left && tdp_iter_valid(iter); left--) {
            walk->count += make_old(mmu, iter);
            tdp_iter_next(iter);
        }
        if (!tdp_iter_valid(iter))
            return 0;
    } while (!mmu_pauses());
    return -EINPROGRESS;
}

uint64_t mmu_age(struct mmu *mmu, gpa_t gpa, uint64_t pages)
{
    struct mmu_walk walk = {0};
    while (mmu_age_some(mmu, gpa, pages, &walk))
        ;
    return walk.count;
}
