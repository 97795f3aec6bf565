/* SPDX-License-Identifier: MIT */
/*
 * Pauses: a vCPU stays out of its guest while at least one pauser asks for it.
 *
 * A paused vCPU finishes the work that its last exit has begun, a hypercall for example, and then
 * sleeps (vm/sleep.h): it is in no run queue, and its time does not count against the budget. It
 * still gets a short turn for each message and each visit, and ends with its VM. Its guest notices
 * nothing but that time has passed.
 *
 * No request is lost and none is undone by another: the pausers and whether the vCPU has seen them
 * are one word, and only the vCPU itself clears the request (tests/models/visit.pml).
 */
#pragma once

#include "vm/vcpu.h"

struct vm;

enum pauser {
    PAUSE_MONITOR = 0x1,
    PAUSE_GDB = 0x2,
};

/* In the word of the pausers: the vCPU has seen that there are some, and is out of the guest. */
#define PAUSE_OUT 0x80000000u

/* Make all vCPUs of a VM, or one vCPU, stay out of the guest, and let them go on as far as this
 * pauser is concerned. Any CPU may call these functions while it holds the VM (vm/registry.h), and
 * a vCPU's pCPU may call them for this vCPU's VM, as in a visit; they return at once. */
void pause_vm(struct vm *vm, enum pauser who);
void pause_vcpu(struct vcpu *vcpu, enum pauser who);
void resume_vm(struct vm *vm, enum pauser who);
void resume_vcpu(struct vcpu *vcpu, enum pauser who);

/* Returns true if all vCPUs of the VM are paused and out of the guest, so that none executes
 * another instruction of the guest before one is resumed. */
bool pause_reached(const struct vm *vm);

/* The pausers of a vCPU. */
uint32_t pause_pausers(const struct vcpu *vcpu);

/* Called by the pCPU that runs the vCPU, outside of the guest. Returns true if the vCPU has to stay
 * out of it, and clears the request if it need not. */
bool pause_holds(struct vcpu *vcpu);

/* Returns true if the vCPU, which is going to sleep, has to look at its pausers again first. */
static inline bool pause_changed(const struct vcpu *vcpu)
{
    return attention_requested(&vcpu->vmx.attention, ATTENTION_PAUSE) &&
           __atomic_load_n(&vcpu->paused, __ATOMIC_SEQ_CST) <= PAUSE_OUT;
}
