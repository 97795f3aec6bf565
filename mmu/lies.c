/* SPDX-License-Identifier: MIT */
/* Lies to the secure side; see the header. */
#include "mmu/lies.h"

#include "ept/tdx_status.h"
#include "mmu/external.h"
#include "mmu/mirror.h"

static enum lie lie_next;

/* Returns true if this lie is the one to be told next, and then forgets it. */
static bool lie_is_chosen(enum lie lie)
{
    return __atomic_compare_exchange_n(&lie_next, &lie, LIE_NONE, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

static uint64_t lying_aug(struct secure_td *td, gfn_t gfn, unsigned level, hpa_t page)
{
    static const uint8_t source[PAGE_SIZE];
    if (lie_is_chosen(LIE_FRAME))
        return secure_page_aug(td, gfn, EPT_LEVEL_4K, td->root);
    if (lie_is_chosen(LIE_ADD))
        return secure_page_add(td, gfn, page, source);
    uint64_t status = secure_page_aug(td, gfn, level, page);
    if (!status && lie_is_chosen(LIE_MAP)) {
        hpa_t second = external_take(td, EPT_LEVEL_4K);
        uint64_t refused = secure_page_aug(td, gfn, EPT_LEVEL_4K, second);
        if (refused)
            external_give(td, second, EPT_LEVEL_4K);
    }
    return status;
}

static uint64_t lying_block(struct secure_td *td, gfn_t gfn, unsigned level)
{
    return lie_is_chosen(LIE_BLOCK) ? TDX_SUCCESS : secure_range_block(td, gfn, level);
}

static uint64_t lying_track(struct secure_td *td)
{
    return lie_is_chosen(LIE_TRACK) ? TDX_SUCCESS : secure_track(td);
}

/* The mirror believes that the page is gone, and returns it to the pool. */
static uint64_t lying_remove(struct secure_td *td, gfn_t gfn, unsigned level)
{
    return lie_is_chosen(LIE_REMOVE) ? TDX_SUCCESS : secure_page_remove(td, gfn, level);
}

static const struct mirror_ops lying_ops = {
    .take = external_take,
    .give = external_give,
    .link = secure_table_add,
    .add = secure_page_add,
    .aug = lying_aug,
    .accept = secure_page_accept,
    .block = lying_block,
    .track = lying_track,
    .split = secure_page_demote,
    .remove = lying_remove,
    .free = secure_table_remove,
    .read = secure_read,
    .finalise = secure_td_finalise,
    .stop = secure_td_stop,
};

void lies_tell(enum lie lie)
{
    lie_next = lie;
    if (lie)
        external_ops = &lying_ops;
}

bool lies_left(void)
{
    return __atomic_load_n(&lie_next, __ATOMIC_RELAXED);
}
