/* SPDX-License-Identifier: MIT */
/* Entries of the external tables; see the header. Pure. */
#include "ept/secure_walk.h"

#include "ept/tdx_status.h"

uint64_t secure_entry_for(const struct secure_td *td, hpa_t page, unsigned level,
                          enum secure_state state)
{
    uint64_t entry = page.v | SECURE_USED | EPT_SUPPRESS_VE;
    if (state == SECURE_TABLE || state == SECURE_MAPPED)
        entry |= EPT_RWX;
    if (state == SECURE_PENDING && td->pending_ve)
        entry &= ~EPT_SUPPRESS_VE;
    if (state == SECURE_PENDING || state == SECURE_MAPPED)
        entry |=
            field_put(MEMTYPE_WB, EPT_MEMTYPE) | EPT_IPAT | (level > EPT_LEVEL_4K ? EPT_LARGE : 0);
    return entry;
}

uint64_t *secure_table(const struct secure_td *td, hpa_t table)
{
    return td->host->window(td->context, table);
}

void secure_store(struct secure_td *td, const struct secure_place *place, uint64_t entry)
{
    if (place->entry & ~entry & EPT_RWX)
        td->losses++;
    __atomic_store_n(&secure_table(td, place->table)[place->index], entry, __ATOMIC_RELEASE);
}

static void place_load(const struct secure_td *td, struct secure_place *place, gfn_t gfn)
{
    place->index = ept_index(ALIAS(gfn.v), place->level);
    place->entry = __atomic_load_n(&secure_table(td, place->table)[place->index], __ATOMIC_ACQUIRE);
    place->frame =
        place->entry & SECURE_USED ? secure_frame(td->map, HPA(place->entry & EPT_ADDRESS)) : NULL;
    place->state = place->frame ? place->frame->state : SECURE_FREE;
}

/* Walks to the entry for `gfn` at `level`. If no table leads there, *place is the entry where the
 * walk has ended. */
static uint64_t secure_walk_to(const struct secure_td *td, gfn_t gfn, unsigned level,
                               struct secure_place *place)
{
    *place = (struct secure_place){.table = td->root, .level = td->root_level};
    for (;;) {
        place_load(td, place, gfn);
        if (place->level == level)
            return TDX_SUCCESS;
        if (place->state != SECURE_TABLE)
            return TDX_EPT_WALK_FAILED;
        place->table = HPA(place->entry & EPT_ADDRESS);
        place->level--;
    }
}

/* The frame's page, as it is written to the entry at `place`, in its new state. */
void secure_install(struct secure_td *td, const struct secure_place *place, gfn_t gfn, hpa_t page,
                    enum secure_state state)
{
    struct secure_frame *frame = secure_frame(td->map, page);
    frame->gfn = gfn.v;
    frame->level = (uint8_t)place->level;
    frame->state = (uint8_t)state;
    secure_store(td, place, secure_entry_for(td, page, place->level, state));
}

void secure_fill_table(const struct secure_td *td, hpa_t table, uint64_t first, uint64_t step)
{
    uint64_t *entries = secure_table(td, table);
    for (unsigned i = 0; i < EPT_ENTRIES; i++)
        entries[i] = first + i * step;
}

uint64_t secure_check_gfn(const struct secure_td *td, gfn_t gfn, unsigned level, unsigned lowest,
                          unsigned highest)
{
    if (level < lowest || level > highest || gfn.v >= td->gfn_end ||
        gfn.v & (ept_frames(level) - 1))
        return TDX_OPERAND_INVALID;
    return TDX_SUCCESS;
}

uint64_t secure_lock_and_walk(struct secure_td *td, gfn_t gfn, unsigned level,
                              struct secure_place *place)
{
    spin_lock(&td->lock);
    return secure_walk(td, gfn, level, place);
}

uint64_t secure_walk(const struct secure_td *td, gfn_t gfn, unsigned level,
                     struct secure_place *place)
{
    if (td->life == SECURE_STOPPED)
        return TDX_LIFECYCLE_STATE_INCORRECT;
    return secure_walk_to(td, gfn, level, place);
}

uint64_t secure_take(struct secure_td *td, hpa_t page, unsigned level)
{
    uint64_t status = secure_claim(td->map, td, page, level);
    if (!status)
        __atomic_add_fetch(&td->owned, ept_frames(level), __ATOMIC_RELAXED);
    return status;
}

void secure_give_back(struct secure_td *td, hpa_t page, unsigned level, int content)
{
    secure_release(td->map, page, level, content);
    __atomic_sub_fetch(&td->owned, ept_frames(level), __ATOMIC_RELEASE);
}

/* What may happen to a hypervisor without a mistake, because another CPU was faster or slower, has
 * bit 62 clear. */
#define NEVER_RIGHT (BIT(63) | BIT(62))

uint64_t secure_answer(const struct secure_td *td, uint64_t status, enum secure_call call,
                       gfn_t gfn, unsigned level, hpa_t page, const struct secure_place *place)
{
    if (likely((status & NEVER_RIGHT) != NEVER_RIGHT) || !td->host->refused)
        return status;
    struct secure_refusal refusal = {
        .call = call,
        .level = level,
        .gfn = gfn,
        .page = page.v || !place->frame ? page : HPA(place->entry & EPT_ADDRESS),
        .state = place->state,
        .status = status,
    };
    td->host->refused(td->context, &refusal);
    return status;
}
