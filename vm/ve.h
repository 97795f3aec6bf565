/* SPDX-License-Identifier: MIT */
/*
 * The virtualization exception, #VE: a guest that requests it (by the word `ve` of its module)
 * handles its own MMIO. If the CPU can, it delivers the exception itself, without an exit;
 * otherwise the hypervisor delivers it, by the same rules (SDM 3, 26.5.7; rules X9 and X10). The
 * information area of the exception is a page of the VM's memory.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct vcpu;
struct options;

/* Gives the vCPU its information area. The vCPU's VMCS is loaded. Returns 0 or a negative errno. */
int ve_setup(struct vcpu *vcpu, const struct options *options) MUST_CHECK;

/* Called after an EPT violation that the guest has to handle (FAULT_VE): injects #VE, or has the
 * CPU deliver it at the next entry. If the guest has not freed the area since the last #VE, this
 * one becomes #DF. One that cannot be delivered ends the VM. vm/ve_rules.h decides. */
void ve_take(struct vcpu *vcpu);
