/* SPDX-License-Identifier: MIT */
/* The exits of a TD: its counterpart of vm/dispatch.c, which calls td_exit() for each of them. */
#include "vm/td_exit.h"

#include "arch/x86/cpu.h"
#include "tdx/exits.h"
#include "vm/exits.h"
#include "vm/td.h"
#include "vm/td_cpu.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

static COLD void td_stop(struct vcpu *vcpu)
{
    vcpu_end(vcpu, VM_ENDED_UNHANDLED_EXIT,
             "exit reason %u (%s) at RIP %#lx stops the TD: no TD may do this, or no CPU reports "
             "it for one",
             vcpu->vmx.exit.reason, exit_reason_name(vcpu->vmx.exit.reason),
             cpu_reg(&vcpu->vmx.regs, REG_RIP));
}

/* The exit counts as that of a CPU that has TDX. */
static void td_call_at_ud(struct vcpu *vcpu)
{
    vcpu->exits[REASON_EXCEPTION_OR_NMI]--;
    vcpu->exits[REASON_TDCALL]++;
    td_call(vcpu);
}

/* #UD exits from TDs alone: a CPU without TDX does not know TDCALL. On one that has TDX, TDCALL has
 * an exit reason of its own, in every VM (Intel TDX CPU Extensions, 343754, TDCALL). */
static void td_exception(struct vcpu *vcpu)
{
    const struct vmx_exit *exit = &vcpu->vmx.exit;
    exit_cut_short(vcpu, exit->reason);
    if (vmx_take_host_event(&vcpu->vmx))
        return;
    vcpu->exceptions++;
    if (unlikely(vcpu->vm->debugger) && debugger_exception(vcpu))
        return;
    const struct event event = event_decode(vmx_exit_interruption(exit), 0, 0);
    bool again = false;
    if (event.vector == VECTOR_UD && !(exit->idt_vectoring & EVENT_INFO_VALID) &&
        td_at_tdcall(vcpu, &again))
        td_call_at_ud(vcpu);
    else if (again)
        mmu_help(&vcpu->vm->mmu); /* the other vCPU may not be running */
    else if (!vmx_reflect_exception(&vcpu->vmx))
        td_stop(vcpu);
}

static void td_finish(struct vcpu *vcpu, enum tdx_access access)
{
    if (access == TDX_VE)
        td_raise_ve(vcpu);
    else if (access == TDX_GP)
        td_raise(vcpu, VECTOR_GP);
}

bool td_exit(struct vcpu *vcpu, uint32_t reason)
{
    switch (td_exit_answer(reason)) {
    case TD_AS_USUAL:
        return false;
    case TD_CALL:
        td_call(vcpu);
        break;
    case TD_EXCEPTION:
        td_exception(vcpu);
        break;
    case TD_MEMORY:
        td_violation(vcpu);
        break;
    case TD_RAISE_VE:
        td_raise_ve(vcpu);
        break;
    case TD_RAISE_UD:
        td_raise(vcpu, VECTOR_UD);
        break;
    case TD_RAISE_GP:
        td_raise(vcpu, VECTOR_GP);
        break;
    case TD_CPU:
        td_finish(vcpu, td_cpu_exit(vcpu, reason));
        break;
    case TD_STOP:
        td_stop(vcpu);
        break;
    }
    return true;
}
