/* SPDX-License-Identifier: MIT */
/*
 * MOV to and from the debug registers (SDM 2, MOV DR; SDM 3, 18.2). Each of them exits, so the
 * hypervisor always knows which breakpoints are enabled (mmio/breakpoints.h). The exit has priority
 * over all checks of the CPU but that of the register's number, so these checks are made here.
 * Called by vm/debug_regs.c. Pure.
 */
#pragma once

#include "lib/compiler.h"
#include "arch/x86/regs.h"

/* The debug registers that are not in the VMCS. */
struct debug_file {
    uint64_t address[4]; /* DR0 to DR3 */
    uint64_t dr6;
};

#define DEBUG_DONE (-1)

/* Executes the instruction that the exit qualification describes, on *file, the general registers
 * and DR7; the caller advances RIP. Returns DEBUG_DONE, or the vector of the fault: #UD, #GP(0), or
 * #DB for DR7.GD, with DR6.BD set and DR7.GD cleared as by the CPU. */
int debug_mov(struct cpu_regs *cpu, struct debug_file *file, uint64_t qualification) MUST_CHECK;

static inline bool debug_is_enabled(uint64_t dr7)
{
    return dr7 & 0xff;
}
