/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by an event whose delivery needs MMIO (expect=mmio-during-delivery): the IDT lies in
 * a device, or with the argument `stack` the handler's stack does.
 */
#include "guest/programs/rt/rt.h"

static void mmio_delivery(void)
{
    if (*rt_args == 's')
        set_stack(0x50, TESTDEV_A_BASE + TESTDEV_SIZE);
    else
        load_idt(TESTDEV_A_BASE);
    __asm__ volatile("int $0x50" : : : "memory");
}

void guest_main(void)
{
    run_forbidden("mmio_delivery", mmio_delivery);
}
