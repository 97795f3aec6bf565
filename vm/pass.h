/* SPDX-License-Identifier: MIT */
/*
 * Lets the CPU itself make one access to write-tracked RAM: the write of A and D bits by a page
 * walk, the push of an event's frame, the busy bit of a descriptor, or the access of an instruction
 * that is not emulated. The page is opened (mmu/mmu.h), the vCPU executes one instruction or
 * delivers one event, and the page is closed.
 *
 * One instruction is executed without the trap flag, which the guest could see, and without the
 * monitor trap flag, which not every CPU has. Instead, the vCPU is entered with blocking by MOV SS
 * and NMI-window exiting: in the shadow of MOV SS neither NMIs nor their window are recognized, and
 * the shadow lasts for one instruction (SDM 3, 6.8.3 and 26.2), after which the NMI-window exit
 * occurs. One event is delivered with the preemption timer at 0, which exits after the delivery
 * (SDM 3, 27.7.4). In the handler of an NMI, where the window does not open, the timer gives the
 * guest a short time instead. If another exit occurs first, its handler finds the guest's state as
 * it was. An instruction may need several pages: pages stay open while it causes only EPT
 * violations, EPT misconfigurations and full PML logs.
 */
#pragma once

#include "mmu/mmu.h"

struct vcpu;

struct pass {
    struct track_opening opening; /* the pages that are open */
    bool armed;                   /* for one instruction; the state before that: */
    uint64_t rip, interruptibility, pending_debug;
};

/* Opens the page for the next instruction or event of the vCPU. Ends the VM if it needs more pages
 * than can be open. */
void pass_open(struct vcpu *vcpu, gpa_t gpa);

/* Called last before an entry, if a page is open. */
void pass_arm(struct vcpu *vcpu);

/* Called first after an exit, if a page is open: closes the pages if the access may be over. */
void pass_exit(struct vcpu *vcpu, uint32_t reason);

/* Closes all open pages. */
void pass_close(struct vcpu *vcpu);
