/* SPDX-License-Identifier: MIT */
/*
 * What waits to interrupt the guest: what the local APIC has, and what is injected from outside
 * (HC_INJECT). Whoever changes one of them calls vcpu_update_interrupt(), so that the vCPU looks at
 * its events before the next entry.
 */
#include "lib/assert.h"
#include "vm/vcpu.h"

/* An interrupt that did not come through the APIC goes first, as INTR in ExtINT mode does. */
void vcpu_update_interrupt(struct vcpu *vcpu)
{
    struct event_pending *pending = &vcpu->vmx.pending;
    int vector = vcpu->external.valid ? vcpu->external.vector : lapic_pending(&vcpu->lapic);
    pending->interrupt = vector >= 0;
    pending->vector = (uint8_t)vector;
    if (pending->interrupt)
        attention_request(&vcpu->vmx.attention, ATTENTION_EVENT);
}

void vmx_interrupt_taken(struct vmx_vcpu *vmx_vcpu)
{
    struct vcpu *vcpu = vcpu_of(vmx_vcpu);
    if (vcpu->external.valid)
        vcpu->external.valid = false;
    else
        BUG_ON(lapic_acknowledge(&vcpu->lapic) != vmx_vcpu->pending.vector);
    vcpu_update_interrupt(vcpu);
}

/* While one is in progress, the CPU keeps one more. */
void vcpu_nmi(struct vcpu *vcpu)
{
    if (vcpu->vmx.pending.nmis < (vmx_nmis_blocked(&vcpu->vmx) ? 1 : 2))
        vcpu->vmx.pending.nmis++;
    attention_request(&vcpu->vmx.attention, ATTENTION_EVENT);
}

void vcpu_pend(struct vcpu *vcpu, const struct event *event)
{
    if (event->type == EVENT_NMI) {
        vcpu_nmi(vcpu);
    } else if (event->type != EVENT_INTERRUPT) {
        vmx_raise(&vcpu->vmx, event->vector, event->error_code);
    } else if (lapic_accepts(&vcpu->lapic)) {
        lapic_accept(&vcpu->lapic, event->vector);
    } else {
        vcpu->external = *event;
        vcpu_update_interrupt(vcpu);
    }
}
