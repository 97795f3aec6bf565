/* SPDX-License-Identifier: MIT */
/* Turns the emulator's outcome into state of the guest: a fault, a flush, or the end of the VM. The
 * exit handlers that emulate call this on their slow path. */
#include "arch/x86/cpu.h"
#include "vm/exits.h"
#include "vm/ve.h"
#include "vm/vm.h"
#include "mmu/tlb.h"

static const enum vm_ending mmio_endings[] = {
    [MMIO_END_DELIVERY] = VM_ENDED_MMIO_DURING_DELIVERY,
    [MMIO_END_MISCONFIG] = VM_ENDED_MISCONFIGURATION,
    [MMIO_END_UNSUPPORTED] = VM_ENDED_UNSUPPORTED_INSTRUCTION,
    [MMIO_END_FETCH] = VM_ENDED_MEMORY_FAULT,
    [MMIO_END_TABLES] = VM_ENDED_MEMORY_FAULT,
    [MMIO_END_PAGING] = VM_ENDED_MEMORY_FAULT,
    [MMIO_END_STALE] = VM_ENDED_MEMORY_FAULT,
    [MMIO_END_MEMORY] = VM_ENDED_MEMORY_FAULT,
};

static COLD void act_on_breakpoints(uint64_t met)
{
    if (met & BREAKPOINTS_MOV_SS)
        vmx_begin_mov_ss_shadow();
    if (met & ~BREAKPOINTS_MOV_SS)
        vmx_raise_trap(met & ~BREAKPOINTS_MOV_SS);
}

void mmio_act_on(struct vcpu *vcpu, enum mmio_outcome outcome)
{
    struct mmio_vcpu *mmio = &vcpu->mmio;
    if (pass_is_open(vcpu) && outcome != MMIO_REENTER && outcome != MMIO_PASS)
        pass_close(vcpu);
    switch (outcome) {
    case MMIO_DONE:
        vmx_end_interrupt_shadow();
        if (unlikely(mmio->single_step))
            vmx_raise_single_step(&vcpu->vmx);
        if (unlikely(mmio->breakpoints_met))
            act_on_breakpoints(mmio->breakpoints_met);
        return;
    case MMIO_REENTER:
        if (vmx_exit_defines[vcpu->vmx.exit.reason] & OF_INSTRUCTION)
            vmx_retry_instruction(&vcpu->vmx);
        return;
    case MMIO_INJECT:
        if (mmio->fault.vector == VECTOR_PF)
            write_cr2(mmio->fault.cr2);
        vmx_raise(&vcpu->vmx, mmio->fault.vector, mmio->fault.error_code);
        return;
    case MMIO_PASS:
        pass_open(vcpu, vmx_exit_gpa(&vcpu->vmx.exit));
        return;
    case MMIO_VE:
        ve_take(vcpu);
        return;
    case MMIO_STALE:
        tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_STALE);
        return;
    case MMIO_END:
        vcpu_end(vcpu, mmio_endings[mmio->end], "%s", mmio->text);
        return;
    }
}
