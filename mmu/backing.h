/*
 * The host pages behind a slot, allocated at first touch and cleared. A 2 MiB piece that lies
 * wholly in the slot gets one aligned block if there is one, else its pages come one by one.
 * Knows nothing of tables; called by memslot.c, fault.c and guest_mem.c.
 */
#pragma once

#include "lib/page.h"
#include "mmu/types.h"

/* A directory word or page word: an address and what stands there. 0 is nothing yet. */
#define BACKING_PAGE    BIT(0) /* a 4 KiB page, in a piece's own page of words */
#define BACKING_BLOCK   BIT(1) /* directory: the whole piece is one 2 MiB block */
#define BACKING_PAGES   BIT(2) /* directory: a page of 512 words, one for each frame */
#define BACKING_ADDRESS EPT_ADDRESS

#define PIECE_FRAMES 512u

/* For `pages` frames from `base` on. Returns 0 or -ENOMEM. */
int backing_init(struct backing *backing, gfn_t base, uint64_t pages) MUST_CHECK;

/* Frees all; the caller has made sure that nobody can reach the pages any more. */
void backing_free(struct backing *backing);

/* Allocates what stands behind frame `offset`, if nothing does. Returns 0 or -ENOMEM. */
int backing_populate(const struct backing *backing, uint64_t offset, bool huge) MUST_CHECK;

/* The page behind frame `offset` of the slot, or PAGE_NONE if never touched. `*level` is
 * EPT_LEVEL_2M if it is part of a block, else EPT_LEVEL_4K. */
static inline hpa_t backing_page(const struct backing *backing, uint64_t offset, unsigned *level)
{
    uint64_t place = backing->phase + offset;
    uint64_t piece = backing->directory[place / PIECE_FRAMES];
    uint64_t frame = place % PIECE_FRAMES;

    *level = EPT_LEVEL_4K;
    if (piece & BACKING_BLOCK) {
        *level = EPT_LEVEL_2M;
        return HPA((piece & BACKING_ADDRESS) + frame * PAGE_SIZE);
    }
    if (!piece)
        return PAGE_NONE;
    const uint64_t *pages = phys_to_virt(HPA(piece & BACKING_ADDRESS));
    return pages[frame] ? HPA(pages[frame] & BACKING_ADDRESS) : PAGE_NONE;
}
