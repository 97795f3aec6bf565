/* SPDX-License-Identifier: MIT */
/*
 * The mitigations of speculation vulnerabilities, and when they are applied: at boot on each CPU,
 * and when a CPU begins to run another VM. arch/x86/flaws.h decides which actions are needed; vmx/
 * carries out those of each exit, according to mitigate_actions().
 */
#pragma once

#include "arch/x86/this_cpu.h"
#include "arch/x86/flaws.h"

/* Decides which actions are taken and prints a line for each vulnerability. Called once, on the
 * boot CPU. */
void mitigate_decide(enum mitigations wanted, bool nx_huge);

/* Does this CPU need what mitigate_decide() chose on the boot CPU? The cores of a hybrid CPU may
 * differ. Returns false after a message. Called on each other CPU before it runs guests. */
bool mitigate_is_alike(void) MUST_CHECK;

/* The width of the L1D's tags, for rule S9; 0: the CPU does not have L1TF. */
unsigned mitigate_l1tf_cache_bits(void);

extern uint32_t mitigate_chosen; /* a set of DO_ */

static inline uint32_t mitigate_actions(void)
{
    return mitigate_chosen;
}

/* Enables the permanent mitigations. Called on each CPU before it runs guests. */
void mitigate_start(void);

/* Carries out the actions for a change of VMs. */
void mitigate_change_vm(void);

/* Called when this CPU begins to run the VM with number `vm`. Does nothing if the CPU ran this VM
 * last. */
static inline void mitigate_enter_vm(unsigned vm)
{
    struct cpu *cpu = &cpus[this_cpu()];
    if (likely(cpu->last_vm == vm))
        return;
    cpu->last_vm = vm;
    mitigate_change_vm();
}

/* Writes IBRS again. If DO_IBRS_AT_EXIT is set, this is the first action of each exit. */
void mitigate_at_exit(void);
