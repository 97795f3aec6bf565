/* SPDX-License-Identifier: MIT */
/* Blocks that leave the direct map and come back, and devices in it; see the header. Pure. */
#include "arch/x86/direct_map.h"

#include "arch/x86/pte.h"
#include "lib/assert.h"

#define LEVEL_2M 2u
#define LEVEL_1G 3u

/* How free RAM is mapped. The CPU may have set A and D. */
#define RAM_FLAGS (PTE_P | PTE_W | PTE_G | PTE_NX)
#define PTE_A     BIT(5)
#define PTE_D     BIT(6)

static bool is_ram_leaf(uint64_t entry, hpa_t page, uint64_t size_flag)
{
    return (entry & ~(PTE_A | PTE_D)) == (page.v | RAM_FLAGS | size_flag);
}

static bool is_table(uint64_t entry)
{
    return entry & PTE_P && !(entry & PTE_PS);
}

/* The entry for the address at the level `down_to`, or the entry above it where the walk ends. */
static uint64_t *direct_map_walk(hpa_t root, hpa_t address, unsigned down_to, unsigned *level)
{
    hpa_t table = root;
    for (*level = PTE_LEVELS;; --*level) {
        uint64_t *entry = pte_of(table, DIRECT_MAP + address.v, *level);
        if (*level == down_to || !is_table(*entry))
            return entry;
        table = HPA(*entry & PTE_ADDRESS);
    }
}

/* The new table is complete before the entry points to it. Until the caller has flushed, TLBs may
 * hold the large page, too, which translates to the same. */
static bool direct_map_split(uint64_t *giant, hpa_t (*new_table)(void))
{
    hpa_t table = new_table();
    if (page_is_none(table))
        return false;
    uint64_t *entries = phys_to_virt(table);
    for (unsigned i = 0; i < PTE_ENTRIES; i++)
        entries[i] = *giant + i * pte_size(LEVEL_2M);
    __atomic_store_n(giant, table.v | PTE_P | PTE_W, __ATOMIC_RELEASE);
    return true;
}

bool direct_hide(hpa_t root, hpa_t block, hpa_t (*new_table)(void))
{
    unsigned level;
    BUG_ON(block.v % pte_size(LEVEL_2M));
    uint64_t *entry = direct_map_walk(root, block, LEVEL_2M, &level);
    if (level == LEVEL_1G && *entry & PTE_P) {
        if (!direct_map_split(entry, new_table))
            return false;
        entry = direct_map_walk(root, block, LEVEL_2M, &level);
    }
    BUG_ON(level != LEVEL_2M);
    if (!is_table(*entry)) {
        BUG_ON(!is_ram_leaf(*entry, block, PTE_PS));
        __atomic_store_n(entry, PTE_PRIVATE, __ATOMIC_RELEASE);
        return true;
    }
    uint64_t *small = phys_to_virt(HPA(*entry & PTE_ADDRESS));
    for (unsigned i = 0; i < PTE_ENTRIES; i++) {
        BUG_ON(!is_ram_leaf(small[i], hpa_add(block, i * PAGE_SIZE), 0));
        __atomic_store_n(&small[i], PTE_PRIVATE, __ATOMIC_RELEASE);
    }
    return true;
}

void direct_show(hpa_t root, hpa_t block)
{
    unsigned level;
    uint64_t *entry = direct_map_walk(root, block, LEVEL_2M, &level);
    BUG_ON(level != LEVEL_2M);
    if (!is_table(*entry)) {
        BUG_ON(*entry != PTE_PRIVATE);
        __atomic_store_n(entry, block.v | RAM_FLAGS | PTE_PS, __ATOMIC_RELEASE);
        return;
    }
    uint64_t *small = phys_to_virt(HPA(*entry & PTE_ADDRESS));
    for (unsigned i = 0; i < PTE_ENTRIES; i++) {
        BUG_ON(small[i] != PTE_PRIVATE);
        __atomic_store_n(&small[i], (block.v + i * PAGE_SIZE) | RAM_FLAGS, __ATOMIC_RELEASE);
    }
}

bool direct_is_hidden(hpa_t root, hpa_t address)
{
    unsigned level;
    return *direct_map_walk(root, address, 1, &level) == PTE_PRIVATE;
}

/* ---- Devices --------------------------------------------------------------------------------- */

uint64_t *direct_entry(hpa_t root, uint64_t address, unsigned level, hpa_t (*new_table)(void))
{
    hpa_t table = root;
    for (unsigned at = PTE_LEVELS; at > level; at--) {
        uint64_t *entry = pte_of(table, address, at);
        if (!(*entry & PTE_P)) {
            hpa_t fresh = new_table();
            if (page_is_none(fresh))
                return NULL;
            *entry = fresh.v | PTE_P | PTE_W;
        } else if (*entry & PTE_PS) {
            return NULL;
        }
        table = HPA(*entry & PTE_ADDRESS);
    }
    return pte_of(table, address, level);
}

/* Large areas, such as that of PCI's configuration spaces, are mapped by leaves of 2 MiB where
 * nothing is mapped yet. Only with these types is it of no importance that the MTRRs may say
 * different things of the parts of a leaf (SDM 3, 12.11.9). */
static unsigned level_to_add(uint64_t at, uint64_t end, uint64_t flags, unsigned free_level)
{
    uint64_t large = pte_size(LEVEL_2M);
    return free_level >= LEVEL_2M && flags & PTE_TYPE && !(at % large) && end - at >= large
               ? LEVEL_2M
               : 1;
}

enum direct_result direct_add(hpa_t root, uint64_t start, uint64_t end, uint64_t flags,
                              hpa_t (*new_table)(void))
{
    enum direct_result result = DIRECT_DONE;
    for (uint64_t at = start; at < end;) {
        unsigned level;
        uint64_t *entry = direct_map_walk(root, HPA(at), 1, &level);
        uint64_t type = flags & PTE_TYPE;
        if (!(*entry & PTE_P)) {
            level = level_to_add(at, end, flags, level);
            entry = direct_entry(root, DIRECT_MAP + at, level, new_table);
            if (!entry)
                return DIRECT_NO_TABLE;
            *entry =
                at | (at ? flags : flags & ~PTE_W) | PTE_P | PTE_DEVICE | (level > 1 ? PTE_PS : 0);
        } else if (type > (*entry & PTE_TYPE)) {
            if (!(*entry & PTE_DEVICE))
                return DIRECT_IS_RAM;
            *entry = (*entry & ~PTE_TYPE) | type;
            result = DIRECT_RETYPED;
        }
        at = (at & -pte_size(level)) + pte_size(level);
    }
    return result;
}
