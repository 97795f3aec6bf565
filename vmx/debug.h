/* SPDX-License-Identifier: MIT */
/*
 * The registers that a debug exception changes before its handler runs (SDM 3, 18.2.3 to 18.3, and
 * 18.4.1).
 *
 * A #DB that causes a VM exit changes none of them: the CPU only reports in the exit qualification
 * what it would have written to DR6 (SDM 3, 28.1 and table 28-1). When the hypervisor reflects the
 * exception to the guest, it has to change the registers itself. Pure; vmx/reflect.c reads and
 * writes the registers.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* DR6.BT, which no exit reports: the T bit is set in the TSS of the new task. */
#define DEBUG_TASK_SWITCH (1ull << 15)

struct debug_state {
    uint64_t dr6, dr7;
    uint64_t debugctl; /* IA32_DEBUGCTL */
};

/* Changes `state` as the CPU does before it delivers #DB. `qualification` has the format of a #DB
 * exit's qualification, or of the pending debug exceptions. With `by_int1`, the instruction INT1
 * raised the exception, which leaves DR6 unchanged. */
void debug_exception(struct debug_state *state, uint64_t qualification, bool by_int1);
