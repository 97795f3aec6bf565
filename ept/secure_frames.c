/* SPDX-License-Identifier: MIT */
/* The owners of host pages; see the header. Pure. */
#include "ept/secure_frames.h"

#include "ept/tdx_status.h"
#include "lib/assert.h"

/* A piece of 2 MiB: the number of its small pages that have an owner, or: it is one leaf. */
#define PIECE_IS_LEAF ~0u

static uint32_t *piece_of(const struct secure_map *map, hpa_t page)
{
    return &map->pieces[(page.v - map->base.v) / (EPT_ENTRIES * PAGE_SIZE)];
}

uint64_t secure_check_page(const struct secure_map *map, hpa_t page, unsigned level)
{
    uint64_t frames = ept_frames(level), first = (page.v - map->base.v) >> PAGE_SHIFT;
    if (page.v & (frames * PAGE_SIZE - 1))
        return TDX_OPERAND_INVALID;
    if (page.v < map->base.v || first >= map->count || map->count - first < frames)
        return TDX_OPERAND_ADDR_RANGE_ERROR;
    return TDX_SUCCESS;
}

static bool piece_take(uint32_t *piece, unsigned level)
{
    bool leaf = level == EPT_LEVEL_2M;
    uint32_t old = __atomic_load_n(piece, __ATOMIC_RELAXED);
    do {
        if (old == PIECE_IS_LEAF || (leaf && old))
            return false;
    } while (!__atomic_compare_exchange_n(piece, &old, leaf ? PIECE_IS_LEAF : old + 1, false,
                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return true;
}

static void piece_put(uint32_t *piece, unsigned level)
{
    if (level == EPT_LEVEL_2M)
        __atomic_store_n(piece, 0, __ATOMIC_RELEASE);
    else
        __atomic_sub_fetch(piece, 1, __ATOMIC_RELEASE);
}

/* Between the two steps the piece is counted for a frame that another TD has: that only makes a
 * claim of the whole piece fail, which would fail anyway. */
uint64_t secure_claim(struct secure_map *map, struct secure_td *td, hpa_t page, unsigned level)
{
    uint64_t status = secure_check_page(map, page, level);
    if (status)
        return status;
    uint32_t *piece = piece_of(map, page);
    struct secure_td *nobody = NULL;
    if (!piece_take(piece, level))
        return TDX_PAGE_METADATA_INCORRECT;
    if (!__atomic_compare_exchange_n(&secure_frame(map, page)->owner, &nobody, td, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        piece_put(piece, level);
        return TDX_PAGE_METADATA_INCORRECT;
    }
    return TDX_SUCCESS;
}

void secure_release(struct secure_map *map, hpa_t page, unsigned level)
{
    struct secure_frame *frame = secure_frame(map, page);
    BUG_ON(!secure_owner(frame) || frame->state != SECURE_FREE);
    __atomic_store_n(&frame->owner, NULL, __ATOMIC_RELEASE);
    piece_put(piece_of(map, page), level);
}

/* Nobody else can claim a frame of the piece before it is no leaf any more. */
void secure_split(struct secure_map *map, hpa_t page)
{
    struct secure_frame *frame = secure_frame(map, page);
    frame->level = EPT_LEVEL_4K;
    for (unsigned i = 1; i < EPT_ENTRIES; i++) {
        frame[i].gfn = frame->gfn + i;
        frame[i].level = frame->level;
        frame[i].state = frame->state;
        __atomic_store_n(&frame[i].owner, frame->owner, __ATOMIC_RELEASE);
    }
    __atomic_store_n(piece_of(map, page), EPT_ENTRIES, __ATOMIC_RELEASE);
}
