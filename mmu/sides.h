/* SPDX-License-Identifier: MIT */
/*
 * Sides. In a VM that declares a STOLEN_SHARED bit, each page of memory is either private or
 * shared, as its attribute says, and can be accessed only through addresses of that side. An access
 * through the other side is reported as a memory fault, and is never MMIO (rules F3, X5).
 *
 * A page that changes sides is cleared, so data of one side is never seen on the other.
 * mmu_convert() is declared in mmu/mmu.h.
 */
#pragma once

#include "mmu/root.h"
#include "mmu/types.h"

/* Bit 0 tells whether the frame is shared. The other bits belong to neighbouring frames. */
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

/* Can frame `offset` of the slot be accessed through addresses with this role? The answer is valid
 * as long as the caller holds mmu->lock. */
static inline bool sides_match(const struct memslot *slot, uint64_t offset, uint32_t role)
{
    return likely(!slot->shared) || sides_agree(slot, offset, role);
}

/* sides_match() for accesses of the hypervisor, which go through the slots, in an epoch or with the
 * lock: a frame that is being converted belongs to neither side. The range of the conversion is
 * read before the side; read after it, the side could be the one that the frame has just left. */
static inline bool sides_reach(const struct mmu *mmu, const struct memslot *slot, uint64_t offset,
                               uint32_t role)
{
    if (likely(!slot->shared))
        return true;
    uint64_t range = __atomic_load_n(&mmu->converting, __ATOMIC_ACQUIRE);
    uint64_t inside = slot->base.v + offset - (range >> CONVERTING_SHIFT);
    return inside >= (range & (BIT(CONVERTING_SHIFT) - 1)) && sides_match(slot, offset, role);
}

/* Reports a memory fault (rule X5): the guest has not converted the frame to the side of the role,
 * by which it has accessed it. Returns -EACCES. */
int sides_refuse(gfn_t gfn, uint32_t role);

/* Are all of these frames on one side? If not, no large leaf may cover them. */
bool sides_uniform(const struct memslot *slot, uint64_t offset, uint64_t frames);
