/* SPDX-License-Identifier: MIT */
/*
 * Messages to the vCPUs of a VM: interrupts, NMIs, INITs and start-up IPIs from other vCPUs, and
 * interrupts from devices.
 *
 * Only the pCPU that runs a vCPU accesses its APIC. Other CPUs leave a message in the vCPU's
 * mailbox and kick it. The vCPU takes its messages when it looks at the clock, before it enters the
 * guest again. A vCPU that waits for a start-up IPI is on no pCPU and in no run queue.
 */
#pragma once

#include "lib/types.h"

struct lapic_message;
struct vcpu;
struct vm;

/* Sends the message of the sender's ICR to all other vCPUs that it addresses. */
void ipi_send(struct vcpu *from, const struct lapic_message *message);

/* Sends a fixed, lowest-priority or ExtINT message of an I/O APIC to the vCPUs of a `struct vm`
 * that it addresses. If `level` is set, their APICs will broadcast the EOI. Any CPU may call this.
 * Returns true if at least one vCPU accepts the message. */
bool ipi_send_from_device(void *vm, const struct lapic_message *message, bool level);

/* Makes one of the VM's vCPUs do the VM's pending work (chores, see vmx/attention.h): the first one
 * that receives the offer, also if it sleeps. Any CPU may call this. */
void ipi_offer_chores(struct vm *vm);

/* Tells the VM's first vCPU that the output of the 8259 has changed, or when the PIT's rises next,
 * with MAIL_ bits that say more, or 0. Any CPU may call this. */
void ipi_send_legacy(struct vm *vm, uint32_t bits);

/* Tells a vCPU of a `struct vm` that frames wait for the VM's network device, or bytes for its
 * console. Any CPU may call this while the VM exists. */
void ipi_send_frames(void *vm);

/* Takes the messages from the mailbox of the vCPU that runs on this pCPU. If an INIT is among them,
 * requests that the vCPU stop, and leaves its chores and frames to the VM's other vCPUs. */
void ipi_receive(struct vcpu *vcpu);

/* Called after an INIT has stopped the vCPU: it waits for a start-up IPI from now on. Returns true
 * if one has already arrived, so that the vCPU runs again. */
bool ipi_restarts(struct vcpu *vcpu);

/* Sets the state in which a start-up IPI starts a CPU. Called with the VMCS loaded and before
 * extra_state_load(). If another INIT has arrived meanwhile, requests that the vCPU stop again
 * instead. */
void ipi_start(struct vcpu *vcpu);
