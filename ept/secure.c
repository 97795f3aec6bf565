/* SPDX-License-Identifier: MIT */
/* The secure side; see the header. Pure. */
#include "ept/secure.h"

#include "ept/tdx_status.h"
#include "lib/assert.h"
#include "lib/string.h"

/* ---- Entries --------------------------------------------------------------------------------- *
 * The CPU reads an entry's rights and address. The state is in the map of owners, so that nothing
 * is known twice, but for one bit: the entry is in use, even if it translates nothing. */
#define ENTRY_EMPTY EPT_SUPPRESS_VE
#define ENTRY_USED  EPT_SOFTWARE_LOW

static uint64_t entry_for(const struct secure_td *td, hpa_t page, unsigned level,
                          enum secure_state state)
{
    uint64_t entry = page.v | ENTRY_USED | EPT_SUPPRESS_VE;
    if (state == SECURE_TABLE || state == SECURE_MAPPED)
        entry |= EPT_RWX;
    if (state == SECURE_PENDING && td->pending_ve)
        entry &= ~EPT_SUPPRESS_VE;
    if (state == SECURE_PENDING || state == SECURE_MAPPED)
        entry |=
            field_put(MEMTYPE_WB, EPT_MEMTYPE) | EPT_IPAT | (level > EPT_LEVEL_4K ? EPT_LARGE : 0);
    return entry;
}

/* An entry that was found by a walk. */
struct place {
    hpa_t table;
    unsigned index, level;
    uint64_t entry;
    struct secure_frame *frame; /* of what the entry points to; NULL: it is empty */
};

static uint64_t *table_window(const struct secure_td *td, hpa_t table)
{
    return td->host->window(td->context, table);
}

static void place_store(const struct secure_td *td, const struct place *place, uint64_t entry)
{
    __atomic_store_n(&table_window(td, place->table)[place->index], entry, __ATOMIC_RELEASE);
}

static void place_load(const struct secure_td *td, struct place *place, gfn_t gfn)
{
    place->index = ept_index(ALIAS(gfn.v), place->level);
    place->entry = __atomic_load_n(&table_window(td, place->table)[place->index], __ATOMIC_ACQUIRE);
    place->frame =
        place->entry & ENTRY_USED ? secure_frame(td->map, HPA(place->entry & EPT_ADDRESS)) : NULL;
}

static enum secure_state place_state(const struct place *place)
{
    return place->frame ? place->frame->state : SECURE_FREE;
}

/* Walks to the entry for `gfn` at `level`. If no table leads there, *place is the entry where the
 * walk has ended. */
static uint64_t walk(const struct secure_td *td, gfn_t gfn, unsigned level, struct place *place)
{
    *place = (struct place){.table = td->root, .level = td->root_level};
    for (;;) {
        place_load(td, place, gfn);
        if (place->level == level)
            return TDX_SUCCESS;
        if (place_state(place) != SECURE_TABLE)
            return TDX_EPT_WALK_FAILED;
        place->table = HPA(place->entry & EPT_ADDRESS);
        place->level--;
    }
}

/* The frame's page, as it is written to the entry at `place`, in its new state. */
static void install(struct secure_td *td, const struct place *place, gfn_t gfn, hpa_t page,
                    enum secure_state state)
{
    struct secure_frame *frame = secure_frame(td->map, page);
    frame->gfn = gfn.v;
    frame->level = (uint8_t)place->level;
    frame->state = (uint8_t)state;
    place_store(td, place, entry_for(td, page, place->level, state));
}

/* ---- Pages ----------------------------------------------------------------------------------- */

static uint64_t take(struct secure_td *td, hpa_t page, unsigned level)
{
    uint64_t status = secure_claim(td->map, td, page, level);
    if (!status)
        __atomic_add_fetch(&td->owned, ept_frames(level), __ATOMIC_RELAXED);
    return status;
}

static void give_back(struct secure_td *td, hpa_t page, unsigned level)
{
    secure_release(td->map, page, level);
    __atomic_sub_fetch(&td->owned, ept_frames(level), __ATOMIC_RELEASE);
}

static void scrub(const struct secure_td *td, hpa_t page, unsigned level)
{
    for (uint64_t i = 0; i < ept_frames(level); i++)
        memset(td->host->window(td->context, hpa_add(page, i * PAGE_SIZE)), 0, PAGE_SIZE);
}

/* The owner gives up a page whose state is FREE already, so no other call finds it. */
static void scrub_and_give_back(struct secure_td *td, hpa_t page, unsigned level)
{
    scrub(td, page, level);
    give_back(td, page, level);
}

static void fill_table(const struct secure_td *td, hpa_t table, uint64_t first, uint64_t step)
{
    uint64_t *entries = table_window(td, table);
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        entries[i] = first + i * step;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static uint64_t check_gfn(const struct secure_td *td, gfn_t gfn, unsigned level, unsigned lowest,
                          unsigned highest)
{
    if (level < lowest || level > highest || gfn.v >= td->gfn_end ||
        gfn.v & (ept_frames(level) - 1))
        return TDX_OPERAND_INVALID;
    return TDX_SUCCESS;
}

/* Takes the lock, and finds the entry. The caller drops the lock whatever is returned. */
static uint64_t lock_and_walk(struct secure_td *td, gfn_t gfn, unsigned level, struct place *place)
{
    spin_lock(&td->lock);
    if (td->life == SECURE_STOPPED)
        return TDX_LIFECYCLE_STATE_INCORRECT;
    return walk(td, gfn, level, place);
}

static uint64_t lock_and_find_empty(struct secure_td *td, gfn_t gfn, unsigned level,
                                    struct place *place)
{
    uint64_t status = lock_and_walk(td, gfn, level, place);
    return !status && place->frame ? TDX_EPT_ENTRY_STATE_INCORRECT : status;
}

/* Has every CPU that was in the guest when the frame was blocked left it or flushed its TLB? The
 * newest epoch of the TD began when the one before it was over, so only the newest is asked for. */
static bool is_tracked(const struct secure_td *td, const struct secure_frame *frame)
{
    return frame->epoch + 1 < td->epoch ||
           (frame->epoch + 1 == td->epoch && td->host->epoch_over(td->context, td->newest));
}

/* Takes the lock, and finds the entry of a table or leaf that is BLOCKED and tracked. */
static uint64_t lock_and_find_blocked(struct secure_td *td, gfn_t gfn, unsigned level, bool table,
                                      struct place *place)
{
    uint64_t status = lock_and_walk(td, gfn, level, place);
    if (status)
        return status;
    const struct secure_frame *frame = place->frame;
    bool blocked = place_state(place) == SECURE_BLOCKED;
    if (!frame || table != ((blocked ? frame->unblocked : frame->state) == SECURE_TABLE))
        return TDX_EPT_ENTRY_STATE_INCORRECT;
    if (!blocked)
        return TDX_GPA_RANGE_NOT_BLOCKED;
    return is_tracked(td, frame) ? TDX_SUCCESS : TDX_TLB_TRACKING_NOT_DONE;
}

/* ---- The life of a TD ------------------------------------------------------------------------ */

uint64_t secure_td_create(struct secure_td *td)
{
    uint64_t covered = ept_frames(td->root_level);
    if (td->root_level < EPT_LEVEL_2M || td->root_level > EPT_LEVELS || !td->gfn_end ||
        td->gfn_end & (covered - 1) || td->gfn_end > EPT_ENTRIES * covered)
        return TDX_OPERAND_INVALID;
    uint64_t status = take(td, td->root, EPT_LEVEL_4K);
    if (status)
        return status;
    fill_table(td, td->root, ENTRY_EMPTY, 0);
    struct secure_frame *frame = secure_frame(td->map, td->root);
    frame->gfn = 0;
    frame->level = (uint8_t)(td->root_level + 1);
    frame->state = SECURE_TABLE;
    td->newest = td->host->epoch_begin(td->context);
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
    uint64_t status = secure_check_page(td->map, page, EPT_LEVEL_4K);
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
    if (!status)
        scrub_and_give_back(td, page, level);
    return status;
}

/* ---- Adding ---------------------------------------------------------------------------------- */

uint64_t secure_table_add(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t table)
{
    struct place place;
    uint64_t status = check_gfn(td, gfn, level, EPT_LEVEL_2M, td->root_level);
    if (!status)
        status = take(td, table, EPT_LEVEL_4K);
    if (status)
        return status;
    fill_table(td, table, ENTRY_EMPTY, 0);
    status = lock_and_find_empty(td, gfn, level, &place);
    if (!status)
        install(td, &place, gfn, table, SECURE_TABLE);
    spin_unlock(&td->lock);
    if (status)
        give_back(td, table, EPT_LEVEL_4K);
    return status;
}

/* Everything is done with the lock held: what is measured is what is added, and is added before the
 * TD is finalised. The copy is measured, because `source` may be changed meanwhile. */
uint64_t secure_page_add(struct secure_td *td, gfn_t gfn, hpa_t page, const void *source)
{
    struct place place;
    uint64_t status = check_gfn(td, gfn, EPT_LEVEL_4K, EPT_LEVEL_4K, EPT_LEVEL_4K);
    if (status)
        return status;
    status = lock_and_find_empty(td, gfn, EPT_LEVEL_4K, &place);
    if (!status && td->life != SECURE_BUILDING)
        status = TDX_OP_STATE_INCORRECT;
    if (!status)
        status = take(td, page, EPT_LEVEL_4K);
    if (!status) {
        void *content = td->host->window(td->context, page);
        memcpy(content, source, PAGE_SIZE);
        td->host->measure(td->context, gfn, content);
        install(td, &place, gfn, page, SECURE_MAPPED);
    }
    spin_unlock(&td->lock);
    return status;
}

/* Clearing takes long, so it is done before the lock is taken. */
uint64_t secure_page_aug(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t page)
{
    struct place place;
    uint64_t status = check_gfn(td, gfn, level, EPT_LEVEL_4K, EPT_LEVEL_2M);
    if (!status)
        status = take(td, page, level);
    if (status)
        return status;
    scrub(td, page, level);
    status = lock_and_find_empty(td, gfn, level, &place);
    if (!status && td->life != SECURE_FINALISED)
        status = TDX_OP_STATE_INCORRECT;
    if (!status)
        install(td, &place, gfn, page, SECURE_PENDING);
    spin_unlock(&td->lock);
    if (status)
        give_back(td, page, level);
    return status;
}

/* `walked`: whether a table leads to the entry; if not, *place may be a larger leaf. */
static uint64_t check_accept(uint64_t walked, const struct place *place)
{
    enum secure_state state = place_state(place);
    if (state == SECURE_MAPPED)
        return TDX_PAGE_ALREADY_ACCEPTED;
    if (walked)
        return walked;
    if (state == SECURE_TABLE)
        return TDX_PAGE_SIZE_MISMATCH;
    return state == SECURE_PENDING ? TDX_SUCCESS : TDX_EPT_ENTRY_STATE_INCORRECT;
}

uint64_t secure_page_accept(struct secure_td *td, gfn_t gfn, unsigned level)
{
    struct place place = {0};
    uint64_t status = check_gfn(td, gfn, level, EPT_LEVEL_4K, EPT_LEVEL_2M);
    if (status)
        return status;
    status = lock_and_walk(td, gfn, level, &place);
    if (status != TDX_LIFECYCLE_STATE_INCORRECT)
        status = check_accept(status, &place);
    if (!status)
        install(td, &place, gfn, HPA(place.entry & EPT_ADDRESS), SECURE_MAPPED);
    spin_unlock(&td->lock);
    return status;
}

/* ---- Removing -------------------------------------------------------------------------------- */

uint64_t secure_range_block(struct secure_td *td, gfn_t gfn, unsigned level)
{
    struct place place;
    uint64_t status = check_gfn(td, gfn, level, EPT_LEVEL_4K, td->root_level);
    if (status)
        return status;
    status = lock_and_walk(td, gfn, level, &place);
    if (!status && !place.frame)
        status = TDX_EPT_ENTRY_STATE_INCORRECT;
    if (!status && place.frame->state == SECURE_BLOCKED)
        status = TDX_GPA_RANGE_ALREADY_BLOCKED;
    if (!status) {
        place.frame->unblocked = place.frame->state;
        place.frame->state = SECURE_BLOCKED;
        place.frame->epoch = td->epoch;
        place_store(td, &place, (place.entry & ~EPT_RWX) | EPT_SUPPRESS_VE);
    }
    spin_unlock(&td->lock);
    return status;
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
    return status;
}

/* Empties the entry, and keeps the page for the caller to scrub. */
static hpa_t detach(struct secure_td *td, const struct place *place)
{
    place_store(td, place, ENTRY_EMPTY);
    place->frame->state = SECURE_FREE;
    return HPA(place->entry & EPT_ADDRESS);
}

uint64_t secure_page_remove(struct secure_td *td, gfn_t gfn, unsigned level)
{
    struct place place;
    hpa_t page = HPA(0);
    uint64_t status = check_gfn(td, gfn, level, EPT_LEVEL_4K, EPT_LEVEL_2M);
    if (status)
        return status;
    status = lock_and_find_blocked(td, gfn, level, false, &place);
    if (!status)
        page = detach(td, &place);
    spin_unlock(&td->lock);
    if (!status)
        scrub_and_give_back(td, page, level);
    return status;
}

static bool table_is_empty(const struct secure_td *td, hpa_t table)
{
    const uint64_t *entries = table_window(td, table);
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        if (entries[i] & ENTRY_USED)
            return false;
    return true;
}

uint64_t secure_table_remove(struct secure_td *td, gfn_t gfn, unsigned level)
{
    struct place place;
    hpa_t table = HPA(0);
    uint64_t status = check_gfn(td, gfn, level, EPT_LEVEL_2M, td->root_level);
    if (status)
        return status;
    status = lock_and_find_blocked(td, gfn, level, true, &place);
    if (!status && !table_is_empty(td, HPA(place.entry & EPT_ADDRESS)))
        status = TDX_EPT_PAGE_NOT_FREE;
    if (!status)
        table = detach(td, &place);
    spin_unlock(&td->lock);
    if (!status)
        scrub_and_give_back(td, table, EPT_LEVEL_4K);
    return status;
}

/* The leaves get the state that the large one had before it was blocked. */
static void demote(struct secure_td *td, const struct place *place, gfn_t gfn, hpa_t table)
{
    hpa_t page = HPA(place->entry & EPT_ADDRESS);
    place->frame->state = place->frame->unblocked;
    fill_table(td, table, entry_for(td, page, EPT_LEVEL_4K, place->frame->state), PAGE_SIZE);
    secure_split(td->map, page);
    install(td, place, gfn, table, SECURE_TABLE);
}

uint64_t secure_page_demote(struct secure_td *td, gfn_t gfn, hpa_t table)
{
    struct place place;
    uint64_t status = check_gfn(td, gfn, EPT_LEVEL_2M, EPT_LEVEL_2M, EPT_LEVEL_2M);
    if (status)
        return status;
    status = lock_and_find_blocked(td, gfn, EPT_LEVEL_2M, false, &place);
    if (!status)
        status = take(td, table, EPT_LEVEL_4K);
    if (!status)
        demote(td, &place, gfn, table);
    spin_unlock(&td->lock);
    return status;
}

/* ---- Questions ------------------------------------------------------------------------------- */

uint64_t secure_read(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t *page,
                     enum secure_state *state)
{
    struct place place;
    uint64_t status = check_gfn(td, gfn, level, EPT_LEVEL_4K, td->root_level);
    if (status)
        return status;
    status = lock_and_walk(td, gfn, level, &place);
    if (!status) {
        *state = place_state(&place);
        *page = HPA(place.entry & EPT_ADDRESS);
    }
    spin_unlock(&td->lock);
    return status;
}
