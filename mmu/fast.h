/* SPDX-License-Identifier: MIT */
/*
 * Fast faults (rule N3): a violation on a present SPTE that lacks only rights which may be restored
 * at any time is repaired by one compare-exchange, without the lock.
 */
#pragma once

#include "mmu/map.h"

/* Returns FAULT_FIXED, FAULT_SPURIOUS, or FAULT_INVALID if the slow path has to decide (rule P3).
 * The caller is in an epoch. */
int fast_fault(struct mmu *mmu, const struct tdp_access *want) MUST_CHECK;
