/* SPDX-License-Identifier: MIT */
#include "main/reset.h"

void reset_keep(struct reset_record *record, const struct vm *vm)
{
    record->count++;
    record->console = vm->console;
    console_reset(&record->console);
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        record->budget_left[i] = vm->vcpus[i]->budget_left;
    record->ticks = 0;
}

void reset_restore(const struct reset_record *record, struct vm *vm)
{
    vm->console = record->console;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vm->vcpus[i]->budget_left = record->budget_left[i];
    uint64_t *first = &vm->vcpu.budget_left;
    *first -= record->ticks < *first ? record->ticks : *first;
}
