/* SPDX-License-Identifier: MIT */
/* The exception handler's questions about a fault of a guarded instruction; see the header.
 * Pure. */
#include "arch/x86/guarded.h"

#include "lib/bits.h"

#define VECTORS                                                                              \
    (BIT(6) /* #UD */ | BIT(7) /* #NM */ | BIT(12) /* #SS */ | BIT(13) /* #GP */ | BIT(14) | \
     BIT(17) /* #AC */)

bool guard_takes(unsigned vector)
{
    return vector < 32 && VECTORS >> vector & 1;
}

uint64_t guard_find(const struct guard *first, const struct guard *end, uint64_t rip)
{
    for (const struct guard *g = first; g < end; g++)
        if (g->instruction == rip)
            return g->resume;
    return 0;
}
