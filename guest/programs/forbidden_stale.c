/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by an instruction that never leads to the address that it touched
 * (expect=memory-fault): nine times in a row the code remaps its own page in front of a store to
 * MMIO, without a flush, and what then stands at RIP is no access at all.
 */
#include "guest/programs/rt/rt.h"

#define CODE  (TEST_VA + 4 * RT_2M)
#define RW    (PTE_P | PTE_W)
#define TIMES 9 /* decision D6: after 8 such accesses the VM ends */

static void stale(void)
{
    static const uint8_t before[] = {0x48, 0x89, 0x37, 0x89, 0x11, 0xc3}; /* mov [rdi], rsi; mov */
    static const uint8_t behind[] = {0x48, 0x89, 0x37,
                                     0x89, 0xc2, 0xc3}; /* [rcx], edx; mov edx, eax */
    uint64_t *pages[2] = {new_page(), new_page()}, *table = rt_pml4;

    memcpy(pages[0], before, sizeof(before));
    memcpy(pages[1], behind, sizeof(behind));
    map_page(rt_pml4, CODE, (uint64_t)pages[0], RW);
    for (int shift = 39; shift > 12; shift -= 9)
        table = (uint64_t *)(table[CODE >> shift & 511] & BITS(51, 12));
    for (unsigned i = 0; i < TIMES; i++) {
        uint64_t rax = CODE;
        map_page(rt_pml4, CODE, (uint64_t)pages[0], RW);
        invlpg(CODE);
        __asm__ volatile("call *%%rax"
                         : "+a"(rax)
                         : "D"(&table[CODE >> 12 & 511]), "S"((uint64_t)pages[1] | RW),
                           "c"((uint64_t)TESTDEV_A_BASE), "d"(1)
                         : "memory", "cc");
    }
}

void guest_main(void)
{
    run_forbidden("stale", stale);
}
