/* SPDX-License-Identifier: MIT */
/* What a VM has to do from time to time: its large pages recover (mmu/huge.h), and with `stat=` its
 * counters are printed (vm/stat.h). */
#pragma once

#include "vm/vm.h"

/* Sets the first times, by the VM's periods. */
void regular_begin(struct vm *vm, uint64_t now);

/* Does what is due, on behalf of this vCPU, which the caller runs. Called by regular_look(). */
void regular_do(struct vcpu *vcpu, uint64_t now) COLD;

static inline void regular_look(struct vcpu *vcpu, uint64_t now)
{
    if (unlikely(now >= __atomic_load_n(&vcpu->vm->regular_due, __ATOMIC_RELAXED)))
        regular_do(vcpu, now);
}
