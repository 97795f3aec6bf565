/* SPDX-License-Identifier: MIT */
/* The rules of XSETBV; see the header. Pure. */
#include "vmx/xcr0.h"

/* If a value contains any bit of `group`, it must contain all bits of `group` and `also`, and no
 * bit of `never`. */
static const struct {
    uint64_t group, also, never;
} rules[] = {
    {XCR0_AVX, XCR0_SSE, 0},
    {XCR0_MPX, 0, XCR0_APX},
    {XCR0_AVX512, XCR0_AVX, 0},
    {XCR0_AMX, 0, 0},
};

uint64_t xcr0_largest(uint64_t supported)
{
    return supported & XCR0_APX ? supported & ~XCR0_MPX : supported;
}

bool xcr0_is_valid(uint64_t value, uint64_t supported)
{
    if (!(value & XCR0_X87) || value & ~supported)
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        uint64_t all = rules[i].group | rules[i].also;
        if (value & rules[i].group && ((value & all) != all || value & rules[i].never))
            return false;
    }
    return true;
}
