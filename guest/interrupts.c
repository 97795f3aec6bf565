/*
 * What interrupts the guest: the local APIC and what is injected from outside (HC_INJECT). Whoever
 * changes one of them calls update_interrupt(), so that the entry path looks at one flag only,
 * vmx.attention. Called by the run loop, hypercalls, and the APIC itself.
 */
#include "arch/x86/cpu.h"
#include "guest/vm.h"
#include "lib/assert.h"

/* An interrupt that did not come through the APIC goes first, as INTR in ExtINT mode does. */
static void update_interrupt(struct vcpu *vcpu)
{
    struct event_pending *pending = &vcpu->vmx.pending;
    int vector = vcpu->external.valid ? vcpu->external.vector : lapic_pending(&vcpu->lapic);
    pending->interrupt = vector >= 0;
    pending->vector = (uint8_t)vector;
    vcpu->vmx.attention |= pending->interrupt;
}

void vmx_interrupt_taken(struct vmx_vcpu *vmx_vcpu)
{
    struct vcpu *vcpu = (struct vcpu *)vmx_vcpu;
    if (vcpu->external.valid)
        vcpu->external.valid = false;
    else
        BUG_ON(lapic_acknowledge(&vcpu->lapic) != vmx_vcpu->pending.vector);
    update_interrupt(vcpu);
}

static void pend_nmi(struct vcpu *vcpu)
{
    if (vcpu->vmx.pending.nmis < 2)
        vcpu->vmx.pending.nmis++;
    vcpu->vmx.attention = true;
}

void vcpu_pend(struct vcpu *vcpu, const struct event *event)
{
    if (event->type == EVENT_NMI) {
        pend_nmi(vcpu);
    } else if (event->type != EVENT_INTERRUPT) {
        vmx_raise(&vcpu->vmx, event->vector, event->error_code);
    } else if (lapic_accepts(&vcpu->lapic)) {
        lapic_accept(&vcpu->lapic, event->vector);
    } else {
        vcpu->external = *event;
        update_interrupt(vcpu);
    }
}

static uint64_t apic_now(void *context)
{
    (void)context;
    return rdtsc();
}

static void apic_interrupt(void *context)
{
    update_interrupt(context);
}

static void apic_timer(void *context)
{
    vcpu_arm_timer(context);
}

static void apic_nmi(void *context)
{
    pend_nmi(context);
}

static const struct lapic_host apic_host = {
    .now = apic_now,
    .interrupt = apic_interrupt,
    .timer = apic_timer,
    .raise_nmi = apic_nmi,
};

void interrupts_setup(struct vcpu *vcpu)
{
    lapic_init(&vcpu->lapic, 0, &apic_host, vcpu);
}
