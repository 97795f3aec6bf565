/*
 * What is done about flaws of speculation, when: at boot on each CPU, and when a CPU begins to work
 * for another VM than before. Which of it is decided by arch/x86/flaws.h; what belongs to each exit
 * is vmx/'s, which asks mitigate_does().
 */
#pragma once

#include "arch/x86/this_cpu.h"
#include "arch/x86/flaws.h"

/* Once on the boot CPU: decides, and says so, a line for each flaw. */
void mitigate_decide(enum mitigations wanted, bool nx_huge);

/* The width for rule S9; 0: the CPU does not have L1TF. */
unsigned mitigate_l1tf_cache_bits(void);

extern uint32_t mitigate_chosen; /* DO_ */

static inline uint32_t mitigate_actions(void)
{
    return mitigate_chosen;
}

/* On each CPU, before it runs guests. */
void mitigate_start(void);

void mitigate_change_vm(void);

/* This CPU works for VM `vm` from now on, by its number; nothing is done if it did before, too. */
static inline void mitigate_enter_vm(unsigned vm)
{
    struct cpu *cpu = &cpus[this_cpu()];
    if (likely(cpu->last_vm == vm))
        return;
    cpu->last_vm = vm;
    mitigate_change_vm();
}

/* IBRS again, first thing in an exit, with DO_IBRS_AT_EXIT. */
void mitigate_at_exit(void);
