/* SPDX-License-Identifier: MIT */
/* The initial register state of a vCPU. */
#pragma once

#include "launch/image.h"

struct vcpu;

/* Sets the registers of a new vCPU, whose VMCS is current. vCPU 0 gets the state that the guest's
 * loader has chosen; the others, which wait for a start-up IPI, get that of a CPU after
 * power-up. */
void boot_state_set(struct vcpu *vcpu, const struct guest_start *start);
