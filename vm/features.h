/* SPDX-License-Identifier: MIT */
/*
 * The features of a guest's CPU (decision D19), in one table, vm/features_table.c. CPUID's answers,
 * the MSRs that exist, and the bits of CR4 and XCR0 that can be set are computed from this table
 * and from the host's features, so that they agree. A feature that is not in the table is not
 * offered.
 *
 * Pure: the argument of features_setup() describes the host.
 */
#pragma once

#include "arch/x86/cpu.h"
#include "lib/compiler.h"

enum cpuid_register {
    CPUID_EAX,
    CPUID_EBX,
    CPUID_ECX,
    CPUID_EDX,
};

/* How a feature's state is kept apart from that of other VMs. */
enum feature_state {
    STATE_NONE,     /* there is none: instructions or a property */
    STATE_VMCS,     /* in the VMCS; its MSRs are used without an exit */
    STATE_LIST,     /* switched by vmx/extra_state.h; MSRs as above */
    STATE_XSAVE,    /* in the XSAVE area, which vmx/extra_state.h switches */
    STATE_EMULATED, /* emulated: its MSRs exit */
};

#define FEATURE_MSRS 4

struct feature {
    const char *name;
    uint32_t leaf, subleaf;
    enum cpuid_register reg;
    uint32_t bit; /* the mask */
    enum feature_state state;
    bool ours;                   /* offered even if the host does not have it */
    uint32_t broken;             /* of vmx/broken.h: not offered on a host that has it */
    uint64_t secondary;          /* controls that must be on */
    uint64_t cr4, xcr0;          /* bits that exist with the feature */
    uint32_t msrs[FEATURE_MSRS]; /* MSRs that exist with the feature; 0: none */
};

extern const struct feature feature_table[];
extern const unsigned feature_count;

struct feature_host {
    struct cpuid (*cpuid)(uint32_t leaf, uint32_t subleaf);
    uint64_t xcr0;      /* the state components that are switched */
    uint64_t secondary; /* the secondary controls that are on */
    uint64_t cr4;       /* the bits of CR4 that VMX lets be 1 */
    uint32_t broken;    /* of vmx/broken.h: what it enumerates and does wrongly */
};

/* Called once at boot, before the first VM is created. */
void features_setup(const struct feature_host *host);

/* What differs between VMs, and is constant for each VM. */
struct feature_vm {
    unsigned count; /* of vCPUs */
    uint64_t tsc_hz;
    uint32_t shared, execute_only; /* numbers of the stolen address bits; 0: none */
};

/* What differs between the vCPUs of a VM, as of now. */
struct feature_vcpu {
    unsigned index;
    bool apic_on;
    uint64_t cr4, xcr0;
};

/* The answer of CPUID with EAX = leaf and ECX = subleaf, as far as all vCPUs of a VM have it in
 * common, for a leaf that exists. vm/cpuid_table.h knows which leaf answers for one that does
 * not. */
struct cpuid features_cpuid(const struct feature_vm *vm, uint32_t leaf, uint32_t subleaf);

/* Adds the part that differs between vCPUs to `r`, an answer of features_cpuid(). Does not execute
 * CPUID in the host. */
struct cpuid features_cpuid_own(const struct feature_vcpu *vcpu, uint32_t leaf, uint32_t subleaf,
                                struct cpuid r);

/* Is the feature offered? */
bool feature_offered(const struct feature *feature);

/* The bits of CR4 that are not reserved for guests. */
uint64_t features_cr4(void);

/* The state components that are offered. */
uint64_t features_xcr0(void);

/* Returns true if a guest may set XCR0 to the value, by the rules of vmx/xcr0.h. */
bool features_xcr0_valid(uint64_t value);

/* The offered feature to which an MSR belongs, or NULL if there is none. */
const struct feature *features_msr(uint32_t msr);
