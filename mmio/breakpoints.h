/* SPDX-License-Identifier: MIT */
/*
 * Data and I/O breakpoints (SDM 3, 18.2) for accesses of emulated instructions; the CPU compares
 * only its own accesses. While DR7 enables no breakpoint, `on` is false and nothing is compared.
 * While DR7 enables one, accesses take the slow path, because the fast paths (mmio/replay.h and
 * those of ports) do not compare breakpoints. Pure.
 */
#pragma once

#include "lib/bits.h"
#include "arch/x86/regs.h"

struct breakpoints {
    bool on;             /* DR7 enables a breakpoint; kept up to date by the exits of MOV DR */
    uint64_t address[4]; /* DR0 to DR3 */
};

enum breakpoint_access {
    BREAKPOINT_READ,
    BREAKPOINT_WRITE,
    BREAKPOINT_IO, /* the address is a port; compared only with CR4.DE set */
};

/* The debug trap that an access of `size` bytes causes after its instruction, in the format of the
 * pending debug exceptions (SDM 3, 25.4.2): B0 to B3 and "enabled breakpoint", or 0. */
#define TRAP_ENABLED_BREAKPOINT BIT(12)
#define TRAP_SINGLE_STEP        BIT(14)

/* Set beside the breakpoints that an instruction has met if it loaded SS by MOV: the next
 * instruction is executed before interrupts and debug traps are taken. */
#define BREAKPOINTS_MOV_SS BIT(63)

uint64_t breakpoints_compare(const struct breakpoints *breakpoints, struct cpu_regs *cpu,
                             uint64_t address, unsigned size, enum breakpoint_access access);

static inline uint64_t breakpoints_met(const struct breakpoints *breakpoints, struct cpu_regs *cpu,
                                       uint64_t address, unsigned size,
                                       enum breakpoint_access access)
{
    return unlikely(breakpoints->on) ? breakpoints_compare(breakpoints, cpu, address, size, access)
                                     : 0;
}
