/* SPDX-License-Identifier: MIT */
/*
 * Exits for ever: hardly any of its time is spent in the guest, where the hypervisor's timer runs.
 * All of it counts. Run with `budget=200,expect=budget`.
 */
#include "guest/programs/rt/rt.h"

static void exits(void)
{
    for (;;)
        cpuid(0);
}

void guest_main(void)
{
    run_forbidden("exits", exits);
}
