/* SPDX-License-Identifier: MIT */
/*
 * The last exit of a vCPU, for people who ask. Between two exits the VMCS has what it says; but to
 * read the VMCS of a vCPU that runs one has to kick it, and then the last exit is the kick. So a
 * vCPU can be watched: before each exit is handled, what there is to know of it is copied, unless
 * it is a kick. Watching is extra work (vmx_update_extra_work()) and costs other vCPUs nothing.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

struct last_exit {
    bool valid;
    bool handled;          /* the registers are those after the exit was handled */
    uint32_t reason;       /* the basic exit reason */
    uint32_t event;        /* IDT-vectoring information: a delivery that the exit interrupted */
    uint32_t interruption; /* what the reason does not define is 0 */
    uint64_t qualification, gpa, gla;
    uint64_t rip, rax, rcx;
    uint64_t number; /* of the vCPU's exits so far */
};

/* Whether the exit of which the VMCS knows is a kick: an NMI of the host, which says nothing about
 * the guest. The VMCS is current. */
bool last_exit_was_kick(const struct vcpu *vcpu);

/* Copies the exit of which the VMCS knows. The VMCS is current. Returns false, and only sets
 * exit->valid to false, if it is a kick or there was none. */
bool last_exit_read(struct vcpu *vcpu, struct last_exit *exit);

/* Begins to watch the vCPU. Called on its pCPU, as in a visit. */
void last_exit_watch(struct vcpu *vcpu);

/* Called first at each exit of a vCPU that is watched. */
void last_exit_note(struct vcpu *vcpu) COLD;
