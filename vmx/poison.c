/*
 * What the SDM lets or makes an exit do and a kind emulator does not (decisions D7 and D18), so that
 * a run shows that nothing depends on the kindness: garbage in the exit-information fields that the
 * exit leaves undefined, and RFLAGS.RF as a CPU saves it. Switched on by a command-line word; called
 * at each exit, before anything is read.
 */
#include "arch/x86/cpu.h"
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
    if (!event && saves_rf_as_1(reason))
        vmwrite(VMCS_GUEST_RFLAGS, vmread(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
    uint64_t garbage = rdtsc() * 0x9e3779b97f4a7c15ull;
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        uint32_t field = fields[i].field;
        bool defined = (field == VMCS_EXIT_INSTRUCTION_LENGTH && event) ||
                       (field == VMCS_GUEST_LINEAR_ADDRESS && linear);
        if (!defined && !(vmx_exit_defines[reason] & fields[i].defines))
            vmwrite(field, garbage >> i);
    }
}

/* Instructions of the way here and back, and of the two looks at the clock, that lie outside of what
 * these measure. */
#define UNSEEN 28

uint64_t vmx_poison(uint32_t reason)
{
    uint64_t start = rdtsc();
    poison(reason);
    return rdtsc() - start + UNSEEN;
}
