/* SPDX-License-Identifier: MIT */
/* The exceptions that a TD gets for an instruction that has exited; see vm/td_exit.h. */
#include "vm/td_exit.h"

#include "arch/x86/cpu.h"
#include "lib/trace.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

/* As the module does: RF is set also for #DF, and the delivery ends the interrupt shadow. */
void td_raise_ve_with(struct vcpu *vcpu, const struct td_ve *ve)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    trace(ve, ve->reason, ve->qualification, vm_traced(vcpu->vm, ve->gla), ve->gpa,
          td_ve_is_valid(vcpu->td));
    if (td_ve_fill(vcpu->td, ve)) {
        vmx_raise(&vcpu->vmx, VECTOR_VE, 0);
    } else {
        vmx_raise(&vcpu->vmx, VECTOR_DF, 0);
        cpu_set_reg(cpu, REG_RFLAGS, cpu_reg(cpu, REG_RFLAGS) | RFLAGS_RF);
    }
    vmx_end_interrupt_shadow();
}

void td_raise_ve(struct vcpu *vcpu)
{
    const struct vmx_exit *exit = &vcpu->vmx.exit;
    const uint8_t defines = vmx_exit_defines[exit->reason];
    const struct td_ve ve = {
        .reason = exit->reason,
        .qualification = defines & DEFINES_QUALIFICATION ? vmx_exit_qualification(exit) : 0,
        .length = defines & DEFINES_LENGTH ? (uint32_t)vmx_exit_length(exit) : 0,
        .instruction = defines & DEFINES_INFO ? (uint32_t)vmx_exit_info(exit) : 0,
    };
    td_raise_ve_with(vcpu, &ve);
}

void td_raise(struct vcpu *vcpu, uint8_t vector)
{
    vmx_raise(&vcpu->vmx, vector, 0);
    vmx_end_interrupt_shadow();
}
