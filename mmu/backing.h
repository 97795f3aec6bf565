/* SPDX-License-Identifier: MIT */
/*
 * The host pages behind a slot, which are allocated and cleared at first touch. An aligned GiB or a
 * 2 MiB piece that lies wholly in the slot gets one aligned block if one is free; otherwise its
 * pages are allocated one by one. Several CPUs may allocate the same page at the same time; all but
 * the first one free theirs again. This file knows nothing of EPT tables.
 */
#pragma once

#include "lib/page.h"
#include "mmu/types.h"

/* An entry of the directory, or of a piece's page of entries: an address and its kind. 0: nothing
 * is allocated yet. */
#define BACKING_PAGE    BIT(0) /* page of entries: a 4 KiB page */
#define BACKING_BLOCK   BIT(1) /* directory: a block of 2 MiB, for the whole piece */
#define BACKING_PAGES   BIT(2) /* directory: a page of 512 entries, one for each frame */
#define BACKING_GIANT   BIT(3) /* directory, with BLOCK: one of 512 pieces of a 1 GiB block */
#define BACKING_ADDRESS EPT_ADDRESS

#define PIECE_FRAMES 512u

/* Allocates the directory for `pages` frames from `base` on. It can be large, so the caller clears
 * it, in pieces: backing_directory_size() pages of memory. Returns 0 or -ENOMEM. */
int backing_init(struct backing *backing, gfn_t base, uint64_t pages) MUST_CHECK;
uint64_t backing_directory_size(const struct backing *backing);

/* Frees the directory, cleared or not, of a backing that has no pages. */
void backing_discard(struct backing *backing);

#define BACKING_FREE_PAGES 128u /* the pages to free in one piece of work */

/* Frees about `pages` pages, from the end of the slot. Returns true when all pages and the
 * directory are free. The caller has made sure that nobody can reach the pages any more. */
bool backing_free_some(struct backing *backing, unsigned pages);

/* Makes sure that frame `offset` has a host page, which may be part of a block of `level` at most.
 * Returns 0 or -ENOMEM; or, if `level` is above 1, -EINPROGRESS: the block is not cleared yet, and
 * the caller attends to what is waiting for the pCPU (mmu_pauses()) and calls again. */
int backing_populate(const struct backing *backing, struct clearing *clearing, uint64_t offset,
                     unsigned level) MUST_CHECK;

/* Takes out and frees the page behind frame `offset`, if there is one. `pages_only` is set, and the
 * caller excludes all users of the page. */
void backing_drop(const struct backing *backing, uint64_t offset);

/* The number of pages behind the slot's frames. Takes as long as reading all entries; nobody may
 * change them meanwhile. */
uint64_t backing_count(const struct backing *backing);

/* At the end of the VM: frees the blocks that are being cleared. */
void clearing_end(struct clearing *clearing);

/* Replaces the page or block behind the frame by another one of the same size. The caller excludes
 * all other users. */
void backing_replace(const struct backing *backing, uint64_t offset, hpa_t block);

/* The page behind frame `offset` of the slot, or PAGE_NONE if it has never been touched. *level is
 * set to the level of the block that contains the page. */
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
