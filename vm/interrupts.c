/*
 * What interrupts the guest: the local APIC and what is injected from outside (HC_INJECT). Whoever
 * changes one of them calls update_interrupt(), so that the entry path looks at one flag only,
 * vmx.attention. Called by the run loop, hypercalls, and the APIC itself.
 */
#include "arch/x86/cpu.h"
#include "vm/exits.h"
#include "vm/ipi.h"
#include "vm/vm.h"
#include "lib/assert.h"
#include "dev/lapic_mmio.h"

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
    struct vcpu *vcpu = vcpu_of(vmx_vcpu);
    if (vcpu->external.valid)
        vcpu->external.valid = false;
    else
        BUG_ON(lapic_acknowledge(&vcpu->lapic) != vmx_vcpu->pending.vector);
    update_interrupt(vcpu);
}

/* While one is in progress, the CPU keeps one more. */
void vcpu_nmi(struct vcpu *vcpu)
{
    if (vcpu->vmx.pending.nmis < (vmx_nmis_blocked(&vcpu->vmx) ? 1 : 2))
        vcpu->vmx.pending.nmis++;
    vcpu->vmx.attention = true;
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
    vcpu_nmi(context);
}

static void apic_send(void *context, const struct lapic_message *message)
{
    ipi_send(context, message);
}

static const struct lapic_host apic_host = {
    .now = apic_now,
    .interrupt = apic_interrupt,
    .timer = apic_timer,
    .raise_nmi = apic_nmi,
    .send = apic_send,
};

/* One page of addresses, and behind it the APIC of whoever asks. */
static struct lapic *own_apic(struct mmio_vcpu *mmio)
{
    return &container_of(mmio, struct vcpu, mmio)->lapic;
}

static uint64_t window_read(void *device, struct mmio_vcpu *mmio, uint64_t offset, unsigned size)
{
    (void)device;
    return lapic_mmio_ops.read(own_apic(mmio), mmio, offset, size);
}

static void window_write(void *device, struct mmio_vcpu *mmio, uint64_t offset, unsigned size,
                         uint64_t value)
{
    (void)device;
    lapic_mmio_ops.write(own_apic(mmio), mmio, offset, size, value);
}

const struct bus_ops apic_window_ops = {
    .name = "local APIC", .read = window_read, .write = window_write};

void interrupts_setup(struct vcpu *vcpu)
{
    lapic_init(&vcpu->lapic, vcpu->index, &apic_host, vcpu);
}
