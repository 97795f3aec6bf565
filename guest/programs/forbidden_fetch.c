/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by code or page tables outside of memory (expect=memory-fault): jumps into a device,
 * or with the argument `tables` loads CR3 with the address of a device.
 */
#include "guest/programs/rt/rt.h"

static void fetch(void)
{
    if (*rt_args == 't')
        write_cr3(TESTDEV_A_BASE);
    else
        ((void (*)(void))(uintptr_t)TESTDEV_A_BASE)();
}

void guest_main(void)
{
    run_forbidden("fetch", fetch);
}
