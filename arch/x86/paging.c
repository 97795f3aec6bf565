/* SPDX-License-Identifier: MIT */
/* Builds the hypervisor's own page tables; see the header. */
#include "arch/x86/paging.h"

#include "arch/x86/cpu.h"
#include "arch/x86/cpu_facts.h"
#include "arch/x86/descriptors.h"
#include "arch/x86/direct_map.h"
#include "arch/x86/pte.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/window.h"
#include "lib/assert.h"
#include "lib/host_tlb.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/spinlock.h"
#include "lib/string.h"

/* Entries 0 (write-back) and 3 (uncached) of IA32_PAT keep their reset values. Entry 1 is not used
 * by any other mapping, so it can become write-combining without flushing caches. */
#define PAT_1                 BITS(15, 8)
#define PAT_1_WRITE_COMBINING (1ull << 8)

extern const char text_start[], rodata_start[], data_start[], image_end[];

static hpa_t root;
static struct spinlock direct_lock; /* of the direct map, once there are several CPUs */
static unsigned
    largest_leaf; /* level of the largest leaf: 2 for 2 MiB, 3 if the CPU has 1 GiB pages */

/* The mapping that physical_map() returned before `root` existed. */
static struct {
    uint64_t start, size, flags;
} early;

static hpa_t paging_new_table(void)
{
    hpa_t table = page_alloc(0);
    if (!page_is_none(table))
        page_clear(phys_to_virt(table), 0);
    return table;
}

/* Maps one leaf at `level`. Returns false if direct_entry() fails. */
static bool map_leaf(uint64_t address, uint64_t physical, unsigned level, uint64_t flags)
{
    uint64_t *entry = direct_entry(root, address, level, paging_new_table);
    if (entry)
        *entry = physical | flags | PTE_P | (level > 1 ? PTE_PS : 0);
    return entry;
}

static bool paging_map(uint64_t address, uint64_t physical, uint64_t size, uint64_t flags)
{
    BUG_ON(flags & PTE_W && !(flags & PTE_NX));
    for (uint64_t done = 0; done < size;) {
        unsigned level = largest_leaf;
        while (level > 1 && ((address + done) | (physical + done)) % pte_size(level) |
                                (size - done < pte_size(level)))
            level--;
        if (!map_leaf(address + done, physical + done, level, flags))
            return false;
        done += pte_size(level);
    }
    return true;
}

static uint64_t image_physical(const void *symbol)
{
    return (uint64_t)symbol - KERNEL_BASE;
}

/* Maps start..end of the image at KERNEL_BASE. */
static bool map_image(const char *start, const char *end, uint64_t flags)
{
    return paging_map((uint64_t)start, image_physical(start),
                      align_up((uint64_t)(end - start), PAGE_SIZE), flags);
}

/* Maps the part of a RAM range that lies in low..high into the direct map. */
static bool map_direct(const struct boot_range *range, uint64_t low, uint64_t high, uint64_t flags)
{
    uint64_t start = align_up(range->base.v, PAGE_SIZE);
    uint64_t end = align_down(range->base.v + range->size, PAGE_SIZE);
    if (start < low)
        start = low;
    if (end > high)
        end = high;
    return start >= end || paging_map(DIRECT_MAP + start, start, end - start, flags);
}

/* Maps RAM into the direct map. The image's code and constants are read-only there, too. */
static bool map_ram(const struct boot_info *info)
{
    uint64_t code =
        image_physical(text_start) & ~0x1fffffull; /* includes .boot, which precedes it */
    uint64_t constants_end = image_physical(data_start);

    for (unsigned i = 0; i < info->range_count; i++) {
        const struct boot_range *range = &info->ranges[i];
        if (range->kind != BOOT_RAM)
            continue;
        if (!map_direct(range, PAGE_SIZE, code, PTE_W | PTE_NX | PTE_G) ||
            !map_direct(range, code, constants_end, PTE_NX | PTE_G) ||
            !map_direct(range, constants_end, paging_ram_end(), PTE_W | PTE_NX | PTE_G))
            return false;
    }
    return true;
}

/* Maps the image. The part from the stacks on is mapped page by page, because the guard pages must
 * be 4 KiB leaves. */
static bool map_whole_image(void)
{
    const char *guards = (const char *)stacks;
    bool done = map_image(text_start, rodata_start, PTE_G) &&
                map_image(rodata_start, data_start, PTE_NX | PTE_G) &&
                map_image(data_start, guards, PTE_W | PTE_NX | PTE_G);
    for (const char *page = guards; done && page < image_end; page += PAGE_SIZE)
        done = map_image(page, page + PAGE_SIZE, PTE_W | PTE_NX | PTE_G);
    return done;
}

static bool map_windows(void)
{
    uint64_t *entry = direct_entry(root, WINDOWS, 2, paging_new_table);
    if (entry)
        *entry = window_table().v | PTE_P | PTE_W;
    return entry;
}

/* Maps pages that are not RAM. What has been mapped with a less strict memory type leaves the
 * caches and this CPU's TLB; the others are not running yet, or ask for what they use already. */
static bool map_device(uint64_t start, uint64_t end, uint64_t flags)
{
    enum direct_result result = direct_add(root, start, end, flags, paging_new_table);
    if (result == DIRECT_RETYPED) {
        host_tlb_flush();
        wbinvd();
    }
    if (result == DIRECT_IS_RAM)
        log_error("paging: %#lx to %#lx cannot be mapped as a device: some of it is RAM", start,
                  end);
    return result == DIRECT_DONE || result == DIRECT_RETYPED;
}

static void unmap_page(const void *address)
{
    hpa_t table = root;
    for (unsigned level = PTE_LEVELS; level > 1; level--) {
        uint64_t entry = *pte_of(table, (uint64_t)address, level);
        BUG_ON(!(entry & PTE_P) || entry & PTE_PS);
        table = HPA(entry & PTE_ADDRESS);
    }
    *pte_of(table, (uint64_t)address, 1) = 0;
    invlpg(address);
}

uint64_t paging_ram_end(void)
{
    return cpu_mappable_end(cpuid);
}

bool paging_init(const struct boot_info *info)
{
    largest_leaf = cpuid(0x80000001, 0).edx & BIT(26) ? 3 : 2;
    hpa_t fresh = paging_new_table();
    if (page_is_none(fresh))
        return false;
    root = fresh;
    if (!map_ram(info) || !map_whole_image() || !map_windows() ||
        direct_add(root, early.start, early.start + early.size, early.flags, paging_new_table) ==
            DIRECT_NO_TABLE) {
        root = HPA(0);
        return false;
    }
    for (unsigned i = 0; i < STACK_COUNT; i++)
        unmap_page(stacks[i].guard);

    write_cr3(root.v);
    paging_init_cpu();
    host_tlb_join(this_cpu());
    BUG_ON(paging_count_wx());
    return true;
}

void paging_init_cpu(void)
{
    wrmsr(MSR_PAT, (rdmsr(MSR_PAT) & ~PAT_1) | PAT_1_WRITE_COMBINING);
    write_cr4(read_cr4() | CR4_PGE);
}

hpa_t paging_root(void)
{
    return root;
}

bool paging_map_data(const void *address, hpa_t pages, uint64_t size)
{
    return paging_map((uint64_t)address, pages.v, size, PTE_W | PTE_NX | PTE_G);
}

/* Before the final page tables exist, the boot page tables map the first 4 GiB, and the mapping is
 * only recorded. */
static void *physical_map_early(hpa_t base, uint64_t start, uint64_t end, uint64_t flags)
{
    if (end > BIT(32))
        return NULL;
    BUG_ON(early.size);
    early.start = start;
    early.size = end - start;
    early.flags = flags;
    return phys_to_virt(base);
}

void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    static const uint64_t type_flags[] = {
        [MAP_CACHED] = 0, [MAP_WRITE_COMBINING] = PTE_WC, [MAP_UNCACHED] = PTE_UC};
    uint64_t start = align_down(base.v, PAGE_SIZE), end = align_up(base.v + size, PAGE_SIZE);
    uint64_t flags = PTE_W | PTE_NX | PTE_G | type_flags[type];
    if (end <= start || end > paging_ram_end())
        return NULL;
    if (!root.v)
        return physical_map_early(base, start, end, flags);
    return map_device(start, end, flags) ? phys_to_virt(base) : NULL;
}

/* ---- Blocks that leave the direct map -------------------------------------------------------- */

/* A page of 1 GiB that was split stays split. */
static hpa_t new_split_table(void)
{
    return page_alloc_for_ever(0);
}

uint64_t page_hide(hpa_t block)
{
    spin_lock(&direct_lock);
    bool hidden = direct_hide(root, block, new_split_table);
    spin_unlock(&direct_lock);
    return hidden ? host_tlb_owe() : 0;
}

void page_show(hpa_t block)
{
    spin_lock(&direct_lock);
    direct_show(root, block);
    spin_unlock(&direct_lock);
}

bool page_is_hidden(hpa_t page)
{
    return root.v && direct_is_hidden(root, page);
}

/* Changing CR4.PGE flushes all translations of the VPID that is current, that of the host
 * (SDM 3, 4.10.4.1). INVPCID would, too, but not every CPU has it. */
void host_tlb_flush(void)
{
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 & ~CR4_PGE);
    write_cr4(cr4);
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static uint64_t count_wx(hpa_t table, unsigned level, bool executable)
{
    const uint64_t *entries = phys_to_virt(table);
    uint64_t found = 0;
    for (unsigned i = 0; i < PTE_ENTRIES; i++) {
        uint64_t entry = entries[i];
        bool execute = executable && !(entry & PTE_NX);
        if (!(entry & PTE_P))
            continue;
        if (level > 1 && !(entry & PTE_PS))
            found += count_wx(HPA(entry & PTE_ADDRESS), level - 1, execute);
        else
            found += execute && entry & PTE_W;
    }
    return found;
}

uint64_t paging_count_wx(void)
{
    return count_wx(root, PTE_LEVELS, true);
}
