/* SPDX-License-Identifier: MIT */
/*
 * When a vCPU has to leave its guest at the latest: the preemption timer is armed for the first of
 * its deadlines. These are the vCPU's own next event, the end of its slice and of its budget, the
 * next sleeper of the pCPU, and the next recovery of large pages. Times are values of the host's
 * TSC.
 *
 * Called on the pCPU that runs the vCPU, with its VMCS loaded.
 */
#pragma once

#include "vm/vcpu.h"

/* A deadline has changed: finds the first one, vcpu->next_event, and arms the timer for it. */
void clock_arm(struct vcpu *vcpu, uint64_t now);

/* Arms the timer again for vcpu->next_event, which is still to come. */
void clock_rearm(const struct vcpu *vcpu, uint64_t now);

/* Makes a checked event pending in `ticks` of the TSC. */
void vcpu_delay(struct vcpu *vcpu, const struct event *event, uint64_t ticks);

/* For exits whose work may take long, where another vCPU waits for its turn. The preemption timer
 * stood still meanwhile and would let the guest run on for as long, and the clock is otherwise
 * looked at every some exits, which would be many such works. */
void vcpu_arm_for_slice(struct vcpu *vcpu);
static inline void vcpu_end_of_slice(struct vcpu *vcpu)
{
    if (unlikely(vcpu->slice_end != TIME_NEVER))
        vcpu_arm_for_slice(vcpu);
}
