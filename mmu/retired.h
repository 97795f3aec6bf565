/* SPDX-License-Identifier: MIT */
/*
 * Tables and pages that have been unlinked, and are freed when no CPU can be reading them any more
 * (rule W6). Private to mmu/.
 */
#pragma once

#include "mmu/types.h"

/* tdp_retire() queues something that has been unlinked, to be freed after an epoch. The caller
 * reserves room in the queue before it unlinks anything; tdp_reserve() returns false if there is
 * none, and the caller makes some by tdp_reclaim_piece(), or has the fault retried. */
bool tdp_reserve(struct mmu *mmu) MUST_CHECK;
void tdp_unreserve(struct mmu *mmu);
void tdp_retire(struct mmu *mmu, struct retired r);

static inline bool tdp_has_room(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->retired_used, __ATOMIC_RELAXED) < RETIRED_MAX / 2;
}

/* tdp_doom() queues the memory of a slot that nobody can reach any more, to be freed in pieces.
 * Called only while tdp_can_doom() is true: the queue has room. The caller holds slots_lock. */
bool tdp_can_doom(const struct mmu *mmu) MUST_CHECK;
void tdp_doom(struct mmu *mmu, const struct backing *backing);

/* Is anything waiting to be freed, other than the memory of slots? */
bool tdp_is_reclaiming(const struct mmu *mmu);

/* Frees a piece, which takes a few thousand instructions. With `wait`, it waits for the VM's pCPUs
 * if an epoch is not over; then the caller holds no locks but slots_lock. Returns whether anything
 * was freed. */
bool tdp_reclaim_piece(struct mmu *mmu, bool wait);

/* Returns true if no unlinked table is left, so that all D bits are in the dirty log. If not, frees
 * a piece, and waits as tdp_reclaim_piece(). */
bool tdp_drain_piece(struct mmu *mmu) MUST_CHECK;

/* Frees a piece; with `wait`, everything, waiting as tdp_reclaim_piece(). */
void tdp_reclaim(struct mmu *mmu, bool wait);
