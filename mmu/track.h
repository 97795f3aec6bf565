/* SPDX-License-Identifier: MIT */
/*
 * Write tracking (rules S4, N10): the host wants to see each write to a guest frame. Such a frame
 * is mapped by a small leaf with neither W nor MMU-writable, so nothing but the slow path of a
 * fault decides about it. Counted, because more than one may want it. Interface in mmu/mmu.h.
 */
#pragma once

#include "mmu/types.h"

/* Is frame `offset` of the slot tracked? */
static inline bool track_is(const struct memslot *slot, uint64_t offset)
{
    return unlikely(slot->tracked != NULL) &&
           __atomic_load_n(&slot->tracked[offset], __ATOMIC_SEQ_CST);
}

/* May it be written all the same? With the lock, shared or not. */
bool track_is_open(const struct mmu *mmu, gfn_t gfn);

/* Is any of them? */
static inline bool track_any(const struct memslot *slot, uint64_t offset, uint64_t frames)
{
    for (uint64_t i = 0; slot->tracked && i < frames; i++) {
        if (track_is(slot, offset + i))
            return true;
    }
    return false;
}
