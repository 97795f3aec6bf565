/*
 * State that belongs to the guest and that neither the VMCS nor an exit saves (decision D9). The
 * hypervisor is compiled not to touch it, so it stays loaded from exit to entry and is
 * switched only when a CPU changes from one vCPU to another.
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
    hpa_t fpu; /* XSAVE or FXSAVE area */
};

/* The MSRs of the list; a guest uses them without an exit. */
extern const uint32_t extra_msrs[EXTRA_MSRS];

/* True if this CPU has the MSR extra_msrs[index]. */
bool extra_msr_exists(unsigned index);

/* Once at boot: lets CR4 enable what the list switches (OSFXSR, OSXSAVE, PKE). */
void extra_state_enable(void);

/* The state after a reset. Returns 0, or -ENOMEM after a sentence. */
int extra_state_init(struct extra_state *state) MUST_CHECK;
void extra_state_destroy(struct extra_state *state);

/* Returns NULL, or the name of what this CPU refused to take: then the vCPU can't run here. */
const char *extra_state_load(struct extra_state *state) MUST_CHECK;
void extra_state_save(struct extra_state *state);

/* The components of XCR0 that the list switches; 0 without XSAVE. */
uint64_t extra_xcr0_supported(void);

/* After extra_state_enable(), before any guest: whether XSAVEC, if there is one, stores what it is
 * asked for. */
bool extra_compaction_works(void);
