/*
 * Data and I/O breakpoints (SDM 3, 18.2) on the accesses of instructions that are executed in
 * software: the CPU compares its own accesses alone. While DR7 enables none, `on` is false and
 * nobody looks; while it does, accesses go the long way, because the short ways (mmio/replay.h, the
 * known ports) do not look here. Pure.
 */
#pragma once

#include "lib/bits.h"
#include "arch/x86/regs.h"

struct breakpoints {
    bool on;             /* DR7 enables one; MOV DR exits, so this is known without looking */
    uint64_t address[4]; /* DR0 to DR3 */
};

enum breakpoint_access {
    BREAKPOINT_READ,
    BREAKPOINT_WRITE,
    BREAKPOINT_IO, /* the address is a port; only with CR4.DE */
};

/* The trap that an access of `size` bytes makes due when its instruction is complete, in the format
 * of the pending debug exceptions (SDM 3, 25.4.2): B0 to B3 and "enabled breakpoint", or 0. */
#define TRAP_ENABLED_BREAKPOINT BIT(12)
#define TRAP_SINGLE_STEP        BIT(14)
uint64_t breakpoints_compare(const struct breakpoints *breakpoints, struct cpu_regs *cpu,
                             uint64_t address, unsigned size, enum breakpoint_access access);

static inline uint64_t breakpoints_met(const struct breakpoints *breakpoints, struct cpu_regs *cpu,
                                       uint64_t address, unsigned size,
                                       enum breakpoint_access access)
{
    return unlikely(breakpoints->on) ? breakpoints_compare(breakpoints, cpu, address, size, access)
                                     : 0;
}
