/*
 * The CPUs of this machine and what each has for itself. A CPU finds its own struct by GS, which
 * the hypervisor leaves pointing there; the VMCS puts it back at each exit.
 *
 * CPUs are numbered from 0, the boot CPU, in the order in which they were started. A number is all
 * that the higher layers know.
 */
#pragma once

#include "arch/x86/descriptors.h"
#include "lib/cpu_local.h"
#include "lib/types.h"

#define CPU_RECORD 64u /* bytes */

struct cpu {
    uint64_t offset; /* first: this_cpu() reads it; CPU_RECORD times the number */
    uint64_t number;
    uint32_t apic_id;
    struct guarded_stack *stacks; /* STACK_COUNT of them */
    uint64_t gdt[GDT_ENTRIES];
    struct tss tss;

    void (*work)(void); /* what an idle CPU is to do; it clears this when that is done */
    uint32_t kicked;    /* an NMI of ours is on its way (arch/x86/kick.c) */
    uint32_t last_vm;   /* whose data its caches and predictors may hold (arch/x86/mitigate.c) */
    uint32_t payer;     /* whose pages it takes (arch/x86/memory.c) */
} __attribute__((aligned(64)));

extern struct cpu cpus[CPUS_MAX];

/* CPUs in use; they are numbered below that. */
extern unsigned cpu_count;

/* this_cpu() of lib/cpu_local.h, inline: a call and all that it calls run on one CPU, so the
 * compiler may remember it. What each CPU has in an array has the size of a cache line, so its
 * offset is what is kept: the exit path then need not multiply. */
extern inline __attribute__((gnu_inline)) unsigned this_cpu(void)
{
    uint64_t offset;
    __asm__("movq %%gs:0, %0" : "=r"(offset));
    if (offset % CPU_RECORD || offset / CPU_RECORD >= CPUS_MAX)
        __builtin_unreachable();
    return (unsigned)(offset / CPU_RECORD);
}
