/* SPDX-License-Identifier: MIT */
#include "arch/x86/reg_bits.h"
#include "mmio/breakpoints.h"

/* The fields of DR7 for breakpoint n (SDM 3, 18.2.4). */
#define ENABLES(dr7, n) ((dr7) >> (2 * (n)) & 3) /* local or global */
#define RW(dr7, n)      ((dr7) >> (16 + 4 * (n)) & 3)
#define LEN(dr7, n)     ((dr7) >> (18 + 4 * (n)) & 3)

enum rw {
    RW_EXECUTE,
    RW_WRITE,
    RW_IO,
    RW_READ_WRITE,
};

static bool breakpoint_kind_matches(enum rw rw, enum breakpoint_access access)
{
    if (access == BREAKPOINT_IO)
        return rw == RW_IO;
    return rw == RW_READ_WRITE || (rw == RW_WRITE && access == BREAKPOINT_WRITE);
}

/* Whether any byte of the access is one of the breakpoint's 1, 2, 4 or 8 bytes, whose address is
 * aligned down to the length. */
static bool breakpoint_overlaps(uint64_t breakpoint, unsigned len, uint64_t address, unsigned size)
{
    static const uint8_t lengths[] = {1, 2, 8, 4};
    uint64_t length = lengths[len], first = breakpoint & ~(length - 1);
    return address - first < length || first - address < size;
}

uint64_t breakpoints_compare(const struct breakpoints *breakpoints, struct cpu_regs *cpu,
                             uint64_t address, unsigned size, enum breakpoint_access access)
{
    uint64_t dr7 = cpu_reg(cpu, REG_DR7), met = 0;
    if (access == BREAKPOINT_IO && !(cpu_reg(cpu, REG_CR4) & CR4_DE))
        return 0;
    for (unsigned n = 0; n < ARRAY_SIZE(breakpoints->address); n++)
        if (ENABLES(dr7, n) && breakpoint_kind_matches((enum rw)RW(dr7, n), access) &&
            breakpoint_overlaps(breakpoints->address[n], (unsigned)LEN(dr7, n), address, size))
            met |= BIT(n) | TRAP_ENABLED_BREAKPOINT;
    return met;
}
