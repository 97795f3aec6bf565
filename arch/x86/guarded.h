/* SPDX-License-Identifier: MIT */
/*
 * Guarded instructions: if one faults, its function returns false instead of stopping the machine.
 * Every instruction whose operand comes from a guest, or that this CPU may not support, is executed
 * through these functions. An instruction that faults has changed nothing.
 *
 * A section of its own pairs the address of each guarded instruction with the address at which
 * execution resumes; the exception handler looks faulting addresses up there
 * (arch/x86/exceptions.c).
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

/* The address of an instruction that may fault, and where execution resumes if it does. */
struct guard {
    uint64_t instruction, resume;
};

/* Is `vector` a fault by which the CPU refuses an instruction? #DB, NMI, #BP, #DF and #MC are not,
 * because they may occur at a guarded instruction without being caused by it. */
bool guard_takes(unsigned vector);

/* Returns where execution resumes after a fault at `rip`, or 0 if `rip` is not a guarded
 * instruction. */
uint64_t guard_find(const struct guard *first, const struct guard *end, uint64_t rip);

/* Sets operand 0 to 1 if the instruction does not fault. */
#define GUARDED(instruction)         \
    "1: " instruction "\n"           \
    "   movb $1, %b0\n"              \
    "2:\n"                           \
    ".pushsection .extable, \"a\"\n" \
    ".quad 1b, 2b\n"                 \
    ".popsection"

/* Sets *value to 0 if the MSR does not exist. */
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

/* Restores all components that are enabled in XCR0. */
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

/* It faults on a CPU that is not in VMX operation. */
static inline bool vmxoff_safe(void)
{
    bool ok = false;
    __asm__ volatile(GUARDED("vmxoff") : "+q"(ok) : : "cc", "memory");
    return ok;
}
