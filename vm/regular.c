/* SPDX-License-Identifier: MIT */
#include "vm/regular.h"

#include "arch/x86/tsc.h"
#include "mmu/mmu.h"
#include "vm/stat.h"

/* The TSC value `period` milliseconds after `now`, or TIME_NEVER if there is no period. */
static uint64_t time_after(uint64_t now, uint64_t period)
{
    return period ? now + period * tsc_khz() : TIME_NEVER;
}

/* From here on, another vCPU may do what is due next. */
static void publish_next(struct vm *vm)
{
    uint64_t next = vm->nx_due < vm->stat_due ? vm->nx_due : vm->stat_due;
    __atomic_store_n(&vm->regular_due, next, __ATOMIC_RELEASE);
}

void regular_begin(struct vm *vm, uint64_t now)
{
    vm->nx_due = time_after(now, vm->nx_recovery);
    vm->stat_due = time_after(now, vm->stat_period);
    publish_next(vm);
}

/* Of the VM's vCPUs, the one whose compare-exchange succeeds does it. */
void regular_do(struct vcpu *vcpu, uint64_t now)
{
    struct vm *vm = vcpu->vm;
    uint64_t due = __atomic_load_n(&vm->regular_due, __ATOMIC_RELAXED);
    if (now < due || !__atomic_compare_exchange_n(&vm->regular_due, &due, TIME_NEVER, false,
                                                  __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    if (now >= vm->nx_due) {
        vm->nx_due = time_after(now, vm->nx_recovery);
        mmu_nx_begin(&vm->mmu);
        attention_request(&vcpu->vmx.attention, ATTENTION_CHORES);
    }
    if (now >= vm->stat_due) {
        vm->stat_due = time_after(now, vm->stat_period);
        stat_print(vm, now / tsc_khz());
    }
    publish_next(vm);
}
