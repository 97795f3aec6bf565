/* SPDX-License-Identifier: MIT */
/*
 * What each change of the set of slots does: adding, deleting, moving, other flags. Each begins
 * with its checks, and a step that returns change_then() or one of the other functions of change.h
 * is followed by another one.
 *
 * A slot that goes away is first marked INVALID, so that a fault on it waits instead of taking it
 * for MMIO (rule P5); then its SPTEs are zapped, the flush is paid, and only then it leaves the set
 * and its pages are freed (rule F9). MMIO SPTEs are never looked for: the generation outdates them.
 *
 * Faults are turned away while a set is replaced, and not during the whole change: when nobody
 * reads the old set any more, each one meets the mark, or the new flags.
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
#include "mmu/mmu.h"
#include "mmu/page_bitmap.h"
#include "mmu/retired.h"
#include "mmu/sides.h"
#include "mmu/tdp.h"
#include "mmu/tlb.h"
#include "mmu/track.h"
#include "mmu/zap.h"

/* The first slot that logs by PML: from the return on no vCPU is in the guest that does not know,
 * as each looks when it pays the debt. Whoever wants the D bits cleared does that afterwards: a bit
 * that was set without PML would keep the page out of the log for good. */
static void count_logging(struct mmu *mmu, uint32_t old, uint32_t new)
{
    uint32_t change = (new &MEMSLOT_LOG_DIRTY ? 1u : 0u) - (old & MEMSLOT_LOG_DIRTY ? 1u : 0u);
    uint32_t logging = __atomic_add_fetch(&mmu->logging, change, __ATOMIC_SEQ_CST);
    if (change == 1 && logging == 1 && dirty_method() == DIRTY_PML) {
        tlb_owe(mmu, DEBT_LOG_STARTED);
        tlb_sync(mmu);
    }
}

/* Where MMIO SPTEs let the CPU deliver #VE, no exit comes that could find one outdated: they go
 * when memory takes their place (rule F10). Nobody installs one any more, since the set is
 * published. */
static int forget_mmio(struct mmu *mmu)
{
    return mmu_has_ve(mmu) ? change_zap_slot(mmu, ZAP_MMIO, DEBT_SLOT_ADDED, change_finish)
                           : change_finish(mmu);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static int check_flags(const struct mmu *mmu, uint32_t id, uint32_t flags)
{
    bool sides = mmu_has_sides(mmu);
    if (!(flags & ~(uint32_t)(sides ? MEMSLOT_FLAGS : MEMSLOT_FLAGS & ~MEMSLOT_SHARED)))
        return 0;
    log_error("slot %u: flags %#x are unknown; 8 (read-only), 16 (log dirty pages)%s and 64 "
              "(pinned) are allowed",
              id, flags, sides ? ", 32 (shared)" : "");
    return -EINVAL;
}

/* Does [base, base + pages) touch a slot other than number `except`? */
static int check_overlap(const struct memslots *slots, uint32_t id, gfn_t base, uint64_t pages,
                         unsigned except)
{
    const struct memslot *other = memslot_overlapped(slots, base, pages, except);
    if (!other)
        return 0;
    log_error("slot %u: frames %#lx to %#lx overlap slot %u at %#lx to %#lx", id, base.v,
              base.v + pages - 1, other->id, other->base.v, memslot_end(other).v - 1);
    return -EEXIST;
}

/* The slot that the change is about. */
static int find_id(struct mmu *mmu, uint32_t id)
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

/* The same, of one that may go. */
static int find_free_to_go(struct mmu *mmu, uint32_t id)
{
    int error = find_id(mmu, id);
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
    error =
        check_overlap(mmu->slots, change->id, gpa_to_gfn(change->gpa), change->pages, MEMSLOTS_MAX);
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
    *bitmap = page_bitmap_alloc(pages);
    if (!*bitmap)
        return -ENOMEM;
    change_fill(now, *bitmap, page_bitmap_size(pages), value);
    return 0;
}

/* All that hangs on a new slot, or -ENOMEM. */
static int equip(const struct mmu *mmu, struct changing *now, uint64_t pages)
{
    struct memslot *slot = &now->owned;
    int error = backing_init(&slot->backing, slot->base, pages);
    if (error)
        return error;
    change_fill(now, slot->backing.directory, backing_directory_size(&slot->backing), 0);
    if (slot->flags & MEMSLOT_LOG_DIRTY)
        error = equip_bitmap(now, &slot->dirty, 0);
    if (!error && mmu_has_sides(mmu)) {
        error = equip_bitmap(now, &slot->shared, slot->flags & MEMSLOT_SHARED ? ~0ull : 0);
        slot->flags |= (uint32_t)MEMSLOT_SIDED;
    }
    return error;
}

static int add_publish(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    now->slot = now->owned;
    unsigned at = memslots_insert(mmu, &now->slot);
    __atomic_fetch_add(&mmu->slot_pages, now->slot.backing.pages, __ATOMIC_RELAXED);
    count_logging(mmu, 0, now->slot.flags);
    return change_publish(mmu, at, forget_mmio);
}

static int add(struct mmu *mmu)
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
    error = equip(mmu, now, what->pages);
    if (error)
        log_error("%s: no memory to keep track of %#lx pages; make it smaller", name, what->pages);
    else
        error = memslots_make_room(mmu, &now->room);
    return error ? error : change_fill_first(mmu, add_publish);
}

/* ---- A slot that goes away, or elsewhere ----------------------------------------------------- */

/* Its pages are freed in pieces, when nobody can reach them. */
static int delete_unlink(struct mmu *mmu)
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

static int move_relink(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    now->slot.base = gpa_to_gfn(now->what.gpa);
    return change_publish(mmu, memslots_replace(mmu, now->index, &now->slot), forget_mmio);
}

/* What tables that are cut off already say of writes is said of frames, so it is read before these
 * are others. */
static int move_log(struct mmu *mmu)
{
    return tdp_drain_piece(mmu) ? change_then(mmu, move_relink) : -EINPROGRESS;
}

/* Afterwards no CPU reaches the slot's pages. A log that goes on counts D bits, which are lost with
 * whole tables. */
static int zap_invalid(struct mmu *mmu)
{
    const struct changing *now = &mmu->changing;
    if (now->what.kind == CHANGE_DELETE)
        return change_zap_slot(mmu, ZAP_TABLES, DEBT_SLOT_GONE, delete_unlink);
    bool logs = now->slot.flags & MEMSLOT_LOG_DIRTY;
    return change_zap_slot(mmu, logs ? 0 : ZAP_TABLES, DEBT_SLOT_GONE,
                           logs ? move_log : move_relink);
}

static int retire(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    memslots_begin(mmu)->slot[now->index].flags |= (uint32_t)MEMSLOT_INVALID;
    return change_publish_less(mmu, now->index, zap_invalid);
}

static int delete (struct mmu *mmu)
{
    int error = find_free_to_go(mmu, mmu->changing.what.id);
    return error ? error : retire(mmu);
}

static int move(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    const struct mmu_change *what = &now->what;
    char name[24];
    snprintf(name, sizeof(name), "slot %u", what->id);
    int error = find_free_to_go(mmu, what->id);
    if (error)
        return error;
    gfn_t base = gpa_to_gfn(what->gpa);
    error = memslot_check_range(mmu, name, what->gpa, now->slot.backing.pages);
    if (!error)
        error = check_overlap(mmu->slots, what->id, base, now->slot.backing.pages, now->index);
    if (error || base.v == now->slot.base.v)
        return error;
    return retire(mmu);
}

/* ---- Other flags ----------------------------------------------------------------------------- */

/* What changes of flags leave of tables is freed by the next ones. */
static int tidy(struct mmu *mmu)
{
    (void)tdp_reclaim_piece(mmu, false);
    return 0;
}

static int protect(struct mmu *mmu)
{
    return dirty_protect_piece(mmu, &mmu->changing.iter) ? change_then(mmu, tidy) : -EINPROGRESS;
}

/* Where a table is missing for it, the slot is zapped instead. */
static int split(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    int result = huge_split_piece(mmu, &now->iter);
    if (result < 0)
        return change_zap_slot(mmu, 0, DEBT_SLOT_FLAGS, tidy);
    if (!result)
        return -EINPROGRESS;
    tdp_iter_start(&now->iter, mmu, now->slot.base, memslot_end(&now->slot));
    return change_then(mmu, protect);
}

/* What SPTEs say comes from the old flags. If writes are to be noticed from now on, they lose that
 * right; else they go, and faults bring the new ones, large where logging has ended. */
static int apply_flags(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    uint32_t change = now->slot.flags ^ now->what.flags;
    if (change == MEMSLOT_LOG_DIRTY && now->what.flags & MEMSLOT_LOG_DIRTY) {
        tdp_iter_start(&now->iter, mmu, now->slot.base, memslot_end(&now->slot));
        return change_then(mmu, split);
    }
    bool ended = now->slot.flags & change & MEMSLOT_LOG_DIRTY;
    return change_zap_slot(mmu, ended ? ZAP_MMIO | ZAP_TABLES : 0, DEBT_SLOT_FLAGS, tidy);
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
    int result = change_publish_less(mmu, now->index, apply_flags);
    if (!logs) {
        count_logging(mmu, old, flags);
        page_bitmap_free(now->slot.dirty, now->slot.backing.pages);
    }
    return result;
}

/* What tables that are cut off already say of writes is from before the log. */
static int flags_forget(struct mmu *mmu)
{
    return tdp_drain_piece(mmu) ? change_then(mmu, flags_publish) : -EINPROGRESS;
}

static int set_flags(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    struct mmu_change *what = &now->what;
    int error = find_id(mmu, what->id);
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
    return change_fill_first(mmu, flags_forget);
}

/* ---- Room to count who tracks which page ----------------------------------------------------- */

static int counters_publish(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    memslots_begin(mmu)->slot[now->index].tracked = now->owned.tracked;
    return change_publish(mmu, now->index, change_finish);
}

static int add_counters(struct mmu *mmu)
{
    struct changing *now = &mmu->changing;
    const struct memslot *slot = memslot_find(mmu->slots, gpa_to_gfn(now->what.gpa));
    now->index = (unsigned)(slot - mmu->slots->slot);
    now->owned.backing.pages = slot->backing.pages;
    now->owned.tracked = track_alloc(slot->backing.pages);
    if (!now->owned.tracked) {
        log_error("slot %u: no memory to track writes to %#lx pages", slot->id,
                  slot->backing.pages);
        return -ENOMEM;
    }
    change_fill(now, now->owned.tracked, track_size(slot->backing.pages), 0);
    return change_fill_first(mmu, counters_publish);
}

/* ---- The first step of each ------------------------------------------------------------------ */

int (*const change_first[CHANGE_KINDS])(struct mmu *mmu) = {
    [CHANGE_ADD] = add,         [CHANGE_DELETE] = delete,         [CHANGE_MOVE] = move,
    [CHANGE_FLAGS] = set_flags, [CHANGE_COUNTERS] = add_counters, [CHANGE_REMAP] = remap_first,
};
