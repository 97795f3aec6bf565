/* SPDX-License-Identifier: MIT */
/*
 * Each pCPU's own part of a VM's MMU: its counters, and the tables that its next fault may need.
 * Private to mmu/.
 */
#pragma once

#include "mmu/spte.h"
#include "mmu/tlb.h"
#include "mmu/types.h"

/* The part that belongs to the current pCPU. */
static inline struct mmu_cpu *mmu_self(struct mmu *mmu)
{
    return &mmu->cpu[this_cpu()];
}

/* Adds to a counter that other pCPUs read to make decisions. All other counters are only read for
 * statistics, so plain additions suffice for them. */
static inline void mmu_count(uint64_t *counter, uint64_t change)
{
    __atomic_store_n(counter, *counter + change, __ATOMIC_RELAXED);
}

/* Counts the table to which `link` points: as added if `change` is 1, as removed if it is ~0. */
static inline void mmu_count_table(struct mmu_cpu *self, uint64_t link, uint64_t change)
{
    mmu_count(&self->stats.tables, change);
    if (unlikely(link & SPTE_NX_SPLIT))
        mmu_count(&self->stats.nx_splits, change);
}
