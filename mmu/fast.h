/* SPDX-License-Identifier: MIT */
/*
 * Fast faults (rule N3): a violation on an SPTE that is present and lacks only what may be given
 * back without asking is repaired by one compare-exchange, without the lock.
 */
#pragma once

#include "mmu/map.h"

/* Returns FAULT_FIXED, FAULT_SPURIOUS, or FAULT_INVALID: not decided here (rule P3). In an
 * epoch. */
int fast_fault(struct mmu *mmu, const struct tdp_access *want) MUST_CHECK;
