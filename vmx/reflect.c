/*
 * Exceptions that exit though they are the guest's own: #DB and #AC.
 *
 * They exit because each of them can come up in its own delivery without end: #DB if a data
 * breakpoint lies where the frame is pushed, #AC if the stack of a handler at CPL 3 is not aligned.
 * No instruction is completed in between, so no interrupt, NMI or timer ends that: the guest would
 * keep the CPU for ever (CVE-2015-8104, CVE-2015-5307). With the exit each round comes by here,
 * where the VM's budget is looked at and a kick is taken.
 *
 * The guest gets them back as it would have had them. Nobody else writes DR6, which stays loaded
 * (vmx/extra_state.h). Called by vm/dispatch.c.
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
    if (event.vector == VECTOR_DB) {
        update_debug_registers(vmx_exit_qualification(e), event.type == EVENT_PRIVILEGED_EXCEPTION);
        /* As it is: the handler of INT1 returns behind it, as its type and length say. */
        vcpu->pending.exception = event;
    }
    /* Its delivery ends the shadow of STI and MOV SS. An entry with a shadow and RFLAGS.TF wants BS
     * in the pending debug exceptions, which the exit has cleared (SDM 3, 27.3.1.5 and 28.3.4). */
    vmx_end_interrupt_shadow();
    return true;
}
