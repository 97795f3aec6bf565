/* SPDX-License-Identifier: MIT */
/*
 * Large pages: the level at which a fault may map a frame, splitting in advance, and large pages
 * without execute permission (rule N1). Private to mmu/; mmu_nx_recover() is declared in mmu/mmu.h.
 */
#pragma once

#include "mmu/types.h"

/* The highest level, up to `level` of the backing, at which `gfn` may be mapped to `page` for this
 * access. */
unsigned huge_level(const struct memslot *slot, gfn_t gfn, hpa_t page, unsigned level,
                    uint64_t access);

/* The rights that large leaves never have: EPT_EXECUTE with nx_huge, else none. */
uint64_t huge_denied(void);

/* Split large leaves: huge_split_piece() those of the next piece of a walk, huge_split_frame()
 * those that cover a frame. The caller holds no lock of mmu/ but slots_lock. huge_split_piece()
 * returns 1 when the walk is over, else 0; huge_split_frame() returns 0. Both return -ENOMEM if
 * there is no memory for a table; leaves that were split before stay split. */
int huge_split_piece(struct mmu *mmu, struct tdp_iter *iter) MUST_CHECK;
int huge_split_frame(struct mmu *mmu, gfn_t gfn) MUST_CHECK;
