/* SPDX-License-Identifier: MIT */
/* The messages for VMX failures; see the header. Pure. */
#include "vmx/errors.h"

#include "lib/log.h"

const char *exit_reason_name(uint32_t reason)
{
    switch (reason & EXIT_REASON_BASIC) {
#define X(name, number, text) \
    case number:              \
        return text;
        EXIT_REASONS(X)
#undef X
    default:
        return "unknown exit reason";
    }
}

static const struct {
    const char *name;
    const char *hint;
} instruction_errors[] = {
    /* clang-format off */
    [1] = {"VMCALL executed in VMX root operation", "VMCALL is for guests"},
    [2] = {"VMCLEAR with invalid physical address",
           "align the VMCS to 4 KiB, inside the physical-address width"},
    [3] = {"VMCLEAR with VMXON pointer", "the VMXON region is not a VMCS: use another page"},
    [4] = {"VMLAUNCH with non-clear VMCS", "it was launched already: VMRESUME it, or VMCLEAR"},
    [5] = {"VMRESUME with non-launched VMCS", "the first entry after VMCLEAR is VMLAUNCH"},
    [6] = {"VMRESUME after VMXOFF", "VMCLEAR each VMCS after VMXON"},
    [7] = {"VM entry with invalid control field(s)",
           "run the entry checks: they name the field (SDM 27.2.1)"},
    [8] = {"VM entry with invalid host-state field(s)",
           "run the entry checks: they name the field (SDM 27.2.2 to 27.2.4)"},
    [9] = {"VMPTRLD with invalid physical address",
           "align the VMCS to 4 KiB, inside the physical-address width"},
    [10] = {"VMPTRLD with VMXON pointer", "the VMXON region is not a VMCS: use another page"},
    [11] = {"VMPTRLD with incorrect VMCS revision identifier",
            "store bits 30:0 of IA32_VMX_BASIC in the VMCS's first four bytes before VMPTRLD"},
    [12] = {"VMREAD or VMWRITE of an unsupported VMCS component",
            "the field exists only with its control: see vmx_field_exists()"},
    [13] = {"VMWRITE to a read-only VMCS component",
            "only the CPU writes exit information, unless IA32_VMX_MISC bit 29 is 1"},
    [15] = {"VMXON executed in VMX root operation", "VMXON is executed once on each CPU"},
    [16] = {"VM entry with invalid executive-VMCS pointer", "leave the SMM fields alone"},
    [17] = {"VM entry with non-launched executive VMCS", "leave the SMM fields alone"},
    [18] = {"VM entry with executive-VMCS pointer not VMXON pointer", "leave the SMM fields alone"},
    [19] = {"VMCALL with non-clear VMCS", "clear the SMM-transfer VMCS first"},
    [20] = {"VMCALL with invalid VM-exit control fields", "check the SMM-transfer VMCS"},
    [22] = {"VMCALL with incorrect MSEG revision identifier", "check the MSEG header"},
    [23] = {"VMXOFF under dual-monitor treatment of SMIs and SMM",
            "firmware must end the dual-monitor treatment first"},
    [24] = {"VMCALL with invalid SMM-monitor features", "check the MSEG header"},
    [25] = {"VM entry with invalid VM-execution control fields in executive VMCS",
            "leave the SMM fields alone"},
    [26] = {"VM entry with events blocked by MOV SS",
            "VMLAUNCH and VMRESUME must not directly follow MOV SS or POP SS"},
    [28] = {"invalid operand to INVEPT or INVVPID",
            "the type must be one that IA32_VMX_EPT_VPID_CAP offers, reserved bits 0, VPID not 0"},
    /* clang-format on */
};

const char *vm_instruction_error_name(uint32_t error)
{
    if (error < ARRAY_SIZE(instruction_errors) && instruction_errors[error].name)
        return instruction_errors[error].name;
    return error ? "unknown VM-instruction error" : "no error";
}

const char *vm_instruction_error_hint(uint32_t error)
{
    if (error < ARRAY_SIZE(instruction_errors) && instruction_errors[error].hint)
        return instruction_errors[error].hint;
    return error ? "see the SDM, volume 3, 31.4, of an edition as new as this CPU"
                 : "no VMCS is current, so there is no error number: VMPTRLD one first";
}

void vm_instruction_error_log(const char *instruction, uint32_t error)
{
    log_error("%s failed, error %u: %s; %s", instruction, error, vm_instruction_error_name(error),
              vm_instruction_error_hint(error));
}

/* The meaning of the exit qualification of exit reason 33 (SDM 3, 27.8): the check that failed, for
 * a few of the checks. */
static const char *guest_state_hint(uint64_t qualification)
{
    switch (qualification) {
    case 0:
        return "run the entry checks: they name the field (SDM 27.3.1)";
    case 2:
        return "a PDPTE has a reserved bit set (SDM 27.3.1.6)";
    case 3:
        return "an NMI was injected while events were blocked by STI (SDM 27.3.1.5)";
    case 4:
        return "the VMCS link pointer does not point to a VMCS of this CPU's revision (SDM "
               "27.3.1.5)";
    default:
        return "the exit qualification is not one that the SDM defines";
    }
}

void entry_failure_log(uint32_t reason, uint64_t qualification)
{
    uint32_t basic = reason & EXIT_REASON_BASIC;
    unsigned long long detail = qualification;

    if (!(reason & EXIT_REASON_ENTRY_FAILED))
        log_error("exit reason 0x%x: the entry succeeded; bit 31 would say that it failed", reason);
    else if (basic == REASON_ENTRY_FAILED_GUEST_STATE)
        log_error("VM entry failed, reason 33: invalid guest state, qualification %llu; %s", detail,
                  guest_state_hint(qualification));
    else if (basic == REASON_ENTRY_FAILED_MSR_LOADING)
        log_error("VM entry failed, reason 34: MSR loading; entry %llu of the VM-entry MSR-load "
                  "area, counted from 1, is at fault (SDM 27.4)",
                  detail);
    else if (basic == REASON_ENTRY_FAILED_MACHINE_CHECK)
        log_error(
            "VM entry failed, reason 41: machine-check event; the VMCS is not at fault, and the "
            "next lines say what the machine-check banks hold");
    else
        log_error("VM entry failed, reason %u: %s; the SDM defines 33, 34 and 41 only", basic,
                  exit_reason_name(reason));
}
