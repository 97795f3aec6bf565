/* SPDX-License-Identifier: MIT */
/* What an exit that interrupted the delivery of an event does first. */
#include "vm/exits.h"

#include "vm/vcpu.h"

void exit_requeue(struct vcpu *vcpu)
{
    vmx_requeue_event(&vcpu->vmx);
    vcpu->events_requeued += vcpu->vmx.pending.requeue.valid;
}

void exit_cut_short(struct vcpu *vcpu, uint32_t reason)
{
    if (unlikely(vmx_cut_short(&vcpu->vmx, reason)))
        exit_requeue(vcpu);
}
