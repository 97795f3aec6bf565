/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by a triple fault (expect=triple-fault): an exception without an IDT.
 */
#include "guest/programs/rt/rt.h"

static void triple_fault(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) nothing = {0, 0};

    __asm__ volatile("lidt %0; ud2" : : "m"(nothing));
}

void guest_main(void)
{
    run_forbidden("triple_fault", triple_fault);
}
