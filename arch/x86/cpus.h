/* SPDX-License-Identifier: MIT */
/*
 * The CPUs of this machine and the data of each. A CPU finds its own struct cpu through the GS
 * base; each VM exit reloads the GS base from the VMCS.
 *
 * CPUs are numbered from 0, the boot CPU, in the order in which they were started. Higher layers
 * know a CPU only by its number.
 */
#pragma once

#include "arch/x86/descriptors.h"
#include "lib/cpu_local.h"
#include "lib/types.h"

#define CPU_RECORD 64u /* bytes */

struct cpu {
    uint64_t offset; /* CPU_RECORD times the number; first, because this_cpu() reads it */
    uint64_t number;
    uint32_t apic_id;
    uint32_t core_kind;           /* arch/x86/cpu_facts.h; 0: the CPU is not hybrid */
    struct guarded_stack *stacks; /* STACK_COUNT elements */
    uint64_t gdt[GDT_ENTRIES];
    struct tss tss;

    void (*work)(void); /* what an idle CPU has to do; the CPU clears it when that is done */
    uint32_t kicked;    /* an NMI from cpu_kick() is on its way (arch/x86/kick.c) */
    uint32_t stopped;   /* it has left VMX operation and halts for ever (arch/x86/kick.c) */
    uint32_t last_vm;   /* the VM whose data caches and predictors may hold (arch/x86/mitigate.c) */
    uint32_t payer;     /* the account from which this CPU takes pages (arch/x86/memory.c) */
} __attribute__((aligned(64)));

extern struct cpu cpus[CPUS_MAX];

/* The number of CPUs in use; their numbers are below it. */
extern unsigned cpu_count;
