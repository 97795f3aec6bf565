/* SPDX-License-Identifier: MIT */
/*
 * Halts with interrupts off and nothing pending (expect=halted).
 */
#include "guest/programs/rt/rt.h"

static void halt(void)
{
    __asm__ volatile("cli; hlt" : : : "memory");
}

void guest_main(void)
{
    run_forbidden("halt", halt);
}
