/* SPDX-License-Identifier: MIT */
/*
 * Where a vCPU's local APIC has its page (SDM 3, 11.4.5): in a VM with `legacy`, a guest may move
 * it by IA32_APIC_BASE. All vCPUs of a VM share one bus, but the page is each vCPU's own. So the
 * bus has a region wherever a vCPU has its page, and the vCPU that makes the access reaches its
 * APIC only through the region at its own page; at another vCPU's it reads all ones.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct vcpu;

/* Moves the page of this vCPU's APIC to a guest-physical address. Returns false, and changes
 * nothing, if the VM is not `legacy`, or if memory or another device is there. Called on the vCPU's
 * own pCPU, in an epoch of the VM. */
bool apic_page_move(struct vcpu *vcpu, uint64_t page) MUST_CHECK;
