/*
 * Instructions that may fault, and say so instead: the one way in which the hypervisor executes
 * anything whose operand comes from a guest, or that this CPU may not have. Each returns false if
 * the CPU refused it, by whatever fault, and then has done nothing.
 *
 * The address of each stands in a section of its own beside that at which to go on; the handler of
 * our own exceptions looks there (arch/x86/exceptions.c).
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

/* An instruction that may fault, and where to go on if it does. */
struct guard {
    uint64_t instruction, resume;
};

/* The faults by which an instruction is refused. Not #DB, NMI, #BP, #DF and #MC, which may come at
 * a guarded instruction without being its own. */
bool guard_takes(unsigned vector);

/* Where to go on after a fault at `rip`, or 0 if that is no guarded instruction. Pure. */
uint64_t guard_find(const struct guard *first, const struct guard *end, uint64_t rip);

/* Operand 0 becomes 1 if the instruction is executed. */
#define GUARDED(instruction)         \
    "1: " instruction "\n"           \
    "   movb $1, %b0\n"              \
    "2:\n"                           \
    ".pushsection .extable, \"a\"\n" \
    ".quad 1b, 2b\n"                 \
    ".popsection"

/* Leaves 0 in *value if the MSR is absent. */
static inline bool rdmsr_safe(uint32_t msr, uint64_t *value)
{
    uint32_t low = 0, high = 0;
    bool ok = false;
    __asm__ volatile(GUARDED("rdmsr") : "+q"(ok), "+a"(low), "+d"(high) : "c"(msr));
    *value = (uint64_t)high << 32 | low;
    return ok;
}

static inline MUST_CHECK bool wrmsr_safe(uint32_t msr, uint64_t value)
{
    bool ok = false;
    __asm__ volatile(GUARDED("wrmsr")
                     : "+q"(ok)
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return ok;
}

static inline MUST_CHECK bool xsetbv_safe(uint64_t value)
{
    bool ok = false;
    __asm__ volatile(GUARDED("xsetbv")
                     : "+q"(ok)
                     : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return ok;
}

/* All components that XCR0 has. */
static inline MUST_CHECK bool xrstor_safe(const void *area)
{
    bool ok = false;
    __asm__ volatile(GUARDED("xrstor64 (%1)")
                     : "+q"(ok)
                     : "r"(area), "a"(~0u), "d"(~0u)
                     : "memory");
    return ok;
}

static inline MUST_CHECK bool fxrstor_safe(const void *area)
{
    bool ok = false;
    __asm__ volatile(GUARDED("fxrstor64 (%1)") : "+q"(ok) : "r"(area) : "memory");
    return ok;
}

static inline MUST_CHECK bool write_dr6_safe(uint64_t value)
{
    bool ok = false;
    __asm__ volatile(GUARDED("mov %1, %%dr6") : "+q"(ok) : "r"(value) : "memory");
    return ok;
}
