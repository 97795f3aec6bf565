/* SPDX-License-Identifier: MIT */
/* The guest's vector registers and XCR0, which the hosted tests keep in memory. */
#include "tests/unit/mmio/mmio_vectors.h"

#include "vmx/extra_state.h"

#include <string.h>

uint8_t vectors[16][32];
uint64_t vectors_xcr0 = 7;
uint64_t vectors_mmx[8];
bool vectors_x87_error;

uint64_t extra_xcr0(void)
{
    return vectors_xcr0;
}

void extra_vector_get(unsigned reg, void *bytes, unsigned size)
{
    memcpy(bytes, vectors[reg], size);
}

void extra_vector_set(unsigned reg, const void *bytes, unsigned size, bool clear_rest)
{
    if (clear_rest)
        memset(vectors[reg], 0, sizeof(vectors[reg]));
    memcpy(vectors[reg], bytes, size);
}

uint64_t extra_mmx_get(unsigned reg)
{
    return vectors_mmx[reg];
}

void extra_mmx_set(unsigned reg, uint64_t value)
{
    vectors_mmx[reg] = value;
}

bool extra_x87_error(void)
{
    return vectors_x87_error;
}
