/* The guest's vector registers and the XCR0 under which they are used, for the emulator. The
 * hypervisor is compiled to leave these registers alone, so they hold what the guest left there
 * (decision D9). */
#pragma once

#include "lib/types.h"

/* XCR0 as the guest set it. Supplied by vmx/extra_state.c. */
uint64_t extra_xcr0(void);

/* One vector register of the guest, 0 to 15: its low 16 or 32 bytes (32 only where XCR0 has AVX).
 * Setting 16 bytes leaves the rest of the register alone, as SSE does, or clears it, as AVX does;
 * setting 32 clears what is above. Supplied by
 * vmx/extra_vector.c. */
void extra_vector_get(unsigned reg, void *bytes, unsigned size);
void extra_vector_set(unsigned reg, const void *bytes, unsigned size, bool clear_rest);
