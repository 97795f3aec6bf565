/* SPDX-License-Identifier: MIT */
/*
 * What a guest's CPU has (decision D19): one table of features, vm/features_table.c. What CPUID
 * answers, which MSRs there are, and which bits of CR4 and XCR0 can be set is computed from it and
 * from what the host has, so that they agree. What is not in the table is not offered.
 *
 * Pure: the host is what features_setup() is told.
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

/* How what a feature brings is kept apart from other VMs'. */
enum feature_state {
    STATE_NONE,     /* instructions or a property: nothing that lasts */
    STATE_VMCS,     /* in the VMCS; its MSRs are used without an exit */
    STATE_LIST,     /* on the list of vmx/extra_state.h; likewise */
    STATE_XSAVE,    /* in the XSAVE area, on that list */
    STATE_EMULATED, /* ours: its MSRs exit */
};

#define FEATURE_MSRS 4

struct feature {
    const char *name;
    uint32_t leaf, subleaf;
    enum cpuid_register reg;
    uint32_t bit; /* the mask */
    enum feature_state state;
    bool ours;                   /* offered whatever the host has */
    bool compacts;               /* the compacted XSAVE format has to work */
    uint64_t secondary;          /* this control must be on */
    uint64_t cr4, xcr0;          /* bits that exist with it */
    uint32_t msrs[FEATURE_MSRS]; /* that exist with it; 0: none */
};

extern const struct feature feature_table[];
extern const unsigned feature_count;

struct feature_host {
    struct cpuid (*cpuid)(uint32_t leaf, uint32_t subleaf);
    uint64_t xcr0;      /* the state components that we switch */
    uint64_t secondary; /* the secondary controls that are on */
    uint64_t cr4;       /* the bits of CR4 that VMX lets be 1 */
    bool compaction;    /* XSAVEC stores what XSAVE does; see docs/EMULATOR-GAPS.md */
};

/* Once at boot, before the first VM. */
void features_setup(const struct feature_host *host);

/* What differs between VMs, and never changes. */
struct feature_vm {
    unsigned count; /* of vCPUs */
    uint64_t tsc_hz;
    uint32_t shared, execute_only; /* the stolen bits */
};

/* What differs between the vCPUs of a VM, as it is now. */
struct feature_vcpu {
    unsigned index;
    bool apic_on;
    uint64_t cr4, xcr0;
};

/* What CPUID with EAX = leaf and ECX = subleaf tells all vCPUs of a VM, in the leaves that there
 * are: vm/cpuid_table.h knows what answers for the others. */
struct cpuid features_cpuid(const struct feature_vm *vm, uint32_t leaf, uint32_t subleaf);

/* Adds to such an answer what it tells this vCPU alone. Executes no CPUID in the host. */
struct cpuid features_cpuid_own(const struct feature_vcpu *vcpu, uint32_t leaf, uint32_t subleaf,
                                struct cpuid r);

/* Is the feature offered? */
bool feature_offered(const struct feature *feature);

/* The bits of CR4 that are not reserved. */
uint64_t features_cr4(void);

/* Whether a guest may set XCR0 to the value, by the rules of vmx/xcr0.h. */
bool features_xcr0_valid(uint64_t value);

/* The feature that an MSR comes with, or NULL: it belongs to none that is offered. */
const struct feature *features_msr(uint32_t msr);
