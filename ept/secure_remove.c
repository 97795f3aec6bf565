/* SPDX-License-Identifier: MIT */
/* The secure side: how pages and tables leave a TD, and how a large page is split; see
 * ept/secure.h. Pure. */
#include "ept/secure_walk.h"
#include "ept/tdx_status.h"

/* Has every CPU that was in the guest when the frame was blocked left it or flushed its TLB? The
 * newest epoch of the TD began when the one before it was over, so only the newest is asked for. */
static bool is_tracked(const struct secure_td *td, const struct secure_frame *frame)
{
    return frame->epoch + 1 < td->epoch ||
           (frame->epoch + 1 == td->epoch && td->host->epoch_over(td->context, td->newest));
}

/* Takes the lock, and finds the entry of a table or leaf that is BLOCKED and tracked. */
static uint64_t lock_and_find_blocked(struct secure_td *td, gfn_t gfn, unsigned level, bool table,
                                      struct secure_place *place)
{
    uint64_t status = secure_lock_and_walk(td, gfn, level, place);
    if (status)
        return status;
    const struct secure_frame *frame = place->frame;
    bool blocked = place->state == SECURE_BLOCKED;
    if (!frame || table != ((blocked ? frame->unblocked : frame->state) == SECURE_TABLE))
        return TDX_EPT_ENTRY_STATE_INCORRECT;
    if (!blocked)
        return TDX_GPA_RANGE_NOT_BLOCKED;
    return is_tracked(td, frame) ? TDX_SUCCESS : TDX_TLB_TRACKING_NOT_DONE;
}

static uint64_t range_block(struct secure_td *td, gfn_t gfn, unsigned level,
                            struct secure_place *place)
{
    uint64_t status = secure_check_gfn(td, gfn, level, EPT_LEVEL_4K, td->root_level);
    if (status)
        return status;
    status = secure_lock_and_walk(td, gfn, level, place);
    if (!status && !place->frame)
        status = TDX_EPT_ENTRY_STATE_INCORRECT;
    if (!status && place->frame->state == SECURE_BLOCKED)
        status = TDX_GPA_RANGE_ALREADY_BLOCKED;
    if (!status) {
        place->frame->unblocked = place->frame->state;
        place->frame->state = SECURE_BLOCKED;
        place->frame->epoch = td->epoch;
        secure_store(td, place, (place->entry & ~EPT_RWX) | EPT_SUPPRESS_VE);
    }
    spin_unlock(&td->lock);
    return status;
}

uint64_t secure_range_block(struct secure_td *td, gfn_t gfn, unsigned level)
{
    struct secure_place place = {0};
    uint64_t status = range_block(td, gfn, level, &place);
    return secure_answer(td, status, SECURE_CALL_BLOCK, gfn, level, HPA(0), &place);
}

uint64_t secure_track(struct secure_td *td)
{
    spin_lock(&td->lock);
    uint64_t status = td->life == SECURE_STOPPED ? TDX_LIFECYCLE_STATE_INCORRECT : TDX_SUCCESS;
    if (!status && !td->host->epoch_over(td->context, td->newest))
        status = TDX_PREVIOUS_TLB_EPOCH_BUSY;
    if (!status) {
        td->epoch++;
        td->newest = td->host->epoch_begin(td->context);
    }
    spin_unlock(&td->lock);
    return secure_answer(td, status, SECURE_CALL_TRACK, GFN(0), 0, HPA(0),
                         &(struct secure_place){0});
}

/* Empties the entry, and keeps the page for the caller to scrub. */
static hpa_t secure_detach(struct secure_td *td, const struct secure_place *place)
{
    secure_store(td, place, SECURE_EMPTY);
    place->frame->state = SECURE_FREE;
    return HPA(place->entry & EPT_ADDRESS);
}

static bool table_is_empty(const struct secure_td *td, hpa_t table)
{
    const uint64_t *entries = secure_table(td, table);
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        if (entries[i] & SECURE_USED)
            return false;
    return true;
}

/* Removes the page or table to which the entry at `level` points. */
static uint64_t entry_remove(struct secure_td *td, gfn_t gfn, unsigned level, bool table,
                             struct secure_place *place)
{
    hpa_t page = HPA(0);
    uint64_t status = secure_check_gfn(td, gfn, level, table ? EPT_LEVEL_2M : EPT_LEVEL_4K,
                                       table ? td->root_level : EPT_LEVEL_2M);
    if (status)
        return status;
    status = lock_and_find_blocked(td, gfn, level, table, place);
    if (!status && table && !table_is_empty(td, HPA(place->entry & EPT_ADDRESS)))
        status = TDX_EPT_PAGE_NOT_FREE;
    if (!status)
        page = secure_detach(td, place);
    spin_unlock(&td->lock);
    if (!status)
        secure_give_back(td, page, table ? EPT_LEVEL_4K : level, SECURE_GUESTS);
    return status;
}

uint64_t secure_page_remove(struct secure_td *td, gfn_t gfn, unsigned level)
{
    struct secure_place place = {0};
    uint64_t status = entry_remove(td, gfn, level, false, &place);
    return secure_answer(td, status, SECURE_CALL_PAGE_REMOVE, gfn, level, HPA(0), &place);
}

uint64_t secure_table_remove(struct secure_td *td, gfn_t gfn, unsigned level)
{
    struct secure_place place = {0};
    uint64_t status = entry_remove(td, gfn, level, true, &place);
    return secure_answer(td, status, SECURE_CALL_TABLE_REMOVE, gfn, level, HPA(0), &place);
}

/* The leaves get the state that the large one had before it was blocked. */
static void secure_demote(struct secure_td *td, const struct secure_place *place, gfn_t gfn,
                          hpa_t table)
{
    hpa_t page = HPA(place->entry & EPT_ADDRESS);
    place->frame->state = place->frame->unblocked;
    secure_fill_table(td, table, secure_entry_for(td, page, EPT_LEVEL_4K, place->frame->state),
                      PAGE_SIZE);
    secure_split(td->map, page);
    secure_install(td, place, gfn, table, SECURE_TABLE);
}

static uint64_t page_demote(struct secure_td *td, gfn_t gfn, hpa_t table,
                            struct secure_place *place)
{
    uint64_t status = secure_check_gfn(td, gfn, EPT_LEVEL_2M, EPT_LEVEL_2M, EPT_LEVEL_2M);
    if (status)
        return status;
    status = lock_and_find_blocked(td, gfn, EPT_LEVEL_2M, false, place);
    if (!status)
        status = secure_take(td, table, EPT_LEVEL_4K);
    if (!status)
        secure_demote(td, place, gfn, table);
    spin_unlock(&td->lock);
    return status;
}

uint64_t secure_page_demote(struct secure_td *td, gfn_t gfn, hpa_t table)
{
    struct secure_place place = {0};
    uint64_t status = page_demote(td, gfn, table, &place);
    return secure_answer(td, status, SECURE_CALL_DEMOTE, gfn, EPT_LEVEL_2M, table, &place);
}
