/* SPDX-License-Identifier: MIT */
/* The registers with which a vCPU begins. */
#pragma once

#include "launch/image.h"

struct vcpu;

/* Sets the registers of a new vCPU, whose VMCS is current: those that the guest's loader wants for
 * vCPU 0, and those of a CPU after a reset for the others, which wait for a start-up IPI. */
void boot_state_set(struct vcpu *vcpu, const struct guest_start *start);
