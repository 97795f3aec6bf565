/* SPDX-License-Identifier: MIT */
#include "vm/layout.h"

#include "boot/boot_info.h"
#include "lib/bits.h"
#include "lib/string.h"

static struct guest_range layout_range(uint64_t base, uint64_t end)
{
    return (struct guest_range){.base = GPA(base), .size = end > base ? end - base : 0};
}

void guest_layout(uint64_t size, struct guest_range ram[GUEST_RAM_PIECES])
{
    uint64_t middle = size < GUEST_MIDDLE_END ? size : GUEST_MIDDLE_END;
    ram[0] = layout_range(0, GUEST_LOW_END);
    ram[1] = layout_range(GUEST_MIDDLE, middle);
    ram[2] = layout_range(GUEST_HIGH, GUEST_HIGH + (size - middle));
}

unsigned guest_memory_map(const struct guest_range ram[GUEST_RAM_PIECES], bool td, bool pci,
                          struct guest_map_range map[GUEST_MAP_RANGES])
{
    const uint64_t tables_end = GUEST_FIRMWARE + PAGE_SIZE;
    const struct guest_map_range low[] = {
        {ram[0].base.v, ram[0].size, BOOT_RAM},
        {GUEST_LOW_END, GUEST_FIRMWARE - GUEST_LOW_END, BOOT_RESERVED},
        {GUEST_FIRMWARE, PAGE_SIZE, BOOT_ACPI},
        {tables_end, GUEST_MIDDLE - tables_end, BOOT_RESERVED},
    };
    unsigned count = ARRAY_SIZE(low);
    memcpy(map, low, sizeof(low));
    if (ram[1].size)
        map[count++] = (struct guest_map_range){ram[1].base.v, ram[1].size, BOOT_RAM};
    if (pci)
        map[count++] = (struct guest_map_range){GUEST_ECAM, GUEST_ECAM_SIZE, BOOT_RESERVED};
    if (td)
        map[count++] = (struct guest_map_range){GUEST_SHIM, GUEST_SHIM_SIZE, BOOT_NVS};
    if (ram[2].size)
        map[count++] = (struct guest_map_range){ram[2].base.v, ram[2].size, BOOT_RAM};
    return count;
}
