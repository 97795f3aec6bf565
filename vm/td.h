/* SPDX-License-Identifier: MIT */
/*
 * The glue between a TD's state (tdx/td.h) and the VM that it is: creation, reset state, exits.
 *
 * `vm->td` and `vcpu->td` are NULL for a VM that is no TD. All exits of a TD go to td_exit(), by
 * `extra_work` of the vCPU (vmx/vmx.h), so that other VMs pay nothing for it.
 */
#pragma once

#include "lib/compiler.h"
#include "tdx/td.h"

struct vcpu;
struct vm;

/* Makes the VM a TD: allocates vm->td. Called after vm->ram is filled in, and before the first
 * td_add_page(). `debug`: the TD may be inspected. Returns 0, or -ENOMEM after a message.
 * td_destroy() frees what was allocated; it does nothing for a VM that is no TD. td_pages() is the
 * number of pages that a TD with so many bytes of RAM and so many vCPUs takes for all this. */
int td_create(struct vm *vm, bool debug) MUST_CHECK;
void td_destroy(struct vm *vm);
uint64_t td_pages(uint64_t ram, unsigned vcpus);

/* Gives a new vCPU of a TD, whose VMCS is current, its state, and sets the VMCS's controls: #UD
 * exits, all exits go to td_exit(), and the CPU may deliver #VE itself if `ve_by_cpu`. Does nothing
 * and returns 0 if the VM is no TD; returns -ENOMEM after a message. td_vcpu_destroy() frees the
 * state. */
int td_vcpu_create(struct vcpu *vcpu, bool ve_by_cpu) MUST_CHECK;
void td_vcpu_destroy(struct vcpu *vcpu);

/* Handles an exit of a TD's vCPU; `reason` is the basic exit reason. */
void td_exit(struct vcpu *vcpu, uint32_t reason);
