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

/* Makes the VM a TD: allocates vm->td. Called after mmu_steal_bit() for bit TD_GPA_WIDTH - 1, and
 * before the first td_add_page(). `debug`: the TD may be inspected. Returns 0, or -ENOMEM after a
 * message. td_destroy() frees it; it does nothing for a VM that is no TD. */
int td_create(struct vm *vm, bool debug) MUST_CHECK;
void td_destroy(struct vm *vm);

/* Gives a new vCPU of a TD, whose VMCS is current, its state, and sets the VMCS's controls. Called
 * after the other functions of vm/exits.h that set up a vCPU, and after boot_state_set(), because
 * it sets the reset state of a TD's vCPU: flat 32-bit protected mode at FFFFFFF0h; RBX = the GPA
 * width, RCX = R8 = `parameter`, RDX = CPUID.1:EAX, RSI = the vCPU's index. All vCPUs start there.
 * Does nothing and returns 0 if the VM is no TD; returns -ENOMEM after a message. td_vcpu_destroy()
 * frees the state. */
int td_vcpu_create(struct vcpu *vcpu, uint64_t parameter) MUST_CHECK;
void td_vcpu_destroy(struct vcpu *vcpu);

/* Handles an exit of a TD's vCPU; `reason` is the basic exit reason. */
void td_exit(struct vcpu *vcpu, uint32_t reason);
