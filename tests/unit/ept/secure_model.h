/* SPDX-License-Identifier: MIT */
/*
 * The secure side a second time, as plain arrays: what each guest frame is, and who owns each host
 * frame, also within large pages. Each function says which status a call must return, and if that
 * is TDX_SUCCESS, makes the change.
 */
#pragma once

#include "lib/host_tlb.h"
#include "tests/unit/ept/secure_world.h"

#define REGIONS 3u /* of 2 MiB, in each TD */
#define END     (REGIONS * EPT_ENTRIES)
#define TDS     2u

struct model_entry {
    enum { EMPTY, TABLE, PENDING, MAPPED } what;
    bool blocked;
    uint64_t tracks; /* BLOCKED: successful tracks before */
    uint64_t frame;
};

struct model_td {
    bool exists;
    enum secure_life life;
    uint64_t tracks, newest;
    struct model_entry large[REGIONS], small[REGIONS][EPT_ENTRIES];
};

static struct model_td models[TDS];
static uint8_t model_owner[POOL_FRAMES]; /* number of the TD + 1, or 0 */
static uint16_t model_size[POOL_FRAMES]; /* at the first frame of what is owned: frames */
static bool model_out[POOL_PIECES];      /* the piece is not in the map of owners */
static uint8_t model_holds[POOL_FRAMES]; /* what is not owned: an enum secure_content */

static uint64_t model_page(hpa_t page, unsigned level)
{
    uint64_t size = level == 2 ? 512 * PAGE_SIZE : PAGE_SIZE,
             end = POOL_BASE + POOL_FRAMES * PAGE_SIZE;
    if (page.v % size)
        return TDX_OPERAND_INVALID;
    if (page.v < POOL_BASE || page.v >= end || model_out[frame_at(page) / 512])
        return TDX_OPERAND_ADDR_RANGE_ERROR;
    for (uint64_t f = frame_at(page); f < frame_at(page) + size / PAGE_SIZE; f++)
        if (model_owner[f])
            return TDX_PAGE_METADATA_INCORRECT;
    return TDX_SUCCESS;
}

static void model_own(uint8_t owner, uint64_t frame, uint64_t count)
{
    for (uint64_t f = frame; f < frame + count; f++) {
        model_owner[f] = owner;
        model_holds[f] = SECURE_GUESTS;
        model_size[f] = 0;
    }
    model_size[frame] = (uint16_t)count;
}

/* Clears what `scrub` says, and returns whether that was all. */
static bool model_clear(uint64_t frame, uint64_t count, bool scrub)
{
    unsigned left = SECURE_PIECE;
    for (uint64_t f = frame; f < frame + count; f++)
        if (scrub ? model_holds[f] == SECURE_GUESTS : model_holds[f] != SECURE_ZERO) {
            if (!left--)
                return false;
            model_holds[f] = SECURE_ZERO;
        }
    return true;
}

static uint64_t model_range(uint64_t gfn, unsigned level, unsigned lowest)
{
    if (level < lowest || level > 2 || gfn >= END || (level == 2 && gfn % 512))
        return TDX_OPERAND_INVALID;
    return TDX_SUCCESS;
}

static uint64_t model_find(struct model_td *m, uint64_t gfn, unsigned level,
                           struct model_entry **entry)
{
    struct model_entry *large = &m->large[gfn / 512];
    if (m->life == SECURE_STOPPED)
        return TDX_LIFECYCLE_STATE_INCORRECT;
    *entry = level == 2 ? large : &m->small[gfn / 512][gfn % 512];
    return level == 1 && (large->what != TABLE || large->blocked) ? TDX_EPT_WALK_FAILED : 0;
}

static bool model_is_over(unsigned t, const struct world_td *w, uint64_t epoch)
{
    (void)t;
    for (unsigned i = 0; i < GUEST_CPUS; i++)
        if (w->cpu[i].inside && w->cpu[i].flushed < epoch)
            return false;
    return true;
}

/* Is the entry BLOCKED, and has a track since ended? All tracks but the newest have. */
static uint64_t model_find_blocked(unsigned t, const struct world_td *w, uint64_t gfn,
                                   unsigned level, bool table, struct model_entry **entry)
{
    struct model_td *m = &models[t];
    uint64_t status = model_find(m, gfn, level, entry);
    if (status)
        return status;
    if ((*entry)->what == EMPTY || ((*entry)->what == TABLE) != table)
        return TDX_EPT_ENTRY_STATE_INCORRECT;
    if (!(*entry)->blocked)
        return TDX_GPA_RANGE_NOT_BLOCKED;
    uint64_t since = m->tracks - (*entry)->tracks;
    bool done = since > 1 || (since == 1 && model_is_over(t, w, m->newest));
    return done ? TDX_SUCCESS : TDX_TLB_TRACKING_NOT_DONE;
}

static uint64_t model_add(unsigned t, unsigned what, uint64_t gfn, unsigned level, hpa_t page)
{
    struct model_entry *entry;
    struct model_td *m = &models[t];
    bool first = what != MAPPED; /* is the host page looked at first? */
    unsigned size = what == TABLE ? 1 : level;
    uint64_t status = model_range(gfn, level, what == TABLE ? 2 : 1);
    if (!status && first)
        status = model_page(page, size);
    if (!status && what == PENDING && !model_clear(frame_at(page), level == 2 ? 512 : 1, false))
        status = TDX_INTERRUPTED_RESUMABLE;
    if (!status && what == TABLE)
        model_holds[frame_at(page)] = SECURE_FOREIGN;
    if (!status)
        status = model_find(m, gfn, level, &entry);
    if (!status && entry->what != EMPTY)
        status = TDX_EPT_ENTRY_STATE_INCORRECT;
    if (!status && ((what == MAPPED && m->life != SECURE_BUILDING) ||
                    (what == PENDING && m->life != SECURE_FINALISED)))
        status = TDX_OP_STATE_INCORRECT;
    if (!status && !first)
        status = model_page(page, size);
    if (status)
        return status;
    *entry = (struct model_entry){.what = what, .frame = frame_at(page)};
    model_own((uint8_t)(t + 1), entry->frame, size == 2 ? 512 : 1);
    return TDX_SUCCESS;
}

/* 512 small pages at once. */
static uint64_t model_accept_small(struct model_td *m, uint64_t gfn)
{
    unsigned pending = 0, mapped = 0;
    for (unsigned i = 0; i < 512; i++) {
        const struct model_entry *e = &m->small[gfn / 512][i];
        pending += e->what == PENDING && !e->blocked;
        mapped += e->what == MAPPED && !e->blocked;
    }
    if (pending < 512)
        return mapped == 512 ? TDX_PAGE_ALREADY_ACCEPTED : TDX_PAGE_SIZE_MISMATCH;
    for (unsigned i = 0; i < 512; i++)
        m->small[gfn / 512][i].what = MAPPED;
    return TDX_SUCCESS;
}

static uint64_t model_accept(unsigned t, uint64_t gfn, unsigned level)
{
    struct model_td *m = &models[t];
    uint64_t status = model_range(gfn, level, 1);
    if (status)
        return status;
    struct model_entry *large = &m->large[gfn / 512], *entry;
    if (m->life != SECURE_STOPPED && large->what == MAPPED && !large->blocked)
        return TDX_PAGE_ALREADY_ACCEPTED;
    status = model_find(m, gfn, level, &entry);
    if (status)
        return status;
    if (entry->blocked || entry->what == EMPTY)
        return TDX_EPT_ENTRY_STATE_INCORRECT;
    if (entry->what == TABLE)
        return model_accept_small(m, gfn);
    if (entry->what == MAPPED)
        return TDX_PAGE_ALREADY_ACCEPTED;
    entry->what = MAPPED;
    return TDX_SUCCESS;
}

static uint64_t model_block(unsigned t, uint64_t gfn, unsigned level)
{
    struct model_entry *entry;
    uint64_t status = model_range(gfn, level, 1);
    if (!status)
        status = model_find(&models[t], gfn, level, &entry);
    if (status)
        return status;
    if (entry->what == EMPTY)
        return TDX_EPT_ENTRY_STATE_INCORRECT;
    if (entry->blocked)
        return TDX_GPA_RANGE_ALREADY_BLOCKED;
    entry->blocked = true;
    entry->tracks = models[t].tracks;
    return TDX_SUCCESS;
}

static uint64_t model_track(unsigned t, const struct world_td *w)
{
    struct model_td *m = &models[t];
    if (m->life == SECURE_STOPPED)
        return TDX_LIFECYCLE_STATE_INCORRECT;
    if (!model_is_over(t, w, m->newest))
        return TDX_PREVIOUS_TLB_EPOCH_BUSY;
    m->tracks++;
    m->newest = w->epoch + 1;
    return TDX_SUCCESS;
}

/* *frame is set to what has become FREE. */
static uint64_t model_remove(unsigned t, const struct world_td *w, uint64_t gfn, unsigned level,
                             bool table, uint64_t *frame)
{
    struct model_entry *entry;
    uint64_t status = model_range(gfn, level, table ? 2 : 1);
    if (!status)
        status = model_find_blocked(t, w, gfn, level, table, &entry);
    for (unsigned i = 0; !status && table && i < EPT_ENTRIES; i++)
        if (models[t].small[gfn / 512][i].what != EMPTY)
            status = TDX_EPT_PAGE_NOT_FREE;
    if (status)
        return status;
    *frame = entry->frame;
    model_own(0, entry->frame, table || level == 1 ? 1 : 512);
    *entry = (struct model_entry){0};
    return TDX_SUCCESS;
}

static uint64_t model_demote(unsigned t, const struct world_td *w, uint64_t gfn, hpa_t table)
{
    struct model_entry *entry;
    uint64_t status = model_range(gfn, 2, 2);
    if (!status)
        status = model_find_blocked(t, w, gfn, 2, false, &entry);
    if (!status)
        status = model_page(table, 1);
    if (status)
        return status;
    for (unsigned i = 0; i < EPT_ENTRIES; i++) {
        models[t].small[gfn / 512][i] =
            (struct model_entry){.what = entry->what, .frame = entry->frame + i};
        model_own((uint8_t)(t + 1), entry->frame + i, 1);
    }
    *entry = (struct model_entry){.what = TABLE, .frame = frame_at(table)};
    model_own((uint8_t)(t + 1), frame_at(table), 1);
    return TDX_SUCCESS;
}

static uint64_t model_reclaim(unsigned t, const struct world_td *w, hpa_t page)
{
    if (page.v % PAGE_SIZE)
        return TDX_OPERAND_INVALID;
    if (page.v < POOL_BASE || page.v >= POOL_BASE + POOL_FRAMES * PAGE_SIZE ||
        model_out[frame_at(page) / 512])
        return TDX_OPERAND_ADDR_RANGE_ERROR;
    if (models[t].life != SECURE_STOPPED)
        return TDX_LIFECYCLE_STATE_INCORRECT;
    if (!model_is_over(t, w, models[t].newest))
        return TDX_FLUSHVP_NOT_DONE;
    uint64_t frame = frame_at(page);
    if (model_owner[frame] != t + 1 || !model_size[frame])
        return TDX_PAGE_METADATA_INCORRECT;
    model_own(0, frame, model_size[frame]);
    return TDX_SUCCESS;
}

static uint64_t model_leave(unsigned piece)
{
    uint64_t first = piece * 512ull;
    if (model_out[piece])
        return TDX_OPERAND_ADDR_RANGE_ERROR;
    for (uint64_t f = first; f < first + 512; f++)
        if (model_owner[f])
            return TDX_PAGE_METADATA_INCORRECT;
    if (!model_clear(first, 512, true))
        return TDX_INTERRUPTED_RESUMABLE;
    model_out[piece] = true;
    return TDX_SUCCESS;
}

static uint64_t model_enter(unsigned piece)
{
    if (!world_hidden[piece])
        return TDX_PAGE_METADATA_INCORRECT;
    if (host_tlb_behind(host_tlb_owed()))
        return TDX_TLB_TRACKING_NOT_DONE;
    if (!model_out[piece])
        return TDX_PAGE_METADATA_INCORRECT;
    model_out[piece] = false;
    memset(&model_holds[piece * 512], SECURE_FOREIGN, 512);
    return TDX_SUCCESS;
}
