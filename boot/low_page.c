/* SPDX-License-Identifier: MIT */
/* Finds a page of RAM in the first MiB at which other CPUs can start. Pure. */
#include "boot/boot_info.h"

#include "lib/page.h"

#define LOWEST  0x1000ull /* the BIOS keeps its vectors and data in page 0 */
#define HIGHEST 0x9f000ull

static bool page_meets(uint64_t page, uint64_t base, uint64_t size)
{
    return size && base < page + PAGE_SIZE && page <= base + (size - 1);
}

static bool is_free_ram(const struct boot_info *info, uint64_t page)
{
    for (unsigned i = 0; i < info->module_count; i++)
        if (page_meets(page, info->modules[i].base.v, info->modules[i].size))
            return false;
    return boot_is_ram(info, HPA(page), PAGE_SIZE);
}

hpa_t boot_low_page(const struct boot_info *info)
{
    for (uint64_t page = HIGHEST; page >= LOWEST; page -= PAGE_SIZE)
        if (is_free_ram(info, page))
            return HPA(page);
    return PAGE_NONE;
}
