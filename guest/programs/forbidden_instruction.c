/* SPDX-License-Identifier: MIT */
/*
 * Ends its VM by an instruction that reaches MMIO and is not emulated
 * (expect=unsupported-instruction): a store from the x87, or with the argument `sse` an addition to
 * an XMM register.
 */
#include "guest/programs/rt/rt.h"

static void x87_store(void)
{
    __asm__ volatile("fninit\n\tfldz\n\tfstps (%0)" : : "r"((uint64_t)TESTDEV_A_BASE) : "memory");
}

static void sse_add(void)
{
    uint64_t cr0;

    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 & ~(BIT(2) | BIT(3)))); /* EM, TS */
    write_cr4(read_cr4() | BIT(9));                                      /* OSFXSR */
    __asm__ volatile(".byte 0x0f, 0x58, 0x07" : : "D"((uint64_t)TESTDEV_A_BASE) : "memory");
}

static void instruction(void)
{
    if (*rt_args == 's')
        sse_add();
    else
        x87_store();
}

void guest_main(void)
{
    run_forbidden("instruction", instruction);
}
