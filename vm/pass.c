/* SPDX-License-Identifier: MIT */
#include "vm/pass.h"

#include "arch/x86/cpu.h"
#include "vm/vm.h"
#include "mmio/breakpoints.h"
#include "vmx/vmcs.h"

#define SHORT_TIME 1000u /* TSC ticks: enough for an instruction with all its page walks */

void pass_open(struct vcpu *vcpu, gpa_t gpa)
{
    attention_request(&vcpu->vmx.attention, ATTENTION_PASS);
    vmx_update_extra_work(&vcpu->vmx);
    if (mmu_track_open(&vcpu->vm->mmu, &vcpu->pass.opening, gpa))
        vcpu_end(vcpu, VM_ENDED_MEMORY_FAULT,
                 "one instruction at RIP %#lx writes to more than %u tracked pages; track fewer of "
                 "the page tables and stacks that it uses",
                 cpu_reg(&vcpu->vmx.regs, REG_RIP), TRACK_OPEN_MAX);
}

void pass_close(struct vcpu *vcpu)
{
    mmu_track_close(&vcpu->vm->mmu, &vcpu->pass.opening);
    attention_clear(&vcpu->vmx.attention, ATTENTION_PASS);
    vmx_update_extra_work(&vcpu->vmx);
    if (unlikely(vcpu->vm->debugger))
        debugger_written(vcpu);
}

/* If RFLAGS.TF is set, an entry with blocking by MOV SS requires a pending single-step trap (SDM 3,
 * 27.3.1.5). It becomes one with the trap that the instruction itself causes. */
static void pass_arm_instruction(struct vcpu *vcpu)
{
    struct pass *p = &vcpu->pass;
    p->armed = true;
    p->rip = cpu_reg(&vcpu->vmx.regs, REG_RIP);
    p->interruptibility = vmread(VMCS_GUEST_INTERRUPTIBILITY);
    p->pending_debug = vmread(VMCS_GUEST_PENDING_DEBUG);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY,
            (p->interruptibility & ~INTERRUPT_SHADOW) | BLOCKING_BY_MOV_SS);
    if (cpu_reg(&vcpu->vmx.regs, REG_RFLAGS) & RFLAGS_TF)
        vmx_raise_trap(TRAP_SINGLE_STEP);
    vmx_set_primary(PRIMARY_NMI_WINDOW_EXITING, true);
    vcpu->vmx.windows = true;
}

/* Limits the next run by the preemption timer: to the delivery of an event, or to a short time
 * while NMIs are blocked, when their window does not open. */
static void pass_arm_timer(uint64_t ticks)
{
    vmwrite(VMCS_PREEMPTION_TIMER_VALUE, ticks >> field_get(vmx.msrs.misc, MISC_TIMER_RATE));
}

void pass_arm(struct vcpu *vcpu)
{
    if (vmread(VMCS_ENTRY_INTERRUPTION_INFO) & EVENT_INFO_VALID)
        pass_arm_timer(0);
    else if (vmread(VMCS_GUEST_INTERRUPTIBILITY) & BLOCKING_BY_NMI)
        pass_arm_timer(SHORT_TIME);
    else
        pass_arm_instruction(vcpu);
    /* NMI-window exiting may have to be switched off. */
    attention_request(&vcpu->vmx.attention, ATTENTION_EVENT);
}

void pass_exit(struct vcpu *vcpu, uint32_t reason)
{
    struct pass *p = &vcpu->pass;
    if (p->armed && reason != REASON_NMI_WINDOW && vmread(VMCS_GUEST_RIP) == p->rip) {
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, p->interruptibility);
        vmwrite(VMCS_GUEST_PENDING_DEBUG, p->pending_debug);
    }
    p->armed = false;
    if (reason != REASON_EPT_VIOLATION && reason != REASON_EPT_MISCONFIGURATION &&
        reason != REASON_PML_FULL)
        pass_close(vcpu);
}
