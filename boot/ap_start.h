/* SPDX-License-Identifier: MIT */
/* The data that a starting CPU gets, and the stages by which it reports its progress; for C and
 * assembly. */
#pragma once

/* The progress of a starting CPU, as the CPU that wakes it sees it. */
#define AP_STAGE_WOKEN 0 /* INIT and start-up IPIs were sent; the CPU has not responded yet */
#define AP_STAGE_FLAT  1 /* the trampoline has left real mode */
#define AP_STAGE_LONG  2 /* 64-bit mode, paging with the boot page tables */
#define AP_STAGE_C     3 /* ap_main(): the final page tables, its own stack */
#define AP_STAGE_READY 4 /* its own descriptor tables; idle */

#define AP_START_STAGE 0
#define AP_START_ROOT  8
#define AP_START_STACK 16
#define AP_START_CPU   24

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;

struct ap_start {
    uint32_t stage;
    uint64_t root; /* physical address of the page tables' root, for CR3 */
    uint64_t stack;
    struct cpu *cpu;

    /* Once it is ready: questions by number, and the last one that it has answered. */
    uint32_t asked, told;
    uint64_t tsc;     /* the answer: its TSC, after `asked` was written and before `told` was */
    uint64_t adjust;  /* the boot CPU's IA32_TSC_ADJUST, */
    bool adjusts;     /* which it is to take over before it answers, */
    uint64_t changed; /* and what it had instead, if it had something else */
};
_Static_assert(offsetof(struct ap_start, stage) == AP_START_STAGE, "boot/ap_trampoline.S");
_Static_assert(offsetof(struct ap_start, root) == AP_START_ROOT, "boot/ap_trampoline.S");
_Static_assert(offsetof(struct ap_start, stack) == AP_START_STACK, "boot/ap_trampoline.S");
_Static_assert(offsetof(struct ap_start, cpu) == AP_START_CPU, "boot/ap_trampoline.S");

/* Supplied by arch/x86/smp.c. */
extern struct ap_start ap_start;

extern const char ap_trampoline[], ap_trampoline_end[];

/* The first C function of every CPU but the boot CPU. Supplied by arch/x86/smp.c. */
void ap_main(struct cpu *cpu);
#endif
