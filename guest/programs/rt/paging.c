/* SPDX-License-Identifier: MIT */
/*
 * Editing the guest's own page tables. Tables come from a small pool inside the image, which was
 * touched at the start, so a walk through them never causes an EPT violation.
 */
#include "guest/programs/rt/rt.h"

#define POOL_PAGES 48
#define PTE_ADDR   BITS(51, 12)

static uint64_t pool[POOL_PAGES][512] __attribute__((aligned(4096)));
static unsigned pool_used;

uint64_t *new_page(void)
{
    if (pool_used == POOL_PAGES) {
        print("Bail out! all %d pages of the pool are used\n", POOL_PAGES);
        debug_exit(1);
    }
    return pool[pool_used++];
}

uint64_t *new_root(void)
{
    uint64_t *root = new_page();

    root[0] = rt_pml4[0];
    return root;
}

/* The table below an entry. If there is none, it is created; a large page is split into an
 * equivalent table. */
static uint64_t *table_below(uint64_t *entry, int shift)
{
    if (!(*entry & PTE_P) || (*entry & PTE_PS)) {
        uint64_t *table = new_page(), old = *entry;
        uint64_t size = 1ull << (shift - 9);
        for (uint64_t i = 0; (old & PTE_P) && i < 512; i++)
            table[i] = (old & ~(size == RT_PAGE ? PTE_PS : 0)) + i * size;
        *entry = (uint64_t)table | PTE_P | PTE_W | PTE_U;
    }
    return (uint64_t *)(*entry & PTE_ADDR);
}

void map_page(uint64_t *root, uint64_t va, uint64_t pa, uint64_t flags)
{
    uint64_t *table = root;
    int last = flags & PTE_PS ? 21 : 12;
    int shift = 39;

    for (; shift > last; shift -= 9)
        table = table_below(&table[va >> shift & 511], shift);
    table[va >> shift & 511] = pa | flags;
}
