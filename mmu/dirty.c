/* SPDX-License-Identifier: MIT */
/* How writes get into the dirty log; see the header. dirty_read.c reads the log. */
#include "mmu/dirty.h"

#include "mmu/memslot.h"
#include "mmu/mmu.h"
#include "mmu/spte.h"

enum dirty_method dirty_method(void)
{
    if (!spte_ad_enabled(spte_format.leaf))
        return DIRTY_WRITE_PROTECT;
    return mmu_config()->pml ? DIRTY_PML : DIRTY_D_BITS;
}

bool mmu_wants_pml(const struct mmu *mmu)
{
    return mmu_is_logging(mmu) && dirty_method() == DIRTY_PML;
}

void dirty_note_slot(struct mmu *mmu, gfn_t gfn, uint64_t frames)
{
    const struct memslots *slots = memslots(mmu);
    for (uint64_t i = 0; i < frames; i++) {
        const struct memslot *slot = memslot_find(slots, GFN(gfn.v + i));
        if (slot && slot->dirty)
            dirty_set(slot, gfn.v + i - slot->base.v);
    }
}

static void dirty_note_bits(uint64_t *word, uint64_t bits)
{
    if (bits)
        __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}

/* The common case is checked first: an entry is in the same slot and the same 64 bits of the bitmap
 * as the entry before it. */
void mmu_pml_note(struct mmu *mmu, const uint64_t *addresses, size_t count)
{
    const struct memslots *slots = memslots(mmu);
    const struct memslot *slot = NULL;
    uint64_t *word = NULL, bits = 0;
    for (size_t i = 0; i < count; i++) {
        gfn_t gfn = mmu_gfn(mmu, GPA(addresses[i]));
        if (unlikely(!slot || gfn.v - slot->base.v >= slot->backing.pages))
            slot = memslot_find(slots, gfn);
        if (unlikely(!slot || !slot->dirty))
            continue;
        uint64_t offset = gfn.v - slot->base.v;
        if (unlikely(word != &slot->dirty[offset / 64])) {
            dirty_note_bits(word, bits);
            word = &slot->dirty[offset / 64];
            bits = 0;
        }
        bits |= BIT(offset % 64);
    }
    dirty_note_bits(word, bits);
}
