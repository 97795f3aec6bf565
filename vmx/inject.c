/* SPDX-License-Identifier: MIT */
/* Events between two entries: the interrupted delivery, the pending events, and window exiting for
 * those that have to wait (decision D15). */
#include "arch/x86/cpu.h"
#include "lib/assert.h"
#include "lib/trace.h"
#include "vmx/cut_delivery.h"
#include "vmx/errors.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

#define PENDING_DEBUG_BREAKPOINT BIT(12) /* an enabled breakpoint was met */
#define PENDING_DEBUG_BS         BIT(14)

static uint32_t cut_event(const struct vmx_vcpu *vcpu)
{
    uint32_t info = vcpu->exit.idt_vectoring;
    if (likely(!vmx.counts_instructions || !vcpu->apicv.on))
        return info;
    uint64_t status = vmread(VMCS_GUEST_INTERRUPT_STATUS); /* SVI in bits 15:8 */
    return cut_delivery(info, (uint8_t)(status >> 8), vmread(VMCS_GUEST_RFLAGS),
                        (uint32_t)vmread(VMCS_GUEST_INTERRUPTIBILITY));
}

/* Bit 12 of the qualification is undefined if the exit interrupted a delivery, so it is used only
 * otherwise. */
void vmx_requeue_event(struct vmx_vcpu *vcpu)
{
    if (vcpu->exit.idt_vectoring & EVENT_INFO_VALID)
        vcpu->pending.requeue =
            event_decode(cut_event(vcpu), (uint32_t)vmread(VMCS_IDT_VECTORING_ERROR),
                         (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_LENGTH));
    else
        vmx_iret_again(vcpu);
    attention_request(&vcpu->attention, ATTENTION_EVENT);
}

/* Removes the event that the entry delivers from the pending ones. An interrupted delivery or an
 * exception comes first and leaves the others pending; if there were both, the delivered event
 * stands for both. The vector of an interrupt is final after this. */
static void event_consume(struct vmx_vcpu *vcpu, struct event *delivered)
{
    struct event_pending *p = &vcpu->pending;
    if (p->requeue.valid || p->exception.valid)
        p->requeue.valid = p->exception.valid = false;
    else if (delivered->type == EVENT_NMI)
        p->nmis--;
    else
        delivered->vector = vmx_interrupt_taken(vcpu);
}

/* Does the next entry deliver a debug trap for a single step or a breakpoint? An entry that injects
 * an event would lose it (SDM 3, 27.7.3). */
static bool debug_trap_pending(void)
{
    return vmread(VMCS_GUEST_PENDING_DEBUG) & (PENDING_DEBUG_BREAKPOINT | PENDING_DEBUG_BS);
}

static void trace_injection(const struct event *event, bool again)
{
    if (event->type == EVENT_EXCEPTION)
        trace(inj_exception, event->vector, event->error_code, event->type, again);
    else
        trace(inj_virq, event->vector, event->type, again);
}

bool vmx_deliver_event(struct vmx_vcpu *vcpu)
{
    struct event_pending *p = &vcpu->pending;
    const struct event_state state = {
        .rflags = cpu_reg(&vcpu->regs, REG_RFLAGS),
        .interruptibility = (uint32_t)vmread(VMCS_GUEST_INTERRUPTIBILITY),
        .activity = (uint32_t)vmread(VMCS_GUEST_ACTIVITY_STATE),
        .protected_mode = cpu_reg(&vcpu->regs, REG_CR0) & CR0_PE,
        .trap = debug_trap_pending(),
        .holds_nmis = vcpu->holds_nmis && __atomic_load_n(vcpu->holds_nmis, __ATOMIC_RELAXED),
        .any_error_code = vmx.msrs.basic & BASIC_ANY_ERROR_CODE,
    };
    struct event_plan plan = event_plan(p, &state);
    bool again = p->requeue.valid && !p->exception.valid;
    p->iret_again = false;
    if (plan.shutdown)
        return false;
    if (plan.interruptibility != state.interruptibility)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, plan.interruptibility);
    if (plan.inject.valid) {
        event_consume(vcpu, &plan.inject);
        plan.interrupt_window = p->interrupt; /* the next one may be pending now */
        trace_injection(&plan.inject, again);
        vmwrite(VMCS_ENTRY_INTERRUPTION_INFO, event_encode(&plan.inject));
        if (plan.inject.has_error)
            vmwrite(VMCS_ENTRY_ERROR_CODE, plan.inject.error_code);
        vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, plan.inject.length);
    }
    bool windows = plan.nmi_window || plan.interrupt_window;
    if (windows || vcpu->windows) {
        vmx_set_primary(PRIMARY_NMI_WINDOW_EXITING, plan.nmi_window);
        vmx_set_primary(PRIMARY_INTERRUPT_WINDOW_EXITING, plan.interrupt_window);
        vcpu->windows = windows;
    }
    return true;
}

void vmx_raise(struct vmx_vcpu *vcpu, uint8_t vector, uint32_t error_code)
{
    vcpu->pending.exception = event_exception(vector, error_code);
    attention_request(&vcpu->attention, ATTENTION_EVENT);
    if (event_is_fault(vector))
        cpu_set_reg(&vcpu->regs, REG_RFLAGS, cpu_reg(&vcpu->regs, REG_RFLAGS) | RFLAGS_RF);
}

/* The pending debug exceptions make the entry deliver the trap in the right order relative to other
 * events. */
void vmx_raise_trap(uint64_t pending)
{
    vmwrite(VMCS_GUEST_PENDING_DEBUG, vmread(VMCS_GUEST_PENDING_DEBUG) | pending);
}

void vmx_raise_single_step(struct vmx_vcpu *vcpu)
{
    if (unlikely(cpu_reg(&vcpu->regs, REG_RFLAGS) & RFLAGS_TF))
        vmx_raise_trap(PENDING_DEBUG_BS);
}

bool vmx_nmis_blocked(const struct vmx_vcpu *vcpu)
{
    return vcpu->pending.iret_again || vmread(VMCS_GUEST_INTERRUPTIBILITY) & BLOCKING_BY_NMI;
}

bool vmx_wakes(const struct vmx_vcpu *vcpu)
{
    const struct event_pending *p = &vcpu->pending;
    return p->nmis || p->exception.valid || debug_trap_pending() ||
           (p->interrupt && (vcpu->wakes_masked || vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF));
}
