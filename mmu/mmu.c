/* SPDX-License-Identifier: MIT */
/* Creates and destroys a VM's MMU, and answers short questions about it; see mmu/mmu.h. Pure. */
#include "mmu/mmu.h"

#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/change.h"
#include "mmu/memslot.h"
#include "mmu/mirror.h"
#include "mmu/retired.h"
#include "mmu/tables.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/zap.h"

int mmu_create(struct mmu *mmu)
{
    memset(mmu, 0, sizeof(*mmu));
    for (unsigned i = 0; i < CPUS_MAX; i++)
        mmu->cpu[i].mmu = mmu;
    mmu->mmio_value = spte_format.mmio_value;
    int error = memslots_create(mmu);
    if (error)
        return error;
    mmu->slots->generation = mmu_config()->slot_generation_start;
    error = tdp_create(mmu);
    while (error && !memslots_free_piece(mmu))
        ;
    return error;
}

int mmu_take_ve(struct mmu *mmu)
{
    if (!mmu_config()->mmio_caching) {
        log_error("MMU: a guest that takes #VE needs MMIO SPTEs; remove mmio_caching=0");
        return -ENOTSUP;
    }
    mmu->mmio_value = 0;
    for (unsigned i = 0; i < mmu->root_count; i++) {
        struct root *root = &mmu->roots[i];
        if (root->role & ROLE_EXECUTE_ONLY && root->role & EPT_EXECUTE)
            root->role |= ROLE_CONVERTS;
    }
    return 0;
}

bool mmu_destroy_piece(struct mmu *mmu)
{
    if (!mmu->destroying) {
        change_abandon(mmu);
        mirror_stop(mmu);
        tdp_zap_all(mmu, DEBT_MMU_DESTROYED);
        mmu->destroying = true;
    } else if (tdp_is_reclaiming(mmu) || mmu->doomed_used) {
        (void)tdp_reclaim_piece(mmu, true);
    } else if (mmu->composite) {
        tdp_destroy(mmu);
    } else {
        return memslots_free_piece(mmu);
    }
    return false;
}

void mmu_destroy(struct mmu *mmu)
{
    while (!mmu_destroy_piece(mmu))
        ;
}

bool mmu_do_chore(struct mmu *mmu)
{
    if (mmu_nx_recovers(mmu)) {
        (void)mmu_nx_piece(mmu);
        return mmu_has_chores(mmu);
    }
    return mmu_has_chores(mmu) && tdp_reclaim_piece(mmu, false) && mmu_has_chores(mmu);
}

static int set_generation(struct mmu *mmu, uint64_t generation)
{
    uint64_t now = mmu->slots->generation;
    if (generation < now) {
        log_error("MMU: slot generation %#lx is before the current one, %#lx", generation, now);
        return -EINVAL;
    }
    __atomic_store_n(&mmu->slots->generation, now | SLOT_UPDATE_IN_PROGRESS, __ATOMIC_SEQ_CST);
    tlb_wait_epoch(mmu); /* nobody installs an SPTE with the old generation any more */
    tdp_zap_all(mmu, DEBT_NEW_GENERATION);
    __atomic_store_n(&mmu->slots->generation, generation, __ATOMIC_SEQ_CST);
    return 0;
}

int mmu_set_generation(struct mmu *mmu, uint64_t generation)
{
    int error = memslots_check_generation(generation);
    if (error)
        return error;
    error = memslots_lock(mmu);
    if (error)
        return error;
    error = set_generation(mmu, generation);
    spin_unlock(&mmu->slots_lock);
    return error;
}

int mmu_zap(struct mmu *mmu, gpa_t gpa, uint64_t pages)
{
    int error = memslot_check_range(mmu, "zap", gpa, pages);
    if (error)
        return error;
    gfn_t first = gpa_to_gfn(gpa);
    tdp_zap(mmu, first, GFN(first.v + pages), ZAP_MMIO, DEBT_ZAPPED);
    return 0;
}

int mmu_zap_some(struct mmu *mmu, gpa_t gpa, uint64_t pages, struct mmu_walk *walk)
{
    if (!walk->begun) {
        int error = memslot_check_range(mmu, "zap", gpa, pages);
        if (error)
            return error;
        gfn_t first = gpa_to_gfn(gpa);
        walk->begun = true;
        tdp_iter_start(&walk->iter, mmu, first, GFN(first.v + pages));
    }
    while (!tdp_zap_piece(mmu, &walk->iter, ZAP_MMIO, DEBT_ZAPPED))
        if (mmu_pauses())
            return -EINPROGRESS;
    return 0;
}

void mmu_forget(struct mmu *mmu)
{
    __atomic_add_fetch(&mmu->invalidate_sequence, 2, __ATOMIC_SEQ_CST);
}

int mmu_gpa_to_pfn(const struct mmu *mmu, gpa_t gpa, hpa_t *page, unsigned *level)
{
    uint64_t spte = mmu_spte(mmu, gpa, level);
    if (!spte_is_leaf(spte, *level) ||
        (mirror_is_blocked(spte) && mmu_role(mmu, gpa) & ROLE_MIRROR))
        return -ENOENT;
    *page =
        hpa_add(spte_page(spte), (gpa_to_alias(gpa).v & (ept_frames(*level) - 1)) << PAGE_SHIFT);
    return 0;
}

uint64_t mmu_spte(const struct mmu *mmu, gpa_t gpa, unsigned *level)
{
    *level = mmu->root_level;
    if (mmu_gfn(mmu, gpa).v >= memslot_gfn_end(mmu))
        return SPTE_NONPRESENT; /* the tables cannot index this frame */
    const uint64_t *sptep;
    bool mirrored = mmu_role(mmu, gpa) & ROLE_MIRROR;
    return tdp_descend(mirrored ? mmu->mirror.table : mmu->composite, level, gpa_to_alias(gpa),
                       EPT_LEVEL_4K, &sptep);
}
