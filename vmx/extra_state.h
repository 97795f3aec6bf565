/* SPDX-License-Identifier: MIT */
/*
 * Guest state that neither the VMCS nor an exit saves (decision D9). The hypervisor is compiled not
 * to use it, so it stays loaded between exit and entry and is switched only when a CPU changes from
 * one vCPU to another.
 */
#pragma once

#include "arch/x86/vector_regs.h"
#include "lib/compiler.h"
#include "lib/types.h"

#define EXTRA_MSRS 6

struct extra_state {
    uint64_t cr2, dr0, dr1, dr2, dr3, dr6;
    uint64_t msrs[EXTRA_MSRS];
    uint64_t xcr0, xss;
    uint32_t pkru;
    hpa_t fpu; /* the XSAVE or FXSAVE area */
};

/* The MSRs that are switched; a guest accesses them without an exit. */
extern const uint32_t extra_msrs[EXTRA_MSRS];

/* Returns true if this CPU has the MSR extra_msrs[index]. */
bool extra_msr_exists(unsigned index);

/* Enables in CR0, CR4 and XCR0 what is needed to switch this state (OSFXSR, OSXSAVE, PKE). Called
 * once on each CPU. */
void extra_state_enable(void);

/* Sets the state after a reset. Returns 0, or -ENOMEM after a message. */
int extra_state_init(struct extra_state *state) MUST_CHECK;
void extra_state_destroy(struct extra_state *state);

/* Loads the state. Returns NULL, or the name of the part that this CPU refused, in which case the
 * vCPU can't run on it. */
const char *extra_state_load(struct extra_state *state) MUST_CHECK;
void extra_state_save(struct extra_state *state);

/* The components of XCR0 that are switched; 0 without XSAVE. */
uint64_t extra_xcr0_supported(void);

/* Checks that XSAVEC, if the CPU has it, stores the requested components. Called after
 * extra_state_enable() and before any guest runs. */
bool extra_compaction_works(void);
