/* SPDX-License-Identifier: MIT */
/*
 * String I/O without end: each exit is 64 iterations, tens of thousands of instructions of the
 * hypervisor. Its neighbours' turns have to come all the same (tests/target/hostile/).
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
