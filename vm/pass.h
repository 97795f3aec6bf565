/* SPDX-License-Identifier: MIT */
/*
 * Letting the CPU make one access to write-tracked RAM: that of a page walk to A and D bits, an
 * event's frame, a descriptor's busy bit, an instruction that is not emulated. The page is opened
 * (mmu/mmu.h), the vCPU executes one instruction or delivers one event, and the page is closed.
 *
 * One instruction, without the trap flag, which the guest could see, or the monitor trap flag,
 * which not every CPU has: in a shadow of MOV SS neither NMIs nor their window are recognized, and
 * the shadow lasts for one instruction (SDM 3, 6.8.3 and 26.2); behind it the NMI-window exit
 * comes. One event: the preemption timer at 0 exits behind its delivery (SDM 3, 27.7.4). In the
 * handler of an NMI, where the window does not open, it is a short time instead. Where another exit
 * comes first, its handler finds all as it was. An instruction may need several pages: they stay
 * open while it gets on.
 */
#pragma once

#include "mmu/mmu.h"

struct vcpu;

struct pass {
    struct track_opening opening; /* the pages that are open */
    bool armed;                   /* for one instruction, with what was there before: */
    uint64_t rip, interruptibility, pending_debug;
};

/* A write to this page is to be let through. */
void pass_open(struct vcpu *vcpu, gpa_t gpa);

/* Last thing before an entry with something open. */
void pass_arm(struct vcpu *vcpu);

/* First thing after an exit with something open: it may be over. */
void pass_exit(struct vcpu *vcpu, uint32_t reason);

/* Closes what is open. */
void pass_close(struct vcpu *vcpu);
