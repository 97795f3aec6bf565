/* SPDX-License-Identifier: MIT */
/*
 * Sides: in a VM that declares a STOLEN_SHARED bit, each page of memory is either private or
 * shared, as its attribute says, and is reached through addresses of its side only. Anything else
 * leaves the VM as a memory fault, never as MMIO (rules F3, X5).
 *
 * A page that changes sides comes out cleared: what was written on one side is never seen on the
 * other. mmu_convert() stands in mmu/mmu.h.
 */
#pragma once

#include "mmu/root.h"
#include "mmu/types.h"

/* Bit 0: is the frame shared? The others belong to its neighbours. */
static inline uint64_t sides_from(const struct memslot *slot, uint64_t offset)
{
    return __atomic_load_n(&slot->shared[offset / 64], __ATOMIC_ACQUIRE) >> (offset % 64);
}

static inline bool sides_is_shared(const struct memslot *slot, uint64_t offset)
{
    return sides_from(slot, offset) & 1;
}

static inline bool sides_agree(const struct memslot *slot, uint64_t offset, uint32_t role)
{
    return !((sides_from(slot, offset) ^ role / ROLE_SHARED) & 1);
}

/* May an address with this role mean frame `offset` of the slot? The answer holds as long as
 * mmu->lock is held. */
static inline bool sides_match(const struct memslot *slot, uint64_t offset, uint32_t role)
{
    return likely(!slot->shared) || sides_agree(slot, offset, role);
}

/* The same for who reaches memory by the slots, in an epoch or with the lock: neither side has what
 * is being converted. That is asked first, or the side could be one that has just been left. */
static inline bool sides_reach(const struct mmu *mmu, const struct memslot *slot, uint64_t offset,
                               uint32_t role)
{
    if (likely(!slot->shared))
        return true;
    uint64_t range = __atomic_load_n(&mmu->converting, __ATOMIC_ACQUIRE);
    uint64_t inside = slot->base.v + offset - (range >> CONVERTING_SHIFT);
    return inside >= (range & (BIT(CONVERTING_SHIFT) - 1)) && sides_match(slot, offset, role);
}

/* Are all of these frames on one side? Else no large leaf may cover them. */
bool sides_uniform(const struct memslot *slot, uint64_t offset, uint64_t frames);
