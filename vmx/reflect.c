/* SPDX-License-Identifier: MIT */
/*
 * Reflects the guest's own exceptions that exit, #DB and #AC, to the guest.
 *
 * They exit because each of them can recur during its own delivery without end: #DB if a data
 * breakpoint covers the memory to which the frame is pushed, #AC if the stack of a handler at CPL 3
 * is not aligned. No instruction completes in between, so no interrupt, NMI or timer would end the
 * loop, and the guest would keep the CPU for ever (CVE-2015-8104, CVE-2015-5307). With the exits,
 * each round passes through the hypervisor, which checks the VM's budget and takes kicks.
 *
 * The guest gets each exception as it would without the exit. No other code writes DR6, which stays
 * loaded with the guest's value (vmx/extra_state.h). Called by vm/dispatch.c.
 */
#include "arch/x86/cpu.h"
#include "vmx/debug.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

static void update_debug_registers(uint64_t qualification, bool by_int1)
{
    const struct debug_state old = {
        .dr6 = read_dr6(),
        .dr7 = vmread(VMCS_GUEST_DR7),
        .debugctl = vmread(VMCS_GUEST_DEBUGCTL),
    };
    struct debug_state state = old;
    debug_exception(&state, qualification, by_int1);
    if (state.dr6 != old.dr6)
        write_dr6(state.dr6);
    if (state.dr7 != old.dr7)
        vmwrite(VMCS_GUEST_DR7, state.dr7);
    if (state.debugctl != old.debugctl)
        vmwrite(VMCS_GUEST_DEBUGCTL, state.debugctl);
}

void vmx_raise_debug(struct vmx_vcpu *vcpu, uint64_t reasons)
{
    vmx_raise(vcpu, VECTOR_DB, 0);
    update_debug_registers(reasons, false);
}

bool vmx_reflect_exception(struct vmx_vcpu *vcpu)
{
    const struct vmx_exit *e = &vcpu->exit;
    uint32_t info = vmx_exit_interruption(e);
    struct event event = event_decode(info, (uint32_t)vmread(VMCS_EXIT_INTERRUPTION_ERROR),
                                      (uint32_t)vmx_exit_length(e));
    if (!event.valid || event.vector > 31 || !(EXCEPTIONS_REFLECTED & BIT(event.vector)))
        return false;
    vmx_raise(vcpu, event.vector, event.error_code);
    if (event.vector == VECTOR_DB)
        update_debug_registers(vmx_exit_qualification(e), event.type == EVENT_PRIVILEGED_EXCEPTION);
    /* Keep the event as reported: its type and length make the handler of INT1 or INT3 return to
     * the next instruction. */
    if (event.vector == VECTOR_DB || event.vector == VECTOR_BP)
        vcpu->pending.exception = event;
    /* The delivery of the exception ends blocking by STI and by MOV SS. An entry with such blocking
     * and RFLAGS.TF requires BS in the pending debug exceptions, which the exit has cleared (SDM 3,
     * 27.3.1.5 and 28.3.4). */
    vmx_end_interrupt_shadow();
    return true;
}
