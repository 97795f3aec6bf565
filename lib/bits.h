/* SPDX-License-Identifier: MIT */
/* Masks and bit fields of registers and table entries. Positions follow the SDM: BITS(11, 4) is
 * bits 11:4. */
#pragma once

#include <stdint.h>

#define BIT(n)        (1ull << (n))
#define BITS(hi, lo)  ((~0ull >> (63 - (hi))) & (~0ull << (lo)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The field of `value` that `mask` selects, shifted down to bit 0. */
static inline uint64_t field_get(uint64_t value, uint64_t mask)
{
    return (value & mask) / (mask & -mask);
}

/* `value` shifted up into the field that `mask` selects; bits that do not fit are cut off. */
static inline uint64_t field_put(uint64_t value, uint64_t mask)
{
    return (value * (mask & -mask)) & mask;
}
