/* SPDX-License-Identifier: MIT */
/* The entries of the hypervisor's own page tables (SDM 3, 4.5). Private to arch/x86/. */
#pragma once

#include "boot/layout.h"
#include "lib/bits.h"
#include "lib/page.h"
#include "lib/types.h"

#define PTE_P       BIT(0)
#define PTE_W       BIT(1)
#define PTE_PWT     BIT(3)
#define PTE_PCD     BIT(4)
#define PTE_PS      BIT(7)
#define PTE_G       BIT(8)
#define PTE_NX      BIT(63)
#define PTE_ADDRESS BITS(51, 12)

/* An entry that is not present: the memory is private to a TD. Its address is 0, because a CPU with
 * the flaw L1TF would load speculatively what the address of an entry points to. */
#define PTE_PRIVATE BIT(9)

/* A leaf of the direct map that is not RAM, so its memory type may change. */
#define PTE_DEVICE BIT(10)

/* PWT and PCD select an entry of IA32_PAT: 0 is write-back, 1 write-combining, 3 uncached. Of two
 * memory types, the larger number is the stricter one. */
#define PTE_WC   PTE_PWT
#define PTE_UC   (PTE_PCD | PTE_PWT)
#define PTE_TYPE (PTE_PCD | PTE_PWT)

#define PTE_ENTRIES 512u
#define PTE_LEVELS  4

/* The bytes that an entry covers; level 1 is that of 4 KiB. */
static inline uint64_t pte_size(unsigned level)
{
    return PAGE_SIZE << 9 * (level - 1);
}

static inline uint64_t *pte_of(hpa_t table, uint64_t address, unsigned level)
{
    return (uint64_t *)phys_to_virt(table) + (address / pte_size(level)) % PTE_ENTRIES;
}
