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
