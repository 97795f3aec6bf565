/* SPDX-License-Identifier: MIT */
/*
 * The host pages behind a slot, allocated at first touch and cleared. A 2 MiB piece that lies
 * wholly in the slot gets one aligned block if there is one, else its pages come one by one; so
 * does an aligned GiB. CPUs populate at the same time: whoever comes second gives its page back.
 * Knows nothing of tables; called by memslot.c, fault.c, host.c and guest_mem.c.
 */
#pragma once

#include "lib/page.h"
#include "mmu/types.h"

/* A directory word or page word: an address and what stands there. 0 is nothing yet. */
#define BACKING_PAGE    BIT(0) /* a 4 KiB page, in a piece's own page of words */
#define BACKING_BLOCK   BIT(1) /* directory: the whole piece is one 2 MiB block */
#define BACKING_PAGES   BIT(2) /* directory: a page of 512 words, one for each frame */
#define BACKING_GIANT   BIT(3) /* directory, with BLOCK: 512 of these are one 1 GiB block */
#define BACKING_ADDRESS EPT_ADDRESS

#define PIECE_FRAMES 512u

/* For `pages` frames from `base` on. The caller clears the directory, which can be large: so many
 * pages of memory. Returns 0 or -ENOMEM. */
int backing_init(struct backing *backing, gfn_t base, uint64_t pages) MUST_CHECK;
uint64_t backing_directory_size(const struct backing *backing);

/* Frees the directory of one that has no pages yet, cleared or not. */
void backing_discard(struct backing *backing);

#define BACKING_FREE_PAGES 128u /* at a time */

/* Frees about so many pages of it, from the end on; true when nothing is left, not even the
 * directory. The caller has made sure that nobody can reach the pages any more. */
bool backing_free_some(struct backing *backing, unsigned pages);

/* Allocates what stands behind frame `offset`, if nothing does, in blocks of `level` at most.
 * Returns 0 or -ENOMEM; or, above level 1, -EINPROGRESS: the block is not cleared yet, call it
 * again when what made it pause (mmu_pauses()) has been seen to. */
int backing_populate(const struct backing *backing, struct clearing *clearing, uint64_t offset,
                     unsigned level) MUST_CHECK;

/* At the end of the VM: frees what is being cleared. */
void clearing_end(struct clearing *clearing);

/* Puts another block, of the same size, behind the frame. The caller keeps others away. */
void backing_replace(const struct backing *backing, uint64_t offset, hpa_t block);

/* The page behind frame `offset` of the slot, or PAGE_NONE if never touched. `*level` is
 * the size of the block that it is part of. */
static inline hpa_t backing_page(const struct backing *backing, uint64_t offset, unsigned *level)
{
    uint64_t place = backing->phase + offset;
    uint64_t piece = __atomic_load_n(&backing->directory[place / PIECE_FRAMES], __ATOMIC_ACQUIRE);
    uint64_t frame = place % PIECE_FRAMES;

    *level = EPT_LEVEL_4K;
    if (piece & BACKING_BLOCK) {
        *level = unlikely(piece & BACKING_GIANT) ? EPT_LEVEL_1G : EPT_LEVEL_2M;
        return HPA((piece & BACKING_ADDRESS) + frame * PAGE_SIZE);
    }
    if (!piece)
        return PAGE_NONE;
    const uint64_t *pages = phys_to_virt(HPA(piece & BACKING_ADDRESS));
    uint64_t page = __atomic_load_n(&pages[frame], __ATOMIC_ACQUIRE);
    return page ? HPA(page & BACKING_ADDRESS) : PAGE_NONE;
}
