/*
 * What a debug exception changes before its handler runs (SDM 3, 18.2.3 to 18.3, and 18.4.1).
 *
 * A #DB that causes a VM exit changes none of it: the CPU only says, in the exit qualification,
 * what it would have put into DR6 (SDM 3, 28.1 and table 28-1). Whoever gives the exception back to
 * the guest has to do the rest. Pure; vmx/reflect.c brings the registers.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* DR6.BT, which no exit reports: the T bit of the TSS that a task came from. */
#define DEBUG_TASK_SWITCH (1ull << 15)

struct debug_state {
    uint64_t dr6, dr7;
    uint64_t debugctl; /* IA32_DEBUGCTL */
};

/* `qualification` as a #DB exit has it, or the pending debug exceptions; `by_int1`: the instruction
 * INT1 raised it, which leaves DR6 alone. */
void debug_exception(struct debug_state *state, uint64_t qualification, bool by_int1);
