/* SPDX-License-Identifier: MIT */
/* The walk of the page tables; see the header. Without paging, and with 32-bit, PAE and 4-level
 * paging; a TD is not offered 5-level paging. Pure. */
#include "tdx/fetch.h"

#include "arch/x86/reg_bits.h"
#include "lib/bits.h"

#define ENTRY_PRESENT  BIT(0)
#define ENTRY_LARGE    BIT(7)
#define ENTRY_ADDRESS  BITS(51, 12)
#define LARGE_4M_LOW   BITS(31, 22)
#define LARGE_4M_HIGH  BITS(20, 13) /* bits 39:32 of the address (PSE-36) */
#define CR3_32_ADDRESS BITS(31, 12)

static bool fetch_read(const struct td_fetch *f, uint64_t gpa, void *buffer, size_t size)
{
    return !(gpa >> (f->gpa_width - 1)) && f->read(f->context, GPA(gpa), buffer, size);
}

static bool walk_32(const struct td_fetch *f, uint64_t linear, uint64_t *gpa)
{
    uint32_t entry = 0;
    uint64_t table = f->cr3 & CR3_32_ADDRESS;
    if (!fetch_read(f, table + (linear >> 22 & 0x3ff) * sizeof(entry), &entry, sizeof(entry)) ||
        !(entry & ENTRY_PRESENT))
        return false;
    if (entry & ENTRY_LARGE && f->cr4 & CR4_PSE) {
        *gpa =
            (entry & LARGE_4M_LOW) | field_get(entry, LARGE_4M_HIGH) << 32 | (linear & BITS(21, 0));
        return true;
    }
    table = entry & CR3_32_ADDRESS;
    if (!fetch_read(f, table + (linear >> 12 & 0x3ff) * sizeof(entry), &entry, sizeof(entry)) ||
        !(entry & ENTRY_PRESENT))
        return false;
    *gpa = (entry & CR3_32_ADDRESS) | page_offset(linear);
    return true;
}

/* From a table of level 4 or 2 on down to the page. */
static bool walk_64(const struct td_fetch *f, uint64_t table, unsigned level, uint64_t linear,
                    uint64_t *gpa)
{
    for (; level; level--) {
        const unsigned shift = 3 + 9 * level;
        uint64_t entry = 0, index = linear >> shift & 0x1ff;
        if (!fetch_read(f, table + index * sizeof(entry), &entry, sizeof(entry)) ||
            !(entry & ENTRY_PRESENT))
            return false;
        table = entry & ENTRY_ADDRESS;
        if (level == 1 || (level < 4 && entry & ENTRY_LARGE)) {
            const uint64_t offset = BIT(shift) - 1;
            *gpa = (table & ~offset) | (linear & offset);
            return true;
        }
    }
    return false;
}

static bool td_fetch_walk(const struct td_fetch *f, uint64_t linear, uint64_t *gpa)
{
    if (!(f->cr0 & CR0_PG)) {
        *gpa = linear;
        return true;
    }
    if (!(f->cr4 & CR4_PAE))
        return walk_32(f, linear, gpa);
    if (f->efer & EFER_LMA)
        return !(f->cr4 & CR4_LA57) && walk_64(f, f->cr3 & ENTRY_ADDRESS, 4, linear, gpa);
    const uint64_t pdpte = f->pdptes[linear >> 30 & 3];
    return pdpte & ENTRY_PRESENT && walk_64(f, pdpte & ENTRY_ADDRESS, 2, linear, gpa);
}

bool td_fetch(const struct td_fetch *fetch, uint64_t linear, uint8_t *bytes, size_t size)
{
    while (size) {
        uint64_t gpa = 0, part = PAGE_SIZE - page_offset(linear);
        if (part > size)
            part = size;
        if (!td_fetch_walk(fetch, linear, &gpa) || !fetch_read(fetch, gpa, bytes, part))
            return false;
        bytes += part;
        size -= part;
        linear += part;
        if (!fetch->code64)
            linear = (uint32_t)linear;
    }
    return true;
}

bool td_fetch_is_tdcall(const struct td_fetch *fetch, uint64_t linear)
{
    uint8_t b[TDCALL_LENGTH];
    return td_fetch(fetch, linear, b, sizeof(b)) && b[0] == 0x66 && b[1] == 0x0f && b[2] == 0x01 &&
           b[3] == 0xcc;
}
