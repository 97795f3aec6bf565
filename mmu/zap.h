/* SPDX-License-Identifier: MIT */
/*
 * Removes translations, of a range of frames or all of them. Private to mmu/.
 */
#pragma once

#include "mmu/types.h"

#define ZAP_MMIO 1u /* remove MMIO SPTEs, too */
/* Unlink whole tables that lie within the range, so that larger leaves can replace them. Their D
 * bits are lost, so no slot in the range may log dirty pages. */
#define ZAP_TABLES 2u

/* Removes every leaf of every root that overlaps [first, end), except for a mirror. The range must
 * be short, because it is zapped in one piece. `reason` is the reason for the flush. Takes the lock
 * exclusively, and returns when no pCPU uses the removed translations. */
void tdp_zap(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags, enum debt_reason reason);

/* tdp_zap() for a caller that holds the lock exclusively. */
void tdp_zap_locked(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags,
                    enum debt_reason reason);

/* Zaps the next piece of a walk that tdp_iter_start() has begun, as tdp_zap() does. Returns true
 * when the walk is over. The caller holds no locks but slots_lock. May wait for an epoch. */
bool tdp_zap_piece(struct mmu *mmu, struct tdp_iter *iter, unsigned flags,
                   enum debt_reason reason) MUST_CHECK;

/* Removes all leaves, MMIO SPTEs and tables of all roots by unlinking the tables below the
 * composite (rule N5). The tables are freed later, and their D bits are read then; a caller that
 * needs the D bits earlier calls tdp_drain_piece(). The caller holds no locks but slots_lock. */
void tdp_zap_all(struct mmu *mmu, enum debt_reason reason);

/* Unlinks the tables of the mirror, at the end of the VM. The caller holds no locks. */
void tdp_zap_mirror(struct mmu *mmu);
