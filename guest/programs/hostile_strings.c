/* SPDX-License-Identifier: MIT */
/*
 * String I/O without end: each exit does 64 iterations, which are tens of thousands of instructions
 * in the hypervisor. The turns of its neighbours still have to come in time
 * (tests/target/hostile/).
 */
#include "guest/programs/rt/rt.h"

static uint8_t bytes[4096];

void guest_main(void)
{
    for (;;) {
        const uint8_t *from = bytes;
        uint64_t count = sizeof(bytes);
        __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"((uint16_t)0x80) : "memory");
    }
}
