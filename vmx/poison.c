/*
 * What the SDM lets or makes an exit do and a kind emulator does not (decisions D7 and D18), so
 * that a run shows that nothing depends on the kindness: garbage in the exit-information fields
 * and in the fields of the guest's state that the exit leaves undefined, and RFLAGS.RF as a CPU
 * saves it. Switched on by a command-line word; called at each exit, before anything is read.
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
    {VMCS_GUEST_LINEAR_ADDRESS, 0}, /* but see below */
};

bool vmx_can_poison(void)
{
    return vmx.msrs.misc & MISC_VMWRITE_ANY;
}

/* Exits for an access to memory, unless it was an event's (SDM 3, "Saving RIP, RSP, RFLAGS, and
 * SSP"). */
static bool saves_rf_as_1(uint32_t reason)
{
    return reason == REASON_EPT_VIOLATION || reason == REASON_EPT_MISCONFIGURATION ||
           reason == REASON_PML_FULL || reason == REASON_APIC_ACCESS;
}

/* The exit of an exception saves what the exception would have pushed. Of those that exit #AC
 * alone is a fault whatever raised it. */
static bool is_fault(uint32_t reason)
{
    return reason == REASON_EXCEPTION_OR_NMI &&
           field_get(vmread(VMCS_EXIT_INTERRUPTION_INFO), EVENT_INFO_VECTOR) == VECTOR_AC;
}

/* An error code is there if the event says so (SDM 3, 28.2.2 and 28.2.4). */
static void poison_error_code(uint32_t info, uint32_t error_code, uint64_t garbage)
{
    const uint64_t there = EVENT_INFO_VALID | EVENT_INFO_ERROR_CODE;
    if ((vmread(info) & there) != there)
        vmwrite(error_code, garbage & UINT32_MAX);
}

/* Bits 6 and 11:9 belong to controls that are off, and bit 8 has no meaning without a linear
 * address. A write by the guest's page walk, which is how accessed and dirty flags make all of
 * its accesses count, is a read, too (SDM 3, table 28-7). */
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

/* Of an unusable ES, SS or DS no base is saved (SDM 3, 28.3.2); its upper half is 0. Limit and
 * rights are not, either, but Bochs would keep garbage in them when real mode loads the
 * register. */
static void poison_base(enum segment segment, uint64_t garbage)
{
    if (vmread(VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * (uint32_t)segment) & SEG_AR_UNUSABLE)
        vmwrite(VMCS_GUEST_ES_BASE + 2 * (uint32_t)segment, garbage & UINT32_MAX);
}

/* They are saved under PAE paging alone (SDM 3, 28.3.4). */
static void poison_pdptes(uint64_t garbage)
{
    bool pae = vmread(VMCS_GUEST_CR0) & CR0_PG && vmread(VMCS_GUEST_CR4) & CR4_PAE &&
               !(vmread(VMCS_GUEST_EFER) & EFER_LMA);
    for (uint32_t i = 0; i < 4 && !pae; i++)
        vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, garbage * (i + 1));
}

static void poison(uint32_t reason)
{
    if (reason >= REASON_COUNT) /* an entry that failed says why */
        return;
    /* The length of the instruction that raised a software event is told with any exit during its
     * delivery. */
    bool event = vmread(VMCS_IDT_VECTORING_INFO) & EVENT_INFO_VALID;
    /* #VE tells the linear address, if the qualification says that there is one. */
    bool linear =
        reason == REASON_EPT_VIOLATION && vmread(VMCS_EXIT_QUALIFICATION) & QUALIFICATION_GLA_VALID;
    if ((!event && saves_rf_as_1(reason)) || is_fault(reason))
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

/* Instructions of the way here and back, which an exit without extra work does not go, and of the
 * two looks at the clock, that lie outside of what these measure. */
#define UNSEEN 36

uint64_t vmx_poison(uint32_t reason)
{
    uint64_t start = rdtsc();
    poison(reason);
    return rdtsc() - start + UNSEEN;
}
