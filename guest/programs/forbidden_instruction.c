/*
 * Ends its VM by an instruction that reaches MMIO and is not emulated
 * (expect=unsupported-instruction): LOCK XADD, or with the argument `sse` a store from an XMM
 * register.
 */
#include "guest/programs/rt/rt.h"

static void lock_xadd(void)
{
    uint32_t value = 1;

    __asm__ volatile("lock xaddl %0, (%1)"
                     : "+r"(value)
                     : "r"((uint64_t)TESTDEV_A_BASE)
                     : "memory");
}

static void sse_store(void)
{
    uint64_t cr0;

    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 & ~(BIT(2) | BIT(3)))); /* EM, TS */
    write_cr4(read_cr4() | BIT(9));                                      /* OSFXSR */
    __asm__ volatile(".byte 0x0f, 0x29, 0x07" : : "D"((uint64_t)TESTDEV_A_BASE) : "memory");
}

static void instruction(void)
{
    if (*rt_args == 's')
        sse_store();
    else
        lock_xadd();
}

void guest_main(void)
{
    run_forbidden("instruction", instruction);
}
