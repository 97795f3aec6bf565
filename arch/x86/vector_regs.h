/* SPDX-License-Identifier: MIT */
/* The guest's vector registers and XCR0, for the emulator. The hypervisor is compiled not to use
 * vector registers, so they hold the guest's values (decision D9). */
#pragma once

#include "lib/types.h"

#include <stdbool.h>

/* XCR0 as the guest has set it. Supplied by vmx/extra_state.c. */
uint64_t extra_xcr0(void);

/* Reads or writes the low 16 or 32 bytes of one vector register, 0 to 15, of the guest (32 only if
 * XCR0 enables AVX). A write of 16 bytes keeps the rest of the register, as SSE instructions do, or
 * clears it with `clear_rest`, as AVX instructions do; a write of 32 bytes clears the bits above.
 * Supplied by vmx/extra_vector.c. */
void extra_vector_get(unsigned reg, void *bytes, unsigned size);
void extra_vector_set(unsigned reg, const void *bytes, unsigned size, bool clear_rest);

/* Reads or writes an MMX register, 0 to 7, of the guest. Both have the effects of MOVQ on the x87
 * state: all registers become valid, the top of the stack becomes 0, and a write sets the exponent
 * of the register to ones. No x87 exception may be pending. Supplied by vmx/extra_vector.c. */
uint64_t extra_mmx_get(unsigned reg);
void extra_mmx_set(unsigned reg, uint64_t value);

/* Whether an x87 exception is pending that the guest has not masked. */
bool extra_x87_error(void);
