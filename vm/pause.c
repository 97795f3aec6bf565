/* SPDX-License-Identifier: MIT */
#include "vm/pause.h"

#include "vm/sleep.h"
#include "vm/visit.h"
#include "vm/vm.h"

uint32_t pause_pausers(const struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->paused, __ATOMIC_SEQ_CST) & ~PAUSE_OUT;
}

void pause_vcpu(struct vcpu *vcpu, enum pauser who)
{
    __atomic_fetch_or(&vcpu->paused, who, __ATOMIC_SEQ_CST);
    attention_request(&vcpu->vmx.attention, ATTENTION_PAUSE);
    sleep_alert(vcpu);
}

/* The vCPU clears its request itself: a pauser that comes between would lose it otherwise. */
void resume_vcpu(struct vcpu *vcpu, enum pauser who)
{
    __atomic_fetch_and(&vcpu->paused, ~(uint32_t)who, __ATOMIC_SEQ_CST);
    sleep_alert(vcpu);
}

void pause_vm(struct vm *vm, enum pauser who)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        pause_vcpu(vm->vcpus[i], who);
}

void resume_vm(struct vm *vm, enum pauser who)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        resume_vcpu(vm->vcpus[i], who);
}

/* A vCPU that waits for a start-up IPI looks at its pausers when it starts, before it enters the
 * guest. */
static bool pause_is_out(const struct vcpu *vcpu)
{
    uint32_t paused = __atomic_load_n(&vcpu->paused, __ATOMIC_SEQ_CST);
    return paused > PAUSE_OUT || (paused && !visit_is_open(vcpu));
}

bool pause_reached(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (!pause_is_out(vm->vcpus[i]))
            return false;
    return true;
}

bool pause_holds(struct vcpu *vcpu)
{
    if (!attention_requested(&vcpu->vmx.attention, ATTENTION_PAUSE))
        return false;
    attention_clear(&vcpu->vmx.attention, ATTENTION_PAUSE);
    uint32_t old = __atomic_load_n(&vcpu->paused, __ATOMIC_SEQ_CST), new;
    do {
        new = old & ~PAUSE_OUT ? old | PAUSE_OUT : 0;
    } while (!__atomic_compare_exchange_n(&vcpu->paused, &old, new, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    if (new)
        attention_request(&vcpu->vmx.attention, ATTENTION_PAUSE);
    return new;
}
