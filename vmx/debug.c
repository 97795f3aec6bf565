/* The registers that a debug exception changes; see vmx/debug.h. */
#include "vmx/debug.h"

#include "arch/x86/reg_bits.h"
#include "lib/bits.h"

/* DR6. Bits 11 and 16 are 0 if what they stand for has happened, but 1 for that in a qualification.
 */
#define DR6_BT DEBUG_TASK_SWITCH

#define DEBUGCTL_LBR BIT(0)
#define DEBUGCTL_BTF BIT(1)

/* B0 to B3 are of this exception, and RTM is 1 unless it came inside a transaction. The others are
 * set (bus lock: cleared) here, and go back only by software. */
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
