/* SPDX-License-Identifier: MIT */
/*
 * The part of a VM's MMU that each pCPU has for itself: its counters and the tables that its next
 * fault may need. Inside mmu/.
 */
#pragma once

#include "mmu/spte.h"
#include "mmu/tlb.h"
#include "mmu/types.h"

/* The part of the pCPU that executes this. */
static inline struct mmu_cpu *mmu_self(struct mmu *mmu)
{
    return &mmu->cpu[this_cpu()];
}

/* Adds to a counter that other pCPUs read while it changes. The other counters are read only when
 * somebody asks for statistics, and a plain addition does. */
static inline void mmu_count(uint64_t *counter, uint64_t change)
{
    __atomic_store_n(counter, *counter + change, __ATOMIC_RELAXED);
}

/* Counts the table that an entry links as one that has come (1) or gone (~0). */
static inline void mmu_count_table(struct mmu_cpu *self, uint64_t link, uint64_t change)
{
    mmu_count(&self->stats.tables, change);
    if (unlikely(link & SPTE_NX_SPLIT))
        mmu_count(&self->stats.nx_splits, change);
}
