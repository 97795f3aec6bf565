/* SPDX-License-Identifier: MIT */
/* The owners of host pages; see the header. Pure. */
#include "ept/secure_frames.h"

#include "ept/tdx_status.h"
#include "lib/assert.h"

static uint64_t check_page(const struct secure_map *map, hpa_t page, unsigned level)
{
    if (page.v & (ept_frames(level) * PAGE_SIZE - 1))
        return TDX_OPERAND_INVALID;
    return page.v / SECURE_BLOCK_SIZE < map->count ? TDX_SUCCESS : TDX_OPERAND_ADDR_RANGE_ERROR;
}

/* What becomes of a block's use when one more page of `level` is taken (0: none, its entry is
 * looked at); 0: it can't be. */
static uint32_t use_after(uint32_t use, unsigned level)
{
    if (level == EPT_LEVEL_2M)
        return use == SECURE_PRESENT ? use | SECURE_LEAF : 0;
    return level && use & SECURE_LEAF ? 0 : use + 1;
}

static uint64_t block_take(struct secure_block *block, unsigned level)
{
    uint32_t use = __atomic_load_n(&block->use, __ATOMIC_RELAXED), after;
    do {
        if (!(use & SECURE_PRESENT))
            return TDX_OPERAND_ADDR_RANGE_ERROR;
        after = use_after(use, level);
        if (!after)
            return TDX_PAGE_METADATA_INCORRECT;
    } while (!__atomic_compare_exchange_n(&block->use, &use, after, false, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    return TDX_SUCCESS;
}

static void block_put(struct secure_block *block, unsigned level)
{
    __atomic_fetch_sub(&block->use, level == EPT_LEVEL_2M ? SECURE_LEAF : 1, __ATOMIC_RELEASE);
}

/* Between the two steps the block is counted for a frame that another TD has: that only makes a
 * claim of the whole block fail, which would fail anyway. */
uint64_t secure_claim(struct secure_map *map, struct secure_td *td, hpa_t page, unsigned level)
{
    struct secure_td *nobody = NULL;
    uint64_t status = check_page(map, page, level);
    if (!status)
        status = block_take(secure_block(map, page), level);
    if (status)
        return status;
    if (!__atomic_compare_exchange_n(&secure_frame(map, page)->owner, &nobody, td, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        block_put(secure_block(map, page), level);
        return TDX_PAGE_METADATA_INCORRECT;
    }
    return TDX_SUCCESS;
}

void secure_release(struct secure_map *map, hpa_t page, unsigned level, int content)
{
    struct secure_frame *frame = secure_frame(map, page);
    BUG_ON(!secure_owner(frame) || frame->state != SECURE_FREE);
    for (uint64_t i = 0; content >= 0 && i < ept_frames(level); i++)
        frame[i].content = (uint8_t)content;
    __atomic_store_n(&frame->owner, NULL, __ATOMIC_RELEASE);
    block_put(secure_block(map, page), level);
}

/* Nobody else can claim a frame of the block before it is no leaf any more. */
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
    __atomic_fetch_sub(&secure_block(map, page)->use, SECURE_LEAF - EPT_ENTRIES, __ATOMIC_RELEASE);
}

uint64_t secure_hold(struct secure_map *map, hpa_t page)
{
    uint64_t status = check_page(map, page, EPT_LEVEL_4K);
    return status ? status : block_take(secure_block(map, page), 0);
}

void secure_drop(struct secure_map *map, hpa_t page)
{
    block_put(secure_block(map, page), 0);
}
