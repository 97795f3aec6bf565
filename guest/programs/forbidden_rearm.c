/* SPDX-License-Identifier: MIT */
/*
 * Starts the APIC's timer anew for ever: each time the hypervisor sets its own timer, and must not
 * forget the end of the budget over it. Run with `budget=200,expect=budget`.
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
