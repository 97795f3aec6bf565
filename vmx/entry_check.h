/* SPDX-License-Identifier: MIT */
/*
 * The checks that the CPU makes on VM entry, made in software, so that a message explains why an
 * entry was refused: which field, which bit, which rule (SDM 3, 27.2 and 27.3).
 *
 *   vmx/entry_check.c           the order of the checks, and the functions that state one
 *   vmx/entry_check_controls.c  the control fields (27.2.1)
 *   vmx/entry_check_events.c    the event to be injected (27.2.1.3)
 *   vmx/entry_check_host.c      the host state (27.2.2 to 27.2.4)
 *   vmx/entry_check_guest.c     the guest state except segments (27.3.1)
 *   vmx/entry_check_segments.c  the guest's segments and descriptor tables (27.3.1.2, 27.3.1.3)
 *
 * Checks that need more than the VMCS are not made: the contents of the MSR areas, of the page to
 * which the VMCS link pointer points and of the virtual-APIC page, SMM, and the state of Intel PT.
 *
 * Pure: the VMCS is read through a function. Called before the first entry of a vCPU and after a
 * failed entry, never on the path of a successful entry.
 */
#pragma once

#include "vmx/controls.h"

struct entry_check_input {
    uint64_t (*read)(void *ctx, uint32_t field); /* never called for a field that does not exist */
    void *ctx;
    const struct vmx_msrs *msrs;
    unsigned maxphyaddr;        /* CPUID 80000008h:EAX[7:0] */
    unsigned linear_bits;       /* CPUID 80000008h:EAX[15:8] */
    uint64_t efer_valid;        /* the bits that this CPU defines in IA32_EFER */
    uint64_t debugctl_valid;    /* the bits that it defines in IA32_DEBUGCTL */
    uint64_t perf_global_valid; /* the bits that it defines in IA32_PERF_GLOBAL_CTRL */
    bool rtm;                   /* CPUID 7:EBX[11] */
};

struct entry_finding {
    uint32_t field;
    uint64_t value;
    int bit;          /* the lowest wrong bit, or -1 */
    const char *rule; /* the SDM's section, "27.3.1.4" */
    char text[232];   /* "guest RFLAGS = 0x0: bit 1 is 0 but must be 1 (SDM 27.3.1.4)" */
};

/* Checks the whole VMCS, reports each violation and returns the number of violations. */
unsigned entry_check(const struct entry_check_input *input,
                     void (*report)(void *ctx, const struct entry_finding *finding), void *ctx);

/* Checks the whole VMCS and logs each violation with log_error(), or that there is none. Returns
 * the number of violations. */
unsigned entry_check_log(const struct entry_check_input *input);
