/* SPDX-License-Identifier: MIT */
/* Connects a vCPU's local APIC to the rest of the vCPU: to its clock, its pending interrupt, the
 * other vCPUs, and the MMIO page by which the guest reaches the APIC. */
#include "arch/x86/unprivileged.h"
#include "dev/lapic_mmio.h"
#include "vm/apicv.h"
#include "vm/clock.h"
#include "vm/exits.h"
#include "vm/ipi.h"
#include "vm/legacy.h"
#include "vm/vm.h"

static uint64_t apic_now(void *context)
{
    (void)context;
    return rdtsc();
}

static void apic_interrupt(void *context)
{
    vcpu_update_interrupt(context);
}

static void apic_timer(void *context)
{
    clock_arm(context, rdtsc());
}

static void apic_nmi(void *context)
{
    vcpu_nmi(context);
}

static void apic_send(void *context, const struct lapic_message *message)
{
    ipi_send(context, message);
}

static void apic_end_level(void *context, uint8_t vector)
{
    struct vcpu *vcpu = context;
    ioapic_eoi(&vcpu->vm->ioapic, vector);
}

static void apic_reachable(void *context)
{
    struct vm *vm = ((struct vcpu *)context)->vm;
    if (vm->words.pc)
        ioapic_send_again(&vm->ioapic);
}

static void apic_lint0(void *context)
{
    vcpu_look_at_pic(context);
}

static const struct lapic_host apic_host = {
    .now = apic_now,
    .interrupt = apic_interrupt,
    .timer = apic_timer,
    .raise_nmi = apic_nmi,
    .send = apic_send,
    .end_level = apic_end_level,
    .reachable = apic_reachable,
    .lint0 = apic_lint0,
};

/* All vCPUs of a VM share one MMIO page on the bus, until one of them moves its own
 * (vm/apic_base.h). An access goes to the APIC of the vCPU that makes it. */
static struct lapic *own_apic(struct mmio_vcpu *mmio)
{
    return &container_of(mmio, struct vcpu, mmio)->lapic;
}

static uint64_t apic_window_read(void *device, struct mmio_vcpu *mmio, uint64_t offset,
                                 unsigned size)
{
    (void)device;
    return lapic_mmio_ops.read(own_apic(mmio), mmio, offset, size);
}

static void apic_window_write(void *device, struct mmio_vcpu *mmio, uint64_t offset, unsigned size,
                              uint64_t value)
{
    (void)device;
    lapic_mmio_ops.write(own_apic(mmio), mmio, offset, size, value);
}

const struct bus_ops apic_window_ops = {
    .name = "local APIC", .read = apic_window_read, .write = apic_window_write};

int interrupts_setup(struct vcpu *vcpu)
{
    lapic_init(&vcpu->lapic, vcpu->index, &apic_host, vcpu);
    vcpu->apic_page = GUEST_LAPIC;
    if (vcpu->vm->words.legacy && !vcpu->index)
        legacy_wire(&vcpu->lapic);
    return apicv_setup(vcpu);
}
