/* SPDX-License-Identifier: MIT */
/*
 * The exit record: why the guest exited, and the exit information in the VMCS.
 *
 * Each exit reason defines only some of the exit-information fields (SDM 3, 28.2); the contents of
 * the others differ between CPUs and emulators (decision D7). Each field is therefore read by a
 * function that knows for which reasons it is defined; reading it after any other exit is a BUG.
 */
#pragma once

#include "lib/assert.h"
#include "lib/types.h"
#include "vmx/errors.h"
#include "vmx/vmcs.h"

struct vmx_exit {
    uint32_t reason; /* basic exit reason, enum exit_reason */

    /* The event whose delivery was interrupted, valid if bit 31 is 1. Not read for exits that an
     * instruction itself caused, which interrupt no delivery. */
    uint32_t idt_vectoring;
};

#define DEFINES_QUALIFICATION BIT(0)
#define DEFINES_LENGTH        BIT(1)
#define DEFINES_GPA           BIT(2)
#define DEFINES_INTERRUPTION  BIT(3)
#define DEFINES_INFO          BIT(4)
#define OF_INSTRUCTION        BIT(5) /* by an instruction, never in a delivery (SDM 3, 28.2.4) */
#define DEFINES_IRET          BIT(6) /* qualification bit 12: NMI unblocking due to IRET */
#define COMPLETES             (OF_INSTRUCTION | DEFINES_LENGTH)

/* The fields that each reason defines. In the header, so that a check with a constant reason costs
 * nothing. */
static const uint8_t vmx_exit_defines[REASON_COUNT] = {
    [REASON_EXCEPTION_OR_NMI] = DEFINES_QUALIFICATION | DEFINES_INTERRUPTION | DEFINES_LENGTH,
    [REASON_EXTERNAL_INTERRUPT] = DEFINES_INTERRUPTION,
    [REASON_TASK_SWITCH] = DEFINES_QUALIFICATION | DEFINES_LENGTH,
    [REASON_CPUID] = COMPLETES,
    [REASON_GETSEC] = COMPLETES,
    [REASON_HLT] = COMPLETES,
    [REASON_INVD] = COMPLETES,
    [REASON_INVLPG] = DEFINES_QUALIFICATION | COMPLETES,
    [REASON_RDPMC] = COMPLETES,
    [REASON_VMCALL] = COMPLETES,
    [REASON_CR_ACCESS] = DEFINES_QUALIFICATION | COMPLETES,
    [REASON_MOV_DR] = DEFINES_QUALIFICATION | COMPLETES,
    [REASON_IO_INSTRUCTION] = DEFINES_QUALIFICATION | COMPLETES | DEFINES_INFO,
    [REASON_RDMSR] = COMPLETES,
    [REASON_WRMSR] = COMPLETES,
    [REASON_MWAIT] = DEFINES_QUALIFICATION | COMPLETES,
    [REASON_MONITOR] = COMPLETES,
    [REASON_VIRTUALIZED_EOI] = DEFINES_QUALIFICATION,
    [REASON_EPT_VIOLATION] = DEFINES_QUALIFICATION | DEFINES_GPA | DEFINES_IRET,
    [REASON_EPT_MISCONFIGURATION] = DEFINES_GPA,
    [REASON_WBINVD] = COMPLETES,
    [REASON_XSETBV] = COMPLETES,
    [REASON_INVPCID] = DEFINES_QUALIFICATION | COMPLETES | DEFINES_INFO,
    [REASON_APIC_WRITE] = DEFINES_QUALIFICATION,
    [REASON_PML_FULL] = DEFINES_QUALIFICATION | DEFINES_IRET,
};

static inline uint64_t vmx_exit_field(uint32_t reason, uint64_t defines, uint32_t field)
{
    BUG_ON(!(vmx_exit_defines[reason] & defines));
    return vmread_always(field);
}

static inline uint64_t vmx_exit_qualification(const struct vmx_exit *e)
{
    return vmx_exit_field(e->reason, DEFINES_QUALIFICATION, VMCS_EXIT_QUALIFICATION);
}

/* The length in bytes of the instruction that caused the exit. */
static inline uint64_t vmx_exit_length(const struct vmx_exit *e)
{
    return vmx_exit_field(e->reason, DEFINES_LENGTH, VMCS_EXIT_INSTRUCTION_LENGTH);
}

static inline uint64_t vmx_exit_info(const struct vmx_exit *e)
{
    return vmx_exit_field(e->reason, DEFINES_INFO, VMCS_EXIT_INSTRUCTION_INFO);
}

static inline uint32_t vmx_exit_interruption(const struct vmx_exit *e)
{
    return (uint32_t)vmx_exit_field(e->reason, DEFINES_INTERRUPTION, VMCS_EXIT_INTERRUPTION_INFO);
}

static inline gpa_t vmx_exit_gpa(const struct vmx_exit *e)
{
    return GPA(vmx_exit_field(e->reason, DEFINES_GPA, VMCS_GUEST_PHYSICAL_ADDRESS));
}
