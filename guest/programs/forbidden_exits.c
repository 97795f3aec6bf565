/* SPDX-License-Identifier: MIT */
/*
 * Exits for ever, so that it spends hardly any time in the guest, where the preemption timer runs.
 * The time of the exits counts for the budget as well. Run with `budget=200,expect=budget`.
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
