/* SPDX-License-Identifier: MIT */
#include "vm/layout.h"

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
