/* SPDX-License-Identifier: MIT */
/* Completes an instruction that was executed in software: RIP, RF, the interrupt shadow and the
 * single-step trap. */
#include "arch/x86/cpu.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

void vmx_end_interrupt_shadow(void)
{
    uint64_t state = vmread(VMCS_GUEST_INTERRUPTIBILITY);
    if (unlikely(state & INTERRUPT_SHADOW))
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, state & ~INTERRUPT_SHADOW);
}

void vmx_begin_mov_ss_shadow(void)
{
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY, vmread(VMCS_GUEST_INTERRUPTIBILITY) | BLOCKING_BY_MOV_SS);
}

void vmx_skip_instruction(struct vmx_vcpu *vcpu)
{
    vmx_skip_bytes(vcpu, vmx_exit_length(&vcpu->exit));
}

void vmx_skip_bytes(struct vmx_vcpu *vcpu, uint64_t length)
{
    struct cpu_regs *cpu = &vcpu->regs;
    uint64_t rip = cpu_reg(cpu, REG_RIP), next = rip + length;
    uint64_t rflags = cpu_reg(cpu, REG_RFLAGS);

    /* Outside 64-bit code, EIP wraps at 4 GiB, so only a carry out of the low half can be wrong.
     * (Outside IA-32e mode, CS.L has no meaning and may be 1.) */
    if (unlikely((rip ^ next) >> 32) && !vmx_in_64_bit_code())
        next &= 0xffffffff;
    cpu_complete(cpu, next, rflags);
    vmx_end_interrupt_shadow();
    vmx_raise_single_step(vcpu);
}

void vmx_retry_instruction(struct vmx_vcpu *vcpu)
{
    cpu_set_reg(&vcpu->regs, REG_RFLAGS, cpu_reg(&vcpu->regs, REG_RFLAGS) | RFLAGS_RF);
}
