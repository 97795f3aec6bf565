/* SPDX-License-Identifier: MIT */
/*
 * The steps of each change of the set of slots: adding, deleting or moving a slot, and changing its
 * flags. The first step makes all checks. A step that returns change_then() or another function of
 * change.h is followed by another step.
 *
 * A slot that is deleted or moved is first marked INVALID, so that a fault on it retries and does
 * not take it for MMIO (rule P5). Then its SPTEs are zapped and the TLBs are flushed; only after
 * that is it removed from the set, and its pages are freed (rule F9). MMIO SPTEs are not searched
 * for, because the new generation makes them stale.
 *
 * Faults retry only while a set is being replaced, not during the whole change: once nobody reads
 * the old set any more, every fault sees the INVALID flag or the new flags.
 */
#include "mmu/change.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/backing.h"
#include "mmu/dirty.h"
#include "mmu/huge.h"
#include "mmu/memslot.h"
#include "mmu/mirror.h"
#include "mmu/mmu.h"
#include "mmu/page_array.h"
#include "mmu/retired.h"
#include "mmu/sides.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/track.h"
#include "mmu/zap.h"

/* Updates the number of slots that log. If this is the first one and the method is PML, no vCPU is
 * in the guest without PML when the function returns, because each vCPU enables PML when it pays
 * the debt. D bits are cleared only after that: a D bit that a CPU sets without PML would keep its
 * page out of the log permanently. */
static void count_logging(struct mmu *mmu, uint32_t old, uint32_t new)
{
    uint32_t change = (new &MEMSLOT_LOG_DIRTY ? 1u : 0u) - (old & MEMSLOT_LOG_DIRTY ? 1u : 0u);
    uint32_t logging = __atomic_add_fetch(&mmu->logging, change, __ATOMIC_SEQ_CST);
    if (change == 1 && logging == 1 && dirty_method() == DIRTY_PML) {
        tlb_owe(mmu, DEBT_LOG_STARTED);
        tlb_sync(mmu);
    }
}

/* Zaps MMIO SPTEs where memory has been added, in a VM that takes #VE: there, an access to a stale
 * MMIO SPTE causes no exit that could detect it (rule F10). No other one can be installed, because
 * the new set has been published. */
static int zap_ve_mmio(struct mmu *mmu)
{
    return mmu_has_ve(mmu) ? change_zap_slot(mmu, ZAP_MMIO, DEBT_SLOT_ADDED, change_finish)
                           : change_finish(mmu);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static int check_flags(const struct mmu *mmu, uint32_t id, uint32_t flags)
{
    bool sides = mmu_has_sides(mmu);
    if (mmu_has_mirror(mmu) && flags & (MEMSLOT_READONLY | MEMSLOT_LOG_DIRTY)) {
        log_error("slot %u: flags %#x: the memory of a protected VM can neither be read-only (8) "
                  "nor logged (16)",
                  id, flags);
        return -EINVAL;
    }
    if (!(flags & ~(uint32_t)(sides ? MEMSLOT_FLAGS : MEMSLOT_FLAGS & ~MEMSLOT_SHARED)))
        return 0;
    log_error("slot %u: flags %#x are unknown; 8 (read-only), 16 (log dirty pages)%s and 64 "
              "(pinned) are allowed",
              id, flags, sides ? ", 32 (shared)" : "");
    return -EINVAL;
}

/* Refuses [base, base + pages) if it overlaps a slot other than the one at index `except`. */
static int slots_check_overlap(const struct memslots *slots, uint32_t id, gfn_t base,
                               uint64_t pages, unsigned except)
{
    const struct memslot *other = memslot_overlapped(slots, base, pages, except);
    if (!other)
        return 0;
    log_error("slot %u: frames %#lx to %#lx overlap slot %u at %#lx to %#lx", id, base.v,
              base.v + pages - 1, other->id, other->base.v, memslot_end(other).v - 1);
    return -EEXIST;
}

/* Finds the slot with this id, for the change in progress. */
static int find_slot_id(struct mmu *mmu, uint32_t id)
{
    struct changing *now = &mmu->changing;
    now->index = memslot_index(mmu->slots, id);
    if (now->index < mmu->slots->used) {
        now->slot = mmu->slots->slot[now->index];
        return 0;
    }
    log_error("slot %u does not exist", id);
    return -EINVAL;
}

/* find_slot_id() for a slot that is to be deleted or moved, which is refused for a pinned slot. */
static int find_unpinned(struct mmu *mmu, uint32_t id)
{
    int error = find_slot_id(mmu, id);
    if (error || !(mmu->changing.slot.flags & MEMSLOT_PINNED))
        return error;
    log_error("slot %u is pinned: the CPU writes to its host pages", id);
    return -EBUSY;
}

static int check_new(const struct mmu *mmu, const char *what, const struct mmu_change *change)
{
    int error = memslot_check_range(mmu, what, change->gpa, change->pages);
    if (!error)
        error = check_flags(mmu, change->id, change->flags);
    if (error)
        return error;
    if (memslot_by_id(mmu->slots, change->id)) {
        log_error("%s exists already; delete it first", what);
        return -EEXIST;
    }
    error = slots_check_overlap(mmu->slots, change->id, gpa_to_gfn(change->gpa), change->pages,
                                MEMSLOTS_MAX);
    if (!error && mmu->slots->used == MEMSLOTS_MAX) {
        log_error("%s: all %u slots are in use", what, MEMSLOTS_MAX);
        error = -ENOSPC;
    }
    return error;
}

/* ---- A new slot ------------------------------------------------------------------------------ */

static int equip_bitmap(struct changing *now, uint64_t **bitmap, uint64_t value)
{
    uint64_t pages = now->owned.backing.pages;
    *bitmap = page_array_alloc(pages, PAGE_ARRAY_BITS);
    if (!*bitmap)
        return -ENOMEM;
    change_fill(now, *bitmap, page_array_size(pages, PAGE_ARRAY_BITS), value);
    return 0;
}

/* Allocates the directory and bitmaps of a new slot. Returns 0 or -ENOMEM. */
static int equip_slot(const struct mmu *mmu, struct changing *now, uint64_t pages)
{
    struct memslot *slot = &now->owned;
    int error = backing_init(&slot->backing, slot->base, pages);
    if (error)
        return error;
    if (mmu_has_mirror(mmu))
        slot->backing.giant_phase = BACKING_PAGES_ONLY;
    change_fill(now, slot->backing.directory, backing_directory_size(&slot->backing), 0);
    if (slot->flags & MEMSLOT_LOG_DIRTY)
        error = equip_bitmap(now, &slot->dirty, 0);
    if (!error && mmu_has_sides(mmu)) {
        error = equip_bitmap(now, &slot->shared, slot->flags & MEMSLOT_SHARED ? ~0ull : 0);
        slot->flags |= (uint32_t)MEMSLOT_SIDED;
    }
    return error;
}

static int slot_add_publish(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    now->slot = now->owned;
    unsigned at = memslots_insert(mmu, &now->slot);
    __atomic_fetch_add(&mmu->slot_pages, now->slot.backing.pages, __ATOMIC_RELAXED);
    count_logging(mmu, 0, now->slot.flags);
    return change_publish(mmu, at, zap_ve_mmio);
}

static int slot_add(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    const struct mmu_change *what = &now->what;
    char name[24];
    snprintf(name, sizeof(name), "slot %u", what->id);
    int error = check_new(mmu, name, what);
    if (error)
        return error;
    now->owned =
        (struct memslot){.base = gpa_to_gfn(what->gpa), .id = what->id, .flags = what->flags};
    error = equip_slot(mmu, now, what->pages);
    if (error)
        log_error("%s: no memory to keep track of %#lx pages; make it smaller", name, what->pages);
    else
        error = memslots_make_room(mmu, &now->room);
    return error ? error : change_fill_first(mmu, slot_add_publish);
}

/* ---- Deleting and moving a slot -------------------------------------------------------------- */

/* Removes the slot from the set. Its pages are freed in pieces later, when nobody can reach them.
 */
static int slot_delete_unlink(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    if (!tdp_can_doom(mmu)) {
        (void)tdp_reclaim_piece(mmu, true);
        return -EINPROGRESS;
    }
    memslots_remove(mmu, now->index);
    __atomic_fetch_sub(&mmu->slot_pages, now->slot.backing.pages, __ATOMIC_RELAXED);
    int result = change_publish(mmu, now->index, change_finish);
    count_logging(mmu, now->slot.flags, 0);
    tdp_doom(mmu, &now->slot.backing);
    memslot_free_parts(&now->slot);
    return result;
}

static int slot_move_relink(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    now->slot.base = gpa_to_gfn(now->what.gpa);
    return change_publish(mmu, memslots_replace(mmu, now->index, &now->slot), zap_ve_mmio);
}

/* Reads the D bits of unlinked tables into the log. They are entered by frame, so this is done
 * while the frames still belong to this slot. */
static int slot_move_drain(struct mmu *mmu)
{
    return tdp_drain_piece(mmu) ? change_then(mmu, slot_move_relink) : -EINPROGRESS;
}

/* Removes the private pages of a slot that is being deleted, in pieces. */
static int slot_zap_mirror(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    gfn_t end = memslot_end(&now->slot);
    if (mmu_has_mirror(mmu) && now->mirror_next.v < end.v) {
        mirror_zap_piece(mmu, &now->mirror_next, end);
        return -EINPROGRESS;
    }
    return change_zap_slot(mmu, ZAP_TABLES, DEBT_SLOT_GONE, slot_delete_unlink);
}

/* Zaps the INVALID slot, after which no CPU can reach its pages. If the log of a moved slot
 * continues, no whole tables are unlinked, because their D bits would be lost. */
static int slot_zap_invalid(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    now->mirror_next = now->slot.base;
    if (now->what.kind == CHANGE_DELETE)
        return change_then(mmu, slot_zap_mirror);
    bool logs = now->slot.flags & MEMSLOT_LOG_DIRTY;
    return change_zap_slot(mmu, logs ? 0 : ZAP_TABLES, DEBT_SLOT_GONE,
                           logs ? slot_move_drain : slot_move_relink);
}

static int slot_invalidate(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    memslots_begin(mmu)->slot[now->index].flags |= (uint32_t)MEMSLOT_INVALID;
    return change_publish_less(mmu, now->index, slot_zap_invalid);
}

static int slot_delete(struct mmu *mmu)
{
    int error = find_unpinned(mmu, mmu->changing.what.id);
    return error ? error : slot_invalidate(mmu);
}

static int slot_move(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    const struct mmu_change *what = &now->what;
    char name[24];
    snprintf(name, sizeof(name), "slot %u", what->id);
    int error = find_unpinned(mmu, what->id);
    if (!error && mmu_has_mirror(mmu)) {
        log_error("%s: the private memory of a protected VM cannot be moved", name);
        error = -EINVAL;
    }
    if (error)
        return error;
    gfn_t base = gpa_to_gfn(what->gpa);
    error = memslot_check_range(mmu, name, what->gpa, now->slot.backing.pages);
    if (!error)
        error =
            slots_check_overlap(mmu->slots, what->id, base, now->slot.backing.pages, now->index);
    if (error || base.v == now->slot.base.v)
        return error;
    return slot_invalidate(mmu);
}

/* ---- Changing the flags ---------------------------------------------------------------------- */

/* Frees a piece of the tables that earlier changes of flags have unlinked. */
static int flags_tidy(struct mmu *mmu)
{
    (void)tdp_reclaim_piece(mmu, false);
    return 0;
}

static int flags_protect(struct mmu *mmu)
{
    return dirty_protect_piece(mmu, &mmu->changing.iter) ? change_then(mmu, flags_tidy)
                                                         : -EINPROGRESS;
}

/* If there is no memory for the tables of a split, the slot is zapped instead. */
static int flags_split(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    int result = huge_split_piece(mmu, &now->iter);
    if (result < 0)
        return change_zap_slot(mmu, 0, DEBT_SLOT_FLAGS, flags_tidy);
    if (!result)
        return -EINPROGRESS;
    tdp_iter_start(&now->iter, mmu, now->slot.base, memslot_end(&now->slot));
    return change_then(mmu, flags_protect);
}

/* Adapts SPTEs that were made for the old flags. If the only change is that the slot begins to log,
 * they are split and write-protected. Otherwise they are zapped, and faults create new ones, which
 * are large again if logging has ended. */
static int flags_apply(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    uint32_t change = now->slot.flags ^ now->what.flags;
    if (change == MEMSLOT_LOG_DIRTY && now->what.flags & MEMSLOT_LOG_DIRTY) {
        tdp_iter_start(&now->iter, mmu, now->slot.base, memslot_end(&now->slot));
        return change_then(mmu, flags_split);
    }
    bool ended = now->slot.flags & change & MEMSLOT_LOG_DIRTY;
    return change_zap_slot(mmu, ended ? ZAP_MMIO | ZAP_TABLES : 0, DEBT_SLOT_FLAGS, flags_tidy);
}

static int flags_publish(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    uint32_t flags = now->what.flags, old = now->slot.flags;
    struct memslot *next = &memslots_begin(mmu)->slot[now->index];
    bool logs = flags & MEMSLOT_LOG_DIRTY;
    next->flags = flags;
    if (!logs)
        next->dirty = NULL;
    else if (now->owned.dirty)
        next->dirty = now->owned.dirty;
    if (logs)
        count_logging(mmu, old, flags);
    int result = change_publish_less(mmu, now->index, flags_apply);
    if (!logs) {
        count_logging(mmu, old, flags);
        page_array_free(now->slot.dirty, now->slot.backing.pages, PAGE_ARRAY_BITS);
    }
    return result;
}

/* Frees unlinked tables before the log begins, because their D bits are older than the log. */
static int flags_drain(struct mmu *mmu)
{
    return tdp_drain_piece(mmu) ? change_then(mmu, flags_publish) : -EINPROGRESS;
}

static int flags_set(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    struct mmu_change *what = &now->what;
    int error = find_slot_id(mmu, what->id);
    if (!error)
        error = check_flags(mmu, what->id, what->flags);
    if (error)
        return error;
    what->flags = (what->flags & ~MEMSLOT_FOR_LIFE) | (now->slot.flags & MEMSLOT_FOR_LIFE);
    if (what->flags == now->slot.flags)
        return 0;
    if (!(what->flags & MEMSLOT_LOG_DIRTY) || now->slot.dirty)
        return flags_publish(mmu);
    now->owned.backing.pages = now->slot.backing.pages;
    if (equip_bitmap(now, &now->owned.dirty, 0)) {
        log_error("slot %u: no memory for a bitmap of %#lx pages", what->id,
                  now->slot.backing.pages);
        return -ENOMEM;
    }
    return change_fill_first(mmu, flags_drain);
}

/* ---- The counters of write tracking ---------------------------------------------------------- */

static int counters_publish(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    *track_number(&now->owned) = ++mmu->counters_born;
    memslots_begin(mmu)->slot[now->index].tracked = now->owned.tracked;
    return change_publish(mmu, now->index, change_finish);
}

static int counters_add(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    const struct memslot *slot = memslot_find(mmu->slots, gpa_to_gfn(now->what.gpa));
    now->index = (unsigned)(slot - mmu->slots->slot);
    now->owned.backing.pages = slot->backing.pages;
    now->owned.tracked = page_array_alloc(track_counters(slot->backing.pages), PAGE_ARRAY_COUNTS);
    if (!now->owned.tracked) {
        log_error("slot %u: no memory to track writes to %#lx pages", slot->id,
                  slot->backing.pages);
        return -ENOMEM;
    }
    uint64_t size = page_array_size(track_counters(slot->backing.pages), PAGE_ARRAY_COUNTS);
    change_fill(now, now->owned.tracked, size, 0);
    return change_fill_first(mmu, counters_publish);
}

/* ---- Operations ------------------------------------------------------------------------------ */

static int (*const first_step[CHANGE_KINDS])(struct mmu *mmu) = {
    [CHANGE_ADD] = slot_add,    [CHANGE_DELETE] = slot_delete,    [CHANGE_MOVE] = slot_move,
    [CHANGE_FLAGS] = flags_set, [CHANGE_COUNTERS] = counters_add, [CHANGE_REMAP] = remap_first,
};

int change_begin(struct mmu *mmu, struct mmu_change *change)
{
    return change_start(mmu, change, first_step[change->kind]);
}

int mmu_change(struct mmu *mmu, struct mmu_change *change)
{
    return change_request(mmu, change, first_step[change->kind]);
}

static int change_to_the_end(struct mmu *mmu, struct mmu_change change)
{
    int result;
    do {
        result = mmu_change(mmu, &change);
    } while (result == -EINPROGRESS);
    return result;
}

int mmu_slot_add(struct mmu *mmu, uint32_t id, gpa_t gpa, uint64_t pages, uint32_t flags)
{
    return change_to_the_end(
        mmu, (struct mmu_change){
                 .kind = CHANGE_ADD, .id = id, .gpa = gpa, .pages = pages, .flags = flags});
}

int mmu_slot_delete(struct mmu *mmu, uint32_t id)
{
    return change_to_the_end(mmu, (struct mmu_change){.kind = CHANGE_DELETE, .id = id});
}

int mmu_slot_move(struct mmu *mmu, uint32_t id, gpa_t gpa)
{
    return change_to_the_end(mmu, (struct mmu_change){.kind = CHANGE_MOVE, .id = id, .gpa = gpa});
}

int mmu_slot_flags(struct mmu *mmu, uint32_t id, uint32_t flags)
{
    return change_to_the_end(mmu,
                             (struct mmu_change){.kind = CHANGE_FLAGS, .id = id, .flags = flags});
}

int mmu_host_remap(struct mmu *mmu, gpa_t gpa)
{
    return change_to_the_end(mmu, (struct mmu_change){.kind = CHANGE_REMAP, .gpa = gpa});
}
