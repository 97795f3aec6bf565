/* SPDX-License-Identifier: MIT */
/*
 * What the vCPUs of a VM send each other: interrupts, NMIs, INIT and start-up IPIs.
 *
 * Only a vCPU's own pCPU touches its APIC. Others leave a message in its mailbox and kick it; it
 * takes the messages when it looks at the clock, before it enters the guest again. A vCPU that
 * waits for a start-up IPI is on no pCPU and in no queue.
 */
#pragma once

#include "lib/types.h"

struct lapic_message;
struct vcpu;

/* From the sender's ICR, to all others that are addressed. */
void ipi_send(struct vcpu *from, const struct lapic_message *message);

/* Takes what is in the mailbox. */
void ipi_receive(struct vcpu *vcpu);

/* An INIT has stopped the vCPU: it waits for a start-up IPI from now on. True: there is one
 * already, and the vCPU is to run again. */
bool ipi_restarts(struct vcpu *vcpu);

/* With the VMCS loaded and before extra_state_load(): the state in which a start-up IPI starts a
 * CPU. Where another INIT has overtaken that, the vCPU is asked to stop again instead. */
void ipi_start(struct vcpu *vcpu);
