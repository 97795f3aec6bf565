/* SPDX-License-Identifier: MIT */
/*
 * Restarts the APIC's timer for ever. Each time the hypervisor programs the preemption timer, and
 * must still honour the end of the budget. Run with `budget=200,expect=budget`.
 */
#include "guest/programs/rt/rt.h"

#define APIC 0xfee00000ull

static void rearm(void)
{
    write32(APIC + 0xf0, 0x1ff);
    write32(APIC + 0x320, 0x40);
    for (;;)
        write32(APIC + 0x380, 0xffffff);
}

void guest_main(void)
{
    run_forbidden("rearm", rearm);
}
