/* SPDX-License-Identifier: MIT */
/*
 * Table pages. Each pCPU has a cache of as many pages as one fault can need, which is filled before
 * the lock is taken (rule N6). The number of a VM's tables is limited in proportion to its memory.
 * Private to mmu/.
 */
#pragma once

#include "mmu/types.h"

/* Creates the composite, with one root. Returns 0 or -ENOMEM. */
int tdp_create(struct mmu *mmu) MUST_CHECK;
void tdp_destroy(struct mmu *mmu);

/* Makes the first entry of the composite point to the external tables of a VM with a mirror, which
 * has no slot yet. */
void tdp_link_external(const struct mmu *mmu, hpa_t external);

/* Fills the cache, so that the next fault maps without allocating (rule N6). First empties all
 * roots if the VM has more tables than its memory justifies; otherwise frees a piece of the retired
 * tables and pages. Called without locks. Returns 0 or -ENOMEM. */
int tdp_fill_cache(struct mmu_cpu *self) MUST_CHECK;

static inline int MUST_CHECK tdp_top_up(struct mmu_cpu *self)
{
    return likely(self->table_cache_used == TABLE_CACHE) ? 0 : tdp_fill_cache(self);
}

/* The most tables that a VM with this much memory can have, on this number of pCPUs. */
uint64_t tdp_tables_most(uint64_t pages, unsigned pcpus);

/* Take a page filled with NONPRESENT from the cache, and return it to the cache. */
const uint64_t *tdp_take_table(struct mmu_cpu *self);
void tdp_return_table(struct mmu_cpu *self, const uint64_t *table);

/* Fill a table that is not linked: tdp_fill_table() with the entries `first`, `first` + `step` and
 * so on, tdp_clear_table() with NONPRESENT. */
void tdp_fill_table(const uint64_t *table, uint64_t first, uint64_t step);
void tdp_clear_table(const uint64_t *table);
