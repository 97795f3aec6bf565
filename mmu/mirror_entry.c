/* SPDX-License-Identifier: MIT */
/* The root of the mirror, and the protocol of a change of an entry; see the header. */
#include "mmu/mirror.h"

#include "ept/tdx_status.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/mmu.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tables.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"

/* ---- The root -------------------------------------------------------------------------------- */

static int check_mirror(const struct mmu *mmu, const struct secure_td *td)
{
    const char *why = NULL;
    if (mmu_has_mirror(mmu) || mmu->slots->used)
        why = "it has memory already";
    else if (!mmu_has_sides(mmu) || mmu->stolen.mask != BIT(MIRROR_SHARED_BIT - PAGE_SHIFT))
        why = "its shared bit must be 39, and its only stolen bit";
    else if (td->root_level != EPT_LEVEL_1G || td->gfn_end != ept_frames(EPT_LEVEL_512G))
        why = "its external tables must cover 512 GiB by entries of 1 GiB";
    if (!why)
        return 0;
    log_error("MMU: the VM can have no mirror: %s", why);
    return -EINVAL;
}

/* The root has one table below it from the beginning, which stands for the root of the external
 * tables. */
int mmu_mirror(struct mmu *mmu, const struct mirror_ops *ops, struct secure_td *td)
{
    struct mmu_cpu *self = mmu_self(mmu);
    int error = check_mirror(mmu, td);
    if (!error)
        error = tdp_top_up(self);
    if (error)
        return error;
    const uint64_t *table = tdp_take_table(self);
    uint64_t link = spte_nonleaf(virt_to_phys(tdp_take_table(self)));
    bool done =
        tdp_store_any(self, GFN(0), table, mmu->root_level, SPTE_NONPRESENT, link, DEBT_NONE);
    BUG_ON(!done);
    mmu->mirror = (struct mirror){.table = table, .ops = ops, .td = td};
    mmu->roots[0].role = ROLE_PRIVATE | ROLE_MIRROR;
    tdp_link_external(mmu, td->root);
    return 0;
}

uint64_t mirror_epoch_begin(struct mmu *mmu)
{
    tlb_owe(mmu, DEBT_REMOVAL_TRACKED);
    return tlb_debt(mmu);
}

bool mirror_epoch_over(const struct mmu *mmu, uint64_t epoch)
{
    return tlb_is_paid(mmu, epoch);
}

struct mirror_stats mmu_mirror_stats(const struct mmu *mmu)
{
    return mmu->mirror.stats;
}

/* ---- The protocol of a change ---------------------------------------------------------------- */

struct mirror_place mirror_find(const struct mmu *mmu, gfn_t gfn, unsigned lowest)
{
    struct mirror_place at = {.level = mmu->root_level};
    at.old = tdp_descend(mmu->mirror.table, &at.level, ALIAS(gfn.v), lowest, &at.sptep);
    at.gfn = ept_first_frame(gfn, at.level);
    return at;
}

bool mirror_freeze(struct mmu_cpu *self, const struct mirror_place *at)
{
    if (likely(at->old == SPTE_NONPRESENT))
        return tdp_hold(self, at->gfn, at->sptep, at->level);
    return tdp_store_any(self, at->gfn, at->sptep, at->level, at->old, SPTE_FROZEN,
                         DEBT_REMOVAL_TRACKED);
}

void mirror_thaw(struct mmu_cpu *self, const struct mirror_place *at, uint64_t new)
{
    bool ours = tdp_thaw(self, at->gfn, at->sptep, at->level, new);
    BUG_ON(!ours);
}

uint64_t mirror_leaf(hpa_t page, unsigned level)
{
    return spte_leaf(page, level, true);
}

COLD int mirror_refused(struct mmu *mmu, const char *operation, gfn_t gfn, unsigned level,
                        uint64_t status)
{
    __atomic_add_fetch(&mmu->mirror.stats.refused, 1, __ATOMIC_RELAXED);
    log_error("MMU: the secure side refuses to %s private frame %#lx at level %u: status %#lx",
              operation, gfn.v, level, status);
    return -EIO;
}
