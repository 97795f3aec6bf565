/* SPDX-License-Identifier: MIT */
/*
 * Whether an EPT entry is a misconfiguration, and why (SDM 3, 29.3.3.1, rule S13). Pure. The choke
 * point of mmu/ checks each entry before it stores it; the dump of a failed walk prints the
 * reasons.
 */
#pragma once

#include "ept/caps.h"

/* Returns true if the CPU exits with an EPT misconfiguration when a walk reaches `entry` at
 * `level`. An entry whose bits 2:0 are clear is not present and never misconfigured, whatever its
 * other bits. */
static inline bool ept_misconfigured(uint64_t entry, unsigned level, const struct ept_caps *caps)
{
    if (!(entry & EPT_RWX))
        return false;
    bool large = entry & EPT_LARGE;
    if ((caps->bad_permissions >> (entry & EPT_RWX)) & 1 || entry & caps->reserved[level][large])
        return true;
    bool leaf = large || level == EPT_LEVEL_4K;
    return leaf && MEMTYPE_RESERVED >> field_get(entry, EPT_MEMTYPE) & 1;
}

#define EPT_EXPLAIN_SIZE 256

/* Writes all reasons, separated by "; ", or an empty string, to `text`. Returns
 * ept_misconfigured(). */
bool ept_misconfig_explain(uint64_t entry, unsigned level, const struct ept_caps *caps, char *text,
                           size_t size);
