/* SPDX-License-Identifier: MIT */
/*
 * What CPUID returns by the table of vm/cpuid_table.h and the SDM (2A, CPUID): each entry is looked
 * at, and no place is computed.
 */
#pragma once

#include "vm/cpuid_table.h"
#include "vm/features.h"

#include <stddef.h>

/* The leaf that answers for `leaf`: above the highest leaf of either range, the highest basic one;
 * in the hypervisor's range, each leaf for itself. */
static inline uint32_t oracle_leaf(const struct cpuid_table *table, uint32_t leaf)
{
    uint32_t basic = 0, highest = 0;
    for (unsigned i = 0; i < table->count; i++) {
        const struct cpuid_entry *e = &table->entries[i];
        basic = e->leaf == 0 ? e->answer.eax : basic;
        if (e->leaf == (leaf & CPUID_LEAF_EXTENDED))
            highest = e->answer.eax;
    }
    return leaf <= highest || leaf >> 28 == 4 ? leaf : basic;
}

/* The entry of this very leaf and subleaf; NULL: it returns zeros. */
static inline const struct cpuid_entry *oracle_entry(const struct cpuid_table *table, uint32_t leaf,
                                                     uint32_t subleaf)
{
    for (unsigned i = 0; i < table->count; i++) {
        const struct cpuid_entry *e = &table->entries[i];
        if (e->leaf == leaf && (e->subleaf == subleaf || (!e->subleaf && !e->subleaves)))
            return e;
    }
    return NULL;
}

/* The answer on this vCPU for any values of EAX and ECX. */
static inline struct cpuid oracle_ask(const struct cpuid_table *table,
                                      const struct feature_vcpu *vcpu, uint32_t leaf,
                                      uint32_t subleaf)
{
    uint32_t answering = oracle_leaf(table, leaf);
    const struct cpuid_entry *entry = oracle_entry(table, answering, subleaf);
    return features_cpuid_own(vcpu, answering, subleaf, entry ? entry->answer : (struct cpuid){0});
}
