/* SPDX-License-Identifier: MIT */
#include "monitor/start.h"

#include "vm/pause.h"
#include "vm/registry.h"
#include "vm/vm.h"

static bool holds_new; /* atomic */

void monitor_holds_new(void)
{
    __atomic_store_n(&holds_new, true, __ATOMIC_SEQ_CST);
}

void monitor_sees(struct vm *vm)
{
    if (__atomic_load_n(&holds_new, __ATOMIC_SEQ_CST)) {
        pause_vm(vm, PAUSE_MONITOR);
        if (!__atomic_load_n(&holds_new, __ATOMIC_SEQ_CST)) /* monitor_lets_go() was too early */
            resume_vm(vm, PAUSE_MONITOR);
    }
}

void monitor_lets_go(void)
{
    struct vm *vm;
    if (!__atomic_exchange_n(&holds_new, false, __ATOMIC_SEQ_CST))
        return;
    for (unsigned number = 0; (vm = registry_hold_next(number)); number = vm->number) {
        resume_vm(vm, PAUSE_MONITOR);
        registry_release(vm);
    }
}
