/* SPDX-License-Identifier: MIT */
/*
 * Changes the state after an exit to what the SDM allows or requires but a forgiving emulator does
 * not do (decisions D7 and D18), so that a run proves that nothing depends on the emulator: garbage
 * in the exit-information fields and in the guest-state fields that the exit leaves undefined, and
 * RFLAGS.RF as a CPU saves it. Enabled by the word poison=1; called at each exit, before any field
 * is read.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/exceptions.h"
#include "vmx/event.h"
#include "arch/x86/regs.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

static const struct {
    uint32_t field;
    uint8_t defines;
} fields[] = {
    {VMCS_EXIT_QUALIFICATION, DEFINES_QUALIFICATION},
    {VMCS_EXIT_INSTRUCTION_LENGTH, DEFINES_LENGTH},
    {VMCS_EXIT_INSTRUCTION_INFO, DEFINES_INFO},
    {VMCS_GUEST_PHYSICAL_ADDRESS, DEFINES_GPA},
    {VMCS_GUEST_LINEAR_ADDRESS, 0}, /* except after some EPT violations; see poison_exit() */
};

bool vmx_can_poison(void)
{
    return vmx.msrs.misc & MISC_VMWRITE_ANY;
}

/* Exits due to a memory access save RF as 1, unless the access was part of an event's delivery (SDM
 * 3, "Saving RIP, RSP, RFLAGS, and SSP"). */
static bool saves_rf_as_1(uint32_t reason)
{
    return reason == REASON_EPT_VIOLATION || reason == REASON_EPT_MISCONFIGURATION ||
           reason == REASON_PML_FULL || reason == REASON_APIC_ACCESS;
}

/* An exit due to an exception saves the RFLAGS that the exception would have pushed. Of the
 * exceptions that exit, only #AC is always a fault. */
static bool exit_is_fault(uint32_t reason)
{
    return reason == REASON_EXCEPTION_OR_NMI &&
           field_get(vmread(VMCS_EXIT_INTERRUPTION_INFO), EVENT_INFO_VECTOR) == VECTOR_AC;
}

/* An error code is defined only if the event information is valid and says so (SDM 3, 28.2.2 and
 * 28.2.4). */
static void poison_error_code(uint32_t info, uint32_t error_code, uint64_t garbage)
{
    const uint64_t there = EVENT_INFO_VALID | EVENT_INFO_ERROR_CODE;
    if ((vmread(info) & there) != there)
        vmwrite(error_code, garbage & UINT32_MAX);
}

/* Bits 6 and 11:9 belong to controls that are off, and bit 8 is undefined if the linear address is
 * not valid. With accessed and dirty flags, the guest's page walk accesses paging structures as
 * writes, and such an access is reported as a read, too (SDM 3, table 28-7). */
static void poison_violation(uint64_t garbage)
{
    uint64_t qualification = vmread(VMCS_EXIT_QUALIFICATION);
    uint64_t undefined = BIT(6) | BITS(11, 9);
    if (!(qualification & QUALIFICATION_GLA_VALID))
        undefined |= QUALIFICATION_FINAL;
    else if (!(qualification & QUALIFICATION_FINAL) && qualification & QUALIFICATION_WRITE)
        qualification |= QUALIFICATION_READ;
    vmwrite(VMCS_EXIT_QUALIFICATION, (qualification & ~undefined) | (garbage & undefined));
}

/* The base of an unusable ES, SS or DS is undefined after an exit (SDM 3, 28.3.2), except that its
 * upper half is 0. Limit and access rights are undefined, too, but they are not changed: Bochs
 * would keep the garbage when real mode loads the register. */
static void poison_base(enum segment segment, uint64_t garbage)
{
    if (vmread(VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * (uint32_t)segment) & SEG_AR_UNUSABLE)
        vmwrite(VMCS_GUEST_ES_BASE + 2 * (uint32_t)segment, garbage & UINT32_MAX);
}

/* The PDPTEs are saved only with PAE paging (SDM 3, 28.3.4). */
static void poison_pdptes(uint64_t garbage)
{
    bool pae = vmread(VMCS_GUEST_CR0) & CR0_PG && vmread(VMCS_GUEST_CR4) & CR4_PAE &&
               !(vmread(VMCS_GUEST_EFER) & EFER_LMA);
    for (uint32_t i = 0; i < 4 && !pae; i++)
        vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, garbage * (i + 1));
}

static void poison_exit(uint32_t reason)
{
    if (reason >= REASON_COUNT) /* a failed entry reports why it failed */
        return;
    /* The length of the instruction that raised a software event is defined after any exit during
     * the event's delivery. */
    bool event = vmread(VMCS_IDT_VECTORING_INFO) & EVENT_INFO_VALID;
    /* The linear address of an EPT violation is defined if the qualification says so; #VE reports
     * it. */
    bool linear =
        reason == REASON_EPT_VIOLATION && vmread(VMCS_EXIT_QUALIFICATION) & QUALIFICATION_GLA_VALID;
    if ((!event && saves_rf_as_1(reason)) || exit_is_fault(reason))
        vmwrite(VMCS_GUEST_RFLAGS, vmread(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
    uint64_t garbage = rdtsc() * 0x9e3779b97f4a7c15ull;
    poison_error_code(VMCS_EXIT_INTERRUPTION_INFO, VMCS_EXIT_INTERRUPTION_ERROR, garbage);
    poison_error_code(VMCS_IDT_VECTORING_INFO, VMCS_IDT_VECTORING_ERROR, garbage);
    if (reason == REASON_EPT_VIOLATION)
        poison_violation(garbage);
    poison_base(SEG_ES, garbage);
    poison_base(SEG_SS, garbage >> 1);
    poison_base(SEG_DS, garbage >> 2);
    poison_pdptes(garbage);
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        uint32_t field = fields[i].field;
        bool defined = (field == VMCS_EXIT_INSTRUCTION_LENGTH && event) ||
                       (field == VMCS_GUEST_LINEAR_ADDRESS && linear);
        if (!defined && !(vmx_exit_defines[reason] & fields[i].defines))
            vmwrite(field, garbage >> i);
    }
}

/* The number of instructions that the two RDTSCs do not measure: the call of vmx_poison() and the
 * return, which an exit without extra work does not execute, and the parts of the RDTSCs
 * themselves. */
#define UNSEEN 36

uint64_t vmx_poison(uint32_t reason)
{
    uint64_t start = rdtsc();
    poison_exit(reason);
    return rdtsc() - start + UNSEEN;
}
