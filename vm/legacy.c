/* SPDX-License-Identifier: MIT */
#include "vm/legacy.h"

#include "vm/ipi.h"
#include "vm/legacy_timer.h"
#include "vm/vm.h"

/* SVR: the APIC is enabled, with the vector that it has after reset. */
#define SVR_VIRTUAL_WIRE 0x1ffu
#define LVT_EXTINT       ((uint32_t)LAPIC_EXTINT << 8)
#define LVT_NMI          ((uint32_t)LAPIC_NMI << 8)

/* Called with the 8259's lock held. A fall matters only to a vCPU to which the interrupt is
 * pending. If that vCPU is just about to take it, the interrupt is spurious, as it is on a PC. */
static void legacy_output(void *context, bool level)
{
    struct vm *vm = context;
    ioapic_set_line(&vm->ioapic, LINE_PIC, level);
    if (level || READ_ONCE(vm->vcpus[0]->from_pic))
        ipi_send_legacy(vm, level ? MAIL_LINT0 : 0);
}

/* The PIT's output rises at another time than before. Called with its lock held. */
static void legacy_timer_changed(void *context)
{
    ipi_send_legacy(context, 0);
}

void legacy_init(struct vm *vm)
{
    pic_init(&vm->pic, legacy_output, vm);
    vm->ioapic.extint = true;
    vm->pit.complete = true;
    vm->pit.line = (struct line){legacy_set_line, vm, 0};
    vm->pit.changed = legacy_timer_changed;
    vm->pit.context = vm;
}

void legacy_set_line(void *context, unsigned irq, bool level)
{
    struct vm *vm = context;
    pic_set_line(&vm->pic, irq, level);
    ioapic_set_line(&vm->ioapic, irq ? irq : LINE_PIT, level);
}

void legacy_wire(struct lapic *lapic)
{
    lapic_write(lapic, LAPIC_SVR, SVR_VIRTUAL_WIRE);
    lapic_write(lapic, LAPIC_LVT_LINT0, LVT_EXTINT);
    lapic_write(lapic, LAPIC_LVT_LINT1, LVT_NMI);
}

/* ---- Ports and registers --------------------------------------------------------------------- */

/* The 8259's registers show the output of the PIT as it is now, though nothing has told the PIT to
 * look at its clock. */
static void legacy_bring_up_to_date(struct vm *vm)
{
    spin_lock(&vm->locked[LOCKED_PIT].lock);
    pit_update(&vm->pit);
    spin_unlock(&vm->locked[LOCKED_PIT].lock);
}

static uint64_t master_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct vm *vm = device;
    legacy_bring_up_to_date(vm);
    return pic_master_ops.read(&vm->pic, vcpu, offset, size);
}

/* A write can decide whether the PIT's next interrupt would be noticed, which the first vCPU must
 * know to watch for it. */
static void master_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    struct vm *vm = device;
    legacy_bring_up_to_date(vm);
    bool heard = legacy_timer_is_heard(vm);
    pic_master_ops.write(&vm->pic, vcpu, offset, size, value);
    if (legacy_timer_is_heard(vm) != heard)
        ipi_send_legacy(vm, 0);
}

static uint64_t pins_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct vm *vm = device;
    return ioapic_ops.read(&vm->ioapic, vcpu, offset, size);
}

static void pins_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    struct vm *vm = device;
    bool heard = legacy_timer_is_heard(vm);
    ioapic_ops.write(&vm->ioapic, vcpu, offset, size, value);
    if (legacy_timer_is_heard(vm) != heard)
        ipi_send_legacy(vm, 0);
}

const struct bus_ops legacy_master_ops = {
    .name = "pic", .read = master_read, .write = master_write, .sizes = 1};
const struct bus_ops legacy_ioapic_ops = {
    .name = "I/O APIC", .read = pins_read, .write = pins_write, .sizes = 1 | 2 | 4};
