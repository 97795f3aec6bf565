/* SPDX-License-Identifier: MIT */
/* The last exit of a vCPU; see the header. */
#include "vm/last_exit.h"

#include "vm/counters.h"
#include "vm/vcpu.h"
#include "vmx/vmcs.h"

bool last_exit_was_kick(const struct vcpu *vcpu)
{
    const struct vmx_exit *exit = &vcpu->vmx.exit;
    return exit->reason == REASON_EXCEPTION_OR_NMI &&
           field_get(vmx_exit_interruption(exit), EVENT_INFO_TYPE) == EVENT_NMI;
}

bool last_exit_read(struct vcpu *vcpu, struct last_exit *exit)
{
    const struct vmx_exit *now = &vcpu->vmx.exit;
    const uint64_t *gpr = vcpu->vmx.regs.gpr;
    uint64_t number = vcpu_exit_count(vcpu);
    exit->valid = false;
    if (!number || now->reason >= REASON_COUNT || last_exit_was_kick(vcpu))
        return false;
    uint8_t defines = vmx_exit_defines[now->reason];
    bool violation = now->reason == REASON_EPT_VIOLATION;
    *exit = (struct last_exit){.valid = true, .handled = true, .reason = now->reason};
    exit->event = defines & OF_INSTRUCTION ? 0 : (uint32_t)vmread(VMCS_IDT_VECTORING_INFO);
    exit->interruption = defines & DEFINES_INTERRUPTION ? vmx_exit_interruption(now) : 0;
    exit->qualification = defines & DEFINES_QUALIFICATION ? vmx_exit_qualification(now) : 0;
    exit->gpa = defines & DEFINES_GPA ? vmx_exit_gpa(now).v : 0;
    exit->gla = violation && exit->qualification & QUALIFICATION_GLA_VALID
                    ? vmread(VMCS_GUEST_LINEAR_ADDRESS)
                    : 0;
    exit->rip = cpu_reg(&vcpu->vmx.regs, REG_RIP);
    exit->rax = gpr[GPR_RAX];
    exit->rcx = gpr[GPR_RCX];
    exit->number = number;
    return true;
}

void last_exit_watch(struct vcpu *vcpu)
{
    vcpu->vmx.watched = true;
    vmx_update_extra_work(&vcpu->vmx);
}

/* The exit has not been counted yet. */
void last_exit_note(struct vcpu *vcpu)
{
    struct last_exit exit;
    if (!last_exit_read(vcpu, &exit))
        return;
    exit.handled = false;
    exit.number++;
    exit.valid = false;
    vcpu->last = exit;
    __atomic_store_n(&vcpu->last.valid, true, __ATOMIC_RELEASE);
}
