/* SPDX-License-Identifier: MIT */
/*
 * The rules for replacing one SPTE by another: is the change allowed, and does it owe a TLB flush?
 * Pure functions of the two values, which the choke point (mmu/store.h) applies to every store.
 */
#pragma once

#include "mmu/spte.h"

/* NULL if the change is allowed, else a message that says what is wrong with it (rules S3, S13,
 * S14, W5, W7, P7). */
const char *spte_change_refused(uint64_t old, uint64_t new, unsigned level, uint64_t mmio_value);

/* Does a leaf change in A and D only? No rule depends on these bits, so such a change of a valid
 * leaf is always allowed, and owes nothing. */
static inline bool spte_change_is_of_ad(uint64_t old, uint64_t new, unsigned level)
{
    return !((old ^ new) & ~(EPT_ACCESSED | EPT_DIRTY)) && spte_is_leaf(old, level);
}

/* Must CPUs that have cached `old` flush it (rules T2, T6)? A CPU never caches anything from an
 * entry that is not present or is misconfigured, so only a present `old` can owe a flush. Replacing
 * a leaf by a table owes nothing, because only tdp_split() does so, with a table that translates
 * the same. Clearing A is never flushed. Clearing D is flushed once by the caller, for all entries
 * (rule S4). */
static inline bool spte_change_owes_flush(uint64_t old, uint64_t new, unsigned level)
{
    if (!spte_is_present(old))
        return false;
    if (!spte_is_present(new))
        return true;
    if (spte_is_leaf(old, level) != spte_is_leaf(new, level))
        return spte_is_leaf(new, level);
    const uint64_t translation = EPT_ADDRESS | EPT_IPAT | EPT_MEMTYPE;
    /* MMU_WRITABLE counts like R, W and X: W may be clear while its flush is still deferred (S4).
     */
    const uint64_t permission = EPT_RWX | SPTE_MMU_WRITABLE;
    return (old ^ new) & translation || old & ~new &permission;
}
