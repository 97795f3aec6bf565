/* SPDX-License-Identifier: MIT */
/*
 * The deadlines by which a vCPU has to leave its guest. The preemption timer is armed for the first
 * of them: the vCPU's own next event, the end of its slice or of its budget, the next sleeping vCPU
 * of this pCPU that becomes due, or what the VM has done regularly. Times are values of the
 * host's TSC.
 *
 * All functions are called on the pCPU that runs the vCPU, with its VMCS loaded.
 */
#pragma once

#include "vm/vcpu.h"

/* Called after a deadline has changed: finds the first deadline, vcpu->next_event, and arms the
 * timer for it. */
void clock_arm(struct vcpu *vcpu, uint64_t now);

/* Arms the timer again for vcpu->next_event, which must be later than `now`. */
void clock_rearm(const struct vcpu *vcpu, uint64_t now);

/* Makes a checked event pending after `ticks` TSC ticks. */
void vcpu_delay(struct vcpu *vcpu, const struct event *event, uint64_t ticks);

/* Called by exit handlers whose work may take long. If another vCPU waits for this pCPU, the timer
 * is armed again: it did not count during the exit, and would let the guest run on for as long as
 * the handler took. The regular look at the clock comes after a number of exits, and that many long
 * handlers exceed a slice. */
void vcpu_arm_for_slice(struct vcpu *vcpu);
static inline void vcpu_end_of_slice(struct vcpu *vcpu)
{
    if (unlikely(vcpu->slice_end != TIME_NEVER))
        vcpu_arm_for_slice(vcpu);
}
