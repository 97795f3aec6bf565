/* The state components of XCR0 that are known here (SDM 1, 13.1). */
#pragma once

#include "lib/bits.h"

#define XCR0_X87    BIT(0)
#define XCR0_SSE    BIT(1)
#define XCR0_AVX    BIT(2)
#define XCR0_MPX    BITS(4, 3)
#define XCR0_AVX512 BITS(7, 5)
#define XCR0_PKRU   BIT(9)
