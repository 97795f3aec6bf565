/* SPDX-License-Identifier: MIT */
/* Computes the registers that a debug exception changes; see the header. Pure. */
#include "vmx/debug.h"

#include "arch/x86/reg_bits.h"
#include "lib/bits.h"

/* Bits 11 and 16 of DR6 are 0 if their condition has occurred; in an exit qualification, they are
 * 1. */
#define DR6_BT DEBUG_TASK_SWITCH

#define DEBUGCTL_LBR BIT(0)
#define DEBUGCTL_BTF BIT(1)

/* B0 to B3 report only this exception, and RTM is 1 unless the exception occurred in a transaction.
 * The other bits are only set here (the bus-lock bit: cleared); software resets them. */
static uint64_t dr6_after(uint64_t dr6, uint64_t qualification)
{
    dr6 = (dr6 & ~DR6_BREAKPOINTS) | DR6_RTM;
    dr6 |= qualification & (DR6_BREAKPOINTS | DR6_BD | DR6_BS | DR6_BT);
    return dr6 & ~(qualification & (DR6_BUS_LOCK | DR6_RTM));
}

void debug_exception(struct debug_state *state, uint64_t qualification, bool by_int1)
{
    if (!by_int1)
        state->dr6 = dr6_after(state->dr6, qualification);
    state->dr7 &= ~DR7_GD;
    state->debugctl &= ~(DEBUGCTL_LBR | DEBUGCTL_BTF);
}
