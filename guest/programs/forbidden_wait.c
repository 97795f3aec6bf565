/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by the budget (budget=200,expect=budget): it waits for devices that are not there, at
 * port 0x64 and at two addresses, one of which it asks less often, and looks for others at all
 * other ports in between.
 */
#include "guest/programs/rt/rt.h"

#define PORT       0x64
#define OFTEN      0xfed00000u
#define LESS_OFTEN 0xd0000008u

static void wait(void)
{
    for (unsigned n = 0;; n++) {
        (void)inb(PORT);
        (void)read32(OFTEN);
        if (n % 2 == 0)
            (void)read32(LESS_OFTEN);
        if (n % 2 == 0)
            (void)inb((uint16_t)(0x1000 + n));
    }
}

void guest_main(void)
{
    run_forbidden("wait", wait);
}
