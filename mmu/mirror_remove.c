/* SPDX-License-Identifier: MIT */
/*
 * How pages leave the mirror, and how large ones are split: block, track, and then remove or
 * split; see the header. What is removed is never freed before the secure side says so.
 */
#include "ept/tdx_status.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/mirror.h"
#include "mmu/mmu.h"
#include "mmu/retired.h"
#include "mmu/self.h"
#include "mmu/store.h"
#include "mmu/tables.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/zap.h"

/* ---- Steps ----------------------------------------------------------------------------------- */

/* Ends the change of an entry whose leaf is not BLOCKED any more, or is BLOCKED from now on because
 * the next step was refused. */
static void thaw_unblocked(struct mmu_cpu *self, const struct mirror_place *at, uint64_t new)
{
    if (mirror_is_blocked(at->old))
        __atomic_sub_fetch(&self->mmu->mirror.stats.stuck, ept_frames(at->level), __ATOMIC_RELAXED);
    mirror_thaw(self, at, new);
}

static void thaw_blocked(struct mmu_cpu *self, const struct mirror_place *at)
{
    if (!mirror_is_blocked(at->old))
        __atomic_add_fetch(&self->mmu->mirror.stats.stuck, ept_frames(at->level), __ATOMIC_RELAXED);
    mirror_thaw(self, at, at->old & ~EPT_RWX);
}

/* Makes the entry of a leaf FROZEN, and BLOCKED in the external tables, which it may be already.
 * The lock is held exclusively, so nobody else changes the entry. */
static int freeze_and_block(struct mmu_cpu *self, const struct mirror_place *at)
{
    struct mirror *mirror = &self->mmu->mirror;
    bool ours = mirror_freeze(self, at);
    BUG_ON(!ours);
    uint64_t status = mirror->ops->block(mirror->td, at->gfn, at->level);
    if (likely(!status) || status == TDX_GPA_RANGE_ALREADY_BLOCKED)
        return 0;
    mirror_thaw(self, at, at->old);
    return mirror_refused(self->mmu, "block", at->gfn, at->level, status);
}

/* Begins an epoch, and waits for its end. An earlier one, which another caller of the secure side
 * has begun, must be over before. */
static int mirror_track(struct mmu *mmu, gfn_t gfn)
{
    struct mirror *mirror = &mmu->mirror;
    uint64_t status = mirror->ops->track(mirror->td);
    if (status == TDX_PREVIOUS_TLB_EPOCH_BUSY) {
        tlb_sync(mmu);
        status = mirror->ops->track(mirror->td);
    }
    if (unlikely(status))
        return mirror_refused(mmu, "track the removal of", gfn, EPT_LEVEL_4K, status);
    tlb_sync(mmu);
    return 0;
}

/* ---- Splitting ------------------------------------------------------------------------------- */

/* The last step: the leaf is BLOCKED and tracked. */
static int split_tracked(struct mmu_cpu *self, const struct mirror_place *at)
{
    struct mirror *mirror = &self->mmu->mirror;
    hpa_t external = mirror->ops->take(mirror->td, EPT_LEVEL_4K);
    if (page_is_none(external)) {
        log_error("MMU: no private frame is left to split private frame %#lx", at->gfn.v);
        return -ENOMEM;
    }
    uint64_t status = mirror->ops->split(mirror->td, at->gfn, external);
    if (unlikely(status)) {
        mirror->ops->give(mirror->td, external, EPT_LEVEL_4K);
        return mirror_refused(self->mmu, "split", at->gfn, at->level, status);
    }
    const uint64_t *table = tdp_take_table(self);
    tdp_fill_table(table, mirror_leaf(spte_page(at->old), EPT_LEVEL_4K), PAGE_SIZE);
    self->stats.pages[EPT_LEVEL_4K - 1] += EPT_ENTRIES;
    self->stats.splits++;
    thaw_unblocked(self, at, spte_nonleaf(virt_to_phys(table)));
    return 0;
}

/* Splits a leaf of 2 MiB. The lock is held exclusively. */
static int mirror_split(struct mmu_cpu *self, const struct mirror_place *at)
{
    if (!self->table_cache_used)
        return -EAGAIN;
    int error = freeze_and_block(self, at);
    if (error)
        return error;
    error = mirror_track(self->mmu, at->gfn);
    if (!error)
        error = split_tracked(self, at);
    if (error)
        thaw_blocked(self, at);
    return error;
}

int mirror_split_frame(struct mmu_cpu *self, gfn_t gfn, unsigned level)
{
    int error = 0;
    write_lock(&self->mmu->lock);
    struct mirror_place at = mirror_find(self->mmu, gfn, EPT_LEVEL_4K);
    bool leaf = spte_is_leaf(at.old, at.level);
    if (leaf && at.level > EPT_LEVEL_4K && (at.level > level || mirror_is_blocked(at.old))) {
        error = mirror_split(self, &at);
    } else if (leaf && mirror_is_blocked(at.old)) {
        log_error("MMU: private frame %#lx is BLOCKED, because its removal has failed", gfn.v);
        error = -EACCES;
    }
    write_unlock(&self->mmu->lock);
    return error;
}

/* ---- Freeing a table ------------------------------------------------------------------------- */

static bool is_empty_table(const struct mirror_place *at)
{
    if (at->level != EPT_LEVEL_2M || !spte_is_nonleaf(at->old, at->level))
        return false;
    const uint64_t *table = tdp_table(at->old);
    unsigned i = 0;
    while (i < EPT_ENTRIES && __atomic_load_n(&table[i], __ATOMIC_RELAXED) == SPTE_NONPRESENT)
        i++;
    return i == EPT_ENTRIES;
}

/* The table is empty, and room is reserved to keep it until no walker can be in it. The lock is
 * held exclusively. */
static int free_table(struct mmu_cpu *self, const struct mirror_place *at)
{
    struct mirror *mirror = &self->mmu->mirror;
    hpa_t external;
    enum secure_state state;
    uint64_t status = mirror->ops->read(mirror->td, at->gfn, at->level, &external, &state);
    if (status)
        return mirror_refused(self->mmu, "read the table of", at->gfn, at->level, status);
    int error = freeze_and_block(self, at);
    if (error)
        return error;
    error = mirror_track(self->mmu, at->gfn);
    status = error ? 0 : mirror->ops->free(mirror->td, at->gfn, at->level);
    if (status)
        error = mirror_refused(self->mmu, "free the table of", at->gfn, at->level, status);
    mirror_thaw(self, at, error ? at->old & ~EPT_RWX : SPTE_NONPRESENT);
    if (error)
        return error;
    mirror->ops->give(mirror->td, external, EPT_LEVEL_4K);
    tdp_retire(self->mmu, (struct retired){.page = spte_page(at->old)});
    return 1;
}

int mirror_free_table(struct mmu_cpu *self, gfn_t gfn)
{
    int result = 0;
    struct mirror_place at = mirror_find(self->mmu, gfn, EPT_LEVEL_2M);
    if (!is_empty_table(&at) || !tdp_reserve(self->mmu))
        return 0;
    write_lock(&self->mmu->lock);
    at = mirror_find(self->mmu, gfn, EPT_LEVEL_2M);
    if (is_empty_table(&at))
        result = free_table(self, &at);
    write_unlock(&self->mmu->lock);
    if (result <= 0)
        tdp_unreserve(self->mmu);
    return result;
}

/* ---- Removing -------------------------------------------------------------------------------- */

/* Blocks the leaf at `at`, or splits it first. Returns 0, or -EAGAIN if it was split. */
static int block_leaf(struct mmu_cpu *self, struct mirror_batch *batch,
                      const struct mirror_place *at, gfn_t end)
{
    int error;
    if (at->gfn.v < batch->next.v || end.v - at->gfn.v < ept_frames(at->level)) {
        error = mirror_split(self, at);
        return error ? error : -EAGAIN;
    }
    error = freeze_and_block(self, at);
    if (!error)
        batch->place[batch->used++] = *at;
    return error;
}

void mirror_block(struct mmu_cpu *self, struct mirror_batch *batch, gfn_t first, gfn_t end,
                  int *error)
{
    *error = 0;
    batch->next = first;
    batch->used = 0;
    for (unsigned left = TDP_PIECE; left && !*error; left--) {
        if (batch->next.v >= end.v || batch->used == MIRROR_BATCH)
            break;
        struct mirror_place at = mirror_find(self->mmu, batch->next, EPT_LEVEL_4K);
        if (spte_is_leaf(at.old, at.level))
            *error = block_leaf(self, batch, &at, end);
        uint64_t next = at.gfn.v + ept_frames(at.level);
        if (!*error)
            batch->next = GFN(next < end.v ? next : end.v);
        if (*error == -EAGAIN && self->table_cache_used)
            *error = 0;
    }
    if (!batch->used)
        return;
    int failed = mirror_track(self->mmu, first);
    if (likely(!failed))
        return;
    while (batch->used)
        thaw_blocked(self, &batch->place[--batch->used]);
    batch->next = first;
    *error = failed;
}

int mirror_remove(struct mmu_cpu *self, const struct mirror_batch *batch)
{
    struct mirror *mirror = &self->mmu->mirror;
    int error = 0;
    for (unsigned i = 0; i < batch->used; i++) {
        const struct mirror_place *at = &batch->place[i];
        uint64_t status = mirror->ops->remove(mirror->td, at->gfn, at->level);
        if (likely(!status)) {
            thaw_unblocked(self, at, SPTE_NONPRESENT);
            mirror->ops->give(mirror->td, spte_page(at->old), at->level);
        } else {
            error = mirror_refused(self->mmu, "remove", at->gfn, at->level, status);
            thaw_blocked(self, at);
        }
    }
    return error;
}

void mirror_zap_piece(struct mmu *mmu, gfn_t *next, gfn_t end)
{
    struct mmu_cpu *self = mmu_self(mmu);
    struct mirror_batch batch;
    int error = tdp_top_up(self);
    batch.next = *next;
    batch.used = 0;
    write_lock(&mmu->lock);
    if (!error)
        mirror_block(self, &batch, *next, end, &error);
    write_unlock(&mmu->lock);
    (void)mirror_remove(self, &batch);
    *next = batch.next;
    if (error && error != -EAGAIN) { /* this one stays, for the end of the VM to take it back */
        struct mirror_place at = mirror_find(mmu, *next, EPT_LEVEL_4K);
        *next = GFN(at.gfn.v + ept_frames(at.level));
    }
}

/* ---- The end --------------------------------------------------------------------------------- */

void mirror_stop(struct mmu *mmu)
{
    struct mirror *mirror = &mmu->mirror;
    if (!mmu_has_mirror(mmu))
        return;
    (void)mirror->ops->stop(mirror->td); /* it may have been stopped before */
    tdp_zap_mirror(mmu);
}
