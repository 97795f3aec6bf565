/* SPDX-License-Identifier: MIT */
/*
 * Table pages: each pCPU keeps as many as one fault can need, allocated before the lock is taken
 * (rule N6), and their number is bounded by what the VM's memory justifies. Inside mmu/.
 */
#pragma once

#include "mmu/types.h"

/* The composite, with one root. Returns 0 or -ENOMEM. */
int tdp_create(struct mmu *mmu) MUST_CHECK;
void tdp_destroy(struct mmu *mmu);

/* Makes sure that the next map or MMIO install needs no allocation (rule N6). Empties all
 * roots first if the VM has more tables than its memory justifies, and frees a piece of what is
 * retired. No locks held. Returns 0 or -ENOMEM. */
int tdp_fill_cache(struct mmu_cpu *self) MUST_CHECK;

static inline int MUST_CHECK tdp_top_up(struct mmu_cpu *self)
{
    return likely(self->table_cache_used == TABLE_CACHE) ? 0 : tdp_fill_cache(self);
}

/* How many tables a VM with so many pages of memory can have, on so many pCPUs. */
uint64_t tdp_tables_most(uint64_t pages, unsigned pcpus);

/* A page of NONPRESENT out of the cache, and back. */
const uint64_t *tdp_take_table(struct mmu_cpu *self);
void tdp_return_table(struct mmu_cpu *self, const uint64_t *table);

/* Fills a page out of the cache, which is not linked yet: with `first`, and each next entry `step`
 * more; or with NONPRESENT again. */
void tdp_fill_table(const uint64_t *table, uint64_t first, uint64_t step);
void tdp_clear_table(const uint64_t *table);
