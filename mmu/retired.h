/* SPDX-License-Identifier: MIT */
/*
 * What has been unlinked, tables and pages, and waits until no CPU can be reading it (rule W6).
 * Inside mmu/.
 */
#pragma once

#include "mmu/types.h"

/* Gives up what has been unlinked, to be freed after an epoch. The room for it is reserved before
 * the unlinking; where there is none, tdp_reclaim_piece() makes some or the fault is tried again.
 */
bool tdp_reserve(struct mmu *mmu) MUST_CHECK;
void tdp_unreserve(struct mmu *mmu);
void tdp_retire(struct mmu *mmu, struct retired r);

static inline bool tdp_has_room(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->retired_used, __ATOMIC_RELAXED) < RETIRED_MAX / 2;
}

/* Gives up the memory of a slot that nobody reaches any more, to be freed in pieces, where there is
 * room for it. slots_lock held. */
bool tdp_can_doom(const struct mmu *mmu) MUST_CHECK;
void tdp_doom(struct mmu *mmu, const struct backing *backing);

/* Does anything wait to be freed, but for memory of slots? */
bool tdp_is_reclaiming(const struct mmu *mmu);

/* Frees a piece, of a few thousand instructions. With `wait`, it waits for the VM's own pCPUs if an
 * epoch is not over; then no locks are held but slots_lock. Returns whether anything was freed. */
bool tdp_reclaim_piece(struct mmu *mmu, bool wait);

/* Have all tables been read that are cut off, so that their D bits are in the log? If not, frees a
 * piece of them, and waits likewise. */
bool tdp_drain_piece(struct mmu *mmu) MUST_CHECK;

/* Frees a piece; or with `wait` all. Waits likewise. */
void tdp_reclaim(struct mmu *mmu, bool wait);
