/* SPDX-License-Identifier: MIT */
#include "gdb/translate.h"

#include "arch/x86/reg_bits.h"
#include "gdb/target.h"

#define ENTRY_PRESENT BIT(0)
#define ENTRY_LARGE   BIT(7)
#define ENTRY_ADDRESS BITS(51, 12)

/* The walk from a table whose entries have 8 bytes, and each of which translates 9 bits. */
static bool walk_wide(struct vcpu *vcpu, uint64_t table, unsigned levels, uint64_t linear,
                      uint64_t *physical)
{
    for (unsigned level = levels;; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t entry;
        if (target_read(vcpu, GPA(table + (linear >> shift & 511) * 8), &entry, sizeof(entry)) ||
            !(entry & ENTRY_PRESENT))
            return false;
        table = entry & ENTRY_ADDRESS;
        if (level == 1 || (level <= 3 && levels > 2 && entry & ENTRY_LARGE) ||
            (level == 2 && entry & ENTRY_LARGE)) {
            *physical = (table & ~(BIT(shift) - 1)) | (linear & (BIT(shift) - 1));
            return true;
        }
    }
}

/* 32-bit paging: two levels of 10 bits each. A large page has bits 39:32 of its address in bits
 * 20:13 of its entry. */
static bool walk_narrow(struct vcpu *vcpu, const struct gdb_paging *paging, uint32_t linear,
                        uint64_t *physical)
{
    uint32_t entry, table = paging->cr3 & 0xfffff000;
    if (target_read(vcpu, GPA(table + (linear >> 22) * 4), &entry, sizeof(entry)) ||
        !(entry & ENTRY_PRESENT))
        return false;
    if (paging->cr4 & CR4_PSE && entry & ENTRY_LARGE) {
        *physical =
            (entry & 0xffc00000) | ((uint64_t)entry >> 13 & 0xff) << 32 | (linear & 0x3fffff);
        return true;
    }
    table = entry & 0xfffff000;
    if (target_read(vcpu, GPA(table + (linear >> 12 & 0x3ff) * 4), &entry, sizeof(entry)) ||
        !(entry & ENTRY_PRESENT))
        return false;
    *physical = (entry & 0xfffff000) | (linear & 0xfff);
    return true;
}

bool gdb_translate(struct vcpu *vcpu, const struct gdb_paging *paging, uint64_t linear, gpa_t *gpa)
{
    uint64_t physical = linear;
    bool found = true;
    if (paging->efer & EFER_LMA) {
        found = (uint64_t)((int64_t)(linear << 16) >> 16) == linear &&
                walk_wide(vcpu, paging->cr3 & ENTRY_ADDRESS, 4, linear, &physical);
    } else if (linear >> 32) {
        return false;
    } else if (paging->cr0 & CR0_PG && paging->cr4 & CR4_PAE) {
        uint64_t pdpte = paging->pdpte[linear >> 30];
        found =
            pdpte & ENTRY_PRESENT && walk_wide(vcpu, pdpte & ENTRY_ADDRESS, 2, linear, &physical);
    } else if (paging->cr0 & CR0_PG) {
        found = walk_narrow(vcpu, paging, (uint32_t)linear, &physical);
    }
    *gpa = GPA(physical);
    return found;
}
