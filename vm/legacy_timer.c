/* SPDX-License-Identifier: MIT */
#include "vm/legacy_timer.h"

#include "vm/vm.h"

bool legacy_timer_is_heard(struct vm *vm)
{
    struct lapic_message message;
    return pic_hears(&vm->pic, 0) || ioapic_message(&vm->ioapic, LINE_PIT, &message);
}

void legacy_timer_look(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    spin_lock(&vm->locked[LOCKED_PIT].lock);
    pit_tick(&vm->pit);
    vcpu->pit_at = legacy_timer_is_heard(vm) ? pit_deadline(&vm->pit) : TIME_NEVER;
    spin_unlock(&vm->locked[LOCKED_PIT].lock);
    vcpu_set_delayed(vcpu);
}
