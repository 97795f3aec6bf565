/* SPDX-License-Identifier: MIT */
/*
 * #VE: a guest that asked for it (the VM's word `ve`) handles its own MMIO. Where the CPU can, it
 * delivers the exception itself, without an exit; else we do, by the same rules (SDM 3, 26.5.7;
 * rules X9 and X10). The exception's information lies in a page that belongs to the VM.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct vcpu;
struct options;

/* Gives the vCPU its information area. Returns 0 or a negative errno. Its VMCS is loaded. */
int ve_setup(struct vcpu *vcpu, const struct options *options) MUST_CHECK;

/* After a violation that the guest is to handle (FAULT_VE): lets the CPU or us deliver #VE. A
 * second one before the guest has freed the area becomes #DF; one that can't be delivered ends the
 * VM. Decided in vm/ve_rules.h. */
void ve_take(struct vcpu *vcpu);
