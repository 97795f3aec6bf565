/* SPDX-License-Identifier: MIT */
/*
 * The guest's pending interrupts and NMIs: the interrupts of the local APIC, and what is injected
 * from outside (HC_INJECT). Code that changes one of them calls vcpu_update_interrupt(), so that
 * the vCPU looks at its events before the next entry.
 */
#include "lib/assert.h"
#include "vm/apicv.h"
#include "vm/clock.h"
#include "vm/legacy_timer.h"
#include "vm/vm.h"

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

/* LINT0 of the first vCPU is the output of the 8259; that of the others is not connected. */
static bool pic_interrupts(const struct vcpu *vcpu)
{
    return vcpu->extint ||
           (!vcpu->index && READ_ONCE(vcpu->vm->pic.output) && lapic_passes_lint0(&vcpu->lapic));
}

void vcpu_look_at_pic(struct vcpu *vcpu)
{
    if (likely(!vcpu->vm->words.legacy) || (vcpu->external.valid && !vcpu->from_pic))
        return;
    vcpu->from_pic = pic_interrupts(vcpu);
    vcpu->external = (struct event){.valid = vcpu->from_pic};
    vcpu_update_interrupt(vcpu);
}

void vcpu_receive_legacy(struct vcpu *vcpu, uint32_t bits)
{
    if (likely(!vcpu->vm->words.legacy))
        return;
    if (!vcpu->index)
        legacy_timer_look(vcpu);
    if (bits & MAIL_LINT0)
        lapic_raise_lint0(&vcpu->lapic);
    if (bits & MAIL_EXTINT)
        vcpu->extint = true;
    vcpu_look_at_pic(vcpu);
}

/* Acknowledges the interrupt of the 8259 and returns its vector. The marks are cleared first: the
 * acknowledge changes the output, of which this vCPU need not be told (vm/legacy.c). If it is the
 * PIT's interrupt, it stands for all of its ticks up to now, and the next one is noticed again. */
static uint8_t vcpu_take_pic(struct vcpu *vcpu)
{
    vcpu->from_pic = vcpu->extint = false;
    if (!vcpu->index)
        legacy_timer_look(vcpu);
    uint8_t vector = pic_acknowledge(&vcpu->vm->pic);
    if (!vcpu->index) {
        legacy_timer_look(vcpu);
        clock_arm(vcpu, rdtsc());
    }
    return vector;
}

/* Returns the vector of the interrupt that does not come through the APIC, and looks for the next
 * one. */
static COLD uint8_t vcpu_take_external(struct vcpu *vcpu)
{
    vcpu->external.valid = false;
    uint8_t vector = vcpu->from_pic ? vcpu_take_pic(vcpu) : vcpu->external.vector;
    vcpu_look_at_pic(vcpu);
    return vector;
}

uint8_t vmx_interrupt_taken(struct vmx_vcpu *vmx_vcpu)
{
    struct vcpu *vcpu = vcpu_of(vmx_vcpu);
    uint8_t vector = vmx_vcpu->pending.vector;
    if (unlikely(vcpu->external.valid))
        vector = vcpu_take_external(vcpu);
    else
        BUG_ON(lapic_acknowledge(&vcpu->lapic) != vector);
    vcpu_update_interrupt(vcpu);
    return vector;
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
        vcpu->from_pic = false;
        vcpu_update_interrupt(vcpu);
    }
}
