/* SPDX-License-Identifier: MIT */
/* The secure side: the life of a TD, and what is added to it; see the header. Pure. */
#include "ept/secure.h"

#include "ept/secure_blocks.h"
#include "ept/secure_walk.h"
#include "ept/tdx_status.h"
#include "lib/string.h"

/* ---- The life of a TD ------------------------------------------------------------------------ */

uint64_t secure_td_create(struct secure_td *td)
{
    uint64_t covered = ept_frames(td->root_level);
    td->life = SECURE_STOPPED; /* until it has a root of its own */
    if (td->root_level < EPT_LEVEL_2M || td->root_level > EPT_LEVELS || !td->gfn_end ||
        td->gfn_end & (covered - 1) || td->gfn_end > EPT_ENTRIES * covered)
        return TDX_OPERAND_INVALID;
    uint64_t status = secure_take(td, td->root, EPT_LEVEL_4K);
    if (status)
        return status;
    secure_fill_table(td, td->root, SECURE_EMPTY, 0);
    struct secure_frame *frame = secure_frame(td->map, td->root);
    frame->gfn = 0;
    frame->level = (uint8_t)(td->root_level + 1);
    frame->state = SECURE_TABLE;
    td->newest = td->host->epoch_begin(td->context);
    td->losses = 1;
    td->life = SECURE_BUILDING;
    return TDX_SUCCESS;
}

uint64_t secure_td_finalise(struct secure_td *td)
{
    spin_lock(&td->lock);
    uint64_t status = td->life == SECURE_BUILDING  ? TDX_SUCCESS
                      : td->life == SECURE_STOPPED ? TDX_LIFECYCLE_STATE_INCORRECT
                                                   : TDX_OP_STATE_INCORRECT;
    if (!status)
        td->life = SECURE_FINALISED;
    spin_unlock(&td->lock);
    return status;
}

uint64_t secure_td_stop(struct secure_td *td)
{
    spin_lock(&td->lock);
    uint64_t status = td->life == SECURE_STOPPED ? TDX_LIFECYCLE_STATE_INCORRECT : TDX_SUCCESS;
    if (!status) {
        td->life = SECURE_STOPPED;
        td->newest = td->host->epoch_begin(td->context);
    }
    spin_unlock(&td->lock);
    return status;
}

static uint64_t check_reclaim(const struct secure_td *td, const struct secure_frame *frame)
{
    if (td->life != SECURE_STOPPED)
        return TDX_LIFECYCLE_STATE_INCORRECT;
    if (!td->host->epoch_over(td->context, td->newest))
        return TDX_FLUSHVP_NOT_DONE;
    if (secure_owner(frame) != td)
        return TDX_PAGE_METADATA_INCORRECT;
    return frame->state == SECURE_FREE ? TDX_OPERAND_BUSY : TDX_SUCCESS;
}

uint64_t secure_page_reclaim(struct secure_td *td, hpa_t page)
{
    uint64_t status = secure_hold(td->map, page);
    if (status)
        return status;
    struct secure_frame *frame = secure_frame(td->map, page);
    spin_lock(&td->lock);
    status = check_reclaim(td, frame);
    unsigned level = EPT_LEVEL_4K;
    if (!status) {
        uint8_t state = frame->state == SECURE_BLOCKED ? frame->unblocked : frame->state;
        if (state != SECURE_TABLE)
            level = frame->level;
        frame->state = SECURE_FREE;
    }
    spin_unlock(&td->lock);
    secure_drop(td->map, page);
    if (!status)
        secure_give_back(td, page, level, SECURE_GUESTS);
    return status;
}

/* ---- Adding ---------------------------------------------------------------------------------- */

static uint64_t lock_and_find_empty(struct secure_td *td, gfn_t gfn, unsigned level,
                                    struct secure_place *place)
{
    uint64_t status = secure_lock_and_walk(td, gfn, level, place);
    return !status && place->frame ? TDX_EPT_ENTRY_STATE_INCORRECT : status;
}

static uint64_t table_add(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t table,
                          struct secure_place *place)
{
    uint64_t status = secure_check_gfn(td, gfn, level, EPT_LEVEL_2M, td->root_level);
    if (!status)
        status = secure_take(td, table, EPT_LEVEL_4K);
    if (status)
        return status;
    secure_fill_table(td, table, SECURE_EMPTY, 0);
    status = lock_and_find_empty(td, gfn, level, place);
    if (!status)
        secure_install(td, place, gfn, table, SECURE_TABLE);
    spin_unlock(&td->lock);
    if (status)
        secure_give_back(td, table, EPT_LEVEL_4K, SECURE_FOREIGN);
    return status;
}

uint64_t secure_table_add(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t table)
{
    struct secure_place place = {0};
    uint64_t status = table_add(td, gfn, level, table, &place);
    return secure_answer(td, status, SECURE_CALL_TABLE_ADD, gfn, level, table, &place);
}

/* Everything is done with the lock held: what is measured is what is added, and is added before the
 * TD is finalised. The copy is measured, because `source` may be changed meanwhile. */
static uint64_t page_add(struct secure_td *td, gfn_t gfn, hpa_t page, const void *source,
                         struct secure_place *place)
{
    uint64_t status = secure_check_gfn(td, gfn, EPT_LEVEL_4K, EPT_LEVEL_4K, EPT_LEVEL_4K);
    if (status)
        return status;
    status = lock_and_find_empty(td, gfn, EPT_LEVEL_4K, place);
    if (!status && td->life != SECURE_BUILDING)
        status = TDX_OP_STATE_INCORRECT;
    if (!status)
        status = secure_take(td, page, EPT_LEVEL_4K);
    if (!status) {
        void *content = td->host->window(td->context, page);
        memcpy(content, source, PAGE_SIZE);
        td->host->measure(td->context, gfn, content);
        secure_install(td, place, gfn, page, SECURE_MAPPED);
    }
    spin_unlock(&td->lock);
    return status;
}

uint64_t secure_page_add(struct secure_td *td, gfn_t gfn, hpa_t page, const void *source)
{
    struct secure_place place = {0};
    uint64_t status = page_add(td, gfn, page, source, &place);
    return secure_answer(td, status, SECURE_CALL_PAGE_ADD, gfn, EPT_LEVEL_4K, page, &place);
}

/* Clearing takes long, so it is done before the lock is taken, and if the page is large, by several
 * calls. In between, the page has no owner: it is not known whether there will be another call. */
static uint64_t page_aug(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t page,
                         struct secure_place *place)
{
    uint64_t status = secure_check_gfn(td, gfn, level, EPT_LEVEL_4K, EPT_LEVEL_2M);
    if (!status)
        status = secure_take(td, page, level);
    if (status)
        return status;
    if (!secure_clear(td->map, page, level, td->host, td->context, false)) {
        secure_give_back(td, page, level, SECURE_KNOWN);
        return TDX_INTERRUPTED_RESUMABLE;
    }
    status = lock_and_find_empty(td, gfn, level, place);
    if (!status && td->life != SECURE_FINALISED)
        status = TDX_OP_STATE_INCORRECT;
    if (!status)
        secure_install(td, place, gfn, page, SECURE_PENDING);
    spin_unlock(&td->lock);
    if (status)
        secure_give_back(td, page, level, SECURE_KNOWN);
    return status;
}

uint64_t secure_page_aug(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t page)
{
    struct secure_place place = {0};
    uint64_t status = page_aug(td, gfn, level, page, &place);
    return secure_answer(td, status, SECURE_CALL_PAGE_AUG, gfn, level, page, &place);
}

/* `walked`: whether a table leads to the entry; if not, *place may be a larger leaf. */
static uint64_t check_accept(uint64_t walked, const struct secure_place *place)
{
    enum secure_state state = place->state;
    if (state == SECURE_MAPPED)
        return TDX_PAGE_ALREADY_ACCEPTED;
    if (walked)
        return walked;
    if (state == SECURE_TABLE)
        return TDX_PAGE_SIZE_MISMATCH;
    return state == SECURE_PENDING ? TDX_SUCCESS : TDX_EPT_ENTRY_STATE_INCORRECT;
}

/* Accepts the pages of a table that is full of small pages. */
static uint64_t secure_accept_small(const struct secure_td *td, hpa_t table)
{
    uint64_t *entries = secure_table(td, table);
    unsigned count[SECURE_BLOCKED + 1] = {0};
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        if (entries[i] & SECURE_USED)
            count[secure_frame(td->map, HPA(entries[i] & EPT_ADDRESS))->state]++;
    if (count[SECURE_MAPPED] == EPT_ENTRIES)
        return TDX_PAGE_ALREADY_ACCEPTED;
    if (count[SECURE_PENDING] < EPT_ENTRIES)
        return TDX_PAGE_SIZE_MISMATCH;
    for (unsigned i = 0; i < EPT_ENTRIES; i++) {
        hpa_t page = HPA(entries[i] & EPT_ADDRESS);
        secure_frame(td->map, page)->state = SECURE_MAPPED;
        __atomic_store_n(&entries[i], secure_entry_for(td, page, EPT_LEVEL_4K, SECURE_MAPPED),
                         __ATOMIC_RELEASE);
    }
    return TDX_SUCCESS;
}

uint64_t secure_page_accept(struct secure_td *td, gfn_t gfn, unsigned level)
{
    struct secure_place place = {0};
    uint64_t status = secure_check_gfn(td, gfn, level, EPT_LEVEL_4K, EPT_LEVEL_2M);
    if (status)
        return status;
    status = secure_lock_and_walk(td, gfn, level, &place);
    if (status != TDX_LIFECYCLE_STATE_INCORRECT)
        status = check_accept(status, &place);
    if (status == TDX_PAGE_SIZE_MISMATCH)
        status = secure_accept_small(td, HPA(place.entry & EPT_ADDRESS));
    else if (!status)
        secure_install(td, &place, gfn, HPA(place.entry & EPT_ADDRESS), SECURE_MAPPED);
    spin_unlock(&td->lock);
    return status;
}

/* ---- Questions ------------------------------------------------------------------------------- */

uint64_t secure_read(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t *page,
                     enum secure_state *state)
{
    struct secure_place place;
    uint64_t status = secure_check_gfn(td, gfn, level, EPT_LEVEL_4K, td->root_level);
    if (status)
        return status;
    status = secure_lock_and_walk(td, gfn, level, &place);
    if (!status) {
        *state = place.state;
        *page = HPA(place.entry & EPT_ADDRESS);
    }
    spin_unlock(&td->lock);
    return status;
}
