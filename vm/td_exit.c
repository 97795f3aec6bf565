/* SPDX-License-Identifier: MIT */
/* The exits of a TD: its counterpart of vm/dispatch.c, which calls td_exit() for each of them. */
#include "vm/td_exit.h"

#include "arch/x86/cpu.h"
#include "lib/trace.h"
#include "tdx/exits.h"
#include "vm/exits.h"
#include "vm/td.h"
#include "vm/td_cpu.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

/* As the module does: RF is set also for #DF, and the delivery ends the interrupt shadow. */
void td_raise_ve_with(struct vcpu *vcpu, const struct td_ve *ve)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs;
    trace(ve, ve->reason, ve->qualification, ve->gla, ve->gpa, td_ve_is_valid(vcpu->td));
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

static void td_raise(struct vcpu *vcpu, uint8_t vector)
{
    vmx_raise(&vcpu->vmx, vector, 0);
    vmx_end_interrupt_shadow();
}

static COLD void td_stop(struct vcpu *vcpu)
{
    vcpu_end(vcpu, VM_ENDED_UNHANDLED_EXIT,
             "exit reason %u (%s) at RIP %#lx stops the TD: no TD may do this, or no CPU reports "
             "it for one",
             vcpu->vmx.exit.reason, exit_reason_name(vcpu->vmx.exit.reason),
             cpu_reg(&vcpu->vmx.regs, REG_RIP));
}

/* #UD exits from TDs alone: a CPU without TDX does not know TDCALL. */
static void td_exception(struct vcpu *vcpu)
{
    const struct vmx_exit *exit = &vcpu->vmx.exit;
    exit_cut_short(vcpu, exit->reason);
    if (vmx_take_host_nmi(&vcpu->vmx))
        return;
    vcpu->exceptions++;
    const struct event event = event_decode(vmx_exit_interruption(exit), 0, 0);
    bool again = false;
    if (event.vector == VECTOR_UD && !(exit->idt_vectoring & EVENT_INFO_VALID) &&
        td_at_tdcall(vcpu, &again))
        td_call(vcpu);
    else if (!again && !vmx_reflect_exception(&vcpu->vmx))
        td_stop(vcpu);
}

static void td_finish(struct vcpu *vcpu, enum tdx_access access)
{
    if (access == TDX_VE)
        td_raise_ve(vcpu);
    else if (access == TDX_GP)
        td_raise(vcpu, VECTOR_GP);
}

void td_exit(struct vcpu *vcpu, uint32_t reason)
{
    switch (td_exit_answer(reason)) {
    case TD_EXCEPTION:
        return td_exception(vcpu);
    case TD_MEMORY:
        return td_violation(vcpu);
    case TD_RAISE_VE:
        return td_raise_ve(vcpu);
    case TD_RAISE_UD:
        return td_raise(vcpu, VECTOR_UD);
    case TD_RAISE_GP:
        return td_raise(vcpu, VECTOR_GP);
    case TD_AS_USUAL:
        return exit_as_usual(vcpu, reason);
    case TD_CPU:
        return td_finish(vcpu, td_cpu_exit(vcpu, reason));
    case TD_STOP:
        return td_stop(vcpu);
    }
}
