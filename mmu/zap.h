/* SPDX-License-Identifier: MIT */
/*
 * Taking translations away, from a range of frames or from all. Inside mmu/.
 */
#pragma once

#include "mmu/types.h"

#define ZAP_MMIO 1u /* MMIO SPTEs too */
/* Tables that the range covers, as they are, so that larger leaves can take their place. Their D
 * bits are read when they are freed, too late for a dirty log: no slot in the range keeps one. */
#define ZAP_TABLES 2u

/* Removes every leaf of every root that overlaps [first, end), all at once: the range is a short
 * one. `reason` is what the flush is owed for. Takes the lock, and returns when no pCPU uses what
 * was removed. */
void tdp_zap(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags, enum debt_reason reason);

/* The same with the lock owned. */
void tdp_zap_locked(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags,
                    enum debt_reason reason);

/* The same of the next piece of a walk that tdp_iter_start() has begun. True: it is over. No locks
 * held but slots_lock; may wait for an epoch. */
bool tdp_zap_piece(struct mmu *mmu, struct tdp_iter *iter, unsigned flags,
                   enum debt_reason reason) MUST_CHECK;

/* Empties all roots at once by cutting off what it links: leaves, MMIO SPTEs and tables (rule N5).
 * They are freed later: whoever wants to know what their D bits say asks tdp_drain_piece() first.
 * No locks held but slots_lock. */
void tdp_zap_all(struct mmu *mmu, enum debt_reason reason);
