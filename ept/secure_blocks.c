/* SPDX-License-Identifier: MIT */
/* Blocks of memory in the map of owners; see the header. Pure. */
#include "ept/secure_blocks.h"

#include "ept/secure.h"
#include "ept/tdx_status.h"
#include "lib/host_tlb.h"
#include "lib/page.h"
#include "lib/string.h"

bool secure_clear(struct secure_map *map, hpa_t page, unsigned level,
                  const struct secure_host *host, void *context, bool scrub)
{
    struct secure_frame *frames = secure_frame(map, page);
    unsigned cleared = 0;
    for (uint64_t i = 0; i < ept_frames(level); i++) {
        if (frames[i].content == SECURE_ZERO || (scrub && frames[i].content == SECURE_FOREIGN))
            continue;
        if (cleared++ == SECURE_PIECE)
            return false;
        memset(host->window(context, hpa_add(page, i * PAGE_SIZE)), 0, PAGE_SIZE);
        frames[i].content = SECURE_ZERO;
    }
    return true;
}

static uint64_t check_block(const struct secure_map *map, hpa_t block)
{
    if (block.v % SECURE_BLOCK_SIZE)
        return TDX_OPERAND_INVALID;
    return block.v / SECURE_BLOCK_SIZE < map->count ? TDX_SUCCESS : TDX_OPERAND_ADDR_RANGE_ERROR;
}

/* All debts are asked for, so nobody has to say which one is that of the block. It can be claimed
 * when `use` says that it is present, and then its frames are known. */
uint64_t secure_block_add(struct secure_map *map, hpa_t block, struct secure_frame *frames)
{
    struct secure_frame *none = NULL;
    uint64_t status = check_block(map, block);
    if (status)
        return status;
    if (!page_is_hidden(block))
        return TDX_PAGE_METADATA_INCORRECT;
    if (!host_tlb_paid(host_tlb_owed()))
        return TDX_TLB_TRACKING_NOT_DONE;
    struct secure_block *place = secure_block(map, block);
    if (!__atomic_compare_exchange_n(&place->frames, &none, frames, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return TDX_PAGE_METADATA_INCORRECT;
    __atomic_store_n(&place->use, SECURE_PRESENT, __ATOMIC_RELEASE);
    return TDX_SUCCESS;
}

/* The block is taken like a leaf, so nobody can claim a part of it meanwhile. */
uint64_t secure_block_remove(struct secure_map *map, hpa_t block, const struct secure_host *host,
                             void *context, struct secure_frame **frames)
{
    uint32_t unused = SECURE_PRESENT;
    uint64_t status = check_block(map, block);
    if (status)
        return status;
    struct secure_block *place = secure_block(map, block);
    if (!__atomic_compare_exchange_n(&place->use, &unused, SECURE_PRESENT | SECURE_LEAF, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return unused ? TDX_PAGE_METADATA_INCORRECT : TDX_OPERAND_ADDR_RANGE_ERROR;
    status = secure_clear(map, block, EPT_LEVEL_2M, host, context, true)
                 ? TDX_SUCCESS
                 : TDX_INTERRUPTED_RESUMABLE;
    uint32_t ours = SECURE_PRESENT | SECURE_LEAF;
    *frames = place->frames;
    if (!status && !__atomic_compare_exchange_n(&place->use, &ours, 0, false, __ATOMIC_ACQ_REL,
                                                __ATOMIC_RELAXED))
        status = TDX_OPERAND_BUSY;
    if (status)
        __atomic_fetch_sub(&place->use, SECURE_LEAF, __ATOMIC_RELEASE);
    else
        __atomic_store_n(&place->frames, NULL, __ATOMIC_RELEASE);
    return status;
}
