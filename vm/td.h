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

/* Makes the VM a TD: allocates vm->td, and the private memory. Called before the VM's first slot.
 * `debug`: the TD may be inspected. Returns 0; -EINPROGRESS: the caller attends to what is waiting
 * and calls again; or an error after a message. td_destroy_piece() frees a piece of what was
 * allocated, after the MMU has been destroyed, and returns true when nothing is left; for a VM that
 * is no TD, at once. td_pages() is the number of pages that a TD with so many bytes of RAM and so
 * many vCPUs takes for all this. */
int td_create(struct vm *vm, bool debug) MUST_CHECK;
bool td_destroy_piece(struct vm *vm) MUST_CHECK;
uint64_t td_pages(uint64_t ram, unsigned vcpus);

/* Gives a new vCPU of a TD, whose VMCS is current, its state, and sets the VMCS's controls: #UD
 * exits, all exits go to td_exit(), and the CPU may deliver #VE itself if `ve_by_cpu`. Does nothing
 * and returns 0 if the VM is no TD; returns -ENOMEM after a message. td_vcpu_destroy() frees the
 * state. */
int td_vcpu_create(struct vcpu *vcpu, bool ve_by_cpu) MUST_CHECK;
void td_vcpu_destroy(struct vcpu *vcpu);

/* Handles an exit of a TD's vCPU; `reason` is the basic exit reason. Returns false if it is to be
 * handled as in other VMs. */
bool td_exit(struct vcpu *vcpu, uint32_t reason) MUST_CHECK;
