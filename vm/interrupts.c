/* SPDX-License-Identifier: MIT */
/*
 * The guest's pending interrupts and NMIs: the interrupts of the local APIC, and what is injected
 * from outside (HC_INJECT). Code that changes one of them calls vcpu_update_interrupt(), so that
 * the vCPU looks at its events before the next entry.
 */
#include "lib/assert.h"
#include "vm/apicv.h"
#include "vm/vcpu.h"

/* An interrupt that did not come through the APIC has priority, like INTR in ExtINT mode. While the
 * CPU delivers the APIC's interrupts, the others are injected as before: the CPU delivers none of
 * its own as long as interrupt-window exiting is on (SDM 3, 30.2.1). */
void vcpu_update_interrupt(struct vcpu *vcpu)
{
    struct event_pending *pending = &vcpu->vmx.pending;
    int vector = -1;
    if (unlikely(vcpu->vmx.apicv.on))
        apicv_changed(vcpu);
    else
        vector = lapic_pending(&vcpu->lapic);
    if (vcpu->external.valid)
        vector = vcpu->external.vector;
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

/* The CPU keeps one NMI pending while another one is in progress. If none is in progress, two are
 * kept here: one for the next entry, and one that stays pending after it. */
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
