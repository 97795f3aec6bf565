/* SPDX-License-Identifier: MIT */
/*
 * Write tracking (rules S4, N10): the host is notified of each write to a tracked guest frame. Such
 * a frame is mapped by a 4 KiB leaf with W and MMU_WRITABLE clear, so a write always takes the slow
 * path of the fault. Tracking is counted, because there may be several users. The interface is in
 * mmu/mmu.h.
 */
#pragma once

#include "mmu/types.h"

/* The counters of a slot are followed by their number, which no other counters of the VM ever get.
 * It is a name of the slot's memory (mmu/look.h). */
#define TRACK_NUMBER_SIZE (sizeof(uint64_t) / sizeof(uint16_t))

/* The elements that the counters and the number take, in a slot of `pages` pages. */
static inline uint64_t track_counters(uint64_t pages)
{
    return align_up(pages, TRACK_NUMBER_SIZE) + TRACK_NUMBER_SIZE;
}

/* The slot has counters. */
static inline uint64_t *track_number(const struct memslot *slot)
{
    uint64_t pages = align_up(slot->backing.pages, TRACK_NUMBER_SIZE);
    return (uint64_t *)(void *)&slot->tracked[pages];
}

/* Is frame `offset` of the slot tracked? */
static inline bool track_is(const struct memslot *slot, uint64_t offset)
{
    return unlikely(slot->tracked != NULL) &&
           __atomic_load_n(&slot->tracked[offset], __ATOMIC_SEQ_CST);
}

/* Is the tracked frame writable for now (mmu_track_open())? The caller holds the lock, shared or
 * exclusively. */
bool track_is_open(const struct mmu *mmu, gfn_t gfn);

/* Is any of `frames` frames from `offset` on tracked? */
static inline bool track_any(const struct memslot *slot, uint64_t offset, uint64_t frames)
{
    for (uint64_t i = 0; slot->tracked && i < frames; i++) {
        if (track_is(slot, offset + i))
            return true;
    }
    return false;
}
