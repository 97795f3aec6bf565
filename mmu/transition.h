/* SPDX-License-Identifier: MIT */
/*
 * The rules for replacing one SPTE by another: is the change allowed, and does it owe a TLB flush?
 * Pure functions of the two words, asked by the choke point (mmu/store.h) for every store.
 */
#pragma once

#include "mmu/spte.h"

/* NULL if the change is one that the MMU makes, else a sentence that says what is wrong with it
 * (rules S3, S13, S14, W5, W7, P7). */
const char *spte_change_refused(uint64_t old, uint64_t new, unsigned level, uint64_t mmio_value);

/* Does a leaf stay what it is but for A and D? These say nothing that a rule asks about, so a leaf
 * that may be there may change like this, and it owes nothing. */
static inline bool spte_change_is_of_ad(uint64_t old, uint64_t new, unsigned level)
{
    return !((old ^ new) & ~(EPT_ACCESSED | EPT_DIRTY)) && spte_is_leaf(old, level);
}

/* Does a CPU that has cached `old` have to forget it (rules T2, T6)? From an entry that is not
 * present or misconfigured nothing is ever cached, so only a present `old` can owe. A leaf that a
 * table replaces owes nothing: only tdp_split() does that, with a table that translates the same.
 * Clearing A is never flushed, clearing D once by who collects it (rule S4). */
static inline bool spte_change_owes_flush(uint64_t old, uint64_t new, unsigned level)
{
    if (!spte_is_present(old))
        return false;
    if (!spte_is_present(new))
        return true;
    if (spte_is_leaf(old, level) != spte_is_leaf(new, level))
        return spte_is_leaf(new, level);
    const uint64_t translation = EPT_ADDRESS | EPT_IPAT | EPT_MEMTYPE;
    /* MMU_WRITABLE counts beside R, W and X: W may be clear already with its flush deferred (S4).
     */
    const uint64_t permission = EPT_RWX | SPTE_MMU_WRITABLE;
    return (old ^ new) & translation || old & ~new &permission;
}
