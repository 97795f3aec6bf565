/* SPDX-License-Identifier: MIT */
/*
 * Dirty logging (rules S4, N2): which pages of a slot have been written since they were asked for
 * last? A slot with MEMSLOT_LOG_DIRTY is mapped in small pages only and has a bitmap. How a write
 * gets into it:
 *
 *   write protection   the first write faults; the fault notes it and gives W back
 *   D bits             the CPU notes it in the SPTE; whoever collects or zaps looks there
 *   PML                the same, and the CPU also writes the address into a log of the vCPU
 *
 * mmu_dirty_get() and the rest of the interface stand in mmu/mmu.h.
 */
#pragma once

#include "mmu/types.h"

enum dirty_method {
    DIRTY_WRITE_PROTECT,
    DIRTY_D_BITS,
    DIRTY_PML,
};

/* What this machine's format allows and its configuration says. */
enum dirty_method dirty_method(void);

/* The slow half of dirty_note(). */
void dirty_note_slot(struct mmu *mmu, gfn_t gfn, uint64_t frames);

/* Notes that frames have been written, if a slot logs them. Takes no lock; in an epoch. */
static inline void dirty_note(struct mmu *mmu, gfn_t gfn, uint64_t frames)
{
    if (unlikely(__atomic_load_n(&mmu->logging, __ATOMIC_RELAXED)))
        dirty_note_slot(mmu, gfn, frames);
}

static inline void dirty_set(const struct memslot *slot, uint64_t offset)
{
    __atomic_fetch_or(&slot->dirty[offset / 64], BIT(offset % 64), __ATOMIC_SEQ_CST);
}

/* Makes the SPTEs of a range such that every write from now on is noticed: small pages without W or
 * without D. A piece of the walk over it, which has small pages alone. slots_lock held. Returns
 * whether it is over. */
bool dirty_protect_piece(struct mmu *mmu, struct tdp_iter *iter) MUST_CHECK;
