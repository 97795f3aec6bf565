/* SPDX-License-Identifier: MIT */
/*
 * Never ends by itself; the budget ends it (expect=budget).
 */
#include "guest/programs/rt/rt.h"

static void spin(void)
{
    for (;;)
        __asm__ volatile("" : : : "memory");
}

void guest_main(void)
{
    run_forbidden("spin", spin);
}
