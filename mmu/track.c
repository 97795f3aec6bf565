/* SPDX-License-Identifier: MIT */
/* Write tracking; see the header. */
#include "mmu/track.h"

#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/change.h"
#include "mmu/huge.h"
#include "mmu/memslot.h"
#include "mmu/mirror.h"
#include "mmu/mmu.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"

/* Removes W and MMU_WRITABLE from the frame's leaves. The caller holds the lock exclusively, and
 * flushes before it drops the lock, even if W was clear already: the flush for clearing W may still
 * be owed (rule S4). */
static void track_protect_locked(struct mmu *mmu, gfn_t gfn)
{
    struct mmu_cpu *self = mmu_self(mmu);
    struct tdp_iter iter;
    tdp_for_each(&iter, mmu, gfn, GFN(gfn.v + 1))
    {
        while (iter.level == EPT_LEVEL_4K && spte_is_leaf(iter.old, iter.level) &&
               iter.old & SPTE_MMU_WRITABLE) {
            uint64_t new = iter.old & ~(EPT_WRITE | SPTE_MMU_WRITABLE);
            if (tdp_store(self, gfn, iter.sptep, iter.level, iter.old, new, DEBT_WRITES_TRACKED))
                break;
            iter.old = __atomic_load_n(iter.sptep, __ATOMIC_ACQUIRE);
        }
    }
}

static void track_protect(struct mmu *mmu, gfn_t gfn)
{
    write_lock(&mmu->lock);
    track_protect_locked(mmu, gfn);
    tlb_sync(mmu);
    write_unlock(&mmu->lock);
}

static int track_add(struct mmu *mmu, gfn_t gfn)
{
    struct mmu_change counters = {.kind = CHANGE_COUNTERS, .gpa = gfn_to_gpa(gfn)};
    int error = memslot_find(mmu->slots, gfn)->tracked ? 0 : change_begin(mmu, &counters);
    if (error)
        return error;
    const struct memslot *slot = memslot_find(mmu->slots, gfn);
    uint16_t *count = &slot->tracked[gfn.v - slot->base.v];
    if (*count == UINT16_MAX)
        return -ENOSPC;
    __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST); /* from now on no fault maps it writable */
    if (*count > 1)
        return 0;
    error = huge_split_frame(mmu, gfn);
    if (error)
        __atomic_sub_fetch(count, 1, __ATOMIC_SEQ_CST);
    else
        track_protect(mmu, gfn);
    return error;
}

int mmu_track(struct mmu *mmu, gpa_t gpa)
{
    gfn_t gfn = gpa_to_gfn(gpa);
    int error = memslots_lock(mmu);
    if (error)
        return error;
    if (mmu_has_mirror(mmu)) {
        log_error("MMU: writes to frame %#lx cannot be tracked: the VM is protected", gfn.v);
        error = -EACCES;
    } else {
        error = memslot_find(mmu->slots, gfn) ? track_add(mmu, gfn) : -EFAULT;
    }
    spin_unlock(&mmu->slots_lock);
    return error;
}

int mmu_untrack(struct mmu *mmu, gpa_t gpa)
{
    gfn_t gfn = gpa_to_gfn(gpa);
    int error = memslots_lock(mmu);
    if (error)
        return error;
    const struct memslot *slot = memslot_find(mmu->slots, gfn);
    if (!slot || !track_is(slot, gfn.v - slot->base.v))
        error = -EINVAL;
    else
        __atomic_sub_fetch(&slot->tracked[gfn.v - slot->base.v], 1, __ATOMIC_SEQ_CST);
    spin_unlock(&mmu->slots_lock);
    return error;
}

/* ---- Openings -------------------------------------------------------------------------------- */

bool track_is_open(const struct mmu *mmu, gfn_t gfn)
{
    for (const struct track_opening *o = mmu->openings; o; o = o->next)
        for (unsigned i = 0; i < o->count; i++)
            if (o->gfn[i].v == gfn.v)
                return true;
    return false;
}

int mmu_track_open(struct mmu *mmu, struct track_opening *opening, gpa_t gpa)
{
    if (opening->count == TRACK_OPEN_MAX)
        return -ENOSPC;
    write_lock(&mmu->lock);
    if (!opening->count) {
        opening->next = mmu->openings;
        mmu->openings = opening;
    }
    opening->gfn[opening->count++] = mmu_gfn(mmu, gpa);
    write_unlock(&mmu->lock);
    return 0;
}

/* A frame that another vCPU has open becomes read-only as well, and the next write to it faults and
 * makes it writable again. */
void mmu_track_close(struct mmu *mmu, struct track_opening *opening)
{
    write_lock(&mmu->lock);
    struct track_opening **link = &mmu->openings;
    while (*link != opening)
        link = &(*link)->next;
    *link = opening->next;
    for (unsigned i = 0; i < opening->count; i++)
        track_protect_locked(mmu, opening->gfn[i]);
    opening->count = 0;
    tlb_sync(mmu);
    write_unlock(&mmu->lock);
}
