/* SPDX-License-Identifier: MIT */
/*
 * The values of XCR0 that XSETBV accepts (SDM 1, 13.3). Pure.
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

/* The largest valid value of XCR0 for the components that CPUID leaf 0Dh reports: all of them,
 * except MPX if there is APX. */
uint64_t xcr0_largest(uint64_t supported);

/* Whether a CPU, or a virtual CPU, with the components `supported` accepts this value. */
bool xcr0_is_valid(uint64_t value, uint64_t supported);
