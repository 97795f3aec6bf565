/* SPDX-License-Identifier: MIT */
/*
 * Operations of the host on guest memory that the guest does not notice (rule N4): moving a frame
 * to another host page, and finding the frames that have been accessed lately. See mmu/mmu.h.
 */
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/backing.h"
#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/retired.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/zap.h"

/* ---- Another page ---------------------------------------------------------------------------- */

/* While the lock is held exclusively, nobody maps the page or writes to it by guest_write(), and
 * after the zap no CPU in the guest can reach the old page. Readers without the lock may use it
 * until their epoch ends. */
static void host_replace_page(struct mmu *mmu, const struct memslot *slot, gfn_t gfn, hpa_t new)
{
    unsigned level;
    uint64_t offset = gfn.v - slot->base.v;

    write_lock(&mmu->lock);
    hpa_t old = backing_page(&slot->backing, offset, &level);
    unsigned order = 9 * (level - 1);
    gfn_t first = GFN(gfn.v - (old.v >> PAGE_SHIFT & (BIT(order) - 1)));
    old = HPA(align_down(old.v, PAGE_SIZE << order));
    tdp_zap_locked(mmu, first, GFN(first.v + BIT(order)), 0, DEBT_HOST_REMAPPED);
    memcpy(phys_to_virt(new), phys_to_virt(old), PAGE_SIZE << order);
    backing_replace(&slot->backing, offset, new);
    write_unlock(&mmu->lock);
    tdp_retire(mmu, (struct retired){.page = old, .order = order});
}

int mmu_host_remap(struct mmu *mmu, gpa_t gpa)
{
    gfn_t gfn = gpa_to_gfn(gpa);
    unsigned level;
    int error = memslots_lock(mmu);
    if (error)
        return error;
    error = -EFAULT;
    const struct memslot *slot = memslot_find(mmu->slots, gfn);
    if (slot && slot->flags & MEMSLOT_PINNED) {
        error = -EBUSY;
    } else if (slot && !page_is_none(backing_page(&slot->backing, gfn.v - slot->base.v, &level))) {
        hpa_t new = page_alloc(9 * (level - 1));
        if (page_is_none(new)) {
            log_error("host remap: no memory for another block behind frame %#lx", gfn.v);
            error = -ENOMEM;
        } else {
            error = 0;
        }
        while (!error && !tdp_reserve(mmu))
            (void)tdp_reclaim_piece(mmu, true);
        if (!error) {
            __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
            host_replace_page(mmu, slot, gfn, new);
            __atomic_add_fetch(&mmu->invalidate_sequence, 1, __ATOMIC_SEQ_CST);
            tdp_reclaim(mmu, false);
        }
    }
    spin_unlock(&mmu->slots_lock);
    return error;
}

/* ---- Age ------------------------------------------------------------------------------------- */

/* Clears A if the CPU sets it; else removes R, W and X, so that the next access faults. */
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
