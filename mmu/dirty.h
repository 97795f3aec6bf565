/* SPDX-License-Identifier: MIT */
/*
 * Dirty logging (rules S4, N2): which pages of a slot have been written since the log was last
 * read? A slot with MEMSLOT_LOG_DIRTY is mapped by 4 KiB pages only, and has a bitmap. A write gets
 * into the bitmap in one of three ways:
 *
 *   write protection   the first write faults; the fault sets the page's bit and W
 *   D bits             the CPU sets D in the SPTE, which is read when the log is read or the SPTE
 *                      is zapped
 *   PML                in addition to D, the CPU writes the address to the vCPU's PML buffer
 *
 * mmu_dirty_get() and the rest of the interface are in mmu/mmu.h.
 */
#pragma once

#include "mmu/types.h"

enum dirty_method {
    DIRTY_WRITE_PROTECT,
    DIRTY_D_BITS,
    DIRTY_PML,
};

/* The method that the SPTE format and the configuration select. */
enum dirty_method dirty_method(void);

/* The slow path of dirty_note(). */
void dirty_note_slot(struct mmu *mmu, gfn_t gfn, uint64_t frames);

/* Records in the dirty log that frames have been written, if their slot logs. Takes no lock; the
 * caller is in an epoch. */
static inline void dirty_note(struct mmu *mmu, gfn_t gfn, uint64_t frames)
{
    if (unlikely(__atomic_load_n(&mmu->logging, __ATOMIC_RELAXED)))
        dirty_note_slot(mmu, gfn, frames);
}

static inline void dirty_set(const struct memslot *slot, uint64_t offset)
{
    __atomic_fetch_or(&slot->dirty[offset / 64], BIT(offset % 64), __ATOMIC_SEQ_CST);
}

/* Clears W or D in the leaves of a range, so that every later write is noticed. All leaves of the
 * range must be small. Does the next piece of the walk, and returns true when the walk is over. The
 * caller holds slots_lock. */
bool dirty_protect_piece(struct mmu *mmu, struct tdp_iter *iter) MUST_CHECK;
