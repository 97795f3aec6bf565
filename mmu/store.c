/* SPDX-License-Identifier: MIT */
/* The slow paths of the choke point; see the header. */
#include "mmu/store.h"

#include "lib/assert.h"
#include "lib/log.h"

static COLD void store_refuse(uint64_t old, uint64_t new, unsigned level, const char *why)
{
    log_error("MMU: SPTE %#lx -> %#lx at level %u: %s", old, new, level, why);
    BUG_ON(true);
}

bool tdp_store_any(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level,
                   uint64_t old, uint64_t new, enum debt_reason reason)
{
    if (spte_change_is_of_ad(old, new, level))
        return spte_store(self, gfn, sptep, level, old, new, DEBT_NONE, CHANGE_AD);
    const char *refused = spte_change_refused(old, new, level, self->mmu->mmio_value);
    if (unlikely(refused))
        store_refuse(old, new, level, refused);
    return spte_store(self, gfn, sptep, level, old, new, reason, CHANGE_ANY);
}

uint64_t tdp_exchange(struct mmu_cpu *self, gfn_t gfn, const uint64_t *sptep, unsigned level,
                      uint64_t new, enum debt_reason reason)
{
    uint64_t old = __atomic_load_n(sptep, __ATOMIC_ACQUIRE);
    while (!tdp_store(self, gfn, sptep, level, old, new, reason))
        old = __atomic_load_n(sptep, __ATOMIC_ACQUIRE);
    return old;
}
