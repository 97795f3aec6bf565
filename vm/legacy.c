/* SPDX-License-Identifier: MIT */
#include "vm/legacy.h"

#include "vm/ipi.h"
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

void legacy_init(struct vm *vm)
{
    pic_init(&vm->pic, legacy_output, vm);
    vm->ioapic.extint = true;
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
