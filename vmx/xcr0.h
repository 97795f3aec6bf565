/*
 * XCR0: which sets of state components XSETBV accepts (SDM 1, 13.3). Pure.
 */
#pragma once

#include "lib/bits.h"

#include <stdbool.h>
#include <stdint.h>

#define XCR0_X87    BIT(0)
#define XCR0_SSE    BIT(1)
#define XCR0_AVX    BIT(2)
#define XCR0_MPX    BITS(4, 3)
#define XCR0_AVX512 BITS(7, 5)
#define XCR0_PKRU   BIT(9)
#define XCR0_AMX    BITS(18, 17)
#define XCR0_APX    BIT(19)

/* The largest set of what CPUID leaf 0Dh says this CPU has: all of it, less MPX beside APX. */
uint64_t xcr0_largest(uint64_t supported);

/* Whether XSETBV of this value is allowed by a CPU, or to a guest, that has `supported`. */
bool xcr0_is_valid(uint64_t value, uint64_t supported);
